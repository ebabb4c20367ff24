/* method_ode.c - solvers of the probability-flow ODE and its stochastic relatives, as the official code of
 * consistency models runs them. */
#include <math.h>

#include "diffusion/method.h"
#include "diffusion/schedule.h"

/* Adds noise to raise the level; *raised is the new level. */
static cm_status churn(cm_solver_state *r, double sigma, double *raised)
{
    const cm_solver *s = r->s;
    double gamma = cmi_solver_gamma(s, sigma);
    *raised = sigma * (1 + gamma);
    CM_TRY(cmi_solver_draw(r, gamma > 0));
    if (gamma > 0) cmi_solver_advance(r, r->x, r->x, s->s_noise * sqrt(*raised * *raised - sigma * sigma), r->z);
    return CM_OK;
}

static cm_status heun(cm_solver_state *r)
{
    for (int i = 0; i < r->s->n; i++) {
        double next = r->s->sigma[i + 1], level;
        CM_TRY(churn(r, r->s->sigma[i], &level));
        double h = next - level;
        CM_TRY(cmi_solver_slope(r, level, r->x, r->d));
        if (next == 0) {
            cmi_solver_advance(r, r->x, r->x, h, r->d);
            continue;
        }
        cmi_solver_advance(r, r->y, r->x, h, r->d);
        CM_TRY(cmi_solver_slope(r, next, r->y, r->z));
        for (size_t k = 0; k < r->io->n; k++) r->x[k] += (r->d[k] + r->z[k]) / 2 * h;
    }
    return CM_OK;
}

/* Also of progressive distillation, whose levels do not end in 0. */
static cm_status euler(cm_solver_state *r)
{
    for (int i = 0; i < r->s->n; i++) {
        CM_TRY(cmi_solver_slope(r, r->s->sigma[i], r->x, r->d));
        cmi_solver_advance(r, r->x, r->x, r->s->sigma[i + 1] - r->s->sigma[i], r->d);
    }
    return CM_OK;
}

static cm_status ancestral(cm_solver_state *r)
{
    for (int i = 0; i < r->s->n; i++) {
        double down, up;
        cmi_ancestral_split(r->s->sigma[i], r->s->sigma[i + 1], &down, &up);
        CM_TRY(cmi_solver_slope(r, r->s->sigma[i], r->x, r->d));
        cmi_solver_advance(r, r->x, r->x, down - r->s->sigma[i], r->d);
        CM_TRY(cmi_solver_draw(r, up > 0));
        if (up > 0) cmi_solver_advance(r, r->x, r->x, up, r->z);
    }
    return CM_OK;
}

/* DPM-Solver-2: the slope at a middle level, the mean of the cube roots. */
static cm_status dpm(cm_solver_state *r)
{
    for (int i = 0; i < r->s->n; i++) {
        double next = r->s->sigma[i + 1], level;
        CM_TRY(churn(r, r->s->sigma[i], &level));
        double middle = pow((cbrt(level) + cbrt(next)) / 2, 3);
        CM_TRY(cmi_solver_slope(r, level, r->x, r->d));
        cmi_solver_advance(r, r->y, r->x, middle - level, r->d);
        CM_TRY(cmi_solver_slope(r, middle, r->y, r->d));
        cmi_solver_advance(r, r->x, r->x, next - level, r->d);
    }
    return CM_OK;
}

static int32_t twice_a_step(const cm_solver *s)
{
    return 2 * s->n;
}

const cm_method_kind cmi_method_heun = {.name = "heun",
                                        .about = "second order, of Karras et al. 2022, with churn",
                                        .levels = CM_LEVEL_RULE_TO_ZERO,
                                        .reads = CM_READS_CHURN,
                                        .run = heun,
                                        .evaluations = cmi_solver_twice_but_last,
                                        .draws = cmi_solver_once_a_step,
                                        .clip = 1};

const cm_method_kind cmi_method_euler = {.name = "euler",
                                         .about = "first order",
                                         .levels = CM_LEVEL_RULE_TO_ZERO,
                                         .run = euler,
                                         .evaluations = cmi_solver_once_a_step,
                                         .clip = 1};

const cm_method_kind cmi_method_ancestral = {.name = "ancestral",
                                             .about = "first order, with part of each step as fresh noise",
                                             .levels = CM_LEVEL_RULE_TO_ZERO,
                                             .run = ancestral,
                                             .evaluations = cmi_solver_once_a_step,
                                             .draws = cmi_solver_once_a_step,
                                             .clip = 1};

const cm_method_kind cmi_method_dpm = {.name = "dpm",
                                       .about = "DPM-Solver-2: the slope at a middle level, with churn",
                                       .levels = CM_LEVEL_RULE_TO_ZERO,
                                       .reads = CM_READS_CHURN,
                                       .run = dpm,
                                       .evaluations = twice_a_step,
                                       .draws = cmi_solver_once_a_step,
                                       .clip = 1};

const cm_method_kind cmi_method_progdist = {.name = "progdist",
                                            .about = "progressive distillation: first order down to sigma_min",
                                            .levels = CM_LEVEL_RULE_TO_LAST,
                                            .run = euler,
                                            .evaluations = cmi_solver_once_a_step,
                                            .clip = 1};
