/* turns.c - one lock for all counts, which advance thousands of times a second at most. */
#include "base/turns.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

struct cm_turns {
    cm_context *context;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    size_t counts;
    int *next;  /* of each count: the piece that may pass */
    int failed; /* the smallest piece that has */
};

cm_status cmi_turns_create(cm_context *context, size_t counts, cm_turns **out)
{
    *out = NULL;
    cm_turns *t = cmi_calloc(context, 1, sizeof *t);
    if (!t) return CM_ERR_MEMORY;
    t->context = context;
    t->counts = counts;
    t->next = cmi_calloc(context, counts, sizeof *t->next);
    int locked = t->next && pthread_mutex_init(&t->lock, NULL) == 0;
    if (!locked || pthread_cond_init(&t->moved, NULL) != 0) {
        if (locked) (void)pthread_mutex_destroy(&t->lock);
        cmi_free(context, t->next);
        cmi_free(context, t);
        return CM_ERR_MEMORY;
    }
    *out = t;
    return CM_OK;
}

void cmi_turns_free(cm_turns *t)
{
    if (!t) return;
    (void)pthread_cond_destroy(&t->moved);
    (void)pthread_mutex_destroy(&t->lock);
    cmi_free(t->context, t->next);
    cmi_free(t->context, t);
}

void cmi_turns_begin(cm_turns *t)
{
    memset(t->next, 0, t->counts * sizeof *t->next);
    t->failed = INT_MAX;
}

cm_status cmi_turns_await(cm_turns *t, size_t count, int piece)
{
    (void)pthread_mutex_lock(&t->lock);
    while (t->next[count] != piece && t->failed > piece) (void)pthread_cond_wait(&t->moved, &t->lock);
    int failed = t->failed <= piece;
    (void)pthread_mutex_unlock(&t->lock);
    if (failed) CM_FAIL(CM_ERR_CANCELLED, "another part of the batch failed");
    return CM_OK;
}

void cmi_turns_advance(cm_turns *t, size_t count)
{
    (void)pthread_mutex_lock(&t->lock);
    t->next[count]++;
    (void)pthread_cond_broadcast(&t->moved);
    (void)pthread_mutex_unlock(&t->lock);
}

void cmi_turns_fail(cm_turns *t, int piece)
{
    (void)pthread_mutex_lock(&t->lock);
    if (piece < t->failed) t->failed = piece;
    (void)pthread_cond_broadcast(&t->moved);
    (void)pthread_mutex_unlock(&t->lock);
}
