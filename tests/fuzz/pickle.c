/* Any bytes as a pickle: refused, or a value that can be looked at. */
#include "fuzz/watched.h"
#include "io/pickle.h"

/* As deep as values nest when they are made; circles end there too. */
static size_t walk(const cm_pickled *v, int depth)
{
    size_t n = 1;
    const int inner = v->kind >= CM_PICKLED_TUPLE && v->kind <= CM_PICKLED_DICT;
    (void)cmi_pickled_name(v);
    (void)cmi_pickled_text(v);
    (void)cmi_pickled_get(v, "w");
    for (uint32_t i = 0; inner && depth < 4 && i < v->count && i < 8; i++) n += walk(v->u.items[i], depth + 1);
    return n;
}

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    cm_input in;
    cm_pickle *pickle = NULL;
    cm_pickled *value;
    size_t after;
    CM_TRY(cmi_input_memory(context, "input", data, size, CM_INPUT_IN_PLACE, &in));
    cm_status status = cmi_pickle_open(&in, size, &pickle);
    if (status == CM_OK) status = cmi_pickle_run(pickle, "it", 0, size, &value, &after);
    if (status == CM_OK && (after > size || walk(value, 0) == 0)) fuzz_fail("a value that ends outside");
    cmi_pickle_close(pickle);
    cmi_input_close(&in);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(work, data, size, fuzz_bound(size));
}
