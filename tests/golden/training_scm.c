/* training_scm.c - golden/algorithms: trigflow_scm, scm_more. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/curriculum.h"
#include "training_toy.h"

typedef struct {
    const golden_file *f;
    golden_result *r;
    toy t;
    cm_objective_settings s;
    double *x0, *z, *normal;
    cm_weight_net net;
    double w[64], of_w[64], logvar[64]; /* of the last weighing; w is given where net.kind is none */
} scm;

/* --- the adaptive weight -------------------------------------------------------------- */

static scm *current; /* the toy is the user of both */

static cm_status weigh(void *user, const double *t, double *w)
{
    const toy *toy_ = user;
    scm *c = current;
    for (size_t i = 0; i < toy_->n; i++) {
        if (c->net.kind != CM_WEIGHT_NET_NONE)
            c->logvar[i] = cmi_weight_net_value(&c->net, toy_->weight[0] + WEIGH, t[i]), c->w[i] = -c->logvar[i];
        w[i] = c->w[i];
    }
    return CM_OK;
}

static cm_status weigh_back(void *user, const double *t, const double *of_w)
{
    toy *toy_ = user;
    scm *c = current;
    memcpy(c->of_w, of_w, toy_->n * sizeof *of_w);
    for (size_t i = 0; i < toy_->n; i++)
        cmi_weight_net_pull(&c->net, toy_->weight[0] + WEIGH, t[i], -of_w[i], toy_->gradient + WEIGH);
    return CM_OK;
}

/* --- one case --------------------------------------------------------------------------- */

static void if_there(const scm *c, const char *prefix, const char *what, size_t n, const double *got)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s.%s", prefix, what);
    if (cmi_tensors_find(&c->f->st, name)) compare(c->f, c->r, name, n, got, DOUBLE);
    else {
        (void)snprintf(name, sizeof name, "%s.%s.f64", prefix, what);
        if (cmi_tensors_find(&c->f->st, name)) compare(c->f, c->r, name, n, got, DOUBLE);
    }
}

/* g of the pages from the cotangent of F, and g before it was divided by its norm and c: with N of the one and n of
 * the other, N = n / (n + c). */
static void find_tangents(const scm *c, double *g, double *raw)
{
    const size_t size = 3 * c->t.pixels;
    const double d = (double)size;
    for (size_t i = 0; i < c->t.n; i++) {
        const double w = c->w[i], sigma = c->s.sigma_data * tan(c->t.sigma[i]);
        const double scale = c->s.form == CM_SCM_RCM       ? 100
                             : c->s.form == CM_SCM_FASTGEN ? exp(w) / (sigma * d * d)
                                                           : exp(w) / d;
        double sum = 0;
        for (size_t k = i * size; k < (i + 1) * size; k++) {
            g[k] = c->t.cotangent[k] * (double)c->t.n / (-2 * scale);
            sum += g[k] * g[k];
        }
        const double norm = sqrt(c->s.tangent_norm == CM_TANGENT_NORM_RMS ? sum / d : sum);
        for (size_t k = i * size; k < (i + 1) * size; k++) raw[k] = g[k] * c->s.tangent_c / (1 - norm);
    }
}

static void one_case(scm *c, const cm_objective *o, const char *prefix)
{
    toy *t = &c->t;
    const size_t size = 3 * t->pixels, images = t->n * size;
    const double sd = c->s.sigma_data;
    double loss[64], *work = calloc(4 * images, sizeof *work), *g = work, *raw = g + images, *v = raw + images,
                     *x = v + images;
    current = c;
    memset(t->gradient, 0, sizeof t->gradient);
    t->sigma_data = sd;
    if (run_objective(o, &c->s, t, c->x0, c->z, t->more_u ? t->more_u : c->normal, c->normal, 1.0 / (double)t->n,
                      loss) != CM_OK)
        golden_fail(c->r, "%s: %s", prefix, cm_last_message());
    find_tangents(c, g, raw);
    for (size_t i = 0; i < t->n; i++) {
        const double C = cos(t->sigma[i]), S = sin(t->sigma[i]);
        for (size_t k = i * size; k < (i + 1) * size; k++) {
            x[k] = sd * t->x[k];
            v[k] = o->needs_teacher ? sd * t->last_teacher[k] : C * sd * c->z[k] - S * c->x0[k];
        }
    }
    if_there(c, prefix, "t", t->n, t->sigma);
    if_there(c, prefix, "x_t", images, x);
    if_there(c, prefix, "v", images, v);
    if_there(c, prefix, "F", images, t->out);
    if_there(c, prefix, "J", images, t->slope);
    if_there(c, prefix, "J_quarter", images, t->slope);
    if_there(c, prefix, "J_viaD", images, t->slope);
    if_there(c, prefix, "cs_dF_dt", images, t->slope);
    if_there(c, prefix, "g_raw", images, raw);
    if_there(c, prefix, "g", images, g);
    if_there(c, prefix, "s", t->n, t->sigma2);
    if_there(c, prefix, "loss", t->n, loss);
    if_there(c, prefix, "logvar", t->n, c->logvar);
    if (c->net.kind == CM_WEIGHT_NET_NONE) if_there(c, prefix, "grad_w", t->n, c->of_w);
    else if_there(c, prefix, "grad_w", (size_t)c->net.features, t->gradient + WEIGH);
    if_there(c, prefix, "grad_wb", 1, t->gradient + WEIGH + c->net.features);
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = i * size; k < (i + 1) * size; k++)
            v[k] = cos(t->sigma[i]) * x[k] - sin(t->sigma[i]) * sd * t->out[k];
    if_there(c, prefix, "f", images, v);
    for (size_t k = 0; k < images; k++) v[k] = sd * t->x2[k];
    if_there(c, prefix, "x_s", images, v);
    compare_gradients(c->f, c->r, prefix, t);
    free(work);
}

static void open_scm(const golden_file *f, golden_result *r, scm *c, const char *normal)
{
    size_t n = 0;
    memset(c, 0, sizeof *c);
    c->f = f, c->r = r;
    c->x0 = golden_read(f, "x0", NULL), c->z = golden_read(f, "eps", NULL), c->normal = golden_read(f, normal, &n);
    if (!c->x0 || !c->z || !c->normal || n > 64) {
        golden_fail(r, "no inputs");
        return;
    }
    open_toy(f, n, 64, &c->t);
    for (int which = 0; which < 3; which++) set_precond(&c->t, which, "trigflow");
    if (!read_weights(f, "net", c->t.weight[0], &c->t.params) ||
        !read_weights(f, "teacher", c->t.weight[2], &c->t.params))
        golden_fail(r, "no networks");
    c->s = settings_of(f, &cmi_objective_sct, 8);
    c->s.p_std = number(f, "P_std", 1);
    c->s.tangent_c = number(f, "c", 0.1);
    c->s.tangent_share = 1;
    c->t.weigh = weigh, c->t.weigh_back = weigh_back;
}

static void close_scm(scm *c)
{
    close_toy(&c->t);
    free(c->x0), free(c->z), free(c->normal);
}

/* What stands in a case's name: the warm-up behind ".r", the norm at its end. */
static void read_name(scm *c, const char *prefix)
{
    const char *r = strstr(prefix, ".r"), *rms = strstr(prefix, ".rms");
    c->s.tangent_share = r ? strtod(r + 2, NULL) : 1;
    if (r && strncmp(r, ".rms", 4) == 0) c->s.tangent_share = 1;
    c->s.tangent_norm = rms ? CM_TANGENT_NORM_RMS : CM_TANGENT_NORM_L2;
}

static int next_case(const golden_file *f, size_t *i, char *prefix, size_t size)
{
    static const char end[] = ".grad.M";
    for (; *i < f->st.count; ++*i) {
        const char *name = f->st.tensors[*i].name;
        const size_t n = strlen(name), m = sizeof end - 1;
        if (n <= m || strcmp(name + n - m, end) != 0 || n - m >= size) continue;
        (void)snprintf(prefix, size, "%.*s", (int)(n - m), name);
        ++*i;
        return 1;
    }
    return 0;
}

/* --- trigflow_scm ------------------------------------------------------------------------- */

static void check_conversions(scm *c)
{
    size_t n = 0, m = 0;
    double *sigma = golden_read(c->f, "conv.sigma", &n), got[64], skip[64], out[64], *t;
    t = golden_read(c->f, "conv.t", &m);
    for (size_t i = 0; sigma && i < n && n <= 64; i++) {
        const cm_scalings s = cmi_precond_scalings(&c->t.precond[0], sigma[i]);
        got[i] = s.c_noise, skip[i] = s.c_skip, out[i] = -s.c_out;
    }
    compare(c->f, c->r, "conv.t", n, got, DOUBLE);
    for (size_t i = 0; t && i < m && m <= 64; i++) got[i] = cmi_trig_sigma(c->s.sigma_data, t[i]);
    compare(c->f, c->r, "conv.sigma", m, got, DOUBLE);
    compare(c->f, c->r, "edm_from_t.c_skip", n, skip, DOUBLE);
    compare(c->f, c->r, "edm_from_t.c_out", n, out, DOUBLE);
    free(sigma), free(t);
}

/* |sd F - v|^2, which is the denoising loss of the model with its weight sd^2 (1/sigma^2 + 1/sd^2). */
static void check_diffusion(scm *c)
{
    toy *t = &c->t;
    double loss[64];
    cm_objective_settings s = c->s;
    s.weighting = CM_WEIGHTING_KARRAS;
    s.distance.sum = 1;
    memset(t->gradient, 0, sizeof t->gradient);
    set_precond(t, 0, "trigflow-edm");
    if (run_objective(&cmi_objective_edm, &s, t, c->x0, c->z, c->normal, c->normal, 1.0 / (double)t->n, loss) !=
        CM_OK)
        golden_fail(c->r, "diff: %s", cm_last_message());
    set_precond(t, 0, "trigflow");
    for (size_t i = 0; i < t->n; i++) loss[i] *= s.sigma_data * s.sigma_data;
    for (int k = 0; k < PARAMS; k++) t->gradient[k] *= s.sigma_data * s.sigma_data;
    if_there(c, "diff", "loss", t->n, loss);
    compare_gradients(c->f, c->r, "diff", t);
}

/* x_s of one DDIM step from the t of the cases, by F; and an EDM network read as TrigFlow's. */
static void check_steps(scm *c)
{
    toy *t = &c->t;
    const size_t size = 3 * t->pixels, images = t->n * size;
    double *s = golden_read(c->f, "ddim.s", NULL), *x = calloc(images, sizeof *x), *F = calloc(images, sizeof *F),
           u[64];
    const double sd = c->s.sigma_data;
    for (size_t i = 0; i < t->n; i++) {
        u[i] = atan(exp(c->normal[i]) / sd);
        for (size_t k = i * size; k < (i + 1) * size; k++) x[k] = cos(u[i]) * c->x0[k] / sd + sin(u[i]) * c->z[k];
    }
    t->axis = CM_AXIS_TRIG;
    toy_evaluate(t, 0, x, u, F);
    for (size_t i = 0; s && i < t->n; i++)
        for (size_t k = i * size; k < (i + 1) * size; k++)
            t->out[k] = sd * (cos(u[i] - s[i]) * x[k] - sin(u[i] - s[i]) * F[k]);
    compare(c->f, c->r, "ddim.x_s", images, t->out, DOUBLE);
    int params;
    set_precond(t, 2, "edm");
    read_weights(c->f, "edmnet", t->weight[2], &params);
    toy_evaluate(t, 2, x, u, F);
    compare(c->f, c->r, "edmconv.F_trig", images, F, DOUBLE);
    t->axis = CM_AXIS_RAW; /* the same network, asked with its own numbers */
    double c_noise[64];
    for (size_t i = 0; i < t->n; i++) c_noise[i] = 0.25 * log(sd * tan(u[i]));
    toy_evaluate(t, 2, x, c_noise, F);
    compare(c->f, c->r, "edmconv.F_edm", images, F, DOUBLE);
    set_precond(t, 2, "trigflow");
    read_weights(c->f, "teacher", t->weight[2], &params);
    free(s), free(x), free(F);
}

/* One and two steps, by D of the model at the noise levels that the times are. */
static void check_samples(scm *c)
{
    toy t;
    size_t all = 0;
    const double sd = c->s.sigma_data, first = atan(80 / sd), second = 1.1;
    double *noise = golden_read(c->f, "samp.noise", &all), sigma[64];
    const size_t size = 3 * c->t.pixels, n = all / (2 * size), images = n * size;
    if (!noise || n == 0 || n > 64) return;
    open_toy(c->f, n, c->t.pixels, &t);
    memcpy(t.weight, c->t.weight, sizeof t.weight);
    set_precond(&t, 0, "trigflow");
    for (size_t i = 0; i < n; i++) sigma[i] = sd * tan(first);
    for (size_t k = 0; k < images; k++) t.x[k] = sd * noise[k] / cos(first);
    toy_evaluate(&t, 0, t.x, sigma, t.out);
    compare(c->f, c->r, "samp.one", images, t.out, DOUBLE);
    for (size_t i = 0; i < n; i++) sigma[i] = sd * tan(second);
    for (size_t k = 0; k < images; k++)
        t.x[k] = (cos(second) * t.out[k] + sin(second) * sd * noise[images + k]) / cos(second);
    toy_evaluate(&t, 0, t.x, sigma, t.out);
    compare(c->f, c->r, "samp.two", images, t.out, DOUBLE);
    close_toy(&t);
    free(noise);
}

void run_trigflow(golden_file *f, golden_result *r)
{
    scm c;
    char prefix[64];
    size_t i = 0, n = 0;
    golden_says(f, r, "t", "atan(exp(tau)/sigma_data)");
    golden_says(f, r, "cases", "{sct,scd}.r{warmup}.{l2: |g| per sample; rms: |g|/sqrt(D)}");
    open_scm(f, r, &c, "tau");
    double *w = golden_read(f, "w_phi", &n);
    while (r->outcome == GOLDEN_OK && next_case(f, &i, prefix, sizeof prefix)) {
        const int rcm = strncmp(prefix, "rcm.", 4) == 0;
        if (strcmp(prefix, "diff") == 0) continue;
        read_name(&c, prefix);
        c.s.form = rcm ? CM_SCM_RCM : CM_SCM_PAPER;
        c.s.sigma_data = rcm ? 1 : number(f, "sigma_data", 0.5);
        for (int which = 0; which < 3; which++) c.t.precond[which].sigma_data = c.s.sigma_data;
        for (size_t k = 0; k < c.t.n && w && n == c.t.n; k++) c.w[k] = rcm ? 0 : w[k];
        one_case(&c, strncmp(prefix, "sct", 3) == 0 ? &cmi_objective_sct : &cmi_objective_scd, prefix);
    }
    c.s.sigma_data = c.t.sigma_data = number(f, "sigma_data", 0.5);
    for (int which = 0; which < 3; which++) c.t.precond[which].sigma_data = c.s.sigma_data;
    if (r->outcome == GOLDEN_OK) {
        check_conversions(&c);
        check_diffusion(&c);
        check_steps(&c);
        check_samples(&c);
    }
    free(w);
    close_scm(&c);
}

/* --- scm_more ----------------------------------------------------------------------------- */

/* The weight net that a case names in its first word. */
static void take_net(scm *c, const char *prefix)
{
    const int mp = strncmp(prefix, "wmp.", 4) == 0, linear = strncmp(prefix, "wlin.", 5) == 0;
    size_t n = 0;
    int linear_net = linear || strncmp(prefix, "fg.", 3) == 0 || strncmp(prefix, "train.", 6) == 0;
    memset(c->w, 0, sizeof c->w);
    cmi_weight_net_open(CM_WEIGHT_NET_NONE, 0, 0, &c->net);
    if (!mp && !linear_net) return;
    double *weight = golden_read(c->f, mp ? "wmp.weight" : "wlin.weight", &n), *freqs, *phases;
    if (!weight || n > 8) {
        golden_fail(c->r, "%s has no weight net", prefix);
        return;
    }
    cmi_weight_net_open(mp ? CM_WEIGHT_NET_FOURIER : CM_WEIGHT_NET_LINEAR, (int32_t)n, 0, &c->net);
    memcpy(c->t.weight[0] + WEIGH, weight, n * sizeof *weight);
    free(weight);
    if (mp) {
        freqs = golden_read(c->f, "wmp.freqs", NULL), phases = golden_read(c->f, "wmp.phases", NULL);
        memcpy(c->net.freqs, freqs, n * sizeof *freqs);
        memcpy(c->net.phases, phases, n * sizeof *phases);
        free(freqs), free(phases);
    } else {
        double *bias = golden_read(c->f, "wlin.bias", NULL);
        c->t.weight[0][WEIGH + n] = *bias;
        free(bias);
    }
}

/* "t' = t (0.9 + 0.09 frac)" */
static void read_discrete(scm *c)
{
    char words[64];
    double from = 0, span = 0;
    text(c->f, "dscd", words, sizeof words);
    if (sscanf(words, "t' = t (%lf + %lf frac)", &from, &span) != 2) golden_fail(c->r, "dscd is '%s'", words);
    c->s.discrete_from = from, c->s.discrete_to = from + span;
}

/* What a case's name says beside the numbers: "edmform.scd.r0.4", "fg.sct.r1.rms", "dscd.r0.3". */
static const cm_objective *prepare(scm *c, const char *prefix)
{
    const int edm = strncmp(prefix, "edmform.", 8) == 0, discrete = strncmp(prefix, "dscd.", 5) == 0;
    read_name(c, prefix);
    take_net(c, prefix);
    c->s.form = strncmp(prefix, "fg.", 3) == 0 ? CM_SCM_FASTGEN : CM_SCM_PAPER;
    for (int which = 0; which < 3; which++) set_precond(&c->t, which, edm ? "edm" : "trigflow");
    if (discrete) return &cmi_objective_dscd;
    return strstr(prefix, "scd") ? &cmi_objective_scd : &cmi_objective_sct;
}

/* The quotient by a step of 1e-3 t loses three digits, and by 1e-6 six. */
static void compare_difference(const scm *c, size_t n, const double *got)
{
    size_t count = 0;
    double *want = golden_read(c->f, "fd.J_fd.f64", &count), most = 0, off = 0;
    for (size_t k = 0; want && count == n && k < n; k++) {
        most = fmax(most, fabs(want[k]));
        off = fmax(off, fabs(got[k] - want[k]));
    }
    golden_compare(c->r, "fd.J_fd", count == n ? off : 1, 1e-11 * most + 1e-13);
    free(want);
}

/* A network of EDM is asked with the sign that TrigFlow has; the file's F is TrigFlow's too.  FastGen's finite
 * difference of sct, beside the derivative. */
static void check_difference(scm *c)
{
    toy *t = &c->t;
    const size_t size = 3 * t->pixels, images = t->n * size;
    const double sd = c->s.sigma_data;
    double *x = calloc(2 * images, sizeof *x), *high = x + images, u[64], step[64];
    if (!cmi_tensors_find(&c->f->st, "fd.J_fd.f64")) {
        free(x);
        return;
    }
    t->axis = CM_AXIS_TRIG;
    for (int way = 1; way >= -1; way -= 2) {
        for (size_t i = 0; i < t->n; i++) {
            const double at = atan(exp(c->s.p_mean + c->s.p_std * c->normal[i]) / sd);
            step[i] = fmax(1e-3 * fabs(at), 1e-6);
            u[i] = at + way * step[i];
            for (size_t k = i * size; k < (i + 1) * size; k++) x[k] = cos(u[i]) * c->x0[k] / sd + sin(u[i]) * c->z[k];
        }
        toy_evaluate(t, 0, x, u, way > 0 ? high : t->out);
    }
    for (size_t i = 0; i < t->n; i++) {
        const double at = atan(exp(c->s.p_mean + c->s.p_std * c->normal[i]) / sd);
        for (size_t k = i * size; k < (i + 1) * size; k++)
            high[k] = (high[k] - t->out[k]) * cos(at) * sin(at) / (2 * step[i]);
    }
    compare_difference(c, images, high);
    compare(c->f, c->r, "fd.J", images, t->slope, DOUBLE);
    free(x);
}

static void check_warm(const scm *c)
{
    size_t n = 0;
    double *k = golden_read(c->f, "warm.k", &n), r[64];
    cm_train_settings s = cmi_settings_defaults(CM_TRAIN_SCT);
    const cm_curriculum curriculum = cmi_curriculum_of(&s);
    for (size_t i = 0; k && i < n && n <= 64; i++) r[i] = cmi_curriculum_at(&curriculum, (int64_t)k[i]).tangent_share;
    if (k) compare(c->f, c->r, "warm.r", n, r, DOUBLE);
    free(k);
}

static void replay(scm *c, const json_t *about, const char *name)
{
    size_t all = 0;
    double *data = golden_read(c->f, "train.data", NULL), *index = golden_read(c->f, "train.batch_index", &all);
    double *noise = golden_read(c->f, "train.noise", NULL), *normal = golden_read(c->f, "train.rnd_normal", NULL);
    const size_t steps = (size_t)member(about, "steps", 0), n = steps ? all / steps : 0, size = 3 * c->t.pixels;
    double *x0 = calloc(n * size + 1, sizeof *x0), *losses = calloc(all + 1, sizeof *losses);
    double *flat = calloc(steps * PARAMS + 1, sizeof *flat);
    char full[64];
    flat_run run;
    cm_curriculum curriculum;
    memset(&curriculum, 0, sizeof curriculum);
    curriculum.tangent_warmup = (int64_t)member(about, "warmup_H", 0);
    (void)snprintf(full, sizeof full, "train.%s", name);
    const cm_objective *o = prepare(c, full);
    c->s.tangent_norm = CM_TANGENT_NORM_L2;
    flat_open(c->f, c->r, &run, &c->t, json_object_get(about, "param_order"), "train.init");
    run.optim.beta1 = json_number_value(json_array_get(json_object_get(about, "betas"), 0));
    run.optim.beta2 = json_number_value(json_array_get(json_object_get(about, "betas"), 1));
    c->t.n = n;
    current = c;
    for (size_t k = 0; data && noise && normal && n <= 64 && k < steps; k++) {
        gather_images(data, index + k * n, size, n, x0);
        memset(c->t.gradient, 0, sizeof c->t.gradient);
        c->s.tangent_share = cmi_curriculum_at(&curriculum, (int64_t)k).tangent_share;
        if (run_objective(o, &c->s, &c->t, x0, noise + k * n * size, normal + k * n, normal + k * n, 1.0 / (double)n,
                          losses + k * n) != CM_OK)
            golden_fail(c->r, "train.%s: %s", name, cm_last_message());
        flat_step(&run, (int64_t)k + 1, member(about, "lr", 0));
        for (int i = 0; i < run.n; i++) flat[k * (size_t)run.n + (size_t)i] = (double)run.p[i];
    }
    (void)snprintf(full, sizeof full, "train.%s.losses", name);
    compare(c->f, c->r, full, all, losses, FLOAT32);
    (void)snprintf(full, sizeof full, "train.%s.params", name);
    compare(c->f, c->r, full, steps * (size_t)run.n, flat, FLOAT32);
    free(data), free(index), free(noise), free(normal), free(x0), free(losses), free(flat);
}

static void replay_all(scm *c)
{
    static const char *const known[] = {"steps", "lr", "betas", "warmup_H", "param_order", "r", NULL};
    json_t *about = golden_json(c->f, "train");
    const char *rule = json_string_value(json_object_get(about, "r"));
    golden_members(c->r, "train", about, known);
    if (!rule || strcmp(rule, "min(1, i/H), i = 0..") != 0) golden_fail(c->r, "train.r is '%s'", rule ? rule : "");
    replay(c, about, "sct");
    replay(c, about, "scd");
    json_decref(about);
}

void run_scm_more(golden_file *f, golden_result *r)
{
    scm c;
    char prefix[64];
    size_t i = 0;
    golden_says(f, r, "wlin",
                "logvar = [cos(t f), sin(t f)] . weight + bias, f_i = 10000^-(i/(8//2-1)), 8 channels; w = -logvar");
    golden_says(f, r, "wmp", "logvar = MPConv(MPFourier(t)), networks-edm2.md 1 and 5");
    golden_says(f, r, "edmform",
                "F_trig(x_t/sd,t) = -F(x_t/sd, ln(sd tan t)/4); J by three routes: differentiation in t, direction "
                "(cos t sin t v/sd, 1/4), through D");
    golden_says(f, r, "fg",
                "loss = (1/sigma)/(exp(logvar) D) mean(F-F_-g)^2 + logvar, sigma = sd tan t, |g| divided by sqrt(D)");
    open_scm(f, r, &c, "rnd_normal");
    double *frac = golden_read(f, "dscd.frac", NULL);
    read_discrete(&c);
    c.t.more_u = frac;
    while (r->outcome == GOLDEN_OK && next_case(f, &i, prefix, sizeof prefix))
        one_case(&c, prepare(&c, prefix), prefix);
    if (r->outcome == GOLDEN_OK) {
        (void)prepare(&c, "sct.r1"); /* J of the last tangent is then that of a TrigFlow network's sct */
        double loss[64];
        if (run_objective(&cmi_objective_sct, &c.s, &c.t, c.x0, c.z, c.normal, c.normal, 1, loss) != CM_OK)
            golden_fail(r, "fd: %s", cm_last_message());
        check_difference(&c);
        check_warm(&c);
        replay_all(&c);
    }
    free(frac);
    close_scm(&c);
}
