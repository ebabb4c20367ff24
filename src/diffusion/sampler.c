/* sampler.c - noise, solver and network put together, a round at a time. */
#include "diffusion/sampler.h"

#include <string.h>
#include <time.h>

#include "diffusion/condition.h"
#include "diffusion/method.h"
#include "diffusion/noise.h"
#include "diffusion/times.h"
#include "tensor/finite.h"

static size_t image_size(const cm_model *m)
{
    return (size_t)m->channels * (size_t)m->height * (size_t)m->width;
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cm_status allocate(cm_sampler *s)
{
    cm_context *context = s->model->context;
    size_t size = image_size(s->model), all;
    if (!cm_mul_size(size, s->max_batch, &all)) CM_FAIL(CM_ERR_LIMIT, "max_batch %zu is too large", s->max_batch);
    s->state = cm_calloc(context, all, sizeof *s->state);
    s->work = cm_calloc(context, all, CM_SOLVER_WORK * sizeof *s->work);
    s->estimate = cm_calloc(context, all, sizeof *s->estimate);
    s->noise = cm_calloc(context, size, sizeof *s->noise);
    s->labels = cm_calloc(context, s->max_batch, sizeof *s->labels);
    return s->state && s->work && s->estimate && s->noise && s->labels ? CM_OK : CM_ERR_MEMORY;
}

cm_status cm_sampler_open(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic, cm_sampler **out)
{
    double before = seconds();
    *out = NULL;
    cm_sampler *s = cm_calloc(model->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    cm_model_retain(model);
    s->model = model;
    s->threads = threads;
    s->max_batch = max_batch;
    cm_call_init(&s->call);
    cm_status status = allocate(s);
    if (status == CM_OK) status = cm_denoiser_create(model, threads, max_batch, arithmetic, &s->denoiser);
    s->plan_seconds = seconds() - before;
    if (status != CM_OK) cm_sampler_close(s);
    else *out = s;
    return status;
}

void cm_sampler_close(cm_sampler *s)
{
    if (!s) return;
    cm_model *model = s->model;
    cm_context *context = model->context;
    cm_denoiser_free(s->denoiser);
    cm_free(context, s->state);
    cm_free(context, s->work);
    cm_free(context, s->estimate);
    cm_free(context, s->noise);
    cm_free(context, s->labels);
    cm_free(context, s->torch);
    cm_free(context, s);
    cm_model_release(model);
}

size_t cm_sampler_state_bytes(const cm_model *model, size_t max_batch)
{
    return max_batch * image_size(model) * ((1 + CM_SOLVER_WORK) * sizeof(double) + sizeof(float));
}

size_t cm_sampler_bytes(const cm_sampler *s)
{
    return cm_denoiser_bytes(s->denoiser) + cm_sampler_state_bytes(s->model, s->max_batch);
}

/* --- one run ---------------------------------------------------------------------------- */

typedef struct {
    cm_sampler *s;
    const cm_sample_options *o;
    const cm_edit *edit; /* or NULL */
    const cm_solver *solver;
    cm_noise noise;
    int conditional;
    uint64_t done, total; /* evaluations x images */
} run;

/* A clamp would let a NaN through and turn an infinity into a picture. */
static cm_status check_evaluation(const run *r, int evaluation, double sigma, const double *out)
{
    size_t n = r->noise.count * r->noise.size, i = cm_first_nonfinite(n, out);
    if (i == n) return CM_OK;
    CM_FAIL(
        CM_ERR_NUMERIC,
        "image %zu, evaluation %d at sigma %g: the network gave %g at value %zu, expected finite numbers (too large "
        "weights or noise)",
        r->noise.first + i / r->noise.size, evaluation, sigma, out[i], i % r->noise.size);
}

static cm_status denoise(void *user, int evaluation, double sigma, const double *x, double *out)
{
    run *r = user;
    cm_sampler *s = r->s;
    const cm_evaluation e = {r->noise.count, x,   &sigma, 0,       r->conditional ? s->labels : NULL,
                             NULL,           out, NULL,   &s->call};
    CM_TRY(cm_denoiser_run(s->denoiser, &e));
    CM_TRY(check_evaluation(r, evaluation, sigma, out));
    r->done += r->noise.count;
    if (r->o->progress && r->o->progress(r->o->progress_user, r->done, r->total))
        CM_FAIL(CM_ERR_CANCELLED, "cancelled by the progress callback");
    return CM_OK;
}

static cm_status noise(void *user, int draw, double *out)
{
    run *r = user;
    cm_noise_draw(&r->noise, draw, out);
    return CM_OK;
}

static cm_status keep(void *user, double *denoised)
{
    const run *r = user;
    for (size_t i = 0; i < r->noise.count; i++) {
        CM_TRY(cm_call_check(&r->s->call)); /* the map may be the caller's, and slow */
        CM_TRY(cm_edit_keep(r->edit, r->noise.first + i, denoised + i * r->noise.size));
    }
    return CM_OK;
}

static cm_status estimate(void *user, int evaluation, double sigma, const double *denoised)
{
    run *r = user;
    size_t n = r->noise.count * r->noise.size;
    for (size_t i = 0; i < n; i++) r->s->estimate[i] = (float)denoised[i];
    const cm_model *m = r->s->model;
    const cm_images images = cm_images_f32(r->noise.count, m->channels, m->height, m->width, r->s->estimate);
    if (r->o->step(r->o->step_user, evaluation, sigma, r->noise.first, &images))
        CM_FAIL(CM_ERR_CANCELLED, "cancelled by the step callback");
    return CM_OK;
}

static cm_status store(const run *r, const cm_view *out)
{
    size_t n = r->noise.count * r->noise.size;
    float *to = r->s->estimate;
    int clip = r->o->clip_output != CM_CLIP_NO;
    for (size_t i = 0; clip && r->edit && i < r->noise.count; i++)
        cm_edit_fit(r->edit, r->noise.first + i, r->s->state + i * r->noise.size);
    for (size_t i = 0; i < n; i++) {
        double v = r->s->state[i];
        to[i] = (float)(!clip ? v : v < -1 ? -1 : v > 1 ? 1 : v);
    }
    size_t i = cm_first_nonfinite_f32(n, to);
    if (i < n)
        CM_FAIL(CM_ERR_NUMERIC, "image %zu: the result is %g at value %zu, expected finite numbers",
                r->noise.first + i / r->noise.size, (double)to[i], i % r->noise.size);
    const cm_view from = cm_view_planes(r->noise.count, out->channels, out->height, out->width, to, 0);
    const cm_view part = cm_view_part(out, r->noise.first, r->noise.count);
    cm_view_copy(&from, &part);
    return CM_OK;
}

static cm_status round_of_images(run *r, const cm_view *out)
{
    cm_sampler *s = r->s;
    cm_solver solver = *r->solver;
    const cm_solver_io io = {r,     r->noise.count * r->noise.size, denoise,
                             noise, r->edit ? keep : NULL,          r->o->step ? estimate : NULL};
    cm_noise_begin(&r->noise);
    cm_noise_start(&r->noise, s->state);
    for (size_t i = 0; r->edit && i < r->noise.count; i++)
        CM_TRY(cm_edit_begin(r->edit, r->noise.first + i, solver.start, s->state + i * r->noise.size, s->noise));
    if (r->edit) solver.start = 1;
    if (r->conditional) cm_noise_labels(&r->noise, s->model->net.num_classes, s->labels);
    CM_TRY(cm_solver_run(&solver, &io, s->state, s->work));
    return store(r, out);
}

/* The caller's noise, of which `draws` later tensors are used. */
static cm_status check_noise(const cm_sample_options *o, size_t n, size_t size, int32_t draws)
{
    size_t all = n * size;
    size_t i = o->noise ? cm_first_nonfinite_f32(all, o->noise) : all;
    if (i < all)
        CM_FAIL(CM_ERR_NUMERIC, "noise of image %zu is %g at value %zu, expected finite numbers", i / size,
                (double)o->noise[i], i % size);
    for (int32_t k = 0; o->step_noise && k < draws; k++) {
        const float *draw = o->step_noise + (size_t)k * all;
        i = cm_first_nonfinite_f32(all, draw);
        if (i < all)
            CM_FAIL(CM_ERR_NUMERIC, "step_noise, draw %d of image %zu is %g at value %zu, expected finite numbers", k,
                    i / size, (double)draw[i], i % size);
    }
    return CM_OK;
}

/* What a run is made of; edit or NULL, shared as in noise.h. */
typedef struct {
    const cm_sample_options *options;
    const cm_edit *edit;
    int shared;
    size_t n; /* out->n */
    const cm_view *out;
} job;

static cm_status run_all(cm_sampler *s, const job *j, const cm_times *times)
{
    const cm_model *m = s->model;
    const cm_sample_options *o = j->options;
    const int32_t draws = cm_solver_draws(&times->solver);
    run r = {s,
             o,
             j->edit,
             &times->solver,
             {o, j->n, 0, 0, image_size(m), j->shared, times->solver.method->float64_draws, s->noise, NULL},
             m->net.num_classes > 0,
             0,
             0};
    r.total = (uint64_t)j->n * (uint64_t)cm_solver_nfe(&times->solver);
    const int32_t *labels = cm_condition_labels(o);
    if (labels) CM_TRY(cm_model_check_labels(m, labels, j->n)); /* else they are drawn */
    CM_TRY(check_noise(o, j->n, r.noise.size, draws));
    if (o->noise_source != CM_NOISE_PHILOX) {
        if (!s->torch) s->torch = cm_calloc(m->context, s->max_batch, sizeof *s->torch);
        if (!s->torch) return CM_ERR_MEMORY;
        r.noise.torch = s->torch;
    }
    for (; r.noise.first < j->n; r.noise.first += r.noise.count) {
        size_t left = j->n - r.noise.first;
        r.noise.count = left < s->max_batch ? left : s->max_batch;
        CM_TRY(round_of_images(&r, j->out));
    }
    return CM_OK;
}

static cm_status run_job(cm_sampler *s, const job *j)
{
    cm_times times;
    size_t bytes = image_size(s->model) * sizeof(float);
    CM_TRY(cm_view_expect("the images to draw", j->out, (size_t)s->model->channels, (size_t)s->model->height,
                          (size_t)s->model->width));
    if (j->options->step_noise) CM_TRY(cm_check_array("step_noise", j->options->noise_steps, j->n * bytes));
    CM_TRY(cm_times_resolve(s->model, j->options, &times));
    cm_status status = run_all(s, j, &times);
    cm_times_release(s->model, &times);
    return status;
}

cm_status cm_sampler_end(cm_sampler *s, cm_status status)
{
    if (cm_call_end(&s->call) && status == CM_OK) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
    return status;
}

cm_status cm_sampler_draw(cm_sampler *s, const cm_sample_options *o, const cm_view *out)
{
    const job j = {o, NULL, 0, out->n, out};
    return run_job(s, &j);
}

cm_status cm_sampler_change(cm_sampler *s, const cm_edit *edit, const cm_view *out)
{
    const job j = {&edit->sampling, edit, 0, out->n, out};
    size_t results;
    if (!cm_mul_size(edit->given_n, edit->variations, &results) || results != out->n)
        CM_FAIL(CM_ERR_SHAPE, "%s: %zu results of %zu given images with %zu variation(s) each, expected %zu",
                edit->task->name, out->n, edit->given_n, edit->variations, results);
    return run_job(s, &j);
}

/* The noise of image `offset` of a run. */
static cm_status end_noise(cm_sampler *s, const cm_sample_options *o, uint64_t offset, double *out)
{
    size_t size = image_size(s->model);
    cm_sample_options shifted = *o;
    cm_torch_rng torch;
    shifted.first_index += offset;
    shifted.noise = NULL;
    if (o->noise_source < 0 || o->noise_source > CM_NOISE_TORCH_INDIV) return CM_OK; /* the run will say so */
    double *buffer = cm_calloc(s->model->context, size, sizeof *buffer);
    if (!buffer) return CM_ERR_MEMORY;
    cm_noise noise = {&shifted, 1, 0, 1, size, 0, 0, buffer, o->noise_source ? &torch : NULL};
    cm_noise_begin(&noise);
    cm_noise_start(&noise, out);
    cm_free(s->model->context, buffer);
    return CM_OK;
}

static cm_status make_frames(cm_sampler *s, const cm_sample_options *o, uint64_t to, size_t frames, double *ends,
                             float *noise)
{
    size_t size = image_size(s->model);
    double *z1 = ends, *z2 = ends + size, *z = ends + 2 * size;
    if (o->noise) {
        CM_TRY(check_noise(o, 2, size, 0));
        for (size_t i = 0; i < 2 * size; i++) ends[i] = (double)o->noise[i];
    } else {
        CM_TRY(end_noise(s, o, 0, z1));
        CM_TRY(end_noise(s, o, to, z2));
    }
    for (size_t k = 0; k < frames; k++) {
        cm_slerp(size, z1, z2, (double)k / (double)(frames - 1), z);
        for (size_t i = 0; i < size; i++) noise[k * size + i] = (float)z[i];
    }
    return CM_OK;
}

cm_status cm_sampler_frames(cm_sampler *s, const cm_sample_options *options, uint64_t to, const cm_view *out)
{
    cm_context *context = s->model->context;
    size_t size = image_size(s->model), frames = out->n;
    cm_sample_options o = *options;
    const job j = {&o, NULL, 1, frames, out};
    CM_TRY(cm_check_array("frames", frames, size * sizeof(double)));
    double *ends = cm_calloc(context, size, 3 * sizeof *ends);
    float *noise = cm_malloc(context, frames * size, sizeof *noise);
    cm_status status = ends && noise ? make_frames(s, options, to, frames, ends, noise) : CM_ERR_MEMORY;
    o.noise = noise;
    if (status == CM_OK) status = run_job(s, &j);
    cm_free(context, noise);
    cm_free(context, ends);
    return status;
}
