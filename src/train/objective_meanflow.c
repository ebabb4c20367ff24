/* objective_meanflow.c - MeanFlow (Geng et al. 2025; derivatives 7):
 *
 *   z = (1 - t) x0 + t e,  v = e - x0: data at t = 0, noise at t = 1
 *   u(z; t, r) is the mean velocity between r and t, r <= t
 *   u' = the derivative of u at (z, t, r) in the direction (v, 1, 0)
 *   l = |u - (v - (t - r) u')|^2, the second without gradient;  loss = l / (l + eps)^p, the divisor a constant
 *
 * Where r = t this is flow matching.  With guidance v is, in the target and in the direction,
 *   w v + (1 - w - k) v_u + k v_c,   v_u, v_c = u(z; t, t) without and with the label, of the weights that learn,
 * for t between guidance_from and guidance_to and images that kept their label.
 *
 * Improved MeanFlow (Geng et al. 2025b) is of a network with a second output, the velocity v_c itself, which gives
 * the direction; it is told the guidance w and the interval of times that has it, which are drawn:
 *   v_g = v + (1 - 1/w) (v_c - v_u),  loss = A(|u + (t - r) u' - v_g|^2) + A(|v_c - v_g|^2),  A(l) = l / (l + eps)^p
 */
#include <math.h>
#include <string.h>

#include "train/objective.h"
#include "train/option_rows.h"

static const cm_choice samplers[] = {
    {"v0", "t and r are two draws in order; then r is t with probability 1 - flow_ratio."},
    {"v1", "t and r have distributions of their own; r is t with probability 1 - flow_ratio, and where it is above."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_flow_sampler_choices, "flow_samplers", samplers);

void cmi_meanflow_times(const cm_objective_settings *s, double n_t, double n_r, double uniform, double *t, double *r)
{
    double a = cmi_sigmoid(s->p_mean + s->p_std * n_t), b = cmi_sigmoid(s->r_mean + s->r_std * n_r);
    const int same = uniform < 1 - s->flow_ratio;
    if (s->flow_sampler == CM_FLOW_SAMPLER_V0 && b > a) {
        const double larger = b;
        b = a, a = larger;
    }
    *t = a;
    *r = same || b > a ? a : b;
}

/* t, r in t2; z in x_t, v in d. */
static void draw(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_buffers *r)
{
    for (size_t i = 0; i < b->n; i++) {
        cmi_meanflow_times(s, b->normal[i], b->more_normal[i], b->u[i], &r->t[i], &r->t2[i]);
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
            r->x_t[k] = (1 - r->t[i]) * b->x0[k] + r->t[i] * b->z[k];
            r->d[k] = b->z[k] - b->x0[k];
        }
    }
}

/* v becomes that of the guided field. */
static cm_status guide(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                       cm_objective_buffers *r)
{
    const double w = s->guidance, k = s->guidance_mix;
    double *without = r->x_t2, *with = r->target;
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_UNCONDITIONAL, r->x_t, r->t, r->t, without));
    if (k != 0) CM_TRY(nets->evaluate(nets->user, CM_ROLE_PLAIN, r->x_t, r->t, r->t, with));
    for (size_t i = 0; i < b->n; i++) {
        if (r->t[i] < s->guidance_from || r->t[i] > s->guidance_to || b->labels[i] < 0) continue;
        for (size_t j = i * r->size; j < (i + 1) * r->size; j++)
            r->d[j] = w * r->d[j] + (1 - w - k) * without[j] + (k != 0 ? k * with[j] : 0);
    }
    return CM_OK;
}

/* u' in slope, then the target v - (t - r) u' in target; u there is without gradient. */
static cm_status aim(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_buffers *r)
{
    const cm_objective_point at = {r->x_t, r->t, r->t2}, along = {r->d, r->t3, r->weight};
    for (size_t i = 0; i < b->n; i++) r->t3[i] = 1, r->weight[i] = 0;
    CM_TRY(nets->tangent(nets->user, CM_ROLE_TARGET, &at, &along, r->target, r->slope));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++)
            r->target[k] = r->d[k] - (r->t[i] - r->t2[i]) * r->slope[k];
    return CM_OK;
}

/* A(|e|^2), and e becomes its gradient times `share`. */
static double adapt(const cm_objective_settings *s, size_t size, double share, double *e)
{
    double sum = 0;
    for (size_t k = 0; k < size; k++) sum += e[k] * e[k];
    const double weight = pow(sum + s->adaptive_eps, -s->adaptive_p);
    for (size_t k = 0; k < size; k++) e[k] *= 2 * weight * share;
    return weight * sum;
}

static cm_status run(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw(s, b, &r);
    if (b->labels && (s->guidance != 1 || s->guidance_mix != 0)) CM_TRY(guide(s, b, nets, &r));
    CM_TRY(aim(b, nets, &r));
    CM_TRY(nets->online(nets->user, r.x_t, r.t, r.t2, r.online));
    for (size_t i = 0; i < b->n; i++) {
        for (size_t k = i * r.size; k < (i + 1) * r.size; k++) r.slope[k] = r.online[k] - r.target[k];
        b->loss[i] = adapt(s, r.size, b->share[i], r.slope + i * r.size);
    }
    return nets->backward(nets->user, r.slope);
}

/* --- improved ------------------------------------------------------------------------- */

/* w of a uniform number: density ~ w^-beta on 1..8. */
static double draw_guidance(double u, double beta)
{
    if (beta == 1) return exp(u * log(8));
    return exp(log(1 + u * (pow(8, 1 - beta) - 1)) / (1 - beta));
}

/* What the network is told at (t, r), in told, and of the velocities at t behind it: there the interval is whole,
 * and w is 1 outside of the interval, which images with r = t do not have. */
static void draw_guidances(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_buffers *r)
{
    double *at = r->told, *here = r->told + 3 * b->n;
    for (size_t i = 0; i < b->n; i++) {
        const int same = r->t2[i] == r->t[i];
        const double w = draw_guidance(b->more_u[i], s->guidance_beta);
        const double from = same ? 0 : 0.5 * b->more_u[b->n + i], to = same ? 1 : 0.5 + 0.5 * b->more_u[2 * b->n + i];
        at[3 * i] = w, at[3 * i + 1] = from, at[3 * i + 2] = to;
        here[3 * i] = same || (r->t[i] >= from && r->t[i] <= to) ? w : 1;
        here[3 * i + 1] = 0, here[3 * i + 2] = 1;
    }
}

/* The second output of a network at (z, t, t), to the places of one. */
static cm_status velocity(const cm_objective_batch *b, const cm_objective_nets *nets, int role,
                          const cm_objective_buffers *r, const double *told, double *out)
{
    CM_TRY(nets->condition(nets->user, told));
    CM_TRY(nets->evaluate(nets->user, role, r->x_t, r->t, r->t, out));
    for (size_t i = 0; i < b->n; i++) memmove(out + i * r->size, out + (2 * i + 1) * r->size, r->size * sizeof *out);
    return CM_OK;
}

/* v becomes v_g; v_c is left in target. */
static cm_status guide_by_head(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_buffers *r)
{
    double *told = r->told + 3 * b->n, *plain = r->slope, *without = r->x_t2, *with = r->target;
    memcpy(plain, told, 3 * b->n * sizeof *plain);
    for (size_t i = 0; i < b->n; i++) plain[3 * i] = 1;
    CM_TRY(velocity(b, nets, CM_ROLE_UNCONDITIONAL, r, plain, without));
    CM_TRY(velocity(b, nets, CM_ROLE_PLAIN, r, told, with));
    for (size_t i = 0; i < b->n; i++) {
        if (b->labels && b->labels[i] < 0) continue;
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++)
            r->d[k] += (1 - 1 / told[3 * i]) * (with[k] - without[k]);
    }
    return CM_OK;
}

static cm_status improve(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    const cm_objective_point at = {r.x_t, r.t, r.t2}, along = {r.target, r.t3, r.weight};
    draw(s, b, &r);
    draw_guidances(s, b, &r);
    CM_TRY(guide_by_head(b, nets, &r));
    for (size_t i = 0; i < b->n; i++) r.t3[i] = 1, r.weight[i] = 0;
    CM_TRY(nets->condition(nets->user, r.told));
    CM_TRY(nets->tangent(nets->user, CM_ROLE_TARGET, &at, &along, r.online, r.slope));
    CM_TRY(nets->online(nets->user, r.x_t, r.t, r.t2, r.online));
    for (size_t i = 0; i < b->n; i++) {
        double *u = r.slope + 2 * i * r.size, *v = u + r.size, *goal = r.d + i * r.size;
        const double *of_u = r.online + 2 * i * r.size, *of_v = of_u + r.size;
        for (size_t k = 0; k < r.size; k++) {
            u[k] = of_u[k] + (r.t[i] - r.t2[i]) * u[k] - goal[k];
            v[k] = of_v[k] - goal[k];
        }
        b->loss[i] = adapt(s, r.size, b->share[i], u) + adapt(s, r.size, b->share[i], v);
    }
    return nets->backward(nets->user, r.slope);
}

static cm_status check_r(const cm_train_settings *s, const cm_train_settings *d)
{
    if (s->flow_sampler == CM_FLOW_SAMPLER_V1 && s->flow_ratio == 0 &&
        (s->r_mean != d->r_mean || s->r_std != d->r_std))
        CM_FAIL(CM_ERR_ARGUMENT, "r_mean and r_std have no effect with flow_ratio 0");
    return CM_OK;
}

static cm_status check(const cm_train_settings *s, const cm_train_settings *d)
{
    CM_TRY(cmi_check_guidance(s, d));
    return check_r(s, d);
}

static const char *const options[] = {"p_mean",        "p_std",       "r_mean",       "r_std",    "flow_sampler",
                                      "flow_ratio",    "adaptive_p",  "adaptive_eps", "guidance", "guidance_mix",
                                      "guidance_from", "guidance_to", "augment",      NULL};
static const cm_objective_default defaults[] = {
    {"optimizer", CM_OPTIMIZER_ADAM}, {"lr", 6e-4}, {"p_mean", -2}, {"p_std", 2}, {NULL, 0}};

const cm_objective cmi_objective_meanflow = {
    .number = CM_TRAIN_MEANFLOW,
    .name = "meanflow",
    .about = "The mean velocity between two times, MeanFlow: Geng et al. 2025.",
    .axis = CM_AXIS_RAW,
    .target = CM_TARGET_NONE,
    .differentiates = 1,
    .guides = cmi_guides_by_scale,
    .precond_two_times = "average-velocity",
    .options = options,
    .defaults = defaults,
    .check = check,
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .run = run,
};

static int always(const cm_train_settings *s)
{
    (void)s;
    return 1;
}

static const char *const improved_options[] = {"p_mean",        "p_std",      "r_mean",     "r_std",
                                               "flow_sampler",  "flow_ratio", "adaptive_p", "adaptive_eps",
                                               "guidance_beta", "augment",    NULL};
static const cm_objective_default improved_defaults[] = {{"optimizer", CM_OPTIMIZER_ADAM},
                                                         {"lr", 1e-4},
                                                         {"p_mean", -0.4},
                                                         {"p_std", 1},
                                                         {"r_mean", -0.4},
                                                         {"r_std", 1},
                                                         {"flow_ratio", 0.5},
                                                         {"adaptive_p", 1},
                                                         {"adaptive_eps", 0.01},
                                                         {"label_dropout", 0.1},
                                                         {NULL, 0}};
const cm_objective cmi_objective_improved_meanflow = {
    .number = CM_TRAIN_IMEANFLOW,
    .name = "imeanflow",
    .about = "The mean velocity, with the velocity as a second output and guidance as an input: Geng et al. 2025b.",
    .axis = CM_AXIS_RAW,
    .target = CM_TARGET_NONE,
    .differentiates = 1,
    .heads = 2,
    .guides = always,
    .precond_two_times = "average-velocity",
    .options = improved_options,
    .defaults = improved_defaults,
    .check = check_r,
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .run = improve,
};
