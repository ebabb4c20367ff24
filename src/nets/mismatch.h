/* mismatch.h - tensors that do not fit their network, in words. */
#ifndef CM_NETS_MISMATCH_H
#define CM_NETS_MISMATCH_H

#include "nets/checkpoint.h"

/* What became of a tensor of the file. */
typedef enum cm_match_kind {
    CM_MATCH_FITS,
    CM_MATCH_UNKNOWN, /* no parameter is called so                                    */
    CM_MATCH_TWICE,   /* with the family's prefix and without it                      */
    CM_MATCH_SHAPE,   /* another shape                                                */
    CM_MATCH_TYPE,    /* no float                                                     */
    CM_MATCH_FILTER   /* a constant whose values are not those of the configuration   */
} cm_match_kind;

typedef struct cm_match {
    cm_match_kind kind;
    int parameter; /* of UNKNOWN: none */
} cm_match;

typedef struct cm_matching {
    const char *path; /* for messages */
    const cm_tensors *file;
    const cm_graph *graph;
    const char *prefix;        /* of the family, or NULL */
    cm_match *tensors;         /* one for each of the file            */
    unsigned char *is_in_file; /* of each parameter: under its name   */
} cm_matching;

/* OK where everything fits, else SHAPE: how many tensors are missing, extra and mis-shaped, the first few of each,
 * and what a missing one may be called in the file. */
cm_status cmi_mismatch_report(const cm_matching *matching);

#endif
