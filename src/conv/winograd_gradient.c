/* winograd_gradient.c - the weight gradient, in Winograd's domain or, of a 1 x 1 convolution, as one product.
 *
 * dU[t] [c][oc] = sum over tiles of V[t]^T Z[t], folded to 3 x 3.  Factors lie in groups of
 * columns, [position][tile][columns], all of Z and one of V, which stays near, so that each product
 * of two groups reads contiguous memory and its sums are folded while they are near. */
#include "conv/winograd_parts.h"

#include <string.h>

#include "conv/conv.h"

static size_t gradient_block(const cm_winograd *w)
{
    size_t tiles = w->tiles, blocks = (tiles + 63) / 64;
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
    return gradient_block(w) * gradient_row(CM_WINOGRAD_GROUP) + CM_WINOGRAD_PAD;
}

static size_t group_floats(const cm_winograd *w)
{
    return w->geometry->positions * matrix_apart(w);
}

/* Points that a 1 x 1 convolution's gradient takes at a time, where they lie and of copies. */
enum { POINTS = 64, COPIED_POINTS = 128 };

/* Lines of points of so many channels meet in a few places of the nearest cache. */
static int collide(size_t c)
{
    return c / 16 % 8 == 0;
}

/* Of scratch memory. */
static size_t gradient_bytes(const cm_winograd *w)
{
    const size_t c = (size_t)w->c, oc = (size_t)w->oc;
    if (!w->geometry->rim) return COPIED_POINTS * (gradient_row(c) + gradient_row(oc)) * sizeof(float);
    const size_t factors = (1 + cmi_winograd_groups(oc)) * group_floats(w);
    return (CM_WINOGRAD_GROUP + factors +
            4 * w->geometry->side * (CM_WINOGRAD_GROUP * CM_WINOGRAD_GROUP + CM_WINOGRAD_PAD)) *
           sizeof(float);
}

/* `count` tiles from `first` on of the columns from `column` on of x or dy, through `transform`.  Of wide
 * points the next tile's are asked for: they are pieces far apart. */
static void transform_group(const cm_winograd *w,
                            void (*transform)(int, size_t, const float *const *, void *, size_t), int inputs,
                            const float *x, size_t c, size_t column, size_t first, size_t count, const float *zero,
                            float *out)
{
    const size_t columns = c - column < CM_WINOGRAD_GROUP ? c - column : CM_WINOGRAD_GROUP,
                 n = inputs ? w->geometry->points : cmi_winograd_outputs(w);
    const float *points[36];
    for (size_t i = 0; i < count; i++, out += gradient_row(columns)) {
        if (c > 2 * CM_WINOGRAD_GROUP && i + 1 < count) {
            cmi_winograd_find_points(w, x + column, c, first + i + 1, inputs, zero, points);
            for (size_t k = 0; k < n; k++)
                for (size_t j = 0; j < columns; j += 16) __builtin_prefetch(points[k] + j);
        }
        cmi_winograd_find_points(w, x + column, c, first + i, inputs, zero, points);
        transform(w->tile, columns, points, out, matrix_apart(w));
    }
}

/* The products of one group of each, of `tiles` tiles: as soon as a row of positions is there it is
 * folded, 6 to 3, so that the other half of the work has half as much to read from afar, and to
 * [rows][positions folded once][columns], in the order that it is read in. */
static void gradient_groups(const cm_winograd *w, size_t rows, size_t columns, size_t tiles, const float *v,
                            const float *z, float *du, float *dw, int add)
{
    const size_t apart = matrix_apart(w), du_apart = CM_WINOGRAD_GROUP * CM_WINOGRAD_GROUP + CM_WINOGRAD_PAD,
                 oc = (size_t)w->oc, m = w->geometry->side;
    float *halves = du + m * du_apart;
    for (size_t row = 0; row < m; row++) {
        for (size_t i = 0; i < m; i++, z += apart)
            w->kernels->gemm->product_transposed(rows, columns, tiles, v + w->geometry->value_of[m * row + i] * apart,
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
    const size_t c = (size_t)w->c, oc = (size_t)w->oc, points = w->tiles;
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

/* dw [taps][c][oc] of a forward of square tiles, or of a 1 x 1 one. */
static void weight_gradient(const cm_winograd *w, const float *x, const float *dy, float *dw, void *scratch)
{
    if (!w->geometry->rim) {
        gradient_of_points(w, x, dy, dw, scratch);
        return;
    }
    size_t c = (size_t)w->c, oc = (size_t)w->oc, tiles = w->tiles;
    float *zero = scratch, *v = zero + CM_WINOGRAD_GROUP, *all = v + group_floats(w),
          *du = all + cmi_winograd_groups(oc) * group_floats(w);
    memset(zero, 0, CM_WINOGRAD_GROUP * sizeof *zero);
    for (size_t first = 0; first < tiles; first += gradient_block(w)) {
        size_t count = tiles - first < gradient_block(w) ? tiles - first : gradient_block(w);
        float *z = all;
        for (size_t j = 0; j < oc; j += CM_WINOGRAD_GROUP, z += group_floats(w))
            transform_group(w, w->kernels->winograd->gradient, 0, dy, oc, j, first, count, zero, z);
        for (size_t k = 0; k < c; k += CM_WINOGRAD_GROUP) {
            transform_group(w, w->kernels->winograd->float32.input, 1, x, c, k, first, count, zero, v);
            z = all;
            for (size_t j = 0; j < oc; j += CM_WINOGRAD_GROUP, z += group_floats(w))
                gradient_groups(w, c - k < CM_WINOGRAD_GROUP ? c - k : CM_WINOGRAD_GROUP,
                                cmi_winograd_group_columns(w, j), count, v, z, du, dw + k * oc + j, first > 0);
        }
    }
}

/* --- the row of the table ----------------------------------------------------------------------- */

/* Of kernels other than 1 x 1 and 3 x 3 of images that keep their size it is that of patches. */
static cm_status gradient_create(cm_conv_gradient *g, const cm_conv_options *o, const cm_conv_shape *s)
{
    if (s->kernel_w || (s->kernel != 1 && (s->kernel != 3 || s->pad != 1))) {
        g->algorithm = &cmi_patches_weight_gradient;
        return g->algorithm->create(g, o, s);
    }
    const int tile = s->kernel == 1 ? CM_WINOGRAD_1X1
                     : s->up        ? CM_WINOGRAD_UP
                                    : cmi_winograd_rule(0, 3, 1, 1, s->c, s->oc, s->h, s->w);
    cmi_winograd_init(&g->as.winograd, o->kernels, 0, tile, 0, cmi_one_thread(), s->n, s->h, s->w, s->c, s->oc);
    cmi_conv_gradient_fill(g, o->kernels, s, gradient_bytes(&g->as.winograd));
    return CM_OK;
}

static cm_status gradient_run(const cm_conv_gradient *g, const cm_conv_gradient_run *r)
{
    weight_gradient(&g->as.winograd, r->x, r->dy, r->dw, r->scratch);
    cmi_conv_gradient_bias(g, r);
    return CM_OK;
}

const cm_conv_gradient_algorithm cmi_winograd_weight_gradient = {
    .create = gradient_create, .run = gradient_run, .unpack = cmi_conv_gradient_by_taps};
