/* names.h - the parameters of a network under the names and in the orders of another framework.
 *
 * A naming is a row that a family points to.  Its walk says of each tensor of such a file which parameter it is, or
 * which part of one, and in which order its values stand there.  cmi_names_apply turns the tensors of a file into
 * tensors as the graph has them: those whose values stand in the same order lie where they were, the others are
 * rearranged when somebody reads them, in the type that the file has. */
#ifndef CM_NETS_NAMES_H
#define CM_NETS_NAMES_H

#include "graph/graph.h"
#include "io/tensors.h"
#include "nets/config.h"
#include "nets/recognise.h"

typedef enum cm_name_order {
    CM_ORDER_SAME,
    CM_ORDER_HWIO, /* [h, w, in, out] of [out, in, h, w]                */
    CM_ORDER_IO    /* [in, out] of [out, in], and of [out, in, 1, 1]    */
} cm_name_order;

/* Of a parameter in several parts, the rows (first dimension) of part p out of n: one part behind the other, or row
 * n c + p from row c of the part. */
typedef enum cm_name_parts { CM_PARTS_STACKED, CM_PARTS_INTERLEAVED } cm_name_parts;

typedef struct cm_net_name {
    const char *param; /* in the graph */
    const char *name;  /* in the file  */
    cm_name_order order;
    int part, parts; /* 0 of 1: the whole parameter */
    cm_name_parts rows;
} cm_net_name;

/* A non-zero result ends the walk and comes back. */
typedef int (*cm_net_name_fn)(void *user, const cm_net_name *name);

typedef struct cm_naming {
    const char *name; /* "flax" */
    /* Whether a file's tensors are called so; which network they are (out->network stays NULL where that is not
     * clear). */
    int (*knows)(const cm_tensors *file);
    cm_status (*recognise)(const cm_tensors *file, cm_recognised *out);
    int (*walk)(const cm_graph *graph, const cm_net_config *config, cm_net_name_fn emit, void *user);
} cm_naming;

extern const cm_naming cmi_naming_flax;

/* Lists the tensors of `file` as the graph's parameters are called in `out`, and what no parameter is made of as it
 * is; SHAPE where two parts of a parameter do not go together.  `file` has to outlive `out` and keep its place, and
 * so has `out`, which cmi_tensors_close closes. */
cm_status cmi_names_apply(const cm_naming *naming, const cm_graph *graph, const cm_net_config *config,
                          const cm_tensors *file, cm_tensors *out);

#endif
