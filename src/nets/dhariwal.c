/* dhariwal.c - ADM as NVlabs/edm describes it (networks B.4). */
#include <string.h>

#include "nets/edm_block.h"
#include "nets/edm_config.h"

typedef struct {
    cm_edm_family f;
    const cm_net_config *c;
    cm_value skips[CM_NET_LEVELS * 66];
    int n_skips;
} dhariwal;

static cm_value embed_time(cm_graph *g, const cm_net_config *c, cm_value time)
{
    return cmi_embed_time(g, time, CM_TIME_POSITIONAL, c->model_channels, 0, NULL);
}

/* e = SiLU(map_layer1(SiLU(map_layer0(time + augment))) + label); a second time stands beside the first, or has
 * layers of its own, whose sum is added. */
static cm_value embedding(cm_graph *g, const cm_net_config *c, const cm_net_inputs *in)
{
    int32_t width = c->model_channels * c->channel_mult_emb, classes = c->num_classes;
    cm_value e = embed_time(g, c, in->time);
    if (c->second_time == CM_SECOND_CONCAT) e = cmi_concat(g, e, embed_time(g, c, in->second));
    if (c->augment_dim) e = cmi_add(g, e, cmi_linear(g, "map_augment", in->augment, cmi_channels(g, e), 0), 1);
    e = cmi_silu(g, cmi_linear(g, "map_layer0", e, width, 1));
    e = cmi_linear(g, "map_layer1", e, width, 1);
    if (c->second_time == CM_SECOND_TOWER) {
        cm_value s = cmi_silu(g, cmi_linear(g, "map_layer0_s", embed_time(g, c, in->second), width, 1));
        e = cmi_add(g, e, cmi_linear(g, "map_layer1_s", s, width, 1), 1);
    }
    if (classes) {
        const int64_t shape[2] = {width, classes};
        const cm_attr attr = {.label = {classes, width, 0, 1, 1}};
        const cm_value inputs[2] = {e, in->label};
        e = cmi_graph_node(g, &cmi_op_embed_label, &attr, inputs, 2, cmi_graph_param(g, 2, shape, "map_label.weight"),
                           -1);
    }
    return cmi_silu(g, e);
}

static cm_value block(dhariwal *u, const char *path, int32_t side, const char *what, cm_value x, int32_t out,
                      int direction, int attention)
{
    return cmi_edm_block(&u->f, cmi_name_of("%s.%dx%d_%s", path, side, side, what).text, x, out, direction,
                         attention);
}

static cm_value encoder(dhariwal *u, cm_value x)
{
    const cm_net_config *c = u->c;
    for (int l = 0; l < c->levels; l++) {
        int32_t side = c->resolution >> l;
        if (l == 0)
            x = cmi_conv(u->f.g, cmi_name_of("enc.%dx%d_conv", side, side).text, x, cmi_net_width(c, 0), 3, 1, 1);
        else x = block(u, "enc", side, "down", x, cmi_channels(u->f.g, x), CM_RESAMPLE_DOWN, 0);
        u->skips[u->n_skips++] = x;
        for (int i = 0; i < c->num_blocks; i++) {
            x = block(u, "enc", side, cmi_name_of("block%d", i).text, x, cmi_net_width(c, l), CM_RESAMPLE_NONE,
                      cmi_net_attends(c, side));
            u->skips[u->n_skips++] = x;
        }
    }
    return x;
}

static cm_value decoder(dhariwal *u, cm_value x)
{
    const cm_net_config *c = u->c;
    for (int l = c->levels - 1; l >= 0; l--) {
        int32_t side = c->resolution >> l, same = cmi_channels(u->f.g, x);
        if (l == c->levels - 1) {
            x = block(u, "dec", side, "in0", x, same, CM_RESAMPLE_NONE, 1);
            x = block(u, "dec", side, "in1", x, same, CM_RESAMPLE_NONE, 0);
        } else {
            x = block(u, "dec", side, "up", x, same, CM_RESAMPLE_UP, 0);
        }
        for (int i = 0; i <= c->num_blocks; i++) {
            x = cmi_concat(u->f.g, x, u->skips[--u->n_skips]);
            x = block(u, "dec", side, cmi_name_of("block%d", i).text, x, cmi_net_width(c, l), CM_RESAMPLE_NONE,
                      cmi_net_attends(c, side));
        }
    }
    return x;
}

static cm_value describe(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in)
{
    dhariwal u = {
        {graph, 0, cmi_filter_box, 1e-5, 1, 0, 1, 64, CM_QKV_INTERLEAVED, config->double_norm}, config, {0}, 0};
    u.f.emb = embedding(graph, config, in);
    cm_value x = decoder(&u, encoder(&u, in->x));
    x = cmi_groupnorm(graph, "out_norm", x, cmi_edm_groups(cmi_channels(graph, x)), 1e-5, 1);
    return cmi_conv(graph, "out_conv", x, config->out_channels, 3, 1, 1);
}

/* --- the family ------------------------------------------------------------ */

static const char *const model_types[] = {"DhariwalUNet", NULL};

static const cm_field fields[] = {CM_EDM_FIELDS(model_types), CM_TIMES_FIELDS};

static void defaults(cm_net_config *c)
{
    static const double mult[4] = {1, 2, 3, 4};
    static const int32_t sides[3] = {32, 16, 8};
    cmi_edm_defaults(c, mult);
    c->model_channels = 192;
    c->num_blocks = 3;
    memcpy(c->attn, sides, sizeof sides);
    c->n_attn = 3;
    c->scale_shift = 1;
}

static cm_status complete(const char *what, const json_t *network, cm_net_config *c)
{
    CM_TRY(cmi_times_complete(what, network, c));
    return cmi_edm_complete(what, network, c);
}

static const char *const prefixes[] = {"model.", NULL};

const cm_net_family cmi_net_dhariwal = {
    .name = "dhariwal",
    .about = "ADM as NVlabs/edm describes it",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .defaults = defaults,
    .complete = complete,
    .describe = describe,
    .recognise = cmi_dhariwal_recognise,
    .initial = cmi_init_torch,
    .prefixes = prefixes,
    .time = CM_TIME_LN4,
    .whole_widths = 1,
};
