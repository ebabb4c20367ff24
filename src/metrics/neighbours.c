/* neighbours.c - precision and recall by the manifolds of nearest neighbours (metrics 5; Kynkaanniemi et al. 2019).
 *
 * Distances are sums of squared differences, so that points that are the same have distance 0. */
#include <math.h>
#include <string.h>

#include "metrics/pairs.h"
#include "metrics/scores.h"
#include "metrics/statistics.h"

enum { MOST_NEIGHBOURS = 64 };

/* Of each point the `kept` smallest distances so far, in order. */
typedef struct {
    size_t kept;
    double *smallest;
} nearest;

static void insert(size_t kept, double *list, double distance)
{
    size_t at = kept;
    if (!(distance < list[at - 1])) return;
    for (; at > 1 && distance < list[at - 2]; at--) list[at - 1] = list[at - 2];
    list[at - 1] = distance;
}

/* No more than `kept` points are as near as the last of the smallest upper ends: who is farther is none of them. */
static size_t ask_nearest(void *user, int worker, size_t point, size_t first, size_t count, const double *lower,
                          const double *upper, unsigned char *asked)
{
    const nearest *s = user;
    const double *list = s->smallest + point * s->kept;
    double ends[MOST_NEIGHBOURS + 1], *last = ends + s->kept - 1;
    size_t marked = 0;
    (void)worker, (void)first;
    if (list[s->kept - 1] == 0) return 0;
    memcpy(ends, list, s->kept * sizeof *ends);
    for (size_t i = 0; i < count; i++) {
        if (lower[i] > *last) continue;
        asked[i] = 1;
        insert(s->kept, ends, upper[i]);
    }
    for (size_t i = 0; i < count; i++) {
        asked[i] = asked[i] && !(lower[i] > *last);
        marked += asked[i];
    }
    return marked;
}

static void see_nearest(void *user, int worker, size_t point, size_t other, double distance)
{
    const nearest *s = user;
    (void)worker, (void)other;
    insert(s->kept, s->smallest + point * s->kept, distance);
}

cm_status cmi_radii(cm_context *context, const cm_feature_set *set, int32_t neighbours, double *radii)
{
    nearest s = {(size_t)neighbours + 1, NULL}; /* the point itself is the first */
    s.smallest = cmi_malloc(context, set->n * s.kept, sizeof *s.smallest);
    if (!s.smallest) return CM_ERR_MEMORY;
    for (size_t i = 0; i < set->n * s.kept; i++) s.smallest[i] = INFINITY;
    const cm_pairs pairs = {set, set, ask_nearest, see_nearest, &s};
    cm_status status = cmi_for_all_pairs(context, &pairs);
    for (size_t i = 0; i < set->n; i++) radii[i] = s.smallest[i * s.kept + s.kept - 1];
    cmi_free(context, s.smallest);
    return status;
}

/* Whether points of one set lie within the manifold of the other: of `points` asked with the radii of `others`, and
 * if there are any, of `others` with the radii of `points`. */
typedef struct {
    const double *radii_of_others, *radii_of_points;
    unsigned char *points, *others; /* of others [worker][n] */
    size_t n;
} membership;

static size_t ask_inside(void *user, int worker, size_t point, size_t first, size_t count, const double *lower,
                         const double *upper, unsigned char *asked)
{
    const membership *m = user;
    const double *radii = m->radii_of_others + first;
    size_t marked = 0;
    for (size_t i = 0; i < count && !m->points[point]; i++) m->points[point] = upper[i] <= radii[i];
    for (size_t i = 0; i < count && !m->points[point]; i++) asked[i] = !(lower[i] > radii[i]);
    if (m->radii_of_points) {
        unsigned char *others = m->others + (size_t)worker * m->n + first;
        const double radius = m->radii_of_points[point];
        for (size_t i = 0; i < count; i++) {
            others[i] |= upper[i] <= radius;
            asked[i] |= !others[i] && !(lower[i] > radius);
        }
    }
    for (size_t i = 0; i < count; i++) marked += asked[i];
    return marked;
}

static void see_inside(void *user, int worker, size_t point, size_t other, double distance)
{
    const membership *m = user;
    if (distance <= m->radii_of_others[other]) m->points[point] = 1;
    if (m->radii_of_points && distance <= m->radii_of_points[point]) m->others[(size_t)worker * m->n + other] = 1;
}

cm_status cmi_inside(cm_context *context, const cm_feature_set *set, const double *radii,
                     const cm_feature_set *points, unsigned char *inside)
{
    membership m = {.radii_of_others = radii, .points = inside};
    memset(inside, 0, points->n);
    const cm_pairs pairs = {points, set, ask_inside, see_inside, &m};
    return cmi_for_all_pairs(context, &pairs);
}

static double share(size_t n, size_t workers, const unsigned char *inside)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char found = 0;
        for (size_t w = 0; w < workers; w++) found |= inside[w * n + i];
        count += found;
    }
    return (double)count / (double)n;
}

/* The shares of either set within the other, by one look at all pairs. */
static cm_status both_inside(cm_context *context, const cm_feature_set *reference, const double *radii_of_reference,
                             const cm_feature_set *samples, const double *radii_of_samples, double *precision,
                             double *recall)
{
    const size_t workers = (size_t)cmi_pairs_workers(context);
    membership m = {radii_of_reference, radii_of_samples, NULL, NULL, reference->n};
    cm_status status = CM_ERR_MEMORY;
    m.points = cmi_calloc(context, samples->n, 1);
    m.others = cmi_calloc(context, workers * m.n, 1);
    const cm_pairs pairs = {samples, reference, ask_inside, see_inside, &m};
    if (m.points && m.others) status = cmi_for_all_pairs(context, &pairs);
    if (status == CM_OK) {
        *precision = share(samples->n, 1, m.points);
        *recall = share(reference->n, workers, m.others);
    }
    cmi_free(context, m.others);
    cmi_free(context, m.points);
    return status;
}

cm_status cmi_precision_recall(cm_context *context, const cm_feature_set *reference, const cm_feature_set *samples,
                               int32_t neighbours, double *precision, double *recall)
{
    const size_t fewest = reference->n < samples->n ? reference->n : samples->n;
    if (neighbours < 1 || neighbours > MOST_NEIGHBOURS)
        CM_FAIL(CM_ERR_ARGUMENT, "precision and recall by %d neighbours, expected 1..%d", neighbours,
                MOST_NEIGHBOURS);
    if (fewest <= (size_t)neighbours)
        CM_FAIL(CM_ERR_ARGUMENT, "precision and recall by %d neighbours need %d images in each set, found %zu",
                neighbours, neighbours + 1, fewest);
    CM_TRY(cmi_features_check("precision and recall: reference", reference->n, reference->d, reference->values));
    CM_TRY(cmi_features_check("precision and recall: samples", samples->n, samples->d, samples->values));
    double *radii = cmi_malloc(context, reference->n, sizeof *radii);
    double *others = radii ? cmi_malloc(context, samples->n, sizeof *others) : NULL;
    cm_status status = others ? cmi_radii(context, reference, neighbours, radii) : CM_ERR_MEMORY;
    if (status == CM_OK) status = cmi_radii(context, samples, neighbours, others);
    if (status == CM_OK) status = both_inside(context, reference, radii, samples, others, precision, recall);
    cmi_free(context, others);
    cmi_free(context, radii);
    return status;
}
