/* solver.c - the samplers of the consistency and EDM papers as their official
 * code runs them, noise drawn in the same order. */
#include "diffusion/solver.h"

#include <math.h>
#include <string.h>

#include "diffusion/schedule.h"

typedef struct {
    const cm_solver *s;
    const cm_solver_io *io;
    int evaluations, draws;
    double *x, *d, *y, *z; /* state, estimate or slope, trial state, noise */
} run;

/* out = D(x; sigma), clamped when asked. */
static cm_status evaluate(run *r, double sigma, const double *x, double *out)
{
    CM_TRY(r->io->denoise(r->io->user, r->evaluations, sigma, x, out));
    if (r->s->clip)
        for (size_t i = 0; i < r->io->n; i++) out[i] = out[i] < -1 ? -1 : out[i] > 1 ? 1 : out[i];
    if (r->io->keep) CM_TRY(r->io->keep(r->io->user, out));
    if (r->io->estimate) CM_TRY(r->io->estimate(r->io->user, r->evaluations, sigma, out));
    r->evaluations++;
    return CM_OK;
}

/* The next noise tensor into z.  One that will be multiplied by 0 still counts
 * as drawn, so that streams stay in step, but need not be made. */
static cm_status draw(run *r, int needed)
{
    return r->io->noise(r->io->user, r->draws++, needed ? r->z : NULL);
}

/* to = from + k v */
static void advance(const run *r, double *to, const double *from, double k, const double *v)
{
    for (size_t i = 0; i < r->io->n; i++) to[i] = from[i] + k * v[i];
}

/* d = (x - D(x; sigma)) / sigma, the slope of the probability-flow ODE. */
static cm_status slope(run *r, double sigma, const double *x, double *d)
{
    CM_TRY(evaluate(r, sigma, x, d));
    for (size_t i = 0; i < r->io->n; i++) d[i] = (x[i] - d[i]) / sigma;
    return CM_OK;
}

/* Adds noise to raise the level; *raised is the new level. */
static cm_status churn(run *r, double sigma, double *raised)
{
    const cm_solver *s = r->s;
    double gamma = s->s_churn / s->n;
    if (gamma > sqrt(2.0) - 1) gamma = sqrt(2.0) - 1;
    if (sigma < s->s_tmin || sigma > s->s_tmax) gamma = 0;
    *raised = sigma * (1 + gamma);
    CM_TRY(draw(r, gamma > 0));
    if (gamma > 0) advance(r, r->x, r->x, s->s_noise * sqrt(*raised * *raised - sigma * sigma), r->z);
    return CM_OK;
}

static cm_status onestep(run *r)
{
    return evaluate(r, r->s->sigma[0], r->x, r->x);
}

/* Algorithm 1 of Song et al. 2023. */
static cm_status multistep(run *r)
{
    const cm_solver *s = r->s;
    for (int i = 0; i < s->n; i++) {
        double next = i + 1 < s->n ? s->sigma[i + 1] : s->closing;
        double variance = next * next - s->boundary * s->boundary;
        CM_TRY(evaluate(r, s->sigma[i], r->x, r->x));
        if (i + 1 == s->n && !s->final_draw) break;
        CM_TRY(draw(r, variance > 0));
        if (variance > 0) advance(r, r->x, r->x, sqrt(variance), r->z);
    }
    return CM_OK;
}

static cm_status heun(run *r)
{
    for (int i = 0; i < r->s->n; i++) {
        double next = r->s->sigma[i + 1], level;
        CM_TRY(churn(r, r->s->sigma[i], &level));
        double h = next - level;
        CM_TRY(slope(r, level, r->x, r->d));
        if (next == 0) {
            advance(r, r->x, r->x, h, r->d);
            continue;
        }
        advance(r, r->y, r->x, h, r->d);
        CM_TRY(slope(r, next, r->y, r->z));
        for (size_t k = 0; k < r->io->n; k++) r->x[k] += (r->d[k] + r->z[k]) / 2 * h;
    }
    return CM_OK;
}

/* Also progressive distillation, whose levels do not end in 0. */
static cm_status euler(run *r)
{
    for (int i = 0; i < r->s->n; i++) {
        CM_TRY(slope(r, r->s->sigma[i], r->x, r->d));
        advance(r, r->x, r->x, r->s->sigma[i + 1] - r->s->sigma[i], r->d);
    }
    return CM_OK;
}

static cm_status ancestral(run *r)
{
    for (int i = 0; i < r->s->n; i++) {
        double down, up;
        cm_ancestral_split(r->s->sigma[i], r->s->sigma[i + 1], &down, &up);
        CM_TRY(slope(r, r->s->sigma[i], r->x, r->d));
        advance(r, r->x, r->x, down - r->s->sigma[i], r->d);
        CM_TRY(draw(r, up > 0));
        if (up > 0) advance(r, r->x, r->x, up, r->z);
    }
    return CM_OK;
}

/* DPM-Solver-2: the slope at a middle level, the mean of the cube roots. */
static cm_status dpm(run *r)
{
    for (int i = 0; i < r->s->n; i++) {
        double next = r->s->sigma[i + 1], level;
        CM_TRY(churn(r, r->s->sigma[i], &level));
        double middle = pow((cbrt(level) + cbrt(next)) / 2, 3);
        CM_TRY(slope(r, level, r->x, r->d));
        advance(r, r->y, r->x, middle - level, r->d);
        CM_TRY(slope(r, middle, r->y, r->d));
        advance(r, r->x, r->x, next - level, r->d);
    }
    return CM_OK;
}

/* --- EDM's general sampler (algorithms 2.6) -------------------------------------- */

static double level_of(const cm_edm_form *f, double t)
{
    if (f->schedule == CM_EDM_SCHEDULE_VP) return cm_vp_sigma(t, f->beta_d, f->beta_min);
    return f->schedule == CM_EDM_SCHEDULE_VE ? sqrt(t) : t;
}

static double level_slope(const cm_edm_form *f, double t)
{
    if (f->schedule == CM_EDM_SCHEDULE_VP) return cm_vp_sigma_slope(t, f->beta_d, f->beta_min);
    return f->schedule == CM_EDM_SCHEDULE_VE ? 0.5 / sqrt(t) : 1;
}

/* To the nearest level the network knows, then to time. */
static double time_of(const cm_edm_form *f, double sigma)
{
    if (f->levels) sigma = f->levels[cm_iddpm_nearest(f->levels, f->M, sigma)];
    if (f->schedule == CM_EDM_SCHEDULE_VP) return cm_vp_sigma_inverse(sigma, f->beta_d, f->beta_min);
    return f->schedule == CM_EDM_SCHEDULE_VE ? sigma * sigma : sigma;
}

static double scale_of(const cm_edm_form *f, double t)
{
    double sigma = level_of(f, t);
    return f->scaling == CM_EDM_SCALING_VP ? 1 / sqrt(1 + sigma * sigma) : 1;
}

static double scale_slope(const cm_edm_form *f, double t)
{
    double s = scale_of(f, t);
    return f->scaling == CM_EDM_SCALING_VP ? -level_of(f, t) * level_slope(f, t) * s * s * s : 0;
}

/* d = (sigma'/sigma + s'/s) x - sigma' s / sigma D(x / s; sigma) */
static cm_status edm_slope(run *r, double t, const double *x, double *d)
{
    const cm_edm_form *f = &r->s->edm;
    double sigma = level_of(f, t), rate = level_slope(f, t), s = scale_of(f, t);
    double a = rate / sigma + scale_slope(f, t) / s, b = rate * s / sigma;
    for (size_t i = 0; i < r->io->n; i++) d[i] = x[i] / s;
    CM_TRY(evaluate(r, sigma, d, d));
    for (size_t i = 0; i < r->io->n; i++) d[i] = a * x[i] - b * d[i];
    return CM_OK;
}

/* Raises the level at time t by noise; *raised is the new time. */
static cm_status edm_churn(run *r, double t, double *raised)
{
    const cm_solver *s = r->s;
    const cm_edm_form *f = &s->edm;
    double sigma = level_of(f, t), gamma = s->s_churn / s->n;
    if (gamma > sqrt(2.0) - 1) gamma = sqrt(2.0) - 1;
    if (sigma < s->s_tmin || sigma > s->s_tmax) gamma = 0;
    *raised = gamma > 0 || f->levels ? time_of(f, sigma + gamma * sigma) : t;
    double above = level_of(f, *raised), variance = above * above - sigma * sigma;
    double grow = scale_of(f, *raised) / scale_of(f, t);
    double noise = (variance > 0 ? sqrt(variance) : 0) * scale_of(f, *raised) * s->s_noise;
    CM_TRY(draw(r, noise > 0));
    for (size_t i = 0; i < r->io->n; i++) r->x[i] = grow * r->x[i] + (noise > 0 ? noise * r->z[i] : 0);
    return CM_OK;
}

static cm_status edm(run *r)
{
    const cm_solver *s = r->s;
    const cm_edm_form *f = &s->edm;
    for (int i = 0; i < s->n; i++) {
        double t = time_of(f, s->sigma[i]), next = i + 1 < s->n ? time_of(f, s->sigma[i + 1]) : 0, raised;
        CM_TRY(edm_churn(r, t, &raised));
        double h = next - raised, middle = raised + f->alpha * h;
        CM_TRY(edm_slope(r, raised, r->x, r->d));
        if (f->solver == CM_EDM_SOLVER_EULER || i + 1 == s->n) {
            advance(r, r->x, r->x, h, r->d);
            continue;
        }
        advance(r, r->y, r->x, f->alpha * h, r->d);
        CM_TRY(edm_slope(r, middle, r->y, r->z));
        double w = 1 / (2 * f->alpha);
        for (size_t k = 0; k < r->io->n; k++) r->x[k] += h * ((1 - w) * r->d[k] + w * r->z[k]);
    }
    return CM_OK;
}

/* ----------------------------------------------------------------------------------- */

cm_status cm_solver_run(const cm_solver *s, const cm_solver_io *io, double *x, double *work)
{
    run r = {s, io, 0, 0, x, work, work + io->n, work + 2 * io->n};
    double start = s->start;
    if (s->method == CM_METHOD_EDM) {
        double t = time_of(&s->edm, s->sigma[0]);
        start = level_of(&s->edm, t) * scale_of(&s->edm, t);
    }
    for (size_t i = 0; i < io->n; i++) x[i] *= start;
    switch (s->method) {
    case CM_METHOD_ONESTEP: return onestep(&r);
    case CM_METHOD_MULTISTEP: return multistep(&r);
    case CM_METHOD_HEUN: return heun(&r);
    case CM_METHOD_EULER:
    case CM_METHOD_PROGDIST: return euler(&r);
    case CM_METHOD_ANCESTRAL: return ancestral(&r);
    case CM_METHOD_DPM: return dpm(&r);
    case CM_METHOD_EDM: return edm(&r);
    default: CM_FAIL(CM_ERR_INTERNAL, "solver: method %d", s->method);
    }
}

int32_t cm_solver_nfe(const cm_solver *s)
{
    switch (s->method) {
    case CM_METHOD_HEUN: return 2 * s->n - 1;
    case CM_METHOD_DPM: return 2 * s->n;
    case CM_METHOD_EDM: return s->edm.solver == CM_EDM_SOLVER_EULER ? s->n : 2 * s->n - 1;
    case CM_METHOD_ONESTEP: return 1;
    default: return s->n;
    }
}
