/* plan.c - see the header. */
#include "plan.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- measurements ------------------------------------------------------------------------------- */

/* Of that place, 0 where it was not measured. */
static double measured(const plan_facts *f, const plan_measure *of)
{
    for (int i = 0; i < f->n_measures; i++) {
        const plan_measure *m = &f->measures[i];
        if (m->side == of->side && m->rung == of->rung && m->precision == of->precision && m->stage == of->stage)
            return m->seconds;
    }
    return 0;
}

/* What is still wanted stops the choice: everything after it depends on it. */
typedef struct {
    const plan_facts *f;
    const plan_wishes *w;
    plan_measure wanted;
    int is_wanting;
} chooser;

static double ask(chooser *c, int side, int rung, int precision, int stage)
{
    const plan_measure m = {side, rung, precision, stage, 0};
    const double seconds = measured(c->f, &m);
    if (!(seconds > 0) && !c->is_wanting) c->wanted = m, c->is_wanting = 1;
    return seconds;
}

/* --- shares --------------------------------------------------------------------------------------- */

static double share_of(const plan_wishes *w, int stage)
{
    const double said = w->shares[0] + w->shares[1] + w->shares[2];
    if (w->steps[stage] > 0) return said > 0 ? w->shares[stage] : recipe.stages[stage].share;
    return said > 0 ? w->shares[stage] / said : recipe.stages[stage].share;
}

/* --- the stages ----------------------------------------------------------------------------------- */

/* The first tuning that is guided, where the set has classes, there is a teacher, and a scale is asked for. */
static const plan_kind *guided(const plan_facts *f, const plan_wishes *w)
{
    const double scale = w->guidance > 0 ? w->guidance : recipe.guidance;
    const int has_teacher = share_of(w, 0) > 0 || w->steps[0] > 0;
    int at = 0;
    if (scale == 1 || f->classes < 2 || !has_teacher) return NULL;
    while (at < recipe.n_tunings && recipe.tunings[at].teacher != PLAN_GUIDED) at++;
    return at < recipe.n_tunings ? &recipe.tunings[at] : NULL;
}

const plan_kind *plan_kind_of(const plan_facts *f, const plan_wishes *w, int stage)
{
    const plan_kind *with_guidance = guided(f, w);
    if (stage < PLAN_STAGES - 1) return &recipe.stages[stage];
    if (w->tuning) return &recipe.tunings[w->tuning - 1];
    return with_guidance ? with_guidance : recipe.tunings;
}

double plan_guidance(const plan_facts *f, const plan_wishes *w)
{
    if (plan_kind_of(f, w, PLAN_STAGES - 1) != guided(f, w)) return 1;
    return w->guidance > 0 ? w->guidance : recipe.guidance;
}

/* Of the images that the teacher, or the first stage that there is, can learn from. */
static int first_stage(const plan_wishes *w)
{
    int at = 0;
    while (at < PLAN_STAGES - 1 && !(share_of(w, at) > 0)) at++;
    return at;
}

static double images_of_first(const chooser *c, double seconds_image)
{
    const int at = first_stage(c->w);
    if (c->w->steps[at] > 0) return (double)c->w->steps[at] * (c->w->batch ? c->w->batch : recipe.batches[0]);
    return c->f->budget * share_of(c->w, at) * recipe.work / seconds_image;
}

/* --- choices -------------------------------------------------------------------------------------- */

static void why(char text[PLAN_WHY], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, PLAN_WHY, format, args);
    va_end(args);
}

/* The precision that the ladder is climbed with: float32, unless another one was said. */
static int climbing(const plan_wishes *w)
{
    return w->precision >= 0 ? w->precision : PLAN_F32;
}

/* The rung that was said, else `otherwise`. */
static int rung_of(const plan_wishes *w, int otherwise)
{
    return w->is_network_given ? PLAN_GIVEN : w->rung ? w->rung - 1 : otherwise;
}

/* The largest side at which the smallest network whose number of images is bounded at all can be taught; else the
 * smallest one. */
static void choose_side(chooser *c, plan *p)
{
    const int at = first_stage(c->w), rung = rung_of(c->w, 0);
    const double needed = recipe.rungs[1].images;
    for (int i = 0; i < c->f->n_sides; i++) {
        p->side = c->f->sides[i];
        if (c->f->n_sides == 1) {
            why(p->why_side, "the only size in question");
            return;
        }
        const double seconds = ask(c, p->side, rung, climbing(c->w), at);
        if (c->is_wanting) return;
        const double images = images_of_first(c, seconds);
        why(p->why_side, "%s: %s network would learn from %.3g thousand images of it",
            i == 0 ? "that of the pictures" : "larger ones take too long", rung == 0 ? "the smallest" : "the given",
            images / 1000);
        if (images >= needed) return;
    }
}

static void choose_network(chooser *c, plan *p)
{
    const int at = first_stage(c->w);
    if (c->w->is_network_given) {
        p->rung = PLAN_GIVEN;
        why(p->why_network, "as it was given");
        return;
    }
    if (c->w->rung) {
        p->rung = rung_of(c->w, 0);
        why(p->why_network, "'%s', as it was given", recipe.rungs[p->rung].name);
        return;
    }
    p->rung = 0;
    why(p->why_network, "the smallest of the ladder");
    for (int r = 0; r < recipe.n_rungs; r++) {
        const plan_rung *rung = &recipe.rungs[r];
        if (c->f->pictures < rung->pictures) {
            why(p->why_network, "'%s': the next larger one is for sets of %llu pictures and more",
                recipe.rungs[p->rung].name, (unsigned long long)rung->pictures);
            return;
        }
        const double seconds = ask(c, p->side, r, climbing(c->w), at);
        if (c->is_wanting) return;
        const double images = images_of_first(c, seconds);
        if (images < rung->images) return;
        p->rung = r;
        if (r == 0)
            why(p->why_network, "'%s', the smallest: its first stage learns from %.3g thousand images", rung->name,
                images / 1000);
        else
            why(p->why_network,
                "'%s': its first stage learns from %.3g thousand images, where %.3g thousand are wanted", rung->name,
                images / 1000, rung->images / 1000);
    }
}

static void choose_precision(chooser *c, plan *p)
{
    const int at = first_stage(c->w);
    p->precision = climbing(c->w);
    if (c->w->precision >= 0) {
        why(p->why_precision, "as it was given");
        return;
    }
    const double f32 = ask(c, p->side, p->rung, PLAN_F32, at);
    const double bf16 = ask(c, p->side, p->rung, PLAN_BF16, at);
    if (c->is_wanting) return;
    if (f32 / bf16 >= recipe.bf16_gain) p->precision = PLAN_BF16;
    if (bf16 >= PLAN_NEVER) {
        why(p->why_precision, "this processor has no steps in bfloat16");
        return;
    }
    why(p->why_precision, "steps in bfloat16 are %.2f times as fast, and it is taken from %.1f on", f32 / bf16,
        recipe.bf16_gain);
}

static void choose_batch(chooser *c, plan *p)
{
    enum { N = sizeof recipe.batches / sizeof *recipe.batches };
    const double seconds = ask(c, p->side, p->rung, p->precision, first_stage(c->w));
    if (c->is_wanting) return;
    p->batch = recipe.batches[0];
    why(p->why_batch, "as it was given");
    if (c->w->batch) {
        p->batch = c->w->batch;
        return;
    }
    const double images = images_of_first(c, seconds);
    for (int i = 1; i < N; i++)
        if (images / recipe.batches[i] >= recipe.least_steps && c->f->pictures >= (uint64_t)recipe.batches[i])
            p->batch = recipe.batches[i];
    why(p->why_batch, "the largest that leaves %.0f steps to the first stage, or the smallest", recipe.least_steps);
}

static void choose_stages(chooser *c, plan *p)
{
    for (int k = 0; k < PLAN_STAGES; k++) {
        plan_stage *s = &p->stages[p->n_stages];
        if (!(share_of(c->w, k) > 0)) continue;
        s->kind = plan_kind_of(c->f, c->w, k);
        s->number = k;
        s->is_fixed = c->w->steps[k] > 0;
        s->steps = c->w->steps[k];
        s->share = s->is_fixed ? 0 : share_of(c->w, k);
        s->seconds_image = ask(c, p->side, p->rung, p->precision, k);
        if (c->is_wanting) return;
        p->n_stages++;
    }
}

static void choose(chooser *c, plan *p)
{
    memset(p, 0, sizeof *p);
    choose_side(c, p);
    if (!c->is_wanting) choose_network(c, p);
    if (!c->is_wanting) choose_precision(c, p);
    if (!c->is_wanting) choose_batch(c, p);
    if (!c->is_wanting) choose_stages(c, p);
}

int plan_next(const plan_facts *facts, const plan_wishes *wishes, plan_measure *wanted)
{
    chooser c = {.f = facts, .w = wishes};
    plan p;
    choose(&c, &p);
    *wanted = c.wanted;
    return c.is_wanting;
}

/* --- texts ---------------------------------------------------------------------------------------- */

static int is_augmented(const plan_facts *f, const plan_wishes *w)
{
    return f->may_mirror && f->pictures < recipe.augment_below && !w->is_network_given && share_of(w, 0) > 0;
}

int plan_network(int rung, int side, int channels, int classes, int augment_dim, char text[PLAN_NETWORK])
{
    const plan_rung *r = &recipe.rungs[rung];
    const char *last = strrchr(r->multipliers, ' ') + 1;
    const int levels = side >= 64 ? 4 : 3, lowest = side >> (levels - 1);
    char attention[16] = "";
    if (side < 8 || side % (1 << (levels - 1)) != 0) return 0;
    if (r->attention) (void)snprintf(attention, sizeof attention, "%d", lowest);
    const int n = snprintf(
        text, PLAN_NETWORK,
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": %d, \"in_channels\": %d, \"out_channels\": %d, "
        "\"label_dim\": %d, \"augment_dim\": %d, \"model_channels\": %d, \"channel_mult\": [%s%s%s], "
        "\"channel_mult_emb\": 4, \"num_blocks\": %d, \"attn_resolutions\": [%s], \"dropout\": 0, "
        "\"label_dropout\": 0, \"embedding_type\": \"positional\", \"channel_mult_noise\": 1, "
        "\"encoder_type\": \"standard\", \"decoder_type\": \"standard\", \"resample_filter\": [1, 1]}, "
        "\"precond\": {\"type\": \"edm\", \"time\": \"ln/4\", \"sigma_data\": 0.5, \"sigma_min\": 0.002, "
        "\"sigma_max\": 80}, \"image\": {\"channels\": %d, \"height\": %d, \"width\": %d, \"labels\": %d}}",
        side, channels, channels, classes, augment_dim, r->channels, r->multipliers, levels == 4 ? ", " : "",
        levels == 4 ? last : "", r->blocks, attention, channels, side, side, classes);
    return n > 0 && n < PLAN_NETWORK;
}

static void add(char text[PLAN_OPTIONS], const char *format, ...)
{
    const size_t at = strlen(text);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text + at, PLAN_OPTIONS - at, format, args);
    va_end(args);
}

/* Half-lives that follow the steps when these are revised.  The ramps reach them after four fifths of the stage. */
static void add_averages(char text[PLAN_OPTIONS])
{
    for (int i = 0; i < PLAN_AVERAGES; i++)
        add(text, "%shalflife:%.4g%%:%.4g", i ? "," : " ema=", 100 * recipe.averages[i], 1.25 * recipe.averages[i]);
}

static void write_options(const plan_facts *f, const plan_wishes *w, const plan *p, plan_stage *s)
{
    const int is_teacher = strcmp(s->kind->objective, "edm") == 0;
    const double guidance = plan_guidance(f, w);
    s->options[0] = '\0';
    add(s->options, "objective=%s batch=%d %s precision=%s", s->kind->objective, p->batch, s->kind->options,
        p->precision == PLAN_BF16 ? "bf16" : "f32");
    add_averages(s->options);
    if (s->kind->has_huber)
        add(s->options, " huber_c=%.4g", recipe.huber * sqrt((double)f->channels * p->side * p->side));
    if (guidance != 1 && is_teacher) add(s->options, " %s", recipe.unlabelled);
    if (guidance != 1 && s->kind->teacher == PLAN_GUIDED) add(s->options, " guidance=%.10g", guidance);
    if (f->may_mirror) add(s->options, " %s", recipe.mirrored);
    if (is_teacher && is_augmented(f, w)) add(s->options, " %s", recipe.augment);
    if (f->pictures < recipe.dropout_below) add(s->options, " %s", recipe.dropout);
}

/* --- the plan ------------------------------------------------------------------------------------- */

static double step_seconds(const plan *p, const plan_stage *s)
{
    return s->seconds_image * p->batch / recipe.work;
}

double plan_allowance(const plan *p, int at, double left, double slowness)
{
    double fixed = 0, shares = 0;
    for (int k = at; k < p->n_stages; k++) {
        const plan_stage *s = &p->stages[k];
        if (s->is_fixed) fixed += (double)s->steps * step_seconds(p, s) * slowness;
        shares += s->share;
    }
    const plan_stage *s = &p->stages[at];
    if (s->is_fixed) return (double)s->steps * step_seconds(p, s) * slowness;
    return left > fixed ? (left - fixed) * s->share / shares : 0;
}

const char *plan_make(const plan_facts *facts, const plan_wishes *wishes, plan *p)
{
    chooser c = {.f = facts, .w = wishes};
    double left = facts->budget;
    choose(&c, p);
    if (c.is_wanting) return "a measurement is missing";
    if (p->n_stages == 0) return "every stage was left out";
    if (p->stages[0].kind->teacher) return "its first stage needs a teacher: give the teacher a share";
    if (facts->pictures < (uint64_t)p->batch) return "there are fewer pictures than a batch has images";
    if (!wishes->is_network_given && !plan_network(p->rung, p->side, facts->channels, facts->classes,
                                                   is_augmented(facts, wishes) ? recipe.augment_dim : 0, p->network))
        return "images of this size cannot be halved as often as the network does it: a multiple of 8 can";
    for (int k = 0; k < p->n_stages; k++) {
        plan_stage *s = &p->stages[k];
        const double allowed = s->is_fixed ? 0 : plan_allowance(p, k, left, 1);
        if (!s->is_fixed) s->steps = (int64_t)(allowed / step_seconds(p, s));
        if (s->steps < 2) return "the budget is too short for two steps of every stage";
        s->seconds = (double)s->steps * step_seconds(p, s);
        p->seconds += s->seconds;
        left -= s->seconds;
        write_options(facts, wishes, p, s);
    }
    return NULL;
}

double plan_held_out(uint64_t pictures)
{
    const double most = (double)recipe.held_out_most / (double)(pictures ? pictures : 1);
    if (pictures < recipe.held_out_from) return 0;
    return most < recipe.held_out ? most : recipe.held_out;
}

/* --- while it runs -------------------------------------------------------------------------------- */

int64_t plan_revised(int64_t step, int64_t steps, double seconds_step, double left, double tolerance)
{
    static const double last = 0.85; /* of the steps: beyond it the learning rate has all but fallen */
    const double needed = (double)(steps - step) * seconds_step;
    if (!(seconds_step > 0) || (needed <= left + tolerance && needed >= left - 2 * tolerance)) return steps;
    if (needed < left && (double)step > last * (double)steps) return steps;
    const int64_t more = left > 0 ? (int64_t)(left / seconds_step) : 0;
    return step + more;
}
