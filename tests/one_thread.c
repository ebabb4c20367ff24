/* one_thread.so - a preload that refuses the library's own threads (a stack of 1 MiB:
 * src/base/thread.c), not those of a test. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *user)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    size_t stack = 0;
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&next, &symbol, sizeof next);
    if (attributes && pthread_attr_getstacksize(attributes, &stack) == 0 && stack == 1 << 20) return EAGAIN;
    return next(thread, attributes, start, user);
}
