/* shim.c - LD_PRELOAD: the N-th call of one kind fails.
 *
 *   SHIM_CALL  open, write, fsync, close, rename, exchange (renameat2), chmod, mkdir, remove (unlink, unlinkat
 *              and rmdir), any of these, short (a write that takes half), eintr (a write or open interrupted);
 *              read (and pread), map (mmap), stat (of a descriptor or a name), list (opendir, readdir), which are
 *              none of `any`; shortread (a read that gives half)
 *   SHIM_N     which call, from 1;  SHIM_ERRNO  its errno
 *   SHIM_ON    1: all calls from that one on fail
 *   SHIM_KILL  1: end the process right before the call instead (a crash)
 *   SHIM_PLAIN 1: a file system that exchanges no names: renameat2 is EINVAL and is not counted
 * Only calls on files under SHIM_DIR count.  The number of calls seen goes to
 * descriptor 9 at exit when that is open. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int seen, watched[1024];

static int in_dir(const char *path)
{
    const char *dir = getenv("SHIM_DIR");
    return dir && path && strncmp(path, dir, strlen(dir)) == 0;
}

/* Whether this call, of this kind, is the one. */
static int hit_of(const char *kind, int is_any)
{
    const char *call = getenv("SHIM_CALL"), *n = getenv("SHIM_N"), *error = getenv("SHIM_ERRNO");
    if (!call || (strcmp(call, kind) != 0 && (!is_any || strcmp(call, "any") != 0))) return 0;
    int which = n ? atoi(n) : 0;
    if (++seen != which && !(getenv("SHIM_ON") && which && seen > which)) return 0;
    if (getenv("SHIM_KILL")) _exit(99);
    errno = error ? atoi(error) : EIO;
    return 1;
}

static int hit(const char *kind)
{
    return hit_of(kind, 1);
}

__attribute__((destructor)) static void tell(void)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", seen);
    if (fcntl(9, F_GETFD) != -1 && write(9, text, (size_t)n) < 0) return;
}

int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    int mine = in_dir(path);
    if (mine && hit("open")) return -1;
    int fd = real(path, flags, mode);
    if (fd >= 0 && fd < 1024) watched[fd] = mine;
    return fd;
}

static int is_watched(int fd)
{
    return fd >= 0 && fd < 1024 && watched[fd];
}

ssize_t write(int fd, const void *data, size_t n)
{
    ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    const char *call = getenv("SHIM_CALL");
    if (is_watched(fd) && call && strcmp(call, "short") == 0) {
        seen++;
        return real(fd, data, n > 1 ? n / 2 : n); /* every write is short */
    }
    if (is_watched(fd) && hit("write")) return -1;
    return real(fd, data, n);
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (is_watched(fd) && hit("fsync")) return -1;
    return real(fd);
}

int close(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    int mine = is_watched(fd);
    if (fd >= 0 && fd < 1024) watched[fd] = 0;
    if (mine && hit("close")) {
        int error = errno;
        real(fd);
        errno = error;
        return -1;
    }
    return real(fd);
}

int rename(const char *from, const char *to)
{
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    if (in_dir(to) && hit("rename")) return -1;
    return real(from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    int (*real)(int, const char *, int, const char *, unsigned) =
        (int (*)(int, const char *, int, const char *, unsigned))dlsym(RTLD_NEXT, "renameat2");
    if (in_dir(to) && getenv("SHIM_PLAIN")) {
        errno = EINVAL;
        return -1;
    }
    if (in_dir(to) && hit("exchange")) return -1;
    return real(from_folder, from, to_folder, to, flags);
}

int chmod(const char *path, mode_t mode)
{
    int (*real)(const char *, mode_t) = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "chmod");
    if (in_dir(path) && hit("chmod")) return -1;
    return real(path, mode);
}

int mkdir(const char *path, mode_t mode)
{
    int (*real)(const char *, mode_t) = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir");
    if (in_dir(path) && hit("mkdir")) return -1;
    return real(path, mode);
}

int unlink(const char *path)
{
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    if (in_dir(path) && hit("remove")) return -1;
    return real(path);
}

/* Names relative to a folder that is open count too: nothing else here removes so. */
int unlinkat(int folder, const char *path, int flags)
{
    int (*real)(int, const char *, int) = (int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");
    if ((folder != AT_FDCWD || in_dir(path)) && hit("remove")) return -1;
    return real(folder, path, flags);
}

int rmdir(const char *path)
{
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "rmdir");
    if (in_dir(path) && hit("remove")) return -1;
    return real(path);
}

/* --- what reads ----------------------------------------------------------------------------- */

static int reads_short(int fd)
{
    const char *call = getenv("SHIM_CALL");
    const int found = is_watched(fd) && call && strcmp(call, "shortread") == 0;
    seen += found;
    return found;
}

ssize_t read(int fd, void *data, size_t n)
{
    ssize_t (*real)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    if (reads_short(fd) && n > 1) n /= 2;
    return is_watched(fd) && hit_of("read", 0) ? -1 : real(fd, data, n);
}

ssize_t pread(int fd, void *data, size_t n, off_t at)
{
    ssize_t (*real)(int, void *, size_t, off_t) = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
    if (reads_short(fd) && n > 1) n /= 2;
    return is_watched(fd) && hit_of("read", 0) ? -1 : real(fd, data, n, at);
}

ssize_t pread64(int fd, void *data, size_t n, off64_t at)
{
    return pread(fd, data, n, at);
}

void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t at)
{
    void *(*real)(void *, size_t, int, int, int, off_t) =
        (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
    return is_watched(fd) && hit_of("map", 0) ? MAP_FAILED : real(address, n, protection, flags, fd, at);
}

int fstat(int fd, struct stat *to)
{
    int (*real)(int, struct stat *) = (int (*)(int, struct stat *))dlsym(RTLD_NEXT, "fstat");
    return is_watched(fd) && hit_of("stat", 0) ? -1 : real(fd, to);
}

int stat(const char *path, struct stat *to)
{
    int (*real)(const char *, struct stat *) = (int (*)(const char *, struct stat *))dlsym(RTLD_NEXT, "stat");
    return in_dir(path) && hit_of("stat", 0) ? -1 : real(path, to);
}

int lstat(const char *path, struct stat *to)
{
    int (*real)(const char *, struct stat *) = (int (*)(const char *, struct stat *))dlsym(RTLD_NEXT, "lstat");
    return in_dir(path) && hit_of("stat", 0) ? -1 : real(path, to);
}

DIR *opendir(const char *path)
{
    DIR *(*real)(const char *) = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
    const int mine = in_dir(path);
    DIR *directory = mine && hit_of("list", 0) ? NULL : real(path);
    if (directory && dirfd(directory) < 1024) watched[dirfd(directory)] = mine;
    return directory;
}

struct dirent *readdir(DIR *directory)
{
    struct dirent *(*real)(DIR *) = (struct dirent * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir");
    return is_watched(dirfd(directory)) && hit_of("list", 0) ? NULL : real(directory);
}

FILE *fopen(const char *path, const char *mode)
{
    FILE *(*real)(const char *, const char *) = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
    return in_dir(path) && hit("open") ? NULL : real(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return fopen(path, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open(path, flags, mode);
}
