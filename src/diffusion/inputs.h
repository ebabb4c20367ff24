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
    double second;        /* where the network has two times: the second, as c_noise is the first */
    /* Where it has conditions: the scale w of guidance and the times from and to which it has it; NULL: w is 1. */
    const double *guidance;
} cm_inputs;

/* The references take noise levels in float32: a level, and the boundary in a preconditioning (its
 * tables are borrowed). */
double cmi_inputs_level(double sigma);
cm_precond cmi_inputs_precond(const cm_precond *precond);

/* What cm_inputs.second is where the second time is the level sigma. */
double cmi_inputs_second(const cm_precond *precond, double sigma);
/* Its derivative by sigma. */
double cmi_inputs_second_slope(const cm_precond *precond, double sigma);

/* As image k of the slice of exec; precond is rounded (cmi_inputs_precond), sigma need not be. */
void cmi_inputs_write(const cm_model *model, const cm_precond *precond, const cm_inputs *inputs, cm_exec *exec,
                      size_t k);
/* The same with scalings of the caller's. */
void cmi_inputs_write_scaled(const cm_model *model, const cm_scalings *scalings, const cm_inputs *inputs,
                             cm_exec *exec, size_t k);
/* A direction in which the network is differentiated (plans of mode JVP). */
typedef struct cm_inputs_tangent {
    const double *x;    /* of x, as x; NULL: zero               */
    cm_scalings scalar; /* of what the network is told of sigma */
    double second;      /* of the second time                   */
} cm_inputs_tangent;
/* Inputs that have a tangent, as bits of cm_plan_options.inputs, in directions of x and of sigma. */
enum {
    CM_TANGENT_X = 1 << CM_IN_X,
    CM_TANGENT_SIGMA = 1 << CM_IN_C_IN | 1 << CM_IN_C_SKIP | 1 << CM_IN_C_OUT | 1 << CM_IN_TIME,
    CM_TANGENT_SECOND = 1 << CM_IN_SECOND /* which moves with the first time where it is told as an interval */
};
/* The direction of D(x; sigma) in which x moves with x_tangent (NULL: not) and sigma with sigma_tangent. */
cm_inputs_tangent cmi_inputs_tangent(const cm_precond *precond, double sigma, const double *x_tangent,
                                     double sigma_tangent);
/* As image k of the slice; an input without a tangent in the plan has to have the direction 0. */
void cmi_inputs_write_tangent(const cm_model *model, const cm_inputs_tangent *tangent, cm_exec *exec, size_t k);
/* Image k of the tangent of an output. */
void cmi_tangent_read(const cm_model *model, int output, const cm_exec *exec, size_t k, double *planes);

/* Image k of an output (CM_OUT_F, CM_OUT_D) into planes. */
void cmi_outputs_read(const cm_model *model, int output, const cm_exec *exec, size_t k, double *planes);
/* Planes into image k of the gradient of the plan's output, and of the gradient of its tangent; NULL: zeros. */
void cmi_cotangent_write(const cm_model *model, int output, const double *planes, cm_exec *exec, size_t k);
void cmi_tangent_cotangent_write(const cm_model *model, int output, const double *planes, cm_exec *exec, size_t k);

#endif
