/* training_successors.c - golden/algorithms: cmt, tcm. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/curriculum.h"
#include "train/ema.h"
#include "train/truncated.h"
#include "training_toy.h"

/* --- cmt ---------------------------------------------------------------------------- */

/* The feature metric of the files, which stands for LPIPS: f = tanh(P x + q) at each point, g = f / (|f| + 1e-10),
 * d = mean over the points of sum_k w_k (g_k(a) - g_k(b))^2. */
enum { FEATURES = 8 };
typedef struct {
    toy t;
    size_t features;
    double *P, *q, *w;
} student;

static void features_at(const student *s, const double *x, size_t at, double *f, double *g, double *norm)
{
    double sum = 0;
    for (size_t k = 0; k < s->features; k++) {
        double h = s->q[k];
        for (size_t c = 0; c < 3; c++) h += s->P[3 * k + c] * x[c * s->t.pixels + at];
        f[k] = tanh(h);
        sum += f[k] * f[k];
    }
    *norm = sqrt(sum);
    for (size_t k = 0; k < s->features; k++) g[k] = f[k] / (*norm + 1e-10);
}

static cm_status feature_distance(void *user, const double *a, const double *b, double *value, double *gradient)
{
    const student *s = user;
    *value = 0;
    for (size_t at = 0; at < s->t.pixels; at++) {
        double f[FEATURES], g[FEATURES], other[FEATURES], unused[FEATURES], of_g[FEATURES], norm, ignored, along = 0;
        features_at(s, b, at, unused, other, &ignored);
        features_at(s, a, at, f, g, &norm);
        for (size_t k = 0; k < s->features; k++) {
            double d = g[k] - other[k];
            *value += s->w[k] * d * d / (double)s->t.pixels;
            of_g[k] = 2 * s->w[k] * d / (double)s->t.pixels;
            along += of_g[k] * f[k];
        }
        for (size_t c = 0; c < 3; c++) gradient[c * s->t.pixels + at] = 0;
        for (size_t k = 0; k < s->features; k++) {
            double below = norm + 1e-10, df = of_g[k] / below - along * f[k] / (norm * below * below);
            for (size_t c = 0; c < 3; c++) gradient[c * s->t.pixels + at] += df * (1 - f[k] * f[k]) * s->P[3 * k + c];
        }
    }
    return CM_OK;
}

/* METRIC.nNFE.bBATCH */
static cm_objective_settings cmt_settings(const golden_file *f, golden_result *r, const char *prefix, size_t *images)
{
    char metric[16] = "";
    int nfe = 0, batch = 0;
    cm_objective_settings s = settings_of(f, &cmi_objective_cmt, 8);
    if (sscanf(prefix, "%15[^.].n%d.b%d", metric, &nfe, &batch) != 3 || nfe < 1 || batch < nfe || batch > TOY_IMAGES)
        golden_fail(r, "'%s' is no case", prefix);
    s.views = nfe, s.order = 3;
    *images = nfe > 0 ? (size_t)(batch / nfe) : 0;
    if (strcmp(metric, "MSE") == 0) s.distance.kind = CM_DISTANCE_L2, s.distance.sum = 1;
    else if (strcmp(metric, "MAE") == 0) s.distance.kind = CM_DISTANCE_PSEUDO_HUBER;
    else if (strcmp(metric, "LPIPS") == 0) s.distance.kind = CM_DISTANCE_LPIPS;
    else golden_fail(r, "metric '%s'", metric);
    return s;
}

static void cmt_compare(const golden_file *f, golden_result *r, const char *prefix, const toy *t,
                        const double *target, size_t images, const double *loss)
{
    const size_t image = 3 * t->pixels;
    const struct {
        const char *name;
        const double *got;
        size_t n;
    } rows[] = {{"X", t->x, t->n * image},
                {"t", t->sigma, t->n},
                {"D", t->out, t->n * image},
                {"target", target, images * image},
                {"loss", loss, t->n}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "%s.%s", prefix, rows[i].name);
        compare(f, r, name, rows[i].n, rows[i].got, DOUBLE);
    }
    compare_gradients(f, r, prefix, t);
}

static void cmt_case(const golden_file *f, golden_result *r, const char *prefix)
{
    char name[96];
    size_t images;
    double loss[TOY_IMAGES], share[TOY_IMAGES];
    student w;
    cm_objective_settings s = cmt_settings(f, r, prefix, &images);
    if (r->outcome != GOLDEN_OK) return;
    open_toy(f, images * (size_t)s.views, 64, &w.t);
    w.t.taught = images;
    for (int k = 0; k < 3; k++) set_precond(&w.t, k, k == 2 ? "edm" : "ecm");
    if (!read_weights(f, "net", w.t.weight[0], &w.t.params) ||
        !read_weights(f, "teacher", w.t.weight[2], &w.t.params))
        golden_fail(r, "no net or no teacher");
    w.P = golden_read(f, "feat.P", NULL), w.q = golden_read(f, "feat.q", &w.features),
    w.w = golden_read(f, "feat.w", NULL);
    (void)snprintf(name, sizeof name, "%s.y", prefix);
    double *y = golden_read(f, name, NULL);
    (void)snprintf(name, sizeof name, "%s.eps", prefix);
    double *eps = golden_read(f, name, NULL);
    if (!y || !eps || !w.P || !w.q || !w.w || w.features > FEATURES) golden_fail(r, "%s: no inputs", prefix);
    cm_objective_nets nets = toy_nets(&w.t);
    if (s.distance.kind == CM_DISTANCE_LPIPS) nets.distance = feature_distance;
    cm_objective_batch b = {.n = images, .x0 = y, .z = eps, .loss = loss, .share = share};
    for (size_t i = 0; i < images; i++) share[i] = 1.0 / (double)images;
    b.work = calloc(cmi_objective_work(&s, images), sizeof *b.work);
    if (y && eps && cmi_objective_cmt.run(&s, &b, &nets) != CM_OK) golden_fail(r, "%s: run", prefix);
    cmt_compare(f, r, prefix, &w.t, cmi_objective_buffers_of(&s, &b).target, images, loss);
    free(b.work), free(y), free(eps), free(w.P), free(w.q), free(w.w);
    close_toy(&w.t);
}

/* r and t - r of the tuning that follows, at stage 0. */
static void cmt_mapping(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *t = golden_read(f, "map.t", &n), *got[2] = {calloc(n + 1, sizeof(double)), calloc(n + 1, sizeof(double))};
    for (size_t i = 0; t && i < f->st.count; i++) {
        const char *name = f->st.tensors[i].name;
        char base[64];
        size_t length = strlen(name);
        if (strncmp(name, "map.q", 5) != 0 || strcmp(name + length - 2, ".r") != 0) continue;
        cm_objective_settings s = settings_of(f, &cmi_objective_ect, 8);
        s.q = strtod(name + 5, NULL), s.k = 8, s.b = 1;
        for (size_t k = 0; k < n; k++) cmi_ect_pair(&s, t[k], &got[0][k], &got[1][k]);
        compare(f, r, name, n, got[0], DOUBLE);
        (void)snprintf(base, sizeof base, "%.*s.dt", (int)length - 2, name);
        compare(f, r, base, n, got[1], DOUBLE);
    }
    free(t), free(got[0]), free(got[1]);
}

/* One and two steps with the evaluation's form: the boundary at sigma_min_eval. */
static void cmt_samples(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *x = golden_read(f, "sample.z", &n), *z = golden_read(f, "sample.z2", NULL), sigma[TOY_IMAGES];
    const double middle = number(f, "mid", 0);
    toy t;
    open_toy(f, n / 192, 64, &t);
    read_weights(f, "net", t.weight[0], &t.params);
    set_precond(&t, 0, "ecm");
    t.precond[0].boundary = number(f, "sigma_min_eval", 0);
    if (!x || !z) golden_fail(r, "no sample.z or sample.z2");
    for (size_t i = 0; i < t.n; i++) sigma[i] = 80;
    for (size_t i = 0; x && i < n; i++) x[i] *= 80;
    if (x) toy_evaluate(&t, 0, x, sigma, t.out);
    compare(f, r, "sample.one", n, t.out, DOUBLE);
    for (size_t i = 0; i < t.n; i++) sigma[i] = middle;
    for (size_t i = 0; z && i < n; i++) x[i] = t.out[i] + middle * z[i];
    if (z) toy_evaluate(&t, 0, x, sigma, t.out);
    compare(f, r, "sample.two", n, t.out, DOUBLE);
    close_toy(&t);
    free(x), free(z);
}

/* From the rate of the first step to 0 at the last one of the table. */
static void cmt_rates(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *k = golden_read(f, "lr.k", &n), *rate = golden_read(f, "lr.value.f64", NULL);
    double *got = calloc(n + 1, sizeof *got);
    if (!k || !rate || n < 2) golden_fail(r, "no table of learning rates");
    const cm_curriculum c = {.lr = rate ? rate[0] : 0, .anneal_end = k && n ? (int64_t)k[n - 1] : 0};
    for (size_t i = 0; k && i < n; i++) got[i] = cmi_curriculum_at(&c, (int64_t)k[i]).lr;
    compare(f, r, "lr.value", n, got, DOUBLE);
    free(k), free(rate), free(got);
}

void run_cmt(golden_file *f, golden_result *r)
{
    golden_says(f, r, "names", "{metric}.n{NFE}.b{batch}");
    golden_says(
        f, r, "LPIPS",
        "the LPIPS slot holds the feature metric feat.* of continuous_time_more (same definition); MSE = sum of "
        "squares, MAE = its root");
    for (size_t i = 0; i < f->st.count; i++) {
        const char *name = f->st.tensors[i].name;
        char prefix[64];
        size_t length = strlen(name);
        if (length < 3 || length > 60 || strcmp(name + length - 2, ".y") != 0) continue;
        (void)snprintf(prefix, sizeof prefix, "%.*s", (int)length - 2, name);
        cmt_case(f, r, prefix);
    }
    cmt_mapping(f, r);
    cmt_samples(f, r);
    cmt_rates(f, r);
}

/* --- tcm ---------------------------------------------------------------------------- */

/* [distribution, m, s, t_lower, t_upper, nu] */
static cm_objective_settings tcm_times(const golden_file *f, golden_result *r, const json_t *a, int *second)
{
    cm_objective_settings s = settings_of(f, &cmi_objective_tcm, 8);
    const char *name = json_string_value(json_array_get(a, 0));
    double v[6] = {0};
    for (size_t i = 1; i < 6; i++) v[i] = json_number_value(json_array_get(a, i));
    *second = name && strcmp(name, "t") == 0;
    if (json_array_size(a) != 6 || !name || (!*second && strcmp(name, "normal") != 0)) golden_fail(r, "a time case");
    if (!*second && v[5] != 0) golden_fail(r, "a normal distribution of %g degrees of freedom", v[5]);
    s.p_mean = v[1], s.p_std = v[2], s.sigma_min = s.transition = v[3], s.sigma_max = v[4], s.nu = v[5];
    return s;
}

static void compare_times(const golden_file *f, golden_result *r, const char *name, const char *draws,
                          const cm_objective_settings *s, int second)
{
    size_t n = 0, count = 0;
    double *u = golden_read(f, draws, &n), *want = golden_read(f, name, &count);
    for (size_t i = 0; u && want && i < n && n == count; i++)
        golden_compare(r, name, fabs(cmi_tcm_log_time(s, second, u[i]) - want[i]), second ? 1e-9 : 1e-12);
    if (!u || !want || n != count) golden_fail(r, "no %s", name);
    free(u), free(want);
}

static void tcm_check_times(const golden_file *f, golden_result *r)
{
    json_t *cases = golden_json(f, "time_cases"), *a;
    const char *key;
    golden_says(f, r, "time_args", "distribution, m, s, t_lower, t_upper, nu");
    json_object_foreach(cases, key, a)
    {
        char name[96];
        int second;
        const cm_objective_settings s = tcm_times(f, r, a, &second);
        const double nu = second ? s.nu : INFINITY, low = log(s.sigma_min), high = log(s.sigma_max);
        const double bounds[2] = {cmi_student_below(nu, (low - s.p_mean) / s.p_std),
                                  cmi_student_below(nu, (high - s.p_mean) / s.p_std)};
        (void)snprintf(name, sizeof name, "time.%s.ln_t.f64", key);
        compare_times(f, r, name, "time.uniform.f64", &s, second);
        (void)snprintf(name, sizeof name, "time.%s.cdf_bounds.f64", key);
        compare(f, r, name, 2, bounds, DOUBLE);
        (void)snprintf(name, sizeof name, "time.quantile.%s.f64", key);
        if (cmi_tensors_find(&f->st, name)) compare_times(f, r, name, "time.quantile.q.f64", &s, second);
    }
    json_decref(cases);
}

/* "8,2,.999,default,1e-8", or the same as a list with sqrt behind it. */
typedef struct {
    double stage, q, limit, c;
    char weighting[16];
    int root;
} tcm_arguments;

static cm_objective_settings tcm_settings(const golden_file *f, golden_result *r, const tcm_arguments *a)
{
    static const char *const names[] = {"default", "sqrt", "cout", "cout_sq", "one", NULL};
    static const int32_t kinds[] = {CM_PAIR_GAP, CM_PAIR_ROOT_GAP, CM_PAIR_C_OUT, CM_PAIR_C_OUT_SQUARED, CM_PAIR_ONE};
    cm_objective_settings s = settings_of(f, &cmi_objective_tcm, 8);
    const int kind = name_index(names, a->weighting);
    if (kind < 0) golden_fail(r, "weighting '%s'", a->weighting);
    else s.pairs = kinds[kind];
    s.stage = (int32_t)a->stage, s.q = a->q, s.k = 8, s.b = 1, s.ratio_limit = a->limit;
    s.distance.huber_c = a->c;
    if (!a->root && a->c == 0) s.distance.kind = CM_DISTANCE_L2, s.distance.sum = 1;
    return s;
}

/* The share of the time's distribution at which t is drawn: it is found by halves, since the page draws t itself. */
static double share_at(const cm_objective_settings *s, int second, double t)
{
    const double nu = second ? s->nu : INFINITY, low = log(second ? s->transition : s->sigma_min);
    const double a = cmi_student_below(nu, (low - s->p_mean) / s->p_std);
    const double b = cmi_student_below(nu, (log(s->sigma_max) - s->p_mean) / s->p_std);
    return (cmi_student_below(nu, (log(t) - s->p_mean) / s->p_std) - a) / (b - a);
}

/* Runs a page at given times. */
static void tcm_run(const golden_file *f, golden_result *r, const cm_objective *o, cm_objective_settings *s, toy *t,
                    const double *times, const unsigned char *chosen, size_t n_chosen, double *loss)
{
    const int second = o->first_stage;
    double *y = golden_read(f, "y", NULL), *eps = golden_read(f, "eps", NULL), u[TOY_IMAGES], share[TOY_IMAGES];
    double middle[TOY_IMAGES];
    cm_objective_nets nets = toy_nets(t);
    /* Every t lies at some share of a wide distribution. */
    s->p_mean = 0, s->p_std = 2;
    s->nu = 3;
    for (size_t i = 0; i < t->n; i++) {
        u[i] = chosen && chosen[i] ? 0.5 : share_at(s, second, times[i]);
        middle[i] = 0.5;
        share[i] = 1.0 / (double)t->n;
    }
    cm_objective_batch b = {.n = t->n,
                            .x0 = y,
                            .z = eps,
                            .u = u,
                            .more_u = middle,
                            .loss = loss,
                            .share = share,
                            .chosen = chosen,
                            .all = t->n,
                            .n_chosen = n_chosen};
    b.work = calloc(cmi_objective_work(s, t->n), sizeof *b.work);
    memset(t->gradient, 0, sizeof t->gradient);
    if (!y || !eps || o->run(s, &b, &nets) != CM_OK) golden_fail(r, "run");
    free(b.work), free(y), free(eps);
}

static void tcm_open(const golden_file *f, golden_result *r, toy *t, int32_t **labels)
{
    size_t n = 0;
    *labels = integers(f, "labels", &n);
    open_toy(f, n, 64, t);
    t->labels = *labels;
    t->classes = 1;
    t->shared =
        1; /* the target is the network that learns; the first stage's weights are number 1, the teacher's 2 */
    for (int k = 0; k < 3; k++) set_precond(t, k, "ecm");
    if (!read_weights(f, "net", t->weight[0], &t->params) || !read_weights(f, "stage1", t->weight[1], &t->params))
        golden_fail(r, "no net or no stage1");
    memcpy(t->weight[2], t->weight[1], sizeof t->weight[2]);
}

static double mean_of(size_t n, const double *v)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i] / (double)n;
    return sum;
}

static void compare_part(const golden_file *f, golden_result *r, const char *prefix, const char *part, size_t n,
                         const double *got)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s.%s", prefix, part);
    compare(f, r, name, n, got, DOUBLE);
}

static void tcm_first(const golden_file *f, golden_result *r, toy *t, const char *prefix, const tcm_arguments *a,
                      int distil)
{
    size_t n = 0;
    double *times = golden_read(f, "t.stage1", &n), loss[TOY_IMAGES], plain[TOY_IMAGES], below[TOY_IMAGES];
    cm_objective_settings s = tcm_settings(f, r, a);
    s.distil = distil;
    if (!times || n != t->n) golden_fail(r, "no t.stage1");
    else tcm_run(f, r, &cmi_objective_tcm, &s, t, times, NULL, 0, loss);
    for (size_t i = 0; times && i < n; i++) {
        double gap;
        cmi_tcm_pair(&s, times[i], &below[i], &gap);
        plain[i] = loss[i] / cmi_pair_weight(&s, times[i], gap);
    }
    const double total = mean_of(n, loss);
    compare_part(f, r, prefix, "t", n, t->sigma);
    compare_part(f, r, prefix, "r", n, below);
    compare_part(f, r, prefix, "loss", n, loss);
    compare_part(f, r, prefix, "unweighted", n, plain);
    compare_part(f, r, prefix, "total", 1, &total);
    compare_gradients(f, r, prefix, t);
    free(times);
}

/* {case: [stage, q, ratio_limit, weighting, c, sqrt]} */
static void tcm_firsts(const golden_file *f, golden_result *r, toy *t)
{
    json_t *cases = golden_json(f, "stage1"), *v;
    const char *key;
    golden_says(f, r, "case_args", "stage, q, ratio_limit, weighting, c, sqrt");
    if (!json_object_size(cases)) golden_fail(r, "no cases of stage 1");
    json_object_foreach(cases, key, v)
    {
        char prefix[64];
        tcm_arguments a = {json_number_value(json_array_get(v, 0)),
                           json_number_value(json_array_get(v, 1)),
                           json_number_value(json_array_get(v, 2)),
                           json_number_value(json_array_get(v, 4)),
                           "",
                           json_is_true(json_array_get(v, 5))};
        const char *weighting = json_string_value(json_array_get(v, 3));
        (void)snprintf(a.weighting, sizeof a.weighting, "%s", weighting ? weighting : "");
        (void)snprintf(prefix, sizeof prefix, "stage1.%s", key);
        tcm_first(f, r, t, prefix, &a, 0);
    }
    json_decref(cases);
}

/* The losses of those that are chosen, or not, without their shares in the total. */
static size_t part_of(const toy *t, const double *loss, const unsigned char *chosen, int wanted, double factor,
                      double *out)
{
    size_t count = 0;
    for (size_t i = 0; i < t->n; i++)
        if (chosen[i] == wanted) out[count++] = loss[i] / factor;
    return count;
}

static void tcm_second(const golden_file *f, golden_result *r, toy *t, const char *prefix, const tcm_arguments *a,
                       double weight, double border)
{
    size_t n = 0, marks = 0;
    double *times = golden_read(f, "t.stage2", &n), *which = golden_read(f, "chosen", &marks);
    double loss[TOY_IMAGES], part[TOY_IMAGES], plain[TOY_IMAGES];
    unsigned char chosen[TOY_IMAGES] = {0};
    cm_objective_settings s = tcm_settings(f, r, a);
    s.transition = border, s.boundary_weight = weight;
    for (size_t i = 0; which && i < marks; i++) chosen[(size_t)which[i]] = 1;
    if (!times || !which || n != t->n) golden_fail(r, "no t.stage2 or chosen");
    else tcm_run(f, r, &cmi_objective_tcm2, &s, t, times, chosen, marks, loss);
    const double of_others = (double)n / (double)(n - marks), of_chosen = weight * (double)n / (double)marks;
    const double total = mean_of(n, loss);
    size_t count = part_of(t, loss, chosen, 0, of_others, part);
    for (size_t i = 0, k = 0; times && i < n; i++) {
        double below, gap;
        if (chosen[i]) continue;
        cmi_tcm_pair(&s, times[i], &below, &gap);
        plain[k] = part[k] / cmi_pair_weight(&s, times[i], gap);
        k++;
    }
    compare_part(f, r, prefix, "loss", count, part);
    compare_part(f, r, prefix, "unweighted", count, plain);
    count = part_of(t, loss, chosen, 1, of_chosen, part);
    compare_part(f, r, prefix, "loss_boundary", count, part);
    compare_part(f, r, prefix, "total", 1, &total);
    compare_gradients(f, r, prefix, t);
    free(times), free(which);
}

/* {"a": "stage,q,limit,weighting,c", ..., "w_boundary": w, "transition_t": t'} */
static void tcm_seconds(const golden_file *f, golden_result *r, toy *t)
{
    json_t *cases = golden_json(f, "stage2"), *v;
    const char *key;
    const double weight = member(cases, "w_boundary", NAN), border = member(cases, "transition_t", NAN);
    json_object_foreach(cases, key, v)
    {
        char prefix[64];
        tcm_arguments a = {.root = 1};
        if (!json_is_string(v) || strcmp(key, "w_boundary") == 0 || strcmp(key, "transition_t") == 0) continue;
        int end = 0;
        if (sscanf(json_string_value(v), "%lf,%lf,%lf,%15[^,],%lf%n", &a.stage, &a.q, &a.limit, a.weighting, &a.c,
                   &end) != 5 ||
            (size_t)end != strlen(json_string_value(v)))
            golden_fail(r, "stage2.%s is '%s'", key, json_string_value(v));
        (void)snprintf(prefix, sizeof prefix, "stage2.%s", key);
        tcm_second(f, r, t, prefix, &a, weight, border);
    }
    json_decref(cases);
}

/* The network of the second stage at any level: the frozen one below the border. */
static void tcm_composite(const golden_file *f, golden_result *r, toy *t)
{
    size_t n = 0, images = t->n * 3 * t->pixels;
    double *sigma = golden_read(f, "composite.sigma", &n), *y = golden_read(f, "y", NULL);
    double *eps = golden_read(f, "eps", NULL),
           *d[2] = {calloc(images, sizeof(double)), calloc(images, sizeof(double))};
    json_t *stage = golden_json(f, "stage2");
    const double border = member(stage, "transition_t", NAN);
    const size_t image = 3 * t->pixels;
    if (!sigma || !y || !eps || n != t->n) golden_fail(r, "no composite.sigma");
    for (size_t k = 0; sigma && y && eps && k < images; k++) y[k] += sigma[k / image] * eps[k];
    for (int which = 0; sigma && which < 2; which++) toy_evaluate(t, which, y, sigma, d[which]);
    for (size_t k = 0; sigma && k < images; k++)
        if (sigma[k / image] < border) d[0][k] = d[1][k];
    compare(f, r, "composite.D", images, d[0], DOUBLE);
    json_decref(stage);
    free(sigma), free(y), free(eps), free(d[0]), free(d[1]);
}

static void tcm_tables(const golden_file *f, golden_result *r)
{
    for (size_t i = 0; i < f->st.count; i++) {
        const char *name = f->st.tensors[i].name;
        size_t n = 0, count = 0;
        double *want = golden_read(f, name, &n), *k = NULL, *got = calloc(n + 1, sizeof *got);
        if (strncmp(name, "ratio.q", 7) ==
            0) { /* of the largest ratios that the limits of the stages' tables allow */
            cm_objective_settings s = settings_of(f, &cmi_objective_tcm, 8);
            double unused;
            s.mapping = CM_MAPPING_CONST, s.q = strtod(name + 7, NULL), s.ratio_limit = want[n - 1];
            for (size_t j = 0; j < n; j++) {
                s.stage = (int32_t)j;
                cmi_tcm_pair(&s, 1, &got[j], &unused);
            }
        } else if (strncmp(name, "lr.decay", 8) == 0) {
            const cm_curriculum c = {.lr = want[0], .decay = strtoll(name + 8, NULL, 10)};
            k = golden_read(f, "lr.k", &count);
            for (size_t j = 0; k && j < n && j < count; j++) got[j] = cmi_curriculum_at(&c, (int64_t)k[j]).lr;
        } else if (strncmp(name, "ema_power.beta", 14) == 0) {
            const cm_ema_rate rate = {CM_EMA_GAMMA, 16.97, 0};
            k = golden_read(f, "ema_power.k", &count);
            for (size_t j = 0; k && j < n && j < count; j++) got[j] = cmi_ema_rate_at(&rate, (int64_t)k[j] - 1, 0, 1);
        } else {
            free(want), free(got);
            continue;
        }
        compare(f, r, name, n, got, DOUBLE);
        free(want), free(k), free(got);
    }
}

/* The file does not name the stage of its distillation: 1 / q^(stage + 1) as the first image's r has it. */
static double distilled_base(const golden_file *f)
{
    double *t = golden_read(f, "distill.t.f64", NULL), *below = golden_read(f, "distill.r.f64", NULL);
    const double base = t && below ? (1 + 8 / (1 + exp(t[0]))) / (1 - below[0] / t[0]) : NAN;
    free(t), free(below);
    return base;
}

void run_tcm(golden_file *f, golden_result *r)
{
    toy t;
    int32_t *labels;
    tcm_arguments distil = {0, distilled_base(f), 1, 1e-8, "default", 1};
    golden_says(f, r, "toy", "EDM coefficients, c = ln(sigma)/4, labels add E[y]");
    tcm_check_times(f, r);
    tcm_open(f, r, &t, &labels);
    tcm_firsts(f, r, &t);
    tcm_first(f, r, &t, "distill", &distil, 1);
    tcm_seconds(f, r, &t);
    tcm_composite(f, r, &t);
    tcm_tables(f, r);
    close_toy(&t);
    free(labels);
}
