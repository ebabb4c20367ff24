/* native.c - memory descriptors, guarded runs: where 2.x and 3.x differ most. */
#include "dnnl/native.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dnnl/forked.h"
#include "dnnl/guard.h"

#if DNNL_VERSION_MAJOR >= 3

dnnl_status_t cmi_md_create(cm_md *out, int rank, const int64_t *dims, const int64_t *strides, dnnl_format_tag_t tag)
{
    *out = NULL;
    return strides ? dnnl_memory_desc_create_with_strides(out, rank, dims, dnnl_f32, strides)
                   : dnnl_memory_desc_create_with_tag(out, rank, dims, dnnl_f32, tag);
}

dnnl_status_t cmi_md_clone_queried(cm_md *out, const_dnnl_primitive_desc_t desc, dnnl_query_t what)
{
    *out = NULL;
    const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(desc, what, 0);
    return md ? dnnl_memory_desc_clone(out, md) : dnnl_unimplemented;
}

void cmi_md_free(cm_md md)
{
    if (md) dnnl_memory_desc_destroy(md);
}

cm_md_view cmi_md_seen(cm_md md)
{
    return md;
}

dnnl_status_t cmi_md_memory(dnnl_memory_t *out, cm_md md, dnnl_engine_t engine, void *handle)
{
    return dnnl_memory_create(out, md, engine, handle);
}

dnnl_status_t cmi_md_reorder(dnnl_primitive_desc_t *out, cm_md from, cm_md to, dnnl_engine_t engine)
{
    return dnnl_reorder_primitive_desc_create(out, from, engine, to, engine, NULL);
}

#else

/* The boxes are kilobytes of plain C memory beside what oneDNN itself takes
 * from the process; like those they do not come from the context. */
static cm_md box(const dnnl_memory_desc_t *value)
{
    cm_md md = malloc(sizeof *md);
    if (md) md->value = *value;
    return md;
}

dnnl_status_t cmi_md_create(cm_md *out, int rank, const int64_t *dims, const int64_t *strides, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t value;
    *out = NULL;
    dnnl_status_t s = strides ? dnnl_memory_desc_init_by_strides(&value, rank, dims, dnnl_f32, strides)
                              : dnnl_memory_desc_init_by_tag(&value, rank, dims, dnnl_f32, tag);
    if (s != dnnl_success) return s;
    *out = box(&value);
    return *out ? dnnl_success : dnnl_out_of_memory;
}

dnnl_status_t cmi_md_clone_queried(cm_md *out, const_dnnl_primitive_desc_t desc, dnnl_query_t what)
{
    *out = NULL;
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, what, 0);
    if (!md) return dnnl_unimplemented;
    *out = box(md);
    return *out ? dnnl_success : dnnl_out_of_memory;
}

void cmi_md_free(cm_md md)
{
    free(md);
}

cm_md_view cmi_md_seen(cm_md md)
{
    return &md->value;
}

dnnl_status_t cmi_md_memory(dnnl_memory_t *out, cm_md md, dnnl_engine_t engine, void *handle)
{
    return dnnl_memory_create(out, &md->value, engine, handle);
}

dnnl_status_t cmi_md_reorder(dnnl_primitive_desc_t *out, cm_md from, cm_md to, dnnl_engine_t engine)
{
    return dnnl_reorder_primitive_desc_create(out, &from->value, engine, &to->value, engine, NULL);
}

#endif

static int empty_cache(void *argument)
{
    int capacity = 0;
    (void)argument;
    if (dnnl_get_primitive_cache_capacity(&capacity) != dnnl_success) return 0;
    (void)dnnl_set_primitive_cache_capacity(0);
    (void)dnnl_set_primitive_cache_capacity(capacity);
    return 0;
}

static const char *status_text(int status)
{
    switch (status) {
    case dnnl_out_of_memory: return "out of memory";
    case dnnl_invalid_arguments: return "invalid arguments";
    case dnnl_unimplemented: return "not implemented";
    case dnnl_runtime_error: return "runtime error";
    default: return "unexpected status";
    }
}

/* Many constructors of oneDNN do not look whether they got memory, nor does its code generator: where that runs out
 * inside of them the process ends.  So they are entered only while the process can have more than they take: at most
 * 5.6 MB (measured over shapes and kinds of both versions, for AVX-512, AVX2 and SSE4.1); the rest is for what other
 * threads take meanwhile.  The pages are never touched, which makes this a matter of a microsecond. */
enum { FREE_BYTES = 16 << 20 };

static int memory_is_free(void)
{
    void *memory = mmap(NULL, FREE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED && munmap(memory, FREE_BYTES) == 0;
}

static cm_status require_memory(const char *what)
{
    if (memory_is_free()) return CM_OK;
    CM_TRY(cmi_dnnl_make_begin());
    (void)cmi_dnnl_guard(empty_cache, NULL);
    cmi_dnnl_make_end();
    if (memory_is_free()) return CM_OK;
    CM_FAIL(CM_ERR_MEMORY, "out of memory: oneDNN is called only where %d MB are free, and they are not: %s",
            FREE_BYTES >> 20, what);
}

static int short_of_memory(int result)
{
    return result == CM_GUARD_THROWN || result == dnnl_out_of_memory;
}

static int call_guarded(int (*function)(void *), void *argument)
{
    /* Kernels ask OpenMP for its threads when they are made and again when they run. */
    const int before = omp_get_max_threads();
    if (before != 1) omp_set_num_threads(1);
    int result = cmi_dnnl_guard(function, argument);
    if (before != 1) omp_set_num_threads(before);
    /* A half-made entry in its cache would make the retry fail too. */
    if (short_of_memory(result)) (void)cmi_dnnl_guard(empty_cache, NULL);
    return result;
}

static cm_status status_of(int result, const char *what)
{
    if (result == dnnl_success) return CM_OK;
    if (short_of_memory(result)) CM_FAIL(CM_ERR_MEMORY, "oneDNN ran out of memory: %s", what);
    CM_FAIL(CM_ERR_BACKEND, "oneDNN refused (%s): %s", status_text(result), what);
}

cm_status cmi_dnnl_make(int kind, int (*function)(void *), void *argument, const char *what)
{
    CM_TRY(require_memory(what));
    CM_TRY(cmi_dnnl_make_begin());
    int result = call_guarded(function, argument);
    cmi_dnnl_expect_exit(kind);
    cmi_dnnl_make_end();
    return status_of(result, what);
}

cm_status cmi_dnnl_run(int (*function)(void *), void *argument, const char *what)
{
    CM_TRY(cmi_dnnl_use_begin());
    int result = call_guarded(function, argument);
    cmi_dnnl_use_end();
    return status_of(result, what);
}

dnnl_status_t cmi_dnnl_attributes(dnnl_primitive_attr_t *out)
{
    dnnl_status_t s = dnnl_primitive_attr_create(out);
    if (s != dnnl_success) return s;
    s = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (s != dnnl_success) dnnl_primitive_attr_destroy(*out);
    return s;
}
