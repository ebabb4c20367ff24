/* npz.h - NumPy's archives of arrays: a zip of NAME.npy. */
#ifndef CM_IO_NPZ_H
#define CM_IO_NPZ_H

#include "io/npy.h"
#include "io/zip.h"

typedef struct cm_npz cm_npz;

/* IO; FORMAT for what is no zip archive, with what it is where that is known. */
cm_status cmi_npz_open(cm_context *context, const char *path, cm_npz **out);
void cmi_npz_close(cm_npz *npz);
int cmi_npz_has(const cm_npz *npz, const char *name);
/* The array of member `index` of an archive, `what` in messages: nothing is taken for it before its header agrees
 * with its size.  *bytes is the caller's (cmi_free). */
cm_status cmi_npz_member(cm_context *context, cm_zip *zip, size_t index, const char *what, unsigned char **bytes,
                         cm_npy *out);
/* Array NAME; FORMAT when there is none, and its checksum is compared.  Its bytes are the archive's until that is
 * closed or another array is read. */
cm_status cmi_npz_read(cm_npz *npz, const char *name, cm_npy *out);
/* A text that was written as bytes; FORMAT for another array, and for one that does not fit. */
cm_status cmi_npz_read_text(cm_npz *npz, const char *name, size_t size, char *text);
/* Element (i, j, ...) in C order as doubles, whatever the order and type of the array. */
void cmi_npy_doubles(const cm_npy *array, double *out);

/* An array to write: elements in C order, of this machine's (little-endian) form. */
typedef struct cm_npz_array {
    const char *name, *descr; /* "mu", "<f8" */
    int rank;
    size_t shape[4], bytes; /* of an element */
    const void *data;
} cm_npz_array;
cm_npz_array cmi_npz_text(const char *name, const char *text);
/* Stored members; whole or not at all (io/file.h). */
cm_status cmi_npz_write(cm_context *context, const char *path, int overwrite, const cm_npz_array *arrays, size_t n);

#endif
