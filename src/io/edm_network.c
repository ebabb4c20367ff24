/* edm_network.c - the configuration of a network that was saved as a module of NVlabs' EDM code or of one of its
 * successors: from the names of the classes and the arguments and attributes that stand beside the tensors (networks
 * B.3 to B.5). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/json.h"
#include "io/pickle_machine.h"
#include "io/torch.h"

enum { MOST_VALUES = 4096 }; /* in the arguments of a network */

/* A class that puts its scalings around a network, and what it has for constants. */
typedef struct {
    const char *class, *precond;
    const char *constants[5];
    const char *kind; /* CM_PUBLISHED_*, or NULL */
} wrapper;

static const wrapper wrappers[] = {
    {"EDMPrecond", "edm", {"sigma_data", "sigma_min", "sigma_max"}, CM_PUBLISHED_EDM},
    {"ECMPrecond", "ecm", {"sigma_data", "sigma_max"}, CM_PUBLISHED_ECT},
    {"VPPrecond", "vp", {"beta_d", "beta_min", "M", "epsilon_t"}, NULL},
    {"VEPrecond", "ve", {"sigma_min", "sigma_max"}, NULL},
    {"iDDPMPrecond", "iddpm", {"C_1", "C_2", "M"}, NULL},
    {"Precond", "edm", {"sigma_data"}, NULL},
    {"IMMPrecond", "imm", {"sigma_data"}, NULL},
};

#define ARGS_OF_EDM                                                                                                  \
    {                                                                                                                \
        "img_resolution", "in_channels", "out_channels", "label_dim", "augment_dim", "model_channels",               \
            "channel_mult", "channel_mult_emb", "num_blocks", "attn_resolutions", "dropout", "label_dropout",        \
            "embedding_type", "channel_mult_noise", "encoder_type", "decoder_type", "resample_filter", NULL          \
    }
#define ARGS_OF_EDM2                                                                                                 \
    {                                                                                                                \
        "img_resolution", "img_channels", "label_dim", "model_channels", "channel_mult", "channel_mult_noise",       \
            "channel_mult_emb", "num_blocks", "attn_resolutions", "label_balance", "concat_balance", NULL            \
    }
typedef struct {
    const char *class, *network;
    int given, known;     /* of its arguments so many have no defaults, and so many have an effect */
    const char *args[18]; /* by their place */
} network_class;

static const network_class networks[] = {{"SongUNet", "songunet", 4, 17, ARGS_OF_EDM},
                                         {"DhariwalUNet", "dhariwal", 4, 12, ARGS_OF_EDM},
                                         {"UNet", "edm2", 3, 11, ARGS_OF_EDM2}};

/* What is published and not here. */
static const struct {
    const char *class, *what;
} others[] = {
    {"CTPrecond", "a consistency trajectory model, whose network takes two times (Kim et al. 2024)"},
    {"MeanFlow", "a mean flow, whose network takes two times (Geng et al. 2025)"},
    {"DiT", "a diffusion transformer"},
};

/* Arguments of the wrappers by their place. */
static const char *const of_wrapper[] = {"img_resolution", "img_channels", "label_dim", "use_fp16", NULL};
/* Of a wrapper those that are not its network's too. */
static const char *const not_of_network[] = {"use_fp16",
                                             "sigma_min",
                                             "sigma_max",
                                             "sigma_data",
                                             "model_type",
                                             "beta_d",
                                             "beta_min",
                                             "epsilon_t",
                                             "M",
                                             "C_1",
                                             "C_2",
                                             "T",
                                             "eps",
                                             "temb_type",
                                             "time_scale",
                                             "f_type",
                                             "noise_schedule",
                                             "mixed_precision",
                                             NULL};

/* --- values ------------------------------------------------------------------------------------ */

static const char *class_of(const cm_pickled *module)
{
    const char *name = module ? cmi_pickled_text(module->u.items[0]) : NULL;
    return name ? name : "";
}

static const cm_pickled *attribute(const cm_pickled *module, const char *name)
{
    return module->count > 1 ? cmi_pickled_get(module->u.items[1], name) : NULL;
}

/* NULL for what JSON cannot say and no argument is.  A list that stands in lists again and again is written out each
 * time, so that `left` bounds the values of all arguments together. */
static json_t *to_json(const cm_pickled *v, int depth, size_t *left)
{
    if (!*left) return NULL;
    --*left;
    if (v->kind == CM_PICKLED_NONE) return json_null();
    if (v->kind == CM_PICKLED_BOOL) return json_boolean(v->u.integer);
    if (v->kind == CM_PICKLED_INT) return json_integer(v->u.integer);
    if (v->kind == CM_PICKLED_FLOAT) return isfinite(v->u.number) ? json_real(v->u.number) : NULL;
    if (v->kind == CM_PICKLED_TEXT) return cmi_pickled_text(v) ? json_string(cmi_pickled_text(v)) : NULL;
    if ((v->kind != CM_PICKLED_LIST && v->kind != CM_PICKLED_TUPLE) || depth > 2) return NULL;
    json_t *list = json_array();
    int failed = !list;
    for (uint32_t i = 0; i < v->count && !failed; i++)
        failed = json_array_append_new(list, to_json(v->u.items[i], depth + 1, left)) != 0;
    if (!failed) return list;
    json_decref(list);
    return NULL;
}

static int is_one_of(const char *const *names, const char *name)
{
    while (*names && strcmp(*names, name) != 0) names++;
    return *names != NULL;
}

/* --- what is found, and what is not ------------------------------------------------------------------ */

typedef struct {
    cm_tensors *t;
    const cm_pickled *module, *inner; /* the wrapper and its network */
    const wrapper *wrapper;
    int failed;  /* to get memory */
    size_t left; /* values that its arguments may still have */
    char about[256], constructor[256], published[128], lacking[400];
} found;

static cm_status note(cm_tensors *t, const char *key, const char *text)
{
    const cm_torch *torch = t->state;
    cm_pickled *copy;
    CM_TRY(cmi_pickle_make_text(torch->pickle, text, &copy));
    return cmi_tensors_add_metadata(t, key, copy->u.text);
}

static cm_status note_json(cm_tensors *t, const char *key, json_t *value)
{
    char *text = value ? cmi_json_print(value, JSON_COMPACT) : NULL;
    cm_status status = text ? note(t, key, text) : cmi_fail(CM_ERR_MEMORY, "out of memory: configuration");
    free(text);
    return status;
}

static void lack(found *f, const char *format, ...) CM_PRINTF(2, 3);
static void lack(found *f, const char *format, ...)
{
    va_list args;
    if (f->lacking[0]) return;
    va_start(args, format);
    (void)vsnprintf(f->lacking, sizeof f->lacking, format, args);
    va_end(args);
}

/* One name more of a list. */
static void assume(char *list, size_t size, const char *name)
{
    size_t n = strlen(list);
    (void)snprintf(list + n, size - n, "%s%s", n ? ", " : "", name);
}

/* --- the network ----------------------------------------------------------------------------------- */

static void add_argument(found *f, json_t *out, const char *name, const cm_pickled *value)
{
    json_t *json = to_json(value, 0, &f->left);
    if (json) f->failed |= json_object_set_new(out, name, json) != 0;
    else if (!f->left) lack(f, "the arguments of its network have more than the limit of %d values", MOST_VALUES);
    else
        lack(f, "argument '%.40s' of its network is %s, not a finite number, a short string or a list of such", name,
             cmi_pickled_name(value));
}

/* Later ones go before those that are there. */
static void add_arguments(found *f, const cm_pickled *module, const char *const *places, const char *const *without,
                          json_t *out)
{
    const cm_pickled *args = attribute(module, "_init_args"), *named = attribute(module, "_init_kwargs");
    for (uint32_t i = 0; args && args->kind == CM_PICKLED_TUPLE && i < args->count; i++) {
        if (!places[i]) {
            lack(f, "class %.40s has more than %u arguments without names", class_of(module), i);
            break;
        }
        if (!is_one_of(without, places[i])) add_argument(f, out, places[i], args->u.items[i]);
    }
    for (uint32_t i = 0; named && named->kind == CM_PICKLED_DICT && i < named->count; i += 2) {
        const char *name = cmi_pickled_text(named->u.items[i]);
        if (!name) lack(f, "an argument of class %.40s has no name", class_of(module));
        else if (!is_one_of(without, name)) add_argument(f, out, name, named->u.items[i + 1]);
    }
}

static const network_class *network_of(const found *f)
{
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (strcmp(networks[i].class, class_of(f->inner)) == 0) return &networks[i];
    return NULL;
}

/* An attribute of the wrapper, else an argument; NAN where neither is a finite number. */
static double constant(const cm_pickled *module, const char *name)
{
    const cm_pickled *named = attribute(module, "_init_kwargs"), *v = attribute(module, name);
    if ((!v || (v->kind != CM_PICKLED_INT && v->kind != CM_PICKLED_FLOAT)) && named) v = cmi_pickled_get(named, name);
    if (v && v->kind == CM_PICKLED_INT) return (double)v->u.integer;
    return v && v->kind == CM_PICKLED_FLOAT && isfinite(v->u.number) ? v->u.number : NAN;
}

/* A text among the wrapper's arguments or attributes; NULL where there is none. */
static const char *text_of(const cm_pickled *module, const char *name)
{
    const cm_pickled *named = attribute(module, "_init_kwargs"), *v = attribute(module, name);
    if (!v && named) v = cmi_pickled_get(named, name);
    return v && v->kind == CM_PICKLED_TEXT ? cmi_pickled_text(v) : NULL;
}

static int is_imm(const found *f)
{
    return f->wrapper && strcmp(f->wrapper->precond, "imm") == 0;
}

/* IMM's wrapper says what its network is told of both times, and its curve and form, of which one each is known. */
static void add_two_times(found *f, json_t *out)
{
    const char *told = text_of(f->module, "temb_type"), *form = text_of(f->module, "f_type");
    const char *curve = text_of(f->module, "noise_schedule");
    const double scale = constant(f->module, "time_scale");
    const int interval = told && strcmp(told, "stride") == 0;
    if (told && !interval && strcmp(told, "identity") != 0)
        lack(f, "its temb_type is '%.40s'; identity and stride are known", told);
    if (form && strcmp(form, "simple_edm") != 0) lack(f, "its f_type is '%.40s'; simple_edm is known", form);
    if (curve && strcmp(curve, "fm") != 0) lack(f, "its noise_schedule is '%.40s'; fm is known", curve);
    if (!told) assume(f->published, sizeof f->published, "temb_type");
    if (!isfinite(scale)) assume(f->published, sizeof f->published, "time_scale");
    f->failed |= json_object_set_new(out, "second_time", json_string("tower")) |
                 json_object_set_new(out, "second_input", json_string(interval ? "interval" : "time")) |
                 json_object_set_new(out, "time_factor", json_real(isfinite(scale) ? scale : 1000));
}

static json_t *network_json(found *f)
{
    static const char *const nothing[] = {"use_fp16", "s_embed", NULL};
    const network_class *network = network_of(f);
    json_t *out = json_pack("{s:s}", "type", network->network);
    if (!out) return NULL;
    if (f->wrapper) add_arguments(f, f->module, of_wrapper, not_of_network, out);
    add_arguments(f, f->inner, network->args, nothing, out);
    if (is_imm(f)) add_two_times(f, out);
    if (json_object_get(out, "in_channels") && json_object_get(out, "out_channels"))
        (void)json_object_del(out, "img_channels");
    for (int i = network->given; i < network->known; i++)
        if (!json_object_get(out, network->args[i])) assume(f->constructor, sizeof f->constructor, network->args[i]);
    return out;
}

/* --- the preconditioning ------------------------------------------------------------------------------ */

/* A range without ends, as EDM's wrapper has it, is no range to sample in. */
static int says(const found *f, const char *name, double value)
{
    int open = strcmp(name, "sigma_min") == 0 && !(value > 0);
    return isfinite(value) && !(open && f->wrapper->kind);
}

/* An end of IMM's times as the level of noise beside the data, whose deviation the noise has too. */
static void add_ends(found *f, json_t *out, const char *name, const char *time)
{
    const double t = constant(f->module, time), data = constant(f->module, "sigma_data");
    if (!(t > 0 && t < 1)) assume(f->published, sizeof f->published, time);
    else f->failed |= json_object_set_new(out, name, json_real((isfinite(data) ? data : 0.5) * t / (1 - t))) != 0;
}

static json_t *precond_json(found *f)
{
    json_t *out = json_pack("{s:s}", "type", f->wrapper->precond);
    for (int i = 0; out && f->wrapper->constants[i]; i++) {
        const char *name = f->wrapper->constants[i];
        double value = constant(f->module, name);
        if (!says(f, name, value)) assume(f->published, sizeof f->published, name);
        else
            f->failed |=
                json_object_set_new(out, name,
                                    strcmp(name, "M") == 0 ? json_integer((json_int_t)value) : json_real(value)) != 0;
    }
    if (out && is_imm(f)) add_ends(f, out, "sigma_min", "eps"), add_ends(f, out, "sigma_max", "T");
    return out;
}

/* --- which it is ------------------------------------------------------------------------------------- */

static const wrapper *wrapper_of(const cm_pickled *module)
{
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (strcmp(wrappers[i].class, class_of(module)) == 0) return &wrappers[i];
    return NULL;
}

static void refuse_class(found *f, const char *class, const char *role)
{
    const char *what = NULL;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i].class, class) == 0) what = others[i].what;
    lack(f,
         "it holds a %s of class '%.64s'%s%s, which this library does not have; it has SongUNet, DhariwalUNet and "
         "EDM2's UNet in EDMPrecond, ECMPrecond, VPPrecond, VEPrecond, iDDPMPrecond, IMMPrecond and Precond",
         role, class, what ? ": " : "", what ? what : "");
}

/* The network in a wrapper, or one that stands alone. */
static void find_parts(found *f)
{
    const cm_pickled *parts = attribute(f->module, "_modules");
    f->wrapper = wrapper_of(f->module);
    f->inner = f->module;
    if (f->wrapper) {
        const cm_pickled *model = parts ? cmi_pickled_get(parts, "model") : NULL;
        const cm_pickled *unet = parts ? cmi_pickled_get(parts, "unet") : NULL;
        f->inner = model && model->kind == CM_PICKLED_OBJECT ? model
                   : unet && unet->kind == CM_PICKLED_OBJECT ? unet
                                                             : NULL;
    }
    if (!f->inner) lack(f, "the wrapper %s holds no network", class_of(f->module));
    else if (!network_of(f)) refuse_class(f, class_of(f->inner), f->wrapper || parts == NULL ? "network" : "module");
}

/* In EDM2's own wrapper, which ECT's code for ImageNet keeps. */
static int is_of_edm2(const found *f)
{
    return f->wrapper && strcmp(f->wrapper->class, "Precond") == 0 && strcmp(network_of(f)->network, "edm2") == 0;
}

/* The loss that stands beside it tells who has trained it. */
static const char *kind_of(const found *f, const cm_pickled *top)
{
    const cm_pickled *loss = top->kind == CM_PICKLED_DICT ? cmi_pickled_get(top, "loss_fn") : NULL;
    const char *kind = f->wrapper ? f->wrapper->kind : NULL;
    const int is_loss = loss && loss->kind == CM_PICKLED_OBJECT;
    if (is_of_edm2(f)) return is_loss && strncmp(class_of(loss), "EC", 2) == 0 ? CM_PUBLISHED_ECT : CM_PUBLISHED_EDM2;
    if (!kind || !is_loss) return kind;
    if (strncmp(class_of(loss), "SID", 3) == 0 || strncmp(class_of(loss), "SiD", 3) == 0) return CM_PUBLISHED_SID;
    return attribute(loss, "boundary_prob") || attribute(loss, "ratio_limit") ? CM_PUBLISHED_TCM : kind;
}

static cm_status write_notes(const found *f, json_t *network, json_t *precond, const char *kind)
{
    char assumed[500] = "";
    CM_TRY(note_json(f->t, "consistency.network", network));
    if (f->wrapper) CM_TRY(note_json(f->t, "consistency.precond", precond));
    if (kind) CM_TRY(note(f->t, CM_NOTE_PUBLISHED, kind));
    if (f->constructor[0])
        (void)snprintf(assumed, sizeof assumed, "%s as the constructor has them%s", f->constructor,
                       f->published[0] ? "; " : "");
    if (f->published[0])
        (void)snprintf(assumed + strlen(assumed), sizeof assumed - strlen(assumed), "%s as in the published models",
                       f->published);
    return assumed[0] ? note(f->t, CM_NOTE_ASSUMED, assumed) : CM_OK;
}

static cm_status describe_network(found *f, const cm_pickled *top)
{
    json_t *network = network_json(f), *precond = f->wrapper ? precond_json(f) : NULL;
    const char *kind = kind_of(f, top);
    double boundary = constant(f->module, "sigma_min");
    if (precond && is_of_edm2(f) && strcmp(kind, CM_PUBLISHED_ECT) == 0)
        f->failed |= json_object_set_new(precond, "type", json_string("ecm")) != 0;
    if (precond && kind && strcmp(kind, CM_PUBLISHED_ECT) == 0 && boundary > 0)
        f->failed |= json_object_set_new(precond, "boundary", json_real(boundary)) != 0;
    cm_status status = f->failed ? cmi_fail(CM_ERR_MEMORY, "out of memory: configuration") : CM_OK;
    if (status == CM_OK && !f->lacking[0]) status = write_notes(f, network, precond, kind);
    json_decref(network);
    json_decref(precond);
    return status;
}

cm_status cmi_edm_describe(cm_tensors *t, const cm_pickled *module, const cm_pickled *top)
{
    const int is_state = top->kind == CM_PICKLED_DICT && cmi_pickled_get(top, "optimizer_state") != NULL;
    found f = {.t = t, .module = module, .left = MOST_VALUES};
    find_parts(&f);
    (void)snprintf(f.about, sizeof f.about, "%s of NVlabs' EDM code or one of its kind: %.64s%s%.64s",
                   is_state ? "a training state" : "a snapshot", class_of(module),
                   f.inner && f.inner != module ? " of " : "", f.inner != module ? class_of(f.inner) : "");
    CM_TRY(note(t, CM_NOTE_ABOUT, f.about));
    if (!f.lacking[0]) CM_TRY(describe_network(&f, top));
    return f.lacking[0] ? note(t, CM_NOTE_UNSUPPORTED, f.lacking) : CM_OK;
}
