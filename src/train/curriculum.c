/* curriculum.c - schedules in double, in the written order of operations. */
#include "train/curriculum.h"

#include <math.h>
#include <stddef.h>

#include "train/objective.h"

cm_curriculum cmi_curriculum_of(const cm_train_settings *s)
{
    const int staged = cmi_objective_reads(cmi_objective_at(s->objective), cmi_option_row_find("ect_stages"));
    return (cm_curriculum){.scales = s->scales_mode,
                           .mu = s->mu_mode,
                           .start = s->start_scales,
                           .end = s->end_scales,
                           .mu0 = s->mu,
                           .total = s->steps,
                           .distill_steps = s->distill_steps,
                           .stages = staged ? s->ect_stages : 0,
                           .stage_steps = s->ect_stage_steps,
                           .tangent_warmup = s->tangent_warmup,
                           .first_stage = staged ? s->ect_first_stage : 0,
                           .decay = s->lr_decay_steps,
                           .lr = s->lr,
                           .lr_final = s->lr_final,
                           .warmup = s->warmup_steps,
                           .anneal_begin = s->anneal_begin,
                           .anneal_end = s->anneal_end,
                           .anneal_stages = s->anneal_stages};
}

/* q of "N = q + 1": ceil(sqrt(k/K ((s1+1)^2 - s0^2) + s0^2) - 1), at least 1; the
 * reference lets it grow beyond K, we stop there. */
static int32_t progressive(const cm_curriculum *c, int64_t k)
{
    double s0 = c->start, s1 = (double)c->end + 1;
    if (k > c->total) k = c->total;
    double q = ceil(sqrt((double)k / (double)c->total * (s1 * s1 - s0 * s0) + s0 * s0) - 1);
    return q < 1 ? 1 : (int32_t)q;
}

/* Halved every S steps down to 2; then 2 for 2 S steps, and 1. */
static int32_t progdist(const cm_curriculum *c, int64_t k)
{
    int64_t s = c->distill_steps, stage = k / s, n = stage < 31 ? c->start >> stage : 0;
    if (n > 2) return (int32_t)n;
    int64_t past = k - s * ((int64_t)floor(log2((double)c->start)) - 1);
    return past / (2 * s) >= 1 ? 1 : 2;
}

/* min(s0 2^floor(k/K'), s1) + 1, K' = floor(K / (log2 floor(s1/s0) + 1)). */
static int32_t ict(const cm_curriculum *c, int64_t k)
{
    double stages = log2(floor((double)c->end / c->start)) + 1;
    int64_t length = (int64_t)floor((double)c->total / stages);
    int64_t stage = length > 0 ? k / length : 31;
    double n = c->start * pow(2, (double)(stage < 31 ? stage : 31));
    return (int32_t)(n < c->end ? n : c->end) + 1;
}

/* The stage of progressive distillation that step k belongs to: [begin, end).  The
 * last one, with N = 1, lasts as long as the run. */
static void progdist_stage(const cm_curriculum *c, int64_t k, int64_t *begin, int64_t *end)
{
    int64_t s = c->distill_steps, two = s * ((int64_t)floor(log2((double)c->start)) - 1), one = two + 2 * s;
    *begin = k < two ? k / s * s : k < one ? two : one;
    *end = k < two ? *begin + s : k < one ? one : c->total;
    if (*end > c->total) *end = c->total;
}

static double learning_rate(const cm_curriculum *c, int64_t k)
{
    double rate = c->lr;
    int64_t begin = c->anneal_begin, end = c->anneal_end;
    if (k + 1 < c->warmup) rate *= (double)(k + 1) / (double)c->warmup;
    if (c->decay > 0 && k > c->decay) rate /= sqrt((double)k / (double)c->decay);
    if (c->anneal_stages) progdist_stage(c, k, &begin, &end);
    if (end > 0 && k > begin) {
        double done = end > begin ? (double)(k - begin) / (double)(end - begin) : 1;
        rate *= 1 + (done < 1 ? done : 1) * (c->lr_final - 1);
    }
    return rate;
}

cm_moment cmi_curriculum_at(const cm_curriculum *c, int64_t k)
{
    cm_moment m = {c->start, c->mu0, 0, learning_rate(c, k), 1};
    int32_t q = c->start;
    switch (c->scales) {
    case CM_SCALES_PROGRESSIVE:
        q = progressive(c, k);
        m.scales = q + 1;
        break;
    case CM_SCALES_PROGDIST:
        m.scales = q = progdist(c, k);
        m.mu = 1;
        break;
    case CM_SCALES_ICT: m.scales = q = ict(c, k); break;
    default: break;
    }
    /* The published code divides by N - 1, the paper by N. */
    if (c->mu != CM_MU_FIXED) m.mu = exp(c->start * log(c->mu0) / (c->mu == CM_MU_ADAPTIVE_PAPER ? m.scales : q));
    if (k < c->tangent_warmup) m.tangent_share = (double)k / (double)c->tangent_warmup;
    if (c->stages > 0) {
        int64_t length = c->stage_steps > 0 ? c->stage_steps : c->total / c->stages;
        int64_t stage = length > 0 ? k / length : c->stages - 1;
        m.stage = c->first_stage + (int32_t)(stage < c->stages - 1 ? stage : c->stages - 1);
    }
    return m;
}
