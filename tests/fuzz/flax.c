/* Any bytes as msgpack, and as a state of flax, for a model and as data: refused, or every tensor readable, the same
 * from memory and through reads; and never more memory than 16 bytes for each byte and 16 MiB. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io/msgpack.h"
#include "support/memory.h"
#include "support/tensors.h"

static int32_t give(void *user, uint64_t offset, void *to, size_t n)
{
    memcpy(to, (const uint8_t *)user + offset, n);
    return (int32_t)n;
}

static void compare(const cm_tensors *a, const cm_tensors *b)
{
    if (a->count != b->count) __builtin_trap();
    for (size_t i = 0; i < a->count; i++) {
        const cm_tensor *x = &a->tensors[i], *y = &b->tensors[i];
        if (strcmp(x->name, y->name) != 0 || x->bytes != y->bytes) __builtin_trap();
        unsigned char *p = malloc(x->bytes + 1), *q = malloc(x->bytes + 1);
        if (cmi_tensor_fetch(x, p) != CM_OK || cmi_tensor_fetch(y, q) != CM_OK) __builtin_trap();
        if (memcmp(p, q, x->bytes) != 0) __builtin_trap();
        free(p);
        free(q);
    }
}

static void open_both(cm_context *context, const uint8_t *data, size_t size, int as_data)
{
    static const cm_tensor_format *const formats[] = {&cmi_format_flax, NULL};
    const cm_reader reader = {sizeof reader, 0, size, give, (void *)(uintptr_t)data};
    cm_input in, again;
    cm_tensors held, fetched;
    if (cmi_input_memory(context, "input", data, size, CM_INPUT_IN_PLACE, &in) != CM_OK) return;
    in.as_data = as_data;
    cm_status status = cmi_tensors_open_as(formats, &in, &held);
    if (cmi_input_reader(context, &reader, CM_INPUT_FETCHED, &again) == CM_OK) {
        again.as_data = as_data;
        if (cmi_tensors_open_as(formats, &again, &fetched) == CM_OK) {
            if (status != CM_OK) __builtin_trap();
            compare(&held, &fetched);
            cmi_tensors_close(&fetched);
        } else if (status == CM_OK) {
            __builtin_trap();
        }
    }
    if (status == CM_OK) cmi_tensors_close(&held);
}

/* What is one value can be stepped over as a whole. */
static void step_over(cm_context *context, const uint8_t *data, size_t size)
{
    cm_input in;
    size_t at = 0;
    if (cmi_input_memory(context, "input", data, size, CM_INPUT_IN_PLACE, &in) != CM_OK) return;
    if (cmi_msgpack_check(&in, 0, size) == CM_OK && (cmi_msgpack_skip(&in, &at, size) != CM_OK || at != size))
        __builtin_trap();
    cmi_input_close(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memory counted;
    cm_context *context;
    memory_reset(&counted);
    cm_context_options options = memory_options(&counted, 1);
    if (cm_context_create(&options, &context) != CM_OK) return 0;
    step_over(context, data, size);
    for (int as_data = 0; as_data < 2; as_data++) open_both(context, data, size, as_data);
    cm_context_free(context);
    if (counted.live || counted.peak > 16 * (long long)size + (16 << 20)) __builtin_trap();
    return 0;
}
