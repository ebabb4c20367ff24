/* The library as a guest: every allocation failing, budgets, what it takes and says; fork, small stacks, strange
 * hosts. CHECK_EFFORT=long tries every allocation. */
#include "support/suite.h"

#include <fenv.h>
#include <limits.h>
#include <locale.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sanitizer.h"
#include "support/memory.h"
#include "support/pictures.h"

#define MODEL "tests/data/models/digits_consistency.safetensors"
enum { SIZE = 1024 };
static char dir[32];

/* The address sanitizer keeps freed memory: the resident size says nothing there. */
#ifdef CM_ADDRESS_SANITIZER
enum { RSS_MEANS_SOMETHING = 0 };
#else
enum { RSS_MEANS_SOMETHING = 1 };
#endif

static void setup(void)
{
    strcpy(dir, "/tmp/cm-api-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", dir, dir);
    ck_assert_int_eq(system(command), 0);
}

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* --- memory ------------------------------------------------------------------------- */

/* Everything a program does; what fails must be MEMORY. */
static cm_status whole_program(cm_context *context, float *images)
{
    cm_model *m = NULL;
    cm_sampler *s = NULL;
    cm_sampler_options so;
    cm_sample_options o;
    uint8_t pixels[2 * SIZE];
    cm_sampler_options_init(&so, sizeof so);
    so.max_batch = 2;
    cm_sample_options_init(&o, sizeof o);
    o.method = CM_METHOD_MULTISTEP;
    cm_status status = cm_model_load(context, MODEL, NULL, &m);
    if (status == CM_OK) status = cm_sampler_create(m, &so, &s);
    if (status == CM_OK) status = cm_sampler_run(s, &o, 2, images);
    if (status == CM_OK) status = cm_model_save(m, in_dir("saved.safetensors"), NULL);
    if (status == CM_OK) status = floats_to_bytes(2, 1, 32, 32, images, pixels);
    if (status == CM_OK) status = write_picture(context, in_dir("saved.png"), 1, 64, 32, pixels, 0, 0);
    if (status == CM_OK) status = write_picture(context, in_dir("saved.jpg"), 1, 64, 32, pixels, 0, 0);
    cm_sampler_free(s);
    cm_model_free(m);
    return status;
}

static int leftovers(void)
{
    char command[128];
    snprintf(command, sizeof command, "ls %s | grep -q tmp", dir);
    return system(command) == 0;
}

static void remove_outputs(void)
{
    unlink(in_dir("saved.safetensors"));
    unlink(in_dir("saved.png"));
    unlink(in_dir("saved.jpg"));
}

START_TEST(every_allocation_fails)
{
    int persistent = _i, all = by_effort(0, 0, 1);
    memory m;
    cm_context *context;
    float images[2 * SIZE], want[2 * SIZE];
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 2);
    OK(cm_context_create(&o, &context));
    OK(whole_program(context, want)); /* the context's threads are there from now on */
    remove_outputs();
    const long idle = m.live, before = m.requests;
    OK(whole_program(context, want));
    remove_outputs();
    long requests = m.requests - before, step = all ? 1 : requests / by_effort(5, 60, 60) + 1;
    for (long n = 1 + persistent; n <= requests; n += step) {
        memory_reset(&m);
        m.live = idle;
        m.fail_at = n;
        m.persistent = persistent;
        cm_status status = whole_program(context, images);
        ck_assert_msg(status == CM_ERR_MEMORY, "request %ld of %ld failing gave %s: %s", n, requests,
                      cm_status_name(status), cm_last_message());
        ck_assert_msg(m.live == idle, "request %ld failing leaks %ld blocks", n, m.live - idle);
        ck_assert_msg(!leftovers(), "request %ld failing leaves a temporary file", n);
        remove_outputs();
    }
    memory_reset(&m);
    m.live = idle;
    OK(whole_program(context, images)); /* and once there is memory again */
    ck_assert_mem_eq(images, want, sizeof want);
    ck_assert_int_eq(m.live, idle);
    cm_context_free(context);
    ck_assert_int_eq(m.live, 0);
}
END_TEST

START_TEST(any_budget)
{
    memory m;
    cm_context *context;
    float images[2 * SIZE];
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 2);
    OK(cm_context_create(&o, &context));
    OK(whole_program(context, images));
    remove_outputs();
    const long idle = m.live;
    long long peak = m.peak, base = m.bytes;
    for (int i = 1; i < 25; i += by_effort(8, 1, 1)) {
        memory_reset(&m);
        m.live = idle, m.bytes = base;
        m.budget = base + (peak - base) * i / 25;
        FAILS(whole_program(context, images), CM_ERR_MEMORY, "out of memory");
        ck_assert_int_eq(m.live, idle);
        remove_outputs();
    }
    m.budget = 0;
    cm_context_free(context);
}
END_TEST

START_TEST(a_run_allocates_little)
{
    memory m;
    cm_context *context;
    cm_model *model;
    cm_sampler *s;
    float images[4 * SIZE];
    memory_reset(&m);
    /* Where threads are refused, as under valgrind, each try to make one is an allocation. */
    cm_context_options o = memory_options(&m, by_effort(1, 2, 2));
    OK(cm_context_create(&o, &context));
    OK(cm_model_load(context, MODEL, NULL, &model));
    OK(cm_sampler_create(model, NULL, &s));
    OK(cm_sampler_run(s, NULL, 4, images));
    long before = m.requests, live = m.live;
    int rounds = by_effort(3, 100, 100);
    for (int i = 0; i < rounds; i++) OK(cm_sampler_run(s, NULL, 4, images));
    ck_assert_int_eq(m.requests - before, rounds); /* the list of noise levels, once a call */
    ck_assert_int_eq(m.live, live);
    cm_sampler_free(s);
    cm_model_free(model);
    cm_context_free(context);
}
END_TEST

static void count_lines(void *user, int32_t level, const char *message)
{
    ck_assert(level >= CM_LOG_ERROR && level <= CM_LOG_DEBUG && strlen(message) > 10 && !strchr(message, '\n'));
    ++*(int *)user;
}

START_TEST(log_goes_to_the_hook)
{
    int lines = 0;
    cm_context *context;
    cm_context_options o;
    cm_model *m;
    cm_sampler *s;
    cm_context_options_init(&o, sizeof o);
    o.log = count_lines;
    o.log_user = &lines;
    OK(cm_context_create(&o, &context));
    OK(cm_model_load(context, MODEL, NULL, &m));
    ck_assert_int_eq(lines, 1);
    OK(cm_sampler_create(m, NULL, &s));
    ck_assert_int_ge(lines, 2);
    cm_context_free(context); /* its model and sampler keep it */
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* --- a guest in the process ------------------------------------------------------------- */

static cm_model *shared_model;
static cm_sampler *shared_sampler;

START_TEST(forked_child_is_refused)
{
    float image[SIZE];
    int status;
    OK(cm_model_load(NULL, MODEL, NULL, &shared_model));
    OK(cm_sampler_create(shared_model, NULL, &shared_sampler));
    OK(cm_sampler_run(shared_sampler, NULL, 1, image));
    pid_t child = fork();
    if (child == 0) {
        alarm(5); /* measured: without the check it would hang for ever */
        int ok = cm_sampler_run(shared_sampler, NULL, 1, image) == CM_ERR_FORKED;
        _exit(ok ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    OK(cm_sampler_run(shared_sampler, NULL, 1, image));
    cm_sampler_free(shared_sampler);
    cm_model_free(shared_model);
}
END_TEST

static void *in_small_stack(void *user)
{
    float *image = malloc(SIZE * sizeof *image);
    cm_model *m;
    cm_sampler *s;
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    OK(cm_sampler_create(m, NULL, &s));
    OK(cm_sampler_run(s, NULL, 1, image));
    cm_sampler_free(s);
    cm_model_free(m);
    free(image);
    return user;
}

START_TEST(small_stack)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    ck_assert_int_eq(pthread_create(&thread, &attr, in_small_stack, NULL), 0);
    pthread_join(thread, NULL);
}
END_TEST

static void on_alarm(int number)
{
    (void)number;
}

/* Signals every millisecond, no standard streams, a comma for the decimal
 * point: the same images, and nothing of the host's is changed. */
START_TEST(strange_host)
{
    float want[SIZE], got[SIZE];
    struct sigaction action;
    cm_model *m;
    cm_sampler *s;
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    OK(cm_sampler_create(m, NULL, &s));
    OK(cm_sampler_run(s, NULL, 1, want));
    cm_sampler_free(s);
    cm_model_free(m);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, NULL);
    ualarm(1000, 1000);
    int kept[3];
    for (int fd = 0; fd < 3; fd++) kept[fd] = dup(fd);
    for (int fd = 0; fd < 3; fd++) close(fd);
    (void)(setlocale(LC_ALL, "de_DE.UTF-8") || setlocale(LC_ALL, "de_DE"));
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    OK(cm_sampler_create(m, NULL, &s));
    int rounding = fegetround();
    OK(cm_sampler_run(s, NULL, 1, got));
    ck_assert_int_eq(fegetround(), rounding);
    OK(cm_model_save(m, in_dir("c.safetensors"), NULL));
    cm_sampler_free(s);
    cm_model_free(m);
    ualarm(0, 0);
    for (int fd = 0; fd < 3; fd++) {
        if (kept[fd] >= 0) dup2(kept[fd], fd), close(kept[fd]);
    }
    setlocale(LC_ALL, "C");
    ck_assert_mem_eq(want, got, sizeof want);
}
END_TEST

/* Of a number at the ends of the four quarters of the cycles: what it rose by in the quarter in which it rose least.
 */
static double steady_growth(const double quarters[4])
{
    double least = quarters[1] - quarters[0];
    for (int i = 2; i < 4; i++)
        if (quarters[i] - quarters[i - 1] < least) least = quarters[i] - quarters[i - 1];
    return least;
}

/* Bytes that malloc has given and not got back. */
static double bytes_in_use(void)
{
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    const struct mallinfo2 m = mallinfo2();
    return (double)m.uordblks + (double)m.hblkhd;
#else
    return 0;
#endif
}

/* A thousand cycles leave nothing behind: what is left behind counts in every quarter.  A single rise is none: the
 * second thread has a workspace of its own, and on a busy machine may have its first work late. */
START_TEST(cycles_do_not_grow)
{
    float image[SIZE];
    double peak[4] = {0}, used[4] = {0};
    const int cycles = by_effort(4, 60, 1000);
    for (int i = 0; i < cycles; i++) {
        struct rusage now;
        cm_model *m;
        cm_sampler *s;
        OK(cm_model_load(NULL, MODEL, NULL, &m));
        OK(cm_sampler_create(m, NULL, &s));
        OK(cm_sampler_run(s, NULL, 1, image));
        cm_sampler_free(s);
        cm_model_free(m);
        getrusage(RUSAGE_SELF, &now);
        peak[4 * i / cycles] = 1024.0 * (double)now.ru_maxrss;
        used[4 * i / cycles] = bytes_in_use();
    }
    if (!RSS_MEANS_SOMETHING || by_effort(1, 0, 0)) {
        skipped("growth of memory over cycles: a sanitizer or short effort");
        return;
    }
    /* What malloc keeps for itself counts as used and differs by up to a hundred bytes a cycle.
     */
    ck_assert_msg(steady_growth(used) <= 512.0 * cycles / 4, "each quarter of %d cycles keeps %.0f bytes or more",
                  cycles, steady_growth(used));
    ck_assert_msg(steady_growth(peak) <= 262144, "the peak grew in each quarter by %.0f bytes or more",
                  steady_growth(peak));
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("guest");
    TCase *t = tcase_create("guest");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 1800);
    tcase_add_loop_test(t, every_allocation_fails, 0, 2);
    tcase_add_test(t, any_budget);
    tcase_add_test(t, a_run_allocates_little);
    tcase_add_test(t, log_goes_to_the_hook);
    tcase_add_test(t, forked_child_is_refused);
    tcase_add_test(t, small_stack);
    tcase_add_test(t, strange_host);
    tcase_add_test(t, cycles_do_not_grow);
    suite_add_tcase(s, t);
    return s;
}
