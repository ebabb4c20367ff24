/* dispatch.c - which tables of kernels serve which CPU level. */
#include "base/cpu_level.h"
#include "kernels/kernels.h"
#include "kernels/tiles.h"
#include "kernels/winograd.h"

const cm_kernels *cm_kernels_for(int level)
{
#if defined(__x86_64__) || defined(__i386__)
    if (level >= CM_CPU_AVX512) return &cm_kernels_avx512;
    if (level >= CM_CPU_AVX2) return &cm_kernels_avx2;
#endif
    (void)level;
    return &cm_kernels_baseline;
}

const cm_winograd_kernels *cm_winograd_for(int level)
{
#if defined(__x86_64__) || defined(__i386__)
    if (level >= CM_CPU_AVX512) return &cm_winograd_avx512;
    if (level >= CM_CPU_AVX2) return &cm_winograd_avx2;
#endif
    (void)level;
    return &cm_winograd_baseline;
}

const cm_winograd_operands *cm_winograd_bf16_for(int level)
{
#if defined(__x86_64__) || defined(__i386__)
    if (level >= CM_CPU_AVX512_BF16) return &cm_bf16_native;
    if (level >= CM_CPU_AVX512) return &cm_bf16_avx512;
    if (level >= CM_CPU_AVX2) return &cm_bf16_avx2;
#endif
    (void)level;
    return &cm_bf16_baseline;
}

const cm_tile_kernels *cm_tiles_for(int level)
{
#if defined(__x86_64__)
    if (level >= CM_CPU_AMX_BF16) return &cm_tiles_amx;
#endif
    (void)level;
    return &cm_tiles_plain;
}
