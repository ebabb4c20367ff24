/* perceptual.c - descriptions over pairs of images, and where their weights lie in files. */
#include "nets/perceptual.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/checkpoint.h"

static const cm_perceptual_family *const families[] = {&cmi_perceptual_vgg, &cmi_perceptual_alex,
                                                       &cmi_perceptual_squeeze};

const cm_perceptual_family *cmi_perceptual_family_at(size_t index)
{
    return index < sizeof families / sizeof *families ? families[index] : NULL;
}

/* --- files ------------------------------------------------------------------------------ */

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* By the last convolution, which no other of them has. */
static const cm_perceptual_family *recognised(const cm_tensors *backbone)
{
    static const struct {
        const char *last;
        const cm_perceptual_family *family;
    } names[] = {{".28.weight", &cmi_perceptual_vgg},
                 {".12.squeeze.weight", &cmi_perceptual_squeeze},
                 {".10.weight", &cmi_perceptual_alex}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < backbone->count; k++)
            if (ends_with(backbone->tensors[k].name, names[i].last)) return names[i].family;
    return NULL;
}

static const cm_perceptual_family *family_named(const char *name)
{
    for (size_t i = 0; cmi_perceptual_family_at(i); i++)
        if (strcmp(cmi_perceptual_family_at(i)->name, name) == 0) return cmi_perceptual_family_at(i);
    return NULL;
}

static cm_status open_files(cm_context *context, const char *network, const char *weights, const char *lin,
                            cm_perceptual_files *out)
{
    CM_TRY(cmi_tensors_open_file(context, weights, CM_INPUT_IN_PLACE, &out->backbone));
    out->family = network ? family_named(network) : recognised(&out->backbone);
    if (!out->family && network)
        CM_FAIL(CM_ERR_ARGUMENT, "there is no network '%.64s' of LPIPS, expected vgg, alex or squeeze", network);
    if (!out->family)
        CM_FAIL(CM_ERR_FORMAT,
                "%s: its %zu tensors are those of no network of LPIPS: expected torchvision's vgg16, alexnet or "
                "squeezenet1_1",
                weights, out->backbone.count);
    if (lin) CM_TRY(cmi_tensors_open_file(context, lin, CM_INPUT_IN_PLACE, &out->lin));
    out->has_lin = lin != NULL;
    return CM_OK;
}

cm_status cmi_perceptual_files_open(cm_context *context, const char *network, const char *weights, const char *lin,
                                    cm_perceptual_files *out)
{
    memset(out, 0, sizeof *out);
    const cm_status status = open_files(context, network, weights, lin, out);
    if (status != CM_OK) cmi_perceptual_files_close(out);
    return status;
}

void cmi_perceptual_files_close(cm_perceptual_files *files)
{
    cmi_tensors_close(&files->lin);
    cmi_tensors_close(&files->backbone);
}

int32_t cmi_perceptual_side(int32_t resize, int32_t width)
{
    enum { SMALL = 256, SIDE = 224 };
    return resize == CM_LPIPS_RESIZE_ALWAYS || (resize == CM_LPIPS_RESIZE_SMALL && width < SMALL) ? SIDE : 0;
}

/* --- describing ------------------------------------------------------------------------ */

cm_pair cmi_perceptual_conv(cm_perceptual *net, const char *name, cm_pair x, int32_t out, int32_t k, int32_t s,
                            int32_t pad)
{
    cm_graph *g = net->graph;
    const int64_t shape[4] = {out, cmi_channels(g, x.x), k, k};
    const cm_attr attr = {.conv = {out, k, s, pad, 1, 0, 0, 0, 0}};
    const int weight = cmi_graph_param(g, 4, shape, "features.%s.weight", name);
    const int bias = cmi_graph_param(g, 1, shape, "features.%s.bias", name);
    const cm_value a = cmi_relu(g, cmi_graph_node(g, &cmi_op_conv2d, &attr, &x.x, 1, weight, bias));
    if (net->shape.curved) return (cm_pair){a, a};
    return (cm_pair){a, cmi_relu(g, cmi_graph_node(g, &cmi_op_conv2d, &attr, &x.y, 1, weight, bias))};
}

cm_pair cmi_perceptual_pool(cm_perceptual *net, cm_pair x, int32_t kernel, int32_t stride, int ceil)
{
    cm_value (*const pools[2][2])(cm_graph *, cm_value, int32_t, int32_t) = {{cmi_max_pool, cmi_max_pool_ceil},
                                                                             {cmi_mean_pool, cmi_mean_pool_ceil}};
    cm_value (*pool)(cm_graph *, cm_value, int32_t, int32_t) = pools[net->shape.mean != 0][ceil != 0];
    const cm_value a = pool(net->graph, x.x, kernel, stride);
    return (cm_pair){a, net->shape.curved ? a : pool(net->graph, x.y, kernel, stride)};
}

cm_pair cmi_perceptual_concat(cm_perceptual *net, cm_pair a, cm_pair b)
{
    const cm_value x = cmi_concat(net->graph, a.x, b.x);
    return (cm_pair){x, net->shape.curved ? x : cmi_concat(net->graph, a.y, b.y)};
}

void cmi_perceptual_tap(cm_perceptual *net, cm_pair x)
{
    cm_graph *g = net->graph;
    const cm_value in[2] = {x.x, x.y};
    const int64_t shape[4] = {1, cmi_channels(g, x.x), 1, 1};
    const cm_attr attr = {.distance = {net->shape.map}};
    const int lin = cmi_graph_param(g, 4, shape, "lin%d.model.1.weight", net->layers);
    cm_value d = net->shape.curved ? cmi_graph_node(g, &cmi_op_speed, NULL, in, 1, lin, -1)
                                   : cmi_graph_node(g, &cmi_op_distance, &attr, in, 2, lin, -1);
    if (net->shape.map) d = cmi_resize(g, d, net->shape.height, net->shape.width);
    cmi_graph_output(g, d);
    net->sum = net->layers++ ? cmi_add(g, net->sum, d, 1) : d;
}

/* What torchvision's networks are given, of images in [-1, 1]. */
static cm_value prepared(const cm_perceptual *net, cm_value x)
{
    static const cm_attr attr = {.standardize = {3, {-0.030f, -0.088f, -0.188f, 0}, {0.458f, 0.448f, 0.450f, 1}}};
    const int32_t side = net->shape.side;
    if (side) x = cmi_resize(net->graph, x, side, side);
    return cmi_graph_node(net->graph, &cmi_op_standardize, &attr, &x, 1, -1, -1);
}

static cm_status describe(cm_perceptual *net)
{
    const cm_desc image = {1, net->shape.height, net->shape.width, net->shape.channels};
    CM_TRY(cmi_graph_create(net->context, &net->graph));
    const cm_value x = cmi_graph_input(net->graph, image);
    const cm_value y = net->shape.curved ? x : cmi_graph_input(net->graph, image);
    const cm_value a = prepared(net, x);
    net->family->describe(net, (cm_pair){a, net->shape.curved ? a : prepared(net, y)});
    cmi_graph_output(net->graph, net->sum);
    return cmi_graph_finish(net->graph);
}

/* --- weights ---------------------------------------------------------------------------- */

static cm_status read_ones(const cm_param_source *source, float *out)
{
    const cm_param_desc *param = source->user;
    for (size_t i = 0, n = cmi_param_elements(param); i < n; i++) out[i] = 1;
    return CM_OK;
}

/* In a checkpoint of the whole module, features.I is net.sliceK.I: up to the K-th tap, from 1. */
static cm_name sliced(const cm_perceptual_family *family, const char *name)
{
    const char *rest = name + strlen("features.");
    const long index = strtol(rest, NULL, 10);
    int slice = 0;
    while (slice + 1 < family->layers && index > family->taps[slice]) slice++;
    return cmi_name_of("net.slice%d.%s", slice + 1, rest);
}

static const cm_tensor *find(cm_perceptual_files *files, const char *name)
{
    cm_tensors *lin = files->has_lin ? &files->lin : &files->backbone;
    const cm_tensor *t;
    if (strncmp(name, "lin", 3) == 0) {
        t = cmi_tensors_find(lin, cmi_name_of("%s.%s", files->family->name, name).text);
        return t ? t : cmi_tensors_find(lin, name);
    }
    t = cmi_tensors_find(&files->backbone, name);
    return t ? t : cmi_tensors_find(&files->backbone, sliced(files->family, name).text);
}

static int same_shape(const cm_param_desc *param, const cm_tensor *t)
{
    if (t->rank != param->rank) return 0;
    for (int i = 0; i < t->rank; i++)
        if (t->shape[i] != param->shape[i]) return 0;
    return 1;
}

static cm_status bind(cm_perceptual_files *files, const cm_param_desc *param, cm_param_source *out)
{
    const int is_lin = strncmp(param->name, "lin", 3) == 0;
    const char *file = is_lin && files->has_lin ? files->lin.input.name : files->backbone.input.name;
    if (is_lin && files->uniform) {
        *out = (cm_param_source){.read = read_ones, .user = param};
        return CM_OK;
    }
    const cm_tensor *t = find(files, param->name);
    if (!t && is_lin && !files->has_lin)
        CM_FAIL(CM_ERR_FORMAT,
                "%s holds no weights of the layers ('%s'): give the file of LPIPS's lin weights besides", file,
                param->name);
    if (!t) CM_FAIL(CM_ERR_FORMAT, "%s is no %s: there is no tensor '%s'", file, files->family->name, param->name);
    if (!same_shape(param, t))
        CM_FAIL(CM_ERR_FORMAT, "%s is no %s: tensor '%s' has %zu values in another shape, expected %zu", file,
                files->family->name, t->name, t->count, cmi_param_elements(param));
    if (t->type != CM_TENSOR_F32 && t->type != CM_TENSOR_F16 && t->type != CM_TENSOR_BF16 && t->type != CM_TENSOR_F64)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s' holds %s, expected numbers with a point", file, t->name,
                cmi_tensor_type_name(t->type));
    *out = cmi_checkpoint_source(t);
    return CM_OK;
}

static cm_status bind_all(cm_perceptual *net, cm_perceptual_files *files)
{
    const size_t n = (size_t)net->graph->n_params;
    net->sources = cmi_calloc(net->context, n, sizeof *net->sources);
    if (!net->sources) return CM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) CM_TRY(bind(files, &net->graph->params[i], &net->sources[i]));
    return cmi_params_create(net->graph, net->sources, &net->params);
}

cm_status cmi_perceptual_open(cm_context *context, cm_perceptual_files *files, const cm_perceptual_shape *shape,
                              cm_perceptual *out)
{
    memset(out, 0, sizeof *out);
    out->context = context;
    out->family = files->family;
    out->shape = *shape;
    cm_status status = describe(out);
    if (status == CM_ERR_SHAPE)
        status = cmi_fail(status, "LPIPS: images of %d x %d are too small for %s, whose layers halve them (%s)",
                          shape->height, shape->width, files->family->name, cm_last_message());
    if (status == CM_OK) status = bind_all(out, files);
    if (status != CM_OK) cmi_perceptual_close(out);
    return status;
}

void cmi_perceptual_close(cm_perceptual *net)
{
    cmi_params_free(net->params);
    if (net->context) cmi_free(net->context, net->sources);
    cmi_graph_free(net->graph);
    memset(net, 0, sizeof *net);
}
