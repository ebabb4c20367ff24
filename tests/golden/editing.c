/* editing.c - golden/algorithms edit_* and alg4_*: Algorithm 4 with the toy
 * network.  Every file runs through the task's own code and, where there is a
 * matrix for it, through the general form as well. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/edit.h"
#include "diffusion/times.h"
#include "golden.h"
#include "toy.h"

typedef struct {
    const golden_file *f;
    golden_result *r;
    toy t;
    cm_model m;
    size_t n;          /* values of all images                         */
    float *y;          /* given images                                 */
    double *start;     /* unit normals                                 */
    double *after;     /* states after each replacement, or NULL       */
    size_t after_runs; /* how many                                     */
    const cm_edit *edit;
} editing;

static float *read_floats(const golden_file *f, const char *name, size_t *n)
{
    double *wide = golden_read(f, name, n);
    float *narrow = wide ? calloc(*n, sizeof *narrow) : NULL;
    for (size_t i = 0; narrow && i < *n; i++) narrow[i] = (float)wide[i];
    free(wide);
    return narrow;
}

static cm_status on_keep(void *user, double *x)
{
    editing *e = (editing *)((char *)user - offsetof(editing, t));
    size_t size = e->n / e->t.images;
    for (size_t i = 0; i < e->t.images; i++) CM_TRY(cmi_edit_keep(e->edit, i, x + i * size));
    return CM_OK;
}

static cm_status on_estimate(void *user, int evaluation, double sigma, const double *x)
{
    editing *e = (editing *)((char *)user - offsetof(editing, t));
    (void)sigma;
    if (e->after && (size_t)evaluation < e->after_runs)
        golden_compare_double(e->r, "after replacement", e->n, x, e->after + (size_t)evaluation * e->n);
    return CM_OK;
}

/* The sampler's round with the toy: from unit normals to the last state. */
static void run(editing *e, const cm_edit *edit, double *x)
{
    cm_times times;
    size_t size = e->n / e->t.images;
    double *work = calloc(e->n, CM_SOLVER_WORK * sizeof *work);
    e->edit = edit;
    e->t.seen = 0;
    memcpy(x, e->start, e->n * sizeof *x);
    cm_status status = cmi_times_resolve(&e->m, &edit->sampling, &times);
    for (size_t i = 0; i < e->t.images && status == CM_OK; i++)
        status = cmi_edit_begin(edit, i, times.solver.start, x + i * size, work);
    if (status == CM_OK) {
        const cm_solver_io io = {.user = &e->t,
                                 .n = e->n,
                                 .denoise = toy_on_denoise,
                                 .noise = toy_on_noise,
                                 .keep = on_keep,
                                 .estimate = on_estimate};
        times.solver.start = 1;
        status = cmi_solver_run(&times.solver, &io, x, work);
        if (e->t.seen != (size_t)cmi_solver_nfe(&times.solver)) golden_fail(e->r, "%zu evaluations", e->t.seen);
        cmi_times_release(&e->m, &times);
    }
    if (status != CM_OK) golden_fail(e->r, "%s: %s", edit->task->name, cm_last_message());
    free(work);
}

/* What the run would begin with, without noise. */
static void compare_origin(const editing *e, const cm_edit *edit, const char *name)
{
    size_t size = e->n / e->t.images;
    double *x = calloc(e->n, sizeof *x), *scratch = calloc(size, sizeof *scratch);
    for (size_t i = 0; i < e->t.images; i++) (void)cmi_edit_begin(edit, i, 0, x + i * size, scratch);
    golden_compare_with(e->f, e->r, name, e->n, x);
    free(x);
    free(scratch);
}

static int open_file(const golden_file *f, golden_result *r, editing *e, const char *images, const char *start)
{
    memset(e, 0, sizeof *e);
    e->f = f;
    e->r = r;
    int good = toy_weights(f, r, &e->t, &e->m, "cm", 1, cmi_tensors_find(&f->st, images));
    e->y = read_floats(f, images, &e->n);
    e->start = start ? golden_read(f, start, NULL) : NULL;
    e->m.precond.sigma_min = golden_number(f, "eps", e->m.precond.sigma_min);
    return good && e->y && (!start || e->start);
}

static void close_file(editing *e)
{
    free(e->y);
    free(e->after);
    toy_close(&e->t, e->start, NULL);
}

static cm_view given(const editing *e, const float *data, int32_t channels, int32_t factor)
{
    return cmi_view_planes(e->t.images, (size_t)channels, (size_t)(e->m.height / factor),
                           (size_t)(e->m.width / factor), data, 0);
}

/* Means of p x p blocks, rounded for the call; the exact ones go into edit->given. */
static void block_means(const editing *e, size_t p, double *mean)
{
    size_t w = (size_t)e->m.width, planes = 3 * e->t.images, h = e->n / planes / w;
    for (size_t i = 0; i < e->n; i++) {
        size_t row = i / w % h, at = (i / (w * h) * (h / p) + row / p) * (w / p) + i % w / p;
        mean[at] += (double)e->y[i] / (double)(p * p);
    }
}

/* x NULL: only what it would begin with. */
static void run_super_resolve(editing *e, const cm_edit_options *o, int32_t p, double *x, const char *origin)
{
    size_t small = e->n / (size_t)(p * p);
    double *mean = calloc(small, sizeof *mean);
    float *low = calloc(small, sizeof *low);
    cm_edit edit;
    block_means(e, (size_t)p, mean);
    for (size_t i = 0; i < small; i++) low[i] = (float)mean[i];
    const cm_view g = given(e, low, 3, p);
    if (cmi_edit_open(&e->m, &cmi_edit_super_resolve, o, NULL, &g, NULL, &edit) != CM_OK)
        golden_fail(e->r, "%s", cm_last_message());
    else {
        memcpy(edit.given, mean, small * sizeof *mean);
        if (origin) compare_origin(e, &edit, origin);
        if (x) run(e, &edit, x);
        cmi_edit_close(&edit);
    }
    free(mean);
    free(low);
}

/* --- alg4_*: the paper's form ------------------------------------------------------------------- */

/* Tensor NAME of edit_matrices beside the file, transposed. */
static double *matrix(const golden_file *f, const char *name, size_t side)
{
    golden_file m = *f;
    m.used = NULL;
    char path[4096];
    size_t n = 0;
    const char *slash = strrchr(f->path, '/');
    (void)snprintf(path, sizeof path, "%.*s/edit_matrices.safetensors", slash ? (int)(slash - f->path) : 1,
                   slash ? f->path : ".");
    if (cmi_tensors_open_file(f->context, path, CM_INPUT_IN_PLACE, &m.st) != CM_OK) return NULL;
    double *q = golden_read(&m, name, &n), *t = n == side * side ? calloc(n, sizeof *t) : NULL;
    for (size_t i = 0; t && i < n; i++) t[i % side * side + i / side] = q[i];
    free(q);
    cmi_tensors_close(&m.st);
    return t;
}

/* The file's omega (which broadcasts; its last axis counts a patch's values)
 * as one mask of 3 x H x W. */
static float *expand_omega(const golden_file *f, const editing *e, int32_t p)
{
    const cm_tensor *t = cmi_tensors_find(&f->st, "omega");
    size_t n = 0, h = (size_t)e->m.height, w = (size_t)e->m.width, side = (size_t)p;
    float *omega = t ? read_floats(f, "omega", &n) : NULL, *mask = calloc(e->n, sizeof *mask);
    for (size_t i = 0; omega && i < e->n; i++) {
        size_t row = i / w % h, column = i % w, k = 0;
        if (n == e->n) k = i;
        else if (p) k = row % side * side + column % side;
        else if (n == 3) k = i / (h * w) % 3;
        mask[i] = omega[k < n ? k : 0];
    }
    free(omega);
    return mask;
}

static void run_general(editing *e, const cm_edit_options *o, const char *name, int32_t p, double *x)
{
    cm_edit edit;
    cm_edit_map map;
    memset(&map, 0, sizeof map);
    map.patch = p;
    double *q = name ? matrix(e->f, name, p ? (size_t)(p * p) : 3) : NULL;
    map.matrix = q;
    float *mask = expand_omega(e->f, e, p);
    const cm_view y = given(e, e->y, 3, 1), m = given(e, mask, 3, 1);
    if (name && !q) golden_fail(e->r, "edit_matrices.safetensors has no %s", name);
    else if (cmi_edit_open(&e->m, &cmi_edit_general, o, &map, &y, &m, &edit) != CM_OK)
        golden_fail(e->r, "%s", cm_last_message());
    else {
        compare_origin(e, &edit, "y_masked");
        run(e, &edit, x);
        cmi_edit_close(&edit);
    }
    free(q);
    free(mask);
}

static void run_task(editing *e, const cm_edit_options *o, double *x)
{
    cm_edit edit;
    int inpaint = strstr(e->f->name, "inpaint") != NULL;
    float *mask = inpaint ? expand_omega(e->f, e, 0) : NULL;
    const cm_view y = given(e, e->y, 3, 1), m = given(e, mask, 3, 1);
    if (cmi_edit_open(&e->m, inpaint ? &cmi_edit_inpaint : &cmi_edit_colorize, o, NULL, &y, &m, &edit) != CM_OK)
        golden_fail(e->r, "%s", cm_last_message());
    else {
        compare_origin(e, &edit, "y_masked");
        run(e, &edit, x);
        cmi_edit_close(&edit);
    }
    free(mask);
}

static void run_alg4(const golden_file *f, golden_result *r)
{
    editing e;
    cm_edit_options o;
    cm_sample_options s;
    int32_t p = (int32_t)golden_number(f, "patch", 0);
    char name[32];
    if (!open_file(f, r, &e, "y", "noise")) {
        golden_fail(r, "an alg4 file without the expected tensors");
        close_file(&e);
        return;
    }
    memset(&o, 0, sizeof o);
    memset(&s, 0, sizeof s);
    double clamp = golden_number(f, "clamp_model_output", 1);
    if (clamp != 0 && clamp != 1) golden_fail(r, "clamp_model_output is %g", clamp);
    s.clip_denoised = clamp != 0 ? CM_CLIP_YES : CM_CLIP_NO;
    golden_says(f, r, "omega", "1 = generate, 0 = keep reference (in transformed coordinates)");
    double *times = golden_read(f, "times", &s.sigma_count), *x = calloc(e.n, sizeof *x);
    size_t values = 0;
    e.after = golden_read(f, "trajectory.f64", &values);
    e.after_runs = values / e.n;
    e.t.noise = calloc(s.sigma_count * e.n, sizeof(double));
    e.t.draws = s.sigma_count - 1;
    memcpy(e.t.noise, e.start + e.n, (s.sigma_count - 1) * e.n * sizeof(double));
    s.sigmas = times;
    o.sampling = &s;
    (void)snprintf(name, sizeof name, "Q.patch%d", p);
    if (p) {
        run_super_resolve(&e, &o, p, x, "y_masked");
        run_general(&e, &o, name, p, x);
    } else if (strstr(f->name, "colorize")) {
        run_task(&e, &o, x);
        run_general(&e, &o, "Q.gray", 0, x);
    } else if (strstr(f->name, "inpaint")) {
        run_task(&e, &o, x);
        run_general(&e, &o, NULL, 0, x);
    } else run_general(&e, &o, NULL, 0, x); /* stroke, as the text has it */
    free(times);
    free(x);
    close_file(&e);
}

/* --- edit_*_official ------------------------------------------------------------------------------- */

static void run_official(const golden_file *f, golden_result *r)
{
    editing e;
    cm_edit edit;
    cm_edit_options o;
    cm_sample_options s;
    int32_t ts[256];
    size_t n = 0, k = 0;
    int inpaint = strstr(f->name, "inpaint") != NULL;
    json_t *list = golden_json(f, "ts"), *v;
    golden_says(f, r, "function",
                inpaint                       ? "iterative_inpainting"
                : strstr(f->name, "superres") ? "iterative_superres"
                                              : "iterative_colorization");
    golden_says(f, r, "x_init", "80*x_init_unit");
    golden_says(f, r, "clamp", "model output clamped to [-1,1] before replacement; returned x not clamped");
    memset(&o, 0, sizeof o);
    memset(&s, 0, sizeof s);
    if (!open_file(f, r, &e, "images", "x_init_unit") || !list) {
        golden_fail(r, "an edit file without the expected tensors");
        json_decref(list);
        close_file(&e);
        return;
    }
    json_array_foreach(list, k, v) if (k < 256) ts[k] = (int32_t)json_integer_value(v);
    s.ts = ts;
    s.ts_count = json_array_size(list);
    s.grid = (int32_t)golden_number(f, "steps", 0);
    o.sampling = &s;
    e.t.noise = golden_read(f, "noise.steps", &n);
    e.t.draws = n / e.n;
    e.t.eval_x = golden_read(f, "eval_x.f64", NULL);
    e.t.eval_d = golden_read(f, "eval_out.f64", NULL);
    e.t.evals = s.ts_count - 1;
    double *x = calloc(e.n, sizeof *x);
    float *mask = inpaint ? read_floats(f, "mask_known", &n) : NULL;
    for (size_t i = 0; mask && i < e.n; i++) mask[i] = 1 - mask[i];
    const cm_view y = given(&e, e.y, 3, 1), m = given(&e, mask, 3, 1);
    const cm_edit_task *task = inpaint ? &cmi_edit_inpaint : &cmi_edit_colorize;
    /* What the reference shows of the given images: with its fill. */
    if (inpaint) o.fill = -1;
    if (strstr(f->name, "superres")) {
        run_super_resolve(&e, &o, 8, NULL, "images_projected");
    } else if (cmi_edit_open(&e.m, task, &o, NULL, &y, &m, &edit) != CM_OK) golden_fail(r, "%s", cm_last_message());
    else {
        compare_origin(&e, &edit, "images_projected");
        cmi_edit_close(&edit);
    }
    o.fill = 0;
    o.start = CM_EDIT_START_NOISE;
    if (strstr(f->name, "superres")) run_super_resolve(&e, &o, 8, x, NULL);
    else if (cmi_edit_open(&e.m, task, &o, NULL, &y, &m, &edit) != CM_OK) golden_fail(r, "%s", cm_last_message());
    else {
        run(&e, &edit, x);
        cmi_edit_close(&edit);
    }
    golden_compare_with(f, r, "x", e.n, x);
    free(x);
    free(mask);
    json_decref(list);
    close_file(&e);
}

/* --- the other two --------------------------------------------------------------------------------------- */

static void check_slerp(const golden_file *f, golden_result *r)
{
    size_t n = 0, frames = 0;
    double *z1 = golden_read(f, "slerp.z1", &n), *z2 = golden_read(f, "slerp.z2", NULL);
    double *alpha = golden_read(f, "slerp.alpha", &frames), *z = calloc(n * frames + 1, sizeof *z);
    for (size_t k = 0; z1 && z2 && alpha && k < frames; k++) cmi_slerp(n, z1, z2, alpha[k], z + k * n);
    golden_compare_with(f, r, "slerp.z", n * frames, z);
    free(z1);
    free(z2);
    free(alpha);
    free(z);
}

static void run_one(editing *e, const cm_edit_task *task, const cm_edit_options *o, const float *y, double *x)
{
    cm_edit edit;
    const cm_view g = given(e, y, 3, 1);
    if (cmi_edit_open(&e->m, task, o, NULL, &g, NULL, &edit) != CM_OK) {
        golden_fail(e->r, "%s", cm_last_message());
        return;
    }
    run(e, &edit, x);
    cmi_edit_close(&edit);
}

/* Denoising takes a noisy image in float32; the file's is y + sigma z in float64.
 * The exact one is put into the edit. */
static void check_denoise(editing *e, double *x)
{
    size_t n = 0;
    cm_edit edit;
    cm_edit_options o;
    memset(&o, 0, sizeof o);
    cm_sample_options s;
    memset(&s, 0, sizeof s);
    s.clip_denoised = CM_CLIP_NO; /* the file's is not clamped */
    o.sampling = &s;
    o.sigma = golden_number(e->f, "denoise_sigma", 0);
    double *noise = golden_read(e->f, "denoise.noise", &n);
    float *noisy = calloc(e->n, sizeof *noisy);
    const cm_view g = given(e, noisy, 3, 1);
    if (n != e->n || cmi_edit_open(&e->m, &cmi_edit_denoise, &o, NULL, &g, NULL, &edit) != CM_OK)
        golden_fail(e->r, "denoise: %s", cm_last_message());
    else {
        for (size_t i = 0; i < n; i++) edit.given[i] = (double)e->y[i] + o.sigma * noise[i];
        run(e, &edit, x);
        golden_compare_with(e->f, e->r, "denoise.out", e->n, x);
        cmi_edit_close(&edit);
    }
    free(noise);
    free(noisy);
}

static void run_stroke(const golden_file *f, golden_result *r)
{
    editing e;
    cm_edit_options o;
    cm_sample_options s;
    double times[2];
    json_t *list = golden_json(f, "stroke_times");
    memset(&o, 0, sizeof o);
    memset(&s, 0, sizeof s);
    if (!open_file(f, r, &e, "y", "noise") || json_array_size(list) != 2)
        golden_fail(r, "a stroke file without the expected tensors");
    else {
        double *x = calloc(e.n, sizeof *x);
        for (size_t k = 0; k < 2; k++) times[k] = json_number_value(json_array_get(list, k));
        s.sigmas = times;
        o.sampling = &s;
        e.t.noise = calloc(e.n, sizeof(double));
        memcpy(e.t.noise, e.start + e.n, e.n * sizeof(double));
        e.t.draws = 1;
        s.sigma_count = 1;
        run_one(&e, &cmi_edit_stroke, &o, e.y, x);
        golden_compare_with(f, r, "x1", e.n, x);
        s.sigma_count = 2;
        run_one(&e, &cmi_edit_stroke, &o, e.y, x);
        golden_compare_with(f, r, "x2", e.n, x);
        check_denoise(&e, x);
        check_slerp(f, r);
        free(x);
    }
    json_decref(list);
    close_file(&e);
}

/* The matrices: orthogonal, and their first column is what our shortcuts use. */
static void check_matrices(const golden_file *f, golden_result *r)
{
    static const struct {
        const char *name;
        size_t side;
    } kinds[] = {{"Q.gray", 3}, {"Q.patch2", 4}, {"Q.patch4", 16}, {"Q.patch8", 64}};
    static const double luma[3] = {0.2989, 0.5870, 0.1140};
    double length = sqrt(luma[0] * luma[0] + luma[1] * luma[1] + luma[2] * luma[2]);
    for (size_t k = 0; k < 4; k++) {
        size_t n = 0, side = kinds[k].side;
        double *q = golden_read(f, kinds[k].name, &n), off = 0, first = 0;
        for (size_t i = 0; n == side * side && i < side; i++) {
            for (size_t j = 0; j < side; j++) {
                double product = 0;
                for (size_t l = 0; l < side; l++) product += q[l * side + i] * q[l * side + j];
                off = fmax(off, fabs(product - (i == j)));
            }
            first = fmax(first, fabs(q[i * side] - (side == 3 ? luma[i] / length : 1 / sqrt((double)side))));
        }
        if (n != side * side) golden_fail(r, "no %s", kinds[k].name);
        golden_compare(r, kinds[k].name, off, 1e-11);
        golden_compare(r, "first column", first, 1e-11);
        free(q);
    }
}

int golden_editing(golden_file *f, golden_result *r)
{
    if (strncmp(f->name, "alg4_", 5) == 0) run_alg4(f, r);
    else if (strncmp(f->name, "edit_matrices", 13) == 0) check_matrices(f, r);
    else if (strncmp(f->name, "edit_stroke", 11) == 0) run_stroke(f, r);
    else if (strncmp(f->name, "edit_", 5) == 0) run_official(f, r);
    else return 0;
    return 1;
}
