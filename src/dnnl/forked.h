/* forked.h - whether oneDNN can be trusted in this process.
 *
 * Its constructors hold locks of the process.  A child that is forked while another
 * thread is inside one inherits the lock and nobody to give it back, and would wait for
 * ever. */
#ifndef CM_DNNL_FORKED_H
#define CM_DNNL_FORKED_H

#include "base/status.h"

/* Around every call of a constructor.  FORKED in a child that was made in the midst of
 * one; then there is nothing to leave. */
cm_status cm_dnnl_enter(void);
void cm_dnnl_leave(void);

#endif
