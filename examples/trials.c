/* trials.c - see the header. */
#include "trials.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- scores --------------------------------------------------------------------------- */

static int32_t on_images(void *user, uint64_t done, uint64_t total)
{
    trials *w = user;
    const double now = w->done + w->cost * (double)done / (double)total, all = w->done + fmax(w->left, w->cost);
    return cli_progress_step(&w->progress, (uint64_t)(1000 * now), (uint64_t)(1000 * all));
}

static cm_status sample_and_measure(trials *w, side *a, double *score)
{
    measured found;
    side_forget(a);
    int32_t nfe;
    cm_status status = cm_sampler_nfe(a->sampler, &w->own.sample, &nfe);
    if (status == CM_OK) w->cost = nfe;
    if (status == CM_OK) status = side_gather(w->o->c, w->o->context, a, w->network, &w->net, &w->sides, 1);
    if (status == CM_OK)
        status = metric_measure(w->o->context, w->o->metric, 0, 0, &w->net, a, &w->reference, &found);
    if (status == CM_OK) *score = found.values[0].value;
    if (status == CM_OK) w->done += w->cost;
    return status;
}

cm_status trials_score(trials *w, size_t model, const char *times, double *score)
{
    char key[LEDGER_KEY];
    (void)snprintf(key, sizeof key, "%zu %s", model, times);
    const ledger_entry *known = ledger_find(&w->ledger, key);
    (void)snprintf(w->what, sizeof w->what, "%.100s:", times);
    if (known) *score = known->score;
    const cm_status status = known ? CM_OK : sample_and_measure(w, &w->models[model], score);
    if (status == CM_OK && !known && isfinite(*score)) ledger_add(&w->ledger, key, *score);
    if (status != CM_OK || w->o->quiet || w->o->json) return status;
    cli_clear_line();
    printf("%-40s %.4g%s\n", times, *score, known ? "  (known)" : "");
    (void)fflush(stdout);
    return status;
}

void trials_take_sigmas(trials *w, const double *sigmas, size_t n)
{
    memcpy(w->own.sigmas, sigmas, n * sizeof *sigmas);
    w->own.sample.sigmas = w->own.sigmas;
    w->own.sample.sigma_count = n;
    w->own.sample.steps = 0;
    w->own.sample.method = CM_METHOD_MULTISTEP;
}

cm_status trials_score_sigmas(trials *w, size_t model, trial *p)
{
    char times[TRIALS_TEXT];
    trials_take_sigmas(w, p->sigmas, p->n);
    times_text(p->sigmas, p->n, times, sizeof times);
    return trials_score(w, model, times, &p->score);
}

/* --- beginning and end ----------------------------------------------------------------------- */

/* The names of the result and its plot: times.json and times.svg. */
static void name_files(trials *w, const char *usual)
{
    const searching *o = w->o;
    (void)snprintf(w->result, sizeof w->result, "%s", o->write ? o->write : usual);
    const size_t n = strlen(w->result), end = n > 5 && strcmp(w->result + n - 5, ".json") == 0 ? n - 5 : n;
    if (o->plot) (void)snprintf(w->plot, sizeof w->plot, "%s", o->plot);
    else (void)snprintf(w->plot, sizeof w->plot, "%.*s.svg", (int)end, w->result);
    cli_check_file(o->c, w->result, o->force);
    cli_check_file(o->c, w->plot, o->force);
}

static cm_status open_model(trials *w, size_t i)
{
    const searching *o = w->o;
    side *a = &w->models[i];
    a->path = o->models[i];
    a->wanted = metrics_wanted(o->metric, 1, &w->net, 0);
    cm_status status = side_open(o->c, o->context, w->network, &w->net, &w->sides, a);
    if (status == CM_OK && !a->model)
        cli_usage_error(o->c, "%s is no model: --%s draws samples", a->path, o->steps ? "search-times" : "curve");
    w->infos[i] = (cm_model_info)CM_MODEL_INFO_INIT;
    if (status == CM_OK) status = cm_model_info_get(a->model, &w->infos[i]);
    if (status == CM_OK) status = times_model(a->model, w->weights[i]);
    if (status == CM_OK) metrics_refuse_sets(o->c, o->metric, 1, &w->net, &o->sides, o->few, a, &w->reference);
    return status;
}

static cm_status open_reference(trials *w)
{
    const searching *o = w->o;
    w->reference.path = o->reference;
    if (!o->reference) return CM_OK;
    w->reference.wanted = metrics_wanted(o->metric, 1, &w->net, 1);
    return side_open(o->c, o->context, w->network, &w->net, &o->sides, &w->reference);
}

/* A hash of the mean and the covariance that samples are compared with. */
static cm_status reference_hash(const trials *w, char text[TIMES_MODEL])
{
    const cm_statistics *s = side_statistics(&w->reference, w->o->metric->what == SFD);
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    (void)snprintf(text, TIMES_MODEL, "none");
    if (!s) return CM_OK;
    cm_status status = cm_statistics_info_get(s, &info);
    const size_t d = (size_t)info.dimension;
    double *values = malloc((d + 1) * d * sizeof *values + 1);
    if (!values) return CM_ERR_MEMORY;
    if (status == CM_OK) status = cm_statistics_values(s, values, values + d);
    if (status == CM_OK) times_hash(values, (d + 1) * d * sizeof *values, text);
    free(values);
    return status;
}

/* What the scores depend on besides the levels. */
static cm_status open_ledger(trials *w)
{
    const searching *o = w->o;
    const int32_t precision = o->sampling->sampler.precision;
    char models[SEARCH_MODELS * (TIMES_MODEL + 1)] = "", reference[TIMES_MODEL];
    for (size_t i = 0; i < o->n_models; i++) strcat(strcat(models, i ? " " : ""), w->weights[i]);
    cm_status status = reference_hash(w, reference);
    if (status != CM_OK) return status;
    ledger_fact(&w->ledger, "metric", "%s", o->metric->name);
    ledger_fact(&w->ledger, "feature network", "%s %s", w->net.network, w->net.weights);
    ledger_fact(&w->ledger, "model", "%s", models);
    ledger_fact(&w->ledger, "reference", "%s", reference);
    ledger_fact(&w->ledger, "number of samples", "%llu", (unsigned long long)w->models[0].n);
    ledger_fact(&w->ledger, "seed", "%llu", (unsigned long long)o->sampling->sample.seed);
    ledger_fact(&w->ledger, "temperature", "%g", sampling_temperature(o->sampling));
    ledger_fact(&w->ledger, "guidance", "%g", sampling_guidance(o->sampling));
    ledger_fact(&w->ledger, "precision", "%s",
                cm_choice_name("precisions", (size_t)(precision ? precision : CM_PRECISION_F32)));
    ledger_open(&w->ledger, o->c, w->result);
    return CM_OK;
}

static void print_head(const trials *w)
{
    const searching *o = w->o;
    if (o->json || o->quiet) return;
    printf("%s of %llu samples, seed %llu", o->metric->name, (unsigned long long)w->models[0].n,
           (unsigned long long)o->sampling->sample.seed);
    if (o->reference) {
        printf(", against ");
        cli_print_text(stdout, o->reference, 0);
    }
    printf("\n%s with weights %s\n", w->net.network, w->net.weights);
    if (w->ledger.n) printf("%zu scores are known from %s\n", w->ledger.n, w->ledger.path);
    (void)fflush(stdout);
}

cm_status trials_begin(trials *w, const searching *o, const char *usual)
{
    w->o = o;
    w->own = *o->sampling;
    w->own.sample.grid = 0; /* of the search */
    w->sides = o->sides;
    w->sides.sampling = &w->own;
    w->sides.progress = on_images;
    w->sides.progress_user = w;
    w->net = (cm_features_info)CM_FEATURES_INFO_INIT;
    name_files(w, usual);
    cm_status status = cm_features_open(o->context, o->weights, o->metric->net, &w->network);
    if (status == CM_OK) status = cm_features_info_get(w->network, &w->net);
    if (status == CM_OK) metrics_refuse_network(o->c, o->metric, 1, &w->net, o->sides.resize);
    if (status == CM_OK) status = open_reference(w);
    for (size_t i = 0; i < o->n_models && status == CM_OK; i++) status = open_model(w, i);
    if (status == CM_OK && o->reference)
        status = side_gather(o->c, o->context, &w->reference, w->network, &w->net, &o->sides, o->quiet || o->json);
    if (status == CM_OK) status = open_ledger(w);
    if (status == CM_OK) print_head(w);
    cli_progress_begin(&w->progress, w->what, o->quiet || o->json);
    return status;
}

void trials_end(trials *w, cm_status status)
{
    const searching *o = w->o;
    cli_progress_end(&w->progress);
    if (status != CM_OK && w->ledger.n) {
        fprintf(stderr, "%s: %zu scores are kept in '", o->c->program, w->ledger.n);
        cli_print_text(stderr, w->ledger.path, 0);
        fprintf(stderr, "': the same command goes on from there\n");
    }
    ledger_close(&w->ledger, status == CM_OK);
    for (size_t i = 0; i < o->n_models; i++) side_close(&w->models[i]);
    side_close(&w->reference);
    cm_features_free(w->network);
}

/* --- results ------------------------------------------------------------------------------- */

void trials_print_sigmas(FILE *out, const trial *p)
{
    fprintf(out, "[");
    for (size_t i = 0; i < p->n; i++) fprintf(out, "%s%.9g", i ? ", " : "", p->sigmas[i]);
    fprintf(out, "]");
}

void trials_print_facts(FILE *out, const trials *w)
{
    const searching *o = w->o;
    fprintf(out,
            "\"metric\": \"%s\",\n \"better\": \"%s\",\n \"features\": {\"network\": \"%s\", \"weights\": \"%s\"},\n",
            o->metric->name, metric_larger_is_better(o->metric) ? "larger" : "smaller", w->net.network,
            w->net.weights);
    if (o->reference) {
        fprintf(out, " \"reference\": {\"path\": ");
        cli_json_string(out, o->reference);
        if (w->reference.n) fprintf(out, ", \"images\": %llu", (unsigned long long)w->reference.n);
        fprintf(out, "},\n");
    }
    fprintf(out, " \"samples\": %llu,\n \"seed\": %llu,\n \"temperature\": %g,\n \"guidance\": %g,\n",
            (unsigned long long)w->models[0].n, (unsigned long long)o->sampling->sample.seed,
            sampling_temperature(o->sampling), sampling_guidance(o->sampling));
}

void trials_print_model(FILE *out, const trials *w, size_t i)
{
    fprintf(out, "\"model\": {\"path\": ");
    cli_json_string(out, w->models[i].path);
    fprintf(out, ", \"weights\": \"%s\", \"sigma_min\": %.9g, \"sigma_max\": %.9g}", w->weights[i],
            w->infos[i].sigma_min, w->infos[i].sigma_max);
}

cm_status trials_write(const trials *w, void (*print)(FILE *out, const trials *w, const void *found),
                       const void *found)
{
    const searching *o = w->o;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return CM_ERR_MEMORY;
    print(out, w, found);
    if (fclose(out) != 0) return CM_ERR_MEMORY;
    cli_write_file(o->c, w->result, text, size, o->force);
    if (o->json) fputs(text, stdout);
    free(text);
    if (o->json || o->quiet) return CM_OK;
    cli_print_text(stdout, w->result, 0);
    printf(", ");
    cli_print_text(stdout, w->plot, 0);
    printf("\n");
    return CM_OK;
}

/* --- names and levels ------------------------------------------------------------------- */

const char *trials_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

double trials_level(const cm_model_info *m, double share)
{
    char text[40];
    const double low = pow(m->sigma_min > 0 ? m->sigma_min : 0.002, 1 / 7.0), high = pow(m->sigma_max, 1 / 7.0);
    (void)snprintf(text, sizeof text, "%.6g", pow(high + share * (low - high), 7));
    return strtod(text, NULL);
}
