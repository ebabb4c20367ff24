/* sampler.c - noise, solver and network put together, a round at a time. */
#include "diffusion/sampler.h"

#include <string.h>
#include <time.h>

#include "diffusion/noise.h"
#include "diffusion/times.h"

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

cm_status cm_sampler_open(cm_model *model, int threads, size_t max_batch, cm_sampler **out)
{
    double before = seconds();
    *out = NULL;
    cm_sampler *s = cm_calloc(model->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    cm_model_retain(model);
    s->model = model;
    s->threads = threads;
    s->max_batch = max_batch;
    atomic_init(&s->cancel, 0);
    atomic_init(&s->running, 0);
    cm_status status = allocate(s);
    if (status == CM_OK) status = cm_denoiser_create(model, threads, max_batch, &s->denoiser);
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

size_t cm_sampler_bytes(const cm_sampler *s)
{
    size_t size = image_size(s->model);
    return cm_denoiser_bytes(s->denoiser) +
           s->max_batch * size * ((1 + CM_SOLVER_WORK) * sizeof(double) + sizeof(float));
}

/* --- one run ---------------------------------------------------------------------------- */

typedef struct {
    cm_sampler *s;
    const cm_sample_options *o;
    const cm_solver *solver;
    cm_noise noise;
    int conditional;
    uint64_t done, total; /* evaluations x images */
} run;

static cm_status denoise(void *user, int evaluation, double sigma, const double *x, double *out)
{
    run *r = user;
    cm_sampler *s = r->s;
    (void)evaluation;
    const cm_evaluation e = {r->noise.count, x,   &sigma, 0,         r->conditional ? s->labels : NULL,
                             NULL,           out, NULL,   &s->cancel};
    CM_TRY(cm_denoiser_run(s->denoiser, &e));
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

static cm_status estimate(void *user, int evaluation, double sigma, const double *denoised)
{
    run *r = user;
    size_t n = r->noise.count * r->noise.size;
    for (size_t i = 0; i < n; i++) r->s->estimate[i] = (float)denoised[i];
    if (r->o->step(r->o->step_user, evaluation, sigma, r->noise.first, r->noise.count, r->s->estimate))
        CM_FAIL(CM_ERR_CANCELLED, "cancelled by the step callback");
    return CM_OK;
}

static void store(const run *r, float *images)
{
    size_t n = r->noise.count * r->noise.size;
    float *to = images + r->noise.first * r->noise.size;
    int clip = r->o->clip_output >= 0;
    for (size_t i = 0; i < n; i++) {
        double v = r->s->state[i];
        to[i] = (float)(!clip ? v : v < -1 ? -1 : v > 1 ? 1 : v);
    }
}

static cm_status round_of_images(run *r, float *images)
{
    cm_sampler *s = r->s;
    const cm_solver_io io = {r, r->noise.count * r->noise.size, denoise, noise, r->o->step ? estimate : NULL};
    cm_noise_begin(&r->noise);
    cm_noise_start(&r->noise, s->state);
    if (r->conditional) cm_noise_labels(&r->noise, s->model->net.num_classes, s->labels);
    CM_TRY(cm_solver_run(r->solver, &io, s->state, s->work));
    store(r, images);
    return CM_OK;
}

static cm_status check_randomness(const cm_sampler *s, const cm_sample_options *o, int32_t draws)
{
    if (o->noise_source < 0 || o->noise_source > CM_NOISE_TORCH_INDIV)
        CM_FAIL(CM_ERR_ARGUMENT, "option noise_source is %d, expected 0..%d", o->noise_source, CM_NOISE_TORCH_INDIV);
    if (o->noise_source == CM_NOISE_TORCH_INDIV && !o->num_samples)
        CM_FAIL(CM_ERR_ARGUMENT, "noise_source TORCH_INDIV needs num_samples, the images of the whole job");
    if (o->noise_source == CM_NOISE_TORCH_INDIV && s->model->net.num_classes && !o->labels)
        CM_FAIL(CM_ERR_ARGUMENT, "noise_source TORCH_INDIV does not draw labels: give them");
    if ((o->step_noise == NULL) != (o->noise_steps == 0))
        CM_FAIL(CM_ERR_ARGUMENT, "step_noise and noise_steps have to be given together");
    if (o->step_noise && o->noise_steps < (size_t)draws)
        CM_FAIL(CM_ERR_ARGUMENT, "step_noise has %zu draws, this run makes %d", o->noise_steps, draws);
    return CM_OK;
}

static cm_status run_all(cm_sampler *s, const cm_sample_options *o, const cm_times *times, size_t n, float *images)
{
    const cm_model *m = s->model;
    run r = {s,
             o,
             &times->solver,
             {o, n, 0, 0, image_size(m), times->solver.method == CM_METHOD_EDM, s->noise, NULL},
             m->net.num_classes > 0,
             0,
             0};
    r.total = (uint64_t)n * (uint64_t)cm_solver_nfe(&times->solver);
    if (o->labels) CM_TRY(cm_model_check_labels(m, o->labels, n)); /* else they are drawn */
    CM_TRY(check_randomness(s, o, times->draws));
    if (o->noise_source != CM_NOISE_PHILOX) {
        if (!s->torch) s->torch = cm_calloc(m->context, s->max_batch, sizeof *s->torch);
        if (!s->torch) return CM_ERR_MEMORY;
        r.noise.torch = s->torch;
    }
    for (; r.noise.first < n; r.noise.first += r.noise.count) {
        size_t left = n - r.noise.first;
        r.noise.count = left < s->max_batch ? left : s->max_batch;
        CM_TRY(round_of_images(&r, images));
    }
    return CM_OK;
}

cm_status cm_sampler_draw(cm_sampler *s, const cm_sample_options *o, size_t n, float *images)
{
    cm_times times;
    size_t bytes;
    if (!cm_mul_size(n, image_size(s->model) * sizeof(float), &bytes))
        CM_FAIL(CM_ERR_LIMIT, "%zu images do not fit into memory", n);
    if (atomic_exchange(&s->running, 1))
        CM_FAIL(CM_ERR_STATE,
                "this sampler is already running: use one sampler per thread, and none inside its own callbacks");
    atomic_store(&s->cancel, 0);
    cm_status status = cm_times_resolve(s->model, o, &times);
    if (status == CM_OK) {
        status = run_all(s, o, &times, n, images);
        cm_times_release(s->model, &times);
    }
    atomic_store(&s->running, 0);
    return status;
}
