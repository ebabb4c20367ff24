/* net.c - which description serves which configuration. */
#include "nets/net.h"

cm_value cm_net_describe(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in)
{
    switch (config->type) {
    case CM_NET_SONGUNET: return cm_songunet_describe(graph, config, in);
    case CM_NET_DHARIWAL: return cm_dhariwal_describe(graph, config, in);
    default: return cm_adm_describe(graph, config, in);
    }
}
