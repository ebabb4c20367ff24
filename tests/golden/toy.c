/* toy.c - F = a x + b tanh(M x + tscale c u + v + E[y]) per pixel, in double. */
#include "toy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double golden_number(const golden_file *f, const char *key, double fallback)
{
    json_t *v = golden_json(f, key);
    double d = v ? golden_value(v) : fallback;
    json_decref(v);
    return d;
}

void golden_compare_double(golden_result *r, const char *what, size_t n, const double *got, const double *want)
{
    double most = 0, off = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(got[i] - want[i]);
        most = fmax(most, fabs(want[i]));
        if (!(d <= off)) off = d;
    }
    golden_compare(r, what, off, 1e-11 * most + 1e-13);
}

/* Compares a freshly computed array with tensor NAME (its .f64 form). */
void golden_compare_with(const golden_file *f, golden_result *r, const char *name, size_t n, const double *got)
{
    char full[128];
    size_t count = 0;
    (void)snprintf(full, sizeof full, "%s.f64", name);
    double *want = golden_read(f, full, &count);
    if (!want) want = golden_read(f, name, &count);
    if (!want || count != n) golden_fail(r, "%s: expected %zu values, the file has %zu", name, n, count);
    else golden_compare_double(r, name, n, got, want);
    free(want);
}

/* F = a x + b tanh(M x + tscale c u + v + E[y]) per pixel */
static double toy_network(const toy *t, size_t image, const double *x, size_t stride, double c, size_t d)
{
    double h = t->tscale * c * t->u[d] + t->v[d];
    for (size_t k = 0; k < 3; k++) h += t->M[3 * d + k] * x[k * stride];
    if (t->E && t->y) h += t->E[3 * (size_t)t->y[image] + d];
    return t->a[d] * x[d * stride] + t->b[d] * tanh(h);
}

static void toy_denoise(const toy *t, double sigma, const double *x, double *out)
{
    cm_scalings s = cmi_precond_scalings(&t->model->precond, sigma);
    for (size_t i = 0; i < t->images; i++)
        for (size_t p = 0; p < t->pixels; p++) {
            double in[3], result[3];
            for (size_t d = 0; d < 3; d++) in[d] = s.c_in * x[(3 * i + d) * t->pixels + p];
            for (size_t d = 0; d < 3; d++) result[d] = toy_network(t, i, in, 1, s.c_noise, d);
            for (size_t d = 0; d < 3; d++) {
                size_t at = (3 * i + d) * t->pixels + p;
                out[at] = s.c_skip * x[at] + s.c_out * result[d];
            }
        }
}

cm_status toy_on_denoise(void *user, int evaluation, double sigma, const double *x, double *out)
{
    toy *t = user;
    size_t n = 3 * t->images * t->pixels, e = (size_t)evaluation;
    t->seen++;
    if (e < t->evals && t->eval_x) golden_compare_double(t->r, "eval_x", n, x, t->eval_x + e * n);
    if (e < t->evals && t->eval_sigma)
        golden_compare(t->r, "eval_sigma", fabs(sigma - t->eval_sigma[e]), 1e-11 * t->eval_sigma[0] + 1e-13);
    toy_denoise(t, sigma, x, out);
    if (e < t->evals && t->eval_d) golden_compare_double(t->r, "eval_denoised", n, out, t->eval_d + e * n);
    return CM_OK;
}

cm_status toy_on_noise(void *user, int draw, double *out)
{
    toy *t = user;
    size_t n = 3 * t->images * t->pixels;
    if ((size_t)draw >= t->draws || !t->noise) {
        if (!out) return CM_OK;
        CM_FAIL(CM_ERR_STATE, "draw %d, the file has %zu", draw, t->draws);
    }
    if (out) memcpy(out, t->noise + (size_t)draw * n, n * sizeof *out);
    return CM_OK;
}

static double *member_of(const golden_file *f, const char *prefix, const char *name)
{
    char full[64];
    (void)snprintf(full, sizeof full, "%s.%s", prefix, name);
    return golden_read(f, full, NULL);
}

int toy_weights(const golden_file *f, golden_result *r, toy *t, cm_model *m, const char *precond, int adm,
                const cm_tensor *x)
{
    return toy_weights_of(f, r, t, m, "net", precond, adm, x);
}

int toy_weights_of(const golden_file *f, golden_result *r, toy *t, cm_model *m, const char *prefix,
                   const char *precond, int adm, const cm_tensor *x)
{
    memset(t, 0, sizeof *t);
    memset(m, 0, sizeof *m);
    t->r = r;
    t->model = m;
    t->M = member_of(f, prefix, "M"), t->u = member_of(f, prefix, "u"), t->v = member_of(f, prefix, "v");
    t->a = member_of(f, prefix, "a"), t->b = member_of(f, prefix, "b"), t->E = member_of(f, prefix, "E");
    t->tscale = golden_number(f, "tscale", 1);
    if (!t->M || !t->u || !t->v || !t->a || !t->b || !x || x->rank != 4 || x->shape[1] != 3) return 0;
    t->images = (size_t)x->shape[0];
    t->pixels = (size_t)(x->shape[2] * x->shape[3]);
    m->context = f->context;
    m->net.family = adm ? &cmi_net_adm : &cmi_net_songunet;
    m->channels = m->out_channels = 3;
    m->height = (int32_t)x->shape[2];
    m->width = (int32_t)x->shape[3];
    json_t *config = json_pack("{s:s}", "type", precond);
    cm_status status = cmi_precond_read(f->context, config, adm, &m->precond);
    json_decref(config);
    return status == CM_OK;
}

int toy_open(golden_file *f, golden_result *r, toy *t, cm_model *m, int consistency, int edm, double **start,
             double **want, size_t *n)
{
    size_t steps = 0, values = 0;
    const char *latents = edm ? "latents" : "noise.0_xT_unit";
    int good = toy_weights(f, r, t, m, consistency ? "cm" : "edm", !edm, cmi_tensors_find(&f->st, latents));
    t->y = golden_read(f, "y", NULL);
    *start = golden_read(f, latents, n);
    *want = golden_read(f, "sample.f64", &values);
    t->noise = golden_read(f, "noise.steps", &steps);
    t->eval_x = golden_read(f, "eval_x.f64", NULL);
    t->eval_sigma = golden_read(f, "eval_sigma.f64", &t->evals);
    t->eval_d = golden_read(f, "eval_denoised.f64", NULL);
    if (!good || !*start || !*want || values != *n) return 0;
    t->draws = steps / *n;
    m->precond.sigma_data = golden_number(f, "sigma_data", 0.5);
    m->precond.sigma_min = golden_number(f, "sigma_min", m->precond.sigma_min);
    m->precond.sigma_max = golden_number(f, "sigma_max", m->precond.sigma_max);
    return 1;
}

void toy_close(toy *t, double *start, double *want)
{
    double *const all[] = {t->M,     t->u,      t->v,          t->a,      t->b,  t->E, t->y,
                           t->noise, t->eval_x, t->eval_sigma, t->eval_d, start, want};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}
