/* objective_soflow.c - SoFlow (successors 5), the solution function of a flow, learnt without a derivative:
 *
 *   x_t = (1 - t) x0 + t z, v = z - x0;   "trig": x_t = cos(pi t/2) x0 + sin(pi t/2) z, v its slope
 *   f(x, t, s) = a x + b N(x; t, s), the flow's state at s;   "euler": a = 1, b = s - t;
 *                                                             "trig": a = cos(pi/2 (s - t)), b = sin(pi/2 (s - t))
 *
 * The chosen images learn the velocity, df/ds at s = t:  |b_s N(x_t; t, t) - v|^2 by flow matching.  The others learn
 * that f(x_t, t, s) does not depend on the point of a path: with x_l = x_t + v (l - t) a little before,
 *   q = (f(x_t, t, s) - f(x_l, l, s)) / (t - l),   gradient by N(x_t; t, s): sign(b) q, up to a weight
 * where both have the same dropout.  Weights are (mean square + eps)^-p, constants.  The loss that is told is the
 * weighted mean square of d or q.
 *
 * With guidance v is v + c(t) (w - 1) (v - v_u), and then (1 - k) v + k v_c, for images that kept their label: v_u
 * and v_c are the network's velocities without and with it. */
#include <math.h>
#include <string.h>

#include "train/objective.h"
#include "train/option_rows.h"

static const double half_pi = 1.57079632679489661923;
/* The least distance between times. */
static const double gap = 1e-4;

static const cm_choice schedules[] = {
    {"exponent", "begin (end / begin)^x, x the share of the run that is done."},
    {"linear", "begin + (end - begin) x."},
    {"cosine", "end + (begin - end) (1 + cos(pi x)) / 2."},
    {"const", "end."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_ratio_schedule_choices, "ratio_schedules", schedules);

double cmi_soflow_ratio(int32_t schedule, double begin, double end, double done)
{
    switch (schedule) {
    case CM_RATIO_LINEAR: return begin + (end - begin) * done;
    case CM_RATIO_COSINE: return end + (begin - end) * (1 + cos(2 * half_pi * done)) / 2;
    case CM_RATIO_CONST: return end;
    default: return begin * pow(end / begin, done);
    }
}

double cmi_soflow_decay(double t, double from)
{
    static const double steepness = 0.025;
    if (t <= from || from >= 1) return 1;
    const double u = fmin((1 - t) / (1 - from), 1 - 1e-6);
    return 1 - exp(-steepness * u / (1 - u));
}

double cmi_soflow_velocity_time(const cm_objective_settings *s, double normal)
{
    return cmi_sigmoid(s->velocity_mean + s->velocity_std * normal);
}

void cmi_soflow_times(const cm_objective_settings *s, double n_s, double n_t, double *t, double *second, double *l)
{
    *t = fmax(cmi_sigmoid(s->p_mean + s->p_std * n_t), gap);
    *second = fmin(cmi_sigmoid(s->r_mean + s->r_std * n_s), *t - gap);
    *l = fmin(*t + (*second - *t) * s->ratio, *t - gap);
}

cm_soflow_map cmi_soflow_map(int32_t solution, double t, double s)
{
    if (solution == CM_FLOW_EULER) return (cm_soflow_map){1, s - t, 1};
    return (cm_soflow_map){cos(half_pi * (s - t)), sin(half_pi * (s - t)), half_pi};
}

static int learns_velocity(const cm_objective_batch *b, size_t i)
{
    return b->chosen && b->chosen[i];
}

/* t, s in t2 and l in t3. */
static void draw_times(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_buffers *r)
{
    for (size_t i = 0; i < b->n; i++)
        if (learns_velocity(b, i)) r->t[i] = r->t2[i] = r->t3[i] = cmi_soflow_velocity_time(s, b->normal[i]);
        else cmi_soflow_times(s, b->more_normal[i], b->more_normal[b->n + i], &r->t[i], &r->t2[i], &r->t3[i]);
}

/* x_t, and v in d. */
static void move(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_buffers *r)
{
    for (size_t i = 0; i < b->n; i++) {
        const double t = r->t[i], angle = half_pi * t;
        const int trig = s->path == CM_FLOW_TRIG;
        const double of_x = trig ? cos(angle) : 1 - t, of_z = trig ? sin(angle) : t;
        const double slope_x = trig ? -half_pi * sin(angle) : -1, slope_z = trig ? half_pi * cos(angle) : 1;
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
            r->x_t[k] = of_x * b->x0[k] + of_z * b->z[k];
            r->d[k] = slope_x * b->x0[k] + slope_z * b->z[k];
        }
    }
}

/* v becomes that of the guided field. */
static cm_status guide(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                       cm_objective_buffers *r)
{
    const double k = s->guidance_mix, slope = cmi_soflow_map(s->solution, 0, 0).slope;
    double *without = r->x_t2, *with = r->target;
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_UNCONDITIONAL, r->x_t, r->t, r->t, without));
    if (k != 0) CM_TRY(nets->evaluate(nets->user, CM_ROLE_PLAIN, r->x_t, r->t, r->t, with));
    for (size_t i = 0; i < b->n; i++) {
        const double more = cmi_soflow_decay(r->t[i], s->guidance_decay) * (s->guidance - 1);
        if (b->labels[i] < 0) continue;
        for (size_t j = i * r->size; j < (i + 1) * r->size; j++) {
            const double v = r->d[j] + more * (r->d[j] - slope * without[j]);
            r->d[j] = k != 0 ? (1 - k) * v + k * slope * with[j] : v;
        }
    }
    return CM_OK;
}

/* x_l, and N(x_l; l, s) in target, where an image needs it. */
static cm_status look_back(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_buffers *r)
{
    int needed = 0;
    for (size_t i = 0; i < b->n; i++) {
        needed |= !learns_velocity(b, i);
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++)
            r->x_t2[k] = r->x_t[k] + r->d[k] * (r->t3[i] - r->t[i]);
    }
    return needed ? nets->evaluate(nets->user, CM_ROLE_TARGET, r->x_t2, r->t3, r->t2, r->target) : CM_OK;
}

/* The error of image i, in slope: d of its velocity, or q. */
static void fill_error(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_buffers *r, size_t i)
{
    const double t = r->t[i], l = r->t3[i];
    const cm_soflow_map at = cmi_soflow_map(s->solution, t, r->t2[i]),
                        before = cmi_soflow_map(s->solution, l, r->t2[i]);
    for (size_t k = i * r->size; k < (i + 1) * r->size; k++) {
        if (learns_velocity(b, i)) {
            r->slope[k] = at.slope * r->online[k] - r->d[k];
            continue;
        }
        const double f_t = at.a * r->x_t[k] + at.b * r->online[k];
        const double f_l = before.a * r->x_t2[k] + before.b * r->target[k];
        r->slope[k] = (f_t - f_l) / (t - l);
    }
}

/* Its loss; the error becomes the gradient by N. */
static void weigh(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_buffers *r, size_t i)
{
    const cm_soflow_map at = cmi_soflow_map(s->solution, r->t[i], r->t2[i]);
    double *e = r->slope + i * r->size, sum = 0;
    for (size_t k = 0; k < r->size; k++) sum += e[k] * e[k];
    const double mean = sum / (double)r->size;
    r->weight[i] = pow(mean + s->adaptive_eps, -s->adaptive_p);
    if (learns_velocity(b, i)) r->weight[i] /= at.slope;
    b->loss[i] = r->weight[i] * mean;
    const double by = learns_velocity(b, i) ? 2 * at.slope : at.b > 0 ? 1 : -1;
    for (size_t k = 0; k < r->size; k++) e[k] *= by * r->weight[i] * b->share[i] / (double)r->size;
}

cm_status cmi_soflow_learn(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                           cm_objective_buffers *r)
{
    move(s, b, r);
    if (b->labels && (s->guidance != 1 || s->guidance_mix != 0)) CM_TRY(guide(s, b, nets, r));
    CM_TRY(look_back(b, nets, r));
    CM_TRY(nets->online(nets->user, r->x_t, r->t, r->t2, r->online));
    for (size_t i = 0; i < b->n; i++) {
        fill_error(s, b, r, i);
        weigh(s, b, r, i);
    }
    return nets->backward(nets->user, r->slope);
}

static cm_status run(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw_times(s, b, &r);
    return cmi_soflow_learn(s, b, nets, &r);
}

/* --- options ---------------------------------------------------------------------------- */

/* The first of the batch learn the velocity. */
static size_t choose(const cm_train_settings *s, const cm_choosing *c, unsigned char *marks, uint32_t *order)
{
    const size_t wanted = (size_t)floor(s->velocity_share * (double)c->n);
    (void)order;
    for (size_t i = 0; i < c->n; i++) marks[i] = i < wanted;
    return wanted;
}

static double ratio_at(const cm_train_settings *s, double done)
{
    return cmi_soflow_ratio(s->ratio_schedule, s->ratio_begin, s->ratio_end, done);
}

static cm_status check_shares(const cm_train_settings *s, const cm_train_settings *d)
{
    const int pairs =
        s->p_mean != d->p_mean || s->p_std != d->p_std || s->r_mean != d->r_mean || s->r_std != d->r_std;
    const int ratio =
        s->ratio_schedule != d->ratio_schedule || s->ratio_begin != d->ratio_begin || s->ratio_end != d->ratio_end;
    if (s->velocity_share == 0 && (s->velocity_mean != d->velocity_mean || s->velocity_std != d->velocity_std))
        CM_FAIL(CM_ERR_ARGUMENT, "velocity_mean and velocity_std have no effect with velocity_share 0");
    if (s->velocity_share == 1 && (pairs || ratio))
        CM_FAIL(CM_ERR_ARGUMENT, "%s no effect with velocity_share 1",
                pairs ? "p_mean, p_std, r_mean and r_std have" : "the options ratio_* have");
    if (s->ratio_schedule == CM_RATIO_CONST && s->ratio_begin != d->ratio_begin)
        CM_FAIL(CM_ERR_ARGUMENT, "ratio_begin has no effect with ratio_schedule const");
    if (s->ratio_schedule != CM_RATIO_CONST && s->ratio_end > s->ratio_begin)
        CM_FAIL(CM_ERR_ARGUMENT, "ratio_end is %g, expected at most ratio_begin, %g: the times of a pair come closer",
                s->ratio_end, s->ratio_begin);
    return CM_OK;
}

static cm_status check(const cm_train_settings *s, const cm_train_settings *d)
{
    CM_TRY(check_shares(s, d));
    if (s->guidance == 1 && s->guidance_decay != d->guidance_decay)
        CM_FAIL(CM_ERR_ARGUMENT, "guidance_decay has no effect with guidance 1");
    return CM_OK;
}

static const char *const options[] = {
    "p_mean",         "p_std",       "r_mean",    "r_std",      "velocity_share", "velocity_mean", "velocity_std",
    "ratio_schedule", "ratio_begin", "ratio_end", "adaptive_p", "adaptive_eps",   "guidance",      "guidance_mix",
    "guidance_decay", "augment",     NULL};
static const cm_objective_default defaults[] = {{"optimizer", CM_OPTIMIZER_RADAM},
                                                {"lr", 1e-4},
                                                {"p_mean", -0.9},
                                                {"p_std", 1.6},
                                                {"r_mean", -4},
                                                {"r_std", 1.6},
                                                {NULL, 0}};

const cm_objective cmi_objective_soflow = {
    .number = CM_TRAIN_SOFLOW,
    .name = "soflow",
    .about = "The solution function of a flow between two times, SoFlow, without a derivative.",
    .axis = CM_AXIS_RAW,
    .target = CM_TARGET_ONLINE,
    .guides = cmi_guides_by_scale,
    .choose = choose,
    .ratio_at = ratio_at,
    .precond_two_times = "average-velocity",
    .options = options,
    .defaults = defaults,
    .check = check,
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .run = run,
};
