/* foreign.h - what a file is that is not what was asked for. */
#ifndef CM_IO_FOREIGN_H
#define CM_IO_FOREIGN_H

#include <stddef.h>

typedef struct cm_foreign {
    const char *what; /* "a Git LFS pointer, ...": with what to do about it where that helps */
    int is_model;     /* 1: another kind of model file                                   */
} cm_foreign;

/* By the first bytes; NULL where they say nothing. */
const cm_foreign *cmi_foreign_kind(const unsigned char *bytes, size_t size);

#endif
