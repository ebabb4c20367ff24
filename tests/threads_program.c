/* threads_program CASE - the library's threads as a host meets them; each case is a process
 * of its own (tests/threads.sh).  Prints nothing and returns 0 when all is as promised.
 *
 * The program has a pthread_create of its own, which the library then calls: it counts
 * threads and can refuse them. */
#define _GNU_SOURCE
#include <consistency.h>

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MODEL "tests/data/models/digits_consistency.safetensors"
enum { IMAGES = 16, VALUES = 32 * 32, ALL = IMAGES * VALUES };

static atomic_int made, refuse_after = 1 << 20;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *user)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&next, &symbol, sizeof next);
    if (atomic_fetch_add(&made, 1) >= atomic_load(&refuse_after)) return 11; /* EAGAIN */
    return next(thread, attributes, start, user);
}

#define NEED(condition)                                                                                              \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            printf("threads_program: line %d: %s (%s)\n", __LINE__, #condition, cm_last_message());                  \
            fflush(stdout);                                                                                          \
            _exit(1);                                                                                                \
        }                                                                                                            \
    } while (0)

static int tasks(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

/* The process has this many threads, or will have within ten seconds: the kernel lets
 * pthread_join return a moment before the thread that ended leaves the list. */
static int settles_at(int expected)
{
    for (int i = 0; i < 10000 && tasks() != expected; i++) usleep(1000);
    return tasks() == expected;
}

static cm_status draw(const cm_context_options *co, int threads, float *images)
{
    cm_context *context = NULL;
    cm_model *model = NULL;
    cm_sampler *sampler = NULL;
    cm_sampler_options o;
    cm_sampler_options_init(&o, sizeof o);
    o.threads = threads, o.max_batch = IMAGES;
    cm_status status = cm_context_create(co, &context);
    if (status == CM_OK) status = cm_model_load(context, MODEL, NULL, &model);
    if (status == CM_OK) status = cm_sampler_create(model, &o, &sampler);
    if (status == CM_OK) status = cm_sampler_run(sampler, NULL, IMAGES, images);
    cm_sampler_free(sampler);
    cm_model_free(model);
    cm_context_free(context);
    return status;
}

static float want[ALL], got[ALL];

static void same(void)
{
    NEED(memcmp(want, got, sizeof got) == 0);
}

/* One thread is one thread, from loading to freeing. */
static void one(void)
{
    cm_context_options o;
    cm_context_options_init(&o, sizeof o);
    o.threads = 1;
    NEED(draw(&o, 0, got) == CM_OK);
    NEED(made == 0 && settles_at(1));
}

/* Three are two more, and none is left behind. */
static void several(void)
{
    NEED(draw(NULL, 3, got) == CM_OK);
    NEED(made == 2 && settles_at(1));
    same();
}

static void count_warnings(void *user, int32_t level, const char *message)
{
    (void)message;
    *(int *)user += level == CM_LOG_WARNING;
}

/* What the system refuses is missing, and is told once. */
static void refused(void)
{
    int warnings = 0;
    cm_context_options o;
    cm_context_options_init(&o, sizeof o);
    o.log = count_warnings, o.log_user = &warnings;
    for (int granted = 0; granted < 3; granted++) {
        atomic_store(&made, 0);
        atomic_store(&refuse_after, granted);
        warnings = 0;
        NEED(draw(&o, 8, got) == CM_OK);
        NEED(warnings == 1 && settles_at(1));
        same();
    }
}

/* A limit of the process itself, where the user is not root. */
static void limited(void)
{
    const struct rlimit none = {1, 1};
    cm_model *model;
    cm_sampler *sampler;
    cm_sampler_options o;
    cm_sampler_options_init(&o, sizeof o);
    o.threads = 4, o.max_batch = IMAGES;
    NEED(cm_model_load(NULL, MODEL, NULL, &model) == CM_OK);
    if (getuid() == 0) NEED(setgid(65534) == 0 && setuid(65534) == 0);
    NEED(setrlimit(RLIMIT_NPROC, &none) == 0);
    NEED(cm_sampler_create(model, &o, &sampler) == CM_OK && cm_sampler_run(sampler, NULL, IMAGES, got) == CM_OK);
    NEED(settles_at(1));
    cm_sampler_free(sampler);
    cm_model_free(model);
    same();
}

/* 64 threads under 400 MB of address space. */
static void small_space(void)
{
    struct rlimit space = {400000000, 400000000};
    NEED(setrlimit(RLIMIT_AS, &space) == 0);
    cm_status status = draw(NULL, 64, got);
    NEED(status == CM_OK);
    same();
}

static double train(void)
{
    static const char *const config =
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 1, \"model_channels\": 16, "
        "\"num_blocks\": 1, \"channel_mult\": [1], \"attn_resolutions\": []}, \"precond\": {\"type\": \"edm\"}, "
        "\"image\": {\"channels\": 1, \"height\": 32, \"width\": 32}}";
    cm_model *model;
    cm_trainer *trainer;
    cm_dataset *dataset;
    cm_train_options *o;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_dataset_options d;
    cm_train_report report;
    double loss = 0;
    NEED(cm_train_options_create(NULL, &o) == CM_OK);
    cm_dataset_options_init(&d, sizeof d);
    cm_train_report_init(&report, sizeof report);
    NEED(cm_train_options_set(o, "batch", "4") == CM_OK && cm_train_options_set(o, "threads", "3") == CM_OK &&
         cm_train_options_set(o, "microbatch", "1") == CM_OK);
    d.channels = 1, d.height = d.width = 32;
    NEED(cm_model_create(NULL, config, 1, &model) == CM_OK);
    inputs.model = model;
    NEED(cm_trainer_create(&inputs, o, &trainer) == CM_OK);
    cm_train_options_free(o);
    NEED(cm_dataset_open(NULL, "tests/data/pictures", &d, &dataset) == CM_OK);
    NEED(cm_trainer_run(trainer, dataset, 3, NULL, NULL) == CM_OK);
    cm_model *after;
    NEED(cm_trainer_model(trainer, CM_WEIGHTS_ONLINE, 0, &after) == CM_OK);
    float x[VALUES], y[VALUES];
    const float sigma = 1;
    for (int i = 0; i < VALUES; i++) x[i] = (float)(i % 7) / 7;
    NEED(cm_model_denoise(after, 1, x, &sigma, NULL, y) == CM_OK);
    for (int i = 0; i < VALUES; i++) loss += (double)y[i] * (i % 5 + 1);
    cm_model_free(after);
    cm_dataset_free(dataset);
    cm_trainer_free(trainer);
    cm_model_free(model);
    return loss;
}

/* Without the thread that reads ahead and without helpers the weights are the same. */
static void training(void)
{
    const double whole = train();
    NEED(atomic_load(&made) == 3); /* two workers and the reader */
    atomic_store(&made, 0);
    atomic_store(&refuse_after, 0);
    NEED(train() == whole && settles_at(1));
}

static volatile sig_atomic_t delivered;

static void deliver(int number)
{
    (void)number;
    delivered = 1;
}

/* Signals are the host's: one that its threads block stays pending. */
static void signals(void)
{
    cm_model *model;
    cm_sampler *sampler;
    cm_sampler_options o;
    sigset_t set;
    cm_sampler_options_init(&o, sizeof o);
    o.threads = 4, o.max_batch = IMAGES;
    NEED(signal(SIGUSR1, deliver) != SIG_ERR);
    NEED(cm_model_load(NULL, MODEL, NULL, &model) == CM_OK && cm_sampler_create(model, &o, &sampler) == CM_OK);
    NEED(cm_sampler_run(sampler, NULL, IMAGES, got) == CM_OK && settles_at(4));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    NEED(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0 && kill(getpid(), SIGUSR1) == 0);
    usleep(20000);
    NEED(!delivered && pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0 && delivered);
    cm_sampler_free(sampler);
    cm_model_free(model);
}

static void *host(void *user)
{
    float *images = malloc(ALL * sizeof *images);
    (void)user;
    NEED(images && draw(NULL, 4, images) == CM_OK);
    NEED(memcmp(want, images, ALL * sizeof *images) == 0);
    free(images);
    return NULL;
}

/* Hosts with several threads each leave nothing behind. */
static void hosts(void)
{
    pthread_t ids[8];
    for (int i = 0; i < 8; i++) NEED(pthread_create(&ids[i], NULL, host, NULL) == 0);
    for (int i = 0; i < 8; i++) NEED(pthread_join(ids[i], NULL) == 0);
    NEED(settles_at(1));
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Threads that have nothing to do sleep: in one of several half seconds at least, since on a busy machine they may
 * come to their last look only in the first. */
static void idle(void)
{
    double used = 1;
    cm_model *model;
    cm_sampler *sampler;
    cm_sampler_options o;
    cm_sampler_options_init(&o, sizeof o);
    o.threads = 4, o.max_batch = IMAGES;
    NEED(cm_model_load(NULL, MODEL, NULL, &model) == CM_OK && cm_sampler_create(model, &o, &sampler) == CM_OK);
    NEED(cm_sampler_run(sampler, NULL, IMAGES, got) == CM_OK);
    for (int i = 0; i < 10 && used >= 0.002; i++) {
        const double before = processor_seconds();
        usleep(500000);
        used = processor_seconds() - before;
    }
    NEED(used < 0.002);
    cm_sampler_free(sampler);
    cm_model_free(model);
}

/* The host's own loop: in order, backwards, and with a call left out. */
static void in_order(void *user, int32_t n, void (*task)(void *work, int32_t i), void *work)
{
    atomic_fetch_add((atomic_int *)user, 1);
    for (int32_t i = 0; i < n; i++) task(work, i);
}
static void backwards(void *user, int32_t n, void (*task)(void *work, int32_t i), void *work)
{
    atomic_fetch_add((atomic_int *)user, 1);
    for (int32_t i = n; i-- > 0;) task(work, i);
}
static void forgetful(void *user, int32_t n, void (*task)(void *work, int32_t i), void *work)
{
    atomic_fetch_add((atomic_int *)user, 1);
    for (int32_t i = 1; i < n - 1; i++) task(work, i);
}

static void hosted(void)
{
    void (*const loops[])(void *, int32_t, void (*)(void *, int32_t), void *) = {in_order, backwards, forgetful};
    for (int i = 0; i < 3; i++) {
        atomic_int calls = 0;
        cm_context_options o;
        cm_context_options_init(&o, sizeof o);
        o.threads = 4, o.parallel_for = loops[i], o.parallel_user = &calls;
        NEED(draw(&o, 0, got) == CM_OK);
        NEED(calls > 0 && made == 0);
        same();
    }
}

/* In a child: the pictures with a context of its own, FORKED with the parent's. */
static void child_draws(cm_sampler *parents)
{
    pid_t child = fork();
    int status;
    NEED(child >= 0);
    if (child == 0) {
        alarm(60);
        if (parents) NEED(cm_sampler_run(parents, NULL, 1, got) == CM_ERR_FORKED);
        cm_sampler_free(parents);
        for (int threads = 1; threads < 4; threads++) {
            NEED(draw(NULL, threads, got) == CM_OK);
            same();
        }
        _exit(0);
    }
    NEED(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void forks(void)
{
    cm_model *model;
    cm_sampler *sampler;
    cm_sampler_options o;
    child_draws(NULL);
    cm_sampler_options_init(&o, sizeof o);
    o.threads = 4, o.max_batch = IMAGES;
    NEED(cm_model_load(NULL, MODEL, NULL, &model) == CM_OK && cm_sampler_create(model, &o, &sampler) == CM_OK);
    child_draws(sampler);
    NEED(cm_sampler_run(sampler, NULL, IMAGES, got) == CM_OK);
    child_draws(sampler);
    cm_sampler_free(sampler);
    cm_model_free(model);
    child_draws(NULL);
}

static atomic_int stop;

static void *busy_host(void *user)
{
    float *images = malloc(ALL * sizeof *images);
    (void)user;
    while (!stop) NEED(images && draw(NULL, 2, images) == CM_OK);
    free(images);
    return NULL;
}

/* While other threads load, prepare and draw: the pictures or FORKED, and no child waits
 * for ever. */
static void forks_within(void)
{
    pthread_t ids[2];
    int pictures = 0, forked = 0;
    for (int i = 0; i < 2; i++) NEED(pthread_create(&ids[i], NULL, busy_host, NULL) == 0);
    for (int i = 0; i < 30; i++) {
        int status;
        usleep((useconds_t)(i * 701 % 9000));
        pid_t child = fork();
        NEED(child >= 0);
        if (child == 0) {
            alarm(60);
            cm_status s = draw(NULL, 2, got);
            if (s == CM_OK) same();
            NEED(s == CM_OK || s == CM_ERR_FORKED);
            _exit(s == CM_OK ? 0 : 9);
        }
        NEED(waitpid(child, &status, 0) == child && WIFEXITED(status));
        NEED(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9);
        pictures += WEXITSTATUS(status) == 0, forked += WEXITSTATUS(status) == 9;
    }
    stop = 1;
    for (int i = 0; i < 2; i++) NEED(pthread_join(ids[i], NULL) == 0);
    NEED(pictures > 0);
    printf("forks within calls: %d children drew, %d were told that they are forked\n", pictures, forked);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {{"one", one},           {"several", several},   {"refused", refused}, {"limited", limited},
                 {"space", small_space}, {"hosts", hosts},       {"idle", idle},       {"hosted", hosted},
                 {"forks", forks},       {"training", training}, {"signals", signals}, {"within", forks_within}};
    cm_context_options o;
    if (argc == 2)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            if (strcmp(argv[1], cases[i].name) != 0) continue;
            cm_context_options_init(&o, sizeof o);
            o.threads = 1;
            NEED(draw(&o, 1, want) == CM_OK);
            cases[i].run();
            return 0;
        }
    printf("usage: threads_program CASE\n");
    return 2;
}
