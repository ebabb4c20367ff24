/* Any bytes as a file that somebody looks into: refused, or all that is known of it is told, also of one of its sets.
 */
#include <consistency/checkpoint.h>

#include "fuzz/watched.h"

/* Sets, notes and tensors by their names; then the last set alone. */
static cm_status look(cm_context *context, const uint8_t *data, size_t size)
{
    cm_checkpoint *c;
    cm_checkpoint_options o = CM_CHECKPOINT_OPTIONS_INIT;
    cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
    const char *key, *text;
    char set[300] = "";
    size_t at;
    if (!size) return CM_OK;
    CM_TRY(cm_checkpoint_open_memory(context, data, size, NULL, &c));
    cm_status status = cm_checkpoint_info_get(c, &info);
    for (uint64_t i = 0; status == CM_OK && i < info.notes; i++) status = cm_checkpoint_note(c, i, &key, &text);
    for (uint64_t i = 0; status == CM_OK && i < info.tensors; i++) {
        status = cm_checkpoint_tensor(c, i, &key, NULL, NULL, NULL);
        if (status == CM_OK) status = cm_checkpoint_find(c, key, &at);
        if (status == CM_OK && at != i) fuzz_fail("a tensor is found in another place");
    }
    if (info.sets && cm_checkpoint_set_name(c, info.sets - 1))
        (void)snprintf(set, sizeof set, "%s", cm_checkpoint_set_name(c, info.sets - 1));
    cm_checkpoint_free(c);
    if (status != CM_OK || !set[0]) return status;
    o.weights = set;
    CM_TRY(cm_checkpoint_open_memory(context, data, size, &o, &c));
    cm_checkpoint_free(c);
    return CM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(look, data, size, 0);
}
