/* training_losses.c - golden/algorithms: loss_*, ect, ict. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/curriculum.h"
#include "training_toy.h"

/* --- loss_cd_*, loss_ct_*, loss_progdist_* ------------------------------------------- */

/* What the first combination's file shows of the way to its loss. */
static void check_way(const golden_file *f, golden_result *r, const char *prefix, const toy *t)
{
    size_t images = t->n * 3 * t->pixels;
    const struct {
        const char *name;
        const double *got;
        size_t n;
    } rows[] = {{"x_t", t->x, images},   {"t", t->sigma, t->n},   {"online", t->out, images},
                {"x_t2", t->x2, images}, {"t2", t->sigma2, t->n}, {"target", t->out2, images}};
    for (int i = 0; i < (t->sigma2[0] > 0 ? 6 : 3); i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "%s.%s", prefix, rows[i].name);
        compare(f, r, name, rows[i].n, rows[i].got, DOUBLE);
    }
}

static void one_loss(const golden_file *f, golden_result *r, const cm_objective *o, const char *metric,
                     const char *weighting, toy *t, int32_t side, const double *x0, const double *z, const double *u)
{
    char prefix[64], solver[32], first[64], name[96];
    double loss[64];
    cm_objective_settings s = settings_of(f, o, side);
    s.scales = (int32_t)number(f, "num_scales", 18);
    s.distance.kind = cmi_choice_find(&cmi_distance_choices, metric);
    s.weighting = (cm_loss_weighting)golden_weighting(weighting);
    s.ode = cmi_choice_find(&cmi_ode_choices, text(f, "solver", solver, sizeof solver));
    memset(t->gradient, 0, sizeof t->gradient);
    if (s.distance.kind < 0 || s.weighting < 0 || s.ode < 0 ||
        run_objective(o, &s, t, x0, z, u, u, 1.0 / (double)t->n, loss) != CM_OK)
        golden_fail(r, "cannot run %s.%s", metric, weighting);
    (void)snprintf(prefix, sizeof prefix, "%s.%s", metric, weighting);
    (void)snprintf(name, sizeof name, "%s.loss", prefix);
    compare(f, r, name, t->n, loss, DOUBLE);
    compare_gradients(f, r, prefix, t);
    if (strcmp(prefix, text(f, "first_case_has_intermediates", first, sizeof first)) == 0) check_way(f, r, prefix, t);
}

/* Every loss of the file is one of the two lists' combinations, each once. */
static void check_lists(const golden_file *f, golden_result *r, const json_t *norms, const json_t *weightings)
{
    char first[64];
    size_t losses = 0, named = 0;
    text(f, "first_case_has_intermediates", first, sizeof first);
    for (size_t i = 0; i < json_array_size(norms); i++)
        for (size_t k = 0; k < json_array_size(weightings); k++) {
            char name[96];
            (void)snprintf(name, sizeof name, "%s.%s", json_string_value(json_array_get(norms, i)),
                           json_string_value(json_array_get(weightings, k)));
            named += strcmp(name, first) == 0;
        }
    for (size_t i = 0; i < f->st.count; i++) {
        size_t n = strlen(f->st.tensors[i].name);
        losses += n > 5 && strcmp(f->st.tensors[i].name + n - 5, ".loss") == 0;
    }
    for (size_t i = 0; i < json_array_size(norms); i++)
        for (size_t k = 0; k < i; k++)
            if (json_equal(json_array_get(norms, i), json_array_get(norms, k)))
                golden_fail(r, "a norm is named twice");
    for (size_t i = 0; i < json_array_size(weightings); i++)
        for (size_t k = 0; k < i; k++)
            if (json_equal(json_array_get(weightings, i), json_array_get(weightings, k)))
                golden_fail(r, "a weight schedule is named twice");
    if (*first && named != 1) golden_fail(r, "first_case_has_intermediates '%s' is no case", first);
    if (losses != json_array_size(norms) * json_array_size(weightings))
        golden_fail(r, "%zu losses, norms and weight_schedules name %zu", losses,
                    json_array_size(norms) * json_array_size(weightings));
}

void run_loss(golden_file *f, golden_result *r)
{
    char mode[16];
    const cm_objective *o = cmi_objective_by_name(text(f, "mode", mode, sizeof mode));
    const cm_tensor *shape = cmi_tensors_find(&f->st, "x0");
    size_t n, count = 0;
    double *x0 = golden_read(f, "x0", NULL), *z = golden_read(f, "noise", NULL),
           *index = golden_read(f, "indices", &n);
    double *mask = golden_read(f, "dropout_mask.online", NULL), u[64];
    json_t *norms = golden_json(f, "norms"), *weightings = golden_json(f, "weight_schedules"), *a, *b;
    size_t i, k;
    toy t;
    golden_says(f, r, "total_loss", "mean over batch of loss[i]");
    if (!o || !shape || !x0 || !z || !index) {
        golden_fail(r, "no inputs");
        return;
    }
    int32_t side = (int32_t)shape->shape[3], pairs = (int32_t)number(f, "num_scales", 18) - (o != &cmi_objective_pd);
    open_toy(f, n, (size_t)(side * side), &t);
    t.labels = integers(f, "y", &count);
    t.classes = t.labels != NULL;
    t.mask = mask;
    set_precond(&t, 0, o->precond);
    set_precond(&t, 1, o->precond);
    set_precond(&t, 2, "edm");
    read_weights(f, "net", t.weight[0], &t.params);
    read_weights(f, "target", t.weight[1], &t.params);
    if (o->needs_teacher && !read_weights(f, "teacher", t.weight[2], &t.params)) golden_fail(r, "no teacher");
    check_lists(f, r, norms, weightings);
    if (t.p > 0 && !mask) golden_fail(r, "dropout is %g, but there is no mask", t.p);
    for (i = 0; i < n; i++) u[i] = (index[i] + 0.5) / pairs;
    json_array_foreach(norms, i, a) json_array_foreach(weightings, k, b)
        one_loss(f, r, o, json_string_value(a), json_string_value(b), &t, side, x0, z, u);
    json_decref(norms);
    json_decref(weightings);
    free(x0), free(z), free(index), free(mask), free((void *)(uintptr_t)t.labels);
    close_toy(&t);
}

/* --- loss_edm ---------------------------------------------------------------------------- */

/* The stratified form, which the library does not have: the file's levels against the formula,
 * Phi((ln sigma_j - P_mean) / P_std) = (rank B + j + u_j) / (world B). */
static void check_even(const golden_file *f, golden_result *r)
{
    static const char *const known[] = {"rank", "world", "batch", NULL};
    json_t *even = golden_json(f, "even");
    size_t n = 0, levels = 0;
    double *u = golden_read(f, "even.u", &n), *sigma = golden_read(f, "even.sigma.f64", &levels);
    double rank = member(even, "rank", 0), world = member(even, "world", 1), batch = member(even, "batch", 0);
    golden_members(r, "even", even, known);
    if (even && (n != (size_t)batch || levels != n)) golden_fail(r, "even: %zu draws, %zu levels", n, levels);
    for (size_t j = 0; u && sigma && j < n && j < levels; j++) {
        double v = (log(sigma[j]) - number(f, "P_mean", 0)) / number(f, "P_std", 1);
        golden_compare(r, "even.sigma",
                       fabs(0.5 * erfc(-v / sqrt(2)) - (rank * batch + (double)j + u[j]) / (world * batch)), 1e-7);
    }
    json_decref(even);
    free(u), free(sigma);
}

void run_loss_edm(golden_file *f, golden_result *r)
{
    const cm_objective *o = &cmi_objective_edm;
    size_t n = 0;
    double *x0 = golden_read(f, "x0", NULL), *z = golden_read(f, "noise", NULL);
    double *normal = golden_read(f, "rnd_normal", &n), *u = golden_read(f, "rnd_uniform", NULL), loss[64];
    char prefix[64], name[96];
    toy t;
    open_toy(f, n, 64, &t);
    for (int kind = 0; kind < 8; kind++) { /* five weightings of openai's, three losses of NVlabs's */
        static const char *const theirs[] = {"edm", "vp", "ve"};
        cm_objective_settings s = settings_of(f, o, 8);
        int nv = kind >= 5;
        t.tscale = nv ? 1 : 1e-3;
        set_precond(&t, 0, "edm");
        read_weights(f, nv ? "netE" : "net", t.weight[0], &t.params);
        s.distance.sum = nv;
        s.levels = nv ? kind - 5 : CM_LEVELS_LOGNORMAL;
        s.weighting = nv ? (kind == 5 ? CM_WEIGHTING_KARRAS : CM_WEIGHTING_SNR) : (cm_loss_weighting)(kind + 1);
        memset(t.gradient, 0, sizeof t.gradient);
        if (run_objective(o, &s, &t, x0, z, u, normal, 1.0 / (double)n, loss) != CM_OK) golden_fail(r, "run");
        (void)snprintf(prefix, sizeof prefix, "%s.%s", nv ? "nvlabs" : "openai",
                       nv ? theirs[kind - 5] : cmi_weighting_choices.at((size_t)kind + 1).name);
        compare_gradients(f, r, prefix, &t);
        if (nv) {
            double total = 0;
            for (size_t i = 0; i < n; i++) total += loss[i] / (double)n;
            (void)snprintf(name, sizeof name, "%s.total", prefix);
            compare(f, r, name, 1, &total, DOUBLE);
        } else {
            (void)snprintf(name, sizeof name, "%s.loss", prefix);
            compare(f, r, name, n, loss, DOUBLE);
            (void)snprintf(name, sizeof name, "%s.sigma", prefix);
            compare(f, r, name, n, t.sigma, DOUBLE);
        }
    }
    check_even(f, r);
    free(x0), free(z), free(normal), free(u);
    close_toy(&t);
}

/* --- ect, ict -------------------------------------------------------------------------------------- */

static void ect_case(const golden_file *f, golden_result *r, const json_t *c, toy *t, const double *x0,
                     const double *z, const double *normal)
{
    char prefix[32], name[64];
    double loss[64], times[2][64], gap;
    static const char *const known[] = {"i", "q", "c", "k", "b", "adj", "stage", "max_abs_f32_f64", NULL};
    cm_objective_settings s = settings_of(f, &cmi_objective_ect, 8);
    golden_members(r, "cases", c, known);
    s.q = member(c, "q", 2), s.k = member(c, "k", 8), s.b = member(c, "b", 1);
    s.distance.huber_c = member(c, "c", 0);
    s.stage = (int32_t)member(c, "stage", 0);
    s.mapping = cmi_choice_find(&cmi_mapping_choices, json_string_value(json_object_get(c, "adj")));
    memset(t->gradient, 0, sizeof t->gradient);
    memcpy(t->weight[1], t->weight[0], sizeof t->weight[0]);
    if (run_objective(&cmi_objective_ect, &s, t, x0, z, normal, normal, 1.0 / (double)t->n, loss) != CM_OK)
        golden_fail(r, "run");
    (void)snprintf(prefix, sizeof prefix, "case%d", (int)member(c, "i", 0));
    for (size_t i = 0; i < t->n; i++) {
        times[0][i] = exp(s.p_mean + s.p_std * normal[i]);
        cmi_ect_pair(&s, times[0][i], &times[1][i], &gap);
    }
    (void)snprintf(name, sizeof name, "%s.t", prefix);
    compare(f, r, name, t->n, times[0], DOUBLE);
    (void)snprintf(name, sizeof name, "%s.r", prefix);
    compare(f, r, name, t->n, times[1], DOUBLE);
    (void)snprintf(name, sizeof name, "%s.loss", prefix);
    compare(f, r, name, t->n, loss, DOUBLE);
    compare_gradients(f, r, prefix, t);
}

static void check_mapping(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *t = golden_read(f, "map.t", &n), *got = calloc(n, sizeof *got), gap;
    for (size_t i = 0; i < f->st.count; i++) {
        const char *name = f->st.tensors[i].name, *q = strstr(name, ".q"), *s = strstr(name, ".s");
        if (strncmp(name, "map.", 4) != 0 || !q || strstr(name, ".f64")) continue;
        cm_objective_settings o = settings_of(f, &cmi_objective_ect, 8);
        o.mapping = strncmp(name + 4, "const", 5) == 0 ? CM_MAPPING_CONST : CM_MAPPING_SIGMOID;
        o.q = strtod(q + 2, NULL), o.k = 8, o.b = 1;
        while (s && strstr(s + 1, ".s")) s = strstr(s + 1, ".s");
        o.stage = atoi(s + 2);
        for (size_t k = 0; k < n; k++) cmi_ect_pair(&o, t[k], &got[k], &gap);
        compare(f, r, name, n, got, DOUBLE);
    }
    free(t), free(got);
}

/* One and two steps with the evaluation's form: `cm` with the boundary at sigma_min_eval. */
static void check_generation(const golden_file *f, golden_result *r, const toy *of)
{
    size_t n = 0;
    double *x = golden_read(f, "gen.latents", &n), *z = golden_read(f, "gen.noise", NULL), sigma[64];
    double middle = number(f, "mid_t", 0.821);
    toy t;
    open_toy(f, n / (3 * of->pixels), of->pixels, &t);
    memcpy(t.weight[0], of->weight[0], sizeof t.weight[0]);
    set_precond(&t, 0, "cm");
    t.precond[0].sigma_min = number(f, "sigma_min_eval", 0.003);
    if (!x || !z) golden_fail(r, "no gen.latents or gen.noise");
    for (size_t i = 0; i < t.n; i++) sigma[i] = 80;
    for (size_t i = 0; i < n; i++) x[i] *= 80;
    toy_evaluate(&t, 0, x, sigma, t.out);
    compare(f, r, "gen.onestep", n, t.out, DOUBLE);
    for (size_t i = 0; i < t.n; i++) sigma[i] = middle;
    for (size_t i = 0; z && i < n; i++) x[i] = t.out[i] + middle * z[i];
    toy_evaluate(&t, 0, x, sigma, t.out);
    compare(f, r, "gen.twostep", n, t.out, DOUBLE);
    close_toy(&t);
    free(x), free(z);
}

void run_ect(golden_file *f, golden_result *r)
{
    golden_says(f, r, "total", "mean over batch");
    json_t *cases = golden_json(f, "cases"), *c;
    size_t i, n = 0;
    double *x0 = golden_read(f, "x0", NULL), *z = golden_read(f, "noise", NULL),
           *normal = golden_read(f, "rnd_normal", &n);
    toy t;
    open_toy(f, n, 64, &t);
    for (int k = 0; k < 3; k++) set_precond(&t, k, "ecm");
    read_weights(f, "net", t.weight[0], &t.params);
    json_array_foreach(cases, i, c) ect_case(f, r, c, &t, x0, z, normal);
    check_mapping(f, r);
    check_generation(f, r, &t);
    json_decref(cases);
    free(x0), free(z), free(normal);
    close_toy(&t);
}

/* iCT: levels (scales) and probabilities of the pairs (scales - 1). */
static void ict_tables(const cm_objective_settings *s, double *levels, double *probability)
{
    double sum = 0;
    for (int32_t j = 0; j < s->scales; j++) levels[j] = cmi_ict_level(s, j);
    for (int32_t j = 0; j + 1 < s->scales; j++)
        sum += probability[j] = cmi_ict_cumulated(s, j + 1) - cmi_ict_cumulated(s, j);
    for (int32_t j = 0; j + 1 < s->scales; j++) probability[j] /= sum;
}

static void check_ict_tables(const golden_file *f, golden_result *r)
{
    int named = 0;
    for (size_t i = 0; i < f->st.count; i++) {
        const char *name = f->st.tensors[i].name;
        double *k, *scales;
        size_t n = 0;
        if (strncmp(name, "N.", 2) == 0 && name[strlen(name) - 1] == 'k') { /* N.K.s0.s1.k */
            char *end, other[96];
            cm_curriculum c = {.scales = CM_SCALES_ICT, .total = strtoll(name + 2, &end, 10)};
            c.start = (int32_t)strtol(end + 1, &end, 10);
            c.end = (int32_t)strtol(end + 1, &end, 10);
            named += c.start == (int32_t)number(f, "s0", c.start) && c.end == (int32_t)number(f, "s1", c.end);
            (void)snprintf(other, sizeof other, "%.*sN", (int)strlen(name) - 1, name);
            k = golden_read(f, name, &n);
            scales = golden_read(f, other, NULL);
            for (size_t j = 0; j < n; j++)
                golden_compare(r, other, fabs(cmi_curriculum_at(&c, (int64_t)k[j]).scales - scales[j]), 0);
            free(k), free(scales);
        } else if (strncmp(name, "sig.", 4) == 0) {
            cm_objective_settings s = settings_of(f, &cmi_objective_ict, 8);
            char other[64];
            s.scales = atoi(name + 4);
            double *levels = calloc((size_t)s.scales, sizeof *levels), *p = calloc((size_t)s.scales, sizeof *p);
            ict_tables(&s, levels, p);
            compare(f, r, name, (size_t)s.scales, levels, DOUBLE);
            (void)snprintf(other, sizeof other, "p.%d", s.scales);
            compare(f, r, other, (size_t)s.scales - 1, p, DOUBLE);
            for (int j = 0; j + 1 < s.scales; j++) p[j] = 1 / (levels[j + 1] - levels[j]);
            (void)snprintf(other, sizeof other, "lambda.%d", s.scales);
            compare(f, r, other, (size_t)s.scales - 1, p, DOUBLE);
            free(levels), free(p);
        }
    }
    if (!named) golden_fail(r, "no table is of the metadata's s0 and s1");
}

void run_ict(golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *index = golden_read(f, "loss.index", &n), *x0 = golden_read(f, "loss.x0", NULL),
           *z = golden_read(f, "loss.noise", NULL);
    double u[64], loss[64], *hx = golden_read(f, "huber.x", NULL), *hy = golden_read(f, "huber.y", NULL), value[3],
                            grad[3 * 192];
    cm_objective_settings s = settings_of(f, &cmi_objective_ict, 8);
    toy t;
    check_ict_tables(f, r);
    s.distance.huber_c = number(f, "huber_c", 0);
    s.scales = (int32_t)number(f, "loss_N", 41);
    for (size_t i = 0; i < 3; i++)
        value[i] = cmi_distance_of(&s.distance, hx + i * 192, hy + i * 192, grad + i * 192, NULL);
    compare(f, r, "huber.value", 3, value, DOUBLE);
    compare(f, r, "huber.grad_x", 3 * 192, grad, DOUBLE);
    open_toy(f, n, 64, &t);
    t.tscale = number(f, "tscale", 1e-3);
    for (int k = 0; k < 3; k++) set_precond(&t, k, "cm");
    read_weights(f, "net", t.weight[0], &t.params);
    memcpy(t.weight[1], t.weight[0], sizeof t.weight[0]);
    /* u in the middle of the pair's share of the cumulated probability */
    double *levels = calloc((size_t)s.scales, sizeof *levels), *p = calloc((size_t)s.scales, sizeof *p);
    ict_tables(&s, levels, p);
    for (size_t i = 0; i < n; i++) {
        u[i] = p[(int)index[i]] / 2;
        for (int j = 0; j < (int)index[i]; j++) u[i] += p[j];
    }
    if (run_objective(&cmi_objective_ict, &s, &t, x0, z, u, u, 1.0 / (double)n, loss) != CM_OK) golden_fail(r, "run");
    compare(f, r, "loss.per_sample", n, loss, DOUBLE);
    compare_gradients(f, r, "loss", &t);
    free(levels), free(p), free(index), free(x0), free(z), free(hx), free(hy);
    close_toy(&t);
}
