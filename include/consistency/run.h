/* run.h - a training run: a directory that explains itself and survives being killed.
 *
 * A trainer (trainer.h) takes steps.  A run is what stands around it: which network learns from
 * which pictures, where its files are, when a checkpoint is due, how it is stopped and continued.
 * cm-train and Python's cm.Run are made of these calls.  The directory of a run holds
 *
 *   config.json    all that the run is made with: options, network, data set, build
 *   log.jsonl      a line of JSON every few steps
 *   samples/       step-NNNNNNNNN.png: pages of samples, each from the same seeds and classes
 *   checkpoints/   step-NNNNNNNNN: whole or not there; LATEST names the newest (cm_trainer_save)
 *   best.safetensors  where a metric is asked for: the weights whose samples were nearest so far
 *   model.safetensors  at the end, the model to use: a copy of best.safetensors, else the first average,
 *                  else the weights; it knows the names of the classes
 *   .lock          held while a run is at work here
 *
 * Every file appears whole or not at all, log.jsonl excepted, whose lines since the last checkpoint
 * may be lost in a power failure; it is mended when the run is continued.
 *
 * A run in four calls, without the checks of each status:
 *
 *     cm_run_options *options;
 *     cm_run *run;
 *     cm_run_options_create(NULL, &options);
 *     cm_run_options_set(options, "data", "pictures");
 *     cm_run_options_set(options, "preset", "smoke");
 *     cm_run_options_set(options, "steps", "100");
 *     cm_run_create(options, "my-run", &run);
 *     cm_run_execute(run, 100, NULL, NULL);
 *     cm_run_free(run);
 *     cm_run_options_free(options);
 *
 * It is continued by cm_run_options_load(options, "my-run") in place of the three options.
 * docs/training.md has a whole program with its errors handled.
 *
 * Threads: one call at a time on a run, from any thread; a second one gets STATE.  cm_run_stop,
 * cm_run_cancel and cm_run_info_get may be called at any time.  cm_run_options is not shared
 * between threads.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_RUN_H
#define CONSISTENCY_RUN_H

#include "trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The options of a run and of its training, by name; one thread at a time. */
typedef struct cm_run_options cm_run_options;
/* A run in a directory, which it holds from cm_run_begin to cm_run_free. */
typedef struct cm_run cm_run;

/* --- what a run is made with --------------------------------------------------------------
 *
 * Options are set by name from text.  Every name that is not in this table is an option of
 * training (trainer.h): "objective", "steps", "batch", "lr", "seed", ...
 *
 *   name                default         meaning
 *   data                (none)          path of the pictures, as cm_dataset_open takes it
 *   size                the network's   side of the images in pixels, 1..65535
 *   labels              auto            where classes come from: auto, none, folder, prefix
 *   class_names         (none)          a name for each class from 0 on with commas between them, in place
 *                                       of those that the pictures have
 *   random_crop         0               1: random crops of 80 to 100 % instead of the centre
 *   stop_on_bad         0               1: a picture that cannot be read ends the run
 *   preset              (none)          options of training and a network (cm_train_preset_name)
 *   network             by the data     JSON of a new model as cm_model_create takes it, or
 *                                       "given": the one of init or teacher, whatever the preset says
 *   init                (none)          file of the model whose weights the run begins with
 *   teacher             (none)          file of the model to distil (objectives cd and pd)
 *   checkpoint_every    steps / 20      steps between checkpoints, at least 1
 *   checkpoint_seconds  0               seconds between checkpoints beside those; 0: none of these
 *   keep                3               checkpoints that are kept; 0: all
 *   sample_every        steps / 20      steps between pages of samples; 0: no pages.  Where it is
 *                                       set every page is drawn whole, however long that takes
 *   sample_share        5               percentage of the run's time that pages may take, above 0
 *                                       to 100: a page has fewer rows, or is left out, when it
 *                                       would take more.  No effect beside sample_every: ARGUMENT
 *   sample_rows         by the model    rows of a page, 1..32
 *   sample_columns      by the model    images in a row, 1..32
 *   log_every           steps / 2000    steps between lines of the log, at least 1
 *   metric              (none)          a Frechet distance of samples that is logged on the way: fid, or
 *                                       fd-NET with a feature network of metrics.h: fd-lenet, ...
 *   metric_data         (none)          what samples are compared with: an .npz file of statistics or of
 *                                       features, or pictures as cm_dataset_open takes them, which are
 *                                       cut as the run's own.  Has to be given with metric
 *   metric_features     (none)          file of the weights of that network.  Likewise
 *   metric_every        steps / 20      steps between evaluations, at least 1; the last step has one too.
 *                                       Where it is set every evaluation is made, however long it takes
 *   metric_share        5               percentage of the run's time that evaluations may take, above
 *                                       0 to 100: one that would take more is left out.  No effect
 *                                       beside metric_every: ARGUMENT
 *   metric_samples      2000            samples of an evaluation; values of equal numbers compare
 *   metric_steps        1; 5            steps of the sampler: 1 of models that draw in one step, where more
 *                                       are multistep sampling; 5 Heun steps of others
 *   metric_few          0               1: fewer than 2,000 samples, and fewer images of the reference, are
 *                                       taken, of which a distance says little
 *   allow_changes       0               1: a run is continued although options or data differ
 *
 * The metric.  Samples come from the first average, or from the weights themselves where there is none.
 * Sample i is that of cm_sampler_run with seed 0 and index i, and its class is i mod the number of classes:
 * cm-eval gives the same distance for the same weights.  Each evaluation adds a line to log.jsonl:
 *
 *   {"step": 400, "fd-lenet": 31.4, "samples": 2000, "best": 30.2, "best_step": 300, "metric_s": 4.1, "wall": ..}
 *
 * A distance that is not finite is null, and the run goes on.  The weights whose distance is the least so far stand
 * in best.safetensors, a native model file whose consistency.training says step and distance.  A run that is
 * continued goes on from there, and makes the evaluation that a stop has cut off; it ends with the same file as one
 * that never stopped (with metric_share, time decides which evaluations are made).  A file whose distance is of
 * another metric, reference or number of samples or steps does not compare, and the first evaluation replaces it.
 *
 * Without network, init, teacher and preset the run trains a network of this library's own for
 * the pictures at hand: songunet of 32, 64 and 128 channels; the side has to be a multiple of 4.
 * Later calls win over earlier ones.  cm_choice_name("run_options", i) lists the names of the table,
 * cm_choice_about says what each means. */

/* context: NULL means a private one.  Errors: MEMORY. */
CM_API cm_status cm_run_options_create(cm_context *context, cm_run_options **out);
/* May be called once a run was made: the run keeps what it needs. */
CM_API void cm_run_options_free(cm_run_options *options);

/* One option by name.  Errors: ARGUMENT names the option, its range and the nearest name; STATE:
 * a run was made of these options already; MEMORY. */
CM_API cm_status cm_run_options_set(cm_run_options *options, const char *name, const char *value);
/* The same from a number: of an option of training as cm_train_options_set_number takes it, of one
 * of the table a number where the table has numbers.  Errors: ARGUMENT, STATE, MEMORY. */
CM_API cm_status cm_run_options_set_number(cm_run_options *options, const char *name, double value);
/* How messages write the names of options: "--" for a command line's, "" (the default) for the
 * plain ones.  At most 7 bytes; longer ones are cut. */
CM_API void cm_run_options_prefix(cm_run_options *options, const char *prefix);

/* Models and data set that the caller has already, instead of "init", "teacher" and "data"; any of
 * them may be NULL.  The models are kept by the run.  The data set is the caller's to free, after
 * the run; its shape, order and labels stay as they were opened.  Errors: ARGUMENT, STATE. */
CM_API cm_status cm_run_options_inputs(cm_run_options *options, cm_model *model, cm_model *teacher,
                                       cm_dataset *dataset);

/* The processes that train together (group.h), which all make the same run; NULL: this one alone.  The table is
 * copied. Rank 0 alone writes into the directory, draws pages and evaluates, and the others wait for it meanwhile:
 * the time after which the group gives up has to be longer than that takes.  A run that is continued reads
 * config.json on every rank, and the checkpoint on rank 0.  A run that was stopped or has failed is continued by new
 * processes. Errors: ARGUMENT, STATE. */
CM_API cm_status cm_run_options_group(cm_run_options *options, const cm_group *group);

/* All of it as JSON, in the form of config.json; *length is what it needs without the final NUL.
 * Where the pictures decide the network they are opened for that.  Errors: as of cm_run_create. */
CM_API cm_status cm_run_options_json(cm_run_options *options, char *text, size_t size, size_t *length);
/* The options of such a text.  Call it first: what is set later wins.  Errors: FORMAT, ARGUMENT:
 * no "options", or a number that is none or out of its range; nothing is changed then. */
CM_API cm_status cm_run_options_read(cm_run_options *options, const char *json);
/* Those of the run in a directory, which is to be continued from its newest checkpoint: call it
 * first, then cm_run_create with the same directory.  Options that decide the course of training
 * have to stay as they are, except that "steps" may become more, unless allow_changes is set.
 * A directory without config.json is no error here: all options have to be set then.
 * Errors: FORMAT: config.json is damaged, and the options are as if it were missing. */
CM_API cm_status cm_run_options_load(cm_run_options *options, const char *directory);
/* Whether the options go together and say which pictures, and whether the files of init and teacher are models of the
 * preset's network.  cm_run_create makes the same check.
 * Errors: ARGUMENT; IO, FORMAT and others of cm_model_load. */
CM_API cm_status cm_run_options_check(cm_run_options *options);

/* Which file of a run's directory to use: model.safetensors, best.safetensors or, of a run that has neither, the
 * newest checkpoint's first average, or its weights; of a plan of several runs (cm-train --preset auto),
 * which has a plan.json, its model.safetensors or that of its last stage.  path: of `size` bytes.  context: NULL
 * means a private one. Errors: ARGUMENT: no directory of a run, NULL; IO: there is no checkpoint yet; LIMIT: `size`
 * is too small; MEMORY. */
CM_API cm_status cm_run_model_path(cm_context *context, const char *directory, char *path, size_t size);

/* --- the run -------------------------------------------------------------------------------- */

/* Opens models and data, makes the network where it is a new one, and compares them with each
 * other and, for a run that is continued, with its config.json.  Nothing is written and nothing of
 * a trainer's size is allocated yet.
 * directory: of a new run one that does not exist, whose parent does, or an empty one, which is
 * taken as it is (a link to one, a mount point).
 * Errors: IO: the directory is not empty or cannot be written; ARGUMENT and SHAPE: data, network
 * and options do not go together, or the data is not the run's; those of cm_dataset_open and
 * cm_model_load. */
CM_API cm_status cm_run_create(cm_run_options *options, const char *directory, cm_run **out);
/* Frees the run with its trainer, or nothing where it is NULL, and gives the directory back.  No call
 * may run on it.  Nothing is written: what was taken since the last checkpoint is lost. */
CM_API void cm_run_free(cm_run *run);

/* What a run is and how far it has come. */
typedef struct cm_run_info {
    uint32_t struct_size;
    int32_t batch;        /* images a step                                             */
    int64_t step, steps;  /* steps taken, and in all                                   */
    uint64_t images, bad; /* of the data set; of them found damaged so far             */
    uint64_t parameters;  /* of the network that learns                                */
    int64_t pages;        /* pages of samples that were drawn by this handle           */
    double sample_share;  /* percentage that pages may take; 0: they are drawn whole or not at all */
    int32_t channels, height, width, classes; /* of the data set                           */
    int32_t is_finished;                      /* 1: all steps have been taken                              */
    int32_t reserved;                         /* 0                                                         */
    const char *kind;                         /* of the data set: "folder", "tar", ...; static             */
    const char *classes_from;                 /* where its classes come from, as in cm_dataset_info        */
    const char *data;                         /* its path as it was given, "" for a handle; of the run     */
    const char *metric;                       /* its name, NULL where none is asked for; of the run        */
    int64_t evaluations;                      /* of it that were made by this handle                       */
    double metric_share;                      /* percentage that they may take; 0: all are made            */
    double best_distance;                     /* the least so far, of the steps before too                 */
    int64_t best_step;                        /* whose weights are in best.safetensors; 0: there are none  */
} cm_run_info;

/* clang-format off */
#define CM_RUN_INFO_INIT {sizeof(cm_run_info), 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, \
                          0, 0.0, 0.0, 0}
/* clang-format on */
/* Fills in what CM_RUN_INFO_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_run_info_init(cm_run_info *info, size_t struct_size);
/* Fills in *info; may be called at any time, while cm_run_execute runs too.  The texts live as long as
 * the run.  Errors: ARGUMENT (a NULL, a struct without its size). */
CM_API cm_status cm_run_info_get(const cm_run *run, cm_run_info *info);

/* Which parts of what a run will take are to be found out: memory is computed, time is measured. */
typedef enum cm_run_estimates {
    CM_RUN_MEMORY = 1, /* computed; nothing of that size is allocated            */
    CM_RUN_TIME = 2    /* two steps are timed with a trainer that is then freed  */
} cm_run_estimates;
/* What a run will take: memory in bytes, time in seconds. */
typedef struct cm_run_needs {
    uint32_t struct_size;
    int32_t fits;                     /* 1: `bytes` are free                                              */
    uint64_t bytes;                   /* memory of trainer, weights, batches read ahead, and a page       */
    uint64_t free_bytes;              /* that this process may still take; UINT64_MAX: not known          */
    const char *free_of;              /* what sets that bound: "the machine", "its control group", "ulimit -v" */
    int32_t batch, size;              /* that would fit where it does not; 0: none, or not ours to choose */
    uint64_t batch_bytes, size_bytes; /* memory of the run with those                             */
    double step_seconds;              /* CM_RUN_TIME: of a step                                           */
    double seconds;                   /* CM_RUN_TIME: of all the steps, pages and evaluations included    */
    double sample_share;              /* fraction of the time that pages take on top, 0..1 or more        */
    double metric_share;              /* the same of evaluations of the metric                            */
} cm_run_needs;

/* clang-format off */
#define CM_RUN_NEEDS_INIT {sizeof(cm_run_needs), 0, 0, 0, NULL, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0}
/* clang-format on */
/* Fills in what CM_RUN_NEEDS_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_run_needs_init(cm_run_needs *needs, size_t struct_size);
/* parts: CM_RUN_MEMORY, CM_RUN_TIME or their sum.  What was not asked for is 0.  Only before the
 * run has begun: STATE.  Errors: MEMORY: the run does not fit, the message says what would, and
 * `needs` is filled in all the same; those of cm_trainer_create, and of cm_trainer_run for the time. */
CM_API cm_status cm_run_estimate(cm_run *run, int32_t parts, cm_run_needs *needs);

/* Makes the trainer and the directory: of a new run the checkpoint of step 0, of one that is
 * continued the state of its newest good checkpoint; then config.json and log.jsonl.  A run that is
 * finished already is left as it is.  The first cm_run_execute does it where it was not called.
 * Errors: STATE: another run is at work in this directory, or there is no checkpoint; ARGUMENT:
 * options differ from the checkpoint's, the message lists them; IO, MEMORY.  A call that failed may
 * be repeated. */
CM_API cm_status cm_run_begin(cm_run *run);

/* What a call of cm_run_fn is about. */
typedef enum cm_run_event {
    CM_RUN_STEP = 0,       /* a step was taken                     */
    CM_RUN_CHECKPOINT = 1, /* a checkpoint was written: `path`     */
    CM_RUN_PAGE = 2,       /* a page of samples was written: `path` */
    CM_RUN_METRIC = 3      /* the metric was evaluated; `path`: best.safetensors where this was the best, else NULL */
} cm_run_event;
/* How a run stands, for a line of progress. */
typedef struct cm_run_report {
    uint32_t struct_size;
    int32_t event;       /* cm_run_event: what has just happened                            */
    int64_t step, steps; /* taken, and in all                                               */
    uint64_t images;     /* seen in all                                                     */
    /* Of the last step, as in cm_train_report. */
    double loss, grad_norm, lr;
    double images_per_second;        /* since cm_run_execute began, checkpoints and pages included      */
    double seconds_left;             /* to the last of `steps` at that rate                             */
    const char *path;                /* of the file, or NULL; borrowed for the call                     */
    const cm_train_report *training; /* the whole report of the last step; borrowed for the call */
    const char *metric;              /* its name, NULL where none is asked for; of the run              */
    double distance, best_distance;  /* of the last evaluation of this handle, not finite where samples were
                                        not; the least so far */
    int64_t best_step;               /* whose weights are in best.safetensors; 0: there are none        */
} cm_run_report;

/* clang-format off */
#define CM_RUN_REPORT_INIT {sizeof(cm_run_report), 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, NULL, NULL, NULL, 0.0, 0.0, 0}
/* clang-format on */
/* Fills in what CM_RUN_REPORT_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_run_report_init(cm_run_report *report, size_t struct_size);
/* Called after every step, for every file and for every evaluation, on the thread of cm_run_execute.  Non-zero stops
 * as cm_run_stop does.  Of this run it may call cm_run_stop, cm_run_cancel, cm_run_info_get and cm_run_trainer, and
 * of that trainer cm_trainer_model and cm_trainer_steps. */
typedef int32_t (*cm_run_fn)(void *user, const cm_run_report *report);

/* Takes steps until `until` have been taken in all, 1 to the option "steps", and writes a
 * checkpoint at the end; a run that has taken them returns at once.  May be called again with a
 * larger `until`; the bytes of every file but the times in the log are those of one call.
 * progress: NULL for none.
 * Errors: CANCELLED: it was stopped, and continues with the next call or, in another process, with
 * cm_run_options_load; NUMERIC: a loss or gradient that is not finite (the last good checkpoint
 * stays); IO: a file of the run could not be written; those of cm_run_begin and cm_trainer_run. */
CM_API cm_status cm_run_execute(cm_run *run, int64_t until, cm_run_fn progress, void *user);

/* Asks a running cm_run_execute to stop: from any thread or signal handler, without a lock.  It
 * gives up the step, the page or the evaluation at hand within one network evaluation, writes a checkpoint of the
 * last whole step and returns CM_ERR_CANCELLED.  Without a running call nothing happens. */
CM_API void cm_run_stop(cm_run *run);
/* The same without a checkpoint: steps since the last one will be taken again. */
CM_API void cm_run_cancel(cm_run *run);

/* The trainer of a run that has begun, borrowed; NULL before.  For snapshots (cm_trainer_model)
 * between two calls of cm_run_execute and inside its callback. */
CM_API cm_trainer *cm_run_trainer(cm_run *run);

#ifdef __cplusplus
}
#endif
#endif
