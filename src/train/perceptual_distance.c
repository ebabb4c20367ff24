/* perceptual_distance.c - see the header. */
#include "train/perceptual_distance.h"

#include <math.h>

struct cm_perceptual_distance {
    cm_context *context; /* borrowed */
    cm_perceptual_files files;
    cm_perceptual net;
    cm_plan *plan;
    cm_weights *weights;
};

static cm_status open_all(cm_perceptual_distance *d, const char *weights, const char *lin,
                          const cm_perceptual_shape *shape)
{
    if (shape->channels != 3 && shape->channels != 1)
        CM_FAIL(CM_ERR_SHAPE, "distance lpips: images of %d channels, expected 3, or 1 of gray images",
                shape->channels);
    CM_TRY(cmi_perceptual_files_open(d->context, NULL, weights, lin, &d->files));
    const cm_plan_options options = {.slice = 1,
                                     .threads = 1,
                                     .share = 1,
                                     .mode = shape->curved ? CM_MODE_TRAIN_JVP : CM_MODE_TRAIN,
                                     .output = d->files.family->layers,
                                     .inputs = 1,
                                     .tangents = shape->curved ? 1 : 0,
                                     .frozen = 1};
    CM_TRY(cmi_perceptual_open(d->context, &d->files, shape, &d->net));
    CM_TRY(cmi_plan_create(d->net.graph, &options, &d->plan));
    return cmi_weights_create(d->plan, d->net.params, &d->weights);
}

cm_status cmi_perceptual_distance_create(cm_context *context, const char *weights, const char *lin,
                                         const cm_perceptual_shape *shape, cm_perceptual_distance **out)
{
    *out = NULL;
    cm_perceptual_distance *d = cmi_calloc(context, 1, sizeof *d);
    if (!d) return CM_ERR_MEMORY;
    d->context = context;
    const cm_status status = open_all(d, weights, lin, shape);
    if (status != CM_OK) cmi_perceptual_distance_close(d);
    else *out = d;
    return status;
}

cm_status cmi_perceptual_distance_open(cm_context *context, const cm_train_settings *s,
                                       const cm_image_distance *images, cm_perceptual_use use,
                                       cm_perceptual_distance **out)
{
    const cm_perceptual_shape shape = {images->channels,
                                       images->height,
                                       images->width,
                                       cmi_perceptual_side(s->lpips_resize, images->width),
                                       s->lpips_pooling == CM_LPIPS_POOLING_MEAN,
                                       0,
                                       use != CM_PERCEPTUAL_VALUE};
    return cmi_perceptual_distance_create(context, s->lpips_weights, *s->lpips_lin ? s->lpips_lin : NULL, &shape,
                                          out);
}

void cmi_perceptual_distance_close(cm_perceptual_distance *d)
{
    if (!d) return;
    cmi_weights_free(d->weights);
    cmi_plan_free(d->plan);
    cmi_perceptual_close(&d->net);
    cmi_perceptual_files_close(&d->files);
    cmi_free(d->context, d);
}

cm_status cmi_perceptual_distance_exec(const cm_perceptual_distance *d, cm_exec **out)
{
    return cmi_exec_create(d->plan, out);
}

size_t cmi_perceptual_distance_bytes(const cm_perceptual_distance *d, size_t *of_thread)
{
    *of_thread = cmi_plan_arena_bytes(d->plan) + cmi_plan_scratch_bytes(d->plan);
    return cmi_params_copied_bytes(d->net.params);
}

/* Planes to points, for the network, and back. */
static void interleave(const cm_perceptual_shape *s, const double *planes, float *points)
{
    const size_t c = (size_t)s->channels, plane = (size_t)s->height * (size_t)s->width;
    for (size_t k = 0; k < c; k++)
        for (size_t i = 0; i < plane; i++) points[i * c + k] = (float)planes[k * plane + i];
}

/* The network's max(x, 0) makes 0 of NaN, and a loss that is lost has to show. */
static int is_finite(const cm_perceptual_shape *s, const double *values)
{
    const size_t n = (size_t)s->channels * (size_t)s->height * (size_t)s->width;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i])) return 0;
    return 1;
}

static void separate(const cm_perceptual_shape *s, const float *points, double *planes)
{
    const size_t c = (size_t)s->channels, plane = (size_t)s->height * (size_t)s->width;
    for (size_t k = 0; k < c; k++)
        for (size_t i = 0; i < plane; i++) planes[k * plane + i] = (double)points[i * c + k];
}

cm_status cmi_perceptual_distance_of(const cm_perceptual_distance *d, cm_exec *exec, const double *a, const double *b,
                                     double *value, double *gradient)
{
    interleave(&d->net.shape, a, cmi_exec_input(exec, 0));
    interleave(&d->net.shape, b, cmi_exec_input(exec, 1));
    CM_TRY(cmi_exec_run(exec, d->weights));
    *value = is_finite(&d->net.shape, a) && is_finite(&d->net.shape, b) ? 0 : (double)NAN;
    for (int k = 0; k < d->files.family->layers; k++) *value += (double)*cmi_exec_output(exec, k);
    *cmi_exec_cotangent(exec) = 1;
    CM_TRY(cmi_exec_backward(exec, d->weights));
    separate(&d->net.shape, cmi_exec_input_gradient(exec, 0), gradient);
    return CM_OK;
}

/* With u the unit vectors of the features: <v, H v> / 2 = sum w |u'|^2, whose gradient is H v by v, and half of the
 * slope by a. */
cm_status cmi_perceptual_curvature_of(const cm_perceptual_distance *d, cm_exec *exec, const double *a,
                                      const double *v, double *hv, double *slope)
{
    const cm_perceptual_shape *s = &d->net.shape;
    const size_t n = (size_t)s->channels * (size_t)s->height * (size_t)s->width;
    const double lost = is_finite(s, a) && is_finite(s, v) ? 0 : (double)NAN;
    interleave(s, a, cmi_exec_input(exec, 0));
    interleave(s, v, cmi_exec_tangent_input(exec, 0));
    CM_TRY(cmi_exec_run(exec, d->weights));
    *cmi_exec_cotangent(exec) = 1;
    *cmi_exec_tangent_cotangent(exec) = 0;
    CM_TRY(cmi_exec_backward(exec, d->weights));
    separate(s, cmi_exec_input_tangent_gradient(exec, 0), hv);
    for (size_t i = 0; i < n; i++) hv[i] += lost;
    if (!slope) return CM_OK;
    separate(s, cmi_exec_input_gradient(exec, 0), slope);
    for (size_t i = 0; i < n; i++) slope[i] = 2 * slope[i] + lost;
    return CM_OK;
}
