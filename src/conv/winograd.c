/* winograd.c - which layers, packed weights, and the loop over blocks of tiles. */
#include "conv/winograd_parts.h"

#include <string.h>

#include "base/parallel.h"
#include "conv/conv.h"

int cmi_winograd_rule(int bf16, int32_t kernel, int32_t stride, int32_t pad, int32_t c, int32_t oc, int32_t h,
                      int32_t w)
{
    if (bf16 && kernel == 1 && stride == 1 && pad == 0 && c % 16 == 0 && oc % 16 == 0) return CM_WINOGRAD_1X1;
    if (kernel != 3 || stride != 1 || pad != 1 || c % 16 || oc % 16 || h < 4 || w < 4) return 0;
    const int32_t side = !bf16 && cmi_winograd_few_channels(c, oc) ? 8 : 16;
    if (h < side || w < side) return CM_WINOGRAD_2X2;
    return bf16 ? bf16 : CM_WINOGRAD_4X4;
}

/* Blocks of equal size, near what keeps the transformed input in the cache. */
static size_t block_of(const cm_winograd *w)
{
    const int wide = w->geometry->rim && (w->c >= 384 || w->oc >= 384);
    size_t most = wide ? 2 * w->geometry->most_tiles : w->geometry->most_tiles;
    size_t blocks = (w->tiles + most - 1) / most;
    return (w->tiles + blocks - 1) / blocks;
}

const char *cmi_winograd_name(const cm_winograd *w)
{
    return w->gemm->bytes == 2 ? w->geometry->name_bf16 : w->geometry->name;
}

/* One input channel of `width` outputs from `first` on: w[taps][width].  What the next ones
 * read is prefetched, since it lies in short pieces far apart. */
static void gather(const cm_winograd *g, const float *plain, size_t first, size_t width, size_t c, float *w)
{
    size_t n = g->geometry->taps, step = g->transposed ? n : (size_t)g->c * n,
           ahead = g->transposed ? (size_t)g->oc * n : 4 * n;
    const float *from = plain + (g->transposed ? (c * (size_t)g->oc + first) * n : (first * (size_t)g->c + c) * n);
    for (size_t k = 0; k < width; k++, from += step) {
        float *to = w + k;
        __builtin_prefetch(from + ahead);
        if (n == 1) to[0] = from[0];
        else if (g->transposed)
            for (size_t i = 0; i < n; i++) to[i * width] = from[n - 1 - i];
        else
            for (size_t i = 0; i < n; i++) to[i * width] = from[i];
    }
}

static size_t padding(const cm_winograd *w) /* operands of so many floats */
{
    return CM_WINOGRAD_PAD * sizeof(float) / w->gemm->bytes;
}

/* From one matrix of a group's weights to the next, and from the first group to the one
 * from column `first` on, in operands. */
static size_t weights_apart(const cm_winograd *w, size_t columns)
{
    return (size_t)w->c * columns + padding(w);
}
static size_t weights_before(const cm_winograd *w, size_t first)
{
    return w->geometry->matrices * ((size_t)w->c * first + first / CM_WINOGRAD_GROUP * padding(w));
}

/* What follows from the shape.  The transformed input is [tile][value][channels]: a tile's values lie side by
 * side, since writing them to so many places far apart took longer than the transform.  The products of one
 * worker are [position][tile][columns]. */
static void fill_sizes(cm_winograd *w)
{
    const cm_winograd_tile *g = w->geometry;
    const size_t bytes = w->gemm->bytes, line = 64 / bytes, c = (size_t)w->c;
    const size_t last = (cmi_winograd_groups((size_t)w->oc) - 1) * CM_WINOGRAD_GROUP;
    w->value_stride = c + line;
    w->tile_stride = g->values * w->value_stride + line;
    w->product_floats = g->positions * (w->block * CM_WINOGRAD_GROUP + CM_WINOGRAD_PAD);
    w->packed_bytes =
        (weights_before(w, last) + g->matrices * weights_apart(w, cmi_winograd_group_columns(w, last))) * bytes;
    w->scratch_bytes =
        (c + (size_t)w->threads.count * w->product_floats) * sizeof(float) + w->block * w->tile_stride * bytes;
    const size_t group = g->matrices * weights_apart(w, cmi_winograd_group_columns(w, 0)) * bytes;
    w->fresh_bytes = w->tiles <= w->block ? group : w->packed_bytes;
}

void cmi_winograd_init(cm_winograd *w, const cm_kernels *kernels, int bf16, int tile, int transposed,
                       cm_threads threads, int32_t n, int32_t h, int32_t across, int32_t c, int32_t oc)
{
    const cm_winograd_tile *g = &cmi_winograd_tiles[tile];
    *w = (cm_winograd){.kernels = kernels, .geometry = g, .tile = tile, .transposed = transposed, .threads = threads};
    w->gemm = bf16 ? kernels->gemm_bf16 : kernels->gemm;
    w->operands = bf16 ? kernels->winograd_bf16 : &kernels->winograd->float32;
    w->n = n, w->h = h, w->w = across, w->c = c, w->oc = oc;
    cmi_winograd_lie(w, 0, 1);
}

static size_t outputs_of(int32_t points, int32_t pad, int32_t rim, int32_t outputs, int32_t step)
{
    return (size_t)(points + 2 * (pad - rim)) * (size_t)outputs / (size_t)step;
}

void cmi_winograd_lie(cm_winograd *w, int turned, int padded)
{
    const cm_winograd_tile *g = w->geometry;
    const cm_winograd_span along = {(int32_t)g->down,
                                    (int32_t)g->across,
                                    (int32_t)g->step_down,
                                    (int32_t)g->step_across,
                                    (int32_t)g->rim_down,
                                    (int32_t)g->rim,
                                    0,
                                    0};
    const cm_winograd_span down = {
        along.across, along.down, along.step_across, along.step_down, along.rim_across, along.rim_down, 0, 0};
    cm_winograd_span *s = &w->span;
    *s = turned ? down : along;
    if (padded) s->pad_down = s->rim_down, s->pad_across = s->rim_across;
    w->out_h = outputs_of(w->h, s->pad_down, s->rim_down, s->down, s->step_down);
    w->out_w = outputs_of(w->w, s->pad_across, s->rim_across, s->across, s->step_across);
    w->tiles_down = (w->out_h + (size_t)s->down - 1) / (size_t)s->down;
    w->tiles_across = (w->out_w + (size_t)s->across - 1) / (size_t)s->across;
    w->tiles = (size_t)w->n * w->tiles_down * w->tiles_across;
    w->block = block_of(w);
    fill_sizes(w);
}

/* [matrix][panel][c / channels][columns of the panel][channels]. */
static void pack_group(const cm_winograd *w, const float *plain, size_t first, unsigned char *to)
{
    const cm_gemm *gemm = w->gemm;
    float gathered[2 * 25 * CM_WINOGRAD_GROUP];
    size_t c = (size_t)w->c, columns = cmi_winograd_group_columns(w, first);
    for (size_t j = 0, width; j < columns; j += width) {
        width = w->gemm->panel(columns - j);
        for (size_t k = 0; k < c; k += gemm->channels) {
            for (size_t i = 0; i < gemm->channels; i++)
                gather(w, plain, first + j, width, k + i, gathered + i * w->geometry->taps * width);
            w->operands->weights(w->tile, width, gathered, to + (j * c + k * width) * gemm->bytes,
                                 weights_apart(w, columns));
        }
    }
}

void cmi_winograd_pack(const cm_winograd *w, const float *plain, void *packed)
{
    for (size_t first = 0; first < (size_t)w->oc; first += CM_WINOGRAD_GROUP)
        pack_group(w, plain, first, (unsigned char *)packed + weights_before(w, first) * w->gemm->bytes);
}

/* --- running ------------------------------------------------------------------------------ */

typedef struct {
    const cm_winograd *w;
    cm_winograd_side side[2]; /* the first half of the tiles, and the second */
    size_t half;              /* tiles of a side                             */
    const float *zero;
    const unsigned char *packed;
    const float *plain; /* or NULL; then it is packed on the way to: */
    unsigned char *fresh;
    float scale;
    float *m;            /* products              */
    unsigned char *v;    /* the transformed input */
    size_t first, tiles; /* of the block                      */
    size_t parts;        /* of the block's tiles, one a piece */
} job;

/* The side of a tile, whose number becomes that on its side. */
static const cm_winograd_side *side_of(const job *j, size_t *tile)
{
    const size_t second = *tile >= j->half;
    if (second) *tile -= j->half;
    return &j->side[second];
}

static cm_status input_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_winograd *w = j->w;
    const float *points[36];
    size_t c = (size_t)w->c, tile = j->first + (size_t)piece;
    const cm_winograd_side *side = side_of(j, &tile);
    (void)worker;
    cmi_winograd_find_points(w, side->x, c, tile, 1, j->zero, points);
    w->operands->input(w->tile, c, points, j->v + (size_t)piece * w->tile_stride * w->gemm->bytes, w->value_stride);
    return CM_OK;
}

/* The points of output tile number `tile` from column `first` on; returns its side. */
static const cm_winograd_side *find_outputs(const job *j, size_t tile, size_t first, cm_winograd_points *to)
{
    const cm_winograd *w = j->w;
    const cm_winograd_side *side = side_of(j, &tile);
    size_t per = w->tiles_down * w->tiles_across, oc = (size_t)w->oc;
    if (!w->geometry->rim) {
        to->y[0] = side->y + tile * oc + first;
        to->residual[0] = side->residual ? side->residual + tile * oc + first : NULL;
        return side;
    }
    const size_t rows = w->out_h, points = w->out_w, image = tile / per * rows * points;
    size_t down = (size_t)w->span.down, across = (size_t)w->span.across;
    size_t top = tile % per / w->tiles_across * down, left = tile % w->tiles_across * across;
    to->whole = top + down <= rows && left + across <= points;
    size_t row = (image + top * points + left) * oc + first;
    for (size_t i = 0; i < down; i++, row += points * oc)
        for (size_t k = 0; k < across; k++) {
            int inside = to->whole || (top + i < rows && left + k < points);
            to->y[i * across + k] = inside ? side->y + row + k * oc : NULL;
            to->residual[i * across + k] = inside && side->residual ? side->residual + row + k * oc : NULL;
        }
    return side;
}

/* For where a tile's outputs go, and what is added to them. */
static void ask_for(const cm_winograd *w, const cm_winograd_points *to, size_t columns)
{
    for (size_t i = 0; i < cmi_winograd_outputs(w); i++)
        for (size_t k = 0; to->y[i] && k < columns; k += 16) {
            __builtin_prefetch(to->y[i] + k, 1);
            if (to->residual[i]) __builtin_prefetch(to->residual[i] + k);
        }
}

/* Tiles `begin` to begin + count of the block, from their products.  Their places are asked for 16 points
 * before, unless points are one group of columns: then the processor sees for itself. */
static void outputs(const job *j, size_t first, size_t begin, size_t count, const float *m, size_t m_apart)
{
    const cm_winograd *w = j->w;
    const size_t columns = cmi_winograd_group_columns(w, first), ahead = 16 / cmi_winograd_outputs(w);
    cm_winograd_points to = {.scale = j->scale, .relu = w->relu};
    for (size_t i = 0; i < count; i++) {
        if (w->oc > CM_WINOGRAD_GROUP && i + ahead < count) {
            (void)find_outputs(j, j->first + begin + i + ahead, first, &to);
            ask_for(w, &to, columns);
        }
        const float *bias = find_outputs(j, j->first + begin + i, first, &to)->bias;
        w->kernels->winograd->output(w->tile, columns, m + i * columns, m_apart, bias ? bias + first : NULL, &to);
    }
}

/* The packed weights of the group from column `first` on; plain ones are packed for the first
 * block and, where there is no other, all to the same place. */
static const unsigned char *weights_of(const job *j, size_t first)
{
    const cm_winograd *w = j->w;
    const size_t before = weights_before(w, first) * w->gemm->bytes;
    if (!j->plain) return j->packed + before;
    unsigned char *to = j->fresh + (j->tiles < w->tiles ? before : 0);
    if (j->first == 0) pack_group(w, j->plain, first, to);
    return to;
}

/* Piece: one group of columns of one part of the block's tiles. */
static cm_status output_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_winograd *w = j->w;
    size_t c = (size_t)w->c, part = (size_t)piece % j->parts, first = (size_t)piece / j->parts * CM_WINOGRAD_GROUP;
    size_t begin = j->tiles * part / j->parts, count = j->tiles * (part + 1) / j->parts - begin;
    size_t columns = cmi_winograd_group_columns(w, first), m_apart = w->block * CM_WINOGRAD_GROUP + CM_WINOGRAD_PAD,
           bytes = w->gemm->bytes;
    const unsigned char *packed = weights_of(j, first), *v = j->v + begin * w->tile_stride * bytes;
    float *m = j->m + (size_t)worker * w->product_floats;
    if (count == 0) return CM_OK; /* more threads than tiles */
    for (size_t t = 0; t < w->geometry->positions; t++)
        w->gemm->product(count, columns, c, v + w->geometry->value_of[t] * w->value_stride * bytes, w->tile_stride,
                         packed + w->geometry->matrix_of[t] * weights_apart(w, columns) * bytes, m + t * m_apart,
                         columns);
    outputs(j, first, begin, count, m, m_apart);
    return CM_OK;
}

static cm_status run_blocks(job *j, void *scratch)
{
    const cm_winograd *w = j->w;
    size_t c = (size_t)w->c, tiles = w->tiles, groups = cmi_winograd_groups((size_t)w->oc);
    float *zero = scratch;
    memset(zero, 0, c * sizeof *zero);
    j->zero = zero, j->m = zero + c;
    j->v = (unsigned char *)(j->m + (size_t)w->threads.count * w->product_floats);
    j->parts = groups % (size_t)w->threads.count ? (size_t)w->threads.count : 1;
    for (; j->first < tiles; j->first += j->tiles) {
        j->tiles = tiles - j->first < w->block ? tiles - j->first : w->block;
        CM_TRY(cmi_parallel(w->threads, (int)j->tiles, input_piece, j));
        CM_TRY(cmi_parallel(w->threads, (int)(groups * j->parts), output_piece, j));
    }
    return CM_OK;
}

cm_status cmi_winograd_run(const cm_winograd *w, const float *x, const void *packed, const float *bias,
                           const float *residual, float scale, float *y, void *scratch)
{
    job j = {.w = w, .side[0] = {x, bias, residual, y}, .half = w->tiles, .packed = packed, .scale = scale};
    return run_blocks(&j, scratch);
}

cm_status cmi_winograd_run_pair(const cm_winograd *w, const cm_winograd_side sides[2], const void *packed,
                                float scale, void *scratch)
{
    job j = {.w = w, .side = {sides[0], sides[1]}, .half = w->tiles / 2, .packed = packed, .scale = scale};
    return run_blocks(&j, scratch);
}

cm_status cmi_winograd_run_plain(const cm_winograd *w, const float *x, const float *plain, const float *bias,
                                 const float *residual, float scale, float *y, void *scratch)
{
    job j = {.w = w,
             .side[0] = {x, bias, residual, y},
             .half = w->tiles,
             .plain = plain,
             .fresh = scratch,
             .scale = scale};
    return run_blocks(&j, (unsigned char *)scratch + w->fresh_bytes);
}

/* --- the row of the table ----------------------------------------------------------------------- */

/* Kernels of one row or column, 5 x 5 and 3 x 3 without padding: of float32 values alone. */
static int tile_of_other(const cm_conv_options *o, const cm_conv_shape *s)
{
    const int32_t across = s->kernel_w ? s->kernel_w : s->kernel, pad = s->kernel_w ? s->pad_w : s->pad;
    const int32_t most = across > s->kernel ? across : s->kernel;
    if (o->bf16 || s->up || s->transposed || s->stride != 1 || s->c % 16 || s->oc % 16) return 0;
    if (s->kernel == 3 && across == 3 && s->pad == 0 && pad == 0)
        return cmi_winograd_rule(0, 3, 1, 1, s->c, s->oc, s->h - 2, s->w - 2);
    if (s->pad != s->kernel / 2 || pad != across / 2 || s->h < 4 || s->w < 4) return 0;
    if (s->kernel == 5 && across == 5) return CM_WINOGRAD_5X5;
    if (s->kernel != 1 && across != 1) return 0;
    return most == 7 ? CM_WINOGRAD_LINE7 : most == 3 ? CM_WINOGRAD_LINE3 : 0;
}

/* With bf16 1, plain sums by AMX, patches serve the layers that AMX does not. */
static int fits(cm_convolution *conv, const cm_conv_options *o, const cm_conv_shape *s)
{
    cm_winograd *w = &conv->as.winograd;
    const int32_t scale = s->up && !s->transposed ? 2 : 1;
    int tile = s->kernel_w ? 0
                           : cmi_winograd_rule(s->up ? 0 : o->bf16, s->kernel, s->stride, s->pad, s->c, s->oc,
                                               scale * s->h, scale * s->w);
    if (tile == 0) tile = tile_of_other(o, s);
    if (o->bf16 == 1 || tile == 0) return 0;
    if (s->up) tile = s->transposed ? CM_WINOGRAD_DOWN : CM_WINOGRAD_UP;
    cmi_winograd_init(w, o->kernels, o->bf16, tile, s->transposed, o->threads, s->pair ? 2 * s->n : s->n, s->h, s->w,
                      s->c, s->oc);
    cmi_winograd_lie(w, s->kernel_w && s->kernel > s->kernel_w, s->pad > 0 || s->pad_w > 0);
    w->relu = conv->relus = s->relu;
    conv->name = cmi_winograd_name(w);
    conv->packed_bytes = w->packed_bytes;
    conv->scratch_bytes = w->scratch_bytes;
    return 1;
}

static int same_weights(const cm_convolution *a, const cm_convolution *b)
{
    const cm_winograd *u = &a->as.winograd, *w = &b->as.winograd;
    return u->operands == w->operands && u->tile == w->tile && u->transposed == w->transposed && u->c == w->c &&
           u->oc == w->oc;
}

static cm_status pack(const cm_convolution *conv, const float *plain, void *packed)
{
    cmi_winograd_pack(&conv->as.winograd, plain, packed);
    return CM_OK;
}

static cm_status run(const cm_convolution *conv, const cm_conv_run *r)
{
    const cm_winograd *w = &conv->as.winograd;
    const cm_winograd_side sides[2] = {{r->x, r->bias, r->residual, r->y},
                                       {r->x_tangent, NULL, r->residual_tangent, r->y_tangent}};
    if (r->y_tangent) return cmi_winograd_run_pair(w, sides, r->weights, r->scale, r->scratch);
    if (conv->plain)
        return cmi_winograd_run_plain(w, r->x, r->weights, r->bias, r->residual, r->scale, r->y, r->scratch);
    return cmi_winograd_run(w, r->x, r->weights, r->bias, r->residual, r->scale, r->y, r->scratch);
}

/* In float32, of many channels, with one thread: they are packed when they are used, near the processor, a fifth of a
 * run of four images at 16 x 16.  To hold them would take four times the weights; bfloat16's take at most half of
 * that. */
static void take_plain(cm_convolution *conv)
{
    const cm_winograd *w = &conv->as.winograd;
    if (w->threads.count > 1 || w->gemm->bytes != sizeof(float) || cmi_winograd_few_channels(w->c, w->oc)) return;
    conv->plain = 1;
    conv->scratch_bytes = w->fresh_bytes + w->scratch_bytes;
}

const cm_conv_algorithm cmi_conv_winograd = {.name = "winograd",
                                             .pairs = 1,
                                             .fits = fits,
                                             .same_weights = same_weights,
                                             .pack = pack,
                                             .take_plain = take_plain,
                                             .run = run,
                                             .weight_gradient = &cmi_winograd_weight_gradient};
