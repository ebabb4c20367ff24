/* auto_file.c - the files that a plan keeps of itself. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"

void auto_path(const auto_run *a, const char *name, char path[AUTO_PATH])
{
    (void)snprintf(path, AUTO_PATH, "%.3600s/%s", a->out, name);
}

void auto_stage_path(const auto_run *a, int stage, const char *name, char path[AUTO_PATH])
{
    const plan_stage *s = &a->plan.stages[stage];
    (void)snprintf(path, AUTO_PATH, "%.3600s/stages/%d-%s%s%s", a->out, stage + 1, s->kind->name, *name ? "/" : "",
                   name);
}

int auto_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

int auto_is_plan(const char *out)
{
    char path[AUTO_PATH];
    (void)snprintf(path, sizeof path, "%.3600s/plan.json", out);
    return auto_exists(path);
}

void auto_copy(const auto_run *a, const char *from, const char *to)
{
    struct stat st;
    FILE *file = fopen(from, "rb");
    if (!file || fstat(fileno(file), &st) != 0) auto_fail(a, from, strerror(errno));
    char *bytes = malloc((size_t)st.st_size);
    if (!bytes || fread(bytes, 1, (size_t)st.st_size, file) != (size_t)st.st_size)
        auto_fail(a, from, "cannot be read");
    (void)fclose(file);
    cli_write_file(a->c, to, bytes, (size_t)st.st_size, 1);
    free(bytes);
}

static void write_json(const auto_run *a, const char *name, json_t *json)
{
    char path[AUTO_PATH];
    char *text = json ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    auto_path(a, name, path);
    if (!text) cli_usage_error(a->c, "'%s' cannot be written: a path or value is no UTF-8", path);
    const size_t n = strlen(text);
    text[n] = '\n'; /* in place of the NUL: the size is what counts */
    cli_write_file(a->c, path, text, n + 1, 1);
    free(text);
    json_decref(json);
}

/* Ends the program where it is no JSON of ours. */
static json_t *read_json(const auto_run *a, const char *name)
{
    char path[AUTO_PATH];
    json_error_t error;
    auto_path(a, name, path);
    json_t *json = json_load_file(path, 0, &error);
    if (json_is_object(json)) return json;
    fprintf(stderr, "%s: '", a->c->program);
    cli_print_text(stderr, path, 0);
    fprintf(stderr, "' is damaged: %s\n", error.text);
    exit(CLI_FAILED);
}

static void damaged(const auto_run *a, const char *name, const char *what)
{
    fprintf(stderr, "%s: %s/%s is damaged: %s\n", a->c->program, a->out, name, what);
    exit(CLI_FAILED);
}

/* --- plan.json ------------------------------------------------------------------------------------- */

static const char *const precisions[] = {"f32", "bf16"};

static json_t *data_json(const auto_run *a)
{
    const auto_data *d = &a->data;
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:b, s:i, s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:s}",
                     "path", d->path, "kind", d->kind, "classes_from", d->classes_from, "class_names", d->class_names,
                     "labels", d->labels, "random_crop", d->random_crop, "stop_on_bad", d->stop_on_bad, "channels",
                     d->channels, "classes", d->classes, "looked_at_all", d->looked_at_all, "pictures",
                     (json_int_t)d->pictures, "damaged", (json_int_t)d->damaged, "duplicates",
                     (json_int_t)d->duplicates, "small", (json_int_t)d->small, "held_out", (json_int_t)d->held_out,
                     "held_share", d->held_share, "seed", (json_int_t)d->seed, "network", d->network);
}

static json_t *measures_json(const auto_run *a)
{
    json_t *list = json_array();
    for (int i = 0; i < a->facts.n_measures; i++) {
        const plan_measure *m = &a->facts.measures[i];
        (void)json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:s, s:f}", "side", m->side, "network",
                                                    m->rung < 0 ? "given" : recipe.rungs[m->rung].name, "precision",
                                                    precisions[m->precision], "stage", recipe.stages[m->stage].name,
                                                    "seconds_image", m->seconds));
    }
    return list;
}

static json_t *stages_json(const auto_run *a)
{
    json_t *list = json_array();
    for (int k = 0; k < a->plan.n_stages; k++) {
        const plan_stage *s = &a->plan.stages[k];
        (void)json_array_append_new(list, json_pack("{s:s, s:I, s:b, s:f, s:f, s:f, s:s}", "name", s->kind->name,
                                                    "steps", (json_int_t)s->steps, "fixed", s->is_fixed, "share",
                                                    s->share, "seconds_image", s->seconds_image, "seconds",
                                                    s->seconds, "options", s->options));
    }
    return list;
}

static json_t *given_json(const auto_run *a)
{
    json_t *list = json_array();
    for (int i = 0; i < a->n_given; i++) {
        const auto_given *g = &a->given[i];
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "stage",
                                                    g->stage < 0 ? "all" : recipe.stages[g->stage].name, "key",
                                                    g->key, "value", g->value));
    }
    return list;
}

void auto_write_plan(const auto_run *a)
{
    const plan *p = &a->plan;
    json_t *chosen =
        json_pack("{s:i, s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s}", "side", p->side, "network",
                  p->rung < 0 ? "given" : recipe.rungs[p->rung].name, "precision", precisions[p->precision], "batch",
                  p->batch, "why_side", p->why_side, "why_network", p->why_network, "why_precision", p->why_precision,
                  "why_batch", p->why_batch, "config", p->network);
    json_t *json = chosen ? json_pack("{s:i, s:f, s:o, s:o, s:o, s:o, s:o}", "version", 1, "budget_s", a->budget,
                                      "data", data_json(a), "measured", measures_json(a), "chosen", chosen, "stages",
                                      stages_json(a), "given", given_json(a))
                          : NULL;
    write_json(a, "plan.json", json);
}

static void text_of(const auto_run *a, json_t *json, const char *key, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(json, key));
    if (!value || strlen(value) >= size) damaged(a, "plan.json", key);
    (void)snprintf(text, size, "%s", value);
}

static double number_of(const auto_run *a, const char *name, json_t *json, const char *key)
{
    json_t *value = json_object_get(json, key);
    if (json_is_boolean(value)) return json_is_true(value);
    if (!json_is_number(value)) damaged(a, name, key);
    return json_number_value(value);
}

static int index_of(const auto_run *a, json_t *json, const char *key, int n, const char *(*name)(int))
{
    const char *value = json_string_value(json_object_get(json, key));
    for (int i = 0; value && i < n; i++)
        if (strcmp(value, name(i)) == 0) return i;
    damaged(a, "plan.json", key);
    return 0;
}

static const char *stage_name(int i)
{
    return recipe.stages[i].name;
}

static const char *precision_name(int i)
{
    return precisions[i];
}

static const char *rung_name(int i)
{
    return i == 0 ? "given" : recipe.rungs[i - 1].name;
}

static void read_data(auto_run *a, json_t *json)
{
    auto_data *d = &a->data;
#define NUMBER(key) number_of(a, "plan.json", json, key)
    text_of(a, json, "path", d->path, sizeof d->path);
    text_of(a, json, "kind", d->kind, sizeof d->kind);
    text_of(a, json, "classes_from", d->classes_from, sizeof d->classes_from);
    text_of(a, json, "network", d->network, sizeof d->network);
    if (json_object_get(json, "class_names")) text_of(a, json, "class_names", d->class_names, sizeof d->class_names);
    d->labels = (int)NUMBER("labels");
    d->random_crop = (int)NUMBER("random_crop");
    d->stop_on_bad = (int)NUMBER("stop_on_bad");
    d->channels = (int)NUMBER("channels");
    d->classes = (int)NUMBER("classes");
    d->looked_at_all = (int)NUMBER("looked_at_all");
    d->pictures = (uint64_t)NUMBER("pictures");
    d->damaged = (uint64_t)NUMBER("damaged");
    d->duplicates = (uint64_t)NUMBER("duplicates");
    d->small = (uint64_t)NUMBER("small");
    d->held_out = (uint64_t)NUMBER("held_out");
    d->held_share = NUMBER("held_share");
    if (!(d->held_share >= 0 && d->held_share <= 0.5)) damaged(a, "plan.json", "held_share");
    d->seed = (uint64_t)json_integer_value(json_object_get(json, "seed"));
    a->facts.pictures = d->pictures;
    a->facts.channels = d->channels;
    a->facts.classes = d->classes;
}

static void read_chosen(auto_run *a, json_t *json)
{
    plan *p = &a->plan;
    p->side = (int)NUMBER("side");
    p->batch = (int)NUMBER("batch");
    p->rung = index_of(a, json, "network", recipe.n_rungs + 1, rung_name) - 1;
    p->precision = index_of(a, json, "precision", PLAN_PRECISIONS, precision_name);
    text_of(a, json, "why_side", p->why_side, sizeof p->why_side);
    text_of(a, json, "why_network", p->why_network, sizeof p->why_network);
    text_of(a, json, "why_precision", p->why_precision, sizeof p->why_precision);
    text_of(a, json, "why_batch", p->why_batch, sizeof p->why_batch);
    text_of(a, json, "config", p->network, sizeof p->network);
}

/* A tuning is known by the objective among its options. */
static int tuning_of(const auto_run *a, const char *options)
{
    for (int t = 0; t < recipe.n_tunings; t++) {
        char first[64];
        const int n = snprintf(first, sizeof first, "objective=%s ", recipe.tunings[t].objective);
        if (strncmp(options, first, (size_t)n) == 0) return t + 1;
    }
    damaged(a, "plan.json", "objective");
    return 0;
}

static void read_stage(auto_run *a, json_t *json)
{
    plan *p = &a->plan;
    if (p->n_stages == PLAN_STAGES) damaged(a, "plan.json", "stages");
    plan_stage *s = &p->stages[p->n_stages++];
    s->number = index_of(a, json, "name", PLAN_STAGES, stage_name);
    text_of(a, json, "options", s->options, sizeof s->options);
    if (s->number == PLAN_STAGES - 1) a->wishes.tuning = tuning_of(a, s->options);
    s->kind = plan_kind_of(&a->facts, &a->wishes, s->number);
    s->steps = (int64_t)NUMBER("steps");
    s->is_fixed = (int)NUMBER("fixed");
    s->share = NUMBER("share");
    s->seconds_image = NUMBER("seconds_image");
    s->seconds = NUMBER("seconds");
    p->seconds += s->seconds;
}

static void read_given(auto_run *a, json_t *json)
{
    const char *key = json_string_value(json_object_get(json, "key"));
    const char *value = json_string_value(json_object_get(json, "value"));
    const char *stage = json_string_value(json_object_get(json, "stage"));
    if (!key || !value || !stage || a->n_given == AUTO_GIVEN) damaged(a, "plan.json", "given");
    auto_given *g = &a->given[a->n_given++];
    g->key = strdup(key), g->value = strdup(value);
    g->stage = strcmp(stage, "all") == 0 ? -1 : index_of(a, json, "stage", PLAN_STAGES, stage_name);
}

void auto_read_plan(auto_run *a)
{
    size_t i;
    json_t *json = read_json(a, "plan.json"), *item;
    if (number_of(a, "plan.json", json, "version") > 1.5) damaged(a, "plan.json", "it is of a newer version");
    a->budget = NUMBER("budget_s");
    read_data(a, json_object_get(json, "data"));
    read_chosen(a, json_object_get(json, "chosen"));
    json_array_foreach(json_object_get(json, "stages"), i, item) read_stage(a, item);
    json_array_foreach(json_object_get(json, "given"), i, item) read_given(a, item);
    if (a->plan.n_stages == 0) damaged(a, "plan.json", "stages");
    json_decref(json);
}

/* --- clock.json ------------------------------------------------------------------------------------ */

void auto_write_clock(const auto_run *a)
{
    write_json(a, "clock.json",
               json_pack("{s:f, s:i, s:f, s:f, s:I}", "spent_s", auto_spent(a), "stage", a->stage, "stage_ends_s",
                         a->stage_ends, "slowness", a->slowness, "steps",
                         (json_int_t)a->plan.stages[a->stage].steps));
}

void auto_read_clock(auto_run *a)
{
    char path[AUTO_PATH];
    auto_path(a, "clock.json", path);
    if (!auto_exists(path)) return;
    json_t *json = read_json(a, "clock.json");
    a->before = number_of(a, "clock.json", json, "spent_s");
    a->stage = (int)number_of(a, "clock.json", json, "stage");
    a->stage_ends = number_of(a, "clock.json", json, "stage_ends_s");
    a->slowness = number_of(a, "clock.json", json, "slowness");
    if (a->stage < 0 || a->stage >= a->plan.n_stages) damaged(a, "clock.json", "stage");
    a->plan.stages[a->stage].steps = (int64_t)number_of(a, "clock.json", json, "steps");
    json_decref(json);
}

/* --- log.jsonl ------------------------------------------------------------------------------------- */

void auto_log(const auto_run *a, const char *format, ...)
{
    char path[AUTO_PATH], line[1024];
    va_list args;
    int n = snprintf(line, sizeof line, "{\"spent_s\": %.1f, ", auto_spent(a));
    va_start(args, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    if (n < 0 || (size_t)n + 3 > sizeof line) return;
    memcpy(line + n, "}\n", 3);
    auto_path(a, "log.jsonl", path);
    FILE *file = fopen(path, "a");
    if (!file || fputs(line, file) == EOF || fclose(file) != 0)
        fprintf(stderr, "%s: warning: cannot write to %s\n", a->c->program, path);
}

/* A last line that was cut off goes. */
void auto_mend_log(const auto_run *a)
{
    char path[AUTO_PATH];
    auto_path(a, "log.jsonl", path);
    const int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    char byte;
    off_t end = lseek(file, 0, SEEK_END);
    while (end > 0 && pread(file, &byte, 1, end - 1) == 1 && byte != '\n') end--;
    if (ftruncate(file, end) != 0) fprintf(stderr, "%s: warning: cannot mend %s\n", a->c->program, path);
    (void)close(file);
}
