/* conv2d.c - cross-correlation, weights OIHW packed by the backend. */
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    int32_t k = attr->conv.kernel, s = attr->conv.stride, pad = attr->conv.pad;
    if (in->h + 2 * pad < k || in->w + 2 * pad < k)
        CM_FAIL(CM_ERR_SHAPE, "conv2d: a %d x %d image is smaller than the %d x %d kernel", in->h, in->w, k, k);
    *out = (cm_desc){in->n, cm_dnnl_conv_size(in->h, k, s, pad), cm_dnnl_conv_size(in->w, k, s, pad), attr->conv.out};
    return CM_OK;
}

static cm_status prepare(cm_op_plan *p)
{
    const cm_dnnl_conv_shape shape = {p->in[0].n,           p->in[0].h,        p->in[0].w,
                                      p->in[0].c,           p->attr->conv.out, p->attr->conv.kernel,
                                      p->attr->conv.stride, p->attr->conv.pad, p->attr->conv.bias};
    cm_dnnl_primitive *primitive;
    CM_TRY(cm_dnnl_conv_create(p->engine, &shape, p->threads, &primitive));
    p->state = primitive;
    p->packer[0] = primitive;
    p->scratch_bytes = cm_dnnl_scratch_bytes(primitive);
    return CM_OK;
}

static void release(cm_op_plan *p)
{
    cm_dnnl_primitive_free(p->state);
}

static cm_status attach(const cm_op_plan *p, void **local)
{
    cm_dnnl_call *call;
    CM_TRY(cm_dnnl_call_create(p->state, &call));
    *local = call;
    return CM_OK;
}

static void detach(const cm_op_plan *p, void *local)
{
    (void)p;
    cm_dnnl_call_free(local);
}

static cm_status forward(const cm_op_run *r)
{
    return cm_dnnl_execute(r->local, r->in[0], r->param[0], r->param[1], r->out, r->scratch);
}

const cm_op cm_op_conv2d = {"conv2d", 0, shape, prepare, release, attach, detach, forward, NULL, NULL};
