/* philox_loops.h - the words of Philox4x32-10 (base/rng.h) for many blocks at a time,
 * and dropout's mask from them; pointwise.c includes this once for each CPU level.
 *
 * A 64-bit lane holds one word of one block's counter in its lower half: the product
 * of two lower halves is one instruction, and the upper half of a lane may hold
 * anything until the end. */
#ifndef CM_KERNELS_PHILOX_LOOPS_H
#define CM_KERNELS_PHILOX_LOOPS_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* CM_LANES says which instructions: a compiler told of more (-march=native) has them at
 * every level. */
enum { WIDE = CM_LANES / 2 };

typedef uint64_t wide __attribute__((vector_size(8 * WIDE)));
typedef uint32_t wide_words __attribute__((vector_size(8 * WIDE)));
typedef float wide_floats __attribute__((vector_size(8 * WIDE)));

/* Of the lower halves. */
static inline wide halves_product(wide a, wide b)
{
#if CM_LANES == 16
    return (wide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif CM_LANES == 8
    return (wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (wide)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

/* The even lanes of a, each followed by b's; the odd ones. */
static inline wide even_pairs(wide a, wide b)
{
#if CM_LANES == 16
    return (wide)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b);
#elif CM_LANES == 8
    return (wide)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b);
#else
    return (wide){a[0], b[0]};
#endif
}

static inline wide odd_pairs(wide a, wide b)
{
#if CM_LANES == 16
    return (wide)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b);
#elif CM_LANES == 8
    return (wide)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b);
#else
    return (wide){a[1], b[1]};
#endif
}

/* Three groups of blocks at a time: one waits for its products while the others go on. */
enum { GROUPS = 3, GROUP_WORDS = 4 * WIDE, STEP_WORDS = GROUPS * GROUP_WORDS };

typedef struct {
    wide key[10][2]; /* of the rounds */
    wide counter[4]; /* of group 0 from block 0 on */
} philox;

static philox philox_of(const uint32_t stream[5])
{
    philox p;
    uint32_t k0 = stream[0], k1 = stream[1];
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        p.key[round][0] = (wide){0} + k0, p.key[round][1] = (wide){0} + k1;
    /* Even lanes are the first half of a group's blocks: pairs come out in order. */
    for (unsigned l = 0; l < WIDE; l++) p.counter[0][l] = l / 2 + l % 2 * (WIDE / 2);
    for (int i = 1; i < 4; i++) p.counter[i] = (wide){0} + stream[i + 1];
    return p;
}

/* The words of STEP_WORDS / 4 blocks from `first` on, in the stream's order. */
static inline __attribute__((always_inline)) void philox_words(const philox *p, uint32_t first,
                                                               wide_words words[2 * GROUPS])
{
    wide c[GROUPS][4];
    for (uint32_t g = 0; g < GROUPS; g++) {
        memcpy(c[g], p->counter, sizeof c[g]);
        c[g][0] += first + g * WIDE;
    }
    for (int round = 0; round < 10; round++)
        for (int g = 0; g < GROUPS; g++) {
            wide p0 = halves_product((wide){0} + 0xD2511F53u, c[g][0]);
            wide p1 = halves_product((wide){0} + 0xCD9E8D57u, c[g][2]);
            c[g][0] = (p1 >> 32) ^ c[g][1] ^ p->key[round][0];
            c[g][2] = (p0 >> 32) ^ c[g][3] ^ p->key[round][1];
            c[g][1] = p1;
            c[g][3] = p0;
        }
    for (int g = 0; g < GROUPS; g++) {
        wide a = (c[g][0] & 0xFFFFFFFFu) | c[g][1] << 32, b = (c[g][2] & 0xFFFFFFFFu) | c[g][3] << 32;
        words[2 * g] = (wide_words)even_pairs(a, b);
        words[2 * g + 1] = (wide_words)odd_pairs(a, b);
    }
}

/* Which of 2 WIDE words are at least `limit`, a bit each. */
static inline uint32_t at_least(wide_words words, uint32_t limit)
{
#if CM_LANES == 16
    return _mm512_cmpge_epu32_mask((__m512i)words, _mm512_set1_epi32((int)limit));
#elif CM_LANES == 8
    return (uint32_t)_mm256_movemask_ps((__m256)(words >= limit));
#elif defined(__SSE2__)
    return (uint32_t)_mm_movemask_ps((__m128)(words >= limit));
#else
    uint32_t bits = 0;
    for (int i = 0; i < 2 * WIDE; i++) bits |= (uint32_t)(words[i] >= limit) << i;
    return bits;
#endif
}

/* v scale where a bit is set, else 0. */
static inline wide_floats select_scaled(uint32_t bits, wide_floats v, float scale)
{
#if CM_LANES == 16
    return (wide_floats)_mm512_maskz_mul_ps((__mmask16)bits, (__m512)v, _mm512_set1_ps(scale));
#else
    wide_words lanes = {0};
    for (unsigned i = 0; i < 2 * WIDE; i++) lanes[i] = 1u << i;
    return (wide_floats)((wide_words)(v * scale) & (wide_words)((lanes & bits) != 0));
#endif
}

static void dropout_mask(size_t n, const uint32_t stream[5], uint32_t limit, unsigned char *mask)
{
    enum { VECTOR = 2 * WIDE };
    const philox p = philox_of(stream);
    wide_words words[2 * GROUPS];
    for (size_t i = 0; i < n; i += STEP_WORDS) {
        unsigned char bytes[STEP_WORDS / 8] = {0};
        philox_words(&p, (uint32_t)(i / 4), words);
        for (size_t k = 0; k < 2 * GROUPS; k++) {
            const uint32_t bits = at_least(words[k], limit);
            if (VECTOR == 16) bytes[2 * k] = (unsigned char)bits, bytes[2 * k + 1] = (unsigned char)(bits >> 8);
            else bytes[k * VECTOR / 8] |= (unsigned char)(bits << k * VECTOR % 8);
        }
        const size_t left = (n - i + 7) / 8;
        memcpy(mask + i / 8, bytes, left < sizeof bytes ? left : sizeof bytes);
    }
}

static void masked(size_t n, const unsigned char *mask, float scale, const float *x, float *y)
{
    enum { VECTOR = 2 * WIDE };
    size_t i = 0;
    for (; i + VECTOR <= n; i += VECTOR) {
        const uint32_t low = mask[i / 8], high = VECTOR == 16 ? mask[i / 8 + 1] : 0;
        wide_floats v;
        memcpy(&v, x + i, sizeof v);
        v = select_scaled((low | high << 8) >> i % 8 & ((1u << VECTOR) - 1), v, scale);
        memcpy(y + i, &v, sizeof v);
    }
    for (; i < n; i++) y[i] = mask[i / 8] >> i % 8 & 1 ? x[i] * scale : 0;
}

#endif
