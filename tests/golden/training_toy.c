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
        cm_scalings s = cmi_precond_scalings(&t->precond[which], sigma[i]);
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

void toy_evaluate(toy *t, int which, const double *x, const double *sigma, double *out)
{
    evaluate_toy(t, which, 0, x, sigma, out);
}

static cm_status evaluate(void *user, int role, const double *x, const double *sigma, const double *r, double *d)
{
    (void)r;
    toy *t = user;
    size_t bytes = t->n * 3 * t->pixels * sizeof *x;
    int target = role == CM_ROLE_TARGET;
    if (target) {
        memcpy(t->x2, x, bytes);
        memcpy(t->sigma2, sigma, t->n * sizeof *sigma);
    }
    evaluate_toy(t, target ? 1 : 2, target, x, sigma, d);
    if (target) memcpy(t->out2, d, bytes);
    return CM_OK;
}

static cm_status online(void *user, const double *x, const double *sigma, const double *r, double *d)
{
    (void)r;
    toy *t = user;
    memcpy(t->x, x, t->n * 3 * t->pixels * sizeof *x);
    memcpy(t->sigma, sigma, t->n * sizeof *sigma);
    evaluate_toy(t, 0, 1, x, sigma, d);
    memcpy(t->out, d, t->n * 3 * t->pixels * sizeof *d);
    return CM_OK;
}

static cm_status backward(void *user, const double *cotangent)
{
    toy *t = user;
    const double *w = t->weight[0];
    for (size_t i = 0; i < t->n; i++) {
        cm_scalings s = cmi_precond_scalings(&t->precond[0], t->sigma[i]);
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

void set_precond(toy *t, int which, const char *type)
{
    json_t *config = json_pack("{s:s,s:s,s:f,s:f,s:f}", "type", type, "time", t->tscale < 0.5 ? "250ln" : "ln/4",
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
    double **images[] = {&t->x, &t->out, &t->x2, &t->out2};
    for (int i = 0; i < 4; i++) *images[i] = calloc(n * 3 * pixels, sizeof **images[i]);
}

void close_toy(toy *t)
{
    free(t->x), free(t->out), free(t->x2), free(t->out2);
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

cm_status run_objective(const cm_objective *o, const cm_objective_settings *s, toy *t, const double *x0,
                        const double *z, const double *u, const double *normal, double share, double *loss)
{
    double shares[64];
    const cm_objective_nets nets = {.user = t, .evaluate = evaluate, .online = online, .backward = backward};
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
    for (size_t i = 0; i < t->n; i++) shares[i] = share;
    b.work = calloc(cmi_objective_work(s, t->n), sizeof *b.work);
    cm_status status = o->run(s, &b, &nets);
    free(b.work);
    return status;
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
