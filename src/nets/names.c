/* names.c - see the header. */
#include "nets/names.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_PARTS = 4 };

/* What a parameter is made of. */
typedef struct {
    const cm_tensor *part[MOST_PARTS];
    int parts; /* 0: the file has none */
    cm_name_order order;
    cm_name_parts rows;
} made;

typedef struct {
    const cm_graph *graph;
    const cm_tensors *file;
    const cm_tensor **by_name; /* of the file */
    unsigned char *used;       /* one a tensor of the file: it is a parameter, or a part of one */
    made *made;                /* one a parameter */
} search;

/* --- finding ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const cm_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static const cm_tensor **find_tensor(const search *s, const char *name)
{
    const cm_tensor key = {.name = name}, *wanted = &key;
    return s->file->count ? bsearch(&wanted, s->by_name, s->file->count, sizeof wanted, compare_names) : NULL;
}

static int find_param(const cm_graph *g, const char *name)
{
    for (int i = 0; i < g->n_params; i++)
        if (strcmp(g->params[i].name, name) == 0) return i;
    return -1;
}

static int note(void *user, const cm_net_name *name)
{
    search *s = user;
    int index = find_param(s->graph, name->param);
    const cm_tensor **found = find_tensor(s, name->name);
    if (index < 0 || !found || name->parts > MOST_PARTS) return 0;
    made *m = &s->made[index];
    m->order = name->order;
    m->rows = name->rows;
    m->parts = name->parts;
    m->part[name->part] = *found;
    s->used[*found - s->file->tensors] = 1;
    return 0;
}

/* --- listing ------------------------------------------------------------------------------- */

static int same_kind(const cm_tensor *a, const cm_tensor *b)
{
    return a->type == b->type && a->rank == b->rank &&
           memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0;
}

/* The shape that the graph's order gives; 0 where the tensor has another rank than its order. */
static int turn_shape(const made *m, const cm_tensor *from, int rank, cm_tensor *t)
{
    const int64_t *s = from->shape;
    if ((m->order == CM_ORDER_HWIO && from->rank != 4) || (m->order == CM_ORDER_IO && from->rank != 2)) return 0;
    if (from->rank < 1 || from->rank > rank) return 0;
    memcpy(t->shape, s, (size_t)from->rank * sizeof *s);
    if (m->order == CM_ORDER_HWIO) t->shape[0] = s[3], t->shape[1] = s[2], t->shape[2] = s[0], t->shape[3] = s[1];
    if (m->order == CM_ORDER_IO) t->shape[0] = s[1], t->shape[1] = s[0];
    for (t->rank = from->rank; t->rank < rank; t->rank++) t->shape[t->rank] = 1;
    t->shape[0] *= m->parts;
    return 1;
}

static cm_status add_param(cm_tensors *out, const search *s, int index)
{
    const cm_param_desc *p = &s->graph->params[index];
    const made *m = &s->made[index];
    cm_tensor *t;
    for (int i = 0; i < m->parts; i++) {
        if (!m->part[i]) return CM_OK; /* missing, as a whole */
        if (!same_kind(m->part[0], m->part[i]))
            CM_FAIL(CM_ERR_SHAPE, "%s: tensors '%s' and '%s' are parts of one, but differ in type or shape",
                    s->file->input.name, m->part[0]->name, m->part[i]->name);
    }
    CM_TRY(cmi_tensors_add(out, p->name, &t));
    *t = *m->part[0];
    t->name = p->name;
    if (!turn_shape(m, m->part[0], p->rank, t) || (m->order == CM_ORDER_SAME && m->parts == 1)) return CM_OK;
    t->from = out;
    t->data = NULL;
    t->offset = (size_t)index;
    t->count *= (size_t)m->parts;
    t->bytes *= (size_t)m->parts;
    return CM_OK;
}

static cm_status list_all(cm_tensors *out, search *s)
{
    for (int i = 0; i < s->graph->n_params; i++)
        if (s->made[i].parts) CM_TRY(add_param(out, s, i));
    for (size_t i = 0; i < s->file->count; i++) {
        cm_tensor *t;
        if (s->used[i]) continue;
        CM_TRY(cmi_tensors_add(out, s->file->tensors[i].name, &t));
        *t = s->file->tensors[i];
    }
    return CM_OK;
}

/* --- values -------------------------------------------------------------------------------- */

static void move(void *to, const void *from, size_t size)
{
    switch (size) {
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    default: memcpy(to, from, size);
    }
}

/* The values of one part to their places in the parameter [out, in, ...]. */
static void place(const made *m, int part, const cm_tensor *t, const unsigned char *from, unsigned char *to)
{
    const size_t size = cmi_tensor_type_size(t->type), rows = (size_t)t->shape[0] / (size_t)m->parts;
    const size_t columns = rows ? t->count / (rows * (size_t)m->parts) : 0;
    const size_t in = t->rank > 1 ? (size_t)t->shape[1] : 1, area = in ? columns / in : 0;
    const size_t step = m->rows == CM_PARTS_INTERLEAVED ? (size_t)m->parts : 1;
    const size_t first = m->rows == CM_PARTS_INTERLEAVED ? (size_t)part : (size_t)part * rows;
    for (size_t c = 0; m->order == CM_ORDER_SAME && c < rows; c++)
        memcpy(to + (first + step * c) * columns * size, from + c * columns * size, columns * size);
    for (size_t a = 0; m->order != CM_ORDER_SAME && a < area; a++)
        for (size_t i = 0; i < in; i++)
            for (size_t c = 0; c < rows; c++, from += size)
                move(to + (((first + step * c) * in + i) * area + a) * size, from, size);
}

static cm_status read_part(const made *m, int part, const cm_tensor *t, unsigned char *out)
{
    const cm_tensor *from = m->part[part];
    if (from->data) {
        place(m, part, t, from->data, out);
        return CM_OK;
    }
    unsigned char *bytes = cmi_malloc(t->from->context, from->bytes, 1);
    if (!bytes) return CM_ERR_MEMORY;
    cm_status status = cmi_tensor_fetch(from, bytes);
    if (status == CM_OK) place(m, part, t, bytes, out);
    cmi_free(t->from->context, bytes);
    return status;
}

static cm_status read_renamed(const cm_tensor *t, void *out)
{
    const made *m = (const made *)t->from->state + t->offset;
    for (int i = 0; i < m->parts; i++) CM_TRY(read_part(m, i, t, out));
    return CM_OK;
}

static void forget_renamed(const cm_tensor *t)
{
    const made *m = (const made *)t->from->state + t->offset;
    for (int i = 0; i < m->parts; i++) cmi_tensor_forget(m->part[i]);
}

static void close_renamed(cm_tensors *t)
{
    cmi_free(t->context, t->state);
}

static const cm_tensor_format renamed = {
    .name = "renamed", .read = read_renamed, .forget = forget_renamed, .close = close_renamed};

/* --- all of it ----------------------------------------------------------------------------- */

cm_status cmi_names_apply(const cm_naming *naming, const cm_graph *graph, const cm_net_config *config,
                          const cm_tensors *file, cm_tensors *out)
{
    memset(out, 0, sizeof *out);
    out->context = file->context;
    out->format = &renamed;
    search s = {.graph = graph,
                .file = file,
                .by_name = cmi_calloc(file->context, file->count + 1, sizeof *s.by_name),
                .used = cmi_calloc(file->context, file->count + 1, sizeof *s.used),
                .made = cmi_calloc(file->context, (size_t)graph->n_params + 1, sizeof *s.made)};
    out->state = s.made;
    cm_status status = s.by_name && s.used && s.made ? CM_OK : CM_ERR_MEMORY;
    for (size_t i = 0; status == CM_OK && i < file->count; i++) s.by_name[i] = &file->tensors[i];
    if (status == CM_OK) {
        qsort(s.by_name, file->count, sizeof *s.by_name, compare_names);
        (void)naming->walk(graph, config, note, &s);
        status = list_all(out, &s);
    }
    cmi_free(file->context, (void *)s.by_name);
    cmi_free(file->context, s.used);
    if (status != CM_OK) cmi_tensors_close(out);
    return status;
}
