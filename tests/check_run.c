/* Runs: a directory is made, continued with the same bytes, stopped from everywhere, and survives a full
 * disk; options by name; what a run takes.  CHECK_EFFORT=long tries every allocation. */
#include "support/suite.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sanitizer.h"
#include "support/each_request.h"
#include "support/runs.h"

/* --- a run from its beginning to its end ------------------------------------------------------ */

typedef struct {
    int64_t steps, checkpoints, pages, stop_at;
    double left;
    char path[PATH];
} seen;

static int32_t look(void *user, const cm_run_report *r)
{
    seen *s = user;
    s->steps += r->event == CM_RUN_STEP;
    s->checkpoints += r->event == CM_RUN_CHECKPOINT;
    s->pages += r->event == CM_RUN_PAGE;
    s->left = r->seconds_left;
    ck_assert_int_eq(r->struct_size, sizeof *r);
    ck_assert_int_eq(r->training->step, r->step);
    ck_assert(r->images == (uint64_t)r->step * 4 && r->loss > 0 && r->images_per_second > 0);
    ck_assert_int_eq(r->path != NULL, r->event != CM_RUN_STEP);
    if (r->path) ck_assert_int_eq(access(r->path, F_OK), 0);
    if (r->path) snprintf(s->path, sizeof s->path, "%s", r->path);
    return r->event == CM_RUN_STEP && r->step == s->stop_at;
}

START_TEST(a_new_run)
{
    seen s = {0};
    cm_run_options *o = options("6");
    set(o, "checkpoint_every", "2");
    set(o, "sample_every", "3");
    set(o, "sample_rows", "2");
    set(o, "sample_columns", "3");
    cm_run *r = made(o, "run");
    cm_run_info i = info_of(r);
    ck_assert(i.step == 0 && i.steps == 6 && i.batch == 4 && i.images == PICTURES && i.classes == 10);
    ck_assert(i.channels == 1 && i.height == 32 && i.parameters > 1000 && !i.is_finished);
    ck_assert_str_eq(i.kind, "idx");
    ck_assert_ptr_null(cm_run_trainer(r));
    ck_assert(!exists("run"));
    FAILS(cm_run_execute(r, 0, look, &s), CM_ERR_ARGUMENT, "expected 1..6");
    FAILS(cm_run_execute(r, 7, look, &s), CM_ERR_ARGUMENT, "expected 1..6");
    ck_assert(!exists("run"));
    OK(cm_run_execute(r, 6, look, &s));
    ck_assert(s.steps == 6 && s.checkpoints == 3 && s.pages == 2 && s.left <= 0);
    ck_assert_ptr_nonnull(strstr(s.path, "checkpoints/step-000000006"));
    i = info_of(r);
    ck_assert(i.step == 6 && i.is_finished && i.pages == 2);
    ck_assert_ptr_nonnull(cm_run_trainer(r));
    ck_assert_int_eq(lines_of("run/log.jsonl"), 6);
    ck_assert(exists("run/samples/step-000000003.png") && exists("run/samples/step-000000006.png"));
    ck_assert(contains("run/checkpoints/LATEST", "step-000000006"));
    ck_assert(contains("run/config.json", "\"sample_rows\": 2") && contains("run/config.json", "\"steps\": 6"));
    OK(cm_run_execute(r, 6, look, &s)); /* again: nothing is left to do */
    ck_assert_int_eq(s.steps, 6);
    cm_run_free(r);
    r = loaded("run", NULL, NULL);
    OK(cm_run_begin(r));
    OK(cm_run_begin(r));
    ck_assert(info_of(r).is_finished);
    cm_run_free(r);
}
END_TEST

START_TEST(the_same_bytes_in_pieces)
{
    cm_run *r = made(options("9"), "whole");
    OK(cm_run_execute(r, 9, NULL, NULL));
    cm_run_free(r);
    r = made(options("9"), "parts");
    OK(cm_run_execute(r, 2, NULL, NULL));
    OK(cm_run_execute(r, 4, NULL, NULL));
    seen s = {.stop_at = 6};
    FAILS(cm_run_execute(r, 9, look, &s), CM_ERR_CANCELLED, "stopped after step 6");
    cm_run_free(r);
    FILE *log = fopen(in_dir("parts/log.jsonl"), "a"); /* as after a power failure */
    fputs("{\"step\": 7, \"ima", log);
    fclose(log);
    r = loaded("parts", NULL, NULL);
    OK(cm_run_execute(r, 9, NULL, NULL));
    cm_run_free(r);
    same_files("whole", "parts");
}
END_TEST

/* A network and pictures that the caller has already; the run keeps the model. */
START_TEST(handles)
{
    cm_run_options *o;
    cm_model *model;
    cm_dataset *data;
    cm_dataset_options d;
    size_t smoke = 0;
    cm_dataset_options_init(&d, sizeof d);
    OK(cm_dataset_open(NULL, dir, &d, &data));
    while (strcmp(cm_train_preset_name(smoke), "smoke") != 0) smoke++;
    OK(cm_model_create(NULL, cm_train_preset_config(smoke), 0, &model));
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_inputs(o, model, NULL, data));
    cm_model_free(model);
    set(o, "steps", "2");
    set(o, "batch", "4");
    set(o, "data", dir);
    FAILS(cm_run_options_check(o), CM_ERR_ARGUMENT, "data has no effect beside the data set");
    cm_run_options_free(o);
    OK(cm_model_create(NULL, cm_train_preset_config(smoke), 0, &model));
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_inputs(o, model, NULL, data));
    cm_model_free(model);
    set(o, "steps", "2");
    set(o, "batch", "4");
    cm_run *r, *other;
    OK(cm_run_create(o, in_dir("run"), &r));
    FAILS(cm_run_create(o, in_dir("other"), &other), CM_ERR_STATE, "already");
    FAILS(cm_run_options_set(o, "steps", "3"), CM_ERR_STATE, "make others");
    cm_run_options_free(o);
    OK(cm_run_execute(r, 2, NULL, NULL));
    OK(cm_trainer_model(cm_run_trainer(r), CM_WEIGHTS_ONLINE, 0, &model));
    cm_run_free(r);
    cm_model_free(model);
    cm_dataset_free(data);
}
END_TEST

/* --- directories -------------------------------------------------------------------------------- */

START_TEST(directories)
{
    cm_run *r, *second;
    cm_run_options *o = options("2");
    ck_assert_int_eq(mkdir(in_dir("used"), 0777), 0);
    fclose(fopen(in_dir("used/file"), "w"));
    ck_assert_int_eq(symlink("nowhere", in_dir("dangling")), 0);
    FAILS(cm_run_create(o, in_dir("used"), &r), CM_ERR_IO, "not empty");
    ck_assert_ptr_null(r);
    FAILS(cm_run_create(o, in_dir("dangling"), &r), CM_ERR_IO, "dangling");
    FAILS(cm_run_create(o, in_dir("no/run"), &r), CM_ERR_IO, "no/run");
    FAILS(cm_run_create(o, in_dir("used/file"), &r), CM_ERR_IO, "Not a directory");
    FAILS(cm_run_create(o, "", &r), CM_ERR_ARGUMENT, "empty");
    OK(cm_run_create(o, in_dir("run"), &r));
    cm_run_options_free(o);
    second = made(options("2"), "run"); /* nothing is there yet */
    OK(cm_run_begin(r));
    FAILS(cm_run_begin(second), CM_ERR_IO, "not empty");
    cm_run_free(second);
    second = loaded("run", NULL, NULL);
    FAILS(cm_run_begin(second), CM_ERR_STATE, "another trainer");
    cm_run_free(r);
    OK(cm_run_begin(second)); /* a call that failed may be repeated */
    cm_run_free(second);
    r = made(options("2"), "again");
    cm_run_free(r);
    ck_assert(!exists("again"));
}
END_TEST

START_TEST(continued_with_changes)
{
    cm_run *r = made(options("2"), "run");
    OK(cm_run_execute(r, 2, NULL, NULL));
    cm_run_free(r);
    r = loaded("run", "steps", "3");
    OK(cm_run_execute(r, 3, NULL, NULL));
    cm_run_free(r);
    r = loaded("run", "lr", "0.5");
    FAILS(cm_run_begin(r), CM_ERR_ARGUMENT, "allow_changes");
    cm_run_free(r);
    /* Other pictures under the same name are told as that. */
    ck_assert_int_eq(truncate(in_dir("train-labels-idx1-ubyte"), 8 + PICTURES - 1), 0);
    ck_assert_int_eq(truncate(in_dir("train-images-idx3-ubyte"), 16 + (PICTURES - 1) * SIDE * SIDE), 0);
    for (int i = 0; i < 2; i++) {
        FILE *f = fopen(in_dir(i ? "train-images-idx3-ubyte" : "train-labels-idx1-ubyte"), "r+b");
        fseek(f, 7, SEEK_SET);
        fputc(PICTURES - 1, f);
        fclose(f);
    }
    cm_run_options *o;
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_load(o, in_dir("run")));
    set(o, "steps", "4");
    FAILS(cm_run_create(o, in_dir("run"), &r), CM_ERR_ARGUMENT, "the data has changed");
    set(o, "allow_changes", "1");
    OK(cm_run_create(o, in_dir("run"), &r));
    cm_run_options_free(o);
    OK(cm_run_execute(r, 4, NULL, NULL));
    cm_run_free(r);
    FILE *f = fopen(in_dir("run/config.json"), "w");
    fputs("{\"options\": ", f);
    fclose(f);
    OK(cm_run_options_create(NULL, &o));
    FAILS(cm_run_options_load(o, in_dir("run")), CM_ERR_FORMAT, "config.json");
    cm_run_options_free(o);
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_load(o, in_dir("nothing")));
    FAILS(cm_run_options_check(o), CM_ERR_ARGUMENT, "data is needed");
    FAILS(cm_run_create(o, in_dir("nothing"), &r), CM_ERR_ARGUMENT, "data is needed");
    cm_run_options_free(o);
}
END_TEST

/* --- stopping ------------------------------------------------------------------------------------- */

static cm_run *in_signal;
static void on_signal(int number)
{
    (void)number;
    cm_run_stop(in_signal);
}

/* From another thread, from a signal, without a checkpoint; and between two calls, where it is forgotten. */
START_TEST(stopped)
{
    enum { ROUNDS = 12 };
    char name[64];
    pthread_t thread;
    uint64_t random = seeded(3);
    cm_run_options *o = options("100000");
    set(o, "checkpoint_every", "100000");
    cm_run *r = in_signal = made(o, "run");
    working w = {r, CM_OK, 100000};
    ck_assert(signal(SIGUSR2, on_signal) != SIG_ERR);
    for (int round = 0; round < ROUNDS; round++) {
        const int how = round % 3;
        cm_run_stop(r);
        cm_run_cancel(r);
        const int64_t saved = info_of(r).step;
        start(&w, &thread);
        pause_for(random_int(&random, 0, 5000));
        if (how == 0) cm_run_stop(r);
        if (how == 1) ck_assert_int_eq(pthread_kill(thread, SIGUSR2), 0);
        if (how == 2) cm_run_cancel(r);
        pthread_join(thread, NULL);
        ck_assert_int_eq(w.status, CM_ERR_CANCELLED);
        const int64_t step = info_of(r).step;
        ck_assert(step > saved);
        snprintf(name, sizeof name, "run/checkpoints/step-%09lld", (long long)step);
        ck_assert_int_eq(exists(name), how != 2);
    }
    cm_run_free(r);
    cm_run_stop(NULL);
}
END_TEST

/* A page of samples that takes far longer than a stop may. */
START_TEST(stopped_within_a_page)
{
    pthread_t thread;
    cm_run_options *o = options("1000");
    set(o, "sample_every", "1");
    set(o, "sample_rows", "32");
    set(o, "sample_columns", "32");
    working w = {made(o, "run"), CM_OK, 1000};
    start(&w, &thread);
    pause_for(100000);
    const time_t began = time(NULL);
    cm_run_stop(w.run);
    pthread_join(thread, NULL);
    ck_assert_int_eq(w.status, CM_ERR_CANCELLED);
    ck_assert(time(NULL) - began < 60 && exists("run/checkpoints/step-000000001"));
    ck_assert(!exists("run/samples/step-000000001.png"));
    cm_run_free(w.run);
}
END_TEST

/* A run within a run's callback, and a second call from another thread. */
static int32_t call_again(void *user, const cm_run_report *report)
{
    cm_run *r = user;
    uint64_t steps;
    cm_model *model;
    cm_run_needs n = CM_RUN_NEEDS_INIT;
    FAILS(cm_run_execute(r, 2, NULL, NULL), CM_ERR_STATE, "already at work");
    FAILS(cm_run_begin(r), CM_ERR_STATE, "already at work");
    FAILS(cm_run_estimate(r, CM_RUN_MEMORY, &n), CM_ERR_STATE, "already at work");
    ck_assert_int_eq(info_of(r).step, report->step);
    OK(cm_trainer_steps(cm_run_trainer(r), &steps));
    OK(cm_trainer_model(cm_run_trainer(r), CM_WEIGHTS_ONLINE, 0, &model));
    cm_model_free(model);
    return 0;
}

START_TEST(one_call_at_a_time)
{
    pthread_t thread;
    cm_run *r = made(options("2"), "inside");
    OK(cm_run_execute(r, 2, call_again, r));
    cm_run_free(r);
    working w = {made(options("100000"), "threads"), CM_OK, 100000};
    start(&w, &thread);
    FAILS(cm_run_execute(w.run, 5, NULL, NULL), CM_ERR_STATE, "already at work");
    cm_run_cancel(w.run);
    pthread_join(thread, NULL);
    cm_run_free(w.run);
}
END_TEST

/* --- trouble ----------------------------------------------------------------------------------------- */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk without room for a checkpoint, then for a line of the log: IO, and the run goes on afterwards. */
START_TEST(a_full_disk)
{
    enum { CHECKPOINT = 10000, LINE = 1000 };
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    cm_run *r = made(options("9"), "parts");
    OK(cm_run_execute(r, 2, NULL, NULL));
    limit_files(CHECKPOINT);
    FAILS(cm_run_execute(r, 9, NULL, NULL), CM_ERR_IO, "File too large");
    limit_files(RLIM_INFINITY);
    ck_assert(contains("parts/checkpoints/LATEST", "step-000000002"));
    OK(cm_run_execute(r, 4, NULL, NULL));
    ck_assert_int_eq(lines_of("parts/log.jsonl"), 4);
    limit_files(LINE);
    FAILS(cm_run_execute(r, 9, NULL, NULL), CM_ERR_IO, "log.jsonl");
    limit_files(RLIM_INFINITY);
    cm_run_free(r);
    r = loaded("parts", NULL, NULL);
    OK(cm_run_execute(r, 9, NULL, NULL));
    cm_run_free(r);
    r = made(options("9"), "whole");
    OK(cm_run_execute(r, 9, NULL, NULL));
    cm_run_free(r);
    same_files("whole", "parts");
}
END_TEST

START_TEST(odd_files)
{
    cm_run *r = made(options("3"), "run");
    OK(cm_run_execute(r, 1, NULL, NULL));
    cm_run_free(r);
    ck_assert_int_eq(unlink(in_dir("run/log.jsonl")), 0);
    ck_assert_int_eq(mkfifo(in_dir("run/log.jsonl"), 0666), 0);
    r = loaded("run", NULL, NULL);
    FAILS(cm_run_begin(r), CM_ERR_IO, "a pipe");
    ck_assert_int_eq(unlink(in_dir("run/log.jsonl")), 0);
    fclose(fopen(in_dir("run/config.json.tmp-1-0"), "w")); /* of a run that was killed */
    OK(cm_run_execute(r, 2, NULL, NULL));
    ck_assert(!exists("run/config.json.tmp-1-0") && lines_of("run/log.jsonl") == 1);
    cm_run_free(r);
    FILE *log = fopen(in_dir("run/log.jsonl"), "a"); /* longer than any buffer, a line without an end among them */
    for (int i = 0; i < 3000; i++) fprintf(log, "{\"step\": %d, \"wall\": %090d}\n", i % 3 + 1, i);
    fprintf(log, "%0200000d\n{\"step\": 1}\n{\"step\": 2, ", 0);
    fclose(log);
    r = loaded("run", NULL, NULL);
    OK(cm_run_begin(r));
    ck_assert_int_eq(lines_of("run/log.jsonl"), 1 + 2000 + 1);
    cm_run_free(r);
}
END_TEST

/* --- options ------------------------------------------------------------------------------------------- */

/* What was opened for options that were changed since is opened anew. */
START_TEST(options_after_a_check)
{
    cm_run *r;
    cm_model *model;
    size_t smoke = 0;
    cm_run_options *o = options("3");
    while (strcmp(cm_train_preset_name(smoke), "smoke") != 0) smoke++;
    OK(cm_model_create(NULL, cm_train_preset_config(smoke), 1, &model));
    OK(cm_model_save(model, in_dir("first.safetensors"), NULL));
    cm_model_free(model);
    set(o, "init", in_dir("first.safetensors"));
    OK(cm_run_options_check(o));
    set(o, "init", in_dir("second.safetensors"));
    FAILS(cm_run_create(o, in_dir("run"), &r), CM_ERR_IO, "second.safetensors");
    set(o, "init", in_dir("first.safetensors"));
    set(o, "data", in_dir("nothing"));
    FAILS(cm_run_create(o, in_dir("run"), &r), CM_ERR_IO, "nothing");
    set(o, "data", dir);
    OK(cm_run_create(o, in_dir("run"), &r));
    cm_run_options_free(o);
    cm_run_free(r);
}
END_TEST

START_TEST(options_refused)
{
    static const char *const bad[][3] = {{"size", "0", "1..65535"},
                                         {"size", "1.5", "whole number"},
                                         {"labels", "folders", "did you mean 'folder'"},
                                         {"random_crop", "2", "0..1"},
                                         {"checkpoint_every", "0", "1.."},
                                         {"checkpoint_seconds", "-1", "number in 0.."},
                                         {"checkpoint_seconds", "nan", "number in 0.."},
                                         {"keep", "-1", "whole number in 0.."},
                                         {"sample_share", "0", "0.01..100"},
                                         {"sample_rows", "33", "1..32"},
                                         {"log_every", "many", "whole number"},
                                         {"log_every", "", "whole number"},
                                         {"preset", "smok", "did you mean"},
                                         {"learning_rate", "1", "did you mean 'lr'"},
                                         {"steps", "-1", "steps is"}};
    cm_run_options *o;
    OK(cm_run_options_create(NULL, &o));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(cm_run_options_set(o, bad[i][0], bad[i][1]), CM_ERR_ARGUMENT, bad[i][2]);
    FAILS(cm_run_options_set(o, NULL, "1"), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_run_options_set_number(o, "keep", 0.5), CM_ERR_ARGUMENT, "keep");
    OK(cm_run_options_set_number(o, "keep", 5));
    OK(cm_run_options_set(o, "log_every", "2k"));
    OK(cm_run_options_set(o, "sample_every", "5"));
    OK(cm_run_options_set(o, "sample_share", "2.5"));
    FAILS(cm_run_options_check(o), CM_ERR_ARGUMENT, "sample_share has no effect with sample_every");
    cm_run_options_prefix(o, "--");
    FAILS(cm_run_options_check(o), CM_ERR_ARGUMENT, "--sample-share has no effect with --sample-every");
    cm_run_options_free(o);
    static const char *const pairs[][4] = {{"network", "{}", "init", "network has no effect"},
                                           {"network", "given", "steps", "whose network it takes"},
                                           {"allow_changes", "1", "steps", "without resume"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        OK(cm_run_options_create(NULL, &o));
        set(o, pairs[i][0], pairs[i][1]);
        set(o, pairs[i][2], "5");
        FAILS(cm_run_options_check(o), CM_ERR_ARGUMENT, pairs[i][3]);
        cm_run_options_free(o);
    }
    cm_run_options_free(NULL);
}
END_TEST

static char *json_of(cm_run_options *o)
{
    size_t n;
    OK(cm_run_options_json(o, NULL, 0, &n));
    char *text = malloc(n + 1);
    OK(cm_run_options_json(o, text, n + 1, &n));
    ck_assert_uint_eq(strlen(text), n);
    return text;
}

/* JSON holds no path that is not UTF-8; a run that has one goes on from its configuration all the same. */
START_TEST(paths_of_any_bytes)
{
    static const char folder[] = "caf\xe9 \xff\"";
    static const char *const files[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"};
    ck_assert_int_eq(mkdir(in_dir(folder), 0700), 0);
    for (int i = 0; i < 2; i++) {
        char path[PATH];
        (void)snprintf(path, sizeof path, "%s/%s/%s", dir, folder, files[i]);
        ck_assert_int_eq(link(in_dir(files[i]), path), 0);
    }
    cm_run_options *o = options("1");
    set(o, "data", in_dir(folder));
    char *json = json_of(o);
    ck_assert_ptr_nonnull(strstr(json, "/caf\\ufffd \\ufffd\\\"\", \"path_hex\": \"2f746d70"));
    ck_assert_ptr_nonnull(strstr(json, "636166e920ff22\""));
    cm_run *r = made(o, "run");
    OK(cm_run_execute(r, 1, NULL, NULL));
    cm_run_free(r);
    r = loaded("run", "steps", "2");
    OK(cm_run_execute(r, 2, NULL, NULL));
    cm_run_free(r);
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_read(o, json));
    char *again = json_of(o);
    ck_assert_str_eq(json, again);
    free(again);
    free(json);
    static const char *const damaged[] = {"\"2f7\"", "\"2f0041\"", "\"2G\"", "\"2F\""};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "{\"options\": {}, \"data\": {\"path_hex\": %s}}", damaged[i]);
        FAILS(cm_run_options_read(o, text), CM_ERR_FORMAT, "path_hex is no path");
    }
    FAILS(cm_run_options_read(o, "{\"options\": {}, \"data\": {\"given_names\": [\"a\", \"b\"]}}"), CM_ERR_FORMAT,
          "given_names is no text");
    OK(cm_run_options_read(o, "{\"options\": {}, \"data\": {\"random_crop\": true, \"stop_on_bad\": false}}"));
    again = json_of(o);
    ck_assert_ptr_nonnull(strstr(again, "\"random_crop\": 1, \"stop_on_bad\": 0"));
    free(again);
    cm_run_options_free(o);
}
END_TEST

/* What is written is read back, and the table of names is that of the header. */
START_TEST(options_are_read_back)
{
    static char header[1 << 16];
    cm_run_options *o = options("70");
    set(o, "checkpoint_seconds", "2.5");
    set(o, "labels", "none");
    char *before = json_of(o);
    cm_run_options_free(o);
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_read(o, before));
    char *after = json_of(o);
    ck_assert_str_eq(before, after);
    free(after);
    FAILS(cm_run_options_read(o, "[]"), CM_ERR_FORMAT, "no JSON object");
    FAILS(cm_run_options_read(o, "{\"options\": {\"lr\": -1}}"), CM_ERR_ARGUMENT, "lr");
    FAILS(cm_run_options_read(o, "{}"), CM_ERR_FORMAT, "\"options\" is missing");
    /* Numbers out of range, each of which would be another number or none; nothing is changed. */
    static const char *const damaged[][2] = {
        {"keep", "\"run\": {\"keep\": 4294967299}"},
        {"keep", "\"run\": {\"keep\": -5}"},
        {"keep", "\"run\": {\"keep\": \"5\"}"},
        {"log_every", "\"run\": {\"log_every\": -1}"},
        {"checkpoint_every", "\"run\": {\"checkpoint_every\": 0.5}"},
        {"checkpoint_seconds", "\"run\": {\"checkpoint_seconds\": -1}"},
        {"sample_every", "\"run\": {\"sample_every\": -9}"},
        {"sample_share", "\"run\": {\"sample_share\": 1e9}"},
        {"sample_rows", "\"run\": {\"sample_rows\": 100000}"},
        {"sample_columns", "\"run\": {\"sample_columns\": -4}"},
        {"size", "\"data\": {\"size\": -7}"},
        {"labels", "\"data\": {\"labels\": 77}"},
        {"random_crop", "\"data\": {\"random_crop\": 5}"},
        {"stop_on_bad", "\"data\": {\"stop_on_bad\": 2}"},
    };
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        char json[200];
        (void)snprintf(json, sizeof json, "{\"options\": {\"lr\": 0.5}, %s}", damaged[i][1]);
        FAILS(cm_run_options_read(o, json), CM_ERR_FORMAT, damaged[i][0]);
    }
    after = json_of(o);
    ck_assert_str_eq(before, after);
    free(after);
    cm_run_options_free(o);
    free(before);
    FILE *f = fopen("include/consistency/run.h", "rb");
    header[fread(header, 1, sizeof header - 1, f)] = '\0';
    fclose(f);
    for (size_t i = 0; cm_choice_name("run_options", i); i++) {
        char row[64];
        snprintf(row, sizeof row, "\n *   %-20s", cm_choice_name("run_options", i));
        ck_assert_msg(strstr(header, row) != NULL, "the header's table lacks '%s'", cm_choice_name("run_options", i));
        ck_assert(strlen(cm_choice_about("run_options", i)) > 5);
    }
}
END_TEST

#define SAME_INIT(type, MACRO)                                                                                       \
    do {                                                                                                             \
        type a = MACRO, b;                                                                                           \
        type##_init(&b, sizeof b);                                                                                   \
        ck_assert_mem_eq(&a, &b, sizeof a);                                                                          \
    } while (0)

START_TEST(structs)
{
    SAME_INIT(cm_run_info, CM_RUN_INFO_INIT);
    SAME_INIT(cm_run_needs, CM_RUN_NEEDS_INIT);
    SAME_INIT(cm_run_report, CM_RUN_REPORT_INIT);
    cm_run *r = made(options("2"), "run");
    cm_run_info i;
    memset(&i, 0x55, sizeof i);
    i.struct_size = offsetof(cm_run_info, images); /* an older program's */
    OK(cm_run_info_get(r, &i));
    ck_assert(i.steps == 2 && i.images == 0x5555555555555555u);
    cm_run_free(r);
}
END_TEST

/* --- what a run takes -------------------------------------------------------------------------------------- */

START_TEST(estimates)
{
    cm_run_needs n = CM_RUN_NEEDS_INIT;
    cm_run_options *o = options("1000");
    set(o, "sample_every", "10");
    cm_run *r = made(o, "run");
    FAILS(cm_run_estimate(r, 0, &n), CM_ERR_ARGUMENT, "parts is 0");
    OK(cm_run_estimate(r, CM_RUN_MEMORY, &n));
    ck_assert(n.fits && n.bytes > 1000000 && n.bytes < n.free_bytes && n.free_of && n.seconds <= 0);
    OK(cm_run_estimate(r, CM_RUN_TIME, &n));
    ck_assert(n.step_seconds > 0 && n.seconds > 900 * n.step_seconds && n.sample_share > 0 && n.bytes == 0);
    ck_assert(!exists("run"));
    OK(cm_run_begin(r));
    FAILS(cm_run_estimate(r, CM_RUN_MEMORY, &n), CM_ERR_STATE, "begun");
    cm_run_free(r);
}
END_TEST

/* Under a limit a run is refused with what would fit, and that does fit. */
START_TEST(what_does_not_fit)
{
    struct rlimit limit;
    cm_run_needs n = CM_RUN_NEEDS_INIT;
#ifdef CM_ADDRESS_SANITIZER
    skipped("under the address sanitizer the size of the address space says nothing");
    return;
#endif
    cm_run_options *o = options("2");
    set(o, "batch", "24");
    set(o, "microbatch", "24");
    cm_run *r = made(o, "run");
    OK(cm_run_estimate(r, CM_RUN_MEMORY, &n));
    const uint64_t whole = n.bytes;
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    ck_assert_int_eq(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    limit.rlim_cur = pages * (uint64_t)sysconf(_SC_PAGESIZE) + whole - 1000000;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    cm_status status = cm_run_estimate(r, CM_RUN_MEMORY, &n);
    char message[512];
    snprintf(message, sizeof message, "%s", cm_last_message());
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_msg(status == CM_ERR_MEMORY && strstr(message, "ulimit -v leaves") && strstr(message, "give batch "),
                  "%s: %s", cm_status_name(status), message);
    ck_assert(!n.fits && n.bytes > n.free_bytes && n.batch >= 1 && n.batch < 24 && n.batch_bytes < n.free_bytes);
    cm_run_free(r);
}
END_TEST

/* A run of two steps and a page, from its options to its end, in a directory that is gone afterwards. */
static cm_status whole(cm_context *context)
{
    char command[128];
    cm_run_options *o = NULL;
    cm_run *r = NULL;
    static const char *const values[][2] = {{"preset", "smoke"},   {"batch", "4"},       {"threads", "1"},
                                            {"sample_every", "2"}, {"sample_rows", "1"}, {"steps", "2"}};
    cm_status status = cm_run_options_create(context, &o);
    if (status == CM_OK) status = cm_run_options_set(o, "data", dir);
    for (size_t i = 0; i < sizeof values / sizeof *values && status == CM_OK; i++)
        status = cm_run_options_set(o, values[i][0], values[i][1]);
    if (status == CM_OK) status = cm_run_create(o, in_dir("run"), &r);
    if (status == CM_OK) status = cm_run_execute(r, 2, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s/run", dir);
    char message[256];
    snprintf(message, sizeof message, "%s", cm_last_message());
    cm_run_free(r);
    cm_run_options_free(o);
    ck_assert_int_eq(system(command), 0);
    if (status == CM_ERR_MEMORY) ck_assert_ptr_nonnull(strstr(message, "memory"));
    return status;
}

START_TEST(allocations_fail)
{
    fail_some_requests(whole, by_effort(3, 40, INT_MAX));
}
END_TEST

/* --- freeing ------------------------------------------------------------------------------------ */

/* What ends a handle must work when there is no memory at all: it does not ask the allocation hook. */
#define FREED(call)                                                                                                  \
    do {                                                                                                             \
        const long before = m.requests;                                                                              \
        call;                                                                                                        \
        ck_assert_msg(m.requests == before, #call " asked for memory %ld times", m.requests - before);               \
    } while (0)

START_TEST(freeing_never_allocates)
{
    memory m;
    memory_reset(&m);
    cm_context_options co = memory_options(&m, 2);
    cm_context *context;
    OK(cm_context_create(&co, &context));
    cm_run_options *o = options_in(context, "2");
    cm_run *run;
    set(o, "sample_every", "1");
    OK(cm_run_create(o, in_dir("freed"), &run));
    OK(cm_run_execute(run, 2, NULL, NULL));
    cm_model *trained, *loaded;
    OK(cm_trainer_model(cm_run_trainer(run), CM_WEIGHTS_EMA, 0, &trained));

    cm_dataset_options data = CM_DATASET_OPTIONS_INIT;
    cm_dataset *set;
    cm_train_options *options;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_trainer *trainer;
    OK(cm_dataset_open(context, dir, &data, &set));
    inputs.model = trained;
    OK(cm_train_options_create(context, &options));
    OK(cm_train_options_set(options, "batch", "4"));
    OK(cm_train_options_set(options, "steps", "2"));
    OK(cm_trainer_create(&inputs, options, &trainer));
    OK(cm_trainer_run(trainer, set, 1, NULL, NULL));

    cm_sampler *sampler;
    static float images[2 * 32 * 32];
    OK(cm_model_load(context, "tests/data/models/digits_consistency.safetensors", NULL, &loaded));
    OK(cm_sampler_create(loaded, NULL, &sampler));
    OK(cm_sampler_run(sampler, NULL, 2, images));

    const cm_images one = cm_images_f32(1, 1, 32, 32, images);
    cm_images picture = CM_IMAGES_INIT;
    uint8_t *bytes;
    size_t size;
    OK(cm_image_encode(context, &one, NULL, &bytes, &size));
    OK(cm_image_decode(context, bytes, size, NULL, &picture));

    m.fail_at = 1, m.persistent = 1;
    FREED(cm_image_free(context, &picture));
    FREED(cm_bytes_free(context, bytes));
    FREED(cm_model_free(loaded)); /* the sampler still holds it */
    FREED(cm_sampler_free(sampler));
    FREED(cm_train_options_free(options));
    FREED(cm_trainer_free(trainer));
    FREED(cm_dataset_free(set));
    FREED(cm_model_free(trained));
    FREED(cm_run_options_free(o));
    FREED(cm_run_free(run));
    FREED(cm_context_free(context));
    ck_assert_int_eq(m.live, 0);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("run");
    TCase *t = tcase_create("run");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 600);
    tcase_add_test(t, a_new_run);
    tcase_add_test(t, the_same_bytes_in_pieces);
    tcase_add_test(t, handles);
    tcase_add_test(t, directories);
    tcase_add_test(t, continued_with_changes);
    tcase_add_test(t, stopped);
    tcase_add_test(t, stopped_within_a_page);
    tcase_add_test(t, one_call_at_a_time);
    tcase_add_test(t, a_full_disk);
    tcase_add_test(t, odd_files);
    tcase_add_test(t, options_after_a_check);
    tcase_add_test(t, options_refused);
    tcase_add_test(t, options_are_read_back);
    tcase_add_test(t, paths_of_any_bytes);
    tcase_add_test(t, structs);
    tcase_add_test(t, estimates);
    tcase_add_test(t, what_does_not_fit);
    tcase_add_test(t, allocations_fail);
    tcase_add_test(t, freeing_never_allocates);
    suite_add_tcase(s, t);
    return s;
}
