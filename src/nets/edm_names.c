/* edm_names.c - the arguments of EDM's networks from the names and shapes of their tensors (networks B.2 to B.4).
 *
 * The names hold the sides of the pictures, so shapes tell everything but the preconditioning; where the filters of
 * resampling are not in the file, networks with Fourier features have the longer one, as NCSN++ does. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nets/net.h"

typedef struct {
    const cm_tensors *file;
    const char *prefix; /* of every name */
    int side, levels, blocks;
    int64_t width[CM_NET_LEVELS];
} edm_file;

static const cm_tensor *find(const edm_file *e, const char *format, ...) CM_PRINTF(2, 3);
static const cm_tensor *find(const edm_file *e, const char *format, ...)
{
    char name[128];
    va_list args;
    size_t n = strlen(e->prefix);
    va_start(args, format);
    memcpy(name, e->prefix, n);
    (void)vsnprintf(name + n, sizeof name - n, format, args);
    va_end(args);
    return cmi_tensors_find(e->file, name);
}

/* A dimension of a tensor, 0 where there is none. */
static int64_t dimension(const cm_tensor *t, int which)
{
    return t && which < t->rank ? t->shape[which] : 0;
}

/* "enc.SIDExSIDE_conv.weight", with and without the prefix, says how large the pictures are. */
static int read_side(edm_file *e)
{
    static const char *const prefixes[] = {"", "model."};
    for (int p = 0; p < 2; p++)
        for (size_t i = 0; i < e->file->count; i++) {
            int a = 0, b = 0, end = 0;
            const char *name = e->file->tensors[i].name;
            e->prefix = prefixes[p];
            if (strncmp(name, e->prefix, strlen(e->prefix)) != 0) continue;
            (void)sscanf(name + strlen(e->prefix), "enc.%5dx%5d_conv.weight%n", &a, &b, &end);
            e->side = a;
            if (end && a == b && a > 0 && !name[strlen(e->prefix) + (size_t)end]) return 1;
        }
    return 0;
}

static int read_levels(edm_file *e)
{
    for (; e->levels < CM_NET_LEVELS && e->side >> e->levels; e->levels++) {
        int r = e->side >> e->levels;
        e->width[e->levels] = dimension(find(e, "enc.%dx%d_block0.conv0.weight", r, r), 0);
        if (e->width[e->levels] < 1) break;
    }
    while (e->blocks < 64 && find(e, "enc.%dx%d_block%d.conv0.weight", e->side, e->side, e->blocks)) e->blocks++;
    return e->levels > 0 && e->blocks > 0;
}

/* channel_mult and attn_resolutions. */
static int set_lists(const edm_file *e, int64_t model_channels, json_t *network)
{
    json_t *sides = json_array(), *mult = json_array();
    int failed = 0;
    for (int l = 0; l < e->levels; l++) {
        int r = e->side >> l;
        double m = (double)e->width[l] / (double)model_channels;
        failed |= json_array_append_new(mult, m == (double)(int)m ? json_integer((int)m) : json_real(m));
        if (find(e, "enc.%dx%d_block0.qkv.weight", r, r)) failed |= json_array_append_new(sides, json_integer(r));
    }
    failed |= json_object_set_new(network, "channel_mult", mult);
    return failed | json_object_set_new(network, "attn_resolutions", sides);
}

/* What both networks have; `out` is their last convolution. */
static json_t *common(const edm_file *e, const char *type, int64_t model_channels, const cm_tensor *out)
{
    const cm_tensor *first = find(e, "enc.%dx%d_conv.weight", e->side, e->side);
    json_t *n =
        json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "type", type, "img_resolution", e->side,
                  "in_channels", (json_int_t)dimension(first, 1), "out_channels", (json_int_t)dimension(out, 0),
                  "label_dim", (json_int_t)dimension(find(e, "map_label.weight"), 1), "augment_dim",
                  (json_int_t)dimension(find(e, "map_augment.weight"), 1), "model_channels",
                  (json_int_t)model_channels, "channel_mult_emb",
                  (json_int_t)(dimension(find(e, "map_layer0.weight"), 0) / model_channels), "num_blocks", e->blocks);
    if (!n || !set_lists(e, model_channels, n)) return n;
    json_decref(n);
    return NULL;
}

static cm_status finish(cm_recognised *out)
{
    out->precond =
        json_pack("{s:s, s:f, s:f, s:f}", "type", "edm", "sigma_data", 0.5, "sigma_min", 0.002, "sigma_max", 80.0);
    (void)snprintf(out->assumed, sizeof out->assumed, "preconditioning edm with sigma 0.002 to 80");
    if (!out->network || !out->precond) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

/* --- SongUNet ----------------------------------------------------------------------------- */

static json_t *filter_of(const edm_file *e, int fourier)
{
    int r = e->side / 2;
    const cm_tensor *f = find(e, "enc.%dx%d_down.conv0.resample_filter", r, r);
    int longer = f ? dimension(f, 2) == 4 : fourier;
    return longer ? json_pack("[i, i, i, i]", 1, 3, 3, 1) : json_pack("[i, i]", 1, 1);
}

cm_status cmi_songunet_recognise(const cm_tensors *file, cm_recognised *out)
{
    edm_file e = {.file = file};
    if (!read_side(&e) || !read_levels(&e)) return CM_OK;
    const cm_tensor *last = find(&e, "dec.%dx%d_aux_conv.weight", e.side, e.side);
    int64_t mc = dimension(find(&e, "enc.%dx%d_conv.weight", e.side, e.side), 0);
    int64_t noise = dimension(find(&e, "map_layer0.weight"), 1);
    int half = e.side / 2, coarse = e.side >> (e.levels - 1), fourier = find(&e, "map_noise.freqs") != NULL;
    if (!last || mc < 1 || noise < 1) return CM_OK;
    out->network = common(&e, "songunet", mc, last);
    json_t *more = json_pack(
        "{s:s, s:I, s:s, s:s, s:o}", "embedding_type", fourier ? "fourier" : "positional", "channel_mult_noise",
        (json_int_t)(noise / mc), "encoder_type",
        find(&e, "enc.%dx%d_aux_residual.weight", half, half) ? "residual"
        : find(&e, "enc.%dx%d_aux_skip.weight", half, half)   ? "skip"
                                                              : "standard",
        "decoder_type", e.levels > 1 && find(&e, "dec.%dx%d_aux_norm.weight", coarse, coarse) ? "skip" : "standard",
        "resample_filter", filter_of(&e, fourier));
    int failed = !out->network || !more || json_object_update(out->network, more) != 0;
    json_decref(more);
    if (failed) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return finish(out);
}

/* --- DhariwalUNet --------------------------------------------------------------------------- */

cm_status cmi_dhariwal_recognise(const cm_tensors *file, cm_recognised *out)
{
    edm_file e = {.file = file};
    if (!read_side(&e) || !read_levels(&e)) return CM_OK;
    const cm_tensor *last = find(&e, "out_conv.weight");
    int64_t mc = dimension(find(&e, "map_layer0.weight"), 1);
    if (!last || mc < 1) return CM_OK;
    out->network = common(&e, "dhariwal", mc, last);
    return finish(out);
}
