/* pool.c - workers, how they are offered a region, and how they wait.
 *
 * A worker's state goes IDLE -> OFFERED (by the caller) -> RUNNING (by the worker) ->
 * IDLE.  An offer that the worker has not taken up when the caller runs out of work is
 * withdrawn, OFFERED -> IDLE, so a worker that the system does not run holds nobody up. */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"

/* Nanoseconds: how long a thread waits with open eyes, about what it costs to wake one that
 * sleeps; and how long none is asked for after the system has refused one. */
enum { SPIN = 60000, REFUSED_PAUSE = 1000000000 };
enum { IDLE, OFFERED, RUNNING };

typedef struct {
    _Alignas(64) atomic_int state;
    atomic_int quit, sleeping, awaited; /* sleeping: and nobody has woken it yet; awaited: its caller sleeps */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    cm_pool_task task; /* of the offer */
    void *region;
    int id;
    int taken; /* by a caller; under the pool's lock */
} worker;

struct cm_pool {
    cm_context_options options;
    pid_t process;
    pthread_mutex_t lock;
    int n;
    int64_t refused; /* when the system refused a thread, 0 = never */
    worker *workers[CM_MAX_THREADS];
};

static int64_t now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void breathe(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Waits for SPIN nanoseconds for the state to become another; whether it has. */
static int spin_while(const atomic_int *state, int is)
{
    const int64_t end = now() + SPIN;
    do {
        for (int i = 0; i < 16; i++) {
            if (atomic_load_explicit(state, memory_order_acquire) != is) return 1;
            breathe();
        }
    } while (now() < end);
    return 0;
}

/* --- the worker's side --------------------------------------------------- */

static void wait_for_offer(worker *w)
{
    if (spin_while(&w->state, IDLE)) return;
    (void)pthread_mutex_lock(&w->lock);
    atomic_store(&w->sleeping, 1);
    if (atomic_load(&w->state) == IDLE && !atomic_load(&w->quit)) (void)pthread_cond_wait(&w->wake, &w->lock);
    atomic_store(&w->sleeping, 0);
    (void)pthread_mutex_unlock(&w->lock);
}

static void wake_caller(worker *w)
{
    (void)pthread_mutex_lock(&w->lock);
    (void)pthread_cond_signal(&w->done);
    (void)pthread_mutex_unlock(&w->lock);
}

static void *work(void *user)
{
    worker *w = user;
    while (!atomic_load(&w->quit)) {
        int offered = OFFERED;
        if (!atomic_compare_exchange_strong(&w->state, &offered, RUNNING)) {
            wait_for_offer(w);
            continue;
        }
        w->task(w->region, w->id);
        atomic_store(&w->state, IDLE);
        if (atomic_load(&w->awaited)) wake_caller(w);
    }
    return NULL;
}

/* --- the caller's side --------------------------------------------------- */

static void wake_worker(worker *w)
{
    (void)pthread_mutex_lock(&w->lock);
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
}

static void offer(worker *w, cm_pool_task task, void *region, int id)
{
    w->task = task;
    w->region = region;
    w->id = id;
    atomic_store(&w->state, OFFERED);
    if (atomic_exchange(&w->sleeping, 0)) wake_worker(w);
}

/* Takes the offer back; whether the worker had not begun. */
static int withdraw(worker *w)
{
    int offered = OFFERED;
    return atomic_compare_exchange_strong(&w->state, &offered, IDLE);
}

static void wait_until_done(worker *w)
{
    if (spin_while(&w->state, RUNNING)) return;
    atomic_store(&w->awaited, 1);
    (void)pthread_mutex_lock(&w->lock);
    while (atomic_load(&w->state) == RUNNING) (void)pthread_cond_wait(&w->done, &w->lock);
    (void)pthread_mutex_unlock(&w->lock);
    atomic_store(&w->awaited, 0);
}

/* --- the pool ------------------------------------------------------------ */

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

cm_pool *cmi_pool_create(const cm_context_options *options)
{
    cm_pool *pool = options->alloc(options->memory_user, whole_lines(sizeof *pool), 64);
    if (!pool) return NULL;
    memset(pool, 0, sizeof *pool);
    pool->options = *options;
    pool->process = getpid();
    pool->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    return pool;
}

static void end_worker(worker *w)
{
    (void)pthread_mutex_lock(&w->lock);
    atomic_store(&w->quit, 1);
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_cond_destroy(&w->done);
    (void)pthread_mutex_destroy(&w->lock);
}

void cmi_pool_free(cm_pool *pool)
{
    if (!pool) return;
    void (*free_memory)(void *, void *) = pool->options.free;
    void *user = pool->options.memory_user;
    for (int i = 0; i < pool->n; i++) {
        if (pool->process == getpid()) end_worker(pool->workers[i]);
        free_memory(user, pool->workers[i]);
    }
    free_memory(user, pool);
}

static worker *make_worker(cm_pool *pool)
{
    const cm_context_options *o = &pool->options;
    worker *w = o->alloc(o->memory_user, whole_lines(sizeof *w), 64);
    if (!w) return NULL;
    memset(w, 0, sizeof *w);
    w->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    w->wake = w->done = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    if (cmi_thread_start(&w->thread, work, w)) return w;
    o->free(o->memory_user, w);
    return NULL;
}

/* One worker more, NULL where the system has none to give; *news: for the first time. */
static worker *grow(cm_pool *pool, int *news)
{
    if (pool->n == CM_MAX_THREADS || (pool->refused && now() < pool->refused + REFUSED_PAUSE)) return NULL;
    worker *w = make_worker(pool);
    if (w) return pool->workers[pool->n++] = w;
    *news = !pool->refused;
    pool->refused = now();
    return NULL;
}

/* The first idle workers, so that the same thread gets the same share again.  The host's
 * log is called without the lock: it may take its time, or call the library. */
static int take_workers(cm_pool *pool, int wanted, worker **taken)
{
    int n = 0, news = 0;
    (void)pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < pool->n && n < wanted; i++)
        if (!pool->workers[i]->taken) taken[n++] = pool->workers[i];
    while (n < wanted && (taken[n] = grow(pool, &news))) n++;
    for (int i = 0; i < n; i++) taken[i]->taken = 1;
    (void)pthread_mutex_unlock(&pool->lock);
    if (news && pool->options.log)
        pool->options.log(pool->options.log_user, CM_LOG_WARNING,
                          "the system gives no further thread: the work is done by those there are");
    return n;
}

static void give_back(cm_pool *pool, worker **taken, int n)
{
    (void)pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < n; i++) taken[i]->taken = 0;
    (void)pthread_mutex_unlock(&pool->lock);
}

/* What the host's own threads are given. */
typedef struct {
    cm_pool_task task;
    void *region;
} hosted;

static void run_hosted(void *user, int32_t index)
{
    const hosted *h = user;
    h->task(h->region, index);
}

void cmi_pool_run(cm_pool *pool, int helpers, cm_pool_task task, void *region)
{
    worker *taken[CM_MAX_THREADS];
    if (helpers > CM_MAX_THREADS - 1) helpers = CM_MAX_THREADS - 1;
    if (pool->options.parallel_for) {
        hosted h = {task, region};
        pool->options.parallel_for(pool->options.parallel_user, helpers + 1, run_hosted, &h);
        task(region, 0); /* what the host may have left */
        return;
    }
    int n = take_workers(pool, helpers, taken), begun = 0;
    for (int i = 0; i < n; i++) offer(taken[i], task, region, i + 1);
    task(region, 0);
    for (int i = 0; i < n; i++)
        if (withdraw(taken[i])) give_back(pool, &taken[i], 1);
        else taken[begun++] = taken[i];
    for (int i = 0; i < begun; i++) wait_until_done(taken[i]);
    if (begun) give_back(pool, taken, begun);
}
