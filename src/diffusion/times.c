/* times.c - the method, its noise levels and the rest of a solver, from sample options. */
#include "diffusion/times.h"

#include <math.h>
#include <string.h>

#include "diffusion/resolver.h"
#include "diffusion/schedule.h"

/* Whatever the options were, the network sees finite levels that fall and that
 * it may be given. */
static cm_status check_levels(const cm_resolver *r)
{
    const cm_solver *s = &r->out->solver;
    int n = s->n + cmi_method_ends_above_0(r->method);
    for (int i = 0; i < n; i++) {
        if (!(s->sigma[i] >= CM_LEAST_LEVEL && s->sigma[i] <= r->highest * (1 + 1e-6)))
            CM_FAIL(CM_ERR_ARGUMENT, "noise level %d of %d is %g; this model's end at %g", i, n, s->sigma[i],
                    r->highest);
        if (i && !(s->sigma[i] < s->sigma[i - 1]))
            CM_FAIL(CM_ERR_ARGUMENT,
                    "noise levels %d and %d of %d are %g and %g; they have to fall (too many steps, or a rho too far "
                    "from 7?)",
                    i - 1, i, n, s->sigma[i - 1], s->sigma[i]);
    }
    return CM_OK;
}

/* Churn raises a level by at most sqrt(2), as its paper has it; s_noise must not
 * make much more of that. */
static cm_status check_churn(const cm_resolver *r)
{
    const cm_solver *s = &r->out->solver;
    double gamma = fmin(s->s_churn / s->n, sqrt(2.0) - 1), grown = (1 + gamma) * (1 + gamma) - 1;
    for (int i = 0; i < s->n; i++) {
        double sigma = s->sigma[i], raised = sigma * sqrt(1 + s->s_noise * s->s_noise * grown);
        if (sigma >= s->s_tmin && sigma <= s->s_tmax && raised > 2 * r->highest)
            CM_FAIL(CM_ERR_ARGUMENT,
                    "options s_churn and s_noise raise the level %g to %g; this model's end at %g (s_tmax bounds the "
                    "levels that are raised)",
                    sigma, raised, r->highest);
    }
    return CM_OK;
}

static void fill_rest(const cm_resolver *r)
{
    const cm_sample_options *o = r->o;
    const cm_precond *p = &r->m->precond;
    cm_solver *s = &r->out->solver;
    /* [CM] clamps estimates; EDM's sampler and ECT's models do not. */
    int clip = r->method->clip && p->kind->clip;
    s->method = r->method;
    s->clip = o->clip_denoised ? o->clip_denoised == CM_CLIP_YES : clip;
    s->s_churn = o->s_churn;
    s->s_tmin = o->s_tmin;
    s->s_tmax = cmi_or_default(o->s_tmax, INFINITY);
    s->s_noise = cmi_or_default(o->s_noise, 1);
    s->edm.schedule = o->edm_schedule;
    s->edm.scaling = o->edm_scaling;
    s->edm.solver = o->edm_solver;
    s->edm.alpha = cmi_or_default(o->edm_alpha, 1);
    s->dpmpp.order = o->dpmpp_order ? o->dpmpp_order : s->n < 3 ? s->n : 3;
    s->dpmpp.form = o->dpmpp_form;
    s->dpmpp.full = o->dpmpp_end == CM_DPMPP_FULL;
    s->rk45.rtol = cmi_or_default(o->rk45_rtol, 1e-5);
    s->rk45.atol = cmi_or_default(o->rk45_atol, 1e-5);
    s->rk45.most = o->rk45_max_nfe ? o->rk45_max_nfe : 1000;
    s->pc.snr = cmi_or_default(o->pc_snr, 0.16);
    s->pc.corrections = o->pc_corrections ? o->pc_corrections : 1;
    cmi_vp_betas(r->smin, r->smax, 1e-3, &s->edm.beta_d, &s->edm.beta_min);
    if (p->table) {
        s->edm.levels = p->table;
        s->edm.M = p->M;
    }
}

static const cm_method_kind *default_method(const cm_model *model, const cm_sample_options *o)
{
    const cm_method_kind *own = cmi_method_at((size_t)model->sampling.method);
    if (own->run && !o->ts && !o->sigmas) return own;
    if (!cmi_precond_is_consistency(&model->precond)) return &cmi_method_heun;
    return o->ts || o->sigma_count > 1 || o->steps > 1 ? &cmi_method_multistep : &cmi_method_onestep;
}

static cm_status resolve_method(cm_resolver *r)
{
    int32_t method = r->o->method;
    r->method = method < 0 ? NULL : cmi_method_at((size_t)method);
    if (!r->method) CM_FAIL(CM_ERR_ARGUMENT, "option method is %d, expected a cm_method", method);
    if (r->m->precond.kind->raw)
        CM_FAIL(CM_ERR_UNSUPPORTED, "a model with precond %s cannot be sampled from: say how its output is meant",
                cmi_precond_name(&r->m->precond));
    if (!r->method->run) r->method = default_method(r->m, r->o);
    if (r->method->two_times && !r->m->precond.kind->two_times)
        CM_FAIL(CM_ERR_ARGUMENT,
                "method %s is for networks of two times; this model, of precond %s, has a network of one time",
                r->method->name, cmi_precond_name(&r->m->precond));
    return CM_OK;
}

static cm_status resolve(cm_resolver *r)
{
    CM_TRY(resolve_method(r));
    CM_TRY(cmi_options_check_ranges(r));
    CM_TRY(cmi_options_check_effects(r));
    CM_TRY(cmi_levels_range(r));
    CM_TRY(cmi_levels_fill(r));
    CM_TRY(check_levels(r));
    fill_rest(r);
    CM_TRY(check_churn(r));
    CM_TRY(cmi_options_check_orders(r));
    return cmi_options_check_randomness(r);
}

cm_status cmi_times_resolve(const cm_model *model, const cm_sample_options *options, cm_times *out)
{
    cm_resolver r = {.m = model, .o = options, .out = out};
    memset(out, 0, sizeof *out);
    cm_status status = resolve(&r);
    if (status != CM_OK) cmi_times_release(model, out);
    return status;
}

void cmi_times_release(const cm_model *model, cm_times *times)
{
    cmi_free(model->context, times->sigma);
    times->sigma = NULL;
}
