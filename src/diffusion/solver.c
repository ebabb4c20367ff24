/* solver.c - the samplers of the consistency and EDM papers as their official
 * code runs them, noise drawn in the same order. */
#include "diffusion/solver.h"

#include <math.h>

#include "diffusion/method.h"

/* What becomes of an estimate. */
static cm_status estimated(cm_solver_state *r, double sigma, double *out)
{
    if (r->s->clip)
        for (size_t i = 0; i < r->io->n; i++) out[i] = out[i] < -1 ? -1 : out[i] > 1 ? 1 : out[i];
    if (r->io->keep) CM_TRY(r->io->keep(r->io->user, out));
    if (r->io->estimate) CM_TRY(r->io->estimate(r->io->user, r->evaluations, sigma, out));
    r->evaluations++;
    return CM_OK;
}

cm_status cmi_solver_evaluate(cm_solver_state *r, double sigma, const double *x, double *out)
{
    CM_TRY(r->io->denoise(r->io->user, r->evaluations, sigma, x, out));
    return estimated(r, sigma, out);
}

cm_status cmi_solver_evaluate_to(cm_solver_state *r, double sigma, double to, const double *x, double *out)
{
    CM_TRY(r->io->denoise_to(r->io->user, r->evaluations, sigma, to, x, out));
    return estimated(r, sigma, out);
}

cm_status cmi_solver_draw(cm_solver_state *r, int needed)
{
    return r->io->noise(r->io->user, r->draws++, needed ? r->z : NULL);
}

void cmi_solver_advance(const cm_solver_state *r, double *to, const double *from, double k, const double *v)
{
    for (size_t i = 0; i < r->io->n; i++) to[i] = from[i] + k * v[i];
}

cm_status cmi_solver_slope(cm_solver_state *r, double sigma, const double *x, double *d)
{
    CM_TRY(cmi_solver_evaluate(r, sigma, x, d));
    for (size_t i = 0; i < r->io->n; i++) d[i] = (x[i] - d[i]) / sigma;
    return CM_OK;
}

double cmi_solver_gamma(const cm_solver *s, double sigma)
{
    double gamma = s->s_churn / s->n;
    if (gamma > sqrt(2.0) - 1) gamma = sqrt(2.0) - 1;
    if (sigma < s->s_tmin || sigma > s->s_tmax) gamma = 0;
    return gamma;
}

int32_t cmi_solver_once_a_step(const cm_solver *s)
{
    return s->n;
}

int32_t cmi_solver_twice_but_last(const cm_solver *s)
{
    return 2 * s->n - 1;
}

cm_status cmi_solver_run(const cm_solver *s, const cm_solver_io *io, double *x, double *work)
{
    cm_solver_state r = {s, io, 0, 0, x, work, work + io->n, work + 2 * io->n};
    double start = s->method->start ? s->method->start(s) : s->start;
    for (size_t i = 0; i < io->n; i++) x[i] *= start;
    return s->method->run(&r);
}

int32_t cmi_solver_nfe(const cm_solver *s)
{
    return s->method->evaluations(s);
}

int32_t cmi_solver_draws(const cm_solver *s)
{
    return s->method->draws ? s->method->draws(s) : 0;
}
