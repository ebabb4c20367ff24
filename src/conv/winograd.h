/* winograd.h - 3 x 3 convolutions by Winograd's minimal filtering (Lavin and Gray
 * 2015): y = A^T [(G g G^T) . (B^T d B^T^T)] A on tiles of m x m outputs.
 *
 * F(4x4, 3x3) has 36 positions for 16 outputs, F(2x4, 3x3) 24 for 8, F(2x2, 3x3) 16
 * for 4: the fewer an output, the larger are rounding errors.  At every position the
 * products over channels are one matrix product.  Channels-last in and out.  A result
 * does not depend on how tiles are cut into blocks, so neither on batch nor threads.
 *
 * Where each point of the input stands for four (resampling up by [1, 1]), 4 x 4 outputs depend
 * on 4 x 4 points.  In one dimension, of points d_0 .. d_3 and taps w_0, w_1, w_2:
 *
 *   y_0 = w_0 d_0 + (w_1 + w_2) d_1     y_1 = (w_0 + w_1) d_1 + w_2 d_2
 *   y_2 = w_0 d_1 + (w_1 + w_2) d_2     y_3 = (w_0 + w_1) d_2 + w_2 d_3.
 *
 * Even and odd outputs are two sums of two taps; at 0, 1, -1 and infinity, the points of F(2,3),
 * whose transform of d serves here too, both taken together need 1, 1, 2 and 1 products:
 *
 *   a = w_0 (d_0 - d_2)                  b = (w_0 + w_1 + w_2)/2 (d_1 + d_2)
 *   e = (w_0 - w_1 - w_2)/2 (d_2 - d_1)  f = (w_2 - w_0 - w_1)/2 (d_2 - d_1)
 *   g = w_2 (d_3 - d_1)                  y = a + b + e, b + f, b - e, b - f + g,
 *
 * so 25 products give 16 outputs, as exact as F(2x2, 3x3).
 *
 * The data gradient of that is a sum over the four large points of each: with s_i = d_i + d_i+1 of
 * six large points
 *
 *   y_0 = w_0 s_0 + w_1 s_1 + w_2 s_2    y_1 = w_0 s_2 + w_1 s_3 + w_2 s_4,
 *
 * of w_0 and w_2 two sums of two taps, three products at 0, 1 and infinity, and of w_1 two:
 *
 *   a = w_0 (s_0 - s_2)   b = (w_0 + w_2) s_2   e = w_2 (s_2 - s_4)   f = w_1 s_1   g = w_1 s_3
 *   y = a + b + f, b - e + g,
 *
 * so 25 products, with 16 matrices, give the gradients of 4 points. */
#ifndef CM_CONV_WINOGRAD_H
#define CM_CONV_WINOGRAD_H

#include "base/parallel.h"
#include "kernels/kernels.h"

/* How tiles lie in an image: a line of outputs may be turned. */
typedef struct cm_winograd_span {
    int32_t down, across;           /* outputs of a tile                                        */
    int32_t step_down, step_across; /* points of input from one to the next                     */
    int32_t rim_down, rim_across;   /* points around the outputs that these depend on           */
    int32_t pad_down, pad_across;   /* points before the image where the first begins           */
} cm_winograd_span;

typedef struct cm_winograd {
    const cm_kernels *kernels;
    const cm_gemm *gemm;                  /* of the operands, which */
    const cm_winograd_operands *operands; /* these make             */
    const cm_winograd_tile *geometry;
    int tile; /* CM_WINOGRAD_                           */
    cm_winograd_span span;
    int relu;               /* y = max(convolution, 0); not with a residual */
    int transposed;         /* weights as the data gradient reads them */
    cm_threads threads;     /* of a run                           */
    int32_t n, h, w, c, oc; /* h, w: of the input; n: of a pair both      */
    size_t out_h, out_w, tiles_down, tiles_across, tiles;
    size_t block;                     /* most tiles at a time               */
    size_t value_stride, tile_stride; /* of the transformed input, in operands */
    size_t product_floats;            /* of one worker                      */
    size_t packed_bytes;              /* of weights                         */
    size_t scratch_bytes;             /* of a run                           */
    size_t fresh_bytes;               /* of a run of plain weights: besides */
} cm_winograd;

/* Layers whose transformed weights are few enough to stay near the processor. */
static inline int cmi_winograd_few_channels(int32_t c, int32_t oc)
{
    return c <= 128 && oc <= 128;
}

/* The tile where Winograd serves a convolution better than the direct kernel, else
 * 0.  A function of the layer's shape and the arithmetic alone.  bf16: 0 or the largest
 * tile; then CM_WINOGRAD_1X1 for a 1 x 1 convolution. */
int cmi_winograd_rule(int bf16, int32_t kernel, int32_t stride, int32_t pad, int32_t c, int32_t oc, int32_t h,
                      int32_t w);
void cmi_winograd_init(cm_winograd *winograd, const cm_kernels *kernels, int bf16, int tile, int transposed,
                       cm_threads threads, int32_t n, int32_t h, int32_t across, int32_t c, int32_t oc);
/* What follows from the shape where an image has a border of `pad` points in place of what its tiles depend on, or
 * its lines are turned. */
void cmi_winograd_lie(cm_winograd *winograd, int turned, int padded);
/* "winograd 4x4", "winograd 2x2 bf16", "winograd up", "winograd down", "product bf16". */
const char *cmi_winograd_name(const cm_winograd *winograd);
/* plain [oc][c][3][3]; of a transposed one [c][oc][3][3], the forward's. */
void cmi_winograd_pack(const cm_winograd *winograd, const float *plain, void *packed);
/* x [n][h][w][c], y [n][h][w][oc] (up: 2h, 2w; down: h/2, w/2); with a residual like y: y = (convolution +
 * residual) scale. */
cm_status cmi_winograd_run(const cm_winograd *winograd, const float *x, const void *packed, const float *bias,
                           const float *residual, float scale, float *y, void *scratch);

/* Of a pair: n was twice the images.  The second half of them are the tangents, which have no bias. */
typedef struct cm_winograd_side {
    const float *x, *bias, *residual;
    float *y;
} cm_winograd_side;
cm_status cmi_winograd_run_pair(const cm_winograd *winograd, const cm_winograd_side sides[2], const void *packed,
                                float scale, void *scratch);

/* The same of plain weights: each group of outputs is packed where it is used, so that it is
 * near; one thread, scratch_bytes + fresh_bytes of scratch memory. */
cm_status cmi_winograd_run_plain(const cm_winograd *winograd, const float *x, const float *plain, const float *bias,
                                 const float *residual, float scale, float *y, void *scratch);

#endif
