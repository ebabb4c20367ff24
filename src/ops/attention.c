/* attention.c - softmax(q k^T / sqrt(d)) v per head, float32.  Of one input q, k and v are its
 * 3C channels; of two the first is q, the second both k and v (nets/fold.h).
 *
 * q, k and v of a head are first gathered into contiguous [T, d] matrices
 * (the 3C channels come in one of three orders); then blocks of 64 queries are
 * independent pieces of work: two matrix products of one thread each and a
 * softmax between, so the scores of a block stay in the cache and the bits do
 * not depend on the number of threads.  So it goes here where tokens or d are no
 * multiples of 16; else values, gradients and tangents are attention_f32.h, and
 * on processors with AMX values attention_amx.h.
 *
 * Backward makes the scores again, block by block: with p = softmax(s),
 *   dv += p^T do,  dp = do v^T,  ds = p (dp - sum p dp) / sqrt(d),
 *   dq = ds k,  dk += ds^T q.
 * JVP: ts = (tq k^T + q tk^T) / sqrt(d), tp = p (ts - sum p ts), to = tp v + p tv. */
#include <math.h>
#include <string.h>

#include "attention/attention_f32.h"
#include "attention/attention_amx.h"
#include "base/parallel.h"
#include "ops/op.h"

enum { BLOCK = 64 };

/* Products of a whole block and of the shorter last one. */
typedef struct {
    cm_attention_f32 f32; /* where by_products                                   */
    cm_attention_amx amx; /* where by_amx                                 */
    cm_dnnl_primitive *scores[2], *values[2], *transposed[2]; /* [b,T] = [b,d] [T,d]^T; [b,d] = [b,T] [T,d]; and
                                                             [T,d] = [b,T]^T [b,d], backward only */
} primitives;

typedef struct {
    cm_dnnl_call *scores[2], *values[2], *transposed[2];
} calls;

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

static size_t backend_scratch(const primitives *s)
{
    size_t most = 0;
    for (int i = 0; i < 2; i++) {
        const cm_dnnl_primitive *const all[3] = {s->scores[i], s->values[i], s->transposed[i]};
        for (int k = 0; k < 3; k++) {
            size_t bytes = all[k] ? cmi_dnnl_scratch_bytes(all[k]) : 0;
            most = bytes > most ? bytes : most;
        }
    }
    return (most + sizeof(float) - 1) / sizeof(float);
}

/* Floats a worker needs: scores [64, T], result [64, d], the backend's; for
 * gradients and tangents another [64, T] and two [T, d]. */
static size_t worker_floats(const cm_op_plan *p)
{
    size_t t = (size_t)tokens(p), d = (size_t)head_size(p), more = p->mode == CM_MODE_INFER ? 0 : 1;
    return align16(BLOCK * t) + align16(BLOCK * d) + align16(backend_scratch(p->state)) +
           more * (align16(BLOCK * t) + 2 * align16(t * d) + 2 * align16(BLOCK * d));
}

static void release(cm_op_plan *p)
{
    primitives *s = p->state;
    if (!s) return;
    for (int i = 0; i < 2; i++) {
        cmi_dnnl_primitive_free(s->scores[i]);
        cmi_dnnl_primitive_free(s->values[i]);
        cmi_dnnl_primitive_free(s->transposed[i]);
    }
    cmi_free(p->context, s);
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

static int by_products(const cm_op_plan *p)
{
    return cmi_attention_f32_fits((size_t)tokens(p), (size_t)head_size(p));
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

/* Products of oneDNN and what they need. */
static cm_status prepare_products(cm_op_plan *p, primitives *s)
{
    const int32_t t = tokens(p), d = head_size(p), rows[2] = {t < BLOCK ? t : BLOCK, t < BLOCK ? 0 : t % BLOCK};
    for (int i = 0; i < 2 && rows[i]; i++) {
        const cm_dnnl_matmul_shape scores = {rows[i], t, d, 1, 0}, values = {rows[i], d, t, 0, 0};
        const cm_dnnl_matmul_shape transposed = {t, d, rows[i], 0, 1};
        CM_TRY(cmi_dnnl_matmul_create(p->engine, &scores, &s->scores[i]));
        CM_TRY(cmi_dnnl_matmul_create(p->engine, &values, &s->values[i]));
        if (cmi_op_trains(p)) CM_TRY(cmi_dnnl_matmul_create(p->engine, &transposed, &s->transposed[i]));
    }
    /* q, k, v; their gradients or tangents */
    const size_t matrices = p->mode == CM_MODE_INFER ? 3 : 6;
    need(p, sizeof(float) *
                (matrices * align16((size_t)t * (size_t)p->out.c) + (size_t)p->threads.count * worker_floats(p)));
    return CM_OK;
}

static size_t curved_floats(const cm_op_plan *p);

static cm_status prepare(cm_op_plan *p)
{
    primitives *s = cmi_calloc(p->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    p->state = s;
    if (by_amx(p)) prepare_amx(p, &s->amx);
    if (by_products(p)) prepare_f32(p, &s->f32);
    if (p->mode == CM_MODE_TRAIN_JVP) need(p, curved_floats(p) * sizeof(float));
    return by_products(p) ? CM_OK : prepare_products(p, s);
}

static void detach(const cm_op_plan *p, void *local)
{
    calls *all = local;
    if (!all) return;
    for (int w = 0; w < p->threads.count; w++)
        for (int i = 0; i < 2; i++) {
            cmi_dnnl_call_free(all[w].scores[i]);
            cmi_dnnl_call_free(all[w].values[i]);
            cmi_dnnl_call_free(all[w].transposed[i]);
        }
    cmi_free(p->context, all);
}

static cm_status attach(const cm_op_plan *p, void **local)
{
    const primitives *s = p->state;
    calls *all = cmi_calloc(p->context, (size_t)p->threads.count, sizeof *all);
    if (!all) return CM_ERR_MEMORY;
    *local = all;
    for (int w = 0; w < p->threads.count; w++)
        for (int i = 0; i < 2 && s->scores[i]; i++) {
            CM_TRY(cmi_dnnl_call_create(s->scores[i], &all[w].scores[i]));
            CM_TRY(cmi_dnnl_call_create(s->values[i], &all[w].values[i]));
            if (s->transposed[i]) CM_TRY(cmi_dnnl_call_create(s->transposed[i], &all[w].transposed[i]));
        }
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

/* Where the workers' floats begin. */
static float *workers(const cm_op_run *r)
{
    size_t matrices = r->p->mode == CM_MODE_INFER ? 3 : 6;
    return (float *)r->scratch + matrices * align16((size_t)tokens(r->p) * (size_t)r->p->out.c);
}

/* One block of queries of one head. */
static cm_status block_piece(void *user, int index, int worker)
{
    const image *m = user;
    const cm_op_plan *p = m->run->p;
    const calls *call = (const calls *)m->run->local + worker;
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c, d = (size_t)head_size(p);
    size_t blocks = (size_t)cmi_op_row_pieces(t), h = (size_t)index / blocks, b = (size_t)index % blocks;
    size_t rows = cmi_op_piece_rows(t, (int)b);
    int tail = b > 0 && rows < BLOCK;
    const float *q = (const float *)m->run->scratch + h * t * d, *k = q + align16(t * c), *v = k + align16(t * c);
    float *scores = workers(m->run) + (size_t)worker * worker_floats(p);
    float *result = scores + align16(BLOCK * t), *scratch = result + align16(BLOCK * d);
    CM_TRY(cmi_dnnl_execute(call->scores[tail], q + b * BLOCK * d, k, NULL, scores, scratch));
    p->kernels->pointwise->softmax(rows, t, t, (float)(1 / sqrt((double)d)), scores);
    CM_TRY(cmi_dnnl_execute(call->values[tail], scores, v, NULL, result, scratch));
    for (size_t row = 0; row < rows; row++)
        memcpy(m->out + (b * BLOCK + row) * c + h * d, result + row * d, d * sizeof *result);
    return CM_OK;
}

static cm_status forward_amx(const cm_op_run *r)
{
    const cm_attention_amx *a = &((const primitives *)r->p->state)->amx;
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
    const int blocks = cmi_op_row_pieces((size_t)tokens(p));
    if (by_amx(p)) return forward_amx(r);
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        image m = image_of(r, r->in, i, r->scratch);
        if (by_products(p)) {
            CM_TRY(cmi_attention_f32_run(&((const primitives *)p->state)->f32, m.in, m.out, r->scratch));
            continue;
        }
        CM_TRY(cmi_parallel(p->threads, blocks, gather_piece, &m));
        CM_TRY(cmi_parallel(p->threads, blocks * p->attr->attention.heads, block_piece, &m));
    }
    return CM_OK;
}

/* --- backward and jvp: one thread or blocks in turn ---------------------------- */

/* A worker's floats once more, by name. */
typedef struct {
    float *scores, *result, *backend, *more_scores, *sum[2], *rows[2];
} workspace;

static workspace split_scratch(const cm_op_run *r)
{
    size_t t = (size_t)tokens(r->p), d = (size_t)head_size(r->p);
    workspace w;
    w.scores = workers(r);
    w.result = w.scores + align16(BLOCK * t);
    w.backend = w.result + align16(BLOCK * d);
    w.more_scores = w.backend + align16(backend_scratch(r->p->state));
    w.sum[0] = w.more_scores + align16(BLOCK * t);
    w.sum[1] = w.sum[0] + align16(t * d);
    w.rows[0] = w.sum[1] + align16(t * d);
    w.rows[1] = w.rows[0] + align16(BLOCK * d);
    return w;
}

static float scale_of(const cm_op_plan *p)
{
    return (float)(1 / sqrt((double)head_size(p)));
}

/* The block's probabilities into w->scores. */
static cm_status probabilities(const cm_op_run *r, const calls *call, int tail, size_t rows, const float *q,
                               const float *k, workspace *w)
{
    CM_TRY(cmi_dnnl_execute(call->scores[tail], q, k, NULL, w->scores, w->backend));
    r->p->kernels->pointwise->softmax(rows, (size_t)tokens(r->p), (size_t)tokens(r->p), scale_of(r->p), w->scores);
    return CM_OK;
}

/* Rows [first, first + rows) of head h of a [T, C] matrix, gathered. */
static void gather_rows(const cm_op_plan *p, const float *x, size_t h, size_t first, size_t rows, float *out)
{
    size_t c = (size_t)p->out.c, d = (size_t)head_size(p);
    for (size_t i = 0; i < rows; i++) memcpy(out + i * d, x + (first + i) * c + h * d, d * sizeof *out);
}

/* Gradients of one head into its three matrices dq, dk, dv. */
static cm_status head_backward(const cm_op_run *r, const float *dout, size_t h, workspace *w)
{
    const cm_op_plan *p = r->p;
    const calls *call = r->local;
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c, d = (size_t)head_size(p), third = align16(t * c);
    const float *q = (const float *)r->scratch + h * t * d, *k = q + third, *v = k + third;
    float *dq = (float *)r->scratch + 3 * third + h * t * d, *dk = dq + third, *dv = dk + third;
    memset(dk, 0, t * d * sizeof *dk);
    memset(dv, 0, t * d * sizeof *dv);
    for (size_t b = 0; b * BLOCK < t; b++) {
        size_t first = b * BLOCK, rows = cmi_op_piece_rows(t, (int)b);
        int tail = b > 0 && rows < BLOCK;
        CM_TRY(probabilities(r, call, tail, rows, q + first * d, k, w));
        gather_rows(p, dout, h, first, rows, w->result);
        CM_TRY(cmi_dnnl_execute(call->transposed[tail], w->scores, w->result, NULL, w->sum[0], w->backend));
        CM_TRY(cmi_dnnl_execute(call->scores[tail], w->result, v, NULL, w->more_scores, w->backend));
        p->kernels->pointwise->softmax_back(rows, t, t, scale_of(p), w->scores, w->more_scores);
        CM_TRY(cmi_dnnl_execute(call->values[tail], w->more_scores, k, NULL, dq + first * d, w->backend));
        CM_TRY(cmi_dnnl_execute(call->transposed[tail], w->more_scores, q + first * d, NULL, w->sum[1], w->backend));
        p->kernels->pointwise->axpy(t * d, 1, w->sum[0], dv);
        p->kernels->pointwise->axpy(t * d, 1, w->sum[1], dk);
    }
    return CM_OK;
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

static void backward_f32(const cm_op_run *r)
{
    const cm_attention_f32 *a = &((const primitives *)r->p->state)->f32;
    for (size_t i = 0; i < (size_t)r->p->out.n; i++) {
        const image m = image_of(r, r->in, i, r->scratch);
        float *din[2];
        gradients_of(r, i, din);
        cmi_attention_f32_gradient(a, m.in, r->dout + i * a->tokens * (size_t)r->p->out.c, din, r->scratch);
    }
}

static cm_status backward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c, heads = (size_t)p->attr->attention.heads;
    if (by_products(p)) {
        backward_f32(r);
        return CM_OK;
    }
    workspace w = split_scratch(r);
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        float *din[2];
        gradients_of(r, i, din);
        CM_TRY(gather(image_of(r, r->in, i, r->scratch)));
        for (size_t h = 0; h < heads; h++) CM_TRY(head_backward(r, r->dout + i * t * c, h, &w));
        for (size_t j = 0; j < 3; j++) {
            float *to = din[qkv_of(p, j).input];
            if (to) scatter(p, (const float *)r->scratch + 3 * align16(t * c), j, p->n_in > 1 && j == 2, to);
        }
    }
    return CM_OK;
}

static cm_status head_jvp(const cm_op_run *r, size_t h, workspace *w, float *out)
{
    const cm_op_plan *p = r->p;
    const calls *call = r->local;
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c, d = (size_t)head_size(p), third = align16(t * c);
    const float *q = (const float *)r->scratch + h * t * d, *k = q + third, *v = k + third;
    const float *tq = q + 3 * third, *tk = tq + third, *tv = tk + third;
    for (size_t b = 0; b * BLOCK < t; b++) {
        size_t first = b * BLOCK, rows = cmi_op_piece_rows(t, (int)b);
        int tail = b > 0 && rows < BLOCK;
        /* ts = tq k^T + q tk^T needs two [b, T]; the sum goes over through `scores`. */
        CM_TRY(cmi_dnnl_execute(call->scores[tail], tq + first * d, k, NULL, w->more_scores, w->backend));
        CM_TRY(cmi_dnnl_execute(call->scores[tail], q + first * d, tk, NULL, w->scores, w->backend));
        p->kernels->pointwise->axpy(rows * t, 1, w->scores, w->more_scores);
        CM_TRY(probabilities(r, call, tail, rows, q + first * d, k, w));
        p->kernels->pointwise->softmax_back(rows, t, t, scale_of(p), w->scores, w->more_scores);
        CM_TRY(cmi_dnnl_execute(call->values[tail], w->more_scores, v, NULL, w->rows[0], w->backend));
        CM_TRY(cmi_dnnl_execute(call->values[tail], w->scores, tv, NULL, w->rows[1], w->backend));
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < d; j++)
                out[(first + i) * c + h * d + j] = w->rows[0][i * d + j] + w->rows[1][i * d + j];
    }
    return CM_OK;
}

static cm_status tangents_by_products(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    const void *moves[2] = {r->tin[0], r->tin[1]};
    if (by_amx(p)) CM_TRY(forward_amx(r));
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        const image m = image_of(r, r->in, i, NULL), t = image_of(r, moves, i, NULL);
        float *tout = r->tout + i * (size_t)tokens(p) * (size_t)p->out.c;
        CM_TRY(cmi_attention_f32_tangent(&((const primitives *)p->state)->f32, m.in, t.in, by_amx(p) ? NULL : m.out,
                                         tout, r->scratch));
    }
    return CM_OK;
}

static cm_status both(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c, heads = (size_t)p->attr->attention.heads;
    if (by_products(p)) return tangents_by_products(r);
    CM_TRY(forward(r));
    workspace w = split_scratch(r);
    for (size_t i = 0; i < (size_t)p->out.n; i++) {
        const void *tangents[2] = {r->tin[0], r->tin[1]};
        CM_TRY(gather(image_of(r, r->in, i, r->scratch)));
        CM_TRY(gather(image_of(r, tangents, i, (float *)r->scratch + 3 * align16(t * c))));
        for (size_t h = 0; h < heads; h++) CM_TRY(head_jvp(r, h, &w, r->tout + i * t * c));
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
                                .attach = attach,
                                .detach = detach,
                                .forward = forward,
                                .backward = backward,
                                .both = both,
                                .both_backward = both_backward};
