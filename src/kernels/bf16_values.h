/* bf16_values.h - one value to bfloat16, the upper half of a float32, and back. */
#ifndef CM_KERNELS_BF16_VALUES_H
#define CM_KERNELS_BF16_VALUES_H

#include <stdint.h>
#include <string.h>

static inline float widened(uint16_t v)
{
    const uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To the nearest, even on a tie; a NaN stays one. */
static inline uint16_t rounded_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) bits |= 0x400000;
    else bits += 0x7fff + ((bits >> 16) & 1);
    return (uint16_t)(bits >> 16);
}

#endif
