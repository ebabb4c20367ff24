/* statistics.c - see the header. */
#include "metrics/statistics.h"

#include <stdio.h>
#include <string.h>

#include "metrics/tiles.h"
#include "tensor/finite.h"

cm_status cmi_features_check(const char *what, size_t n, size_t dimension, const float *features)
{
    size_t count;
    if (!cmi_mul_size(n, dimension, &count)) CM_FAIL(CM_ERR_LIMIT, "%s: %zu x %zu features", what, n, dimension);
    CM_TRY(cmi_check_array(what, count, sizeof *features));
    const size_t at = cmi_first_nonfinite_f32(count, features);
    if (at == count) return CM_OK;
    CM_FAIL(CM_ERR_NUMERIC, "%s: feature %zu of image %zu is %g", what, at % dimension, at / dimension,
            (double)features[at]);
}

static cm_status check_dimension(int64_t dimension)
{
    if (dimension < 1 || dimension > CM_FEATURES_MAX)
        CM_FAIL(CM_ERR_ARGUMENT, "statistics of %lld features, expected 1..%d", (long long)dimension,
                CM_FEATURES_MAX);
    return CM_OK;
}

cm_status cmi_statistics_create(cm_context *context, int32_t dimension, cm_statistics **out)
{
    const size_t d = (size_t)dimension;
    *out = NULL;
    CM_TRY(check_dimension(dimension));
    CM_TRY(cmi_context_retain(context, &context));
    cm_statistics *s = cmi_calloc(context, 1, sizeof *s);
    if (!s) {
        cm_context_free(context);
        return CM_ERR_MEMORY;
    }
    s->context = context;
    s->dimension = dimension;
    s->shift = cmi_calloc(context, d, sizeof *s->shift);
    s->sum = s->shift ? cmi_calloc(context, d, sizeof *s->sum) : NULL;
    s->square = s->sum ? cmi_calloc(context, d * d, sizeof *s->square) : NULL;
    if (!s->square) {
        cmi_statistics_free(s);
        return CM_ERR_MEMORY;
    }
    *out = s;
    return CM_OK;
}

cm_status cmi_statistics_given(cm_context *context, int32_t dimension, uint64_t count, const double *mean,
                               const double *covariance, cm_statistics **out)
{
    const size_t d = (size_t)dimension;
    if (count > CM_COUNT_MAX)
        CM_FAIL(CM_ERR_ARGUMENT, "statistics of %llu images, at most %llu", (unsigned long long)count,
                (unsigned long long)CM_COUNT_MAX);
    CM_TRY(cmi_statistics_create(context, dimension, out));
    size_t at = cmi_first_nonfinite(d, mean), bad = cmi_first_nonfinite(d * d, covariance);
    cm_status status = CM_OK;
    if (at < d) status = cmi_fail(CM_ERR_NUMERIC, "statistics: value %zu of the mean is %g", at, mean[at]);
    else if (bad < d * d)
        status = cmi_fail(CM_ERR_NUMERIC, "statistics: value (%zu, %zu) of the covariance is %g", bad / d, bad % d,
                          covariance[bad]);
    if (status != CM_OK) {
        cmi_statistics_free(*out);
        *out = NULL;
        return status;
    }
    (*out)->given = 1;
    (*out)->count = count;
    memcpy((*out)->sum, mean, d * sizeof *mean);
    memcpy((*out)->square, covariance, d * d * sizeof *covariance);
    return CM_OK;
}

void cmi_statistics_free(cm_statistics *s)
{
    if (!s) return;
    cm_context *context = s->context;
    cmi_free(context, s->shift);
    cmi_free(context, s->sum);
    cmi_free(context, s->square);
    cmi_free(context, s);
    cm_context_free(context);
}

cm_status cmi_origin_compare(const char *what, const cm_origin *a, const cm_origin *b)
{
    if (!*a->network || !*b->network) return CM_OK;
    if (strcmp(a->network, b->network) != 0)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: features of the network %s and of %s do not compare", what, a->network,
                b->network);
    if (strcmp(a->weights, b->weights) != 0)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: features of %s with the weights %s and with the weights %s do not compare",
                what, a->network, a->weights, b->weights);
    return CM_OK;
}

cm_status cmi_statistics_mark(cm_statistics *s, const cm_features_info *info)
{
    const int32_t widths[] = {info->features, info->spatial, info->early[0], info->early[1], info->early[2]};
    cm_origin origin;
    size_t i = 0;
    while (i < sizeof widths / sizeof *widths && widths[i] != s->dimension) i++;
    if (i == sizeof widths / sizeof *widths)
        CM_FAIL(CM_ERR_SHAPE, "statistics of %d features, and the network %s has %d: they are of another network",
                s->dimension, info->network, info->features);
    (void)snprintf(origin.network, sizeof origin.network, "%s", info->network);
    (void)snprintf(origin.weights, sizeof origin.weights, "%s", info->weights);
    CM_TRY(cmi_origin_compare("statistics", &s->origin, &origin));
    s->origin = origin;
    return CM_OK;
}

static cm_status check_gathers(const cm_statistics *s)
{
    if (s->given)
        CM_FAIL(CM_ERR_STATE, "statistics: their mean and covariance were given, so no image can be added to them");
    return CM_OK;
}

cm_status cmi_statistics_add(cm_statistics *s, size_t n, const float *features)
{
    const size_t d = (size_t)s->dimension;
    CM_TRY(check_gathers(s));
    if (!n) return CM_OK;
    CM_TRY(cmi_features_check("statistics", n, d, features));
    for (size_t i = 0; i < d && !s->count; i++) s->shift[i] = (double)features[i];
    cm_tiling t = {s->context, cmi_tiles_sums(s->context)->products, d, d, n, d, {0}, {0}, 1};
    t.a = cmi_operand_features(features, d, 0);
    t.a.shift = s->shift;
    t.b = t.a;
    CM_TRY(cmi_tiles_add(&t, s->square));
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < d; i++) s->sum[i] += (double)features[k * d + i] - s->shift[i];
    s->count += n;
    return CM_OK;
}

/* With e = s' - s: the sums about s of what was summed about s'. */
cm_status cmi_statistics_merge(cm_statistics *into, const cm_statistics *from)
{
    const size_t d = (size_t)into->dimension;
    const double n = (double)from->count;
    CM_TRY(check_gathers(into));
    CM_TRY(check_gathers(from));
    if (into == from) CM_FAIL(CM_ERR_ARGUMENT, "statistics cannot be merged with themselves");
    if (into->dimension != from->dimension)
        CM_FAIL(CM_ERR_SHAPE, "statistics of %d features cannot be merged with those of %d", into->dimension,
                from->dimension);
    CM_TRY(cmi_origin_compare("merging statistics", &into->origin, &from->origin));
    if (!from->count) return CM_OK;
    if (!into->count) {
        memcpy(into->shift, from->shift, d * sizeof *into->shift);
        into->origin = from->origin;
    }
    for (size_t i = 0; i < d; i++) {
        const double ei = from->shift[i] - into->shift[i];
        for (size_t j = 0; j <= i; j++) {
            const double ej = from->shift[j] - into->shift[j];
            into->square[i * d + j] +=
                from->square[i * d + j] + (from->sum[i] * ej + ei * from->sum[j]) + n * ei * ej;
        }
    }
    for (size_t i = 0; i < d; i++) into->sum[i] += from->sum[i] + n * (from->shift[i] - into->shift[i]);
    into->count += from->count;
    return CM_OK;
}

cm_status cmi_statistics_values(const cm_statistics *s, double *mean, double *covariance)
{
    const size_t d = (size_t)s->dimension;
    const double n = (double)s->count;
    if (s->given) {
        if (mean) memcpy(mean, s->sum, d * sizeof *mean);
        if (covariance) memcpy(covariance, s->square, d * d * sizeof *covariance);
        return CM_OK;
    }
    if (s->count < 1 || (covariance && s->count < 2))
        CM_FAIL(CM_ERR_STATE, "statistics of %llu image%s: a %s needs %s", (unsigned long long)s->count,
                s->count == 1 ? "" : "s", covariance ? "covariance" : "mean", covariance ? "two" : "one");
    for (size_t i = 0; mean && i < d; i++) mean[i] = s->shift[i] + s->sum[i] / n;
    for (size_t i = 0; covariance && i < d; i++)
        for (size_t j = 0; j <= i; j++)
            covariance[i * d + j] = covariance[j * d + i] =
                (s->square[i * d + j] - s->sum[i] * s->sum[j] / n) / (n - 1);
    return CM_OK;
}
