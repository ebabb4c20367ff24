/* objective_progdist.c - progressive distillation (Salimans and Ho 2022;
 * algorithms 4.3): one step of the student for two of the teacher.
 *
 *   t > t2 > t3 half a step apart on a grid of N intervals; x_t = x0 + t z
 *   x3 = two Euler steps of the teacher, t -> t2 -> t3
 *   target = x_t - t (x3 - x_t) / (t3 - t),  loss = w(t) d( D(x_t, t), target ) */
#include <math.h>

#include "diffusion/schedule.h"
#include "train/objective.h"

/* x <- x + (x - D)/from (to - from) */
static cm_status euler(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_buffers *r, double *x,
                       const double *from, const double *to)
{
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TEACHER, x, from, NULL, r->d));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++)
            x[k] += (x[k] - r->d[k]) / from[i] * (to[i] - from[i]);
    return CM_OK;
}

static cm_status run(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    for (size_t i = 0; i < b->n; i++) {
        double index = floor(b->u[i] * s->scales);
        if (index > s->scales - 1) index = s->scales - 1;
        r.t[i] = cmi_karras_sigma(index, s->scales + 1, s->sigma_min, s->sigma_max, s->rho);
        r.t2[i] = cmi_karras_sigma(index + 0.5, s->scales + 1, s->sigma_min, s->sigma_max, s->rho);
        r.t3[i] = cmi_karras_sigma(index + 1, s->scales + 1, s->sigma_min, s->sigma_max, s->rho);
        r.weight[i] = cmi_weight(s->weighting, r.t[i], s->sigma_data);
    }
    cmi_add_noise(b, r.size, r.t, r.x_t);
    for (size_t k = 0; k < b->n * r.size; k++) r.x_t2[k] = r.x_t[k];
    CM_TRY(euler(b, nets, &r, r.x_t2, r.t, r.t2));
    CM_TRY(euler(b, nets, &r, r.x_t2, r.t2, r.t3));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r.size; k < (i + 1) * r.size; k++)
            r.target[k] = r.x_t[k] - r.t[i] * (r.x_t2[k] - r.x_t[k]) / (r.t3[i] - r.t[i]);
    return cmi_compare_and_learn(s, b, nets, &r);
}

static cm_status check(const cm_train_settings *s, const cm_train_settings *d)
{
    (void)d;
    if (s->scales_mode != CM_SCALES_PROGDIST)
        CM_FAIL(CM_ERR_ARGUMENT, "scales_mode of progressive distillation is progdist");
    if (s->start_scales & (s->start_scales - 1))
        CM_FAIL(CM_ERR_ARGUMENT, "start_scales is %d; halving it every stage needs a power of two", s->start_scales);
    return CM_OK;
}

static const char *const options[] = {"distance",      "huber_c",    "lpips_weights", "lpips_lin",   "lpips_pooling",
                                      "lpips_resize",  "sum_pixels", "weighting",     "scales_mode", "start_scales",
                                      "distill_steps", "rho",        "anneal_stages", NULL};
static const cm_objective_default defaults[] = {{"optimizer", CM_OPTIMIZER_ADAM},
                                                {"lr", 5e-5},
                                                {"scales_mode", CM_SCALES_PROGDIST},
                                                {"start_scales", 64},
                                                {"grad_clip", 1},
                                                {"clip_rule", CM_CLIP_RULE_OPTAX},
                                                {"anneal_stages", 1},
                                                {NULL, 0}};
const cm_objective cmi_objective_pd = {
    .number = CM_TRAIN_PD,
    .name = "pd",
    .about = "Progressive distillation of a diffusion model: Salimans and Ho 2022, Algorithm 2.",
    .needs_teacher = 1,
    .student_becomes_teacher = 1,
    .is_discrete = 1,
    .precond = "edm",
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_TRUNCATED_SNR,
    .options = options,
    .defaults = defaults,
    .check = check,
    .run = run,
};
