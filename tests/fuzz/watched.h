/* watched.h - the work of a fuzz target, in a context whose memory is counted: nothing may be left of it, and no more
 * may be taken than a bound.  One input of four is worked on again with one of its requests for memory failing; the
 * bytes choose which. */
#ifndef TESTS_FUZZ_WATCHED_H
#define TESTS_FUZZ_WATCHED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/directory.h"
#include "support/memory.h"
#include "support/tensors.h"

/* Blocks that a context may take during the work and keep to its end: its threads, where the work asks for several.
 */
#ifndef FUZZ_KEPT
#define FUZZ_KEPT 0
#endif

typedef cm_status (*fuzz_work)(cm_context *context, const uint8_t *data, size_t size);

/* What a file that is refused, or whose tensors are listed, may take. */
static inline long long fuzz_bound(size_t size)
{
    return 16 * (long long)size + (16 << 20);
}

static inline _Noreturn void fuzz_fail(const char *what)
{
    fprintf(stderr, "fuzz: %s; the last message: %s\n", what, cm_last_message());
    __builtin_trap();
}

static inline cm_status fuzz_once(fuzz_work work, const uint8_t *data, size_t size, long long bound, long fail_at,
                                  long *requests)
{
    memory counted;
    cm_context *context;
    memory_reset(&counted);
    cm_context_options options = memory_options(&counted, 1);
    if (cm_context_create(&options, &context) != CM_OK) return CM_ERR_MEMORY;
    const long live = counted.live, before = counted.requests;
    counted.fail_at = fail_at ? before + fail_at : 0;
    const cm_status status = work(context, data, size);
    *requests = counted.requests - before;
    if (counted.live < live || counted.live > live + FUZZ_KEPT) fuzz_fail("memory is left");
    if (bound && counted.peak > bound) fuzz_fail("more memory than the bound");
    cm_context_free(context);
    if (counted.live) fuzz_fail("memory of the context is left");
    if (status != CM_OK && !cm_last_message()[0]) fuzz_fail("a refusal without a message");
    if (status == CM_ERR_INTERNAL) fuzz_fail("a defect by its own word");
    return status;
}

/* bound 0: there is none. */
static inline int fuzz_watched(fuzz_work work, const uint8_t *data, size_t size, long long bound)
{
    long requests = 0, again = 0;
    uint64_t hash = 1469598103934665603u;
    const cm_status status = fuzz_once(work, data, size, bound, 0, &requests);
    for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 1099511628211u;
    hash ^= hash >> 29;
    if (hash % 4 || requests < 1) return 0;
    const cm_status failed = fuzz_once(work, data, size, bound, 1 + (long)((hash >> 8) % (uint64_t)requests), &again);
    if (failed != CM_ERR_MEMORY && failed != status) fuzz_fail("a failed allocation changed what the bytes are");
    return 0;
}

/* The bytes as a file without a name but its descriptor's; -1 where there is none. */
static inline int fuzz_file(const uint8_t *data, size_t size, char path[64])
{
    const int fd = (int)syscall(SYS_memfd_create, "fuzz", 0u);
    (void)snprintf(path, 64, "/proc/self/fd/%d", fd);
    if (fd >= 0 && write(fd, data, size) == (ssize_t)size) return fd;
    if (fd >= 0) (void)close(fd);
    return -1;
}

/* A folder of this process in memory, made once and removed at its end. */
static char fuzz_made[48];
static void fuzz_remove(void)
{
    cm_context *context;
    if (cm_context_create(NULL, &context) != CM_OK) return;
    (void)cmi_directory_remove(fuzz_made);
    cm_context_free(context);
}
static inline const char *fuzz_folder(void)
{
    if (fuzz_made[0]) return fuzz_made;
    (void)snprintf(fuzz_made, sizeof fuzz_made, "/dev/shm/cm-fuzz-XXXXXX");
    if (!mkdtemp(fuzz_made)) {
        (void)snprintf(fuzz_made, sizeof fuzz_made, "/tmp/cm-fuzz-XXXXXX");
        if (!mkdtemp(fuzz_made)) fuzz_fail("no folder");
    }
    (void)atexit(fuzz_remove);
    return fuzz_made;
}

/* The path of a file in it; two stand at a time. */
static inline const char *fuzz_path(const char *name)
{
    static char paths[2][128];
    static int turn;
    turn = !turn;
    (void)snprintf(paths[turn], sizeof paths[turn], "%s/%s", fuzz_folder(), name);
    return paths[turn];
}

/* Every value of every tensor. */
static inline cm_status fuzz_read_tensors(const cm_tensors *t)
{
    volatile float sink = 0;
    for (size_t i = 0; i < t->count; i++) {
        float *v = malloc((t->tensors[i].count + 1) * sizeof *v);
        const cm_status status = cmi_tensor_read(&t->tensors[i], v);
        if (status == CM_OK && t->tensors[i].count) sink = v[t->tensors[i].count - 1];
        free(v);
        if (status == CM_ERR_MEMORY) return status;
    }
    (void)sink;
    return CM_OK;
}

#endif
