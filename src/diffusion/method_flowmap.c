/* method_flowmap.c - the flow map of a network of two times along any levels (MeanFlow, Geng et al. 2025; SoFlow).
 *
 * With t = sigma / (1 + sigma) and x_t = x / (1 + sigma) such a network knows the mean velocity u(x_t; t, r) from t
 * down to r, and a step is x_r = x_t - (t - r) u(x_t; t, r).  The estimate that belongs to it is where this straight
 * line would arrive at 0, D = x_t - t u(x_t; t, r); on the axis of sigma the step is then Euler's with this D. */
#include "diffusion/method.h"

static cm_status flowmap(cm_solver_state *r)
{
    for (int32_t i = 0; i < r->s->n; i++) {
        const double level = r->s->sigma[i], next = r->s->sigma[i + 1], keep = next / level;
        CM_TRY(cmi_solver_evaluate_to(r, level, next, r->x, r->d));
        for (size_t k = 0; k < r->io->n; k++) r->x[k] = keep * r->x[k] + (1 - keep) * r->d[k];
    }
    return CM_OK;
}

const cm_method_kind cmi_method_flowmap = {
    .name = "flowmap",
    .about = "networks of two times: the mean velocity from each level to the next (MeanFlow, SoFlow)",
    .levels = CM_LEVEL_RULE_TO_ZERO,
    .spacing = CM_LEVELS_FLOW_TIMES,
    .run = flowmap,
    .evaluations = cmi_solver_once_a_step,
    .two_times = 1,
    .steps = 1};
