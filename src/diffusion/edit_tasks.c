/* edit_tasks.c - Algorithm 4 of Song et al. 2023, one task after the other: what
 * a run begins with, what it keeps of y, how it ends in [-1, 1].
 *
 * Colorization and super-resolution need no orthogonal matrix Q: with q its
 * first column, what is kept of y is q q^T y and what is generated is
 * x - q q^T x, so x + q (q . (y - x)) is the whole replacement. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "diffusion/edit.h"
#include "tensor/finite.h"

static double clamp(double v)
{
    return v < -1 ? -1 : v > 1 ? 1 : v;
}

static void clamp_all(const cm_edit *e, const double *y, double *x)
{
    (void)y;
    for (size_t i = 0; i < e->size; i++) x[i] = clamp(x[i]);
}

/* How far x may stay from a value c in [-1, 1]: the largest s <= 1 with
 * c + s (x - c) in [-1, 1]. */
static double step_within(double c, double x)
{
    double d = x - c, limit = d > 0 ? 1 - c : -1 - c;
    return fabs(d) > fabs(limit) ? limit / d : 1;
}

/* --- inpainting ------------------------------------------------------------------------------ */

static double mask_at(const cm_edit *e, const float *m, size_t i)
{
    return (double)m[e->mask_gray ? i % (e->size / (size_t)e->channels) : i];
}

static cm_status begin_inpaint(const cm_edit *e, const double *y, const float *m, double *x)
{
    for (size_t i = 0; i < e->size; i++) {
        double g = mask_at(e, m, i);
        x[i] = (1 - g) * y[i] + g * e->fill;
    }
    return CM_OK;
}

static cm_status keep_inpaint(const cm_edit *e, const double *y, const float *m, double *x)
{
    for (size_t i = 0; i < e->size; i++) {
        double g = mask_at(e, m, i);
        x[i] = (1 - g) * y[i] + g * x[i];
    }
    return CM_OK;
}

/* --- colorization ------------------------------------------------------------------------------ */

/* y is luma . (r, g, b) / sum(luma) of every pixel. */
static cm_status begin_colorize(const cm_edit *e, const double *y, const float *m, double *x)
{
    size_t pixels = e->given_size;
    const double *w = e->luma;
    double k = (w[0] + w[1] + w[2]) / (w[0] * w[0] + w[1] * w[1] + w[2] * w[2]);
    (void)m;
    for (size_t c = 0; c < 3; c++)
        for (size_t p = 0; p < pixels; p++) x[c * pixels + p] = w[c] * k * y[p];
    return CM_OK;
}

static cm_status keep_colorize(const cm_edit *e, const double *y, const float *m, double *x)
{
    size_t pixels = e->given_size;
    const double *w = e->luma;
    double sum = w[0] + w[1] + w[2], square = w[0] * w[0] + w[1] * w[1] + w[2] * w[2];
    (void)m;
    for (size_t p = 0; p < pixels; p++) {
        double *r = x + p, *g = r + pixels, *b = g + pixels;
        double lift = (sum * y[p] - (w[0] * *r + w[1] * *g + w[2] * *b)) / square;
        *r += lift * w[0], *g += lift * w[1], *b += lift * w[2];
    }
    return CM_OK;
}

/* Towards the gray of the same luminance. */
static void fit_colorize(const cm_edit *e, const double *y, double *x)
{
    size_t pixels = e->given_size;
    for (size_t p = 0; p < pixels; p++) {
        double s = 1;
        for (size_t c = 0; c < 3; c++) s = fmin(s, step_within(y[p], x[c * pixels + p]));
        for (size_t c = 0; s < 1 && c < 3; c++) x[c * pixels + p] = y[p] + s * (x[c * pixels + p] - y[p]);
    }
}

/* --- super-resolution ---------------------------------------------------------------------------- */

/* Calls `each` with every block: the first of its pixels, and its given mean. */
static void each_block(const cm_edit *e, const double *y, double *x,
                       void (*each)(const cm_edit *e, double mean, double *corner))
{
    size_t f = (size_t)e->factor, w = (size_t)e->width, h = (size_t)e->height;
    for (size_t c = 0; c < (size_t)e->channels; c++)
        for (size_t i = 0; i < h / f; i++)
            for (size_t j = 0; j < w / f; j++) each(e, *y++, x + (c * h + i * f) * w + j * f);
}

static void fill_block(const cm_edit *e, double mean, double *corner)
{
    for (int32_t i = 0; i < e->factor; i++)
        for (int32_t j = 0; j < e->factor; j++) corner[i * e->width + j] = mean;
}

static void lift_block(const cm_edit *e, double mean, double *corner)
{
    double sum = 0;
    for (int32_t i = 0; i < e->factor; i++)
        for (int32_t j = 0; j < e->factor; j++) sum += corner[i * e->width + j];
    double lift = mean - sum / ((double)e->factor * e->factor);
    for (int32_t i = 0; i < e->factor; i++)
        for (int32_t j = 0; j < e->factor; j++) corner[i * e->width + j] += lift;
}

static void fit_block(const cm_edit *e, double mean, double *corner)
{
    double s = 1;
    for (int32_t i = 0; i < e->factor; i++)
        for (int32_t j = 0; j < e->factor; j++) s = fmin(s, step_within(mean, corner[i * e->width + j]));
    for (int32_t i = 0; s < 1 && i < e->factor; i++)
        for (int32_t j = 0; j < e->factor; j++) {
            double *v = &corner[i * e->width + j];
            *v = mean + s * (*v - mean);
        }
}

static cm_status begin_super_resolve(const cm_edit *e, const double *y, const float *m, double *x)
{
    (void)m;
    each_block(e, y, x, fill_block);
    return CM_OK;
}

static cm_status keep_super_resolve(const cm_edit *e, const double *y, const float *m, double *x)
{
    (void)m;
    each_block(e, y, x, lift_block);
    return CM_OK;
}

static void fit_super_resolve(const cm_edit *e, const double *y, double *x)
{
    each_block(e, y, x, fit_block);
}

/* --- strokes and denoising: the given image is the start, nothing is kept ---------------------------- */

static cm_status begin_given(const cm_edit *e, const double *y, const float *m, double *x)
{
    (void)m;
    memcpy(x, y, e->size * sizeof *x);
    return CM_OK;
}

/* --- the general form ----------------------------------------------------------------------------- */

/* out = M v, or M^T v, on vectors whose entries are `stride` apart. */
static void rotate(const double *matrix, size_t n, int transposed, const double *v, const size_t *at, double *out)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) sum += matrix[transposed ? j * n + i : i * n + j] * v[at[j]];
        out[at[i]] = sum;
    }
}

enum { MAX_SIDE = 32 * 32 };

static void apply_matrix(const cm_edit *e, int inverse, const double *in, double *out)
{
    size_t at[MAX_SIDE], p = (size_t)e->map.patch, w = (size_t)e->width, plane = (size_t)e->height * w;
    if (!p) {
        for (size_t c = 0; c < (size_t)e->channels; c++) at[c] = c * plane;
        for (size_t i = 0; i < plane; i++) rotate(e->map.matrix, (size_t)e->channels, inverse, in + i, at, out + i);
        return;
    }
    for (size_t i = 0; i < p * p; i++) at[i] = i / p * w + i % p;
    for (size_t row = 0; row < e->size / w; row += p)
        for (size_t column = 0; column < w; column += p)
            rotate(e->map.matrix, p * p, inverse, in + row * w + column, at, out + row * w + column);
}

cm_status cmi_edit_apply(const cm_edit *e, int inverse, const double *in, double *out)
{
    int32_t (*call)(void *, const double *, double *) = inverse ? e->map.inverse : e->map.forward;
    if (e->map.matrix) apply_matrix(e, inverse, in, out);
    else if (!call) memcpy(out, in, e->size * sizeof *out);
    else if (call(e->map.user, in, out))
        CM_FAIL(CM_ERR_CANCELLED, "cancelled by the map's %s callback", inverse ? "inverse" : "forward");
    size_t i = call ? cmi_first_nonfinite(e->size, out) : e->size;
    if (i < e->size)
        CM_FAIL(CM_ERR_NUMERIC, "the map's %s callback gave %g at value %zu, expected finite numbers",
                inverse ? "inverse" : "forward", out[i], i);
    return CM_OK;
}

static cm_status begin_general(const cm_edit *e, const double *y, const float *m, double *x)
{
    for (size_t i = 0; i < e->size; i++) e->work[i] = (1 - mask_at(e, m, i)) * y[i];
    return cmi_edit_apply(e, 1, e->work, x);
}

static cm_status keep_general(const cm_edit *e, const double *y, const float *m, double *x)
{
    CM_TRY(cmi_edit_apply(e, 0, x, e->work));
    for (size_t i = 0; i < e->size; i++) {
        double g = mask_at(e, m, i);
        e->work[i] = (1 - g) * y[i] + g * e->work[i];
    }
    return cmi_edit_apply(e, 1, e->work, x);
}

static cm_status check_matrix(const cm_edit *e)
{
    const double *m = e->map.matrix;
    size_t n = e->map.patch ? (size_t)e->map.patch * (size_t)e->map.patch : (size_t)e->channels;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            double product = 0;
            for (size_t k = 0; k < n; k++) product += m[i * n + k] * m[j * n + k];
            if (!(fabs(product - (i == j)) <= 1e-5))
                CM_FAIL(CM_ERR_ARGUMENT,
                        "the map's matrix is not orthogonal: the product of its rows %zu and %zu is %g, expected %d",
                        i, j, product, i == j);
        }
    return CM_OK;
}

static double norm(size_t n, const double *v)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i] * v[i];
    return sqrt(sum);
}

/* Tries the callbacks on a random vector; `v` has 3 x size values. */
static cm_status try_map(const cm_edit *e, uint64_t trial, double *v)
{
    size_t n = e->size;
    double *there = v + n, *back = there + n, off = 0;
    const cm_stream s = {trial, 0, 0};
    cmi_stream_uniform(&s, n, v);
    for (size_t i = 0; i < n; i++) v[i] = 2 * v[i] - 1;
    CM_TRY(cmi_edit_apply(e, 0, v, there));
    CM_TRY(cmi_edit_apply(e, 1, there, back));
    double before = norm(n, v), after = norm(n, there);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(back[i] - v[i]) <= off)) off = fabs(back[i] - v[i]);
    if (!(fabs(after / before - 1) <= 1e-4))
        CM_FAIL(CM_ERR_ARGUMENT,
                "the map is not orthogonal: forward turns a random vector of length %g into one of length %g", before,
                after);
    if (!(off <= 1e-4))
        CM_FAIL(CM_ERR_ARGUMENT,
                "the map's inverse does not undo forward: a random vector in [-1, 1] came back up to %g away", off);
    return CM_OK;
}

cm_status cmi_edit_check_map(const cm_edit *e)
{
    const cm_edit_map *m = &e->map;
    if ((m->forward == NULL) != (m->inverse == NULL))
        CM_FAIL(CM_ERR_ARGUMENT, "the map needs both forward and inverse, or neither");
    if (m->matrix && m->forward) CM_FAIL(CM_ERR_ARGUMENT, "the map has a matrix and callbacks: give one of them");
    if (m->patch && !m->matrix) CM_FAIL(CM_ERR_ARGUMENT, "the map's patch has no effect without a matrix");
    if (m->patch < 0 || m->patch > 32 || (m->patch && (e->height % m->patch || e->width % m->patch)))
        CM_FAIL(CM_ERR_ARGUMENT, "the map's patch is %d, expected 1..32 and a divisor of %d and %d", m->patch,
                e->height, e->width);
    if (m->matrix) return check_matrix(e);
    if (!m->forward) return CM_OK;
    double *v = cmi_calloc(e->context, 3 * e->size, sizeof *v);
    cm_status status = v ? CM_OK : CM_ERR_MEMORY;
    for (uint64_t trial = 0; trial < 2 && status == CM_OK; trial++) status = try_map(e, trial, v);
    cmi_free(e->context, v);
    return status;
}

/* --- the table ------------------------------------------------------------------------------------- */

/* The levels are the best of those that tests/edit_digits.py --low --top tried:
 * docs/editing.md has the figures.  What is kept is in the state from the start,
 * so levels near 80 spend evaluations on nothing.  A diffusion model's estimate
 * is a mean, so it has to come further down. */
const cm_edit_task cmi_edit_inpaint = {"inpaint", 1, 1, 8, 6, 0.6, 0.05, begin_inpaint, keep_inpaint, clamp_all};
const cm_edit_task cmi_edit_colorize = {"colorize",    0,           1, 16, 6, 0.1, 0.05, begin_colorize,
                                        keep_colorize, fit_colorize};
const cm_edit_task cmi_edit_super_resolve = {
    "super_resolve", 0, 1, 16, 3, 0.3, 0.05, begin_super_resolve, keep_super_resolve, fit_super_resolve};
const cm_edit_task cmi_edit_stroke = {"stroke", 0, 1, 2, 3, 0.5, 0.05, begin_given, NULL, clamp_all};
const cm_edit_task cmi_edit_denoise = {"denoise", 0, 0, 1, 0, 0.1, 0.05, begin_given, NULL, clamp_all};
const cm_edit_task cmi_edit_general = {"edit", 1, 1, 8, 6, 0.6, 0.05, begin_general, keep_general, clamp_all};
