/* recast.h - tensors that are made of others when they are read: renamed, of another type, three joined to one, or
 * one of three taken out of one.
 *
 * A list of them is a list of tensors like any other: it can be bound to a network, written to a file, or derived
 * from again.  The tensors that it is made of have to stay.
 *
 * Joining and splitting are about attention, whose queries, keys and values are one tensor in some checkpoints and
 * three in others.  `blocks` is in how many pieces each of the three lies in the one: with 1 all queries come first,
 * then all keys, then all values; with as many as there are heads those of each head stand together. */
#ifndef CM_IO_RECAST_H
#define CM_IO_RECAST_H

#include "io/tensors.h"

enum { CM_RECAST_PARTS = 3 };

typedef struct cm_recast {
    const cm_tensor *of[CM_RECAST_PARTS]; /* one, or the parts that are joined */
    size_t blocks;                        /* 0: nothing is joined or split      */
    int part;                             /* of the three, where one is split   */
} cm_recast;

/* An empty list for at most `capacity` tensors; `name` begins messages.  It ends with cmi_tensors_close. */
cm_status cmi_recast_begin(cm_context *context, const char *name, size_t capacity, cm_tensors *out);
/* Names are borrowed.  The same values in another type: NUMERIC when one that is read becomes infinite by it. */
cm_status cmi_recast_convert(cm_tensors *list, const char *name, const cm_tensor *of, cm_tensor_type type);
cm_status cmi_recast_rename(cm_tensors *list, const char *name, const cm_tensor *of);
/* Part 0, 1 or 2 of the rows. */
cm_status cmi_recast_split(cm_tensors *list, const char *name, const cm_tensor *of, int part, size_t blocks);

/* The bytes of a tensor that is so made. */
cm_status cmi_recast_read(const cm_tensor *tensor, const cm_recast *how, void *out);
/* Count and bytes from the shape and the type; 0 when they overflow. */
int cmi_tensor_measure(cm_tensor *tensor);

#endif
