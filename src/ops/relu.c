/* relu.c - max(x, 0); its slope at 0 is 0, as PyTorch has it. */
#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr, (void)n_in;
    *out = in[0];
    return CM_OK;
}

static cm_status piece(void *user, int index, int worker)
{
    const cm_op_run *r = user;
    const size_t c = (size_t)r->p->out.c, at = (size_t)index * 64 * c;
    (void)worker;
    r->p->kernels->pointwise->relu(cmi_op_piece_rows(cmi_desc_pixels(r->p->out), index) * c,
                                   (const float *)r->in[0] + at, (float *)r->out + at);
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    return cmi_parallel(r->p->threads, cmi_op_row_pieces(cmi_desc_pixels(r->p->out)), piece, (void *)(uintptr_t)r);
}

static cm_status backward(const cm_op_run *r)
{
    r->p->kernels->pointwise->relu_back(cmi_desc_count(r->p->out), r->in[0], r->dout, r->din[0]);
    return CM_OK;
}

static cm_status jvp(const cm_op_run *r)
{
    r->p->kernels->pointwise->relu_back(cmi_desc_count(r->p->out), r->in[0], r->tin[0], r->tout);
    return CM_OK;
}

const cm_op cmi_op_relu = {.name = "relu",
                           .flags = CM_OP_INPLACE | CM_OP_SELECTS,
                           .saves = 1,
                           .shape = shape,
                           .forward = forward,
                           .backward = backward,
                           .jvp = jvp};
