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
    memset(out, 0, cm_desc_count(r->p->out) * sizeof *out);
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

const cm_op cm_op_embed_time = {"embed_time", 0, time_shape, NULL, NULL, NULL, NULL, time_forward, NULL, NULL};

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

const cm_op cm_op_embed_label = {"embed_label", CM_OP_INPLACE, label_shape,   NULL, NULL,
                                 NULL,          NULL,          label_forward, NULL, NULL};
