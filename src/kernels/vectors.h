/* vectors.h - vectors of CM_LANES floats, a language extension of gcc and
 * clang alike. */
#ifndef CM_KERNELS_VECTORS_H
#define CM_KERNELS_VECTORS_H

#include <stddef.h>
#include <string.h>

enum { LANES = CM_LANES };
typedef float vec __attribute__((vector_size(4 * CM_LANES)));

static inline vec load(const float *x)
{
    vec v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void store(float *x, vec v)
{
    memcpy(x, &v, sizeof v);
}

#endif
