/* exec.h - the parts of an exec, for the loop over its steps and for tests that look inside. */
#ifndef CM_GRAPH_EXEC_H
#define CM_GRAPH_EXEC_H

#include "graph/program.h"

struct cm_exec {
    const cm_plan *plan;
    unsigned char *arena, *scratch;
    float *gradients; /* a block, or with a sink those of one node */
    float *second;    /* TRAIN_JVP: what a node's parameters get through its tangent */
    size_t gradient_floats;
    cm_gradient_sink sink;
    void *sink_user;
    cm_op_run *runs; /* of each step */
    uint64_t *images;
    cm_op_random random;
};

/* One step of the program. */
cm_status cmi_exec_step(cm_exec *exec, const cm_weights *weights, int step);

#endif
