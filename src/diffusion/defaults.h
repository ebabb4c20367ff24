/* defaults.h - how a model is sampled from where the caller does not say: member "sampling" of its configuration,
 * else what is published for a network and images like its. */
#ifndef CM_DIFFUSION_DEFAULTS_H
#define CM_DIFFUSION_DEFAULTS_H

#include "diffusion/precond.h"
#include "nets/config.h"

enum { CM_DEFAULT_LEVELS = 64 };

typedef struct cm_sampling_defaults {
    int32_t method;                    /* cm_method; 0: by the preconditioning                        */
    int32_t steps;                     /* of a schedule; 0: the method's own                          */
    double sigmas[CM_DEFAULT_LEVELS];  /* levels of its own; a first one of 0: where the schedule begins */
    int32_t n_sigmas;                  /* 0: by ts                                                    */
    int32_t ts[CM_DEFAULT_LEVELS + 1]; /* points of a Karras schedule of `grid`, the last only closes */
    int32_t n_ts, grid;
} cm_sampling_defaults;

/* `config` is the whole configuration; side is 0 for images that are not square. */
cm_status cmi_sampling_defaults_read(const json_t *config, const cm_net_config *net, const cm_precond *precond,
                                     int32_t side, cm_sampling_defaults *out);

/* How many levels these are, and level i of a schedule from smax to smin. */
int32_t cmi_sampling_defaults_count(const cm_sampling_defaults *defaults);
double cmi_sampling_defaults_level(const cm_sampling_defaults *defaults, int32_t i, double smin, double smax);

#endif
