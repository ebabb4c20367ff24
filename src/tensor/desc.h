/* desc.h - the shape of an activation: N images of H x W points with C
 * channels, channels-last, four bytes an element (float32 or int32), or two where a
 * plan holds it in bfloat16.  A vector per image is H = W = 1. */
#ifndef CM_TENSOR_DESC_H
#define CM_TENSOR_DESC_H

#include <stddef.h>
#include <stdint.h>

typedef struct cm_desc {
    int32_t n, h, w, c;
} cm_desc;

/* Elements; shapes are bounded when a graph is built, so this cannot wrap. */
static inline size_t cmi_desc_count(cm_desc d)
{
    return (size_t)d.n * (size_t)d.h * (size_t)d.w * (size_t)d.c;
}

static inline size_t cmi_desc_pixels(cm_desc d)
{
    return (size_t)d.n * (size_t)d.h * (size_t)d.w;
}

/* Along one side of an image: outputs of a convolution. */
static inline int32_t cmi_conv_size(int32_t size, int32_t kernel, int32_t stride, int32_t pad)
{
    return (size + 2 * pad - kernel) / stride + 1;
}

/* n values further. */
static inline void *cmi_values_at(const void *values, int is_bf16, size_t n)
{
    return (unsigned char *)values + n * (is_bf16 ? sizeof(uint16_t) : sizeof(float));
}

static inline int cmi_desc_equal(cm_desc a, cm_desc b)
{
    return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c;
}

#endif
