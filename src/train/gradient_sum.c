/* gradient_sum.c - see the header.  Alone a parameter's sum lies where the plan says; among several ranks in a block
 * of buckets, in the order in which backward makes them. */
#include "train/gradient_sum.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { BUCKET = 1 << 20 }; /* floats: 4 MiB */

struct cm_gradient_sum {
    cm_context *context;
    const cm_plan *plan;
    cm_share share;
    cm_peers *peers;
    float *result, *block;         /* block: where sums are made, result or a block of its own */
    float *level[CM_SHARD_LEVELS]; /* sums of shards that wait for their neighbours */
    size_t floats;
    size_t *place, *size; /* of each parameter in `block` */
    size_t *border;       /* the first slice of each shard of this rank, and the end */
    /* Among several ranks: */
    int *bucket, n_buckets; /* of each parameter, -1: backward makes no gradient of it */
    size_t *begin;          /* of each bucket, and the end */
    int *members, *left;    /* of each bucket: its parameters; those that are not there yet */
    uint64_t *request;
    int started;
    cm_status status; /* of starting */
    char what[64];
    int locks;
    pthread_mutex_t lock;
};

/* --- making ------------------------------------------------------------------------ */

static size_t whole_lines(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

/* Places in the order of backward, and where a bucket is full. */
static cm_status lay_out(cm_gradient_sum *g, size_t params)
{
    int *order = cmi_calloc(g->context, params, sizeof *order);
    size_t at = 0;
    if (!order) return CM_ERR_MEMORY;
    for (size_t i = 0; i < params; i++) g->bucket[i] = -1;
    const int n = cmi_plan_gradient_order(g->plan, order);
    for (int i = 0; i < n; i++) {
        const int p = order[i];
        if (g->n_buckets == 0 || at - g->begin[g->n_buckets - 1] >= BUCKET) g->begin[g->n_buckets++] = at;
        g->bucket[p] = g->n_buckets - 1;
        g->members[g->bucket[p]]++;
        g->place[p] = at;
        at += whole_lines(g->size[p]);
    }
    g->begin[g->n_buckets] = at;
    g->floats = at;
    cmi_free(g->context, order);
    return CM_OK;
}

static cm_status prepare_ranks(cm_gradient_sum *g, size_t params)
{
    g->bucket = cmi_calloc(g->context, params, sizeof *g->bucket);
    g->begin = cmi_calloc(g->context, params + 1, sizeof *g->begin);
    g->members = cmi_calloc(g->context, params, sizeof *g->members);
    g->left = cmi_calloc(g->context, params, sizeof *g->left);
    g->request = cmi_calloc(g->context, params, sizeof *g->request);
    if (!g->bucket || !g->begin || !g->members || !g->left || !g->request) return CM_ERR_MEMORY;
    CM_TRY(lay_out(g, params));
    g->block = cmi_calloc(g->context, g->floats, sizeof *g->block);
    if (!g->block) return CM_ERR_MEMORY;
    if (pthread_mutex_init(&g->lock, NULL) != 0) CM_FAIL(CM_ERR_MEMORY, "out of memory: a lock");
    g->locks = 1;
    return CM_OK;
}

static cm_status prepare(cm_gradient_sum *g)
{
    const size_t params = (size_t)cmi_plan_params(g->plan);
    g->floats = cmi_plan_gradient_floats(g->plan);
    g->place = cmi_calloc(g->context, params, sizeof *g->place);
    g->size = cmi_calloc(g->context, params, sizeof *g->size);
    g->border = cmi_calloc(g->context, g->share.own + 1, sizeof *g->border);
    if (!g->place || !g->size || !g->border) return CM_ERR_MEMORY;
    for (size_t i = 0; i < params; i++) cmi_plan_gradient_at(g->plan, (int)i, &g->place[i], &g->size[i]);
    if (!cmi_peers_alone(g->peers)) CM_TRY(prepare_ranks(g, params));
    for (int i = 0; i < cmi_share_levels(&g->share); i++) {
        g->level[i] = cmi_calloc(g->context, g->floats, sizeof *g->level[i]);
        if (!g->level[i]) return CM_ERR_MEMORY;
    }
    return CM_OK;
}

cm_status cmi_gradient_sum_create(const cm_plan *plan, const cm_share *share, cm_peers *peers, float *block,
                                  cm_gradient_sum **out)
{
    *out = NULL;
    cm_context *context = cmi_plan_context(plan);
    cm_gradient_sum *g = cmi_calloc(context, 1, sizeof *g);
    if (!g) return CM_ERR_MEMORY;
    g->context = context;
    g->plan = plan;
    g->share = *share;
    g->peers = peers;
    g->result = g->block = block;
    cm_status status = prepare(g);
    if (status != CM_OK) cmi_gradient_sum_free(g);
    else *out = g;
    return status;
}

void cmi_gradient_sum_free(cm_gradient_sum *g)
{
    if (!g) return;
    if (g->locks) (void)pthread_mutex_destroy(&g->lock);
    if (g->block != g->result) cmi_free(g->context, g->block);
    for (int i = 0; i < CM_SHARD_LEVELS; i++) cmi_free(g->context, g->level[i]);
    cmi_free(g->context, g->place);
    cmi_free(g->context, g->size);
    cmi_free(g->context, g->border);
    cmi_free(g->context, g->bucket);
    cmi_free(g->context, g->begin);
    cmi_free(g->context, g->members);
    cmi_free(g->context, g->left);
    cmi_free(g->context, g->request);
    cmi_free(g->context, g);
}

size_t cmi_gradient_sum_bytes(const cm_plan *plan, const cm_share *share, const cm_peers *peers)
{
    const size_t blocks = (size_t)cmi_share_levels(share) + (cmi_peers_alone(peers) ? 0 : 1);
    return blocks * cmi_plan_gradient_floats(plan) * sizeof(float);
}

/* --- a step ------------------------------------------------------------------------- */

void cmi_gradient_sum_begin(cm_gradient_sum *g, size_t slices, const char *what)
{
    const size_t first = cmi_share_border(&g->share, slices, g->share.first);
    for (size_t i = 0; i <= g->share.own; i++)
        g->border[i] = cmi_share_border(&g->share, slices, g->share.first + i) - first;
    if (cmi_peers_alone(g->peers)) return;
    memcpy(g->left, g->members, (size_t)g->n_buckets * sizeof *g->left);
    g->started = 0;
    g->status = CM_OK;
    (void)snprintf(g->what, sizeof g->what, "%s", what);
}

int cmi_gradient_sum_slices(const cm_gradient_sum *g)
{
    return (int)g->border[g->share.own];
}

size_t cmi_gradient_sum_shard(const cm_gradient_sum *g, int slice, int *begins, int *ends)
{
    size_t shard = 0;
    while ((size_t)slice >= g->border[shard + 1]) shard++;
    *begins = (size_t)slice == g->border[shard];
    *ends = (size_t)slice + 1 == g->border[shard + 1];
    return shard;
}

static void add(float *restrict total, const float *restrict more, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) total[i] += more[i];
}

/* A parameter is there; sums begin in the order of the buckets. */
static cm_status arrive(cm_gradient_sum *g, int parameter)
{
    if (cmi_peers_alone(g->peers)) return CM_OK;
    (void)pthread_mutex_lock(&g->lock);
    g->left[g->bucket[parameter]]--;
    while (g->status == CM_OK && g->started < g->n_buckets && g->left[g->started] == 0) {
        const size_t begin = g->begin[g->started], n = g->begin[g->started + 1] - begin;
        g->status = cmi_peers_sum(g->peers, g->block + begin, n, g->what, &g->request[g->started]);
        if (g->status == CM_OK) g->started++;
    }
    const cm_status status = g->status;
    (void)pthread_mutex_unlock(&g->lock);
    return status;
}

cm_status cmi_gradient_sum_add(cm_gradient_sum *g, int parameter, int slice, const float *gradient)
{
    const size_t n = g->size[parameter], at = g->place[parameter];
    float *total = g->block + at;
    int begins, ends;
    const size_t shard = cmi_gradient_sum_shard(g, slice, &begins, &ends);
    if (begins) memcpy(total, gradient, n * sizeof *total);
    else add(total, gradient, n);
    if (!ends) return CM_OK;
    const int merges = cmi_shard_merges(shard);
    for (int i = 0; i < merges; i++) add(total, g->level[i] + at, n);
    if (shard + 1 == g->share.own) return arrive(g, parameter);
    memcpy(g->level[merges] + at, total, n * sizeof *total);
    return CM_OK;
}

static cm_status place_piece(void *user, int parameter, int worker)
{
    const cm_gradient_sum *g = user;
    size_t to, n;
    (void)worker;
    if (g->bucket[parameter] < 0) return CM_OK;
    (void)cmi_plan_gradient_at(g->plan, parameter, &to, &n);
    memcpy(g->result + to, g->block + g->place[parameter], n * sizeof *g->result);
    return CM_OK;
}

/* After a failure sums that were started are waited for too: their memory is used again. */
cm_status cmi_gradient_sum_end(cm_gradient_sum *g, cm_threads threads, cm_status status)
{
    if (cmi_peers_alone(g->peers)) return status;
    if (status != CM_OK) cmi_peers_give_up(g->peers, status);
    for (int i = 0; i < g->started; i++) {
        if (status != CM_OK) (void)g->peers->group.wait(g->peers->group.user, g->request[i]);
        else if ((status = cmi_peers_wait(g->peers, g->request[i])) != CM_OK) cmi_peers_give_up(g->peers, status);
    }
    CM_TRY(status);
    return cmi_parallel(threads, cmi_plan_params(g->plan), place_piece, g);
}
