/* edm_block.c - networks B.2. */
#include "nets/edm_block.h"

int32_t cmi_edm_groups(int32_t channels)
{
    int32_t g = channels / 4;
    return g < 1 ? 1 : g > 32 ? 32 : g;
}

/* Resampling, then the k x k convolution; k = 0: resampling alone. */
static cm_value resampled_conv(const cm_edm_family *f, const char *name, cm_value x, int32_t out, int32_t k,
                               int direction)
{
    if (k) x = cmi_resampled_conv(f->g, name, x, out, k, direction, f->filter);
    else x = cmi_resample(f->g, x, direction, f->filter);
    if (direction != CM_RESAMPLE_NONE) cmi_filter_buffer(f->g, name, f->filter);
    return x;
}

static cm_value self_attention(const cm_edm_family *f, const char *name, cm_value x)
{
    cm_graph *g = f->g;
    int32_t c = cmi_channels(g, x), heads = f->channels_per_head ? c / f->channels_per_head : 1;
    if (heads == 0) return x; /* as the reference: below 64 channels there is no attention at all */
    cm_value h = cmi_groupnorm(g, cmi_name_of("%s.norm2", name).text, x, cmi_edm_groups(c), f->eps, 0);
    return cmi_self_attention(g, cmi_name_of("%s.qkv", name).text, cmi_name_of("%s.proj", name).text, h, x, heads,
                              f->qkv, f->skip_scale);
}

cm_value cmi_edm_block(const cm_edm_family *f, const char *name, cm_value x, int32_t out, int direction,
                       int attention)
{
    cm_graph *g = f->g;
    cm_value skip = x;
    int32_t in = cmi_channels(g, x);
    cm_value h = cmi_groupnorm(g, cmi_name_of("%s.norm0", name).text, x, cmi_edm_groups(in), f->eps, 1);
    h = resampled_conv(f, cmi_name_of("%s.conv0", name).text, h, out, 3, direction);
    cm_value s = cmi_linear(g, cmi_name_of("%s.affine", name).text, f->emb, f->adaptive_scale ? 2 * out : out, 1);
    h = cmi_groupnorm_embedded(g, cmi_name_of("%s.norm1", name).text, h, s,
                               f->double_norm      ? CM_GN_DOUBLE
                               : f->adaptive_scale ? CM_GN_SCALE_SHIFT
                                                   : CM_GN_ADD,
                               cmi_edm_groups(out), f->eps);
    h = cmi_dropout(g, h);
    cm_filters conv1 = cmi_conv_filters(g, cmi_name_of("%s.conv1", name).text, out, out, 3);
    int32_t k = in != out || (f->resample_proj && direction != CM_RESAMPLE_NONE);
    if (k || direction != CM_RESAMPLE_NONE)
        skip = resampled_conv(f, cmi_name_of("%s.skip", name).text, skip, out, k, direction);
    h = cmi_conv_add(g, conv1, h, skip, f->skip_scale);
    return attention ? self_attention(f, name, h) : h;
}
