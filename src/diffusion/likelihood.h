/* likelihood.h - bits per dimension by the probability-flow ODE. */
#ifndef CM_DIFFUSION_LIKELIHOOD_H
#define CM_DIFFUSION_LIKELIHOOD_H

#include "diffusion/model.h"

/* cm_model_bits_per_dim with complete options. */
cm_status cmi_likelihood(cm_model *model, const cm_likelihood_options *options, size_t n, const float *x,
                         double *bits);

#endif
