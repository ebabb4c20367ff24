/* forked.h - whether oneDNN can be trusted in this process, and whether it still can.
 *
 * Its constructors hold locks of the process.  A child that is forked while another
 * thread is inside one inherits the lock and nobody to give it back, and would wait for
 * ever.  Its maps and caches are objects that are made when first needed and destroyed by
 * exit while other threads may still be computing: a thread that is in one of them then
 * reads what is gone. */
#ifndef CM_DNNL_FORKED_H
#define CM_DNNL_FORKED_H

#include "base/status.h"

/* Around every call of a constructor.  FORKED in a child that was made in the midst of
 * one, STATE once the process is ending; after a failure there is nothing to end. */
cm_status cmi_dnnl_make_begin(void);
void cmi_dnnl_make_end(void);
/* Around what runs or destroys: no locks are held there, so a fork does no harm. */
cm_status cmi_dnnl_use_begin(void);
void cmi_dnnl_use_end(void);

/* Something of that kind, 0..31, was made or run for the first time: exit has to wait for
 * who is inside, and turn away who comes, before it destroys what oneDNN made for it. */
void cmi_dnnl_expect_exit(int kind);

#endif
