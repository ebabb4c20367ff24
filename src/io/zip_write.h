/* zip_write.h - a zip archive whose members are stored as they are and aligned, and that appears whole or not at all.
 *
 * What io/zip_directory.h reads.  Libzip, which writes other archives, neither aligns members nor writes through the
 * file writer of io/file.h. */
#ifndef CM_IO_ZIP_WRITE_H
#define CM_IO_ZIP_WRITE_H

#include "io/write_tensors.h"

enum { CM_ZIP_ALIGNMENT = 64, CM_ZIP_NAME = 48 };

typedef struct cm_zip_entry {
    char name[CM_ZIP_NAME];
    uint64_t header, size; /* where its local header begins */
    uint32_t crc;
} cm_zip_entry;

typedef struct cm_zip_writer {
    cm_file_writer file;
    uint64_t at;    /* bytes written */
    uint64_t large; /* from here on a number takes 64 bits: 2^32 - 1; tests set less after begin */
    cm_zip_entry *entries;
    size_t count, capacity; /* members so far, and at most */
} cm_zip_writer;

/* For at most `members` of them.  It ends with commit or abort. */
cm_status cmi_zip_begin(cm_context *context, const char *path, int overwrite, size_t members, cm_zip_writer *out);
/* A member; names are ASCII and shorter than CM_ZIP_NAME.  report NULL: its bytes are no weights. */
cm_status cmi_zip_add(cm_zip_writer *writer, const char *name, const void *bytes, size_t size,
                      cm_write_report *report);
cm_status cmi_zip_commit(cm_zip_writer *writer);
void cmi_zip_abort(cm_zip_writer *writer);

#endif
