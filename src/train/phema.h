/* phema.h - power-function averages and their reconstruction after a run (networks-edm2 6; Karras et al. 2024).
 *
 * An average of a profile with the exponent g weighs the weights at image t by t^g up to where it ends; its width is
 * std = sqrt((g + 1) / ((g + 2)^2 (g + 3))) of the run so far.  Stored averages p_i, of any widths and ends, are a
 * basis: with the correlations of profiles
 *
 *   K(a, b) = (g_a + 1) (g_b + 1) (a/b)^E / ((g_a + g_b + 1) max(a, b)),   E = g_b if a < b, else -g_a
 *
 * (a and b are also where the two end), the sum of X_i p_i with A X = B, A_ij = K(p_i, p_j), B_i = K(p_i, q) is
 * nearest to the profile q.  X is divided by its sum. */
#ifndef CM_TRAIN_PHEMA_H
#define CM_TRAIN_PHEMA_H

#include "base/context.h"

/* The exponent of a width in (0, 0.289), and back. */
double cmi_power_exponent(double std);
double cmi_power_std(double exponent);

/* A profile: where it ends, in images or any other unit, and its width. */
typedef struct cm_profile {
    double end, std;
} cm_profile;

double cmi_profile_correlation(cm_profile a, cm_profile b);
/* The weights of n stored averages for the wanted one.  A is badly conditioned: Cholesky's factors are made with
 * pivoting, in as much precision as the processor has, and directions below its noise get the weight 0.  NUMERIC
 * where no sum is left. */
cm_status cmi_profile_weights(cm_context *context, size_t n, const cm_profile *stored, cm_profile wanted,
                              double *weights);

#endif
