/* unit_rows.c - rows in double, rounded once. */
#include "nets/unit_rows.h"

#include <math.h>

#include "graph/params.h"
#include "nets/fold.h"
#include "nets/layers.h"

static const double eps = 1e-4;

int cmi_unit_rows(cm_graph *g, const char *name, int rank, const int64_t *shape, int gain, double factor)
{
    const int weight = cmi_graph_param(g, rank, shape, "%s.weight", name);
    if (!g->folded) return weight;
    const int made = cmi_graph_param(g, rank, shape, "%s.weight.unit", name);
    if (made < 0) return made;
    const cm_derived d = {CM_FOLD_UNIT_ROWS, gain >= 0, {weight, gain >= 0 ? gain : weight, weight, weight}, factor};
    g->params[made].derived = d;
    return made;
}

typedef struct {
    size_t rows, n;
} extent;

static extent extent_of(const cm_param_desc *p)
{
    const size_t rows = (size_t)p->shape[0];
    return (extent){rows, cmi_param_elements(p) / rows};
}

static double dot(size_t n, const float *a, const float *b)
{
    double sum[8] = {0}, rest = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++) sum[k] += (double)a[i + k] * (double)b[i + k];
    for (; i < n; i++) rest += (double)a[i] * (double)b[i];
    for (size_t k = 0; k < 8; k++) rest += sum[k];
    return rest;
}

static double root_mean_square(size_t n, const float *v)
{
    return sqrt(dot(n, v, v) / (double)n);
}

static void scale(size_t n, double s, const float *v, float *w)
{
    for (size_t i = 0; i < n; i++) w[i] = (float)(s * (double)v[i]);
}

void cmi_unit_rows_values(const cm_param_desc *p, float gain, const float *v, float *w)
{
    const extent e = extent_of(p);
    const double s = p->derived.factor * (double)gain / sqrt((double)e.n);
    for (size_t r = 0; r < e.rows; r++, v += e.n, w += e.n) scale(e.n, s / (eps + root_mean_square(e.n, v)), v, w);
}

void cmi_unit_rows_force(const cm_param_desc *p, float *v)
{
    const extent e = extent_of(p);
    for (size_t r = 0; r < e.rows; r++, v += e.n) scale(e.n, 1 / (eps + root_mean_square(e.n, v)), v, v);
}

void cmi_unit_rows_gradient(const cm_param_desc *p, float gain, const float *v, const float *dw, float *dv,
                            float *dgain)
{
    const extent e = extent_of(p);
    const double n = (double)e.n, each = p->derived.factor / sqrt(n), s = each * (double)gain;
    double sum = 0;
    for (size_t r = 0; r < e.rows; r++, v += e.n, dw += e.n, dv += e.n) {
        const double root = root_mean_square(e.n, v), d = eps + root, along = dot(e.n, v, dw);
        const double back = root > 0 ? along / (n * root * d * d) : 0;
        for (size_t i = 0; i < e.n; i++) dv[i] = (float)(s * ((double)dw[i] / d - (double)v[i] * back));
        sum += along / d;
    }
    if (dgain) *dgain = (float)(sum * each);
}
