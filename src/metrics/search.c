/* search.c - ternary search over the points of a grid (Song et al. 2023).
 *
 * The published program returns a probe of the last round where it means an end of the interval, and fails where
 * there was no round; here the ends themselves are compared. */
#include "metrics/search.h"

#include <math.h>

#include "base/context.h"

/* A round leaves two thirds of a width, at most 2^31 - 1, so there are at most 51 of two points each, and three at
 * the end. */
enum { MOST = 128 };

typedef struct {
    const cm_search_options *o;
    cm_point_fn score;
    void *user;
    int32_t left, right; /* what is left */
    int32_t n, most;     /* points looked at, and how many there can be */
    int32_t point[MOST];
    double scored[MOST];
} search;

/* How many points a search can look at: a round leaves at most what its probes, rounded down, do not cut off. */
static int32_t most_points(int32_t width)
{
    int32_t n = 0;
    for (; width >= 3; width -= width / 3) n += 2;
    return n + (width ? width + 1 : 0);
}

static cm_status stopped(int32_t point)
{
    return cmi_fail(CM_ERR_CANCELLED, "cm_search_point: stopped at point %d", point);
}

/* The score of a point, so that smaller is better; asked for once. */
static cm_status look(search *s, int32_t point, double *score)
{
    const cm_search_options *o = s->o;
    for (int32_t i = 0; i < s->n; i++)
        if (s->point[i] == point) {
            *score = s->scored[i];
            return CM_OK;
        }
    const int32_t result = s->score(s->user, point, score);
    if (result != 0) return result < 0 ? (cm_status)result : stopped(point);
    if (isnan(*score)) CM_FAIL(CM_ERR_NUMERIC, "cm_search_point: the score of point %d is NaN", point);
    if (o->larger) *score = -*score;
    s->point[s->n] = point;
    s->scored[s->n++] = *score;
    if (o->progress && o->progress(o->progress_user, (uint64_t)s->n, (uint64_t)s->most) != 0) return stopped(point);
    return CM_OK;
}

static cm_status shrink(search *s)
{
    const double third = (s->right - s->left) / 3.0;
    const int32_t a = (int32_t)(s->left + third), b = (int32_t)(s->right - third);
    double at_a, at_b;
    CM_TRY(look(s, a, &at_a));
    CM_TRY(look(s, b, &at_b));
    if (at_a < at_b) s->right = b;
    else s->left = a;
    return CM_OK;
}

/* Of at most three neighbours: the ends first, as the published program does. */
static cm_status choose(search *s, int32_t *best)
{
    const int32_t width = s->right - s->left;
    double at_left, at_right, at_middle;
    *best = s->left;
    if (width == 0) return CM_OK;
    CM_TRY(look(s, s->left, &at_left));
    CM_TRY(look(s, s->right, &at_right));
    if (width == 2) {
        CM_TRY(look(s, s->left + 1, &at_middle));
        if (at_middle < at_left) *best = s->left + 1, at_left = at_middle;
    }
    if (at_right < at_left) *best = s->right;
    return CM_OK;
}

cm_status cmi_search_point(const cm_search_options *options, cm_point_fn score, void *user, int32_t *best)
{
    search s = {.o = options, .score = score, .user = user, .left = options->left, .right = options->right};
    s.most = most_points(s.right - s.left);
    while (s.right - s.left >= 3) CM_TRY(shrink(&s));
    CM_TRY(choose(&s, best));
    /* What is done ends at the total, also where fewer points were enough. */
    if (options->progress && s.n < s.most &&
        options->progress(options->progress_user, (uint64_t)s.most, (uint64_t)s.most) != 0)
        return stopped(*best);
    return CM_OK;
}
