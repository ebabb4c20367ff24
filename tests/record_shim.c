/* record_shim.c - LD_PRELOAD: what a process does to the files under RECORD_DIR, in order, into the file RECORD_TO.
 *
 * A line a call, with the data of a write behind its line:
 *   open FD PATH   trunc FD   write FD N   fsync FD   close FD   rename A|B   exchange A|B   mkdir A   remove A
 *   said N         what went to standard output
 * power_loss.py replays them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int watched[1024];

static int in_dir(const char *path)
{
    const char *dir = getenv("RECORD_DIR");
    return dir && path && strncmp(path, dir, strlen(dir)) == 0;
}

static void put(const void *data, size_t n)
{
    static int to = -1;
    const char *path = getenv("RECORD_TO");
    if (to < 0 && path)
        to = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (to >= 0 && syscall(SYS_write, to, data, n) != (long)n) _exit(97);
}

static void tell(const char *format, ...)
{
    char line[2000];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    put(line, (size_t)n);
}

static int is_watched(int fd)
{
    return fd >= 0 && fd < 1024 && watched[fd];
}

int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    struct stat before;
    const int is_new = in_dir(path) && flags & O_CREAT && syscall(SYS_newfstatat, AT_FDCWD, path, &before, 0) != 0;
    int fd = real(path, flags, mode);
    if (fd < 0 || fd >= 1024) return fd;
    watched[fd] = in_dir(path);
    if (watched[fd]) tell("%s %d %s\n", is_new ? "create" : "open", fd, path);
    if (watched[fd] && flags & O_TRUNC) tell("trunc %d\n", fd);
    return fd;
}

ssize_t write(int fd, const void *data, size_t n)
{
    ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    const ssize_t done = real(fd, data, n);
    if (done > 0 && (fd == 1 || is_watched(fd))) {
        if (fd == 1) tell("said %zd\n", done);
        else tell("write %d %zd\n", fd, done);
        put(data, (size_t)done);
    }
    return done;
}

/* What stdio writes by itself does not come here: standard output becomes a stream that calls the function above. */
static ssize_t say(void *unused, const char *data, size_t n)
{
    (void)unused;
    return write(1, data, n);
}

__attribute__((constructor)) static void take_output(void)
{
    FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){.write = say});
    if (!f) _exit(97);
    stdout = f;
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    const int result = real(fd);
    if (result == 0 && is_watched(fd)) tell("fsync %d\n", fd);
    return result;
}

int close(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (is_watched(fd)) tell("close %d\n", fd);
    if (fd >= 0 && fd < 1024) watched[fd] = 0;
    return real(fd);
}

int rename(const char *from, const char *to)
{
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    const int result = real(from, to);
    if (result == 0 && in_dir(to)) tell("rename %s|%s\n", from, to);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    int (*real)(const char *, mode_t) = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir");
    const int result = real(path, mode);
    if (result == 0 && in_dir(path)) tell("mkdir %s\n", path);
    return result;
}

int unlink(const char *path)
{
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    const int result = real(path);
    if (result == 0 && in_dir(path)) tell("remove %s\n", path);
    return result;
}

int unlinkat(int folder, const char *path, int flags)
{
    int (*real)(int, const char *, int) = (int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");
    char at[64], where[1000] = "";
    (void)snprintf(at, sizeof at, "/proc/self/fd/%d", folder);
    const ssize_t n = folder == AT_FDCWD ? 0 : readlink(at, where, sizeof where - 1);
    if (n > 0) where[n] = '\0';
    const int result = real(folder, path, flags);
    if (result == 0 && n > 0 && in_dir(where)) tell("remove %s/%s\n", where, path);
    else if (result == 0 && n <= 0 && in_dir(path)) tell("remove %s\n", path);
    return result;
}

int rmdir(const char *path)
{
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "rmdir");
    const int result = real(path);
    if (result == 0 && in_dir(path)) tell("remove %s\n", path);
    return result;
}
