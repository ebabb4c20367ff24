/* learner_peers.c - what the ranks tell each other of a step beside gradients: a record of doubles each, which holds
 * the adaptive weight's gradient and the losses of the rank's images. */
#include <string.h>

#include "train/learner_parts.h"

static size_t record_size(const cm_learner *l, size_t images)
{
    return (size_t)l->weighing.size + cmi_share_largest(&l->options.share, images, l->options.slice);
}

/* Room for the record of this rank and then those of all. */
static cm_status reserve(cm_learner *l, size_t doubles)
{
    if (doubles <= l->n_records) return CM_OK;
    l->n_records = 0;
    cmi_free(l->context, l->records);
    l->records = cmi_calloc(l->context, doubles, sizeof *l->records);
    if (!l->records) return CM_ERR_MEMORY;
    l->n_records = doubles;
    return CM_OK;
}

/* Neighbours first, as cm_group_sum_fn adds. */
static void add_records(double *records, size_t apart, size_t ranks, int32_t n)
{
    for (size_t gap = 1; gap < ranks; gap *= 2)
        for (size_t r = 0; r + gap < ranks; r += 2 * gap)
            for (int32_t i = 0; i < n; i++) records[r * apart + (size_t)i] += records[(r + gap) * apart + (size_t)i];
}

cm_status cmi_learner_gather(cm_learner *l, const cm_learner_batch *b)
{
    const cm_share *s = &l->options.share;
    const size_t size = record_size(l, b->all), ranks = cmi_peers_count(l->options.peers);
    const size_t weighing = (size_t)l->weighing.size;
    if (ranks == 1) return CM_OK;
    CM_TRY(reserve(l, size * (ranks + 1)));
    double *all = l->records + size;
    memset(l->records, 0, size * sizeof *l->records);
    memcpy(l->records, l->weighing.sum, weighing * sizeof *l->records);
    memcpy(l->records + weighing, b->loss + b->begin, b->n * sizeof *l->records);
    CM_TRY(cmi_peers_gather(l->options.peers, l->records, size * sizeof *l->records, all, b->what));
    for (size_t r = 0; r < ranks; r++) {
        const size_t first = cmi_share_image(s, b->all, l->options.slice, r * s->own);
        const size_t end = cmi_share_image(s, b->all, l->options.slice, (r + 1) * s->own);
        memcpy(b->loss + first, all + r * size + weighing, (end - first) * sizeof *b->loss);
    }
    add_records(all, size, ranks, l->weighing.size);
    memcpy(l->weighing.sum, all, weighing * sizeof *l->weighing.sum);
    return CM_OK;
}
