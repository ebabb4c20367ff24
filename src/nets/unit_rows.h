/* unit_rows.h - the weights of magnitude-preserving layers (networks-edm2 1; Karras et al. 2024).
 *
 * A file holds V; a layer uses W, with e = 1e-4 and each row v of n values (the inputs of one output)
 *
 *   w = s v / D,   D = e + R,   R = sqrt(mean v^2),   s = factor gain / sqrt(n),
 *
 * where the gain is a parameter or 1, and the factor is a constant: what the layers around multiply by is put into
 * it.  So W is made once, with the other weights that follow from those of a file (nets/fold.h), and layers are
 * convolutions like any other.  In training, from the gradient dW,
 *
 *   dv = s (dw / D - v (v . dw) / (n R D^2)),   dgain = sum over rows (v . dw) / D factor / sqrt(n),
 *
 * where the last term of dv counts as 0 at R = 0. */
#ifndef CM_NETS_UNIT_ROWS_H
#define CM_NETS_UNIT_ROWS_H

#include "graph/graph.h"

/* Adds the parameter NAME.weight and, in a graph that runs (graph->folded), what it becomes; returns the latter.
 * gain: a parameter of one value, or -1. */
int cmi_unit_rows(cm_graph *graph, const char *name, int rank, const int64_t *shape, int gain, double factor);

/* w from v, which may be the same. */
void cmi_unit_rows_values(const cm_param_desc *param, float gain, const float *v, float *w);
/* dv and, unless NULL, dgain. */
void cmi_unit_rows_gradient(const cm_param_desc *param, float gain, const float *v, const float *dw, float *dv,
                            float *dgain);
/* Forced normalisation: v <- v / D, in place. */
void cmi_unit_rows_force(const cm_param_desc *param, float *v);

#endif
