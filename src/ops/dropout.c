/* dropout.c - y = x m / (1 - p), m 0 with probability p and 1 otherwise
 * (algorithms 4.6).
 *
 * The mask is drawn from the stream (seed, image, layer): a second evaluation at
 * another noise level draws the same one, as the consistency losses require.  For
 * backward and tangents a bit a value is kept. */
#include <string.h>

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

static size_t values(const cm_op_plan *p)
{
    return cmi_desc_count(p->out) / (size_t)p->out.n;
}

/* Of one image. */
static size_t mask_bytes(const cm_op_plan *p)
{
    return (values(p) + 7) / 8;
}

static cm_status prepare(cm_op_plan *p)
{
    const size_t bytes = (size_t)p->out.n * mask_bytes(p);
    if (p->mode == CM_MODE_INFER) p->scratch_bytes = bytes;
    else p->aux_bytes = bytes;
    return CM_OK;
}

static unsigned char *masks(const cm_op_run *r)
{
    return r->aux ? r->aux : r->scratch;
}

static void draw(const cm_op_run *r)
{
    const uint64_t seed = r->random->seed;
    const uint32_t limit = (uint32_t)(r->p->attr->dropout.p * 4294967296.0);
    for (int32_t k = 0; k < r->p->out.n; k++) {
        const uint64_t image = r->random->image[k];
        const uint32_t stream[5] = {(uint32_t)seed, (uint32_t)(seed >> 32),
                                    DRAW + (uint32_t)r->p->attr->dropout.layer, (uint32_t)image,
                                    (uint32_t)(image >> 32)};
        r->p->kernels->pointwise->dropout_mask(values(r->p), stream, limit, masks(r) + (size_t)k * mask_bytes(r->p));
    }
}

/* x may be y. */
static void apply(const cm_op_run *r, const float *x, float *y)
{
    const size_t n = values(r->p);
    const float scale = (float)(1 / (1 - r->p->attr->dropout.p));
    if (r->random->still) {
        if (x != y) memcpy(y, x, n * (size_t)r->p->out.n * sizeof *y);
        return;
    }
    for (size_t k = 0; k < (size_t)r->p->out.n; k++)
        r->p->kernels->pointwise->masked(n, masks(r) + k * mask_bytes(r->p), scale, x + k * n, y + k * n);
}

static cm_status forward(const cm_op_run *r)
{
    if (!r->again && !r->random->still) draw(r);
    apply(r, r->in[0], r->out);
    return CM_OK;
}

static cm_status backward(const cm_op_run *r)
{
    apply(r, r->dout, r->din[0]);
    return CM_OK;
}

static cm_status both(const cm_op_run *r)
{
    CM_TRY(forward(r));
    apply(r, r->tin[0], r->tout);
    return CM_OK;
}

const cm_op cmi_op_dropout = {.name = "dropout",
                              .flags = CM_OP_INPLACE | CM_OP_CHEAP | CM_OP_LINEAR,
                              .shape = shape,
                              .prepare = prepare,
                              .forward = forward,
                              .backward = backward,
                              .both = both};
