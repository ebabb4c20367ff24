/* context.c - the context handle: allocator, log, threads, owning process. */
#include "base/context.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cpu_level.h"
#include "base/cpus.h"
#include "base/options.h"
#include "base/pool.h"
#include "base/sanitizer.h"

struct cm_context {
    atomic_int references;
    pid_t process;
    cm_context_options options; /* resolved */
    cm_pool *pool;
    int cpu_level;
};

/* Large blocks (weights, activations) on large pages where the system has them for
 * the asking: reading weights from memory is a third faster.  The rest behind the
 * last whole page stays on small ones. */
enum { LARGE_PAGE = 2 << 20 };

static void *default_alloc(void *user, size_t size, size_t alignment)
{
    (void)user;
    const int large = size >= 2 * (size_t)LARGE_PAGE;
    void *memory; /* aligned_alloc would want a multiple of the alignment */
    if (posix_memalign(&memory, large ? LARGE_PAGE : alignment, size) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    if (large) (void)madvise(memory, size / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
#endif
    return memory;
}

static void default_free(void *user, void *memory)
{
    (void)user;
    free(memory);
}

void cm_context_options_init(cm_context_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

static cm_status check(const cm_context_options *o)
{
    if (o->threads < 0 || o->threads > CM_MAX_THREADS)
        CM_FAIL(CM_ERR_ARGUMENT, "context: threads is %d, expected 1..%d or 0 for the default", o->threads,
                CM_MAX_THREADS);
    if ((o->alloc == NULL) != (o->free == NULL))
        CM_FAIL(CM_ERR_ARGUMENT, "context: `alloc` and `free` have to be given together");
    return CM_OK;
}

cm_status cm_context_create(const cm_context_options *options, cm_context **out)
{
    cm_context_options o;
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_context_create: out is NULL");
    *out = NULL;
    memset(&o, 0, sizeof o);
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_context_options"));
    CM_TRY(check(&o));
    if (!o.alloc) {
        o.alloc = default_alloc;
        o.free = default_free;
    }
    if (o.threads == 0) o.threads = cmi_cpus();
    cm_context *context = o.alloc(o.memory_user, (sizeof *context + 63) / 64 * 64, 64);
    if (!context) CM_FAIL(CM_ERR_MEMORY, "out of memory: %zu bytes for a context", sizeof *context);
    memset(context, 0, sizeof *context);
    atomic_init(&context->references, 1);
    context->process = getpid();
    context->options = o;
    context->cpu_level = cmi_cpu_level();
    context->pool = cmi_pool_create(&o);
    if (!context->pool) {
        o.free(o.memory_user, context);
        CM_FAIL(CM_ERR_MEMORY, "out of memory: a context's threads");
    }
    *out = context;
    return CM_OK;
}

void cm_context_free(cm_context *context)
{
    if (!context || atomic_fetch_sub(&context->references, 1) != 1) return;
    cmi_pool_free(context->pool);
    context->options.free(context->options.memory_user, context);
}

cm_status cmi_context_retain(cm_context *context, cm_context **out)
{
    *out = NULL;
    if (!context) return cm_context_create(NULL, out);
    CM_TRY(cmi_context_check_process(context));
    atomic_fetch_add(&context->references, 1);
    *out = context;
    return CM_OK;
}

cm_status cmi_context_check_process(const cm_context *context)
{
    if (context->process != getpid())
        CM_FAIL(CM_ERR_FORKED,
                "the context was made by process %ld and this is its child %ld: call exec, or make "
                "a context of its own there",
                (long)context->process, (long)getpid());
    return CM_OK;
}

int cmi_context_cpu_level(const cm_context *context)
{
    return context->cpu_level;
}

int cmi_context_threads(const cm_context *context)
{
    return context->options.threads;
}

cm_pool *cmi_context_pool(const cm_context *context)
{
    return context->pool;
}

void cmi_log(const cm_context *context, int level, const char *format, ...)
{
    char line[512];
    va_list args;
    if (!context->options.log) return;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    context->options.log(context->options.log_user, level, line);
}

cm_status cmi_check_array(const char *what, size_t count, size_t size)
{
    size_t bytes;
    if (cmi_mul_size(count, size, &bytes) && (uint64_t)bytes >> 47 == 0) return CM_OK;
    CM_FAIL(CM_ERR_LIMIT, "%s: %zu x %zu bytes do not fit into memory", what, count, size);
}

/* A host's aligned_alloc may want a multiple of the alignment.  AddressSanitizer is shown where a block ends. */
static size_t rounded(size_t bytes)
{
#ifdef CM_ADDRESS_SANITIZER
    return bytes ? bytes : 1;
#else
    return bytes ? (bytes + 63) / 64 * 64 : 64;
#endif
}

void *cmi_malloc(cm_context *context, size_t count, size_t size)
{
    size_t bytes;
    void *memory = NULL;
    if (cmi_mul_size(count, size, &bytes) && bytes <= SIZE_MAX / 2) {
        bytes = rounded(bytes);
        memory = context->options.alloc(context->options.memory_user, bytes, 64);
    }
    if (!memory) (void)cmi_fail(CM_ERR_MEMORY, "out of memory: %zu x %zu bytes", count, size);
    return memory;
}

void *cmi_calloc(cm_context *context, size_t count, size_t size)
{
    void *memory = cmi_malloc(context, count, size);
    if (memory) memset(memory, 0, count * size);
    return memory;
}

void *cmi_grown(cm_context *context, void *list, size_t size, size_t count, size_t *capacity)
{
    if (count < *capacity) return list;
    size_t wanted = *capacity ? 2 * *capacity : 64;
    void *larger = cmi_malloc(context, wanted, size);
    if (!larger) return NULL;
    if (count) memcpy(larger, list, count * size);
    cmi_free(context, list);
    *capacity = wanted;
    return larger;
}

void cmi_free(cm_context *context, void *memory)
{
    if (memory && context) context->options.free(context->options.memory_user, memory);
    else default_free(NULL, memory);
}

char *cmi_strdup(cm_context *context, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = cmi_malloc(context, n, 1);
    if (copy) memcpy(copy, text, n);
    return copy;
}
