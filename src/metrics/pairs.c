/* pairs.c - see the header.
 *
 * The bound.  With e = 2^-24, and u = x - m and v = y - m rounded to float32, m any point (the mean, so that u and v
 * are short):
 *
 *   - | |x - y| - |u - v| | <= e (|u| + |v|), which changes the square by no more than 4.1 e (|u|^2 + |v|^2);
 *   - a sum of d products in whatever order, fused or not, is wrong by (d + 1) e / (1 - (d + 1) e) |u| |v| at the
 * most, twice it by as much of |u|^2 + |v|^2;
 *   - what is computed in double, the sum of squared differences included, adds less than a hundredth of these while
 *     d <= 65536;
 *   - results and operands too small for a normal number add less than 16 (d + 8) of the smallest one.
 *
 * So the error is less than the sum over both points of share |u|^2 + rest.  No product overflows while the squares
 * are below 2^124; of longer vectors nothing is known. */
#include "metrics/pairs.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "metrics/tiles.h"

enum {
    ROWS = 240, /* of a piece */
    MOST_DIMENSIONS = 65536,
    FEW = CM_TILE * CM_TILE / 4 /* distances of a square that are cheaper one by one */
};

static const double LONGEST = 0x1p124;

/* Of each point what it adds to the lower and to the upper end. */
typedef struct {
    double *low, *high;
} ends;

typedef struct {
    const cm_pairs *pairs;
    const cm_kernels *kernels;
    float *centre;
    ends points, others;
    float *floats; /* of each worker, as the doubles and marks */
    double *doubles;
    unsigned char *marks;
} pairing;

/* One worker's memory. */
typedef struct {
    float *left, *right, *packed, *products; /* [ROWS][d], [64][d], panels [d][..], [ROWS][64] */
    double *work, *square, *lower, *upper;
    unsigned char *asked; /* [64][64] */
} scratch;

enum { DOUBLES = CM_TILE_WORK + CM_TILE * CM_TILE + 2 * CM_TILE };

/* What is transposed is a multiple of 4 long. */
static size_t padded(size_t d)
{
    return (d + 3) / 4 * 4;
}

static size_t floats_of(size_t d)
{
    return (ROWS + 2 * CM_TILE) * d + ROWS * CM_TILE;
}

static scratch scratch_of(const pairing *p, int worker)
{
    const size_t d = padded(p->pairs->points->d), at = (size_t)worker;
    scratch s = {.left = p->floats + at * floats_of(d), .work = p->doubles + at * DOUBLES};
    s.right = s.left + ROWS * d, s.packed = s.right + CM_TILE * d, s.products = s.packed + CM_TILE * d;
    s.square = s.work + CM_TILE_WORK, s.lower = s.square + CM_TILE * CM_TILE, s.upper = s.lower + CM_TILE;
    s.asked = p->marks + at * CM_TILE * CM_TILE;
    return s;
}

static size_t at_most(size_t left, size_t most)
{
    return left < most ? left : most;
}

static void centred_rows(const pairing *p, const cm_feature_set *set, size_t first, size_t count, float *to)
{
    const size_t d = set->d, row = padded(d);
    for (size_t i = 0; i < count; i++, to += row) {
        for (size_t k = 0; k < d; k++) to[k] = set->values[(first + i) * d + k] - p->centre[k];
        for (size_t k = d; k < row; k++) to[k] = 0;
    }
}

static void pack_others(const pairing *p, size_t first, size_t count, const scratch *s)
{
    const size_t d = padded(p->pairs->others->d);
    centred_rows(p, p->pairs->others, first, count, s->right);
    memset(s->right + count * d, 0, (CM_TILE - count) * d * sizeof *s->right);
    for (size_t j = 0, width; j < CM_TILE; j += width) {
        width = p->kernels->gemm->panel(CM_TILE - j);
        p->kernels->pointwise->transpose(width, d, s->right + j * d, d, s->packed + j * d, width);
    }
}

static void see_marked(const pairing *p, int worker, size_t point, size_t first, const unsigned char *asked)
{
    const cm_feature_set *points = p->pairs->points, *others = p->pairs->others;
    const size_t d = points->d;
    for (size_t i = 0; i < CM_TILE;) {
        const float *rows[4];
        size_t which[4], count = 0;
        double distances[4];
        for (; i < CM_TILE && count < 4; i++)
            if (asked[i]) which[count++] = first + i;
        if (!count) return;
        for (size_t k = 0; k < 4; k++) rows[k] = others->values + which[k < count ? k : 0] * d;
        p->kernels->sums->four_differences(d, points->values + point * d, rows, distances);
        for (size_t k = 0; k < count; k++) p->pairs->see(p->pairs->user, worker, point, which[k], distances[k]);
    }
}

/* The distances themselves, of all pairs of a square. */
static void see_square(const pairing *p, int worker, size_t i, size_t rows, size_t j, size_t columns,
                       const scratch *s)
{
    const size_t d = p->pairs->points->d;
    const cm_operand a = cmi_operand_features(p->pairs->points->values, d, 1);
    const cm_operand b = cmi_operand_features(p->pairs->others->values, d, 1);
    memset(s->square, 0, CM_TILE * CM_TILE * sizeof *s->square);
    cmi_tile_add(p->kernels->sums->differences, d, &a, i, rows, &b, j, columns, s->work, s->square);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            p->pairs->see(p->pairs->user, worker, i + r, j + c, s->square[r * CM_TILE + c]);
}

static void look_at_square(const pairing *p, int worker, size_t i, size_t rows, size_t j, size_t columns,
                           const float *products, const scratch *s)
{
    size_t marked = 0, of_row[CM_TILE];
    memset(s->asked, 0, CM_TILE * CM_TILE);
    for (size_t r = 0; r < rows; r++, products += CM_TILE) {
        const double low = p->points.low[i + r], high = p->points.high[i + r];
        for (size_t c = 0; c < columns; c++) {
            s->lower[c] = low + p->others.low[j + c] - 2 * (double)products[c];
            s->upper[c] = high + p->others.high[j + c] - 2 * (double)products[c];
        }
        of_row[r] =
            p->pairs->ask(p->pairs->user, worker, i + r, j, columns, s->lower, s->upper, s->asked + r * CM_TILE);
        marked += of_row[r];
    }
    if (marked > FEW) see_square(p, worker, i, rows, j, columns, s);
    else
        for (size_t r = 0; r < rows; r++)
            if (of_row[r]) see_marked(p, worker, i + r, j, s->asked + r * CM_TILE);
}

static cm_status row_piece(void *user, int piece, int worker)
{
    const pairing *p = user;
    const cm_feature_set *points = p->pairs->points, *others = p->pairs->others;
    const size_t d = padded(points->d), first = (size_t)piece * ROWS, rows = at_most(points->n - first, ROWS);
    const scratch s = scratch_of(p, worker);
    centred_rows(p, points, first, rows, s.left);
    for (size_t j = 0; j < others->n; j += CM_TILE) {
        const size_t columns = at_most(others->n - j, CM_TILE);
        pack_others(p, j, columns, &s);
        p->kernels->gemm->product(rows, CM_TILE, d, s.left, d, s.packed, s.products, CM_TILE);
        for (size_t r = 0; r < rows; r += CM_TILE)
            look_at_square(p, worker, first + r, at_most(rows - r, CM_TILE), j, columns, s.products + r * CM_TILE,
                           &s);
    }
    return CM_OK;
}

/* --- before --------------------------------------------------------------------------------------- */

static void find_ends(const pairing *p, const cm_feature_set *set, ends *e)
{
    const double d = (double)set->d, share = 1.01 * (d + 8) * 0x1p-24, rest = 8 * (d + 8) * FLT_MIN;
    for (size_t i = 0; i < set->n; i++) {
        double sum = 0;
        for (size_t k = 0; k < set->d; k++) {
            const float u = set->values[i * set->d + k] - p->centre[k];
            sum += (double)u * (double)u;
        }
        const int known = set->d <= MOST_DIMENSIONS && sum < LONGEST;
        e->low[i] = known ? sum * (1 - share) - rest : -INFINITY;
        e->high[i] = known ? sum * (1 + share) + rest : INFINITY;
    }
}

static void find_centre(const cm_feature_set *a, const cm_feature_set *b, double *sum, float *centre)
{
    const size_t d = a->d;
    memset(sum, 0, d * sizeof *sum);
    for (int which = 0; which < 2; which++) {
        const cm_feature_set *set = which ? b : a;
        for (size_t i = 0; i < set->n; i++)
            for (size_t k = 0; k < d; k++) sum[k] += (double)set->values[i * d + k];
    }
    for (size_t k = 0; k < d; k++) centre[k] = (float)(sum[k] / ((double)a->n + (double)b->n));
}

int cmi_pairs_workers(cm_context *context)
{
    return cmi_tiles_threads(context).count;
}

cm_status cmi_for_all_pairs(cm_context *context, const cm_pairs *pairs)
{
    const cm_feature_set *points = pairs->points, *others = pairs->others;
    const cm_threads threads = cmi_tiles_threads(context);
    const size_t workers = (size_t)threads.count, d = points->d, both = points->n + others->n;
    pairing p = {.pairs = pairs, .kernels = cmi_kernels_for(cmi_context_cpu_level(context))};
    cm_status status = CM_ERR_MEMORY;
    double *sum = cmi_malloc(context, d, sizeof *sum), *all = cmi_malloc(context, 2 * both, sizeof *all);
    p.centre = cmi_malloc(context, d, sizeof *p.centre);
    p.floats = cmi_malloc(context, workers * floats_of(padded(d)), sizeof *p.floats);
    p.doubles = cmi_malloc(context, workers * DOUBLES, sizeof *p.doubles);
    p.marks = cmi_malloc(context, workers * CM_TILE * CM_TILE, 1);
    if (sum && all && p.centre && p.floats && p.doubles && p.marks) {
        p.points = (ends){all, all + points->n};
        p.others = (ends){all + 2 * points->n, all + 2 * points->n + others->n};
        find_centre(points, others, sum, p.centre);
        find_ends(&p, points, &p.points);
        find_ends(&p, others, &p.others);
        status = cmi_parallel(threads, (int)((points->n + ROWS - 1) / ROWS), row_piece, &p);
    }
    cmi_free(context, p.marks);
    cmi_free(context, p.doubles);
    cmi_free(context, p.floats);
    cmi_free(context, p.centre);
    cmi_free(context, all);
    cmi_free(context, sum);
    return status;
}
