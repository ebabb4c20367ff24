/* objective_edm.c - denoising score matching (algorithms 4.1):
 *
 *   loss = w(sigma) d(D(x0 + sigma z; sigma), x0),  ln sigma ~ N(P_mean, P_std^2)
 *
 * Mean over the values as in openai/consistency_models, or their sum as in
 * NVlabs/edm (distance.sum); the VP and VE losses of NVlabs/edm are levels "vp"
 * or "ve" with weighting "snr".
 *
 * With weight_net a trained u(ln(sigma)/4), the log of the expected loss at a noise level, stands beside the network
 * (Karras et al. 2024, equation 21): loss = w(sigma) d / exp(u) + u. */
#include <math.h>
#include <string.h>

#include "diffusion/schedule.h"
#include "train/objective.h"

static double level(const cm_objective_settings *s, double u, double normal)
{
    switch (s->levels) {
    case CM_LEVELS_VP: return cmi_vp_sigma(1 + u * (1e-5 - 1), 19.9, 0.1);
    case CM_LEVELS_VE: return cmi_ve_sigma(u, 0.02, 100);
    default: return exp(s->p_mean + s->p_std * normal);
    }
}

/* The weights become those of the loss divided by exp(u), w = -u; times: ln(sigma)/4. */
static cm_status weigh(const cm_objective_batch *b, const cm_objective_nets *nets, const cm_objective_buffers *r,
                       double *times, double *w)
{
    for (size_t i = 0; i < b->n; i++) times[i] = log(r->t[i]) / 4;
    CM_TRY(nets->weigh(nets->user, times, w));
    for (size_t i = 0; i < b->n; i++) r->weight[i] *= exp(w[i]);
    return CM_OK;
}

/* u is added to the losses, and learns. */
static cm_status weigh_back(const cm_objective_batch *b, const cm_objective_nets *nets, const double *times,
                            const double *w, double *of_w)
{
    for (size_t i = 0; i < b->n; i++) {
        of_w[i] = (b->loss[i] - 1) * b->share[i];
        b->loss[i] -= w[i];
    }
    return nets->weigh_back(nets->user, times, of_w);
}

static cm_status run(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    for (size_t i = 0; i < b->n; i++) {
        r.t[i] = level(s, b->u[i], b->normal[i]);
        r.weight[i] = cmi_weight(s->weighting, r.t[i], s->sigma_data);
    }
    cmi_add_noise(b, r.size, r.t, r.x_t);
    memcpy(r.target, b->x0, b->n * r.size * sizeof *r.target);
    if (!nets->weigh) return cmi_compare_and_learn(s, b, nets, &r);
    CM_TRY(weigh(b, nets, &r, r.t2, r.t3));
    CM_TRY(cmi_compare_and_learn(s, b, nets, &r));
    return weigh_back(b, nets, r.t2, r.t3, r.weight);
}

static cm_status check(const cm_train_settings *s, const cm_train_settings *d)
{
    if (s->levels != CM_LEVELS_LOGNORMAL && (s->p_mean != d->p_mean || s->p_std != d->p_std))
        CM_FAIL(CM_ERR_ARGUMENT, "p_mean and p_std have no effect on levels %s",
                cmi_level_choices.at((size_t)s->levels).name);
    return CM_OK;
}

static cm_status check_levels(const cm_train_settings *s, const cm_objective_settings *o)
{
    return s->levels == CM_LEVELS_LOGNORMAL ? cmi_check_p_mean(s, o, 0) : CM_OK;
}

static const char *const options[] = {"distance", "huber_c", "sum_pixels", "weighting",  "levels",
                                      "p_mean",   "p_std",   "augment",    "weight_net", NULL};
static const cm_objective_default defaults[] = {
    {"optimizer", CM_OPTIMIZER_ADAM},   {"lr", 1e-3}, {"p_mean", -1.2}, {"p_std", 1.2},
    {"weight_net", CM_WEIGHT_NET_NONE}, {NULL, 0}};
const cm_objective cmi_objective_edm = {
    .number = CM_TRAIN_EDM,
    .name = "edm",
    .about = "Denoising, which makes a diffusion model, the teacher of others: Karras et al. 2022, equation 8.",
    .precond = "edm",
    .precond_trigflow = "trigflow-edm",
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_KARRAS,
    .options = options,
    .defaults = defaults,
    .check = check,
    .check_levels = check_levels,
    .run = run,
};
