/* call.h - the call that is at work on a handle: one at a time, and it can be asked
 * to stop.
 *
 * A request marks the call that is running, from its begin to its end, and that call
 * alone: without one it is forgotten.  All of it is one lock-free word, so a request
 * may come from any thread and from a signal handler.
 *
 * From a callback the thread that made the call may make others that only look at the
 * handle (snapshots): cmi_call_pause and cmi_call_resume stand around the callback,
 * cmi_call_begin_inside takes the place of cmi_call_begin. */
#ifndef CM_BASE_CALL_H
#define CM_BASE_CALL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/status.h"

typedef struct cm_call {
    atomic_int state;
    _Atomic(pthread_t) thread; /* that made the call; means something in a pause */
} cm_call;

void cmi_call_init(cm_call *call);
/* STATE when a call is at work; `handle` ("sampler") is for the message. */
cm_status cmi_call_begin(cm_call *call, const char *handle);
/* The same; in a pause the running call's own thread may come in. */
cm_status cmi_call_begin_inside(cm_call *call, const char *handle);
/* Ends what was begun.  1 when the call that ended had been asked to stop. */
int cmi_call_end(cm_call *call);

void cmi_call_pause(cm_call *call);
void cmi_call_resume(cm_call *call);

/* Asks the running call to stop. */
void cmi_call_ask(cm_call *call);
/* NULL is a call that nobody can ask. */
int cmi_call_asked(const cm_call *call);
/* CANCELLED once the call has been asked to stop. */
cm_status cmi_call_check(const cm_call *call);

#endif
