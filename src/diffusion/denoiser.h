/* denoiser.h - evaluates D(x; sigma) for batches.
 *
 * A batch goes over the threads in slices of up to 8 images, a slice a thread;
 * what is left over one image at a time with all threads inside the network.  No
 * op mixes images or splits sums by their number: the bits depend on neither. */
#ifndef CM_DIFFUSION_DENOISER_H
#define CM_DIFFUSION_DENOISER_H

#include "base/call.h"
#include "diffusion/model.h"
#include "graph/arithmetic.h"

typedef struct cm_denoiser cm_denoiser;

/* The model must outlive it.  max_batch decides what is planned. */
cm_status cmi_denoiser_create(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic,
                              cm_denoiser **out);
/* One that also differentiates, in directions of CM_TANGENT_X, CM_TANGENT_SIGMA and CM_TANGENT_SECOND (inputs.h). */
cm_status cmi_denoiser_create_tangent(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic,
                                      uint32_t tangents, cm_denoiser **out);
void cmi_denoiser_free(cm_denoiser *denoiser);

typedef struct cm_evaluation {
    size_t n;
    const double *x;       /* n x C x H x W                               */
    const double *sigma;   /* n, or one for all when sigma_step is 0      */
    size_t sigma_step;     /* of `second` too                             */
    const int32_t *labels; /* n or NULL = -1                              */
    const float *augment;  /* n x augment_dim or NULL = zeros             */
    double *d, *f;         /* outputs; f (n x F's channels x H x W) may be NULL */
    const cm_call *call;   /* may be NULL; looked at before every slice   */
    /* Of cmi_denoiser_create_tangent: the direction, as x and n (NULL: zero), and D's derivative along it. */
    const double *x_tangent, *sigma_tangent;
    double *d_tangent, *f_tangent; /* f_tangent may be NULL; d_tangent may be x_tangent */
    /* Of networks of two times: the second (cm_inputs.second), as many as of sigma, and its direction, n; NULL: that
     * of the level 0, and 0. */
    const double *second, *second_tangent;
    double guidance; /* the scale of guidance of all images; 0: none */
    double *without; /* room for another d, where cmi_condition_evaluations is 2 */
} cm_evaluation;

/* x and d may be the same.  sigma is rounded to float32 first, as the
 * references take it; at float32(sigma_min) a `cm` model is the identity. */
cm_status cmi_denoiser_run(cm_denoiser *denoiser, const cm_evaluation *evaluation);

/* What cmi_denoiser_create would take: activations and scratch, packed weights.
 * Allocates little: plans are made, their memory is not. */
cm_status cmi_denoiser_estimate(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic,
                                size_t *activations, size_t *packed);

size_t cmi_denoiser_bytes(const cm_denoiser *denoiser);

#endif
