/* training_runs.c - golden/algorithms: train_* replayed step by step, optim. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu_level.h"
#include "train/curriculum.h"
#include "train/ema.h"
#include "train/optim.h"
#include "training_toy.h"

/* --- train_* ------------------------------------------------------------------------------- */

enum { RATES = 8 };

typedef struct {
    const golden_file *f;
    const cm_objective *o;
    cm_objective_settings s;
    cm_curriculum c;
    cm_optim optim;
    toy t;
    size_t steps, batch, micro;
    float p[PARAMS], g[PARAMS], m[PARAMS], v[PARAMS], target[PARAMS], ema[RATES][PARAMS];
    double rate[RATES];
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
        (void)snprintf(name, sizeof name, "final.%s.%s", set, toy_members[i]);
        int count = (i == 5 ? w->t.params : toy_begins[i + 1]) - toy_begins[i];
        compare(w->f, r, name, (size_t)count, wide + toy_begins[i], FLOAT32);
    }
}

static void read_rates(replay *w)
{
    char list[64];
    text(w->f, "ema_rates", list, sizeof list);
    json_t *v = golden_json(w->f, "ema_rates");
    if (json_is_number(v)) w->rate[w->rates++] = json_number_value(v);
    else
        for (char *at = list; *at && w->rates < RATES; w->rates++) {
            w->rate[w->rates] = strtod(at, &at);
            if (*at == ',') at++;
        }
    json_decref(v);
}

/* "RAdam betas (0.9,0.999) eps 1e-8", or the words of progressive distillation's file. */
static void read_optimizer(replay *w, golden_result *r)
{
    static const char *const theirs[] = {"RAdam", "Adam", "AdamW", "SGD", NULL};
    char words[96], name[32] = "";
    w->optim = (cm_optim){CM_OPTIMIZER_RADAM, 0.9, 0.999, 1e-8, number(w->f, "weight_decay", 0)};
    text(w->f, "optimizer", words, sizeof words);
    if (strcmp(words, "RAdam, restarted at each change of N") == 0 && w->o == &cmi_objective_pd) return;
    int end = 0, read = sscanf(words, "%31s betas (%lf,%lf) eps %lf%n", name, &w->optim.beta1, &w->optim.beta2,
                               &w->optim.eps, &end);
    w->optim.kind = name_index(theirs, name);
    if (read != 4 || words[end] || w->optim.kind < 0) golden_fail(r, "optimizer is '%s'", words);
}

/* The names of the tensors whose values lie one after the other in params_flat_per_step. */
static void check_order(const replay *w, golden_result *r)
{
    json_t *order = golden_json(w->f, "param_order"), *v;
    size_t i;
    if (order && json_array_size(order) != (w->t.classes ? 6u : 5u)) golden_fail(r, "param_order has another length");
    json_array_foreach(order, i, v) if (i >= 6 || strcmp(json_string_value(v), toy_members[i]) != 0)
        golden_fail(r, "param_order[%zu] is '%s'", i, json_string_value(v));
    json_decref(order);
}

static void set_up(replay *w, golden_result *r)
{
    char word[32];
    json_t *scales = golden_json(w->f, "ema_scale_args");
    w->s = settings_of(w->f, w->o, 8);
    w->s.p_mean = number(w->f, "P_mean", -1.2), w->s.p_std = number(w->f, "P_std", 1.2);
    w->s.ode = cmi_choice_find(&cmi_ode_choices, text(w->f, "solver", word, sizeof word));
    if (!*word) w->s.ode = CM_ODE_HEUN; /* progressive distillation's file names none */
    w->s.distance.kind = cmi_choice_find(&cmi_distance_choices, text(w->f, "loss_norm", word, sizeof word));
    w->s.weighting = (cm_loss_weighting)golden_weighting(text(w->f, "weight_schedule", word, sizeof word));
    read_optimizer(w, r);
    w->c.lr = number(w->f, "lr", 1e-3);
    w->c.anneal_end = (int64_t)number(w->f, "lr_anneal_steps", 0);
    if (json_array_size(scales) == 7) {
        w->c.mu = cmi_choice_find(&cmi_mu_choices, json_string_value(json_array_get(scales, 0)));
        w->c.mu0 = json_number_value(json_array_get(scales, 1));
        w->c.scales = cmi_choice_find(&cmi_scales_choices, json_string_value(json_array_get(scales, 2)));
        w->c.start = (int32_t)json_integer_value(json_array_get(scales, 3));
        w->c.end = (int32_t)json_integer_value(json_array_get(scales, 4));
        w->c.total = json_integer_value(json_array_get(scales, 5));
        w->c.distill_steps = json_integer_value(json_array_get(scales, 6));
    } else if (w->o == &cmi_objective_pd) {
        w->c.scales = CM_SCALES_PROGDIST;
        w->c.start = (int32_t)number(w->f, "start_scales", 8);
        w->c.distill_steps = (int64_t)number(w->f, "distill_steps_per_iter", 6);
    }
    if (scales && json_array_size(scales) != 7 && json_array_size(scales) != 0)
        golden_fail(r, "ema_scale_args has %zu entries", json_array_size(scales));
    json_decref(scales);
    read_rates(w);
    check_order(w, r);
    golden_says(w->f, r, "rule",
                "student starts equal to the teacher; when N changes (before the step that uses the new N) "
                "teacher := student and the optimizer state is reset");
    if (w->t.p > 0 && !cmi_tensors_find(&w->f->st, "dropout_masks"))
        golden_fail(r, "dropout is %g, but there are no masks", w->t.p);
    if (w->s.distance.kind < 0 || w->s.weighting < 0 || w->s.ode < 0 || w->c.mu < 0 || w->c.scales < 0)
        golden_fail(r, "a loss_norm, weight_schedule, solver or schedule that is not known");
    for (int which = 0; which < 3; which++) set_precond(&w->t, which, which == 2 ? "edm" : w->o->precond);
    read_weights(w->f, "init", w->t.weight[0], &w->t.params);
    if (!read_weights(w->f, "teacher", w->t.weight[2], &w->t.params) || !cmi_tensors_find(&w->f->st, "teacher.M"))
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

void run_train(golden_file *f, golden_result *r)
{
    replay w;
    char mode[16];
    size_t count = 0, labels_count = 0;
    memset(&w, 0, sizeof w);
    w.f = f;
    w.o = cmi_objective_by_name(text(f, "mode", mode, sizeof mode));
    if (!w.o) w.o = &cmi_objective_pd; /* train_progdist names no mode */
    double *data = golden_read(f, "data", NULL), *index = golden_read(f, "batch_index", &count);
    double *flip = golden_read(f, "flip", NULL), *noise = golden_read(f, "noise", NULL);
    double *u = golden_read(f, "u_index", NULL), *normal = golden_read(f, "rnd_normal", NULL);
    double *masks = golden_read(f, "dropout_masks", NULL), *lr = golden_read(f, "lr", NULL);
    double *scales = golden_read(f, "N", NULL), *mu = golden_read(f, "mu", NULL);
    int32_t *all_labels = integers(f, "labels", &labels_count), labels[64];
    const cm_tensor *shape = cmi_tensors_find(&f->st, "batch_index");
    w.steps = (size_t)shape->shape[0];
    w.batch = (size_t)shape->shape[1];
    golden_agrees(f, r, "steps", (double)w.steps);
    golden_agrees(f, r, "batch", (double)w.batch);
    w.micro = number(f, "microbatch", -1) > 0 ? (size_t)number(f, "microbatch", -1) : w.batch;
    open_toy(f, w.batch, 64, &w.t);
    w.t.classes = all_labels != NULL;
    set_up(&w, r);
    double *x0 = calloc(w.batch * 192, sizeof *x0), *losses = calloc(w.steps * w.batch, sizeof *losses);
    double *flat = calloc(w.steps * PARAMS, sizeof *flat);
    int32_t before = 0;
    int64_t since = 0;
    for (size_t k = 0; k < w.steps && r->outcome == GOLDEN_OK; k++, since++) {
        cm_moment now = cmi_curriculum_at(&w.c, (int64_t)k);
        if (scales) golden_compare(r, "N", fabs(now.scales - scales[k]), 0);
        if (mu) golden_compare(r, "mu", fabs(now.mu - mu[k]), 1e-12);
        if (lr) golden_compare(r, "lr", fabs(now.lr - lr[k]), 1e-11 * w.c.lr);
        w.s.scales = now.scales;
        if (w.o == &cmi_objective_pd && before && before != now.scales) { /* the student teaches */
            to_double(w.p, w.t.weight[2]);
            memset(w.m, 0, sizeof w.m);
            memset(w.v, 0, sizeof w.v);
            since = 0;
        }
        before = now.scales;
        gather(f, k, w.batch, data, index, flip, x0);
        for (size_t i = 0; all_labels && i < w.batch; i++) labels[i] = all_labels[(size_t)index[k * w.batch + i]];
        if (one_step(&w, x0, noise + k * w.batch * 192, u ? u + k * w.batch : NULL,
                     normal ? normal + k * w.batch : NULL, all_labels ? labels : NULL,
                     masks ? masks + k * w.batch * 192 : NULL, losses + k * w.batch) != CM_OK)
            golden_fail(r, "step %zu: %s", k, cm_last_message());
        const cm_optim_update update = cmi_optim_prepare(&w.optim, since + 1, now.lr);
        cmi_optim_apply(cmi_kernels_for(cmi_cpu_level()), &update, (size_t)w.t.params, w.p, w.g, w.m, w.v);
        for (int i = 0; i < w.rates; i++) cmi_ema_apply(w.rate[i], PARAMS, w.ema[i], w.p);
        if (w.o->target == CM_TARGET_AVERAGE) cmi_ema_apply(now.mu, PARAMS, w.target, w.p);
        for (int i = 0; i < w.t.params; i++) flat[k * (size_t)w.t.params + (size_t)i] = (double)w.p[i];
    }
    compare(f, r, "losses", w.steps * w.batch, losses, FLOAT32);
    compare(f, r, "params_flat_per_step", w.steps * (size_t)w.t.params, flat, FLOAT32);
    if (cmi_tensors_find(&f->st, "final.net.M")) check_final(&w, r, "net", w.p);
    if (cmi_tensors_find(&f->st, "final.target.M")) check_final(&w, r, "target", w.target);
    for (int i = 0; i < w.rates; i++) {
        char set[32];
        (void)snprintf(set, sizeof set, "ema_%g", w.rate[i]);
        check_final(&w, r, set, w.ema[i]);
    }
    free(data), free(index), free(flip), free(noise), free(u), free(normal), free(masks), free(lr), free(scales);
    free(mu), free(all_labels), free(x0), free(losses), free(flat);
    close_toy(&w.t);
}

/* --- optim ------------------------------------------------------------------------------------ */

static void optim_case(const golden_file *f, golden_result *r, const json_t *c, int tensor)
{
    static const char *const theirs[] = {"RAdam", "Adam", "AdamW", "SGD", NULL};
    static const char *const known[] = {"i", "opt", "lr", "betas", "eps", "weight_decay", "max_abs_f32_f64", NULL};
    char name[64];
    size_t n = 0, all = 0;
    int i = (int)member(c, "i", 0);
    golden_members(r, "cases", c, known);
    const json_t *betas = json_object_get(c, "betas");
    cm_optim o = {name_index(theirs, json_string_value(json_object_get(c, "opt"))), 0.9, 0.999,
                  member(c, "eps", 1e-8), member(c, "weight_decay", 0)};
    if (betas)
        o.beta1 = json_number_value(json_array_get(betas, 0)), o.beta2 = json_number_value(json_array_get(betas, 1));
    if (o.kind < 0) {
        golden_fail(r, "case %d: an optimizer that is not known", i);
        return;
    }
    (void)snprintf(name, sizeof name, "p0.%d", tensor);
    double *start = golden_read(f, name, &n);
    (void)snprintf(name, sizeof name, "grads.%d", tensor);
    double *grads = golden_read(f, name, &all), *path = calloc(all, sizeof *path), *last = calloc(n, sizeof *last);
    float p[64], g[64], m[64] = {0}, v[64] = {0};
    golden_agrees(f, r, "steps", (double)(all / n));
    for (size_t k = 0; k < n; k++) p[k] = (float)start[k];
    for (size_t step = 0; step < all / n; step++) {
        for (size_t k = 0; k < n; k++) g[k] = (float)grads[step * n + k];
        const cm_optim_update update = cmi_optim_prepare(&o, (int64_t)step + 1, member(c, "lr", 0));
        cmi_optim_apply(cmi_kernels_for(cmi_cpu_level()), &update, n, p, g, m, v);
        for (size_t k = 0; k < n; k++) path[step * n + k] = (double)p[k];
    }
    (void)snprintf(name, sizeof name, "case%d.traj.%d", i, tensor);
    compare(f, r, name, all, path, FLOAT32);
    for (int moment = 0; moment < 2 && o.kind != CM_OPTIMIZER_SGD; moment++) {
        for (size_t k = 0; k < n; k++) last[k] = (double)(moment ? v : m)[k];
        (void)snprintf(name, sizeof name, "case%d.exp_avg%s.%d", i, moment ? "_sq" : "", tensor);
        compare(f, r, name, n, last, FLOAT32);
    }
    free(start), free(grads), free(path), free(last);
}

void run_optim(golden_file *f, golden_result *r)
{
    json_t *cases = golden_json(f, "cases"), *c;
    size_t i;
    golden_says(f, r, "defaults",
                "betas=(0.9,0.999) eps=1e-8 weight_decay=0 (AdamW default 0.01 not used unless listed)");
    json_array_foreach(cases, i, c) for (int tensor = 0; tensor < 3; tensor++) optim_case(f, r, c, tensor);
    json_decref(cases);
}
