/* arithmetic.c - which arithmetic is allowed here. */
#include "graph/arithmetic.h"

#include "base/cpu_level.h"
#include "base/status.h"

static cm_status choose_bf16(const char *who, int32_t tile, int32_t usual, int32_t emulate, int32_t lean,
                             cm_arithmetic *out)
{
    if (lean)
        CM_FAIL(CM_ERR_ARGUMENT,
                "%s: lean is for float32: it takes oneDNN's direct convolutions, which CM_BF16 does not", who);
    const int level = cm_cpu_level();
    if (tile < 0 || tile > 4)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: bf16_tile is %d, expected 1 to 4, or 0 for the processor's best", who, tile);
    if (tile == 1 && level < CM_CPU_AMX_BF16 && !emulate)
        CM_FAIL(CM_ERR_UNSUPPORTED,
                "%s: bf16_tile 1 is for processors with AMX (AMX_BF16), which this one has not: leave it 0; set "
                "bf16_emulate to compute so all the same",
                who);
    if (level < CM_CPU_AVX512_BF16 && !emulate)
        CM_FAIL(CM_ERR_UNSUPPORTED,
                "%s: dtype CM_BF16, but this processor has no bfloat16 instructions (AVX512_BF16): float32 is faster "
                "and more exact here; set bf16_emulate to compute in bfloat16 all the same",
                who);
    out->bf16 = tile ? tile : level < CM_CPU_AMX_BF16 ? usual : 1;
    return CM_OK;
}

cm_status cm_arithmetic_choose(const char *who, int32_t dtype, int32_t tile, int32_t usual, int32_t emulate,
                               int32_t lean, cm_arithmetic *out)
{
    *out = (cm_arithmetic){lean, 0};
    if (dtype != CM_DTYPE_DEFAULT && dtype != CM_F32 && dtype != CM_BF16)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: dtype %d; this version computes in CM_F32 or CM_BF16", who, dtype);
    if (lean < 0 || lean > 1) CM_FAIL(CM_ERR_ARGUMENT, "%s: lean is %d, expected 0 or 1", who, lean);
    if (emulate < 0 || emulate > 1) CM_FAIL(CM_ERR_ARGUMENT, "%s: bf16_emulate is %d, expected 0 or 1", who, emulate);
    if (dtype == CM_BF16) return choose_bf16(who, tile, usual, emulate, lean, out);
    if (tile || emulate)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: %s has no effect without dtype CM_BF16", who,
                tile ? "bf16_tile" : "bf16_emulate");
    return CM_OK;
}
