/* learner_weights.c - the graphs of the network that learns, and the values of its parameters. */
#include <math.h>

#include "base/parallel.h"
#include "nets/fold.h"
#include "train/learner_parts.h"

/* --- graphs --------------------------------------------------------------------- */

const cm_graph *cmi_learner_graph(const cm_learner *l)
{
    return l->folded ? l->folded : l->graph;
}

static cm_status make_graph(const cm_learner *l, int folded, cm_graph **out)
{
    const cm_model *m = l->model;
    return cmi_model_describe(l->context, &m->net, &l->precond, m->height, m->width, l->options.dropout, folded, out);
}

/* The folded graph where it is another.  In bfloat16 it is the file's maps of attention that are rounded. */
static cm_status make_folded(cm_learner *l)
{
    if (l->options.arithmetic.bf16 && !l->model->net.family->unit_rows) return CM_OK;
    CM_TRY(make_graph(l, 1, &l->folded));
    const int pieces = cmi_fold_pieces(l->folded);
    if (pieces == 0) {
        cmi_graph_free(l->folded);
        l->folded = NULL;
        return CM_OK;
    }
    l->folders = pieces < l->options.threads ? pieces : l->options.threads;
    l->fold_scratch = cmi_calloc(l->context, (size_t)l->folders, sizeof *l->fold_scratch);
    if (!l->fold_scratch) return CM_ERR_MEMORY;
    for (int i = 0; i < l->folders; i++) {
        l->fold_scratch[i] = cmi_malloc(l->context, cmi_fold_scratch_bytes(l->folded), 1);
        if (!l->fold_scratch[i]) return CM_ERR_MEMORY;
    }
    return CM_OK;
}

cm_status cmi_learner_describe(cm_learner *l)
{
    CM_TRY(make_graph(l, 0, &l->graph));
    CM_TRY(make_folded(l));
    l->offsets = cmi_calloc(l->context, (size_t)cmi_learner_graph(l)->n_params, sizeof *l->offsets);
    if (!l->offsets) return CM_ERR_MEMORY;
    l->floats = cmi_param_offsets(l->graph, l->offsets);
    l->all_floats = cmi_param_offsets(cmi_learner_graph(l), l->offsets);
    return CM_OK;
}

/* --- folding -------------------------------------------------------------------- */

typedef struct {
    const cm_learner *learner;
    float *values, *gradient; /* gradient NULL: values are to be made */
} folding;

static cm_status fold_piece(void *user, int piece, int worker)
{
    const folding *f = user;
    const cm_learner *l = f->learner;
    void *scratch = l->fold_scratch[worker];
    if (!f->gradient) return cmi_fold_values(l->folded, l->offsets, piece, f->values, scratch);
    return cmi_fold_gradients(l->folded, l->offsets, piece, f->values, f->gradient, scratch);
}

static cm_status fold(const cm_learner *l, float *values, float *gradient)
{
    folding f = {l, values, gradient};
    return l->folded ? cmi_parallel((cm_threads){l->context, l->folders}, cmi_fold_pieces(l->folded), fold_piece, &f)
                     : CM_OK;
}

static cm_status force_piece(void *user, int piece, int worker)
{
    const folding *f = user;
    (void)worker;
    cmi_fold_force(f->learner->folded, f->learner->offsets, piece, f->values);
    return CM_OK;
}

cm_status cmi_learner_force(cm_learner *l, cm_weight_set *set)
{
    folding f = {l, set->values, NULL};
    if (!l->model->net.family->unit_rows) return CM_OK;
    return cmi_parallel((cm_threads){l->context, l->folders}, cmi_fold_pieces(l->folded), force_piece, &f);
}

cm_status cmi_learner_fold_gradient(const cm_learner *l)
{
    return fold(l, l->online.values, l->gradient);
}

/* --- sets ----------------------------------------------------------------------- */

cm_status cmi_weight_set_create(cm_learner *l, const cm_model *from, int folded, cm_weight_set *set)
{
    const cm_graph *g = folded ? cmi_learner_graph(l) : l->graph;
    size_t n = (size_t)g->n_params;
    set->values = cmi_calloc(l->context, folded ? l->all_floats : l->floats, sizeof *set->values);
    set->folded = folded;
    set->sources = cmi_calloc(l->context, n, sizeof *set->sources);
    if (!set->values || !set->sources) return CM_ERR_MEMORY;
    CM_TRY(cmi_model_values(from, set->values));
    if (folded) CM_TRY(fold(l, set->values, NULL));
    for (size_t i = 0; i < n; i++) {
        if (l->offsets[i] == SIZE_MAX) continue;
        float *values = set->values + l->offsets[i];
        set->sources[i].data = values;
        set->sources[i].bytes = cmi_param_elements(&g->params[i]) * sizeof *values;
        set->sources[i].raw = values;
    }
    return cmi_params_create(g, set->sources, &set->params);
}

void cmi_weight_set_free(cm_learner *l, cm_weight_set *set)
{
    cmi_params_free(set->params);
    cmi_free(l->context, set->sources);
    cmi_free(l->context, set->values);
}

cm_status cmi_learner_refresh(cm_learner *l, cm_weight_set *set)
{
    if (set->folded) CM_TRY(fold(l, set->values, NULL));
    return cmi_params_refresh(set->params, l->options.threads);
}

const char *cmi_learner_nonfinite(const cm_learner *l)
{
    for (int i = 0; i < l->graph->n_params; i++) {
        size_t n = cmi_param_elements(&l->graph->params[i]);
        if (l->offsets[i] == SIZE_MAX) continue;
        for (size_t k = 0; k < n; k++)
            if (!isfinite(l->gradient[l->offsets[i] + k])) return l->graph->params[i].name;
    }
    return NULL;
}
