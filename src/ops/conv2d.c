/* conv2d.c - cross-correlation, weights OIHW, by the algorithms of conv/conv.h.  With a second input r the output is
 * (convolution + r) scale: the end of a residual block.  With `up` each point of x is taken four
 * times, as resampling by [1, 1] does: Winograd has forms of its own for that and its gradients; for
 * others the large image is made first.
 * The op with ReLU ends in max(y, 0), as the last step of the algorithms that have it and else as a pass of its own;
 * the output says where its slope is 0.
 *
 * Linear in x: the tangent is the same sum without bias.  dx correlates the
 * gradient with the rotated kernel, dw the input with the gradient; dr = scale dy,
 * which is what the convolution's own gradients begin with. */
#include "ops/op.h"

#include <string.h>

/* x as the convolution sees it. */
static cm_desc large(const cm_attr *attr, cm_desc x)
{
    const int32_t scale = attr->conv.up ? 2 : 1;
    return (cm_desc){x.n, scale * x.h, scale * x.w, x.c};
}

static int relus(const cm_op_plan *p)
{
    return p->op == &cmi_op_conv2d_relu;
}

static int32_t kernel_width(const cm_attr *attr)
{
    return attr->conv.kernel_w ? attr->conv.kernel_w : attr->conv.kernel;
}

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    const int32_t k = attr->conv.kernel, s = attr->conv.stride, pad = attr->conv.pad;
    const int32_t k_w = kernel_width(attr), pad_w = attr->conv.kernel_w ? attr->conv.pad_w : pad;
    const cm_desc x = large(attr, in[0]);
    if (x.h + 2 * pad < k || x.w + 2 * pad_w < k_w)
        CM_FAIL(CM_ERR_SHAPE, "conv2d: a %d x %d image is smaller than the %d x %d kernel", x.h, x.w, k, k_w);
    *out = (cm_desc){x.n, cmi_conv_size(x.h, k, s, pad), cmi_conv_size(x.w, k_w, s, pad_w), attr->conv.out};
    if (n_in > 1 && (in[1].h != out->h || in[1].w != out->w || in[1].c != out->c))
        CM_FAIL(CM_ERR_SHAPE, "conv2d: %d x %d x %d is added to %d x %d x %d (H x W x C)", in[1].h, in[1].w, in[1].c,
                out->h, out->w, out->c);
    return CM_OK;
}

typedef struct {
    cm_convolution conv, transposed; /* of x, and of the gradient */
    cm_conv_gradient gradient;       /* of the weights            */
    size_t scaled;                   /* where in the scratch memory a gradient stands that nobody else reads */
    int up;                          /* by the forms that take small points four times */
    int enlarges;                    /* else; x then stands                            */
    size_t enlarged;                 /* here, and in backward, later its gradient; behind it x's tangent */
} state;
static cm_conv_options options_of(const cm_op_plan *p)
{
    return (cm_conv_options){p->context, p->kernels, p->threads, p->bf16, p->small_memory};
}

/* By the forms for small points, `up`, a data gradient is of the large image. */
static cm_conv_shape conv_shape(const cm_op_plan *p, int transposed, int up)
{
    const cm_desc x = up && !transposed ? p->in[0] : large(p->attr, p->in[0]);
    const int32_t oc = p->attr->conv.out;
    const cm_conv_shape shape = {.n = x.n,
                                 .h = x.h,
                                 .w = x.w,
                                 .c = transposed ? oc : x.c,
                                 .oc = transposed ? x.c : oc,
                                 .kernel = p->attr->conv.kernel,
                                 .stride = p->attr->conv.stride,
                                 .pad = p->attr->conv.pad,
                                 .bias = p->attr->conv.bias,
                                 .transposed = transposed,
                                 .up = up,
                                 .kernel_w = p->attr->conv.kernel_w,
                                 .pad_w = p->attr->conv.pad_w};
    return shape;
}

/* Of values, and of their tangents with them. */
static cm_conv_shape forward_shape(const cm_op_plan *p, int up)
{
    cm_conv_shape shape = conv_shape(p, 0, up);
    shape.pair = cmi_op_moves(p) && (p->has_tangent & 1);
    shape.relu = relus(p) && p->n_in == 1 && !shape.pair;
    return shape;
}

/* The algorithm, and whether it takes small points. */
static int choose(const cm_op_plan *p, cm_convolution *conv)
{
    const cm_conv_options options = options_of(p);
    for (int up = p->attr->conv.up; up >= 0; up--) {
        const cm_conv_shape shape = forward_shape(p, up);
        cmi_conv_init(conv, &options, &shape);
        if (conv->algorithm) return up;
    }
    return 0;
}

static double work(const cm_op_plan *p)
{
    return (double)cmi_desc_count(p->out) * p->attr->conv.kernel * kernel_width(p->attr) * p->in[0].c;
}

static unsigned offers_bf16(const cm_op_plan *p)
{
    cm_convolution conv;
    (void)choose(p, &conv);
    return conv.takes_bf16 && !relus(p) ? 1 | CM_BF16_OUT : 0;
}

static void need(cm_op_plan *p, size_t bytes)
{
    if (bytes > p->scratch_bytes) p->scratch_bytes = bytes;
}

static cm_status prepare_forward(cm_op_plan *p, state *s)
{
    s->up = choose(p, &s->conv);
    s->enlarges = p->attr->conv.up && !s->up;
    if (p->stored_bf16) cmi_conv_hold(&s->conv, p->stored_bf16 & 1, (p->stored_bf16 & CM_BF16_OUT) != 0);
    const cm_conv_shape shape = forward_shape(p, s->up);
    CM_TRY(cmi_conv_check(&s->conv, &shape));
    need(p, s->conv.scratch_bytes);
    p->packer[0] = &s->conv;
    return CM_OK;
}

static cm_status prepare_weight_gradient(cm_op_plan *p, state *s)
{
    const cm_conv_options options = options_of(p);
    const cm_conv_shape shape = conv_shape(p, 0, s->up);
    CM_TRY(cmi_conv_gradient_create(&s->gradient, &s->conv, &options, &shape));
    need(p, s->gradient.scratch_bytes);
    p->unpacker = &s->gradient;
    return CM_OK;
}

/* Gradients are not differences of close values, as what the objectives divide is: their products
 * may take the tile of samplers (docs/recipes.md has the quality of both). */
static cm_status prepare_data_gradient(cm_op_plan *p, state *s)
{
    cm_conv_options options = options_of(p);
    const cm_conv_shape shape = conv_shape(p, 1, s->up);
    options.threads = cmi_one_thread();
    if (options.bf16 == CM_WINOGRAD_2X2) options.bf16 = CM_WINOGRAD_2X4;
    cmi_conv_init(&s->transposed, &options, &shape);
    cmi_conv_take_plain(&s->transposed);
    CM_TRY(cmi_conv_check(&s->transposed, &shape));
    need(p, s->transposed.scratch_bytes);
    p->back_packer = &s->transposed;
    return CM_OK;
}

static size_t enlarged_bytes(const cm_op_plan *p)
{
    return cmi_desc_count(large(p->attr, p->in[0])) * sizeof(float);
}

static cm_status prepare(cm_op_plan *p)
{
    state *s = cmi_calloc(p->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    p->state = s;
    CM_TRY(prepare_forward(p, s));
    if (cmi_op_trains(p)) {
        if (!p->frozen) CM_TRY(prepare_weight_gradient(p, s));
        if (p->needs_gradient & 1) CM_TRY(prepare_data_gradient(p, s));
    }
    s->scaled = (p->scratch_bytes + 63) / 64 * 64;
    if (cmi_op_trains(p) && (p->n_in > 1 ? !(p->needs_gradient & 2) || cmi_op_moves(p) : relus(p)))
        p->scratch_bytes = s->scaled + cmi_desc_count(p->out) * sizeof(float);
    s->enlarged = (p->scratch_bytes + 63) / 64 * 64;
    if (s->enlarges) p->scratch_bytes = s->enlarged + (cmi_op_moves(p) ? 2 : 1) * enlarged_bytes(p);
    return CM_OK;
}

static void release(cm_op_plan *p)
{
    cmi_free(p->context, p->state);
}

/* --- x enlarged ------------------------------------------------------------- */

static float *enlarged_of(const cm_op_run *r)
{
    return (float *)(void *)((unsigned char *)r->scratch + ((const state *)r->p->state)->enlarged);
}

typedef struct {
    const cm_op_run *run;
    const unsigned char *x;
    float *to;
} enlarging;

/* One row of points to two. */
static cm_status enlarge_piece(void *user, int index, int worker)
{
    const enlarging *e = user;
    const cm_desc x = e->run->p->in[0];
    const size_t point = (size_t)x.c * (e->run->p->stored_bf16 & 1 ? sizeof(uint16_t) : sizeof(float));
    const size_t row = (size_t)x.w * point;
    const unsigned char *from = e->x + (size_t)index * row;
    unsigned char *to = (unsigned char *)e->to + (size_t)index * 4 * row;
    (void)worker;
    for (size_t i = 0; i < 2 * (size_t)x.w; i++) memcpy(to + i * point, from + i / 2 * point, point);
    memcpy(to + 2 * row, to, 2 * row);
    return CM_OK;
}

/* Makes x (or its tangent) large. */
static cm_status enlarge(const cm_op_run *r, float *to, const void **x)
{
    const cm_desc d = r->p->in[0];
    enlarging e = {r, *x, to};
    *x = to;
    return cmi_parallel(r->p->threads, d.n * d.h, enlarge_piece, &e);
}

/* The gradient of the large image to that of the small: sums of four. */
static void shrink(const cm_op_run *r, float *dx)
{
    const cm_desc x = r->p->in[0];
    const size_t c = (size_t)x.c, w = (size_t)x.w;
    const float *from = enlarged_of(r);
    for (size_t row = 0; row < (size_t)x.n * (size_t)x.h; row++, from += 2 * w * c)
        for (size_t i = 0; i < w; i++, from += 2 * c, dx += c) {
            r->p->kernels->pointwise->add(c, from, from + c, 1, dx);
            r->p->kernels->pointwise->axpy(c, 1, from + 2 * w * c, dx);
            r->p->kernels->pointwise->axpy(c, 1, from + 2 * w * c + c, dx);
        }
}

/* A run of x, bias and r. */
static cm_conv_run run_of(const cm_op_run *r)
{
    return (cm_conv_run){.x = r->in[0],
                         .weights = r->param[0],
                         .bias = r->param[1],
                         .residual = r->in[1],
                         .scale = r->p->attr->conv.scale,
                         .y = r->out,
                         .scratch = r->scratch};
}

static cm_status relu_piece(void *user, int index, int worker)
{
    const cm_op_run *r = user;
    const size_t c = (size_t)r->p->out.c;
    float *y = (float *)r->out + (size_t)index * 64 * c;
    (void)worker;
    r->p->kernels->pointwise->relu(cmi_op_piece_rows(cmi_desc_pixels(r->p->out), index) * c, y, y);
    return CM_OK;
}

/* Where the algorithm has not. */
static cm_status rectify(const cm_op_run *r)
{
    if (!relus(r->p) || ((const state *)r->p->state)->conv.relus) return CM_OK;
    return cmi_parallel(r->p->threads, cmi_op_row_pieces(cmi_desc_pixels(r->p->out)), relu_piece,
                        (void *)(uintptr_t)r);
}

static cm_status forward(const cm_op_run *r)
{
    const state *s = r->p->state;
    cm_conv_run run = run_of(r);
    if (s->enlarges) CM_TRY(enlarge(r, enlarged_of(r), &run.x));
    CM_TRY(cmi_conv_run(&s->conv, &run));
    return rectify(r);
}

/* The gradient of the convolution itself. */
static const float *inner_gradient(const cm_op_run *r)
{
    const state *s = r->p->state;
    const cm_pointwise *loops = r->p->kernels->pointwise;
    const size_t n = cmi_desc_count(r->p->out);
    const float *dy = r->dout;
    if (r->p->n_in == 1 && !relus(r->p)) return dy;
    float *own = r->din[1] ? r->din[1] : (float *)(void *)((unsigned char *)r->scratch + s->scaled);
    if (relus(r->p)) {
        loops->relu_back(n, r->out, dy, own);
        dy = own;
    }
    if (r->p->n_in > 1) loops->scale(n, r->p->attr->conv.scale, dy, own);
    return own;
}

static cm_status data_gradient(const cm_op_run *r, const float *dy)
{
    const state *s = r->p->state;
    const cm_conv_run run = {
        .x = dy, .weights = r->back_param, .y = s->enlarges ? enlarged_of(r) : r->din[0], .scratch = r->scratch};
    CM_TRY(cmi_conv_run(&s->transposed, &run));
    if (s->enlarges) shrink(r, r->din[0]);
    return CM_OK;
}

static cm_status backward(const cm_op_run *r)
{
    const state *s = r->p->state;
    const float *dy = inner_gradient(r);
    const void *x = r->in[0];
    if (r->din[0]) CM_TRY(data_gradient(r, dy));
    if (r->p->frozen || !x) return CM_OK; /* a tangent of r alone */
    if (s->enlarges) CM_TRY(enlarge(r, enlarged_of(r), &x));
    const cm_conv_gradient_run run = {
        .x = x, .dy = dy, .dw = r->dparam[0], .dbias = r->dparam[1], .scratch = r->scratch};
    return cmi_conv_gradient_run(&s->gradient, &run);
}

static void scale_tangent(const cm_op_run *r, const float *from)
{
    r->p->kernels->pointwise->scale(cmi_desc_count(r->p->out), r->p->attr->conv.scale, from, r->tout);
}

static cm_status linear_both(const cm_op_run *r)
{
    const state *s = r->p->state;
    cm_conv_run run = run_of(r);
    if (!r->tin[0]) { /* the tangent of r alone */
        scale_tangent(r, r->tin[1]);
        return forward(r);
    }
    run.x_tangent = r->tin[0];
    run.residual_tangent = r->tin[1];
    run.y_tangent = r->tout;
    if (s->enlarges) {
        float *second = enlarged_of(r) + enlarged_bytes(r->p) / sizeof(float);
        CM_TRY(enlarge(r, enlarged_of(r), &run.x));
        CM_TRY(enlarge(r, second, &run.x_tangent));
    }
    CM_TRY(cmi_conv_run(&s->conv, &run));
    if (r->p->n_in > 1 && !r->tin[1]) scale_tangent(r, r->tout);
    return rectify(r);
}

/* Value and tangent of the convolution take the same way; where the value ends in 0, the tangent does. */
static cm_status both(const cm_op_run *r)
{
    CM_TRY(linear_both(r));
    if (relus(r->p)) r->p->kernels->pointwise->relu_back(cmi_desc_count(r->p->out), r->out, r->tout, r->tout);
    return CM_OK;
}

const cm_op cmi_op_conv2d = {.name = "conv2d",
                             .saves = 1,
                             .saves_for_params = 1,
                             .flags = CM_OP_FREEZES | CM_OP_LINEAR,
                             .shape = shape,
                             .work = work,
                             .offers_bf16 = offers_bf16,
                             .prepare = prepare,
                             .release = release,
                             .forward = forward,
                             .backward = backward,
                             .both = both};

const cm_op cmi_op_conv2d_relu = {.name = "conv2d relu",
                                  .saves = 1,
                                  .saves_for_params = 1,
                                  .flags = CM_OP_FREEZES | CM_OP_SAVES_OUT | CM_OP_LINEAR,
                                  .shape = shape,
                                  .work = work,
                                  .offers_bf16 = offers_bf16,
                                  .prepare = prepare,
                                  .release = release,
                                  .forward = forward,
                                  .backward = backward,
                                  .both = both};
