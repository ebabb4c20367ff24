/* attention.c - softmax(q k^T / sqrt(d)) v per head, float32.  Of one input q, k and v are its
 * 3C channels; of two the first is q, the second both k and v (nets/fold.h).
 *
 * Values, gradients and tangents are attention_f32.h; on processors with AMX values are attention_amx.h.  Blocks of
 * 64 queries are independent pieces of work, so the scores of a block stay in the cache and the bits do not depend on
 * the number of threads.  Gradients through tangents are made here, query by query. */
#include <math.h>
#include <string.h>

#include "attention/attention_f32.h"
#include "attention/attention_amx.h"
#include "base/parallel.h"
#include "ops/op.h"

enum { BLOCK = 64 };

typedef struct {
    cm_attention_f32 f32;
    cm_attention_amx amx; /* where by_amx */
} state;

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    const int32_t heads = attr->attention.heads, parts = n_in > 1 ? 1 : 3;
    if (in->c % parts || heads < 1 || in->c / parts % heads)
        CM_FAIL(CM_ERR_SHAPE, "attention: %d channels are not q%s of %d heads", in->c, n_in > 1 ? "" : ", k, v",
                heads);
    if (n_in > 1 && !cmi_desc_equal(in[0], in[1]))
        CM_FAIL(CM_ERR_SHAPE, "attention: q is %d x %d x %d, k and v are %d x %d x %d (H x W x C)", in->h, in->w,
                in->c, in[1].h, in[1].w, in[1].c);
    *out = (cm_desc){in->n, in->h, in->w, in->c / parts};
    return CM_OK;
}

static int32_t tokens(const cm_op_plan *p)
{
    return p->out.h * p->out.w;
}

static int32_t head_size(const cm_op_plan *p)
{
    return p->out.c / p->attr->attention.heads;
}

static size_t align16(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

static void release(cm_op_plan *p)
{
    cmi_free(p->context, p->state);
}

/* Where element i of head h of q, k or v (j = 0, 1, 2) stands in the 3C. */
static size_t channel(int layout, size_t j, size_t h, size_t i, size_t c, size_t d)
{
    switch (layout) {
    case CM_QKV_PER_HEAD: return h * 3 * d + j * d + i;
    case CM_QKV_INTERLEAVED: return (h * d + i) * 3 + j;
    default: return j * c + h * d + i;
    }
}

/* Where q, k or v (j = 0, 1, 2) lies. */
static cm_qkv qkv_of(const cm_op_plan *p, size_t j)
{
    const size_t c = (size_t)p->out.c, d = (size_t)head_size(p);
    const int layout = p->attr->attention.layout;
    if (p->n_in > 1) return (cm_qkv){j > 0, c, 0, d, 1};
    return (cm_qkv){0, 3 * c, channel(layout, j, 0, 0, c, d), channel(layout, 0, 1, 0, c, d),
                    channel(layout, 0, 0, 1, c, d)};
}

/* Forward; gradients and tangents make the scores again, by matrix products. */
static int by_amx(const cm_op_plan *p)
{
    const int bf16 = p->bf16 == 1 && p->mode == CM_MODE_INFER;
    const int float32 = !p->bf16 && !p->small_memory && p->kernels->has_amx;
    return (bf16 || float32) && cmi_attention_amx_fit((size_t)tokens(p), (size_t)head_size(p));
}

static unsigned offers_bf16(const cm_op_plan *p)
{
    return by_amx(p) && p->bf16 ? (p->n_in > 1 ? 3 : 1) | CM_BF16_OUT : 0;
}

static void need(cm_op_plan *p, size_t bytes)
{
    if (bytes > p->scratch_bytes) p->scratch_bytes = bytes;
}

static void prepare_f32(cm_op_plan *p, cm_attention_f32 *a)
{
    const size_t d = (size_t)head_size(p), c = (size_t)p->out.c;
    *a = (cm_attention_f32){
        .kernels = p->kernels, .threads = p->threads, .tokens = (size_t)tokens(p), .heads = c / d, .d = d};
    for (size_t j = 0; j < 3; j++) a->qkv[j] = qkv_of(p, j);
    need(p, cmi_attention_f32_scratch_bytes(a, cmi_op_trains(p)));
    if (cmi_op_moves(p)) need(p, cmi_attention_f32_tangent_scratch_bytes(a));
}

static void prepare_amx(cm_op_plan *p, cm_attention_amx *a)
{
    const size_t d = (size_t)head_size(p), c = (size_t)p->out.c;
    *a = (cm_attention_amx){.kernels = p->kernels,
                            .parts = p->bf16 ? 1 : 3,
                            .threads = p->threads,
                            .tokens = (size_t)tokens(p),
                            .heads = c / d,
                            .d = d,
                            .x_bf16 = {p->stored_bf16 & 1, p->stored_bf16 >> 1 & 1},
                            .y_bf16 = (p->stored_bf16 & CM_BF16_OUT) != 0};
    for (size_t j = 0; j < 3; j++) a->qkv[j] = qkv_of(p, j);
    need(p, cmi_attention_amx_scratch_bytes(a));
}

static size_t curved_floats(const cm_op_plan *p);

static cm_status prepare(cm_op_plan *p)
{
    state *s = cmi_calloc(p->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    p->state = s;
    if (by_amx(p)) prepare_amx(p, &s->amx);
    prepare_f32(p, &s->f32);
    if (p->mode == CM_MODE_TRAIN_JVP) need(p, curved_floats(p) * sizeof(float));
    return CM_OK;
}

typedef struct {
    const cm_op_run *run;
    const float *in[2]; /* of one image; NULL is zero */
    float *out;         /* [T, C] */
    float *matrices;    /* [3][heads][T][d] */
} image;

/* Values of one image in input k. */
static size_t per_image(const cm_op_plan *p, int k)
{
    return (size_t)tokens(p) * (size_t)p->in[k].c;
}

/* Image i of values (or tangents) `in`. */
static image image_of(const cm_op_run *r, const void *const *in, size_t i, float *matrices)
{
    image m = {r, {NULL, NULL}, NULL, matrices};
    for (int k = 0; k < r->p->n_in; k++)
        if (in[k]) m.in[k] = (const float *)in[k] + i * per_image(r->p, k);
    if (r->out) m.out = (float *)r->out + i * (size_t)tokens(r->p) * (size_t)r->p->out.c;
    return m;
}

/* 64 tokens of q, k, v to matrices [3][heads][T][d]. */
static cm_status gather_piece(void *user, int index, int worker)
{
    (void)worker;
    const image *m = user;
    const cm_op_plan *p = m->run->p;
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c, d = (size_t)head_size(p);
    size_t first = (size_t)index * BLOCK, last = first + cmi_op_piece_rows(t, index);
    for (size_t j = 0; j < 3; j++) {
        const cm_qkv at = qkv_of(p, j);
        for (size_t h = 0; h < c / d; h++) {
            float *to = m->matrices + j * align16(t * c) + h * t * d;
            const float *from = m->in[at.input];
            if (!from) memset(to + first * d, 0, (last - first) * d * sizeof *to);
            for (size_t row = first; from && row < last; row++)
                cmi_qkv_copy(&at, d, from + row * at.row + at.first + h * at.by_head, to + row * d);
        }
    }
    return CM_OK;
}

static cm_status forward_amx(const cm_op_run *r)
{
    const cm_attention_amx *a = &((const state *)r->p->state)->amx;
    for (size_t i = 0; i < (size_t)r->p->out.n; i++) {
        const void *in[2] = {NULL, NULL};
        for (int k = 0; k < r->p->n_in; k++) in[k] = cmi_values_at(r->in[k], a->x_bf16[k], i * per_image(r->p, k));
        void *out = cmi_values_at(r->out, a->y_bf16, i * a->tokens * (size_t)r->p->out.c);
        CM_TRY(cmi_attention_amx_run(a, in, out, r->scratch));
    }
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    if (by_amx(p)) return forward_amx(r);
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        const image m = image_of(r, r->in, i, NULL);
        CM_TRY(cmi_attention_f32_run(&((const state *)p->state)->f32, m.in, m.out, r->scratch));
    }
    return CM_OK;
}

static float scale_of(const cm_op_plan *p)
{
    return (float)(1 / sqrt((double)head_size(p)));
}

/* Matrix j of [3][heads][T][d] back to where q, k or v lies in `out`, or added there. */
static void scatter(const cm_op_plan *p, const float *matrices, size_t j, int add, float *out)
{
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c, d = (size_t)head_size(p);
    const cm_qkv at = qkv_of(p, j);
    for (size_t h = 0; h < c / d; h++) {
        const float *from = matrices + j * align16(t * c) + h * t * d;
        float *to = out + at.first + h * at.by_head;
        for (size_t row = 0; row < t; row++)
            for (size_t i = 0; i < d; i++)
                to[row * at.row + i * at.step] = from[row * d + i] + (add ? to[row * at.row + i * at.step] : 0);
    }
}

static cm_status gather(image m)
{
    for (int i = 0; i < cmi_op_row_pieces((size_t)tokens(m.run->p)); i++) CM_TRY(gather_piece(&m, i, 0));
    return CM_OK;
}

/* Where the gradients of image i go. */
static void gradients_of(const cm_op_run *r, size_t i, float *din[2])
{
    for (int k = 0; k < 2; k++) din[k] = k < r->p->n_in && r->din[k] ? r->din[k] + i * per_image(r->p, k) : NULL;
}

static cm_status backward(const cm_op_run *r)
{
    const cm_attention_f32 *a = &((const state *)r->p->state)->f32;
    for (size_t i = 0; i < (size_t)r->p->out.n; i++) {
        const image m = image_of(r, r->in, i, NULL);
        float *din[2];
        gradients_of(r, i, din);
        cmi_attention_f32_gradient(a, m.in, r->dout + i * a->tokens * (size_t)r->p->out.c, din, r->scratch);
    }
    return CM_OK;
}

static cm_status both(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    const void *moves[2] = {r->tin[0], r->tin[1]};
    if (by_amx(p)) CM_TRY(forward_amx(r));
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        const image m = image_of(r, r->in, i, NULL), t = image_of(r, moves, i, NULL);
        float *tout = r->tout + i * (size_t)tokens(p) * (size_t)p->out.c;
        CM_TRY(cmi_attention_f32_tangent(&((const state *)p->state)->f32, m.in, t.in, by_amx(p) ? NULL : m.out, tout,
                                         r->scratch));
    }
    return CM_OK;
}

/* --- gradients through tangents (derivatives 3): query by query ------------------------------------- */

enum { Q, K, V };

/* Of one image: q, k, v, their tangents, and the gradients of both, [3][heads][T][d] each; rows of T scores. */
typedef struct {
    float *value, *tangent, *d, *dt;
    float *p, *s, *moved, *a, *b;
} curved;

static size_t curved_floats(const cm_op_plan *p)
{
    return 12 * align16((size_t)tokens(p) * (size_t)p->out.c) + 5 * align16((size_t)tokens(p));
}

static curved split_curved(const cm_op_run *r)
{
    const size_t t = align16((size_t)tokens(r->p)), three = 3 * align16((size_t)tokens(r->p) * (size_t)r->p->out.c);
    curved w = {.value = r->scratch};
    w.tangent = w.value + three;
    w.d = w.tangent + three;
    w.dt = w.d + three;
    w.p = w.dt + three;
    w.s = w.p + t;
    w.moved = w.s + t;
    w.a = w.moved + t;
    w.b = w.a + t;
    return w;
}

static float sum_of_products(const cm_op_plan *p, const float *x, const float *y)
{
    float sum;
    p->kernels->pointwise->matvec(1, (size_t)tokens(p), x, y, NULL, &sum);
    return sum;
}

/* Matrix j of head h. */
static float *matrix_of(const cm_op_plan *p, float *three, size_t j, size_t h)
{
    const size_t t = (size_t)tokens(p);
    return three + j * align16(t * (size_t)p->out.c) + h * t * (size_t)head_size(p);
}

/* Probabilities p, and into s what the scaled scores move by, less its mean under p; returns that mean. */
static float moved_scores(const cm_op_run *r, size_t h, size_t i, const curved *w)
{
    const cm_op_plan *p = r->p;
    const cm_pointwise *k = p->kernels->pointwise;
    const size_t t = (size_t)tokens(p), d = (size_t)head_size(p);
    const float *q = matrix_of(p, w->value, Q, h) + i * d, *tq = matrix_of(p, w->tangent, Q, h) + i * d;
    k->matvec(t, d, matrix_of(p, w->value, K, h), q, NULL, w->p);
    k->softmax(1, t, t, scale_of(p), w->p);
    k->matvec(t, d, matrix_of(p, w->value, K, h), tq, NULL, w->s);
    k->matvec(t, d, matrix_of(p, w->tangent, K, h), q, NULL, w->a);
    k->add(t, w->s, w->a, scale_of(p), w->s);
    const float mean = sum_of_products(p, w->p, w->s);
    for (size_t j = 0; j < t; j++) w->s[j] -= mean;
    return mean;
}

/* The gradients of the scaled scores into a and of their tangents into b; of the result's and its tangent's. */
static void score_gradients(const cm_op_run *r, size_t h, const float *o, const float *to, float mean,
                            const curved *w)
{
    const cm_op_plan *p = r->p;
    const cm_pointwise *k = p->kernels->pointwise;
    const size_t t = (size_t)tokens(p), d = (size_t)head_size(p);
    k->matvec(t, d, matrix_of(p, w->value, V, h), o, NULL, w->a);
    k->matvec(t, d, matrix_of(p, w->tangent, V, h), to, NULL, w->b);
    k->axpy(t, 1, w->b, w->a);
    k->matvec(t, d, matrix_of(p, w->value, V, h), to, NULL, w->b);
    const float along = sum_of_products(p, w->p, w->b);
    for (size_t j = 0; j < t; j++) w->a[j] += w->b[j] * w->s[j] - (w->s[j] + mean) * along;
    const float middle = sum_of_products(p, w->p, w->a);
    for (size_t j = 0; j < t; j++) {
        w->moved[j] = w->p[j] * w->s[j];
        w->a[j] = w->p[j] * (w->a[j] - middle);
        w->b[j] = w->p[j] * (w->b[j] - along);
    }
}

/* What query i of head h adds. */
static void add_query(const cm_op_run *r, size_t h, size_t i, const float *o, const float *to, const curved *w)
{
    const cm_op_plan *p = r->p;
    const cm_pointwise *k = p->kernels->pointwise;
    const size_t t = (size_t)tokens(p), d = (size_t)head_size(p);
    const float scale = scale_of(p);
    const float *q = matrix_of(p, w->value, Q, h) + i * d, *tq = matrix_of(p, w->tangent, Q, h) + i * d;
    const float *keys = matrix_of(p, w->value, K, h), *tkeys = matrix_of(p, w->tangent, K, h);
    float *dq = matrix_of(p, w->d, Q, h) + i * d, *dtq = matrix_of(p, w->dt, Q, h) + i * d;
    float *dk = matrix_of(p, w->d, K, h), *dtk = matrix_of(p, w->dt, K, h);
    float *dv = matrix_of(p, w->d, V, h), *dtv = matrix_of(p, w->dt, V, h);
    for (size_t j = 0; j < t; j++) {
        const size_t at = j * d;
        const float a = scale * w->a[j], b = scale * w->b[j];
        k->axpy(d, w->p[j], o, dv + at);
        k->axpy(d, w->moved[j], to, dv + at);
        k->axpy(d, w->p[j], to, dtv + at);
        k->axpy(d, a, q, dk + at);
        k->axpy(d, b, tq, dk + at);
        k->axpy(d, b, q, dtk + at);
        k->axpy(d, a, keys + at, dq);
        k->axpy(d, b, tkeys + at, dq);
        k->axpy(d, b, keys + at, dtq);
    }
}

static void put_gradients(const cm_op_run *r, size_t i, const float *three, float *const *to)
{
    for (size_t j = 0; j < 3; j++) {
        const int input = qkv_of(r->p, j).input;
        if (to[input]) scatter(r->p, three, j, r->p->n_in > 1 && j == V, to[input] + i * per_image(r->p, input));
    }
}

static cm_status both_backward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    const size_t t = (size_t)tokens(p), c = (size_t)p->out.c, d = (size_t)head_size(p);
    const curved w = split_curved(r);
    const void *moves[2] = {r->tin[0], r->tin[1]};
    for (size_t image_index = 0; image_index < (size_t)p->out.n; image_index++) {
        CM_TRY(gather(image_of(r, r->in, image_index, w.value)));
        CM_TRY(gather(image_of(r, moves, image_index, w.tangent)));
        memset(w.d, 0, 6 * align16(t * c) * sizeof *w.d);
        for (size_t h = 0; h < c / d; h++)
            for (size_t i = 0; i < t; i++) {
                const size_t at = (image_index * t + i) * c + h * d;
                const float mean = moved_scores(r, h, i, &w);
                score_gradients(r, h, r->dout + at, r->dtout + at, mean, &w);
                add_query(r, h, i, r->dout + at, r->dtout + at, &w);
            }
        put_gradients(r, image_index, w.d, r->din);
        put_gradients(r, image_index, w.dt, r->dtin);
    }
    return CM_OK;
}

static double work(const cm_op_plan *p)
{
    return 2.0 * (double)cmi_desc_count(p->out) * p->out.h * p->out.w;
}

const cm_op cmi_op_attention = {.name = "attention",
                                .saves = 3,
                                .shape = shape,
                                .work = work,
                                .offers_bf16 = offers_bf16,
                                .prepare = prepare,
                                .release = release,
                                .forward = forward,
                                .backward = backward,
                                .both = both,
                                .both_backward = both_backward};
