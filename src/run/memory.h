/* memory.h - what the machine has left for this process. */
#ifndef CM_RUN_MEMORY_H
#define CM_RUN_MEMORY_H

#include <stdint.h>

typedef struct cm_memory_bound {
    uint64_t bytes;  /* that this process may still take; UINT64_MAX: unknown */
    const char *who; /* what sets that bound, for a message                   */
} cm_memory_bound;

/* The least of what the kernel calls available, what the control groups of this
 * process leave (version 1 and 2), and what ulimit -v leaves.  Files that are
 * cached count as free; swap does not. */
cm_memory_bound cmi_memory_left(void);

#endif
