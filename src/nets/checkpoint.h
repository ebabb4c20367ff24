/* checkpoint.h - a model file: configuration and tensors by name. */
#ifndef CM_NETS_CHECKPOINT_H
#define CM_NETS_CHECKPOINT_H

#include "graph/params.h"
#include "io/write_tensors.h"
#include "nets/config.h"

typedef struct cm_model_file {
    cm_tensors file;
    cm_tensors named; /* the same as the graph calls them, once bound; empty where the file does so itself */
    /* {"network", "precond", "image"[, "classes", "training", "sampling"]}: the file's, overridden by the caller's */
    json_t *config;
} cm_model_file;

/* The configuration of a file whose tensors are open; config_json may be NULL.  It is only parsed here, its members
 * are read by cmi_net_config_read and cmi_precond_read. */
cm_status cmi_checkpoint_configure(cm_model_file *file, const char *config_json);
void cmi_checkpoint_close(cm_model_file *checkpoint);

/* Finds every parameter of the graph among the file's tensors; names may begin
 * with the family's prefix, or be another framework's (cm_net_family.names).  Constant buffers may be absent and
 * are compared with the configuration where present.  `extra` names one tensor
 * that may be there besides (NULL: none).  sources: one per parameter. */
cm_status cmi_checkpoint_bind(cm_model_file *checkpoint, const cm_graph *graph, const cm_net_config *config,
                              const char *extra, cm_param_source *sources);

/* Writes a native file; config NULL: tensors without metadata; report NULL: nobody is asked. */
cm_status cmi_checkpoint_write(cm_context *context, const char *path, int overwrite, const json_t *config,
                               const cm_tensor *tensors, size_t count, cm_write_report *report);
/* The members of a configuration as the metadata of a native file, each a text; MEMORY. */
cm_status cmi_checkpoint_metadata(const json_t *config, json_t **out);

/* A parameter's float32 values as a tensor of that name, and any tensor as the source of a parameter. */
cm_tensor cmi_checkpoint_describe(const cm_param_desc *param, const char *name, const float *values);
cm_param_source cmi_checkpoint_source(const cm_tensor *tensor);
/* The tensor behind parameter `index` after binding; NULL for an absent buffer. */
const cm_tensor *cmi_checkpoint_tensor(const cm_param_source *source);

/* 0 where there is a NaN or an infinity among the values. */
cm_status cmi_checkpoint_finite(const cm_param_source *source, int *finite);

#endif
