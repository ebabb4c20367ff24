/* sums_f64.h - sums in double over one square of results, one table a CPU level. */
#ifndef CM_KERNELS_SUMS_F64_H
#define CM_KERNELS_SUMS_F64_H

#include <stddef.h>

enum { CM_SUMS_SIDE = 64 }; /* a square is [64][64], an operand [depth][64] */

typedef struct cm_sums_f64 {
    /* c[i][j] += a[k][i] b[k][j], one k after the other: however a sum is cut into calls, its bits are the same. */
    void (*products)(size_t depth, const double *a, const double *b, double *c);
    /* Likewise of (a[k][i] - b[k][j])^2. */
    void (*differences)(size_t depth, const double *a, const double *b, double *c);
    /* out[i] = sum over k < depth of (x[k] - y[i][k])^2, i < 4, with the bits of `differences`. */
    void (*four_differences)(size_t depth, const float *x, const float *const y[4], double out[4]);
} cm_sums_f64;

extern const cm_sums_f64 cmi_sums_f64_baseline, cmi_sums_f64_avx2, cmi_sums_f64_avx512;

#endif
