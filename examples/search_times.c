/* search_times.c - the noise levels at which a model is best, one after the other. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plot.h"
#include "trials.h"

enum { GRID = 40, POINTS = 160 };

/* One level more: what was tried, falling, and the best of it. */
typedef struct {
    trials *w;
    const trial *before;
    const double *grid;
    trial tried[POINTS];
    int32_t at[POINTS]; /* in the grid */
    size_t n, best;
    double points; /* that are looked at, about */
} level_search;

typedef struct {
    double *grid;
    int32_t n_grid;
    trial lists[SEARCH_MOST]; /* the best of each length */
    size_t n;
    level_search *rounds; /* of lists[1 ...] */
} times_found;

static int better(const trials *w, double a, double b)
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
    level_search *r = user;
    if (r->n == POINTS) return 1;
    trial *p = &r->tried[r->n];
    *p = *r->before;
    p->sigmas[p->n++] = r->grid[index];
    r->w->left = fmax(r->points - (double)r->n, 1) * (double)p->n;
    for (size_t k = p->n + 1; k <= (size_t)r->w->o->steps; k++) r->w->left += r->points * (double)k;
    const cm_status status = trials_score_sigmas(r->w, 0, p);
    if (status != CM_OK) return status;
    const trial *best = &r->tried[r->best];
    r->at[r->n] = index;
    /* Of equal ones the first of the grid; chance may have led the search past the best one. */
    if (better(r->w, p->score, best->score) || (!better(r->w, best->score, p->score) && index < r->at[r->best]))
        r->best = r->n;
    r->n++;
    *score = p->score;
    return 0;
}

static cm_status search_level(trials *w, const times_found *t, const trial *before, level_search *r)
{
    const searching *o = w->o;
    cm_search_options s = CM_SEARCH_OPTIONS_INIT;
    int32_t best;
    *r = (level_search){.w = w, .before = before, .grid = t->grid};
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

static cm_status make_grid(const trials *w, times_found *t)
{
    t->n_grid = w->o->sampling->sample.grid ? w->o->sampling->sample.grid : GRID;
    t->grid = malloc((size_t)t->n_grid * sizeof *t->grid);
    if (!t->grid) return CM_ERR_MEMORY;
    for (int32_t i = 0; i < t->n_grid; i++) t->grid[i] = trials_level(&w->infos[0], (double)i / (t->n_grid - 1));
    return CM_OK;
}

static cm_status search_all(trials *w, times_found *t)
{
    const searching *o = w->o;
    trial *first = &t->lists[0];
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
    cm_status status = trials_score_sigmas(w, 0, first);
    for (size_t i = 1; i < t->n && status == CM_OK; i++) {
        status = search_level(w, t, &t->lists[i - 1], &t->rounds[i]);
        if (status == CM_OK) t->lists[i] = t->rounds[i].tried[t->rounds[i].best];
    }
    return status;
}

static int by_sigma(const void *a, const void *b)
{
    const trial *p = a, *q = b;
    const double x = p->sigmas[p->n - 1], y = q->sigmas[q->n - 1];
    return (x > y) - (x < y);
}

static void print_times(FILE *out, const trials *w, const void *found)
{
    const times_found *t = found;
    const trial *best = &t->lists[t->n - 1];
    fprintf(out, "{\"sigmas\": ");
    trials_print_sigmas(out, best);
    fprintf(out, ",\n \"score\": %.9g,\n ", best->score);
    trials_print_facts(out, w);
    fprintf(out, " \"grid\": %d,\n ", t->n_grid);
    trials_print_model(out, w, 0);
    fprintf(out, ",\n \"lists\": [");
    for (size_t i = 0; i < t->n; i++) {
        fprintf(out, "%s\n  {\"sigmas\": ", i ? "," : "");
        trials_print_sigmas(out, &t->lists[i]);
        fprintf(out, ", \"score\": %.9g}", t->lists[i].score);
    }
    fprintf(out, "],\n \"tried\": [");
    for (size_t i = 1, n = 0; i < t->n; i++)
        for (size_t k = 0; k < t->rounds[i].n; k++) {
            fprintf(out, "%s\n  {\"sigmas\": ", n++ ? "," : "");
            trials_print_sigmas(out, &t->rounds[i].tried[k]);
            fprintf(out, ", \"score\": %.9g}", t->rounds[i].tried[k].score);
        }
    fprintf(out, "]}\n");
}

/* A line for each level that was searched. */
static cm_status plot_times(const trials *w, times_found *t)
{
    char title[200], y_name[100], before[100];
    static plot p;
    double *values = calloc(2 * PLOT_SERIES * POINTS, sizeof *values);
    if (!values) return CM_ERR_MEMORY;
    p = (plot){.title = title, .x_name = "noise level \xcf\x83 of the step that is searched", .y_name = y_name};
    (void)snprintf(title, sizeof title, "%.100s: %s over the level of a step", trials_name(w->models[0].path),
                   w->o->metric->name);
    (void)snprintf(y_name, sizeof y_name, "%s of %llu samples", w->o->metric->name,
                   (unsigned long long)w->models[0].n);
    for (size_t i = 1; i < t->n && p.n < PLOT_SERIES; i++) {
        level_search *r = &t->rounds[i];
        plot_series *s = &p.series[p.n];
        double *x = values + 2 * p.n++ * POINTS, *y = x + POINTS;
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
static void tell_times(const trials *w, const times_found *t)
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
    static trials w;
    static times_found t;
    cm_status status = trials_begin(&w, s, "times.json");
    if (status == CM_OK) status = make_grid(&w, &t);
    if (status == CM_OK) status = search_all(&w, &t);
    if (status == CM_OK) tell_times(&w, &t);
    if (status == CM_OK) status = plot_times(&w, &t);
    if (status == CM_OK) status = trials_write(&w, print_times, &t);
    trials_end(&w, status);
    free(t.grid);
    free(t.rounds);
    return status;
}
