/* modulate.c - y = SiLU(x (1 + s)) with a vector s per image: what the embedding does in a block of EDM2.
 *
 * With u = x (1 + s): dx = (1 + s) SiLU'(u) dy, ds = sum over points x SiLU'(u) dy,
 * ty = SiLU'(u) ((1 + s) tx + x ts). */
#include <math.h>
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)attr, (void)n_in;
    if (in[1].h != 1 || in[1].w != 1 || in[1].c != in[0].c)
        CM_FAIL(CM_ERR_SHAPE, "modulate: %d channels by a vector of %d", in[0].c, in[1].c);
    *out = in[0];
    return CM_OK;
}

/* Vectors of C values: of all threads zeros; of an image 1 + s; of backward two sums. */
enum { ZEROS, FACTORS, SUMS, PRODUCTS, VECTORS };

static size_t whole(size_t c)
{
    return (c + 15) / 16 * 16;
}

static cm_status prepare(cm_op_plan *p)
{
    const size_t c = whole((size_t)p->in[0].c), rows = p->mode == CM_MODE_INFER ? 0 : 64;
    p->scratch_bytes = ((size_t)p->out.n + VECTORS + rows * (size_t)p->threads.count) * c * sizeof(float);
    return CM_OK;
}

static float *vector(const cm_op_run *r, int which)
{
    return (float *)r->scratch + (size_t)which * whole((size_t)r->p->in[0].c);
}

/* 1 + s of each image. */
static void make_factors(const cm_op_run *r)
{
    const size_t c = (size_t)r->p->in[0].c;
    const float *s = r->in[1];
    memset(vector(r, ZEROS), 0, c * sizeof(float));
    for (int32_t n = 0; n < r->p->out.n; n++)
        for (size_t k = 0; k < c; k++) vector(r, VECTORS + n)[k] = 1 + s[(size_t)n * c + k];
}

static size_t points(const cm_op_run *r)
{
    return (size_t)r->p->out.h * (size_t)r->p->out.w;
}

/* Pieces of 64 points of an image; which image and which points. */
static int pieces_of(const cm_op_run *r)
{
    return cmi_op_row_pieces(points(r));
}

typedef struct {
    size_t image, first, rows;
} place;

static place place_of(const cm_op_run *r, int index)
{
    const int each = pieces_of(r), within = index % each;
    place p = {(size_t)(index / each), (size_t)within * 64, cmi_op_piece_rows(points(r), within)};
    p.first += p.image * points(r);
    return p;
}

static cm_status forward_piece(void *user, int index, int worker)
{
    const cm_op_run *r = user;
    const place at = place_of(r, index);
    const size_t c = (size_t)r->p->in[0].c;
    const float *x = r->in[0], *zeros = vector(r, ZEROS);
    (void)worker;
    r->p->kernels->pointwise->affine(at.rows, c, x + at.first * c, zeros, vector(r, VECTORS + (int)at.image), zeros,
                                     1, (float *)r->out + at.first * c);
    return CM_OK;
}

static cm_status over_points(const cm_op_run *r, cm_piece_fn piece)
{
    make_factors(r);
    return cmi_parallel(r->p->threads, r->p->out.n * pieces_of(r), piece, (void *)(uintptr_t)r);
}

static cm_status forward(const cm_op_run *r)
{
    return over_points(r, forward_piece);
}

static cm_status backward(const cm_op_run *r)
{
    const cm_pointwise *k = r->p->kernels->pointwise;
    const size_t c = (size_t)r->p->in[0].c, rows = points(r);
    const float *x = r->in[0], *zeros = vector(r, ZEROS);
    float *sums = vector(r, SUMS), *products = vector(r, PRODUCTS), *block = vector(r, VECTORS + r->p->out.n);
    make_factors(r);
    for (size_t n = 0; n < (size_t)r->p->out.n; n++) {
        const float *a = vector(r, VECTORS + (int)n);
        memset(sums, 0, c * sizeof *sums);
        memset(products, 0, c * sizeof *products);
        for (size_t i = 0; i < rows; i += 64) {
            const size_t some = rows - i < 64 ? rows - i : 64, at = (n * rows + i) * c;
            float *g = r->din[0] ? r->din[0] + at : block;
            k->affine_sums(some, c, x + at, zeros, a, zeros, 1, r->dout + at, g, sums, products);
            if (r->din[0]) k->affine_back(some, c, x + at, zeros, g, a, zeros, zeros, g);
        }
        if (r->din[1]) memcpy(r->din[1] + n * c, products, c * sizeof *products);
    }
    return CM_OK;
}

static cm_status jvp_piece(void *user, int index, int worker)
{
    const cm_op_run *r = user;
    const cm_pointwise *k = r->p->kernels->pointwise;
    const place at = place_of(r, index);
    const size_t c = (size_t)r->p->in[0].c, from = at.first * c;
    const float *x = (const float *)r->in[0] + from, *zeros = vector(r, ZEROS),
                *a = vector(r, VECTORS + (int)at.image);
    float *t = r->tout + from, *u = vector(r, VECTORS + r->p->out.n + 64 * worker);
    const float *ts = r->tin[1] ? r->tin[1] + at.image * c : zeros;
    k->affine(at.rows, c, x, zeros, ts, zeros, 0, t);
    if (r->tin[0]) {
        k->affine(at.rows, c, r->tin[0] + from, zeros, a, zeros, 0, u);
        k->add(at.rows * c, t, u, 1, t);
    }
    k->affine(at.rows, c, x, zeros, a, zeros, 0, u);
    k->silu_back(at.rows * c, u, t, t);
    return CM_OK;
}

static cm_status jvp(const cm_op_run *r)
{
    return over_points(r, jvp_piece);
}

/* With tu = (1 + s) tx + x ts: gu = SiLU' dy + SiLU'' tu dty, gtu = SiLU' dty, dx = (1 + s) gu + ts gtu,
 * dtx = (1 + s) gtu, ds = sum x gu + tx gtu, dts = sum x gtu. */
static cm_status both_backward(const cm_op_run *r)
{
    const size_t c = (size_t)r->p->in[0].c, rows = points(r);
    const float *x = r->in[0], *s = r->in[1];
    for (size_t at = 0; at < (size_t)r->p->out.n * c; at++) {
        const size_t n = at / c, k = at % c;
        const double a = 1 + (double)s[at], ts = r->tin[1] ? (double)r->tin[1][at] : 0;
        double sum = 0, moved = 0;
        for (size_t i = 0, p = n * rows * c + k; i < rows; i++, p += c) {
            const double v = (double)x[p], tx = r->tin[0] ? (double)r->tin[0][p] : 0, u = a * v;
            const double g = 1 / (1 + exp(-u)), slope = g * (1 + u * (1 - g));
            const double curve = g * (1 - g) * (2 + u * (1 - 2 * g)), gtu = slope * (double)r->dtout[p];
            const double gu = slope * (double)r->dout[p] + curve * (a * tx + v * ts) * (double)r->dtout[p];
            if (r->din[0]) r->din[0][p] = (float)(a * gu + ts * gtu);
            if (r->dtin[0]) r->dtin[0][p] = (float)(a * gtu);
            sum += v * gu + tx * gtu, moved += v * gtu;
        }
        if (r->din[1]) r->din[1][at] = (float)sum;
        if (r->dtin[1]) r->dtin[1][at] = (float)moved;
    }
    return CM_OK;
}

const cm_op cmi_op_modulate = {.name = "modulate",
                               .saves = 1 | 2,
                               .flags = CM_OP_CHEAP,
                               .shape = shape,
                               .prepare = prepare,
                               .forward = forward,
                               .backward = backward,
                               .jvp = jvp,
                               .both_backward = both_backward};
