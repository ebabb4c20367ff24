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
    size_t size = cmi_sampler_image_size(s->model), all;
    if (!cmi_mul_size(size, s->max_batch, &all)) CM_FAIL(CM_ERR_LIMIT, "max_batch %zu is too large", s->max_batch);
    s->state = cmi_calloc(context, all, sizeof *s->state);
    s->work = cmi_calloc(context, all, CM_SOLVER_WORK * sizeof *s->work);
    s->estimate = cmi_calloc(context, all, sizeof *s->estimate);
    s->noise = cmi_calloc(context, size, sizeof *s->noise);
    s->labels = cmi_calloc(context, s->max_batch, sizeof *s->labels);
    s->chosen = cmi_calloc(context, s->max_batch, sizeof *s->chosen);
    return s->state && s->work && s->estimate && s->noise && s->labels && s->chosen ? CM_OK : CM_ERR_MEMORY;
}

cm_status cmi_sampler_open(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic, cm_sampler **out)
{
    double before = seconds();
    *out = NULL;
    cm_sampler *s = cmi_calloc(model->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    cmi_model_retain(model);
    s->model = model;
    s->threads = threads;
    s->max_batch = max_batch;
    cmi_call_init(&s->call);
    cm_status status = allocate(s);
    if (status == CM_OK) status = cmi_denoiser_create(model, threads, max_batch, arithmetic, &s->denoiser);
    s->plan_seconds = seconds() - before;
    if (status != CM_OK) cmi_sampler_close(s);
    else *out = s;
    return status;
}

void cmi_sampler_close(cm_sampler *s)
{
    if (!s) return;
    cm_model *model = s->model;
    cm_context *context = model->context;
    cmi_denoiser_free(s->denoiser);
    cmi_denoiser_free(s->below);
    cmi_model_release(s->below_model);
    cmi_free(context, s->state);
    cmi_free(context, s->without);
    cmi_free(context, s->work);
    cmi_free(context, s->estimate);
    cmi_free(context, s->noise);
    cmi_free(context, s->labels);
    cmi_free(context, s->chosen);
    cmi_free(context, s->torch);
    cmi_free(context, s);
    cmi_model_release(model);
}

size_t cmi_sampler_state_bytes(const cm_model *model, size_t max_batch)
{
    return max_batch * cmi_sampler_image_size(model) * ((1 + CM_SOLVER_WORK) * sizeof(double) + sizeof(float));
}

size_t cmi_sampler_bytes(const cm_sampler *s)
{
    const size_t below = s->below ? cmi_denoiser_bytes(s->below) : 0;
    const size_t without = s->without ? s->max_batch * cmi_sampler_image_size(s->model) * sizeof *s->without : 0;
    return below + without + cmi_denoiser_bytes(s->denoiser) + cmi_sampler_state_bytes(s->model, s->max_batch);
}

cm_status cmi_sampler_end(cm_sampler *s, cm_status status)
{
    if (cmi_call_end(&s->call) && status == CM_OK) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
    return status;
}
