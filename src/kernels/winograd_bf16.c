/* winograd_bf16.c - the transforms to bfloat16 operands, compiled once for each CPU level as winograd_f32.c, and
 * once more for processors with AVX512_BF16.  A word has the values of channels 2i (low half) and 2i + 1. */
#include "kernels/winograd.h"

#include "kernels/vectors.h"

#include <stdint.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

typedef uint32_t word;
typedef uint32_t words __attribute__((vector_size(4 * CM_LANES)));
typedef uint16_t bf16_values __attribute__((vector_size(2 * CM_LANES)));
enum { CHANNELS = 2 };

/* float32 to the nearest bfloat16, even on a tie, in the high half of each word; a
 * NaN stays one. */
static inline words rounded(vec v)
{
    words u = (words)v, nan = (words)(v != v);
    words r = u + 0x7fff + ((u >> 16) & 1);
    return (r & ~nan) | ((u | 0x400000) & nan);
}

static inline void put(void *out, size_t at, vec v)
{
#ifdef __AVX512BF16__
    __m256bh h = _mm512_cvtneps_pbh((__m512)v);
#else
    bf16_values h = __builtin_convertvector(rounded(v) >> 16, bf16_values);
#endif
    memcpy((uint16_t *)out + at, &h, sizeof h);
}

static inline __attribute__((always_inline)) void put_words(word *out, vec (*r)[36], size_t i)
{
    words w = rounded(r[0][i]) >> 16 | (rounded(r[1][i]) & 0xffff0000);
    memcpy(out, &w, sizeof w);
}

#include "kernels/winograd_transforms.h"

const cm_winograd_operands CM_TABLE = {input, weights};
