/* groupnorm.c - group normalisation with what always surrounds it:
 *
 *   y = act( (1 + a) (GN(x + s) w + b) + c )
 *
 * GN subtracts the mean and divides by sqrt(var + eps) over the C/G channels
 * of a group and all points; s is the embedding in mode ADD, (a, c) its two
 * halves in mode SCALE_SHIFT (with whole_factor a alone for 1 + a), act SiLU or nothing.  Everything folds into one
 * factor and one offset per channel, so the data is read twice and written
 * once.
 *
 * Everything is taken around the first point of each channel: moments in
 * pieces of 64 points, added up in double and joined over the group by Chan's
 * formula, and the result itself.  So nothing cancels however large the mean,
 * and the bits are the same for any split.
 *
 * Backward.  Let u = x + s, n^ = (u - mean) / sd, z = n^ w + b, v = (1 + a) z + c,
 * y = act(v), g = dy act'(v), and per channel S = sum g, Q = sum g n^.  Then
 *   dw = (1 + a) Q,  db = (1 + a) S,  da = w Q + b S,  dc = S,
 *   du = (gain g - (G1 + n^ G2) / m) / sd,  gain = (1 + a) w,
 * with G1 = sum gain S and G2 = sum gain Q over the m values of the group:
 * again one factor, one slope in x and one offset per channel. */
#include <math.h>
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"
#include "tensor/convert.h"

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

/* What a of (1 + a) is added to: 0 where the embedding has the whole factor. */
static double unit(const cm_attr *attr)
{
    return attr->groupnorm.whole_factor ? 0 : 1;
}

/* What is found per channel of one image; kept for backward when training. */
typedef struct {
    double *mean;    /* [C] of x + s, less the group's mean */
    double *m2;      /* [C] sum of squared deviations from it */
    double *base;    /* [C] shift + s, less the group's mean  */
    double *inverse; /* [C] 1 / sqrt(var + eps)               */
    float *shift;    /* [C] the first point: the output may overwrite it */
    float *factor;   /* [C] */
    float *offset;   /* [C] */
    float *partial;  /* [pieces][2][C] sums and squares, of a tangent as many more; scratch */
} buffers;

static size_t points(const cm_op_plan *p)
{
    return (size_t)p->out.h * (size_t)p->out.w;
}

static size_t kept_bytes(const cm_op_plan *p)
{
    return (size_t)p->out.c * (4 * sizeof(double) + 4 * sizeof(float));
}

static size_t partial_bytes(const cm_op_plan *p)
{
    const size_t sums = cmi_op_moves(p) ? 4 : 2;
    return (size_t)cmi_op_row_pieces(points(p)) * sums * (size_t)p->out.c * sizeof(float);
}

/* The buffers of image i. */
static buffers split(const cm_op_run *r, int32_t i)
{
    const cm_op_plan *p = r->p;
    size_t c = (size_t)p->out.c;
    unsigned char *kept = r->aux ? (unsigned char *)r->aux + (size_t)i * kept_bytes(p) : r->scratch;
    buffers b;
    b.mean = (double *)(void *)kept;
    b.m2 = b.mean + c;
    b.base = b.m2 + c;
    b.inverse = b.base + c;
    b.shift = (float *)(b.inverse + c);
    b.factor = b.shift + c;
    b.offset = b.factor + c;
    b.partial = (float *)(void *)((unsigned char *)r->scratch + kept_bytes(p));
    return b;
}

static size_t second_bytes(const cm_op_plan *p);

/* Scratch: kept values (when they are not), partial sums; backward's and jvp's
 * [C] arrays: S and Q in double, three of floats, and g of 64 points where nobody
 * wants the gradient of x. */
static cm_status prepare(cm_op_plan *p)
{
    size_t c = (size_t)p->out.c;
    p->scratch_bytes = kept_bytes(p) + partial_bytes(p);
    if (p->mode != CM_MODE_INFER) {
        p->aux_bytes = (size_t)p->out.n * kept_bytes(p);
        p->scratch_bytes += c * (2 * sizeof(double) + (p->needs_gradient & 1 ? 3u : 3u + 64u) * sizeof(float));
        if (p->mode == CM_MODE_TRAIN_JVP) p->scratch_bytes = (p->scratch_bytes + 7) / 8 * 8 + second_bytes(p);
    }
    return CM_OK;
}

static unsigned offers_bf16(const cm_op_plan *p)
{
    return p->out.c % 16 == 0 ? 1 | CM_BF16_OUT : 0;
}

typedef struct {
    const cm_op_run *run;
    const float *x; /* or uint16_t, as out: forward alone */
    float *out;
    buffers b;
} image;

static int x_bf16(const cm_op_plan *p)
{
    return p->stored_bf16 & 1;
}

static int out_bf16(const cm_op_plan *p)
{
    return (p->stored_bf16 & CM_BF16_OUT) != 0;
}

static cm_status moments_piece(void *user, int index, int worker)
{
    (void)worker;
    const image *m = user;
    const cm_op_plan *p = m->run->p;
    size_t c = (size_t)p->out.c;
    size_t rows = cmi_op_piece_rows(points(p), index);
    float *sum = m->b.partial + (size_t)index * 2 * c;
    const void *x = cmi_values_at(m->x, x_bf16(p), (size_t)index * 64 * c);
    if (x_bf16(p)) p->kernels->pointwise->moments_bf16(rows, c, x, m->b.shift, sum, sum + c);
    else p->kernels->pointwise->moments(rows, c, x, m->b.shift, sum, sum + c);
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
        m->b.base[k] = (double)m->b.shift[k] + (mode == CM_GN_ADD ? (double)e[k] : 0);
        m->b.mean[k] += m->b.base[k];
        mean += m->b.mean[k];
    }
    mean /= width;
    for (size_t k = first; k < last; k++) {
        double d = m->b.mean[k] - mean;
        m2 += m->b.m2[k] + (double)n * d * d;
        m->b.mean[k] = d;
        m->b.base[k] -= mean;
    }
    double inverse = 1 / sqrt((m2 > 0 ? m2 : 0) / (width * (double)n) + (double)attr->groupnorm.eps);
    if (isnan(m2)) inverse = m2; /* a NaN in the data must show */
    for (size_t k = first; k < last; k++) {
        double a = inverse * (double)weight[k], b = (double)bias[k] + m->b.base[k] * a;
        if (mode == CM_GN_SCALE_SHIFT) {
            double gain = unit(attr) + (double)e[k];
            a *= gain;
            b = b * gain + (double)e[c + k];
        }
        m->b.inverse[k] = inverse;
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
    const void *x = cmi_values_at(m->x, x_bf16(p), at);
    void *out = cmi_values_at(m->out, out_bf16(p), at);
    size_t rows = cmi_op_piece_rows(points(p), index);
    const buffers *b = &m->b;
    int silu = p->attr->groupnorm.silu;
    if (out_bf16(p)) p->kernels->amx->affine(rows, c, x, x_bf16(p), b->shift, b->factor, b->offset, silu, out);
    else if (x_bf16(p)) p->kernels->pointwise->affine_bf16(rows, c, x, b->shift, b->factor, b->offset, silu, out);
    else p->kernels->pointwise->affine(rows, c, x, b->shift, b->factor, b->offset, silu, out);
    return CM_OK;
}

/* Of one image, to factors and offsets; e: its embedding or NULL. */
static cm_status find_moments(image *m, const float *e)
{
    const cm_op_plan *p = m->run->p;
    size_t c = (size_t)p->out.c, n = points(p), width = c / (size_t)p->attr->groupnorm.groups;
    int pieces = cmi_op_row_pieces(n);
    if (x_bf16(p)) cmi_bf16_to_f32(c, (const uint16_t *)(const void *)m->x, m->b.shift);
    else memcpy(m->b.shift, m->x, c * sizeof *m->x);
    CM_TRY(cmi_parallel(p->threads, pieces, moments_piece, m));
    join_pieces(m, c, n, pieces);
    for (size_t k = 0; k < c; k += width) fold_group(m, k, k + width, c, n, e);
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    size_t c = (size_t)p->out.c, n = points(p);
    int pieces = cmi_op_row_pieces(n);
    const float *e = r->in[1];
    image m = {r, r->in[0], r->out, split(r, 0)};
    for (int32_t i = 0; i < p->out.n; i++) {
        m.x = cmi_values_at(r->in[0], x_bf16(p), (size_t)i * n * c);
        m.out = cmi_values_at(r->out, out_bf16(p), (size_t)i * n * c);
        m.b = split(r, i);
        if (!r->again) CM_TRY(find_moments(&m, e ? e + (size_t)i * (size_t)p->in[1].c : NULL));
        CM_TRY(cmi_parallel(p->threads, pieces, apply_piece, &m));
    }
    return CM_OK;
}

/* --- backward -------------------------------------------------------------- */

/* Per-channel results of one image. */
typedef struct {
    double *sum, *product; /* S, Q                     */
    float *p, *q, *t;      /* du = p g + q (x - shift) + t */
    float *unwanted;       /* [64][C] */
} slopes;

static slopes split_slopes(const cm_op_run *r)
{
    size_t c = (size_t)r->p->out.c;
    slopes s;
    s.sum = (double *)(void *)((unsigned char *)r->scratch + kept_bytes(r->p) + partial_bytes(r->p));
    s.product = s.sum + c;
    s.p = (float *)(s.product + c);
    s.q = s.p + c;
    s.t = s.q + c;
    s.unwanted = s.t + c;
    return s;
}

/* S and Q, from float sums over 64 points added up in double; g to where du goes. */
static void channel_sums(const image *m, const float *dy, float *g, slopes *s)
{
    const cm_op_plan *p = m->run->p;
    size_t c = (size_t)p->out.c;
    memset(s->sum, 0, 2 * c * sizeof *s->sum);
    for (int i = 0; i < cmi_op_row_pieces(points(p)); i++) {
        size_t at = (size_t)i * 64 * c;
        memset(m->b.partial, 0, 2 * c * sizeof *m->b.partial);
        p->kernels->pointwise->affine_sums(cmi_op_piece_rows(points(p), i), c, m->x + at, m->b.shift, m->b.factor,
                                           m->b.offset, p->attr->groupnorm.silu, dy + at, g ? g + at : s->unwanted,
                                           m->b.partial, m->b.partial + c);
        for (size_t k = 0; k < c; k++) {
            s->sum[k] += (double)m->b.partial[k];
            s->product[k] += (double)m->b.partial[c + k];
        }
    }
    for (size_t k = 0; k < c; k++) s->product[k] = m->b.inverse[k] * (s->product[k] + m->b.base[k] * s->sum[k]);
}

/* The whole factor of channel k. */
static double gain_of(const image *m, size_t k, const float *e)
{
    return m->run->p->attr->groupnorm.mode == CM_GN_SCALE_SHIFT ? unit(m->run->p->attr) + (double)e[k] : 1;
}

/* One group's du, and the gradient of the embedding in mode ADD: its sum. */
static void group_slopes(const image *m, size_t first, size_t last, const float *e, slopes *s, float *de)
{
    const float *weight = m->run->param[0];
    double g1 = 0, g2 = 0, n = (double)points(m->run->p), count = (double)(last - first) * n;
    for (size_t k = first; k < last; k++) {
        double gain = gain_of(m, k, e) * (double)weight[k];
        g1 += gain * s->sum[k];
        g2 += gain * s->product[k];
    }
    g1 /= count, g2 /= count;
    for (size_t k = first; k < last; k++) {
        double inverse = m->b.inverse[k], gain = gain_of(m, k, e) * (double)weight[k];
        s->p[k] = (float)(inverse * gain);
        s->q[k] = (float)(-inverse * inverse * g2);
        s->t[k] = (float)(-inverse * (g1 + inverse * m->b.base[k] * g2));
        if (de && m->run->p->attr->groupnorm.mode == CM_GN_ADD)
            de[k] = (float)(inverse * (gain * s->sum[k] - n * g1 - n * inverse * m->b.mean[k] * g2));
    }
}

/* Adds to dw and db; sets da and dc. */
static void parameter_sums(const image *m, const float *e, const slopes *s, float *de)
{
    size_t c = (size_t)m->run->p->out.c;
    const float *weight = m->run->param[0], *bias = m->run->param[1];
    float *dw = m->run->dparam[0], *db = m->run->dparam[1];
    for (size_t k = 0; k < c; k++) {
        double gain = gain_of(m, k, e);
        dw[k] += (float)(gain * s->product[k]);
        db[k] += (float)(gain * s->sum[k]);
        if (!de || m->run->p->attr->groupnorm.mode != CM_GN_SCALE_SHIFT) continue;
        de[k] = (float)((double)weight[k] * s->product[k] + (double)bias[k] * s->sum[k]);
        de[c + k] = (float)s->sum[k];
    }
}

static cm_status backward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    size_t c = (size_t)p->out.c, n = points(p), width = c / (size_t)p->attr->groupnorm.groups;
    slopes s = split_slopes(r);
    memset(r->dparam[0], 0, c * sizeof(float));
    memset(r->dparam[1], 0, c * sizeof(float));
    for (int32_t i = 0; i < p->out.n; i++) {
        size_t at = (size_t)i * n * c, e_size = (size_t)p->in[1].c;
        image m = {r, (const float *)r->in[0] + at, NULL, split(r, i)};
        const float *e = r->in[1] ? (const float *)r->in[1] + (size_t)i * e_size : NULL;
        float *de = r->din[1] ? r->din[1] + (size_t)i * e_size : NULL;
        float *du = r->din[0] ? r->din[0] + at : NULL;
        channel_sums(&m, r->dout + at, du, &s);
        for (size_t k = 0; k < c; k += width) group_slopes(&m, k, k + width, e, &s, de);
        parameter_sums(&m, e, &s, de);
        if (du) p->kernels->pointwise->affine_back(n, c, m.x, m.b.shift, du, s.p, s.q, s.t, du);
    }
    return CM_OK;
}

/* --- tangents: tn^ = (tu - mean tu - n^ mean(n^ tu)) / sd, tv = gain tn^ + ta z + tc ---------
 * Per channel that is again one factor of tx, one slope in x and one offset, from the sums of tx and of
 * tx (x - shift), which the pass for the moments makes. */

/* An image and its tangent. */
typedef struct {
    image m;
    const float *tx; /* NULL: zero */
    float *tout;
    slopes s; /* sum: of tx; product: of tx (x - shift); p, q, t: tv = p tx + q (x - shift) + t */
} moving;

/* Of 64 points: the sums of moments_piece, and behind those of all pieces the tangent's. */
static float *tangent_sums(const moving *v, int index)
{
    const size_t c = (size_t)v->m.run->p->out.c, pieces = (size_t)cmi_op_row_pieces(points(v->m.run->p));
    return v->m.b.partial + (pieces + (size_t)index) * 2 * c;
}

static cm_status moving_moments_piece(void *user, int index, int worker)
{
    const moving *v = user;
    const cm_op_plan *p = v->m.run->p;
    const size_t c = (size_t)p->out.c, rows = cmi_op_piece_rows(points(p), index), at = (size_t)index * 64 * c;
    float *sum = v->m.b.partial + (size_t)index * 2 * c, *more = tangent_sums(v, index);
    if (!v->tx) return moments_piece((void *)(uintptr_t)&v->m, index, worker);
    p->kernels->pointwise->moments_both(rows, c, v->m.x + at, v->tx + at, v->m.b.shift, sum, sum + c, more, more + c);
    return CM_OK;
}

static void join_tangents(moving *v, size_t c, int pieces)
{
    memset(v->s.sum, 0, 2 * c * sizeof *v->s.sum);
    for (int i = 0; v->tx && i < pieces; i++) {
        const float *sum = tangent_sums(v, i);
        for (size_t k = 0; k < c; k++) {
            v->s.sum[k] += (double)sum[k];
            v->s.product[k] += (double)sum[c + k];
        }
    }
}

/* What an embedding's tangent adds to that of x; NULL: nothing. */
static const float *added_of(const cm_op_plan *p, const float *te)
{
    return p->attr->groupnorm.mode == CM_GN_ADD ? te : NULL;
}

/* The means of tu and of n^ tu over channels [first, last), a group. */
static void tangent_means(const moving *v, size_t first, size_t last, const float *te, double *mean, double *along)
{
    const buffers *b = &v->m.b;
    const double n = (double)points(v->m.run->p), count = (double)(last - first) * n;
    const float *added = added_of(v->m.run->p, te);
    *mean = *along = 0;
    for (size_t k = first; k < last; k++) {
        const double t = added ? (double)added[k] : 0;
        *mean += v->s.sum[k] + n * t;
        *along += v->s.product[k] + b->base[k] * v->s.sum[k] + n * b->mean[k] * t;
    }
    *mean /= count;
    *along *= b->inverse[first] / count;
}

/* Channels [first, last) of one group; e and te: the image's embedding and its tangent, or NULL. */
static void tangent_slopes(moving *v, size_t first, size_t last, const float *e, const float *te)
{
    const cm_op_plan *p = v->m.run->p;
    const buffers *b = &v->m.b;
    const float *weight = v->m.run->param[0], *bias = v->m.run->param[1];
    const size_t c = (size_t)p->out.c;
    const float *added = added_of(p, te), *ta = p->attr->groupnorm.mode == CM_GN_SCALE_SHIFT ? te : NULL;
    const double inverse = b->inverse[first];
    double mean, along;
    tangent_means(v, first, last, te, &mean, &along);
    for (size_t k = first; k < last; k++) {
        const double gain = inverse * gain_of(&v->m, k, e) * (double)weight[k], t = added ? (double)added[k] : 0;
        double slope = -gain * inverse * along, offset = gain * (t - mean - inverse * along * b->base[k]);
        if (ta) {
            slope += (double)ta[k] * inverse * (double)weight[k];
            offset +=
                (double)ta[k] * ((double)weight[k] * inverse * b->base[k] + (double)bias[k]) + (double)ta[c + k];
        }
        v->s.p[k] = v->tx ? (float)gain : 0;
        v->s.q[k] = (float)slope;
        v->s.t[k] = (float)offset;
    }
}

static cm_status moving_piece(void *user, int index, int worker)
{
    const moving *v = user;
    const cm_op_plan *p = v->m.run->p;
    const size_t c = (size_t)p->out.c, at = (size_t)index * 64 * c, rows = cmi_op_piece_rows(points(p), index);
    const float *x = v->m.x + at, *tx = v->tx ? v->tx + at : x; /* without a tangent its factor is 0 */
    const buffers *b = &v->m.b;
    (void)worker;
    p->kernels->pointwise->affine_both(rows, c, x, tx, b->shift, b->factor, b->offset, v->s.p, v->s.q, v->s.t,
                                       p->attr->groupnorm.silu, v->m.out + at, v->tout + at);
    return CM_OK;
}

static cm_status move_image(moving *v, const float *e, const float *te)
{
    const cm_op_plan *p = v->m.run->p;
    const size_t c = (size_t)p->out.c, width = c / (size_t)p->attr->groupnorm.groups;
    const int pieces = cmi_op_row_pieces(points(p));
    memcpy(v->m.b.shift, v->m.x, c * sizeof *v->m.x);
    CM_TRY(cmi_parallel(p->threads, pieces, moving_moments_piece, v));
    join_pieces(&v->m, c, points(p), pieces);
    join_tangents(v, c, pieces);
    for (size_t k = 0; k < c; k += width) {
        fold_group(&v->m, k, k + width, c, points(p), e);
        tangent_slopes(v, k, k + width, e, te);
    }
    return cmi_parallel(p->threads, pieces, moving_piece, v);
}

static cm_status both(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    const size_t values = points(p) * (size_t)p->out.c, e_size = (size_t)p->in[1].c;
    const float *e = r->in[1], *te = r->tin[1];
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        moving v = {
            .m = {r, (const float *)r->in[0] + i * values, (float *)r->out + i * values, split(r, (int32_t)i)},
            .tx = r->tin[0] ? r->tin[0] + i * values : NULL,
            .tout = r->tout + i * values,
            .s = split_slopes(r)};
        CM_TRY(move_image(&v, e ? e + i * e_size : NULL, te ? te + i * e_size : NULL));
    }
    return CM_OK;
}

/* --- gradients through tangents (derivatives 3) ---------------------------------------------------
 * th = (tu - mean tu - n^ C) / sd with C = mean(n^ tu), tv = gain w th + ta z + tc.  The gradients of v and of tv are
 * found at every point with sums of each channel; what is left is linear in these two, in tx and in x. */

/* Sums over the points of a channel: of the gradient of v, of that of tv, of both times x - shift, and of the second
 * times tx; then as the parameters take them. */
enum { OF_V, OF_V_N, OF_TV, OF_TV_N, OF_TV_TU, OF_TV_TH, SUMS };

typedef struct {
    moving v;
    const float *e, *te;           /* of the image, or NULL */
    const float *dy, *dty;         /* of the image */
    float *du, *dtu;               /* first the gradients of v and of tv */
    double *channel;               /* [SUMS][C] */
    float *part;                   /* [5][C] of 64 points */
    float *line;                   /* [3][C] of a point */
    float *a, *b, *d, *f;          /* [C]: du = a of_v + b of_tv + x_share tx + d (x - shift) + f */
    float *x_share, *ta, *td, *tf; /* dtu = ta of_tv + td (x - shift) + tf */
} second;

static size_t second_bytes(const cm_op_plan *p)
{
    const unsigned wanted = p->needs_gradient & 1;
    const size_t c = (size_t)p->out.c, unwanted = 2 - wanted - (wanted & p->has_tangent);
    return c * (SUMS * sizeof(double) + (5 + 3 + 8) * sizeof(float)) + unwanted * points(p) * c * sizeof(float);
}

static second second_of(const cm_op_run *r, size_t i)
{
    const cm_op_plan *p = r->p;
    const size_t c = (size_t)p->out.c, values = points(p) * c, e_size = (size_t)p->in[1].c;
    second s = {.v = {.m = {r, (const float *)r->in[0] + i * values, NULL, split(r, (int32_t)i)},
                      .tx = r->tin[0] ? r->tin[0] + i * values : NULL,
                      .s = split_slopes(r)},
                .e = r->in[1] ? (const float *)r->in[1] + i * e_size : NULL,
                .te = r->tin[1] ? r->tin[1] + i * e_size : NULL,
                .dy = r->dout + i * values,
                .dty = r->dtout + i * values};
    s.channel = (double *)(void *)((unsigned char *)r->scratch + p->scratch_bytes - second_bytes(p));
    s.part = (float *)(s.channel + SUMS * c);
    s.line = s.part + 5 * c;
    s.a = s.line + 3 * c, s.b = s.a + c, s.d = s.b + c, s.f = s.d + c;
    s.x_share = s.f + c, s.ta = s.x_share + c, s.td = s.ta + c, s.tf = s.td + c;
    float *room = s.tf + c;
    s.du = r->din[0] ? r->din[0] + i * values : room;
    if (!r->din[0]) room += values;
    s.dtu = r->dtin[0] ? r->dtin[0] + i * values : room;
    return s;
}

/* The tangent's sums and its factor, slope and offset, as `both` has them. */
static cm_status find_tangent(second *s)
{
    const cm_op_plan *p = s->v.m.run->p;
    const size_t c = (size_t)p->out.c, width = c / (size_t)p->attr->groupnorm.groups;
    const int pieces = cmi_op_row_pieces(points(p));
    for (int i = 0; i < pieces; i++) CM_TRY(moving_moments_piece(&s->v, i, 0));
    join_tangents(&s->v, c, pieces);
    for (size_t k = 0; k < c; k += width) tangent_slopes(&s->v, k, k + width, s->e, s->te);
    return CM_OK;
}

/* One point: the gradients of v and of tv, which are added to the sums. */
static void second_point(const second *s, size_t at)
{
    const cm_op_plan *p = s->v.m.run->p;
    const buffers *b = &s->v.m.b;
    const size_t c = (size_t)p->out.c;
    const float *restrict x = s->v.m.x + at, *restrict tx = s->v.tx ? s->v.tx + at : x;
    const float *restrict dy = s->dy + at, *restrict dty = s->dty + at;
    float *restrict line = s->line, *restrict slope = line + c, *restrict curve = slope + c;
    float *restrict part = s->part, *restrict of_v = s->du + at, *restrict of_tv = s->dtu + at;
    const float *shift = b->shift, *factor = b->factor, *offset = b->offset;
    const float *tp = s->v.s.p, *tq = s->v.s.q, *tt = s->v.s.t;
#pragma omp simd
    for (size_t k = 0; k < c; k++) line[k] = factor[k] * (x[k] - shift[k]) + offset[k];
    p->kernels->pointwise->silu_slopes(c, line, slope, curve);
    if (!p->attr->groupnorm.silu)
        for (size_t k = 0; k < c; k++) slope[k] = 1, curve[k] = 0;
#pragma omp simd
    for (size_t k = 0; k < c; k++) {
        const float d = x[k] - shift[k], t = slope[k] * dty[k];
        const float v = slope[k] * dy[k] + curve[k] * (tp[k] * tx[k] + tq[k] * d + tt[k]) * dty[k];
        of_v[k] = v, of_tv[k] = t;
        part[k] += v, part[c + k] += v * d;
        part[2 * c + k] += t, part[3 * c + k] += t * d;
        part[4 * c + k] += t * tx[k];
    }
}

static void second_points(const second *s)
{
    const size_t n = points(s->v.m.run->p), c = (size_t)s->v.m.run->p->out.c;
    memset(s->channel, 0, SUMS * c * sizeof *s->channel);
    for (size_t first = 0; first < n; first += 64) {
        memset(s->part, 0, 5 * c * sizeof *s->part);
        for (size_t i = first; i < n && i < first + 64; i++) second_point(s, i * c);
        for (size_t k = 0; k < 5 * c; k++) s->channel[k] += (double)s->part[k];
    }
}

/* What belongs to a channel: (1 + a) w, ta w, and the embedding's part of tu. */
typedef struct {
    double k, h, t;
} factors;

static factors factors_of(const second *s, size_t k)
{
    const int mode = s->v.m.run->p->attr->groupnorm.mode;
    const double weight = (double)((const float *)s->v.m.run->param[0])[k];
    const double t = s->te ? (double)s->te[k] : 0;
    return (factors){gain_of(&s->v.m, k, s->e) * weight, mode == CM_GN_SCALE_SHIFT ? t * weight : 0,
                     mode == CM_GN_ADD ? t : 0};
}

/* Sums with x - shift and tx become those with n^, tu and th; mean and along: of tu, and C, of the group. */
static void finish_sums(const second *s, size_t k, double t, double mean, double along)
{
    const buffers *b = &s->v.m.b;
    const size_t c = (size_t)s->v.m.run->p->out.c;
    double *sum = s->channel + k;
    sum[OF_V_N * c] = b->inverse[k] * (sum[OF_V_N * c] + b->base[k] * sum[OF_V * c]);
    sum[OF_TV_N * c] = b->inverse[k] * (sum[OF_TV_N * c] + b->base[k] * sum[OF_TV * c]);
    sum[OF_TV_TU * c] = (s->v.tx ? sum[OF_TV_TU * c] : 0) + t * sum[OF_TV * c];
    sum[OF_TV_TH * c] = b->inverse[k] * (sum[OF_TV_TU * c] - mean * sum[OF_TV * c] - along * sum[OF_TV_N * c]);
}

/* Parameters, and the embedding of mode SCALE_SHIFT. */
static void second_parameters(const second *s, float *de, float *dte)
{
    const cm_op_run *r = s->v.m.run;
    const size_t c = (size_t)r->p->out.c;
    const int shifts = r->p->attr->groupnorm.mode == CM_GN_SCALE_SHIFT;
    for (size_t k = 0; k < c; k++) {
        const double *sum = s->channel + k, through = sum[OF_V_N * c] + sum[OF_TV_TH * c];
        const double weight = (double)((const float *)r->param[0])[k], bias = (double)((const float *)r->param[1])[k];
        const double gain = gain_of(&s->v.m, k, s->e), ta = shifts && s->te ? (double)s->te[k] : 0;
        ((float *)r->dparam[0])[k] += (float)(gain * through + ta * sum[OF_TV_N * c]);
        ((float *)r->dparam[1])[k] += (float)(gain * sum[OF_V * c] + ta * sum[OF_TV * c]);
        if (shifts && de) {
            de[k] = (float)(weight * through + bias * sum[OF_V * c]);
            de[c + k] = (float)sum[OF_V * c];
        }
        if (shifts && dte) {
            dte[k] = (float)(weight * sum[OF_TV_N * c] + bias * sum[OF_TV * c]);
            dte[c + k] = (float)sum[OF_TV * c];
        }
    }
}

/* The channels of a group to their factors: with the gradients h of n^ and k of th, P(k) / sd for tu, and for u
 * P(h) / sd less (C P(k) + B P(tu) + (cov - B C) n^) / sd^2. */
static void second_group(const second *s, size_t first, size_t last, float *de, float *dte)
{
    const cm_op_plan *p = s->v.m.run->p;
    const buffers *buffer = &s->v.m.b;
    const size_t c = (size_t)p->out.c;
    const double n = (double)points(p), count = n * (double)(last - first), inverse = buffer->inverse[first];
    const int adds = p->attr->groupnorm.mode == CM_GN_ADD;
    double mean, along, mean_k = 0, b = 0, cov = 0, mean_h = 0, along_h = 0;
    tangent_means(&s->v, first, last, s->te, &mean, &along);
    for (size_t k = first; k < last; k++) {
        const factors f = factors_of(s, k);
        finish_sums(s, k, f.t, mean, along);
        const double *sum = s->channel + k;
        mean_k += f.k * sum[OF_TV * c], b += f.k * sum[OF_TV_N * c], cov += f.k * sum[OF_TV_TU * c];
        mean_h += f.k * sum[OF_V * c] + f.h * sum[OF_TV * c];
        along_h += f.k * sum[OF_V_N * c] + f.h * sum[OF_TV_N * c];
    }
    mean_k /= count, b /= count, mean_h /= count, along_h /= count;
    cov = cov / count - mean_k * mean;
    const double square = inverse * inverse, of_n = -inverse * along_h - square * (cov - 3 * b * along);
    for (size_t k = first; k < last; k++) {
        const factors f = factors_of(s, k);
        const double *sum = s->channel + k, base = buffer->base[k], moved = n * (buffer->mean[k] - base);
        const double of_v = inverse * f.k, of_tv = inverse * f.h - square * along * f.k, of_tx = -square * b;
        const double rest = of_n * inverse * base - inverse * mean_h + square * (along * mean_k - b * (f.t - mean));
        const double trest = -inverse * mean_k - square * b * base;
        s->a[k] = (float)of_v, s->b[k] = (float)of_tv, s->x_share[k] = s->v.tx ? (float)of_tx : 0;
        s->d[k] = (float)(of_n * inverse), s->f[k] = (float)rest;
        s->ta[k] = (float)of_v, s->td[k] = (float)of_tx, s->tf[k] = (float)trest;
        if (adds && de)
            de[k] = (float)(of_v * sum[OF_V * c] + of_tv * sum[OF_TV * c] + of_tx * s->v.s.sum[k] +
                            of_n * inverse * moved + n * rest);
        if (adds && dte) dte[k] = (float)(of_v * sum[OF_TV * c] + of_tx * moved + n * trest);
    }
}

static void second_inputs(const second *s)
{
    const size_t n = points(s->v.m.run->p), c = (size_t)s->v.m.run->p->out.c;
    const float *restrict shift = s->v.m.b.shift;
    for (size_t i = 0; i < n; i++) {
        const float *restrict x = s->v.m.x + i * c, *restrict tx = s->v.tx ? s->v.tx + i * c : x;
        float *restrict du = s->du + i * c, *restrict dtu = s->dtu + i * c;
#pragma omp simd
        for (size_t k = 0; k < c; k++) {
            const float d = x[k] - shift[k], t = dtu[k];
            du[k] = s->a[k] * du[k] + s->b[k] * t + s->x_share[k] * tx[k] + s->d[k] * d + s->f[k];
            dtu[k] = s->ta[k] * t + s->td[k] * d + s->tf[k];
        }
    }
}

static cm_status both_backward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    const size_t c = (size_t)p->out.c, width = c / (size_t)p->attr->groupnorm.groups, e_size = (size_t)p->in[1].c;
    memset(r->dparam[0], 0, c * sizeof(float));
    memset(r->dparam[1], 0, c * sizeof(float));
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        second s = second_of(r, i);
        float *de = r->din[1] ? r->din[1] + i * e_size : NULL, *dte = r->dtin[1] ? r->dtin[1] + i * e_size : NULL;
        CM_TRY(find_tangent(&s));
        second_points(&s);
        for (size_t first = 0; first < c; first += width) second_group(&s, first, first + width, de, dte);
        second_parameters(&s, de, dte);
        second_inputs(&s);
    }
    return CM_OK;
}

const cm_op cmi_op_groupnorm = {.name = "groupnorm",
                                .flags = CM_OP_INPLACE | CM_OP_CHEAP,
                                .saves = 1 | 2,
                                .shape = shape,
                                .offers_bf16 = offers_bf16,
                                .prepare = prepare,
                                .forward = forward,
                                .backward = backward,
                                .both = both,
                                .both_backward = both_backward};
