/* objective_ict.c - improved consistency training (Song and Dhariwal 2023;
 * algorithms 6.1):
 *
 *   levels s_1 = sigma_min < .. < s_N; pair (s_i, s_{i+1}) with the probability
 *   that a lognormal level falls between them; target = the online weights
 *   loss = d_huber( f(x0 + s_{i+1} z, s_{i+1}), f(x0 + s_i z, s_i) ) / (s_{i+1} - s_i) */
#include <math.h>

#include "diffusion/schedule.h"
#include "train/objective.h"

double cmi_ict_level(const cm_objective_settings *s, int32_t j)
{
    return cmi_karras_sigma(s->scales - 1 - j, s->scales, s->sigma_min, s->sigma_max, s->rho);
}

double cmi_ict_cumulated(const cm_objective_settings *s, int32_t j)
{
    const double level = cmi_ict_level(s, j);
    return erf((log(level) - s->p_mean) / (1.41421356237309504880 * s->p_std));
}

/* The pair whose interval of the cumulated probability holds u.  The sum
 * telescopes, so the boundary is found by bisection. */
static int32_t pair_of(const cm_objective_settings *s, double u)
{
    double bottom = cmi_ict_cumulated(s, 0), top = cmi_ict_cumulated(s, s->scales - 1);
    double wanted = bottom + u * (top - bottom);
    int32_t low = 0, high = s->scales - 1; /* erf(level low) <= wanted < erf(level high) */
    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        if (cmi_ict_cumulated(s, middle) <= wanted) low = middle;
        else high = middle;
    }
    return low;
}

static cm_status run(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    for (size_t i = 0; i < b->n; i++) {
        int32_t j = pair_of(s, b->u[i]);
        r.t2[i] = cmi_ict_level(s, j);
        r.t[i] = cmi_ict_level(s, j + 1);
        r.weight[i] = 1 / (r.t[i] - r.t2[i]);
    }
    cmi_add_noise(b, r.size, r.t, r.x_t);
    cmi_add_noise(b, r.size, r.t2, r.x_t2);
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TARGET, r.x_t2, r.t2, NULL, r.target));
    return cmi_compare_and_learn(s, b, nets, &r);
}

static cm_status check_levels(const cm_train_settings *s, const cm_objective_settings *o)
{
    return cmi_check_p_mean(s, o, 1);
}

static const char *const options[] = {
    "distance", "huber_c", "lpips_weights", "lpips_lin",    "lpips_pooling", "lpips_resize",
    "p_mean",   "p_std",   "scales_mode",   "start_scales", "end_scales",    "rho",
    NULL};
static const cm_objective_default defaults[] = {
    {"scales_mode", CM_SCALES_ICT}, {"start_scales", 10}, {"end_scales", 1280}, {NULL, 0}};
const cm_objective cmi_objective_ict = {
    .number = CM_TRAIN_ICT,
    .name = "ict",
    .about = "Improved consistency training from data alone: Song and Dhariwal 2023.",
    .target = CM_TARGET_ONLINE,
    .is_discrete = 1,
    .precond = "cm",
    .distance = CM_DISTANCE_PSEUDO_HUBER,
    .weighting = CM_WEIGHTING_UNIFORM,
    .huber_scale = 0.00054,
    .options = options,
    .defaults = defaults,
    .check_levels = check_levels,
    .run = run,
};
