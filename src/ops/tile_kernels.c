/* tile_kernels.c - sums over tiles, compiled twice: with the instructions of AMX, and
 * written out.  Both add in the order that the manual gives TDPBF16PS - the even and the
 * odd channels of a tile apart, their sum to the result - so they differ in denormal
 * numbers only, which the instruction takes as zero. */
#include "ops/tiles.h"

#include <string.h>

typedef float vec __attribute__((vector_size(64)));

#ifdef __AMX_BF16__
#include <immintrin.h>

static void round_values(size_t n, const float *x, uint16_t *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __m256bh h = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
        memcpy(out + i, &h, sizeof h);
    }
}

#else

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
    if (s->y_half) {
        float values[16];
        memcpy(values, &v, sizeof values);
        round_values(16, values, (uint16_t *)s->y + at + k);
    } else {
        memcpy((float *)s->y + at + k, &v, sizeof v);
    }
}

/* One row of 32 sums to its point. */
static inline void finish_row(const cm_tile_strip *s, int32_t point, const float *sums)
{
    if (point < 0) return;
    size_t at = (size_t)point * s->oc;
    finish(s, sums, at, 0);
    if (s->width > 16) finish(s, sums + 16, at, 16);
}

/* 32 values to their parts: eight digits each, cut off, so what is left is exact. */
static inline __attribute__((always_inline)) void put_parts(const vec *v, uint16_t *out, size_t part)
{
    typedef uint32_t words __attribute__((vector_size(64)));
    vec low = v[0], high = v[1];
    for (size_t i = 0; i < 3; i++, out += part) {
        const words l = (words)low, h = (words)high, pairs = l >> 16 | (h & 0xffff0000);
        memcpy(out, &pairs, sizeof pairs);
        low -= (vec)(l & 0xffff0000);
        high -= (vec)(h & 0xffff0000);
    }
}

static void thirds(size_t n, const void *x, int half, void *out)
{
    const uint16_t *short_x = x;
    const float *whole_x = x;
    uint16_t *restrict short_out = out;
    float *restrict whole_out = out;
    if (half)
        for (size_t i = 0; i < n; i++) short_out[i] = short_x[3 * i];
    else
        for (size_t i = 0; i < n; i++) whole_out[i] = whole_x[3 * i];
}

static void split(size_t n, const float *x, uint16_t *out, size_t part)
{
    for (size_t k = 0; k < n; k += 32) {
        vec v[2] = {{0}, {0}};
        memcpy(v, x + k, n - k < 32 ? sizeof *v : sizeof v);
        put_parts(v, out + k, part);
    }
}

/* --- softmax -------------------------------------------------------------------------------- */

typedef int32_t ints __attribute__((vector_size(64)));
typedef uint16_t halves __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) void widen(const uint16_t *x, vec *v)
{
    halves h;
    memcpy(&h, x, sizeof h);
    *v = (vec)(__builtin_convertvector(h, ints) << 16);
}

#ifdef __AMX_BF16__
static inline __attribute__((always_inline)) void raise_to(vec *x, const vec *least)
{
    *x = (vec)_mm512_max_ps((__m512)*least, (__m512)*x); /* the second where one is not a number */
}

static inline __attribute__((always_inline)) void lower_to(vec *x, const vec *most)
{
    *x = (vec)_mm512_min_ps((__m512)*most, (__m512)*x);
}

/* p 2^k, k whole. */
static inline __attribute__((always_inline)) void scale_by(vec *p, const vec *k)
{
    *p = (vec)_mm512_scalef_ps((__m512)*p, (__m512)*k);
}
#else
static inline __attribute__((always_inline)) void raise_to(vec *x, const vec *least)
{
    const ints low = *x < *least;
    *x = (vec)(((ints)*x & ~low) | ((ints)*least & low));
}

static inline __attribute__((always_inline)) void lower_to(vec *x, const vec *most)
{
    const ints high = *x > *most;
    *x = (vec)(((ints)*x & ~high) | ((ints)*most & high));
}

static inline __attribute__((always_inline)) void scale_by(vec *p, const vec *k)
{
    *p *= (vec)((__builtin_convertvector(*k, ints) + 127) << 23);
}
#endif

/* x to r in [-ln2/2, ln2/2] and whole k, x = k ln2 + r; x below -87 as there. */
static inline __attribute__((always_inline)) void reduce(vec *x, vec *k)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const vec least = (vec){0} - 87.0f;
    raise_to(x, &least);
    *k = *x * 1.44269504f + magic;
    *k -= magic;
    *x -= *k * 0.693359375f;
    *x += *k * 2.12194440e-4f;
}

/* exp x to 5e-5 of it, an eightieth of bfloat16's rounding, for x of at most 87. */
static inline __attribute__((always_inline)) void exponential(vec *x)
{
    vec k;
    reduce(x, &k);
    const vec r = *x;
    *x = (((r * (1.0f / 24) + 1.0f / 6) * r + 0.5f) * r + 1.0f) * r + 1.0f;
    scale_by(x, &k);
}

static inline float largest(size_t n, const float *x)
{
    vec top, v;
    float lane[16], most;
    memcpy(&top, x, sizeof top);
    for (size_t i = 16; i < n; i += 16) {
        memcpy(&v, x + i, sizeof v);
        raise_to(&top, &v);
    }
    memcpy(lane, &top, sizeof lane);
    most = lane[0];
    for (size_t i = 1; i < 16; i++) most = lane[i] > most ? lane[i] : most;
    return most;
}

/* exp x to 2e-7 of it, otherwise the same. */
static inline __attribute__((always_inline)) void exponential_float32(vec *x)
{
    vec k;
    reduce(x, &k);
    const vec r = *x;
    const vec p = ((r * (1.0f / 720) + 1.0f / 120) * r + 1.0f / 24) * r + 1.0f / 6;
    *x = ((p * r + 0.5f) * r + 1.0f) * r + 1.0f;
    scale_by(x, &k);
}

static float softmax_row(size_t n, float scale, const float *x, uint16_t *p)
{
    const float top = largest(n, x) * scale;
    vec sums = {0};
    float lane[16], sum = 0;
    for (size_t i = 0; i < n; i += 16) {
        vec v;
        memcpy(&v, x + i, sizeof v);
        v = v * scale - top;
        exponential(&v);
        sums += v;
        memcpy(lane, &v, sizeof lane);
        round_values(16, lane, p + i);
    }
    memcpy(lane, &sums, sizeof lane);
    for (size_t i = 0; i < 16; i++) sum += lane[i];
    return sum;
}

static float softmax_row_parts(size_t n, float scale, const float *x, uint16_t *p, size_t part)
{
    const float top = largest(n, x);
    vec sums[2] = {{0}, {0}};
    float lane[16], sum = 0;
    for (size_t i = 0; i < n; i += 32) {
        vec v[2];
        memcpy(v, x + i, sizeof v);
        for (size_t k = 0; k < 2; k++) {
            v[k] = (v[k] - top) * scale;
            exponential_float32(v + k);
            sums[k] += v[k];
        }
        put_parts(v, p + i, part);
    }
    sums[0] += sums[1];
    memcpy(lane, sums, sizeof lane);
    for (size_t i = 0; i < 16; i++) sum += lane[i];
    return sum;
}

static void softmax(size_t rows, size_t n, float scale, const float *x, size_t x_row, uint16_t *p, size_t p_row,
                    size_t part, float *inverse)
{
    for (size_t r = 0; r < rows; r++, x += x_row, p += p_row)
        inverse[r] = 1 / (part ? softmax_row_parts(n, scale, x, p, part) : softmax_row(n, scale, x, p));
}

/* --- normalised values ---------------------------------------------------------------------- */

static inline __attribute__((always_inline)) void silu_of(vec *x)
{
    vec e = -*x;
    const vec most = (vec){0} + 87.0f;
    lower_to(&e, &most);
    exponential(&e);
    e += 1.0f;
#ifdef __AMX_BF16__
    *x *= (vec)_mm512_rcp14_ps((__m512)e);
#else
    *x /= e;
#endif
}

static inline __attribute__((always_inline)) void affine_rows(size_t rows, size_t c, const void *x, const int x_half,
                                                              const float *shift, const float *a, const float *b,
                                                              const int silu, uint16_t *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < c; k += 16) {
            vec v, m, f, t;
            float values[16];
            if (x_half) widen((const uint16_t *)x + r * c + k, &v);
            else memcpy(&v, (const float *)x + r * c + k, sizeof v);
            memcpy(&m, shift + k, sizeof m);
            memcpy(&f, a + k, sizeof f);
            memcpy(&t, b + k, sizeof t);
            v = f * (v - m) + t;
            if (silu) silu_of(&v);
            memcpy(values, &v, sizeof values);
            round_values(16, values, out + r * c + k);
        }
}

static void affine(size_t rows, size_t c, const void *x, int x_half, const float *shift, const float *a,
                   const float *b, int silu, uint16_t *out)
{
    if (x_half && silu) affine_rows(rows, c, x, 1, shift, a, b, 1, out);
    else if (x_half) affine_rows(rows, c, x, 1, shift, a, b, 0, out);
    else if (silu) affine_rows(rows, c, x, 0, shift, a, b, 1, out);
    else affine_rows(rows, c, x, 0, shift, a, b, 0, out);
}

#ifdef __AMX_BF16__

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

/* Asks for where 32 outputs of a point go and what is added to them. */
static inline void fetch(const cm_tile_strip *s, int32_t point)
{
    const size_t at = point < 0 ? 0 : (size_t)point * s->oc;
    const char *y = (const char *)s->y + at * (s->y_half ? 2 : 4);
    __builtin_prefetch(y);
    if (!s->y_half) __builtin_prefetch(y + 64);
    if (!s->residual) return;
    __builtin_prefetch(s->residual + at);
    __builtin_prefetch(s->residual + at + 16);
}

/* Sums of a block on their way to where they belong. */
typedef struct {
    const int32_t *point, *last;
    const float *next, *sums;
} leaving;
enum { SUMS = 48 * 32 };

static inline __attribute__((always_inline)) void leave(const cm_tile_strip *s, leaving *l, size_t rows)
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
                                                        const cm_tile_strip *s, size_t first, const uint16_t *next,
                                                        size_t lines, leaving *before)
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
    const leaving mine = {point, last, sums, sums};
    size_t since = 0; /* the last store of a tile, in products */
    float nowhere[256];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    for (size_t i = 0; i < side; i++, a += s->down * s->row)
        for (size_t k = 0; k < s->depth; k++) {
            const uint16_t *from = a + 32 * k;
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
                leave(s, before, each);
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
static inline __attribute__((always_inline)) void parts_block(const int R, const int W, const cm_tile_strip *s,
                                                              size_t first, const uint16_t *next, size_t lines,
                                                              leaving *before)
{
    const uint16_t *a = s->a + (size_t)s->starts[first] * s->row, *b = s->b;
    const size_t far = R > 1 ? (size_t)(s->starts[first + 1] - s->starts[first]) * s->row : 0;
    const long stride = (long)(s->row * sizeof *a);
    const size_t each = (31 + s->depth) / s->depth;
    const int32_t *point = s->points ? s->points + 16 * first : NULL, *const last = point ? point + 16 * R : NULL;
    float *sums = s->points ? before->sums == s->sums ? s->sums + SUMS : s->sums : (float *)s->y + 16 * first * s->oc;
    const long ldc = s->points ? 128 : (long)(s->oc * sizeof *sums);
    const size_t below = (size_t)ldc * 4;
    const leaving mine = {point, last, sums, sums};
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
        leave(s, before, each);
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
                                                           size_t a_row, const uint16_t *b, float *y, size_t y_row)
{
    const long stride = (long)(a_row * sizeof *a), ldy = (long)(y_row * sizeof *y);
    float nowhere[256];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t k = 0; k < depth; k++, a += 32, b += W * 512) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a, stride);
        if (W > 1) _tile_loadd(7, b + 512, 64);
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
                  float *y, size_t y_row)
{
    if (rows > 16 && columns > 16) outer_of(2, 2, depth, a, a_row, b, y, y_row);
    else if (rows > 16) outer_of(2, 1, depth, a, a_row, b, y, y_row);
    else if (columns > 16) outer_of(1, 2, depth, a, a_row, b, y, y_row);
    else outer_of(1, 1, depth, a, a_row, b, y, y_row);
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
static void turn(const uint32_t *from, size_t from_row, uint16_t *to, size_t to_row)
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

static inline __attribute__((always_inline)) void strip_of(const size_t side, const cm_tile_strip *s)
{
    const size_t steps = side * side * s->depth, wide = (size_t)s->width / 16;
    const size_t blocks = (s->tiles + 2) / 3, lines = (16 * wide + blocks - 1) / blocks;
    const uint16_t *next = s->b + steps * wide * 512;
    leaving before = {NULL, NULL, NULL, NULL};
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
    leave(s, &before, 48);
}

static void parts_strip(const cm_tile_strip *s)
{
    const size_t wide = (size_t)s->width / 16, blocks = (s->tiles + 1) / 2, steps = 6 * s->depth;
    const size_t lines = (8 * wide + blocks - 1) / blocks;
    const uint16_t *next = s->b + s->depth * 3 * wide * 512;
    leaving before = {NULL, NULL, NULL, NULL};
    for (size_t t = 0; t < s->tiles; t += 2, next += steps * lines * 32) {
        const int two = t + 1 < s->tiles;
        if (wide > 1 && two) parts_block(2, 2, s, t, next, lines, &before);
        else if (wide > 1) parts_block(1, 2, s, t, next, lines, &before);
        else if (two) parts_block(2, 1, s, t, next, lines, &before);
        else parts_block(1, 1, s, t, next, lines, &before);
    }
    leave(s, &before, 32);
}

static void strip(const cm_tile_strip *s)
{
    if (s->part) parts_strip(s);
    else if (s->side == 3) strip_of(3, s);
    else strip_of(1, s);
}

#else

static void begin(void)
{
}

static void end(void)
{
}

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

/* sums += the products of 32 channels: of their parts, or of one tile. */
static void multiply_channels(const cm_tile_strip *s, const uint16_t *a, const uint16_t *b, float *sums)
{
    static const size_t order[6][2] = {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}};
    const size_t wide = (size_t)s->width / 16;
    for (size_t g = 0; g < wide; g++)
        for (size_t n = s->part ? 0 : 5; n < 6; n++)
            multiply(a + order[n][0] * s->part, s->row, b + (order[n][1] * wide + g) * 512, sums + 16 * g);
}

static void strip(const cm_tile_strip *s)
{
    const size_t step = (s->part ? 3 : 1) * (size_t)s->width * 32;
    for (size_t t = 0; t < s->tiles; t++) {
        const uint16_t *a = s->a + (size_t)s->starts[t] * s->row, *b = s->b;
        float sums[16 * 32] = {0};
        for (size_t i = 0; i < s->side; i++)
            for (size_t k = 0; k < s->depth; k++)
                for (size_t j = 0; j < s->side; j++, b += step)
                    multiply_channels(s, a + (i * s->down + j) * s->row + 32 * k, b, sums);
        for (size_t i = 0; i < 16 && s->points; i++) finish_row(s, s->points[16 * t + i], sums + 32 * i);
        for (size_t i = 0; i < 16 && !s->points; i++)
            memcpy((float *)s->y + (16 * t + i) * s->oc, sums + 32 * i, (size_t)s->width * sizeof *sums);
    }
}

static void outer(size_t rows, size_t columns, size_t depth, const uint16_t *a, size_t a_row, const uint16_t *b,
                  float *y, size_t y_row)
{
    for (size_t r = 0; r < rows; r += 16)
        for (size_t j = 0; j < columns; j += 16) {
            float sums[16 * 32] = {0};
            for (size_t k = 0; k < depth; k++)
                multiply(a + r * a_row + 32 * k, a_row, b + (k * columns + j) * 32, sums);
            for (size_t i = 0; i < 16; i++) memcpy(y + (r + i) * y_row + j, sums + 32 * i, 16 * sizeof *y);
        }
}

static void pairs(size_t n, const float *first, const float *second, uint32_t *out)
{
    for (size_t i = 0; i < n; i += 16) {
        uint16_t low[16], high[16];
        round_values(16, first + i, low);
        round_values(16, second + i, high);
        for (size_t k = 0; k < 16; k++) out[i + k] = low[k] | (uint32_t)high[k] << 16;
    }
}

static void turn(const uint32_t *from, size_t from_row, uint16_t *to, size_t to_row)
{
    for (size_t i = 0; i < 16; i++)
        for (size_t k = 0; k < 16; k++) {
            to[i * to_row + 2 * k] = (uint16_t)from[k * from_row + i];
            to[i * to_row + 2 * k + 1] = (uint16_t)(from[k * from_row + i] >> 16);
        }
}
#endif

const cm_tile_kernels CM_TILES = {begin,   end,    strip,        outer,  pairs, turn,
                                  softmax, affine, round_values, thirds, split};
