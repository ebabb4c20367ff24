/* clamp.c - y = x within [-limit, limit].  A value that is cut has no slope; for backward and tangents a bit a value
 * is kept. */
#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    if (!(attr->clamp.limit > 0))
        CM_FAIL(CM_ERR_ARGUMENT, "clamp: the limit is %g, expected more than 0", (double)attr->clamp.limit);
    *out = *in;
    return CM_OK;
}

/* Pieces of 64 points hold a whole number of bytes of bits. */
static cm_status prepare(cm_op_plan *p)
{
    if (p->mode != CM_MODE_INFER) p->aux_bytes = cmi_desc_count(p->out) / 8 + 1;
    return CM_OK;
}

static void keep_bits(size_t n, const float *x, float limit, unsigned char *bits)
{
    for (size_t i = 0; i < n; i += 8) {
        unsigned byte = 0;
        for (size_t k = 0; k < 8 && i + k < n; k++) byte |= (unsigned)!(x[i + k] > limit || x[i + k] < -limit) << k;
        bits[i / 8] = (unsigned char)byte;
    }
}

static size_t range(const cm_op_run *r, int index, size_t *first)
{
    const size_t c = (size_t)r->p->out.c;
    *first = (size_t)index * 64 * c;
    return cmi_op_piece_rows(cmi_desc_pixels(r->p->out), index) * c;
}

/* Values that are not numbers pass. */
static cm_status forward_piece(void *user, int index, int worker)
{
    const cm_op_run *r = user;
    size_t at, n = range(r, index, &at);
    const float *x = (const float *)r->in[0] + at;
    const float limit = r->p->attr->clamp.limit;
    float *y = (float *)r->out + at;
    (void)worker;
    if (r->aux && !r->again) keep_bits(n, x, limit, (unsigned char *)r->aux + at / 8);
    for (size_t i = 0; i < n; i++) {
        const float v = x[i] > limit ? limit : x[i];
        y[i] = v < -limit ? -limit : v;
    }
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    return cmi_parallel(r->p->threads, cmi_op_row_pieces(cmi_desc_pixels(r->p->out)), forward_piece,
                        (void *)(uintptr_t)r);
}

static cm_status backward(const cm_op_run *r)
{
    r->p->kernels->pointwise->masked(cmi_desc_count(r->p->out), r->aux, 1, r->dout, r->din[0]);
    return CM_OK;
}

static cm_status jvp(const cm_op_run *r)
{
    r->p->kernels->pointwise->masked(cmi_desc_count(r->p->out), r->aux, 1, r->tin[0], r->tout);
    return CM_OK;
}

const cm_op cmi_op_clamp = {.name = "clamp",
                            .flags = CM_OP_INPLACE | CM_OP_CHEAP | CM_OP_SELECTS,
                            .shape = shape,
                            .prepare = prepare,
                            .forward = forward,
                            .backward = backward,
                            .jvp = jvp};
