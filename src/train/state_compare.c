/* state_compare.c - whether a checkpoint was made with the options and the data of this run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "train/state.h"

static int same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

/* Adds a member that was `before` and is `now`; NULL: it is not there. */
static void add_difference(const char *key, const json_t *before, const json_t *now, char *text, size_t size)
{
    static const char no_memory[] = "(not printed: out of memory)";
    char *a = before ? cmi_json_print(before, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    char *b = now ? cmi_json_print(now, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    const size_t n = strlen(text);
    (void)snprintf(text + n, size - n, "%s%s was %.60s, is %.60s", n ? "; " : "", key,
                   a        ? a
                   : before ? no_memory
                            : "absent",
                   b     ? b
                   : now ? no_memory
                         : "unknown to this library");
    free(a);
    free(b);
}

void cmi_state_differences(const json_t *before, const json_t *now, char *text, size_t size)
{
    const char *key;
    json_t *value;
    text[0] = '\0';
    json_object_foreach((json_t *)(uintptr_t)now, key, value)
    {
        const json_t *other = json_object_get(before, key);
        if (!other || !same_value(other, value)) add_difference(key, other, value, text, size);
    }
    json_object_foreach((json_t *)(uintptr_t)before, key, value) if (!json_object_get(now, key))
        add_difference(key, value, NULL, text, size);
}

/* what: options or data; text: how they differ, if they do. */
static cm_status take_changes(const cm_trainer *t, const char *what, const char *text, int32_t allow_changes)
{
    if (!text[0]) return CM_OK;
    if (allow_changes != CM_RESUME_ANY)
        CM_FAIL(CM_ERR_ARGUMENT, "the checkpoint was made with other %s: %s (allow_changes takes them)", what, text);
    cmi_log(t->context, CM_LOG_WARNING, "continuing with other %s: %s", what, text);
    return CM_OK;
}

static cm_status compare_options(const cm_trainer *t, json_t *before, const json_t *now, int32_t allow_changes)
{
    char text[400];
    const int64_t steps = json_integer_value(json_object_get(before, "steps"));
    const int longer = allow_changes == CM_RESUME_MORE_STEPS && t->o.steps > steps;
    if (longer && json_object_set(before, "steps", json_object_get(now, "steps")) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: options");
    cmi_state_differences(before, now, text, sizeof text);
    CM_TRY(take_changes(t, "options", text, allow_changes));
    if (longer)
        cmi_log(t->context, CM_LOG_INFO, "the run is made longer: %lld steps in place of %lld", (long long)t->o.steps,
                (long long)steps);
    return CM_OK;
}

cm_status cmi_state_compare(cm_trainer *t, const json_t *state, int32_t allow_changes)
{
    char text[400];
    const cm_train_settings defaults = cmi_settings_defaults(t->o.objective);
    json_t *options = cmi_settings_json(&t->o, 1), *before = json_object();
    json_t *usual = cmi_settings_json(&defaults, 1); /* of an option that the checkpoint's library did not know */
    const json_t *saved = json_object_get(state, "options");
    cm_status status = CM_OK;
    if (!json_is_object(saved)) status = cmi_fail(CM_ERR_FORMAT, "the checkpoint's state.json has no options");
    else if (!options || !usual || json_object_update(before, usual) != 0 ||
             json_object_update(before, (json_t *)(uintptr_t)saved) != 0)
        status = cmi_fail(CM_ERR_MEMORY, "out of memory: options");
    if (status == CM_OK) status = compare_options(t, before, options, allow_changes);
    json_decref(usual);
    json_decref(before);
    json_decref(options);
    CM_TRY(status);
    if (!t->dataset || !json_object_get(state, "dataset")) return CM_OK;
    cmi_state_differences(json_object_get(state, "dataset"), t->dataset, text, sizeof text);
    return take_changes(t, "data", text, allow_changes);
}
