/* uncertainty.c - see the header; all of it in double. */
#include "train/uncertainty.h"

#include <math.h>

static const double eps = 1e-4;

static double feature(const cm_uncertainty *u, double c, size_t k)
{
    return sqrt(2.0) * cos(c * (double)u->freqs[k] + (double)u->phases[k]);
}

static double root_mean_square(const cm_uncertainty *u)
{
    double sum = 0;
    for (size_t k = 0; k < u->n; k++) sum += (double)u->weight[k] * (double)u->weight[k];
    return sqrt(sum / (double)u->n);
}

double cmi_uncertainty(const cm_uncertainty *u, double c, double *slope)
{
    const double scale = 1 / ((eps + root_mean_square(u)) * sqrt((double)u->n));
    double value = 0, by_c = 0;
    for (size_t k = 0; k < u->n; k++) {
        const double f = (double)u->freqs[k], w = (double)u->weight[k];
        value += w * feature(u, c, k);
        by_c -= w * sqrt(2.0) * f * sin(c * f + (double)u->phases[k]);
    }
    if (slope) *slope = scale * by_c;
    return scale * value;
}

void cmi_uncertainty_gradient(const cm_uncertainty *u, double c, double du, double *gradient)
{
    const double n = (double)u->n, root = root_mean_square(u), d = eps + root;
    double along = 0;
    for (size_t k = 0; k < u->n; k++) along += (double)u->weight[k] * feature(u, c, k);
    const double back = root > 0 ? along / (n * root * d * d) : 0;
    for (size_t k = 0; k < u->n; k++)
        gradient[k] += du / sqrt(n) * (feature(u, c, k) / d - (double)u->weight[k] * back);
}
