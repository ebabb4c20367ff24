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

/* Rows of a values of x and b values of y, to rows of a + b; NULL is zeros. */
typedef struct {
    const cm_op_run *run;
    const float *x, *y;
    float *out;
} joining;

static void put(float *to, const float *from, size_t n)
{
    if (from) memcpy(to, from, n * sizeof *to);
    else memset(to, 0, n * sizeof *to);
}

static cm_status piece(void *user, int index, int worker)
{
    (void)worker;
    const joining *j = user;
    const cm_op_plan *p = j->run->p;
    size_t a = (size_t)p->in[0].c, b = (size_t)p->in[1].c, first = (size_t)index * 64;
    size_t last = first + cmi_op_piece_rows(cmi_desc_pixels(p->out), index);
    for (size_t i = first; i < last; i++) {
        put(j->out + i * (a + b), j->x ? j->x + i * a : NULL, a);
        put(j->out + i * (a + b) + a, j->y ? j->y + i * b : NULL, b);
    }
    return CM_OK;
}

static cm_status join(const cm_op_run *r, const float *x, const float *y, float *out)
{
    joining j = {r, x, y, out};
    return cmi_parallel(r->p->threads, cmi_op_row_pieces(cmi_desc_pixels(r->p->out)), piece, &j);
}

static cm_status forward(const cm_op_run *r)
{
    return join(r, r->in[0], r->in[1], r->out);
}

static cm_status jvp(const cm_op_run *r)
{
    return join(r, r->tin[0], r->tin[1], r->tout);
}

static cm_status backward(const cm_op_run *r)
{
    size_t a = (size_t)r->p->in[0].c, b = (size_t)r->p->in[1].c, rows = cmi_desc_pixels(r->p->out);
    for (size_t i = 0; i < rows; i++) {
        const float *dy = r->dout + i * (a + b);
        if (r->din[0]) memcpy(r->din[0] + i * a, dy, a * sizeof *dy);
        if (r->din[1]) memcpy(r->din[1] + i * b, dy + a, b * sizeof *dy);
    }
    return CM_OK;
}

const cm_op cmi_op_concat = {
    .name = "concat", .flags = CM_OP_CHEAP, .shape = shape, .forward = forward, .backward = backward, .jvp = jvp};
