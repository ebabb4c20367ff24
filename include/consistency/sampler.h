/* sampler.h - noise becomes images.
 *
 * Image i of a run depends on (model, seed, first_index + i, its label, the
 * options) alone: not on how many images run together, nor on threads.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_SAMPLER_H
#define CONSISTENCY_SAMPLER_H

#include "image.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cm_sampler cm_sampler;

/* How the probability-flow ODE or the consistency function is used.  NFE =
 * network evaluations an image. */
typedef enum cm_method {
    CM_METHOD_DEFAULT = 0,   /* onestep for consistency models, heun for others          */
    CM_METHOD_ONESTEP = 1,   /* D(sigma_max z; sigma_max); NFE 1                         */
    CM_METHOD_MULTISTEP = 2, /* Algorithm 1 of Song et al. 2023; NFE = number of times   */
    CM_METHOD_HEUN = 3,      /* Karras et al. 2022, 2nd order, with churn; NFE 2n-1      */
    CM_METHOD_EULER = 4,     /* 1st order; NFE n                                         */
    CM_METHOD_ANCESTRAL = 5, /* Euler ancestral; NFE n                                   */
    CM_METHOD_DPM = 6,       /* DPM-Solver-2; NFE 2n                                     */
    CM_METHOD_EDM = 7,       /* EDM's stochastic sampler, general sigma(t) and s(t)      */
    CM_METHOD_PROGDIST = 8   /* progressive distillation: Euler to sigma_min; NFE n      */
} cm_method;

/* Where unit normal noise comes from when the caller gives none. */
typedef enum cm_noise_source {
    CM_NOISE_PHILOX = 0,      /* the library's own: the same numbers for ever            */
    CM_NOISE_TORCH_IMAGE = 1, /* one torch CPU generator an image, seeded seed + index   */
    CM_NOISE_TORCH_INDIV = 2  /* the same, seeded index + num_samples * seed             */
} cm_noise_source;

/* Variants of CM_METHOD_EDM (Karras et al. 2022, table 1). */
typedef enum cm_edm_discretization {
    CM_EDM_STEPS_EDM = 0,
    CM_EDM_STEPS_VP = 1,
    CM_EDM_STEPS_VE = 2,
    CM_EDM_STEPS_IDDPM = 3
} cm_edm_discretization;
typedef enum cm_edm_schedule {
    CM_EDM_SCHEDULE_LINEAR = 0,
    CM_EDM_SCHEDULE_VP = 1,
    CM_EDM_SCHEDULE_VE = 2
} cm_edm_schedule;
typedef enum cm_edm_scaling { CM_EDM_SCALING_NONE = 0, CM_EDM_SCALING_VP = 1 } cm_edm_scaling;
typedef enum cm_edm_solver { CM_EDM_SOLVER_HEUN = 0, CM_EDM_SOLVER_EULER = 1 } cm_edm_solver;

/* Whether values are clamped to [-1, 1]. */
typedef enum cm_clip { CM_CLIP_DEFAULT = 0, CM_CLIP_YES = 1, CM_CLIP_NO = 2 } cm_clip;

typedef struct cm_sampler_options {
    uint32_t struct_size;
    int32_t max_batch; /* images that are computed at a time, 1..65536; 0 = 16.  Memory for
                          activations grows with it.                                        */
    int32_t threads;   /* 1..256; 0 = the context's.                                        */
    int32_t precision; /* cm_precision; default F32.  BF16 takes less than half the packed
                          weights and moves pixels by 0.3 to 0.5 % (docs/numerics.md);
                          UNSUPPORTED on a processor without AMX_BF16 and AVX512_BF16.      */
    int32_t memory;    /* cm_memory; default FAST.  SMALL has other bits than FAST
                          (docs/numerics.md) and is for F32.                                */
    int32_t reserved;  /* must be 0                                                         */
    /* For those who work on this library, and NOT STABLE: keys and their meaning may change
     * in any version.  "key=number" entries with commas between them; NULL or "" = none;
     * an unknown key, and one without effect, is an ARGUMENT error.  For BF16:
     *   bf16_tile     1: plain sums, by the matrix tiles of AMX; 2: Winograd tiles of 2 x 2
     *                 outputs; 3: of at most 2 x 4; 4: of at most 4 x 4.  3 and 4 make 1/4
     *                 and 7/16 fewer products than 2, with 1.5 and 2.3 times its error.
     *                 0, the default: 1 on processors with AMX, else 3.
     *   bf16_emulate  1: on any processor, slower than F32 there. */
    const char *debug;
} cm_sampler_options;

/* clang-format off */
#define CM_SAMPLER_OPTIONS_INIT {sizeof(cm_sampler_options), 0, 0, 0, 0, 0, NULL}
/* clang-format on */

typedef struct cm_sample_options {
    uint32_t struct_size;
    int32_t method; /* cm_method                                                    */
    /* Times.  `sigmas`: standard deviations, strictly falling, each in
     * [boundary, sigma_max]; multistep evaluates at each; heun, euler,
     * ancestral, dpm and edm walk along them and then to 0; progdist walks
     * along them and ends at the last.  `ts` with `grid`: indices into the
     * Karras grid of `grid` points, the official code's form: the last entry
     * only closes the list (algorithm: multistep). */
    const double *sigmas;
    size_t sigma_count;
    const int32_t *ts;
    size_t ts_count;
    int32_t grid;
    int32_t steps; /* n of the Karras schedule; 0 = default (18)                    */
    double rho;    /* 0.5..1000; 0 = 7                                             */
    /* Of the schedule, sigma_min < sigma_max <= the model's.  0 = the model's: cm_model_info's for precond cm, edm
     * and ecm and wherever the file's number is not its family's default; else, and for the other
     * edm_discretizations, the customary range (EDM 0.002..80) as far as the model's goes along. */
    double sigma_min, sigma_max;
    int32_t clip_denoised; /* cm_clip: clamp each estimate to [-1, 1].  Default: as the method's
                              reference does, yes but for edm and for ECT's models.         */
    int32_t clip_output;   /* cm_clip: clamp the result to [-1, 1].  Default: yes.          */
    /* heun, dpm, edm; defaults 0, 0, infinity, 1.  s_noise is 0.1..10; a level may be raised to at most twice the
     * model's highest (churn alone makes it 1.41 of itself at most). */
    double s_churn, s_tmin, s_tmax, s_noise;
    int32_t edm_discretization, edm_schedule, edm_scaling, edm_solver; /* CM_METHOD_EDM only     */
    double edm_alpha; /* second evaluation at alpha * h, 0.01..1; default 1; CM_METHOD_EDM */
    /* Randomness. */
    uint64_t seed;
    uint64_t first_index; /* of image 0 of this run                                       */
    int32_t noise_source; /* cm_noise_source                                              */
    int32_t reserved;     /* must be 0                                                    */
    uint64_t num_samples; /* CM_NOISE_TORCH_INDIV only: images of the whole job           */
    /* The caller's noise, unit normal and finite: n x C x H x W for the start,
     * and noise_steps x n x C x H x W for the later draws.  NULL = drawn. */
    const float *noise;
    const float *step_noise;
    size_t noise_steps;
    /* Borrowed for the call.  NULL, or without labels: a label for each image of a
     * conditional model is drawn from the stream of that image. */
    const cm_condition *condition;
    /* Of this sampler the callbacks may call cm_sampler_cancel, _info_get and _nfe. */
    cm_progress_fn progress;
    void *progress_user;
    /* After each network evaluation of a batch: `denoised` is the current estimate
     * of images first .. first + denoised->n - 1 of the run, dense float32; borrowed
     * for the call.  Non-zero stops. */
    int32_t (*step)(void *user, int32_t evaluation, double sigma, size_t first, const cm_images *denoised);
    void *step_user;
} cm_sample_options;

/* clang-format off */
#define CM_SAMPLE_OPTIONS_INIT {sizeof(cm_sample_options), 0, NULL, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
                                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL}
/* clang-format on */

typedef struct cm_sampler_info {
    uint32_t struct_size;
    int32_t threads;
    int32_t max_batch;
    int32_t reserved;          /* 0                                       */
    uint64_t activation_bytes; /* arenas, scratch and state               */
    uint64_t packed_bytes;     /* weights in the layout of the kernels, shared by the model's samplers */
    double plan_seconds;
} cm_sampler_info;

/* clang-format off */
#define CM_SAMPLER_INFO_INIT {sizeof(cm_sampler_info), 0, 0, 0, 0, 0, 0}
/* clang-format on */

/* Each fills in the defaults that the INIT macro of its struct lists; struct_size is sizeof of the
 * caller's struct. */
CM_API void cm_sampler_options_init(cm_sampler_options *options, size_t struct_size);
CM_API void cm_sample_options_init(cm_sample_options *options, size_t struct_size);
CM_API void cm_sampler_info_init(cm_sampler_info *info, size_t struct_size);

/* Plans and allocates for max_batch images; running allocates no tensors.
 * Keeps its own reference to the model.  It cannot be cancelled: it makes the kernels and
 * packs the weights, 1.6 s of a processor for a network of 220 MB. */
CM_API cm_status cm_sampler_create(cm_model *model, const cm_sampler_options *options, cm_sampler **out);
CM_API void cm_sampler_free(cm_sampler *sampler);

/* What cm_sampler_create would take, without allocating it: activation_bytes, and
 * packed_bytes of a model that no sampler has been made from; plan_seconds is 0.
 * Same errors as cm_sampler_create. */
CM_API cm_status cm_sampler_estimate(cm_model *model, const cm_sampler_options *options, cm_sampler_info *info);

/* Draws n images into `images`, float32, n x C x H x W.  An option that has
 * no effect on the chosen method is an ARGUMENT error, as are numbers out of
 * range, infinite (s_tmax excepted) or NaN, noise levels out of order or above
 * the model's, however they were given, and labels the model does not have.
 * NUMERIC: noise of the caller's, an evaluation or a result that is not finite;
 * the message names the image of the run (0..n-1), the evaluation and its sigma,
 * and the value.  After CANCELLED and NUMERIC the contents of `images` are
 * unspecified, the sampler is usable. */
CM_API cm_status cm_sampler_run(cm_sampler *sampler, const cm_sample_options *options, size_t n, float *images);

/* The same into pictures of any type, layout and strides (image.h); out->n images are drawn.  SHAPE: out is not of
 * the model's channels, height and width. */
CM_API cm_status cm_sampler_run_images(cm_sampler *sampler, const cm_sample_options *options, const cm_images *out);

/* Asks a running call (cm_sampler_run, every function of edit.h) to stop: from any
 * thread or signal handler.  Wherever the call is, it returns CM_ERR_CANCELLED within
 * one network evaluation.  Without a running call the next one is not affected. */
CM_API void cm_sampler_cancel(cm_sampler *sampler);

CM_API cm_status cm_sampler_info_get(const cm_sampler *sampler, cm_sampler_info *info);

/* Network evaluations an image that cm_sampler_run would make. */
CM_API cm_status cm_sampler_nfe(const cm_sampler *sampler, const cm_sample_options *options, int32_t *nfe);

#ifdef __cplusplus
}
#endif
#endif
