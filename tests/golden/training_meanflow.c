/* training_meanflow.c - golden/algorithms: meanflow. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/ema.h"
#include "training_toy.h"

typedef struct {
    const golden_file *f;
    golden_result *r;
    toy t;
    cm_objective_settings s;
    double *x, *e, *n_t, *n_r, *uniform;
    size_t n, times; /* images of a case, rows of the times */
} flow;

static const char *const plain_names[] = {"M", "u", "u2", "v", "a", "b", NULL};
static const char *const class_names[] = {"M", "u", "u2", "v", "a", "b", "E", NULL};
static const char *const head_names[] = {"M", "u", "u2", "v", "a", "b", "E", "a2", "b2", "uw", NULL};

static void take_weights(flow *c, const char *prefix)
{
    static const struct {
        const char *name;
        int begin;
    } more[] = {{"u2", U2}, {"a2", A2}, {"b2", B2}, {"uw", UW}};
    memset(c->t.weight[0], 0, sizeof c->t.weight[0]);
    if (!read_weights(c->f, prefix, c->t.weight[0], &c->t.params)) golden_fail(c->r, "no %s", prefix);
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        char name[64];
        size_t n = 0;
        (void)snprintf(name, sizeof name, "%s.%s", prefix, more[i].name);
        double *v = golden_read(c->f, name, &n);
        if (v) memcpy(c->t.weight[0] + more[i].begin, v, n * sizeof *v);
        free(v);
    }
}

/* The numbers of a sampler that the metadata describes. */
static void take_sampler(flow *c, const char *name)
{
    static const char *const known[] = {"P_mean_t", "P_std_t", "P_mean_r", "P_std_r", "ratio", NULL};
    json_t *all = golden_json(c->f, "time"), *one = json_object_get(all, name);
    golden_members(c->r, name, one, known);
    if (!one) golden_fail(c->r, "no sampler %s", name);
    c->s.flow_sampler = cmi_choice_find(&cmi_flow_sampler_choices, name);
    c->s.p_mean = member(one, "P_mean_t", 0), c->s.p_std = member(one, "P_std_t", 1);
    c->s.r_mean = member(one, "P_mean_r", 0), c->s.r_std = member(one, "P_std_r", 1);
    c->s.flow_ratio = member(one, "ratio", 1);
    json_decref(all);
}

static void named(const flow *c, const char *prefix, const char *what, size_t n, const double *got)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s.%s", prefix, what);
    compare(c->f, c->r, name, n, got, DOUBLE);
}

static void check_times(flow *c)
{
    static const char *const samplers[] = {"v0", "v1"};
    json_t *all = golden_json(c->f, "time");
    if (json_object_size(all) != 2) golden_fail(c->r, "time has %zu samplers", json_object_size(all));
    json_decref(all);
    double *t = calloc(c->times, sizeof *t), *r = calloc(c->times, sizeof *r);
    for (int k = 0; k < 2; k++) {
        char prefix[16];
        take_sampler(c, samplers[k]);
        for (size_t i = 0; i < c->times; i++)
            cmi_meanflow_times(&c->s, c->n_t[i], c->n_r[i], c->uniform[i], &t[i], &r[i]);
        (void)snprintf(prefix, sizeof prefix, "time.%s", samplers[k]);
        named(c, prefix, "t", c->times, t);
        named(c, prefix, "r", c->times, r);
    }
    free(t), free(r);
}

static cm_status run_on(flow *c, const cm_objective *o, const double *n_t, const double *n_r, const double *uniform,
                        double *loss)
{
    memset(c->t.gradient, 0, sizeof c->t.gradient);
    c->t.more_normal = n_r;
    return run_objective(o, &c->s, &c->t, c->x, c->e, uniform, n_t, 1.0 / (double)c->t.n, loss);
}

static cm_objective_buffers buffers(const flow *c)
{
    const cm_objective_batch b = {.n = c->t.n, .work = c->t.work};
    return cmi_objective_buffers_of(&c->s, &b);
}

/* |u - target|^2 of the loss that is l / (l + eps)^p. */
static void squares(const flow *c, double *sq)
{
    const cm_objective_buffers r = buffers(c);
    for (size_t i = 0; i < c->t.n; i++) {
        sq[i] = 0;
        for (size_t k = i * r.size; k < (i + 1) * r.size; k++)
            sq[i] += (r.online[k] - r.target[k]) * (r.online[k] - r.target[k]);
    }
}

static void check_losses(flow *c)
{
    json_t *cases = golden_json(c->f, "loss_cases"), *one;
    const size_t images = c->n * 3 * c->t.pixels;
    double loss[64], sq[64], total, seconds[64];
    size_t i;
    take_weights(c, "net");
    json_array_foreach(cases, i, one)
    {
        char prefix[32];
        total = 0;
        (void)snprintf(prefix, sizeof prefix, "loss.%zu", i);
        take_sampler(c, json_string_value(json_array_get(one, 0)));
        c->s.adaptive_p = json_number_value(json_array_get(one, 1));
        c->s.adaptive_eps = json_number_value(json_array_get(one, 2));
        if (run_on(c, &cmi_objective_meanflow, c->n_t, c->n_r, c->uniform, loss) != CM_OK)
            golden_fail(c->r, "%s: %s", prefix, cm_last_message());
        squares(c, sq);
        for (size_t k = 0; k < c->n; k++) total += loss[k] / (double)c->n, seconds[k] = c->t.second[k];
        named(c, prefix, "t", c->n, c->t.sigma);
        named(c, prefix, "r", c->n, seconds);
        named(c, prefix, "u", images, c->t.out);
        named(c, prefix, "dudt", images, c->t.slope);
        named(c, prefix, "sq", c->n, sq);
        named(c, prefix, "weighted", c->n, loss);
        named(c, prefix, "total", 1, &total);
        compare_named_gradients(c->f, c->r, prefix, &c->t, plain_names);
    }
    json_decref(cases);
}

/* --- classes and guidance ------------------------------------------------------------ */

/* Draws whose times are the file's: the inverse of the sampler v0 with p_mean 0 and p_std 1. */
static void invert_times(flow *c, const double *t, const double *r, double *n_t, double *n_r, double *uniform)
{
    c->s.flow_sampler = CM_FLOW_SAMPLER_V0;
    c->s.p_mean = c->s.r_mean = 0, c->s.p_std = c->s.r_std = 1, c->s.flow_ratio = 0.5;
    for (size_t i = 0; i < c->n; i++) {
        n_t[i] = log(t[i] / (1 - t[i]));
        n_r[i] = log(r[i] / (1 - r[i]));
        uniform[i] = r[i] == t[i] ? 0 : 1;
    }
}

/* The reference drops the labels of the first m samples, m of the uniform numbers being below `chance`. */
static void drop_labels(const flow *c, double chance, const int32_t *labels, int32_t *kept)
{
    double *uniform = golden_read(c->f, "cfg.drop_uniform", NULL);
    size_t m = 0;
    for (size_t i = 0; i < c->n; i++) m += uniform[i] < chance;
    for (size_t i = 0; i < c->n; i++) kept[i] = i < m ? -1 : labels[i];
    free(uniform);
}

static void check_guidance(flow *c)
{
    json_t *all = golden_json(c->f, "cfg"), *one;
    const char *key;
    const size_t images = c->n * 3 * c->t.pixels;
    size_t count = 0;
    double *t = golden_read(c->f, "cfg.t", NULL), *r = golden_read(c->f, "cfg.r", NULL), draws[3][64], loss[64],
           sq[64];
    int32_t *labels = integers(c->f, "cfg.y", &count), kept[64];
    double *without = calloc(images, sizeof *without), *with = calloc(images, sizeof *with);
    golden_says(c->f, c->r, "cfg_args",
                "omega, kappa, t_start, t_end, p, eps, class dropout; null label = last row of E");
    take_weights(c, "cfg.net");
    c->t.none = (c->t.params - E) / 3 - 1;
    c->t.classes = 1;
    invert_times(c, t, r, draws[0], draws[1], draws[2]);
    json_object_foreach(all, key, one)
    {
        char prefix[32];
        (void)snprintf(prefix, sizeof prefix, "cfg.%s", key);
        double *number_of[] = {&c->s.guidance,    &c->s.guidance_mix, &c->s.guidance_from,
                               &c->s.guidance_to, &c->s.adaptive_p,   &c->s.adaptive_eps};
        for (size_t k = 0; k < 6; k++) *number_of[k] = json_number_value(json_array_get(one, k));
        drop_labels(c, json_number_value(json_array_get(one, 6)), labels, kept);
        c->t.labels = kept, c->t.true_labels = labels;
        if (run_on(c, &cmi_objective_meanflow, draws[0], draws[1], draws[2], loss) != CM_OK)
            golden_fail(c->r, "%s: %s", prefix, cm_last_message());
        squares(c, sq);
        named(c, prefix, "v_g", images, buffers(c).d);
        named(c, prefix, "u", images, c->t.out);
        named(c, prefix, "dudt", images, c->t.slope);
        named(c, prefix, "sq", c->n, sq);
        named(c, prefix, "weighted", c->n, loss);
        compare_named_gradients(c->f, c->r, prefix, &c->t, class_names);
        const cm_objective_nets nets = toy_nets(&c->t);
        (void)nets.evaluate(&c->t, CM_ROLE_UNCONDITIONAL, c->t.x, c->t.sigma, c->t.sigma, without);
        (void)nets.evaluate(&c->t, CM_ROLE_PLAIN, c->t.x, c->t.sigma, c->t.sigma, with);
        named(c, prefix, "v_u", images, without);
        named(c, prefix, "v_c", images, with);
    }
    c->t.labels = c->t.true_labels = NULL;
    c->t.classes = 0;
    json_decref(all);
    free(t), free(r), free(labels), free(without), free(with);
}

/* --- improved ------------------------------------------------------------------------- */

static void check_improved_values(const flow *c)
{
    const cm_objective_buffers r = buffers(c);
    const size_t images = c->n * r.size;
    double w[64], from[64], to[64], of_u[64], of_v[64], *u = calloc(3 * images, sizeof *u), *v = u + images,
                                                        *du = v + images;
    for (size_t i = 0; i < c->n; i++) {
        w[i] = r.told[3 * i], from[i] = r.told[3 * i + 1], to[i] = r.told[3 * i + 2];
        of_u[i] = of_v[i] = 0;
        for (size_t k = 0; k < r.size; k++) {
            const size_t at = i * r.size + k;
            u[at] = c->t.out[2 * i * r.size + k], v[at] = c->t.out[(2 * i + 1) * r.size + k];
            du[at] = c->t.slope[2 * i * r.size + k];
            const double a = u[at] + (r.t[i] - r.t2[i]) * du[at] - r.d[at], b = v[at] - r.d[at];
            of_u[i] += a * a, of_v[i] += b * b;
        }
    }
    named(c, "imf", "w", c->n, w);
    named(c, "imf", "t_min", c->n, from);
    named(c, "imf", "t_max", c->n, to);
    named(c, "imf", "v_u", images, r.x_t2);
    named(c, "imf", "v_c", images, r.target);
    named(c, "imf", "v_g", images, r.d);
    named(c, "imf", "u", images, u);
    named(c, "imf", "dudt", images, du);
    named(c, "imf", "v_head", images, v);
    named(c, "imf", "loss_u", c->n, of_u);
    named(c, "imf", "loss_v", c->n, of_v);
    free(u);
}

static void check_improved(flow *c)
{
    static const char *const known[] = {"beta", "p", "eps", "class_dropout", "toy", NULL};
    json_t *about = golden_json(c->f, "imf");
    size_t count = 0;
    double *t = golden_read(c->f, "cfg.t", NULL), *r = golden_read(c->f, "imf.r", NULL), draws[3][64], loss[64];
    double more[3 * 64], *u[3] = {golden_read(c->f, "imf.u_w", NULL), golden_read(c->f, "imf.u_tmin", NULL),
                                  golden_read(c->f, "imf.u_tmax", NULL)};
    int32_t *labels = integers(c->f, "cfg.y", &count), kept[64];
    golden_members(c->r, "imf", about, known);
    take_weights(c, "imf.net");
    c->t.none = (c->t.params - E) / 3 - 1;
    c->t.classes = 1, c->t.heads = 2, c->s.heads = 2;
    c->s.guidance_beta = member(about, "beta", 1);
    c->s.adaptive_p = member(about, "p", 1), c->s.adaptive_eps = member(about, "eps", 0);
    invert_times(c, t, r, draws[0], draws[1], draws[2]);
    for (size_t k = 0; k < 3; k++) memcpy(more + k * c->n, u[k], c->n * sizeof *more);
    drop_labels(c, member(about, "class_dropout", 0), labels, kept);
    c->t.labels = kept, c->t.true_labels = labels, c->t.more_u = more;
    if (run_on(c, &cmi_objective_improved_meanflow, draws[0], draws[1], draws[2], loss) != CM_OK)
        golden_fail(c->r, "imf: %s", cm_last_message());
    check_improved_values(c);
    compare_named_gradients(c->f, c->r, "imf", &c->t, head_names);
    c->t.labels = c->t.true_labels = NULL, c->t.more_u = NULL, c->t.numbers = NULL;
    c->t.classes = 0, c->t.heads = 1, c->s.heads = 1;
    json_decref(about);
    free(t), free(r), free(labels), free(u[0]), free(u[1]), free(u[2]);
}

/* --- samples and a run ------------------------------------------------------------------ */

static void one_sample(flow *c, const char *name, const json_t *grid, int stochastic)
{
    size_t all = 0;
    double *z = golden_read(c->f, "sample.z1", &all), *noise = golden_read(c->f, "sample.noise", NULL), t[101];
    const int n = (int)json_array_size(grid) - 1;
    char prefix[32];
    for (int i = 0; i <= n && n <= 100; i++) t[i] = json_number_value(json_array_get(grid, (size_t)i));
    toy_walk(&c->t, c->r, stochastic ? &cmi_method_multistep : &cmi_method_flowmap, t, n, noise, all, z);
    (void)snprintf(prefix, sizeof prefix, "sample.%s", name);
    named(c, prefix, stochastic ? "sde" : "ode", all, z);
    free(z), free(noise);
}

static void check_samples(flow *c)
{
    json_t *grids = golden_json(c->f, "grids"), *grid;
    const char *name;
    take_weights(c, "net");
    json_object_foreach(grids, name, grid) for (int way = 0; way < 2; way++) one_sample(c, name, grid, way);
    json_decref(grids);
}

static void check_run(flow *c)
{
    static const char *const known[] = {"steps",   "lr", "warmup_steps", "ema", "period", "param_order",
                                        "sampler", "p",  "eps",          NULL};
    json_t *about = golden_json(c->f, "train");
    size_t all = 0;
    double *data = golden_read(c->f, "train.data", NULL), *index = golden_read(c->f, "train.batch_index", &all);
    double *noise = golden_read(c->f, "train.noise", NULL), *n_t = golden_read(c->f, "train.n_t", NULL);
    double *n_r = golden_read(c->f, "train.n_r", NULL), *uniform = golden_read(c->f, "train.uniform", NULL);
    const size_t steps = (size_t)member(about, "steps", 1), n = all / steps, size = 3 * c->t.pixels;
    double loss[64], *mean = calloc(steps, sizeof *mean), *rate = calloc(steps, sizeof *rate);
    double *flat = calloc(steps * PARAMS, sizeof *flat), *own_x = c->x, *own_e = c->e, wide[PARAMS];
    float average[2][PARAMS];
    flat_run run;
    golden_members(c->r, "train", about, known);
    golden_compare(c->r, "train.period", fabs(member(about, "period", 16) - 16), 0);
    take_weights(c, "net");
    take_sampler(c, json_string_value(json_object_get(about, "sampler")));
    c->s.adaptive_p = member(about, "p", 0), c->s.adaptive_eps = member(about, "eps", 0);
    flat_open(c->f, c->r, &run, &c->t, json_object_get(about, "param_order"), "net");
    run.optim = (cm_optim){CM_OPTIMIZER_ADAM, 0.9, 0.999, 1e-8, 0};
    for (int k = 0; k < 2; k++) memcpy(average[k], run.p, sizeof run.p);
    c->t.n = n;
    c->x = calloc(n * size, sizeof *c->x);
    for (size_t k = 0; k < steps; k++) {
        const double warm = member(about, "warmup_steps", 0), lr = member(about, "lr", 0), floor_ = 1e-8;
        rate[k] = (double)k < warm ? floor_ + (lr - floor_) * (double)k / warm : lr;
        gather_images(data, index + k * n, size, n, c->x);
        c->e = noise + k * n * size;
        if (run_on(c, &cmi_objective_meanflow, n_t + k * n, n_r + k * n, uniform + k * n, loss) != CM_OK)
            golden_fail(c->r, "train: %s", cm_last_message());
        for (size_t i = 0; i < n; i++) mean[k] += loss[i] / (double)n;
        flat_step(&run, (int64_t)k + 1, rate[k]);
        for (int i = 0; i < run.n; i++) flat[k * (size_t)run.n + (size_t)i] = (double)run.p[i];
        for (size_t i = 0; i < 2; i++) {
            const cm_ema_rate ema = {CM_EMA_EVERY16,
                                     json_number_value(json_array_get(json_object_get(about, "ema"), i)), 0};
            cmi_ema_apply(cmi_ema_rate_at(&ema, (int64_t)k, 0, 0), (size_t)run.n, average[i], run.p);
        }
    }
    named(c, "train", "lr", steps, rate);
    compare(c->f, c->r, "train.losses", steps, mean, FLOAT32);
    compare(c->f, c->r, "train.params", steps * (size_t)run.n, flat, FLOAT32);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < run.n; i++) wide[i] = (double)average[k][i];
        compare(c->f, c->r, k ? "train.ema1" : "train.ema", (size_t)run.n, wide, FLOAT32);
    }
    free(c->x);
    c->x = own_x, c->e = own_e;
    json_decref(about);
    free(data), free(index), free(noise), free(n_t), free(n_r), free(uniform), free(mean), free(rate), free(flat);
}

void run_meanflow(golden_file *f, golden_result *r)
{
    flow c;
    const cm_tensor *x = cmi_tensors_find(&f->st, "x");
    memset(&c, 0, sizeof c);
    c.f = f, c.r = r;
    golden_says(f, r, "toy", "h = M x + t u + (t-r) u2 + v (+ E[y]); F = a x + b tanh h; x = z itself");
    c.x = golden_read(f, "x", NULL), c.e = golden_read(f, "e", NULL);
    c.n_t = golden_read(f, "time.n_t", &c.times), c.n_r = golden_read(f, "time.n_r", NULL);
    c.uniform = golden_read(f, "time.uniform", NULL);
    if (!x || !c.x || !c.e || !c.n_t || !c.n_r || !c.uniform || x->shape[0] > 64) {
        golden_fail(r, "no inputs");
        return;
    }
    c.n = (size_t)x->shape[0];
    open_toy(f, c.n, (size_t)(x->shape[2] * x->shape[3]), &c.t);
    c.t.axis = CM_AXIS_RAW;
    for (int which = 0; which < 3; which++) set_precond(&c.t, which, "edm");
    c.s = settings_of(f, &cmi_objective_meanflow, (int32_t)x->shape[3]);
    c.s.guidance = 1, c.s.guidance_to = 1;
    check_times(&c);
    check_losses(&c);
    check_guidance(&c);
    c.s.guidance = 1, c.s.guidance_mix = 0;
    check_improved(&c);
    check_samples(&c);
    check_run(&c);
    close_toy(&c.t);
    free(c.x), free(c.e), free(c.n_t), free(c.n_r), free(c.uniform);
}
