/* Memory runs out within everything that the library does (support/operations.h): each request in turn, once and for
 * good, and any number of bytes.  The call says MEMORY, nothing is left behind, and the same call succeeds
 * afterwards. CHECK_EFFORT=long takes every request, else a choice by chance. */
#include "support/suite.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/memory.h"
#include "support/operations.h"

static char in[40], out[60];

static void setup(void)
{
    /* In memory, where there is such a place: thousands of checkpoints are flushed. */
    strcpy(in, access("/dev/shm", W_OK) == 0 ? "/dev/shm/cm-operations-XXXXXX" : "/tmp/cm-operations-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(in));
    ck_assert(operations_prepare(in));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", in);
    ck_assert_int_eq(system(command), 0);
}

/* Whether there is a folder out, with nothing in it: most requests fail before anything is written. */
static int nothing_written(void)
{
    DIR *folder = access(out, W_OK) == 0 ? opendir(out) : NULL;
    int entries = 0;
    if (!folder) return 0;
    while (readdir(folder)) entries++;
    closedir(folder);
    return entries == 2;
}

static void empty(void)
{
    char command[128];
    if (nothing_written()) return;
    snprintf(command, sizeof command, "rm -rf %s/out && mkdir %s/out", in, in);
    ck_assert_int_eq(system(command), 0);
}

/* Where something was being written. */
static int leftovers(void)
{
    char command[128];
    if (nothing_written()) return 0;
    snprintf(command, sizeof command, "find %s/out | grep -q '[.]tmp'", in);
    return system(command) == 0;
}

typedef struct {
    memory m;
    place at;
    const operation *o;
    long idle, requests;
    long long base, peak;
} trial;

static cm_status attempt(trial *t)
{
    char command[128];
    snprintf(command, sizeof command, "%s/out", in);
    if (access(command, W_OK) != 0) empty();
    return t->o->run(&t->at);
}

/* One failure, and that it is told. */
static void fails(trial *t, const char *what, long n)
{
    const cm_status status = attempt(t);
    ck_assert_msg(status == CM_ERR_MEMORY, "%s: %s %ld of %ld gave %s: %s", operation_name(t->o, &t->at), what, n,
                  t->requests, cm_status_name(status), cm_last_message());
    ck_assert_msg(t->m.live == t->idle, "%s: %s %ld of %ld leaks %ld blocks", operation_name(t->o, &t->at), what, n,
                  t->requests, t->m.live - t->idle);
}

static void recovers(trial *t)
{
    t->m.fail_at = 0, t->m.budget = 0;
    empty();
    OK(attempt(t));
    ck_assert_int_eq(t->m.live, t->idle);
    empty();
}

static void requests_fail(trial *t, int persistent, int points)
{
    uint64_t state = seeded(31 + (uint64_t)persistent);
    const int all = points == 0 || t->requests <= points;
    for (long i = 1; i <= (all ? t->requests : points); i++) {
        const long n = all ? i : 1 + random_int(&state, 0, (int)t->requests - 1);
        t->m.requests = 0;
        t->m.fail_at = n;
        t->m.persistent = persistent;
        fails(t, persistent ? "every request from" : "request", n);
        ck_assert_msg(!leftovers(), "%s: request %ld leaves a temporary file", operation_name(t->o, &t->at), n);
        empty();
    }
    recovers(t);
}

/* 25 bounds, from nothing to what is needed. */
static void budgets_fail(trial *t, int step)
{
    for (int i = 0; i < 25; i += step) {
        t->m.budget = t->base + (t->peak - t->base) * i / 25 + 1;
        fails(t, "budget", i);
        empty();
    }
    recovers(t);
}

START_TEST(memory_runs_out)
{
    trial t = {.at = {.in = in, .out = out}};
    memory_reset(&t.m);
    const cm_context_options o = memory_options(&t.m, 1);
    snprintf(out, sizeof out, "%s/out", in);
    OK(cm_context_create(&o, &t.at.context));
    t.at.options = &o;
    t.o = operation_at(_i, &t.at);
    empty();
    OK(attempt(&t)); /* what the context keeps is there from now on */
    t.idle = t.m.live, t.base = t.m.bytes;
    t.m.requests = 0, t.m.peak = t.base;
    empty();
    OK(attempt(&t));
    t.requests = t.m.requests, t.peak = t.m.peak;
    ck_assert_int_eq(t.m.live, t.idle);
    empty();
    ck_assert_msg(t.requests > 0, "%s: no requests", operation_name(t.o, &t.at));
    const int points = t.o->computes ? by_effort(1, 2, 0) : by_effort(2, 8, 0);
    for (int persistent = 0; persistent < 2; persistent++) requests_fail(&t, persistent, points);
    budgets_fail(&t, by_effort(24, 12, 1));
    const char *told = getenv("OPERATIONS_TOLD"); /* a file for the figures */
    FILE *file = told ? fopen(told, "a") : NULL;
    if (file) {
        fprintf(file, "%ld\t%s\n", t.requests, operation_name(t.o, &t.at));
        fclose(file);
    }
    cm_context_free(t.at.context);
    ck_assert_int_eq(t.m.live, 0);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("operations");
    TCase *t = tcase_create("memory");
    place at = {0};
    int n = 0;
    while (operation_at(n, &at)) n++;
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 3600);
    tcase_add_loop_test(t, memory_runs_out, 0, n);
    suite_add_tcase(s, t);
    return s;
}
