/* weighting.h - loss weights as functions of the noise level (algorithms 1.4). */
#ifndef CM_DIFFUSION_WEIGHTING_H
#define CM_DIFFUSION_WEIGHTING_H

typedef enum cm_weighting {
    CM_WEIGHT_UNIFORM,
    CM_WEIGHT_SNR,
    CM_WEIGHT_SNR_PLUS_1,
    CM_WEIGHT_KARRAS,
    CM_WEIGHT_TRUNCATED_SNR
} cm_weighting;

/* With snr = sigma^-2: 1, snr, snr + 1, snr + 1/sigma_data^2, max(snr, 1). */
double cm_weight(cm_weighting kind, double sigma, double sigma_data);

#endif
