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

static int open_retry(const char *path, int flags, unsigned mode)
{
    int fd;
    do fd = open(path, flags, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

cm_status cm_mapping_open(const char *path, cm_mapping *out)
{
    struct stat st;
    out->data = NULL;
    out->size = 0;
    /* O_NONBLOCK: opening a pipe must not wait for a writer. */
    int fd = open_retry(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
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
    if (!overwrite && lstat(path, &st) == 0)
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
    w->temporary = w->path ? cm_malloc(context, length, 1) : NULL;
    status = w->temporary ? CM_OK : CM_ERR_MEMORY;
    for (int attempt = 0; status == CM_OK && w->descriptor < 0; attempt++) {
        (void)snprintf(w->temporary, length, "%s.tmp-%ld-%d", path, (long)getpid(), attempt);
        w->descriptor = open_retry(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->descriptor < 0 && (errno != EEXIST || attempt == 999)) status = cm_file_fail("create", w->temporary);
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
        fd = open_retry(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        *slash = '/';
    } else {
        fd = open_retry(slash ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
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
