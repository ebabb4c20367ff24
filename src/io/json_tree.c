/* json_tree.c - see the header. */
#include "io/json_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "io/json_text.h"

/* Counts what may become a value, and levels, outside of strings. */
static cm_status check_bounds(const char *what, const char *text, size_t length)
{
    size_t values = 1;
    int level = 0, inside = 0;
    if (length > CM_JSON_TEXT)
        CM_FAIL(CM_ERR_LIMIT, "%s: %zu bytes of JSON are over the limit of %d", what, length, CM_JSON_TEXT);
    const char *nul = length ? memchr(text, '\0', length) : NULL;
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

typedef struct {
    const char *what;
    cm_json_text text;
} reader;

static cm_status no_memory(const reader *r)
{
    CM_FAIL(CM_ERR_MEMORY, "out of memory: the JSON of %s", r->what);
}

/* Of what the text itself has said, or of `reason`. */
static cm_status refuse(const reader *r, const char *reason)
{
    CM_FAIL(CM_ERR_FORMAT, "%s: not valid JSON: %s (byte %zu)", r->what, r->text.error ? r->text.error : reason,
            cmi_json_place(&r->text));
}

static cm_status read_number(reader *r, json_t **out)
{
    enum { LONGEST = 400 };
    char number[LONGEST], *from = r->text.at;
    int is_whole;
    double v;
    if (!cmi_json_number(&r->text, &is_whole)) return refuse(r, NULL);
    const size_t length = (size_t)(r->text.at - from);
    if (length >= LONGEST) return refuse(r, "a number of more than 400 characters");
    memcpy(number, from, length);
    number[length] = '\0';
    errno = 0;
    if (is_whole) {
        const long long whole = strtoll(number, NULL, 10);
        if (errno) return refuse(r, "a number too large");
        *out = json_integer(whole);
    } else {
        if (!cmi_number_read(number, &v)) return refuse(r, "a number too large");
        *out = json_real(v);
    }
    return *out ? CM_OK : no_memory(r);
}

static cm_status read_value(reader *r, json_t **out);

static cm_status read_list(reader *r, json_t *list)
{
    if (cmi_json_take(&r->text, ']')) return CM_OK;
    do {
        json_t *value;
        CM_TRY(read_value(r, &value));
        if (json_array_append_new(list, value) != 0) return no_memory(r);
    } while (cmi_json_more(&r->text, ']'));
    return r->text.error ? refuse(r, NULL) : CM_OK;
}

static cm_status read_object(reader *r, json_t *object)
{
    if (cmi_json_take(&r->text, '}')) return CM_OK;
    do {
        json_t *value;
        const char *name = cmi_json_key(&r->text);
        if (!name) return refuse(r, NULL);
        if (json_object_get(object, name))
            CM_FAIL(CM_ERR_FORMAT, "%s: not valid JSON: the name \"%.64s\" stands there twice (byte %zu)", r->what,
                    name, cmi_json_place(&r->text));
        CM_TRY(read_value(r, &value));
        if (json_object_set_new_nocheck(object, name, value) != 0) return no_memory(r);
    } while (cmi_json_more(&r->text, '}'));
    return r->text.error ? refuse(r, NULL) : CM_OK;
}

/* A list or an object; *out is NULL where it fails. */
static cm_status read_inside(reader *r, char open, json_t **out)
{
    *out = open == '{' ? json_object() : json_array();
    if (!*out) return no_memory(r);
    (void)cmi_json_take(&r->text, open);
    const cm_status status = open == '{' ? read_object(r, *out) : read_list(r, *out);
    if (status == CM_OK) return CM_OK;
    json_decref(*out);
    *out = NULL;
    return status;
}

/* Levels are bounded already. */
static cm_status read_value(reader *r, json_t **out)
{
    const char next = cmi_json_next(&r->text);
    const char *string;
    *out = NULL;
    switch (next) {
    case '{':
    case '[': return read_inside(r, next, out);
    case '"':
        if (!(string = cmi_json_string(&r->text))) return refuse(r, NULL);
        *out = json_string_nocheck(string);
        break;
    case 't':
    case 'f':
    case 'n':
        if (!cmi_json_word(&r->text)) return refuse(r, NULL);
        *out = next == 't' ? json_true() : next == 'f' ? json_false() : json_null();
        break;
    default: return read_number(r, out);
    }
    return *out ? CM_OK : no_memory(r);
}

/* jansson's own reader calls a shortage of memory an error of the text, or ends the process by an assertion. */
cm_status cmi_json_tree(const char *what, const char *text, size_t length, json_t **out)
{
    reader r = {.what = what};
    *out = NULL;
    CM_TRY(check_bounds(what, text, length));
    char *copy = malloc(length + 1);
    if (!copy) return no_memory(&r);
    if (length) memcpy(copy, text, length);
    copy[length] = '\0';
    cmi_json_begin(&r.text, copy, length);
    const char first = cmi_json_next(&r.text);
    cm_status status = first == '{' || first == '[' ? read_value(&r, out) : refuse(&r, "'{' or '[' expected");
    if (status == CM_OK && !cmi_json_end(&r.text)) {
        status = refuse(&r, NULL);
        json_decref(*out);
        *out = NULL;
    }
    free(copy);
    return status;
}
