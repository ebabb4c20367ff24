/* metrics.c - the calls of metrics.h. */
#include <consistency/metrics.h>

#include <string.h>

#include "base/options.h"
#include "metrics/features.h"
#include "metrics/frechet.h"
#include "metrics/lpips.h"
#include "metrics/samples.h"
#include "metrics/scores.h"
#include "metrics/search.h"
#include "metrics/statistics.h"
#include "nets/feature_net.h"

#define NEED(pointer, call)                                                                                          \
    do {                                                                                                             \
        if (!(pointer)) CM_FAIL(CM_ERR_ARGUMENT, call ": " #pointer " is NULL");                                     \
    } while (0)

void cm_statistics_info_init(cm_statistics_info *info, size_t struct_size)
{
    cmi_options_zero(info, struct_size);
}

void cm_subset_options_init(cm_subset_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_score_options_init(cm_score_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_neighbour_options_init(cm_neighbour_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

/* --- features --------------------------------------------------------------------- */

void cm_features_info_init(cm_features_info *info, size_t struct_size)
{
    cmi_options_zero(info, struct_size);
}

cm_status cm_features_open(cm_context *context, const char *path, const char *network, cm_features **out)
{
    NEED(out, "cm_features_open");
    *out = NULL;
    NEED(path, "cm_features_open");
    return cmi_features_open(context, path, network, out);
}

void cm_features_free(cm_features *features)
{
    cmi_features_free(features);
}

cm_status cm_features_info_get(const cm_features *features, cm_features_info *info)
{
    cm_features_info i;
    NEED(features, "cm_features_info_get");
    NEED(info, "cm_features_info_get");
    cmi_features_describe(features, &i);
    return cm_info_write(info, &i, sizeof i, "cm_features_info");
}

cm_status cm_features_run(cm_features *features, const cm_images *images, float *values, float *logits)
{
    cm_view view;
    NEED(features, "cm_features_run");
    CM_TRY(cmi_context_check_process(cmi_features_context(features)));
    CM_TRY(cmi_view_open("cm_features_run: the images", images, CM_VIEW_READ, &view));
    CM_TRY(cmi_view_expect_finite("cm_features_run", &view));
    float *const rows[CM_FEATURE_OUTPUTS] = {values, logits};
    return cmi_features_run(features, &view, rows);
}

void cm_feature_rows_init(cm_feature_rows *rows, size_t struct_size)
{
    cmi_options_zero(rows, struct_size);
}

/* The caller's struct of any version, as the outputs of a network. */
static cm_status read_feature_rows(const cm_feature_rows *rows, float **to)
{
    cm_feature_rows r;
    memset(&r, 0, sizeof r);
    CM_TRY(cm_options_read(&r, sizeof r, rows, "cm_feature_rows"));
    if (r.reserved) CM_FAIL(CM_ERR_ARGUMENT, "cm_feature_rows: reserved is %d, must be 0", r.reserved);
    float *const all[CM_FEATURE_OUTPUTS] = {r.values,   r.logits,   r.scores,  r.spatial,
                                            r.early[0], r.early[1], r.early[2]};
    memcpy(to, all, sizeof all);
    return CM_OK;
}

cm_status cm_features_run_rows(cm_features *features, const cm_images *images, const cm_feature_rows *rows)
{
    cm_view view;
    float *to[CM_FEATURE_OUTPUTS];
    NEED(features, "cm_features_run_rows");
    NEED(rows, "cm_features_run_rows");
    CM_TRY(read_feature_rows(rows, to));
    CM_TRY(cmi_context_check_process(cmi_features_context(features)));
    CM_TRY(cmi_view_open("cm_features_run_rows: the images", images, CM_VIEW_READ, &view));
    CM_TRY(cmi_view_expect_finite("cm_features_run_rows", &view));
    return cmi_features_run(features, &view, to);
}

cm_status cm_features_write(const cm_features *features, const char *path, size_t n, const cm_feature_rows *rows,
                            const int32_t *labels, int32_t overwrite)
{
    cm_features_info info;
    float *to[CM_FEATURE_OUTPUTS];
    NEED(features, "cm_features_write");
    NEED(path, "cm_features_write");
    NEED(rows, "cm_features_write");
    if (overwrite < 0 || overwrite > CM_OVERWRITE_YES)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_features_write: overwrite is %d, expected 0 or 1", overwrite);
    CM_TRY(read_feature_rows(rows, to));
    cmi_features_describe(features, &info);
    return cmi_features_write(cmi_features_context(features), &info, path, n, to, labels, overwrite);
}

cm_status cm_features_read(const cm_features *features, const char *path, size_t *n, const cm_feature_rows *rows,
                           int32_t *labels)
{
    cm_features_info info;
    float *to[CM_FEATURE_OUTPUTS];
    NEED(features, "cm_features_read");
    NEED(path, "cm_features_read");
    NEED(n, "cm_features_read");
    if (!rows && labels) CM_FAIL(CM_ERR_ARGUMENT, "cm_features_read: labels are asked for without rows");
    if (rows) CM_TRY(read_feature_rows(rows, to));
    cmi_features_describe(features, &info);
    return cmi_features_read(cmi_features_context(features), &info, path, n, rows ? to : NULL, labels);
}

/* --- pairs ------------------------------------------------------------------------ */

void cm_lpips_options_init(cm_lpips_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_lpips_info_init(cm_lpips_info *info, size_t struct_size)
{
    cmi_options_zero(info, struct_size);
}

static cm_status read_lpips_options(const cm_lpips_options *options, const char *lin, cm_lpips_options *o)
{
    memset(o, 0, sizeof *o);
    if (options) CM_TRY(cm_options_read(o, sizeof *o, options, "cm_lpips_options"));
    if (o->pooling < 0 || o->pooling > CM_LPIPS_POOLING_MEAN || o->resize < 0 || o->resize > CM_LPIPS_RESIZE_ALWAYS ||
        o->uniform < 0 || o->uniform > 1)
        CM_FAIL(CM_ERR_ARGUMENT,
                "cm_lpips_options: pooling is %d, resize is %d, uniform is %d, expected 0..1, 0..2, 0..1", o->pooling,
                o->resize, o->uniform);
    if (o->uniform && lin) CM_FAIL(CM_ERR_ARGUMENT, "cm_lpips_open: lin has no effect where options say uniform");
    return CM_OK;
}

cm_status cm_lpips_open(cm_context *context, const char *network, const char *weights, const char *lin,
                        const cm_lpips_options *options, cm_lpips **out)
{
    cm_lpips_options o;
    NEED(out, "cm_lpips_open");
    *out = NULL;
    NEED(weights, "cm_lpips_open");
    CM_TRY(read_lpips_options(options, lin, &o));
    return cmi_lpips_open(context, network, weights, lin, &o, out);
}

void cm_lpips_free(cm_lpips *lpips)
{
    cmi_lpips_free(lpips);
}

cm_status cm_lpips_info_get(const cm_lpips *lpips, cm_lpips_info *info)
{
    cm_lpips_info i;
    NEED(lpips, "cm_lpips_info_get");
    NEED(info, "cm_lpips_info_get");
    cmi_lpips_describe(lpips, &i);
    return cm_info_write(info, &i, sizeof i, "cm_lpips_info");
}

static cm_status open_pairs(const cm_lpips *lpips, const cm_images *a, const cm_images *b, cm_view *first,
                            cm_view *second)
{
    CM_TRY(cmi_context_check_process(cmi_lpips_context(lpips)));
    CM_TRY(cmi_view_open("LPIPS: the first images", a, CM_VIEW_READ, first));
    return cmi_view_open("LPIPS: the second images", b, CM_VIEW_READ, second);
}

cm_status cm_lpips_run(cm_lpips *lpips, const cm_images *a, const cm_images *b, double *distances, float *layers,
                       float *maps)
{
    cm_view first, second;
    NEED(lpips, "cm_lpips_run");
    CM_TRY(open_pairs(lpips, a, b, &first, &second));
    return cmi_lpips_run(lpips, &first, &second, distances, layers, maps);
}

cm_status cm_lpips_gradient(cm_lpips *lpips, const cm_images *a, const cm_images *b, double *distances,
                            float *gradient)
{
    cm_view first, second;
    NEED(lpips, "cm_lpips_gradient");
    NEED(gradient, "cm_lpips_gradient");
    CM_TRY(open_pairs(lpips, a, b, &first, &second));
    return cmi_lpips_gradient(lpips, &first, &second, distances, gradient);
}

/* --- samples ---------------------------------------------------------------------- */

void cm_samples_options_init(cm_samples_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

cm_status cm_samples_write(cm_context *context, const char *path, const cm_images *images, const int32_t *labels,
                           const cm_samples_options *options)
{
    cm_samples_options o;
    cm_view view;
    NEED(path, "cm_samples_write");
    CM_TRY(cmi_view_open("cm_samples_write: the images", images, CM_VIEW_READ, &view));
    CM_TRY(cmi_view_expect_finite("cm_samples_write", &view));
    memset(&o, 0, sizeof o);
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_samples_options"));
    if (o.overwrite < 0 || o.overwrite > CM_OVERWRITE_YES || o.rounding < 0 || o.rounding > CM_ROUNDING_DOWN)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_samples_options: overwrite is %d, rounding is %d, expected 0 or 1", o.overwrite,
                o.rounding);
    CM_TRY(cmi_reserved_check("cm_samples_options", o.reserved));
    CM_TRY(cmi_context_retain(context, &context));
    cm_status status = cmi_samples_write(context, path, &view, labels, &o);
    cm_context_free(context);
    return status;
}

/* --- statistics ------------------------------------------------------------------ */

cm_status cm_statistics_create(cm_context *context, int32_t dimension, cm_statistics **out)
{
    NEED(out, "cm_statistics_create");
    return cmi_statistics_create(context, dimension, out);
}

void cm_statistics_free(cm_statistics *statistics)
{
    cmi_statistics_free(statistics);
}

cm_status cm_statistics_add(cm_statistics *statistics, size_t n, const float *features)
{
    NEED(statistics, "cm_statistics_add");
    if (n) NEED(features, "cm_statistics_add");
    CM_TRY(cmi_context_check_process(statistics->context));
    return cmi_statistics_add(statistics, n, features);
}

cm_status cm_statistics_merge(cm_statistics *into, const cm_statistics *from)
{
    NEED(into, "cm_statistics_merge");
    NEED(from, "cm_statistics_merge");
    return cmi_statistics_merge(into, from);
}

cm_status cm_statistics_given(cm_context *context, int32_t dimension, uint64_t count, const double *mean,
                              const double *covariance, cm_statistics **out)
{
    NEED(out, "cm_statistics_given");
    *out = NULL;
    NEED(mean, "cm_statistics_given");
    NEED(covariance, "cm_statistics_given");
    return cmi_statistics_given(context, dimension, count, mean, covariance, out);
}

cm_status cm_statistics_read(cm_context *context, const char *path, const char *suffix, cm_statistics **out)
{
    NEED(out, "cm_statistics_read");
    *out = NULL;
    NEED(path, "cm_statistics_read");
    return cmi_statistics_read(context, path, suffix, out);
}

cm_status cm_statistics_write(const cm_statistics *statistics, const cm_statistics *spatial, const char *path,
                              int32_t overwrite)
{
    NEED(statistics, "cm_statistics_write");
    NEED(path, "cm_statistics_write");
    if (overwrite < 0 || overwrite > CM_OVERWRITE_YES)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_statistics_write: overwrite is %d, expected 0 or 1", overwrite);
    return cmi_statistics_write(statistics, spatial, path, overwrite);
}

cm_status cm_statistics_mark(cm_statistics *statistics, const cm_features *features)
{
    cm_features_info info;
    NEED(statistics, "cm_statistics_mark");
    NEED(features, "cm_statistics_mark");
    cmi_features_describe(features, &info);
    return cmi_statistics_mark(statistics, &info);
}

cm_status cm_statistics_info_get(const cm_statistics *s, cm_statistics_info *info)
{
    cm_statistics_info i;
    NEED(s, "cm_statistics_info_get");
    NEED(info, "cm_statistics_info_get");
    memset(&i, 0, sizeof i);
    i.dimension = s->dimension;
    i.count = s->count;
    i.network = *s->origin.network ? s->origin.network : NULL;
    i.weights = *s->origin.network ? s->origin.weights : NULL;
    return cm_info_write(info, &i, sizeof i, "cm_statistics_info");
}

cm_status cm_statistics_values(const cm_statistics *statistics, double *mean, double *covariance)
{
    NEED(statistics, "cm_statistics_values");
    return cmi_statistics_values(statistics, mean, covariance);
}

cm_status cm_frechet_distance(const cm_statistics *a, const cm_statistics *b, double *distance)
{
    NEED(a, "cm_frechet_distance");
    NEED(b, "cm_frechet_distance");
    NEED(distance, "cm_frechet_distance");
    CM_TRY(cmi_context_check_process(a->context));
    return cmi_frechet_distance(a, b, distance);
}

/* --- sets of features ------------------------------------------------------------ */

/* Rows of a caller's array. */
static cm_status open_set(const char *call, int32_t dimension, size_t n, const float *values, cm_feature_set *out)
{
    if (dimension < 1 || dimension > CM_FEATURES_MAX)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: rows of %d numbers, expected 1..%d", call, dimension, CM_FEATURES_MAX);
    if (!n || !values) CM_FAIL(CM_ERR_ARGUMENT, "%s: %s", call, n ? "features are NULL" : "features of 0 images");
    if (n > INT32_MAX) CM_FAIL(CM_ERR_LIMIT, "%s: %zu images, at most %d", call, n, INT32_MAX);
    *out = (cm_feature_set){n, (size_t)dimension, values};
    return CM_OK;
}

static cm_status read_subsets(const cm_subset_options *options, cm_subset_options *o)
{
    memset(o, 0, sizeof *o);
    if (options) CM_TRY(cm_options_read(o, sizeof *o, options, "cm_subset_options"));
    if (o->subsets < 0 || o->size < 0 || o->subsets > 1000000)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_subset_options: subsets is %d and size is %d, expected 0..1000000 and 0 up",
                o->subsets, o->size);
    return cmi_reserved_check("cm_subset_options", o->reserved);
}

cm_status cm_frechet_subsets(const cm_statistics *reference, size_t n, const float *features,
                             const cm_subset_options *options, double *mean, double *deviation)
{
    cm_subset_options o;
    cm_feature_set set;
    NEED(reference, "cm_frechet_subsets");
    NEED(mean, "cm_frechet_subsets");
    CM_TRY(cmi_context_check_process(reference->context));
    CM_TRY(open_set("cm_frechet_subsets", reference->dimension, n, features, &set));
    CM_TRY(read_subsets(options, &o));
    return cmi_frechet_subsets(reference, &set, &o, mean, deviation);
}

cm_status cm_frechet_infinity(const cm_statistics *reference, size_t n, const float *features,
                              const cm_subset_options *options, double *distance)
{
    cm_subset_options o;
    cm_feature_set set;
    NEED(reference, "cm_frechet_infinity");
    NEED(distance, "cm_frechet_infinity");
    CM_TRY(cmi_context_check_process(reference->context));
    CM_TRY(open_set("cm_frechet_infinity", reference->dimension, n, features, &set));
    CM_TRY(read_subsets(options, &o));
    return cmi_frechet_infinity(reference, &set, &o, distance);
}

cm_status cm_kernel_distance(cm_context *context, int32_t dimension, size_t n_a, const float *a, size_t n_b,
                             const float *b, const cm_subset_options *options, double *mean, double *deviation)
{
    cm_subset_options o;
    cm_feature_set first, second;
    NEED(mean, "cm_kernel_distance");
    CM_TRY(open_set("cm_kernel_distance", dimension, n_a, a, &first));
    CM_TRY(open_set("cm_kernel_distance", dimension, n_b, b, &second));
    CM_TRY(read_subsets(options, &o));
    CM_TRY(cmi_context_retain(context, &context));
    cm_status status = cmi_kernel_distance(context, &first, &second, &o, mean, deviation);
    cm_context_free(context);
    return status;
}

cm_status cm_inception_score(cm_context *context, int32_t classes, size_t n, const float *values,
                             const cm_score_options *options, double *score, double *deviation)
{
    cm_score_options o;
    cm_feature_set set;
    NEED(score, "cm_inception_score");
    CM_TRY(open_set("cm_inception_score", classes, n, values, &set));
    memset(&o, 0, sizeof o);
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_score_options"));
    if (o.split < 0 || o.probabilities < 0 || o.probabilities > 1)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_score_options: split is %d, probabilities is %d", o.split, o.probabilities);
    CM_TRY(cmi_reserved_check("cm_score_options", o.reserved));
    CM_TRY(cmi_context_retain(context, &context));
    cm_status status = cmi_inception_score(context, &set, &o, score, deviation);
    cm_context_free(context);
    return status;
}

cm_status cm_precision_recall(cm_context *context, int32_t dimension, size_t n_reference, const float *reference,
                              size_t n_samples, const float *samples, const cm_neighbour_options *options,
                              double *precision, double *recall)
{
    cm_neighbour_options o;
    cm_feature_set first, second;
    NEED(precision, "cm_precision_recall");
    NEED(recall, "cm_precision_recall");
    CM_TRY(open_set("cm_precision_recall: reference", dimension, n_reference, reference, &first));
    CM_TRY(open_set("cm_precision_recall: samples", dimension, n_samples, samples, &second));
    memset(&o, 0, sizeof o);
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_neighbour_options"));
    CM_TRY(cmi_context_retain(context, &context));
    cm_status status =
        cmi_precision_recall(context, &first, &second, o.neighbours ? o.neighbours : 3, precision, recall);
    cm_context_free(context);
    return status;
}

/* --- search for a time point -------------------------------------------------------- */

void cm_search_options_init(cm_search_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

cm_status cm_search_point(const cm_search_options *options, cm_point_fn score, void *user, int32_t *best)
{
    cm_search_options o;
    NEED(options, "cm_search_point");
    NEED(score, "cm_search_point");
    NEED(best, "cm_search_point");
    memset(&o, 0, sizeof o);
    CM_TRY(cm_options_read(&o, sizeof o, options, "cm_search_options"));
    if (o.left < 0 || o.right < o.left)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_search_options: left is %d and right is %d, expected 0 <= left <= right", o.left,
                o.right);
    if (o.larger != 0 && o.larger != 1)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_search_options: larger is %d, expected 0 or 1", o.larger);
    return cmi_search_point(&o, score, user, best);
}
