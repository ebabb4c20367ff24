/* sums_f64.c - see the header; compiled once for each CPU level: the Makefile sets CM_TABLE, CM_LANES (of floats)
 * and the machine flags. */
#include "kernels/sums_f64.h"

#include <string.h>

enum { SIDE = CM_SUMS_SIDE, DOUBLES = CM_LANES / 2, ROWS = 4, WIDTH = 2 * DOUBLES };
typedef double vector __attribute__((vector_size(8 * DOUBLES)));

static inline vector load(const double *x)
{
    vector v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void store(double *x, vector v)
{
    memcpy(x, &v, sizeof v);
}

static inline vector add_product(vector c, double a, vector b)
{
    return c + a * b;
}

static inline vector add_square(vector c, double a, vector b)
{
    const vector d = a - b;
    return c + d * d;
}

/* Four rows of two vectors of sums; gcc keeps an array of them in memory, so they have names. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3)
#define GATHER(r) vector low##r = load(c + r * SIDE), high##r = load(c + r * SIDE + DOUBLES);
#define KEEP(r)                                                                                                      \
    store(c + r * SIDE, low##r);                                                                                     \
    store(c + r * SIDE + DOUBLES, high##r);
#define DEFINE_SUMS(name, term)                                                                                      \
    static void name##_of_rows(size_t depth, const double *a, const double *b, double *c)                            \
    {                                                                                                                \
        EACH_ROW(GATHER)                                                                                             \
        for (size_t k = 0; k < depth; k++, a += SIDE, b += SIDE) {                                                   \
            const vector b0 = load(b), b1 = load(b + DOUBLES);                                                       \
            low0 = term(low0, a[0], b0), high0 = term(high0, a[0], b1);                                              \
            low1 = term(low1, a[1], b0), high1 = term(high1, a[1], b1);                                              \
            low2 = term(low2, a[2], b0), high2 = term(high2, a[2], b1);                                              \
            low3 = term(low3, a[3], b0), high3 = term(high3, a[3], b1);                                              \
        }                                                                                                            \
        EACH_ROW(KEEP)                                                                                               \
    }                                                                                                                \
    static void name(size_t depth, const double *a, const double *b, double *c)                                      \
    {                                                                                                                \
        for (size_t j = 0; j < SIDE; j += WIDTH)                                                                     \
            for (size_t i = 0; i < SIDE; i += ROWS) name##_of_rows(depth, a + i, b + j, c + i * SIDE + j);           \
    }
DEFINE_SUMS(products, add_product)
DEFINE_SUMS(differences, add_square)

static inline double add_one_square(double c, double x, double y)
{
    const double d = x - y;
    return c + d * d;
}

static void four_differences(size_t depth, const float *x, const float *const y[4], double out[4])
{
    const float *y0 = y[0], *y1 = y[1], *y2 = y[2], *y3 = y[3];
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (size_t k = 0; k < depth; k++) {
        const double value = (double)x[k];
        s0 = add_one_square(s0, value, (double)y0[k]), s1 = add_one_square(s1, value, (double)y1[k]);
        s2 = add_one_square(s2, value, (double)y2[k]), s3 = add_one_square(s3, value, (double)y3[k]);
    }
    out[0] = s0, out[1] = s1, out[2] = s2, out[3] = s3;
}

const cm_sums_f64 CM_TABLE = {products, differences, four_differences};
