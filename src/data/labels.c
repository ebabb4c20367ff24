/* labels.c - classes: which rule applies, and names to numbers. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/dataset.h"
#include "data/label_folders.h"

static const cm_choice rules[] = {
    {"auto", "by dataset.json, the container, folders or names, whatever there is first"},
    {"none", "no classes"},
    {"folder", "the innermost folder"},
    {"prefix", "the file name up to the first \"_\""},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_label_rule_choices, "label_rules", rules);

/* --- names to classes ----------------------------------------------------------- */

/* The "_" that ends a class in a base name; one at the beginning ends nothing. */
static const char *prefix_end(const char *base)
{
    const char *end = strchr(base, '_');
    return end == base ? NULL : end;
}

/* The folder a picture lies in, or its base name up to the first "_". */
static void class_of(const char *name, int by_folder, const char **begin, size_t *length)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    if (!by_folder) {
        const char *end = prefix_end(base);
        *begin = base;
        *length = end ? (size_t)(end - base) : strlen(base);
        return;
    }
    const char *start = slash ? slash : name;
    while (start > name && start[-1] != '/') start--;
    *begin = start;
    *length = slash ? (size_t)(slash - start) : 0;
}

static int in_class_order(const void *a, const void *b)
{
    return cmi_class_order(*(char *const *)a, *(char *const *)b);
}

/* The sorted set of class names, and every picture's index in it. */
static cm_status classify(cm_dataset *d, int by_folder)
{
    const cm_source *s = d->source;
    cm_context *context = d->context;
    size_t n = s->count, unique = 0;
    char **all = cmi_calloc(context, n, sizeof *all), **sorted = cmi_calloc(context, n, sizeof *sorted);
    cm_status status = all && sorted ? CM_OK : CM_ERR_MEMORY;
    for (size_t i = 0; i < n && status == CM_OK; i++) {
        const char *begin;
        size_t length;
        class_of(s->names[i], by_folder, &begin, &length);
        all[i] = cmi_calloc(context, length + 1, 1);
        if (all[i]) memcpy(all[i], begin, length);
        else status = CM_ERR_MEMORY;
        sorted[i] = all[i];
    }
    if (status == CM_OK) {
        qsort(sorted, n, sizeof *sorted, in_class_order);
        for (size_t i = 0; i < n; i++)
            if (i == 0 || strcmp(sorted[i], sorted[unique - 1]) != 0) sorted[unique++] = sorted[i];
        d->labels = cmi_calloc(context, n, sizeof *d->labels);
        d->classes = cmi_calloc(context, unique, sizeof *d->classes);
        if (!d->labels || !d->classes) status = CM_ERR_MEMORY;
    }
    for (size_t i = 0; i < unique && status == CM_OK; i++) {
        d->classes[i] = cmi_strdup(context, sorted[i]);
        if (!d->classes[i]) status = CM_ERR_MEMORY;
        else d->n_classes++;
    }
    for (size_t i = 0; i < n && status == CM_OK; i++) {
        char **found = bsearch(&all[i], sorted, unique, sizeof *sorted, in_class_order);
        d->labels[i] = (int32_t)(found - sorted);
    }
    for (size_t i = 0; all && i < n; i++) cmi_free(context, all[i]);
    cmi_free(context, all);
    cmi_free(context, sorted);
    return status;
}

/* --- which rule --------------------------------------------------------------------------- */

static cm_status take_given(cm_dataset *d)
{
    const cm_source *s = d->source;
    d->labels = cmi_calloc(d->context, s->count, sizeof *d->labels);
    if (!d->labels) return CM_ERR_MEMORY;
    memcpy(d->labels, s->labels, s->count * sizeof *d->labels);
    d->classes_from = s->labels_from;
    return CM_OK;
}

/* Folders that say what pictures are for, not what they show. */
static int are_splits(const cm_dataset *d)
{
    static const char *const names[] = {"train", "training",   "test", "testing", "val",
                                        "valid", "validation", "dev",  "eval"};
    size_t known = 0;
    for (int32_t i = 0; i < d->n_classes; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) known += strcasecmp(d->classes[i], names[k]) == 0;
    return known == (size_t)d->n_classes;
}

static cm_status by_folder(cm_dataset *d, const cm_folder_survey *f)
{
    d->classes_from = "folder names";
    if (f->within[0])
        cmi_log(
            d->context, CM_LOG_WARNING,
            "the folder '%s' lies in another that has pictures too; it is a class of its own, since the innermost "
            "folder "
            "names the class: move its pictures, or write a dataset.json",
            f->within);
    if (f->twin[0][0])
        cmi_log(
            d->context, CM_LOG_WARNING,
            "the folders '%s' and '%s' are one class, since the innermost folder names the class: open one of the "
            "folders above them, rename one, or write a dataset.json",
            f->twin[0], f->twin[1]);
    CM_TRY(classify(d, 1));
    if (are_splits(d))
        cmi_log(d->context, CM_LOG_WARNING,
                "the folders became classes, but '%s' and the others sound like parts of a set: open one of them, or "
                "ask for no "
                "labels",
                d->classes[0]);
    return CM_OK;
}

/* How many base names have such a "_"; *without is one that has none. */
static size_t count_prefixed(const cm_source *s, const char **without)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        const char *slash = strrchr(s->names[i], '/'), *base = slash ? slash + 1 : s->names[i];
        if (prefix_end(base)) n++;
        else *without = base;
    }
    return n;
}

static cm_status by_prefix(cm_dataset *d)
{
    const char *without = "";
    size_t with = count_prefixed(d->source, &without);
    d->classes_from = "file names";
    CM_TRY(classify(d, 0));
    if (d->n_classes == (int32_t)d->source->count)
        cmi_log(d->context, CM_LOG_WARNING,
                "every picture has a class of its own: are the names CLASS_NUMBER? If not, ask for no labels");
    else if (with < d->source->count)
        cmi_log(d->context, CM_LOG_WARNING,
                "names without a \"_\", such as '%.100s', are classes as a whole: %zu of %zu", without,
                d->source->count - with, d->source->count);
    return CM_OK;
}

static int one_prefix(const cm_source *s)
{
    const char *first, *other;
    size_t a, b;
    class_of(s->names[0], 0, &first, &a);
    for (size_t i = 1; i < s->count; i++) {
        class_of(s->names[i], 0, &other, &b);
        if (a != b || memcmp(first, other, a) != 0) return 0;
    }
    return 1;
}

static cm_status maybe_by_prefix(cm_dataset *d)
{
    const cm_source *s = d->source;
    const char *without = "";
    size_t with = count_prefixed(s, &without);
    if (with == s->count && !one_prefix(s)) return by_prefix(d);
    if (with < s->count && with > s->count / 2)
        cmi_log(
            d->context, CM_LOG_WARNING,
            "no classes were made of the file names: %zu of %zu are CLASS_NUMBER, '%.100s' is not; ask for labels by "
            "prefix, or move the others away",
            with, s->count, without);
    return CM_OK;
}

/* Nothing was asked for, and the container says nothing. */
static cm_status guess(cm_dataset *d)
{
    const cm_source *s = d->source;
    cm_folder_survey f;
    CM_TRY(cmi_survey_folders(s, &f));
    if (f.names >= 2 && cmi_folders_are_counters(s)) {
        cmi_log(d->context, CM_LOG_WARNING,
                "no classes were made of the folders: names like '%.100s' count pictures, and there is no "
                "dataset.json; ask "
                "for labels by folder if they are classes",
                s->names[0]);
        return CM_OK;
    }
    if (f.names >= 2 && f.at_top)
        CM_FAIL(CM_ERR_ARGUMENT,
                "cannot tell the classes: %zu of %zu pictures lie beside folders of others such as '%s'; move them "
                "into a "
                "folder or "
                "away, or ask for no labels or labels by prefix",
                f.at_top, s->count, f.a_folder);
    if (f.names >= 2) return by_folder(d, &f);
    CM_TRY(maybe_by_prefix(d));
    if (f.names == 1 && f.at_top && !d->labels)
        cmi_log(d->context, CM_LOG_WARNING,
                "no classes were made of the folders: there is one, '%s', and %zu pictures lie beside it; move these "
                "into a "
                "folder of their own to have two classes",
                f.a_folder, f.at_top);
    return CM_OK;
}

static cm_status as_asked(cm_dataset *d)
{
    const cm_source *s = d->source;
    cm_folder_survey f;
    if (!s->names) CM_FAIL(CM_ERR_ARGUMENT, "labels by folder or prefix: a %s set has no names", s->kind->name);
    if (d->o.labels == CM_LABELS_PREFIX) return by_prefix(d);
    CM_TRY(cmi_survey_folders(s, &f));
    if (f.at_root)
        CM_FAIL(CM_ERR_ARGUMENT,
                "labels by folder: %zu of %zu pictures lie in no folder; move them into one, or away", f.at_root,
                s->count);
    return by_folder(d, &f);
}

static cm_status by_rule(cm_dataset *d)
{
    int decided;
    if (d->o.labels == CM_LABELS_NONE) return CM_OK;
    if (d->o.labels != CM_LABELS_AUTO) return as_asked(d);
    CM_TRY(cmi_labels_from_json(d, &decided));
    if (decided) return CM_OK;
    if (d->source->labels) return take_given(d);
    return d->source->names ? guess(d) : CM_OK;
}

/* Numbers are taken as they are; that few are used, or not 0, may be a mistake. */
static cm_status look_at_numbers(const cm_dataset *d)
{
    size_t n = d->source->count, used = 0;
    int32_t smallest = INT32_MAX;
    if (!d->labels || d->classes || d->largest_label < 0) return CM_OK;
    unsigned char *seen = cmi_calloc(d->context, (size_t)d->largest_label + 1, 1);
    if (!seen) return CM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        if (d->labels[i] < 0) continue;
        if (d->labels[i] < smallest) smallest = d->labels[i];
        used += !seen[d->labels[i]];
        seen[d->labels[i]] = 1;
    }
    cmi_free(d->context, seen);
    if (smallest > 0 || used < ((size_t)d->largest_label + 1) / 2)
        cmi_log(
            d->context, CM_LOG_WARNING,
            "the labels go from %d to %d and %zu of them are used, which makes %d classes: class numbers begin at "
            "0 and "
            "are best without gaps",
            smallest, d->largest_label, used, d->largest_label + 1);
    return CM_OK;
}

cm_status cmi_dataset_find_labels(cm_dataset *d)
{
    CM_TRY(by_rule(d));
    d->largest_label = -1;
    for (size_t i = 0; d->labels && i < d->source->count; i++)
        if (d->labels[i] > d->largest_label) d->largest_label = d->labels[i];
    if (d->largest_label >= d->n_classes) d->n_classes = d->largest_label + 1;
    return look_at_numbers(d);
}
