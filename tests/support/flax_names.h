/* flax_names.h - where the tensors of a flax NCSN++ checkpoint belong in the
 * SongUNet of the same configuration (networks C.2). */
#ifndef TESTS_FLAX_NAMES_H
#define TESTS_FLAX_NAMES_H

#include "graph/graph.h"
#include "nets/config.h"

typedef enum cm_flax_kind {
    CM_FLAX_COPY,  /* same shape                                             */
    CM_FLAX_CONV,  /* [h, w, in, out] -> [out, in, h, w]                     */
    CM_FLAX_DENSE, /* [in, out] -> [out, in] (or [out, in, 1, 1])            */
    CM_FLAX_QKV    /* a third of qkv: row (or element) 3 c + part from c     */
} cm_flax_kind;

typedef struct cm_flax_name {
    const char *song, *flax;
    cm_flax_kind kind;
    int part; /* CM_FLAX_QKV: 0 q, 1 k, 2 v */
} cm_flax_name;

/* Calls emit for every tensor, in the order flax creates them; a non-zero
 * result ends the walk and comes back. */
typedef int (*cm_flax_fn)(void *user, const cm_flax_name *name);
int cmi_flax_names(const cm_graph *graph, const cm_net_config *config, cm_flax_fn emit, void *user);

#endif
