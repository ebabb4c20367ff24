/* adm.c - the UNet of openai/guided-diffusion and openai/consistency_models
 * (networks A). */
#include <string.h>

#include "nets/net.h"

enum { GROUPS = 32 };
static const double eps = 1e-5;

typedef struct {
    cm_graph *g;
    const cm_net_config *c;
    cm_value emb; /* SiLU(e), [4 mc]: every block applies SiLU first, so once is enough */
    cm_value skips[CM_NET_LEVELS * 66];
    int n_skips;
} adm;

/* A.3: h = conv(SiLU(GN(x))), embedding, conv(SiLU(GN(h))), plus the skip. */
static cm_value resblock(adm *u, const char *p, cm_value x, int32_t out, int direction)
{
    cm_graph *g = u->g;
    cm_value h = cmi_groupnorm(g, cmi_name_of("%s.in_layers.0", p).text, x, GROUPS, eps, 1);
    x = cmi_resample(g, x, direction, cmi_filter_box);
    h = cmi_resampled_conv(g, cmi_name_of("%s.in_layers.2", p).text, h, out, 3, direction, cmi_filter_box);
    int32_t width = u->c->scale_shift ? 2 * out : out;
    cm_value s = cmi_linear(g, cmi_name_of("%s.emb_layers.1", p).text, u->emb, width, 1);
    h = cmi_groupnorm_embedded(g, cmi_name_of("%s.out_layers.0", p).text, h, s,
                               u->c->double_norm   ? CM_GN_DOUBLE
                               : u->c->scale_shift ? CM_GN_SCALE_SHIFT
                                                   : CM_GN_ADD,
                               GROUPS, eps);
    h = cmi_dropout(g, h);
    cm_filters last = cmi_conv_filters(g, cmi_name_of("%s.out_layers.3", p).text, out, out, 3);
    if (cmi_channels(g, x) != out) x = cmi_conv(g, cmi_name_of("%s.skip_connection", p).text, x, out, 1, 1, 0);
    return cmi_conv_add(g, last, h, x, 1);
}

static cm_value attention(adm *u, const char *p, cm_value x, int32_t num_heads)
{
    cm_graph *g = u->g;
    int32_t c = cmi_channels(g, x), d = u->c->num_head_channels;
    if (d != -1 && (d < 1 || c % d))
        cmi_graph_fail(g, CM_ERR_SHAPE, "%s: %d channels do not divide into heads of num_head_channels %d", p, c, d);
    cm_value h = cmi_groupnorm(g, cmi_name_of("%s.norm", p).text, x, GROUPS, eps, 0);
    return cmi_self_attention(g, cmi_name_of("%s.qkv", p).text, cmi_name_of("%s.proj_out", p).text, h, x,
                              d > 0 ? c / d : num_heads, u->c->attention_layout ? CM_QKV_PER_HEAD : CM_QKV_PLAIN, 1);
}

static void push(adm *u, cm_value x)
{
    u->skips[u->n_skips++] = x;
}

static cm_value downsample(adm *u, const char *p, cm_value x)
{
    if (u->c->updown) return resblock(u, p, x, cmi_channels(u->g, x), CM_RESAMPLE_DOWN);
    if (!u->c->conv_resample) return cmi_resample(u->g, x, CM_RESAMPLE_DOWN, cmi_filter_box);
    return cmi_conv(u->g, cmi_name_of("%s.op", p).text, x, cmi_channels(u->g, x), 3, 2, 1);
}

static cm_value upsample(adm *u, const char *p, cm_value x)
{
    if (u->c->updown) return resblock(u, p, x, cmi_channels(u->g, x), CM_RESAMPLE_UP);
    if (!u->c->conv_resample) return cmi_resample(u->g, x, CM_RESAMPLE_UP, cmi_filter_box);
    return cmi_resampled_conv(u->g, cmi_name_of("%s.conv", p).text, x, cmi_channels(u->g, x), 3, CM_RESAMPLE_UP,
                              cmi_filter_box);
}

static cm_value embed_time(const adm *u, cm_value time)
{
    return cmi_embed_time(u->g, time, CM_TIME_POSITIONAL, u->c->model_channels, 0, NULL);
}

/* A.2: e = Linear(SiLU(Linear(time))) + label; returns SiLU(e).  A second time stands beside the first, or has layers
 * of its own, whose sum is added. */
static cm_value embedding(adm *u, const cm_net_inputs *in)
{
    cm_graph *g = u->g;
    int32_t width = 4 * u->c->model_channels, classes = u->c->num_classes;
    cm_value e = embed_time(u, in->time);
    if (u->c->second_time == CM_SECOND_CONCAT) e = cmi_concat(g, e, embed_time(u, in->second));
    e = cmi_silu(g, cmi_linear(g, "time_embed.0", e, width, 1));
    e = cmi_linear(g, "time_embed.2", e, width, 1);
    if (u->c->second_time == CM_SECOND_TOWER) {
        cm_value s = cmi_silu(g, cmi_linear(g, "time_embed_s.0", embed_time(u, in->second), width, 1));
        e = cmi_add(g, e, cmi_linear(g, "time_embed_s.2", s, width, 1), 1);
    }
    if (classes) {
        const int64_t shape[2] = {classes, width};
        const cm_attr attr = {.label = {classes, width, 0, 0, 1}};
        const cm_value inputs[2] = {e, in->label};
        e = cmi_graph_node(g, &cmi_op_embed_label, &attr, inputs, 2, cmi_graph_param(g, 2, shape, "label_emb.weight"),
                           -1);
    }
    return cmi_silu(g, e);
}

static cm_value encoder(adm *u, cm_value x, int32_t *rate)
{
    const cm_net_config *c = u->c;
    int k = 1;
    x = cmi_conv(u->g, "input_blocks.0.0", x, cmi_net_width(c, 0), 3, 1, 1);
    push(u, x);
    for (int l = 0; l < c->levels; l++) {
        for (int i = 0; i < c->num_blocks; i++, k++) {
            x = resblock(u, cmi_name_of("input_blocks.%d.0", k).text, x, cmi_net_width(c, l), CM_RESAMPLE_NONE);
            if (cmi_net_attends(c, *rate))
                x = attention(u, cmi_name_of("input_blocks.%d.1", k).text, x, c->num_heads);
            push(u, x);
        }
        if (l == c->levels - 1) break;
        x = downsample(u, cmi_name_of("input_blocks.%d.0", k++).text, x);
        push(u, x);
        *rate *= 2;
    }
    return x;
}

static cm_value decoder(adm *u, cm_value x, int32_t rate)
{
    const cm_net_config *c = u->c;
    int32_t heads = c->num_heads_upsample == -1 ? c->num_heads : c->num_heads_upsample;
    int k = 0;
    for (int l = c->levels - 1; l >= 0; l--) {
        for (int i = 0; i <= c->num_blocks; i++, k++) {
            int j = 1; /* position inside the entry */
            x = cmi_concat(u->g, x, u->skips[--u->n_skips]);
            x = resblock(u, cmi_name_of("output_blocks.%d.0", k).text, x, cmi_net_width(c, l), CM_RESAMPLE_NONE);
            if (cmi_net_attends(c, rate)) x = attention(u, cmi_name_of("output_blocks.%d.%d", k, j++).text, x, heads);
            if (l > 0 && i == c->num_blocks) x = upsample(u, cmi_name_of("output_blocks.%d.%d", k, j).text, x);
        }
        rate /= 2;
    }
    return x;
}

static cm_value describe(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in)
{
    adm u = {graph, config, 0, {0}, 0};
    int32_t rate = 1;
    u.emb = embedding(&u, in);
    cm_value x = encoder(&u, in->x, &rate);
    int32_t c = cmi_channels(graph, x);
    x = resblock(&u, "middle_block.0", x, c, CM_RESAMPLE_NONE);
    x = attention(&u, "middle_block.1", x, config->num_heads);
    x = resblock(&u, "middle_block.2", x, c, CM_RESAMPLE_NONE);
    x = decoder(&u, x, rate);
    x = cmi_groupnorm(graph, "out.0", x, GROUPS, eps, 1);
    return cmi_conv(graph, "out.2", x, config->out_channels, 3, 1, 1);
}

/* --- the family ------------------------------------------------------------ */

static const char *const layouts[] = {"qkv", "per_head", NULL};

static const cm_field fields[] = {
    CM_IGNORED_FIELD("type"),
    CM_INT_FIELD("image_size", CM_NET_AT(resolution), 1, 65536, 1),
    CM_INT_FIELD("in_channels", CM_NET_AT(in_channels), 1, 1024, 1),
    CM_INT_FIELD("out_channels", CM_NET_AT(out_channels), 1, 1024, 1),
    CM_INT_FIELD("model_channels", CM_NET_AT(model_channels), 1, 16384, 1),
    CM_INT_FIELD("num_res_blocks", CM_NET_AT(num_blocks), 1, 64, 1),
    {"attention_resolutions", CM_FIELD_INTS, CM_NET_AT(attn), CM_NET_AT(n_attn), 1, 2 * CM_NET_LEVELS, NULL, 1},
    {"channel_mult", CM_FIELD_NUMBERS, CM_NET_AT(channel_mult), CM_NET_AT(levels), 0, CM_NET_LEVELS, NULL, 0},
    CM_NUMBER_FIELD("dropout", CM_NET_AT(dropout), 0, 1),
    CM_BOOL_FIELD("conv_resample", CM_NET_AT(conv_resample)),
    CM_INT_FIELD("num_classes", CM_NET_AT(num_classes), 1, 1 << 24, 0),
    CM_INT_FIELD("num_heads", CM_NET_AT(num_heads), 1, 65536, 0),
    CM_INT_FIELD("num_head_channels", CM_NET_AT(num_head_channels), -1, 65536, 0),
    CM_INT_FIELD("num_heads_upsample", CM_NET_AT(num_heads_upsample), -1, 65536, 0),
    CM_BOOL_FIELD("use_scale_shift_norm", CM_NET_AT(scale_shift)),
    CM_BOOL_FIELD("resblock_updown", CM_NET_AT(updown)),
    CM_CHOICE_FIELD("attention_layout", CM_NET_AT(attention_layout), layouts),
    CM_INT_FIELD("dims", CM_NET_AT(dims), 2, 2, 0),
    CM_IGNORED_FIELD("use_fp16"),
    CM_IGNORED_FIELD("use_checkpoint"),
    CM_TIMES_FIELDS,
};

static void defaults(cm_net_config *c)
{
    static const double mult[] = {1, 2, 4, 8};
    c->levels = sizeof mult / sizeof *mult;
    memcpy(c->channel_mult, mult, sizeof mult);
    c->num_heads = 1;
    c->num_head_channels = c->num_heads_upsample = -1;
    c->conv_resample = 1;
}

static cm_status refuse(const char *what, const json_t *network)
{
    if (json_object_get(network, "use_new_attention_order"))
        CM_FAIL(CM_ERR_FORMAT,
                "%s: argument 'use_new_attention_order' is not used in native files: say "
                "\"attention_layout\": \"per_head\" (guided-diffusion's false) or \"qkv\" (its true, and all of "
                "openai/consistency_models)",
                what);
    return CM_OK;
}

static cm_status complete(const char *what, const json_t *network, cm_net_config *c)
{
    return cmi_times_complete(what, network, c);
}

const cm_net_family cmi_net_adm = {
    .name = "adm",
    .about = "the UNet of openai/guided-diffusion and openai/consistency_models",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .defaults = defaults,
    .refuse = refuse,
    .complete = complete,
    .describe = describe,
    .recognise = cmi_adm_recognise,
    .diffusers = cmi_adm_diffusers,
    .initial = cmi_init_torch,
    .time = CM_TIME_250LN,
    .needs_label = 1,
};
