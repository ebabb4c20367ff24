/* forked.c - the library's only writable memory that is not a handle's: what it says is
 * a matter of the process. */
#include "dnnl/forked.h"

#include <stdatomic.h>
#include <unistd.h>

static atomic_int cm_dnnl_inside;   /* threads that are in a constructor        */
static atomic_long cm_dnnl_process; /* whose threads those are, 0 = nobody's yet */

cm_status cm_dnnl_enter(void)
{
    const long process = (long)getpid(), parent = atomic_load(&cm_dnnl_process);
    if (parent != process) {
        if (parent != 0 && atomic_load(&cm_dnnl_inside) > 0)
            CM_FAIL(CM_ERR_FORKED,
                    "process %ld was forked from %ld while another thread of that was preparing a network: call exec, "
                    "or fork while no thread is in the library",
                    process, parent);
        atomic_store(&cm_dnnl_process, process);
    }
    atomic_fetch_add(&cm_dnnl_inside, 1);
    return CM_OK;
}

void cm_dnnl_leave(void)
{
    atomic_fetch_sub(&cm_dnnl_inside, 1);
}
