/* pool.h - the worker threads of a context.
 *
 * Workers are made when a region can use more than are idle, never above what the
 * regions that run at one time ask for.  A thread that cannot be made is one thread
 * less.  A worker waits for its next region for some microseconds with open eyes and
 * then sleeps; it blocks all signals, and it ends with the pool. */
#ifndef CM_BASE_POOL_H
#define CM_BASE_POOL_H

#include <consistency/base.h>

#define CM_MAX_THREADS 256

typedef struct cm_pool cm_pool;

/* Memory from the hooks of the options; NULL when there is none. */
cm_pool *cmi_pool_create(const cm_context_options *options);
/* Ends the workers.  In a child of the process that made the pool there are none. */
void cmi_pool_free(cm_pool *pool);

/* One participant's part of a region; `id` 0 is the caller's. */
typedef void (*cm_pool_task)(void *region, int id);

/* Calls task(region, id) on the calling thread with id 0 and on up to helpers other
 * threads with id 1 .. helpers, and returns when all that began have returned.  A task
 * whose id is not called has to be superfluous once the caller's has returned. */
void cmi_pool_run(cm_pool *pool, int helpers, cm_pool_task task, void *region);

#endif
