/* tiles.h - convolutions as plain sums over matrix tiles of bfloat16, for processors with
 * AMX:
 *
 *   y[p][o] = sum over taps t and channels c of x[p + t][c] w[t][c][o]
 *
 * for 16 points p, 16 outputs o and 32 channels c an instruction, whose sums are float32.
 * 3 x 3 (padding 1) and 1 x 1, stride 1, channels-last, channels multiples of 16.  A result
 * does not depend on batch or threads.
 *
 * In bfloat16 operands are rounded to it.  In float32 (1 x 1; Winograd is faster for
 * 3 x 3) a value of 24 binary digits is the sum of three bfloat16 values of eight, exactly,
 * and of the nine products of two such sums the six are taken that float32 would see:
 *
 *   x w = x1 w1 + x1 w2 + x2 w1 + x1 w3 + x2 w2 + x3 w1. */
#ifndef CM_OPS_TILES_H
#define CM_OPS_TILES_H

#include "base/parallel.h"

#include <stddef.h>
#include <stdint.h>

/* Where a strip of sums finds its factors.  `a`: row 0 of the first tile of points, rows
 * `row` values apart, the taps of one kernel row one row apart and kernel rows `down` rows
 * apart; `b`: [c / 32][tap][width / 16][16][16][2], so that what taps have in common stays near.
 * Of float32, which has a side of 1: the three parts of a row `part` values apart; `b`:
 * [c / 32][part][width / 16][16][16][2]. */
typedef struct cm_tile_strip {
    const uint16_t *a, *b;
    const int32_t *starts;         /* of the tiles of points, in rows from `a`        */
    size_t tiles;                  /* of points                                       */
    size_t row, down, side, depth; /* side: taps a kernel row; depth: c / 32          */
    size_t part;                   /* or 0: bfloat16                                  */
    int width;                     /* columns: 32 or 16                               */
    float *sums;                   /* room for two of [32][32]                        */
    /* What becomes of sums, unless `points` is NULL and row after row of y, floats, takes them
     * as they are: y[point] = (sum + bias + residual) scale; points below 0 are
     * not wanted.  Rows of y and residual are `oc` floats. */
    const int32_t *points; /* [tiles][16] */
    const float *bias, *residual;
    float scale;
    void *y; /* float, or uint16_t when y_half: bfloat16 */
    int y_half;
    size_t oc;
} cm_tile_strip;

/* The instructions, or the same sums written out. */
typedef struct cm_tile_kernels {
    /* Strips are computed between the two, which give the thread its tiles. */
    void (*begin)(void);
    void (*end)(void);
    void (*strip)(const cm_tile_strip *strip);
    /* y [rows][columns], rows `y_row` apart, = or += a [rows][32 depth], rows `a_row` apart, times b
     * [columns / 16][16 depth][16][2], `b_apart` values from one to the next; rows and columns 32 or 16. */
    void (*outer)(size_t rows, size_t columns, size_t depth, const uint16_t *a, size_t a_row, const uint16_t *b,
                  size_t b_apart, float *y, size_t y_row, int add);
    /* The same of 16 rows and columns, `count` (3 to 6) times: y[i] of a and b[i]. */
    void (*taps)(size_t count, size_t depth, const uint16_t *a, size_t a_row, const uint16_t *const *b,
                 float *const *y, size_t y_row, int add);
    /* out[k] = first[k] and, in the high half, second[k], in bfloat16; n a multiple of 16. */
    void (*pairs)(size_t n, const float *first, const float *second, uint32_t *out);
    /* 16 x 16 words, rows `from_row` apart, to their transpose, rows `to_row` values apart. */
    void (*turn)(const uint32_t *from, size_t from_row, uint16_t *to, size_t to_row);
    /* p[r] = exp(scale (x[r] - its largest)) in bfloat16 and 1 over its sum: p inverse is the
     * softmax of n values, a multiple of 16; rows `x_row` and `p_row` values apart.  With a
     * part other than 0: in three parts so far apart, n a multiple of 32. */
    void (*softmax)(size_t rows, size_t n, float scale, const float *x, size_t x_row, uint16_t *p, size_t p_row,
                    size_t part, float *inverse);
    /* out[r][k] = a[k] (x[r][k] - shift[k]) + b[k], then SiLU when asked, in bfloat16; x
     * floats or bfloat16, out may be x then; c a multiple of 16. */
    void (*affine)(size_t rows, size_t c, const void *x, int x_half, const float *shift, const float *a,
                   const float *b, int silu, uint16_t *out);
    /* n float32 values to bfloat16, nearest, ties to even; n a multiple of 16. */
    void (*round)(size_t n, const float *x, uint16_t *out);
    /* out[i] = x[3 i], n values of float or, `half`, of 16 bits. */
    void (*thirds)(size_t n, const void *x, int half, void *out);
    /* n float32 values to their three parts, `part` values apart; n a multiple of 16.  Of 32
     * values the pairs are i and 16 + i, zeros where there are 16. */
    void (*split)(size_t n, const float *x, uint16_t *out, size_t part);
} cm_tile_kernels;
extern const cm_tile_kernels cm_tiles_plain, cm_tiles_amx;
const cm_tile_kernels *cm_tiles_for(int level);

typedef struct cm_tiles {
    const cm_tile_kernels *kernels;
    int parts;              /* of a value: 1 (bfloat16) or 3 (float32, side 1) */
    int side;               /* of the kernel: 3 or 1                 */
    int turned;             /* weights as the data gradient wants them */
    cm_threads threads;     /* of a run                              */
    int32_t n, h, w, c, oc; /* of a 1 x 1 convolution an image may be cut into several */
    int32_t together;       /* images, as many as stay in the cache */
    int x_half, y_half;     /* held in bfloat16 */
} cm_tiles;

void cm_tiles_init(cm_tiles *tiles, int level, int parts, int side, int turned, cm_threads threads, int32_t n,
                   int32_t h, int32_t w, int32_t c, int32_t oc);
size_t cm_tiles_packed_bytes(const cm_tiles *tiles);
int cm_tiles_same_weights(const cm_tiles *a, const cm_tiles *b);
/* plain [oc][c][side][side]; of a turned one [c][oc][side][side], the forward's. */
void cm_tiles_pack(const cm_tiles *tiles, const float *plain, void *packed);
size_t cm_tiles_scratch_bytes(const cm_tiles *tiles);
/* x [n][h][w][c], y [n][h][w][oc], floats or bfloat16 as `tiles` says; with a residual of
 * floats like y: y = (convolution + residual) scale. */
cm_status cm_tiles_run(const cm_tiles *tiles, const void *x, const void *packed, const float *bias,
                       const float *residual, float scale, void *y, void *scratch);

/* The weight gradient as [side][side][c][oc]; one thread.  x [n][h][w][c], dy [n][h][w][oc] floats. */
size_t cm_tiles_gradient_bytes(const cm_tiles *tiles); /* of scratch memory */
void cm_tiles_gradient(const cm_tiles *tiles, const float *x, const float *dy, float *dw, void *scratch);

#endif
