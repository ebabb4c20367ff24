/* features_file.c - rows of features in an .npz file, with the network that they are of. */
#include <stdio.h>
#include <string.h>

#include "io/npz.h"
#include "metrics/features.h"
#include "metrics/statistics.h"
#include "nets/feature_net.h"

/* Arrays of the outputs; the first one is always there. */
static const char *const names[CM_FEATURE_OUTPUTS] = {"features", "logits", "scores", "spatial",
                                                      "early0",   "early1", "early2"};

static size_t width_of(const cm_features_info *info, int output)
{
    const int32_t widths[CM_FEATURE_OUTPUTS] = {info->features, info->classes,  info->spatial ? info->classes : 0,
                                                info->spatial,  info->early[0], info->early[1],
                                                info->early[2]};
    return (size_t)widths[output];
}

static cm_status check_rows(const cm_features_info *info, float *const *rows, const char *call)
{
    if (!rows[CM_FEATURE_VALUES]) CM_FAIL(CM_ERR_ARGUMENT, "%s: values are NULL", call);
    for (int i = 0; i < CM_FEATURE_OUTPUTS; i++)
        if (rows[i] && !width_of(info, i))
            CM_FAIL(CM_ERR_ARGUMENT, "%s: there are no %s of %s", call, names[i], info->network);
    return CM_OK;
}

/* n rows of each output, all of them finite. */
static cm_status check_values(const cm_features_info *info, float *const *rows, size_t n, const char *whose)
{
    char what[512];
    for (int i = 0; i < CM_FEATURE_OUTPUTS; i++) {
        (void)snprintf(what, sizeof what, "%.400s: %s", whose, names[i]);
        if (rows[i]) CM_TRY(cmi_features_check(what, n, width_of(info, i), rows[i]));
    }
    return CM_OK;
}

cm_status cmi_features_write(cm_context *context, const cm_features_info *info, const char *path, size_t n,
                             float *const *rows, const int32_t *labels, int32_t overwrite)
{
    cm_npz_array arrays[CM_FEATURE_OUTPUTS + 3];
    size_t count = 0;
    if (!n) CM_FAIL(CM_ERR_ARGUMENT, "cm_features_write: there are no images");
    CM_TRY(check_rows(info, rows, "cm_features_write"));
    CM_TRY(check_values(info, rows, n, "cm_features_write"));
    if (labels) CM_TRY(cmi_check_array("cm_features_write: labels", n, sizeof *labels));
    for (int i = 0; i < CM_FEATURE_OUTPUTS; i++)
        if (rows[i])
            arrays[count++] = (cm_npz_array){names[i], "<f4", 2, {n, width_of(info, i)}, sizeof(float), rows[i]};
    int64_t *classes = labels ? cmi_malloc(context, n, sizeof *classes) : NULL;
    if (labels && !classes) return CM_ERR_MEMORY;
    for (size_t i = 0; classes && i < n; i++) classes[i] = labels[i];
    if (classes) arrays[count++] = (cm_npz_array){"labels", "<i8", 1, {n}, sizeof *classes, classes};
    arrays[count++] = cmi_npz_text("network", info->network);
    arrays[count++] = cmi_npz_text("weights", info->weights);
    cm_status status = cmi_npz_write(context, path, overwrite, arrays, count);
    cmi_free(context, classes);
    return status;
}

/* --- reading -------------------------------------------------------------------------- */

/* ARGUMENT where the file says another text: its numbers do not compare. */
static cm_status expect_text(cm_npz *npz, const char *path, const char *name, const char *text)
{
    char found[CM_ORIGIN_TEXT];
    CM_TRY(cmi_npz_read_text(npz, name, sizeof found, found));
    if (strcmp(found, text) == 0) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "%s holds features of %s '%s', expected '%s': values of the two do not compare", path,
            name, found, text);
}

/* n x width floats; *n 0: any number of them. */
static cm_status read_rows(cm_npz *npz, const char *path, int output, size_t width, size_t *n, float *to)
{
    cm_npy array;
    if (!cmi_npz_has(npz, names[output]))
        CM_FAIL(CM_ERR_FORMAT, "%s: there is no array '%s', which is asked for", path, names[output]);
    CM_TRY(cmi_npz_read(npz, names[output], &array));
    if (array.kind != 'f' || array.bytes != 4 || array.swapped || array.fortran)
        CM_FAIL(CM_ERR_FORMAT, "%s: '%s' holds no float32 values, row after row", path, names[output]);
    if (array.rank != 2 || array.shape[1] != width || array.shape[0] < 1 || (*n && array.shape[0] != *n))
        CM_FAIL(CM_ERR_FORMAT, "%s: '%s' is not n x %zu", path, names[output], width);
    *n = array.shape[0];
    if (to) memcpy(to, array.data, array.count * sizeof *to);
    return CM_OK;
}

static cm_status read_labels(cm_npz *npz, const char *path, size_t n, int32_t *labels)
{
    cm_npy array;
    for (size_t i = 0; i < n; i++) labels[i] = -1;
    if (!cmi_npz_has(npz, "labels")) return CM_OK;
    CM_TRY(cmi_npz_read(npz, "labels", &array));
    if (array.rank != 1 || array.count != n) CM_FAIL(CM_ERR_FORMAT, "%s: there are not %zu labels", path, n);
    for (size_t i = 0; i < n; i++) {
        const double label = cmi_npy_value(&array, i);
        if (!(label >= -1 && label <= INT32_MAX) || label != (double)(int32_t)label)
            CM_FAIL(CM_ERR_FORMAT, "%s: label %zu is no class", path, i);
        labels[i] = (int32_t)label;
    }
    return CM_OK;
}

static cm_status read_from(cm_npz *npz, const cm_features_info *info, const char *path, size_t *n, float *const *rows,
                           int32_t *labels)
{
    size_t found = 0;
    if (!cmi_npz_has(npz, names[0]) || !cmi_npz_has(npz, "network") || !cmi_npz_has(npz, "weights"))
        CM_FAIL(CM_ERR_FORMAT, "%s holds no features of a network (features, network, weights)", path);
    CM_TRY(expect_text(npz, path, "network", info->network));
    CM_TRY(expect_text(npz, path, "weights", info->weights));
    CM_TRY(read_rows(npz, path, 0, width_of(info, 0), &found, NULL));
    if (rows && found != *n) CM_FAIL(CM_ERR_ARGUMENT, "%s holds %zu images, not %zu", path, found, *n);
    for (int i = 0; rows && i < CM_FEATURE_OUTPUTS; i++)
        if (rows[i]) CM_TRY(read_rows(npz, path, i, width_of(info, i), &found, rows[i]));
    if (rows) CM_TRY(check_values(info, rows, found, path));
    if (labels) CM_TRY(read_labels(npz, path, found, labels));
    *n = found;
    return CM_OK;
}

cm_status cmi_features_read(cm_context *context, const cm_features_info *info, const char *path, size_t *n,
                            float *const *rows, int32_t *labels)
{
    cm_npz *npz;
    if (rows) CM_TRY(check_rows(info, rows, "cm_features_read"));
    CM_TRY(cmi_npz_open(context, path, &npz));
    const cm_status status = read_from(npz, info, path, n, rows, labels);
    cmi_npz_close(npz);
    return status;
}
