/* songunet.c - DDPM++ and NCSN++ as NVlabs/edm describes them (networks B.3). */
#include <math.h>

#include "nets/edm_block.h"
#include "nets/edm_config.h"

typedef struct {
    cm_edm_family f;
    const cm_net_config *c;
    cm_value skips[CM_NET_LEVELS * 66];
    int n_skips;
} song;

static cm_name at(int32_t side, const char *path, const char *what)
{
    return cmi_name_of("%s.%dx%d_%s", path, side, side, what);
}

static cm_value embed_time(cm_graph *g, const cm_net_config *c, cm_value time)
{
    int fourier = c->embedding == CM_EMBEDDING_FOURIER;
    return cmi_embed_time(g, time, fourier ? CM_TIME_FOURIER : CM_TIME_POSITIONAL_ENDPOINT,
                          c->model_channels * c->channel_mult_noise, 1, fourier ? "map_noise.freqs" : NULL);
}

/* The times (one, or two side by side) + label + augment + guidance. */
static cm_value conditions(cm_graph *g, const cm_net_config *c, const cm_net_inputs *in)
{
    int classes = c->num_classes;
    cm_value e = embed_time(g, c, in->time);
    if (c->second_time == CM_SECOND_CONCAT) e = cmi_concat(g, e, embed_time(g, c, in->second));
    int32_t nc = cmi_channels(g, e);
    if (classes) { /* a linear layer over onehot * sqrt(classes) */
        const int64_t shape[2] = {nc, classes}, bias[1] = {nc};
        const cm_attr attr = {.label = {classes, nc, 1, 1, (float)sqrt(classes)}};
        const cm_value inputs[2] = {e, in->label};
        int weight = cmi_graph_param(g, 2, shape, "map_label.weight");
        e = cmi_graph_node(g, &cmi_op_embed_label, &attr, inputs, 2, weight,
                           cmi_graph_param(g, 1, bias, "map_label.bias"));
    }
    if (c->augment_dim) e = cmi_add(g, e, cmi_linear(g, "map_augment", in->augment, nc, 0), 1);
    if (c->conditions) e = cmi_add(g, e, cmi_linear(g, "map_conditions", in->told, nc, 0), 1);
    return e;
}

/* e = SiLU(map_layer1(SiLU(map_layer0(conditions)))), before the last SiLU the second time's tower is added */
static cm_value embedding(cm_graph *g, const cm_net_config *c, const cm_net_inputs *in)
{
    int32_t width = c->model_channels * c->channel_mult_emb;
    cm_value e = cmi_silu(g, cmi_linear(g, "map_layer0", conditions(g, c, in), width, 1));
    e = cmi_linear(g, "map_layer1", e, width, 1);
    if (c->second_time == CM_SECOND_TOWER) {
        cm_value s = cmi_silu(g, cmi_linear(g, "map_layer0_s", embed_time(g, c, in->second), width, 1));
        e = cmi_add(g, e, cmi_linear(g, "map_layer1_s", s, width, 1), 1);
    }
    return cmi_silu(g, e);
}

static void push(song *u, cm_value x)
{
    u->skips[u->n_skips++] = x;
}

/* 3x3 convolution at full resolution, then FIR at stride 2, is FIR at stride 1
 * on the wider padded image, then the convolution at stride 2 without padding:
 * the same sums with a quarter of the products. */
static cm_value fused_down(song *u, const char *name, cm_value x, int32_t out)
{
    cm_filter filter = u->f.filter;
    cm_value h = cmi_smooth(u->f.g, x, filter, 1 + (filter.n - 1) / 2);
    h = cmi_conv(u->f.g, name, h, out, 3, 2, 0);
    cmi_filter_buffer(u->f.g, name, filter);
    return h;
}

/* Going down to `side`: the block, and what the input pyramid adds. */
static cm_value down(song *u, cm_value x, cm_value *aux, int32_t side)
{
    cm_graph *g = u->f.g;
    int32_t out = cmi_channels(g, x);
    x = cmi_edm_block(&u->f, at(side, "enc", "down").text, x, out, CM_RESAMPLE_DOWN, 0);
    push(u, x);
    if (u->c->encoder == CM_ENCODER_SKIP) {
        *aux = cmi_resample(g, *aux, CM_RESAMPLE_DOWN, u->f.filter);
        cmi_filter_buffer(g, at(side, "enc", "aux_down").text, u->f.filter);
        cm_value s = cmi_conv(g, at(side, "enc", "aux_skip").text, *aux, out, 1, 1, 0);
        x = u->skips[u->n_skips - 1] = cmi_add(g, x, s, 1);
    }
    if (u->c->encoder == CM_ENCODER_RESIDUAL) {
        cm_value s = fused_down(u, at(side, "enc", "aux_residual").text, *aux, out);
        x = u->skips[u->n_skips - 1] = *aux = cmi_add(g, x, s, sqrt(0.5));
    }
    return x;
}

static cm_value encoder(song *u, cm_value x)
{
    const cm_net_config *c = u->c;
    cm_value aux = x;
    for (int l = 0; l < c->levels; l++) {
        int32_t side = cmi_net_side(c, l);
        if (l == 0) {
            x = cmi_conv(u->f.g, at(side, "enc", "conv").text, x, c->model_channels, 3, 1, 1);
            push(u, x);
        } else {
            x = down(u, x, &aux, side);
        }
        for (int i = 0; i < c->num_blocks; i++) {
            cm_name name = cmi_name_of("enc.%dx%d_block%d", side, side, i);
            x = cmi_edm_block(&u->f, name.text, x, cmi_net_width(c, l), CM_RESAMPLE_NONE, cmi_net_attends(c, side));
            push(u, x);
        }
    }
    return x;
}

/* The output of a level: for decoder `skip` added to the upsampled coarser one. */
static cm_value output(song *u, cm_value x, cm_value aux, int first, int32_t side)
{
    cm_graph *g = u->f.g;
    if (!first) {
        aux = cmi_resample(g, aux, CM_RESAMPLE_UP, u->f.filter);
        cmi_filter_buffer(g, at(side, "dec", "aux_up").text, u->f.filter);
    }
    cm_value h =
        cmi_groupnorm(g, at(side, "dec", "aux_norm").text, x, cmi_edm_groups(cmi_channels(g, x)), u->f.eps, 1);
    h = cmi_conv(g, at(side, "dec", "aux_conv").text, h, u->c->out_channels * u->c->patch_size * u->c->patch_size, 3,
                 1, 1);
    return first ? h : cmi_add(g, h, aux, 1);
}

static cm_value decoder(song *u, cm_value x)
{
    const cm_net_config *c = u->c;
    cm_value aux = x;
    for (int l = c->levels - 1; l >= 0; l--) {
        int32_t side = cmi_net_side(c, l), same = cmi_channels(u->f.g, x);
        int coarsest = l == c->levels - 1;
        if (coarsest) {
            x = cmi_edm_block(&u->f, at(side, "dec", "in0").text, x, same, CM_RESAMPLE_NONE, 1);
            x = cmi_edm_block(&u->f, at(side, "dec", "in1").text, x, same, CM_RESAMPLE_NONE, 0);
        } else {
            x = cmi_edm_block(&u->f, at(side, "dec", "up").text, x, same, CM_RESAMPLE_UP, 0);
        }
        for (int i = 0; i <= c->num_blocks; i++) {
            cm_name name = cmi_name_of("dec.%dx%d_block%d", side, side, i);
            x = cmi_concat(u->f.g, x, u->skips[--u->n_skips]);
            x = cmi_edm_block(&u->f, name.text, x, cmi_net_width(c, l), CM_RESAMPLE_NONE,
                              i == c->num_blocks && cmi_net_attends(c, side));
        }
        if (c->decoder == CM_DECODER_SKIP || l == 0)
            aux = output(u, x, aux, c->decoder == CM_DECODER_STANDARD || coarsest, side);
    }
    return aux;
}

static cm_value describe(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in)
{
    song u = {{graph,
               0,
               {config->n_filter, config->filter},
               1e-6,
               sqrt(0.5),
               1,
               config->scale_shift,
               0,
               config->attention_layout ? CM_QKV_PLAIN : CM_QKV_INTERLEAVED,
               config->double_norm},
              config,
              {0},
              0};
    u.f.emb = embedding(graph, config, in);
    return cmi_from_patches(graph, decoder(&u, encoder(&u, cmi_to_patches(graph, in->x, config->patch_size))),
                            config->patch_size);
}

/* --- the family ------------------------------------------------------------ */

static const char *const model_types[] = {"SongUNet", NULL};
static const char *const embeddings[] = {"positional", "fourier", NULL};
static const char *const encoders[] = {"standard", "skip", "residual", NULL};
static const char *const decoders[] = {"standard", "skip", NULL};
static const char *const attention_layouts[] = {"interleaved", "qkv", NULL};

static const cm_field fields[] = {
    CM_EDM_FIELDS(model_types),
    CM_CHOICE_FIELD("embedding_type", CM_NET_AT(embedding), embeddings),
    CM_INT_FIELD("channel_mult_noise", CM_NET_AT(channel_mult_noise), 1, 64, 0),
    CM_CHOICE_FIELD("encoder_type", CM_NET_AT(encoder), encoders),
    CM_CHOICE_FIELD("decoder_type", CM_NET_AT(decoder), decoders),
    {"resample_filter", CM_FIELD_NUMBERS, CM_NET_AT(filter), CM_NET_AT(n_filter), 0, CM_FIR_MAX, NULL, 0},
    CM_NUMBER_FIELD("fourier_scale", CM_NET_AT(fourier_scale), 0, 1e6),
    CM_CHOICE_FIELD("attention_layout", CM_NET_AT(attention_layout), attention_layouts),
    CM_BOOL_FIELD("adaptive_scale", CM_NET_AT(scale_shift)),
    CM_TIMES_FIELDS,
    CM_INT_FIELD("conditions", CM_NET_AT(conditions), 0, 3, 0),
    CM_INT_FIELD("patch_size", CM_NET_AT(patch_size), 1, 8, 0),
};

static void defaults(cm_net_config *c)
{
    static const double mult[4] = {1, 2, 2, 2};
    cmi_edm_defaults(c, mult);
    c->model_channels = 128;
    c->num_blocks = 4;
    c->attn[0] = 16;
    c->n_attn = 1;
}

static cm_status complete(const char *what, const json_t *network, cm_net_config *c)
{
    CM_TRY(cmi_times_complete(what, network, c));
    if (c->conditions != 0 && c->conditions != 3)
        CM_FAIL(CM_ERR_FORMAT, "%s: conditions is %d, expected 3 (scale, beginning and end of guidance) or 0", what,
                c->conditions);
    if (c->conditions && c->second_time == CM_SECOND_NONE)
        CM_FAIL(CM_ERR_FORMAT, "%s: conditions belong to a network with a second_time", what);
    if (c->resolution % c->patch_size)
        CM_FAIL(CM_ERR_FORMAT, "%s: an image of %d points a side cannot be cut into patches of patch_size %d", what,
                c->resolution, c->patch_size);
    return cmi_edm_complete(what, network, c);
}

/* Xavier: sqrt(6 / (fi + fo)) U(-1, 1); what ends a residual branch is nearly
 * zero; biases are zero. */
static cm_init initial(const cm_param_desc *p, const cm_param_desc *weight)
{
    (void)weight;
    if (p->rank < 2) return (cm_init){CM_INIT_ZERO, 0};
    double fi = cmi_init_fan_in(p), fo = (double)p->shape[0] * fi / (double)p->shape[1], scale = sqrt(6 / (fi + fo));
    if (cmi_init_contains(p->name, ".conv1.") || cmi_init_contains(p->name, ".proj.") ||
        cmi_init_contains(p->name, "aux_conv."))
        scale *= 1e-5;
    if (cmi_init_contains(p->name, ".qkv.")) scale *= sqrt(0.2);
    return (cm_init){CM_INIT_UNIFORM, scale};
}

/* Of EDM's wrappers, of SoFlow's module and of those of MeanFlow's code. */
static const char *const prefixes[] = {"model.", "network.", "net.", "net_ema.", NULL};

const cm_net_family cmi_net_songunet = {
    .name = "songunet",
    .about = "DDPM++ and NCSN++ as NVlabs/edm describes them",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .defaults = defaults,
    .complete = complete,
    .describe = describe,
    .recognise = cmi_songunet_recognise,
    .names = &cmi_naming_flax,
    .initial = initial,
    .prefixes = prefixes,
    .time = CM_TIME_LN4,
    .whole_widths = 1,
};
