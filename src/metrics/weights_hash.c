/* weights_hash.c - names and values of tensors, one after the other. */
#include "metrics/weights_hash.h"

#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "tensor/finite.h"

cm_status cmi_weights_hash_begin(const char *file, cm_weights_hash **out)
{
    *out = XXH3_createState();
    if (!*out) CM_FAIL(CM_ERR_MEMORY, "out of memory: the hash of '%s'", file);
    (void)XXH3_128bits_reset(*out);
    return CM_OK;
}

cm_status cmi_weights_hash_add(cm_weights_hash *hash, const char *file, const char *name, const float *values,
                               size_t n)
{
    (void)XXH3_128bits_update(hash, name, strlen(name) + 1);
    (void)XXH3_128bits_update(hash, values, n * sizeof *values);
    if (cmi_first_nonfinite_f32(n, values) < n)
        CM_FAIL(CM_ERR_NUMERIC, "%s: tensor '%s' holds NaN or infinity", file, name);
    return CM_OK;
}

void cmi_weights_hash_end(cm_weights_hash *hash, char text[CM_WEIGHTS_HASH])
{
    if (hash && text) {
        const XXH128_hash_t h = XXH3_128bits_digest(hash);
        (void)snprintf(text, CM_WEIGHTS_HASH, "%016llx%016llx", (unsigned long long)h.high64,
                       (unsigned long long)h.low64);
    }
    (void)XXH3_freeState(hash);
}
