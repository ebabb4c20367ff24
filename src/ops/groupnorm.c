/* groupnorm.c - group normalisation with what always surrounds it:
 *
 *   y = act( (1 + a) (GN(x + s) w + b) + c )
 *
 * GN subtracts the mean and divides by sqrt(var + eps) over the C/G channels
 * of a group and all points; s is the embedding in mode ADD, (a, c) its two
 * halves in mode SCALE_SHIFT, act SiLU or nothing.  Everything folds into one
 * factor and one offset per channel, so the data is read twice and written
 * once.
 *
 * Everything is taken around the first point of each channel: moments in
 * pieces of 64 points, added up in double and joined over the group by Chan's
 * formula, and the result itself.  So nothing cancels however large the mean,
 * and the bits are the same for any split. */
#include <math.h>
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    int32_t mode = attr->groupnorm.mode, c = in[0].c, wanted = mode == CM_GN_SCALE_SHIFT ? 2 * c : c;
    if (attr->groupnorm.groups < 1 || c % attr->groupnorm.groups)
        CM_FAIL(CM_ERR_SHAPE, "groupnorm: %d channels do not divide into %d groups", c, attr->groupnorm.groups);
    if (n_in != (mode == CM_GN_PLAIN ? 1 : 2)) CM_FAIL(CM_ERR_INTERNAL, "groupnorm: %d inputs", n_in);
    if (n_in == 2 && (in[1].c != wanted || in[1].h != 1 || in[1].w != 1))
        CM_FAIL(CM_ERR_SHAPE, "groupnorm: the embedding has %d values, expected %d", in[1].c, wanted);
    *out = in[0];
    return CM_OK;
}

/* Scratch of one run. */
typedef struct {
    float *partial; /* [pieces][2][C] sums and squares */
    float *shift;   /* [C] the first point: the output may overwrite it */
    float *factor;  /* [C] */
    float *offset;  /* [C] */
    double *mean;   /* [C] of x - shift */
    double *m2;     /* [C] sum of squared deviations from it */
} buffers;

static size_t points(const cm_op_plan *p)
{
    return (size_t)p->out.h * (size_t)p->out.w;
}

static buffers split(const cm_op_plan *p, void *scratch)
{
    size_t c = (size_t)p->out.c;
    buffers b;
    b.mean = scratch;
    b.m2 = b.mean + c;
    b.shift = (float *)(b.m2 + c);
    b.factor = b.shift + c;
    b.offset = b.factor + c;
    b.partial = b.offset + c;
    return b;
}

static cm_status prepare(cm_op_plan *p)
{
    size_t c = (size_t)p->out.c, pieces = (size_t)cm_op_row_pieces(points(p));
    p->scratch_bytes = c * (2 * sizeof(double) + 3 * sizeof(float) + pieces * 2 * sizeof(float));
    return CM_OK;
}

typedef struct {
    const cm_op_run *run;
    const float *x;
    float *out;
    buffers b;
} image;

static cm_status moments_piece(void *user, int index, int worker)
{
    (void)worker;
    const image *m = user;
    const cm_op_plan *p = m->run->p;
    size_t c = (size_t)p->out.c;
    float *sum = m->b.partial + (size_t)index * 2 * c;
    p->kernels->moments(cm_op_piece_rows(points(p), index), c, m->x + (size_t)index * 64 * c, m->b.shift, sum,
                        sum + c);
    return CM_OK;
}

/* Pieces to mean and squared deviations of each channel. */
static void join_pieces(const image *m, size_t c, size_t n, int pieces)
{
    memset(m->b.mean, 0, 2 * c * sizeof *m->b.mean);
    for (int i = 0; i < pieces; i++) {
        const float *sum = m->b.partial + (size_t)i * 2 * c, *square = sum + c;
        for (size_t k = 0; k < c; k++) {
            m->b.mean[k] += (double)sum[k];
            m->b.m2[k] += (double)square[k];
        }
    }
    for (size_t k = 0; k < c; k++) {
        double s = m->b.mean[k];
        m->b.mean[k] = s / (double)n;
        m->b.m2[k] -= s * s / (double)n;
    }
}

/* Channels [first, last) of one group to their factors and offsets; e is the
 * image's embedding or NULL. */
static void fold_group(const image *m, size_t first, size_t last, size_t c, size_t n, const float *e)
{
    const cm_attr *attr = m->run->p->attr;
    const float *weight = m->run->param[0], *bias = m->run->param[1];
    int mode = attr->groupnorm.mode;
    double mean = 0, m2 = 0, width = (double)(last - first);
    for (size_t k = first; k < last; k++) {
        m->b.mean[k] += (double)m->b.shift[k] + (mode == CM_GN_ADD ? (double)e[k] : 0);
        mean += m->b.mean[k];
    }
    mean /= width;
    for (size_t k = first; k < last; k++) {
        double d = m->b.mean[k] - mean;
        m2 += m->b.m2[k] + (double)n * d * d;
    }
    double inverse = 1 / sqrt((m2 > 0 ? m2 : 0) / (width * (double)n) + (double)attr->groupnorm.eps);
    if (isnan(m2)) inverse = m2; /* a NaN in the data must show */
    for (size_t k = first; k < last; k++) {
        double a = inverse * (double)weight[k], s = (double)m->b.shift[k] + (mode == CM_GN_ADD ? (double)e[k] : 0);
        double b = (double)bias[k] + (s - mean) * a;
        if (mode == CM_GN_SCALE_SHIFT) {
            double gain = 1 + (double)e[k];
            a *= gain;
            b = b * gain + (double)e[c + k];
        }
        m->b.factor[k] = (float)a;
        m->b.offset[k] = (float)b;
    }
}

static cm_status apply_piece(void *user, int index, int worker)
{
    (void)worker;
    const image *m = user;
    const cm_op_plan *p = m->run->p;
    size_t c = (size_t)p->out.c, at = (size_t)index * 64 * c;
    p->kernels->affine(cm_op_piece_rows(points(p), index), c, m->x + at, m->b.shift, m->b.factor, m->b.offset,
                       p->attr->groupnorm.silu, m->out + at);
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    size_t c = (size_t)p->out.c, n = points(p), width = c / (size_t)p->attr->groupnorm.groups;
    int pieces = cm_op_row_pieces(n);
    const float *e = r->in[1];
    image m = {r, r->in[0], r->out, split(p, r->scratch)};
    for (int32_t i = 0; i < p->out.n; i++, m.x += n * c, m.out += n * c) {
        memcpy(m.b.shift, m.x, c * sizeof *m.x);
        CM_TRY(cm_parallel(p->threads, pieces, moments_piece, &m));
        join_pieces(&m, c, n, pieces);
        for (size_t k = 0; k < c; k += width)
            fold_group(&m, k, k + width, c, n, e ? e + (size_t)i * (size_t)p->in[1].c : NULL);
        CM_TRY(cm_parallel(p->threads, pieces, apply_piece, &m));
    }
    return CM_OK;
}

const cm_op cm_op_groupnorm = {"groupnorm", CM_OP_INPLACE, shape, prepare, NULL, NULL, NULL, forward, NULL, NULL};
