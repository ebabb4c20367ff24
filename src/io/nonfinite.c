/* nonfinite.c - values of a tensor that are NaN or infinite, counted by their bits: an exponent of ones, with a
 * fraction for a NaN and without one for an infinity. */
#include "io/tensors.h"

#include <string.h>

typedef struct {
    uint64_t nans, infinities;
} tally;

/* Whether there is one among n values, at any address: nearly all tensors have none, and this is twice as fast as
 * counting. */
static int any16(size_t n, const unsigned char *p, uint16_t infinity)
{
    uint16_t bad = 0;
#pragma omp simd reduction(| : bad)
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, p + 2 * i, sizeof bits);
        bad = (uint16_t)(bad | ((bits & infinity) == infinity));
    }
    return bad != 0;
}

static int any32(size_t n, const unsigned char *p)
{
    uint32_t bad = 0;
#pragma omp simd reduction(| : bad)
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, p + 4 * i, sizeof bits);
        bad |= (uint32_t)((bits & 0x7f800000u) == 0x7f800000u);
    }
    return bad != 0;
}

/* Without the sign an infinity is the largest that is no NaN. */
static void count16(size_t n, const unsigned char *p, uint16_t infinity, tally *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, p + 2 * i, sizeof bits);
        bits = (uint16_t)(bits & 0x7fff);
        out->infinities += bits == infinity;
        out->nans += bits > infinity;
    }
}

static void count32(size_t n, const unsigned char *p, tally *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, p + 4 * i, sizeof bits);
        bits &= 0x7fffffffu;
        out->infinities += bits == 0x7f800000u;
        out->nans += bits > 0x7f800000u;
    }
}

/* From `infinity` on, the bits of a double, it is one. */
static void count64(size_t n, const unsigned char *p, uint64_t infinity, tally *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, p + 8 * i, sizeof bits);
        bits &= 0x7fffffffffffffffu;
        out->infinities += bits >= infinity && bits <= 0x7ff0000000000000u;
        out->nans += bits > 0x7ff0000000000000u;
    }
}

/* 2^128 - 2^103, the least that float32 rounds to an infinity, and an infinity. */
static const uint64_t least_as_float32 = 0x47effffff0000000u, infinity64 = 0x7ff0000000000000u;

static void count(const cm_tensor *t, const unsigned char *p, int as_float32, tally *out)
{
    if (t->type == CM_TENSOR_F16 && any16(t->count, p, 0x7c00)) count16(t->count, p, 0x7c00, out);
    if (t->type == CM_TENSOR_BF16 && any16(t->count, p, 0x7f80)) count16(t->count, p, 0x7f80, out);
    if (t->type == CM_TENSOR_F32 && any32(t->count, p)) count32(t->count, p, out);
    if (t->type == CM_TENSOR_F64) count64(t->count, p, as_float32 ? least_as_float32 : infinity64, out);
}

cm_status cmi_tensor_count_nonfinite(const cm_tensor *t, int as_float32, uint64_t *nans, uint64_t *infinities)
{
    tally sum = {0, 0};
    unsigned char *bytes = NULL;
    if (!t->data) {
        bytes = cmi_malloc(t->from->context, t->bytes, 1);
        if (!bytes) return CM_ERR_MEMORY;
    }
    cm_status status = bytes ? cmi_tensor_fetch(t, bytes) : CM_OK;
    if (status == CM_OK) count(t, bytes ? bytes : t->data, as_float32, &sum);
    if (bytes) cmi_free(t->from->context, bytes);
    *nans = sum.nans;
    *infinities = sum.infinities;
    return status;
}
