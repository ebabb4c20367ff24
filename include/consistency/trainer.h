/* trainer.h - networks learn.
 *
 * A trainer owns its own copy of the weights of the model it begins with, an
 * optimizer, averages of the weights, and (where the objective has one) a target
 * network and a teacher.  Everything it draws is a function of (seed, step, image):
 * the same options, data and starting weights give the same bytes for 1 to 8
 * threads, and a resumed run the same as one that never stopped.
 *
 * Threads: one call at a time on a trainer, from any thread; a second one gets STATE, so
 * a snapshot or checkpoint never holds half a step.  cm_trainer_cancel, cm_trainer_steps
 * and cm_trainer_bytes may be called at any time.  The callback of cm_trainer_run may,
 * on its own thread, call cm_trainer_model and cm_trainer_save too: it stands between two
 * steps.  The models, the dataset and the trainer's snapshots stay the caller's to free.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_TRAINER_H
#define CONSISTENCY_TRAINER_H

#include "dataset.h"
#include "group.h"
#include "image.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A network that learns.  It is the caller's, ends with cm_trainer_free, and keeps what it needs of the models, the
 * options and the context that it was made with. */
typedef struct cm_trainer cm_trainer;

/* clang-format off */
/* What is minimised, as a mean over the images of a step.  x0 is an image of the data and z unit normal noise.
 * D(x, t) is the model's estimate at noise level t (cm_model_denoise); with preconditioning cm or ecm it is the
 * consistency function f.  phi are the teacher's weights; a target f^- has weights through which no gradient runs.
 * d is the distance (cm_distance), w the weight (cm_loss_weighting), and n(t) the mapping (cm_ect_mapping).
 * t(i) = (sigma_max^(1/rho) + i/(N-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho, with N of cm_scales_mode.
 *
 *   edm   w(t) d(D(x0 + t z, t), x0), with ln t ~ N(p_mean, p_std^2).
 *         The denoising loss of Karras et al. 2022 (arXiv 2206.00364).
 *   cd    w(t) d(f(x_t, t), f^-(x', t')), with x_t = x0 + t z, t = t(i), t' = t(i+1) and i uniform on 0..N-2.
 *         x' is one step of `ode` from x_t to t' along dx/dt = (x - D_phi(x, t)) / t.  The weights of f^- are
 *         the average mu f^- + (1 - mu) f, taken after each step.
 *         Algorithm 2, consistency distillation, of Song et al. 2023 (arXiv 2303.01469).
 *   ct    The same with x' = x0 + t' z, so without a teacher.
 *         Algorithm 3, consistency training, of Song et al. 2023.
 *   pd    w(t) d(D(x_t, t), x_t - t (x'' - x_t) / (t'' - t)), where x'' is two Euler steps of the teacher from
 *         x_t over t' to t''.  The three levels are half a step apart on a grid of N steps.  After
 *         distill_steps the student becomes the teacher and N is halved.
 *         Algorithm 2, progressive distillation, of Salimans and Ho 2022 (arXiv 2202.00512).
 *   ict   d(f(x0 + t z, t), f^-(x0 + t' z, t')) / (t - t'), where f^- has the weights of this step.  The pair of
 *         neighbours t > t' among the N levels has the probability that ln of a level of
 *         N(p_mean, p_std^2) falls between ln t' and ln t.
 *         Improved consistency training of Song and Dhariwal 2023 (arXiv 2310.14189).
 *   ect   d(f(x0 + t z, t), f^-(x0 + r z, r)) / (t - r), with ln t ~ N(p_mean, p_std^2),
 *         r = max(t (1 - n(t) / q^(stage + 1)), 0), and f^-(x0, 0) = x0; f^- has the weights of this step.
 *         Easy consistency tuning of Geng et al. 2024 (arXiv 2406.14548).
 *   ccd   |e| with e = -df/dt along the teacher's ODE, the derivative of f at (x0 + t z, t) in the direction
 *         (-dx/dt, -1), dx/dt = (x - D_phi(x, t)) / t and t^(1/rho) uniform.  |e| is that of `distance`: of l2 the
 *         root of the sum of squares, or with `squared` their sum.  With stop_gradient e is a constant, and the
 *         gradient is the one of <-H e, f>, where H is the Hessian of the distance of equal images: the identity for
 *         l2, 1/c for pseudo-huber.  Of lpips the loss is <e, H e> with H at f, and without stop_gradient its
 *         gradient passes through H as well.
 *         Consistency distillation in continuous time of Song et al. 2023, appendix B.1.
 *   cct   The same with x0 for D_phi, so without a teacher: appendix B.2.
 *   cmt   The mean over j = 0..m-1 of d(f(x_j, t_j), x_m), with x_0 = x0 + sigma_max z, m = cmt_nfe and
 *         t_j = sigma_max (sigma_min/sigma_max)^(j/m); x_1..x_m are the steps of DPM-Solver++ of order cmt_order
 *         (CM_METHOD_DPMPP) along the teacher's ODE.  An image gives m pairs: batch, microbatch and the images of a
 *         report count pairs, so a step of batch b takes b / m images, rounded down.
 *         Consistency mid-training of Hu et al. 2025 (arXiv 2509.24526), which ect follows.
 *   sct   exp(w(t)) mean (F - F^- - g / (|g| + c))^2 - w(t) on TrigFlow's axis: x_t = cos t x0 + sin t sigma_data z
 *         with sigma_data tan t lognormal (p_mean, p_std), g = -cos^2 t (sigma_data F^- - v)
 *         - r (cos t sin t x_t + sigma_data J), v = cos t sigma_data z - sin t x0 and J the derivative of F^- in the
 *         direction cos t sin t (v / sigma_data, 1).  r rises from 0 to 1 in tangent_warmup steps; c is tangent_c;
 *         w is weight_net.  F is the network of a model with precond trigflow, and minus that of one of edm, cm or
 *         ecm, which then becomes ecm.
 *         Continuous-time consistency training of Lu and Song 2024 (arXiv 2410.11081), Algorithm 1.
 *   scd   The same with v = sigma_data F_phi: distillation.  With guidance w v is v_u + w (v_c - v_u) for t / (pi / 2)
 *         between guidance_from and guidance_to, where v_c and v_u are the teacher's with the image's label and
 *         without one, and v_c elsewhere; for images whose label is dropped it is v_u.  The model is then sampled
 *         without guidance.  The teacher has to know "no label": train it with label_dropout.
 *   dscd  The same with the difference of F^- over one step of the teacher from t to t' for J; t'/t is uniform
 *         between discrete_from and discrete_to.  Appendix E.
 *   tcm   w(t, r) d(f(x0 + t z, t), f^-(x0 + r z, r)), with ln t ~ N(p_mean, p_std^2) between sigma_min and sigma_max,
 *         r = max(t (1 - max(q^-(stage + 1), 1 - ratio_limit) n(t)), 1e-6), and w of pair_weighting; f^- has the
 *         weights of this step.  With a teacher x0 + r z is one Euler step from x0 + t z to r along its ODE.
 *         The first stage of truncated consistency, Lee et al. 2025 (arXiv 2410.14895).
 *   tcm2  The same with ln t = p_mean + p_std T, where T is of Student's distribution with student_nu degrees of
 *         freedom, t between transition and sigma_max.  Where r < transition, f^- is the teacher: the network of the
 *         first stage, frozen, with the dropout of f.  Of a step of b images floor(boundary_share b), chosen at
 *         random, have t = transition + 1e-8, and the loss is the mean over the others plus boundary_weight times
 *         the mean over these.  What is trained is sampled from alone.
 *   meanflow  l / (l + adaptive_eps)^adaptive_p, the divisor a constant, with l = |u - (v - (t - r) u')|^2, u the
 *         network at (x_t, t, r), x_t = (1 - t) x0 + t z, v = z - x0 and u' without gradient the derivative of u in
 *         the direction (v, 1, 0); ln(t / (1 - t)) is normal (p_mean, p_std), r by flow_sampler.  The model has two
 *         times and precond average-velocity.  Geng et al. 2025 (arXiv 2505.13447).
 *         With guidance w and guidance_mix k, other than 1 and 0, v is w (z - x0) + (1 - w - k) v_u + k v_c for images
 *         that keep their label (label_dropout) and have t between guidance_from and guidance_to, in the target and in
 *         the direction: v_u and v_c are the network at (x_t, t, t) without and with the label, without dropout.  The
 *         model is then sampled without guidance, by one evaluation a step.  It has to know "no label", and a step
 *         needs labels; else CM_ERR_ARGUMENT.
 *   imeanflow  The sum of that loss of |u + (t - r) u' - v_g|^2 and that of |v_c - v_g|^2 over the two outputs u and
 *         v_c of a network with conditions; u' is in the direction (v_c, 1, 0) and v_g = v + (1 - 1/w) (v_c - v_u),
 *         with v_c and v_u of the second output at (x_t, t, t), without dropout, with and without the label.  w has
 *         the density w^-guidance_beta between 1 and 8, and is 1 outside of times [a, b], a uniform below 1/2 and b
 *         above, but where r = t, which has w at all times.  The network is told w, a and b.
 *         Improved MeanFlow, Geng et al. 2025 (arXiv 2512.02012).
 *   soflow  The network N(x_t; t, s) says where the flow through x_t is at s < t: f = x_t + (s - t) N.  With x_t and v
 *         as in meanflow, l = t + (s - t) ratio, x_l = x_t + v (l - t) and q = (f(x_t, t, s) - f(x_l, l, s)) / (t - l)
 *         the gradient by N(x_t; t, s) is -q (mean q^2 + adaptive_eps)^-adaptive_p, over the values; N(x_l; l, s) has the
 *         same dropout.  The first velocity_share of the images of a step, rounded down, learn N(x_t; t, t) = v by
 *         |N - v|^2 with such a weight.  The loss is the weighted mean square of q or N - v.  ln(t / (1 - t)) is normal
 *         (p_mean, p_std), that of s (r_mean, r_std) and that of the velocity (velocity_mean, velocity_std); t is at
 *         least 1e-4, and s and l at most t - 1e-4.  ratio goes by ratio_schedule over the steps.  With guidance w and
 *         guidance_mix k v is (1 - k) (v + c (w - 1) (v - v_u)) + k v_c for images that keep their label, where v_u and
 *         v_c are as in meanflow, c is 1 up to guidance_decay and falls to 0 at t = 1.  The model is as in meanflow.
 */
/* clang-format on */
typedef enum cm_train_objective {
    CM_TRAIN_EDM = 0,       /* denoising, the diffusion teacher         */
    CM_TRAIN_CD = 1,        /* consistency distillation; needs a teacher */
    CM_TRAIN_CT = 2,        /* consistency training                      */
    CM_TRAIN_PD = 3,        /* progressive distillation; needs a teacher */
    CM_TRAIN_ICT = 4,       /* improved consistency training             */
    CM_TRAIN_ECT = 5,       /* easy consistency tuning                   */
    CM_TRAIN_CCD = 6,       /* consistency distillation in continuous time; needs a teacher */
    CM_TRAIN_CCT = 7,       /* consistency training in continuous time   */
    CM_TRAIN_CMT = 8,       /* mid-training on trajectories; needs a teacher */
    CM_TRAIN_SCT = 9,       /* sCT, training on TrigFlow's axis          */
    CM_TRAIN_SCD = 10,      /* sCD, distillation there; needs a teacher  */
    CM_TRAIN_DSCD = 11,     /* its discrete form; needs a teacher        */
    CM_TRAIN_TCM = 12,      /* truncated consistency, first stage; takes a teacher */
    CM_TRAIN_TCM2 = 13,     /* its second stage; the teacher is the first stage */
    CM_TRAIN_MEANFLOW = 14, /* the mean velocity between two times */
    CM_TRAIN_SOFLOW = 15,   /* the solution function of a flow */
    CM_TRAIN_IMEANFLOW = 16 /* the mean velocity by networks that are told of guidance */
} cm_train_objective;

/* Distance of the output from its target, over the D = C H W values of an image. */
typedef enum cm_distance {
    CM_DISTANCE_DEFAULT = 0,      /* l2; with ict, ect, cmt, tcm and tcm2 pseudo-huber */
    CM_DISTANCE_L1 = 1,           /* the mean of |a - b|                          */
    CM_DISTANCE_L2 = 2,           /* the mean of (a - b)^2                        */
    CM_DISTANCE_L2_32 = 3,        /* l2 after both are resized to 32 x 32         */
    CM_DISTANCE_PSEUDO_HUBER = 4, /* sqrt(|a - b|^2 + c^2) - c, c = huber_c       */
    CM_DISTANCE_LPIPS = 5,        /* by a network: lpips_weights (metrics.h)      */
    CM_DISTANCE_LINF = 6          /* the largest |a - b|                          */
} cm_distance;

/* How weights follow from gradients; the moments are float32. */
typedef enum cm_optimizer {
    CM_OPTIMIZER_RADAM = 0, /* Liu et al. 2020           */
    CM_OPTIMIZER_ADAM = 1,  /* Kingma and Ba 2015        */
    CM_OPTIMIZER_ADAMW = 2, /* Loshchilov and Hutter 2019 */
    CM_OPTIMIZER_SGD = 3
} cm_optimizer;

/* What a gradient of norm g is multiplied by so that its norm is at most grad_clip = c. */
typedef enum cm_clip_rule {
    CM_CLIP_RULE_TORCH = 0, /* min(c / (g + 1e-6), 1) */
    CM_CLIP_RULE_OPTAX = 1  /* min(c / g, 1)          */
} cm_clip_rule;

/* Weight of the loss at noise level sigma; sigma_data is the model's. */
typedef enum cm_loss_weighting {
    CM_WEIGHTING_DEFAULT = 0,      /* edm karras, pd truncated-snr, cd, ct, ccd and cct uniform */
    CM_WEIGHTING_UNIFORM = 1,      /* 1                                               */
    CM_WEIGHTING_SNR = 2,          /* 1 / sigma^2                                     */
    CM_WEIGHTING_SNR_PLUS_1 = 3,   /* 1 / sigma^2 + 1                                 */
    CM_WEIGHTING_KARRAS = 4,       /* 1 / sigma^2 + 1 / sigma_data^2                  */
    CM_WEIGHTING_TRUNCATED_SNR = 5 /* max(1 / sigma^2, 1)                             */
} cm_loss_weighting;

/* Noise levels of denoising. */
typedef enum cm_noise_levels {
    CM_LEVELS_LOGNORMAL = 0, /* ln sigma ~ N(p_mean, p_std^2)              */
    CM_LEVELS_VP = 1,        /* the variance preserving process of NVlabs/edm */
    CM_LEVELS_VE = 2         /* the variance exploding process             */
} cm_noise_levels;

/* The step by which cd follows the teacher. */
typedef enum cm_ode {
    CM_ODE_HEUN = 0, /* second order, two evaluations */
    CM_ODE_EULER = 1 /* first order, one evaluation   */
} cm_ode;

/* N(k), the number of time points at step k of K. */
typedef enum cm_scales_mode {
    CM_SCALES_FIXED = 0,       /* start_scales                                                       */
    CM_SCALES_PROGRESSIVE = 1, /* ceil(sqrt(k/K ((s1 + 1)^2 - s0^2) + s0^2) - 1) + 1: Song et al. 2023 */
    CM_SCALES_PROGDIST = 2,    /* halved every distill_steps, pd alone                                */
    CM_SCALES_ICT = 3          /* min(s0 2^floor(k/K'), s1) + 1: Song and Dhariwal 2023               */
} cm_scales_mode;

/* Rate of the target network's average. */
typedef enum cm_mu_mode {
    CM_MU_FIXED = 0,         /* mu                                                  */
    CM_MU_ADAPTIVE = 1,      /* exp(s0 ln(mu) / (N - 1)), as the published code has it */
    CM_MU_ADAPTIVE_PAPER = 2 /* exp(s0 ln(mu) / N), as Song et al. 2023 write it    */
} cm_mu_mode;

/* n(t) of ect, in r = t (1 - n(t) / q^(stage + 1)), of tcm and of tcm2. */
typedef enum cm_ect_mapping {
    CM_MAPPING_SIGMOID = 0, /* 1 + k sigmoid(-b t) */
    CM_MAPPING_CONST = 1    /* 1                   */
} cm_ect_mapping;

/* Weight of a loss that compares the levels t and r; c_out(t) = t sigma_data / sqrt(t^2 + sigma_data^2). */
typedef enum cm_pair_weighting {
    CM_PAIR_GAP = 0,           /* 1 / (t - r)                 */
    CM_PAIR_ROOT_GAP = 1,      /* 1 / sqrt(t - r)             */
    CM_PAIR_C_OUT = 2,         /* 1 / c_out(t)                */
    CM_PAIR_C_OUT_SQUARED = 3, /* 1 / c_out(t)^2              */
    CM_PAIR_ONE = 4,           /* 1                           */
    CM_PAIR_KARRAS = 5         /* 1 / t^2 + 1 / sigma_data^2  */
} cm_pair_weighting;

/* At most so many averages of the weights beside the weights themselves; each takes their memory. */
enum { CM_MAX_EMAS = 8 };

/* The options of a run: a handle with one value for each name.  A new handle has the defaults of objective edm;
 * setting "objective" brings the defaults of that one, and "threads", "batch", "seed" and "steps" stay.  An option
 * that the chosen objective, optimizer or mode does not use has to stand at its default: cm_train_options_check and
 * cm_trainer_create say ARGUMENT.
 *
 *     cm_train_options *options;
 *     cm_status status = cm_train_options_create(context, &options);
 *     if (status == CM_OK) status = cm_train_options_set(options, "objective", "ect");
 *     if (status == CM_OK) status = cm_train_options_set_number(options, "lr", 1e-4);
 *     ...
 *     cm_train_options_free(options);
 *
 * These are the names, with the defaults of objective edm (cm_train_option_default has those of the others);
 * "of LIST" means the names of a list of cm_choice_name, or their numbers.  Which objectives read an option,
 * cm_train_option_describe says.
 *
 *   name              default         range, meaning
 *   objective         edm             of objectives.  What the network learns.
 *   threads           auto            0..256.  Threads of a step; auto: those of the context.
 *   batch             64              1..1048576.  Images a step.
 *   microbatch        auto            0..65536.  Images that a thread takes through the networks at once,
 *                                     memory against speed; auto: an eighth of the batch, 4 to 16.
 *   sum_microbatches  0               0 or 1.  1: the gradients of micro-batches are added instead of averaged,
 *                                     as openai/consistency_models does.
 *   recompute         0               0..1000.  Above 1: activations are kept at the borders of so many parts
 *                                     of the network only and computed again inside, for less memory and more
 *                                     time.
 *   micro_shards      auto            0..1024.  Parts of a step's micro-batches whose gradients are added by
 *                                     pairs, so that the bits are the same for every number of processes of
 *                                     which this is a multiple by a power of two; auto: one a process.
 *   compare_every     100             0 up.  Steps between comparisons of what the processes of a group hold,
 *                                     by its hash; 0, or alone: none.
 *   split_state       0               0 or 1.  1: each process of a group holds its part of moments and
 *                                     averages, and writes it to checkpoints; alone: all.
 *   seed              0               0 up.  Seed of noise, levels, flips, dropout and of fresh weights.
 *   steps             10000           1 up.  Steps of the whole run, where schedules end.
 *   optimizer         adam            of optimizers.  The rule by which gradients change weights.
 *   lr                0.001           above 0 to 1000000.  Learning rate after the warm-up and before
 *                                     annealing.
 *   beta1             0.9             0..1.  Memory of the first moment, below 1; not of sgd.
 *   beta2             0.999           0..1.  Memory of the second moment, below 1; not of sgd.
 *   eps               1e-8            0..1.  Added to the root of the second moment; not of sgd.
 *   weight_decay      0               0..1000.  Decay of the weights: apart from the gradient with adamw, added
 *                                     to it with the others.
 *   grad_clip         0               0 up.  Largest norm of the gradient; 0: not clipped.
 *   clip_rule         torch           of clip_rules.  How a gradient is clipped.
 *   warmup_steps      0               0 up.  Steps in which the learning rate rises linearly to lr.
 *   lr_decay_steps    0               0 up.  Step from which the learning rate falls with the root of the
 *                                     steps, as EDM2's does: lr / sqrt(max(k / lr_decay_steps, 1)) in step k;
 *                                     0: it does not.
 *   anneal_begin      0               0 up.  Step from which the learning rate falls linearly.
 *   anneal_end        0               0 up.  Step at which it has fallen; 0: it stays as it is.
 *   lr_final          0               0..1.  The factor of lr at the end of annealing.
 *   anneal_stages     0               0 or 1.  1: the learning rate falls to lr_final times lr within every
 *                                     stage and begins anew with the next.
 *   distance          default         of distances.  Distance of the output from its target.
 *   huber_c           auto            0..1000000.  The constant c of pseudo-huber; auto: 0.00054 sqrt(C H W)
 *                                     with ict, 1e-8 with tcm and tcm2, 0 with the others.
 *   lpips_weights     ""              text.  The file of the network of distance lpips: torchvision's vgg16,
 *                                     alexnet or squeezenet1_1.
 *   lpips_lin         ""              text.  The file of how much its channels count; empty: lpips_weights
 *                                     holds that too.
 *   lpips_pooling     mean            of lpips_poolings.  What becomes of the windows of that network.
 *   lpips_resize      small           of lpips_resizes.  Which images are resized for it.
 *   sum_pixels        0               0 or 1.  1: l1 and l2 add up over the values of an image, as NVlabs/edm
 *                                     does.
 *   weighting         default         of weightings.  Weight of the loss by noise level.
 *   levels            lognormal       of noise_levels.  Where noise levels are drawn from.
 *   p_mean            -1.2            -20..20.  Mean of ln sigma, where exp(p_mean) is at most the model's
 *                                     sigma_max; with meanflow, imeanflow and soflow of ln(t / (1 - t)).
 *   p_std             1.2             1e-06..10.  Standard deviation of ln sigma; with meanflow, imeanflow and
 *                                     soflow of ln(t / (1 - t)).
 *   ode               heun            of odes.  The step with which the teacher is followed.
 *   scales_mode       fixed           of scales_modes.  How the number N of time points changes.
 *   start_scales      18              2..1048576.  N at the beginning, s0.
 *   end_scales        18              2..1048576.  N at the end, s1.
 *   distill_steps     1000            1 up.  Steps of a stage of progressive distillation.
 *   mu_mode           fixed           of mu_modes.  How the rate of the target network changes.
 *   mu                0               0..1.  Rate of the target network's average, mu or mu0; 0: the target has
 *                                     the weights that learn.
 *   mapping           sigmoid         of ect_mappings.  The function n(t) in r = t (1 - n(t) / q^(stage + 1)).
 *   ect_q             2               1.0001..1000000000.  The base q of the mapping.
 *   ect_k             8               0..1000000.  The height k of the mapping sigmoid.
 *   ect_b             1               0..1000000.  The steepness b of the mapping sigmoid.
 *   ect_stages        8               1..1000.  Stages of the mapping.
 *   ect_stage_steps   auto            0 up.  Steps of a stage; auto: steps / ect_stages.
 *   ect_first_stage   0               0..1000.  The stage that the run begins with.
 *   pair_weighting    gap             of pair_weightings.  Weight of the loss between the levels t and r.
 *   ratio_limit       0.999           0..1.  The largest r/t before n(t) enters: q^-(stage + 1) is at least 1
 *                                     less it.
 *   student_nu        0.01            0.0001..1000.  Degrees of freedom of Student's distribution, p_mean +
 *                                     p_std T of which is ln t.
 *   transition        1               above 0 to 1000000.  The border of the second stage: the network learns
 *                                     above it, the first stage's answers below.
 *   boundary_share    0.25            0..1.  Share of the images that are learnt at the border, rounded down;
 *                                     where that is none, the probability.
 *   boundary_weight   0.1             0..1000000.  Weight of their mean loss beside the mean of the others.
 *   cmt_nfe           16              1..1000.  Steps of the teacher's trajectory of an image, each of which is
 *                                     a pair; batch counts pairs.
 *   cmt_order         3               1..3.  The order of DPM-Solver++, by which the trajectory is made.
 *   rho               7               0.5..1000.  Curvature of the time points.
 *   stop_gradient     1               0 or 1.  1: the gradient takes the derivative along the trajectory for a
 *                                     constant; 0: it passes through it.
 *   squared           0               0 or 1.  1: distance l2 of continuous time is squared, as the paper
 *                                     writes it; 0: as its code.
 *   scm_form          paper           of scm_forms.  Whose form of the loss of sCM is taken.
 *   tangent_norm      l2              of tangent_norms.  The norm |g| by which the tangent g of sCM is divided.
 *   tangent_c         0.1             0..1000000.  The constant c in g / (|g| + c).
 *   tangent_warmup    10000           0 up.  Steps in which the share of the derivative in the tangent of sCM
 *                                     rises from 0 to 1.
 *   weight_net        none            of weight_nets.  The adaptive weight of the loss of sCM, where the
 *                                     default is fourier, and of edm; it is trained with the network and not
 *                                     saved in the model.
 *   discrete_from     0.9             0..0.999999.  The least t'/t of a step of dscd.
 *   discrete_to       0.99            0..0.999999.  The largest t'/t of a step of dscd.
 *   flow_sampler      v0              of flow_samplers.  How meanflow and imeanflow draw their two times.
 *   r_mean            -2              -20..20.  Mean of ln(r / (1 - r)), r the second time of meanflow,
 *                                     imeanflow and soflow.
 *   r_std             2               1e-06..10.  Its standard deviation.
 *   flow_ratio        0.75            0..1.  Probability that the second time differs from the first.
 *   adaptive_p        0.75            0..4.  The exponent p of (l + adaptive_eps)^p, by which meanflow,
 *                                     imeanflow and soflow divide their loss l.
 *   adaptive_eps      0.001           1e-12..1000000.  What is added to the loss there.
 *   guidance          1               0..1000.  The scale w of guidance, which is learnt: for v, images that
 *                                     keep their label have w v + (1 - w - k) v_u + k v_c in meanflow and (1 -
 *                                     k) (v + (w - 1) (v - v_u)) + k v_c in soflow, with v_u and v_c the
 *                                     network's own velocities without and with the label, and v_u + w (v_c -
 *                                     v_u) in scd and dscd, with the teacher's.
 *   guidance_mix      0               0..0.999999.  The share k of v_c there; the effective scale of meanflow
 *                                     is w / (1 - k).
 *   guidance_from     0               0..1.  The least time t that has guidance; with scd and dscd t / (pi /
 *                                     2), 2 arctan(sigma / sigma_data) / pi.
 *   guidance_to       1               0..1.  The largest time t that has guidance, in the same way.
 *   guidance_decay    1               0..1.  The time t from which on the guidance of soflow falls, to none at
 *                                     t = 1; 1: it does not.
 *   velocity_share    0               0..1.  Share of the images of a step, rounded down, that learn the
 *                                     velocity by flow matching; the others learn pairs of times.
 *   velocity_mean     -0.9            -20..20.  Mean of ln(t / (1 - t)), t the time at which they learn it.
 *   velocity_std      1.6             1e-06..10.  Its standard deviation.
 *   ratio_schedule    exponent        of ratio_schedules.  How the ratio (t - l) / (t - s) of the three times
 *                                     of a pair goes from ratio_begin to ratio_end.
 *   ratio_begin       1               1e-09..1.  The ratio at the beginning of the run.
 *   ratio_end         0.0003125       1e-09..1.  The ratio at its end, 1/3200.
 *   guidance_beta     1               0..8.  The exponent of the density w^-beta, 1 to 8, of the scales that a
 *                                     network with conditions learns.
 *   dropout           auto            0..0.999.  Dropout; auto: as the network's configuration says.
 *   label_dropout     0               0..1.  Probability that an image is learnt without its label.
 *   flip              0               0..1.  Probability that an image is mirrored left to right.
 *   augment           0               0..1.  Probability of EDM's augmentations; the network needs augment_dim
 *                                     9, or 6: then nothing is turned or put upside down, as in the code of
 *                                     MeanFlow and SoFlow.
 *   skip_nonfinite    0               0..1073741824.  Steps with a loss or gradient that is not finite that may
 *                                     be left out.
 *   scrub_gradients   0               0 or 1.  1: in a gradient NaN becomes 0 and an infinity 1e5 of its sign,
 *                                     as NVlabs/edm does.
 *   ema               warmup:0.9999   text.  Averages of the weights, at most 8: RATE, warmup:RATE,
 *                                     halflife:IMAGES, halflife:IMAGES:RAMP, every16:RATE, power:LENGTH or
 *                                     gamma:EXPONENT with commas between them, or none; IMAGES may be a share
 *                                     of the run's, as 4%.
 *   precision         default         of precisions.  What products are computed in.
 *   debug             ""              text.  Settings for tests, which may change with any version, as
 *                                     KEY=NUMBER with commas between them: bf16_tile, bf16_emulate.
 *
 * Options that count steps of a schedule (warmup_steps, lr_decay_steps, anneal_begin, anneal_end, distill_steps,
 * ect_stage_steps, tangent_warmup) take a share of the run too, as "60%": above 0 % and up to 100 %, rounded to whole
 * steps.  It holds for whatever "steps" comes to be, before or after it, until the option gets a number.  Read back
 * (cm_train_options_get, JSON) it is the number of steps.  A half-life of "ema" that is a share is one of steps times
 * batch.
 *
 * Threads: calls that only read (get, json, check, copy, cm_trainer_create) may run at the same time; a call that
 * changes the options must be the only one on them.  A trainer copies what it needs. */
typedef struct cm_train_options cm_train_options;

/* context: its memory hooks are used; NULL means a private one.  *out is the caller's.  Errors: MEMORY, ARGUMENT. */
CM_API cm_status cm_train_options_create(cm_context *context, cm_train_options **out);
/* A second handle with the same values and the same context; *out is the caller's.  Errors: MEMORY, ARGUMENT. */
CM_API cm_status cm_train_options_copy(const cm_train_options *from, cm_train_options **out);
/* Frees the options, or nothing where they are NULL; trainers that were made with them go on. */
CM_API void cm_train_options_free(cm_train_options *options);
/* One option by name from text: numbers, or names where the option is a choice ("objective", "cd"); averages of the
 * weights as "ema", "0.999,warmup:0.999,halflife:500000" or "none".  ARGUMENT: an unknown name, a value out of its
 * range; the message names the option, its range and the nearest name.  A call that fails changes nothing. */
CM_API cm_status cm_train_options_set(cm_train_options *options, const char *name, const char *value);
/* The same from a number: of an option that is a choice the number of its enum; a seed up to 2^53.  ARGUMENT also for
 * "ema", which is text. */
CM_API cm_status cm_train_options_set_number(cm_train_options *options, const char *name, double value);
/* The value as text that cm_train_options_set takes.  Writes at most `size` bytes with the final NUL (text may be
 * NULL when size is 0); *length (may be NULL) is the length of the whole text without the NUL.  ARGUMENT: an unknown
 * name. */
CM_API cm_status cm_train_options_get(const cm_train_options *options, const char *name, char *text, size_t size,
                                      size_t *length);
/* The value as a number.  ARGUMENT: an unknown name, "ema", or a seed above 2^53, which no double holds. */
CM_API cm_status cm_train_options_get_number(const cm_train_options *options, const char *name, double *value);
/* Fills in a named preset: its objective, which brings the defaults of that one, and the options that it names.
 * cm_train_preset_name(i) lists the names, cm_train_preset_about(i) says in a phrase what each is; both are NULL past
 * the end, and their texts are the library's.  ARGUMENT: no such preset; the message has the nearest name. */
CM_API cm_status cm_train_options_preset(cm_train_options *options, const char *name);
CM_API const char *cm_train_preset_name(size_t index);
CM_API const char *cm_train_preset_about(size_t index);
/* Where the numbers of a preset are from: a table of a paper, a published configuration or launch script, or
 * "this library" (runs of docs/recipes.md).  NULL past the end. */
CM_API const char *cm_train_preset_source(size_t index);
/* The JSON of the network that goes with a preset ({"network", "precond", "image"}), with every argument written out,
 * as cm_model_create takes it.  NULL past the end, and for presets of one's own pictures (pictures-*), whose network
 * follows the size, the channels and the classes of the pictures, or is the caller's. */
CM_API const char *cm_train_preset_config(size_t index);
/* Whether the model's network is the preset's.  ARGUMENT: it is another one; the message names every argument that
 * differs with both values.  Dropout and label_dropout do not count, since they are matters of training. */
CM_API cm_status cm_train_preset_check(const char *name, const cm_model *model);
/* All options as one JSON object, names to values, as cm_train_options_read takes it back: the same
 * options and the same text again.  Writes at most `size` bytes with the final NUL (text may be NULL when
 * size is 0); *length is what the whole text needs without the final NUL.  Errors: ARGUMENT, MEMORY. */
CM_API cm_status cm_train_options_json(const cm_train_options *options, char *text, size_t size, size_t *length);
/* Sets the members of such an object, or of a part of it.  What it does not name stays, except that an objective
 * brings its defaults.  Errors: FORMAT where the text is no such object, and those of cm_train_options_set; then
 * nothing is changed. */
CM_API cm_status cm_train_options_read(cm_train_options *options, const char *json);
/* Checks the combinations of values without a model.  Suspicious ones are written to the context's log when a trainer
 * is made.  ARGUMENT: values that do not go together, or an option that the objective does not read. */
CM_API cm_status cm_train_options_check(const cm_train_options *options);

/* --- What options there are ------------------------------------------------------------- */

/* What the value of an option is. */
typedef enum cm_option_kind {
    CM_OPTION_INTEGER = 1, /* a whole number                          */
    CM_OPTION_REAL = 2,    /* a number                                */
    CM_OPTION_CHOICE = 3,  /* a name of a list, or its number         */
    CM_OPTION_FLAG = 4,    /* 0 or 1                                  */
    CM_OPTION_TEXT = 5     /* a text                                  */
} cm_option_kind;

/* What is known of an option.  The texts stand as long as the library. */
typedef struct cm_option_info {
    uint32_t struct_size;
    int32_t kind; /* cm_option_kind */
    const char *name;
    const char *about;       /* one sentence                                                                */
    const char *choices;     /* of a choice the list of cm_choice_name that has the names; else NULL        */
    uint64_t objectives;     /* bit CM_TRAIN_CD is set: it has an effect on cd                              */
    double minimum, maximum; /* of a number and the number of a choice; of a text the largest length or count */
    int32_t above_minimum;   /* 1: the minimum itself is not allowed                                        */
    int32_t takes_auto;      /* 1: "auto" is a value too                                                    */
    int32_t decides_course;  /* 1: a resumed run has to have the same value; 0: it changes speed and memory alone */
    int32_t reserved;        /* 0                                                                           */
    double automatic;        /* the number that cm_train_options_get_number gives for "auto"                */
} cm_option_info;

/* clang-format off */
#define CM_OPTION_INFO_INIT {sizeof(cm_option_info), 0, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0}
/* clang-format on */
/* Fills in what CM_OPTION_INFO_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_option_info_init(cm_option_info *info, size_t struct_size);

/* How many options there are: the functions below take 0 .. count - 1, in the order of the list above.
 * The number is the library's, and a newer library may have more. */
CM_API size_t cm_train_option_count(void);
/* Fills in *info with what is known of option `index`, in the order of the list above; what the caller's
 * struct has no room for is left out.  ARGUMENT: no such option, or a struct without its size. */
CM_API cm_status cm_train_option_describe(size_t index, cm_option_info *info);
/* The default of an option with an objective (cm_train_objective), as cm_train_options_get gives it. */
CM_API cm_status cm_train_option_default(size_t index, int32_t objective, char *text, size_t size, size_t *length);

/* The models of a run; models that later versions need are appended.
 * model: the weights to begin with; NULL with a teacher: the teacher's.
 * teacher: needed by cd, pd, ccd, cmt, scd, dscd and tcm2, taken by tcm, else NULL; of the same image shape and
 * classes (pd, tcm2: the same network).  ccd, cmt, scd, dscd and tcm follow a diffusion model: a consistency model is
 * no teacher there.  That of tcm2 is the network of the first stage, of precond "ecm".
 * group: the processes that train together; NULL: this one alone.  Every one of them makes the same trainer. */
typedef struct cm_train_inputs {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    cm_model *model;
    cm_model *teacher;
    const cm_group *group;
} cm_train_inputs;

/* clang-format off */
#define CM_TRAIN_INPUTS_INIT {sizeof(cm_train_inputs), 0, NULL, NULL, NULL}
/* clang-format on */
/* Fills in what CM_TRAIN_INPUTS_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_train_inputs_init(cm_train_inputs *inputs, size_t struct_size);

/* Makes a trainer:
 *
 *     cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
 *     cm_trainer *trainer = NULL;
 *     inputs.model = model;
 *     cm_status status = cm_trainer_create(&inputs, train_options, &trainer);
 *     if (status == CM_OK) status = cm_trainer_run(trainer, dataset, 1000, NULL, NULL);
 *     if (status == CM_OK) status = cm_trainer_save(trainer, "run", 2);
 *     cm_trainer_free(trainer);
 *
 * options NULL: the defaults of objective edm.  Models and options may be freed at once: the trainer
 * keeps what it needs.  The trained model gets the objective's preconditioning: edm and pd "edm", cd, ct, ict, ccd
 * and cct "cm", ect, cmt, sct, scd, dscd, tcm and tcm2 "ecm".  One of precond trigflow or trigflow-edm becomes
 * "trigflow-edm" with edm and "trigflow" with sct, scd and dscd; one of average-velocity keeps it with meanflow,
 * imeanflow and soflow, which take no other; every other pair is an ARGUMENT error.  Cannot be cancelled: 5 s of a
 * processor for a network of 220 MB.  Errors: ARGUMENT, SHAPE (teacher does not fit), MEMORY. */
CM_API cm_status cm_trainer_create(const cm_train_inputs *inputs, const cm_train_options *options, cm_trainer **out);
/* Frees the trainer, or nothing where it is NULL, and gives its directories back.  No call may run on it. */
CM_API void cm_trainer_free(cm_trainer *trainer);
/* What cm_trainer_bytes would say of that trainer, without making it: nothing of that
 * size is allocated.  The model's own weights and two batches of pictures come on top.  Errors as of
 * cm_trainer_create. */
CM_API cm_status cm_trainer_estimate(const cm_train_inputs *inputs, const cm_train_options *options, uint64_t *bytes);

/* Whether a run with these options can be fed from the data set.  It is the comparison that cm_trainer_run makes
 * first, for programs that have no trainer yet.  model: the one that learns.
 * SHAPE: images of another size or number of channels.  ARGUMENT: a class the network
 * does not know, no labels where it needs them, fewer images than a batch. */
CM_API cm_status cm_train_data_check(const cm_model *model, const cm_dataset *dataset,
                                     const cm_train_options *options);

/* What a step did.  Members that the objective has no use for are 0. */
typedef struct cm_train_report {
    uint32_t struct_size;
    int32_t scales; /* N of this step; 0 where the objective has none */
    int64_t step;   /* steps taken, this one included                 */
    /* Images seen so far, those of this step included. */
    uint64_t images;
    double loss;                /* mean over the images of the step, weights of the loss included */
    double grad_norm;           /* Euclidean norm of all gradients, before grad_clip                */
    double lr;                  /* learning rate of this step                                       */
    double mu;                  /* rate of the target network's average; 1 keeps it                 */
    int32_t ect_stage, skipped; /* stage of ect; steps left out so far by skip_nonfinite            */
    double seconds;             /* of this step                                  */
    double data_wait;           /* of them waiting for data                      */
    uint64_t peak_bytes;        /* largest resident size of the process so far */
    double group_wait;          /* of the seconds waiting for the other processes of a group */
} cm_train_report;

/* clang-format off */
#define CM_TRAIN_REPORT_INIT {sizeof(cm_train_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
/* clang-format on */
/* Fills in the defaults that CM_TRAIN_REPORT_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_train_report_init(cm_train_report *report, size_t struct_size);

/* One step on the caller's images: 1 to 1048576 of C x H x W, of any type, layout and strides (float32 in [-1, 1] or
 * bytes); condition->labels: one an image (-1 = none), or NULL.  The number may be another than the option batch and
 * may change from step to step: loss and gradient are means over the images of the step, and micro-batches are cut
 * from them.  The schedules of lr, N, mu and of the averages rate, warmup, power and every16 count steps; half-lives,
 * `images` of the report and the numbers that noise, levels, flips and dropout are drawn by count images.  So a step
 * of n images gives the bits of a trainer with batch n and the same microbatch that has taken as many steps and
 * images. More images than batch take more memory than cm_trainer_bytes says, and images that are not dense float32
 * in the planar layout a buffer that the trainer keeps for further steps.  A failing step leaves the trainer as it
 * was. Errors: ARGUMENT (a label the network does not know, no labels where it needs them, the number of images),
 * SHAPE (images of another size), MEMORY, CANCELLED, STATE.  NUMERIC: a loss or gradient that is not finite, the
 * message names step and tensor; or an image that is not, whatever skip_nonfinite says. */
CM_API cm_status cm_trainer_step(cm_trainer *trainer, const cm_images *images, const cm_condition *condition,
                                 cm_train_report *report);

/* Is called after every step; a result other than 0 stops the run with CM_ERR_CANCELLED.  Of this trainer it may call
 * cm_trainer_model, _save, _steps, _bytes and _cancel.  It must not use the run's data set. */
typedef int32_t (*cm_train_fn)(void *user, const cm_train_report *report);
/* Takes steps until the trainer has taken `until` in all, at least 1.  A thread of the call reads batches ahead.
 * First the data set is compared with the network, as cm_train_data_check does.  The data set's names of classes go
 * into every snapshot and checkpoint from then on (cm_model_class_name); the log warns where the model or the teacher
 * has others.  progress may be NULL.
 * Errors: SHAPE: images of another size.  ARGUMENT: a class that the network does not know, fewer images than a
 * batch, other numbers for class names than the run has had, or until below 1.  CANCELLED; those of reading the data
 * (IO, FORMAT); those of cm_trainer_step.  The trainer is then as after the last whole step. */
CM_API cm_status cm_trainer_run(cm_trainer *trainer, cm_dataset *dataset, int64_t until, cm_train_fn progress,
                                void *user);
/* Asks a running cm_trainer_step or cm_trainer_run to stop; any thread or signal handler may call it.  Wherever the
 * call is (reading data, between two steps, in its callback), it returns CM_ERR_CANCELLED within one network
 * evaluation or the reading of one picture, and the trainer is as after the last whole step.  A step whose weights
 * are being changed is finished: cm_trainer_step then returns CM_OK, and cm_trainer_run stops after it.  Where no
 * call runs, the next one is not affected.  A save is never cut short. */
CM_API void cm_trainer_cancel(cm_trainer *trainer);

/* Which weights a snapshot has. */
typedef enum cm_weights_of {
    CM_WEIGHTS_ONLINE = 0, /* those that the optimizer changes         */
    CM_WEIGHTS_EMA = 1,    /* average number `index` of option "ema"    */
    CM_WEIGHTS_TARGET = 2  /* the target network's, of cd and ct        */
} cm_weights_of;
/* A snapshot that samplers can use: a model that later steps do not change.  weights: cm_weights_of; index: of an
 * average, else 0.  *out is the caller's to free.  STATE: the objective has no target network, or the trainer is at
 * work.  ARGUMENT: no such average.  MEMORY.  With the option split_state a call for an average is one of all ranks
 * of the group (group.h), and every one gets the model. */
CM_API cm_status cm_trainer_model(cm_trainer *trainer, int32_t weights, int32_t index, cm_model **out);

/* The average that cm_average_reconstruct makes. */
typedef struct cm_average_options {
    uint32_t struct_size;
    int32_t reserved; /* must be 0 */
    double std;       /* the width, above 0 and below 0.28: it has no default                               */
    double images;    /* after how many images it ends, at most as many as the latest file; 0: as that file */
    /* Called during the call, on its thread, while files are opened and before each tensor is added, with how much is
     * done and how much there is in all; done never falls and ends at the total.  Non-zero stops the call, which
     * returns CM_ERR_CANCELLED. */
    cm_progress_fn progress;
    void *progress_user;
} cm_average_options;

/* clang-format off */
#define CM_AVERAGE_OPTIONS_INIT {sizeof(cm_average_options), 0, 0, 0, NULL, NULL}
/* clang-format on */
/* Fills in what CM_AVERAGE_OPTIONS_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_average_options_init(cm_average_options *options, size_t struct_size);

/* A power-function average of any width, after a run (Karras et al. 2024): the sum of stored averages that is nearest
 * to it.  `paths` are n files of such averages, 1 to 1000, of one network: ema-power-*.safetensors of a run's
 * checkpoints (option ema: power:STD, best two of them, 0.05 and 0.1; keep 0 keeps all checkpoints), snapshots of
 * cm_trainer_model, or EDM2's own, called NAME-KIMG-STD.pkl.  They may have any widths and ends; more of them come
 * nearer; those of step 0 are passed over.  The weights of the sum are solved for in extended precision with
 * pivoting, since stored averages are nearly dependent.  *out is the caller's to free and needs no file any more.
 * Memory: the weights twice.  Errors: ARGUMENT (a NULL, a width or an end out of range, the same average twice),
 * FORMAT (a file that says nothing of its average, or what no average is), SHAPE (another network), those of
 * cm_model_load, LIMIT (more files), CANCELLED, MEMORY, NUMERIC.
 *
 *     const char *const files[2] = {"ema-power-0.05.safetensors", "ema-power-0.1.safetensors"};
 *     cm_average_options options = CM_AVERAGE_OPTIONS_INIT;
 *     options.std = 0.07;
 *     status = cm_average_reconstruct(context, files, 2, &options, &model);
 */
CM_API cm_status cm_average_reconstruct(cm_context *context, const char *const *paths, size_t n,
                                        const cm_average_options *options, cm_model **out);

/* Steps taken so far, those of a checkpoint that was resumed included; during a run those that are
 * complete.  May be called at any time, from any thread.  ARGUMENT: a NULL. */
CM_API cm_status cm_trainer_steps(const cm_trainer *trainer, uint64_t *steps);

/* The bytes that this trainer takes for weights, averages, moments, gradients and the activations of `threads`
 * threads, for steps of at most `batch` images.  May be called at any time.  ARGUMENT: a NULL. */
CM_API cm_status cm_trainer_bytes(const cm_trainer *trainer, uint64_t *bytes);

/* Writes a checkpoint into the directory `run`, which is made where it does not exist.  The checkpoint is the folder
 * run/checkpoints/step-NNNNNNNNN.  It is whole or not there at all, and holds hashes of its files.
 * run/checkpoints/LATEST names the newest one.  The last `keep` are kept; 0 keeps all, and 1 keeps 2.
 * Every directory that a trainer saves to or resumes from is locked until the trainer is freed.  Another trainer, of
 * this process or any other, gets STATE.  A lock takes a file descriptor, and a child that is forked and does not
 * exec holds it too.
 * A save cannot be cancelled.  It takes as long as the disk needs to write and flush weights, averages and moments
 * (cm_trainer_bytes is an upper bound), and to read each back once.
 * Errors: IO, and the trainer can be used and saved again; STATE; MEMORY; ARGUMENT. */
CM_API cm_status cm_trainer_save(cm_trainer *trainer, const char *run, int32_t keep);
/* Which differences between a checkpoint and the trainer are taken. */
typedef enum cm_resume_changes {
    CM_RESUME_SAME = 0,      /* everything as the checkpoint has it            */
    CM_RESUME_ANY = 1,       /* other options and data are taken, with a warning */
    CM_RESUME_MORE_STEPS = 2 /* `steps` alone may be more than the checkpoint's */
} cm_resume_changes;
/* Continues from the newest checkpoint of `run` whose files are undamaged; a damaged newer one is named in the log.
 * dataset (may be NULL): the set that will be used, which is compared with the checkpoint's.
 * allow_changes: cm_resume_changes.  The options that decide the course of training (decides_course of
 * cm_option_info) have to be the checkpoint's.  An option of the checkpoint that this library does not know is a
 * difference, and one that the checkpoint lacks had its default.  Errors: ARGUMENT lists the differences, those of
 * options before those of the data, or names the first class whose number differs (with CM_RESUME_ANY the data set's
 * are taken).  With CM_RESUME_ANY an average of "ema" that the checkpoint has not under its name goes on from the one
 * of its form in its place; IO where there is none.  STATE: there is no checkpoint, or the directory is locked.
 * FORMAT: no checkpoint is undamaged. SHAPE: the checkpoint's network is another one.  IO, MEMORY.  After SHAPE, IO
 * or MEMORY the weights may be those of neither: resume again, or free the trainer. */
CM_API cm_status cm_trainer_resume(cm_trainer *trainer, const char *run, const cm_dataset *dataset,
                                   int32_t allow_changes);

#ifdef __cplusplus
}
#endif
#endif
