/* embed.c - time and class to vectors (networks A.2, B.3, B.4).
 *
 * Angles, cos and sin are taken in double and rounded once. */
#include <math.h>
#include <string.h>

#include "ops/op.h"

/* --- time: [cos(t f), sin(t f)] or its halves swapped; an odd size ends in 0 */

static cm_status time_shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    if (attr->time.size < (attr->time.kind == CM_TIME_POSITIONAL_ENDPOINT ? 4 : 2))
        CM_FAIL(CM_ERR_SHAPE, "the time embedding has %d values: too few", attr->time.size);
    *out = (cm_desc){in->n, 1, 1, attr->time.size};
    return CM_OK;
}

static double frequency(const cm_attr *attr, int32_t i, int32_t half, const float *freqs)
{
    switch (attr->time.kind) {
    case CM_TIME_FOURIER: return 6.283185307179586476925 * (double)freqs[i];
    case CM_TIME_POSITIONAL_ENDPOINT: return pow(10000.0, -(double)i / (half - 1));
    default: return exp(-9.210340371976182736 * i / half); /* ln 10000 */
    }
}

static cm_status time_forward(const cm_op_run *r)
{
    const cm_attr *attr = r->p->attr;
    int32_t size = attr->time.size, half = size / 2;
    const float *t = r->in[0];
    float *out = r->out;
    memset(out, 0, cmi_desc_count(r->p->out) * sizeof *out);
    for (int32_t n = 0; n < r->p->out.n; n++, out += size) {
        float *c = attr->time.sin_first ? out + half : out, *s = attr->time.sin_first ? out : out + half;
        for (int32_t i = 0; i < half; i++) {
            double angle = (double)t[n] * frequency(attr, i, half, r->param[0]);
            c[i] = (float)cos(angle);
            s[i] = (float)sin(angle);
        }
    }
    return CM_OK;
}

/* d/dt of value j of the embedding of t[n]; 0 for the odd size's last. */
static double time_slope(const cm_op_run *r, int32_t n, int32_t j)
{
    const cm_attr *attr = r->p->attr;
    int32_t half = attr->time.size / 2, i = j % (half ? half : 1);
    if (j >= 2 * half) return 0;
    double f = frequency(attr, i, half, r->param[0]), angle = (double)((const float *)r->in[0])[n] * f;
    return (j < half) == (attr->time.sin_first != 0) ? f * cos(angle) : -f * sin(angle);
}

/* The frequencies are fixed (the references stop the gradient there). */
static cm_status time_backward(const cm_op_run *r)
{
    int32_t size = r->p->attr->time.size;
    if (r->dparam[0]) memset(r->dparam[0], 0, (size_t)(size / 2) * sizeof(float));
    for (int32_t n = 0; r->din[0] && n < r->p->out.n; n++) {
        double sum = 0;
        for (int32_t j = 0; j < size; j++) sum += time_slope(r, n, j) * (double)r->dout[n * size + j];
        r->din[0][n] = (float)sum;
    }
    return CM_OK;
}

static cm_status time_jvp(const cm_op_run *r)
{
    int32_t size = r->p->attr->time.size;
    for (int32_t n = 0; n < r->p->out.n; n++)
        for (int32_t j = 0; j < size; j++)
            r->tout[n * size + j] = (float)(time_slope(r, n, j) * (double)r->tin[0][n]);
    return CM_OK;
}

/* d/dt of the slope: -f^2 of the value. */
static double time_curve(const cm_op_run *r, int32_t n, int32_t j)
{
    const cm_attr *attr = r->p->attr;
    int32_t half = attr->time.size / 2, i = j % (half ? half : 1);
    if (j >= 2 * half) return 0;
    double f = frequency(attr, i, half, r->param[0]), angle = (double)((const float *)r->in[0])[n] * f;
    return -f * f * ((j < half) == (attr->time.sin_first != 0) ? sin(angle) : cos(angle));
}

static cm_status time_both_backward(const cm_op_run *r)
{
    const int32_t size = r->p->attr->time.size;
    CM_TRY(time_backward(r));
    for (int32_t n = 0; n < r->p->out.n; n++) {
        double value = 0, tangent = 0;
        for (int32_t j = 0; j < size; j++) {
            const double moved = (double)r->dtout[n * size + j];
            value += time_curve(r, n, j) * (double)r->tin[0][n] * moved;
            tangent += time_slope(r, n, j) * moved;
        }
        if (r->din[0]) r->din[0][n] += (float)value;
        if (r->dtin[0]) r->dtin[0][n] = (float)tangent;
    }
    return CM_OK;
}

const cm_op cmi_op_embed_time = {.name = "embed_time",
                                 .saves = 1,
                                 .shape = time_shape,
                                 .forward = time_forward,
                                 .backward = time_backward,
                                 .jvp = time_jvp,
                                 .both_backward = time_both_backward};

/* --- label: e + scale table[label] + bias; label -1 adds the bias alone ----
 * The table is [classes, out], or [out, classes] (a linear layer over one-hot
 * rows) when transposed. */

static cm_status label_shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    if (in[0].c != attr->label.out)
        CM_FAIL(CM_ERR_SHAPE, "class embedding of %d values into a vector of %d", attr->label.out, in[0].c);
    *out = in[0];
    return CM_OK;
}

static cm_status label_forward(const cm_op_run *r)
{
    const cm_attr *attr = r->p->attr;
    int32_t classes = attr->label.classes, m = attr->label.out;
    const float *e = r->in[0], *table = r->param[0], *bias = r->param[1];
    const int32_t *labels = r->in[1];
    float *out = r->out;
    for (int32_t n = 0; n < r->p->out.n; n++, e += m, out += m) {
        int32_t y = labels[n];
        if (y < -1 || y >= classes) CM_FAIL(CM_ERR_ARGUMENT, "label %d of a network with %d classes", y, classes);
        for (int32_t i = 0; i < m; i++) {
            float v = bias ? bias[i] : 0.0f;
            if (y >= 0)
                v += attr->label.scale * (attr->label.transposed ? table[(size_t)i * (size_t)classes + (size_t)y]
                                                                 : table[(size_t)y * (size_t)m + (size_t)i]);
            out[i] = e[i] + v;
        }
    }
    return CM_OK;
}

static cm_status label_backward(const cm_op_run *r)
{
    const cm_attr *attr = r->p->attr;
    size_t classes = (size_t)attr->label.classes, m = (size_t)attr->label.out;
    const int32_t *labels = r->in[1];
    float *table = r->dparam[0], *bias = r->dparam[1];
    memset(table, 0, classes * m * sizeof *table);
    if (bias) memset(bias, 0, m * sizeof *bias);
    for (int32_t n = 0; n < r->p->out.n; n++) {
        const float *dy = r->dout + (size_t)n * m;
        for (size_t i = 0; i < m; i++) {
            if (bias) bias[i] += dy[i];
            if (labels[n] < 0) continue;
            table[attr->label.transposed ? i * classes + (size_t)labels[n] : (size_t)labels[n] * m + i] +=
                attr->label.scale * dy[i];
        }
    }
    if (r->din[0]) memcpy(r->din[0], r->dout, cmi_desc_count(r->p->out) * sizeof(float));
    return CM_OK;
}

static cm_status label_jvp(const cm_op_run *r)
{
    memcpy(r->tout, r->tin[0], cmi_desc_count(r->p->out) * sizeof *r->tout);
    return CM_OK;
}

static cm_status label_both_backward(const cm_op_run *r)
{
    if (r->dtin[0]) memcpy(r->dtin[0], r->dtout, cmi_desc_count(r->p->out) * sizeof(float));
    return label_backward(r);
}

const cm_op cmi_op_embed_label = {.name = "embed_label",
                                  .flags = CM_OP_INPLACE,
                                  .saves = 2,
                                  .shape = label_shape,
                                  .forward = label_forward,
                                  .backward = label_backward,
                                  .jvp = label_jvp,
                                  .both_backward = label_both_backward};
