/* cpu_level.h - the instruction sets that kernels are made for, each with all before it. */
#ifndef CM_BASE_CPU_LEVEL_H
#define CM_BASE_CPU_LEVEL_H

enum { CM_CPU_BASELINE, CM_CPU_AVX2, CM_CPU_AVX512, CM_CPU_AVX512_BF16, CM_CPU_AMX_BF16 };

/* The level of this process: the instructions that oneDNN may use (dnnl/backend.c asks it), so that its cap is
 * one on our kernels; in a build without oneDNN all that the processor has and we have kernels for (dnnl/none.c). */
int cmi_cpu_level(void);

#endif
