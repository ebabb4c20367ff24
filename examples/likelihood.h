/* likelihood.h - bits/dim of pictures under a model. */
#ifndef LIKELIHOOD_H
#define LIKELIHOOD_H

#include "sampling.h"

typedef struct likelihood_options {
    const sampling *sampling; /* which weights, and the seed           */
    uint64_t limit;           /* pictures at most, the first; 0: all   */
    int32_t probes;           /* 0: the library's default              */
    int resize, json, quiet;
} likelihood_options;

cm_status likelihood_measure(cli *c, const likelihood_options *o, const char *model, const char *pictures);

#endif
