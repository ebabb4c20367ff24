/* arith.c - SiLU, sums, per-sample scales: one pass over the data each. */
#include <math.h>
#include <string.h>

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
    return cmi_parallel(r->p->threads, cmi_op_row_pieces(cmi_desc_pixels(r->p->out)), piece, (void *)(uintptr_t)r);
}

/* The flat range of a piece. */
static size_t range(const cm_op_run *r, int index, size_t *first)
{
    size_t c = (size_t)r->p->out.c;
    *first = (size_t)index * 64 * c;
    return cmi_op_piece_rows(cmi_desc_pixels(r->p->out), index) * c;
}

/* --- silu: x / (1 + exp(-x)) -------------------------------------------- */

static cm_status silu_piece(void *user, int index, int worker)
{
    (void)worker;
    const cm_op_run *r = user;
    size_t at, n = range(r, index, &at);
    r->p->kernels->pointwise->silu(n, in(r, 0) + at, (float *)r->out + at);
    return CM_OK;
}

static cm_status silu_forward(const cm_op_run *r)
{
    return over_rows(r, silu_piece);
}

static cm_status silu_backward(const cm_op_run *r)
{
    r->p->kernels->pointwise->silu_back(cmi_desc_count(r->p->out), in(r, 0), r->dout, r->din[0]);
    return CM_OK;
}

/* The slope is symmetric in what it multiplies: a gradient or a tangent.  The tangent comes first: forward may
 * overwrite x. */
static cm_status silu_both_piece(void *user, int index, int worker)
{
    const cm_op_run *r = user;
    size_t at, n = range(r, index, &at);
    r->p->kernels->pointwise->silu_back(n, in(r, 0) + at, r->tin[0] + at, r->tout + at);
    return silu_piece(user, index, worker);
}

static cm_status silu_both(const cm_op_run *r)
{
    return over_rows(r, silu_both_piece);
}

/* f'' = g (1 - g) (2 + x (1 - 2 g)) */
static cm_status silu_both_backward(const cm_op_run *r)
{
    const float *x = in(r, 0);
    for (size_t i = 0, n = cmi_desc_count(r->p->out); i < n; i++) {
        const double v = (double)x[i], g = 1 / (1 + exp(-v)), slope = g * (1 + v * (1 - g));
        const double curve = g * (1 - g) * (2 + v * (1 - 2 * g)), moved = (double)r->dtout[i];
        if (r->din[0]) r->din[0][i] = (float)(slope * (double)r->dout[i] + curve * (double)r->tin[0][i] * moved);
        if (r->dtin[0]) r->dtin[0][i] = (float)(slope * moved);
    }
    return CM_OK;
}

const cm_op cmi_op_silu = {.name = "silu",
                           .flags = CM_OP_INPLACE,
                           .saves = 1,
                           .shape = same,
                           .forward = silu_forward,
                           .backward = silu_backward,
                           .both = silu_both,
                           .both_backward = silu_both_backward};

/* --- add: (a + b) scale -------------------------------------------------- */

static cm_status add_shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr, (void)n_in;
    if (!cmi_desc_equal(in[0], in[1]))
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
    r->p->kernels->pointwise->add(n, in(r, 0) + at, in(r, 1) + at, r->p->attr->add.scale, (float *)r->out + at);
    return CM_OK;
}

static cm_status add_forward(const cm_op_run *r)
{
    return over_rows(r, add_piece);
}

static cm_status add_backward(const cm_op_run *r)
{
    for (int k = 0; k < 2; k++)
        if (r->din[k])
            r->p->kernels->pointwise->scale(cmi_desc_count(r->p->out), r->p->attr->add.scale, r->dout, r->din[k]);
    return CM_OK;
}

static cm_status add_both_piece(void *user, int index, int worker)
{
    const cm_op_run *r = user;
    const float s = r->p->attr->add.scale, *a = r->tin[0], *b = r->tin[1];
    size_t at, n = range(r, index, &at);
    if (a && b) r->p->kernels->pointwise->add(n, a + at, b + at, s, r->tout + at);
    else r->p->kernels->pointwise->scale(n, s, (a ? a : b) + at, r->tout + at);
    return add_piece(user, index, worker);
}

static cm_status add_both(const cm_op_run *r)
{
    return over_rows(r, add_both_piece);
}

const cm_op cmi_op_add = {.name = "add",
                          .flags = CM_OP_INPLACE | CM_OP_LINEAR,
                          .shape = add_shape,
                          .forward = add_forward,
                          .backward = add_backward,
                          .both = add_both};

/* --- scale: x s, one s per image ----------------------------------------- */

static cm_status scale_forward(const cm_op_run *r)
{
    size_t n = cmi_desc_count(r->p->out) / (size_t)r->p->out.n;
    for (size_t i = 0; i < (size_t)r->p->out.n; i++)
        r->p->kernels->pointwise->scale(n, in(r, 1)[i], in(r, 0) + i * n, (float *)r->out + i * n);
    return CM_OK;
}

/* sum of a[i] b[i] in double; rows of b are `stride` long, of which c count. */
static float inner(size_t rows, size_t c, const float *a, const float *b, size_t stride)
{
    double sum = 0;
    for (size_t r = 0; r < rows; r++, a += c, b += stride)
        for (size_t i = 0; i < c; i++) sum += (double)a[i] * (double)b[i];
    return (float)sum;
}

static cm_status scale_backward(const cm_op_run *r)
{
    size_t n = cmi_desc_count(r->p->out) / (size_t)r->p->out.n;
    for (size_t i = 0; i < (size_t)r->p->out.n; i++) {
        float ds = r->din[1] ? inner(1, n, r->dout + i * n, in(r, 0) + i * n, n) : 0;
        if (r->din[0]) r->p->kernels->pointwise->scale(n, in(r, 1)[i], r->dout + i * n, r->din[0] + i * n);
        if (r->din[1]) r->din[1][i] = ds;
    }
    return CM_OK;
}

/* ty = s tx + ts x */
static cm_status scale_jvp(const cm_op_run *r)
{
    size_t n = cmi_desc_count(r->p->out) / (size_t)r->p->out.n;
    memset(r->tout, 0, cmi_desc_count(r->p->out) * sizeof *r->tout);
    for (size_t i = 0; i < (size_t)r->p->out.n; i++) {
        if (r->tin[0]) r->p->kernels->pointwise->axpy(n, in(r, 1)[i], r->tin[0] + i * n, r->tout + i * n);
        if (r->tin[1]) r->p->kernels->pointwise->axpy(n, r->tin[1][i], in(r, 0) + i * n, r->tout + i * n);
    }
    return CM_OK;
}

/* Through y and ty: dx = s dy + ts dty, dtx = s dty; s in the same way. */
static cm_status scale_both_backward(const cm_op_run *r)
{
    const size_t n = cmi_desc_count(r->p->out) / (size_t)r->p->out.n;
    for (size_t i = 0; i < (size_t)r->p->out.n; i++) {
        const float s = in(r, 1)[i], ts = r->tin[1] ? r->tin[1][i] : 0;
        const float *x = in(r, 0) + i * n, *tx = r->tin[0] ? r->tin[0] + i * n : NULL;
        const float *dy = r->dout + i * n, *dty = r->dtout + i * n;
        if (r->din[1]) r->din[1][i] = inner(1, n, dy, x, n) + (tx ? inner(1, n, dty, tx, n) : 0);
        if (r->dtin[1]) r->dtin[1][i] = inner(1, n, dty, x, n);
        if (r->din[0]) r->p->kernels->pointwise->mix(1, n, n, s, dy, ts, dty, r->din[0] + i * n);
        if (r->dtin[0]) r->p->kernels->pointwise->scale(n, s, dty, r->dtin[0] + i * n);
    }
    return CM_OK;
}

const cm_op cmi_op_scale = {.name = "scale",
                            .flags = CM_OP_INPLACE,
                            .saves = 1 | 2,
                            .shape = same,
                            .forward = scale_forward,
                            .backward = scale_backward,
                            .jvp = scale_jvp,
                            .both_backward = scale_both_backward};

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
        p->kernels->pointwise->mix(rows, c, fc, in(r, 2)[i], in(r, 0) + i * rows * c, in(r, 3)[i],
                                   in(r, 1) + i * rows * fc, (float *)r->out + i * rows * c);
    return CM_OK;
}

static cm_status mix_backward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    size_t rows = (size_t)p->out.h * (size_t)p->out.w, c = (size_t)p->out.c, fc = (size_t)p->in[1].c;
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        const float *dy = r->dout + i * rows * c;
        float *dx = r->din[0] ? r->din[0] + i * rows * c : NULL, *df = r->din[1] ? r->din[1] + i * rows * fc : NULL;
        if (r->din[2]) r->din[2][i] = inner(rows, c, dy, in(r, 0) + i * rows * c, c);
        if (r->din[3]) r->din[3][i] = inner(rows, c, dy, in(r, 1) + i * rows * fc, fc);
        if (df) memset(df, 0, rows * fc * sizeof *df);
        for (size_t row = 0; df && row < rows; row++)
            p->kernels->pointwise->axpy(c, in(r, 3)[i], dy + row * c, df + row * fc);
        if (dx) p->kernels->pointwise->scale(rows * c, in(r, 2)[i], dy, dx);
    }
    return CM_OK;
}

/* ty = s tx + ts x + t tf + tt f */
static cm_status mix_jvp(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    size_t rows = (size_t)p->out.h * (size_t)p->out.w, c = (size_t)p->out.c, fc = (size_t)p->in[1].c;
    const cm_kernels *k = p->kernels;
    memset(r->tout, 0, cmi_desc_count(p->out) * sizeof *r->tout);
    for (size_t row = 0; row < (size_t)p->out.n * rows; row++) {
        size_t i = row / rows;
        float *to = r->tout + row * c;
        if (r->tin[0]) k->pointwise->axpy(c, in(r, 2)[i], r->tin[0] + row * c, to);
        if (r->tin[1]) k->pointwise->axpy(c, in(r, 3)[i], r->tin[1] + row * fc, to);
        if (r->tin[2]) k->pointwise->axpy(c, r->tin[2][i], in(r, 0) + row * c, to);
        if (r->tin[3]) k->pointwise->axpy(c, r->tin[3][i], in(r, 1) + row * fc, to);
    }
    return CM_OK;
}

/* Rows of c of fc values: s dy + t dty, zeros behind. */
static void spread(const cm_op_run *r, size_t i, float s, float t, float *df)
{
    const size_t rows = (size_t)r->p->out.h * (size_t)r->p->out.w, c = (size_t)r->p->out.c,
                 fc = (size_t)r->p->in[1].c;
    const float *dy = r->dout + i * rows * c, *dty = r->dtout + i * rows * c;
    memset(df, 0, rows * fc * sizeof *df);
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < c; k++) df[row * fc + k] = s * dy[row * c + k] + t * dty[row * c + k];
}

static cm_status mix_both_backward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    const size_t rows = (size_t)p->out.h * (size_t)p->out.w, c = (size_t)p->out.c;
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        const float *dy = r->dout + i * rows * c, *dty = r->dtout + i * rows * c;
        for (int k = 0; k < 2; k++) { /* x with s, f with t */
            const size_t width = (size_t)p->in[k].c, at = i * rows * width;
            const float s = in(r, 2 + k)[i], ts = r->tin[2 + k] ? r->tin[2 + k][i] : 0;
            const float *v = in(r, k) + at, *tv = r->tin[k] ? r->tin[k] + at : NULL;
            if (r->din[2 + k])
                r->din[2 + k][i] = inner(rows, c, dy, v, width) + (tv ? inner(rows, c, dty, tv, width) : 0);
            if (r->dtin[2 + k]) r->dtin[2 + k][i] = inner(rows, c, dty, v, width);
            if (k && r->din[1]) spread(r, i, s, ts, r->din[1] + at);
            if (k && r->dtin[1]) spread(r, i, 0, s, r->dtin[1] + at);
            if (!k && r->din[0]) p->kernels->pointwise->mix(rows, c, c, s, dy, ts, dty, r->din[0] + at);
            if (!k && r->dtin[0]) p->kernels->pointwise->scale(rows * c, s, dty, r->dtin[0] + at);
        }
    }
    return CM_OK;
}

const cm_op cmi_op_mix = {.name = "mix",
                          .saves = 1 | 2 | 4 | 8,
                          .shape = mix_shape,
                          .forward = mix_forward,
                          .backward = mix_backward,
                          .jvp = mix_jvp,
                          .both_backward = mix_both_backward};
