/* objective_tcm.c - truncated consistency models (Lee et al. 2025; successors 3), in two stages:
 *
 *   share = max( q^-(stage+1), 1 - limit ) adj(t),  adj = 1 + k sigmoid(-b t), or 1
 *   r = max( t (1 - share), 1e-6 ),  gap = t - r
 *   loss = w(t, gap) d( f(x0 + t z, t), f^-(x0 + r z, r) )
 *
 * Stage 1: ln t is normal, truncated to the model's levels.  With a teacher x0 + r z is one Euler step of its ODE.
 * Stage 2: ln t = m + s T, with T of Student's distribution, t between the border t' and sigma_max.  A network below
 * the border is the frozen one of stage 1, with the same dropout.  A share of the images is learnt at the border, at
 * t = t' + 1e-8, where the target is the frozen network's: the boundary condition.
 *
 *   loss = mean of the others + boundary_weight x mean of the chosen */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "train/learner.h"
#include "io/tensors.h"
#include "train/objective.h"
#include "train/truncated.h"

static const double least = 1e-6, above_border = 1e-8;

/* --- times ------------------------------------------------------------------------------ */

void cmi_tcm_pair(const cm_objective_settings *s, double t, double *r, double *gap)
{
    const double adjust = s->mapping == CM_MAPPING_SIGMOID ? 1 + s->k / (1 + exp(s->b * t)) : 1;
    const double share = fmax(pow(s->q, -(s->stage + 1)), 1 - s->ratio_limit) * adjust;
    *gap = t * share;
    *r = t * (1 - share);
    if (*r > least) return;
    *r = least;
    *gap = t - least;
}

double cmi_tcm_log_time(const cm_objective_settings *s, int second, double u)
{
    const cm_truncated d = {s->p_mean, s->p_std, second ? s->nu : INFINITY,
                            log(second ? s->transition : s->sigma_min), log(s->sigma_max)};
    return cmi_truncated_at(&d, u);
}

/* A uniform number of 64 bits: that of the tails is far below 2^-32. */
static double uniform(const cm_objective_batch *b, size_t i)
{
    return b->u[i] + (b->more_u[i] - 0.5) * 0x1p-32;
}

static int chosen(const cm_objective_batch *b, size_t i)
{
    return b->chosen && b->chosen[i];
}

static void draw_times(const cm_objective_settings *s, const cm_objective_batch *b, int second,
                       cm_objective_buffers *r)
{
    const double others = (double)(b->all - b->n_chosen);
    for (size_t i = 0; i < b->n; i++) {
        double gap;
        r->t[i] = chosen(b, i) ? s->transition + above_border : exp(cmi_tcm_log_time(s, second, uniform(b, i)));
        cmi_tcm_pair(s, r->t[i], &r->t2[i], &gap);
        r->t3[i] = gap;
        r->weight[i] = cmi_pair_weight(s, r->t[i], gap);
        if (!second) continue;
        r->weight[i] *= (double)b->all / (chosen(b, i) ? (double)b->n_chosen : others);
        if (chosen(b, i)) r->weight[i] *= s->boundary_weight;
    }
    cmi_add_noise(b, r->size, r->t, r->x_t);
    cmi_add_noise(b, r->size, r->t2, r->x_t2);
}

static size_t floor_share(double share, size_t n)
{
    return (size_t)floor(share * (double)n);
}

size_t cmi_tcm_choose(uint64_t seed, uint64_t first, size_t n, size_t apart, double share, unsigned char *marks,
                      uint32_t *order)
{
    const size_t wanted = floor_share(share, n);
    cm_stream s = {seed, cmi_learner_stream(first), CM_DRAW_CHOICE};
    size_t count = 0;
    memset(marks, 0, n);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t k = 0; k < wanted; k++) { /* the beginning of a shuffle */
        uint32_t words[4];
        cmi_stream_block(&s, (uint32_t)k, words);
        const size_t from = k + (size_t)(((uint64_t)words[0] * (n - k)) >> 32);
        const uint32_t taken = order[from];
        order[from] = order[k], order[k] = taken;
        marks[taken] = 1;
    }
    if (wanted) return wanted;
    for (size_t i = 0; i < n; i++) {
        double chance;
        s.image = cmi_learner_stream(first + i * apart);
        cmi_stream_uniform(&s, 1, &chance);
        count += marks[i] = chance < share;
    }
    return count;
}

/* --- targets ------------------------------------------------------------------------------ */

/* x_t2 = x_t - (x_t - D)/t gap, with the teacher's D. */
static cm_status teachers_step(const cm_objective_batch *b, const cm_objective_nets *nets, cm_objective_buffers *r)
{
    CM_TRY(nets->evaluate(nets->user, CM_ROLE_TEACHER, r->x_t, r->t, NULL, r->d));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++)
            r->x_t2[k] = r->x_t[k] - (r->x_t[k] - r->d[k]) / r->t[i] * r->t3[i];
    return CM_OK;
}

/* How many of the points at r are below the border, where the frozen network answers. */
static size_t count_below(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_buffers *r)
{
    size_t count = 0;
    for (size_t i = 0; i < b->n; i++) count += r->t2[i] < s->transition;
    return count;
}

static cm_status targets(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                         int second, cm_objective_buffers *r)
{
    const size_t below = second ? count_below(s, b, r) : 0;
    if (below < b->n) CM_TRY(nets->evaluate(nets->user, CM_ROLE_TARGET, r->x_t2, r->t2, NULL, r->target));
    if (below) CM_TRY(nets->evaluate(nets->user, CM_ROLE_FIRST, r->x_t2, r->t2, NULL, r->d));
    for (size_t i = 0; i < b->n; i++) {
        const double *from = second && r->t2[i] < s->transition ? r->d : r->target;
        for (size_t k = i * r->size; k < (i + 1) * r->size; k++) r->target[k] = cmi_scrub(from[k]);
    }
    return CM_OK;
}

static cm_status learn(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                       int second)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    draw_times(s, b, second, &r);
    if (s->distil) CM_TRY(teachers_step(b, nets, &r));
    CM_TRY(targets(s, b, nets, second, &r));
    return cmi_compare_and_learn(s, b, nets, &r);
}

static cm_status run_first(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    return learn(s, b, nets, 0);
}

static cm_status run_second(const cm_objective_settings *s, const cm_objective_batch *b,
                            const cm_objective_nets *nets)
{
    return learn(s, b, nets, 1);
}

/* --- options -------------------------------------------------------------------------------- */

static cm_status check_shares(const cm_train_settings *s, const cm_train_settings *d)
{
    if (s->boundary_share == 0 && s->boundary_weight != d->boundary_weight)
        CM_FAIL(CM_ERR_ARGUMENT, "boundary_weight has no effect with boundary_share 0");
    if (s->boundary_share == 1 && (s->p_mean != d->p_mean || s->p_std != d->p_std || s->student_nu != d->student_nu))
        CM_FAIL(CM_ERR_ARGUMENT, "p_mean, p_std and student_nu have no effect with boundary_share 1");
    return cmi_check_mapping(s, d);
}

static cm_status check_first(const cm_train_settings *s, const cm_objective_settings *o)
{
    CM_TRY(cmi_check_p_mean(s, o, 1));
    if (o->sigma_min > 0) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "objective tcm needs a precond with sigma_min above 0: its times begin there");
}

static cm_status check_second(const cm_train_settings *s, const cm_objective_settings *o)
{
    if (s->transition < o->sigma_max && s->transition > o->sigma_min) return cmi_check_p_mean(s, o, 0);
    CM_FAIL(CM_ERR_ARGUMENT, "transition is %g, expected a level between the model's %g and %g", s->transition,
            o->sigma_min, o->sigma_max);
}

static const char *const first_options[] = {
    "distance",        "huber_c",     "lpips_weights",  "lpips_lin",  "lpips_pooling",
    "lpips_resize",    "sum_pixels",  "p_mean",         "p_std",      "mapping",
    "ect_q",           "ect_k",       "ect_b",          "ect_stages", "ect_stage_steps",
    "ect_first_stage", "ratio_limit", "pair_weighting", NULL};
static const char *const second_options[] = {
    "lpips_weights", "lpips_lin",  "lpips_pooling",   "lpips_resize",    "distance",    "huber_c",
    "sum_pixels",    "p_mean",     "p_std",           "mapping",         "ect_q",       "ect_k",
    "ect_b",         "ect_stages", "ect_stage_steps", "ect_first_stage", "ratio_limit", "pair_weighting",
    "student_nu",    "transition", "boundary_share",  "boundary_weight", NULL};
static const cm_objective_default first_defaults[] = {{"ect_stages", 10}, {NULL, 0}};
static const cm_objective_default second_defaults[] = {
    {"ect_stages", 10}, {"lr", 5e-5}, {"p_mean", 0}, {"p_std", 0.2}, {NULL, 0}};

const cm_objective cmi_objective_tcm = {
    .number = CM_TRAIN_TCM,
    .name = "tcm",
    .about = "Truncated consistency, the first stage, at all noise levels: Lee et al. 2025.",
    .takes_teacher = 1,
    .teacher_denoises = 1,
    .target = CM_TARGET_ONLINE,
    .precond = "ecm",
    .distance = CM_DISTANCE_PSEUDO_HUBER,
    .weighting = CM_WEIGHTING_UNIFORM,
    .huber_least = 1e-8,
    .published = CM_PUBLISHED_TCM,
    .options = first_options,
    .defaults = first_defaults,
    .check = cmi_check_mapping,
    .check_levels = check_first,
    .run = run_first,
};
static size_t choose(const cm_train_settings *s, const cm_choosing *c, unsigned char *marks, uint32_t *order)
{
    return cmi_tcm_choose(c->seed, c->first, c->n, c->apart, s->boundary_share, marks, order);
}

const cm_objective cmi_objective_tcm2 = {
    .number = CM_TRAIN_TCM2,
    .name = "tcm2",
    .about =
        "Truncated consistency, the second stage, above a border; its teacher is the first stage: Lee et al. 2025.",
    .needs_teacher = 1,
    .first_stage = 1,
    .choose = choose,
    .target = CM_TARGET_ONLINE,
    .precond = "ecm",
    .distance = CM_DISTANCE_PSEUDO_HUBER,
    .weighting = CM_WEIGHTING_UNIFORM,
    .huber_least = 1e-8,
    .published = CM_PUBLISHED_TCM,
    .options = second_options,
    .defaults = second_defaults,
    .check = check_shares,
    .check_levels = check_second,
    .run = run_second,
};
