/* share.c - see the header. */
#include "train/share.h"

cm_status cmi_share_of(size_t micro_shards, size_t rank, size_t ranks, cm_share *out)
{
    const size_t shards = micro_shards ? micro_shards : ranks, own = shards / ranks;
    if (own * ranks != shards || (own & (own - 1)))
        CM_FAIL(CM_ERR_ARGUMENT,
                "micro_shards %zu cannot be shared by %zu processes: it has to be their number times a power of two",
                micro_shards, ranks);
    *out = (cm_share){shards, rank * own, own};
    return CM_OK;
}

static size_t slices_of(size_t images, size_t slice)
{
    return (images + slice - 1) / slice;
}

cm_status cmi_share_check(const cm_share *s, size_t images, size_t slice)
{
    const size_t slices = slices_of(images, slice);
    if (slices >= s->shards) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT,
            "a step of %zu images has %zu micro-batches of %zu, fewer than the %zu parts (micro_shards, or one a "
            "process) that its gradient is summed from: give a larger batch or a smaller microbatch",
            images, slices, slice, s->shards);
}

size_t cmi_share_image(const cm_share *s, size_t images, size_t slice, size_t shard)
{
    const size_t first = cmi_share_border(s, slices_of(images, slice), shard) * slice;
    return first < images ? first : images;
}

size_t cmi_share_largest(const cm_share *s, size_t images, size_t slice)
{
    size_t most = 0;
    for (size_t shard = 0; shard < s->shards; shard += s->own) {
        const size_t n = cmi_share_image(s, images, slice, shard + s->own) - cmi_share_image(s, images, slice, shard);
        if (n > most) most = n;
    }
    return most;
}
