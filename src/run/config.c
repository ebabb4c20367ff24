/* config.c - config.json: all that a run is made with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "diffusion/model.h"
#include "io/directory.h"
#include "io/json_tree.h"
#include "run/options.h"

/* --- reading --------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text && *text ? text : NULL;
}

/* A path is bytes, and JSON holds UTF-8 alone: where the two differ NAME_hex has the bytes. */
enum { MOST_PATH = 4096 };

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path of a member, "" for none; FORMAT for bytes that are no path. */
static cm_status path_of(const json_t *object, const char *name, char path[MOST_PATH])
{
    char member[32];
    (void)snprintf(member, sizeof member, "%s_hex", name);
    const char *hex = text_of(object, member), *text = text_of(object, name);
    const size_t n = hex ? strlen(hex) / 2 : text ? strlen(text) : 0;
    if (n >= MOST_PATH || (hex && strlen(hex) % 2)) CM_FAIL(CM_ERR_FORMAT, "%s is no path", hex ? member : name);
    if (!hex && n) memcpy(path, text, n);
    for (size_t i = 0; hex && i < n; i++) {
        const int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0 || high + low == 0) CM_FAIL(CM_ERR_FORMAT, "%s is no path", member);
        path[i] = (char)(16 * high + low);
    }
    path[n] = '\0';
    return CM_OK;
}

static cm_status read_number(cm_run_options *o, const json_t *object, const char *name, double otherwise)
{
    const json_t *value = json_object_get(object, name);
    if (value && !json_is_number(value)) CM_FAIL(CM_ERR_FORMAT, "%s is no number", name);
    return cmi_run_option_take(o, name, value ? json_number_value(value) : otherwise, otherwise);
}

static cm_status read_flag(cm_run_options *o, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_boolean(value)) return read_number(o, object, name, 0);
    return cmi_run_option_take(o, name, json_is_true(value), 0);
}

static cm_status keep_text(cm_run_options *o, char **at, const char *text)
{
    if (!text || !*text) return CM_OK;
    char *copy = cmi_strdup(o->context, text);
    if (!copy) return CM_ERR_MEMORY;
    cmi_free(o->context, *at);
    *at = copy;
    return CM_OK;
}

static cm_status keep_tree(cm_run_options *o, char **at, const json_t *tree)
{
    char *text = cmi_json_print(tree, JSON_REAL_PRECISION(17));
    if (!text) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    cm_status status = keep_text(o, at, text);
    free(text);
    return status;
}

static cm_status read_training(cm_run_options *o, const json_t *options)
{
    if (!json_is_object(options)) CM_FAIL(CM_ERR_FORMAT, "\"options\" is missing or no JSON object");
    char *text = cmi_json_print(options, JSON_REAL_PRECISION(17));
    if (!text) CM_FAIL(CM_ERR_MEMORY, "out of memory: options");
    cm_status status = cm_train_options_read(o->train, text);
    free(text);
    return status;
}

static cm_status keep_path(cm_run_options *o, char **at, const json_t *object, const char *name)
{
    char path[MOST_PATH];
    CM_TRY(path_of(object, name, path));
    return keep_text(o, at, path);
}

/* Of all members that are paths or names. */
static cm_status check_texts(const json_t *config, const json_t *data, const json_t *run)
{
    char path[MOST_PATH];
    const json_t *names = json_object_get(data, "given_names");
    if (names && !json_is_string(names)) CM_FAIL(CM_ERR_FORMAT, "given_names is no text of names with commas");
    CM_TRY(path_of(data, "path", path));
    CM_TRY(path_of(config, "teacher", path));
    CM_TRY(path_of(config, "init", path));
    CM_TRY(path_of(run, "metric_data", path));
    return path_of(run, "metric_features", path);
}

static cm_status read_data(cm_run_options *o, const json_t *data)
{
    CM_TRY(keep_path(o, &o->data, data, "path"));
    CM_TRY(keep_text(o, &o->class_names, text_of(data, "given_names")));
    if (!o->resume) return CM_OK;
    CM_TRY(keep_text(o, &o->fingerprint, text_of(data, "fingerprint")));
    CM_TRY(keep_path(o, &o->before, data, "path"));
    o->images_before = json_integer_value(json_object_get(data, "images"));
    return CM_OK;
}

/* Gives back no text and takes none: may be tried on a copy. */
static cm_status read_numbers(cm_run_options *o, const json_t *data, const json_t *run)
{
    CM_TRY(read_number(o, data, "size", 0));
    CM_TRY(read_number(o, data, "labels", 0));
    CM_TRY(read_flag(o, data, "random_crop"));
    CM_TRY(read_flag(o, data, "stop_on_bad"));
    CM_TRY(read_number(o, run, "checkpoint_every", 0));
    CM_TRY(read_number(o, run, "checkpoint_seconds", 0));
    CM_TRY(read_number(o, run, "log_every", 0));
    CM_TRY(read_number(o, run, "keep", 3));
    CM_TRY(read_number(o, run, "sample_rows", 0));
    CM_TRY(read_number(o, run, "sample_columns", 0));
    CM_TRY(read_number(o, run, "sample_share", 0));
    CM_TRY(read_number(o, run, "metric_every", 0));
    CM_TRY(read_number(o, run, "metric_share", 0));
    CM_TRY(read_number(o, run, "metric_samples", 0));
    CM_TRY(read_number(o, run, "metric_steps", 0));
    CM_TRY(read_flag(o, run, "metric_few"));
    return o->sample_share > 0 ? CM_OK : read_number(o, run, "sample_every", -1);
}

static cm_status apply(cm_run_options *o, const json_t *config)
{
    const json_t *network = json_object_get(config, "begins_as");
    const json_t *data = json_object_get(config, "data"), *run = json_object_get(config, "run");
    cm_run_options trial = *o;
    CM_TRY(read_numbers(&trial, data, run)); /* a damaged text changes nothing */
    CM_TRY(check_texts(config, data, run));
    CM_TRY(read_training(o, json_object_get(config, "options")));
    cmi_run_close_inputs(o);
    CM_TRY(read_numbers(o, data, run));
    CM_TRY(read_data(o, data));
    CM_TRY(keep_path(o, &o->teacher_path, config, "teacher"));
    CM_TRY(keep_path(o, &o->init, config, "init"));
    CM_TRY(keep_text(o, &o->metric, text_of(run, "metric")));
    CM_TRY(keep_path(o, &o->metric_data, run, "metric_data"));
    CM_TRY(keep_path(o, &o->metric_features, run, "metric_features"));
    if (!json_is_object(network)) return CM_OK;
    o->network_of_config = 1;
    return keep_tree(o, &o->network, network);
}

cm_status cmi_run_config_read(cm_run_options *o, const char *what, const char *json, size_t size)
{
    json_t *config;
    CM_TRY(cmi_json_tree(what, json, size, &config));
    cm_status status = json_is_object(config) ? apply(o, config)
                                              : cmi_fail(CM_ERR_FORMAT, "%s: '%.100s' is no JSON object", what, json);
    json_decref(config);
    return status;
}

cm_status cmi_run_config_load(cm_run_options *o, const char *directory)
{
    unsigned char *text = NULL;
    size_t size = 0;
    cm_path_kind kind;
    char *path = cmi_path_join(o->context, directory, "config.json");
    if (!path) return CM_ERR_MEMORY;
    o->resume = 1;
    cm_status status = cmi_path_look(path, &kind);
    if (status == CM_OK && kind != CM_PATH_MISSING)
        status = cmi_file_read(o->context, path, CM_JSON_TEXT, &text, &size);
    if (status == CM_OK && text) status = cmi_run_config_read(o, path, (const char *)text, size);
    cmi_free(o->context, text);
    cmi_free(o->context, path);
    return status;
}

/* --- writing ---------------------------------------------------------------------------- */

static cm_status write_training(const cm_run_options *o, cm_text *out)
{
    size_t n = 0;
    CM_TRY(cm_train_options_json(o->train, NULL, 0, &n));
    char *text = cmi_malloc(o->context, n + 1, 1);
    cm_status status = text ? cm_train_options_json(o->train, text, n + 1, &n) : CM_ERR_MEMORY;
    if (status == CM_OK) cmi_text_add(out, "{\"options\": %s,\n", text);
    cmi_free(o->context, text);
    return status;
}

static void write_classes(const cm_run_options *o, cm_text *out)
{
    cmi_text_add(out, ", \"class_names\": [");
    for (int32_t k = 0; cm_dataset_class_name(o->dataset, k); k++) {
        cmi_text_add(out, k ? ", " : "");
        cmi_text_add_string(out, cm_dataset_class_name(o->dataset, k));
    }
    cmi_text_add(out, "]");
}

static void write_path(cm_text *out, const char *name, const char *path)
{
    cmi_text_add(out, "\"%s\": ", name);
    cmi_text_add_string(out, path);
    if (cmi_is_utf8(path, strlen(path))) return;
    cmi_text_add(out, ", \"%s_hex\": \"", name);
    for (; *path; path++) cmi_text_add(out, "%02x", (unsigned char)*path);
    cmi_text_add(out, "\"");
}

/* From the root, so that it holds wherever the run is continued. */
static void write_whole_path(cm_text *out, const char *name, const char *path)
{
    char *whole = path ? realpath(path, NULL) : NULL;
    write_path(out, name, whole ? whole : path ? path : "");
    free(whole);
}

static void write_data(const cm_run_options *o, cm_text *out)
{
    cm_dataset_info d;
    cm_dataset_info_init(&d, sizeof d);
    cmi_text_add(out, "\"data\": {");
    write_whole_path(out, "path", o->data);
    cmi_text_add(out, ", \"size\": %d, \"labels\": %d, \"random_crop\": %d, \"stop_on_bad\": %d", o->size,
                 o->labels < 0 ? 0 : o->labels, o->random_crop, o->stop_on_bad);
    if (o->class_names) {
        cmi_text_add(out, ", \"given_names\": ");
        cmi_text_add_string(out, o->class_names);
    }
    if (o->dataset && cm_dataset_info_get(o->dataset, &d) == CM_OK) {
        cmi_text_add(out, ", \"kind\": \"%s\", \"images\": %llu, \"classes\": %d, \"fingerprint\": \"%016llx\"",
                     d.kind, (unsigned long long)d.images, d.classes, (unsigned long long)d.fingerprint);
        write_classes(o, out);
    }
    cmi_text_add(out, "},\n");
}

static void write_metric(const cm_run_options *o, const cm_run_pace *p, cm_text *out)
{
    cmi_text_add(out, ",\n\"metric\": ");
    cmi_text_add_string(out, o->metric);
    cmi_text_add(out, ", ");
    write_whole_path(out, "metric_data", o->metric_data);
    cmi_text_add(out, ", ");
    write_whole_path(out, "metric_features", o->metric_features);
    if (o->metric_samples) cmi_text_add(out, ", \"metric_samples\": %lld", (long long)o->metric_samples);
    if (o->metric_steps) cmi_text_add(out, ", \"metric_steps\": %d", o->metric_steps);
    if (o->metric_few) cmi_text_add(out, ", \"metric_few\": 1");
    if (p->metric_share > 0) {
        cmi_text_add(out, ", \"metric_share\": ");
        cmi_text_add_number(out, 6, 100 * p->metric_share);
    } else cmi_text_add(out, ", \"metric_every\": %lld", (long long)p->metric);
}

static void write_pace(const cm_run_options *o, cm_text *out)
{
    const cm_run_pace p = cmi_run_options_pace(o);
    cmi_text_add(out, "\"run\": {\"checkpoint_every\": %lld, \"keep\": %d, \"log_every\": %lld, ",
                 (long long)p.checkpoint, p.keep, (long long)p.log);
    if (o->checkpoint_seconds > 0) {
        cmi_text_add(out, "\"checkpoint_seconds\": ");
        cmi_text_add_number(out, 15, o->checkpoint_seconds);
        cmi_text_add(out, ", ");
    }
    if (o->sample_rows) cmi_text_add(out, "\"sample_rows\": %d, ", o->sample_rows);
    if (o->sample_columns) cmi_text_add(out, "\"sample_columns\": %d, ", o->sample_columns);
    if (p.share > 0) {
        cmi_text_add(out, "\"sample_share\": ");
        cmi_text_add_number(out, 6, 100 * p.share);
    } else cmi_text_add(out, "\"sample_every\": %lld", (long long)p.sample);
    if (o->metric) write_metric(o, &p, out);
    cmi_text_add(out, "},\n");
}

cm_status cmi_run_config_write(const cm_run_options *o, cm_text *out)
{
    cm_model_info m;
    const cm_model *learner = cmi_run_learner(o);
    const char *network = o->network ? o->network : o->init || o->teacher_path ? NULL : cmi_run_preset_network(o);
    cm_model_info_init(&m, sizeof m);
    CM_TRY(write_training(o, out));
    if (learner) CM_TRY(cm_model_info_get(learner, &m));
    if (learner) network = m.config_json;
    cmi_text_add(out, "\"begins_as\": %s,\n", network ? network : "null");
    if (learner) cmi_text_add(out, "\"parameters\": %llu,\n", (unsigned long long)m.parameters);
    if (o->data || o->dataset) write_data(o, out);
    write_pace(o, out);
    write_path(out, "init", o->init ? o->init : "");
    cmi_text_add(out, ",\n");
    write_path(out, "teacher", o->teacher_path ? o->teacher_path : "");
    cmi_text_add(out, ",\n\"build\": ");
    cmi_text_add_string(out, cm_build_info());
    cmi_text_add(out, "}\n");
    return cmi_text_check(out);
}
