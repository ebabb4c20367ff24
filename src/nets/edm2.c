/* edm2.c - the magnitude-preserving network of Karras et al. 2024 (networks-edm2 1 to 3): no biases, no group norms.
 *
 * Constant factors of its activations (1/0.596 of mp_silu, those of mp_sum, sqrt(classes) of the labels) are put
 * into the weights of the layer behind them, which are made once (unit_rows.h). */
#include <math.h>
#include <string.h>

#include "nets/edm_config.h"
#include "nets/unit_rows.h"

static const double silu_gain = 1 / 0.596;
static const float norm_eps = 1e-4f;

typedef struct {
    cm_graph *g;
    const cm_net_config *c;
    cm_value emb; /* SiLU without its factor */
    cm_value skips[CM_NET_LEVELS * 66];
    int n_skips;
} edm2;

enum { ENC, DEC };

/* --- layers ----------------------------------------------------------------- */

/* k x k without bias of x, repeated to twice its sides before where `up`. */
static cm_value conv(cm_graph *g, const char *name, cm_value x, int32_t out, int32_t k, int gain, double factor,
                     int up)
{
    const int64_t shape[4] = {out, cmi_channels(g, x), k, k};
    const cm_attr attr = {.conv = {out, k, 1, k / 2, 0, 0, up, 0, 0}};
    return cmi_graph_node(g, &cmi_op_conv2d, &attr, &x, 1, cmi_unit_rows(g, name, 4, shape, gain, factor), -1);
}

/* mp_sum(r, conv(x) factor, t): (r + conv(x) factor t / (1 - t)) (1 - t) / sqrt((1 - t)^2 + t^2). */
static cm_value conv_sum(cm_graph *g, const char *name, cm_value x, int32_t k, double factor, cm_value r, double t)
{
    const int32_t out = cmi_channels(g, r);
    const int64_t shape[4] = {out, cmi_channels(g, x), k, k};
    const double scale = (1 - t) / sqrt((1 - t) * (1 - t) + t * t);
    const cm_attr attr = {.conv = {out, k, 1, k / 2, 0, (float)scale, 0, 0, 0}};
    const cm_value in[2] = {x, r};
    const int weight = cmi_unit_rows(g, name, 4, shape, -1, factor * t / (1 - t));
    return cmi_graph_node(g, &cmi_op_conv2d, &attr, in, 2, weight, -1);
}

static cm_value linear(cm_graph *g, const char *name, cm_value x, int32_t out, int gain, double factor)
{
    const int64_t shape[2] = {out, cmi_channels(g, x)};
    const cm_attr attr = {.linear = {out, 0}};
    return cmi_graph_node(g, &cmi_op_linear, &attr, &x, 1, cmi_unit_rows(g, name, 2, shape, gain, factor), -1);
}

static cm_value unit_norm(cm_graph *g, cm_value x, int32_t heads, int32_t parts)
{
    const cm_attr attr = {.unit_norm = {heads, parts, norm_eps}};
    return cmi_graph_node(g, &cmi_op_unit_norm, &attr, &x, 1, -1, -1);
}

static int gain_parameter(cm_graph *g, const char *name)
{
    return cmi_graph_param(g, 0, NULL, "%s", name);
}

/* mp_cat */
static cm_value concat(cm_graph *g, cm_value a, cm_value b, double t)
{
    const double na = cmi_channels(g, a), nb = cmi_channels(g, b);
    const double c = sqrt((na + nb) / ((1 - t) * (1 - t) + t * t));
    const cm_attr attr = {.balance = {{(float)(c * (1 - t) / sqrt(na)), (float)(c * t / sqrt(nb))}}};
    const cm_value in[2] = {a, b};
    return cmi_graph_node(g, &cmi_op_balance, &attr, in, 2, -1, -1);
}

/* --- embedding --------------------------------------------------------------- */

static cm_value fourier(cm_graph *g, cm_value t, int32_t size)
{
    const int64_t shape[1] = {size};
    const cm_attr attr = {.fourier = {size}};
    const int freqs = cmi_graph_param(g, 1, shape, "emb_fourier.freqs");
    const int phases = cmi_graph_param(g, 1, shape, "emb_fourier.phases");
    if (freqs >= 0) g->params[freqs].exact = 1;
    if (phases >= 0) g->params[phases].exact = 1;
    return cmi_graph_node(g, &cmi_op_fourier, &attr, &t, 1, freqs, phases);
}

/* Of mean square 1 in either form. */
static cm_value embed_time(cm_graph *g, const cm_net_config *c, cm_value t, int32_t size, double *factor)
{
    const int positional = c->embedding == CM_EMBEDDING_POSITIONAL;
    *factor = positional ? sqrt(2) : 1;
    return positional ? cmi_embed_time(g, t, CM_TIME_POSITIONAL_ENDPOINT, size, 1, NULL) : fourier(g, t, size);
}

static double widest(const cm_net_config *c)
{
    double most = 0;
    for (int l = 0; l < c->levels; l++) most = fmax(most, c->channel_mult[l]);
    return most;
}

/* SiLU(mp_sum(noise, label, t)). */
static cm_value embedding(cm_graph *g, const cm_net_config *c, const cm_net_inputs *in)
{
    const int32_t noise = c->channel_mult_noise ? c->model_channels * c->channel_mult_noise : cmi_net_width(c, 0);
    const int32_t width = (int32_t)(c->model_channels * (c->channel_mult_emb ? c->channel_mult_emb : widest(c)));
    const double t = c->num_classes ? c->label_balance : 0, norm = sqrt((1 - t) * (1 - t) + t * t);
    double factor;
    const cm_value time = embed_time(g, c, in->time, noise, &factor);
    cm_value e = linear(g, "emb_noise", time, width, -1, factor * (1 - t) / norm);
    if (c->num_classes) {
        const int64_t shape[2] = {width, c->num_classes};
        const cm_attr attr = {.label = {c->num_classes, width, 0, 1, 1}};
        const cm_value inputs[2] = {e, in->label};
        const int table = cmi_unit_rows(g, "emb_label", 2, shape, -1, sqrt(c->num_classes) * t / norm);
        e = cmi_graph_node(g, &cmi_op_embed_label, &attr, inputs, 2, table, -1);
    }
    return cmi_silu(g, e);
}

/* --- blocks ------------------------------------------------------------------- */

/* x = mp_sum(x, proj(attention of normalised q, k and v of x)) */
static cm_value self_attention(const edm2 *u, const char *name, cm_value x)
{
    cm_graph *g = u->g;
    const int32_t c = cmi_channels(g, x), heads = c / u->c->channels_per_head;
    if (heads == 0) return x; /* as the reference: narrower than a head there is no attention at all */
    const cm_attr attr = {.attention = {heads, CM_QKV_INTERLEAVED}};
    cm_value h = conv(g, cmi_name_of("%s.attn_qkv", name).text, x, 3 * c, 1, -1, 1, 0);
    h = unit_norm(g, h, heads, 3);
    h = cmi_graph_node(g, &cmi_op_attention, &attr, &h, 1, -1, -1);
    return conv_sum(g, cmi_name_of("%s.attn_proj", name).text, h, 1, 1, x, u->c->attn_balance);
}

static cm_value skip(const edm2 *u, const char *name, cm_value x, int32_t out)
{
    if (cmi_channels(u->g, x) == out) return x;
    return conv(u->g, cmi_name_of("%s.conv_skip", name).text, x, out, 1, -1, 1, 0);
}

/* conv_res0(mp_silu(x)), where resampling up may as well come behind SiLU; then by the embedding; then mp_silu and
 * dropout, whose result has to be multiplied by silu_gain. */
static cm_value branch(const edm2 *u, const char *name, cm_value x, int32_t out, int up, int32_t side)
{
    cm_graph *g = u->g;
    cm_value h = conv(g, cmi_name_of("%s.conv_res0", name).text, cmi_silu(g, x), out, 3, -1, silu_gain, up);
    const int gain = gain_parameter(g, cmi_name_of("%s.emb_gain", name).text);
    const cm_value in[2] = {h, linear(g, cmi_name_of("%s.emb_linear", name).text, u->emb, out, gain, silu_gain)};
    h = cmi_graph_node(g, &cmi_op_modulate, NULL, in, 2, -1, -1);
    return side <= u->c->dropout_res ? cmi_dropout(g, h) : h;
}

static cm_value block(const edm2 *u, int flavour, const char *name, cm_value x, int32_t out, int direction,
                      int32_t side, int attention)
{
    cm_graph *g = u->g;
    const cm_attr clamp = {.clamp = {(float)u->c->clip_act}};
    const int up = direction == CM_RESAMPLE_UP;
    cm_value h;
    if (flavour == ENC) {
        x = unit_norm(g, skip(u, name, cmi_resample(g, x, direction, cmi_filter_box), out), 1, 1);
        h = branch(u, name, x, out, 0, side);
    } else {
        h = branch(u, name, x, out, up, side);
        x = cmi_resample(g, skip(u, name, x, out), direction, cmi_filter_box);
    }
    x = conv_sum(g, cmi_name_of("%s.conv_res1", name).text, h, 3, silu_gain, x, u->c->res_balance);
    if (attention) x = self_attention(u, name, x);
    return cmi_graph_node(g, &cmi_op_clamp, &clamp, &x, 1, -1, -1);
}

/* --- the network --------------------------------------------------------------- */

static cm_name at(const char *path, int32_t side, const char *what)
{
    return cmi_name_of("%s.%dx%d_%s", path, side, side, what);
}

static cm_value encoder(edm2 *u, cm_value x)
{
    const cm_net_config *c = u->c;
    x = cmi_graph_node(u->g, &cmi_op_ones, NULL, &x, 1, -1, -1);
    for (int l = 0; l < c->levels; l++) {
        const int32_t side = c->resolution >> l, same = cmi_channels(u->g, x);
        if (l == 0) x = conv(u->g, at("enc", side, "conv").text, x, cmi_net_width(c, 0), 3, -1, 1, 0);
        else x = block(u, ENC, at("enc", side, "down").text, x, same, CM_RESAMPLE_DOWN, side, 0);
        u->skips[u->n_skips++] = x;
        for (int i = 0; i < c->num_blocks; i++) {
            x = block(u, ENC, at("enc", side, cmi_name_of("block%d", i).text).text, x, cmi_net_width(c, l),
                      CM_RESAMPLE_NONE, side, cmi_net_attends(c, side));
            u->skips[u->n_skips++] = x;
        }
    }
    return x;
}

static cm_value decoder(edm2 *u, cm_value x)
{
    const cm_net_config *c = u->c;
    for (int l = c->levels - 1; l >= 0; l--) {
        const int32_t side = c->resolution >> l, same = cmi_channels(u->g, x);
        if (l == c->levels - 1) {
            x = block(u, DEC, at("dec", side, "in0").text, x, same, CM_RESAMPLE_NONE, side, 1);
            x = block(u, DEC, at("dec", side, "in1").text, x, same, CM_RESAMPLE_NONE, side, 0);
        } else {
            x = block(u, DEC, at("dec", side, "up").text, x, same, CM_RESAMPLE_UP, side, 0);
        }
        for (int i = 0; i <= c->num_blocks; i++) {
            x = concat(u->g, x, u->skips[--u->n_skips], c->concat_balance);
            x = block(u, DEC, at("dec", side, cmi_name_of("block%d", i).text).text, x, cmi_net_width(c, l),
                      CM_RESAMPLE_NONE, side, cmi_net_attends(c, side));
        }
    }
    return x;
}

static cm_value describe(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in)
{
    edm2 u = {graph, config, 0, {0}, 0};
    u.emb = embedding(graph, config, in);
    const int gain = gain_parameter(graph, "out_gain");
    return conv(graph, "out_conv", decoder(&u, encoder(&u, in->x)), config->out_channels, 3, gain, 1, 0);
}

/* --- the family ------------------------------------------------------------------ */

static const char *const model_types[] = {"UNet", NULL};
static const char *const embeddings[] = {"positional", "fourier", NULL};
static const double most_balance = 0.999; /* the first has to have a share */

static const cm_field fields[] = {
    CM_IGNORED_FIELD("type"),
    CM_CHOICE_FIELD("model_type", CM_NET_AT(model_type), model_types),
    CM_INT_FIELD("img_resolution", CM_NET_AT(resolution), 1, 65536, 1),
    CM_INT_FIELD("in_channels", CM_NET_AT(in_channels), 1, 1024, 0),
    CM_INT_FIELD("out_channels", CM_NET_AT(out_channels), 1, 1024, 0),
    CM_INT_FIELD("img_channels", CM_NET_AT(img_channels), 1, 1024, 0),
    CM_INT_FIELD("label_dim", CM_NET_AT(num_classes), 0, 1 << 24, 0),
    CM_INT_FIELD("model_channels", CM_NET_AT(model_channels), 1, 16384, 0),
    {"channel_mult", CM_FIELD_NUMBERS, CM_NET_AT(channel_mult), CM_NET_AT(levels), 0, CM_NET_LEVELS, NULL, 0},
    CM_INT_FIELD("channel_mult_noise", CM_NET_AT(channel_mult_noise), 1, 64, 0),
    CM_INT_FIELD("channel_mult_emb", CM_NET_AT(channel_mult_emb), 1, 64, 0),
    CM_INT_FIELD("num_blocks", CM_NET_AT(num_blocks), 1, 64, 0),
    {"attn_resolutions", CM_FIELD_INTS, CM_NET_AT(attn), CM_NET_AT(n_attn), 1, 2 * CM_NET_LEVELS, NULL, 0},
    CM_NUMBER_FIELD("label_balance", CM_NET_AT(label_balance), 0, most_balance),
    CM_NUMBER_FIELD("concat_balance", CM_NET_AT(concat_balance), 0, 1),
    CM_NUMBER_FIELD("res_balance", CM_NET_AT(res_balance), 0, most_balance),
    CM_NUMBER_FIELD("attn_balance", CM_NET_AT(attn_balance), 0, most_balance),
    CM_NUMBER_FIELD("clip_act", CM_NET_AT(clip_act), 1e-3, 1e30),
    CM_INT_FIELD("channels_per_head", CM_NET_AT(channels_per_head), 1, 65536, 0),
    {"resample_filter", CM_FIELD_NUMBERS, CM_NET_AT(filter), CM_NET_AT(n_filter), 0, CM_FIR_MAX, NULL, 0},
    CM_NUMBER_FIELD("dropout", CM_NET_AT(dropout), 0, 1),
    CM_INT_FIELD("dropout_res", CM_NET_AT(dropout_res), 1, 65536, 0),
    CM_NUMBER_FIELD("label_dropout", CM_NET_AT(label_dropout), 0, 1),
    CM_CHOICE_FIELD("embedding_type", CM_NET_AT(embedding), embeddings),
    CM_NUMBER_FIELD("bandwidth", CM_NET_AT(fourier_scale), 0, 1e6),
    CM_IGNORED_FIELD("use_fp16"),
    CM_IGNORED_FIELD("logvar_channels"),
};

static void defaults(cm_net_config *c)
{
    static const double mult[4] = {1, 2, 3, 4};
    cmi_edm_defaults(c, mult);
    c->model_channels = 192;
    c->channel_mult_noise = c->channel_mult_emb = 0; /* as wide as the first level, as the widest */
    c->num_blocks = 3;
    c->attn[0] = 16, c->attn[1] = 8;
    c->n_attn = 2;
    c->label_balance = c->concat_balance = 0.5;
    c->res_balance = c->attn_balance = 0.3;
    c->clip_act = 256;
    c->channels_per_head = 64;
    c->dropout = 0;
    c->dropout_res = 65536;
    c->fourier_scale = 1;
    c->embedding = CM_EMBEDDING_FOURIER;
}

static cm_status complete(const char *what, const json_t *network, cm_net_config *c)
{
    if (c->n_filter != 2 || c->filter[0] != c->filter[1])
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: argument 'resample_filter' has to be [1, 1] in this network", what);
    if (c->embedding == CM_EMBEDDING_POSITIONAL && json_object_get(network, "bandwidth"))
        CM_FAIL(CM_ERR_FORMAT, "%s: argument 'bandwidth' has no effect on embedding_type \"positional\"", what);
    c->fourier_scale *= 6.283185307179586476925;
    return cmi_edm_complete(what, network, c);
}

/* N(0, 1), whatever the size: only directions count.  Frequencies are 2 pi N(0, 1) times their bandwidth; phases any
 * angle.  Gains are 0, so that a fresh network gives 0. */
static cm_init initial(const cm_param_desc *p, const cm_param_desc *weight)
{
    (void)weight;
    if (p->rank == 0) return (cm_init){CM_INIT_ZERO, 0};
    return (cm_init){p->rank == 1 ? CM_INIT_UNIFORM : CM_INIT_NORMAL, p->rank == 1 ? 3.14159265358979323846 : 1};
}

static const char *const prefixes[] = {"unet.", "model.", NULL};

const cm_net_family cmi_net_edm2 = {
    .name = "edm2",
    .about = "the magnitude-preserving network of NVlabs/edm2",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .defaults = defaults,
    .complete = complete,
    .describe = describe,
    .recognise = cmi_edm2_recognise,
    .initial = initial,
    .prefixes = prefixes,
    .leaves = "logvar_",
    .time = CM_TIME_LN4,
    .whole_widths = 1,
    .unit_rows = 1,
};
