/* axis.h - what a network is told of a point on an objective's axis, and what its answer is there.
 *
 * CM_AXIS_SIGMA  D(x; t) of x = x0 + t z: the preconditioning's own scalings
 * CM_AXIS_TRIG   F(x, t) of TrigFlow (Lu and Song 2024): x = x_t / sigma_data with x_t = cos(t) x_sigma and
 *                sigma = sigma_data tan t.  A network of another preconditioning is read as
 *                    sigma_data F = (cos(t) x_t - D(x_t / cos t; sigma)) / sin t,
 *                which is -F_edm(x, c_noise(sigma)) where its scalings are EDM's with the same sigma_data
 * CM_AXIS_RAW    the network itself, t its time
 *
 * Everywhere the answer is c_skip x + c_out F(c_in x, c_noise). */
#ifndef CM_TRAIN_AXIS_H
#define CM_TRAIN_AXIS_H

#include "diffusion/precond.h"

typedef enum cm_objective_axis { CM_AXIS_SIGMA, CM_AXIS_TRIG, CM_AXIS_RAW } cm_objective_axis;

/* sigma_data: the objective's; a teacher's precond may have another. */
cm_scalings cmi_axis_scalings(cm_objective_axis axis, const cm_precond *precond, double sigma_data, double t);
/* Their derivatives by t.  On CM_AXIS_TRIG only of networks that cmi_axis_is_plain says are read as they are. */
cm_scalings cmi_axis_slopes(cm_objective_axis axis, const cm_precond *precond, double t);
/* The noise level of a point of CM_AXIS_TRIG. */
double cmi_trig_sigma(double sigma_data, double t);
/* Whether the network's own input on CM_AXIS_TRIG is x: TrigFlow's and EDM's scalings with that sigma_data. */
int cmi_axis_is_plain(const cm_precond *precond, double sigma_data);

#endif
