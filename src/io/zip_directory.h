/* zip_directory.h - where the members of a zip archive lie in it, for archives whose members are stored as they are.
 *
 * libzip (io/zip.h) reads what is compressed and does not tell where the bytes of a member begin.  Weights are used
 * where they lie, so this reads the archive's directory itself, by strict rules: the directory is the truth; every
 * member is stored, not encrypted, and lies wholly before the directory; no two overlap; local headers agree in name
 * and method; no name stands there twice, is absolute, or has a backslash or "..". */
#ifndef CM_IO_ZIP_DIRECTORY_H
#define CM_IO_ZIP_DIRECTORY_H

#include "io/input.h"

typedef struct cm_zip_member {
    const char *name; /* UTF-8 */
    size_t at, size;  /* its bytes in the input */
    uint32_t crc;     /* 0 with a size: nobody has computed it */
} cm_zip_member;

typedef struct cm_zip_directory {
    cm_context *context;
    unsigned char *text; /* the directory; names are in it */
    cm_zip_member *members;
    size_t count;
} cm_zip_directory;

/* FORMAT, UNSUPPORTED (compressed or encrypted members, several disks), LIMIT, IO, MEMORY; closed when it fails. */
cm_status cmi_zip_directory_read(const cm_input *input, cm_zip_directory *out);
void cmi_zip_directory_close(cm_zip_directory *directory);
/* NULL when there is none of that name. */
const cm_zip_member *cmi_zip_directory_find(const cm_zip_directory *directory, const char *name);
/* FORMAT where a member is not what its checksum says. */
cm_status cmi_zip_member_check(const cm_input *input, const cm_zip_member *member);

#endif
