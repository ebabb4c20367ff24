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

cm_status cmi_file_fail(const char *doing, const char *path)
{
    int error = errno;
    char buffer[128] = "";
    const char *reason = _Generic(strerror_r(error, buffer, sizeof buffer), char *: gnu_form, int: posix_form)(
        strerror_r(error, buffer, sizeof buffer), buffer);
    if (error == ENOMEM) CM_FAIL(CM_ERR_MEMORY, "out of memory: cannot %s '%s': %s", doing, path, reason);
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

int cmi_file_open(const char *path, int flags, unsigned mode)
{
    int fd;
    do fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return above_standard(fd);
}

/* --- reading ------------------------------------------------------------------------ */

static cm_status open_regular(const char *path, int *fd, size_t *size)
{
    struct stat st;
    /* O_NONBLOCK: opening a pipe must not wait for a writer. */
    *fd = cmi_file_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (*fd < 0) return cmi_file_fail("open", path);
    cm_status status = CM_OK;
    if (fstat(*fd, &st) != 0) status = cmi_file_fail("stat", path);
    else if (!S_ISREG(st.st_mode)) status = cmi_fail(CM_ERR_IO, "cannot read '%s': not a regular file", path);
    if (status != CM_OK) (void)close(*fd);
    else *size = (size_t)st.st_size;
    return status;
}

cm_status cmi_file_reader_open(cm_context *context, const char *path, cm_file_reader *r)
{
    *r = (cm_file_reader){context, cmi_strdup(context, path), -1, 0};
    if (!r->path) return CM_ERR_MEMORY;
    cm_status status = open_regular(path, &r->descriptor, &r->size);
    if (status == CM_OK) return CM_OK;
    r->descriptor = -1;
    cmi_file_reader_close(r);
    return status;
}

void cmi_file_reader_close(cm_file_reader *r)
{
    if (!r->path) return;
    if (r->descriptor >= 0) (void)close(r->descriptor);
    cmi_free(r->context, r->path);
    r->path = NULL;
    r->descriptor = -1;
}

/* Up to `size` bytes: fewer at the end of the file; -1 on an error. */
static ssize_t read_at(int fd, size_t offset, void *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t piece = size - done < (1u << 30) ? size - done : 1u << 30;
        ssize_t n = pread(fd, (char *)out + done, piece, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

cm_status cmi_file_reader_read(const cm_file_reader *r, size_t offset, void *out, size_t size)
{
    ssize_t n = read_at(r->descriptor, offset, out, size);
    if (n < 0) return cmi_file_fail("read", r->path);
    if ((size_t)n < size)
        CM_FAIL(CM_ERR_IO,
                "cannot read '%s': it ends at byte %zu and had %zu bytes when it was opened: it has been cut short",
                r->path, offset + (size_t)n, r->size);
    return CM_OK;
}

cm_status cmi_file_read(cm_context *context, const char *path, size_t limit, unsigned char **data, size_t *size)
{
    cm_file_reader r;
    *data = NULL;
    CM_TRY(cmi_file_reader_open(context, path, &r));
    *size = r.size;
    cm_status status = CM_OK;
    if (r.size > limit)
        status =
            cmi_fail(CM_ERR_LIMIT, "'%s' has %zu bytes, at most %zu are read of such a file", path, r.size, limit);
    else if (!(*data = cmi_malloc(context, r.size + 1, 1))) status = CM_ERR_MEMORY;
    else status = cmi_file_reader_read(&r, 0, *data, r.size);
    cmi_file_reader_close(&r);
    if (status == CM_OK) (*data)[*size] = '\0';
    else cmi_free(context, *data), *data = NULL;
    return status;
}

cm_status cmi_file_peek(const char *path, void *out, size_t size, size_t *got)
{
    int fd;
    size_t whole;
    *got = 0;
    CM_TRY(open_regular(path, &fd, &whole));
    const ssize_t n = read_at(fd, 0, out, size);
    cm_status status = CM_OK;
    if (n < 0) status = cmi_file_fail("read", path);
    else *got = (size_t)n;
    (void)close(fd);
    return status;
}

cm_status cmi_file_reader_map(const cm_file_reader *r, cm_mapping *out)
{
    *out = (cm_mapping){NULL, 0};
    if (r->size == 0) return CM_OK;
    void *data = mmap(NULL, r->size, PROT_READ, MAP_PRIVATE, r->descriptor, 0);
    if (data == MAP_FAILED)
        return errno == ENOMEM
                   ? cmi_fail(CM_ERR_MEMORY, "out of memory: the address space cannot hold the %zu bytes of '%s'",
                              r->size, r->path)
                   : cmi_file_fail("map", r->path);
    *out = (cm_mapping){data, r->size};
    return CM_OK;
}

void cmi_mapping_close(cm_mapping *mapping)
{
    if (mapping->data) (void)munmap((void *)(uintptr_t)mapping->data, mapping->size);
    mapping->data = NULL;
    mapping->size = 0;
}

void cmi_mapping_forget(const void *data, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)data + page - 1) / page * page, last = ((uintptr_t)data + size) / page * page;
    if (first < last) (void)madvise((void *)first, last - first, MADV_DONTNEED);
}

/* --- writing ------------------------------------------------------------------------ */

/* What `from` leads to when it is a link with the text `to`. */
static char *link_target(cm_context *context, const char *from, const char *to)
{
    const char *slash = strrchr(from, '/');
    size_t folder = slash && to[0] != '/' ? (size_t)(slash - from) + 1 : 0;
    char *path = cmi_malloc(context, folder + strlen(to) + 1, 1);
    if (!path) return NULL;
    memcpy(path, from, folder);
    memcpy(path + folder, to, strlen(to) + 1);
    return path;
}

/* The end of the links that begin at `path`, whether or not there is a file; it is
 * what a person means who linked the output to another disk. */
cm_status cmi_file_follow(cm_context *context, const char *path, char **out)
{
    enum { MOST = 40 };
    char to[4096];
    *out = cmi_strdup(context, path);
    for (int links = 0; *out; links++) {
        ssize_t n = readlink(*out, to, sizeof to);
        if (n < 0) return CM_OK; /* no link, or nothing: writing says what is wrong */
        if (links == MOST || (size_t)n == sizeof to) break;
        to[n] = '\0';
        char *next = link_target(context, *out, to);
        cmi_free(context, *out);
        *out = next;
    }
    if (!*out) return CM_ERR_MEMORY;
    cmi_free(context, *out);
    *out = NULL;
    CM_FAIL(CM_ERR_IO, "cannot write '%s': its symbolic links lead in a circle or too far", path);
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISLNK(mode)  ? "a symbolic link"
                            : "a device";
}

/* Only what has a whole content can be replaced by another. */
static cm_status refuse_others(const char *path, mode_t mode)
{
    if (S_ISREG(mode)) return CM_OK;
    CM_FAIL(CM_ERR_IO, "cannot write '%s': it is %s, not a regular file; it was left as it is", path, kind_of(mode));
}

/* *st: the file that is there; its mode is 0 when there is none. */
static cm_status check_target(const cm_file_writer *w, struct stat *st)
{
    if (lstat(w->path, st) != 0) {
        st->st_mode = 0;
        return errno == ENOENT ? CM_OK : cmi_file_fail("write", w->path);
    }
    CM_TRY(refuse_others(w->path, st->st_mode));
    if (!w->overwrite)
        CM_FAIL(CM_ERR_IO, "'%s' exists already; it was left as it is (ask for overwriting to replace it)", w->path);
    return CM_OK;
}

static void reset(cm_file_writer *w)
{
    if (w->path) cmi_free(w->context, w->path);
    if (w->temporary) cmi_free(w->context, w->temporary);
    w->path = w->temporary = NULL;
    w->descriptor = -1;
}

/* "NAME.tmp-PID-N" beside the file.  A long name is cut, between characters, since the whole
 * has to fit where NAME just does. */
char *cmi_file_temporary_name(cm_context *context, const char *path, size_t size)
{
    enum { NAME = 100 };
    const char *slash = strrchr(path, '/');
    size_t before = slash ? (size_t)(slash - path) + 1 : 0, n = strlen(path + before);
    if (n > NAME)
        for (n = NAME; n > NAME - 4 && ((unsigned char)path[before + n] & 0xc0) == 0x80;) n--;
    char *name = cmi_malloc(context, size, 1);
    if (name) (void)snprintf(name, size, "%.*s.tmp-%ld-", (int)(before + n), path, (long)getpid());
    return name;
}

static cm_status open_temporary(cm_file_writer *w, mode_t mode)
{
    size_t length = strlen(w->path) + CM_FILE_TEMPORARY;
    w->temporary = cmi_file_temporary_name(w->context, w->path, length);
    if (!w->temporary) return CM_ERR_MEMORY;
    size_t stem = strlen(w->temporary);
    for (int attempt = 0; w->descriptor < 0; attempt++) {
        (void)snprintf(w->temporary + stem, length - stem, "%d", attempt);
        w->descriptor = cmi_file_open(w->temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
        if (w->descriptor < 0 && errno == ENOENT)
            CM_FAIL(CM_ERR_IO, "cannot create '%s': No such file or directory (its folder has to be made first)",
                    w->path);
        if (w->descriptor < 0 && (errno != EEXIST || attempt == 999)) return cmi_file_fail("create", w->path);
    }
    return CM_OK;
}

cm_status cmi_file_create(cm_context *context, const char *path, int overwrite, cm_file_writer *w)
{
    struct stat st;
    memset(w, 0, sizeof *w);
    w->context = context;
    w->descriptor = -1;
    w->overwrite = overwrite;
    if (stat(path, &st) == 0) CM_TRY(refuse_others(path, st.st_mode));
    CM_TRY(cmi_file_follow(context, path, &w->path));
    cm_status status = check_target(w, &st);
    /* Never wider open than the file that it will replace. */
    if (status == CM_OK) status = open_temporary(w, st.st_mode ? st.st_mode & 0666 : 0666);
    if (status != CM_OK) reset(w);
    return status;
}

cm_status cmi_file_write(cm_file_writer *w, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(w->descriptor, p, size < (1u << 30) ? size : (1u << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cmi_file_fail("write", w->path);
        p += n;
        size -= (size_t)n;
    }
    return CM_OK;
}

cm_status cmi_file_flush(int fd, const char *path)
{
    int result;
    do result = fsync(fd);
    while (result != 0 && errno == EINTR);
    if (result != 0) return cmi_file_fail("flush to the disk", path);
    return CM_OK;
}

/* After the rename the name must reach the disk too.  A directory that cannot
 * be opened or flushed (some network file systems) leaves the file complete. */
void cmi_file_flush_directory(char *path)
{
    char *slash = strrchr(path, '/');
    int fd;
    if (slash && slash != path) {
        *slash = '\0';
        fd = cmi_file_open(path, O_RDONLY | O_DIRECTORY, 0);
        *slash = '/';
    } else {
        fd = cmi_file_open(slash ? "/" : ".", O_RDONLY | O_DIRECTORY, 0);
    }
    if (fd < 0) return;
    (void)fsync(fd);
    (void)close(fd);
}

/* Whose it is and who may read it stay as they were; giving a file away is root's. */
static cm_status keep_permissions(const cm_file_writer *w)
{
    struct stat st;
    CM_TRY(check_target(w, &st));
    if (!st.st_mode) return CM_OK;
    int given = fchown(w->descriptor, st.st_uid, st.st_gid);
    (void)given;
    if (fchmod(w->descriptor, st.st_mode & 0777) != 0) return cmi_file_fail("keep the permissions of", w->path);
    return CM_OK;
}

static cm_status publish(cm_file_writer *w)
{
    struct stat st;
    CM_TRY(keep_permissions(w));
    CM_TRY(cmi_file_flush(w->descriptor, w->path));
    int closed = close(w->descriptor);
    w->descriptor = -1;
    if (closed != 0 && errno != EINTR) return cmi_file_fail("close", w->path);
    CM_TRY(check_target(w, &st));
    if (rename(w->temporary, w->path) != 0) return cmi_file_fail("rename the temporary file to", w->path);
    return CM_OK;
}

cm_status cmi_file_commit(cm_file_writer *w)
{
    cm_status status = publish(w);
    if (status != CM_OK) {
        cmi_file_abort(w);
        return status;
    }
    cmi_file_flush_directory(w->path);
    reset(w);
    return CM_OK;
}

void cmi_file_abort(cm_file_writer *w)
{
    if (w->descriptor >= 0) (void)close(w->descriptor);
    if (w->temporary) (void)unlink(w->temporary);
    reset(w);
}
