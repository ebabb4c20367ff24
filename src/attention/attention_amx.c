/* attention_amx.c - q as it is, k and v packed as weights are, once an image; then blocks
 * of 64 queries of a head are independent, their scores stay in the cache. */
#include "attention/attention_amx.h"

#include <math.h>
#include <string.h>

#include "base/parallel.h"

enum { BLOCK = 64, TILE = 512, PAIR = 2 * TILE }; /* queries; values of a tile, of 32 columns by 32 */

/* Values from one row to the next of n in their parts: an odd number of cache lines, or they
 * collide. */
static size_t row_of(const cm_attention_amx *a, size_t n)
{
    return ((size_t)a->parts * n / 32 | 1) * 32;
}

/* Bytes of q, of k or v, and of a worker's: scores, exponentials and results of a block, rows of
 * d values. */
static size_t q_bytes(const cm_attention_amx *a)
{
    return a->heads * a->tokens * row_of(a, a->d) * sizeof(uint16_t);
}

/* Floats from one row of scores to the next, for the same reason. */
static size_t scores_row(const cm_attention_amx *a)
{
    return a->tokens + 16;
}

static size_t packed_bytes(const cm_attention_amx *a)
{
    return (size_t)a->parts * a->heads * a->tokens * a->d * sizeof(uint16_t);
}

static size_t worker_bytes(const cm_attention_amx *a)
{
    return (BLOCK * scores_row(a) + BLOCK * a->d + BLOCK) * sizeof(float) +
           (BLOCK * row_of(a, a->tokens) + 16 * (size_t)a->parts * a->d) * sizeof(uint16_t);
}

size_t cmi_attention_amx_scratch_bytes(const cm_attention_amx *a)
{
    return q_bytes(a) + 2 * packed_bytes(a) + (size_t)a->threads.count * worker_bytes(a);
}

typedef struct {
    const cm_attention_amx *a;
    const void *const *in;
    unsigned char *out, *workers;
    /* q [head][token][row_of(d)]; k [head][token / 32][d / 32][part][32][32]; v [head][d / 32]
     * [token / 32][part][32][32]. */
    uint16_t *q, *k, *v;
} job;

/* A worker's memory by name. */
typedef struct {
    float *scores, *result, *inverse;
    uint16_t *p, *rows; /* rows: of 16 tokens, their parts */
} workspace;

static workspace workspace_of(const job *j, int worker)
{
    const cm_attention_amx *a = j->a;
    workspace r;
    r.scores = (float *)(void *)(j->workers + (size_t)worker * worker_bytes(a));
    r.result = r.scores + BLOCK * scores_row(a);
    r.inverse = r.result + BLOCK * a->d;
    r.p = (uint16_t *)(void *)(r.inverse + BLOCK);
    r.rows = r.p + BLOCK * row_of(a, a->tokens);
    return r;
}

/* q, k or v (kind 0, 1, 2) of one token and head, d values in their parts. */
static void take(const job *j, size_t token, size_t head, size_t kind, float *floats, uint16_t *to)
{
    const cm_attention_amx *a = j->a;
    const cm_qkv *p = &a->qkv[kind];
    const size_t s = p->step, d = a->d; /* every step-th: 1 or 3 */
    const int is_bf16 = a->x_bf16[p->input];
    const void *from = cmi_values_at(j->in[p->input], is_bf16, token * p->row + p->first + head * p->by_head);
    const float *whole = from;
    if (s > 1) a->kernels->amx->thirds(d, from, is_bf16, is_bf16 ? (void *)to : floats);
    else if (is_bf16) memcpy(to, from, d * sizeof *to);
    if (is_bf16) return;
    if (a->parts > 1) a->kernels->amx->split(d, s > 1 ? floats : whole, to, d);
    else a->kernels->amx->round(d, s > 1 ? floats : whole, to);
}

/* 32 channels of two tokens: pairs of channels n and 16 + n become pairs of tokens. */
static void put_pairs(const uint16_t *const v[2], uint32_t *low, uint32_t *high)
{
    uint32_t w[2][16];
    memcpy(w[0], v[0], sizeof w[0]);
    memcpy(w[1], v[1], sizeof w[1]);
    for (size_t n = 0; n < 16; n++) low[n] = (w[0][n] & 0xffff) | w[1][n] << 16;
    for (size_t n = 0; n < 16; n++) high[n] = w[0][n] >> 16 | (w[1][n] & 0xffff0000);
}

/* The same of channels in order. */
static void put_neighbours(const uint16_t *const v[2], uint32_t *low, uint32_t *high)
{
    for (size_t n = 0; n < 16; n++) low[n] = v[0][n] | (uint32_t)v[1][n] << 16;
    for (size_t n = 0; n < 16; n++) high[n] = v[0][16 + n] | (uint32_t)v[1][16 + n] << 16;
}

/* Two rows of v side by side, pair number `pair` of 32 tokens; `down`: from one group of 32
 * columns to the next. */
static void put_rows(const cm_attention_amx *a, const uint16_t *const v[2], size_t pair, size_t down, uint16_t *to)
{
    to += pair * 32;
    for (size_t i = 0; i < a->d; i += 32, to += down)
        for (size_t part = 0; part < (size_t)a->parts; part++) {
            const uint16_t *const at[2] = {v[0] + part * a->d + i, v[1] + part * a->d + i};
            uint32_t *low = (uint32_t *)(void *)(to + part * PAIR), *high = low + TILE / 2;
            if (a->parts > 1) put_pairs(at, low, high);
            else put_neighbours(at, low, high);
        }
}

/* 16 rows of k to columns of k^T. */
static void put_columns(const cm_attention_amx *a, const uint16_t *k, uint16_t *to)
{
    const size_t row = (size_t)a->parts * a->d;
    for (size_t i = 0; i < a->d; i += 32)
        for (size_t part = 0; part < (size_t)a->parts; part++, to += PAIR)
            a->kernels->amx->transpose((const uint32_t *)(const void *)(k + part * a->d + i), row / 2, to, 32);
}

/* 32 tokens of one head. */
static cm_status pack_piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_attention_amx *a = j->a;
    const size_t groups = a->tokens / 32, head = (size_t)index / groups, group = (size_t)index % groups;
    const size_t first = group * 32, d = a->d, parts = (size_t)a->parts, packed = parts * a->tokens * d;
    const workspace r = workspace_of(j, worker);
    for (size_t i = 0; i < 32; i++)
        take(j, first + i, head, 0, r.result, j->q + (head * a->tokens + first + i) * row_of(a, d));
    for (size_t half = 0; half < 2; half++) {
        for (size_t i = 0; i < 16; i++) take(j, first + 16 * half + i, head, 1, r.result, r.rows + i * parts * d);
        put_columns(a, r.rows, j->k + head * packed + parts * first * d + half * TILE);
    }
    for (size_t i = 0; i < 16; i++) {
        const uint16_t *const rows[2] = {r.rows, r.rows + parts * d};
        const size_t tokens[2] = {parts > 1 ? i : 2 * i, parts > 1 ? 16 + i : 2 * i + 1}; /* pairs as p has them */
        for (size_t n = 0; n < 2; n++) take(j, first + tokens[n], head, 2, r.result, r.rows + n * parts * d);
        put_rows(a, rows, i, groups * parts * PAIR, j->v + head * packed + group * parts * PAIR);
    }
    return CM_OK;
}

static const int32_t starts[BLOCK / 16] = {0, 16, 32, 48};

/* y [rows][columns] = a [rows][32 depth] b. */
static void product(const job *j, size_t rows, const uint16_t *a, size_t row, size_t depth, const uint16_t *b,
                    size_t columns, float *y, size_t y_row)
{
    cm_amx_strip strip = {.a = a,
                          .b = b,
                          .starts = starts,
                          .tiles = rows / 16,
                          .row = row,
                          .side = 1,
                          .depth = depth,
                          .part = j->a->parts > 1 ? depth * 32 : 0,
                          .width = 32,
                          .y = y,
                          .oc = y_row};
    for (size_t i = 0; i < columns; i += 32, strip.b += (size_t)j->a->parts * depth * PAIR) {
        strip.y = y + i;
        j->a->kernels->amx->strip(&strip);
    }
}

/* One query's result, d values, to value `at` of the output. */
static void put_result(const job *j, float *result, float inverse, size_t at)
{
    const cm_attention_amx *a = j->a;
    if (!a->y_bf16) {
        a->kernels->pointwise->scale(a->d, inverse, result, (float *)(void *)j->out + at);
        return;
    }
    a->kernels->pointwise->scale(a->d, inverse, result, result);
    a->kernels->amx->round(a->d, result, (uint16_t *)(void *)j->out + at);
}

/* One block of queries of one head. */
static cm_status block_piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_attention_amx *a = j->a;
    const size_t t = a->tokens, d = a->d, c = a->heads * d, blocks = (t + BLOCK - 1) / BLOCK;
    const size_t head = (size_t)index / blocks, first = (size_t)index % blocks * BLOCK;
    const size_t rows = t - first < BLOCK ? t - first : BLOCK;
    const size_t packed = (size_t)a->parts * t * d;
    const workspace r = workspace_of(j, worker);
    a->kernels->amx->begin();
    product(j, rows, j->q + (head * t + first) * row_of(a, d), row_of(a, d), d / 32, j->k + head * packed, t,
            r.scores, scores_row(a));
    a->kernels->amx->softmax(rows, t, (float)(1 / sqrt((double)d)), r.scores, scores_row(a), r.p, row_of(a, t),
                             a->parts > 1 ? t : 0, r.inverse);
    product(j, rows, r.p, row_of(a, t), t / 32, j->v + head * packed, d, r.result, d);
    a->kernels->amx->end();
    for (size_t i = 0; i < rows; i++) put_result(j, r.result + i * d, r.inverse[i], (first + i) * c + head * d);
    return CM_OK;
}

cm_status cmi_attention_amx_run(const cm_attention_amx *a, const void *const in[2], void *out, void *scratch)
{
    job j = {.a = a, .in = in, .out = out, .q = scratch};
    j.k = j.q + q_bytes(a) / sizeof *j.q;
    j.v = j.k + packed_bytes(a) / sizeof *j.k;
    j.workers = (unsigned char *)(j.v + packed_bytes(a) / sizeof *j.v);
    CM_TRY(cmi_parallel(a->threads, (int)(a->heads * (a->tokens / 32)), pack_piece, &j));
    return cmi_parallel(a->threads, (int)(a->heads * ((a->tokens + BLOCK - 1) / BLOCK)), block_piece, &j);
}
