/* settings.c - reading, printing and checking options by table. */
#include "train/settings.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hint.h"
#include "base/number.h"
#include "base/pool.h"
#include "graph/arithmetic.h"

enum { INT, LONG, SEED, REAL };
#define ABOVE_0 1e-300 /* the least of a number that has to be above 0 */
#define WIDE 1e6       /* bounds from here on are told only when they are passed */
enum { EDM = 1, CD = 2, CT = 4, PD = 8, ICT = 16, ECT = 32, ALL = 63 };

static const char *const objectives[] = {"edm", "cd", "ct", "pd", "ict", "ect", NULL};
static const char *const metrics[] = {"default", "l1", "l2", "l2-32", "pseudo-huber", "lpips", NULL};
static const char *const weightings[] = {"default", "uniform", "snr", "snr+1", "karras", "truncated-snr", NULL};
static const char *const dtypes[] = {"default", "f32", "bf16", NULL}; /* of cm_dtype */
static const char *const clip_rules[] = {"torch", "optax", NULL};

/* A field: range; the objectives it has an effect on; whether it decides the
 * course of training (else only its speed). */
typedef struct {
    const char *name;
    int kind;
    size_t offset;
    double low, high;
    const char *const *choices;
    int objectives, course;
} field;

#define AT(member) offsetof(cm_train_settings, member)
#define N(name, kind, low, high, objectives, course)                                                                 \
    {                                                                                                                \
#name, kind, AT(name), low, high, NULL, objectives, course                                                   \
    }
#define C(name, choices, last, objectives)                                                                           \
    {                                                                                                                \
#name, INT, AT(name), 0, last, choices, objectives, 1                                                        \
    }

static const field fields[] = {
    C(objective, objectives, 5, ALL),
    N(threads, INT, 0, CM_MAX_THREADS, ALL, 0),
    N(batch, INT, 1, 1 << 20, ALL, 1),
    N(microbatch, INT, 0, 1 << 16, ALL, 1),
    N(sum_microbatches, INT, 0, 1, ALL, 1),
    N(recompute, INT, 0, 1000, ALL, 0),
    N(seed, SEED, 0, 0, ALL, 1),
    N(steps, LONG, 1, 1e15, ALL, 1),
    C(optimizer, cm_optim_names, 3, ALL),
    N(lr, REAL, ABOVE_0, 1e6, ALL, 1),
    N(beta1, REAL, 0, 1, ALL, 1),
    N(beta2, REAL, 0, 1, ALL, 1),
    N(eps, REAL, 0, 1, ALL, 1),
    N(weight_decay, REAL, 0, 1e3, ALL, 1),
    N(grad_clip, REAL, 0, 1e30, ALL, 1),
    C(clip_rule, clip_rules, 1, ALL),
    N(warmup_steps, LONG, 0, 1e15, ALL, 1),
    N(anneal_begin, LONG, 0, 1e15, ALL, 1),
    N(anneal_end, LONG, 0, 1e15, ALL, 1),
    N(lr_final, REAL, 0, 1, ALL, 1),
    C(metric, metrics, 5, ALL),
    N(huber_c, REAL, -1, 1e6, ALL, 1),
    N(sum_pixels, INT, 0, 1, EDM | CD | CT | PD, 1),
    C(weighting, weightings, 5, EDM | CD | CT | PD),
    C(levels, cm_levels_names, 2, EDM),
    N(p_mean, REAL, -20, 20, EDM | ICT | ECT, 1),
    N(p_std, REAL, 1e-6, 10, EDM | ICT | ECT, 1),
    C(ode, cm_ode_names, 1, CD),
    C(scales_mode, cm_scales_names, 3, CD | CT | PD | ICT),
    N(start_scales, INT, 2, 1 << 20, CD | CT | PD | ICT, 1),
    N(end_scales, INT, 2, 1 << 20, CD | CT | ICT, 1),
    N(distill_steps, LONG, 1, 1e15, PD, 1),
    C(mu_mode, cm_mu_names, 2, CD | CT),
    N(mu, REAL, 0, 1, CD | CT, 1),
    C(mapping, cm_mapping_names, 1, ECT),
    N(ect_q, REAL, 1.0001, 1e9, ECT, 1),
    N(ect_k, REAL, 0, 1e6, ECT, 1),
    N(ect_b, REAL, 0, 1e6, ECT, 1),
    N(ect_stages, INT, 1, 1000, ECT, 1),
    N(ect_stage_steps, LONG, 0, 1e15, ECT, 1),
    N(rho, REAL, 0.5, 1e3, CD | CT | PD | ICT, 1),
    N(dropout, REAL, -1, 0.999, ALL, 1),
    N(label_dropout, REAL, 0, 1, ALL, 1),
    N(flip, REAL, 0, 1, ALL, 1),
    N(augment, REAL, 0, 1, EDM, 1),
    N(skip_nonfinite, INT, 0, 1 << 30, ALL, 1),
    C(dtype, dtypes, 2, ALL),
    N(bf16_emulate, INT, 0, 1, ALL, 0),
    N(anneal_stages, INT, 0, 1, PD, 1),
};
enum { FIELDS = sizeof fields / sizeof *fields };

/* --- one field ------------------------------------------------------------------ */

static double get(const cm_train_settings *o, const field *f)
{
    const unsigned char *at = (const unsigned char *)o + f->offset;
    int32_t i;
    int64_t l;
    double d;
    switch (f->kind) {
    case INT: memcpy(&i, at, sizeof i); return i;
    case REAL: memcpy(&d, at, sizeof d); return d;
    default: memcpy(&l, at, sizeof l); return (double)l;
    }
}

static void put(cm_train_settings *o, const field *f, double v)
{
    unsigned char *at = (unsigned char *)o + f->offset;
    int32_t i = (int32_t)v;
    int64_t l = (int64_t)v;
    switch (f->kind) {
    case INT: memcpy(at, &i, sizeof i); break;
    case REAL: memcpy(at, &v, sizeof v); break;
    default: memcpy(at, &l, sizeof l); break;
    }
}

static cm_status check_range(const field *f, double v)
{
    char is[CM_NUMBER_SIZE], low[CM_NUMBER_SIZE], high[CM_NUMBER_SIZE];
    if (f->kind == SEED || (v >= f->low && v <= f->high)) return CM_OK;
    (void)cm_number_text(v, is);
    (void)cm_number_text(f->low, low);
    (void)cm_number_text(f->high, high);
    if (f->choices) CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected a name or 0..%s", f->name, is, high);
    if (f->high < WIDE) CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected %s..%s", f->name, is, low, high);
    if (v > f->high) CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected %s or less", f->name, is, high);
    if (f->low == ABOVE_0) CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected a number above 0", f->name, is);
    CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected %s or more", f->name, is, low);
}

/* --- defaults ---------------------------------------------------------------------- */

void cm_settings_defaults(cm_train_settings *o)
{
    static const double lr[] = {1e-3, 4e-4, 4e-4, 5e-5, 1e-4, 1e-4};
    cm_train_settings d = {.objective = o->objective};
    int denoise = d.objective == CM_TRAIN_EDM;
    if (d.objective < 0 || d.objective > CM_TRAIN_ECT) return; /* cm_settings_check says so */
    d.batch = 64;
    d.steps = 10000;
    d.optimizer = denoise || d.objective == CM_TRAIN_PD ? CM_OPTIM_ADAM : CM_OPTIM_RADAM;
    d.lr = lr[d.objective];
    d.beta1 = 0.9, d.beta2 = 0.999, d.eps = 1e-8;
    d.lr_final = 0;
    d.huber_c = -1;
    d.p_mean = denoise ? -1.2 : -1.1, d.p_std = denoise ? 1.2 : 2.0;
    d.start_scales = d.end_scales = 18;
    d.distill_steps = 1000;
    d.ect_q = 2, d.ect_k = 8, d.ect_b = 1, d.ect_stages = 8;
    d.rho = 7;
    d.dropout = -1;
    d.ema_count = 1;
    d.ema_kind[0] = CM_EMA_KIND_WARMUP;
    d.ema_value[0] = 0.9999;
    if (d.objective == CM_TRAIN_CT) {
        d.scales_mode = CM_SCALES_PROGRESSIVE;
        d.start_scales = 2, d.end_scales = 150;
        d.mu_mode = CM_MU_ADAPTIVE, d.mu = 0.9;
    } else if (d.objective == CM_TRAIN_PD) {
        d.scales_mode = CM_SCALES_PROGDIST;
        d.start_scales = 64;
        d.grad_clip = 1, d.clip_rule = CM_CLIP_OPTAX;
        d.anneal_stages = 1;
    } else if (d.objective == CM_TRAIN_ICT) {
        d.scales_mode = CM_SCALES_ICT;
        d.start_scales = 10, d.end_scales = 1280;
    }
    *o = d;
}

cm_train_settings cm_settings_of(const cm_train_options *options)
{
    if (options) return options->s;
    cm_train_settings s = {.objective = CM_TRAIN_EDM};
    cm_settings_defaults(&s);
    return s;
}

/* --- by name ------------------------------------------------------------------------- */

static cm_status unknown(const char *name)
{
    const char *names[FIELDS + 2] = {"ema"};
    char hint[CM_HINT_SIZE];
    for (int i = 0; i < FIELDS; i++) names[i + 1] = fields[i].name;
    (void)cm_name_hint(name, names, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_ARGUMENT, "unknown training option '%.64s'%s", name, hint);
}

/* Numbers in the C locale whatever the host's: jansson reads them. */
static int read_number(const char *text, double *out)
{
    json_t *v = strnlen(text, 400) < 400 ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    int ok = json_is_number(v);
    if (ok) *out = json_number_value(v);
    json_decref(v);
    return ok;
}

static cm_status find_choice(const field *f, const char *value, double *out)
{
    char list[160] = "", hint[CM_HINT_SIZE];
    for (int i = 0; f->choices[i]; i++) {
        if (strcmp(f->choices[i], value) == 0) {
            *out = i;
            return CM_OK;
        }
        if (strlen(list) + strlen(f->choices[i]) + 3 < sizeof list)
            strcat(strcat(list, i ? ", " : ""), f->choices[i]);
    }
    (void)cm_name_hint(value, f->choices, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_ARGUMENT, "%s is '%.64s', expected one of %s%s", f->name, value, list, hint);
}

/* "0.999,warmup:0.999,halflife:500000:0.05" or "none". */
static cm_status set_averages(cm_train_settings *o, const char *value)
{
    char copy[512];
    int n = 0;
    if (strlen(value) >= sizeof copy) CM_FAIL(CM_ERR_ARGUMENT, "ema: the list is too long");
    strcpy(copy, value);
    cm_train_settings t = *o;
    memset(t.ema_kind, 0, sizeof t.ema_kind);
    memset(t.ema_value, 0, sizeof t.ema_value);
    memset(t.ema_ramp, 0, sizeof t.ema_ramp);
    for (char *item = copy, *next; item && *item && strcmp(value, "none") != 0; item = next, n++) {
        next = strchr(item, ',');
        if (next) *next++ = '\0';
        if (n == CM_MAX_EMAS) CM_FAIL(CM_ERR_ARGUMENT, "ema: at most %d averages", CM_MAX_EMAS);
        for (int k = 1; cm_ema_form_names[k]; k++) {
            size_t length = strlen(cm_ema_form_names[k]);
            if (strncmp(item, cm_ema_form_names[k], length) != 0 || item[length] != ':') continue;
            t.ema_kind[n] = k;
            item += length + 1;
            break;
        }
        char *ramp = strchr(item, ':');
        if (ramp) *ramp++ = '\0';
        if (!read_number(item, &t.ema_value[n]) || (ramp && !read_number(ramp, &t.ema_ramp[n])))
            CM_FAIL(CM_ERR_ARGUMENT,
                    "ema: '%.64s' is not a number (rates look like 0.999,warmup:0.999,halflife:500000)", item);
    }
    t.ema_count = n;
    *o = t;
    return CM_OK;
}

static const field *find(const char *name)
{
    for (int i = 0; i < FIELDS; i++)
        if (strcmp(fields[i].name, name) == 0) return &fields[i];
    return NULL;
}

static cm_status set_seed(cm_train_settings *o, const char *value)
{
    char *end;
    errno = 0;
    uint64_t seed = strtoull(value, &end, 10);
    if (errno || *end || !(*value >= '0' && *value <= '9')) /* strtoull takes " -5" */
        CM_FAIL(CM_ERR_ARGUMENT, "seed is '%.64s', expected a whole number below 2^64", value);
    o->seed = seed;
    return CM_OK;
}

/* A value in its range; an objective brings its own numbers. */
static void put_value(cm_train_settings *o, const field *f, double v)
{
    put(o, f, v);
    if (f != fields) return;
    cm_train_settings before = *o;
    cm_settings_defaults(o);
    o->threads = before.threads, o->batch = before.batch, o->seed = before.seed, o->steps = before.steps;
}

static cm_status set_number(cm_train_settings *o, const field *f, double v, const char *text)
{
    if (f->kind != REAL && v != floor(v))
        CM_FAIL(CM_ERR_ARGUMENT, "%s is %.64s, expected a whole number", f->name, text);
    CM_TRY(check_range(f, v));
    put_value(o, f, v);
    return CM_OK;
}

cm_status cm_settings_set(cm_train_settings *o, const char *name, const char *value)
{
    double v;
    const field *f = find(name);
    if (strcmp(name, "ema") == 0) return set_averages(o, value);
    if (!f) return unknown(name);
    if (f->kind == SEED) return set_seed(o, value);
    if (read_number(value, &v)) return set_number(o, f, v, value);
    if (!f->choices) CM_FAIL(CM_ERR_ARGUMENT, "%s is '%.64s', expected a number", name, value);
    CM_TRY(find_choice(f, value, &v));
    put_value(o, f, v);
    return CM_OK;
}

/* Whole numbers up to here are all doubles. */
#define WHOLE 9007199254740992.0

cm_status cm_settings_set_number(cm_train_settings *o, const char *name, double value)
{
    char text[CM_NUMBER_SIZE];
    const field *f = find(name);
    if (strcmp(name, "ema") == 0)
        CM_FAIL(CM_ERR_ARGUMENT, "ema is a list of averages, which cm_train_options_set takes");
    if (!f) return unknown(name);
    (void)cm_number_text(value, text);
    if (f->kind != SEED) return set_number(o, f, value, text);
    if (!(value >= 0 && value <= WHOLE && value == floor(value)))
        CM_FAIL(CM_ERR_ARGUMENT, "seed is %s, expected a whole number up to 2^53 (as text up to 2^64 - 1)", text);
    o->seed = (uint64_t)value;
    return CM_OK;
}

cm_status cm_settings_get_number(const cm_train_settings *o, const char *name, double *value)
{
    const field *f = find(name);
    if (strcmp(name, "ema") == 0)
        CM_FAIL(CM_ERR_ARGUMENT, "ema is a list of averages, which cm_train_options_get gives");
    if (!f) return unknown(name);
    if (f->kind == SEED && o->seed > (uint64_t)WHOLE)
        CM_FAIL(CM_ERR_ARGUMENT, "seed is %llu, which no double holds: cm_train_options_get gives it as text",
                (unsigned long long)o->seed);
    *value = f->kind == SEED ? (double)o->seed : get(o, f);
    return CM_OK;
}

static void averages_text(const cm_train_settings *o, char text[CM_SETTING_SIZE])
{
    char number[CM_NUMBER_SIZE], ramp[CM_NUMBER_SIZE];
    size_t n = 0;
    if (o->ema_count <= 0) (void)snprintf(text, CM_SETTING_SIZE, "none");
    for (int i = 0; i < o->ema_count && i < CM_MAX_EMAS; i++) {
        int kind = o->ema_kind[i] & 3, ramped = o->ema_ramp[i] > 0;
        n += (size_t)snprintf(text + n, CM_SETTING_SIZE - n, "%s%s%s%s%s%s", i ? "," : "",
                              kind ? cm_ema_form_names[kind] : "", kind ? ":" : "",
                              cm_number_text(o->ema_value[i], number), ramped ? ":" : "",
                              ramped ? cm_number_text(o->ema_ramp[i], ramp) : "");
    }
}

cm_status cm_settings_get(const cm_train_settings *o, const char *name, char text[CM_SETTING_SIZE])
{
    const field *f = find(name);
    if (strcmp(name, "ema") == 0) {
        averages_text(o, text);
        return CM_OK;
    }
    if (!f) return unknown(name);
    double v = get(o, f);
    if (f->kind == SEED) (void)snprintf(text, CM_SETTING_SIZE, "%llu", (unsigned long long)o->seed);
    else if (f->choices) (void)snprintf(text, CM_SETTING_SIZE, "%s", f->choices[(int)v]);
    else (void)cm_number_text(v, text);
    return CM_OK;
}

/* --- printing ---------------------------------------------------------------------------- */

void cm_settings_ema_name(const cm_train_settings *o, int i, char *out, size_t size)
{
    char number[40];
    (void)snprintf(number, sizeof number, "%.10g", o->ema_value[i]);
    for (char *c = number; *c; c++)
        if (*c == ',') *c = '.'; /* whatever the host's locale prints */
    if (o->ema_kind[i] == CM_EMA_KIND_RATE) (void)snprintf(out, size, "%s", number);
    else (void)snprintf(out, size, "%s-%s", cm_ema_form_names[o->ema_kind[i]], number);
}

static json_t *averages(const cm_train_settings *o)
{
    json_t *list = json_array();
    for (int i = 0; i < o->ema_count && i < CM_MAX_EMAS; i++)
        json_array_append_new(list, json_pack("{s:s, s:f, s:f}", "form", cm_ema_form_names[o->ema_kind[i] & 3],
                                              "value", o->ema_value[i], "ramp", o->ema_ramp[i]));
    return list;
}

/* JSON's whole numbers end at 2^63 - 1 for jansson: larger seeds are text. */
static json_t *seed_json(uint64_t seed)
{
    char text[24];
    if (seed <= INT64_MAX) return json_integer((json_int_t)seed);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    return json_string(text);
}

json_t *cm_settings_json(const cm_train_settings *o, int course)
{
    json_t *object = json_object();
    for (int i = 0; i < FIELDS; i++) {
        const field *f = &fields[i];
        double v = get(o, f);
        json_t *value;
        if (course && !f->course) continue;
        if (f->choices && v >= 0 && v <= f->high) value = json_string(f->choices[(int)v]);
        else if (f->kind == SEED) value = seed_json(o->seed);
        else value = f->kind == REAL ? json_real(v) : json_integer((json_int_t)v);
        json_object_set_new(object, f->name, value);
    }
    json_object_set_new(object, "ema", averages(o));
    return object;
}

/* --- reading all of them ---------------------------------------------------------------- */

/* "0.999,warmup:0.9999": the text of an average as cm_settings_set takes it. */
static int average_text(const json_t *average, char *out, size_t size)
{
    const char *form = json_string_value(json_object_get(average, "form"));
    const json_t *value = json_object_get(average, "value"), *ramp = json_object_get(average, "ramp");
    if (!form || !json_is_number(value)) return -1;
    char *v = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    char *r = json_is_number(ramp) && json_number_value(ramp) > 0
                  ? json_dumps(ramp, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17))
                  : NULL;
    int rate = strcmp(form, cm_ema_form_names[0]) == 0;
    int n =
        v ? snprintf(out, size, "%.20s%s%s%s%s", rate ? "" : form, rate ? "" : ":", v, r ? ":" : "", r ? r : "") : -1;
    free(v);
    free(r);
    return n;
}

static cm_status read_averages(cm_train_settings *o, const json_t *list)
{
    char text[512] = "";
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        char one[80];
        int length = average_text(json_array_get(list, i), one, sizeof one);
        if (length < 0 || n + (size_t)length + 2 > sizeof text)
            CM_FAIL(CM_ERR_FORMAT, "options: \"ema\" is no list of {\"form\", \"value\", \"ramp\"}");
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? "," : "", one);
    }
    return cm_settings_set(o, "ema", n ? text : "none");
}

static cm_status read_member(cm_train_settings *o, const char *name, const json_t *value)
{
    if (strcmp(name, "ema") == 0 && json_is_array(value)) return read_averages(o, value);
    if (json_is_string(value)) return cm_settings_set(o, name, json_string_value(value));
    char *text = json_is_number(value) ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17)) : NULL;
    if (!text) CM_FAIL(CM_ERR_FORMAT, "options: \"%.64s\" is neither a number nor a name", name);
    cm_status status = cm_settings_set(o, name, text);
    free(text);
    return status;
}

cm_status cm_settings_read(cm_train_settings *o, const json_t *object)
{
    const char *name;
    json_t *value, *objective = json_object_get(object, "objective");
    if (!json_is_object(object)) CM_FAIL(CM_ERR_FORMAT, "options: expected a JSON object");
    if (objective) CM_TRY(read_member(o, "objective", objective)); /* its defaults come first */
    json_object_foreach((json_t *)(uintptr_t)object, name, value) if (strcmp(name, "objective") != 0)
        CM_TRY(read_member(o, name, value));
    return CM_OK;
}

/* --- checking ------------------------------------------------------------------------------ */

static cm_status check_averages(const cm_train_settings *o)
{
    if (o->ema_count < 0 || o->ema_count > CM_MAX_EMAS)
        CM_FAIL(CM_ERR_ARGUMENT, "ema_count is %d, expected 0..%d", o->ema_count, CM_MAX_EMAS);
    for (int i = 0; i < o->ema_count; i++) {
        double v = o->ema_value[i], ramp = o->ema_ramp[i];
        int kind = o->ema_kind[i];
        char is[CM_NUMBER_SIZE];
        (void)cm_number_text(v, is);
        if (kind < 0 || kind > CM_EMA_KIND_POWER)
            CM_FAIL(CM_ERR_ARGUMENT, "ema_kind[%d] is %d, expected 0..3", i, kind);
        if ((kind == CM_EMA_KIND_RATE || kind == CM_EMA_KIND_WARMUP) && !(v >= 0 && v <= 1))
            CM_FAIL(CM_ERR_ARGUMENT, "average %d: the rate is %s, expected 0..1", i, is);
        if (kind == CM_EMA_KIND_HALFLIFE && !(v > 0 && isfinite(v)))
            CM_FAIL(CM_ERR_ARGUMENT, "average %d: the half-life is %s images, expected a number above 0", i, is);
        if (kind == CM_EMA_KIND_POWER && !(v > 0 && v < 0.28))
            CM_FAIL(CM_ERR_ARGUMENT, "average %d: the relative length is %s, expected above 0 and below 0.28", i, is);
        if (!(ramp >= 0 && isfinite(ramp)) || (ramp > 0 && kind != CM_EMA_KIND_HALFLIFE))
            CM_FAIL(CM_ERR_ARGUMENT, "average %d: a ramp of %s has no effect (half-lives take one, above 0)", i,
                    cm_number_text(ramp, is));
        for (int k = 0; k < i; k++)
            if (o->ema_kind[k] == kind && o->ema_value[k] == v)
                CM_FAIL(CM_ERR_ARGUMENT, "averages %d and %d are the same (%s %s)", k, i, cm_ema_form_names[kind],
                        is);
    }
    return CM_OK;
}

/* Fields that another field's value leaves without effect. */
static cm_status check_modes(const cm_train_settings *o, const cm_train_settings *d)
{
    int metric = cm_settings_of_objective(o, 1, 1, 1).distance.metric;
    if (o->optimizer == CM_OPTIM_SGD && (o->beta1 != d->beta1 || o->beta2 != d->beta2 || o->eps != d->eps))
        CM_FAIL(CM_ERR_ARGUMENT, "beta1, beta2 and eps have no effect on optimizer sgd");
    if (o->sum_pixels && (metric == CM_METRIC_HUBER || metric == CM_METRIC_L2_32))
        CM_FAIL(CM_ERR_ARGUMENT, "sum_pixels has no effect on metric %s (it is of l1 and l2)", metrics[o->metric]);
    if (o->scales_mode == CM_SCALES_FIXED && o->end_scales != d->end_scales && o->end_scales != o->start_scales)
        CM_FAIL(CM_ERR_ARGUMENT,
                "end_scales %d has no effect on scales_mode fixed, by which N stays at start_scales %d",
                o->end_scales, o->start_scales);
    if (o->objective != CM_TRAIN_ECT) return CM_OK;
    if (o->mapping == CM_MAPPING_CONST && (o->ect_k != d->ect_k || o->ect_b != d->ect_b))
        CM_FAIL(CM_ERR_ARGUMENT, "ect_k and ect_b have no effect on mapping const");
    if (o->ect_stages == 1 && o->ect_stage_steps)
        CM_FAIL(CM_ERR_ARGUMENT, "ect_stage_steps has no effect with ect_stages 1");
    return CM_OK;
}

/* Fields that the objective does not read have to stand at their defaults. */
static cm_status check_effects(const cm_train_settings *o, int cpu_level)
{
    cm_train_settings d = {.objective = o->objective};
    cm_settings_defaults(&d);
    for (int i = 0; i < FIELDS; i++)
        if (!(fields[i].objectives & 1 << o->objective) && get(o, &fields[i]) != get(&d, &fields[i]))
            CM_FAIL(CM_ERR_ARGUMENT, "%s has no effect on objective %s", fields[i].name, objectives[o->objective]);
    if (o->levels != CM_LEVELS_LOGNORMAL && (o->p_mean != d.p_mean || o->p_std != d.p_std))
        CM_FAIL(CM_ERR_ARGUMENT, "p_mean and p_std have no effect on levels %s", cm_levels_names[o->levels]);
    if (o->huber_c >= 0 && cm_settings_of_objective(o, 1, 1, 1).distance.metric != CM_METRIC_HUBER)
        CM_FAIL(CM_ERR_ARGUMENT, "huber_c has no effect on metric %s", metrics[o->metric]);
    if (o->clip_rule != d.clip_rule && o->grad_clip == 0)
        CM_FAIL(CM_ERR_ARGUMENT, "clip_rule has no effect without grad_clip");
    CM_TRY(check_modes(o, &d));
    cm_arithmetic arithmetic;
    CM_TRY(cm_arithmetic_choose("cm_train_options", cpu_level, o->dtype, CM_MEMORY_FAST,
                                o->bf16_emulate ? "bf16_emulate=1" : NULL, CM_BF16_TILE_TRAINING, &arithmetic));
    if (o->sum_microbatches && o->microbatch == 0)
        CM_FAIL(CM_ERR_ARGUMENT, "sum_microbatches needs microbatch: say how large they are");
    return CM_OK;
}

static cm_status check_schedules(const cm_train_settings *o)
{
    int discrete = cm_settings_objective(o)->is_discrete;
    char number[CM_NUMBER_SIZE];
    if (o->anneal_end > 0 && o->anneal_end <= o->anneal_begin)
        CM_FAIL(CM_ERR_ARGUMENT, "anneal_end %lld is not after anneal_begin %lld", (long long)o->anneal_end,
                (long long)o->anneal_begin);
    if (o->anneal_stages && (o->anneal_end || o->anneal_begin))
        CM_FAIL(CM_ERR_ARGUMENT,
                "anneal_begin and anneal_end have no effect beside anneal_stages 1, by which lr falls in every stage "
                "(anneal_stages=0 takes them instead)");
    if (o->anneal_end == 0 && !o->anneal_stages && (o->anneal_begin || o->lr_final != 0))
        CM_FAIL(CM_ERR_ARGUMENT, "anneal_begin and lr_final have no effect without anneal_end");
    if (!discrete) return CM_OK;
    if (o->objective == CM_TRAIN_PD) {
        if (o->scales_mode != CM_SCALES_PROGDIST)
            CM_FAIL(CM_ERR_ARGUMENT, "scales_mode of progressive distillation is progdist");
        if (o->start_scales & (o->start_scales - 1))
            CM_FAIL(CM_ERR_ARGUMENT, "start_scales is %d; halving it every stage needs a power of two",
                    o->start_scales);
    } else if (o->scales_mode == CM_SCALES_PROGDIST) {
        CM_FAIL(CM_ERR_ARGUMENT, "scales_mode progdist belongs to objective pd");
    } else if (o->scales_mode != CM_SCALES_FIXED && o->end_scales < o->start_scales) {
        CM_FAIL(CM_ERR_ARGUMENT, "end_scales %d is below start_scales %d", o->end_scales, o->start_scales);
    }
    if (o->mu_mode != CM_MU_FIXED && !(o->mu > 0 && o->mu < 1))
        CM_FAIL(CM_ERR_ARGUMENT, "mu is %s; an adaptive rate needs a number between 0 and 1",
                cm_number_text(o->mu, number));
    return CM_OK;
}

cm_status cm_settings_check(const cm_train_settings *o, int cpu_level)
{
    for (int i = 0; i < FIELDS; i++) CM_TRY(check_range(&fields[i], get(o, &fields[i])));
    if (o->metric == CM_TRAIN_LPIPS)
        CM_FAIL(CM_ERR_UNSUPPORTED, "metric lpips is not in this version: it comes with the metrics");
    if (o->beta1 >= 1 || o->beta2 >= 1)
        CM_FAIL(CM_ERR_ARGUMENT, "%s has to be below 1", o->beta1 >= 1 ? "beta1" : "beta2");
    CM_TRY(check_averages(o));
    CM_TRY(check_effects(o, cpu_level));
    return check_schedules(o);
}

/* What is left in average i of the weights it began with when the run ends: the product of its rates. */
static double remembered(const cm_train_settings *o, int i)
{
    enum { ONE_BY_ONE = 100000 };
    const cm_ema_rate rate = {o->ema_kind[i], o->ema_value[i], o->ema_ramp[i]};
    double left = 1;
    int64_t k = 0;
    for (; k < o->steps && k < ONE_BY_ONE; k++) left *= cm_ema_rate_at(&rate, k, o->batch);
    return left * pow(cm_ema_rate_at(&rate, o->steps - 1, o->batch), (double)(o->steps - k));
}

void cm_settings_warn(const cm_context *context, const cm_train_settings *o)
{
    for (int i = 0; i < o->ema_count; i++) {
        double left = remembered(o, i);
        if (left < 0.135) continue; /* exp(-2): two memories have gone by */
        cm_log(context, CM_LOG_WARNING,
               "average %d (%s %.10g): after %lld steps %.0f %% of it are the weights it began with%s", i,
               cm_ema_form_names[o->ema_kind[i]], o->ema_value[i], (long long)o->steps, 100 * left,
               o->ema_kind[i] == CM_EMA_KIND_RATE ? "; a warm-up (ema=warmup:RATE) forgets them" : "");
    }
    if (o->warmup_steps > o->steps)
        cm_log(context, CM_LOG_WARNING, "warmup_steps %lld is longer than the run of %lld steps",
               (long long)o->warmup_steps, (long long)o->steps);
    if (o->anneal_end > 0 && o->anneal_end != o->steps)
        cm_log(context, CM_LOG_WARNING, "the learning rate falls until step %lld, but schedules end at %lld",
               (long long)o->anneal_end, (long long)o->steps);
    if (o->mu_mode != CM_MU_FIXED && o->scales_mode == CM_SCALES_FIXED)
        cm_log(context, CM_LOG_WARNING, "mu is adaptive but N is fixed: mu(k) will be constant");
    if (o->mu_mode == CM_MU_FIXED && o->mu > 0 && o->scales_mode == CM_SCALES_PROGRESSIVE)
        cm_log(context, CM_LOG_WARNING, "N grows but mu stays at %g: early on the target lags behind many steps",
               o->mu);
    if (o->mu > 0 && 2 / (1 - (o->mu < 1 ? o->mu : 0.999999)) > (double)o->steps)
        cm_log(context, CM_LOG_WARNING, "the target (mu %g) barely moves within %lld steps", o->mu,
               (long long)o->steps);
    if (o->ect_stage_steps > 0 && o->ect_stage_steps * (o->ect_stages - 1) >= o->steps &&
        o->objective == CM_TRAIN_ECT)
        cm_log(context, CM_LOG_WARNING, "the last of %d stages of %lld steps begins after the end at %lld",
               o->ect_stages, (long long)o->ect_stage_steps, (long long)o->steps);
}

/* --- as the parts want them ------------------------------------------------------------------ */

const cm_objective *cm_settings_objective(const cm_train_settings *o)
{
    return cm_objective_by_name(objectives[o->objective]);
}

cm_objective_settings cm_settings_of_objective(const cm_train_settings *o, int32_t channels, int32_t height,
                                               int32_t width)
{
    const cm_objective *objective = cm_settings_objective(o);
    cm_objective_settings s;
    memset(&s, 0, sizeof s);
    s.distance.metric = o->metric ? o->metric - 1 : objective->metric;
    s.distance.channels = channels;
    s.distance.height = height;
    s.distance.width = width;
    s.distance.sum = o->sum_pixels;
    s.distance.huber_c = o->huber_c;
    if (o->huber_c < 0)
        s.distance.huber_c = o->objective == CM_TRAIN_ICT ? 0.00054 * sqrt((double)channels * height * width) : 0;
    s.weighting = o->weighting ? o->weighting - 1 : objective->weighting;
    s.ode = o->ode, s.levels = o->levels, s.mapping = o->mapping;
    s.rho = o->rho;
    s.p_mean = o->p_mean, s.p_std = o->p_std;
    s.q = o->ect_q, s.k = o->ect_k, s.b = o->ect_b;
    return s;
}

cm_curriculum cm_settings_of_curriculum(const cm_train_settings *o)
{
    const cm_curriculum c = {.scales = o->scales_mode,
                             .mu = o->mu_mode,
                             .start = o->start_scales,
                             .end = o->end_scales,
                             .mu0 = o->mu,
                             .total = o->steps,
                             .distill_steps = o->distill_steps,
                             .stages = o->objective == CM_TRAIN_ECT ? o->ect_stages : 0,
                             .stage_steps = o->ect_stage_steps,
                             .lr = o->lr,
                             .lr_final = o->lr_final,
                             .warmup = o->warmup_steps,
                             .anneal_begin = o->anneal_begin,
                             .anneal_end = o->anneal_end,
                             .anneal_stages = o->anneal_stages};
    return c;
}

cm_optim cm_settings_of_optim(const cm_train_settings *o)
{
    const cm_optim optim = {o->optimizer, o->beta1, o->beta2, o->eps, o->weight_decay};
    return optim;
}
