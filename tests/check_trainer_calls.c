/* Calls of a trainer that meet: requests to stop, signals, threads, callbacks, directories that are in use. */
#include "support/suite.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/pictures.h"
#include "support/trainers.h"
#include "train/trainer.h"

/* Sixteen pictures of the network's size, two classes. */
static cm_dataset *pictures(void)
{
    cm_dataset *d = NULL;
    char path[200];
    unsigned char pixels[SIDE * SIDE * CHANNELS];
    snprintf(path, sizeof path, "mkdir -p %s/pictures/a %s/pictures/b", dir, dir);
    ck_assert_int_eq(system(path), 0);
    for (int i = 0; i < 16; i++) {
        memset(pixels, 16 * i, sizeof pixels);
        snprintf(path, sizeof path, "%s/pictures/%c/%d.png", dir, "ab"[i % 2], i);
        OK(write_picture(NULL, path, CHANNELS, SIDE, SIDE, pixels, 0, 1));
    }
    OK(cm_dataset_open(NULL, in_dir("pictures"), NULL, &d));
    return d;
}

static void pause_for(long microseconds)
{
    const struct timespec t = {microseconds / 1000000, microseconds % 1000000 * 1000};
    (void)nanosleep(&t, NULL);
}

typedef struct {
    cm_trainer *trainer;
    cm_dataset *dataset;
    atomic_int steps; /* taken in this run                  */
    atomic_int limit; /* steps after which it ends by itself */
    cm_status status;
} training;

static int32_t count_step(void *user, const cm_train_report *report)
{
    training *r = user;
    (void)report;
    return atomic_fetch_add(&r->steps, 1) + 1 >= atomic_load(&r->limit);
}

static void *train(void *user)
{
    training *r = user;
    r->status = cm_trainer_run(r->trainer, r->dataset, INT64_MAX / 4, count_step, r);
    return NULL;
}

static void start_training(training *r, cm_trainer *t, cm_dataset *d, pthread_t *thread)
{
    *r = (training){.trainer = t, .dataset = d};
    atomic_init(&r->steps, 0);
    atomic_init(&r->limit, INT_MAX);
    ck_assert_int_eq(pthread_create(thread, NULL, train, r), 0);
    while (atomic_load(&r->steps) == 0) pause_for(100);
}

static cm_train_settings small_steps(void)
{
    cm_train_settings o = options("edm");
    o.batch = 2;
    o.threads = 1;
    o.augment = 0;
    return o;
}

/* One request at any moment of a run, between two of its steps as well: it stops, and the
 * trainer goes on as if it had not been asked. */
START_TEST(no_cancel_is_lost)
{
    enum { ROUNDS = 200, MORE = 50 };
    cm_train_settings o = small_steps();
    cm_dataset *d = pictures();
    cm_trainer *t = trainer("edm", &o), *calm = trainer("edm", &o);
    uint64_t random = 1;
    int lost = 0;
    for (int round = 0; round < ROUNDS; round++) {
        training r;
        pthread_t thread;
        start_training(&r, t, d, &thread);
        pause_for(random_int(&random, 0, 6000));
        cm_trainer_cancel(t);
        atomic_store(&r.limit, atomic_load(&r.steps) + MORE);
        pthread_join(thread, NULL);
        ck_assert_int_eq(r.status, CM_ERR_CANCELLED);
        lost += atomic_load(&r.steps) >= atomic_load(&r.limit);
    }
    ck_assert_msg(lost == 0, "%d of %d requests were lost", lost, ROUNDS);
    OK(cm_trainer_run(calm, d, t->step, NULL, NULL));
    ck_assert(same_state(t, calm));
    cm_trainer_free(t);
    cm_trainer_free(calm);
    cm_dataset_free(d);
}
END_TEST

/* --- one call at a time -------------------------------------------------------------- */

static cm_trainer *in_signals;
static void on_signal(int number)
{
    (void)number;
    cm_trainer_cancel(in_signals);
}

/* From a signal handler, also while the data set is read and in the callback. */
START_TEST(cancel_from_a_signal)
{
    enum { ROUNDS = 50 };
    cm_train_settings o = small_steps();
    cm_dataset *d = pictures();
    cm_trainer *t = trainer("edm", &o);
    uint64_t random = 2;
    in_signals = t;
    ck_assert(signal(SIGUSR2, on_signal) != SIG_ERR);
    for (int round = 0; round < ROUNDS; round++) {
        training r;
        pthread_t thread;
        start_training(&r, t, d, &thread);
        pause_for(random_int(&random, 0, 3000));
        ck_assert_int_eq(pthread_kill(thread, SIGUSR2), 0);
        pthread_join(thread, NULL);
        ck_assert_int_eq(r.status, CM_ERR_CANCELLED);
    }
    cm_trainer_free(t);
    cm_dataset_free(d);
}
END_TEST

enum { LOOKS = 40, STEPS_SEEN = 20000 };
typedef struct {
    cm_trainer *trainer;
    uint64_t sums[STEPS_SEEN]; /* of the weights after each step */
    atomic_int stop, refused;  /* refused: steps that met a snapshot */
} stepping;

static uint64_t sum_of(const float *values, size_t n)
{
    uint64_t sum = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        sum = (sum ^ bits) * 1099511628211u;
    }
    return sum;
}

static void *keep_stepping(void *user)
{
    stepping *s = user;
    cm_trainer *t = s->trainer;
    float images[2 * VALUES] = {0.25f};
    while (!atomic_load(&s->stop) && t->step < STEPS_SEEN - 1) {
        cm_status status = step_of(t, (size_t)t->o.batch, images, NULL, NULL);
        if (status == CM_ERR_STATE) atomic_fetch_add(&s->refused, 1);
        else if (status != CM_OK) break;
        else s->sums[t->step] = sum_of(t->learner->online.values, t->learner->floats);
    }
    return NULL;
}

static int64_t steps_of(const cm_model *m)
{
    return json_integer_value(json_object_get(json_object_get(m->file.config, "training"), "steps"));
}

/* Beside a thread that steps a snapshot is refused, or it is that of one whole step. */
START_TEST(snapshots_are_whole)
{
    cm_train_settings o = small_steps();
    static stepping s;
    struct {
        int64_t step;
        uint64_t sum;
    } looks[LOOKS];
    pthread_t thread;
    int refused = 0;
    s.trainer = trainer("edm", &o);
    atomic_init(&s.stop, 0);
    atomic_init(&s.refused, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, keep_stepping, &s), 0);
    while (s.trainer->step == 0) pause_for(100);
    for (int n = 0; n < LOOKS || refused == 0;) {
        cm_model *m;
        cm_status status = cm_trainer_model(s.trainer, CM_WEIGHTS_ONLINE, 0, &m);
        ck_assert_msg(status == CM_OK || status == CM_ERR_STATE, "%s", cm_last_message());
        ck_assert((m != NULL) == (status == CM_OK));
        refused += status == CM_ERR_STATE;
        if (m && n < LOOKS) {
            looks[n].step = steps_of(m);
            looks[n++].sum = sum_of(m->block, s.trainer->learner->floats);
        }
        cm_model_free(m);
    }
    atomic_store(&s.stop, 1);
    pthread_join(thread, NULL);
    for (int n = 0; n < LOOKS; n++) ck_assert_uint_eq(looks[n].sum, s.sums[looks[n].step]);
    cm_trainer_free(s.trainer);
}
END_TEST

/* What another thread gets of a trainer and a data set that are at work. */
START_TEST(one_call_at_a_time)
{
    cm_train_settings o = small_steps();
    cm_dataset *d = pictures();
    cm_trainer *t = trainer("edm", &o), *other = trainer("edm", &o);
    training r;
    pthread_t thread;
    cm_model *m;
    uint64_t taken, bytes;
    float images[2 * VALUES] = {0};
    cm_dataset_info info;
    start_training(&r, t, d, &thread);
    for (int i = 0; i < 20; i++, pause_for(200)) {
        FAILS(cm_trainer_model(t, CM_WEIGHTS_EMA, 0, &m), CM_ERR_STATE, "this trainer is already running");
        ck_assert_ptr_null(m);
        FAILS(cm_trainer_save(t, in_dir("beside"), 0), CM_ERR_STATE, "already running");
        FAILS(cm_trainer_resume(t, in_dir("beside"), NULL, 0), CM_ERR_STATE, "already running");
        FAILS(step_of(t, (size_t)t->o.batch, images, NULL, NULL), CM_ERR_STATE, "already running");
        FAILS(cm_trainer_run(t, d, 5, NULL, NULL), CM_ERR_STATE, "already running");
        FAILS(cm_trainer_run(other, d, 5, NULL, NULL), CM_ERR_STATE, "this data set is already running");
        FAILS(read_floats(d, 0, 1, images, NULL), CM_ERR_STATE, "this data set is already running");
        OK(cm_trainer_steps(t, &taken));
        OK(cm_trainer_bytes(t, &bytes));
        cm_dataset_info_init(&info, sizeof info);
        OK(cm_dataset_info_get(d, &info));
        ck_assert(taken > 0 && bytes > 0 && info.images == 16);
    }
    ck_assert_int_ne(access(in_dir("beside"), F_OK), 0); /* a refused save leaves nothing */
    cm_dataset_cancel(d);                                /* the run reads this set: it stops */
    pthread_join(thread, NULL);
    ck_assert_int_eq(r.status, CM_ERR_CANCELLED);
    OK(cm_trainer_run(other, d, 2, NULL, NULL)); /* and both are free again */
    OK(cm_trainer_model(t, CM_WEIGHTS_EMA, 0, &m));
    cm_model_free(m);
    cm_trainer_free(t);
    cm_trainer_free(other);
    cm_dataset_free(d);
}
END_TEST

/* What the callback of a run may do, and what not. */
static int32_t from_the_callback(void *user, const cm_train_report *report)
{
    training *r = user;
    cm_trainer *t = r->trainer;
    cm_model *m;
    uint64_t taken, bytes;
    float images[2 * VALUES] = {0};
    OK(cm_trainer_steps(t, &taken));
    OK(cm_trainer_bytes(t, &bytes));
    ck_assert_uint_eq(taken, (uint64_t)report->step);
    for (int which = CM_WEIGHTS_ONLINE; which <= CM_WEIGHTS_EMA; which++) {
        OK(cm_trainer_model(t, which, 0, &m));
        ck_assert_int_eq(steps_of(m), report->step);
        cm_model_free(m);
    }
    OK(cm_trainer_save(t, in_dir("inside"), 0));
    FAILS(step_of(t, (size_t)t->o.batch, images, NULL, NULL), CM_ERR_STATE, "in its callbacks only those");
    FAILS(cm_trainer_run(t, r->dataset, 99, NULL, NULL), CM_ERR_STATE, "already running");
    FAILS(cm_trainer_resume(t, in_dir("inside"), NULL, 0), CM_ERR_STATE, "already running");
    FAILS(read_floats(r->dataset, 0, 1, images, NULL), CM_ERR_STATE, "already running");
    if (report->step == 3) cm_trainer_cancel(t);
    return 0;
}

START_TEST(callbacks_may_look)
{
    cm_train_settings o = small_steps();
    cm_dataset *d = pictures();
    cm_trainer *t = trainer("edm", &o), *again = trainer("edm", &o);
    training r = {.trainer = t, .dataset = d};
    FAILS(cm_trainer_run(t, d, 10, from_the_callback, &r), CM_ERR_CANCELLED, "after step 3");
    cm_trainer_free(t);
    OK(cm_trainer_resume(again, in_dir("inside"), d, 0));
    ck_assert_int_eq(again->step, 3);
    cm_trainer_free(again);
    cm_dataset_free(d);
}
END_TEST

/* Two trainers of one process and of two, every directory, whoever is freed. */
static int locked_for_a_child(const char *run)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        char path[200];
        snprintf(path, sizeof path, "%s/.lock", run);
        int fd = open(path, O_RDWR);
        _exit(fd < 0 ? 2 : fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

START_TEST(run_directories_are_locked)
{
    cm_train_settings o = small_steps();
    cm_trainer *a = trainer("edm", &o), *b = trainer("edm", &o), *c = trainer("edm", &o);
    static const char *const runs[] = {"lock0", "lock1", "lock2", "lock3", "lock4", "lock5"};
    enum { RUNS = sizeof runs / sizeof *runs };
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < RUNS; i++) OK(cm_trainer_save(a, in_dir(runs[i]), 0));
    for (int i = 0; i < RUNS; i++) {
        FAILS(cm_trainer_save(b, in_dir(runs[i]), 0), CM_ERR_STATE, "locked");
        FAILS(cm_trainer_resume(c, in_dir(runs[i]), NULL, 0), CM_ERR_STATE, "locked");
        if (i == 2) cm_trainer_free(c), c = trainer("edm", &o); /* drops nothing of a's */
        ck_assert_int_eq(locked_for_a_child(in_dir(runs[i])), 1);
    }
    cm_trainer_free(b);
    FAILS(cm_trainer_save(c, in_dir(runs[0]), 0), CM_ERR_STATE, "locked");
    cm_trainer_free(a);
    for (int i = 0; i < RUNS; i++) ck_assert_int_eq(locked_for_a_child(in_dir(runs[i])), 0);
    /* A resume that fails holds nothing. */
    o.lr = 0.5;
    b = trainer("edm", &o);
    FAILS(cm_trainer_resume(b, in_dir(runs[0]), NULL, 0), CM_ERR_ARGUMENT, "lr");
    OK(cm_trainer_resume(c, in_dir(runs[0]), NULL, 0));
    FAILS(cm_trainer_resume(b, in_dir(runs[0]), NULL, 1), CM_ERR_STATE, "locked");
    cm_trainer_free(b);
    cm_trainer_free(c);
}
END_TEST

START_TEST(cancel_leaves_it_usable)
{
    cm_train_settings o = options("ct");
    cm_trainer *t = trainer("ct", &o), *calm = trainer("ct", &o);
    float images[BATCH * VALUES];
    int32_t labels[BATCH];
    OK(steps(t, 2, NULL));
    cm_trainer_cancel(t); /* nothing runs: forgotten */
    batch(2, images, labels);
    OK(step_of(t, (size_t)t->o.batch, images, labels, NULL));
    cm_trainer_cancel(NULL);
    OK(steps(t, 5, NULL));
    OK(steps(calm, 5, NULL));
    ck_assert(same_state(t, calm));
    cm_trainer_free(t);
    cm_trainer_free(calm);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("trainer_calls");
    TCase *calls = tcase_create("calls");
    tcase_add_unchecked_fixture(calls, setup, teardown);
    tcase_set_timeout(calls, 600);
    tcase_add_test(calls, no_cancel_is_lost);
    tcase_add_test(calls, cancel_from_a_signal);
    tcase_add_test(calls, snapshots_are_whole);
    tcase_add_test(calls, one_call_at_a_time);
    tcase_add_test(calls, callbacks_may_look);
    tcase_add_test(calls, run_directories_are_locked);
    tcase_add_test(calls, cancel_leaves_it_usable);
    suite_add_tcase(s, calls);
    return s;
}
