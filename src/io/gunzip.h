/* gunzip.h - a file that may be packed by gzip, from its beginning to its end. */
#ifndef CM_IO_GUNZIP_H
#define CM_IO_GUNZIP_H

#include "io/file.h"

typedef struct cm_gunzip cm_gunzip;

cm_status cmi_gunzip_open(cm_context *context, const char *path, cm_gunzip **out);
void cmi_gunzip_close(cm_gunzip *g);
/* *got bytes: fewer than `size` where the file ends, is cut short or is damaged. */
cm_status cmi_gunzip_read(cm_gunzip *g, void *out, size_t size, size_t *got);
/* Of the file as it lies there. */
size_t cmi_gunzip_file_size(const cm_gunzip *g);
int cmi_gunzip_is_packed(const cm_gunzip *g);
/* What was unpacked is wrong or cut; of its end, where the checksum stands, after a read beyond it. */
int cmi_gunzip_is_damaged(const cm_gunzip *g);

#endif
