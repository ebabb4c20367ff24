/* params.c - plain and packed copies, made on demand under one lock. */
#include "graph/params.h"

#include <pthread.h>
#include <string.h>

#include "base/parallel.h"

typedef struct packed {
    struct packed *next;
    cm_convolution packer;
    void *data;
    int index;
} packed;

struct cm_params {
    cm_context *context;
    const cm_graph *graph;
    cm_param_source *sources;
    float **widened;
    packed *packed;
    size_t copied;
    packed **order; /* for refreshing: all of `packed`, made when first asked for */
    int n_packed, n_order;
    pthread_mutex_t lock;
};

size_t cmi_param_elements(const cm_param_desc *desc)
{
    size_t n = 1;
    for (int i = 0; i < desc->rank; i++) n *= (size_t)desc->shape[i];
    return n;
}

size_t cmi_param_offsets(const cm_graph *graph, size_t *offsets)
{
    size_t at = 0;
    for (int i = 0; i < graph->n_params; i++) {
        offsets[i] = graph->params[i].constant ? SIZE_MAX : at;
        if (!graph->params[i].constant) at += (cmi_param_elements(&graph->params[i]) + 15) / 16 * 16;
    }
    return at;
}

cm_status cmi_params_create(const cm_graph *graph, const cm_param_source *sources, cm_params **out)
{
    size_t n = (size_t)graph->n_params;
    *out = NULL;
    cm_params *params = cmi_calloc(graph->context, 1, sizeof *params);
    if (!params) return CM_ERR_MEMORY;
    params->context = graph->context;
    params->graph = graph;
    params->sources = cmi_calloc(graph->context, n, sizeof *params->sources);
    params->widened = cmi_calloc(graph->context, n, sizeof *params->widened);
    if (!params->sources || !params->widened || pthread_mutex_init(&params->lock, NULL) != 0) {
        cmi_free(graph->context, params->sources);
        cmi_free(graph->context, params->widened);
        cmi_free(graph->context, params);
        return CM_ERR_MEMORY;
    }
    if (n) memcpy(params->sources, sources, n * sizeof *sources);
    *out = params;
    return CM_OK;
}

static void packed_free(cm_params *params, packed *p)
{
    cmi_free(params->context, p->data);
    cmi_free(params->context, p);
}

void cmi_params_free(cm_params *params)
{
    if (!params) return;
    while (params->packed) {
        packed *p = params->packed;
        params->packed = p->next;
        packed_free(params, p);
    }
    cmi_free(params->context, params->order);
    for (int i = 0; i < params->graph->n_params; i++) cmi_free(params->context, params->widened[i]);
    cmi_free(params->context, params->widened);
    cmi_free(params->context, params->sources);
    (void)pthread_mutex_destroy(&params->lock);
    cmi_free(params->context, params);
}

static cm_status widen(cm_params *params, int index, const float **out)
{
    const cm_param_source *source = &params->sources[index];
    size_t n = cmi_param_elements(&params->graph->params[index]);
    *out = source->raw ? source->raw : params->widened[index];
    if (*out) return CM_OK;
    float *copy = cmi_malloc(params->context, n, sizeof *copy);
    if (!copy) return CM_ERR_MEMORY;
    cm_status status = source->read(source, copy);
    if (status != CM_OK) {
        cmi_free(params->context, copy);
        return status;
    }
    if (source->forget) source->forget(source);
    params->widened[index] = copy;
    params->copied += n * sizeof *copy;
    *out = copy;
    return CM_OK;
}

cm_status cmi_params_plain(cm_params *params, int index, const float **out)
{
    (void)pthread_mutex_lock(&params->lock);
    cm_status status = widen(params, index, out);
    (void)pthread_mutex_unlock(&params->lock);
    return status;
}

/* Plain values, read into a copy where the source is not float32. */
static cm_status pack_into(cm_params *params, packed *p)
{
    const cm_param_source *source = &params->sources[p->index];
    float *copy = NULL;
    cm_status status = CM_OK;
    if (!source->raw) {
        copy = cmi_malloc(params->context, cmi_param_elements(&params->graph->params[p->index]), sizeof *copy);
        if (!copy) return CM_ERR_MEMORY;
        status = source->read(source, copy);
    }
    if (status == CM_OK) status = cmi_conv_pack(&p->packer, source->raw ? source->raw : copy, p->data);
    if (source->forget) source->forget(source);
    cmi_free(params->context, copy);
    return status;
}

static cm_status pack(cm_params *params, int index, const cm_convolution *conv, const void **out)
{
    for (packed *p = params->packed; p; p = p->next)
        if (p->index == index && cmi_conv_same_weights(&p->packer, conv)) {
            *out = p->data;
            return CM_OK;
        }
    const size_t bytes = conv->packed_bytes;
    packed *p = cmi_calloc(params->context, 1, sizeof *p);
    if (!p) return CM_ERR_MEMORY;
    p->index = index;
    p->packer = *conv;
    p->data = cmi_malloc(params->context, bytes, 1);
    cm_status status = p->data ? pack_into(params, p) : CM_ERR_MEMORY;
    if (status != CM_OK) {
        packed_free(params, p);
        return status;
    }
    p->next = params->packed;
    params->packed = p;
    params->n_packed++;
    params->copied += bytes;
    *out = p->data;
    return CM_OK;
}

cm_status cmi_params_packed(cm_params *params, int index, const cm_convolution *conv, const void **out)
{
    (void)pthread_mutex_lock(&params->lock);
    cm_status status = pack(params, index, conv, out);
    (void)pthread_mutex_unlock(&params->lock);
    return status;
}

/* --- refreshing ------------------------------------------------------------ */

/* Everything a refresh needs is made the first time, or after new layouts came. */
static cm_status prepare_refresh(cm_params *params)
{
    int n = 0;
    if (params->n_order == params->n_packed) return CM_OK;
    cmi_free(params->context, params->order);
    params->n_order = 0;
    params->order = cmi_calloc(params->context, (size_t)params->n_packed, sizeof *params->order);
    if (!params->order) return CM_ERR_MEMORY;
    for (packed *p = params->packed; p; p = p->next) params->order[n++] = p;
    params->n_order = n;
    return CM_OK;
}

static cm_status refresh_piece(void *user, int index, int worker)
{
    (void)worker;
    const cm_params *params = user;
    packed *p = params->order[index];
    return cmi_conv_pack(&p->packer, params->sources[p->index].raw, p->data);
}

cm_status cmi_params_refresh(cm_params *params, int threads)
{
    (void)pthread_mutex_lock(&params->lock);
    cm_status status = prepare_refresh(params);
    const cm_threads team = {params->context, threads};
    if (status == CM_OK) status = cmi_parallel(team, params->n_order, refresh_piece, params);
    (void)pthread_mutex_unlock(&params->lock);
    return status;
}

size_t cmi_params_copied_bytes(cm_params *params)
{
    (void)pthread_mutex_lock(&params->lock);
    size_t bytes = params->copied;
    (void)pthread_mutex_unlock(&params->lock);
    return bytes;
}
