/* speed.c - how fast the unit vectors of a feature map turn along its tangent (derivatives 5): with f at a point, its
 * length s = |f|, n = s + e and the tangent t,
 *
 *   y = t / n - f (f . t) / (s n^2),   sum_c w_c y_c^2,   the mean over the points of an image.
 *
 * This is half of the second derivative of `distance` between f and f + h t by h, at h = 0.  With k = 2 w y times the
 * gradient of the result, the gradients are
 *
 *   of t   k / n - f (f . k) / (s n^2)
 *   of f   -f (k . t) / (s n^2) - (k (f . t) + t (f . k)) / (s n^2) + f (f . t) (f . k) (1 / s + 2 / n) / (s n)^2
 *
 * and all of it is 0 where all channels are 0.  The result is a number of both, which is not followed along the
 * tangent: the tangent of the output is 0, and what comes back to it goes no further. */
#include <math.h>

#include "ops/op.h"

static const double epsilon = 1e-10;

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr, (void)n_in;
    *out = (cm_desc){in->n, 1, 1, 1};
    return CM_OK;
}

static cm_status prepare(cm_op_plan *p)
{
    if (p->mode != CM_MODE_TRAIN_JVP || !p->has_tangent || !p->frozen)
        CM_FAIL(CM_ERR_INTERNAL, "speed: plans of it are for gradients through tangents, with frozen weights");
    p->scratch_bytes = 2 * (size_t)p->in[0].c * sizeof(float);
    return CM_OK;
}

/* A point: y, and what it is made of. */
typedef struct {
    double s, n, along; /* along: f . t */
    float *y;
} motion;

static double dot(const cm_op_run *r, const float *a, const float *b)
{
    float sum;
    r->p->kernels->pointwise->matvec(1, (size_t)r->p->in[0].c, a, b, NULL, &sum);
    return (double)sum;
}

/* v / n - f (f . v) / (s n^2) */
static void turn(const cm_op_run *r, const motion *m, const float *f, const float *v, double along, float *out)
{
    const size_t c = (size_t)r->p->in[0].c;
    r->p->kernels->pointwise->mix(1, c, c, (float)(1 / m->n), v, (float)(-along / (m->s * m->n * m->n)), f, out);
}

/* 0: all channels are 0. */
static int motion_at(const cm_op_run *r, const float *f, const float *t, motion *m)
{
    m->s = sqrt(dot(r, f, f));
    m->n = m->s + epsilon;
    m->y = r->scratch;
    if (m->s == 0) return 0;
    m->along = dot(r, f, t);
    turn(r, m, f, t, m->along, m->y);
    return 1;
}

static size_t points_of(const cm_op_plan *p)
{
    return (size_t)p->in[0].h * (size_t)p->in[0].w;
}

static cm_status both(const cm_op_run *r)
{
    const size_t points = points_of(r->p), c = (size_t)r->p->in[0].c;
    const float *w = r->param[0], *f = r->in[0], *t = r->tin[0];
    float *out = r->out, *k = (float *)r->scratch + c;
    for (size_t n = 0; n < (size_t)r->p->in[0].n; n++) {
        double sum = 0;
        for (size_t i = 0; i < points; i++, f += c, t += c) {
            motion m;
            if (!motion_at(r, f, t, &m)) continue;
            for (size_t j = 0; j < c; j++) k[j] = w[j] * m.y[j];
            sum += dot(r, k, m.y);
        }
        out[n] = (float)(sum / (double)points);
        r->tout[n] = 0;
    }
    return CM_OK;
}

/* df = a f + b k + e t */
static void gradient_of_value(const cm_op_run *r, const motion *m, const float *f, const float *t, const float *k,
                              double pull, float *df)
{
    const cm_pointwise *loops = r->p->kernels->pointwise;
    const size_t c = (size_t)r->p->in[0].c;
    const double square = 1 / (m->s * m->n * m->n);
    const double a = m->along * pull * (1 / m->s + 2 / m->n) * square / m->s - dot(r, k, t) * square;
    loops->mix(1, c, c, (float)a, f, (float)(-m->along * square), k, df);
    loops->axpy(c, (float)(-pull * square), t, df);
}

static cm_status both_backward(const cm_op_run *r)
{
    const size_t points = points_of(r->p), c = (size_t)r->p->in[0].c;
    const float *w = r->param[0], *f = r->in[0], *t = r->tin[0];
    float *k = (float *)r->scratch + c;
    for (size_t i = 0; i < (size_t)r->p->in[0].n * points; i++, f += c, t += c) {
        const float scale = 2 * r->dout[i / points] / (float)points;
        float *df = r->din[0] ? r->din[0] + i * c : NULL, *dt = r->dtin[0] + i * c;
        motion m;
        if (!motion_at(r, f, t, &m)) {
            for (size_t j = 0; j < c; j++) dt[j] = 0;
            for (size_t j = 0; df && j < c; j++) df[j] = 0;
            continue;
        }
        for (size_t j = 0; j < c; j++) k[j] = scale * w[j] * m.y[j];
        const double pull = dot(r, f, k);
        if (df) gradient_of_value(r, &m, f, t, k, pull, df);
        turn(r, &m, f, k, pull, dt);
    }
    return CM_OK;
}

const cm_op cmi_op_speed = {.name = "speed",
                            .flags = CM_OP_FREEZES,
                            .saves = 1,
                            .shape = shape,
                            .prepare = prepare,
                            .both = both,
                            .both_backward = both_backward};
