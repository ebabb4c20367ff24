/* conv.c - which algorithm serves a layer. */
#include "conv/conv.h"

#include <string.h>

/* Parts of a value in tiles, or 0: not by tiles.  To cut a value in three takes as long as 128 outputs
 * save by it (measured).  The same for a layer and its data gradient, whose channels change places. */
static int parts_of(const cm_kernels *kernels, int bf16, const cm_own_shape *s)
{
    if (bf16) return bf16 == 1;
    const int wide = s->c >= 128 && s->oc >= 128 && s->c + s->oc > 256;
    return kernels->has_amx && s->kernel == 1 && wide && s->h * s->w >= 16 ? 3 : 0;
}

void cm_own_conv_init(cm_own_conv *conv, const cm_kernels *kernels, int bf16, cm_threads threads,
                      const cm_own_shape *s)
{
    memset(conv, 0, sizeof *conv);
    if (s->up) {
        const int scale = s->turned ? 1 : 2, tile = s->turned ? CM_TILE_DOWN : CM_TILE_UP;
        if (bf16 == 1 || !cm_winograd_rule(0, s->kernel, s->stride, s->pad, s->c, s->oc, scale * s->h, scale * s->w))
            return;
        conv->kind = CM_OWN_WINOGRAD;
        cm_winograd_init(&conv->as.winograd, kernels, bf16, tile, s->turned, threads, s->n, s->h, s->w, s->c, s->oc);
        return;
    }
    if (cm_narrow_rule(s->kernel, s->stride, s->pad, s->c, s->oc) && !s->turned) {
        conv->kind = CM_OWN_NARROW;
        cm_narrow_init(&conv->as.narrow, kernels, threads, s->n, s->h, s->w, s->c, s->oc);
        return;
    }
    const int parts = parts_of(kernels, bf16, s);
    const int tile = cm_winograd_rule(parts ? 1 : bf16, s->kernel, s->stride, s->pad, s->c, s->oc, s->h, s->w);
    if (tile == 0) return;
    conv->kind = parts ? CM_OWN_TILES : CM_OWN_WINOGRAD;
    if (parts)
        cm_tiles_init(&conv->as.tiles, kernels, parts, s->kernel, s->turned, threads, s->n, s->h, s->w, s->c, s->oc);
    else cm_winograd_init(&conv->as.winograd, kernels, bf16, tile, s->turned, threads, s->n, s->h, s->w, s->c, s->oc);
}

void cm_own_conv_take_plain(cm_own_conv *conv)
{
    const cm_winograd *w = &conv->as.winograd;
    conv->plain = conv->kind == CM_OWN_WINOGRAD && w->threads.count == 1 && w->gemm->bytes == 4 &&
                  !cm_winograd_narrow(w->c, w->oc);
}

void cm_own_conv_hold(cm_own_conv *conv, int x_half, int y_half)
{
    conv->as.tiles.x_half = x_half, conv->as.tiles.y_half = y_half;
}

const char *cm_own_conv_name(const cm_own_conv *conv)
{
    if (conv->kind == CM_OWN_WINOGRAD) return cm_winograd_name(&conv->as.winograd);
    if (conv->kind == CM_OWN_NARROW) return "narrow 3x3";
    if (conv->as.tiles.parts > 1) return "tiles 1x1";
    return conv->as.tiles.side == 3 ? "tiles 3x3 bf16" : "tiles 1x1 bf16";
}

size_t cm_own_conv_packed_bytes(const cm_own_conv *conv)
{
    if (conv->kind == CM_OWN_WINOGRAD) return cm_winograd_packed_bytes(&conv->as.winograd);
    if (conv->kind == CM_OWN_NARROW) return cm_narrow_packed_bytes(&conv->as.narrow);
    return cm_tiles_packed_bytes(&conv->as.tiles);
}

int cm_own_conv_same_weights(const cm_own_conv *a, const cm_own_conv *b)
{
    if (a->kind != b->kind || a->plain != b->plain) return 0;
    if (a->kind == CM_OWN_WINOGRAD) return cm_winograd_same_weights(&a->as.winograd, &b->as.winograd);
    if (a->kind == CM_OWN_NARROW) return cm_narrow_same_weights(&a->as.narrow, &b->as.narrow);
    return cm_tiles_same_weights(&a->as.tiles, &b->as.tiles);
}

void cm_own_conv_pack(const cm_own_conv *conv, const float *plain, void *packed)
{
    if (conv->kind == CM_OWN_WINOGRAD) cm_winograd_pack(&conv->as.winograd, plain, packed);
    else if (conv->kind == CM_OWN_NARROW) cm_narrow_pack(&conv->as.narrow, plain, packed);
    else cm_tiles_pack(&conv->as.tiles, plain, packed);
}

size_t cm_own_conv_scratch_bytes(const cm_own_conv *conv)
{
    if (conv->plain) return cm_winograd_plain_scratch_bytes(&conv->as.winograd);
    if (conv->kind == CM_OWN_WINOGRAD) return cm_winograd_scratch_bytes(&conv->as.winograd);
    if (conv->kind == CM_OWN_NARROW) return cm_narrow_scratch_bytes(&conv->as.narrow);
    return cm_tiles_scratch_bytes(&conv->as.tiles);
}

cm_status cm_own_conv_run(const cm_own_conv *conv, const void *x, const void *packed, const float *bias,
                          const float *residual, float scale, void *y, void *scratch)
{
    if (conv->plain) return cm_winograd_run_plain(&conv->as.winograd, x, packed, bias, residual, scale, y, scratch);
    if (conv->kind == CM_OWN_WINOGRAD)
        return cm_winograd_run(&conv->as.winograd, x, packed, bias, residual, scale, y, scratch);
    if (conv->kind == CM_OWN_NARROW)
        return cm_narrow_run(&conv->as.narrow, x, packed, bias, residual, scale, y, scratch);
    return cm_tiles_run(&conv->as.tiles, x, packed, bias, residual, scale, y, scratch);
}

int cm_own_gradient_serves(const cm_own_conv *conv, const cm_own_shape *s)
{
    if (cm_own_conv_has_gradients(conv)) return 1;
    return s->kernel == 1 && s->stride == 1 && s->pad == 0 && s->c % 16 == 0 && s->oc % 16 == 0;
}

void cm_own_gradient_init(cm_own_gradient *g, const cm_own_conv *conv, const cm_kernels *kernels,
                          const cm_own_shape *s)
{
    const int tile = s->kernel == 1 ? CM_TILE_1X1
                     : s->up        ? CM_TILE_UP
                                    : cm_winograd_rule(0, 3, 1, 1, s->c, s->oc, s->h, s->w);
    g->points = (size_t)s->n * (size_t)s->h * (size_t)s->w * (s->up ? 4 : 1);
    g->kind = conv->kind == CM_OWN_TILES && conv->as.tiles.parts == 1 ? CM_OWN_TILES : CM_OWN_WINOGRAD;
    if (g->kind == CM_OWN_TILES)
        cm_tiles_init(&g->tiles, kernels, 1, s->kernel, 0, cm_one_thread(), s->n, s->h, s->w, s->c, s->oc);
    cm_winograd_init(&g->winograd, kernels, 0, tile, 0, cm_one_thread(), s->n, s->h, s->w, s->c, s->oc);
}

static size_t gradient_bytes(const cm_own_gradient *g)
{
    if (g->kind == CM_OWN_WINOGRAD) return cm_winograd_gradient_bytes(&g->winograd);
    return cm_tiles_gradient_bytes(&g->tiles);
}

/* Of the bias: zeros and two sums. */
static size_t bias_floats(const cm_own_gradient *g)
{
    return 3 * (size_t)g->winograd.oc;
}

size_t cm_own_gradient_scratch_bytes(const cm_own_gradient *g)
{
    size_t bytes = gradient_bytes(g);
    return bytes > bias_floats(g) * sizeof(float) ? bytes : bias_floats(g) * sizeof(float);
}

/* Sums over all points, of 64 first. */
static void bias_gradient(const cm_own_gradient *g, const cm_kernels *kernels, const float *dy, float *dbias,
                          float *scratch)
{
    const cm_winograd *w = &g->winograd;
    size_t oc = (size_t)w->oc, rows = g->points;
    float *zero = scratch, *sums = scratch + oc;
    memset(zero, 0, oc * sizeof *zero);
    memset(dbias, 0, oc * sizeof *dbias);
    for (size_t row = 0; row < rows; row += 64) {
        size_t count = rows - row < 64 ? rows - row : 64;
        kernels->pointwise->moments(count, oc, dy + row * oc, zero, sums, sums + oc);
        kernels->pointwise->axpy(oc, 1, sums, dbias);
    }
}

void cm_own_gradient_run(const cm_own_gradient *g, const cm_kernels *kernels, const float *x, const float *dy,
                         float *dw, float *dbias, void *scratch)
{
    if (g->kind == CM_OWN_WINOGRAD) cm_winograd_gradient(&g->winograd, x, dy, dw, scratch);
    else cm_tiles_gradient(&g->tiles, x, dy, dw, scratch);
    if (dbias) bias_gradient(g, kernels, dy, dbias, scratch);
}
