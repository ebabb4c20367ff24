/* pairs.h - the squared distances of all points of one set to all of another, as far as anybody needs them.
 *
 * The distance is the sum of squared differences in double.  What is known of every pair is an interval of it, by
 * |u|^2 - 2 u v + |v|^2 in float32 with a bound of the rounding errors; the sum itself is taken where the interval
 * does not do.  So what is decided by distances is what the sums say, at the cost of a matrix product.  The whole
 * matrix never stands anywhere. */
#ifndef CM_METRICS_PAIRS_H
#define CM_METRICS_PAIRS_H

#include "metrics/scores.h"

typedef struct cm_pairs {
    const cm_feature_set *points, *others;
    /* Marks in asked[0 .. count - 1] the others, from `first` on, whose distance to `point` has to be known, with
     * lower[i] <= distance <= upper[i]; not a number: nothing is known.  It returns how many it marked. */
    size_t (*ask)(void *user, int worker, size_t point, size_t first, size_t count, const double *lower,
                  const double *upper, unsigned char *asked);
    /* One distance; of those that were asked for, none is left out, and others may come. */
    void (*see)(void *user, int worker, size_t point, size_t other, double distance);
    void *user;
} cm_pairs;

/* Calls of one point come from one thread at a time, those of one worker too. */
cm_status cmi_for_all_pairs(cm_context *context, const cm_pairs *pairs);

/* Workers that there may be. */
int cmi_pairs_workers(cm_context *context);

#endif
