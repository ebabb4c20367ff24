/* amx_tiles.h - strips, outer products and transposes with the instructions of
 * AMX; bf16.c includes it. */
#ifndef CM_KERNELS_AMX_TILES_H
#define CM_KERNELS_AMX_TILES_H

#include "kernels/pointwise_bf16.h"
#include "kernels/amx_kernels.h"

/* Every tile is 16 rows of 64 bytes.  Constant, not made here: gcc 12 tells its optimizer
 * that the instruction reads the first eight bytes only. */
static void begin(void)
{
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } all = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&all);
}

static void end(void)
{
    _tile_release();
}

/* Asks for what is added to 32 outputs of a point, and where these come soon, after one tap, for where they
 * go; after nine lines on their way to the nearest cache stand in the way of the weights' (measured). */
static inline void fetch(const cm_amx_strip *s, int32_t point)
{
    const size_t at = point < 0 ? 0 : (size_t)point * s->oc;
    if (s->side == 1) {
        const char *y = (const char *)s->y + at * (s->y_bf16 ? 2 : 4);
        __builtin_prefetch(y);
        if (!s->y_bf16) __builtin_prefetch(y + 64);
    }
    if (!s->residual) return;
    __builtin_prefetch(s->residual + at);
    __builtin_prefetch(s->residual + at + 16);
}

/* Sums of a block on their way to where they belong. */
typedef struct {
    const int32_t *point, *last;
    const float *next, *sums;
} unstored;
enum { SUMS = 48 * 32 };

static inline __attribute__((always_inline)) void store_rows(const cm_amx_strip *s, unstored *l, size_t rows)
{
    for (size_t i = 0; i < rows && l->point < l->last; i++, l->next += 32) finish_row(s, *l->point++, l->next);
}

/* The processor puts the stores of tiles to sleep after some 128 products without one, and
 * takes as long as 50 of them to wake (measured): in between one goes nowhere. */
enum { KEEP_AWAKE = 24 };

/* R tiles of points by W of columns: tiles 0 to 5 hold sums, 6 points and 7 weights.  R and
 * W are constants where this is inlined.  Each step asks for `lines` cache
 * lines of what comes `next`: the weights of the next columns are far away; and takes a
 * few rows of the block before to where they belong, which at once would make the tiles
 * wait for the memory. */
static inline __attribute__((always_inline)) void block(const int R, const int W, const size_t side,
                                                        const cm_amx_strip *s, size_t first, const uint16_t *next,
                                                        size_t lines, unstored *before)
{
    const int32_t *start = s->starts + first;
    const uint16_t *a = s->a + (size_t)start[0] * s->row, *b = s->b;
    const size_t second = R > 1 ? (size_t)(start[1] - start[0]) * s->row : 0;
    const size_t third = R > 2 ? (size_t)(start[2] - start[0]) * s->row : 0;
    const long stride = (long)(s->row * sizeof *a);
    const size_t steps = side * side * s->depth, each = (47 + steps) / steps;
    const int32_t *point = s->points ? s->points + 16 * first : NULL, *const last = point ? point + 16 * R : NULL;
    float *sums = s->points ? before->sums == s->sums ? s->sums + SUMS : s->sums : (float *)s->y + 16 * first * s->oc;
    const long ldc = s->points ? 128 : (long)(s->oc * sizeof *sums);
    const size_t below = (size_t)ldc * 4;
    const unstored mine = {point, last, sums, sums};
    size_t since = 0; /* the last store of a tile, in products */
    float nowhere[256];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    for (size_t k = 0; k < s->depth; k++)
        for (size_t i = 0; i < side; i++) {
            const uint16_t *from = a + 32 * k + i * s->down * s->row;
            for (size_t j = 0; j < side; j++, from += s->row, b += W * 512) {
                for (size_t q = 0; q < lines; q++, next += 32) __builtin_prefetch(next, 0, 2);
                for (size_t q = 0; q < each && point < last; q++) fetch(s, *point++);
                _tile_loadd(7, b, 64);
                _tile_loadd(6, from, stride);
                _tile_dpbf16ps(0, 6, 7);
                if (R > 1) {
                    _tile_loadd(6, from + second, stride);
                    _tile_dpbf16ps(1, 6, 7);
                }
                if (R > 2) {
                    _tile_loadd(6, from + third, stride);
                    _tile_dpbf16ps(2, 6, 7);
                }
                if (W > 1) {
                    _tile_loadd(7, b + 512, 64);
                    if (R > 2) {
                        _tile_dpbf16ps(5, 6, 7);
                        _tile_loadd(6, from + second, stride);
                    }
                    if (R > 1) {
                        _tile_dpbf16ps(4, 6, 7);
                        _tile_loadd(6, from, stride);
                    }
                    _tile_dpbf16ps(3, 6, 7);
                }
                store_rows(s, before, each);
            }
            since += (size_t)(R * W) * side;
            if (since >= KEEP_AWAKE) {
                since = 0;
                _tile_stored(6, nowhere, 64);
            }
        }
    _tile_stored(0, sums, ldc);
    if (R > 1) _tile_stored(1, sums + below, ldc);
    if (R > 2) _tile_stored(2, sums + 2 * below, ldc);
    if (W > 1) _tile_stored(3, sums + 16, ldc);
    if (R > 1 && W > 1) _tile_stored(4, sums + below + 16, ldc);
    if (R > 2 && W > 1) _tile_stored(5, sums + 2 * below + 16, ldc);
    *before = mine;
}

/* R tiles of points by W of columns in three parts each: tiles 0 to 3 hold sums, 4 and 5
 * points, 6 and 7 weights.  Each of the six products has one operand of the one before. */
static inline __attribute__((always_inline)) void parts_block(const int R, const int W, const cm_amx_strip *s,
                                                              size_t first, const uint16_t *next, size_t lines,
                                                              unstored *before)
{
    const uint16_t *a = s->a + (size_t)s->starts[first] * s->row, *b = s->b;
    const size_t far = R > 1 ? (size_t)(s->starts[first + 1] - s->starts[first]) * s->row : 0;
    const long stride = (long)(s->row * sizeof *a);
    const size_t each = (31 + s->depth) / s->depth;
    const int32_t *point = s->points ? s->points + 16 * first : NULL, *const last = point ? point + 16 * R : NULL;
    float *sums = s->points ? before->sums == s->sums ? s->sums + SUMS : s->sums : (float *)s->y + 16 * first * s->oc;
    const long ldc = s->points ? 128 : (long)(s->oc * sizeof *sums);
    const size_t below = (size_t)ldc * 4;
    const unstored mine = {point, last, sums, sums};
    float nowhere[256];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
#define POINTS(i)                                                                                                    \
    _tile_loadd(4, a + (i)*s->part, stride);                                                                         \
    if (R > 1) _tile_loadd(5, a + (i)*s->part + far, stride)
#define WEIGHTS(i)                                                                                                   \
    _tile_loadd(6, b + (i)*W * 512, 64);                                                                             \
    if (W > 1) _tile_loadd(7, b + ((i)*W + 1) * 512, 64)
#define TIMES                                                                                                        \
    _tile_dpbf16ps(0, 4, 6);                                                                                         \
    if (W > 1) _tile_dpbf16ps(1, 4, 7);                                                                              \
    if (R > 1) _tile_dpbf16ps(2, 5, 6);                                                                              \
    if (R > 1 && W > 1) _tile_dpbf16ps(3, 5, 7);                                                                     \
    for (size_t q = 0; q < lines; q++, next += 32) __builtin_prefetch(next, 0, 2)
    for (size_t k = 0; k < s->depth; k++, a += 32, b += 3 * W * 512) {
        for (size_t q = 0; q < each && point < last; q++) fetch(s, *point++);
        POINTS(0);
        WEIGHTS(2);
        TIMES;
        WEIGHTS(1);
        TIMES;
        POINTS(1);
        TIMES;
        WEIGHTS(0);
        TIMES;
        POINTS(2);
        TIMES;
        store_rows(s, before, each);
        POINTS(0);
        TIMES;
        if (k % 2) _tile_stored(4, nowhere, 64);
    }
#undef POINTS
#undef WEIGHTS
#undef TIMES
    _tile_stored(0, sums, ldc);
    if (W > 1) _tile_stored(1, sums + 16, ldc);
    if (R > 1) _tile_stored(2, sums + below, ldc);
    if (R > 1 && W > 1) _tile_stored(3, sums + below + 16, ldc);
    *before = mine;
}

static inline __attribute__((always_inline)) void outer_of(const int R, const int W, size_t depth, const uint16_t *a,
                                                           size_t a_row, const uint16_t *b, size_t b_apart, float *y,
                                                           size_t y_row, int add)
{
    const long stride = (long)(a_row * sizeof *a), ldy = (long)(y_row * sizeof *y);
    float nowhere[256];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (add) {
        _tile_loadd(0, y, ldy);
        if (W > 1) _tile_loadd(1, y + 16, ldy);
        if (R > 1) _tile_loadd(2, y + 16 * y_row, ldy);
        if (R > 1 && W > 1) _tile_loadd(3, y + 16 * y_row + 16, ldy);
    }
    for (size_t k = 0; k < depth; k++, a += 32, b += 512) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a, stride);
        if (W > 1) _tile_loadd(7, b + b_apart, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (R > 1) _tile_loadd(5, a + 16 * a_row, stride);
        if (W > 1) _tile_dpbf16ps(1, 4, 7);
        if (R > 1) _tile_dpbf16ps(2, 5, 6);
        if (R > 1 && W > 1) _tile_dpbf16ps(3, 5, 7);
        if (k % (KEEP_AWAKE / 4) == 0) _tile_stored(6, nowhere, 64);
    }
    _tile_stored(0, y, ldy);
    if (W > 1) _tile_stored(1, y + 16, ldy);
    if (R > 1) _tile_stored(2, y + 16 * y_row, ldy);
    if (R > 1 && W > 1) _tile_stored(3, y + 16 * y_row + 16, ldy);
}

static void outer(size_t rows, size_t columns, size_t depth, const uint16_t *a, size_t a_row, const uint16_t *b,
                  size_t b_apart, float *y, size_t y_row, int add)
{
    if (rows > 16 && columns > 16) outer_of(2, 2, depth, a, a_row, b, b_apart, y, y_row, add);
    else if (rows > 16) outer_of(2, 1, depth, a, a_row, b, b_apart, y, y_row, add);
    else if (columns > 16) outer_of(1, 2, depth, a, a_row, b, b_apart, y, y_row, add);
    else outer_of(1, 1, depth, a, a_row, b, b_apart, y, y_row, add);
}

static inline __attribute__((always_inline)) void taps_of(const int N, size_t depth, const uint16_t *a, size_t a_row,
                                                          const uint16_t *const *b, float *const *y, size_t y_row,
                                                          int add)
{
    const long stride = (long)(a_row * sizeof *a), ldy = (long)(y_row * sizeof **y);
    float nowhere[256];
#define EACH_TAP(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define BEGIN(n)                                                                                                     \
    if (N > n) {                                                                                                     \
        if (add) _tile_loadd(n, y[n], ldy);                                                                          \
        else _tile_zero(n);                                                                                          \
    }
#define TIMES(n)                                                                                                     \
    if (N > n) {                                                                                                     \
        _tile_loadd(7, b[n] + 512 * k, 64);                                                                          \
        _tile_dpbf16ps(n, 6, 7);                                                                                     \
    }
#define KEEP(n)                                                                                                      \
    if (N > n) _tile_stored(n, y[n], ldy);
    EACH_TAP(BEGIN)
    for (size_t k = 0; k < depth; k++) {
        _tile_loadd(6, a + 32 * k, stride);
        EACH_TAP(TIMES)
        if (k % 4 == 0) _tile_stored(6, nowhere, 64);
    }
    EACH_TAP(KEEP)
#undef EACH_TAP
#undef BEGIN
#undef TIMES
#undef KEEP
}

static void taps(size_t count, size_t depth, const uint16_t *a, size_t a_row, const uint16_t *const *b,
                 float *const *y, size_t y_row, int add)
{
    if (count == 3) taps_of(3, depth, a, a_row, b, y, y_row, add);
    else if (count == 4) taps_of(4, depth, a, a_row, b, y, y_row, add);
    else if (count == 5) taps_of(5, depth, a, a_row, b, y, y_row, add);
    else taps_of(6, depth, a, a_row, b, y, y_row, add);
}

static void pairs(size_t n, const float *first, const float *second, uint32_t *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(first + i)));
        __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(second + i)));
        _mm512_storeu_si512(out + i, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

/* Blocks of 2 x 2, 4 x 4 within the quarters of a register, then the quarters. */
static void transpose(const uint32_t *from, size_t from_row, uint16_t *to, size_t to_row)
{
    __m512i r[16], s[16];
    for (size_t i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(from + i * from_row);
    for (size_t i = 0; i < 16; i += 2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (size_t i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
    for (size_t i = 0; i < 4; i++) {
        s[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        s[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        s[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        s[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (size_t i = 0; i < 4; i++) {
        _mm512_storeu_si512(to + i * to_row, _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88));
        _mm512_storeu_si512(to + (i + 8) * to_row, _mm512_shuffle_i32x4(s[i], s[i + 8], 0xdd));
        _mm512_storeu_si512(to + (i + 4) * to_row, _mm512_shuffle_i32x4(s[i + 4], s[i + 12], 0x88));
        _mm512_storeu_si512(to + (i + 12) * to_row, _mm512_shuffle_i32x4(s[i + 4], s[i + 12], 0xdd));
    }
}

static inline __attribute__((always_inline)) void strip_of(const size_t side, const cm_amx_strip *s)
{
    const size_t steps = side * side * s->depth, wide = (size_t)s->width / 16;
    const size_t blocks = (s->tiles + 2) / 3, lines = (16 * wide + blocks - 1) / blocks;
    const uint16_t *next = s->b + steps * wide * 512;
    unstored before = {NULL, NULL, NULL, NULL};
    for (size_t t = 0, rows; t < s->tiles; t += rows, next += steps * lines * 32) {
        const size_t left = s->tiles - t;
        rows = left == 4 ? 2 : left < 3 ? left : 3;
        if (wide > 1 && rows == 3) block(3, 2, side, s, t, next, lines, &before);
        else if (wide > 1 && rows == 2) block(2, 2, side, s, t, next, lines, &before);
        else if (wide > 1) block(1, 2, side, s, t, next, lines, &before);
        else if (rows == 3) block(3, 1, side, s, t, next, lines, &before);
        else if (rows == 2) block(2, 1, side, s, t, next, lines, &before);
        else block(1, 1, side, s, t, next, lines, &before);
    }
    store_rows(s, &before, 48);
}

static void parts_strip(const cm_amx_strip *s)
{
    const size_t wide = (size_t)s->width / 16, blocks = (s->tiles + 1) / 2, steps = 6 * s->depth;
    const size_t lines = (8 * wide + blocks - 1) / blocks;
    const uint16_t *next = s->b + s->depth * 3 * wide * 512;
    unstored before = {NULL, NULL, NULL, NULL};
    for (size_t t = 0; t < s->tiles; t += 2, next += steps * lines * 32) {
        const int two = t + 1 < s->tiles;
        if (wide > 1 && two) parts_block(2, 2, s, t, next, lines, &before);
        else if (wide > 1) parts_block(1, 2, s, t, next, lines, &before);
        else if (two) parts_block(2, 1, s, t, next, lines, &before);
        else parts_block(1, 1, s, t, next, lines, &before);
    }
    store_rows(s, &before, 32);
}

static void strip(const cm_amx_strip *s)
{
    if (s->part) parts_strip(s);
    else if (s->side == 3) strip_of(3, s);
    else strip_of(1, s);
}

#endif
