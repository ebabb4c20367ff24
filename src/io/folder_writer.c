/* folder_writer.c - see the header. */
#define _GNU_SOURCE /* renameat2 */
#include "io/folder_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/directory.h"

enum { DEPTH = 3 }; /* of what is removed: folder, folder in it, file */

/* --- removing, without memory of the context ------------------------------------------------ */

static void remove_tree(int parent, const char *name, int depth)
{
    struct dirent *entry;
    if (unlinkat(parent, name, 0) == 0 || depth == 0) return;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        if (fd >= 0) (void)close(fd);
        return;
    }
    while ((entry = readdir(directory)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_tree(dirfd(directory), entry->d_name, depth - 1);
    (void)closedir(directory);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

/* --- what is there --------------------------------------------------------------------------- */

static int is_mine(const char *const *mine, const char *name)
{
    for (; *mine; mine++) {
        size_t n = strlen(*mine);
        if ((*mine)[n - 1] == '*' ? strncmp(*mine, name, n - 1) == 0 : strcmp(*mine, name) == 0) return 1;
    }
    return 0;
}

/* Everything below `inside` ("" or "unet") of the folder. */
static cm_status check_contents(const cm_folder_writer *w, const char *inside, int depth)
{
    cm_names names;
    cm_status status = CM_OK;
    char *folder = *inside ? cmi_path_join(w->context, w->path, inside) : cmi_strdup(w->context, w->path);
    if (!folder) return CM_ERR_MEMORY;
    status = cmi_directory_list(w->context, folder, &names);
    cmi_free(w->context, folder);
    CM_TRY(status);
    for (size_t i = 0; i < names.count && status == CM_OK; i++) {
        char name[512], whole[4096 + 512];
        struct stat st;
        (void)snprintf(name, sizeof name, "%s%s%.255s", inside, *inside ? "/" : "", names.name[i]);
        (void)snprintf(whole, sizeof whole, "%.4095s/%s", w->path, name);
        int is_folder = lstat(whole, &st) == 0 && S_ISDIR(st.st_mode);
        if (!w->overwrite)
            status = cmi_fail(
                CM_ERR_IO, "'%s' exists already; it was left as it is (ask for overwriting to replace it)", w->path);
        else if (!is_mine(w->mine, name) || (is_folder && depth == 0))
            status = cmi_fail(CM_ERR_IO, "'%s' holds '%s', which is no part of such a model; it was left as it is",
                              w->path, name);
        else if (is_folder) status = check_contents(w, name, depth - 1);
    }
    cmi_names_free(&names);
    return status;
}

/* *mode: of the folder that is there; 0 when there is none. */
static cm_status check_place(const cm_folder_writer *w, mode_t *mode)
{
    struct stat st;
    *mode = 0;
    if (lstat(w->path, &st) != 0) return errno == ENOENT ? CM_OK : cmi_file_fail("write", w->path);
    if (!S_ISDIR(st.st_mode))
        CM_FAIL(CM_ERR_IO, "cannot write '%s': it is a file, and a folder is to be written; it was left as it is",
                w->path);
    *mode = st.st_mode & 0777;
    return check_contents(w, "", 1);
}

/* --- the temporary folder -------------------------------------------------------------------- */

static void reset(cm_folder_writer *w)
{
    cmi_free(w->context, w->path);
    cmi_free(w->context, w->temporary);
    w->path = w->temporary = NULL;
    w->made = 0;
}

static cm_status make_temporary(cm_folder_writer *w)
{
    size_t size = strlen(w->path) + CM_FILE_TEMPORARY;
    w->temporary = cmi_file_temporary_name(w->context, w->path, size);
    if (!w->temporary) return CM_ERR_MEMORY;
    size_t stem = strlen(w->temporary);
    for (int attempt = 0; !w->made; attempt++) {
        (void)snprintf(w->temporary + stem, size - stem, "%d", attempt);
        w->made = mkdir(w->temporary, 0777) == 0;
        if (!w->made && errno == ENOENT)
            CM_FAIL(CM_ERR_IO, "cannot create '%s': No such file or directory (its folder has to be made first)",
                    w->path);
        if (!w->made && (errno != EEXIST || attempt == 999)) return cmi_file_fail("create", w->path);
    }
    return CM_OK;
}

static char *without_slashes(cm_context *context, const char *path)
{
    char *copy = cmi_strdup(context, path);
    size_t n = copy ? strlen(copy) : 0;
    while (n > 1 && copy[n - 1] == '/') copy[--n] = '\0';
    return copy;
}

cm_status cmi_folder_begin(cm_context *context, const char *path, int overwrite, const char *const *mine,
                           cm_folder_writer *w)
{
    mode_t mode;
    *w = (cm_folder_writer){.context = context, .mine = mine, .overwrite = overwrite};
    char *plain = without_slashes(context, path);
    if (!plain) return CM_ERR_MEMORY;
    cm_status status = cmi_file_follow(context, plain, &w->path);
    cmi_free(context, plain);
    if (status == CM_OK) status = check_place(w, &mode);
    if (status == CM_OK) status = make_temporary(w);
    if (status != CM_OK) reset(w);
    return status;
}

char *cmi_folder_path(const cm_folder_writer *w, const char *name)
{
    return cmi_path_join(w->context, w->temporary, name);
}

cm_status cmi_folder_add(cm_folder_writer *w, const char *name)
{
    char *path = cmi_folder_path(w, name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_directory_make(path);
    cmi_free(w->context, path);
    return status;
}

/* --- its place -------------------------------------------------------------------------------- */

/* Where file systems cannot exchange two names: the old one steps aside for a moment. */
static cm_status replace_in_steps(const cm_folder_writer *w)
{
    char *aside = cmi_malloc(w->context, strlen(w->temporary) + 5, 1);
    if (!aside) return CM_ERR_MEMORY;
    (void)snprintf(aside, strlen(w->temporary) + 5, "%s.old", w->temporary);
    cm_status status = CM_OK;
    if (rename(w->path, aside) != 0) status = cmi_file_fail("rename", w->path);
    else if (rename(w->temporary, w->path) != 0) {
        status = cmi_file_fail("rename the temporary folder to", w->path);
        if (rename(aside, w->path) != 0)
            status = cmi_fail(CM_ERR_IO, "cannot rename the temporary folder to '%s'; the old one is now '%s'",
                              w->path, aside);
    } else {
        remove_tree(AT_FDCWD, aside, DEPTH);
    }
    cmi_free(w->context, aside);
    return status;
}

/* A folder that is not empty cannot be renamed upon. */
static cm_status put_in_place(const cm_folder_writer *w, int replaces)
{
    if (rename(w->temporary, w->path) == 0) return CM_OK;
    if (!replaces || (errno != ENOTEMPTY && errno != EEXIST))
        return cmi_file_fail("rename the temporary folder to", w->path);
#ifdef RENAME_EXCHANGE
    if (renameat2(AT_FDCWD, w->temporary, AT_FDCWD, w->path, RENAME_EXCHANGE) == 0) {
        remove_tree(AT_FDCWD, w->temporary, DEPTH);
        return CM_OK;
    }
#endif
    return replace_in_steps(w);
}

static cm_status publish(cm_folder_writer *w)
{
    mode_t mode;
    CM_TRY(check_place(w, &mode));
    if (mode && chmod(w->temporary, mode) != 0) return cmi_file_fail("keep the permissions of", w->path);
    CM_TRY(cmi_directory_sync(w->temporary));
    return put_in_place(w, mode != 0);
}

cm_status cmi_folder_commit(cm_folder_writer *w)
{
    cm_status status = publish(w);
    if (status != CM_OK) {
        cmi_folder_abort(w);
        return status;
    }
    cmi_file_flush_directory(w->path);
    reset(w);
    return CM_OK;
}

void cmi_folder_abort(cm_folder_writer *w)
{
    if (w->made) remove_tree(AT_FDCWD, w->temporary, DEPTH);
    reset(w);
}
