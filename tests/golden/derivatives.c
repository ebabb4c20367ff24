/* derivatives.c - golden/derivatives: networks of formula weights, their values and their derivatives in a direction,
 * by the rule of the README there.  Files are recognised by the case that their metadata name. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/fill.h"
#include "diffusion/denoiser.h"
#include "diffusion/inputs.h"
#include "golden.h"
#include "networks.h"

/* --- a case and its direction ------------------------------------------------------------------- */

typedef struct {
    golden_file *f;
    golden_result *r;
    net_case c;
    inputs in;
    double *dx, *dsigma;
    const double *dsecond; /* of networks of two times */
    size_t per;            /* values of an image */
} direction;

/* Stored in float64. */
static double *read_exact(const direction *t, const char *name, size_t expected)
{
    size_t count = 0;
    double *v = golden_read(t->f, cmi_name_of("%s.f64", name).text, &count);
    if (!v) v = golden_read(t->f, name, &count); /* of the largest network, rounded */
    if (v && count == expected) return v;
    golden_fail(t->r, "%s: %zu values in float64, expected %zu", name, count, expected);
    free(v);
    return NULL;
}

static void compare_images(const direction *t, const char *name, const double *got, double tolerance)
{
    double *want = read_exact(t, name, t->in.n * t->per);
    for (size_t i = 0; want && i < t->in.n; i++) {
        double most = 0, off = 0;
        for (size_t k = i * t->per; k < (i + 1) * t->per; k++) {
            const double d = fabs(got[k] - want[k]);
            most = fmax(most, fabs(want[k]));
            if (!(d <= off)) off = d;
        }
        golden_compare(t->r, name, most > 0 ? off / most : off, tolerance);
    }
    free(want);
}

/* Which noise levels the network is told, and the boundary of the form `cm`. */
static json_t *precond_of(const direction *t, const char *form)
{
    const char *time = golden_metadata(t->f, "time");
    json_t *p = json_pack("{s:s, s:f, s:s}", "type", form, "sigma_data", 0.5, "time", time ? time : "ln/4");
    json_t *boundary = golden_json(t->f, "eps"), *data = golden_json(t->f, "sigma_data");
    if (boundary && strcmp(form, "cm") == 0) json_object_set(p, "sigma_min", boundary);
    if (data) json_object_set(p, "sigma_data", data);
    json_decref(boundary), json_decref(data);
    return p;
}

/* --- values and tangents ------------------------------------------------------------------------ */

enum { VALUE, TANGENT };

static cm_status differentiate(const direction *t, cm_model *m, const double *sigma, const double *dsigma,
                               double *out[2])
{
    cm_denoiser *denoiser;
    const cm_evaluation e = {.n = t->in.n,
                             .x = t->in.x,
                             .sigma = sigma,
                             .sigma_step = 1,
                             .labels = t->in.labels,
                             .augment = t->in.augment,
                             .d = out[VALUE],
                             .x_tangent = t->dx,
                             .sigma_tangent = dsigma,
                             .d_tangent = out[TANGENT],
                             .second = t->in.second,
                             .second_tangent = t->dsecond};
    const uint32_t second = t->in.second ? CM_TANGENT_SECOND : 0;
    CM_TRY(cmi_denoiser_create_tangent(m, cmi_context_threads(m->context), t->in.n, (cm_arithmetic){golden_lean, 0},
                                       CM_TANGENT_X | CM_TANGENT_SIGMA | second, &denoiser));
    cm_status status = cmi_denoiser_run(denoiser, &e);
    cmi_denoiser_free(denoiser);
    return status;
}

/* One preconditioning of the network at (x, sigma), against the tensors of these names. */
static void check(const direction *t, const json_t *precond, const double *sigma, const double *dsigma,
                  const char *value, const char *tangent)
{
    double *out[2];
    cm_model *m = fill_model(t->f->context, t->c.network, precond, t->in.h, t->in.w, 0, t->c.fill, t->c.seed);
    for (int k = 0; k < 2; k++) out[k] = calloc(t->in.n * t->per, sizeof *out[k]);
    if (!m || differentiate(t, m, sigma, dsigma, out) != CM_OK) {
        golden_fail(t->r, "%s", cm_last_message());
    } else {
        if (value) compare_images(t, value, out[VALUE], 5e-5);
        if (tangent) compare_images(t, tangent, out[TANGENT], 5e-4);
    }
    free(out[0]), free(out[1]);
    fill_model_free(m);
}

/* c_noise and its derivative, which are also where the bare network is differentiated. */
static void check_raw(const direction *t)
{
    const size_t n = t->in.n;
    cm_precond p;
    json_t *none = json_pack("{s:s}", "type", "none"), *edm = precond_of(t, "edm");
    double *want = read_exact(t, "c_noise", n), *slope = read_exact(t, "dc_noise", n);
    if (want && slope && cmi_precond_read(t->f->context, edm, 0, &p) == CM_OK) {
        for (size_t i = 0; i < n; i++) {
            const double c = cmi_precond_scalings(&p, t->in.sigma[i]).c_noise;
            const double dc = cmi_precond_slopes(&p, t->in.sigma[i]).c_noise * t->dsigma[i];
            golden_compare(t->r, "c_noise", fabs(c - want[i]) / fabs(want[i]), 1e-9);
            golden_compare(t->r, "dc_noise", fabs(dc - slope[i]) / fabs(slope[i]), 1e-9);
        }
        cmi_precond_release(&p);
        check(t, none, want, slope, "raw.F", "raw.dF");
    }
    free(want), free(slope);
    json_decref(none), json_decref(edm);
}

static void check_forms(const direction *t)
{
    json_t *forms = golden_json(t->f, "forms");
    if (json_array_size(forms) == 0) golden_fail(t->r, "no forms");
    for (size_t i = 0; i < json_array_size(forms); i++) {
        const char *form = json_string_value(json_array_get(forms, i));
        const cm_name value = cmi_name_of("D.%s", form), tangent = cmi_name_of("dD.%s", form);
        json_t *precond = precond_of(t, form);
        check(t, precond, t->in.sigma, t->dsigma, value.text, tangent.text);
        json_decref(precond);
    }
    json_decref(forms);
}

/* The gradient of <u, D> of the first form. */
static void check_gradients(const direction *t)
{
    static const gradient_rule rule = {"", ".f64", "x", 1e-4, 1e-3, 1e-5, 2e-3};
    size_t per;
    json_t *forms = golden_json(t->f, "forms");
    json_t *precond = precond_of(t, json_string_value(json_array_get(forms, 0)));
    double *u = golden_images_read(t->f, &t->c, "u", &t->in, &per);
    if (!u || per != t->per) golden_fail(t->r, "no cotangent u");
    else golden_gradients_of(t->f, &t->c, precond, &t->in, u, NULL, &rule, t->r);
    free(u);
    json_decref(precond), json_decref(forms);
}

/* --- the gradient of <u, D'> ------------------------------------------------------------------- */

static void compare_sigma(const direction *t, const double *got)
{
    double *want = read_exact(t, "rof.grad.sigma", t->in.n), most = 0;
    for (size_t i = 0; want && i < t->in.n; i++) most = fmax(most, fabs(want[i]));
    for (size_t i = 0; want && i < t->in.n; i++)
        golden_compare(t->r, "rof.grad.sigma", fabs(got[i] - want[i]) / most, 2e-3);
    free(want);
}

static void check_through(const direction *t)
{
    static const gradient_rule rule = {"rof.", ".f64", "x", 5e-4, 1e-2, 1e-5, 5e-3};
    const char *form = golden_metadata(t->f, "rof_form");
    size_t per;
    json_t *precond = precond_of(t, form ? form : "cm");
    double *u = golden_images_read(t->f, &t->c, "u", &t->in, &per), *sigma = calloc(t->in.n, sizeof *sigma);
    const gradient_direction along = {t->dx, t->dsigma, NULL, sigma};
    if (!u || per != t->per) golden_fail(t->r, "no cotangent u");
    else golden_gradients_of(t->f, &t->c, precond, &t->in, u, &along, &rule, t->r);
    if (t->r->outcome == GOLDEN_OK) compare_sigma(t, sigma);
    free(u), free(sigma);
    json_decref(precond);
}

/* --- reading a case ----------------------------------------------------------------------------- */

static int is_edm2(const direction *t)
{
    return strcmp(json_string_value(json_object_get(t->c.network, "type")), "edm2") == 0;
}

/* The full-size case: x and its direction by formula. */
static int make_inputs(direction *t)
{
    static const char said[] = "x = v(seed,1048576,i)*sigma, dx = v(seed,1048579,i); no augment labels";
    static const char of_edm2[] = "x = v(seed,1048576,i)*sigma, dx = v(seed,1048579,i), unscaled; class 207";
    const int32_t side = (int32_t)json_integer_value(json_object_get(t->c.network, "img_resolution"));
    golden_says(t->f, t->r, "inputs", is_edm2(t) ? of_edm2 : said);
    t->in.sigma = golden_read(t->f, "sigma", &t->in.n);
    t->in.h = t->in.w = side, t->in.channels = 3;
    t->per = 3 * (size_t)side * (size_t)side;
    t->in.x = malloc(t->in.n * t->per * sizeof *t->in.x), t->dx = malloc(t->in.n * t->per * sizeof *t->dx);
    for (size_t i = 0; t->in.sigma && i < t->in.n * t->per; i++) {
        const float v = (float)fill_value(t->c.fill, t->c.seed, 1048576, i);
        t->in.x[i] = (double)(v * (float)t->in.sigma[i / t->per]);
        t->dx[i] = (double)(float)fill_value(t->c.fill, t->c.seed, 1048579, i);
    }
    if (is_edm2(t)) t->in.labels = malloc(t->in.n * sizeof *t->in.labels);
    for (size_t i = 0; t->in.labels && i < t->in.n; i++) t->in.labels[i] = 207;
    return t->in.sigma != NULL;
}

static int read_inputs(direction *t)
{
    if (golden_metadata(t->f, "inputs")) return make_inputs(t);
    if (!golden_inputs_read(t->f, &t->c, "x", "sigma", &t->in) ||
        !golden_labels_read(t->f, "y", "class_labels", &t->in))
        return 0;
    golden_augment_read(t->f, &t->c, &t->in);
    t->dx = golden_images_read(t->f, &t->c, "dx", &t->in, &t->per);
    return t->dx && t->per == (size_t)t->in.channels * (size_t)t->in.h * (size_t)t->in.w;
}

/* The tensors in the order of their fill index. */
static void check_keys(const direction *t)
{
    json_t *keys = golden_json(t->f, "keys"), *none = json_pack("{s:s}", "type", "none");
    cm_model *m = fill_model(t->f->context, t->c.network, none, t->in.h, t->in.w, 0, t->c.fill, t->c.seed);
    fill_name *names = NULL;
    const int n = m ? fill_names(m, 0, &names) : 0;
    if (n == 0 || (json_int_t)names[n - 1].k + 1 != json_integer_value(json_object_get(t->c.fill_json, "n_keys")))
        golden_fail(t->r, "%d tensors, not those of the case", n);
    for (int k = 0; k < n; k++) {
        const char *key = json_string_value(json_array_get(keys, (size_t)names[k].k));
        const size_t prefix = !key ? 0 : strncmp(key, "model.", 6) == 0 ? 6 : strncmp(key, "unet.", 5) == 0 ? 5 : 0;
        if (key && strcmp(key + prefix, names[k].name) != 0)
            golden_fail(t->r, "tensor %d is %s, expected %s", k, names[k].name, key);
        free(names[k].name);
    }
    free(names);
    fill_model_free(m);
    json_decref(keys), json_decref(none);
}

/* What is said of the case and follows from its name. */
static void check_description(const direction *t)
{
    static const char *const known[] = {"kind", "seed", "n_keys", NULL};
    check_keys(t);
    golden_members(t->r, "fill", t->c.fill_json, known);
    golden_says(t->f, t->r, "stored", is_edm2(t) ? "float64 results rounded to float32" : "float64 results");
    (void)golden_metadata(t->f, "case"), (void)golden_metadata(t->f, "base");
}

static void run_jvp(golden_file *f, golden_result *r)
{
    direction t = {.f = f, .r = r};
    if (!golden_case_read(f, &t.c)) {
        golden_fail(r, "no case that can be read");
    } else if (!read_inputs(&t) || !(t.dsigma = golden_read(f, "dsigma", NULL))) {
        golden_fail(r, "no inputs that can be read");
    } else {
        check_description(&t);
        if (cmi_tensors_find(&f->st, "raw.F.f64")) {
            check_raw(&t);
            check_forms(&t);
            check_gradients(&t);
            check_through(&t);
        } else {
            json_t *edm = precond_of(&t, "edm");
            check(&t, edm, t.in.sigma, t.dsigma, "D", "dD");
            json_decref(edm);
        }
        if (is_edm2(&t)) golden_edm2(f, &t.c, &t.in, r);
    }
    free(t.dx), free(t.dsigma);
    golden_inputs_free(&t.in);
    golden_case_free(&t.c);
}

/* --- networks of two times ---------------------------------------------------------------------- */

/* What the three code bases make of SongUNet, and what their metadata say of the times. */
static const struct {
    const char *kind, *times, *layout, *second, *input;
    double factor;
} two_times[] = {
    {"meanflow", "network gets (t, h = t - r)", "qkv", "concat", "interval", 1},
    {"soflow", "network gets t and t - s, s = r", "interleaved", "concat", "interval", 1},
    {"imm", "network gets 1000 t and 1000 s, s = r", "interleaved", "tower", "time", 1000},
};

static int read_two_times(direction *t)
{
    const char *kind = golden_metadata(t->f, "kind");
    json_decref(t->c.network);
    t->c.network = json_deep_copy(t->c.config);
    t->c.family = EDM;
    json_object_del(t->c.network, "s_embed"); /* of "imm", which has it */
    for (size_t i = 0; kind && i < sizeof two_times / sizeof *two_times; i++) {
        if (strcmp(kind, two_times[i].kind) != 0) continue;
        json_t *more = json_pack("{s:s, s:s, s:s, s:s, s:f}", "type", "songunet", "attention_layout",
                                 two_times[i].layout, "second_time", two_times[i].second, "second_input",
                                 two_times[i].input, "time_factor", two_times[i].factor);
        json_object_update(t->c.network, more);
        json_decref(more);
        golden_says(t->f, t->r, "times", two_times[i].times);
        return 1;
    }
    return 0;
}

static int read_two_time_inputs(direction *t)
{
    size_t n = 0;
    if (!golden_inputs_read(t->f, &t->c, "z", "t", &t->in)) return 0;
    golden_augment_read(t->f, &t->c, &t->in);
    t->in.second = golden_read(t->f, "r", &n);
    t->dx = golden_images_read(t->f, &t->c, "v", &t->in, &t->per);
    return t->in.second && n == t->in.n && t->dx;
}

/* The network along (v, 1, 0) and along (0, 0, 1), and without its augmentation labels. */
static void check_two_time_values(const direction *t, const json_t *none, const double *ones, const double *zeros)
{
    direction other = *t;
    check(t, none, t->in.sigma, ones, "out", "jvp");
    other.dx = NULL, other.dsecond = ones;
    check(&other, none, t->in.sigma, zeros, NULL, "jvp.r");
    other.in.augment = NULL;
    if (t->in.augment) check(&other, none, t->in.sigma, zeros, "out.noaug", NULL);
}

static void check_two_time_gradients(const direction *t, const json_t *none, const double *ones, const double *zeros)
{
    static const gradient_rule plain = {"", ".f64", "z", 1e-4, 1e-3, 1e-5, 2e-3};
    static const gradient_rule through = {"rof.", ".f64", "z", 5e-4, 1e-2, 1e-5, 5e-3};
    const gradient_direction along = {t->dx, ones, zeros, NULL};
    size_t per;
    double *u = golden_images_read(t->f, &t->c, "u", &t->in, &per);
    if (!u || per != t->per) golden_fail(t->r, "no cotangent u");
    else {
        golden_gradients_of(t->f, &t->c, none, &t->in, u, NULL, &plain, t->r);
        golden_gradients_of(t->f, &t->c, none, &t->in, u, &along, &through, t->r);
    }
    free(u);
}

static void run_two_times(golden_file *f, golden_result *r)
{
    static const char said[] = "direction (v, 1, 0) on (z, t, r); jvp.r: direction (0, 0, 1)";
    direction t = {.f = f, .r = r};
    if (!golden_case_read(f, &t.c) || !read_two_times(&t) || !read_two_time_inputs(&t)) {
        golden_fail(r, "no case of two times that can be read");
    } else {
        json_t *none = json_pack("{s:s}", "type", "none");
        double *ones = calloc(t.in.n, sizeof *ones), *zeros = calloc(t.in.n, sizeof *zeros);
        for (size_t i = 0; i < t.in.n; i++) ones[i] = 1;
        golden_says(f, r, "jvp", said);
        (void)golden_metadata(f, "shapes");
        check_keys(&t);
        check_two_time_values(&t, none, ones, zeros);
        check_two_time_gradients(&t, none, ones, zeros);
        free(ones), free(zeros);
        json_decref(none);
    }
    free(t.dx);
    golden_inputs_free(&t.in);
    golden_case_free(&t.c);
}

/* One row a kind of file: how its case begins. */
static const struct {
    const char *prefix;
    void (*run)(golden_file *f, golden_result *r);
} kinds[] = {{"jvp_", run_jvp},
             {"edm2_phema", golden_phema},
             {"edm2_", run_jvp},
             {"full_edm2", run_jvp},
             {"twotime_", run_two_times}};

void golden_derivative(golden_file *f, golden_result *r)
{
    const char *name = golden_metadata(f, "case");
    if (!name) name = f->name; /* tables without a network */
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(name, kinds[i].prefix, strlen(kinds[i].prefix)) == 0) {
            kinds[i].run(f, r);
            return;
        }
    golden_missing(r, "derivatives");
}
