/* conv.h - the algorithms of a convolution behind one table: few outputs (few_outputs.h), matrix tiles (amx.h),
 * Winograd's filtering (winograd.h), and patches (patches.h), which serve what none of the others does. */
#ifndef CM_CONV_CONV_H
#define CM_CONV_CONV_H

#include "conv/amx.h"
#include "conv/few_outputs.h"
#include "conv/patches.h"
#include "conv/winograd.h"

/* What is convolved with what; `transposed`: the data gradient's, channels as it sees them; `up`: of
 * points that each stand for four (h, w: as they are), its data gradient: sums of four (h, w: of
 * the large image).  kernel_w 0: the kernel and its padding are square; else `kernel` and `pad` are the rows. */
typedef struct cm_conv_shape {
    int32_t n, h, w, c, oc, kernel, stride, pad, bias, transposed, up, kernel_w, pad_w;
    int32_t relu; /* max(y, 0) is wanted, where there is no residual */
    int32_t pair; /* 1: of n images and of their tangents, which have no bias, in one run */
} cm_conv_shape;

/* What a convolution is made with; all of it outlives the convolution. */
typedef struct cm_conv_options {
    cm_context *context;
    const cm_kernels *kernels;
    cm_threads threads;     /* of a run                                                     */
    int bf16, small_memory; /* as in cm_op_plan                                              */
} cm_conv_options;

typedef struct cm_conv_algorithm cm_conv_algorithm;
typedef struct cm_convolution {
    const cm_conv_algorithm *algorithm;
    const char *name; /* "winograd 4x4", "amx 3x3 bf16", "few outputs 3x3", "patches" */
    int plain;        /* weights come plain, packing has nothing to do */
    int takes_bf16;   /* forward's x and y may be held in bfloat16     */
    int relus;        /* y becomes max(y, 0): of shapes that want that, where the algorithm has it */
    size_t packed_bytes, scratch_bytes;
    union {
        cm_winograd winograd;
        cm_amx_conv amx;
        cm_few_outputs few_outputs;
        cm_patches patches;
    } as;
} cm_convolution;

/* One run: y of x and weights as they are packed (or plain).  Without a bias NULL; with a residual of floats like y:
 * y = (convolution + residual) scale. */
typedef struct cm_conv_run {
    const void *x, *weights;
    const float *bias, *residual;
    float scale;
    void *y, *scratch;
    /* Of a pair; a tangent without a residual is not scaled. */
    const void *x_tangent;
    const float *residual_tangent;
    void *y_tangent;
} cm_conv_run;

/* --- the weight gradient ------------------------------------------------------------------------ */

typedef struct cm_conv_gradient_algorithm cm_conv_gradient_algorithm;
/* The weight gradient and the bias's; one thread.  It comes in a form of the algorithm's own. */
typedef struct cm_conv_gradient {
    const cm_conv_gradient_algorithm *algorithm;
    size_t bytes; /* as it comes */
    size_t scratch_bytes;
    const cm_kernels *kernels;
    size_t taps, c, oc; /* where it comes as [kernel][kernel][c][oc], taps = kernel^2 */
    size_t points;      /* of the output */
    union {
        cm_winograd winograd;
        cm_amx_conv amx;
        cm_patches patches;
    } as;
} cm_conv_gradient;

typedef struct cm_conv_gradient_run {
    const float *x, *dy;
    float *dw, *dbias; /* dbias: or NULL */
    void *scratch;
} cm_conv_gradient_run;

struct cm_conv_gradient_algorithm {
    /* Fills in *gradient, zero before, but for the algorithm. */
    cm_status (*create)(cm_conv_gradient *gradient, const cm_conv_options *options, const cm_conv_shape *shape);
    cm_status (*run)(const cm_conv_gradient *gradient, const cm_conv_gradient_run *run);
    cm_status (*unpack)(const cm_conv_gradient *unpacker, const float *gradient, float *plain);
};
extern const cm_conv_gradient_algorithm cmi_winograd_weight_gradient; /* float32 */
extern const cm_conv_gradient_algorithm cmi_patches_weight_gradient;

/* For rows whose gradient comes as [kernel][kernel][c][oc], channels multiples of 16: the sizes, the bias's gradient
 * and the way to plain [oc][c][kernel][kernel]. */
void cmi_conv_gradient_fill(cm_conv_gradient *gradient, const cm_kernels *kernels, const cm_conv_shape *shape,
                            size_t scratch_bytes);
void cmi_conv_gradient_bias(const cm_conv_gradient *gradient, const cm_conv_gradient_run *run);
cm_status cmi_conv_gradient_by_taps(const cm_conv_gradient *unpacker, const float *gradient, float *plain);

/* --- the table ---------------------------------------------------------------------------------- */

/* One algorithm; its row stands at the end of its file. */
struct cm_conv_algorithm {
    const char *name;
    int small_memory; /* it is asked there too: its weights take about the room of plain ones */
    int pairs;        /* it reads the weights once for a pair; else values and tangents are two runs */
    /* Fills in *conv, zero before, but for the algorithm and what `create` finds, where it serves the layer; else 0.
     * A function of the shape and the arithmetic alone. */
    int (*fits)(cm_convolution *conv, const cm_conv_options *options, const cm_conv_shape *shape);
    /* The packed weights of one, which may be a packer, serve the other. */
    int (*same_weights)(const cm_convolution *packer, const cm_convolution *conv);
    cm_status (*pack)(const cm_convolution *packer, const float *plain, void *packed);
    cm_status (*run)(const cm_convolution *conv, const cm_conv_run *run);
    const cm_conv_gradient_algorithm *weight_gradient;
    /* cmi_conv_take_plain and cmi_conv_hold; NULL where it does not. */
    void (*take_plain)(cm_convolution *conv);
    void (*hold)(cm_convolution *conv, int x_bf16, int y_bf16);
};
extern const cm_conv_algorithm cmi_conv_few_outputs, cmi_conv_amx_bf16, cmi_conv_amx_f32, cmi_conv_winograd,
    cmi_conv_patches;

/* Chooses the first algorithm of the table that fits.  One does, but perhaps where `up` is set: then the algorithm is
 * NULL, and the caller has to make the image large. */
void cmi_conv_init(cm_convolution *conv, const cm_conv_options *options, const cm_conv_shape *shape);
/* What x and y are held in, where it takes bfloat16. */
void cmi_conv_hold(cm_convolution *conv, int x_bf16, int y_bf16);
/* Takes plain weights from now on where to hold them packed would take too much memory and to pack them on the way
 * little time. */
void cmi_conv_take_plain(cm_convolution *conv);
/* INTERNAL where no algorithm serves. */
cm_status cmi_conv_check(const cm_convolution *conv, const cm_conv_shape *shape);
cm_status cmi_conv_run(const cm_convolution *conv, const cm_conv_run *run);

/* A copy of a convolution packs for it, and for all whose packed weights are the same. */
cm_status cmi_conv_pack(const cm_convolution *packer, const float *plain, void *packed);
int cmi_conv_same_weights(const cm_convolution *a, const cm_convolution *b);

/* Of a parameter that no convolution reads, NULL. */
static inline int cmi_conv_reads_plain(const cm_convolution *conv)
{
    return !conv || conv->plain;
}
static inline const char *cmi_conv_name(const cm_convolution *conv)
{
    return conv ? conv->name : "";
}

/* The weight gradient of a convolution that was created with these options; the rest as above. */
cm_status cmi_conv_gradient_create(cm_conv_gradient *gradient, const cm_convolution *conv,
                                   const cm_conv_options *options, const cm_conv_shape *shape);
cm_status cmi_conv_gradient_run(const cm_conv_gradient *gradient, const cm_conv_gradient_run *run);
/* A copy of a gradient makes plain tensors of what comes from it. */
cm_status cmi_conv_unpack(const cm_conv_gradient *unpacker, const float *gradient, float *plain);

#endif
