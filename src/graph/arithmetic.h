/* arithmetic.h - what convolutions are computed in, and by which algorithm. */
#ifndef CM_GRAPH_ARITHMETIC_H
#define CM_GRAPH_ARITHMETIC_H

#include <consistency/base.h>

typedef struct cm_arithmetic {
    int lean; /* direct convolutions only: a quarter of the packed weights */
    /* 0: float32.  Else operands of the products are bfloat16, sums float32, and this
     * is the largest Winograd tile (CM_WINOGRAD_ of kernels/winograd.h), or 1 for plain sums. */
    int bf16;
} cm_arithmetic;

/* Tiles of CM_BF16 without AMX: objectives divide differences of close values, so training keeps the
 * more exact ones (conv2d.c: but for data gradients). */
enum { CM_BF16_TILE_SAMPLING = 3, CM_BF16_TILE_TRAINING = 2 };

/* From a caller's options.  `tile`: 1 to 4, or 0 for 1 with AMX, else `usual`; for CM_BF16 only.  CM_BF16
 * without instructions for it is UNSUPPORTED unless `emulate`. */
cm_status cm_arithmetic_choose(const char *who, int32_t dtype, int32_t tile, int32_t usual, int32_t emulate,
                               int32_t lean, cm_arithmetic *out);

#endif
