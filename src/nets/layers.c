/* layers.c - one graph node (and its parameters) per call. */
#include "nets/layers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nets/fold.h"

static const double box[2] = {1, 1};
const cm_filter cmi_filter_box = {2, box};

cm_name cmi_name_of(const char *format, ...)
{
    cm_name name;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(name.text, sizeof name.text, format, args);
    va_end(args);
    return name;
}

int32_t cmi_channels(const cm_graph *g, cm_value x)
{
    return cmi_graph_desc(g, x).c;
}

static int vector(cm_graph *g, const char *name, const char *member, int32_t size)
{
    const int64_t shape[1] = {size};
    return cmi_graph_param(g, 1, shape, "%s.%s", name, member);
}

cm_value cmi_conv(cm_graph *g, const char *name, cm_value x, int32_t out, int32_t k, int32_t s, int32_t pad)
{
    const cm_attr attr = {.conv = {out, k, s, pad, 1, 0, 0, 0, 0}};
    const cm_filters f = cmi_conv_filters(g, name, cmi_channels(g, x), out, k);
    return cmi_graph_node(g, &cmi_op_conv2d, &attr, &x, 1, f.weight, f.bias);
}

cm_filters cmi_conv_filters(cm_graph *g, const char *name, int32_t in, int32_t out, int32_t k)
{
    const int64_t shape[4] = {out, in, k, k};
    cm_filters f = {out, k, cmi_graph_param(g, 4, shape, "%s.weight", name), -1};
    f.bias = vector(g, name, "bias", out);
    return f;
}

cm_value cmi_conv_add(cm_graph *g, cm_filters f, cm_value x, cm_value r, double scale)
{
    const cm_attr attr = {.conv = {f.out, f.k, 1, f.k / 2, 1, (float)scale, 0, 0, 0}};
    const cm_value in[2] = {x, r};
    return cmi_graph_node(g, &cmi_op_conv2d, &attr, in, 2, f.weight, f.bias);
}

cm_value cmi_linear(cm_graph *g, const char *name, cm_value x, int32_t out, int bias)
{
    const int64_t shape[2] = {out, cmi_channels(g, x)};
    const cm_attr attr = {.linear = {out, bias}};
    int weight = cmi_graph_param(g, 2, shape, "%s.weight", name);
    return cmi_graph_node(g, &cmi_op_linear, &attr, &x, 1, weight, bias ? vector(g, name, "bias", out) : -1);
}

static cm_value groupnorm(cm_graph *g, const char *name, const cm_value *in, int n_in, const cm_attr *attr)
{
    int32_t c = cmi_channels(g, in[0]);
    int weight = vector(g, name, "weight", c);
    return cmi_graph_node(g, &cmi_op_groupnorm, attr, in, n_in, weight, vector(g, name, "bias", c));
}

cm_value cmi_groupnorm(cm_graph *g, const char *name, cm_value x, int32_t groups, double eps, int silu)
{
    const cm_attr attr = {.groupnorm = {groups, CM_GN_PLAIN, silu, (float)eps, 0}};
    return groupnorm(g, name, &x, 1, &attr);
}

static const float double_norm_eps = 1e-4f;

cm_value cmi_groupnorm_embedded(cm_graph *g, const char *name, cm_value x, cm_value e, int mode, int32_t groups,
                                double eps)
{
    const int twice = mode == CM_GN_DOUBLE;
    const cm_attr attr = {.groupnorm = {groups, twice ? CM_GN_SCALE_SHIFT : mode, 1, (float)eps, twice}};
    const cm_attr halves = {.unit_norm = {2, 1, double_norm_eps}};
    const cm_value in[2] = {x, twice ? cmi_graph_node(g, &cmi_op_unit_norm, &halves, &e, 1, -1, -1) : e};
    return groupnorm(g, name, in, 2, &attr);
}

static cm_value map(cm_graph *g, cm_filters f, cm_value x)
{
    const cm_attr attr = {.conv = {f.out, f.k, 1, f.k / 2, 1, 0, 0, 0, 0}};
    return cmi_graph_node(g, &cmi_op_conv2d, &attr, &x, 1, f.weight, f.bias);
}

/* A map of C to C channels that is made of two. */
static cm_filters folded(cm_graph *g, const char *name, const cm_attention_maps *m, int weight, int bias)
{
    cm_filters f = {m->c, 1, cmi_fold(g, cmi_name_of("%s.folded.weight", name).text, m, weight), -1};
    f.bias = cmi_fold(g, cmi_name_of("%s.folded.bias", name).text, m, bias);
    return f;
}

cm_value cmi_self_attention(cm_graph *g, const char *qkv, const char *proj, cm_value x, cm_value r, int32_t heads,
                            int layout, double scale)
{
    const cm_attr attr = {.attention = {heads, layout}};
    const int32_t c = cmi_channels(g, x);
    cm_filters before = cmi_conv_filters(g, qkv, c, 3 * c, 1), behind = cmi_conv_filters(g, proj, c, c, 1);
    cm_value in[2] = {0, x};
    const int fold = g->folded && heads == 1 && c % 16 == 0;
    if (fold) {
        const cm_attention_maps m = {c, layout, before.weight, before.bias, behind.weight, behind.bias};
        before = folded(g, qkv, &m, CM_FOLD_QUERY_WEIGHT, CM_FOLD_QUERY_BIAS);
        behind = folded(g, proj, &m, CM_FOLD_VALUE_WEIGHT, CM_FOLD_VALUE_BIAS);
    }
    in[0] = map(g, before, x);
    cm_value h = cmi_graph_node(g, &cmi_op_attention, &attr, in, fold ? 2 : 1, -1, -1);
    return cmi_conv_add(g, behind, h, r, scale);
}

cm_value cmi_silu(cm_graph *g, cm_value x)
{
    return cmi_graph_node(g, &cmi_op_silu, NULL, &x, 1, -1, -1);
}

/* The convolution that was just described, whose values nobody has read, does it itself. */
static int takes_relu(const cm_graph *g, cm_value x)
{
    return g->status == CM_OK && g->n_nodes > 0 && g->values[x].producer == g->n_nodes - 1 &&
           g->nodes[g->n_nodes - 1].op == &cmi_op_conv2d;
}

cm_value cmi_relu(cm_graph *g, cm_value x)
{
    if (takes_relu(g, x)) {
        g->nodes[g->n_nodes - 1].op = &cmi_op_conv2d_relu;
        return x;
    }
    return cmi_graph_node(g, &cmi_op_relu, NULL, &x, 1, -1, -1);
}

static cm_value pool(cm_graph *g, cm_value x, int mean, int32_t kernel, int32_t stride, int ceil)
{
    const cm_attr attr = {.pool = {mean, kernel, stride, 0, ceil}};
    return cmi_graph_node(g, &cmi_op_pool, &attr, &x, 1, -1, -1);
}

cm_value cmi_max_pool(cm_graph *g, cm_value x, int32_t kernel, int32_t stride)
{
    return pool(g, x, 0, kernel, stride, 0);
}

cm_value cmi_mean_pool(cm_graph *g, cm_value x, int32_t kernel, int32_t stride)
{
    return pool(g, x, 1, kernel, stride, 0);
}

cm_value cmi_max_pool_ceil(cm_graph *g, cm_value x, int32_t kernel, int32_t stride)
{
    return pool(g, x, 0, kernel, stride, 1);
}

cm_value cmi_mean_pool_ceil(cm_graph *g, cm_value x, int32_t kernel, int32_t stride)
{
    return pool(g, x, 1, kernel, stride, 1);
}

cm_value cmi_resize(cm_graph *g, cm_value x, int32_t h, int32_t w)
{
    const cm_attr attr = {.resize = {h, w}};
    return cmi_graph_node(g, &cmi_op_resize, &attr, &x, 1, -1, -1);
}

cm_value cmi_dropout(cm_graph *g, cm_value x)
{
    if (g->dropout == 0) return x;
    const cm_attr attr = {.dropout = {g->dropout, g->n_dropouts++}};
    return cmi_graph_node(g, &cmi_op_dropout, &attr, &x, 1, -1, -1);
}

cm_value cmi_add(cm_graph *g, cm_value a, cm_value b, double scale)
{
    const cm_attr attr = {.add = {(float)scale}};
    const cm_value in[2] = {a, b};
    return cmi_graph_node(g, &cmi_op_add, &attr, in, 2, -1, -1);
}

cm_value cmi_concat(cm_graph *g, cm_value a, cm_value b)
{
    const cm_value in[2] = {a, b};
    return cmi_graph_node(g, &cmi_op_concat, NULL, in, 2, -1, -1);
}

static cm_value patches(cm_graph *g, cm_value x, int32_t size, int back)
{
    const cm_attr attr = {.space_to_depth = {size, back}};
    return size > 1 ? cmi_graph_node(g, &cmi_op_space_to_depth, &attr, &x, 1, -1, -1) : x;
}

cm_value cmi_to_patches(cm_graph *g, cm_value x, int32_t size)
{
    return patches(g, x, size, 0);
}

cm_value cmi_from_patches(cm_graph *g, cm_value x, int32_t size)
{
    return patches(g, x, size, 1);
}

static cm_value fir(cm_graph *g, cm_value x, cm_filter filter, int up, int32_t stride, int32_t pad)
{
    cm_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.fir.up = up;
    attr.fir.stride = stride;
    attr.fir.pad = pad;
    attr.fir.n = filter.n;
    memcpy(attr.fir.f, filter.f, (size_t)filter.n * sizeof *filter.f);
    return cmi_graph_node(g, &cmi_op_fir, &attr, &x, 1, -1, -1);
}

cm_value cmi_resample(cm_graph *g, cm_value x, int direction, cm_filter filter)
{
    if (direction == CM_RESAMPLE_NONE) return x;
    return fir(g, x, filter, direction == CM_RESAMPLE_UP, 2, (filter.n - 1) / 2);
}

/* Resampling up by [1, 1] repeats points. */
static int repeats(cm_filter filter)
{
    return filter.n == 2 && filter.f[0] == filter.f[1];
}

cm_value cmi_resampled_conv(cm_graph *g, const char *name, cm_value x, int32_t out, int32_t k, int direction,
                            cm_filter filter)
{
    const cm_attr attr = {.conv = {out, k, 1, k / 2, 1, 0, 1, 0, 0}};
    if (direction != CM_RESAMPLE_UP || !repeats(filter))
        return cmi_conv(g, name, cmi_resample(g, x, direction, filter), out, k, 1, k / 2);
    const cm_filters f = cmi_conv_filters(g, name, cmi_channels(g, x), out, k);
    if (k == 1) return cmi_resample(g, map(g, f, x), direction, filter);
    return cmi_graph_node(g, &cmi_op_conv2d, &attr, &x, 1, f.weight, f.bias);
}

cm_value cmi_smooth(cm_graph *g, cm_value x, cm_filter filter, int32_t pad)
{
    return fir(g, x, filter, 0, 1, pad);
}

void cmi_filter_buffer(cm_graph *g, const char *name, cm_filter filter)
{
    const int64_t shape[4] = {1, 1, filter.n, filter.n};
    int index = cmi_graph_param(g, 4, shape, "%s.resample_filter", name);
    if (index >= 0) g->params[index].constant = 1;
}

cm_value cmi_embed_time(cm_graph *g, cm_value t, int kind, int32_t size, int sin_first, const char *freqs)
{
    const int64_t shape[1] = {size / 2};
    const cm_attr attr = {.time = {kind, size, sin_first}};
    int param = freqs ? cmi_graph_param(g, 1, shape, "%s", freqs) : -1;
    if (param >= 0) g->params[param].exact = 1;
    return cmi_graph_node(g, &cmi_op_embed_time, &attr, &t, 1, param, -1);
}
