/* method_rk45.c - the probability-flow ODE by an adaptive Runge-Kutta method, in sigma (Song et al. 2021, appendix
 * D.4). */
#include "diffusion/method.h"
#include "diffusion/rk45.h"

/* (x - D(x; sigma)) / sigma of the images at hand. */
static cm_status slope(void *user, size_t count, const size_t *which, const double *sigma, const double *x, double *d)
{
    cm_solver_state *r = user;
    const size_t size = r->io->n / r->io->images;
    CM_TRY(r->io->denoise_each(r->io->user, r->evaluations++, count, which, sigma, x, d));
    for (size_t k = 0; k < count; k++)
        for (size_t i = k * size; i < (k + 1) * size; i++) {
            if (r->s->clip) d[i] = d[i] < -1 ? -1 : d[i] > 1 ? 1 : d[i];
            d[i] = (x[i] - d[i]) / sigma[k];
        }
    return CM_OK;
}

static cm_status rk45(cm_solver_state *r)
{
    const cm_solver *s = r->s;
    const cm_rk45 rk = {.context = r->io->context,
                        .images = r->io->images,
                        .size = r->io->n / r->io->images,
                        .from = s->sigma[0],
                        .to = s->sigma[1],
                        .rtol = s->rk45.rtol,
                        .atol = s->rk45.atol,
                        .most = s->rk45.most,
                        .user = r,
                        .slope = slope};
    return cmi_rk45_run(&rk, r->io->first, r->x, r->io->evaluations);
}

static int32_t most(const cm_solver *s)
{
    return s->rk45.most;
}

const cm_method_kind cmi_method_rk45 = {.name = "rk45",
                                        .about = "adaptive Runge-Kutta 4(5) of the probability-flow ODE to sigma_min",
                                        .levels = CM_LEVEL_RULE_RANGE,
                                        .reads = CM_READS_RK45,
                                        .run = rk45,
                                        .evaluations = most};
