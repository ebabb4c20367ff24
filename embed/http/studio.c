/* studio.c - see the header. */
#include "studio.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

typedef struct job {
    uint64_t id, order; /* id 0: the place is free */
    job_request request;
    job_state state;
    uint8_t *given, *pictures, *page;
    size_t page_size;
} job;

struct studio {
    cm_model *model;
    cm_sampler *sampler;
    cm_model_info info;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    int ending;
    uint64_t asked;
    job *running;
    job jobs[MOST_KEPT];
    atomic_int stop; /* the job that runs shall end */
};

static size_t values(const studio *s)
{
    return (size_t)s->info.height * (size_t)s->info.width * (size_t)s->info.channels;
}

/* --- what the thread does -------------------------------------------------------------------- */

static int32_t report(void *user, uint64_t done, uint64_t total)
{
    studio *s = user;
    (void)pthread_mutex_lock(&s->lock);
    s->running->state.done = done;
    s->running->state.total = total;
    (void)pthread_mutex_unlock(&s->lock);
    return atomic_load(&s->stop);
}

/* One level is the model's highest.  More of them fall from it by equal factors to 0.8, below which another
 * evaluation changes digits little. */
static void fill_levels(double highest, int32_t steps, double *sigmas)
{
    for (int32_t i = 0; i < steps; i++) sigmas[i] = i ? highest * pow(0.8 / highest, i / (steps - 1.0)) : highest;
}

static cm_status run(studio *s, const job *j)
{
    const cm_model_info *m = &s->info;
    const cm_images out = cm_images_u8(j->request.count, m->height, m->width, m->channels, j->pictures);
    cm_sample_options options = CM_SAMPLE_OPTIONS_INIT;
    cm_condition condition = CM_CONDITION_INIT;
    double sigmas[MOST_STEPS];
    int32_t labels[MOST_PICTURES];
    for (size_t i = 0; i < j->request.count; i++) labels[i] = j->request.label;
    condition.labels = labels;
    if (j->request.label >= 0) options.condition = &condition;
    options.seed = j->request.seed;
    options.progress = report;
    options.progress_user = s;
    if (j->given) {
        const cm_images given = cm_images_u8(1, m->height, m->width, m->channels, j->given);
        const cm_images mask = cm_images_u8(1, m->height, m->width, 1, j->given + values(s));
        cm_edit_options edit = CM_EDIT_OPTIONS_INIT;
        options.steps = j->request.steps;
        edit.variations = (int32_t)j->request.count;
        edit.sampling = &options;
        return cm_sampler_inpaint(s->sampler, &edit, &given, &mask, &out);
    }
    fill_levels(m->sigma_max, j->request.steps, sigmas);
    options.method = j->request.steps == 1 ? CM_METHOD_ONESTEP : CM_METHOD_MULTISTEP;
    options.sigmas = sigmas;
    options.sigma_count = (size_t)j->request.steps;
    return cm_sampler_run_images(s->sampler, &options, &out);
}

/* A page of all pictures as a PNG, at j->page; it ends with cm_bytes_free. */
static cm_status make_page(const studio *s, job *j)
{
    const cm_model_info *m = &s->info;
    const cm_images pictures = cm_images_u8(j->request.count, m->height, m->width, m->channels, j->pictures);
    int32_t height, width, columns = j->request.count < 8 ? (int32_t)j->request.count : 8;
    cm_status status = cm_image_grid_size(&pictures, columns, 2, &height, &width);
    if (status != CM_OK) return status;
    uint8_t *bytes = malloc((size_t)height * (size_t)width * (size_t)m->channels);
    if (!bytes) return CM_ERR_MEMORY;
    const cm_images page = cm_images_u8(1, height, width, m->channels, bytes);
    status = cm_image_grid(&pictures, columns, 2, 255, &page);
    if (status == CM_OK) status = cm_image_encode(NULL, &page, NULL, &j->page, &j->page_size);
    free(bytes);
    return status;
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static job *next_waiting(studio *s)
{
    job *first = NULL;
    for (job *j = s->jobs; j < s->jobs + MOST_KEPT; j++)
        if (j->id && j->state.phase == JOB_WAITING && (!first || j->order < first->order)) first = j;
    return first;
}

static void *work(void *user)
{
    studio *s = user;
    (void)pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->ending && !(s->running = next_waiting(s))) (void)pthread_cond_wait(&s->changed, &s->lock);
        if (s->ending) break;
        job *j = s->running;
        j->state.phase = JOB_RUNNING;
        atomic_store(&s->stop, 0);
        (void)pthread_mutex_unlock(&s->lock);
        const double begun = now();
        cm_status status = run(s, j);
        if (status == CM_OK) status = make_page(s, j);
        (void)pthread_mutex_lock(&s->lock);
        j->state.phase = status == CM_OK ? JOB_DONE : status == CM_ERR_CANCELLED ? JOB_CANCELLED : JOB_FAILED;
        j->state.seconds = now() - begun;
        if (j->state.phase == JOB_FAILED)
            (void)snprintf(j->state.message, sizeof j->state.message, "%s", cm_last_message());
        s->running = NULL;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* --- what others do ---------------------------------------------------------------------------- */

static void forget(job *j)
{
    free(j->given);
    free(j->pictures);
    cm_bytes_free(NULL, j->page);
    memset(j, 0, sizeof *j);
}

/* Numbers that nobody guesses, since whoever knows one may look at the job and cancel it. */
static uint64_t fresh_id(void)
{
    uint64_t id = 0;
    return getrandom(&id, sizeof id, 0) == (ssize_t)sizeof id ? id : 0;
}

/* A free place, or that of the job that was asked for first among those which have ended. */
static job *find_place(studio *s)
{
    job *oldest = NULL;
    int waiting = 0;
    for (job *j = s->jobs; j < s->jobs + MOST_KEPT; j++) waiting += j->id && j->state.phase == JOB_WAITING;
    if (waiting >= MOST_WAITING) return NULL;
    for (job *j = s->jobs; j < s->jobs + MOST_KEPT; j++) {
        if (!j->id) return j;
        if (j->state.phase > JOB_RUNNING && (!oldest || j->order < oldest->order)) oldest = j;
    }
    return oldest;
}

static int fill_place(studio *s, job *j, const job_request *request)
{
    const size_t given = values(s) + (size_t)s->info.height * (size_t)s->info.width;
    forget(j);
    j->request = *request;
    j->request.given = NULL;
    j->pictures = calloc(request->count, values(s));
    if (request->given && (j->given = malloc(given))) memcpy(j->given, request->given, given);
    j->state.count = request->count;
    j->state.phase = JOB_WAITING;
    j->order = ++s->asked;
    j->id = j->pictures && (j->given || !request->given) ? fresh_id() : 0;
    if (j->id) return 1;
    forget(j);
    return 0;
}

uint64_t studio_ask(studio *s, const job_request *request)
{
    uint64_t id = 0;
    (void)pthread_mutex_lock(&s->lock);
    job *j = find_place(s);
    if (j && fill_place(s, j, request)) id = j->id;
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_cond_signal(&s->changed);
    return id;
}

/* Under the lock. */
static job *find(studio *s, uint64_t id)
{
    for (job *j = s->jobs; id && j < s->jobs + MOST_KEPT; j++)
        if (j->id == id) return j;
    return NULL;
}

job_state studio_look(studio *s, uint64_t id)
{
    job_state state = {.phase = JOB_UNKNOWN};
    (void)pthread_mutex_lock(&s->lock);
    const job *j = find(s, id);
    if (j) state = j->state;
    (void)pthread_mutex_unlock(&s->lock);
    return state;
}

static uint8_t *copy_of(studio *s, uint64_t id, int page, size_t *size)
{
    uint8_t *copy = NULL;
    (void)pthread_mutex_lock(&s->lock);
    const job *j = find(s, id);
    if (j && j->state.phase == JOB_DONE) {
        *size = page ? j->page_size : j->request.count * values(s);
        copy = malloc(*size);
        if (copy) memcpy(copy, page ? j->page : j->pictures, *size);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return copy;
}

uint8_t *studio_pictures(studio *s, uint64_t id, size_t *size)
{
    return copy_of(s, id, 0, size);
}

uint8_t *studio_page(studio *s, uint64_t id, size_t *size)
{
    return copy_of(s, id, 1, size);
}

/* A request to the sampler is forgotten where no call runs yet, so the callback looks at `stop` too. */
int studio_cancel(studio *s, uint64_t id)
{
    (void)pthread_mutex_lock(&s->lock);
    job *j = find(s, id);
    if (j && j->state.phase == JOB_WAITING) j->state.phase = JOB_CANCELLED;
    if (j && j->state.phase == JOB_RUNNING) {
        atomic_store(&s->stop, 1);
        cm_sampler_cancel(s->sampler);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return j != NULL;
}

const cm_model_info *studio_info(const studio *s)
{
    return &s->info;
}

studio *studio_open(const char *model)
{
    studio *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    cm_model_info_init(&s->info, sizeof s->info);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    cm_status status = cm_model_load(NULL, model, NULL, &s->model);
    if (status == CM_OK) status = cm_model_info_get(s->model, &s->info);
    if (status == CM_OK) status = cm_sampler_create(s->model, NULL, &s->sampler);
    if (status == CM_OK && pthread_create(&s->thread, NULL, work, s) == 0) return s;
    cm_sampler_free(s->sampler);
    cm_model_free(s->model);
    free(s);
    return NULL;
}

void studio_close(studio *s)
{
    if (!s) return;
    (void)pthread_mutex_lock(&s->lock);
    s->ending = 1;
    atomic_store(&s->stop, 1);
    cm_sampler_cancel(s->sampler);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_cond_signal(&s->changed);
    (void)pthread_join(s->thread, NULL);
    for (job *j = s->jobs; j < s->jobs + MOST_KEPT; j++) forget(j);
    cm_sampler_free(s->sampler);
    cm_model_free(s->model);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}
