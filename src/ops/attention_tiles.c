/* attention_tiles.c - q as it is, k and v packed as weights are, once an image; then blocks
 * of 64 queries of a head are independent, their scores stay in the cache. */
#include "ops/attention_tiles.h"

#include <math.h>
#include <string.h>

#include "base/parallel.h"

enum { BLOCK = 64, TILE = 512, PAIR = 2 * TILE }; /* queries; values of a tile, of 32 columns by 32 */

/* Values from one row to the next of n: an odd number of cache lines, or they collide. */
static size_t row_of(size_t n)
{
    return (n / 32 | 1) * 32;
}

/* Bytes of q, of k or v, and of a worker's: scores, exponentials and results of a block, rows of
 * d values. */
static size_t q_bytes(const cm_attention_tiles *a)
{
    return a->heads * a->tokens * row_of(a->d) * sizeof(uint16_t);
}

/* Floats from one row of scores to the next, for the same reason. */
static size_t scores_row(const cm_attention_tiles *a)
{
    return a->tokens + 16;
}

static size_t packed_bytes(const cm_attention_tiles *a)
{
    return a->heads * a->tokens * a->d * sizeof(uint16_t);
}

static size_t worker_bytes(const cm_attention_tiles *a)
{
    return (BLOCK * scores_row(a) + BLOCK * a->d + BLOCK) * sizeof(float) +
           (BLOCK * row_of(a->tokens) + 2 * a->d) * sizeof(uint16_t);
}

size_t cm_attention_tiles_scratch_bytes(const cm_attention_tiles *a)
{
    return q_bytes(a) + 2 * packed_bytes(a) + (size_t)a->threads * worker_bytes(a);
}

typedef struct {
    const cm_attention_tiles *a;
    const unsigned char *qkv;
    unsigned char *out, *workers;
    /* q [head][token][row_of(d)]; k [head][token / 32][d / 32][32][32]; v [head][d / 32]
     * [token / 32][32][32]. */
    uint16_t *q, *k, *v;
} job;

/* A worker's memory by name. */
typedef struct {
    float *scores, *result, *inverse;
    uint16_t *p, *rows[2];
} room;

static room room_of(const job *j, int worker)
{
    const cm_attention_tiles *a = j->a;
    room r;
    r.scores = (float *)(void *)(j->workers + (size_t)worker * worker_bytes(a));
    r.result = r.scores + BLOCK * scores_row(a);
    r.inverse = r.result + BLOCK * a->d;
    r.p = (uint16_t *)(void *)(r.inverse + BLOCK);
    r.rows[0] = r.p + BLOCK * row_of(a->tokens);
    r.rows[1] = r.rows[0] + a->d;
    return r;
}

/* q, k or v (kind 0, 1, 2) of one token and head, d values. */
static void take(const job *j, size_t token, size_t head, size_t kind, float *floats, uint16_t *to)
{
    const cm_attention_tiles *a = j->a;
    const size_t at = token * 3 * a->heads * a->d + head * a->by_head + kind * a->by_kind, s = a->step, d = a->d;
    const uint16_t *half = (const uint16_t *)(const void *)j->qkv + at;
    const float *whole = (const float *)(const void *)j->qkv + at;
    if (a->x_half && s == 1) memcpy(to, half, d * sizeof *to);
    else if (a->x_half)
        for (size_t i = 0; i < d; i++) to[i] = half[i * s];
    else if (s == 1) a->tiles->round(d, whole, to);
    else {
        for (size_t i = 0; i < d; i++) floats[i] = whole[i * s];
        a->tiles->round(d, floats, to);
    }
}

/* Row `row` of a k^T: one of 32 columns, its values two by two down the tiles. */
static void put_column(const uint16_t *k, size_t d, size_t column, uint16_t *to)
{
    to += column / 16 * TILE + column % 16 * 2;
    for (size_t i = 0; i < d; i += 32, to += PAIR)
        for (size_t n = 0; n < 32; n += 2) memcpy(to + n * 16, k + i + n, 2 * sizeof *to);
}

/* Two neighbouring rows of v side by side; `down`: from one group of 32 columns to the next. */
static void put_rows(const uint16_t *const v[2], size_t d, size_t row, size_t down, uint16_t *to)
{
    to += row / 2 * 32;
    for (size_t i = 0; i < d; i += 32, to += down)
        for (size_t n = 0; n < 32; n++) {
            to[n / 16 * TILE + n % 16 * 2] = v[0][i + n];
            to[n / 16 * TILE + n % 16 * 2 + 1] = v[1][i + n];
        }
}

/* 32 tokens of one head. */
static cm_status pack_piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_attention_tiles *a = j->a;
    const size_t groups = a->tokens / 32, head = (size_t)index / groups, group = (size_t)index % groups;
    const size_t first = group * 32, d = a->d, packed = a->tokens * d;
    const room r = room_of(j, worker);
    for (size_t i = 0; i < 32; i++)
        take(j, first + i, head, 0, r.result, j->q + (head * a->tokens + first + i) * row_of(d));
    for (size_t i = 0; i < 32; i++) {
        take(j, first + i, head, 1, r.result, r.rows[0]);
        put_column(r.rows[0], d, i, j->k + head * packed + first * d);
    }
    for (size_t i = 0; i < 32; i += 2) {
        const uint16_t *const rows[2] = {r.rows[0], r.rows[1]};
        for (size_t n = 0; n < 2; n++) take(j, first + i + n, head, 2, r.result, r.rows[n]);
        put_rows(rows, d, i, groups * PAIR, j->v + head * packed + group * PAIR);
    }
    return CM_OK;
}

static const int32_t starts[BLOCK / 16] = {0, 16, 32, 48};

/* y [rows][columns] = a [rows][32 depth] b. */
static void product(const job *j, size_t rows, const uint16_t *a, size_t row, size_t depth, const uint16_t *b,
                    size_t columns, float *y, size_t y_row)
{
    cm_tile_strip strip = {.a = a,
                           .b = b,
                           .starts = starts,
                           .tiles = rows / 16,
                           .row = row,
                           .side = 1,
                           .depth = depth,
                           .width = 32,
                           .y = y,
                           .oc = y_row};
    for (size_t i = 0; i < columns; i += 32, strip.b += depth * PAIR) {
        strip.y = y + i;
        j->a->tiles->strip(&strip);
    }
}

/* One query's result, d values, to value `at` of the output. */
static void put_result(const job *j, float *result, float inverse, size_t at)
{
    const cm_attention_tiles *a = j->a;
    if (!a->y_half) {
        a->kernels->scale(a->d, inverse, result, (float *)(void *)j->out + at);
        return;
    }
    a->kernels->scale(a->d, inverse, result, result);
    a->tiles->round(a->d, result, (uint16_t *)(void *)j->out + at);
}

/* One block of queries of one head. */
static cm_status block_piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_attention_tiles *a = j->a;
    const size_t t = a->tokens, d = a->d, c = a->heads * d, blocks = (t + BLOCK - 1) / BLOCK;
    const size_t head = (size_t)index / blocks, first = (size_t)index % blocks * BLOCK;
    const size_t rows = t - first < BLOCK ? t - first : BLOCK;
    const room r = room_of(j, worker);
    a->tiles->begin();
    product(j, rows, j->q + (head * t + first) * row_of(d), row_of(d), d / 32, j->k + head * t * d, t, r.scores,
            scores_row(a));
    a->tiles->softmax(rows, t, (float)(1 / sqrt((double)d)), r.scores, scores_row(a), r.p, row_of(t), r.inverse);
    product(j, rows, r.p, row_of(t), t / 32, j->v + head * t * d, d, r.result, d);
    a->tiles->end();
    for (size_t i = 0; i < rows; i++) put_result(j, r.result + i * d, r.inverse[i], (first + i) * c + head * d);
    return CM_OK;
}

cm_status cm_attention_tiles_run(const cm_attention_tiles *a, const void *qkv, void *out, void *scratch)
{
    job j = {.a = a, .qkv = qkv, .out = out, .q = scratch};
    j.k = j.q + q_bytes(a) / sizeof *j.q;
    j.v = j.k + packed_bytes(a) / sizeof *j.k;
    j.workers = (unsigned char *)(j.v + packed_bytes(a) / sizeof *j.v);
    CM_TRY(cm_parallel(a->threads, (int)(a->heads * (a->tokens / 32)), pack_piece, &j));
    return cm_parallel(a->threads, (int)(a->heads * ((a->tokens + BLOCK - 1) / BLOCK)), block_piece, &j);
}
