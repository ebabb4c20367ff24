/* Any bytes as a NumPy array: what is accepted can be read to its end; and as an archive of arrays, and as statistics
 * of features, which are written and read again as they were. */
#include <consistency/metrics.h>

#include "fuzz/watched.h"
#include "io/npz.h"

static cm_status as_array(cm_context *context, const uint8_t *data, size_t size)
{
    cm_npy a;
    volatile double sum = 0;
    (void)context;
    CM_TRY(cmi_npy_parse("input", data, size, &a));
    for (size_t i = 0; i < a.count; i++) sum = sum + cmi_npy_value(&a, i);
    return CM_OK;
}

static cm_status read_archive(cm_context *context, const char *path)
{
    static const char *const names[] = {"mu", "sigma", "count", "arr_0", "features", "labels"};
    cm_npz *npz;
    char text[64];
    CM_TRY(cmi_npz_open(context, path, &npz));
    cm_status status = CM_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status != CM_ERR_MEMORY; i++) {
        cm_npy a;
        if (!cmi_npz_has(npz, names[i])) continue;
        status = cmi_npz_read(npz, names[i], &a);
        double *values = status == CM_OK ? malloc((a.count + 1) * sizeof *values) : NULL;
        if (values) cmi_npy_doubles(&a, values);
        free(values);
    }
    if (status != CM_ERR_MEMORY) status = cmi_npz_read_text(npz, "network", sizeof text, text);
    cmi_npz_close(npz);
    return status == CM_ERR_MEMORY ? status : CM_OK;
}

static void same_values(const cm_statistics *a, const cm_statistics *b)
{
    cm_statistics_info x = CM_STATISTICS_INFO_INIT, y = CM_STATISTICS_INFO_INIT;
    if (cm_statistics_info_get(a, &x) != CM_OK || cm_statistics_info_get(b, &y) != CM_OK) fuzz_fail("no information");
    if (x.dimension != y.dimension || x.count != y.count) fuzz_fail("statistics change in writing");
    const size_t d = (size_t)x.dimension;
    double *values = calloc(2 * d * (d + 1), sizeof *values);
    if (cm_statistics_values(a, values, values + d) != CM_OK) fuzz_fail("no values");
    if (cm_statistics_values(b, values + d * (d + 1), values + d * (d + 1) + d) != CM_OK) fuzz_fail("no values");
    if (memcmp(values, values + d * (d + 1), d * (d + 1) * sizeof *values) != 0)
        fuzz_fail("values change in writing");
    free(values);
}

static cm_status rewrite(cm_context *context, const cm_statistics *s)
{
    cm_statistics *again = NULL;
    const char *path = fuzz_path("again.npz");
    cm_status status = cm_statistics_write(s, NULL, path, 1);
    if (status == CM_OK) {
        status = cm_statistics_read(context, path, NULL, &again);
        if (status != CM_OK && status != CM_ERR_MEMORY) fuzz_fail("what was written is refused");
    }
    if (status == CM_OK) same_values(s, again);
    cm_statistics_free(again);
    (void)unlink(path);
    return status;
}

static cm_status as_file(cm_context *context, const uint8_t *data, size_t size)
{
    char path[64];
    cm_statistics *s;
    const int fd = fuzz_file(data, size, path);
    if (fd < 0) return CM_OK;
    cm_status status = read_archive(context, path);
    if (status != CM_ERR_MEMORY) status = cm_statistics_read(context, path, NULL, &s);
    if (status == CM_OK) {
        status = rewrite(context, s);
        cm_statistics_free(s);
    }
    (void)close(fd);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)fuzz_watched(as_array, data, size, fuzz_bound(size));
    return size > 3 && data[0] == 'P' ? fuzz_watched(as_file, data, size, 0) : 0;
}
