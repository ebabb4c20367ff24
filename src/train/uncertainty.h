/* uncertainty.h - u(sigma), what EDM2 learns beside its network of how large the loss is at a noise level
 * (networks-edm2 5; Karras et al. 2024): the loss L counts as L / exp(u) + u, whose best u is ln L.
 *
 *   u = sum over k of w_k sqrt(2) cos(c f_k + p_k),   c = ln(sigma)/4,
 *
 * where w is a row of EDM2's kind (nets/unit_rows.h): v / (e + sqrt(mean v^2)) / sqrt(n). */
#ifndef CM_TRAIN_UNCERTAINTY_H
#define CM_TRAIN_UNCERTAINTY_H

#include <stddef.h>

typedef struct cm_uncertainty {
    size_t n;
    const float *freqs, *phases, *weight;
} cm_uncertainty;

/* u, and unless NULL its derivative by c. */
double cmi_uncertainty(const cm_uncertainty *u, double c, double *slope);
/* Adds du times the gradient by the weight. */
void cmi_uncertainty_gradient(const cm_uncertainty *u, double c, double du, double *gradient);

#endif
