/* settings.h - the public options by name: one table line each. */
#ifndef CM_TRAIN_SETTINGS_H
#define CM_TRAIN_SETTINGS_H

#include <jansson.h>

#include <consistency/trainer.h>

#include "nets/config.h"
#include "train/curriculum.h"
#include "train/ema.h"
#include "train/objective.h"
#include "train/optim.h"

/* The numbers of a run; every member is an option of that name (settings.c), but for the averages, which are "ema".
 */
typedef struct cm_train_settings {
    int32_t objective;        /* cm_train_objective                                            */
    int32_t threads;          /* 0 = the context's                                             */
    int32_t batch;            /* images a step                                                 */
    int32_t microbatch;       /* images in flight a thread: memory against speed; 0 = by rule */
    int32_t sum_microbatches; /* 1: gradients of micro-batches add up instead of averaging,
                                as openai/consistency_models does                        */
    int32_t recompute;        /* > 1: activations are kept at the borders of so many parts of the
                                 network only and computed again inside                         */
    uint64_t seed;
    int64_t steps;     /* K: where schedules end                                      */
    int32_t optimizer; /* 0 radam, 1 adam, 2 adamw, 3 sgd                             */
    double lr;         /* > 0                                                         */
    double beta1, beta2, eps, weight_decay;
    double grad_clip;                 /* largest gradient norm; 0 = not clipped                      */
    int32_t clip_rule;                /* 0 torch's, 1 optax's                                        */
    int64_t warmup_steps;             /* lr rises linearly over them                                 */
    int64_t anneal_begin, anneal_end; /* lr falls linearly between these steps ...       */
    double lr_final;                  /* ... to this factor; anneal_end 0 = constant                 */
    int32_t metric;                   /* cm_train_metric                                             */
    double huber_c;                   /* < 0: the objective's (ict 0.00054 sqrt(D), ect 0)           */
    int32_t sum_pixels;               /* 1: l1 and l2 add up over the values (NVlabs/edm)            */
    int32_t weighting;                /* 0 the objective's, 1 uniform, 2 snr, 3 snr+1, 4 karras, 5 truncated-snr */
    int32_t levels;                   /* edm: noise levels 0 lognormal, 1 vp, 2 ve                   */
    double p_mean, p_std;             /* of ln sigma: edm, ict, ect; exp(p_mean) is at most the model's
                                         sigma_max, with ict at least its sigma_min; p_std 1e-6..10   */
    int32_t ode;                      /* cd: 0 heun, 1 euler                                         */
    int32_t scales_mode;              /* N(k): 0 fixed, 1 progressive, 2 progdist, 3 ict             */
    int32_t start_scales, end_scales; /* s0, s1                                          */
    int64_t distill_steps;            /* pd: steps a stage                                          */
    int32_t mu_mode;                  /* target's rate: 0 fixed, 1 adaptive, 2 adaptive by the paper's formula */
    double mu;                        /* 0 = the target is the online network                        */
    int32_t mapping;                  /* ect: 0 sigmoid, 1 const                                     */
    double ect_q, ect_k, ect_b;
    int32_t ect_stages;
    int64_t ect_stage_steps; /* 0 = steps / ect_stages                                   */
    double rho;              /* curvature of the time points, 0.5..1000                     */
    double dropout;          /* < 0: as the network's configuration says                    */
    double label_dropout;    /* probability of training an image without its label         */
    double flip;             /* probability of mirroring left-right                         */
    double augment;          /* probability of EDM's augmentations; needs augment_dim 9     */
    int32_t skip_nonfinite;  /* steps with a non-finite gradient that may be left out     */
    int32_t ema_count;
    int32_t ema_kind[CM_MAX_EMAS];
    double ema_value[CM_MAX_EMAS], ema_ramp[CM_MAX_EMAS];
    int32_t dtype;         /* as in cm_sampler_options: CM_BF16 = values and data gradients of
                              convolutions by bfloat16 products, with AMX their weight
                              gradients too; weights, gradients' sums, moments and averages
                              are float32. bf16_tile 1 with AMX, else 2,
                              data gradients 3                                        */
    int32_t bf16_emulate;  /* 1: CM_BF16 on any processor                                 */
    int32_t anneal_stages; /* pd: 1 (its default): lr falls linearly to the factor lr_final within
                             every stage and begins anew with the next; the last stage, N = 1,
                             ends with `steps`.  0: one schedule by anneal_begin, anneal_end */
} cm_train_settings;

/* The public handle. */
struct cm_train_options {
    cm_context *context;
    cm_train_settings s;
};

/* Defaults of the objective in o->objective for every field. */
void cm_settings_defaults(cm_train_settings *o);
/* Those of a caller's handle; NULL: the defaults of edm. */
cm_train_settings cm_settings_of(const cm_train_options *options);
/* One by name, from text or a number, and as both.  A call that fails changes nothing. */
enum { CM_SETTING_SIZE = 1024 };
cm_status cm_settings_set(cm_train_settings *o, const char *name, const char *value);
cm_status cm_settings_set_number(cm_train_settings *o, const char *name, double value);
cm_status cm_settings_get(const cm_train_settings *o, const char *name, char text[CM_SETTING_SIZE]);
cm_status cm_settings_get_number(const cm_train_settings *o, const char *name, double *value);
/* All members of an object as cm_settings_json gives it. */
cm_status cm_settings_read(cm_train_settings *options, const json_t *object);
/* All fields; only those that decide the course of training when course is 1. */
json_t *cm_settings_json(const cm_train_settings *o, int course);
/* Ranges, fields without effect on the objective, combinations that cannot be. */
cm_status cm_settings_check(const cm_train_settings *o, int cpu_level);
/* Combinations that are allowed but hardly meant, to the log. */
void cm_settings_warn(const cm_context *context, const cm_train_settings *o);

const cm_objective *cm_settings_objective(const cm_train_settings *o);
/* The same as the parts want them; channels, height, width from the model. */
cm_objective_settings cm_settings_of_objective(const cm_train_settings *o, int32_t channels, int32_t height,
                                               int32_t width);
cm_curriculum cm_settings_of_curriculum(const cm_train_settings *o);
cm_optim cm_settings_of_optim(const cm_train_settings *o);
/* "0.999", "warmup-0.999", "halflife-500000" of average i. */
void cm_settings_ema_name(const cm_train_settings *o, int i, char *out, size_t size);

/* presets.c: name, what it is, where its numbers are from, objective and fields as
 * "a=1 b=2", network. */
typedef struct cm_preset {
    const char *name, *about, *source, *fields, *config;
} cm_preset;
const cm_preset *cm_preset_at(size_t index);
cm_status cm_preset_apply(cm_train_settings *o, const char *name);
/* ARGUMENT, with every difference, when this is another network than the preset's. */
cm_status cm_preset_check(const char *name, const cm_net_config *net);

#endif
