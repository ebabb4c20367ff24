/* none.c - in the place of backend.c where the library is built without oneDNN (make DNNL=none): the processor is
 * asked for its instructions, and nothing caps them. */
#include "base/cpu_level.h"
#include "dnnl/backend.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__)
static int has_avx2(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) &&
           (c & bit_F16C);
}

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* Whether there are matrix tiles and this process may use them: Linux gives their registers to those that ask. */
static int has_tiles(void)
{
#if defined(__linux__)
    enum { PERMISSION = 0x1023, TILES = 18, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
           syscall(SYS_arch_prctl, PERMISSION, TILES) == 0;
#else
    return 0;
#endif
}
#endif

int cmi_cpu_level(void)
{
#if defined(__x86_64__)
    if (!has_avx2()) return CM_CPU_BASELINE;
    if (!has_avx512()) return CM_CPU_AVX2;
    if (!__builtin_cpu_supports("avx512bf16")) return CM_CPU_AVX512;
    return has_tiles() ? CM_CPU_AMX_BF16 : CM_CPU_AVX512_BF16;
#else
    return CM_CPU_BASELINE;
#endif
}

void cmi_dnnl_versions(int built[3], int running[3])
{
    for (int i = 0; i < 3; i++) built[i] = running[i] = 0;
}
