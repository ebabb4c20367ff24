/* times.c - default methods and times, and the checks of them. */
#include "diffusion/times.h"

#include <math.h>
#include <string.h>

#include "diffusion/schedule.h"

enum { MAX_STEPS = 1000000 };

/* Levels that float32 holds, as networks take them. */
#define LEAST_LEVEL 1e-30
#define MOST_LEVEL 1e30

static const char *const method_names[] = {"default",   "onestep", "multistep", "heun",    "euler",
                                           "ancestral", "dpm",     "edm",       "progdist"};

/* What the resolved method is called, and which options it listens to. */
typedef struct {
    const cm_model *m;
    const cm_sample_options *o;
    cm_times *out;
    int method;
    double smin, smax, rho; /* of the schedule                     */
    double highest;         /* level that this model may be given */
} resolver;

static cm_status no_effect(const resolver *r, const char *option, const char *why)
{
    CM_FAIL(CM_ERR_ARGUMENT, "option %s has no effect %s method %s", option, why, method_names[r->method]);
}

static int is_ode(int method)
{
    return method >= CM_METHOD_HEUN;
}

static int listens_to_churn(int method)
{
    return method == CM_METHOD_HEUN || method == CM_METHOD_DPM || method == CM_METHOD_EDM;
}

static int draws_noise(int method)
{
    return listens_to_churn(method) || method == CM_METHOD_ANCESTRAL || method == CM_METHOD_MULTISTEP;
}

/* 0 is the default; NaN is in no range. */
static cm_status check_number(const char *name, double v, double low, double high)
{
    if (v != 0 && !(v >= low && v <= high))
        CM_FAIL(CM_ERR_ARGUMENT, "option %s is %g, expected %g..%g or 0 for the default", name, v, low, high);
    return CM_OK;
}

/* A member of an enumeration that ends with `last`. */
static cm_status check_choice(const char *name, int32_t v, int32_t last)
{
    if (v < 0 || v > last) CM_FAIL(CM_ERR_ARGUMENT, "option %s is %d, expected 0..%d", name, v, last);
    return CM_OK;
}

/* Outside of these a schedule's levels cannot be told apart in double: the last
 * of rho 0.5 is off by 1e-7, of rho 0.3 by half. */
cm_status cm_times_check_schedule(const cm_sample_options *o)
{
    CM_TRY(check_number("rho", o->rho, 0.5, 1000));
    CM_TRY(check_number("sigma_min", o->sigma_min, LEAST_LEVEL, MOST_LEVEL));
    CM_TRY(check_number("sigma_max", o->sigma_max, LEAST_LEVEL, MOST_LEVEL));
    if (o->steps < 0 || o->steps > MAX_STEPS)
        CM_FAIL(CM_ERR_ARGUMENT, "option steps is %d, expected 1..%d or 0 for the default", o->steps, MAX_STEPS);
    return CM_OK;
}

/* Ranges that hold for every method. */
static cm_status check_ranges(const resolver *r)
{
    const cm_sample_options *o = r->o;
    CM_TRY(cm_times_check_schedule(o));
    CM_TRY(check_number("s_churn", o->s_churn, 0, 1e9));
    CM_TRY(check_number("s_tmin", o->s_tmin, 0, MOST_LEVEL));
    CM_TRY(check_number("s_noise", o->s_noise, 0.1, 10));
    CM_TRY(check_number("edm_alpha", o->edm_alpha, 0.01, 1));
    if (isnan(o->s_tmax) || o->s_tmax < 0)
        CM_FAIL(CM_ERR_ARGUMENT, "option s_tmax is %g, expected a number >= 0", o->s_tmax);
    CM_TRY(check_choice("clip_denoised", o->clip_denoised, CM_CLIP_NO));
    CM_TRY(check_choice("clip_output", o->clip_output, CM_CLIP_NO));
    CM_TRY(check_choice("edm_discretization", o->edm_discretization, CM_EDM_STEPS_IDDPM));
    CM_TRY(check_choice("edm_schedule", o->edm_schedule, CM_EDM_SCHEDULE_VE));
    CM_TRY(check_choice("edm_scaling", o->edm_scaling, CM_EDM_SCALING_VP));
    CM_TRY(check_choice("edm_solver", o->edm_solver, CM_EDM_SOLVER_EULER));
    if ((o->sigmas == NULL) != (o->sigma_count == 0) || (o->ts == NULL) != (o->ts_count == 0))
        CM_FAIL(CM_ERR_ARGUMENT, "a list of times and its count have to be given together");
    if (o->sigma_count > MAX_STEPS || o->ts_count > MAX_STEPS) CM_FAIL(CM_ERR_LIMIT, "more than %d times", MAX_STEPS);
    if (o->sigmas && o->ts) CM_FAIL(CM_ERR_ARGUMENT, "options sigmas and ts say the same: give one of them");
    return CM_OK;
}

/* Whether an option is set to something else than what holds anyway. */
static int changes(double given, double default_value)
{
    return given > 0 && given != default_value;
}

static cm_status check_grid_options(const resolver *r)
{
    const cm_sample_options *o = r->o;
    const cm_precond *p = &r->m->precond;
    int scheduled = is_ode(r->method) && !o->sigmas;
    int karras = o->ts || (scheduled && (r->method != CM_METHOD_EDM || o->edm_discretization == CM_EDM_STEPS_EDM));
    if (o->ts && r->method != CM_METHOD_MULTISTEP) return no_effect(r, "ts", "on");
    if (o->grid && !o->ts) return no_effect(r, "grid", "without ts on");
    if (o->steps && o->sigmas && (size_t)o->steps != o->sigma_count) return no_effect(r, "steps", "beside sigmas on");
    if (o->steps && ((r->method == CM_METHOD_ONESTEP && o->steps > 1) || o->ts)) return no_effect(r, "steps", "on");
    if (changes(o->rho, 7) && !karras) return no_effect(r, "rho", "without a Karras grid on");
    if (changes(o->sigma_min, p->sigma_min) && !o->ts && !scheduled)
        return no_effect(r, "sigma_min", "without a schedule on");
    if (changes(o->sigma_max, p->sigma_max) && o->sigmas) return no_effect(r, "sigma_max", "beside sigmas on");
    return CM_OK;
}

static cm_status check_method_options(const resolver *r)
{
    const cm_sample_options *o = r->o;
    int churn = o->s_churn > 0;
    int shaped = o->s_tmin > 0 || changes(o->s_tmax, INFINITY) || changes(o->s_noise, 1);
    if (churn && !listens_to_churn(r->method)) return no_effect(r, "s_churn", "on");
    if (shaped && !churn) return no_effect(r, "s_tmin, s_tmax or s_noise", "without s_churn on");
    int edm = o->edm_discretization || o->edm_schedule || o->edm_scaling || o->edm_solver || changes(o->edm_alpha, 1);
    if (edm && r->method != CM_METHOD_EDM) return no_effect(r, "edm_*", "on");
    if (changes(o->edm_alpha, 1) && o->edm_solver == CM_EDM_SOLVER_EULER)
        return no_effect(r, "edm_alpha", "with Euler on");
    if (o->edm_discretization && o->sigmas) return no_effect(r, "edm_discretization", "beside sigmas on");
    if (o->step_noise && !draws_noise(r->method)) return no_effect(r, "step_noise", "on");
    if (o->noise_source != CM_NOISE_TORCH_INDIV && o->num_samples) return no_effect(r, "num_samples", "on");
    return CM_OK;
}

/* --- schedules ------------------------------------------------------------------------ */

static double or_default(double v, double fallback)
{
    return v > 0 ? v : fallback;
}

/* The levels of a schedule that is told none: the model's own.  Families that
 * were made for no range, and schedules of other papers than the model's, have
 * the samplers' customary one as far as the model goes along (algorithms 2.6). */
static void default_range(resolver *r, int form)
{
    static const double low[4] = {0.002, 0, 0.02, 0.002}, high[4] = {80, 0, 100, 81};
    const cm_precond *p = &r->m->precond;
    int karras = form == CM_EDM_STEPS_EDM && (p->kind->any_level || p->kind->bounded);
    double smin = form == CM_EDM_STEPS_VP ? cm_vp_sigma(1e-3, 19.9, 0.1) : low[form];
    double smax = form == CM_EDM_STEPS_VP ? cm_vp_sigma(1, 19.9, 0.1) : high[form];
    int own_min = p->sigma_min > 0 && (p->sets_min || karras || p->kind->bounded);
    if (own_min || smin < p->sigma_min) smin = p->sigma_min;
    if (p->sets_max || karras || (smax > p->sigma_max && !p->kind->any_level)) smax = p->sigma_max;
    r->smin = smin;
    r->smax = smax;
    r->highest = fmax(smax, p->sigma_max);
}

static cm_status resolve_range(resolver *r)
{
    const cm_sample_options *o = r->o;
    double boundary = cm_precond_boundary(&r->m->precond);
    default_range(r, r->method == CM_METHOD_EDM ? o->edm_discretization : CM_EDM_STEPS_EDM);
    if (o->sigma_max > r->highest * (1 + 1e-6))
        CM_FAIL(CM_ERR_ARGUMENT, "option sigma_max is %g; this model's noise levels end at %g", o->sigma_max,
                r->highest);
    if (o->sigma_min > 0 && o->sigma_min < boundary * (1 - 1e-6))
        CM_FAIL(CM_ERR_ARGUMENT, "option sigma_min is %g; this model's noise levels begin at %g", o->sigma_min,
                boundary);
    r->smin = or_default(o->sigma_min, r->smin);
    r->smax = or_default(o->sigma_max, r->smax);
    r->rho = or_default(o->rho, 7);
    if (!(r->smin < r->smax) && (is_ode(r->method) || o->ts))
        CM_FAIL(CM_ERR_ARGUMENT, "sigma_min %g has to be below sigma_max %g", r->smin, r->smax);
    return CM_OK;
}

/* Levels for sigma[0..n-1]. */
static void fill_schedule(const resolver *r, int n, double *sigma)
{
    const double eps_s = 1e-3;
    int form = r->method == CM_METHOD_EDM ? r->o->edm_discretization : CM_EDM_STEPS_EDM;
    double bd, bmin;
    cm_vp_betas(r->smin, r->smax, eps_s, &bd, &bmin);
    for (int i = 0; i < n; i++) {
        double u = n > 1 ? (double)i / (n - 1) : 0;
        if (form == CM_EDM_STEPS_VP) sigma[i] = cm_vp_sigma(1 + u * (eps_s - 1), bd, bmin);
        else if (form == CM_EDM_STEPS_VE) sigma[i] = r->smax * pow(r->smin / r->smax, u);
        else sigma[i] = cm_karras_sigma(i, n, r->smin, r->smax, r->rho);
    }
}

/* EDM's iDDPM discretization: n of the table's levels inside the range. */
static cm_status fill_iddpm(const resolver *r, int n, double *sigma)
{
    enum { M = 1000 };
    double *u = cm_calloc(r->m->context, M + 1, sizeof *u);
    int first = -1, last = -1;
    if (!u) return CM_ERR_MEMORY;
    cm_iddpm_table(M, 0.001, 0.008, u);
    for (int j = 0; j <= M; j++)
        if (u[j] >= r->smin && u[j] <= r->smax) {
            if (first < 0) first = j;
            last = j;
        }
    cm_status status = CM_OK;
    if (first < 0 || last - first + 1 < n)
        status = cm_fail(CM_ERR_ARGUMENT, "the iddpm table has fewer than %d levels between %g and %g", n, r->smin,
                         r->smax);
    for (int i = 0; i < n && status == CM_OK; i++) /* nearbyint: half to even, as the reference rounds */
        sigma[i] = u[first + (n > 1 ? (int)nearbyint((double)(last - first) / (n - 1) * i) : 0)];
    cm_free(r->m->context, u);
    return status;
}

/* --- lists from the caller --------------------------------------------------------------- */

static cm_status check_sigmas(const resolver *r)
{
    const cm_sample_options *o = r->o;
    const cm_precond *p = &r->m->precond;
    double low = cm_precond_boundary(p), high = p->sigma_max;
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

static cm_status check_ts(const resolver *r)
{
    const cm_sample_options *o = r->o;
    if (o->grid < 2 || o->grid > MAX_STEPS)
        CM_FAIL(CM_ERR_ARGUMENT, "option grid is %d; ts are indices into a grid of 2..%d points", o->grid, MAX_STEPS);
    if (o->ts_count < 2)
        CM_FAIL(CM_ERR_ARGUMENT,
                "ts needs at least two entries: the last one only closes the list (0,%d for one step)", o->grid - 1);
    for (size_t i = 0; i < o->ts_count; i++)
        if (o->ts[i] < 0 || o->ts[i] >= o->grid || (i && o->ts[i] <= o->ts[i - 1]))
            CM_FAIL(CM_ERR_ARGUMENT, "ts have to rise strictly within 0..%d: ts[%zu] is %d", o->grid - 1, i,
                    o->ts[i]);
    return CM_OK;
}

/* Whether the file says that the model comes from consistency training, not
 * distillation: the published lists differ. */
static int trained_without_teacher(const cm_model *m)
{
    const char *objective =
        json_string_value(json_object_get(json_object_get(m->file.config, "training"), "objective"));
    return objective && strncmp(objective, "ct", 2) == 0;
}

/* The second level of the published two-step samplers (algorithms 2.3); 0: nothing is published. */
static double published_second(const resolver *r)
{
    const cm_published_level *p = r->m->net.family->two_step;
    while (p && p->side && (p->side != r->m->height || p->side != r->m->width)) p++;
    if (!p || !p->side) return 0;
    if (p->sigma > 0) return p->sigma;
    if (trained_without_teacher(r->m))
        return cm_karras_sigma(p->trained.index, p->trained.count, r->smin, r->smax, 7);
    return cm_karras_sigma(p->distilled.index, p->distilled.count, r->smin, r->smax, 7);
}

static cm_status default_multistep(const resolver *r, double *sigma, int32_t *n)
{
    double second = published_second(r), boundary = cm_precond_boundary(&r->m->precond);
    if (!cm_precond_is_consistency(&r->m->precond) && r->o->steps != 1)
        CM_FAIL(CM_ERR_ARGUMENT, "method multistep on precond %s: give the times as sigmas",
                cm_precond_name(&r->m->precond));
    *n = r->o->steps ? r->o->steps : 2;
    if (*n > 2 || (*n == 2 && !(second > boundary && second < r->smax)))
        CM_FAIL(CM_ERR_ARGUMENT,
                "no default times for %d steps with this model: give them as sigmas, for example sigmas = %g, %g", *n,
                r->smax, r->smax > 1.6 ? 0.8 : r->smax / 2);
    sigma[0] = r->smax;
    sigma[1] = second;
    return CM_OK;
}

static cm_status fill_multistep(resolver *r, double *sigma)
{
    const cm_sample_options *o = r->o;
    cm_solver *s = &r->out->solver;
    s->boundary = s->closing = cm_precond_boundary(&r->m->precond);
    s->start = r->smax;
    if (o->ts) { /* the official form: the driver's start is sigma_max whatever ts[0] says */
        CM_TRY(check_ts(r));
        s->n = (int32_t)o->ts_count - 1;
        for (int i = 0; i < s->n; i++) sigma[i] = cm_karras_sigma(o->ts[i], o->grid, r->smin, r->smax, r->rho);
        double last = cm_karras_sigma(o->ts[s->n], o->grid, r->smin, r->smax, r->rho);
        s->boundary = r->smin;
        s->closing = last > r->smin ? last : r->smin;
        s->final_draw = 1;
        return CM_OK;
    }
    if (o->sigmas) {
        memcpy(sigma, o->sigmas, o->sigma_count * sizeof *sigma);
        s->n = (int32_t)o->sigma_count;
    } else {
        CM_TRY(default_multistep(r, sigma, &s->n));
    }
    s->start = sigma[0];
    return CM_OK;
}

static cm_status fill_ode(resolver *r, double *sigma)
{
    const cm_sample_options *o = r->o;
    cm_solver *s = &r->out->solver;
    int progdist = r->method == CM_METHOD_PROGDIST;
    if (o->sigmas) {
        memcpy(sigma, o->sigmas, o->sigma_count * sizeof *sigma);
        s->n = (int32_t)o->sigma_count - progdist;
        if (s->n < 1) CM_FAIL(CM_ERR_ARGUMENT, "method progdist needs at least two sigmas");
    } else {
        s->n = o->steps ? o->steps : 18;
        if (r->method == CM_METHOD_EDM && o->edm_discretization == CM_EDM_STEPS_IDDPM)
            CM_TRY(fill_iddpm(r, s->n, sigma));
        else fill_schedule(r, s->n + progdist, sigma);
    }
    if (!progdist) sigma[s->n] = 0;
    s->start = sigma[0];
    return CM_OK;
}

static cm_status fill_levels(resolver *r)
{
    const cm_sample_options *o = r->o;
    size_t count = o->sigma_count > o->ts_count ? o->sigma_count : o->ts_count;
    if (count < (size_t)(o->steps ? o->steps : 18)) count = (size_t)(o->steps ? o->steps : 18);
    double *sigma = cm_calloc(r->m->context, count + 2, sizeof *sigma);
    if (!sigma) return CM_ERR_MEMORY;
    r->out->sigma = sigma;
    r->out->solver.sigma = sigma;
    if (o->sigmas) CM_TRY(check_sigmas(r));
    if (r->method == CM_METHOD_MULTISTEP) return fill_multistep(r, sigma);
    if (is_ode(r->method)) return fill_ode(r, sigma);
    if (o->sigma_count > 1)
        CM_FAIL(CM_ERR_ARGUMENT, "method onestep takes one time, found %zu sigmas", o->sigma_count);
    sigma[0] = o->sigmas ? o->sigmas[0] : r->smax;
    r->out->solver.n = 1;
    r->out->solver.start = sigma[0];
    return CM_OK;
}

/* --------------------------------------------------------------------------------------------- */

/* Whatever the options were, the network sees finite levels that fall and that
 * it may be given. */
static cm_status check_levels(const resolver *r)
{
    const cm_solver *s = &r->out->solver;
    int n = s->n + (r->method == CM_METHOD_PROGDIST);
    for (int i = 0; i < n; i++) {
        if (!(s->sigma[i] >= LEAST_LEVEL && s->sigma[i] <= r->highest * (1 + 1e-6)))
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
static cm_status check_churn(const resolver *r)
{
    const cm_solver *s = &r->out->solver;
    double gamma = fmin(s->s_churn / s->n, sqrt(2.0) - 1), grown = (1 + gamma) * (1 + gamma) - 1;
    for (int i = 0; s->s_churn > 0 && i < s->n; i++) {
        double sigma = s->sigma[i], raised = sigma * sqrt(1 + s->s_noise * s->s_noise * grown);
        if (sigma >= s->s_tmin && sigma <= s->s_tmax && raised > 2 * r->highest)
            CM_FAIL(CM_ERR_ARGUMENT,
                    "options s_churn and s_noise raise the level %g to %g; this model's end at %g (s_tmax bounds the "
                    "levels that are raised)",
                    sigma, raised, r->highest);
    }
    return CM_OK;
}

static void fill_rest(const resolver *r)
{
    const cm_sample_options *o = r->o;
    const cm_precond *p = &r->m->precond;
    cm_solver *s = &r->out->solver;
    /* [CM] clamps estimates; EDM's sampler and ECT's models do not. */
    int clip = r->method != CM_METHOD_EDM && p->kind->clip;
    s->method = r->method;
    s->clip = o->clip_denoised ? o->clip_denoised == CM_CLIP_YES : clip;
    s->s_churn = o->s_churn;
    s->s_tmin = o->s_tmin;
    s->s_tmax = or_default(o->s_tmax, INFINITY);
    s->s_noise = or_default(o->s_noise, 1);
    s->edm.schedule = o->edm_schedule;
    s->edm.scaling = o->edm_scaling;
    s->edm.solver = o->edm_solver;
    s->edm.alpha = or_default(o->edm_alpha, 1);
    cm_vp_betas(r->smin, r->smax, 1e-3, &s->edm.beta_d, &s->edm.beta_min);
    if (p->table) {
        s->edm.levels = p->table;
        s->edm.M = p->M;
    }
    r->out->draws = draws_noise(r->method) ? s->n : 0;
    if (r->method == CM_METHOD_MULTISTEP && !s->final_draw) r->out->draws = s->n - 1;
}

static cm_status resolve(resolver *r)
{
    int32_t method = r->o->method;
    if (method < 0 || method > CM_METHOD_PROGDIST)
        CM_FAIL(CM_ERR_ARGUMENT, "option method is %d, expected 0..%d", method, CM_METHOD_PROGDIST);
    if (r->m->precond.kind->raw)
        CM_FAIL(CM_ERR_UNSUPPORTED, "a model with precond none cannot be sampled from: say how its output is meant");
    if (method == CM_METHOD_DEFAULT) {
        method = cm_precond_is_consistency(&r->m->precond) ? CM_METHOD_ONESTEP : CM_METHOD_HEUN;
        if (method == CM_METHOD_ONESTEP && (r->o->ts || r->o->sigma_count > 1 || r->o->steps > 1))
            method = CM_METHOD_MULTISTEP;
    }
    r->method = method;
    CM_TRY(check_ranges(r));
    CM_TRY(check_grid_options(r));
    CM_TRY(check_method_options(r));
    CM_TRY(resolve_range(r));
    CM_TRY(fill_levels(r));
    CM_TRY(check_levels(r));
    fill_rest(r);
    return check_churn(r);
}

cm_status cm_times_resolve(const cm_model *model, const cm_sample_options *options, cm_times *out)
{
    resolver r = {model, options, out, 0, 0, 0, 0, 0};
    memset(out, 0, sizeof *out);
    cm_status status = resolve(&r);
    if (status != CM_OK) cm_times_release(model, out);
    return status;
}

void cm_times_release(const cm_model *model, cm_times *times)
{
    cm_free(model->context, times->sigma);
    times->sigma = NULL;
}
