/* keys.c - golden/networks/keys: the names and shapes of all tensors of a published network.  Each is recognised by
 * them alone, its model is put together without its weights, every tensor is found, and the parameters are counted.
 * A list that two publishers share is read under the names of either. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "support/keys.h"

/* Of EDM2's wrapper, for training: no part of D. */
static int is_aside(const char *key)
{
    return strncmp(key, "logvar_", 7) == 0;
}

/* What the list itself says: values of all tensors but constant ones. */
static uint64_t add_all(const json_t *keys, cm_tensors *list, golden_result *r)
{
    uint64_t total = 0;
    size_t i, k;
    const json_t *entry, *side;
    json_array_foreach((json_t *)(uintptr_t)keys, i, entry)
    {
        int64_t shape[CM_TENSOR_RANK];
        int rank = 0;
        uint64_t count = 1;
        json_array_foreach(json_object_get(entry, "shape"), k, side)
        {
            if (rank < CM_TENSOR_RANK) shape[rank++] = json_integer_value(side);
            count *= (uint64_t)json_integer_value(side);
        }
        const char *key = json_string_value(json_object_get(entry, "key"));
        if (json_integer_value(json_object_get(entry, "fill_index")) >= 0 && !is_aside(key)) total += count;
        if (keys_add(list, key, rank, shape) != CM_OK) golden_fail(r, "%s", cm_last_message());
    }
    return total;
}

static void compare(const cm_model *m, size_t tensors, uint64_t total, golden_result *r)
{
    uint64_t found = keys_count(m);
    golden_compare(r, "parameters", (double)found - (double)total, 0);
    char *network = json_dumps(json_object_get(m->file.config, "network"), JSON_COMPACT);
    printf("%-26s %4zu tensors %10llu parameters, expected %10llu: %s, precond %s\n", m->file.file.input.name,
           tensors, (unsigned long long)found, (unsigned long long)total, network ? network : "",
           cmi_precond_name(&m->precond));
    free(network);
}

/* What the tensors of one list are called in the files of two publishers, where the list has their common names. */
static const struct {
    const char *file, *prefix;
} published[] = {{"twotime_", "net_ema."}, {"twotime_", "network."}};

/* The list under the names that begin so (NULL: as they are). */
static void fit(cm_context *context, const char *name, const json_t *keys, const char *prefix, golden_result *r)
{
    cm_model *m;
    cm_tensors list = {.context = context};
    uint64_t total = add_all(keys, &list, r);
    size_t tensors = list.count;
    if (prefix && cmi_tensors_add_metadata(&list, CM_NOTE_PREFIX, prefix) != CM_OK)
        golden_fail(r, "%s", cm_last_message());
    cm_status status = keys_fit(context, name, &list, &m);
    r->compared++;
    if (tensors == 0) golden_fail(r, "no tensors are listed");
    else if (status == CM_OK) compare(m, tensors, total, r);
    else golden_fail(r, "%s", cm_last_message());
    cm_model_free(m);
}

void golden_keys(cm_context *context, const char *folder, const char *name, golden_result *r)
{
    char path[8192];
    int several = 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *file = json_load_file(path, 0, NULL), *keys = json_object_get(file, "tensors");
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        if (strncmp(name, published[i].file, strlen(published[i].file)) == 0) {
            fit(context, name, keys, published[i].prefix, r);
            several = 1;
        }
    if (!several) fit(context, name, keys, NULL, r);
    json_decref(file);
}
