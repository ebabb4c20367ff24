/* conv.c - the table of algorithms, and which of them serves a layer. */
#include "conv/conv.h"

#include <string.h>

static const cm_conv_algorithm *const algorithms[] = {&cmi_conv_few_outputs, &cmi_conv_amx_bf16, &cmi_conv_amx_f32,
                                                      &cmi_conv_winograd, &cmi_conv_patches};

void cmi_conv_init(cm_convolution *conv, const cm_conv_options *options, const cm_conv_shape *shape)
{
    memset(conv, 0, sizeof *conv);
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms && !conv->algorithm; i++) {
        const cm_conv_algorithm *a = algorithms[i];
        if (shape->kernel_w && a != &cmi_conv_patches && a != &cmi_conv_winograd)
            continue; /* the others' are square */
        if ((a->small_memory || !options->small_memory) && a->fits(conv, options, shape)) conv->algorithm = a;
    }
}

void cmi_conv_take_plain(cm_convolution *conv)
{
    if (conv->algorithm && conv->algorithm->take_plain) conv->algorithm->take_plain(conv);
}

void cmi_conv_hold(cm_convolution *conv, int x_bf16, int y_bf16)
{
    if (conv->takes_bf16) conv->algorithm->hold(conv, x_bf16, y_bf16);
}

cm_status cmi_conv_check(const cm_convolution *conv, const cm_conv_shape *shape)
{
    if (!conv->algorithm) CM_FAIL(CM_ERR_INTERNAL, "no convolution of %d x %d serves", shape->kernel, shape->kernel);
    return CM_OK;
}

cm_status cmi_conv_run(const cm_convolution *conv, const cm_conv_run *run)
{
    if (!run->y_tangent || conv->algorithm->pairs) return conv->algorithm->run(conv, run);
    cm_conv_run values = *run, tangents = *run;
    values.y_tangent = tangents.y_tangent = NULL;
    tangents.x = run->x_tangent;
    tangents.bias = NULL;
    tangents.residual = run->residual_tangent;
    tangents.y = run->y_tangent;
    CM_TRY(conv->algorithm->run(conv, &values));
    return conv->algorithm->run(conv, &tangents);
}

/* --- packing ------------------------------------------------------------------------------------ */

cm_status cmi_conv_pack(const cm_convolution *packer, const float *plain, void *packed)
{
    return packer->algorithm->pack(packer, plain, packed);
}

int cmi_conv_same_weights(const cm_convolution *a, const cm_convolution *b)
{
    return a->algorithm == b->algorithm && a->plain == b->plain && a->algorithm->same_weights(a, b);
}

/* --- the weight gradient ------------------------------------------------------------------------ */

cm_status cmi_conv_gradient_create(cm_conv_gradient *g, const cm_convolution *conv, const cm_conv_options *options,
                                   const cm_conv_shape *shape)
{
    memset(g, 0, sizeof *g);
    g->algorithm = conv->algorithm->weight_gradient;
    return g->algorithm->create(g, options, shape);
}

cm_status cmi_conv_gradient_run(const cm_conv_gradient *g, const cm_conv_gradient_run *run)
{
    return g->algorithm->run(g, run);
}

cm_status cmi_conv_unpack(const cm_conv_gradient *unpacker, const float *gradient, float *plain)
{
    return unpacker->algorithm->unpack(unpacker, gradient, plain);
}

/* --- gradients by taps -------------------------------------------------------------------------- */

void cmi_conv_gradient_fill(cm_conv_gradient *g, const cm_kernels *kernels, const cm_conv_shape *s,
                            size_t scratch_bytes)
{
    const size_t bias = 3 * (size_t)s->oc * sizeof(float); /* zeros and two sums */
    g->kernels = kernels;
    g->taps = (size_t)s->kernel * (size_t)s->kernel, g->c = (size_t)s->c, g->oc = (size_t)s->oc;
    g->points = (size_t)s->n * (size_t)s->h * (size_t)s->w * (s->up ? 4 : 1);
    g->bytes = g->taps * g->c * g->oc * sizeof(float);
    g->scratch_bytes = scratch_bytes < bias ? bias : scratch_bytes;
}

/* Sums over all points, of 64 first. */
void cmi_conv_gradient_bias(const cm_conv_gradient *g, const cm_conv_gradient_run *r)
{
    const size_t oc = g->oc, rows = g->points;
    float *zero = r->scratch, *sums = zero + oc;
    if (!r->dbias) return;
    memset(zero, 0, oc * sizeof *zero);
    memset(r->dbias, 0, oc * sizeof *r->dbias);
    for (size_t row = 0; row < rows; row += 64) {
        size_t count = rows - row < 64 ? rows - row : 64;
        g->kernels->pointwise->moments(count, oc, r->dy + row * oc, zero, sums, sums + oc);
        g->kernels->pointwise->axpy(oc, 1, sums, r->dbias);
    }
}

cm_status cmi_conv_gradient_by_taps(const cm_conv_gradient *g, const float *gradient, float *plain)
{
    enum { INPUTS = 4, OUTPUTS = 16 }; /* at a time: their lines lie in the nearest cache */
    const size_t c = g->c, oc = g->oc, n = g->taps;
    for (size_t j0 = 0; j0 < oc; j0 += OUTPUTS)
        for (size_t k0 = 0; k0 < c; k0 += INPUTS)
            for (size_t j = j0; j < j0 + OUTPUTS; j++)
                for (size_t k = k0; k < k0 + INPUTS; k++)
                    for (size_t i = 0; i < n; i++) plain[(j * c + k) * n + i] = gradient[(i * c + k) * oc + j];
    return CM_OK;
}
