/* Any bytes as a safetensors file: refused, or every tensor readable. */
#include <stdint.h>
#include <stdlib.h>

#include "support/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cm_context *context;
    cm_tensors st;
    volatile float sink = 0;
    if (cm_context_create(NULL, &context) != CM_OK) return 0;
    if (open_bytes(context, "input", data, size, &st) == CM_OK) {
        for (size_t i = 0; i < st.count; i++) {
            float *v = malloc((st.tensors[i].count + 1) * sizeof *v);
            (void)cmi_tensor_read(&st.tensors[i], v);
            if (st.tensors[i].count) sink = v[st.tensors[i].count - 1];
            free(v);
        }
        cmi_tensors_close(&st);
    }
    (void)sink;
    cm_context_free(context);
    return 0;
}
