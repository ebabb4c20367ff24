/* train_options.c - the options of a run by name, and the named sets of them. */
#include <stdlib.h>
#include <string.h>

#include <consistency/trainer.h>

#include "base/json.h"
#include "base/options.h"
#include "io/json_tree.h"
#include "diffusion/model.h"
#include "train/objective.h"
#include "train/option_rows.h"
#include "train/presets.h"

/* --- the handle ------------------------------------------------------------------- */

static cm_status make(cm_context *context, const cm_train_settings *s, cm_train_options **out)
{
    cm_context *owner;
    CM_TRY(cmi_context_retain(context, &owner));
    cm_train_options *o = cmi_calloc(owner, 1, sizeof *o);
    if (!o) {
        cm_context_free(owner);
        return CM_ERR_MEMORY;
    }
    o->context = owner;
    o->s = *s;
    *out = o;
    return CM_OK;
}

cm_status cm_train_options_create(cm_context *context, cm_train_options **out)
{
    const cm_train_settings s = cmi_settings_of(NULL);
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_create: out is NULL");
    *out = NULL;
    return make(context, &s, out);
}

cm_status cm_train_options_copy(const cm_train_options *from, cm_train_options **out)
{
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_copy: out is NULL");
    *out = NULL;
    if (!from) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_copy: from is NULL");
    return make(from->context, &from->s, out);
}

void cm_train_options_free(cm_train_options *options)
{
    if (!options) return;
    cm_context *context = options->context;
    cmi_free(context, options);
    cm_context_free(context);
}

/* --- one option ------------------------------------------------------------------- */

cm_status cm_train_options_set(cm_train_options *options, const char *name, const char *value)
{
    if (!options || !name || !value) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_set: options, name or value is NULL");
    return cmi_settings_set(&options->s, name, value);
}

cm_status cm_train_options_set_number(cm_train_options *options, const char *name, double value)
{
    if (!options || !name) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_set_number: options or name is NULL");
    return cmi_settings_set_number(&options->s, name, value);
}

/* As much of a text as the caller's buffer holds, and its whole length. */
static cm_status give_text(const char *from, char *text, size_t size, size_t *length)
{
    size_t n = strlen(from);
    if (length) *length = n;
    if (!size) return CM_OK;
    size_t fits = n < size ? n : size - 1;
    memcpy(text, from, fits);
    text[fits] = '\0';
    return CM_OK;
}

cm_status cm_train_options_get(const cm_train_options *options, const char *name, char *text, size_t size,
                               size_t *length)
{
    char whole[CM_SETTING_SIZE];
    if (!options || !name || (!text && size))
        CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_get: options, name or text is NULL");
    CM_TRY(cmi_settings_get(&options->s, name, whole));
    return give_text(whole, text, size, length);
}

cm_status cm_train_options_get_number(const cm_train_options *options, const char *name, double *value)
{
    if (!options || !name || !value)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_get_number: options, name or value is NULL");
    return cmi_settings_get_number(&options->s, name, value);
}

/* --- all of them ------------------------------------------------------------------- */

/* With as many digits as bring every number back, and no more: most have few. */
static char *exact_text(const json_t *object)
{
    enum { FEW = 15, ALL = 17 };
    for (size_t digits = FEW;; digits++) {
        json_t *again = NULL;
        char *text = cmi_json_print(object, JSON_INDENT(1) | JSON_REAL_PRECISION(digits));
        if (!text || digits == ALL) return text;
        const int same = cmi_json_tree("options", text, strlen(text), &again) == CM_OK && json_equal(object, again);
        json_decref(again);
        if (same) return text;
        free(text);
    }
}

cm_status cm_train_options_json(const cm_train_options *options, char *text, size_t size, size_t *length)
{
    if (!options || (!text && size)) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_json: options or text is NULL");
    json_t *object = cmi_settings_json(&options->s, 0);
    char *json = object ? exact_text(object) : NULL;
    json_decref(object);
    if (!json) CM_FAIL(CM_ERR_MEMORY, "out of memory: options");
    cm_status status = give_text(json, text, size, length);
    free(json);
    return status;
}

cm_status cm_train_options_read(cm_train_options *options, const char *json)
{
    json_t *object;
    if (!options || !json) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_read: options or json is NULL");
    cm_train_settings s = options->s;
    CM_TRY(cmi_json_tree("options", json, strlen(json), &object));
    cm_status status = cmi_settings_read(&s, object);
    json_decref(object);
    if (status == CM_OK) options->s = s;
    return status;
}

cm_status cm_train_options_check(const cm_train_options *options)
{
    if (!options) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_check: options is NULL");
    return cmi_settings_check(&options->s, cmi_context_cpu_level(options->context));
}

/* --- what there is ------------------------------------------------------------------- */

void cm_option_info_init(cm_option_info *info, size_t struct_size)
{
    cmi_options_zero(info, struct_size);
}

size_t cm_train_option_count(void)
{
    size_t n = 0;
    while (cmi_option_row_at(n)) n++;
    return n;
}

static cm_status find(const char *call, size_t index, const cm_option_row **row)
{
    *row = cmi_option_row_at(index);
    if (*row) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "%s: there is no option %zu, expected 0..%zu", call, index, cm_train_option_count() - 1);
}

cm_status cm_train_option_describe(size_t index, cm_option_info *info)
{
    const cm_option_row *row;
    const cm_objective *objective;
    if (!info) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_option_describe: info is NULL");
    CM_TRY(find("cm_train_option_describe", index, &row));
    cm_option_info i = {.kind = row->kind,
                        .name = row->name,
                        .about = row->about,
                        .choices = row->choices ? row->choices->name : NULL,
                        .minimum = row->low == CM_ROW_ABOVE_0 ? 0 : row->low,
                        .maximum = cmi_option_high(row),
                        .above_minimum = row->low == CM_ROW_ABOVE_0,
                        .takes_auto = (row->flags & CM_ROW_AUTO) != 0,
                        .decides_course = (row->flags & CM_ROW_COURSE) != 0,
                        .automatic = row->flags & CM_ROW_AUTO ? cmi_option_auto(row) : 0};
    for (int32_t k = 0; (objective = cmi_objective_at(k)); k++)
        i.objectives |= (uint64_t)cmi_objective_reads(objective, row) << k;
    return cm_info_write(info, &i, sizeof i, "cm_option_info");
}

cm_status cm_train_option_default(size_t index, int32_t objective, char *text, size_t size, size_t *length)
{
    const cm_option_row *row;
    char whole[CM_SETTING_SIZE];
    if (!text && size) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_option_default: text is NULL");
    CM_TRY(find("cm_train_option_default", index, &row));
    if (!cmi_objective_at(objective))
        CM_FAIL(CM_ERR_ARGUMENT, "cm_train_option_default: objective is %d, which there is not", objective);
    const cm_train_settings s = cmi_settings_defaults(objective);
    CM_TRY(cmi_settings_get(&s, row->name, whole));
    return give_text(whole, text, size, length);
}

/* --- presets ------------------------------------------------------------------- */

cm_status cm_train_options_preset(cm_train_options *options, const char *name)
{
    if (!options || !name) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_options_preset: options or name is NULL");
    cm_train_settings s = options->s;
    CM_TRY(cmi_preset_apply(&s, name));
    options->s = s;
    return CM_OK;
}

const char *cm_train_preset_name(size_t index)
{
    const cm_preset *p = cmi_preset_at(index);
    return p ? p->name : NULL;
}

const char *cm_train_preset_about(size_t index)
{
    const cm_preset *p = cmi_preset_at(index);
    return p ? p->about : NULL;
}

const char *cm_train_preset_config(size_t index)
{
    const cm_preset *p = cmi_preset_at(index);
    return p ? p->config : NULL;
}

const char *cm_train_preset_source(size_t index)
{
    const cm_preset *p = cmi_preset_at(index);
    return p ? p->source : NULL;
}

cm_status cm_train_preset_check(const char *name, const cm_model *model)
{
    if (!name || !model) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_preset_check: name or model is NULL");
    return cmi_preset_check(name, &model->net);
}
