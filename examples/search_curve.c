/* search_curve.c - a metric for several numbers of steps. */
#include <string.h>

#include "plot.h"
#include "trials.h"

typedef struct {
    trial points[SEARCH_MODELS][SEARCH_MOST];
    int32_t methods[SEARCH_MODELS];
} curves;

/* Levels of n steps that nobody has searched: evenly on Karras's scale, the last one above the images' own. */
static void spread_levels(const cm_model_info *m, trial *p)
{
    p->n = (size_t)p->steps;
    for (size_t i = 0; i < p->n; i++) p->sigmas[i] = trials_level(m, (double)i / (double)p->n);
}

/* Of p->steps steps of a model: the levels of --times, the model's own where it has any for so many, or an even list.
 */
static cm_status choose_levels(trials *w, size_t model, int32_t method, trial *p)
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
    } else if (p->steps > SEARCH_MOST) {
        cli_usage_error(w->o->c, "--curve: %d steps of %s, which multistep sampling takes at most %d of here",
                        p->steps, w->models[model].path, SEARCH_MOST);
    } else spread_levels(&w->infos[model], p);
    p->nfe = (int32_t)p->n;
    trials_take_sigmas(w, p->sigmas, p->n);
    return CM_OK;
}

static cm_status score_point(trials *w, size_t model, int32_t method, trial *p)
{
    char times[TRIALS_TEXT], levels[TRIALS_TEXT - 64];
    cm_status status = choose_levels(w, model, method, p);
    times_text(p->sigmas, p->n, levels, sizeof levels);
    (void)snprintf(times, sizeof times, "%s, %d step%s%s%s", cm_choice_name("methods", (size_t)method), p->steps,
                   p->steps == 1 ? "" : "s", p->n ? ": " : "", levels);
    return status == CM_OK ? trials_score(w, model, times, &p->score) : status;
}

/* Consistency models take several steps, others Heun's, where no method was named. */
static int32_t method_of(const trials *w, size_t model)
{
    const int32_t given = w->o->sampling->sample.method;
    if (given != CM_METHOD_DEFAULT) return given;
    return w->infos[model].is_consistency ? CM_METHOD_MULTISTEP : CM_METHOD_HEUN;
}

static cm_status score_curves(trials *w, curves *found)
{
    const searching *o = w->o;
    cm_status status = CM_OK;
    /* What cannot be sampled is told before the first sample is drawn. */
    for (int draws = 0; draws < 2; draws++)
        for (size_t i = 0; i < o->n_models && status == CM_OK; i++) {
            found->methods[i] = method_of(w, i);
            if (draws && o->n_models > 1 && !o->quiet && !o->json) printf("%s\n", trials_name(w->models[i].path));
            for (size_t k = 0; k < o->n_counts && status == CM_OK; k++) {
                trial *p = &found->points[i][k];
                p->steps = o->counts[k];
                status = draws ? score_point(w, i, found->methods[i], p) : choose_levels(w, i, found->methods[i], p);
                w->left += draws ? -p->nfe : p->nfe;
            }
        }
    return status;
}

static void print_curves(FILE *out, const trials *w, const void *found)
{
    const curves *f = found;
    const searching *o = w->o;
    fprintf(out, "{");
    trials_print_facts(out, w);
    fprintf(out, " \"curves\": [");
    for (size_t i = 0; i < o->n_models; i++) {
        fprintf(out, "%s\n  {", i ? "," : "");
        trials_print_model(out, w, i);
        fprintf(out, ",\n   \"method\": \"%s\",\n   \"points\": [", cm_choice_name("methods", (size_t)f->methods[i]));
        for (size_t k = 0; k < o->n_counts; k++) {
            const trial *p = &f->points[i][k];
            fprintf(out, "%s\n    {\"steps\": %d, \"nfe\": %d, \"score\": %.9g", k ? "," : "", p->steps, p->nfe,
                    p->score);
            if (p->n) fprintf(out, ", \"sigmas\": ");
            if (p->n) trials_print_sigmas(out, p);
            fprintf(out, "}");
        }
        fprintf(out, "]}");
    }
    fprintf(out, "]}\n");
}

static cm_status plot_curves(const trials *w, const curves *found)
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
        (void)snprintf(p.series[i].name, sizeof p.series[i].name, "%.80s, %s", trials_name(w->models[i].path),
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
    static trials w;
    static curves found;
    cm_status status = trials_begin(&w, s, "curve.json");
    if (status == CM_OK) status = score_curves(&w, &found);
    if (status == CM_OK) status = plot_curves(&w, &found);
    if (status == CM_OK) status = trials_write(&w, print_curves, &found);
    trials_end(&w, status);
    return status;
}
