/* flax.h - what the two halves of the reader of flax's states share: flax.c chooses a tree, flax_tree.c lists its
 * arrays. */
#ifndef CM_IO_FLAX_H
#define CM_IO_FLAX_H

#include "io/tensors.h"

/* Bytes of a tensor in the file; one of several has more. */
typedef struct cm_flax_piece {
    size_t at, size;
} cm_flax_piece;

/* cm_tensors.state */
typedef struct cm_flax {
    cm_flax_piece *pieces; /* of all tensors, those of one behind the other from cm_tensor.offset on */
    char *names;
    char weights[64], step[32];
} cm_flax;

/* Lists the arrays of the map of maps that begins at `at`, which cmi_msgpack_check has found whole. */
cm_status cmi_flax_list_tree(cm_tensors *tensors, size_t at);

#endif
