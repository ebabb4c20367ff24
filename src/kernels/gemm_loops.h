/* gemm_loops.h - the matrix product for both forms of operands: gemm_f32.c and gemm_bf16.c define what a word
 * is before they include this.  A word is one float, or the bfloat16 values of two neighbouring channels:
 *
 *   word, words, CHANNELS    its type, a vector of them, channels in one
 *   load_words(b)            LANES words
 *   multiply(c, x, b)        c + x b, one word x of a row by a vector of words
 *   ROWS                     rows of sums that fit into the registers */
#ifndef CM_KERNELS_GEMM_LOOPS_H
#define CM_KERNELS_GEMM_LOOPS_H

#include "kernels/vectors.h"

/* Vectors of a row of results held in registers: 6 rows of 4 of the 32 registers
 * of AVX-512, of 2 of 16. */
#if CM_LANES == 16
enum { WIDE = 4 };
#else
enum { WIDE = 2 };
#endif

/* c [R][W vectors] = or += sum over i < k of a[r lda + i step] b[i ldb ..].  R and W
 * are constants where this is inlined.  gcc keeps an array of accumulators in
 * memory, so they have names. */
static inline __attribute__((always_inline)) void micro(const int R, const int W, size_t k, const word *a, size_t lda,
                                                        size_t step, const word *b, size_t ldb, float *c, size_t ldc,
                                                        int add, const word *next, size_t pace, size_t far)
{
    vec c00 = {0}, c01 = {0}, c02 = {0}, c03 = {0}, c10 = {0}, c11 = {0}, c12 = {0}, c13 = {0};
    vec c20 = {0}, c21 = {0}, c22 = {0}, c23 = {0}, c30 = {0}, c31 = {0}, c32 = {0}, c33 = {0};
    vec c40 = {0}, c41 = {0}, c42 = {0}, c43 = {0}, c50 = {0}, c51 = {0}, c52 = {0}, c53 = {0};
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define GATHER(r)                                                                                                    \
    if (R > r) {                                                                                                     \
        c##r##0 += load(c + r * ldc);                                                                                \
        if (W > 1) c##r##1 += load(c + r * ldc + LANES);                                                             \
        if (W > 2) c##r##2 += load(c + r * ldc + 2 * LANES);                                                         \
        if (W > 3) c##r##3 += load(c + r * ldc + 3 * LANES);                                                         \
    }
#define TIMES(r)                                                                                                     \
    if (R > r) {                                                                                                     \
        word x = a[r * lda];                                                                                         \
        c##r##0 = multiply(c##r##0, x, b0);                                                                          \
        if (W > 1) c##r##1 = multiply(c##r##1, x, b1);                                                               \
        if (W > 2) c##r##2 = multiply(c##r##2, x, b2);                                                               \
        if (W > 3) c##r##3 = multiply(c##r##3, x, b3);                                                               \
    }
#define KEEP(r)                                                                                                      \
    if (R > r) {                                                                                                     \
        store(c + r * ldc, c##r##0);                                                                                 \
        if (W > 1) store(c + r * ldc + LANES, c##r##1);                                                              \
        if (W > 2) store(c + r * ldc + 2 * LANES, c##r##2);                                                          \
        if (W > 3) store(c + r * ldc + 3 * LANES, c##r##3);                                                          \
    }
    for (size_t i = 0; i < k; i++, a += step, b += ldb) {
        words b0 = load_words(b), b1 = b0, b2 = b0, b3 = b0;
        if (W > 1) b1 = load_words(b + LANES);
        if (W > 2) b2 = load_words(b + 2 * LANES);
        if (W > 3) b3 = load_words(b + 3 * LANES);
        if (pace) __builtin_prefetch(next + pace * i, 0, 2);
        if (far) __builtin_prefetch(a + far, 0, 2);
        if (pace > 16) __builtin_prefetch(next + pace * i + 16, 0, 2);
        EACH_ROW(TIMES)
    }
    if (add) {
        EACH_ROW(GATHER)
    }
    EACH_ROW(KEEP)
}

/* The weights come from far away and are read once for all rows: while one part of
 * them is used, each step asks for `pace` words of the part behind it. */
static inline size_t pace_of(size_t rows, size_t width)
{
    size_t pace = (width * ROWS / rows + 7) / 8 * 8;
    return pace < 8 ? 8 : pace > 32 ? 32 : pace;
}

#define DEFINE_ROWS(W)                                                                                               \
    static void rows_of_##W(size_t rows, size_t k, const word *a, size_t lda, const word *b, float *c, size_t ldc,   \
                            int add)                                                                                 \
    {                                                                                                                \
        const word *next = b + k * W * LANES;                                                                        \
        size_t pace = pace_of(rows, W * LANES);                                                                      \
        for (; rows >= ROWS; rows -= ROWS, a += ROWS * lda, c += ROWS * ldc, next += pace * k)                       \
            micro(ROWS, W, k, a, lda, 1, b, W *LANES, c, ldc, add, next, pace, 0);                                   \
        if (rows >= 4) {                                                                                             \
            micro(4, W, k, a, lda, 1, b, W *LANES, c, ldc, add, next, pace, 0);                                      \
            rows -= 4, a += 4 * lda, c += 4 * ldc, next += pace * k;                                                 \
        }                                                                                                            \
        if (rows >= 2) {                                                                                             \
            micro(2, W, k, a, lda, 1, b, W *LANES, c, ldc, add, next, pace, 0);                                      \
            rows -= 2, a += 2 * lda, c += 2 * ldc, next += pace * k;                                                 \
        }                                                                                                            \
        if (rows) micro(1, W, k, a, lda, 1, b, W *LANES, c, ldc, add, next, pace, 0);                                \
    }
DEFINE_ROWS(4)
DEFINE_ROWS(2)
DEFINE_ROWS(1)

/* Sums are cut into parts of 128 words, whose part of a panel stays in the L1 cache.
 * Each starts from zero and is added when it is done: so rounding errors do not grow
 * with the number of channels beyond that. */
enum { DEPTH = 128 };

static size_t panel(size_t left)
{
    if (WIDE == 4 && left >= 4 * LANES) return 4 * LANES;
    return left >= 2 * LANES ? 2 * LANES : LANES;
}

static void product(size_t rows, size_t columns, size_t channels, const void *operand, size_t row, const void *packed,
                    float *c, size_t ldc)
{
    const word *a = operand, *b = packed;
    size_t k = channels / CHANNELS, lda = row / CHANNELS;
    for (size_t j = 0, width; j < columns; j += width) {
        width = panel(columns - j);
        for (size_t first = 0; first < k; first += DEPTH) {
            size_t depth = k - first < DEPTH ? k - first : DEPTH;
            if (width == 4 * LANES) rows_of_4(rows, depth, a + first, lda, b, c + j, ldc, first > 0);
            else if (width == 2 * LANES) rows_of_2(rows, depth, a + first, lda, b, c + j, ldc, first > 0);
            else rows_of_1(rows, depth, a + first, lda, b, c + j, ldc, first > 0);
            b += depth * width;
        }
    }
}

#endif
