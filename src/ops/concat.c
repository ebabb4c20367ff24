/* concat.c - images side by side in the channels: [a, b], and up to four. */
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr;
    *out = in[0];
    for (int k = 1; k < n_in; k++) {
        if (in[0].h != in[k].h || in[0].w != in[k].w)
            CM_FAIL(CM_ERR_SHAPE,
                    "concat: %d x %d and %d x %d points differ (is the image's size divisible by the "
                    "network's total downsampling?)",
                    in[0].h, in[0].w, in[k].h, in[k].w);
        out->c += in[k].c;
    }
    return CM_OK;
}

/* Rows of the inputs' values, NULL is zeros, to rows of all of them. */
typedef struct {
    const cm_op_run *run;
    const float *from[CM_OP_MAX_IN];
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
    const size_t first = (size_t)index * 64, last = first + cmi_op_piece_rows(cmi_desc_pixels(p->out), index);
    float *to = j->out + first * (size_t)p->out.c;
    for (size_t i = first; i < last; i++)
        for (int k = 0; k < p->n_in; k++) {
            const size_t c = (size_t)p->in[k].c;
            put(to, j->from[k] ? j->from[k] + i * c : NULL, c);
            to += c;
        }
    return CM_OK;
}

static cm_status join(joining *j)
{
    const cm_op_plan *p = j->run->p;
    return cmi_parallel(p->threads, cmi_op_row_pieces(cmi_desc_pixels(p->out)), piece, j);
}

static cm_status forward(const cm_op_run *r)
{
    joining j = {.run = r, .out = r->out};
    for (int k = 0; k < r->p->n_in; k++) j.from[k] = r->in[k];
    return join(&j);
}

static cm_status jvp(const cm_op_run *r)
{
    joining j = {.run = r, .out = r->tout};
    for (int k = 0; k < r->p->n_in; k++) j.from[k] = r->tin[k];
    return join(&j);
}

static cm_status backward(const cm_op_run *r)
{
    const size_t rows = cmi_desc_pixels(r->p->out);
    const float *dy = r->dout;
    for (size_t i = 0; i < rows; i++)
        for (int k = 0; k < r->p->n_in; k++) {
            const size_t c = (size_t)r->p->in[k].c;
            if (r->din[k]) memcpy(r->din[k] + i * c, dy, c * sizeof *dy);
            dy += c;
        }
    return CM_OK;
}

const cm_op cmi_op_concat = {.name = "concat",
                             .flags = CM_OP_CHEAP | CM_OP_LINEAR,
                             .shape = shape,
                             .forward = forward,
                             .backward = backward,
                             .jvp = jvp};
