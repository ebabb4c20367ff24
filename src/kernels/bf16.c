/* bf16.c - sums over tiles, compiled twice: with the instructions of AMX, and
 * written out.  Both add in the order that the manual gives TDPBF16PS - the even and the
 * odd channels of a tile apart, their sum to the result - so they differ in denormal
 * numbers only, which the instruction takes as zero. */
#include "kernels/amx_kernels.h"

#include <string.h>

#include "kernels/pointwise_bf16.h"

/* 16 outputs of one point. */
static inline void finish(const cm_amx_strip *s, const float *sum, size_t at, size_t k)
{
    vec v, more;
    memcpy(&v, sum, sizeof v);
    if (s->bias) {
        memcpy(&more, s->bias + k, sizeof more);
        v += more;
    }
    if (s->residual) {
        memcpy(&more, s->residual + at + k, sizeof more);
        v = (v + more) * s->scale;
    }
    if (s->y_bf16) {
        float values[16];
        memcpy(values, &v, sizeof values);
        round_values(16, values, (uint16_t *)s->y + at + k);
    } else {
        memcpy((float *)s->y + at + k, &v, sizeof v);
    }
}

/* One row of 32 sums to its point. */
static inline void finish_row(const cm_amx_strip *s, int32_t point, const float *sums)
{
    if (point < 0) return;
    size_t at = (size_t)point * s->oc;
    finish(s, sums, at, 0);
    if (s->width > 16) finish(s, sums + 16, at, 16);
}

#ifdef __AMX_BF16__
#include "kernels/amx_tiles.h"
#else
#include "kernels/amx_emulated.h"
#endif

const cm_amx_kernels CM_TABLE = {begin,     end,     strip,  outer,        taps,   pairs,
                                 transpose, softmax, affine, round_values, thirds, split};
