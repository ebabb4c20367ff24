/* dropout.c - y = x m / (1 - p), m 0 with probability p and 1 otherwise
 * (algorithms 4.6).
 *
 * The mask is drawn from the stream (seed, image, layer), not stored: backward
 * and a second evaluation at another noise level draw the same one, as the
 * consistency losses require. */
#include "ops/op.h"

enum { DRAW = 1 << 20 }; /* streams of an image from here on are masks */

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    if (!(attr->dropout.p >= 0 && attr->dropout.p < 1))
        CM_FAIL(CM_ERR_ARGUMENT, "dropout: probability %g, expected 0 <= p < 1", attr->dropout.p);
    *out = in[0];
    return CM_OK;
}

/* x may be y. */
static void apply(const cm_op_run *r, const float *x, float *y)
{
    size_t n = cm_desc_count(r->p->out) / (size_t)r->p->out.n;
    double p = r->p->attr->dropout.p;
    uint32_t limit = (uint32_t)(p * 4294967296.0);
    float scale = (float)(1 / (1 - p));
    for (int32_t k = 0; k < r->p->out.n; k++, x += n, y += n) {
        const uint64_t seed = r->random->seed, image = r->random->image[k];
        const uint32_t stream[5] = {(uint32_t)seed, (uint32_t)(seed >> 32),
                                    DRAW + (uint32_t)r->p->attr->dropout.layer, (uint32_t)image,
                                    (uint32_t)(image >> 32)};
        r->p->kernels->dropout(n, stream, limit, scale, x, y);
    }
}

static cm_status forward(const cm_op_run *r)
{
    apply(r, r->in[0], r->out);
    return CM_OK;
}

static cm_status backward(const cm_op_run *r)
{
    apply(r, r->dout, r->din[0]);
    return CM_OK;
}

static cm_status jvp(const cm_op_run *r)
{
    apply(r, r->tin[0], r->tout);
    return CM_OK;
}

const cm_op cm_op_dropout = {.name = "dropout",
                             .flags = CM_OP_INPLACE | CM_OP_CHEAP,
                             .shape = shape,
                             .forward = forward,
                             .backward = backward,
                             .jvp = jvp};
