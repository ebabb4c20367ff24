/* fold.c - the sums of fold.h. */
#include "nets/fold.h"

#include <string.h>

#include "ops/winograd.h"

int cm_fold(cm_graph *g, const char *name, const cm_attention_maps *m, int kind)
{
    const int weight = kind == CM_FOLD_QUERY_WEIGHT || kind == CM_FOLD_VALUE_WEIGHT;
    const int64_t shape[4] = {m->c, m->c, 1, 1};
    const int index = cm_graph_param(g, weight ? 4 : 1, shape, "%s", name);
    if (index < 0) return index;
    const cm_derived d = {kind, m->layout, {m->qkv_weight, m->qkv_bias, m->weight, m->bias}};
    g->params[index].derived = d;
    return index;
}

void cm_fold_last(cm_graph *g)
{
    int n = 0;
    int *moved = cm_calloc(g->context, (size_t)g->n_params + 1, sizeof *moved);
    cm_param_desc *sorted = cm_calloc(g->context, (size_t)g->n_params + 1, sizeof *sorted);
    if (!moved || !sorted) cm_graph_fail(g, CM_ERR_MEMORY, "%s", cm_last_message());
    if (g->status == CM_OK) {
        for (int folded = 0; folded < 2; folded++)
            for (int i = 0; i < g->n_params; i++)
                if ((g->params[i].derived.kind != CM_FOLD_NONE) == folded) sorted[moved[i] = n++] = g->params[i];
        for (int i = 0; i < n; i++)
            for (int k = 0; k < 4; k++) sorted[i].derived.from[k] = moved[sorted[i].derived.from[k]];
        memcpy(g->params, sorted, (size_t)n * sizeof *sorted);
        for (int i = 0; i < g->n_nodes; i++)
            for (int k = 0; k < CM_OP_MAX_PARAMS; k++)
                if (g->nodes[i].param[k] >= 0) g->nodes[i].param[k] = moved[g->nodes[i].param[k]];
    }
    cm_free(g->context, sorted);
    cm_free(g->context, moved);
}

/* --- values ------------------------------------------------------------------ */

enum { QKV_WEIGHT, QKV_BIAS, WEIGHT, BIAS, INPUTS };

struct cm_folded {
    cm_context *context;
    const cm_param_desc *params;
    const cm_param_source *sources;
    int index;
};

typedef struct {
    size_t c;
    int layout;
    const float *in[INPUTS]; /* plain */
    float *copy[INPUTS];     /* or NULL: in the source */
} maps;

/* Row of output i of q, k or v (j = 0, 1, 2) among the 3C of one head. */
static size_t row_of(const maps *m, size_t j, size_t i)
{
    return m->layout == CM_QKV_INTERLEAVED ? 3 * i + j : j * m->c + i;
}

static const float *qkv_row(const maps *m, size_t j, size_t i)
{
    return m->in[QKV_WEIGHT] + row_of(m, j, i) * m->c;
}

/* y [c][c] = a b, by the products of 1 x 1 convolutions. */
static cm_status multiply(cm_context *context, size_t c, const float *a, const float *b, float *y)
{
    cm_winograd w;
    cm_winograd_init(&w, cm_dnnl_cpu_level(), 0, CM_TILE_1X1, 1, 1, 1, 1, (int32_t)c, (int32_t)c, (int32_t)c);
    void *scratch = cm_malloc(context, cm_winograd_plain_scratch_bytes(&w), 1);
    if (!scratch) return CM_ERR_MEMORY;
    cm_status status = cm_winograd_run_plain(&w, a, b, NULL, NULL, 1, y, scratch);
    cm_free(context, scratch);
    return status;
}

/* Wk^T Wq or Wp Wv. */
static cm_status fold_weight(cm_context *context, const maps *m, int query, float *out)
{
    const size_t c = m->c;
    float *left = cm_malloc(context, c * c, sizeof *left), *right = cm_malloc(context, c * c, sizeof *right);
    cm_status status = left && right ? CM_OK : CM_ERR_MEMORY;
    for (size_t i = 0; i < c && status == CM_OK; i++) {
        memcpy(right + i * c, qkv_row(m, query ? 0 : 2, i), c * sizeof *right);
        const float *k = query ? qkv_row(m, 1, i) : NULL;
        for (size_t n = 0; n < c; n++)
            if (query) left[n * c + i] = k[n];
            else left[i * c + n] = m->in[WEIGHT][i * c + n];
    }
    if (status == CM_OK) status = multiply(context, c, left, right, out);
    cm_free(context, right);
    cm_free(context, left);
    return status;
}

static void fold_bias(const maps *m, int query, float *out)
{
    for (size_t i = 0; i < m->c; i++) {
        double sum = query ? 0 : (double)m->in[BIAS][i];
        for (size_t n = 0; n < m->c; n++) {
            const float w = query ? qkv_row(m, 1, n)[i] : m->in[WEIGHT][i * m->c + n];
            sum += (double)w * (double)m->in[QKV_BIAS][row_of(m, query ? 0 : 2, n)];
        }
        out[i] = (float)sum;
    }
}

static cm_status take(const cm_folded *f, const cm_derived *d, maps *m)
{
    for (int k = 0; k < INPUTS; k++) {
        const cm_param_source *from = &f->sources[d->from[k]];
        m->in[k] = from->raw;
        if (from->raw) continue;
        m->copy[k] = cm_malloc(f->context, cm_param_elements(&f->params[d->from[k]]), sizeof *m->copy[k]);
        if (!m->copy[k]) return CM_ERR_MEMORY;
        CM_TRY(from->read(from, m->copy[k]));
        m->in[k] = m->copy[k];
    }
    return CM_OK;
}

static cm_status read_folded(const cm_param_source *source, float *out)
{
    const cm_folded *f = source->user;
    const cm_derived *d = &f->params[f->index].derived;
    const int query = d->kind == CM_FOLD_QUERY_WEIGHT || d->kind == CM_FOLD_QUERY_BIAS;
    maps m = {(size_t)f->params[f->index].shape[0], d->layout, {NULL}, {NULL}};
    cm_status status = take(f, d, &m);
    if (status == CM_OK) {
        if (f->params[f->index].rank == 1) fold_bias(&m, query, out);
        else status = fold_weight(f->context, &m, query, out);
    }
    for (int k = 0; k < INPUTS; k++) cm_free(f->context, m.copy[k]);
    return status;
}

static void forget_folded(const cm_param_source *source)
{
    const cm_folded *f = source->user;
    for (int k = 0; k < INPUTS; k++) {
        const cm_param_source *from = &f->sources[f->params[f->index].derived.from[k]];
        if (from->forget) from->forget(from);
    }
}

cm_folded *cm_fold_bind(const cm_graph *g, int count, cm_param_source *sources)
{
    cm_folded *all = cm_calloc(g->context, (size_t)(g->n_params - count) + 1, sizeof *all);
    for (int i = count; all && i < g->n_params; i++) {
        all[i - count] = (cm_folded){g->context, g->params, sources, i};
        sources[i] = (cm_param_source){.read = read_folded, .forget = forget_folded, .user = &all[i - count]};
    }
    return all;
}
