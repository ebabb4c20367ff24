/* tar_write.h - a ustar archive of files without times and owners, which appears whole or not at all. */
#ifndef CM_DATA_TAR_WRITE_H
#define CM_DATA_TAR_WRITE_H

#include "io/file.h"

typedef struct cm_tar_writer {
    cm_file_writer file;
} cm_tar_writer;

/* It ends with commit or abort. */
cm_status cmi_tar_begin(cm_context *context, const char *path, int overwrite, cm_tar_writer *out);
/* A member; names above 100 bytes are written as GNU's long ones. */
cm_status cmi_tar_add(cm_tar_writer *writer, const char *name, const void *bytes, size_t size);
cm_status cmi_tar_commit(cm_tar_writer *writer);
void cmi_tar_abort(cm_tar_writer *writer);

#endif
