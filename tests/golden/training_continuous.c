/* training_continuous.c - golden/algorithms: continuous_time, continuous_time_more. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu_level.h"
#include "train/ema.h"
#include "train/optim.h"
#include "train/perceptual_distance.h"
#include "training_toy.h"

/* --- the feature metric ---------------------------------------------------------------
 *
 * f = tanh(P x + q) a pixel, g = f / (|f| + 1e-10), d(x, y) = mean over pixels of sum_k w_k (g_k(x) - g_k(y))^2.
 * H v = 2/pixels J^T (w J v) with J the derivative of g. */

enum { FEATURES = 5 };

typedef struct {
    double f[FEATURES], df[FEATURES], moved[FEATURES]; /* f, its tangent, that of P x */
    double n, whole, along;                            /* |f|, |f| + 1e-10, <f, df> */
} features;

static features features_of(const double *metric, const double *a, const double *v)
{
    const double *P = metric, *q = metric + 3 * FEATURES;
    features s;
    memset(&s, 0, sizeof s);
    for (int k = 0; k < FEATURES; k++) {
        double h = q[k];
        for (int c = 0; c < 3; c++) h += P[3 * k + c] * a[c], s.moved[k] += P[3 * k + c] * v[c];
        s.f[k] = tanh(h);
        s.df[k] = (1 - s.f[k] * s.f[k]) * s.moved[k];
        s.n += s.f[k] * s.f[k];
        s.along += s.f[k] * s.df[k];
    }
    s.n = sqrt(s.n);
    s.whole = s.n + 1e-10;
    return s;
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (int k = 0; k < FEATURES; k++) sum += a[k] * b[k];
    return sum;
}

/* The tangent of g. */
static void direction(const features *s, double *u)
{
    for (int k = 0; k < FEATURES; k++) u[k] = s->df[k] / s->whole - s->f[k] * s->along / (s->n * s->whole * s->whole);
}

/* Cotangents of f and of its tangent back to the pixel. */
static void to_pixel(const double *P, const features *s, const double *of_f, const double *of_df, double *out)
{
    for (int c = 0; c < 3; c++) out[c] = 0;
    for (int k = 0; k < FEATURES; k++) {
        const double slope = 1 - s->f[k] * s->f[k];
        const double h = of_f[k] * slope - (of_df ? of_df[k] * 2 * s->f[k] * slope * s->moved[k] : 0);
        for (int c = 0; c < 3; c++) out[c] += P[3 * k + c] * h;
    }
}

/* The cotangents that <k, direction> has: of the tangent of f, and of f. */
static void pull_direction(const features *s, const double *k, double *of_df, double *of_f)
{
    const double n = s->n, w = s->whole, kf = dot(k, s->f), kd = dot(k, s->df), c = 1 / (n * w * w);
    for (int i = 0; i < FEATURES; i++) {
        of_df[i] = k[i] / w - s->f[i] * kf * c;
        of_f[i] = -kd / (w * w) * s->f[i] / n - c * (k[i] * s->along + kf * s->df[i]) +
                  kf * s->along * (c / n + 2 * c / w) * s->f[i] / n;
    }
}

static cm_status curvature(void *user, const double *a, const double *v, double *hv, double *slope)
{
    const toy *t = user;
    const double *w = t->metric + 4 * FEATURES;
    for (size_t at = 0; at < t->pixels; at++) {
        double x[3], d[3], u[FEATURES], k[FEATURES], of_df[FEATURES], of_f[FEATURES], out[3];
        for (size_t c = 0; c < 3; c++) x[c] = a[c * t->pixels + at], d[c] = v[c * t->pixels + at];
        const features s = features_of(t->metric, x, d);
        direction(&s, u);
        for (int i = 0; i < FEATURES; i++) k[i] = w[i] * u[i];
        pull_direction(&s, k, of_df, of_f);
        to_pixel(t->metric, &s, of_df, NULL, out); /* J^T k: df is linear in v as f is in x */
        for (size_t c = 0; c < 3; c++) hv[c * t->pixels + at] = 2 / (double)t->pixels * out[c];
        if (!slope) continue;
        to_pixel(t->metric, &s, of_f, of_df, out);
        for (size_t c = 0; c < 3; c++) slope[c * t->pixels + at] = 4 / (double)t->pixels * out[c];
    }
    return CM_OK;
}

/* --- one case ------------------------------------------------------------------------ */

typedef struct {
    const golden_file *f;
    golden_result *r;
    toy t;
    cm_objective_settings s;
    double *x0, *z, *u, *batch_mask, *metric, *drop;
} continuous;

/* sum(-e F), which is the loss that the file has of stop-gradient. */
static void pseudo_loss(const toy *t, const double *pull, double *loss)
{
    const size_t size = 3 * t->pixels;
    for (size_t i = 0; i < t->n; i++) {
        loss[i] = 0;
        for (size_t k = i * size; k < (i + 1) * size; k++) loss[i] += pull[k] * t->out[k];
    }
}

static void compare_if_there(const continuous *c, const char *prefix, const char *what, size_t n, const double *got)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s.%s", prefix, what);
    if (cmi_tensors_find(&c->f->st, name)) compare(c->f, c->r, name, n, got, DOUBLE);
}

/* Names are cd or ct, the distance, and full or sg, perhaps behind a word that the file uses: drop, mask. */
static void one_case(continuous *c, const char *prefix)
{
    toy *t = &c->t;
    const size_t images = t->n * 3 * t->pixels;
    const int distils = strstr(prefix, "cd.") != NULL, stops = strstr(prefix, ".sg") != NULL;
    const int masked = strncmp(prefix, "mask.", 5) == 0, dropped = strncmp(prefix, "drop.", 5) == 0;
    const int feature = strncmp(prefix, "feat.", 5) == 0;
    const cm_objective *o = distils ? &cmi_objective_ccd : &cmi_objective_cct;
    double loss[64], share[64], kept = 0, total = 0, *unit = calloc(images, sizeof *unit);
    cm_objective_settings s = c->s;
    s.stop_gradient = stops;
    s.distance.kind = strstr(prefix, ".l1.")     ? CM_DISTANCE_L1
                      : strstr(prefix, ".linf.") ? CM_DISTANCE_LINF
                                                 : CM_DISTANCE_L2;
    t->mask = dropped ? c->drop : NULL;
    t->p = 0; /* the mask is scaled already */
    t->metric = feature ? c->metric : NULL;
    t->curvature = feature ? curvature : NULL;
    for (size_t i = 0; i < t->n; i++) kept += share[i] = masked || dropped ? c->batch_mask[i] : 1;
    for (size_t i = 0; i < t->n; i++) share[i] /= kept;
    memset(t->gradient, 0, sizeof t->gradient);
    t->share = share;
    if (run_objective(o, &s, t, c->x0, c->z, c->u, c->u, 0, loss) != CM_OK)
        golden_fail(c->r, "%s: %s", prefix, cm_last_message());
    t->share = NULL;
    if (stops)
        for (size_t i = 0; i < t->n; i++)
            for (size_t k = i * images / t->n; k < (i + 1) * images / t->n; k++)
                unit[k] = share[i] > 0 ? t->cotangent[k] / share[i] : -t->slope[k];
    if (stops) pseudo_loss(t, unit, loss);
    for (size_t i = 0; i < t->n; i++) total += share[i] * loss[i];
    compare_if_there(c, prefix, "t", t->n, t->sigma);
    compare_if_there(c, prefix, "F", images, t->out);
    compare_if_there(c, prefix, "diffs", images, t->slope);
    compare_if_there(c, prefix, "Hv", images, unit);
    compare_if_there(c, prefix, "loss", t->n, loss);
    compare_if_there(c, prefix, "total", 1, &total);
    if (feature && !stops) { /* the cotangent of the tangent is 2 H e, of the batch's mean */
        for (size_t k = 0; k < images; k++) unit[k] = t->of_tangent[k] / (2 * share[0]);
        compare_if_there(c, prefix, "Hd", images, unit);
    }
    compare_gradients(c->f, c->r, prefix, t);
    free(unit);
}

static void open_continuous(const golden_file *f, golden_result *r, continuous *c)
{
    size_t n = 0, count = 0;
    memset(c, 0, sizeof *c);
    c->f = f, c->r = r;
    c->x0 = golden_read(f, "x0", NULL), c->z = golden_read(f, "noise", NULL), c->u = golden_read(f, "u", &n);
    c->batch_mask = golden_read(f, "batch_mask", NULL), c->drop = golden_read(f, "drop_mask", NULL);
    if (!c->x0 || !c->z || !c->u || n > 64) {
        golden_fail(r, "no inputs");
        return;
    }
    open_toy(f, n, 64, &c->t);
    double *P = golden_read(f, "feat.P", &count), *q = golden_read(f, "feat.q", NULL),
           *w = golden_read(f, "feat.w", NULL);
    if (P && q && w && count == 3 * FEATURES) {
        c->metric = calloc(5 * FEATURES, sizeof *c->metric);
        memcpy(c->metric, P, 3 * FEATURES * sizeof *P);
        memcpy(c->metric + 3 * FEATURES, q, FEATURES * sizeof *q);
        memcpy(c->metric + 4 * FEATURES, w, FEATURES * sizeof *w);
    }
    free(P), free(q), free(w);
    c->t.p = 0;
    for (int which = 0; which < 3; which++) set_precond(&c->t, which, which == 2 ? "edm" : "cm");
    if (!read_weights(f, "net", c->t.weight[0], &c->t.params) ||
        !read_weights(f, "teacher", c->t.weight[2], &c->t.params))
        golden_fail(r, "no networks");
    c->s = settings_of(f, &cmi_objective_ccd, 8);
    c->s.sigma_min = number(f, "eps", c->s.sigma_min);
    c->s.sigma_max = number(f, "t_max", c->s.sigma_max);
    for (int which = 0; which < 3; which++)
        c->t.precond[which].sigma_min = c->s.sigma_min, c->t.precond[which].sigma_max = c->s.sigma_max;
}

static void close_continuous(continuous *c)
{
    close_toy(&c->t);
    free(c->x0), free(c->z), free(c->u), free(c->batch_mask), free(c->metric), free(c->drop);
}

/* The mask holds 0 and 1 / (1 - p). */
static void check_mask(const continuous *c)
{
    const size_t images = c->t.n * 3 * c->t.pixels;
    double p = number(c->f, "dropout", 0);
    for (size_t k = 0; c->drop && k < images; k++)
        if (c->drop[k] != 0) golden_compare(c->r, "drop_mask", fabs(c->drop[k] * (1 - p) - 1), 1e-6);
}

/* Every case of the file: what has a gradient of M. */
static void all_cases(continuous *c)
{
    static const char end[] = ".grad.M";
    for (size_t i = 0; i < c->f->st.count; i++) {
        char prefix[64];
        const char *name = c->f->st.tensors[i].name;
        const size_t n = strlen(name), m = sizeof end - 1;
        if (n <= m || strcmp(name + n - m, end) != 0 || n - m >= sizeof prefix) continue;
        (void)snprintf(prefix, sizeof prefix, "%.*s", (int)(n - m), name);
        one_case(c, prefix);
    }
    check_mask(c);
}

/* --- the derivatives of the preconditionings -------------------------------------------- */

static void check_coefficients(continuous *c)
{
    static const char *const names[] = {"c_in", "c_noise", "edm.c_skip", "edm.c_out", "cm.c_skip", "cm.c_out"};
    size_t n = 0;
    double *sigma = golden_read(c->f, "coef.sigma.f64", &n), got[2][64];
    if (!sigma || n > 64) return;
    for (int k = 0; k < 6; k++) {
        char name[64];
        const cm_precond *p = &c->t.precond[strncmp(names[k], "edm", 3) == 0 ? 2 : 0];
        for (size_t i = 0; i < n; i++)
            for (int d = 0; d < 2; d++) {
                const cm_scalings s = d ? cmi_precond_slopes(p, sigma[i]) : cmi_precond_scalings(p, sigma[i]);
                got[d][i] = strstr(names[k], "in") && !strstr(names[k], "sk") ? s.c_in
                            : strstr(names[k], "noise")                       ? s.c_noise
                            : strstr(names[k], "skip")                        ? s.c_skip
                                                                              : s.c_out;
            }
        (void)snprintf(name, sizeof name, "coef.%s", names[k]);
        compare(c->f, c->r, name, n, got[0], DOUBLE);
        (void)snprintf(name, sizeof name, "coef.d.%s", names[k]);
        compare(c->f, c->r, name, n, got[1], DOUBLE);
    }
    free(sigma);
}

/* --- runs ------------------------------------------------------------------------------- */

static void replay(continuous *c, const json_t *about, const char *name, const cm_objective *o)
{
    size_t all = 0;
    double *data = golden_read(c->f, "train.data", NULL), *index = golden_read(c->f, "train.batch_index", &all);
    double *noise = golden_read(c->f, "train.noise", NULL), *u = golden_read(c->f, "train.u", NULL);
    const size_t steps = (size_t)member(about, "steps", 0), n = steps ? all / steps : 0, size = 3 * c->t.pixels;
    const double lr = member(json_object_get(about, "lr"), name, 0), rate = member(about, "ema", 0);
    double *x0 = calloc(n * size + 1, sizeof *x0), *losses = calloc(all + 1, sizeof *losses), *flat, wide[PARAMS];
    float average[PARAMS];
    char full[64];
    flat_run run;
    flat_open(c->f, c->r, &run, &c->t, json_object_get(about, "param_order"), "train.init");
    run.optim.beta1 = json_number_value(json_array_get(json_object_get(about, "betas"), 0));
    run.optim.beta2 = json_number_value(json_array_get(json_object_get(about, "betas"), 1));
    memcpy(average, run.p, sizeof average);
    flat = calloc(steps * PARAMS, sizeof *flat);
    c->t.n = n;
    c->s.stop_gradient = strstr(name, "_sg") != NULL;
    c->s.distance.kind = CM_DISTANCE_L2;
    c->t.mask = NULL, c->t.curvature = NULL;
    if (!data || !noise || !u || n == 0 || n > 64 || json_array_size(json_object_get(about, "betas")) != 2) {
        golden_fail(c->r, "train.%s has no inputs", name);
    } else
        for (size_t k = 0; k < steps; k++) {
            gather_images(data, index + k * n, size, n, x0);
            memset(c->t.gradient, 0, sizeof c->t.gradient);
            if (run_objective(o, &c->s, &c->t, x0, noise + k * n * size, u + k * n, u + k * n, 1.0 / (double)n,
                              losses + k * n) != CM_OK)
                golden_fail(c->r, "train.%s: %s", name, cm_last_message());
            if (c->s.stop_gradient) {
                for (size_t i = 0; i < n * size; i++) c->t.cotangent[i] *= (double)n;
                pseudo_loss(&c->t, c->t.cotangent, losses + k * n);
            }
            flat_step(&run, (int64_t)k + 1, lr);
            cmi_ema_apply(rate, (size_t)run.n, average, run.p);
            for (int i = 0; i < run.n; i++) flat[k * (size_t)run.n + (size_t)i] = (double)run.p[i];
        }
    for (int i = 0; i < run.n; i++) wide[i] = (double)average[i];
    (void)snprintf(full, sizeof full, "train.%s.losses", name);
    compare(c->f, c->r, full, all, losses, FLOAT32);
    (void)snprintf(full, sizeof full, "train.%s.params", name);
    compare(c->f, c->r, full, steps * (size_t)run.n, flat, FLOAT32);
    (void)snprintf(full, sizeof full, "train.%s.ema", name);
    compare(c->f, c->r, full, (size_t)run.n, wide, FLOAT32);
    free(data), free(index), free(noise), free(u), free(x0), free(losses), free(flat);
}

static void replay_all(continuous *c)
{
    static const char *const known[] = {"steps", "lr", "betas", "ema", "param_order", NULL};
    json_t *about = golden_json(c->f, "train"), *lr;
    const char *name;
    if (!about) return;
    golden_members(c->r, "train", about, known);
    json_object_foreach(json_object_get(about, "lr"), name, lr)
        replay(c, about, name, strncmp(name, "cd", 2) == 0 ? &cmi_objective_ccd : &cmi_objective_cct);
    json_decref(about);
}

/* --- LPIPS ------------------------------------------------------------------------------ */

/* Float32 by the rule; resized images have ties of ReLU and of maxima, which the README gives a length of the
 * difference and a largest one for. */
static void compare_product(const golden_file *f, golden_result *r, const char *name, size_t n, const double *got,
                            int resized)
{
    char full[80];
    size_t count = 0;
    double squares = 0, all = 0, most = 0, largest = 0;
    if (!resized) {
        compare(f, r, name, n, got, FLOAT32);
        return;
    }
    (void)snprintf(full, sizeof full, "%s.f64", name);
    double *expected = golden_read(f, full, &count);
    if (!expected || count != n) golden_fail(r, "no %s", full);
    for (size_t i = 0; expected && count == n && i < n; i++) {
        const double d = fabs(got[i] - expected[i]);
        squares += d * d, all += expected[i] * expected[i];
        most = fmax(most, d), largest = fmax(largest, fabs(expected[i]));
    }
    golden_compare(r, name, sqrt(squares / all), 1e-2);
    golden_compare(r, name, most / largest, 2e-2);
    free(expected);
}

typedef struct {
    const golden_file *f;
    golden_result *r;
    golden_lpips files;
    const double *F, *v, *y;
    int32_t height, width;
    size_t images, size;
} pictures;

static cm_perceptual_distance *open_lpips(const pictures *p, int32_t side, int curved, cm_exec **exec)
{
    const cm_perceptual_shape shape = {3, p->height, p->width, side == p->width ? 0 : side, 0, 0, curved};
    cm_perceptual_distance *d = NULL;
    if (cmi_perceptual_distance_create(p->f->context, p->files.weights, p->files.lin, &shape, &d) != CM_OK ||
        cmi_perceptual_distance_exec(d, exec) != CM_OK)
        golden_fail(p->r, "lpips%d: %s", side, cm_last_message());
    return d;
}

static void compare_side(const pictures *p, int32_t side, const char *what, size_t n, const double *got)
{
    char name[64];
    (void)snprintf(name, sizeof name, "lpips%d.%s", side, what);
    if (cmi_tensors_find(&p->f->st, name))
        compare_product(p->f, p->r, name, n, got, side != p->width && n > p->images);
}

/* Both images at `side` points: H v, <v, H v>, the distance from y and its gradient. */
static void check_side(const pictures *p, int32_t side)
{
    const size_t all = p->images * p->size;
    double *hv = calloc(all, sizeof *hv), *gradient = calloc(all, sizeof *gradient);
    double *vhv = calloc(p->images, sizeof *vhv), *distance = calloc(p->images, sizeof *distance);
    cm_exec *of_curve = NULL, *of_value = NULL;
    cm_perceptual_distance *curve = open_lpips(p, side, 1, &of_curve), *value = open_lpips(p, side, 0, &of_value);
    for (size_t i = 0, at = 0; i < p->images && of_curve && of_value; i++, at += p->size) {
        if (cmi_perceptual_curvature_of(curve, of_curve, p->F + at, p->v + at, hv + at, NULL) != CM_OK ||
            cmi_perceptual_distance_of(value, of_value, p->F + at, p->y + at, &distance[i], gradient + at) != CM_OK)
            golden_fail(p->r, "lpips%d: %s", side, cm_last_message());
        for (size_t k = at; k < at + p->size; k++) vhv[i] += p->v[k] * hv[k];
    }
    compare_side(p, side, "Hv", all, hv);
    compare_side(p, side, "vHv", p->images, vhv);
    compare_side(p, side, "dist", p->images, distance);
    compare_side(p, side, "grad", all, gradient);
    cmi_exec_free(of_curve), cmi_exec_free(of_value);
    cmi_perceptual_distance_close(curve), cmi_perceptual_distance_close(value);
    free(hv), free(gradient), free(vhv), free(distance);
}

/* Of a file's lpips32 and lpips224 the numbers are the sides: that of the images, and lpips_resize. */
static void check_lpips(const golden_file *f, golden_result *r)
{
    char folder[4200];
    const cm_tensor *t = cmi_tensors_find(&f->st, "lpips.F");
    double *F = golden_read(f, "lpips.F", NULL), *v = golden_read(f, "lpips.v", NULL);
    double *y = golden_read(f, "lpips.y", NULL);
    pictures p = {.f = f, .r = r, .F = F, .v = v, .y = y};
    (void)snprintf(folder, sizeof folder, "%s/../metrics", f->folder);
    if (!F || !v || !y || t->rank != 4 || t->shape[1] != 3) {
        golden_fail(r, "no images of LPIPS");
    } else if (!golden_backbone(f->context, folder, "vgg", &p.files)) {
        golden_fail(r, "no weights of VGG: %s", cm_last_message());
    } else {
        p.height = (int32_t)t->shape[2], p.width = (int32_t)t->shape[3];
        p.images = (size_t)t->shape[0], p.size = t->count / p.images;
        check_side(&p, p.width);
        check_side(&p, (int32_t)number(f, "lpips_resize", 0));
    }
    (void)unlink(p.files.weights);
    free(F), free(v), free(y);
}

void run_continuous(golden_file *f, golden_result *r)
{
    continuous c;
    golden_says(f, r, "cond", "0.25*ln t");
    golden_says(f, r, "c_noise", "0.25*ln t");
    golden_says(f, r, "t", "(lo+u*(hi-lo))^7, lo=0.002^(1/7), hi=80^(1/7)");
    golden_says(f, r, "tangent", "(t*score, -1): diffs = -(df/dt along the PF-ODE)");
    golden_says(f, r, "reduction", "mean over batch");
    golden_says(f, r, "metric",
                "feat: d = mean over pixels of sum_k w_k (g_k(x)-g_k(y))^2, g = f/(|f|+1e-10), f = tanh(P x + q) per "
                "pixel");
    open_continuous(f, r, &c);
    if (r->outcome == GOLDEN_OK) {
        all_cases(&c);
        check_coefficients(&c);
        replay_all(&c);
    }
    if (r->outcome == GOLDEN_OK && cmi_tensors_find(&f->st, "lpips.F")) check_lpips(f, r);
    close_continuous(&c);
}
