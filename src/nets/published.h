/* published.h - the noise levels that published models are sampled at, where nobody says more.
 *
 * Which model a file is, is told by a note of its format (CM_NOTE_PUBLISHED, CM_NOTE_GRID) or, where there is none,
 * by the name under which it is published. */
#ifndef CM_NETS_PUBLISHED_H
#define CM_NETS_PUBLISHED_H

#include <jansson.h>

#include "io/tensors.h"

typedef struct cm_published {
    const char *kind;    /* CM_PUBLISHED_*                                                        */
    const char *network; /* of cm_net_family.name; NULL: any                                      */
    int32_t side;        /* of the images; 0: any                                                 */
    const char *word;    /* in the name of the file; NULL: any                                    */
    const char *method;  /* of cm_method_kind.name; NULL: what goes with the preconditioning      */
    int32_t index, grid; /* the second of two levels is that point of so many (algorithms 2.3), or: */
    double levels[2];    /* the levels; the first 0: where the schedule begins                    */
    int32_t steps;       /* of a schedule; 0: the method's own                                    */
} cm_published;

/* The first row for these; name may be NULL.  NULL: nothing is published. */
const cm_published *cmi_published_find(const char *kind, const char *network, int64_t side, const char *name);

/* Adds "sampling" to the configuration of a file that a format or its name says the kind of. */
cm_status cmi_published_add(const cm_tensors *file, json_t *config);

#endif
