/* sampler.c - the calls of sampler.h. */
#include <string.h>

#include <consistency/sampler.h>

#include "base/options.h"
#include "base/pool.h"
#include "diffusion/condition.h"
#include "diffusion/sampler.h"
#include "diffusion/times.h"

enum { DEFAULT_BATCH = 16, MAX_BATCH = 65536 };

void cm_sampler_options_init(cm_sampler_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_sample_options_init(cm_sample_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_sampler_info_init(cm_sampler_info *info, size_t struct_size)
{
    cmi_options_zero(info, struct_size);
}

static cm_status resolve(const cm_model *model, const cm_sampler_options *options, cm_sampler_options *o,
                         cm_arithmetic *arithmetic)
{
    memset(o, 0, sizeof *o);
    if (options) CM_TRY(cm_options_read(o, sizeof *o, options, "cm_sampler_options"));
    if (o->max_batch == 0) o->max_batch = DEFAULT_BATCH;
    if (o->max_batch < 1 || o->max_batch > MAX_BATCH)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_options: max_batch is %d, expected 1..%d", o->max_batch, MAX_BATCH);
    if (o->threads < 0 || o->threads > CM_MAX_THREADS)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_options: threads is %d, expected 1..%d or 0 for the context's",
                o->threads, CM_MAX_THREADS);
    if (o->threads == 0) o->threads = cmi_context_threads(model->context);
    CM_TRY(cmi_reserved_check("cm_sampler_options", o->reserved));
    CM_TRY(cmi_sampler_check_below(model, o->below, o->border));
    return cmi_arithmetic_choose("cm_sampler_options", cmi_context_cpu_level(model->context), o->precision, o->memory,
                                 o->debug, CM_BF16_TILE_SAMPLING, arithmetic);
}

cm_status cm_sampler_create(cm_model *model, const cm_sampler_options *options, cm_sampler **out)
{
    cm_sampler_options o;
    cm_arithmetic arithmetic;
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_create: out is NULL");
    *out = NULL;
    if (!model) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_create: model is NULL");
    CM_TRY(cmi_context_check_process(model->context));
    CM_TRY(resolve(model, options, &o, &arithmetic));
    CM_TRY(cmi_sampler_open(model, o.threads, (size_t)o.max_batch, arithmetic, out));
    const cm_status status = o.below ? cmi_sampler_add_below(*out, o.below, o.border, arithmetic) : CM_OK;
    if (status == CM_OK) return status;
    cmi_sampler_close(*out);
    *out = NULL;
    return status;
}

cm_status cm_sampler_estimate(cm_model *model, const cm_sampler_options *options, cm_sampler_info *info)
{
    cm_sampler_options o;
    cm_sampler_info i;
    cm_arithmetic arithmetic;
    size_t activations, packed;
    if (!model || !info) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_estimate: model or info is NULL");
    CM_TRY(cmi_context_check_process(model->context));
    CM_TRY(resolve(model, options, &o, &arithmetic));
    CM_TRY(cmi_denoiser_estimate(model, o.threads, (size_t)o.max_batch, arithmetic, &activations, &packed));
    memset(&i, 0, sizeof i);
    i.threads = o.threads;
    i.max_batch = o.max_batch;
    i.activation_bytes = activations + cmi_sampler_state_bytes(model, (size_t)o.max_batch);
    i.packed_bytes = packed;
    if (o.below) {
        CM_TRY(cmi_denoiser_estimate(o.below, o.threads, (size_t)o.max_batch, arithmetic, &activations, &packed));
        i.activation_bytes += activations;
        if (o.below != model) i.packed_bytes += packed;
    }
    return cm_info_write(info, &i, sizeof i, "cm_sampler_info");
}

void cm_sampler_free(cm_sampler *sampler)
{
    cmi_sampler_close(sampler);
}

cm_status cm_sampler_run(cm_sampler *sampler, const cm_sample_options *options, size_t n, float *images)
{
    if (!sampler || !images) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_run: sampler or images is NULL");
    if (n == 0) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_run: n is 0, ask for at least one image");
    const cm_model *m = sampler->model;
    const cm_images out = cm_images_f32(n, m->channels, m->height, m->width, images);
    return cm_sampler_run_images(sampler, options, &out);
}

cm_status cm_sampler_run_images(cm_sampler *sampler, const cm_sample_options *options, const cm_images *out)
{
    cm_sample_options o;
    cm_condition condition;
    cm_view view;
    if (!sampler) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_run_images: sampler is NULL");
    CM_TRY(cmi_context_check_process(sampler->model->context));
    CM_TRY(cmi_view_open("cm_sampler_run_images: images", out, CM_VIEW_WRITE, &view));
    CM_TRY(cmi_sample_options_read(options, &o, &condition));
    CM_TRY(cmi_call_begin(&sampler->call, "sampler"));
    return cmi_sampler_end(sampler, cmi_sampler_draw(sampler, &o, &view));
}

void cm_sampler_cancel(cm_sampler *sampler)
{
    if (sampler) cmi_call_ask(&sampler->call);
}

cm_status cm_sampler_nfe(const cm_sampler *sampler, const cm_sample_options *options, int32_t *nfe)
{
    cm_sample_options o;
    cm_condition condition;
    cm_times times;
    if (!sampler || !nfe) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_nfe: sampler or nfe is NULL");
    CM_TRY(cmi_context_check_process(sampler->model->context));
    CM_TRY(cmi_sample_options_read(options, &o, &condition));
    CM_TRY(cmi_condition_check(sampler->model, &condition));
    CM_TRY(cmi_times_resolve(sampler->model, &o, &times));
    *nfe = cmi_solver_nfe(&times.solver) * cmi_condition_evaluations(sampler->model, condition.guidance);
    const cm_status status = cmi_sampler_check_border(sampler, &times.solver);
    cmi_times_release(sampler->model, &times);
    return status;
}

cm_status cm_sampler_info_get(const cm_sampler *sampler, cm_sampler_info *info)
{
    cm_sampler_info i;
    if (!sampler || !info) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_info_get: sampler or info is NULL");
    memset(&i, 0, sizeof i);
    i.threads = sampler->threads;
    i.max_batch = (int32_t)sampler->max_batch;
    i.activation_bytes = cmi_sampler_bytes(sampler);
    i.packed_bytes = cmi_params_copied_bytes(sampler->model->params);
    if (sampler->below && sampler->below_model != sampler->model)
        i.packed_bytes += cmi_params_copied_bytes(sampler->below_model->params);
    i.plan_seconds = sampler->plan_seconds;
    return cm_info_write(info, &i, sizeof i, "cm_sampler_info");
}
