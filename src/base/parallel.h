/* parallel.h - pieces of work on the threads of a context.
 *
 * Work is cut into pieces whose number and borders never depend on the number
 * of threads, so results do not either.  Who does a piece is decided while the
 * work runs: a thread begins with a share of its own and then takes what others
 * have not begun.  So the caller never waits for a thread that the system does
 * not run, only for one that is in the middle of a piece. */
#ifndef CM_BASE_PARALLEL_H
#define CM_BASE_PARALLEL_H

#include "base/context.h"

/* On how many threads a call may work, the calling one included; a plain value. */
typedef struct cm_threads {
    cm_context *context; /* whose pool helps; may be NULL when count is 1 */
    int count;
} cm_threads;

static inline cm_threads cmi_one_thread(void)
{
    return (cm_threads){NULL, 1};
}

/* Does piece number `piece`.  Of the pieces that run at one time each has another
 * `worker`, 0 <= worker < min(count, pieces): a place in the caller's scratch memory. */
typedef cm_status (*cm_piece_fn)(void *user, int piece, int worker);

/* Runs work(user, piece, worker) for piece = 0 .. pieces-1 and returns when all are
 * done.  After a failure no further piece is begun; the failure of the smallest piece
 * comes back with its message. */
cm_status cmi_parallel(cm_threads threads, int pieces, cm_piece_fn work, void *user);

/* The same with pieces begun in the order of their numbers: the smallest piece that is
 * not yet done is always running (turns.h). */
cm_status cmi_parallel_in_order(cm_threads threads, int pieces, cm_piece_fn work, void *user);

#endif
