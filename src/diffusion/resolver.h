/* resolver.h - between sample options and a solver: shared by the checks, the noise levels and what puts them
 * together. */
#ifndef CM_DIFFUSION_RESOLVER_H
#define CM_DIFFUSION_RESOLVER_H

#include "diffusion/method.h"
#include "diffusion/times.h"

enum { CM_MAX_STEPS = 1000000 };

/* Levels that float32 holds, as networks take them. */
#define CM_LEAST_LEVEL 1e-30
#define CM_MOST_LEVEL 1e30

typedef struct cm_resolver {
    const cm_model *m;
    const cm_sample_options *o;
    cm_times *out;
    const cm_method_kind *method;
    double smin, smax, rho; /* of the schedule                    */
    double highest;         /* level that this model may be given */
} cm_resolver;

/* Whether the levels are those of a schedule or of a list in its place. */
static inline int cmi_resolver_scheduled(const cm_resolver *r)
{
    return r->method->levels == CM_LEVEL_RULE_TO_ZERO || cmi_method_ends_above_0(r->method);
}

/* The cm_edm_discretization; methods without one have EDM's. */
static inline int cmi_resolver_form(const cm_resolver *r)
{
    return r->method->reads & CM_READS_EDM ? r->o->edm_discretization : CM_EDM_STEPS_EDM;
}

/* Of a schedule. */
static inline int32_t cmi_resolver_steps(const cm_resolver *r)
{
    const int32_t own = r->method->steps ? r->method->steps : 18;
    return r->o->steps ? r->o->steps : r->m->sampling.steps ? r->m->sampling.steps : own;
}

/* Whether its schedule is one of equally distant flow times, which need the highest level alone. */
static inline int cmi_resolver_by_flow_times(const cm_resolver *r)
{
    return r->method->spacing == CM_LEVELS_FLOW_TIMES && !(r->o->rho > 0);
}

static inline double cmi_or_default(double v, double fallback)
{
    return v > 0 ? v : fallback;
}

/* option_checks.c: ranges of the options, and a refusal of each that has no effect on the method. */
cm_status cmi_options_check_ranges(const cm_resolver *r);
cm_status cmi_options_check_effects(const cm_resolver *r);
/* With the solver complete. */
cm_status cmi_options_check_orders(const cm_resolver *r);
cm_status cmi_options_check_randomness(const cm_resolver *r);

/* levels.c: the schedule's range, then the noise levels of the solver. */
cm_status cmi_levels_range(cm_resolver *r);
cm_status cmi_levels_fill(cm_resolver *r);

#endif
