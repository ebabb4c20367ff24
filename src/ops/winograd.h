/* winograd.h - 3 x 3 convolutions by Winograd's minimal filtering (Lavin and Gray
 * 2015): y = A^T [(G g G^T) . (B^T d B^T^T)] A on tiles of m x m outputs.
 *
 * F(4x4, 3x3) has 36 positions for 16 outputs, F(2x2, 3x3) 16 for 4; at every
 * position the products over channels are one matrix product.  Channels-last in
 * and out.  A result does not depend on how tiles are cut into blocks, so
 * neither on batch nor threads. */
#ifndef CM_OPS_WINOGRAD_H
#define CM_OPS_WINOGRAD_H

#include "base/status.h"
#include "ops/kernels.h"

/* Where a tile's outputs go (NULL: outside the image), what is added to each (NULL:
 * nothing) and what the sum is multiplied by. */
typedef struct cm_winograd_points {
    float *y[16];
    const float *residual[16];
    float scale;
} cm_winograd_points;

/* One CPU level's loops; winograd_kernels.c. */
typedef struct cm_winograd_kernels {
    /* Columns of the next packed panel when so many are left. */
    size_t (*panel)(size_t left);
    /* out[t] (t of 36 or 16, `apart` floats from one to the next), c values each,
     * from 36 or 16 points in rows. */
    void (*input)(int m, size_t c, const float *const *points, float *out, size_t apart);
    /* m x m outputs, plus bias (or NULL). */
    void (*output)(int m, size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to);
    /* c [rows][columns] = a [rows][k] b, b packed in panels of k rows. */
    void (*product)(size_t rows, size_t columns, size_t k, const float *a, size_t lda, const float *b, float *c,
                    size_t ldc);
    /* U of `width` outputs: w[9][width] to u[t][width]. */
    void (*weights)(int m, size_t width, const float *w, float *u, size_t apart);
    /* Backward: Z = A dy A^T of m x m points to out[t]; c [rows][columns] = a^T b, a
     * [depth][rows] and b [depth][columns] contiguous, rows even; w[i] (of 9) = or +=
     * G^T u G of u[t], `width` values each. */
    void (*gradient)(int m, size_t c, const float *const *points, float *out, size_t apart);
    void (*product_transposed)(size_t rows, size_t columns, size_t depth, const float *a, const float *b, float *c);
    void (*fold)(int m, size_t width, const float *u, size_t apart, float *w, size_t w_apart, int add);
} cm_winograd_kernels;
extern const cm_winograd_kernels cm_winograd_baseline, cm_winograd_avx2, cm_winograd_avx512;
const cm_winograd_kernels *cm_winograd_for(int level);

typedef struct cm_winograd {
    const cm_winograd_kernels *kernels;
    int m;       /* 4 or 2 */
    int turned;  /* weights as the data gradient wants them */
    int threads; /* of a run */
    int32_t n, h, w, c, oc;
    size_t tiles_down, tiles_across, block; /* block: most tiles at a time */
} cm_winograd;

/* 4 or 2 where Winograd serves a convolution better than the direct kernel, else
 * 0.  A function of the layer's shape alone. */
int cm_winograd_rule(int32_t kernel, int32_t stride, int32_t pad, int32_t c, int32_t oc, int32_t h, int32_t w);
void cm_winograd_init(cm_winograd *winograd, int level, int m, int turned, int threads, int32_t n, int32_t h,
                      int32_t w, int32_t c, int32_t oc);
size_t cm_winograd_packed_bytes(const cm_winograd *winograd);
/* The same packed weights serve both. */
int cm_winograd_same_weights(const cm_winograd *a, const cm_winograd *b);
/* plain [oc][c][3][3]; of a turned one [c][oc][3][3], the forward's. */
void cm_winograd_pack(const cm_winograd *winograd, const float *plain, float *packed);
size_t cm_winograd_scratch_bytes(const cm_winograd *winograd);
/* x [n][h][w][c], y [n][h][w][oc]; with a residual like y: y = (convolution + residual)
 * scale. */
cm_status cm_winograd_run(const cm_winograd *winograd, const float *x, const float *packed, const float *bias,
                          const float *residual, float scale, float *y, void *scratch);

/* The weight gradient as [3][3][c][oc], and the bias's (or NULL), of the forward's
 * `winograd`; one thread.  Unfold: to plain [oc][c][3][3]. */
size_t cm_winograd_gradient_bytes(const cm_winograd *winograd);
void cm_winograd_gradient(const cm_winograd *winograd, const cm_kernels *kernels, const float *x, const float *dy,
                          float *dw, float *dbias, void *scratch);
void cm_winograd_unfold(const cm_winograd *winograd, const float *folded, float *plain);

#endif
