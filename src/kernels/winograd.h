/* winograd.h - the tiles of Winograd's filtering (conv/winograd.h has its equations) and the loops over them,
 * one table a CPU level. */
#ifndef CM_KERNELS_WINOGRAD_H
#define CM_KERNELS_WINOGRAD_H

#include <stddef.h>

/* Outputs of a tile, down x across; bf16_tile of cm_sampler_options has these numbers. */
enum { CM_TILE_1X1 = 1, CM_TILE_2X2 = 2, CM_TILE_2X4 = 3, CM_TILE_4X4 = 4, CM_TILE_UP = 5, CM_TILE_DOWN = 6 };
static inline size_t cm_tile_down(int tile)
{
    return tile == CM_TILE_2X4 || tile == CM_TILE_DOWN ? 2 : tile == CM_TILE_UP ? 4 : (size_t)tile;
}
static inline size_t cm_tile_across(int tile)
{
    return tile == CM_TILE_2X4 || tile == CM_TILE_UP ? 4 : tile == CM_TILE_DOWN ? 2 : (size_t)tile;
}
/* Points of input from one tile to the next, down and across. */
static inline size_t cm_tile_step_down(int tile)
{
    return tile == CM_TILE_UP ? 2 : tile == CM_TILE_DOWN ? 4 : cm_tile_down(tile);
}
static inline size_t cm_tile_step_across(int tile)
{
    return tile == CM_TILE_UP ? 2 : tile == CM_TILE_DOWN ? 4 : cm_tile_across(tile);
}
/* Points of input that they depend on (of a 1 x 1 convolution: one). */
static inline size_t cm_tile_points(int tile)
{
    return tile == CM_TILE_1X1 ? 1 : (cm_tile_step_down(tile) + 2) * (cm_tile_step_across(tile) + 2);
}
/* Values of the transformed input; products; matrices of transformed weights. */
static inline size_t cm_tile_values(int tile)
{
    return tile == CM_TILE_DOWN ? 25 : cm_tile_points(tile);
}
static inline size_t cm_tile_positions(int tile)
{
    return tile == CM_TILE_UP ? 25 : cm_tile_values(tile);
}
static inline size_t cm_tile_matrices(int tile)
{
    return tile == CM_TILE_DOWN ? 16 : cm_tile_positions(tile);
}
/* Which of the values position t takes, and which of the matrices. */
static inline size_t cm_tile_value_of(int tile, size_t t)
{
    const size_t row = t / 5, column = t % 5; /* 0, 1, -1, -1 and infinity */
    return tile == CM_TILE_UP ? 4 * (row - (row > 2)) + column - (column > 2) : t;
}
static inline size_t cm_tile_matrix_of(int tile, size_t t)
{
    const size_t row = t / 5, column = t % 5; /* a, b, e, f and g, of which the last two are alike */
    return tile == CM_TILE_DOWN ? 4 * (row - (row > 3)) + column - (column > 3) : t;
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
    /* out[t] (t of cm_tile_values, `apart` from one to the next), c values each, from
     * cm_tile_points in rows. */
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
