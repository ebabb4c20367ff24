/* labels.c - classes from dataset.json, sub-folders or file-name prefixes. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "data/dataset.h"

/* --- names to classes ----------------------------------------------------------- */

/* The folder a picture lies in, or its base name up to the first "_". */
static void class_of(const char *name, int by_folder, const char **begin, size_t *length)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    if (!by_folder) {
        const char *end = strchr(base, '_');
        *begin = base;
        *length = end ? (size_t)(end - base) : strlen(base);
        return;
    }
    const char *start = slash ? slash : name;
    while (start > name && start[-1] != '/') start--;
    *begin = start;
    *length = slash ? (size_t)(slash - start) : 0;
}

static int in_byte_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The sorted set of class names, and every picture's index in it. */
static cm_status classify(cm_dataset *d, int by_folder)
{
    const cm_source *s = d->source;
    cm_context *context = d->context;
    size_t n = s->count, unique = 0;
    char **all = cm_calloc(context, n, sizeof *all), **sorted = cm_calloc(context, n, sizeof *sorted);
    cm_status status = all && sorted ? CM_OK : CM_ERR_MEMORY;
    for (size_t i = 0; i < n && status == CM_OK; i++) {
        const char *begin;
        size_t length;
        class_of(s->names[i], by_folder, &begin, &length);
        all[i] = cm_calloc(context, length + 1, 1);
        if (all[i]) memcpy(all[i], begin, length);
        else status = CM_ERR_MEMORY;
        sorted[i] = all[i];
    }
    if (status == CM_OK) {
        qsort(sorted, n, sizeof *sorted, in_byte_order);
        for (size_t i = 0; i < n; i++)
            if (i == 0 || strcmp(sorted[i], sorted[unique - 1]) != 0) sorted[unique++] = sorted[i];
        d->labels = cm_calloc(context, n, sizeof *d->labels);
        d->classes = cm_calloc(context, unique, sizeof *d->classes);
        if (!d->labels || !d->classes) status = CM_ERR_MEMORY;
    }
    for (size_t i = 0; i < unique && status == CM_OK; i++) {
        d->classes[i] = cm_strdup(context, sorted[i]);
        if (!d->classes[i]) status = CM_ERR_MEMORY;
        else d->n_classes++;
    }
    for (size_t i = 0; i < n && status == CM_OK; i++) {
        char **found = bsearch(&all[i], sorted, unique, sizeof *sorted, in_byte_order);
        d->labels[i] = (int32_t)(found - sorted);
    }
    for (size_t i = 0; all && i < n; i++) cm_free(context, all[i]);
    cm_free(context, all);
    cm_free(context, sorted);
    return status;
}

static int distinct_folders(const cm_source *s)
{
    const char *first, *other;
    size_t a, b;
    class_of(s->names[0], 1, &first, &a);
    for (size_t i = 1; i < s->count; i++) {
        class_of(s->names[i], 1, &other, &b);
        if (a != b || memcmp(first, other, a) != 0) return 1;
    }
    return 0;
}

static int all_prefixed(const cm_source *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const char *slash = strrchr(s->names[i], '/');
        if (!strchr(slash ? slash + 1 : s->names[i], '_')) return 0;
    }
    return 1;
}

/* --- dataset.json --------------------------------------------------------------------- */

static cm_status read_pairs(cm_dataset *d, const json_t *pairs)
{
    const cm_source *s = d->source;
    json_t *table = json_object(), *pair;
    size_t k;
    cm_status status = table ? CM_OK : cm_fail(CM_ERR_MEMORY, "out of memory: labels");
    json_array_foreach((json_t *)(uintptr_t)pairs, k, pair)
    {
        const char *name = json_string_value(json_array_get(pair, 0));
        json_t *label = json_array_get(pair, 1);
        if (status != CM_OK) break;
        if (!name || json_array_size(pair) != 2)
            status = cm_fail(CM_ERR_FORMAT, "dataset.json: entry %zu is not [name, label]", k);
        else if (json_is_array(label))
            status = cm_fail(CM_ERR_UNSUPPORTED, "dataset.json: '%.200s' has a vector for its label; class numbers are supported",
                             name);
        else if (!json_is_integer(label) || json_integer_value(label) < 0 || json_integer_value(label) >= 1 << 24)
            status = cm_fail(CM_ERR_FORMAT, "dataset.json: the label of '%.200s' is no class number", name);
        else if (json_object_set(table, name, label) != 0)
            status = cm_fail(CM_ERR_FORMAT, "dataset.json: the name of entry %zu cannot be used", k);
    }
    if (status == CM_OK && !(d->labels = cm_calloc(d->context, s->count, sizeof *d->labels))) status = CM_ERR_MEMORY;
    for (size_t i = 0; i < s->count && status == CM_OK; i++) {
        const json_t *label = json_object_get(table, s->names[i]);
        if (!label) status = cm_fail(CM_ERR_FORMAT, "dataset.json: '%.200s' has no entry", s->names[i]);
        else d->labels[i] = (int32_t)json_integer_value(label);
    }
    json_decref(table);
    return status;
}

static cm_status from_json(cm_dataset *d, int *done)
{
    json_error_t error;
    *done = 0;
    if (!d->source->dataset_json || !d->source->names) return CM_OK;
    json_t *root = json_loads(d->source->dataset_json, JSON_REJECT_DUPLICATES, &error);
    if (!root) CM_FAIL(CM_ERR_FORMAT, "dataset.json: not valid JSON: %s (line %d)", error.text, error.line);
    const json_t *labels = json_object_get(root, "labels");
    cm_status status = CM_OK;
    if (json_is_array(labels)) {
        status = read_pairs(d, labels);
        *done = 1;
    } else if (labels && !json_is_null(labels)) {
        status = cm_fail(CM_ERR_FORMAT, "dataset.json: 'labels' is neither a list nor null");
    }
    json_decref(root);
    return status;
}

/* ---------------------------------------------------------------------------------------- */

static cm_status by_rule(cm_dataset *d)
{
    const cm_source *s = d->source;
    int done, rule = d->o.labels;
    if (rule == CM_LABELS_NONE) return CM_OK;
    if (rule == CM_LABELS_AUTO) {
        CM_TRY(from_json(d, &done));
        if (done) return CM_OK;
        if (s->labels) {
            d->labels = cm_calloc(d->context, s->count, sizeof *d->labels);
            if (!d->labels) return CM_ERR_MEMORY;
            memcpy(d->labels, s->labels, s->count * sizeof *d->labels);
            return CM_OK;
        }
    }
    if (!s->names) {
        if (rule == CM_LABELS_AUTO) return CM_OK;
        CM_FAIL(CM_ERR_ARGUMENT, "labels by folder or prefix: a %s set has no names", s->kind->name);
    }
    if (rule == CM_LABELS_FOLDER || (rule == CM_LABELS_AUTO && distinct_folders(s))) return classify(d, 1);
    if (rule == CM_LABELS_AUTO && !all_prefixed(s)) return CM_OK;
    CM_TRY(classify(d, 0));
    if (d->n_classes == (int32_t)s->count)
        cm_log(d->context, CM_LOG_WARNING, "every picture has a class of its own: are the names CLASS_NUMBER?");
    return CM_OK;
}

cm_status cm_dataset_find_labels(cm_dataset *d)
{
    CM_TRY(by_rule(d));
    d->largest_label = -1;
    for (size_t i = 0; d->labels && i < d->source->count; i++)
        if (d->labels[i] > d->largest_label) d->largest_label = d->labels[i];
    if (d->largest_label >= d->n_classes) d->n_classes = d->largest_label + 1;
    return CM_OK;
}
