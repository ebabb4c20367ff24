/* winograd_transforms.h - Winograd's transforms, for both forms of operands: winograd_f32.c (float32) and
 * winograd_bf16.c define what a word is before they include this; compiled once for each CPU level, with
 * CM_LANES floats in a vector.
 *
 * A word is one float, or the bfloat16 values of two neighbouring channels:
 *
 *   word, CHANNELS           its type, channels in one
 *   put(out, at, v)          values of LANES channels, at channel `at` of a row
 *   put_words(out, v)        the values of CHANNELS channels, LANES columns
 *   CM_LINES                 defined where kernels other than 3 x 3 are served (winograd_lines.h)
 *
 * F(4,3) uses the points 0, +-5/8, +-3/2 and infinity, whose errors are half of
 * those of 0, +-1, +-2; F(2,3) 0, +-1 and infinity.  With M(x) the product of
 * (x - p) over the finite points, row p of B^T holds the coefficients of
 * M(x)/(x - p), row infinity those of M(x); row p of G is (1, p, p^2) over
 * the value of M(x)/(x - p) at p; column p of A^T is (1, p, p^2, ...). */
#ifndef CM_KERNELS_WINOGRAD_TRANSFORMS_H
#define CM_KERNELS_WINOGRAD_TRANSFORMS_H

#include "kernels/vectors.h"
#include "kernels/winograd.h"

#define A (5.0f / 8)
#define B (3.0f / 2)
#define A2 (A * A)
#define B2 (B * B)

/* --- one-dimensional transforms, on values `s` apart ----------------------------------- */

static inline __attribute__((always_inline)) void input6(const vec *d, size_t s, vec *v, size_t q)
{
    vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s], d5 = d[5 * s];
    vec e = d4 - B2 * d2, o = A * (d3 - B2 * d1);
    vec f = d4 - A2 * d2, p = B * (d3 - A2 * d1);
    v[0] = (d4 - (A2 + B2) * d2) + (A2 * B2) * d0;
    v[q] = e + o;
    v[2 * q] = e - o;
    v[3 * q] = f + p;
    v[4 * q] = f - p;
    v[5 * q] = (d5 - (A2 + B2) * d3) + (A2 * B2) * d1;
}

static inline __attribute__((always_inline)) void input4(const vec *d, size_t s, vec *v, size_t q)
{
    vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s];
    v[0] = d0 - d2;
    v[q] = d1 + d2;
    v[2 * q] = d2 - d1;
    v[3 * q] = d3 - d1;
}

static inline __attribute__((always_inline)) void output6(const vec *m, size_t s, vec *y, size_t q)
{
    vec ea = m[s] + m[2 * s], oa = m[s] - m[2 * s], eb = m[3 * s] + m[4 * s], ob = m[3 * s] - m[4 * s];
    y[0] = m[0] + ea + eb;
    y[q] = A * oa + B * ob;
    y[2 * q] = A2 * ea + B2 * eb;
    y[3 * q] = (A * A2) * oa + (B * B2) * ob + m[5 * s];
}

static inline __attribute__((always_inline)) void output4(const vec *m, size_t s, vec *y, size_t q)
{
    y[0] = m[0] + m[s] + m[2 * s];
    y[q] = m[s] - m[2 * s] + m[3 * s];
}

static inline __attribute__((always_inline)) void weights6(const vec *g, size_t s, vec *u, size_t q)
{
    const float n0 = 1 / (A2 * B2), na = 1 / (2 * A2 * (A2 - B2)), nb = 1 / (2 * B2 * (B2 - A2));
    vec g0 = g[0], g1 = g[s], g2 = g[2 * s];
    u[0] = n0 * g0;
    u[q] = na * (g0 + A2 * g2 + A * g1);
    u[2 * q] = na * (g0 + A2 * g2 - A * g1);
    u[3 * q] = nb * (g0 + B2 * g2 + B * g1);
    u[4 * q] = nb * (g0 + B2 * g2 - B * g1);
    u[5 * q] = g2;
}

static inline __attribute__((always_inline)) void weights4(const vec *g, size_t s, vec *u, size_t q)
{
    vec g0 = g[0], g1 = g[s], g2 = g[2 * s];
    u[0] = g0;
    u[q] = 0.5f * (g0 + g2 + g1);
    u[2 * q] = 0.5f * (g0 + g2 - g1);
    u[3 * q] = g2;
}

static inline __attribute__((always_inline)) void gradient6(const vec *y, size_t s, vec *z, size_t q)
{
    vec y0 = y[0], y1 = y[s], y2 = y[2 * s], y3 = y[3 * s];
    vec ea = y0 + A2 * y2, oa = A * (y1 + A2 * y3), eb = y0 + B2 * y2, ob = B * (y1 + B2 * y3);
    z[0] = y0;
    z[q] = ea + oa;
    z[2 * q] = ea - oa;
    z[3 * q] = eb + ob;
    z[4 * q] = eb - ob;
    z[5 * q] = y3;
}

static inline __attribute__((always_inline)) void gradient4(const vec *y, size_t s, vec *z, size_t q)
{
    z[0] = y[0];
    z[q] = y[0] + y[s];
    z[2 * q] = y[0] - y[s];
    z[3 * q] = y[s];
}

static inline __attribute__((always_inline)) void fold6(const vec *u, size_t s, vec *g, size_t q)
{
    const float n0 = 1 / (A2 * B2), na = 1 / (2 * A2 * (A2 - B2)), nb = 1 / (2 * B2 * (B2 - A2));
    vec ea = na * (u[s] + u[2 * s]), oa = na * (u[s] - u[2 * s]);
    vec eb = nb * (u[3 * s] + u[4 * s]), ob = nb * (u[3 * s] - u[4 * s]);
    g[0] = n0 * u[0] + ea + eb;
    g[q] = A * oa + B * ob;
    g[2 * q] = A2 * ea + B2 * eb + u[5 * s];
}

static inline __attribute__((always_inline)) void fold4(const vec *u, size_t s, vec *g, size_t q)
{
    vec e = 0.5f * (u[s] + u[2 * s]), o = 0.5f * (u[s] - u[2 * s]);
    g[0] = u[0] + e;
    g[q] = o;
    g[2 * q] = e + u[3 * s];
}

/* Of points that stand for two (winograd.h). */
static inline __attribute__((always_inline)) void weights_up(const vec *g, size_t s, vec *u, size_t q)
{
    vec g0 = g[0], g1 = g[s], g2 = g[2 * s];
    u[0] = g0;
    u[q] = 0.5f * (g0 + g1 + g2);
    u[2 * q] = 0.5f * (g0 - g1 - g2);
    u[3 * q] = 0.5f * (g2 - g0 - g1);
    u[4 * q] = g2;
}

static inline __attribute__((always_inline)) void output_up(const vec *m, size_t s, vec *y, size_t q)
{
    y[0] = m[0] + m[s] + m[2 * s];
    y[q] = m[s] + m[3 * s];
    y[2 * q] = m[s] - m[2 * s];
    y[3 * q] = m[s] - m[3 * s] + m[4 * s];
}

/* Of sums of four (winograd.h). */
static inline __attribute__((always_inline)) void input_down(const vec *d, size_t s, vec *v, size_t q)
{
    vec s0 = d[0] + d[s], s2 = d[2 * s] + d[3 * s], s4 = d[4 * s] + d[5 * s];
    v[0] = s0 - s2;
    v[q] = s2;
    v[2 * q] = s2 - s4;
    v[3 * q] = d[s] + d[2 * s];
    v[4 * q] = d[3 * s] + d[4 * s];
}

static inline __attribute__((always_inline)) void weights_down(const vec *g, size_t s, vec *u, size_t q)
{
    u[0] = g[0];
    u[q] = g[0] + g[2 * s];
    u[2 * q] = g[2 * s];
    u[3 * q] = g[s];
}

static inline __attribute__((always_inline)) void output_down(const vec *m, size_t s, vec *y, size_t q)
{
    y[0] = m[0] + m[s] + m[3 * s];
    y[q] = m[s] - m[2 * s] + m[4 * s];
}

/* Backward of points that stand for two. */
static inline __attribute__((always_inline)) void gradient_up(const vec *y, size_t s, vec *z, size_t q)
{
    vec y0 = y[0], y1 = y[s], y2 = y[2 * s], y3 = y[3 * s];
    z[0] = y0;
    z[q] = (y0 + y1) + (y2 + y3);
    z[2 * q] = y0 - y2;
    z[3 * q] = y1 - y3;
    z[4 * q] = y3;
}

static inline __attribute__((always_inline)) void fold_up(const vec *u, size_t s, vec *g, size_t q)
{
    vec b = 0.5f * u[s], e = 0.5f * u[2 * s], f = 0.5f * u[3 * s];
    g[0] = u[0] + b + e - f;
    g[q] = b - e - f;
    g[2 * q] = b - e + f + u[4 * s];
}

#ifdef CM_LINES
#include "kernels/winograd_lines.h"
#endif

/* --- two-dimensional ------------------------------------------------------------------- */

/* Found from the one before, not kept for all rows at once: there are not so many registers. */
#define STEP(at) __asm__("" : "+r"(at))

/* A tile's points are lines far apart, too many for the processor to see where each goes: what is
 * read AHEAD channels later is prefetched. */
enum { AHEAD = 64 };
static inline vec load_point(const float *point, size_t k)
{
    if (k % 16 == 0) __builtin_prefetch(point + k + AHEAD);
    return load(point + k);
}

/* A block of half of the rows of positions, so that its values fit into the registers: tiles of 4 x 4 outputs,
 * or with `down` 2 of 2 x 4.  What a block does not need of the transform of a column the compiler leaves out;
 * to ask for what comes next in more rows than the first and the last took longer than it saved. */
static inline __attribute__((always_inline)) void
input_row_block(const size_t down, const size_t block, const float *const *points, size_t k, void *out, size_t apart)
{
    const size_t rows = down + 2;
    size_t at = block * (rows / 2) * 6 * apart + k;
    vec v[3][6];
#pragma GCC unroll 6
    for (size_t i = 0; i < 6; i++) {
        vec d[6], all[6];
#pragma GCC unroll 6
        for (size_t j = 0; j < rows; j++)
            d[j] = j == block * (rows - 1) ? load_point(points[6 * j + i], k) : load(points[6 * j + i] + k);
        if (down == 4) input6(d, 1, all, 1);
        else input4(d, 1, all, 1);
#pragma GCC unroll 3
        for (size_t j = 0; j < rows / 2; j++) v[j][i] = all[block * (rows / 2) + j];
    }
#pragma GCC unroll 3
    for (size_t i = 0; i < rows / 2; i++, at += 6 * apart) {
        vec d[6];
        STEP(at);
        input6(v[i], 1, d, 1);
#pragma GCC unroll 6
        for (size_t j = 0; j < 6; j++) put(out, at + j * apart, d[j]);
    }
}

static inline void input16(const float *const *points, size_t k, void *out, size_t apart)
{
    vec d[16], v[16];
    for (size_t i = 0; i < 16; i++) d[i] = load_point(points[i], k);
    for (size_t i = 0; i < 4; i++) input4(d + i, 4, v + i, 4);
    for (size_t i = 0; i < 4; i++) input4(v + 4 * i, 1, d + 4 * i, 1);
    for (size_t i = 0; i < 16; i++) put(out, i * apart + k, d[i]);
}

static inline void input25(const float *const *points, size_t k, void *out, size_t apart)
{
    vec d[6], v[30];
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 6; j++) d[j] = load_point(points[6 * j + i], k);
        input_down(d, 1, v + i, 6);
    }
    for (size_t i = 0; i < 5; i++) {
        input_down(v + 6 * i, 1, d, 1);
        for (size_t j = 0; j < 5; j++) put(out, (5 * i + j) * apart + k, d[j]);
    }
}

/* A function for each: what all together have to prepare for a loop over few channels took as long as it. */
#define EACH_VECTOR static __attribute__((noinline)) void
EACH_VECTOR input_4x4(size_t c, const float *const *points, void *out, size_t apart)
{
    for (size_t k = 0; k < c; k += LANES) {
        input_row_block(4, 0, points, k, out, apart);
        input_row_block(4, 1, points, k, out, apart);
    }
}

EACH_VECTOR input_2x4(size_t c, const float *const *points, void *out, size_t apart)
{
    for (size_t k = 0; k < c; k += LANES) {
        input_row_block(2, 0, points, k, out, apart);
        input_row_block(2, 1, points, k, out, apart);
    }
}

EACH_VECTOR input_2x2(size_t c, const float *const *points, void *out, size_t apart)
{
    for (size_t k = 0; k < c; k += LANES) input16(points, k, out, apart);
}

EACH_VECTOR input_sums(size_t c, const float *const *points, void *out, size_t apart)
{
    for (size_t k = 0; k < c; k += LANES) input25(points, k, out, apart);
}

#ifdef CM_LINES
EACH_VECTOR input_line7(size_t c, const float *const *points, void *out, size_t apart)
{
    for (size_t k = 0; k < c; k += LANES) {
        vec d[10], v[10];
        for (size_t i = 0; i < 10; i++) d[i] = load_point(points[i], k);
        input10(d, v);
        for (size_t i = 0; i < 10; i++) put(out, i * apart + k, v[i]);
    }
}

EACH_VECTOR input_line3(size_t c, const float *const *points, void *out, size_t apart)
{
    for (size_t k = 0; k < c; k += LANES) {
        vec d[6], v[6];
        for (size_t i = 0; i < 6; i++) d[i] = load_point(points[i], k);
        input6(d, 1, v, 1);
        for (size_t i = 0; i < 6; i++) put(out, i * apart + k, v[i]);
    }
}
#endif

static void input(int tile, size_t c, const float *const *points, void *out, size_t apart)
{
#ifdef CM_LINES
    if (tile == CM_WINOGRAD_LINE7) {
        input_line7(c, points, out, apart);
        return;
    }
    if (tile == CM_WINOGRAD_LINE3) {
        input_line3(c, points, out, apart);
        return;
    }
#endif
    if (tile == CM_WINOGRAD_4X4 || tile == CM_WINOGRAD_5X5) input_4x4(c, points, out, apart);
    else if (tile == CM_WINOGRAD_2X4) input_2x4(c, points, out, apart);
    else if (tile == CM_WINOGRAD_2X2 || tile == CM_WINOGRAD_UP) input_2x2(c, points, out, apart);
    else if (tile == CM_WINOGRAD_DOWN) input_sums(c, points, out, apart);
    else
        for (size_t k = 0; k < c; k += LANES) put(out, k, load(points[0] + k));
}

/* G g G^T of 9 values (of a 1 x 1 convolution: of one) to r; of a line G g. */
static inline __attribute__((always_inline)) void transform_weights(int tile, const vec *g, vec *r)
{
    vec t[30];
    if (tile == CM_WINOGRAD_1X1) {
        r[0] = g[0];
#ifdef CM_LINES
    } else if (tile == CM_WINOGRAD_LINE7) {
        weights10(g, r);
    } else if (tile == CM_WINOGRAD_LINE3) {
        weights6(g, 1, r, 1);
    } else if (tile == CM_WINOGRAD_5X5) {
        for (size_t i = 0; i < 5; i++) weights6_of_5(g + i, 5, t + i, 5);
        for (size_t i = 0; i < 6; i++) weights6_of_5(t + 5 * i, 1, r + 6 * i, 1);
#endif
    } else if (tile == CM_WINOGRAD_2X2) {
        for (size_t i = 0; i < 3; i++) weights4(g + i, 3, t + i, 3);
        for (size_t i = 0; i < 4; i++) weights4(t + 3 * i, 1, r + 4 * i, 1);
    } else if (tile == CM_WINOGRAD_UP) {
        for (size_t i = 0; i < 3; i++) weights_up(g + i, 3, t + i, 3);
        for (size_t i = 0; i < 5; i++) weights_up(t + 3 * i, 1, r + 5 * i, 1);
    } else if (tile == CM_WINOGRAD_DOWN) {
        for (size_t i = 0; i < 3; i++) weights_down(g + i, 3, t + i, 3);
        for (size_t i = 0; i < 4; i++) weights_down(t + 3 * i, 1, r + 4 * i, 1);
    } else {
        const size_t rows = tile == CM_WINOGRAD_4X4 ? 6 : 4;
        for (size_t i = 0; i < 3; i++)
            if (rows == 6) weights6(g + i, 3, t + i, 3);
            else weights4(g + i, 3, t + i, 3);
        for (size_t i = 0; i < rows; i++) weights6(t + 3 * i, 1, r + 6 * i, 1);
    }
}

static inline __attribute__((always_inline)) void weights_of(const int tile, size_t width, const float *w, word *u,
                                                             size_t apart)
{
    const size_t taps = cmi_winograd_tiles[tile].taps, n = cmi_winograd_tiles[tile].matrices;
    vec g[25], r[CHANNELS][36];
    for (size_t k = 0; k < width; k += LANES) {
        word *to = u + k;
        for (size_t c = 0; c < CHANNELS; c++) {
            for (size_t i = 0; i < taps; i++) g[i] = load(w + (c * taps + i) * width + k);
            transform_weights(tile, g, r[c]);
        }
#pragma GCC unroll 36
        for (size_t i = 0; i < n; i++, to += apart / CHANNELS) {
            STEP(to);
            __builtin_prefetch(to + 2 * width, 1); /* too many places for the processor to see where it goes */
            put_words(to, r, i);
        }
    }
}

EACH_VECTOR weights_4x4(size_t width, const float *w, word *u, size_t apart)
{
    weights_of(CM_WINOGRAD_4X4, width, w, u, apart);
}

static void weights(int tile, size_t width, const float *w, void *u, size_t apart)
{
    if (tile == CM_WINOGRAD_4X4) weights_4x4(width, w, u, apart);
    else if (tile == CM_WINOGRAD_2X4) weights_of(CM_WINOGRAD_2X4, width, w, u, apart);
    else if (tile == CM_WINOGRAD_2X2) weights_of(CM_WINOGRAD_2X2, width, w, u, apart);
    else if (tile == CM_WINOGRAD_UP) weights_of(CM_WINOGRAD_UP, width, w, u, apart);
    else if (tile == CM_WINOGRAD_DOWN) weights_of(CM_WINOGRAD_DOWN, width, w, u, apart);
#ifdef CM_LINES
    else if (tile == CM_WINOGRAD_LINE7) weights_of(CM_WINOGRAD_LINE7, width, w, u, apart);
    else if (tile == CM_WINOGRAD_LINE3) weights_of(CM_WINOGRAD_LINE3, width, w, u, apart);
    else if (tile == CM_WINOGRAD_5X5) weights_of(CM_WINOGRAD_5X5, width, w, u, apart);
#endif
    else weights_of(CM_WINOGRAD_1X1, width, w, u, apart);
}

#endif
