/* noise.h - where the unit normals and labels of a sampling run come from. */
#ifndef CM_DIFFUSION_NOISE_H
#define CM_DIFFUSION_NOISE_H

#include <consistency/sampler.h>

#include "base/choice.h"
#include "base/context.h"
#include "base/torch_rng.h"

/* Images [first, first + count) of a run of n. */
typedef struct cm_noise {
    const cm_sample_options *options;
    size_t n, first, count, size; /* size: values of one image */
    int shared;                   /* labels and later draws are image 0's for all images */
    int double_steps;             /* torch: later draws in float64, as EDM's sampler makes them */
    double *buffer;               /* size values */
    cm_torch_rng *torch;          /* count generators, or NULL for Philox */
} cm_noise;

/* NUMERIC for noise of the caller's that is not finite; `draws` of its later tensors are used. */
cm_status cmi_noise_check(const cm_sample_options *options, size_t n, size_t size, int32_t draws);
/* Seeds the generators (torch) of the images at hand. */
void cmi_noise_begin(cm_noise *noise);
/* The start noise times the temperature, count x size; then the labels, then draws 0, 1, ...: torch's
 * streams have to be asked in this order. */
void cmi_noise_start(cm_noise *noise, double *out);
/* Labels for count images of a model with `classes` > 0; the caller's where
 * given. */
void cmi_noise_labels(cm_noise *noise, int32_t classes, int32_t *labels);
/* out NULL: the draw only counts. */
void cmi_noise_draw(cm_noise *noise, int draw, double *out);

/* The entries of cm_noise_source. */
cm_choice cmi_noise_source_choice(size_t index);

#endif
