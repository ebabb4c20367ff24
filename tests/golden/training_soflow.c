/* training_soflow.c - golden/algorithms: soflow. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "training_toy.h"

typedef struct {
    const golden_file *f;
    golden_result *r;
    toy t;
    cm_objective_settings s;
    double *x0, *x1;
    int32_t *labels, *mask; /* mask: images that lose their label, and guidance with it */
    size_t n;
} soflow;

static const char *const grads[] = {"M", "u", "u2", "v", "a", "b", "E", NULL};

static void named(const soflow *c, const char *prefix, const char *what, size_t n, const double *got)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s.%s", prefix, what);
    compare(c->f, c->r, name, n, got, DOUBLE);
}

/* --- times ----------------------------------------------------------------------------- */

static void take_distributions(soflow *c, const json_t *time)
{
    double *const of[3][2] = {
        {&c->s.velocity_mean, &c->s.velocity_std}, {&c->s.r_mean, &c->s.r_std}, {&c->s.p_mean, &c->s.p_std}};
    const char *order = json_string_value(json_object_get(time, "order"));
    if (!order || strcmp(order, "t_vel, s, t") != 0) golden_fail(c->r, "time.order is %s", order ? order : "absent");
    for (size_t k = 0; k < 3; k++) {
        *of[k][0] = json_number_value(json_array_get(json_object_get(time, "mean"), k));
        *of[k][1] = json_number_value(json_array_get(json_object_get(time, "std"), k));
    }
}

/* l of every time, of one schedule and one step. */
static void check_ratio(soflow *c, const char *name, const json_t *ends, double k, double total,
                        const double *normals, size_t n)
{
    static const char *const known[] = {"Exponent", "Linear", "Cosine", "Const", NULL};
    const int schedule = name_index(known, name);
    double *l = calloc(n, sizeof *l), t, s;
    char full[96];
    if (schedule < 0) golden_fail(c->r, "schedule %s is not known", name);
    c->s.ratio = cmi_soflow_ratio(schedule, json_number_value(json_array_get(ends, 0)),
                                  json_number_value(json_array_get(ends, 1)), k / total);
    for (size_t i = 0; i < n; i++) cmi_soflow_times(&c->s, normals[n + i], normals[2 * n + i], &t, &s, &l[i]);
    (void)snprintf(full, sizeof full, "time.l.%s.%.0f", name, k);
    compare(c->f, c->r, full, n, l, DOUBLE);
    free(l);
}

static void check_times(soflow *c)
{
    static const char *const known[] = {"mean", "std", "order", "ratios", "k", "K", NULL};
    json_t *time = golden_json(c->f, "time"), *ratios = json_object_get(time, "ratios"), *ends, *k;
    const char *name;
    size_t all = 0, at;
    double *normals = golden_read(c->f, "time.n", &all), l;
    const size_t n = all / 3;
    double *t = calloc(3 * n + 1, sizeof *t), *second = t + n, *first = second + n;
    golden_members(c->r, "time", time, known);
    take_distributions(c, time);
    c->s.ratio = 1;
    for (size_t i = 0; i < n; i++) {
        first[i] = cmi_soflow_velocity_time(&c->s, normals[i]);
        cmi_soflow_times(&c->s, normals[n + i], normals[2 * n + i], &t[i], &second[i], &l);
    }
    compare(c->f, c->r, "time.t_vel", n, first, DOUBLE);
    compare(c->f, c->r, "time.t", n, t, DOUBLE);
    compare(c->f, c->r, "time.s", n, second, DOUBLE);
    json_object_foreach(ratios, name, ends) json_array_foreach(json_object_get(time, "k"), at, k)
        check_ratio(c, name, ends, json_number_value(k), member(time, "K", 0), normals, n);
    if (!json_object_size(ratios) || !json_array_size(json_object_get(time, "k"))) golden_fail(c->r, "no ratios");
    json_decref(time);
    free(normals), free(t);
}

/* --- losses ---------------------------------------------------------------------------- */

static int choice_of(soflow *c, const json_t *value, const char *plain)
{
    const char *name = json_string_value(value);
    if (name && strcmp(name, "Trig") == 0) return CM_FLOW_TRIG;
    if (!name || strcmp(name, plain) != 0) golden_fail(c->r, "%s is neither Trig nor %s", name ? name : "?", plain);
    return 0;
}

/* noising, coefficients, labels used, p, eps, guidance, decay time, mix */
static void take_case(soflow *c, const json_t *one, int32_t *kept)
{
    const int with_labels = json_is_true(json_array_get(one, 2));
    double number[8] = {0};
    for (size_t i = 3; i < 8; i++) number[i] = golden_value(json_array_get(one, i));
    c->s.path = choice_of(c, json_array_get(one, 0), "Linear");
    c->s.solution = choice_of(c, json_array_get(one, 1), "Euler");
    c->s.adaptive_p = number[3], c->s.adaptive_eps = number[4];
    c->s.guidance = number[5], c->s.guidance_decay = number[6], c->s.guidance_mix = 1 - number[7];
    if (json_array_size(one) != 8) golden_fail(c->r, "a case of %zu numbers", json_array_size(one));
    for (size_t i = 0; i < c->n; i++) kept[i] = with_labels && !c->mask[i] ? c->labels[i] : -1;
    c->t.labels = kept, c->t.true_labels = c->labels;
}

/* By its times; velocity: t_vel.  What the buffers hold is left there. */
static cm_objective_buffers learn(soflow *c, int velocity, double *loss)
{
    static const char *const names[2][3] = {{"in.t", "in.s", "in.l"}, {"in.t_vel", "in.t_vel", "in.t_vel"}};
    unsigned char chosen[64];
    double shares[64];
    const cm_objective_nets nets = toy_nets(&c->t);
    cm_objective_batch b = {.n = c->n, .x0 = c->x0, .z = c->x1, .loss = loss, .share = shares, .labels = c->t.labels};
    free(c->t.work);
    b.work = c->t.work = calloc(cmi_objective_work(&c->s, c->n), sizeof *b.work);
    cm_objective_buffers r = cmi_objective_buffers_of(&c->s, &b);
    double *to[3] = {r.t, r.t2, r.t3};
    for (int k = 0; k < 3; k++) {
        size_t n = 0;
        double *v = golden_read(c->f, names[velocity][k], &n);
        if (!v || n != c->n) golden_fail(c->r, "no %s", names[velocity][k]);
        else memcpy(to[k], v, n * sizeof *v);
        free(v);
    }
    for (size_t i = 0; i < c->n; i++) shares[i] = 1 / (double)c->n, chosen[i] = (unsigned char)velocity;
    b.chosen = chosen, b.all = c->n, b.n_chosen = velocity ? c->n : 0;
    memset(c->t.gradient, 0, sizeof c->t.gradient);
    if (cmi_soflow_learn(&c->s, &b, &nets, &r) != CM_OK) golden_fail(c->r, "%s", cm_last_message());
    return r;
}

/* loss, mse and weight as the file has them: means over the batch, the loss of pairs being <N, gradient>. */
static void check_numbers(soflow *c, const char *prefix, int velocity, const double *loss,
                          const cm_objective_buffers *r)
{
    double sum = 0, square = 0, weight = 0;
    for (size_t i = 0; i < c->n; i++) {
        sum += velocity ? loss[i] / (double)c->n : 0;
        square += loss[i] / r->weight[i] / (double)c->n;
        weight += r->weight[i] / (double)c->n;
    }
    for (size_t k = 0; !velocity && k < c->n * r->size; k++) sum += r->online[k] * r->slope[k];
    named(c, prefix, "loss", 1, &sum);
    named(c, prefix, "mse", 1, &square);
    named(c, prefix, "weight", 1, &weight);
}

/* The fields of the case of pairs that has just run. */
static void check_fields(soflow *c, const cm_objective_buffers *r)
{
    const size_t images = c->n * r->size;
    double *f_t = calloc(3 * images, sizeof *f_t), *f_l = f_t + images, *q = f_l + images;
    for (size_t k = 0; k < images; k++) {
        const size_t i = k / r->size;
        const cm_soflow_map at = cmi_soflow_map(c->s.solution, r->t[i], r->t2[i]);
        const cm_soflow_map before = cmi_soflow_map(c->s.solution, r->t3[i], r->t2[i]);
        f_t[k] = at.a * r->x_t[k] + at.b * r->online[k];
        f_l[k] = before.a * r->x_t2[k] + before.b * r->target[k];
        q[k] = -r->slope[k] * (double)(c->n * r->size) / r->weight[i];
    }
    compare(c->f, c->r, "field.x_t", images, r->x_t, DOUBLE);
    compare(c->f, c->r, "field.x_l", images, r->x_t2, DOUBLE);
    compare(c->f, c->r, "field.f_t", images, f_t, DOUBLE);
    compare(c->f, c->r, "field.f_l", images, f_l, DOUBLE);
    compare(c->f, c->r, "field.quotient", images, q, DOUBLE);
    compare(c->f, c->r, "field.w", c->n, r->weight, DOUBLE);
    free(f_t);
}

static void check_losses(soflow *c)
{
    json_t *cases = golden_json(c->f, "cases"), *one;
    const char *name;
    int32_t kept[64];
    double loss[64];
    int first = 1;
    golden_says(c->f, c->r, "case_args", "noising, coefficients, labels used, p, eps, guidance, decay time, mix");
    golden_says(c->f, c->r, "note", "loss of con.* is the pseudo-loss (gradient only); decay.* at t = 0, .05, .., 1");
    if (!json_object_size(cases)) golden_fail(c->r, "no cases");
    json_object_foreach(cases, name, one)
    {
        take_case(c, one, kept);
        for (int velocity = 1; velocity >= 0; velocity--) {
            char prefix[64];
            (void)snprintf(prefix, sizeof prefix, "%s.%s", velocity ? "vel" : "con", name);
            const cm_objective_buffers r = learn(c, velocity, loss);
            check_numbers(c, prefix, velocity, loss, &r);
            compare_named_gradients(c->f, c->r, prefix, &c->t, grads);
            if (first && !velocity) check_fields(c, &r);
        }
        first = 0;
    }
    c->t.labels = c->t.true_labels = NULL;
    json_decref(cases);
}

static void check_decay(soflow *c)
{
    int found = 0;
    for (size_t i = 0; i < c->f->st.count; i++) {
        const char *name = c->f->st.tensors[i].name;
        double got[1024], from;
        const size_t n = (size_t)c->f->st.tensors[i].shape[0];
        if (strncmp(name, "decay.", 6) != 0 || n > 1024) continue;
        from = strtod(name + 6, NULL);
        for (size_t k = 0; k < n; k++) got[k] = cmi_soflow_decay(0.05 * (double)k, from);
        compare(c->f, c->r, name, n, got, DOUBLE);
        found = 1;
    }
    if (!found) golden_fail(c->r, "no decay");
}

/* --- samples ---------------------------------------------------------------------------- */

static void check_samples(soflow *c)
{
    size_t all = 0;
    double *z = golden_read(c->f, "sample.z1", &all), *noise = golden_read(c->f, "sample.noise", NULL);
    int32_t none[64];
    for (size_t i = 0; i < 64; i++) none[i] = -1;
    c->t.labels = none;
    for (int n = 1; n < 100; n++) {
        char name[32];
        (void)snprintf(name, sizeof name, "sample.%d.x", n);
        if (!cmi_tensors_find(&c->f->st, name)) continue;
        double *x = calloc(all, sizeof *x), t[101];
        memcpy(x, z, all * sizeof *x);
        for (int i = 0; i <= n; i++) t[i] = 1 - (double)i / n;
        toy_walk(&c->t, c->r, &cmi_method_multistep, t, n, noise, all, x);
        compare(c->f, c->r, name, all, x, DOUBLE);
        free(x);
    }
    free(z), free(noise);
}

void run_soflow(golden_file *f, golden_result *r)
{
    soflow c;
    const cm_tensor *x = cmi_tensors_find(&f->st, "x0");
    size_t count = 0;
    memset(&c, 0, sizeof c);
    c.f = f, c.r = r;
    golden_says(f, r, "toy",
                "h = M x + t u + (t-s) u2 + v + E[label]; null label (also for labels None) = last row of E");
    c.x0 = golden_read(f, "x0", NULL), c.x1 = golden_read(f, "x1", NULL);
    c.labels = integers(f, "y", &count), c.mask = integers(f, "cfg_mask", &count);
    if (!x || !c.x0 || !c.x1 || !c.labels || !c.mask || x->shape[0] > 64) {
        golden_fail(r, "no inputs");
        return;
    }
    c.n = (size_t)x->shape[0];
    open_toy(f, c.n, (size_t)(x->shape[2] * x->shape[3]), &c.t);
    c.t.axis = CM_AXIS_RAW, c.t.shared = 1, c.t.classes = 1;
    for (int which = 0; which < 3; which++) set_precond(&c.t, which, "edm");
    if (!read_weights(f, "net", c.t.weight[0], &c.t.params)) golden_fail(r, "no net");
    double *u2 = golden_read(f, "net.u2", &count);
    if (u2) memcpy(c.t.weight[0] + U2, u2, count * sizeof *u2);
    else golden_fail(r, "no net.u2");
    free(u2);
    c.t.none = (c.t.params - E) / 3 - 1;
    c.s = settings_of(f, &cmi_objective_soflow, (int32_t)x->shape[3]);
    check_times(&c);
    check_losses(&c);
    check_decay(&c);
    check_samples(&c);
    close_toy(&c.t);
    free(c.x0), free(c.x1), free(c.labels), free(c.mask);
}
