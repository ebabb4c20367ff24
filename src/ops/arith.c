/* arith.c - SiLU, sums, per-sample scales: one pass over the data each. */
#include "base/parallel.h"
#include "ops/op.h"

static const float *in(const cm_op_run *r, int i)
{
    return r->in[i];
}

static cm_status same(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr, (void)n_in;
    *out = in[0];
    return CM_OK;
}

/* Runs a piece function over pieces of 64 points. */
static cm_status over_rows(const cm_op_run *r, cm_piece_fn piece)
{
    return cm_parallel(r->p->threads, cm_op_row_pieces(cm_desc_pixels(r->p->out)), piece, (void *)(uintptr_t)r);
}

/* The flat range of a piece. */
static size_t range(const cm_op_run *r, int index, size_t *first)
{
    size_t c = (size_t)r->p->out.c;
    *first = (size_t)index * 64 * c;
    return cm_op_piece_rows(cm_desc_pixels(r->p->out), index) * c;
}

/* --- silu: x / (1 + exp(-x)) -------------------------------------------- */

static cm_status silu_piece(void *user, int index, int worker)
{
    (void)worker;
    const cm_op_run *r = user;
    size_t at, n = range(r, index, &at);
    r->p->kernels->silu(n, in(r, 0) + at, (float *)r->out + at);
    return CM_OK;
}

static cm_status silu_forward(const cm_op_run *r)
{
    return over_rows(r, silu_piece);
}

const cm_op cm_op_silu = {"silu", CM_OP_INPLACE, same, NULL, NULL, NULL, NULL, silu_forward, NULL, NULL};

/* --- add: (a + b) scale -------------------------------------------------- */

static cm_status add_shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr, (void)n_in;
    if (!cm_desc_equal(in[0], in[1]))
        CM_FAIL(CM_ERR_SHAPE, "add: %d x %d x %d and %d x %d x %d (H x W x C) differ", in[0].h, in[0].w, in[0].c,
                in[1].h, in[1].w, in[1].c);
    *out = in[0];
    return CM_OK;
}

static cm_status add_piece(void *user, int index, int worker)
{
    (void)worker;
    const cm_op_run *r = user;
    size_t at, n = range(r, index, &at);
    r->p->kernels->add(n, in(r, 0) + at, in(r, 1) + at, r->p->attr->add.scale, (float *)r->out + at);
    return CM_OK;
}

static cm_status add_forward(const cm_op_run *r)
{
    return over_rows(r, add_piece);
}

const cm_op cm_op_add = {"add", CM_OP_INPLACE, add_shape, NULL, NULL, NULL, NULL, add_forward, NULL, NULL};

/* --- scale: x s, one s per image ----------------------------------------- */

static cm_status scale_forward(const cm_op_run *r)
{
    size_t n = cm_desc_count(r->p->out) / (size_t)r->p->out.n;
    for (size_t i = 0; i < (size_t)r->p->out.n; i++)
        r->p->kernels->scale(n, in(r, 1)[i], in(r, 0) + i * n, (float *)r->out + i * n);
    return CM_OK;
}

const cm_op cm_op_scale = {"scale", CM_OP_INPLACE, same, NULL, NULL, NULL, NULL, scale_forward, NULL, NULL};

/* --- mix: s x + t f, f may have more channels than x (iDDPM's variances) -- */

static cm_status mix_shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr, (void)n_in;
    if (in[0].h != in[1].h || in[0].w != in[1].w || in[0].c > in[1].c)
        CM_FAIL(CM_ERR_SHAPE, "the network gives %d x %d x %d (H x W x C), its input is %d x %d x %d", in[1].h,
                in[1].w, in[1].c, in[0].h, in[0].w, in[0].c);
    *out = in[0];
    return CM_OK;
}

static cm_status mix_forward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    size_t rows = (size_t)p->out.h * (size_t)p->out.w, c = (size_t)p->out.c, fc = (size_t)p->in[1].c;
    for (size_t i = 0; i < (size_t)p->out.n; i++)
        p->kernels->mix(rows, c, fc, in(r, 2)[i], in(r, 0) + i * rows * c, in(r, 3)[i], in(r, 1) + i * rows * fc,
                        (float *)r->out + i * rows * c);
    return CM_OK;
}

const cm_op cm_op_mix = {"mix", 0, mix_shape, NULL, NULL, NULL, NULL, mix_forward, NULL, NULL};
