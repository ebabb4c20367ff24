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
 * Pictures.  `given`, `mask` and `out` are cm_images (image.h): float32 or bytes, of any
 * layout and strides.  The caller keeps their memory, which the call uses until it returns.
 * Given images and masks are copied before the first step, so `out` may lie in their memory.
 * float32 images hold values in [-1, 1].  A mask holds float32 values in [0, 1], or bytes,
 * which are 255ths; 1 (255) generates, 0 keeps, and between them is a blend.
 * `out` has the model's channels, height and width, and one picture for every result: result
 * j of given image i is picture i * variations + j.  It depends on the model, the given
 * image, the seed, first_index + i * variations + j, its label and the options alone: not on
 * what runs beside it, nor on the number of threads.
 *
 * Labels.  A model with classes needs a label for every result, in sampling->condition (-1 =
 * none, where the network knows that): a drawn one would seldom fit the picture.
 *
 * Threads.  A sampler runs one call at a time (STATE); cm_sampler_cancel stops it from any
 * thread.
 *
 * Errors of every call, beside those of cm_images:
 *   ARGUMENT   a NULL, a value out of its range or not finite, an option without effect,
 *              noise levels above the model's sigma_max, however they were given
 *   SHAPE      pictures whose sizes do not belong to the model; another number of results
 *              than given->n * variations
 *   NUMERIC    noise of the caller's, an evaluation, a map's callback or a result that is not
 *              finite: as in cm_sampler_run
 *   CANCELLED  a callback or cm_sampler_cancel asked for it; the sampler stays usable
 *   MEMORY, STATE, FORKED
 * After an error the contents of `out` are unspecified.
 *
 * Here the lower half of a picture is made anew, four times, from a file into bytes:
 *
 *     cm_images picture = CM_IMAGES_INIT;
 *     cm_status status = cm_image_read(NULL, "face.png", NULL, &picture); // of the model's size
 *     uint8_t half[64 * 64] = {0}, results[4 * 64 * 64 * 3];
 *     memset(half + 32 * 64, 255, 32 * 64);
 *     cm_images mask = cm_images_u8(1, 64, 64, 1, half);
 *     cm_images out = cm_images_u8(4, 64, 64, 3, results);
 *     cm_edit_options options = CM_EDIT_OPTIONS_INIT;
 *     options.variations = 4;
 *     if (status == CM_OK) status = cm_sampler_inpaint(sampler, &options, &picture, &mask, &out);
 *     if (status != CM_OK) fprintf(stderr, "%s\n", cm_last_message());
 *     cm_image_free(NULL, &picture);
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_EDIT_H
#define CONSISTENCY_EDIT_H

#include "sampler.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the first step begins with. */
typedef enum cm_edit_start {
    CM_EDIT_START_GIVEN = 0, /* the kept part of y plus t_1 z: the paper                       */
    CM_EDIT_START_NOISE = 1  /* t_1 z alone: the official code                                 */
} cm_edit_start;

/* What became of noise beyond [-1, 1] in images that cm_sampler_denoise gets. */
typedef enum cm_edit_cut {
    CM_EDIT_CUT_NO = 0, /* it is there                                                         */
    CM_EDIT_CUT_YES = 1 /* it was cut off, as in any picture of bytes: values at -1 and 1 get
                           the missing tail back before the first step                         */
} cm_edit_cut;

typedef struct cm_edit_options {
    uint32_t struct_size;
    int32_t variations; /* results for each given image, 1..65536; 0 = 1; not for interpolate  */
    int32_t start;      /* cm_edit_start; for inpaint, colorize, super_resolve and edit        */
    int32_t cut;        /* cm_edit_cut; for denoise                                            */
    double sigma;       /* in [boundary, sigma_max] of the model.  stroke: the level that the
                           strokes are lifted to, 0 = 3 for a side of 32, 5.38 for 256.
                           denoise: the standard deviation of the given noise, needed          */
    double fill;        /* inpaint: what stands in missing pixels before the first step, in
                           [-1, 1]; 0 by default                                               */
    double luma[3];     /* colorize: weights of red, green and blue, each 0..1e6, their sum at
                           least 1e-6; all 0 = 0.2989, 0.5870, 0.1140                          */
    uint64_t to;        /* interpolate: the last frame's noise is that of image first_index + to;
                           0 = 1                                                               */
    /* Times, randomness, labels and callbacks, as for cm_sampler_run with method multistep;
     * NULL = defaults.  Three things differ.  Without sigmas and ts the times are the task's:
     * `steps` levels (0 = the task's number) that fall as in a Karras grid from sigma_max to
     * sigma_min (0 = the task's, within the model's; docs/editing.md has the figures).
     * clip_denoised defaults to yes.  clip_output CM_CLIP_NO leaves float32 results as the last
     * step makes them. */
    const cm_sample_options *sampling;
} cm_edit_options;

/* clang-format off */
#define CM_EDIT_OPTIONS_INIT \
    {sizeof(cm_edit_options), 0, CM_EDIT_START_GIVEN, CM_EDIT_CUT_NO, 0, 0, {0, 0, 0}, 0, NULL}
/* clang-format on */
CM_API void cm_edit_options_init(cm_edit_options *options, size_t struct_size);

/* Missing parts (inpainting): A is the identity.  mask: one for all given images or one for
 * each, of 1 channel or of the model's.  A mask of 0 everywhere gives the images back, bit by
 * bit in float32; one of 1 everywhere draws new ones. */
CM_API cm_status cm_sampler_inpaint(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                    const cm_images *mask, const cm_images *out);

/* Colour: A turns the axes of (r, g, b) so that the first is the luminance.  given: 3
 * channels, of which only the luminance luma . (r, g, b) counts (of a gray picture it is its
 * values), or 1 channel.  The luminance of every pixel of a result is the given one.
 * SHAPE: the model does not make images of 3 channels. */
CM_API cm_status cm_sampler_colorize(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                     const cm_images *out);

/* Detail (super-resolution): the first coordinate of A is the mean of a block.  given: the
 * model's channels, height / f and width / f, where f >= 2 is a whole number that divides
 * both.  The mean of every f x f block of a result is the given pixel. */
CM_API cm_status cm_sampler_super_resolve(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                          const cm_images *out);

/* Realism (SDEdit): x = y + sigma z, then the multistep loop.  Nothing is kept exactly; the
 * smaller sigma is, the more of y stays. */
CM_API cm_status cm_sampler_stroke(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                   const cm_images *out);

/* f(x; sigma) of images x that carry noise of standard deviation sigma; their float32 values
 * may lie within 1e6, unless options->cut is YES.  More steps denoise, add noise of a lower
 * level and denoise again; sampling->noise has no effect (an error) unless options->cut is YES.
 * Networks expect whole Gaussian noise.  A picture of bytes has lost what went beyond -1 and 1:
 * half of the noise of black and white areas.  With options->cut YES a value at -1 becomes
 * -1 - sigma |z| and one at 1 becomes 1 + sigma |z|, where z is the image's own noise (seed,
 * index): exact where the clean image is -1 or 1 there, close elsewhere.  docs/editing.md has
 * the figures; cm_image_noise_level estimates sigma. */
CM_API cm_status cm_sampler_denoise(cm_sampler *sampler, const cm_edit_options *options, const cm_images *given,
                                    const cm_images *out);

/* out->n >= 2 frames along the great circle between two noises, that of image first_index and
 * that of first_index + to (or sampling->noise, 2 x C x H x W): frame k of n has the noise
 * sin((1 - a) psi) / sin(psi) z_1 + sin(a psi) / sin(psi) z_2 with a = k / (n - 1), psi the
 * angle between z_1 and z_2.  Any method of cm_sampler_run; the noise of later steps and a
 * drawn label are those of the first frame. */
CM_API cm_status cm_sampler_interpolate(cm_sampler *sampler, const cm_edit_options *options, const cm_images *out);

/* The map A of the general form, which has to be orthogonal.  One of:
 *   matrix, patch 0   C x C, row-major: applied to the channels of every pixel
 *   matrix, patch p   p^2 x p^2: applied to every p x p block of every channel, its pixels row
 *                     by row; coordinate k stands where pixel k did; p in 1..32 divides height
 *                     and width
 *   callbacks         both; C x H x W values in and out, planar, on the calling thread; a result
 *                     other than 0 stops the call with CANCELLED
 *   neither           the identity
 * A matrix has to be orthogonal within 1e-5.  Callbacks are tried on random vectors and have to
 * keep lengths and be each other's inverse within 1e-4.  All pointers are borrowed for the call. */
typedef struct cm_edit_map {
    uint32_t struct_size;
    int32_t patch;
    const double *matrix;
    int32_t (*forward)(void *user, const double *image, double *coordinates);
    int32_t (*inverse)(void *user, const double *coordinates, double *image);
    void *user;
} cm_edit_map;

/* clang-format off */
#define CM_EDIT_MAP_INIT {sizeof(cm_edit_map), 0, NULL, NULL, NULL, NULL}
/* clang-format on */
CM_API void cm_edit_map_init(cm_edit_map *map, size_t struct_size);

/* The general form; map NULL is the identity.  mask as for inpaint, over A's coordinates. */
CM_API cm_status cm_sampler_edit(cm_sampler *sampler, const cm_edit_options *options, const cm_edit_map *map,
                                 const cm_images *given, const cm_images *mask, const cm_images *out);

#ifdef __cplusplus
}
#endif
#endif
