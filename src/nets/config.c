/* config.c - a network's arguments by its family's table, and two networks compared. */
#include "nets/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hint.h"
#include "nets/net.h"

static cm_status check(const char *what, const cm_net_config *c)
{
    double sum = 0;
    if (c->levels < 1) CM_FAIL(CM_ERR_FORMAT, "%s: argument 'channel_mult' is empty", what);
    for (int i = 0; i < c->levels; i++) {
        double width = c->channel_mult[i] * c->model_channels;
        if (!(width >= 1 && width <= 65536) || (c->family->whole_widths && width != floor(width)))
            CM_FAIL(CM_ERR_FORMAT, "%s: level %d has channel_mult %g x model_channels %d = %g channels", what, i,
                    c->channel_mult[i], c->model_channels, width);
    }
    for (int i = 0; i < c->n_filter; i++) sum += c->filter[i];
    if (c->n_filter < 2 || !(sum > 0))
        CM_FAIL(CM_ERR_FORMAT, "%s: argument 'resample_filter' needs at least two taps with a positive sum", what);
    return CM_OK;
}

/* The family that "type" names. */
static cm_status find_family(const char *what, const json_t *network, const cm_net_family **out)
{
    enum { MOST = 16 };
    const char *names[MOST + 1] = {NULL}, *text = json_string_value(json_object_get(network, "type"));
    char list[256] = "", hint[CM_HINT_SIZE];
    size_t n = 0, at = 0;
    for (; n < MOST && cmi_net_family_at(n) && at < sizeof list; n++) {
        names[n] = cmi_net_family_at(n)->name;
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", n ? ", " : "", names[n]);
    }
    if (!json_object_get(network, "type"))
        CM_FAIL(CM_ERR_FORMAT, "%s: argument 'type' is missing (one of %s)", what, list);
    if (!text) CM_FAIL(CM_ERR_FORMAT, "%s: argument 'type' has to be a string", what);
    *out = cmi_net_family_find(text);
    if (*out) return CM_OK;
    (void)cm_name_hint(text, names, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_FORMAT, "%s: argument 'type' is \"%.64s\", expected one of %s%s", what, text, list, hint);
}

cm_status cmi_net_config_read(const json_t *network, cm_net_config *out)
{
    static const char what[] = "consistency.network";
    const cm_net_family *family;
    memset(out, 0, sizeof *out);
    if (!json_is_object(network)) CM_FAIL(CM_ERR_FORMAT, "%s: expected a JSON object", what);
    CM_TRY(find_family(what, network, &family));
    out->family = family;
    out->filter[0] = out->filter[1] = 1; /* resampling where a family does not say more */
    out->n_filter = 2;
    out->time_factor = 1;
    out->patch_size = 1;
    family->defaults(out);
    if (family->refuse) CM_TRY(family->refuse(what, network));
    CM_TRY(cmi_fields_read(what, network, family->fields, family->n_fields, out));
    if (family->complete) CM_TRY(family->complete(what, network, out));
    return check(what, out);
}

const char *const cmi_second_times[] = {"none", "concat", "tower", NULL};
const char *const cmi_second_inputs[] = {"interval", "time", NULL};

cm_status cmi_times_complete(const char *what, const json_t *network, const cm_net_config *c)
{
    if (c->second_time == CM_SECOND_NONE && json_object_get(network, "second_input"))
        CM_FAIL(CM_ERR_FORMAT, "%s: argument 'second_input' has no effect without second_time", what);
    if (c->second_time != CM_SECOND_NONE && c->embedding == CM_EMBEDDING_FOURIER)
        CM_FAIL(CM_ERR_FORMAT, "%s: second_time goes with embedding_type \"positional\", not \"fourier\"", what);
    if (c->double_norm && !c->scale_shift)
        CM_FAIL(CM_ERR_FORMAT, "%s: double_norm is of a scale and a shift: it needs %s", what,
                strcmp(c->family->name, "adm") == 0 ? "use_scale_shift_norm" : "adaptive_scale");
    return CM_OK;
}

int cmi_net_attends(const cm_net_config *config, int32_t at)
{
    for (int i = 0; i < config->n_attn; i++)
        if (config->attn[i] == at) return 1;
    return 0;
}

int32_t cmi_net_width(const cm_net_config *config, int level)
{
    return (int32_t)(config->channel_mult[level] * config->model_channels);
}

int32_t cmi_net_side(const cm_net_config *config, int level)
{
    return config->resolution / config->patch_size >> level;
}

/* --- two networks ------------------------------------------------------------ */

/* What decides neither tensors nor the function they are used in. */
static int is_training(const cm_field *f)
{
    return f->kind == CM_FIELD_IGNORED || f->offset == CM_NET_AT(dropout) || f->offset == CM_NET_AT(label_dropout) ||
           f->offset == CM_NET_AT(fourier_scale) || f->offset == CM_NET_AT(dropout_res) ||
           f->offset == CM_NET_AT(img_channels) || f->offset == CM_NET_AT(model_type);
}

int cmi_net_config_differences(const cm_net_config *a, const cm_net_config *b, const char *of_a, const char *of_b,
                               char *text, size_t size)
{
    const cm_net_family *family = a->family;
    int found = 0;
    size_t at = 0;
    text[0] = '\0';
    if (family != b->family) { /* no other argument means the same */
        (void)snprintf(text, size, "type is \"%s\"%s and \"%s\"%s", family->name, of_a, b->family->name, of_b);
        return 1;
    }
    for (size_t i = 0; i < family->n_fields; i++) {
        const cm_field *f = &family->fields[i];
        char left[256], right[256];
        if (is_training(f)) continue;
        cmi_field_show(a, f, left, sizeof left);
        cmi_field_show(b, f, right, sizeof right);
        if (strcmp(left, right) == 0) continue;
        if (at < size)
            at += (size_t)snprintf(text + at, size - at, "%s%s is %s%s and %s%s", found ? "; " : "", f->name, left,
                                   of_a, right, of_b);
        found++;
    }
    return found;
}
