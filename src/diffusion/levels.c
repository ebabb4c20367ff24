/* levels.c - the noise levels of a run: schedules, lists of the caller, published defaults. */
#include <math.h>
#include <string.h>

#include "diffusion/resolver.h"
#include "diffusion/schedule.h"

/* The levels of a schedule that is told none: the model's own.  Families that
 * were made for no range, and schedules of other papers than the model's, have
 * the samplers' customary one as far as the model goes along (algorithms 2.6). */
static void default_range(cm_resolver *r, int form)
{
    const double low[4] = {0.002, cmi_vp_sigma(1e-3, 19.9, 0.1), 0.02, 0.002};
    const double high[4] = {80, cmi_vp_sigma(1, 19.9, 0.1), 100, 81};
    const cm_precond *p = &r->m->precond;
    int karras = form == CM_EDM_STEPS_EDM && (p->kind->any_level || p->kind->bounded);
    const int keeps_min = p->sigma_min > 0 && (p->sets_min || karras || p->kind->bounded);
    double smin = keeps_min ? p->sigma_min : fmax(low[form], p->sigma_min), smax = high[form];
    if (p->sets_max || karras) smax = p->sigma_max;
    else if (!p->kind->any_level) smax = fmin(smax, p->sigma_max);
    r->smin = smin;
    r->smax = smax;
    r->highest = fmax(smax, p->sigma_max);
}

cm_status cmi_levels_range(cm_resolver *r)
{
    const cm_sample_options *o = r->o;
    double boundary = cmi_precond_boundary(&r->m->precond);
    default_range(r, cmi_resolver_form(r));
    if (o->sigma_max > r->highest * (1 + 1e-6))
        CM_FAIL(CM_ERR_ARGUMENT, "option sigma_max is %g; this model's noise levels end at %g", o->sigma_max,
                r->highest);
    if (o->sigma_min > 0 && o->sigma_min < boundary * (1 - 1e-6))
        CM_FAIL(CM_ERR_ARGUMENT, "option sigma_min is %g; this model's noise levels begin at %g", o->sigma_min,
                boundary);
    r->smin = cmi_or_default(o->sigma_min, r->smin);
    r->smax = cmi_or_default(o->sigma_max, r->smax);
    r->rho = cmi_or_default(o->rho, 7);
    if (!(r->smin < r->smax) && (cmi_resolver_scheduled(r) || o->ts))
        CM_FAIL(CM_ERR_ARGUMENT, "sigma_min %g has to be below sigma_max %g", r->smin, r->smax);
    return CM_OK;
}

/* Levels for sigma[0..n-1]. */
static void fill_schedule(const cm_resolver *r, int n, double *sigma)
{
    const double eps_s = 1e-3;
    int form = cmi_resolver_form(r);
    double bd, bmin;
    cmi_vp_betas(r->smin, r->smax, eps_s, &bd, &bmin);
    for (int i = 0; i < n; i++) {
        double u = n > 1 ? (double)i / (n - 1) : 0;
        if (form == CM_EDM_STEPS_VP) sigma[i] = cmi_vp_sigma(1 + u * (eps_s - 1), bd, bmin);
        else if (cmi_resolver_by_flow_times(r)) sigma[i] = cmi_flow_time_sigma(i, n, r->smax);
        else if (form == CM_EDM_STEPS_VE || (r->method->spacing == CM_LEVELS_LOGARITHMS && !(r->o->rho > 0)))
            sigma[i] = r->smax * pow(r->smin / r->smax, u);
        else sigma[i] = cmi_karras_sigma(i, n, r->smin, r->smax, r->rho);
    }
}

/* EDM's iDDPM discretization: n of the table's levels inside the range. */
static cm_status fill_iddpm(const cm_resolver *r, int n, double *sigma)
{
    enum { M = 1000 };
    double *u = cmi_calloc(r->m->context, M + 1, sizeof *u);
    int first = -1, last = -1;
    if (!u) return CM_ERR_MEMORY;
    cmi_iddpm_table(M, 0.001, 0.008, u);
    for (int j = 0; j <= M; j++)
        if (u[j] >= r->smin && u[j] <= r->smax) {
            if (first < 0) first = j;
            last = j;
        }
    cm_status status = CM_OK;
    if (first < 0 || last - first + 1 < n)
        status = cmi_fail(CM_ERR_ARGUMENT, "the iddpm table has fewer than %d levels between %g and %g", n, r->smin,
                          r->smax);
    for (int i = 0; i < n && status == CM_OK; i++) /* nearbyint: half to even, as the reference rounds */
        sigma[i] = u[first + (n > 1 ? (int)nearbyint((double)(last - first) / (n - 1) * i) : 0)];
    cmi_free(r->m->context, u);
    return status;
}

/* --- lists from the caller --------------------------------------------------------------- */

static cm_status check_sigmas(const cm_resolver *r)
{
    const cm_sample_options *o = r->o;
    const cm_precond *p = &r->m->precond;
    double low = cmi_precond_boundary(p), high = p->sigma_max;
    for (size_t i = 0; i < o->sigma_count; i++) {
        double s = o->sigmas[i];
        if (!isfinite(s) || !(s > 0) || s < low * (1 - 1e-6) || s > high * (1 + 1e-6))
            CM_FAIL(CM_ERR_ARGUMENT, "sigmas[%zu] is %g; this model's noise levels are in %s%g, %g]", i, s,
                    low > 0 ? "[" : "(", low, high);
        if (i && !(s < o->sigmas[i - 1]))
            CM_FAIL(CM_ERR_ARGUMENT, "sigmas have to fall strictly: sigmas[%zu] is %g after %g", i, s,
                    o->sigmas[i - 1]);
    }
    return CM_OK;
}

static cm_status check_ts(const cm_resolver *r)
{
    const cm_sample_options *o = r->o;
    if (o->grid < 2 || o->grid > CM_MAX_STEPS)
        CM_FAIL(CM_ERR_ARGUMENT, "option grid is %d; ts are indices into a grid of 2..%d points", o->grid,
                CM_MAX_STEPS);
    if (o->ts_count < 2)
        CM_FAIL(CM_ERR_ARGUMENT,
                "ts needs at least two entries: the last one only closes the list (0,%d for one step)", o->grid - 1);
    for (size_t i = 0; i < o->ts_count; i++)
        if (o->ts[i] < 0 || o->ts[i] >= o->grid || (i && o->ts[i] <= o->ts[i - 1]))
            CM_FAIL(CM_ERR_ARGUMENT, "ts have to rise strictly within 0..%d: ts[%zu] is %d", o->grid - 1, i,
                    o->ts[i]);
    return CM_OK;
}

/* The highest level where no times are given. */
static double first_level(const cm_resolver *r)
{
    return r->o->sigma_max > 0 || !r->m->sampling.n_sigmas
               ? r->smax
               : cmi_sampling_defaults_level(&r->m->sampling, 0, r->smin, r->smax);
}

/* The model's own levels: one, or as many as there are. */
static cm_status default_each(const cm_resolver *r, double *sigma, int32_t *n)
{
    const cm_sampling_defaults *d = &r->m->sampling;
    int32_t own = cmi_sampling_defaults_count(d);
    double boundary = cmi_precond_boundary(&r->m->precond);
    if (!cmi_precond_is_consistency(&r->m->precond) && r->o->steps != 1)
        CM_FAIL(CM_ERR_ARGUMENT, "method %s on precond %s: give the times as sigmas", r->method->name,
                cmi_precond_name(&r->m->precond));
    *n = r->o->steps ? r->o->steps : own > 1 ? own : 2;
    sigma[0] = first_level(r);
    for (int32_t i = 1; i < *n && *n == own; i++) sigma[i] = cmi_sampling_defaults_level(d, i, r->smin, r->smax);
    const int flow = r->m->precond.kind->two_times && *n != own;
    for (int32_t i = 1; i < *n && flow; i++) sigma[i] = cmi_flow_time_sigma(i, *n, sigma[0]);
    int fits = *n == 1 || flow || (*n == own && sigma[*n - 1] > boundary);
    for (int32_t i = 1; i < *n && fits; i++) fits = sigma[i] < sigma[i - 1];
    if (!fits)
        CM_FAIL(CM_ERR_ARGUMENT,
                "no default times for %d steps with this model: give them as sigmas, for example sigmas = %g, %g", *n,
                r->smax, r->smax > 1.6 ? 0.8 : r->smax / 2);
    return CM_OK;
}

static cm_status fill_each(cm_resolver *r, double *sigma)
{
    const cm_sample_options *o = r->o;
    cm_solver *s = &r->out->solver;
    s->boundary = s->closing = cmi_precond_boundary(&r->m->precond);
    s->start = r->smax;
    if (o->ts) { /* the official form: the driver's start is sigma_max whatever ts[0] says */
        CM_TRY(check_ts(r));
        s->n = (int32_t)o->ts_count - 1;
        for (int i = 0; i < s->n; i++) sigma[i] = cmi_karras_sigma(o->ts[i], o->grid, r->smin, r->smax, r->rho);
        double last = cmi_karras_sigma(o->ts[s->n], o->grid, r->smin, r->smax, r->rho);
        s->boundary = r->smin;
        s->closing = fmax(last, r->smin);
        s->final_draw = 1;
        return CM_OK;
    }
    if (o->sigmas) {
        memcpy(sigma, o->sigmas, o->sigma_count * sizeof *sigma);
        s->n = (int32_t)o->sigma_count;
    } else {
        CM_TRY(default_each(r, sigma, &s->n));
    }
    s->start = sigma[0];
    return CM_OK;
}

static cm_status fill_schedule_or_list(cm_resolver *r, double *sigma)
{
    const cm_sample_options *o = r->o;
    cm_solver *s = &r->out->solver;
    const int to_last = cmi_method_ends_above_0(r->method), range = r->method->levels == CM_LEVEL_RULE_RANGE;
    if (o->sigmas) {
        memcpy(sigma, o->sigmas, o->sigma_count * sizeof *sigma);
        s->n = (int32_t)o->sigma_count - to_last;
        if (s->n < 1) CM_FAIL(CM_ERR_ARGUMENT, "method %s needs at least two sigmas", r->method->name);
        if (range && s->n > 1)
            CM_FAIL(CM_ERR_ARGUMENT, "method %s takes two sigmas, its first and its last, found %zu", r->method->name,
                    o->sigma_count);
    } else if (range) {
        s->n = 1;
        sigma[0] = r->smax;
        sigma[1] = r->smin;
    } else {
        s->n = cmi_resolver_steps(r);
        if (cmi_resolver_form(r) == CM_EDM_STEPS_IDDPM) CM_TRY(fill_iddpm(r, s->n, sigma));
        else fill_schedule(r, s->n + to_last, sigma);
    }
    if (!to_last) sigma[s->n] = 0;
    s->start = sigma[0];
    return CM_OK;
}

static cm_status fill_one(cm_resolver *r, double *sigma)
{
    const cm_sample_options *o = r->o;
    if (o->sigma_count > 1)
        CM_FAIL(CM_ERR_ARGUMENT, "method %s takes one time, found %zu sigmas", r->method->name, o->sigma_count);
    sigma[0] = o->sigmas ? o->sigmas[0] : first_level(r);
    r->out->solver.n = 1;
    r->out->solver.start = sigma[0];
    return CM_OK;
}

cm_status cmi_levels_fill(cm_resolver *r)
{
    const cm_sample_options *o = r->o;
    size_t count = o->sigma_count > o->ts_count ? o->sigma_count : o->ts_count;
    if (count < (size_t)cmi_resolver_steps(r)) count = (size_t)cmi_resolver_steps(r);
    if (count < CM_DEFAULT_LEVELS) count = CM_DEFAULT_LEVELS;
    double *sigma = cmi_calloc(r->m->context, count + 2, sizeof *sigma);
    if (!sigma) return CM_ERR_MEMORY;
    r->out->sigma = sigma;
    r->out->solver.sigma = sigma;
    if (o->sigmas) CM_TRY(check_sigmas(r));
    if (r->method->levels == CM_LEVEL_RULE_EACH) return fill_each(r, sigma);
    return cmi_resolver_scheduled(r) ? fill_schedule_or_list(r, sigma) : fill_one(r, sigma);
}
