/* arithmetic.c - which arithmetic is allowed here. */
#include "graph/arithmetic.h"

#include <string.h>

#include "base/cpu_level.h"
#include "base/hint.h"
#include "base/status.h"

/* --- the debug text --------------------------------------------------------------- */

enum { BF16_TILE, BF16_EMULATE, N_KEYS };
static const char *const keys[N_KEYS + 1] = {"bf16_tile", "bf16_emulate", NULL};
static const int32_t highest[N_KEYS] = {4, 1};

typedef struct {
    int32_t value[N_KEYS], given[N_KEYS];
} debug_values;

/* `entry` is "key=number". */
static cm_status read_entry(const char *who, const char *entry, debug_values *out)
{
    char key[64], hint[CM_HINT_SIZE];
    size_t n = strcspn(entry, "=");
    const char *number = entry + n + 1;
    if (!entry[n]) CM_FAIL(CM_ERR_ARGUMENT, "%s: debug: '%s' is not of the form key=number", who, entry);
    memcpy(key, entry, n);
    key[n] = '\0';
    int i = 0;
    while (i < N_KEYS && strcmp(key, keys[i]) != 0) i++;
    if (i == N_KEYS) {
        (void)cm_name_hint(key, keys, NULL, hint, sizeof hint);
        CM_FAIL(CM_ERR_ARGUMENT, "%s: debug: no key '%s'%s", who, key, hint);
    }
    if (number[0] < '0' || number[0] > '0' + highest[i] || number[1])
        CM_FAIL(CM_ERR_ARGUMENT, "%s: debug: %s is %s, expected 0..%d", who, key, number, highest[i]);
    if (out->given[i]) CM_FAIL(CM_ERR_ARGUMENT, "%s: debug: %s is given twice", who, key);
    out->given[i] = 1;
    out->value[i] = number[0] - '0';
    return CM_OK;
}

static cm_status read_debug(const char *who, const char *text, debug_values *out)
{
    char entry[64];
    memset(out, 0, sizeof *out);
    if (!text || !*text) return CM_OK;
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        if (n >= sizeof entry) CM_FAIL(CM_ERR_ARGUMENT, "%s: debug: '%.60s...' is no entry", who, at);
        memcpy(entry, at, n);
        entry[n] = '\0';
        CM_TRY(read_entry(who, entry, out));
        at += n;
        if (!*at) return CM_OK;
    }
}

/* ----------------------------------------------------------------------------------- */

static cm_status choose_bf16(const char *who, int level, const debug_values *debug, int32_t default_tile,
                             cm_arithmetic *out)
{
    const int32_t tile = debug->value[BF16_TILE], emulate = debug->value[BF16_EMULATE];
    if (out->small_memory)
        CM_FAIL(CM_ERR_ARGUMENT,
                "%s: memory small is for precision f32: it takes direct convolutions of float32, which bf16 does not",
                who);
    if (tile == 1 && level < CM_CPU_AMX_BF16 && !emulate)
        CM_FAIL(CM_ERR_UNSUPPORTED,
                "%s: debug: bf16_tile=1 is for processors with AMX (AMX_BF16), which this one has not: leave it out, "
                "or compute so all the same with bf16_emulate=1",
                who);
    if (level < CM_CPU_AVX512_BF16 && !emulate)
        CM_FAIL(
            CM_ERR_UNSUPPORTED,
            "%s: precision bf16, but this processor has no bfloat16 instructions (AVX512_BF16): float32 is faster "
            "and more exact here; debug bf16_emulate=1 computes in bfloat16 all the same",
            who);
    out->bf16 = tile ? tile : level < CM_CPU_AMX_BF16 ? default_tile : 1;
    return CM_OK;
}

cm_status cmi_arithmetic_choose(const char *who, int cpu_level, int32_t precision, int32_t memory, const char *debug,
                                int32_t default_tile, cm_arithmetic *out)
{
    debug_values values;
    *out = (cm_arithmetic){memory == CM_MEMORY_SMALL, 0};
    if (precision < CM_PRECISION_DEFAULT || precision > CM_PRECISION_BF16)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: precision is %d, expected 1 (f32), 2 (bf16) or 0 for the default", who,
                precision);
    if (memory < CM_MEMORY_FAST || memory > CM_MEMORY_SMALL)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: memory is %d, expected 0 (fast) or 1 (small)", who, memory);
    CM_TRY(read_debug(who, debug, &values));
    if (precision == CM_PRECISION_BF16) return choose_bf16(who, cpu_level, &values, default_tile, out);
    for (int i = 0; i < N_KEYS; i++)
        if (values.value[i])
            CM_FAIL(CM_ERR_ARGUMENT, "%s: debug: %s has no effect without precision bf16", who, keys[i]);
    return CM_OK;
}

cm_choice cmi_precision_choice(size_t index)
{
    static const cm_choice choices[] = {
        {"default", "f32"},
        {"f32", "float32 operands"},
        {"bf16", "bfloat16 operands and float32 sums: for processors with AMX_BF16 or AVX512_BF16"},
    };
    return index < sizeof choices / sizeof *choices ? choices[index] : (cm_choice){NULL, NULL};
}

cm_choice cmi_memory_choice(size_t index)
{
    static const cm_choice choices[] = {
        {"fast", "transformed copies of the weights"},
        {"small", "a quarter of the packed weights, slower"},
    };
    return index < sizeof choices / sizeof *choices ? choices[index] : (cm_choice){NULL, NULL};
}
