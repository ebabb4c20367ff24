/* option_checks.c - sample options out of their range, and those that the method does not read. */
#include <math.h>

#include "diffusion/condition.h"
#include "diffusion/resolver.h"

static cm_status no_effect(const cm_resolver *r, const char *option, const char *why)
{
    CM_FAIL(CM_ERR_ARGUMENT, "option %s has no effect %s method %s", option, why, r->method->name);
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
cm_status cmi_times_check_schedule(const cm_sample_options *o)
{
    CM_TRY(check_number("rho", o->rho, 0.5, 1000));
    CM_TRY(check_number("sigma_min", o->sigma_min, CM_LEAST_LEVEL, CM_MOST_LEVEL));
    CM_TRY(check_number("sigma_max", o->sigma_max, CM_LEAST_LEVEL, CM_MOST_LEVEL));
    if (o->steps < 0 || o->steps > CM_MAX_STEPS)
        CM_FAIL(CM_ERR_ARGUMENT, "option steps is %d, expected 1..%d or 0 for the default", o->steps, CM_MAX_STEPS);
    return CM_OK;
}

/* Ranges that hold for every method. */
cm_status cmi_options_check_ranges(const cm_resolver *r)
{
    const cm_sample_options *o = r->o;
    CM_TRY(cmi_times_check_schedule(o));
    CM_TRY(check_number("s_churn", o->s_churn, 0, 1e9));
    CM_TRY(check_number("s_tmin", o->s_tmin, 0, CM_MOST_LEVEL));
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
    CM_TRY(check_choice("dpmpp_form", o->dpmpp_form, CM_DPMPP_TAYLOR));
    CM_TRY(check_choice("dpmpp_end", o->dpmpp_end, CM_DPMPP_FULL));
    if (o->dpmpp_order < 0 || o->dpmpp_order > 3)
        CM_FAIL(CM_ERR_ARGUMENT, "option dpmpp_order is %d, expected 1..3 or 0 for the default", o->dpmpp_order);
    CM_TRY(check_number("rk45_rtol", o->rk45_rtol, 1e-10, 1));
    CM_TRY(check_number("rk45_atol", o->rk45_atol, 1e-10, 1));
    CM_TRY(check_number("pc_snr", o->pc_snr, 1e-6, 10));
    CM_TRY(check_number("temperature", o->temperature, 0.1, 2));
    if (o->rk45_max_nfe != 0 && (o->rk45_max_nfe < 8 || o->rk45_max_nfe > CM_MAX_STEPS))
        CM_FAIL(CM_ERR_ARGUMENT, "option rk45_max_nfe is %d, expected 8..%d or 0 for the default", o->rk45_max_nfe,
                CM_MAX_STEPS);
    if (o->pc_corrections < 0 || o->pc_corrections > 100)
        CM_FAIL(CM_ERR_ARGUMENT, "option pc_corrections is %d, expected 1..100 or 0 for the default",
                o->pc_corrections);
    if ((o->sigmas == NULL) != (o->sigma_count == 0))
        CM_FAIL(CM_ERR_ARGUMENT, "options sigmas and sigma_count have to be given together");
    if ((o->ts == NULL) != (o->ts_count == 0))
        CM_FAIL(CM_ERR_ARGUMENT, "options ts and ts_count have to be given together");
    if (o->sigma_count > CM_MAX_STEPS)
        CM_FAIL(CM_ERR_LIMIT, "option sigma_count is %zu, at most %d", o->sigma_count, CM_MAX_STEPS);
    if (o->ts_count > CM_MAX_STEPS)
        CM_FAIL(CM_ERR_LIMIT, "option ts_count is %zu, at most %d", o->ts_count, CM_MAX_STEPS);
    if (o->sigmas && o->ts) CM_FAIL(CM_ERR_ARGUMENT, "options sigmas and ts say the same: give one of them");
    return CM_OK;
}

/* Whether an option is set to something else than what holds anyway. */
static int changes(double given, double default_value)
{
    return given > 0 && given != default_value;
}

static cm_status check_grid_options(const cm_resolver *r)
{
    const cm_sample_options *o = r->o;
    const cm_precond *p = &r->m->precond;
    int scheduled = cmi_resolver_scheduled(r) && !o->sigmas;
    int range = r->method->levels == CM_LEVEL_RULE_RANGE;
    int karras = o->ts || (scheduled && !range && cmi_resolver_form(r) == CM_EDM_STEPS_EDM);
    if (o->ts && !(r->method->reads & CM_READS_TS)) return no_effect(r, "ts", "on");
    if (o->grid && !o->ts) return no_effect(r, "grid", "without ts on");
    if (scheduled && changes(o->sigma_min, p->sigma_min) && cmi_resolver_by_flow_times(r))
        return no_effect(r, "sigma_min", "without a rho on");
    if (o->steps && range) return no_effect(r, "steps", "on");
    if (o->steps && o->sigmas && (size_t)o->steps != o->sigma_count) return no_effect(r, "steps", "beside sigmas on");
    if (o->steps && ((r->method->levels == CM_LEVEL_RULE_ONE && o->steps > 1) || o->ts))
        return no_effect(r, "steps", "on");
    if (changes(o->rho, 7) && !karras) return no_effect(r, "rho", "without a Karras grid on");
    if (changes(o->sigma_min, p->sigma_min) && !o->ts && !scheduled)
        return no_effect(r, "sigma_min", "without a schedule on");
    if (changes(o->sigma_max, p->sigma_max) && o->sigmas) return no_effect(r, "sigma_max", "beside sigmas on");
    return CM_OK;
}

static cm_status check_method_options(const cm_resolver *r)
{
    const cm_sample_options *o = r->o;
    int churn = o->s_churn > 0;
    int shaped = o->s_tmin > 0 || changes(o->s_tmax, INFINITY) || changes(o->s_noise, 1);
    if (churn && !(r->method->reads & CM_READS_CHURN)) return no_effect(r, "s_churn", "on");
    if (shaped && !churn) return no_effect(r, "s_tmin, s_tmax or s_noise", "without s_churn on");
    int edm = o->edm_discretization || o->edm_schedule || o->edm_scaling || o->edm_solver || changes(o->edm_alpha, 1);
    if (edm && !(r->method->reads & CM_READS_EDM)) return no_effect(r, "edm_*", "on");
    if ((o->dpmpp_order || o->dpmpp_form || o->dpmpp_end) && !(r->method->reads & CM_READS_DPMPP))
        return no_effect(r, "dpmpp_*", "on");
    if ((o->rk45_rtol > 0 || o->rk45_atol > 0 || o->rk45_max_nfe) && !(r->method->reads & CM_READS_RK45))
        return no_effect(r, "rk45_*", "on");
    if ((o->pc_snr > 0 || o->pc_corrections) && !(r->method->reads & CM_READS_PC)) return no_effect(r, "pc_*", "on");
    if (o->step && r->method->levels == CM_LEVEL_RULE_RANGE)
        return no_effect(r, "step", "(each image is at a level of its own) on");
    if (changes(o->edm_alpha, 1) && o->edm_solver == CM_EDM_SOLVER_EULER)
        return no_effect(r, "edm_alpha", "with Euler on");
    if (o->edm_discretization && o->sigmas) return no_effect(r, "edm_discretization", "beside sigmas on");
    if (o->step_noise && !r->method->draws) return no_effect(r, "step_noise", "on");
    if (o->noise_source != CM_NOISE_TORCH_INDIV && o->num_samples) return no_effect(r, "num_samples", "on");
    return CM_OK;
}

cm_status cmi_options_check_effects(const cm_resolver *r)
{
    CM_TRY(check_grid_options(r));
    return check_method_options(r);
}

/* A form that no step has, and an end that is as the other. */
cm_status cmi_options_check_orders(const cm_resolver *r)
{
    const cm_solver *s = &r->out->solver;
    int second = 0;
    if (s->dpmpp.order > s->n)
        CM_FAIL(CM_ERR_ARGUMENT,
                "option dpmpp_order is %d, but the run has %d step%s; a step of order q needs q - 1 "
                "before it",
                s->dpmpp.order, s->n, s->n == 1 ? "" : "s");
    for (int32_t step = 1; step <= s->n; step++) second |= cmi_dpmpp_order_at(s, step) == 2;
    if (r->o->dpmpp_form && !second) return no_effect(r, "dpmpp_form", "without a step of order 2 on");
    if (s->dpmpp.full && s->dpmpp.order == 1) return no_effect(r, "dpmpp_end", "with order 1 on");
    return CM_OK;
}

cm_status cmi_options_check_randomness(const cm_resolver *r)
{
    const cm_sample_options *o = r->o;
    const int32_t draws = cmi_solver_draws(&r->out->solver);
    CM_TRY(check_choice("noise_source", o->noise_source, CM_NOISE_TORCH_INDIV));
    if (o->noise_source == CM_NOISE_TORCH_INDIV && !o->num_samples)
        CM_FAIL(CM_ERR_ARGUMENT, "noise_source TORCH_INDIV needs num_samples, the images of the whole job");
    if (o->noise_source == CM_NOISE_TORCH_INDIV && r->m->net.num_classes && !cmi_condition_labels(o))
        CM_FAIL(CM_ERR_ARGUMENT, "noise_source TORCH_INDIV does not draw labels: give them");
    if ((o->step_noise == NULL) != (o->noise_steps == 0))
        CM_FAIL(CM_ERR_ARGUMENT, "step_noise and noise_steps have to be given together");
    if (o->step_noise && o->noise_steps < (size_t)draws)
        CM_FAIL(CM_ERR_ARGUMENT, "step_noise has %zu draws, this run makes %d", o->noise_steps, draws);
    return CM_OK;
}
