/* scores.h - numbers about features and class probabilities (metrics 3 to 5). */
#ifndef CM_METRICS_SCORES_H
#define CM_METRICS_SCORES_H

#include <consistency/metrics.h>

#include "base/context.h"

/* n rows of d features. */
typedef struct cm_feature_set {
    size_t n, d;
    const float *values;
} cm_feature_set;

/* The score of images first .. first + n - 1 from logits or probabilities. */
cm_status cmi_inception_score(cm_context *context, const cm_feature_set *values, const cm_score_options *options,
                              double *score, double *deviation);

/* What the neighbours of a set say: the squared distance of each point to its k-th neighbour, and whether a point of
 * the other set lies within it.  inside[i], of point i of `points`: within the radius of some point of `set`. */
cm_status cmi_radii(cm_context *context, const cm_feature_set *set, int32_t neighbours, double *radii);
cm_status cmi_inside(cm_context *context, const cm_feature_set *set, const double *radii,
                     const cm_feature_set *points, unsigned char *inside);
cm_status cmi_precision_recall(cm_context *context, const cm_feature_set *reference, const cm_feature_set *samples,
                               int32_t neighbours, double *precision, double *recall);

/* The squared maximum mean discrepancy by the kernel (x y / d + 1)^3, over subsets. */
cm_status cmi_kernel_distance(cm_context *context, const cm_feature_set *a, const cm_feature_set *b,
                              const cm_subset_options *options, double *mean, double *deviation);

/* The distance of subsets to what is given: mean and deviation over them, and the value at infinity. */
cm_status cmi_frechet_subsets(const cm_statistics *reference, const cm_feature_set *samples,
                              const cm_subset_options *options, double *mean, double *deviation);
cm_status cmi_frechet_infinity(const cm_statistics *reference, const cm_feature_set *samples,
                               const cm_subset_options *options, double *out);

/* subsets.c: `count` different numbers below n, in random order; subset `index` of seed. */
void cmi_subset(uint64_t seed, uint32_t index, size_t n, size_t count, uint32_t *order);
/* Mean and, of more than one, the deviation with divisor count - 1. */
void cmi_mean_and_deviation(size_t count, const double *values, double *mean, double *deviation);

#endif
