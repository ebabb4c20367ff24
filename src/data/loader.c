/* loader.c - one thread, two buffers; without the thread each batch is read when it is wanted. */
#include "data/loader.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/thread.h"

struct cm_loader {
    cm_context *context;
    cm_dataset *dataset;
    const cm_call *call;
    uint64_t position; /* of the batch read next */
    size_t batch, apart;
    int64_t left; /* batches that are still to be read */
    float *images[2];
    int32_t *labels[2];
    int filled; /* buffer 0 or 1 is ready, -1 none */
    int next;   /* the buffer to fill              */
    atomic_int stop;
    int started; /* there is a thread */
    cm_status status;
    char text[512];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
};

/* Picture by picture: whoever waits for an end does not wait for the whole batch. */
static cm_status read_batch(cm_loader *l, int to)
{
    const cm_dataset *d = l->dataset;
    const cm_view batch =
        cmi_view_planes(l->batch, (size_t)d->o.channels, (size_t)d->o.height, (size_t)d->o.width, l->images[to], 0);
    for (size_t i = 0; i < l->batch && !atomic_load(&l->stop); i++) {
        const cm_view image = cmi_view_part(&batch, i, 1);
        CM_TRY(cmi_call_check(l->call));
        CM_TRY(cmi_dataset_get(l->dataset, l->position + i, &image, l->labels[to] + i));
    }
    return CM_OK;
}

/* Fills the next buffer, without the lock while it reads. */
static void read_next(cm_loader *l)
{
    int to = l->next;
    (void)pthread_mutex_unlock(&l->lock);
    cm_status status = read_batch(l, to);
    (void)pthread_mutex_lock(&l->lock);
    l->status = status;
    if (status != CM_OK) (void)snprintf(l->text, sizeof l->text, "%s", cm_last_message());
    l->position += l->apart;
    l->left--;
    l->filled = to;
    l->next = 1 - to;
    (void)pthread_cond_broadcast(&l->changed);
}

static void *read_ahead(void *argument)
{
    cm_loader *l = argument;
    (void)pthread_mutex_lock(&l->lock);
    while (!atomic_load(&l->stop) && l->status == CM_OK && l->left > 0) {
        if (l->filled < 0) read_next(l);
        else (void)pthread_cond_wait(&l->changed, &l->lock);
    }
    (void)pthread_mutex_unlock(&l->lock);
    return NULL;
}

static cm_status start(cm_loader *l)
{
    size_t size = (size_t)l->dataset->o.channels * (size_t)l->dataset->o.height * (size_t)l->dataset->o.width, values;
    if (!cmi_mul_size(size, l->batch, &values)) CM_FAIL(CM_ERR_LIMIT, "a batch of %zu images is too large", l->batch);
    for (int i = 0; i < 2; i++) {
        l->images[i] = cmi_calloc(l->context, values, sizeof *l->images[i]);
        l->labels[i] = cmi_calloc(l->context, l->batch, sizeof *l->labels[i]);
        if (!l->images[i] || !l->labels[i]) return CM_ERR_MEMORY;
    }
    l->started = cmi_thread_start(&l->thread, read_ahead, l);
    if (!l->started)
        cmi_log(l->context, CM_LOG_WARNING, "the system gives no thread that reads ahead: steps wait for data");
    return CM_OK;
}

cm_status cmi_loader_create(cm_dataset *dataset, uint64_t position, size_t batch, size_t apart, int64_t count,
                            const cm_call *call, cm_loader **out)
{
    *out = NULL;
    cm_loader *l = cmi_calloc(dataset->context, 1, sizeof *l);
    if (!l) return CM_ERR_MEMORY;
    l->context = dataset->context;
    l->dataset = dataset;
    l->call = call;
    l->position = position;
    l->batch = batch;
    l->apart = apart;
    l->left = count;
    l->filled = -1;
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_cond_init(&l->changed, NULL);
    cm_status status = start(l);
    if (status != CM_OK) cmi_loader_free(l);
    else *out = l;
    return status;
}

void cmi_loader_free(cm_loader *l)
{
    if (!l) return;
    if (l->started) {
        (void)pthread_mutex_lock(&l->lock);
        atomic_store(&l->stop, 1);
        (void)pthread_cond_broadcast(&l->changed);
        (void)pthread_mutex_unlock(&l->lock);
        (void)pthread_join(l->thread, NULL);
    }
    for (int i = 0; i < 2; i++) {
        cmi_free(l->context, l->images[i]);
        cmi_free(l->context, l->labels[i]);
    }
    (void)pthread_mutex_destroy(&l->lock);
    (void)pthread_cond_destroy(&l->changed);
    cmi_free(l->context, l);
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

cm_status cmi_loader_next(cm_loader *l, const float **images, const int32_t **labels, double *waited)
{
    double began = seconds();
    (void)pthread_mutex_lock(&l->lock);
    if (!l->started) read_next(l);
    while (l->filled < 0 && l->status == CM_OK) (void)pthread_cond_wait(&l->changed, &l->lock);
    int from = l->filled;
    l->filled = -1;
    cm_status status = l->status;
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
    *waited = seconds() - began;
    if (status != CM_OK) {
        cmi_message_set(l->text);
        return status;
    }
    *images = l->images[from];
    *labels = l->labels[from];
    return CM_OK;
}
