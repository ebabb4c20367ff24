/* linear.c - y = W x + b for one vector per image: the embedding path.  One
 * product per row of W, always summed the same way; pieces of 64 rows.
 *
 * dx = W^T dy, dW = sum over images dy x^T, db = sum dy; ty = W tx. */
#include <string.h>

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

/* One product for values (with bias) and tangents (without). */
typedef struct {
    const cm_op_run *run;
    const float *x, *bias;
    float *out;
} product;

static cm_status piece(void *user, int index, int worker)
{
    (void)worker;
    const product *q = user;
    const cm_op_run *r = q->run;
    size_t k = (size_t)r->p->in[0].c, m = (size_t)r->p->out.c, first = (size_t)index * 64;
    size_t rows = cmi_op_piece_rows(m, index);
    const float *w = r->param[0], *bias = q->bias, *x = q->x;
    float *out = q->out;
    for (int32_t n = 0; n < r->p->out.n; n++, x += k, out += m)
        r->p->kernels->pointwise->matvec(rows, k, w + first * k, x, bias ? bias + first : NULL, out + first);
    return CM_OK;
}

static cm_status multiply(product *q)
{
    const cm_op_plan *p = q->run->p;
    return cmi_parallel(p->threads, cmi_op_row_pieces((size_t)p->out.c), piece, q);
}

static cm_status forward(const cm_op_run *r)
{
    product q = {r, r->in[0], r->param[1], r->out};
    return multiply(&q);
}

/* 64 rows of W for values and tangents, while they are near. */
static cm_status both_piece(void *user, int index, int worker)
{
    const cm_op_run *r = user;
    product values = {r, r->in[0], r->param[1], r->out}, tangents = {r, r->tin[0], NULL, r->tout};
    CM_TRY(piece(&values, index, worker));
    return piece(&tangents, index, worker);
}

static cm_status both(const cm_op_run *r)
{
    return cmi_parallel(r->p->threads, cmi_op_row_pieces((size_t)r->p->out.c), both_piece, (void *)(uintptr_t)r);
}

static cm_status backward(const cm_op_run *r)
{
    const cm_kernels *kernels = r->p->kernels;
    size_t n = (size_t)r->p->out.n, k = (size_t)r->p->in[0].c, m = (size_t)r->p->out.c;
    const float *w = r->param[0], *x = r->in[0], *dy = r->dout;
    float *dw = r->dparam[0], *db = r->dparam[1], *dx = r->din[0];
    memset(dw, 0, m * k * sizeof *dw);
    if (db) memset(db, 0, m * sizeof *db);
    if (dx) memset(dx, 0, n * k * sizeof *dx);
    for (size_t row = 0; row < m; row++)
        for (size_t i = 0; i < n; i++) {
            float g = dy[i * m + row];
            kernels->pointwise->axpy(k, g, x + i * k, dw + row * k);
            if (dx) kernels->pointwise->axpy(k, g, w + row * k, dx + i * k);
            if (db) db[row] += g;
        }
    return CM_OK;
}

enum { OF_A_WEIGHT = 8 }; /* each is read for one multiply-add */

static double work(const cm_op_plan *p)
{
    return OF_A_WEIGHT * (double)cmi_desc_count(p->out) * p->in[0].c;
}

const cm_op cmi_op_linear = {.name = "linear",
                             .flags = CM_OP_LINEAR,
                             .saves = 1,
                             .shape = shape,
                             .work = work,
                             .forward = forward,
                             .backward = backward,
                             .both = both};
