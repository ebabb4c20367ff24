/* feature_net.c - descriptions of feature networks, and the values of their parameters from a file's tensors. */
#include "nets/feature_net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nets/checkpoint.h"

static const cm_feature_family *const families[] = {&cmi_feature_lenet, &cmi_feature_resnet20, &cmi_feature_resnet56,
                                                    &cmi_feature_inception, &cmi_feature_inception_pytorch};

const cm_feature_family *cmi_feature_family_at(size_t index)
{
    return index < sizeof families / sizeof *families ? families[index] : NULL;
}

/* --- what a parameter is made of --------------------------------------------------- */

enum { OF_TENSOR, OF_NORMED_WEIGHT, OF_NORMED_BIAS, OF_COPIES };
/* NORM's tensors. */
enum { GAMMA, BETA, MEAN, VARIANCE, NORMS };
const char *const cmi_feature_norm[NORMS] = {"weight", "bias", "running_mean", "running_var"};

struct cm_feature_param {
    int kind;
    cm_name tensor, norm;
    const char *const *members; /* of norm; a NULL one is a factor of 1 */
    double eps;
    size_t rows, row; /* of the parameter */
    cm_context *context;
    const cm_tensor *weight, *norms[NORMS];
};
typedef struct cm_feature_param made_of;

/* A parameter and how it is made; the network's list grows beside the graph's. */
static int add_param(cm_feature_net *net, int rank, const int64_t *shape, const char *name, const made_of *m)
{
    const int index = cmi_graph_param(net->graph, rank, shape, "%s", name);
    if (index < 0) return index;
    void *list = cmi_grown(net->context, net->made_of, sizeof *net->made_of, (size_t)index, &net->capacity);
    if (!list) {
        cmi_graph_fail(net->graph, CM_ERR_MEMORY, "%s", cm_last_message());
        return -1;
    }
    net->made_of = list;
    net->made_of[index] = *m;
    net->made_of[index].context = net->context;
    net->made_of[index].rows = (size_t)shape[0];
    net->made_of[index].row = cmi_param_elements(&net->graph->params[index]) / (size_t)shape[0];
    return index;
}

static int add_tensor(cm_feature_net *net, int rank, const int64_t *shape, const char *name, const char *member)
{
    const made_of m = {.kind = OF_TENSOR, .tensor = cmi_name_of("%s.%s", name, member)};
    return add_param(net, rank, shape, m.tensor.text, &m);
}

cm_value cmi_feature_conv(cm_feature_net *net, const char *name, cm_value x, int32_t out, int32_t k, int32_t s,
                          int32_t pad)
{
    const int64_t shape[4] = {out, cmi_channels(net->graph, x), k, k};
    const cm_attr attr = {.conv = {out, k, s, pad, 1, 0, 0, 0, 0}};
    const int weight = add_tensor(net, 4, shape, name, "weight"), bias = add_tensor(net, 1, shape, name, "bias");
    return cmi_graph_node(net->graph, &cmi_op_conv2d, &attr, &x, 1, weight, bias);
}

cm_value cmi_feature_conv_norm(cm_feature_net *net, const char *name, const char *norm, double eps, cm_value x,
                               const cm_value *r, int32_t out, int32_t k, int32_t s)
{
    const cm_attr attr = {.conv = {out, k, s, k / 2, 1, r ? 1.0f : 0, 0, 0, 0}};
    return cmi_feature_conv_normed(net, name, norm, cmi_feature_norm, eps, x, r, &attr);
}

cm_value cmi_feature_conv_normed(cm_feature_net *net, const char *name, const char *norm, const char *const *members,
                                 double eps, cm_value x, const cm_value *r, const cm_attr *attr)
{
    const int32_t out = attr->conv.out, k = attr->conv.kernel, k_w = attr->conv.kernel_w;
    const int64_t shape[4] = {out, cmi_channels(net->graph, x), k, k_w ? k_w : k};
    const cm_value in[2] = {x, r ? *r : 0};
    made_of m = {.kind = OF_NORMED_WEIGHT, .norm = cmi_name_of("%s", norm), .members = members, .eps = eps};
    m.tensor = cmi_name_of("%s.weight", name);
    const int weight = add_param(net, 4, shape, m.tensor.text, &m);
    m.kind = OF_NORMED_BIAS;
    const int bias = add_param(net, 1, shape, cmi_name_of("%s.folded.bias", name).text, &m);
    return cmi_graph_node(net->graph, &cmi_op_conv2d, attr, in, r ? 2 : 1, weight, bias);
}

/* A 1 x 1 convolution with stride 2 whose weights are 1 where an input is copied. */
cm_value cmi_feature_widen(cm_feature_net *net, cm_value x)
{
    const int32_t c = cmi_channels(net->graph, x);
    const int64_t shape[4] = {2 * c, c, 1, 1};
    const cm_attr attr = {.conv = {2 * c, 1, 2, 0, 0, 0, 0, 0, 0}};
    const made_of m = {.kind = OF_COPIES};
    const int weight = add_param(net, 4, shape, "copies of channels", &m);
    return cmi_graph_node(net->graph, &cmi_op_conv2d, &attr, &x, 1, weight, -1);
}

cm_value cmi_feature_linear(cm_feature_net *net, const char *name, cm_value x, int32_t out, int has_bias)
{
    const int64_t shape[2] = {out, cmi_channels(net->graph, x)};
    const cm_attr attr = {.linear = {out, has_bias}};
    const int weight = add_tensor(net, 2, shape, name, "weight");
    const int bias = has_bias ? add_tensor(net, 1, shape, name, "bias") : -1;
    return cmi_graph_node(net->graph, &cmi_op_linear, &attr, &x, 1, weight, bias);
}

/* --- values ---------------------------------------------------------------------------- */

/* gamma / sqrt(variance + eps) of each output, and what is added behind. */
static cm_status norm_factors(const made_of *m, double *scale, double *shift)
{
    float *values = cmi_malloc(m->context, NORMS * m->rows, sizeof *values);
    cm_status status = values ? CM_OK : CM_ERR_MEMORY;
    for (size_t k = 0; k < NORMS && status == CM_OK; k++)
        if (m->norms[k]) status = cmi_tensor_read(m->norms[k], values + k * m->rows);
    for (size_t i = 0; i < m->rows && status == CM_OK; i++) {
        const double gamma = m->norms[GAMMA] ? (double)values[GAMMA * m->rows + i] : 1;
        scale[i] = gamma / sqrt((double)values[VARIANCE * m->rows + i] + m->eps);
        shift[i] = (double)values[BETA * m->rows + i] - (double)values[MEAN * m->rows + i] * scale[i];
    }
    cmi_free(m->context, values);
    return status;
}

static cm_status read_normed(const cm_param_source *source, float *out)
{
    const made_of *m = source->user;
    double *scale = cmi_malloc(m->context, 2 * m->rows, sizeof *scale);
    if (!scale) return CM_ERR_MEMORY;
    cm_status status = norm_factors(m, scale, scale + m->rows);
    if (status == CM_OK && m->kind == OF_NORMED_WEIGHT) status = cmi_tensor_read(m->weight, out);
    for (size_t i = 0; i < m->rows && status == CM_OK; i++) {
        if (m->kind == OF_NORMED_BIAS) out[i] = (float)scale[m->rows + i];
        for (size_t k = 0; m->kind == OF_NORMED_WEIGHT && k < m->row; k++)
            out[i * m->row + k] = (float)((double)out[i * m->row + k] * scale[i]);
    }
    cmi_free(m->context, scale);
    return status;
}

static cm_status read_copies(const cm_param_source *source, float *out)
{
    const made_of *m = source->user;
    memset(out, 0, m->rows * m->row * sizeof *out);
    for (size_t i = 0; i < m->row; i++) out[(i + m->row / 2) * m->row + i] = 1;
    return CM_OK;
}

/* --- from a file --------------------------------------------------------------------------- */

/* Names of data-parallel training begin with "module.". */
static cm_status find(cm_feature_net *net, const char *name, size_t rows, size_t count, const cm_tensor **out)
{
    const char *file = net->file->input.name;
    *out = cmi_tensors_find(net->file, name);
    if (!*out) *out = cmi_tensors_find(net->file, cmi_name_of("module.%s", name).text);
    if (!*out) CM_FAIL(CM_ERR_FORMAT, "%s is no %s: there is no tensor '%s'", file, net->family->name, name);
    const cm_tensor *t = *out;
    if (t->rank < 1 || (size_t)t->shape[0] != rows || t->count != count)
        CM_FAIL(CM_ERR_FORMAT, "%s is no %s: tensor '%s' has %zu values, expected %zu x %zu", file, net->family->name,
                name, t->count, rows, count / rows);
    if (t->type != CM_TENSOR_F32 && t->type != CM_TENSOR_F16 && t->type != CM_TENSOR_BF16 && t->type != CM_TENSOR_F64)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s' holds %s, expected numbers with a point", file, name,
                cmi_tensor_type_name(t->type));
    return CM_OK;
}

/* The same, noting in `used` that the network has it. */
static cm_status take(cm_feature_net *net, const char *name, size_t rows, size_t count, unsigned char *used,
                      const cm_tensor **out)
{
    CM_TRY(find(net, name, rows, count, out));
    used[*out - net->file->tensors] = 1;
    return CM_OK;
}

static cm_status bind(cm_feature_net *net, int index, unsigned char *used)
{
    made_of *m = &net->made_of[index];
    cm_param_source *source = &net->sources[index];
    *source = (cm_param_source){.read = m->kind == OF_COPIES ? read_copies : read_normed, .user = m};
    if (m->kind == OF_COPIES) return CM_OK;
    if (m->kind != OF_NORMED_BIAS) CM_TRY(take(net, m->tensor.text, m->rows, m->rows * m->row, used, &m->weight));
    if (m->kind == OF_TENSOR) *source = cmi_checkpoint_source(m->weight);
    for (int k = 0; k < NORMS && m->kind != OF_TENSOR; k++)
        if (m->members[k])
            CM_TRY(take(net, cmi_name_of("%s.%s", m->norm.text, m->members[k]).text, m->rows, m->rows, used,
                        &m->norms[k]));
    return CM_OK;
}

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* Finds all tensors of the network, which have to be all of the file. */
static cm_status bind_each(cm_feature_net *net, unsigned char *used)
{
    size_t ours = 0, there = 0;
    for (int i = 0; i < net->graph->n_params; i++) CM_TRY(bind(net, i, used));
    for (size_t i = 0; i < net->file->count; i++) {
        ours += used[i];
        there += !ends_with(net->file->tensors[i].name, "num_batches_tracked");
    }
    if (there != ours)
        CM_FAIL(CM_ERR_FORMAT, "%s is no %s: it has %zu tensors, the network %zu", net->file->input.name,
                net->family->name, there, ours);
    return CM_OK;
}

static cm_status bind_all(cm_feature_net *net)
{
    unsigned char *used = cmi_calloc(net->context, net->file->count + 1, 1);
    net->sources = cmi_calloc(net->context, (size_t)net->graph->n_params + 1, sizeof *net->sources);
    cm_status status = used && net->sources ? bind_each(net, used) : CM_ERR_MEMORY;
    cmi_free(net->context, used);
    return status == CM_OK ? cmi_params_create(net->graph, net->sources, &net->params) : status;
}

cm_status cmi_feature_net_open(cm_context *context, const cm_feature_family *family, cm_tensors *file,
                               cm_feature_net *out)
{
    memset(out, 0, sizeof *out);
    out->context = context;
    out->family = family;
    out->file = file;
    CM_TRY(cmi_graph_create(context, &out->graph));
    family->describe(out, cmi_graph_input(out->graph, (cm_desc){1, family->side, family->side, family->channels}));
    cm_status status = cmi_graph_finish(out->graph);
    if (status == CM_OK) status = bind_all(out);
    if (status != CM_OK) cmi_feature_net_close(out);
    return status;
}

void cmi_feature_net_close(cm_feature_net *net)
{
    cmi_params_free(net->params);
    if (net->context) {
        cmi_free(net->context, net->sources);
        cmi_free(net->context, net->made_of);
    }
    cmi_graph_free(net->graph);
    memset(net, 0, sizeof *net);
}
