/* training_toy.c - comparing, options, the toy network. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "training_toy.h"

/* --- comparing ------------------------------------------------------------------- */

void compare(const golden_file *f, golden_result *r, const char *name, size_t n, const double *got, int kind)
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
        golden_compare(r, name, off,
                       kind == DOUBLE ? 1e-11 * most + 1e-13
                       : single       ? 8 * e + 4e-6 * most
                                      : 2e-6 * most);
    }
    free(exact);
    free(single);
}

char *text(const golden_file *f, const char *key, char *buffer, size_t size)
{
    json_t *v = golden_json(f, key);
    (void)snprintf(buffer, size, "%s", json_is_string(v) ? json_string_value(v) : "");
    json_decref(v);
    return buffer;
}

double number(const golden_file *f, const char *key, double fallback)
{
    json_t *v = golden_json(f, key);
    double d = v ? golden_value(v) : fallback;
    json_decref(v);
    return d;
}

int name_index(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

double member(const json_t *o, const char *key, double fallback)
{
    const json_t *v = json_object_get(o, key);
    return v ? golden_value(v) : fallback;
}

/* --- the toy network ---------------------------------------------------------------- */

const char *const toy_members[6] = {"M", "u", "v", "a", "b", "E"};
const int toy_begins[6] = {M, U, V, A, B, E};

int read_weights(const golden_file *f, const char *prefix, double *w, int *params)
{
    for (int i = 0; i < 6; i++) {
        char name[64];
        size_t count = 0;
        (void)snprintf(name, sizeof name, "%s.%s", prefix, toy_members[i]);
        double *v = golden_read(f, name, &count);
        if (!v) return i >= 5;
        memcpy(w + toy_begins[i], v, count * sizeof *v);
        *params = toy_begins[i] + (int)count;
        free(v);
    }
    return 1;
}

/* What a network is asked: who, at what, with what. */
typedef struct {
    int which, masked, unlabelled, truly; /* truly: with the true labels */
    const double *x, *t, *r;              /* r NULL: one time */
    const double *dx, *dt, *dr;           /* dx NULL: no tangent */
} question;

/* What every pixel of an image shares. */
typedef struct {
    cm_scalings s, ds;
    double second, dsecond, extra;
    int32_t label;
} told;

static told tell(const toy *t, const question *q, size_t i)
{
    const int32_t *labels = q->truly && t->true_labels ? t->true_labels : t->labels;
    told k = {.s = cmi_axis_scalings(t->axis, &t->precond[q->which], t->sigma_data, q->t[i]),
              .label = !t->classes || q->unlabelled || labels[i] < 0 ? t->none : labels[i]};
    if (q->dx) {
        const cm_scalings d = cmi_axis_slopes(t->axis, &t->precond[q->which], q->t[i]);
        const double v = q->dt ? q->dt[i] : 0;
        k.ds = (cm_scalings){d.c_in * v, d.c_skip * v, d.c_out * v, d.c_noise * v};
    }
    if (q->r) {
        k.second = k.s.c_noise - q->r[i];
        if (q->dx) k.dsecond = k.ds.c_noise - (q->dr ? q->dr[i] : 0);
    }
    if (t->numbers) k.extra = 0.1 * t->numbers[3 * i] + t->numbers[3 * i + 1] - t->numbers[3 * i + 2];
    return k;
}

/* One pixel: the scaled input, tanh h, and their tangents. */
typedef struct {
    double in[3], din[3], th[3], dh[3];
} pixel;

static pixel look(const toy *t, const question *q, const told *k, size_t i, size_t at)
{
    const double *w = t->weight[q->which];
    pixel p;
    memset(&p, 0, sizeof p);
    for (size_t d = 0; d < 3; d++) {
        const size_t v = (i * 3 + d) * t->pixels + at;
        p.in[d] = k->s.c_in * q->x[v];
        if (q->dx) p.din[d] = k->s.c_in * q->dx[v] + k->ds.c_in * q->x[v];
    }
    for (int d = 0; d < 3; d++) {
        double h = t->tscale * (k->s.c_noise * w[U + d] + k->second * w[U2 + d]) + w[V + d] + k->extra * w[UW + d];
        if (t->classes) h += w[E + 3 * k->label + d];
        p.dh[d] = t->tscale * (k->ds.c_noise * w[U + d] + k->dsecond * w[U2 + d]);
        for (int c = 0; c < 3; c++) {
            h += w[M + 3 * d + c] * p.in[c];
            p.dh[d] += w[M + 3 * d + c] * p.din[c];
        }
        p.th[d] = tanh(h);
    }
    return p;
}

static double kept(const toy *t, int masked, size_t at)
{
    return masked && t->mask ? t->mask[at] / (1 - t->p) : 1;
}

/* Where value d of output `head` of a pixel lies. */
static size_t output_at(const toy *t, size_t i, int head, size_t d, size_t at)
{
    return ((i * (size_t)t->heads + (size_t)head) * 3 + d) * t->pixels + at;
}

/* tangent may be NULL. */
static void answer(const toy *t, const question *q, double *out, double *tangent)
{
    const double *w = t->weight[q->which];
    for (size_t i = 0; i < t->n; i++) {
        const told k = tell(t, q, i);
        for (size_t at = 0; at < t->pixels; at++) {
            const pixel p = look(t, q, &k, i, at);
            for (size_t d = 0; d < 3; d++)
                for (int head = 0; head < t->heads; head++) {
                    const size_t v = (i * 3 + d) * t->pixels + at, o = output_at(t, i, head, d, at);
                    const double a = w[(head ? A2 : A) + (int)d], keep = kept(t, q->masked, v);
                    const double b = w[(head ? B2 : B) + (int)d] * keep;
                    const double f = a * p.in[d] + b * p.th[d];
                    const double df = a * p.din[d] + b * (1 - p.th[d] * p.th[d]) * p.dh[d];
                    out[o] = k.s.c_skip * q->x[v] + k.s.c_out * f;
                    if (tangent)
                        tangent[o] = k.s.c_skip * q->dx[v] + k.ds.c_skip * q->x[v] + k.s.c_out * df + k.ds.c_out * f;
                }
        }
    }
}

void toy_evaluate(toy *t, int which, const double *x, const double *sigma, double *out)
{
    const question q = {.which = which, .x = x, .t = sigma};
    answer(t, &q, out, NULL);
}

/* By its role. */
static question who(const toy *t, int role)
{
    return (question){.which = role == CM_ROLE_TEACHER                ? 2
                               : role == CM_ROLE_FIRST                ? 1
                               : role == CM_ROLE_TARGET && !t->shared ? 1
                                                                      : 0,
                      .masked = role == CM_ROLE_TARGET || role == CM_ROLE_FIRST,
                      .unlabelled = role == CM_ROLE_UNCONDITIONAL,
                      .truly = role == CM_ROLE_PLAIN || role == CM_ROLE_TEACHER};
}

static cm_status evaluate(void *user, int role, const double *x, const double *sigma, const double *r, double *d)
{
    toy *t = user;
    size_t bytes = t->n * 3 * t->pixels * sizeof *x;
    question q = who(t, role);
    q.x = x, q.t = sigma, q.r = r;
    if (role == CM_ROLE_TARGET) {
        memcpy(t->x2, x, bytes);
        memcpy(t->sigma2, sigma, t->n * sizeof *sigma);
    }
    const size_t all = t->n;
    if (role == CM_ROLE_TEACHER && t->taught) t->n = t->taught;
    const size_t asked = t->n * 3 * t->pixels * sizeof *x;
    answer(t, &q, d, NULL);
    t->n = all;
    if (role == CM_ROLE_TARGET) memcpy(t->out2, d, bytes * (size_t)t->heads);
    if (role == CM_ROLE_TEACHER) memcpy(t->last_teacher, d, asked);
    return CM_OK;
}

static cm_status tangent(void *user, int role, const cm_objective_point *at, const cm_objective_point *along,
                         double *d, double *slope)
{
    toy *t = user;
    const size_t bytes = t->n * 3 * t->pixels * sizeof *d;
    question q = who(t, role);
    q.x = at->x, q.t = at->t, q.r = at->r, q.dx = along->x, q.dt = along->t, q.dr = along->r;
    memcpy(t->x2, at->x, bytes);
    memcpy(t->sigma2, at->t, t->n * sizeof *at->t);
    memcpy(t->along, along->x, bytes);
    memcpy(t->along_t, along->t, t->n * sizeof *along->t);
    answer(t, &q, d, slope);
    memcpy(t->value, d, bytes * (size_t)t->heads);
    memcpy(t->slope, slope, bytes * (size_t)t->heads);
    return CM_OK;
}

static void remember(toy *t, const double *x, const double *sigma, const double *r)
{
    memcpy(t->x, x, t->n * 3 * t->pixels * sizeof *x);
    memcpy(t->sigma, sigma, t->n * sizeof *sigma);
    t->has_second = r != NULL;
    if (r) memcpy(t->second, r, t->n * sizeof *r);
}

static cm_status online(void *user, const double *x, const double *sigma, const double *r, double *d)
{
    toy *t = user;
    const question q = {.masked = 1, .x = x, .t = sigma, .r = r};
    remember(t, x, sigma, r);
    answer(t, &q, d, NULL);
    memcpy(t->out, d, t->n * 3 * (size_t)t->heads * t->pixels * sizeof *d);
    return CM_OK;
}

static cm_status online_tangent(void *user, const cm_objective_point *at, const cm_objective_point *along, double *d,
                                double *slope)
{
    toy *t = user;
    CM_TRY(tangent(user, CM_ROLE_TARGET, at, along, d, slope));
    remember(t, at->x, at->t, at->r);
    if (along->r) memcpy(t->along_r, along->r, t->n * sizeof *along->r);
    memcpy(t->out, d, t->n * 3 * (size_t)t->heads * t->pixels * sizeof *d);
    return CM_OK;
}

/* What one output of a pixel adds: g and gt are the cotangents of F and of its tangent.  h and ht take what goes on
 * through the hidden layer, by reverse mode over (value, tangent). */
static void pull_output(toy *t, int head, size_t d, const pixel *p, double keep, double g, double gt, double *h,
                        double *ht)
{
    const double th = p->th[d], slope = 1 - th * th, b = t->weight[0][(head ? B2 : B) + (int)d] * keep;
    t->gradient[(head ? A2 : A) + (int)d] += g * p->in[d] + gt * p->din[d];
    t->gradient[(head ? B2 : B) + (int)d] += keep * (g * th + gt * slope * p->dh[d]);
    *ht += gt * b * slope;
    *h += g * b * slope - gt * b * 2 * th * slope * p->dh[d];
}

static void pull_hidden(toy *t, const told *k, const pixel *p, int d, double h, double ht)
{
    t->gradient[U + d] += t->tscale * (h * k->s.c_noise + ht * k->ds.c_noise);
    t->gradient[U2 + d] += t->tscale * (h * k->second + ht * k->dsecond);
    t->gradient[UW + d] += h * k->extra;
    t->gradient[V + d] += h;
    for (int c = 0; c < 3; c++) t->gradient[M + 3 * d + c] += h * p->in[c] + ht * p->din[c];
    if (t->classes) t->gradient[E + 3 * k->label + d] += h;
}

static void pull(toy *t, const question *q, const double *cotangent, const double *of_tangent)
{
    for (size_t i = 0; i < t->n; i++) {
        const told k = tell(t, q, i);
        for (size_t at = 0; at < t->pixels; at++) {
            const pixel p = look(t, q, &k, i, at);
            for (size_t d = 0; d < 3; d++) {
                const double keep = kept(t, q->masked, (i * 3 + d) * t->pixels + at);
                double h = 0, ht = 0;
                for (int head = 0; head < t->heads; head++) {
                    const size_t o = output_at(t, i, head, d, at);
                    const double y = cotangent ? cotangent[o] : 0, dy = of_tangent ? of_tangent[o] : 0;
                    pull_output(t, head, d, &p, keep, k.s.c_out * y + k.ds.c_out * dy, k.s.c_out * dy, &h, &ht);
                }
                pull_hidden(t, &k, &p, (int)d, h, ht);
            }
        }
    }
}

static cm_status backward(void *user, const double *cotangent)
{
    toy *t = user;
    const question q = {.masked = 1, .x = t->x, .t = t->sigma, .r = t->has_second ? t->second : NULL};
    memcpy(t->cotangent, cotangent, t->n * 3 * (size_t)t->heads * t->pixels * sizeof *cotangent);
    pull(t, &q, cotangent, NULL);
    return CM_OK;
}

static cm_status backward_tangent(void *user, const double *cotangent, const double *of_tangent)
{
    toy *t = user;
    const question q = {.masked = 1,
                        .x = t->x,
                        .t = t->sigma,
                        .r = t->has_second ? t->second : NULL,
                        .dx = t->along,
                        .dt = t->along_t,
                        .dr = t->has_second ? t->along_r : NULL};
    memcpy(t->of_tangent, of_tangent, t->n * 3 * (size_t)t->heads * t->pixels * sizeof *of_tangent);
    pull(t, &q, cotangent, of_tangent);
    return CM_OK;
}

void set_precond(toy *t, int which, const char *type)
{
    json_t *config = json_pack("{s:s,s:s*,s:f,s:f,s:f}", "type", type, "time",
                               strncmp(type, "trig", 4) == 0 ? NULL
                               : t->tscale < 0.5             ? "250ln"
                                                             : "ln/4",
                               "sigma_data", number(t->f, "sigma_data", 0.5), "sigma_min",
                               number(t->f, "sigma_min", 0.002), "sigma_max", number(t->f, "sigma_max", 80));
    if (cmi_precond_read(t->f->context, config, 1, &t->precond[which]) != CM_OK) abort();
    json_decref(config);
}

void open_toy(const golden_file *f, size_t n, size_t pixels, toy *t)
{
    memset(t, 0, sizeof *t);
    t->f = f;
    t->n = n;
    t->pixels = pixels;
    t->tscale = number(f, "tscale", 1e-3);
    t->p = number(f, "dropout", 0);
    t->heads = 1;
    t->sigma_data = number(f, "sigma_data", 0.5);
    double **images[] = {&t->x,     &t->out,   &t->x2,        &t->out2,       &t->along,
                         &t->slope, &t->value, &t->cotangent, &t->of_tangent, &t->last_teacher};
    for (int i = 0; i < 10; i++) *images[i] = calloc(2 * n * 3 * pixels, sizeof **images[i]);
}

void close_toy(toy *t)
{
    free(t->x), free(t->out), free(t->x2), free(t->out2), free(t->along), free(t->slope), free(t->value);
    free(t->work), free(t->cotangent), free(t->of_tangent), free(t->last_teacher);
}

cm_objective_settings settings_of(const golden_file *f, const cm_objective *o, int32_t side)
{
    cm_objective_settings s = {.distance = {o->distance, 0, 3, side, side, 0},
                               .weighting = (cm_loss_weighting)o->weighting,
                               .sigma_min = number(f, "sigma_min", 0.002),
                               .sigma_max = number(f, "sigma_max", 80),
                               .rho = number(f, "rho", 7),
                               .sigma_data = number(f, "sigma_data", 0.5),
                               .p_mean = number(f, "P_mean", 0),
                               .p_std = number(f, "P_std", 0)};
    return s;
}

static cm_status condition(void *user, const double *numbers)
{
    toy *t = user;
    t->numbers = numbers;
    return CM_OK;
}

cm_objective_nets toy_nets(toy *t)
{
    return (cm_objective_nets){.user = t,
                               .evaluate = evaluate,
                               .tangent = tangent,
                               .online = online,
                               .backward = backward,
                               .online_tangent = online_tangent,
                               .backward_tangent = backward_tangent,
                               .curvature = t->curvature,
                               .weigh = t->weigh,
                               .weigh_back = t->weigh_back,
                               .condition = condition};
}

/* D(x; sigma) of the sampler, from u of the toy: x_t - t u(x_t; t, r), t = sigma / (1 + sigma). */
typedef struct {
    toy *t;
    const double *noise;
    size_t all;
    double *scaled;
} walk;

static cm_status walk_denoise_to(void *user, int evaluation, double sigma, double to, const double *x, double *out)
{
    const walk *w = user;
    double t[64], r[64];
    const cm_objective_nets nets = toy_nets(w->t);
    (void)evaluation;
    for (size_t i = 0; i < w->t->n; i++) t[i] = sigma / (1 + sigma), r[i] = to / (1 + to);
    for (size_t i = 0; i < w->all; i++) w->scaled[i] = x[i] / (1 + sigma);
    CM_TRY(nets.evaluate(w->t, CM_ROLE_PLAIN, w->scaled, t, r, out));
    for (size_t i = 0; i < w->all; i++) out[i] = w->scaled[i] - t[0] * out[i];
    return CM_OK;
}

static cm_status walk_denoise(void *user, int evaluation, double sigma, const double *x, double *out)
{
    return walk_denoise_to(user, evaluation, sigma, 0, x, out);
}

static cm_status walk_noise(void *user, int draw, double *out)
{
    const walk *w = user;
    if (out) memcpy(out, w->noise + (size_t)draw * w->all, w->all * sizeof *out);
    return CM_OK;
}

void toy_walk(toy *t, golden_result *r, const cm_method_kind *method, const double *times, int n, const double *noise,
              size_t all, double *x)
{
    double sigma[128], *work = calloc((CM_SOLVER_WORK + 1) * all, sizeof *work);
    const size_t was = t->n;
    walk w = {t, noise, all, work + CM_SOLVER_WORK * all};
    const cm_solver_io io = {.user = &w,
                             .n = all,
                             .denoise = walk_denoise,
                             .denoise_to = walk_denoise_to,
                             .noise = walk_noise,
                             .images = all / (3 * t->pixels)};
    t->n = io.images;
    for (int i = 0; i <= n; i++) sigma[i] = times[i] < 1 ? times[i] / (1 - times[i]) : 1e30;
    const cm_solver solver = {.method = method, .sigma = sigma, .n = n, .start = sigma[0]};
    if (times[0] != 1 || times[n] != 0 || n > 100 || io.images > 64) golden_fail(r, "a grid that cannot be walked");
    else if (cmi_solver_run(&solver, &io, x, work) != CM_OK) golden_fail(r, "%s", cm_last_message());
    t->n = was;
    free(work);
}

cm_status run_objective(const cm_objective *o, const cm_objective_settings *s, toy *t, const double *x0,
                        const double *z, const double *u, const double *normal, double share, double *loss)
{
    double shares[64];
    const cm_objective_nets nets = toy_nets(t);
    cm_objective_batch b = {.n = t->n,
                            .x0 = x0,
                            .z = z,
                            .u = u,
                            .normal = normal,
                            .loss = loss,
                            .share = shares,
                            .more_u = t->more_u,
                            .more_normal = t->more_normal,
                            .labels = t->labels};
    for (size_t i = 0; i < t->n; i++) shares[i] = t->share ? t->share[i] : share;
    t->axis = o->axis;
    t->shared = o->target != CM_TARGET_AVERAGE;
    free(t->work);
    t->numbers = NULL;
    b.work = t->work = calloc(cmi_objective_work(s, t->n), sizeof *b.work);
    return o->run(s, &b, &nets);
}

void compare_gradients(const golden_file *f, golden_result *r, const char *prefix, const toy *t)
{
    for (int i = 0; i < (t->classes ? 6 : 5); i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "%s.grad.%s", prefix, toy_members[i]);
        int count = (i == 5 ? t->params : toy_begins[i + 1]) - toy_begins[i];
        compare(f, r, name, (size_t)count, t->gradient + toy_begins[i], DOUBLE);
    }
}

int32_t *integers(const golden_file *f, const char *name, size_t *count)
{
    double *v = golden_read(f, name, count);
    if (!v) return NULL;
    int32_t *out = malloc((*count + 1) * sizeof *out);
    for (size_t i = 0; i < *count; i++) out[i] = (int32_t)v[i];
    free(v);
    return out;
}
