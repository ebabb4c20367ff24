/* winograd_kernels.c - the loops over float32, compiled once for each CPU level: the
 * Makefile sets CM_WINOGRAD (the table's name), CM_LANES and the machine flags. */
#include "ops/winograd.h"

#include "ops/vectors.h"

typedef float word;
typedef vec words;
enum { CHANNELS = 1, ROWS = 6 };

static inline words load_words(const word *b)
{
    return load(b);
}

static inline __attribute__((always_inline)) vec multiply(vec c, word x, words b)
{
    return c + x * b;
}

static inline void put(void *out, size_t at, vec v)
{
    store((float *)out + at, v);
}

static inline __attribute__((always_inline)) void put_words(word *out, vec (*r)[36], size_t i)
{
    store(out, r[0][i]);
}

#include "ops/winograd_loops.h"

/* --- two-dimensional, what the gradient and the output need --------------------------------- */

/* What is added to a finished value, and what the sum is multiplied by. */
static inline vec finish(vec v, const float *residual, size_t k, float scale)
{
    return residual ? (v + load(residual + k)) * scale : v;
}

static inline __attribute__((always_inline)) void output_wide(const size_t down, const float *in, size_t k,
                                                              size_t apart, vec bias, const cm_winograd_points *to)
{
    vec d[6], v[24];
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < down + 2; j++) d[j] = load(in + (6 * j + i) * apart + k);
        if (down == 4) output6(d, 1, v + i, 6);
        else output4(d, 1, v + i, 6);
    }
    IN_MEMORY(v);
    for (size_t i = 0; i < down; i++) {
        output6(v + 6 * i, 1, d, 1);
        for (size_t j = 0; j < 4; j++)
            if (to->y[4 * i + j])
                store(to->y[4 * i + j] + k, finish(d[j] + bias, to->residual[4 * i + j], k, to->scale));
    }
}

static inline void output16(const float *in, size_t k, size_t apart, vec bias, const cm_winograd_points *to)
{
    vec d[16], v[8];
    for (size_t i = 0; i < 16; i++) d[i] = load(in + i * apart + k);
    for (size_t i = 0; i < 4; i++) output4(d + i, 4, v + i, 4);
    for (size_t i = 0; i < 2; i++) output4(v + 4 * i, 1, d + 2 * i, 1);
    for (size_t i = 0; i < 4; i++)
        if (to->y[i]) store(to->y[i] + k, finish(d[i] + bias, to->residual[i], k, to->scale));
}

static inline void output25(const float *in, size_t k, size_t apart, vec bias, const cm_winograd_points *to)
{
    vec d[5], v[20];
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 5; j++) d[j] = load(in + (5 * j + i) * apart + k);
        output_up(d, 1, v + i, 5);
    }
    for (size_t i = 0; i < 4; i++) {
        output_up(v + 5 * i, 1, d, 1);
        for (size_t j = 0; j < 4; j++)
            if (to->y[4 * i + j])
                store(to->y[4 * i + j] + k, finish(d[j] + bias, to->residual[4 * i + j], k, to->scale));
    }
}

static inline void output_small(const float *in, size_t k, size_t apart, vec bias, const cm_winograd_points *to)
{
    vec d[5], v[10];
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 5; j++) d[j] = load(in + (5 * j + i) * apart + k);
        output_down(d, 1, v + i, 5);
    }
    for (size_t i = 0; i < 2; i++) output_down(v + 5 * i, 1, d + 2 * i, 1);
    for (size_t i = 0; i < 4; i++)
        if (to->y[i]) store(to->y[i] + k, finish(d[i] + bias, to->residual[i], k, to->scale));
}

static void output(int tile, size_t c, const float *in, size_t apart, const float *bias, const cm_winograd_points *to)
{
    for (size_t k = 0; k < c; k += LANES) {
        vec b = bias ? load(bias + k) : (vec){0};
        if (tile == CM_TILE_4X4) output_wide(4, in, k, apart, b, to);
        else if (tile == CM_TILE_2X4) output_wide(2, in, k, apart, b, to);
        else if (tile == CM_TILE_2X2) output16(in, k, apart, b, to);
        else if (tile == CM_TILE_UP) output25(in, k, apart, b, to);
        else if (tile == CM_TILE_DOWN) output_small(in, k, apart, b, to);
        else store(to->y[0] + k, finish(load(in + k) + b, to->residual[0], k, to->scale));
    }
}

static void gradient(int tile, size_t c, const float *const *points, void *to, size_t apart)
{
    float *out = to;
    vec y[16], t[24], z[36];
    for (size_t k = 0; k < c; k += LANES) {
        if (tile == CM_TILE_4X4) {
            for (size_t i = 0; i < 16; i++) y[i] = load(points[i] + k);
            for (size_t i = 0; i < 4; i++) gradient6(y + i, 4, t + i, 4);
            for (size_t i = 0; i < 6; i++) gradient6(t + 4 * i, 1, z + 6 * i, 1);
            for (size_t i = 0; i < 36; i++) store(out + i * apart + k, z[i]);
        } else if (tile == CM_TILE_UP) {
            for (size_t i = 0; i < 16; i++) y[i] = load(points[i] + k);
            for (size_t i = 0; i < 4; i++) gradient_up(y + i, 4, t + i, 4);
            for (size_t i = 0; i < 5; i++) gradient_up(t + 4 * i, 1, z + 5 * i, 1);
            for (size_t i = 0; i < 25; i++) store(out + i * apart + k, z[i]);
        } else {
            for (size_t i = 0; i < 4; i++) y[i] = load(points[i] + k);
            for (size_t i = 0; i < 2; i++) gradient4(y + i, 2, t + i, 2);
            for (size_t i = 0; i < 4; i++) gradient4(t + 2 * i, 1, z + 4 * i, 1);
            for (size_t i = 0; i < 16; i++) store(out + i * apart + k, z[i]);
        }
    }
}

static void fold_row(int tile, size_t n, const float *u, size_t apart, float *t)
{
    vec f[3];
    for (size_t k = 0; k < n; k += LANES) {
        if (tile == CM_TILE_4X4) {
            vec r[6];
            for (size_t i = 0; i < 6; i++) r[i] = load(u + i * apart + k);
            fold6(r, 1, f, 1);
        } else if (tile == CM_TILE_UP) {
            vec r[5];
            for (size_t i = 0; i < 5; i++) r[i] = load(u + i * apart + k);
            fold_up(r, 1, f, 1);
        } else {
            vec r[4];
            for (size_t i = 0; i < 4; i++) r[i] = load(u + i * apart + k);
            fold4(r, 1, f, 1);
        }
        for (size_t i = 0; i < 3; i++) store(t + i * n + k, f[i]);
    }
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
        for (size_t k = 0; k < vectors; k++)
            store(w + k * LANES, next ? load(w + k * LANES) + all[i][k] : all[i][k]);
}

static void fold(int tile, size_t width, const float *t, float *w, size_t w_apart, size_t next)
{
    if (tile == CM_TILE_4X4) fold_of(6, width, t, w, w_apart, next);
    else if (tile == CM_TILE_UP) fold_of(5, width, t, w, w_apart, next);
    else fold_of(4, width, t, w, w_apart, next);
}

/* --- the product of the weight gradient ---------------------------------------------------- */

/* What the next product reads is asked for by the first panel. */
#define DEFINE_TURNED_ROWS(W)                                                                                        \
    static void turned_rows_of_##W(size_t rows, size_t k, const float *a, size_t lda, const float *b, size_t ldb,    \
                                   float *c, size_t ldc, int add, int ask)                                           \
    {                                                                                                                \
        const float *next = b + k * ldb;                                                                             \
        const size_t pace = ask ? pace_of(rows, ldb) : 0, far = ask ? k * lda : 0;                                   \
        for (; rows >= 6; rows -= 6, a += 6, c += 6 * ldc, next += pace * k)                                         \
            micro(6, W, k, a, 1, lda, b, ldb, c, ldc, add, next, pace, far);                                         \
        if (rows >= 4) {                                                                                             \
            micro(4, W, k, a, 1, lda, b, ldb, c, ldc, add, next, pace, far);                                         \
            rows -= 4, a += 4, c += 4 * ldc, next += pace * k;                                                       \
        }                                                                                                            \
        if (rows) micro(2, W, k, a, 1, lda, b, ldb, c, ldc, add, next, pace, far);                                   \
    }
DEFINE_TURNED_ROWS(4)
DEFINE_TURNED_ROWS(2)
DEFINE_TURNED_ROWS(1)

static void product_transposed(size_t rows, size_t columns, size_t depth, const float *a, size_t lda, const float *b,
                               size_t ldb, float *c, int add)
{
    for (size_t first = 0; first < depth; first += DEPTH, a += DEPTH * lda, b += DEPTH * ldb, add = 1) {
        size_t part = depth - first < DEPTH ? depth - first : DEPTH;
        for (size_t j = 0, width; j < columns; j += width) {
            width = panel(columns - j);
            if (width == 4 * LANES) turned_rows_of_4(rows, part, a, lda, b + j, ldb, c + j, columns, add, j == 0);
            else if (width == 2 * LANES)
                turned_rows_of_2(rows, part, a, lda, b + j, ldb, c + j, columns, add, j == 0);
            else turned_rows_of_1(rows, part, a, lda, b + j, ldb, c + j, columns, add, j == 0);
        }
    }
}

const cm_winograd_kernels CM_WINOGRAD = {
    {sizeof(float), CHANNELS, input, product, weights}, panel, output, gradient, product_transposed, fold_row, fold};
