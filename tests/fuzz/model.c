/* Any bytes as a model, in place and through a function: refused, or written and loaded again. */
#include <stdint.h>
#include <string.h>

#include <consistency/model.h>

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    block b = {data, size};
    cm_reader r = CM_READER_INIT;
    cm_model *m, *again;
    r.size = size + (size ? data[size - 1] % 2 : 1); /* a length may be wrong */
    r.read = give;
    r.user = &b;
    cm_status status = cm_model_load_memory(NULL, data, size, NULL, &m);
    if (cm_model_load_stream(NULL, &r, NULL, &again) == CM_OK) {
        if (status != CM_OK) __builtin_trap();
        cm_model_free(again);
    }
    if (status != CM_OK) return 0;
    for (size_t i = 0; i < cm_model_param_count(m); i++) {
        float one;
        (void)cm_model_param_read(m, i, 1, &one);
    }
    cm_model_free(m);
    return 0;
}
