/* settings_json.c - all options as one JSON object, and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "train/option_rows.h"
#include "train/settings.h"

/* JSON's whole numbers end at 2^63 - 1 for jansson: larger seeds are text. */
static json_t *seed_json(uint64_t seed)
{
    char text[24];
    if (seed <= INT64_MAX) return json_integer((json_int_t)seed);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    return json_string(text);
}

static json_t *value_json(const cm_option_row *row, const cm_train_settings *s)
{
    const double v = cmi_option_value(row, s);
    switch (row->store) {
    case CM_STORE_AVERAGES: return cmi_averages_json(&s->ema);
    case CM_STORE_TEXT: return json_string(cmi_option_text(row, s));
    case CM_STORE_UINT64: return seed_json(s->seed);
    case CM_STORE_DOUBLE: return json_real(v);
    default: return row->choices ? json_string(row->choices->at((size_t)v).name) : json_integer((json_int_t)v);
    }
}

json_t *cmi_settings_json(const cm_train_settings *s, int course)
{
    json_t *object = json_object();
    const cm_option_row *row;
    int failed = !object;
    for (size_t i = 0; (row = cmi_option_row_at(i)) && !failed; i++)
        if (!course || (row->flags & CM_ROW_COURSE))
            failed = json_object_set_new(object, row->name, value_json(row, s)) != 0;
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

static cm_status read_flag(cm_train_settings *s, const char *name, const char *word)
{
    const cm_option_row *row = cmi_option_row_find(name);
    if (row && row->kind != CM_OPTION_FLAG)
        CM_FAIL(CM_ERR_FORMAT, "options: \"%s\" is %s, expected %s", row->name, word,
                row->kind == CM_OPTION_CHOICE ? "a name"
                : row->kind == CM_OPTION_TEXT ? "a text"
                                              : "a number");
    return cmi_settings_set(s, name, *word == 't' ? "1" : "0");
}

static cm_status read_member(cm_train_settings *s, const char *name, const json_t *value)
{
    if (strcmp(name, "ema") == 0 && json_is_array(value)) return cmi_averages_from_json(value, &s->ema);
    if (json_is_string(value)) return cmi_settings_set(s, name, json_string_value(value));
    if (json_is_boolean(value)) return read_flag(s, name, json_is_true(value) ? "true" : "false");
    if (!json_is_number(value)) CM_FAIL(CM_ERR_FORMAT, "options: \"%.64s\" is neither a number nor a name", name);
    char *text = cmi_json_print(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (!text) CM_FAIL(CM_ERR_MEMORY, "out of memory: the option %.64s", name);
    cm_status status = cmi_settings_set(s, name, text);
    free(text);
    return status;
}

cm_status cmi_settings_read(cm_train_settings *s, const json_t *object)
{
    const char *name;
    json_t *value, *objective = json_object_get(object, "objective");
    if (!json_is_object(object)) CM_FAIL(CM_ERR_FORMAT, "options: expected a JSON object");
    if (objective) CM_TRY(read_member(s, "objective", objective)); /* its defaults come first */
    json_object_foreach((json_t *)(uintptr_t)object, name, value) if (strcmp(name, "objective") != 0)
        CM_TRY(read_member(s, name, value));
    return CM_OK;
}
