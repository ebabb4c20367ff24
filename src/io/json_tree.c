/* json_tree.c - see the header. */
#include "io/json_tree.h"

#include <string.h>

/* Counts what may become a value, and levels, outside of strings; text that is no JSON is jansson's to refuse. */
static cm_status check_bounds(const char *what, const char *text, size_t length)
{
    size_t values = 1;
    int level = 0, inside = 0;
    if (length > CM_JSON_TEXT)
        CM_FAIL(CM_ERR_LIMIT, "%s: %zu bytes of JSON are over the limit of %d", what, length, CM_JSON_TEXT);
    const char *nul = length ? memchr(text, '\0', length) : NULL; /* jansson passes over one behind a number */
    if (nul) CM_FAIL(CM_ERR_FORMAT, "%s: not valid JSON: byte %zu is NUL", what, (size_t)(nul - text));
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (inside && c == '\\') i++;
        else if (c == '"') inside = !inside;
        if (inside) continue;
        values += c == ',' || c == ':' || c == '[' || c == '{';
        level += (c == '[' || c == '{') - (c == ']' || c == '}');
        if (level > CM_JSON_LEVELS)
            CM_FAIL(CM_ERR_LIMIT, "%s: JSON nested deeper than %d levels", what, CM_JSON_LEVELS);
    }
    if (values > CM_JSON_VALUES) CM_FAIL(CM_ERR_LIMIT, "%s: JSON of more than %d values", what, CM_JSON_VALUES);
    return CM_OK;
}

cm_status cmi_json_tree(const char *what, const char *text, size_t length, json_t **out)
{
    json_error_t error;
    *out = NULL;
    CM_TRY(check_bounds(what, text, length));
    *out = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (*out) return CM_OK;
    /* It says nothing where it found no memory to begin with. */
    if (json_error_code(&error) == json_error_out_of_memory || !error.text[0])
        CM_FAIL(CM_ERR_MEMORY, "out of memory: the JSON of %s", what);
    CM_FAIL(CM_ERR_FORMAT, "%s: not valid JSON: %s (line %d, character %d)", what, error.text, error.line,
            error.position);
}
