/* amx.h - convolutions as plain sums over matrix tiles of bfloat16, for processors with
 * AMX:
 *
 *   y[p][o] = sum over taps t and channels c of x[p + t][c] w[t][c][o]
 *
 * for 16 points p, 16 outputs o and 32 channels c an instruction, whose sums are float32.
 * 3 x 3 (padding 1) and 1 x 1, stride 1, channels-last, channels multiples of 16.  A result
 * does not depend on batch or threads.
 *
 * In bfloat16 operands are rounded to it.  In float32 (1 x 1; Winograd is faster for
 * 3 x 3) a value of 24 binary digits is the sum of three bfloat16 values of eight, exactly,
 * and of the nine products of two such sums the six are taken that float32 would see:
 *
 *   x w = x1 w1 + x1 w2 + x2 w1 + x1 w3 + x2 w2 + x3 w1. */
#ifndef CM_CONV_AMX_H
#define CM_CONV_AMX_H

#include "base/parallel.h"
#include "kernels/kernels.h"

typedef struct cm_amx_conv {
    const cm_amx_kernels *kernels;
    int parts;              /* of a value: 1 (bfloat16) or 3 (float32, side 1) */
    int side;               /* of the kernel: 3 or 1                 */
    int transposed;         /* weights as the data gradient reads them */
    cm_threads threads;     /* of a run                              */
    int32_t n, h, w, c, oc; /* of a 1 x 1 convolution an image may be cut into several */
    int x_bf16, y_bf16;     /* held in bfloat16 */
    size_t taps;
    size_t depth;        /* channels in whole tiles of 32                                           */
    size_t part;         /* values of a part of all of them                                         */
    size_t margin;       /* zeros between rows of points: 1 of a 3 x 3 convolution, else 0          */
    size_t row;          /* values from one point to the next: an odd number of cache lines, or they collide */
    size_t pitch;        /* points from one image row to the next                                   */
    size_t columns;      /* of an image row that are cut into tiles: w, or with the zeros           */
    size_t tiles;        /* of 16 points, of an image                                               */
    size_t held;         /* points of a rounded image, with what the last tile reads beyond it      */
    size_t image_values; /* values of those                                                         */
    size_t starts_ints;  /* whole cache lines of where tiles start                                  */
    int32_t together;    /* images, as many as stay in the cache                                    */
    size_t packed_bytes, scratch_bytes;
} cm_amx_conv;

void cmi_amx_conv_init(cm_amx_conv *conv, const cm_kernels *kernels, int parts, int side, int transposed,
                       cm_threads threads, int32_t n, int32_t h, int32_t w, int32_t c, int32_t oc);
/* plain [oc][c][side][side]; of a transposed one [c][oc][side][side], the forward's. */
void cmi_amx_conv_pack(const cm_amx_conv *conv, const float *plain, void *packed);
/* x [n][h][w][c], y [n][h][w][oc], floats or bfloat16 as `conv` says; with a residual of
 * floats like y: y = (convolution + residual) scale. */
cm_status cmi_amx_conv_run(const cm_amx_conv *conv, const void *x, const void *packed, const float *bias,
                           const float *residual, float scale, void *y, void *scratch);

/* The weight gradient as [side][side][c][oc]; one thread.  x [n][h][w][c], dy [n][h][w][oc] floats. */
size_t cmi_amx_conv_gradient_bytes(const cm_amx_conv *conv); /* of scratch memory */
void cmi_amx_conv_gradient(const cm_amx_conv *conv, const float *x, const float *dy, float *dw, void *scratch);

#endif
