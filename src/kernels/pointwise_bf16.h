/* pointwise_bf16.h - what is done to rows of values around sums over tiles: rounding to
 * bfloat16, parts of float32, softmax and normalisation, in vectors of 16;
 * bf16.c includes it.  What AVX-512 has one instruction for is written so where
 * AMX is, which implies it. */
#ifndef CM_KERNELS_POINTWISE_BF16_H
#define CM_KERNELS_POINTWISE_BF16_H

#include <stdint.h>
#include <string.h>

#include "kernels/bf16_values.h"

typedef float vec __attribute__((vector_size(64)));
typedef vec real;

#include "kernels/exponential.h"

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
    for (size_t i = 0; i < n; i++) out[i] = rounded_to_bf16(x[i]);
}
#endif

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

static void thirds(size_t n, const void *x, int is_bf16, void *out)
{
    const uint16_t *short_x = x;
    const float *whole_x = x;
    uint16_t *restrict short_out = out;
    float *restrict whole_out = out;
    if (is_bf16)
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
typedef uint16_t bf16_values __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) void widen(const uint16_t *x, vec *v)
{
    bf16_values h;
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

/* exp x of at most 87, below -87 as there. */
static inline __attribute__((always_inline)) void exponential(vec *x, void (*terms)(vec *))
{
    const vec least = (vec){0} + CM_EXP_LOWEST;
    vec k;
    raise_to(x, &least);
    exp_reduce(x, &k);
    k -= CM_EXP_ROUNDER;
    terms(x);
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

static float softmax_row(size_t n, float scale, const float *x, uint16_t *p)
{
    const float top = largest(n, x) * scale;
    vec sums = {0};
    float lane[16], sum = 0;
    for (size_t i = 0; i < n; i += 16) {
        vec v;
        memcpy(&v, x + i, sizeof v);
        v = v * scale - top;
        exponential(&v, exp_terms_bf16);
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
            exponential(v + k, exp_terms_series);
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
    const vec most = (vec){0} + CM_EXP_HIGHEST;
    lower_to(&e, &most);
    exponential(&e, exp_terms_bf16);
    e += 1.0f;
#ifdef __AMX_BF16__
    *x *= (vec)_mm512_rcp14_ps((__m512)e);
#else
    *x /= e;
#endif
}

static inline __attribute__((always_inline)) void affine_rows(size_t rows, size_t c, const void *x, const int x_bf16,
                                                              const float *shift, const float *a, const float *b,
                                                              const int silu, uint16_t *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < c; k += 16) {
            vec v, m, f, t;
            float values[16];
            if (x_bf16) widen((const uint16_t *)x + r * c + k, &v);
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

static void affine(size_t rows, size_t c, const void *x, int x_bf16, const float *shift, const float *a,
                   const float *b, int silu, uint16_t *out)
{
    if (x_bf16 && silu) affine_rows(rows, c, x, 1, shift, a, b, 1, out);
    else if (x_bf16) affine_rows(rows, c, x, 1, shift, a, b, 0, out);
    else if (silu) affine_rows(rows, c, x, 0, shift, a, b, 1, out);
    else affine_rows(rows, c, x, 0, shift, a, b, 0, out);
}

#endif
