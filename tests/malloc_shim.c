/* malloc_shim.c - LD_PRELOAD: memory that runs out, whoever asks for it.  The malloc family and mmap
 * are seen; glibc's own entry points do the rest.
 *
 *   malloc_shim_arm(n)       the n-th request fails, all others succeed
 *   malloc_shim_limit(bytes) what is alive at a time of the requests from here on stays within `bytes`:
 *                            the way a process with a limit of its address space sees it */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static long left = -1, seen, limit = -1, alive, peak;

/* n < 0: never fail, count. */
void malloc_shim_arm(long n);
long malloc_shim_seen(void);
/* bytes < 0: no limit, count. */
void malloc_shim_limit(long bytes);
/* The most that was alive at a time since the limit was set. */
long malloc_shim_peak(void);

void malloc_shim_arm(long n)
{
    left = n;
    seen = 0;
}

long malloc_shim_seen(void)
{
    return seen;
}

void malloc_shim_limit(long bytes)
{
    limit = bytes;
    alive = peak = 0;
}

long malloc_shim_peak(void)
{
    return peak;
}

static int fails(size_t n)
{
    long now = __atomic_load_n(&alive, __ATOMIC_RELAXED);
    __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED);
    if ((left > 0 && --left == 0) || (limit >= 0 && ((long)n < 0 || now + (long)n > limit))) {
        errno = ENOMEM;
        return 1;
    }
    return 0;
}

static void add(long n)
{
    long now = __atomic_add_fetch(&alive, n, __ATOMIC_RELAXED);
    if (now > peak) peak = now;
}

static void *taken(void *memory)
{
    if (memory) add((long)malloc_usable_size(memory));
    return memory;
}

void *malloc(size_t n)
{
    return fails(n) ? NULL : taken(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return fails(size && n > (size_t)-1 / size ? (size_t)-1 : n * size) ? NULL : taken(__libc_calloc(n, size));
}

void *realloc(void *memory, size_t n)
{
    size_t before = memory ? malloc_usable_size(memory) : 0;
    if (fails(n > before ? n - before : 0)) return NULL;
    void *moved = __libc_realloc(memory, n);
    if (moved) add((long)malloc_usable_size(moved) - (long)before);
    return moved;
}

void free(void *memory)
{
    int kept = errno;
    if (memory) add(-(long)malloc_usable_size(memory));
    __libc_free(memory);
    errno = kept;
}

void *memalign(size_t alignment, size_t n)
{
    return fails(n) ? NULL : taken(__libc_memalign(alignment, n));
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return memalign(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
    if (fails(n)) return ENOMEM;
    *out = taken(__libc_memalign(alignment, n));
    return *out ? 0 : ENOMEM;
}

void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t offset)
{
    if (fails(n)) return MAP_FAILED;
    void *memory = (void *)syscall(SYS_mmap, address, n, protection, flags, fd, offset);
    if (memory != MAP_FAILED) add((long)n);
    return memory;
}

void *mmap64(void *address, size_t n, int protection, int flags, int fd, off_t offset)
{
    return mmap(address, n, protection, flags, fd, offset);
}

int munmap(void *memory, size_t n)
{
    int result = (int)syscall(SYS_munmap, memory, n);
    if (result == 0) add(-(long)n);
    return result;
}
