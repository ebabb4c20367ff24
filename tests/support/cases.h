/* cases.h - random numbers and shapes of the tests of ops and kernels, from one seed. */
#ifndef TESTS_CASES_H
#define TESTS_CASES_H

#include "support/suite.h"

#include <stdlib.h>

#define ROUNDS by_effort(4, 50, 500)

static uint64_t seed; /* 0: no number was drawn */

static inline uint64_t *case_seed(void)
{
    if (seed == 0) seed = seeded(20261123);
    return &seed;
}

static inline float *numbers(size_t n, float scale, float offset)
{
    float *v = aligned_alloc(64, (n * sizeof *v + 63) / 64 * 64);
    for (size_t i = 0; i < n; i++) v[i] = random_float(case_seed()) * scale + offset;
    return v;
}

static inline int pick(int low, int high)
{
    return random_int(case_seed(), low, high);
}

#endif
