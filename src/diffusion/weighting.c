/* weighting.c - algorithms 1.4. */
#include "diffusion/weighting.h"

double cmi_weight(cm_loss_weighting kind, double sigma, double sigma_data)
{
    double snr = 1 / (sigma * sigma);
    switch (kind) {
    case CM_WEIGHTING_SNR: return snr;
    case CM_WEIGHTING_SNR_PLUS_1: return snr + 1;
    case CM_WEIGHTING_KARRAS: return snr + 1 / (sigma_data * sigma_data);
    case CM_WEIGHTING_TRUNCATED_SNR: return snr > 1 ? snr : 1;
    case CM_WEIGHTING_DEFAULT:
    case CM_WEIGHTING_UNIFORM: break;
    }
    return 1;
}
