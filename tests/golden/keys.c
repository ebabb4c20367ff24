/* keys.c - golden/networks/keys: the names and shapes of all tensors of a published network.  Each is recognised by
 * them alone, its model is put together without its weights, every tensor is found, and the parameters are counted.
 * Of a network that the library does not have, what loading says of it is told. */
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

/* Those of issues to come: a network that is recognised, and not here. */
static int is_absent(cm_status status, const char *name)
{
    return status == CM_ERR_UNSUPPORTED && strstr(cm_last_message(), name) &&
           strstr(cm_last_message(), "does not have");
}

void golden_keys(cm_context *context, const char *folder, const char *name, golden_result *r)
{
    char path[8192];
    cm_model *m;
    cm_tensors list = {.context = context};
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *file = json_load_file(path, 0, NULL), *keys = json_object_get(file, "tensors");
    uint64_t total = add_all(keys, &list, r);
    size_t tensors = list.count;
    cm_status status = keys_fit(context, name, &list, &m);
    r->compared++;
    if (tensors == 0) golden_fail(r, "no tensors are listed");
    else if (status == CM_OK) compare(m, tensors, total, r);
    else if (is_absent(status, name)) printf("%-26s %4zu tensors: %s\n", name, tensors, cm_last_message());
    else golden_fail(r, "%s", cm_last_message());
    cm_model_free(m);
    json_decref(file);
}
