/* fourier.c - sqrt(2) cos(t f + p) of a number per image, with tables of frequencies and phases (networks-edm2 1).
 *
 * Angles and cosines are taken in double and rounded once.  The tables are fixed: they have no gradient. */
#include <math.h>
#include <string.h>

#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    if (in->h != 1 || in->w != 1 || in->c != 1)
        CM_FAIL(CM_ERR_SHAPE, "fourier: expected a number per image, found %d x %d x %d (H x W x C)", in->h, in->w,
                in->c);
    *out = (cm_desc){in->n, 1, 1, attr->fourier.size};
    return CM_OK;
}

static double angle(const cm_op_run *r, int32_t n, int32_t i)
{
    const float *t = r->in[0], *freqs = r->param[0], *phases = r->param[1];
    return (double)t[n] * (double)freqs[i] + (double)phases[i];
}

static cm_status forward(const cm_op_run *r)
{
    const int32_t size = r->p->attr->fourier.size;
    float *out = r->out;
    for (int32_t n = 0; n < r->p->out.n; n++)
        for (int32_t i = 0; i < size; i++) out[n * size + i] = (float)(sqrt(2.0) * cos(angle(r, n, i)));
    return CM_OK;
}

/* d/dt of value i of image n. */
static double slope(const cm_op_run *r, int32_t n, int32_t i)
{
    const float *freqs = r->param[0];
    return -sqrt(2.0) * (double)freqs[i] * sin(angle(r, n, i));
}

static cm_status backward(const cm_op_run *r)
{
    const int32_t size = r->p->attr->fourier.size;
    for (int k = 0; k < 2; k++)
        if (r->dparam[k]) memset(r->dparam[k], 0, (size_t)size * sizeof(float));
    for (int32_t n = 0; r->din[0] && n < r->p->out.n; n++) {
        double sum = 0;
        for (int32_t i = 0; i < size; i++) sum += slope(r, n, i) * (double)r->dout[n * size + i];
        r->din[0][n] = (float)sum;
    }
    return CM_OK;
}

static cm_status jvp(const cm_op_run *r)
{
    const int32_t size = r->p->attr->fourier.size;
    for (int32_t n = 0; n < r->p->out.n; n++)
        for (int32_t i = 0; i < size; i++) r->tout[n * size + i] = (float)(slope(r, n, i) * (double)r->tin[0][n]);
    return CM_OK;
}

/* With d/dt of the slope, -f^2 of the value (derivatives 3). */
static cm_status both_backward(const cm_op_run *r)
{
    const int32_t size = r->p->attr->fourier.size;
    const float *freqs = r->param[0];
    CM_TRY(backward(r));
    for (int32_t n = 0; n < r->p->out.n; n++) {
        double value = 0, tangent = 0;
        for (int32_t i = 0; i < size; i++) {
            const double f = (double)freqs[i], moved = (double)r->dtout[n * size + i];
            value -= sqrt(2.0) * f * f * cos(angle(r, n, i)) * (double)r->tin[0][n] * moved;
            tangent += slope(r, n, i) * moved;
        }
        if (r->din[0]) r->din[0][n] += (float)value;
        if (r->dtin[0]) r->dtin[0][n] = (float)tangent;
    }
    return CM_OK;
}

const cm_op cmi_op_fourier = {.name = "fourier",
                              .saves = 1,
                              .shape = shape,
                              .forward = forward,
                              .backward = backward,
                              .jvp = jvp,
                              .both_backward = both_backward};
