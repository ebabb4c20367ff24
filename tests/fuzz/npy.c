/* Any bytes as a NumPy array: what is accepted can be read to its end. */
#include <stdint.h>

#include "io/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cm_npy a;
    volatile double sum = 0;
    if (cmi_npy_parse("fuzz", data, size, &a) != CM_OK) return 0;
    for (size_t i = 0; i < a.count; i++) sum = sum + cmi_npy_value(&a, i);
    return 0;
}
