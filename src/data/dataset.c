/* dataset.c - pictures to tensors, in an order that is a function of the seed. */
#include "data/dataset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "base/rng.h"
#include "data/resize.h"

/* --- order ---------------------------------------------------------------------- */

/* A Feistel network on 2 b bits, walked until it lands below n. */
uint64_t cmi_shuffled(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    int b = 1;
    while (b < 32 && 1ull << (2 * b) < n) b++;
    uint64_t mask = (1ull << b) - 1;
    do {
        uint64_t left = i >> b, right = i & mask;
        for (uint32_t round = 0; round < 4; round++) {
            const uint32_t counter[4] = {(uint32_t)right, round, (uint32_t)epoch,
                                         (uint32_t)(epoch >> 32) ^ 0x5eed5eedu};
            uint32_t bits[4];
            cmi_philox4x32(counter, key, bits);
            uint64_t next = left ^ (bits[0] & mask);
            left = right;
            right = next;
        }
        i = left << b | right;
    } while (i >= n);
    return i;
}

/* --- a part ------------------------------------------------------------------------ */

static const cm_choice parts[] = {
    {"all", "the whole set"},
    {"training", "all but the pictures that are held out"},
    {"held-out", "the pictures that are held out"},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_dataset_part_choices, "dataset_parts", parts);

size_t cmi_dataset_count(const cm_dataset *d)
{
    return d->members ? d->n_members : d->source->count;
}

size_t cmi_dataset_member(const cm_dataset *d, size_t i)
{
    return d->members ? d->members[i] : i;
}

cm_status cmi_dataset_expect_whole(const cm_dataset *d, const char *call)
{
    if (d->members) CM_FAIL(CM_ERR_ARGUMENT, "%s: the set was opened as a part; open the whole set", call);
    return CM_OK;
}

static int is_held_out(const cm_dataset *d, size_t i)
{
    const uint64_t number = i;
    const char *name = d->source->names ? d->source->names[i] : NULL;
    const uint64_t hash = name ? XXH3_64bits(name, strlen(name)) : XXH3_64bits(&number, sizeof number);
    return (double)(hash >> 11) / 9007199254740992.0 < d->o.held_out;
}

static cm_status choose_part(cm_dataset *d)
{
    const size_t n = d->source->count;
    const int held = d->o.part == CM_PART_HELD_OUT;
    if (d->o.part == CM_PART_ALL) return CM_OK;
    d->members = cmi_calloc(d->context, n, sizeof *d->members);
    if (!d->members) return CM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        if (is_held_out(d, i) == held) d->members[d->n_members++] = i;
    if (d->n_members) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "of %zu pictures a share of %g leaves none to %s", n, d->o.held_out,
            held ? "hold out" : "learn from");
}

/* --- making ------------------------------------------------------------------------ */

static cm_status make_fingerprint(cm_dataset *d)
{
    const cm_source *s = d->source;
    XXH3_state_t *state = XXH3_createState();
    if (!state) CM_FAIL(CM_ERR_MEMORY, "out of memory: fingerprint");
    const uint64_t head[2] = {s->count, s->bytes};
    (void)XXH3_64bits_reset(state);
    (void)XXH3_64bits_update(state, head, sizeof head);
    for (size_t i = 0; s->names && i < s->count; i++)
        (void)XXH3_64bits_update(state, s->names[i], strlen(s->names[i]) + 1);
    if (d->labels) (void)XXH3_64bits_update(state, d->labels, s->count * sizeof *d->labels);
    const double part[2] = {d->o.held_out, (double)d->o.part};
    if (d->members) (void)XXH3_64bits_update(state, part, sizeof part);
    d->fingerprint = XXH3_64bits_digest(state);
    (void)XXH3_freeState(state);
    return CM_OK;
}

int cmi_dataset_is_damage(cm_status status)
{
    return status == CM_ERR_FORMAT || status == CM_ERR_LIMIT || status == CM_ERR_UNSUPPORTED;
}

/* The first picture that can be read decides sizes that were left open. */
static cm_status find_size(cm_dataset *d)
{
    cm_picture p;
    cm_status status = CM_ERR_FORMAT;
    const int cuts = d->o.random_crop != CM_CROP_NONE;
    if (d->o.channels == 0) d->o.channels = d->source->kind == &cmi_source_idx ? 1 : 3;
    if (cuts && d->o.height > 0 && d->o.width == 0) d->o.width = d->o.height;
    if (cuts && d->o.width > 0 && d->o.height == 0) d->o.height = d->o.width;
    if (cuts && d->o.height != d->o.width)
        CM_FAIL(CM_ERR_ARGUMENT, "images of %d x %d: only squares are cut", d->o.height, d->o.width);
    for (size_t i = 0; i < d->source->count && i < 1000 && cmi_dataset_is_damage(status); i++)
        status = d->source->kind->picture(d->source, i, d->o.channels, &p);
    if (status != CM_OK && !cmi_dataset_is_damage(status)) return status;
    if (status != CM_OK) CM_FAIL(status, "no picture of the set can be read; of the last: %s", cm_last_message());
    int32_t h = p.height, w = p.width;
    cmi_free(d->context, p.pixels);
    if (d->source->raw) {
        if ((d->o.height && d->o.height != h) || (d->o.width && d->o.width != w))
            CM_FAIL(CM_ERR_ARGUMENT, "a %s set gives images of %d x %d, not %d x %d", d->source->kind->name, h, w,
                    d->o.height, d->o.width);
        if (d->o.random_crop == CM_CROP_RANDOM)
            CM_FAIL(CM_ERR_ARGUMENT, "random_crop has no effect on a %s set", d->source->kind->name);
        d->o.height = h, d->o.width = w;
    } else if (!cuts) {
        if (!d->o.height) d->o.height = h;
        if (!d->o.width) d->o.width = w;
    } else if (!d->o.height) {
        d->o.height = d->o.width = h < w ? h : w;
    }
    return CM_OK;
}

/* What is wrong with a set is told with its path. */
static cm_status told_of(const char *path, cm_status status)
{
    if (status == CM_OK || status == CM_ERR_MEMORY || strstr(cm_last_message(), path)) return status;
    return cmi_fail(status, "%s: %s", path, cm_last_message());
}

static cm_status build(cm_dataset *d, const char *path)
{
    CM_TRY(cmi_source_open(d->context, path, &d->source));
    d->known_bad = cmi_calloc(d->context, d->source->count / 8 + 1, 1);
    if (!d->known_bad) return CM_ERR_MEMORY;
    CM_TRY(told_of(path, cmi_dataset_find_labels(d)));
    CM_TRY(told_of(path, cmi_dataset_take_names(d)));
    CM_TRY(told_of(path, find_size(d)));
    CM_TRY(cmi_dataset_look_for_colours(d));
    CM_TRY(choose_part(d));
    return make_fingerprint(d);
}

cm_status cmi_dataset_make(cm_context *context, const char *path, const cm_dataset_options *options, cm_dataset **out)
{
    cm_context *owner;
    *out = NULL;
    CM_TRY(cmi_context_retain(context, &owner));
    cm_dataset *d = cmi_calloc(owner, 1, sizeof *d);
    if (!d) {
        cm_context_free(owner);
        return CM_ERR_MEMORY;
    }
    d->context = owner;
    atomic_init(&d->bad, 0);
    cmi_call_init(&d->call);
    d->o = *options;
    cm_status status = build(d, path);
    if (status != CM_OK) cmi_dataset_release(d);
    else *out = d;
    return status;
}

void cmi_dataset_release(cm_dataset *d)
{
    if (!d) return;
    cm_context *context = d->context;
    for (int32_t i = 0; d->classes && i < d->n_classes; i++) cmi_free(context, d->classes[i]);
    cmi_free(context, d->classes);
    cmi_free(context, d->labels);
    cmi_free(context, d->known_bad);
    cmi_free(context, d->members);
    cmi_source_close(d->source);
    cmi_free(context, d);
    cm_context_free(context);
}

/* --- one picture ------------------------------------------------------------------------ */

const char *cmi_dataset_picture_name(const cm_dataset *d, size_t i, char *text, size_t size)
{
    (void)snprintf(text, size, "picture %zu%s%.200s", i, d->source->names ? ", " : "",
                   d->source->names ? d->source->names[i] : "");
    return text;
}

static cm_status as_it_is(const cm_dataset *d, size_t i, const cm_picture *p)
{
    if (p->height == d->o.height && p->width == d->o.width) return CM_OK;
    CM_FAIL(CM_ERR_SHAPE,
            "picture %zu%s%.200s is %d x %d and the images are %d x %d (height x width): nothing is cut", i,
            d->source->names ? ", " : "", d->source->names ? d->source->names[i] : "", p->height, p->width,
            d->o.height, d->o.width);
}

cm_status cmi_dataset_cut(const cm_dataset *d, uint64_t position, size_t i, cm_picture *p)
{
    int32_t s = d->o.height;
    double u[3];
    if (d->source->raw) {
        if (p->height != s || p->width != d->o.width)
            CM_FAIL(CM_ERR_FORMAT, "a picture of %d x %d among those of %d x %d", p->height, p->width, s, d->o.width);
        return CM_OK;
    }
    if (d->o.random_crop == CM_CROP_NONE) return as_it_is(d, i, p);
    if (d->o.random_crop == CM_CROP_CENTER) return cmi_center_crop(d->context, p, s);
    const cm_stream stream = {d->o.seed, position | 1ull << 62, 0};
    cmi_stream_uniform(&stream, 3, u);
    int32_t top = (int32_t)ceil(s / 0.8), side = s + (int32_t)(u[0] * (top - s + 1));
    int64_t height, width;
    cmi_shrunk_size(p->height, p->width, side, &height, &width);
    const cm_part part = {(int64_t)(u[1] * (double)(height - s + 1)), (int64_t)(u[2] * (double)(width - s + 1)), s,
                          s};
    return cmi_shrink_and_cut(d->context, p, side, &part);
}

static cm_status try_picture(cm_dataset *d, uint64_t position, size_t i, const cm_view *out)
{
    cm_picture p;
    CM_TRY(d->source->kind->picture(d->source, i, d->o.channels, &p));
    cm_status status = cmi_dataset_cut(d, position, i, &p);
    if (status == CM_OK) {
        const cm_view bytes = cmi_view_bytes(1, out->height, out->width, out->channels, p.pixels);
        cmi_view_copy(&bytes, out);
    }
    cmi_free(d->context, p.pixels);
    return status;
}

void cmi_dataset_note_bad(cm_dataset *d, size_t i)
{
    char text[300];
    if (d->known_bad[i / 8] & 1 << i % 8) return;
    d->known_bad[i / 8] |= (unsigned char)(1 << i % 8);
    d->bad++;
    (void)snprintf(text, sizeof text, "%s", cm_last_message());
    cmi_log(d->context, CM_LOG_WARNING, "picture %zu%s%.100s cannot be read and is left out: %s", i,
            d->source->names ? ", " : "", d->source->names ? d->source->names[i] : "", text);
}

static cm_status get_one(cm_dataset *d, uint64_t position, const cm_view *image, int32_t *label)
{
    uint64_t n = cmi_dataset_count(d), epoch = position / n, at = position % n;
    if (d->o.shuffle != CM_SHUFFLE_NO) at = cmi_shuffled(d->o.seed, epoch, at, n);
    for (uint64_t tries = 0; tries < n; tries++, at = (at + 1) % n) {
        const size_t i = cmi_dataset_member(d, (size_t)at);
        cm_status status = CM_ERR_FORMAT;
        if (!(d->known_bad[i / 8] & 1 << i % 8)) {
            status = try_picture(d, position, i, image);
            if (status != CM_OK && (!cmi_dataset_is_damage(status) || d->o.stop_on_bad == CM_BAD_STOP)) return status;
            if (status != CM_OK) cmi_dataset_note_bad(d, i);
        }
        if (status != CM_OK) continue;
        if (label) *label = d->labels ? d->labels[i] : -1;
        return CM_OK;
    }
    CM_FAIL(CM_ERR_FORMAT, "none of the %llu pictures can be read", (unsigned long long)n);
}

cm_status cmi_dataset_get(cm_dataset *d, uint64_t position, const cm_view *out, int32_t *labels)
{
    for (size_t k = 0; k < out->n; k++) {
        const cm_view image = cmi_view_part(out, k, 1);
        CM_TRY(cmi_call_check(&d->call));
        CM_TRY(get_one(d, position + k, &image, labels ? labels + k : NULL));
    }
    return CM_OK;
}
