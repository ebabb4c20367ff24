/* backend.h - what we use of oneDNN, in our own words.
 *
 * The only folder that includes oneDNN's headers, for 2.6 and for 3.x.
 *
 *   engine     one per plan
 *   primitive  a convolution or matrix product of fixed shapes, made at plan
 *              time; read-only afterwards, shared by all threads
 *   call       what one executing thread needs besides: memory objects, stream
 *   packing    plain weights to packed ones, or a packed gradient to a plain one
 *
 * Every tensor, packed weight and scratch buffer belongs to the caller.  Everything
 * runs on the calling thread alone, whatever OpenMP's settings: several threads are
 * the caller's to bring (conv/direct_conv.h). */
#ifndef CM_DNNL_BACKEND_H
#define CM_DNNL_BACKEND_H

#include "base/context.h"

typedef struct cm_dnnl_engine cm_dnnl_engine;
typedef struct cm_dnnl_primitive cm_dnnl_primitive;
typedef struct cm_dnnl_call cm_dnnl_call;
typedef struct cm_dnnl_packing cm_dnnl_packing;

/* "oneDNN 2.6.3" of the header and of the library that runs. */
void cmi_dnnl_versions(int built[3], int running[3]);

cm_status cmi_dnnl_engine_create(cm_context *context, cm_dnnl_engine **out);
void cmi_dnnl_engine_free(cm_dnnl_engine *engine);

/* Cross-correlation over channels-last images, direct algorithm:
 *   src [n, h, w, c] -> dst [n, oh, ow, oc], weights [oc, c, kernel, kernel_w], zero
 *   padding `pad` above and below, pad_w left and right (an uneven rest at the end is dropped).
 * A strip of an image has `rows` output rows, padding `top` above and below what the
 * rows read beyond its h; rows 0: not a strip. */
typedef struct cm_dnnl_conv_shape {
    int32_t n, h, w, c, oc, kernel, kernel_w, stride, pad, pad_w, has_bias;
    int32_t relu; /* dst = max(sum, 0), of values alone */
    int32_t rows, top;
} cm_dnnl_conv_shape;

cm_status cmi_dnnl_conv_create(cm_dnnl_engine *engine, const cm_dnnl_conv_shape *shape, cm_dnnl_primitive **out);

/* The data gradient (diff dst, packed weights -> diff src) or the weight
 * gradient (src, diff dst -> packed gradient, and the bias's) of such a convolution. */
cm_status cmi_dnnl_conv_gradient_create(cm_dnnl_engine *engine, const cm_dnnl_conv_shape *shape, int of_weights,
                                        cm_dnnl_primitive **out);

/* dst [m, n] = a b, row-major; a is [m, k], or [k, m] when a_transposed, b is
 * [k, n], or [n, k] when b_transposed. */
typedef struct cm_dnnl_matmul_shape {
    int32_t m, n, k, b_transposed, a_transposed;
} cm_dnnl_matmul_shape;
cm_status cmi_dnnl_matmul_create(cm_dnnl_engine *engine, const cm_dnnl_matmul_shape *shape, cm_dnnl_primitive **out);

void cmi_dnnl_primitive_free(cm_dnnl_primitive *primitive);
size_t cmi_dnnl_scratch_bytes(const cm_dnnl_primitive *primitive);
/* oneDNN's name of the kernel chosen ("brgconv:avx512_core", "ref:any"). */
const char *cmi_dnnl_kernel_name(const cm_dnnl_primitive *primitive);

/* Packed weights of a convolution, or the packed gradient that a weight
 * gradient writes.  A packing is used by one thread at a time and may outlive
 * the primitive it was made for. */
size_t cmi_dnnl_packed_bytes(const cm_dnnl_primitive *primitive);
cm_status cmi_dnnl_packing_create(const cm_dnnl_primitive *primitive, cm_dnnl_packing **out);
void cmi_dnnl_packing_free(cm_dnnl_packing *packing);
/* Plain [oc, c, kernel, kernel_w] to packed; of a weight gradient the other way. */
cm_status cmi_dnnl_packing_run(cm_dnnl_packing *packing, const void *from, void *to);
/* Whether what a packing makes serves a primitive; whether what serves one serves another. */
int cmi_dnnl_packing_fits(const cm_dnnl_packing *packing, const cm_dnnl_primitive *primitive);
int cmi_dnnl_same_layout(const cm_dnnl_primitive *a, const cm_dnnl_primitive *b);

cm_status cmi_dnnl_call_create(const cm_dnnl_primitive *primitive, cm_dnnl_call **out);
void cmi_dnnl_call_free(cm_dnnl_call *call);
/* Convolution: src, packed weights, bias or NULL, dst.  Matrix product: a, b,
 * NULL, dst.  Data gradient: diff dst, packed weights, NULL, diff src.  Weight
 * gradient: src, diff dst, diff bias or NULL, packed gradient. */
cm_status cmi_dnnl_execute(cm_dnnl_call *call, const void *src, const void *weights, const void *bias, void *dst,
                           void *scratch);

#endif
