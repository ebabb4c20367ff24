/* options.h - what a run is made with, by name; and what is opened for it. */
#ifndef CM_RUN_OPTIONS_H
#define CM_RUN_OPTIONS_H

#include <consistency/run.h>

#include "base/choice.h"
#include "base/context.h"
#include "run/text.h"

/* Of the options of training, what a run asks for itself. */
typedef struct cm_run_numbers {
    int32_t batch, threads;
    int averages;       /* 1: there is one                                         */
    int is_consistency; /* 1: what is trained draws images in one step             */
    int64_t steps;
    uint64_t seed;
} cm_run_numbers;

struct cm_run_options {
    cm_context *context;
    int references; /* the caller's handle, and the run that was made of it */
    int used;       /* a run was made: nothing may be changed               */
    char prefix[8];
    cm_train_options *train;
    /* As set; texts are NULL and numbers -1 where nothing was said. */
    char *data, *class_names, *preset, *init, *teacher_path, *network;
    int64_t checkpoint_every, log_every, sample_every;
    double sample_share, checkpoint_seconds; /* percent */
    char *metric, *metric_data, *metric_features;
    int64_t metric_every, metric_samples; /* 0: nothing was said */
    double metric_share;                  /* percent             */
    int32_t metric_steps, metric_few;
    int32_t keep, size, labels, random_crop, stop_on_bad, sample_rows, sample_columns;
    int allow_changes;
    int as_given;               /* network: that of init or teacher, whatever the preset says     */
    int network_of_config;      /* `network` is the one that a config.json began with             */
    int resume, more_steps;     /* of cm_run_options_load; `steps` was set after it               */
    uint32_t said;              /* a bit for each row that was set, other than from a config     */
    char *fingerprint, *before; /* of the data of the run that is continued; its path            */
    int64_t images_before;
    /* Opened, or the caller's. */
    cm_model *model, *teacher; /* counted */
    cm_dataset *dataset;
    cm_group group; /* of size 0: there is none */
    int owns_dataset, model_is_given, teacher_is_given;
    cm_run_numbers n;    /* by cmi_run_options_verify */
    int default_network; /* the network is the default one for the pictures */
};

cm_status cmi_run_options_make(cm_context *context, cm_run_options **out);
void cmi_run_options_release(cm_run_options *options);

/* Name and meaning of each row of the table. */
cm_choice cmi_run_option_choice(size_t index);
/* A name as messages write it: --checkpoint-every, or checkpoint_every without a prefix. */
enum { CM_RUN_SHOWN = 40 };
const char *cmi_run_option_shown(const cm_run_options *options, const char *name, char text[CM_RUN_SHOWN]);
cm_status cmi_run_options_put(cm_run_options *options, const char *name, const char *value);
/* A number of a config.json.  FORMAT unless it is in the range of its row or `otherwise`, which says nothing. */
cm_status cmi_run_option_take(cm_run_options *options, const char *name, double value, double otherwise);
/* Refuses combinations without effect; then the numbers are those of the options. */
cm_status cmi_run_options_verify(cm_run_options *options);

/* The numbers that follow from the options where they say nothing. */
typedef struct cm_run_pace {
    int64_t checkpoint, log, sample, metric;
    double share, metric_share; /* fractions of the time; 0: pages are drawn whole, every evaluation is made */
    int32_t keep;
} cm_run_pace;
cm_run_pace cmi_run_options_pace(const cm_run_options *options);

/* Samples below which a distance has to be asked for; and the network of a metric, NULL where there is none. */
enum { CM_METRIC_FEWEST = 2000 };
const char *cmi_run_metric_network(const char *metric);

/* config.c: config.json, read and written. */
cm_status cmi_run_config_read(cm_run_options *options, const char *what, const char *json, size_t size);
cm_status cmi_run_config_load(cm_run_options *options, const char *directory);
cm_status cmi_run_config_write(const cm_run_options *options, cm_text *out);

/* inputs.c: networks and pictures.  ARGUMENT where nothing says which pictures. */
cm_status cmi_run_needs_data(const cm_run_options *options);
cm_status cmi_run_open_models(cm_run_options *options);
/* Models, data, and the network where it is a new one. */
cm_status cmi_run_open_inputs(cm_run_options *options);
/* Gives up what was opened by name, because another option may ask for another; the caller's handles stay. */
void cmi_run_close_inputs(cm_run_options *options);
/* Whether they go together, and the data is the run's. */
cm_status cmi_run_compare(const cm_run_options *options);
/* The one whose weights a run begins with, NULL when nothing is opened. */
cm_model *cmi_run_learner(const cm_run_options *options);
/* The JSON of a preset's network, NULL without one. */
const char *cmi_run_preset_network(const cm_run_options *options);
/* What a trainer is made of. */
cm_train_inputs cmi_run_inputs(const cm_run_options *options);
/* The default network for pictures of that side. */
cm_status cmi_run_default_model(const cm_run_options *options, int32_t side, cm_model **out);

#endif
