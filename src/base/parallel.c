/* parallel.c - shares of pieces, taken from the front by their owner and from the
 * back by everybody else. */
#include "base/parallel.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/pool.h"

/* More threads than shares begin with a share that is another's too. */
enum { MOST_SHARES = 64 };

/* The pieces begin .. end - 1 that nobody has begun: begin | end << 32. */
typedef struct {
    _Alignas(64) atomic_ullong range;
} share;

typedef struct {
    share shares[MOST_SHARES];
    int n_shares;
    cm_piece_fn work;
    void *user;
    atomic_int failed; /* the smallest piece that has, INT_MAX when none */
    pthread_mutex_t lock;
    cm_status status; /* of that piece */
    char text[512];
} region;

static unsigned long long range_of(int begin, int end)
{
    return (unsigned long long)begin | (unsigned long long)end << 32;
}

/* The first piece of a share, or the last, -1 when all are begun. */
static int take(share *s, int last)
{
    unsigned long long was = atomic_load_explicit(&s->range, memory_order_relaxed);
    for (;;) {
        int begin = (int)(was & 0xffffffffu), end = (int)(was >> 32);
        if (begin >= end) return -1;
        unsigned long long now = last ? range_of(begin, end - 1) : range_of(begin + 1, end);
        if (atomic_compare_exchange_weak_explicit(&s->range, &was, now, memory_order_relaxed, memory_order_relaxed))
            return last ? end - 1 : begin;
    }
}

static void record(region *r, int piece, cm_status status)
{
    (void)pthread_mutex_lock(&r->lock);
    if (piece < atomic_load(&r->failed)) {
        (void)snprintf(r->text, sizeof r->text, "%s", cm_last_message());
        r->status = status;
        atomic_store(&r->failed, piece);
    }
    (void)pthread_mutex_unlock(&r->lock);
}

/* Works until every piece has been begun by somebody. */
static void participate(void *user, int id)
{
    region *r = user;
    for (int k = 0; k < r->n_shares; k++) {
        share *s = &r->shares[(id + k) % r->n_shares];
        for (;;) {
            if (atomic_load_explicit(&r->failed, memory_order_relaxed) != INT_MAX) return;
            int piece = take(s, k > 0);
            if (piece < 0) break;
            cm_status status = r->work(r->user, piece, id);
            if (status != CM_OK) record(r, piece, status);
        }
    }
}

static cm_status run_alone(int pieces, cm_piece_fn work, void *user)
{
    for (int piece = 0; piece < pieces; piece++) CM_TRY(work(user, piece, 0));
    return CM_OK;
}

static cm_status run(cm_threads threads, int shares, int pieces, cm_piece_fn work, void *user)
{
    region r;
    const int count = threads.count < pieces ? threads.count : pieces;
    if (count <= 1) return run_alone(pieces, work, user);
    r.n_shares = shares < count ? shares : count;
    for (int i = 0; i < r.n_shares; i++) {
        int begin = (int)((long long)pieces * i / r.n_shares), end = (int)((long long)pieces * (i + 1) / r.n_shares);
        atomic_init(&r.shares[i].range, range_of(begin, end));
    }
    r.work = work;
    r.user = user;
    r.status = CM_OK;
    atomic_init(&r.failed, INT_MAX);
    r.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    cmi_pool_run(cmi_context_pool(threads.context), count - 1, participate, &r);
    if (r.status != CM_OK) cmi_message_set(r.text);
    (void)pthread_mutex_destroy(&r.lock);
    return r.status;
}

cm_status cmi_parallel(cm_threads threads, int pieces, cm_piece_fn work, void *user)
{
    return run(threads, MOST_SHARES, pieces, work, user);
}

cm_status cmi_parallel_in_order(cm_threads threads, int pieces, cm_piece_fn work, void *user)
{
    return run(threads, 1, pieces, work, user);
}
