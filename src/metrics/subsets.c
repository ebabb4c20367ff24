/* subsets.c - what a Frechet distance is worth: over random subsets, and for infinitely many images.
 *
 * A distance from n images is too large by about c / n.  Its value at infinity (Chong and Forsyth 2020) is where the
 * line through distances of subsets of several sizes meets 1 / n = 0. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "metrics/frechet.h"
#include "metrics/scores.h"

/* The first `count` places of a shuffled list. */
void cmi_subset(uint64_t seed, uint32_t index, size_t n, size_t count, uint32_t *order)
{
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = 0; i < count && i + 1 < n; i++) {
        const cm_stream stream = {seed, i, index};
        const size_t j = i + cmi_stream_below(&stream, (uint32_t)(n - i));
        const uint32_t other = order[i];
        order[i] = order[j];
        order[j] = other;
    }
}

void cmi_mean_and_deviation(size_t count, const double *values, double *mean, double *deviation)
{
    double sum = 0, square = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    *mean = sum / (double)count;
    for (size_t i = 0; i < count; i++) square += (values[i] - *mean) * (values[i] - *mean);
    if (deviation) *deviation = count > 1 ? sqrt(square / (double)(count - 1)) : 0;
}

typedef struct {
    const cm_statistics *reference;
    const cm_feature_set *samples;
    uint64_t seed;
    uint32_t *order;
    float *chosen;
} drawing;

/* The distance of subset number `index`, of `size` images. */
static cm_status distance_of(const drawing *d, uint32_t index, size_t size, double *out)
{
    const cm_feature_set *set = d->samples;
    cm_statistics *s;
    cmi_subset(d->seed, index, set->n, size, d->order);
    for (size_t i = 0; i < size; i++)
        memcpy(d->chosen + i * set->d, set->values + d->order[i] * set->d, set->d * sizeof *set->values);
    CM_TRY(cmi_statistics_create(d->reference->context, (int32_t)set->d, &s));
    cm_status status = cmi_statistics_add(s, size, d->chosen);
    if (status == CM_OK) status = cmi_frechet_distance(d->reference, s, out);
    cmi_statistics_free(s);
    return status;
}

static cm_status drawing_create(const cm_statistics *reference, const cm_feature_set *samples, uint64_t seed,
                                drawing *d)
{
    *d = (drawing){reference, samples, seed, NULL, NULL};
    if ((size_t)reference->dimension != samples->d)
        CM_FAIL(CM_ERR_SHAPE, "frechet distance: statistics of %d features and images of %zu do not compare",
                reference->dimension, samples->d);
    CM_TRY(cmi_features_check("frechet distance", samples->n, samples->d, samples->values));
    d->order = cmi_malloc(reference->context, samples->n, sizeof *d->order);
    d->chosen = d->order ? cmi_malloc(reference->context, samples->n * samples->d, sizeof *d->chosen) : NULL;
    return d->chosen ? CM_OK : CM_ERR_MEMORY;
}

static void drawing_free(drawing *d)
{
    cmi_free(d->reference->context, d->order);
    cmi_free(d->reference->context, d->chosen);
}

static size_t subsets_of(const cm_subset_options *o, size_t usual)
{
    return o->subsets ? (size_t)o->subsets : usual;
}

static cm_status check_size(size_t size, size_t n)
{
    if (size < 2 || size > n)
        CM_FAIL(CM_ERR_ARGUMENT, "frechet distance: subsets of %zu images, expected 2..%zu", size, n);
    return CM_OK;
}

cm_status cmi_frechet_subsets(const cm_statistics *reference, const cm_feature_set *samples,
                              const cm_subset_options *o, double *mean, double *deviation)
{
    const size_t count = subsets_of(o, 10), size = o->size ? (size_t)o->size : samples->n / 2;
    drawing d;
    if (!o->size && size < 2)
        CM_FAIL(CM_ERR_ARGUMENT, "frechet distance: a subset is half of the images, so it needs 4, and there are %zu",
                samples->n);
    CM_TRY(check_size(size, samples->n));
    double *values = cmi_calloc(reference->context, count, sizeof *values);
    if (!values) return CM_ERR_MEMORY;
    cm_status status = drawing_create(reference, samples, o->seed, &d);
    for (size_t i = 0; i < count && status == CM_OK; i++) status = distance_of(&d, (uint32_t)i, size, &values[i]);
    if (status == CM_OK) cmi_mean_and_deviation(count, values, mean, deviation);
    drawing_free(&d);
    cmi_free(reference->context, values);
    return status;
}

/* Where the line of least squares through (x, y) meets x = 0. */
static double at_zero(size_t n, const double *x, const double *y)
{
    double mx, my, xy = 0, xx = 0;
    cmi_mean_and_deviation(n, x, &mx, NULL);
    cmi_mean_and_deviation(n, y, &my, NULL);
    for (size_t i = 0; i < n; i++) {
        xy += (x[i] - mx) * (y[i] - my);
        xx += (x[i] - mx) * (x[i] - mx);
    }
    return my - xy / xx * mx;
}

/* Sizes evenly from `size` to all images. */
cm_status cmi_frechet_infinity(const cm_statistics *reference, const cm_feature_set *samples,
                               const cm_subset_options *o, double *out)
{
    const size_t count = subsets_of(o, 15), least = o->size ? (size_t)o->size : samples->n / 10;
    drawing d;
    if (!o->size && least < 2)
        CM_FAIL(
            CM_ERR_ARGUMENT,
            "frechet distance at infinity: the smallest subset is a tenth of the images, so it needs 20, and there "
            "are %zu",
            samples->n);
    CM_TRY(check_size(least, samples->n));
    if (count < 2 || least == samples->n)
        CM_FAIL(CM_ERR_ARGUMENT, "frechet distance at infinity: a line needs two subsets of different sizes");
    double *x = cmi_calloc(reference->context, 2 * count, sizeof *x);
    if (!x) return CM_ERR_MEMORY;
    cm_status status = drawing_create(reference, samples, o->seed, &d);
    for (size_t i = 0; i < count && status == CM_OK; i++) {
        const size_t size = least + (samples->n - least) * i / (count - 1);
        x[i] = 1 / (double)size;
        status = distance_of(&d, (uint32_t)i, size, &x[count + i]);
    }
    if (status == CM_OK) *out = at_zero(count, x, x + count);
    drawing_free(&d);
    cmi_free(reference->context, x);
    return status;
}
