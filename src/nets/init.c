/* init.c - which range each tensor is drawn from, by its name. */
#include "nets/init.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "graph/params.h"
#include "nets/net.h"

int cmi_init_contains(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

static int is_bias(const char *name)
{
    size_t n = strlen(name);
    return n >= 5 && strcmp(name + n - 5, ".bias") == 0;
}

/* Inputs of one output value: C k k of a convolution. */
double cmi_init_fan_in(const cm_param_desc *p)
{
    double n = 1;
    for (int i = 1; i < p->rank; i++) n *= (double)p->shape[i];
    return n;
}

/* PyTorch's default U(-1, 1) / sqrt(fi), weights and biases; what ends a residual
 * branch is zero, class tables are N(0, 1).  */
cm_init cmi_init_torch(const cm_param_desc *p, const cm_param_desc *weight)
{
    static const char *const zero[] = {".conv1.",       ".proj.",     "out_conv.", "map_augment.",
                                       ".out_layers.3", ".proj_out.", "out.2."};
    for (size_t i = 0; i < sizeof zero / sizeof *zero; i++)
        if (cmi_init_contains(p->name, zero[i])) return (cm_init){CM_INIT_ZERO, 0};
    if (cmi_init_contains(p->name, "map_label.") || cmi_init_contains(p->name, "label_emb."))
        return (cm_init){CM_INIT_NORMAL, 1};
    return (cm_init){CM_INIT_UNIFORM, 1 / sqrt(cmi_init_fan_in(weight))};
}

static cm_init rule_of(const cm_graph *g, const cm_net_config *config, int index)
{
    const cm_param_desc *p = &g->params[index];
    /* A bias follows its weight; a norm's weight has rank 1. */
    const cm_param_desc *weight = is_bias(p->name) && index > 0 ? p - 1 : p;
    if (cmi_init_contains(p->name, "freqs")) return (cm_init){CM_INIT_NORMAL, config->fourier_scale};
    if (weight->rank == 1 && !config->family->unit_rows)
        return (cm_init){is_bias(p->name) ? CM_INIT_ZERO : CM_INIT_ONE, 1};
    return config->family->initial(p, weight);
}

void cmi_net_init(const cm_graph *graph, const cm_net_config *config, uint64_t seed, int index, float *out)
{
    size_t n = cmi_param_elements(&graph->params[index]);
    cm_init r = rule_of(graph, config, index);
    const cm_stream stream = {seed, (uint64_t)index, 0};
    if (r.kind == CM_INIT_NORMAL) {
        cmi_stream_normal(&stream, n, out);
        for (size_t i = 0; i < n; i++) out[i] = (float)(r.scale * (double)out[i]);
        return;
    }
    for (size_t i = 0; i < n; i += 4) {
        uint32_t bits[4];
        if (r.kind == CM_INIT_UNIFORM) cmi_stream_block(&stream, (uint32_t)(i / 4), bits);
        for (size_t j = i; j < n && j < i + 4; j++)
            out[j] = r.kind == CM_INIT_UNIFORM ? (float)(r.scale * (2 * ((bits[j - i] + 0.5) / 4294967296.0) - 1))
                                               : (float)(r.kind == CM_INIT_ONE);
    }
}
