/* few_outputs.h - 3 x 3 convolutions (padding 1, stride 1) of many channels to at most three, as
 * at a network's end: dot products over channels, where kernels that put outputs side by
 * side in vectors leave most of a vector empty.  Float32, channels-last.  A result does not
 * depend on batch or threads. */
#ifndef CM_CONV_FEW_OUTPUTS_H
#define CM_CONV_FEW_OUTPUTS_H

#include "base/parallel.h"
#include "kernels/kernels.h"

typedef struct cm_few_outputs {
    const cm_kernels *kernels;
    cm_threads threads; /* of a run */
    int32_t n, h, w, c, oc;
} cm_few_outputs;

/* A function of the layer's shape alone. */
int cmi_few_outputs_rule(int32_t kernel, int32_t stride, int32_t pad, int32_t c, int32_t oc);
#endif
