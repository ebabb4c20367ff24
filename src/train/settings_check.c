/* settings_check.c - options without effect, combinations that cannot be, and those that are hardly meant. */
#include <math.h>
#include <string.h>

#include "base/number.h"
#include "train/distance.h"
#include "train/objective.h"
#include "train/optim.h"
#include "train/option_rows.h"

cm_status cmi_settings_arithmetic(const cm_train_settings *s, int cpu_level, cm_arithmetic *out)
{
    return cmi_arithmetic_choose("cm_train_options", cpu_level, s->precision, CM_MEMORY_FAST, s->debug,
                                 CM_BF16_TILE_TRAINING, out);
}

/* --- without effect --------------------------------------------------------------------- */

/* What the objective does not read has to stand at its default. */
static cm_status check_objective(const cm_train_settings *s, const cm_train_settings *d)
{
    const cm_objective *objective = cmi_objective_at(s->objective);
    const cm_option_row *row;
    for (size_t i = 0; (row = cmi_option_row_at(i)); i++)
        if (!cmi_objective_reads(objective, row) && !cmi_option_same(row, s, d))
            CM_FAIL(CM_ERR_ARGUMENT, "%s has no effect on objective %s", row->name, objective->name);
    return CM_OK;
}

static cm_status check_optimizer(const cm_train_settings *s, const cm_train_settings *d)
{
    if (s->beta1 >= 1 || s->beta2 >= 1)
        CM_FAIL(CM_ERR_ARGUMENT, "%s has to be below 1", s->beta1 >= 1 ? "beta1" : "beta2");
    if (!cmi_optimizer_at(s->optimizer)->has_moments &&
        (s->beta1 != d->beta1 || s->beta2 != d->beta2 || s->eps != d->eps))
        CM_FAIL(CM_ERR_ARGUMENT, "beta1, beta2 and eps have no effect on optimizer %s",
                cmi_optimizer_at(s->optimizer)->name);
    if (s->clip_rule != d->clip_rule && s->grad_clip == 0)
        CM_FAIL(CM_ERR_ARGUMENT, "clip_rule has no effect without grad_clip");
    if (s->sum_microbatches && s->microbatch == 0)
        CM_FAIL(CM_ERR_ARGUMENT, "sum_microbatches needs microbatch: say how large they are");
    return CM_OK;
}

/* Of distances that a network makes. */
static cm_status check_network(const cm_train_settings *s, const cm_distance_row *row)
{
    const cm_objective *objective = cmi_objective_at(s->objective);
    const cm_train_settings d = cmi_settings_defaults(s->objective);
    const int given = *s->lpips_weights || *s->lpips_lin || s->lpips_pooling != d.lpips_pooling ||
                      s->lpips_resize != d.lpips_resize;
    if (!row->of_network && given)
        CM_FAIL(CM_ERR_ARGUMENT,
                "lpips_weights, lpips_lin, lpips_pooling and lpips_resize have no effect on distance %s", row->name);
    if (!row->of_network) return CM_OK;
    if (!cmi_objective_reads(objective, cmi_option_row_find("lpips_weights")))
        CM_FAIL(CM_ERR_ARGUMENT, "distance %s does not belong to objective %s", row->name, objective->name);
    if (!*s->lpips_weights)
        CM_FAIL(CM_ERR_ARGUMENT, "distance %s needs lpips_weights, the file of its network", row->name);
    return CM_OK;
}

static cm_status check_distance(const cm_train_settings *s)
{
    const cm_distance_row *row = cmi_distance_at(cmi_objective_distance(s));
    CM_TRY(check_network(s, row));
    if (s->huber_c >= 0 && !row->reads_c) CM_FAIL(CM_ERR_ARGUMENT, "huber_c has no effect on distance %s", row->name);
    if (s->sum_pixels && !row->reads_sum)
        CM_FAIL(CM_ERR_ARGUMENT, "sum_pixels has no effect on distance %s (it is of l1 and l2)", row->name);
    return CM_OK;
}

/* --- schedules --------------------------------------------------------------------------- */

static cm_status check_annealing(const cm_train_settings *s)
{
    if (s->anneal_end > 0 && s->anneal_end <= s->anneal_begin)
        CM_FAIL(CM_ERR_ARGUMENT, "anneal_end %lld is not after anneal_begin %lld", (long long)s->anneal_end,
                (long long)s->anneal_begin);
    if (s->anneal_stages && (s->anneal_end || s->anneal_begin))
        CM_FAIL(CM_ERR_ARGUMENT,
                "anneal_begin and anneal_end have no effect beside anneal_stages 1, by which lr falls in every stage "
                "(anneal_stages=0 takes them instead)");
    if (s->anneal_end == 0 && !s->anneal_stages && (s->anneal_begin || s->lr_final != 0))
        CM_FAIL(CM_ERR_ARGUMENT, "anneal_begin and lr_final have no effect without anneal_end");
    return CM_OK;
}

static cm_status check_scales(const cm_train_settings *s, const cm_train_settings *d)
{
    const cm_objective *objective = cmi_objective_at(s->objective);
    const int fixed = s->scales_mode == CM_SCALES_FIXED, halved = s->scales_mode == CM_SCALES_PROGDIST;
    char number[CM_NUMBER_SIZE];
    if (!objective->is_discrete) return CM_OK;
    if (fixed && s->end_scales != d->end_scales && s->end_scales != s->start_scales)
        CM_FAIL(CM_ERR_ARGUMENT,
                "end_scales %d has no effect on scales_mode fixed, by which N stays at start_scales %d",
                s->end_scales, s->start_scales);
    if (halved && !objective->student_becomes_teacher)
        CM_FAIL(CM_ERR_ARGUMENT, "scales_mode progdist belongs to objective pd");
    if (!fixed && !halved && s->end_scales < s->start_scales)
        CM_FAIL(CM_ERR_ARGUMENT, "end_scales %d is below start_scales %d", s->end_scales, s->start_scales);
    if (s->mu_mode != CM_MU_FIXED && !(s->mu > 0 && s->mu < 1))
        CM_FAIL(CM_ERR_ARGUMENT, "mu is %s; an adaptive rate needs a number between 0 and 1",
                cmi_number_text(s->mu, number));
    return CM_OK;
}

/* What the objectives of mean velocities and of solution functions share. */
static cm_status check_flow(const cm_train_settings *s, const cm_train_settings *d)
{
    if (s->adaptive_p == 0 && s->adaptive_eps != d->adaptive_eps)
        CM_FAIL(CM_ERR_ARGUMENT, "adaptive_eps has no effect with adaptive_p 0");
    if (cmi_objective_guides(s) && s->label_dropout == 1)
        CM_FAIL(CM_ERR_ARGUMENT, "guidance has no effect with label_dropout 1, by which no image keeps its label");
    return CM_OK;
}

cm_status cmi_settings_check(const cm_train_settings *s, int cpu_level)
{
    const cm_train_settings d = cmi_settings_defaults(s->objective);
    const cm_objective *objective = cmi_objective_at(s->objective);
    cm_arithmetic arithmetic;
    CM_TRY(check_objective(s, &d));
    CM_TRY(check_optimizer(s, &d));
    CM_TRY(check_distance(s));
    CM_TRY(cmi_settings_arithmetic(s, cpu_level, &arithmetic));
    CM_TRY(check_annealing(s));
    CM_TRY(check_scales(s, &d));
    CM_TRY(check_flow(s, &d));
    CM_TRY(cmi_averages_check(&s->ema));
    return objective->check ? objective->check(s, &d) : CM_OK;
}

/* --- hardly meant -------------------------------------------------------------------------- */

/* What remains in an average of the weights it began with when the run ends: the product of its rates. */
static double remembered(const cm_train_settings *s, const cm_ema_rate *rate)
{
    enum { ONE_BY_ONE = 100000 };
    double remaining = 1;
    int64_t k = 0;
    if (rate->form == CM_EMA_EVERY16) return pow(rate->value, (double)(s->steps / 16 * 16));
    for (; k < s->steps && k < ONE_BY_ONE; k++) remaining *= cmi_ema_rate_at(rate, k, (double)k * s->batch, s->batch);
    return remaining * pow(cmi_ema_rate_at(rate, s->steps - 1, (double)(s->steps - 1) * s->batch, s->batch),
                           (double)(s->steps - k));
}

static void warn_of_averages(const cm_context *context, const cm_train_settings *s)
{
    for (int i = 0; i < s->ema.count; i++) {
        const cm_ema_rate *rate = &s->ema.rates[i];
        double remaining = remembered(s, rate);
        if (remaining < 0.135) continue; /* exp(-2): two memories have gone by */
        cmi_log(context, CM_LOG_WARNING,
                "average %d (%s %.10g): after %lld steps %.0f %% of it are the weights it began with%s", i,
                cmi_ema_form_names[rate->form], rate->value, (long long)s->steps, 100 * remaining,
                rate->form == CM_EMA_RATE ? "; a warm-up (ema=warmup:RATE) forgets them" : "");
    }
}

static void warn_of_target(const cm_context *context, const cm_train_settings *s)
{
    if (s->mu_mode != CM_MU_FIXED && s->scales_mode == CM_SCALES_FIXED)
        cmi_log(context, CM_LOG_WARNING, "mu is adaptive but N is fixed: mu(k) will be constant");
    if (s->mu_mode == CM_MU_FIXED && s->mu > 0 && s->scales_mode == CM_SCALES_PROGRESSIVE)
        cmi_log(context, CM_LOG_WARNING, "N grows but mu stays at %g: early on the target lags behind many steps",
                s->mu);
    if (s->mu > 0 && 2 / (1 - (s->mu < 1 ? s->mu : 0.999999)) > (double)s->steps)
        cmi_log(context, CM_LOG_WARNING, "the target (mu %g) barely moves within %lld steps", s->mu,
                (long long)s->steps);
}

void cmi_settings_warn(const cm_context *context, const cm_train_settings *s)
{
    if (cmi_objective_guides_itself(s) && s->label_dropout == 0)
        cmi_log(context, CM_LOG_WARNING,
                "guidance with label_dropout 0: the network never learns what it answers without a label");
    warn_of_averages(context, s);
    if (s->warmup_steps > s->steps)
        cmi_log(context, CM_LOG_WARNING, "warmup_steps %lld is longer than the run of %lld steps",
                (long long)s->warmup_steps, (long long)s->steps);
    if (s->anneal_end > 0 && s->anneal_end != s->steps)
        cmi_log(context, CM_LOG_WARNING, "the learning rate falls until step %lld, but schedules end at %lld",
                (long long)s->anneal_end, (long long)s->steps);
    warn_of_target(context, s);
    if (s->ect_stage_steps > 0 && s->ect_stage_steps * (s->ect_stages - 1) >= s->steps)
        cmi_log(context, CM_LOG_WARNING, "the last of %d stages of %lld steps begins after the end at %lld",
                s->ect_stages, (long long)s->ect_stage_steps, (long long)s->steps);
}
