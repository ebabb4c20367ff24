/* frechet.h - the distance between two Gaussians (metrics 3). */
#ifndef CM_METRICS_FRECHET_H
#define CM_METRICS_FRECHET_H

#include "metrics/statistics.h"

/* |mu - mu'|^2 + tr S + tr S' - 2 tr (S S')^(1/2) of d and d x d values; overwrites both covariances.  NUMERIC for
 * what is no covariance. */
cm_status cmi_frechet(cm_context *context, size_t d, const double *mean_a, double *covariance_a, const double *mean_b,
                      double *covariance_b, double *out);
cm_status cmi_frechet_distance(const cm_statistics *a, const cm_statistics *b, double *out);

#endif
