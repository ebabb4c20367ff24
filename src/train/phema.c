/* phema.c - see the header. */
#include "train/phema.h"

#include <float.h>
#include <math.h>

/* Largest root of s^3 + 7 s^2 + (16 - 1/q^2) s + (12 - 1/q^2), by Newton from above. */
double cmi_power_exponent(double q)
{
    double a = 16 - 1 / (q * q), b = 12 - 1 / (q * q), s = 10 / q;
    for (int i = 0; i < 200; i++) {
        double f = ((s + 7) * s + a) * s + b, d = (3 * s + 14) * s + a;
        double next = s - f / d;
        if (fabs(next - s) <= 1e-15 * fabs(s)) break;
        s = next;
    }
    return s;
}

double cmi_power_std(double g)
{
    return sqrt((g + 1) / ((g + 2) * (g + 2) * (g + 3)));
}

/* Of ends a, b and exponents. */
static long double correlation(long double a, long double ga, long double b, long double gb)
{
    const long double ratio = powl(a / b, a < b ? gb : -ga);
    return (ga + 1) * (gb + 1) * ratio / ((ga + gb + 1) * fmaxl(a, b));
}

static long double profile_correlation(cm_profile a, cm_profile b)
{
    return correlation((long double)a.end, (long double)cmi_power_exponent(a.std), (long double)b.end,
                       (long double)cmi_power_exponent(b.std));
}

double cmi_profile_correlation(cm_profile a, cm_profile b)
{
    return (double)profile_correlation(a, b);
}

/* Rows and columns i and j change places in A (all of it is stored), B and the order. */
static void swap_lines(size_t n, long double *a, long double *b, size_t *order, size_t i, size_t j)
{
    if (i == j) return;
    for (size_t k = 0; k < n; k++) {
        const long double row = a[i * n + k];
        a[i * n + k] = a[j * n + k], a[j * n + k] = row;
    }
    for (size_t k = 0; k < n; k++) {
        const long double column = a[k * n + i];
        a[k * n + i] = a[k * n + j], a[k * n + j] = column;
    }
    const long double right = b[i];
    const size_t place = order[i];
    b[i] = b[j], b[j] = right;
    order[i] = order[j], order[j] = place;
}

/* A = L L^T in its lower half, the largest pivot that is left first; returns how many are above the noise of a
 * diagonal of ones. */
static size_t factorize(size_t n, long double *a, long double *b, size_t *order)
{
    const long double noise = (long double)n * LDBL_EPSILON;
    for (size_t k = 0; k < n; k++) {
        size_t best = k;
        for (size_t i = k + 1; i < n; i++)
            if (a[i * n + i] > a[best * n + best]) best = i;
        if (!(a[best * n + best] > noise)) return k;
        swap_lines(n, a, b, order, k, best);
        const long double pivot = a[k * n + k] = sqrtl(a[k * n + k]);
        for (size_t i = k + 1; i < n; i++) a[i * n + k] /= pivot;
        for (size_t i = k + 1; i < n; i++)
            for (size_t j = k + 1; j < n; j++) a[i * n + j] -= a[i * n + k] * a[j * n + k];
    }
    return n;
}

/* L L^T x = b, x in place of b, of the first r lines of n. */
static void substitute(size_t n, size_t r, const long double *a, long double *b)
{
    for (size_t i = 0; i < r; i++) {
        for (size_t k = 0; k < i; k++) b[i] -= a[i * n + k] * b[k];
        b[i] /= a[i * n + i];
    }
    for (size_t i = r; i-- > 0;) {
        for (size_t k = i + 1; k < r; k++) b[i] -= a[k * n + i] * b[k];
        b[i] /= a[i * n + i];
    }
    for (size_t i = r; i < n; i++) b[i] = 0;
}

/* Profiles are divided by their own sizes, so that those of early and late ones are comparable. */
static void fill(size_t n, const cm_profile *stored, cm_profile wanted, long double *a, long double *b, size_t *order,
                 long double *size)
{
    for (size_t i = 0; i < n; i++) size[i] = sqrtl(profile_correlation(stored[i], stored[i])), order[i] = i;
    for (size_t i = 0; i < n; i++) {
        b[i] = profile_correlation(stored[i], wanted) / size[i];
        for (size_t j = 0; j < n; j++) a[i * n + j] = profile_correlation(stored[i], stored[j]) / (size[i] * size[j]);
    }
}

static cm_status solve(size_t n, const cm_profile *stored, cm_profile wanted, long double *work, size_t *order,
                       double *weights)
{
    long double *a = work, *b = a + n * n, *size = b + n, sum = 0;
    fill(n, stored, wanted, a, b, order, size);
    substitute(n, factorize(n, a, b, order), a, b);
    for (size_t i = 0; i < n; i++) sum += b[i] / size[order[i]];
    for (size_t i = 0; i < n; i++) {
        const double weight = weights[order[i]] = (double)(b[i] / size[order[i]] / sum);
        if (!isfinite(weight))
            CM_FAIL(CM_ERR_NUMERIC,
                    "no sum of the stored averages comes near the profile that ends at %g with std %g", wanted.end,
                    wanted.std);
    }
    return CM_OK;
}

cm_status cmi_profile_weights(cm_context *context, size_t n, const cm_profile *stored, cm_profile wanted,
                              double *weights)
{
    long double *work = cmi_calloc(context, n * n + 2 * n, sizeof *work);
    size_t *order = cmi_calloc(context, n, sizeof *order);
    cm_status status = work && order ? solve(n, stored, wanted, work, order, weights) : CM_ERR_MEMORY;
    cmi_free(context, order);
    cmi_free(context, work);
    return status;
}
