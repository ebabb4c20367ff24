/* bench_threads MODEL - what threads cost and gain, on a quiet machine and on one where
 * two loops compete for every CPU: single images (p50, p90, p99 in milliseconds), CPU
 * time spent in the half second after a call, images a second of samplers x threads, and
 * a run of several evaluations.  `bench_threads MODEL quiet` and `... busy` do one of the
 * two. */
#include <consistency.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void need(cm_status status)
{
    if (status == CM_OK) return;
    printf("%s: %s\n", cm_status_name(status), cm_last_message());
    exit(1);
}

static cm_model *model;
static size_t values;

static cm_sampler *sampler_of(int threads, int batch)
{
    cm_sampler_options o;
    cm_sampler *sampler;
    cm_sampler_options_init(&o, sizeof o);
    o.threads = threads, o.max_batch = batch;
    need(cm_sampler_create(model, &o, &sampler));
    return sampler;
}

static int compare(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;
    return d < 0 ? -1 : d > 0;
}

/* One image a call, 200 calls. */
static void latency(int threads)
{
    enum { CALLS = 200 };
    static double times[CALLS];
    float *image = malloc(values * sizeof *image);
    cm_sampler *sampler = sampler_of(threads, 1);
    need(cm_sampler_run(sampler, NULL, 1, image));
    for (int i = 0; i < CALLS; i++) {
        double began = seconds(CLOCK_MONOTONIC);
        need(cm_sampler_run(sampler, NULL, 1, image));
        times[i] = 1e3 * (seconds(CLOCK_MONOTONIC) - began);
    }
    double used = seconds(CLOCK_PROCESS_CPUTIME_ID);
    usleep(500000);
    used = seconds(CLOCK_PROCESS_CPUTIME_ID) - used;
    qsort(times, CALLS, sizeof *times, compare);
    printf("  single images, %d threads: p50 %7.2f  p90 %7.2f  p99 %7.2f ms; CPU in the half second after: %.2f ms\n",
           threads, times[CALLS / 2], times[CALLS * 9 / 10], times[CALLS * 99 / 100], 1e3 * used);
    cm_sampler_free(sampler);
    free(image);
}

typedef struct {
    cm_sampler *sampler;
    int batch;
    double until;
    long images;
} runner;

static void *draw(void *user)
{
    runner *r = user;
    float *images = malloc((size_t)r->batch * values * sizeof *images);
    while (seconds(CLOCK_MONOTONIC) < r->until) {
        need(cm_sampler_run(r->sampler, NULL, (size_t)r->batch, images));
        r->images += r->batch;
    }
    free(images);
    return NULL;
}

static void throughput(int samplers, int threads, int batch)
{
    runner r[8];
    pthread_t ids[8];
    long images = 0;
    for (int i = 0; i < samplers; i++) r[i] = (runner){sampler_of(threads, batch), batch, 0, 0};
    double began = seconds(CLOCK_MONOTONIC);
    for (int i = 0; i < samplers; i++) {
        r[i].until = began + 1;
        if (pthread_create(&ids[i], NULL, draw, &r[i])) exit(1);
    }
    for (int i = 0; i < samplers; i++) pthread_join(ids[i], NULL), images += r[i].images;
    double took = seconds(CLOCK_MONOTONIC) - began;
    printf("  %d samplers x %d threads, batch %d: %7.1f images/s\n", samplers, threads, batch, (double)images / took);
    for (int i = 0; i < samplers; i++) cm_sampler_free(r[i].sampler);
}

/* Ten images, as the README's program draws them. */
static void ten(int threads)
{
    double took[5];
    float *images = malloc(10 * values * sizeof *images);
    for (int i = 0; i < 5; i++) {
        double began = seconds(CLOCK_MONOTONIC);
        cm_sampler *sampler = sampler_of(threads, 1);
        need(cm_sampler_run(sampler, NULL, 10, images));
        took[i] = seconds(CLOCK_MONOTONIC) - began;
        cm_sampler_free(sampler);
    }
    qsort(took, 5, sizeof *took, compare);
    printf("  ten images one by one, sampler included, %d threads: %.3f s (%.3f to %.3f)\n", threads, took[2],
           took[0], took[4]);
    free(images);
}

static void all(const char *title)
{
    static const int pairs[5][2] = {{1, 1}, {1, 2}, {2, 1}, {2, 2}, {4, 1}};
    printf("%s\n", title);
    for (int threads = 1; threads <= 2; threads++) latency(threads);
    for (int threads = 1; threads <= 2; threads++) ten(threads);
    for (int i = 0; i < 5; i++) throughput(pairs[i][0], pairs[i][1], 1);
    for (int i = 0; i < 5; i++) throughput(pairs[i][0], pairs[i][1], 16);
}

static void spin(pid_t parent)
{
    for (volatile unsigned long i = 0;; i++)
        if (i % (1ul << 26) == 0 && getppid() != parent) _exit(0);
}

int main(int argc, char **argv)
{
    cm_model_info info;
    const char *which = argc > 2 ? argv[2] : "both";
    enum { LOOPS = 2 };
    pid_t loops[LOOPS], me = getpid();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) return printf("usage: bench_threads MODEL [quiet|busy]\n"), 1;
    need(cm_model_load(NULL, argv[1], NULL, &model));
    cm_model_info_init(&info, sizeof info);
    need(cm_model_info_get(model, &info));
    values = (size_t)(info.channels * info.height * info.width);
    if (strcmp(which, "busy") != 0) all("quiet machine");
    if (strcmp(which, "quiet") == 0) return 0;
    for (int i = 0; i < LOOPS; i++)
        if ((loops[i] = fork()) == 0) spin(me);
    all("two busy loops beside");
    for (int i = 0; i < LOOPS; i++) kill(loops[i], SIGKILL), waitpid(loops[i], NULL, 0);
    cm_model_free(model);
    return 0;
}
