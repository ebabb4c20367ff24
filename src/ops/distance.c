/* distance.c - how far two feature maps are apart (metrics 1.1): at each point the vectors over the channels are made
 * unit vectors u and v, then sum_c w_c (u_c - v_c)^2, of each point or as a mean over the points of an image.
 *
 * With s = |f| and n = s + e, u = f / n.  For a gradient G of u: df = G / n - f (G . f) / (n^2 s), and 0 where all
 * channels are 0: the difference quotient has no limit there. */
#include <math.h>

#include "base/parallel.h"
#include "ops/op.h"

static const double epsilon = 1e-10;

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    if (!cmi_desc_equal(in[0], in[1]))
        CM_FAIL(CM_ERR_SHAPE, "distance: %d x %d x %d and %d x %d x %d (H x W x C) differ", in[0].h, in[0].w, in[0].c,
                in[1].h, in[1].w, in[1].c);
    *out = attr->distance.map ? (cm_desc){in->n, in->h, in->w, 1} : (cm_desc){in->n, 1, 1, 1};
    return CM_OK;
}

enum { LANES = 8 };

/* sum of a[c] b[c], in eight sums that a processor makes side by side. */
static float inner(size_t c, const float *a, const float *b)
{
    float sums[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= c; i += LANES)
        for (size_t k = 0; k < LANES; k++) sums[k] += a[i + k] * b[i + k];
    for (; i < c; i++) sum += a[i] * b[i];
    for (size_t k = 0; k < LANES; k++) sum += sums[k];
    return sum;
}

static float one_over(double norm)
{
    return (float)(1 / (norm + epsilon));
}

/* |f| and |g| at a point, and what makes unit vectors of them. */
typedef struct {
    double f, g;
    float p, q;
} norms;

static norms norms_of(const cm_op_plan *plan, const float *f, const float *g)
{
    float sums[2];
    plan->kernels->pointwise->two_squares((size_t)plan->in[0].c, f, g, sums);
    norms n = {sqrt((double)sums[0]), sqrt((double)sums[1]), 0, 0};
    n.p = one_over(n.f), n.q = one_over(n.g);
    return n;
}

/* So many channels at a time are made parts of unit vectors, apart from what is done with them: a processor that
 * multiplies and adds in one step would not find images that are the same 0 apart. */
enum { PART = 256 };
typedef struct {
    float u[PART], v[PART];
} units;

static size_t units_from(const cm_op_plan *plan, size_t first, float p, const float *f, float q, const float *g,
                         units *to)
{
    const size_t left = (size_t)plan->in[0].c - first, n = left < PART ? left : PART;
    plan->kernels->pointwise->scale(n, p, f + first, to->u);
    plan->kernels->pointwise->scale(n, q, g + first, to->v);
    return n;
}

/* sum of w (p f - q g)^2 */
static float point_value(const cm_op_run *r, const float *f, const float *g)
{
    const norms k = norms_of(r->p, f, g);
    const float *w = r->param[0];
    units part;
    float sum = 0;
    for (size_t i = 0, n; i < (size_t)r->p->in[0].c; i += n) {
        n = units_from(r->p, i, k.p, f, k.q, g, &part);
        sum += r->p->kernels->pointwise->weighted_squares(n, w + i, part.u, part.v);
    }
    return sum;
}

/* One image: the mean of its points, or each of them. */
static cm_status image_piece(void *user, int index, int worker)
{
    const cm_op_run *r = user;
    const cm_desc d = r->p->in[0];
    const size_t points = (size_t)d.h * (size_t)d.w, c = (size_t)d.c, first = (size_t)index * points;
    const float *f = r->in[0], *g = r->in[1];
    float *out = r->out;
    double sum = 0;
    (void)worker;
    for (size_t i = first; i < first + points; i++) {
        const float value = point_value(r, f + i * c, g + i * c);
        if (r->p->attr->distance.map) out[i] = value;
        sum += (double)value;
    }
    if (!r->p->attr->distance.map) out[index] = (float)(sum / (double)points);
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    return cmi_parallel(r->p->threads, r->p->in[0].n, image_piece, (void *)(uintptr_t)r);
}

/* What a point's value is multiplied with on its way out. */
static float share(const cm_op_plan *p)
{
    return p->attr->distance.map ? 1 : (float)(1.0 / ((double)p->in[0].h * (double)p->in[0].w));
}

/* Where the value of point i goes. */
static size_t place(const cm_op_plan *p, size_t i)
{
    return p->attr->distance.map ? i : i / ((size_t)p->in[0].h * (size_t)p->in[0].w);
}

/* The gradient of f, whose length is `norm`, at one point; p = 1 / |f|, q = 1 / |g|. */
static void point_gradient(const cm_op_run *r, float scale, double norm, float p, const float *f, float q,
                           const float *g, float *df)
{
    const cm_pointwise *loops = r->p->kernels->pointwise;
    const size_t c = (size_t)r->p->in[0].c;
    if (norm == 0) {
        for (size_t i = 0; i < c; i++) df[i] = 0;
        return;
    }
    const float *w = r->param[0];
    units part;
    float along = 0; /* of G and u */
    for (size_t i = 0, n; i < c; i += n) {
        n = units_from(r->p, i, p, f, q, g, &part);
        along += loops->weighted_difference(n, w + i, scale, part.u, part.v, df + i);
    }
    loops->less(c, p, (float)((double)along * (double)p / norm), f, df);
}

static cm_status backward(const cm_op_run *r)
{
    const cm_op_plan *plan = r->p;
    const size_t points = cmi_desc_pixels(plan->in[0]), c = (size_t)plan->in[0].c;
    for (size_t i = 0; i < points; i++) {
        const float *f = (const float *)r->in[0] + i * c, *g = (const float *)r->in[1] + i * c;
        const norms k = norms_of(plan, f, g);
        const float scale = 2 * share(plan) * r->dout[place(plan, i)];
        if (r->din[0]) point_gradient(r, scale, k.f, k.p, f, k.q, g, r->din[0] + i * c);
        if (r->din[1]) point_gradient(r, scale, k.g, k.q, g, k.p, f, r->din[1] + i * c);
    }
    return CM_OK;
}

/* f's part of the slope along the tangent t of f: G . (t / n - f (f . t) / (n^2 s)) */
static double slope(size_t c, const float *w, float p, const float *f, float q, const float *g, const float *t)
{
    const double norm = sqrt((double)inner(c, f, f));
    if (!t || norm == 0) return 0;
    const double along = (double)inner(c, f, t) * (double)p / norm;
    double sum = 0;
    for (size_t i = 0; i < c; i++)
        sum += 2 * (double)w[i] * (double)(p * f[i] - q * g[i]) * (double)p * ((double)t[i] - (double)f[i] * along);
    return sum;
}

static cm_status jvp(const cm_op_run *r)
{
    const cm_op_plan *plan = r->p;
    const size_t points = (size_t)plan->in[0].h * (size_t)plan->in[0].w, c = (size_t)plan->in[0].c;
    for (size_t n = 0; n < (size_t)plan->in[0].n; n++) {
        double sum = 0;
        for (size_t i = n * points; i < (n + 1) * points; i++) {
            const float *f = (const float *)r->in[0] + i * c, *g = (const float *)r->in[1] + i * c;
            const norms k = norms_of(plan, f, g);
            const double value = slope(c, r->param[0], k.p, f, k.q, g, r->tin[0] ? r->tin[0] + i * c : NULL) +
                                 slope(c, r->param[0], k.q, g, k.p, f, r->tin[1] ? r->tin[1] + i * c : NULL);
            if (plan->attr->distance.map) r->tout[i] = (float)value;
            sum += value;
        }
        if (!plan->attr->distance.map) r->tout[n] = (float)(sum / (double)points);
    }
    return CM_OK;
}

/* Its weights are always frozen. */
static cm_status prepare(cm_op_plan *p)
{
    if (cmi_op_trains(p) && !p->frozen)
        CM_FAIL(CM_ERR_INTERNAL, "distance: its weights have no gradient, so plans for training freeze them");
    return CM_OK;
}

const cm_op cmi_op_distance = {.name = "distance",
                               .flags = CM_OP_FREEZES,
                               .saves = 1 | 2,
                               .shape = shape,
                               .prepare = prepare,
                               .forward = forward,
                               .backward = backward,
                               .jvp = jvp};
