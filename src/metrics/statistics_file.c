/* statistics_file.c - mu and sigma in an .npz file, as pytorch-fid, EDM and OpenAI's evaluator keep them. */
#include <stdio.h>
#include <string.h>

#include "io/npz.h"
#include "metrics/statistics.h"

enum { NAME = 64, SUFFIX = 32 };

/* mu of d and sigma of d x d values. */
static cm_status read_mean(cm_npz *npz, const char *path, const char *name, int32_t *d, cm_context *context,
                           double **mean)
{
    cm_npy array;
    CM_TRY(cmi_npz_read(npz, name, &array));
    if (array.rank != 1 || array.count < 1 || array.count > CM_FEATURES_MAX)
        CM_FAIL(CM_ERR_FORMAT, "%s: %s is no vector of 1..%d features", path, name, CM_FEATURES_MAX);
    *d = (int32_t)array.count;
    *mean = cmi_malloc(context, array.count, sizeof **mean);
    if (!*mean) return CM_ERR_MEMORY;
    cmi_npy_doubles(&array, *mean);
    return CM_OK;
}

static cm_status read_covariance(cm_npz *npz, const char *path, const char *name, int32_t d, cm_context *context,
                                 double **covariance)
{
    cm_npy array;
    CM_TRY(cmi_npz_read(npz, name, &array));
    if (array.rank != 2 || array.shape[0] != (size_t)d || array.shape[1] != (size_t)d)
        CM_FAIL(CM_ERR_FORMAT, "%s: %s is not %d x %d as the mean's %d features ask for", path, name, d, d, d);
    *covariance = cmi_malloc(context, array.count, sizeof **covariance);
    if (!*covariance) return CM_ERR_MEMORY;
    cmi_npy_doubles(&array, *covariance);
    return CM_OK;
}

/* How many images there were, where the file says so. */
static cm_status read_count(cm_npz *npz, const char *path, uint64_t *count)
{
    cm_npy array;
    *count = 0;
    if (!cmi_npz_has(npz, "count")) return CM_OK;
    CM_TRY(cmi_npz_read(npz, "count", &array));
    const double n = array.count == 1 ? cmi_npy_value(&array, 0) : -1;
    if (!(n >= 0 && n <= (double)CM_COUNT_MAX && n - (double)(uint64_t)n <= 0))
        CM_FAIL(CM_ERR_FORMAT, "%s: count is no number of images", path);
    *count = (uint64_t)n;
    return CM_OK;
}

/* What network the features are of, where the file says so. */
static cm_status read_origin(cm_npz *npz, cm_origin *origin)
{
    memset(origin, 0, sizeof *origin);
    if (!cmi_npz_has(npz, "network") || !cmi_npz_has(npz, "weights")) return CM_OK;
    CM_TRY(cmi_npz_read_text(npz, "network", sizeof origin->network, origin->network));
    return cmi_npz_read_text(npz, "weights", sizeof origin->weights, origin->weights);
}

static cm_status read_from(cm_npz *npz, cm_context *context, const char *path, const char *suffix,
                           cm_statistics **out)
{
    char mu[NAME], sigma[NAME];
    double *mean = NULL, *covariance = NULL;
    int32_t d = 0;
    uint64_t count;
    cm_origin origin;
    (void)snprintf(mu, sizeof mu, "mu%.32s", suffix);
    (void)snprintf(sigma, sizeof sigma, "sigma%.32s", suffix);
    if (!cmi_npz_has(npz, mu) && cmi_npz_has(npz, "arr_0"))
        CM_FAIL(CM_ERR_FORMAT, "%s holds images (arr_0) and no statistics (%s): open it as a data set", path, mu);
    CM_TRY(read_count(npz, path, &count));
    CM_TRY(read_origin(npz, &origin));
    cm_status status = read_mean(npz, path, mu, &d, context, &mean);
    if (status == CM_OK) status = read_covariance(npz, path, sigma, d, context, &covariance);
    if (status == CM_OK) status = cmi_statistics_given(context, d, count, mean, covariance, out);
    if (status == CM_OK) (*out)->origin = origin;
    if (status == CM_ERR_NUMERIC) status = cmi_fail(status, "%s: %s", path, cm_last_message());
    cmi_free(context, mean);
    cmi_free(context, covariance);
    return status;
}

cm_status cmi_statistics_read(cm_context *context, const char *path, const char *suffix, cm_statistics **out)
{
    cm_npz *npz;
    *out = NULL;
    if (suffix && strlen(suffix) > SUFFIX)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: a suffix of %zu characters, at most %d", path, strlen(suffix), SUFFIX);
    CM_TRY(cmi_context_retain(context, &context));
    cm_status status = cmi_npz_open(context, path, &npz);
    if (status == CM_OK) {
        status = read_from(npz, context, path, suffix ? suffix : "", out);
        cmi_npz_close(npz);
    }
    cm_context_free(context);
    return status;
}

/* Two arrays of one set; the values are in `values`, d and then d x d. */
static cm_status describe(const cm_statistics *s, const char *mu, const char *sigma, double **values,
                          cm_npz_array *arrays)
{
    const size_t d = (size_t)s->dimension;
    *values = cmi_malloc(s->context, d * (d + 1), sizeof **values);
    if (!*values) return CM_ERR_MEMORY;
    arrays[0] = (cm_npz_array){mu, "<f8", 1, {d}, sizeof(double), *values};
    arrays[1] = (cm_npz_array){sigma, "<f8", 2, {d, d}, sizeof(double), *values + d};
    return cmi_statistics_values(s, *values, *values + d);
}

cm_status cmi_statistics_write(const cm_statistics *s, const cm_statistics *spatial, const char *path, int overwrite)
{
    cm_npz_array arrays[7];
    double *own = NULL, *of_space = NULL;
    const int64_t count = (int64_t)s->count;
    size_t n = 2;
    cm_status status = describe(s, "mu", "sigma", &own, arrays);
    if (status == CM_OK && spatial) {
        status = describe(spatial, "mu_s", "sigma_s", &of_space, arrays + n);
        n += 2;
    }
    if (s->count) arrays[n++] = (cm_npz_array){"count", "<i8", 0, {0}, sizeof count, &count};
    if (*s->origin.network) {
        arrays[n++] = cmi_npz_text("network", s->origin.network);
        arrays[n++] = cmi_npz_text("weights", s->origin.weights);
    }
    if (status == CM_OK && spatial) status = cmi_origin_compare("statistics", &s->origin, &spatial->origin);
    if (status == CM_OK) status = cmi_npz_write(s->context, path, overwrite, arrays, n);
    cmi_free(s->context, own);
    if (spatial) cmi_free(spatial->context, of_space);
    return status;
}
