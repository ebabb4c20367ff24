/* few_outputs.h - 3 x 3 convolutions (padding 1, stride 1) of many channels to at most three, as
 * at a network's end: dot products over channels, where kernels that put outputs side by
 * side in vectors leave most of a vector empty.  Float32, channels-last.  A result does not
 * depend on batch or threads. */
#ifndef CM_CONV_FEW_OUTPUTS_H
#define CM_CONV_FEW_OUTPUTS_H

#include "base/parallel.h"
#include "kernels/kernels.h"

typedef struct cm_narrow {
    const cm_kernels *kernels;
    cm_threads threads; /* of a run */
    int32_t n, h, w, c, oc;
} cm_narrow;

/* A function of the layer's shape alone. */
int cm_narrow_rule(int32_t kernel, int32_t stride, int32_t pad, int32_t c, int32_t oc);
void cm_narrow_init(cm_narrow *narrow, const cm_kernels *kernels, cm_threads threads, int32_t n, int32_t h, int32_t w,
                    int32_t c, int32_t oc);
size_t cm_narrow_packed_bytes(const cm_narrow *narrow);
int cm_narrow_same_weights(const cm_narrow *a, const cm_narrow *b);
/* plain [oc][c][3][3] to [9][3][c]. */
void cm_narrow_pack(const cm_narrow *narrow, const float *plain, float *packed);
size_t cm_narrow_scratch_bytes(const cm_narrow *narrow);
/* x [n][h][w][c], y [n][h][w][oc]; with a residual like y: y = (convolution + residual)
 * scale. */
cm_status cm_narrow_run(const cm_narrow *narrow, const float *x, const float *packed, const float *bias,
                        const float *residual, float scale, float *y, void *scratch);

#endif
