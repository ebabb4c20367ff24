/* flax_names.c - the tensors of openai/consistency_models_cifar10 as those of the SongUNet that computes the same
 * function (networks C.2).
 *
 * flax numbers its modules per class in order of creation: the walk goes through the network in that order with a
 * counter per class.  The names hold no sides of pictures, so which levels attend and how large the pictures are is
 * taken as in the published models where the shapes leave it open. */
#include <stdio.h>
#include <string.h>

#include "nets/net.h"

/* --- names --------------------------------------------------------------------------------- */

typedef struct {
    const cm_graph *graph;
    const cm_net_config *c;
    cm_net_name_fn emit;
    void *user;
    int blocks, attentions, downs;
    int stop;
} walk;

static void send(walk *w, const cm_net_name *name)
{
    if (!w->stop) w->stop = w->emit(w->user, name);
}

/* One tensor of a module: song "S.member" from flax "F/leaf". */
static void tensor(walk *w, const char *s, const char *member, const char *f, const char *leaf, cm_name_order order)
{
    cm_name song = cmi_name_of("%s.%s", s, member), flax = cmi_name_of("%s/%s", f, leaf);
    send(w, &(cm_net_name){song.text, flax.text, order, 0, 1, CM_PARTS_STACKED});
}

static void conv(walk *w, const char *s, const char *f, const char *kernel)
{
    tensor(w, s, "weight", f, kernel, CM_ORDER_HWIO);
    tensor(w, s, "bias", f, "bias", CM_ORDER_SAME);
}

static void dense(walk *w, const char *s, const char *f)
{
    tensor(w, s, "weight", f, "kernel", CM_ORDER_IO);
    tensor(w, s, "bias", f, "bias", CM_ORDER_SAME);
}

static void norm(walk *w, const char *s, const char *f)
{
    tensor(w, s, "weight", f, "scale", CM_ORDER_SAME);
    tensor(w, s, "bias", f, "bias", CM_ORDER_SAME);
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
        cm_name song_weight = cmi_name_of("%s.qkv.weight", s.text), song_bias = cmi_name_of("%s.qkv.bias", s.text);
        send(w, &(cm_net_name){song_weight.text, weight.text, CM_ORDER_IO, part, 3, CM_PARTS_INTERLEAVED});
        send(w, &(cm_net_name){song_bias.text, bias.text, CM_ORDER_SAME, part, 3, CM_PARTS_INTERLEAVED});
    }
    tensor(w, cmi_name_of("%s.proj", s.text).text, "weight", cmi_name_of("%s/NIN_3", f.text).text, "W", CM_ORDER_IO);
    tensor(w, cmi_name_of("%s.proj", s.text).text, "bias", cmi_name_of("%s/NIN_3", f.text).text, "b", CM_ORDER_SAME);
}

static void encoder(walk *w)
{
    const cm_net_config *c = w->c;
    for (int l = 0; l < c->levels; l++) {
        int32_t side = cmi_net_side(c, l), half = side / 2;
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
        int32_t side = cmi_net_side(c, l);
        for (int i = 0; i <= c->num_blocks; i++) block(w, cmi_name_of("dec.%dx%d_block%d", side, side, i));
        if (cmi_net_attends(c, side)) attention(w, cmi_name_of("dec.%dx%d_block%d", side, side, c->num_blocks));
        if (l > 0) block(w, cmi_name_of("dec.%dx%d_up", 2 * side, 2 * side));
    }
}

static int walk_all(const cm_graph *graph, const cm_net_config *config, cm_net_name_fn emit, void *user)
{
    walk w = {graph, config, emit, user, 0, 0, 0, 0};
    int32_t top = cmi_net_side(config, 0), low = cmi_net_side(config, config->levels - 1);
    if (config->embedding == CM_EMBEDDING_FOURIER)
        send(&w, &(cm_net_name){"map_noise.freqs", "GaussianFourierProjection_0/W", CM_ORDER_SAME, 0, 1,
                                CM_PARTS_STACKED});
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

/* --- the network ----------------------------------------------------------------------------- */

enum { PUBLISHED_SIDE = 32, PUBLISHED_LEVEL = 1 /* of attention: 16 x 16 pixels */, MOST_BLOCKS = 64 };

typedef struct {
    const cm_tensors *file;
    int blocks, levels, attentions, num_blocks; /* modules of a class; num_res_blocks */
    int64_t nf, width[CM_NET_LEVELS];
} flax_file;

static const cm_tensor *find(const flax_file *f, const char *format, int number)
{
    char name[96];
    (void)snprintf(name, sizeof name, format, number);
    return cmi_tensors_find(f->file, name);
}

/* A dimension of a tensor, counted from the last one; 0 where there is none. */
static int64_t dimension(const cm_tensor *t, int from_last)
{
    return t && from_last < t->rank ? t->shape[t->rank - 1 - from_last] : 0;
}

static int count(const flax_file *f, const char *format, int most)
{
    int n = 0;
    while (n < most && find(f, format, n)) n++;
    return n;
}

/* A level of the encoder ends with a block that has a skip convolution although it changes no width. */
static int read_levels(flax_file *f)
{
    int down = 0;
    f->blocks = count(f, "ResnetBlockBigGANpp_%d/Conv_0/kernel", CM_NET_LEVELS * (2 * MOST_BLOCKS + 3) + 1);
    f->attentions = count(f, "AttnBlockpp_%d/NIN_0/W", CM_NET_LEVELS * (MOST_BLOCKS + 1) + 2);
    for (; down < f->blocks; down++) {
        const cm_tensor *skip = find(f, "ResnetBlockBigGANpp_%d/Conv_2/kernel", down);
        if (skip && dimension(skip, 0) == dimension(skip, 1)) break;
    }
    f->num_blocks = down < f->blocks ? down : (f->blocks - 3) / 2;
    if (f->num_blocks < 1 || f->num_blocks > MOST_BLOCKS) return 0;
    f->levels = f->blocks / (2 * f->num_blocks + 3); /* blocks of encoder and decoder, the middle and resampling */
    return f->levels >= 1 && f->levels <= CM_NET_LEVELS && f->blocks == f->levels * (2 * f->num_blocks + 3);
}

static int read_widths(flax_file *f)
{
    f->nf = dimension(find(f, "Conv_%d/kernel", 0), 0);
    for (int l = 0; l < f->levels; l++) {
        f->width[l] = dimension(find(f, "ResnetBlockBigGANpp_%d/Conv_0/kernel", l * (f->num_blocks + 1)), 0);
        if (f->width[l] < 1) return 0;
    }
    return f->nf > 0;
}

/* Whether attention in these levels (bit l of the mask) explains the widths of the file's attention. */
static int explains(const flax_file *f, int mask)
{
    int j = 0;
    for (int l = 0; l < f->levels; l++) {
        if (!(mask >> l & 1)) continue;
        if (dimension(find(f, "AttnBlockpp_%d/NIN_0/W", j), 0) != f->width[l]) return 0;
        j += f->num_blocks;
    }
    for (int l = f->levels - 1; l >= 0; l--) j += mask >> l & 1;
    return j + 1 == f->attentions; /* the middle has one in any case */
}

/* Among those with attention where the published models have it the coarsest; -1: none. */
static int attending(const flax_file *f)
{
    int found = -1;
    for (int mask = (1 << f->levels) - 1; mask >= 0; mask--) {
        if (!explains(f, mask)) continue;
        if (mask >> PUBLISHED_LEVEL & 1) return mask;
        if (found < 0) found = mask;
    }
    return found;
}

static int set_lists(const flax_file *f, int mask, int side, json_t *network)
{
    json_t *sides = json_array(), *mult = json_array();
    int failed = 0;
    for (int l = 0; l < f->levels; l++) {
        double m = (double)f->width[l] / (double)f->nf;
        failed |= json_array_append_new(mult, m == (double)(int)m ? json_integer((int)m) : json_real(m));
        if (mask >> l & 1) failed |= json_array_append_new(sides, json_integer(side >> l));
    }
    failed |= json_object_set_new(network, "channel_mult", mult);
    return failed | json_object_set_new(network, "attn_resolutions", sides);
}

static json_t *network_of(const flax_file *f, int mask, int side, int fourier)
{
    json_t *n = json_pack(
        "{s:s, s:i, s:I, s:I, s:I, s:I, s:i, s:s, s:i, s:s, s:o}", "type", "songunet", "img_resolution", side,
        "in_channels", (json_int_t)dimension(find(f, "Conv_%d/kernel", 0), 1), "out_channels",
        (json_int_t)dimension(find(f, "Conv_%d/kernel", 1), 0), "model_channels", (json_int_t)f->nf,
        "channel_mult_emb", (json_int_t)(dimension(find(f, "Dense_%d/kernel", 0), 0) / f->nf), "num_blocks",
        f->num_blocks, "embedding_type", fourier ? "fourier" : "positional", "channel_mult_noise", fourier ? 2 : 1,
        "encoder_type", find(f, "Downsample_%d/Conv2d_0/weight", 0) ? "residual" : "standard", "resample_filter",
        fourier ? json_pack("[i, i, i, i]", 1, 3, 3, 1) : json_pack("[i, i]", 1, 1));
    if (!n || !set_lists(f, mask, side, n)) return n;
    json_decref(n);
    return NULL;
}

/* The teacher's folder is edm_cifar10_ema; the others hold consistency models.  Folders between it and the file are
 * called checkpoints. */
static int is_teacher(const char *path)
{
    const char *end = path + strlen(path);
    while (end > path) {
        const char *begin = end;
        while (begin > path && begin[-1] != '/') begin--;
        if (strncmp(begin, "checkpoint", 10) != 0) return strncmp(begin, "edm", 3) == 0;
        end = begin > path ? begin - 1 : path;
    }
    return 0;
}

static int knows(const cm_tensors *file)
{
    const flax_file f = {.file = file};
    return find(&f, "ResnetBlockBigGANpp_%d/Conv_0/kernel", 0) && find(&f, "Conv_%d/kernel", 0);
}

static cm_status recognise(const cm_tensors *file, cm_recognised *out)
{
    flax_file f = {.file = file};
    int mask = knows(file) && read_levels(&f) && read_widths(&f) ? attending(&f) : -1, side = PUBLISHED_SIDE;
    if (mask < 0) return CM_OK;
    while (side >> (f.levels - 1) < 4) side *= 2;
    const int fourier = find(&f, "GaussianFourierProjection_%d/W", 0) != NULL, teacher = is_teacher(file->input.name);
    out->network = network_of(&f, mask, side, fourier);
    out->precond = json_pack("{s:s, s:f, s:f, s:f}", "type", teacher ? "edm" : "cm", "sigma_data", 0.5, "sigma_min",
                             0.002, "sigma_max", 80.0);
    size_t n = (size_t)snprintf(out->assumed, sizeof out->assumed, "images of %d x %d, attention", side, side);
    for (int l = 0; l < f.levels; l++)
        if (mask >> l & 1) n += (size_t)snprintf(out->assumed + n, sizeof out->assumed - n, " at side %d", side >> l);
    (void)snprintf(out->assumed + n, sizeof out->assumed - n,
                   "%s, resample_filter %s, no dropout, preconditioning %s with sigma 0.002 to 80",
                   mask ? "" : " in the middle alone", fourier ? "[1, 3, 3, 1]" : "[1, 1]", teacher ? "edm" : "cm");
    if (!out->network || !out->precond) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

const cm_naming cmi_naming_flax = {"flax", knows, recognise, walk_all};
