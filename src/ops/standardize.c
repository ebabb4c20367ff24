/* standardize.c - (x - shift) / scale of each channel: what networks of ImageNet are given.  A gray image has its one
 * channel copied to all. */
#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    const int32_t channels = attr->standardize.channels;
    *out = (cm_desc){in->n, in->h, in->w, channels};
    if (in->c != channels && in->c != 1)
        CM_FAIL(CM_ERR_SHAPE, "standardize: images of %d channels, expected %d or 1", in->c, channels);
    return CM_OK;
}

typedef struct {
    const cm_op_plan *p;
    const float *x;
    float *out;
    int is_tangent; /* without the shift */
} standardizing;

static cm_status piece(void *user, int index, int worker)
{
    const standardizing *s = user;
    const cm_attr *a = s->p->attr;
    const size_t c = (size_t)s->p->out.c, from = (size_t)s->p->in[0].c, step = from > 1;
    const size_t first = (size_t)index * 64, last = first + cmi_op_piece_rows(cmi_desc_pixels(s->p->out), index);
    (void)worker;
    for (size_t i = first; i < last; i++)
        for (size_t k = 0; k < c; k++) {
            const float x = s->x[i * from + k * step] - (s->is_tangent ? 0 : a->standardize.shift[k]);
            s->out[i * c + k] = x / a->standardize.scale[k];
        }
    return CM_OK;
}

static cm_status standardize(standardizing s)
{
    return cmi_parallel(s.p->threads, cmi_op_row_pieces(cmi_desc_pixels(s.p->out)), piece, &s);
}

static cm_status forward(const cm_op_run *r)
{
    return standardize((standardizing){r->p, r->in[0], r->out, 0});
}

static cm_status jvp(const cm_op_run *r)
{
    return standardize((standardizing){r->p, r->tin[0], r->tout, 1});
}

static cm_status backward(const cm_op_run *r)
{
    const size_t c = (size_t)r->p->out.c, to = (size_t)r->p->in[0].c, points = cmi_desc_pixels(r->p->out);
    const float *scale = r->p->attr->standardize.scale;
    for (size_t i = 0; i < points; i++) {
        const float *dy = r->dout + i * c;
        float *dx = r->din[0] + i * to, sum = 0;
        for (size_t k = 0; k < c; k++) {
            const float d = dy[k] / scale[k];
            if (to > 1) dx[k] = d;
            else sum += d;
        }
        if (to == 1) dx[0] = sum;
    }
    return CM_OK;
}

const cm_op cmi_op_standardize = {.name = "standardize",
                                  .flags = CM_OP_LINEAR,
                                  .shape = shape,
                                  .forward = forward,
                                  .backward = backward,
                                  .jvp = jvp};
