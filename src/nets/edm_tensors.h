/* edm_tensors.h - the tensors of a file by the names that EDM's and EDM2's networks have for them. */
#ifndef CM_NETS_EDM_TENSORS_H
#define CM_NETS_EDM_TENSORS_H

#include "io/tensors.h"

typedef struct cm_edm_tensors {
    const cm_tensors *file;
    const char *prefix; /* of every name of the network */
} cm_edm_tensors;

/* The tensor whose name is the prefix and this, or NULL. */
const cm_tensor *cmi_edm_tensor(const cm_edm_tensors *e, const char *format, ...) CM_PRINTF(2, 3);
/* A dimension of a tensor, 0 where there is none. */
int64_t cmi_edm_dimension(const cm_tensor *t, int which);
/* The side of the pictures by "enc.SIDExSIDE_conv.weight", 0 where no name says it. */
int cmi_edm_side(const cm_edm_tensors *e);

#endif
