/* diffusers_names.c - the walk through both networks at once. */
#include "io/diffusers_names.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the list --------------------------------------------------------------------------- */

typedef struct {
    char text[CM_DIFFUSERS_NAME];
} stem;

static stem stem_of(const char *format, ...) CM_PRINTF(1, 2);
static stem stem_of(const char *format, ...)
{
    stem s;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(s.text, sizeof s.text, format, args);
    va_end(args);
    return s;
}

static cm_status add(cm_diffusers_names *n, const char *adm, const char *diffusers, int part)
{
    cm_diffusers_name *list = cmi_grown(n->context, n->list, sizeof *list, n->count, &n->capacity);
    if (!list) return CM_ERR_MEMORY;
    n->list = list;
    cm_diffusers_name *e = &list[n->count++];
    (void)snprintf(e->adm, sizeof e->adm, "%s", adm);
    (void)snprintf(e->diffusers, sizeof e->diffusers, "%s", diffusers);
    e->part = part;
    return CM_OK;
}

static cm_status add_within(cm_diffusers_names *n, stem adm, stem diffusers, const char *const (*leaves)[2],
                            const int *parts, int count)
{
    for (int i = 0; i < count; i++)
        CM_TRY(add(n, stem_of("%.40s.%s", adm.text, leaves[i][0]).text,
                   stem_of("%.40s.%s", diffusers.text, leaves[i][1]).text, parts ? parts[i] : -1));
    return CM_OK;
}

static cm_status add_block(cm_diffusers_names *n, stem adm, stem diffusers)
{
    static const char *const leaves[][2] = {{"in_layers.0", "norm1"},          {"in_layers.2", "conv1"},
                                            {"emb_layers.1", "time_emb_proj"}, {"out_layers.0", "norm2"},
                                            {"out_layers.3", "conv2"},         {"skip_connection", "conv_shortcut"}};
    return add_within(n, adm, diffusers, leaves, NULL, sizeof leaves / sizeof *leaves);
}

static cm_status add_attention(cm_diffusers_names *n, stem adm, stem diffusers)
{
    static const char *const leaves[][2] = {
        {"norm", "group_norm"}, {"qkv", "to_q"}, {"qkv", "to_k"}, {"qkv", "to_v"}, {"proj_out", "to_out.0"}};
    static const int parts[] = {-1, 0, 1, 2, -1};
    return add_within(n, adm, diffusers, leaves, parts, sizeof leaves / sizeof *leaves);
}

static cm_status add_ends(cm_diffusers_names *n)
{
    static const char *const ends[][2] = {{"time_embed.0", "time_embedding.linear_1"},
                                          {"time_embed.2", "time_embedding.linear_2"},
                                          {"label_emb", "class_embedding"},
                                          {"input_blocks.0.0", "conv_in"},
                                          {"out.0", "conv_norm_out"},
                                          {"out.2", "conv_out"}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) CM_TRY(add(n, ends[i][0], ends[i][1], -1));
    CM_TRY(add_block(n, stem_of("middle_block.0"), stem_of("mid_block.resnets.0")));
    CM_TRY(add_attention(n, stem_of("middle_block.1"), stem_of("mid_block.attentions.0")));
    return add_block(n, stem_of("middle_block.2"), stem_of("mid_block.resnets.1"));
}

/* A level of the encoder has an entry for each block and one that makes pictures smaller. */
static cm_status add_down(cm_diffusers_names *n, const cm_diffusers_layout *l, int i)
{
    int k = 1 + i * (l->blocks + 1);
    for (int j = 0; j < l->blocks; j++, k++) {
        CM_TRY(add_block(n, stem_of("input_blocks.%d.0", k), stem_of("down_blocks.%d.resnets.%d", i, j)));
        if (l->attends[i])
            CM_TRY(add_attention(n, stem_of("input_blocks.%d.1", k), stem_of("down_blocks.%d.attentions.%d", i, j)));
    }
    if (i == l->levels - 1) return CM_OK;
    return add_block(n, stem_of("input_blocks.%d.0", k), stem_of("down_blocks.%d.downsamplers.0", i));
}

/* One of the decoder, counted from the coarsest, has a block more, and its last entry also makes pictures larger. */
static cm_status add_up(cm_diffusers_names *n, const cm_diffusers_layout *l, int i)
{
    int k = i * (l->blocks + 1), attends = l->attends[l->levels - 1 - i];
    for (int j = 0; j <= l->blocks; j++, k++) {
        CM_TRY(add_block(n, stem_of("output_blocks.%d.0", k), stem_of("up_blocks.%d.resnets.%d", i, j)));
        if (attends)
            CM_TRY(add_attention(n, stem_of("output_blocks.%d.1", k), stem_of("up_blocks.%d.attentions.%d", i, j)));
    }
    if (i == l->levels - 1) return CM_OK;
    return add_block(n, stem_of("output_blocks.%d.%d", k - 1, attends ? 2 : 1),
                     stem_of("up_blocks.%d.upsamplers.0", i));
}

static int by_adm_name(const void *a, const void *b)
{
    const cm_diffusers_name *x = a, *y = b;
    int order = strcmp(x->adm, y->adm);
    return order ? order : x->part - y->part;
}

static int by_diffusers_name(const void *a, const void *b)
{
    return strcmp(((const cm_diffusers_name *)a)->diffusers, ((const cm_diffusers_name *)b)->diffusers);
}

static cm_status add_all(cm_diffusers_names *n, const cm_diffusers_layout *l)
{
    CM_TRY(add_ends(n));
    for (int i = 0; i < l->levels; i++) {
        CM_TRY(add_down(n, l, i));
        CM_TRY(add_up(n, l, i));
    }
    return CM_OK;
}

cm_status cmi_diffusers_names_make(cm_context *context, const cm_diffusers_layout *layout, int by_adm,
                                   cm_diffusers_names *out)
{
    memset(out, 0, sizeof *out);
    out->context = context;
    cm_status status = add_all(out, layout);
    if (status != CM_OK) cmi_diffusers_names_free(out);
    else qsort(out->list, out->count, sizeof *out->list, by_adm ? by_adm_name : by_diffusers_name);
    return status;
}

void cmi_diffusers_names_free(cm_diffusers_names *n)
{
    if (n->context) cmi_free(n->context, n->list);
    memset(n, 0, sizeof *n);
}

/* --- looking up ------------------------------------------------------------------------- */

static const char *suffix_of(const char *name)
{
    static const char *const suffixes[] = {".weight", ".bias"};
    size_t n = strlen(name);
    for (int i = 0; i < 2; i++) {
        size_t m = strlen(suffixes[i]);
        if (n > m && strcmp(name + n - m, suffixes[i]) == 0) return name + n - m;
    }
    return NULL;
}

/* Attention has had other names. */
static void modernise(char text[CM_DIFFUSERS_NAME])
{
    static const char *const old[][2] = {
        {".query", ".to_q"}, {".key", ".to_k"}, {".value", ".to_v"}, {".proj_attn", ".to_out.0"}};
    char *last = strrchr(text, '.');
    for (size_t i = 0; last && i < sizeof old / sizeof *old; i++)
        if (strcmp(last, old[i][0]) == 0) {
            size_t at = (size_t)(last - text);
            (void)snprintf(text + at, CM_DIFFUSERS_NAME - at, "%s", old[i][1]);
            return;
        }
}

const cm_diffusers_name *cmi_diffusers_names_find(const cm_diffusers_names *n, int by_adm, const char *name,
                                                  const char **suffix)
{
    size_t low = 0, high = n->count;
    char wanted[CM_DIFFUSERS_NAME];
    *suffix = suffix_of(name);
    if (!*suffix || (size_t)(*suffix - name) >= sizeof wanted) return NULL;
    (void)snprintf(wanted, sizeof wanted, "%.*s", (int)(*suffix - name), name);
    if (!by_adm) modernise(wanted);
    while (low < high) { /* the first that is not before it */
        size_t middle = low + (high - low) / 2;
        const cm_diffusers_name *e = &n->list[middle];
        if (strcmp(by_adm ? e->adm : e->diffusers, wanted) < 0) low = middle + 1;
        else high = middle;
    }
    if (low == n->count) return NULL;
    const cm_diffusers_name *e = &n->list[low];
    return strcmp(by_adm ? e->adm : e->diffusers, wanted) == 0 ? e : NULL;
}
