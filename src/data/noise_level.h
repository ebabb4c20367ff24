/* noise_level.h - how much Gaussian noise an image seems to carry. */
#ifndef CM_DATA_NOISE_LEVEL_H
#define CM_DATA_NOISE_LEVEL_H

#include "base/context.h"

/* The standard deviation, of channels x height x width values of which those beyond
 * -1 and 1 may have been cut to just these.  ARGUMENT: too few values tell. */
cm_status cmi_noise_level(cm_context *context, int32_t channels, int32_t height, int32_t width, const float *image,
                          double *sigma);

#endif
