/* times.h - from sample options to a solver: method, noise levels, defaults,
 * and a refusal of every option that would have no effect. */
#ifndef CM_DIFFUSION_TIMES_H
#define CM_DIFFUSION_TIMES_H

#include "diffusion/model.h"
#include "diffusion/solver.h"

typedef struct cm_times {
    cm_solver solver;
    double *sigma; /* behind solver.sigma */
} cm_times;

/* rho, sigma_min, sigma_max and steps, whatever the model. */
cm_status cmi_times_check_schedule(const cm_sample_options *options);
cm_status cmi_times_resolve(const cm_model *model, const cm_sample_options *options, cm_times *out);
void cmi_times_release(const cm_model *model, cm_times *times);

#endif
