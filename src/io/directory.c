/* directory.c - see the header. */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include "io/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A new directory's own name has to reach the disk, or what is flushed within it is lost with it.  A parent that may
 * not be read cannot be flushed. */
static cm_status flush_parent(const char *path)
{
    char parent[PATH_MAX];
    const int n = snprintf(parent, sizeof parent, "%s/..", path);
    if (n < 0 || (size_t)n >= sizeof parent || access(parent, R_OK) != 0) return CM_OK;
    return cmi_directory_sync(parent);
}

cm_status cmi_directory_make(const char *path)
{
    struct stat st;
    if (mkdir(path, 0777) == 0) {
        const cm_status status = flush_parent(path);
        if (status != CM_OK) (void)rmdir(path);
        return status;
    }
    if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return CM_OK;
    return cmi_file_fail("make the directory", path);
}

int cmi_path_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static cm_path_kind kind_of(const struct stat *st)
{
    return S_ISDIR(st->st_mode) ? CM_PATH_DIRECTORY : S_ISREG(st->st_mode) ? CM_PATH_FILE : CM_PATH_OTHER;
}

cm_status cmi_path_look(const char *path, cm_path_kind *kind)
{
    struct stat st;
    *kind = CM_PATH_MISSING;
    if (stat(path, &st) != 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? CM_OK : cmi_file_fail("look at", path);
    *kind = kind_of(&st);
    return CM_OK;
}

cm_status cmi_directory_sync(const char *path)
{
    int result, fd = cmi_file_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return cmi_file_fail("open", path);
    do result = fsync(fd);
    while (result != 0 && errno == EINTR);
    /* File systems that cannot flush a directory say EINVAL. */
    cm_status status = result != 0 && errno != EINVAL ? cmi_file_fail("flush to the disk", path) : CM_OK;
    (void)close(fd);
    return status;
}

cm_status cmi_path_rename(const char *from, const char *to)
{
    if (rename(from, to) != 0) return cmi_file_fail("rename to", to);
    return CM_OK;
}

char *cmi_path_join(cm_context *context, const char *a, const char *b)
{
    size_t n = strlen(a) + strlen(b) + 2;
    char *path = cmi_malloc(context, n, 1);
    if (path) (void)snprintf(path, n, "%s/%s", a, b);
    return path;
}

/* --- names ------------------------------------------------------------------------ */

cm_status cmi_names_add(cm_names *names, const char *name)
{
    char **list = cmi_grown(names->context, names->name, sizeof *list, names->count, &names->capacity);
    if (!list) return CM_ERR_MEMORY;
    names->name = list;
    names->name[names->count] = cmi_strdup(names->context, name);
    if (!names->name[names->count]) return CM_ERR_MEMORY;
    names->count++;
    return CM_OK;
}

static int in_byte_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(cm_names *names)
{
    if (names->count > 1) qsort(names->name, names->count, sizeof *names->name, in_byte_order);
}

void cmi_names_free(cm_names *names)
{
    for (size_t i = 0; i < names->count; i++) cmi_free(names->context, names->name[i]);
    if (names->context) cmi_free(names->context, names->name);
    memset(names, 0, sizeof *names);
}

cm_status cmi_directory_each(const char *path, cm_name_fn call, void *user)
{
    cm_status status = CM_OK;
    const struct dirent *entry;
    DIR *directory = opendir(path);
    if (!directory) return cmi_file_fail("list", path);
    for (errno = 0; status == CM_OK && (entry = readdir(directory)) != NULL; errno = 0)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) status = call(user, entry->d_name);
    if (status == CM_OK && errno) status = cmi_file_fail("list", path);
    (void)closedir(directory);
    return status;
}

static cm_status add_name(void *user, const char *name)
{
    return cmi_names_add(user, name);
}

cm_status cmi_directory_list(cm_context *context, const char *path, cm_names *out)
{
    memset(out, 0, sizeof *out);
    out->context = context;
    const cm_status status = cmi_directory_each(path, add_name, out);
    if (status != CM_OK) cmi_names_free(out);
    else sort(out);
    return status;
}

/* What is in a directory that goes; `removed` counts it. */
typedef struct {
    const char *path;
    size_t removed;
} emptied;

static cm_status remove_entry(void *user, const char *name)
{
    emptied *e = user;
    char child[PATH_MAX];
    const int n = snprintf(child, sizeof child, "%s/%s", e->path, name);
    if (n < 0 || (size_t)n >= sizeof child) CM_FAIL(CM_ERR_LIMIT, "cannot remove '%s': the path is too long", name);
    CM_TRY(cmi_directory_remove(child));
    e->removed++;
    return CM_OK;
}

/* No memory is asked for: what a lack of it left half-written goes too.  Where a file system passes over names while
 * others go, it is read again. */
cm_status cmi_directory_remove(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0) return CM_OK;
    if (!S_ISDIR(st.st_mode)) return unlink(path) == 0 ? CM_OK : cmi_file_fail("remove", path);
    for (;;) {
        emptied e = {path, 0};
        CM_TRY(cmi_directory_each(path, remove_entry, &e));
        if (rmdir(path) == 0) return CM_OK;
        if (errno != ENOTEMPTY || !e.removed) return cmi_file_fail("remove", path);
    }
}

/* --- locks ------------------------------------------------------------------------- */

/* Of the open file, not of the process: two owners in one process keep each other out,
 * and closing another descriptor of the file drops nothing.  0 or errno. */
static int try_lock(int descriptor)
{
#ifdef F_OFD_SETLK
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(descriptor, F_OFD_SETLK, &lock) == 0) return 0;
    if (errno != EINVAL) return errno; /* else the kernel is older than these locks */
#endif
    return flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

/* Whether the file of that descriptor is one of those that are locked already. */
static cm_status is_held(const cm_locks *l, const char *path, int descriptor, int *held)
{
    struct stat file, other;
    *held = 0;
    if (fstat(descriptor, &file) != 0) return cmi_file_fail("look at", path);
    for (size_t i = 0; i < l->count && !*held; i++) {
        if (fstat(l->descriptor[i], &other) != 0) return cmi_file_fail("look at", path);
        *held = file.st_dev == other.st_dev && file.st_ino == other.st_ino;
    }
    return CM_OK;
}

static cm_status hold(cm_locks *l, int descriptor)
{
    int *list = cmi_grown(l->context, l->descriptor, sizeof *list, l->count, &l->capacity);
    if (!list) return CM_ERR_MEMORY;
    l->descriptor = list;
    l->descriptor[l->count++] = descriptor;
    return CM_OK;
}

static cm_status lock_file(cm_locks *l, const char *path, int descriptor)
{
    int error = try_lock(descriptor);
    if (error == EACCES || error == EAGAIN)
        CM_FAIL(CM_ERR_STATE, "'%s' is locked: another trainer is at work in this directory", path);
    errno = error;
    return error ? cmi_file_fail("lock", path) : hold(l, descriptor);
}

cm_status cmi_locks_take(cm_locks *l, const char *path)
{
    int descriptor = cmi_file_open(path, O_RDWR | O_CREAT, 0666);
    if (descriptor < 0) return cmi_file_fail("open", path);
    int held;
    cm_status status = is_held(l, path, descriptor, &held);
    if (status == CM_OK && !held) status = lock_file(l, path, descriptor);
    if (held || status != CM_OK) (void)close(descriptor);
    return status;
}

void cmi_locks_release(cm_locks *l, size_t keep)
{
    while (l->count > keep) (void)close(l->descriptor[--l->count]);
    if (keep) return;
    cmi_free(l->context, l->descriptor);
    *l = (cm_locks){.context = l->context};
}
