/* rk45.c - the step, its error, and the choice of the next width (Hairer, Norsett and Wanner 1993, II.4). */
#include "diffusion/rk45.h"

#include <math.h>
#include <string.h>

enum { STAGES = 7 };

static const double nodes[STAGES] = {0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1};
/* The last row is the solution of order 5: its slope is the first of the next step. */
static const double rows[STAGES][STAGES - 1] = {
    {0},
    {1.0 / 5},
    {3.0 / 40, 9.0 / 40},
    {44.0 / 45, -56.0 / 15, 32.0 / 9},
    {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
    {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
    {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84},
};
/* Order 5 minus order 4. */
static const double differences[STAGES] = {71.0 / 57600,      0,          -71.0 / 16695, 71.0 / 1920,
                                           -17253.0 / 339200, 22.0 / 525, -1.0 / 40};

/* Of one image. */
typedef struct {
    double t, width, step; /* the width that is wanted, and the signed step at hand */
    int32_t evaluations;
    int rejected; /* the step before this one was */
} image;

typedef struct {
    const cm_rk45 *rk;
    size_t first;
    double *x;
    double *k[STAGES]; /* by image                               */
    double *y, *d, *t; /* packed: states, slopes and their times */
    size_t *which, active;
    image *each;
} run;

static size_t doubles(const cm_rk45 *rk)
{
    return rk->images * ((STAGES + 2) * rk->size + 1);
}

/* Slopes of the packed states into k[stage]. */
static cm_status evaluate(run *r, int stage)
{
    const size_t size = r->rk->size;
    CM_TRY(r->rk->slope(r->rk->user, r->active, r->which, r->t, r->y, r->d));
    for (size_t a = 0; a < r->active; a++) {
        memcpy(r->k[stage] + r->which[a] * size, r->d + a * size, size * sizeof *r->d);
        r->each[r->which[a]].evaluations++;
    }
    return CM_OK;
}

/* The packed state number a: x + step sum_j row[j] k_j. */
static void combine(run *r, size_t a, const double *row, int terms, double step)
{
    const size_t size = r->rk->size, at = r->which[a] * size;
    for (size_t i = 0; i < size; i++) {
        double sum = 0;
        for (int j = 0; j < terms; j++) sum += row[j] * r->k[j][at + i];
        r->y[a * size + i] = r->x[at + i] + step * sum;
    }
}

static double scale_of(const cm_rk45 *rk, double x, double y)
{
    return rk->atol + rk->rtol * fmax(fabs(x), fabs(y));
}

/* The root mean square of (v - u) over the tolerances at x; u may be NULL. */
static double measure(const run *r, const double *x, const double *v, const double *u)
{
    double sum = 0;
    for (size_t i = 0; i < r->rk->size; i++) {
        const double e = (v[i] - (u ? u[i] : 0)) / scale_of(r->rk, x[i], x[i]);
        sum += e * e;
    }
    return sqrt(sum / (double)r->rk->size);
}

/* --- the first width --------------------------------------------------------------------- */

/* A first guess by the state and its slope. */
static double guess(const run *r, size_t i)
{
    const size_t at = i * r->rk->size;
    const double d0 = measure(r, r->x + at, r->x + at, NULL), d1 = measure(r, r->x + at, r->k[0] + at, NULL);
    const double h = d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : 0.01 * d0 / d1;
    return fmin(h, fabs(r->rk->to - r->rk->from));
}

/* And a second one by how the slope changes over it. */
static double better(const run *r, size_t i, double h)
{
    const size_t at = i * r->rk->size;
    const double d1 = measure(r, r->x + at, r->k[0] + at, NULL);
    const double d2 = measure(r, r->x + at, r->k[1] + at, r->k[0] + at) / h, most = fmax(d1, d2);
    const double wider = most <= 1e-15 ? fmax(1e-6, h * 1e-3) : pow(0.01 / most, 1.0 / 5);
    return fmin(fmin(100 * h, wider), fabs(r->rk->to - r->rk->from));
}

static cm_status begin(run *r)
{
    static const double once[] = {1};
    const double sign = r->rk->to < r->rk->from ? -1 : 1;
    r->active = r->rk->images;
    memcpy(r->y, r->x, r->rk->images * r->rk->size * sizeof *r->y);
    for (size_t i = 0; i < r->active; i++) r->which[i] = i, r->t[i] = r->each[i].t = r->rk->from;
    CM_TRY(evaluate(r, 0));
    for (size_t i = 0; i < r->active; i++) {
        image *e = &r->each[i];
        e->width = guess(r, i);
        r->t[i] = r->rk->from + sign * e->width;
        combine(r, i, once, 1, sign * e->width);
    }
    CM_TRY(evaluate(r, 1));
    for (size_t i = 0; i < r->active; i++) r->each[i].width = better(r, i, r->each[i].width);
    return CM_OK;
}

/* --- steps ------------------------------------------------------------------------------- */

static cm_status aim(const run *r, size_t i)
{
    image *e = &r->each[i];
    const double left = r->rk->to - e->t;
    if (e->evaluations > r->rk->most - (STAGES - 1))
        CM_FAIL(CM_ERR_NUMERIC,
                "image %zu: rk45 is at sigma %g of %g after %d evaluations, the most are %d (larger tolerances take "
                "fewer)",
                r->first + i, e->t, r->rk->to, e->evaluations, r->rk->most);
    if (!(e->width >= 1e-14 * fabs(e->t)))
        CM_FAIL(CM_ERR_NUMERIC, "image %zu: rk45 at sigma %g needs steps of %g, too small for its tolerances",
                r->first + i, e->t, e->width);
    e->step = e->width < fabs(left) ? copysign(e->width, left) : left;
    return CM_OK;
}

/* The error of the step to packed state a. */
static double error_of(const run *r, size_t a)
{
    const size_t size = r->rk->size, at = r->which[a] * size;
    double total = 0;
    for (size_t i = 0; i < size; i++) {
        double sum = 0;
        for (int j = 0; j < STAGES; j++) sum += differences[j] * r->k[j][at + i];
        const double e = r->each[r->which[a]].step * sum / scale_of(r->rk, r->x[at + i], r->y[a * size + i]);
        total += e * e;
    }
    return sqrt(total / (double)size);
}

static void accept_or_reject(run *r, size_t a)
{
    const size_t size = r->rk->size, at = r->which[a] * size;
    image *e = &r->each[r->which[a]];
    const double error = error_of(r, a), factor = error == 0 ? 10 : 0.9 * pow(error, -1.0 / 5);
    if (!(error < 1)) { /* or is no number */
        e->width = fabs(e->step) * fmax(0.2, factor);
        e->rejected = 1;
        return;
    }
    e->width = fabs(e->step) * fmin(e->rejected ? 1 : 10, factor);
    e->t = e->step == r->rk->to - e->t ? r->rk->to : e->t + e->step;
    e->rejected = 0;
    memcpy(r->x + at, r->y + a * size, size * sizeof *r->x);
    memcpy(r->k[0] + at, r->k[STAGES - 1] + at, size * sizeof *r->x);
}

/* A step of every image that is not there yet. */
static cm_status step(run *r)
{
    for (size_t a = 0; a < r->active; a++) CM_TRY(aim(r, r->which[a]));
    for (int stage = 1; stage < STAGES; stage++) {
        for (size_t a = 0; a < r->active; a++) {
            const image *e = &r->each[r->which[a]];
            const double whole = e->step == r->rk->to - e->t ? r->rk->to : e->t + e->step;
            r->t[a] = nodes[stage] < 1 ? e->t + nodes[stage] * e->step : whole;
            combine(r, a, rows[stage], stage, e->step);
        }
        CM_TRY(evaluate(r, stage));
    }
    size_t left = 0;
    for (size_t a = 0; a < r->active; a++) accept_or_reject(r, a);
    for (size_t a = 0; a < r->active; a++)
        if (r->each[r->which[a]].t != r->rk->to) r->which[left++] = r->which[a];
    r->active = left;
    return CM_OK;
}

cm_status cmi_rk45_run(const cm_rk45 *rk, size_t first, double *x, int32_t *evaluations)
{
    const size_t all = rk->images * rk->size;
    run r = {.rk = rk, .first = first, .x = x};
    double *work = cmi_malloc(rk->context, doubles(rk), sizeof *work);
    r.which = cmi_calloc(rk->context, rk->images, sizeof *r.which);
    r.each = cmi_calloc(rk->context, rk->images, sizeof *r.each);
    cm_status status = work && r.which && r.each ? CM_OK : CM_ERR_MEMORY;
    if (status == CM_OK) {
        for (int j = 0; j < STAGES; j++) r.k[j] = work + (size_t)j * all;
        r.y = work + STAGES * all, r.d = r.y + all, r.t = r.d + all;
        status = begin(&r);
    }
    while (status == CM_OK && r.active) status = step(&r);
    for (size_t i = 0; status == CM_OK && evaluations && i < rk->images; i++) evaluations[i] = r.each[i].evaluations;
    cmi_free(rk->context, work);
    cmi_free(rk->context, r.which);
    cmi_free(rk->context, r.each);
    return status;
}
