/* npy.h - the header of a NumPy array in memory. */
#ifndef CM_IO_NPY_H
#define CM_IO_NPY_H

#include "base/context.h"

typedef struct cm_npy {
    char kind;   /* 'u', 'i', 'f', 'b'             */
    int bytes;   /* of an element                  */
    int swapped; /* 1: big-endian                  */
    int fortran; /* 1: the first index runs fastest */
    int rank;
    size_t shape[8], count;
    size_t begin; /* of its elements, behind the header */
    const unsigned char *data;
} cm_npy;

enum { CM_NPY_HEAD = 4108 /* bytes that hold every header that is read */ };

/* Versions 1 to 3; object arrays and everything that is not a plain number are
 * refused; the data has to fill what is left exactly. */
cm_status cmi_npy_parse(const char *name, const unsigned char *bytes, size_t size, cm_npy *out);
/* The same of the first n bytes of an array of `size` bytes, CM_NPY_HEAD of them or all; `data` stays NULL. */
cm_status cmi_npy_check(const char *name, const unsigned char *bytes, size_t n, size_t size, cm_npy *out);
/* Element i in memory order as a double (exact for integers below 2^53). */
double cmi_npy_value(const cm_npy *array, size_t i);

#endif
