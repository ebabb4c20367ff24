/* edit.c - the calls of edit.h. */
#include <consistency/edit.h>

#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "diffusion/condition.h"
#include "diffusion/sampler.h"

void cm_edit_options_init(cm_edit_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_edit_map_init(cm_edit_map *map, size_t struct_size)
{
    cmi_options_zero(map, struct_size);
}

static cm_status read_options(const cm_edit_options *options, cm_edit_options *o, cm_sample_options *sampling,
                              cm_condition *condition)
{
    memset(o, 0, sizeof *o);
    if (options) CM_TRY(cm_options_read(o, sizeof *o, options, "cm_edit_options"));
    CM_TRY(cmi_sample_options_read(o->sampling, sampling, condition));
    o->sampling = sampling;
    return CM_OK;
}

typedef struct {
    cm_sampler *sampler;
    const cm_edit_task *task;
    const cm_edit_options *options;
    const cm_edit_map *map;
    const cm_images *given, *mask, *out;
} call;

/* The call's pictures; `mask` is empty for tasks without. */
typedef struct {
    cm_view given, mask, out;
} views;

static cm_status open_view(const call *c, const char *what, const cm_images *images, cm_view_use use, cm_view *out)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s: %s", c->task->name, what);
    return cmi_view_open(name, images, use, out);
}

static cm_status open_views(const call *c, views *v)
{
    CM_TRY(open_view(c, "given", c->given, CM_VIEW_READ, &v->given));
    if (c->task->masked) CM_TRY(open_view(c, "mask", c->mask, CM_VIEW_READ, &v->mask));
    return open_view(c, "the results", c->out, CM_VIEW_WRITE, &v->out);
}

static cm_status run_begun(const call *c, const cm_edit_options *o, const cm_edit_map *map, const views *v)
{
    cm_edit edit;
    CM_TRY(cmi_edit_open(c->sampler->model, c->task, o, map, &v->given, &v->mask, &edit));
    cm_status status = cmi_sampler_change(c->sampler, &edit, &v->out);
    cmi_edit_close(&edit);
    return status;
}

static cm_status run(const call *c)
{
    cm_edit_options o;
    cm_sample_options sampling;
    cm_condition condition;
    cm_edit_map map;
    views v;
    if (!c->sampler) CM_FAIL(CM_ERR_ARGUMENT, "%s: sampler is NULL", c->task->name);
    CM_TRY(cmi_context_check_process(c->sampler->model->context));
    CM_TRY(open_views(c, &v));
    CM_TRY(read_options(c->options, &o, &sampling, &condition));
    memset(&map, 0, sizeof map);
    if (c->map) CM_TRY(cm_options_read(&map, sizeof map, c->map, "cm_edit_map"));
    CM_TRY(cmi_call_begin(&c->sampler->call, "sampler"));
    return cmi_sampler_end(c->sampler, run_begun(c, &o, &map, &v));
}

cm_status cm_sampler_inpaint(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                             const cm_images *mask, const cm_images *out)
{
    return run(&(call){sampler, &cmi_edit_inpaint, options, NULL, given, mask, out});
}

cm_status cm_sampler_colorize(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                              const cm_images *out)
{
    return run(&(call){sampler, &cmi_edit_colorize, options, NULL, given, NULL, out});
}

cm_status cm_sampler_super_resolve(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                   const cm_images *out)
{
    return run(&(call){sampler, &cmi_edit_super_resolve, options, NULL, given, NULL, out});
}

cm_status cm_sampler_stroke(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                            const cm_images *out)
{
    return run(&(call){sampler, &cmi_edit_stroke, options, NULL, given, NULL, out});
}

cm_status cm_sampler_denoise(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                             const cm_images *out)
{
    return run(&(call){sampler, &cmi_edit_denoise, options, NULL, given, NULL, out});
}

cm_status cm_sampler_edit(cm_sampler *sampler, const cm_edit_options *options, const cm_edit_map *map,
                          const cm_images *given, const cm_images *mask, const cm_images *out)
{
    return run(&(call){sampler, &cmi_edit_general, options, map, given, mask, out});
}

static cm_status check_frames(const cm_edit_options *o, size_t frames)
{
    static const char text[] = "option %s has no effect on interpolate";
    if (frames < 2) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_interpolate: %zu frames, expected at least 2", frames);
    if (o->variations > 1) CM_FAIL(CM_ERR_ARGUMENT, text, "variations");
    if (o->start) CM_FAIL(CM_ERR_ARGUMENT, text, "start");
    if (o->sigma != 0) CM_FAIL(CM_ERR_ARGUMENT, text, "sigma");
    if (o->fill != 0) CM_FAIL(CM_ERR_ARGUMENT, text, "fill");
    if (o->luma[0] != 0 || o->luma[1] != 0 || o->luma[2] != 0) CM_FAIL(CM_ERR_ARGUMENT, text, "luma");
    if (o->to && o->sampling->noise) CM_FAIL(CM_ERR_ARGUMENT, text, "to beside noise");
    return CM_OK;
}

cm_status cm_sampler_interpolate(cm_sampler *sampler, const cm_edit_options *options, const cm_images *out)
{
    cm_edit_options o;
    cm_sample_options sampling;
    cm_condition condition;
    cm_view frames;
    if (!sampler) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_interpolate: sampler is NULL");
    CM_TRY(cmi_context_check_process(sampler->model->context));
    CM_TRY(read_options(options, &o, &sampling, &condition));
    CM_TRY(cmi_view_open("cm_sampler_interpolate: the frames", out, CM_VIEW_WRITE, &frames));
    CM_TRY(check_frames(&o, frames.n));
    CM_TRY(cmi_call_begin(&sampler->call, "sampler"));
    return cmi_sampler_end(sampler, cmi_sampler_frames(sampler, &sampling, o.to ? o.to : 1, &frames));
}
