/* file.h - reading a file by copy or through a mapping, and writing one that
 * appears whole or not at all. */
#ifndef CM_IO_FILE_H
#define CM_IO_FILE_H

#include "base/context.h"

typedef struct cm_mapping {
    const unsigned char *data; /* NULL for an empty file */
    size_t size;
} cm_mapping;

/* "cannot DOING 'PATH': REASON" from errno: CM_ERR_IO, or CM_ERR_MEMORY where that is the reason. */
cm_status cmi_file_fail(const char *doing, const char *path);

/* open(2), never 0, 1 or 2, closed on exec; -1 with errno. */
int cmi_file_open(const char *path, int flags, unsigned mode);
/* What was written reaches the disk: fsync(2). */
cm_status cmi_file_flush(int descriptor, const char *path);

/* A regular file that is read by copy: what others do to it meanwhile ends in a status.  Directories, devices and
 * pipes are refused. */
typedef struct cm_file_reader {
    cm_context *context;
    char *path;
    int descriptor; /* -1: not open */
    size_t size;    /* when it was opened */
} cm_file_reader;

cm_status cmi_file_reader_open(cm_context *context, const char *path, cm_file_reader *out);
void cmi_file_reader_close(cm_file_reader *reader);
/* Exactly `size` bytes from `offset` on; IO when the file has become shorter. */
cm_status cmi_file_reader_read(const cm_file_reader *reader, size_t offset, void *out, size_t size);
/* The whole of a file of at most `limit` bytes (else LIMIT); *data is the caller's (cmi_free), with a NUL behind. */
cm_status cmi_file_read(cm_context *context, const char *path, size_t limit, unsigned char **data, size_t *size);
/* The first bytes of a regular file: *got of them, at most `size`. */
cm_status cmi_file_peek(const char *path, void *out, size_t size, size_t *got);

/* A mapping, read-only: where the file is cut short later, touching it ends the process.  For weights alone. */
cm_status cmi_file_reader_map(const cm_file_reader *reader, cm_mapping *out);
void cmi_mapping_close(cm_mapping *mapping);
/* The pages wholly inside [data, data + size) are not needed for now. */
void cmi_mapping_forget(const void *data, size_t size);

/* Write to `path`.tmp-PID-N (a long name is cut there) in the same directory, then commit: fsync, rename,
 * fsync of the directory.  Abort (or a failed commit) removes the temporary
 * file; a failing call leaves `path` as it was.  Symbolic links are followed first:
 * they stay, and the file that they lead to is written.  A file that is replaced
 * hands on its permissions; directories, devices, pipes and sockets are refused. */
typedef struct cm_file_writer {
    cm_context *context;
    char *path, *temporary; /* path: the end of its links */
    int descriptor;         /* -1: not open */
    int overwrite;
} cm_file_writer;

/* overwrite 0: an existing `path` is an error, now and at commit; a directory always is. */
cm_status cmi_file_create(cm_context *context, const char *path, int overwrite, cm_file_writer *out);
cm_status cmi_file_write(cm_file_writer *writer, const void *data, size_t size);
cm_status cmi_file_commit(cm_file_writer *writer);
void cmi_file_abort(cm_file_writer *writer);

/* For writers of other things than one file.  The end of the links that begin at `path`, whether or not anything is
 * there. */
cm_status cmi_file_follow(cm_context *context, const char *path, char **out);
/* "PATH.tmp-PID-" in `size` bytes, CM_FILE_TEMPORARY more than the path has: room for a number.  NULL: MEMORY. */
enum { CM_FILE_TEMPORARY = 48 };
char *cmi_file_temporary_name(cm_context *context, const char *path, size_t size);
/* After a rename: the name in its folder reaches the disk, where that can be flushed.  `path` is changed meanwhile.
 */
void cmi_file_flush_directory(char *path);

#endif
