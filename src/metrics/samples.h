/* samples.h - a batch of samples in an .npz file, as OpenAI's evaluator reads it (metrics 6.3). */
#ifndef CM_METRICS_SAMPLES_H
#define CM_METRICS_SAMPLES_H

#include <consistency/metrics.h>

#include "tensor/images.h"

/* labels: one for each image, or NULL. */
cm_status cmi_samples_write(cm_context *context, const char *path, const cm_view *images, const int32_t *labels,
                            const cm_samples_options *options);

#endif
