/* sampler.h - the sampler handle: rounds of at most max_batch images. */
#ifndef CM_DIFFUSION_SAMPLER_H
#define CM_DIFFUSION_SAMPLER_H

#include <consistency/sampler.h>

#include "base/torch_rng.h"
#include "diffusion/denoiser.h"
#include "diffusion/edit.h"

struct cm_sampler {
    cm_model *model; /* counted */
    cm_denoiser *denoiser;
    /* Below the border another one: counted, NULL and 0 where there is none. */
    cm_model *below_model;
    cm_denoiser *below;
    double border;
    int threads;
    size_t max_batch;
    double plan_seconds;
    cm_call call;
    /* Buffers of a round: max_batch x C x H x W values each. */
    double *state, *work;
    double *without;     /* answers without labels; made when guidance is first asked for */
    double *noise;       /* of one image                       */
    float *estimate;     /* what a caller sees: estimates, results */
    int32_t *labels;     /* max_batch                          */
    int32_t *chosen;     /* max_batch; labels of some of them  */
    cm_torch_rng *torch; /* max_batch; made when first asked for */
};

/* Values of an image. */
static inline size_t cmi_sampler_image_size(const cm_model *m)
{
    return (size_t)m->channels * (size_t)m->height * (size_t)m->width;
}

cm_status cmi_sampler_open(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic,
                           cm_sampler **out);
void cmi_sampler_close(cm_sampler *sampler);

/* ARGUMENT where `below` (NULL: none) does not go with the model, or the border with it; the sampler's second
 * network; and whether the levels of a run lie on either side. */
cm_status cmi_sampler_check_below(const cm_model *model, const cm_model *below, double border);
cm_status cmi_sampler_add_below(cm_sampler *sampler, cm_model *below, double border, cm_arithmetic arithmetic);
struct cm_solver;
cm_status cmi_sampler_check_border(const cm_sampler *sampler, const struct cm_solver *solver);
/* The networks of the sampler, each on its side of the border. */
cm_status cmi_sampler_evaluate(const cm_sampler *sampler, const cm_evaluation *evaluation);

/* The calls of a handle: within cmi_call_begin and cmi_sampler_end.  options are complete
 * (every field of this version); SHAPE where `out` is not of the model's images. */
cm_status cmi_sampler_draw(cm_sampler *sampler, const cm_sample_options *options, const cm_view *out);

/* The same for given images: out->n has to be edit->given_n x edit->variations. */
cm_status cmi_sampler_change(cm_sampler *sampler, const cm_edit *edit, const cm_view *out);
/* out->n frames between two noises; images 0 and `to` of the run, or options->noise. */
cm_status cmi_sampler_frames(cm_sampler *sampler, const cm_sample_options *options, uint64_t to, const cm_view *out);

/* Ends the handle's call: CANCELLED where it was asked to stop, else `status`. */
cm_status cmi_sampler_end(cm_sampler *sampler, cm_status status);

/* Bytes of a sampler's own buffers besides the denoiser's. */
size_t cmi_sampler_state_bytes(const cm_model *model, size_t max_batch);
size_t cmi_sampler_bytes(const cm_sampler *sampler);

#endif
