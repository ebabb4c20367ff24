/* objective_ect.c - easy consistency tuning (Geng et al. 2024; algorithms 6.2):
 *
 *   ln t ~ N(P_mean, P_std^2),  r = max(t (1 - decay adj(t)), 0)
 *   decay = q^-(stage+1),  adj = 1 + k sigmoid(-b t), or 1
 *   loss = w d_huber( f(x0 + t z, t), f(x0 + r z, r) ),  f(x, 0) = x,  w = 1/(t - r) or another of pair_weighting
 *
 * The target is the online weights without gradient.  t - r is formed as
 * t decay adj, not by the difference, which cancels in late stages. */
#include <math.h>

#include "io/tensors.h"
#include "train/objective.h"

void cmi_ect_pair(const cm_objective_settings *s, double t, double *r, double *gap)
{
    double adjust = s->mapping == CM_MAPPING_SIGMOID ? 1 + s->k / (1 + exp(s->b * t)) : 1;
    double share = pow(s->q, -(s->stage + 1)) * adjust;
    *gap = share < 1 ? t * share : t;
    *r = share < 1 ? t * (1 - share) : 0;
}

double cmi_pair_weight(const cm_objective_settings *s, double t, double gap)
{
    const double d = s->sigma_data, variance = t * t + d * d, c_out = t * d / sqrt(variance);
    switch (s->pairs) {
    case CM_PAIR_ROOT_GAP: return 1 / sqrt(gap);
    case CM_PAIR_C_OUT: return 1 / c_out;
    case CM_PAIR_C_OUT_SQUARED: return 1 / (c_out * c_out);
    case CM_PAIR_ONE: return 1;
    case CM_PAIR_KARRAS: return 1 / (t * t) + 1 / (d * d);
    default: return 1 / gap;
    }
}

static cm_status run(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    for (size_t i = 0; i < b->n; i++) {
        double gap;
        r.t[i] = exp(s->p_mean + s->p_std * b->normal[i]);
        cmi_ect_pair(s, r.t[i], &r.t2[i], &gap);
        r.weight[i] = cmi_pair_weight(s, r.t[i], gap);
        r.t3[i] = r.t2[i] > 0 ? r.t2[i] : r.t[i]; /* at 0 the network is not asked: f(x, 0) = x */
    }
    cmi_add_noise(b, r.size, r.t, r.x_t);
    cmi_add_noise(b, r.size, r.t2, r.x_t2);
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TARGET, r.x_t2, r.t3, NULL, r.target));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r.size; k < (i + 1) * r.size; k++)
            r.target[k] = r.t2[i] > 0 ? cmi_scrub(r.target[k]) : b->x0[k];
    return cmi_compare_and_learn(s, b, nets, &r);
}

cm_status cmi_check_mapping(const cm_train_settings *s, const cm_train_settings *d)
{
    if (s->mapping == CM_MAPPING_CONST && (s->ect_k != d->ect_k || s->ect_b != d->ect_b))
        CM_FAIL(CM_ERR_ARGUMENT, "ect_k and ect_b have no effect on mapping const");
    if (s->ect_stages == 1 && s->ect_stage_steps)
        CM_FAIL(CM_ERR_ARGUMENT, "ect_stage_steps has no effect with ect_stages 1");
    return CM_OK;
}

static cm_status check_levels(const cm_train_settings *s, const cm_objective_settings *o)
{
    return cmi_check_p_mean(s, o, 0);
}

static const char *const options[] = {
    "distance",       "huber_c", "lpips_weights", "lpips_lin",       "lpips_pooling",
    "lpips_resize",   "p_mean",  "p_std",         "mapping",         "ect_q",
    "ect_k",          "ect_b",   "ect_stages",    "ect_stage_steps", "ect_first_stage",
    "pair_weighting", NULL};
static const cm_objective_default defaults[] = {{NULL, 0}};
const cm_objective cmi_objective_ect = {
    .number = CM_TRAIN_ECT,
    .name = "ect",
    .about = "Easy consistency tuning of a diffusion model's weights: Geng et al. 2024.",
    .target = CM_TARGET_ONLINE,
    .precond = "ecm",
    .distance = CM_DISTANCE_PSEUDO_HUBER,
    .weighting = CM_WEIGHTING_UNIFORM,
    .published = CM_PUBLISHED_ECT,
    .options = options,
    .defaults = defaults,
    .check = cmi_check_mapping,
    .check_levels = check_levels,
    .run = run,
};
