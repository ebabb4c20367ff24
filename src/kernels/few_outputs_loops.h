/* few_outputs_loops.h - the sums of a 3 x 3 convolution to at most three channels, of four
 * points at a time; pointwise.c includes this once for each CPU level. */
#ifndef CM_KERNELS_FEW_OUTPUTS_LOOPS_H
#define CM_KERNELS_FEW_OUTPUTS_LOOPS_H

#include "kernels/vectors.h"

/* The sum of a vector's lanes, halves first. */
static inline float lanes_sum(vec v)
{
    float lane[LANES];
    store(lane, v);
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

/* Twelve sums and three factors are what 16 registers hold. */
static void few_outputs(size_t c, const float *const *src, const float *w, float *sums)
{
    vec s00 = {0}, s01 = {0}, s02 = {0}, s10 = {0}, s11 = {0}, s12 = {0};
    vec s20 = {0}, s21 = {0}, s22 = {0}, s30 = {0}, s31 = {0}, s32 = {0};
#define EACH_POINT(DO) DO(0) DO(1) DO(2) DO(3)
#define TIMES(p)                                                                                                     \
    {                                                                                                                \
        vec x = load(src[p] + k);                                                                                    \
        s##p##0 += x * w0, s##p##1 += x * w1, s##p##2 += x * w2;                                                     \
    }
#define KEEP(p)                                                                                                      \
    sums[3 * p] = lanes_sum(s##p##0), sums[3 * p + 1] = lanes_sum(s##p##1), sums[3 * p + 2] = lanes_sum(s##p##2);
    for (size_t tap = 0; tap < 9; tap++, src += 4, w += 3 * c)
        for (size_t k = 0; k < c; k += LANES) {
            const vec w0 = load(w + k), w1 = load(w + c + k), w2 = load(w + 2 * c + k);
            EACH_POINT(TIMES)
        }
    EACH_POINT(KEEP)
#undef EACH_POINT
#undef TIMES
#undef KEEP
}

#endif
