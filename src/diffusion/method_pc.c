/* method_pc.c - predictor-corrector of the variance-exploding SDE (Song et al. 2021, algorithms 2 and 4).
 *
 * Its reference takes the means of the norms over the batch; here each image has its own. */
#include <math.h>

#include "diffusion/method.h"

/* r->d = (D(x; sigma) - x) / sigma^2, the score. */
static cm_status score(cm_solver_state *r, double sigma)
{
    CM_TRY(cmi_solver_evaluate(r, sigma, r->x, r->d));
    for (size_t i = 0; i < r->io->n; i++) r->d[i] = (r->d[i] - r->x[i]) / (sigma * sigma);
    return CM_OK;
}

static double norm(size_t n, const double *v)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i] * v[i];
    return sqrt(sum);
}

/* A step of Langevin's dynamics whose width makes the noise 1 / snr times the slope's part. */
static cm_status correct(cm_solver_state *r, double sigma)
{
    const size_t size = r->io->n / r->io->images;
    CM_TRY(score(r, sigma));
    CM_TRY(cmi_solver_draw(r, 1));
    for (size_t i = 0; i < r->io->n; i += size) {
        const double slope = norm(size, r->d + i), ratio = r->s->pc.snr * norm(size, r->z + i) / slope;
        const double width = slope > 0 ? 2 * ratio * ratio : 0, noise = sqrt(2 * width);
        for (size_t k = i; k < i + size; k++) r->x[k] += width * r->d[k] + noise * r->z[k];
    }
    return CM_OK;
}

static cm_status pc(cm_solver_state *r)
{
    const cm_solver *s = r->s;
    for (int32_t i = 0; i < s->n; i++) {
        const double next = s->sigma[i + 1], variance = s->sigma[i] * s->sigma[i] - next * next;
        for (int32_t k = 0; k < s->pc.corrections; k++) CM_TRY(correct(r, s->sigma[i]));
        CM_TRY(score(r, s->sigma[i]));
        cmi_solver_advance(r, r->x, r->x, variance, r->d);
        CM_TRY(cmi_solver_draw(r, next > 0)); /* the last image is the mean */
        if (next > 0) cmi_solver_advance(r, r->x, r->x, sqrt(variance), r->z);
    }
    return CM_OK;
}

static int32_t with_corrections(const cm_solver *s)
{
    return s->n * (1 + s->pc.corrections);
}

const cm_method_kind cmi_method_pc = {.name = "pc",
                                      .about = "predictor-corrector of Song et al. 2021: reverse diffusion, Langevin",
                                      .levels = CM_LEVEL_RULE_TO_ZERO,
                                      .spacing = CM_LEVELS_LOGARITHMS,
                                      .reads = CM_READS_PC,
                                      .run = pc,
                                      .evaluations = with_corrections,
                                      .draws = with_corrections};
