/* denoise.c - one evaluation of D(x; sigma), or of D and its derivative in a direction: arguments, turns, buffers. */
#include <math.h>
#include <string.h>
#include <time.h>

#include <consistency/model.h>

#include "base/options.h"
#include "base/pool.h"
#include "diffusion/condition.h"
#include "diffusion/denoiser.h"
#include "diffusion/inputs.h"
#include "tensor/finite.h"

/* What a call is given and where its results go; of a call without tangents the last three are NULL. */
typedef struct {
    cm_model *model;
    const cm_denoise_options *o;
    size_t n;
    const float *x, *sigma;
    const int32_t *labels;
    float *out;
    const float *x_tangent, *sigma_tangent;
    float *out_tangent;
    const float *second, *second_tangent; /* of the options */
    double guidance;
} job;

/* --- arguments ---------------------------------------------------------------------------- */

static size_t input_size(const cm_model *m)
{
    return (size_t)m->height * (size_t)m->width * (size_t)m->channels;
}

static size_t output_size(const cm_model *m)
{
    return (size_t)m->height * (size_t)m->width * (size_t)m->out_channels;
}

static cm_status check_sigmas(const cm_model *m, size_t n, const float *sigma)
{
    int zero = m->precond.kind->identity_at_0, any = m->precond.kind->raw;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(sigma[i]) || (!any && !(sigma[i] > 0) && !(zero && sigma[i] == 0)))
            CM_FAIL(CM_ERR_ARGUMENT, "sigma[%zu] is %g, expected a finite number%s", i, (double)sigma[i],
                    any    ? ""
                    : zero ? " >= 0"
                           : " > 0");
    for (size_t i = 0; !any && i < n; i++)
        if ((double)sigma[i] > m->precond.sigma_max * (1 + 1e-6))
            CM_FAIL(CM_ERR_ARGUMENT, "sigma[%zu] is %g; this model's noise levels end at %g", i, (double)sigma[i],
                    m->precond.sigma_max);
    return CM_OK;
}

static cm_status check_finite(const char *what, size_t n, size_t size, const float *x)
{
    size_t i = cmi_first_nonfinite_f32(n * size, x);
    if (i < n * size)
        CM_FAIL(CM_ERR_NUMERIC, "%s: image %zu is %g at value %zu, expected finite numbers", what, i / size,
                (double)x[i], i % size);
    return CM_OK;
}

static cm_status check_images(const job *j)
{
    const size_t in = input_size(j->model), out = output_size(j->model);
    const int moves = j->out_tangent != NULL;
    if (j->n == 0) CM_FAIL(CM_ERR_ARGUMENT, "%s: n is 0", moves ? "cm_model_denoise_tangent" : "cm_model_denoise");
    CM_TRY(cmi_check_array(moves ? "cm_model_denoise_tangent: x" : "cm_model_denoise: x", j->n, in * sizeof *j->x));
    CM_TRY(cmi_check_array(moves ? "cm_model_denoise_tangent: out" : "cm_model_denoise: out", j->n,
                           out * sizeof *j->out));
    return check_finite("x", j->n, in, j->x);
}

/* Second times, which lie between 0, of a network by itself nothing, and the first. */
static cm_status check_seconds(const job *j)
{
    const cm_model *m = j->model;
    if ((j->second || j->second_tangent) && m->net.second_time == CM_SECOND_NONE)
        CM_FAIL(CM_ERR_ARGUMENT, "option %s is for networks of two times; this model's network has one",
                j->second ? "second" : "second_tangent");
    if (j->second_tangent && !j->out_tangent)
        CM_FAIL(CM_ERR_ARGUMENT, "option second_tangent has no effect without cm_model_denoise_tangent");
    for (size_t i = 0; j->second && i < j->n; i++) {
        const float r = j->second[i];
        if (!isfinite(r) || (r < 0 && !m->precond.kind->raw))
            CM_FAIL(CM_ERR_ARGUMENT, "second[%zu] is %g, expected a finite number%s", i, (double)r,
                    m->precond.kind->raw ? "" : " >= 0");
        if (r > j->sigma[i])
            CM_FAIL(CM_ERR_ARGUMENT, "second[%zu] is %g, above sigma[%zu] %g: the second time lies behind the first",
                    i, (double)r, i, (double)j->sigma[i]);
    }
    return CM_OK;
}

/* The tangent of a level of each image, or NULL. */
static cm_status check_speeds(const job *j, const char *what, const float *speed)
{
    for (size_t i = 0; speed && i < j->n; i++) {
        if (!isfinite(speed[i]))
            CM_FAIL(CM_ERR_NUMERIC, "%s[%zu] is %g, expected a finite number", what, i, (double)speed[i]);
        if (speed[i] != 0 && j->sigma[i] == 0 && j->model->precond.kind->identity_at_0)
            CM_FAIL(CM_ERR_ARGUMENT,
                    "%s[%zu] is %g where sigma is 0: the network has no value there, so D has no derivative by sigma",
                    what, i, (double)speed[i]);
    }
    return CM_OK;
}

static cm_status check_direction(const job *j)
{
    if (!j->x_tangent && !j->sigma_tangent && !j->second_tangent)
        CM_FAIL(CM_ERR_ARGUMENT,
                "cm_model_denoise_tangent: x_tangent, sigma_tangent and second_tangent are NULL, one is needed");
    if (j->x_tangent) CM_TRY(check_finite("x_tangent", j->n, input_size(j->model), j->x_tangent));
    CM_TRY(check_speeds(j, "sigma_tangent", j->sigma_tangent));
    return check_speeds(j, "second_tangent", j->second_tangent);
}

/* Images first .. first + count - 1 of `what` that the network gave, `size` values each. */
static cm_status check_outputs(const job *j, const char *what, size_t first, size_t count, size_t size,
                               const double *d)
{
    size_t i = cmi_first_nonfinite(count * size, d);
    if (i == count * size) return CM_OK;
    CM_FAIL(
        CM_ERR_NUMERIC,
        "image %zu at sigma %g: the network gave %g at value %zu%s, expected finite numbers (too large weights or "
        "x)",
        first + i / size, (double)j->sigma[first + i / size], d[i], i % size, what);
}

/* --- turns -------------------------------------------------------------------------------- */

static cm_status report(const job *j, size_t done)
{
    if (j->o->progress && j->o->progress(j->o->progress_user, done, j->n))
        CM_FAIL(CM_ERR_CANCELLED, "cancelled by the progress callback");
    return CM_OK;
}

/* Takes the model's turn; who can stop is asked while it waits for another thread's. */
static cm_status take_turn(const job *j, size_t done)
{
    enum { NANOSECONDS = 100000000 };
    for (;;) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (until.tv_nsec + NANOSECONDS) / 1000000000;
        until.tv_nsec = (until.tv_nsec + NANOSECONDS) % 1000000000;
        if (pthread_mutex_timedlock(&j->model->lock, &until) == 0) return CM_OK;
        CM_TRY(report(j, done));
    }
}

static cm_status evaluate(const job *j, const cm_evaluation *e)
{
    cm_model *m = j->model;
    const int threads = cmi_context_threads(m->context);
    const int with = (j->x_tangent ? 1 : 0) + (j->sigma_tangent ? 2 : 0) + (j->second_tangent ? 4 : 0);
    cm_denoiser **denoiser = with ? &m->tangents[with] : &m->denoiser;
    const uint32_t tangents =
        (with & 1 ? CM_TANGENT_X : 0) | (with & 2 ? CM_TANGENT_SIGMA : 0) | (with & 4 ? CM_TANGENT_SECOND : 0);
    if (!*denoiser)
        CM_TRY(cmi_denoiser_create_tangent(m, threads, (size_t)threads, (cm_arithmetic){0, 0}, tangents, denoiser));
    return cmi_denoiser_run(*denoiser, e);
}

/* --- a few images at a time ----------------------------------------------------------------- */

/* Double, as the samplers hold their state. */
typedef struct {
    double *x, *d, *sigma, *second, *x_tangent, *d_tangent, *sigma_tangent, *second_tangent;
    double *without; /* NULL without guidance */
} buffers;

static void widen(size_t n, const float *from, double *to)
{
    for (size_t i = 0; from && i < n; i++) to[i] = (double)from[i];
}

static void narrow(size_t n, const double *from, float *to)
{
    for (size_t i = 0; i < n; i++) to[i] = (float)from[i];
}

/* As the network is told. */
static void convert_seconds(const job *j, size_t first, size_t count, const buffers *b)
{
    const cm_precond *p = &j->model->precond;
    for (size_t i = 0; i < count; i++) {
        const double level = j->second ? (double)j->second[first + i] : 0;
        if (j->second) b->second[i] = cmi_inputs_second(p, level);
        if (j->second_tangent)
            b->second_tangent[i] = cmi_inputs_second_slope(p, level) * (double)j->second_tangent[first + i];
    }
}

/* From image `first` on, where there is an array. */
static const float *from_image(const float *array, size_t first, size_t size)
{
    return array ? array + first * size : NULL;
}

/* Images first .. first + count - 1. */
static cm_status denoise_chunk(const job *j, size_t first, size_t count, const buffers *b)
{
    const size_t in = input_size(j->model), to = output_size(j->model);
    const cm_evaluation e = {.n = count,
                             .x = b->x,
                             .sigma = b->sigma,
                             .sigma_step = 1,
                             .labels = j->labels ? j->labels + first : NULL,
                             .d = b->d,
                             .x_tangent = j->x_tangent ? b->x_tangent : NULL,
                             .sigma_tangent = j->sigma_tangent ? b->sigma_tangent : NULL,
                             .second = j->second ? b->second : NULL,
                             .guidance = j->guidance,
                             .without = b->without,
                             .second_tangent = j->second_tangent ? b->second_tangent : NULL,
                             .d_tangent = b->d_tangent};
    widen(count * in, j->x + first * in, b->x);
    widen(count, j->sigma + first, b->sigma);
    widen(count * in, from_image(j->x_tangent, first, in), b->x_tangent);
    widen(count, from_image(j->sigma_tangent, first, 1), b->sigma_tangent);
    convert_seconds(j, first, count, b);
    CM_TRY(take_turn(j, first));
    cm_status status = evaluate(j, &e);
    (void)pthread_mutex_unlock(&j->model->lock);
    CM_TRY(status);
    CM_TRY(check_outputs(j, "", first, count, to, b->d));
    if (b->d_tangent) CM_TRY(check_outputs(j, " of the tangent", first, count, to, b->d_tangent));
    narrow(count * to, b->d, j->out + first * to);
    if (b->d_tangent) narrow(count * to, b->d_tangent, j->out_tangent + first * to);
    return report(j, first + count);
}

static cm_status denoise(const job *j)
{
    const cm_model *m = j->model;
    const size_t in = input_size(m), to = output_size(m), chunk = (size_t)cmi_context_threads(m->context);
    const size_t one = chunk * (in + to + 2), guided = cmi_condition_evaluations(m, j->guidance) > 1 ? chunk * to : 0;
    double *all = cmi_malloc(m->context, (j->out_tangent ? 2 : 1) * one + guided, sizeof *all);
    if (!all) return CM_ERR_MEMORY;
    buffers b = {.x = all, .d = all + chunk * in, .sigma = all + chunk * (in + to)};
    b.second = b.sigma + chunk;
    if (guided) b.without = b.second + chunk; /* no tangent then */
    if (j->out_tangent) {
        b.x_tangent = b.x + one;
        b.d_tangent = b.d + one;
        b.sigma_tangent = b.sigma + one;
        b.second_tangent = b.second + one;
    }
    cm_status status = CM_OK;
    for (size_t first = 0; first < j->n && status == CM_OK; first += chunk)
        status = denoise_chunk(j, first, j->n - first < chunk ? j->n - first : chunk, &b);
    cmi_free(m->context, all);
    return status;
}

/* --- the calls ------------------------------------------------------------------------------- */

static cm_status denoise_checked(job *j, const cm_denoise_options *options)
{
    cm_denoise_options o;
    cm_condition condition;
    CM_TRY(cmi_context_check_process(j->model->context));
    memset(&o, 0, sizeof o);
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_denoise_options"));
    CM_TRY(cmi_reserved_check("cm_denoise_options", o.reserved));
    CM_TRY(cmi_condition_read(o.condition, &condition));
    CM_TRY(check_images(j));
    CM_TRY(check_sigmas(j->model, j->n, j->sigma));
    CM_TRY(cmi_model_check_labels(j->model, condition.labels, j->n));
    CM_TRY(cmi_condition_check(j->model, &condition));
    CM_TRY(cmi_condition_check_labels(j->model, &condition, condition.labels, j->n));
    j->guidance = condition.guidance;
    if (j->out_tangent && cmi_condition_evaluations(j->model, j->guidance) > 1)
        CM_FAIL(CM_ERR_ARGUMENT, "derivatives with guidance are for networks that are told of it (conditions 3)");
    j->second = o.second;
    j->second_tangent = o.second_tangent;
    CM_TRY(check_seconds(j));
    if (j->out_tangent) CM_TRY(check_direction(j));
    j->o = &o;
    j->labels = condition.labels;
    const cm_status status = denoise(j);
    j->o = NULL;
    return status;
}

cm_status cm_model_denoise_with(cm_model *model, const cm_denoise_options *options, size_t n, const float *x,
                                const float *sigma, float *out)
{
    if (!model || !x || !sigma || !out) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_denoise: model, x, sigma or out is NULL");
    job j = {.model = model, .n = n, .x = x, .sigma = sigma, .out = out};
    return denoise_checked(&j, options);
}

cm_status cm_model_denoise_tangent(cm_model *model, const cm_denoise_options *options, size_t n, const float *x,
                                   const float *sigma, const float *x_tangent, const float *sigma_tangent, float *out,
                                   float *out_tangent)
{
    if (!model || !x || !sigma || !out || !out_tangent)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_model_denoise_tangent: model, x, sigma, out or out_tangent is NULL");
    job j = {.model = model,
             .n = n,
             .x = x,
             .sigma = sigma,
             .out = out,
             .x_tangent = x_tangent,
             .sigma_tangent = sigma_tangent,
             .out_tangent = out_tangent};
    return denoise_checked(&j, options);
}

cm_status cm_model_denoise(cm_model *model, size_t n, const float *x, const float *sigma, const int32_t *labels,
                           float *out)
{
    cm_condition condition = CM_CONDITION_INIT;
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    condition.labels = labels;
    o.condition = &condition;
    return cm_model_denoise_with(model, &o, n, x, sigma, out);
}
