/* zip.h - a zip archive for reading, over libzip: names checked, sizes bounded. */
#ifndef CM_IO_ZIP_H
#define CM_IO_ZIP_H

#include "io/file.h"

typedef struct cm_zip cm_zip;

/* Whether a file begins like a zip archive. */
cm_status cmi_zip_is(const char *path, int *is);
/* FORMAT for damage that libzip's consistency check finds. */
cm_status cmi_zip_open(cm_context *context, const char *path, cm_zip **out);
void cmi_zip_close(cm_zip *zip);
size_t cmi_zip_count(const cm_zip *zip);
/* Borrowed; a folder's name ends in "/". */
const char *cmi_zip_name(const cm_zip *zip, size_t index);
uint64_t cmi_zip_size(const cm_zip *zip, size_t index);
/* 1 for a symbolic link, whose content is where it leads. */
int cmi_zip_is_link(const cm_zip *zip, size_t index);
/* Up to n bytes from the beginning of an entry; fewer when it is shorter or damaged. */
cm_status cmi_zip_head(cm_zip *zip, size_t index, unsigned char *out, size_t n, size_t *got);
/* The whole entry, CRC checked; *data is the caller's (cmi_free), with a NUL behind. */
cm_status cmi_zip_read(cm_zip *zip, size_t index, unsigned char **data, size_t *size);

#endif
