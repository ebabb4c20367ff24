/* memory.h - an allocator that counts, and can fail the N-th request. */
#ifndef TESTS_MEMORY_H
#define TESTS_MEMORY_H

#include <consistency/base.h>

typedef struct memory {
    long requests, live;
    long long bytes, peak;
    long fail_at;     /* 0: never; N: the N-th request from now  */
    int persistent;   /* and all after it                        */
    long long budget; /* fail when more bytes than this would be live; 0: no limit */
} memory;

void memory_reset(memory *m);
/* Context options that use it. */
cm_context_options memory_options(memory *m, int threads);

#endif
