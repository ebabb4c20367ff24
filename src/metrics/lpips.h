/* lpips.h - LPIPS at work: pairs of images in, distances, maps and gradients out. */
#ifndef CM_METRICS_LPIPS_H
#define CM_METRICS_LPIPS_H

#include <consistency/metrics.h>

#include "tensor/images.h"

/* `network` NULL: the one whose tensors the file has.  Options are checked. */
cm_status cmi_lpips_open(cm_context *context, const char *network, const char *weights, const char *lin,
                         const cm_lpips_options *options, cm_lpips **out);
void cmi_lpips_free(cm_lpips *lpips);
void cmi_lpips_describe(const cm_lpips *lpips, cm_lpips_info *out);
cm_context *cmi_lpips_context(const cm_lpips *lpips);
/* Pairs of images of one size; outputs may be NULL. */
cm_status cmi_lpips_run(cm_lpips *lpips, const cm_view *a, const cm_view *b, double *distances, float *layers,
                        float *maps);
cm_status cmi_lpips_gradient(cm_lpips *lpips, const cm_view *a, const cm_view *b, double *distances, float *gradient);

#endif
