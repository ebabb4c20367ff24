/* fill.c - see the header; the formulas are those of the golden README. */
#include "fill.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"

static double hash_value(uint64_t seed, uint64_t k, uint64_t i)
{
    uint64_t z = seed * 0x9E3779B97F4A7C15u + k * 0xD1B54A32D192ED03u + i * 0x8CB92BA72F3D8DD7u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (2 * ((double)(z >> 11) * 0x1p-53) - 1) * sqrt(3.0);
}

double fill_value(int kind, uint64_t seed, uint64_t k, uint64_t i)
{
    if (kind == FILL_HASH) return hash_value(seed, k, i);
    double a = 12.9898 * (double)i, b = 78.233 * (double)(k + 1), c = 0.37 * (double)seed;
    return sqrt(2.0) * sin(a + (b + c));
}

/* Scale and offset of a tensor by its name and shape. */
typedef struct {
    double scale, offset;
} rule;

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static rule rule_of(const char *name, int rank, double fan_in)
{
    if (rank >= 2) return (rule){1 / sqrt(fan_in), 0};
    if (rank == 0) return (rule){0.25, 1};
    if (ends_with(name, "freqs") || ends_with(name, "/W")) return (rule){16, 0};
    if (ends_with(name, ".weight") || ends_with(name, "/scale")) return (rule){0.25, 1};
    return (rule){0.1, 0};
}

typedef fill_name item;

typedef struct {
    const cm_graph *graph;
    item *items;
    int n;
} inventory;

static int find(const cm_graph *g, const char *name)
{
    for (int i = 0; i < g->n_params; i++)
        if (strcmp(g->params[i].name, name) == 0) return i;
    return -1;
}

static int add_flax(void *user, const cm_net_name *name)
{
    inventory *v = user;
    int param = find(v->graph, name->param);
    if (param < 0 || v->n == 8192) return 1;
    v->items[v->n++] = (item){strdup(name->name), param, (int)name->order, name->part, name->parts, 0, 0};
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const item *)a)->name, ((const item *)b)->name);
}

/* Value i of a tensor filled in flax's layout lands at this place of ours. */
static size_t place(const item *it, const cm_param_desc *p, size_t i)
{
    size_t out = (size_t)p->shape[0], in = p->rank > 1 ? (size_t)p->shape[1] : 1;
    size_t area = p->rank == 4 ? (size_t)(p->shape[2] * p->shape[3]) : 1;
    if (it->parts == 3 && p->rank == 1) return 3 * i + (size_t)it->part;
    if (it->parts == 3) return (3 * (i % in) + (size_t)it->part) * in + i / in; /* W [in, C], C = in */
    switch (it->kind) {
    case CM_ORDER_HWIO: return (i % out * in + i / out % in) * area + i / (out * in);
    case CM_ORDER_IO: return i % out * in + i / out;
    default: return i;
    }
}

static void fill_item(const item *it, const cm_param_desc *p, int flax, int kind, uint64_t seed, float *values)
{
    size_t n = cmi_param_elements(p) / (size_t)it->parts;
    double fan_in = 1;
    for (int d = 1; d < p->rank; d++) fan_in *= (double)p->shape[d]; /* all but the last in flax's order: the same */
    rule r = rule_of(it->name, p->rank, fan_in);
#pragma omp parallel for
    for (size_t i = 0; i < n; i++)
        values[flax ? place(it, p, i) : i] = (float)(fill_value(kind, seed, it->k, i) * r.scale + r.offset);
}

/* EDM2's formulas number the tensors of its wrapper too, whose three others come first (logvar_fourier.freqs and
 * phases, logvar_linear.weight). */
static uint64_t first_number(const cm_model *m)
{
    return m->net.family->unit_rows ? 3 : 0;
}

int fill_names(const cm_model *m, int flax, fill_name **out)
{
    inventory v = {m->graph, calloc(8192, sizeof(item)), 0};
    *out = v.items;
    if (flax && cmi_naming_flax.walk(m->graph, &m->net, add_flax, &v)) return -1;
    for (int i = 0; !flax && i < m->graph->n_params; i++)
        if (!m->graph->params[i].constant)
            v.items[v.n++] = (item){strdup(m->graph->params[i].name), i, CM_ORDER_SAME, 0, 1, 0, 0};
    qsort(v.items, (size_t)v.n, sizeof *v.items, by_name);
    for (int k = 0; k < v.n; k++) {
        v.items[k].k = first_number(m) + (uint64_t)k;
        v.items[k].count = cmi_param_elements(&m->graph->params[v.items[k].param]) / (size_t)v.items[k].parts;
    }
    return v.n;
}

size_t fill_place(const fill_name *name, const cm_model *m, size_t i)
{
    return place(name, &m->graph->params[name->param], i);
}

static cm_status fill_all(cm_model *m, int flax, int kind, uint64_t seed, float **values)
{
    fill_name *names;
    int n = fill_names(m, flax, &names);
    if (n < 0) CM_FAIL(CM_ERR_INTERNAL, "flax names do not fit");
    for (int k = 0; k < n; k++) {
        fill_item(&names[k], &m->graph->params[names[k].param], flax, kind, seed, values[names[k].param]);
        free(names[k].name);
    }
    free(names);
    return CM_OK;
}

static cm_status read_copy(const cm_param_source *source, float *out)
{
    memcpy(out, source->data, source->bytes);
    return CM_OK;
}

static cm_status build(cm_model *m, const json_t *network, const json_t *precond, int flax, int kind, uint64_t seed)
{
    CM_TRY(cmi_net_config_read(network, &m->net));
    CM_TRY(cmi_precond_read(m->context, precond, m->net.family->time, &m->precond));
    if (m->precond.kind->variances && m->net.out_channels == m->net.in_channels) m->net.out_channels *= 2;
    m->channels = m->net.in_channels;
    m->out_channels = m->precond.kind->raw ? m->net.out_channels : m->net.in_channels;
    CM_TRY(cmi_model_describe_both(m));
    size_t n = (size_t)m->graph->n_params;
    float **values = calloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        size_t count = cmi_param_elements(&m->graph->params[i]);
        values[i] = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
        m->sources[i] = (cm_param_source){values[i], count * sizeof(float), values[i], read_copy, NULL, NULL};
    }
    CM_TRY(fill_all(m, flax, kind, seed, values));
    free(values);
    return cmi_model_bind(m);
}

cm_model *fill_model(cm_context *context, const json_t *network, const json_t *precond, int32_t height, int32_t width,
                     int flax, int kind, uint64_t seed)
{
    cm_context *owner;
    if (cmi_context_retain(context, &owner) != CM_OK) return NULL;
    cm_model *m = cmi_calloc(owner, 1, sizeof *m);
    if (!m) return NULL;
    m->context = owner;
    atomic_init(&m->references, 1);
    (void)pthread_mutex_init(&m->lock, NULL);
    m->height = height;
    m->width = width;
    if (build(m, network, precond, flax, kind, seed) == CM_OK) return m;
    fill_model_free(m);
    return NULL;
}

void fill_model_free(cm_model *m)
{
    if (!m) return;
    for (int i = 0; m->graph && m->sources && i < m->graph->n_params; i++)
        free((void *)(uintptr_t)m->sources[i].data);
    cmi_model_release(m);
}

const float *fill_param(const cm_model *model, int index)
{
    return model->sources[index].raw;
}

cm_status fill_model_write(cm_model *m, const json_t *network, const json_t *precond, const char *path)
{
    cm_tensor *tensors = calloc((size_t)m->graph->n_params, sizeof *tensors);
    size_t n = 0;
    for (int i = 0; i < m->graph->n_params; i++) {
        const cm_param_desc *p = &m->graph->params[i];
        if (p->constant) continue;
        tensors[n++] = cmi_checkpoint_describe(p, p->name, m->sources[i].raw);
    }
    char *net = json_dumps(network, 0), *pre = json_dumps(precond, 0), image[160];
    (void)snprintf(image, sizeof image, "{\"channels\": %d, \"height\": %d, \"width\": %d, \"labels\": %d}",
                   m->channels, m->height, m->width, m->net.num_classes);
    json_t *metadata = json_pack("{s:s,s:s,s:s,s:s}", "consistency.format", "1", "consistency.network", net,
                                 "consistency.precond", pre, "consistency.image", image);
    cm_status status = cmi_safetensors_write(m->context, path, 1, metadata, tensors, n, NULL);
    json_decref(metadata);
    free(net);
    free(pre);
    free(tensors);
    return status;
}
