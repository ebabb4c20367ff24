/* neighbours.c - precision and recall by the manifolds of nearest neighbours (metrics 5; Kynkaanniemi et al. 2019).
 *
 * Distances are sums of squared differences, so that points that are the same have distance 0.  A row of 64 points
 * meets the other set square by square: the whole matrix of distances never stands anywhere. */
#include <math.h>
#include <string.h>

#include "metrics/scores.h"
#include "metrics/statistics.h"
#include "metrics/tiles.h"

enum { MOST_NEIGHBOURS = 64 };

typedef struct {
    cm_context *context;
    const cm_feature_set *points, *others;
    cm_square_sums differences;
    double *work; /* of each worker */
    /* What is asked of the distances of one point to `count` others from `first` on. */
    void (*see)(void *user, size_t point, size_t first, size_t count, const double *distances);
    void *user;
} pairing;

enum { WORK = CM_TILE_WORK + CM_TILE * CM_TILE };

static size_t at_most_a_tile(size_t left)
{
    return left < CM_TILE ? left : CM_TILE;
}

static cm_status row_piece(void *user, int piece, int worker)
{
    const pairing *p = user;
    const size_t i = (size_t)piece * CM_TILE, rows = at_most_a_tile(p->points->n - i), d = p->points->d;
    const cm_operand a = cmi_operand_features(p->points->values, d, 1);
    const cm_operand b = cmi_operand_features(p->others->values, d, 1);
    double *work = p->work + (size_t)worker * WORK, *square = work + CM_TILE_WORK;
    for (size_t j = 0; j < p->others->n; j += CM_TILE) {
        const size_t columns = at_most_a_tile(p->others->n - j);
        memset(square, 0, CM_TILE * CM_TILE * sizeof *square);
        cmi_tile_add(p->differences, d, &a, i, rows, &b, j, columns, work, square);
        for (size_t r = 0; r < rows; r++) p->see(p->user, i + r, j, columns, square + r * CM_TILE);
    }
    return CM_OK;
}

static cm_status for_all_pairs(pairing *p)
{
    const cm_threads threads = cmi_tiles_threads(p->context);
    p->differences = cmi_tiles_sums(p->context)->differences;
    p->work = cmi_malloc(p->context, (size_t)threads.count * WORK, sizeof *p->work);
    if (!p->work) return CM_ERR_MEMORY;
    cm_status status = cmi_parallel(threads, (int)((p->points->n + CM_TILE - 1) / CM_TILE), row_piece, p);
    cmi_free(p->context, p->work);
    return status;
}

/* Of each point the `kept` smallest distances so far, in order. */
typedef struct {
    size_t kept;
    double *smallest;
} nearest;

static void see_nearest(void *user, size_t point, size_t first, size_t count, const double *distances)
{
    const nearest *s = user;
    double *list = s->smallest + point * s->kept;
    (void)first;
    for (size_t i = 0; i < count; i++) {
        size_t at = s->kept;
        if (!(distances[i] < list[at - 1])) continue;
        for (; at > 1 && distances[i] < list[at - 2]; at--) list[at - 1] = list[at - 2];
        list[at - 1] = distances[i];
    }
}

cm_status cmi_radii(cm_context *context, const cm_feature_set *set, int32_t neighbours, double *radii)
{
    nearest s = {(size_t)neighbours + 1, NULL}; /* the point itself is the first */
    s.smallest = cmi_malloc(context, set->n * s.kept, sizeof *s.smallest);
    if (!s.smallest) return CM_ERR_MEMORY;
    for (size_t i = 0; i < set->n * s.kept; i++) s.smallest[i] = INFINITY;
    pairing p = {.context = context, .points = set, .others = set, .see = see_nearest, .user = &s};
    cm_status status = for_all_pairs(&p);
    for (size_t i = 0; i < set->n; i++) radii[i] = s.smallest[i * s.kept + s.kept - 1];
    cmi_free(context, s.smallest);
    return status;
}

typedef struct {
    const double *radii;
    unsigned char *inside;
} membership;

static void see_inside(void *user, size_t point, size_t first, size_t count, const double *distances)
{
    const membership *m = user;
    for (size_t i = 0; i < count && !m->inside[point]; i++) m->inside[point] = distances[i] <= m->radii[first + i];
}

cm_status cmi_inside(cm_context *context, const cm_feature_set *set, const double *radii,
                     const cm_feature_set *points, unsigned char *inside)
{
    membership m = {radii, inside};
    memset(inside, 0, points->n);
    pairing p = {.context = context, .points = points, .others = set, .see = see_inside, .user = &m};
    return for_all_pairs(&p);
}

/* The share of `points` that lies within the manifold of `set`. */
static cm_status covered(cm_context *context, const cm_feature_set *set, const cm_feature_set *points,
                         int32_t neighbours, double *out)
{
    double *radii = cmi_malloc(context, set->n, sizeof *radii);
    unsigned char *inside = radii ? cmi_malloc(context, points->n, 1) : NULL;
    cm_status status = inside ? cmi_radii(context, set, neighbours, radii) : CM_ERR_MEMORY;
    if (status == CM_OK) status = cmi_inside(context, set, radii, points, inside);
    size_t count = 0;
    for (size_t i = 0; status == CM_OK && i < points->n; i++) count += inside[i];
    if (status == CM_OK) *out = (double)count / (double)points->n;
    cmi_free(context, inside);
    cmi_free(context, radii);
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
    CM_TRY(covered(context, reference, samples, neighbours, precision));
    return covered(context, samples, reference, neighbours, recall);
}
