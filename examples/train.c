/* train.c - cm-train: learns from pictures, in a run directory that explains
 * itself and survives being killed.
 *
 *   config.json  options, network, data set      log.jsonl    a line every few steps
 *   samples/     pages with the same seeds        checkpoints/ whole or not there  */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "cli.h"
#include "machine.h"
#include "pages.h"

enum { CLI_RESUMABLE = 75, PATH = 4096 };

static const cli_option options[] = {
    {"data", 'd', "PATH", "the pictures: a folder, .tar, .zip, .npz, CIFAR-10 binary or MNIST idx"},
    {"out", 'o', "RUN", "the run's directory: new or empty, or with --resume one to continue"},
    {"resume", 0, NULL, "continue RUN from its newest checkpoint"},
    {"config", 0, "FILE", "begin with the numbers of a run's config.json, or of what --print-config prints"},
    {"preset", 'p', "NAME", "a named set of options; --list-presets shows them all"},
    {"objective", 0, "NAME", "edm, cd, ct, pd, ict or ect"},
    {"steps", 'n', "N", "the number of steps in all"},
    {"batch", 'b', "N", "the number of images of a step"},
    {"seed", 's', "N", "the number that all of the run's chance follows from (0)"},
    {"threads", 't', "N", "the number of threads (all processors that the process may use)"},
    {"set", 0, "KEY=VALUE", "any other number, as --print-config shows them; may be repeated"},
    {"init", 0, "FILE", "a model whose weights the run begins with"},
    {"teacher", 0, "FILE", "the model to distil; cd and pd begin with its weights unless --init is given"},
    {"network", 0, "JSON",
     "{\"network\", \"precond\", \"image\"} of a new model, or a file with it; 'given' takes the\n"
     "                                 network of --init or --teacher where --preset has another"},
    {"size", 0, "N", "pictures are cut to N x N (the network's size)"},
    {"labels", 0, "RULE", "where classes come from: auto, none, folder, or prefix (of the file names)"},
    {"random-crop", 0, NULL, "take random crops of 80 to 100 % instead of the centre"},
    {"stop-on-bad", 0, NULL, "a picture that cannot be read ends the run"},
    {"checkpoint-every", 0, "N", "the number of steps between checkpoints (a twentieth of all)"},
    {"keep", 0, "N", "the number of checkpoints that are kept (3; 0: all)"},
    {"sample-every", 0, "N",
     "steps between pages of samples, however long they take; 0 = none (a twentieth of all,\n"
     "                                 at most --sample-share of the time)"},
    {"sample-share", 0, "X", "the percentage of the run's time that pages of samples may take (5)"},
    {"log-every", 0, "N", "the number of steps between lines of the log (a two-thousandth of all)"},
    {"allow-changes", 0, NULL, "resume although options or data differ"},
    {"no-estimate", 0, NULL, "neither compare memory nor time two steps before the run"},
    {"print-config", 0, NULL, "print all that a run would be made with, for --config, and stop"},
    {"list-presets", 0, NULL, "print the presets and stop"},
    {"quiet", 'q', NULL, "print nothing but warnings and errors"},
};
enum {
    DATA,
    OUT,
    RESUME,
    CONFIG,
    PRESET,
    OBJECTIVE,
    STEPS,
    BATCH,
    SEED,
    THREADS,
    SET,
    INIT,
    TEACHER,
    NETWORK,
    SIZE,
    LABELS,
    RANDOM_CROP,
    STOP_ON_BAD,
    CHECKPOINT_EVERY,
    KEEP,
    SAMPLE_EVERY,
    SAMPLE_SHARE,
    LOG_EVERY,
    ALLOW_CHANGES,
    NO_ESTIMATE,
    PRINT_CONFIG,
    LIST_PRESETS,
    QUIET,
    N_OPTIONS
};

enum { MAX_SETS = 64, SAID = 256 };

typedef struct {
    cli c;
    const char *data, *out, *preset, *init, *teacher_path, *network;
    const char *simple[5], *sets[MAX_SETS]; /* objective, steps, batch, seed, threads; --set in order */
    int as_given;                           /* --network given */
    json_t *config;                         /* --config, or of the run that is resumed; NULL */
    char *begins_as;                        /* the network of the config, where it counts */
    int n_sets, resume, allow_changes, estimate, print, quiet;
    int64_t checkpoint_every, sample_every, log_every;
    double share; /* --sample-share, percent */
    pages pages;
    int32_t keep, size, labels, random_crop, stop_on_bad;
    cm_train_options *o;
    struct { /* of the options, once they are final */
        int32_t batch, threads, objective, averages;
        int64_t steps;
        uint64_t seed;
    } n;
    cm_context *context;
    cm_dataset *dataset;
    cm_model *model, *teacher;
    cm_trainer *trainer;
    FILE *log;
    double began, shown;
    int64_t first_step;
    uint64_t images_per_epoch;
    cm_train_report last;
    int own_network;     /* the network is one of ours for the pictures at hand */
    char hint[200];      /* what to type instead, after a refusal */
    uint64_t said[SAID]; /* hashes of the warnings shown */
    int n_said;
    pthread_mutex_t log_lock;
    int failed; /* exit code of something that failed inside the run */
} program;

static volatile sig_atomic_t stop_signal;
static cm_trainer *volatile at_work; /* what a signal stops */

/* The first one asks for a stop, within one network evaluation; a second Ctrl-C ends the program at once. */
static void on_signal(int number)
{
    if (stop_signal && number == SIGINT) _exit(128 + number);
    stop_signal = number;
    cm_trainer_cancel(at_work);
}

/* What is ignored when the program begins (nohup, a shell's background) stays ignored. */
static void catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
}

/* --- options -------------------------------------------------------------------- */

/* By source: name, parameters, what it is. */
static void list_presets(void)
{
    for (size_t i = 0; cm_train_preset_name(i); i++) {
        const char *source = cm_train_preset_source(i);
        uint64_t n = 0;
        (void)cm_model_count(NULL, cm_train_preset_config(i), &n);
        if (!i || strcmp(source, cm_train_preset_source(i - 1)) != 0)
            printf("%s%s\n    %-22s %11s  what it is\n", i ? "\n" : "", source, "name", "parameters");
        printf("    %-22s %9.3f M  %s\n", cm_train_preset_name(i), (double)n / 1e6, cm_train_preset_about(i));
    }
}

/* --lr and --learning-rate are meant for --set. */
static void setting_hint(const char *word, int exact, char *text, size_t size)
{
    cm_train_options *o = NULL;
    char name[80];
    snprintf(name, sizeof name, "%s", word);
    for (char *c = name; *c; c++)
        if (*c == '-') *c = '_';
    if (cm_train_options_create(NULL, &o) != CM_OK) return;
    cm_status status = cm_train_options_set(o, name, "?");
    cm_train_options_free(o);
    if (status == CM_OK) return;
    const char *hint = strstr(cm_last_message(), " (did you mean");
    int known = !strstr(cm_last_message(), "unknown training option");
    if (known) snprintf(text, size, ": a training option, give it as --set %s=VALUE", name);
    else if (hint && !exact) snprintf(text, size, "%s; training options go as --set NAME=VALUE", hint);
}

static void set_option(program *p, int option, const char *v)
{
    static const char *const rules[] = {"auto", "none", "folder", "prefix", NULL};
    cli *c = &p->c;
    switch (option) {
    case DATA: p->data = v; break;
    case OUT: p->out = v; break;
    case RESUME: p->resume = 1; break;
    case CONFIG:
        p->config = json_loads(cli_json_argument(c, "config", v), JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(p->config)) cli_usage_error(c, "--config: '%s' is no JSON object", v);
        break;
    case PRESET: p->preset = v; break;
    case OBJECTIVE:
    case STEPS:
    case BATCH:
    case SEED:
    case THREADS: p->simple[option - OBJECTIVE] = v; break;
    case SET:
        if (p->n_sets == MAX_SETS) cli_usage_error(c, "more than %d --set", MAX_SETS);
        if (!strchr(v, '=')) cli_usage_error(c, "--set: '%s' is not KEY=VALUE", v);
        p->sets[p->n_sets++] = v;
        break;
    case INIT: p->init = v; break;
    case TEACHER: p->teacher_path = v; break;
    case NETWORK:
        p->as_given = strcmp(v, "given") == 0;
        p->network = p->as_given ? NULL : cli_json_argument(c, "network", v);
        break;
    case SIZE: p->size = (int32_t)cli_integer(c, "size", v, 1, 65535); break;
    case LABELS: p->labels = cli_choice(c, "labels", v, rules); break;
    case RANDOM_CROP: p->random_crop = 1; break;
    case STOP_ON_BAD: p->stop_on_bad = 1; break;
    case CHECKPOINT_EVERY: p->checkpoint_every = cli_integer(c, "checkpoint-every", v, 1, INT64_MAX); break;
    case KEEP: p->keep = (int32_t)cli_integer(c, "keep", v, 0, 1000000); break;
    case SAMPLE_EVERY: p->sample_every = cli_integer(c, "sample-every", v, 0, INT64_MAX); break;
    case SAMPLE_SHARE: p->share = cli_number(c, "sample-share", v, 0.01, 100); break;
    case LOG_EVERY: p->log_every = cli_integer(c, "log-every", v, 1, INT64_MAX); break;
    case ALLOW_CHANGES: p->allow_changes = 1; break;
    case NO_ESTIMATE: p->estimate = 0; break;
    case PRINT_CONFIG: p->print = 1; break;
    case LIST_PRESETS: list_presets(); exit(cli_end(c, CLI_OK));
    case QUIET: p->quiet = 1; break;
    default: break;
    }
}

static void apply(program *p, const char *name, const char *value)
{
    char option[128];
    if (cm_train_options_set(p->o, name, value) == CM_OK) return;
    snprintf(option, sizeof option, "%s", name);
    for (char *c = option; *c; c++)
        if (*c == '_') *c = '-';
    for (int i = 0; i < N_OPTIONS; i++)
        if (strcmp(options[i].name, option) == 0 && strstr(cm_last_message(), "unknown training option"))
            cli_usage_error(&p->c, "--set %s=%s: give this one as --%s%s%s", name, value, option,
                            options[i].value ? " " : "", options[i].value ? value : "");
    cli_usage_error(&p->c, "%s", cm_last_message());
}

/* --- a run's config.json --------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text && *text ? text : NULL;
}

static int64_t number_of(const json_t *object, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(object, name);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

/* --resume: what the run says of itself; a run that was killed before it said so takes everything from options. */
static void find_config(program *p)
{
    char path[PATH];
    json_error_t error;
    struct stat st;
    if (!p->resume || !p->out) return;
    if (p->config) cli_usage_error(&p->c, "--config has no effect with --resume: a run continues with its own");
    snprintf(path, sizeof path, "%.4000s/config.json", p->out);
    if (stat(path, &st) != 0) return;
    p->config = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(p->config))
        fprintf(stderr, "%s: warning: %s is damaged (%s): the options have to be given\n", p->c.program, path,
                error.text);
}

/* The numbers of the config, where no option says otherwise. */
static void apply_config(program *p)
{
    const json_t *options_json = json_object_get(p->config, "options"), *data = json_object_get(p->config, "data"),
                 *run = json_object_get(p->config, "run"), *network = json_object_get(p->config, "begins_as");
    if (!p->config) return;
    char *text = json_dumps(options_json ? options_json : json_null(), JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (!text || cm_train_options_read(p->o, text) != CM_OK) cli_usage_error(&p->c, "config: %s", cm_last_message());
    free(text);
    if (!p->data) p->data = text_of(data, "path");
    if (!p->size) p->size = (int32_t)number_of(data, "size", 0);
    if (p->labels < 0) p->labels = (int32_t)number_of(data, "labels", 0);
    if (!p->random_crop) p->random_crop = (int32_t)number_of(data, "random_crop", 0);
    if (!p->stop_on_bad) p->stop_on_bad = (int32_t)number_of(data, "stop_on_bad", 0);
    if (!p->checkpoint_every) p->checkpoint_every = number_of(run, "checkpoint_every", 0);
    if (!p->log_every) p->log_every = number_of(run, "log_every", 0);
    if (p->keep < 0) p->keep = (int32_t)number_of(run, "keep", 3);
    const json_t *share = json_object_get(run, "sample_share");
    if (p->sample_every < 0 && !(p->share > 0)) {
        p->share = json_number_value(share);
        if (!(p->share > 0)) p->sample_every = number_of(run, "sample_every", -1);
    }
    if (!p->teacher_path) p->teacher_path = text_of(p->config, "teacher");
    if (!p->init) p->init = text_of(p->config, "init");
    if (!json_is_object(network)) return;
    if (p->resume || (!p->network && !p->preset && !p->init && !p->as_given))
        p->network = p->begins_as = json_dumps(network, JSON_REAL_PRECISION(17));
}

static double number_option(const cm_train_options *o, const char *name)
{
    double value = 0;
    (void)cm_train_options_get_number(o, name, &value);
    return value;
}

static void read_numbers(program *p)
{
    char seed[24] = "", averages[8] = "";
    p->n.batch = (int32_t)number_option(p->o, "batch");
    p->n.threads = (int32_t)number_option(p->o, "threads");
    p->n.objective = (int32_t)number_option(p->o, "objective");
    p->n.steps = (int64_t)number_option(p->o, "steps");
    (void)cm_train_options_get(p->o, "seed", seed, sizeof seed, NULL);
    p->n.seed = strtoull(seed, NULL, 10);
    (void)cm_train_options_get(p->o, "ema", averages, sizeof averages, NULL);
    p->n.averages = strcmp(averages, "none") != 0;
}

/* Preset, then the objective, then single numbers, then --set. */
static void resolve_options(program *p)
{
    static const char *const names[] = {"objective", "steps", "batch", "seed", "threads"};
    char key[128];
    if (cm_train_options_create(NULL, &p->o) != CM_OK) cli_usage_error(&p->c, "%s", cm_last_message());
    find_config(p);
    apply_config(p);
    if (p->labels < 0) p->labels = 0;
    if (p->keep < 0) p->keep = 3;
    if (p->preset && cm_train_options_preset(p->o, p->preset) != CM_OK)
        cli_usage_error(&p->c, "%s (--list-presets shows them)", cm_last_message());
    for (int i = 0; i < 5; i++)
        if (p->simple[i]) apply(p, names[i], p->simple[i]);
    for (int i = 0; i < p->n_sets; i++) {
        size_t n = strcspn(p->sets[i], "=");
        if (n >= sizeof key) cli_usage_error(&p->c, "--set: '%s' is no option", p->sets[i]);
        memcpy(key, p->sets[i], n);
        key[n] = '\0';
        apply(p, key, p->sets[i] + n + 1);
    }
    if (cm_train_options_check(p->o) != CM_OK) cli_usage_error(&p->c, "%s", cm_last_message());
    read_numbers(p);
    int64_t twentieth = p->n.steps / 20 ? p->n.steps / 20 : 1;
    if (!p->checkpoint_every) p->checkpoint_every = twentieth;
    if (p->sample_every >= 0 && p->share > 0)
        cli_usage_error(&p->c, "--sample-share has no effect with --sample-every, which draws every page");
    if (p->sample_every < 0) {
        p->sample_every = twentieth;
        p->pages.share = (p->share > 0 ? p->share : 5) / 100;
    }
    p->pages.threads = p->n.threads;
    if (!p->log_every) p->log_every = p->n.steps / 2000 ? p->n.steps / 2000 : 1;
}

static char *options_json(program *p)
{
    size_t n = 0;
    if (cm_train_options_json(p->o, NULL, 0, &n) != CM_OK) return NULL;
    char *text = malloc(n + 1);
    if (text && cm_train_options_json(p->o, text, n + 1, &n) != CM_OK) return NULL;
    return text;
}

/* --- the directory ------------------------------------------------------------------ */

/* What stands in a directory already, if anything; a new file system's own folder does not count. */
static int is_taken(DIR *directory)
{
    const struct dirent *entry;
    int taken = 0;
    while (!taken && (entry = readdir(directory)) != NULL)
        taken = strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && strcmp(entry->d_name, "lost+found");
    return taken;
}

/* The folder that a new directory would be made in. */
static void parent_of(const char *path, char parent[PATH])
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    snprintf(parent, PATH, "%.*s", n ? (int)n : 1, n ? path : ".");
}

/* Whether a new run can go to p->out, before any work: a directory that can be made, or an empty one, which is
 * taken as it is (a link to one, a mount point, its own mode).  Says what is wrong. */
static int check_out(const program *p)
{
    char parent[PATH];
    struct stat st;
    DIR *directory = strlen(p->out) < PATH / 2 ? opendir(p->out) : (errno = ENAMETOOLONG, NULL);
    int error = directory ? 0 : errno, taken = directory && is_taken(directory);
    if (directory) closedir(directory);
    if (taken) {
        fprintf(stderr, "%s: '%s' is not empty: give a new directory, or --resume to continue the run in it\n",
                p->c.program, p->out);
        return CLI_FAILED;
    }
    if (error == ENOENT && lstat(p->out, &st) != 0) {
        parent_of(p->out, parent);
        error = access(parent, W_OK | X_OK) == 0 ? 0 : errno;
    } else if (!error && access(p->out, W_OK | X_OK) != 0) error = errno;
    if (!error) return CLI_OK;
    fprintf(stderr, "%s: cannot write to '%s': %s\n", p->c.program, p->out, strerror(error));
    return CLI_FAILED;
}

static int make_directory(program *p, const char *inside)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/%s", p->out, inside);
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return 0;
    fprintf(stderr, "%s: cannot make '%s': %s\n", p->c.program, path, strerror(errno));
    return 1;
}

/* Where a text file of the run is: a link is followed, what is no regular file is refused. */
static int find_file(program *p, const char *name, char *path, size_t size)
{
    struct stat st;
    char *end;
    snprintf(path, size, "%s/%s", p->out, name);
    if (stat(path, &st) != 0) return 0;
    if (!S_ISREG(st.st_mode)) {
        fprintf(stderr, "%s: cannot write '%s': it is not a regular file; it was left as it is\n", p->c.program,
                path);
        return 1;
    }
    if ((end = realpath(path, NULL)) != NULL && strlen(end) < size) strcpy(path, end);
    free(end);
    return 0;
}

/* Writes a text file under a temporary name, then renames it. */
static int write_file(program *p, const char *name, const char *text)
{
    char path[PATH], temporary[PATH + 8];
    struct stat st;
    if (find_file(p, name, path, sizeof path)) return 1;
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    (void)unlink(temporary); /* of a run that was killed */
    FILE *f = fopen(temporary, "wx");
    if (!f || (stat(path, &st) == 0 && fchmod(fileno(f), st.st_mode & 0777) != 0) || fputs(text, f) < 0 ||
        fflush(f) != 0 || fsync(fileno(f)) != 0 || fclose(f) != 0 || rename(temporary, path) != 0) {
        fprintf(stderr, "%s: cannot write '%s': %s\n", p->c.program, path, strerror(errno));
        return 1;
    }
    return 0;
}

/* The one whose weights a run begins with. */
static cm_model *trained(const program *p)
{
    return p->model ? p->model : p->teacher;
}

static const char *preset_network(const program *p)
{
    for (size_t i = 0; p->preset && cm_train_preset_name(i); i++)
        if (strcmp(cm_train_preset_name(i), p->preset) == 0) return cm_train_preset_config(i);
    return NULL;
}

static void print_data(const program *p, FILE *f)
{
    cm_dataset_info data;
    char *whole = realpath(p->data, NULL);
    cm_dataset_info_init(&data, sizeof data);
    fprintf(f, "\"data\": {\"path\": ");
    cli_json_string(f, whole ? whole : p->data);
    free(whole);
    fprintf(f, ", \"size\": %d, \"labels\": %d, \"random_crop\": %d, \"stop_on_bad\": %d", p->size, p->labels,
            p->random_crop, p->stop_on_bad);
    if (p->dataset && cm_dataset_info_get(p->dataset, &data) == CM_OK) {
        fprintf(
            f,
            ", \"kind\": \"%s\", \"images\": %llu, \"classes\": %d, \"fingerprint\": \"%016llx\", \"class_names\": [",
            data.kind, (unsigned long long)data.images, data.classes, (unsigned long long)data.fingerprint);
        for (int32_t k = 0; cm_dataset_class_name(p->dataset, k); k++) {
            fputs(k ? ", " : "", f);
            cli_json_string(f, cm_dataset_class_name(p->dataset, k));
        }
        fputc(']', f);
    }
    fprintf(f, "},\n");
}

/* All that a run is made with, in the form of its config.json; data and network as far as they are known. */
static int print_config(program *p, FILE *f)
{
    cm_model_info model;
    char *text = options_json(p);
    const char *network = p->network ? p->network : p->init || p->teacher_path ? NULL : preset_network(p);
    cm_model_info_init(&model, sizeof model);
    if (!text) return cli_fail(&p->c, CM_ERR_MEMORY);
    if (trained(p) && cm_model_info_get(trained(p), &model) == CM_OK) network = model.config_json;
    fprintf(f, "{\"options\": %s,\n\"begins_as\": %s,\n", text, network ? network : "null");
    if (trained(p)) fprintf(f, "\"parameters\": %llu,\n", (unsigned long long)model.parameters);
    if (p->data) print_data(p, f);
    fprintf(f, "\"run\": {\"checkpoint_every\": %lld, \"keep\": %d, \"log_every\": %lld, ",
            (long long)p->checkpoint_every, p->keep, (long long)p->log_every);
    if (p->pages.share > 0) fprintf(f, "\"sample_share\": %g},\n\"init\": ", 100 * p->pages.share);
    else fprintf(f, "\"sample_every\": %lld},\n\"init\": ", (long long)p->sample_every);
    cli_json_string(f, p->init ? p->init : "");
    fprintf(f, ",\n\"teacher\": ");
    cli_json_string(f, p->teacher_path ? p->teacher_path : "");
    fprintf(f, ",\n\"build\": ");
    cli_json_string(f, cm_build_info());
    fprintf(f, "}\n");
    free(text);
    return 0;
}

static int write_config(program *p)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return cli_fail(&p->c, CM_ERR_MEMORY);
    int failed = print_config(p, f);
    failed |= fclose(f) != 0;
    if (!failed) failed = write_file(p, "config.json", text);
    free(text);
    return failed;
}

/* On resuming, lines of steps that will be taken again are dropped. */
static int open_log(program *p)
{
    char path[PATH], line[2048], *text = NULL;
    size_t size = 0;
    if (find_file(p, "log.jsonl", path, sizeof path)) return 1;
    FILE *old = fopen(path, "r"), *kept = open_memstream(&text, &size);
    while (old && kept && fgets(line, sizeof line, old)) {
        const char *step = strstr(line, "\"step\": ");
        if (step && strchr(line, '\n') && strtoll(step + 8, NULL, 10) <= p->first_step) fputs(line, kept);
    }
    if (old) fclose(old);
    if (!kept || fclose(kept) != 0 || write_file(p, "log.jsonl", text)) return 1;
    free(text);
    p->log = fopen(path, "a");
    if (p->log) return 0;
    fprintf(stderr, "%s: cannot write '%s': %s\n", p->c.program, path, strerror(errno));
    return 1;
}

/* --- the run --------------------------------------------------------------------------- */

static double images_per_second(const program *p, const cm_train_report *r)
{
    double spent = cli_seconds() - p->began;
    return spent > 0 ? (double)(r->step - p->first_step) * p->n.batch / spent : 0;
}

static double seconds_left(const program *p, const cm_train_report *r)
{
    double rate = images_per_second(p, r);
    return rate > 0 ? (double)(p->n.steps - r->step) * p->n.batch / rate : 0;
}

static void log_number(const program *p, const char *name, int digits, double value)
{
    fprintf(p->log, ", \"%s\": ", name);
    cli_json_number(p->log, digits, value);
}

/* Of the step alone; images_per_second has samples and checkpoints in it. */
static double step_rate(const program *p, const cm_train_report *r)
{
    return r->seconds > 0 ? p->n.batch / r->seconds : 0;
}

/* A line of JSON, which knows no NaN and no infinity: they are null. */
static void log_line(program *p, const cm_train_report *r)
{
    fprintf(p->log, "{\"step\": %lld, \"images\": %llu", (long long)r->step, (unsigned long long)r->images);
    log_number(p, "epoch", 6, (double)r->images / (double)p->images_per_epoch);
    log_number(p, "loss", 17, r->loss);
    log_number(p, "grad_norm", 17, r->grad_norm);
    log_number(p, "lr", 10, r->lr);
    fprintf(p->log, ", \"scales\": %d", r->scales);
    log_number(p, "mu", 10, r->mu);
    fprintf(p->log, ", \"stage\": %d", r->ect_stage);
    log_number(p, "img_per_s", 6, step_rate(p, r));
    log_number(p, "data_wait_s", 6, r->data_wait);
    fprintf(p->log, ", \"peak_rss\": %llu", (unsigned long long)r->peak_bytes);
    log_number(p, "eta_s", 6, seconds_left(p, r));
    fprintf(p->log, ", \"wall\": %.3f}\n", (double)time(NULL));
    fflush(p->log);
}

static void show(program *p, const cm_train_report *r)
{
    int terminal = isatty(2);
    double now = cli_seconds(), left = seconds_left(p, r);
    if (p->quiet || (now - p->shown < (terminal ? 0.2 : 30) && r->step < p->n.steps)) return;
    p->shown = now;
    fprintf(stderr, "%sstep %lld of %lld  loss %.5g  |g| %.3g  %.4g images/s  %d:%02d:%02d left%s",
            terminal ? "\r" : "", (long long)r->step, (long long)p->n.steps, r->loss, r->grad_norm,
            images_per_second(p, r), (int)(left / 3600), (int)(left / 60) % 60, (int)left % 60,
            terminal ? "\033[K" : "\n");
    fflush(stderr);
}

static int checkpoint(program *p)
{
    cm_status status = cm_trainer_save(p->trainer, p->out, p->keep);
    if (status != CM_OK) return cli_fail(&p->c, status);
    if (!p->quiet && isatty(2)) fprintf(stderr, "\r\033[K");
    if (!p->quiet) printf("saved step %lld\n", (long long)p->last.step);
    fflush(stdout);
    return 0;
}

static int32_t stopped(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return stop_signal != 0;
}

/* A page of the first average (or the weights themselves), where there is time for one. */
static int sample(program *p)
{
    char path[PATH];
    cm_model *model;
    cm_model_info m;
    cm_model_info_init(&m, sizeof m);
    cm_status status = cm_model_info_get(trained(p), &m);
    if (status != CM_OK) return cli_fail(&p->c, status);
    m.is_consistency = p->n.objective != CM_TRAIN_EDM && p->n.objective != CM_TRAIN_PD;
    const page_form form = pages_form(&m);
    int32_t rows = pages_rows(&p->pages, &form, cli_seconds() - p->began, p->last.seconds / p->n.batch / 2);
    if (!rows) return 0;
    snprintf(path, sizeof path, "%s/samples/step-%09lld.png", p->out, (long long)p->last.step);
    status = cm_trainer_model(p->trainer, p->n.averages ? CM_WEIGHTS_EMA : CM_WEIGHTS_ONLINE, 0, &model);
    if (status != CM_OK) return cli_fail(&p->c, status);
    status = pages_draw(&p->pages, model, rows, stopped, NULL, path);
    cm_model_free(model);
    return status == CM_OK || (status == CM_ERR_CANCELLED && stop_signal) ? 0 : cli_fail(&p->c, status);
}

/* A stop that was asked for comes before everything else that is due. */
static int32_t after_step(void *user, const cm_train_report *r)
{
    program *p = user;
    p->last = *r;
    if (r->step % p->log_every == 0 || r->step == p->n.steps) log_line(p, r);
    show(p, r);
    if (!stop_signal && p->sample_every && (r->step % p->sample_every == 0 || r->step == p->n.steps))
        p->failed = sample(p);
    if (!p->failed && !stop_signal && r->step < p->n.steps && r->step % p->checkpoint_every == 0)
        p->failed = checkpoint(p);
    return stop_signal || p->failed;
}

/* --- before the run ------------------------------------------------------------------------ */

/* Each warning once: the trainer that is timed before the run says the same as the one that runs. */
static void log_hook(void *user, int32_t level, const char *message)
{
    program *p = user;
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    if (level > CM_LOG_WARNING) return;
    for (const char *c = message; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    pthread_mutex_lock(&p->log_lock);
    int known = 0;
    for (int i = 0; i < p->n_said; i++) known |= p->said[i] == hash;
    if (!known && p->n_said < SAID) p->said[p->n_said++] = hash;
    if (!known)
        fprintf(stderr, "%s%s: %s%s\n", isatty(2) && !p->quiet ? "\r\033[K" : "", p->c.program,
                level == CM_LOG_WARNING ? "warning: " : "", message);
    pthread_mutex_unlock(&p->log_lock);
}

/* A network for the pictures at hand when nothing says which. */
static const char *default_network(program *p, const cm_dataset_info *d)
{
    static char text[1024];
    int32_t side = d->height;
    if (side % 4)
        cli_usage_error(&p->c, "pictures of %d x %d: give --size with a multiple of 4, such as 32 or 64", side, side);
    snprintf(
        text, sizeof text,
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": %d, \"img_channels\": %d, \"label_dim\": %d, "
        "\"model_channels\": 32, \"channel_mult\": [1, 2, 4], \"num_blocks\": 2, \"attn_resolutions\": [%d], "
        "\"dropout\": 0}, \"precond\": {\"type\": \"edm\", \"sigma_data\": 0.5, \"sigma_min\": 0.002, "
        "\"sigma_max\": 80}, \"image\": {\"channels\": %d, \"height\": %d, \"width\": %d, \"labels\": %d}}",
        side, d->channels, d->classes, side / 4, d->channels, side, side, d->classes);
    return text;
}

/* A preset stands for a network too: nobody gets another one without a word. */
static void check_network(const program *p, const cm_model *model, const char *option, const char *path)
{
    if (!p->preset || p->as_given || p->network || !model || cm_train_preset_check(p->preset, model) == CM_OK) return;
    cli_usage_error(
        &p->c,
        "--%s %s: %s\nGive a %s of the preset's network, or --network given to train the file's network with "
        "the preset's numbers.",
        option, path, cm_last_message(), option);
}

static cm_status open_models(program *p)
{
    cm_status status = CM_OK;
    cm_load_options load;
    cm_load_options_init(&load, sizeof load);
    load.copy = 1; /* a run takes days: the files may change meanwhile */
    if (p->teacher_path) status = cm_model_load(p->context, p->teacher_path, &load, &p->teacher);
    if (status == CM_OK && p->init && !p->begins_as) status = cm_model_load(p->context, p->init, &load, &p->model);
    if (status != CM_OK) return status;
    check_network(p, p->model, "init", p->init);
    check_network(p, p->teacher, "teacher", p->teacher_path);
    return status;
}

static cm_status new_model(program *p)
{
    cm_dataset_info d;
    cm_dataset_info_init(&d, sizeof d);
    cm_status status = cm_dataset_info_get(p->dataset, &d);
    if (status != CM_OK || p->model || (p->teacher && !p->network)) return status;
    const char *config = p->network ? p->network : preset_network(p);
    p->own_network = !config;
    if (!config) config = default_network(p, &d);
    return cm_model_create(p->context, config, p->n.seed, &p->model);
}

/* The shape of the images: --size, or what the model takes. */
static cm_status open_data(program *p)
{
    cm_dataset_options o;
    cm_model_info m;
    cm_dataset_options_init(&o, sizeof o);
    cm_model_info_init(&m, sizeof m);
    const cm_model *model = p->model ? p->model : p->teacher;
    o.height = o.width = p->size;
    o.labels = p->labels;
    o.random_crop = p->random_crop;
    o.stop_on_bad = p->stop_on_bad;
    o.seed = p->n.seed;
    const char *config = p->network ? p->network : preset_network(p);
    cm_model *probe = NULL;
    if (!model && config) { /* a throw-away to learn what it takes */
        cm_status status = cm_model_create(p->context, config, 0, &probe);
        if (status != CM_OK) return status;
        model = probe;
    }
    if (model && cm_model_info_get(model, &m) == CM_OK) {
        o.channels = m.channels;
        if (!o.height) o.height = o.width = m.height;
    }
    cm_status status = cm_dataset_open(p->context, p->data, &o, &p->dataset);
    cm_model_free(probe);
    return status;
}

static int32_t keep_report(void *user, const cm_train_report *r)
{
    *(cm_train_report *)user = *r;
    return 0;
}

/* All that a run holds at a time: trainer, weights it began with, batches that are read ahead, and a page of samples
 * with its snapshot. */
static cm_status memory_of(const program *p, cm_model *model, const cm_train_options *o, double *bytes)
{
    cm_model_info m;
    cm_sampler_info s;
    cm_sampler_options so;
    uint64_t trainer;
    cm_model_info_init(&m, sizeof m);
    cm_sampler_info_init(&s, sizeof s);
    cm_sampler_options_init(&so, sizeof so);
    so.threads = p->n.threads;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    inputs.model = model, inputs.teacher = p->teacher;
    cm_status status = cm_trainer_estimate(&inputs, o, &trainer);
    if (status == CM_OK) status = cm_model_info_get(model, &m);
    if (status == CM_OK && p->sample_every) status = cm_sampler_estimate(model, &so, &s);
    *bytes = 64e6 + (double)trainer + 4.0 * (double)m.parameters * (p->sample_every ? 2 : 1) +
             8.0 * number_option(o, "batch") * m.channels * m.height * m.width + (double)s.activation_bytes +
             (double)s.packed_bytes;
    return status;
}

/* The largest batch and the largest size of a network of our own that fit, as words of the hint. */
static void propose(program *p, double room)
{
    cm_train_options *o = NULL;
    cm_dataset_info d;
    cm_model *model;
    double bytes;
    size_t n = (size_t)snprintf(p->hint, sizeof p->hint, "give ");
    const size_t empty = n;
    if (cm_train_options_copy(p->o, &o) != CM_OK) return;
    cm_dataset_info_init(&d, sizeof d);
    if (p->own_network && cm_dataset_info_get(p->dataset, &d) == CM_OK)
        for (d.height = d.height > 256 ? 256 : d.height / 2 / 4 * 4; d.height >= 16 && n == empty;
             d.height = d.height / 2 / 4 * 4) {
            if (cm_model_create(p->context, default_network(p, &d), 0, &model) != CM_OK) break;
            if (memory_of(p, model, o, &bytes) == CM_OK && bytes < room)
                n += (size_t)snprintf(p->hint + n, sizeof p->hint - n, "--size %d (%.2g GB)", d.height, bytes / 1e9);
            cm_model_free(model);
        }
    for (int32_t batch = p->n.batch / 2; batch >= 1; batch /= 2)
        if (cm_train_options_set_number(o, "batch", batch) == CM_OK && memory_of(p, trained(p), o, &bytes) == CM_OK &&
            bytes < room) {
            n += (size_t)snprintf(p->hint + n, sizeof p->hint - n, "%s--batch %d (%.2g GB)", n > empty ? " or " : "",
                                  batch, bytes / 1e9);
            break;
        }
    cm_train_options_free(o);
    if (n == empty)
        snprintf(p->hint, sizeof p->hint, "no batch fits: it takes a smaller network, or a larger machine");
}

/* Whether the run fits into memory, before anything of its size is made. */
static cm_status check_memory(program *p)
{
    cm_model_info m;
    double bytes;
    cm_model_info_init(&m, sizeof m);
    cm_status status = cm_model_info_get(trained(p), &m);
    if (status == CM_OK) status = memory_of(p, trained(p), p->o, &bytes);
    if (status != CM_OK) return status;
    const machine_memory left = machine_memory_left();
    if (!p->quiet)
        fprintf(stderr, "%llu parameters, %lld steps of %d images: about %.2g GB of memory; %.2g GB are free\n",
                (unsigned long long)m.parameters, (long long)p->n.steps, p->n.batch, bytes / 1e9,
                (double)left.bytes / 1e9);
    if (bytes <= (double)left.bytes) return CM_OK;
    fprintf(stderr, "%s: this run needs about %.2g GB of memory, and %s leaves %.2g GB\n", p->c.program, bytes / 1e9,
            left.who, (double)left.bytes / 1e9);
    propose(p, (double)left.bytes);
    fprintf(stderr, "%s: %s; --no-estimate tries it all the same\n", p->c.program, p->hint);
    p->failed = CLI_FAILED;
    return CM_ERR_MEMORY;
}

/* Seconds as people say them. */
static const char *duration(double seconds, char text[40])
{
    if (seconds < 90) snprintf(text, 40, "%.0f seconds", seconds < 1 ? 1 : seconds);
    else if (seconds < 90 * 60) snprintf(text, 40, "%.0f minutes", seconds / 60);
    else if (seconds < 48 * 3600) snprintf(text, 40, "%.1f hours", seconds / 3600);
    else snprintf(text, 40, "%.1f days", seconds / 86400);
    return text;
}

/* The share of the run that pages of samples take.  An evaluation is a third of a step of one network at most. */
static double share_of_pages(const program *p)
{
    cm_model_info m;
    cm_model_info_init(&m, sizeof m);
    if (!p->sample_every || cm_model_info_get(trained(p), &m) != CM_OK) return 0;
    if (p->pages.share > 0) return p->pages.share;
    m.is_consistency = p->n.objective != CM_TRAIN_EDM && p->n.objective != CM_TRAIN_PD;
    const page_form f = pages_form(&m);
    return (double)f.rows * f.columns * f.evaluations / 3 / p->n.batch / (double)p->sample_every;
}

/* Times two steps of a trainer that is then thrown away. */
static cm_status estimate(program *p)
{
    cm_trainer *probe;
    cm_train_report r;
    char text[40];
    cm_train_report_init(&r, sizeof r);
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    inputs.model = p->model, inputs.teacher = p->teacher;
    cm_status status = cm_trainer_create(&inputs, p->o, &probe);
    if (status != CM_OK) return status;
    status = cm_trainer_run(probe, p->dataset, 2, keep_report, &r);
    cm_trainer_free(probe);
    if (status != CM_OK) return status;
    double share = share_of_pages(p);
    fprintf(stderr, "two steps timed: about %.3g images/s, %s in all%s", p->n.batch / r.seconds,
            duration(r.seconds * (double)p->n.steps * (1 + share), text), p->sample_every ? ", " : "\n");
    if (p->sample_every)
        fprintf(stderr, "pages of samples %s %.*f %% on top\n", p->pages.share > 0 ? "at most" : "about",
                share < 0.01 ? 2 : 0, 100 * share);
    return CM_OK;
}

/* Data and network are compared before either is used; what could be typed instead goes to p->hint. */
static cm_status compare(program *p)
{
    cm_model_info m;
    cm_dataset_info d;
    cm_model_info_init(&m, sizeof m);
    cm_dataset_info_init(&d, sizeof d);
    const cm_model *model = p->model ? p->model : p->teacher;
    cm_status status = cm_train_data_check(model, p->dataset, p->o);
    if (status == CM_OK || cm_model_info_get(model, &m) != CM_OK || cm_dataset_info_get(p->dataset, &d) != CM_OK)
        return status;
    if (p->size && p->size != m.height)
        snprintf(p->hint, sizeof p->hint,
                 "--size %d is not what the network takes: leave it away, or give a --network of that size", p->size);
    else if (d.images < (uint64_t)p->n.batch)
        snprintf(p->hint, sizeof p->hint, "give --batch %llu or less", (unsigned long long)d.images);
    return status;
}

/* Changed data is told as that, with both. */
static void check_data_is_the_runs(const program *p, const cm_dataset_info *now)
{
    char print[20];
    const json_t *before = json_object_get(p->config, "data");
    const char *fingerprint = text_of(before, "fingerprint"), *path = text_of(before, "path");
    snprintf(print, sizeof print, "%016llx", (unsigned long long)now->fingerprint);
    if (!fingerprint || strcmp(fingerprint, print) == 0) return;
    fprintf(stderr,
            "%s: the data has changed: the run was made with '%s' of %lld pictures (fingerprint %s), '%s' has %llu "
            "(fingerprint %s)\n%s: give the run's data, or --allow-changes to go on with this\n",
            p->c.program, path ? path : "?", (long long)number_of(before, "images", 0), fingerprint, p->data,
            (unsigned long long)now->images, print, p->c.program);
    exit(cli_end(&p->c, CLI_FAILED));
}

/* Data, and the networks that the run begins with. */
static cm_status open_inputs(program *p)
{
    cm_context_options co;
    cm_context_options_init(&co, sizeof co);
    co.threads = p->n.threads;
    co.log = log_hook;
    co.log_user = p;
    cm_status status = cm_context_create(&co, &p->context);
    if (status == CM_OK) status = open_models(p);
    if (status == CM_OK) status = open_data(p);
    return status == CM_OK ? new_model(p) : status;
}

static cm_status prepare(program *p)
{
    cm_dataset_info d;
    cm_status status = open_inputs(p);
    if (status != CM_OK) return status;
    cm_dataset_info_init(&d, sizeof d);
    status = cm_dataset_info_get(p->dataset, &d);
    p->images_per_epoch = d.images;
    if (!p->quiet)
        fprintf(stderr, "%s (%s): %llu pictures of %d x %d x %d, %d classes%s%s%s\n", p->data, d.kind,
                (unsigned long long)d.images, d.channels, d.height, d.width, d.classes,
                d.classes_from ? " (from " : "", d.classes_from ? d.classes_from : "", d.classes_from ? ")" : "");
    if (status == CM_OK && p->resume && !p->allow_changes) check_data_is_the_runs(p, &d);
    if (status == CM_OK) status = compare(p);
    if (status == CM_OK && p->estimate) status = check_memory(p);
    if (status == CM_OK && p->estimate && !p->resume && !p->quiet) status = estimate(p);
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    inputs.model = p->model, inputs.teacher = p->teacher;
    if (status == CM_OK) status = cm_trainer_create(&inputs, p->o, &p->trainer);
    if (status == CM_OK && p->resume)
        status = cm_trainer_resume(p->trainer, p->out, p->dataset,
                                   p->allow_changes ? CM_RESUME_ANY
                                   : p->simple[1]   ? CM_RESUME_MORE_STEPS
                                                    : CM_RESUME_SAME);
    if (status == CM_ERR_ARGUMENT && p->resume && !p->allow_changes)
        snprintf(p->hint, sizeof p->hint,
                 "leave such options away to continue the run as it is, or give --allow-changes");
    return status;
}

static int finish(program *p, cm_status status)
{
    if (!p->quiet && isatty(2)) fprintf(stderr, "\r\033[K");
    if (p->failed) return p->failed;
    if (status == CM_OK && !p->quiet && p->pages.share > 0 && p->pages.drawn == 0 && p->sample_every)
        fprintf(stderr,
                "%s: no page of samples was drawn: a row takes more than %g %% of this run (--sample-every %lld "
                "draws whole ones)\n",
                p->c.program, 100 * p->pages.share, (long long)p->n.steps);
    if (status != CM_OK && status != CM_ERR_CANCELLED) {
        int code = cli_fail(&p->c, status);
        if (status == CM_ERR_NUMERIC)
            fprintf(stderr, "%s: the last good checkpoint is in %s/checkpoints (see LATEST)\n", p->c.program, p->out);
        return code;
    }
    if (p->last.step > p->first_step || !p->resume) {
        int failed = checkpoint(p);
        if (failed) return failed;
    }
    if (status == CM_OK) return CLI_OK;
    if (!p->quiet)
        fprintf(stderr, "%s: stopped after step %lld; continue with --resume\n", p->c.program,
                (long long)p->last.step);
    return stop_signal == SIGINT ? CLI_INTERRUPTED : CLI_RESUMABLE;
}

static int run(program *p)
{
    cm_status status = prepare(p);
    if (p->failed) return p->failed;
    if (status != CM_OK) {
        int code = cli_fail(&p->c, status);
        if (p->hint[0]) fprintf(stderr, "%s: %s\n", p->c.program, p->hint);
        return code;
    }
    if (mkdir(p->out, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "%s: cannot make '%s': %s\n", p->c.program, p->out, strerror(errno));
        return CLI_FAILED;
    }
    if (p->sample_every && make_directory(p, "samples")) return CLI_FAILED;
    /* Saving step 0 (or verifying, on resume) takes the lock before anything else is written. */
    if (!p->resume) {
        status = cm_trainer_save(p->trainer, p->out, p->keep);
        if (status != CM_OK) return cli_fail(&p->c, status);
    }
    uint64_t steps = 0;
    if (cm_trainer_steps(p->trainer, &steps) == CM_OK) p->first_step = (int64_t)steps;
    p->last.step = p->first_step;
    if (p->resume && p->first_step >= p->n.steps) {
        if (!p->quiet)
            fprintf(
                stderr,
                "%s: the run in '%s' is finished: it has taken its %lld steps (--steps N with a larger N goes on)\n",
                p->c.program, p->out, (long long)p->first_step);
        return CLI_OK;
    }
    if (write_config(p) || open_log(p)) return CLI_FAILED;
    at_work = p->trainer;
    catch_signals();
    p->began = p->shown = cli_seconds();
    status = cm_trainer_run(p->trainer, p->dataset, p->n.steps, after_step, p);
    at_work = NULL;
    int code = finish(p, status);
    fclose(p->log);
    return code;
}

int main(int argc, char **argv)
{
    static program p;
    const char *value;
    int option;
    cli_begin();
    p.c.program = "cm-train";
    pthread_mutex_init(&p.log_lock, NULL);
    p.c.other_hint = setting_hint;
    p.c.exits = "75 stopped by another signal than Ctrl-C after a checkpoint, to be continued with --resume";
    p.c.usage = "--data PATH --out RUN [--preset NAME] [options]";
    p.c.options = options;
    p.c.n_options = N_OPTIONS;
    p.c.argc = argc;
    p.c.argv = argv;
    p.keep = -1;
    p.labels = -1;
    p.estimate = 1;
    p.sample_every = -1;
    while ((option = cli_next(&p.c, &value)) >= 0) set_option(&p, option, value);
    resolve_options(&p);
    if (p.print) {
        /* Where the pictures decide the network, they are looked at. */
        const int by_data = p.data && !p.network && !p.init && !p.teacher_path && !preset_network(&p);
        cm_status status = by_data ? open_inputs(&p) : CM_OK;
        return cli_end(&p.c, status == CM_OK ? print_config(&p, stdout) : cli_fail(&p.c, status));
    }
    if (p.c.n_operands) cli_usage_error(&p.c, "'%s': give the data as --data", p.c.operands[0]);
    if (p.resume && p.out && !p.data)
        cli_usage_error(&p.c,
                        "'%s' has no config.json that says which data it was made with: give --data and the options",
                        p.out);
    if (!p.data || !p.out) cli_usage_error(&p.c, "--data and --out are needed");
    if (p.init && p.network && !p.begins_as) cli_usage_error(&p.c, "--network has no effect with --init");
    if (p.as_given && !p.init && !p.teacher_path)
        cli_usage_error(&p.c, "--network given needs --init or --teacher, whose network it takes");
    if (p.allow_changes && !p.resume) cli_usage_error(&p.c, "--allow-changes has no effect without --resume");
    int code = p.resume ? CLI_OK : check_out(&p);
    if (code == CLI_OK) code = run(&p);
    cm_trainer_free(p.trainer);
    cm_train_options_free(p.o);
    cm_dataset_free(p.dataset);
    cm_model_free(p.model);
    cm_model_free(p.teacher);
    cm_context_free(p.context);
    return cli_end(&p.c, code);
}
