/* primitive.c - convolutions and matrix products: make, pack, execute. */
#include <stdio.h>
#include <string.h>

#include "dnnl/forked.h"
#include "dnnl/native.h"
#include "tensor/desc.h"

/* Where a primitive's weights, or their gradient, stand among its memory. */
static dnnl_query_t weights_query(const cm_dnnl_primitive *p)
{
    return p->kind == CM_DNNL_BACKWARD_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md;
}

static cm_md_view weights_of(const cm_dnnl_primitive *p)
{
    return dnnl_primitive_desc_query_md(p->desc, weights_query(p), 0);
}

static const char *kernel_name(const_dnnl_primitive_desc_t desc)
{
    const char *name = NULL;
    if (dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) != dnnl_success || !name)
        return "unknown";
    return name;
}

/* --- creation ---------------------------------------------------------- */

typedef struct {
    cm_dnnl_primitive *primitive;
    const cm_dnnl_conv_shape *conv;
    const cm_dnnl_matmul_shape *matmul;
} creation;

/* The four descriptors of a creation, freed together. */
typedef struct {
    cm_md src, weights, bias, dst;
} descs;

static void free_descs(descs *d)
{
    cmi_md_free(d->src);
    cmi_md_free(d->weights);
    cmi_md_free(d->bias);
    cmi_md_free(d->dst);
}

/* What a convolution's descriptor is made of besides memory. */
typedef struct {
    dnnl_dims_t stride, low, high;
} window;

#if DNNL_VERSION_MAJOR >= 3

/* These pack weights in blocks that fit the number of images and threads, so the plans of a
 * model could not share them: twice the memory.  The kernels of 2.6 come after them. */
static int layout_depends_on_threads(const_dnnl_primitive_desc_t desc)
{
    const char *name = kernel_name(desc);
    return strcmp(name, "brgconv:avx2") == 0 || strcmp(name, "brgconv_1x1:avx2") == 0;
}

static dnnl_status_t forward_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const descs *d, const window *w,
                                  dnnl_primitive_attr_t attr)
{
    const dnnl_dims_t dilates = {0, 0};
    dnnl_status_t s = dnnl_convolution_forward_primitive_desc_create(
        out, engine, dnnl_forward_inference, dnnl_convolution_direct, d->src, d->weights, d->bias, d->dst, w->stride,
        dilates, w->low, w->high, attr);
    while (s == dnnl_success && layout_depends_on_threads(*out)) s = dnnl_primitive_desc_next_impl(*out);
    return s;
}

static dnnl_status_t gradient_desc(cm_dnnl_primitive *p, const descs *d, const window *w, dnnl_primitive_attr_t attr)
{
    const dnnl_dims_t dilates = {0, 0};
    if (p->kind == CM_DNNL_BACKWARD_DATA)
        return dnnl_convolution_backward_data_primitive_desc_create(
            &p->desc, p->engine->native, dnnl_convolution_direct, d->src, d->weights, d->dst, w->stride, dilates,
            w->low, w->high, p->hint, attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(
        &p->desc, p->engine->native, dnnl_convolution_direct, d->src, d->weights, d->bias, d->dst, w->stride, dilates,
        w->low, w->high, p->hint, attr);
}

static dnnl_status_t matmul_desc(cm_dnnl_primitive *p, descs *d, dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(&p->desc, p->engine->native, d->src, d->weights, NULL, d->dst, attr);
}
#else
static const dnnl_memory_desc_t *bias_of(const descs *d)
{
    return d->bias ? &d->bias->value : NULL;
}

static dnnl_status_t forward_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const descs *d, const window *w,
                                  dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t op;
    dnnl_status_t s = dnnl_convolution_forward_desc_init(&op, dnnl_forward_inference, dnnl_convolution_direct,
                                                         &d->src->value, &d->weights->value, bias_of(d),
                                                         &d->dst->value, w->stride, w->low, w->high);
    if (s != dnnl_success) return s;
    return dnnl_primitive_desc_create(out, &op, attr, engine, NULL);
}

static dnnl_status_t gradient_desc(cm_dnnl_primitive *p, const descs *d, const window *w, dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t op;
    dnnl_status_t s =
        p->kind == CM_DNNL_BACKWARD_DATA
            ? dnnl_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, &d->src->value,
                                                       &d->weights->value, &d->dst->value, w->stride, w->low, w->high)
            : dnnl_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, &d->src->value,
                                                          &d->weights->value, bias_of(d), &d->dst->value, w->stride,
                                                          w->low, w->high);
    if (s != dnnl_success) return s;
    return dnnl_primitive_desc_create(&p->desc, &op, attr, p->engine->native, p->hint);
}

static dnnl_status_t matmul_desc(cm_dnnl_primitive *p, descs *d, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t op;
    dnnl_status_t s = dnnl_matmul_desc_init(&op, &d->src->value, &d->weights->value, NULL, &d->dst->value);
    if (s != dnnl_success) return s;
    return dnnl_primitive_desc_create(&p->desc, &op, attr, p->engine->native, NULL);
}
#endif

/* A gradient is asked for with its forward convolution as a hint. */
static dnnl_status_t conv_desc(cm_dnnl_primitive *p, const descs *d, const window *w, dnnl_primitive_attr_t attr)
{
    if (p->kind == CM_DNNL_FORWARD) return forward_desc(&p->desc, p->engine->native, d, w, attr);
    dnnl_status_t s = forward_desc(&p->hint, p->engine->native, d, w, attr);
    return s == dnnl_success ? gradient_desc(p, d, w, attr) : s;
}

static dnnl_status_t describe_conv(cm_dnnl_primitive *p, const cm_dnnl_conv_shape *c, dnnl_primitive_attr_t attr)
{
    descs d = {NULL, NULL, NULL, NULL};
    int32_t oh = c->rows ? c->rows : cmi_conv_size(c->h, c->kernel, c->stride, c->pad);
    int32_t top = c->rows ? c->top : c->pad;
    int32_t ow = cmi_conv_size(c->w, c->kernel_w, c->stride, c->pad_w);
    const dnnl_dims_t src = {c->n, c->c, c->h, c->w}, dst = {c->n, c->oc, oh, ow}, bias = {c->oc};
    const dnnl_dims_t weights = {c->oc, c->c, c->kernel, c->kernel_w};
    const window w = {
        {c->stride, c->stride},
        {top, c->pad_w},
        {(oh - 1) * c->stride + c->kernel - c->h - top, (ow - 1) * c->stride + c->kernel_w - c->w - c->pad_w}};
    dnnl_status_t s = cmi_md_create(&d.src, 4, src, NULL, dnnl_nhwc);
    if (s == dnnl_success) s = cmi_md_create(&d.weights, 4, weights, NULL, dnnl_format_tag_any);
    if (s == dnnl_success && c->has_bias) s = cmi_md_create(&d.bias, 1, bias, NULL, dnnl_a);
    if (s == dnnl_success) s = cmi_md_create(&d.dst, 4, dst, NULL, dnnl_nhwc);
    if (s == dnnl_success) s = conv_desc(p, &d, &w, attr);
    free_descs(&d);
    p->has_bias = c->has_bias && p->kind != CM_DNNL_BACKWARD_DATA;
    for (int i = 0; i < 4; i++) p->weight_dims[i] = (int32_t)weights[i];
    return s;
}

static dnnl_status_t describe_matmul(cm_dnnl_primitive *p, const cm_dnnl_matmul_shape *m, dnnl_primitive_attr_t attr)
{
    descs d = {NULL, NULL, NULL, NULL};
    const dnnl_dims_t a = {m->m, m->k}, b = {m->k, m->n}, dst = {m->m, m->n};
    const dnnl_dims_t transposed_a = {1, m->m}, transposed_b = {1, m->k};
    dnnl_status_t s = cmi_md_create(&d.src, 2, a, m->a_transposed ? transposed_a : NULL, dnnl_ab);
    if (s == dnnl_success) s = cmi_md_create(&d.weights, 2, b, m->b_transposed ? transposed_b : NULL, dnnl_ab);
    if (s == dnnl_success) s = cmi_md_create(&d.dst, 2, dst, NULL, dnnl_ab);
    if (s == dnnl_success) s = matmul_desc(p, &d, attr);
    free_descs(&d);
    return s;
}

/* Values become max(v, 0) last. */
static dnnl_status_t add_relu(dnnl_primitive_attr_t attr)
{
    dnnl_post_ops_t last;
    dnnl_status_t s = dnnl_post_ops_create(&last);
    if (s != dnnl_success) return s;
#if DNNL_VERSION_MAJOR >= 3
    s = dnnl_post_ops_append_eltwise(last, dnnl_eltwise_relu, 0, 0);
#else
    s = dnnl_post_ops_append_eltwise(last, 1, dnnl_eltwise_relu, 0, 0);
#endif
    if (s == dnnl_success) s = dnnl_primitive_attr_set_post_ops(attr, last);
    dnnl_post_ops_destroy(last);
    return s;
}

static int create(void *argument)
{
    creation *c = argument;
    dnnl_primitive_attr_t attr;
    DNNL_TRY(cmi_dnnl_attributes(&attr));
    dnnl_status_t s = dnnl_success;
    if (c->conv && c->conv->relu) s = add_relu(attr);
    if (s == dnnl_success)
        s = c->conv ? describe_conv(c->primitive, c->conv, attr) : describe_matmul(c->primitive, c->matmul, attr);
    dnnl_primitive_attr_destroy(attr);
    /* Its maps are there, and generating code takes a while. */
    cmi_dnnl_expect_exit(CM_DNNL_DESCRIBED + (c->conv ? c->primitive->kind : CM_DNNL_MATMUL));
    if (s == dnnl_success) s = dnnl_primitive_create(&c->primitive->native, c->primitive->desc);
    return (int)s;
}

static cm_status create_primitive(cm_dnnl_engine *engine, creation *c, int kind, const char *what,
                                  cm_dnnl_primitive **out)
{
    *out = NULL;
    c->primitive = cmi_calloc(engine->context, 1, sizeof *c->primitive);
    if (!c->primitive) return CM_ERR_MEMORY;
    c->primitive->engine = engine;
    c->primitive->kind = kind;
    cm_status status = cmi_dnnl_make(c->matmul ? CM_DNNL_MATMUL : kind, create, c, what);
    if (status != CM_OK) cmi_dnnl_primitive_free(c->primitive);
    else *out = c->primitive;
    return status;
}

static void name_conv(char *what, size_t size, const char *kind, const cm_dnnl_conv_shape *shape)
{
    (void)snprintf(what, size, "convolution%s %dx%d, %d -> %d channels, stride %d, on %d x %d x %d", kind,
                   shape->kernel, shape->kernel_w, shape->c, shape->oc, shape->stride, shape->n, shape->h, shape->w);
}

cm_status cmi_dnnl_conv_create(cm_dnnl_engine *engine, const cm_dnnl_conv_shape *shape, cm_dnnl_primitive **out)
{
    char what[128];
    creation c = {.conv = shape};
    name_conv(what, sizeof what, "", shape);
    return create_primitive(engine, &c, CM_DNNL_FORWARD, what, out);
}

cm_status cmi_dnnl_conv_gradient_create(cm_dnnl_engine *engine, const cm_dnnl_conv_shape *shape, int of_weights,
                                        cm_dnnl_primitive **out)
{
    char what[128];
    creation c = {.conv = shape};
    name_conv(what, sizeof what, of_weights ? " weight gradient" : " data gradient", shape);
    return create_primitive(engine, &c, of_weights ? CM_DNNL_BACKWARD_WEIGHTS : CM_DNNL_BACKWARD_DATA, what, out);
}

cm_status cmi_dnnl_matmul_create(cm_dnnl_engine *engine, const cm_dnnl_matmul_shape *shape, cm_dnnl_primitive **out)
{
    char what[128];
    creation c = {.matmul = shape};
    (void)snprintf(what, sizeof what, "matrix product [%d,%d] x [%d,%d]", shape->m, shape->k, shape->k, shape->n);
    return create_primitive(engine, &c, CM_DNNL_FORWARD, what, out);
}

void cmi_dnnl_primitive_free(cm_dnnl_primitive *p)
{
    if (!p) return;
    if (cmi_dnnl_use_begin() == CM_OK) {
        if (p->native) dnnl_primitive_destroy(p->native);
        if (p->desc) dnnl_primitive_desc_destroy(p->desc);
        if (p->hint) dnnl_primitive_desc_destroy(p->hint);
        cmi_dnnl_use_end();
    }
    cmi_free(p->engine->context, p);
}

size_t cmi_dnnl_scratch_bytes(const cm_dnnl_primitive *p)
{
    cm_md_view scratch = dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0);
    return scratch ? dnnl_memory_desc_get_size(scratch) : 0;
}

size_t cmi_dnnl_packed_bytes(const cm_dnnl_primitive *p)
{
    return dnnl_memory_desc_get_size(weights_of(p));
}

const char *cmi_dnnl_kernel_name(const cm_dnnl_primitive *p)
{
    return kernel_name(p->desc);
}

int cmi_dnnl_same_layout(const cm_dnnl_primitive *a, const cm_dnnl_primitive *b)
{
    return dnnl_memory_desc_equal(weights_of(a), weights_of(b));
}

/* --- packing ----------------------------------------------------------- */

struct cm_dnnl_packing {
    cm_context *context;
    const cm_dnnl_primitive *primitive; /* while it is made */
    const void *from_data;
    void *to_data;
    cm_md plain, packed;
    dnnl_memory_t from, to;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    dnnl_stream_t stream;
};

static int create_packing(void *argument)
{
    cm_dnnl_packing *k = argument;
    const cm_dnnl_primitive *p = k->primitive;
    dnnl_engine_t engine = p->engine->native;
    int unpack = p->kind == CM_DNNL_BACKWARD_WEIGHTS;
    const dnnl_dims_t dims = {p->weight_dims[0], p->weight_dims[1], p->weight_dims[2], p->weight_dims[3]};
    DNNL_TRY(cmi_md_create(&k->plain, 4, dims, NULL, dnnl_oihw));
    DNNL_TRY(cmi_md_clone_queried(&k->packed, p->desc, weights_query(p)));
    cm_md from = unpack ? k->packed : k->plain, to = unpack ? k->plain : k->packed;
    DNNL_TRY(cmi_md_memory(&k->from, from, engine, DNNL_MEMORY_NONE));
    DNNL_TRY(cmi_md_memory(&k->to, to, engine, DNNL_MEMORY_NONE));
    DNNL_TRY(cmi_md_reorder(&k->desc, from, to, engine));
    cmi_dnnl_expect_exit(CM_DNNL_DESCRIBED + CM_DNNL_PACKING);
    DNNL_TRY(dnnl_primitive_create(&k->reorder, k->desc));
    return (int)dnnl_stream_create(&k->stream, engine, dnnl_stream_default_flags);
}

cm_status cmi_dnnl_packing_create(const cm_dnnl_primitive *primitive, cm_dnnl_packing **out)
{
    *out = NULL;
    cm_dnnl_packing *k = cmi_calloc(primitive->engine->context, 1, sizeof *k);
    if (!k) return CM_ERR_MEMORY;
    k->context = primitive->engine->context;
    k->primitive = primitive;
    cm_status status =
        cmi_dnnl_make(CM_DNNL_PACKING, create_packing, k, "prepare to pack the weights of a convolution");
    if (status != CM_OK) cmi_dnnl_packing_free(k);
    else *out = k;
    return status;
}

void cmi_dnnl_packing_free(cm_dnnl_packing *k)
{
    if (!k) return;
    if (cmi_dnnl_use_begin() == CM_OK) {
        if (k->stream) dnnl_stream_destroy(k->stream);
        if (k->reorder) dnnl_primitive_destroy(k->reorder);
        if (k->desc) dnnl_primitive_desc_destroy(k->desc);
        if (k->from) dnnl_memory_destroy(k->from);
        if (k->to) dnnl_memory_destroy(k->to);
        cmi_md_free(k->plain);
        cmi_md_free(k->packed);
        cmi_dnnl_use_end();
    }
    cmi_free(k->context, k);
}

static int run_packing(void *argument)
{
    cm_dnnl_packing *k = argument;
    const dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, k->from}, {DNNL_ARG_TO, k->to}};
    DNNL_TRY(dnnl_memory_set_data_handle(k->from, (void *)(uintptr_t)k->from_data));
    DNNL_TRY(dnnl_memory_set_data_handle(k->to, k->to_data));
    DNNL_TRY(dnnl_primitive_execute(k->reorder, k->stream, 2, args));
    return (int)dnnl_stream_wait(k->stream);
}

cm_status cmi_dnnl_packing_run(cm_dnnl_packing *packing, const void *from, void *to)
{
    packing->from_data = from;
    packing->to_data = to;
    return cmi_dnnl_run(run_packing, packing, "pack the weights of a convolution");
}

int cmi_dnnl_packing_fits(const cm_dnnl_packing *packing, const cm_dnnl_primitive *primitive)
{
    return dnnl_memory_desc_equal(cmi_md_seen(packing->packed), weights_of(primitive));
}

/* --- execution --------------------------------------------------------- */

enum { SRC, WEIGHTS, BIAS_ARG, DST, SCRATCH, ARGS };

struct cm_dnnl_call {
    const cm_dnnl_primitive *primitive;
    dnnl_stream_t stream;
    dnnl_memory_t memory[ARGS]; /* NULL where the primitive has no such argument */
    const void *handle[ARGS];   /* of the next execution */
    int ran;                    /* the first execution may generate code */
};

/* Which descriptor and which argument stand behind SRC, WEIGHTS, BIAS_ARG, DST
 * and SCRATCH of each kind. */
static const dnnl_query_t queries[3][ARGS] = {
    {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_weights_md, dnnl_query_dst_md, dnnl_query_scratchpad_md},
    {dnnl_query_diff_dst_md, dnnl_query_weights_md, dnnl_query_weights_md, dnnl_query_diff_src_md,
     dnnl_query_scratchpad_md},
    {dnnl_query_src_md, dnnl_query_diff_dst_md, dnnl_query_diff_weights_md, dnnl_query_diff_weights_md,
     dnnl_query_scratchpad_md}};
static const int arguments[3][ARGS] = {
    {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD},
    {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DIFF_SRC, DNNL_ARG_SCRATCHPAD},
    {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_SCRATCHPAD}};

static int create_call(void *argument)
{
    cm_dnnl_call *call = argument;
    const cm_dnnl_primitive *p = call->primitive;
    DNNL_TRY(dnnl_stream_create(&call->stream, p->engine->native, dnnl_stream_default_flags));
    for (int i = 0; i < ARGS; i++) {
        cm_md md;
        if (i == BIAS_ARG) {
            const dnnl_dims_t dims = {p->weight_dims[0]};
            if (!p->has_bias) continue;
            DNNL_TRY(cmi_md_create(&md, 1, dims, NULL, dnnl_a));
        } else {
            DNNL_TRY(cmi_md_clone_queried(&md, p->desc, queries[p->kind][i]));
        }
        dnnl_status_t s = cmi_md_memory(&call->memory[i], md, p->engine->native, DNNL_MEMORY_NONE);
        cmi_md_free(md);
        DNNL_TRY(s);
    }
    return (int)dnnl_success;
}

cm_status cmi_dnnl_call_create(const cm_dnnl_primitive *primitive, cm_dnnl_call **out)
{
    *out = NULL;
    cm_dnnl_call *call = cmi_calloc(primitive->engine->context, 1, sizeof *call);
    if (!call) return CM_ERR_MEMORY;
    call->primitive = primitive;
    cm_status status = cmi_dnnl_make(CM_DNNL_CALL, create_call, call, "create memory objects");
    if (status != CM_OK) cmi_dnnl_call_free(call);
    else *out = call;
    return status;
}

void cmi_dnnl_call_free(cm_dnnl_call *call)
{
    if (!call) return;
    if (cmi_dnnl_use_begin() == CM_OK) {
        for (int i = 0; i < ARGS; i++)
            if (call->memory[i]) dnnl_memory_destroy(call->memory[i]);
        if (call->stream) dnnl_stream_destroy(call->stream);
        cmi_dnnl_use_end();
    }
    cmi_free(call->primitive->engine->context, call);
}

static int execute(void *argument)
{
    cm_dnnl_call *call = argument;
    dnnl_exec_arg_t args[ARGS];
    int n = 0;
    for (int i = 0; i < ARGS; i++) {
        if (!call->memory[i]) continue;
        DNNL_TRY(dnnl_memory_set_data_handle(call->memory[i], (void *)(uintptr_t)call->handle[i]));
        args[n].arg = arguments[call->primitive->kind][i];
        args[n++].memory = call->memory[i];
    }
    DNNL_TRY(dnnl_primitive_execute(call->primitive->native, call->stream, n, args));
    return (int)dnnl_stream_wait(call->stream);
}

static cm_status run_call(cm_dnnl_call *call)
{
    const cm_dnnl_primitive *p = call->primitive;
    int kind = CM_DNNL_FIRST_RUN + (p->weight_dims[0] ? p->kind : CM_DNNL_MATMUL);
    cm_status status = call->ran ? cmi_dnnl_run(execute, call, "execute a primitive")
                                 : cmi_dnnl_make(kind, execute, call, "execute a primitive");
    call->ran |= status == CM_OK;
    return status;
}

cm_status cmi_dnnl_execute(cm_dnnl_call *call, const void *src, const void *weights, const void *bias, void *dst,
                           void *scratch)
{
    call->handle[SRC] = src;
    call->handle[WEIGHTS] = weights;
    call->handle[BIAS_ARG] = bias;
    call->handle[DST] = dst;
    call->handle[SCRATCH] = scratch;
    return run_call(call);
}
