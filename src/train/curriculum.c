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
                           .first_stage = s->ect_first_stage,
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
    return (int32_t)fmax(ceil(sqrt((double)k / (double)c->total * (s1 * s1 - s0 * s0) + s0 * s0) - 1), 1);
}

/* Progressive distillation halves N every S steps until it is 2: that begins here, and N is 1 from 2 S steps later.
 */
static double progdist_two(const cm_curriculum *c)
{
    return (double)c->distill_steps * (log2((double)c->start) - 1);
}

static int32_t progdist(const cm_curriculum *c, int64_t k)
{
    const int64_t stage = k / c->distill_steps;
    if (stage < 31 && c->start >> stage > 2) return c->start >> stage;
    return (double)k < progdist_two(c) + 2 * (double)c->distill_steps ? 2 : 1;
}

/* min(s0 2^floor(k/K'), s1) + 1, K' = floor(K / (log2 floor(s1/s0) + 1)). */
static int32_t ict(const cm_curriculum *c, int64_t k)
{
    double stages = log2(floor((double)c->end / c->start)) + 1;
    int64_t length = (int64_t)floor((double)c->total / stages);
    double n = length > 0 ? c->start * pow(2, (double)(k / length)) : c->end;
    return (int32_t)fmin(n, c->end) + 1;
}

/* The stage of progressive distillation that step k belongs to: [begin, end).  The
 * last one, with N = 1, lasts as long as the run. */
static void progdist_stage(const cm_curriculum *c, int64_t k, int64_t *begin, int64_t *end)
{
    int64_t s = c->distill_steps, two = (int64_t)progdist_two(c), one = two + 2 * s;
    *begin = k < two ? k / s * s : k < one ? two : one;
    *end = k < two ? *begin + s : k < one ? one : c->total;
    if (*end > c->total) *end = c->total;
}

static double learning_rate(const cm_curriculum *c, int64_t k)
{
    double rate = c->lr;
    int64_t begin = c->anneal_begin, end = c->anneal_end;
    if (c->warmup > 0) rate *= fmin((double)k + 1, (double)c->warmup) / (double)c->warmup;
    if (c->decay > 0) rate /= sqrt(fmax((double)k / (double)c->decay, 1));
    if (c->anneal_stages) progdist_stage(c, k, &begin, &end);
    if (end > 0) {
        const double done = fmin(fmax((double)(k - begin) / (double)(end - begin), 0), 1);
        rate *= 1 + done * (c->lr_final - 1);
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
        const int64_t last = c->stages - 1, stage = length > 0 ? k / length : last;
        m.stage = c->first_stage + (int32_t)(stage < last ? stage : last);
    }
    return m;
}
