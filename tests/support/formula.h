/* formula.h - numbers that follow from a name and an index: those of golden/metrics ("formula v1"). */
#ifndef TESTS_SUPPORT_FORMULA_H
#define TESTS_SUPPORT_FORMULA_H

#include <stdint.h>

static inline uint32_t formula_seed(const char *name)
{
    uint32_t seed = 0x811c9dc5u;
    for (; *name; name++) seed = (seed ^ (unsigned char)*name) * 0x01000193u;
    return seed;
}

/* In [-1, 1). */
static inline double formula_value(uint32_t seed, uint64_t i)
{
    uint32_t h = (uint32_t)i * 0x9E3779B1u + seed;
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    h = (h ^ h >> 13) * 0xC2B2AE35u;
    h ^= h >> 16;
    return (double)(int32_t)h / 2147483648.0;
}

static inline double formula_uniform(const char *name, uint64_t i)
{
    return formula_value(formula_seed(name), i);
}

#endif
