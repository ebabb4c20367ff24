/* winograd.c - which layers, packed weights, and the loop over blocks of tiles. */
#include "conv/winograd.h"

#include <string.h>

#include "base/parallel.h"

int cm_winograd_rule(int bf16, int32_t kernel, int32_t stride, int32_t pad, int32_t c, int32_t oc, int32_t h,
                     int32_t w)
{
    if (bf16 && kernel == 1 && stride == 1 && pad == 0 && c % 16 == 0 && oc % 16 == 0) return CM_TILE_1X1;
    if (kernel != 3 || stride != 1 || pad != 1 || c % 16 || oc % 16 || h < 4 || w < 4) return 0;
    const int32_t side = !bf16 && cm_winograd_narrow(c, oc) ? 8 : 16;
    if (h < side || w < side) return CM_TILE_2X2;
    return bf16 ? bf16 : CM_TILE_4X4;
}

static size_t positions(const cm_winograd *w)
{
    return cm_tile_positions(w->tile);
}

static size_t matrices(const cm_winograd *w)
{
    return cm_tile_matrices(w->tile);
}

/* Sides of the output. */
static size_t height(const cm_winograd *w)
{
    return (size_t)w->h * cm_tile_down(w->tile) / cm_tile_step_down(w->tile);
}
static size_t width(const cm_winograd *w)
{
    return (size_t)w->w * cm_tile_across(w->tile) / cm_tile_step_across(w->tile);
}

/* Points of the kernel. */
static size_t taps(const cm_winograd *w)
{
    return w->tile == CM_TILE_1X1 ? 1 : 9;
}

static size_t tiles_of(const cm_winograd *w)
{
    return (size_t)w->n * w->tiles_down * w->tiles_across;
}

/* Blocks of equal size, near what keeps the transformed input in the cache. */
static size_t block_of(const cm_winograd *w)
{
    size_t tiles = tiles_of(w), most = w->tile == CM_TILE_1X1 ? 256 : w->c >= 384 || w->oc >= 384 ? 128 : 64;
    size_t blocks = (tiles + most - 1) / most;
    return (tiles + blocks - 1) / blocks;
}

void cm_winograd_init(cm_winograd *w, const cm_kernels *kernels, int bf16, int tile, int turned, cm_threads threads,
                      int32_t n, int32_t h, int32_t across, int32_t c, int32_t oc)
{
    *w = (cm_winograd){.kernels = kernels, .tile = tile, .turned = turned, .threads = threads};
    w->gemm = bf16 ? kernels->gemm_bf16 : kernels->gemm;
    w->operands = bf16 ? kernels->winograd_bf16 : &kernels->winograd->float32;
    w->n = n, w->h = h, w->w = across, w->c = c, w->oc = oc;
    w->tiles_down = (height(w) + cm_tile_down(tile) - 1) / cm_tile_down(tile);
    w->tiles_across = (width(w) + cm_tile_across(tile) - 1) / cm_tile_across(tile);
    w->block = block_of(w);
}

const char *cm_winograd_name(const cm_winograd *w)
{
    static const char *const names[2][6] = {
        {"product", "winograd 2x2", "winograd 2x4", "winograd 4x4", "winograd up", "winograd down"},
        {"product bf16", "winograd 2x2 bf16", "winograd 2x4 bf16", "winograd 4x4 bf16", "winograd up bf16",
         "winograd down bf16"}};
    return names[w->gemm->bytes == 2][w->tile - 1];
}

int cm_winograd_same_weights(const cm_winograd *a, const cm_winograd *b)
{
    return a->operands == b->operands && a->tile == b->tile && a->turned == b->turned && a->c == b->c &&
           a->oc == b->oc;
}

/* One input channel of `width` outputs from `first` on: w[taps][width].  What the next ones
 * want is asked for, since it lies in short pieces far apart. */
static void gather(const cm_winograd *g, const float *plain, size_t first, size_t width, size_t c, float *w)
{
    size_t n = taps(g), step = g->turned ? n : (size_t)g->c * n, ahead = g->turned ? (size_t)g->oc * n : 4 * n;
    const float *from = plain + (g->turned ? (c * (size_t)g->oc + first) * n : (first * (size_t)g->c + c) * n);
    for (size_t k = 0; k < width; k++, from += step) {
        float *to = w + k;
        __builtin_prefetch(from + ahead);
        if (n == 1) to[0] = from[0];
        else if (g->turned)
            for (size_t i = 0; i < 9; i++) to[i * width] = from[8 - i];
        else
            for (size_t i = 0; i < 9; i++) to[i * width] = from[i];
    }
}

/* Columns of the products are served in groups of 64, whose results stay in the
 * nearest cache until they are transformed. */
enum { GROUP = 64 };

static size_t groups_of(size_t columns)
{
    return (columns + GROUP - 1) / GROUP;
}

static size_t group_columns(const cm_winograd *w, size_t first)
{
    size_t left = (size_t)w->oc - first;
    return left < GROUP ? left : GROUP;
}

/* Matrices a power of two apart collide in the cache. */
enum { PAD = 48 };
static size_t padding(const cm_winograd *w) /* operands of so many floats */
{
    return PAD * sizeof(float) / w->gemm->bytes;
}

/* From one matrix of a group's weights to the next, and from the first group to the one
 * from column `first` on, in operands. */
static size_t weights_apart(const cm_winograd *w, size_t columns)
{
    return (size_t)w->c * columns + padding(w);
}
static size_t weights_before(const cm_winograd *w, size_t first)
{
    return matrices(w) * ((size_t)w->c * first + first / GROUP * padding(w));
}

size_t cm_winograd_packed_bytes(const cm_winograd *w)
{
    size_t last = (groups_of((size_t)w->oc) - 1) * GROUP;
    return (weights_before(w, last) + matrices(w) * weights_apart(w, group_columns(w, last))) * w->gemm->bytes;
}

/* [matrix][panel][c / channels][columns of the panel][channels]. */
static void pack_group(const cm_winograd *w, const float *plain, size_t first, unsigned char *to)
{
    const cm_gemm *gemm = w->gemm;
    float gathered[2 * 9 * GROUP];
    size_t c = (size_t)w->c, columns = group_columns(w, first);
    for (size_t j = 0, width; j < columns; j += width) {
        width = w->gemm->panel(columns - j);
        for (size_t k = 0; k < c; k += gemm->channels) {
            for (size_t i = 0; i < gemm->channels; i++)
                gather(w, plain, first + j, width, k + i, gathered + i * taps(w) * width);
            w->operands->weights(w->tile, width, gathered, to + (j * c + k * width) * gemm->bytes,
                                 weights_apart(w, columns));
        }
    }
}

void cm_winograd_pack(const cm_winograd *w, const float *plain, void *packed)
{
    for (size_t first = 0; first < (size_t)w->oc; first += GROUP)
        pack_group(w, plain, first, (unsigned char *)packed + weights_before(w, first) * w->gemm->bytes);
}

/* --- running ------------------------------------------------------------------------------ */

/* The transformed input: [tile][value][channels].  A tile's values lie side by side,
 * since writing them to so many places far apart took longer than the transform; distances
 * in operands, of values and of tiles. */
static size_t apart(const cm_winograd *w)
{
    return (size_t)w->c + 64 / w->gemm->bytes;
}

static size_t row_of(const cm_winograd *w)
{
    return cm_tile_values(w->tile) * apart(w) + 64 / w->gemm->bytes;
}

/* Products of one worker: [position][tile][columns]. */
static size_t product_floats(const cm_winograd *w)
{
    return positions(w) * (w->block * GROUP + PAD);
}

size_t cm_winograd_scratch_bytes(const cm_winograd *w)
{
    size_t floats = (size_t)w->c + (size_t)w->threads.count * product_floats(w);
    return floats * sizeof(float) + w->block * row_of(w) * w->gemm->bytes;
}

typedef struct {
    const cm_winograd *w;
    const float *x, *bias, *residual, *zero;
    const unsigned char *packed;
    const float *plain; /* or NULL; then it is packed on the way to: */
    unsigned char *fresh;
    float scale;
    float *y, *m;        /* m: products          */
    unsigned char *v;    /* the transformed input */
    size_t first, tiles; /* of the block                      */
    size_t parts;        /* of the block's tiles, one a piece */
} job;

/* Tile number `tile`, in rows: with a `rim` 1 the points of x [n][h][w][c] that it depends on, with 0 those
 * of its outputs in an x like these; `zero` outside the image. */
static void find_points(const cm_winograd *w, const float *x, size_t c, size_t tile, int32_t rim, const float *zero,
                        const float **points)
{
    if (w->tile == CM_TILE_1X1) {
        points[0] = x + tile * c;
        return;
    }
    const int32_t down = (int32_t)(rim ? cm_tile_step_down(w->tile) : cm_tile_down(w->tile));
    const int32_t across = (int32_t)(rim ? cm_tile_step_across(w->tile) : cm_tile_across(w->tile));
    const int32_t rows = rim ? w->h : (int32_t)height(w), columns = rim ? w->w : (int32_t)width(w);
    size_t per = w->tiles_down * w->tiles_across;
    const float *image = x + tile / per * (size_t)rows * (size_t)columns * c;
    int32_t top = (int32_t)(tile % per / w->tiles_across) * down - rim;
    int32_t left = (int32_t)(tile % w->tiles_across) * across - rim;
    for (int32_t row = top; row < top + down + 2 * rim; row++)
        for (int32_t column = left; column < left + across + 2 * rim; column++) {
            int inside = row >= 0 && row < rows && column >= 0 && column < columns;
            *points++ = inside ? image + ((size_t)row * (size_t)columns + (size_t)column) * c : zero;
        }
}

/* Of a 3 x 3 convolution's input. */
static int32_t rim(const cm_winograd *w)
{
    return w->tile != CM_TILE_1X1;
}

static cm_status input_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_winograd *w = j->w;
    const float *points[36];
    size_t c = (size_t)w->c;
    (void)worker;
    find_points(w, j->x, c, j->first + (size_t)piece, rim(w), j->zero, points);
    w->operands->input(w->tile, c, points, j->v + (size_t)piece * row_of(w) * w->gemm->bytes, apart(w));
    return CM_OK;
}

/* The points of output tile number `tile` from column `first` on. */
static void find_outputs(const job *j, size_t tile, size_t first, cm_winograd_points *to)
{
    const cm_winograd *w = j->w;
    size_t per = w->tiles_down * w->tiles_across, oc = (size_t)w->oc;
    if (w->tile == CM_TILE_1X1) {
        to->y[0] = j->y + tile * oc + first;
        to->residual[0] = j->residual ? j->residual + tile * oc + first : NULL;
        return;
    }
    const size_t rows = height(w), points = width(w), image = tile / per * rows * points;
    size_t down = cm_tile_down(w->tile), across = cm_tile_across(w->tile);
    size_t top = tile % per / w->tiles_across * down, left = tile % w->tiles_across * across;
    to->whole = top + down <= rows && left + across <= points;
    size_t row = (image + top * points + left) * oc + first;
    for (size_t i = 0; i < down; i++, row += points * oc)
        for (size_t k = 0; k < across; k++) {
            int inside = to->whole || (top + i < rows && left + k < points);
            to->y[i * across + k] = inside ? j->y + row + k * oc : NULL;
            to->residual[i * across + k] = inside && j->residual ? j->residual + row + k * oc : NULL;
        }
}

static size_t outputs_of(const cm_winograd *w)
{
    return cm_tile_down(w->tile) * cm_tile_across(w->tile);
}

/* For where a tile's outputs go, and what is added to them. */
static void ask_for(const cm_winograd *w, const cm_winograd_points *to, size_t columns)
{
    for (size_t i = 0; i < outputs_of(w); i++)
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
    const float *bias = j->bias ? j->bias + first : NULL;
    const size_t columns = group_columns(w, first), ahead = 16 / outputs_of(w);
    cm_winograd_points to = {.scale = j->scale};
    for (size_t i = 0; i < count; i++) {
        if (w->oc > GROUP && i + ahead < count) {
            find_outputs(j, j->first + begin + i + ahead, first, &to);
            ask_for(w, &to, columns);
        }
        find_outputs(j, j->first + begin + i, first, &to);
        w->kernels->winograd->output(w->tile, columns, m + i * columns, m_apart, bias, &to);
    }
}

/* The packed weights of the group from column `first` on; plain ones are packed for the first
 * block and, where there is no other, all to the same place. */
static const unsigned char *weights_of(const job *j, size_t first)
{
    const cm_winograd *w = j->w;
    const size_t before = weights_before(w, first) * w->gemm->bytes;
    if (!j->plain) return j->packed + before;
    unsigned char *to = j->fresh + (j->tiles < tiles_of(w) ? before : 0);
    if (j->first == 0) pack_group(w, j->plain, first, to);
    return to;
}

/* Piece: one group of columns of one part of the block's tiles. */
static cm_status output_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_winograd *w = j->w;
    size_t c = (size_t)w->c, part = (size_t)piece % j->parts, first = (size_t)piece / j->parts * GROUP;
    size_t begin = j->tiles * part / j->parts, count = j->tiles * (part + 1) / j->parts - begin;
    size_t columns = group_columns(w, first), m_apart = w->block * GROUP + PAD, bytes = w->gemm->bytes;
    const unsigned char *packed = weights_of(j, first), *v = j->v + begin * row_of(w) * bytes;
    float *m = j->m + (size_t)worker * product_floats(w);
    if (count == 0) return CM_OK; /* more threads than tiles */
    for (size_t t = 0; t < positions(w); t++)
        w->gemm->product(count, columns, c, v + cm_tile_value_of(w->tile, t) * apart(w) * bytes, row_of(w),
                         packed + cm_tile_matrix_of(w->tile, t) * weights_apart(w, columns) * bytes, m + t * m_apart,
                         columns);
    outputs(j, first, begin, count, m, m_apart);
    return CM_OK;
}

static cm_status run_blocks(job *j, void *scratch)
{
    const cm_winograd *w = j->w;
    size_t c = (size_t)w->c, tiles = tiles_of(w), groups = groups_of((size_t)w->oc);
    float *zero = scratch;
    memset(zero, 0, c * sizeof *zero);
    j->zero = zero, j->m = zero + c;
    j->v = (unsigned char *)(j->m + (size_t)w->threads.count * product_floats(w));
    j->parts = groups % (size_t)w->threads.count ? (size_t)w->threads.count : 1;
    for (; j->first < tiles; j->first += j->tiles) {
        j->tiles = tiles - j->first < w->block ? tiles - j->first : w->block;
        CM_TRY(cm_parallel(w->threads, (int)j->tiles, input_piece, j));
        CM_TRY(cm_parallel(w->threads, (int)(groups * j->parts), output_piece, j));
    }
    return CM_OK;
}

cm_status cm_winograd_run(const cm_winograd *w, const float *x, const void *packed, const float *bias,
                          const float *residual, float scale, float *y, void *scratch)
{
    job j = {.w = w, .x = x, .packed = packed, .bias = bias, .residual = residual, .scale = scale, .y = y};
    return run_blocks(&j, scratch);
}

/* Of a run's fresh weights. */
static size_t fresh_bytes(const cm_winograd *w)
{
    size_t group = matrices(w) * weights_apart(w, group_columns(w, 0)) * w->gemm->bytes;
    return tiles_of(w) <= w->block ? group : cm_winograd_packed_bytes(w);
}

size_t cm_winograd_plain_scratch_bytes(const cm_winograd *w)
{
    return fresh_bytes(w) + cm_winograd_scratch_bytes(w);
}

cm_status cm_winograd_run_plain(const cm_winograd *w, const float *x, const float *plain, const float *bias,
                                const float *residual, float scale, float *y, void *scratch)
{
    job j = {
        .w = w, .x = x, .plain = plain, .fresh = scratch, .bias = bias, .residual = residual, .scale = scale, .y = y};
    return run_blocks(&j, (unsigned char *)scratch + fresh_bytes(w));
}

/* --- the weight gradient -------------------------------------------------------------------- */

/* dU[t] [c][oc] = sum over tiles of V[t]^T Z[t], folded to 3 x 3.  Factors lie in groups of
 * columns, [position][tile][columns], all of Z and one of V, which stays near, so that each product
 * of two groups reads contiguous memory and its sums are folded while they are near. */

static size_t gradient_block(const cm_winograd *w)
{
    size_t tiles = tiles_of(w), blocks = (tiles + 63) / 64;
    return (tiles + blocks - 1) / blocks;
}

/* Floats from one tile to the next: an odd number of cache lines, or the lines that a product
 * reads of its tiles collide. */
static size_t gradient_row(size_t columns)
{
    return (columns / 16 | 1) * 16;
}

static size_t matrix_apart(const cm_winograd *w)
{
    return gradient_block(w) * gradient_row(GROUP) + PAD;
}

static size_t group_floats(const cm_winograd *w)
{
    return positions(w) * matrix_apart(w);
}

/* Positions of a square tile, in each direction. */
static size_t side(const cm_winograd *w)
{
    return w->tile == CM_TILE_UP ? 5 : cm_tile_down(w->tile) + 2;
}

/* Points that a 1 x 1 convolution's gradient takes at a time, where they lie and of copies. */
enum { POINTS = 64, COPIED_POINTS = 128 };

/* Lines of points of so many channels meet in a few places of the nearest cache. */
static int collide(size_t c)
{
    return c / 16 % 8 == 0;
}

size_t cm_winograd_gradient_bytes(const cm_winograd *w)
{
    const size_t c = (size_t)w->c, oc = (size_t)w->oc;
    if (w->tile == CM_TILE_1X1) return COPIED_POINTS * (gradient_row(c) + gradient_row(oc)) * sizeof(float);
    const size_t factors = (1 + groups_of(oc)) * group_floats(w);
    return (GROUP + factors + 4 * side(w) * (GROUP * GROUP + PAD)) * sizeof(float);
}

size_t cm_winograd_folded_bytes(const cm_winograd *w)
{
    return taps(w) * (size_t)w->c * (size_t)w->oc * sizeof(float);
}

/* `count` tiles from `first` on of the columns from `column` on of x or dy, through `transform`.  Of wide
 * points the next tile's are asked for: they are pieces far apart. */
static void transform_group(const cm_winograd *w,
                            void (*transform)(int, size_t, const float *const *, void *, size_t), int32_t rim,
                            const float *x, size_t c, size_t column, size_t first, size_t count, const float *zero,
                            float *out)
{
    const size_t columns = c - column < GROUP ? c - column : GROUP, n = rim ? cm_tile_points(w->tile) : outputs_of(w);
    const float *points[36];
    for (size_t i = 0; i < count; i++, out += gradient_row(columns)) {
        if (c > 2 * GROUP && i + 1 < count) {
            find_points(w, x + column, c, first + i + 1, rim, zero, points);
            for (size_t k = 0; k < n; k++)
                for (size_t j = 0; j < columns; j += 16) __builtin_prefetch(points[k] + j);
        }
        find_points(w, x + column, c, first + i, rim, zero, points);
        transform(w->tile, columns, points, out, matrix_apart(w));
    }
}

/* The products of one group of each, of `tiles` tiles: as soon as a row of positions is there it is
 * folded, 6 to 3, so that the other half of the work has half as much to read from afar, and to
 * [rows][positions folded once][columns], in the order that it is read in. */
static void gradient_groups(const cm_winograd *w, size_t rows, size_t columns, size_t tiles, const float *v,
                            const float *z, float *du, float *dw, int add)
{
    const size_t apart = matrix_apart(w), du_apart = GROUP * GROUP + PAD, oc = (size_t)w->oc, m = side(w);
    float *halves = du + m * du_apart;
    for (size_t row = 0; row < m; row++) {
        for (size_t i = 0; i < m; i++, z += apart)
            w->kernels->gemm->product_transposed(rows, columns, tiles,
                                                 v + cm_tile_value_of(w->tile, m * row + i) * apart,
                                                 gradient_row(rows), z, gradient_row(columns), du + i * du_apart, 0);
        w->kernels->winograd->fold_rows(w->tile, rows, columns, du, du_apart, halves + 3 * row * columns,
                                        3 * m * columns);
    }
    w->kernels->winograd->fold(w->tile, rows, columns, halves, dw, oc, (size_t)w->c * oc, add);
}

static void copy_rows(size_t rows, size_t columns, const float *from, float *to)
{
    for (size_t i = 0; i < rows; i++)
        memcpy(to + i * gradient_row(columns), from + i * columns, columns * sizeof *to);
}

/* x^T dy over all points, of copies where their lines collide. */
static void gradient_of_points(const cm_winograd *w, const float *x, const float *dy, float *dw, float *scratch)
{
    const size_t c = (size_t)w->c, oc = (size_t)w->oc, points = tiles_of(w);
    const int copied = collide(c) || collide(oc);
    const size_t most = copied ? COPIED_POINTS : POINTS;
    const size_t v_row = copied ? gradient_row(c) : c, z_row = copied ? gradient_row(oc) : oc;
    for (size_t first = 0; first < points; first += most, x += most * c, dy += most * oc) {
        const size_t count = points - first < most ? points - first : most;
        float *v = scratch, *z = v + COPIED_POINTS * v_row;
        if (copied) {
            copy_rows(count, c, x, v);
            copy_rows(count, oc, dy, z);
        }
        w->kernels->gemm->product_transposed(c, oc, count, copied ? v : x, v_row, copied ? z : dy, z_row, dw,
                                             first > 0);
    }
}

void cm_winograd_gradient(const cm_winograd *w, const float *x, const float *dy, float *dw, void *scratch)
{
    if (w->tile == CM_TILE_1X1) {
        gradient_of_points(w, x, dy, dw, scratch);
        return;
    }
    size_t c = (size_t)w->c, oc = (size_t)w->oc, tiles = tiles_of(w);
    float *zero = scratch, *v = zero + GROUP, *all = v + group_floats(w), *du = all + groups_of(oc) * group_floats(w);
    memset(zero, 0, GROUP * sizeof *zero);
    for (size_t first = 0; first < tiles; first += gradient_block(w)) {
        size_t count = tiles - first < gradient_block(w) ? tiles - first : gradient_block(w);
        float *z = all;
        for (size_t j = 0; j < oc; j += GROUP, z += group_floats(w))
            transform_group(w, w->kernels->winograd->gradient, 0, dy, oc, j, first, count, zero, z);
        for (size_t k = 0; k < c; k += GROUP) {
            transform_group(w, w->kernels->winograd->float32.input, rim(w), x, c, k, first, count, zero, v);
            z = all;
            for (size_t j = 0; j < oc; j += GROUP, z += group_floats(w))
                gradient_groups(w, c - k < GROUP ? c - k : GROUP, group_columns(w, j), count, v, z, du,
                                dw + k * oc + j, first > 0);
        }
    }
}

void cm_winograd_unfold(const cm_winograd *w, const float *folded, float *plain)
{
    enum { INPUTS = 4, OUTPUTS = 16 }; /* at a time: their lines lie in the nearest cache */
    size_t c = (size_t)w->c, oc = (size_t)w->oc, n = taps(w);
    for (size_t j0 = 0; j0 < oc; j0 += OUTPUTS)
        for (size_t k0 = 0; k0 < c; k0 += INPUTS)
            for (size_t j = j0; j < j0 + OUTPUTS; j++)
                for (size_t k = k0; k < k0 + INPUTS; k++)
                    for (size_t i = 0; i < n; i++) plain[(j * c + k) * n + i] = folded[(i * c + k) * oc + j];
}
