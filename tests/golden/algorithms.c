/* algorithms.c - golden/algorithms: schedules, samplers, EDM's samplers,
 * torch's random stream and the search for a time point.  State and toy network are in double here, so the
 * rule for double implementations holds: 1e-11 s + 1e-13. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <consistency/metrics.h>

#include "base/torch_rng.h"
#include "diffusion/method.h"
#include "diffusion/model.h"
#include "diffusion/schedule.h"
#include "diffusion/times.h"
#include "diffusion/weighting.h"
#include "golden.h"
#include "toy.h"

/* --- schedules ------------------------------------------------------------------------------ */

static void check_karras(const golden_file *f, golden_result *r)
{
    static const char *const known[] = {"i", "n", "sigma_min", "sigma_max", "rho", "max_abs_f32_f64", NULL};
    json_t *cases = golden_json(f, "karras_cases"), *c;
    size_t k;
    json_array_foreach(cases, k, c)
    {
        char name[64];
        golden_members(r, "karras_cases", c, known);
        int n = (int)json_integer_value(json_object_get(c, "n"));
        double *sigma = calloc((size_t)n + 1, sizeof *sigma);
        for (int j = 0; j < n; j++)
            sigma[j] = cmi_karras_sigma(j, n, json_number_value(json_object_get(c, "sigma_min")),
                                        json_number_value(json_object_get(c, "sigma_max")),
                                        json_number_value(json_object_get(c, "rho")));
        (void)snprintf(name, sizeof name, "karras.%d", (int)json_integer_value(json_object_get(c, "i")));
        golden_compare_with(f, r, name, (size_t)n + 1, sigma);
        free(sigma);
    }
    json_decref(cases);
}

/* Pairs t(i), t(i+1) of N points; progressive distillation's t, t - 1/2, t - 1
 * of N intervals. */
static void check_points(const golden_file *f, golden_result *r, const char *form, double first, int points, int n)
{
    char name[64];
    double *t = calloc((size_t)n, sizeof *t);
    for (int i = 0; i < n; i++) t[i] = cmi_karras_sigma(i + first, points, 0.002, 80, 7);
    (void)snprintf(name, sizeof name, "%s", form);
    golden_compare_with(f, r, name, (size_t)n, t);
    free(t);
}

static void check_scales(const golden_file *f, golden_result *r)
{
    json_t *scales = golden_json(f, "cm_scales"), *v;
    size_t k, there = 0;
    for (size_t i = 0; i < f->st.count; i++)
        there += strncmp(f->st.tensors[i].name, "cm_t.", 5) == 0 && !strstr(f->st.tensors[i].name, ".f64");
    if (there != json_array_size(scales))
        golden_fail(r, "cm_scales has %zu of %zu tables", json_array_size(scales), there);
    json_array_foreach(scales, k, v)
    {
        char name[64];
        int n = (int)json_integer_value(v);
        for (size_t i = 0; i < k; i++)
            if (json_integer_value(json_array_get(scales, i)) == n) golden_fail(r, "cm_scales has %d twice", n);
        static const struct {
            const char *name;
            double first;
            int progressive;
        } forms[] = {{"cm_t", 0, 0}, {"cm_t2", 1, 0}, {"pd_t", 0, 1}, {"pd_t2", 0.5, 1}, {"pd_t3", 1, 1}};
        for (size_t i = 0; i < 5; i++) {
            (void)snprintf(name, sizeof name, "%s.%d", forms[i].name, n);
            if (cmi_tensors_find(&f->st, name))
                check_points(f, r, name, forms[i].first, n + forms[i].progressive, n - 1 + forms[i].progressive);
        }
    }
    json_decref(scales);
}

static void check_scalings(const golden_file *f, golden_result *r, const double *sigma, size_t n, const char *type)
{
    char name[64];
    cm_precond p;
    json_t *config = json_pack("{s:s,s:s}", "type", type, "time", "250ln");
    double *v[4];
    for (int k = 0; k < 4; k++) v[k] = calloc(n, sizeof(double));
    if (cmi_precond_read(f->context, config, 1, &p) != CM_OK) golden_fail(r, "%s", cm_last_message());
    for (size_t i = 0; i < n; i++) {
        cm_scalings s = cmi_precond_scalings(&p, sigma[i]);
        v[0][i] = s.c_skip, v[1][i] = s.c_out, v[2][i] = s.c_in, v[3][i] = s.c_noise;
    }
    static const char *const members[] = {"c_skip", "c_out", "c_in"};
    for (int k = 0; k < 3; k++) {
        (void)snprintf(name, sizeof name, "scal_%s.%s", type, members[k]);
        golden_compare_with(f, r, name, n, v[k]);
    }
    golden_compare_with(f, r, "rescaled_t", n, v[3]);
    for (int k = 0; k < 4; k++) free(v[k]);
    json_decref(config);
}

static void check_weights(const golden_file *f, golden_result *r, const double *sigma, size_t n)
{
    static const char *const names[] = {"uniform", "snr", "snr+1", "karras", "truncated-snr"};
    double *w = calloc(n, sizeof *w);
    for (size_t k = 0; k < 5; k++) {
        char name[64];
        int kind = golden_weighting(names[k]);
        for (size_t i = 0; i < n; i++) w[i] = cmi_weight((cm_loss_weighting)kind, sigma[i], 0.5);
        (void)snprintf(name, sizeof name, "weight.%s", names[k]);
        golden_compare_with(f, r, name, n, w);
    }
    free(w);
}

static double member(const golden_file *f, golden_result *r, const char *object, const char *key)
{
    static const char *const known[] = {"beta_d", "beta_min", "epsilon_t", "sigma_min", "sigma_max", NULL};
    json_t *o = golden_json(f, object);
    double v = json_number_value(json_object_get(o, key));
    golden_members(r, object, o, known);
    json_decref(o);
    return v;
}

/* u runs from sigma_max: t = 1 + u (epsilon_t - 1), as EDM's losses draw it. */
static void check_families(const golden_file *f, golden_result *r)
{
    size_t n = 0, m = 0;
    double *u = golden_read(f, "vp.u", &n), *level = golden_read(f, "vp.sigma", NULL), *v = calloc(n + 1, sizeof *v);
    double bd = member(f, r, "vp", "beta_d"), bmin = member(f, r, "vp", "beta_min"),
           eps = member(f, r, "vp", "epsilon_t");
    for (size_t i = 0; u && i < n; i++) v[i] = cmi_vp_sigma(1 + u[i] * (eps - 1), bd, bmin);
    if (u && level) golden_compare_with(f, r, "vp.sigma", n, v);
    for (size_t i = 0; u && i < n; i++)
        v[i] = cmi_ve_sigma(u[i], member(f, r, "ve", "sigma_min"), member(f, r, "ve", "sigma_max"));
    if (u) golden_compare_with(f, r, "ve.sigma", n, v);
    double *of_t = golden_read(f, "vp.sigma_of_t", &m);
    for (size_t i = 0; of_t && i < m; i++) { /* at the inner points u[1..]; and the inverse gives them back */
        double t = cmi_vp_sigma_inverse(of_t[i], bd, bmin);
        golden_compare(r, "vp.sigma_of_t", fabs(cmi_vp_sigma(u ? u[i + 1] : t, bd, bmin) - of_t[i]),
                       1e-11 * of_t[m - 1]);
        golden_compare(r, "vp inverse", fabs(t - (u ? u[i + 1] : t)), 1e-11);
    }
    free(u);
    free(level);
    free(of_t);
    free(v);
    double *from = golden_read(f, "anc.from", &n), *to = golden_read(f, "anc.to", NULL);
    double *down = calloc(n + 1, sizeof *down), *up = calloc(n + 1, sizeof *up);
    for (size_t i = 0; from && to && i < n; i++) cmi_ancestral_split(from[i], to[i], &down[i], &up[i]);
    if (from && to) {
        golden_compare_with(f, r, "anc.down", n, down);
        golden_compare_with(f, r, "anc.up", n, up);
    }
    free(from);
    free(to);
    free(down);
    free(up);
}

static void run_schedules(golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *sigma = golden_read(f, "sigma_grid", &n);
    check_karras(f, r);
    check_scales(f, r);
    if (sigma) {
        check_scalings(f, r, sigma, n, "edm");
        check_scalings(f, r, sigma, n, "cm");
        check_weights(f, r, sigma, n);
    }
    check_families(f, r);
    free(sigma);
}

/* --- runs of the toy network ------------------------------------------------------------------------ */

static void toy_run(toy *t, golden_result *r, const cm_sample_options *o, size_t n, double *x, const double *want,
                    int clamp)
{
    cm_times times;
    double *work = calloc(n, CM_SOLVER_WORK * sizeof *work);
    if (cmi_times_resolve(t->model, o, &times) != CM_OK) {
        golden_fail(r, "%s", cm_last_message());
        free(work);
        return;
    }
    const cm_solver_io io = {.user = t, .n = n, .denoise = toy_on_denoise, .noise = toy_on_noise};
    if (cmi_solver_run(&times.solver, &io, x, work) != CM_OK) golden_fail(r, "%s", cm_last_message());
    if (t->seen != t->evals || (size_t)cmi_solver_nfe(&times.solver) != t->evals)
        golden_fail(r, "%zu evaluations (nfe says %d), the reference made %zu", t->seen,
                    cmi_solver_nfe(&times.solver), t->evals);
    for (size_t i = 0; clamp && i < n; i++) x[i] = x[i] < -1 ? -1 : x[i] > 1 ? 1 : x[i];
    golden_compare_double(r, "sample", n, x, want);
    cmi_times_release(t->model, &times);
    free(work);
}

/* --- samplers of the consistency code ---------------------------------------------------------------- */

static int method_of(const char *name)
{
    static const char *const names[] = {"onestep",   "multistep", "heun", "euler",
                                        "ancestral", "dpm",       "edm",  "progdist"};
    for (int i = 0; i < 8; i++)
        if (name && strcmp(name, names[i]) == 0) return i + 1;
    return -1;
}

static void run_sampler(golden_file *f, golden_result *r)
{
    toy t;
    cm_model m;
    cm_sample_options o;
    int32_t ts[4096];
    size_t n;
    double *start = NULL, *want = NULL;
    cm_sample_options_init(&o, sizeof o);
    json_t *sampler = golden_json(f, "sampler"), *list = golden_json(f, "ts"), *v;
    double churn[4] = {golden_number(f, "s_churn", 0), golden_number(f, "s_tmin", 0),
                       golden_number(f, "s_tmax", INFINITY), golden_number(f, "s_noise", 1)};
    double steps = golden_number(f, "steps", 0), rho = golden_number(f, "rho", 7);
    golden_says(f, r, "toy", "F=a*x+b*tanh(Mx+tscale*c*u+v+E[y]), c=250*ln(sigma)");
    o.method = method_of(json_string_value(sampler));
    o.clip_denoised = golden_number(f, "clip_denoised", 1) != 0 ? CM_CLIP_YES : CM_CLIP_NO;
    if (o.method != CM_METHOD_ONESTEP && o.method != CM_METHOD_MULTISTEP) o.steps = (int32_t)steps;
    if (o.method == CM_METHOD_MULTISTEP) {
        o.grid = (int32_t)steps;
        json_array_foreach(list, o.ts_count, v) if (o.ts_count < 4096) ts[o.ts_count] =
            (int32_t)json_integer_value(v);
        o.ts = ts;
    } else if (json_array_size(list)) golden_fail(r, "ts have no effect on this sampler");
    if (o.method != CM_METHOD_ONESTEP) o.rho = rho;
    /* The official Euler and ancestral samplers take these and ignore them. */
    if (o.method == CM_METHOD_HEUN || o.method == CM_METHOD_DPM) o.s_churn = churn[0];
    if (o.s_churn > 0) o.s_tmin = churn[1], o.s_tmax = churn[2], o.s_noise = churn[3];
    if (o.method < 0 || !toy_open(f, r, &t, &m, golden_number(f, "distillation", 0) != 0, 0, &start, &want, &n))
        golden_fail(r, "a sampler file without the expected tensors and metadata");
    else {
        toy_run(&t, r, &o, n, start, want, 1);
        golden_agrees(f, r, "n_evals", (double)t.evals);
        golden_agrees(f, r, "noise_draws", (double)t.draws + 1); /* the start's is one of them */
    }
    toy_close(&t, start, want);
    json_decref(sampler);
    json_decref(list);
}

static double keyword(const json_t *kwargs, const char *name, double fallback)
{
    const json_t *v = json_object_get(kwargs, name);
    return v ? golden_value(v) : fallback;
}

static int choice(golden_result *r, const json_t *kwargs, const char *name, const char *const *values)
{
    const char *text = json_string_value(json_object_get(kwargs, name));
    for (int i = 0; text && values[i]; i++)
        if (strcmp(text, values[i]) == 0) return i;
    if (text) golden_fail(r, "%s is '%.40s'", name, text);
    return 0;
}

static void run_edm(golden_file *f, golden_result *r)
{
    static const char *const steps[] = {"edm", "vp", "ve", "iddpm", NULL}, *const schedules[] = {"linear", "vp", "ve",
                                                                                                 NULL};
    static const char *const scalings[] = {"none", "vp", NULL}, *const solvers[] = {"heun", "euler", NULL};
    static const char *const known[] = {
        "num_steps", "discretization", "schedule", "scaling", "solver", "alpha",   "rho",
        "sigma_min", "sigma_max",      "S_churn",  "S_min",   "S_max",  "S_noise", NULL};
    toy t;
    cm_model m;
    cm_sample_options o;
    size_t n;
    double *start = NULL, *want = NULL;
    json_t *k = golden_json(f, "kwargs");
    const char *function = golden_metadata(f, "function");
    golden_members(r, "kwargs", k, known);
    if (function && strcmp(function, "edm_sampler") != 0 && strcmp(function, "ablation_sampler") != 0)
        golden_fail(r, "function is '%s'", function);
    cm_sample_options_init(&o, sizeof o);
    o.method = CM_METHOD_EDM;
    double steps_given = keyword(k, "num_steps", 18);
    if (!(steps_given >= 1)) golden_fail(r, "num_steps is no number");
    o.steps = steps_given >= 1 ? (int32_t)steps_given : 1;
    o.edm_discretization = choice(r, k, "discretization", steps);
    o.edm_schedule = choice(r, k, "schedule", schedules);
    o.edm_scaling = choice(r, k, "scaling", scalings);
    o.edm_solver = choice(r, k, "solver", solvers);
    o.edm_alpha = keyword(k, "alpha", 0);
    o.rho = keyword(k, "rho", 0);
    o.sigma_min = keyword(k, "sigma_min", 0);
    o.sigma_max = keyword(k, "sigma_max", 0);
    o.s_churn = keyword(k, "S_churn", 0);
    if (o.s_churn > 0) {
        o.s_tmin = keyword(k, "S_min", 0);
        o.s_tmax = keyword(k, "S_max", INFINITY);
        o.s_noise = keyword(k, "S_noise", 1);
    }
    if (!json_is_object(k) || !toy_open(f, r, &t, &m, 0, 1, &start, &want, &n))
        golden_fail(r, "an edm file without the expected tensors and metadata");
    else {
        /* The reference's network has levels without end. */
        if (o.sigma_max > m.precond.sigma_max) m.precond.sigma_max = o.sigma_max;
        toy_run(&t, r, &o, n, start, want, 0);
        golden_agrees(f, r, "n_evals", (double)t.evals);
    }
    toy_close(&t, start, want);
    json_decref(k);
}

/* --- DPM-Solver++ ---------------------------------------------------------------------------------------- */

/* The states on the way: all of up to 5 steps, else 0, 1, 2, 3, N/2, N-2, N-1, N. */
typedef struct {
    const toy *t;
    double *states; /* (N + 1) x n */
    size_t n;
} traced;

static cm_status on_traced(void *user, int evaluation, double sigma, const double *x, double *out)
{
    traced *p = user;
    memcpy(p->states + (size_t)evaluation * p->n, x, p->n * sizeof *x);
    return toy_on_denoise((void *)(uintptr_t)p->t, evaluation, sigma, x, out);
}

/* ORDERm.nSTEPS.END.FORM */
static void dpmpp_case(const golden_file *f, golden_result *r, toy *t, const char *prefix, double scale)
{
    char end[16] = "", form[16] = "", name[96];
    int order, steps;
    cm_sample_options o;
    cm_times times;
    size_t n = 3 * t->images * t->pixels;
    cm_sample_options_init(&o, sizeof o);
    if (sscanf(prefix, "%dm.n%d.%15[^.].%15s", &order, &steps, end, form) != 4 || steps < 1 || steps > 4096) {
        golden_fail(r, "'%s' is no case", prefix);
        return;
    }
    o.method = CM_METHOD_DPMPP, o.steps = steps, o.dpmpp_order = order;
    o.dpmpp_end = strcmp(end, "lof") != 0, o.dpmpp_form = strcmp(form, "dpmsolver") != 0;
    o.sigma_min = golden_number(f, "t_min", 0), o.sigma_max = golden_number(f, "t_max", 0);
    if (order == 1) o.dpmpp_end = o.dpmpp_form = 0; /* the same in all forms */
    if ((strcmp(end, "lof") && strcmp(end, "full")) || (strcmp(form, "dpmsolver") && strcmp(form, "taylor")) ||
        cmi_times_resolve(t->model, &o, &times) != CM_OK) {
        golden_fail(r, "%s: %s", prefix, cm_last_message());
        return;
    }
    double *work = calloc(n, CM_SOLVER_WORK * sizeof *work),
           *states = calloc((size_t)(steps + 1) * n, sizeof *states);
    double *x = golden_read(f, "x_T", NULL), *shown = calloc(8 * n, sizeof *shown);
    traced p = {t, states, n};
    const cm_solver_io io = {.user = &p, .n = n, .denoise = on_traced};
    for (size_t i = 0; i < n; i++) x[i] /= scale;
    if (cmi_solver_run(&times.solver, &io, x, work) != CM_OK) golden_fail(r, "%s", cm_last_message());
    memcpy(states + (size_t)steps * n, x, n * sizeof *x);
    const int few = steps <= 5, count = few ? steps + 1 : 8;
    const int at[8] = {0, 1, 2, 3, steps / 2, steps - 2, steps - 1, steps};
    for (int k = 0; k < count; k++)
        memcpy(shown + (size_t)k * n, states + (size_t)(few ? k : at[k]) * n, n * sizeof *x);
    (void)snprintf(name, sizeof name, "%s.t", prefix);
    golden_compare_with(f, r, name, (size_t)steps + 1, times.solver.sigma);
    (void)snprintf(name, sizeof name, "%s.traj", prefix);
    golden_compare_with(f, r, name, (size_t)count * n, shown);
    (void)snprintf(name, sizeof name, "%s.x", prefix);
    golden_compare_with(f, r, name, n, x);
    if (cmi_solver_nfe(&times.solver) != steps) golden_fail(r, "%s: %d evaluations", prefix, steps);
    cmi_times_release(t->model, &times);
    free(work), free(states), free(x), free(shown);
}

/* Value by value: relative to each. */
static void check_phi(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *h = golden_read(f, "phi.h.f64", &n);
    for (int k = 1; k <= 3; k++) {
        char name[16];
        (void)snprintf(name, sizeof name, "phi.%d.f64", k);
        double *want = golden_read(f, name, NULL);
        for (size_t i = 0; h && want && i < n; i++)
            golden_compare(r, name, fabs(cmi_dpmpp_phi(k, h[i]) / want[i] - 1), 4e-15);
        if (!h || !want) golden_fail(r, "no %s", name);
        free(want);
    }
    free(h);
}

static void run_dpmpp(golden_file *f, golden_result *r)
{
    toy t;
    cm_model m;
    golden_says(f, r, "names", "{order}m.n{steps}.{lof = lower_order_final | full}.{solver_type}");
    golden_says(f, r, "start", "x_T * (t_max/80)");
    golden_says(f, r, "traj", "all states for N <= 5, else states 0,1,2,3,N/2,N-2,N-1,N");
    golden_says(f, r, "phi", "phi.1 = expm1(-h), phi.2 = phi.1/h + 1, phi.3 = phi.2/h - 1/2, correctly rounded");
    if (!toy_weights_of(f, r, &t, &m, "teacher", "edm", 0, cmi_tensors_find(&f->st, "x_T"))) {
        golden_fail(r, "no teacher or no x_T");
    } else {
        m.precond.sigma_data = golden_number(f, "sigma_data", 0.5);
        m.precond.sigma_max = golden_number(f, "t_max", 80);
        m.precond.sigma_min = golden_number(f, "t_min", 0.002);
        for (size_t i = 0; i < f->st.count; i++) {
            const char *name = f->st.tensors[i].name;
            char prefix[64];
            size_t length = strlen(name);
            if (length < 3 || length > 60 || strcmp(name + length - 2, ".t") != 0) continue;
            (void)snprintf(prefix, sizeof prefix, "%.*s", (int)length - 2, name);
            dpmpp_case(f, r, &t, prefix, 80);
        }
    }
    check_phi(f, r);
    toy_close(&t, NULL, NULL);
}

/* --- torch's stream ------------------------------------------------------------------------------------ */

static void check_values(golden_result *r, const char *name, size_t n, const float *got, const double *want,
                         double tol)
{
    for (size_t i = 0; i < n; i++) golden_compare(r, name, fabs((double)got[i] - want[i]), tol);
}

/* KIND.SEED.REST */
static int split_name(const char *name, char *kind, size_t size, uint64_t *seed, const char **rest)
{
    const char *dot = strchr(name, '.');
    char *end;
    if (!dot || (size_t)(dot - name) >= size) return 0;
    memcpy(kind, name, (size_t)(dot - name));
    kind[dot - name] = '\0';
    *seed = strtoull(dot + 1, &end, 10);
    *rest = *end == '.' ? end + 1 : end;
    return end != dot + 1;
}

static void check_stream(const golden_file *f, golden_result *r, const cm_tensor *t, const char *kind, uint64_t seed,
                         const char *rest)
{
    size_t n = t->count;
    double *want = golden_read(f, t->name, NULL), *wide = calloc(n, sizeof *wide);
    float *got = calloc(n, sizeof *got);
    cm_torch_rng rng;
    cmi_torch_seed(&rng, seed);
    if (strcmp(kind, "randn") == 0 || (strncmp(kind, "randn_", 6) == 0 && *rest == 'a')) {
        cmi_torch_normal(&rng, n, got);
        check_values(r, t->name, n, got, want, 1e-6);
    } else if (strncmp(kind, "randn_", 6) == 0 && *rest == 'b') { /* the second draw of the same size */
        cmi_torch_normal(&rng, n, got);
        cmi_torch_normal(&rng, n, got);
        check_values(r, t->name, n, got, want, 1e-6);
    } else if (strcmp(kind, "rand") == 0) {
        cmi_torch_uniform(&rng, n, got);
        check_values(r, t->name, n, got, want, 0);
    } else if (strncmp(kind, "randint", 7) == 0) {
        for (size_t i = 0; i < n; i++)
            golden_compare(r, t->name, fabs((double)cmi_torch_below(&rng, 1000) - want[i]), 0);
    } else if (strcmp(kind, "randn64") == 0) {
        cmi_torch_normal64(&rng, n, wide);
        for (size_t i = 0; i < n; i++) golden_compare(r, t->name, fabs(wide[i] - want[i]), 1e-6);
    } else {
        golden_fail(r, "%s: unknown kind of draw", t->name);
    }
    free(want);
    free(wide);
    free(got);
}

/* determ-indiv: generator i seeded i + num_samples seed; determ: one generator,
 * every draw num_samples tensors; [sample, draw, ...], in batches of any size. */
static void check_determ(const golden_file *f, golden_result *r, const cm_tensor *t, int indiv)
{
    const char *note = golden_metadata(f, "note"), *at = note ? strstr(note, "seed=") : NULL;
    const char *many = note ? strstr(note, "num_samples=") : NULL;
    const uint64_t seed = at ? strtoull(at + 5, NULL, 10) : 42, samples = (uint64_t)t->shape[0];
    if (many && strtoull(many + 12, NULL, 10) != samples)
        golden_fail(r, "%s has %zu samples", t->name, (size_t)samples);
    size_t draws = (size_t)t->shape[1], size = t->count / (samples * draws);
    double *want = golden_read(f, t->name, NULL);
    float *got = calloc(samples * size, sizeof *got);
    cm_torch_rng rng;
    for (size_t i = 0; indiv && i < samples; i++) {
        cmi_torch_seed(&rng, i + samples * seed);
        for (size_t d = 0; d < draws; d++) {
            cmi_torch_normal(&rng, size, got);
            check_values(r, t->name, size, got, want + (i * draws + d) * size, 1e-6);
        }
    }
    cmi_torch_seed(&rng, seed);
    for (size_t d = 0; !indiv && d < draws; d++) {
        cmi_torch_normal(&rng, samples * size, got);
        for (size_t i = 0; i < samples; i++)
            check_values(r, t->name, size, got + i * size, want + (i * draws + d) * size, 1e-6);
    }
    free(want);
    free(got);
}

/* stacked.S1_S2_..: one generator a sample; randn, again randn, then randint. */
static void check_stacked(const golden_file *f, golden_result *r, const char *seeds)
{
    char name[160], prefix[96];
    size_t length = strcspn(seeds, ".");
    (void)snprintf(prefix, sizeof prefix, "stacked.%.*s", (int)length, seeds);
    (void)snprintf(name, sizeof name, "%s.randn", prefix);
    size_t count = 0;
    double *a = golden_read(f, name, &count);
    (void)snprintf(name, sizeof name, "%s.randn_b", prefix);
    double *b = golden_read(f, name, NULL);
    (void)snprintf(name, sizeof name, "%s.randint10_after_randn", prefix);
    double *k = golden_read(f, name, NULL);
    const cm_tensor *t = cmi_tensors_find(&f->st, cmi_name_of("%s.randn", prefix).text);
    size_t n = t ? (size_t)t->shape[0] : 0, size = n ? count / n : 0;
    float *got = calloc(size + 1, sizeof *got);
    const char *at = seeds;
    size_t after_one = 0, after_two = 0;
    for (size_t i = 0; i < n; i++) {
        char *end;
        cm_torch_rng rng, other;
        cmi_torch_seed(&rng, strtoull(at, &end, 10));
        at = *end == '_' ? end + 1 : end;
        cmi_torch_normal(&rng, size, got);
        check_values(r, prefix, size, got, a + i * size, 1e-6);
        other = rng;
        if (b) {
            cmi_torch_normal(&rng, size, got);
            check_values(r, prefix, size, got, b + i * size, 1e-6);
        }
        if (k) {
            double one = (double)cmi_torch_below(&other, 10), two = (double)cmi_torch_below(&rng, 10);
            after_one += one == k[i];
            after_two += two == k[i];
        }
    }
    /* The file does not say whether randn_b came before the integer: one order has to hold for every sample. */
    if (k) golden_compare(r, name, (double)(n - (after_one > after_two ? after_one : after_two)), 0);
    free(a);
    free(b);
    free(k);
    free(got);
}

static void run_torch_rng(golden_file *f, golden_result *r)
{
    for (size_t i = 0; i < f->st.count; i++) {
        const cm_tensor *t = &f->st.tensors[i];
        char kind[32];
        const char *rest;
        uint64_t seed;
        if (strncmp(t->name, "determ", 6) == 0) check_determ(f, r, t, strncmp(t->name, "determ-indiv", 12) == 0);
        else if (strncmp(t->name, "stacked.", 8) == 0) {
            size_t n = strlen(t->name);
            if (n > 6 && strcmp(t->name + n - 6, ".randn") == 0) check_stacked(f, r, t->name + 8);
        } else if (split_name(t->name, kind, sizeof kind, &seed, &rest)) check_stream(f, r, t, kind, seed, rest);
        else golden_fail(r, "unknown tensor %s", t->name);
    }
}

/* --- the search for a time point ----------------------------------------------------------------------- */

/* A table of scores, and the points that the search has asked for. */
typedef struct {
    const double *scores;
    int32_t n, asked[128];
} table;

static int32_t look_up(void *user, int32_t point, double *score)
{
    table *t = user;
    if (t->n == 128) return 1;
    *score = t->scores[point];
    t->asked[t->n++] = point;
    return 0;
}

/* What the published program returns: the better one of the last two probes where it means an end of the interval,
 * and -1 where there was no round.  last: the two probes. */
static double published(int32_t left, int32_t right, const int32_t *last, const double *scores, int *tied)
{
    const int32_t width = right - left;
    int32_t best = left;
    if (width == 0) return right;
    for (int32_t p = left; p <= right; p++) {
        *tied |= p != best && scores[p] == scores[best];
        if (scores[p] < scores[best]) best = p, *tied = 0;
    }
    if (width == 2 && best == left + 1) return best;
    return !last ? -1 : best == left ? last[0] : last[1];
}

/* The whole of the published search, with the points in the order in which it asks for scores, one more than once. */
static size_t follow(int32_t left, int32_t right, const double *scores, double *order, double *found, int *tied)
{
    size_t n = 0;
    int32_t last[2];
    while (right - left >= 3) {
        last[0] = (int32_t)(left + (right - left) / 3.0);
        last[1] = (int32_t)(right - (right - left) / 3.0);
        order[n++] = last[0], order[n++] = last[1];
        if (scores[last[0]] < scores[last[1]]) right = last[1];
        else left = last[0];
    }
    *found = published(left, right, n ? last : NULL, scores, tied);
    if (right > left) order[n++] = left, order[n++] = right;
    if (right - left == 2) order[n++] = left + 1;
    return n;
}

static int32_t end_of(json_t *c, const char *key, int last)
{
    json_t *list = json_object_get(c, key);
    return (int32_t)json_integer_value(json_array_get(list, last ? json_array_size(list) - 1 : 0));
}

static double *part_of(const golden_file *f, golden_result *r, int i, const char *part, size_t *n)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%d.%s", i, part);
    double *values = golden_read(f, name, n);
    if (!values) golden_fail(r, "no tensor %s", name);
    return values;
}

/* Each point is asked for once, in the order of the reference. */
static void check_order(golden_result *r, const table *t, size_t n, const double *evaluated)
{
    int32_t k = 0;
    for (size_t i = 0; i < n; i++) {
        size_t first = 0;
        while (evaluated[first] != evaluated[i]) first++;
        if (first < i) continue;
        golden_compare(r, "evaluated", k < t->n ? fabs(evaluated[i] - t->asked[k]) : INFINITY, 0);
        k++;
    }
    golden_compare(r, "points", abs(t->n - k), 0);
}

static void run_search_case(const golden_file *f, golden_result *r, json_t *c)
{
    const int i = (int)json_integer_value(json_object_get(c, "i"));
    size_t n = 0, evaluated = 0;
    double *scores = part_of(f, r, i, "fid", &n), *order = part_of(f, r, i, "evaluated", &evaluated);
    double *argmin = part_of(f, r, i, "argmin", NULL), *official = part_of(f, r, i, "official_p", NULL);
    cm_search_options o = CM_SEARCH_OPTIONS_INIT;
    double own_order[128], found = 0;
    int32_t best = -1;
    int tied = 0;
    table t = {.scores = scores};
    o.left = end_of(c, "before", 1);
    o.right = end_of(c, "after", 0);
    if (scores && order && argmin && official && o.left >= 0 && o.left <= o.right && (size_t)o.right < n) {
        const size_t own = follow(o.left, o.right, scores, own_order, &found, &tied);
        if (cm_search_point(&o, look_up, &t, &best) != CM_OK) golden_fail(r, "%s", cm_last_message());
        golden_compare(r, "argmin", fabs(*argmin - best), 0);
        check_order(r, &t, evaluated, order);
        golden_compare(r, "evaluations of the published search", fabs((double)own - (double)evaluated), 0);
        for (size_t k = 0; k < own && k < evaluated; k++)
            golden_compare(r, "evaluated by the published search", fabs(own_order[k] - order[k]), 0);
        if (!tied) golden_compare(r, "official_p", fabs(found - *official), 0);
    } else golden_fail(r, "case %d has no table of %d..%d", i, o.left, o.right);
    free(scores), free(order), free(argmin), free(official);
}

static void run_search(golden_file *f, golden_result *r)
{
    static const char *const known[] = {"i", "before", "after", NULL};
    json_t *cases = golden_json(f, "cases"), *c;
    size_t k;
    golden_says(f, r, "fid", "fid[p] is a fake score for each candidate p");
    golden_says(f, r, "official_p", "-1 means the published function fails (m1 unbound)");
    json_array_foreach(cases, k, c)
    {
        golden_members(r, "cases", c, known);
        run_search_case(f, r, c);
        for (size_t i = 0; i < k; i++)
            if (json_equal(json_object_get(json_array_get(cases, i), "i"), json_object_get(c, "i")))
                golden_fail(r, "cases has %d twice", (int)json_integer_value(json_object_get(c, "i")));
    }
    if (f->st.count != 4 * json_array_size(cases))
        golden_fail(r, "%zu tensors and %zu cases of four", f->st.count, json_array_size(cases));
    json_decref(cases);
}

void golden_algorithm(golden_file *f, golden_result *r)
{
    static const struct {
        const char *prefix;
        void (*run)(golden_file *, golden_result *);
    } kinds[] = {{"schedules", run_schedules}, {"sampler_", run_sampler},      {"edm_", run_edm},
                 {"torch_rng", run_torch_rng}, {"ternary_search", run_search}, {"dpmpp", run_dpmpp}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(f->name, kinds[i].prefix, strlen(kinds[i].prefix)) == 0) {
            kinds[i].run(f, r);
            return;
        }
    if (golden_editing(f, r) || golden_training(f, r)) return;
    char kind[128];
    (void)snprintf(kind, sizeof kind, "algorithms %.*s", (int)strcspn(f->name, "."), f->name);
    golden_missing(r, kind);
}
