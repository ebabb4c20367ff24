/* unit_norm.c - vectors divided by (eps + their root mean square), networks-edm2 1.
 *
 * A vector is all channels of a point; or, of 3C channels that are (head, d, q k v), the d values of one of
 * q, k and v of one head.  With R = sqrt(mean x^2), D = eps + R, n values:
 *
 *   y = x / D,   dx = dy / D - x (sum x dy) / (n R D^2),   ty likewise of tx,
 *
 * where the last term counts as 0 at R = 0. */
#include <math.h>

#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    const int32_t heads = attr->unit_norm.heads, parts = attr->unit_norm.parts;
    (void)n_in;
    if (heads < 1 || (parts != 1 && parts != 3) || in->c % (heads * parts))
        CM_FAIL(CM_ERR_SHAPE, "normalisation: %d channels are not %d heads of %d vectors", in->c, heads, parts);
    *out = *in;
    return CM_OK;
}

/* Values of a vector. */
static size_t length(const cm_op_plan *p)
{
    return (size_t)(p->in->c / (p->attr->unit_norm.heads * p->attr->unit_norm.parts));
}

/* Of an inner thread: three vectors of x, of what is multiplied, and of the result. */
static size_t scratch_floats(const cm_op_plan *p)
{
    return p->attr->unit_norm.parts == 1 ? 0 : (9 * length(p) + 15) / 16 * 16;
}

static cm_status prepare(cm_op_plan *p)
{
    p->scratch_bytes = (size_t)p->threads.count * scratch_floats(p) * sizeof(float);
    return CM_OK;
}

typedef struct {
    const cm_op_run *run;
    const float *x, *v; /* v: gradient or tangent, NULL for values */
    float *out;
} job;

static float dot(const cm_pointwise *k, size_t n, const float *a, const float *b)
{
    float sum;
    k->matvec(1, n, a, b, NULL, &sum);
    return sum;
}

static void vector(const job *j, size_t n, const float *x, const float *v, float *out)
{
    const cm_pointwise *k = j->run->p->kernels->pointwise;
    const float mean = dot(k, n, x, x) / (float)n, root = sqrtf(mean);
    const float inverse = 1 / (j->run->p->attr->unit_norm.eps + root);
    if (!v) {
        k->scale(n, inverse, x, out);
        return;
    }
    const float along = root > 0 ? dot(k, n, x, v) * inverse * inverse / ((float)n * root) : 0;
    k->mix(1, n, n, inverse, v, -along, x, out);
}

/* q, k and v of one head, whose values alternate. */
static void triple(const job *j, size_t n, const float *x, const float *v, float *out, float *scratch)
{
    const cm_pointwise *k = j->run->p->kernels->pointwise;
    float *a = scratch, *b = a + 3 * n, *c = b + 3 * n;
    k->split3(n, x, a, a + n, a + 2 * n);
    if (v) k->split3(n, v, b, b + n, b + 2 * n);
    for (size_t i = 0; i < 3; i++) vector(j, n, a + i * n, v ? b + i * n : NULL, c + i * n);
    k->join3(n, c, c + n, c + 2 * n, out);
}

static cm_status piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_op_plan *p = j->run->p;
    const size_t n = length(p), c = (size_t)p->in->c, parts = (size_t)p->attr->unit_norm.parts;
    const size_t first = (size_t)index * 64 * c, count = cmi_op_piece_rows(cmi_desc_pixels(p->out), index) * c;
    float *scratch = (float *)j->run->scratch + (size_t)worker * scratch_floats(p);
    for (size_t at = first; at < first + count; at += n * parts) {
        const float *v = j->v ? j->v + at : NULL;
        if (parts == 1) vector(j, n, j->x + at, v, j->out + at);
        else triple(j, n, j->x + at, v, j->out + at, scratch);
    }
    return CM_OK;
}

static cm_status normalize(const cm_op_run *r, const float *v, float *out)
{
    job j = {r, r->in[0], v, out};
    return cmi_parallel(r->p->threads, cmi_op_row_pieces(cmi_desc_pixels(r->p->out)), piece, &j);
}

static cm_status forward(const cm_op_run *r)
{
    return normalize(r, NULL, r->out);
}

static cm_status backward(const cm_op_run *r)
{
    return normalize(r, r->dout, r->din[0]);
}

static cm_status jvp(const cm_op_run *r)
{
    return normalize(r, r->tin[0], r->tout);
}

/* Through ty along w = dty: what y gives, and with a = x w, b = x tx, g = w tx (sums) the gradient of
 * g / D - a b / (n R D^2) by x. */
static void vector_both(const cm_op_run *r, size_t at, size_t n, size_t step)
{
    const float *x = (const float *)r->in[0] + at, *tx = r->tin[0] + at, *dy = r->dout + at, *w = r->dtout + at;
    double square = 0, a = 0, b = 0, g = 0, y = 0;
    for (size_t i = 0; i < n * step; i += step) {
        square += (double)x[i] * (double)x[i];
        a += (double)x[i] * (double)w[i];
        b += (double)x[i] * (double)tx[i];
        g += (double)w[i] * (double)tx[i];
        y += (double)x[i] * (double)dy[i];
    }
    const double root = sqrt(square / (double)n), d = (double)r->p->attr->unit_norm.eps + root;
    const double share = root > 0 ? 1 / ((double)n * root * d * d) : 0;
    const double curve = root > 0 ? a * b * share / (double)n * (1 / (root * root) + 2 / (root * d)) : 0;
    for (size_t i = 0; i < n * step; i += step) {
        const double v = (double)x[i], wi = (double)w[i], ti = (double)tx[i];
        if (r->din[0])
            r->din[0][at + i] =
                (float)((double)dy[i] / d - v * y * share - v * g * share - (b * wi + a * ti) * share + curve * v);
        if (r->dtin[0]) r->dtin[0][at + i] = (float)(wi / d - v * a * share);
    }
}

static cm_status both_backward(const cm_op_run *r)
{
    const size_t n = length(r->p), parts = (size_t)r->p->attr->unit_norm.parts, all = cmi_desc_count(r->p->out);
    for (size_t at = 0; at < all; at += n * parts)
        for (size_t j = 0; j < parts; j++) vector_both(r, at + j, n, parts);
    return CM_OK;
}

const cm_op cmi_op_unit_norm = {.name = "unit_norm",
                                .saves = 1,
                                .flags = CM_OP_CHEAP,
                                .shape = shape,
                                .prepare = prepare,
                                .forward = forward,
                                .backward = backward,
                                .jvp = jvp,
                                .both_backward = both_backward};
