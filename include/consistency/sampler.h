/* sampler.h - noise becomes images.
 *
 * A sampler is a model made ready to run: kernels, packed weights and memory for a number
 * of images at a time.  A run walks from noise to images by one of the methods below.
 *
 *     cm_sampler *sampler;
 *     cm_sample_options options = CM_SAMPLE_OPTIONS_INIT;
 *     const double sigmas[2] = {80, 0.821};
 *     options.method = CM_METHOD_MULTISTEP;
 *     options.sigmas = sigmas;
 *     options.sigma_count = 2;
 *     options.seed = 7;
 *     cm_status status = cm_sampler_create(model, NULL, &sampler);
 *     if (status == CM_OK) status = cm_sampler_run(sampler, &options, n, images);
 *     if (status != CM_OK) fprintf(stderr, "%s\n", cm_last_message());
 *     cm_sampler_free(sampler);
 *
 * The same bits.  Image i of a run is a function of the model, the seed, first_index + i,
 * the label and the options.  How many images run together, how many threads there are and
 * what other handles do change no bit.  docs/numerics.md says what does: the processor's
 * instructions, precision and memory.
 *
 * Words.  sigma is the standard deviation of the noise in an image whose values are in
 * [-1, 1].  D(x; sigma) is the model's estimate of the image behind x (cm_model_denoise).
 * NFE is the number of network evaluations that an image takes, with guidance of a diffusion model
 * twice what is said of its method (cm_condition.guidance).  C, H and W are the model's
 * channels, height and width (cm_model_info).
 *
 * Threads.  A sampler is for one thread at a time; a second call while one runs gets
 * CM_ERR_STATE.  cm_sampler_cancel is for any thread.  Samplers of one model run side by
 * side and share its packed weights.
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

/* How noise becomes an image.  z are unit normals; sigma_0 > sigma_1 > ... are the noise
 * levels of cm_sample_options; d(x; sigma) = (x - D(x; sigma)) / sigma is the slope of the
 * probability-flow ODE dx / dsigma (Karras et al. 2022, equation 3). */
typedef enum cm_method {
    /* ONESTEP for consistency models (MULTISTEP where more than one step is asked for), HEUN
     * for others. */
    CM_METHOD_DEFAULT = 0,
    /* x = D(sigma_0 z; sigma_0).  NFE 1. */
    CM_METHOD_ONESTEP = 1,
    /* Algorithm 1 of Song et al. 2023: x = D(sigma_0 z; sigma_0), then for each further level
     * x = D(x + sqrt(sigma_i^2 - eps^2) z_i; sigma_i), where eps is sigma_min for precond cm
     * and 0 for others.  NFE: the number of levels. */
    CM_METHOD_MULTISTEP = 2,
    /* Algorithm 2 of Karras et al. 2022, second order, with s_churn: from x at level s to
     * level t, x + (t - s) (d(x; s) + d(x'; t)) / 2 with x' = x + (t - s) d(x; s); the step to
     * 0 is first order.  NFE 2 n - 1 for n steps. */
    CM_METHOD_HEUN = 3,
    /* x + (t - s) d(x; s).  NFE n. */
    CM_METHOD_EULER = 4,
    /* Euler to a level below t, then noise that brings it to t: the level is
     * sqrt(t^2 - u^2) with u^2 = t^2 (s^2 - t^2) / s^2.  NFE n. */
    CM_METHOD_ANCESTRAL = 5,
    /* DPM-Solver-2 with s_churn: x + (t - s) d(x'; m), where x' is the Euler step to the
     * middle level m = ((s^(1/3) + t^(1/3)) / 2)^3.  NFE 2 n. */
    CM_METHOD_DPM = 6,
    /* The general sampler of Karras et al. 2022 (algorithms 1 and 2, table 1) with its own
     * sigma(t), scaling s(t) and time steps: see the edm_ options.  NFE 2 n - 1, or n with
     * CM_EDM_SOLVER_EULER. */
    CM_METHOD_EDM = 7,
    /* Progressive distillation (Salimans and Ho 2022): EULER that ends at the last level,
     * not at 0.  NFE n. */
    CM_METHOD_PROGDIST = 8,
    /* DPM-Solver++, multistep (Lu et al. 2022), in lambda = -ln sigma, of dpmpp_order q: from x
     * at level s to level t, with h = ln(s / t) and the estimate m0 of this step and those of
     * the two before,
     *   order 1: x' = (t/s) x - phi_1 m0
     *   order 2: x' = (t/s) x - phi_1 m0 + c (m0 - m1) / r0, with c of dpmpp_form
     *   order 3: x' = (t/s) x - phi_1 m0 + phi_2 (d0 + r0 e) - phi_3 e
     * where phi_1 = exp(-h) - 1, phi_2 = phi_1 / h + 1, phi_3 = phi_2 / h - 1/2; r0 and r1 are the
     * h of the two steps before over h, d0 = (m0 - m1) / r0, d1 = (m1 - m2) / r1 and
     * e = (d0 - d1) / (r0 + r1).  Step k of n has order min(q, k), and by dpmpp_end also at most
     * n + 1 - k.  It ends at the last level, as PROGDIST.  NFE n. */
    CM_METHOD_DPMPP = 9,
    /* The probability-flow ODE by the Runge-Kutta method of order 5 with an error estimate of order 4
     * (Dormand and Prince 1980) in sigma, from the first level to the last, where it ends, as PROGDIST.
     * Each image has steps of its own: the root mean square over its values of the error of a step over
     * rk45_atol + rk45_rtol |x| is below 1.  NFE 2 + 6 k for k tried steps, at most rk45_max_nfe;
     * twice that where guidance evaluates the network twice (cm_condition.guidance). */
    CM_METHOD_RK45 = 10,
    /* Predictor-corrector of the variance-exploding SDE (Song et al. 2021, algorithms 2 and 4).  With the
     * score g(x; s) = (D(x; s) - x) / s^2, at each level s, pc_corrections times
     * x + e g + sqrt(2 e) z with e = 2 (pc_snr |z| / |g|)^2, and then x + (s^2 - t^2) g + sqrt(s^2 - t^2) z to the
     * next level t; the step to 0 is without noise.  The norms are those of each image by itself, where the
     * reference takes means over its batch.  NFE (1 + pc_corrections) n. */
    CM_METHOD_PC = 11,
    /* The flow map of a network of two times: with precond average-velocity its mean velocity u leads from a time t
     * down to r (MeanFlow, Geng et al. 2025; SoFlow).  Their time is t = sigma / (1 + sigma) and their state
     * x_t = x / (1 + sigma), which lies between the image at t = 0 and the noise at t = 1; a step is
     * x_r = x_t - (t - r) u(x_t; t, r), and the last one ends at 0.  The estimate of a step is where its line
     * would end, x_t - t u(x_t; t, r).  With precond imm and edm-flow the step from level s to s' is likewise
     * (s'/s) x + (1 - s'/s) D with the second time of s' (cm_model_denoise).  By default one step, which is
     * ONESTEP's. MULTISTEP is the stochastic form, a jump to 0 and new noise in turn.  ARGUMENT for networks of one
     * time. NFE n. */
    CM_METHOD_FLOWMAP = 12
} cm_method;

/* Where unit normals come from when the caller gives none. */
typedef enum cm_noise_source {
    /* The library's own generator: the same numbers in every version and on every machine. */
    CM_NOISE_PHILOX = 0,
    /* What torch.randn draws on the CPU, from one generator for each image that is seeded
     * with seed + index.  For comparison with other programs. */
    CM_NOISE_TORCH_IMAGE = 1,
    /* The same, seeded with index + num_samples * seed.  It needs num_samples, and labels
     * where the model has classes. */
    CM_NOISE_TORCH_INDIV = 2
} cm_noise_source;

/* Variants of CM_METHOD_EDM: the columns of table 1 of Karras et al. 2022.  The time steps:
 * EDM's own (rho), those of the variance-preserving and of the variance-exploding SDE, and
 * levels of iDDPM's table. */
typedef enum cm_edm_discretization {
    CM_EDM_STEPS_EDM = 0,
    CM_EDM_STEPS_VP = 1,
    CM_EDM_STEPS_VE = 2,
    CM_EDM_STEPS_IDDPM = 3
} cm_edm_discretization;

/* sigma(t): t; sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1) with the betas that fit the range
 * of levels; sqrt(t). */
typedef enum cm_edm_schedule {
    CM_EDM_SCHEDULE_LINEAR = 0,
    CM_EDM_SCHEDULE_VP = 1,
    CM_EDM_SCHEDULE_VE = 2
} cm_edm_schedule;

/* s(t): 1; 1 / sqrt(1 + sigma(t)^2). */
typedef enum cm_edm_scaling { CM_EDM_SCALING_NONE = 0, CM_EDM_SCALING_VP = 1 } cm_edm_scaling;

/* Second order, or first. */
typedef enum cm_edm_solver { CM_EDM_SOLVER_HEUN = 0, CM_EDM_SOLVER_EULER = 1 } cm_edm_solver;

/* What (m0 - m1) / r0 is multiplied by in a step of order 2 of CM_METHOD_DPMPP: -phi_1 / 2; phi_2. */
typedef enum cm_dpmpp_form { CM_DPMPP_DPMSOLVER = 0, CM_DPMPP_TAYLOR = 1 } cm_dpmpp_form;

/* Its last steps: of lower orders, step n of order 1; of the full order. */
typedef enum cm_dpmpp_end { CM_DPMPP_LOWER = 0, CM_DPMPP_FULL = 1 } cm_dpmpp_end;

/* Whether values are clamped to [-1, 1]. */
typedef enum cm_clip { CM_CLIP_DEFAULT = 0, CM_CLIP_YES = 1, CM_CLIP_NO = 2 } cm_clip;

/* What a sampler is made for; it holds until the sampler is freed. */
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
    /* A second model, which is evaluated in place of the first one below noise level `border`: of truncated
     * consistency (TCM), the model of the first stage beside that of the second, which was trained above its
     * border.  Both have images, classes, conditions and precond (sigma_data and sigma_min too) alike; the sampler
     * keeps a reference.  border is a level, from which on the first model is asked; each run has levels on either
     * side of it, else it is an ARGUMENT error, as is one of the two without the other.  NULL and 0: none. */
    cm_model *below;
    double border;
} cm_sampler_options;

/* clang-format off */
#define CM_SAMPLER_OPTIONS_INIT {sizeof(cm_sampler_options), 0, 0, 0, 0, 0, NULL, NULL, 0}
/* clang-format on */

/* One run.  Zero is the default of every member, so CM_SAMPLE_OPTIONS_INIT is a good
 * start.  An option that would have no effect on the method is an ARGUMENT error that names
 * it, unless it says what holds anyway.  All pointers are borrowed for the call. */
typedef struct cm_sample_options {
    uint32_t struct_size;
    int32_t method; /* cm_method */

    /* Noise levels, one of three ways.
     *
     * 1. `sigmas`: sigma_count standard deviations, strictly falling, each in
     * [boundary, sigma_max] of the model, where the boundary is sigma_min for precond cm and
     * 0, exclusive, for others.  ONESTEP takes one and MULTISTEP evaluates at each of them;
     * HEUN, EULER, ANCESTRAL, DPM, EDM, PC and FLOWMAP walk along them and then to 0; PROGDIST and DPMPP, with
     * at least two, walk along them and end at the last; RK45 takes two, its first and its last.
     *
     * 2. `ts` with `grid`, for MULTISTEP: ts_count >= 2 indices, strictly rising, into the
     * Karras schedule of `grid` points (2..1,000,000), as the official code takes them.  The
     * last entry only closes the list: {0, 22, 39} of 40 points makes two evaluations.
     *
     * 3. Neither: a schedule of `steps` levels (1..1,000,000; default 18).  With a_i =
     * sigma_max^(1/rho) + i / (n - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)) the levels are
     * a_i^rho (Karras et al. 2022, equation 5).  DPMPP and PC without a rho have levels that are equally
     * far apart in ln sigma; RK45 takes the range alone, no `steps` and no rho; PROGDIST and DPMPP have n + 1 of
     * them. FLOWMAP without a rho has the levels sigma = t / (1 - t) of n equally distant times t from that of
     * sigma_max on, whose next one is 0, and by default one step.  ONESTEP takes the first level; MULTISTEP has the
     * published two levels of models whose papers give them, and with networks of two times the levels of FLOWMAP,
     * by default two.  Member "sampling" of the model's configuration (docs/model-file.md) changes these defaults. */
    const double *sigmas;
    size_t sigma_count;
    const int32_t *ts;
    size_t ts_count;
    int32_t grid;
    int32_t steps;
    double rho; /* of the schedule, 0.5..1000; default 7, of DPMPP, PC and FLOWMAP none */
    /* Range of the schedule, sigma_min < sigma_max, neither beyond the model's.  Default: the
     * model's (cm_model_info) for precond cm, edm and ecm and wherever its file gives another
     * number than its kind has; else, and with an edm_discretization of another kind, the
     * customary range (0.002..80 for EDM) as far as the model goes along. */
    double sigma_min, sigma_max;

    /* cm_clip.  Each estimate D(x; sigma); default: yes, but for EDM, DPMPP, RK45, PC, FLOWMAP and models of precond
     * ecm, trigflow, average-velocity, imm and edm-flow, whose reference code does not.  And the images at the end;
     * default: yes. */
    int32_t clip_denoised;
    int32_t clip_output;

    /* Noise that HEUN, DPM and EDM add before a step at level s: with gamma = min(s_churn / n,
     * sqrt(2) - 1), where s_tmin <= s <= s_tmax, the level becomes s' = (1 + gamma) s by
     * s_noise sqrt(s'^2 - s^2) z.  Defaults 0, 0, infinity, 1; s_churn is 0..1e9, s_noise
     * 0.1..10.  A level may be raised to at most twice the model's highest. */
    double s_churn, s_tmin, s_tmax, s_noise;

    /* For CM_METHOD_EDM: members of the enumerations above, and the place of the second
     * evaluation of a step, edm_alpha in 0.01..1 of it; default 1, which is Heun's. */
    int32_t edm_discretization, edm_schedule, edm_scaling, edm_solver;
    double edm_alpha;

    /* Randomness: image i of the run draws its noise and, where none is given, its label from
     * stream first_index + i of the seed.  Any numbers. */
    uint64_t seed;
    uint64_t first_index;
    int32_t noise_source; /* cm_noise_source                                             */
    int32_t reserved;     /* must be 0                                                   */
    uint64_t num_samples; /* for CM_NOISE_TORCH_INDIV alone: the images of the whole job */

    /* Noise of the caller's, unit normals, finite: n x C x H x W to start from, not
     * multiplied by sigma; and noise_steps x n x C x H x W for the draws on the way, of which
     * there have to be as many as the run makes (MULTISTEP NFE - 1, with `ts` NFE; HEUN,
     * ANCESTRAL, DPM and EDM one for each step; PC NFE, the corrections of a level before its step).  NULL: drawn. */
    const float *noise;
    const float *step_noise;
    size_t noise_steps;

    /* NULL, or without labels: a label for each image of a conditional model is drawn. */
    const cm_condition *condition;

    /* After each network evaluation of the images that are computed together, with
     * evaluations x images (of RK45 out of the most; when its images are there the rest counts as done).
     * Non-zero stops the run.  Of this sampler both callbacks may call
     * cm_sampler_cancel, cm_sampler_info_get and cm_sampler_nfe. */
    cm_progress_fn progress;
    void *progress_user;
    /* After each network evaluation: number `evaluation` (from 0) of these images, at noise
     * level `sigma`; `denoised` is the estimate of images first .. first + denoised->n - 1 of
     * the run, dense float32, borrowed for the callback.  Non-zero stops the run.
     * Not for RK45, whose images are at levels of their own. */
    int32_t (*step)(void *user, int32_t evaluation, double sigma, size_t first, const cm_images *denoised);
    void *step_user;

    /* For CM_METHOD_DPMPP: the order, 1..3 and at most the number of steps, default 3 or as many steps as there
     * are; cm_dpmpp_form, for runs with a step of order 2; cm_dpmpp_end, for orders above 1. */
    int32_t dpmpp_order, dpmpp_form, dpmpp_end;
    int32_t reserved2; /* must be 0 */

    /* For CM_METHOD_RK45: the tolerances, 1e-10..1, default 1e-5 each (float32 networks do not resolve much smaller
     * ones), and the evaluations that an image may take, 8..1,000,000, default 1000.  An image that
     * is not there by then is a NUMERIC error.  For CM_METHOD_PC: pc_snr, the signal-to-noise ratio of the
     * corrector, 1e-6..10, default 0.16. */
    double rk45_rtol, rk45_atol, pc_snr;
    int32_t rk45_max_nfe;
    int32_t pc_corrections; /* of a level, 1..100; default 1 */
    /* n numbers, which receive the network evaluations of each image; NULL: not asked for. */
    int32_t *evaluations;
    /* What the noise that images begin with is multiplied by, 0.1..2 (the temperature of Kingma and Dhariwal 2018);
     * noise of the caller's too, but no noise on the way; default 1.  Below 1 images are more typical of what was
     * learnt and vary less.  ARGUMENT for cm_sampler_denoise, which begins with the noise that is there. */
    double temperature;
} cm_sample_options;

/* clang-format off */
#define CM_SAMPLE_OPTIONS_INIT {sizeof(cm_sample_options), 0, NULL, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
                                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, \
                                0, 0, 0, 0, 0, NULL, 0}
/* clang-format on */

typedef struct cm_sampler_info {
    uint32_t struct_size;
    int32_t threads;           /* what 0 in the options became                            */
    int32_t max_batch;         /* likewise                                                */
    int32_t reserved;          /* 0                                                       */
    uint64_t activation_bytes; /* memory of this sampler: activations, scratch, states    */
    uint64_t packed_bytes;     /* memory of the model: weights in the layout of kernels,
                                  shared by all of its samplers                           */
    double plan_seconds;       /* how long cm_sampler_create took                         */
} cm_sampler_info;

/* clang-format off */
#define CM_SAMPLER_INFO_INIT {sizeof(cm_sampler_info), 0, 0, 0, 0, 0, 0}
/* clang-format on */

/* Each fills in the defaults that the INIT macro of its struct lists; struct_size is sizeof of the
 * caller's struct. */
CM_API void cm_sampler_options_init(cm_sampler_options *options, size_t struct_size);
CM_API void cm_sample_options_init(cm_sample_options *options, size_t struct_size);
CM_API void cm_sampler_info_init(cm_sampler_info *info, size_t struct_size);

/* Makes a sampler: kernels, packed weights, memory for max_batch images.  Runs allocate no
 * tensors after that, but for RK45: nine states in double for each image of a round.  options NULL: defaults.  The
 * sampler keeps its own reference to the model, so the two may be freed in any order.  It cannot be cancelled and
 * takes 1.6 s of a processor for a network of 220 MB, less where another sampler of the model has packed the weights
 * already.
 *
 * Errors: ARGUMENT (an option out of range, memory SMALL with precision BF16, NULL, a model `below` that does not
 * go with the first),
 * UNSUPPORTED (precision BF16 on a processor without instructions for it, options of a newer
 * interface), MEMORY, LIMIT (sizes that do not fit into memory), FORKED. *out is then NULL. */
CM_API cm_status cm_sampler_create(cm_model *model, const cm_sampler_options *options, cm_sampler **out);

/* Frees the sampler, or nothing where it is NULL.  No call may be running on it. */
CM_API void cm_sampler_free(cm_sampler *sampler);

/* Fills in the memory that cm_sampler_create would take, without taking it: activation_bytes,
 * and packed_bytes for a model that no sampler has been made from; plan_seconds is 0.  Errors:
 * those of cm_sampler_create.
 *
 *     cm_sampler_info need = CM_SAMPLER_INFO_INIT;
 *     status = cm_sampler_estimate(model, NULL, &need);
 */
CM_API cm_status cm_sampler_estimate(cm_model *model, const cm_sampler_options *options, cm_sampler_info *info);

/* Draws n >= 1 images into `images`, dense float32, n x C x H x W, values in [-1, 1] unless
 * clip_output says no.  options NULL: defaults.  More than max_batch images are computed in
 * several rounds, those of a round together.
 *
 * Errors.  ARGUMENT: an option that has no effect on the method; a number out of range or not
 * finite (s_tmax may be infinite); levels that do not fall or are above the model's, however
 * they were given; labels that the model does not have.  UNSUPPORTED: a model of precond none.
 * LIMIT: n images do not fit into memory.  NUMERIC: noise of the caller's, an evaluation or a
 * result that is not finite; the message names the image of the run (0 .. n - 1), the
 * evaluation, its sigma and the value.  CANCELLED, STATE, MEMORY, FORKED.  After
 * CANCELLED and NUMERIC the contents of `images` are unspecified; the sampler stays usable
 * after every error. */
CM_API cm_status cm_sampler_run(cm_sampler *sampler, const cm_sample_options *options, size_t n, float *images);

/* The same into pictures of any type, layout and strides (image.h); out->n images are drawn.
 * Errors: those of cm_sampler_run; SHAPE where out is not C x H x W.
 *
 *     const cm_images page = cm_images_u8(16, 32, 32, 3, bytes);
 *     status = cm_sampler_run_images(sampler, NULL, &page);
 */
CM_API cm_status cm_sampler_run_images(cm_sampler *sampler, const cm_sample_options *options, const cm_images *out);

/* Asks the call that runs on the sampler (those that draw, and all of edit.h) to stop: from
 * any thread, callback or signal handler, without a lock.  The call returns
 * CM_ERR_CANCELLED within one network evaluation.  Without a running call, or with NULL, it
 * does nothing: the next call is not affected. */
CM_API void cm_sampler_cancel(cm_sampler *sampler);

/* Fills in what the sampler is and takes.  Errors: ARGUMENT. */
CM_API cm_status cm_sampler_info_get(const cm_sampler *sampler, cm_sampler_info *info);

/* Says how many network evaluations an image takes with these options, with RK45 at most.  It refuses what
 * cm_sampler_run refuses, but for what needs the number of images: labels and noise. */
CM_API cm_status cm_sampler_nfe(const cm_sampler *sampler, const cm_sample_options *options, int32_t *nfe);

#ifdef __cplusplus
}
#endif
#endif
