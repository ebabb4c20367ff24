/* kernel_distance.c - the kernel distance (KID; Binkowski et al. 2018): with k(x, y) = (x y / d + 1)^3 and m points
 * of each set, sum over i != j of (k(x_i, x_j) + k(y_i, y_j)) / (m (m - 1)) less 2 mean k(x_i, y_j), which has no
 * bias. */
#include <string.h>

#include "metrics/scores.h"
#include "metrics/statistics.h"
#include "metrics/tiles.h"

/* The chosen rows of a set, side by side. */
static void gather(const cm_feature_set *set, size_t m, const uint32_t *order, float *out)
{
    for (size_t i = 0; i < m; i++) memcpy(out + i * set->d, set->values + order[i] * set->d, set->d * sizeof *out);
}

/* Sum of k over all pairs; `apart`: but those of a point with itself. */
static cm_status kernel_sum(cm_context *context, size_t m, size_t d, const float *a, const float *b, int apart,
                            double *products, double *sum)
{
    const cm_tiling t = {context,
                         cmi_tiles_sums(context)->products,
                         m,
                         m,
                         d,
                         m,
                         cmi_operand_features(a, d, 1),
                         cmi_operand_features(b, d, 1),
                         0};
    memset(products, 0, m * m * sizeof *products);
    CM_TRY(cmi_tiles_add(&t, products));
    *sum = 0;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++) {
            const double v = products[i * m + j] / (double)d + 1;
            if (!apart || i != j) *sum += v * v * v;
        }
    return CM_OK;
}

typedef struct {
    float *x, *y;
    double *products, *values;
    uint32_t *order;
} space;

static cm_status subset(cm_context *context, const cm_feature_set *a, const cm_feature_set *b, size_t m,
                        uint64_t seed, uint32_t index, const space *w, double *out)
{
    const double n = (double)m;
    double xx, yy, xy;
    cmi_subset(seed, 2 * index, a->n, m, w->order);
    gather(a, m, w->order, w->x);
    cmi_subset(seed, 2 * index + 1, b->n, m, w->order);
    gather(b, m, w->order, w->y);
    CM_TRY(kernel_sum(context, m, a->d, w->x, w->x, 1, w->products, &xx));
    CM_TRY(kernel_sum(context, m, a->d, w->y, w->y, 1, w->products, &yy));
    CM_TRY(kernel_sum(context, m, a->d, w->x, w->y, 0, w->products, &xy));
    *out = (xx + yy) / (n * (n - 1)) - 2 * xy / (n * n);
    return CM_OK;
}

static cm_status space_create(cm_context *context, size_t m, size_t d, size_t most, size_t subsets, space *w)
{
    w->x = cmi_malloc(context, m * d, sizeof *w->x);
    w->y = w->x ? cmi_malloc(context, m * d, sizeof *w->y) : NULL;
    w->products = w->y ? cmi_malloc(context, m * m, sizeof *w->products) : NULL;
    w->order = w->products ? cmi_malloc(context, most, sizeof *w->order) : NULL;
    w->values = w->order ? cmi_malloc(context, subsets, sizeof *w->values) : NULL;
    return w->values ? CM_OK : CM_ERR_MEMORY;
}

static void space_free(cm_context *context, space *w)
{
    cmi_free(context, w->x);
    cmi_free(context, w->y);
    cmi_free(context, w->products);
    cmi_free(context, w->order);
    cmi_free(context, w->values);
}

cm_status cmi_kernel_distance(cm_context *context, const cm_feature_set *a, const cm_feature_set *b,
                              const cm_subset_options *o, double *mean, double *deviation)
{
    const size_t fewest = a->n < b->n ? a->n : b->n, most = a->n > b->n ? a->n : b->n;
    const size_t subsets = o->subsets ? (size_t)o->subsets : 100;
    const size_t m = o->size ? (size_t)o->size : fewest < 1000 ? fewest : 1000;
    space w;
    if (fewest < 2) CM_FAIL(CM_ERR_ARGUMENT, "kernel distance: it needs two images in each set, found %zu", fewest);
    if (m < 2 || m > fewest)
        CM_FAIL(CM_ERR_ARGUMENT, "kernel distance: subsets of %zu images, expected 2..%zu (the smaller set)", m,
                fewest);
    CM_TRY(cmi_features_check("kernel distance: the first set", a->n, a->d, a->values));
    CM_TRY(cmi_features_check("kernel distance: the second set", b->n, b->d, b->values));
    memset(&w, 0, sizeof w);
    cm_status status = space_create(context, m, a->d, most, subsets, &w);
    for (size_t i = 0; i < subsets && status == CM_OK; i++)
        status = subset(context, a, b, m, o->seed, (uint32_t)i, &w, &w.values[i]);
    if (status == CM_OK) cmi_mean_and_deviation(subsets, w.values, mean, deviation);
    space_free(context, &w);
    return status;
}
