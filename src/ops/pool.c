/* pool.c - the maximum or the mean of windows of kernel x kernel points (metrics 1.2, 2.2).
 *
 * What hangs over the border is left out, of a mean's count too.  With `ceil` a window that begins inside counts even
 * where it does not fit whole.  kernel 0 is one window over the whole image.
 *
 * The slope of a maximum belongs to the first of its points, row by row, as PyTorch has it. */
#include <string.h>

#include "base/parallel.h"
#include "ops/op.h"

static int32_t windows(int32_t side, const cm_attr *a)
{
    const int32_t left = side + 2 * a->pool.pad - a->pool.kernel, stride = a->pool.stride;
    if (!a->pool.kernel) return 1;
    if (left < 0) return 0;
    int32_t n = left / stride + 1;
    if (a->pool.ceil && left % stride && n * stride < side + a->pool.pad) n++;
    return n;
}

static cm_status shape(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out)
{
    (void)n_in;
    *out = (cm_desc){in->n, windows(in->h, attr), windows(in->w, attr), in->c};
    if (out->h < 1 || out->w < 1)
        CM_FAIL(CM_ERR_SHAPE, "pool: a %d x %d image is smaller than the window of %d x %d points", in->h, in->w,
                attr->pool.kernel, attr->pool.kernel);
    return CM_OK;
}

/* Rows or columns first .. last - 1 of window i. */
static void window_at(const cm_attr *a, int32_t i, int32_t side, int32_t *first, int32_t *last)
{
    const int32_t begin = i * a->pool.stride - a->pool.pad, end = begin + a->pool.kernel;
    *first = !a->pool.kernel || begin < 0 ? 0 : begin;
    *last = !a->pool.kernel || end > side ? side : end;
}

typedef struct {
    int32_t y0, y1, x0, x1;
} window;

/* Of output point (y, x). */
static window window_of(const cm_op_plan *p, int32_t y, int32_t x)
{
    window w;
    window_at(p->attr, y, p->in[0].h, &w.y0, &w.y1);
    window_at(p->attr, x, p->in[0].w, &w.x0, &w.x1);
    return w;
}

/* Where point (n, y, x) of an image begins. */
static size_t place(cm_desc d, int32_t n, int32_t y, int32_t x)
{
    return (((size_t)n * (size_t)d.h + (size_t)y) * (size_t)d.w + (size_t)x) * (size_t)d.c;
}

static float share(const window *w)
{
    return 1 / (float)((w->y1 - w->y0) * (w->x1 - w->x0));
}

/* Windows of so many points at most are taken all at once. */
enum { MOST_POINTS = 16 };

static size_t points_of(const window *w)
{
    return (size_t)(w->y1 - w->y0) * (size_t)(w->x1 - w->x0);
}

static void find_points(const cm_op_plan *p, const float *x, int32_t n, const window *w, const float **points)
{
    for (int32_t i = w->y0; i < w->y1; i++)
        for (int32_t j = w->x0; j < w->x1; j++) *points++ = x + place(p->in[0], n, i, j);
}

static void pool_few(const cm_op_plan *p, const float *x, int32_t n, const window *w, float *out)
{
    static const float ones[MOST_POINTS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const cm_pointwise *loops = p->kernels->pointwise;
    const float *points[MOST_POINTS];
    const size_t c = (size_t)p->out.c, count = points_of(w);
    find_points(p, x, n, w, points);
    if (p->attr->pool.mean) {
        loops->taps(c, count, points, ones, out);
        loops->scale(c, share(w), out, out);
    } else {
        loops->window_max(c, count, points, out);
    }
}

static void pool_values(const cm_op_plan *p, const float *x, int32_t n, const window *w, float *out)
{
    const cm_pointwise *loops = p->kernels->pointwise;
    const size_t c = (size_t)p->out.c;
    if (points_of(w) <= MOST_POINTS) {
        pool_few(p, x, n, w, out);
        return;
    }
    memcpy(out, x + place(p->in[0], n, w->y0, w->x0), c * sizeof *out);
    for (int32_t i = w->y0; i < w->y1; i++)
        for (int32_t j = w->x0; j < w->x1; j++) {
            if (i == w->y0 && j == w->x0) continue;
            const float *from = x + place(p->in[0], n, i, j);
            if (p->attr->pool.mean) loops->add(c, out, from, 1, out);
            else loops->maximum(c, out, from, out);
        }
    if (p->attr->pool.mean) loops->scale(c, share(w), out, out);
}

/* Where the first of the largest values of channel c in a window stands. */
static size_t largest_at(const cm_op_plan *p, const float *x, int32_t n, const window *w, size_t c)
{
    size_t best = place(p->in[0], n, w->y0, w->x0) + c;
    for (int32_t i = w->y0; i < w->y1; i++)
        for (int32_t j = w->x0; j < w->x1; j++) {
            const size_t at = place(p->in[0], n, i, j) + c;
            if (x[at] > x[best]) best = at;
        }
    return best;
}

typedef struct {
    const cm_op_run *run;
    const float *x, *tangent; /* tangent: of a maximum, or NULL */
    float *out;
} pooling;

/* One row of windows. */
static cm_status row_piece(void *user, int index, int worker)
{
    const pooling *s = user;
    const cm_op_plan *p = s->run->p;
    const int32_t n = index / p->out.h, y = index % p->out.h;
    (void)worker;
    for (int32_t x = 0; x < p->out.w; x++) {
        const window w = window_of(p, y, x);
        float *out = s->out + place(p->out, n, y, x);
        if (!s->tangent) pool_values(p, s->x, n, &w, out);
        for (size_t c = 0; s->tangent && c < (size_t)p->out.c; c++)
            out[c] = s->tangent[largest_at(p, s->x, n, &w, c)];
    }
    return CM_OK;
}

static cm_status pool(const cm_op_run *r, const float *x, const float *tangent, float *out)
{
    pooling s = {r, x, tangent, out};
    return cmi_parallel(r->p->threads, r->p->out.n * r->p->out.h, row_piece, &s);
}

static cm_status forward(const cm_op_run *r)
{
    return pool(r, r->in[0], NULL, r->out);
}

static cm_status jvp(const cm_op_run *r)
{
    if (r->p->attr->pool.mean) return pool(r, r->tin[0], NULL, r->tout);
    return pool(r, r->in[0], r->tin[0], r->tout);
}

static void spread_mean(const cm_op_plan *p, const float *dy, int32_t n, const window *w, float *dx)
{
    for (int32_t i = w->y0; i < w->y1; i++)
        for (int32_t j = w->x0; j < w->x1; j++)
            p->kernels->pointwise->axpy((size_t)p->out.c, share(w), dy, dx + place(p->in[0], n, i, j));
}

static void spread_largest(const cm_op_run *r, const float *dy, int32_t n, const window *w, int add)
{
    const cm_op_plan *p = r->p;
    const float *x = r->in[0], *points[MOST_POINTS];
    const size_t c = (size_t)p->out.c, count = points_of(w);
    float *to[MOST_POINTS];
    if (count > MOST_POINTS) {
        for (size_t k = 0; k < c; k++) r->din[0][largest_at(p, x, n, w, k)] += dy[k];
        return;
    }
    find_points(p, x, n, w, points);
    for (size_t i = 0; i < count; i++) to[i] = r->din[0] + (points[i] - x);
    p->kernels->pointwise->window_max_back(c, count, points, dy, add, to);
}

/* Every point lies in one window. */
static int covers(const cm_op_plan *p)
{
    const int32_t kernel = p->attr->pool.kernel;
    return kernel && kernel == p->attr->pool.stride && !p->attr->pool.pad && kernel * kernel <= MOST_POINTS &&
           p->out.h * kernel == p->in[0].h && p->out.w * kernel == p->in[0].w;
}

static cm_status backward(const cm_op_run *r)
{
    const cm_op_plan *p = r->p;
    const int add = p->attr->pool.mean || !covers(p);
    if (add) memset(r->din[0], 0, cmi_desc_count(p->in[0]) * sizeof *r->din[0]);
    for (int32_t n = 0; n < p->out.n; n++)
        for (int32_t y = 0; y < p->out.h; y++)
            for (int32_t x = 0; x < p->out.w; x++) {
                const window w = window_of(p, y, x);
                const float *dy = r->dout + place(p->out, n, y, x);
                if (p->attr->pool.mean) spread_mean(p, dy, n, &w, r->din[0]);
                else spread_largest(r, dy, n, &w, add);
            }
    return CM_OK;
}

const cm_op cmi_op_pool = {.name = "pool",
                           .flags = CM_OP_SELECTS,
                           .saves = 1,
                           .shape = shape,
                           .forward = forward,
                           .backward = backward,
                           .jvp = jvp};
