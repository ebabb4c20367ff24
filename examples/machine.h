/* machine.h - what the machine has left for a program. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>

typedef struct machine_memory {
    uint64_t bytes;  /* that this process may still take; UINT64_MAX: unknown */
    const char *who; /* what sets that bound, for a message                  */
} machine_memory;

/* The least of what the kernel calls available, what the control groups of this
 * process leave (version 1 and 2), and what ulimit -v leaves.  Files that are
 * cached count as free; swap does not. */
machine_memory machine_memory_left(void);

#endif
