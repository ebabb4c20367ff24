/* arithmetic.h - what convolutions are computed in, and by which algorithm. */
#ifndef CM_GRAPH_ARITHMETIC_H
#define CM_GRAPH_ARITHMETIC_H

#include <consistency/base.h>

#include "base/choice.h"

typedef struct cm_arithmetic {
    int small_memory; /* CM_MEMORY_SMALL: direct convolutions only, with a quarter of the packed weights */
    /* 0: float32.  Else operands of the products are bfloat16, sums float32, and this
     * is the largest Winograd tile (CM_WINOGRAD_ of kernels/winograd.h), or 1 for plain sums. */
    int bf16;
} cm_arithmetic;

/* Default tiles of bfloat16 without AMX: objectives divide differences of close values, so training keeps
 * the more exact ones (conv2d.c: but for data gradients). */
enum { CM_BF16_TILE_SAMPLING = 3, CM_BF16_TILE_TRAINING = 2 };

/* From a caller's options.  `who` names their struct in messages.
 *   cpu_level           of the context (CM_CPU_ of base/cpu_level.h)
 *   precision, memory   cm_precision and cm_memory
 *   debug               "key=number,key=number", or NULL; the keys are bf16_tile (1 to 4; 0 is 1 with AMX, else
 *                       default_tile) and bf16_emulate (1: bfloat16 on processors without instructions for it)
 * ARGUMENT for a number out of range, an unknown key and a key without effect; UNSUPPORTED for bfloat16 on a
 * processor without instructions for it. */
cm_status cmi_arithmetic_choose(const char *who, int cpu_level, int32_t precision, int32_t memory, const char *debug,
                                int32_t default_tile, cm_arithmetic *out);

/* The entries of cm_precision and cm_memory. */
cm_choice cmi_precision_choice(size_t index);
cm_choice cmi_memory_choice(size_t index);

#endif
