/* objective_continuous.c - consistency distillation and training in continuous time
 * (Song et al. 2023, appendix B; algorithms 4.4, derivatives 5):
 *
 *   t^(1/rho) uniform,  x_t = x0 + t z,  dx/dt = (x_t - D_phi(x_t; t)) / t   (training: x0 for D_phi)
 *   e = -df/dt = the derivative of f at (x_t, t) in the direction (-dx/dt, -1)
 *
 * Without stop-gradient the loss is a norm of e, or <e, H e> where the distance is LPIPS, and its gradient passes
 * through the derivative; H is the Hessian of the distance of two equal images.  With it e is a constant, and the
 * gradient is the one of <-H e, f>.  H of l2 is the identity there. */
#include <math.h>
#include <string.h>

#include <consistency/metrics.h>

#include "train/objective.h"

/* t, x_t and the direction x' (in x_t2), t' (in t2). */
static void draw(const cm_objective_settings *s, const cm_objective_batch *b, cm_objective_buffers *r)
{
    const double low = pow(s->sigma_min, 1 / s->rho), high = pow(s->sigma_max, 1 / s->rho);
    for (size_t i = 0; i < b->n; i++) {
        r->t[i] = pow(low + b->u[i] * (high - low), s->rho);
        r->t2[i] = -1;
        r->weight[i] = cmi_weight(s->weighting, r->t[i], s->sigma_data);
    }
    cmi_add_noise(b, r->size, r->t, r->x_t);
    for (size_t k = 0; k < b->n * r->size; k++) r->x_t2[k] = -b->z[k];
}

/* The teacher's direction takes the place of -z. */
static cm_status follow_teacher(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_buffers *r)
{
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TEACHER, r->x_t, r->t, NULL, r->d));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) r->x_t2[k] = (r->d[k] - r->x_t[k]) / r->t[i];
    return CM_OK;
}

/* The norm of e that the distance stands for, and its gradient: of l2 the root of the sum of squares, as the
 * published code has it, or with `squared` their sum.  zero: an image of zeros. */
static double norm_of(const cm_objective_settings *s, const double *e, const double *zero, double *gradient)
{
    cm_image_distance d = s->distance;
    if (d.kind == CM_DISTANCE_L2 && s->squared) d.sum = 1;
    else if (d.kind == CM_DISTANCE_L2) d.kind = CM_DISTANCE_PSEUDO_HUBER, d.huber_c = 0;
    return cmi_distance_of(&d, e, zero, gradient, NULL);
}

static void scale(size_t n, double factor, double *v)
{
    for (size_t k = 0; k < n; k++) v[k] *= factor;
}

/* H e of a distance that is a formula; of l2 of half the sum of squares, as the published code has it. */
static void pull_of(const cm_objective_settings *s, size_t size, const double *e, double *pull)
{
    cm_image_distance d = s->distance;
    d.sum = 1;
    cmi_distance_curvature(&d, e, pull);
    if (d.kind == CM_DISTANCE_L2) scale(size, 0.5, pull);
}

/* The gradient passes through the derivative: of e it is in r->target, and where a network makes the distance there
 * is one of f too, in r->d. */
static cm_status learn_through(const cm_objective_settings *s, const cm_objective_batch *b,
                               const cm_objective_nets *nets, cm_objective_buffers *r)
{
    const cm_objective_point at = {r->x_t, r->t, NULL}, along = {r->x_t2, r->t2, NULL};
    double *e = r->slope, *of_e = r->target, *of_f = r->d;
    CM_TRY(nets->online_tangent(nets->user, &at, &along, r->online, e));
    memset(of_f, 0, r->size * sizeof *of_f);
    for (size_t i = 0; i < b->n; i++) {
        const size_t first = i * r->size;
        double value = 0;
        if (nets->curvature) { /* <e, H e>, of which f is both arguments */
            CM_TRY(nets->curvature(nets->user, r->online + first, e + first, of_e + first, of_f + first));
            for (size_t k = first; k < first + r->size; k++) value += e[k] * of_e[k];
            scale(r->size, 2, of_e + first);
            scale(r->size, r->weight[i] * b->share[i], of_f + first);
        } else {
            value = norm_of(s, e + first, of_f, of_e + first);
        }
        b->loss[i] = r->weight[i] * value;
        scale(r->size, r->weight[i] * b->share[i], of_e + first);
    }
    return nets->backward_tangent(nets->user, nets->curvature ? of_f : NULL, of_e);
}

/* e is a constant.  The loss that is told is the one without stop-gradient: that of <-H e, f> means nothing. */
static cm_status learn_beside(const cm_objective_settings *s, const cm_objective_batch *b,
                              const cm_objective_nets *nets, cm_objective_buffers *r)
{
    const cm_objective_point at = {r->x_t, r->t, NULL}, along = {r->x_t2, r->t2, NULL};
    double *e = r->slope, *pull = r->target, *zero = r->d;
    CM_TRY(nets->tangent(nets->user, CM_ROLE_TARGET, &at, &along, r->online, e));
    memset(zero, 0, r->size * sizeof *zero);
    for (size_t i = 0; i < b->n; i++) {
        const size_t first = i * r->size;
        double value = 0;
        if (nets->curvature) {
            CM_TRY(nets->curvature(nets->user, r->online + first, e + first, pull + first, NULL));
            for (size_t k = first; k < first + r->size; k++) value += e[k] * pull[k];
        } else {
            value = norm_of(s, e + first, zero, NULL);
            pull_of(s, r->size, e + first, pull + first);
        }
        b->loss[i] = r->weight[i] * value;
        scale(r->size, -r->weight[i] * b->share[i], pull + first);
    }
    CM_TRY(nets->online(nets->user, r->x_t, r->t, NULL, r->online));
    return nets->backward(nets->user, pull);
}

static cm_status distil(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw(s, b, &r);
    CM_TRY(follow_teacher(b, nets, &r));
    return s->stop_gradient ? learn_beside(s, b, nets, &r) : learn_through(s, b, nets, &r);
}

static cm_status train(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw(s, b, &r);
    return s->stop_gradient ? learn_beside(s, b, nets, &r) : learn_through(s, b, nets, &r);
}

static cm_status check(const cm_train_settings *s, const cm_train_settings *d)
{
    const int32_t kind = cmi_objective_distance(s);
    const cm_distance_row *row = cmi_distance_at(kind);
    (void)d;
    if (kind == CM_DISTANCE_L2_32)
        CM_FAIL(CM_ERR_ARGUMENT, "distance l2-32 does not belong to objective %s",
                cmi_objective_at(s->objective)->name);
    if (s->stop_gradient && !row->of_network && !row->curvature)
        CM_FAIL(CM_ERR_ARGUMENT,
                "distance %s needs stop_gradient 0: 1 takes the second derivative of a distance, which it has not",
                row->name);
    if (s->stop_gradient && kind == CM_DISTANCE_PSEUDO_HUBER && s->huber_c <= 0)
        CM_FAIL(CM_ERR_ARGUMENT,
                "distance %s with stop_gradient 1 needs huber_c, and above 0: with 0 it has no "
                "second derivative",
                row->name);
    if (s->sum_pixels && kind != CM_DISTANCE_L1)
        CM_FAIL(CM_ERR_ARGUMENT, "sum_pixels has no effect on distance %s of objective %s (it is of l1)", row->name,
                cmi_objective_at(s->objective)->name);
    if (s->squared && (s->stop_gradient || kind != CM_DISTANCE_L2))
        CM_FAIL(CM_ERR_ARGUMENT, "squared has no effect on distance %s with stop_gradient %d (it is of l2 with 0)",
                row->name, s->stop_gradient);
    return CM_OK;
}

static cm_status check_levels(const cm_train_settings *s, const cm_objective_settings *o)
{
    if (o->sigma_min > 0) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "objective %s needs a precond with sigma_min above 0",
            cmi_objective_at(s->objective)->name);
}

static const char *const options[] = {"distance",      "huber_c",       "lpips_weights", "lpips_lin",
                                      "lpips_pooling", "lpips_resize",  "sum_pixels",    "weighting",
                                      "rho",           "stop_gradient", "squared",       NULL};
static const cm_objective_default defaults[] = {
    {"lr", 5e-6}, {"lpips_pooling", CM_LPIPS_POOLING_MAX}, {"lpips_resize", CM_LPIPS_RESIZE_ALWAYS}, {NULL, 0}};
const cm_objective cmi_objective_ccd = {
    .number = CM_TRAIN_CCD,
    .name = "ccd",
    .about = "Consistency distillation in continuous time: Song et al. 2023, appendix B.1.",
    .needs_teacher = 1,
    .teacher_denoises = 1,
    .differentiates = 1,
    .curves = 1,
    .precond = "cm",
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .options = options,
    .defaults = defaults,
    .check = check,
    .check_levels = check_levels,
    .run = distil,
};
const cm_objective cmi_objective_cct = {
    .number = CM_TRAIN_CCT,
    .name = "cct",
    .about = "Consistency training in continuous time: Song et al. 2023, appendix B.2.",
    .differentiates = 1,
    .curves = 1,
    .precond = "cm",
    .distance = CM_DISTANCE_L2,
    .weighting = CM_WEIGHTING_UNIFORM,
    .options = options,
    .defaults = defaults,
    .check = check,
    .check_levels = check_levels,
    .run = train,
};
