/* run.h - the handle of a run: a trainer at work in a directory. */
#ifndef CM_RUN_RUN_H
#define CM_RUN_RUN_H

#include <stdatomic.h>

#include "run/metric.h"
#include "run/options.h"
#include "run/pages.h"

struct cm_run {
    cm_context *context;
    cm_run_options *options; /* counted */
    char *directory;
    cm_run_pace pace;
    cm_pages pages;
    cm_run_metric *metric;         /* NULL: none is asked for */
    _Atomic(cm_trainer *) trainer; /* NULL before the run has begun */
    int log;                       /* its descriptor, -1: not open  */
    atomic_int state;              /* of the call, see run.c        */
    _Atomic(int64_t) drawn;        /* pages                      */
    _Atomic(int64_t) evaluations;  /* of the metric              */
    int64_t evaluated;             /* the step of the last one   */
    double distance;               /* that it gave               */
    _Atomic(double) best_distance;
    _Atomic(int64_t) best_step; /* 0: there is none              */
    /* Of the call that runs: */
    cm_run_fn progress;
    void *user;
    double began, saved_at;   /* seconds                                  */
    int64_t first_step;       /* when it began                            */
    int64_t saved_step;       /* of the last checkpoint of this call, -1  */
    uint64_t images_an_epoch; /* as reports count them: pairs where an image gives several */
    cm_train_report last;
    cm_status failed; /* something other than a step failed: its message is kept */
    char message[512];
};

cm_status cmi_run_open(cm_run_options *options, const char *directory, cm_run **out);
void cmi_run_close(cm_run *run);
/* Within the run's call. */
cm_status cmi_run_start(cm_run *run);
cm_status cmi_run_loop(cm_run *run, int64_t until);

/* The call of a run: STATE where one is at work. */
cm_status cmi_run_call(cm_run *run);
void cmi_run_call_end(cm_run *run);
/* Asks it to stop, with a checkpoint or without. */
void cmi_run_ask(cm_run *run, int with_checkpoint);

/* estimate.c */
cm_status cmi_run_measure(const cm_run *run, int32_t parts, cm_run_needs *needs);
/* Whether images of what it learns are drawn in one step: of the trained model, not of where it began. */
cm_status cmi_run_page_form(const cm_run *run, cm_page_form *form);

#endif
