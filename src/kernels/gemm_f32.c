/* gemm_f32.c - the float32 matrix product, compiled once for each CPU level: the Makefile sets CM_TABLE (the
 * table's name), CM_LANES and the machine flags. */
#include "kernels/gemm.h"
#include "kernels/vectors.h"

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

#include "kernels/gemm_loops.h"

/* What the next product reads is asked for by the first panel. */
#define DEFINE_TRANSPOSED_ROWS(W)                                                                                    \
    static void transposed_rows_of_##W(size_t rows, size_t k, const float *a, size_t lda, const float *b,            \
                                       size_t ldb, float *c, size_t ldc, int add, int ask)                           \
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
DEFINE_TRANSPOSED_ROWS(4)
DEFINE_TRANSPOSED_ROWS(2)
DEFINE_TRANSPOSED_ROWS(1)

static void product_transposed(size_t rows, size_t columns, size_t depth, const float *a, size_t lda, const float *b,
                               size_t ldb, float *c, int add)
{
    for (size_t first = 0; first < depth; first += DEPTH, a += DEPTH * lda, b += DEPTH * ldb, add = 1) {
        size_t part = depth - first < DEPTH ? depth - first : DEPTH;
        for (size_t j = 0, width; j < columns; j += width) {
            width = panel(columns - j);
            if (width == 4 * LANES) transposed_rows_of_4(rows, part, a, lda, b + j, ldb, c + j, columns, add, j == 0);
            else if (width == 2 * LANES)
                transposed_rows_of_2(rows, part, a, lda, b + j, ldb, c + j, columns, add, j == 0);
            else transposed_rows_of_1(rows, part, a, lda, b + j, ldb, c + j, columns, add, j == 0);
        }
    }
}

const cm_gemm CM_TABLE = {sizeof(float), CHANNELS, panel, product, product_transposed};
