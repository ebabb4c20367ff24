/* fir.c - depthwise resampling with F2 = outer(f, f) / (sum f)^2 (networks B.1):
 *
 *   up    transposed convolution with 4 F2, stride 2, padding p
 *         ([1,1]: nearest; [1,3,3,1]: smooth, zero outside)
 *   else  convolution with F2, any stride, padding p ([1,1], stride 2: mean)
 */
#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    int32_t n = attr->fir.n, pad = attr->fir.pad, s = attr->fir.stride;
    *out = *in;
    if (attr->fir.up) {
        out->h = 2 * (in->h - 1) - 2 * pad + n;
        out->w = 2 * (in->w - 1) - 2 * pad + n;
    } else {
        out->h = (in->h + 2 * pad - n) / s + 1;
        out->w = (in->w + 2 * pad - n) / s + 1;
    }
    if (out->h < 1 || out->w < 1 || (!attr->fir.up && (in->h + 2 * pad < n || in->w + 2 * pad < n)))
        CM_FAIL(CM_ERR_SHAPE, "resample: %d x %d points are too few for a filter of %d", in->h, in->w, n);
    return CM_OK;
}

/* Source positions and weights that make output position o, in order. */
static int taps_of(const cm_attr *attr, int32_t o, int32_t size, int32_t *at, double *weight)
{
    double sum = 0;
    int count = 0;
    int32_t n = attr->fir.n, pad = attr->fir.pad;
    for (int32_t k = 0; k < n; k++) sum += attr->fir.f[k];
    for (int32_t k = 0; k < n; k++) {
        int32_t i = o * attr->fir.stride - pad + k;
        if (attr->fir.up) {
            if ((o + pad - k) % 2) continue;
            i = (o + pad - k) / 2; /* k taps back; even, so exact for negatives too */
        }
        if (i < 0 || i >= size) continue;
        at[count] = i;
        weight[count++] = attr->fir.f[k] / sum * (attr->fir.up ? 2 : 1);
    }
    return count;
}

/* One output row of one image. */
static cm_status row_piece(void *user, int index, int worker)
{
    (void)worker;
    const cm_op_run *r = user;
    const cm_desc in = r->p->in[0], out = r->p->out;
    size_t c = (size_t)in.c;
    int32_t image = index / out.h, y = index % out.h, ys[CM_FIR_MAX], xs[CM_FIR_MAX];
    double wy[CM_FIR_MAX], wx[CM_FIR_MAX];
    const float *x = (const float *)r->in[0] + (size_t)image * (size_t)in.h * (size_t)in.w * c;
    float *to = (float *)r->out + (size_t)index * (size_t)out.w * c;
    int ny = taps_of(r->p->attr, y, in.h, ys, wy);
    for (int32_t o = 0; o < out.w; o++, to += c) {
        const float *src[CM_FIR_MAX * CM_FIR_MAX];
        float weight[CM_FIR_MAX * CM_FIR_MAX];
        int nx = taps_of(r->p->attr, o, in.w, xs, wx), count = 0;
        for (int i = 0; i < ny; i++)
            for (int j = 0; j < nx; j++) {
                src[count] = x + ((size_t)ys[i] * (size_t)in.w + (size_t)xs[j]) * c;
                weight[count++] = (float)(wy[i] * wx[j]);
            }
        r->p->kernels->taps(c, (size_t)count, src, weight, to);
    }
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    return cm_parallel(r->p->threads, r->p->out.n * r->p->out.h, row_piece, (void *)(uintptr_t)r);
}

const cm_op cm_op_fir = {"fir", 0, shape, NULL, NULL, NULL, NULL, forward, NULL, NULL};
