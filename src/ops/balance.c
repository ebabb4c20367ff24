/* balance.c - two images side by side in the channels, each with a factor: [a s, b t]. */
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    return cmi_op_concat.shape(attr, in, n_in, out);
}

/* NULL is zeros. */
typedef struct {
    const cm_op_run *run;
    const float *x[2];
    float *out;
} joining;

static cm_status piece(void *user, int index, int worker)
{
    const joining *j = user;
    const cm_op_plan *p = j->run->p;
    const size_t c[2] = {(size_t)p->in[0].c, (size_t)p->in[1].c}, first = (size_t)index * 64;
    const size_t last = first + cmi_op_piece_rows(cmi_desc_pixels(p->out), index);
    (void)worker;
    for (size_t i = first; i < last; i++)
        for (int k = 0; k < 2; k++) {
            float *to = j->out + i * (c[0] + c[1]) + (k ? c[0] : 0);
            if (j->x[k]) p->kernels->pointwise->scale(c[k], p->attr->balance.scale[k], j->x[k] + i * c[k], to);
            else memset(to, 0, c[k] * sizeof *to);
        }
    return CM_OK;
}

static cm_status join(const cm_op_run *r, const float *x, const float *y, float *out)
{
    joining j = {r, {x, y}, out};
    return cmi_parallel(r->p->threads, cmi_op_row_pieces(cmi_desc_pixels(r->p->out)), piece, &j);
}

static cm_status forward(const cm_op_run *r)
{
    return join(r, r->in[0], r->in[1], r->out);
}

static cm_status jvp(const cm_op_run *r)
{
    return join(r, r->tin[0], r->tin[1], r->tout);
}

static cm_status backward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    const size_t c[2] = {(size_t)p->in[0].c, (size_t)p->in[1].c}, rows = cmi_desc_pixels(p->out);
    for (size_t i = 0; i < rows; i++)
        for (int k = 0; k < 2; k++) {
            const float *from = r->dout + i * (c[0] + c[1]) + (k ? c[0] : 0);
            if (r->din[k]) p->kernels->pointwise->scale(c[k], p->attr->balance.scale[k], from, r->din[k] + i * c[k]);
        }
    return CM_OK;
}

const cm_op cmi_op_balance = {.name = "balance",
                              .flags = CM_OP_CHEAP | CM_OP_LINEAR,
                              .shape = shape,
                              .forward = forward,
                              .backward = backward,
                              .jvp = jvp};
