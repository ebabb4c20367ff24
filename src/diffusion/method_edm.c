/* method_edm.c - the general sampler of Karras et al. 2022: any sigma(t) and s(t) (algorithms 2.6). */
#include <math.h>

#include "diffusion/method.h"
#include "diffusion/schedule.h"

static double level_of(const cm_edm_form *f, double t)
{
    if (f->schedule == CM_EDM_SCHEDULE_VP) return cmi_vp_sigma(t, f->beta_d, f->beta_min);
    return f->schedule == CM_EDM_SCHEDULE_VE ? sqrt(t) : t;
}

static double level_slope(const cm_edm_form *f, double t)
{
    if (f->schedule == CM_EDM_SCHEDULE_VP) return cmi_vp_sigma_slope(t, f->beta_d, f->beta_min);
    return f->schedule == CM_EDM_SCHEDULE_VE ? 0.5 / sqrt(t) : 1;
}

/* To the nearest level the network knows, then to time. */
static double time_of(const cm_edm_form *f, double sigma)
{
    if (f->levels) sigma = f->levels[cmi_iddpm_nearest(f->levels, f->M, sigma)];
    if (f->schedule == CM_EDM_SCHEDULE_VP) return cmi_vp_sigma_inverse(sigma, f->beta_d, f->beta_min);
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
static cm_status edm_slope(cm_solver_state *r, double t, const double *x, double *d)
{
    const cm_edm_form *f = &r->s->edm;
    double sigma = level_of(f, t), rate = level_slope(f, t), s = scale_of(f, t);
    double a = rate / sigma + scale_slope(f, t) / s, b = rate * s / sigma;
    for (size_t i = 0; i < r->io->n; i++) d[i] = x[i] / s;
    CM_TRY(cmi_solver_evaluate(r, sigma, d, d));
    for (size_t i = 0; i < r->io->n; i++) d[i] = a * x[i] - b * d[i];
    return CM_OK;
}

/* Raises the level at time t by noise; *raised is the new time. */
static cm_status edm_churn(cm_solver_state *r, double t, double *raised)
{
    const cm_solver *s = r->s;
    const cm_edm_form *f = &s->edm;
    double sigma = level_of(f, t), gamma = cmi_solver_gamma(s, sigma);
    *raised = gamma > 0 || f->levels ? time_of(f, sigma + gamma * sigma) : t;
    double above = level_of(f, *raised), variance = above * above - sigma * sigma;
    double grow = scale_of(f, *raised) / scale_of(f, t);
    double noise = (variance > 0 ? sqrt(variance) : 0) * scale_of(f, *raised) * s->s_noise;
    CM_TRY(cmi_solver_draw(r, noise > 0));
    for (size_t i = 0; i < r->io->n; i++) r->x[i] = grow * r->x[i] + (noise > 0 ? noise * r->z[i] : 0);
    return CM_OK;
}

static cm_status edm(cm_solver_state *r)
{
    const cm_solver *s = r->s;
    const cm_edm_form *f = &s->edm;
    for (int i = 0; i < s->n; i++) {
        double t = time_of(f, s->sigma[i]), next = i + 1 < s->n ? time_of(f, s->sigma[i + 1]) : 0, raised;
        CM_TRY(edm_churn(r, t, &raised));
        double h = next - raised, middle = raised + f->alpha * h;
        CM_TRY(edm_slope(r, raised, r->x, r->d));
        if (f->solver == CM_EDM_SOLVER_EULER || i + 1 == s->n) {
            cmi_solver_advance(r, r->x, r->x, h, r->d);
            continue;
        }
        cmi_solver_advance(r, r->y, r->x, f->alpha * h, r->d);
        CM_TRY(edm_slope(r, middle, r->y, r->z));
        double w = 1 / (2 * f->alpha);
        for (size_t k = 0; k < r->io->n; k++) r->x[k] += h * ((1 - w) * r->d[k] + w * r->z[k]);
    }
    return CM_OK;
}

static double edm_start(const cm_solver *s)
{
    double t = time_of(&s->edm, s->sigma[0]);
    return level_of(&s->edm, t) * scale_of(&s->edm, t);
}

static int32_t edm_evaluations(const cm_solver *s)
{
    return s->edm.solver == CM_EDM_SOLVER_EULER ? s->n : cmi_solver_twice_but_last(s);
}

const cm_method_kind cmi_method_edm = {.name = "edm",
                                       .about =
                                           "the stochastic sampler of Karras et al. 2022, general sigma(t) and s(t)",
                                       .levels = CM_LEVEL_RULE_TO_ZERO,
                                       .reads = CM_READS_CHURN | CM_READS_EDM,
                                       .run = edm,
                                       .evaluations = edm_evaluations,
                                       .draws = cmi_solver_once_a_step,
                                       .start = edm_start,
                                       .float64_draws = 1};

/* --- what its options can be, in the order of their enumerations --------------------- */

cm_choice cmi_edm_discretization_choice(size_t index)
{
    static const cm_choice choices[] = {
        {"edm", "the levels of Karras et al. 2022"},
        {"vp", "the levels of the variance-preserving SDE"},
        {"ve", "a geometric sequence of variances"},
        {"iddpm", "levels of the iDDPM table"},
    };
    return index < sizeof choices / sizeof *choices ? choices[index] : (cm_choice){NULL, NULL};
}

cm_choice cmi_edm_schedule_choice(size_t index)
{
    static const cm_choice choices[] = {
        {"linear", "sigma(t) = t"},
        {"vp", "sigma(t) of the variance-preserving SDE"},
        {"ve", "sigma(t) = sqrt(t)"},
    };
    return index < sizeof choices / sizeof *choices ? choices[index] : (cm_choice){NULL, NULL};
}

cm_choice cmi_edm_scaling_choice(size_t index)
{
    static const cm_choice choices[] = {
        {"none", "s(t) = 1"},
        {"vp", "s(t) = 1 / sqrt(1 + sigma(t)^2)"},
    };
    return index < sizeof choices / sizeof *choices ? choices[index] : (cm_choice){NULL, NULL};
}

cm_choice cmi_edm_solver_choice(size_t index)
{
    static const cm_choice choices[] = {
        {"heun", "second order"},
        {"euler", "first order"},
    };
    return index < sizeof choices / sizeof *choices ? choices[index] : (cm_choice){NULL, NULL};
}
