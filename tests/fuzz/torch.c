/* Any bytes as a checkpoint of PyTorch, zip or legacy: refused, or every tensor readable; and never more memory than
 * 16 bytes for each byte and 16 MiB. */
#include <stdint.h>
#include <stdlib.h>

#include "support/memory.h"
#include "support/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memory counted;
    cm_context *context;
    cm_tensors t;
    volatile float sink = 0;
    memory_reset(&counted);
    cm_context_options options = memory_options(&counted, 1);
    if (cm_context_create(&options, &context) != CM_OK) return 0;
    if (open_bytes(context, "input", data, size, &t) == CM_OK) {
        for (size_t i = 0; i < t.count; i++) {
            float *v = malloc((t.tensors[i].count + 1) * sizeof *v);
            (void)cmi_tensor_read(&t.tensors[i], v);
            if (t.tensors[i].count) sink = v[t.tensors[i].count - 1];
            free(v);
        }
        cmi_tensors_close(&t);
    }
    (void)sink;
    cm_context_free(context);
    if (counted.live || counted.peak > 16 * (long long)size + (16 << 20)) __builtin_trap();
    return 0;
}
