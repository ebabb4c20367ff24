/* edm_block.h - the UNet block that SongUNet and DhariwalUNet share (networks
 * B.1, B.2). */
#ifndef CM_NETS_EDM_BLOCK_H
#define CM_NETS_EDM_BLOCK_H

#include "nets/net.h"

/* What differs between the two families. */
typedef struct cm_edm_family {
    cm_graph *g;
    cm_value emb;
    cm_filter filter;
    double eps, skip_scale;
    int resample_proj;         /* up and down blocks have a 1x1 skip convolution */
    int adaptive_scale;        /* scale and shift after norm1, not add before    */
    int32_t channels_per_head; /* 0: one head                                   */
    int qkv;                   /* CM_QKV_*                                      */
    int double_norm;           /* of the scale and the shift                    */
} cm_edm_family;

int32_t cmi_edm_groups(int32_t channels);

/* One block called `name`, C_in from x. */
cm_value cmi_edm_block(const cm_edm_family *f, const char *name, cm_value x, int32_t out, int direction,
                       int attention);

#endif
