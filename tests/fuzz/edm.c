/* Any bytes as a snapshot of EDM's or EDM2's kind or another file of tensors, as data and as a model: refused, or
 * every tensor readable, written and read again.  As data within the bounds of watched.h; a network takes what it
 * takes. */
#include "fuzz/rewrite.h"

static cm_status as_data(cm_context *context, const uint8_t *data, size_t size)
{
    cm_tensors t;
    CM_TRY(open_bytes(context, "input", data, size, &t));
    cm_status status = fuzz_read_tensors(&t);
    if (status == CM_OK) status = fuzz_rewrite(context, &t);
    cmi_tensors_close(&t);
    return status;
}

static cm_status as_model(cm_context *context, const uint8_t *data, size_t size)
{
    cm_model *m;
    if (!size) return CM_OK;
    CM_TRY(cm_model_load_memory(context, data, size, NULL, &m));
    cm_model_free(m);
    return CM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)fuzz_watched(as_data, data, size, 2 * fuzz_bound(size));
    return fuzz_watched(as_model, data, size, 0);
}
