/* kernels.h - the hot loops that are ours: one table a CPU level, which is all that anybody sees of CPUs.  A
 * context knows its level (cmi_context_cpu_level). */
#ifndef CM_KERNELS_KERNELS_H
#define CM_KERNELS_KERNELS_H

#include "kernels/gemm.h"
#include "kernels/pointwise.h"
#include "kernels/amx_kernels.h"
#include "kernels/sums_f64.h"
#include "kernels/winograd.h"

typedef struct cm_kernels {
    const char *name;
    int has_amx; /* matrix tiles are instructions, not sums written out */
    const cm_pointwise *pointwise;
    const cm_gemm *gemm, *gemm_bf16;
    const cm_winograd_kernels *winograd;
    const cm_winograd_operands *winograd_bf16;
    const cm_amx_kernels *amx;
    const cm_sums_f64 *sums;
} cm_kernels;

/* level: CM_CPU_* of base/cpu_level.h. */
const cm_kernels *cmi_kernels_for(int level);

#endif
