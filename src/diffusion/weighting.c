/* weighting.c - algorithms 1.4. */
#include "diffusion/weighting.h"

double cm_weight(cm_weighting kind, double sigma, double sigma_data)
{
    double snr = 1 / (sigma * sigma);
    switch (kind) {
    case CM_WEIGHT_SNR: return snr;
    case CM_WEIGHT_SNR_PLUS_1: return snr + 1;
    case CM_WEIGHT_KARRAS: return snr + 1 / (sigma_data * sigma_data);
    case CM_WEIGHT_TRUNCATED_SNR: return snr > 1 ? snr : 1;
    case CM_WEIGHT_UNIFORM: break;
    }
    return 1;
}
