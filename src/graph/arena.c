/* arena.c - first fit, largest first. */
#include "graph/arena.h"

#include <stdlib.h>

static int larger_first(const void *a, const void *b)
{
    const cm_span *x = *(const cm_span *const *)a, *y = *(const cm_span *const *)b;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    return x->root - y->root;
}

/* The lowest place free of every span that is alive at the same time. */
static size_t lowest(cm_span **order, int placed, const cm_span *s)
{
    size_t at = 0;
    for (int moved = 1; moved;) {
        moved = 0;
        for (int i = 0; i < placed; i++) {
            const cm_span *o = order[i];
            if (o->last < s->first || s->last < o->first) continue;
            if (at < o->offset + o->size && o->offset < at + s->size) {
                at = o->offset + o->size;
                moved = 1;
            }
        }
    }
    return at;
}

cm_status cmi_arena_place(cm_context *context, cm_span *spans, int n, size_t *total)
{
    int roots = 0;
    cm_span **order = cmi_calloc(context, (size_t)n, sizeof *order);
    if (!order) return CM_ERR_MEMORY;
    for (int i = 0; i < n; i++)
        if (spans[i].root == i) order[roots++] = &spans[i];
    qsort(order, (size_t)roots, sizeof *order, larger_first);
    *total = 0;
    for (int i = 0; i < roots; i++) {
        order[i]->offset = lowest(order, i, order[i]);
        size_t end = order[i]->offset + order[i]->size;
        if (end > *total) *total = end;
    }
    for (int i = 0; i < n; i++) spans[i].offset = spans[spans[i].root].offset;
    cmi_free(context, order);
    return CM_OK;
}
