/* settings.h - the numbers of a run, and the public handle around them. */
#ifndef CM_TRAIN_SETTINGS_H
#define CM_TRAIN_SETTINGS_H

#include <jansson.h>

#include <consistency/trainer.h>

#include "graph/arithmetic.h"
#include "train/averages.h"

enum { CM_DEBUG_SIZE = 64, CM_PATH_SIZE = 1024, CM_STEP_SHARES = 7 };

/* A member an option; what each is, its range and default stand in option_rows.c. */
typedef struct cm_train_settings {
    int32_t objective, threads, batch, microbatch, sum_microbatches, recompute, micro_shards, split_state;
    int64_t compare_every;
    uint64_t seed;
    int64_t steps;
    int32_t optimizer;
    double lr, beta1, beta2, eps, weight_decay, grad_clip;
    int32_t clip_rule;
    int64_t warmup_steps, lr_decay_steps, anneal_begin, anneal_end;
    double lr_final;
    int32_t anneal_stages;
    int32_t distance;
    double huber_c;
    int32_t sum_pixels, weighting, levels;
    double p_mean, p_std;
    int32_t ode, scales_mode, start_scales, end_scales;
    int64_t distill_steps;
    int32_t mu_mode;
    double mu;
    int32_t mapping;
    double ect_q, ect_k, ect_b;
    int32_t ect_stages;
    int64_t ect_stage_steps;
    int32_t ect_first_stage, pair_weighting;
    double ratio_limit, student_nu, transition, boundary_share, boundary_weight;
    int32_t cmt_nfe, cmt_order;
    double rho, dropout, label_dropout, flip, augment;
    int32_t skip_nonfinite, scrub_gradients;
    cm_averages ema;
    int32_t precision, lpips_pooling, lpips_resize;
    int32_t stop_gradient, squared, scm_form, tangent_norm, weight_net;
    double tangent_c, discrete_from, discrete_to;
    int32_t flow_sampler;
    double r_mean, r_std, flow_ratio, adaptive_p, adaptive_eps;
    double guidance, guidance_mix, guidance_from, guidance_to, guidance_decay, guidance_beta;
    double velocity_share, velocity_mean, velocity_std, ratio_begin, ratio_end;
    int32_t ratio_schedule;
    int64_t tangent_warmup;
    char lpips_weights[CM_PATH_SIZE], lpips_lin[CM_PATH_SIZE];
    char debug[CM_DEBUG_SIZE];
    double shares[CM_STEP_SHARES]; /* of steps, for options that were given so, or 0: their numbers follow from it */
} cm_train_settings;

struct cm_train_options {
    cm_context *context;
    cm_train_settings s;
};

/* The defaults of an objective. */
cm_train_settings cmi_settings_defaults(int32_t objective);
/* Those of a caller's handle; NULL: the defaults of edm. */
cm_train_settings cmi_settings_of(const cm_train_options *options);

/* One by name, from text or a number, and as both.  A call that fails changes nothing. */
enum { CM_SETTING_SIZE = 1024 };
cm_status cmi_settings_set(cm_train_settings *s, const char *name, const char *value);
cm_status cmi_settings_set_number(cm_train_settings *s, const char *name, double value);
cm_status cmi_settings_get(const cm_train_settings *s, const char *name, char text[CM_SETTING_SIZE]);
cm_status cmi_settings_get_number(const cm_train_settings *s, const char *name, double *value);

/* settings_json.c: all of them as an object; only those that decide the course of training when course is 1. */
json_t *cmi_settings_json(const cm_train_settings *s, int course);
/* The members of such an object, or of a part of it. */
cm_status cmi_settings_read(cm_train_settings *s, const json_t *object);

/* settings_check.c: options without effect, and combinations that cannot be.  Ranges are checked when a value is set.
 */
cm_status cmi_settings_check(const cm_train_settings *s, int cpu_level);
/* Combinations that are allowed but hardly meant, to the log. */
void cmi_settings_warn(const cm_context *context, const cm_train_settings *s);
/* What precision and debug ask for, on a processor of that level (CM_CPU_ of base/cpu_level.h). */
cm_status cmi_settings_arithmetic(const cm_train_settings *s, int cpu_level, cm_arithmetic *out);

#endif
