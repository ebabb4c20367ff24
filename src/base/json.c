/* json.c - see the header; it takes memory as jansson does, from the process. */
#include "base/json.h"

#include <stdint.h>
#include <stdlib.h>

/* json_dumps passes over a name that its growing text has no room for.  A text that is there already does not grow.
 */
char *cmi_json_print(const json_t *value, size_t flags)
{
    const size_t size = json_dumpb(value, NULL, 0, flags);
    char *text = size ? malloc(size + 1) : NULL;
    if (!text) return NULL;
    if (json_dumpb(value, text, size, flags) == size) {
        text[size] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

/* json_deep_copy leaves out what it has no room for. */
json_t *cmi_json_copy(const json_t *value)
{
    json_t *copy = value ? json_deep_copy(value) : NULL;
    if (!copy || json_equal(copy, value)) return copy;
    json_decref(copy);
    return NULL;
}

int cmi_json_add_missing(json_t *object, const json_t *more)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)more, name, value)
    {
        if (!json_object_get(object, name) && json_object_set(object, name, value) != 0) return -1;
    }
    return 0;
}
