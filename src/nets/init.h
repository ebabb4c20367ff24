/* init.h - fresh weights as the references draw them (networks A.7, B.3, B.4). */
#ifndef CM_NETS_INIT_H
#define CM_NETS_INIT_H

#include "graph/graph.h"
#include "nets/config.h"

/* Values of parameter `index` of the network's graph into out: a function of
 * (seed, index) alone.  Constant buffers are not drawn. */
void cm_net_init(const cm_graph *graph, const cm_net_config *config, uint64_t seed, int index, float *out);

#endif
