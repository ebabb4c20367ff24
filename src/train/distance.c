/* distance.c - values and gradients, in double. */
#include "train/distance.h"

#include <math.h>
#include <string.h>

enum { SMALL = 32 };

static size_t values(const cm_image_distance *d)
{
    return (size_t)d->channels * (size_t)d->height * (size_t)d->width;
}

/* --- bilinear ---------------------------------------------------------------- */

typedef struct {
    int32_t low, high;
    double weight; /* of high */
} tap;

static tap tap_of(int32_t i, int32_t in, int32_t out)
{
    double at = (i + 0.5) * in / out - 0.5;
    if (at < 0) at = 0;
    if (at > in - 1) at = in - 1;
    tap t = {(int32_t)at, (int32_t)at + 1 < in ? (int32_t)at + 1 : in - 1, at - floor(at)};
    return t;
}

void cmi_bilinear(int32_t h, int32_t w, const double *in, int32_t oh, int32_t ow, double *out)
{
    for (int32_t y = 0; y < oh; y++)
        for (int32_t x = 0; x < ow; x++) {
            tap v = tap_of(y, h, oh), u = tap_of(x, w, ow);
            const double *a = in + (size_t)v.low * (size_t)w, *b = in + (size_t)v.high * (size_t)w;
            out[(size_t)y * (size_t)ow + (size_t)x] =
                (1 - v.weight) * ((1 - u.weight) * a[u.low] + u.weight * a[u.high]) +
                v.weight * ((1 - u.weight) * b[u.low] + u.weight * b[u.high]);
        }
}

/* The transpose of cmi_bilinear, which adds to `in`. */
static void bilinear_back(int32_t h, int32_t w, double *in, int32_t oh, int32_t ow, const double *out)
{
    for (int32_t y = 0; y < oh; y++)
        for (int32_t x = 0; x < ow; x++) {
            tap v = tap_of(y, h, oh), u = tap_of(x, w, ow);
            double *a = in + (size_t)v.low * (size_t)w, *b = in + (size_t)v.high * (size_t)w;
            double g = out[(size_t)y * (size_t)ow + (size_t)x];
            a[u.low] += (1 - v.weight) * (1 - u.weight) * g;
            a[u.high] += (1 - v.weight) * u.weight * g;
            b[u.low] += v.weight * (1 - u.weight) * g;
            b[u.high] += v.weight * u.weight * g;
        }
}

/* --- distances ----------------------------------------------------------------- */

static double scale_of(const cm_image_distance *d)
{
    return d->sum ? 1 : 1.0 / (double)values(d);
}

static double l1(const cm_image_distance *d, const double *a, const double *b, double *g, double *work)
{
    const double scale = scale_of(d);
    double sum = 0;
    (void)work;
    for (size_t i = 0, n = values(d); i < n; i++) {
        double e = a[i] - b[i];
        sum += fabs(e);
        if (g) g[i] = scale * ((e > 0) - (e < 0));
    }
    return scale * sum;
}

static double squares(size_t n, double scale, const double *a, const double *b, double *g)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double e = a[i] - b[i];
        sum += e * e;
        if (g) g[i] = 2 * scale * e;
    }
    return scale * sum;
}

static double l2(const cm_image_distance *d, const double *a, const double *b, double *g, double *work)
{
    (void)work;
    return squares(values(d), scale_of(d), a, b, g);
}

static double huber(const cm_image_distance *d, const double *a, const double *b, double *g, double *work)
{
    const double c = d->huber_c;
    const size_t n = values(d);
    double sum = 0;
    (void)work;
    for (size_t i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    double root = sqrt(sum + c * c);
    for (size_t i = 0; g && i < n; i++) g[i] = root > 0 ? (a[i] - b[i]) / root : 0;
    return root - c;
}

/* Of equally large differences the first one counts. */
static double linf(const cm_image_distance *d, const double *a, const double *b, double *g, double *work)
{
    const size_t n = values(d);
    size_t at = 0;
    (void)work;
    for (size_t i = 0; i < n && !isnan(a[at] - b[at]); i++)
        if (!(fabs(a[i] - b[i]) <= fabs(a[at] - b[at]))) at = i;
    const double e = a[at] - b[at];
    for (size_t i = 0; g && i < n; i++) g[i] = 0;
    if (g) g[at] = (e > 0) - (e < 0);
    return fabs(e);
}

static size_t small_work(const cm_image_distance *d)
{
    return 3 * (size_t)d->channels * SMALL * SMALL;
}

static double small_l2(const cm_image_distance *d, const double *a, const double *b, double *g, double *work)
{
    size_t plane = (size_t)d->height * (size_t)d->width, small = SMALL * SMALL, n = (size_t)d->channels * small;
    double *sa = work, *sb = sa + n, *sg = sb + n;
    for (size_t c = 0; c < (size_t)d->channels; c++) {
        cmi_bilinear(d->height, d->width, a + c * plane, SMALL, SMALL, sa + c * small);
        cmi_bilinear(d->height, d->width, b + c * plane, SMALL, SMALL, sb + c * small);
    }
    double value = squares(n, 1.0 / (double)n, sa, sb, g ? sg : NULL);
    if (!g) return value;
    memset(g, 0, values(d) * sizeof *g);
    for (size_t c = 0; c < (size_t)d->channels; c++)
        bilinear_back(d->height, d->width, g + c * plane, SMALL, SMALL, sg + c * small);
    return value;
}

/* --- curvature ------------------------------------------------------------------- */

static void of_squares(const cm_image_distance *d, const double *v, double *hv)
{
    for (size_t i = 0, n = values(d); i < n; i++) hv[i] = 2 * scale_of(d) * v[i];
}

static void of_huber(const cm_image_distance *d, const double *v, double *hv)
{
    for (size_t i = 0, n = values(d); i < n; i++) hv[i] = v[i] / d->huber_c;
}

/* --- the table -------------------------------------------------------------------- */

/* In the order of cm_distance. */
static const cm_distance_row rows[] = {
    {.name = "default", .about = "The distance of the objective: l2, with ict, ect, cmt, tcm and tcm2 pseudo-huber."},
    {.name = "l1", .about = "The mean of |a - b|.", .reads_sum = 1, .value = l1},
    {.name = "l2", .about = "The mean of (a - b)^2.", .reads_sum = 1, .value = l2, .curvature = of_squares},
    {.name = "l2-32",
     .about = "l2 after both are resized to 32 x 32, bilinear.",
     .work = small_work,
     .value = small_l2},
    {.name = "pseudo-huber",
     .about = "sqrt(|a - b|^2 + c^2) - c with the norm over the whole image; c is huber_c.",
     .reads_c = 1,
     .value = huber,
     .curvature = of_huber},
    {.name = "lpips",
     .about = "LPIPS: how far features of a network that knows pictures are apart.",
     .of_network = 1},
    {.name = "linf", .about = "The largest |a - b|.", .value = linf},
};
enum { DISTANCES = sizeof rows / sizeof *rows };

const cm_distance_row *cmi_distance_at(int32_t kind)
{
    return kind >= 0 && kind < DISTANCES ? &rows[kind] : NULL;
}

static cm_choice choice_at(size_t index)
{
    return index < DISTANCES ? (cm_choice){rows[index].name, rows[index].about} : (cm_choice){NULL, NULL};
}
const cm_choice_list cmi_distance_choices = {"distances", choice_at};

size_t cmi_distance_work(const cm_image_distance *d)
{
    return rows[d->kind].work ? rows[d->kind].work(d) : 0;
}

double cmi_distance_of(const cm_image_distance *d, const double *a, const double *b, double *gradient, double *work)
{
    return rows[d->kind].value(d, a, b, gradient, work);
}

void cmi_distance_curvature(const cm_image_distance *d, const double *v, double *hv)
{
    rows[d->kind].curvature(d, v, hv);
}
