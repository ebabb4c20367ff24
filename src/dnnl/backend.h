/* backend.h - what we use of oneDNN: it says what the processor can do, and ONEDNN_MAX_CPU_ISA caps that
 * (base/cpu_level.h).  It makes no object, so it takes no memory and no locks.  none.c does without it. */
#ifndef CM_DNNL_BACKEND_H
#define CM_DNNL_BACKEND_H

/* Of the header and of the library that runs, {2, 6, 3}; zeros without oneDNN. */
void cmi_dnnl_versions(int built[3], int running[3]);

#endif
