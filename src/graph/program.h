/* program.h - a plan's inside: the steps in order, the buffers they use, and
 * where those lie. */
#ifndef CM_GRAPH_PROGRAM_H
#define CM_GRAPH_PROGRAM_H

#include "graph/arena.h"
#include "graph/plan.h"

enum { CM_STEP_FORWARD, CM_STEP_PAUSE, CM_STEP_BACKWARD, CM_STEP_JVP, CM_STEP_BOTH };

/* Buffers by number, -1 for none. */
typedef struct cm_step {
    int kind, node;
    int in[CM_OP_MAX_IN], out, aux;
    int dout, din[CM_OP_MAX_IN];
    int sum[CM_OP_MAX_IN]; /* the buffer that din[k] is added to afterwards */
    int tin[CM_OP_MAX_IN], tout;
    int dtout, dtin[CM_OP_MAX_IN], tsum[CM_OP_MAX_IN]; /* of tangents, as dout, din and sum */
    int again;                                         /* FORWARD: not the first time, aux is there */
} cm_step;

typedef struct cm_program {
    cm_step *steps;
    int n_steps, pause; /* pause: number of the PAUSE step, n_steps without one */
    cm_span *buffers;
    int n_buffers;
    size_t arena;
    /* Buffers of the graph's inputs and outputs, their tangents and gradients. */
    int input[CM_GRAPH_INPUTS], output[8], input_tangent[CM_GRAPH_INPUTS], output_tangent[8];
    int cotangent, tangent_cotangent, input_gradient[CM_GRAPH_INPUTS], input_tangent_gradient[CM_GRAPH_INPUTS];
} cm_program;

struct cm_plan {
    cm_context *context;
    const cm_graph *graph;
    cm_plan_options options;
    cm_op_plan *ops;            /* one per node */
    unsigned char *stored_bf16; /* of each value: held in bfloat16 */
    cm_program program;
    size_t scratch;
    size_t *gradient;      /* of each parameter: its first float in a block; SIZE_MAX: no node reads it */
    size_t *gradient_size; /* ... and how many it has there */
    int *reader;           /* of each parameter: the node that reads it, or -1 */
    size_t gradient_floats;
};

static inline int cmi_plan_trains(const cm_plan *plan)
{
    return plan->options.mode == CM_MODE_TRAIN || plan->options.mode == CM_MODE_TRAIN_JVP;
}

/* Of each value: whether it needs a gradient, whether it has a tangent. */
typedef struct cm_reach {
    unsigned char *gradient, *tangent;
} cm_reach;
void cmi_program_reach(const cm_plan *plan, const cm_reach *reach);
/* Needs plan->ops prepared (aux_bytes). */
cm_status cmi_program_build(cm_plan *plan, const cm_reach *reach);
void cmi_program_release(cm_plan *plan);
/* lifetimes.c: a buffer lives from the step that first writes it to the one that last reads it. */
void cmi_program_lifetimes(cm_plan *plan);

/* gradients.c: where the gradient of each parameter lies in a block: where its plain values will, or behind all
 * of these where the layout it comes in is larger. */
cm_status cmi_plan_lay_out_gradients(cm_plan *plan);
/* weights.c: the parameters of a node into a run. */
void cmi_weights_bind(const cm_weights *weights, int node, cm_op_run *run);

#endif
