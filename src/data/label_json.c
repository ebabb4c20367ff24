/* label_json.c - class numbers from dataset.json, as EDM writes it:
 * {"labels": [["00000/img00000000.png", 6], ...]} or {"labels": null}. */
#include <string.h>

#include <jansson.h>

#include "data/dataset.h"
#include "data/names.h"

enum { MAX_LABEL = (1 << 24) - 1 };

typedef struct {
    cm_dataset *d;
    json_t *table;   /* cleaned name -> label */
    size_t repeated; /* entries that are there again */
    char example[200];
} reader;

static const char *kind_of(const json_t *value)
{
    return json_is_string(value)    ? "a string"
           : json_is_real(value)    ? "a fraction"
           : json_is_boolean(value) ? "true or false"
           : json_is_object(value)  ? "an object"
           : json_is_null(value)    ? "null"
                                    : "missing";
}

static cm_status check_label(const char *name, const json_t *label)
{
    if (json_is_array(label))
        CM_FAIL(CM_ERR_UNSUPPORTED, "dataset.json: '%.200s' has a vector for its label; class numbers are supported",
                name);
    if (!json_is_integer(label))
        CM_FAIL(CM_ERR_FORMAT, "dataset.json: the label of '%.200s' is %s, no class number (a whole number from 0)",
                name, kind_of(label));
    if (json_integer_value(label) < 0 || json_integer_value(label) > MAX_LABEL)
        CM_FAIL(CM_ERR_FORMAT, "dataset.json: the label of '%.200s' is %lld, no class number (0..%d)", name,
                (long long)json_integer_value(label), MAX_LABEL);
    return CM_OK;
}

static cm_status enter(reader *r, char *name, json_t *label)
{
    CM_TRY(cm_name_clean("dataset.json", name));
    const json_t *old = json_object_get(r->table, name);
    if (old && json_integer_value(old) != json_integer_value(label))
        CM_FAIL(CM_ERR_FORMAT, "dataset.json: '%.200s' is listed twice, with the labels %lld and %lld", name,
                (long long)json_integer_value(old), (long long)json_integer_value(label));
    r->repeated += old != NULL;
    if (json_object_set(r->table, name, label) != 0)
        CM_FAIL(CM_ERR_FORMAT, "dataset.json: '%.200s' cannot be used", name);
    return CM_OK;
}

static cm_status read_entry(reader *r, size_t k, const json_t *entry)
{
    const char *given = json_string_value(json_array_get(entry, 0));
    json_t *label = json_array_get(entry, 1);
    if (!given || json_array_size(entry) != 2)
        CM_FAIL(CM_ERR_FORMAT, "dataset.json: entry %zu is not [name, label]", k);
    CM_TRY(check_label(given, label));
    char *name = cm_strdup(r->d->context, given);
    if (!name) return CM_ERR_MEMORY;
    cm_status status = enter(r, name, label);
    cm_free(r->d->context, name);
    return status;
}

/* Every picture takes its entry out of the table. */
static cm_status give_labels(reader *r)
{
    cm_dataset *d = r->d;
    const cm_source *s = d->source;
    size_t missing = 0, first = 0;
    d->labels = cm_calloc(d->context, s->count, sizeof *d->labels);
    if (!d->labels) return CM_ERR_MEMORY;
    for (size_t i = 0; i < s->count; i++) {
        const char *name = s->names[i] + s->json_folder;
        const json_t *label = json_object_get(r->table, name);
        if (!label && missing++ == 0) first = i;
        if (!label) continue;
        d->labels[i] = (int32_t)json_integer_value(label);
        (void)json_object_del(r->table, name);
    }
    if (!missing) return CM_OK;
    void *unused = json_object_iter(r->table);
    CM_FAIL(CM_ERR_FORMAT,
            "dataset.json: '%.200s' has no entry, as %zu of %zu pictures; entries are relative to the folder of "
            "dataset.json%s%.100s%s",
            s->names[first] + s->json_folder, missing, s->count, unused ? ", one that fits nothing is '" : "",
            unused ? json_object_iter_key(unused) : "", unused ? "'" : "");
}

static void log_doubts(const reader *r)
{
    void *unused = json_object_iter(r->table);
    if (unused)
        cm_log(r->d->context, CM_LOG_WARNING,
               "dataset.json: %zu of its entries name pictures that are not there (one: '%.200s')",
               json_object_size(r->table), json_object_iter_key(unused));
    if (r->repeated)
        cm_log(r->d->context, CM_LOG_WARNING, "dataset.json: %zu pictures are listed again, with the same label",
               r->repeated);
}

static cm_status read_entries(cm_dataset *d, const json_t *labels)
{
    reader r = {.d = d, .table = json_object()};
    cm_status status = r.table ? CM_OK : cm_fail(CM_ERR_MEMORY, "out of memory: labels");
    for (size_t k = 0; k < json_array_size(labels) && status == CM_OK; k++)
        status = read_entry(&r, k, json_array_get(labels, k));
    if (status == CM_OK) status = give_labels(&r);
    if (status == CM_OK) log_doubts(&r);
    json_decref(r.table);
    return status;
}

static cm_status read_root(cm_dataset *d, const json_t *root, int *decided)
{
    const json_t *labels = json_object_get(root, "labels");
    if (!labels) {
        cm_log(d->context, CM_LOG_WARNING,
               "dataset.json was not used: it has no \"labels\" (a list of [name, number], or null)");
        return CM_OK;
    }
    *decided = 1;
    if (json_is_null(labels)) {
        cm_log(d->context, CM_LOG_INFO, "dataset.json says that there are no labels");
        return CM_OK;
    }
    if (!json_is_array(labels)) CM_FAIL(CM_ERR_FORMAT, "dataset.json: 'labels' is neither a list nor null");
    d->classes_from = "dataset.json";
    return read_entries(d, labels);
}

cm_status cm_labels_from_json(cm_dataset *d, int *decided)
{
    json_error_t error;
    const char *text = d->source->dataset_json;
    *decided = 0;
    if (!text) return CM_OK;
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) text += 3; /* as Windows begins a text */
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!root) CM_FAIL(CM_ERR_FORMAT, "dataset.json: not valid JSON: %s (line %d)", error.text, error.line);
    cm_status status = read_root(d, root, decided);
    json_decref(root);
    return status;
}
