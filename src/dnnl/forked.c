/* forked.c - the library's only writable memory that is not a handle's: what it says is
 * a matter of the process. */
#include "dnnl/forked.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static atomic_int cmi_dnnl_inside;   /* threads that are in a constructor              */
static atomic_int cmi_dnnl_running;  /* threads that are elsewhere in oneDNN           */
static atomic_long cmi_dnnl_process; /* whose threads those are, 0 = nobody's yet      */
static atomic_int cmi_dnnl_closing;  /* 1: exit has begun                              */
static atomic_uint cmi_dnnl_kinds;   /* a bit for each kind that cmi_dnnl_expect_exit saw */
static atomic_ulong cmi_dnnl_made;   /* how often it was asked                         */

static cm_status begin(atomic_int *threads)
{
    atomic_fetch_add(threads, 1);
    if (!atomic_load(&cmi_dnnl_closing)) return CM_OK;
    atomic_fetch_sub(threads, 1);
    CM_FAIL(CM_ERR_STATE, "the process is ending: main has returned or exit was called");
}

/* The first call in a process.  What its parent's threads were at is not this one's; another
 * thread of its own may come in at the same time, which changes the mark before it counts. */
static cm_status adopt(long process, long parent)
{
    const int running = atomic_load(&cmi_dnnl_running);
    if (parent != 0 && atomic_load(&cmi_dnnl_inside) > 0 && atomic_load(&cmi_dnnl_process) == parent)
        CM_FAIL(CM_ERR_FORKED,
                "process %ld was forked from %ld while another thread of that was preparing a network: call exec, "
                "or fork while no thread is in the library",
                process, parent);
    if (atomic_compare_exchange_strong(&cmi_dnnl_process, &parent, process) && parent != 0)
        atomic_fetch_sub(&cmi_dnnl_running, running);
    return CM_OK;
}

cm_status cmi_dnnl_make_begin(void)
{
    const long process = (long)getpid(), mark = atomic_load(&cmi_dnnl_process);
    if (mark != process) CM_TRY(adopt(process, mark));
    return begin(&cmi_dnnl_inside);
}

void cmi_dnnl_make_end(void)
{
    atomic_fetch_sub(&cmi_dnnl_inside, 1);
}

cm_status cmi_dnnl_use_begin(void)
{
    return begin(&cmi_dnnl_running);
}

void cmi_dnnl_use_end(void)
{
    atomic_fetch_sub(&cmi_dnnl_running, 1);
}

/* Who is inside is out within milliseconds; who called exit from inside, as a signal handler may, never is. */
static void wait_outside(void)
{
    const struct timespec moment = {0, 500000};
    if (atomic_exchange(&cmi_dnnl_closing, 1)) return;            /* waited already */
    if (atomic_load(&cmi_dnnl_process) != (long)getpid()) return; /* a child: those threads are its parent's */
    for (int i = 0; i < 4000 && atomic_load(&cmi_dnnl_inside) + atomic_load(&cmi_dnnl_running) > 0; i++)
        (void)nanosleep(&moment, NULL);
}

/* What is registered last runs first.  oneDNN registers the end of a map when the map is made, which is at the first
 * object of a kind, or of a shape that takes another way; so after each new kind, and after the 1st, 2nd, 4th, 8th
 * ... object, there is one more call of ours. */
void cmi_dnnl_expect_exit(int kind)
{
    unsigned bit = 1u << kind;
    unsigned long made = atomic_fetch_add(&cmi_dnnl_made, 1) + 1;
    int new = !(atomic_load(&cmi_dnnl_kinds) & bit) && !(atomic_fetch_or(&cmi_dnnl_kinds, bit) & bit);
    if (new || (made & (made - 1)) == 0) (void)atexit(wait_outside);
}
