/* arena.h - lifetimes to places: buffers that are never alive at the same step
 * may share memory. */
#ifndef CM_GRAPH_ARENA_H
#define CM_GRAPH_ARENA_H

#include "base/context.h"

typedef struct cm_span {
    size_t size, offset; /* bytes, multiples of 64; offset is the result */
    int first, last;     /* first write, last read, as numbers of steps   */
    int root;            /* the span whose memory this one takes over, or itself */
} cm_span;

/* Sets the offsets of all n spans; *total is the size of the arena.  First fit,
 * largest first. */
cm_status cmi_arena_place(cm_context *context, cm_span *spans, int n, size_t *total);

#endif
