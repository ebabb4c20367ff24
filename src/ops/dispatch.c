/* dispatch.c - which kernel table serves which CPU level. */
#include "ops/kernels.h"

#include "dnnl/backend.h"

const cm_kernels *cm_kernels_for(int level)
{
#if defined(__x86_64__) || defined(__i386__)
    if (level >= CM_CPU_AVX512) return &cm_kernels_avx512;
    if (level >= CM_CPU_AVX2) return &cm_kernels_avx2;
#endif
    (void)level;
    return &cm_kernels_baseline;
}

const cm_kernels *cm_kernels_here(void)
{
    return cm_kernels_for(cm_dnnl_cpu_level());
}
