/* edit.h - images changed by a model that was never trained for it: Algorithm 4
 * of Song et al. 2023.
 *
 * With a reference y, an orthogonal map A and a mask m (1 = generate, 0 = keep)
 * over A's coordinates, at falling noise levels t_1 > .. > t_N:
 *
 *     x = A^-1((1 - m) A(y)) + t_1 z
 *     for n = 1 .. N:
 *         if n > 1: x = x + sqrt(t_n^2 - boundary^2) z
 *         x = clamp(f(x, t_n));  x = A^-1((1 - m) A(y) + m A(x))
 *
 * Every result therefore agrees with y in what is kept: to the last bit where
 * A is the identity and m is 0, else to rounding.  Results are in [-1, 1] and
 * are brought there without touching what is kept (the general form excepted,
 * which clamps).
 *
 * All functions: images are float32 in [-1, 1], sizes and ranges are checked.
 * Result j of given image i is images[i * variations + j], and depends on
 * (model, given image, seed, first_index + i * variations + j, its label,
 * options) alone: not on what runs beside it, nor on threads.  Conditional
 * models need labels, one a result (-1 = none, where the network knows that):
 * a drawn one would seldom fit the picture.
 *
 * Errors: ARGUMENT (a NULL, a value out of range or not finite, an option
 * without effect, noise levels above the model's sigma_max, however they were
 * given), SHAPE (sizes that do not belong to the model), NUMERIC (noise of the
 * caller's, an evaluation, a map's callback or a result that is not finite: as in
 * cm_sampler_run), CANCELLED (results unspecified, sampler usable), MEMORY, STATE
 * (sampler in use), FORKED.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_EDIT_H
#define CONSISTENCY_EDIT_H

#include "sampler.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cm_edit_start {
    CM_EDIT_START_GIVEN = 0, /* the kept part of y plus t_1 z: the paper          */
    CM_EDIT_START_NOISE = 1  /* t_1 z alone: the official code                    */
} cm_edit_start;

typedef struct cm_edit_options {
    uint32_t struct_size;
    int32_t variations; /* results a given image, 1..65536; 0 = 1                                */
    int32_t start;      /* cm_edit_start; inpaint, colorize, super_resolve, edit                 */
    /* stroke: level that the strokes are lifted to, 0 = the default; denoise:
     * level of the given noise, needed.  In [boundary, sigma_max]. */
    double sigma;
    double fill;    /* inpaint: what stands in missing pixels before the first step, in [-1, 1]  */
    double luma[3]; /* colorize: weights of red, green, blue, each 0..1e6, their sum at least 1e-6;
                       all 0 = 0.2989, 0.5870, 0.1140                                       */
    uint64_t to;    /* interpolate: the last frame's noise is that of image first_index + to; 0 = 1 */
    /* Times, randomness, labels, callbacks: as in cm_sampler_run by method
     * multistep, with three differences.  Without sigmas and ts the times are
     * the task's: `steps` levels (0 = the task's number) falling as in a Karras
     * grid from sigma_max to sigma_min (0 = the task's, within the model's; docs/editing.md
     * has the figures behind them).  clip_denoised defaults to yes.  clip_output CM_CLIP_NO leaves results as the
     * last step makes them.  NULL = defaults. */
    const cm_sample_options *sampling;
    /* denoise: 1 = noise beyond [-1, 1] was cut off, as in any picture of bytes; the
     * values at -1 and 1 get the missing tail back before the first step.        */
    int32_t cut;
} cm_edit_options;

CM_API void cm_edit_options_init(cm_edit_options *options, size_t struct_size);

/* Missing parts.  mask: 1 or given->n masks of 1 or C channels, values in
 * [0, 1], 1 = generate; between, a blend.  An all-zero mask gives the images
 * back, an all-one mask draws new ones. */
CM_API cm_status cm_sampler_inpaint(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                    const cm_images *mask, const cm_images *out);

/* Colour.  given: 3 channels, of which only the luminance luma . (r, g, b)
 * counts (a gray picture is its values three times), or 1 channel.  The
 * luminance of every result pixel is the given one. */
CM_API cm_status cm_sampler_colorize(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                     const cm_images *out);

/* Detail.  given: C x H/f x W/f, f >= 2 a whole number that divides H and W.
 * The mean of every f x f block of a result is the given pixel. */
CM_API cm_status cm_sampler_super_resolve(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                          const cm_images *out);

/* Realism (SDEdit): x = y + sigma z, then the multistep loop; nothing is kept
 * exactly, the more of y the smaller sigma. */
CM_API cm_status cm_sampler_stroke(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                   const cm_images *out);

/* f(x; sigma) of images that carry noise of standard deviation sigma: given is
 * x, values within 1e6.  More steps denoise, add noise of a lower level and
 * denoise again; options.sampling->noise has no effect (an error) without options.cut.
 * Networks expect whole Gaussian noise.  A picture of bytes has lost what went beyond
 * -1 and 1: half of the noise of black and white areas.  With options.cut 1 a value
 * at -1 becomes -1 - sigma |z|, one at 1 becomes 1 + sigma |z|, z the image's own
 * noise (seed, index): exact where the clean image is -1 or 1 there, close elsewhere.
 * docs/editing.md has the figures; cm_image_noise_level estimates sigma. */
CM_API cm_status cm_sampler_denoise(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                    const cm_images *out);

/* frames >= 2 images along the great circle between two noises, that of image
 * first_index and that of first_index + to (or sampling->noise, 2 x C x H x W):
 * frame k has z(k / (frames - 1)).  Any method of cm_sampler_run; noise of later
 * steps and the drawn label are those of the first frame. */
CM_API cm_status cm_sampler_interpolate(cm_sampler *sampler, const cm_edit_options *options, const cm_images *out);

/* A of the general form, orthogonal.  One of:
 *   matrix, patch 0   C x C, row-major: applied to the channels of every pixel
 *   matrix, patch p   p^2 x p^2: applied to every p x p block of every channel,
 *                     its pixels row by row; coordinate k stands where pixel k did
 *   callbacks         both; C x H x W values in and out, on the calling thread;
 *                     non-zero stops with CANCELLED
 *   neither           the identity
 * A matrix has to be orthogonal within 1e-5, callbacks are tried on random
 * vectors and have to keep lengths and be each other's inverse within 1e-4. */
typedef struct cm_edit_map {
    uint32_t struct_size;
    int32_t patch;
    const double *matrix;
    int32_t (*forward)(void *user, const double *image, double *coordinates);
    int32_t (*inverse)(void *user, const double *coordinates, double *image);
    void *user;
} cm_edit_map;

CM_API void cm_edit_map_init(cm_edit_map *map, size_t struct_size);

/* The general form.  mask as for inpaint, over A's coordinates. */
CM_API cm_status cm_sampler_edit(cm_sampler *sampler, const cm_edit_options *options, const cm_edit_map *map,
                                 const cm_images *given, const cm_images *mask, const cm_images *out);

#ifdef __cplusplus
}
#endif
#endif
