/* searching.c - see the header.
 *
 * Every score is of the same images: the same seed, labels in turn.  So two lists of levels differ by their levels
 * and not by chance, and a score that is in the ledger need not be computed again. */
#include "searching.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"
#include "plot.h"

enum { GRID = 40, PATH = 4400, MOST_POINTS = 160 };

/* A list of levels, or a number of steps, with its score. */
typedef struct {
    double sigmas[SEARCH_MOST];
    size_t n;
    int32_t steps, nfe;
    double score;
} point;

typedef struct {
    const searching *o;
    cm_features *network;
    cm_features_info net;
    side models[SEARCH_MODELS], reference;
    cm_model_info infos[SEARCH_MODELS];
    char weights[SEARCH_MODELS][TIMES_MODEL];
    sampling own;
    side_options sides;
    ledger ledger;
    char result[PATH], plot[PATH];
    /* Progress, in evaluations of the network for all images. */
    cli_progress progress;
    char what[128];
    double done, cost, left;
} work;

/* --- scores --------------------------------------------------------------------------- */

static int32_t on_images(void *user, uint64_t done, uint64_t total)
{
    work *w = user;
    const double now = w->done + w->cost * (double)done / (double)total, all = w->done + fmax(w->left, w->cost);
    return cli_progress_step(&w->progress, (uint64_t)(1000 * now), (uint64_t)(1000 * all));
}

static cm_status sample_and_measure(work *w, side *a, double *score)
{
    measured found;
    side_forget(a);
    cm_status status = cm_sampler_nfe(a->sampler, &w->own.sample, &a->nfe);
    w->cost = a->nfe;
    if (status == CM_OK) status = side_gather(w->o->context, a, w->network, &w->net, &w->sides, 1);
    if (status == CM_OK)
        status = metric_measure(w->o->context, w->o->metric, 0, 0, &w->net, a, &w->reference, &found);
    if (status == CM_OK) *score = found.values[0].value;
    if (status == CM_OK) w->done += w->cost;
    return status;
}

/* The score of what own.sample says, which `times` says in words; from the ledger where it is known. */
static cm_status score_of(work *w, size_t model, const char *times, double *score)
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

static void take_sigmas(work *w, const double *sigmas, size_t n)
{
    memcpy(w->own.sigmas, sigmas, n * sizeof *sigmas);
    w->own.sample.sigmas = w->own.sigmas;
    w->own.sample.sigma_count = n;
    w->own.sample.steps = 0;
    w->own.sample.method = CM_METHOD_MULTISTEP;
}

/* Of p's levels. */
static cm_status score_sigmas(work *w, size_t model, point *p)
{
    char times[LEDGER_KEY - 32];
    take_sigmas(w, p->sigmas, p->n);
    times_text(p->sigmas, p->n, times, sizeof times);
    return score_of(w, model, times, &p->score);
}

/* --- beginning and end ----------------------------------------------------------------------- */

/* The names of the result and its plot: times.json and times.svg. */
static void name_files(work *w, const char *usual)
{
    const searching *o = w->o;
    (void)snprintf(w->result, sizeof w->result, "%s", o->write ? o->write : usual);
    const size_t n = strlen(w->result), end = n > 5 && strcmp(w->result + n - 5, ".json") == 0 ? n - 5 : n;
    if (o->plot) (void)snprintf(w->plot, sizeof w->plot, "%s", o->plot);
    else (void)snprintf(w->plot, sizeof w->plot, "%.*s.svg", (int)end, w->result);
    cli_check_file(o->c, w->result, o->force);
    cli_check_file(o->c, w->plot, o->force);
}

static cm_status open_model(work *w, size_t i)
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
    if (status == CM_OK) metrics_refuse_sets(o->c, o->metric, 1, &w->net, o->few, a, &w->reference);
    return status;
}

static cm_status open_reference(work *w)
{
    const searching *o = w->o;
    w->reference.path = o->reference;
    if (!o->reference) return CM_OK;
    w->reference.wanted = metrics_wanted(o->metric, 1, &w->net, 1);
    return side_open(o->c, o->context, w->network, &w->net, &o->sides, &w->reference);
}

/* A hash of the mean and the covariance that samples are compared with. */
static cm_status reference_hash(const work *w, char text[TIMES_MODEL])
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
static cm_status open_ledger(work *w)
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
    ledger_fact(&w->ledger, "precision", "%s",
                cm_choice_name("precisions", (size_t)(precision ? precision : CM_PRECISION_F32)));
    ledger_open(&w->ledger, o->c, w->result);
    return CM_OK;
}

static void print_head(const work *w)
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

static cm_status begin(work *w, const searching *o, const char *usual)
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
        status = side_gather(o->context, &w->reference, w->network, &w->net, &o->sides, o->quiet || o->json);
    if (status == CM_OK) status = open_ledger(w);
    if (status == CM_OK) print_head(w);
    cli_progress_begin(&w->progress, w->what, o->quiet || o->json);
    return status;
}

/* Tells where a stopped search goes on, or removes what it would need for that. */
static void end(work *w, cm_status status)
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

static void print_sigmas(FILE *out, const point *p)
{
    fprintf(out, "[");
    for (size_t i = 0; i < p->n; i++) fprintf(out, "%s%.9g", i ? ", " : "", p->sigmas[i]);
    fprintf(out, "]");
}

static void print_facts(FILE *out, const work *w)
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
    fprintf(out, " \"samples\": %llu,\n \"seed\": %llu,\n", (unsigned long long)w->models[0].n,
            (unsigned long long)o->sampling->sample.seed);
}

static void print_model(FILE *out, const work *w, size_t i)
{
    fprintf(out, "\"model\": {\"path\": ");
    cli_json_string(out, w->models[i].path);
    fprintf(out, ", \"weights\": \"%s\", \"sigma_min\": %.9g, \"sigma_max\": %.9g}", w->weights[i],
            w->infos[i].sigma_min, w->infos[i].sigma_max);
}

/* Writes text that `print` makes, and shows it where --json asks for it. */
static cm_status write_result(const work *w, void (*print)(FILE *out, const work *w, const void *found),
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

/* --- the search -------------------------------------------------------------------------------- */

/* One level more: what was tried, falling, and the best of it. */
typedef struct {
    work *w;
    const point *before;
    const double *grid;
    point tried[MOST_POINTS];
    int32_t at[MOST_POINTS]; /* in the grid */
    size_t n, best;
    double points; /* that are looked at, about */
} round_;

typedef struct {
    double *grid;
    int32_t n_grid;
    point lists[SEARCH_MOST]; /* the best of each length, from `first` on */
    size_t first, n;
    round_ *rounds; /* of lists[first + 1 ...] */
} times_found;

static int better(const work *w, double a, double b)
{
    return metric_larger_is_better(w->o->metric) ? a > b : a < b;
}

/* Points that a search of so many candidates looks at, about (metrics.h). */
static double about_points(double candidates)
{
    return candidates < 4 ? candidates : 3.4 * log2(candidates);
}

static int32_t score_candidate(void *user, int32_t index, double *score)
{
    round_ *r = user;
    if (r->n == MOST_POINTS) return 1;
    point *p = &r->tried[r->n];
    *p = *r->before;
    p->sigmas[p->n++] = r->grid[index];
    r->w->left = fmax(r->points - (double)r->n, 1) * (double)p->n;
    for (size_t k = p->n + 1; k <= (size_t)r->w->o->steps; k++) r->w->left += r->points * (double)k;
    const cm_status status = score_sigmas(r->w, 0, p);
    if (status != CM_OK) return status;
    const point *best = &r->tried[r->best];
    r->at[r->n] = index;
    /* Of equal ones the first of the grid; chance may have led the search past the best one. */
    if (better(r->w, p->score, best->score) || (!better(r->w, best->score, p->score) && index < r->at[r->best]))
        r->best = r->n;
    r->n++;
    *score = p->score;
    return 0;
}

static cm_status search_level(work *w, const times_found *t, const point *before, round_ *r)
{
    const searching *o = w->o;
    cm_search_options s = CM_SEARCH_OPTIONS_INIT;
    int32_t best;
    *r = (round_){.w = w, .before = before, .grid = t->grid};
    s.larger = metric_larger_is_better(o->metric);
    s.right = t->n_grid - 2; /* the last point is the level of images without noise */
    while (s.left <= s.right && t->grid[s.left] >= before->sigmas[before->n - 1]) s.left++;
    if (s.left > s.right)
        cli_usage_error(o->c, "no point of a grid of %d is between level %g and the last one: give a larger --grid",
                        t->n_grid, before->sigmas[before->n - 1]);
    r->points = about_points(s.right - s.left + 1);
    cm_status status = cm_search_point(&s, score_candidate, r, &best);
    double only;
    if (status == CM_OK && r->n == 0 && score_candidate(r, best, &only) != 0) status = CM_ERR_CANCELLED;
    return status;
}

/* Karras's grid over the model's levels, rounded to what is printed of it. */
static cm_status make_grid(const work *w, times_found *t)
{
    const cm_model_info *m = &w->infos[0];
    const double low = pow(m->sigma_min > 0 ? m->sigma_min : 0.002, 1 / 7.0), high = pow(m->sigma_max, 1 / 7.0);
    t->n_grid = w->o->sampling->sample.grid ? w->o->sampling->sample.grid : GRID;
    t->grid = malloc((size_t)t->n_grid * sizeof *t->grid);
    if (!t->grid) return CM_ERR_MEMORY;
    for (int32_t i = 0; i < t->n_grid; i++) {
        char text[40];
        (void)snprintf(text, sizeof text, "%.6g", pow(high + (double)i / (t->n_grid - 1) * (low - high), 7));
        t->grid[i] = strtod(text, NULL);
    }
    return CM_OK;
}

static cm_status search_all(work *w, times_found *t)
{
    const searching *o = w->o;
    point *first = &t->lists[0];
    const sampling *given = o->sampling;
    first->n = given->sample.sigma_count ? given->sample.sigma_count : 1;
    if (first->n >= (size_t)o->steps)
        cli_usage_error(o->c, "--search-times %d finds nothing: --sigmas has %zu levels already", o->steps, first->n);
    memcpy(first->sigmas, given->sigmas, first->n * sizeof *first->sigmas);
    if (!given->sample.sigma_count) first->sigmas[0] = t->grid[0];
    t->n = (size_t)o->steps - first->n + 1;
    t->rounds = calloc(t->n, sizeof *t->rounds);
    if (!t->rounds) return CM_ERR_MEMORY;
    w->left = (double)first->n;
    for (size_t k = first->n + 1; k <= (size_t)o->steps; k++) w->left += about_points(t->n_grid) * (double)k;
    cm_status status = score_sigmas(w, 0, first);
    for (size_t i = 1; i < t->n && status == CM_OK; i++) {
        status = search_level(w, t, &t->lists[i - 1], &t->rounds[i]);
        if (status == CM_OK) t->lists[i] = t->rounds[i].tried[t->rounds[i].best];
    }
    return status;
}

static int by_sigma(const void *a, const void *b)
{
    const point *p = a, *q = b;
    const double x = p->sigmas[p->n - 1], y = q->sigmas[q->n - 1];
    return (x > y) - (x < y);
}

static void print_times(FILE *out, const work *w, const void *found)
{
    const times_found *t = found;
    const point *best = &t->lists[t->n - 1];
    fprintf(out, "{\"sigmas\": ");
    print_sigmas(out, best);
    fprintf(out, ",\n \"score\": %.9g,\n ", best->score);
    print_facts(out, w);
    fprintf(out, " \"grid\": %d,\n ", t->n_grid);
    print_model(out, w, 0);
    fprintf(out, ",\n \"lists\": [");
    for (size_t i = 0; i < t->n; i++) {
        fprintf(out, "%s\n  {\"sigmas\": ", i ? "," : "");
        print_sigmas(out, &t->lists[i]);
        fprintf(out, ", \"score\": %.9g}", t->lists[i].score);
    }
    fprintf(out, "],\n \"tried\": [");
    for (size_t i = 1, n = 0; i < t->n; i++)
        for (size_t k = 0; k < t->rounds[i].n; k++) {
            fprintf(out, "%s\n  {\"sigmas\": ", n++ ? "," : "");
            print_sigmas(out, &t->rounds[i].tried[k]);
            fprintf(out, ", \"score\": %.9g}", t->rounds[i].tried[k].score);
        }
    fprintf(out, "]}\n");
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* A line for each level that was searched. */
static cm_status plot_times(const work *w, times_found *t)
{
    char title[200], y_name[100], before[100];
    static plot p;
    double *values = calloc(2 * PLOT_SERIES * MOST_POINTS, sizeof *values);
    if (!values) return CM_ERR_MEMORY;
    p = (plot){.title = title, .x_name = "noise level \xcf\x83 of the step that is searched", .y_name = y_name};
    (void)snprintf(title, sizeof title, "%.100s: %s over the level of a step", last_part(w->models[0].path),
                   w->o->metric->name);
    (void)snprintf(y_name, sizeof y_name, "%s of %llu samples", w->o->metric->name,
                   (unsigned long long)w->models[0].n);
    for (size_t i = 1; i < t->n && p.n < PLOT_SERIES; i++) {
        round_ *r = &t->rounds[i];
        plot_series *s = &p.series[p.n];
        double *x = values + 2 * p.n++ * MOST_POINTS, *y = x + MOST_POINTS;
        const double best = t->lists[i].sigmas[t->lists[i].n - 1];
        qsort(r->tried, r->n, sizeof *r->tried, by_sigma);
        *s = (plot_series){.n = r->n, .x = x, .y = y, .marked = 1, .has_level = 1, .level = t->lists[i - 1].score};
        for (size_t k = 0; k < r->n; k++) {
            x[k] = r->tried[k].sigmas[r->tried[k].n - 1];
            y[k] = r->tried[k].score;
            if (!(x[k] < best) && !(x[k] > best)) s->best = k;
        }
        times_text(t->lists[i - 1].sigmas, t->lists[i - 1].n, before, sizeof before);
        (void)snprintf(s->name, sizeof s->name, "step %zu after %.80s (dashed: without it)", t->lists[i].n, before);
        (void)snprintf(s->label, sizeof s->label, "%.4g at %.4g", t->lists[i].score, best);
    }
    plot_write(w->o->c, &p, w->plot, w->o->force);
    free(values);
    return CM_OK;
}

/* What was found, in words. */
static void tell_times(const work *w, const times_found *t)
{
    char text[LEDGER_KEY];
    if (w->o->json || w->o->quiet) return;
    printf("the best of each length:\n");
    for (size_t i = 0; i < t->n; i++) {
        times_text(t->lists[i].sigmas, t->lists[i].n, text, sizeof text);
        printf("%-40s %.4g", text, t->lists[i].score);
        if (i && !better(w, t->lists[i].score, t->lists[i - 1].score)) printf("  (no better than one step fewer)");
        printf("\n");
    }
}

cm_status searching_times(const searching *s)
{
    static work w;
    static times_found t;
    cm_status status = begin(&w, s, "times.json");
    if (status == CM_OK) status = make_grid(&w, &t);
    if (status == CM_OK) status = search_all(&w, &t);
    if (status == CM_OK) tell_times(&w, &t);
    if (status == CM_OK) status = plot_times(&w, &t);
    if (status == CM_OK) status = write_result(&w, print_times, &t);
    end(&w, status);
    free(t.grid);
    free(t.rounds);
    return status;
}

/* --- the curve ------------------------------------------------------------------------------------ */

typedef struct {
    point points[SEARCH_MODELS][SEARCH_MOST];
    int32_t methods[SEARCH_MODELS];
} curves;

/* Levels of n steps that nobody has searched: evenly on Karras's scale, the last one above the images' own. */
static void spread_levels(const cm_model_info *m, point *p)
{
    const double low = pow(m->sigma_min > 0 ? m->sigma_min : 0.002, 1 / 7.0), high = pow(m->sigma_max, 1 / 7.0);
    p->n = (size_t)p->steps;
    for (size_t i = 0; i < p->n; i++) {
        char text[40];
        (void)snprintf(text, sizeof text, "%.6g", pow(high + (double)i / (double)p->n * (low - high), 7));
        p->sigmas[i] = strtod(text, NULL);
    }
}

/* Of p->steps steps of a model: the levels of --times, the model's own where it has any for so many, or an even list.
 */
static cm_status choose_levels(work *w, size_t model, int32_t method, point *p)
{
    cm_sample_options *sample = &w->own.sample;
    const sampling *given = w->o->sampling;
    sample->sigmas = NULL;
    sample->sigma_count = 0;
    sample->steps = method == CM_METHOD_ONESTEP && p->steps == 1 ? 0 : p->steps;
    sample->method = method;
    p->n = 0;
    if (given->times) {
        char unused[TIMES_MODEL];
        p->n = times_read(w->o->c, given->times, p->steps, p->sigmas, SEARCH_MOST, unused);
    } else if (method != CM_METHOD_MULTISTEP || cm_sampler_nfe(w->models[model].sampler, sample, &p->nfe) == CM_OK) {
        return cm_sampler_nfe(w->models[model].sampler, sample, &p->nfe);
    } else spread_levels(&w->infos[model], p);
    p->nfe = (int32_t)p->n;
    take_sigmas(w, p->sigmas, p->n);
    return CM_OK;
}

static cm_status score_point(work *w, size_t model, int32_t method, point *p)
{
    char times[LEDGER_KEY - 32], levels[LEDGER_KEY - 64];
    cm_status status = choose_levels(w, model, method, p);
    times_text(p->sigmas, p->n, levels, sizeof levels);
    (void)snprintf(times, sizeof times, "%s, %d step%s%s%s", cm_choice_name("methods", (size_t)method), p->steps,
                   p->steps == 1 ? "" : "s", p->n ? ": " : "", levels);
    return status == CM_OK ? score_of(w, model, times, &p->score) : status;
}

/* Consistency models take several steps, others Heun's, where no method was named. */
static int32_t method_of(const work *w, size_t model)
{
    const int32_t given = w->o->sampling->sample.method;
    if (given != CM_METHOD_DEFAULT) return given;
    return w->infos[model].is_consistency ? CM_METHOD_MULTISTEP : CM_METHOD_HEUN;
}

static cm_status score_curves(work *w, curves *found)
{
    const searching *o = w->o;
    cm_status status = CM_OK;
    /* What cannot be sampled is told before the first sample is drawn. */
    for (int draws = 0; draws < 2; draws++)
        for (size_t i = 0; i < o->n_models; i++) {
            found->methods[i] = method_of(w, i);
            if (draws && o->n_models > 1 && !o->quiet && !o->json) printf("%s\n", last_part(w->models[i].path));
            for (size_t k = 0; k < o->n_counts && status == CM_OK; k++) {
                point *p = &found->points[i][k];
                p->steps = o->counts[k];
                status = draws ? score_point(w, i, found->methods[i], p) : choose_levels(w, i, found->methods[i], p);
                w->left += draws ? -p->nfe : p->nfe;
            }
        }
    return status;
}

static void print_curves(FILE *out, const work *w, const void *found)
{
    const curves *f = found;
    const searching *o = w->o;
    fprintf(out, "{");
    print_facts(out, w);
    fprintf(out, " \"curves\": [");
    for (size_t i = 0; i < o->n_models; i++) {
        fprintf(out, "%s\n  {", i ? "," : "");
        print_model(out, w, i);
        fprintf(out, ",\n   \"method\": \"%s\",\n   \"points\": [", cm_choice_name("methods", (size_t)f->methods[i]));
        for (size_t k = 0; k < o->n_counts; k++) {
            const point *p = &f->points[i][k];
            fprintf(out, "%s\n    {\"steps\": %d, \"nfe\": %d, \"score\": %.9g", k ? "," : "", p->steps, p->nfe,
                    p->score);
            if (p->n) fprintf(out, ", \"sigmas\": ");
            if (p->n) print_sigmas(out, p);
            fprintf(out, "}");
        }
        fprintf(out, "]}");
    }
    fprintf(out, "]}\n");
}

static cm_status plot_curves(const work *w, const curves *found)
{
    static plot p;
    static double x[SEARCH_MODELS][SEARCH_MOST], y[SEARCH_MODELS][SEARCH_MOST];
    const searching *o = w->o;
    char y_name[100];
    p = (plot){.title = "quality against network evaluations",
               .x_name = "network evaluations of an image",
               .y_name = y_name,
               .at_points = 1,
               .n = o->n_models};
    (void)snprintf(y_name, sizeof y_name, "%s of %llu samples", o->metric->name, (unsigned long long)w->models[0].n);
    for (size_t i = 0; i < o->n_models; i++) {
        p.series[i] = (plot_series){.n = o->n_counts, .x = x[i], .y = y[i]};
        (void)snprintf(p.series[i].name, sizeof p.series[i].name, "%.80s, %s", last_part(w->models[i].path),
                       cm_choice_name("methods", (size_t)found->methods[i]));
        for (size_t k = 0; k < o->n_counts; k++) {
            x[i][k] = found->points[i][k].nfe;
            y[i][k] = found->points[i][k].score;
        }
    }
    plot_write(o->c, &p, w->plot, o->force);
    return CM_OK;
}

cm_status searching_curve(const searching *s)
{
    static work w;
    static curves found;
    cm_status status = begin(&w, s, "curve.json");
    if (status == CM_OK) status = score_curves(&w, &found);
    if (status == CM_OK) status = plot_curves(&w, &found);
    if (status == CM_OK) status = write_result(&w, print_curves, &found);
    end(&w, status);
    return status;
}
