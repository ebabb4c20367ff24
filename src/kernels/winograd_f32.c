/* winograd_f32.c - the transforms of float32, compiled once for each CPU level: the
 * Makefile sets CM_TABLE (the table's name), CM_LANES and the machine flags. */
#include "kernels/winograd.h"

#include "kernels/vectors.h"

#include <stdint.h>

typedef float word;
typedef int32_t whole_numbers __attribute__((vector_size(4 * CM_LANES)));
enum { CHANNELS = 1 };
#define CM_LINES

static inline void put(void *out, size_t at, vec v)
{
    store((float *)out + at, v);
}

static inline __attribute__((always_inline)) void put_words(word *out, vec (*r)[36], size_t i)
{
    store(out, r[0][i]);
}

#include "kernels/winograd_transforms.h"

/* --- two-dimensional, what the gradient and the output need --------------------------------- */

static inline vec positive(vec v)
{
    const whole_numbers above = v > (vec){0};
    return (vec)((whole_numbers)v & above);
}

/* The output number i of a tile, which lies in the image if all of them do: plus what is added to it. */
static inline __attribute__((always_inline)) void
put_output(vec v, size_t i, size_t k, const int whole, const int adds, const int relu, const cm_winograd_points *to)
{
    if (!whole && !to->y[i]) return;
    if (whole ? adds : to->residual[i] != NULL) v = (v + load(to->residual[i] + k)) * to->scale;
    if (relu) v = positive(v);
    store(to->y[i] + k, v);
}

/* A block of two rows of outputs, of four the even or the odd ones, so that their values fit into the registers. */
static inline __attribute__((always_inline)) void output_row_block(const size_t down, const size_t block,
                                                                   const float *in, size_t k, size_t apart, vec bias,
                                                                   const int whole, const int adds, const int relu,
                                                                   const cm_winograd_points *to)
{
    vec v[2][6], d[6];
#pragma GCC unroll 6
    for (size_t i = 0; i < 6; i++) {
        vec all[4];
#pragma GCC unroll 6
        for (size_t j = 0; j < down + 2; j++) d[j] = load(in + (6 * j + i) * apart + k);
        if (down == 4) output6(d, 1, all, 1);
        else output4(d, 1, all, 1);
        for (size_t j = 0; j < 2; j++) v[j][i] = all[block + j * (down / 2)];
    }
    for (size_t j = 0; j < 2; j++) {
        output6(v[j], 1, d, 1);
        for (size_t i = 0; i < 4; i++)
            put_output(d[i] + bias, 4 * (block + j * (down / 2)) + i, k, whole, adds, relu, to);
    }
}

static inline __attribute__((always_inline)) void output_wide(const size_t down, size_t c, const float *in,
                                                              size_t apart, const float *bias, const int whole,
                                                              const int adds, const int relu,
                                                              const cm_winograd_points *to)
{
    for (size_t k = 0; k < c; k += LANES) {
        const vec b = bias ? load(bias + k) : (vec){0};
        output_row_block(down, 0, in, k, apart, b, whole, adds, relu, to);
        if (down == 4) output_row_block(down, 1, in, k, apart, b, whole, adds, relu, to);
    }
}

EACH_VECTOR output_4x4(size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    if (!to->whole) output_wide(4, c, in, apart, bias, 0, 0, to->relu, to);
    else if (to->residual[0]) output_wide(4, c, in, apart, bias, 1, 1, 0, to);
    else if (to->relu) output_wide(4, c, in, apart, bias, 1, 0, 1, to);
    else output_wide(4, c, in, apart, bias, 1, 0, 0, to);
}

EACH_VECTOR output_2x4(size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    if (!to->whole) output_wide(2, c, in, apart, bias, 0, 0, to->relu, to);
    else if (to->residual[0]) output_wide(2, c, in, apart, bias, 1, 1, 0, to);
    else output_wide(2, c, in, apart, bias, 1, 0, 0, to);
}

EACH_VECTOR output_2x2(size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    for (size_t k = 0; k < c; k += LANES) {
        const vec b = bias ? load(bias + k) : (vec){0};
        vec d[16], v[8];
        for (size_t i = 0; i < 16; i++) d[i] = load(in + i * apart + k);
        for (size_t i = 0; i < 4; i++) output4(d + i, 4, v + i, 4);
        for (size_t i = 0; i < 2; i++) output4(v + 4 * i, 1, d + 2 * i, 1);
        for (size_t i = 0; i < 4; i++) put_output(d[i] + b, i, k, 0, 0, to->relu, to);
    }
}

EACH_VECTOR output_large(size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    for (size_t k = 0; k < c; k += LANES) {
        const vec b = bias ? load(bias + k) : (vec){0};
        vec d[5], v[20];
        for (size_t i = 0; i < 5; i++) {
            for (size_t j = 0; j < 5; j++) d[j] = load(in + (5 * j + i) * apart + k);
            output_up(d, 1, v + i, 5);
        }
        for (size_t i = 0; i < 4; i++) {
            output_up(v + 5 * i, 1, d, 1);
            for (size_t j = 0; j < 4; j++) put_output(d[j] + b, 4 * i + j, k, 0, 0, to->relu, to);
        }
    }
}

EACH_VECTOR output_small(size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    for (size_t k = 0; k < c; k += LANES) {
        const vec b = bias ? load(bias + k) : (vec){0};
        vec d[5], v[10];
        for (size_t i = 0; i < 5; i++) {
            for (size_t j = 0; j < 5; j++) d[j] = load(in + (5 * j + i) * apart + k);
            output_down(d, 1, v + i, 5);
        }
        for (size_t i = 0; i < 2; i++) output_down(v + 5 * i, 1, d + 2 * i, 1);
        for (size_t i = 0; i < 4; i++) put_output(d[i] + b, i, k, 0, 0, to->relu, to);
    }
}

EACH_VECTOR output_line7(size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    for (size_t k = 0; k < c; k += LANES) {
        const vec b = bias ? load(bias + k) : (vec){0};
        vec m[10], y[4];
        for (size_t i = 0; i < 10; i++) m[i] = load(in + i * apart + k);
        output10(m, y);
        for (size_t i = 0; i < 4; i++) put_output(y[i] + b, i, k, 0, 0, to->relu, to);
    }
}

EACH_VECTOR output_line3(size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    for (size_t k = 0; k < c; k += LANES) {
        const vec b = bias ? load(bias + k) : (vec){0};
        vec m[6], y[4];
        for (size_t i = 0; i < 6; i++) m[i] = load(in + i * apart + k);
        output6(m, 1, y, 1);
        for (size_t i = 0; i < 4; i++) put_output(y[i] + b, i, k, 0, 0, to->relu, to);
    }
}

EACH_VECTOR output_5x5(size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    for (size_t k = 0; k < c; k += LANES) {
        const vec b = bias ? load(bias + k) : (vec){0};
        vec m[6], v[12];
        for (size_t i = 0; i < 6; i++) {
            for (size_t j = 0; j < 6; j++) m[j] = load(in + (6 * j + i) * apart + k);
            output6_of_2(m, 1, v + i, 6);
        }
        for (size_t i = 0; i < 2; i++) {
            output6_of_2(v + 6 * i, 1, m, 1);
            for (size_t j = 0; j < 2; j++) put_output(m[j] + b, 2 * i + j, k, 0, 0, to->relu, to);
        }
    }
}

static void output(int tile, size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    if (tile == CM_WINOGRAD_4X4) output_4x4(c, in, apart, bias, to);
    else if (tile == CM_WINOGRAD_2X4) output_2x4(c, in, apart, bias, to);
    else if (tile == CM_WINOGRAD_2X2) output_2x2(c, in, apart, bias, to);
    else if (tile == CM_WINOGRAD_UP) output_large(c, in, apart, bias, to);
    else if (tile == CM_WINOGRAD_DOWN) output_small(c, in, apart, bias, to);
    else if (tile == CM_WINOGRAD_LINE7) output_line7(c, in, apart, bias, to);
    else if (tile == CM_WINOGRAD_LINE3) output_line3(c, in, apart, bias, to);
    else if (tile == CM_WINOGRAD_5X5) output_5x5(c, in, apart, bias, to);
    else
        for (size_t k = 0; k < c; k += LANES)
            put_output(load(in + k) + (bias ? load(bias + k) : (vec){0}), 0, k, 1, to->residual[0] != NULL, to->relu,
                       to);
}

EACH_VECTOR gradient_4x4(size_t c, const float *const *points, float *out, size_t apart)
{
    vec y[16], t[24], z[36];
    for (size_t k = 0; k < c; k += LANES) {
        for (size_t i = 0; i < 16; i++) y[i] = load(points[i] + k);
        for (size_t i = 0; i < 4; i++) gradient6(y + i, 4, t + i, 4);
        for (size_t i = 0; i < 6; i++) gradient6(t + 4 * i, 1, z + 6 * i, 1);
        for (size_t i = 0; i < 36; i++) store(out + i * apart + k, z[i]);
    }
}

EACH_VECTOR gradient_large(size_t c, const float *const *points, float *out, size_t apart)
{
    vec y[16], t[20], z[25];
    for (size_t k = 0; k < c; k += LANES) {
        for (size_t i = 0; i < 16; i++) y[i] = load(points[i] + k);
        for (size_t i = 0; i < 4; i++) gradient_up(y + i, 4, t + i, 4);
        for (size_t i = 0; i < 5; i++) gradient_up(t + 4 * i, 1, z + 5 * i, 1);
        for (size_t i = 0; i < 25; i++) store(out + i * apart + k, z[i]);
    }
}

EACH_VECTOR gradient_2x2(size_t c, const float *const *points, float *out, size_t apart)
{
    vec y[4], t[8], z[16];
    for (size_t k = 0; k < c; k += LANES) {
        for (size_t i = 0; i < 4; i++) y[i] = load(points[i] + k);
        for (size_t i = 0; i < 2; i++) gradient4(y + i, 2, t + i, 2);
        for (size_t i = 0; i < 4; i++) gradient4(t + 2 * i, 1, z + 4 * i, 1);
        for (size_t i = 0; i < 16; i++) store(out + i * apart + k, z[i]);
    }
}

static void gradient(int tile, size_t c, const float *const *points, void *out, size_t apart)
{
    if (tile == CM_WINOGRAD_4X4) gradient_4x4(c, points, out, apart);
    else if (tile == CM_WINOGRAD_UP) gradient_large(c, points, out, apart);
    else gradient_2x2(c, points, out, apart);
}

static inline __attribute__((always_inline)) void fold_rows_of(const size_t n, size_t rows, size_t columns,
                                                               const float *u, size_t apart, float *t, size_t t_apart)
{
    for (size_t i = 0; i < rows; i++, u += columns, t += t_apart)
        for (size_t k = 0; k < columns; k += LANES) {
            vec r[6], f[3];
            for (size_t j = 0; j < n; j++) r[j] = load(u + j * apart + k);
            if (n == 6) fold6(r, 1, f, 1);
            else if (n == 5) fold_up(r, 1, f, 1);
            else fold4(r, 1, f, 1);
            for (size_t j = 0; j < 3; j++) store(t + j * columns + k, f[j]);
        }
}

static void fold_rows(int tile, size_t rows, size_t columns, const float *u, size_t apart, float *t, size_t t_apart)
{
    if (tile == CM_WINOGRAD_4X4) fold_rows_of(6, rows, columns, u, apart, t, t_apart);
    else if (tile == CM_WINOGRAD_UP) fold_rows_of(5, rows, columns, u, apart, t, t_apart);
    else fold_rows_of(4, rows, columns, u, apart, t, t_apart);
}

/* A tap's values go out together: the taps' places may lie a power of two apart, where nine collide.
 * What the next row is added to comes from far away. */
static inline __attribute__((always_inline)) void fold_of(const size_t rows, size_t width, const float *t, float *w,
                                                          size_t w_apart, size_t next)
{
    const size_t vectors = width / LANES;
    vec all[9][64 / LANES];
    for (size_t k = 0; k < vectors; k++)
        for (size_t i = 0; i < 3; i++) {
            vec r[6], g[3];
            for (size_t j = 0; j < rows; j++) r[j] = load(t + (i + 3 * j) * width + k * LANES);
            if (rows == 6) fold6(r, 1, g, 1);
            else if (rows == 5) fold_up(r, 1, g, 1);
            else fold4(r, 1, g, 1);
            for (size_t j = 0; j < 3; j++) {
                all[i + 3 * j][k] = g[j];
                if (next) __builtin_prefetch(w + (i + 3 * j) * w_apart + next + k * LANES, 1);
            }
        }
    for (size_t i = 0; i < 9; i++, w += w_apart)
        for (size_t k = 0; k < vectors; k++) store(w + k * LANES, next ? load(w + k * LANES) + all[i][k] : all[i][k]);
}

static void fold(int tile, size_t rows, size_t width, const float *t, float *w, size_t w_row, size_t w_apart, int add)
{
    for (size_t i = 0; i < rows; i++, w += w_row) {
        const size_t next = add ? w_row : 0;
        if (tile == CM_WINOGRAD_4X4) fold_of(6, width, t, w, w_apart, next), t += 18 * width;
        else if (tile == CM_WINOGRAD_UP) fold_of(5, width, t, w, w_apart, next), t += 15 * width;
        else fold_of(4, width, t, w, w_apart, next), t += 12 * width;
    }
}

const cm_winograd_kernels CM_TABLE = {{input, weights}, output, gradient, fold_rows, fold};
