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

cm_status cm_parallel(int threads, int pieces, cm_piece_fn work, void *user)
{
    cm_status status = CM_OK;
    int failed = CM_MAX_THREADS;
    char text[512] = "";
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
            if (worker < failed) {
                size_t n = strlen(cm_last_message());
                if (n >= sizeof text) n = sizeof text - 1;
                memcpy(text, cm_last_message(), n);
                text[n] = '\0';
                failed = worker;
                status = s;
            }
            omp_unset_lock(&lock);
        }
    }
    omp_destroy_lock(&lock);
    if (status != CM_OK) cm_message_set(text);
    return status;
}
