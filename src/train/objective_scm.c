/* objective_scm.c - sCM: consistency training and distillation in continuous time on TrigFlow's axis
 * (Lu and Song 2024, Algorithm 1; algorithms 7.2, derivatives 6):
 *
 *   tan t = sigma / sigma_data, ln sigma ~ N(P_mean, P_std^2),  x_t = cos t x0 + sin t sigma_data z
 *   v = cos t sigma_data z - sin t x0 (training)   or   sigma_data F_teacher (distillation)
 *   J = the derivative of F at (x_t / sigma_data, t) in the direction cos t sin t (v / sigma_data, 1)
 *   g = -cos^2 t (sigma_data F - v) - r (cos t sin t x_t + sigma_data J),   r rises from 0 to 1
 *   g <- g / (|g| + c)
 *   loss = exp(w(t)) mean (F_theta - F - g)^2 - w(t)
 *
 * With guidance w the teacher's velocity is, for images that have a label,
 *   v = v_u + w (v_c - v_u),   v_c, v_u = sigma_data F_teacher with and without the label,
 * where t / (pi / 2) is between guidance_from and guidance_to, and v_c elsewhere; without a label it is v_u.
 *
 * F and J are without gradient.  The factor cos t sin t stands in the direction, so that nothing overflows near
 * pi / 2.  w is a trained function of t (weight_net.h).
 *
 * The discrete form (appendix E) takes the teacher's DDIM step to t' < t and the difference of two values of F for
 * the derivative. */
#include <math.h>
#include <string.h>

#include "io/tensors.h"
#include "train/objective.h"
#include "train/option_rows.h"

static const cm_choice forms[] = {
    {"paper", "Algorithm 1 of Lu and Song 2024."},
    {"fastgen", "NVlabs/FastGen: another 1 / (sigma C H W) before the loss, and times up to pi/2 - 0.0001."},
    {"rcm", "NVlabs/rcm: the warm-up weighs the velocity, and 100 times the sum of squares without adaptive weight."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_scm_form_choices, "scm_forms", forms);

static const cm_choice norms[] = {
    {"l2", "The norm of the image."},
    {"rms", "The root of the mean of its squares."},
    {"none", "The tangent is not normalised."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_tangent_norm_choices, "tangent_norms", norms);

/* t; the networks' input in x_t, and v / sigma_data of training in d. */
static void draw(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_buffers *r)
{
    const double sd = s->sigma_data, most = acos(0) - 1e-4;
    for (size_t i = 0; i < b->n; i++) {
        double t = atan(exp(s->p_mean + s->p_std * b->normal[i]) / sd);
        if (s->form == CM_SCM_FASTGEN && t > most) t = most;
        const double c = cos(t), n = sin(t);
        r->t[i] = t;
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
            r->x_t[k] = c * b->x0[k] / sd + n * b->z[k];
            r->d[k] = c * b->z[k] - n * b->x0[k] / sd;
        }
    }
}

/* The direction in x_t2 and t2; then F in target and J in slope. */
static cm_status differentiate(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_buffers *r)
{
    const cm_objective_point at = {r->x_t, r->t, NULL}, along = {r->x_t2, r->t2, NULL};
    for (size_t i = 0; i < b->n; i++) {
        r->t2[i] = cos(r->t[i]) * sin(r->t[i]);
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) r->x_t2[k] = r->t2[i] * r->d[k];
    }
    return nets->tangent(nets->user, CM_ROLE_TARGET, &at, &along, r->target, r->slope);
}

/* g of one image over its J, in slope. */
static void combine(const cm_objective_settings *s, const cm_objective_buffers *r, size_t i)
{
    const double sd = s->sigma_data, t = r->t[i], c = cos(t), n = sin(t), share = s->tangent_share;
    const double first = s->form == CM_SCM_RCM ? c * sqrt(1 - share * share * n * n) : c * c;
    const double second = s->form == CM_SCM_RCM ? 1 : share;
    for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
        const double off = first * (r->target[k] - r->d[k]);
        r->slope[k] = -off - share * c * n * r->x_t[k] - second * r->slope[k];
        if (s->form != CM_SCM_RCM) r->slope[k] *= sd; /* [RCM] has sigma_data 1 */
    }
}

/* g / (|g| + c); the sum of its squares. */
static double normalise(const cm_objective_settings *s, size_t size, double *g)
{
    double sum = 0, norm;
    for (size_t k = 0; k < size; k++) sum += g[k] * g[k];
    if (s->tangent_norm == CM_TANGENT_NORM_NONE) return sum;
    norm = sqrt(s->tangent_norm == CM_TANGENT_NORM_RMS ? sum / (double)size : sum) + s->tangent_c;
    for (size_t k = 0; k < size; k++) g[k] /= norm;
    return sum / (norm * norm);
}

/* The loss of one image whose g has that sum of squares: what its gradient by F is times g, and the one by w. */
static double loss_of(const cm_objective_settings *s, double t, double w, double sum, size_t size, double *factor,
                      double *of_w)
{
    const double d = (double)size;
    double scale = exp(w) / d;
    if (s->form == CM_SCM_RCM) scale = 100, w = 0;
    if (s->form == CM_SCM_FASTGEN) scale = exp(w) / (cmi_trig_sigma(s->sigma_data, t) * d * d);
    *factor = -2 * scale;
    *of_w = scale * sum - 1;
    return scale * sum - w;
}

/* g is in slope: its norm, the weight, and the gradient back through F of the network that learns. */
static cm_status learn(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                       cm_objective_buffers *r)
{
    double *w = r->t3, *of_w = r->weight, factor;
    memset(w, 0, b->n * sizeof *w);
    if (nets->weigh) CM_TRY(nets->weigh(nets->user, r->t, w));
    for (size_t i = 0; i < b->n; i++) {
        double *g = r->slope + i * r->size;
        const double sum = normalise(s, r->size, g);
        b->loss[i] = loss_of(s, r->t[i], w[i], sum, r->size, &factor, &of_w[i]);
        of_w[i] *= b->share[i];
        for (size_t k = 0; k < r->size; k++) g[k] *= factor * b->share[i];
    }
    if (nets->weigh) CM_TRY(nets->weigh_back(nets->user, r->t, of_w));
    CM_TRY(nets->online(nets->user, r->x_t, r->t, NULL, r->online));
    return nets->backward(nets->user, r->slope);
}

static cm_status continuous(const cm_objective_settings *s, const cm_objective_batch *b,
                            const cm_objective_nets *nets, cm_objective_buffers *r)
{
    CM_TRY(differentiate(b, nets, r));
    for (size_t i = 0; i < b->n; i++) combine(s, r, i);
    return learn(s, b, nets, r);
}

static cm_status train(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw(s, b, &r);
    return continuous(s, b, nets, &r);
}

/* The teacher's velocity at x_t in d, with guidance. */
static cm_status ask_teacher(const cm_objective_settings *s, const cm_objective_batch *b,
                             const cm_objective_nets *nets, cm_objective_buffers *r)
{
    double *without = r->target;
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TEACHER, r->x_t, r->t, NULL, r->d));
    if (s->guidance == 1 || !b->labels) return CM_OK;
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TEACHER_UNCONDITIONAL, r->x_t, r->t, NULL, without));
    for (size_t i = 0; i < b->n; i++) {
        const double share = r->t[i] / acos(0);
        const double inside = share >= s->guidance_from && share <= s->guidance_to ? s->guidance : 1;
        const double w = b->labels[i] >= 0 ? inside : 0;
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) r->d[k] = without[k] + w * (r->d[k] - without[k]);
    }
    return CM_OK;
}

static cm_status distil(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw(s, b, &r);
    CM_TRY(ask_teacher(s, b, nets, &r));
    return continuous(s, b, nets, &r);
}

/* g = cos t Delta of the discrete form, of one image; F at t' is in slope. */
static void combine_discrete(const cm_objective_settings *s, const cm_objective_buffers *r, size_t i)
{
    const double sd = s->sigma_data, t = r->t[i], u = r->t2[i], c = cos(t - u), n = sin(t - u);
    for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
        const double moved = r->x_t[k] + (c * r->target[k] - r->slope[k]) / n;
        r->slope[k] = -sd * cos(t) * (cos(u) * (r->target[k] - r->d[k]) + s->tangent_share * sin(u) * moved);
    }
}

static cm_status distil_discrete(const cm_objective_settings *s, const cm_objective_batch *b,
                                 const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw(s, b, &r);
    CM_TRY(ask_teacher(s, b, nets, &r));
    for (size_t i = 0; i < b->n; i++) {
        r.t2[i] = r.t[i] * (s->discrete_from + (s->discrete_to - s->discrete_from) * b->u[i]);
        const double c = cos(r.t[i] - r.t2[i]), n = sin(r.t[i] - r.t2[i]);
        for (size_t k = i * r.size; k < (i + 1) * r.size; k++) r.x_t2[k] = c * r.x_t[k] - n * r.d[k];
    }
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TARGET, r.x_t, r.t, NULL, r.target));
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TARGET, r.x_t2, r.t2, NULL, r.slope));
    for (size_t i = 0; i < b->n; i++) combine_discrete(s, &r, i);
    return learn(s, b, nets, &r);
}

static cm_status check(const cm_train_settings *s, const cm_train_settings *d)
{
    if (s->tangent_norm == CM_TANGENT_NORM_NONE && s->tangent_c != d->tangent_c)
        CM_FAIL(CM_ERR_ARGUMENT, "tangent_c has no effect on tangent_norm none");
    if (s->scm_form == CM_SCM_RCM && s->weight_net != CM_WEIGHT_NET_NONE)
        CM_FAIL(CM_ERR_ARGUMENT, "scm_form rcm has no adaptive weight: weight_net is none there");
    if (s->discrete_from > s->discrete_to)
        CM_FAIL(CM_ERR_ARGUMENT, "discrete_from %g is above discrete_to %g", s->discrete_from, s->discrete_to);
    return cmi_check_guidance(s, d);
}

static cm_status check_form(const cm_train_settings *s, const cm_train_settings *d)
{
    if (s->scm_form == CM_SCM_RCM && s->objective == CM_TRAIN_SCT)
        CM_FAIL(CM_ERR_ARGUMENT, "scm_form rcm is one of distillation: objective scd");
    return check(s, d);
}

static cm_status check_levels(const cm_train_settings *s, const cm_objective_settings *o)
{
    return cmi_check_p_mean(s, o, 0);
}

static const char *const options[] = {"p_mean",    "p_std",          "scm_form",   "tangent_norm",
                                      "tangent_c", "tangent_warmup", "weight_net", NULL};
#define DISTILLATION "guidance", "guidance_from", "guidance_to"
static const char *const distillation_options[] = {
    "p_mean", "p_std", "scm_form", "tangent_norm", "tangent_c", "tangent_warmup", "weight_net", DISTILLATION, NULL};
static const cm_objective_default defaults[] = {{"p_mean", -1}, {"p_std", 1.4}, {"beta2", 0.99}, {NULL, 0}};
const cm_objective cmi_objective_sct = {
    .number = CM_TRAIN_SCT,
    .name = "sct",
    .about = "Continuous-time consistency training on TrigFlow's axis, sCT: Lu and Song 2024.",
    .axis = CM_AXIS_TRIG,
    .differentiates = 1,
    .precond = "ecm",
    .precond_trigflow = "trigflow",
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .published = CM_PUBLISHED_SCM,
    .options = options,
    .defaults = defaults,
    .check = check_form,
    .check_levels = check_levels,
    .run = train,
};
const cm_objective cmi_objective_scd = {
    .number = CM_TRAIN_SCD,
    .name = "scd",
    .about = "Continuous-time consistency distillation on TrigFlow's axis, sCD: Lu and Song 2024.",
    .needs_teacher = 1,
    .teacher_denoises = 1,
    .axis = CM_AXIS_TRIG,
    .differentiates = 1,
    .precond = "ecm",
    .precond_trigflow = "trigflow",
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .published = CM_PUBLISHED_SCM,
    .guides = cmi_guides_by_scale,
    .teacher_guides = 1,
    .options = distillation_options,
    .defaults = defaults,
    .check = check_form,
    .check_levels = check_levels,
    .run = distil,
};

static const char *const discrete_options[] = {"p_mean",         "p_std",      "tangent_norm",  "tangent_c",
                                               "tangent_warmup", "weight_net", "discrete_from", "discrete_to",
                                               DISTILLATION,     NULL};
const cm_objective cmi_objective_dscd = {
    .number = CM_TRAIN_DSCD,
    .name = "dscd",
    .about = "Consistency distillation on TrigFlow's axis by the teacher's steps: Lu and Song 2024, appendix E.",
    .needs_teacher = 1,
    .teacher_denoises = 1,
    .axis = CM_AXIS_TRIG,
    .target = CM_TARGET_ONLINE,
    .precond = "ecm",
    .precond_trigflow = "trigflow",
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .published = CM_PUBLISHED_SCM,
    .guides = cmi_guides_by_scale,
    .teacher_guides = 1,
    .options = discrete_options,
    .defaults = defaults,
    .check = check,
    .check_levels = check_levels,
    .run = distil_discrete,
};
