/* ranks.c - see the header. */
#include "support/ranks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUM = 1, BROADCAST, GATHER };

static void finish(const ranks *r, operation *o)
{
    const int32_t size = r->size;
    if (o->kind == SUM) {
        for (int32_t gap = 1; gap < size; gap *= 2)
            for (int32_t k = 0; k + gap < size; k += 2 * gap) {
                float *to = o->data[k];
                const float *from = o->data[k + gap];
                for (size_t i = 0; i < o->n; i++) to[i] += from[i];
            }
        for (int32_t k = 1; k < size; k++) memcpy(o->data[k], o->data[0], o->n * sizeof(float));
    } else if (o->kind == BROADCAST) {
        for (int32_t k = 1; k < size; k++) memcpy(o->data[k], o->data[0], o->n);
    } else {
        for (int32_t k = 0; k < size; k++)
            for (int32_t j = 0; j < size; j++) memcpy((char *)o->out[k] + (size_t)j * o->n, o->data[j], o->n);
    }
    o->done = 1;
}

static cm_status fail(member *m, cm_status status, const char *text)
{
    snprintf(m->message, sizeof m->message, "%s", text);
    return status;
}

/* With the lock: the operation of this rank's next number. */
static cm_status begin(member *m, int kind, void *data, void *out, size_t n, const char *what, uint64_t *number)
{
    ranks *r = m->all;
    *number = m->begun++;
    operation *o = &r->operations[*number % MOST_OPERATIONS];
    if (o->arrived == 0) {
        memset(o, 0, sizeof *o);
        o->kind = kind, o->n = n;
        snprintf(o->what, sizeof o->what, "%s", what);
    }
    if (o->kind != kind || o->n != n || strcmp(o->what, what) != 0)
        return fail(m, CM_ERR_INTERNAL, "the ranks begin different operations");
    if (o->broken) return CM_OK; /* `missing` has the words */
    o->data[m->rank] = data, o->out[m->rank] = out;
    if (++o->arrived == r->size) {
        finish(r, o);
        pthread_cond_broadcast(&r->changed);
    }
    return CM_OK;
}

static int32_t who_is_gone(const ranks *r, uint64_t number)
{
    for (int32_t k = 0; k < r->size; k++)
        if (r->gone_at[k] <= number) return k;
    return -1;
}

static cm_status missing(member *m, uint64_t number, int timed_out)
{
    const ranks *r = m->all;
    const operation *o = &r->operations[number % MOST_OPERATIONS];
    const int32_t gone = who_is_gone(r, number);
    if (gone >= 0) {
        snprintf(m->message, sizeof m->message, "rank %d: %.500s", gone, r->gone_with[gone]);
        return r->gone_as[gone] == CM_ERR_CANCELLED ? CM_ERR_CANCELLED : CM_ERR_PEER;
    }
    if (o->broken) return fail(m, CM_ERR_PEER, "another rank has stopped waiting");
    if (!timed_out) return CM_OK;
    size_t n = (size_t)snprintf(m->message, sizeof m->message,
                                "%s: after %g seconds these ranks are missing:", o->what, r->seconds);
    for (int32_t k = 0; k < r->size; k++)
        if (!o->data[k]) n += (size_t)snprintf(m->message + n, sizeof m->message - n, " %d", k);
    return CM_ERR_PEER;
}

static cm_status await(member *m, uint64_t number)
{
    ranks *r = m->all;
    operation *o = &r->operations[number % MOST_OPERATIONS];
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)r->seconds, until.tv_nsec += (long)((r->seconds - (double)(time_t)r->seconds) * 1e9);
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    int late = 0;
    while (!o->done) {
        cm_status status = missing(m, number, late == ETIMEDOUT);
        o->broken |= status != CM_OK;
        if (status != CM_OK) return status;
        late = pthread_cond_timedwait(&r->changed, &r->lock, &until);
    }
    if (++o->arrived == 2 * r->size) o->arrived = 0; /* all have seen it */
    return CM_OK;
}

static cm_status sum(void *user, float *values, size_t n, const char *what, uint64_t *request)
{
    member *m = user;
    pthread_mutex_lock(&m->all->lock);
    cm_status status = begin(m, SUM, values, NULL, n, what, request);
    pthread_mutex_unlock(&m->all->lock);
    return status;
}

static cm_status wait_for(void *user, uint64_t request)
{
    member *m = user;
    pthread_mutex_lock(&m->all->lock);
    cm_status status = await(m, request);
    pthread_mutex_unlock(&m->all->lock);
    return status;
}

static cm_status at_once(member *m, int kind, void *data, void *out, size_t n, const char *what)
{
    uint64_t number;
    pthread_mutex_lock(&m->all->lock);
    cm_status status = begin(m, kind, data, out, n, what, &number);
    if (status == CM_OK) status = await(m, number);
    pthread_mutex_unlock(&m->all->lock);
    return status;
}

static cm_status broadcast(void *user, void *bytes, size_t n, const char *what)
{
    return at_once(user, BROADCAST, bytes, NULL, n, what);
}

static cm_status gather(void *user, const void *mine, size_t n, void *all, const char *what)
{
    return at_once(user, GATHER, (void *)(uintptr_t)mine, all, n, what);
}

static void give_up(void *user, cm_status status, const char *message)
{
    member *m = user;
    ranks *r = m->all;
    pthread_mutex_lock(&r->lock);
    if (r->gone_at[m->rank] == UINT64_MAX) {
        r->gone_at[m->rank] = m->begun;
        r->gone_as[m->rank] = status;
        snprintf(r->gone_with[m->rank], RANK_TEXT, "%s", message);
    }
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static const char *message(void *user)
{
    const member *m = user;
    return m->message;
}

void ranks_open(ranks *r, int32_t size, double seconds)
{
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->size = size;
    r->seconds = seconds;
    for (int32_t k = 0; k < size; k++) {
        member *m = &r->members[k];
        m->all = r, m->rank = k;
        r->gone_at[k] = UINT64_MAX;
        m->group = (cm_group){sizeof(cm_group), k,         size,   0,       m,      "threads", sum,
                              wait_for,         broadcast, gather, give_up, message};
    }
}

void ranks_close(ranks *r)
{
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
}

typedef struct {
    rank_work work;
    void *user;
    const cm_group *group;
} errand;

static void *run(void *user)
{
    const errand *e = user;
    e->work(e->user, e->group);
    return NULL;
}

void ranks_run(ranks *r, rank_work work, void *user)
{
    pthread_t threads[MOST_RANKS];
    errand errands[MOST_RANKS];
    for (int32_t k = 0; k < r->size; k++) {
        errands[k] = (errand){work, user, &r->members[k].group};
        if (pthread_create(&threads[k], NULL, run, &errands[k]) != 0) abort();
    }
    for (int32_t k = 0; k < r->size; k++) pthread_join(threads[k], NULL);
}
