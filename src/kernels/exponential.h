/* exponential.h - exp x = 2^k p(r) with x = k ln 2 + r, written once for whatever `real` is where this is
 * included: a float, which compilers make vectors of, or a vector of 16.
 *
 * p has as many terms as the result needs: fewer where it is rounded to bfloat16. */
#ifndef CM_KERNELS_EXPONENTIAL_H
#define CM_KERNELS_EXPONENTIAL_H

#define CM_INLINE static inline __attribute__((always_inline))

/* Beyond these bounds exp x is no normal number. */
#define CM_EXP_LOWEST (-87.0f)
#define CM_EXP_HIGHEST 87.0f

/* x becomes r in [-ln2/2, ln2/2]; k + ROUNDER goes to *shifted. */
#define CM_EXP_ROUNDER 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, whose bits are the lowest */
CM_INLINE void exp_reduce(real *x, real *shifted)
{
    real k;
    *shifted = *x * 1.44269504f + CM_EXP_ROUNDER;
    k = *shifted - CM_EXP_ROUNDER;
    *x = *x - k * 0.693359375f;
    *x = *x + k * 2.12194440e-4f;
}

/* p to 5e-5, an eightieth of bfloat16's rounding. */
CM_INLINE void exp_terms_bf16(real *r)
{
    *r = (((*r * (1.0f / 24) + 1.0f / 6) * *r + 0.5f) * *r + 1.0f) * *r + 1.0f;
}

/* p to 2e-7, of the exponential's own series. */
CM_INLINE void exp_terms_series(real *r)
{
    const real p = ((*r * (1.0f / 720) + 1.0f / 120) * *r + 1.0f / 24) * *r + 1.0f / 6;
    *r = ((p * *r + 0.5f) * *r + 1.0f) * *r + 1.0f;
}

/* p to 1.05e-7: 1 + r + r^2 q(r) with the q of degree 3 whose largest relative error is the least, its terms in
 * pairs: one after the other they keep the processor waiting. */
CM_INLINE void exp_terms_pairs(real *r)
{
    const real r2 = *r * *r;
    const real q = (0.4999923110f + 0.1666711569f * *r) + r2 * (0.0418903306f + 0.0083125010f * *r);
    *r = (1.0f + *r) + r2 * q;
}

#endif
