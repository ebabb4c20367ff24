/* concat.c - two images side by side in the channels: [a, b]. */
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr, (void)n_in;
    if (in[0].h != in[1].h || in[0].w != in[1].w)
        CM_FAIL(CM_ERR_SHAPE,
                "concat: %d x %d and %d x %d points differ (is the image's size divisible by the "
                "network's total downsampling?)",
                in[0].h, in[0].w, in[1].h, in[1].w);
    *out = in[0];
    out->c += in[1].c;
    return CM_OK;
}

static cm_status piece(void *user, int index, int worker)
{
    (void)worker;
    const cm_op_run *r = user;
    size_t a = (size_t)r->p->in[0].c, b = (size_t)r->p->in[1].c, first = (size_t)index * 64;
    size_t last = first + cm_op_piece_rows(cm_desc_pixels(r->p->out), index);
    const float *x = r->in[0], *y = r->in[1];
    float *out = r->out;
    for (size_t i = first; i < last; i++) {
        memcpy(out + i * (a + b), x + i * a, a * sizeof *x);
        memcpy(out + i * (a + b) + a, y + i * b, b * sizeof *y);
    }
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    return cm_parallel(r->p->threads, cm_op_row_pieces(cm_desc_pixels(r->p->out)), piece, (void *)(uintptr_t)r);
}

const cm_op cm_op_concat = {"concat", 0, shape, NULL, NULL, NULL, NULL, forward, NULL, NULL};
