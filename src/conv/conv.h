/* conv.h - the library's own convolutions behind one set of calls: by Winograd's
 * filtering (winograd.h), by matrix tiles (tiles.h) or to few channels (few_outputs.h). */
#ifndef CM_CONV_CONV_H
#define CM_CONV_CONV_H

#include "conv/few_outputs.h"
#include "conv/tiles.h"
#include "conv/winograd.h"

enum { CM_OWN_NONE, CM_OWN_WINOGRAD, CM_OWN_TILES, CM_OWN_NARROW };

/* What is convolved with what; `turned`: the data gradient's, channels as it sees them; `up`: of
 * points that each stand for four (h, w: as they are), its data gradient: sums of four (h, w: of
 * the large image). */
typedef struct cm_own_shape {
    int32_t n, h, w, c, oc, kernel, stride, pad, turned, up;
} cm_own_shape;

typedef struct cm_own_conv {
    int kind;
    int plain; /* weights come plain, cm_own_conv_pack has nothing to do */
    union {
        cm_winograd winograd;
        cm_tiles tiles;
        cm_narrow narrow;
    } as;
} cm_own_conv;

/* kind NONE where oneDNN's direct kernels serve better: a function of the shape and the
 * arithmetic (bf16 of cm_op_plan) alone. */
void cm_own_conv_init(cm_own_conv *conv, const cm_kernels *kernels, int bf16, cm_threads threads,
                      const cm_own_shape *shape);
/* What forward's x and y are held in; bfloat16 by tiles only, others take floats. */
static inline int cm_own_conv_offers_half(const cm_own_conv *conv)
{
    return conv->kind == CM_OWN_TILES && conv->as.tiles.parts == 1;
}
void cm_own_conv_hold(cm_own_conv *conv, int x_half, int y_half);

/* Gradients are our own too. */
static inline int cm_own_conv_has_gradients(const cm_own_conv *conv)
{
    return conv->kind == CM_OWN_WINOGRAD || conv->kind == CM_OWN_TILES;
}

/* Takes plain weights from now on if it is one by Winograd in float32 of many channels, with one thread:
 * they are packed when they are wanted, near the processor, a fifth of a run of four images at 16 x 16.
 * To hold them would take four times the weights; bfloat16's take at most half of that. */
void cm_own_conv_take_plain(cm_own_conv *conv);

/* The weight gradient as [kernel][kernel][c][oc], and the bias's, or NULL, of a convolution that has
 * gradients or is 1 x 1 (then `conv` may be oneDNN's): operands are rounded to bfloat16 where it
 * goes by tiles, sums are float32 always. */
typedef struct cm_own_gradient {
    int kind;
    size_t points;        /* of the output */
    cm_winograd winograd; /* also how the result is laid out */
    cm_tiles tiles;
} cm_own_gradient;
int cm_own_gradient_serves(const cm_own_conv *conv, const cm_own_shape *shape);
void cm_own_gradient_init(cm_own_gradient *gradient, const cm_own_conv *conv, const cm_kernels *kernels,
                          const cm_own_shape *shape);
size_t cm_own_gradient_scratch_bytes(const cm_own_gradient *gradient);
void cm_own_gradient_run(const cm_own_gradient *gradient, const cm_kernels *kernels, const float *x, const float *dy,
                         float *dw, float *dbias, void *scratch);

/* "winograd 4x4", "tiles 3x3 bf16", "narrow 3x3". */
const char *cm_own_conv_name(const cm_own_conv *conv);
size_t cm_own_conv_packed_bytes(const cm_own_conv *conv);
int cm_own_conv_same_weights(const cm_own_conv *a, const cm_own_conv *b);
void cm_own_conv_pack(const cm_own_conv *conv, const float *plain, void *packed);
size_t cm_own_conv_scratch_bytes(const cm_own_conv *conv);
cm_status cm_own_conv_run(const cm_own_conv *conv, const void *x, const void *packed, const float *bias,
                          const float *residual, float scale, void *y, void *scratch);

#endif
