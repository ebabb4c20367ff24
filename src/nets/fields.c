/* fields.c - reads one member by its row, and says which member is wrong. */
#include "nets/fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hint.h"

static cm_status wrong(const char *what, const cm_field *f, const char *expected)
{
    CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' has to be %s", what, f->name, expected);
}

static cm_status read_int(const char *what, const cm_field *f, const json_t *v, int32_t *out)
{
    double d = json_number_value(v);
    if (!json_is_number(v) || d != floor(d)) return wrong(what, f, "an integer");
    if (d < f->low || d > f->high)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is %g, expected %g..%g", what, f->name, d, f->low, f->high);
    *out = (int32_t)d;
    return CM_OK;
}

static cm_status read_number(const char *what, const cm_field *f, const json_t *v, double *out)
{
    double d = json_number_value(v);
    if (!json_is_number(v)) return wrong(what, f, "a number");
    if (!(d >= f->low && d <= f->high))
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is %g, expected %g..%g", what, f->name, d, f->low, f->high);
    *out = d;
    return CM_OK;
}

static cm_status read_bool(const char *what, const cm_field *f, const json_t *v, int32_t *out)
{
    if (json_is_boolean(v)) *out = json_is_true(v);
    else if (json_is_integer(v) && (json_integer_value(v) == 0 || json_integer_value(v) == 1))
        *out = (int32_t)json_integer_value(v);
    else return wrong(what, f, "true or false");
    return CM_OK;
}

static cm_status read_choice(const char *what, const cm_field *f, const json_t *v, int32_t *out)
{
    const char *text = json_string_value(v);
    char list[256] = "", hint[CM_HINT_SIZE];
    if (!text) return wrong(what, f, "a string");
    for (int32_t i = 0; f->choices[i]; i++) {
        if (strcmp(text, f->choices[i]) == 0) {
            *out = i;
            return CM_OK;
        }
        if (strlen(list) + strlen(f->choices[i]) + 3 < sizeof list) {
            if (i) strcat(list, ", ");
            strcat(list, f->choices[i]);
        }
    }
    (void)cm_name_hint(text, f->choices, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is \"%.64s\", expected one of %s%s", what, f->name, text, list, hint);
}

static cm_status read_list(const char *what, const cm_field *f, const json_t *v, unsigned char *out)
{
    size_t n = json_array_size(v);
    cm_field element = *f;
    int32_t *count = (int32_t *)(void *)(out + f->count);
    element.high = 65536;
    if (!json_is_array(v)) return wrong(what, f, "a list of numbers");
    if (n > (size_t)f->high)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' has %zu entries, at most %g are supported", what, f->name, n,
                f->high);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(v, i);
        if (f->kind == CM_FIELD_INTS) CM_TRY(read_int(what, &element, e, (int32_t *)(void *)(out + f->offset) + i));
        else CM_TRY(read_number(what, &element, e, (double *)(void *)(out + f->offset) + i));
    }
    *count = (int32_t)n;
    return CM_OK;
}

static cm_status read_field(const char *what, const cm_field *f, const json_t *v, unsigned char *out)
{
    void *to = out + f->offset;
    switch (f->kind) {
    case CM_FIELD_INT: return read_int(what, f, v, to);
    case CM_FIELD_BOOL: return read_bool(what, f, v, to);
    case CM_FIELD_NUMBER: return read_number(what, f, v, to);
    case CM_FIELD_CHOICE: return read_choice(what, f, v, to);
    case CM_FIELD_INTS:
    case CM_FIELD_NUMBERS: return read_list(what, f, v, out);
    case CM_FIELD_IGNORED: break;
    }
    return CM_OK;
}

static cm_status unknown(const char *what, const char *key, const cm_field *fields, size_t n)
{
    enum { MOST = 32 };
    const char *names[MOST + 1] = {NULL};
    char hint[CM_HINT_SIZE];
    for (size_t i = 0; i < n && i < MOST; i++) names[i] = fields[i].name;
    (void)cm_name_hint(key, names, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_FORMAT, "%s: unknown argument '%.64s'%s", what, key, hint);
}

cm_status cmi_fields_read(const char *what, const json_t *object, const cm_field *fields, size_t n, void *out)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) CM_FAIL(CM_ERR_FORMAT, "%s: expected a JSON object", what);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(fields[i].name, key) != 0) i++;
        if (i == n) return unknown(what, key, fields, n);
        if (!json_is_null(value)) CM_TRY(read_field(what, &fields[i], value, out));
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(object, fields[i].name);
        if (fields[i].required && (!v || json_is_null(v)))
            CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is missing and has no default", what, fields[i].name);
    }
    return CM_OK;
}

void cmi_field_show(const void *from, const cm_field *f, char *out, size_t size)
{
    const unsigned char *base = from;
    int32_t n = 1, i;
    double d;
    size_t at = 0;
    int list = f->kind == CM_FIELD_INTS || f->kind == CM_FIELD_NUMBERS;
    memcpy(&i, base + f->offset, sizeof i);
    if (f->kind == CM_FIELD_CHOICE) (void)snprintf(out, size, "\"%s\"", f->choices[i]);
    else if (f->kind == CM_FIELD_BOOL) (void)snprintf(out, size, "%s", i ? "true" : "false");
    if (f->kind == CM_FIELD_CHOICE || f->kind == CM_FIELD_BOOL) return;
    if (list) memcpy(&n, base + f->count, sizeof n);
    if (list) at += (size_t)snprintf(out, size, "[");
    for (int32_t k = 0; k < n && at < size; k++) {
        if (f->kind == CM_FIELD_NUMBER || f->kind == CM_FIELD_NUMBERS)
            memcpy(&d, base + f->offset + (size_t)k * sizeof d, sizeof d);
        else memcpy(&i, base + f->offset + (size_t)k * sizeof i, sizeof i), d = i;
        at += (size_t)snprintf(out + at, size - at, "%s%g", k ? ", " : "", d);
    }
    if (list && at < size) (void)snprintf(out + at, size - at, "]");
}
