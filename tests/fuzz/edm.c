/* Any bytes as a snapshot of EDM's kind or another file of tensors, as data and as a model: refused, or every tensor
 * readable; and never more memory than 16 bytes for each byte and 16 MiB, but for what a network takes that fits. */
#include <stdint.h>
#include <stdlib.h>

#include <consistency/model.h>

#include "support/memory.h"
#include "support/tensors.h"

static void read_all(cm_context *context, const uint8_t *data, size_t size)
{
    cm_tensors t;
    volatile float sink = 0;
    if (open_bytes(context, "input", data, size, &t) != CM_OK) return;
    for (size_t i = 0; i < t.count; i++) {
        float *v = malloc((t.tensors[i].count + 1) * sizeof *v);
        (void)cmi_tensor_read(&t.tensors[i], v);
        if (t.tensors[i].count) sink = v[t.tensors[i].count - 1];
        free(v);
    }
    (void)sink;
    cmi_tensors_close(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memory counted;
    cm_context *context;
    cm_model *m;
    memory_reset(&counted);
    cm_context_options options = memory_options(&counted, 1);
    if (cm_context_create(&options, &context) != CM_OK) return 0;
    read_all(context, data, size);
    if (counted.peak > 16 * (long long)size + (16 << 20)) __builtin_trap();
    if (size && cm_model_load_memory(context, data, size, NULL, &m) == CM_OK) cm_model_free(m);
    cm_context_free(context);
    if (counted.live) __builtin_trap();
    return 0;
}
