/* torch_data.c - a saved object that is read as data, whatever it is: all tensors in it by their paths where none are
 * a model's, the sets of weights that can be asked for, and what stands beside them. */
#include <stdio.h>
#include <string.h>

#include "io/torch.h"

/* Objects may refer to each other and form circles.  A tensor takes more bytes of a file than BYTES_EACH, unless what
 * it is in is named again and again. */
enum {
    SHARED = 1024,
    BYTES_EACH = 16,
    MOST_VISITS = 16 * CM_TENSORS_MAX,
    MOST_NOTES = 64,
    NOTE_DEPTH = 3,
    NOTE_SIZE = 200
};

/* A walk through the values of an object that are in dictionaries and lists, with the path of each. */
typedef struct walk {
    cm_tensors *tensors;
    size_t visits, length;
    int most_depth;
    char path[CM_TENSOR_NAME + 1];
    cm_status (*visit)(struct walk *w, const cm_pickled *value);
    size_t found;
} walk;

static cm_status descend(walk *w, const cm_pickled *value, int depth);

/* One step down, to the value of a key or an index; what has another kind of key has no path. */
static cm_status step(walk *w, const cm_pickled *key, uint32_t index, const cm_pickled *value, int depth)
{
    const char *text = key ? cmi_pickled_text(key) : NULL;
    const size_t before = w->length, left = sizeof w->path - before;
    int n = -1;
    if (text) n = snprintf(w->path + before, left, "%s%s", before ? "." : "", text);
    else if (before && (!key || key->kind == CM_PICKLED_INT))
        n = snprintf(w->path + before, left, ".%lld", key ? (long long)key->u.integer : (long long)index);
    if (n < 0 || (size_t)n >= left) return CM_OK;
    w->length += (size_t)n;
    cm_status status = descend(w, value, depth);
    w->length = before;
    w->path[before] = '\0';
    return status;
}

static cm_status descend(walk *w, const cm_pickled *value, int depth)
{
    if (++w->visits > MOST_VISITS)
        CM_FAIL(CM_ERR_LIMIT, "%s: more than the limit of %d values in each other", w->tensors->input.name,
                MOST_VISITS);
    if (w->length) CM_TRY(w->visit(w, value));
    if (depth == w->most_depth) return CM_OK;
    if (value->kind == CM_PICKLED_DICT)
        for (uint32_t i = 0; i < value->count; i += 2)
            CM_TRY(step(w, value->u.items[i], i, value->u.items[i + 1], depth + 1));
    if (value->kind == CM_PICKLED_LIST || value->kind == CM_PICKLED_TUPLE)
        for (uint32_t i = 0; i < value->count; i++) CM_TRY(step(w, NULL, i, value->u.items[i], depth + 1));
    return CM_OK;
}

static cm_status count(walk *w, const cm_pickled *value)
{
    w->found += value->kind == CM_PICKLED_TENSOR;
    return CM_OK;
}

static cm_status list(walk *w, const cm_pickled *value)
{
    const cm_torch *torch = w->tensors->state;
    const char *name;
    if (value->kind != CM_PICKLED_TENSOR) return CM_OK;
    CM_TRY(cmi_pickle_keep(torch->pickle, w->path, &name));
    return cmi_torch_add(w->tensors, name, value);
}

cm_status cmi_torch_list_all(cm_tensors *t, const cm_pickled *top, cm_status refused)
{
    walk w = {.tensors = t, .most_depth = CM_PICKLE_DEPTH, .visit = count};
    const int of_optimizer = cmi_torch_is_optimizer(top);
    if (refused != CM_ERR_FORMAT && refused != CM_ERR_UNSUPPORTED) return refused;
    if (top->kind != CM_PICKLED_DICT) return refused;
    t->refusal = cmi_strdup(t->context, cm_last_message());
    if (!t->refusal) return CM_ERR_MEMORY;
    CM_TRY(descend(&w, top, 0));
    if (!w.found && !of_optimizer) return refused;
    t->of_optimizer = of_optimizer;
    if (w.found > SHARED + t->input.size / BYTES_EACH)
        CM_FAIL(CM_ERR_LIMIT,
                "%s: %zu tensors by their paths, more than a file of %zu bytes has: its dictionaries stand in "
                "each other",
                t->input.name, w.found, t->input.size);
    CM_TRY(cmi_torch_reserve(t, w.found));
    w.visits = 0;
    w.visit = list;
    return descend(&w, top, 0);
}

/* --- what stands beside the tensors ----------------------------------------------------------- */

static int write_note(const cm_pickled *value, char text[NOTE_SIZE])
{
    switch ((cm_pickled_kind)value->kind) {
    case CM_PICKLED_BOOL: return snprintf(text, NOTE_SIZE, value->u.integer ? "true" : "false");
    case CM_PICKLED_INT: return snprintf(text, NOTE_SIZE, "%lld", (long long)value->u.integer);
    case CM_PICKLED_FLOAT: return snprintf(text, NOTE_SIZE, "%.9g", value->u.number);
    case CM_PICKLED_TEXT: return cmi_pickled_text(value) ? snprintf(text, NOTE_SIZE, "%s", value->u.text) : -1;
    default: return -1;
    }
}

/* A key of ours would be taken for what the library has said. */
static int is_ours(const char *key)
{
    return strncmp(key, "consistency.", strlen("consistency.")) == 0 || strncmp(key, "read.", strlen("read.")) == 0 ||
           strcmp(key, "weights") == 0;
}

static cm_status note(walk *w, const cm_pickled *value)
{
    const cm_torch *torch = w->tensors->state;
    char text[NOTE_SIZE];
    const char *key, *kept;
    if (w->tensors->of_optimizer && strncmp(w->path, "state.", 6) == 0) return CM_OK; /* steps of single parameters */
    int n = write_note(value, text);
    if (n < 0 || n >= NOTE_SIZE || w->found == MOST_NOTES || is_ours(w->path)) return CM_OK;
    w->found++;
    CM_TRY(cmi_pickle_keep(torch->pickle, w->path, &key));
    CM_TRY(cmi_pickle_keep(torch->pickle, text, &kept));
    return cmi_tensors_add_metadata(w->tensors, key, kept);
}

cm_status cmi_torch_describe(cm_tensors *t, const cm_pickled *top)
{
    walk w = {.tensors = t, .most_depth = NOTE_DEPTH, .visit = note};
    CM_TRY(cmi_torch_add_sets(t, top));
    return descend(&w, top, 0);
}
