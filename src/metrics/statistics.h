/* statistics.h - mean and covariance of features, gathered image by image or read from a file (metrics 3).
 *
 * What is gathered are the sums of f - s and of (f - s)(f - s)^T, s the first image's features: a mean that is large
 * beside the spread then takes no digits from the covariance. */
#ifndef CM_METRICS_STATISTICS_H
#define CM_METRICS_STATISTICS_H

#include <consistency/metrics.h>

#include "base/context.h"

/* Room for the name of a network and for the hash of its weights. */
enum { CM_ORIGIN_TEXT = 64 };

/* The network that features are of; empty texts: nobody knows. */
typedef struct cm_origin {
    char network[CM_ORIGIN_TEXT], weights[CM_ORIGIN_TEXT];
} cm_origin;

struct cm_statistics {
    cm_context *context;
    int32_t dimension;
    uint64_t count;      /* images; of what is given 0 when nobody knows */
    int given;           /* mean and covariance are, nothing can be added */
    double *shift, *sum; /* given: unused, the mean                      */
    double *square;      /* [d][d], the lower squares; given: the covariance, whole */
    cm_origin origin;
};

enum { CM_FEATURES_MAX = 65536 };
/* Of images: what a double of a file says exactly. */
#define CM_COUNT_MAX (UINT64_C(1) << 53)

cm_status cmi_statistics_create(cm_context *context, int32_t dimension, cm_statistics **out);
/* Copies of d and d x d values, which are finite. */
cm_status cmi_statistics_given(cm_context *context, int32_t dimension, uint64_t count, const double *mean,
                               const double *covariance, cm_statistics **out);
cm_status cmi_statistics_add(cm_statistics *s, size_t n, const float *features);
cm_status cmi_statistics_merge(cm_statistics *into, const cm_statistics *from);
/* ARGUMENT where both are known and differ; `what` begins the message. */
cm_status cmi_origin_compare(const char *what, const cm_origin *a, const cm_origin *b);
/* The features are those of the network; SHAPE and ARGUMENT where they cannot be. */
cm_status cmi_statistics_mark(cm_statistics *s, const cm_features_info *network);
/* STATE for fewer than two images.  Either may be NULL. */
cm_status cmi_statistics_values(const cm_statistics *s, double *mean, double *covariance);
void cmi_statistics_free(cm_statistics *s);

cm_status cmi_statistics_read(cm_context *context, const char *path, const char *suffix, cm_statistics **out);
cm_status cmi_statistics_write(const cm_statistics *s, const cm_statistics *spatial, const char *path, int overwrite);

/* NUMERIC where a feature is no number; `what` begins the message. */
cm_status cmi_features_check(const char *what, size_t n, size_t dimension, const float *features);

#endif
