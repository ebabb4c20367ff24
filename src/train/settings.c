/* settings.c - defaults, and one option by name. */
#include "train/settings.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hint.h"
#include "base/number.h"
#include "base/utf8.h"
#include "train/objective.h"
#include "train/option_rows.h"

/* Whole numbers up to here are all doubles. */
#define WHOLE 9007199254740992.0

/* --- defaults ---------------------------------------------------------------------- */

cm_train_settings cmi_settings_defaults(int32_t objective)
{
    cm_train_settings s;
    const cm_option_row *row;
    memset(&s, 0, sizeof s);
    for (size_t i = 0; (row = cmi_option_row_at(i)); i++) cmi_option_put(row, &s, row->usual);
    s.ema.count = 1;
    s.ema.rates[0] = (cm_ema_rate){CM_EMA_WARMUP, 0.9999, 0};
    s.objective = objective;
    for (const cm_objective_default *d = cmi_objective_at(objective)->defaults; d->option; d++)
        cmi_option_put(cmi_option_row_find(d->option), &s, d->value);
    return s;
}

cm_train_settings cmi_settings_of(const cm_train_options *options)
{
    return options ? options->s : cmi_settings_defaults(CM_TRAIN_EDM);
}

/* --- setting ------------------------------------------------------------------------- */

static cm_status find(const char *name, const cm_option_row **row)
{
    enum { MOST = 128 };
    const char *names[MOST + 1] = {NULL};
    char hint[CM_HINT_SIZE];
    *row = cmi_option_row_find(name);
    if (*row) return CM_OK;
    for (size_t i = 0; i < MOST && cmi_option_row_at(i); i++) names[i] = cmi_option_row_at(i)->name;
    (void)cm_name_hint(name, names, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_ARGUMENT, "unknown training option '%.64s'%s", name, hint);
}

/* "one of edm, cd, ..." and the nearest of them. */
static cm_status refuse_choice(const cm_option_row *row, const char *value)
{
    enum { MOST = 32 };
    const char *names[MOST + 1] = {NULL};
    char list[200] = "", hint[CM_HINT_SIZE];
    for (size_t i = 0; i < MOST && row->choices->at(i).name; i++) {
        names[i] = row->choices->at(i).name;
        if (strlen(list) + strlen(names[i]) + 3 < sizeof list) strcat(strcat(list, i ? ", " : ""), names[i]);
    }
    (void)cm_name_hint(value, names, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_ARGUMENT, "%s is '%.64s', expected one of %s%s", row->name, value, list, hint);
}

/* A value that is in its range.  A change of the objective brings its own numbers. */
static void put(cm_train_settings *s, const cm_option_row *row, double value)
{
    const cm_train_settings before = *s;
    cmi_option_put(row, s, value);
    if (row != cmi_option_row_at(0)) return;
    *s = cmi_settings_defaults(s->objective);
    s->threads = before.threads, s->batch = before.batch, s->seed = before.seed, s->steps = before.steps;
}

/* Numbers that were given as shares of the steps or of the images. */
static void put_shares(cm_train_settings *s)
{
    const cm_option_row *row;
    for (size_t i = 0; (row = cmi_option_row_at(i)); i++) {
        const int k = cmi_option_share(row);
        const double value = k < 0 ? 0 : floor(s->shares[k] * (double)s->steps + 0.5);
        if (k >= 0 && s->shares[k] > 0) cmi_option_put(row, s, value < row->low ? row->low : value);
    }
    cmi_averages_of_run(&s->ema, (double)s->steps * s->batch);
}

static cm_status set_number(cm_train_settings *s, const cm_option_row *row, double value, const char *text)
{
    if (row->kind != CM_OPTION_REAL && value != floor(value))
        CM_FAIL(CM_ERR_ARGUMENT, "%s is %.64s, expected a whole number", row->name, text);
    CM_TRY(cmi_option_check_range(row, value));
    put(s, row, value);
    if (cmi_option_share(row) >= 0) s->shares[cmi_option_share(row)] = 0;
    put_shares(s);
    return CM_OK;
}

/* "60%" of the steps, whatever they come to be. */
static cm_status set_share(cm_train_settings *s, const cm_option_row *row, const char *value)
{
    char number[CM_NUMBER_SIZE];
    double v;
    (void)snprintf(number, sizeof number, "%.*s", (int)strlen(value) - 1, value);
    if (strlen(value) > sizeof number || !cmi_number_read(number, &v) || !(v > 0 && v <= 100))
        CM_FAIL(CM_ERR_ARGUMENT, "%s is '%.64s', expected a share of the steps above 0%% and up to 100%%", row->name,
                value);
    s->shares[cmi_option_share(row)] = v / 100;
    put_shares(s);
    return CM_OK;
}

static cm_status set_seed(cm_train_settings *s, const char *value)
{
    char *end;
    errno = 0;
    uint64_t seed = strtoull(value, &end, 10);
    if (errno || *end || !(*value >= '0' && *value <= '9')) /* strtoull takes " -5" */
        CM_FAIL(CM_ERR_ARGUMENT, "seed is '%.64s', expected a whole number below 2^64", value);
    s->seed = seed;
    return CM_OK;
}

/* What JSON can hold, without line ends and their like. */
static int is_plain_text(const char *value)
{
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) return 0;
    return cmi_is_utf8(value, strlen(value));
}

static cm_status set_text(cm_train_settings *s, const cm_option_row *row, const char *value)
{
    if ((double)strlen(value) > row->high)
        CM_FAIL(CM_ERR_ARGUMENT, "%s has %zu characters, expected at most %.0f", row->name, strlen(value), row->high);
    if (!is_plain_text(value))
        CM_FAIL(CM_ERR_ARGUMENT, "%s has bytes that are no UTF-8 or control characters", row->name);
    cmi_option_put_text(row, s, value);
    return CM_OK;
}

static cm_status set_by_text(cm_train_settings *s, const cm_option_row *row, const char *value)
{
    double v = cmi_option_auto(row);
    if ((row->flags & CM_ROW_SHARE) && *value && value[strlen(value) - 1] == '%') return set_share(s, row, value);
    if (((row->flags & CM_ROW_AUTO) && strcmp(value, "auto") == 0) || cmi_number_read(value, &v))
        return set_number(s, row, v, value);
    if (!row->choices) CM_FAIL(CM_ERR_ARGUMENT, "%s is '%.64s', expected a number", row->name, value);
    int choice = cmi_choice_find(row->choices, value);
    if (choice < 0) return refuse_choice(row, value);
    put(s, row, choice);
    return CM_OK;
}

cm_status cmi_settings_set(cm_train_settings *s, const char *name, const char *value)
{
    const cm_option_row *row;
    CM_TRY(find(name, &row));
    switch (row->store) {
    case CM_STORE_AVERAGES:
        CM_TRY(cmi_averages_read(value, &s->ema));
        put_shares(s);
        return CM_OK;
    case CM_STORE_TEXT: return set_text(s, row, value);
    case CM_STORE_UINT64: return set_seed(s, value);
    default: return set_by_text(s, row, value);
    }
}

static cm_status refuse_text(const cm_option_row *row)
{
    CM_FAIL(CM_ERR_ARGUMENT, "%s is a text: cm_train_options_set and cm_train_options_get are its calls", row->name);
}

cm_status cmi_settings_set_number(cm_train_settings *s, const char *name, double value)
{
    char text[CM_NUMBER_SIZE];
    const cm_option_row *row;
    CM_TRY(find(name, &row));
    if (row->kind == CM_OPTION_TEXT) return refuse_text(row);
    (void)cmi_number_text(value, text);
    if (row->store != CM_STORE_UINT64) return set_number(s, row, value, text);
    if (!(value >= 0 && value <= WHOLE && value == floor(value)))
        CM_FAIL(CM_ERR_ARGUMENT, "seed is %s, expected a whole number up to 2^53 (as text up to 2^64 - 1)", text);
    put(s, row, value);
    return CM_OK;
}

/* --- getting ------------------------------------------------------------------------- */

cm_status cmi_settings_get_number(const cm_train_settings *s, const char *name, double *value)
{
    const cm_option_row *row;
    CM_TRY(find(name, &row));
    if (row->kind == CM_OPTION_TEXT) return refuse_text(row);
    if (row->store == CM_STORE_UINT64 && s->seed > (uint64_t)WHOLE)
        CM_FAIL(CM_ERR_ARGUMENT, "seed is %llu, which no double holds: cm_train_options_get gives it as text",
                (unsigned long long)s->seed);
    *value = cmi_option_value(row, s);
    return CM_OK;
}

static void number_text(const cm_option_row *row, double value, char *text)
{
    char number[CM_NUMBER_SIZE];
    const int automatic = (row->flags & CM_ROW_AUTO) && value == cmi_option_auto(row);
    const char *word = row->choices ? row->choices->at((size_t)value).name
                       : automatic  ? "auto"
                                    : cmi_number_text(value, number);
    (void)snprintf(text, CM_SETTING_SIZE, "%s", word);
}

cm_status cmi_settings_get(const cm_train_settings *s, const char *name, char text[CM_SETTING_SIZE])
{
    const cm_option_row *row;
    CM_TRY(find(name, &row));
    switch (row->store) {
    case CM_STORE_AVERAGES: cmi_averages_text(&s->ema, text); break;
    case CM_STORE_TEXT: (void)snprintf(text, CM_SETTING_SIZE, "%s", cmi_option_text(row, s)); break;
    case CM_STORE_UINT64: (void)snprintf(text, CM_SETTING_SIZE, "%llu", (unsigned long long)s->seed); break;
    default: number_text(row, cmi_option_value(row, s), text);
    }
    return CM_OK;
}
