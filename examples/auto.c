/* auto.c - a plan is made, or read again, and its stages are run one after another. */
#include "auto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RESUMABLE = 75 };

double auto_spent(const auto_run *a)
{
    return a->before + cli_seconds() - a->began;
}

double auto_left(const auto_run *a)
{
    static const double share = 0.98; /* of the budget; the others are pages and the report */
    return share * a->budget - auto_spent(a);
}

void auto_fail(const auto_run *a, const char *path, const char *reason)
{
    fprintf(stderr, "%s: '", a->c->program);
    cli_print_text(stderr, path, 0);
    fprintf(stderr, "': %s\n", reason);
    exit(CLI_FAILED);
}

/* --- what was asked for ------------------------------------------------------------------------------ */

/* "3h", "20min", "90s", "1.5d" */
static double read_budget(const cli *c, const char *text)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"s", 1}, {"min", 60}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    static const double least = 5, most = 30 * 86400.0;
    const size_t n = strspn(text, "0123456789.");
    char number[32];
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (n == 0 || n >= sizeof number || strcmp(text + n, units[i].unit) != 0) continue;
        (void)snprintf(number, sizeof number, "%.*s", (int)n, text);
        const double seconds = cli_number(c, "budget", number, 0, most) * units[i].seconds;
        if (seconds >= least && seconds <= most) return seconds;
    }
    cli_usage_error(c, "--budget: '%s' is no time between 5s and 30d like 20min or 3h", text);
    return 0;
}

static void read_shares(auto_run *a, const char *text)
{
    double *s = a->wishes.shares;
    const size_t n = cli_list(a->c, "shares", text, s, PLAN_STAGES);
    if (n != PLAN_STAGES || s[0] < 0 || s[1] < 0 || s[2] < 0 || !(s[0] + s[1] + s[2] > 0))
        cli_usage_error(a->c, "--shares: '%s' is not three numbers like 40,0,60, of teacher, mid and tune", text);
    if (s[1] > 0 && !(s[0] > 0))
        cli_usage_error(a->c, "--shares: mid-training needs a teacher: give 0 for it too, or more for the teacher");
}

/* A rung of the ladder by its name; 0: `text` is none. */
static int read_rung(auto_run *a, const char *text)
{
    for (int r = 0; r < recipe.n_rungs && !a->wishes.rung; r++)
        if (strcmp(text, recipe.rungs[r].name) == 0) a->wishes.rung = r + 1;
    return a->wishes.rung;
}

static void refuse_name(const cli *c, const char *text)
{
    char names[256] = "";
    for (int r = 0; r < recipe.n_rungs; r++) {
        const size_t at = strlen(names);
        (void)snprintf(names + at, sizeof names - at, "%s%s", r ? ", " : "", recipe.rungs[r].name);
    }
    cli_usage_error(c, "--network: '%s' is none of %s, and neither JSON nor a file that can be read", text, names);
}

static void read_network(auto_run *a, const char *text)
{
    cm_model *model;
    cm_model_info info = CM_MODEL_INFO_INIT;
    if (read_rung(a, text)) return;
    if (!strchr(text, '{') && access(text, R_OK) != 0) refuse_name(a->c, text);
    const char *json = cli_json_argument(a->c, "network", text);
    if (strlen(json) >= sizeof a->data.network) cli_usage_error(a->c, "--network: longer than a network's text is");
    (void)snprintf(a->data.network, sizeof a->data.network, "%s", json);
    if (cm_model_create(a->context, json, 0, &model) != CM_OK || cm_model_info_get(model, &info) != CM_OK)
        cli_usage_error(a->c, "--network: %s", cm_last_message());
    a->wishes.is_network_given = 1;
    a->data.channels = info.channels;
    a->facts.sides[0] = info.height;
    cm_model_free(model);
}

static void read_objective(auto_run *a, const char *text)
{
    int t = 0;
    while (t < recipe.n_tunings && strcmp(recipe.tunings[t].objective, text) != 0) t++;
    if (t == recipe.n_tunings)
        cli_usage_error(a->c, "--objective %s: with --preset auto it is sct, ect or scd", text);
    a->wishes.tuning = t + 1;
}

/* Keys that the plan itself decides. */
static void refuse_key(const cli *c, const auto_given *g)
{
    static const char *const own[] = {"objective", "init", "teacher", "preset", "network", "data", "allow_changes"};
    if (strcmp(g->key, "guidance") == 0)
        cli_usage_error(c, "--set guidance: give --guidance %s, which the teacher has to know too", g->value);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(g->key, own[i]) == 0)
            cli_usage_error(c, "--set %s: it has no effect with --preset auto, which chooses it", g->key);
}

static void take_given(auto_run *a, const auto_given *g)
{
    refuse_key(a->c, g);
    if (strcmp(g->key, "steps") == 0) {
        a->wishes.steps[g->stage] = cli_integer(a->c, "set steps", g->value, 2, INT64_MAX / 4);
        return;
    }
    if (g->stage < 0 && strcmp(g->key, "precision") == 0 && strcmp(g->value, "default") != 0)
        a->wishes.precision = strcmp(g->value, "bf16") == 0 ? PLAN_BF16 : PLAN_F32;
    a->given[a->n_given++] = *g;
}

static void take(auto_run *a, const auto_request *r)
{
    static const char *const rules[] = {"auto", "none", "folder", "prefix", NULL};
    auto_data *d = &a->data;
    a->wishes.precision = -1;
    char *whole = r->data ? realpath(r->data, NULL) : NULL;
    if (!r->data || !r->budget) cli_usage_error(a->c, "--preset auto needs --data and --budget, such as --budget 3h");
    (void)snprintf(d->path, sizeof d->path, "%s", whole ? whole : r->data);
    free(whole);
    a->budget = a->facts.budget = read_budget(a->c, r->budget);
    d->labels = r->labels ? cli_choice(a->c, "labels", r->labels, rules) : CM_LABELS_AUTO;
    if (r->class_names && strlen(r->class_names) >= sizeof d->class_names)
        cli_usage_error(a->c, "--class-names has %zu characters, of which a plan takes %zu", strlen(r->class_names),
                        sizeof d->class_names - 1);
    (void)snprintf(d->class_names, sizeof d->class_names, "%s", r->class_names ? r->class_names : "");
    d->random_crop = r->random_crop;
    d->stop_on_bad = r->stop_on_bad;
    d->seed = r->seed ? cli_seed(a->c, "seed", r->seed) : 0;
    if (r->shares) read_shares(a, r->shares);
    if (r->network) read_network(a, r->network);
    if (a->wishes.is_network_given && r->size)
        cli_usage_error(a->c, "--size has no effect beside a network's text, which says it");
    d->held_share = r->held_out ? cli_number(a->c, "held-out", r->held_out, 0, 50) / 100 : -1;
    if (r->is_gray && a->wishes.is_network_given)
        cli_usage_error(a->c, "--gray has no effect beside a network's text, which says the channels");
    if (r->is_gray) d->channels = 1;
    if (r->objective) read_objective(a, r->objective);
    if (r->guidance) a->wishes.guidance = cli_number(a->c, "guidance", r->guidance, 1, 1000);
    if (r->batch) a->wishes.batch = (int)cli_integer(a->c, "batch", r->batch, 1, 65536);
    for (int i = 0; i < r->n_given; i++) take_given(a, &r->given[i]);
}

/* --- whether everything that was given has an effect -------------------------------------------------- */

static void check_reader(const auto_run *a, const auto_given *g)
{
    int read = 0, planned = 0;
    for (int k = 0; k < a->plan.n_stages; k++) {
        const plan_stage *s = &a->plan.stages[k];
        if (g->stage >= 0 && g->stage != s->number) continue;
        planned = 1;
        read |= auto_is_read(g->key, s->kind->objective);
    }
    if (!planned)
        cli_usage_error(a->c, "--set %s.%s has no effect: that stage is left out", recipe.stages[g->stage].name,
                        g->key);
    if (!read)
        cli_usage_error(a->c, "--set %s%s%s has no effect: no %sstage of the plan reads it",
                        g->stage < 0 ? "" : recipe.stages[g->stage].name, g->stage < 0 ? "" : ".", g->key,
                        g->stage < 0 ? "" : "such ");
}

/* The options of each stage as they will be, but for the models that are not there yet. */
static void check_given(auto_run *a)
{
    for (int i = 0; i < a->n_given; i++) check_reader(a, &a->given[i]);
    for (int k = 0; k < PLAN_STAGES; k++) {
        int is_there = 0;
        for (int i = 0; i < a->plan.n_stages; i++) is_there |= a->plan.stages[i].number == k;
        if (a->wishes.steps[k] > 0 && !is_there)
            cli_usage_error(a->c, "--set %s.steps has no effect: that stage is left out", recipe.stages[k].name);
    }
    for (a->stage = 0; a->stage < a->plan.n_stages; a->stage++) {
        const cm_status status = auto_stage_check(a);
        if (status != CM_OK)
            cli_usage_error(a->c, "stage %s: %s", a->plan.stages[a->stage].kind->name, cm_last_message());
    }
    a->stage = 0;
}

/* --- the directory ---------------------------------------------------------------------------------- */

static int is_left(const char *name)
{
    return name[0] == '.' || strstr(name, ".tmp-") != NULL;
}

/* New, or empty but for what a kill leaves. */
static void check_directory(const auto_run *a)
{
    DIR *folder = opendir(a->out);
    if (!folder && errno != ENOENT) auto_fail(a, a->out, strerror(errno));
    for (struct dirent *e; folder && (e = readdir(folder)) != NULL;)
        if (!is_left(e->d_name) && strcmp(e->d_name, "lost+found") != 0)
            auto_fail(a, a->out, "it is not empty: give a new directory, or --resume to continue the run in it");
    if (folder) (void)closedir(folder);
}

/* Pages of samples would become pictures of the set. */
static void check_place(const auto_run *a)
{
    char parent[AUTO_PATH];
    const size_t n = strlen(a->data.path);
    (void)snprintf(parent, sizeof parent, "%.4000s", a->out);
    char *end = parent + strlen(parent);
    while (end > parent + 1 && end[-1] == '/') *--end = '\0';
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = '\0';
    char *whole = realpath(slash ? parent : ".", NULL);
    const int inside = whole && strncmp(whole, a->data.path, n) == 0 && (whole[n] == '/' || !whole[n]);
    free(whole);
    if (inside) auto_fail(a, a->out, "it stands inside the folder of its pictures: give another --out");
}

static void make(const auto_run *a, const char *name)
{
    char path[AUTO_PATH];
    auto_path(a, name, path);
    if (mkdir(path, 0777) != 0 && errno != EEXIST) auto_fail(a, path, strerror(errno));
}

/* Held until the process ends. */
static void take_lock(auto_run *a)
{
    char path[AUTO_PATH];
    auto_path(a, ".lock", path);
    a->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (a->lock < 0) auto_fail(a, path, strerror(errno));
    if (flock(a->lock, LOCK_EX | LOCK_NB) != 0) auto_fail(a, a->out, "another process is at work in this directory");
}

static void tidy(const auto_run *a)
{
    char path[AUTO_PATH];
    DIR *folder = opendir(a->out);
    for (struct dirent *e; folder && (e = readdir(folder)) != NULL;) {
        if (!strstr(e->d_name, ".tmp-")) continue;
        auto_path(a, e->d_name, path);
        (void)unlink(path);
    }
    if (folder) (void)closedir(folder);
    auto_mend_log(a);
}

/* --- planning ------------------------------------------------------------------------------------------ */

/* Before the machine is timed. */
static void check_guidance(const auto_run *a, const auto_request *r)
{
    const int is_guided = plan_guidance(&a->facts, &a->wishes) != 1;
    if (r->guidance && a->wishes.guidance != 1 && !is_guided)
        cli_usage_error(a->c, "--guidance has no effect: %s",
                        a->facts.classes < 2 ? "the set has no classes"
                        : r->shares          ? "the tuning needs a teacher, and a share for it"
                                             : "the tuning learns it by the objective scd alone");
    for (int i = 0; is_guided && i < a->n_given; i++)
        if (a->given[i].stage <= 0 && strcmp(a->given[i].key, "label_dropout") == 0 &&
            strtod(a->given[i].value, NULL) == 0)
            cli_usage_error(a->c, "--set label_dropout=0: a teacher that guides has to learn without labels too");
}

static cm_status make_plan(auto_run *a, const auto_request *r)
{
    cm_status status = auto_look(a, r);
    if (status == CM_OK) check_guidance(a, r);
    if (status == CM_OK) status = auto_measure(a);
    if (status != CM_OK) return status;
    const char *wrong = plan_make(&a->facts, &a->wishes, &a->plan);
    if (wrong) cli_usage_error(a->c, "no plan for %s: %s", r->budget, wrong);
    check_given(a);
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    status = cm_dataset_info_get(a->set, &info);
    if (status == CM_OK && info.height != a->plan.side) status = auto_open(a, a->plan.side);
    return status;
}

static cm_status begin_new(auto_run *a, const auto_request *r)
{
    take(a, r);
    if (!r->only_plan && !r->out) cli_usage_error(a->c, "--out is needed: where the run shall be");
    if (r->only_plan && r->out) cli_usage_error(a->c, "--out has no effect beside --print-plan");
    if (!r->only_plan) check_place(a);
    if (!r->only_plan) check_directory(a);
    const cm_status status = make_plan(a, r);
    if (status != CM_OK || r->only_plan) return status;
    if (mkdir(a->out, 0777) != 0 && errno != EEXIST) auto_fail(a, a->out, strerror(errno));
    take_lock(a);
    check_directory(a);
    auto_write_plan(a); /* first of all: killed before it, the directory is as if it were new */
    auto_write_clock(a);
    make(a, "stages");
    make(a, "samples");
    auto_log(a, "\"event\": \"planned\", \"seconds\": %.1f", a->plan.seconds);
    return CM_OK;
}

static cm_status begin_again(auto_run *a, const auto_request *r)
{
    take_lock(a);
    tidy(a);
    auto_read_plan(a);
    auto_read_clock(a);
    make(a, "stages");
    make(a, "samples");
    if (r->budget) {
        a->budget = read_budget(a->c, r->budget);
        a->stage_ends = 0; /* the time that is left is shared out anew */
        auto_write_plan(a);
    }
    auto_log(a, "\"event\": \"resumed\"");
    return auto_open(a, a->plan.side);
}

/* --- the stages ---------------------------------------------------------------------------------------- */

static int has_ended(const auto_run *a, int stage)
{
    char path[AUTO_PATH];
    auto_stage_path(a, stage, "model.safetensors", path);
    return auto_exists(path);
}

/* When the stage has to end, and how many steps that gives. */
static void set_out(auto_run *a, int stage, int is_resumed)
{
    plan_stage *s = &a->plan.stages[stage];
    if (is_resumed && a->stage == stage && a->stage_ends > 0) return; /* as the clock's file has it */
    const double allowed = plan_allowance(&a->plan, stage, auto_left(a), a->slowness);
    const int is_begun = is_resumed && a->stage == stage;
    a->stage = stage;
    a->stage_ends = auto_spent(a) + allowed;
    if (s->is_fixed || is_begun) return; /* what is begun already is revised as it goes */
    const int64_t steps = (int64_t)(allowed / (s->seconds_image * a->plan.batch / recipe.work * a->slowness));
    s->steps = steps > 2 ? steps : 2;
}

/* The page, the model of the plan so far, the lines of the log and the report: all of it can be done again. */
static cm_status end_stage(auto_run *a, int stage)
{
    char path[AUTO_PATH], whole[AUTO_PATH], name[40];
    cm_model *model;
    const plan_stage *s = &a->plan.stages[stage];
    const int is_teacher = strcmp(s->kind->objective, "edm") == 0;
    cm_status status = auto_choose_average(a, stage);
    if (status != CM_OK) return status;
    auto_stage_path(a, stage, "model.safetensors", path);
    status = cm_model_load(a->context, path, NULL, &model);
    if (status != CM_OK) return status;
    (void)snprintf(name, sizeof name, "%d-%s.png", stage + 1, s->kind->name);
    status = auto_page(a, model, is_teacher ? 10 : 1, name);
    (void)snprintf(name, sizeof name, "%d-%s-two-steps.png", stage + 1, s->kind->name);
    if (status == CM_OK && !is_teacher && stage == a->plan.n_stages - 1) status = auto_page(a, model, 2, name);
    cm_model_free(model);
    if (status != CM_OK) return status;
    auto_path(a, "model.safetensors", whole);
    auto_copy(a, path, whole);
    auto_log(a, "\"event\": \"ended\", \"stage\": \"%s\", \"steps\": %lld", s->kind->name, (long long)s->steps);
    auto_report(a);
    return CM_OK;
}

/* A stage whose model is there and whose line is not has been killed in between. */
static int is_told(const auto_run *a, int stage)
{
    char path[AUTO_PATH], name[60], line[1100];
    int told = 0;
    auto_path(a, "log.jsonl", path);
    (void)snprintf(name, sizeof name, "\"event\": \"ended\", \"stage\": \"%s\"", a->plan.stages[stage].kind->name);
    FILE *log = fopen(path, "r");
    while (log && !told && fgets(line, sizeof line, log)) told = strstr(line, name) != NULL;
    if (log) (void)fclose(log);
    return told;
}

static cm_status run_stages(auto_run *a, int is_resumed)
{
    cm_status status = CM_OK;
    for (int k = 0; k < a->plan.n_stages && status == CM_OK; k++) {
        if (!has_ended(a, k)) {
            set_out(a, k, is_resumed);
            a->stage = k;
            status = auto_stage(a);
        }
        if (!a->quiet) cli_clear_line();
        if (status == CM_OK && !is_told(a, k)) status = end_stage(a, k);
    }
    return status;
}

static cm_status finish(auto_run *a)
{
    char path[AUTO_PATH];
    cm_model *model;
    auto_nearest nearest;
    auto_path(a, "model.safetensors", path);
    a->stage = a->plan.n_stages - 1;
    cm_status status = cm_model_load(a->context, path, NULL, &model);
    if (status != CM_OK) return status;
    status = auto_find_nearest(a, model, &nearest);
    cm_model_free(model);
    if (status != CM_OK) return status;
    auto_log(a, "\"event\": \"finished\", \"samples\": %d, \"repeats\": %d, \"looked_through\": %llu",
             nearest.samples, nearest.repeats, (unsigned long long)nearest.looked_through);
    auto_write_clock(a);
    auto_report(a);
    return CM_OK;
}

static int is_finished(const auto_run *a)
{
    char path[AUTO_PATH], line[1100];
    int told = 0;
    auto_path(a, "log.jsonl", path);
    FILE *log = fopen(path, "r");
    while (log && !told && fgets(line, sizeof line, log)) told = strstr(line, "\"event\": \"finished\"") != NULL;
    if (log) (void)fclose(log);
    return told;
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static int say_end(const auto_run *a, cm_status status)
{
    char time[40];
    if (status == CM_OK && !a->quiet) {
        printf("the plan took %s; the model is ", cli_duration(auto_spent(a), time));
        cli_print_text(stdout, a->out, 0);
        printf("/model.safetensors, the report ");
        cli_print_text(stdout, a->out, 0);
        printf("/report.html\n");
    }
    if (status == CM_OK) return CLI_OK;
    if (!cli_interrupted()) return cli_fail(a->c, status);
    if (!a->quiet) fprintf(stderr, "%s: stopped; continue with --out %s --resume\n", a->c->program, a->out);
    return cli_interrupted() + CLI_SIGNALLED == CLI_INTERRUPTED ? CLI_INTERRUPTED : RESUMABLE;
}

static void begin(auto_run *a, cli *c, const auto_request *r)
{
    a->c = c;
    a->out = r->out ? r->out : "";
    a->quiet = r->quiet;
    a->threads = r->threads ? (int)cli_integer(c, "threads", r->threads, 1, 256) : 0;
    a->began = cli_seconds();
    a->slowness = 1;
    a->lock = -1;
}

int auto_train(cli *c, auto_request *r)
{
    static auto_run run; /* its texts are large */
    auto_run *a = &run;
    begin(a, c, r);
    const int is_resumed = r->resume && auto_is_plan(a->out);
    c->unsaid =
        "continuing with other options"; /* the steps, which the plan revises itself; plan.json has all others */
    cm_status status = cli_context(c, &a->context);
    cli_catch_signals_for(NULL);
    if (status == CM_OK) status = is_resumed ? begin_again(a, r) : begin_new(a, r);
    if (status == CM_OK && (!a->quiet || r->only_plan)) auto_print_plan(a, r->only_plan ? stdout : stderr);
    if (status == CM_OK && r->only_plan) return CLI_OK;
    if (status == CM_OK && is_resumed && is_finished(a)) {
        if (!a->quiet) fprintf(stderr, "%s: the plan in '%s' is finished\n", c->program, a->out);
        return CLI_OK;
    }
    if (status == CM_OK) status = run_stages(a, is_resumed);
    if (status == CM_OK) status = finish(a);
    if (status != CM_OK && cli_interrupted() && a->lock >= 0) auto_write_clock(a);
    const int code = say_end(a, status);
    auto_close(a);
    cm_context_free(a->context);
    return code;
}
