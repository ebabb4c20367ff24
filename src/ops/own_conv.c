/* own_conv.c - which algorithm serves a layer. */
#include "ops/own_conv.h"

#include <string.h>

void cm_own_conv_init(cm_own_conv *conv, int level, int bf16, int threads, const cm_own_shape *s)
{
    memset(conv, 0, sizeof *conv);
    int m = cm_winograd_rule(bf16, s->kernel, s->stride, s->pad, s->c, s->oc, s->h, s->w);
    if (m == 0) return;
    conv->kind = bf16 == 1 ? CM_OWN_TILES : CM_OWN_WINOGRAD;
    if (conv->kind == CM_OWN_TILES)
        cm_tiles_init(&conv->as.tiles, level, s->kernel, s->turned, threads, s->n, s->h, s->w, s->c, s->oc);
    else cm_winograd_init(&conv->as.winograd, level, bf16, m, s->turned, threads, s->n, s->h, s->w, s->c, s->oc);
}

void cm_own_conv_hold(cm_own_conv *conv, int x_half, int y_half)
{
    conv->as.tiles.x_half = x_half, conv->as.tiles.y_half = y_half;
}

void cm_own_conv_gradient(const cm_own_conv *conv, int level, const cm_own_shape *s, cm_winograd *gradient)
{
    int m = s->kernel == 1 ? 1 : cm_winograd_rule(0, 3, 1, 1, s->c, s->oc, s->h, s->w);
    if (conv->kind == CM_OWN_WINOGRAD) m = conv->as.winograd.m;
    cm_winograd_init(gradient, level, 0, m, 0, 1, s->n, s->h, s->w, s->c, s->oc);
}

const char *cm_own_conv_name(const cm_own_conv *conv)
{
    if (conv->kind == CM_OWN_WINOGRAD) return cm_winograd_name(&conv->as.winograd);
    return conv->as.tiles.side == 3 ? "tiles 3x3 bf16" : "tiles 1x1 bf16";
}

size_t cm_own_conv_packed_bytes(const cm_own_conv *conv)
{
    if (conv->kind == CM_OWN_WINOGRAD) return cm_winograd_packed_bytes(&conv->as.winograd);
    return cm_tiles_packed_bytes(&conv->as.tiles);
}

int cm_own_conv_same_weights(const cm_own_conv *a, const cm_own_conv *b)
{
    if (a->kind != b->kind) return 0;
    if (a->kind == CM_OWN_WINOGRAD) return cm_winograd_same_weights(&a->as.winograd, &b->as.winograd);
    return cm_tiles_same_weights(&a->as.tiles, &b->as.tiles);
}

void cm_own_conv_pack(const cm_own_conv *conv, const float *plain, void *packed)
{
    if (conv->kind == CM_OWN_WINOGRAD) cm_winograd_pack(&conv->as.winograd, plain, packed);
    else cm_tiles_pack(&conv->as.tiles, plain, packed);
}

size_t cm_own_conv_scratch_bytes(const cm_own_conv *conv)
{
    if (conv->kind == CM_OWN_WINOGRAD) return cm_winograd_scratch_bytes(&conv->as.winograd);
    return cm_tiles_scratch_bytes(&conv->as.tiles);
}

cm_status cm_own_conv_run(const cm_own_conv *conv, const void *x, const void *packed, const float *bias,
                          const float *residual, float scale, void *y, void *scratch)
{
    if (conv->kind == CM_OWN_WINOGRAD)
        return cm_winograd_run(&conv->as.winograd, x, packed, bias, residual, scale, y, scratch);
    return cm_tiles_run(&conv->as.tiles, x, packed, bias, residual, scale, y, scratch);
}
