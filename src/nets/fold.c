/* fold.c - the sums of fold.h. */
#include "nets/fold.h"

#include <string.h>

#include "conv/winograd.h"
#include "nets/unit_rows.h"

int cmi_fold(cm_graph *g, const char *name, const cm_attention_maps *m, int kind)
{
    const int weight = kind == CM_FOLD_QUERY_WEIGHT || kind == CM_FOLD_VALUE_WEIGHT;
    const int64_t shape[4] = {m->c, m->c, 1, 1};
    const int index = cmi_graph_param(g, weight ? 4 : 1, shape, "%s", name);
    if (index < 0) return index;
    const cm_derived d = {kind, m->layout, {m->qkv_weight, m->qkv_bias, m->weight, m->bias}, 1};
    g->params[index].derived = d;
    return index;
}

void cmi_fold_last(cm_graph *g)
{
    int n = 0;
    int *moved = cmi_calloc(g->context, (size_t)g->n_params + 1, sizeof *moved);
    cm_param_desc *sorted = cmi_calloc(g->context, (size_t)g->n_params + 1, sizeof *sorted);
    if (!moved || !sorted) cmi_graph_fail(g, CM_ERR_MEMORY, "%s", cm_last_message());
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
    cmi_free(g->context, sorted);
    cmi_free(g->context, moved);
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
    int layout, query;       /* query: A, else B */
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

/* Matrices [c][c], and what a product needs besides. */
typedef struct {
    const cm_kernels *kernels;
    float *left, *right, *product;
    void *rest;
} workspace;

/* y [c][c] = a b is a 1 x 1 convolution of c points. */
static cm_winograd product_of(const cm_kernels *kernels, size_t c)
{
    cm_winograd w;
    cmi_winograd_init(&w, kernels, 0, CM_WINOGRAD_1X1, 1, cmi_one_thread(), 1, 1, (int32_t)c, (int32_t)c, (int32_t)c);
    return w;
}

static size_t workspace_bytes(const cm_context *context, size_t c)
{
    const cm_winograd w = product_of(cmi_kernels_for(cmi_context_cpu_level(context)), c);
    return 3 * c * c * sizeof(float) + w.fresh_bytes + w.scratch_bytes;
}

static workspace workspace_in(const cm_context *context, size_t c, float *scratch)
{
    return (workspace){cmi_kernels_for(cmi_context_cpu_level(context)), scratch, scratch + c * c, scratch + 2 * c * c,
                       scratch + 3 * c * c};
}

static cm_status multiply(size_t c, const float *a, const float *b, float *y, const workspace *r)
{
    const cm_winograd w = product_of(r->kernels, c);
    return cmi_winograd_run_plain(&w, a, b, NULL, NULL, 1, y, r->rest);
}

static void transpose(size_t c, const float *from, float *to)
{
    for (size_t i = 0; i < c; i++)
        for (size_t n = 0; n < c; n++) to[n * c + i] = from[i * c + n];
}

/* W of q, k or v. */
static void take_rows(const maps *m, size_t j, float *to)
{
    for (size_t i = 0; i < m->c; i++) memcpy(to + i * m->c, qkv_row(m, j, i), m->c * sizeof *to);
}

static cm_status fold_weight(const maps *m, const workspace *r, float *out)
{
    take_rows(m, m->query ? 0 : 2, r->right);
    if (!m->query) return multiply(m->c, m->in[WEIGHT], r->right, out, r);
    take_rows(m, 1, r->product);
    transpose(m->c, r->product, r->left);
    return multiply(m->c, r->left, r->right, out, r);
}

static void fold_bias(const maps *m, float *out)
{
    for (size_t i = 0; i < m->c; i++) {
        double sum = m->query ? 0 : (double)m->in[BIAS][i];
        for (size_t n = 0; n < m->c; n++) {
            const float w = m->query ? qkv_row(m, 1, n)[i] : m->in[WEIGHT][i * m->c + n];
            sum += (double)w * (double)m->in[QKV_BIAS][row_of(m, m->query ? 0 : 2, n)];
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
        m->copy[k] = cmi_malloc(f->context, cmi_param_elements(&f->params[d->from[k]]), sizeof *m->copy[k]);
        if (!m->copy[k]) return CM_ERR_MEMORY;
        CM_TRY(from->read(from, m->copy[k]));
        m->in[k] = m->copy[k];
    }
    return CM_OK;
}

static int is_query(const cm_derived *d)
{
    return d->kind == CM_FOLD_QUERY_WEIGHT || d->kind == CM_FOLD_QUERY_BIAS;
}

static cm_status read_weight(const cm_folded *f, const maps *m, float *out)
{
    float *scratch = cmi_malloc(f->context, workspace_bytes(f->context, m->c), 1);
    if (!scratch) return CM_ERR_MEMORY;
    const workspace r = workspace_in(f->context, m->c, scratch);
    cm_status status = fold_weight(m, &r, out);
    cmi_free(f->context, scratch);
    return status;
}

static cm_status read_source(const cm_param_source *source, size_t n, float *out)
{
    if (!source->raw) return source->read(source, out);
    memcpy(out, source->raw, n * sizeof *out);
    return CM_OK;
}

static cm_status read_unit_rows(const cm_folded *f, const cm_param_desc *param, float *out)
{
    const cm_derived *d = &param->derived;
    float gain = 1;
    CM_TRY(read_source(&f->sources[d->from[0]], cmi_param_elements(param), out));
    if (d->layout) CM_TRY(read_source(&f->sources[d->from[1]], 1, &gain));
    cmi_unit_rows_values(param, gain, out, out);
    return CM_OK;
}

static cm_status read_folded(const cm_param_source *source, float *out)
{
    const cm_folded *f = source->user;
    const cm_param_desc *param = &f->params[f->index];
    const cm_derived *d = &param->derived;
    if (d->kind == CM_FOLD_UNIT_ROWS) return read_unit_rows(f, param, out);
    maps m = {(size_t)param->shape[0], d->layout, is_query(d), {NULL}, {NULL}};
    cm_status status = take(f, d, &m);
    if (status == CM_OK) {
        if (param->rank == 1) fold_bias(&m, out);
        else status = read_weight(f, &m, out);
    }
    for (int k = 0; k < INPUTS; k++) cmi_free(f->context, m.copy[k]);
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

cm_folded *cmi_fold_bind(const cm_graph *g, int count, cm_param_source *sources)
{
    cm_folded *all = cmi_calloc(g->context, (size_t)(g->n_params - count) + 1, sizeof *all);
    for (int i = count; all && i < g->n_params; i++) {
        all[i - count] = (cm_folded){g->context, g->params, sources, i};
        sources[i] = (cm_param_source){.read = read_folded, .forget = forget_folded, .user = &all[i - count]};
    }
    return all;
}

/* --- in training -------------------------------------------------------------- */

static int is_product(const cm_param_desc *p)
{
    return p->derived.kind == CM_FOLD_QUERY_WEIGHT || p->derived.kind == CM_FOLD_VALUE_WEIGHT;
}

static int is_weight(const cm_param_desc *p)
{
    return is_product(p) || p->derived.kind == CM_FOLD_UNIT_ROWS;
}

int cmi_fold_pieces(const cm_graph *g)
{
    int n = 0;
    for (int i = 0; i < g->n_params; i++) n += is_weight(&g->params[i]);
    return n;
}

size_t cmi_fold_scratch_bytes(const cm_graph *g)
{
    size_t most = sizeof(float); /* memory is never empty */
    for (int i = 0; i < g->n_params; i++) {
        const size_t bytes =
            is_product(&g->params[i]) ? workspace_bytes(g->context, (size_t)g->params[i].shape[0]) : 0;
        if (bytes > most) most = bytes;
    }
    return most;
}

/* The matrix of a piece; the bias of a product is the next parameter. */
static int weight_of(const cm_graph *g, int piece)
{
    int i = 0;
    while (!is_weight(&g->params[i]) || piece-- > 0) i++;
    return i;
}

static maps maps_in(const cm_graph *g, const size_t *offsets, int index, const float *values)
{
    const cm_derived *d = &g->params[index].derived;
    maps m = {(size_t)g->params[index].shape[0], d->layout, is_query(d), {NULL}, {NULL}};
    for (int k = 0; k < INPUTS; k++) m.in[k] = values + offsets[d->from[k]];
    return m;
}

static float gain_of(const cm_derived *d, const size_t *offsets, const float *values)
{
    return d->layout ? values[offsets[d->from[1]]] : 1;
}

static void unit_rows_values(const cm_param_desc *p, const size_t *offsets, float *values, float *out)
{
    cmi_unit_rows_values(p, gain_of(&p->derived, offsets, values), values + offsets[p->derived.from[0]], out);
}

static void unit_rows_gradient(const cm_param_desc *p, const size_t *offsets, const float *values, const float *dw,
                               float *gradient)
{
    const cm_derived *d = &p->derived;
    cmi_unit_rows_gradient(p, gain_of(d, offsets, values), values + offsets[d->from[0]], dw,
                           gradient + offsets[d->from[0]], d->layout ? gradient + offsets[d->from[1]] : NULL);
}

cm_status cmi_fold_values(const cm_graph *g, const size_t *offsets, int piece, float *values, void *scratch)
{
    const int index = weight_of(g, piece);
    if (!is_product(&g->params[index])) {
        unit_rows_values(&g->params[index], offsets, values, values + offsets[index]);
        return CM_OK;
    }
    const maps m = maps_in(g, offsets, index, values);
    const workspace r = workspace_in(g->context, m.c, scratch);
    fold_bias(&m, values + offsets[index + 1]);
    return fold_weight(&m, &r, values + offsets[index]);
}

/* Gradients of the four parameters. */
typedef struct {
    float *to[INPUTS];
} slopes;

static void put_rows(const maps *m, size_t j, const float *from, const slopes *s)
{
    for (size_t i = 0; i < m->c; i++)
        memcpy(s->to[QKV_WEIGHT] + row_of(m, j, i) * m->c, from + i * m->c, m->c * sizeof *from);
}

/* Bias of output i of q, k or v. */
static float bias_of(const maps *m, size_t j, size_t i)
{
    return m->in[QKV_BIAS][row_of(m, j, i)];
}

static cm_status query_gradients(const maps *m, const workspace *r, const float *da, const float *du, const slopes *s)
{
    const size_t c = m->c;
    take_rows(m, 1, r->left);
    CM_TRY(multiply(c, r->left, da, r->product, r));
    put_rows(m, 0, r->product, s);
    for (size_t i = 0; i < c; i++) {
        double sum = 0;
        for (size_t n = 0; n < c; n++) sum += (double)r->left[i * c + n] * (double)du[n];
        s->to[QKV_BIAS][row_of(m, 0, i)] = (float)sum;
        s->to[QKV_BIAS][row_of(m, 1, i)] = 0;
    }
    take_rows(m, 0, r->left);
    transpose(c, da, r->right);
    CM_TRY(multiply(c, r->left, r->right, r->product, r));
    for (size_t i = 0; i < c; i++)
        for (size_t n = 0; n < c; n++) r->product[i * c + n] += bias_of(m, 0, i) * du[n];
    put_rows(m, 1, r->product, s);
    return CM_OK;
}

static cm_status value_gradients(const maps *m, const workspace *r, const float *db, const float *dw, const slopes *s)
{
    const size_t c = m->c;
    take_rows(m, 2, r->left);
    transpose(c, r->left, r->right);
    CM_TRY(multiply(c, db, r->right, s->to[WEIGHT], r));
    for (size_t i = 0; i < c; i++)
        for (size_t n = 0; n < c; n++) s->to[WEIGHT][i * c + n] += dw[i] * bias_of(m, 2, n);
    memcpy(s->to[BIAS], dw, c * sizeof *dw);
    transpose(c, m->in[WEIGHT], r->left);
    CM_TRY(multiply(c, r->left, db, r->product, r));
    put_rows(m, 2, r->product, s);
    for (size_t n = 0; n < c; n++) {
        double sum = 0;
        for (size_t i = 0; i < c; i++) sum += (double)r->left[n * c + i] * (double)dw[i];
        s->to[QKV_BIAS][row_of(m, 2, n)] = (float)sum;
    }
    return CM_OK;
}

cm_status cmi_fold_gradients(const cm_graph *g, const size_t *offsets, int piece, const float *values,
                             float *gradient, void *scratch)
{
    const int index = weight_of(g, piece);
    if (!is_product(&g->params[index])) {
        unit_rows_gradient(&g->params[index], offsets, values, gradient + offsets[index], gradient);
        return CM_OK;
    }
    const maps m = maps_in(g, offsets, index, values);
    const workspace r = workspace_in(g->context, m.c, scratch);
    const float *weight = gradient + offsets[index], *bias = gradient + offsets[index + 1];
    slopes s;
    for (int k = 0; k < INPUTS; k++) s.to[k] = gradient + offsets[g->params[index].derived.from[k]];
    return m.query ? query_gradients(&m, &r, weight, bias, &s) : value_gradients(&m, &r, weight, bias, &s);
}

void cmi_fold_force(const cm_graph *g, const size_t *offsets, int piece, float *values)
{
    const cm_param_desc *p = &g->params[weight_of(g, piece)];
    if (p->derived.kind == CM_FOLD_UNIT_ROWS) cmi_unit_rows_force(p, values + offsets[p->derived.from[0]]);
}
