/* init.h - fresh weights as the references draw them (networks A.7, B.3, B.4). */
#ifndef CM_NETS_INIT_H
#define CM_NETS_INIT_H

#include "graph/graph.h"
#include "nets/config.h"

/* What the values of a tensor are drawn from: U(-scale, scale), or scale times N(0, 1). */
enum { CM_INIT_ZERO, CM_INIT_ONE, CM_INIT_UNIFORM, CM_INIT_NORMAL };
typedef struct cm_init {
    int kind;
    double scale;
} cm_init;
/* A family's rule for weights of rank 2 and more and their biases; `weight`: the tensor that a bias belongs to, else
 * the tensor itself. */
typedef cm_init cm_init_rule(const cm_param_desc *p, const cm_param_desc *weight);

/* U(-1, 1) / sqrt(inputs of a value), as PyTorch draws weights and biases. */
cm_init_rule cmi_init_torch;
/* For rules: whether the name has that part; inputs of one output value, C k k of a convolution. */
int cmi_init_contains(const char *name, const char *part);
double cmi_init_fan_in(const cm_param_desc *p);

/* Values of parameter `index` of the network's graph into out: a function of
 * (seed, index) alone.  Constant buffers are not drawn. */
void cmi_net_init(const cm_graph *graph, const cm_net_config *config, uint64_t seed, int index, float *out);

#endif
