/* train.c - cm-train: learns from pictures, in a directory that explains itself and survives being killed (run.h). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auto.h"
#include "doctor.h"
#include "feature_files.h"
#include "ranks.h"

/* What only the program knows comes first; from DATA on each is an option of the run, "-" written for its "_". */
enum {
    OUT,
    RESUME,
    CONFIG,
    SET,
    NO_ESTIMATE,
    BUDGET,
    SHARES,
    GUIDANCE,
    HELD_OUT,
    GRAY,
    PRINT_PLAN,
    PRINT_CONFIG,
    DOCTOR,
    LIST_PRESETS,
    LIST_OPTIONS,
    QUIET,
    MPI,
    MPI_TIMEOUT,
    LOG_RANKS,
    DATA
};
static const cli_option options[] = {
    {"out", 'o', "RUN", "the run's directory: new or empty, or with --resume one to continue"},
    {"resume", 0, NULL, "continue RUN from its newest checkpoint"},
    {"config", 0, "FILE", "begin with the numbers of a run's config.json, or of what --print-config prints"},
    {"set", 0, "KEY=VALUE", "any other option; --list-options and docs/training.md have them; may be repeated"},
    {"no-estimate", 0, NULL, "neither compare memory nor time two steps before the run"},
    {"budget", 0, "TIME", "with --preset auto: how long all of it may take, such as 20min, 3h or 1d"},
    {"shares", 0, "A,B,C",
     "with --preset auto: shares of teacher, mid-training and tuning; 0 leaves one out (40,0,60)"},
    {"guidance", 0, "W",
     "with --preset auto, of sets with classes: the scale of guidance that the tuning learns, above 1, as 2 or 3 "
     "(none)"},
    {"held-out", 0, "X",
     "with --preset auto: the percentage of the pictures that is watched and not learnt from, 0 to 50 (5 from 200 "
     "pictures on)"},
    {"gray", 0, NULL, "with --preset auto: images of one channel; colours become their luminance"},
    {"print-plan", 0, NULL, "with --preset auto: print what would be done, and stop"},
    {"print-config", 0, NULL, "print all that a run would be made with, for --config, and stop"},
    {"doctor", 0, "RUN", "read the log of a run or a plan, say what is suspicious in it and what to do, and stop"},
    {"list-presets", 0, NULL, "print the presets and stop"},
    {"list-options", 0, NULL, "print the options of training, which --set takes, and stop"},
    {"quiet", 'q', NULL, "print nothing but warnings and errors"},
    {"mpi", 0, NULL, "be one of several processes; mpirun and srun are seen without it"},
    {"mpi-timeout", 0, "S", "seconds after which a process that does not answer has failed (600)"},
    {"log-ranks", 0, NULL, "of several processes each prints its progress and its warnings, not the first alone"},
    {"data", 'd', "PATH", "the pictures: a folder, .tar, .zip, .npz, CIFAR-10 binary or MNIST idx"},
    {"preset", 'p', "NAME",
     "a named set of options, --list-presets shows them all; auto: plan and make all that a budget allows"},
    {"objective", 0, "NAME", "{objectives}"},
    {"steps", 'n', "N", "the number of steps in all"},
    {"batch", 'b', "N", "the number of images of a step"},
    {"seed", 's', "N", "the number that all of the run's chance follows from (0)"},
    {"threads", 't', "N", "the number of threads (all processors that the process may use)"},
    {"init", 0, "FILE", "a model whose weights the run begins with"},
    {"teacher", 0, "FILE", "the model to distil; cd and pd begin with its weights unless --init is given"},
    {"network", 0, "JSON",
     "a new model's {network, precond, image}, or a file of it; given: that of --init or --teacher; with --preset "
     "auto "
     "tiny, small, middle, large or largest, too"},
    {"size", 0, "N", "pictures are cut to N x N (the network's size)"},
    {"labels", 0, "RULE", "where classes come from: {label_rules} (of the file names)"},
    {"class-names", 0, "LIST", "a name for each class with commas between them, in place of those of the pictures"},
    {"random-crop", 0, NULL, "take random crops of 80 to 100 % instead of the centre"},
    {"stop-on-bad", 0, NULL, "a picture that cannot be read ends the run"},
    {"checkpoint-every", 0, "N", "the number of steps between checkpoints (a twentieth of all)"},
    {"checkpoint-seconds", 0, "S", "the number of seconds between checkpoints beside those (0: none of these)"},
    {"keep", 0, "N", "the number of checkpoints that are kept (3; 0: all)"},
    {"sample-every", 0, "N",
     "steps between whole pages of samples, 0: none (a twentieth of all, in --sample-share of the time)"},
    {"sample-share", 0, "X", "the percentage of the run's time that pages of samples may take (5)"},
    {"sample-rows", 0, "N", "the number of rows of a page of samples (by the model)"},
    {"sample-columns", 0, "N", "the number of images in a row of it (by the model)"},
    {"log-every", 0, "N", "the number of steps between lines of the log (a two-thousandth of all)"},
    {"metric", 'm', "NAME",
     "log a Frechet distance of samples and keep the best weights: fid, fd-lenet, fd-resnet20 or fd-resnet56"},
    {"metric-data", 0, "PATH", "what samples are compared with: statistics or features (.npz), or pictures"},
    {"metric-features", 0, "FILE", "the weights of the feature network; models/features/NET.safetensors"},
    {"metric-every", 0, "N", "steps between evaluations (a twentieth of all, in --metric-share of the time)"},
    {"metric-share", 0, "X", "the percentage of the run's time that evaluations may take (5)"},
    {"metric-samples", 0, "N", "the number of samples of an evaluation (2,000)"},
    {"metric-steps", 0, "N", "the number of steps of the sampler (1; of diffusion models 5 of Heun)"},
    {"metric-few", 0, NULL, "take fewer than 2,000 samples, or fewer images of the reference, too"},
    {"allow-changes", 0, NULL, "resume although options or data differ"},
};
enum { N_OPTIONS = sizeof options / sizeof *options, MAX_SETS = 64, RESUMABLE = 75 };

typedef struct {
    cli c;
    const char *values[N_OPTIONS], *sets[MAX_SETS + 1];
    double shown;
    ranks ranks;
    int silent; /* --quiet, or a rank that does not speak for all */
} program;

static const char *value_of(const program *p, const char *name)
{
    for (int i = DATA; i < N_OPTIONS; i++)
        if (strcmp(options[i].name, name) == 0) return p->values[i];
    return NULL;
}

static void set(program *p, cm_run_options *o, const char *name, const char *value)
{
    char key[CLI_KEY];
    cli_key(name, '-', '_', key);
    if (cm_run_options_set(o, key, value) == CM_OK) return;
    cli_usage_error(&p->c, "%s%s", cm_last_message(), strcmp(key, "preset") ? "" : " (--list-presets shows them)");
}

/* The weights of the feature network of a metric that the program has been asked for, NULL where they are said or
 * where it is none, which the library refuses. */
static const char *features_of(const program *p)
{
    const char *metric = value_of(p, "metric");
    const char *net = !metric                      ? NULL
                      : strcmp(metric, "fid") == 0 ? "inception"
                      : strncmp(metric, "fd-", 3)  ? NULL
                                                   : metric + 3;
    int known = 0;
    for (size_t i = 0; net && cm_choice_name("feature_networks", i); i++)
        known |= strcmp(cm_choice_name("feature_networks", i), net) == 0;
    return known && !value_of(p, "metric-features") ? feature_weights(&p->c, "metric-features", net) : NULL;
}

/* The run's own numbers or those of --config, then the options in the order of the table, then --set. */
static void fill(program *p, cm_run_options *o)
{
    const char *const *v = p->values;
    cm_run_options_prefix(o, "--");
    if (v[RESUME] && v[CONFIG])
        cli_usage_error(&p->c, "--config has no effect with --resume: a run continues with its own");
    if (v[RESUME] && v[OUT] && cm_run_options_load(o, v[OUT]) != CM_OK)
        fprintf(stderr, "%s: warning: %s: the options have to be given\n", p->c.program, cm_last_message());
    if (v[CONFIG] && cm_run_options_read(o, cli_json_argument(&p->c, "config", v[CONFIG])) != CM_OK)
        cli_usage_error(&p->c, "--config: %s", cm_last_message());
    for (int i = DATA; i < N_OPTIONS; i++) {
        const int json = strcmp(options[i].name, "network") == 0 && v[i] && strcmp(v[i], "given") != 0;
        if (v[i]) set(p, o, options[i].name, json ? cli_json_argument(&p->c, "network", v[i]) : v[i]);
    }
    if (features_of(p)) set(p, o, "metric-features", features_of(p));
    for (int i = 0; p->sets[i]; i++) {
        char key[CLI_KEY];
        const char *value = cli_pair(&p->c, p->sets[i], key);
        set(p, o, key, value);
    }
}

/* Rank 0 hears of what fails elsewhere, and says it, unless it is rank 0 that is missing.  A line in one piece, or
 * mpirun mixes those of several processes. */
static int fail(const program *p, cm_status status)
{
    char line[1200];
    const int heard = status == CM_ERR_PEER || status == CM_ERR_CANCELLED || status == CM_ERR_NUMERIC;
    if (p->ranks.group.size < 2) return cli_fail(&p->c, status);
    if (heard && !ranks_speaks(&p->ranks) && !strstr(cm_last_message(), "rank 0 is missing")) return CLI_FAILED;
    const int n =
        snprintf(line, sizeof line, "rank %d: %s: %s\n", p->ranks.group.rank, p->c.program, cm_last_message());
    fwrite(line, 1, n < (int)sizeof line ? (size_t)n : sizeof line - 1, stderr);
    return CLI_FAILED;
}

/* The other processes, and this one's threads where the launcher decides. */
static void join(program *p, cm_run_options *o)
{
    char text[20];
    const double seconds =
        p->values[MPI_TIMEOUT] ? cli_number(&p->c, "mpi-timeout", p->values[MPI_TIMEOUT], 0.1, 1e6) : 0;
    ranks_join(&p->ranks, &p->c, p->values[MPI] != NULL, seconds);
    p->silent = p->values[QUIET] != NULL || !ranks_speaks(&p->ranks);
    if (!p->ranks.group.size && (p->values[MPI_TIMEOUT] || p->values[LOG_RANKS]))
        cli_usage_error(&p->c, "--%s has no effect on one process",
                        p->values[LOG_RANKS] ? "log-ranks" : "mpi-timeout");
    if (p->ranks.group.size < 2) return;
    (void)cm_run_options_group(o, &p->ranks.group);
    (void)snprintf(text, sizeof text, "%d", ranks_threads());
    const char *threads = value_of(p, "threads") ? value_of(p, "threads") : text;
    if (threads == text) set(p, o, "threads", threads);
    ranks_introduce(&p->ranks, &p->c, atoi(threads), p->silent, p->values[LOG_RANKS] != NULL);
}

static int print_config(const program *p, cm_run_options *o)
{
    size_t n;
    cm_status status = cm_run_options_json(o, NULL, 0, &n);
    char *text = status == CM_OK ? calloc(1, n + 1) : NULL;
    if (text && (status = cm_run_options_json(o, text, n + 1, &n)) == CM_OK) fputs(text, stdout);
    free(text);
    return status == CM_OK ? CLI_OK : cli_fail(&p->c, status);
}

/* Whether the run fits into memory; then two steps are timed. */
static cm_status estimate(const program *p, cm_run *run, const cm_run_info *i)
{
    cm_run_needs n = CM_RUN_NEEDS_INIT;
    char text[40];
    cm_status status = cm_run_estimate(run, CM_RUN_MEMORY, &n);
    if (n.bytes && !p->silent)
        fprintf(stderr, "%llu parameters, %lld steps of %d images: about %.2g GB of memory; %.2g GB are free\n",
                (unsigned long long)i->parameters, (long long)i->steps, i->batch, (double)n.bytes / 1e9,
                (double)n.free_bytes / 1e9);
    if (status != CM_OK || p->values[RESUME] || p->values[QUIET]) return status;
    if ((status = cm_run_estimate(run, CM_RUN_TIME, &n)) != CM_OK || p->silent) return status;
    fprintf(stderr, "two steps timed: about %.3g images/s, %s in all", i->batch / n.step_seconds,
            cli_duration(n.seconds, text));
    if (n.sample_share > 0)
        fprintf(stderr, ", pages of samples %s %.*f %% on top", i->sample_share > 0 ? "at most" : "about",
                n.sample_share < 0.01 ? 2 : 0, 100 * n.sample_share);
    if (n.metric_share > 0)
        fprintf(stderr, ", evaluations of %s %s %.*f %%", i->metric, i->metric_share > 0 ? "at most" : "about",
                n.metric_share < 0.01 ? 2 : 0, 100 * n.metric_share);
    fprintf(stderr, "\n");
    return CM_OK;
}

static int32_t show(void *user, const cm_run_report *r)
{
    program *p = user;
    const double now = cli_seconds(), left = r->seconds_left;
    const int others = p->values[LOG_RANKS] != NULL && p->values[QUIET] == NULL, live = isatty(2) && !others;
    if (p->silent && !(others && r->event == CM_RUN_STEP)) return 0;
    if (r->event == CM_RUN_CHECKPOINT) {
        cli_clear_line();
        printf("saved step %lld\n", (long long)r->step);
        fflush(stdout);
    }
    if (r->event == CM_RUN_METRIC) {
        cli_clear_line();
        printf("step %lld: %s %.4g", (long long)r->step, r->metric, r->distance);
        if (r->path) printf(", the best so far: %s\n", r->path);
        else if (r->best_step) printf(", best %.4g at step %lld\n", r->best_distance, (long long)r->best_step);
        else printf("\n");
        fflush(stdout);
    }
    if (r->event != CM_RUN_STEP || (now - p->shown < (live ? 0.2 : 30) && r->step < r->steps)) return 0;
    p->shown = now;
    fprintf(stderr, "%s%sstep %lld of %lld  loss %.5g  |g| %.3g  %.4g images/s  %d:%02d:%02d left%s",
            live ? "\r" : "", others ? p->ranks.prefix : "", (long long)r->step, (long long)r->steps, r->loss,
            r->grad_norm, r->images_per_second, (int)(left / 3600), (int)(left / 60) % 60, (int)left % 60,
            live ? "\033[K" : "\n");
    return 0;
}

static int execute(program *p, cm_run *run)
{
    cm_run_info i = CM_RUN_INFO_INIT;
    const int quiet = p->silent;
    cm_status status = cm_run_info_get(run, &i);
    if (!quiet)
        fprintf(stderr, "%s (%s): %llu pictures of %d x %d x %d, %d classes%s%s%s\n", i.data, i.kind,
                (unsigned long long)i.images, i.channels, i.height, i.width, i.classes,
                i.classes_from ? " (from " : "", i.classes_from ? i.classes_from : "", i.classes_from ? ")" : "");
    if (status == CM_OK && !p->values[NO_ESTIMATE]) status = estimate(p, run, &i);
    if (status == CM_OK) status = cm_run_begin(run);
    if (status == CM_OK) status = cm_run_info_get(run, &i);
    if (status != CM_OK) return fail(p, status);
    if (i.is_finished && !quiet)
        fprintf(stderr,
                "%s: the run in '%s' is finished: it has taken its %lld steps (--steps N with a larger N goes on)\n",
                p->c.program, p->values[OUT], (long long)i.step);
    if (i.is_finished) { /* killed before its end was written, or of a version that wrote none */
        status = cm_run_execute(run, i.steps, NULL, NULL);
        return status == CM_OK ? CLI_OK : cli_fail(&p->c, status);
    }
    p->shown = cli_seconds();
    cli_catch_signals_for(run);
    status = cm_run_execute(run, i.steps, show, p);
    cli_catch_signals_for(NULL);
    if (!quiet) cli_clear_line();
    (void)cm_run_info_get(run, &i);
    if (status == CM_OK && !quiet && i.sample_share > 0 && i.pages == 0)
        fprintf(stderr,
                "%s: no page of samples was drawn: a row takes more than %g %% of this run (--sample-every %lld "
                "draws whole ones)\n",
                p->c.program, i.sample_share, (long long)i.steps);
    if (status == CM_OK && !quiet && i.metric_share > 0 && i.evaluations == 0)
        fprintf(
            stderr,
            "%s: %s was not evaluated: it takes more than %g %% of this run (--metric-every %lld evaluates it all "
            "the same)\n",
            p->c.program, i.metric, i.metric_share, (long long)i.steps);
    if (status == CM_OK && !quiet) {
        printf("the model is ");
        cli_print_text(stdout, p->values[OUT], 0);
        printf("/model.safetensors\n");
    }
    if (status != CM_ERR_CANCELLED) return status == CM_OK ? CLI_OK : fail(p, status);
    if (!quiet)
        fprintf(stderr, "%s: stopped after step %lld; continue with --resume\n", p->c.program, (long long)i.step);
    return cli_interrupted() + CLI_SIGNALLED == CLI_INTERRUPTED ? CLI_INTERRUPTED : RESUMABLE;
}

/* --- --preset auto ----------------------------------------------------------------------------- */

static int is_one_of(const char *name, const char *const *list)
{
    while (*list && strcmp(*list, name) != 0) list++;
    return *list != NULL;
}

/* "teacher.lr=0.0005" is for one stage, "flip=0" for all that read it. */
static void give_pair(program *p, auto_request *r, const char *pair)
{
    char key[CLI_KEY];
    auto_given *g = &r->given[r->n_given++];
    const char *dot = strchr(pair, '.'), *equals = strchr(pair, '=');
    const size_t n = dot && equals && dot < equals ? (size_t)(dot - pair) : 0;
    g->stage = -1;
    for (int k = 0; k < PLAN_STAGES && n; k++)
        if (strlen(recipe.stages[k].name) == n && strncmp(recipe.stages[k].name, pair, n) == 0) g->stage = k;
    if (n && g->stage < 0) cli_usage_error(&p->c, "--set %s: the stages are teacher, mid and tune", pair);
    if (g->stage < 0) g->value = strdup(cli_pair(&p->c, pair, key));
    else {
        snprintf(key, sizeof key, "%.*s", (int)(equals - dot - 1), dot + 1);
        g->value = strdup(equals + 1);
    }
    g->key = strdup(key);
}

static void give(program *p, auto_request *r, int option)
{
    char key[CLI_KEY];
    auto_given *g = &r->given[r->n_given++];
    cli_key(options[option].name, '-', '_', key);
    *g = (auto_given){-1, strdup(key), strdup(p->values[option])};
}

/* What a plan decides itself, and what it does without. */
static void refuse_with_auto(const program *p, int goes_on)
{
    if (ranks_launched() > 1)
        cli_usage_error(&p->c, "--preset auto is of one process, and there are %d", ranks_launched());
    static const char *const never[] = {"config",  "no-estimate",   "print-config", "steps",       "init",
                                        "teacher", "allow-changes", "mpi",          "mpi-timeout", "log-ranks",
                                        NULL};
    static const char *const again[] = {"out", "resume", "quiet", "preset", "threads", "budget", NULL};
    for (int i = 0; i < N_OPTIONS; i++) {
        if (!p->values[i]) continue;
        if (is_one_of(options[i].name, never))
            cli_usage_error(&p->c, "--%s has no effect with --preset auto%s", options[i].name,
                            strcmp(options[i].name, "steps") == 0 ? "; --set teacher.steps=N is for one stage" : "");
        if (goes_on && !is_one_of(options[i].name, again))
            cli_usage_error(&p->c, "--%s has no effect with --resume: %s/plan.json says it", options[i].name,
                            p->values[OUT]);
    }
}

static int train_by_plan(program *p, int goes_on)
{
    static const char *const own[] = {"data",        "preset",      "size",    "labels", "class-names",
                                      "random-crop", "stop-on-bad", "network", "batch",  "seed",
                                      "threads",     "objective",   NULL};
    const char *const *v = p->values;
    static auto_request r;
    refuse_with_auto(p, goes_on);
    r = (auto_request){.data = value_of(p, "data"),
                       .out = v[OUT],
                       .budget = v[BUDGET],
                       .shares = v[SHARES],
                       .guidance = v[GUIDANCE],
                       .held_out = v[HELD_OUT],
                       .is_gray = v[GRAY] != NULL,
                       .size = value_of(p, "size"),
                       .labels = value_of(p, "labels"),
                       .class_names = value_of(p, "class-names"),
                       .network = value_of(p, "network"),
                       .batch = value_of(p, "batch"),
                       .objective = value_of(p, "objective"),
                       .seed = value_of(p, "seed"),
                       .threads = value_of(p, "threads"),
                       .random_crop = value_of(p, "random-crop") != NULL,
                       .stop_on_bad = value_of(p, "stop-on-bad") != NULL,
                       .resume = v[RESUME] != NULL,
                       .only_plan = v[PRINT_PLAN] != NULL,
                       .quiet = v[QUIET] != NULL};
    for (int i = DATA; i < N_OPTIONS; i++)
        if (v[i] && !is_one_of(options[i].name, own)) give(p, &r, i);
    for (int i = 0; p->sets[i] && r.n_given < AUTO_GIVEN; i++) give_pair(p, &r, p->sets[i]);
    if (r.seed) r.given[r.n_given++] = (auto_given){-1, strdup("seed"), strdup(r.seed)};
    if (features_of(p)) r.given[r.n_given++] = (auto_given){-1, strdup("metric_features"), strdup(features_of(p))};
    return auto_train(&p->c, &r);
}

/* --doctor stands alone. */
static int look_at_run(const program *p)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if (i != DOCTOR && p->values[i]) cli_usage_error(&p->c, "--%s has no effect with --doctor", options[i].name);
    return doctor(&p->c, p->values[DOCTOR]);
}

int main(int argc, char **argv)
{
    program p = {
        .c = {.program = "cm-train", .options = options, .n_options = N_OPTIONS, .argc = argc, .argv = argv}};
    cm_context *context;
    cm_run_options *o;
    cm_run *run = NULL;
    cli_begin();
    p.c.usage = "--data PATH --out RUN [--preset NAME] [options]";
    p.c.exits = "3 --doctor has found something, 75 stopped by another signal than Ctrl-C after a checkpoint, to be "
                "continued with --resume";
    p.c.other_hint = cli_setting_hint;
    cli_all(&p.c, p.values, SET, p.sets, MAX_SETS);
    if (p.values[LIST_PRESETS]) return cli_list_presets(&p.c);
    if (p.values[LIST_OPTIONS]) return cli_list_options(&p.c);
    const char *preset = value_of(&p, "preset");
    const int goes_on = p.values[RESUME] && p.values[OUT] && auto_is_plan(p.values[OUT]);
    if (p.c.n_operands) cli_usage_error(&p.c, "'%s': give the data as --data", p.c.operands[0]);
    if (p.values[DOCTOR]) return cli_end(&p.c, look_at_run(&p));
    if (goes_on || (preset && strcmp(preset, "auto") == 0)) return cli_end(&p.c, train_by_plan(&p, goes_on));
    for (int i = BUDGET; i <= PRINT_PLAN; i++)
        if (p.values[i]) cli_usage_error(&p.c, "--%s has no effect without --preset auto", options[i].name);
    cm_status status = cli_context(&p.c, &context);
    if (status == CM_OK) status = cm_run_options_create(context, &o);
    if (status != CM_OK) return cli_fail(&p.c, status);
    fill(&p, o);
    if (p.values[PRINT_CONFIG]) return cli_end(&p.c, print_config(&p, o));
    if (!p.values[OUT]) cli_usage_error(&p.c, "--data and --out are needed");
    join(&p, o);
    status = cm_run_options_check(o);
    if (status == CM_ERR_ARGUMENT) cli_usage_error(&p.c, "%s", cm_last_message());
    if (status == CM_OK) status = cm_run_create(o, p.values[OUT], &run);
    const int code = status == CM_OK ? execute(&p, run) : fail(&p, status);
    cm_run_free(run);
    cm_run_options_free(o);
    cm_context_free(context);
    return ranks_leave(&p.ranks, cli_end(&p.c, code));
}
