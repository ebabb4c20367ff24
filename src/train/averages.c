/* averages.c - averages as text and as JSON, and the ranges of their numbers. */
#include "train/averages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

static cm_status check_rate(int i, const cm_ema_rate *rate)
{
    const double v = rate->value, ramp = rate->ramp;
    char is[CM_NUMBER_SIZE];
    (void)cmi_number_text(v, is);
    const int plain = rate->form == CM_EMA_RATE || rate->form == CM_EMA_WARMUP || rate->form == CM_EMA_EVERY16;
    if (plain && !(v >= 0 && v <= 1))
        CM_FAIL(CM_ERR_ARGUMENT, "ema: average %d: the rate is %s, expected 0..1", i, is);
    if (rate->form == CM_EMA_HALFLIFE && !(v > 0 && isfinite(v)))
        CM_FAIL(CM_ERR_ARGUMENT, "ema: average %d: the half-life is %s images, expected a number above 0", i, is);
    if (rate->form == CM_EMA_POWER && !(v > 0 && v < 0.28))
        CM_FAIL(CM_ERR_ARGUMENT, "ema: average %d: the relative length is %s, expected above 0 and below 0.28", i,
                is);
    if (rate->form == CM_EMA_GAMMA && !(v > 0 && v <= 1e6))
        CM_FAIL(CM_ERR_ARGUMENT, "ema: average %d: the exponent is %s, expected above 0 to 1000000", i, is);
    if (!(ramp >= 0 && isfinite(ramp)) || (ramp > 0 && rate->form != CM_EMA_HALFLIFE))
        CM_FAIL(CM_ERR_ARGUMENT, "ema: average %d: a ramp of %s has no effect (half-lives take one, above 0)", i,
                cmi_number_text(ramp, is));
    return CM_OK;
}

static cm_status check(const cm_averages *a)
{
    char is[CM_NUMBER_SIZE];
    for (int i = 0; i < a->count; i++) {
        CM_TRY(check_rate(i, &a->rates[i]));
        for (int k = 0; k < i; k++)
            if (a->rates[k].form == a->rates[i].form && a->rates[k].value == a->rates[i].value &&
                a->shares[k] == a->shares[i])
                CM_FAIL(CM_ERR_ARGUMENT, "ema: averages %d and %d are the same (%s %s)", k, i,
                        cmi_ema_form_names[a->rates[i].form], cmi_number_text(a->rates[i].value, is));
    }
    return CM_OK;
}

/* --- text ------------------------------------------------------------------------- */

/* "warmup:" before a number; returns what is behind it. */
static char *read_form(char *item, int32_t *form)
{
    for (int k = 1; cmi_ema_form_names[k]; k++) {
        size_t length = strlen(cmi_ema_form_names[k]);
        if (strncmp(item, cmi_ema_form_names[k], length) != 0 || item[length] != ':') continue;
        *form = k;
        return item + length + 1;
    }
    *form = CM_EMA_RATE;
    return item;
}

/* "4%": the half-life is 1 until the images of the run are known. */
static cm_status read_share(char *value, cm_ema_rate *rate, double *share)
{
    double v;
    value[strlen(value) - 1] = '\0';
    if (rate->form != CM_EMA_HALFLIFE || !cmi_number_read(value, &v) || !(v > 0 && v <= 100))
        CM_FAIL(CM_ERR_ARGUMENT, "ema: '%.64s%%' is no share of the run's images, halflife:4%% above 0 and up to 100",
                value);
    *share = v / 100;
    rate->value = 1;
    return CM_OK;
}

static cm_status read_rate(char *item, cm_ema_rate *rate, double *share)
{
    char *value = read_form(item, &rate->form), *ramp = strchr(value, ':');
    if (ramp) *ramp++ = '\0';
    if (*value && value[strlen(value) - 1] == '%') CM_TRY(read_share(value, rate, share));
    else if (!cmi_number_read(value, &rate->value))
        CM_FAIL(CM_ERR_ARGUMENT, "ema: '%.64s' is not a number (rates look like 0.999,warmup:0.999,halflife:500000)",
                value);
    if (ramp && !cmi_number_read(ramp, &rate->ramp))
        CM_FAIL(CM_ERR_ARGUMENT, "ema: '%.64s' is not a number, which a ramp is (halflife:500000:0.05)", ramp);
    return CM_OK;
}

cm_status cmi_averages_read(const char *text, cm_averages *out)
{
    char copy[512];
    cm_averages a;
    memset(&a, 0, sizeof a);
    if (strlen(text) >= sizeof copy) CM_FAIL(CM_ERR_ARGUMENT, "ema: the list is too long");
    strcpy(copy, strcmp(text, "none") == 0 ? "" : text);
    for (char *item = copy, *next; item && *item; item = next) {
        next = strchr(item, ',');
        if (next) *next++ = '\0';
        if (a.count == CM_MAX_EMAS) CM_FAIL(CM_ERR_ARGUMENT, "ema: at most %d averages", CM_MAX_EMAS);
        CM_TRY(read_rate(item, &a.rates[a.count], &a.shares[a.count]));
        a.count++;
    }
    CM_TRY(check(&a));
    *out = a;
    return CM_OK;
}

void cmi_averages_of_run(cm_averages *a, double images)
{
    for (int i = 0; i < a->count; i++)
        if (a->shares[i] > 0) a->rates[i].value = a->shares[i] * images;
}

cm_status cmi_averages_check(const cm_averages *a)
{
    char one[48], other[48];
    for (int i = 0; i < a->count; i++) {
        cmi_average_label(&a->rates[i], one, sizeof one);
        for (int k = 0; k < i; k++) {
            cmi_average_label(&a->rates[k], other, sizeof other);
            if (strcmp(one, other) == 0)
                CM_FAIL(CM_ERR_ARGUMENT,
                        "ema: averages %d and %d of this run would have one file, ema-%s.safetensors", k, i, one);
        }
    }
    return CM_OK;
}

void cmi_averages_text(const cm_averages *a, char text[CM_AVERAGES_SIZE])
{
    char number[CM_NUMBER_SIZE], ramp[CM_NUMBER_SIZE];
    size_t n = 0;
    if (!a->count) (void)snprintf(text, CM_AVERAGES_SIZE, "none");
    for (int i = 0; i < a->count; i++) {
        const cm_ema_rate *r = &a->rates[i];
        n += (size_t)snprintf(text + n, CM_AVERAGES_SIZE - n, "%s%s%s%s%s%s", i ? "," : "",
                              r->form ? cmi_ema_form_names[r->form] : "", r->form ? ":" : "",
                              cmi_number_text(r->value, number), r->ramp > 0 ? ":" : "",
                              r->ramp > 0 ? cmi_number_text(r->ramp, ramp) : "");
    }
}

void cmi_average_label(const cm_ema_rate *rate, char *out, size_t size)
{
    char number[40];
    (void)snprintf(number, sizeof number, "%.10g", rate->value);
    for (char *c = number; *c; c++)
        if (*c == ',') *c = '.'; /* whatever the host's locale prints */
    if (rate->form == CM_EMA_RATE) (void)snprintf(out, size, "%s", number);
    else (void)snprintf(out, size, "%s-%s", cmi_ema_form_names[rate->form], number);
}

/* --- JSON ------------------------------------------------------------------------- */

json_t *cmi_averages_json(const cm_averages *a)
{
    json_t *list = json_array();
    int failed = !list;
    for (int i = 0; i < a->count && !failed; i++)
        failed =
            json_array_append_new(list, json_pack("{s:s, s:f, s:f}", "form", cmi_ema_form_names[a->rates[i].form],
                                                  "value", a->rates[i].value, "ramp", a->rates[i].ramp)) != 0;
    if (!failed) return list;
    json_decref(list);
    return NULL;
}

static int form_number(const char *name)
{
    for (int k = 0; name && cmi_ema_form_names[k]; k++)
        if (strcmp(cmi_ema_form_names[k], name) == 0) return k;
    return -1;
}

cm_status cmi_averages_from_json(const json_t *list, cm_averages *out)
{
    cm_averages a;
    memset(&a, 0, sizeof a);
    if (json_array_size(list) > CM_MAX_EMAS) CM_FAIL(CM_ERR_ARGUMENT, "ema: at most %d averages", CM_MAX_EMAS);
    for (; a.count < (int32_t)json_array_size(list); a.count++) {
        const json_t *one = json_array_get(list, (size_t)a.count), *value = json_object_get(one, "value");
        int form = form_number(json_string_value(json_object_get(one, "form")));
        if (form < 0 || !json_is_number(value))
            CM_FAIL(CM_ERR_FORMAT, "ema: average %d is not {\"form\", \"value\", \"ramp\"}", a.count);
        a.rates[a.count] =
            (cm_ema_rate){form, json_number_value(value), json_number_value(json_object_get(one, "ramp"))};
    }
    CM_TRY(check(&a));
    *out = a;
    return CM_OK;
}
