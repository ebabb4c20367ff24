/* options.c - one row an option of a run; every other name is an option of training. */
#include "run/options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "diffusion/model.h"
#include "run/pages.h"
#include "train/objective.h"

typedef enum { TEXT, COUNT, NUMBER, FLAG, RULE } kind;

typedef struct {
    const char *name, *about;
    kind kind;
    size_t offset;
    double low, high;
} row;

#define AT(field) offsetof(cm_run_options, field)
enum { SIDE = 65535, MOST_KEPT = 1000000 };
static const double many = 9.0e15; /* whole numbers are exact up to here */

static const row rows[] = {
    {"data", "the path of the pictures", TEXT, AT(data), 0, 0},
    {"size", "the side of the images in pixels", COUNT, AT(size), 1, SIDE},
    {"labels", "where classes come from: auto, none, folder or prefix", RULE, AT(labels), 0, CM_LABELS_PREFIX},
    {"class_names", "a name for each class with commas between them, in place of those of the pictures", TEXT,
     AT(class_names), 0, 0},
    {"random_crop", "1: random crops of 80 to 100 % instead of the centre", FLAG, AT(random_crop), 0, 1},
    {"stop_on_bad", "1: a picture that cannot be read ends the run", FLAG, AT(stop_on_bad), 0, 1},
    {"preset", "a named set of options of training, with its network", TEXT, AT(preset), 0, 0},
    {"network", "the JSON of a new model, or given: that of init or teacher", TEXT, AT(network), 0, 0},
    {"init", "the file of the model whose weights the run begins with", TEXT, AT(init), 0, 0},
    {"teacher", "the file of the model to distil", TEXT, AT(teacher_path), 0, 0},
    {"checkpoint_every", "steps between checkpoints", COUNT, AT(checkpoint_every), 1, many},
    {"checkpoint_seconds", "seconds between checkpoints beside those, 0: none", NUMBER, AT(checkpoint_seconds), 0,
     1e9},
    {"keep", "checkpoints that are kept, 0: all", COUNT, AT(keep), 0, MOST_KEPT},
    {"sample_every", "steps between pages of samples, which are drawn whole; 0: no pages", COUNT, AT(sample_every), 0,
     many},
    {"sample_share", "the percentage of the run's time that pages of samples may take", NUMBER, AT(sample_share),
     0.01, 100},
    {"sample_rows", "rows of a page", COUNT, AT(sample_rows), 1, CM_PAGE_SIDE},
    {"sample_columns", "images in a row of a page", COUNT, AT(sample_columns), 1, CM_PAGE_SIDE},
    {"log_every", "steps between lines of the log", COUNT, AT(log_every), 1, many},
    {"metric", "a Frechet distance of samples that is logged: fid, or fd-NET of a feature network", TEXT, AT(metric),
     0, 0},
    {"metric_data", "what samples are compared with: statistics or features (.npz), or pictures", TEXT,
     AT(metric_data), 0, 0},
    {"metric_features", "the file of the weights of the feature network", TEXT, AT(metric_features), 0, 0},
    {"metric_every", "steps between evaluations, each of which is made", COUNT, AT(metric_every), 1, many},
    {"metric_share", "the percentage of the run's time that evaluations may take", NUMBER, AT(metric_share), 0.01,
     100},
    {"metric_samples", "samples of an evaluation", COUNT, AT(metric_samples), 2, 10000000},
    {"metric_steps", "steps of the sampler", COUNT, AT(metric_steps), 1, 1000},
    {"metric_few", "1: fewer than 2,000 samples, and fewer in the reference, are taken", FLAG, AT(metric_few), 0, 1},
    {"allow_changes", "1: a run is continued although options or data differ", FLAG, AT(allow_changes), 0, 1},
};
enum { ROWS = sizeof rows / sizeof *rows };

cm_status cmi_run_options_make(cm_context *context, cm_run_options **out)
{
    cm_context *own;
    CM_TRY(cmi_context_retain(context, &own));
    cm_run_options *o = cmi_calloc(own, 1, sizeof *o);
    if (!o) {
        cm_context_free(own);
        return CM_ERR_MEMORY;
    }
    o->context = own;
    o->references = 1;
    cm_status status = cm_train_options_create(own, &o->train);
    if (status != CM_OK) {
        cmi_free(own, o);
        cm_context_free(own);
        return status;
    }
    o->sample_every = o->keep = o->labels = -1;
    *out = o;
    return CM_OK;
}

void cmi_run_options_release(cm_run_options *o)
{
    if (!o || --o->references > 0) return;
    cm_context *context = o->context;
    for (int i = 0; i < ROWS; i++)
        if (rows[i].kind == TEXT) cmi_free(context, *(char **)(void *)((char *)o + rows[i].offset));
    cm_train_options_free(o->train);
    cmi_free(context, o->fingerprint);
    cmi_free(context, o->before);
    cmi_model_release(o->model);
    cmi_model_release(o->teacher);
    if (o->owns_dataset) cm_dataset_free(o->dataset);
    cmi_free(context, o);
    cm_context_free(context);
}

/* The index in the table, -1 for none. */
static int option_find(const char *name)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return i;
    return -1;
}

cm_choice cmi_run_option_choice(size_t index)
{
    return index < ROWS ? (cm_choice){rows[index].name, rows[index].about} : (cm_choice){NULL, NULL};
}

const char *cmi_run_option_shown(const cm_run_options *o, const char *name, char text[CM_RUN_SHOWN])
{
    int n = snprintf(text, CM_RUN_SHOWN, "%s%s", o->prefix, name);
    for (int i = 0; o->prefix[0] && i < n && i < CM_RUN_SHOWN; i++)
        if (text[i] == '_') text[i] = '-';
    return text;
}

/* --- setting ----------------------------------------------------------------------------- */

/* Decimals alone, whatever the host's locale, and k, M or G behind whole numbers. */
static int read_number(const char *text, int whole, double *out)
{
    const char *c = text + (*text == '-');
    double v = 0, place = 1;
    if (*c < '0' || *c > '9') return 0;
    for (; *c >= '0' && *c <= '9'; c++) v = 10 * v + (*c - '0');
    if (whole && *c && strchr("kMG", *c)) v *= *c == 'k' ? 1e3 : *c == 'M' ? 1e6 : 1e9, c++;
    if (!whole && *c == '.')
        for (c++; *c >= '0' && *c <= '9'; c++) v += (*c - '0') * (place /= 10);
    *out = *text == '-' ? -v : v;
    return *c == '\0' && isfinite(v);
}

static cm_status put_text(cm_run_options *o, const row *r, const char *value)
{
    char **at = (char **)(void *)((char *)o + r->offset);
    char *copy = *value ? cmi_strdup(o->context, value) : NULL;
    if (*value && !copy) return CM_ERR_MEMORY;
    cmi_free(o->context, *at);
    *at = copy;
    return CM_OK;
}

static cm_status put_rule(cm_run_options *o, const char *value)
{
    const char *names[8] = {NULL};
    char hint[160];
    for (int32_t i = 0; i < 7 && (names[i] = cm_choice_name("label_rules", (size_t)i)); i++)
        if (strcmp(names[i], value) == 0) {
            o->labels = i;
            return CM_OK;
        }
    (void)cm_name_hint(value, names, "", hint, sizeof hint);
    CM_FAIL(CM_ERR_ARGUMENT, "%slabels: '%s' is none of auto, none, folder, prefix%s", o->prefix, value, hint);
}

static void store(cm_run_options *o, const row *r, double v)
{
    void *at = (char *)o + r->offset;
    if (r->kind == NUMBER) *(double *)at = v;
    else if (r->offset == AT(checkpoint_every) || r->offset == AT(log_every) || r->offset == AT(sample_every) ||
             r->offset == AT(metric_every) || r->offset == AT(metric_samples))
        *(int64_t *)at = (int64_t)v;
    else *(int32_t *)at = (int32_t)v;
}

cm_status cmi_run_option_take(cm_run_options *o, const char *name, double value, double otherwise)
{
    const row *r = &rows[option_find(name)];
    const int whole = r->kind == NUMBER || value == floor(value);
    char is[CM_NUMBER_SIZE], low[CM_NUMBER_SIZE], high[CM_NUMBER_SIZE];
    if (value != otherwise && !(whole && value >= r->low && value <= r->high))
        CM_FAIL(CM_ERR_FORMAT, "%s is %s, expected a %snumber in %s..%s", name, cmi_number_text(value, is),
                r->kind == NUMBER ? "" : "whole ", cmi_number_text(r->low, low), cmi_number_text(r->high, high));
    store(o, r, value);
    return CM_OK;
}

static cm_status put_number(cm_run_options *o, const row *r, const char *value)
{
    char name[CM_RUN_SHOWN], low[CM_NUMBER_SIZE], high[CM_NUMBER_SIZE];
    double v;
    if (!read_number(value, r->kind != NUMBER, &v) || !(v >= r->low && v <= r->high))
        CM_FAIL(CM_ERR_ARGUMENT, "%s: '%s' is not a %snumber in %s..%s", cmi_run_option_shown(o, r->name, name),
                value, r->kind == NUMBER ? "" : "whole ", cmi_number_text(r->low, low),
                cmi_number_text(r->high, high));
    store(o, r, v);
    return CM_OK;
}

static int said(const cm_run_options *o, size_t offset)
{
    for (int i = 0; i < ROWS; i++)
        if (rows[i].offset == offset) return (o->said >> i & 1) != 0;
    return 0;
}

/* Sampling by steps and by share exclude each other; the later one wins over a config's. */
static void note_sampling(cm_run_options *o, size_t offset)
{
    if (offset == AT(sample_every) && !said(o, AT(sample_share))) o->sample_share = 0;
    if (offset == AT(sample_share) && !said(o, AT(sample_every))) o->sample_every = -1;
    if (offset == AT(metric_every) && !said(o, AT(metric_share))) o->metric_share = 0;
    if (offset == AT(metric_share) && !said(o, AT(metric_every))) o->metric_every = 0;
}

/* A network that was only the beginning of another run's gives way to one that is said; that of the run that is
 * continued stays. */
static cm_status put_network(cm_run_options *o, const row *r, const char *value)
{
    if (o->resume && o->network_of_config) return r->offset == AT(network) ? CM_OK : put_text(o, r, value);
    if (o->network_of_config) CM_TRY(put_text(o, &rows[option_find("network")], ""));
    o->network_of_config = 0;
    if (r->offset != AT(network)) return put_text(o, r, value);
    o->as_given = strcmp(value, "given") == 0;
    return put_text(o, r, o->as_given ? "" : value);
}

static cm_status put_run_option(cm_run_options *o, const row *r, const char *value)
{
    if (r->kind == RULE) return put_rule(o, value);
    if (r->kind != TEXT) {
        CM_TRY(put_number(o, r, value));
        note_sampling(o, r->offset);
        return CM_OK;
    }
    if (r->offset == AT(preset)) CM_TRY(cm_train_options_preset(o->train, value));
    if (r->offset == AT(network) || r->offset == AT(preset) || r->offset == AT(init)) return put_network(o, r, value);
    return put_text(o, r, value);
}

cm_status cmi_run_options_put(cm_run_options *o, const char *name, const char *value)
{
    const int i = option_find(name);
    if (o->used) CM_FAIL(CM_ERR_STATE, "a run was made of these options: make others for another run");
    cmi_run_close_inputs(o);
    if (i >= 0) {
        CM_TRY(put_run_option(o, &rows[i], value));
        o->said |= 1u << i;
        return CM_OK;
    }
    CM_TRY(cm_train_options_set(o->train, name, value));
    if (strcmp(name, "steps") == 0) o->more_steps = 1;
    return CM_OK;
}

/* --- what follows ------------------------------------------------------------------------- */

static double number(const cm_run_options *o, const char *name)
{
    double value = 0;
    (void)cm_train_options_get_number(o->train, name, &value);
    return value;
}

static void read_numbers(cm_run_options *o)
{
    char seed[24] = "", averages[8] = "", name[16] = "";
    (void)cm_train_options_get(o->train, "objective", name, sizeof name, NULL);
    const cm_objective *objective = cmi_objective_by_name(name);
    const char *as = !objective           ? NULL
                     : objective->precond ? objective->precond
                                          : objective->precond_two_times; /* it trains no other networks */
    const cm_precond_kind *precond = as ? cmi_precond_kind_find(as) : NULL;
    (void)cm_train_options_get(o->train, "seed", seed, sizeof seed, NULL);
    (void)cm_train_options_get(o->train, "ema", averages, sizeof averages, NULL);
    o->n = (cm_run_numbers){.batch = (int32_t)number(o, "batch"),
                            .threads = (int32_t)number(o, "threads"),
                            .averages = strcmp(averages, "none") != 0,
                            .is_consistency = precond && precond->is_consistency,
                            .steps = (int64_t)number(o, "steps"),
                            .seed = strtoull(seed, NULL, 10)};
}

/* "NAME has no effect RELATION", which holds the other name. */
static cm_status refuse(const cm_run_options *o, const char *name, const char *relation, const char *other)
{
    char a[CM_RUN_SHOWN], b[CM_RUN_SHOWN];
    const char *at = strstr(relation, "%s");
    CM_FAIL(CM_ERR_ARGUMENT, "%s has no effect %.*s%s%s", cmi_run_option_shown(o, name, a), (int)(at - relation),
            relation, cmi_run_option_shown(o, other, b), at + 2);
}

/* What is opened already is not looked for by name. */
static cm_status verify_handles(const cm_run_options *o)
{
    static const char *const of_data[] = {"data", "size", "labels", "class_names", "random_crop", "stop_on_bad"};
    const char *beside = NULL, *what = "data set";
    for (size_t i = 0; i < sizeof of_data / sizeof *of_data && o->dataset && !o->owns_dataset; i++)
        if (o->said >> option_find(of_data[i]) & 1) beside = of_data[i];
    if (!beside) what = "model";
    if (o->model_is_given && said(o, AT(init))) beside = "init";
    if (o->model_is_given && said(o, AT(network)) && !o->as_given) beside = "network";
    if (o->teacher_is_given && said(o, AT(teacher_path))) beside = "teacher";
    if (!beside) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "%s%s has no effect beside the %s that was given as a handle", o->prefix, beside, what);
}

const char *cmi_run_metric_network(const char *metric)
{
    static const char fid[] = "inception"; /* whose distance has that name alone */
    const char *name = strncmp(metric, "fd-", 3) == 0 && strcmp(metric + 3, fid) != 0 ? metric + 3 : "";
    if (strcmp(metric, "fid") == 0) return fid;
    for (size_t i = 0; cm_choice_name("feature_networks", i); i++)
        if (strcmp(cm_choice_name("feature_networks", i), name) == 0) return cm_choice_name("feature_networks", i);
    return NULL;
}

/* "fid" and fd-NET of each network but the Inception network, which is called fid. */
static cm_status refuse_metric(const cm_run_options *o)
{
    enum { MOST = 16 };
    static const char before[] = "fd-";
    char names[MOST][40], list[300] = "fid", hint[160];
    const char *known[MOST + 1] = {"fid"};
    const char *name;
    for (size_t i = 0, n = 1; n < MOST && (name = cm_choice_name("feature_networks", i)) != NULL; i++) {
        if (strcmp(name, "inception") == 0) continue;
        const size_t used = strlen(list);
        (void)snprintf(names[n], sizeof names[n], "%s%s", before, name);
        (void)snprintf(list + used, sizeof list - used, ", %s", names[n]);
        known[n] = names[n];
        n++;
    }
    (void)cm_name_hint(o->metric, known, "", hint, sizeof hint);
    CM_FAIL(CM_ERR_ARGUMENT, "%smetric: '%.64s' is none of %s%s", o->prefix, o->metric, list, hint);
}

/* Options of a metric that is not asked for. */
static cm_status refuse_without_metric(const cm_run_options *o)
{
    for (int i = 0; i < ROWS; i++)
        if (strncmp(rows[i].name, "metric_", 7) == 0 && (o->said >> i & 1))
            return refuse(o, rows[i].name, "without %s", "metric");
    return CM_OK;
}

static cm_status refuse_few(const cm_run_options *o)
{
    char a[CM_RUN_SHOWN], b[CM_RUN_SHOWN];
    CM_FAIL(CM_ERR_ARGUMENT, "%s: of %lld samples a distance says little: give %d or more, or %s to take it as it is",
            cmi_run_option_shown(o, "metric_samples", a), (long long)o->metric_samples, CM_METRIC_FEWEST,
            cmi_run_option_shown(o, "metric_few", b));
}

static cm_status verify_metric(const cm_run_options *o)
{
    char missing[CM_RUN_SHOWN];
    if (!o->metric) return refuse_without_metric(o);
    if (!cmi_run_metric_network(o->metric)) return refuse_metric(o);
    if (!o->metric_data || !o->metric_features)
        CM_FAIL(CM_ERR_ARGUMENT, "%smetric %s needs %s, %s", o->prefix, o->metric,
                cmi_run_option_shown(o, o->metric_data ? "metric_features" : "metric_data", missing),
                o->metric_data ? "the file of the feature network's weights"
                               : "what samples are compared with: a file of statistics, or pictures");
    if (said(o, AT(metric_every)) && said(o, AT(metric_share)))
        return refuse(o, "metric_share", "with %s, which makes every evaluation", "metric_every");
    return o->metric_samples && o->metric_samples < CM_METRIC_FEWEST && !o->metric_few ? refuse_few(o) : CM_OK;
}

cm_status cmi_run_options_verify(cm_run_options *o)
{
    const char *p = o->prefix;
    CM_TRY(cm_train_options_check(o->train));
    read_numbers(o);
    if (said(o, AT(sample_every)) && said(o, AT(sample_share)))
        CM_TRY(refuse(o, "sample_share", "with %s, which draws every page", "sample_every"));
    CM_TRY(verify_metric(o));
    if (o->init && o->network && !o->network_of_config) CM_TRY(refuse(o, "network", "with %s", "init"));
    if (o->as_given && !o->init && !o->teacher_path && !o->model && !o->teacher)
        CM_FAIL(CM_ERR_ARGUMENT, "%snetwork given needs %sinit or %steacher, whose network it takes", p, p, p);
    if (o->allow_changes && !o->resume) CM_TRY(refuse(o, "allow_changes", "without %s", "resume"));
    return verify_handles(o);
}

cm_run_pace cmi_run_options_pace(const cm_run_options *o)
{
    const int64_t steps = o->n.steps, twentieth = steps / 20 ? steps / 20 : 1;
    cm_run_pace p = {.checkpoint = o->checkpoint_every ? o->checkpoint_every : twentieth,
                     .log = o->log_every   ? o->log_every
                            : steps / 2000 ? steps / 2000
                                           : 1,
                     .sample = o->sample_every,
                     .keep = o->keep < 0 ? 3 : o->keep};
    if (o->sample_every < 0) {
        p.sample = twentieth;
        p.share = (o->sample_share > 0 ? o->sample_share : 5) / 100;
    }
    if (o->metric) p.metric = o->metric_every ? o->metric_every : twentieth;
    if (o->metric && !o->metric_every) p.metric_share = (o->metric_share > 0 ? o->metric_share : 5) / 100;
    return p;
}
