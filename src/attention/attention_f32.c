/* attention_f32.c - blocks of 64 queries of a head are independent, their scores stay in the
 * cache.
 *
 * Gradients make the scores again: with p = softmax(s) and do the gradient of the result,
 *   dv += p^T do,  dp = do v^T,  ds = p (dp - sum p dp) / sqrt(d),  dq = ds k,  dk += ds^T q.
 * One head at a time, so that its matrices stay near. */
#include "attention/attention_f32.h"

#include <math.h>
#include <string.h>

#include "base/parallel.h"

enum { BLOCK = 64 };
enum { Q, K, V };

/* Floats from one row of scores to the next: an odd number of cache lines, or they collide where
 * columns are read. */
static size_t scores_row(const cm_attention_f32 *a)
{
    return (a->tokens / 16 | 1) * 16;
}

static size_t matrix_floats(const cm_attention_f32 *a)
{
    return a->tokens * a->d;
}

/* A worker's: scores of one block or two, before that rows of q, k and v that were split. */
static size_t worker_floats(const cm_attention_f32 *a, size_t blocks)
{
    const size_t scores = blocks * BLOCK * scores_row(a), rows = 3 * BLOCK * a->d;
    return scores > rows ? scores : rows;
}

size_t cmi_attention_f32_scratch_bytes(const cm_attention_f32 *a, int gradients)
{
    const size_t forward = 3 * a->heads * matrix_floats(a) + (size_t)a->threads.count * worker_floats(a, 1);
    const size_t backward = 7 * matrix_floats(a) + worker_floats(a, 2) + BLOCK * a->d;
    return sizeof(float) * (gradients && backward > forward ? backward : forward);
}

static float scale_of(const cm_attention_f32 *a)
{
    return (float)(1 / sqrt((double)a->d));
}

static size_t blocks_of(const cm_attention_f32 *a)
{
    return (a->tokens + BLOCK - 1) / BLOCK;
}

static size_t block_rows(const cm_attention_f32 *a, size_t first)
{
    return a->tokens - first < BLOCK ? a->tokens - first : BLOCK;
}

/* --- q, k, v of one head to [tokens][d] and to panels ---------------------------------------- */

/* Rows of d values. */
typedef struct {
    const float *at;
    size_t row;
} matrix;

/* q, k and v of tokens [first, last) of one head: where they lie, or if they alternate in buffer [3][64][d]. */
static void find_rows(const cm_attention_f32 *a, const float *const in[2], size_t head, size_t first, size_t last,
                      float *buffer, matrix m[3])
{
    const size_t size = BLOCK * a->d;
    const int alternate = a->qkv[Q].step == 3;
    for (size_t i = 0; i < 3; i++) {
        const cm_qkv *p = &a->qkv[i];
        m[i] = (matrix){in[p->input] + first * p->row + p->first + head * p->by_head, p->row};
    }
    for (size_t i = 0; alternate && i < last - first; i++)
        a->kernels->pointwise->split3(a->d, m[Q].at + i * m[Q].row, buffer + i * a->d, buffer + size + i * a->d,
                                      buffer + 2 * size + i * a->d);
    for (size_t i = 0; alternate && i < 3; i++) m[i] = (matrix){buffer + i * size, a->d};
}

/* Rows [first, last) as they are. */
static void take_rows(const cm_attention_f32 *a, matrix from, size_t first, size_t last, float *to)
{
    for (size_t i = first; i < last; i++) memcpy(to + i * a->d, from.at + (i - first) * from.row, a->d * sizeof *to);
}

/* The same rows of a matrix that is multiplied from the right: panels [tokens][width] of
 * neighbouring channels. */
static void pack_rows(const cm_attention_f32 *a, matrix from, size_t first, size_t last, float *to)
{
    for (size_t k = 0, width; k < a->d; k += width) {
        width = a->kernels->gemm->panel(a->d - k);
        for (size_t i = first; i < last; i++)
            memcpy(to + k * a->tokens + i * width, from.at + (i - first) * from.row + k, width * sizeof *to);
    }
}

/* The same rows as columns of the transpose: panels [d][width] of neighbouring tokens. */
static void pack_columns(const cm_attention_f32 *a, matrix from, size_t first, size_t last, float *to)
{
    for (size_t i = first, width; i < last; i += width) {
        width = a->kernels->gemm->panel(a->tokens - i);
        a->kernels->pointwise->transpose(width, a->d, from.at + (i - first) * from.row, from.row, to + i * a->d,
                                         width);
    }
}

/* --- forward ------------------------------------------------------------------------------------ */

typedef struct {
    const cm_attention_f32 *a;
    const float *const *in;
    float *out;
    float *q, *k, *v; /* [head][tokens][d]; columns; rows */
    float *scores;    /* [worker][64][scores_row] or [3][64][d] */
} job;

static float *worker_buffer(const job *j, int worker)
{
    return j->scores + (size_t)worker * worker_floats(j->a, 1);
}

/* 64 tokens of all heads. */
static cm_status pack_piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_attention_f32 *a = j->a;
    const size_t first = (size_t)index * BLOCK, last = first + block_rows(a, first);
    for (size_t h = 0; h < a->heads; h++) {
        matrix m[3];
        find_rows(a, j->in, h, first, last, worker_buffer(j, worker), m);
        take_rows(a, m[Q], first, last, j->q + h * matrix_floats(a));
        pack_columns(a, m[K], first, last, j->k + h * matrix_floats(a));
        pack_rows(a, m[V], first, last, j->v + h * matrix_floats(a));
    }
    return CM_OK;
}

/* Probabilities of `rows` queries. */
static void probabilities(const cm_attention_f32 *a, size_t rows, const float *q, const float *k, float *scores)
{
    a->kernels->gemm->product(rows, a->tokens, a->d, q, a->d, k, scores, scores_row(a));
    a->kernels->pointwise->softmax(rows, a->tokens, scores_row(a), scale_of(a), scores);
}

/* One block of queries of one head. */
static cm_status block_piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_attention_f32 *a = j->a;
    const size_t h = (size_t)index / blocks_of(a), first = (size_t)index % blocks_of(a) * BLOCK;
    const size_t rows = block_rows(a, first), head = h * matrix_floats(a), c = a->heads * a->d;
    float *scores = worker_buffer(j, worker);
    probabilities(a, rows, j->q + head + first * a->d, j->k + head, scores);
    a->kernels->gemm->product(rows, a->d, a->tokens, scores, scores_row(a), j->v + head,
                              j->out + first * c + h * a->d, c);
    return CM_OK;
}

cm_status cmi_attention_f32_run(const cm_attention_f32 *a, const float *const in[2], float *out, void *scratch)
{
    job j = {.a = a, .in = in, .out = out, .q = scratch};
    j.k = j.q + a->heads * matrix_floats(a);
    j.v = j.k + a->heads * matrix_floats(a);
    j.scores = j.v + a->heads * matrix_floats(a);
    CM_TRY(cmi_parallel(a->threads, (int)blocks_of(a), pack_piece, &j));
    return cmi_parallel(a->threads, (int)(a->heads * blocks_of(a)), block_piece, &j);
}

/* --- gradients ------------------------------------------------------------------------------------ */

/* One head's: q as it is, k and v in columns, k in rows; gradients; a block's, `scores` before that [3][64][d]. */
typedef struct {
    float *q, *k_columns, *v_columns, *k_rows;
    float *gradient[3];
    float *scores, *more, *dout;
} workspace;

/* k and v are the same values. */
static int is_shared(const cm_attention_f32 *a)
{
    return a->qkv[K].input == a->qkv[V].input && a->qkv[K].first == a->qkv[V].first;
}

static workspace workspace_of(const cm_attention_f32 *a, float *scratch)
{
    const size_t n = matrix_floats(a);
    workspace r = {.q = scratch, .k_columns = scratch + n, .v_columns = scratch + 2 * n, .k_rows = scratch + 3 * n};
    for (size_t i = 0; i < 3; i++) r.gradient[i] = scratch + (4 + i) * n;
    r.scores = scratch + 7 * n;
    r.more = r.scores + BLOCK * scores_row(a);
    r.dout = r.scores + worker_floats(a, 2);
    if (is_shared(a)) r.v_columns = r.k_columns, r.gradient[K] = r.gradient[V];
    return r;
}

/* What the queries from `first` on add. */
static void block_gradient(const cm_attention_f32 *a, const float *dout, size_t first, const workspace *r)
{
    const cm_gemm *gemm = a->kernels->gemm;
    const size_t t = a->tokens, d = a->d, rows = block_rows(a, first), row = scores_row(a);
    for (size_t i = 0; i < rows; i++) memcpy(r->dout + i * d, dout + (first + i) * a->heads * d, d * sizeof *dout);
    probabilities(a, rows, r->q + first * d, r->k_columns, r->scores);
    gemm->product_transposed(t, d, rows, r->scores, row, r->dout, d, r->gradient[V], first > 0);
    gemm->product(rows, t, d, r->dout, d, r->v_columns, r->more, row);
    a->kernels->pointwise->softmax_back(rows, t, row, scale_of(a), r->scores, r->more);
    gemm->product(rows, d, t, r->more, row, r->k_rows, r->gradient[Q] + first * d, d);
    gemm->product_transposed(t, d, rows, r->more, row, r->q + first * d, d, r->gradient[K],
                             first > 0 || is_shared(a));
}

/* q, k and v of one head. */
static void take_head(const cm_attention_f32 *a, const float *const in[2], size_t head, const workspace *r)
{
    for (size_t first = 0; first < a->tokens; first += BLOCK) {
        const size_t last = first + block_rows(a, first);
        matrix m[3];
        find_rows(a, in, head, first, last, r->scores, m);
        take_rows(a, m[Q], first, last, r->q);
        pack_columns(a, m[K], first, last, r->k_columns);
        if (!is_shared(a)) pack_columns(a, m[V], first, last, r->v_columns);
        pack_rows(a, m[K], first, last, r->k_rows);
    }
}

/* Gradients [tokens][d] to where q, k and v of the head lie. */
static void put_head(const cm_attention_f32 *a, const workspace *r, size_t head, float *const din[2])
{
    const size_t d = a->d;
    float *to[3];
    for (size_t i = 0; i < 3; i++) {
        const cm_qkv *p = &a->qkv[i];
        to[i] = din[p->input] ? din[p->input] + p->first + head * p->by_head : NULL;
        for (size_t row = 0; to[i] && p->step == 1 && row < a->tokens; row++)
            memcpy(to[i] + row * p->row, r->gradient[i] + row * d, d * sizeof *to[i]);
    }
    for (size_t row = 0; to[Q] && a->qkv[Q].step == 3 && row < a->tokens; row++)
        a->kernels->pointwise->join3(d, r->gradient[Q] + row * d, r->gradient[K] + row * d, r->gradient[V] + row * d,
                                     to[Q] + row * a->qkv[Q].row);
}

void cmi_attention_f32_gradient(const cm_attention_f32 *a, const float *const in[2], const float *dout,
                                float *const din[2], void *scratch)
{
    const workspace r = workspace_of(a, scratch);
    for (size_t h = 0; h < a->heads; h++) {
        take_head(a, in, h, &r);
        for (size_t first = 0; first < a->tokens; first += BLOCK) block_gradient(a, dout + h * a->d, first, &r);
        put_head(a, &r, h, din);
    }
}
