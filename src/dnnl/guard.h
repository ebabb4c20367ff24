/* guard.h - runs a C function that calls oneDNN and catches what oneDNN
 * throws: returns the function's own value, or CM_GUARD_THROWN. */
#ifndef CM_DNNL_GUARD_H
#define CM_DNNL_GUARD_H

#define CM_GUARD_THROWN (-1)

#ifdef __cplusplus
extern "C"
#endif
    int
    cmi_dnnl_guard(int (*function)(void *argument), void *argument);

#endif
