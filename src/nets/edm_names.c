/* edm_names.c - the arguments of EDM's networks from the names and shapes of their tensors (networks B.2 to B.4).
 *
 * The names hold the sides of the pictures, so shapes tell everything but the preconditioning; where the filters of
 * resampling are not in the file, networks with Fourier features have the longer one, as NCSN++ does. */
#include <stdio.h>
#include <string.h>

#include "nets/edm_tensors.h"
#include "nets/net.h"

typedef struct {
    cm_edm_tensors of;
    int side, levels, blocks;
    int64_t width[CM_NET_LEVELS];
} edm_file;

/* With and without the prefix. */
static int read_side(edm_file *e)
{
    static const char *const prefixes[] = {"", "model.", "network.", "net_ema.", "net."};
    for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes && !e->side; p++) {
        e->of.prefix = prefixes[p];
        e->side = cmi_edm_side(&e->of);
    }
    return e->side;
}

static int read_levels(edm_file *e)
{
    for (; e->levels < CM_NET_LEVELS && e->side >> e->levels; e->levels++) {
        int r = e->side >> e->levels;
        e->width[e->levels] = cmi_edm_dimension(cmi_edm_tensor(&e->of, "enc.%dx%d_block0.conv0.weight", r, r), 0);
        if (e->width[e->levels] < 1) break;
    }
    while (e->blocks < 64 && cmi_edm_tensor(&e->of, "enc.%dx%d_block%d.conv0.weight", e->side, e->side, e->blocks))
        e->blocks++;
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
        if (cmi_edm_tensor(&e->of, "enc.%dx%d_block0.qkv.weight", r, r))
            failed |= json_array_append_new(sides, json_integer(r));
    }
    failed |= json_object_set_new(network, "channel_mult", mult);
    return failed | json_object_set_new(network, "attn_resolutions", sides);
}

/* What both networks have; `out` is their last convolution. */
static json_t *common(const edm_file *e, const char *type, int64_t model_channels, const cm_tensor *out)
{
    const cm_tensor *first = cmi_edm_tensor(&e->of, "enc.%dx%d_conv.weight", e->side, e->side);
    json_t *n = json_pack(
        "{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "type", type, "img_resolution", e->side, "in_channels",
        (json_int_t)cmi_edm_dimension(first, 1), "out_channels", (json_int_t)cmi_edm_dimension(out, 0), "label_dim",
        (json_int_t)cmi_edm_dimension(cmi_edm_tensor(&e->of, "map_label.weight"), 1), "augment_dim",
        (json_int_t)cmi_edm_dimension(cmi_edm_tensor(&e->of, "map_augment.weight"), 1), "model_channels",
        (json_int_t)model_channels, "channel_mult_emb",
        (json_int_t)(cmi_edm_dimension(cmi_edm_tensor(&e->of, "map_layer0.weight"), 0) / model_channels),
        "num_blocks", e->blocks);
    if (!n || !set_lists(e, model_channels, n)) return n;
    json_decref(n);
    return NULL;
}

static cm_status finish(cm_recognised *out)
{
    if (!out->precond) {
        out->precond = json_pack("{s:s, s:f, s:f, s:f}", "type", "edm", "sigma_data", 0.5, "sigma_min", 0.002,
                                 "sigma_max", 80.0);
        (void)snprintf(out->assumed, sizeof out->assumed, "preconditioning edm with sigma 0.002 to 80");
    }
    if (!out->network || !out->precond) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

/* --- SongUNet's second time --------------------------------------------------------------- */

/* An argument that the caller gives, or NULL. */
static const char *given_text(const cm_recognised *out, const char *name)
{
    return json_string_value(json_object_get(out->given, name));
}

/* The order of the rows of qkv by what the names begin with in the file, which the reader may have taken off:
 * SoFlow's module is called network, those of MeanFlow's code net and net_ema; NULL: they say nothing. */
static const char *layout_by_names(const edm_file *e)
{
    const char *taken = cmi_tensors_metadata(e->of.file, CM_NOTE_PREFIX),
               *begin = e->of.prefix[0] || !taken ? e->of.prefix : taken;
    if (strstr(begin, "network.")) return "interleaved";
    return strstr(begin, "net.") || strstr(begin, "net_ema") ? "qkv" : NULL;
}

/* The first layer takes one embedding, of a width that is a multiple of the network's, or two beside each other. */
static cm_status count_times(const edm_file *e, int64_t multiple, const cm_recognised *out, const char **second)
{
    const char *given = given_text(out, "second_time");
    const int two = multiple == 4 || (multiple % 2 == 0 && layout_by_names(e));
    *second = given                                           ? given
              : cmi_edm_tensor(&e->of, "map_layer0_s.weight") ? "tower"
              : cmi_edm_tensor(&e->of, "map_noise.freqs")     ? "none"
              : two                                           ? "concat"
                                                              : "none";
    if (given || multiple != 2 || strcmp(*second, "none") != 0 || cmi_edm_tensor(&e->of, "map_noise.freqs"))
        return CM_OK;
    CM_FAIL(
        CM_ERR_UNSUPPORTED,
        "%s: from its tensors' names it is a SongUNet either of one time with channel_mult_noise 2 or of two times "
        "with 1; say which by config_json: {\"network\": {\"second_time\": \"none\"}} or \"concat\"",
        e->of.file->input.name);
}

/* IMM's towers take both times, a thousand times as large; MeanFlow and SoFlow how far the second lies below. */
static cm_status describe_two_times(const edm_file *e, const char *second, json_t *network, cm_recognised *out)
{
    const int tower = strcmp(second, "tower") == 0;
    const char *given = given_text(out, "attention_layout"), *layout = given ? given : layout_by_names(e);
    if (tower && !layout) layout = "interleaved";
    if (!layout)
        CM_FAIL(CM_ERR_UNSUPPORTED,
                "%s: from its tensors' names it is a SongUNet with two times; whether the rows of its attention are "
                "MeanFlow's (\"qkv\") or SoFlow's (\"interleaved\") does not show there: say it by config_json, "
                "{\"network\": {\"attention_layout\": \"qkv\"}}",
                e->of.file->input.name);
    json_t *more =
        json_pack("{s:s, s:s, s:s, s:i}", "second_time", second, "second_input", tower ? "time" : "interval",
                  "attention_layout", layout, "time_factor", tower ? 1000 : 1);
    const int failed = !more || json_object_update(network, more) != 0;
    json_decref(more);
    out->precond = json_pack("{s:s}", "type", tower ? "imm" : "average-velocity");
    (void)snprintf(
        out->assumed, sizeof out->assumed, "preconditioning %s, the second time told as %s, attention layout %s%s",
        tower ? "imm" : "average-velocity", tower ? "itself, both times 1000" : "what it lies below the first",
        layout, given || tower ? "" : " by what its names begin with");
    if (failed || !out->precond) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

/* --- SongUNet ----------------------------------------------------------------------------- */

static json_t *filter_of(const edm_file *e, int long_one)
{
    int r = e->side / 2;
    const cm_tensor *f = cmi_edm_tensor(&e->of, "enc.%dx%d_down.conv0.resample_filter", r, r);
    int longer = f ? cmi_edm_dimension(f, 2) == 4 : long_one;
    return longer ? json_pack("[i, i, i, i]", 1, 3, 3, 1) : json_pack("[i, i]", 1, 1);
}

static cm_status describe_songunet(const edm_file *e, int64_t mc, const char *second, cm_recognised *out)
{
    const int half = e->side / 2, coarse = e->side >> (e->levels - 1),
              fourier = cmi_edm_tensor(&e->of, "map_noise.freqs") != NULL;
    const int concat = strcmp(second, "concat") == 0;
    const int64_t noise = cmi_edm_dimension(cmi_edm_tensor(&e->of, "map_layer0.weight"), 1) / (concat ? 2 : 1);
    json_t *more = json_pack(
        "{s:s, s:I, s:s, s:s, s:o}", "embedding_type", fourier ? "fourier" : "positional", "channel_mult_noise",
        (json_int_t)(noise / mc), "encoder_type",
        cmi_edm_tensor(&e->of, "enc.%dx%d_aux_residual.weight", half, half) ? "residual"
        : cmi_edm_tensor(&e->of, "enc.%dx%d_aux_skip.weight", half, half)   ? "skip"
                                                                            : "standard",
        "decoder_type",
        e->levels > 1 && cmi_edm_tensor(&e->of, "dec.%dx%d_aux_norm.weight", coarse, coarse) ? "skip" : "standard",
        "resample_filter", filter_of(e, fourier || concat));
    int failed = !out->network || !more || json_object_update(out->network, more) != 0;
    json_decref(more);
    if (failed) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    if (strcmp(second, "none") != 0) CM_TRY(describe_two_times(e, second, out->network, out));
    return finish(out);
}

cm_status cmi_songunet_recognise(const cm_tensors *file, cm_recognised *out)
{
    edm_file e = {.of.file = file};
    const char *second;
    if (!read_side(&e) || !read_levels(&e)) return CM_OK;
    const cm_tensor *last = cmi_edm_tensor(&e.of, "dec.%dx%d_aux_conv.weight", e.side, e.side);
    int64_t mc = cmi_edm_dimension(cmi_edm_tensor(&e.of, "enc.%dx%d_conv.weight", e.side, e.side), 0);
    int64_t noise = cmi_edm_dimension(cmi_edm_tensor(&e.of, "map_layer0.weight"), 1);
    if (!last || mc < 1 || noise < 1) return CM_OK;
    CM_TRY(count_times(&e, noise / mc, out, &second));
    out->network = common(&e, "songunet", mc, last);
    return describe_songunet(&e, mc, second, out);
}

/* --- DhariwalUNet --------------------------------------------------------------------------- */

cm_status cmi_dhariwal_recognise(const cm_tensors *file, cm_recognised *out)
{
    edm_file e = {.of.file = file};
    if (!read_side(&e) || !read_levels(&e)) return CM_OK;
    const cm_tensor *last = cmi_edm_tensor(&e.of, "out_conv.weight");
    int64_t mc = cmi_edm_dimension(cmi_edm_tensor(&e.of, "map_layer0.weight"), 1);
    if (!last || mc < 1) return CM_OK;
    out->network = common(&e, "dhariwal", mc, last);
    return finish(out);
}
