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

/* Progress that remembers what it was told first, in a number that is UINT64_MAX before. */
static inline int32_t note_first(void *user, uint64_t done, uint64_t all)
{
    uint64_t *first = user;
    (void)all;
    if (*first == UINT64_MAX) *first = done;
    return 0;
}

#endif
