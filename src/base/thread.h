/* thread.h - a thread of the library's own. */
#ifndef CM_BASE_THREAD_H
#define CM_BASE_THREAD_H

#include <pthread.h>

/* Starts work(user) on a thread with a stack of 1 MiB, so that many fit into a small
 * address space, that blocks all signals: they are the host's and its threads'.
 * Whether the system gave one; pthread_join ends it. */
int cmi_thread_start(pthread_t *thread, void *(*work)(void *), void *user);

#endif
