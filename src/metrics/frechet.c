/* frechet.c - the trace of (S S')^(1/2) without a square root of a matrix.
 *
 * S = P L L^T P^T by Cholesky's factors with pivots, L with as many columns as S has rank.  S S' then has the same
 * eigenvalues above zero as L^T (P^T S' P) L, which is symmetric and of the rank's size; the trace is the sum of
 * their square roots.  Covariances of fewer images than features lose no digits this way: no eigenvalue that ought
 * to be zero enters as the root of a rounding error. */
#include "metrics/frechet.h"

#include <math.h>
#include <string.h>

#include "metrics/tiles.h"

/* LAPACK, whose matrices stand column by column: our rows. */
void dpstrf_(const char *uplo, const int *n, double *a, const int *lda, int *pivots, int *rank,
             const double *tolerance, double *work, int *info, size_t uplo_length);
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
             const int *lwork, int *iwork, const int *liwork, int *info, size_t jobz_length, size_t uplo_length);

static const double EPSILON = 0x1p-52;

static double trace(size_t d, const double *s)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++) sum += s[i * d + i];
    return sum;
}

/* Files of others may hold float32: what is off by rounding, this share of the largest variance, is let pass. */
static const double ROUNDING = 1e-3;

/* |s_ij|^2 <= s_ii s_jj, which holds of every covariance. */
static cm_status check_correlations(const char *which, size_t d, const double *s, double slack)
{
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < i; j++)
            if (fabs(s[i * d + j]) > sqrt(s[i * d + i]) * sqrt(s[j * d + j]) + slack)
                CM_FAIL(CM_ERR_NUMERIC,
                        "frechet distance: the covariance of the %s set is none: features %zu and %zu have %g, and "
                        "their variances are %g and %g",
                        which, i, j, s[i * d + j], s[i * d + i], s[j * d + j]);
    return CM_OK;
}

/* What differs by rounding becomes symmetric, anything else is no covariance. */
static cm_status symmetrise(const char *which, size_t d, double *s)
{
    double largest = 0, apart = 0;
    for (size_t i = 0; i < d; i++) {
        if (s[i * d + i] < 0)
            CM_FAIL(CM_ERR_NUMERIC, "frechet distance: the variance of feature %zu of the %s set is %g", i, which,
                    s[i * d + i]);
        if (s[i * d + i] > largest) largest = s[i * d + i];
        for (size_t j = 0; j < i; j++) {
            apart = fmax(apart, fabs(s[i * d + j] - s[j * d + i]));
            s[i * d + j] = s[j * d + i] = (s[i * d + j] + s[j * d + i]) / 2;
        }
    }
    if (apart > ROUNDING * largest)
        CM_FAIL(CM_ERR_NUMERIC, "frechet distance: the covariance of the %s set is not symmetric (by %g of %g)",
                which, apart, largest);
    return check_correlations(which, d, s, ROUNDING * largest);
}

typedef struct {
    double *product; /* d x rank, then */
    double *squared; /* rank x rank    */
    double *permuted;
    double *eigenvalues, *work;
    int *pivots;
} space;

static void space_free(cm_context *context, space *w)
{
    cmi_free(context, w->product);
    cmi_free(context, w->squared);
    cmi_free(context, w->permuted);
    cmi_free(context, w->eigenvalues);
    cmi_free(context, w->work);
    cmi_free(context, w->pivots);
}

/* Rows of s become the columns of L, zero before the diagonal. */
static cm_status factor(cm_context *context, size_t d, double *s, space *w, size_t *rank)
{
    double largest = 0;
    int n = (int)d, r = 0, info = 0;
    for (size_t i = 0; i < d; i++) largest = fmax(largest, s[i * d + i]);
    const double tolerance = (double)d * EPSILON * largest;
    *rank = 0;
    w->pivots = cmi_calloc(context, d, sizeof *w->pivots);
    w->work = cmi_calloc(context, 2 * d, sizeof *w->work);
    if (!w->pivots || !w->work) return CM_ERR_MEMORY;
    if (!(largest > 0)) return CM_OK;
    dpstrf_("L", &n, s, &n, w->pivots, &r, &tolerance, w->work, &info, 1);
    if (info < 0) CM_FAIL(CM_ERR_INTERNAL, "frechet distance: dpstrf refuses argument %d", -info);
    *rank = (size_t)r;
    for (size_t k = 0; k < *rank; k++) memset(s + k * d, 0, k * sizeof *s);
    cmi_free(context, w->work);
    w->work = NULL;
    return CM_OK;
}

/* L^T (P^T other P) L, the lower squares of it. */
static cm_status multiply(cm_context *context, size_t d, size_t rank, const double *columns, const double *other,
                          space *w)
{
    const cm_square_sums products = cmi_tiles_sums(context)->products;
    const cm_operand factors = cmi_operand_matrix(columns, d, 1);
    w->permuted = cmi_malloc(context, d * d, sizeof *w->permuted);
    w->product = cmi_calloc(context, d * rank, sizeof *w->product);
    w->squared = cmi_calloc(context, rank * rank, sizeof *w->squared);
    if (!w->permuted || !w->product || !w->squared) return CM_ERR_MEMORY;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            w->permuted[i * d + j] = other[(size_t)(w->pivots[i] - 1) * d + (size_t)(w->pivots[j] - 1)];
    const cm_tiling first = {context, products, d, rank, d, rank, cmi_operand_matrix(w->permuted, d, 0), factors, 0};
    CM_TRY(cmi_tiles_add(&first, w->product));
    const cm_tiling second = {
        context, products, rank, rank, d, rank, factors, cmi_operand_matrix(w->product, rank, 0), 1};
    return cmi_tiles_add(&second, w->squared);
}

/* The sum of the roots of its eigenvalues. */
static cm_status root_trace(cm_context *context, size_t rank, double slack, space *w, double *out)
{
    const int n = (int)rank, liwork = 1, ask = -1;
    int iwork = 0, info = 0;
    double wanted = 0;
    w->eigenvalues = cmi_calloc(context, rank, sizeof *w->eigenvalues);
    if (!w->eigenvalues) return CM_ERR_MEMORY;
    dsyevd_("N", "U", &n, w->squared, &n, w->eigenvalues, &wanted, &ask, &iwork, &liwork, &info, 1, 1);
    if (wanted < 2 * (double)n + 1) wanted = 2 * (double)n + 1;
    const int lwork = wanted < 2e9 ? (int)wanted : 2000000000;
    w->work = cmi_malloc(context, (size_t)lwork, sizeof *w->work);
    if (!w->work) return CM_ERR_MEMORY;
    dsyevd_("N", "U", &n, w->squared, &n, w->eigenvalues, w->work, &lwork, &iwork, &liwork, &info, 1, 1);
    if (info != 0) CM_FAIL(CM_ERR_NUMERIC, "frechet distance: the eigenvalues of %d x %d did not converge", n, n);
    if (w->eigenvalues[0] < -ROUNDING * w->eigenvalues[rank - 1] - slack)
        CM_FAIL(
            CM_ERR_NUMERIC,
            "frechet distance: the covariance of the second set is none: a sum of features has a variance below 0");
    const double least = (double)rank * EPSILON * w->eigenvalues[rank - 1];
    *out = 0;
    for (size_t i = 0; i < rank; i++)
        if (w->eigenvalues[i] > least) *out += sqrt(w->eigenvalues[i]);
    return CM_OK;
}

static cm_status trace_of_root(cm_context *context, size_t d, double *a, const double *b, double *out)
{
    space w;
    size_t rank = 0;
    /* Of sets that share no direction all eigenvalues are rounding. */
    const double slack = 1e-3 * ROUNDING * trace(d, a) * trace(d, b);
    memset(&w, 0, sizeof w);
    *out = 0;
    cm_status status = factor(context, d, a, &w, &rank);
    if (status == CM_OK && rank) status = multiply(context, d, rank, a, b, &w);
    if (status == CM_OK && rank) status = root_trace(context, rank, slack, &w, out);
    space_free(context, &w);
    return status;
}

cm_status cmi_frechet(cm_context *context, size_t d, const double *mean_a, double *covariance_a, const double *mean_b,
                      double *covariance_b, double *out)
{
    double root, between = 0;
    CM_TRY(symmetrise("first", d, covariance_a));
    CM_TRY(symmetrise("second", d, covariance_b));
    const double traces = trace(d, covariance_a) + trace(d, covariance_b);
    for (size_t i = 0; i < d; i++) between += (mean_a[i] - mean_b[i]) * (mean_a[i] - mean_b[i]);
    CM_TRY(trace_of_root(context, d, covariance_a, covariance_b, &root));
    *out = between + (traces - 2 * root);
    if (!isfinite(*out)) CM_FAIL(CM_ERR_NUMERIC, "frechet distance: it is %g", *out);
    if (traces - 2 * root < -ROUNDING * traces) /* of covariances it is at least 0 */
        CM_FAIL(CM_ERR_NUMERIC,
                "frechet distance: one of the two matrices is no covariance: %g is left of variances %g",
                traces - 2 * root, traces);
    if (*out < 0) *out = 0; /* rounding, between sets that are the same */
    return CM_OK;
}

cm_status cmi_frechet_distance(const cm_statistics *a, const cm_statistics *b, double *out)
{
    const size_t d = (size_t)a->dimension;
    if (a->dimension != b->dimension)
        CM_FAIL(
            CM_ERR_SHAPE,
            "frechet distance: statistics of %d features and of %d do not compare: they are of different networks",
            a->dimension, b->dimension);
    CM_TRY(cmi_origin_compare("frechet distance", &a->origin, &b->origin));
    double *values = cmi_malloc(a->context, 2 * d * (d + 1), sizeof *values);
    if (!values) return CM_ERR_MEMORY;
    double *mean_b = values + d, *square_a = mean_b + d, *square_b = square_a + d * d;
    cm_status status = cmi_statistics_values(a, values, square_a);
    if (status == CM_OK) status = cmi_statistics_values(b, mean_b, square_b);
    if (status == CM_OK) status = cmi_frechet(a->context, d, values, square_a, mean_b, square_b, out);
    cmi_free(a->context, values);
    return status;
}
