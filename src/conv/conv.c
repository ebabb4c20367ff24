/* conv.c - the table of algorithms, and which of them serves a layer. */
#include "conv/conv.h"

#include <string.h>

static const cm_conv_algorithm *const algorithms[] = {&cmi_conv_few_outputs, &cmi_conv_amx_bf16, &cmi_conv_amx_f32,
                                                      &cmi_conv_winograd};

void cmi_conv_init(cm_convolution *conv, const cm_kernels *kernels, int bf16, cm_threads threads,
                   const cm_conv_shape *shape)
{
    memset(conv, 0, sizeof *conv);
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms && !conv->algorithm; i++)
        if (algorithms[i]->fits(conv, kernels, bf16, threads, shape)) conv->algorithm = algorithms[i];
}

void cmi_conv_take_plain(cm_convolution *conv)
{
    const cm_winograd *w = &conv->as.winograd;
    if (conv->algorithm != &cmi_conv_winograd || w->threads.count > 1 || w->gemm->bytes != sizeof(float) ||
        cmi_winograd_few_channels(w->c, w->oc))
        return;
    conv->plain = 1;
    conv->scratch_bytes = w->fresh_bytes + w->scratch_bytes;
}

void cmi_conv_hold(cm_convolution *conv, int x_bf16, int y_bf16)
{
    conv->as.amx.x_bf16 = x_bf16, conv->as.amx.y_bf16 = y_bf16;
}

/* --- the weight gradient ------------------------------------------------------------------------ */

int cmi_conv_gradient_serves(const cm_convolution *conv, const cm_conv_shape *s)
{
    if (cmi_conv_has_gradients(conv)) return 1;
    return s->kernel == 1 && s->stride == 1 && s->pad == 0 && s->c % 16 == 0 && s->oc % 16 == 0;
}

/* Floats of scratch memory that the bias takes: zeros and two sums. */
static size_t bias_floats(const cm_conv_gradient *g)
{
    return 3 * g->layout.oc;
}

void cmi_conv_gradient_init(cm_conv_gradient *g, const cm_convolution *conv, const cm_kernels *kernels,
                            const cm_conv_shape *s)
{
    memset(g, 0, sizeof *g);
    g->algorithm = cmi_conv_has_gradients(conv) ? conv->algorithm->weight_gradient : &cmi_winograd_weight_gradient;
    g->layout = (cm_conv_gradient_layout){(size_t)s->kernel * (size_t)s->kernel, (size_t)s->c, (size_t)s->oc};
    g->points = (size_t)s->n * (size_t)s->h * (size_t)s->w * (s->up ? 4 : 1);
    g->algorithm->init(g, kernels, s);
    const size_t bias = bias_floats(g) * sizeof(float);
    if (g->scratch_bytes < bias) g->scratch_bytes = bias;
}

/* Sums over all points, of 64 first. */
static void bias_gradient(const cm_conv_gradient *g, const cm_kernels *kernels, const float *dy, float *dbias,
                          float *scratch)
{
    const size_t oc = g->layout.oc, rows = g->points;
    float *zero = scratch, *sums = scratch + oc;
    memset(zero, 0, oc * sizeof *zero);
    memset(dbias, 0, oc * sizeof *dbias);
    for (size_t row = 0; row < rows; row += 64) {
        size_t count = rows - row < 64 ? rows - row : 64;
        kernels->pointwise->moments(count, oc, dy + row * oc, zero, sums, sums + oc);
        kernels->pointwise->axpy(oc, 1, sums, dbias);
    }
}

void cmi_conv_gradient_run(const cm_conv_gradient *g, const cm_kernels *kernels, const float *x, const float *dy,
                           float *dw, float *dbias, void *scratch)
{
    g->algorithm->run(g, x, dy, dw, scratch);
    if (dbias) bias_gradient(g, kernels, dy, dbias, scratch);
}

void cmi_conv_gradient_unpack(const cm_conv_gradient_layout *layout, const float *gradient, float *plain)
{
    enum { INPUTS = 4, OUTPUTS = 16 }; /* at a time: their lines lie in the nearest cache */
    const size_t c = layout->c, oc = layout->oc, n = layout->taps;
    for (size_t j0 = 0; j0 < oc; j0 += OUTPUTS)
        for (size_t k0 = 0; k0 < c; k0 += INPUTS)
            for (size_t j = j0; j < j0 + OUTPUTS; j++)
                for (size_t k = k0; k < k0 + INPUTS; k++)
                    for (size_t i = 0; i < n; i++) plain[(j * c + k) * n + i] = gradient[(i * c + k) * oc + j];
}
