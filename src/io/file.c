/* file.c - system calls on files; EINTR is retried, everything else reported
 * with the file's name and the reason. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* strerror_r has two incompatible forms; this picks by the result's type. */
static const char *gnu_form(const char *result, const char *buffer)
{
    (void)buffer;
    return result;
}
static const char *posix_form(int result, const char *buffer)
{
    return result == 0 ? buffer : "unknown error";
}

cm_status cm_file_fail(const char *doing, const char *path)
{
    int error = errno;
    char buffer[128] = "";
    const char *reason = _Generic(strerror_r(error, buffer, sizeof buffer), char *: gnu_form, int: posix_form)(
        strerror_r(error, buffer, sizeof buffer), buffer);
    CM_FAIL(CM_ERR_IO, "cannot %s '%s': %s", doing, path, reason);
}

/* Where a host has closed its standard descriptors, the next file gets their numbers, and
 * with them all that anybody prints. */
static int above_standard(int fd)
{
    if (fd < 0 || fd > 2) return fd;
    int other = fcntl(fd, F_DUPFD_CLOEXEC, 3), error = errno;
    (void)close(fd);
    errno = error;
    return other;
}

int cm_file_open(const char *path, int flags, unsigned mode)
{
    int fd;
    do fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return above_standard(fd);
}

cm_status cm_mapping_open(const char *path, cm_mapping *out)
{
    struct stat st;
    out->data = NULL;
    out->size = 0;
    /* O_NONBLOCK: opening a pipe must not wait for a writer. */
    int fd = cm_file_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0) return cm_file_fail("open", path);
    cm_status status = CM_OK;
    if (fstat(fd, &st) != 0) status = cm_file_fail("stat", path);
    else if (!S_ISREG(st.st_mode)) status = cm_fail(CM_ERR_IO, "cannot read '%s': not a regular file", path);
    else if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) status = cm_file_fail("map", path);
        else {
            out->data = data;
            out->size = (size_t)st.st_size;
        }
    }
    (void)close(fd);
    return status;
}

void cm_mapping_close(cm_mapping *mapping)
{
    if (mapping->data) (void)munmap((void *)(uintptr_t)mapping->data, mapping->size);
    mapping->data = NULL;
    mapping->size = 0;
}

void cm_mapping_forget(const void *data, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)data + page - 1) / page * page, last = ((uintptr_t)data + size) / page * page;
    if (first < last) (void)madvise((void *)first, last - first, MADV_DONTNEED);
}

static cm_status refuse_existing(const char *path, int overwrite)
{
    struct stat st;
    if (lstat(path, &st) != 0) return errno == ENOENT ? CM_OK : cm_file_fail("write", path);
    if (S_ISDIR(st.st_mode)) CM_FAIL(CM_ERR_IO, "cannot write '%s': it is a directory", path);
    if (!overwrite)
        CM_FAIL(CM_ERR_IO, "'%s' exists already; it was left as it is (ask for overwriting to replace it)", path);
    return CM_OK;
}

static void reset(cm_file_writer *w)
{
    if (w->path) cm_free(w->context, w->path);
    if (w->temporary) cm_free(w->context, w->temporary);
    w->path = w->temporary = NULL;
    w->descriptor = -1;
}

/* "NAME.tmp-PID-N" beside the file.  A long name is cut, between characters, since the whole
 * has to fit where NAME just does. */
static char *temporary_name(cm_context *context, const char *path, size_t size)
{
    enum { NAME = 100 };
    const char *slash = strrchr(path, '/');
    size_t before = slash ? (size_t)(slash - path) + 1 : 0, n = strlen(path + before);
    if (n > NAME)
        for (n = NAME; n > NAME - 4 && ((unsigned char)path[before + n] & 0xc0) == 0x80;) n--;
    char *name = cm_malloc(context, size, 1);
    if (name) (void)snprintf(name, size, "%.*s.tmp-%ld-", (int)(before + n), path, (long)getpid());
    return name;
}

cm_status cm_file_create(cm_context *context, const char *path, int overwrite, cm_file_writer *w)
{
    size_t length = strlen(path) + 48;
    cm_status status;
    memset(w, 0, sizeof *w);
    w->context = context;
    w->descriptor = -1;
    w->overwrite = overwrite;
    CM_TRY(refuse_existing(path, overwrite));
    w->path = cm_strdup(context, path);
    w->temporary = w->path ? temporary_name(context, path, length) : NULL;
    status = w->temporary ? CM_OK : CM_ERR_MEMORY;
    size_t stem = w->temporary ? strlen(w->temporary) : 0;
    for (int attempt = 0; status == CM_OK && w->descriptor < 0; attempt++) {
        (void)snprintf(w->temporary + stem, length - stem, "%d", attempt);
        w->descriptor = cm_file_open(w->temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (w->descriptor < 0 && (errno != EEXIST || attempt == 999)) status = cm_file_fail("create", path);
    }
    if (status != CM_OK) reset(w);
    return status;
}

cm_status cm_file_write(cm_file_writer *w, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(w->descriptor, p, size < (1u << 30) ? size : (1u << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cm_file_fail("write", w->path);
        p += n;
        size -= (size_t)n;
    }
    return CM_OK;
}

static cm_status flush(int fd, const char *path)
{
    int result;
    do result = fsync(fd);
    while (result != 0 && errno == EINTR);
    if (result != 0) return cm_file_fail("flush to the disk", path);
    return CM_OK;
}

/* After the rename the name must reach the disk too.  A directory that cannot
 * be opened or flushed (some network file systems) leaves the file complete. */
static void flush_directory(char *path)
{
    char *slash = strrchr(path, '/');
    int fd;
    if (slash && slash != path) {
        *slash = '\0';
        fd = cm_file_open(path, O_RDONLY | O_DIRECTORY, 0);
        *slash = '/';
    } else {
        fd = cm_file_open(slash ? "/" : ".", O_RDONLY | O_DIRECTORY, 0);
    }
    if (fd < 0) return;
    (void)fsync(fd);
    (void)close(fd);
}

static cm_status publish(cm_file_writer *w)
{
    CM_TRY(flush(w->descriptor, w->path));
    int closed = close(w->descriptor);
    w->descriptor = -1;
    if (closed != 0 && errno != EINTR) return cm_file_fail("close", w->path);
    CM_TRY(refuse_existing(w->path, w->overwrite));
    if (rename(w->temporary, w->path) != 0) return cm_file_fail("rename the temporary file to", w->path);
    return CM_OK;
}

cm_status cm_file_commit(cm_file_writer *w)
{
    cm_status status = publish(w);
    if (status != CM_OK) {
        cm_file_abort(w);
        return status;
    }
    flush_directory(w->path);
    reset(w);
    return CM_OK;
}

void cm_file_abort(cm_file_writer *w)
{
    if (w->descriptor >= 0) (void)close(w->descriptor);
    if (w->temporary) (void)unlink(w->temporary);
    reset(w);
}
