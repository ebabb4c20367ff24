/* params.h - a parameter set: the values of a graph's parameters, outside the
 * graph, so that one graph runs with many sets.
 *
 * Tensors stay where the checkpoint is mapped until somebody needs them:
 * float32 and aligned ones are used in place, others are widened once;
 * convolution weights are packed once per layout and shared by every plan.
 * Any number of threads may ask at a time. */
#ifndef CM_GRAPH_PARAMS_H
#define CM_GRAPH_PARAMS_H

#include "graph/graph.h"

typedef struct cm_params cm_params;

/* Where a parameter's values lie: `read` widens them into `count` floats;
 * `raw` is the data itself when it is float32 and aligned, else NULL; `forget`
 * (may be NULL) says that the data will not be read again soon. */
typedef struct cm_param_source {
    const void *data;
    size_t bytes;
    const float *raw;
    cm_status (*read)(const struct cm_param_source *source, float *out);
    void (*forget)(const struct cm_param_source *source);
    const void *user;
} cm_param_source;

/* Copies the sources (one per parameter of the graph); the data behind them
 * and the graph must outlive the set. */
cm_status cmi_params_create(const cm_graph *graph, const cm_param_source *sources, cm_params **out);
void cmi_params_free(cm_params *params);

size_t cmi_param_elements(const cm_param_desc *desc);
/* One block for all parameters but the constant ones: offsets[i] in floats
 * (multiples of 16; SIZE_MAX for constants).  Returns the size of the block. */
size_t cmi_param_offsets(const cm_graph *graph, size_t *offsets);
/* Plain float32 values / packed for a convolution; live as long as the set. */
cm_status cmi_params_plain(cm_params *params, int index, const float **out);
cm_status cmi_params_packed(cm_params *params, int index, const cm_convolution *conv, const void **out);
/* After the values behind the sources have changed: makes every packed copy
 * again, in place.  No plan may be running on the set.  For sets whose sources are all raw. */
cm_status cmi_params_refresh(cm_params *params, int threads);
/* Bytes of packed and widened copies. */
size_t cmi_params_copied_bytes(cm_params *params);

#endif
