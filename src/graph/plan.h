/* plan.h - a graph made ready to run.
 *
 *   plan     graph x slice x mode: primitives, the list of steps, arena layout;
 *            immutable
 *   weights  a plan x a parameter set: pointers, packed where needed
 *   exec     one thread's arena and memory objects for a plan
 *
 * Several execs of one plan run at the same time.
 *
 * Modes.  INFER computes the outputs.  TRAIN computes them and then, in a second
 * call, the gradients of the parameters (and of chosen inputs) from the gradient
 * of one output.  JVP computes outputs and, for tangents of chosen inputs, their
 * tangents.  TRAIN_JVP does what JVP does and then, in a second call, gives the gradients of the parameters (and of
 * chosen inputs and their tangents) from the gradients of one output and of its tangent. */
#ifndef CM_GRAPH_PLAN_H
#define CM_GRAPH_PLAN_H

#include "graph/arithmetic.h"
#include "graph/params.h"

typedef struct cm_plan cm_plan;
typedef struct cm_weights cm_weights;
typedef struct cm_exec cm_exec;

typedef struct cm_plan_options {
    int32_t slice;   /* images in one run             */
    int32_t threads; /* inside ops; 1 in modes TRAIN  */
    cm_arithmetic arithmetic;
    int32_t share;   /* 0: every value its own memory (tests compare) */
    int32_t all_ops; /* 1: the threads work inside every op, however small (tests compare) */
    int32_t mode;    /* CM_MODE_*                     */
    /* TRAIN, TRAIN_JVP: which output's gradient is given. */
    int32_t output;
    /* Bit i: TRAIN: the gradient of input i is wanted; JVP: input i has a tangent. */
    uint32_t inputs;
    uint32_t tangents; /* TRAIN_JVP: bit i: input i has a tangent, whose gradient is wanted where input i's is */
    /* TRAIN: activations are kept at the borders of so many pieces of the graph
     * only and computed again inside them (Chen et al. 2016); 0 or 1 = all kept. */
    int32_t recompute;
    /* TRAIN: 1: the parameters get no gradients, and what only these would read is not kept.  A parameter may then
     * be read by several nodes. */
    int32_t frozen;
} cm_plan_options;

cm_status cmi_plan_create(const cm_graph *graph, const cm_plan_options *options, cm_plan **out);
void cmi_plan_free(cm_plan *plan);
size_t cmi_plan_arena_bytes(const cm_plan *plan);
size_t cmi_plan_scratch_bytes(const cm_plan *plan);
/* Bytes of packed weights that the plan asks for and `beside` (or NULL) does not. */
cm_status cmi_plan_packed_bytes(const cm_plan *plan, const cm_plan *beside, size_t *bytes);
/* ... of those of them that are plain values of derived parameters. */
size_t cmi_plan_derived_bytes(const cm_plan *plan);

cm_status cmi_weights_create(const cm_plan *plan, cm_params *params, cm_weights **out);
void cmi_weights_free(cm_weights *weights);

cm_status cmi_exec_create(const cm_plan *plan, cm_exec **out);
void cmi_exec_free(cm_exec *exec);
/* Memory of input i / output i, slice x H x W x C, channels-last. */
void *cmi_exec_input(cm_exec *exec, int index);
const float *cmi_exec_output(const cm_exec *exec, int index);
/* Inputs may have been overwritten afterwards (not in mode TRAIN before
 * cmi_exec_backward). */
cm_status cmi_exec_run(cm_exec *exec, const cm_weights *weights);
/* The same of outputs 0 .. count - 1 alone, in mode INFER; the others hold nothing then. */
cm_status cmi_exec_run_first(cm_exec *exec, const cm_weights *weights, int count);
/* Where dropout's bits come from in the next runs; the images' numbers (slice
 * of them) are copied. */
void cmi_exec_seed(cm_exec *exec, uint64_t seed, const uint64_t *images);
/* Whether the next runs drop anything; they do unless told. */
void cmi_exec_drop(cm_exec *exec, int drops);

/* --- TRAIN ------------------------------------------------------------------ */

/* After cmi_exec_run: where the gradient of the output goes, as the output. */
float *cmi_exec_cotangent(cm_exec *exec);
cm_status cmi_exec_backward(cm_exec *exec, const cm_weights *weights);
/* The gradient of a wanted input after cmi_exec_backward. */
const float *cmi_exec_input_gradient(const cm_exec *exec, int index);

/* A block of parameter gradients: floats in the layouts that backward writes
 * (cmi_exec_backward overwrites the whole of the exec's own block).  Blocks of
 * one plan are added value by value; a sum is unpacked at the end. */
size_t cmi_plan_gradient_floats(const cm_plan *plan);
const float *cmi_exec_gradients(const cm_exec *exec);
/* Or no block: each gradient is handed on as soon as it is there, with where it
 * belongs in a block, and its memory used again; the exec has that of the largest
 * node.  What the sink returns other than CM_OK ends cmi_exec_backward. */
typedef cm_status (*cm_gradient_sink)(void *user, int parameter, size_t first, size_t floats, const float *gradient);
cm_status cmi_exec_create_streaming(const cm_plan *plan, cm_gradient_sink sink, void *user, cm_exec **out);
size_t cmi_plan_node_gradient_floats(const cm_plan *plan);
/* Where the gradient of a parameter stands in a block, and its floats there; 0: it has none. */
int cmi_plan_gradient_at(const cm_plan *plan, int parameter, size_t *first, size_t *floats);
/* The parameters in the order in which a sink gets their gradients, at most cmi_plan_params; returns how many. */
int cmi_plan_gradient_order(const cm_plan *plan, int *parameters);
int cmi_plan_params(const cm_plan *plan);
cm_context *cmi_plan_context(const cm_plan *plan);
/* Turns a block, where it lies, into plain tensors where cmi_param_offsets says; what
 * stands behind these is then of no use. */
typedef struct cm_unpacking cm_unpacking;
cm_status cmi_unpacking_create(const cm_plan *plan, int threads, cm_unpacking **out);
void cmi_unpacking_free(cm_unpacking *unpacking);
size_t cmi_unpacking_bytes(const cm_unpacking *unpacking);
cm_status cmi_unpacking_run(cm_unpacking *unpacking, float *block);

/* --- TRAIN_JVP: as TRAIN, with tangents as in JVP ------------------------------- */

/* Where the gradient of the output's tangent goes, and that of a wanted input's tangent.  Both gradients of the
 * output have to be written. */
float *cmi_exec_tangent_cotangent(cm_exec *exec);
const float *cmi_exec_input_tangent_gradient(const cm_exec *exec, int index);

/* --- JVP -------------------------------------------------------------------- */

/* The tangent of input i (bit i of options.inputs) / of output i: NULL when it
 * is zero whatever the inputs. */
float *cmi_exec_tangent_input(cm_exec *exec, int index);
const float *cmi_exec_tangent_output(const cm_exec *exec, int index);

#endif
