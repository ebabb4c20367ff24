/* checkpoint.h - any file of tensors, read as data: what it is, what it holds, whether it is whole.
 *
 * cm_model_load (model.h) takes files that hold a network of this library.  A checkpoint is
 * any file whose tensors can be read, a network or not: weights of another program, the state
 * of an optimizer, arrays that somebody has stored.  Nothing in a file is run or trusted: a
 * damaged or hostile one ends in a status whose message names the rule that it breaks.
 * What a file is, is found by its content, whatever its name.
 *
 *     cm_checkpoint *file = NULL;
 *     cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
 *     status = cm_checkpoint_open(NULL, "ema_0.9999.pt", NULL, &file);
 *     if (status == CM_OK) status = cm_checkpoint_info_get(file, &info);
 *     if (status == CM_OK) printf("%s: %s\n", info.format, info.about);
 *     cm_checkpoint_free(file);
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_CHECKPOINT_H
#define CONSISTENCY_CHECKPOINT_H

#include "base.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A file of tensors that is open for reading.  Many threads may use one at the same time.
 *
 *     cm_checkpoint *file = NULL;
 *     const char *name = NULL;
 *     float first[16];
 *     status = cm_checkpoint_open(NULL, "weights.safetensors", NULL, &file);
 *     if (status == CM_OK) status = cm_checkpoint_tensor(file, 0, &name, NULL, NULL, NULL);
 *     if (status == CM_OK) status = cm_checkpoint_read_f32(file, 0, 16, first);
 *     cm_checkpoint_free(file);
 */
typedef struct cm_checkpoint cm_checkpoint;

/* What the tensors of a file are. */
typedef enum cm_checkpoint_kind {
    CM_CHECKPOINT_TENSORS = 0,  /* no network of this library, as far as their names say     */
    CM_CHECKPOINT_MODEL = 1,    /* a network of this library: cm_model_load takes the file,
                                   unless there are weights in it that are not finite        */
    CM_CHECKPOINT_MISFIT = 2,   /* the file says which network of this library it holds, and
                                   its configuration or its tensors do not fit that          */
    CM_CHECKPOINT_OPTIMIZER = 3 /* the state of an optimizer: moments of weights, no weights */
} cm_checkpoint_kind;

/* Which tensors are listed, and what else is known of them.  Zero is the default of every
 * member, and both texts are read during the call. */
typedef struct cm_checkpoint_options {
    uint32_t struct_size;
    int32_t reserved; /* must be 0 */
    /* Which set of a file that holds several is listed: one of cm_checkpoint_set_name.  NULL:
     * the average where there is one, else the only set, else all tensors of the file. */
    const char *weights;
    /* The configuration of the network, as cm_load_options has it; one that does not fit the
     * file is then a failure of the call.  NULL: the file's, or what its tensors tell. */
    const char *config_json;
} cm_checkpoint_options;

/* clang-format off */
#define CM_CHECKPOINT_OPTIONS_INIT {sizeof(cm_checkpoint_options), 0, NULL, NULL}
/* clang-format on */

/* What is known of a file; filled in by cm_checkpoint_info_get.  Texts are borrowed and live
 * as long as the checkpoint. */
typedef struct cm_checkpoint_info {
    uint32_t struct_size;
    int32_t kind;          /* cm_checkpoint_kind                                           */
    uint64_t bytes;        /* of the file                                                  */
    uint64_t tensors;      /* that are listed: those of the chosen set                     */
    uint64_t values;       /* of these tensors                                             */
    uint64_t tensor_bytes; /* of these tensors, as the file has them                       */
    uint64_t sets;         /* names that cm_checkpoint_options.weights takes; 0 = one set
                              without a name                                               */
    uint64_t notes;        /* of cm_checkpoint_note                                        */
    const char *format;    /* "safetensors", "PyTorch (zip)", ...                          */
    const char *about;     /* one sentence: what the file is                               */
    const char *weights;   /* the set that is listed; NULL: all tensors of the file        */
    const char *network;   /* of a MODEL: a name of cm_choice_name("networks"), else NULL  */
    const char *precond;   /* of a MODEL: a name of cm_choice_name("preconds"), else NULL  */
    const char *problem;   /* why the file is no MODEL: what cm_model_load says of it; NULL
                              for a MODEL                                                  */
} cm_checkpoint_info;

/* clang-format off */
#define CM_CHECKPOINT_INFO_INIT {sizeof(cm_checkpoint_info), 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL}
/* clang-format on */

/* How cm_checkpoint_check looks, and whom it tells. */
typedef struct cm_checkpoint_check_options {
    uint32_t struct_size;
    int32_t reserved; /* must be 0 */
    /* Called with the bytes of tensors that are read and those in total, before each tensor;
     * non-zero stops the call, which returns CM_ERR_CANCELLED. */
    cm_progress_fn progress;
    void *progress_user;
    /* Called with each finding, a sentence that stands during the call, on the thread of
     * cm_checkpoint_check.  It must return normally.  NULL: findings are counted alone. */
    void (*found)(void *user, const char *finding);
    void *found_user;
} cm_checkpoint_check_options;

/* clang-format off */
#define CM_CHECKPOINT_CHECK_OPTIONS_INIT {sizeof(cm_checkpoint_check_options), 0, NULL, NULL, NULL, NULL}
/* clang-format on */

/* What cm_checkpoint_check has found. */
typedef struct cm_checkpoint_report {
    uint32_t struct_size;
    int32_t is_sound;           /* 1: every byte is there, every checksum is right, and the
                                   tensors fit the network that the file says it holds and
                                   are finite; of other files' values any will do          */
    uint64_t bytes;             /* of tensors, that were read                               */
    uint64_t checksums;         /* that were computed and found right                       */
    uint64_t without_checksum;  /* parts of the file that carry none                        */
    uint64_t nan_values;        /* values that are not a number                             */
    uint64_t infinite_values;   /* values that are infinite                                 */
    uint64_t nonfinite_tensors; /* tensors with such values                                */
    uint64_t findings;          /* sentences that `found` was called with                   */
} cm_checkpoint_report;

/* clang-format off */
#define CM_CHECKPOINT_REPORT_INIT {sizeof(cm_checkpoint_report), 0, 0, 0, 0, 0, 0, 0, 0}
/* clang-format on */

/* Each fills the caller's struct_size bytes with defaults, as the macro of its name does. */
CM_API void cm_checkpoint_options_init(cm_checkpoint_options *options, size_t struct_size);
CM_API void cm_checkpoint_info_init(cm_checkpoint_info *info, size_t struct_size);
CM_API void cm_checkpoint_check_options_init(cm_checkpoint_check_options *options, size_t struct_size);
CM_API void cm_checkpoint_report_init(cm_checkpoint_report *report, size_t struct_size);

/* Opens a file, or a folder where a format is one.  The file is mapped and has to stay as it
 * is while it is open, as for cm_model_load, and every rule of its format is checked here: lists,
 * sizes, places and checksums.  The values of tensors are not looked at; cm_checkpoint_check
 * does that.  Memory: a few times the size of the lists, at most 16 times that of the file and
 * 16 MiB.  Errors: ARGUMENT (options; path is NULL or empty; no set of that name), IO (the file
 * cannot be read), FORMAT (it is no file of tensors, or breaks its format: the message names the
 * rule), UNSUPPORTED (another kind of file of tensors, named; a type of tensor that is not
 * read), LIMIT, MEMORY; with config_json those of cm_model_load but NUMERIC.
 *
 *     cm_checkpoint_options options = CM_CHECKPOINT_OPTIONS_INIT;
 *     options.weights = "model";
 *     status = cm_checkpoint_open(context, "checkpoint.pt", &options, &checkpoint);
 */
CM_API cm_status cm_checkpoint_open(cm_context *context, const char *path, const cm_checkpoint_options *options,
                                    cm_checkpoint **out);
/* The same of `size` bytes (at least 1), which are borrowed: they have to stay where and as
 * they are until the checkpoint is freed.  Messages say "memory".  Errors: those of
 * cm_checkpoint_open but IO. */
CM_API cm_status cm_checkpoint_open_memory(cm_context *context, const void *bytes, size_t size,
                                           const cm_checkpoint_options *options, cm_checkpoint **out);
/* Frees the checkpoint, or nothing where it is NULL. */
CM_API void cm_checkpoint_free(cm_checkpoint *checkpoint);

/* Fills in what is known of the file.  Errors: ARGUMENT (NULL, struct_size). */
CM_API cm_status cm_checkpoint_info_get(const cm_checkpoint *checkpoint, cm_checkpoint_info *info);
/* The model of a MODEL, to be asked for what model.h tells of one (cm_model_info_get,
 * cm_model_class_name, cm_model_param_info); NULL for others.  It is borrowed and lives as
 * long as the checkpoint. */
CM_API const cm_model *cm_checkpoint_model(const cm_checkpoint *checkpoint);

/* Describes tensor `index`, 0 .. cm_checkpoint_info.tensors - 1, in the file's order.  Each of
 * the four results may be NULL.  `name` is borrowed and lives as long as the checkpoint;
 * `shape` gets `rank` sizes and zeros behind them; `dtype` is the type in the file, a cm_dtype.
 * Errors: ARGUMENT (NULL checkpoint, index). */
CM_API cm_status cm_checkpoint_tensor(const cm_checkpoint *checkpoint, size_t index, const char **name, int32_t *rank,
                                      int64_t shape[8], int32_t *dtype);
/* The index of the tensor of that name.  Errors: ARGUMENT (NULL, or no such tensor; the message
 * has the nearest name; *index is as it was). */
CM_API cm_status cm_checkpoint_find(const cm_checkpoint *checkpoint, const char *name, size_t *index);
/* Copies the bytes of tensor `index`: its values row-major, in its type, in the order of this
 * machine.  `size` is how many bytes fit and has to be the tensor's: the product of its shape
 * times 8 (CM_F64, CM_I64, CM_U64), 4 (CM_F32, CM_I32, CM_U32), 2 (CM_F16, CM_BF16, CM_I16,
 * CM_U16) or 1.  Errors: ARGUMENT (NULL, index, size), IO, FORMAT, MEMORY. */
CM_API cm_status cm_checkpoint_read(const cm_checkpoint *checkpoint, size_t index, size_t size, void *bytes);
/* The same as float32: halves are widened, doubles and whole numbers converted.  `count` is how
 * many values fit and has to be the tensor's.  Errors: those of cm_checkpoint_read. */
CM_API cm_status cm_checkpoint_read_f32(const cm_checkpoint *checkpoint, size_t index, size_t count, float *values);

/* The name of set `index` of the file, 0 .. cm_checkpoint_info.sets - 1; NULL past the last
 * one and for a checkpoint that is NULL.  The text lives as long as the checkpoint. */
CM_API const char *cm_checkpoint_set_name(const cm_checkpoint *checkpoint, size_t index);
/* Something that the file says besides its tensors, 0 .. cm_checkpoint_info.notes - 1: metadata,
 * what wrote it, its version, the state of the training that it is from.  Texts live as long
 * as the checkpoint.  Errors: ARGUMENT (NULL, index). */
CM_API cm_status cm_checkpoint_note(const cm_checkpoint *checkpoint, size_t index, const char **key,
                                    const char **value);

/* Reads everything and counts what is amiss: values that are not finite, tensors that do not
 * fit the network, bytes that cannot be read.  What breaks the format itself was refused when
 * the file was opened.  Findings are not failures: the call is OK, and is_sound of the report is
 * 0.  Findings name at most 100 tensors.  options may be NULL.  Errors: ARGUMENT (NULL, options,
 * struct_size), MEMORY, CANCELLED.
 *
 *     cm_checkpoint_report report = CM_CHECKPOINT_REPORT_INIT;
 *     status = cm_checkpoint_check(checkpoint, NULL, &report);
 *     if (status == CM_OK && !report.is_sound) printf("it is damaged\n");
 */
CM_API cm_status cm_checkpoint_check(const cm_checkpoint *checkpoint, const cm_checkpoint_check_options *options,
                                     cm_checkpoint_report *report);

#ifdef __cplusplus
}
#endif
#endif
