/* model.h - a network with its weights.
 *
 * A native model is one safetensors file whose metadata says what network it
 * holds, how it is preconditioned and what images it makes (docs/model-file.md).
 * Weights are mapped, not copied: the file has to stay as it is while a model
 * is open.  Replacing it by rename is fine; writing into it changes the model,
 * and cutting it short makes the system end the process (SIGBUS).  Where others
 * may do that, or the file is on a drive that can go away, load with `copy`:
 * the file is read once, and what happens to it meanwhile is CM_ERR_IO.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_MODEL_H
#define CONSISTENCY_MODEL_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cm_model cm_model;

typedef struct cm_load_options {
    uint32_t struct_size;
    /* 1 accepts weights that are NaN or infinite; default 0 refuses them with
     * CM_ERR_NUMERIC naming the first such tensor. */
    int32_t allow_nonfinite;
    /* JSON object with members "network", "precond", "image" (and "classes",
     * "training"), each as its consistency.* metadata entry.  Members given here replace
     * those of the file; a file without metadata needs "network" and "precond". */
    const char *config_json;
    /* Stops loading between tensors; with `copy` once the file has been read. */
    cm_progress_fn progress;
    void *progress_user;
    /* 1 reads the weights into memory of the context, as much as the file has
     * bytes, instead of mapping the file; default 0. */
    int32_t copy;
} cm_load_options;

typedef struct cm_save_options {
    uint32_t struct_size;
    /* 1 replaces an existing file; default 0 refuses it with CM_ERR_IO. */
    int32_t overwrite;
} cm_save_options;

/* What a network is conditioned on besides the noise level, in sampling, editing,
 * evaluation and training.  NULL in the place of a struct means the same as one whose
 * members are all 0.
 *
 *     cm_condition condition = CM_CONDITION_INIT;
 *     condition.labels = labels;
 *     options.condition = &condition;
 */
typedef struct cm_condition {
    uint32_t struct_size;
    int32_t reserved; /* must be 0 */
    /* One class number for each image of the call, 0 .. num_classes - 1, or -1 for "no
     * label" where the network knows one (cm_model_info.needs_label is 0).  NULL: what
     * the call says; cm_model_denoise_with takes -1 for all images, a sampler draws the
     * labels.  An unconditional model takes NULL or -1. */
    const int32_t *labels;
} cm_condition;

/* clang-format off */
#define CM_CONDITION_INIT {sizeof(cm_condition), 0, NULL}
/* clang-format on */

typedef struct cm_denoise_options {
    uint32_t struct_size;
    int32_t reserved;              /* must be 0 */
    const cm_condition *condition; /* borrowed for the call; NULL: no labels */
    /* After every few images, with how many of the call are done; non-zero stops the call
     * within one network evaluation.  While the call waits for another thread's it is asked
     * ten times a second.  May call anything, this function on this model included. */
    cm_progress_fn progress;
    void *progress_user;
} cm_denoise_options;

/* clang-format off */
#define CM_DENOISE_OPTIONS_INIT {sizeof(cm_denoise_options), 0, NULL, NULL, NULL}
/* clang-format on */

typedef struct cm_model_info {
    uint32_t struct_size;
    int32_t channels, height, width; /* of its images                         */
    int32_t out_channels;            /* of cm_model_denoise's output          */
    int32_t num_classes;             /* 0 = unconditional                     */
    int32_t needs_label;             /* 1: label -1 ("none") is an error      */
    int32_t is_consistency;          /* 1: precond cm or ecm                  */
    double sigma_min, sigma_max, sigma_data;
    uint64_t parameters; /* values, frequency buffer included     */
    uint64_t tensors;
    uint64_t weight_bytes;   /* in the file                           */
    const char *network;     /* "adm", "songunet", "dhariwal"; borrowed */
    const char *precond;     /* "cm", "edm", ...; borrowed            */
    const char *config_json; /* the resolved configuration; borrowed  */
} cm_model_info;

CM_API void cm_load_options_init(cm_load_options *options, size_t struct_size);
CM_API void cm_save_options_init(cm_save_options *options, size_t struct_size);
CM_API void cm_condition_init(cm_condition *condition, size_t struct_size);
CM_API void cm_denoise_options_init(cm_denoise_options *options, size_t struct_size);
CM_API void cm_model_info_init(cm_model_info *info, size_t struct_size);

/* Opens a native model.  Errors: IO (cannot read), FORMAT (not safetensors, or
 * its JSON is wrong: the message names the rule or the argument), SHAPE
 * (missing, extra or mismatched tensors, listed), NUMERIC (non-finite weights),
 * UNSUPPORTED (precond trigflow, other file kinds), LIMIT (65,536 tensors, a
 * configuration of 4 MiB or 100,000 values), MEMORY, CANCELLED.
 * The header takes its own size (at most 100 MB) and 20 MB of the context. */
CM_API cm_status cm_model_load(cm_context *context, const char *path, const cm_load_options *options, cm_model **out);
CM_API void cm_model_free(cm_model *model);

/* A model with fresh weights: config_json is {"network": .., "precond": ..,
 * "image": ..} as in a native file's metadata.  Cannot be cancelled: 0.9 s for 220 MB. */
CM_API cm_status cm_model_create(cm_context *context, const char *config_json, uint64_t seed, cm_model **out);
/* How many parameters such a model has, without making it. */
CM_API cm_status cm_model_count(cm_context *context, const char *config_json, uint64_t *parameters);

/* Writes the model as a native file: same tensors, bit for bit, and its
 * resolved configuration.  The file appears whole or not at all.  A symbolic
 * link stays, and what it leads to is written; a file that is replaced hands on
 * its permissions; a directory, device, pipe or socket is refused with IO and left
 * as it is.  Cannot be cancelled: it takes what the disk takes to write and flush
 * weight_bytes. */
CM_API cm_status cm_model_save(cm_model *model, const char *path, const cm_save_options *options);

/* Fills in what is known of the model; strings live as long as the model. */
CM_API cm_status cm_model_info_get(const cm_model *model, cm_model_info *info);

/* The name of class `label`: a folder's or a file name's part that the training data
 * were told apart by, as UTF-8; NULL for a class without a name and past the end.  Lives
 * as long as the model.  cm_load_options.config_json and cm_model_create take names as
 * member "classes", a list in which name i is that of label i. */
CM_API const char *cm_model_class_name(const cm_model *model, int32_t label);
/* The label that `text` says: a whole number is that number, even where a class is called
 * so (the log warns when that one has another number); anything else is a class's
 * name, in the same letters.  ARGUMENT: no such class; the message has the nearest name
 * and the known ones. */
CM_API cm_status cm_model_find_class(const cm_model *model, const char *text, int32_t *label);

/* The tensors, 0 <= index < cm_model_param_count(), in the network's order.
 * `shape` gets up to 8 sizes; name is borrowed. */
CM_API size_t cm_model_param_count(const cm_model *model);
CM_API cm_status cm_model_param_info(const cm_model *model, size_t index, const char **name, int32_t *rank,
                                     int64_t shape[8], int32_t *dtype);
/* Copies a tensor's `count` values, widened to float32, row-major. */
CM_API cm_status cm_model_param_read(const cm_model *model, size_t index, size_t count, float *values);

/* D(x; sigma): one network evaluation per image with the model's
 * preconditioning, not clamped.
 *   x       float32, n x C x H x W, row-major: an image plus noise of standard
 *           deviation sigma
 *   sigma   n values > 0 and up to the model's sigma_max (for `ecm` 0 is
 *           allowed and gives x back); with precond `none` the network's own
 *           time input, any finite number
 *   labels  n class numbers, -1 = no label, or NULL = all -1; a conditional
 *           `adm` needs a label for every image
 *   out     float32, n x out_channels x H x W; may be x itself when
 *           out_channels equals C
 * Plans on first use and keeps that plan; calls on one model take turns, a few images
 * at a time.
 * Errors: ARGUMENT (n 0, NULL, sigma or label out of range), NUMERIC (x, or what
 * the network makes of it, is not finite; the image and the value are named, and
 * `out` is unspecified), LIMIT, MEMORY. */
CM_API cm_status cm_model_denoise(cm_model *model, size_t n, const float *x, const float *sigma,
                                  const int32_t *labels, float *out);
/* The same with options (NULL = defaults), which hold the labels; after CANCELLED `out`
 * is unspecified. */
CM_API cm_status cm_model_denoise_with(cm_model *model, const cm_denoise_options *options, size_t n, const float *x,
                                       const float *sigma, float *out);

#ifdef __cplusplus
}
#endif
#endif
