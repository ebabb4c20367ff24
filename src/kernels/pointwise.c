/* pointwise.c - the hot loops over values and rows, compiled once for each CPU level: the Makefile
 * sets CM_TABLE (the table's name) and the machine flags. */
#include "kernels/pointwise.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float real;

#include "kernels/bf16_values.h"
#include "kernels/exponential.h"
#include "kernels/few_outputs_loops.h"
#include "kernels/philox_loops.h"
#include "tensor/desc.h"

/* x where exp x is a normal number.  Bits are compared, in whose order floats of one sign
 * stand: of floats, for the sake of NaN, compilers make comparisons and blends, and gcc 12
 * a second copy of what follows for the constant exp(88).  A NaN may become a number. */
static inline float clamp(float x)
{
    const uint32_t highest = 0x42B00000u, lowest = 0xC2AE0000u; /* 88, -87 */
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = bits < lowest ? bits : lowest;
    int32_t below = (int32_t)bits;
    below = below < (int32_t)highest ? below : (int32_t)highest;
    memcpy(&x, &below, sizeof x);
    return x;
}

/* exp x of -87 to 88; relative error below 2.2e-7. */
static inline float exp_poly(float x)
{
    float shifted, power;
    int32_t bits;
    exp_reduce(&x, &shifted);
    exp_terms_pairs(&x);
    memcpy(&bits, &shifted, sizeof bits);
    bits = (int32_t)(((uint32_t)bits + 127u) << 23);
    memcpy(&power, &bits, sizeof power);
    return x * power;
}

/* A NaN stays one by the numerator. */
static inline float silu_of(float x)
{
    return x / (1.0f + exp_poly(clamp(-x)));
}

static inline float value_at(const void *x, int is_bf16, size_t i)
{
    return is_bf16 ? widened(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

/* Rows are walked in chunks of columns whose per-channel values stay in registers:
 * of N columns, a constant where these are inlined, as is whether values are bfloat16. */
static inline __attribute__((always_inline)) void moments_of(size_t rows, size_t c, const size_t N, const void *x,
                                                             const int is_bf16, const float *shift, float *sum,
                                                             float *square)
{
    float m[64], s[64] = {0}, q[64] = {0};
    memcpy(m, shift, N * sizeof *m);
    for (size_t r = 0; r < rows; r++, x = cmi_values_at(x, is_bf16, c))
#pragma omp simd
        for (size_t i = 0; i < N; i++) {
            float d = value_at(x, is_bf16, i) - m[i];
            s[i] += d;
            q[i] += d * d;
        }
    memcpy(sum, s, N * sizeof *s);
    memcpy(square, q, N * sizeof *q);
}

static inline __attribute__((always_inline)) void moments_by(size_t rows, size_t c, const void *x, const int is_bf16,
                                                             const float *shift, float *sum, float *square)
{
    size_t i = 0;
#define CHUNK(N) moments_of(rows, c, N, cmi_values_at(x, is_bf16, i), is_bf16, shift + i, sum + i, square + i)
    for (; i + 64 <= c; i += 64) CHUNK(64);
    for (; i + 32 <= c; i += 32) CHUNK(32);
    if (i < c) CHUNK(c - i);
#undef CHUNK
}

static void moments(size_t rows, size_t c, const float *x, const float *shift, float *sum, float *square)
{
    moments_by(rows, c, x, 0, shift, sum, square);
}

static void moments_bf16(size_t rows, size_t c, const uint16_t *x, const float *shift, float *sum, float *square)
{
    moments_by(rows, c, x, 1, shift, sum, square);
}

static inline __attribute__((always_inline)) void affine_of(size_t rows, size_t c, const size_t N, const void *x,
                                                            const int is_bf16, const float *shift, const float *a,
                                                            const float *b, const int silu, float *out)
{
    float m[64], f[64], t[64];
    memcpy(m, shift, N * sizeof *m);
    memcpy(f, a, N * sizeof *f);
    memcpy(t, b, N * sizeof *t);
    for (size_t r = 0; r < rows; r++, x = cmi_values_at(x, is_bf16, c), out += c)
#pragma omp simd
        for (size_t i = 0; i < N; i++) {
            float v = f[i] * (value_at(x, is_bf16, i) - m[i]) + t[i];
            out[i] = silu ? silu_of(v) : v;
        }
}

static inline __attribute__((always_inline)) void affine_by(size_t rows, size_t c, const void *x, const int is_bf16,
                                                            const float *shift, const float *a, const float *b,
                                                            const int silu, float *out)
{
    size_t i = 0;
#define CHUNK(N) affine_of(rows, c, N, cmi_values_at(x, is_bf16, i), is_bf16, shift + i, a + i, b + i, silu, out + i)
    for (; i + 64 <= c; i += 64) CHUNK(64);
    for (; i + 32 <= c; i += 32) CHUNK(32);
    if (i < c) CHUNK(c - i);
#undef CHUNK
}

static void affine(size_t rows, size_t c, const float *x, const float *shift, const float *a, const float *b,
                   int silu, float *out)
{
    if (silu) affine_by(rows, c, x, 0, shift, a, b, 1, out);
    else affine_by(rows, c, x, 0, shift, a, b, 0, out);
}

static void affine_bf16(size_t rows, size_t c, const uint16_t *x, const float *shift, const float *a, const float *b,
                        int silu, float *out)
{
    if (silu) affine_by(rows, c, x, 1, shift, a, b, 1, out);
    else affine_by(rows, c, x, 1, shift, a, b, 0, out);
}

static void silu(size_t n, const float *x, float *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = silu_of(x[i]);
}

static void add(size_t n, const float *a, const float *b, float scale, float *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = (a[i] + b[i]) * scale;
}

static void scale(size_t n, float s, const float *x, float *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = s * x[i];
}

static void mix(size_t rows, size_t c, size_t fc, float s, const float *x, float t, const float *f, float *out)
{
    for (size_t r = 0; r < rows; r++, x += c, f += fc, out += c)
        for (size_t i = 0; i < c; i++) out[i] = s * x[i] + t * f[i];
}

/* In 16 lanes, since compilers do not join two orders of comparing floats. */
static float largest(size_t n, const float *x)
{
    enum { N = 16 };
    float lane[N], top = x[0];
    const size_t whole = n / N * N;
    for (size_t j = 0; j < N; j++) lane[j] = top;
    for (size_t i = 0; i < whole; i += N)
#pragma omp simd
        for (size_t j = 0; j < N; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (size_t i = whole; i < n; i++) lane[i - whole] = x[i] > lane[i - whole] ? x[i] : lane[i - whole];
    for (size_t half = N / 2; half > 0; half /= 2)
#pragma omp simd
        for (size_t j = 0; j < half; j++) lane[j] = lane[j + half] > lane[j] ? lane[j + half] : lane[j];
    return lane[0];
}

/* x becomes exp(scale (x - top)); their sum. */
static float exponentials(size_t n, float scale, float top, float *x)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        float v = (x[i] - top) * scale; /* at most 0, or NaN */
        x[i] = exp_poly(v < -87.0f ? -87.0f : v);
        sum += x[i];
    }
    return sum;
}

/* A row's sum is waited for while those of others go on. */
static void softmax(size_t rows, size_t n, size_t apart, float scale, float *x)
{
    enum { TOGETHER = 8 };
    for (size_t r = 0, count; r < rows; r += count, x += count * apart) {
        float top[TOGETHER], sum[TOGETHER];
        count = rows - r < TOGETHER ? rows - r : TOGETHER;
        for (size_t k = 0; k < count; k++) top[k] = largest(n, x + k * apart);
        for (size_t k = 0; k < count; k++) sum[k] = exponentials(n, scale, top[k], x + k * apart);
        for (size_t k = 0; k < count; k++) {
            const float inverse = 1.0f / sum[k];
            float *row = x + k * apart;
#pragma omp simd
            for (size_t i = 0; i < n; i++) row[i] *= inverse;
        }
    }
}

static void matvec(size_t rows, size_t k, const float *w, const float *x, const float *bias, float *out)
{
    for (size_t r = 0; r < rows; r++, w += k) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < k; i++) sum += w[i] * x[i];
        out[r] = bias ? sum + bias[r] : sum;
    }
}

/* Filters of two taps have four here, of four sixteen. */
static void taps(size_t c, size_t count, const float *const *src, const float *weight, float *out)
{
    size_t t = 0;
    if (count == 0) memset(out, 0, c * sizeof *out);
    for (; t + 4 <= count; t += 4) {
        const float *s0 = src[t], *s1 = src[t + 1], *s2 = src[t + 2], *s3 = src[t + 3], *w = weight + t;
        const float w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
        if (t == 0) {
#pragma omp simd
            for (size_t i = 0; i < c; i++) out[i] = w0 * s0[i] + w1 * s1[i] + w2 * s2[i] + w3 * s3[i];
        } else {
#pragma omp simd
            for (size_t i = 0; i < c; i++) out[i] = out[i] + w0 * s0[i] + w1 * s1[i] + w2 * s2[i] + w3 * s3[i];
        }
    }
    for (; t < count; t++) {
        const float *s = src[t], w = weight[t];
        if (t == 0) {
#pragma omp simd
            for (size_t i = 0; i < c; i++) out[i] = w * s[i];
        } else {
#pragma omp simd
            for (size_t i = 0; i < c; i++) out[i] += w * s[i];
        }
    }
}

static void split3(size_t n, const float *restrict x, float *restrict a, float *restrict b, float *restrict c)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) a[i] = x[3 * i], b[i] = x[3 * i + 1], c[i] = x[3 * i + 2];
}

static void join3(size_t n, const float *restrict a, const float *restrict b, const float *restrict c,
                  float *restrict x)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) x[3 * i] = a[i], x[3 * i + 1] = b[i], x[3 * i + 2] = c[i];
}

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_numbers __attribute__((vector_size(16)));
#ifdef __clang__
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (four_numbers){__VA_ARGS__})
#endif

static void transpose(size_t rows, size_t columns, const float *from, size_t from_row, float *to, size_t to_row)
{
    for (size_t r = 0; r < rows; r += 4)
        for (size_t k = 0; k < columns; k += 4) {
            four x[4], y[4];
            for (size_t i = 0; i < 4; i++) memcpy(&x[i], from + (r + i) * from_row + k, sizeof x[i]);
            for (size_t i = 0; i < 2; i++) {
                y[i] = PICK(x[2 * i], x[2 * i + 1], 0, 4, 1, 5);
                y[i + 2] = PICK(x[2 * i], x[2 * i + 1], 2, 6, 3, 7);
            }
            for (size_t i = 0; i < 2; i++) {
                x[2 * i] = PICK(y[2 * i], y[2 * i + 1], 0, 1, 4, 5);
                x[2 * i + 1] = PICK(y[2 * i], y[2 * i + 1], 2, 3, 6, 7);
            }
            for (size_t i = 0; i < 4; i++) memcpy(to + (k + i) * to_row + r, &x[i], sizeof x[i]);
        }
}

static void axpy(size_t n, float a, const float *restrict x, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

static void adam(size_t n, const cm_adam_update *update, float *restrict p, const float *restrict g,
                 float *restrict m, float *restrict v)
{
    const cm_adam_update u = *update;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float d = g[i] + u.decay * p[i];
        m[i] = u.beta1 * m[i] + u.left1 * d;
        v[i] = u.beta2 * v[i] + u.left2 * (d * d);
        p[i] = u.divide ? u.keep * p[i] - u.step * m[i] / (u.root_scale * sqrtf(v[i]) + u.eps) : p[i] - u.step * m[i];
    }
}

/* d/dx x s(x) = s (1 + x (1 - s)), s = 1 / (1 + exp(-x)). */
static inline float silu_slope(float x)
{
    float s = 1.0f / (1.0f + exp_poly(clamp(-x)));
    return s * (1.0f + x * (1.0f - s));
}

static void silu_back(size_t n, const float *x, const float *dy, float *dx)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * silu_slope(x[i]);
}

static void silu_slopes(size_t n, const float *restrict x, float *restrict slope, float *restrict curve)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float s = 1.0f / (1.0f + exp_poly(clamp(-x[i])));
        slope[i] = s * (1.0f + x[i] * (1.0f - s));
        curve[i] = s * (1.0f - s) * (2.0f + x[i] * (1.0f - 2.0f * s));
    }
}

static inline __attribute__((always_inline)) void affine_sums_of(size_t rows, size_t c, const size_t N,
                                                                 const float *restrict x, const float *shift,
                                                                 const float *a, const float *b, const int silu,
                                                                 const float *restrict dy, float *restrict g,
                                                                 float *sum, float *product)
{
    float m[32], f[32], t[32], s[32], p[32];
    memcpy(m, shift, N * sizeof *m);
    memcpy(f, a, N * sizeof *f);
    memcpy(t, b, N * sizeof *t);
    memcpy(s, sum, N * sizeof *s);
    memcpy(p, product, N * sizeof *p);
    for (size_t r = 0; r < rows; r++, x += c, dy += c, g += c)
#pragma omp simd
        for (size_t i = 0; i < N; i++) {
            float d = x[i] - m[i], v = silu ? dy[i] * silu_slope(f[i] * d + t[i]) : dy[i];
            g[i] = v;
            s[i] += v;
            p[i] += v * d;
        }
    memcpy(sum, s, N * sizeof *s);
    memcpy(product, p, N * sizeof *p);
}

static inline __attribute__((always_inline)) void affine_sums_by(size_t rows, size_t c, const float *x,
                                                                 const float *shift, const float *a, const float *b,
                                                                 const int silu, const float *dy, float *g,
                                                                 float *sum, float *product)
{
    size_t i = 0;
#define CHUNK(N) affine_sums_of(rows, c, N, x + i, shift + i, a + i, b + i, silu, dy + i, g + i, sum + i, product + i)
    for (; i + 32 <= c; i += 32) CHUNK(32);
    if (i < c) CHUNK(c - i);
#undef CHUNK
}

static void affine_sums(size_t rows, size_t c, const float *x, const float *shift, const float *a, const float *b,
                        int silu, const float *dy, float *g, float *sum, float *product)
{
    if (silu) affine_sums_by(rows, c, x, shift, a, b, 1, dy, g, sum, product);
    else affine_sums_by(rows, c, x, shift, a, b, 0, dy, g, sum, product);
}

static void affine_back(size_t rows, size_t c, const float *x, const float *shift, const float *g, const float *p,
                        const float *q, const float *t, float *dx)
{
    for (size_t r = 0; r < rows; r++, x += c, g += c, dx += c)
#pragma omp simd
        for (size_t i = 0; i < c; i++) dx[i] = p[i] * g[i] + q[i] * (x[i] - shift[i]) + t[i];
}

static inline __attribute__((always_inline)) void moments_both_of(size_t rows, size_t c, const size_t N,
                                                                  const float *x, const float *tx, const float *shift,
                                                                  float *sum, float *square, float *tangent,
                                                                  float *product)
{
    float m[32], s[32] = {0}, q[32] = {0}, t[32] = {0}, p[32] = {0};
    memcpy(m, shift, N * sizeof *m);
    for (size_t r = 0; r < rows; r++, x += c, tx += c)
#pragma omp simd
        for (size_t i = 0; i < N; i++) {
            float d = x[i] - m[i];
            s[i] += d;
            q[i] += d * d;
            t[i] += tx[i];
            p[i] += tx[i] * d;
        }
    memcpy(sum, s, N * sizeof *s);
    memcpy(square, q, N * sizeof *q);
    memcpy(tangent, t, N * sizeof *t);
    memcpy(product, p, N * sizeof *p);
}

static void moments_both(size_t rows, size_t c, const float *x, const float *tx, const float *shift, float *sum,
                         float *square, float *tangent, float *product)
{
    size_t i = 0;
#define CHUNK(N) moments_both_of(rows, c, N, x + i, tx + i, shift + i, sum + i, square + i, tangent + i, product + i)
    for (; i + 32 <= c; i += 32) CHUNK(32);
    if (i < c) CHUNK(c - i);
#undef CHUNK
}

static inline __attribute__((always_inline)) void affine_both_of(size_t rows, size_t c, const size_t N,
                                                                 const float *x, const float *tx, const float *shift,
                                                                 const float *a, const float *b, const float *p,
                                                                 const float *q, const float *r, const int silu,
                                                                 float *out, float *tout)
{
    float m[32], f[32], t[32], u[32], v[32], w[32];
    memcpy(m, shift, N * sizeof *m);
    memcpy(f, a, N * sizeof *f);
    memcpy(t, b, N * sizeof *t);
    memcpy(u, p, N * sizeof *u);
    memcpy(v, q, N * sizeof *v);
    memcpy(w, r, N * sizeof *w);
    for (size_t row = 0; row < rows; row++, x += c, tx += c, out += c, tout += c)
#pragma omp simd
        for (size_t i = 0; i < N; i++) {
            const float d = x[i] - m[i], z = f[i] * d + t[i], tz = u[i] * tx[i] + v[i] * d + w[i];
            if (silu) {
                const float e = 1.0f + exp_poly(clamp(-z)), s = 1.0f / e;
                out[i] = z / e;
                tout[i] = tz * (s * (1.0f + z * (1.0f - s)));
            } else {
                out[i] = z;
                tout[i] = tz;
            }
        }
}

static void affine_both(size_t rows, size_t c, const float *x, const float *tx, const float *shift, const float *a,
                        const float *b, const float *p, const float *q, const float *r, int silu, float *out,
                        float *tout)
{
#define CHUNK(N, S)                                                                                                  \
    affine_both_of(rows, c, N, x + i, tx + i, shift + i, a + i, b + i, p + i, q + i, r + i, S, out + i, tout + i)
    size_t i = 0;
    for (; silu && i + 32 <= c; i += 32) CHUNK(32, 1);
    for (; !silu && i + 32 <= c; i += 32) CHUNK(32, 0);
    if (i < c && silu) CHUNK(c - i, 1);
    else if (i < c) CHUNK(c - i, 0);
#undef CHUNK
}

static void softmax_back(size_t rows, size_t n, size_t apart, float scale, const float *y, float *d)
{
    for (size_t r = 0; r < rows; r++, y += apart, d += apart) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < n; i++) sum += y[i] * d[i];
#pragma omp simd
        for (size_t i = 0; i < n; i++) d[i] = scale * y[i] * (d[i] - sum);
    }
}

static void relu(size_t n, const float *x, float *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = x[i] > 0 ? x[i] : 0;
}

static void relu_back(size_t n, const float *x, const float *dy, float *dx)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) dx[i] = x[i] > 0 ? dy[i] : 0;
}

static void maximum(size_t n, const float *a, const float *b, float *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = a[i] > b[i] ? a[i] : b[i];
}

static void window_max(size_t c, size_t n, const float *const *src, float *out)
{
    size_t t = 1;
    if (n < 4) memcpy(out, src[0], c * sizeof *out);
    for (; t + 2 < n; t += 3) {
        const float *s0 = t == 1 ? src[0] : out, *s1 = src[t], *s2 = src[t + 1], *s3 = src[t + 2];
#pragma omp simd
        for (size_t i = 0; i < c; i++) {
            const float a = s0[i] > s1[i] ? s0[i] : s1[i], b = s2[i] > s3[i] ? s2[i] : s3[i];
            out[i] = a > b ? a : b;
        }
    }
    for (; t < n; t++) maximum(c, out, src[t], out);
}

static void window_max_back(size_t c, size_t n, const float *const *src, const float *dy, int add, float *const *dst)
{
    enum { PART = 64 };
    float most[PART], left[PART]; /* left: what nobody has got */
    for (size_t k = 0; k < c; k += PART) {
        const size_t count = c - k < PART ? c - k : PART;
        memcpy(left, dy + k, count * sizeof *left);
        memcpy(most, src[0] + k, count * sizeof *most);
        for (size_t t = 1; t < n; t++) maximum(count, most, src[t] + k, most);
        for (size_t t = 0; t < n; t++) {
            const float *from = src[t] + k;
            float *to = dst[t] + k;
#pragma omp simd
            for (size_t i = 0; i < count; i++) {
                const int is = from[i] == most[i];
                to[i] = (add ? to[i] : 0) + (is ? left[i] : 0);
                left[i] = is ? 0 : left[i];
            }
        }
    }
}

static void two_squares(size_t n, const float *f, const float *g, float sums[2])
{
    float ff = 0, gg = 0;
#pragma omp simd reduction(+ : ff, gg)
    for (size_t i = 0; i < n; i++) ff += f[i] * f[i], gg += g[i] * g[i];
    sums[0] = ff, sums[1] = gg;
}

static float weighted_squares(size_t n, const float *w, const float *u, const float *v)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += w[i] * ((u[i] - v[i]) * (u[i] - v[i]));
    return sum;
}

static float weighted_difference(size_t n, const float *w, float scale, const float *u, const float *v,
                                 float *restrict d)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        d[i] = scale * w[i] * (u[i] - v[i]);
        sum += d[i] * u[i];
    }
    return sum;
}

static void less(size_t n, float s, float t, const float *x, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = s * y[i] - t * x[i];
}

const cm_pointwise CM_TABLE = {moments,
                               affine,
                               moments_bf16,
                               affine_bf16,
                               silu,
                               add,
                               scale,
                               mix,
                               softmax,
                               matvec,
                               taps,
                               split3,
                               join3,
                               transpose,
                               axpy,
                               adam,
                               silu_back,
                               silu_slopes,
                               affine_sums,
                               affine_back,
                               moments_both,
                               affine_both,
                               dropout_mask,
                               masked,
                               few_outputs,
                               softmax_back,
                               relu,
                               relu_back,
                               maximum,
                               window_max,
                               window_max_back,
                               two_squares,
                               weighted_squares,
                               weighted_difference,
                               less};
