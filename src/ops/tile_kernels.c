/* tile_kernels.c - sums over tiles, compiled twice: with the instructions of AMX, and
 * written out.  Both add in the order that the manual gives TDPBF16PS - the even and the
 * odd channels of a tile apart, their sum to the result - so they differ in denormal
 * numbers only, which the instruction takes as zero. */
#include "ops/tiles.h"

#include <string.h>

typedef float vec __attribute__((vector_size(64)));

/* 16 outputs of one point. */
static inline void finish(const cm_tile_strip *s, const float *sum, size_t at, size_t k)
{
    vec v, more;
    memcpy(&v, sum, sizeof v);
    if (s->bias) {
        memcpy(&more, s->bias + k, sizeof more);
        v += more;
    }
    if (s->residual) {
        memcpy(&more, s->residual + at + k, sizeof more);
        v = (v + more) * s->scale;
    }
    memcpy(s->y + at + k, &v, sizeof v);
}

/* sums [rows][32] of the tiles from `first` on to where they belong. */
static void finish_rows(const cm_tile_strip *s, size_t first, size_t rows, const float *sums)
{
    const int32_t *points = s->points + first * 16;
    for (size_t i = 0; i < rows; i++, sums += 32) {
        if (points[i] < 0) continue;
        size_t at = (size_t)points[i] * s->oc;
        finish(s, sums, at, 0);
        if (s->width > 16) finish(s, sums + 16, at, 16);
    }
}

#ifdef __AMX_BF16__
#include <immintrin.h>

/* Every tile is 16 rows of 64 bytes. */
static void configure(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } all = {.palette = 1};
    for (int i = 0; i < 8; i++) all.row_bytes[i] = 64, all.rows[i] = 16;
    _tile_loadconfig(&all);
}

/* R tiles of points by W of columns: tiles 0 to 3 hold sums, 4 and 5 points, 6 and 7
 * weights.  R and W are constants where this is inlined.  Each step asks for `lines` cache
 * lines of what comes `next`: the weights of the next columns are far away. */
static inline __attribute__((always_inline)) void block(const int R, const int W, const cm_tile_strip *s,
                                                        size_t first, const uint16_t *next, size_t lines)
{
    const uint16_t *a = s->a + (size_t)s->starts[first] * s->row, *b = s->b;
    const size_t far = R > 1 ? (size_t)(s->starts[first + 1] - s->starts[first]) * s->row : 0;
    const size_t stride = s->row * sizeof *a;
    float *sums = s->sums;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t i = 0; i < s->side; i++, a += s->down * s->row)
        for (size_t k = 0; k < s->depth; k++) {
            const uint16_t *from = a + 32 * k;
            for (size_t j = 0; j < s->side; j++, from += s->row, b += W * 512) {
                for (size_t q = 0; q < lines; q++, next += 32) __builtin_prefetch(next, 0, 2);
                _tile_loadd(6, b, 64);
                _tile_loadd(4, from, (long)stride);
                if (W > 1) _tile_loadd(7, b + 512, 64);
                _tile_dpbf16ps(0, 4, 6);
                if (R > 1) _tile_loadd(5, from + far, (long)stride);
                if (W > 1) _tile_dpbf16ps(1, 4, 7);
                if (R > 1) _tile_dpbf16ps(2, 5, 6);
                if (R > 1 && W > 1) _tile_dpbf16ps(3, 5, 7);
            }
        }
    _tile_stored(0, sums, 128);
    if (W > 1) _tile_stored(1, sums + 16, 128);
    if (R > 1) _tile_stored(2, sums + 512, 128);
    if (R > 1 && W > 1) _tile_stored(3, sums + 528, 128);
    finish_rows(s, first, 16 * (size_t)R, sums);
}

static void strip(const cm_tile_strip *s)
{
    const size_t steps = s->side * s->side * s->depth, wide = (size_t)s->width / 16;
    const size_t pairs = (s->tiles + 1) / 2, lines = (16 * wide + pairs - 1) / pairs;
    const uint16_t *next = s->b + steps * wide * 512;
    configure();
    for (size_t t = 0; t < s->tiles; t += 2, next += steps * lines * 32) {
        const int two = t + 1 < s->tiles;
        if (wide > 1 && two) block(2, 2, s, t, next, lines);
        else if (wide > 1) block(1, 2, s, t, next, lines);
        else if (two) block(2, 1, s, t, next, lines);
        else block(1, 1, s, t, next, lines);
    }
    _tile_release();
}

static void round_values(size_t n, const float *x, uint16_t *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __m256bh h = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
        memcpy(out + i, &h, sizeof h);
    }
}

#else

static inline float widened(uint16_t v)
{
    uint32_t u = (uint32_t)v << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* sums [16][32 apart] += a [16][32] b [16][16][2]. */
static void multiply(const uint16_t *a, size_t row, const uint16_t *b, float *sums)
{
    for (size_t i = 0; i < 16; i++, a += row, sums += 32) {
        float even[16] = {0}, odd[16] = {0};
        for (size_t k = 0; k < 16; k++)
            for (size_t j = 0; j < 16; j++) {
                even[j] += widened(a[2 * k]) * widened(b[32 * k + 2 * j]);
                odd[j] += widened(a[2 * k + 1]) * widened(b[32 * k + 2 * j + 1]);
            }
        for (size_t j = 0; j < 16; j++) sums[j] += even[j] + odd[j];
    }
}

static void strip(const cm_tile_strip *s)
{
    size_t wide = (size_t)s->width / 16;
    for (size_t t = 0; t < s->tiles; t++) {
        const uint16_t *a = s->a + (size_t)s->starts[t] * s->row, *b = s->b;
        float sums[16 * 32] = {0};
        for (size_t i = 0; i < s->side; i++)
            for (size_t k = 0; k < s->depth; k++)
                for (size_t j = 0; j < s->side; j++)
                    for (size_t g = 0; g < wide; g++, b += 512)
                        multiply(a + (i * s->down + j) * s->row + 32 * k, s->row, b, sums + 16 * g);
        finish_rows(s, t, 16, sums);
    }
}

static void round_values(size_t n, const float *x, uint16_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        if (x[i] != x[i]) u |= 0x400000; /* a NaN stays one */
        else u += 0x7fff + ((u >> 16) & 1);
        out[i] = (uint16_t)(u >> 16);
    }
}
#endif

const cm_tile_kernels CM_TILES = {strip, round_values};
