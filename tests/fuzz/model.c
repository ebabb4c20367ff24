/* Any bytes as a model, in place and through a function: both ways the same, refused, or written and loaded again
 * with the same values. */
#include <consistency/model.h>

#include "fuzz/watched.h"

typedef struct {
    const uint8_t *data;
    size_t size;
} block;

static int32_t give(void *user, uint64_t offset, void *to, size_t n)
{
    const block *b = user;
    if (offset >= b->size) return 0;
    if (n > b->size - offset) n = b->size - offset;
    if (n > 100) n = 100;
    memcpy(to, b->data + offset, n);
    return (int32_t)n;
}

static void compare(const cm_model *a, const cm_model *b)
{
    if (cm_model_param_count(a) != cm_model_param_count(b)) fuzz_fail("other tensors in writing");
    for (size_t i = 0; i < cm_model_param_count(a); i++) {
        const char *x, *y;
        int32_t rank, other, type;
        int64_t shape[8], changed[8];
        size_t n = 1;
        if (cm_model_param_info(a, i, &x, &rank, shape, &type) != CM_OK) fuzz_fail("no information");
        if (cm_model_param_info(b, i, &y, &other, changed, &type) != CM_OK) fuzz_fail("no information");
        if (strcmp(x, y) != 0 || rank != other || memcmp(shape, changed, (size_t)rank * sizeof *shape) != 0)
            fuzz_fail("another tensor in writing");
        for (int k = 0; k < rank; k++) n *= (size_t)shape[k];
        float *values = malloc(2 * n * sizeof *values + 1);
        if (cm_model_param_read(a, i, n, values) != CM_OK || cm_model_param_read(b, i, n, values + n) != CM_OK)
            fuzz_fail("values cannot be read");
        if (memcmp(values, values + n, n * sizeof *values) != 0) fuzz_fail("values change in writing");
        free(values);
    }
}

static cm_status rewrite(cm_context *context, cm_model *m)
{
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    cm_model *again;
    const char *path = fuzz_path("again.safetensors");
    o.overwrite = CM_OVERWRITE_YES;
    cm_status status = cm_model_save(m, path, &o);
    if (status == CM_OK) {
        status = cm_model_load(context, path, NULL, &again);
        if (status != CM_OK && status != CM_ERR_MEMORY) fuzz_fail("what was written is refused");
        if (status == CM_OK) {
            compare(m, again);
            cm_model_free(again);
        }
    }
    (void)unlink(path);
    return status;
}

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    block b = {data, size};
    cm_reader r = CM_READER_INIT;
    cm_model *m, *again;
    r.size = size + (size ? data[size - 1] % 2 : 1); /* a length may be wrong */
    r.read = give;
    r.user = &b;
    cm_status status = cm_model_load_memory(context, data, size, NULL, &m);
    if (status == CM_ERR_MEMORY) return status;
    const cm_status other = cm_model_load_stream(context, &r, NULL, &again);
    if (other == CM_OK) {
        if (status != CM_OK) fuzz_fail("one way to read refuses what the other takes");
        cm_model_free(again);
    }
    if (status != CM_OK) return other == CM_ERR_MEMORY ? other : status;
    status = other == CM_ERR_MEMORY ? other : rewrite(context, m);
    cm_model_free(m);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(work, data, size, 0);
}
