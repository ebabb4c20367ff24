/* directory.h - directories that appear whole, lists of names, locks. */
#ifndef CM_IO_DIRECTORY_H
#define CM_IO_DIRECTORY_H

#include "io/file.h"

/* An existing directory is fine. */
cm_status cmi_directory_make(const char *path);
int cmi_path_exists(const char *path);
cm_status cmi_directory_sync(const char *path);
/* With everything in it; a missing one is fine. */
cm_status cmi_directory_remove(const char *path);
cm_status cmi_path_rename(const char *from, const char *to);

/* Names in byte order, without "." and "..". */
typedef struct cm_names {
    cm_context *context;
    char **name;
    size_t count, capacity;
} cm_names;
cm_status cmi_directory_list(cm_context *context, const char *path, cm_names *out);
/* A call for each of them, in any order, up to one that fails. */
typedef cm_status (*cm_name_fn)(void *user, const char *name);
cm_status cmi_directory_each(const char *path, cm_name_fn call, void *user);
cm_status cmi_names_add(cm_names *names, const char *name);
void cmi_names_free(cm_names *names);

/* "a/b" of the context. */
char *cmi_path_join(cm_context *context, const char *a, const char *b);
typedef enum cm_path_kind {
    CM_PATH_MISSING, /* a link that leads nowhere as well */
    CM_PATH_DIRECTORY,
    CM_PATH_FILE, /* a regular one */
    CM_PATH_OTHER /* a device, a pipe, a socket */
} cm_path_kind;

/* What a path is, through symbolic links.  One that cannot be looked at (not permitted, a drive that is away) is no
 * missing one: IO. */
cm_status cmi_path_look(const char *path, cm_path_kind *kind);

/* The locked files of one owner.  A lock ends with cmi_locks_release or with the process
 * and the children it has forked that have not exec'ed. */
typedef struct cm_locks {
    cm_context *context;
    int *descriptor;
    size_t count, capacity;
} cm_locks;
/* Locks a file, made when missing, for this owner alone; one that it holds is fine.
 * STATE when another owner holds it, of this process or any other. */
cm_status cmi_locks_take(cm_locks *locks, const char *path);
/* All but the first `keep`. */
void cmi_locks_release(cm_locks *locks, size_t keep);

#endif
