/* edm_config.c - what SongUNet and DhariwalUNet share of their configuration. */
#include "nets/edm_config.h"

#include <string.h>

void cmi_edm_defaults(cm_net_config *c, const double mult[4])
{
    c->levels = 4;
    memcpy(c->channel_mult, mult, 4 * sizeof *mult);
    c->channel_mult_emb = 4;
    c->channel_mult_noise = 1;
    c->fourier_scale = 16;
    c->dropout = 0.10;
}

/* img_channels may stand for both counts. */
cm_status cmi_edm_complete(const char *what, const json_t *network, cm_net_config *c)
{
    if (json_object_get(network, "fourier_scale") && c->embedding != CM_EMBEDDING_FOURIER)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument 'fourier_scale' has no effect on embedding_type \"positional\"", what);
    if (!c->in_channels) c->in_channels = c->img_channels;
    if (!c->out_channels) c->out_channels = c->img_channels;
    if (!c->in_channels || !c->out_channels)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is missing and has no default (img_channels may stand for both)",
                what, c->in_channels ? "out_channels" : "in_channels");
    if (c->img_channels && c->img_channels != c->in_channels)
        CM_FAIL(CM_ERR_FORMAT, "%s: img_channels is %d but in_channels %d", what, c->img_channels, c->in_channels);
    return CM_OK;
}
