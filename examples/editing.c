/* editing.c - see the header. */
#include "editing.h"

#include <stdlib.h>
#include <string.h>

void editing_begin(editing *e, const cli *c)
{
    static const char *const tasks[] = {"inpaint", "colorize", "super-resolve", "stroke", "interpolate",
                                        "denoise", NULL};
    memset(e, 0, sizeof *e);
    cm_edit_options_init(&e->options, sizeof e->options);
    if (c->n_operands < 2) cli_usage_error(c, "give a task and a model");
    e->task = (editing_task)cli_choice(c, NULL, c->operands[0], tasks);
    e->name = tasks[e->task];
    e->pictures.c = c;
    e->pictures.paths = c->operands + 2;
    e->pictures.n = (size_t)c->n_operands - 2;
    e->pictures.fit = -1;
    e->pictures.masked = e->task == INPAINT;
}

static void read_luma(editing *e, const cli *c, const char *value)
{
    double luma[4];
    if (cli_list(c, "luma", value, luma, 4) != 3) cli_usage_error(c, "--luma: three numbers, not '%s'", value);
    memcpy(e->options.luma, luma, sizeof e->options.luma);
}

void editing_option(editing *e, const char *name, const char *value)
{
    static const char *const starts[] = {"given", "noise", NULL};
    const cli *c = e->pictures.c;
    cm_edit_options *o = &e->options;
#define IS(word) (strcmp(name, word) == 0)
    if (IS("fit")) e->pictures.fit = cli_listed(c, name, value, "fits");
    else if (IS("mask")) e->pictures.mask = value;
    else if (IS("fill")) o->fill = cli_number(c, name, value, -1, 1);
    else if (IS("luma")) read_luma(e, c, value);
    else if (IS("factor")) e->factor = (int32_t)cli_integer(c, name, value, 2, 65536);
    else if (IS("sigma")) o->sigma = cli_number(c, name, value, 1e-6, 1e6);
    else if (IS("no-cut")) e->no_cut = 1;
    else if (IS("frames")) e->frames = (int32_t)cli_integer(c, name, value, 2, 100000);
    else if (IS("to")) o->to = (uint64_t)cli_integer(c, name, value, 1, INT64_MAX);
    else if (IS("variations")) o->variations = (int32_t)cli_integer(c, name, value, 1, 65536);
    else if (IS("start")) o->start = cli_choice(c, name, value, starts);
    else cli_usage_error(c, "--%s is read by nothing: please report it", name);
#undef IS
}

void editing_check(editing *e)
{
    const cli *c = e->pictures.c;
    const int moves = e->task == INTERPOLATE;
    static const char text[] = "%s has no effect on %s";
    if (moves && e->pictures.n) cli_usage_error(c, "interpolate takes no picture, only the model");
    if (moves && e->pictures.fit >= 0) cli_usage_error(c, text, "--fit", e->name);
    if (moves && e->options.variations) cli_usage_error(c, text, "--variations", e->name);
    if (!moves && !e->pictures.n) cli_usage_error(c, "give the pictures after the model");
    if (!moves && e->frames) cli_usage_error(c, text, "--frames", e->name);
    if (e->task == INPAINT && !e->pictures.mask) cli_usage_error(c, "inpaint needs --mask FILE or --mask alpha");
    if (e->task != INPAINT && e->pictures.mask) cli_usage_error(c, text, "--mask", e->name);
    if (e->task == SUPER_RESOLVE && !e->factor) cli_usage_error(c, "super-resolve needs --factor");
    if (e->task != SUPER_RESOLVE && e->factor) cli_usage_error(c, text, "--factor", e->name);
    if (e->task != DENOISE && e->no_cut) cli_usage_error(c, text, "--no-cut", e->name);
    e->options.cut = e->task == DENOISE && !e->no_cut ? CM_EDIT_CUT_YES : CM_EDIT_CUT_NO;
    if (!e->frames) e->frames = 8;
    if (!e->options.variations) e->options.variations = e->task == DENOISE || moves ? 1 : 4;
}

/* --- pictures ------------------------------------------------------------------------ */

static cm_status find_levels(editing *e, const cm_model_info *model)
{
    e->levels = calloc(e->pictures.n, sizeof *e->levels);
    if (!e->levels) return CM_ERR_MEMORY;
    return given_noise(&e->pictures, model->sigma_min > 0.002 ? model->sigma_min : 0.002, e->levels);
}

cm_status editing_read(editing *e, const cm_model_info *model, const sampling *s)
{
    given *g = &e->pictures;
    const int32_t factor = e->factor ? e->factor : 1;
    if (e->task == INTERPOLATE) return CM_OK;
    if (model->channels != 1 && model->channels != 3)
        cli_usage_error(g->c, "pictures have 1 or 3 channels, this model takes %d", model->channels);
    if (model->height % factor || model->width % factor)
        cli_usage_error(g->c, "--factor %d does not divide the model's %d x %d", factor, model->width, model->height);
    g->channels = model->channels;
    g->height = model->height / factor;
    g->width = model->width / factor;
    cm_status status = given_read(g);
    const int unknown = e->task == DENOISE && e->options.sigma <= 0 && !s->sample.sigmas;
    return status == CM_OK && unknown ? find_levels(e, model) : status;
}

int32_t editing_shown(const editing *e)
{
    return e->task == INTERPOLATE ? 0 : e->task == INPAINT || e->task == COLORIZE ? 2 : 1;
}

void editing_show(const editing *e, size_t i, int32_t k, const cm_model_info *model, float *out)
{
    static const double usual[3] = {0.2989, 0.5870, 0.1140};
    const double *l = e->options.luma, *luma = l[0] + l[1] + l[2] > 0 ? l : usual;
    given_show(&e->pictures, i, k && e->task == INPAINT, k && e->task == COLORIZE ? luma : NULL, model->height,
               model->width, out);
}

/* --- changes ------------------------------------------------------------------------- */

cm_status editing_change(const editing *e, cm_sampler *sampler, const cm_sample_options *sample, size_t i, size_t n,
                         size_t per, size_t first, const cm_images *out)
{
    cm_edit_options o = e->options;
    cm_sample_options shifted = *sample;
    shifted.first_index += first;
    o.sampling = &shifted;
    if (e->task == INTERPOLATE) return cm_sampler_interpolate(sampler, &o, out);
    const cm_images y = given_images(&e->pictures, i, n), mask = given_masks(&e->pictures, i, n);
    o.variations = (int32_t)per;
    if (e->levels) o.sigma = e->levels[i];
    switch (e->task) {
    case INPAINT: return cm_sampler_inpaint(sampler, &o, &y, &mask, out);
    case COLORIZE: return cm_sampler_colorize(sampler, &o, &y, out);
    case SUPER_RESOLVE: return cm_sampler_super_resolve(sampler, &o, &y, out);
    case STROKE: return cm_sampler_stroke(sampler, &o, &y, out);
    default: return cm_sampler_denoise(sampler, &o, &y, out);
    }
}

void editing_report(const editing *e, size_t results, double seconds, const char *output, int json)
{
    const size_t n = e->levels ? e->pictures.n : 0;
    if (json) {
        printf("{\"task\": \"%s\", \"pictures\": %zu, \"results\": %zu, \"seconds\": %.6f, \"output\": ", e->name,
               e->pictures.n, results, seconds);
        cli_json_string(stdout, output);
        for (size_t i = 0; i < n; i++) printf("%s%.6g", i ? ", " : ", \"sigmas\": [", e->levels[i]);
        printf("%s}\n", n ? "]" : "");
        return;
    }
    for (size_t i = 0; i < n; i++)
        printf("%s: noise of sigma %.3g, %.3g steps of a byte (estimated)\n", e->pictures.paths[i], e->levels[i],
               e->levels[i] * 127.5);
    printf("%s: %zu result%s in %.2f s\n%s\n", e->name, results, results == 1 ? "" : "s", seconds, output);
}

void editing_free(editing *e)
{
    given_free(&e->pictures);
    free(e->levels);
}
