/* label_folders.c - see the header. */
#include "data/label_folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *begin;
    size_t length;
} span;

static int by_bytes(const void *a, const void *b)
{
    const span *x = a, *y = b;
    int order = memcmp(x->begin, y->begin, x->length < y->length ? x->length : y->length);
    return order ? order : x->length < y->length ? -1 : x->length > y->length;
}

static span folder_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return (span){name, slash ? (size_t)(slash - name) : 0};
}

static span parent_of(span folder)
{
    while (folder.length && folder.begin[folder.length - 1] != '/') folder.length--;
    if (folder.length) folder.length--;
    return folder;
}

static span last_part(span folder)
{
    size_t from = parent_of(folder).length;
    if (from) from++;
    return (span){folder.begin + from, folder.length - from};
}

static void copy(char out[100], span s)
{
    (void)snprintf(out, 100, "%.*s", s.length < 99 ? (int)s.length : 99, s.begin);
}

/* Sorted without repetitions; gives how many are left. */
static size_t sort_unique(span *spans, size_t n)
{
    size_t unique = 0;
    if (n > 1) qsort(spans, n, sizeof *spans, by_bytes);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || by_bytes(&spans[i], &spans[unique - 1]) != 0) spans[unique++] = spans[i];
    return unique;
}

/* The deepest folder that holds two: of the first and the last in order, of all. */
static span common(span a, span b)
{
    size_t n = 0;
    while (n < a.length && n < b.length && a.begin[n] == b.begin[n]) n++;
    int whole = (n == a.length || a.begin[n] == '/') && (n == b.length || b.begin[n] == '/');
    return whole ? (span){a.begin, n} : parent_of((span){a.begin, n});
}

/* Folders below the top: one within another, and the number of different names. */
static void look_below(span *folders, size_t n, span top, cm_folder_survey *out)
{
    for (size_t i = 0; i < n; i++)
        for (span up = parent_of(folders[i]); up.length > top.length && !out->within[0]; up = parent_of(up))
            if (bsearch(&up, folders, n, sizeof *folders, by_bytes)) copy(out->within, folders[i]);
    if (n) copy(out->a_folder, folders[n - 1]);
}

static int by_last_part(const void *a, const void *b)
{
    span x = last_part(*(const span *)a), y = last_part(*(const span *)b);
    int order = by_bytes(&x, &y);
    return order ? order : by_bytes(a, b);
}

static void count_names(span *folders, size_t n, cm_folder_survey *out)
{
    if (n > 1) qsort(folders, n, sizeof *folders, by_last_part);
    for (size_t i = 0; i < n; i++) {
        span a = last_part(folders[i ? i - 1 : 0]), b = last_part(folders[i]);
        int again = i && by_bytes(&a, &b) == 0;
        out->names += !again;
        if (!again || out->twin[0][0]) continue;
        copy(out->twin[0], folders[i - 1]);
        copy(out->twin[1], folders[i]);
    }
}

cm_status cmi_survey_folders(const cm_source *s, cm_folder_survey *out)
{
    memset(out, 0, sizeof *out);
    span *folders = cmi_calloc(s->context, s->count, sizeof *folders);
    if (!folders) return CM_ERR_MEMORY;
    for (size_t i = 0; i < s->count; i++) folders[i] = folder_of(s->names[i]);
    size_t n = sort_unique(folders, s->count), below = 0;
    span top = common(folders[0], folders[n - 1]);
    for (size_t i = 0; i < s->count; i++) {
        size_t length = folder_of(s->names[i]).length;
        out->at_top += length == top.length;
        out->at_root += length == 0;
    }
    for (size_t i = 0; i < n; i++)
        if (folders[i].length > top.length) folders[below++] = folders[i];
    look_below(folders, below, top, out);
    count_names(folders, below, out);
    cmi_free(s->context, folders);
    return CM_OK;
}

static int digits(const char *text, size_t n)
{
    return strspn(text, "0123456789") >= n;
}

int cmi_folders_are_counters(const cm_source *s)
{
    for (size_t i = 0; i < s->count; i++) {
        span folder = last_part(folder_of(s->names[i]));
        const char *base = strrchr(s->names[i], '/');
        if (folder.length != 5 || !digits(folder.begin, 5) || strncmp(base, "/img", 4) != 0 || !digits(base + 4, 8) ||
            base[12] != '.')
            return 0;
    }
    return 1;
}
