/* networks.c - golden/networks: weights by formula, forward pass compared by
 * the README's rule.  Files are recognised by their metadata and tensors. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/fill.h"
#include "diffusion/denoiser.h"
#include "golden.h"
#include "networks.h"

void golden_case_free(net_case *c)
{
    json_decref(c->network);
    json_decref(c->config);
    json_decref(c->fill_json);
    json_decref(c->precond);
}

static const char *text_of(const golden_file *f, const char *key)
{
    const char *text = golden_metadata(f, key);
    return text ? text : "";
}

static void move(json_t *from, json_t *to, const char *name, const char *as)
{
    json_t *v = json_object_get(from, name);
    if (v) json_object_set(to, as, v);
    json_object_del(from, name);
}

/* Which flax arguments exist and cannot change the function computed here. */
void golden_flax_network(json_t *config, json_t *to)
{
    json_t *filter = json_object_get(config, "fir_kernel");
    int fir = json_is_true(json_object_get(config, "fir"));
    int residual = json_is_string(json_object_get(config, "progressive_input")) &&
                   strcmp(json_string_value(json_object_get(config, "progressive_input")), "residual") == 0;
    const char *embedding = json_string_value(json_object_get(config, "embedding_type"));
    int fourier = embedding && strcmp(embedding, "fourier") == 0;
    json_object_set_new(to, "type", json_string("songunet"));
    move(config, to, "nf", "model_channels");
    move(config, to, "ch_mult", "channel_mult");
    move(config, to, "num_res_blocks", "num_blocks");
    move(config, to, "attn_resolutions", "attn_resolutions");
    move(config, to, "image_size", "img_resolution");
    json_object_set_new(to, "embedding_type", json_string(fourier ? "fourier" : "positional"));
    json_object_set_new(to, "channel_mult_noise", json_integer(fourier ? 2 : 1));
    json_object_set_new(to, "encoder_type", json_string(residual ? "residual" : "standard"));
    json_object_set_new(to, "img_channels", json_integer(3));
    if (fir && filter) json_object_set(to, "resample_filter", filter);
}

static void adm_network(const golden_file *f, json_t *config, json_t *to)
{
    const char *key;
    json_t *value;
    int guided = strstr(text_of(f, "source"), "guided-diffusion") != NULL;
    int order = json_is_true(json_object_get(config, "use_new_attention_order"));
    json_object_del(config, "use_new_attention_order");
    json_object_foreach(config, key, value) json_object_set(to, key, value);
    json_object_set_new(to, "type", json_string("adm"));
    json_object_set_new(to, "attention_layout", json_string(guided && !order ? "per_head" : "qkv"));
}

static void edm_network(const golden_file *f, json_t *config, net_case *c)
{
    static const char *const mine[] = {"sigma_data", "sigma_min", "sigma_max", "beta_d", "beta_min",
                                       "M",          "epsilon_t", "C_1",       "C_2"};
    static const struct {
        const char *wrapper, *type;
    } kinds[] = {{"EDMPrecond", "edm"}, {"VPPrecond", "vp"}, {"VEPrecond", "ve"}, {"iDDPMPrecond", "iddpm"}};
    const char *key, *wrapper = text_of(f, "precond"), *type = "edm";
    json_t *value;
    for (size_t i = 0; i < 4; i++)
        if (strcmp(kinds[i].wrapper, wrapper) == 0) type = kinds[i].type;
    (void)snprintf(c->wrapper, sizeof c->wrapper, "%s", wrapper);
    c->precond = json_pack("{s:s}", "type", type);
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) move(config, c->precond, mine[i], mine[i]);
    const char *model = json_string_value(json_object_get(config, "model_type"));
    int song = model ? strcmp(model, "SongUNet") == 0 : type[0] == 'v';
    json_object_foreach(config, key, value) json_object_set(c->network, key, value);
    int edm2 = strcmp(wrapper, "EDM2 Precond") == 0;
    json_object_set_new(c->network, "type", json_string(edm2 ? "edm2" : song ? "songunet" : "dhariwal"));
}

int golden_case_read(const golden_file *f, net_case *c)
{
    memset(c, 0, sizeof *c);
    c->config = golden_json(f, "config");
    c->fill_json = golden_json(f, "fill");
    if (!json_is_object(c->config) || !json_is_object(c->fill_json)) return 0;
    const char *kind = json_string_value(json_object_get(c->fill_json, "kind"));
    c->fill = kind && strcmp(kind, "sin") == 0 ? FILL_SIN : FILL_HASH;
    c->seed = (uint64_t)json_integer_value(json_object_get(c->fill_json, "seed"));
    c->network = json_object();
    json_t *config = json_deep_copy(c->config);
    if (golden_metadata(f, "precond")) {
        c->family = EDM;
        edm_network(f, config, c);
    } else if (strcmp(text_of(f, "layout"), "NHWC") == 0) {
        c->family = FLAX;
        golden_flax_network(config, c->network);
    } else {
        c->family = ADM;
        adm_network(f, config, c->network);
    }
    json_decref(config);
    return 1;
}

/* --- evaluation ------------------------------------------------------------------------- */

void golden_inputs_free(inputs *in)
{
    free(in->x);
    free(in->sigma);
    free(in->second);
    free(in->labels);
    free(in->augment);
}

/* [n, h, w, c] to [n, c, h, w], in place of a malloc'ed array. */
static double *to_planes(double *v, size_t n, size_t pixels, size_t c)
{
    double *out = malloc(n * pixels * c * sizeof *out);
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < pixels; p++)
            for (size_t k = 0; k < c; k++) out[(i * c + k) * pixels + p] = v[(i * pixels + p) * c + k];
    free(v);
    return out;
}

/* A reference array of images as planes. */
double *golden_images_read(const golden_file *f, const net_case *c, const char *name, const inputs *in,
                           size_t *per_image)
{
    size_t count;
    double *v = golden_read(f, name, &count);
    if (!v || count % in->n) return v;
    *per_image = count / in->n;
    size_t pixels = (size_t)in->h * (size_t)in->w;
    return c->family == FLAX ? to_planes(v, in->n, pixels, *per_image / pixels) : v;
}

/* Integer labels y, or one-hot rows class_labels. */
int golden_labels_read(const golden_file *f, const char *y, const char *onehot, inputs *in)
{
    size_t count;
    double *v = golden_read(f, y, &count);
    if (v) {
        in->labels = malloc(in->n * sizeof *in->labels);
        for (size_t i = 0; i < in->n; i++) in->labels[i] = (int32_t)v[i];
    } else if ((v = golden_read(f, onehot, &count)) != NULL) {
        size_t k = count / in->n;
        in->labels = malloc(in->n * sizeof *in->labels);
        for (size_t i = 0; i < in->n; i++) {
            in->labels[i] = -1;
            for (size_t j = 0; j < k; j++) {
                if (v[i * k + j] != 0 && (v[i * k + j] != 1 || in->labels[i] >= 0)) {
                    free(v);
                    return 0;
                }
                if (v[i * k + j] == 1) in->labels[i] = (int32_t)j;
            }
        }
    }
    free(v);
    return 1;
}

typedef struct {
    double *d, *f;
} outputs;

/* Runs the case's network with a preconditioning on x. */
static cm_status evaluate(const golden_file *f, const net_case *c, const json_t *precond, const inputs *in,
                          const double *x, const double *table, int labels, int augment, cm_model **keep,
                          outputs *out)
{
    cm_denoiser *denoiser;
    cm_model *m = *keep;
    if (!m) m = fill_model(f->context, c->network, precond, in->h, in->w, c->family == FLAX, c->fill, c->seed);
    if (!m) return CM_ERR_INTERNAL;
    *keep = m;
    if (table && m->precond.table) memcpy(m->precond.table, table, ((size_t)m->precond.M + 1) * sizeof *table);
    size_t pixels = (size_t)in->h * (size_t)in->w;
    out->d = malloc(in->n * pixels * (size_t)m->out_channels * sizeof(double));
    out->f = malloc(in->n * pixels * (size_t)m->net.out_channels * sizeof(double));
    const cm_evaluation e = {.n = in->n,
                             .x = x,
                             .sigma = in->sigma,
                             .sigma_step = 1,
                             .labels = labels ? in->labels : NULL,
                             .augment = augment ? in->augment : NULL,
                             .d = out->d,
                             .f = out->f};
    CM_TRY(
        cmi_denoiser_create(m, cmi_context_threads(m->context), in->n, (cm_arithmetic){golden_lean, 0}, &denoiser));
    cm_status status = cmi_denoiser_run(denoiser, &e);
    cmi_denoiser_free(denoiser);
    return status;
}

/* Row by row, M the row's own largest reference value. */
static void compare_rows(golden_result *r, const char *what, const double *got, const double *want, size_t n,
                         size_t per_image, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        double most = 0, off = 0;
        for (size_t k = 0; k < per_image; k++) {
            double d = fabs(got[i * per_image + k] - want[i * per_image + k]);
            most = fmax(most, fabs(want[i * per_image + k]));
            if (!(d <= off)) off = d;
        }
        golden_compare(r, what, most > 0 ? off / most : off, tolerance);
    }
}

/* Evaluates and compares D (and F) with the named arrays; name NULL: skip. */
static void check(const golden_file *f, const net_case *c, golden_result *r, const json_t *precond, const inputs *in,
                  const double *x, const double *table, int labels, int augment, const char *d_name,
                  const char *f_name, double d_tol, double f_tol)
{
    outputs out = {NULL, NULL};
    cm_model *m = NULL;
    size_t per_image = 0;
    if (evaluate(f, c, precond, in, x, table, labels, augment, &m, &out) != CM_OK) {
        golden_fail(r, "%s", cm_last_message());
    } else {
        double *d = d_name ? golden_images_read(f, c, d_name, in, &per_image) : NULL;
        if (d) compare_rows(r, d_name, out.d, d, in->n, per_image, d_tol);
        if (d && strcmp(d_name, "denoised.cm") == 0 && (float)in->sigma[0] == 0.002f && c->family == ADM)
            for (size_t k = 0; k < per_image; k++)
                if ((float)out.d[k] != (float)x[k]) golden_fail(r, "denoised.cm is not the identity at 0.002");
        double *raw = f_name ? golden_images_read(f, c, f_name, in, &per_image) : NULL;
        if (raw) compare_rows(r, f_name, out.f, raw, in->n, per_image, f_tol);
        free(d);
        free(raw);
    }
    free(out.d);
    free(out.f);
    fill_model_free(m);
}

/* x as stored, or generated for the full-size cases. */
int golden_inputs_read(const golden_file *f, const net_case *c, const char *x_name, const char *sigma_name,
                       inputs *in)
{
    size_t count;
    memset(in, 0, sizeof *in);
    in->sigma = golden_read(f, sigma_name, &in->n);
    if (!in->sigma || in->n == 0) return 0;
    const cm_tensor *t = cmi_tensors_find(&f->st, x_name);
    if (t && t->rank == 4) {
        int nhwc = c->family == FLAX;
        in->h = (int32_t)t->shape[nhwc ? 1 : 2];
        in->w = (int32_t)t->shape[nhwc ? 2 : 3];
        in->channels = (int32_t)t->shape[nhwc ? 3 : 1];
        in->x = golden_images_read(f, c, x_name, in, &count);
    } else {
        const json_t *key = json_object_get(c->fill_json, "x_key_index");
        const char *side = golden_metadata(f, "input_resolution");
        const json_t *res = json_object_get(c->network, c->family == ADM ? "image_size" : "img_resolution");
        if (!json_is_integer(key)) return 0;
        in->h = in->w = side ? (int32_t)atoi(side) : (int32_t)json_integer_value(res);
        in->channels = 3;
        count = in->n * 3 * (size_t)in->h * (size_t)in->w;
        in->x = malloc(count * sizeof *in->x);
        for (size_t i = 0; i < count; i++)
            in->x[i] = (double)(float)fill_value(c->fill, c->seed, (uint64_t)json_integer_value(key), i);
        if (c->family == FLAX) in->x = to_planes(in->x, in->n, (size_t)in->h * (size_t)in->w, 3);
    }
    return 1;
}

void golden_augment_read(const golden_file *f, const net_case *c, inputs *in)
{
    size_t count;
    double *v = golden_read(f, "augment_labels", &count);
    const json_t *key = json_object_get(c->fill_json, "augment_key_index");
    size_t dim = (size_t)json_integer_value(json_object_get(c->network, "augment_dim"));
    if (!v && !(json_is_integer(key) && dim)) return;
    if (!v) count = in->n * dim;
    in->augment = malloc(count * sizeof *in->augment);
    for (size_t i = 0; i < count; i++)
        in->augment[i] = (float)(v ? v[i] : fill_value(c->fill, c->seed, (uint64_t)json_integer_value(key), i));
    free(v);
}

/* --- the three families -------------------------------------------------------------------- */

static double outputs_tolerance(const net_case *c)
{
    return c->fill == FILL_SIN ? 5e-4 : 5e-5;
}

double *golden_scaled(const inputs *in)
{
    size_t per = (size_t)in->channels * (size_t)in->h * (size_t)in->w;
    double *x = malloc(in->n * per * sizeof *x);
    for (size_t i = 0; i < in->n * per; i++) x[i] = (double)(float)((float)in->x[i] * (float)in->sigma[i / per]);
    return x;
}

static void run_adm(golden_file *f, const net_case *c, golden_result *r)
{
    inputs in, noisy;
    double tol = outputs_tolerance(c);
    json_t *none = json_pack("{s:s}", "type", "none");
    json_t *cm = json_pack("{s:s}", "type", "cm"), *edm = json_pack("{s:s}", "type", "edm");
    if (!golden_inputs_read(f, c, "x", "timesteps", &in) || !golden_labels_read(f, "y", "class_labels", &in)) {
        golden_fail(r, "no inputs that can be read");
    } else {
        size_t per = (size_t)in.channels * (size_t)in.h * (size_t)in.w;
        check(f, c, r, none, &in, in.x, NULL, 1, 0, "out", NULL, tol, 0);
        noisy = in;
        noisy.sigma = golden_read(f, "sigma", NULL);
        double *x = golden_read(f, "x_noisy", NULL);
        if (noisy.sigma && !x && !cmi_tensors_find(&f->st, "x")) x = golden_scaled(&noisy);
        if (noisy.sigma && x && per) {
            if (cmi_tensors_find(&f->st, "denoised.edm"))
                check(f, c, r, edm, &noisy, x, NULL, 1, 0, "denoised.edm", NULL, tol, 0);
            if (cmi_tensors_find(&f->st, "denoised.cm"))
                check(f, c, r, cm, &noisy, x, NULL, 1, 0, "denoised.cm", NULL, tol, 0);
        }
        free(noisy.sigma);
        free(x);
    }
    golden_inputs_free(&in);
    json_decref(none);
    json_decref(cm);
    json_decref(edm);
}

/* c_noise of the wrapper, on its own scale. */
static void check_c_noise(const golden_file *f, const net_case *c, golden_result *r, const inputs *in,
                          const double *table)
{
    cm_precond p;
    double *want = golden_read(f, "c_noise", NULL), most = 0;
    if (want && cmi_precond_read(f->context, c->precond, 0, &p) == CM_OK) {
        if (table && p.table) memcpy(p.table, table, ((size_t)p.M + 1) * sizeof *table);
        for (size_t i = 0; i < in->n; i++) most = fmax(most, fabs(want[i]));
        for (size_t i = 0; i < in->n; i++)
            golden_compare(r, "c_noise", fabs(cmi_precond_scalings(&p, in->sigma[i]).c_noise - want[i]) / most, 1e-5);
        cmi_precond_release(&p);
    }
    free(want);
}

static void run_edm(golden_file *f, const net_case *c, golden_result *r)
{
    inputs in;
    double tol = outputs_tolerance(c), *x = NULL, *table = golden_read(f, "u", NULL);
    double raw = c->wrapper[0] == 'V' && tol < 2e-4 ? 2e-4 : tol;
    if (!golden_inputs_read(f, c, "x", "sigma", &in) || !golden_labels_read(f, "y", "class_labels", &in)) {
        golden_fail(r, "no inputs that can be read");
    } else {
        golden_augment_read(f, c, &in);
        if (!cmi_tensors_find(&f->st, "x")) x = golden_scaled(&in);
        const double *start = x ? x : in.x;
        check_c_noise(f, c, r, &in, table);
        check(f, c, r, c->precond, &in, start, table, 1, 1, "D_x", "F_x", tol, raw);
        if (cmi_tensors_find(&f->st, "D_x.nolabel"))
            check(f, c, r, c->precond, &in, start, table, 0, 1, "D_x.nolabel", NULL, tol, 0);
        if (cmi_tensors_find(&f->st, "D_x.noaug"))
            check(f, c, r, c->precond, &in, start, table, 1, 0, "D_x.noaug", NULL, tol, 0);
    }
    free(x);
    free(table);
    golden_inputs_free(&in);
}

static void run_flax(golden_file *f, const net_case *c, golden_result *r)
{
    inputs in;
    double tol = outputs_tolerance(c), *x = NULL;
    json_t *cm = json_pack("{s:s}", "type", "cm"), *edm = json_pack("{s:s}", "type", "edm");
    if (!golden_inputs_read(f, c, "x", "sigma", &in)) {
        golden_fail(r, "no inputs that can be read");
    } else {
        if (!cmi_tensors_find(&f->st, "x")) x = golden_scaled(&in);
        check(f, c, r, cm, &in, x ? x : in.x, NULL, 0, 0, "denoised.cm", "F_x", tol, tol);
        if (cmi_tensors_find(&f->st, "denoised.edm"))
            check(f, c, r, edm, &in, x ? x : in.x, NULL, 0, 0, "denoised.edm", NULL, tol, 0);
    }
    free(x);
    golden_inputs_free(&in);
    json_decref(cm);
    json_decref(edm);
}

/* --- other kinds of file ------------------------------------------------------------------------ */

static int all_gradients(const golden_file *f)
{
    for (size_t i = 0; i < f->st.count; i++)
        if (strncmp(f->st.tensors[i].name, "grad", 4) != 0) return 0;
    return 1;
}

/* Opens the file of the same folder that describes case `name` with its fill. */
int golden_case_open(const golden_file *f, const char *name, golden_file *out, net_case *c)
{
    DIR *d = opendir(f->folder);
    struct dirent *e;
    int found = 0;
    while (d && !found && (e = readdir(d)) != NULL) {
        char path[4096];
        size_t n = strlen(e->d_name);
        if (n < 12 || strcmp(e->d_name + n - 12, ".safetensors") != 0) continue;
        (void)snprintf(path, sizeof path, "%s/%s", f->folder, e->d_name);
        *out = *f;
        out->used = NULL;
        if (cmi_tensors_open_file(f->context, path, CM_INPUT_IN_PLACE, &out->st) != CM_OK) continue;
        found = strcmp(text_of(out, "case"), name) == 0 && !all_gradients(out) && golden_case_read(out, c);
        if (!found) cmi_tensors_close(&out->st);
    }
    if (d) closedir(d);
    return found;
}

/* NAME.x, NAME.t, NAME.out of raw networks whose input is so small that the
 * norms' epsilon shows. */
static void run_probe(golden_file *f, golden_result *r)
{
    for (size_t i = 0; i < f->st.count; i++) {
        const char *full = f->st.tensors[i].name;
        size_t n = strlen(full);
        golden_file other;
        net_case c;
        inputs in;
        if (n < 5 || strcmp(full + n - 4, ".out") != 0) continue;
        cm_name name = cmi_name_of("%.*s", (int)(n - 4), full);
        if (!golden_case_open(f, name.text, &other, &c)) {
            golden_fail(r, "no file describes the case %s", name.text);
            continue;
        }
        json_t *none = json_pack("{s:s}", "type", "none");
        if (!json_object_get(c.network, "out_channels") && c.precond &&
            strcmp(json_string_value(json_object_get(c.precond, "type")), "iddpm") == 0)
            json_object_set_new(c.network, "out_channels",
                                json_integer(2 * json_integer_value(json_object_get(c.network, "img_channels"))));
        if (!golden_inputs_read(f, &c, cmi_name_of("%s.x", name.text).text, cmi_name_of("%s.t", name.text).text,
                                &in) ||
            !golden_labels_read(f, cmi_name_of("%s.y", name.text).text,
                                cmi_name_of("%s.class_labels", name.text).text, &in))
            golden_fail(r, "no inputs of %s that can be read", name.text);
        else check(f, &c, r, none, &in, in.x, NULL, 1, 0, full, NULL, 1e-4, 0);
        golden_inputs_free(&in);
        json_decref(none);
        golden_case_free(&c);
        cmi_tensors_close(&other.st);
    }
}

/* Part of a case: the file with the rest has to say the same of it. */
static void check_same_config(const golden_file *f, const net_case *c, golden_result *r)
{
    json_t *config = golden_json(f, "config");
    if (config && !json_equal(config, c->config)) golden_fail(r, "the config is not that of the case's other file");
    json_decref(config);
}

/* All weights of a case, stored: our formula has to give the same bits. */
static void run_weights(golden_file *f, const char *name, golden_result *r)
{
    golden_file other;
    net_case c;
    if (!golden_case_open(f, name, &other, &c)) {
        golden_fail(r, "no file describes the case %s", name);
        return;
    }
    check_same_config(f, &c, r);
    json_t *none = json_pack("{s:s}", "type", "none");
    const json_t *side = json_object_get(c.network, c.family == ADM ? "image_size" : "img_resolution");
    int32_t size = (int32_t)json_integer_value(side);
    cm_model *m = fill_model(f->context, c.network, none, size, size, c.family == FLAX, c.fill, c.seed);
    if (!m) golden_fail(r, "%s", cm_last_message());
    for (size_t i = 0; m && i < f->st.count; i++) {
        const cm_tensor *t = &f->st.tensors[i];
        const char *plain = strncmp(t->name, "model.", 6) == 0 ? t->name + 6 : t->name;
        int k = 0;
        while (k < m->graph->n_params && strcmp(m->graph->params[k].name, plain) != 0) k++;
        if (k == m->graph->n_params || m->graph->params[k].constant) {
            golden_fail(r, "the network has no tensor %s", t->name);
            continue;
        }
        golden_compare(r, t->name, memcmp(t->data, fill_param(m, k), t->bytes) ? 1 : 0, 0.5);
    }
    fill_model_free(m);
    json_decref(none);
    golden_case_free(&c);
    cmi_tensors_close(&other.st);
}

static int any_tensor(const golden_file *f, const char *end)
{
    for (size_t i = 0; i < f->st.count; i++) {
        size_t n = strlen(f->st.tensors[i].name), m = strlen(end);
        if (n >= m && strcmp(f->st.tensors[i].name + n - m, end) == 0) return 1;
    }
    return 0;
}

/* What is said of the case beside its config: how the weights were counted, how inputs are made. */
static void check_description(const golden_file *f, golden_result *r)
{
    static const char *const known[] = {
        "kind", "seed", "n_keys", "x_key_index", "cotangent_key_index", "augment_key_index", NULL};
    static const char *const inputs_said[] = {
        "x = fill vector of tensor index x_key_index (no scaling, row-major NCHW); denoised.cm is computed on "
        "x*sigma",
        "network input x_noisy = fill vector * sigma (NCHW); augment_labels = fill vector of augment_key_index",
        "network input x_noisy = fill vector * sigma (NHWC row-major)", NULL};
    const char *said = golden_metadata(f, "inputs"), *shard = golden_metadata(f, "shard");
    json_t *fill = golden_json(f, "fill"), *keys = golden_json(f, "keys"),
           *others = golden_json(f, "buffers_not_filled");
    json_t *n_keys = json_object_get(fill, "n_keys");
    int i = 0, part = 1, parts = 1;
    golden_members(r, "fill", fill, known);
    while (said && inputs_said[i] && strcmp(said, inputs_said[i]) != 0) i++;
    if (said && !inputs_said[i]) golden_fail(r, "inputs are '%.80s'", said);
    if (keys && json_array_size(keys) != (size_t)json_integer_value(n_keys))
        golden_fail(r, "%zu keys, n_keys says %d", json_array_size(keys), (int)json_integer_value(n_keys));
    if (shard && (sscanf(shard, "%d/%d", &part, &parts) != 2 || part < 1 || part > parts))
        golden_fail(r, "shard is '%s'", shard);
    json_decref(fill);
    json_decref(keys);
    json_decref(others);
}

/* Arguments of flax's networks: those that `flax_network` reads, and those that have one value in
 * what the library can be (null: any value, since the weights are the fill's). */
static void check_flax_config(const golden_file *f, golden_result *r)
{
    static const char *const known[] = {"nf",
                                        "ch_mult",
                                        "num_res_blocks",
                                        "attn_resolutions",
                                        "image_size",
                                        "embedding_type",
                                        "progressive_input",
                                        "fir",
                                        "fir_kernel",
                                        "dropout",
                                        "init_scale",
                                        "fourier_scale",
                                        "resamp_with_conv",
                                        "conditional",
                                        "skip_rescale",
                                        "resblock_type",
                                        "progressive",
                                        "progressive_combine",
                                        "double_heads",
                                        "nonlinearity",
                                        NULL};
    json_t *config = golden_json(f, "config"), *v;
    json_t *fixed = json_pack("{s:b,s:b,s:b,s:s,s:s,s:s,s:b,s:s}", "resamp_with_conv", 1, "conditional", 1,
                              "skip_rescale", 1, "resblock_type", "biggan", "progressive", "none",
                              "progressive_combine", "sum", "double_heads", 0, "nonlinearity", "swish");
    const char *key;
    golden_members(r, "config", config, known);
    json_object_foreach(fixed, key, v)
    {
        const json_t *given = json_object_get(config, key);
        if (given && !json_equal(given, v))
            golden_fail(r, "config: %s has another value than the library's networks", key);
    }
    json_decref(fixed);
    json_decref(config);
}

void golden_network(golden_file *f, golden_result *r)
{
    net_case c;
    check_description(f, r);
    if (strcmp(text_of(f, "layout"), "NHWC") == 0) check_flax_config(f, r);
    if (strncmp(f->name, text_of(f, "case"), strlen(text_of(f, "case"))) != 0)
        golden_fail(r, "the case is '%s'", text_of(f, "case"));
    (void)golden_metadata(f, "dead_params"); /* parameters without a gradient, where gradients are compared */
    (void)golden_metadata(f, "grad_proj_keys");
    int config = cmi_tensors_metadata(&f->st, "config") != NULL, fill = cmi_tensors_metadata(&f->st, "fill") != NULL;
    if (all_gradients(f)) {
        golden_file other;
        if (!golden_case_open(f, text_of(f, "case"), &other, &c)) {
            golden_fail(r, "no file describes the case %s", text_of(f, "case"));
            return;
        }
        check_same_config(f, &c, r);
        golden_gradients(&other, f, &c, r);
        golden_case_free(&c);
        cmi_tensors_close(&other.st);
    } else if (!config && any_tensor(f, ".out")) {
        run_probe(f, r);
    } else if (config && !fill && cmi_tensors_metadata(&f->st, "case")) {
        run_weights(f, text_of(f, "case"), r);
    } else if (!config || !golden_case_read(f, &c)) {
        golden_fail(r, "metadata without a config and fill that can be read");
    } else {
        if (c.family == ADM) run_adm(f, &c, r);
        else if (c.family == EDM) run_edm(f, &c, r);
        else run_flax(f, &c, r);
        if (any_tensor(f, "grad_proj")) golden_gradients(f, f, &c, r);
        golden_case_free(&c);
    }
}
