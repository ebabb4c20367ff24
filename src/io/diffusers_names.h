/* diffusers_names.h - what the tensors of an ADM network are called in diffusers' UNet2DModel (networks D).
 *
 * One list serves reading and writing.  Names are without ".weight" and ".bias", which both have. */
#ifndef CM_IO_DIFFUSERS_NAMES_H
#define CM_IO_DIFFUSERS_NAMES_H

#include "base/context.h"

enum { CM_DIFFUSERS_LEVELS = 12, CM_DIFFUSERS_BLOCKS = 64, CM_DIFFUSERS_NAME = 64 };

/* What decides the names. */
typedef struct cm_diffusers_layout {
    int levels, blocks;               /* of block_out_channels; layers_per_block */
    int attends[CM_DIFFUSERS_LEVELS]; /* the finest level first                  */
} cm_diffusers_layout;

typedef struct cm_diffusers_name {
    char adm[CM_DIFFUSERS_NAME], diffusers[CM_DIFFUSERS_NAME];
    int part; /* 0, 1, 2: that third of the rows of ADM's tensor; -1: all of it */
} cm_diffusers_name;

typedef struct cm_diffusers_names {
    cm_context *context;
    cm_diffusers_name *list;
    size_t count, capacity;
} cm_diffusers_names;

/* In the order of ADM's names, or of diffusers'. */
cm_status cmi_diffusers_names_make(cm_context *context, const cm_diffusers_layout *layout, int by_adm,
                                   cm_diffusers_names *out);
void cmi_diffusers_names_free(cm_diffusers_names *names);
/* The first entry of that name, a suffix not counted, in the order of the list; NULL when there is none.  *suffix:
 * the
 * ".weight" or ".bias" of `name`.  In diffusers' order, names of versions before 0.17 are known too. */
const cm_diffusers_name *cmi_diffusers_names_find(const cm_diffusers_names *names, int by_adm, const char *name,
                                                  const char **suffix);

#endif
