/* diffusers_config.c - the arguments of UNet2DModel and of its scheduler: what may vary, what has to be as ADM has
 * it, and what diffusers takes where an argument is absent. */
#include "io/diffusers_config.h"

#include <math.h>
#include <string.h>

/* --- members ---------------------------------------------------------------------------- */

static cm_status check_class(const char *what, const json_t *object, const char *expected)
{
    if (!json_is_object(object)) CM_FAIL(CM_ERR_FORMAT, "%s: expected a JSON object", what);
    const char *name = json_string_value(json_object_get(object, "_class_name"));
    if (!name) CM_FAIL(CM_ERR_FORMAT, "%s: _class_name is missing or not a string", what);
    if (strcmp(name, expected) != 0)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: its class is %.64s; of diffusers' this library has %s", what, name,
                expected);
    return CM_OK;
}

/* A whole number in [low, high]; absent is `fallback`, which 0 makes an error. */
static cm_status read_int(const char *what, const json_t *object, const char *key, int64_t low, int64_t high,
                          int64_t fallback, int64_t *out)
{
    const json_t *v = json_object_get(object, key);
    *out = fallback;
    if (!v && fallback) return CM_OK;
    if (!json_is_integer(v) || json_integer_value(v) < low || json_integer_value(v) > high)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' %s, expected a whole number %lld..%lld", what, key,
                v ? "is another thing" : "is missing", (long long)low, (long long)high);
    *out = json_integer_value(v);
    return CM_OK;
}

static cm_status read_number(const char *what, const json_t *object, const char *key, double fallback, double *out)
{
    const json_t *v = json_object_get(object, key);
    *out = v ? json_number_value(v) : fallback;
    if ((v && !json_is_number(v)) || !(*out >= 0 && *out < 1e9))
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is not a number from 0 to 1e9", what, key);
    return CM_OK;
}

/* A list of `count` elements (0: any number of levels). */
static cm_status read_list(const char *what, const json_t *object, const char *key, size_t count, const json_t **out)
{
    *out = json_object_get(object, key);
    size_t n = json_array_size(*out);
    if (!json_is_array(*out) || n < 1 || n > CM_DIFFUSERS_LEVELS || (count && n != count))
        CM_FAIL(CM_ERR_FORMAT, "%s: argument '%s' is not a list of %zu..%zu elements", what, key, count ? count : 1,
                count ? count : (size_t)CM_DIFFUSERS_LEVELS);
    return CM_OK;
}

/* --- arguments that have to be as ADM has them -------------------------------------------- */

typedef struct {
    const char *name;
    char kind; /* b(ool), n(umber), s(tring) */
    double number;
    const char *text, *other; /* `other` means the same */
    int needed;               /* diffusers' own default is another one */
} fixed;

static const fixed arguments[] = {
    {"center_input_sample", 'b', 0, NULL, NULL, 0},
    {"time_embedding_type", 's', 0, "positional", NULL, 0},
    {"freq_shift", 'n', 0, NULL, NULL, 0},
    {"flip_sin_to_cos", 'b', 1, NULL, NULL, 0},
    {"mid_block_type", 's', 0, "UNetMidBlock2D", NULL, 0},
    {"mid_block_scale_factor", 'n', 1, NULL, NULL, 0},
    {"downsample_type", 's', 0, "resnet", NULL, 1},
    {"upsample_type", 's', 0, "resnet", NULL, 1},
    {"act_fn", 's', 0, "silu", "swish", 0},
    {"norm_num_groups", 'n', 32, NULL, NULL, 0},
    {"norm_eps", 'n', 1e-5, NULL, NULL, 0},
    {"add_attention", 'b', 1, NULL, NULL, 0},
};

/* Arguments that are read elsewhere, and those without an effect on such a network. */
static const char *const known[] = {"sample_size",        "in_channels",          "out_channels",
                                    "time_embedding_dim", "down_block_types",     "up_block_types",
                                    "block_out_channels", "layers_per_block",     "dropout",
                                    "attention_head_dim", "attn_norm_num_groups", "resnet_time_scale_shift",
                                    "num_class_embeds",   "downsample_padding",   "num_train_timesteps"};

static int is_as_needed(const fixed *f, const json_t *v)
{
    if (f->kind == 'b') return json_is_boolean(v) && json_is_true(v) == (f->number > 0);
    if (f->kind == 'n') return json_is_number(v) && fabs(json_number_value(v) - f->number) <= 1e-9 * f->number;
    const char *text = json_string_value(v);
    return text && (strcmp(text, f->text) == 0 || (f->other && strcmp(text, f->other) == 0));
}

static cm_status refuse_argument(const char *what, const char *key, const json_t *value)
{
    char shown[96] = "absent";
    size_t n = value ? json_dumpb(value, shown, sizeof shown - 1, JSON_ENCODE_ANY | JSON_COMPACT) : 6;
    if (n >= sizeof shown) n = 0; /* too long to show */
    shown[n] = '\0';
    CM_FAIL(CM_ERR_UNSUPPORTED, "%s: the network adm has no argument '%.64s' that is %s", what, key,
            n ? shown : "what it is here");
}

static cm_status check_fixed(const char *what, const json_t *unet)
{
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        const json_t *v = json_object_get(unet, arguments[i].name);
        if (v ? !is_as_needed(&arguments[i], v) : arguments[i].needed)
            return refuse_argument(what, arguments[i].name, v);
    }
    return CM_OK;
}

static int is_known(const char *key)
{
    if (key[0] == '_') return 1; /* diffusers' own notes */
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
        if (strcmp(key, arguments[i].name) == 0) return 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(key, known[i]) == 0) return 1;
    return 0;
}

/* An argument of a later version may change what is computed, unless it is off. */
static cm_status check_unknown(const char *what, const json_t *unet)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)unet, key, value)
    {
        if (!is_known(key) && !json_is_null(value) && !json_is_false(value)) return refuse_argument(what, key, value);
    }
    return CM_OK;
}

/* --- levels --------------------------------------------------------------------------------- */

/* 1 with attention, 0 without; -1 for blocks that ADM does not have. */
static int kind_of_block(const char *type, const char *attending, const char *plain)
{
    return !type ? -1 : strcmp(type, attending) == 0 ? 1 : strcmp(type, plain) == 0 ? 0 : -1;
}

static cm_status read_blocks(const char *what, const json_t *unet, cm_diffusers_layout *l)
{
    const json_t *down, *up;
    CM_TRY(read_list(what, unet, "down_block_types", (size_t)l->levels, &down));
    CM_TRY(read_list(what, unet, "up_block_types", (size_t)l->levels, &up));
    for (int i = 0; i < l->levels; i++) {
        const json_t *d = json_array_get(down, (size_t)i), *u = json_array_get(up, (size_t)(l->levels - 1 - i));
        int in = kind_of_block(json_string_value(d), "AttnDownBlock2D", "ResnetDownsampleBlock2D");
        int out = kind_of_block(json_string_value(u), "AttnUpBlock2D", "ResnetUpsampleBlock2D");
        if (in < 0) return refuse_argument(what, "down_block_types", d);
        if (out < 0) return refuse_argument(what, "up_block_types", u);
        if (in != out)
            CM_FAIL(CM_ERR_UNSUPPORTED,
                    "%s: level %d has attention in one of down_block_types and up_block_types alone; the network "
                    "adm has it in both or none",
                    what, i);
        l->attends[i] = in;
    }
    return CM_OK;
}

/* width = (int)(multiple * width of the first level), which the quotient may miss by a rounding. */
static json_t *multiple(int64_t width, int64_t first)
{
    double m = (double)width / (double)first;
    if (width % first == 0) return json_integer(width / first);
    if ((int64_t)(m * (double)first) != width) m += 1e-12;
    return json_real(m);
}

static cm_status read_widths(const char *what, const json_t *unet, cm_diffusers_config *c)
{
    const json_t *widths;
    int64_t first = json_integer_value(json_array_get(json_object_get(unet, "block_out_channels"), 0));
    json_t *mult = json_array(), *rates = json_array();
    int failed = json_object_set_new(c->network, "channel_mult", mult);
    failed |= json_object_set_new(c->network, "attention_resolutions", rates);
    CM_TRY(read_list(what, unet, "block_out_channels", 0, &widths));
    for (int i = 0; i < c->layout.levels; i++) {
        const json_t *w = json_array_get(widths, (size_t)i);
        if (!json_is_integer(w) || json_integer_value(w) < 1 || json_integer_value(w) > 65536)
            CM_FAIL(CM_ERR_FORMAT, "%s: argument 'block_out_channels' holds another thing than numbers 1..65536",
                    what);
        failed |= json_array_append_new(mult, multiple(json_integer_value(w), first));
        if (c->layout.attends[i]) failed |= json_array_append_new(rates, json_integer(1 << i));
    }
    failed |= json_object_set_new(c->network, "model_channels", json_integer(first));
    if (failed) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

static cm_status read_levels(const char *what, const json_t *unet, cm_diffusers_config *c)
{
    const json_t *widths;
    int64_t blocks;
    CM_TRY(read_list(what, unet, "block_out_channels", 0, &widths));
    CM_TRY(read_int(what, unet, "layers_per_block", 1, CM_DIFFUSERS_BLOCKS, 2, &blocks));
    c->layout.levels = (int)json_array_size(widths);
    c->layout.blocks = (int)blocks;
    CM_TRY(read_blocks(what, unet, &c->layout));
    return read_widths(what, unet, c);
}

/* --- the network ------------------------------------------------------------------------------ */

static cm_status set_int(json_t *object, const char *key, int64_t value)
{
    if (json_object_set_new(object, key, json_integer(value)) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

/* "scale_shift" without attn_norm_num_groups leaves out the norm before the attention in the middle. */
static cm_status read_shift(const char *what, const json_t *unet, cm_diffusers_config *c)
{
    const json_t *shift = json_object_get(unet, "resnet_time_scale_shift");
    const json_t *groups = json_object_get(unet, "attn_norm_num_groups");
    const char *text = shift ? json_string_value(shift) : "default";
    int scales = text && strcmp(text, "scale_shift") == 0;
    if (!text || (!scales && strcmp(text, "default") != 0))
        return refuse_argument(what, "resnet_time_scale_shift", shift);
    if (groups && !json_is_null(groups) ? json_integer_value(groups) != 32 : scales)
        return refuse_argument(what, "attn_norm_num_groups", groups);
    if (json_object_set_new(c->network, "use_scale_shift_norm", json_boolean(scales)) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

/* Channels of a head; null is one head of all channels. */
static cm_status read_heads(const char *what, const json_t *unet, cm_diffusers_config *c)
{
    int64_t channels;
    if (json_is_null(json_object_get(unet, "attention_head_dim"))) return set_int(c->network, "num_heads", 1);
    CM_TRY(read_int(what, unet, "attention_head_dim", 1, 65536, 8, &channels));
    return set_int(c->network, "num_head_channels", channels);
}

static cm_status read_classes(const char *what, const json_t *unet, cm_diffusers_config *c)
{
    const json_t *type = json_object_get(unet, "class_embed_type");
    int64_t classes = 0;
    if (type && !json_is_null(type)) return refuse_argument(what, "class_embed_type", type);
    const json_t *v = json_object_get(unet, "num_class_embeds");
    if (v && !json_is_null(v)) {
        CM_TRY(read_int(what, unet, "num_class_embeds", 1, 1 << 24, 0, &classes));
        CM_TRY(set_int(c->network, "num_classes", classes));
    }
    return CM_OK;
}

/* sample_size: a side, two of them, or nothing. */
static cm_status read_size(const char *what, const json_t *unet, cm_diffusers_config *c)
{
    const json_t *size = json_object_get(unet, "sample_size");
    const json_t *h = json_is_array(size) ? json_array_get(size, 0) : size;
    const json_t *w = json_is_array(size) ? json_array_get(size, 1) : size;
    json_t *nothing = NULL;
    if (!size || json_is_null(size)) {
        h = w = nothing = json_integer(8 << (c->layout.levels - 1));
        c->assumed_size = 1;
    }
    int good = json_is_integer(h) && json_is_integer(w) && (!json_is_array(size) || json_array_size(size) == 2);
    int64_t height = json_integer_value(h), width = json_integer_value(w);
    json_decref(nothing);
    if (!good || height < 1 || width < 1 || height > 65536 || width > 65536)
        CM_FAIL(CM_ERR_FORMAT, "%s: argument 'sample_size' is not a number 1..65536 or a list of two", what);
    CM_TRY(set_int(c->network, "image_size", height > width ? height : width));
    CM_TRY(set_int(c->image, "height", height));
    return set_int(c->image, "width", width);
}

static cm_status read_rest(const char *what, const json_t *unet, cm_diffusers_config *c)
{
    int64_t in, out, blocks = c->layout.blocks, first, wide;
    double dropout;
    CM_TRY(read_int(what, unet, "in_channels", 1, 1024, 3, &in));
    CM_TRY(read_int(what, unet, "out_channels", 1, 1024, 3, &out));
    CM_TRY(read_number(what, unet, "dropout", 0, &dropout));
    first = json_integer_value(json_object_get(c->network, "model_channels"));
    const json_t *width = json_object_get(unet, "time_embedding_dim");
    wide = width && !json_is_null(width) ? json_integer_value(width) : 4 * first;
    if (wide != 4 * first && wide != 0) return refuse_argument(what, "time_embedding_dim", width);
    CM_TRY(set_int(c->network, "in_channels", in));
    CM_TRY(set_int(c->network, "out_channels", out));
    CM_TRY(set_int(c->network, "num_res_blocks", blocks));
    CM_TRY(set_int(c->image, "channels", in));
    if (dropout > 0 && json_object_set_new(c->network, "dropout", json_real(dropout)) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

cm_status cmi_diffusers_read_unet(const char *what, const json_t *unet, cm_diffusers_config *c)
{
    memset(c, 0, sizeof *c);
    CM_TRY(check_class(what, unet, CM_DIFFUSERS_UNET_CLASS));
    CM_TRY(check_fixed(what, unet));
    CM_TRY(check_unknown(what, unet));
    c->network = json_pack("{s:s, s:b}", "type", "adm", "resblock_updown", 1);
    c->image = json_object();
    if (!c->network || !c->image) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    CM_TRY(read_levels(what, unet, c));
    CM_TRY(read_rest(what, unet, c));
    CM_TRY(read_shift(what, unet, c));
    CM_TRY(read_heads(what, unet, c));
    CM_TRY(read_classes(what, unet, c));
    return read_size(what, unet, c);
}

/* --- the scheduler and the pipeline ------------------------------------------------------------ */

cm_status cmi_diffusers_read_scheduler(const char *what, const json_t *scheduler, cm_diffusers_config *c)
{
    double low, high, data;
    if (scheduler) {
        CM_TRY(check_class(what, scheduler, CM_DIFFUSERS_SCHEDULER_CLASS));
        CM_TRY(read_int(what, scheduler, "num_train_timesteps", 2, 1 << 20, 40, &c->grid));
    }
    CM_TRY(read_number(what, scheduler, "sigma_min", 0.002, &low));
    CM_TRY(read_number(what, scheduler, "sigma_max", 80, &high));
    CM_TRY(read_number(what, scheduler, "sigma_data", 0.5, &data));
    c->precond =
        json_pack("{s:s, s:f, s:f, s:f}", "type", "cm", "sigma_data", data, "sigma_min", low, "sigma_max", high);
    if (!c->precond) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

/* ["diffusers", CLASS] of a component. */
static cm_status check_component(const char *what, const json_t *index, const char *part, const char *expected)
{
    const json_t *entry = json_object_get(index, part);
    const char *name = json_string_value(json_array_get(entry, 1));
    if (json_array_size(entry) != 2 || !name)
        CM_FAIL(CM_ERR_FORMAT, "%s: member '%s' is not a pair of a library and a class", what, part);
    if (strcmp(name, expected) != 0)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: its %s is %.64s; of diffusers' this library has %s", what, part, name,
                expected);
    return CM_OK;
}

cm_status cmi_diffusers_read_index(const char *what, const json_t *index)
{
    CM_TRY(check_class(what, index, CM_DIFFUSERS_PIPELINE_CLASS));
    CM_TRY(check_component(what, index, CM_DIFFUSERS_UNET, CM_DIFFUSERS_UNET_CLASS));
    return check_component(what, index, CM_DIFFUSERS_SCHEDULER, CM_DIFFUSERS_SCHEDULER_CLASS);
}

void cmi_diffusers_config_release(cm_diffusers_config *c)
{
    json_decref(c->network);
    json_decref(c->precond);
    json_decref(c->image);
    memset(c, 0, sizeof *c);
}
