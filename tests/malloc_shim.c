/* malloc_shim.c - LD_PRELOAD: after malloc_shim_arm(n) the n-th allocation of
 * the process fails, whoever asks (glibc's own entry points do the rest). */
#include <errno.h>
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_memalign(size_t, size_t);

static long left = -1;
static long seen;

/* n < 0: never fail, count. */
void malloc_shim_arm(long n);
long malloc_shim_seen(void);

void malloc_shim_arm(long n)
{
    left = n;
    seen = 0;
}

long malloc_shim_seen(void)
{
    return seen;
}

static int fails(void)
{
    seen++;
    if (left > 0 && --left == 0) {
        errno = ENOMEM;
        return 1;
    }
    return 0;
}

void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return fails() ? NULL : __libc_memalign(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
    if (fails()) return ENOMEM;
    *out = __libc_memalign(alignment, n);
    return *out ? 0 : ENOMEM;
}
