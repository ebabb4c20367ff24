/* Distances and scores of sets of features: against loops straight from the formulas and closed forms, in parts, on
 * any number of threads, without memory; and the search for the point that is best by one of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu_level.h"
#include "kernels/kernels.h"
#include "metrics/scores.h"
#include "support/each_request.h"
#include "support/score_sets.h"
#include "support/scratch.h"

/* --- the loops --------------------------------------------------------------------------------- */

START_TEST(sums_of_squares)
{
    enum { SIDE = CM_SUMS_SIDE, DEPTH = 37 };
    static double a[DEPTH * SIDE], b[DEPTH * SIDE], c[SIDE * SIDE], found[SIDE * SIDE];
    uint64_t seed = seeded(11);
    for (int i = 0; i < DEPTH * SIDE; i++) a[i] = random_float(&seed), b[i] = random_float(&seed);
    for (int i = 0; i < SIDE * SIDE; i++) c[i] = random_float(&seed);
    for (int level = 0; tried(level) <= cmi_cpu_level(); level++)
        for (int kind = 0; kind < 2; kind++) {
            const cm_sums_f64 *sums = cmi_kernels_for(level)->sums;
            memcpy(found, c, sizeof c);
            (kind ? sums->differences : sums->products)(20, a, b, found);
            (kind ? sums->differences : sums->products)(DEPTH - 20, a + 20 * SIDE, b + 20 * SIDE, found);
            for (int i = 0; i < SIDE * SIDE; i++) {
                double sum = c[i];
                for (int k = 0; k < DEPTH; k++) {
                    const double x = a[k * SIDE + i / SIDE], y = b[k * SIDE + i % SIDE];
                    sum += kind ? (x - y) * (x - y) : x * y;
                }
                ck_assert_double_le(fabs(found[i] - sum), 1e-13);
            }
        }
}
END_TEST

/* One by one and in squares distances are the same. */
START_TEST(sums_of_four)
{
    enum { SIDE = CM_SUMS_SIDE, DEPTH = 203 };
    static float x[DEPTH], y[4][DEPTH];
    static double a[DEPTH * SIDE], b[DEPTH * SIDE];
    uint64_t seed = seeded(12);
    for (int k = 0; k < DEPTH; k++) {
        a[k * SIDE] = (double)(x[k] = random_float(&seed));
        for (int i = 0; i < 4; i++) b[k * SIDE + i] = (double)(y[i][k] = random_float(&seed));
    }
    for (int level = 0; tried(level) <= cmi_cpu_level(); level++) {
        const cm_sums_f64 *sums = cmi_kernels_for(level)->sums;
        static double square[SIDE * SIDE];
        double found[4];
        memset(square, 0, sizeof square);
        sums->differences(DEPTH, a, b, square);
        sums->four_differences(DEPTH, x, (const float *const[4]){y[0], y[1], y[2], y[3]}, found);
        for (int i = 0; i < 4; i++) ck_assert_double_eq(found[i], square[i]);
    }
}
END_TEST

/* --- mean and covariance ----------------------------------------------------------------------- */

START_TEST(moments_against_two_passes)
{
    static const struct {
        size_t n, d;
        float mean;
    } cases[] = {{2, 1, 0}, {5, 7, 0}, {130, 65, 0}, {300, 129, 1000}, {1000, 3, 30000}};
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
        const size_t n = cases[t].n, d = cases[t].d;
        float *x = random_rows(seeded(t + 1), n, d, cases[t].mean);
        double *mean = calloc(d * (d + 1), sizeof *mean), *covariance = mean + d;
        cm_statistics *s = statistics_of(context, n, d, x);
        OK(cm_statistics_values(s, mean, covariance));
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++) {
                double mi = 0, mj = 0, sum = 0;
                for (size_t k = 0; k < n; k++) mi += x[k * d + i], mj += x[k * d + j];
                mi /= (double)n, mj /= (double)n;
                for (size_t k = 0; k < n; k++) sum += (x[k * d + i] - mi) * (x[k * d + j] - mj);
                ck_assert_double_le(fabs(mean[i] - mi), 1e-13 * (1 + fabs(mi)));
                ck_assert_double_le(fabs(covariance[i * d + j] - sum / (double)(n - 1)), 1e-11);
            }
        cm_statistics_free(s);
        free(mean), free(x);
    }
}
END_TEST

/* However the images come, and on any number of threads. */
START_TEST(parts_and_threads_make_no_difference)
{
    enum { N = 211, D = 70 };
    float *x = random_rows(seeded(3), N, D, 5);
    static double whole[D * (D + 1)], found[D * (D + 1)];
    cm_statistics *s = statistics_of(context, N, D, x);
    OK(cm_statistics_values(s, whole, whole + D));
    cm_statistics_free(s);
    for (int threads = 1; threads <= 3; threads++) {
        cm_context *c;
        cm_context_options o = CM_CONTEXT_OPTIONS_INIT;
        o.threads = threads;
        OK(cm_context_create(&o, &c));
        OK(cm_statistics_create(c, D, &s));
        for (size_t at = 0, n; at < N; at += n) {
            n = (at * 7 + 1) % 40;
            if (n > N - at) n = N - at;
            OK(cm_statistics_add(s, n, x + at * D));
            if (!n) n = 1, OK(cm_statistics_add(s, n, x + at * D));
        }
        OK(cm_statistics_values(s, found, found + D));
        ck_assert_mem_eq(found, whole, sizeof whole);
        cm_statistics_free(s);
        cm_context_free(c);
    }
    free(x);
}
END_TEST

START_TEST(merged_is_gathered)
{
    enum { N = 90, D = 11 };
    float *x = random_rows(seeded(4), N, D, 100);
    static double whole[D * (D + 1)], found[D * (D + 1)];
    cm_statistics *all = statistics_of(context, N, D, x), *into, *part;
    OK(cm_statistics_values(all, whole, whole + D));
    OK(cm_statistics_create(context, D, &into));
    for (size_t at = 0; at < N; at += 30) {
        part = statistics_of(context, 30, D, x + at * D);
        OK(cm_statistics_merge(into, part));
        cm_statistics_free(part);
    }
    OK(cm_statistics_create(context, D, &part));
    OK(cm_statistics_merge(into, part)); /* nothing */
    OK(cm_statistics_values(into, found, found + D));
    for (size_t i = 0; i < D * (D + 1); i++) ck_assert_double_le(fabs(found[i] - whole[i]), 1e-12 * 101);
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    OK(cm_statistics_info_get(into, &info));
    ck_assert_uint_eq(info.count, N);
    ck_assert_int_eq(info.dimension, D);
    FAILS(cm_statistics_merge(into, into), CM_ERR_ARGUMENT, "themselves");
    cm_statistics_free(part);
    OK(cm_statistics_create(context, D + 1, &part));
    FAILS(cm_statistics_merge(into, part), CM_ERR_SHAPE, "12");
    cm_statistics_free(part);
    cm_statistics_free(into);
    cm_statistics_free(all);
    free(x);
}
END_TEST

START_TEST(what_cannot_be_gathered)
{
    cm_statistics *s, *given;
    float x[6] = {1, 2, 3, 4, NAN, 6};
    double mean[2] = {0, 0}, covariance[4] = {1, 0, 0, 1}, out;
    FAILS(cm_statistics_create(context, 0, &s), CM_ERR_ARGUMENT, "0 features");
    ck_assert_ptr_null(s);
    OK(cm_statistics_create(NULL, 2, &s));
    FAILS(cm_statistics_values(s, mean, NULL), CM_ERR_STATE, "0 images");
    OK(cm_statistics_add(s, 0, NULL));
    FAILS(cm_statistics_add(s, 3, x), CM_ERR_NUMERIC, "feature 0 of image 2");
    FAILS(cm_statistics_add(s, 3, NULL), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_statistics_add(s, SIZE_MAX / 2, x), CM_ERR_LIMIT, "do not fit");
    OK(cm_statistics_add(s, 1, x));
    OK(cm_statistics_values(s, mean, NULL));
    FAILS(cm_statistics_values(s, mean, covariance), CM_ERR_STATE, "1 image:");
    OK(cm_statistics_given(context, 2, 0, mean, covariance, &given));
    FAILS(cm_frechet_distance(given, s, &out), CM_ERR_STATE, "covariance needs two");
    FAILS(cm_statistics_add(given, 1, x), CM_ERR_STATE, "given");
    FAILS(cm_statistics_merge(s, given), CM_ERR_STATE, "given");
    cm_statistics_free(given);
    covariance[2] = INFINITY;
    FAILS(cm_statistics_given(context, 2, 0, mean, covariance, &given), CM_ERR_NUMERIC, "(1, 0)");
    ck_assert_ptr_null(given);
    cm_statistics_free(s);
    cm_statistics_free(NULL);
}
END_TEST

/* --- Frechet ----------------------------------------------------------------------------------- */

/* Of y = c x + b: |(c - 1) mu + b|^2 + (c - 1)^2 tr S, for more images than features and for fewer. */
START_TEST(distance_of_what_is_scaled)
{
    static const size_t sizes[][2] = {{200, 5}, {300, 70}, {40, 70}, {3, 130}, {2, 1}};
    for (size_t t = 0; t < sizeof sizes / sizeof *sizes; t++) {
        const size_t n = sizes[t][0], d = sizes[t][1];
        float *x = random_rows(seeded(20 + t), n, d, 1), *y = malloc(n * d * sizeof *y);
        for (size_t i = 0; i < n * d; i++) y[i] = 1.5f * x[i] + 0.25f;
        double *mean = calloc(d * (d + 1), sizeof *mean), expected = 0;
        cm_statistics *a = statistics_of(context, n, d, x), *b = statistics_of(context, n, d, y);
        OK(cm_statistics_values(a, mean, mean + d));
        for (size_t i = 0; i < d; i++) expected += pow(0.5 * mean[i] + 0.25, 2) + 0.25 * mean[d + i * d + i];
        ck_assert_double_le(relative(distance_of(a, b), expected), 1e-6); /* y is rounded to float32 */
        ck_assert_double_le(relative(distance_of(a, b), distance_of(b, a)), 1e-10);
        ck_assert_double_le(distance_of(a, a), 1e-9);
        cm_statistics_free(a);
        cm_statistics_free(b);
        free(mean), free(x), free(y);
    }
}
END_TEST

START_TEST(distance_of_given_covariances)
{
    double zero[4] = {0}, mean[4] = {1, 2, 3, 4}, a[16] = {0}, b[16] = {0}, none[16] = {0}, out;
    const double va[4] = {4, 9, 0, 1}, vb[4] = {1, 16, 25, 0};
    for (int i = 0; i < 4; i++) a[5 * i] = va[i], b[5 * i] = vb[i];
    cm_statistics *x, *y, *n;
    OK(cm_statistics_given(context, 4, 7, mean, a, &x));
    OK(cm_statistics_given(context, 4, 0, zero, b, &y));
    OK(cm_statistics_given(context, 4, 0, zero, none, &n));
    ck_assert_double_eq_tol(distance_of(x, y), 30 + 1 + 1 + 25 + 1, 1e-12);
    ck_assert_double_eq_tol(distance_of(x, n), 30 + 14, 1e-12);
    ck_assert_double_eq_tol(distance_of(n, x), 30 + 14, 1e-12);
    ck_assert_double_eq(distance_of(n, n), 0);
    cm_statistics_free(y);
    b[1] = 3; /* and b[4] 0 */
    OK(cm_statistics_given(context, 4, 0, zero, b, &y));
    FAILS(cm_frechet_distance(x, y, &out), CM_ERR_NUMERIC, "second set is not symmetric");
    cm_statistics_free(y);
    b[1] = 0, b[5] = -1;
    OK(cm_statistics_given(context, 4, 0, zero, b, &y));
    FAILS(cm_frechet_distance(y, x, &out), CM_ERR_NUMERIC, "variance of feature 1 of the first set is -1");
    cm_statistics_free(y);
    b[1] = b[4] = 5, b[5] = 16; /* variances 1 and 16 */
    OK(cm_statistics_given(context, 4, 0, zero, b, &y));
    FAILS(cm_frechet_distance(x, y, &out), CM_ERR_NUMERIC, "second set is none: features 1 and 0 have 5");
    FAILS(cm_frechet_distance(y, x, &out), CM_ERR_NUMERIC, "first set is none: features 1 and 0 have 5");
    cm_statistics_free(y);
    for (int i = 0; i < 16; i++) b[i] = i % 5 ? -0.5 : 1; /* the sum of all has 4 - 12 / 2 = -2 */
    OK(cm_statistics_given(context, 4, 0, zero, b, &y));
    for (int i = 0; i < 16; i++) b[i] = i % 5 ? 0.5 : 1;
    cm_statistics_free(n);
    OK(cm_statistics_given(context, 4, 0, zero, b, &n));
    FAILS(cm_frechet_distance(n, y, &out), CM_ERR_NUMERIC, "second set is none: a sum of features");
    cm_statistics_free(y);
    cm_statistics_free(n);
    const double u[4] = {1 / 3.0, 2 / 3.0, 1, 4 / 3.0}, v[4] = {2 / 7.0, -1 / 7.0, 4 / 7.0, -3 / 7.0};
    double apart[16]; /* variances along u and along v, which share no direction */
    for (int i = 0; i < 16; i++) b[i] = u[i / 4] * u[i % 4], apart[i] = v[i / 4] * v[i % 4];
    OK(cm_statistics_given(context, 4, 0, zero, b, &n));
    OK(cm_statistics_given(context, 4, 0, zero, apart, &y));
    ck_assert_double_eq_tol(distance_of(n, y), 30 / 9.0 + 30 / 49.0, 1e-6);
    ck_assert_double_eq_tol(distance_of(y, n), 30 / 9.0 + 30 / 49.0, 1e-6);
    cm_statistics_free(y);
    FAILS(cm_statistics_given(context, 4, UINT64_MAX, zero, b, &y), CM_ERR_ARGUMENT, "at most 9007199254740992");
    OK(cm_statistics_create(context, 5, &y));
    FAILS(cm_frechet_distance(x, y, &out), CM_ERR_SHAPE, "4 features and of 5");
    cm_statistics_free(y);
    cm_statistics_free(x);
    cm_statistics_free(n);
}
END_TEST

/* Both sets come from one distribution, whose distance at infinity is 0. */
START_TEST(subsets_and_infinity)
{
    enum { N = 2000, D = 12 };
    float *x = random_rows(seeded(30), N, D, 0), *many = random_rows(seeded(31), 20 * N, D, 0);
    cm_statistics *reference = statistics_of(context, 20 * N, D, many), *s = statistics_of(context, N, D, x);
    cm_subset_options o = CM_SUBSET_OPTIONS_INIT;
    double mean, deviation, again, infinite;
    o.size = 200;
    o.subsets = 20;
    OK(cm_frechet_subsets(reference, N, x, &o, &mean, &deviation));
    const double all = distance_of(reference, s);
    ck_assert_double_gt(mean, 4 * all);
    ck_assert(deviation > 0.01 * mean && deviation < mean);
    OK(cm_frechet_subsets(reference, N, x, &o, &again, NULL));
    ck_assert_double_eq(again, mean);
    o.seed = 1;
    OK(cm_frechet_subsets(reference, N, x, &o, &again, NULL));
    ck_assert(again != mean && relative(again, mean) < 0.3);
    OK(cm_frechet_infinity(reference, N, x, NULL, &infinite));
    ck_assert_double_le(fabs(infinite), all / 2);
    o.size = N;
    o.subsets = 2; /* of all images: the distance itself, in another order */
    OK(cm_frechet_subsets(reference, N, x, &o, &mean, &deviation));
    ck_assert_double_le(relative(mean, all), 1e-10);
    FAILS(cm_frechet_infinity(reference, N, x, &o, &mean), CM_ERR_ARGUMENT, "different sizes");
    o.size = N + 1;
    FAILS(cm_frechet_subsets(reference, N, x, &o, &mean, &deviation), CM_ERR_ARGUMENT, "2001");
    o.size = -1;
    FAILS(cm_frechet_subsets(reference, N, x, &o, &mean, &deviation), CM_ERR_ARGUMENT, "-1");
    cm_statistics_free(reference);
    cm_statistics_free(s);
    free(x), free(many);
}
END_TEST

/* Every number of a subset is there once, and all subsets are about as likely. */
START_TEST(subsets_are_even)
{
    uint32_t order[10], seen[10] = {0};
    for (uint32_t i = 0; i < 3000; i++) {
        cmi_subset(seeded(5), i, 10, 3, order);
        for (int k = 0; k < 3; k++) {
            ck_assert_uint_lt(order[k], 10);
            for (int j = 0; j < k; j++) ck_assert_uint_ne(order[j], order[k]);
            seen[order[k]]++;
        }
    }
    for (int k = 0; k < 10; k++) ck_assert(seen[k] > 900 - 130 && seen[k] < 900 + 130); /* 5 deviations */
}
END_TEST

/* --- the kernel distance ----------------------------------------------------------------------- */

static double kernel(size_t d, const float *x, const float *y)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++) sum += (double)x[k] * (double)y[k];
    return pow(sum / (double)d + 1, 3);
}

START_TEST(kernel_distance_against_the_formula)
{
    enum { N = 70, D = 9 };
    float *x = random_rows(seeded(40), N, D, 0), *y = random_rows(seeded(41), N, D, 0.5f);
    double own = 0, between = 0, mean, deviation;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            if (i != j) own += kernel(D, x + i * D, x + j * D) + kernel(D, y + i * D, y + j * D);
            between += kernel(D, x + i * D, y + j * D);
        }
    cm_subset_options o = CM_SUBSET_OPTIONS_INIT;
    o.subsets = 3; /* of all */
    OK(cm_kernel_distance(context, D, N, x, N, y, &o, &mean, &deviation));
    ck_assert_double_eq_tol(mean, own / (N * (N - 1.0)) - 2 * between / (N * (double)N), 1e-12);
    ck_assert_double_le(deviation, 1e-12);
    o.size = 20;
    o.subsets = 50;
    OK(cm_kernel_distance(context, D, N, x, N, y, &o, &own, &deviation));
    ck_assert(fabs(own - mean) < deviation && deviation > 0);
    o.size = N + 1;
    FAILS(cm_kernel_distance(context, D, N, x, N, y, &o, &own, NULL), CM_ERR_ARGUMENT, "71 images");
    FAILS(cm_kernel_distance(context, D, 1, x, N, y, NULL, &own, NULL), CM_ERR_ARGUMENT, "two images in each set");
    o.size = 0;
    x[4] = NAN;
    FAILS(cm_kernel_distance(context, D, N, x, N, y, &o, &own, NULL), CM_ERR_NUMERIC, "first set");
    free(x), free(y);
}
END_TEST

/* --- scores ------------------------------------------------------------------------------------ */

START_TEST(inception_scores)
{
    enum { CLASSES = 10, N = 40 };
    static float sure[N * CLASSES], flat[N * CLASSES], p[N * CLASSES];
    for (int i = 0; i < N; i++) sure[i * CLASSES + i % CLASSES] = 2000; /* others underflow to 0 */
    for (int i = 0; i < N; i++) p[i * CLASSES + i % CLASSES] = 1;
    cm_score_options o = CM_SCORE_OPTIONS_INIT;
    double score, deviation;
    OK(cm_inception_score(context, CLASSES, N, sure, NULL, &score, &deviation));
    ck_assert_double_eq_tol(score, CLASSES, 1e-12);
    ck_assert_double_eq(deviation, 0);
    OK(cm_inception_score(context, CLASSES, N, flat, NULL, &score, NULL));
    ck_assert_double_eq_tol(score, 1, 1e-12);
    o.split = 15; /* 10 classes, 10 classes, and the last ten images */
    OK(cm_inception_score(context, CLASSES, N, sure, &o, &score, &deviation));
    double parts[3] = {0};
    for (int k = 0; k < 2; k++) { /* five classes twice, five once */
        const double often = 2.0 / 15, once = 1.0 / 15;
        parts[k] = exp(-5 * often * log(often) - 5 * once * log(once));
    }
    parts[2] = 10;
    ck_assert_double_eq_tol(score, (parts[0] + parts[1] + parts[2]) / 3, 1e-12);
    ck_assert_double_gt(deviation, 0);
    o.split = 0;
    o.probabilities = 1;
    OK(cm_inception_score(context, CLASSES, N, p, &o, &score, NULL));
    ck_assert_double_eq_tol(score, CLASSES, 1e-12);
    FAILS(cm_inception_score(context, CLASSES, N, sure, &o, &score, NULL), CM_ERR_ARGUMENT, "add up to 2000");
    p[3] = -1;
    FAILS(cm_inception_score(context, CLASSES, N, p, &o, &score, NULL), CM_ERR_ARGUMENT, "probability 3 of image 0");
    o.probabilities = 2;
    FAILS(cm_inception_score(context, CLASSES, N, p, &o, &score, NULL), CM_ERR_ARGUMENT, "probabilities is 2");
    FAILS(cm_inception_score(context, CLASSES, 0, p, NULL, &score, NULL), CM_ERR_ARGUMENT, "features of 0 images");
    p[7] = INFINITY;
    FAILS(cm_inception_score(context, CLASSES, N, p, NULL, &score, NULL), CM_ERR_NUMERIC, "feature 7");
}
END_TEST

/* --- neighbours -------------------------------------------------------------------------------- */

static double apart(size_t d, const float *x, const float *y)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++) sum += ((double)x[k] - (double)y[k]) * ((double)x[k] - (double)y[k]);
    return sum;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The share of b within a, straight from the definition. */
static double covered(size_t d, size_t na, const float *a, size_t nb, const float *b, int k)
{
    double *radius = malloc(na * sizeof *radius), *row = malloc(na * sizeof *row);
    size_t inside = 0;
    for (size_t i = 0; i < na; i++) {
        for (size_t j = 0; j < na; j++) row[j] = apart(d, a + i * d, a + j * d);
        qsort(row, na, sizeof *row, by_value);
        radius[i] = row[k];
    }
    for (size_t i = 0; i < nb; i++) {
        int found = 0;
        for (size_t j = 0; j < na; j++) found |= apart(d, a + j * d, b + i * d) <= radius[j];
        inside += (size_t)found;
    }
    free(radius), free(row);
    return (double)inside / (double)nb;
}

START_TEST(precision_and_recall_against_the_definition)
{
    static const struct {
        size_t n, m, d;
        int k;
        float shift;
    } cases[] = {{150, 131, 5, 3, 0.5f}, {65, 64, 3, 1, 0}, {200, 10, 130, 5, 1}, {4, 5, 1, 3, 1}};
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
        const size_t n = cases[t].n, m = cases[t].m, d = cases[t].d;
        float *a = random_rows(seeded(50 + t), n, d, 0), *b = random_rows(seeded(60 + t), m, d, cases[t].shift);
        memcpy(b, a, d * sizeof *b); /* a point of both */
        for (size_t i = 0; i < 4 && n > 100; i++) memcpy(a + (10 + i) * d, a + 9 * d, d * sizeof *a); /* radius 0 */
        cm_neighbour_options o = CM_NEIGHBOUR_OPTIONS_INIT;
        double precision, recall;
        o.neighbours = cases[t].k;
        OK(cm_precision_recall(context, (int32_t)d, n, a, m, b, &o, &precision, &recall));
        ck_assert_double_eq(precision, covered(d, n, a, m, b, cases[t].k));
        ck_assert_double_eq(recall, covered(d, m, b, n, a, cases[t].k));
        o.neighbours = (int32_t)(n < m ? n : m);
        if (o.neighbours <= 64)
            FAILS(cm_precision_recall(context, (int32_t)d, n, a, m, b, &o, &precision, &recall), CM_ERR_ARGUMENT,
                  "need");
        o.neighbours = 65;
        FAILS(cm_precision_recall(context, (int32_t)d, n, a, m, b, &o, &precision, &recall), CM_ERR_ARGUMENT,
              "1..64");
        b[0] = NAN;
        FAILS(cm_precision_recall(context, (int32_t)d, n, a, m, b, NULL, &precision, &recall), CM_ERR_NUMERIC,
              "samples");
        free(a), free(b);
    }
}
END_TEST

/* Rows of whole numbers times `unit`, whose squared distances are exact in double. */
static float *whole_rows(uint64_t seed, size_t n, size_t d, int kind, float unit)
{
    float *x = calloc(n * d, sizeof *x);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++) {
            const float chance = (float)(int)(random_float(&seed) * 3);
            float value = chance;                                        /* many are the same */
            if (kind == 1) value = k == i % d ? 1048576.0f + chance : 0; /* all about equally far apart */
            if (kind == 2) value = 8388608.0f + chance;                  /* far from zero */
            if (kind == 3) value = (k + i) % 2 ? 1.0f + chance / 64 : -1 - chance / 64;
            if (kind == 4 && i == 0) value = 1048576.0f; /* one that draws the mean away */
            x[i * d + k] = value * unit;
        }
    return x;
}

/* Radii and membership that no float32 sum could settle. */
START_TEST(neighbours_that_are_nearly_tied)
{
    enum { N = 310, M = 130 };
    static const struct {
        size_t d;
        int kind;
        float unit;
    } cases[] = {{3, 0, 1},        {37, 0, 1},         {150, 1, 1},       {450, 1, 1},        {33, 2, 1},
                 {64, 2, 0.25f},   {6, 3, 0x1p126f},   {130, 3, 0x1p62f}, {40, 0, 0x1p-149f}, {150, 1, 0x1p-149f},
                 {9, 0, 0x1p-70f}, {150, 1, 0x1p100f}, {20, 4, 1}};
    static double radii[N], row[N];
    static unsigned char inside[M];
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
        const size_t d = cases[t].d;
        const int k = 3 + (int)(t % 3);
        float *a = whole_rows(seeded(300 + t), N, d, cases[t].kind, cases[t].unit);
        float *b = whole_rows(seeded(400 + t), M, d, cases[t].kind, cases[t].unit);
        const cm_feature_set set = {N, d, a}, points = {M, d, b};
        OK(cmi_radii(context, &set, k, radii));
        OK(cmi_inside(context, &set, radii, &points, inside));
        for (size_t i = 0; i < N; i++) {
            for (size_t j = 0; j < N; j++) row[j] = apart(d, a + i * d, a + j * d);
            qsort(row, N, sizeof *row, by_value);
            ck_assert_msg(radii[i] == row[k], "case %zu, radius %zu is %.17g, expected %.17g", t, i, radii[i],
                          row[k]);
        }
        for (size_t i = 0; i < M; i++) {
            int found = 0;
            for (size_t j = 0; j < N; j++) found |= apart(d, a + j * d, b + i * d) <= radii[j];
            ck_assert_msg(inside[i] == found, "case %zu, point %zu", t, i);
        }
        cm_neighbour_options o = CM_NEIGHBOUR_OPTIONS_INIT;
        double precision, recall;
        o.neighbours = k;
        OK(cm_precision_recall(context, (int32_t)d, N, a, M, b, &o, &precision, &recall));
        ck_assert_double_eq(precision, covered(d, N, a, M, b, k));
        ck_assert_double_eq(recall, covered(d, M, b, N, a, k));
        free(a), free(b);
    }
}
END_TEST

/* --- without memory ---------------------------------------------------------------------------- */

static cm_status everything(cm_context *c, const char *path)
{
    static float x[40 * 6], y[30 * 6];
    uint64_t seed = 9;
    double a, b;
    cm_statistics *first = NULL, *second = NULL, *read = NULL;
    cm_subset_options o = CM_SUBSET_OPTIONS_INIT;
    o.subsets = 2;
    for (int i = 0; i < 240; i++) x[i] = random_float(&seed);
    for (int i = 0; i < 180; i++) y[i] = random_float(&seed);
    cm_status status = cm_statistics_create(c, 6, &first);
    if (status == CM_OK) status = cm_statistics_create(c, 6, &second);
    if (status == CM_OK) status = cm_statistics_add(first, 40, x);
    if (status == CM_OK) status = cm_statistics_add(second, 30, y);
    if (status == CM_OK) status = cm_frechet_distance(first, second, &a);
    if (status == CM_OK) status = cm_statistics_write(first, second, path, CM_OVERWRITE_YES);
    if (status == CM_OK) status = cm_statistics_read(c, path, "_s", &read);
    if (status == CM_OK) status = cm_frechet_subsets(first, 30, y, &o, &a, &b);
    if (status == CM_OK) status = cm_frechet_infinity(first, 30, y, &o, &a);
    if (status == CM_OK) status = cm_kernel_distance(c, 6, 40, x, 30, y, &o, &a, &b);
    if (status == CM_OK) status = cm_inception_score(c, 6, 40, x, NULL, &a, &b);
    if (status == CM_OK) status = cm_precision_recall(c, 6, 40, x, 30, y, NULL, &a, &b);
    cm_features *network = NULL;
    static uint8_t pixels[9 * 28 * 28];
    static float rows[9 * 64];
    const cm_images images = cm_images_u8(9, 28, 28, 1, pixels);
    if (status == CM_OK) status = cm_features_open(c, "models/features/lenet.safetensors", NULL, &network);
    if (status == CM_OK) status = cm_features_run(network, &images, rows, NULL);
    cm_samples_options samples = CM_SAMPLES_OPTIONS_INIT;
    const int32_t labels[9] = {0};
    samples.overwrite = CM_OVERWRITE_YES;
    if (status == CM_OK) status = cm_samples_write(c, path, &images, labels, &samples);
    cm_features_free(network);
    cm_statistics_free(read);
    cm_statistics_free(first);
    cm_statistics_free(second);
    return status;
}

START_TEST(every_request_for_memory_fails_once)
{
    fail_each_request(everything, in_dir("memory.npz"), 40);
}
END_TEST

/* --- the search for a time point --------------------------------------------------------------- */

typedef struct {
    int32_t best, n, stop; /* stop: at this call; 0: never */
    int32_t asked[128];
    double sign;
    uint64_t done, total;
} hill;

static int32_t height(void *user, int32_t point, double *score)
{
    hill *h = user;
    for (int32_t i = 0; i < h->n; i++) ck_assert_int_ne(h->asked[i], point);
    h->asked[h->n++] = point;
    *score = h->sign * (point < h->best ? 3.0 * (h->best - point) : (double)point - h->best);
    return h->n == h->stop;
}

static int32_t height_is_known(void *user, uint64_t done, uint64_t total)
{
    hill *h = user;
    ck_assert(done >= h->done && done <= total && (!h->total || total == h->total));
    h->done = done;
    h->total = total;
    return 0;
}

/* Every interval of up to 60 points with every best point, and some wide ones. */
START_TEST(search_finds_the_lowest_point)
{
    cm_search_options o = CM_SEARCH_OPTIONS_INIT;
    for (int32_t right = 5; right < 65; right++)
        for (int32_t target = 5; target <= right; target++) {
            hill h = {.best = target, .sign = target % 2 ? 1 : -1};
            int32_t best = -1;
            o.left = 5, o.right = right, o.larger = target % 2 ? 0 : 1;
            o.progress = height_is_known, o.progress_user = &h;
            OK(cm_search_point(&o, height, &h, &best));
            ck_assert_int_eq(best, target);
            ck_assert(right == 5 || (h.done == h.total && h.n > 0));
            ck_assert_int_eq(h.n == 0, right == 5);
        }
    for (int32_t k = 0; k < 200; k++) {
        hill h = {.best = (int32_t)(k * 10737418LL), .sign = 1};
        int32_t best = -1;
        o.left = 0, o.right = INT32_MAX, o.larger = 0, o.progress_user = &h;
        OK(cm_search_point(&o, height, &h, &best));
        ck_assert_int_eq(best, h.best);
        ck_assert_int_le(h.n, 110);
    }
}
END_TEST

static int32_t flat(void *user, int32_t point, double *score)
{
    (void)point;
    *score = *(const double *)user;
    return 0;
}

static int32_t fails(void *user, int32_t point, double *score)
{
    cm_statistics *none;
    (void)user, (void)point, (void)score;
    return cm_statistics_create(NULL, -7, &none);
}

START_TEST(searches_that_end_early)
{
    cm_search_options o = CM_SEARCH_OPTIONS_INIT;
    hill h = {.best = 4, .sign = 1, .stop = 3};
    double level = 1;
    int32_t best = -1;
    o.right = 2;
    OK(cm_search_point(&o, flat, &level, &best)); /* of equal ones the smallest */
    ck_assert_int_eq(best, 0);
    o.right = 39;
    FAILS(cm_search_point(&o, height, &h, &best), CM_ERR_CANCELLED, "at point");
    ck_assert_int_eq(h.n, 3);
    level = NAN;
    FAILS(cm_search_point(&o, flat, &level, &best), CM_ERR_NUMERIC, "point 13 is NaN");
    FAILS(cm_search_point(&o, fails, NULL, &best), CM_ERR_ARGUMENT, "-7"); /* the message of what failed */
    level = INFINITY;
    OK(cm_search_point(&o, flat, &level, &best));
    o.left = 40;
    FAILS(cm_search_point(&o, flat, &level, &best), CM_ERR_ARGUMENT, "left is 40 and right is 39");
    o.left = -1;
    FAILS(cm_search_point(&o, flat, &level, &best), CM_ERR_ARGUMENT, "left is -1");
    o.left = 0, o.larger = 2;
    FAILS(cm_search_point(&o, flat, &level, &best), CM_ERR_ARGUMENT, "larger is 2");
    FAILS(cm_search_point(NULL, flat, &level, &best), CM_ERR_ARGUMENT, "options is NULL");
    o.larger = 0;
    FAILS(cm_search_point(&o, NULL, &level, &best), CM_ERR_ARGUMENT, "score is NULL");
    FAILS(cm_search_point(&o, flat, &level, NULL), CM_ERR_ARGUMENT, "best is NULL");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("metrics");
    TCase *t = tcase_create("metrics");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, sums_of_squares);
    tcase_add_test(t, sums_of_four);
    tcase_add_test(t, moments_against_two_passes);
    tcase_add_test(t, parts_and_threads_make_no_difference);
    tcase_add_test(t, merged_is_gathered);
    tcase_add_test(t, what_cannot_be_gathered);
    tcase_add_test(t, distance_of_what_is_scaled);
    tcase_add_test(t, distance_of_given_covariances);
    tcase_add_test(t, subsets_and_infinity);
    tcase_add_test(t, subsets_are_even);
    tcase_add_test(t, kernel_distance_against_the_formula);
    tcase_add_test(t, inception_scores);
    tcase_add_test(t, precision_and_recall_against_the_definition);
    tcase_add_test(t, neighbours_that_are_nearly_tied);
    tcase_add_test(t, every_request_for_memory_fails_once);
    tcase_add_test(t, search_finds_the_lowest_point);
    tcase_add_test(t, searches_that_end_early);
    suite_add_tcase(s, t);
    return s;
}
