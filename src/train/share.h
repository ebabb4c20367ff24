/* share.h - which micro-batches of a step are whose.
 *
 * The slices of a step are cut into shards of neighbouring ones, and a rank has neighbouring shards.  Slices of a
 * shard are added one after the other, shards by pairs: 0 + 1, 2 + 3, then these sums.  Where the shards of a rank
 * are a power of two they make a tree of their own, and the ranks add theirs in the same way, so the tree of a step
 * does not depend on how many ranks share it. */
#ifndef CM_TRAIN_SHARE_H
#define CM_TRAIN_SHARE_H

#include "base/status.h"

/* Shards of a rank are 1 << 0 .. 1 << CM_SHARD_LEVELS. */
enum { CM_SHARD_LEVELS = 10 };

typedef struct cm_share {
    size_t shards;     /* of a step                                         */
    size_t first, own; /* of this rank: `own` of them, from number `first` on */
} cm_share;

/* micro_shards: shards of a step, 0: one a rank.  ARGUMENT where the ranks cannot share them. */
cm_status cmi_share_of(size_t micro_shards, size_t rank, size_t ranks, cm_share *out);

/* Of a step of so many slices, the number of the first one of a shard. */
static inline size_t cmi_share_border(const cm_share *s, size_t slices, size_t shard)
{
    return shard * slices / s->shards;
}
/* ARGUMENT where a step of so many images has fewer slices than shards. */
cm_status cmi_share_check(const cm_share *s, size_t images, size_t slice);
/* The first image of a shard, in a step of so many images in slices of so many; of the shard behind the last: all of
 * them. */
size_t cmi_share_image(const cm_share *s, size_t images, size_t slice, size_t shard);
/* The images of this rank; and the most that any has. */
static inline size_t cmi_share_first(const cm_share *s, size_t images, size_t slice)
{
    return cmi_share_image(s, images, slice, s->first);
}
static inline size_t cmi_share_count(const cm_share *s, size_t images, size_t slice)
{
    return cmi_share_image(s, images, slice, s->first + s->own) - cmi_share_first(s, images, slice);
}
size_t cmi_share_largest(const cm_share *s, size_t images, size_t slice);

/* How many sums that wait a shard's sum takes in, lowest level first, before it waits itself one level above them. */
static inline int cmi_shard_merges(size_t shard)
{
    int n = 0;
    while (shard >> n & 1) n++;
    return n;
}
/* Levels of this rank's tree. */
static inline int cmi_share_levels(const cm_share *s)
{
    return cmi_shard_merges(s->own - 1);
}

#endif
