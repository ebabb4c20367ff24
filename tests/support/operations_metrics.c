/* operations_metrics.c - rows of operations.h: features, scores and searches. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/operations_parts.h"

static const char lin_file[] = "models/features/lpips_lin.safetensors";

enum { ROWS = 40, FEATURES = 8 };

static cm_status features(const place *at)
{
    cm_features *f = NULL;
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT, back = CM_FEATURE_ROWS_INIT;
    static float images[BATCH * 28 * 28], values[BATCH * 64];
    static double mean[64], covariance[64 * 64];
    cm_features_info info = CM_FEATURES_INFO_INIT;
    cm_statistics *s = NULL;
    size_t n = BATCH;
    const cm_images view = cm_images_f32(BATCH, 1, 28, 28, images);
    fill(BATCH * 28 * 28, 5, images);
    rows.values = back.values = values;
    cm_status status = cm_features_open(at->context, "models/features/lenet.safetensors", NULL, &f);
    if (status == CM_OK) status = cm_features_info_get(f, &info);
    if (status == CM_OK) status = cm_features_run(f, &view, values, NULL);
    if (status == CM_OK) status = cm_features_run_rows(f, &view, &rows);
    if (status == CM_OK)
        status = cm_features_write(f, path_of(at->out, "rows.npz"), BATCH, &rows, NULL, CM_OVERWRITE_YES);
    if (status == CM_OK) status = cm_features_read(f, path_of(at->out, "rows.npz"), &n, &back, NULL);
    if (status == CM_OK) status = cm_statistics_given(at->context, info.features, 10, mean, covariance, &s);
    if (status == CM_OK) status = cm_statistics_mark(s, f);
    cm_statistics_free(s);
    cm_features_free(f);
    return status;
}

static cm_status statistics(const place *at)
{
    cm_statistics *a = NULL, *b = NULL, *c = NULL;
    float x[ROWS * FEATURES];
    double distance, mean, deviation, means[FEATURES];
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    cm_subset_options subsets = CM_SUBSET_OPTIONS_INIT;
    fill(ROWS * FEATURES, 6, x);
    subsets.size = 20, subsets.subsets = 3;
    cm_status status = cm_statistics_create(at->context, FEATURES, &a);
    if (status == CM_OK) status = cm_statistics_create(at->context, FEATURES, &b);
    if (status == CM_OK) status = cm_statistics_add(a, ROWS, x);
    if (status == CM_OK) status = cm_statistics_add(b, ROWS - 10, x);
    if (status == CM_OK) status = cm_statistics_merge(b, a);
    if (status == CM_OK) status = cm_statistics_info_get(b, &info);
    if (status == CM_OK) status = cm_statistics_values(b, means, NULL);
    if (status == CM_OK) status = cm_frechet_distance(a, b, &distance);
    if (status == CM_OK) status = cm_frechet_subsets(a, ROWS, x, &subsets, &mean, &deviation);
    if (status == CM_OK) status = cm_frechet_infinity(a, ROWS, x, &subsets, &distance);
    if (status == CM_OK) status = cm_statistics_write(a, NULL, path_of(at->out, "statistics.npz"), CM_OVERWRITE_YES);
    if (status == CM_OK) status = cm_statistics_read(at->context, path_of(at->out, "statistics.npz"), NULL, &c);
    cm_statistics_free(c);
    cm_statistics_free(b);
    cm_statistics_free(a);
    return status;
}

static cm_status scores(const place *at)
{
    float x[ROWS * FEATURES], y[ROWS * FEATURES];
    double a, b;
    cm_subset_options subsets = CM_SUBSET_OPTIONS_INIT;
    cm_score_options parts = CM_SCORE_OPTIONS_INIT;
    cm_neighbour_options neighbours = CM_NEIGHBOUR_OPTIONS_INIT;
    subsets.size = 20, subsets.subsets = 3, parts.split = 10, neighbours.neighbours = 3;
    fill(ROWS * FEATURES, 7, x);
    fill(ROWS * FEATURES, 8, y);
    cm_status status = cm_kernel_distance(at->context, FEATURES, ROWS, x, ROWS, y, &subsets, &a, &b);
    if (status == CM_OK) status = cm_inception_score(at->context, FEATURES, ROWS, x, &parts, &a, &b);
    if (status == CM_OK) status = cm_precision_recall(at->context, FEATURES, ROWS, x, ROWS, y, &neighbours, &a, &b);
    return status;
}

/* Two pairs of pictures by LPIPS, and the gradient of their distances. */
static cm_status pairs(const place *at)
{
    enum { WIDE = 35 };
    static float a[2 * 3 * WIDE * WIDE], b[2 * 3 * WIDE * WIDE], slope[2 * 3 * WIDE * WIDE];
    cm_lpips *l = NULL;
    cm_lpips_info info = CM_LPIPS_INFO_INIT;
    double distances[2];
    fill(2 * 3 * WIDE * WIDE, 10, a);
    fill(2 * 3 * WIDE * WIDE, 11, b);
    const cm_images one = cm_images_f32(2, 3, WIDE, WIDE, a), other = cm_images_f32(2, 3, WIDE, WIDE, b);
    cm_status status = cm_lpips_open(at->context, NULL, path_of(at->in, "alex.safetensors"), lin_file, NULL, &l);
    if (status == CM_OK) status = cm_lpips_info_get(l, &info);
    if (status == CM_OK) status = cm_lpips_run(l, &one, &other, distances, NULL, NULL);
    if (status == CM_OK) status = cm_lpips_gradient(l, &one, &other, distances, slope);
    cm_lpips_free(l);
    return status;
}

/* The level at which a jump gives the nearest pictures: each point draws. */
typedef struct {
    cm_sampler *sampler;
    cm_status status;
} searched;

static int32_t score_level(void *user, int32_t point, double *score)
{
    searched *s = user;
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    const double levels[2] = {80, 0.5 + point};
    float images[VALUES];
    o.method = CM_METHOD_MULTISTEP, o.sigmas = levels, o.sigma_count = 2;
    const cm_status status = cm_sampler_run(s->sampler, &o, 1, images);
    *score = fabs((double)images[0]);
    return (int32_t)status;
}

static cm_status search(const place *at)
{
    cm_model *m = NULL;
    searched s = {NULL, CM_OK};
    cm_search_options o = CM_SEARCH_OPTIONS_INIT;
    int32_t best;
    o.right = 4;
    cm_status status = open_sampler(at, "jump", &m, &s.sampler);
    if (status == CM_OK) status = cm_search_point(&o, score_level, &s, &best);
    cm_sampler_free(s.sampler);
    cm_model_free(m);
    return status;
}

cm_status write_samples(const place *at)
{
    float images[BATCH * VALUES];
    cm_samples_options o = CM_SAMPLES_OPTIONS_INIT;
    fill(BATCH * VALUES, 9, images);
    o.overwrite = CM_OVERWRITE_YES;
    const cm_images view = cm_images_f32(BATCH, CHANNELS, SIDE, SIDE, images);
    return cm_samples_write(at->context, path_of(at->out, "samples.npz"), &view, NULL, &o);
}

static cm_status reconstruct(const place *at)
{
    char paths[2][400];
    const char *const both[2] = {paths[0], paths[1]};
    cm_model *m = NULL;
    for (int i = 0; i < 2; i++)
        (void)snprintf(paths[i], sizeof paths[i], "%s/averages/checkpoints/step-000000001/ema-power-%s.safetensors",
                       at->in, i ? "0.1" : "0.05");
    cm_average_options o = CM_AVERAGE_OPTIONS_INIT;
    o.std = 0.08;
    const cm_status status = cm_average_reconstruct(at->context, both, 2, &o, &m);
    cm_model_free(m);
    return status;
}

const operation operations_of_metrics[] = {
    {"features", features, NULL, NULL, 1},
    {"statistics", statistics, NULL, NULL, 0},
    {"scores", scores, NULL, NULL, 0},
    {"pairs of pictures", pairs, NULL, NULL, 1},
    {"search a level", search, NULL, NULL, 1},
    {"write samples", write_samples, NULL, NULL, 0},
    {"average of two widths", reconstruct, NULL, NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};
