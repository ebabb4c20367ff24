/* conv.h - the algorithms of a convolution behind one table: Winograd's filtering (winograd.h), matrix tiles
 * (amx.h), few outputs (few_outputs.h).  What none of them serves is oneDNN's (direct_conv.h). */
#ifndef CM_CONV_CONV_H
#define CM_CONV_CONV_H

#include "conv/few_outputs.h"
#include "conv/amx.h"
#include "conv/winograd.h"

/* What is convolved with what; `transposed`: the data gradient's, channels as it sees them; `up`: of
 * points that each stand for four (h, w: as they are), its data gradient: sums of four (h, w: of
 * the large image). */
typedef struct cm_conv_shape {
    int32_t n, h, w, c, oc, kernel, stride, pad, transposed, up;
} cm_conv_shape;

typedef struct cm_conv_algorithm cm_conv_algorithm;
typedef struct cm_convolution {
    const cm_conv_algorithm *algorithm; /* NULL: oneDNN's                                            */
    const char *name;                   /* "winograd 4x4", "amx 3x3 bf16", "few outputs 3x3"       */
    int plain;                          /* weights come plain, packing has nothing to do             */
    int takes_bf16;                     /* forward's x and y may be held in bfloat16                 */
    size_t packed_bytes, scratch_bytes;
    union {
        cm_winograd winograd;
        cm_amx_conv amx;
        cm_few_outputs few_outputs;
    } as;
} cm_convolution;

/* A weight gradient as [kernel][kernel][c][oc], taps = kernel^2; taps 0: another layout. */
typedef struct cm_conv_gradient_layout {
    size_t taps, c, oc;
} cm_conv_gradient_layout;
static inline size_t cmi_conv_gradient_bytes(const cm_conv_gradient_layout *layout)
{
    return layout->taps * layout->c * layout->oc * sizeof(float);
}
/* To plain [oc][c][kernel][kernel]; channels multiples of 16. */
void cmi_conv_gradient_unpack(const cm_conv_gradient_layout *layout, const float *gradient, float *plain);

/* The weight gradient and the bias's, or NULL; one thread. */
typedef struct cm_conv_gradient_algorithm cm_conv_gradient_algorithm;
typedef struct cm_conv_gradient {
    const cm_conv_gradient_algorithm *algorithm;
    cm_conv_gradient_layout layout;
    size_t points; /* of the output */
    size_t scratch_bytes;
    union {
        cm_winograd winograd;
        cm_amx_conv amx;
    } as;
} cm_conv_gradient;
struct cm_conv_gradient_algorithm {
    void (*init)(cm_conv_gradient *gradient, const cm_kernels *kernels, const cm_conv_shape *shape);
    void (*run)(const cm_conv_gradient *gradient, const float *x, const float *dy, float *dw, void *scratch);
};
extern const cm_conv_gradient_algorithm cmi_winograd_weight_gradient; /* float32 */

/* One algorithm; its row stands at the end of its file. */
struct cm_conv_algorithm {
    const char *name;
    /* Fills in *conv, zero before, but for the algorithm, where it serves the layer; else 0.  A function of the
     * shape and the arithmetic (bf16 of cm_op_plan) alone. */
    int (*fits)(cm_convolution *conv, const cm_kernels *kernels, int bf16, cm_threads threads,
                const cm_conv_shape *shape);
    /* The packed weights of one serve the other. */
    int (*same_weights)(const cm_convolution *a, const cm_convolution *b);
    void (*pack)(const cm_convolution *conv, const float *plain, void *packed);
    /* With a residual of floats like y: y = (convolution + residual) scale. */
    cm_status (*run)(const cm_convolution *conv, const void *x, const void *packed, const float *bias,
                     const float *residual, float scale, void *y, void *scratch);
    /* NULL: it has no gradients, oneDNN's are taken. */
    const cm_conv_gradient_algorithm *weight_gradient;
};
extern const cm_conv_algorithm cmi_conv_few_outputs, cmi_conv_amx_bf16, cmi_conv_amx_f32, cmi_conv_winograd;

/* The first algorithm of the table that fits, or none. */
void cmi_conv_init(cm_convolution *conv, const cm_kernels *kernels, int bf16, cm_threads threads,
                   const cm_conv_shape *shape);
/* What forward's x and y are held in, where it takes bfloat16. */
void cmi_conv_hold(cm_convolution *conv, int x_bf16, int y_bf16);
/* Takes plain weights from now on if it is one by Winograd in float32 of many channels, with one thread:
 * they are packed when they are used, near the processor, a fifth of a run of four images at 16 x 16.
 * To hold them would take four times the weights; bfloat16's take at most half of that. */
void cmi_conv_take_plain(cm_convolution *conv);

static inline int cmi_conv_has_gradients(const cm_convolution *conv)
{
    return conv->algorithm && conv->algorithm->weight_gradient;
}
static inline int cmi_conv_same_weights(const cm_convolution *a, const cm_convolution *b)
{
    return a->algorithm == b->algorithm && a->plain == b->plain && a->algorithm->same_weights(a, b);
}
static inline cm_status cmi_conv_run(const cm_convolution *conv, const void *x, const void *packed, const float *bias,
                                     const float *residual, float scale, void *y, void *scratch)
{
    return conv->algorithm->run(conv, x, packed, bias, residual, scale, y, scratch);
}

/* Whether a convolution has a weight gradient here: one whose algorithm has, or a 1 x 1 one of oneDNN's. */
int cmi_conv_gradient_serves(const cm_convolution *conv, const cm_conv_shape *shape);
void cmi_conv_gradient_init(cm_conv_gradient *gradient, const cm_convolution *conv, const cm_kernels *kernels,
                            const cm_conv_shape *shape);
void cmi_conv_gradient_run(const cm_conv_gradient *gradient, const cm_kernels *kernels, const float *x,
                           const float *dy, float *dw, float *dbias, void *scratch);

#endif
