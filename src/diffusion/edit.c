/* edit.c - from edit options and images to a checked edit; its place in a run. */
#include "diffusion/edit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "diffusion/condition.h"
#include "diffusion/method.h"
#include "diffusion/schedule.h"
#include "diffusion/times.h"

/* --- opening ----------------------------------------------------------------------------------------- */

static int is_one_of(const cm_edit *e, const cm_edit_task *a, const cm_edit_task *b)
{
    return e->task == a || e->task == b;
}

static cm_status no_effect(const cm_edit *e, const char *option)
{
    CM_FAIL(CM_ERR_ARGUMENT, "option %s has no effect on %s", option, e->task->name);
}

static cm_status check_values(const cm_edit *e, const char *what, size_t image, size_t n, const float *values,
                              double low, double high)
{
    for (size_t i = 0; i < n; i++)
        if (!((double)values[i] >= low && (double)values[i] <= high))
            CM_FAIL(CM_ERR_ARGUMENT, "%s: %s %zu holds %g at value %zu, expected %g..%g", e->task->name, what, image,
                    (double)values[i], i, low, high);
    return CM_OK;
}

static cm_status check_options(const cm_edit *e, const cm_edit_options *o)
{
    int keeps = e->task->keep != NULL;
    double weight = 0;
    for (int c = 0; c < 3; c++) {
        if (!(o->luma[c] >= 0 && o->luma[c] <= 1e6))
            CM_FAIL(CM_ERR_ARGUMENT, "option luma[%d] is %g, expected 0..1e+06", c, o->luma[c]);
        weight += o->luma[c];
    }
    if (weight > 0 && weight < 1e-6)
        CM_FAIL(CM_ERR_ARGUMENT, "option luma adds up to %g, expected at least 1e-06", weight);
    if (o->variations < 0 || o->variations > 65536)
        CM_FAIL(CM_ERR_ARGUMENT, "option variations is %d, expected 1..65536", o->variations);
    if (o->start < 0 || o->start > CM_EDIT_START_NOISE)
        CM_FAIL(CM_ERR_ARGUMENT, "option start is %d, expected 0..%d", o->start, CM_EDIT_START_NOISE);
    if (o->start && !keeps) return no_effect(e, "start");
    if (!(o->fill >= -1 && o->fill <= 1)) CM_FAIL(CM_ERR_ARGUMENT, "option fill is %g, expected -1..1", o->fill);
    if (o->fill != 0 && e->task != &cmi_edit_inpaint) return no_effect(e, "fill");
    if (o->fill != 0 && o->start) return no_effect(e, "fill with start NOISE");
    if (weight > 0 && e->task != &cmi_edit_colorize) return no_effect(e, "luma");
    if (o->to) return no_effect(e, "to");
    if (o->cut < 0 || o->cut > CM_EDIT_CUT_YES)
        CM_FAIL(CM_ERR_ARGUMENT, "option cut is %d, expected 0..%d", o->cut, CM_EDIT_CUT_YES);
    if (o->cut && e->task != &cmi_edit_denoise) return no_effect(e, "cut");
    if (!isfinite(o->sigma) || o->sigma < 0)
        CM_FAIL(CM_ERR_ARGUMENT, "option sigma is %g, expected a finite number >= 0", o->sigma);
    if (o->sigma > 0 && !is_one_of(e, &cmi_edit_stroke, &cmi_edit_denoise)) return no_effect(e, "sigma");
    if (o->sigma > 0 && e->sampling.ts) return no_effect(e, "sigma beside ts");
    if (o->sigma > 0 && e->sampling.sigmas && e->sampling.sigma_count && o->sigma != e->sampling.sigmas[0])
        CM_FAIL(CM_ERR_ARGUMENT, "option sigma is %g but sigmas begin with %g", o->sigma, e->sampling.sigmas[0]);
    return CM_OK;
}

static cm_status expect_size(const cm_edit *e, const char *what, const cm_view *v, size_t channels)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s: %s", e->task->name, what);
    return cmi_view_expect(name, v, channels, (size_t)e->height, (size_t)e->width);
}

/* The factor of a C x H/f x W/f image. */
static cm_status find_factor(cm_edit *e, const cm_view *given)
{
    size_t h = (size_t)e->height, w = (size_t)e->width, f = h / given->height;
    if (given->channels != (size_t)e->channels || f < 2 || given->height * f != h || given->width * f != w)
        CM_FAIL(
            CM_ERR_SHAPE,
            "super_resolve: given is %zu x %zu x %zu (channels, height, width); the model makes %d x %d x %d, and "
            "both sides have to be that divided by one whole number >= 2",
            given->channels, given->height, given->width, e->channels, e->height, e->width);
    e->factor = (int32_t)f;
    return CM_OK;
}

static cm_status check_given(cm_edit *e, const cm_view *given)
{
    size_t channels = (size_t)e->channels;
    if (e->task == &cmi_edit_super_resolve) return find_factor(e, given);
    if (e->task == &cmi_edit_colorize) {
        if (channels != 3)
            CM_FAIL(CM_ERR_SHAPE, "colorize: the model makes images of %d channel(s), not of 3", e->channels);
        if (given->channels == 1) channels = 1;
    }
    return expect_size(e, "given", given, channels);
}

/* Bytes are 255ths: they are copied to the front of `out` and spread from the last one on. */
static void copy_mask(const cm_view *mask, size_t values, float *out)
{
    const unsigned char *bytes = (const unsigned char *)out;
    cm_view to = cmi_view_planes(mask->n, mask->channels, mask->height, mask->width, out, mask->is_u8);
    cmi_view_copy(mask, &to);
    for (size_t i = values; mask->is_u8 && i-- > 0;) out[i] = (float)bytes[i] / 255.0f;
}

/* The masks as float32, so that the caller's may be of any layout, and the results' memory. */
static cm_status take_mask(cm_edit *e, const cm_view *mask)
{
    if (!e->task->masked) return CM_OK;
    if (mask->n != 1 && mask->n != e->given_n)
        CM_FAIL(CM_ERR_SHAPE, "%s: %zu masks for %zu images, expected one for all or one each", e->task->name,
                mask->n, e->given_n);
    CM_TRY(expect_size(e, "mask", mask, mask->channels == 1 ? 1 : (size_t)e->channels));
    size_t size = cmi_view_size(mask);
    e->mask = cmi_malloc(e->context, mask->n * size, sizeof *e->mask);
    if (!e->mask) return CM_ERR_MEMORY;
    e->mask_gray = mask->channels == 1;
    e->mask_step = mask->n > 1 ? size : 0;
    copy_mask(mask, mask->n * size, e->mask);
    for (size_t i = 0; i < mask->n; i++) CM_TRY(check_values(e, "mask", i, size, e->mask + i * size, 0, 1));
    return CM_OK;
}

static cm_status check_image(const cm_edit *e, size_t image, size_t n, const float *values)
{
    int noisy = e->task == &cmi_edit_denoise && !e->cut;
    return check_values(e,
                        noisy    ? "given image"
                        : e->cut ? "given image (cut to [-1, 1])"
                                 : "given image (in [-1, 1])",
                        image, n, values, noisy ? -1e6 : -1, noisy ? 1e6 : 1);
}

/* In double: luminances for colorize, coordinates in the general form. */
static cm_status take_image(const cm_edit *e, size_t channels, const float *from, double *to)
{
    const double *w = e->luma;
    size_t pixels = e->given_size;
    int mix = e->task == &cmi_edit_colorize && channels == 3;
    for (size_t i = 0; i < e->given_size; i++) {
        to[i] = (double)from[i];
        if (mix)
            to[i] = (w[0] * to[i] + w[1] * (double)from[i + pixels] + w[2] * (double)from[i + 2 * pixels]) /
                    (w[0] + w[1] + w[2]);
    }
    if (e->task != &cmi_edit_general) return CM_OK;
    CM_TRY(cmi_edit_apply(e, 0, to, e->work));
    memcpy(to, e->work, e->size * sizeof *to);
    return CM_OK;
}

static cm_status take_all(cm_edit *e, const cm_view *given, float *image)
{
    size_t size = cmi_view_size(given);
    const cm_view planes = cmi_view_planes(1, given->channels, given->height, given->width, image, 0);
    for (size_t n = 0; n < e->given_n; n++) {
        const cm_view one = cmi_view_part(given, n, 1);
        cmi_view_copy(&one, &planes);
        CM_TRY(check_image(e, n, size, image));
        CM_TRY(take_image(e, given->channels, image, e->given + n * e->given_size));
    }
    return CM_OK;
}

static cm_status take_given(cm_edit *e, const cm_view *given)
{
    size_t all;
    e->given_size = e->task == &cmi_edit_colorize ? (size_t)e->height * (size_t)e->width : cmi_view_size(given);
    if (!cmi_mul_size(e->given_n, e->given_size, &all))
        CM_FAIL(CM_ERR_LIMIT, "%zu images do not fit into memory", e->given_n);
    float *image = cmi_malloc(e->context, cmi_view_size(given), sizeof *image);
    e->given = cmi_malloc(e->context, all, sizeof *e->given);
    cm_status status = image && e->given ? take_all(e, given, image) : CM_ERR_MEMORY;
    cmi_free(e->context, image);
    return status;
}

/* Where a task begins unless told.  The table's level is for a side of 32 (or
 * blocks of 4); what is missing is averaged over more pixels in larger images,
 * and it takes as much more noise to hide it.  Strokes shall not be hidden: theirs
 * grows to the published 5.38 at a side of 256. */
static double first_level(const cm_edit *e, const cm_model *model)
{
    double scale = e->task == &cmi_edit_super_resolve ? e->factor / 4.0 : e->height / 32.0;
    if (e->task == &cmi_edit_stroke) scale = pow(scale, 0.281);
    double top = e->task->top * scale, most = model->precond.sigma_max;
    return top > 0 && top < most ? top : most;
}

/* Times where none are given: Karras levels from the task's first to its last. */
static cm_status take_levels(cm_edit *e, const cm_model *model, double sigma)
{
    cm_sample_options *o = &e->sampling;
    const cm_edit_task *t = e->task;
    double top = sigma > 0 ? sigma : o->sigma_max > 0 ? o->sigma_max : first_level(e, model);
    double last = cmi_precond_is_consistency(&model->precond) ? t->low : t->low_diffusion;
    double low = o->sigma_min > 0 ? o->sigma_min : fmin(fmax(last, model->precond.sigma_min), top / 2);
    int32_t n = o->steps ? o->steps : t->steps;
    if (sigma > 0 && o->sigma_max > 0) return no_effect(e, "sigma_max beside sigma");
    if (n > 1 && !(low < top))
        CM_FAIL(CM_ERR_ARGUMENT, "%s: sigma_min %g has to be below the first level %g", t->name, low, top);
    if (n == 1 && (o->sigma_min > 0 || o->rho > 0)) return no_effect(e, "sigma_min or rho with one step");
    e->levels = cmi_calloc(e->context, (size_t)n, sizeof *e->levels);
    if (!e->levels) return CM_ERR_MEMORY;
    for (int i = 0; i < n; i++) e->levels[i] = cmi_karras_sigma(i, n, low, top, o->rho > 0 ? o->rho : 7);
    e->levels[0] = top;
    o->sigmas = e->levels;
    o->sigma_count = (size_t)n;
    o->steps = 0;
    o->sigma_min = o->sigma_max = o->rho = 0;
    return CM_OK;
}

static cm_status check_level(const char *name, double sigma, const cm_model *model)
{
    double low = cmi_precond_boundary(&model->precond), high = model->precond.sigma_max;
    if (sigma > 0 && (sigma < low * (1 - 1e-6) || sigma > high * (1 + 1e-6)))
        CM_FAIL(CM_ERR_ARGUMENT, "option %s is %g; this model's noise levels are in %s%g, %g]", name, sigma,
                low > 0 ? "[" : "(", low, high);
    return CM_OK;
}

static cm_status take_sampling(cm_edit *e, const cm_model *model, const cm_edit_options *options)
{
    cm_sample_options *o = &e->sampling;
    const cm_method_kind *method = o->method < 0 ? NULL : cmi_method_at((size_t)o->method);
    if (!method || (method->run && !method->edits))
        CM_FAIL(CM_ERR_ARGUMENT, "option method is %d; %s runs by method multistep", o->method, e->task->name);
    CM_TRY(cmi_times_check_schedule(o));
    CM_TRY(check_level("sigma", options->sigma, model));
    CM_TRY(check_level("sigma_max", o->sigma_max, model));
    CM_TRY(check_level("sigma_min", o->sigma_min, model));
    if (e->task == &cmi_edit_denoise && o->ts)
        CM_FAIL(CM_ERR_ARGUMENT, "denoise: ts begin at sigma_max; give the level of the noise as sigma");
    if (e->task == &cmi_edit_denoise && !(options->sigma > 0) && !o->sigmas)
        CM_FAIL(CM_ERR_ARGUMENT, "denoise: give the level of the noise as option sigma");
    if (!e->task->starts_noisy && !e->cut && o->noise) return no_effect(e, "noise");
    if (!e->task->starts_noisy && o->temperature != 0 && o->temperature != 1) return no_effect(e, "temperature");
    if (model->net.num_classes > 0 && !cmi_condition_labels(o))
        CM_FAIL(CM_ERR_ARGUMENT, "%s: the model has %d classes; give a label for every result (-1 = none)",
                e->task->name, model->net.num_classes);
    if (!o->sigmas && !o->ts) CM_TRY(take_levels(e, model, options->sigma));
    if (!method->run) o->method = CM_METHOD_MULTISTEP;
    if (o->clip_denoised == CM_CLIP_DEFAULT) o->clip_denoised = CM_CLIP_YES;
    int once = o->sigma_count == 1 && !e->task->starts_noisy && !e->cut;
    if (once && e->variations > 1) return no_effect(e, "variations without noise (one step)");
    return CM_OK;
}

static cm_status open_all(const cm_model *model, const cm_edit_options *o, const cm_view *given, const cm_view *mask,
                          cm_edit *e)
{
    static const double luma[3] = {0.2989, 0.5870, 0.1140};
    CM_TRY(check_options(e, o));
    memcpy(e->luma, o->luma[0] + o->luma[1] + o->luma[2] > 0 ? o->luma : luma, sizeof luma);
    CM_TRY(check_given(e, given));
    CM_TRY(take_mask(e, mask));
    CM_TRY(take_sampling(e, model, o));
    if (e->task == &cmi_edit_general) {
        CM_TRY(cmi_edit_check_map(e));
        e->work = cmi_calloc(e->context, e->size, sizeof *e->work);
        if (!e->work) return CM_ERR_MEMORY;
    }
    return take_given(e, given);
}

cm_status cmi_edit_open(const cm_model *model, const cm_edit_task *task, const cm_edit_options *options,
                        const cm_edit_map *map, const cm_view *given, const cm_view *mask, cm_edit *e)
{
    memset(e, 0, sizeof *e);
    e->task = task;
    e->context = model->context;
    e->channels = model->channels;
    e->height = model->height;
    e->width = model->width;
    e->size = (size_t)e->channels * (size_t)e->height * (size_t)e->width;
    e->variations = options->variations > 0 ? (size_t)options->variations : 1;
    e->given_n = given->n;
    e->fill = options->fill;
    e->from_noise = options->start == CM_EDIT_START_NOISE;
    e->cut = options->cut == CM_EDIT_CUT_YES;
    if (options->sampling) e->sampling = *options->sampling;
    if (map) e->map = *map;
    cm_status status = open_all(model, options, given, mask, e);
    if (status != CM_OK) cmi_edit_close(e);
    return status;
}

void cmi_edit_close(cm_edit *e)
{
    cmi_free(e->context, e->levels);
    cmi_free(e->context, e->given);
    cmi_free(e->context, e->mask);
    cmi_free(e->context, e->work);
    e->levels = e->given = e->work = NULL;
    e->mask = NULL;
}

/* --- running ------------------------------------------------------------------------------------------- */

static const double *given_of(const cm_edit *e, size_t image)
{
    return e->given + image / e->variations * e->given_size;
}

static const float *mask_of(const cm_edit *e, size_t image)
{
    return e->mask ? e->mask + image / e->variations * e->mask_step : NULL;
}

/* z: unit normals in, what the cut took from y out: the tail of noise on a black or
 * white area. */
static void missing_tail(const cm_edit *e, const double *y, double level, double *z)
{
    for (size_t i = 0; i < e->size; i++) z[i] = y[i] <= -1 ? -level * fabs(z[i]) : y[i] >= 1 ? level * fabs(z[i]) : 0;
}

cm_status cmi_edit_begin(const cm_edit *e, size_t image, double top, double *x, double *scratch)
{
    double noise = e->task->starts_noisy ? top : 0;
    if (e->cut) missing_tail(e, given_of(e, image), top, x);
    else
        for (size_t i = 0; i < e->size; i++) x[i] *= noise;
    if (e->from_noise) return CM_OK;
    CM_TRY(e->task->begin(e, given_of(e, image), mask_of(e, image), scratch));
    for (size_t i = 0; i < e->size; i++) x[i] += scratch[i];
    return CM_OK;
}

cm_status cmi_edit_keep(const cm_edit *e, size_t image, double *x)
{
    return e->task->keep ? e->task->keep(e, given_of(e, image), mask_of(e, image), x) : CM_OK;
}

void cmi_edit_fit(const cm_edit *e, size_t image, double *x)
{
    e->task->fit(e, given_of(e, image), x);
}
