/* sums_f64.c - see the header; compiled once for each CPU level: the Makefile sets CM_TABLE, CM_LANES (of floats)
 * and the machine flags. */
#include "kernels/sums_f64.h"

#include <string.h>

enum { SIDE = CM_SUMS_SIDE, DOUBLES = CM_LANES / 2, WIDTH = 2 * DOUBLES };
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

/* Rows of two vectors of sums, as many as the registers hold; gcc keeps an array of them in memory, so they have
 * names. */
#if CM_LANES == 16
enum { ROWS = 8 };
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#else
enum { ROWS = 4 };
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3)
#endif
#define GATHER(r) vector low##r = load(c + r * SIDE), high##r = load(c + r * SIDE + DOUBLES);
#define KEEP(r)                                                                                                      \
    store(c + r * SIDE, low##r);                                                                                     \
    store(c + r * SIDE + DOUBLES, high##r);
#define ADD_PRODUCT(r) low##r = add_product(low##r, a[r], b0), high##r = add_product(high##r, a[r], b1);
#define ADD_SQUARE(r) low##r = add_square(low##r, a[r], b0), high##r = add_square(high##r, a[r], b1);
#define DEFINE_SUMS(name, ADD)                                                                                       \
    static void name##_of_rows(size_t depth, const double *a, const double *b, double *c)                            \
    {                                                                                                                \
        EACH_ROW(GATHER)                                                                                             \
        for (size_t k = 0; k < depth; k++, a += SIDE, b += SIDE) {                                                   \
            const vector b0 = load(b), b1 = load(b + DOUBLES);                                                       \
            EACH_ROW(ADD)                                                                                            \
        }                                                                                                            \
        EACH_ROW(KEEP)                                                                                               \
    }                                                                                                                \
    static void name(size_t depth, const double *a, const double *b, double *c)                                      \
    {                                                                                                                \
        for (size_t j = 0; j < SIDE; j += WIDTH)                                                                     \
            for (size_t i = 0; i < SIDE; i += ROWS) name##_of_rows(depth, a + i, b + j, c + i * SIDE + j);           \
    }
DEFINE_SUMS(products, ADD_PRODUCT)
DEFINE_SUMS(differences, ADD_SQUARE)

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
