/* training.c - golden/algorithms: losses, whole training runs, optimizers,
 * averages, schedules over k, ECT, iCT.
 *
 * Objectives and the toy network are in double: the rule for doubles.  Weights,
 * moments and averages are float32 in the library: runs and optimizers are held
 * to the rule for float32, 8 e + 4e-6 s. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/precond.h"
#include "golden.h"
#include "train/curriculum.h"
#include "train/ema.h"
#include "train/objective.h"
#include "train/optim.h"

/* --- comparing ------------------------------------------------------------------- */

enum { DOUBLE, FLOAT32 };

static void compare(const golden_file *f, golden_result *r, const char *name, size_t n, const double *got, int kind)
{
    char full[160];
    size_t count = 0;
    (void)snprintf(full, sizeof full, "%s.f64", name);
    double *exact = golden_read(f, full, &count), *single = golden_read(f, name, NULL);
    double most = 0, off = 0, e = 0;
    if (!exact) {
        exact = golden_read(f, name, &count);
        free(single);
        single = NULL;
    }
    if (!exact || count != n) {
        golden_fail(r, "%s: expected %zu values, the file has %zu", name, n, count);
    } else {
        for (size_t i = 0; i < n; i++) {
            double d = fabs(got[i] - exact[i]);
            most = fmax(most, fabs(exact[i]));
            if (single) e = fmax(e, fabs(single[i] - exact[i]));
            if (!(d <= off)) off = d;
        }
        golden_compare(r, name, off, kind == DOUBLE ? 1e-11 * most + 1e-13 : single ? 8 * e + 4e-6 * most : 2e-6 * most);
    }
    free(exact);
    free(single);
}

static char *text(const golden_file *f, const char *key, char *buffer, size_t size)
{
    json_t *v = golden_json(f, key);
    (void)snprintf(buffer, size, "%s", json_is_string(v) ? json_string_value(v) : "");
    json_decref(v);
    return buffer;
}

static double number(const golden_file *f, const char *key, double fallback)
{
    json_t *v = golden_json(f, key);
    double d = json_is_number(v) ? json_number_value(v) : fallback;
    json_decref(v);
    return d;
}

static int name_index(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

/* --- the toy network ----------------------------------------------------------------
 * h = M x + tscale c u + v + E[y];  F = a x + b drop(tanh h), per pixel. */

enum { M = 0, U = 9, V = 12, A = 15, B = 18, E = 21, PARAMS = 64 };

typedef struct {
    const golden_file *f;
    size_t n, pixels;
    int classes, params;
    double tscale, p; /* dropout */
    cm_precond precond[3]; /* online, target, teacher */
    double weight[3][PARAMS];
    double gradient[PARAMS];
    const double *mask; /* n x 3 x pixels of 0 and 1, or NULL */
    const int32_t *labels;
    double *x; /* of the last online evaluation */
    double sigma[64];
    double *kept_loss;
} toy;

static const char *const members[] = {"M", "u", "v", "a", "b", "E"};
static const int begins[] = {M, U, V, A, B, E};

static int read_weights(const golden_file *f, const char *prefix, double *w, int *params)
{
    for (int i = 0; i < 6; i++) {
        char name[64];
        size_t count = 0;
        (void)snprintf(name, sizeof name, "%s.%s", prefix, members[i]);
        double *v = golden_read(f, name, &count);
        if (!v) return i >= 5;
        memcpy(w + begins[i], v, count * sizeof *v);
        *params = begins[i] + (int)count;
        free(v);
    }
    return 1;
}

/* One pixel: h to tanh h. */
static void hidden(const toy *t, const double *w, size_t i, const double *in, double c, double *th)
{
    for (int d = 0; d < 3; d++) {
        double h = t->tscale * c * w[U + d] + w[V + d] + (t->classes ? w[E + 3 * t->labels[i] + d] : 0);
        for (int k = 0; k < 3; k++) h += w[M + 3 * d + k] * in[k];
        th[d] = tanh(h);
    }
}

static double kept(const toy *t, int masked, size_t at)
{
    return masked && t->mask ? t->mask[at] / (1 - t->p) : 1;
}

static void evaluate_toy(toy *t, int which, int masked, const double *x, const double *sigma, double *out)
{
    const double *w = t->weight[which];
    for (size_t i = 0; i < t->n; i++) {
        cm_scalings s = cm_precond_scalings(&t->precond[which], sigma[i]);
        for (size_t q = 0; q < t->pixels; q++) {
            double in[3], th[3];
            for (size_t d = 0; d < 3; d++) in[d] = s.c_in * x[(i * 3 + d) * t->pixels + q];
            hidden(t, w, i, in, s.c_noise, th);
            for (size_t d = 0; d < 3; d++) {
                size_t at = (i * 3 + d) * t->pixels + q;
                double f = w[A + (int)d] * in[d] + w[B + (int)d] * th[d] * kept(t, masked, at);
                out[at] = s.c_skip * x[at] + s.c_out * f;
            }
        }
    }
}

static cm_status evaluate(void *user, int role, const double *x, const double *sigma, double *d)
{
    evaluate_toy(user, role == CM_ROLE_TARGET ? 1 : 2, role == CM_ROLE_TARGET, x, sigma, d);
    return CM_OK;
}

static cm_status online(void *user, const double *x, const double *sigma, double *d)
{
    toy *t = user;
    memcpy(t->x, x, t->n * 3 * t->pixels * sizeof *x);
    memcpy(t->sigma, sigma, t->n * sizeof *sigma);
    evaluate_toy(t, 0, 1, x, sigma, d);
    return CM_OK;
}

static cm_status backward(void *user, const double *cotangent)
{
    toy *t = user;
    const double *w = t->weight[0];
    for (size_t i = 0; i < t->n; i++) {
        cm_scalings s = cm_precond_scalings(&t->precond[0], t->sigma[i]);
        for (size_t q = 0; q < t->pixels; q++) {
            double in[3], th[3];
            for (size_t d = 0; d < 3; d++) in[d] = s.c_in * t->x[(i * 3 + d) * t->pixels + q];
            hidden(t, w, i, in, s.c_noise, th);
            for (int d = 0; d < 3; d++) {
                size_t at = (i * 3 + (size_t)d) * t->pixels + q;
                double g = s.c_out * cotangent[at], keep = kept(t, 1, at);
                double dh = g * w[B + d] * keep * (1 - th[d] * th[d]);
                t->gradient[A + d] += g * in[d];
                t->gradient[B + d] += g * th[d] * keep;
                t->gradient[U + d] += dh * t->tscale * s.c_noise;
                t->gradient[V + d] += dh;
                for (int k = 0; k < 3; k++) t->gradient[M + 3 * d + k] += dh * in[k];
                if (t->classes) t->gradient[E + 3 * t->labels[i] + d] += dh;
            }
        }
    }
    return CM_OK;
}

static void set_precond(toy *t, int which, const char *type)
{
    json_t *config = json_pack("{s:s,s:s}", "type", type, "time", t->tscale < 0.5 ? "250ln" : "ln/4");
    if (cm_precond_read(t->f->context, config, 1, &t->precond[which]) != CM_OK) abort();
    json_decref(config);
}

static void open_toy(const golden_file *f, size_t n, size_t pixels, toy *t)
{
    memset(t, 0, sizeof *t);
    t->f = f;
    t->n = n;
    t->pixels = pixels;
    t->tscale = number(f, "tscale", 1e-3);
    t->p = number(f, "dropout", 0);
    t->x = calloc(n * 3 * pixels, sizeof *t->x);
}

static cm_objective_settings settings_of(const cm_objective *o, int32_t side)
{
    cm_objective_settings s = {.distance = {o->metric, 0, 3, side, side, 0},
                               .weighting = o->weighting < 0 ? 0 : o->weighting,
                               .sigma_min = 0.002,
                               .sigma_max = 80,
                               .rho = 7,
                               .sigma_data = 0.5};
    return s;
}

/* Runs an objective on a batch with gradients of the batch's mean. */
static cm_status run_objective(const cm_objective *o, const cm_objective_settings *s, toy *t, const double *x0,
                               const double *z, const double *u, const double *normal, double share, double *loss)
{
    double shares[64];
    const cm_objective_nets nets = {t, evaluate, online, backward};
    cm_objective_batch b = {t->n, x0, z, u, normal, loss, shares, NULL};
    for (size_t i = 0; i < t->n; i++) shares[i] = share;
    b.work = calloc(cm_objective_work(s, t->n), sizeof *b.work);
    cm_status status = o->run(s, &b, &nets);
    free(b.work);
    return status;
}

static void compare_gradients(const golden_file *f, golden_result *r, const char *prefix, const toy *t)
{
    for (int i = 0; i < (t->classes ? 6 : 5); i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "%s.grad.%s", prefix, members[i]);
        int count = (i == 5 ? t->params : begins[i + 1]) - begins[i];
        compare(f, r, name, (size_t)count, t->gradient + begins[i], DOUBLE);
    }
}

static int32_t *integers(const golden_file *f, const char *name, size_t *count)
{
    double *v = golden_read(f, name, count);
    if (!v) return NULL;
    int32_t *out = malloc((*count + 1) * sizeof *out);
    for (size_t i = 0; i < *count; i++) out[i] = (int32_t)v[i];
    free(v);
    return out;
}

/* --- loss_cd_*, loss_ct_*, loss_progdist_* ------------------------------------------- */

static void one_loss(const golden_file *f, golden_result *r, const cm_objective *o, const char *metric,
                     const char *weighting, toy *t, int32_t side, const double *x0, const double *z, const double *u)
{
    char prefix[64], solver[32], name[96];
    double loss[64];
    cm_objective_settings s = settings_of(o, side);
    s.scales = (int32_t)number(f, "num_scales", 18);
    s.distance.metric = name_index(cm_metric_names, metric);
    s.weighting = cm_weighting_by_name(weighting);
    s.ode = name_index(cm_ode_names, text(f, "solver", solver, sizeof solver));
    memset(t->gradient, 0, sizeof t->gradient);
    if (s.distance.metric < 0 || s.weighting < 0 || s.ode < 0 ||
        run_objective(o, &s, t, x0, z, u, u, 1.0 / (double)t->n, loss) != CM_OK)
        golden_fail(r, "cannot run %s.%s", metric, weighting);
    (void)snprintf(prefix, sizeof prefix, "%s.%s", metric, weighting);
    (void)snprintf(name, sizeof name, "%s.loss", prefix);
    compare(f, r, name, t->n, loss, DOUBLE);
    compare_gradients(f, r, prefix, t);
}

static void run_loss(golden_file *f, golden_result *r)
{
    char mode[16];
    const cm_objective *o = cm_objective_by_name(text(f, "mode", mode, sizeof mode));
    const cm_st_tensor *shape = cm_safetensors_find(&f->st, "x0");
    size_t n, count = 0;
    double *x0 = golden_read(f, "x0", NULL), *z = golden_read(f, "noise", NULL), *index = golden_read(f, "indices", &n);
    double *mask = golden_read(f, "dropout_mask.online", NULL), u[64];
    json_t *norms = golden_json(f, "norms"), *weightings = golden_json(f, "weight_schedules"), *a, *b;
    size_t i, k;
    toy t;
    if (!o || !shape || !x0 || !z || !index) {
        golden_fail(r, "no inputs");
        return;
    }
    int32_t side = (int32_t)shape->shape[3], pairs = (int32_t)number(f, "num_scales", 18) - (o != &cm_objective_pd);
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
    for (i = 0; i < n; i++) u[i] = (index[i] + 0.5) / pairs;
    json_array_foreach(norms, i, a) json_array_foreach(weightings, k, b)
        one_loss(f, r, o, json_string_value(a), json_string_value(b), &t, side, x0, z, u);
    json_decref(norms);
    json_decref(weightings);
    free(x0), free(z), free(index), free(mask), free(t.x), free((void *)(uintptr_t)t.labels);
}

/* --- loss_edm ---------------------------------------------------------------------------- */

static void run_loss_edm(golden_file *f, golden_result *r)
{
    const cm_objective *o = &cm_objective_edm;
    size_t n = 0;
    double *x0 = golden_read(f, "x0", NULL), *z = golden_read(f, "noise", NULL);
    double *normal = golden_read(f, "rnd_normal", &n), *u = golden_read(f, "rnd_uniform", NULL), loss[64];
    char prefix[64], name[96];
    toy t;
    open_toy(f, n, 64, &t);
    for (int kind = 0; kind < 8; kind++) { /* five weightings of openai's, three losses of NVlabs's */
        static const char *const theirs[] = {"edm", "vp", "ve"};
        cm_objective_settings s = settings_of(o, 8);
        int nv = kind >= 5;
        t.tscale = nv ? 1 : 1e-3;
        set_precond(&t, 0, "edm");
        read_weights(f, nv ? "netE" : "net", t.weight[0], &t.params);
        s.p_mean = -1.2, s.p_std = 1.2;
        s.distance.sum = nv;
        s.levels = nv ? kind - 5 : CM_LEVELS_LOGNORMAL;
        s.weighting = nv ? (kind == 5 ? CM_WEIGHT_KARRAS : CM_WEIGHT_SNR) : kind;
        memset(t.gradient, 0, sizeof t.gradient);
        if (run_objective(o, &s, &t, x0, z, u, normal, 1.0 / (double)n, loss) != CM_OK) golden_fail(r, "run");
        (void)snprintf(prefix, sizeof prefix, "%s.%s", nv ? "nvlabs" : "openai", nv ? theirs[kind - 5] : cm_weighting_names[kind]);
        compare_gradients(f, r, prefix, &t);
        if (nv) {
            double total = 0;
            for (size_t i = 0; i < n; i++) total += loss[i] / (double)n;
            (void)snprintf(name, sizeof name, "%s.total", prefix);
            compare(f, r, name, 1, &total, DOUBLE);
        } else {
            (void)snprintf(name, sizeof name, "%s.loss", prefix);
            compare(f, r, name, n, loss, DOUBLE);
        }
    }
    free(x0), free(z), free(normal), free(u), free(t.x);
}

/* --- train_* ------------------------------------------------------------------------------- */

typedef struct {
    const golden_file *f;
    const cm_objective *o;
    cm_objective_settings s;
    cm_curriculum c;
    cm_optim optim;
    toy t;
    size_t steps, batch, micro;
    float p[PARAMS], g[PARAMS], m[PARAMS], v[PARAMS], target[PARAMS], ema[2][PARAMS];
    double rate[2];
    int rates;
} replay;

static void to_double(const float *from, double *to)
{
    for (int i = 0; i < PARAMS; i++) to[i] = (double)from[i];
}

static void to_float(const double *from, float *to)
{
    for (int i = 0; i < PARAMS; i++) to[i] = (float)from[i];
}

/* x0 of a step: rows of `data`, mirrored where the file says so. */
static void gather(const golden_file *f, size_t step, size_t batch, const double *data, const double *index,
                   const double *flip, double *x0)
{
    (void)f;
    for (size_t i = 0; i < batch; i++) {
        size_t row = (size_t)index[step * batch + i];
        for (size_t y = 0; y < 24; y++)
            for (size_t x = 0; x < 8; x++) {
                size_t from = flip && flip[step * batch + i] != 0 ? 7 - x : x;
                x0[i * 192 + y * 8 + x] = data[row * 192 + y * 8 + from];
            }
    }
}

static void check_final(const replay *w, golden_result *r, const char *set, const float *values)
{
    double wide[PARAMS];
    to_double(values, wide);
    for (int i = 0; i < (w->t.classes ? 6 : 5); i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "final.%s.%s", set, members[i]);
        int count = (i == 5 ? w->t.params : begins[i + 1]) - begins[i];
        compare(w->f, r, name, (size_t)count, wide + begins[i], FLOAT32);
    }
}

static void read_rates(replay *w)
{
    char list[64];
    text(w->f, "ema_rates", list, sizeof list);
    json_t *v = golden_json(w->f, "ema_rates");
    if (json_is_number(v)) w->rate[w->rates++] = json_number_value(v);
    else for (char *at = list; *at && w->rates < 2; w->rates++) {
            w->rate[w->rates] = strtod(at, &at);
            if (*at == ',') at++;
        }
    json_decref(v);
}

static void set_up(replay *w)
{
    char word[32];
    json_t *scales = golden_json(w->f, "ema_scale_args");
    w->s = settings_of(w->o, 8);
    w->s.p_mean = -1.2, w->s.p_std = 1.2;
    w->s.distance.metric = name_index(cm_metric_names, text(w->f, "loss_norm", word, sizeof word));
    w->s.weighting = cm_weighting_by_name(text(w->f, "weight_schedule", word, sizeof word));
    w->optim = (cm_optim){CM_OPTIM_RADAM, 0.9, 0.999, 1e-8, number(w->f, "weight_decay", 0)};
    w->c.lr = number(w->f, "lr", 1e-3);
    w->c.anneal_end = (int64_t)number(w->f, "lr_anneal_steps", 0);
    if (json_array_size(scales) == 7) {
        w->c.mu = name_index(cm_mu_names, json_string_value(json_array_get(scales, 0)));
        w->c.mu0 = json_number_value(json_array_get(scales, 1));
        w->c.scales = name_index(cm_scales_names, json_string_value(json_array_get(scales, 2)));
        w->c.start = (int32_t)json_integer_value(json_array_get(scales, 3));
        w->c.end = (int32_t)json_integer_value(json_array_get(scales, 4));
        w->c.total = json_integer_value(json_array_get(scales, 5));
        w->c.distill_steps = json_integer_value(json_array_get(scales, 6));
    } else if (w->o == &cm_objective_pd) {
        w->c.scales = CM_SCALES_PROGDIST;
        w->c.start = (int32_t)number(w->f, "start_scales", 8);
        w->c.distill_steps = (int64_t)number(w->f, "distill_steps_per_iter", 6);
    }
    json_decref(scales);
    read_rates(w);
    for (int which = 0; which < 3; which++) set_precond(&w->t, which, which == 2 ? "edm" : w->o->precond);
    read_weights(w->f, "init", w->t.weight[0], &w->t.params);
    if (!read_weights(w->f, "teacher", w->t.weight[2], &w->t.params) || !cm_safetensors_find(&w->f->st, "teacher.M"))
        memcpy(w->t.weight[2], w->t.weight[0], sizeof w->t.weight[0]);
    to_float(w->t.weight[0], w->p);
    memcpy(w->target, w->p, sizeof w->p);
    for (int i = 0; i < w->rates; i++) memcpy(w->ema[i], w->p, sizeof w->p);
}

/* One step of all micro-batches; their gradients add up as the reference's do. */
static cm_status one_step(replay *w, const double *x0, const double *z, const double *u, const double *normal,
                          const int32_t *labels, const double *masks, double *losses)
{
    memset(w->t.gradient, 0, sizeof w->t.gradient);
    to_double(w->p, w->t.weight[0]);
    to_double(w->target, w->t.weight[1]);
    for (size_t first = 0; first < w->batch; first += w->micro) {
        w->t.n = w->micro;
        w->t.labels = labels ? labels + first : NULL;
        w->t.mask = masks ? masks + first * 192 : NULL;
        CM_TRY(run_objective(w->o, &w->s, &w->t, x0 + first * 192, z + first * 192, (u ? u : normal) + first,
                             (normal ? normal : u) + first, 1.0 / (double)w->micro, losses + first));
    }
    to_float(w->t.gradient, w->g);
    return CM_OK;
}

static void run_train(golden_file *f, golden_result *r)
{
    replay w;
    char mode[16];
    size_t count = 0, labels_count = 0;
    memset(&w, 0, sizeof w);
    w.f = f;
    w.o = cm_objective_by_name(text(f, "mode", mode, sizeof mode));
    if (!w.o) w.o = &cm_objective_pd; /* train_progdist names no mode */
    double *data = golden_read(f, "data", NULL), *index = golden_read(f, "batch_index", &count);
    double *flip = golden_read(f, "flip", NULL), *noise = golden_read(f, "noise", NULL);
    double *u = golden_read(f, "u_index", NULL), *normal = golden_read(f, "rnd_normal", NULL);
    double *masks = golden_read(f, "dropout_masks", NULL), *lr = golden_read(f, "lr", NULL);
    double *scales = golden_read(f, "N", NULL), *mu = golden_read(f, "mu", NULL);
    int32_t *all_labels = integers(f, "labels", &labels_count), labels[64];
    const cm_st_tensor *shape = cm_safetensors_find(&f->st, "batch_index");
    w.steps = (size_t)shape->shape[0];
    w.batch = (size_t)shape->shape[1];
    w.micro = number(f, "microbatch", -1) > 0 ? (size_t)number(f, "microbatch", -1) : w.batch;
    open_toy(f, w.batch, 64, &w.t);
    w.t.classes = all_labels != NULL;
    set_up(&w);
    double *x0 = calloc(w.batch * 192, sizeof *x0), *losses = calloc(w.steps * w.batch, sizeof *losses);
    double *flat = calloc(w.steps * PARAMS, sizeof *flat);
    int32_t before = 0;
    int64_t since = 0;
    for (size_t k = 0; k < w.steps && r->outcome == GOLDEN_OK; k++, since++) {
        cm_moment now = cm_curriculum_at(&w.c, (int64_t)k);
        if (scales) golden_compare(r, "N", fabs(now.scales - scales[k]), 0);
        if (mu) golden_compare(r, "mu", fabs(now.mu - mu[k]), 1e-12);
        if (lr) golden_compare(r, "lr", fabs(now.lr - lr[k]), 1e-11 * w.c.lr);
        w.s.scales = now.scales;
        if (w.o == &cm_objective_pd && before && before != now.scales) { /* the student teaches */
            to_double(w.p, w.t.weight[2]);
            memset(w.m, 0, sizeof w.m);
            memset(w.v, 0, sizeof w.v);
            since = 0;
        }
        before = now.scales;
        gather(f, k, w.batch, data, index, flip, x0);
        for (size_t i = 0; all_labels && i < w.batch; i++) labels[i] = all_labels[(size_t)index[k * w.batch + i]];
        if (one_step(&w, x0, noise + k * w.batch * 192, u ? u + k * w.batch : NULL, normal ? normal + k * w.batch : NULL,
                     all_labels ? labels : NULL, masks ? masks + k * w.batch * 192 : NULL, losses + k * w.batch) != CM_OK ||
            cm_optim_step(&w.optim, 1, since + 1, now.lr, (size_t)w.t.params, w.p, w.g, w.m, w.v) != CM_OK)
            golden_fail(r, "step %zu: %s", k, cm_last_message());
        for (int i = 0; i < w.rates; i++) (void)cm_ema_update(1, w.rate[i], PARAMS, w.ema[i], w.p);
        if (w.o->has_target) (void)cm_ema_update(1, now.mu, PARAMS, w.target, w.p);
        for (int i = 0; i < w.t.params; i++) flat[k * (size_t)w.t.params + (size_t)i] = (double)w.p[i];
    }
    compare(f, r, "losses", w.steps * w.batch, losses, FLOAT32);
    compare(f, r, "params_flat_per_step", w.steps * (size_t)w.t.params, flat, FLOAT32);
    if (cm_safetensors_find(&f->st, "final.net.M")) check_final(&w, r, "net", w.p);
    if (cm_safetensors_find(&f->st, "final.target.M")) check_final(&w, r, "target", w.target);
    for (int i = 0; i < w.rates; i++) {
        char set[32];
        (void)snprintf(set, sizeof set, "ema_%g", w.rate[i]);
        check_final(&w, r, set, w.ema[i]);
    }
    free(data), free(index), free(flip), free(noise), free(u), free(normal), free(masks), free(lr), free(scales);
    free(mu), free(all_labels), free(x0), free(losses), free(flat), free(w.t.x);
}

/* --- optim ------------------------------------------------------------------------------------ */

static double member(const json_t *o, const char *key, double fallback)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

static void optim_case(const golden_file *f, golden_result *r, const json_t *c, int tensor)
{
    static const char *const theirs[] = {"RAdam", "Adam", "AdamW", "SGD", NULL};
    char name[64];
    size_t n = 0, all = 0;
    int i = (int)member(c, "i", 0);
    const json_t *betas = json_object_get(c, "betas");
    cm_optim o = {name_index(theirs, json_string_value(json_object_get(c, "opt"))), 0.9, 0.999, member(c, "eps", 1e-8),
                  member(c, "weight_decay", 0)};
    if (betas) o.beta1 = json_number_value(json_array_get(betas, 0)), o.beta2 = json_number_value(json_array_get(betas, 1));
    (void)snprintf(name, sizeof name, "p0.%d", tensor);
    double *start = golden_read(f, name, &n);
    (void)snprintf(name, sizeof name, "grads.%d", tensor);
    double *grads = golden_read(f, name, &all), *path = calloc(all, sizeof *path), *last = calloc(n, sizeof *last);
    float p[64], g[64], m[64] = {0}, v[64] = {0};
    for (size_t k = 0; k < n; k++) p[k] = (float)start[k];
    for (size_t step = 0; step < all / n; step++) {
        for (size_t k = 0; k < n; k++) g[k] = (float)grads[step * n + k];
        (void)cm_optim_step(&o, 1, (int64_t)step + 1, member(c, "lr", 0), n, p, g, m, v);
        for (size_t k = 0; k < n; k++) path[step * n + k] = (double)p[k];
    }
    (void)snprintf(name, sizeof name, "case%d.traj.%d", i, tensor);
    compare(f, r, name, all, path, FLOAT32);
    for (int moment = 0; moment < 2 && o.kind != CM_OPTIM_SGD; moment++) {
        for (size_t k = 0; k < n; k++) last[k] = (double)(moment ? v : m)[k];
        (void)snprintf(name, sizeof name, "case%d.exp_avg%s.%d", i, moment ? "_sq" : "", tensor);
        compare(f, r, name, n, last, FLOAT32);
    }
    free(start), free(grads), free(path), free(last);
}

static void run_optim(golden_file *f, golden_result *r)
{
    json_t *cases = golden_json(f, "cases"), *c;
    size_t i;
    json_array_foreach(cases, i, c) for (int tensor = 0; tensor < 3; tensor++) optim_case(f, r, c, tensor);
    json_decref(cases);
}

/* --- ema_misc --------------------------------------------------------------------------------- */

static void check_averages(const golden_file *f, golden_result *r)
{
    size_t all = 0, n = 0;
    double *src = golden_read(f, "src", &all), *init = golden_read(f, "init", &n);
    for (size_t t = 0; t < f->st.count; t++) {
        const char *name = f->st.tensors[t].name;
        size_t length = strlen(name);
        if (strncmp(name, "ema.", 4) != 0 || strcmp(name + length - 5, ".traj") != 0) continue;
        double rate = strtod(name + 4, NULL), *path = calloc(all, sizeof *path);
        float e[64], p[64];
        for (size_t k = 0; k < n; k++) e[k] = (float)init[k];
        for (size_t step = 0; step < all / n; step++) {
            for (size_t k = 0; k < n; k++) p[k] = (float)src[step * n + k];
            (void)cm_ema_update(1, rate, n, e, p);
            for (size_t k = 0; k < n; k++) path[step * n + k] = (double)e[k];
        }
        compare(f, r, name, all, path, FLOAT32);
        free(path);
    }
    free(src), free(init);
}

static const char *find_table(const golden_file *f, const char *prefix)
{
    for (size_t t = 0; t < f->st.count; t++)
        if (strncmp(f->st.tensors[t].name, prefix, strlen(prefix)) == 0) return f->st.tensors[t].name;
    return "";
}

/* Rows (batch, halflife in kimg, ramp, images so far, beta). */
static void check_halflife(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *rows = golden_read(f, find_table(f, "halflife_rows"), &n);
    for (size_t i = 0; rows && i < n / 5; i++) {
        const double *row = rows + 5 * i;
        const cm_ema_rate rate = {CM_EMA_HALFLIFE, row[1] * 1000, row[2] > 0 ? row[2] : 0};
        /* k steps of the batch have been taken: images = k batch */
        double beta = cm_ema_rate_at(&rate, (int64_t)llround(row[3] / row[0]), row[0]);
        if (fmod(row[3], row[0]) != 0) continue; /* no whole number of steps */
        golden_compare(r, "halflife", fabs(beta - row[4]), 1e-12);
    }
    if (!rows) golden_fail(r, "no half-life table");
    free(rows);
}

static void check_clipping(const golden_file *f, golden_result *r)
{
    size_t n[2];
    double *g[2] = {golden_read(f, "clip.g0", &n[0]), golden_read(f, "clip.g1", &n[1])}, norm = 0;
    float all[64];
    for (size_t i = 0; i < n[0] + n[1]; i++) all[i] = (float)(i < n[0] ? g[0][i] : g[1][i - n[0]]);
    (void)cm_gradient_norm(1, n[0] + n[1], all, &norm);
    compare(f, r, "clip.norm", 1, &norm, FLOAT32);
    for (size_t t = 0; t < f->st.count; t++) {
        const char *name = f->st.tensors[t].name, *rules[] = {"torch", "optax"};
        for (int rule = 0; rule < 2; rule++) {
            char prefix[32];
            double *got = calloc(n[0] + n[1], sizeof *got);
            int length = snprintf(prefix, sizeof prefix, "clip.%s.", rules[rule]);
            if (strncmp(name, prefix, (size_t)length) == 0 && name[strlen(name) - 2] == 'g') { /* clip.torch.1.0.g0 */
                double max = strtod(name + length, NULL);
                char which = name[strlen(name) - 1];
                size_t count = which == '0' ? n[0] : n[1];
                double factor = cm_clip_factor(rule ? CM_CLIP_OPTAX : CM_CLIP_TORCH, norm, max);
                for (size_t i = 0; i < count; i++) got[i] = factor * g[which - '0'][i];
                compare(f, r, name, count, got, FLOAT32);
            }
            free(got);
        }
    }
    free(g[0]), free(g[1]);
}

static void check_loss_scale(const golden_file *f, golden_result *r)
{
    size_t n = 0, overflows = 0;
    double *after = golden_read(f, "fp16.lg_loss_scale_after", &n), *took = golden_read(f, "fp16.took_step", NULL);
    double *at = golden_read(f, "fp16.overflow_steps", &overflows), lg = 20;
    for (size_t k = 0; after && k < n; k++) {
        int overflow = 0;
        for (size_t i = 0; i < overflows; i++) overflow |= (size_t)at[i] == k;
        golden_compare(r, "fp16.took_step", fabs(cm_loss_scale_step(&lg, 1e-3, overflow) - took[k]), 0);
        golden_compare(r, "fp16.lg_loss_scale_after", fabs(lg - after[k]), 1e-11 * 20);
    }
    if (!after) golden_fail(r, "no loss scale trace");
    free(after), free(took), free(at);
}

/* Rows (lr, ramp in kimg, images so far, lr then): a ramp of ramp / batch steps,
 * of which ours takes the first at 1 / ramp instead of 0. */
static void check_warmup(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *rows = golden_read(f, find_table(f, "edm_lr_rows"), &n);
    for (size_t i = 0; rows && i < n / 4; i++) {
        const double *row = rows + 4 * i;
        cm_curriculum c = {.lr = row[0], .warmup = (int64_t)llround(row[1] * 1000)};
        if (row[2] < 1) continue;
        golden_compare(r, "edm_lr", fabs(cm_curriculum_at(&c, (int64_t)llround(row[2]) - 1).lr - row[3]), 1e-12 * row[0]);
    }
    if (!rows) golden_fail(r, "no warm-up table");
    free(rows);
}

static void run_ema_misc(golden_file *f, golden_result *r)
{
    check_averages(f, r);
    check_halflife(f, r);
    check_clipping(f, r);
    check_loss_scale(f, r);
    check_warmup(f, r);
}

/* --- scale_ema_schedules, bilinear -------------------------------------------------------------- */

static void run_scales(golden_file *f, golden_result *r)
{
    json_t *configs = golden_json(f, "configs"), *v;
    const char *key;
    json_object_foreach(configs, key, v)
    {
        char name[96];
        size_t n = 0;
        cm_curriculum c = {.start = (int32_t)member(v, "start_scales", 2), .end = (int32_t)member(v, "end_scales", 2),
                           .mu0 = member(v, "start_ema", 0), .total = (int64_t)member(v, "total_steps", 1),
                           .distill_steps = (int64_t)member(v, "distill_steps_per_iter", 1)};
        c.scales = name_index(cm_scales_names, json_string_value(json_object_get(v, "scale_mode")));
        c.mu = name_index(cm_mu_names, json_string_value(json_object_get(v, "target_ema_mode")));
        (void)snprintf(name, sizeof name, "%s.k", key);
        double *k = golden_read(f, name, &n);
        (void)snprintf(name, sizeof name, "%s.N", key);
        double *scales = golden_read(f, name, NULL);
        (void)snprintf(name, sizeof name, "%s.mu", key);
        double *mu = golden_read(f, name, NULL);
        (void)snprintf(name, sizeof name, "%s.mu_paper", key);
        double *paper = golden_read(f, name, NULL);
        for (size_t i = 0; k && i < n; i++) {
            /* Beyond K the reference's N keeps growing; ours stops (algorithms 4.5). */
            if (c.scales == CM_SCALES_PROGRESSIVE && k[i] > (double)c.total) continue;
            cm_moment now = cm_curriculum_at(&c, (int64_t)k[i]);
            golden_compare(r, name, fabs(now.scales - scales[i]), 0);
            golden_compare(r, name, fabs(now.mu - mu[i]), 1e-11);
            if (!paper) continue;
            c.mu = CM_MU_ADAPTIVE_PAPER;
            golden_compare(r, name, fabs(cm_curriculum_at(&c, (int64_t)k[i]).mu - paper[i]), 1e-11);
            c.mu = CM_MU_ADAPTIVE;
        }
        free(k), free(scales), free(mu), free(paper);
    }
    json_decref(configs);
}

static void run_bilinear(golden_file *f, golden_result *r)
{
    for (size_t t = 0; t < f->st.count; t++) {
        const cm_st_tensor *to = &f->st.tensors[t];
        const char *name = to->name, *end = strstr(name, ".f64");
        if (to->rank != 4 || !end) continue;
        /* The source is the input of the same batch and channels that is not itself a result. */
        for (size_t k = 0; k < f->st.count; k++) {
            const cm_st_tensor *from = &f->st.tensors[k];
            if (from->rank != 4 || from->name[0] != 'x' || strstr(from->name, ".f64") || from->shape[0] != to->shape[0]) continue;
            double *in = golden_read(f, from->name, NULL), *out = calloc(to->count, sizeof *out);
            int32_t h = (int32_t)from->shape[2], w = (int32_t)from->shape[3], oh = (int32_t)to->shape[2], ow = (int32_t)to->shape[3];
            for (int64_t plane = 0; plane < from->shape[0] * from->shape[1]; plane++)
                cm_bilinear(h, w, in + plane * h * w, oh, ow, out + plane * oh * ow);
            char base[96];
            (void)snprintf(base, sizeof base, "%.*s", (int)(end - name), name);
            compare(f, r, base, to->count, out, DOUBLE);
            free(in), free(out);
        }
    }
}

/* --- ect, ict -------------------------------------------------------------------------------------- */

static void ect_case(const golden_file *f, golden_result *r, const json_t *c, toy *t, const double *x0, const double *z,
                     const double *normal)
{
    char prefix[32], name[64];
    double loss[64], times[2][64], gap;
    cm_objective_settings s = settings_of(&cm_objective_ect, 8);
    s.p_mean = -1.1, s.p_std = 2;
    s.q = member(c, "q", 2), s.k = member(c, "k", 8), s.b = member(c, "b", 1);
    s.distance.huber_c = member(c, "c", 0);
    s.stage = (int32_t)member(c, "stage", 0);
    s.mapping = name_index(cm_mapping_names, json_string_value(json_object_get(c, "adj")));
    memset(t->gradient, 0, sizeof t->gradient);
    memcpy(t->weight[1], t->weight[0], sizeof t->weight[0]);
    if (run_objective(&cm_objective_ect, &s, t, x0, z, normal, normal, 1.0 / (double)t->n, loss) != CM_OK) golden_fail(r, "run");
    (void)snprintf(prefix, sizeof prefix, "case%d", (int)member(c, "i", 0));
    for (size_t i = 0; i < t->n; i++) {
        times[0][i] = exp(s.p_mean + s.p_std * normal[i]);
        cm_ect_pair(&s, times[0][i], &times[1][i], &gap);
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
        cm_objective_settings o = settings_of(&cm_objective_ect, 8);
        o.mapping = strncmp(name + 4, "const", 5) == 0 ? CM_MAPPING_CONST : CM_MAPPING_SIGMOID;
        o.q = strtod(q + 2, NULL), o.k = 8, o.b = 1;
        while (s && strstr(s + 1, ".s")) s = strstr(s + 1, ".s");
        o.stage = atoi(s + 2);
        for (size_t k = 0; k < n; k++) cm_ect_pair(&o, t[k], &got[k], &gap);
        compare(f, r, name, n, got, DOUBLE);
    }
    free(t), free(got);
}

static void run_ect(golden_file *f, golden_result *r)
{
    json_t *cases = golden_json(f, "cases"), *c;
    size_t i, n = 0;
    double *x0 = golden_read(f, "x0", NULL), *z = golden_read(f, "noise", NULL), *normal = golden_read(f, "rnd_normal", &n);
    toy t;
    open_toy(f, n, 64, &t);
    for (int k = 0; k < 3; k++) set_precond(&t, k, "ecm");
    read_weights(f, "net", t.weight[0], &t.params);
    json_array_foreach(cases, i, c) ect_case(f, r, c, &t, x0, z, normal);
    check_mapping(f, r);
    json_decref(cases);
    free(x0), free(z), free(normal), free(t.x);
}

static void check_ict_tables(const golden_file *f, golden_result *r)
{
    for (size_t i = 0; i < f->st.count; i++) {
        const char *name = f->st.tensors[i].name;
        double *k, *scales;
        size_t n = 0;
        if (strncmp(name, "N.", 2) == 0 && name[strlen(name) - 1] == 'k') { /* N.K.s0.s1.k */
            char *end, other[96];
            cm_curriculum c = {.scales = CM_SCALES_ICT, .total = strtoll(name + 2, &end, 10)};
            c.start = (int32_t)strtol(end + 1, &end, 10);
            c.end = (int32_t)strtol(end + 1, &end, 10);
            (void)snprintf(other, sizeof other, "%.*sN", (int)strlen(name) - 1, name);
            k = golden_read(f, name, &n);
            scales = golden_read(f, other, NULL);
            for (size_t j = 0; j < n; j++) golden_compare(r, other, fabs(cm_curriculum_at(&c, (int64_t)k[j]).scales - scales[j]), 0);
            free(k), free(scales);
        } else if (strncmp(name, "sig.", 4) == 0) {
            cm_objective_settings s = settings_of(&cm_objective_ict, 8);
            char other[64];
            s.scales = atoi(name + 4);
            s.p_mean = -1.1, s.p_std = 2;
            double *levels = calloc((size_t)s.scales, sizeof *levels), *p = calloc((size_t)s.scales, sizeof *p);
            cm_ict_levels(&s, levels, p);
            compare(f, r, name, (size_t)s.scales, levels, DOUBLE);
            (void)snprintf(other, sizeof other, "p.%d", s.scales);
            compare(f, r, other, (size_t)s.scales - 1, p, DOUBLE);
            for (int j = 0; j + 1 < s.scales; j++) p[j] = 1 / (levels[j + 1] - levels[j]);
            (void)snprintf(other, sizeof other, "lambda.%d", s.scales);
            compare(f, r, other, (size_t)s.scales - 1, p, DOUBLE);
            free(levels), free(p);
        }
    }
}

static void run_ict(golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *index = golden_read(f, "loss.index", &n), *x0 = golden_read(f, "loss.x0", NULL), *z = golden_read(f, "loss.noise", NULL);
    double u[64], loss[64], *hx = golden_read(f, "huber.x", NULL), *hy = golden_read(f, "huber.y", NULL), value[3], grad[3 * 192];
    cm_objective_settings s = settings_of(&cm_objective_ict, 8);
    toy t;
    check_ict_tables(f, r);
    s.distance.huber_c = number(f, "huber_c", 0);
    s.p_mean = -1.1, s.p_std = 2;
    s.scales = (int32_t)number(f, "loss_N", 41);
    for (size_t i = 0; i < 3; i++) value[i] = cm_distance_of(&s.distance, hx + i * 192, hy + i * 192, grad + i * 192, NULL);
    compare(f, r, "huber.value", 3, value, DOUBLE);
    compare(f, r, "huber.grad_x", 3 * 192, grad, DOUBLE);
    open_toy(f, n, 64, &t);
    t.tscale = number(f, "tscale", 1e-3);
    for (int k = 0; k < 3; k++) set_precond(&t, k, "cm");
    read_weights(f, "net", t.weight[0], &t.params);
    memcpy(t.weight[1], t.weight[0], sizeof t.weight[0]);
    /* u in the middle of the pair's share of the cumulated probability */
    double *levels = calloc((size_t)s.scales, sizeof *levels), *p = calloc((size_t)s.scales, sizeof *p);
    cm_ict_levels(&s, levels, p);
    for (size_t i = 0; i < n; i++) {
        u[i] = p[(int)index[i]] / 2;
        for (int j = 0; j < (int)index[i]; j++) u[i] += p[j];
    }
    if (run_objective(&cm_objective_ict, &s, &t, x0, z, u, u, 1.0 / (double)n, loss) != CM_OK) golden_fail(r, "run");
    compare(f, r, "loss.per_sample", n, loss, DOUBLE);
    compare_gradients(f, r, "loss", &t);
    free(levels), free(p), free(index), free(x0), free(z), free(hx), free(hy), free(t.x);
}

/* ---------------------------------------------------------------------------------------------------- */

int golden_training(golden_file *f, golden_result *r)
{
    static const struct {
        const char *prefix;
        void (*run)(golden_file *, golden_result *);
    } kinds[] = {{"loss_edm", run_loss_edm}, {"loss_", run_loss},     {"train_", run_train},
                 {"optim", run_optim},       {"ema_misc", run_ema_misc}, {"scale_ema", run_scales},
                 {"bilinear", run_bilinear}, {"ect", run_ect},        {"ict", run_ict}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(f->name, kinds[i].prefix, strlen(kinds[i].prefix)) == 0) {
            kinds[i].run(f, r);
            return 1;
        }
    return 0;
}
