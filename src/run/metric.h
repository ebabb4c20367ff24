/* metric.h - the Frechet distance of samples to a reference, on the way of a run.
 *
 * Sample i of an evaluation depends on i and the weights alone, and classes take turns: cm-eval gives the same
 * distance for the same weights. */
#ifndef CM_RUN_METRIC_H
#define CM_RUN_METRIC_H

#include <consistency/metrics.h>

#include "run/options.h"

typedef struct cm_run_metric cm_run_metric;

/* Opens the feature network and the reference that the options name, for samples of the size of `model`, and looks at
 * all that can be wrong with them without going through pictures. */
cm_status cmi_metric_open(const cm_run_options *options, const cm_model *model, cm_run_metric **out);
void cmi_metric_close(cm_run_metric *metric);
/* Features of a reference that is pictures; nothing where they are known.  stop as cm_progress_fn. */
cm_status cmi_metric_prepare(cm_run_metric *metric, cm_progress_fn stop, void *user);

/* Whether an evaluation fits into a share of `elapsed` seconds; until one was made a network evaluation is taken to
 * be `evaluation` seconds an image. */
int cmi_metric_fits(const cm_run_metric *metric, double share, double elapsed, double evaluation);
/* Seconds of an evaluation. */
double cmi_metric_seconds(const cm_run_metric *metric, double evaluation);
/* Forgets what evaluations have taken so far, when the clock of a call begins. */
void cmi_metric_clock(cm_run_metric *metric);
/* Memory that an evaluation takes besides the sampler's. */
uint64_t cmi_metric_bytes(const cm_run_metric *metric);

/* One evaluation; *distance is NaN where samples or features are not finite.  CANCELLED within one network
 * evaluation. */
cm_status cmi_metric_of(cm_run_metric *metric, cm_model *model, cm_progress_fn stop, void *user, double *distance);
/* What the last evaluation took. */
double cmi_metric_last_seconds(const cm_run_metric *metric);
int64_t cmi_metric_samples(const cm_run_metric *metric);

/* best.c: RUN/best.safetensors, the weights with the least distance so far, which says that distance itself. */
typedef struct cm_run_best {
    double distance;
    int64_t step; /* 0: there is none */
} cm_run_best;
/* All that a distance depends on besides the weights, as text: values of one text compare. */
enum { CM_METRIC_TEXT = 256 };
void cmi_metric_text(const cm_run_metric *metric, char text[CM_METRIC_TEXT]);
/* What stands there; none where there is no such file, or one whose distance does not compare, which the log tells.
 */
cm_status cmi_best_read(cm_context *context, const char *directory, const char *text, cm_run_best *out);
/* Whole or as it was; `model` is nobody else's and gets the entry. */
cm_status cmi_best_write(cm_model *model, const char *directory, const char *text, const cm_run_best *best);

#endif
