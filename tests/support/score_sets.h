/* score_sets.h - rows of features by chance, their statistics, and the distance of two. */
#ifndef TESTS_SUPPORT_SCORE_SETS_H
#define TESTS_SUPPORT_SCORE_SETS_H

#include <math.h>
#include <stdlib.h>

#include "support/suite.h"

/* n rows of d numbers around `mean`. */
static inline float *random_rows(uint64_t seed, size_t n, size_t d, float mean)
{
    float *x = malloc((n * d + 1) * sizeof *x);
    for (size_t i = 0; i < n * d; i++) x[i] = mean + random_float(&seed) * (1 + (float)(i % 3));
    return x;
}

static inline cm_statistics *statistics_of(cm_context *c, size_t n, size_t d, const float *x)
{
    cm_statistics *s = NULL;
    OK(cm_statistics_create(c, (int32_t)d, &s));
    OK(cm_statistics_add(s, n, x));
    return s;
}

static inline double distance_of(const cm_statistics *a, const cm_statistics *b)
{
    double out = NAN;
    OK(cm_frechet_distance(a, b, &out));
    return out;
}

static inline double relative(double found, double expected)
{
    return fabs(found - expected) / fabs(expected);
}

#endif
