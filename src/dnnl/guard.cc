/* guard.cc - the one C++ file.  oneDNN allocates with `new` and lets the
 * exception out of its C functions (measured in 2.6: 409 of 432 failing
 * allocations); C cannot catch it, this can.  The C callers are compiled with
 * -fexceptions so that it may pass through them. */
#include "dnnl/guard.h"

int cmi_dnnl_guard(int (*function)(void *), void *argument)
{
    try {
        return function(argument);
    } catch (...) {
        return CM_GUARD_THROWN;
    }
}
