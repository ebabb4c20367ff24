/* flax_names.c - flax numbers its modules per class in order of creation; this
 * walks the network in that order with a counter per class. */
#include "support/flax_names.h"

#include <string.h>

#include "nets/edm_block.h"

typedef struct {
    const cm_graph *graph;
    const cm_net_config *c;
    cm_flax_fn emit;
    void *user;
    int blocks, attentions, downs;
    int stop;
} walk;

static void send(walk *w, const char *song, const char *flax, cm_flax_kind kind, int part)
{
    const cm_flax_name name = {song, flax, kind, part};
    if (!w->stop) w->stop = w->emit(w->user, &name);
}

/* One tensor of a module: song "S.member" from flax "F/leaf". */
static void tensor(walk *w, const char *s, const char *member, const char *f, const char *leaf, cm_flax_kind kind)
{
    cm_name song = cmi_name_of("%s.%s", s, member), flax = cmi_name_of("%s/%s", f, leaf);
    send(w, song.text, flax.text, kind, 0);
}

static void conv(walk *w, const char *s, const char *f, const char *kernel)
{
    tensor(w, s, "weight", f, kernel, CM_FLAX_CONV);
    tensor(w, s, "bias", f, "bias", CM_FLAX_COPY);
}

static void dense(walk *w, const char *s, const char *f)
{
    tensor(w, s, "weight", f, "kernel", CM_FLAX_DENSE);
    tensor(w, s, "bias", f, "bias", CM_FLAX_COPY);
}

static void norm(walk *w, const char *s, const char *f)
{
    tensor(w, s, "weight", f, "scale", CM_FLAX_COPY);
    tensor(w, s, "bias", f, "bias", CM_FLAX_COPY);
}

static int has_param(const walk *w, const char *name)
{
    for (int i = 0; i < w->graph->n_params; i++)
        if (strcmp(w->graph->params[i].name, name) == 0) return 1;
    return 0;
}

static void block(walk *w, cm_name s)
{
    cm_name f = cmi_name_of("ResnetBlockBigGANpp_%d", w->blocks++);
    norm(w, cmi_name_of("%s.norm0", s.text).text, cmi_name_of("%s/GroupNorm_0", f.text).text);
    conv(w, cmi_name_of("%s.conv0", s.text).text, cmi_name_of("%s/Conv_0", f.text).text, "kernel");
    dense(w, cmi_name_of("%s.affine", s.text).text, cmi_name_of("%s/Dense_0", f.text).text);
    norm(w, cmi_name_of("%s.norm1", s.text).text, cmi_name_of("%s/GroupNorm_1", f.text).text);
    conv(w, cmi_name_of("%s.conv1", s.text).text, cmi_name_of("%s/Conv_1", f.text).text, "kernel");
    if (has_param(w, cmi_name_of("%s.skip.weight", s.text).text))
        conv(w, cmi_name_of("%s.skip", s.text).text, cmi_name_of("%s/Conv_2", f.text).text, "kernel");
}

/* The attention of song block s, a module of its own in flax. */
static void attention(walk *w, cm_name s)
{
    cm_name f = cmi_name_of("AttnBlockpp_%d", w->attentions++);
    norm(w, cmi_name_of("%s.norm2", s.text).text, cmi_name_of("%s/GroupNorm_0", f.text).text);
    for (int part = 0; part < 3; part++) {
        cm_name weight = cmi_name_of("%s/NIN_%d/W", f.text, part), bias = cmi_name_of("%s/NIN_%d/b", f.text, part);
        send(w, cmi_name_of("%s.qkv.weight", s.text).text, weight.text, CM_FLAX_QKV, part);
        send(w, cmi_name_of("%s.qkv.bias", s.text).text, bias.text, CM_FLAX_QKV, part);
    }
    tensor(w, cmi_name_of("%s.proj", s.text).text, "weight", cmi_name_of("%s/NIN_3", f.text).text, "W",
           CM_FLAX_DENSE);
    tensor(w, cmi_name_of("%s.proj", s.text).text, "bias", cmi_name_of("%s/NIN_3", f.text).text, "b", CM_FLAX_COPY);
}

static void encoder(walk *w)
{
    const cm_net_config *c = w->c;
    for (int l = 0; l < c->levels; l++) {
        int32_t side = c->resolution >> l, half = side / 2;
        for (int i = 0; i < c->num_blocks; i++) {
            cm_name s = cmi_name_of("enc.%dx%d_block%d", side, side, i);
            block(w, s);
            if (cmi_net_attends(c, side)) attention(w, s);
        }
        if (l == c->levels - 1) break;
        block(w, cmi_name_of("enc.%dx%d_down", half, half));
        if (c->encoder == CM_ENCODER_RESIDUAL)
            conv(w, cmi_name_of("enc.%dx%d_aux_residual", half, half).text,
                 cmi_name_of("Downsample_%d/Conv2d_0", w->downs++).text, "weight");
    }
}

static void decoder(walk *w)
{
    const cm_net_config *c = w->c;
    for (int l = c->levels - 1; l >= 0; l--) {
        int32_t side = c->resolution >> l;
        for (int i = 0; i <= c->num_blocks; i++) block(w, cmi_name_of("dec.%dx%d_block%d", side, side, i));
        if (cmi_net_attends(c, side)) attention(w, cmi_name_of("dec.%dx%d_block%d", side, side, c->num_blocks));
        if (l > 0) block(w, cmi_name_of("dec.%dx%d_up", 2 * side, 2 * side));
    }
}

int cmi_flax_names(const cm_graph *graph, const cm_net_config *config, cm_flax_fn emit, void *user)
{
    walk w = {graph, config, emit, user, 0, 0, 0, 0};
    int32_t top = config->resolution, low = config->resolution >> (config->levels - 1);
    if (config->embedding == CM_EMBEDDING_FOURIER)
        send(&w, "map_noise.freqs", "GaussianFourierProjection_0/W", CM_FLAX_COPY, 0);
    dense(&w, "map_layer0", "Dense_0");
    dense(&w, "map_layer1", "Dense_1");
    conv(&w, cmi_name_of("enc.%dx%d_conv", top, top).text, "Conv_0", "kernel");
    encoder(&w);
    block(&w, cmi_name_of("dec.%dx%d_in0", low, low));
    attention(&w, cmi_name_of("dec.%dx%d_in0", low, low));
    block(&w, cmi_name_of("dec.%dx%d_in1", low, low));
    decoder(&w);
    norm(&w, cmi_name_of("dec.%dx%d_aux_norm", top, top).text, "GroupNorm_0");
    conv(&w, cmi_name_of("dec.%dx%d_aux_conv", top, top).text, "Conv_1", "kernel");
    return w.stop;
}
