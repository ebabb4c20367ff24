/* attention_f32.h - softmax(q k^T / sqrt(d)) v and its gradients by float32 matrix products
 * (kernels/gemm.h), from k and v in packed panels: they are packed once an image instead of for every
 * block of queries. */
#ifndef CM_ATTENTION_ATTENTION_F32_H
#define CM_ATTENTION_ATTENTION_F32_H

#include "attention/qkv.h"
#include "base/parallel.h"
#include "kernels/kernels.h"

typedef struct cm_attention_f32 {
    const cm_kernels *kernels;
    cm_threads threads; /* of a run; gradients take one */
    size_t tokens, heads, d;
    cm_qkv qkv[3];
} cm_attention_f32;

size_t cmi_attention_f32_scratch_bytes(const cm_attention_f32 *a, int gradients);
/* One image: out [tokens][heads d]. */
cm_status cmi_attention_f32_run(const cm_attention_f32 *a, const float *const in[2], float *out, void *scratch);
/* One image: din[i] = the gradient of input i where it is not NULL, from dout [tokens][heads d]. */
void cmi_attention_f32_gradient(const cm_attention_f32 *a, const float *const in[2], const float *dout,
                                float *const din[2], void *scratch);

/* One image: the same out (NULL: not wanted), and tout, its derivative where in[i] moves with tin[i] (NULL: it does
 * not). */
cm_status cmi_attention_f32_tangent(const cm_attention_f32 *a, const float *const in[2], const float *const tin[2],
                                    float *out, float *tout, void *scratch);
size_t cmi_attention_f32_tangent_scratch_bytes(const cm_attention_f32 *a);

#endif
