#include "memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sanitizer.h"

#ifdef CM_MEMORY_SANITIZER
#include <sanitizer/msan_interface.h>
#endif

#ifdef CM_ADDRESS_SANITIZER
enum { FENCE = 0, FILLING = 0xa5 }; /* it watches what lies behind a block itself */
#else
enum { FENCE = 64, FILLING = 0xa5 }; /* bytes behind a block that nobody may write */
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *take(void *user, size_t size, size_t alignment)
{
    memory *m = user;
    void *p = NULL;
    pthread_mutex_lock(&lock);
    long n = ++m->requests;
    int fail = m->fail_at && (m->persistent ? n >= m->fail_at : n == m->fail_at);
    if (m->budget && m->bytes + (long long)size > m->budget) fail = 1;
    if (!fail && posix_memalign(&p, alignment, size + alignment + FENCE) != 0) p = NULL;
    if (p) {
        memcpy(p, &size, sizeof size);
        m->live++;
        m->bytes += (long long)size;
        if (m->bytes > m->peak) m->peak = m->bytes;
        p = (char *)p + alignment;
#ifdef CM_MEMORY_SANITIZER
        __msan_poison(p, size); /* matrix.sh has what malloc gives count as written, for libraries */
#endif
        memset((char *)p + size, FILLING, FENCE);
    }
    pthread_mutex_unlock(&lock);
    return p;
}

static void give(void *user, void *p)
{
    memory *m = user;
    size_t size;
    char *whole = (char *)p - 64;
    memcpy(&size, whole, sizeof size);
    for (size_t i = 0; i < FENCE; i++)
        if (((unsigned char *)p)[size + i] != FILLING) {
            fprintf(stderr, "memory: byte %zu behind a block of %zu was written\n", i, size);
            abort();
        }
#ifdef CM_MEMORY_SANITIZER
    __msan_unpoison(whole, 64 + size);
#endif
    pthread_mutex_lock(&lock);
    m->live--;
    m->bytes -= (long long)size;
    pthread_mutex_unlock(&lock);
    free(whole);
}

void memory_reset(memory *m)
{
    memset(m, 0, sizeof *m);
}

cm_context_options memory_options(memory *m, int threads)
{
    cm_context_options o;
    cm_context_options_init(&o, sizeof o);
    o.threads = threads;
    o.alloc = take;
    o.free = give;
    o.memory_user = m;
    return o;
}
