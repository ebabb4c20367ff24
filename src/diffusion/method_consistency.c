/* method_consistency.c - onestep and multistep, the samplers of a consistency function. */
#include <math.h>

#include "diffusion/method.h"

static cm_status onestep(cm_solver_state *r)
{
    return cmi_solver_evaluate(r, r->s->sigma[0], r->x, r->x);
}

/* Algorithm 1 of Song et al. 2023. */
static cm_status multistep(cm_solver_state *r)
{
    const cm_solver *s = r->s;
    for (int i = 0; i < s->n; i++) {
        double next = i + 1 < s->n ? s->sigma[i + 1] : s->closing;
        double variance = next * next - s->boundary * s->boundary;
        CM_TRY(cmi_solver_evaluate(r, s->sigma[i], r->x, r->x));
        if (i + 1 == s->n && !s->final_draw) break;
        CM_TRY(cmi_solver_draw(r, variance > 0));
        if (variance > 0) cmi_solver_advance(r, r->x, r->x, sqrt(variance), r->z);
    }
    return CM_OK;
}

static int32_t one(const cm_solver *s)
{
    (void)s;
    return 1;
}

static int32_t multistep_draws(const cm_solver *s)
{
    return s->final_draw ? s->n : s->n - 1;
}

const cm_method_kind cmi_method_onestep = {.name = "onestep",
                                           .about = "one evaluation at the highest noise level",
                                           .levels = CM_LEVEL_RULE_ONE,
                                           .run = onestep,
                                           .evaluations = one,
                                           .clip = 1,
                                           .edits = 1};

const cm_method_kind cmi_method_multistep = {.name = "multistep",
                                             .about = "algorithm 1 of Song et al. 2023: evaluation and noise in turn",
                                             .levels = CM_LEVEL_RULE_EACH,
                                             .reads = CM_READS_TS,
                                             .run = multistep,
                                             .evaluations = cmi_solver_once_a_step,
                                             .draws = multistep_draws,
                                             .clip = 1,
                                             .edits = 1};
