/* option_rows.c - a row an option: its member, range, default, who reads it, what it is. */
#include "train/option_rows.h"

#include <string.h>

#include <consistency/metrics.h>

#include "base/number.h"
#include "base/pool.h"
#include "train/objective.h"
#include "train/optim.h"
#include "train/share.h"

/* --- choices -------------------------------------------------------------------------- */

static const cm_choice clip_rules[] = {
    {"torch", "The gradient is multiplied by max / (norm + 1e-6) where that is below 1."},
    {"optax", "The gradient is multiplied by max / norm where the norm is at least max."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_clip_rule_choices, "clip_rules", clip_rules);

static const cm_choice weightings[] = {
    {"default", "The weighting of the objective."},
    {"uniform", "1 at every noise level."},
    {"snr", "1 / sigma^2."},
    {"snr+1", "1 / sigma^2 + 1."},
    {"karras", "1 / sigma^2 + 1 / sigma_data^2."},
    {"truncated-snr", "1 / sigma^2, and at least 1."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_weighting_choices, "weightings", weightings);

static const cm_choice levels[] = {
    {"lognormal", "ln sigma is normal with mean p_mean and standard deviation p_std."},
    {"vp", "The levels of the variance preserving process at uniform times."},
    {"ve", "The levels of the variance exploding process at uniform times."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_level_choices, "noise_levels", levels);

static const cm_choice odes[] = {
    {"heun", "Heun's second-order step, two evaluations of the teacher."},
    {"euler", "Euler's step, one evaluation of the teacher."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_ode_choices, "odes", odes);

static const cm_choice scales[] = {
    {"fixed", "N is start_scales."},
    {"progressive", "N grows from start_scales to end_scales as its square root in Song et al. 2023."},
    {"progdist", "N is halved every distill_steps: progressive distillation."},
    {"ict", "N doubles from start_scales to end_scales in equal stages: Song and Dhariwal 2023."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_scales_choices, "scales_modes", scales);

static const cm_choice mus[] = {
    {"fixed", "The rate is mu."},
    {"adaptive", "exp(s0 ln(mu) / (N - 1)), as the published code computes it."},
    {"adaptive-paper", "exp(s0 ln(mu) / N), as the paper writes it."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_mu_choices, "mu_modes", mus);

static const cm_choice mappings[] = {
    {"sigmoid", "n(t) = 1 + ect_k sigmoid(-ect_b t)."},
    {"const", "n(t) = 1."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_mapping_choices, "ect_mappings", mappings);

static const cm_choice pair_weightings[] = {
    {"gap", "1 / (t - r)."},
    {"root-gap", "1 / sqrt(t - r)."},
    {"c-out", "1 / c_out(t), the factor of the network's output."},
    {"c-out-squared", "1 / c_out(t)^2."},
    {"one", "1 at every pair."},
    {"karras", "1 / t^2 + 1 / sigma_data^2."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_pair_weighting_choices, "pair_weightings", pair_weightings);

static const cm_choice poolings[] = {
    {"max", "Maxima of windows, as the network was trained: openai/consistency_models_cifar10."},
    {"mean", "Means of windows: openai/consistency_models."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_lpips_pooling_choices, "lpips_poolings", poolings);

static const cm_choice resizes[] = {
    {"none", "Images as they are."},
    {"small", "Images narrower than 256 points are resized to 224 x 224: openai/consistency_models."},
    {"always", "All images are resized to 224 x 224: openai/consistency_models_cifar10."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_lpips_resize_choices, "lpips_resizes", resizes);

static const cm_choice_list precisions = {"precisions", cmi_precision_choice};

/* --- options --------------------------------------------------------------------------- */

#define WIDE 1e6 /* bounds from here on are named only when they are passed */
#define LONG 1e15
#define SHARED CM_ROW_SHARED
#define COURSE CM_ROW_COURSE
#define AUTO CM_ROW_AUTO
#define SHARE CM_ROW_SHARE

#define ROW(member, kind, store, low, high, usual, choices, flags, about)                                            \
    {                                                                                                                \
#member, kind, store, offsetof(cm_train_settings, member), low, high, usual, choices, flags, about           \
    }
#define INT(member, low, high, usual, flags, about)                                                                  \
    ROW(member, CM_OPTION_INTEGER, CM_STORE_INT32, low, high, usual, NULL, flags, about)
#define STEPS(member, low, usual, flags, about)                                                                      \
    ROW(member, CM_OPTION_INTEGER, CM_STORE_INT64, low, LONG, usual, NULL, flags, about)
#define REAL(member, low, high, usual, flags, about)                                                                 \
    ROW(member, CM_OPTION_REAL, CM_STORE_DOUBLE, low, high, usual, NULL, flags, about)
#define FLAG(member, usual, flags, about) ROW(member, CM_OPTION_FLAG, CM_STORE_INT32, 0, 1, usual, NULL, flags, about)
#define CHOICE(member, list, usual, flags, about)                                                                    \
    ROW(member, CM_OPTION_CHOICE, CM_STORE_INT32, 0, 0, usual, &list, flags, about)

#define TEXT(member, size, flags, about)                                                                             \
    ROW(member, CM_OPTION_TEXT, CM_STORE_TEXT, 0, size - 1, 0, NULL, flags, about)

static const cm_option_row rows[] = {
    CHOICE(objective, cmi_objective_choices, CM_TRAIN_EDM, SHARED | COURSE, "What the network learns."),
    INT(threads, 0, CM_MAX_THREADS, 0, SHARED | AUTO, "Threads of a step; auto: those of the context."),
    INT(batch, 1, 1 << 20, 64, SHARED | COURSE, "Images a step."),
    INT(microbatch, 0, 1 << 16, 0, SHARED | COURSE | AUTO,
        "Images that a thread takes through the networks at once, memory against speed; auto: an eighth of the "
        "batch, "
        "4 to 16."),
    FLAG(sum_microbatches, 0, SHARED | COURSE,
         "1: the gradients of micro-batches are added instead of averaged, as openai/consistency_models does."),
    INT(recompute, 0, 1000, 0, SHARED,
        "Above 1: activations are kept at the borders of so many parts of the network only and computed again "
        "inside, "
        "for less memory and more time."),
    INT(micro_shards, 0, 1 << CM_SHARD_LEVELS, 0, SHARED | COURSE | AUTO,
        "Parts of a step's micro-batches whose gradients are added by pairs, so that the bits are the same for every "
        "number of processes of which this is a multiple by a power of two; auto: one a process."),
    STEPS(compare_every, 0, 100, SHARED,
          "Steps between comparisons of what the processes of a group hold, by its hash; 0, or alone: none."),
    FLAG(split_state, 0, SHARED,
         "1: each process of a group holds its part of moments and averages, and writes it to checkpoints; alone: "
         "all."),
    ROW(seed, CM_OPTION_INTEGER, CM_STORE_UINT64, 0, 18446744073709551615.0, 0, NULL, SHARED | COURSE,
        "Seed of noise, levels, flips, dropout and of fresh weights."),
    STEPS(steps, 1, 10000, SHARED | COURSE, "Steps of the whole run, where schedules end."),
    CHOICE(optimizer, cmi_optimizer_choices, CM_OPTIMIZER_RADAM, SHARED | COURSE,
           "The rule by which gradients change weights."),
    REAL(lr, CM_ROW_ABOVE_0, 1e6, 1e-4, SHARED | COURSE, "Learning rate after the warm-up and before annealing."),
    REAL(beta1, 0, 1, 0.9, SHARED | COURSE, "Memory of the first moment, below 1; not of sgd."),
    REAL(beta2, 0, 1, 0.999, SHARED | COURSE, "Memory of the second moment, below 1; not of sgd."),
    REAL(eps, 0, 1, 1e-8, SHARED | COURSE, "Added to the root of the second moment; not of sgd."),
    REAL(weight_decay, 0, 1e3, 0, SHARED | COURSE,
         "Decay of the weights: apart from the gradient with adamw, added to it with the others."),
    REAL(grad_clip, 0, 1e30, 0, SHARED | COURSE, "Largest norm of the gradient; 0: not clipped."),
    CHOICE(clip_rule, cmi_clip_rule_choices, CM_CLIP_RULE_TORCH, SHARED | COURSE, "How a gradient is clipped."),
    STEPS(warmup_steps, 0, 0, SHARED | COURSE | SHARE, "Steps in which the learning rate rises linearly to lr."),
    STEPS(lr_decay_steps, 0, 0, SHARED | COURSE | SHARE,
          "Step from which the learning rate falls with the root of the steps, as EDM2's does: "
          "lr / sqrt(max(k / lr_decay_steps, 1)) in step k; 0: it does not."),
    STEPS(anneal_begin, 0, 0, SHARED | COURSE | SHARE, "Step from which the learning rate falls linearly."),
    STEPS(anneal_end, 0, 0, SHARED | COURSE | SHARE, "Step at which it has fallen; 0: it stays as it is."),
    REAL(lr_final, 0, 1, 0, SHARED | COURSE, "The factor of lr at the end of annealing."),
    FLAG(anneal_stages, 0, COURSE,
         "1: the learning rate falls to lr_final times lr within every stage and begins anew with the next."),
    CHOICE(distance, cmi_distance_choices, CM_DISTANCE_DEFAULT, COURSE, "Distance of the output from its target."),
    REAL(huber_c, 0, 1e6, -1, COURSE | AUTO,
         "The constant c of pseudo-huber; auto: 0.00054 sqrt(C H W) with ict, 1e-8 with tcm and tcm2, 0 with the "
         "others."),
    TEXT(lpips_weights, CM_PATH_SIZE, 0,
         "The file of the network of distance lpips: torchvision's vgg16, alexnet or squeezenet1_1."),
    TEXT(lpips_lin, CM_PATH_SIZE, 0, "The file of how much its channels count; empty: lpips_weights holds that too."),
    CHOICE(lpips_pooling, cmi_lpips_pooling_choices, CM_LPIPS_POOLING_MEAN, COURSE,
           "What becomes of the windows of that network."),
    CHOICE(lpips_resize, cmi_lpips_resize_choices, CM_LPIPS_RESIZE_SMALL, COURSE, "Which images are resized for it."),
    FLAG(sum_pixels, 0, COURSE, "1: l1 and l2 add up over the values of an image, as NVlabs/edm does."),
    CHOICE(weighting, cmi_weighting_choices, CM_WEIGHTING_DEFAULT, COURSE, "Weight of the loss by noise level."),
    CHOICE(levels, cmi_level_choices, CM_LEVELS_LOGNORMAL, COURSE, "Where noise levels are drawn from."),
    REAL(p_mean, -20, 20, -1.1, COURSE,
         "Mean of ln sigma, where exp(p_mean) is at most the model's sigma_max; with meanflow, imeanflow and soflow "
         "of ln(t / (1 - t))."),
    REAL(p_std, 1e-6, 10, 2, COURSE,
         "Standard deviation of ln sigma; with meanflow, imeanflow and soflow of ln(t / (1 - t))."),
    CHOICE(ode, cmi_ode_choices, CM_ODE_HEUN, COURSE, "The step with which the teacher is followed."),
    CHOICE(scales_mode, cmi_scales_choices, CM_SCALES_FIXED, COURSE, "How the number N of time points changes."),
    INT(start_scales, 2, 1 << 20, 18, COURSE, "N at the beginning, s0."),
    INT(end_scales, 2, 1 << 20, 18, COURSE, "N at the end, s1."),
    STEPS(distill_steps, 1, 1000, COURSE | SHARE, "Steps of a stage of progressive distillation."),
    CHOICE(mu_mode, cmi_mu_choices, CM_MU_FIXED, COURSE, "How the rate of the target network changes."),
    REAL(mu, 0, 1, 0, COURSE,
         "Rate of the target network's average, mu or mu0; 0: the target has the weights that learn."),
    CHOICE(mapping, cmi_mapping_choices, CM_MAPPING_SIGMOID, COURSE,
           "The function n(t) in r = t (1 - n(t) / q^(stage + 1))."),
    REAL(ect_q, 1.0001, 1e9, 2, COURSE, "The base q of the mapping."),
    REAL(ect_k, 0, 1e6, 8, COURSE, "The height k of the mapping sigmoid."),
    REAL(ect_b, 0, 1e6, 1, COURSE, "The steepness b of the mapping sigmoid."),
    INT(ect_stages, 1, 1000, 8, COURSE, "Stages of the mapping."),
    STEPS(ect_stage_steps, 0, 0, COURSE | AUTO | SHARE, "Steps of a stage; auto: steps / ect_stages."),
    INT(ect_first_stage, 0, 1000, 0, COURSE, "The stage that the run begins with."),
    CHOICE(pair_weighting, cmi_pair_weighting_choices, CM_PAIR_GAP, COURSE,
           "Weight of the loss between the levels t and r."),
    REAL(ratio_limit, 0, 1, 0.999, COURSE,
         "The largest r/t before n(t) enters: q^-(stage + 1) is at least 1 less it."),
    REAL(student_nu, 1e-4, 1000, 0.01, COURSE,
         "Degrees of freedom of Student's distribution, p_mean + p_std T of which is ln t."),
    REAL(transition, CM_ROW_ABOVE_0, 1e6, 1, COURSE,
         "The border of the second stage: the network learns above it, the first stage's answers below."),
    REAL(boundary_share, 0, 1, 0.25, COURSE,
         "Share of the images that are learnt at the border, rounded down; where that is none, the probability."),
    REAL(boundary_weight, 0, 1e6, 0.1, COURSE, "Weight of their mean loss beside the mean of the others."),
    INT(cmt_nfe, 1, CM_MAX_VIEWS, 16, COURSE,
        "Steps of the teacher's trajectory of an image, each of which is a pair; batch counts pairs."),
    INT(cmt_order, 1, 3, 3, COURSE, "The order of DPM-Solver++, by which the trajectory is made."),
    REAL(rho, 0.5, 1e3, 7, COURSE, "Curvature of the time points."),
    FLAG(stop_gradient, 1, COURSE,
         "1: the gradient takes the derivative along the trajectory for a constant; 0: it passes through it."),
    FLAG(squared, 0, COURSE, "1: distance l2 of continuous time is squared, as the paper writes it; 0: as its code."),
    CHOICE(scm_form, cmi_scm_form_choices, CM_SCM_PAPER, COURSE, "Whose form of the loss of sCM is taken."),
    CHOICE(tangent_norm, cmi_tangent_norm_choices, CM_TANGENT_NORM_L2, COURSE,
           "The norm |g| by which the tangent g of sCM is divided."),
    REAL(tangent_c, 0, 1e6, 0.1, COURSE, "The constant c in g / (|g| + c)."),
    STEPS(tangent_warmup, 0, 10000, COURSE | SHARE,
          "Steps in which the share of the derivative in the tangent of sCM rises from 0 to 1."),
    CHOICE(weight_net, cmi_weight_net_choices, CM_WEIGHT_NET_FOURIER, COURSE,
           "The adaptive weight of the loss of sCM, where the default is fourier, and of edm; it is trained with the "
           "network and not saved in the model."),
    REAL(discrete_from, 0, 0.999999, 0.9, COURSE, "The least t'/t of a step of dscd."),
    REAL(discrete_to, 0, 0.999999, 0.99, COURSE, "The largest t'/t of a step of dscd."),
    CHOICE(flow_sampler, cmi_flow_sampler_choices, CM_FLOW_SAMPLER_V0, COURSE,
           "How meanflow and imeanflow draw their two times."),
    REAL(r_mean, -20, 20, -2, COURSE,
         "Mean of ln(r / (1 - r)), r the second time of meanflow, imeanflow and soflow."),
    REAL(r_std, 1e-6, 10, 2, COURSE, "Its standard deviation."),
    REAL(flow_ratio, 0, 1, 0.75, COURSE, "Probability that the second time differs from the first."),
    REAL(adaptive_p, 0, 4, 0.75, COURSE,
         "The exponent p of (l + adaptive_eps)^p, by which meanflow, imeanflow and soflow divide their loss l."),
    REAL(adaptive_eps, 1e-12, 1e6, 1e-3, COURSE, "What is added to the loss there."),
    REAL(
        guidance, 0, 1000, 1, COURSE,
        "The scale w of guidance, which is learnt: for v, images that keep their label have w v + (1 - w - k) v_u + "
        "k v_c in meanflow and (1 - k) (v + (w - 1) (v - v_u)) + k v_c in soflow, with v_u and v_c the network's own "
        "velocities without and with the label, and v_u + w (v_c - v_u) in scd and dscd, with the teacher's."),
    REAL(guidance_mix, 0, 0.999999, 0, COURSE,
         "The share k of v_c there; the effective scale of meanflow is w / (1 - k)."),
    REAL(guidance_from, 0, 1, 0, COURSE,
         "The least time t that has guidance; with scd and dscd t / (pi / 2), 2 arctan(sigma / sigma_data) / pi."),
    REAL(guidance_to, 0, 1, 1, COURSE, "The largest time t that has guidance, in the same way."),
    REAL(guidance_decay, 0, 1, 1, COURSE,
         "The time t from which on the guidance of soflow falls, to none at t = 1; 1: it does not."),
    REAL(velocity_share, 0, 1, 0, COURSE,
         "Share of the images of a step, rounded down, that learn the velocity by flow matching; the others learn "
         "pairs of times."),
    REAL(velocity_mean, -20, 20, -0.9, COURSE, "Mean of ln(t / (1 - t)), t the time at which they learn it."),
    REAL(velocity_std, 1e-6, 10, 1.6, COURSE, "Its standard deviation."),
    CHOICE(ratio_schedule, cmi_ratio_schedule_choices, CM_RATIO_EXPONENT, COURSE,
           "How the ratio (t - l) / (t - s) of the three times of a pair goes from ratio_begin to ratio_end."),
    REAL(ratio_begin, 1e-9, 1, 1, COURSE, "The ratio at the beginning of the run."),
    REAL(ratio_end, 1e-9, 1, 3.125e-4, COURSE, "The ratio at its end, 1/3200."),
    REAL(guidance_beta, 0, 8, 1, COURSE,
         "The exponent of the density w^-beta, 1 to 8, of the scales that a network with conditions learns."),
    REAL(dropout, 0, 0.999, -1, SHARED | COURSE | AUTO, "Dropout; auto: as the network's configuration says."),
    REAL(label_dropout, 0, 1, 0, SHARED | COURSE, "Probability that an image is learnt without its label."),
    REAL(flip, 0, 1, 0, SHARED | COURSE, "Probability that an image is mirrored left to right."),
    REAL(augment, 0, 1, 0, COURSE,
         "Probability of EDM's augmentations; the network needs augment_dim 9, or 6: then nothing is turned or put "
         "upside down, as in the code of MeanFlow and SoFlow."),
    INT(skip_nonfinite, 0, 1 << 30, 0, SHARED | COURSE,
        "Steps with a loss or gradient that is not finite that may be left out."),
    FLAG(scrub_gradients, 0, SHARED | COURSE,
         "1: in a gradient NaN becomes 0 and an infinity 1e5 of its sign, as NVlabs/edm does."),
    ROW(ema, CM_OPTION_TEXT, CM_STORE_AVERAGES, 0, CM_MAX_EMAS, 0, NULL, SHARED | COURSE,
        "Averages of the weights, at most 8: RATE, warmup:RATE, halflife:IMAGES, halflife:IMAGES:RAMP, "
        "every16:RATE, power:LENGTH or gamma:EXPONENT with commas between them, or none; IMAGES may be a share of "
        "the "
        "run's, as 4%."),
    CHOICE(precision, precisions, CM_PRECISION_DEFAULT, SHARED | COURSE, "What products are computed in."),
    TEXT(debug, CM_DEBUG_SIZE, SHARED | COURSE,
         "Settings for tests, which may change with any version, as KEY=NUMBER with commas between them: bf16_tile, "
         "bf16_emulate."),
};
enum { ROWS = sizeof rows / sizeof *rows };

const cm_option_row *cmi_option_row_at(size_t index)
{
    return index < ROWS ? &rows[index] : NULL;
}

const cm_option_row *cmi_option_row_find(const char *name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

int cmi_option_share(const cm_option_row *row)
{
    int k = 0;
    if (!(row->flags & CM_ROW_SHARE)) return -1;
    for (const cm_option_row *r = rows; r < row; r++) k += (r->flags & CM_ROW_SHARE) != 0;
    return k;
}

/* --- values ------------------------------------------------------------------------------ */

double cmi_option_value(const cm_option_row *row, const cm_train_settings *s)
{
    const unsigned char *at = (const unsigned char *)s + row->offset;
    int32_t i;
    int64_t l;
    uint64_t u;
    double d;
    switch (row->store) {
    case CM_STORE_INT32: memcpy(&i, at, sizeof i); return i;
    case CM_STORE_INT64: memcpy(&l, at, sizeof l); return (double)l;
    case CM_STORE_UINT64: memcpy(&u, at, sizeof u); return (double)u;
    case CM_STORE_DOUBLE: memcpy(&d, at, sizeof d); return d;
    default: return 0;
    }
}

const char *cmi_option_text(const cm_option_row *row, const cm_train_settings *s)
{
    return (const char *)s + row->offset;
}

void cmi_option_put_text(const cm_option_row *row, cm_train_settings *s, const char *text)
{
    strcpy((char *)s + row->offset, text);
}

void cmi_option_put(const cm_option_row *row, cm_train_settings *s, double value)
{
    unsigned char *at = (unsigned char *)s + row->offset;
    int32_t i;
    int64_t l;
    uint64_t u;
    switch (row->store) {
    case CM_STORE_INT32: i = (int32_t)value, memcpy(at, &i, sizeof i); break;
    case CM_STORE_INT64: l = (int64_t)value, memcpy(at, &l, sizeof l); break;
    case CM_STORE_UINT64: u = (uint64_t)value, memcpy(at, &u, sizeof u); break;
    case CM_STORE_DOUBLE: memcpy(at, &value, sizeof value); break;
    default: break;
    }
}

double cmi_option_auto(const cm_option_row *row)
{
    return row->kind == CM_OPTION_REAL ? -1 : 0;
}

double cmi_option_high(const cm_option_row *row)
{
    size_t n = 0;
    if (!row->choices) return row->high;
    while (row->choices->at(n).name) n++;
    return (double)n - 1;
}

cm_status cmi_option_check_range(const cm_option_row *row, double v)
{
    char is[CM_NUMBER_SIZE], low[CM_NUMBER_SIZE], high[CM_NUMBER_SIZE];
    const double highest = cmi_option_high(row);
    if ((v >= row->low && v <= highest) || ((row->flags & AUTO) && v == cmi_option_auto(row))) return CM_OK;
    const char *or_auto = row->flags & AUTO ? " or auto" : "";
    (void)cmi_number_text(v, is);
    (void)cmi_number_text(row->low, low);
    (void)cmi_number_text(highest, high);
    if (row->choices) CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected a name or 0..%s", row->name, is, high);
    if (row->high < WIDE) CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected %s..%s%s", row->name, is, low, high, or_auto);
    if (v > row->high) CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected %s or less", row->name, is, high);
    if (row->low == CM_ROW_ABOVE_0) CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected a number above 0", row->name, is);
    CM_FAIL(CM_ERR_ARGUMENT, "%s is %s, expected %s or more%s", row->name, is, low, or_auto);
}

static int same_averages(const cm_averages *a, const cm_averages *b)
{
    int same = a->count == b->count;
    for (int i = 0; same && i < a->count; i++)
        same = a->rates[i].form == b->rates[i].form && a->rates[i].value == b->rates[i].value &&
               a->rates[i].ramp == b->rates[i].ramp;
    return same;
}

int cmi_option_same(const cm_option_row *row, const cm_train_settings *a, const cm_train_settings *b)
{
    switch (row->store) {
    case CM_STORE_AVERAGES: return same_averages(&a->ema, &b->ema);
    case CM_STORE_TEXT: return strcmp(cmi_option_text(row, a), cmi_option_text(row, b)) == 0;
    case CM_STORE_UINT64: return a->seed == b->seed;
    default: return cmi_option_value(row, a) == cmi_option_value(row, b);
    }
}
