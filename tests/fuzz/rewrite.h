/* rewrite.h - tensors that were read are written as safetensors and read again: the same names, types, shapes and
 * bytes. */
#ifndef TESTS_FUZZ_REWRITE_H
#define TESTS_FUZZ_REWRITE_H

#include "fuzz/watched.h"
#include "io/safetensors.h"

static inline void fuzz_same_tensor(const cm_tensor *a, const cm_tensor *b)
{
    if (!b) fuzz_fail("a tensor is lost in writing");
    if (a->type != b->type || a->rank != b->rank || a->bytes != b->bytes) fuzz_fail("a tensor changes in writing");
    for (int k = 0; k < a->rank; k++)
        if (a->shape[k] != b->shape[k]) fuzz_fail("a shape changes in writing");
    unsigned char *x = malloc(a->bytes + 1), *y = malloc(a->bytes + 1);
    if (cmi_tensor_fetch(a, x) == CM_OK && (cmi_tensor_fetch(b, y) != CM_OK || memcmp(x, y, a->bytes) != 0))
        fuzz_fail("values change in writing");
    free(x);
    free(y);
}

/* Of tensors whose values can all be fetched. */
static inline cm_status fuzz_rewrite(cm_context *context, const cm_tensors *t)
{
    cm_tensors again;
    const char *path = fuzz_path("again.safetensors");
    cm_status status = cmi_safetensors_write(context, path, 1, NULL, t->tensors, t->count, NULL);
    if (status == CM_OK) {
        status = cmi_tensors_open_file(context, path, CM_INPUT_FETCHED, &again);
        if (status != CM_OK && status != CM_ERR_MEMORY) fuzz_fail("what was written is refused");
        if (status == CM_OK) {
            if (again.count != t->count) fuzz_fail("the number of tensors changes in writing");
            for (size_t i = 0; i < t->count; i++)
                fuzz_same_tensor(&t->tensors[i], cmi_tensors_find(&again, t->tensors[i].name));
            cmi_tensors_close(&again);
        }
    }
    (void)unlink(path);
    return status == CM_ERR_MEMORY ? status : CM_OK;
}

#endif
