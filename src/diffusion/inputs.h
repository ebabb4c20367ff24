/* inputs.h - an image, its noise level and its conditions into a run of the network, and the estimate out of it.
 *
 * Whoever evaluates D(x; sigma), a sampler or a learner, does it here: what a network is told is written once. */
#ifndef CM_DIFFUSION_INPUTS_H
#define CM_DIFFUSION_INPUTS_H

#include "diffusion/model.h"
#include "graph/plan.h"

typedef struct cm_inputs {
    const double *x; /* C x H x W, not scaled */
    double sigma;
    int32_t label;        /* -1: none */
    const float *augment; /* the network's augment_dim numbers; NULL: zeros */
} cm_inputs;

/* The references take noise levels in float32: a level, and the boundary in a preconditioning (its
 * tables are borrowed). */
double cmi_inputs_level(double sigma);
cm_precond cmi_inputs_precond(const cm_precond *precond);

/* As image k of the slice of exec; precond is rounded (cmi_inputs_precond), sigma need not be. */
void cmi_inputs_write(const cm_model *model, const cm_precond *precond, const cm_inputs *inputs, cm_exec *exec,
                      size_t k);
/* Image k of an output (CM_OUT_F, CM_OUT_D) into planes. */
void cmi_outputs_read(const cm_model *model, int output, const cm_exec *exec, size_t k, double *planes);
/* Planes into image k of the gradient of the output D. */
void cmi_cotangent_write(const cm_model *model, const double *planes, cm_exec *exec, size_t k);

#endif
