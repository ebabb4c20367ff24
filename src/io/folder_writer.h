/* folder_writer.h - a folder of files that appears whole or not at all: it is made beside its place under another
 * name and renamed. */
#ifndef CM_IO_FOLDER_WRITER_H
#define CM_IO_FOLDER_WRITER_H

#include "io/file.h"

typedef struct cm_folder_writer {
    cm_context *context;
    char *path, *temporary;  /* path: the end of its links, without slashes behind */
    const char *const *mine; /* what such a folder holds, see below                */
    int overwrite, made;     /* made: `temporary` is there                         */
} cm_folder_writer;

/* `mine`: names of folders and files below, relative to it, a '*' at the end for any; NULL ends them.  Where there is
 * a folder already it has to be empty, or with `overwrite` to hold nothing else: IO, now and at commit. */
cm_status cmi_folder_begin(cm_context *context, const char *path, int overwrite, const char *const *mine,
                           cm_folder_writer *out);
/* A folder within, and the path under which a file within is written now (the caller's, cmi_free). */
cm_status cmi_folder_add(cm_folder_writer *writer, const char *name);
char *cmi_folder_path(const cm_folder_writer *writer, const char *name);
/* Renames; what was replaced is removed.  A failed commit leaves the place as it was and nothing beside.  Where the
 * file system cannot exchange two names the old folder steps aside as TEMPORARY.old: there alone it can happen (the
 * process ends between two renames, or they fail to the last) that the old folder is left there, whole. */
cm_status cmi_folder_commit(cm_folder_writer *writer);
void cmi_folder_abort(cm_folder_writer *writer);

#endif
