/* parallel.h - our loops on the OpenMP pool that oneDNN uses too.
 *
 * Work is cut into pieces whose number and borders never depend on the number
 * of threads, so results do not either. */
#ifndef CM_BASE_PARALLEL_H
#define CM_BASE_PARALLEL_H

#include "base/status.h"

#define CM_MAX_THREADS 256

/* CPUs in the affinity mask of the process. */
int cm_parallel_cpus(void);

/* Runs work(user, piece, worker) for piece = 0..pieces-1, worker <
 * min(threads, pieces), every worker a fixed contiguous range.  The status of
 * the first failing worker comes back with its message. */
typedef cm_status (*cm_piece_fn)(void *user, int piece, int worker);
cm_status cm_parallel(int threads, int pieces, cm_piece_fn work, void *user);

/* The same dealt out in turn: worker w does pieces w, w + threads, ... in that order,
 * so the smallest piece not yet done is always running (turns.h).  After a failure only
 * pieces before it are begun. */
cm_status cm_parallel_dealt(int threads, int pieces, cm_piece_fn work, void *user);

/* Sets the calling thread's OpenMP thread count; returns the one before, to be
 * given back.  oneDNN reads it when a primitive is created. */
int cm_parallel_swap_threads(int threads);

#endif
