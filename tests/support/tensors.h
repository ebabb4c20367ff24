/* tensors.h - the tensors in a block of memory, as a test has made it. */
#ifndef TESTS_SUPPORT_TENSORS_H
#define TESTS_SUPPORT_TENSORS_H

#include "io/tensors.h"

static inline cm_status open_bytes(cm_context *context, const char *name, const void *bytes, size_t size,
                                   cm_tensors *out)
{
    cm_input in;
    CM_TRY(cmi_input_memory(context, name, bytes, size, CM_INPUT_IN_PLACE, &in));
    return cmi_tensors_open(&in, out);
}

#endif
