/* auto_stage.c - one stage: its run is begun or goes on, is watched, and gets other steps where the clock asks for
 * it. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auto.h"

typedef struct {
    auto_run *a;
    const plan_stage *s;
    cm_run *run;
    int64_t revised; /* the steps that the run is to go on with, 0: none */
    /* The pace: since `since` seconds of the plan, so many steps have taken so many seconds of their own. */
    int64_t taken;
    double since, seconds;
    double shown, kept; /* when the line was shown and the clock written, seconds of the plan */
    int64_t looked;     /* the step of the last look at what is held out */
} watcher;

enum { LOOKS = 12 }; /* at what is held out, of a stage */

/* --- the directory ------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* Whether the stage has a checkpoint to go on from; what a kill has left before the first one goes. */
static int goes_on(const auto_run *a)
{
    char path[AUTO_PATH];
    auto_stage_path(a, a->stage, "checkpoints/LATEST", path);
    if (auto_exists(path)) return 1;
    auto_stage_path(a, a->stage, "", path);
    if (auto_exists(path)) (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/* --- its options ---------------------------------------------------------------------------------- */

static cm_status set_pairs(cm_run_options *o, const char *options)
{
    char text[PLAN_OPTIONS], *rest = text;
    cm_status status = CM_OK;
    (void)snprintf(text, sizeof text, "%s", options);
    for (char *pair; status == CM_OK && (pair = strtok_r(rest, " ", &rest)) != NULL;) {
        char *equals = strchr(pair, '=');
        *equals = '\0';
        status = cm_run_options_set(o, pair, equals + 1);
    }
    return status;
}

int auto_is_read(const char *key, const char *objective)
{
    int number = 0;
    while (cm_choice_name("objectives", (size_t)number) &&
           strcmp(cm_choice_name("objectives", (size_t)number), objective) != 0)
        number++;
    for (size_t i = 0; i < cm_train_option_count(); i++) {
        cm_option_info info = CM_OPTION_INFO_INIT;
        if (cm_train_option_describe(i, &info) == CM_OK && strcmp(info.name, key) == 0)
            return (info.objectives >> number & 1) != 0;
    }
    return 1;
}

static cm_status set_given(const auto_run *a, const plan_stage *s, cm_run_options *o)
{
    cm_status status = CM_OK;
    for (int i = 0; i < a->n_given && status == CM_OK; i++) {
        const auto_given *g = &a->given[i];
        if (g->stage == s->number || (g->stage < 0 && auto_is_read(g->key, s->kind->objective)))
            status = cm_run_options_set(o, g->key, g->value);
    }
    return status;
}

/* The network of the first stage; of the others the weights that the one before has left, with which one begins that
 * has no other than its teacher. */
static cm_status set_models(const auto_run *a, const plan_stage *s, cm_run_options *o)
{
    char path[AUTO_PATH];
    cm_status status = CM_OK;
    if (a->stage == 0) return cm_run_options_set(o, "network", a->plan.rung < 0 ? a->data.network : a->plan.network);
    auto_stage_path(a, 0, "model.safetensors", path);
    if (s->kind->teacher) status = cm_run_options_set(o, "teacher", path);
    if (status != CM_OK || (s->kind->teacher && a->stage == 1)) return status;
    auto_stage_path(a, a->stage - 1, "model.safetensors", path);
    return cm_run_options_set(o, "init", path);
}

double auto_guidance(const auto_run *a, int stage)
{
    static const char word[] = " guidance=";
    const char *planned = strstr(a->plan.stages[stage].options, word);
    return planned ? strtod(planned + strlen(word), NULL) : 1;
}

int auto_is_given(const auto_run *a, const plan_stage *s, const char *key)
{
    for (int i = 0; i < a->n_given; i++)
        if (strcmp(a->given[i].key, key) == 0 && (a->given[i].stage < 0 || a->given[i].stage == s->number)) return 1;
    return 0;
}

/* Checkpoints by the clock and few pages, unless others were asked for. */
static cm_status set_pace(const auto_run *a, const plan_stage *s, cm_run_options *o)
{
    static const double least = 5, most = 180; /* seconds between checkpoints */
    const double part = a->budget / 60;
    char text[40];
    (void)snprintf(text, sizeof text, "%.0f", part < least ? least : part > most ? most : part);
    cm_status status = cm_run_options_set(o, "checkpoint_seconds", text);
    if (status == CM_OK) status = cm_run_options_set(o, "keep", "2");
    if (status == CM_OK && !auto_is_given(a, s, "sample_every")) status = cm_run_options_set(o, "sample_share", "2");
    return status;
}

/* All but models, pictures and the steps of a stage that the clock decides. */
static cm_status set_all(const auto_run *a, const plan_stage *s, cm_run_options *o)
{
    cm_status status = set_pairs(o, s->options);
    if (status == CM_OK) status = cm_run_options_set_number(o, "threads", a->threads);
    if (status == CM_OK) status = set_pace(a, s, o);
    return status == CM_OK ? set_given(a, s, o) : status;
}

cm_status auto_stage_check(const auto_run *a)
{
    const plan_stage *s = &a->plan.stages[a->stage];
    cm_run_options *o;
    cm_model *model = NULL;
    cm_status status = cm_run_options_create(a->context, &o);
    if (status != CM_OK) return status;
    const char *network = a->plan.rung < 0 ? a->data.network : a->plan.network;
    status = cm_model_create(a->context, network, 0, &model);
    if (status == CM_OK) status = set_all(a, s, o);
    if (status == CM_OK) status = cm_run_options_inputs(o, model, s->kind->teacher ? model : NULL, a->set);
    if (status == CM_OK) status = cm_run_options_check(o);
    cm_model_free(model);
    cm_run_options_free(o);
    return status;
}

static cm_status stage_options(const auto_run *a, int goes, cm_run_options **out)
{
    const plan_stage *s = &a->plan.stages[a->stage];
    char directory[AUTO_PATH], steps[24];
    cm_run_options *o;
    auto_stage_path(a, a->stage, "", directory);
    (void)snprintf(steps, sizeof steps, "%lld", (long long)s->steps);
    cm_status status = cm_run_options_create(a->context, &o);
    if (status != CM_OK) return status;
    cm_run_options_prefix(o, "--");
    if (goes) status = cm_run_options_load(o, directory);
    if (status == CM_OK) status = set_all(a, s, o);
    if (status == CM_OK) status = set_models(a, s, o);
    if (status == CM_OK) status = cm_run_options_set(o, "steps", steps);
    if (status == CM_OK && goes && !s->is_fixed) status = cm_run_options_set(o, "allow_changes", "1");
    if (status == CM_OK) status = cm_run_options_inputs(o, NULL, NULL, a->set);
    if (status == CM_OK) *out = o;
    else cm_run_options_free(o);
    return status;
}

/* --- on the way ------------------------------------------------------------------------------------ */

static double step_seconds(const auto_run *a, const plan_stage *s)
{
    return s->seconds_image * a->plan.batch / recipe.work;
}

/* Of all stages, this one's rest by its own pace. */
static double seconds_left(const auto_run *a, double of_stage)
{
    double left = of_stage;
    for (int k = a->stage + 1; k < a->plan.n_stages; k++)
        left += plan_allowance(&a->plan, k, a->budget - auto_spent(a) - left, a->slowness);
    return left;
}

static void show(watcher *w, const cm_run_report *r)
{
    auto_run *a = w->a;
    const double rate = step_seconds(a, w->s) * a->slowness;
    const double now = auto_spent(a), left = seconds_left(a, (double)(r->steps - r->step) * rate);
    const int live = isatty(2);
    if (a->quiet || (now - w->shown < (live ? 0.2 : 30) && r->step < r->steps)) return;
    w->shown = now;
    fprintf(stderr, "%s[%d/%d %s] step %lld of %lld  loss %.5g  %.4g images/s  %.0f %% of all  %d:%02d:%02d left%s",
            live ? "\r" : "", a->stage + 1, a->plan.n_stages, w->s->kind->name, (long long)r->step,
            (long long)r->steps, r->loss, r->images_per_second, 100 * now / (now + left), (int)(left / 3600),
            (int)(left / 60) % 60, (int)left % 60, live ? "\033[K" : "\n");
}

static cm_status snapshot(cm_trainer *trainer, cm_model **out)
{
    const cm_status status = cm_trainer_model(trainer, CM_WEIGHTS_EMA, 0, out);
    return status == CM_ERR_ARGUMENT ? cm_trainer_model(trainer, CM_WEIGHTS_ONLINE, 0, out) : status;
}

static void look(watcher *w, const cm_run_report *r)
{
    auto_losses losses;
    cm_model *model;
    auto_run *a = w->a;
    const int64_t every = r->steps / LOOKS > 0 ? r->steps / LOOKS : 1;
    if (!a->held || (r->step - w->looked < every && r->step < r->steps)) return;
    w->looked = r->step;
    if (snapshot(cm_run_trainer(w->run), &model) != CM_OK) return;
    if (auto_losses_of(a, model, &losses) == CM_OK)
        auto_log(a, "\"event\": \"look\", \"stage\": \"%s\", \"step\": %lld, \"training\": %.6g, \"held_out\": %.6g",
                 w->s->kind->name, (long long)r->step, losses.training, losses.held_out);
    cm_model_free(model);
}

/* Whether the stage ends when it has to, now and then; if not, the steps are revised. */
static int is_to_be_revised(watcher *w, const cm_run_report *r)
{
    static const double share = 0.01; /* of the budget, that an end may be off by */
    auto_run *a = w->a;
    const double now = auto_spent(a), least = a->budget / 200 < 10 ? a->budget / 200 : 10;
    w->taken++;
    w->seconds += r->training->seconds;
    if (now - w->since < least || w->taken < 3) return 0;
    const double rate = w->seconds / (double)w->taken / recipe.work; /* a page in between is no slow step */
    w->taken = 0, w->seconds = 0, w->since = now;
    a->slowness = rate / step_seconds(a, w->s);
    if (w->s->is_fixed) return 0;
    const int64_t steps = plan_revised(r->step, r->steps, rate, a->stage_ends - now, share * a->budget);
    if (steps == r->steps) return 0;
    w->revised = steps;
    return 1;
}

static int32_t on_report(void *user, const cm_run_report *r)
{
    watcher *w = user;
    auto_run *a = w->a;
    const double pause = a->budget / 200 < 10 ? a->budget / 200 : 10;
    if (r->event != CM_RUN_STEP) return 0;
    look(w, r);
    const int stops = is_to_be_revised(w, r);
    show(w, r);
    if (auto_spent(a) - w->kept > pause) {
        w->kept = auto_spent(a);
        auto_write_clock(a);
    }
    return stops;
}

/* --- the stage ------------------------------------------------------------------------------------- */

/* The run to its end, or to where its steps are revised. */
static cm_status go(auto_run *a, watcher *w)
{
    cm_run_options *o = NULL;
    cm_run_info info = CM_RUN_INFO_INIT;
    cm_run_needs needs = CM_RUN_NEEDS_INIT;
    char directory[AUTO_PATH];
    auto_stage_path(a, a->stage, "", directory);
    cm_status status = stage_options(a, goes_on(a), &o);
    if (status == CM_OK) status = cm_run_create(o, directory, &w->run);
    if (status == CM_OK) status = cm_run_estimate(w->run, CM_RUN_MEMORY, &needs); /* MEMORY: it does not fit */
    if (status == CM_OK) status = cm_run_begin(w->run);
    if (status == CM_OK) status = cm_run_info_get(w->run, &info);
    w->revised = 0;
    w->looked = info.step;
    w->taken = 0, w->seconds = 0;
    w->since = w->kept = auto_spent(a);
    if (status == CM_OK) {
        cli_catch_signals_for(w->run);
        status = cm_run_execute(w->run, info.steps, on_report, w);
        cli_catch_signals_for(NULL);
    }
    cm_run_free(w->run);
    cm_run_options_free(o);
    return status;
}

cm_status auto_stage(auto_run *a)
{
    plan_stage *s = &a->plan.stages[a->stage];
    watcher w = {.a = a, .s = s, .shown = auto_spent(a)};
    cm_status status;
    status = auto_read_looks(a);
    if (status != CM_OK) return status;
    do {
        auto_write_clock(a);
        status = go(a, &w);
        if (status == CM_ERR_CANCELLED && w.revised && !cli_interrupted()) {
            auto_log(a, "\"event\": \"revised\", \"stage\": \"%s\", \"steps\": %lld, \"before\": %lld", s->kind->name,
                     (long long)w.revised, (long long)s->steps);
            s->steps = w.revised; /* which the clock's file holds for a resume */
        } else w.revised = 0;
    } while (w.revised);
    return status;
}
