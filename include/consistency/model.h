/* model.h - a network with its weights.
 *
 * A native model is one safetensors file whose metadata says what network it
 * holds, how it is preconditioned and what images it makes (docs/model-file.md).
 * Checkpoints of PyTorch (.pt, .pth: state dictionaries, zip and legacy) and snapshots
 * of NVlabs' EDM code and its successors (.pkl) are read too; nothing in them is run.
 * A model is loaded from a file, from memory or through a function that reads,
 * or it is made from a configuration with fresh weights.  It never changes
 * afterwards, and every thread may use it at the same time.
 *
 *     cm_model *model;
 *     if (cm_model_load(NULL, "digits.safetensors", NULL, &model) != CM_OK)
 *         fprintf(stderr, "%s\n", cm_last_message());
 *     ...
 *     cm_model_free(model);
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_MODEL_H
#define CONSISTENCY_MODEL_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A network with its weights and what it takes to evaluate them.
 *
 *     cm_model *model = NULL;
 *     cm_model_info info = CM_MODEL_INFO_INIT;
 *     status = cm_model_load(NULL, "model.safetensors", NULL, &model);
 *     if (status == CM_OK) status = cm_model_info_get(model, &info);
 *     if (status == CM_OK) printf("%d x %d, %s\n", info.height, info.width, info.network);
 *     cm_model_free(model);
 */
typedef struct cm_model cm_model;

/* What loading does with weights that are NaN or infinite. */
typedef enum cm_nonfinite {
    CM_NONFINITE_REFUSE = 0, /* CM_ERR_NUMERIC, naming the first such tensor */
    CM_NONFINITE_ALLOW = 1
} cm_nonfinite;

/* Whether the weights are used where they are. */
typedef enum cm_copy {
    CM_COPY_NO = 0, /* a file is mapped, memory is used in place */
    CM_COPY_YES = 1
} cm_copy;

typedef struct cm_load_options {
    uint32_t struct_size;
    int32_t allow_nonfinite; /* cm_nonfinite; default CM_NONFINITE_REFUSE */
    /* JSON object with members "network", "precond", "image" (and "classes",
     * "training", "sampling"), each as its consistency.* metadata entry.  Members given here replace
     * those of the file, and what its tensors' names tell; a "network" or "precond" without its
     * "type" replaces single arguments of those.  The text is read during the call. */
    const char *config_json;
    /* Called during the call, on its thread, with the bytes that are done and the bytes in
     * total, those that are copied and those of the weights that are looked at; done never
     * falls and ends at the total.  It is asked before each tensor, and every 4 MiB while
     * bytes are copied.  Non-zero stops the call, which returns CM_ERR_CANCELLED. */
    cm_progress_fn progress;
    void *progress_user;
    /* cm_copy; default CM_COPY_NO.  With CM_COPY_YES the weights are copied into memory of
     * the context, as many bytes as the model's file has, and the source is not needed after
     * the call.  A stream is copied with either. */
    int32_t copy;
    int32_t reserved; /* must be 0 */
    /* Which weights are loaded from a file that holds several sets, as training programs
     * write them: the name of a dictionary or map in it or of what tensors' names begin with
     * ("ema", "model", "net_ema", "params").  NULL: the average where there is one, else the only
     * set.  ARGUMENT where there are no weights of that name or the format holds one set. */
    const char *weights;
} cm_load_options;

/* A function that reads a model: from an archive, over a network, out of a file object.
 *
 *     static int32_t read_part(void *user, uint64_t offset, void *bytes, size_t size)
 *     {
 *         return (int32_t)pread(*(int *)user, bytes, size, (off_t)offset);
 *     }
 *
 *     int file = open("model.safetensors", O_RDONLY);
 *     cm_reader reader = CM_READER_INIT;
 *     reader.size = (uint64_t)lseek(file, 0, SEEK_END);
 *     reader.read = read_part;
 *     reader.user = &file;
 *     status = cm_model_load_stream(context, &reader, NULL, &model);
 */
typedef struct cm_reader {
    uint32_t struct_size;
    int32_t reserved; /* must be 0 */
    uint64_t size;    /* bytes of the whole, at least 1 */
    /* Puts up to `size` bytes (1 .. 4 MiB) from byte `offset` on into `bytes`, with
     * offset + size <= reader.size.  Returns how many it has put; fewer than asked for are
     * fine, the rest is asked for again.  0 says that there are no more and a negative number
     * that reading failed: both end the call with CM_ERR_IO.  It runs on the thread of the
     * call, never after its end, and must return normally (no longjmp, no exception). */
    int32_t (*read)(void *user, uint64_t offset, void *bytes, size_t size);
    void *user;
} cm_reader;

/* clang-format off */
#define CM_LOAD_OPTIONS_INIT {sizeof(cm_load_options), 0, NULL, NULL, NULL, 0, 0, NULL}
#define CM_READER_INIT {sizeof(cm_reader), 0, 0, NULL, NULL}
/* clang-format on */

/* What cm_model_save writes. */
typedef enum cm_model_format {
    CM_MODEL_NATIVE = 0,   /* one safetensors file that says what it is (docs/model-file.md)         */
    CM_MODEL_TORCH = 1,    /* one file of PyTorch, a state dictionary in a zip archive (.pt, .pth)   */
    CM_MODEL_DIFFUSERS = 2 /* a folder as the library diffusers reads it: a ConsistencyModelPipeline */
} cm_model_format;

typedef struct cm_save_options {
    uint32_t struct_size;
    int32_t overwrite; /* cm_overwrite; default CM_OVERWRITE_NO */
    int32_t format;    /* cm_model_format; default CM_MODEL_NATIVE */
    /* cm_dtype of the weights: CM_F32, CM_F16 or CM_BF16, rounded to the nearest; 0 leaves each
     * as the model holds it.  The frequencies of a time embedding, the levels of iddpm and filters
     * stay as they are with any.  A number that would become infinite is CM_ERR_NUMERIC. */
    int32_t dtype;
    /* For CM_MODEL_DIFFUSERS: the most bytes of weights in one file, above which there are several
     * and an index; a tensor that is larger has a file of its own.  0: one file.  ARGUMENT with the other formats. */
    uint64_t shard_bytes;
    /* Called during the call, on its thread, with the bytes of weights that are written and those
     * in total; done never falls and ends at the total.  It is asked before each tensor and every
     * 4 MiB.  Non-zero stops the call, which returns CM_ERR_CANCELLED and leaves nothing. */
    cm_progress_fn progress;
    void *progress_user;
} cm_save_options;

/* clang-format off */
#define CM_SAVE_OPTIONS_INIT {sizeof(cm_save_options), 0, 0, 0, 0, NULL, NULL}
/* clang-format on */

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
    /* The scale w of guidance, above 0 to 1e6, for all times and images of the call; 0: none, which is a scale of 1.
     * A network with `conditions` in its configuration is told w.  A diffusion model that knows "no label" is
     * evaluated twice, and D is D_u + w (D_c - D_u) of images that have a label, with D_c and D_u its values with it
     * and without one (Ho and Salimans 2022).  It has to have learnt without labels too (the training option
     * label_dropout). ARGUMENT for other models, and in calls that train, tell likelihoods or, of a network that is
     * not told, differentiate. */
    double guidance;
} cm_condition;

/* clang-format off */
#define CM_CONDITION_INIT {sizeof(cm_condition), 0, NULL, 0}
/* clang-format on */

/* How cm_model_denoise_with evaluates.  Zero is the default of every member, and all
 * pointers are borrowed for the call. */
typedef struct cm_denoise_options {
    uint32_t struct_size;
    int32_t reserved;              /* must be 0                            */
    const cm_condition *condition; /* NULL: label -1 ("none") for all      */
    /* After every few images, with how many of the call are done; non-zero stops the call
     * within one network evaluation.  While the call waits for another thread's it is asked
     * ten times a second.  May call anything, this function on this model included. */
    cm_progress_fn progress;
    void *progress_user;
    /* For networks of two times: n levels, each from 0 to the image's sigma, on the same axis as
     * sigma.  The network is told the second time of this level; NULL: 0 for all.  It is ARGUMENT for
     * networks of one time. */
    const float *second;
    /* Of cm_model_denoise_tangent: n finite numbers, the tangent of `second`; NULL = zero.  They are 0
     * where sigma is 0.  ARGUMENT in the other calls and for networks of one time. */
    const float *second_tangent;
} cm_denoise_options;

/* clang-format off */
#define CM_DENOISE_OPTIONS_INIT {sizeof(cm_denoise_options), 0, NULL, NULL, NULL, NULL, NULL}
/* clang-format on */

/* How cm_model_bits_per_dim works.  Zero is the default of every member, and all pointers are
 * borrowed for the call. */
typedef struct cm_likelihood_options {
    uint32_t struct_size;
    int32_t probes;                /* random directions of the trace, 1..1000; default 1            */
    double rk45_rtol, rk45_atol;   /* tolerances, 1e-10..1; default 1e-5                            */
    int32_t rk45_max_nfe;          /* evaluations that a direction may take, 8..1,000,000; default 1000 */
    int32_t continuous;            /* 1: x is taken as it is; 0, the default: x is of 8-bit pictures */
    double sigma_min, sigma_max;   /* the levels to walk between; default as of cm_sample_options   */
    uint64_t seed, first_index;    /* image i draws from stream first_index + i of the seed         */
    const cm_condition *condition; /* NULL: label -1 ("none") for all                               */
    /* After each network evaluation, which is of up to 16 images, with how many of the call are done; non-zero stops
     * the call. */
    cm_progress_fn progress;
    void *progress_user;
    int32_t *evaluations; /* n numbers out, the evaluations of each image and direction; or NULL */
} cm_likelihood_options;

/* clang-format off */
#define CM_LIKELIHOOD_OPTIONS_INIT {sizeof(cm_likelihood_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL}
/* clang-format on */

/* What is known of a model; filled in by cm_model_info_get. */
typedef struct cm_model_info {
    uint32_t struct_size;
    int32_t channels, height, width; /* of its images                                      */
    int32_t out_channels;            /* of the output of cm_model_denoise                  */
    int32_t num_classes;             /* labels are 0 .. num_classes - 1; 0 = unconditional */
    int32_t needs_label;             /* 1: label -1 ("no label") is an error               */
    int32_t is_consistency;          /* 1: D is a consistency function (precond cm or ecm) */
    double sigma_min, sigma_max;     /* the range of noise levels it was made for          */
    double sigma_data;               /* the standard deviation of its training images      */
    uint64_t parameters;             /* values of the weights, frequencies included        */
    uint64_t tensors;                /* of the weights                                     */
    uint64_t weight_bytes;           /* of the weights, as the file holds them             */
    const char *network;             /* a name of cm_choice_name("networks"); borrowed     */
    const char *precond;             /* a name of cm_choice_name("preconds"); borrowed     */
    const char *config_json;         /* the resolved configuration; borrowed               */
} cm_model_info;

/* clang-format off */
#define CM_MODEL_INFO_INIT {sizeof(cm_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL}
/* clang-format on */

/* Each fills the caller's struct_size bytes with defaults, as the macro of its name does. */
CM_API void cm_load_options_init(cm_load_options *options, size_t struct_size);
CM_API void cm_reader_init(cm_reader *reader, size_t struct_size);
CM_API void cm_save_options_init(cm_save_options *options, size_t struct_size);
CM_API void cm_condition_init(cm_condition *condition, size_t struct_size);
CM_API void cm_denoise_options_init(cm_denoise_options *options, size_t struct_size);
CM_API void cm_likelihood_options_init(cm_likelihood_options *options, size_t struct_size);
CM_API void cm_model_info_init(cm_model_info *info, size_t struct_size);

/* Loads a model from a file.  Without CM_COPY_YES the file is mapped and has to stay as it
 * is while the model or anything made from it lives: replacing it by rename is fine; writing
 * into it changes the model, and cutting it short makes the system end the process (SIGBUS).
 * Where others may do that, or the file is on a drive that can go away, load with CM_COPY_YES: the
 * file is read once, and what happens to it meanwhile is CM_ERR_IO.
 *
 * What a file is, is found by its content.  A file without a configuration gets one from the
 * names and shapes of its tensors.  What they do not tell is taken as in the published models:
 * for adm images of 8 x 2^(levels - 1) pixels a side, heads of 64 channels and precond "cm", or
 * "edm" where the file's name begins with "edm_"; for the others precond "edm", with two times
 * "average-velocity" or "imm".  Which order the attention of MeanFlow's and SoFlow's networks
 * has is told by what their names begin with in the file, else UNSUPPORTED until
 * attention_layout is given.  That is a
 * warning of the context and stands in config_json under "training"; what
 * cm_load_options.config_json says goes before.  The noise levels that published models are
 * sampled at become member "sampling" (docs/model-file.md).
 *
 * The context (NULL: a private one) lives as long as the model.  Nothing in a file is trusted:
 * a damaged or hostile one ends in a status.  The header of a file takes its own size, at most
 * 100 MB, and 20 MB of the context; a checkpoint of PyTorch takes 8 MiB and 8 bytes for each
 * byte of its pickle at most.  Errors: ARGUMENT (options; path is NULL or empty), IO (the
 * file cannot be read), FORMAT (it is no model, or its JSON is wrong: the message names the
 * rule or the argument), SHAPE (missing, extra or mismatched tensors, listed), NUMERIC
 * (weights that are not finite), UNSUPPORTED (other kinds of model files),
 * LIMIT (65,536 tensors, a configuration of 4 MiB or 100,000 values), MEMORY, CANCELLED. */
CM_API cm_status cm_model_load(cm_context *context, const char *path, const cm_load_options *options, cm_model **out);

/* Loads a model from `size` bytes (at least 1), the content of such a file: part of a program,
 * a download, a file that the caller has mapped.  Without CM_COPY_YES the bytes are borrowed:
 * they have to stay where and as they are until the model and every sampler and trainer made
 * from it are freed.  Any address will do; float32 weights at a multiple of 4 are used in
 * place, others are widened into memory of the context when they are first needed.  Messages say "memory" where
 * those of cm_model_load say the path.  Errors: those of cm_model_load but IO.
 *
 *     static const unsigned char digits[] = {0}; // the bytes of a model file
 *     status = cm_model_load_memory(context, digits, sizeof digits, NULL, &model);
 */
CM_API cm_status cm_model_load_memory(cm_context *context, const void *bytes, size_t size,
                                      const cm_load_options *options, cm_model **out);

/* Loads a model through a function; see cm_reader.  The weights are copied, and neither the
 * reader nor its function is used after the call.  Messages say "stream".  Errors: those of
 * cm_model_load; IO where the function fails, ends early or returns more than it was asked for. */
CM_API cm_status cm_model_load_stream(cm_context *context, const cm_reader *reader, const cm_load_options *options,
                                      cm_model **out);

/* Frees the model, or nothing where it is NULL.  Samplers and trainers that were made from it
 * keep what they need of it. */
CM_API void cm_model_free(cm_model *model);

/* Makes a model with fresh weights, drawn as the reference of its family draws them: a function
 * of the configuration and the seed (any number) alone.  config_json is {"network": ..,
 * "precond": .., "image": ..} as in a native file's metadata, and is read during the call.
 * Cannot be cancelled: it takes 0.9 s for 220 MB.  Errors: ARGUMENT (NULL), FORMAT (the message
 * names the argument), SHAPE (layers that do not fit each other), UNSUPPORTED, LIMIT, MEMORY.
 *
 *     status = cm_model_create(NULL,
 *                              "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 3},"
 *                              " \"precond\": {\"type\": \"edm\"}}",
 *                              1, &model);
 */
CM_API cm_status cm_model_create(cm_context *context, const char *config_json, uint64_t seed, cm_model **out);
/* Counts the parameters that such a model has, without making it.  Errors: those of
 * cm_model_create; *parameters is then 0. */
CM_API cm_status cm_model_count(cm_context *context, const char *config_json, uint64_t *parameters);

/* Writes the model: as a native file where the options say nothing else, with the same tensors,
 * bit for bit, and its resolved configuration.  What is written appears whole or not at all.
 * A symbolic link stays, and what it leads to is written; a file that is replaced hands on its
 * permissions; a directory, device, pipe or socket in the place of a file is refused with IO and left as it is.
 * Any number of threads may save one model.
 *
 * CM_MODEL_TORCH: torch.load(path, weights_only=True) gives a state dictionary under the names of
 * the reference network; the configuration stands in a member of the archive that PyTorch passes
 * over, so that cm_model_load needs nothing else.
 *
 * CM_MODEL_DIFFUSERS: path is a folder, in whose place none may be but an empty one; with
 * CM_OVERWRITE_YES another such model is replaced, never a folder with other things in it.  It has
 * networks adm with resblock_updown, channel_mult[0] 1 and one number of channels a head, and precond cm;
 * others are UNSUPPORTED.
 *
 * Errors: ARGUMENT (NULL, an empty path, options), IO (the file exists, the disk is full, the
 * folder around it is missing), UNSUPPORTED (the format cannot say what the model is; the message
 * says which can), NUMERIC (a number is too large for dtype; the message names the tensor),
 * CANCELLED, MEMORY, FORKED. */
CM_API cm_status cm_model_save(cm_model *model, const char *path, const cm_save_options *options);

/* Fills in what is known of the model.  The strings are borrowed and live as long as the model.
 * Errors: ARGUMENT (NULL, struct_size).
 *
 *     cm_model_info info = CM_MODEL_INFO_INIT;
 *     status = cm_model_info_get(model, &info);
 */
CM_API cm_status cm_model_info_get(const cm_model *model, cm_model_info *info);

/* Returns the name of class `label` as UTF-8: the part of a folder's or a file's name that the
 * training data were told apart by.  Returns NULL for a class without a name, past the last
 * class and for a model that is NULL.  The text lives as long as the model.
 * cm_load_options.config_json and cm_model_create take names as member "classes", a list in
 * which name i is that of label i. */
CM_API const char *cm_model_class_name(const cm_model *model, int32_t label);
/* Finds the label that `text` says.  A whole number is that number, even where a class is called
 * so (the log warns when that one has another number); anything else is a class's name, in the
 * same letters.  Errors: ARGUMENT (NULL, or no such class; the message has the nearest name and
 * the known ones; *label is as it was), MEMORY. */
CM_API cm_status cm_model_find_class(const cm_model *model, const char *text, int32_t *label);

/* The number of tensors, constant buffers excepted; 0 for NULL. */
CM_API size_t cm_model_param_count(const cm_model *model);
/* Describes tensor `index`, 0 .. cm_model_param_count() - 1, in the network's order.  Each of the
 * four results may be NULL.  `name` is borrowed and lives as long as the model; `shape` gets
 * `rank` sizes, outputs first, and zeros behind them; `dtype` is the type in the file, CM_F32,
 * CM_BF16 or CM_F16.  Errors: ARGUMENT (NULL model, index). */
CM_API cm_status cm_model_param_info(const cm_model *model, size_t index, const char **name, int32_t *rank,
                                     int64_t shape[8], int32_t *dtype);
/* Copies the values of tensor `index`, widened to float32, row-major.  `count` is how many values
 * fit into `values` and has to be the tensor's.  Errors: ARGUMENT (NULL, index, count). */
CM_API cm_status cm_model_param_read(const cm_model *model, size_t index, size_t count, float *values);

/* Evaluates D(x; sigma) = c_skip x + c_out F(c_in x, c_noise), the model's estimate of the
 * image behind x, once for each of n images; the result is not clamped.  F is the network and
 * the scalings are those of the model's preconditioning, with s for sigma and d for
 * sigma_data:
 *
 *     cm          c_skip = d^2 / ((s - sigma_min)^2 + d^2), c_out = (s - sigma_min) d / r,
 *                 c_in = 1 / r, r = sqrt(s^2 + d^2)     (Song et al. 2023, appendix C)
 *     edm, ecm    c_skip = d^2 / r^2, c_out = s d / r, c_in = 1 / r    (Karras et al. 2022)
 *     trigflow, trigflow-edm   the same with -c_out and c_noise = arctan(s / d)    (Lu and Song 2024)
 *     vp, iddpm   c_skip = 1, c_out = -s, c_in = 1 / sqrt(s^2 + 1)
 *     ve          c_skip = 1, c_out = s, c_in = 1
 *     none        F itself
 *     average-velocity   x_t - t u(x_t; t, r) with t = s / (1 + s), x_t = x / (1 + s); r = 0 unless the
 *                 options have a second level s', whose r is s' / (1 + s').  u is the mean velocity from t
 *                 down to r, so that (s'/s) x + (1 - s'/s) D is the image at level s'
 *     imm, edm-flow   c_skip, |c_out| and c_in of edm, in imm with -c_out and c_noise = s / (s + d); the second
 *                 time is c_noise(max(s', sigma_min)), and the image at level s' is as above
 *
 * c_noise is 250 ln(s) or ln(s) / 4 for cm, edm, ecm and edm-flow, by the member "time" of the
 * configuration, and where nothing is said of it above the level's own number or logarithm.
 *
 *   x       dense float32, n x C x H x W: images in [-1, 1] plus noise of standard
 *           deviation sigma; finite
 *   sigma   n noise levels, above 0 and up to the model's sigma_max; 0 is allowed for ecm,
 *           trigflow, average-velocity, imm and edm-flow and gives x back; with precond none any
 *           finite number, which is the network's own time input
 *   labels  n class numbers, -1 = no label; NULL = all -1.  Where needs_label of
 *           cm_model_info is 1, every image needs a label
 *   out     dense float32, n x out_channels x H x W; may be x itself where out_channels
 *           equals C
 *
 * The first call plans and allocates, for as many images at a time as the context has
 * threads; the model keeps that.  Calls on one model from several threads take turns, a few
 * images at a time; a sampler (sampler.h) does not wait for them.  Errors: ARGUMENT (n 0,
 * NULL, sigma or a label out of range), NUMERIC (x, or what the network makes of it, is not
 * finite; the message names the image and the value, and `out` is unspecified), LIMIT (n
 * images do not fit into memory), MEMORY, FORKED.
 *
 *     const float sigma[2] = {1, 40};
 *     status = cm_model_denoise(model, 2, noisy, sigma, NULL, denoised);
 */
CM_API cm_status cm_model_denoise(cm_model *model, size_t n, const float *x, const float *sigma,
                                  const int32_t *labels, float *out);

/* The same with options (NULL: defaults), which hold what the network is conditioned on, and its
 * second time.  Errors: those of cm_model_denoise, ARGUMENT (a second time for a network of one time, or
 * one that is above the first, not finite or below 0) and CANCELLED, after which `out` is unspecified. */
CM_API cm_status cm_model_denoise_with(cm_model *model, const cm_denoise_options *options, size_t n, const float *x,
                                       const float *sigma, float *out);

/* Evaluates D as the call above does, and its derivative in a direction: with x' for x_tangent
 * and s' for sigma_tangent
 *
 *     out_tangent = dD/dx x' + dD/dsigma s'    (the limit of (D(x + h x'; sigma + h s') - D(x; sigma)) / h)
 *
 * in one pass by forward differentiation, through the network and through the scalars that follow
 * from sigma.  `out` has the same bits as that of the call above.
 *
 *   x_tangent      dense float32, n x C x H x W, any finite numbers; NULL = zero
 *   sigma_tangent  n finite numbers; NULL = zero.  They are 0 where sigma is 0, where D is the
 *                  identity and the network has no value.  For precond iddpm the network is told
 *                  the number of the nearest level, which has the derivative 0; for precond none
 *                  this is the tangent of the network's own time input
 *   out_tangent    dense float32, n x out_channels x H x W; may be x_tangent itself where
 *                  out_channels equals C.  out and out_tangent are two arrays
 *
 * x_tangent, sigma_tangent or the second_tangent of the options, whose dD/dsecond second' is added,
 * is needed.  It takes about twice the time and twice the activations
 * of cm_model_denoise; what the first call with each choice of these allocates is kept
 * by the model.  Labels are constants.  Errors: those of cm_model_denoise_with, ARGUMENT (all
 * tangents are NULL, a sigma_tangent or second_tangent that is not 0 at sigma 0) and NUMERIC (a tangent, or what the
 * network makes of it, is not finite).
 *
 *     const float moves[2] = {-1, -1};
 *     status = cm_model_denoise_tangent(model, NULL, 2, noisy, sigma, NULL, moves, denoised, slope);
 */
CM_API cm_status cm_model_denoise_tangent(cm_model *model, const cm_denoise_options *options, size_t n,
                                          const float *x, const float *sigma, const float *x_tangent,
                                          const float *sigma_tangent, float *out, float *out_tangent);

/* Says how likely the model finds images: bits[i], minus the binary logarithm of image i's probability
 * over its C H W values, by the probability-flow ODE (Song et al. 2021, section 4.3).  With the slope
 * f(x; s) = (x - D(x; s)) / s of the path from the image at sigma_min to noise at sigma_max
 *
 *     ln p(x) = ln N(x_end; 0, sigma_max^2) + integral of tr(df/dx) ds
 *
 * and bits = 7 - log2 p(x) / (C H W), where 7 is that 256 levels lie on [-1, 1].  The path is that of
 * CM_METHOD_RK45 (sampler.h); the integral is one more value of its state.  The trace is Hutchinson's
 * estimate, the mean over `probes` directions v of +1 and -1 of v . df/dx v, which hold along the path: the
 * result is unbiased but for tolerances, and varies with the seed.
 *
 *   x     dense float32, n x C x H x W.  Of 8-bit pictures, 2 v / 255 - 1: a value uniform on one level is added
 *         (dequantisation, Theis et al. 2016), 2 (v + u) / 256 - 1, so that the bits are an upper bound of
 *         those of the 8-bit picture.  With `continuous` any finite numbers, which are not touched
 *   bits  n numbers
 *
 * The result of an image is a function of the model, the image, its label, the seed, first_index + i and the
 * options; n and the number of threads change no bit.  Each evaluation takes about twice the time of
 * cm_model_denoise.  Options NULL: defaults.  Several threads may call it on one model.
 *
 * Errors: ARGUMENT (NULL, n 0, an option or a label out of range, x that is of no 8-bit picture), UNSUPPORTED
 * (a consistency function is no denoiser: precond cm, ecm, trigflow, average-velocity, imm and edm-flow; precond
 * none), NUMERIC (x or an evaluation is not finite; an image that is not through after rk45_max_nfe), CANCELLED,
 * LIMIT, MEMORY, FORKED.
 *
 *     double bits[2];
 *     status = cm_model_bits_per_dim(model, NULL, 2, images, bits);
 */
CM_API cm_status cm_model_bits_per_dim(cm_model *model, const cm_likelihood_options *options, size_t n,
                                       const float *x, double *bits);

#ifdef __cplusplus
}
#endif
#endif
