/* interpolate.c - images along the great circle between two noises. */
#include <math.h>

#include "diffusion/noise.h"
#include "diffusion/sampler_run.h"

void cmi_slerp(size_t n, const double *z1, const double *z2, double alpha, double *out)
{
    double dot = 0, square1 = 0, square2 = 0;
    for (size_t i = 0; i < n; i++) {
        dot += z1[i] * z2[i];
        square1 += z1[i] * z1[i];
        square2 += z2[i] * z2[i];
    }
    double lengths = sqrt(square1) * sqrt(square2), cosine = lengths > 0 ? dot / lengths : 1;
    double psi = acos(cosine < -1 ? -1 : cosine > 1 ? 1 : cosine), s = sin(psi);
    double a = s < 1e-6 ? 1 - alpha : sin((1 - alpha) * psi) / s, b = s < 1e-6 ? alpha : sin(alpha * psi) / s;
    for (size_t i = 0; i < n; i++) out[i] = a * z1[i] + b * z2[i];
}

/* The noise of image `offset` of a run. */
static cm_status end_noise(cm_sampler *s, const cm_sample_options *o, uint64_t offset, double *out)
{
    size_t size = cmi_sampler_image_size(s->model);
    cm_sample_options shifted = *o;
    cm_torch_rng torch;
    shifted.first_index += offset;
    shifted.noise = NULL;
    shifted.temperature = 1; /* the run of the frames has it */
    if (o->noise_source < 0 || o->noise_source > CM_NOISE_TORCH_INDIV) return CM_OK; /* the run will say so */
    double *buffer = cmi_calloc(s->model->context, size, sizeof *buffer);
    if (!buffer) return CM_ERR_MEMORY;
    cm_noise noise = {&shifted, 1, 0, 1, size, 0, 0, buffer, o->noise_source ? &torch : NULL};
    cmi_noise_begin(&noise);
    cmi_noise_start(&noise, out);
    cmi_free(s->model->context, buffer);
    return CM_OK;
}

static cm_status make_frames(cm_sampler *s, const cm_sample_options *o, uint64_t to, size_t frames, double *ends,
                             float *noise)
{
    size_t size = cmi_sampler_image_size(s->model);
    double *z1 = ends, *z2 = ends + size, *z = ends + 2 * size;
    if (o->noise) {
        CM_TRY(cmi_noise_check(o, 2, size, 0));
        for (size_t i = 0; i < 2 * size; i++) ends[i] = (double)o->noise[i];
    } else {
        CM_TRY(end_noise(s, o, 0, z1));
        CM_TRY(end_noise(s, o, to, z2));
    }
    for (size_t k = 0; k < frames; k++) {
        cmi_slerp(size, z1, z2, (double)k / (double)(frames - 1), z);
        for (size_t i = 0; i < size; i++) noise[k * size + i] = (float)z[i];
    }
    return CM_OK;
}

cm_status cmi_sampler_frames(cm_sampler *s, const cm_sample_options *options, uint64_t to, const cm_view *out)
{
    cm_context *context = s->model->context;
    size_t size = cmi_sampler_image_size(s->model), frames = out->n;
    cm_sample_options o = *options;
    const cm_sampler_job j = {&o, NULL, 1, frames, out};
    CM_TRY(cmi_check_array("frames", frames, size * sizeof(double)));
    double *ends = cmi_calloc(context, size, 3 * sizeof *ends);
    float *noise = cmi_malloc(context, frames * size, sizeof *noise);
    cm_status status = ends && noise ? make_frames(s, options, to, frames, ends, noise) : CM_ERR_MEMORY;
    o.noise = noise;
    if (status == CM_OK) status = cmi_sampler_run_job(s, &j);
    cmi_free(context, noise);
    cmi_free(context, ends);
    return status;
}
