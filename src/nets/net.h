/* net.h - from a configuration to a description. */
#ifndef CM_NETS_NET_H
#define CM_NETS_NET_H

#include "nets/config.h"
#include "nets/layers.h"

/* The inputs of a raw network. */
typedef struct cm_net_inputs {
    cm_value x;       /* [H, W, in_channels], already scaled           */
    cm_value time;    /* [1]: 250 ln sigma, ln(sigma)/4, ...           */
    cm_value label;   /* int32 [1], -1 = none; unused without classes  */
    cm_value augment; /* [augment_dim]; unused when that is 0          */
} cm_net_inputs;

/* Adds the network to the graph and returns F, [H, W, out_channels]. */
cm_value cm_net_describe(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in);

cm_value cm_adm_describe(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in);
cm_value cm_songunet_describe(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in);
cm_value cm_dhariwal_describe(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in);

#endif
