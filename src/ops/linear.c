/* linear.c - y = W x + b for one vector per image: the embedding path.  One
 * product per row of W, always summed the same way; pieces of 64 rows. */
#include "ops/op.h"

#include "base/parallel.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    if (in->h != 1 || in->w != 1)
        CM_FAIL(CM_ERR_SHAPE, "linear: expected a vector per image, found %d x %d points", in->h, in->w);
    *out = (cm_desc){in->n, 1, 1, attr->linear.out};
    return CM_OK;
}

static cm_status piece(void *user, int index, int worker)
{
    (void)worker;
    const cm_op_run *r = user;
    size_t k = (size_t)r->p->in[0].c, m = (size_t)r->p->out.c, first = (size_t)index * 64;
    size_t rows = cm_op_piece_rows(m, index);
    const float *w = r->param[0], *bias = r->param[1], *x = r->in[0];
    float *out = r->out;
    for (int32_t n = 0; n < r->p->out.n; n++, x += k, out += m)
        r->p->kernels->matvec(rows, k, w + first * k, x, bias ? bias + first : NULL, out + first);
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    return cm_parallel(r->p->threads, cm_op_row_pieces((size_t)r->p->out.c), piece, (void *)(uintptr_t)r);
}

const cm_op cm_op_linear = {"linear", 0, shape, NULL, NULL, NULL, NULL, forward, NULL, NULL};
