/* call.c - the states of a handle's call. */
#include "base/call.h"

#if ATOMIC_INT_LOCK_FREE != 2
#error "a signal handler needs lock-free atomic integers"
#endif

/* 0 is an idle handle. */
enum { BUSY = 1, ASKED = 2, PAUSED = 4, INSIDE = 8 };

void cmi_call_init(cm_call *c)
{
    atomic_init(&c->state, 0);
    atomic_init(&c->thread, pthread_self());
}

static int try_begin(cm_call *c)
{
    int idle = 0;
    if (!atomic_compare_exchange_strong(&c->state, &idle, BUSY)) return 0;
    atomic_store(&c->thread, pthread_self());
    return 1;
}

/* A request may change the state meanwhile, nothing else: this is the running call's
 * thread.  Another thread sees a pause only after the name of its owner. */
static int try_begin_inside(cm_call *c)
{
    if (!(atomic_load(&c->state) & PAUSED) || !pthread_equal(atomic_load(&c->thread), pthread_self())) return 0;
    (void)atomic_fetch_xor(&c->state, PAUSED | INSIDE);
    return 1;
}

static cm_status busy(const char *handle)
{
    CM_FAIL(CM_ERR_STATE,
            "this %s is already running: one call at a time, and in its callbacks only those that its header lists",
            handle);
}

cm_status cmi_call_begin(cm_call *c, const char *handle)
{
    return try_begin(c) ? CM_OK : busy(handle);
}

cm_status cmi_call_begin_inside(cm_call *c, const char *handle)
{
    return try_begin(c) || try_begin_inside(c) ? CM_OK : busy(handle);
}

int cmi_call_end(cm_call *c)
{
    if (atomic_load(&c->state) & INSIDE) {
        (void)atomic_fetch_xor(&c->state, PAUSED | INSIDE);
        return 0;
    }
    return (atomic_exchange(&c->state, 0) & ASKED) != 0;
}

void cmi_call_pause(cm_call *c)
{
    (void)atomic_fetch_or(&c->state, PAUSED);
}

void cmi_call_resume(cm_call *c)
{
    (void)atomic_fetch_and(&c->state, ~PAUSED);
}

void cmi_call_ask(cm_call *c)
{
    int state = atomic_load(&c->state);
    while ((state & BUSY) && !atomic_compare_exchange_weak(&c->state, &state, state | ASKED)) {
    }
}

int cmi_call_asked(const cm_call *c)
{
    return c && (atomic_load(&c->state) & ASKED);
}

cm_status cmi_call_check(const cm_call *c)
{
    if (cmi_call_asked(c)) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
    return CM_OK;
}
