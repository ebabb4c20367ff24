/* amx.c - which layers, packed weights, and the loop over tiles of points.
 *
 * An image is rounded to bfloat16 into rows of w + 1 points: one zero stands between the
 * last point of a row and the first of the next and is neighbour to both, and rows of
 * zeros stand above and below.  So the nine taps of 16 successive points are 16 rows of
 * memory each.  Where w is no multiple of 16 tiles run on over row ends, and the sums at
 * the zeros between are dropped. */
#include "conv/conv.h"

#include <string.h>

#include "base/parallel.h"
#include "tensor/desc.h"

/* --- weights ------------------------------------------------------------------------------ */

/* Tap `tap` of 16 outputs from o and 32 channels from c on: values[16 pairs][16 outputs][2]; pairs
 * as the points have them. */
static void gather_tile(const cm_amx_conv *t, const float *plain, size_t tap, size_t o, size_t c, float *values)
{
    const size_t taps = t->taps, channels = (size_t)t->c, outputs = (size_t)t->oc;
    const size_t step = t->transposed ? taps : channels * taps, along = t->transposed ? outputs * taps : taps;
    const float *from = plain + o * step + c * along + (t->transposed ? taps - 1 - tap : tap);
    const size_t rows = channels - c < 32 ? channels - c : 32;
    memset(values, 0, 512 * sizeof *values);
    for (size_t i = 0; i < rows; i++) {
        float *to = values + (t->parts == 1 ? i / 2 * 32 + i % 2 : i % 16 * 32 + i / 16);
        for (size_t j = 0; j < 16; j++) to[2 * j] = from[i * along + j * step];
    }
}

/* One tile in `parts` tiles, `apart` values from one to the next: eight digits each. */
static void cut_tile(const float *values, uint16_t *out, size_t apart)
{
    for (size_t i = 0; i < 512; i++) {
        float left = values[i];
        for (size_t k = 0; k < 3; k++) {
            uint32_t u;
            memcpy(&u, &left, sizeof u);
            out[k * apart + i] = (uint16_t)(u >> 16);
            u &= 0xffff0000;
            float high;
            memcpy(&high, &u, sizeof high);
            left -= high;
        }
    }
}

/* [columns in groups of 32][c / 32][tap][part][tile of 16 columns]. */
void cmi_amx_conv_pack(const cm_amx_conv *t, const float *plain, void *packed)
{
    uint16_t *to = packed;
    float values[512];
    for (size_t o = 0, width; o < (size_t)t->oc; o += width) {
        width = (size_t)t->oc - o < 32 ? 16 : 32;
        for (size_t k = 0; k < t->depth; k++)
            for (size_t tap = 0; tap < t->taps; tap++, to += (size_t)t->parts * width * 32)
                for (size_t g = 0; g < width; g += 16) {
                    gather_tile(t, plain, tap, o + g, 32 * k, values);
                    if (t->parts == 1) t->kernels->round(512, values, to + 32 * g);
                    else cut_tile(values, to + 32 * g, 32 * width);
                }
    }
}

/* --- running ------------------------------------------------------------------------------ */

enum { CACHED = 1 << 20 };

/* A 1 x 1 convolution sees points, not images: rows of one that do not stay in the cache become
 * images of their own. */
static void cut_images(cm_amx_conv *t)
{
    int32_t rows = t->h;
    while (rows > 1 && (t->h % rows || (size_t)rows * (size_t)t->w * t->row * sizeof(uint16_t) > CACHED / 2)) rows--;
    t->n *= t->h / rows;
    t->h = rows;
}

enum { SUMS = 2 * 48 * 32 };

/* What follows from the shape. */
static void fill_sizes(cm_amx_conv *t)
{
    const size_t h = (size_t)t->h, w = (size_t)t->w;
    const int by_rows = t->w % 16 == 0 || t->margin == 0; /* every image row is cut into tiles of its own */
    t->pitch = w + t->margin;
    t->columns = t->margin && by_rows ? w : t->pitch;
    t->tiles = (h * t->columns + 15) / 16;
    t->held = ((h + 2 * t->margin) * t->pitch + 2 + 15 + 63) / 64 * 64;
    t->image_values = t->held * t->row;
    const size_t most = CACHED / (t->image_values * sizeof(uint16_t));
    t->together = most < 2 ? 1 : most < (size_t)t->n ? (int32_t)most : t->n;
    t->starts_ints = ((size_t)t->together * t->tiles + 15) / 16 * 16;
    t->scratch_bytes = (size_t)t->together * t->image_values * sizeof(uint16_t) +
                       17 * t->starts_ints * sizeof(int32_t) + (size_t)t->threads.count * SUMS * sizeof(float);
}

void cmi_amx_conv_init(cm_amx_conv *t, const cm_kernels *kernels, int parts, int side, int transposed,
                       cm_threads threads, int32_t n, int32_t h, int32_t w, int32_t c, int32_t oc)
{
    *t = (cm_amx_conv){kernels->amx, parts, side, transposed, threads, n, h, w, c, oc, .margin = side == 3};
    t->taps = (size_t)side * (size_t)side;
    t->depth = ((size_t)c + 31) / 32;
    t->part = t->depth * 32;
    t->row = ((size_t)parts * t->depth | 1) * 32;
    t->packed_bytes = (size_t)parts * t->taps * t->part * (size_t)oc * sizeof(uint16_t);
    if (side == 1) cut_images(t);
    fill_sizes(t);
}

typedef struct {
    const cm_amx_conv *t;
    const void *x;
    const float *bias, *residual;
    const uint16_t *packed;
    float scale;
    void *y;
    float *sums;              /* of the workers                       */
    uint16_t *image;          /* [images][held][row_of]               */
    int32_t *starts, *points; /* of tiles, and of their 16 rows       */
    size_t images, parts;     /* of this round; of the tiles of points, one a piece */
} job;

/* Where tiles begin and which points their rows are, or -1. */
static void find_points(job *j)
{
    const cm_amx_conv *t = j->t;
    const int32_t w = t->w, wide = (int32_t)t->columns, count = t->h * w;
    int32_t *start = j->starts, *point = j->points;
    for (int32_t image = 0; image < t->together; image++)
        for (int32_t i = 0, row = 0, column = 0; i < (int32_t)t->tiles * 16; i++, point++) {
            if (i % 16 == 0) *start++ = image * (int32_t)t->held + row * (int32_t)t->pitch + column;
            *point = column < w && row < t->h ? image * count + row * w + column : -1;
            if (++column == wide) column = 0, row++;
        }
}

/* Zeros around an image and behind it, and in the channels that fill the last tile. */
static void clear_margins(const cm_amx_conv *t, uint16_t *image)
{
    size_t row = t->row, bytes = row * sizeof *image, first = t->margin * (t->pitch + 1);
    size_t end = first + (size_t)t->h * t->pitch, c = (size_t)t->c;
    memset(image, 0, first * bytes);
    memset(image + (end - t->margin) * row, 0, (t->held - end + t->margin) * bytes);
    for (size_t i = 0; t->margin && i < (size_t)t->h; i++)
        memset(image + (first + i * t->pitch + (size_t)t->w) * row, 0, bytes);
    for (size_t p = first; c % 32 && t->parts == 1 && p < end; p++)
        memset(image + p * row + c, 0, 16 * sizeof *image);
}

/* One image row to bfloat16. */
static cm_status round_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_amx_conv *t = j->t;
    size_t w = (size_t)t->w, c = (size_t)t->c, row = t->row, h = (size_t)t->h, i = (size_t)piece / h;
    const void *x = cmi_values_at(j->x, t->x_bf16, (size_t)piece * w * c);
    uint16_t *to = j->image + i * t->image_values;
    (void)worker;
    to += (t->margin * (t->pitch + 1) + (size_t)piece % h * t->pitch) * row;
    for (size_t k = 0; k < w; k++, to += row)
        if (t->parts > 1) t->kernels->split(c, (const float *)x + k * c, to, t->part);
        else if (t->x_bf16) memcpy(to, (const uint16_t *)x + k * c, c * sizeof *to);
        else t->kernels->round(c, (const float *)x + k * c, to);
    return CM_OK;
}

/* Of 32 columns. */
static size_t groups_of(const cm_amx_conv *t)
{
    return ((size_t)t->oc + 31) / 32;
}

/* Parts of the points: all columns are made of one, then of the next.  As many as let a part
 * stay in the cache; and with threads, who take parts or columns: parts where points are more
 * than the weights, since those should stay with the core that made them, or where columns
 * do not divide. */
static size_t parts_of(const cm_amx_conv *t, size_t images)
{
    enum { SHARE = 3 << 17 };
    size_t values = (size_t)t->h * (size_t)t->w * ((size_t)t->c + 2 * (size_t)t->oc),
           threads = (size_t)t->threads.count;
    size_t parts = (images * t->image_values * sizeof(uint16_t) + SHARE - 1) / SHARE;
    int points = groups_of(t) % threads || values > t->taps * (size_t)t->c * (size_t)t->oc;
    return points ? (parts + threads - 1) / threads * threads : parts;
}

/* Piece: 32 columns of one part of the tiles. */
static cm_status sum_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_amx_conv *t = j->t;
    size_t part = (size_t)piece / groups_of(t), o = (size_t)piece % groups_of(t) * 32;
    size_t tiles = j->images * t->tiles;
    size_t blocks = (tiles + 2) / 3, begin = blocks * part / j->parts * 3, end = blocks * (part + 1) / j->parts * 3;
    if (end > tiles) end = tiles;
    if (begin >= end) return CM_OK; /* more threads than tiles */
    const cm_amx_strip strip = {
        .a = j->image,
        .b = j->packed + (size_t)t->parts * t->taps * t->part * o,
        .starts = j->starts + begin,
        .tiles = end - begin,
        .row = t->row,
        .down = t->pitch,
        .side = (size_t)t->side,
        .depth = t->depth,
        .part = t->parts > 1 ? t->part : 0,
        .width = (size_t)t->oc - o < 32 ? 16 : 32,
        .sums = j->sums + (size_t)worker * SUMS,
        .points = j->points + begin * 16,
        .bias = j->bias ? j->bias + o : NULL,
        .residual = j->residual ? j->residual + o : NULL,
        .scale = j->scale,
        .y = cmi_values_at(j->y, t->y_bf16, o),
        .y_bf16 = t->y_bf16,
        .oc = (size_t)t->oc,
    };
    t->kernels->begin();
    t->kernels->strip(&strip);
    t->kernels->end();
    return CM_OK;
}

cm_status cmi_amx_conv_run(const cm_amx_conv *t, const void *x, const void *packed, const float *bias,
                           const float *residual, float scale, void *y, void *scratch)
{
    size_t points = (size_t)t->h * (size_t)t->w;
    job j = {.t = t, .x = x, .packed = packed, .bias = bias, .residual = residual, .scale = scale, .y = y};
    j.image = scratch;
    j.starts = (int32_t *)(void *)(j.image + (size_t)t->together * t->image_values);
    j.points = j.starts + t->starts_ints;
    j.sums = (float *)(void *)(j.points + 16 * t->starts_ints);
    find_points(&j);
    for (int32_t i = 0; i < t->together; i++) clear_margins(t, j.image + (size_t)i * t->image_values);
    for (size_t done = 0; done < (size_t)t->n; done += j.images) {
        j.images = (size_t)t->n - done < (size_t)t->together ? (size_t)t->n - done : (size_t)t->together;
        j.parts = parts_of(t, j.images);
        CM_TRY(cmi_parallel(t->threads, t->h * (int)j.images, round_piece, &j));
        CM_TRY(cmi_parallel(t->threads, (int)(groups_of(t) * j.parts), sum_piece, &j));
        j.x = cmi_values_at(j.x, t->x_bf16, j.images * points * (size_t)t->c);
        j.y = cmi_values_at(j.y, t->y_bf16, j.images * points * (size_t)t->oc);
        if (j.residual) j.residual += j.images * points * (size_t)t->oc;
    }
    return CM_OK;
}

/* --- the weight gradient -------------------------------------------------------------------- */

/* dw[tap][c][oc] = sum over points q of x[q][c] dy[q - tap][oc].  All images stand one behind
 * the other, rows of w + 1 and images of h + 1 rows, zeros between as above; of x every
 * channel is a row of memory, and dy lies in pairs of points as weights do in pairs of channels, from
 * even points on and once more from odd ones: so a tap is a distance in whole pairs. */

/* Points from one image to the next, and of all in tiles of 32. */
static size_t image_points(const cm_amx_conv *t)
{
    return ((size_t)t->h + t->margin) * t->pitch;
}

static size_t gradient_depth(const cm_amx_conv *t)
{
    return ((size_t)t->n * image_points(t) + 31) / 32;
}

/* Values of x from one channel to the next. */
static size_t transposed_row(const cm_amx_conv *t)
{
    return (gradient_depth(t) | 1) * 32;
}

/* Of dy, from even points on or from odd ones: pairs with what taps reach behind them, and values of 16
 * outputs. */
static size_t paired_rows(const cm_amx_conv *t)
{
    return 16 * gradient_depth(t) + t->margin * (t->pitch + 2);
}

static size_t paired_values(const cm_amx_conv *t)
{
    return (1 + t->margin) * paired_rows(t) * 32;
}

static size_t most_channels(const cm_amx_conv *t)
{
    return (size_t)(t->c > t->oc ? t->c : t->oc);
}

size_t cmi_amx_conv_gradient_bytes(const cm_amx_conv *t)
{
    return 17 * most_channels(t) * sizeof(uint32_t) +
           ((size_t)t->c * transposed_row(t) + (size_t)t->oc / 16 * paired_values(t)) * sizeof(uint16_t);
}

/* The c values of point number `at` of all, zeros between images and rows. */
static const float *point_of(const cm_amx_conv *t, const float *x, size_t c, size_t at, const float *zero)
{
    size_t image = at / image_points(t), row = at % image_points(t) / t->pitch, column = at % t->pitch;
    if (image >= (size_t)t->n || row >= (size_t)t->h || column >= (size_t)t->w) return zero;
    return x + ((image * (size_t)t->h + row) * (size_t)t->w + column) * c;
}

/* x to [c][points]. */
static void transpose_points(const cm_amx_conv *t, const float *x, const float *zero, uint32_t *words,
                             uint16_t *transposed)
{
    const size_t c = (size_t)t->c;
    for (size_t k = 0; k < gradient_depth(t); k++) {
        for (size_t i = 0; i < 16; i++) {
            const size_t at = 32 * k + 2 * i;
            t->kernels->pairs(c, point_of(t, x, c, at, zero), point_of(t, x, c, at + 1, zero), words + i * c);
        }
        for (size_t i = 0; i < c; i += 16)
            t->kernels->transpose(words + i, c, transposed + i * transposed_row(t) + 32 * k, transposed_row(t));
    }
}

/* dy to [oc / 16][even, odd][pairs][16][2], beginning with a row of zeros and one. */
static void pair_points(const cm_amx_conv *t, const float *dy, const float *zero, uint32_t *words, uint16_t *paired)
{
    const size_t oc = (size_t)t->oc, rows = paired_rows(t), before = t->margin * (t->pitch + 1);
    for (size_t i = 0; i < rows; i++)
        for (size_t odd = 0; odd < 1 + t->margin; odd++) {
            const float *two[2];
            for (size_t n = 0; n < 2; n++) {
                const size_t at = 2 * i + odd + n;
                two[n] = at < before ? zero : point_of(t, dy, oc, at - before, zero);
            }
            t->kernels->pairs(oc, two[0], two[1], words);
            uint16_t *to = paired + (odd * rows + i) * 32;
            for (size_t o = 0; o < oc; o += 16, to += paired_values(t)) memcpy(to, words + o, 16 * sizeof *words);
        }
}

/* The taps of 16 channels and 16 outputs over `depth` tiles of points, those whose distance is even and
 * those whose distance is odd: of each the pairs are the same but for a few. */
static void sum_taps(const cm_amx_conv *t, size_t depth, const uint16_t *a, const uint16_t *b, float *dw, int add)
{
    const size_t matrix = (size_t)t->c * (size_t)t->oc;
    for (size_t odd = 0; odd < 2; odd++) {
        const uint16_t *from[9];
        float *to[9];
        size_t count = 0;
        for (size_t tap = 0; tap < 9; tap++) {
            const size_t far = (2 - tap / 3) * t->pitch + 2 - tap % 3;
            if (far % 2 != odd) continue;
            from[count] = b + (odd * paired_rows(t) + far / 2) * 32;
            to[count++] = dw + tap * matrix;
        }
        t->kernels->taps(count, depth, a, transposed_row(t), from, to, (size_t)t->oc, add);
    }
}

/* Over `depth` tiles of points from number `first` on.  What is read of 64 channels stays in the second-level
 * cache while all outputs pass. */
static void sum_part(const cm_amx_conv *t, size_t first, size_t depth, const uint16_t *transposed,
                     const uint16_t *paired, float *dw)
{
    const size_t c = (size_t)t->c, oc = (size_t)t->oc, step = t->side == 3 ? 16 : 32; /* channels, outputs */
    const int add = first > 0;
    transposed += 32 * first, paired += 512 * first;
    for (size_t k0 = 0; k0 < c; k0 += 64)
        for (size_t o = 0; o < oc; o += step)
            for (size_t k = k0; k < c && k < k0 + 64; k += step) {
                const uint16_t *a = transposed + k * transposed_row(t), *b = paired + o / 16 * paired_values(t);
                if (t->side == 3) sum_taps(t, depth, a, b, dw + k * oc + o, add);
                else
                    t->kernels->outer(c - k < 32 ? 16 : 32, oc - o < 32 ? 16 : 32, depth, a, transposed_row(t), b,
                                      paired_values(t), dw + k * oc + o, oc, add);
            }
}

void cmi_amx_conv_gradient(const cm_amx_conv *t, const float *x, const float *dy, float *dw, void *scratch)
{
    const size_t depth = gradient_depth(t), most = t->side == 3 ? 144 : 32; /* the second-level cache holds */
    float *zero = scratch;
    uint32_t *words = (uint32_t *)(void *)(zero + most_channels(t));
    uint16_t *transposed = (uint16_t *)(void *)(words + 16 * most_channels(t));
    uint16_t *paired = transposed + (size_t)t->c * transposed_row(t);
    memset(zero, 0, most_channels(t) * sizeof *zero);
    transpose_points(t, x, zero, words, transposed);
    pair_points(t, dy, zero, words, paired);
    t->kernels->begin();
    for (size_t first = 0; first < depth; first += most)
        sum_part(t, first, depth - first < most ? depth - first : most, transposed, paired, dw);
    t->kernels->end();
}

/* --- the rows of the table ---------------------------------------------------------------------- */

static int fits(cm_convolution *conv, int parts, const cm_conv_options *o, const cm_conv_shape *s)
{
    cm_amx_conv *t = &conv->as.amx;
    if (s->up || !cmi_winograd_rule(1, s->kernel, s->stride, s->pad, s->c, s->oc, s->h, s->w)) return 0;
    cmi_amx_conv_init(t, o->kernels, parts, s->kernel, s->transposed, o->threads, s->n, s->h, s->w, s->c, s->oc);
    conv->packed_bytes = t->packed_bytes;
    conv->scratch_bytes = t->scratch_bytes;
    return 1;
}

static int fits_bf16(cm_convolution *conv, const cm_conv_options *o, const cm_conv_shape *s)
{
    if (o->bf16 != 1 || !fits(conv, 1, o, s)) return 0;
    conv->name = s->kernel == 3 ? "amx 3x3 bf16" : "amx 1x1 bf16";
    conv->takes_bf16 = 1;
    return 1;
}

/* To cut a value in three takes as long as 128 outputs save by it (measured).  The same for a layer and its
 * data gradient, whose channels change places. */
static int fits_f32(cm_convolution *conv, const cm_conv_options *o, const cm_conv_shape *s)
{
    const int wide = s->c >= 128 && s->oc >= 128 && s->c + s->oc > 256;
    if (o->bf16 || !o->kernels->has_amx || s->kernel != 1 || !wide || s->h * s->w < 16) return 0;
    if (!fits(conv, 3, o, s)) return 0;
    conv->name = "amx 1x1";
    return 1;
}

static int same_weights(const cm_convolution *a, const cm_convolution *b)
{
    const cm_amx_conv *u = &a->as.amx, *t = &b->as.amx;
    return u->parts == t->parts && u->side == t->side && u->transposed == t->transposed && u->c == t->c &&
           u->oc == t->oc;
}

static cm_status pack(const cm_convolution *conv, const float *plain, void *packed)
{
    cmi_amx_conv_pack(&conv->as.amx, plain, packed);
    return CM_OK;
}

static cm_status run(const cm_convolution *conv, const cm_conv_run *r)
{
    return cmi_amx_conv_run(&conv->as.amx, r->x, r->weights, r->bias, r->residual, r->scale, r->y, r->scratch);
}

static void hold(cm_convolution *conv, int x_bf16, int y_bf16)
{
    conv->as.amx.x_bf16 = x_bf16, conv->as.amx.y_bf16 = y_bf16;
}

static cm_status gradient_create(cm_conv_gradient *g, const cm_conv_options *o, const cm_conv_shape *s)
{
    cm_amx_conv *t = &g->as.amx;
    cmi_amx_conv_init(t, o->kernels, 1, s->kernel, 0, cmi_one_thread(), s->n, s->h, s->w, s->c, s->oc);
    cmi_conv_gradient_fill(g, o->kernels, s, cmi_amx_conv_gradient_bytes(t));
    return CM_OK;
}

static cm_status gradient_run(const cm_conv_gradient *g, const cm_conv_gradient_run *r)
{
    cmi_amx_conv_gradient(&g->as.amx, r->x, r->dy, r->dw, r->scratch);
    cmi_conv_gradient_bias(g, r);
    return CM_OK;
}

/* Of operands rounded to bfloat16. */
static const cm_conv_gradient_algorithm weight_gradient = {
    .create = gradient_create, .run = gradient_run, .unpack = cmi_conv_gradient_by_taps};
const cm_conv_algorithm cmi_conv_amx_bf16 = {.name = "amx bf16",
                                             .fits = fits_bf16,
                                             .same_weights = same_weights,
                                             .pack = pack,
                                             .hold = hold,
                                             .run = run,
                                             .weight_gradient = &weight_gradient};
const cm_conv_algorithm cmi_conv_amx_f32 = {.name = "amx",
                                            .fits = fits_f32,
                                            .same_weights = same_weights,
                                            .pack = pack,
                                            .run = run,
                                            .weight_gradient = &cmi_winograd_weight_gradient};
