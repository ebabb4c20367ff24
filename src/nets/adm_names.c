/* adm_names.c - the arguments of an ADM network from the names and shapes of its tensors (networks A.8).
 *
 * What no tensor tells is taken as in the published models: images of 8 x 2^(levels - 1) pixels a side, heads of 64
 * channels, no dropout.  Convolutions over a line ([3C, C, 1] for qkv) are guided-diffusion's, whose default keeps
 * the queries, keys and values of each head together; openai/consistency_models keeps all queries first. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nets/net.h"

enum { ENTRIES = CM_NET_LEVELS * 66, HEAD = 64 };

typedef struct {
    const cm_tensors *file;
    int blocks, levels; /* num_res_blocks; of channel_mult */
    int updown, conv;   /* resblock_updown, conv_resample  */
    int64_t width[CM_NET_LEVELS];
    int attends[CM_NET_LEVELS];
    int64_t model_channels, divisor; /* every width with attention is a multiple of `divisor` */
} adm_file;

static const cm_tensor *find(const adm_file *a, const char *format, ...) CM_PRINTF(2, 3);
static const cm_tensor *find(const adm_file *a, const char *format, ...)
{
    char name[128];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return cmi_tensors_find(a->file, name);
}

/* The first dimension of a tensor, 0 where there is none. */
static int64_t rows(const cm_tensor *t)
{
    return t && t->rank > 0 ? t->shape[0] : 0;
}

/* An entry of the decoder that ends a level: it makes the picture larger. */
static int ends_level(adm_file *a, int k)
{
    for (int j = 1; j <= 2; j++) {
        if (find(a, "output_blocks.%d.%d.conv.weight", k, j)) return 1;
        if (find(a, "output_blocks.%d.%d.in_layers.0.weight", k, j)) return a->updown = 1;
    }
    return 0;
}

/* Without tensors in what makes pictures larger and smaller, the encoder's numbers have a gap where one is. */
static void read_gaps(adm_file *a, int entries)
{
    int k = 1;
    while (k < entries && find(a, "input_blocks.%d.0.in_layers.0.weight", k)) k++;
    if (k == entries) return;
    a->blocks = k - 1;
    a->conv = 0;
    a->levels = entries / k;
}

/* The decoder has blocks + 1 entries a level; all levels but the last end with a larger picture. */
static int read_levels(adm_file *a)
{
    int entries = 0, first = -1;
    a->levels = 1;
    a->conv = 1;
    for (; entries < ENTRIES && find(a, "output_blocks.%d.0.in_layers.0.weight", entries); entries++)
        if (ends_level(a, entries)) {
            if (first < 0) first = entries;
            a->levels++;
        }
    a->blocks = (first >= 0 ? first + 1 : entries) - 1;
    if (first < 0) read_gaps(a, entries);
    return a->blocks > 0 && a->levels <= CM_NET_LEVELS && entries == a->levels * (a->blocks + 1);
}

static int read_widths(adm_file *a)
{
    for (int l = 0; l < a->levels; l++) {
        int k = l * (a->blocks + 1) + 1;
        a->width[l] = rows(find(a, "input_blocks.%d.0.out_layers.0.weight", k));
        a->attends[l] = find(a, "input_blocks.%d.1.qkv.weight", k) != NULL;
        if (a->width[l] < 1 || a->width[l] > 65536) return 0;
        if ((a->attends[l] || l == a->levels - 1) && a->width[l] % HEAD) a->divisor = 0;
    }
    return 1;
}

/* level width = (int)(multiple * model_channels), which the quotient may miss by a rounding. */
static json_t *multiple(const adm_file *a, int level)
{
    double m = (double)a->width[level] / (double)a->model_channels;
    if (m == (double)(int)m) return json_integer((int)m);
    if ((int64_t)(m * (double)a->model_channels) != a->width[level]) m += 1e-12;
    return json_real(m);
}

static int set_lists(const adm_file *a, json_t *network)
{
    json_t *rates = json_array(), *mult = json_array();
    int failed = 0;
    for (int l = 0; l < a->levels; l++) {
        if (a->attends[l]) failed |= json_array_append_new(rates, json_integer(1 << l));
        failed |= json_array_append_new(mult, multiple(a, l));
    }
    failed |= json_object_set_new(network, "attention_resolutions", rates);
    return failed | json_object_set_new(network, "channel_mult", mult);
}

static json_t *network_of(const adm_file *a)
{
    const cm_tensor *label = find(a, "label_emb.weight"), *first = find(a, "input_blocks.0.0.weight");
    const cm_tensor *qkv = find(a, "middle_block.1.qkv.weight");
    int shifts = rows(find(a, "middle_block.0.emb_layers.1.weight")) == 2 * a->width[a->levels - 1];
    json_t *n = json_pack("{s:s, s:i, s:I, s:I, s:I, s:i, s:b, s:b, s:b, s:s}", "type", "adm", "image_size",
                          8 << (a->levels - 1), "in_channels", (json_int_t)first->shape[1], "model_channels",
                          (json_int_t)a->model_channels, "out_channels", (json_int_t)rows(find(a, "out.2.weight")),
                          "num_res_blocks", a->blocks, "use_scale_shift_norm", shifts, "resblock_updown", a->updown,
                          "conv_resample", a->conv, "attention_layout", qkv->rank == 3 ? "per_head" : "qkv");
    int failed = !n || set_lists(a, n);
    if (!failed && a->divisor) failed = json_object_set_new(n, "num_head_channels", json_integer(HEAD));
    if (!failed && label) failed = json_object_set_new(n, "num_classes", json_integer(rows(label)));
    if (!failed) return n;
    json_decref(n);
    return NULL;
}

/* OpenAI's teachers are called edm_*; everything else of theirs is a consistency model. */
static int is_teacher(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return strncmp(name, "edm_", 4) == 0;
}

static int is_adm(adm_file *a)
{
    const cm_tensor *time = find(a, "time_embed.0.weight"), *first = find(a, "input_blocks.0.0.weight");
    const cm_tensor *qkv = find(a, "middle_block.1.qkv.weight");
    if (!time || time->rank != 2 || !first || first->rank != 4 || !qkv || !find(a, "out.2.weight")) return 0;
    a->model_channels = time->shape[1];
    return a->model_channels > 0 && read_levels(a) && read_widths(a);
}

cm_status cmi_adm_recognise(const cm_tensors *file, cm_recognised *out)
{
    adm_file a = {.file = file, .divisor = HEAD};
    if (!is_adm(&a)) return CM_OK;
    const char *precond = is_teacher(file->input.name) ? "edm" : "cm";
    out->network = network_of(&a);
    out->precond =
        json_pack("{s:s, s:f, s:f, s:f}", "type", precond, "sigma_data", 0.5, "sigma_min", 0.002, "sigma_max", 80.0);
    (void)snprintf(out->assumed, sizeof out->assumed,
                   "image_size %d, %s, no dropout, preconditioning %s with sigma 0.002 to 80, attention layout %s",
                   8 << (a.levels - 1), a.divisor ? "heads of 64 channels" : "one head", precond,
                   json_string_value(json_object_get(out->network, "attention_layout")));
    if (!out->network || !out->precond) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}
