/* dispatch.c - which loops serve which CPU level. */
#include "base/cpu_level.h"
#include "kernels/kernels.h"

#define TABLE(name, has_amx, float32, bf16, tiles)                                                                   \
    {                                                                                                                \
        name, has_amx, &cmi_pointwise_##float32, &cmi_gemm_f32_##float32, &cmi_gemm_bf16_##bf16,                     \
            &cmi_winograd_f32_##float32, &cmi_winograd_bf16_##bf16, &cmi_bf16_##tiles, &cmi_sums_f64_##float32       \
    }

static const cm_kernels levels[] = {
    [CM_CPU_BASELINE] = TABLE("baseline", 0, baseline, baseline, plain),
#if defined(__x86_64__)
    [CM_CPU_AVX2] = TABLE("avx2", 0, avx2, avx2, plain),
    [CM_CPU_AVX512] = TABLE("avx512", 0, avx512, avx512, plain),
    [CM_CPU_AVX512_BF16] = TABLE("avx512_bf16", 0, avx512, native, plain),
    [CM_CPU_AMX_BF16] = TABLE("amx_bf16", 1, avx512, native, amx),
#endif
};

const cm_kernels *cmi_kernels_for(int level)
{
    const int last = (int)(sizeof levels / sizeof *levels) - 1;
    return &levels[level < last ? level : last];
}
