/* Any bytes as a checkpoint of PyTorch, zip or legacy: refused, or every tensor readable, written and read again;
 * within the bounds of watched.h. */
#include "fuzz/rewrite.h"

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    cm_tensors t;
    CM_TRY(open_bytes(context, "input", data, size, &t));
    cm_status status = fuzz_read_tensors(&t);
    if (status == CM_OK) status = fuzz_rewrite(context, &t);
    cmi_tensors_close(&t);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(work, data, size, 2 * fuzz_bound(size));
}
