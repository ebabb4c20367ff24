/* attention_f32.c - blocks of 64 queries of a head are independent, their scores stay in the
 * cache.
 *
 * The matrices have multiples of 16 rows and columns.  Where tokens or d are none, the rest is 0: scores of such keys
 * are then 0 and no part of the softmax, and so are the terms that they add.
 *
 * Gradients make the scores again: with p = softmax(s) and do the gradient of the result,
 *   dv += p^T do,  dp = do v^T,  ds = p (dp - sum p dp) / sqrt(d),  dq = ds k,  dk += ds^T q.
 * One head at a time, so that its matrices stay near.
 *
 * Tangents, with ts = (tq k^T + q tk^T) / sqrt(d): tp = p (ts - sum p ts), to = tp v + p tv.  Each of the two sums is
 * one product of matrices that stand side by side, [tq q] with k above tk, and [tp p] with v above tv. */
#include "attention/attention_f32.h"

#include <math.h>
#include <string.h>

#include "base/parallel.h"

enum { BLOCK = 64 };
enum { Q, K, V };

/* Rows and columns of the matrices. */
static size_t rows_of(const cm_attention_f32 *a)
{
    return (a->tokens + 15) / 16 * 16;
}
static size_t columns_of(const cm_attention_f32 *a)
{
    return (a->d + 15) / 16 * 16;
}
static int is_filled_up(const cm_attention_f32 *a)
{
    return rows_of(a) != a->tokens || columns_of(a) != a->d;
}

/* Floats from one row of scores to the next: an odd number of cache lines, or they collide where
 * columns are read. */
static size_t scores_row(const cm_attention_f32 *a)
{
    return (rows_of(a) / 16 | 1) * 16;
}

static size_t matrix_floats(const cm_attention_f32 *a)
{
    return rows_of(a) * columns_of(a);
}

/* A worker's: scores of one block or two, before that rows of q, k and v that were split; and results of which not
 * all columns are wanted. */
static size_t worker_floats(const cm_attention_f32 *a, size_t blocks)
{
    const size_t scores = blocks * BLOCK * scores_row(a), rows = 3 * BLOCK * a->d;
    return (scores > rows ? scores : (rows + 15) / 16 * 16) + (columns_of(a) != a->d ? BLOCK * columns_of(a) : 0);
}

size_t cmi_attention_f32_scratch_bytes(const cm_attention_f32 *a, int gradients)
{
    const size_t forward = 3 * a->heads * matrix_floats(a) + (size_t)a->threads.count * worker_floats(a, 1);
    const size_t backward = 7 * matrix_floats(a) + worker_floats(a, 2) + BLOCK * columns_of(a);
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

/* Rows [first, last) as they are, `row` floats from one to the next. */
static void take_rows(const cm_attention_f32 *a, matrix from, size_t first, size_t last, size_t row, float *to)
{
    for (size_t i = first; i < last; i++) memcpy(to + i * row, from.at + (i - first) * from.row, a->d * sizeof *to);
}

/* The same rows of a matrix that is multiplied from the right: panels [depth][width] of neighbouring channels, of
 * which they are those from `above` on. */
static void pack_rows(const cm_attention_f32 *a, matrix from, size_t first, size_t last, size_t depth, size_t above,
                      float *to)
{
    for (size_t k = 0, width; k < a->d; k += width) {
        width = a->kernels->gemm->panel(columns_of(a) - k);
        const size_t n = a->d - k < width ? a->d - k : width;
        for (size_t i = first; i < last; i++)
            memcpy(to + k * depth + (above + i) * width, from.at + (i - first) * from.row + k, n * sizeof *to);
    }
}

/* n rows to columns; the loop of the kernels takes multiples of four. */
static void transpose(const cm_attention_f32 *a, size_t n, const float *from, size_t row, float *to, size_t to_row)
{
    const size_t rows = n / 4 * 4, columns = a->d / 4 * 4;
    a->kernels->pointwise->transpose(rows, columns, from, row, to, to_row);
    for (size_t i = 0; i < n; i++)
        for (size_t k = i < rows ? columns : 0; k < a->d; k++) to[k * to_row + i] = from[i * row + k];
}

/* The same rows as columns of the transpose: panels [depth][width] of neighbouring tokens. */
static void pack_columns(const cm_attention_f32 *a, matrix from, size_t first, size_t last, size_t depth,
                         size_t above, float *to)
{
    for (size_t i = first, width; i < last; i += width) {
        width = a->kernels->gemm->panel(rows_of(a) - i);
        const size_t n = last - i < width ? last - i : width;
        transpose(a, n, from.at + (i - first) * from.row, from.row, to + i * depth + above * width, width);
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
        take_rows(a, m[Q], first, last, columns_of(a), j->q + h * matrix_floats(a));
        pack_columns(a, m[K], first, last, columns_of(a), 0, j->k + h * matrix_floats(a));
        pack_rows(a, m[V], first, last, rows_of(a), 0, j->v + h * matrix_floats(a));
    }
    return CM_OK;
}

/* Probabilities of `rows` queries. */
static void probabilities(const cm_attention_f32 *a, size_t rows, const float *q, const float *k, float *scores)
{
    a->kernels->gemm->product(rows, rows_of(a), columns_of(a), q, columns_of(a), k, scores, scores_row(a));
    a->kernels->pointwise->softmax(rows, a->tokens, scores_row(a), scale_of(a), scores);
}

/* The product of `rows` scores and v to where the result lies, by way of `buffer` where not all columns are wanted.
 */
static void weigh(const cm_attention_f32 *a, size_t rows, size_t depth, const float *scores, size_t row,
                  const float *v, float *buffer, float *out)
{
    const size_t c = a->heads * a->d, columns = columns_of(a);
    const int whole = columns == a->d;
    a->kernels->gemm->product(rows, columns, depth, scores, row, v, whole ? out : buffer, whole ? c : columns);
    for (size_t i = 0; !whole && i < rows; i++) memcpy(out + i * c, buffer + i * columns, a->d * sizeof *out);
}

/* One block of queries of one head. */
static cm_status block_piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_attention_f32 *a = j->a;
    const size_t h = (size_t)index / blocks_of(a), first = (size_t)index % blocks_of(a) * BLOCK;
    const size_t rows = block_rows(a, first), head = h * matrix_floats(a), c = a->heads * a->d;
    float *scores = worker_buffer(j, worker), *buffer = scores + worker_floats(a, 1) - BLOCK * columns_of(a);
    probabilities(a, rows, j->q + head + first * columns_of(a), j->k + head, scores);
    weigh(a, rows, rows_of(a), scores, scores_row(a), j->v + head, buffer, j->out + first * c + h * a->d);
    return CM_OK;
}

cm_status cmi_attention_f32_run(const cm_attention_f32 *a, const float *const in[2], float *out, void *scratch)
{
    job j = {.a = a, .in = in, .out = out, .q = scratch};
    j.k = j.q + a->heads * matrix_floats(a);
    j.v = j.k + a->heads * matrix_floats(a);
    j.scores = j.v + a->heads * matrix_floats(a);
    if (is_filled_up(a)) memset(scratch, 0, 3 * a->heads * matrix_floats(a) * sizeof(float));
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
    const size_t t = rows_of(a), d = columns_of(a), rows = block_rows(a, first), row = scores_row(a);
    for (size_t i = 0; i < rows; i++)
        memcpy(r->dout + i * d, dout + (first + i) * a->heads * a->d, a->d * sizeof *dout);
    probabilities(a, rows, r->q + first * d, r->k_columns, r->scores);
    gemm->product_transposed(t, d, rows, r->scores, row, r->dout, d, r->gradient[V], first > 0);
    gemm->product(rows, t, d, r->dout, d, r->v_columns, r->more, row);
    a->kernels->pointwise->softmax_back(rows, a->tokens, row, scale_of(a), r->scores, r->more);
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
        take_rows(a, m[Q], first, last, columns_of(a), r->q);
        pack_columns(a, m[K], first, last, columns_of(a), 0, r->k_columns);
        if (!is_shared(a)) pack_columns(a, m[V], first, last, columns_of(a), 0, r->v_columns);
        pack_rows(a, m[K], first, last, rows_of(a), 0, r->k_rows);
    }
}

/* Gradients [tokens][d] to where q, k and v of the head lie. */
static void put_head(const cm_attention_f32 *a, const workspace *r, size_t head, float *const din[2])
{
    const size_t d = a->d, apart = columns_of(a);
    float *to[3];
    for (size_t i = 0; i < 3; i++) {
        const cm_qkv *p = &a->qkv[i];
        to[i] = din[p->input] ? din[p->input] + p->first + head * p->by_head : NULL;
        for (size_t row = 0; to[i] && p->step == 1 && row < a->tokens; row++)
            memcpy(to[i] + row * p->row, r->gradient[i] + row * apart, d * sizeof *to[i]);
    }
    for (size_t row = 0; to[Q] && a->qkv[Q].step == 3 && row < a->tokens; row++)
        a->kernels->pointwise->join3(d, r->gradient[Q] + row * apart, r->gradient[K] + row * apart,
                                     r->gradient[V] + row * apart, to[Q] + row * a->qkv[Q].row);
}

void cmi_attention_f32_gradient(const cm_attention_f32 *a, const float *const in[2], const float *dout,
                                float *const din[2], void *scratch)
{
    const workspace r = workspace_of(a, scratch);
    if (is_filled_up(a)) memset(scratch, 0, cmi_attention_f32_scratch_bytes(a, 1));
    for (size_t h = 0; h < a->heads; h++) {
        take_head(a, in, h, &r);
        for (size_t first = 0; first < a->tokens; first += BLOCK) block_gradient(a, dout + h * a->d, first, &r);
        put_head(a, &r, h, din);
    }
}

/* --- tangents ------------------------------------------------------------------------------------- */

typedef struct {
    const cm_attention_f32 *a;
    const float *const *in, *const *tin;
    float *out, *tout;
    float *q;          /* [head][tokens][2d]: tq, then q                  */
    float *k, *k_both; /* columns: of k, and of k above tk                */
    float *v, *v_both; /* rows: of v, and of v above tv                   */
    float *scores;     /* [worker]: [64][tp, p], or before [2][3][64][d] and zeros */
} moving;

/* Floats from one row of [tp p] to the next. */
static size_t both_row(const cm_attention_f32 *a)
{
    return (2 * rows_of(a) / 16 | 1) * 16;
}

static size_t moving_worker_floats(const cm_attention_f32 *a)
{
    const size_t scores = BLOCK * both_row(a), rows = 7 * BLOCK * a->d;
    return (scores > rows ? scores : (rows + 15) / 16 * 16) + (columns_of(a) != a->d ? BLOCK * columns_of(a) : 0);
}

size_t cmi_attention_f32_tangent_scratch_bytes(const cm_attention_f32 *a)
{
    return sizeof(float) * (8 * a->heads * matrix_floats(a) + (size_t)a->threads.count * moving_worker_floats(a));
}

/* The tangents of find_rows; of what does not move, zeros. */
static void find_tangents(const cm_attention_f32 *a, const float *const tin[2], size_t head, size_t first,
                          size_t last, float *buffer, matrix m[3])
{
    const size_t size = BLOCK * a->d;
    float *zeros = buffer + 3 * size;
    if (tin[0] && (tin[1] || a->qkv[V].input == 0)) {
        find_rows(a, tin, head, first, last, buffer, m);
        return;
    }
    memset(zeros, 0, size * sizeof *zeros); /* two inputs: nothing alternates */
    for (size_t i = 0; i < 3; i++) {
        const cm_qkv *p = &a->qkv[i];
        const float *from = tin[p->input];
        m[i] = from ? (matrix){from + first * p->row + p->first + head * p->by_head, p->row} : (matrix){zeros, a->d};
    }
}

/* 64 tokens of all heads. */
static cm_status moving_pack_piece(void *user, int index, int worker)
{
    const moving *j = user;
    const cm_attention_f32 *a = j->a;
    const size_t first = (size_t)index * BLOCK, last = first + block_rows(a, first);
    const size_t d = columns_of(a), t = rows_of(a);
    float *buffer = j->scores + (size_t)worker * moving_worker_floats(a);
    for (size_t h = 0; h < a->heads; h++) {
        const size_t head = h * matrix_floats(a);
        matrix m[3], tm[3];
        find_rows(a, j->in, h, first, last, buffer, m);
        find_tangents(a, j->tin, h, first, last, buffer + 3 * BLOCK * a->d, tm);
        take_rows(a, tm[Q], first, last, 2 * d, j->q + 2 * head);
        take_rows(a, m[Q], first, last, 2 * d, j->q + 2 * head + d);
        pack_columns(a, m[K], first, last, d, 0, j->k + head);
        pack_columns(a, m[K], first, last, 2 * d, 0, j->k_both + 2 * head);
        pack_columns(a, tm[K], first, last, 2 * d, d, j->k_both + 2 * head);
        pack_rows(a, m[V], first, last, t, 0, j->v + head);
        pack_rows(a, m[V], first, last, 2 * t, 0, j->v_both + 2 * head);
        pack_rows(a, tm[V], first, last, 2 * t, t, j->v_both + 2 * head);
    }
    return CM_OK;
}

/* One block of queries of one head. */
static cm_status moving_block_piece(void *user, int index, int worker)
{
    const moving *j = user;
    const cm_attention_f32 *a = j->a;
    const cm_gemm *gemm = a->kernels->gemm;
    const size_t h = (size_t)index / blocks_of(a), first = (size_t)index % blocks_of(a) * BLOCK;
    const size_t rows = block_rows(a, first), head = h * matrix_floats(a), d = columns_of(a), t = rows_of(a);
    const size_t row = both_row(a), to = first * a->heads * a->d + h * a->d;
    const float *q = j->q + 2 * (head + first * d);
    float *tp = j->scores + (size_t)worker * moving_worker_floats(a), *p = tp + t;
    float *buffer = tp + moving_worker_floats(a) - BLOCK * d;
    gemm->product(rows, t, d, q + d, 2 * d, j->k + head, p, row);
    a->kernels->pointwise->softmax(rows, a->tokens, row, scale_of(a), p);
    gemm->product(rows, t, 2 * d, q, 2 * d, j->k_both + 2 * head, tp, row);
    a->kernels->pointwise->softmax_back(rows, a->tokens, row, scale_of(a), p, tp);
    if (j->out) weigh(a, rows, t, p, row, j->v + head, buffer, j->out + to);
    weigh(a, rows, 2 * t, tp, row, j->v_both + 2 * head, buffer, j->tout + to);
    return CM_OK;
}

cm_status cmi_attention_f32_tangent(const cm_attention_f32 *a, const float *const in[2], const float *const tin[2],
                                    float *out, float *tout, void *scratch)
{
    const size_t n = a->heads * matrix_floats(a);
    moving j = {.a = a, .in = in, .tin = tin, .out = out, .tout = tout, .q = scratch};
    j.k = j.q + 2 * n;
    j.k_both = j.k + n;
    j.v = j.k_both + 2 * n;
    j.v_both = j.v + n;
    j.scores = j.v_both + 2 * n;
    if (is_filled_up(a)) memset(scratch, 0, 8 * n * sizeof(float));
    CM_TRY(cmi_parallel(a->threads, (int)blocks_of(a), moving_pack_piece, &j));
    return cmi_parallel(a->threads, (int)(a->heads * blocks_of(a)), moving_block_piece, &j);
}
