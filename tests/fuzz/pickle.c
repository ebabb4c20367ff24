/* Any bytes as a pickle: refused, or a value that can be looked at. */
#include <stdint.h>

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cm_context *context;
    cm_input in;
    cm_pickle *pickle;
    cm_pickled *value;
    size_t after;
    if (cm_context_create(NULL, &context) != CM_OK) return 0;
    if (cmi_input_memory(context, "input", data, size, CM_INPUT_IN_PLACE, &in) == CM_OK) {
        if (cmi_pickle_open(&in, size, &pickle) == CM_OK &&
            cmi_pickle_run(pickle, "it", 0, size, &value, &after) == CM_OK)
            if (after > size || walk(value, 0) == 0) __builtin_trap();
        cmi_pickle_close(pickle);
        cmi_input_close(&in);
    }
    cm_context_free(context);
    return 0;
}
