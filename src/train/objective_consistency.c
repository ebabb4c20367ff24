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
static void draw_pairs(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_buffers *r)
{
    int32_t n = s->scales;
    for (size_t i = 0; i < b->n; i++) {
        double index = floor(b->u[i] * (n - 1));
        if (index > n - 2) index = n - 2;
        r->t[i] = cmi_karras_sigma(index, n, s->sigma_min, s->sigma_max, s->rho);
        r->t2[i] = cmi_karras_sigma(index + 1, n, s->sigma_min, s->sigma_max, s->rho);
        r->weight[i] = cmi_weight(s->weighting, r->t[i], s->sigma_data);
    }
    cmi_add_noise(b, r->size, r->t, r->x_t);
}

/* slope = (x - D)/t; x_t2 = x + slope (t2 - t). */
static cm_status euler(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_buffers *r)
{
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TEACHER, r->x_t, r->t, NULL, r->d));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
            r->slope[k] = (r->x_t[k] - r->d[k]) / r->t[i];
            r->x_t2[k] = r->x_t[k] + r->slope[k] * (r->t2[i] - r->t[i]);
        }
    return CM_OK;
}

static cm_status heun(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_buffers *r)
{
    CM_TRY(euler(b, nets, r));
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TEACHER, r->x_t2, r->t2, NULL, r->d));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
            double slope = (r->x_t2[k] - r->d[k]) / r->t2[i];
            r->x_t2[k] = r->x_t[k] + (r->slope[k] + slope) / 2 * (r->t2[i] - r->t[i]);
        }
    return CM_OK;
}

static cm_status finish(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                        cm_objective_buffers *r)
{
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TARGET, r->x_t2, r->t2, NULL, r->target));
    return cmi_compare_and_learn(s, b, nets, r);
}

static cm_status distil(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw_pairs(s, b, &r);
    CM_TRY(s->ode == CM_ODE_HEUN ? heun(b, nets, &r) : euler(b, nets, &r));
    return finish(s, b, nets, &r);
}

static cm_status train(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw_pairs(s, b, &r);
    cmi_add_noise(b, r.size, r.t2, r.x_t2);
    return finish(s, b, nets, &r);
}

static const char *const cd_options[] = {"distance",      "huber_c",      "lpips_weights", "lpips_lin",
                                         "lpips_pooling", "lpips_resize", "sum_pixels",    "weighting",
                                         "ode",           "scales_mode",  "start_scales",  "end_scales",
                                         "mu_mode",       "mu",           "rho",           NULL};
static const cm_objective_default cd_defaults[] = {{"lr", 4e-4}, {NULL, 0}};
const cm_objective cmi_objective_cd = {
    .number = CM_TRAIN_CD,
    .name = "cd",
    .about = "Consistency distillation of a diffusion model: Song et al. 2023, Algorithm 2.",
    .needs_teacher = 1,
    .target = CM_TARGET_AVERAGE,
    .is_discrete = 1,
    .precond = "cm",
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .options = cd_options,
    .defaults = cd_defaults,
    .run = distil,
};

static const char *const ct_options[] = {
    "distance",  "huber_c",     "lpips_weights", "lpips_lin",  "lpips_pooling", "lpips_resize", "sum_pixels",
    "weighting", "scales_mode", "start_scales",  "end_scales", "mu_mode",       "mu",           "rho",
    NULL};
static const cm_objective_default ct_defaults[] = {{"lr", 4e-4},
                                                   {"scales_mode", CM_SCALES_PROGRESSIVE},
                                                   {"start_scales", 2},
                                                   {"end_scales", 150},
                                                   {"mu_mode", CM_MU_ADAPTIVE},
                                                   {"mu", 0.9},
                                                   {NULL, 0}};
const cm_objective cmi_objective_ct = {
    .number = CM_TRAIN_CT,
    .name = "ct",
    .about = "Consistency training from data alone: Song et al. 2023, Algorithm 3.",
    .target = CM_TARGET_AVERAGE,
    .is_discrete = 1,
    .precond = "cm",
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .options = ct_options,
    .defaults = ct_defaults,
    .run = train,
};
