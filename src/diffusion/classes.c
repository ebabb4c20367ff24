/* classes.c - the names of a model's classes: member "classes" of its configuration, a
 * list in which name i is that of label i. */
#include "diffusion/classes.h"

#include <stdio.h>
#include <string.h>

#include "base/hint.h"
#include "base/utf8.h"

json_t *cmi_class_json(cm_context *context, const char *bytes)
{
    json_t *name = NULL;
    size_t n = strlen(bytes), at = 0;
    if (cmi_is_utf8(bytes, n)) return json_string(bytes);
    /* JSON holds UTF-8: bytes that are not are taken for Latin-1. */
    char *text = cmi_malloc(context, 2 * n + 1, 1);
    for (size_t i = 0; text && i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c >= 0x80) text[at++] = (char)(0xc0 | c >> 6);
        text[at++] = (char)(c < 0x80 ? c : 0x80 | (c & 0x3f));
    }
    if (text) name = json_stringn(text, at);
    cmi_free(context, text);
    return name;
}

cm_status cmi_classes_check(const json_t *classes, int32_t num_classes)
{
    static const char what[] = "consistency.classes";
    if (!classes || json_is_null(classes)) return CM_OK;
    if (!json_is_array(classes)) CM_FAIL(CM_ERR_FORMAT, "%s: expected a list of names", what);
    size_t n = json_array_size(classes);
    if (n > (size_t)num_classes)
        CM_FAIL(CM_ERR_FORMAT, "%s: %zu names, but the network knows %d classes", what, n, num_classes);
    for (size_t i = 0; i < n; i++) {
        const json_t *name = json_array_get(classes, i);
        if (!json_is_null(name) && (!json_is_string(name) || !*json_string_value(name)))
            CM_FAIL(CM_ERR_FORMAT, "%s: entry %zu is neither a name nor null", what, i);
    }
    return CM_OK;
}

const char *cmi_classes_name(const json_t *classes, int32_t label)
{
    return label >= 0 ? json_string_value(json_array_get(classes, (size_t)label)) : NULL;
}

int32_t cmi_classes_index(const json_t *classes, const char *name)
{
    for (size_t i = 0; i < json_array_size(classes); i++) {
        const char *other = json_string_value(json_array_get(classes, i));
        if (other && strcmp(other, name) == 0) return (int32_t)i;
    }
    return -1;
}

/* --- names that are not there ----------------------------------------------------- */

/* The names that somebody may have meant, as cm_name_hint says it. */
static cm_status hint_at(cm_context *context, const json_t *classes, const char *text, char hint[CM_HINT_SIZE])
{
    size_t n = json_array_size(classes), given = 0;
    const char **names = cmi_calloc(context, n + 1, sizeof *names);
    if (!names) return CM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const char *name = cmi_classes_name(classes, (int32_t)i);
        if (name) names[given++] = name;
    }
    (void)cm_name_hint(text, names, NULL, hint, CM_HINT_SIZE);
    cmi_free(context, names);
    return CM_OK;
}

static void list(const json_t *classes, char *text, size_t size)
{
    enum { SHOWN = 20, LONGEST = 63 };
    size_t n = json_array_size(classes), at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < n && i < SHOWN && at + LONGEST + 8 < size; i++) {
        const char *name = cmi_classes_name(classes, (int32_t)i);
        at += (size_t)snprintf(text + at, size - at, "%s%.63s", i ? ", " : "", name ? name : "(no name)");
    }
    if (n > SHOWN) (void)snprintf(text + at, size - at, ", ... (%zu in all)", n);
}

cm_status cmi_classes_unknown(cm_context *context, const json_t *classes, int32_t num_classes, const char *text)
{
    char known[1400], hint[CM_HINT_SIZE];
    if (!num_classes) CM_FAIL(CM_ERR_ARGUMENT, "no class '%.63s': the model is unconditional", text);
    if (json_array_size(classes) == 0)
        CM_FAIL(CM_ERR_ARGUMENT, "no class '%.63s': the model's classes have no names, give numbers 0..%d", text,
                num_classes - 1);
    CM_TRY(hint_at(context, classes, text, hint));
    list(classes, known, sizeof known);
    CM_FAIL(CM_ERR_ARGUMENT, "no class '%.63s'%s; the model knows %s", text, hint, known);
}

/* --- two lists -------------------------------------------------------------------- */

int cmi_classes_differ(const json_t *a, const json_t *b, char *text, size_t size)
{
    size_t n = json_array_size(a) > json_array_size(b) ? json_array_size(a) : json_array_size(b);
    for (size_t i = 0; i < n; i++) {
        const char *was = cmi_classes_name(a, (int32_t)i), *is = cmi_classes_name(b, (int32_t)i);
        if (was && is ? strcmp(was, is) == 0 : was == is) continue;
        (void)snprintf(text, size, "class %zu was %s%.63s%s, is %s%.63s%s", i, was ? "'" : "", was ? was : "absent",
                       was ? "'" : "", is ? "'" : "", is ? is : "absent", is ? "'" : "");
        return 1;
    }
    return 0;
}
