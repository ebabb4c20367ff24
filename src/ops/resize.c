/* resize.c - bilinear to h x w points (metrics 1.1, 1.4): half-pixel centres, edges clamped, no antialiasing.
 *
 * Linear in x: the tangent is the same, the gradient its transpose. */
#include <math.h>
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    *out = (cm_desc){in->n, attr->resize.h, attr->resize.w, in->c};
    return CM_OK;
}

/* The points before and behind point i of the output, and the share of the second. */
typedef struct {
    size_t low, high;
    float share;
} neighbours;

static neighbours around(int32_t i, int32_t in, int32_t out)
{
    double at = ((double)i + 0.5) * (double)in / (double)out - 0.5;
    at = at < 0 ? 0 : at > in - 1 ? in - 1 : at;
    const int32_t low = (int32_t)at;
    return (neighbours){(size_t)low, (size_t)(low + 1 < in ? low + 1 : low), (float)(at - low)};
}

/* The four points of the input around one of the output, as offsets in its image, and their shares. */
typedef struct {
    size_t at[4];
    float share[4];
} corners;

static corners corners_of(const cm_op_plan *p, int32_t y, int32_t x)
{
    const neighbours v = around(y, p->in[0].h, p->out.h), u = around(x, p->in[0].w, p->out.w);
    const size_t c = (size_t)p->out.c, row = (size_t)p->in[0].w * c;
    return (corners){
        {v.low * row + u.low * c, v.low * row + u.high * c, v.high * row + u.low * c, v.high * row + u.high * c},
        {(1 - v.share) * (1 - u.share), (1 - v.share) * u.share, v.share * (1 - u.share), v.share * u.share}};
}

static size_t image_of(cm_desc d)
{
    return cmi_desc_count(d) / (size_t)d.n;
}

typedef struct {
    const cm_op_plan *p;
    const float *x;
    float *out;
} resizing;

/* One row of the output. */
static cm_status row_piece(void *user, int index, int worker)
{
    const resizing *s = user;
    const cm_op_plan *p = s->p;
    const size_t c = (size_t)p->out.c;
    const float *x = s->x + (size_t)(index / p->out.h) * image_of(p->in[0]);
    float *out = s->out + (size_t)index * (size_t)p->out.w * c;
    (void)worker;
    for (int32_t i = 0; i < p->out.w; i++, out += c) {
        const corners k = corners_of(p, index % p->out.h, i);
        for (size_t ch = 0; ch < c; ch++)
            out[ch] = k.share[0] * x[k.at[0] + ch] + k.share[1] * x[k.at[1] + ch] + k.share[2] * x[k.at[2] + ch] +
                      k.share[3] * x[k.at[3] + ch];
    }
    return CM_OK;
}

static cm_status resize(const cm_op_plan *p, const float *x, float *out)
{
    resizing s = {p, x, out};
    return cmi_parallel(p->threads, p->out.n * p->out.h, row_piece, &s);
}

static cm_status forward(const cm_op_run *r)
{
    return resize(r->p, r->in[0], r->out);
}

static cm_status jvp(const cm_op_run *r)
{
    return resize(r->p, r->tin[0], r->tout);
}

static cm_status backward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    const size_t c = (size_t)p->out.c;
    const float *dy = r->dout;
    memset(r->din[0], 0, cmi_desc_count(p->in[0]) * sizeof(float));
    for (int32_t row = 0; row < p->out.n * p->out.h; row++) {
        float *dx = r->din[0] + (size_t)(row / p->out.h) * image_of(p->in[0]);
        for (int32_t i = 0; i < p->out.w; i++, dy += c) {
            const corners k = corners_of(p, row % p->out.h, i);
            for (int q = 0; q < 4; q++)
                for (size_t ch = 0; ch < c; ch++) dx[k.at[q] + ch] += k.share[q] * dy[ch];
        }
    }
    return CM_OK;
}

const cm_op cmi_op_resize = {
    .name = "resize", .flags = CM_OP_LINEAR, .shape = shape, .forward = forward, .backward = backward, .jvp = jvp};
