/* pointwise.h - the loops over values and rows, one table a CPU level: pointwise.c.  Every
 * loop treats an element the same wherever a row starts, and callers cut work
 * at row borders only, so results do not depend on the split. */
#ifndef CM_KERNELS_POINTWISE_H
#define CM_KERNELS_POINTWISE_H

#include <stddef.h>
#include <stdint.h>

/* The scalars of an update of Adam's kind: with d = g + decay p,
 *   m <- beta1 m + left1 d,  v <- beta2 v + left2 d^2,
 *   p <- keep p - step m / (root_scale sqrt(v) + eps),  or unless `divide` p - step m. */
typedef struct cm_adam_update {
    int divide;
    float beta1, beta2, left1, left2, eps; /* left: 1 - beta */
    float decay, keep, step, root_scale;
} cm_adam_update;

typedef struct cm_pointwise {
    /* sum[c] = sum over rows of x[r][c] - shift[c], square[c] of its square. */
    void (*moments)(size_t rows, size_t c, const float *x, const float *shift, float *sum, float *square);
    /* out[r][c] = a[c] (x[r][c] - shift[c]) + b[c], then SiLU when asked; out
     * may be x. */
    void (*affine)(size_t rows, size_t c, const float *x, const float *shift, const float *a, const float *b,
                   int silu, float *out);
    /* The same of bfloat16 values. */
    void (*moments_bf16)(size_t rows, size_t c, const uint16_t *x, const float *shift, float *sum, float *square);
    void (*affine_bf16)(size_t rows, size_t c, const uint16_t *x, const float *shift, const float *a, const float *b,
                        int silu, float *out);
    /* SiLU(x) = x / (1 + exp(-x)); out may be x. */
    void (*silu)(size_t n, const float *x, float *out);
    /* out = (a + b) scale; out may be a or b. */
    void (*add)(size_t n, const float *a, const float *b, float scale, float *out);
    /* out = s x; out may be x. */
    void (*scale)(size_t n, float s, const float *x, float *out);
    /* out[r][c] = s x[r][c] + t f[r][c], rows of f are fc >= c long. */
    void (*mix)(size_t rows, size_t c, size_t fc, float s, const float *x, float t, const float *f, float *out);
    /* Every row, `apart` from one to the next, becomes softmax(scale row), in place. */
    void (*softmax)(size_t rows, size_t n, size_t apart, float scale, float *x);
    /* out[r] = w[r] . x + bias[r] (bias may be NULL), w rows x k. */
    void (*matvec)(size_t rows, size_t k, const float *w, const float *x, const float *bias, float *out);
    /* out[c] = sum over taps of weight[t] src[t][c]; zero for no taps. */
    void (*taps)(size_t c, size_t taps, const float *const *src, const float *weight, float *out);
    /* a, b, c = the values of x in turn, and back. */
    void (*split3)(size_t n, const float *x, float *a, float *b, float *c);
    void (*join3)(size_t n, const float *a, const float *b, const float *c, float *x);
    /* to[k][r] = from[r][k], multiples of 4 of each. */
    void (*transpose)(size_t rows, size_t columns, const float *from, size_t from_row, float *to, size_t to_row);
    /* y += a x. */
    void (*axpy)(size_t n, float a, const float *x, float *y);
    /* One update of n values; p, g, m and v do not overlap. */
    void (*adam)(size_t n, const cm_adam_update *update, float *p, const float *g, float *m, float *v);
    /* dx = dy SiLU'(x); dx may be dy. */
    void (*silu_back)(size_t n, const float *x, const float *dy, float *dx);
    /* SiLU'(x) and SiLU''(x). */
    void (*silu_slopes)(size_t n, const float *x, float *slope, float *curve);
    /* g = dy act'(a (x - shift) + b): sum[c] += g, product[c] += g (x - shift), over
     * the rows.  (x, shift, a, b, silu as in `affine`.) */
    void (*affine_sums)(size_t rows, size_t c, const float *x, const float *shift, const float *a, const float *b,
                        int silu, const float *dy, float *g, float *sum, float *product);
    /* dx = p[c] g + q[c] (x - shift[c]) + r[c]; dx may be g. */
    void (*affine_back)(size_t rows, size_t c, const float *x, const float *shift, const float *g, const float *p,
                        const float *q, const float *r, float *dx);
    /* Of values and tangents: the sums of `moments`, and of tx and of tx (x - shift). */
    void (*moments_both)(size_t rows, size_t c, const float *x, const float *tx, const float *shift, float *sum,
                         float *square, float *tangent, float *product);
    /* out as in `affine`, tout = p[c] tx + q[c] (x - shift[c]) + r[c], times SiLU' when asked; out may be x, tout tx.
     */
    void (*affine_both)(size_t rows, size_t c, const float *x, const float *tx, const float *shift, const float *a,
                        const float *b, const float *p, const float *q, const float *r, int silu, float *out,
                        float *tout);
    /* Bit i % 8 of byte i / 8: is word i of the stream (key; block, draw, image) at least `limit`?
     * stream: key 0, 1, draw, image low, high. */
    void (*dropout_mask)(size_t n, const uint32_t stream[5], uint32_t limit, unsigned char *mask);
    /* y = x scale where the mask has a bit, else 0; y may be x. */
    void (*masked)(size_t n, const unsigned char *mask, float scale, const float *x, float *y);
    /* sums[p][o] = sum over 9 taps t and c channels, a multiple of 16, of src[t][p][k] w[t][o][k]:
     * 4 points, 3 outputs. */
    void (*few_outputs)(size_t c, const float *const *src, const float *w, float *sums);
    /* Every row of d becomes scale y (d - sum y d): the gradient of softmax. */
    void (*softmax_back)(size_t rows, size_t n, size_t apart, float scale, const float *y, float *d);
    /* out = max(x, 0), and dx = dy where x > 0, else 0; out may be x, dx dy. */
    void (*relu)(size_t n, const float *x, float *out);
    void (*relu_back)(size_t n, const float *x, const float *dy, float *dx);
    /* out = max(a, b); out may be a or b. */
    void (*maximum)(size_t n, const float *a, const float *b, float *out);
    /* Of n points: out[c] = the largest src[t][c]; its gradient dy goes to the first that is it, the others get 0, or
     * with `add` nothing. */
    void (*window_max)(size_t c, size_t n, const float *const *src, float *out);
    void (*window_max_back)(size_t c, size_t n, const float *const *src, const float *dy, int add, float *const *dst);
    /* sum f^2 and sum g^2; sum w (u - v)^2; d = scale w (u - v), and sum d u. */
    void (*two_squares)(size_t n, const float *f, const float *g, float sums[2]);
    float (*weighted_squares)(size_t n, const float *w, const float *u, const float *v);
    float (*weighted_difference)(size_t n, const float *w, float scale, const float *u, const float *v, float *d);
    /* y = s y - t x. */
    void (*less)(size_t n, float s, float t, const float *x, float *y);
} cm_pointwise;

extern const cm_pointwise cmi_pointwise_baseline, cmi_pointwise_avx2, cmi_pointwise_avx512;

#endif
