/* attention_amx.h - softmax(q k^T / sqrt(d)) v on matrix tiles (amx.h), in bfloat16 - q,
 * k, v and the probabilities are rounded, scores and sums are float32 - or in float32,
 * three parts a value.  For tokens and d in multiples of 32. */
#ifndef CM_ATTENTION_ATTENTION_AMX_H
#define CM_ATTENTION_ATTENTION_AMX_H

#include "attention/qkv.h"
#include "base/parallel.h"
#include "kernels/kernels.h"
#include "tensor/desc.h"

typedef struct cm_attention_amx {
    const cm_kernels *kernels;
    int parts; /* of a value: 1 or 3 */
    cm_threads threads;
    size_t tokens, heads, d;
    cm_qkv qkv[3];
    int x_bf16[2], y_bf16; /* held in bfloat16; parts 1 */
} cm_attention_amx;

static inline int cmi_attention_amx_fit(size_t tokens, size_t d)
{
    return tokens % 32 == 0 && d % 32 == 0;
}
size_t cmi_attention_amx_scratch_bytes(const cm_attention_amx *a);
/* One image: out [tokens][heads d]. */
cm_status cmi_attention_amx_run(const cm_attention_amx *a, const void *const in[2], void *out, void *scratch);

#endif
