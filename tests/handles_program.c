/* handles_program.c CASE [NUMBER] - handles shared, stopped and made again and again, as a host may do it
 * (reliability R10).
 *
 *   threads   eight threads, each with a sampler of its own on one model, draw NUMBER images each: those of one
 * thread cancel    every long call is asked to stop at NUMBER random moments: it ends with CANCELLED (or was done)
 * soon, leaves no file, and the same call then gives what one gives that nobody stopped cycles    NUMBER rounds of
 * load, sampler, images, data set, trainer, step, free: memory does not grow host      within a parallel loop of the
 * host, in a thread with a stack of 256 KiB, with 16 descriptors
 *
 * Prints a line and returns 0 when all is as promised. */
#define _GNU_SOURCE
#include <consistency.h>

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MODEL "tests/data/models/digits_consistency.safetensors"
#define TEACHER "tests/data/models/digits_teacher.safetensors"
enum { SIZE = 32 * 32, THREADS = 8 };

#define NEED(condition)                                                                                              \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            printf("handles_program: line %d: %s (%s)\n", __LINE__, #condition, cm_last_message());                  \
            fflush(stdout);                                                                                          \
            _exit(1);                                                                                                \
        }                                                                                                            \
    } while (0)

static uint64_t state = 31;
static int random_below(int n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int)((state >> 33) % (uint64_t)n);
}

static void pause_for(long microseconds)
{
    const struct timespec t = {microseconds / 1000000, microseconds % 1000000 * 1000};
    (void)nanosleep(&t, NULL);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- eight threads --------------------------------------------------------------------------------- */

static cm_model *shared;
static float *wanted;
static size_t images;

static void *draw_all(void *user)
{
    cm_sampler *s;
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    float *got = malloc(images * SIZE * sizeof *got);
    o.threads = 1, o.max_batch = 4;
    NEED(got && cm_sampler_create(shared, &o, &s) == CM_OK && cm_sampler_run(s, NULL, images, got) == CM_OK);
    cm_sampler_free(s);
    if (user) memcpy(user, got, images * SIZE * sizeof *got);
    else NEED(memcmp(wanted, got, images * SIZE * sizeof *got) == 0);
    free(got);
    return NULL;
}

static void threads(int n)
{
    pthread_t ids[THREADS];
    images = (size_t)n;
    wanted = malloc(images * SIZE * sizeof *wanted);
    NEED(wanted && cm_model_load(NULL, MODEL, NULL, &shared) == CM_OK);
    (void)draw_all(wanted);
    for (int i = 0; i < THREADS; i++) NEED(pthread_create(&ids[i], NULL, draw_all, NULL) == 0);
    for (int i = 0; i < THREADS; i++) NEED(pthread_join(ids[i], NULL) == 0);
    cm_model_free(shared);
    free(wanted);
    printf("threads: %d samplers of one model, %d images each, as one thread draws them\n", THREADS, n);
}

/* --- cancelling ------------------------------------------------------------------------------------ */

/* A long call on handles of its own: `begin` makes them, `run` is the call and leaves a digest of its result, `stop`
 * is asked from another thread. */
typedef struct job job;
struct job {
    const char *name;
    const char *piece; /* after each it looks whether it shall stop */
    int pieces;        /* of a whole call; 0: as often as it asks the callback */
    void (*begin)(job *);
    cm_status (*run)(job *);
    void (*stop)(job *);
    void (*end)(job *);
    cm_model *model;
    cm_sampler *sampler;
    cm_trainer *trainer;
    cm_dataset *dataset;
    cm_run *work;
    atomic_int asked, questions; /* of calls that ask a callback */
    uint64_t digest;
    cm_status status;
};

static char dir[] = "/tmp/cm-handles-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static uint64_t hash(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < size; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static int32_t ask(void *user, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    atomic_fetch_add(&((job *)user)->questions, 1);
    return atomic_load(&((job *)user)->asked);
}

static void ask_to_stop(job *j)
{
    atomic_store(&j->asked, 1);
}

static void begin_sampler(job *j)
{
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    o.threads = 2, o.max_batch = 4;
    NEED(cm_model_load(NULL, TEACHER, NULL, &j->model) == CM_OK &&
         cm_sampler_create(j->model, &o, &j->sampler) == CM_OK);
}

static cm_status sample(job *j)
{
    static float got[8 * SIZE];
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    o.method = CM_METHOD_HEUN, o.steps = 6;
    const cm_status status = cm_sampler_run(j->sampler, &o, 8, got);
    j->digest = hash(got, sizeof got);
    return status;
}

static void stop_sampler(job *j)
{
    cm_sampler_cancel(j->sampler);
}

static void free_all(job *j)
{
    cm_run_free(j->work);
    cm_sampler_free(j->sampler);
    cm_trainer_free(j->trainer);
    cm_dataset_free(j->dataset);
    cm_model_free(j->model);
    j->work = NULL, j->sampler = NULL, j->trainer = NULL, j->dataset = NULL, j->model = NULL;
}

static void begin_edit(job *j)
{
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    o.threads = 1, o.max_batch = 2;
    NEED(cm_model_load(NULL, MODEL, NULL, &j->model) == CM_OK &&
         cm_sampler_create(j->model, &o, &j->sampler) == CM_OK);
}

static cm_status edit(job *j)
{
    static float given[SIZE], mask[SIZE], out[4 * SIZE];
    static const int32_t label = 3;
    cm_edit_options o = CM_EDIT_OPTIONS_INIT;
    cm_sample_options so = CM_SAMPLE_OPTIONS_INIT;
    cm_condition condition = CM_CONDITION_INIT;
    condition.labels = &label, so.condition = &condition, so.steps = 20;
    for (int i = 0; i < SIZE; i++) given[i] = (float)(i % 9) / 9, mask[i] = (float)(i % 2);
    o.variations = 4, o.sampling = &so;
    const cm_images y = cm_images_f32(1, 1, 32, 32, given), m = cm_images_f32(1, 1, 32, 32, mask),
                    x = cm_images_f32(4, 1, 32, 32, out);
    const cm_status status = cm_sampler_inpaint(j->sampler, &o, &y, &m, &x);
    j->digest = hash(out, sizeof out);
    return status;
}

static void begin_model(job *j)
{
    NEED(cm_model_load(NULL, TEACHER, NULL, &j->model) == CM_OK);
    atomic_store(&j->asked, 0);
}

static cm_status denoise(job *j)
{
    enum { N = 16 };
    static float x[N * SIZE], out[N * SIZE], sigma[N];
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    o.progress = ask, o.progress_user = j;
    for (int i = 0; i < N * SIZE; i++) x[i] = (float)(i % 11) / 11;
    for (int i = 0; i < N; i++) sigma[i] = (float)(i + 1);
    const cm_status status = cm_model_denoise_with(j->model, &o, N, x, sigma, out);
    j->digest = hash(out, sizeof out);
    return status;
}

static cm_status likelihood(job *j)
{
    enum { N = 2 };
    static float x[N * SIZE];
    static double bits[N];
    static const int32_t labels[N] = {1, 2};
    cm_condition condition = CM_CONDITION_INIT;
    cm_likelihood_options o = CM_LIKELIHOOD_OPTIONS_INIT;
    condition.labels = labels;
    o.condition = &condition, o.rk45_rtol = o.rk45_atol = 0.5, o.progress = ask, o.progress_user = j;
    for (int i = 0; i < N * SIZE; i++) x[i] = (float)(i % 200) / 127.5f - 1;
    const cm_status status = cm_model_bits_per_dim(j->model, &o, N, x, bits);
    j->digest = hash(bits, sizeof bits);
    return status;
}

static void begin_nothing(job *j)
{
    atomic_store(&j->asked, 0);
}

static uint64_t hash_of_weights(const cm_model *m)
{
    uint64_t h = 0;
    for (size_t i = 0; i < cm_model_param_count(m); i++) {
        int64_t shape[8];
        int32_t rank;
        size_t n = 1;
        NEED(cm_model_param_info(m, i, NULL, &rank, shape, NULL) == CM_OK);
        for (int32_t k = 0; k < rank; k++) n *= (size_t)shape[k];
        float *values = malloc(n * sizeof *values);
        NEED(values && cm_model_param_read(m, i, n, values) == CM_OK);
        h = h * 31 + hash(values, n * sizeof *values);
        free(values);
    }
    return h;
}

static cm_status load(job *j)
{
    cm_load_options o = CM_LOAD_OPTIONS_INIT;
    cm_model *m = NULL;
    o.copy = CM_COPY_YES, o.progress = ask, o.progress_user = j;
    const cm_status status = cm_model_load(NULL, TEACHER, &o, &m);
    NEED((status == CM_OK) == (m != NULL));
    j->digest = m ? hash_of_weights(m) : 0;
    cm_model_free(m);
    return status;
}

static cm_status save(job *j)
{
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    static unsigned char bytes[8 << 20];
    o.overwrite = CM_OVERWRITE_NO, o.format = CM_MODEL_TORCH, o.progress = ask, o.progress_user = j;
    const cm_status status = cm_model_save(j->model, in_dir("saved.pt"), &o);
    FILE *f = fopen(in_dir("saved.pt"), "rb");
    NEED((status == CM_OK) == (f != NULL));
    if (f) {
        j->digest = hash(bytes, fread(bytes, 1, sizeof bytes, f));
        (void)fclose(f);
        NEED(unlink(in_dir("saved.pt")) == 0);
    }
    return status;
}

static void begin_set(job *j)
{
    cm_dataset_options o = CM_DATASET_OPTIONS_INIT;
    o.channels = 1, o.height = o.width = 32;
    NEED(cm_dataset_open(NULL, "tests/data/pictures", &o, &j->dataset) == CM_OK);
}

static cm_status read_set(job *j)
{
    enum { N = 64 };
    static float got[N * SIZE];
    const cm_images out = cm_images_f32(N, 1, 32, 32, got);
    const cm_status status = cm_dataset_read(j->dataset, 5, &out, NULL);
    j->digest = hash(got, sizeof got);
    return status;
}

static void stop_set(job *j)
{
    cm_dataset_cancel(j->dataset);
}

/* A trainer anew each time: a call that is stopped has taken some of its steps. */
static void begin_trainer(job *j)
{
    static const char *const config =
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 1, \"model_channels\": 16, "
        "\"num_blocks\": 1, \"channel_mult\": [1], \"attn_resolutions\": []}, \"precond\": {\"type\": \"edm\"}}";
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_train_options *o;
    begin_set(j);
    NEED(cm_train_options_create(NULL, &o) == CM_OK && cm_train_options_set(o, "batch", "4") == CM_OK);
    NEED(cm_model_create(NULL, config, 1, &j->model) == CM_OK);
    inputs.model = j->model;
    NEED(cm_trainer_create(&inputs, o, &j->trainer) == CM_OK);
    cm_train_options_free(o);
}

static cm_status train(job *j)
{
    cm_model *m;
    float x[SIZE] = {0}, y[SIZE], sigma = 1;
    const cm_status status = cm_trainer_run(j->trainer, j->dataset, 8, NULL, NULL);
    NEED(cm_trainer_model(j->trainer, CM_WEIGHTS_ONLINE, 0, &m) == CM_OK);
    NEED(cm_model_denoise(m, 1, x, &sigma, NULL, y) == CM_OK);
    j->digest = hash(y, sizeof y);
    cm_model_free(m);
    return status;
}

static void stop_trainer(job *j)
{
    cm_trainer_cancel(j->trainer);
}

static void begin_run(job *j)
{
    cm_run_options *o;
    NEED(cm_run_options_create(NULL, &o) == CM_OK);
    NEED(cm_run_options_set(o, "data", "tests/data/pictures") == CM_OK &&
         cm_run_options_set(o, "steps", "6") == CM_OK);
    NEED(cm_run_options_set(o, "batch", "2") == CM_OK && cm_run_options_set(o, "size", "16") == CM_OK);
    NEED(cm_run_options_set(o, "sample_every", "0") == CM_OK &&
         cm_run_options_set(o, "checkpoint_every", "2") == CM_OK);
    NEED(cm_run_create(o, in_dir("run"), &j->work) == CM_OK && cm_run_begin(j->work) == CM_OK);
    cm_run_options_free(o);
}

/* A run that is stopped goes on where it stood, to the weights of one that nobody stopped. */
static cm_status execute(job *j)
{
    cm_model *m;
    float x[16 * 16 * 3], y[16 * 16 * 3], sigma = 1;
    const cm_status status = cm_run_execute(j->work, 6, NULL, NULL);
    for (int i = 0; i < 16 * 16 * 3; i++) x[i] = (float)(i % 11) / 11;
    NEED(cm_trainer_model(cm_run_trainer(j->work), CM_WEIGHTS_ONLINE, 0, &m) == CM_OK);
    NEED(cm_model_denoise(m, 1, x, &sigma, NULL, y) == CM_OK);
    j->digest = hash(y, sizeof y);
    cm_model_free(m);
    return status;
}

static void stop_run(job *j)
{
    cm_run_stop(j->work);
}

static void end_run(job *j)
{
    char command[128];
    free_all(j);
    (void)snprintf(command, sizeof command, "rm -rf %s/run", dir);
    NEED(system(command) == 0);
}

static job jobs[] = {{.name = "sampling",
                      .piece = "network evaluation",
                      .pieces = 22,
                      .begin = begin_sampler,
                      .run = sample,
                      .stop = stop_sampler,
                      .end = free_all},
                     {.name = "editing",
                      .piece = "network evaluation",
                      .pieces = 40,
                      .begin = begin_edit,
                      .run = edit,
                      .stop = stop_sampler,
                      .end = free_all},
                     {.name = "denoising",
                      .piece = "network evaluation",
                      .begin = begin_model,
                      .run = denoise,
                      .stop = ask_to_stop,
                      .end = free_all},
                     {.name = "likelihood",
                      .piece = "network evaluation",
                      .begin = begin_model,
                      .run = likelihood,
                      .stop = ask_to_stop,
                      .end = free_all},
                     {.name = "loading",
                      .piece = "part of a file",
                      .begin = begin_nothing,
                      .run = load,
                      .stop = ask_to_stop,
                      .end = free_all},
                     {.name = "saving",
                      .piece = "part of a file",
                      .begin = begin_model,
                      .run = save,
                      .stop = ask_to_stop,
                      .end = free_all},
                     {.name = "reading a data set",
                      .piece = "picture",
                      .pieces = 64,
                      .begin = begin_set,
                      .run = read_set,
                      .stop = stop_set,
                      .end = free_all},
                     {.name = "training",
                      .piece = "step",
                      .pieces = 8,
                      .begin = begin_trainer,
                      .run = train,
                      .stop = stop_trainer,
                      .end = free_all},
                     {.name = "a run",
                      .piece = "step",
                      .pieces = 6,
                      .begin = begin_run,
                      .run = execute,
                      .stop = stop_run,
                      .end = end_run}};

static void *run_job(void *user)
{
    job *j = user;
    j->status = j->run(j);
    return NULL;
}

static int temporary_files(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        n += strstr(e->d_name, "tmp") != NULL || strstr(e->d_name, "saved") != NULL;
    if (d) closedir(d);
    return n;
}

/* Seconds of a call that nobody stops, which gives `digest`, and of a piece of it. */
static double whole_call(job *j, uint64_t *digest, double *piece)
{
    j->begin(j);
    atomic_store(&j->questions, 0);
    const double before = seconds();
    NEED(j->run(j) == CM_OK);
    const double took = seconds() - before;
    *digest = j->digest;
    j->end(j);
    const int pieces = j->pieces ? j->pieces : atomic_load(&j->questions);
    NEED(pieces > 1);
    *piece = took / pieces;
    return took;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A call answers after the piece at hand.  Where other processes take the processors a piece lasts twenty times as
 * long, or waits two seconds for its turn.  Many calls are shorter than that, so half of the answers have also to
 * come in two fifths of a whole call: one that went on to its end would take half of it. */
static void answers_are_soon(const job *j, double *waits, int n, double whole, double piece, int moments)
{
    const double most = 20 * piece > 2 ? 20 * piece : 2, usual = 0.4 * whole > 0.05 ? 0.4 * whole : 0.05;
    if (n) qsort(waits, (size_t)n, sizeof *waits, by_size);
    if (n && waits[n - 1] > most) {
        printf("handles_program: %s: an answer to a request to stop took %.3f s, expected at most %.3f s: a %s takes "
               "%.4f s\n",
               j->name, waits[n - 1], most, j->piece, piece);
        exit(1);
    }
    if (moments >= 20 && n && waits[n / 2] > usual) {
        printf(
            "handles_program: %s: half of %d answers to requests to stop took more than %.3f s, expected %.3f s: a "
            "whole call takes %.3f s\n",
            j->name, n, waits[n / 2], usual, whole);
        exit(1);
    }
}

static void cancel_job(job *j, int moments, int *stopped, double *slowest)
{
    uint64_t whole, again;
    double piece, piece_later, *waits = malloc((size_t)moments * sizeof *waits);
    int n = 0;
    double took = whole_call(j, &whole, &piece);
    NEED(waits);
    for (int k = 0; k < moments; k++) {
        pthread_t thread;
        j->begin(j);
        NEED(pthread_create(&thread, NULL, run_job, j) == 0);
        pause_for(random_below(1 + (int)(took * 1e6)));
        const double asked = seconds();
        j->stop(j);
        NEED(pthread_join(thread, NULL) == 0);
        const double waited = seconds() - asked;
        if (waited > *slowest) *slowest = waited;
        NEED(j->status == CM_OK || j->status == CM_ERR_CANCELLED);
        NEED(temporary_files() == 0);
        if (j->status == CM_ERR_CANCELLED) waits[n++] = waited;
        atomic_store(&j->asked, 0);
        if (j->status == CM_OK) NEED(j->digest == whole);
        NEED(j->run(j) == CM_OK); /* the handle goes on */
        NEED(j->digest == whole);
        j->end(j);
    }
    const double later = whole_call(j, &again, &piece_later); /* the machine may have become busier */
    NEED(again == whole);
    if (later > took) took = later, piece = piece_later;
    answers_are_soon(j, waits, n, took, piece, moments);
    *stopped += n;
    free(waits);
}

static void cancel(int moments)
{
    int stopped = 0;
    double slowest = 0;
    const int kinds = sizeof jobs / sizeof *jobs;
    NEED(mkdtemp(dir) != NULL);
    for (int i = 0; i < kinds; i++) {
        const int before = stopped;
        cancel_job(&jobs[i], moments, &stopped, &slowest);
        if (moments >= 20 && stopped == before) {
            printf("handles_program: %s was never stopped\n", jobs[i].name);
            exit(1);
        }
    }
    NEED(rmdir(dir) == 0);
    printf("cancel: %d kinds of calls at %d moments each, %d stopped, the slowest answer %.2f s, the same results "
           "afterwards\n",
           kinds, moments, stopped, slowest);
}

/* --- again and again --------------------------------------------------------------------------------- */

/* KiB.  The heap's free end is given back first: whether the allocator did that by itself after a cycle depends on
 * which thread's small block lies last, and is 13 MiB. */
static long resident(void)
{
    long pages = 0;
    (void)malloc_trim(0);
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
    if (f) (void)fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void cycle(void)
{
    job j = {.name = "cycle"};
    float image[SIZE];
    begin_edit(&j);
    NEED(cm_sampler_run(j.sampler, NULL, 1, image) == CM_OK);
    cm_sampler_free(j.sampler);
    cm_model_free(j.model);
    j.sampler = NULL;
    begin_trainer(&j);
    NEED(cm_trainer_run(j.trainer, j.dataset, 1, NULL, NULL) == CM_OK);
    free_all(&j);
}

/* Ten times as many calls on one sampler, of one to five images: KiB before the last nine tenths and after them. */
static void calls_of_one(int n, long told[2])
{
    static float got[5 * SIZE];
    job j = {.name = "calls"};
    begin_edit(&j);
    for (int i = 0; i < 10 * n; i++) {
        if (i == n) told[0] = resident();
        NEED(cm_sampler_run(j.sampler, NULL, (size_t)(i % 40 == 0 ? 1 + i / 40 % 5 : 1), got) == CM_OK);
    }
    told[1] = resident();
    free_all(&j);
}

static void cycles(int n)
{
    const int settled = n < 100 ? n / 2 : 50;
    long first = 0;
    for (int i = 0; i < n; i++) {
        if (i == settled) first = resident();
        cycle();
    }
    const long last = resident();
    NEED(last <= first + 256);
    long calls[2] = {0};
    calls_of_one(n, calls);
    NEED(calls[1] <= calls[0] + 256);
    printf("cycles: %d, %ld KiB resident after %d of them, %ld at the end; %d calls of one sampler, %ld KiB after a "
           "tenth of them, %ld at the "
           "end\n",
           n, first, settled, last, 10 * n, calls[0], calls[1]);
}

/* --- strange hosts ------------------------------------------------------------------------------------- */

static void *small_stack(void *user)
{
    (void)user;
    cycle();
    return NULL;
}

static void host(int n)
{
    const struct rlimit few = {16, 16};
    (void)n;
#pragma omp parallel for num_threads(4)
    for (int i = 0; i < 4; i++) cycle();
    pthread_t thread;
    pthread_attr_t attributes;
    NEED(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
    NEED(pthread_create(&thread, &attributes, small_stack, NULL) == 0 && pthread_join(thread, NULL) == 0);
    NEED(setrlimit(RLIMIT_NOFILE, &few) == 0);
    cycle();
    printf("host: within a parallel loop, with a stack of 256 KiB, with 16 descriptors\n");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(int);
        int number;
    } cases[] = {{"threads", threads, 8}, {"cancel", cancel, 2}, {"cycles", cycles, 20}, {"host", host, 0}};
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof *cases; i++)
        if (strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run(argc > 2 ? atoi(argv[2]) : cases[i].number);
            return 0;
        }
    printf("usage: handles_program threads|cancel|cycles|host [NUMBER]\n");
    return 2;
}
