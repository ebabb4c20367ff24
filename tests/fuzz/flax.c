/* Any bytes as msgpack, and as a state of flax, for a model and as data: refused, or every tensor readable, the same
 * from memory and through reads; and never more memory than 16 bytes for each byte and 16 MiB. */
#include "fuzz/watched.h"
#include "io/msgpack.h"

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

/* From memory and through reads: both are read, or both are refused. */
static cm_status open_both(cm_context *context, const uint8_t *data, size_t size, int as_data)
{
    static const cm_tensor_format *const formats[] = {&cmi_format_flax, NULL};
    const cm_reader reader = {sizeof reader, 0, size, give, (void *)(uintptr_t)data};
    cm_input in, again;
    cm_tensors held, fetched;
    CM_TRY(cmi_input_memory(context, "input", data, size, CM_INPUT_IN_PLACE, &in));
    in.as_data = as_data;
    const cm_status status = cmi_tensors_open_as(formats, &in, &held);
    if (status == CM_ERR_MEMORY) return status;
    cm_status other = cmi_input_reader(context, &reader, CM_INPUT_FETCHED, &again);
    if (other == CM_OK) {
        again.as_data = as_data;
        other = cmi_tensors_open_as(formats, &again, &fetched);
        if (other != CM_ERR_MEMORY && other != status) fuzz_fail("one way to read refuses what the other takes");
        if (other == CM_OK) {
            compare(&held, &fetched);
            cmi_tensors_close(&fetched);
        }
    }
    if (status == CM_OK) cmi_tensors_close(&held);
    return other == CM_ERR_MEMORY ? other : status;
}

/* What is one value can be stepped over as a whole, and its keys are found. */
static cm_status step_over(cm_context *context, const uint8_t *data, size_t size)
{
    cm_input in;
    cm_msgpack value;
    size_t at = 0, begin;
    int found = 0;
    CM_TRY(cmi_input_memory(context, "input", data, size, CM_INPUT_IN_PLACE, &in));
    cm_status status = cmi_msgpack_check(&in, 0, size);
    if (status == CM_OK && (cmi_msgpack_skip(&in, &at, size) != CM_OK || at != size)) fuzz_fail("a value goes on");
    at = 0;
    if (status == CM_OK && cmi_msgpack_next(&in, &at, size, &value) == CM_OK && value.kind == CM_MSGPACK_MAP &&
        cmi_msgpack_find(&in, &value, at, size, "params", &begin, &found) == CM_OK && found && begin >= size)
        fuzz_fail("a key outside");
    cmi_input_close(&in);
    return status;
}

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    cm_status status = step_over(context, data, size);
    for (int as_data = 0; as_data < 2 && status != CM_ERR_MEMORY; as_data++)
        status = open_both(context, data, size, as_data);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(work, data, size, fuzz_bound(size));
}
