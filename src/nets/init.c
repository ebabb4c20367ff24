/* init.c - which range each tensor is drawn from, by its name. */
#include "nets/init.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "graph/params.h"

enum { ZERO, ONE, UNIFORM, NORMAL };
typedef struct {
    int kind;
    double scale;
} rule;

static int contains(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

static int is_bias(const char *name)
{
    size_t n = strlen(name);
    return n >= 5 && strcmp(name + n - 5, ".bias") == 0;
}

/* Inputs of one output value: C k k of a convolution. */
static double fan_in(const cm_param_desc *p)
{
    double n = 1;
    for (int i = 1; i < p->rank; i++) n *= (double)p->shape[i];
    return n;
}

/* Xavier: sqrt(6 / (fi + fo)) U(-1, 1); what ends a residual branch is nearly
 * zero; biases are zero. */
static rule song_rule(const cm_param_desc *p)
{
    if (p->rank < 2) return (rule){ZERO, 0};
    double fi = fan_in(p), fo = (double)p->shape[0] * fi / (double)p->shape[1], scale = sqrt(6 / (fi + fo));
    if (contains(p->name, ".conv1.") || contains(p->name, ".proj.") || contains(p->name, "aux_conv.")) scale *= 1e-5;
    if (contains(p->name, ".qkv.")) scale *= sqrt(0.2);
    return (rule){UNIFORM, scale};
}

/* PyTorch's default U(-1, 1) / sqrt(fi), weights and biases; what ends a residual
 * branch is zero, class tables are N(0, 1).  `weight`: the tensor that a bias
 * belongs to. */
static rule adm_rule(const cm_param_desc *p, const cm_param_desc *weight)
{
    static const char *const zero[] = {".conv1.",       ".proj.",     "out_conv.", "map_augment.",
                                       ".out_layers.3", ".proj_out.", "out.2."};
    for (size_t i = 0; i < sizeof zero / sizeof *zero; i++)
        if (contains(p->name, zero[i])) return (rule){ZERO, 0};
    if (contains(p->name, "map_label.") || contains(p->name, "label_emb.")) return (rule){NORMAL, 1};
    return (rule){UNIFORM, 1 / sqrt(fan_in(weight))};
}

static rule rule_of(const cm_graph *g, const cm_net_config *config, int index)
{
    const cm_param_desc *p = &g->params[index];
    /* A bias follows its weight; a norm's weight has rank 1. */
    const cm_param_desc *weight = is_bias(p->name) && index > 0 ? p - 1 : p;
    if (contains(p->name, "freqs")) return (rule){NORMAL, config->fourier_scale};
    if (weight->rank == 1) return (rule){is_bias(p->name) ? ZERO : ONE, 1};
    return config->type == CM_NET_SONGUNET ? song_rule(p) : adm_rule(p, weight);
}

void cm_net_init(const cm_graph *graph, const cm_net_config *config, uint64_t seed, int index, float *out)
{
    size_t n = cm_param_elements(&graph->params[index]);
    rule r = rule_of(graph, config, index);
    const cm_stream stream = {seed, (uint64_t)index, 0};
    if (r.kind == NORMAL) {
        cm_stream_normal(&stream, n, out);
        for (size_t i = 0; i < n; i++) out[i] = (float)(r.scale * (double)out[i]);
        return;
    }
    for (size_t i = 0; i < n; i += 4) {
        uint32_t bits[4];
        if (r.kind == UNIFORM) cm_stream_block(&stream, (uint32_t)(i / 4), bits);
        for (size_t j = i; j < n && j < i + 4; j++)
            out[j] = r.kind == UNIFORM ? (float)(r.scale * (2 * ((bits[j - i] + 0.5) / 4294967296.0) - 1))
                                       : (float)(r.kind == ONE);
    }
}
