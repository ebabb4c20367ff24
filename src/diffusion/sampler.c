/* sampler.c - the sampler handle: what it holds, and its end. */
#include "diffusion/sampler.h"

#include <time.h>

#include "diffusion/solver.h"

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cm_status allocate(cm_sampler *s)
{
    cm_context *context = s->model->context;
    size_t size = cm_sampler_image_size(s->model), all;
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
    return max_batch * cm_sampler_image_size(model) * ((1 + CM_SOLVER_WORK) * sizeof(double) + sizeof(float));
}

size_t cm_sampler_bytes(const cm_sampler *s)
{
    return cm_denoiser_bytes(s->denoiser) + cm_sampler_state_bytes(s->model, s->max_batch);
}

cm_status cm_sampler_end(cm_sampler *s, cm_status status)
{
    if (cm_call_end(&s->call) && status == CM_OK) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
    return status;
}
