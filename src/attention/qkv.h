/* qkv.h - where q, k and v lie in what attention is given. */
#ifndef CM_ATTENTION_QKV_H
#define CM_ATTENTION_QKV_H

#include <stddef.h>
#include <string.h>

/* One of q, k and v: element i of head h of a token is number first + h by_head + i step of its
 * `row` values of the input. */
typedef struct cm_qkv {
    int input; /* which of two */
    size_t row, first, by_head, step;
} cm_qkv;

/* n elements of one head of one token. */
static inline void cmi_qkv_copy(const cm_qkv *qkv, size_t n, const float *from, float *to)
{
    if (qkv->step == 1) memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++) to[i] = from[i * 3]; /* the only other one */
}

#endif
