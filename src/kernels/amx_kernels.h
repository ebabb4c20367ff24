/* amx_kernels.h - sums over matrix tiles of bfloat16 and the passes around them: with the instructions of AMX, or
 * written out. */
#ifndef CM_KERNELS_AMX_KERNELS_H
#define CM_KERNELS_AMX_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Where a strip of sums finds its factors.  `a`: row 0 of the first tile of points, rows
 * `row` values apart, the taps of one kernel row one row apart and kernel rows `down` rows
 * apart; `b`: [c / 32][tap][width / 16][16][16][2], so that what taps have in common stays near.
 * Of float32, which has a side of 1: the three parts of a row `part` values apart; `b`:
 * [c / 32][part][width / 16][16][16][2]. */
typedef struct cm_amx_strip {
    const uint16_t *a, *b;
    const int32_t *starts;         /* of the tiles of points, in rows from `a`        */
    size_t tiles;                  /* of points                                       */
    size_t row, down, side, depth; /* side: taps a kernel row; depth: c / 32          */
    size_t part;                   /* or 0: bfloat16                                  */
    int width;                     /* columns: 32 or 16                               */
    float *sums;                   /* memory for two of [32][32]                      */
    /* What becomes of sums, unless `points` is NULL and row after row of y, floats, takes them
     * as they are: y[point] = (sum + bias + residual) scale; points below 0 are
     * not wanted.  Rows of y and residual are `oc` floats. */
    const int32_t *points; /* [tiles][16] */
    const float *bias, *residual;
    float scale;
    void *y; /* float, or uint16_t when y_bf16: bfloat16 */
    int y_bf16;
    size_t oc;
} cm_amx_strip;

/* The instructions, or the same sums written out. */
typedef struct cm_amx_kernels {
    /* Strips are computed between the two, which give the thread its tiles. */
    void (*begin)(void);
    void (*end)(void);
    void (*strip)(const cm_amx_strip *strip);
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
    void (*transpose)(const uint32_t *from, size_t from_row, uint16_t *to, size_t to_row);
    /* p[r] = exp(scale (x[r] - its largest)) in bfloat16 and 1 over its sum: p inverse is the
     * softmax of n values, a multiple of 16; rows `x_row` and `p_row` values apart.  With a
     * part other than 0: in three parts so far apart, n a multiple of 32. */
    void (*softmax)(size_t rows, size_t n, float scale, const float *x, size_t x_row, uint16_t *p, size_t p_row,
                    size_t part, float *inverse);
    /* out[r][k] = a[k] (x[r][k] - shift[k]) + b[k], then SiLU when asked, in bfloat16; x
     * floats or bfloat16, out may be x then; c a multiple of 16. */
    void (*affine)(size_t rows, size_t c, const void *x, int x_bf16, const float *shift, const float *a,
                   const float *b, int silu, uint16_t *out);
    /* n float32 values to bfloat16, nearest, ties to even; n a multiple of 16. */
    void (*round)(size_t n, const float *x, uint16_t *out);
    /* out[i] = x[3 i], n values of float or, `is_bf16`, of bfloat16. */
    void (*thirds)(size_t n, const void *x, int is_bf16, void *out);
    /* n float32 values to their three parts, `part` values apart; n a multiple of 16.  Of 32
     * values the pairs are i and 16 + i, zeros where there are 16. */
    void (*split)(size_t n, const float *x, uint16_t *out, size_t part);
} cm_amx_kernels;
extern const cm_amx_kernels cmi_bf16_plain, cmi_bf16_amx;

#endif
