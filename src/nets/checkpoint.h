/* checkpoint.h - a native model file: configuration and tensors by name. */
#ifndef CM_NETS_CHECKPOINT_H
#define CM_NETS_CHECKPOINT_H

#include "graph/params.h"
#include "io/safetensors.h"
#include "nets/config.h"

typedef struct cm_checkpoint {
    cm_safetensors file;
    json_t *
        config; /* {"network", "precond", "image"[, "classes", "training"]}: the file's, overridden by the caller's */
} cm_checkpoint;

/* config_json may be NULL.  The configuration is only parsed here, its members
 * are read by cm_net_config_read and cm_precond_read. */
cm_status cm_checkpoint_open(cm_context *context, const char *path, const char *config_json, int copy,
                             cm_checkpoint *out);
void cm_checkpoint_close(cm_checkpoint *checkpoint);

/* Finds every parameter of the graph among the file's tensors; the EDM
 * networks' names may begin with "model.".  Constant buffers may be absent and
 * are compared with the configuration where present.  `extra` names one tensor
 * that may be there besides (NULL: none).  sources: one per parameter. */
cm_status cm_checkpoint_bind(const cm_checkpoint *checkpoint, const char *path, const cm_graph *graph,
                             const cm_net_config *config, const char *extra, cm_param_source *sources);

/* The metadata of a native file with that configuration; NULL when memory is out. */
json_t *cm_checkpoint_metadata(const json_t *config);

/* The tensor behind parameter `index` after binding; NULL for an absent buffer. */
const cm_tensor *cm_checkpoint_tensor(const cm_param_source *source);

/* NaN or infinity among the values. */
int cm_checkpoint_finite(const cm_param_source *source);

#endif
