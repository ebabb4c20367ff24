/* files.h - the directory of a run and the text files in it. */
#ifndef CM_RUN_FILES_H
#define CM_RUN_FILES_H

#include <consistency/trainer.h>

#include "base/context.h"

/* Whether a new run can go to a directory: one that can be made, or an empty one (a new file
 * system's own folder does not count), which is taken as it is.  `prefix` of options in messages. */
cm_status cmi_run_check_directory(cm_context *context, const char *directory, const char *prefix);
/* Whether a directory, which need not exist, stands in a folder or below it. */
int cmi_run_is_inside(const char *directory, const char *folder);
/* What killed runs have left of the files below and of best.safetensors. */
cm_status cmi_run_tidy(cm_context *context, const char *directory);
/* A file of the directory, whole or as it was. */
cm_status cmi_run_write(cm_context *context, const char *directory, const char *name, const char *text, size_t size);

/* log.jsonl: lines of steps beyond `last`, which will be taken again, and damaged ones go; then it is
 * open at its end.  *evaluated: the step of the last line about `metric`, 0 without one and for NULL. */
cm_status cmi_run_log_open(cm_context *context, const char *directory, int64_t last, const char *metric,
                           int *descriptor, int64_t *evaluated);

/* A line of it. */
typedef struct cm_run_line {
    const cm_train_report *report;
    double epoch, step_rate, seconds_left; /* step_rate: images a second of the step alone */
} cm_run_line;
cm_status cmi_run_log_add(cm_context *context, int descriptor, const cm_run_line *line);

/* A line about an evaluation. */
typedef struct cm_run_metric_line {
    const char *metric;
    int64_t step, samples, best_step;
    double distance, best, seconds;
} cm_run_metric_line;
cm_status cmi_run_log_add_metric(cm_context *context, int descriptor, const cm_run_metric_line *line);
/* To the disk, before a checkpoint of which it tells. */
cm_status cmi_run_log_flush(int descriptor);

#endif
