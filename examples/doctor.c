/* doctor.c - cm-train --doctor: reads a run's configuration and log, and says what the rules find. */
#include "doctor.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "auto.h"

/* --- reading ------------------------------------------------------------------------------------ */

static void path_of(const char *directory, const char *name, char path[AUTO_PATH])
{
    (void)snprintf(path, AUTO_PATH, "%.3600s/%s", directory, name);
}

static double number_of(const json_t *json, const char *key, double without)
{
    const json_t *value = json_object_get(json, key);
    return json_is_number(value) ? json_number_value(value) : without;
}

static void copy_text(const json_t *json, const char *key, char text[DOCTOR_NAME])
{
    const char *value = json_string_value(json_object_get(json, key));
    (void)snprintf(text, DOCTOR_NAME, "%s", value ? value : "");
}

static void read_averages(doctor_run *run, const json_t *list)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        doctor_average *a = &run->averages[run->n_averages];
        if (run->n_averages == DOCTOR_AVERAGES) return;
        copy_text(one, "form", a->form);
        a->value = number_of(one, "value", 0);
        a->ramp = number_of(one, "ramp", 0);
        run->n_averages++;
    }
}

/* What the rules know of config.json; 0 where it is none. */
static int read_config(doctor_run *run, const char *path)
{
    json_t *json = json_load_file(path, 0, NULL);
    const json_t *o = json_object_get(json, "options");
    const char *init = json_string_value(json_object_get(json, "init"));
    const char *teacher = json_string_value(json_object_get(json, "teacher"));
    if (json_is_object(o)) {
        copy_text(o, "objective", run->objective);
        run->batch = number_of(o, "batch", 1);
        run->steps = number_of(o, "steps", 0);
        run->lr = number_of(o, "lr", 0);
        run->grad_clip = number_of(o, "grad_clip", 0);
        run->warmup_steps = number_of(o, "warmup_steps", 0);
        run->p_mean = number_of(o, "p_mean", 0);
        run->p_std = number_of(o, "p_std", 0);
        run->dropout = number_of(o, "dropout", 0);
        run->augment = number_of(o, "augment", 0);
        run->pictures = number_of(json_object_get(json, "data"), "images", 0);
        run->begins_as_new = !(init && *init) && !(teacher && *teacher);
        read_averages(run, json_object_get(o, "ema"));
    }
    json_decref(json);
    return *run->objective != '\0';
}

static void *grown(void *list, size_t n, size_t size)
{
    if (n & (n - 1)) return list; /* a power of two: it is full */
    void *more = realloc(list, (n ? 2 * n : 1) * size);
    if (!more) free(list);
    return more;
}

static int add_step(doctor_run *run, const json_t *json)
{
    run->lines = grown(run->lines, run->n_lines, sizeof *run->lines);
    if (!run->lines) return 0;
    run->lines[run->n_lines++] = (doctor_line){.step = number_of(json, "step", 0),
                                               .images = number_of(json, "images", 0),
                                               .loss = number_of(json, "loss", (double)NAN),
                                               .grad_norm = number_of(json, "grad_norm", (double)NAN),
                                               .lr = number_of(json, "lr", 0),
                                               .images_per_second = number_of(json, "img_per_s", 0),
                                               .data_wait = number_of(json, "data_wait_s", 0),
                                               .peak_bytes = number_of(json, "peak_rss", 0),
                                               .stage = (int)number_of(json, "stage", 0),
                                               .scales = (int)number_of(json, "scales", 0)};
    return 1;
}

/* {"step": 500, "fd-lenet": 20.1, "samples": 2000, "best": ...}: the key behind "step" is the metric's name. */
static int add_metric(doctor_run *run, json_t *json)
{
    void *at = json_object_iter(json);
    while (at && strcmp(json_object_iter_key(at), "step") == 0) at = json_object_iter_next(json, at);
    if (!at || !json_is_number(json_object_iter_value(at))) return 1;
    run->metrics = grown(run->metrics, run->n_metrics, sizeof *run->metrics);
    if (!run->metrics) return 0;
    (void)snprintf(run->metric, DOCTOR_NAME, "%s", json_object_iter_key(at));
    run->metrics[run->n_metrics++] =
        (doctor_metric){number_of(json, "step", 0), json_number_value(json_object_iter_value(at))};
    return 1;
}

/* 0: there is no memory for it. */
static int read_line(doctor_run *run, const char *text, size_t length, int is_whole)
{
    json_t *json = json_loadb(text, length, 0, NULL);
    int good = 1;
    if (!json_is_object(json) || !json_object_get(json, "step")) run->n_damaged += is_whole != 0;
    else if (json_object_get(json, "loss")) good = add_step(run, json);
    else if (json_object_get(json, "best_step")) good = add_metric(run, json);
    json_decref(json);
    return good;
}

static int read_log(doctor_run *run, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    struct stat st;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int good = 1;
    for (ssize_t n; good && (n = getline(&text, &size, file)) > 0;)
        good = read_line(run, text, (size_t)n, text[n - 1] == '\n'); /* the last one may still be written */
    run->seconds = fstat(fileno(file), &st) == 0 ? difftime(time(NULL), st.st_mtime) : -1;
    free(text);
    (void)fclose(file);
    return good;
}

/* --- saying ------------------------------------------------------------------------------------- */

static void say(const char *first, const char *text)
{
    fputs(first, stdout);
    cli_print_text(stdout, text, 0);
    fputc('\n', stdout);
}

static void introduce(const doctor_run *run)
{
    const doctor_line *end = run->n_lines ? &run->lines[run->n_lines - 1] : NULL;
    printf("%s, step %.0f of %.0f, %.4g images of %.0f pictures%s\n", run->objective, end ? end->step : 0, run->steps,
           end ? end->images : 0, run->pictures, run->is_finished ? ", finished" : "");
}

static int look(const doctor_run *run)
{
    char found[DOCTOR_TEXT], advice[DOCTOR_TEXT];
    int count = 0;
    introduce(run);
    for (size_t i = 0; i < doctor_n_rules; i++) {
        if (!doctor_rules[i].look(run, found, advice)) continue;
        say("  - ", found);
        say("    ", advice);
        count++;
    }
    if (run->n_lines < 20)
        printf("  only %zu lines of the log: most of the %zu rules need 20\n", run->n_lines, doctor_n_rules);
    else if (!count) printf("  nothing is suspicious: %zu rules were asked\n", doctor_n_rules);
    return count ? DOCTOR_FOUND : CLI_OK;
}

static int doctor_of_run(const cli *c, const char *directory)
{
    char config[AUTO_PATH], log[AUTO_PATH], model[AUTO_PATH];
    doctor_run run;
    int code = CLI_FAILED;
    memset(&run, 0, sizeof run);
    path_of(directory, "config.json", config);
    path_of(directory, "log.jsonl", log);
    path_of(directory, "model.safetensors", model);
    if (!read_config(&run, config)) {
        fprintf(stderr, "%s: '", c->program);
        cli_print_text(stderr, directory, 0);
        fprintf(stderr, "' is no run: it has no config.json that says how it is made\n");
    } else if (!read_log(&run, log)) {
        fprintf(stderr, "%s: '", c->program);
        cli_print_text(stderr, log, 0);
        fprintf(stderr, "' cannot be read\n");
    } else {
        run.is_finished = auto_exists(model) || (run.n_lines && run.lines[run.n_lines - 1].step >= run.steps);
        code = look(&run);
    }
    free(run.lines);
    free(run.metrics);
    return code;
}

int doctor(const cli *c, const char *directory)
{
    int code = CLI_OK;
    if (!auto_is_plan(directory)) return doctor_of_run(c, directory);
    for (int k = 0; k < PLAN_STAGES && code != CLI_FAILED; k++)
        for (int i = 0; i < PLAN_STAGES; i++) {
            char name[DOCTOR_NAME], path[AUTO_PATH];
            (void)snprintf(name, sizeof name, "stages/%d-%s", k + 1, recipe.stages[i].name);
            path_of(directory, name, path);
            if (!auto_exists(path)) continue;
            say("", name);
            const int one = doctor_of_run(c, path);
            if (one != CLI_OK) code = one;
        }
    return code;
}
