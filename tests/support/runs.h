/* runs.h - small runs in a directory that is gone after the case: setup, teardown, options and comparisons. */
#ifndef TESTS_SUPPORT_RUNS_H
#define TESTS_SUPPORT_RUNS_H

#include "suite.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PICTURES = 24, SIDE = 28, PATH = 200 };

static char dir[40]; /* of the case */

/* Made-up digits in MNIST's format, of ten classes. */
static inline void write_pictures(void)
{
    static const unsigned char images[16] = {0, 0, 8, 3, 0, 0, 0, PICTURES, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    static const unsigned char labels[8] = {0, 0, 8, 1, 0, 0, 0, PICTURES};
    char path[PATH];
    uint64_t random = 1;
    snprintf(path, sizeof path, "%s/train-images-idx3-ubyte", dir);
    FILE *f = fopen(path, "wb");
    ck_assert_uint_eq(fwrite(images, 1, sizeof images, f), sizeof images);
    for (int i = 0; i < PICTURES * SIDE * SIDE; i++) fputc(random_int(&random, 0, 255), f);
    fclose(f);
    snprintf(path, sizeof path, "%s/train-labels-idx1-ubyte", dir);
    f = fopen(path, "wb");
    ck_assert_uint_eq(fwrite(labels, 1, sizeof labels, f), sizeof labels);
    for (int i = 0; i < PICTURES; i++) fputc(i % 10, f);
    fclose(f);
}

static inline void setup(void)
{
    strcpy(dir, "/tmp/cm-run-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    write_pictures();
}

static inline void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static inline const char *in_dir(const char *name)
{
    static char path[4][PATH];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], PATH, "%s/%s", dir, name);
    return path[turn];
}

static inline int exists(const char *name)
{
    return access(in_dir(name), F_OK) == 0;
}

static inline long lines_of(const char *name)
{
    long n = 0;
    FILE *f = fopen(in_dir(name), "rb");
    for (int c; f && (c = getc(f)) != EOF;) n += c == '\n';
    if (f) fclose(f);
    return n;
}

static inline int contains(const char *name, const char *words)
{
    static char text[1 << 16];
    FILE *f = fopen(in_dir(name), "rb");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    text[n] = '\0';
    return strstr(text, words) != NULL;
}

static inline void set(cm_run_options *o, const char *name, const char *value)
{
    OK(cm_run_options_set(o, name, value));
}

/* A small run of that many steps without pages, a checkpoint and a line of the log each step. */
static inline cm_run_options *options_in(cm_context *context, const char *steps)
{
    static const char *const values[][2] = {{"preset", "smoke"},       {"batch", "4"},     {"threads", "1"},
                                            {"checkpoint_every", "1"}, {"log_every", "1"}, {"sample_every", "0"}};
    cm_run_options *o;
    OK(cm_run_options_create(context, &o));
    set(o, "data", dir);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) set(o, values[i][0], values[i][1]);
    set(o, "steps", steps);
    return o;
}

static inline cm_run_options *options(const char *steps)
{
    return options_in(NULL, steps);
}

static inline cm_run *made(cm_run_options *o, const char *name)
{
    cm_run *r;
    OK(cm_run_create(o, in_dir(name), &r));
    cm_run_options_free(o);
    return r;
}

static inline cm_run *loaded(const char *name, const char *key, const char *value)
{
    cm_run_options *o;
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_load(o, in_dir(name)));
    if (key) set(o, key, value);
    return made(o, name);
}

static inline cm_run_info info_of(const cm_run *r)
{
    cm_run_info i = CM_RUN_INFO_INIT;
    OK(cm_run_info_get(r, &i));
    return i;
}

/* Every file of two directories. */
static inline void same_files(const char *a, const char *b)
{
    char command[3 * PATH];
    snprintf(command, sizeof command, "diff -r %s/%s/checkpoints %s/%s/checkpoints", dir, a, dir, b);
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof command,
             "for r in %s %s; do sed 's/, \"\\(img_per_s\\|metric_s\\).*//' %s/$r/log.jsonl >%s/$r.log; done; cmp "
             "%s/%s.log %s/%s.log",
             a, b, dir, dir, dir, a, dir, b);
    ck_assert_int_eq(system(command), 0);
}

/* A run at work in a thread of its own. */
typedef struct {
    cm_run *run;
    cm_status status;
    int64_t until;
} working;

static inline void *work(void *user)
{
    working *w = user;
    w->status = cm_run_execute(w->run, w->until, NULL, NULL);
    return NULL;
}

static inline void pause_for(int64_t microseconds)
{
    struct timespec t = {0, microseconds * 1000};
    nanosleep(&t, NULL);
}

static inline void start(working *w, pthread_t *thread)
{
    const int64_t before = info_of(w->run).step;
    ck_assert_int_eq(pthread_create(thread, NULL, work, w), 0);
    while (info_of(w->run).step == before) pause_for(200);
}

#endif
