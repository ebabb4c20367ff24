/* plan.h - a graph made ready to run.
 *
 *   plan     graph x slice x inner threads: primitives, arena layout; immutable
 *   weights  a plan x a parameter set: pointers, packed where needed
 *   exec     one thread's arena and memory objects for a plan
 *
 * Several execs of one plan run at the same time. */
#ifndef CM_GRAPH_PLAN_H
#define CM_GRAPH_PLAN_H

#include "graph/params.h"

typedef struct cm_plan cm_plan;
typedef struct cm_weights cm_weights;
typedef struct cm_exec cm_exec;

typedef struct cm_plan_options {
    int32_t slice;   /* images in one run             */
    int32_t threads; /* inside ops                    */
    int32_t share;   /* 0: every value its own memory (tests compare) */
} cm_plan_options;

cm_status cm_plan_create(const cm_graph *graph, const cm_plan_options *options, cm_plan **out);
void cm_plan_free(cm_plan *plan);
size_t cm_plan_arena_bytes(const cm_plan *plan);
size_t cm_plan_scratch_bytes(const cm_plan *plan);
/* Name of the kernel behind node i ("" when it is ours), NULL past the end. */
const char *cm_plan_kernel(const cm_plan *plan, int node, const char **scope);

cm_status cm_weights_create(const cm_plan *plan, cm_params *params, cm_weights **out);
void cm_weights_free(cm_weights *weights);

cm_status cm_exec_create(const cm_plan *plan, cm_exec **out);
void cm_exec_free(cm_exec *exec);
/* Memory of input i / output i, slice x H x W x C, channels-last. */
void *cm_exec_input(cm_exec *exec, int index);
const float *cm_exec_output(const cm_exec *exec, int index);
/* Inputs may have been overwritten afterwards. */
cm_status cm_exec_run(cm_exec *exec, const cm_weights *weights);
/* Fills everything but the inputs with NaN: a test's way to see stale reads. */
void cm_exec_poison(cm_exec *exec);

#endif
