/* dnnl_conv.h - oneDNN's convolutions: of every shape, the values over the threads of an op (direct_conv.h), the
 * gradients on the calling thread.  Float32 whatever the network's arithmetic, weights in the layout that oneDNN
 * chooses. */
#ifndef CM_CONV_DNNL_CONV_H
#define CM_CONV_DNNL_CONV_H

#include "conv/direct_conv.h"
#include "kernels/kernels.h"

/* One of the first three: what runs, or what packs for it (or unpacks its gradient) and outlives it. */
typedef struct cm_dnnl_conv {
    cm_direct_conv direct;       /* the values                              */
    cm_dnnl_primitive *gradient; /* of the data or of the weights           */
    cm_dnnl_packing *packing;
    cm_context *context;
    const cm_kernels *kernels;
    cm_threads threads;
    size_t points, outputs; /* of y */
    size_t zeros;           /* where in the scratch memory the bias stands of a run without one */
} cm_dnnl_conv;

#endif
