/* label_json.c - class numbers from dataset.json, as EDM writes it:
 * {"labels": [["00000/img00000000.png", 6], ...]} or {"labels": null}.
 *
 * A list of a million names is common, so the text is read where it lies and an entry takes 32 bytes: at most eight
 * times the text together, while the list grows. */
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "data/names.h"
#include "io/json_text.h"

enum { MAX_LABEL = (1 << 24) - 1 };

typedef struct {
    const char *name; /* cleaned; in the text */
    size_t order;     /* in the list          */
    int32_t label;
    int32_t used; /* a picture has it */
} entry;

typedef struct {
    cm_dataset *d;
    cm_json_text text;
    entry *entries; /* by name, once all are read; then without repetitions */
    size_t count, capacity;
    size_t repeated; /* entries that are there again */
} reader;

/* --- the text ------------------------------------------------------------------------------ */

static cm_status broken(const reader *r)
{
    size_t line = 1;
    for (const char *c = r->text.begin; c < r->text.at; c++) line += *c == '\n';
    CM_FAIL(CM_ERR_FORMAT, "dataset.json: not valid JSON: %s (line %zu)",
            r->text.error ? r->text.error : "something else expected", line);
}

static const char *kind_of(char first)
{
    return first == '"'                   ? "a string"
           : first == 't' || first == 'f' ? "true or false"
           : first == '{'                 ? "an object"
           : first == 'n'                 ? "null"
                                          : "a fraction or too large";
}

static cm_status read_label(reader *r, const char *name, int32_t *out)
{
    int64_t label;
    char first = cmi_json_next(&r->text);
    if (first == '[')
        CM_FAIL(CM_ERR_UNSUPPORTED, "dataset.json: '%.200s' has a vector for its label; class numbers are supported",
                name);
    if (!cmi_json_integer(&r->text, &label))
        CM_FAIL(CM_ERR_FORMAT, "dataset.json: the label of '%.200s' is %s, no class number (a whole number from 0)",
                name, kind_of(first));
    if (label < 0 || label > MAX_LABEL)
        CM_FAIL(CM_ERR_FORMAT, "dataset.json: the label of '%.200s' is %lld, no class number (0..%d)", name,
                (long long)label, MAX_LABEL);
    *out = (int32_t)label;
    return CM_OK;
}

static cm_status not_a_pair(const reader *r)
{
    CM_FAIL(CM_ERR_FORMAT, "dataset.json: entry %zu is not [name, label]", r->count);
}

static cm_status read_entry(reader *r)
{
    entry e = {NULL, r->count, 0, 0};
    entry *list = cmi_grown(r->d->context, r->entries, sizeof *list, r->count, &r->capacity);
    if (!list) return CM_ERR_MEMORY;
    r->entries = list;
    if (!cmi_json_take(&r->text, '[') || cmi_json_next(&r->text) != '"') return not_a_pair(r);
    char *name = cmi_json_string(&r->text);
    if (!name) return broken(r);
    if (!cmi_json_take(&r->text, ',')) return not_a_pair(r);
    CM_TRY(read_label(r, name, &e.label));
    if (!cmi_json_take(&r->text, ']')) return not_a_pair(r);
    CM_TRY(cmi_name_clean("dataset.json", name));
    e.name = name;
    r->entries[r->count++] = e;
    return CM_OK;
}

static cm_status read_list(reader *r)
{
    if (!cmi_json_expect(&r->text, '[')) return broken(r);
    if (cmi_json_take(&r->text, ']')) return CM_OK;
    do CM_TRY(read_entry(r));
    while (cmi_json_more(&r->text, ']'));
    return r->text.error ? broken(r) : CM_OK;
}

/* What "labels" is: '[' a list, 'n' null, '\0' nothing. */
static cm_status read_root(reader *r, char *kind)
{
    *kind = '\0';
    if (!cmi_json_take(&r->text, '{')) return cmi_json_skip(&r->text) && cmi_json_end(&r->text) ? CM_OK : broken(r);
    int more = !cmi_json_take(&r->text, '}');
    while (more) {
        const char *key = cmi_json_key(&r->text);
        if (!key) return broken(r);
        if (strcmp(key, "labels") != 0) {
            if (!cmi_json_skip(&r->text)) return broken(r);
        } else {
            if (*kind) CM_FAIL(CM_ERR_FORMAT, "dataset.json: not valid JSON: \"labels\" stands there twice");
            *kind = cmi_json_next(&r->text);
            if (*kind == '\0') return broken(r);
            if (*kind != '[' && *kind != 'n')
                CM_FAIL(CM_ERR_FORMAT, "dataset.json: 'labels' is neither a list nor null");
            if (*kind == '[') CM_TRY(read_list(r));
            else if (!cmi_json_skip(&r->text)) return broken(r);
        }
        more = cmi_json_more(&r->text, '}');
    }
    return !r->text.error && cmi_json_end(&r->text) ? CM_OK : broken(r);
}

/* --- the table -------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : x->order < y->order ? -1 : x->order > y->order;
}

static int compare_name(const void *key, const void *element)
{
    return strcmp(key, ((const entry *)element)->name);
}

/* Sorts, and leaves one entry of each name. */
static cm_status sort_entries(reader *r)
{
    size_t kept = 0;
    if (r->count) qsort(r->entries, r->count, sizeof *r->entries, by_name);
    for (size_t i = 0; i < r->count; i++) {
        const entry *e = &r->entries[i], *old = kept ? &r->entries[kept - 1] : NULL;
        if (old && strcmp(old->name, e->name) == 0) {
            if (old->label != e->label)
                CM_FAIL(CM_ERR_FORMAT, "dataset.json: '%.200s' is listed twice, with the labels %d and %d", e->name,
                        old->label, e->label);
            r->repeated++;
        } else {
            r->entries[kept++] = *e;
        }
    }
    r->count = kept;
    return CM_OK;
}

/* The first of the list that no picture has, or NULL; *n: how many there are. */
static const char *unused_entry(const reader *r, size_t *n)
{
    const entry *first = NULL;
    *n = 0;
    for (size_t i = 0; i < r->count; i++) {
        const entry *e = &r->entries[i];
        if (e->used) continue;
        ++*n;
        if (!first || e->order < first->order) first = e;
    }
    return first ? first->name : NULL;
}

static cm_status give_labels(reader *r)
{
    cm_dataset *d = r->d;
    const cm_source *s = d->source;
    size_t missing = 0, first = 0, n;
    d->labels = cmi_calloc(d->context, s->count, sizeof *d->labels);
    if (!d->labels) return CM_ERR_MEMORY;
    for (size_t i = 0; i < s->count; i++) {
        const char *name = s->names[i] + s->json_folder;
        entry *e = r->count ? bsearch(name, r->entries, r->count, sizeof *e, compare_name) : NULL;
        if (!e && missing++ == 0) first = i;
        if (!e) continue;
        d->labels[i] = e->label;
        e->used = 1;
    }
    if (!missing) return CM_OK;
    const char *unused = unused_entry(r, &n);
    CM_FAIL(CM_ERR_FORMAT,
            "dataset.json: '%.200s' has no entry, as %zu of %zu pictures; entries are relative to the folder of "
            "dataset.json%s%.100s%s",
            s->names[first] + s->json_folder, missing, s->count, unused ? ", one that fits nothing is '" : "",
            unused ? unused : "", unused ? "'" : "");
}

static void log_doubts(const reader *r)
{
    size_t n;
    const char *unused = unused_entry(r, &n);
    if (unused)
        cmi_log(r->d->context, CM_LOG_WARNING,
                "dataset.json: %zu of its entries name pictures that are not there (one: '%.200s')", n, unused);
    if (r->repeated)
        cmi_log(r->d->context, CM_LOG_WARNING, "dataset.json: %zu pictures are listed again, with the same label",
                r->repeated);
}

/* --- what is decided ---------------------------------------------------------------------------- */

static cm_status decide(reader *r, int *decided)
{
    char kind;
    cm_context *context = r->d->context;
    CM_TRY(read_root(r, &kind));
    if (!kind) {
        cmi_log(context, CM_LOG_WARNING,
                "dataset.json was not used: it has no \"labels\" (a list of [name, number], or null)");
        return CM_OK;
    }
    *decided = 1;
    if (kind == 'n') {
        cmi_log(context, CM_LOG_INFO, "dataset.json says that there are no labels");
        return CM_OK;
    }
    r->d->classes_from = "dataset.json";
    CM_TRY(sort_entries(r));
    CM_TRY(give_labels(r));
    log_doubts(r);
    return CM_OK;
}

/* Decodes the text in place, so it is read once. */
cm_status cmi_labels_from_json(cm_dataset *d, int *decided)
{
    reader r = {.d = d};
    char *text = d->source->dataset_json;
    *decided = 0;
    if (!text) return CM_OK;
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) text += 3; /* as Windows begins a text */
    cmi_json_begin(&r.text, text, strlen(text));
    cm_status status = decide(&r, decided);
    cmi_free(d->context, r.entries);
    return status;
}
