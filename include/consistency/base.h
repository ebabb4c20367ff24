/* base.h - what every other part of the interface stands on.
 *
 * Errors.  Every function that can fail returns cm_status; 0 is success.
 * The reason in words stands in cm_last_message() of the same thread, right
 * after the failing call; a successful call never changes it.
 *
 * Ownership.  A handle given through the last parameter (`cm_x **out`) is the
 * caller's and ends with cm_x_free; NULL is fine there.  On failure *out is
 * NULL.  Pointers returned by value are borrowed from their handle.  Handles
 * keep what they need alive (a sampler its model, a model its context), so
 * they may be freed in any order.
 *
 * Threads.
 *   context   shared freely
 *   model     shared freely; many samplers at a time
 *   checkpoint  shared freely
 *   sampler   one thread at a time, cm_sampler_cancel excepted
 *   trainer, data set, run   likewise; their headers have more exceptions
 *   options of training      many threads that read them, or one that changes them
 *   options of runs          one thread at a time
 * A second call on a handle of one thread gets CM_ERR_STATE and changes nothing.
 * No handle may be freed while a call on it runs.
 * Every function may be called from any thread, with a stack of 256 KiB.
 * A child process may make a context of its own after a fork, whatever its parent
 * has done; with a context that its parent made it gets CM_ERR_FORKED.
 * The process may end while threads are in the library, which has nothing that exit() takes from them.
 *
 * Cancelling.  cm_sampler_cancel, cm_trainer_cancel, cm_dataset_cancel, cm_run_stop and
 * cm_run_cancel ask the call that runs on the handle to stop, wherever it is; it returns CM_ERR_CANCELLED and the
 * handle stays usable.  A request ends with the call it was made for, and without a
 * running call it is forgotten.  Requests take no lock: any thread and any signal
 * handler may make them.  A callback that returns non-zero stops its call likewise.
 *
 * Options are structs that begin with struct_size.  cm_x_options_init(&o,
 * sizeof o) fills in the defaults; a NULL pointer means defaults too.  Fields
 * are only ever appended: a shorter struct (older program) gets defaults for
 * the rest, a longer one (newer program) is accepted when the part unknown to
 * the library is zero, else the call fails with CM_ERR_UNSUPPORTED.  A struct_size
 * that is no multiple of the struct's alignment is CM_ERR_ARGUMENT.
 * CM_X_OPTIONS_INIT is the same as an initialiser in C and C++.  For other languages:
 * members are numbers of fixed width, size_t and pointers, without padding between them or
 * at the end; what is a choice is an int32_t beside the name of its enum; members that are
 * called reserved have to be 0.
 *
 * The library never ends the process, prints, installs signal handlers, reads
 * the environment or changes the locale.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_BASE_H
#define CONSISTENCY_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) && __GNUC__ >= 4
#define CM_API __attribute__((visibility("default")))
#else
#define CM_API
#endif

/* The only place the version is written; the Makefile reads it from here. */
#define CM_VERSION_MAJOR 0
#define CM_VERSION_MINOR 1
#define CM_VERSION_PATCH 0
#define CM_VERSION_NUMBER (CM_VERSION_MAJOR * 1000000 + CM_VERSION_MINOR * 1000 + CM_VERSION_PATCH)
#define CM_CHECK_VERSION(a, b, c) (CM_VERSION_NUMBER >= (a)*1000000 + (b)*1000 + (c))

#ifdef __cplusplus
extern "C" {
#endif

/* What became of a call.  Errors are negative; numbers keep their meaning, new ones are appended. */
typedef enum cm_status {
    CM_OK = 0,
    CM_ERR_ARGUMENT = -1,    /* a parameter or option out of its range        */
    CM_ERR_MEMORY = -2,      /* an allocation failed; retry when there is more */
    CM_ERR_IO = -3,          /* a system call on a file failed                */
    CM_ERR_FORMAT = -4,      /* a file or JSON text breaks its format         */
    CM_ERR_SHAPE = -5,       /* tensors that do not fit the network           */
    CM_ERR_UNSUPPORTED = -6, /* valid, but not something this version does    */
    CM_ERR_CANCELLED = -7,   /* the caller asked to stop                      */
    CM_ERR_STATE = -8,       /* the call does not fit the handle's state      */
    CM_ERR_NUMERIC = -9,     /* a NaN or infinity where none may be           */
    CM_ERR_BACKEND = -10,    /* not returned: reserved                        */
    CM_ERR_INTERNAL = -11,   /* a defect of this library: please report it    */
    CM_ERR_LIMIT = -12,      /* a configured bound on size, count or depth    */
    CM_ERR_FORKED = -13,     /* called in a forked child                      */
    CM_ERR_PEER = -14        /* another process of a distributed run failed   */
} cm_status;

/* Types of the elements of weights, labels and pictures.  In options 0 means "the default"; each
 * option says which of the others it takes. */
typedef enum cm_dtype {
    CM_DTYPE_DEFAULT = 0,
    CM_F32 = 1,   /* IEEE 754 binary32                                     */
    CM_BF16 = 2,  /* bfloat16: the upper half of a binary32                */
    CM_F16 = 3,   /* IEEE 754 binary16                                     */
    CM_U8 = 4,    /* bytes, 0..255                                         */
    CM_I32 = 5,   /* whole numbers of 32 bits                              */
    CM_I64 = 6,   /* whole numbers of 64 bits                              */
    CM_F64 = 7,   /* IEEE 754 binary64                                     */
    CM_I8 = 8,    /* whole numbers of 8 bits                               */
    CM_I16 = 9,   /* whole numbers of 16 bits                              */
    CM_BOOL = 10, /* bytes that are 0 or 1                                */
    CM_U16 = 11,  /* whole numbers of 16 bits without a sign               */
    CM_U32 = 12,  /* whole numbers of 32 bits without a sign               */
    CM_U64 = 13   /* whole numbers of 64 bits without a sign               */
} cm_dtype;

/* What products are computed in.  Everything else (state, sums, normalization) stays
 * float32 or float64 with both. */
typedef enum cm_precision {
    CM_PRECISION_DEFAULT = 0, /* F32                                                        */
    CM_PRECISION_F32 = 1,     /* float32 operands                                           */
    CM_PRECISION_BF16 = 2     /* bfloat16 operands, float32 sums, in convolutions over multiples
                                 of 16 channels; needs a processor with AMX_BF16 or AVX512_BF16 */
} cm_precision;

/* What a handle that evaluates networks spends memory on. */
typedef enum cm_memory {
    CM_MEMORY_FAST = 0, /* transformed copies of the weights: the fastest                   */
    CM_MEMORY_SMALL = 1 /* a quarter of the packed weights, by slower direct convolutions   */
} cm_memory;

/* What writing does with a file that is there already. */
typedef enum cm_overwrite {
    CM_OVERWRITE_NO = 0, /* an existing file is an IO error */
    CM_OVERWRITE_YES = 1
} cm_overwrite;

/* The version of the library that runs: "0.1.0", and the number 0 * 1000000 + 1 * 1000 + 0, to be
 * compared with CM_VERSION_NUMBER, the version of these headers.  The text is static. */
CM_API const char *cm_version(void);
CM_API uint32_t cm_version_number(void);

/* One line for reports of faults: the version, the compiler, oneDNN at build and at run time (or
 * "no oneDNN"), the kernels that this processor gets, and the codecs.  The
 * text is the calling thread's own and stands until its next call. */
CM_API const char *cm_build_info(void);

/* The name of a status: "CM_ERR_SHAPE" for CM_ERR_SHAPE, "unknown status" for other numbers.  The
 * text is static. */
CM_API const char *cm_status_name(cm_status status);

/* The calling thread's last message: what was attempted, where, what was
 * expected and what was found.  Meaningful right after a failing call; "" before the first.
 * The text is at most 2,047 bytes of UTF-8, the thread's own, and stands until the next call of
 * this thread that fails. */
CM_API const char *cm_last_message(void);

/* The names of a NULL-terminated list that somebody may have meant by `word`: " (did
 * you mean 'lr'?)" into text, or "" where none resembles it.  Knows other programs' words
 * (learning-rate, batch-size), slips, beginnings ("one of cifar10-*") and parts.  `before`
 * stands before each name instead of quotes ("--"; NULL or "" = quotes).  Returns the
 * length; 256 bytes hold every answer, a longer one is cut. */
CM_API size_t cm_name_hint(const char *word, const char *const *names, const char *before, char *text, size_t size);

/* What an option can be: the name of entry `index` of a list and a phrase about it; NULL
 * past the end, and for a list that does not exist.  Where an enumeration stands behind
 * the list, `index` is its value.  The text is the library's.  Lists: methods (cm_method),
 * networks, model_formats (cm_model_format), feature_networks, lpips_networks, preconds, edm_discretizations,
 * edm_schedules, edm_scalings, edm_solvers, dpmpp_forms (cm_dpmpp_form), dpmpp_ends (cm_dpmpp_end), noise_sources,
 * precisions (cm_precision), memories (cm_memory), fits (cm_fit), label_rules (cm_label_rule),
 * dataset_findings (cm_dataset_finding), dataset_parts (cm_dataset_part); of training
 * objectives (cm_train_objective), distances (cm_distance), optimizers (cm_optimizer), weightings
 * (cm_loss_weighting), clip_rules (cm_clip_rule), noise_levels (cm_noise_levels), odes (cm_ode), scales_modes
 * (cm_scales_mode), mu_modes (cm_mu_mode), ect_mappings (cm_ect_mapping), pair_weightings (cm_pair_weighting),
 * scm_forms, tangent_norms, weight_nets, flow_samplers, ratio_schedules, lpips_poolings (cm_lpips_pooling),
 * lpips_resizes (cm_lpips_resize); of runs run_options (run.h).
 *
 *     for (size_t i = 0; cm_choice_name("methods", i); i++)
 *         printf("%-10s %s\n", cm_choice_name("methods", i), cm_choice_about("methods", i));
 */
CM_API const char *cm_choice_name(const char *list, size_t index);
CM_API const char *cm_choice_about(const char *list, size_t index);

/* sizeof of the public struct with that name ("cm_sample_options"), 0 when
 * there is none.  Bindings compare it with their own idea on load: a library whose struct is
 * larger is a newer one and takes theirs, one whose struct is smaller is too old for them. */
CM_API size_t cm_abi_sizeof(const char *struct_name);

/* What a program gives the library once: threads, memory and a log.
 *
 *     cm_context *own = NULL;
 *     cm_context_options options = CM_CONTEXT_OPTIONS_INIT;
 *     options.threads = 4;
 *     cm_status result = cm_context_create(&options, &own);
 *     if (result == CM_OK) result = cm_model_load(own, "model.safetensors", NULL, &model);
 *     cm_context_free(own); // the model keeps it as long as it needs it
 */
typedef struct cm_context cm_context;

/* How urgent a line of the log is; the hook gets all of them and chooses.  WARNING: a doubt that was
 * decided, and what would change it.  INFO: what was found or begun.  ERROR and DEBUG are not used by
 * this version: what fails is a cm_status. */
enum cm_log_level { CM_LOG_ERROR = 1, CM_LOG_WARNING = 2, CM_LOG_INFO = 3, CM_LOG_DEBUG = 4 };

/* What a context is made with.  The hooks and what `user` pointers lead to have to stay until the
 * last handle of the context is freed. */
typedef struct cm_context_options {
    uint32_t struct_size;
    /* Threads that a call may use, the calling one included, 1..256; 0 = the CPUs of the
     * process's affinity mask, or fewer where a control group grants fewer.  The others
     * belong to the context: they are made when a call has work for them, sleep when they
     * have none, and end with the context and the handles that keep it.  A thread that the
     * system refuses is one thread less, not a failure. */
    int32_t threads;
    /* All memory of the context and of its handles; both or neither, NULL = the C library's.
     * `alloc` returns `size` bytes that are aligned to `alignment` (64), or NULL, which
     * becomes CM_ERR_MEMORY.  Both are called from any thread, several at once.  What frees
     * a handle calls `free` alone, so it works where there is no memory at all. */
    void *(*alloc)(void *user, size_t size, size_t alignment);
    void (*free)(void *user, void *memory);
    void *memory_user;
    /* Gets warnings and notes, or NULL: a ready line of text without a newline, and its
     * cm_log_level.  Called from any thread, several at once. */
    void (*log)(void *user, int32_t level, const char *message);
    void *log_user;
    /* The host's own threads in place of the context's, or NULL: calls task(work, i) for
     * i = 0 .. n - 1, each on any thread and in any order, and returns when all have
     * returned.  It is called from any thread that calls the library, so several times at
     * once, with n at most the `threads` of the call.  Tasks wait for others only as long as
     * those run, so they may run one after the other; they need a stack of 256 KiB. */
    void (*parallel_for)(void *user, int32_t n, void (*task)(void *work, int32_t i), void *work);
    void *parallel_user;
} cm_context_options;

/* clang-format off */
#define CM_CONTEXT_OPTIONS_INIT {sizeof(cm_context_options), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
/* clang-format on */
/* Fills in the defaults that CM_CONTEXT_OPTIONS_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_context_options_init(cm_context_options *options, size_t struct_size);
/* Makes a context; options NULL means defaults, and so does a NULL context wherever a function
 * takes one: the call makes one of its own.  Fails with ARGUMENT (threads out of range, one
 * memory hook without the other) or MEMORY. */
CM_API cm_status cm_context_create(const cm_context_options *options, cm_context **out);
/* Ends the caller's own hold, or does nothing where it is NULL; the context ends with the last handle that was made
 * with it. */
CM_API void cm_context_free(cm_context *context);

/* Called with work done and work in total (network evaluations x images).
 * `done` never falls and ends at `total`, unless the call fails; `user` is the pointer beside the
 * function.  A non-zero result stops the call, which then returns CM_ERR_CANCELLED and
 * leaves its handle usable.  Runs on the thread that made the call; it must
 * return normally (no longjmp, no exception). */
typedef int32_t (*cm_progress_fn)(void *user, uint64_t done, uint64_t total);

#ifdef __cplusplus
}
#endif
#endif
