/* rng.c - Philox4x32-10 and Box-Muller. */
#include "base/rng.h"

#include <math.h>
#include <string.h>

void cmi_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The two pairs of a block at a time: what any processor of 64 bits has registers for. */
typedef double reals __attribute__((vector_size(2 * sizeof(double))));
typedef int64_t words64 __attribute__((vector_size(2 * sizeof(int64_t))));
typedef int32_t words32 __attribute__((vector_size(2 * sizeof(int32_t))));

static inline reals select_reals(words64 mask, reals yes, reals no)
{
    return (reals)(((words64)yes & mask) | ((words64)no & ~mask));
}

/* ln x for x in (0, 1], no denormals: x = m 2^e with m in [sqrt(1/2), sqrt(2)), then
 * ln m = 2 atanh((m-1)/(m+1)) by its series; error below 2e-16 + rounding. */
static inline reals portable_log(reals x)
{
    const words64 bits = (words64)x;
    words64 e = (bits >> 52) - 1022;
    reals m = (reals)((bits & 0xfffffffffffff) | (int64_t)1022 << 52);
    const words64 low = m < 0.70710678118654752440;
    m = select_reals(low, m * 2, m);
    e += low; /* -1 where true */
    reals s = (m - 1) / (m + 1), z = s * s, sum = {0};
    for (int k = 10; k >= 0; k--) sum = sum * z + 1.0 / (2 * k + 1);
    return 2 * s * sum + __builtin_convertvector(__builtin_convertvector(e, words32), reals) * 0.69314718055994530942;
}

/* cos and sin of 2 pi u, u in [0, 1): reduce to an eighth of the circle, then
 * Taylor series of |angle| <= pi/4. */
static inline void portable_cos_sin(reals u, reals *c, reals *s)
{
    const words32 quadrant = __builtin_convertvector(u * 4 + 0.5, words32);
    const words64 q = __builtin_convertvector(quadrant, words64) & 3;
    reals a = (u - __builtin_convertvector(quadrant, reals) * 0.25) * 6.28318530717958647693, z = a * a;
    reals sine = {0}, cosine = {0};
    for (int k = 8; k >= 1; k--) {
        sine = (1 + sine) * (-z / ((2 * k) * (2 * k + 1)));
        cosine = (1 + cosine) * (-z / ((2 * k - 1) * (2 * k)));
    }
    sine = a * (1 + sine);
    cosine = 1 + cosine;
    const words64 swap = (q & 1) != 0; /* the sign's bit where it turns: */
    const words64 c_minus = ((q == 1) | (q == 2)) & INT64_MIN, s_minus = ((q == 2) | (q == 3)) & INT64_MIN;
    *c = (reals)((words64)select_reals(swap, sine, cosine) ^ c_minus);
    *s = (reals)((words64)select_reals(swap, cosine, sine) ^ s_minus);
}

void cmi_stream_block(const cm_stream *stream, uint32_t index, uint32_t out[4])
{
    const uint32_t counter[4] = {index, stream->draw, (uint32_t)stream->image, (uint32_t)(stream->image >> 32)};
    const uint32_t key[2] = {(uint32_t)stream->seed, (uint32_t)(stream->seed >> 32)};
    cmi_philox4x32(counter, key, out);
}

static double unit(uint32_t u)
{
    return (u + 0.5) * (1.0 / 4294967296.0);
}

void cmi_stream_uniform(const cm_stream *stream, size_t n, double *out)
{
    uint32_t u[4];
    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0) cmi_stream_block(stream, (uint32_t)(i / 4), u);
        out[i] = unit(u[i % 4]);
    }
}

void cmi_stream_normal(const cm_stream *stream, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 4) {
        uint32_t u[4];
        cmi_stream_block(stream, (uint32_t)(i / 4), u);
        const reals first = {unit(u[0]), unit(u[2])}, second = {unit(u[1]), unit(u[3])};
        reals c, s, square = -2 * portable_log(first);
        portable_cos_sin(second, &c, &s);
        const reals r = {sqrt(square[0]), sqrt(square[1])};
        c *= r, s *= r;
        const float quad[4] = {(float)c[0], (float)s[0], (float)c[1], (float)s[1]};
        memcpy(out + i, quad, (n - i < 4 ? n - i : 4) * sizeof *out);
    }
}

uint32_t cmi_stream_below(const cm_stream *stream, uint32_t range)
{
    uint32_t u[4];
    cmi_stream_block(stream, 0, u);
    return (uint32_t)(((uint64_t)u[0] * range) >> 32);
}
