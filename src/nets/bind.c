/* bind.c - every parameter of a network found among the tensors of a file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nets/mismatch.h"
#include "nets/names.h"
#include "nets/net.h"

static int same_shape(const cm_param_desc *p, const cm_tensor *t)
{
    int rank = p->rank;
    if (t->rank == 3 && rank == 4 && p->shape[2] == 1 && p->shape[3] == 1) rank = 3; /* a 1-D convolution's 1x1 */
    if (t->rank != rank) return 0;
    for (int i = 0; i < rank; i++)
        if (t->shape[i] != p->shape[i]) return 0;
    return 1;
}

static int float_type(cm_tensor_type type)
{
    return type == CM_TENSOR_F32 || type == CM_TENSOR_BF16 || type == CM_TENSOR_F16 || type == CM_TENSOR_F64;
}

/* resample_filter has to be outer(f, f) / (sum f)^2 of the configured f. */
static int right_filter(const cm_tensor *t, const cm_net_config *config)
{
    float v[CM_FIR_MAX * CM_FIR_MAX];
    int n = config->n_filter;
    double sum = 0;
    if (t->count != (size_t)(n * n) || cmi_tensor_read(t, v) != CM_OK) return 0;
    for (int i = 0; i < n; i++) sum += config->filter[i];
    for (int i = 0; i < n * n; i++)
        if (!(fabs((double)v[i] - config->filter[i / n] * config->filter[i % n] / (sum * sum)) < 1e-6)) return 0;
    return 1;
}

/* The graph's names in byte order, for look-up. */
typedef struct {
    const char *name;
    int index;
} entry;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

static cm_match_kind compare(const cm_matching *m, const cm_net_config *config, const cm_tensor *t, int index,
                             const cm_param_source *source)
{
    const cm_param_desc *p = &m->graph->params[index];
    if (!same_shape(p, t)) return CM_MATCH_SHAPE;
    if (!float_type(t->type)) return CM_MATCH_TYPE;
    if (p->constant && !right_filter(t, config)) return CM_MATCH_FILTER;
    return source->user ? CM_MATCH_TWICE : CM_MATCH_FITS;
}

static int begins(const char *name, const char *with)
{
    return with && strncmp(name, with, strlen(with)) == 0;
}

static const char *without_prefix(const cm_net_family *family, const char *name)
{
    for (const char *const *p = family->prefixes; p && *p; p++)
        if (begins(name, *p)) return name + strlen(*p);
    return name;
}

static void match(cm_matching *m, const cm_net_config *config, const entry *order, size_t i, cm_param_source *sources)
{
    const cm_tensor *t = &m->file->tensors[i];
    const entry key = {without_prefix(config->family, t->name), 0};
    const entry *found = bsearch(&key, order, (size_t)m->graph->n_params, sizeof *order, by_name);
    m->tensors[i].kind = CM_MATCH_UNKNOWN;
    if (!found) return;
    m->is_in_file[found->index] = 1;
    m->tensors[i] = (cm_match){compare(m, config, t, found->index, &sources[found->index]), found->index};
    if (m->tensors[i].kind == CM_MATCH_FITS) sources[found->index] = cmi_checkpoint_source(t);
}

static cm_status bind_all(cm_matching *m, const cm_net_config *config, const char *extra, entry *order,
                          cm_param_source *sources)
{
    for (int i = 0; i < m->graph->n_params; i++) order[i] = (entry){m->graph->params[i].name, i};
    qsort(order, (size_t)m->graph->n_params, sizeof *order, by_name);
    for (size_t i = 0; i < m->file->count; i++) {
        const char *name = m->file->tensors[i].name;
        if (begins(name, config->family->leaves) || (extra && strcmp(name, extra) == 0)) continue;
        match(m, config, order, i, sources);
    }
    return cmi_mismatch_report(m);
}

static cm_status bind_tensors(const char *path, const cm_tensors *file, const cm_graph *graph,
                              const cm_net_config *config, const char *extra, cm_param_source *sources)
{
    cm_context *context = graph->context;
    const size_t n = (size_t)graph->n_params;
    cm_matching m = {path, file, graph, config->family->prefixes ? config->family->prefixes[0] : NULL, NULL, NULL};
    entry *order = cmi_calloc(context, n, sizeof *order);
    m.tensors = cmi_calloc(context, file->count, sizeof *m.tensors);
    m.is_in_file = cmi_calloc(context, n, 1);
    cm_status status = CM_ERR_MEMORY;
    if (order && m.tensors && m.is_in_file) status = bind_all(&m, config, extra, order, sources);
    cmi_free(context, order);
    cmi_free(context, m.tensors);
    cmi_free(context, m.is_in_file);
    return status;
}

cm_status cmi_checkpoint_bind(cm_model_file *cp, const cm_graph *graph, const cm_net_config *config,
                              const char *extra, cm_param_source *sources)
{
    const cm_naming *naming = config->family->names;
    const int foreign = naming && naming->knows(&cp->file);
    memset(sources, 0, (size_t)graph->n_params * sizeof *sources);
    if (foreign) CM_TRY(cmi_names_apply(naming, graph, config, &cp->file, &cp->named));
    return bind_tensors(cp->file.input.name, foreign ? &cp->named : &cp->file, graph, config, extra, sources);
}
