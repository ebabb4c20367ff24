/* distance.c - values and gradients, in double. */
#include "train/distance.h"

#include <math.h>
#include <string.h>

const char *const cm_metric_names[] = {"l1", "l2", "l2-32", "pseudo-huber", "lpips", NULL};

enum { SMALL = 32 };

static size_t values(const cm_distance *d)
{
    return (size_t)d->channels * (size_t)d->height * (size_t)d->width;
}

size_t cm_distance_work(const cm_distance *d)
{
    return d->metric == CM_METRIC_L2_32 ? 3 * (size_t)d->channels * SMALL * SMALL : 0;
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

void cm_bilinear(int32_t h, int32_t w, const double *in, int32_t oh, int32_t ow, double *out)
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

void cm_bilinear_back(int32_t h, int32_t w, double *in, int32_t oh, int32_t ow, const double *out)
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

static double l1(size_t n, double scale, const double *a, const double *b, double *g)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = a[i] - b[i];
        sum += fabs(d);
        if (g) g[i] = scale * ((d > 0) - (d < 0));
    }
    return scale * sum;
}

static double l2(size_t n, double scale, const double *a, const double *b, double *g)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = a[i] - b[i];
        sum += d * d;
        if (g) g[i] = 2 * scale * d;
    }
    return scale * sum;
}

static double huber(size_t n, double c, const double *a, const double *b, double *g)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    double root = sqrt(sum + c * c);
    for (size_t i = 0; g && i < n; i++) g[i] = root > 0 ? (a[i] - b[i]) / root : 0;
    return root - c;
}

static double small_l2(const cm_distance *d, const double *a, const double *b, double *g, double *work)
{
    size_t plane = (size_t)d->height * (size_t)d->width, small = SMALL * SMALL, n = (size_t)d->channels * small;
    double *sa = work, *sb = sa + n, *sg = sb + n;
    for (size_t c = 0; c < (size_t)d->channels; c++) {
        cm_bilinear(d->height, d->width, a + c * plane, SMALL, SMALL, sa + c * small);
        cm_bilinear(d->height, d->width, b + c * plane, SMALL, SMALL, sb + c * small);
    }
    double value = l2(n, 1.0 / (double)n, sa, sb, g ? sg : NULL);
    if (!g) return value;
    memset(g, 0, values(d) * sizeof *g);
    for (size_t c = 0; c < (size_t)d->channels; c++)
        cm_bilinear_back(d->height, d->width, g + c * plane, SMALL, SMALL, sg + c * small);
    return value;
}

double cm_distance_of(const cm_distance *d, const double *a, const double *b, double *gradient, double *work)
{
    size_t n = values(d);
    double scale = d->sum ? 1 : 1.0 / (double)n;
    switch (d->metric) {
    case CM_METRIC_L1: return l1(n, scale, a, b, gradient);
    case CM_METRIC_L2_32: return small_l2(d, a, b, gradient, work);
    case CM_METRIC_HUBER: return huber(n, d->huber_c, a, b, gradient);
    default: return l2(n, scale, a, b, gradient);
    }
}
