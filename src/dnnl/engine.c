/* engine.c - the CPU engine, versions and the instruction set in force. */
#include "base/cpu_level.h"
#include "dnnl/forked.h"
#include "dnnl/native.h"

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

/* Has oneDNN make the map of its reorders by a copy of one value, the first entry there: a thread that goes through
 * the whole of it, for the first time, would be beside it for long, and only afterwards could wait for exit
 * (forked.h).  The cache is asked for its size below for the same reason. */
static dnnl_status_t touch_reorders(dnnl_engine_t engine)
{
    const dnnl_dims_t one = {1, 1, 1, 1};
    dnnl_primitive_desc_t desc = NULL;
    cm_md md;
    dnnl_status_t s = cmi_md_create(&md, 4, one, NULL, dnnl_nchw);
    if (s != dnnl_success) return s;
    s = cmi_md_reorder(&desc, md, md, engine);
    if (desc) dnnl_primitive_desc_destroy(desc);
    cmi_md_free(md);
    return s;
}

static int create_engine(void *argument)
{
    cm_dnnl_engine *engine = argument;
    int capacity;
    (void)dnnl_get_primitive_cache_capacity(&capacity);
    DNNL_TRY(dnnl_engine_create(&engine->native, dnnl_cpu, 0));
    dnnl_status_t s = touch_reorders(engine->native);
    if (s != dnnl_success) (void)dnnl_engine_destroy(engine->native);
    return (int)s;
}

cm_status cmi_dnnl_engine_create(cm_context *context, cm_dnnl_engine **out)
{
    *out = NULL;
    if (dnnl_version()->major != DNNL_VERSION_MAJOR)
        CM_FAIL(CM_ERR_BACKEND, "built for oneDNN %d, but oneDNN %d is loaded", DNNL_VERSION_MAJOR,
                dnnl_version()->major);
    cm_dnnl_engine *engine = cmi_calloc(context, 1, sizeof *engine);
    if (!engine) return CM_ERR_MEMORY;
    engine->context = context;
    cm_status status = cmi_dnnl_make(CM_DNNL_ENGINE, create_engine, engine, "create the CPU engine");
    if (status != CM_OK) cmi_free(context, engine);
    else *out = engine;
    return status;
}

void cmi_dnnl_engine_free(cm_dnnl_engine *engine)
{
    if (!engine) return;
    if (cmi_dnnl_use_begin() == CM_OK) {
        (void)dnnl_engine_destroy(engine->native);
        cmi_dnnl_use_end();
    }
    cmi_free(engine->context, engine);
}
