/* backend.c - versions and the instruction set in force. */
#include "dnnl/backend.h"

#include <oneapi/dnnl/dnnl.h>

#include "base/cpu_level.h"

int cmi_cpu_level(void)
{
    int isa = (int)dnnl_get_effective_cpu_isa();
    /* It asks the system for the tiles before it says that they are there. */
    if ((isa & (int)dnnl_cpu_isa_avx512_core_amx) == (int)dnnl_cpu_isa_avx512_core_amx) return CM_CPU_AMX_BF16;
    if ((isa & (int)dnnl_cpu_isa_avx512_core_bf16) == (int)dnnl_cpu_isa_avx512_core_bf16) return CM_CPU_AVX512_BF16;
    if ((isa & (int)dnnl_cpu_isa_avx512_core) == (int)dnnl_cpu_isa_avx512_core) return CM_CPU_AVX512;
    if ((isa & (int)dnnl_cpu_isa_avx2) == (int)dnnl_cpu_isa_avx2) return CM_CPU_AVX2;
    return CM_CPU_BASELINE;
}

void cmi_dnnl_versions(int built[3], int running[3])
{
    const dnnl_version_t *v = dnnl_version();
    built[0] = DNNL_VERSION_MAJOR, built[1] = DNNL_VERSION_MINOR, built[2] = DNNL_VERSION_PATCH;
    running[0] = v->major, running[1] = v->minor, running[2] = v->patch;
}
