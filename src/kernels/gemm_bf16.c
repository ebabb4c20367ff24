/* gemm_bf16.c - the matrix product of bfloat16 operands with float32 sums, compiled once for each CPU level as
 * gemm_f32.c, and once more for processors with AVX512_BF16.
 *
 * A word has the values of channels 2i (low half) and 2i + 1.  A product of two bfloat16 values is exact in
 * float32, so without the instructions the sums are those that the manual gives VDPBF16PS (high halves first),
 * but for denormal numbers, which it takes as zero. */
#include "kernels/gemm.h"
#include "kernels/vectors.h"

#include <stdint.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

typedef uint32_t word;
typedef uint32_t words __attribute__((vector_size(4 * CM_LANES)));
enum { CHANNELS = 2 };

static inline words load_words(const word *b)
{
    words v;
    memcpy(&v, b, sizeof v);
    return v;
}

#ifdef __AVX512BF16__
enum { ROWS = 6 };
static inline __attribute__((always_inline)) vec multiply(vec c, word x, words b)
{
    return (vec)_mm512_dpbf16_ps((__m512)c, (__m512bh)_mm512_set1_epi32((int)x), (__m512bh)b);
}
#else
enum { ROWS = 4 };
static inline __attribute__((always_inline)) vec multiply(vec c, word x, words b)
{
    const word parts[2] = {x & 0xffff0000, x << 16};
    float high, low;
    memcpy(&high, &parts[0], sizeof high);
    memcpy(&low, &parts[1], sizeof low);
    c += high * (vec)(b & 0xffff0000);
    return c + low * (vec)(b << 16);
}
#endif

#include "kernels/gemm_loops.h"

const cm_gemm CM_TABLE = {sizeof(uint16_t), CHANNELS, panel, product, NULL};
