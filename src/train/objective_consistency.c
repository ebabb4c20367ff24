/* objective_consistency.c - consistency distillation and consistency training
 * (Algorithms 2 and 3 of Song et al. 2023; algorithms 4.2):
 *
 *   t = t(i), t2 = t(i+1) < t,  x_t = x0 + t z
 *   x_t2 = one step of the probability-flow ODE from x_t down to t2
 *   loss = w(t) d( f(x_t, t), f^-(x_t2, t2) )
 *
 * Distillation steps with the teacher's D (Heun or Euler), training with x0 for
 * D: then x_t2 = x0 + t2 z. */
#include <math.h>

#include "diffusion/schedule.h"
#include "train/objective.h"

/* i uniform on 0..N-2, counted downwards in noise. */
static void draw_pairs(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_room *r)
{
    int32_t n = s->scales;
    for (size_t i = 0; i < b->n; i++) {
        double index = floor(b->u[i] * (n - 1));
        if (index > n - 2) index = n - 2;
        r->t[i] = cm_karras_sigma(index, n, s->sigma_min, s->sigma_max, s->rho);
        r->t2[i] = cm_karras_sigma(index + 1, n, s->sigma_min, s->sigma_max, s->rho);
        r->weight[i] = cm_weight((cm_weighting)s->weighting, r->t[i], s->sigma_data);
    }
    cm_add_noise(b, r->size, r->t, r->x_t);
}

/* slope = (x - D)/t; x_t2 = x + slope (t2 - t). */
static cm_status euler(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_room *r)
{
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TEACHER, r->x_t, r->t, r->d));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
            r->slope[k] = (r->x_t[k] - r->d[k]) / r->t[i];
            r->x_t2[k] = r->x_t[k] + r->slope[k] * (r->t2[i] - r->t[i]);
        }
    return CM_OK;
}

static cm_status heun(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_room *r)
{
    CM_TRY(euler(b, nets, r));
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TEACHER, r->x_t2, r->t2, r->d));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
            double slope = (r->x_t2[k] - r->d[k]) / r->t2[i];
            r->x_t2[k] = r->x_t[k] + (r->slope[k] + slope) / 2 * (r->t2[i] - r->t[i]);
        }
    return CM_OK;
}

static cm_status finish(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                        cm_objective_room *r)
{
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TARGET, r->x_t2, r->t2, r->target));
    return cm_compare_and_learn(s, b, nets, r);
}

static cm_status distil(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_room r = cm_objective_split(s, b);
    draw_pairs(s, b, &r);
    CM_TRY(s->ode == CM_ODE_HEUN ? heun(b, nets, &r) : euler(b, nets, &r));
    return finish(s, b, nets, &r);
}

static cm_status train(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_room r = cm_objective_split(s, b);
    draw_pairs(s, b, &r);
    cm_add_noise(b, r.size, r.t2, r.x_t2);
    return finish(s, b, nets, &r);
}

const cm_objective cm_objective_cd = {.name = "cd",
                                      .needs_teacher = 1,
                                      .has_target = 1,
                                      .is_discrete = 1,
                                      .metric = CM_METRIC_L2,
                                      .precond = "cm",
                                      .run = distil};
const cm_objective cm_objective_ct = {
    .name = "ct", .has_target = 1, .is_discrete = 1, .metric = CM_METRIC_L2, .precond = "cm", .run = train};
