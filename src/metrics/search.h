/* search.h - the best of many time points by few evaluations (algorithms 2.4). */
#ifndef CM_METRICS_SEARCH_H
#define CM_METRICS_SEARCH_H

#include <consistency/metrics.h>

cm_status cmi_search_point(const cm_search_options *options, cm_point_fn score, void *user, int32_t *best);

#endif
