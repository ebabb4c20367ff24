/* trainer_step.c - the only file that knows the order of things in a step: schedules, gradients, check, clip, update,
 * averages, target. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/parallel.h"
#include "base/rng.h"
#include "train/split.h"
#include "train/together.h"

/* Progressive distillation: when N changes, the student becomes the teacher and the
 * optimizer begins anew (algorithms 4.3). */
static cm_status change_stage(cm_trainer *t, int32_t scales)
{
    cm_learner *l = t->learner;
    if (t->objective->student_becomes_teacher && t->last_scales && t->last_scales != scales) {
        memcpy(l->teacher_set.values, l->online.values, l->floats * sizeof *l->teacher_set.values);
        CM_TRY(cmi_learner_refresh(l, &l->teacher_set));
        if (t->m) {
            memset(t->m, 0, (t->held_end - t->held_begin) * sizeof *t->m);
            memset(t->v, 0, (t->held_end - t->held_begin) * sizeof *t->v);
        }
        t->updates = 0;
    }
    t->last_scales = scales;
    return CM_OK;
}

/* Flips and EDM's augmentations: functions of (seed, image number). */
static const float *augment(cm_trainer *t, const float *images, cm_learner_batch *b)
{
    const size_t labels = (size_t)cmi_trainer_augment_labels(t);
    if (!cmi_trainer_augments(t)) return images;
    for (size_t i = 0; i < b->n; i++) {
        const cm_stream s = {b->seed, cmi_learner_stream(b->first + i * t->views), CM_DRAW_AUGMENT};
        cmi_augmenter_image(t->augmenter, &s, images + i * t->learner->image_size,
                            t->augmented + i * t->learner->image_size, t->augment_labels + i * labels);
    }
    if (t->o.augment > 0) b->augment = t->augment_labels;
    return t->augmented;
}

/* One pass over the parameters: weights, averages, target, piece by piece, so that a
 * piece stays in the cache. */
enum { PIECE = 1 << 16 };

typedef struct {
    cm_trainer *t;
    const cm_kernels *kernels;
    cm_optim_update update;
    double rates[CM_MAX_EMAS], mu;
} pass;

static void step_range(const pass *s, size_t begin, size_t end)
{
    const cm_trainer *t = s->t;
    const cm_learner *l = t->learner;
    if (begin >= end) return;
    cmi_optim_apply(s->kernels, &s->update, end - begin, l->online.values + begin, l->gradient + begin,
                    t->m ? t->m + begin - t->held_begin : NULL, t->v ? t->v + begin - t->held_begin : NULL);
}

static cm_status update_piece(void *user, int index, int worker)
{
    const pass *s = user;
    const cm_trainer *t = s->t;
    const cm_learner *l = t->learner;
    size_t begin = t->held_begin + (size_t)index * PIECE,
           end = t->held_end - begin < PIECE ? t->held_end : begin + PIECE;
    const float *p = l->online.values + begin;
    (void)worker;
    step_range(s, begin, end < t->frozen_begin ? end : t->frozen_begin);
    step_range(s, begin > t->frozen_end ? begin : t->frozen_end, end);
    for (int i = 0; i < t->o.ema.count; i++)
        cmi_ema_apply(s->rates[i], end - begin, t->ema[i] + begin - t->held_begin, p);
    if (l->target.values && !cmi_split(t)) cmi_ema_apply(s->mu, end - begin, l->target.values + begin, p);
    return CM_OK;
}

static cm_status target_piece(void *user, int index, int worker)
{
    const pass *s = user;
    const cm_learner *l = s->t->learner;
    const size_t begin = (size_t)index * PIECE, end = l->floats - begin < PIECE ? l->floats : begin + PIECE;
    (void)worker;
    cmi_ema_apply(s->mu, end - begin, l->target.values + begin, l->online.values + begin);
    return CM_OK;
}

static int pieces(size_t floats)
{
    return (int)((floats + PIECE - 1) / PIECE);
}

/* Where each rank has changed its part of the weights they are gathered, and only then does the target follow. */
static cm_status gather_weights(cm_threads threads, const pass *s)
{
    cm_trainer *t = s->t;
    cm_learner *l = t->learner;
    char what[64];
    if (!cmi_split(t)) return CM_OK;
    (void)snprintf(what, sizeof what, "the weights of step %lld", (long long)t->step + 1);
    CM_TRY(cmi_split_gather(t, l->online.values + t->held_begin, l->online.values, what));
    return l->target.values ? cmi_parallel(threads, pieces(l->floats), target_piece, (void *)(uintptr_t)s) : CM_OK;
}

/* Weights, averages, target; then forced normalisation and the packed copies. */
static cm_status update(cm_trainer *t, size_t n, const cm_moment *now)
{
    cm_learner *l = t->learner;
    pass s = {.t = t,
              .kernels = cmi_kernels_for(cmi_context_cpu_level(t->context)),
              .update = cmi_optim_prepare(&t->optim, t->updates + 1, now->lr),
              .mu = now->mu};
    for (int i = 0; i < t->o.ema.count; i++) {
        s.rates[i] = cmi_ema_rate_at(&t->o.ema.rates[i], t->step, (double)t->images, (double)(n * t->views));
    }
    const cm_threads threads = {t->context, l->options.threads};
    CM_TRY(cmi_parallel(threads, pieces(t->held_end - t->held_begin), update_piece, &s));
    CM_TRY(gather_weights(threads, &s));
    if (l->weighing.size)
        cmi_optim_apply(s.kernels, &s.update, (size_t)l->weighing.size, l->weighing.values, l->weighing.gradient,
                        t->weighing_m, t->weighing_v);
    CM_TRY(cmi_learner_force(l, &l->online));
    CM_TRY(cmi_learner_refresh(l, &l->online));
    return l->target.values ? cmi_learner_refresh(l, &l->target) : CM_OK;
}

static double mean_loss(const cm_trainer *t, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += t->loss[i];
    return sum / (double)n;
}

/* A loss or gradient that is not finite: left out where options allow it. */
static cm_status refuse_nonfinite(cm_trainer *t, double loss, double norm)
{
    const char *tensor = isfinite(norm) ? NULL : cmi_learner_nonfinite(t->learner);
    if (t->skipped < t->o.skip_nonfinite) {
        t->skipped++;
        cmi_log(t->context, CM_LOG_WARNING, "step %lld is left out: loss %g, gradient norm %g (%d of %d)",
                (long long)t->step, loss, norm, t->skipped, t->o.skip_nonfinite);
        return CM_OK;
    }
    CM_FAIL(CM_ERR_NUMERIC,
            "step %lld: loss %g, gradient norm %g%s%s; the weights are those before this step (a smaller lr, "
            "grad_clip or skip_nonfinite may help)",
            (long long)t->step, loss, norm, tensor ? ", first in " : "", tensor ? tensor : "");
}

static double seconds(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static void fill_report(const cm_trainer *t, const cm_moment *now, double loss, double norm, double began,
                        cm_train_report *r)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    r->scales = t->objective->is_discrete ? now->scales : 0;
    r->step = t->step;
    r->images = t->images;
    r->loss = loss;
    r->grad_norm = norm;
    r->lr = now->lr;
    r->mu = t->objective->target == CM_TARGET_AVERAGE ? now->mu : 0;
    r->ect_stage = now->stage;
    r->skipped = t->skipped;
    r->seconds = seconds() - began;
    r->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    r->group_wait = t->peers.waited;
}

/* Of the steps of the whole run; a run may be made longer. */
static double share_done(const cm_trainer *t)
{
    return t->step < t->o.steps ? (double)t->step / (double)t->o.steps : 1;
}

static cm_status gradients(cm_trainer *t, size_t n, const float *images, const int32_t *labels, const cm_moment *now)
{
    cm_learner *l = t->learner;
    char what[64];
    cm_learner_batch b = {.all = n,
                          .labels = labels,
                          .seed = t->o.seed,
                          .label_dropout = t->o.label_dropout,
                          .loss = t->loss,
                          .what = what,
                          .call = &t->call};
    CM_TRY(cmi_trainer_share(t, n, &b.begin, &b.n));
    b.first = t->images + b.begin * t->views;
    (void)snprintf(what, sizeof what, "the gradients of step %lld", (long long)t->step + 1);
    t->settings.scales = now->scales;
    t->settings.stage = now->stage;
    t->settings.tangent_share = now->tangent_share;
    b.images = augment(t, images, &b);
    if (t->objective->ratio_at) t->settings.ratio = t->objective->ratio_at(&t->o, share_done(t));
    if (t->objective->choose) {
        const cm_choosing c = {b.seed, t->images, n, t->views};
        b.chosen = t->chosen + b.begin;
        b.n_chosen = t->objective->choose(&t->o, &c, t->chosen, t->order);
    }
    return cmi_learner_run(l, t->objective, &t->settings, &b);
}

static cm_status advance(cm_trainer *t, size_t n, const float *images, const int32_t *labels, cm_train_report *report)
{
    cm_learner *l = t->learner;
    cm_moment now = cmi_curriculum_at(&t->curriculum, t->step);
    const cm_threads threads = {t->context, l->options.threads};
    double norm, began = seconds();
    t->peers.waited = 0;
    CM_TRY(cmi_trainer_reserve(t, n));
    CM_TRY(change_stage(t, now.scales));
    CM_TRY(gradients(t, n, images, labels, &now));
    if (t->o.sum_microbatches) {
        double parts = ceil((double)n / (double)l->options.slice);
        CM_TRY(cmi_gradient_scale(threads, l->floats, parts, l->gradient));
    }
    if (t->o.scrub_gradients) CM_TRY(cmi_gradient_scrub(threads, l->floats, l->gradient));
    CM_TRY(cmi_gradient_norm(threads, l->floats, l->gradient, &norm));
    /* The last time: from here on the step is taken whole.  Ranks have looked before they told each other of losses.
     */
    if (cmi_peers_alone(&t->peers)) CM_TRY(cmi_call_check(&t->call));
    double loss = mean_loss(t, n);
    if (!isfinite(loss) || !isfinite(norm)) {
        CM_TRY(refuse_nonfinite(t, loss, norm));
    } else {
        if (t->o.grad_clip > 0)
            CM_TRY(cmi_gradient_scale(threads, l->floats, cmi_clip_factor(t->o.clip_rule, norm, t->o.grad_clip),
                                      l->gradient));
        CM_TRY(update(t, n, &now));
        t->updates++;
    }
    t->step++;
    t->images += n * t->views;
    if (report) fill_report(t, &now, loss, norm, began, report);
    const int compares = t->o.compare_every > 0 && t->step % t->o.compare_every == 0;
    return compares ? cmi_together_compare_state(t) : CM_OK;
}

cm_status cmi_trainer_advance(cm_trainer *t, size_t n, const float *images, const int32_t *labels,
                              cm_train_report *report)
{
    size_t first, count;
    CM_TRY(cmi_trainer_share(t, n, &first, &count));
    if (labels) {
        CM_TRY(cmi_model_check_labels(t->model, labels, count));
    } else if (cmi_model_needs_label(t->model)) {
        CM_FAIL(CM_ERR_ARGUMENT, "this network needs labels 0..%d", t->model->net.num_classes - 1);
    } else if (cmi_objective_guides(&t->o)) {
        CM_FAIL(CM_ERR_ARGUMENT, "guidance needs labels 0..%d", t->model->net.num_classes - 1);
    }
    return advance(t, n, images, labels, report);
}
