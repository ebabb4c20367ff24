/* weighting.h - loss weights as functions of the noise level (algorithms 1.4). */
#ifndef CM_DIFFUSION_WEIGHTING_H
#define CM_DIFFUSION_WEIGHTING_H

#include <consistency/trainer.h>

/* With snr = sigma^-2: 1, snr, snr + 1, snr + 1/sigma_data^2, max(snr, 1); "default", which is for an objective to
 * replace, is 1 too. */
double cmi_weight(cm_loss_weighting kind, double sigma, double sigma_data);

#endif
