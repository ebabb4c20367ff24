/* parallel.c - fixed pieces on a variable number of threads. */
#include "base/parallel.h"

#include <omp.h>
#include <string.h>

int cm_parallel_cpus(void)
{
    int n = omp_get_num_procs();
    return n < 1 ? 1 : n > CM_MAX_THREADS ? CM_MAX_THREADS : n;
}

int cm_parallel_swap_threads(int threads)
{
    int before = omp_get_max_threads();
    if (before != threads) omp_set_num_threads(threads);
    return before;
}

static cm_status run_range(int first, int last, int worker, cm_piece_fn work, void *user)
{
    for (int piece = first; piece < last; piece++) CM_TRY(work(user, piece, worker));
    return CM_OK;
}

/* The first failure by piece or worker, told to the thread that waits. */
typedef struct {
    int rank;
    cm_status status;
    char text[512];
} failure;

static void record(failure *f, int rank, cm_status s)
{
    if (s == CM_OK || rank >= f->rank) return;
    size_t n = strlen(cm_last_message());
    if (n >= sizeof f->text) n = sizeof f->text - 1;
    memcpy(f->text, cm_last_message(), n);
    f->text[n] = '\0';
    f->rank = rank;
    f->status = s;
}

static cm_status report(const failure *f)
{
    if (f->status != CM_OK) cm_message_set(f->text);
    return f->status;
}

cm_status cm_parallel(int threads, int pieces, cm_piece_fn work, void *user)
{
    failure f = {CM_MAX_THREADS, CM_OK, ""};
    omp_lock_t lock; /* a named critical section would be a writable global */
    if (threads > pieces) threads = pieces;
    if (threads <= 1 || omp_in_parallel()) return run_range(0, pieces, 0, work, user);
    omp_init_lock(&lock);
#pragma omp parallel num_threads(threads)
    {
        /* The runtime may grant fewer threads than asked for. */
        int team = omp_get_num_threads(), worker = omp_get_thread_num();
        int first = (int)((long long)pieces * worker / team);
        int last = (int)((long long)pieces * (worker + 1) / team);
        cm_status s = run_range(first, last, worker, work, user);
        if (s != CM_OK) {
            omp_set_lock(&lock);
            record(&f, worker, s);
            omp_unset_lock(&lock);
        }
    }
    omp_destroy_lock(&lock);
    return report(&f);
}

cm_status cm_parallel_dealt(int threads, int pieces, cm_piece_fn work, void *user)
{
    failure f = {pieces, CM_OK, ""};
    omp_lock_t lock;
    if (threads > pieces) threads = pieces;
    if (threads <= 1 || omp_in_parallel()) return run_range(0, pieces, 0, work, user);
    omp_init_lock(&lock);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int piece = 0; piece < pieces; piece++) {
        omp_set_lock(&lock);
        int skip = f.rank < piece;
        omp_unset_lock(&lock);
        cm_status s = skip ? CM_OK : work(user, piece, omp_get_thread_num());
        if (s == CM_OK) continue;
        omp_set_lock(&lock);
        record(&f, piece, s);
        omp_unset_lock(&lock);
    }
    omp_destroy_lock(&lock);
    return report(&f);
}
