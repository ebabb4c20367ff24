/* native.h - shared by the files of this folder only: oneDNN's types, and one
 * spelling for what 2.x and 3.x spell differently. */
#ifndef CM_DNNL_NATIVE_H
#define CM_DNNL_NATIVE_H

#include <oneapi/dnnl/dnnl.h>

#include "dnnl/backend.h"

struct cm_dnnl_engine {
    cm_context *context;
    dnnl_engine_t native;
};

enum { CM_DNNL_FORWARD = 0, CM_DNNL_BACKWARD_DATA = 1, CM_DNNL_BACKWARD_WEIGHTS = 2 };

struct cm_dnnl_primitive {
    cm_dnnl_engine *engine; /* borrowed: the plan keeps it */
    int kind;
    dnnl_primitive_desc_t desc, hint; /* hint: of a gradient, its forward convolution */
    dnnl_primitive_t native;
    int has_bias;
    int32_t weight_dims[4]; /* convolution: oc, c, kernel, kernel */
};

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t cm_md; /* an owned handle */
typedef const_dnnl_memory_desc_t cm_md_view;
#else
typedef struct {
    dnnl_memory_desc_t value;
} cm_md_box;
typedef cm_md_box *cm_md; /* a heap copy, so that both are pointers */
typedef const dnnl_memory_desc_t *cm_md_view;
#endif

/* A float32 tensor by tag, or by strides when `strides` is given. */
dnnl_status_t cmi_md_create(cm_md *out, int rank, const int64_t *dims, const int64_t *strides, dnnl_format_tag_t tag);
dnnl_status_t cmi_md_clone_queried(cm_md *out, const_dnnl_primitive_desc_t desc, dnnl_query_t what);
void cmi_md_free(cm_md md);
cm_md_view cmi_md_seen(cm_md md);
dnnl_status_t cmi_md_reorder(dnnl_primitive_desc_t *out, cm_md from, cm_md to, dnnl_engine_t engine);
dnnl_status_t cmi_md_memory(dnnl_memory_t *out, cm_md md, dnnl_engine_t engine, void *handle);

/* Runs `function` guarded and turns the result into a status; `what` says what
 * was attempted. */
cm_status cmi_dnnl_run(int (*function)(void *), void *argument, const char *what);

/* Kinds of things that are made; those of primitives are FORWARD and so on. */
enum { CM_DNNL_MATMUL = 3, CM_DNNL_ENGINE, CM_DNNL_PACKING, CM_DNNL_CALL, CM_DNNL_FIRST_RUN, CM_DNNL_DESCRIBED = 16 };

/* The same for a function that makes objects or generates code: CM_ERR_MEMORY before it is entered when memory is so
 * short that oneDNN could fall over it. */
cm_status cmi_dnnl_make(int kind, int (*function)(void *), void *argument, const char *what);

/* User-mode scratchpad, on which everything here relies. */
dnnl_status_t cmi_dnnl_attributes(dnnl_primitive_attr_t *out);

#define DNNL_TRY(expression)                                                                                         \
    do {                                                                                                             \
        dnnl_status_t dnnl_try_ = (expression);                                                                      \
        if (dnnl_try_ != dnnl_success) return (int)dnnl_try_;                                                        \
    } while (0)

#endif
