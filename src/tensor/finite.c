/* finite.c - an exponent of ones alone, plus one, carries into the sign's bit:
 * a block of values is tried by ands, adds and ors, without a branch. */
#include "tensor/finite.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 512 };

static size_t block_end(size_t from, size_t n)
{
    return n - from < BLOCK ? n : from + BLOCK;
}

size_t cmi_first_nonfinite(size_t n, const double *values)
{
    const uint64_t exponent = 0x7ff0000000000000u, one = 0x0010000000000000u;
    for (size_t from = 0, end; from < n; from = end) {
        uint64_t carried = 0;
        end = block_end(from, n);
        for (size_t i = from; i < end; i++) {
            uint64_t bits;
            memcpy(&bits, values + i, sizeof bits);
            carried |= (bits & exponent) + one;
        }
        for (size_t i = from; carried >> 63 && i < end; i++)
            if (!isfinite(values[i])) return i;
    }
    return n;
}

size_t cmi_first_nonfinite_f32(size_t n, const float *values)
{
    const uint32_t exponent = 0x7f800000u, one = 0x00800000u;
    for (size_t from = 0, end; from < n; from = end) {
        uint32_t carried = 0;
        end = block_end(from, n);
        for (size_t i = from; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, values + i, sizeof bits);
            carried |= (bits & exponent) + one;
        }
        for (size_t i = from; carried >> 31 && i < end; i++)
            if (!isfinite(values[i])) return i;
    }
    return n;
}
