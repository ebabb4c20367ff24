/* cases.h - random numbers and shapes of the tests of ops and kernels, from one seed. */
#ifndef TESTS_CASES_H
#define TESTS_CASES_H

#include "support/suite.h"

#include <stdlib.h>

/* CHECK_SHORT: for slow tools. */
#define ROUNDS (getenv("CHECK_SHORT") ? 4 : 40)

static uint64_t seed = 20261123;

static inline float *numbers(size_t n, float scale, float offset)
{
    float *v = aligned_alloc(64, (n * sizeof *v + 63) / 64 * 64);
    for (size_t i = 0; i < n; i++) v[i] = random_float(&seed) * scale + offset;
    return v;
}

static inline int pick(int low, int high)
{
    return random_int(&seed, low, high);
}

#endif
