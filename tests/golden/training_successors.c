/* training_successors.c - golden/algorithms: cmt. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/curriculum.h"
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
