/* edm2.c - golden/derivatives: what EDM2 has beside a network's values and derivatives: u(sigma) of its wrapper,
 * forced normalisation of weights, and power-function averages. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../support/fill.h"
#include "diffusion/denoiser.h"
#include "golden.h"
#include "networks.h"
#include "nets/unit_rows.h"
#include "train/ema.h"
#include "train/phema.h"
#include "train/weight_net.h"

typedef struct {
    const golden_file *f;
    const net_case *c;
    const inputs *in;
    golden_result *r;
} edm2_case;

/* Of the largest value. */
static void compare(const golden_file *f, golden_result *r, const char *name, size_t n, const double *got,
                    double tolerance)
{
    size_t count = 0;
    double *want = golden_read(f, cmi_name_of("%s.f64", name).text, &count), most = 0, off = 0;
    if (!want || count != n) {
        golden_fail(r, "%s has %zu values, expected %zu", name, count, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            most = fmax(most, fabs(want[i]));
            if (!(fabs(got[i] - want[i]) <= off)) off = fabs(got[i] - want[i]);
        }
        golden_compare(r, name, off / most, tolerance);
    }
    free(want);
}

static void compare_images(const edm2_case *t, const char *name, const double *got, double tolerance)
{
    size_t count = 0;
    double *want = golden_read(t->f, cmi_name_of("%s.f64", name).text, &count);
    for (size_t i = 0; want && i < t->in->n; i++) {
        const size_t per = count / t->in->n;
        double most = 0, off = 0;
        for (size_t k = i * per; k < (i + 1) * per; k++) {
            most = fmax(most, fabs(want[k]));
            if (!(fabs(got[k] - want[k]) <= off)) off = fabs(got[k] - want[k]);
        }
        golden_compare(t->r, name, off / most, tolerance);
    }
    if (!want) golden_fail(t->r, "no %s", name);
    free(want);
}

/* --- u(sigma) ------------------------------------------------------------------------------------- */

/* The wrapper's tensors are filled in the order of their names. */
static double filled(const edm2_case *t, uint64_t k, size_t i, double scale)
{
    return (double)(float)(scale * fill_value(t->c->fill, t->c->seed, k, i));
}

static void check_uncertainty(const edm2_case *t)
{
    const json_t *channels = json_object_get(t->c->config, "logvar_channels");
    const size_t n = channels ? (size_t)json_integer_value(channels) : 128, rows = t->in->n;
    const double step = 1e-5; /* of the derivative by differences */
    double w[CM_WEIGHT_NET_MOST], gradient[CM_WEIGHT_NET_MOST] = {0};
    cm_weight_net net = {.kind = CM_WEIGHT_NET_FOURIER, .features = (int32_t)n};
    double *value = calloc(rows, sizeof *value), *slope = calloc(rows, sizeof *slope),
           *direction = golden_read(t->f, "dsigma", NULL);
    for (size_t i = 0; i < n; i++) {
        net.freqs[i] = filled(t, 0, i, 16);
        net.phases[i] = filled(t, 1, i, 0.1);
        w[i] = filled(t, 2, i, 1 / sqrt((double)n));
    }
    for (size_t i = 0; i < rows && direction; i++) {
        const double c = log(t->in->sigma[i]) / 4;
        value[i] = cmi_weight_net_value(&net, w, c);
        slope[i] = (cmi_weight_net_value(&net, w, c + step) - cmi_weight_net_value(&net, w, c - step)) / (2 * step);
        slope[i] *= direction[i] / (4 * t->in->sigma[i]);
        cmi_weight_net_pull(&net, w, c, (double)(i + 1), gradient);
    }
    compare(t->f, t->r, "logvar", rows, value, 1e-9);
    if (cmi_tensors_find(&t->f->st, "dlogvar.f64")) {
        compare(t->f, t->r, "logvar.wrapper", rows, value, 1e-9);
        compare(t->f, t->r, "dlogvar", rows, slope, 1e-6);
        compare(t->f, t->r, "grad.param.logvar_linear.weight", n, gradient, 1e-9);
    }
    free(value), free(slope), free(direction);
}

/* --- other passes through the network ------------------------------------------------------------- */

static cm_model *make(const edm2_case *t)
{
    json_t *precond = json_pack("{s:s}", "type", "edm");
    cm_model *m = fill_model(t->f->context, t->c->network, precond, t->in->h, t->in->w, 0, t->c->fill, t->c->seed);
    if (!m) golden_fail(t->r, "%s", cm_last_message());
    json_decref(precond);
    return m;
}

static void check_pass(const edm2_case *t, cm_model *m, const char *name, const int32_t *labels)
{
    cm_denoiser *denoiser = NULL;
    double *d = calloc(t->in->n * (size_t)t->in->channels * (size_t)t->in->h * (size_t)t->in->w, sizeof *d);
    const cm_evaluation e = {
        .n = t->in->n, .x = t->in->x, .sigma = t->in->sigma, .sigma_step = 1, .labels = labels, .d = d};
    cm_status status =
        cmi_denoiser_create(m, cmi_context_threads(m->context), t->in->n, (cm_arithmetic){golden_lean, 0}, &denoiser);
    if (status == CM_OK) status = cmi_denoiser_run(denoiser, &e);
    if (status != CM_OK) golden_fail(t->r, "%s", cm_last_message());
    else compare_images(t, name, d, 5e-5);
    cmi_denoiser_free(denoiser);
    free(d);
}

static void force(cm_model *m)
{
    const cm_graph *g = m->inference;
    for (int i = 0; i < g->n_params; i++)
        if (g->params[i].derived.kind)
            cmi_unit_rows_force(&g->params[i], (float *)(uintptr_t)fill_param(m, g->params[i].derived.from[0]));
}

/* A weight, after so many passes. */
static void compare_weight(const edm2_case *t, const cm_model *m, int passes, const char *name)
{
    int index = 0;
    while (index < m->graph->n_params && strcmp(m->graph->params[index].name, name) != 0) index++;
    const size_t n = cmi_param_elements(&m->graph->params[index]);
    double *v = malloc(n * sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = (double)fill_param(m, index)[i];
    compare(t->f, t->r, cmi_name_of("forced.%d.unet.%s", passes, name).text, n, v, 1e-6);
    free(v);
}

/* A pass in training mode puts normalised weights in the place of those that it finds, then normalises them for use
 * as every pass does. */
static void check_forced(const edm2_case *t)
{
    cm_model *m = make(t);
    for (int passes = 1; m && passes <= 2; passes++) {
        force(m);
        compare_weight(t, m, passes, "out_conv.weight");
        compare_weight(t, m, passes, "emb_noise.weight");
        if (passes == 1) check_pass(t, m, "forced.D", t->in->labels);
    }
    fill_model_free(m);
}

void golden_edm2(const golden_file *f, const net_case *c, const inputs *in, golden_result *r)
{
    const edm2_case t = {f, c, in, r};
    check_uncertainty(&t);
    if (!cmi_tensors_find(&f->st, "D.wrapper.f64")) return;
    cm_model *m = make(&t);
    if (m) {
        check_pass(&t, m, "D.wrapper", in->labels);
        if (in->labels) check_pass(&t, m, "D.nolabel", NULL);
    }
    fill_model_free(m);
    check_forced(&t);
}

/* --- averages ------------------------------------------------------------------------------------- */

static void check_profiles(golden_file *f, golden_result *r)
{
    size_t n = 0, wanted = 0;
    double *end = golden_read(f, "post.in_ofs.f64", &n), *std = golden_read(f, "post.in_std.f64", NULL);
    double *to_end = golden_read(f, "post.out_ofs.f64", &wanted), *to_std = golden_read(f, "post.out_std.f64", NULL);
    double *k = calloc(n * n + 1, sizeof *k), *x = calloc(n * wanted + 1, sizeof *x), *w = calloc(n + 1, sizeof *w);
    cm_profile *stored = calloc(n + 1, sizeof *stored);
    for (size_t i = 0; i < n; i++) stored[i] = (cm_profile){end[i], std[i]};
    for (size_t i = 0; i < n * n; i++) k[i] = cmi_profile_correlation(stored[i / n], stored[i % n]);
    for (size_t j = 0; j < wanted; j++) {
        if (cmi_profile_weights(f->context, n, stored, (cm_profile){to_end[j], to_std[j]}, w) != CM_OK)
            golden_fail(r, "%s", cm_last_message());
        for (size_t i = 0; i < n; i++) x[i * wanted + j] = w[i];
    }
    compare(f, r, "post.corr", n * n, k, 1e-9);
    compare(f, r, "post.coef", n * wanted, x, 1e-9);
    free(end), free(std), free(to_end), free(to_std), free(k), free(x), free(w), free(stored);
}

/* Two averages over some steps, in float32 as a run has them. */
static void check_run(golden_file *f, golden_result *r)
{
    static const double std[2] = {0.05, 0.10};
    size_t count = 0, all = 0;
    double *params = golden_read(f, "traj.params", &count), *want = golden_read(f, "traj.ema.f64", &all);
    const size_t steps = all / 2 ? 12 : 0, n = count / 12;
    double *got = calloc(all + 1, sizeof *got);
    float p[16], ema[2][16];
    if (all != 2 * count || n == 0 || n > 16) golden_fail(r, "traj.ema has %zu values", all);
    for (size_t k = 0; k < steps && r->outcome == GOLDEN_OK; k++)
        for (int e = 0; e < 2; e++) {
            const cm_ema_rate rate = {CM_EMA_POWER, std[e], 0};
            for (size_t i = 0; i < n; i++) p[i] = (float)params[k * n + i];
            cmi_ema_apply(cmi_ema_rate_at(&rate, (int64_t)k, (double)k * 2048, 2048), n, ema[e], p);
            for (size_t i = 0; i < n; i++) got[(k * 2 + (size_t)e) * n + i] = (double)ema[e][i];
        }
    compare(f, r, "traj.ema", all, got, 1e-6);
    free(params), free(want), free(got);
}

void golden_phema(golden_file *f, golden_result *r)
{
    size_t n = 0, images = 0;
    double *std = golden_read(f, "std.f64", &n), *nimg = golden_read(f, "beta.nimg.f64", &images);
    double *gamma = calloc(n + 1, sizeof *gamma), *back = calloc(n + 1, sizeof *back),
           *beta = calloc(n * images + 1, sizeof *beta);
    const double batch = 2048;
    golden_agrees(f, r, "batch", batch);
    golden_says(f, r, "traj", "[step, average (std .05, .10), 5]");
    golden_says(f, r, "post", "coef [in, out]");
    for (size_t i = 0; i < n; i++) {
        const cm_ema_rate rate = {CM_EMA_POWER, std[i], 0};
        gamma[i] = cmi_power_exponent(std[i]);
        back[i] = cmi_power_std(gamma[i]);
        for (size_t k = 0; k < images; k++)
            beta[i * images + k] = cmi_ema_rate_at(&rate, (int64_t)(nimg[k] / batch) - 1, nimg[k] - batch, batch);
    }
    compare(f, r, "gamma", n, gamma, 1e-9);
    compare(f, r, "std_back", n, back, 1e-9);
    compare(f, r, "beta", n * images, beta, 1e-9);
    check_profiles(f, r);
    check_run(f, r);
    free(std), free(nimg), free(gamma), free(back), free(beta);
}
