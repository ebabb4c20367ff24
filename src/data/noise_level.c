/* noise_level.c - a median of half-normal samples of two kinds.
 *
 * Where nothing was cut: |L|, L the difference of two Laplacians by which Immerkaer
 * (1996) cancels structure, scaled to the noise's own deviation; flat parts, slopes and
 * straight edges leave noise alone.
 * Where noise was cut at -1 or 1: an area of just that value shows half of its
 * noise, v + 1 or 1 - v, whose distribution is the same half-normal one.
 * Both together have the median 0.6745 sigma; edges and texture are the larger
 * values, which a median hardly sees. */
#include "data/noise_level.h"

#include <math.h>
#include <stdlib.h>

enum { LEAST = 32, FEW_OF_EIGHT = 3 };

typedef struct {
    const float *v; /* a channel */
    int32_t height, width;
} plane;

static float at(const plane *p, int32_t row, int32_t column)
{
    return p->v[(size_t)row * (size_t)p->width + (size_t)column];
}

static int side_of(float v)
{
    return v <= -1 ? -1 : v >= 1 ? 1 : 0;
}

/* How many of the eight neighbours were cut at -1 and at 1. */
static void count_cut(const plane *p, int32_t row, int32_t column, int *low, int *high)
{
    *low = *high = 0;
    for (int32_t r = row - 1; r <= row + 1; r++)
        for (int32_t c = column - 1; c <= column + 1; c++) {
            if (r < 0 || c < 0 || r >= p->height || c >= p->width || (r == row && c == column)) continue;
            int side = side_of(at(p, r, c));
            *low += side < 0;
            *high += side > 0;
        }
}

static double laplacian(const plane *p, int32_t row, int32_t column)
{
    static const double weights[3] = {1, -2, 1};
    double sum = 0;
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++) sum += weights[r] * weights[c] * (double)at(p, row + r - 1, column + c - 1);
    return sum / 6; /* the weights' root of squares */
}

/* What the pixel tells, or -1. */
static double sample(const plane *p, int32_t row, int32_t column)
{
    float v = at(p, row, column);
    int low, high, inside = row > 0 && column > 0 && row < p->height - 1 && column < p->width - 1;
    if (side_of(v)) return -1;
    count_cut(p, row, column, &low, &high);
    if (low >= FEW_OF_EIGHT && !high) return (double)v + 1;
    if (high >= FEW_OF_EIGHT && !low) return 1 - (double)v;
    return inside && !low && !high ? fabs(laplacian(p, row, column)) : -1;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

cm_status cmi_noise_level(cm_context *context, int32_t channels, int32_t height, int32_t width, const float *image,
                          double *sigma)
{
    size_t size = (size_t)height * (size_t)width, n = 0;
    double *samples = cmi_malloc(context, size * (size_t)channels, sizeof *samples);
    if (!samples) return CM_ERR_MEMORY;
    for (int32_t k = 0; k < channels; k++) {
        const plane p = {image + (size_t)k * size, height, width};
        for (int32_t row = 0; row < height; row++)
            for (int32_t column = 0; column < width; column++) {
                double s = sample(&p, row, column);
                if (s >= 0) samples[n++] = s;
            }
    }
    if (n >= LEAST) qsort(samples, n, sizeof *samples, ascending);
    *sigma = n >= LEAST ? (samples[(n - 1) / 2] + samples[n / 2]) / 2 / 0.67448975 : 0;
    cmi_free(context, samples);
    if (n < LEAST)
        CM_FAIL(CM_ERR_ARGUMENT,
                "the noise cannot be estimated: %zu values of %d x %d x %d tell of it, at least %d are needed", n,
                channels, height, width, LEAST);
    return CM_OK;
}
