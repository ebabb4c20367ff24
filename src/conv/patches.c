/* patches.c - see the header. */
#include "conv/patches.h"

#include <string.h>

#include "conv/conv.h"
#include "tensor/desc.h"

enum { COLUMNS = 64 };                                      /* made at a time */
enum { MOST_ROWS = 96, ROWS = 6, MOST_FLOATS = 128 << 10 }; /* of a block: patches, in what multiples, their values */
enum { GRADIENT_ROWS = 128, GRADIENT_FLOATS = 512 << 10 };  /* the same of the weight gradient's */

static size_t up_to(size_t n, size_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* Floats from one row of a matrix to the next: an odd number of cache lines, or they collide. */
static size_t row_of(size_t values)
{
    return (up_to(values, 16) / 16 | 1) * 16;
}

static size_t values_of(const cm_patches *p)
{
    return (size_t)p->kernel * (size_t)p->kernel_w * (size_t)p->c;
}

static size_t outputs_of(const cm_patches *p)
{
    return (size_t)p->n * (size_t)p->oh * (size_t)p->ow;
}

/* x or its gradient is itself the matrix. */
static int is_product(const cm_patches *p)
{
    return p->kernel == 1 && p->kernel_w == 1 && p->stride == 1 && p->pad == 0 && p->pad_w == 0;
}

static size_t rows_within(size_t floats, size_t row, size_t most)
{
    const size_t rows = floats / row / ROWS * ROWS;
    return rows < ROWS ? ROWS : rows > most ? most : rows;
}

static cm_patches patches_of(const cm_conv_options *o, const cm_conv_shape *s)
{
    const int32_t kernel_w = s->kernel_w ? s->kernel_w : s->kernel, pad_w = s->kernel_w ? s->pad_w : s->pad;
    cm_patches p = {.kernels = o->kernels,
                    .threads = o->threads,
                    .n = s->n,
                    .h = s->h,
                    .w = s->w,
                    .c = s->transposed ? s->oc : s->c,
                    .oh = cmi_conv_size(s->h, s->kernel, s->stride, s->pad),
                    .ow = cmi_conv_size(s->w, kernel_w, s->stride, pad_w),
                    .oc = s->transposed ? s->c : s->oc,
                    .kernel = s->kernel,
                    .kernel_w = kernel_w,
                    .stride = s->stride,
                    .pad = s->pad,
                    .pad_w = pad_w,
                    .relu = s->relu && !s->transposed,
                    .transposed = s->transposed};
    const size_t values = values_of(&p), oc = (size_t)p.oc;
    p.depth = s->transposed ? oc : values;
    p.columns = up_to(s->transposed ? values : oc, 16);
    p.block = rows_within(MOST_FLOATS, s->transposed ? p.columns : row_of(values), MOST_ROWS);
    return p;
}

/* --- patches ------------------------------------------------------------------------------------ */

/* An output, and where its patch begins, which may be outside of x. */
typedef struct {
    int32_t image, row, column;
} output;

static output output_at(const cm_patches *p, size_t index)
{
    const size_t per = (size_t)p->oh * (size_t)p->ow;
    return (output){(int32_t)(index / per), (int32_t)(index % per / (size_t)p->ow), (int32_t)(index % (size_t)p->ow)};
}

static void next(const cm_patches *p, output *o)
{
    if (++o->column < p->ow) return;
    o->column = 0;
    if (++o->row < p->oh) return;
    o->row = 0;
    o->image++;
}

/* Of row `tap` of an output's patch: how many of its points lie before x, inside and behind, and where the first that
 * is inside lies in x, in points. */
typedef struct {
    size_t before, inside, behind, at;
} line;

static line line_of(const cm_patches *p, const output *o, int32_t tap)
{
    const int32_t row = o->row * p->stride - p->pad + tap, first = o->column * p->stride - p->pad_w;
    int32_t before = first < 0 ? -first : 0, end = p->w - first < p->kernel_w ? p->w - first : p->kernel_w;
    if (before > p->kernel_w) before = p->kernel_w;
    if (row < 0 || row >= p->h || end <= before) return (line){(size_t)p->kernel_w, 0, 0, 0};
    return (line){(size_t)before, (size_t)(end - before), (size_t)(p->kernel_w - end),
                  ((size_t)o->image * (size_t)p->h + (size_t)row) * (size_t)p->w + (size_t)(first + before)};
}

static float *put_zeros(size_t n, float *to)
{
    if (n) memset(to, 0, n * sizeof *to);
    return to + n;
}

static float *put_values(size_t n, const float *from, float *to)
{
    if (n > 32) memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++) to[i] = from[i];
    return to + n;
}

/* The patches of `count` outputs from `first` on, `row` floats from one to the next; what is left of a row is 0. */
static void gather(const cm_patches *p, const float *x, size_t first, size_t count, size_t row, float *to)
{
    const size_t c = (size_t)p->c, left = row - values_of(p);
    output o = output_at(p, first);
    for (size_t i = 0; i < count; i++, next(p, &o)) {
        for (int32_t tap = 0; tap < p->kernel; tap++) {
            const line l = line_of(p, &o, tap);
            to = put_zeros(l.before * c, to);
            to = put_values(l.inside * c, x + l.at * c, to);
            to = put_zeros(l.behind * c, to);
        }
        to = put_zeros(left, to);
    }
}

/* Adds patches to x, where they lie in it. */
static void scatter(const cm_patches *p, const float *from, size_t first, size_t count, size_t row, float *x)
{
    const size_t c = (size_t)p->c, width = (size_t)p->kernel_w * c;
    output o = output_at(p, first);
    for (size_t i = 0; i < count; i++, next(p, &o), from += row)
        for (int32_t tap = 0; tap < p->kernel; tap++) {
            const line l = line_of(p, &o, tap);
            if (l.inside)
                p->kernels->pointwise->axpy(l.inside * c, 1, from + (size_t)tap * width + l.before * c, x + l.at * c);
        }
}

/* --- packed weights ----------------------------------------------------------------------------- */

/* Column `column` of the packed weights: its first row, and the floats to the next. */
static float *packed_column(const cm_patches *p, size_t column, float *packed, size_t *step)
{
    size_t first = 0, width = 0;
    for (; first <= column; first += width) width = p->kernels->gemm->panel(p->columns - first);
    first -= width;
    *step = width;
    return packed + first * p->depth + (column - first);
}

/* plain [oc][c][kernel][kernel_w]; a patch is [kernel][kernel_w][c]. */
static void pack_values(const cm_patches *p, const float *plain, float *packed)
{
    enum { CHANNELS = 8 }; /* at a time: their lines lie in the nearest cache */
    const size_t c = (size_t)p->c, oc = (size_t)p->oc, taps = values_of(p) / c;
    for (size_t k0 = 0; k0 < c; k0 += CHANNELS)
        for (size_t j = 0; j < oc; j++) {
            size_t step;
            float *to = packed_column(p, j, packed, &step);
            for (size_t k = k0; k < c && k < k0 + CHANNELS; k++)
                for (size_t i = 0; i < taps; i++) to[(i * c + k) * step] = plain[(j * c + k) * taps + i];
        }
}

static void pack_transposed(const cm_patches *p, const float *plain, float *packed)
{
    const size_t c = (size_t)p->c, oc = (size_t)p->oc, taps = values_of(p) / c;
    for (size_t i = 0; i < taps; i++)
        for (size_t k = 0; k < c; k++) {
            size_t step;
            float *to = packed_column(p, i * c + k, packed, &step);
            for (size_t j = 0; j < oc; j++) to[j * step] = plain[(j * c + k) * taps + i];
        }
}

static cm_status pack(const cm_convolution *conv, const float *plain, void *packed)
{
    const cm_patches *p = &conv->as.patches;
    memset(packed, 0, conv->packed_bytes);
    if (p->transposed) pack_transposed(p, plain, packed);
    else pack_values(p, plain, packed);
    return CM_OK;
}

static int same_weights(const cm_convolution *a, const cm_convolution *b)
{
    const cm_patches *p = &a->as.patches, *q = &b->as.patches;
    return p->transposed == q->transposed && p->c == q->c && p->oc == q->oc && p->kernel == q->kernel &&
           p->kernel_w == q->kernel_w;
}

/* --- values ------------------------------------------------------------------------------------- */

typedef struct {
    const cm_patches *p;
    const cm_conv_run *run;
    size_t groups; /* that columns are cut into where there are few blocks: one piece each */
} job;

/* Outputs stand where they belong, or if the channels are no multiple of 16 first beside the patches. */
static int in_place(const cm_patches *p)
{
    return p->oc % 16 == 0;
}

static size_t worker_floats(const cm_patches *p)
{
    return p->block * ((is_product(p) ? 0 : row_of(values_of(p))) + (in_place(p) ? 0 : COLUMNS));
}

/* Of a block: the patches, how many, and the first output. */
typedef struct {
    const float *a;
    size_t row, first, count;
} block;

/* Bias, residual and ReLU of channels [column, column + width) of output number `at`. */
static void finish(const job *j, size_t at, size_t column, size_t width)
{
    const cm_pointwise *loops = j->p->kernels->pointwise;
    const cm_conv_run *r = j->run;
    const size_t from = at * (size_t)j->p->oc + column;
    float *y = (float *)r->y + from;
    if (r->bias) loops->axpy(width, 1, r->bias + column, y);
    if (r->residual) loops->add(width, y, r->residual + from, r->scale, y);
    if (j->p->relu) loops->relu(width, y, y);
}

/* Columns [column, column + columns) of a block: few enough that what is added finds them in the nearest cache. */
static void make_columns(const job *j, const block *b, size_t column, size_t columns, float *own)
{
    const cm_patches *p = j->p;
    const size_t oc = (size_t)p->oc, width = oc - column < columns ? oc - column : columns;
    float *y = (float *)j->run->y + b->first * oc + column, *to = in_place(p) ? y : own;
    const size_t step = in_place(p) ? oc : columns;
    p->kernels->gemm->product(b->count, columns, p->depth, b->a, b->row,
                              (const float *)j->run->weights + column * p->depth, to, step);
    for (size_t i = 0; i < b->count; i++) {
        if (!in_place(p)) memcpy(y + i * oc, own + i * step, width * sizeof *y);
        finish(j, b->first + i, column, width);
    }
}

/* Piece: a block of outputs, or one group of its columns. */
static cm_status values_piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_patches *p = j->p;
    const size_t first = (size_t)index / j->groups * p->block, left = outputs_of(p) - first;
    const size_t group = (size_t)index % j->groups * COLUMNS;
    const size_t end = j->groups > 1 && p->columns - group > COLUMNS ? group + COLUMNS : p->columns;
    float *patches = (float *)j->run->scratch + (size_t)worker * worker_floats(p);
    block b = {patches, row_of(values_of(p)), first, left < p->block ? left : p->block};
    if (is_product(p)) {
        b.row = (size_t)p->c;
        b.a = (const float *)j->run->x + first * b.row;
    } else {
        gather(p, j->run->x, first, b.count, b.row, patches);
        patches += p->block * b.row;
    }
    for (size_t column = group; column < end; column += COLUMNS)
        make_columns(j, &b, column, end - column < COLUMNS ? end - column : COLUMNS, patches);
    return CM_OK;
}

static cm_status run_values(const cm_patches *p, const cm_conv_run *r)
{
    const size_t blocks = (outputs_of(p) + p->block - 1) / p->block, threads = (size_t)p->threads.count;
    job j = {p, r, 1};
    if (threads > 1 && blocks < 4 * threads) j.groups = (p->columns + COLUMNS - 1) / COLUMNS;
    return cmi_parallel(p->threads, (int)(blocks * j.groups), values_piece, &j);
}

/* --- data gradient: one thread ------------------------------------------------------------------ */

/* dy times the weights is dx. */
static int makes_points(const cm_patches *p)
{
    return is_product(p) && p->c % 16 == 0;
}

static cm_status run_transposed(const cm_patches *p, const cm_conv_run *r)
{
    const float *dy = r->x;
    const size_t all = outputs_of(p), oc = (size_t)p->oc;
    float *dx = r->y;
    if (!makes_points(p)) (void)put_zeros((size_t)p->n * (size_t)p->h * (size_t)p->w * (size_t)p->c, dx);
    for (size_t first = 0; first < all; first += p->block) {
        const size_t count = all - first < p->block ? all - first : p->block;
        float *to = makes_points(p) ? dx + first * p->columns : r->scratch;
        p->kernels->gemm->product(count, p->columns, oc, dy + first * oc, oc, r->weights, to, p->columns);
        if (!makes_points(p)) scatter(p, to, first, count, p->columns, dx);
    }
    if (r->residual)
        p->kernels->pointwise->add((size_t)p->n * (size_t)p->h * (size_t)p->w * (size_t)p->c, dx, r->residual,
                                   r->scale, dx);
    return CM_OK;
}

/* --- the row of the table ----------------------------------------------------------------------- */

/* Points that stand for four are the caller's to make large. */
static int fits(cm_convolution *conv, const cm_conv_options *o, const cm_conv_shape *s)
{
    if (s->up) return 0;
    const cm_patches p = patches_of(o, s);
    conv->as.patches = p;
    conv->name = "patches";
    conv->relus = p.relu;
    conv->packed_bytes = p.depth * p.columns * sizeof(float);
    conv->scratch_bytes = sizeof(float) * (p.transposed ? (makes_points(&p) ? 0 : p.block * p.columns)
                                                        : (size_t)p.threads.count * worker_floats(&p));
    return 1;
}

static cm_status run(const cm_convolution *conv, const cm_conv_run *r)
{
    const cm_patches *p = &conv->as.patches;
    return p->transposed ? run_transposed(p, r) : run_values(p, r);
}

const cm_conv_algorithm cmi_conv_patches = {.name = "patches",
                                            .small_memory = 1,
                                            .fits = fits,
                                            .same_weights = same_weights,
                                            .pack = pack,
                                            .run = run,
                                            .weight_gradient = &cmi_patches_weight_gradient};

/* --- the weight gradient ------------------------------------------------------------------------ */

/* Rows of the gradient [rows][columns]: one a value of a patch, an even number. */
static size_t gradient_rows(const cm_patches *p)
{
    return up_to(values_of(p), 2);
}

/* Of a 1 x 1 layer x itself is taken. */
static int takes_x(const cm_patches *p)
{
    return is_product(p) && p->c % 2 == 0;
}

/* Of a 1 x 1 layer of many channels it is Winograd's product; small memory has no room for its copies. */
static int is_wide_product(const cm_conv_shape *s)
{
    return s->kernel == 1 && !s->kernel_w && s->stride == 1 && s->pad == 0 && s->c % 16 == 0 && s->oc % 16 == 0;
}

static cm_status gradient_create(cm_conv_gradient *g, const cm_conv_options *o, const cm_conv_shape *s)
{
    if (is_wide_product(s) && !o->small_memory) {
        g->algorithm = &cmi_winograd_weight_gradient;
        return g->algorithm->create(g, o, s);
    }
    cm_patches p = patches_of(o, s);
    const size_t row = row_of(values_of(&p)), bias = 3 * (size_t)p.oc;
    p.block = rows_within(GRADIENT_FLOATS, row, GRADIENT_ROWS);
    const size_t floats = p.block * ((takes_x(&p) ? 0 : row) + (in_place(&p) ? 0 : p.columns));
    g->kernels = o->kernels;
    g->oc = (size_t)p.oc;
    g->points = outputs_of(&p);
    g->bytes = gradient_rows(&p) * p.columns * sizeof(float);
    g->scratch_bytes = sizeof(float) * (floats > bias ? floats : bias);
    g->as.patches = p;
    return CM_OK;
}

/* Rows of oc values with zeros behind them. */
static void widen_rows(const cm_patches *p, const float *dy, size_t count, float *to)
{
    const size_t oc = (size_t)p->oc;
    for (size_t i = 0; i < count; i++) {
        to = put_values(oc, dy + i * oc, to);
        to = put_zeros(p->columns - oc, to);
    }
}

static cm_status gradient_run(const cm_conv_gradient *g, const cm_conv_gradient_run *r)
{
    const cm_patches *p = &g->as.patches;
    const size_t row = row_of(values_of(p)), oc = (size_t)p->oc, c = (size_t)p->c;
    float *patches = r->scratch, *wide = patches + (takes_x(p) ? 0 : p->block * row);
    for (size_t first = 0; first < g->points; first += p->block) {
        const size_t count = g->points - first < p->block ? g->points - first : p->block;
        const float *dy = r->dy + first * oc, *x = takes_x(p) ? r->x + first * c : patches;
        if (!takes_x(p)) gather(p, r->x, first, count, row, patches);
        if (!in_place(p)) widen_rows(p, dy, count, wide);
        p->kernels->gemm->product_transposed(gradient_rows(p), p->columns, count, x, takes_x(p) ? c : row,
                                             in_place(p) ? dy : wide, p->columns, r->dw, first > 0);
    }
    cmi_conv_gradient_bias(g, r);
    return CM_OK;
}

static cm_status unpack(const cm_conv_gradient *g, const float *gradient, float *plain)
{
    const cm_patches *p = &g->as.patches;
    const size_t c = (size_t)p->c, oc = (size_t)p->oc, taps = values_of(p) / c;
    for (size_t k = 0; k < c; k++)
        for (size_t j = 0; j < oc; j++)
            for (size_t i = 0; i < taps; i++) plain[(j * c + k) * taps + i] = gradient[(i * c + k) * p->columns + j];
    return CM_OK;
}

const cm_conv_gradient_algorithm cmi_patches_weight_gradient = {
    .create = gradient_create, .run = gradient_run, .unpack = unpack};
