/* attention.c - softmax(q k^T / sqrt(d)) v per head, float32.
 *
 * q, k and v of a head are first gathered into contiguous [T, d] matrices
 * (the 3C channels come in one of three orders); then blocks of 64 queries are
 * independent pieces of work: two matrix products of one thread each and a
 * softmax between, so the scores of a block stay in the cache and the bits do
 * not depend on the number of threads. */
#include <math.h>
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"

enum { BLOCK = 64 };

/* Products of a whole block and of the shorter last one. */
typedef struct {
    cm_dnnl_primitive *scores[2], *values[2];
} primitives;

typedef struct {
    cm_dnnl_call *scores[2], *values[2];
} calls;

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    int32_t heads = attr->attention.heads;
    if (in->c % 3 || heads < 1 || in->c / 3 % heads)
        CM_FAIL(CM_ERR_SHAPE, "attention: %d channels are not q, k, v of %d heads", in->c, heads);
    *out = (cm_desc){in->n, in->h, in->w, in->c / 3};
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
        size_t a = s->scores[i] ? cm_dnnl_scratch_bytes(s->scores[i]) : 0;
        size_t b = s->values[i] ? cm_dnnl_scratch_bytes(s->values[i]) : 0;
        most = a > most ? a : most;
        most = b > most ? b : most;
    }
    return (most + sizeof(float) - 1) / sizeof(float);
}

/* Floats a worker needs: scores [64, T], result [64, d], the backend's. */
static size_t worker_floats(const cm_op_plan *p)
{
    size_t t = (size_t)tokens(p), d = (size_t)head_size(p);
    return align16(BLOCK * t) + align16(BLOCK * d) + align16(backend_scratch(p->state));
}

static void release(cm_op_plan *p)
{
    primitives *s = p->state;
    if (!s) return;
    for (int i = 0; i < 2; i++) {
        cm_dnnl_primitive_free(s->scores[i]);
        cm_dnnl_primitive_free(s->values[i]);
    }
    cm_free(p->context, s);
}

static cm_status prepare(cm_op_plan *p)
{
    int32_t t = tokens(p), d = head_size(p);
    const int32_t rows[2] = {t < BLOCK ? t : BLOCK, t < BLOCK ? 0 : t % BLOCK};
    primitives *s = cm_calloc(p->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    p->state = s;
    for (int i = 0; i < 2 && rows[i]; i++) {
        const cm_dnnl_matmul_shape scores = {rows[i], t, d, 1}, values = {rows[i], d, t, 0};
        CM_TRY(cm_dnnl_matmul_create(p->engine, &scores, &s->scores[i]));
        CM_TRY(cm_dnnl_matmul_create(p->engine, &values, &s->values[i]));
    }
    p->scratch_bytes =
        sizeof(float) * (3 * align16((size_t)t * (size_t)p->out.c) + (size_t)p->threads * worker_floats(p));
    return CM_OK;
}

static void detach(const cm_op_plan *p, void *local)
{
    calls *all = local;
    if (!all) return;
    for (int w = 0; w < p->threads; w++)
        for (int i = 0; i < 2; i++) {
            cm_dnnl_call_free(all[w].scores[i]);
            cm_dnnl_call_free(all[w].values[i]);
        }
    cm_free(p->context, all);
}

static cm_status attach(const cm_op_plan *p, void **local)
{
    const primitives *s = p->state;
    calls *all = cm_calloc(p->context, (size_t)p->threads, sizeof *all);
    if (!all) return CM_ERR_MEMORY;
    *local = all;
    for (int w = 0; w < p->threads; w++)
        for (int i = 0; i < 2 && s->scores[i]; i++) {
            CM_TRY(cm_dnnl_call_create(s->scores[i], &all[w].scores[i]));
            CM_TRY(cm_dnnl_call_create(s->values[i], &all[w].values[i]));
        }
    return CM_OK;
}

typedef struct {
    const cm_op_run *run;
    const float *qkv; /* [T, 3C] of one image */
    float *out;       /* [T, C] */
} image;

/* Where element i of head h of q, k or v (j = 0, 1, 2) stands in the 3C. */
static size_t channel(int layout, size_t j, size_t h, size_t i, size_t c, size_t d)
{
    switch (layout) {
    case CM_QKV_PER_HEAD: return h * 3 * d + j * d + i;
    case CM_QKV_INTERLEAVED: return (h * d + i) * 3 + j;
    default: return j * c + h * d + i;
    }
}

/* 64 tokens of q, k, v to matrices [3][heads][T][d]. */
static cm_status gather_piece(void *user, int index, int worker)
{
    (void)worker;
    const image *m = user;
    const cm_op_plan *p = m->run->p;
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c, d = (size_t)head_size(p);
    size_t first = (size_t)index * BLOCK, last = first + cm_op_piece_rows(t, index);
    int layout = p->attr->attention.layout;
    size_t step = layout == CM_QKV_INTERLEAVED ? 3 : 1;
    for (size_t j = 0; j < 3; j++)
        for (size_t h = 0; h < c / d; h++) {
            float *to = (float *)m->run->scratch + j * align16(t * c) + h * t * d;
            const float *from = m->qkv + channel(layout, j, h, 0, c, d);
            for (size_t row = first; row < last; row++)
                for (size_t i = 0; i < d; i++) to[row * d + i] = from[row * 3 * c + i * step];
        }
    return CM_OK;
}

/* One block of queries of one head. */
static cm_status block_piece(void *user, int index, int worker)
{
    const image *m = user;
    const cm_op_plan *p = m->run->p;
    const calls *call = (const calls *)m->run->local + worker;
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c, d = (size_t)head_size(p);
    size_t blocks = (size_t)cm_op_row_pieces(t), h = (size_t)index / blocks, b = (size_t)index % blocks;
    size_t rows = cm_op_piece_rows(t, (int)b);
    int tail = b > 0 && rows < BLOCK;
    const float *q = (const float *)m->run->scratch + h * t * d, *k = q + align16(t * c), *v = k + align16(t * c);
    float *scores = (float *)m->run->scratch + 3 * align16(t * c) + (size_t)worker * worker_floats(p);
    float *result = scores + align16(BLOCK * t), *scratch = result + align16(BLOCK * d);
    CM_TRY(cm_dnnl_execute(call->scores[tail], q + b * BLOCK * d, k, NULL, scores, scratch));
    p->kernels->softmax(rows, t, (float)(1 / sqrt((double)d)), scores);
    CM_TRY(cm_dnnl_execute(call->values[tail], scores, v, NULL, result, scratch));
    for (size_t row = 0; row < rows; row++)
        memcpy(m->out + (b * BLOCK + row) * c + h * d, result + row * d, d * sizeof *result);
    return CM_OK;
}

static cm_status forward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    size_t t = (size_t)tokens(p), c = (size_t)p->out.c;
    image m = {r, r->in[0], r->out};
    int blocks = cm_op_row_pieces(t);
    for (int32_t i = 0; i < p->out.n; i++, m.qkv += t * 3 * c, m.out += t * c) {
        CM_TRY(cm_parallel(p->threads, blocks, gather_piece, &m));
        CM_TRY(cm_parallel(p->threads, blocks * p->attr->attention.heads, block_piece, &m));
    }
    return CM_OK;
}

const cm_op cm_op_attention = {"attention", 0, shape, prepare, release, attach, detach, forward, NULL, NULL};
