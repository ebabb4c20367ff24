/* mismatch.c - the message of a file that does not fit: lists of a few names, each with the nearest on the other
 * side. */
#include "nets/mismatch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nets/nearest.h"

enum { NAMED = 5, LIST = 520 };

/* A list of names for a message: the first few, and how many there are. */
typedef struct {
    char text[LIST];
    size_t length;
    size_t count;
} names;

static void append(names *list, const char *format, ...) CM_PRINTF(2, 3);
static void append(names *list, const char *format, ...)
{
    va_list args;
    size_t left = sizeof list->text - list->length;
    va_start(args, format);
    int n = vsnprintf(list->text + list->length, left, format, args);
    va_end(args);
    list->length += n < 0 ? 0 : (size_t)n < left ? (size_t)n : left - 1;
}

/* Whether one more is named; the separator before it is then there. */
static int begin_entry(names *list)
{
    if (list->count++ >= NAMED) return 0;
    append(list, "%s", list->count == 1 ? ": " : ", ");
    return 1;
}

static void write_shape(char *out, size_t size, int rank, const int64_t *shape)
{
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; i < rank && n + 24 < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? "," : "", (long long)shape[i]);
}

/* --- the nearest of the other side ---------------------------------------------------------- */

static int is_missing(const cm_matching *m, size_t i)
{
    return !m->is_in_file[i] && !m->graph->params[i].constant;
}

static const char *missing_name(const void *matching, size_t i)
{
    const cm_matching *m = matching;
    return is_missing(m, i) ? m->graph->params[i].name : NULL;
}

static const char *extra_name(const void *matching, size_t i)
{
    const cm_matching *m = matching;
    return m->tensors[i].kind == CM_MATCH_UNKNOWN ? m->file->tensors[i].name : NULL;
}

/* --- the lists ------------------------------------------------------------------------------ */

static void add_missing(const cm_matching *m, size_t i, names *list)
{
    const char *name = m->graph->params[i].name, *near;
    if (!begin_entry(list)) return;
    near = cmi_nearest_name(name, extra_name, m, m->file->count);
    append(list, "%.72s", name);
    if (near) append(list, " (nearest in the file: '%.72s')", near);
}

static void add_extra(const cm_matching *m, size_t i, names *list)
{
    const char *name = m->file->tensors[i].name, *near;
    if (!begin_entry(list)) return;
    append(list, "%.72s", name);
    if (m->tensors[i].kind == CM_MATCH_TWICE) {
        append(list, " (twice, with and without '%s')", m->prefix);
        return;
    }
    near = cmi_nearest_name(name, missing_name, m, (size_t)m->graph->n_params);
    if (near) append(list, " (did you mean '%.72s'?)", near);
}

static void add_mismatched(const cm_matching *m, size_t i, names *list)
{
    const cm_tensor *t = &m->file->tensors[i];
    const cm_param_desc *p = &m->graph->params[m->tensors[i].parameter];
    char expected[64], found[120];
    if (!begin_entry(list)) return;
    append(list, "%.72s", t->name);
    write_shape(expected, sizeof expected, p->rank, p->shape);
    write_shape(found, sizeof found, t->rank, t->shape);
    const int transposed = p->rank == 2 && t->rank == 2 && p->shape[0] == t->shape[1] && p->shape[1] == t->shape[0];
    if (m->tensors[i].kind == CM_MATCH_SHAPE)
        append(list, " (expected [%s], found [%s]%s)", expected, found, transposed ? ", transposed" : "");
    else if (m->tensors[i].kind == CM_MATCH_TYPE)
        append(list, " (dtype %s, expected F32, BF16, F16 or F64)", cmi_tensor_type_name(t->type));
    else append(list, " (not the configured resample_filter)");
}

static void collect(const cm_matching *m, names *missing, names *extra, names *mismatched)
{
    for (size_t i = 0; i < (size_t)m->graph->n_params; i++)
        if (is_missing(m, i)) add_missing(m, i, missing);
    for (size_t i = 0; i < m->file->count; i++) {
        const cm_match_kind kind = m->tensors[i].kind;
        if (kind == CM_MATCH_UNKNOWN || kind == CM_MATCH_TWICE) add_extra(m, i, extra);
        else if (kind != CM_MATCH_FITS) add_mismatched(m, i, mismatched);
    }
}

cm_status cmi_mismatch_report(const cm_matching *m)
{
    names missing = {.count = 0}, extra = {.count = 0}, mismatched = {.count = 0};
    collect(m, &missing, &extra, &mismatched);
    if (!missing.count && !extra.count && !mismatched.count) return CM_OK;
    CM_FAIL(CM_ERR_SHAPE,
            "%s does not fit its network of %d tensors: %zu missing%s; %zu extra%s; %zu mismatched%s (at most %d of "
            "each are named)",
            m->path, m->graph->n_params, missing.count, missing.text, extra.count, extra.text, mismatched.count,
            mismatched.text, NAMED);
}
