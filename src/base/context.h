/* context.h - memory, threads and log of everything that hangs off a context.
 *
 * All memory of the library comes from cmi_calloc and friends, so that a host
 * can count it and a test can make the N-th request fail. */
#ifndef CM_BASE_CONTEXT_H
#define CM_BASE_CONTEXT_H

#include "base/status.h"

/* Adds a reference; NULL makes a new context with defaults. */
cm_status cmi_context_retain(cm_context *context, cm_context **out);

/* CM_ERR_FORKED in a child of the process that made the context. */
cm_status cmi_context_check_process(const cm_context *context);

int cmi_context_threads(const cm_context *context);
/* CM_CPU_* of cpu_level.h, found when the context was made. */
int cmi_context_cpu_level(const cm_context *context);
/* The workers of the context: pool.h; through parallel.h for everybody else. */
typedef struct cm_pool cm_pool;
cm_pool *cmi_context_pool(const cm_context *context);

/* A warning or note for the host's log; nothing without a log hook. */
void cmi_log(const cm_context *context, int level, const char *format, ...) CM_PRINTF(3, 4);

/* count x size bytes, aligned to 64 and zero; NULL after setting the message.
 * Never returns NULL for a zero count. */
void *cmi_calloc(cm_context *context, size_t count, size_t size);
/* The same without zeroing: for large buffers that are written before read. */
void *cmi_malloc(cm_context *context, size_t count, size_t size);
/* A list of `count` elements that can take one more, at the same address or another; *capacity: elements that fit.
 * It doubles.  NULL after setting the message, then `list` is as it was. */
void *cmi_grown(cm_context *context, void *list, size_t size, size_t count, size_t *capacity);
/* Of memory from this context; NULL for the context: of memory from one with defaults, which may be gone. */
void cmi_free(cm_context *context, void *memory);
char *cmi_strdup(cm_context *context, const char *text);

/* Checked arithmetic for sizes that a file or a caller can choose: true and
 * *out = a * b (a + b) when it fits. */
static inline int cmi_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline int cmi_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* LIMIT where `count` parts of `size` bytes cannot stand in one array of the caller's: no address space of a process
 * is larger.  Asked before anything of the array is read or written; `what` begins the message. */
cm_status cmi_check_array(const char *what, size_t count, size_t size);

#endif
