/* gemm.h - the matrix product, one table a CPU level and form of the operands. */
#ifndef CM_KERNELS_GEMM_H
#define CM_KERNELS_GEMM_H

#include <stddef.h>

typedef struct cm_gemm {
    size_t bytes;    /* of an operand: 4 or 2                           */
    size_t channels; /* neighbours that stand in one word of a packed b */
    /* Columns of the next packed panel when so many are left. */
    size_t (*panel)(size_t left);
    /* c [rows][columns] = a [rows][k] b, rows of a `lda` operands apart, b packed in panels of k rows. */
    void (*product)(size_t rows, size_t columns, size_t k, const void *a, size_t lda, const void *b, float *c,
                    size_t ldc);
    /* c [rows][columns] = or += a^T b, a [depth][rows] and b [depth][columns], their rows `lda` and `ldb` apart,
     * rows even; float32 only, else NULL. */
    void (*product_transposed)(size_t rows, size_t columns, size_t depth, const float *a, size_t lda, const float *b,
                               size_t ldb, float *c, int add);
} cm_gemm;

extern const cm_gemm cmi_gemm_f32_baseline, cmi_gemm_f32_avx2, cmi_gemm_f32_avx512;
extern const cm_gemm cmi_gemm_bf16_baseline, cmi_gemm_bf16_avx2, cmi_gemm_bf16_avx512, cmi_gemm_bf16_native;

#endif
