/* fir.c - depthwise resampling with F2 = outer(f, f) / (sum f)^2 (networks B.1):
 *
 *   up    transposed convolution with 4 F2, stride 2, padding p
 *         ([1,1]: nearest; [1,3,3,1]: smooth, zero outside)
 *   else  convolution with F2, any stride, padding p ([1,1], stride 2: mean)
 *
 * Both are sums over taps: output o takes f[k] of input i where (not up)
 * i = o s - p + k, or (up) o = 2 i - p + k.  The gradient is the same sum seen
 * from the input. */
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

typedef struct {
    int32_t at[CM_FIR_MAX];
    double weight[CM_FIR_MAX];
    int count;
} line; /* what makes one position, along one axis */

/* Positions 0..size-1 on the other side that belong to position `here`: of the
 * input for a place of the output, or the reverse. */
static line taps_of(const cm_attr *attr, int32_t here, int32_t size, int from_input)
{
    line l = {{0}, {0}, 0};
    double sum = 0;
    int32_t n = attr->fir.n, pad = attr->fir.pad, stride = attr->fir.stride;
    int multiply = attr->fir.up == from_input; /* there = here * stride -+ ..., else a division */
    for (int32_t k = 0; k < n; k++) sum += attr->fir.f[k];
    for (int32_t k = 0; k < n; k++) {
        int32_t there;
        if (multiply) {
            there = here * (attr->fir.up ? 2 : stride) - pad + k;
        } else {
            int32_t step = attr->fir.up ? 2 : stride, q = here + pad - k;
            if (q < 0 || q % step) continue;
            there = q / step;
        }
        if (there < 0 || there >= size) continue;
        l.at[l.count] = there;
        l.weight[l.count++] = attr->fir.f[k] / sum * (attr->fir.up ? 2 : 1);
    }
    return l;
}

/* From rows of one side to rows of the other. */
typedef struct {
    const cm_op_run *run;
    cm_desc from, to;
    const float *x;
    float *out;
    int from_input;     /* 1: `to` is the input's side (a gradient) */
    const line *across; /* of every column of `to` */
} walk;

/* One row of one image. */
static cm_status row_piece(void *user, int index, int worker)
{
    (void)worker;
    const walk *w = user;
    const cm_op_plan *p = w->run->p;
    size_t c = (size_t)w->to.c;
    int32_t image = index / w->to.h;
    const float *x = w->x + (size_t)image * (size_t)w->from.h * (size_t)w->from.w * c;
    float *to = w->out + (size_t)index * (size_t)w->to.w * c;
    line ys = taps_of(p->attr, index % w->to.h, w->from.h, w->from_input);
    for (int32_t o = 0; o < w->to.w; o++, to += c) {
        const float *src[CM_FIR_MAX * CM_FIR_MAX];
        float weight[CM_FIR_MAX * CM_FIR_MAX];
        const line *xs = &w->across[o];
        int count = 0;
        for (int i = 0; i < ys.count; i++)
            for (int j = 0; j < xs->count; j++) {
                src[count] = x + ((size_t)ys.at[i] * (size_t)w->from.w + (size_t)xs->at[j]) * c;
                weight[count++] = (float)(ys.weight[i] * xs->weight[j]);
            }
        p->kernels->pointwise->taps(c, (size_t)count, src, weight, to);
    }
    return CM_OK;
}

static cm_status prepare(cm_op_plan *p)
{
    int32_t widest = p->in[0].w > p->out.w ? p->in[0].w : p->out.w;
    p->scratch_bytes = (size_t)widest * sizeof(line);
    return CM_OK;
}

static cm_status run_walk(walk *w)
{
    line *across = w->run->scratch;
    for (int32_t o = 0; o < w->to.w; o++) across[o] = taps_of(w->run->p->attr, o, w->from.w, w->from_input);
    w->across = across;
    return cmi_parallel(w->run->p->threads, w->to.n * w->to.h, row_piece, w);
}

static cm_status forward(const cm_op_run *r)
{
    walk w = {r, r->p->in[0], r->p->out, r->in[0], r->out, 0, NULL};
    return run_walk(&w);
}

static cm_status backward(const cm_op_run *r)
{
    walk w = {r, r->p->out, r->p->in[0], r->dout, r->din[0], 1, NULL};
    return run_walk(&w);
}

static cm_status jvp(const cm_op_run *r)
{
    walk w = {r, r->p->in[0], r->p->out, r->tin[0], r->tout, 0, NULL};
    return run_walk(&w);
}

const cm_op cmi_op_fir = {.name = "fir",
                          .flags = CM_OP_CHEAP | CM_OP_LINEAR,
                          .shape = shape,
                          .prepare = prepare,
                          .forward = forward,
                          .backward = backward,
                          .jvp = jvp};
