/* winograd.h - the tiles of Winograd's filtering (conv/winograd.h has its equations) and the loops over them,
 * one table a CPU level. */
#ifndef CM_KERNELS_WINOGRAD_H
#define CM_KERNELS_WINOGRAD_H

#include <stddef.h>

/* Outputs of a tile, down x across; bf16_tile of the debug text of options has these numbers. */
enum {
    CM_WINOGRAD_1X1 = 1,
    CM_WINOGRAD_2X2 = 2,
    CM_WINOGRAD_2X4 = 3,
    CM_WINOGRAD_4X4 = 4,
    CM_WINOGRAD_UP = 5,
    CM_WINOGRAD_DOWN = 6
};
typedef struct cm_winograd_tile {
    size_t down, across;           /* outputs                                       */
    size_t step_down, step_across; /* points of input from one tile to the next     */
    size_t points;                 /* of input that the outputs depend on           */
    size_t values;                 /* of the transformed input                      */
    size_t positions;              /* products                                      */
    size_t matrices;               /* of transformed weights                        */
    const char *name, *name_bf16;
} cm_winograd_tile;
static const cm_winograd_tile cm_winograd_tiles[] = {
    [CM_WINOGRAD_1X1] = {1, 1, 1, 1, 1, 1, 1, 1, "product", "product bf16"},
    [CM_WINOGRAD_2X2] = {2, 2, 2, 2, 16, 16, 16, 16, "winograd 2x2", "winograd 2x2 bf16"},
    [CM_WINOGRAD_2X4] = {2, 4, 2, 4, 24, 24, 24, 24, "winograd 2x4", "winograd 2x4 bf16"},
    [CM_WINOGRAD_4X4] = {4, 4, 4, 4, 36, 36, 36, 36, "winograd 4x4", "winograd 4x4 bf16"},
    [CM_WINOGRAD_UP] = {4, 4, 2, 2, 16, 16, 25, 25, "winograd up", "winograd up bf16"},
    [CM_WINOGRAD_DOWN] = {2, 2, 4, 4, 36, 25, 25, 16, "winograd down", "winograd down bf16"},
};
/* Which of the values position t takes, and which of the matrices. */
static inline size_t cm_winograd_value_of(int tile, size_t t)
{
    const size_t row = t / 5, column = t % 5; /* 0, 1, -1, -1 and infinity */
    return tile == CM_WINOGRAD_UP ? 4 * (row - (row > 2)) + column - (column > 2) : t;
}
static inline size_t cm_winograd_matrix_of(int tile, size_t t)
{
    const size_t row = t / 5, column = t % 5; /* a, b, e, f and g, of which the last two are alike */
    return tile == CM_WINOGRAD_DOWN ? 4 * (row - (row > 3)) + column - (column > 3) : t;
}

/* Where a tile's outputs go (NULL: outside the image), what is added to each (NULL:
 * nothing) and what the sum is multiplied by. */
typedef struct cm_winograd_points {
    float *y[16];
    const float *residual[16];
    float scale;
    int whole; /* no output lies outside, and to all or none something is added */
} cm_winograd_points;

/* What depends on the form of the operands (gemm.h), of one CPU level.  Distances are in operands. */
typedef struct cm_winograd_operands {
    /* out[t] (t of the tile's values, `apart` from one to the next), c values each, from
     * the tile's points in rows. */
    void (*input)(int tile, size_t c, const float *const *points, void *out, size_t apart);
    /* U of `width` outputs: w[channels][9 or 1][width] to u[t][width][channels]. */
    void (*weights)(int tile, size_t width, const float *w, void *u, size_t apart);
} cm_winograd_operands;
extern const cm_winograd_operands cm_winograd_bf16_baseline, cm_winograd_bf16_avx2, cm_winograd_bf16_avx512,
    cm_winograd_bf16_native;

/* The rest is float32's for both forms; winograd_f32.c. */
typedef struct cm_winograd_kernels {
    cm_winograd_operands float32;
    /* A tile's outputs, plus bias (or NULL). */
    void (*output)(int tile, size_t c, const float *in, size_t apart, const float *bias,
                   const cm_winograd_points *to);
    /* Backward, of square tiles: Z = A dy A^T of as many points as outputs to out[t];
     * t[rows, t_apart][3][columns] = a row of positions u[j][rows][columns] times G; w[i][rows, w_row][width]
     * (of 9 i) = or += G^T of such, t[rows][position][3][width], width 64 at most. */
    void (*gradient)(int tile, size_t c, const float *const *points, void *out, size_t apart);
    void (*fold_rows)(int tile, size_t rows, size_t columns, const float *u, size_t apart, float *t, size_t t_apart);
    void (*fold)(int tile, size_t rows, size_t width, const float *t, float *w, size_t w_row, size_t w_apart,
                 int add);
} cm_winograd_kernels;
extern const cm_winograd_kernels cm_winograd_f32_baseline, cm_winograd_f32_avx2, cm_winograd_f32_avx512;

#endif
