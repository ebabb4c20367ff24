/* adm_diffusers.c - an ADM network as the arguments of diffusers' UNet2DModel (networks D). */
#include "nets/export.h"
#include "nets/net.h"

/* The channels of a head at every attention of the network, which UNet2DModel has one number for: *out is 0 where
 * each has one head of all channels. */
typedef struct {
    int64_t channels; /* of a head; -1: none seen yet */
    int one_head, same;
} heads;

static void see(heads *h, const cm_net_config *c, int level, int32_t number)
{
    int64_t width = cmi_net_width(c, level),
            channels = c->num_head_channels > 0 ? c->num_head_channels : width / number;
    if (h->channels >= 0 && h->channels != channels) h->same = 0;
    h->channels = channels;
    h->one_head = h->one_head && channels == width;
}

static heads heads_of(const cm_net_config *c)
{
    heads h = {-1, 1, 1};
    int32_t up = c->num_heads_upsample == -1 ? c->num_heads : c->num_heads_upsample;
    for (int l = 0; l < c->levels; l++) {
        if (cmi_net_attends(c, 1 << l)) see(&h, c, l, c->num_heads), see(&h, c, l, up);
        if (l == c->levels - 1) see(&h, c, l, c->num_heads);
    }
    return h;
}

static cm_status refuse(const char *path, const char *why)
{
    CM_FAIL(CM_ERR_UNSUPPORTED,
            "cannot write '%s': diffusers' UNet2DModel has no %s; the formats native and torch "
            "can hold this network",
            path, why);
}

static cm_status check(const cm_export *m, const heads *h)
{
    const cm_net_config *c = m->net;
    if (c->second_time) return refuse(m->path, "second time");
    if (c->double_norm) return refuse(m->path, "double_norm");
    if (!c->updown) return refuse(m->path, "network adm without resblock_updown");
    if (cmi_net_width(c, 0) != c->model_channels) return refuse(m->path, "first channel_mult that is not 1");
    if (!h->same && !h->one_head)
        return refuse(m->path,
                      "heads whose channels differ from level to level (num_heads instead of num_head_channels)");
    if (c->levels > CM_DIFFUSERS_LEVELS || c->num_blocks > CM_DIFFUSERS_BLOCKS)
        return refuse(m->path, "so many levels or blocks");
    return CM_OK;
}

static int add_levels(json_t *unet, const cm_net_config *c)
{
    json_t *down = json_array(), *up = json_array(), *widths = json_array();
    int failed = 0;
    for (int l = 0; l < c->levels; l++) {
        int attends = cmi_net_attends(c, 1 << l);
        failed |= json_array_append_new(widths, json_integer(cmi_net_width(c, l)));
        failed |= json_array_append_new(down, json_string(attends ? "AttnDownBlock2D" : "ResnetDownsampleBlock2D"));
        failed |= json_array_insert_new(up, 0, json_string(attends ? "AttnUpBlock2D" : "ResnetUpsampleBlock2D"));
    }
    failed |= json_object_set_new(unet, "block_out_channels", widths);
    failed |= json_object_set_new(unet, "down_block_types", down);
    return failed | json_object_set_new(unet, "up_block_types", up);
}

static json_t *size_of(const cm_export *m)
{
    return m->height == m->width ? json_integer(m->height) : json_pack("[i, i]", m->height, m->width);
}

static json_t *fixed_arguments(void)
{
    return json_pack(
        "{s:s, s:s, s:s, s:b, s:i, s:b, s:n, s:i, s:b, s:i, s:s, s:f, s:i, s:n, s:n, s:s, s:s, s:s, s:n}",
        "_class_name", CM_DIFFUSERS_UNET_CLASS, "_diffusers_version", CM_DIFFUSERS_VERSION, "act_fn", "silu",
        "add_attention", 1, "attn_norm_num_groups", 32, "center_input_sample", 0, "class_embed_type",
        "downsample_padding", 1, "flip_sin_to_cos", 1, "freq_shift", 0, "mid_block_type", "UNetMidBlock2D",
        "norm_eps", 1e-5, "norm_num_groups", 32, "num_train_timesteps", "time_embedding_dim", "time_embedding_type",
        "positional", "downsample_type", "resnet", "upsample_type", "resnet", "num_class_embeds");
}

/* The layout for names and the arguments. */
cm_status cmi_adm_diffusers(const cm_export *m, cm_diffusers_layout *layout, json_t **out)
{
    const cm_net_config *c = m->net;
    const heads h = heads_of(c);
    CM_TRY(check(m, &h));
    layout->levels = c->levels;
    layout->blocks = c->num_blocks;
    for (int l = 0; l < c->levels; l++) layout->attends[l] = cmi_net_attends(c, 1 << l);
    json_t *more = json_pack("{s:i, s:i, s:i, s:f, s:i, s:s, s:o}", "in_channels", c->in_channels, "out_channels",
                             c->out_channels, "layers_per_block", c->num_blocks, "dropout", c->dropout,
                             "mid_block_scale_factor", 1, "resnet_time_scale_shift",
                             c->scale_shift ? "scale_shift" : "default", "sample_size", size_of(m));
    *out = fixed_arguments();
    int failed = !*out || !more || json_object_update(*out, more) || add_levels(*out, c);
    failed |= json_object_set_new(*out, "attention_head_dim", h.same ? json_integer(h.channels) : json_null());
    if (c->num_classes) failed |= json_object_set_new(*out, "num_class_embeds", json_integer(c->num_classes));
    json_decref(more);
    if (!failed) return CM_OK;
    json_decref(*out);
    *out = NULL;
    CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
}
