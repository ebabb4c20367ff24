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
    CM_WINOGRAD_DOWN = 6,
    CM_WINOGRAD_LINE7 = 7, /* 1 x 4 of a kernel of 1 x 7, or turned: 4 x 1 of 7 x 1 */
    CM_WINOGRAD_LINE3 = 8, /* the same of 1 x 3 and 3 x 1                            */
    CM_WINOGRAD_5X5 = 9    /* 2 x 2 of a kernel of 5 x 5                             */
};
typedef struct cm_winograd_tile {
    size_t taps;                    /* of the kernel                                 */
    size_t rim;                     /* points around the outputs that these depend on, left and right */
    size_t rim_down;                /* ... and above and below                       */
    size_t down, across;            /* outputs                                       */
    size_t step_down, step_across;  /* points of input from one tile to the next     */
    size_t points;                  /* of input that the outputs depend on           */
    size_t values;                  /* of the transformed input                      */
    size_t side;                    /* positions in each direction of a square tile  */
    size_t positions;               /* products                                      */
    size_t matrices;                /* of transformed weights                        */
    size_t most_tiles;              /* of a block: what keeps the transformed input in the cache */
    const unsigned char *value_of;  /* which of the values position t takes         */
    const unsigned char *matrix_of; /* ... and which of the matrices                */
    const char *name, *name_bf16;
} cm_winograd_tile;
/* One after the other; of `up` at 0, 1, -1, -1 and infinity in each direction; of `down` a, b, e, f and g, of
 * which the last two are alike. */
static const unsigned char cmi_winograd_each[36] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                                    12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
                                                    24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35};
static const unsigned char cmi_winograd_up_values[25] = {0,  1,  2, 2, 3,  4,  5,  6,  6,  7,  8,  9, 10,
                                                         10, 11, 8, 9, 10, 10, 11, 12, 13, 14, 14, 15};
static const unsigned char cmi_winograd_down_matrices[25] = {0,  1,  2,  3,  3,  4,  5,  6,  7,  7,  8,  9, 10,
                                                             11, 11, 12, 13, 14, 15, 15, 12, 13, 14, 15, 15};
static const cm_winograd_tile cmi_winograd_tiles[] = {
    [CM_WINOGRAD_1X1] = {1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 256, cmi_winograd_each, cmi_winograd_each, "product",
                         "product bf16"},
    [CM_WINOGRAD_2X2] = {9, 1, 1, 2, 2, 2, 2, 16, 16, 4, 16, 16, 64, cmi_winograd_each, cmi_winograd_each,
                         "winograd 2x2", "winograd 2x2 bf16"},
    [CM_WINOGRAD_2X4] = {9, 1, 1, 2, 4, 2, 4, 24, 24, 0, 24, 24, 64, cmi_winograd_each, cmi_winograd_each,
                         "winograd 2x4", "winograd 2x4 bf16"},
    [CM_WINOGRAD_4X4] = {9, 1, 1, 4, 4, 4, 4, 36, 36, 6, 36, 36, 64, cmi_winograd_each, cmi_winograd_each,
                         "winograd 4x4", "winograd 4x4 bf16"},
    [CM_WINOGRAD_UP] = {9, 1, 1, 4, 4, 2, 2, 16, 16, 5, 25, 25, 64, cmi_winograd_up_values, cmi_winograd_each,
                        "winograd up", "winograd up bf16"},
    [CM_WINOGRAD_DOWN] = {9, 1, 1, 2, 2, 4, 4, 36, 25, 5, 25, 16, 64, cmi_winograd_each, cmi_winograd_down_matrices,
                          "winograd down", "winograd down bf16"},
    [CM_WINOGRAD_LINE7] = {7, 3, 0, 1, 4, 1, 4, 10, 10, 0, 10, 10, 64, cmi_winograd_each, cmi_winograd_each,
                           "winograd line of 7", ""},
    [CM_WINOGRAD_LINE3] = {3, 1, 0, 1, 4, 1, 4, 6, 6, 0, 6, 6, 64, cmi_winograd_each, cmi_winograd_each,
                           "winograd line of 3", ""},
    [CM_WINOGRAD_5X5] = {25, 2, 2, 2, 2, 2, 2, 36, 36, 0, 36, 36, 64, cmi_winograd_each, cmi_winograd_each,
                         "winograd 2x2 of 5x5", ""},
};

/* Where a tile's outputs go (NULL: outside the image), what is added to each (NULL:
 * nothing) and what the sum is multiplied by. */
typedef struct cm_winograd_points {
    float *y[16];
    const float *residual[16];
    float scale;
    int relu;  /* y = max(y, 0)                                                          */
    int whole; /* no output lies outside, and to all or none something is added */
} cm_winograd_points;

/* What depends on the form of the operands (gemm.h), of one CPU level.  Distances are in operands. */
typedef struct cm_winograd_operands {
    /* out[t] (t of the tile's values, `apart` from one to the next), c values each, from
     * the tile's points in rows. */
    void (*input)(int tile, size_t c, const float *const *points, void *out, size_t apart);
    /* U of `width` outputs: w[channels][taps][width] to u[t][width][channels]. */
    void (*weights)(int tile, size_t width, const float *w, void *u, size_t apart);
} cm_winograd_operands;
extern const cm_winograd_operands cmi_winograd_bf16_baseline, cmi_winograd_bf16_avx2, cmi_winograd_bf16_avx512,
    cmi_winograd_bf16_native;

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
extern const cm_winograd_kernels cmi_winograd_f32_baseline, cmi_winograd_f32_avx2, cmi_winograd_f32_avx512;

#endif
