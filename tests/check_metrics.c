/* Distances and scores of sets of features: against loops straight from the formulas and closed forms, in parts, on
 * any number of threads, to and from files, without memory. */
#include "support/backbone.h"
#include "support/files.h"
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/context.h"
#include "base/cpu_level.h"
#include "io/npz.h"
#include "kernels/kernels.h"
#include "metrics/scores.h"
#include "support/formula_weights.h"
#include "support/memory.h"

static char dir[40];
static cm_context *context;

static void setup(void)
{
    strcpy(dir, "/tmp/cm-metrics-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    char command[128];
    cm_context_free(context);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static const char *in_dir(const char *name)
{
    static char path[4][128];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

/* n rows of d numbers around `mean`. */
static float *random_rows(uint64_t seed, size_t n, size_t d, float mean)
{
    float *x = malloc((n * d + 1) * sizeof *x);
    for (size_t i = 0; i < n * d; i++) x[i] = mean + random_float(&seed) * (1 + (float)(i % 3));
    return x;
}

static cm_statistics *statistics_of(cm_context *c, size_t n, size_t d, const float *x)
{
    cm_statistics *s = NULL;
    OK(cm_statistics_create(c, (int32_t)d, &s));
    OK(cm_statistics_add(s, n, x));
    return s;
}

static double distance_of(const cm_statistics *a, const cm_statistics *b)
{
    double out = NAN;
    OK(cm_frechet_distance(a, b, &out));
    return out;
}

static double relative(double found, double expected)
{
    return fabs(found - expected) / fabs(expected);
}

/* --- the loops -------------------------------------------------------------------- */

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

/* --- mean and covariance ------------------------------------------------------------ */

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

/* --- Frechet ------------------------------------------------------------------------- */

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

/* --- the kernel distance ---------------------------------------------------------------- */

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

/* --- scores -------------------------------------------------------------------------------- */

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
    FAILS(cm_inception_score(context, CLASSES, 0, p, NULL, &score, NULL), CM_ERR_ARGUMENT, "no images");
    p[7] = INFINITY;
    FAILS(cm_inception_score(context, CLASSES, N, p, NULL, &score, NULL), CM_ERR_NUMERIC, "feature 7");
}
END_TEST

/* --- neighbours ------------------------------------------------------------------------------- */

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

/* --- files --------------------------------------------------------------------------------------- */

START_TEST(statistics_through_a_file)
{
    enum { D = 5, S = 3 };
    float *x = random_rows(seeded(70), 20, D, 3), *z = random_rows(seeded(71), 20, S, 3);
    cm_statistics *a = statistics_of(context, 20, D, x), *b = statistics_of(context, 20, S, z), *back;
    double before[D * (D + 1)], after[D * (D + 1)];
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    const char *path = in_dir("both.npz");
    OK(cm_statistics_write(a, b, path, CM_OVERWRITE_NO));
    FAILS(cm_statistics_write(a, b, path, CM_OVERWRITE_NO), CM_ERR_IO, "both.npz");
    OK(cm_statistics_write(a, b, path, CM_OVERWRITE_YES));
    OK(cm_statistics_read(NULL, path, NULL, &back));
    OK(cm_statistics_info_get(back, &info));
    ck_assert_uint_eq(info.count, 20);
    OK(cm_statistics_values(a, before, before + D));
    OK(cm_statistics_values(back, after, after + D));
    ck_assert_mem_eq(after, before, sizeof before);
    ck_assert_double_le(distance_of(a, back), 1e-12);
    cm_statistics_free(back);
    OK(cm_statistics_read(context, path, "_s", &back));
    OK(cm_statistics_info_get(back, &info));
    ck_assert_int_eq(info.dimension, S);
    OK(cm_statistics_values(b, before, before + S));
    OK(cm_statistics_values(back, after, after + S));
    ck_assert_mem_eq(after, before, S * (S + 1) * sizeof *before);
    cm_statistics_free(back);
    cm_statistics_free(a);
    OK(cm_statistics_create(context, D, &a));
    FAILS(cm_statistics_write(a, NULL, in_dir("none.npz"), CM_OVERWRITE_NO), CM_ERR_STATE, "0 images");
    ck_assert_int_ne(access(in_dir("none.npz"), F_OK), 0);
    cm_statistics_free(a);
    cm_statistics_free(b);
    free(x), free(z);
}
END_TEST

/* Statistics of one feature that is wrong in one way. */
static const char *write_arrays(const char *name, size_t n, const cm_npz_array *arrays)
{
    const char *path = in_dir(name);
    OK(cmi_npz_write(context, path, 1, arrays, n));
    return path;
}

START_TEST(statistics_that_are_refused)
{
    const double mean[2] = {1, 2}, covariance[4] = {1, 0, 0, 1}, bad[4] = {1, 0, NAN, 1};
    const uint8_t pixels[12] = {0};
    const cm_npz_array mu = {"mu", "<f8", 1, {2}, 8, mean}, sigma = {"sigma", "<f8", 2, {2, 2}, 8, covariance};
    const cm_npz_array flat = {"sigma", "<f8", 1, {4}, 8, covariance}, one = {"mu", "<f8", 1, {1}, 8, mean};
    const cm_npz_array nan = {"sigma", "<f8", 2, {2, 2}, 8, bad},
                       images = {"arr_0", "|u1", 4, {1, 2, 2, 3}, 1, pixels};
    const cm_npz_array square = {"mu", "<f8", 2, {2, 2}, 8, covariance};
    cm_statistics *s;
    OK(cm_statistics_read(context, write_arrays("good.npz", 2, (cm_npz_array[]){mu, sigma}), NULL, &s));
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    OK(cm_statistics_info_get(s, &info));
    ck_assert_uint_eq(info.count, 0);
    cm_statistics_free(s);
#define REFUSED(status, word, ...)                                                                                   \
    do {                                                                                                             \
        const cm_npz_array list[] = {__VA_ARGS__};                                                                   \
        FAILS(cm_statistics_read(context, write_arrays("bad.npz", sizeof list / sizeof *list, list), NULL, &s),      \
              status, word);                                                                                         \
        ck_assert_ptr_null(s);                                                                                       \
    } while (0)
    REFUSED(CM_ERR_FORMAT, "no array 'sigma'", mu);
    REFUSED(CM_ERR_FORMAT, "no array 'mu'", sigma);
    REFUSED(CM_ERR_FORMAT, "not 2 x 2", mu, flat);
    REFUSED(CM_ERR_FORMAT, "not 1 x 1", one, sigma);
    REFUSED(CM_ERR_FORMAT, "no vector", square, sigma);
    REFUSED(CM_ERR_NUMERIC, ".npz: statistics: value (1, 0)", mu, nan);
    REFUSED(CM_ERR_FORMAT, "holds images", images);
    FAILS(cm_statistics_read(context, in_dir("absent.npz"), NULL, &s), CM_ERR_IO, "absent.npz");
    FAILS(cm_statistics_read(context, in_dir("good.npz"), "_s", &s), CM_ERR_FORMAT, "mu_s");
    write_bytes(in_dir("text.npz"), "no zip archive", 14);
    FAILS(cm_statistics_read(context, in_dir("text.npz"), NULL, &s), CM_ERR_FORMAT, "text.npz");
    size_t size;
    unsigned char *bytes = read_bytes(in_dir("good.npz"), &size);
    for (size_t cut = 0; cut < size; cut += 7) {
        write_bytes(in_dir("cut.npz"), bytes, cut);
        ck_assert_int_ne(cm_statistics_read(context, in_dir("cut.npz"), NULL, &s), CM_OK);
    }
    for (size_t at = 0; at < size; at++) { /* whatever a flip does, the values that come are the right ones */
        double m[2], c[4];
        bytes[at] ^= 0x10;
        write_bytes(in_dir("flip.npz"), bytes, size);
        bytes[at] ^= 0x10;
        if (cm_statistics_read(context, in_dir("flip.npz"), NULL, &s) != CM_OK) continue;
        OK(cm_statistics_values(s, m, c));
        ck_assert_mem_eq(m, mean, sizeof m);
        ck_assert_mem_eq(c, covariance, sizeof c);
        cm_statistics_free(s);
    }
    free(bytes);
}
END_TEST

/* --- feature networks --------------------------------------------------------------------------------- */

static const char *const networks[] = {"lenet", "resnet20", "resnet56"};

static cm_features *open_network(cm_context *c, const char *name)
{
    char path[128];
    cm_features *f = NULL;
    snprintf(path, sizeof path, "models/features/%s.safetensors", name);
    OK(cm_features_open(c, path, NULL, &f));
    return f;
}

/* Rows do not depend on the images beside them, on threads, or on the form of the images. */
START_TEST(features_of_images)
{
    enum { N = 19 };
    for (size_t t = 0; t < 2; t++) {
        cm_features_info info = CM_FEATURES_INFO_INIT;
        cm_features *f = open_network(context, networks[t]);
        OK(cm_features_info_get(f, &info));
        ck_assert_str_eq(info.network, networks[t]);
        ck_assert_uint_eq(strlen(info.weights), 32);
        const size_t c = (size_t)info.channels, side = (size_t)info.height, d = (size_t)info.features;
        const size_t values = c * side * side;
        uint8_t *bytes = malloc(N * values);
        float *x = malloc(N * values * sizeof *x), *all = malloc(N * d * sizeof *all), *one = malloc(d * sizeof *one);
        float *logits = malloc(N * 10 * sizeof *logits);
        uint64_t seed = seeded(80 + t);
        for (size_t i = 0; i < N * values; i++) bytes[i] = (uint8_t)random_int(&seed, 0, 255);
        const cm_images pictures = cm_images_u8(N, info.height, info.width, info.channels, bytes);
        cm_images floats = cm_images_f32(N, info.channels, info.height, info.width, x);
        OK(cm_images_convert(&pictures, &floats));
        OK(cm_features_run(f, &pictures, all, logits));
        for (int threads = 1; threads <= 3; threads += 2) {
            cm_context_options o = CM_CONTEXT_OPTIONS_INIT;
            cm_context *other;
            o.threads = threads;
            OK(cm_context_create(&o, &other));
            cm_features *g = open_network(other, networks[t]);
            for (size_t i = 0; i < N; i++) {
                const cm_images single = cm_images_f32(1, info.channels, info.height, info.width, x + i * values);
                OK(cm_features_run(g, &single, one, NULL));
                ck_assert_mem_eq(one, all + i * d, d * sizeof *one);
            }
            cm_features_free(g);
            cm_context_free(other);
        }
        for (size_t i = 0; i < N * d; i++) ck_assert(all[i] >= 0); /* behind a relu */
        OK(cm_features_run(f, &pictures, NULL, NULL));
        floats.height--;
        FAILS(cm_features_run(f, &floats, all, NULL), CM_ERR_SHAPE, networks[t]);
        cm_features_free(f);
        free(bytes), free(x), free(all), free(one), free(logits);
    }
}
END_TEST

START_TEST(padded_digits_count_in_the_middle)
{
    static uint8_t small[28 * 28], large[32 * 32];
    float a[64], b[64];
    uint64_t seed = seeded(90);
    for (size_t i = 0; i < sizeof small; i++) small[i] = (uint8_t)random_int(&seed, 0, 255);
    memset(large, 77, sizeof large); /* the edge is not looked at */
    for (size_t row = 0; row < 28; row++) memcpy(large + (row + 2) * 32 + 2, small + row * 28, 28);
    cm_features *f = open_network(context, "lenet");
    const cm_images own = cm_images_u8(1, 28, 28, 1, small), padded = cm_images_u8(1, 32, 32, 1, large);
    OK(cm_features_run(f, &own, a, NULL));
    OK(cm_features_run(f, &padded, b, NULL));
    ck_assert_mem_eq(a, b, sizeof a);
    cm_features_free(f);
}
END_TEST

START_TEST(weights_that_are_refused)
{
    cm_features *f;
    FAILS(cm_features_open(context, "models/features/resnet20.safetensors", "resnet56", &f), CM_ERR_FORMAT,
          "is no resnet56");
    ck_assert_ptr_null(f);
    FAILS(cm_features_open(context, "models/features/resnet56.safetensors", "resnet20", &f), CM_ERR_FORMAT,
          "277 tensors");
    FAILS(cm_features_open(context, "models/features/lenet.safetensors", "resnet20", &f), CM_ERR_FORMAT,
          "conv1.weight");
    FAILS(cm_features_open(context, "models/features/lenet.safetensors", "vgg", &f), CM_ERR_ARGUMENT, "vgg");
    FAILS(cm_features_open(context, "models/digits_teacher.safetensors", NULL, &f), CM_ERR_FORMAT,
          "no feature network");
    FAILS(cm_features_open(context, in_dir("absent"), NULL, &f), CM_ERR_IO, "absent");
    size_t size;
    unsigned char *bytes = read_bytes("models/features/lenet.safetensors", &size);
    memset(bytes + size - 4, 0xff, 4); /* the last value becomes NaN */
    write_bytes(in_dir("nan.safetensors"), bytes, size);
    FAILS(cm_features_open(context, in_dir("nan.safetensors"), NULL, &f), CM_ERR_NUMERIC, "NaN");
    write_bytes(in_dir("cut.safetensors"), bytes, size - 1);
    ck_assert_int_ne(cm_features_open(context, in_dir("cut.safetensors"), NULL, &f), CM_OK);
    free(bytes);
}
END_TEST

/* --- the Inception network ---------------------------------------------------------------------------- */

/* With weights by the names of either layout. */
static const char *inception_file(const char *layout)
{
    char keys[128];
    const char *path = in_dir("inception.safetensors");
    snprintf(keys, sizeof keys, "tests/data/golden/metrics/keys_inception_%s.tsv", layout);
    FILE *out = fopen(path, "w");
    ck_assert(out && write_formula_weights(keys, out));
    ck_assert_int_eq(fclose(out), 0);
    return path;
}

enum { INCEPTION_N = 6, INCEPTION_H = 40, INCEPTION_W = 24, INCEPTION_BYTES = INCEPTION_H * INCEPTION_W * 3 };

/* Rows do not depend on slices, threads or other outputs that are asked for. */
static void inception_bits(const char *path, const cm_images *pictures, const uint8_t *bytes)
{
    static float all[INCEPTION_N * 2048], one[2048], scores[1008], spatial[2023];
    for (int threads = 1; threads <= 2; threads++) {
        cm_context_options o = CM_CONTEXT_OPTIONS_INIT;
        cm_context *other;
        cm_features *f;
        o.threads = threads;
        OK(cm_context_create(&o, &other));
        OK(cm_features_open(other, path, NULL, &f));
        OK(cm_features_run(f, pictures, all, NULL));
        for (size_t i = 0; i < INCEPTION_N; i += 2) {
            const cm_images single = cm_images_u8(1, INCEPTION_H, INCEPTION_W, 3, bytes + i * INCEPTION_BYTES);
            cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
            rows.values = one, rows.scores = scores, rows.spatial = spatial;
            OK(cm_features_run_rows(f, &single, &rows));
            ck_assert_mem_eq(one, all + i * 2048, sizeof one);
        }
        cm_features_free(f);
        cm_context_free(other);
    }
}

START_TEST(inception)
{
    static const char *const layouts[] = {"pytorch_fid", "openai"}, *const names[] = {"inception-pytorch",
                                                                                      "inception"};
    static uint8_t bytes[INCEPTION_N * INCEPTION_BYTES];
    static float a[2048], b[2048], logits[1008], scores[1008];
    uint64_t seed = seeded(97);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)random_int(&seed, 0, 255);
    const cm_images pictures = cm_images_u8(INCEPTION_N, INCEPTION_H, INCEPTION_W, 3, bytes);
    const cm_images first = cm_images_u8(1, INCEPTION_H, INCEPTION_W, 3, bytes);
    for (size_t t = 0; t < 2; t++) {
        const char *path = inception_file(layouts[t]);
        cm_features *f, *g;
        cm_features_info info = CM_FEATURES_INFO_INIT;
        cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
        OK(cm_features_open(context, path, NULL, &f));
        OK(cm_features_info_get(f, &info));
        ck_assert_str_eq(info.network, names[t]);
        ck_assert(info.resizes && info.features == 2048 && info.classes == 1008 && info.spatial == 2023);
        ck_assert(info.early[0] == 64 && info.early[1] == 192 && info.early[2] == 768);
        if (t == 0) inception_bits(path, &pictures, bytes);
        /* The other convention with the same weights: close, not the same. */
        OK(cm_features_open(context, path, names[1 - t], &g));
        rows.values = a, rows.logits = logits, rows.scores = scores;
        OK(cm_features_run_rows(f, &first, &rows));
        OK(cm_features_run(g, &first, b, NULL));
        double apart = 0, whole = 0;
        for (int i = 0; i < 2048; i++) {
            apart += pow((double)a[i] - (double)b[i], 2);
            whole += pow((double)a[i], 2);
        }
        ck_assert(apart > 1e-10 * whole && apart < 0.25 * whole);
        /* Logits are scores and the bias. */
        for (int i = 0; i < 1008; i++) {
            const float bias = formula_weight(t ? "output.bias" : "fc.bias", 1, 1, (size_t)i);
            ck_assert(fabs((double)logits[i] - (double)scores[i] - (double)bias) < 1e-5);
        }
        cm_features_free(g);
        cm_features_free(f);
    }
}
END_TEST

/* What is written is what is read, and only by the network that it is of. */
START_TEST(features_through_a_file)
{
    enum { N = 5 };
    static uint8_t bytes[N * 32 * 32 * 3];
    static float values[N * 64], logits[N * 10], back[N * 64], logits_back[N * 10];
    const int32_t labels[N] = {3, 0, -1, 9, 2};
    int32_t found[N];
    size_t n = 0, size;
    uint64_t seed = seeded(99);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)random_int(&seed, 0, 255);
    const cm_images images = cm_images_u8(N, 32, 32, 3, bytes);
    const char *path = in_dir("features.npz");
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT, to = CM_FEATURE_ROWS_INIT;
    cm_features *f = open_network(context, "resnet20"), *g = open_network(context, "resnet56");
    rows.values = values, rows.logits = logits, to.values = back, to.logits = logits_back;
    OK(cm_features_run_rows(f, &images, &rows));
    OK(cm_features_write(f, path, N, &rows, labels, CM_OVERWRITE_NO));
    FAILS(cm_features_write(f, path, N, &rows, labels, CM_OVERWRITE_NO), CM_ERR_IO, "features.npz");
    OK(cm_features_read(f, path, &n, NULL, NULL));
    ck_assert_uint_eq(n, N);
    OK(cm_features_read(f, path, &n, &to, found));
    ck_assert_mem_eq(back, values, sizeof back);
    ck_assert_mem_eq(logits_back, logits, sizeof logits);
    ck_assert_mem_eq(found, labels, sizeof found);
    n = N - 1;
    FAILS(cm_features_read(f, path, &n, &to, NULL), CM_ERR_ARGUMENT, "5 images");
    FAILS(cm_features_read(g, path, &n, NULL, NULL), CM_ERR_ARGUMENT, "do not compare");
    FAILS(cm_features_read(f, "models/features/lenet-train.npz", &n, NULL, NULL), CM_ERR_FORMAT, "no features");
    FAILS(cm_features_read(f, path, &n, NULL, found), CM_ERR_ARGUMENT, "without rows");
    rows.logits = NULL, n = N;
    OK(cm_features_write(f, path, N, &rows, NULL, CM_OVERWRITE_YES));
    FAILS(cm_features_read(f, path, &n, &to, NULL), CM_ERR_FORMAT, "logits");
    to.logits = NULL;
    OK(cm_features_read(f, path, &n, &to, found));
    ck_assert_int_eq(found[0], -1);
    rows.spatial = values;
    FAILS(cm_features_write(f, path, N, &rows, NULL, CM_OVERWRITE_YES), CM_ERR_ARGUMENT, "spatial");
    rows.values = rows.spatial = NULL;
    FAILS(cm_features_write(f, path, N, &rows, NULL, CM_OVERWRITE_YES), CM_ERR_ARGUMENT, "values");
    /* Damage is told of, or changes nothing that is read. */
    unsigned char *file = read_bytes(path, &size);
    for (size_t i = 0; i < size; i += 7) {
        file[i] ^= 1u << i % 8;
        write_bytes(in_dir("damaged.npz"), file, size);
        n = N;
        if (cm_features_read(f, in_dir("damaged.npz"), &n, &to, NULL) == CM_OK)
            ck_assert_mem_eq(back, values, sizeof back);
        file[i] ^= 1u << i % 8;
    }
    free(file);
    cm_features_free(g);
    cm_features_free(f);
}
END_TEST

START_TEST(inception_is_refused)
{
    static uint8_t bytes[8 * 8 * 3];
    float few[2048];
    size_t size;
    cm_features *f;
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    const cm_images gray = cm_images_u8(1, 8, 8, 1, bytes), colour = cm_images_u8(1, 32, 32, 3, bytes);
    const char *path = inception_file("openai");
    OK(cm_features_open(context, path, "inception", &f));
    FAILS(cm_features_run(f, &gray, few, NULL), CM_ERR_SHAPE, "1 channels");
    cm_features_free(f);
    f = open_network(context, "resnet20");
    rows.spatial = few;
    FAILS(cm_features_run_rows(f, &colour, &rows), CM_ERR_ARGUMENT, "spatial");
    rows.spatial = NULL;
    rows.reserved = 1;
    FAILS(cm_features_run_rows(f, &colour, &rows), CM_ERR_ARGUMENT, "reserved");
    cm_features_free(f);
    unsigned char *file = read_bytes(path, &size);
    memcpy(file + 8 + 2, "layers.carv", 11); /* a wrong name */
    write_bytes(in_dir("named.safetensors"), file, size);
    FAILS(cm_features_open(context, in_dir("named.safetensors"), "inception", &f), CM_ERR_FORMAT, "no tensor");
    free(file);
    FAILS(cm_features_open(context, "models/features/resnet56.safetensors", "inception", &f), CM_ERR_FORMAT,
          "is no inception");
}
END_TEST

/* --- samples ------------------------------------------------------------------------------------------ */

START_TEST(samples_through_a_file)
{
    static float x[3 * 4 * 5 * 3];
    static uint8_t back[4 * 5 * 3];
    const int32_t labels[3] = {7, 0, 123456};
    int32_t found[3];
    uint64_t seed = seeded(95);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)random_int(&seed, 0, 255) / 127.5f - 1;
    const cm_images images = cm_images_f32(3, 3, 4, 5, x);
    const char *path = in_dir("samples.npz");
    cm_samples_options o = CM_SAMPLES_OPTIONS_INIT;
    OK(cm_samples_write(context, path, &images, labels, NULL));
    FAILS(cm_samples_write(context, path, &images, labels, NULL), CM_ERR_IO, "samples.npz");
    cm_npz *npz;
    cm_npy array;
    OK(cmi_npz_open(context, path, &npz));
    OK(cmi_npz_read(npz, "arr_0", &array));
    ck_assert(array.rank == 4 && array.shape[0] == 3 && array.shape[1] == 4 && array.shape[2] == 5 &&
              array.shape[3] == 3 && array.kind == 'u' && array.bytes == 1);
    for (size_t n = 0; n < 3; n++) /* n, y, x, c of n, c, y, x */
        for (size_t i = 0; i < 60; i++)
            ck_assert_double_eq(cmi_npy_value(&array, n * 60 + i),
                                roundf((x[n * 60 + i % 3 * 20 + i / 3] + 1) * 127.5f));
    OK(cmi_npz_read(npz, "arr_1", &array));
    for (size_t i = 0; i < 3; i++) found[i] = (int32_t)cmi_npy_value(&array, i);
    ck_assert_mem_eq(found, labels, sizeof labels);
    cmi_npz_close(npz);
    o.overwrite = CM_OVERWRITE_YES;
    o.rounding = CM_ROUNDING_DOWN;
    OK(cm_samples_write(context, path, &images, NULL, &o));
    OK(cmi_npz_open(context, path, &npz));
    ck_assert(!cmi_npz_has(npz, "arr_1"));
    OK(cmi_npz_read(npz, "arr_0", &array));
    for (size_t n = 0; n < 3; n++)
        for (size_t i = 0; i < 60; i++)
            ck_assert_double_eq(cmi_npy_value(&array, n * 60 + i),
                                floorf((x[n * 60 + i % 3 * 20 + i / 3] + 1.0f) * 127.5f));
    cmi_npz_close(npz);
    const cm_images bytes = cm_images_u8(1, 4, 5, 3, back);
    FAILS(cm_samples_write(context, path, &bytes, NULL, &o), CM_ERR_ARGUMENT, "no effect on bytes");
    o.rounding = 2;
    FAILS(cm_samples_write(context, path, &images, NULL, &o), CM_ERR_ARGUMENT, "rounding is 2");
}
END_TEST

/* --- without memory ---------------------------------------------------------------------------------- */

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

/* Each request fails once: the call says so, and nothing is left behind. */
static void fail_each_request(cm_status (*work)(cm_context *c, const char *path), const char *path, long least)
{
    memory m;
    memory_reset(&m);
    cm_context *c;
    cm_context_options o = memory_options(&m, 1);
    OK(cm_context_create(&o, &c));
    OK(work(c, path));
    const long live = m.live;
    for (long k = 1;; k++) {
        m.requests = 0;
        m.fail_at = k;
        const cm_status status = work(c, path);
        const int reached = m.requests >= k;
        ck_assert_int_eq(m.live, live);
        if (!reached) {
            OK(status);
            ck_assert_int_gt(k, least);
            break;
        }
        ck_assert_msg(status == CM_ERR_MEMORY, "request %ld: %s", k, cm_last_message());
        ck_assert_int_lt(k, 3000);
    }
    m.fail_at = 0;
    cm_context_free(c);
    ck_assert_int_eq(m.live, 0);
}

START_TEST(every_request_for_memory_fails_once)
{
    fail_each_request(everything, in_dir("memory.npz"), 40);
}
END_TEST

/* --- LPIPS ----------------------------------------------------------------------------------- */

enum { SIDE = 35, PAIRS = 3, POINTS = SIDE * SIDE };
static const char lin_file[] = "models/features/lpips_lin.safetensors";

/* The same pairs as bytes and as values, one at a time, gray and in three channels. */
START_TEST(lpips_of_pairs)
{
    static uint8_t gray[2][PAIRS * POINTS], colour[2][PAIRS * POINTS * 3];
    static float values[2][PAIRS * POINTS * 3], slope[PAIRS * POINTS * 3], gray_slope[PAIRS * POINTS], map[POINTS];
    double first[PAIRS], other[PAIRS];
    float layers[PAIRS * 5];
    cm_lpips *lpips;
    cm_images a[2], b[2];
    uint64_t seed = seeded(8);
    OK(backbone_write(context, in_dir("alex.safetensors")));
    OK(cm_lpips_open(context, NULL, in_dir("alex.safetensors"), lin_file, NULL, &lpips));
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < PAIRS * POINTS; i++) {
            gray[k][i] = (uint8_t)random_int(&seed, 0, 255);
            for (int c = 0; c < 3; c++) {
                colour[k][3 * i + c] = gray[k][i];
                values[k][(i / POINTS * 3 + c) * POINTS + i % POINTS] = (float)gray[k][i] / 127.5f - 1;
            }
        }
    for (int k = 0; k < 2; k++) a[k] = cm_images_u8(PAIRS, SIDE, SIDE, 3, colour[k]);
    OK(cm_lpips_run(lpips, &a[0], &a[1], first, layers, NULL));
    for (int i = 0; i < PAIRS; i++) {
        double sum = 0;
        for (int k = 0; k < 5; k++) sum += (double)layers[5 * i + k];
        ck_assert(first[i] > 0 && fabs(sum - first[i]) < 1e-12);
    }
    for (int k = 0; k < 2; k++) b[k] = cm_images_f32(PAIRS, 3, SIDE, SIDE, values[k]);
    OK(cm_lpips_gradient(lpips, &b[0], &b[1], other, slope));
    ck_assert(memcmp(first, other, sizeof first) == 0);
    for (int k = 0; k < 2; k++) b[k] = cm_images_u8(PAIRS, SIDE, SIDE, 1, gray[k]);
    OK(cm_lpips_gradient(lpips, &b[0], &b[1], other, gray_slope));
    ck_assert(memcmp(first, other, sizeof first) == 0);
    for (int i = 0; i < POINTS; i++) {
        const double sum = (double)slope[i] + (double)slope[POINTS + i] + (double)slope[2 * POINTS + i];
        ck_assert(fabs((double)gray_slope[i] - sum) < 1e-6);
    }
    OK(cm_lpips_run(lpips, &b[0], &b[0], other, NULL, NULL));
    for (int i = 0; i < PAIRS; i++) ck_assert(other[i] == 0);
    a[0].n = a[1].n = 1;
    OK(cm_lpips_run(lpips, &a[1], &a[0], other, NULL, map));
    ck_assert(other[0] == first[0]);
    double mean = 0;
    for (int i = 0; i < POINTS; i++) mean += (double)map[i] / POINTS;
    ck_assert_msg(fabs(mean / first[0] - 1) < 0.2, "the map's mean is %g, the distance %g", mean, first[0]);
    cm_lpips_free(lpips);
}
END_TEST

/* Features through a file. */
static cm_status keep_features(cm_context *c, const char *path)
{
    static uint8_t pixels[3 * 28 * 28];
    static float values[3 * 64], logits[3 * 10];
    const cm_images images = cm_images_u8(3, 28, 28, 1, pixels);
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    cm_features *network = NULL;
    size_t n = 3;
    rows.values = values, rows.logits = logits;
    cm_status status = cm_features_open(c, "models/features/lenet.safetensors", NULL, &network);
    if (status == CM_OK) status = cm_features_run_rows(network, &images, &rows);
    if (status == CM_OK) status = cm_features_write(network, path, n, &rows, NULL, CM_OVERWRITE_YES);
    if (status == CM_OK) status = cm_features_read(network, path, &n, &rows, NULL);
    cm_features_free(network);
    return status;
}

static cm_status compare_pair(cm_context *c, const char *path)
{
    static float values[2][3 * POINTS], slope[3 * POINTS];
    const cm_images a = cm_images_f32(1, 3, SIDE, SIDE, values[0]), b = cm_images_f32(1, 3, SIDE, SIDE, values[1]);
    cm_lpips *lpips = NULL;
    double distance;
    cm_status status = cm_lpips_open(c, NULL, path, lin_file, NULL, &lpips);
    if (status == CM_OK) status = cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL);
    if (status == CM_OK) status = cm_lpips_gradient(lpips, &a, &b, &distance, slope);
    cm_lpips_free(lpips);
    return status;
}

START_TEST(memory_of_pairs_and_kept_features)
{
    fail_each_request(keep_features, in_dir("kept-memory.npz"), 20);
    OK(backbone_write(context, in_dir("alex.safetensors")));
    fail_each_request(compare_pair, in_dir("alex.safetensors"), 40);
}
END_TEST

START_TEST(lpips_is_refused)
{
    static float values[2][3 * POINTS];
    cm_lpips *lpips;
    double distance;
    cm_lpips_options o = CM_LPIPS_OPTIONS_INIT;
    const char *path = in_dir("alex.safetensors");
    cm_images a = cm_images_f32(1, 3, SIDE, SIDE, values[0]), b = cm_images_f32(1, 3, SIDE, SIDE - 1, values[1]);
    OK(backbone_write(context, path));
    FAILS(cm_lpips_open(context, NULL, path, NULL, NULL, &lpips), CM_ERR_FORMAT, "lin weights besides");
    FAILS(cm_lpips_open(context, "vgg", path, lin_file, NULL, &lpips), CM_ERR_FORMAT, "is no vgg");
    FAILS(cm_lpips_open(context, "vgg19", path, lin_file, NULL, &lpips), CM_ERR_ARGUMENT, "vgg, alex or squeeze");
    FAILS(cm_lpips_open(context, NULL, lin_file, lin_file, NULL, &lpips), CM_ERR_FORMAT, "no network of LPIPS");
    FAILS(cm_lpips_open(context, NULL, path, "models/features/lenet.safetensors", NULL, &lpips), CM_ERR_FORMAT,
          "lin0");
    FAILS(cm_lpips_open(context, NULL, in_dir("none"), lin_file, NULL, &lpips), CM_ERR_IO, "none");
    o.uniform = 1;
    FAILS(cm_lpips_open(context, NULL, path, lin_file, &o, &lpips), CM_ERR_ARGUMENT, "no effect");
    o.resize = 3;
    FAILS(cm_lpips_open(context, NULL, path, NULL, &o, &lpips), CM_ERR_ARGUMENT, "resize is 3");
    o.resize = 0;
    OK(cm_lpips_open(context, NULL, path, NULL, &o, &lpips));
    FAILS(cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL), CM_ERR_SHAPE, "34");
    b.height = b.width = a.height = a.width = 20;
    FAILS(cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL), CM_ERR_SHAPE, "smaller");
    a = b = cm_images_f32(1, 3, SIDE, SIDE, values[0]);
    values[0][7] = NAN;
    FAILS(cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL), CM_ERR_NUMERIC, "pair 0");
    values[0][7] = 0; /* and it can go on */
    OK(cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL));
    cm_lpips_free(lpips);
}
END_TEST

/* --- the search for a time point ------------------------------------------------------------ */

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
    tcase_add_test(t, statistics_through_a_file);
    tcase_add_test(t, statistics_that_are_refused);
    tcase_add_test(t, samples_through_a_file);
    tcase_add_test(t, features_of_images);
    tcase_add_test(t, padded_digits_count_in_the_middle);
    tcase_add_test(t, weights_that_are_refused);
    tcase_add_test(t, inception);
    tcase_add_test(t, inception_is_refused);
    tcase_add_test(t, features_through_a_file);
    tcase_add_test(t, every_request_for_memory_fails_once);
    tcase_add_test(t, search_finds_the_lowest_point);
    tcase_add_test(t, searches_that_end_early);
    suite_add_tcase(s, t);
    TCase *lpips = tcase_create("lpips");
    tcase_add_checked_fixture(lpips, setup, teardown);
    tcase_set_timeout(lpips, 120);
    tcase_add_test(lpips, lpips_of_pairs);
    tcase_add_test(lpips, lpips_is_refused);
    tcase_add_test(lpips, memory_of_pairs_and_kept_features);
    suite_add_tcase(s, lpips);
    return s;
}
