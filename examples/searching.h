/* searching.h - a metric over noise levels, and over the number of steps. */
#ifndef SEARCHING_H
#define SEARCHING_H

#include "scoring.h"

/* Models of a curve, steps of a list that is searched (each has a line in the plot), points of a curve. */
enum { SEARCH_MODELS = 8, SEARCH_LONGEST = 17, SEARCH_MOST = 64 };

typedef struct searching {
    cli *c;
    cm_context *context;
    const metric *metric;
    const char *weights;         /* of the feature network                                  */
    int32_t steps;               /* --search-times: evaluations of the list to find; 0: a curve */
    int32_t counts[SEARCH_MOST]; /* --curve: numbers of steps */
    size_t n_counts, n_models;
    const char *const *models;
    const char *reference; /* or NULL */
    side_options sides;
    const sampling *sampling;
    const char *write, *plot; /* or NULL: by the usual names */
    int few, force, json, quiet;
} searching;

/* The noise levels that make the metric best, one after the other (Song et al. 2023). */
cm_status searching_times(const searching *s);
/* The metric for each number of steps, of each model. */
cm_status searching_curve(const searching *s);

#endif
