/* config.c - the argument tables of the three networks. */
#include "nets/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hint.h"

/* --- the reader ----------------------------------------------------------- */

static cm_status wrong(const char *what, const cm_field *f, const char *expected)
{
    CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' has to be %s", what, f->name, expected);
}

static cm_status read_int(const char *what, const cm_field *f, const json_t *v, int32_t *out)
{
    double d = json_number_value(v);
    if (!json_is_number(v) || d != floor(d)) return wrong(what, f, "an integer");
    if (d < f->low || d > f->high)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is %g, expected %g..%g", what, f->name, d, f->low, f->high);
    *out = (int32_t)d;
    return CM_OK;
}

static cm_status read_number(const char *what, const cm_field *f, const json_t *v, double *out)
{
    double d = json_number_value(v);
    if (!json_is_number(v)) return wrong(what, f, "a number");
    if (!(d >= f->low && d <= f->high))
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is %g, expected %g..%g", what, f->name, d, f->low, f->high);
    *out = d;
    return CM_OK;
}

static cm_status read_bool(const char *what, const cm_field *f, const json_t *v, int32_t *out)
{
    if (json_is_boolean(v)) *out = json_is_true(v);
    else if (json_is_integer(v) && (json_integer_value(v) == 0 || json_integer_value(v) == 1))
        *out = (int32_t)json_integer_value(v);
    else return wrong(what, f, "true or false");
    return CM_OK;
}

static cm_status read_choice(const char *what, const cm_field *f, const json_t *v, int32_t *out)
{
    const char *text = json_string_value(v);
    char list[256] = "", hint[CM_HINT_SIZE];
    if (!text) return wrong(what, f, "a string");
    for (int32_t i = 0; f->choices[i]; i++) {
        if (strcmp(text, f->choices[i]) == 0) {
            *out = i;
            return CM_OK;
        }
        if (strlen(list) + strlen(f->choices[i]) + 3 < sizeof list) {
            if (i) strcat(list, ", ");
            strcat(list, f->choices[i]);
        }
    }
    (void)cm_name_hint(text, f->choices, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is \"%.64s\", expected one of %s%s", what, f->name, text, list, hint);
}

static cm_status read_list(const char *what, const cm_field *f, const json_t *v, unsigned char *out)
{
    size_t n = json_array_size(v);
    cm_field element = *f;
    int32_t *count = (int32_t *)(void *)(out + f->count);
    element.low = f->kind == CM_FIELD_INTS ? 1 : 0;
    element.high = 65536;
    if (!json_is_array(v)) return wrong(what, f, "a list of numbers");
    if (n > (size_t)f->high)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' has %zu entries, at most %g are supported", what, f->name, n,
                f->high);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(v, i);
        if (f->kind == CM_FIELD_INTS) CM_TRY(read_int(what, &element, e, (int32_t *)(void *)(out + f->offset) + i));
        else CM_TRY(read_number(what, &element, e, (double *)(void *)(out + f->offset) + i));
    }
    *count = (int32_t)n;
    return CM_OK;
}

static cm_status read_field(const char *what, const cm_field *f, const json_t *v, unsigned char *out)
{
    void *to = out + f->offset;
    switch (f->kind) {
    case CM_FIELD_INT: return read_int(what, f, v, to);
    case CM_FIELD_BOOL: return read_bool(what, f, v, to);
    case CM_FIELD_NUMBER: return read_number(what, f, v, to);
    case CM_FIELD_CHOICE: return read_choice(what, f, v, to);
    case CM_FIELD_INTS:
    case CM_FIELD_NUMBERS: return read_list(what, f, v, out);
    case CM_FIELD_IGNORED: break;
    }
    return CM_OK;
}

static cm_status unknown(const char *what, const char *key, const cm_field *fields, size_t n)
{
    enum { MOST = 32 };
    const char *names[MOST + 1] = {NULL};
    char hint[CM_HINT_SIZE];
    for (size_t i = 0; i < n && i < MOST; i++) names[i] = fields[i].name;
    (void)cm_name_hint(key, names, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_FORMAT, "%s: unknown argument '%.64s'%s", what, key, hint);
}

cm_status cm_fields_read(const char *what, const json_t *object, const cm_field *fields, size_t n, void *out)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) CM_FAIL(CM_ERR_FORMAT, "%s: expected a JSON object", what);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(fields[i].name, key) != 0) i++;
        if (i == n) return unknown(what, key, fields, n);
        if (!json_is_null(value)) CM_TRY(read_field(what, &fields[i], value, out));
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(object, fields[i].name);
        if (fields[i].required && (!v || json_is_null(v)))
            CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is missing and has no default", what, fields[i].name);
    }
    return CM_OK;
}

/* --- the tables ------------------------------------------------------------ */

#define AT(member) offsetof(cm_net_config, member)
#define INT(name, member, low, high, required)                                                                       \
    {                                                                                                                \
        name, CM_FIELD_INT, AT(member), 0, low, high, NULL, required                                                 \
    }
#define BOOL(name, member)                                                                                           \
    {                                                                                                                \
        name, CM_FIELD_BOOL, AT(member), 0, 0, 0, NULL, 0                                                            \
    }
#define NUMBER(name, member, low, high)                                                                              \
    {                                                                                                                \
        name, CM_FIELD_NUMBER, AT(member), 0, low, high, NULL, 0                                                     \
    }
#define CHOICE(name, member, choices)                                                                                \
    {                                                                                                                \
        name, CM_FIELD_CHOICE, AT(member), 0, 0, 0, choices, 0                                                       \
    }
#define IGNORED(name)                                                                                                \
    {                                                                                                                \
        name, CM_FIELD_IGNORED, 0, 0, 0, 0, NULL, 0                                                                  \
    }

static const char *const type_names[] = {"adm", "songunet", "dhariwal", NULL};
static const char *const model_types[] = {"ADM", "SongUNet", "DhariwalUNet", NULL};
static const char *const layouts[] = {"qkv", "per_head", NULL};
static const char *const embeddings[] = {"positional", "fourier", NULL};
static const char *const encoders[] = {"standard", "skip", "residual", NULL};
static const char *const decoders[] = {"standard", "skip", NULL};

static const cm_field adm_fields[] = {
    CHOICE("type", type, type_names),
    INT("image_size", resolution, 1, 65536, 1),
    INT("in_channels", in_channels, 1, 1024, 1),
    INT("out_channels", out_channels, 1, 1024, 1),
    INT("model_channels", model_channels, 1, 16384, 1),
    INT("num_res_blocks", num_blocks, 1, 64, 1),
    {"attention_resolutions", CM_FIELD_INTS, AT(attn), AT(n_attn), 0, 2 * CM_NET_LEVELS, NULL, 1},
    {"channel_mult", CM_FIELD_NUMBERS, AT(channel_mult), AT(levels), 0, CM_NET_LEVELS, NULL, 0},
    NUMBER("dropout", dropout, 0, 1),
    BOOL("conv_resample", conv_resample),
    INT("num_classes", num_classes, 1, 1 << 24, 0),
    INT("num_heads", num_heads, 1, 65536, 0),
    INT("num_head_channels", num_head_channels, -1, 65536, 0),
    INT("num_heads_upsample", num_heads_upsample, -1, 65536, 0),
    BOOL("use_scale_shift_norm", scale_shift),
    BOOL("resblock_updown", updown),
    CHOICE("attention_layout", attention_layout, layouts),
    INT("dims", dims, 2, 2, 0),
    IGNORED("use_fp16"),
    IGNORED("use_checkpoint"),
};

/* SongUNet and DhariwalUNet share these; the last six are SongUNet's. */
static const cm_field edm_fields[] = {
    CHOICE("type", type, type_names),
    CHOICE("model_type", model_type, model_types),
    INT("img_resolution", resolution, 1, 65536, 1),
    INT("in_channels", in_channels, 1, 1024, 0),
    INT("out_channels", out_channels, 1, 1024, 0),
    INT("img_channels", img_channels, 1, 1024, 0),
    INT("label_dim", num_classes, 0, 1 << 24, 0),
    INT("augment_dim", augment_dim, 0, 1024, 0),
    INT("model_channels", model_channels, 1, 16384, 0),
    {"channel_mult", CM_FIELD_NUMBERS, AT(channel_mult), AT(levels), 0, CM_NET_LEVELS, NULL, 0},
    INT("channel_mult_emb", channel_mult_emb, 1, 64, 0),
    INT("num_blocks", num_blocks, 1, 64, 0),
    {"attn_resolutions", CM_FIELD_INTS, AT(attn), AT(n_attn), 0, 2 * CM_NET_LEVELS, NULL, 0},
    NUMBER("dropout", dropout, 0, 1),
    NUMBER("label_dropout", label_dropout, 0, 1),
    IGNORED("use_fp16"),
    CHOICE("embedding_type", embedding, embeddings),
    INT("channel_mult_noise", channel_mult_noise, 1, 64, 0),
    CHOICE("encoder_type", encoder, encoders),
    CHOICE("decoder_type", decoder, decoders),
    {"resample_filter", CM_FIELD_NUMBERS, AT(filter), AT(n_filter), 0, CM_FIR_MAX, NULL, 0},
    NUMBER("fourier_scale", fourier_scale, 0, 1e6),
};
enum { SONG_ONLY = 6, EDM_FIELDS = sizeof edm_fields / sizeof *edm_fields };

static void set_list(double *to, int32_t *count, const double *from, int32_t n)
{
    memcpy(to, from, (size_t)n * sizeof *to);
    *count = n;
}

static void set_defaults(int type, cm_net_config *c)
{
    static const double mult[3][4] = {{1, 2, 4, 8}, {1, 2, 2, 2}, {1, 2, 3, 4}};
    memset(c, 0, sizeof *c);
    c->type = c->model_type = type;
    set_list(c->channel_mult, &c->levels, mult[type], 4);
    c->num_heads = 1;
    c->num_head_channels = c->num_heads_upsample = -1;
    c->conv_resample = 1;
    c->channel_mult_emb = 4;
    c->channel_mult_noise = 1;
    c->filter[0] = c->filter[1] = 1;
    c->n_filter = 2;
    c->fourier_scale = 16;
    if (type == CM_NET_ADM) return;
    c->dropout = 0.10;
    c->model_channels = type == CM_NET_SONGUNET ? 128 : 192;
    c->num_blocks = type == CM_NET_SONGUNET ? 4 : 3;
    c->attn[0] = type == CM_NET_SONGUNET ? 16 : 32;
    c->attn[1] = 16;
    c->attn[2] = 8;
    c->n_attn = type == CM_NET_SONGUNET ? 1 : 3;
}

static cm_status check(const char *what, const cm_net_config *c)
{
    double sum = 0;
    if (c->levels < 1) CM_FAIL(CM_ERR_FORMAT, "%s: argument 'channel_mult' is empty", what);
    for (int i = 0; i < c->levels; i++) {
        double width = c->channel_mult[i] * c->model_channels;
        if (!(width >= 1 && width <= 65536) || (c->type != CM_NET_ADM && width != floor(width)))
            CM_FAIL(CM_ERR_FORMAT, "%s: level %d has channel_mult %g x model_channels %d = %g channels", what, i,
                    c->channel_mult[i], c->model_channels, width);
    }
    for (int i = 0; i < c->n_filter; i++) sum += c->filter[i];
    if (c->n_filter < 2 || !(sum > 0))
        CM_FAIL(CM_ERR_FORMAT, "%s: argument 'resample_filter' needs at least two taps with a positive sum", what);
    return CM_OK;
}

/* img_channels may stand for both counts. */
static cm_status join_channels(const char *what, cm_net_config *c)
{
    if (!c->in_channels) c->in_channels = c->img_channels;
    if (!c->out_channels) c->out_channels = c->img_channels;
    if (!c->in_channels || !c->out_channels)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is missing and has no default (img_channels may stand for both)",
                what, c->in_channels ? "out_channels" : "in_channels");
    if (c->img_channels && c->img_channels != c->in_channels)
        CM_FAIL(CM_ERR_FORMAT, "%s: img_channels is %d but in_channels %d", what, c->img_channels, c->in_channels);
    return CM_OK;
}

static cm_status read_edm(const char *what, const json_t *network, cm_net_config *c)
{
    size_t n = EDM_FIELDS - (c->type == CM_NET_DHARIWAL ? SONG_ONLY : 0);
    CM_TRY(cm_fields_read(what, network, edm_fields, n, c));
    if (c->model_type != c->type)
        CM_FAIL(CM_ERR_FORMAT, "%s: model_type \"%s\" contradicts type \"%s\"", what, model_types[c->model_type],
                type_names[c->type]);
    if (json_object_get(network, "fourier_scale") && c->embedding != CM_EMBEDDING_FOURIER)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument 'fourier_scale' has no effect on embedding_type \"%s\"", what,
                embeddings[c->embedding]);
    return join_channels(what, c);
}

cm_status cm_net_config_read(const json_t *network, cm_net_config *out)
{
    static const char what[] = "consistency.network";
    static const cm_field type_field = CHOICE("type", type, type_names);
    cm_net_config type = {0};
    const json_t *v = json_object_get(network, "type");
    if (!json_is_object(network)) CM_FAIL(CM_ERR_FORMAT, "%s: expected a JSON object", what);
    if (!v) CM_FAIL(CM_ERR_FORMAT, "%s: argument 'type' is missing (adm, songunet or dhariwal)", what);
    CM_TRY(read_field(what, &type_field, v, (unsigned char *)&type));
    set_defaults(type.type, out);
    if (out->type == CM_NET_ADM) {
        if (json_object_get(network, "use_new_attention_order"))
            CM_FAIL(CM_ERR_FORMAT,
                    "%s: argument 'use_new_attention_order' is not used in native files: say "
                    "\"attention_layout\": \"per_head\" (guided-diffusion's false) or \"qkv\" (its true, and all of "
                    "openai/consistency_models)",
                    what);
        CM_TRY(cm_fields_read(what, network, adm_fields, sizeof adm_fields / sizeof *adm_fields, out));
    } else {
        CM_TRY(read_edm(what, network, out));
    }
    return check(what, out);
}

const char *cm_net_type_name(int type)
{
    return type_names[type];
}

/* --- two networks ------------------------------------------------------------ */

/* A field's value as it is written in JSON. */
static void show_field(const cm_net_config *c, const cm_field *f, char *out, size_t size)
{
    const unsigned char *base = (const unsigned char *)c;
    int32_t n = 1, i;
    double d;
    size_t at = 0;
    int list = f->kind == CM_FIELD_INTS || f->kind == CM_FIELD_NUMBERS;
    memcpy(&i, base + f->offset, sizeof i);
    if (f->kind == CM_FIELD_CHOICE) (void)snprintf(out, size, "\"%s\"", f->choices[i]);
    else if (f->kind == CM_FIELD_BOOL) (void)snprintf(out, size, "%s", i ? "true" : "false");
    if (f->kind == CM_FIELD_CHOICE || f->kind == CM_FIELD_BOOL) return;
    if (list) memcpy(&n, base + f->count, sizeof n);
    if (list) at += (size_t)snprintf(out, size, "[");
    for (int32_t k = 0; k < n && at < size; k++) {
        if (f->kind == CM_FIELD_NUMBER || f->kind == CM_FIELD_NUMBERS)
            memcpy(&d, base + f->offset + (size_t)k * sizeof d, sizeof d);
        else memcpy(&i, base + f->offset + (size_t)k * sizeof i, sizeof i), d = i;
        at += (size_t)snprintf(out + at, size - at, "%s%g", k ? ", " : "", d);
    }
    if (list && at < size) (void)snprintf(out + at, size - at, "]");
}

/* What decides neither tensors nor the function they are used in. */
static int is_training(const cm_field *f)
{
    return f->kind == CM_FIELD_IGNORED || f->offset == AT(dropout) || f->offset == AT(label_dropout) ||
           f->offset == AT(fourier_scale) || f->offset == AT(img_channels) || f->offset == AT(model_type);
}

int cm_net_config_differences(const cm_net_config *a, const cm_net_config *b, const char *of_a, const char *of_b,
                              char *text, size_t size)
{
    const cm_field *fields = a->type == CM_NET_ADM ? adm_fields : edm_fields;
    size_t n = a->type == CM_NET_ADM ? sizeof adm_fields / sizeof *adm_fields
                                     : EDM_FIELDS - (a->type == CM_NET_DHARIWAL ? SONG_ONLY : 0);
    int found = 0;
    size_t at = 0;
    text[0] = '\0';
    if (a->type != b->type) n = 1; /* no other argument means the same */
    for (size_t i = 0; i < n; i++) {
        char left[256], right[256];
        if (is_training(&fields[i])) continue;
        show_field(a, &fields[i], left, sizeof left);
        show_field(b, &fields[i], right, sizeof right);
        if (strcmp(left, right) == 0) continue;
        if (at < size)
            at += (size_t)snprintf(text + at, size - at, "%s%s is %s%s and %s%s", found ? "; " : "", fields[i].name,
                                   left, of_a, right, of_b);
        found++;
    }
    return found;
}
