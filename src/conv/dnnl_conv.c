/* dnnl_conv.c - oneDNN's convolutions as rows of the tables. */
#include "conv/conv.h"

#include <string.h>

#include "tensor/desc.h"

/* The convolution whose values or gradients are meant, channels as its values see them. */
static cm_dnnl_conv_shape forward_shape(const cm_conv_shape *s)
{
    return (cm_dnnl_conv_shape){.n = s->n,
                                .h = s->h,
                                .w = s->w,
                                .c = s->transposed ? s->oc : s->c,
                                .oc = s->transposed ? s->c : s->oc,
                                .kernel = s->kernel,
                                .kernel_w = s->kernel_w ? s->kernel_w : s->kernel,
                                .stride = s->stride,
                                .pad = s->pad,
                                .pad_w = s->kernel_w ? s->pad_w : s->pad,
                                .has_bias = s->bias,
                                .relu = !s->transposed && s->relu};
}

static const cm_dnnl_primitive *primitive_of(const cm_dnnl_conv *d)
{
    return d->gradient ? d->gradient : d->direct.part[0];
}

static cm_status packing_create(cm_dnnl_conv *packer, const cm_dnnl_conv *d)
{
    memset(packer, 0, sizeof *packer);
    return cmi_dnnl_packing_create(primitive_of(d), &packer->packing);
}

static void release_all(cm_dnnl_conv *d)
{
    cmi_direct_conv_release(&d->direct);
    cmi_dnnl_primitive_free(d->gradient);
    cmi_dnnl_packing_free(d->packing);
}

static cm_status attach_gradient(const cm_dnnl_conv *d, void **local)
{
    cm_dnnl_call *call;
    cm_status status = cmi_dnnl_call_create(d->gradient, &call);
    *local = call;
    return status;
}

static cm_status attach_values(const cm_dnnl_conv *d, void **local)
{
    cm_direct_calls *calls;
    cm_status status = cmi_direct_calls_create(d->context, &d->direct, &calls);
    *local = calls;
    return status;
}

/* --- the row of the table ----------------------------------------------------------------------- */

/* Points that stand for four are the caller's to make large. */
static int fits(cm_convolution *conv, const cm_conv_options *options, const cm_conv_shape *s)
{
    (void)conv, (void)options;
    return !s->up;
}

static void fill_sizes(cm_convolution *conv, const cm_conv_shape *s)
{
    cm_dnnl_conv *d = &conv->as.dnnl;
    const cm_dnnl_conv_shape f = forward_shape(s);
    const int32_t h = s->transposed ? s->h : cmi_conv_size(f.h, f.kernel, f.stride, f.pad);
    const int32_t w = s->transposed ? s->w : cmi_conv_size(f.w, f.kernel_w, f.stride, f.pad_w);
    d->points = (size_t)s->n * (size_t)h * (size_t)w;
    d->outputs = (size_t)s->oc;
    d->zeros = d->gradient ? cmi_dnnl_scratch_bytes(d->gradient) : cmi_direct_conv_scratch_bytes(&d->direct);
    conv->name = cmi_dnnl_kernel_name(primitive_of(d));
    conv->packed_bytes = cmi_dnnl_packed_bytes(primitive_of(d));
    conv->scratch_bytes = d->zeros + (d->direct.shape.has_bias ? d->outputs * sizeof(float) : 0);
}

static cm_status create(cm_convolution *conv, const cm_conv_options *o, const cm_conv_shape *s)
{
    cm_dnnl_conv *d = &conv->as.dnnl;
    const cm_dnnl_conv_shape shape = forward_shape(s);
    *d = (cm_dnnl_conv){.context = o->context, .kernels = o->kernels, .threads = o->threads};
    if (s->transposed) CM_TRY(cmi_dnnl_conv_gradient_create(o->engine, &shape, 0, &d->gradient));
    else CM_TRY(cmi_direct_conv_create(o->engine, &shape, o->threads, &d->direct));
    conv->relus = shape.relu;
    fill_sizes(conv, s);
    return CM_OK;
}

static void release(cm_convolution *conv)
{
    release_all(&conv->as.dnnl);
}

static cm_status attach(const cm_convolution *conv, void **local)
{
    return conv->as.dnnl.gradient ? attach_gradient(&conv->as.dnnl, local) : attach_values(&conv->as.dnnl, local);
}

static void detach(const cm_convolution *conv, void *local)
{
    if (conv->as.dnnl.gradient) cmi_dnnl_call_free(local);
    else cmi_direct_calls_free(local);
}

static int same_weights(const cm_convolution *a, const cm_convolution *b)
{
    const cm_dnnl_conv *u = &a->as.dnnl, *d = &b->as.dnnl;
    if (u->packing) return cmi_dnnl_packing_fits(u->packing, primitive_of(d));
    return cmi_dnnl_same_layout(primitive_of(u), primitive_of(d));
}

static cm_status packer_create(cm_convolution *packer, const cm_convolution *conv)
{
    return packing_create(&packer->as.dnnl, &conv->as.dnnl);
}

static cm_status pack(const cm_convolution *conv, const float *plain, void *packed)
{
    return cmi_dnnl_packing_run(conv->as.dnnl.packing, plain, packed);
}

typedef struct {
    const cm_dnnl_conv *conv;
    const float *residual;
    float scale, *y;
} adding;

enum { PIECE = 64 }; /* points */

static cm_status residual_piece(void *user, int index, int worker)
{
    const adding *a = user;
    const size_t first = (size_t)index * PIECE, left = a->conv->points - first, outputs = a->conv->outputs;
    float *y = a->y + first * outputs;
    (void)worker;
    a->conv->kernels->pointwise->add((left < PIECE ? left : PIECE) * outputs, y, a->residual + first * outputs,
                                     a->scale, y);
    return CM_OK;
}

static cm_status run_values(const cm_dnnl_conv *d, const cm_conv_run *r)
{
    const float *bias = r->bias;
    if (!bias && d->direct.shape.has_bias)
        bias = memset((unsigned char *)r->scratch + d->zeros, 0, d->outputs * sizeof *bias);
    return cmi_direct_conv_run(&d->direct, r->local, r->x, r->weights, bias, r->y, r->scratch);
}

static cm_status run(const cm_convolution *conv, const cm_conv_run *r)
{
    const cm_dnnl_conv *d = &conv->as.dnnl;
    adding a = {d, r->residual, r->scale, r->y};
    if (d->gradient) CM_TRY(cmi_dnnl_execute(r->local, r->x, r->weights, NULL, r->y, r->scratch));
    else CM_TRY(run_values(d, r));
    return r->residual ? cmi_parallel(d->threads, (int)((d->points + PIECE - 1) / PIECE), residual_piece, &a) : CM_OK;
}

const cm_conv_algorithm cmi_conv_dnnl = {.name = "oneDNN",
                                         .small_memory = 1,
                                         .fits = fits,
                                         .same_weights = same_weights,
                                         .pack = pack,
                                         .run = run,
                                         .weight_gradient = &cmi_dnnl_weight_gradient,
                                         .create = create,
                                         .release = release,
                                         .attach = attach,
                                         .detach = detach,
                                         .packer_create = packer_create};

/* --- the weight gradient ------------------------------------------------------------------------ */

/* Of a 1 x 1 layer it is one product of matrices, which our own kernel makes faster; small memory is oneDNN's alone.
 */
static int is_product(const cm_conv_shape *s)
{
    return s->kernel == 1 && !s->kernel_w && s->stride == 1 && s->pad == 0 && s->c % 16 == 0 && s->oc % 16 == 0;
}

static cm_status gradient_create(cm_conv_gradient *g, const cm_conv_options *o, const cm_conv_shape *s)
{
    const cm_dnnl_conv_shape shape = forward_shape(s);
    if (is_product(s) && !o->small_memory) {
        g->algorithm = &cmi_winograd_weight_gradient;
        return g->algorithm->create(g, o, s);
    }
    CM_TRY(cmi_dnnl_conv_gradient_create(o->engine, &shape, 1, &g->as.dnnl.gradient));
    g->name = cmi_dnnl_kernel_name(g->as.dnnl.gradient);
    g->bytes = cmi_dnnl_packed_bytes(g->as.dnnl.gradient);
    g->scratch_bytes = cmi_dnnl_scratch_bytes(g->as.dnnl.gradient);
    return CM_OK;
}

static void gradient_release(cm_conv_gradient *g)
{
    release_all(&g->as.dnnl);
}

static cm_status gradient_attach(const cm_conv_gradient *g, void **local)
{
    return attach_gradient(&g->as.dnnl, local);
}

static void gradient_detach(const cm_conv_gradient *g, void *local)
{
    (void)g;
    cmi_dnnl_call_free(local);
}

static cm_status gradient_run(const cm_conv_gradient *g, const cm_conv_gradient_run *r)
{
    (void)g;
    return cmi_dnnl_execute(r->local, r->x, r->dy, r->dbias, r->dw, r->scratch);
}

static cm_status unpacker_create(cm_conv_gradient *unpacker, const cm_conv_gradient *g)
{
    return packing_create(&unpacker->as.dnnl, &g->as.dnnl);
}

static cm_status unpack(const cm_conv_gradient *g, const float *packed, float *plain)
{
    return cmi_dnnl_packing_run(g->as.dnnl.packing, packed, plain);
}

const cm_conv_gradient_algorithm cmi_dnnl_weight_gradient = {.create = gradient_create,
                                                             .run = gradient_run,
                                                             .unpack = unpack,
                                                             .release = gradient_release,
                                                             .attach = gradient_attach,
                                                             .detach = gradient_detach,
                                                             .unpacker_create = unpacker_create};
