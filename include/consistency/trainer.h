/* trainer.h - networks learn.
 *
 * A trainer owns its own copy of the weights of the model it begins with, an
 * optimizer, averages of the weights, and (where the objective has one) a target
 * network and a teacher.  Everything it draws is a function of (seed, step, image):
 * the same options, data and starting weights give the same bytes for 1 to 8
 * threads, and a resumed run the same as one that never stopped.
 *
 * Threads: one call at a time on a trainer, from any thread; a second one gets STATE, so
 * a snapshot or checkpoint never holds half a step.  cm_trainer_cancel, cm_trainer_steps
 * and cm_trainer_bytes may be called at any time.  The callback of cm_trainer_run may,
 * on its own thread, call cm_trainer_model and cm_trainer_save too: it stands between two
 * steps.  The models, the dataset and the trainer's snapshots stay the caller's to free.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_TRAINER_H
#define CONSISTENCY_TRAINER_H

#include "dataset.h"
#include "image.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A network that learns.
 *
 *     cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
 *     cm_trainer *trainer = NULL;
 *     cm_model *snapshot = NULL;
 *     inputs.model = model;
 *     status = cm_trainer_create(&inputs, train_options, &trainer);
 *     if (status == CM_OK) status = cm_trainer_run(trainer, dataset, 1000, NULL, NULL);
 *     if (status == CM_OK) status = cm_trainer_model(trainer, CM_WEIGHTS_EMA, 0, &snapshot);
 *     if (status == CM_OK) status = cm_model_save(snapshot, "model.safetensors", NULL);
 *     cm_model_free(snapshot);
 *     cm_trainer_free(trainer);
 */
typedef struct cm_trainer cm_trainer;

typedef enum cm_train_objective {
    CM_TRAIN_EDM = 0, /* denoising, the diffusion teacher: Karras et al. 2022                   */
    CM_TRAIN_CD = 1,  /* consistency distillation: Song et al. 2023, Algorithm 2; needs a teacher */
    CM_TRAIN_CT = 2,  /* consistency training: Algorithm 3                                       */
    CM_TRAIN_PD = 3,  /* progressive distillation: Salimans and Ho 2022; needs a teacher         */
    CM_TRAIN_ICT = 4, /* improved consistency training: Song and Dhariwal 2023                   */
    CM_TRAIN_ECT = 5  /* easy consistency tuning: Geng et al. 2024                               */
} cm_train_objective;

/* Distance of the output from its target, over the D = C H W values of an image. */
typedef enum cm_distance {
    CM_DISTANCE_DEFAULT = 0,      /* l2; with ict and ect pseudo-huber            */
    CM_DISTANCE_L1 = 1,           /* the mean of |a - b|                          */
    CM_DISTANCE_L2 = 2,           /* the mean of (a - b)^2                        */
    CM_DISTANCE_L2_32 = 3,        /* l2 after both are resized to 32 x 32         */
    CM_DISTANCE_PSEUDO_HUBER = 4, /* sqrt(|a - b|^2 + c^2) - c, c = huber_c       */
    CM_DISTANCE_LPIPS = 5         /* of learnt features: not in this version      */
} cm_distance;

typedef enum cm_optimizer {
    CM_OPTIMIZER_RADAM = 0, /* Liu et al. 2020           */
    CM_OPTIMIZER_ADAM = 1,  /* Kingma and Ba 2015        */
    CM_OPTIMIZER_ADAMW = 2, /* Loshchilov and Hutter 2019 */
    CM_OPTIMIZER_SGD = 3
} cm_optimizer;

/* What a gradient of norm g is multiplied by so that its norm is at most grad_clip = c. */
typedef enum cm_clip_rule {
    CM_CLIP_RULE_TORCH = 0, /* min(c / (g + 1e-6), 1) */
    CM_CLIP_RULE_OPTAX = 1  /* min(c / g, 1)          */
} cm_clip_rule;

/* Weight of the loss at noise level sigma; sigma_data is the model's. */
typedef enum cm_loss_weighting {
    CM_WEIGHTING_DEFAULT = 0,      /* edm karras, pd truncated-snr, cd and ct uniform */
    CM_WEIGHTING_UNIFORM = 1,      /* 1                                               */
    CM_WEIGHTING_SNR = 2,          /* 1 / sigma^2                                     */
    CM_WEIGHTING_SNR_PLUS_1 = 3,   /* 1 / sigma^2 + 1                                 */
    CM_WEIGHTING_KARRAS = 4,       /* 1 / sigma^2 + 1 / sigma_data^2                  */
    CM_WEIGHTING_TRUNCATED_SNR = 5 /* max(1 / sigma^2, 1)                             */
} cm_loss_weighting;

/* Noise levels of denoising. */
typedef enum cm_noise_levels {
    CM_LEVELS_LOGNORMAL = 0, /* ln sigma ~ N(p_mean, p_std^2)              */
    CM_LEVELS_VP = 1,        /* the variance preserving process of NVlabs/edm */
    CM_LEVELS_VE = 2         /* the variance exploding process             */
} cm_noise_levels;

/* The step by which cd follows the teacher. */
typedef enum cm_ode {
    CM_ODE_HEUN = 0, /* second order, two evaluations */
    CM_ODE_EULER = 1 /* first order, one evaluation   */
} cm_ode;

/* N(k), the number of time points at step k of K. */
typedef enum cm_scales_mode {
    CM_SCALES_FIXED = 0,       /* start_scales                                                       */
    CM_SCALES_PROGRESSIVE = 1, /* ceil(sqrt(k/K ((s1 + 1)^2 - s0^2) + s0^2) - 1) + 1: Song et al. 2023 */
    CM_SCALES_PROGDIST = 2,    /* halved every distill_steps, pd alone                                */
    CM_SCALES_ICT = 3          /* min(s0 2^floor(k/K'), s1) + 1: Song and Dhariwal 2023               */
} cm_scales_mode;

/* Rate of the target network's average. */
typedef enum cm_mu_mode {
    CM_MU_FIXED = 0,         /* mu                                                  */
    CM_MU_ADAPTIVE = 1,      /* exp(s0 ln(mu) / (N - 1)), as the published code has it */
    CM_MU_ADAPTIVE_PAPER = 2 /* exp(s0 ln(mu) / N), as Song et al. 2023 write it    */
} cm_mu_mode;

/* n(t) of ect, in r = t (1 - n(t) / q^(stage + 1)). */
typedef enum cm_ect_mapping {
    CM_MAPPING_SIGMOID = 0, /* 1 + k sigmoid(-b t) */
    CM_MAPPING_CONST = 1    /* 1                   */
} cm_ect_mapping;

enum { CM_MAX_EMAS = 8 };

/* The options of a run: a handle with one value for each name.  The names, their ranges and defaults stand in
 * docs/training.md.  A new handle has the defaults of objective edm; setting "objective" brings the defaults of that
 * one, and "threads", "batch", "seed" and "steps" stay.  An option that the chosen objective, optimizer or mode does
 * not use has to stand at its default: cm_train_options_check and cm_trainer_create say ARGUMENT.
 *
 *     cm_train_options *options;
 *     cm_status status = cm_train_options_create(context, &options);
 *     if (status == CM_OK) status = cm_train_options_set(options, "objective", "ect");
 *     if (status == CM_OK) status = cm_train_options_set_number(options, "lr", 1e-4);
 *     ...
 *     cm_train_options_free(options);
 *
 * Threads: calls that only read (get, json, check, copy, cm_trainer_create) may run at the same time; a call that
 * changes the options must be the only one on them.  A trainer copies what it needs. */
typedef struct cm_train_options cm_train_options;

/* context: its memory hooks are used; NULL means a private one.  *out is the caller's.  Errors: MEMORY, ARGUMENT. */
CM_API cm_status cm_train_options_create(cm_context *context, cm_train_options **out);
/* A second handle with the same values and the same context. */
CM_API cm_status cm_train_options_copy(const cm_train_options *from, cm_train_options **out);
/* NULL is fine. */
CM_API void cm_train_options_free(cm_train_options *options);
/* One option by name from text: numbers, or names where the option is a choice ("objective", "cd"); averages of the
 * weights as "ema", "0.999,warmup:0.999,halflife:500000" or "none".  ARGUMENT: an unknown name, a value out of its
 * range; the message names the option, its range and the nearest name.  A call that fails changes nothing. */
CM_API cm_status cm_train_options_set(cm_train_options *options, const char *name, const char *value);
/* The same from a number: of an option that is a choice the number of its enum; a seed up to 2^53.  ARGUMENT also for
 * "ema", which is text. */
CM_API cm_status cm_train_options_set_number(cm_train_options *options, const char *name, double value);
/* The value as text that cm_train_options_set takes.  Writes at most `size` bytes with the final NUL (text may be
 * NULL when size is 0); *length (may be NULL) is the length of the whole text without the NUL.  ARGUMENT: an unknown
 * name. */
CM_API cm_status cm_train_options_get(const cm_train_options *options, const char *name, char *text, size_t size,
                                      size_t *length);
/* The value as a number.  ARGUMENT: an unknown name, "ema", or a seed above 2^53, which no double holds. */
CM_API cm_status cm_train_options_get_number(const cm_train_options *options, const char *name, double *value);
/* Fills in a named preset; cm_train_preset_name(i) lists them, NULL past the end,
 * cm_train_preset_about(i) says what each is. */
CM_API cm_status cm_train_options_preset(cm_train_options *options, const char *name);
CM_API const char *cm_train_preset_name(size_t index);
CM_API const char *cm_train_preset_about(size_t index);
/* Where its numbers are from: a table of a paper, a published configuration or launch
 * script, or "this library" (runs of docs/recipes.md). */
CM_API const char *cm_train_preset_source(size_t index);
/* The JSON of the network that goes with a preset ({"network", "precond", "image"}),
 * every argument written out. */
CM_API const char *cm_train_preset_config(size_t index);
/* ARGUMENT when the model's network is another than the preset's: the message names
 * every argument that differs with both values.  Dropout and label_dropout, which are
 * matters of training, and where the first weights come from do not count. */
CM_API cm_status cm_train_preset_check(const char *name, const cm_model *model);
/* All fields as one JSON object; *length is what it needs without the final NUL. */
CM_API cm_status cm_train_options_json(const cm_train_options *options, char *text, size_t size, size_t *length);
/* The members of such an object, or of a part of it: what it does not name stays, but
 * for an objective, which brings its defaults.  FORMAT, or as cm_train_options_set;
 * then nothing is changed. */
CM_API cm_status cm_train_options_read(cm_train_options *options, const char *json);
/* Ranges and combinations, without a model; suspicious ones go to the context's log
 * when a trainer is made. */
CM_API cm_status cm_train_options_check(const cm_train_options *options);

/* --- What options there are ------------------------------------------------------------- */

typedef enum cm_option_kind {
    CM_OPTION_INTEGER = 1, /* a whole number                          */
    CM_OPTION_REAL = 2,    /* a number                                */
    CM_OPTION_CHOICE = 3,  /* a name of a list, or its number         */
    CM_OPTION_FLAG = 4,    /* 0 or 1                                  */
    CM_OPTION_TEXT = 5     /* a text                                  */
} cm_option_kind;

/* What is known of an option.  The texts stand as long as the library. */
typedef struct cm_option_info {
    uint32_t struct_size;
    int32_t kind; /* cm_option_kind */
    const char *name;
    const char *about;       /* one sentence                                                                */
    const char *choices;     /* of a choice the list of cm_choice_name that has the names; else NULL        */
    uint64_t objectives;     /* bit CM_TRAIN_CD is set: it has an effect on cd                              */
    double minimum, maximum; /* of a number and the number of a choice; of a text the largest length or count */
    int32_t above_minimum;   /* 1: the minimum itself is not allowed                                        */
    int32_t reserved;        /* 0                                                                           */
    int32_t takes_auto;      /* 1: "auto" is a value too                                                    */
    int32_t decides_course;  /* 1: a resumed run has to have the same value; 0: it changes speed and memory alone */
    double automatic;        /* the number that cm_train_options_get_number gives for "auto"                */
} cm_option_info;
#define CM_OPTION_INFO_INIT                                                                                          \
    {                                                                                                                \
        sizeof(cm_option_info), 0, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0                                          \
    }
CM_API void cm_option_info_init(cm_option_info *info, size_t struct_size);

/* How many options there are: the others are called with 0 .. count - 1. */
CM_API size_t cm_train_option_count(void);
/* Fills in *info.  ARGUMENT: no such option. */
CM_API cm_status cm_train_option_describe(size_t index, cm_option_info *info);
/* The default of an option with an objective (cm_train_objective), as cm_train_options_get gives it. */
CM_API cm_status cm_train_option_default(size_t index, int32_t objective, char *text, size_t size, size_t *length);

/* The models of a run; models that later versions need are appended.
 * model: the weights to begin with; NULL with a teacher: the teacher's.
 * teacher: needed by cd and pd, else NULL; of the same image shape and classes (pd: the same network). */
typedef struct cm_train_inputs {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    cm_model *model;
    cm_model *teacher;
} cm_train_inputs;
#define CM_TRAIN_INPUTS_INIT                                                                                         \
    {                                                                                                                \
        sizeof(cm_train_inputs), 0, NULL, NULL                                                                       \
    }
CM_API void cm_train_inputs_init(cm_train_inputs *inputs, size_t struct_size);

/* Makes a trainer:
 *
 *     cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
 *     cm_trainer *trainer = NULL;
 *     inputs.model = model;
 *     cm_status status = cm_trainer_create(&inputs, options, &trainer);
 *     if (status == CM_OK) status = cm_trainer_run(trainer, dataset, 1000, NULL, NULL);
 *     if (status == CM_OK) status = cm_trainer_save(trainer, "run", 2);
 *     cm_trainer_free(trainer);
 *
 * options NULL: the defaults of objective edm.  Models and options may be freed at once: the trainer
 * keeps what it needs.  The trained model gets the objective's preconditioning: edm and pd "edm", cd, ct and ict
 * "cm", ect "ecm".  Cannot be cancelled: 5 s of a processor for a network of 220 MB.
 * Errors: ARGUMENT, SHAPE (teacher does not fit), MEMORY. */
CM_API cm_status cm_trainer_create(const cm_train_inputs *inputs, const cm_train_options *options, cm_trainer **out);
CM_API void cm_trainer_free(cm_trainer *trainer);
/* What cm_trainer_bytes would say of that trainer, without making it: nothing of that
 * size is allocated.  The model's own weights, two batches of pictures and what
 * oneDNN's kernels take (some MiB) come on top.  Errors as of cm_trainer_create. */
CM_API cm_status cm_trainer_estimate(const cm_train_inputs *inputs, const cm_train_options *options, uint64_t *bytes);

/* Whether a run with these options can be fed from the data set: the comparison that
 * cm_trainer_run makes first, before there is a trainer.  model: the one that learns.
 * SHAPE: images of another size or number of channels.  ARGUMENT: a class the network
 * does not know, no labels where it needs them, fewer images than a batch. */
CM_API cm_status cm_train_data_check(const cm_model *model, const cm_dataset *dataset,
                                     const cm_train_options *options);

typedef struct cm_train_report {
    uint32_t struct_size;
    int32_t scales; /* N of this step; 0 where the objective has none */
    int64_t step;   /* steps taken, this one included                 */
    uint64_t images;
    double loss, grad_norm, lr, mu;
    int32_t ect_stage, skipped; /* skipped: steps left out so far     */
    double seconds;             /* of this step                                  */
    double data_wait;           /* of them waiting for data                      */
    uint64_t peak_bytes;        /* largest resident size of the process so far */
} cm_train_report;

/* clang-format off */
#define CM_TRAIN_REPORT_INIT {sizeof(cm_train_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
/* clang-format on */
/* Fills in the defaults that CM_TRAIN_REPORT_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_train_report_init(cm_train_report *report, size_t struct_size);

/* One step on the caller's images: 1 to 1048576 of C x H x W, of any type, layout and strides (float32 in [-1, 1] or
 * bytes); condition->labels: one an image (-1 = none), or NULL.  The number may be another than the option batch and
 * may change from step to step: loss and gradient are means over the images of the step, and micro-batches are cut
 * from them.  The schedules of lr, N, mu and of the averages rate, warmup and power count steps; half-lives, `images`
 * of the report and the numbers that noise, levels, flips and dropout are drawn by count images.  So a step of n
 * images gives the bits of a trainer with batch n and the same microbatch that has taken as many steps and images.
 * More images than batch take more memory than cm_trainer_bytes says. A failing step leaves the trainer as it was.
 * Errors: ARGUMENT (a label the network does not know, no labels where it needs them, the number of images), SHAPE
 * (images of another size), MEMORY, CANCELLED, STATE.  NUMERIC: a loss or gradient that is not finite, the message
 * names step and tensor; or an image that is not, whatever skip_nonfinite says. */
CM_API cm_status cm_trainer_step(cm_trainer *trainer, const cm_images *images, const cm_condition *condition,
                                 cm_train_report *report);

/* After every step; non-zero stops the run with CM_ERR_CANCELLED.  Of this trainer it may
 * call cm_trainer_model, _save, _steps, _bytes and _cancel; the run's data set is in use. */
typedef int32_t (*cm_train_fn)(void *user, const cm_train_report *report);
/* Steps until `until` have been taken in all, reading batches ahead in a thread of
 * its own.  First the data set is compared with the network (SHAPE, ARGUMENT: image
 * shape, a class the network does not know, fewer images than a batch; another mapping
 * of class names to numbers than the run has had; until below 1), which cm_train_data_check does alone.
 * The data set's names of classes go into every snapshot and checkpoint from then on
 * (cm_model_class_name); the log warns where the model or the teacher knows others. */
CM_API cm_status cm_trainer_run(cm_trainer *trainer, cm_dataset *dataset, int64_t until, cm_train_fn progress,
                                void *user);
/* Asks a running cm_trainer_step or cm_trainer_run to stop: from any thread or signal
 * handler.  Wherever it is (reading data, between two steps, in its callback), it
 * returns CM_ERR_CANCELLED within one network evaluation or one picture's reading, and
 * the trainer is as after the last whole step.  A step whose weights are being changed
 * is finished: cm_trainer_step returns CM_OK then, cm_trainer_run stops after it.
 * Without a running call the next one is not affected; a save is never cut short. */
CM_API void cm_trainer_cancel(cm_trainer *trainer);

/* A snapshot that samplers can use: a model of its own, untouched by later steps.
 * STATE: the objective has no target network, or the trainer is at work.  ARGUMENT: no
 * such average. */
typedef enum cm_weights_of {
    CM_WEIGHTS_ONLINE = 0,
    CM_WEIGHTS_EMA = 1, /* average number `index` */
    CM_WEIGHTS_TARGET = 2
} cm_weights_of;
CM_API cm_status cm_trainer_model(cm_trainer *trainer, int32_t weights, int32_t index, cm_model **out);

/* Steps taken so far; during a run those that are complete. */
CM_API cm_status cm_trainer_steps(const cm_trainer *trainer, uint64_t *steps);

/* What a trainer with these options will take: bytes for weights, averages, moments,
 * gradients and activations of `threads` threads. */
CM_API cm_status cm_trainer_bytes(const cm_trainer *trainer, uint64_t *bytes);

/* Checkpoints.  `run` is a directory; a checkpoint is run/checkpoints/step-NNNNNNNNN,
 * whole or not there at all, with hashes of its files; run/checkpoints/LATEST names
 * the newest.  The last `keep` are kept (0 = all, at least 2 otherwise).  Every directory
 * that a trainer saves to or resumes from is locked until the trainer is freed; another
 * one, of this process or any other, gets STATE.  A lock takes a file descriptor, and a
 * child that is forked and does not exec holds it too.
 * A save is not cancelled and takes what the disk takes: write and flush of weights,
 * averages and moments (cm_trainer_bytes is an upper bound), each read back once. */
CM_API cm_status cm_trainer_save(cm_trainer *trainer, const char *run, int32_t keep);
typedef enum cm_resume_changes {
    CM_RESUME_SAME = 0,      /* everything as the checkpoint has it            */
    CM_RESUME_ANY = 1,       /* other options and data are taken, with a warning */
    CM_RESUME_MORE_STEPS = 2 /* `steps` alone may be more than the checkpoint's */
} cm_resume_changes;
/* Continues from the newest good checkpoint of `run` (a damaged newest one is named
 * in the log).  dataset (may be NULL): the set that will be used, compared with the
 * checkpoint's.  Names of classes that do not stand for the same numbers are refused with
 * the first that differs (ARGUMENT; allow_changes 1 takes the data set's).  The options that decide the course of
 * training have to be the checkpoint's: ARGUMENT lists the differences, those of options before those of the data;
 * allow_changes: cm_resume_changes.  STATE when there is no checkpoint. */
CM_API cm_status cm_trainer_resume(cm_trainer *trainer, const char *run, const cm_dataset *dataset,
                                   int32_t allow_changes);

#ifdef __cplusplus
}
#endif
#endif
