/* edm2_names.c - the arguments of EDM2's network from the names and shapes of its tensors (networks-edm2 3).
 *
 * The names hold the sides of the pictures.  No tensor tells how wide a head of attention is, nor the balances: those
 * of the published networks are assumed. */
#include <stdio.h>
#include <string.h>

#include "nets/edm_tensors.h"
#include "nets/net.h"

typedef struct {
    cm_edm_tensors of;
    int side, levels, blocks;
    int64_t width[CM_NET_LEVELS], noise, embedding;
} edm2_file;

/* emb_noise says which prefix. */
static int read_side(edm2_file *e)
{
    static const char *const prefixes[] = {"", "unet.", "model."};
    for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++) {
        e->of.prefix = prefixes[p];
        const cm_tensor *noise = cmi_edm_tensor(&e->of, "emb_noise.weight");
        e->noise = cmi_edm_dimension(noise, 1);
        e->embedding = cmi_edm_dimension(noise, 0);
        if (e->noise > 0 && e->embedding > 0 && cmi_edm_tensor(&e->of, "out_gain"))
            return e->side = cmi_edm_side(&e->of);
    }
    return 0;
}

static int read_levels(edm2_file *e)
{
    for (; e->levels < CM_NET_LEVELS && e->side >> e->levels; e->levels++) {
        const int r = e->side >> e->levels;
        e->width[e->levels] = cmi_edm_dimension(cmi_edm_tensor(&e->of, "enc.%dx%d_block0.conv_res0.weight", r, r), 0);
        if (e->width[e->levels] < 1) break;
    }
    while (e->blocks < 64 &&
           cmi_edm_tensor(&e->of, "enc.%dx%d_block%d.conv_res0.weight", e->side, e->side, e->blocks))
        e->blocks++;
    return e->levels > 0 && e->blocks > 0;
}

static int64_t widest(const edm2_file *e)
{
    int64_t most = 0;
    for (int l = 0; l < e->levels; l++)
        if (e->width[l] > most) most = e->width[l];
    return most;
}

/* Where there is attention in less than the 64 channels of a usual head, heads are taken to be as wide as the
 * narrowest. */
static int64_t head_of(const edm2_file *e)
{
    int64_t head = 64;
    for (int l = 0; l < e->levels; l++) {
        const int r = e->side >> l, attends = cmi_edm_tensor(&e->of, "enc.%dx%d_block0.attn_qkv.weight", r, r) ||
                                              cmi_edm_tensor(&e->of, "dec.%dx%d_in0.attn_qkv.weight", r, r);
        if (attends && e->width[l] < head) head = e->width[l];
    }
    return head;
}

/* channel_mult, attn_resolutions and, where they are not what follows from those, the two widths of the embedding. */
static int set_lists(const edm2_file *e, json_t *network)
{
    json_t *sides = json_array(), *mult = json_array();
    int failed = 0;
    for (int l = 0; l < e->levels; l++) {
        const int r = e->side >> l;
        const double m = (double)e->width[l] / (double)e->width[0];
        failed |= json_array_append_new(mult, m == (double)(int)m ? json_integer((int)m) : json_real(m));
        if (cmi_edm_tensor(&e->of, "enc.%dx%d_block0.attn_qkv.weight", r, r))
            failed |= json_array_append_new(sides, json_integer(r));
    }
    if (!cmi_edm_tensor(&e->of, "emb_fourier.freqs"))
        failed |= json_object_set_new(network, "embedding_type", json_string("positional"));
    failed |=
        json_object_set_new(network, "channel_mult", mult) | json_object_set_new(network, "attn_resolutions", sides);
    if (head_of(e) != 64)
        failed |= json_object_set_new(network, "channels_per_head", json_integer((json_int_t)head_of(e)));
    if (e->noise != e->width[0])
        failed |= json_object_set_new(network, "channel_mult_noise", json_integer(e->noise / e->width[0]));
    if (e->embedding != widest(e))
        failed |= json_object_set_new(network, "channel_mult_emb", json_integer(e->embedding / e->width[0]));
    return failed;
}

cm_status cmi_edm2_recognise(const cm_tensors *file, cm_recognised *out)
{
    edm2_file e = {.of.file = file};
    if (!read_side(&e) || !read_levels(&e)) return CM_OK;
    const cm_tensor *first = cmi_edm_tensor(&e.of, "enc.%dx%d_conv.weight", e.side, e.side),
                    *last = cmi_edm_tensor(&e.of, "out_conv.weight");
    if (cmi_edm_dimension(first, 1) < 2 || !last) return CM_OK;
    json_t *n = json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:i}", "type", "edm2", "img_resolution", e.side,
                          "in_channels", (json_int_t)(cmi_edm_dimension(first, 1) - 1), "out_channels",
                          (json_int_t)cmi_edm_dimension(last, 0), "label_dim",
                          (json_int_t)cmi_edm_dimension(cmi_edm_tensor(&e.of, "emb_label.weight"), 1),
                          "model_channels", (json_int_t)e.width[0], "num_blocks", e.blocks);
    if (n && set_lists(&e, n)) {
        json_decref(n);
        n = NULL;
    }
    out->network = n;
    out->precond =
        json_pack("{s:s, s:f, s:f, s:f}", "type", "edm", "sigma_data", 0.5, "sigma_min", 0.002, "sigma_max", 80.0);
    (void)snprintf(out->assumed, sizeof out->assumed,
                   "preconditioning edm with sigma 0.002 to 80; heads of %lld channels and the balances of EDM2",
                   (long long)head_of(&e));
    if (!out->network || !out->precond) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}
