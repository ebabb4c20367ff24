/* ones.c - one channel more, of ones. */
#include <string.h>

#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr, (void)n_in;
    *out = *in;
    out->c++;
    return CM_OK;
}

/* Rows of c values with `last` behind each. */
static void extend(size_t rows, size_t c, const float *x, float last, float *out)
{
    for (size_t i = 0; i < rows; i++, x += c, out += c + 1) {
        memcpy(out, x, c * sizeof *out);
        out[c] = last;
    }
}

static cm_status forward(const cm_op_run *r)
{
    extend(cmi_desc_pixels(r->p->out), (size_t)r->p->in->c, r->in[0], 1, r->out);
    return CM_OK;
}

static cm_status jvp(const cm_op_run *r)
{
    extend(cmi_desc_pixels(r->p->out), (size_t)r->p->in->c, r->tin[0], 0, r->tout);
    return CM_OK;
}

static cm_status backward(const cm_op_run *r)
{
    const size_t c = (size_t)r->p->in->c, rows = cmi_desc_pixels(r->p->out);
    for (size_t i = 0; i < rows; i++) memcpy(r->din[0] + i * c, r->dout + i * (c + 1), c * sizeof(float));
    return CM_OK;
}

const cm_op cmi_op_ones = {.name = "ones",
                           .flags = CM_OP_CHEAP | CM_OP_LINEAR,
                           .shape = shape,
                           .forward = forward,
                           .backward = backward,
                           .jvp = jvp};
