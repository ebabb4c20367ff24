/* sampler_run.c - noise, solver and network put together, a round of at most max_batch images at a time. */
#include "diffusion/sampler_run.h"

#include "diffusion/condition.h"
#include "diffusion/inputs.h"
#include "diffusion/method.h"
#include "diffusion/noise.h"
#include "diffusion/times.h"
#include "tensor/finite.h"

typedef struct {
    cm_sampler *s;
    const cm_sample_options *o;
    const cm_edit *edit; /* or NULL */
    const cm_solver *solver;
    cm_noise noise;
    int conditional;
    int cost;             /* evaluations of the network for one estimate */
    uint64_t done, total; /* evaluations x images */
} run;

/* A clamp would let a NaN through and turn an infinity into a picture. */
static cm_status check_image(const run *r, size_t image, int evaluation, double sigma, const double *out)
{
    size_t i = cmi_first_nonfinite(r->noise.size, out);
    if (i == r->noise.size) return CM_OK;
    CM_FAIL(
        CM_ERR_NUMERIC,
        "image %zu, evaluation %d at sigma %g: the network gave %g at value %zu, expected finite numbers (too large "
        "weights or noise)",
        r->noise.first + image, evaluation, sigma, out[i], i);
}

static cm_status report(run *r, size_t images)
{
    r->done += images * (uint64_t)r->cost;
    if (r->o->progress && r->o->progress(r->o->progress_user, r->done, r->total))
        CM_FAIL(CM_ERR_CANCELLED, "cancelled by the progress callback");
    return CM_OK;
}

static double guidance_of(const cm_sample_options *o)
{
    return o->condition ? o->condition->guidance : 0;
}

/* second: the second time of all images, or NULL. */
static cm_status evaluate(run *r, int evaluation, double sigma, const double *second, const double *x, double *out)
{
    cm_sampler *s = r->s;
    const cm_evaluation e = {.n = r->noise.count,
                             .x = x,
                             .sigma = &sigma,
                             .second = second,
                             .labels = r->conditional ? s->labels : NULL,
                             .guidance = guidance_of(r->o),
                             .without = s->without,
                             .d = out,
                             .call = &s->call};
    CM_TRY(cmi_sampler_evaluate(s, &e));
    for (size_t i = 0; i < r->noise.count; i++) CM_TRY(check_image(r, i, evaluation, sigma, out + i * r->noise.size));
    return report(r, r->noise.count);
}

static cm_status denoise(void *user, int evaluation, double sigma, const double *x, double *out)
{
    return evaluate(user, evaluation, sigma, NULL, x, out);
}

static cm_status denoise_to(void *user, int evaluation, double sigma, double to, const double *x, double *out)
{
    run *r = user;
    const double second = cmi_inputs_second(&r->s->model->precond, to);
    return evaluate(r, evaluation, sigma, &second, x, out);
}

/* As above, of some images. */
static cm_status denoise_each(void *user, int evaluation, size_t count, const size_t *which, const double *sigma,
                              const double *x, double *out)
{
    run *r = user;
    cm_sampler *s = r->s;
    const size_t size = r->noise.size;
    for (size_t k = 0; k < count; k++) s->chosen[k] = s->labels[which[k]];
    const cm_evaluation e = {.n = count,
                             .x = x,
                             .sigma = sigma,
                             .sigma_step = 1,
                             .labels = r->conditional ? s->chosen : NULL,
                             .guidance = guidance_of(r->o),
                             .without = s->without,
                             .d = out,
                             .call = &s->call};
    CM_TRY(cmi_sampler_evaluate(s, &e));
    for (size_t k = 0; k < count; k++) CM_TRY(check_image(r, which[k], evaluation, sigma[k], out + k * size));
    return report(r, count);
}

static cm_status noise(void *user, int draw, double *out)
{
    run *r = user;
    cmi_noise_draw(&r->noise, draw, out);
    return CM_OK;
}

static cm_status keep(void *user, double *denoised)
{
    const run *r = user;
    for (size_t i = 0; i < r->noise.count; i++) {
        CM_TRY(cmi_call_check(&r->s->call)); /* the map may be the caller's, and slow */
        CM_TRY(cmi_edit_keep(r->edit, r->noise.first + i, denoised + i * r->noise.size));
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
        cmi_edit_fit(r->edit, r->noise.first + i, r->s->state + i * r->noise.size);
    for (size_t i = 0; i < n; i++) {
        double v = r->s->state[i];
        to[i] = (float)(!clip ? v : v < -1 ? -1 : v > 1 ? 1 : v);
    }
    size_t i = cmi_first_nonfinite_f32(n, to);
    if (i < n)
        CM_FAIL(CM_ERR_NUMERIC, "image %zu: the result is %g at value %zu, expected finite numbers",
                r->noise.first + i / r->noise.size, (double)to[i], i % r->noise.size);
    const cm_view from = cmi_view_planes(r->noise.count, out->channels, out->height, out->width, to, 0);
    const cm_view part = cmi_view_part(out, r->noise.first, r->noise.count);
    cmi_view_copy(&from, &part);
    return CM_OK;
}

/* What an adaptive method did not need counts as done. */
static cm_status finish(run *r)
{
    const uint64_t estimates = (uint64_t)(r->noise.first + r->noise.count) * (uint64_t)cmi_solver_nfe(r->solver);
    const uint64_t done = r->done / (uint64_t)r->cost;
    return done < estimates ? report(r, (size_t)(estimates - done)) : CM_OK;
}

static cm_status round_of_images(run *r, const cm_view *out)
{
    cm_sampler *s = r->s;
    cm_solver solver = *r->solver;
    int32_t *evaluations = r->o->evaluations ? r->o->evaluations + r->noise.first : NULL;
    const cm_solver_io io = {.user = r,
                             .n = r->noise.count * r->noise.size,
                             .denoise = denoise,
                             .denoise_to = denoise_to,
                             .noise = noise,
                             .keep = r->edit ? keep : NULL,
                             .estimate = r->o->step ? estimate : NULL,
                             .images = r->noise.count,
                             .first = r->noise.first,
                             .evaluations = evaluations,
                             .context = s->model->context,
                             .denoise_each = denoise_each};
    for (size_t i = 0; evaluations && i < r->noise.count; i++) evaluations[i] = cmi_solver_nfe(&solver);
    cmi_noise_begin(&r->noise);
    cmi_noise_start(&r->noise, s->state);
    for (size_t i = 0; r->edit && i < r->noise.count; i++)
        CM_TRY(cmi_edit_begin(r->edit, r->noise.first + i, solver.start, s->state + i * r->noise.size, s->noise));
    if (r->edit) solver.start = 1;
    if (r->conditional) cmi_noise_labels(&r->noise, s->model->net.num_classes, s->labels);
    CM_TRY(cmi_solver_run(&solver, &io, s->state, s->work));
    for (size_t i = 0; evaluations && i < r->noise.count; i++) evaluations[i] *= r->cost;
    CM_TRY(finish(r));
    return store(r, out);
}

static cm_status run_all(cm_sampler *s, const cm_sampler_job *j, const cm_times *times)
{
    const cm_model *m = s->model;
    const cm_sample_options *o = j->options;
    const int32_t draws = cmi_solver_draws(&times->solver);
    run r = {
        s,
        o,
        j->edit,
        &times->solver,
        {o, j->n, 0, 0, cmi_sampler_image_size(m), j->shared, times->solver.method->float64_draws, s->noise, NULL},
        m->net.num_classes > 0,
        cmi_condition_evaluations(m, guidance_of(o)),
        0,
        0};
    r.total = (uint64_t)j->n * (uint64_t)cmi_solver_nfe(&times->solver) * (uint64_t)r.cost;
    const int32_t *labels = cmi_condition_labels(o);
    if (o->condition) CM_TRY(cmi_condition_check(m, o->condition));
    if (labels) CM_TRY(cmi_model_check_labels(m, labels, j->n)); /* else they are drawn */
    if (labels) CM_TRY(cmi_condition_check_labels(m, o->condition, labels, j->n));
    CM_TRY(cmi_noise_check(o, j->n, r.noise.size, draws));
    if (r.cost > 1 && !s->without) {
        s->without = cmi_calloc(m->context, s->max_batch * r.noise.size, sizeof *s->without);
        if (!s->without) return CM_ERR_MEMORY;
    }
    if (o->noise_source != CM_NOISE_PHILOX) {
        if (!s->torch) s->torch = cmi_calloc(m->context, s->max_batch, sizeof *s->torch);
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

cm_status cmi_sampler_run_job(cm_sampler *s, const cm_sampler_job *j)
{
    cm_times times;
    size_t bytes = cmi_sampler_image_size(s->model) * sizeof(float);
    CM_TRY(cmi_view_expect("the images to draw", j->out, (size_t)s->model->channels, (size_t)s->model->height,
                           (size_t)s->model->width));
    if (j->options->step_noise) CM_TRY(cmi_check_array("step_noise", j->options->noise_steps, j->n * bytes));
    CM_TRY(cmi_times_resolve(s->model, j->options, &times));
    cm_status status = cmi_sampler_check_border(s, &times.solver);
    if (status == CM_OK) status = run_all(s, j, &times);
    cmi_times_release(s->model, &times);
    return status;
}

cm_status cmi_sampler_draw(cm_sampler *s, const cm_sample_options *o, const cm_view *out)
{
    const cm_sampler_job j = {o, NULL, 0, out->n, out};
    return cmi_sampler_run_job(s, &j);
}

cm_status cmi_sampler_change(cm_sampler *s, const cm_edit *edit, const cm_view *out)
{
    const cm_sampler_job j = {&edit->sampling, edit, 0, out->n, out};
    size_t results;
    if (!cmi_mul_size(edit->given_n, edit->variations, &results) || results != out->n)
        CM_FAIL(CM_ERR_SHAPE, "%s: %zu results of %zu given images with %zu variation(s) each, expected %zu",
                edit->task->name, out->n, edit->given_n, edit->variations, results);
    return cmi_sampler_run_job(s, &j);
}
