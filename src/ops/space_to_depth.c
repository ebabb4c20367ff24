/* space_to_depth.c - the points of a patch of p x p as channels of one point, and back: rows, then columns, then
 * channels. [N, H, W, C] <-> [N, H / p, W / p, p p C] */
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    const int32_t p = attr->space_to_depth.size, area = p * p;
    (void)n_in;
    *out = in[0];
    if (attr->space_to_depth.back) {
        if (in[0].c % area)
            CM_FAIL(CM_ERR_SHAPE, "space_to_depth: %d channels are no patches of %d x %d points", in[0].c, p, p);
        *out = (cm_desc){in[0].n, in[0].h * p, in[0].w * p, in[0].c / area};
        return CM_OK;
    }
    if (in[0].h % p || in[0].w % p)
        CM_FAIL(CM_ERR_SHAPE, "space_to_depth: an image of %d x %d points cannot be cut into patches of %d x %d",
                in[0].h, in[0].w, p, p);
    *out = (cm_desc){in[0].n, in[0].h / p, in[0].w / p, in[0].c * area};
    return CM_OK;
}

/* Between the points of an image and its patches, in either direction. */
typedef struct {
    const float *from;
    float *to;
    int back;
    int32_t size;
    size_t columns, run; /* patches in a row of them; values of a row of points within a patch */
} moving;

static cm_status row_of_patches(void *user, int row, int worker)
{
    const moving *m = user;
    const size_t size = (size_t)m->size, first = (size_t)row * size * m->columns * m->run;
    (void)worker;
    for (size_t x = 0; x < m->columns; x++)
        for (size_t y = 0; y < size; y++) {
            const size_t patch = first + (x * size + y) * m->run, image = first + (y * m->columns + x) * m->run;
            memcpy(m->to + (m->back ? image : patch), m->from + (m->back ? patch : image), m->run * sizeof(float));
        }
    return CM_OK;
}

static cm_status move(const cm_op_plan *p, cm_threads threads, const float *from, float *to, int back)
{
    const int32_t size = p->attr->space_to_depth.size;
    const cm_desc patches = p->attr->space_to_depth.back ? p->in[0] : p->out;
    moving m = {from, to, back, size, (size_t)patches.w, (size_t)(patches.c / size)};
    return cmi_parallel(threads, patches.n * patches.h, row_of_patches, &m);
}

static cm_status forward(const cm_op_run *r)
{
    return move(r->p, r->p->threads, r->in[0], r->out, r->p->attr->space_to_depth.back);
}

static cm_status jvp(const cm_op_run *r)
{
    return move(r->p, r->p->threads, r->tin[0], r->tout, r->p->attr->space_to_depth.back);
}

static cm_status backward(const cm_op_run *r)
{
    return r->din[0] ? move(r->p, r->p->threads, r->dout, r->din[0], !r->p->attr->space_to_depth.back) : CM_OK;
}

const cm_op cmi_op_space_to_depth = {.name = "space_to_depth",
                                     .flags = CM_OP_CHEAP | CM_OP_LINEAR,
                                     .shape = shape,
                                     .forward = forward,
                                     .backward = backward,
                                     .jvp = jvp};
