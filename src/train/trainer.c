/* trainer.c - the only file that knows the order of things in a step:
 * schedules, gradients, check, clip, update, averages, target. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/parallel.h"
#include "base/rng.h"
#include "data/loader.h"
#include "diffusion/schedule.h"
#include "io/directory.h"

/* --- making -------------------------------------------------------------------- */

/* The preconditioning the objective trains; the model's family has to allow it. */
static cm_status set_precond(cm_trainer *t)
{
    t->precond = t->model->precond;
    t->precond.context = NULL; /* the table is the model's */
    if (!t->model->precond.kind->trainable)
        CM_FAIL(
            CM_ERR_UNSUPPORTED,
            "a model with precond \"%s\" cannot be trained in this version: its network expects other inputs than "
            "\"edm\", \"cm\" or \"ecm\"",
            cm_precond_name(&t->model->precond));
    t->precond.kind = cm_precond_kind_find(t->objective->precond);
    return CM_OK;
}

static cm_status set_config(cm_trainer *t)
{
    const cm_precond *p = &t->precond;
    t->config = json_deep_copy(t->model->file.config);
    json_t *precond =
        json_pack("{s:s, s:f, s:f, s:f, s:s}", "type", cm_precond_name(p), "sigma_data", p->sigma_data, "sigma_min",
                  p->sigma_min, "sigma_max", p->sigma_max, "time", p->time == CM_TIME_250LN ? "250ln" : "ln/4");
    if (!t->config || !precond || json_object_set_new(t->config, "precond", precond) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    (void)json_object_del(t->config, "training");
    json_t *names = t->teacher && !json_object_get(t->config, "classes")
                        ? json_object_get(t->teacher->file.config, "classes")
                        : NULL;
    if (names && json_object_set(t->config, "classes", names) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: class names");
    return CM_OK;
}

static cm_status check_teacher(const cm_trainer *t)
{
    const cm_model *m = t->model, *teacher = t->teacher;
    if (t->objective->needs_teacher && !teacher)
        CM_FAIL(CM_ERR_ARGUMENT, "objective %s needs a teacher", t->objective->name);
    if (!t->objective->needs_teacher && teacher)
        CM_FAIL(CM_ERR_ARGUMENT, "a teacher has no effect on objective %s", t->objective->name);
    if (!teacher) return CM_OK;
    if (teacher->channels != m->channels || teacher->height != m->height || teacher->width != m->width)
        CM_FAIL(CM_ERR_SHAPE, "the teacher makes images of %d x %d x %d (C x H x W), the model of %d x %d x %d",
                teacher->channels, teacher->height, teacher->width, m->channels, m->height, m->width);
    if (teacher->net.num_classes != m->net.num_classes)
        CM_FAIL(CM_ERR_SHAPE, "the teacher knows %d classes, the model %d", teacher->net.num_classes,
                m->net.num_classes);
    if (teacher->precond.kind->raw) CM_FAIL(CM_ERR_ARGUMENT, "a teacher with precond \"none\" does not denoise");
    if (!t->objective->student_becomes_teacher) return CM_OK;
    if (teacher->graph->n_params != m->graph->n_params ||
        teacher->precond.kind != cm_precond_kind_find(t->objective->precond))
        CM_FAIL(CM_ERR_SHAPE, "objective %s needs a teacher of the same network with precond \"%s\"",
                t->objective->name, t->objective->precond);
    for (int i = 0; i < m->graph->n_params; i++)
        if (cm_param_elements(&m->graph->params[i]) != cm_param_elements(&teacher->graph->params[i]))
            CM_FAIL(CM_ERR_SHAPE, "the teacher's tensor '%s' has another size", teacher->graph->params[i].name);
    return CM_OK;
}

static cm_status check_augment(const cm_trainer *t)
{
    if (t->o.augment > 0 && t->model->net.augment_dim != CM_AUGMENT_LABELS)
        CM_FAIL(CM_ERR_ARGUMENT, "augment needs a network with augment_dim %d; this one has %d", CM_AUGMENT_LABELS,
                t->model->net.augment_dim);
    if (t->o.label_dropout > 0 && (t->model->net.num_classes == 0 || cm_model_needs_label(t->model)))
        CM_FAIL(CM_ERR_ARGUMENT, "label_dropout needs a network that knows \"no label\"; this one %s",
                t->model->net.num_classes ? "always takes one" : "has no classes");
    return CM_OK;
}

/* Eighths of the batch, so that eight threads have work, but four images if that
 * leaves four slices: convolutions by Winograd share what they do to weights and
 * their gradients among a slice. */
static size_t slice_rule(const cm_train_settings *o)
{
    size_t batch = (size_t)o->batch, slice = (batch + 7) / 8, four = batch / 4 < 4 ? batch / 4 : 4;
    if (slice < four) slice = four;
    if (o->microbatch) slice = (size_t)o->microbatch;
    else if (slice > 16) slice = 16;
    return slice < (size_t)o->batch ? slice : (size_t)o->batch;
}

static cm_status learner_options(const cm_trainer *t, cm_learner_options *out)
{
    const cm_train_settings *o = &t->o;
    *out = (cm_learner_options){
        .threads = o->threads ? o->threads : cm_context_threads(t->context),
        .batch = (size_t)o->batch,
        .slice = slice_rule(o),
        .dropout = o->dropout < 0 ? t->model->net.dropout : o->dropout,
        .recompute = o->recompute,
        .evaluates_target = t->objective->target != CM_TARGET_NONE,
        .separate_target = t->objective->target == CM_TARGET_AVERAGE && o->mu > 0,
        .separate_teacher = t->objective->student_becomes_teacher,
    };
    return cm_settings_arithmetic(o, cm_context_cpu_level(t->context), &out->arithmetic);
}

static cm_status make_learner(cm_trainer *t)
{
    cm_learner_options options;
    CM_TRY(learner_options(t, &options));
    return cm_learner_create(t->model, &t->precond, t->teacher, &t->settings, &options, &t->learner);
}

static void find_frozen(cm_trainer *t)
{
    const cm_graph *g = t->learner->graph;
    for (int i = 0; i < g->n_params; i++)
        if (strstr(g->params[i].name, "freqs")) {
            t->frozen_begin = t->learner->offsets[i];
            t->frozen_end = t->frozen_begin + cm_param_elements(&g->params[i]);
        }
}

static int augments(const cm_trainer *t)
{
    return t->o.augment > 0 || t->o.flip > 0;
}

/* Makes place for a step of n images. */
static cm_status reserve(cm_trainer *t, size_t n)
{
    if (n <= t->capacity) return CM_OK;
    t->capacity = 0;
    cm_free(t->context, t->loss);
    cm_free(t->context, t->augmented);
    cm_free(t->context, t->augment_labels);
    t->augmented = t->augment_labels = NULL;
    t->loss = cm_calloc(t->context, n, sizeof *t->loss);
    if (!t->loss) return CM_ERR_MEMORY;
    if (augments(t)) {
        t->augmented = cm_calloc(t->context, n * t->learner->image_size, sizeof *t->augmented);
        t->augment_labels = cm_calloc(t->context, n * CM_AUGMENT_LABELS, sizeof *t->augment_labels);
        if (!t->augmented || !t->augment_labels) return CM_ERR_MEMORY;
    }
    t->capacity = n;
    return CM_OK;
}

static cm_status make_buffers(cm_trainer *t)
{
    size_t floats = t->learner->floats;
    if (cm_optimizer_at(t->o.optimizer)->has_moments) {
        t->m = cm_calloc(t->context, floats, sizeof *t->m);
        t->v = cm_calloc(t->context, floats, sizeof *t->v);
        if (!t->m || !t->v) return CM_ERR_MEMORY;
    }
    for (int i = 0; i < t->o.ema.count; i++) {
        t->ema[i] = cm_malloc(t->context, floats, sizeof *t->ema[i]);
        if (!t->ema[i]) return CM_ERR_MEMORY;
        memcpy(t->ema[i], t->learner->online.values, floats * sizeof *t->ema[i]);
    }
    CM_TRY(reserve(t, (size_t)t->o.batch));
    if (!augments(t)) return CM_OK;
    return cm_augmenter_create(t->context, t->model->channels, t->model->height, t->model->width, t->o.augment,
                               t->o.flip, &t->augmenter);
}

/* What the options make of the model's range of noise levels. */
static cm_status check_levels(const cm_trainer *t)
{
    const cm_objective_settings *s = &t->settings;
    const cm_train_settings *o = &t->o;
    if (t->objective->check_levels) CM_TRY(t->objective->check_levels(o, s));
    if (!t->objective->is_discrete) return CM_OK;
    if (!(s->sigma_min > 0))
        CM_FAIL(CM_ERR_ARGUMENT, "objective %s needs a precond with sigma_min above 0", t->objective->name);
    int32_t n = o->end_scales > o->start_scales ? o->end_scales : o->start_scales;
    double last = cm_karras_sigma(n - 1, n, s->sigma_min, s->sigma_max, s->rho);
    if (!(fabs(last - s->sigma_min) <= 1e-3 * s->sigma_min))
        CM_FAIL(CM_ERR_ARGUMENT, "rho %g makes %g of the last of %d levels between %g and %g, expected %g", s->rho,
                last, n, s->sigma_max, s->sigma_min, s->sigma_min);
    return CM_OK;
}

/* Model, teacher and options compared; what follows from them. */
static cm_status settle(cm_trainer *t)
{
    const cm_model *m = t->model;
    CM_TRY(check_teacher(t));
    CM_TRY(check_augment(t));
    CM_TRY(set_precond(t));
    CM_TRY(set_config(t));
    t->settings = cm_objective_settings_of(&t->o, m->channels, m->height, m->width);
    t->settings.sigma_min = t->precond.sigma_min;
    t->settings.sigma_max = t->precond.sigma_max;
    t->settings.sigma_data = t->precond.sigma_data;
    t->curriculum = cm_curriculum_of(&t->o);
    t->optim = cm_optim_of(&t->o);
    CM_TRY(check_levels(t));
    return CM_OK;
}

static cm_status build(cm_trainer *t)
{
    cm_settings_warn(t->context, &t->o);
    CM_TRY(make_learner(t));
    find_frozen(t);
    return make_buffers(t);
}

/* A trainer without memory. */
static cm_status begin(cm_model *model, cm_model *teacher, const cm_train_settings *options, cm_trainer **out)
{
    cm_context *owner;
    *out = NULL;
    if (!model) model = teacher; /* distillation begins with the teacher's weights */
    if (!model) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_create: model is NULL");
    CM_TRY(cm_settings_check(options, cm_context_cpu_level(model->context)));
    CM_TRY(cm_context_retain(model->context, &owner));
    cm_trainer *t = cm_calloc(owner, 1, sizeof *t);
    if (!t) {
        cm_context_free(owner);
        return CM_ERR_MEMORY;
    }
    t->context = owner;
    t->locks.context = owner;
    t->o = *options;
    t->objective = cm_objective_at(options->objective);
    cm_model_retain(model);
    t->model = model;
    if (teacher) cm_model_retain(teacher);
    t->teacher = teacher;
    atomic_init(&t->step, 0);
    cm_call_init(&t->call);
    cm_status status = settle(t);
    if (status != CM_OK) cm_trainer_close(t);
    else *out = t;
    return status;
}

cm_status cm_trainer_open(cm_model *model, cm_model *teacher, const cm_train_settings *options, cm_trainer **out)
{
    CM_TRY(begin(model, teacher, options, out));
    cm_status status = build(*out);
    if (status == CM_OK) return CM_OK;
    cm_trainer_close(*out);
    *out = NULL;
    return status;
}

/* learner: its bytes; floats: of a block of all parameters. */
static uint64_t total_bytes(const cm_trainer *t, size_t learner, size_t floats)
{
    size_t blocks = (size_t)t->o.ema.count + (cm_optimizer_at(t->o.optimizer)->has_moments ? 2 : 0);
    size_t image = (size_t)t->model->channels * (size_t)t->model->height * (size_t)t->model->width;
    size_t augmented = augments(t) ? (size_t)t->o.batch * image : 0;
    return learner + (uint64_t)(blocks * floats + augmented) * sizeof(float);
}

uint64_t cm_trainer_size(const cm_trainer *t)
{
    return total_bytes(t, cm_learner_bytes(t->learner), t->learner->floats);
}

cm_status cm_trainer_plan(cm_model *model, cm_model *teacher, const cm_train_settings *options, uint64_t *bytes)
{
    cm_trainer *t;
    cm_learner_options learner;
    size_t of_learner, floats;
    CM_TRY(begin(model, teacher, options, &t));
    cm_status status = learner_options(t, &learner);
    if (status == CM_OK)
        status = cm_learner_estimate(t->model, &t->precond, t->teacher, &learner, &of_learner, &floats);
    if (status == CM_OK) *bytes = total_bytes(t, of_learner, floats);
    cm_trainer_close(t);
    return status;
}

void cm_trainer_close(cm_trainer *t)
{
    if (!t) return;
    cm_context *context = t->context;
    cm_locks_release(&t->locks, 0);
    cm_learner_free(t->learner);
    for (int i = 0; i < CM_MAX_EMAS; i++) cm_free(context, t->ema[i]);
    cm_free(context, t->m);
    cm_free(context, t->v);
    cm_free(context, t->loss);
    cm_augmenter_free(t->augmenter);
    cm_free(context, t->augmented);
    cm_free(context, t->augment_labels);
    json_decref(t->config);
    json_decref(t->dataset);
    cm_model_release(t->model);
    cm_model_release(t->teacher);
    cm_free(context, t);
    cm_context_free(context);
}

float *cm_trainer_block(cm_trainer *t, int32_t weights, int32_t index)
{
    if (weights == CM_WEIGHTS_ONLINE) return t->learner->online.values;
    if (weights == CM_WEIGHTS_TARGET) return t->learner->target.values;
    return index >= 0 && index < t->o.ema.count ? t->ema[index] : NULL;
}

json_t *cm_trainer_config(const cm_trainer *t)
{
    json_t *config = json_deep_copy(t->config);
    json_t *training = json_pack("{s:s, s:I, s:I, s:s}", "objective", t->objective->name, "steps",
                                 (json_int_t)t->step, "images", (json_int_t)t->images, "library", cm_version());
    if (config && training) (void)json_object_set_new(config, "training", training);
    return config;
}

cm_status cm_trainer_refresh(cm_trainer *t)
{
    cm_learner *l = t->learner;
    CM_TRY(cm_learner_refresh(l, &l->online));
    if (l->target.values) CM_TRY(cm_learner_refresh(l, &l->target));
    return l->teacher_set.values ? cm_learner_refresh(l, &l->teacher_set) : CM_OK;
}

/* --- a step ---------------------------------------------------------------------- */

/* Progressive distillation: when N changes, the student becomes the teacher and the
 * optimizer begins anew (algorithms 4.3). */
static cm_status change_stage(cm_trainer *t, int32_t scales)
{
    cm_learner *l = t->learner;
    if (t->objective->student_becomes_teacher && t->last_scales && t->last_scales != scales) {
        memcpy(l->teacher_set.values, l->online.values, l->floats * sizeof *l->teacher_set.values);
        CM_TRY(cm_learner_refresh(l, &l->teacher_set));
        if (t->m) {
            memset(t->m, 0, l->floats * sizeof *t->m);
            memset(t->v, 0, l->floats * sizeof *t->v);
        }
        t->updates = 0;
    }
    t->last_scales = scales;
    return CM_OK;
}

/* Flips and EDM's augmentations: functions of (seed, image number). */
static const float *augment(cm_trainer *t, const float *images, cm_learner_batch *b)
{
    if (!augments(t)) return images;
    for (size_t i = 0; i < b->n; i++) {
        const cm_stream s = {b->seed, cm_learner_stream(b->first + i), CM_DRAW_AUGMENT};
        cm_augmenter_image(t->augmenter, &s, images + i * t->learner->image_size,
                           t->augmented + i * t->learner->image_size, t->augment_labels + i * CM_AUGMENT_LABELS);
    }
    if (t->o.augment > 0) b->augment = t->augment_labels;
    return t->augmented;
}

/* One pass over the parameters: weights, averages, target, piece by piece while the
 * piece is near. */
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
    cm_optim_apply(s->kernels, &s->update, end - begin, l->online.values + begin, l->gradient + begin,
                   t->m ? t->m + begin : NULL, t->v ? t->v + begin : NULL);
}

static cm_status update_piece(void *user, int index, int worker)
{
    const pass *s = user;
    const cm_trainer *t = s->t;
    const cm_learner *l = t->learner;
    size_t begin = (size_t)index * PIECE, end = l->floats - begin < PIECE ? l->floats : begin + PIECE;
    const float *p = l->online.values + begin;
    (void)worker;
    step_range(s, begin, end < t->frozen_begin ? end : t->frozen_begin);
    step_range(s, begin > t->frozen_end ? begin : t->frozen_end, end);
    for (int i = 0; i < t->o.ema.count; i++) cm_ema_apply(s->rates[i], end - begin, t->ema[i] + begin, p);
    if (l->target.values) cm_ema_apply(s->mu, end - begin, l->target.values + begin, p);
    return CM_OK;
}

/* Weights, averages, target; then the packed copies. */
static cm_status update(cm_trainer *t, size_t n, const cm_moment *now)
{
    cm_learner *l = t->learner;
    pass s = {.t = t,
              .kernels = cm_kernels_for(cm_context_cpu_level(t->context)),
              .update = cm_optim_prepare(&t->optim, t->updates + 1, now->lr),
              .mu = now->mu};
    for (int i = 0; i < t->o.ema.count; i++) {
        s.rates[i] = cm_ema_rate_at(&t->o.ema.rates[i], t->step, (double)t->images, (double)n);
    }
    const cm_threads threads = {t->context, l->options.threads};
    CM_TRY(cm_parallel(threads, (int)((l->floats + PIECE - 1) / PIECE), update_piece, &s));
    CM_TRY(cm_learner_refresh(l, &l->online));
    return l->target.values ? cm_learner_refresh(l, &l->target) : CM_OK;
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
    const char *tensor = isfinite(norm) ? NULL : cm_learner_nonfinite(t->learner);
    if (t->skipped < t->o.skip_nonfinite) {
        t->skipped++;
        cm_log(t->context, CM_LOG_WARNING, "step %lld is left out: loss %g, gradient norm %g (%d of %d)",
               (long long)t->step, loss, norm, t->skipped, t->o.skip_nonfinite);
        return CM_OK;
    }
    CM_FAIL(CM_ERR_NUMERIC,
            "step %lld: loss %g, gradient norm %g%s%s; the weights are those before this step (a smaller lr, "
            "grad_clip or "
            "skip_nonfinite may help)",
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
}

static cm_status gradients(cm_trainer *t, size_t n, const float *images, const int32_t *labels, const cm_moment *now)
{
    cm_learner *l = t->learner;
    cm_learner_batch b = {.n = n,
                          .labels = labels,
                          .seed = t->o.seed,
                          .first = t->images,
                          .label_dropout = t->o.label_dropout,
                          .loss = t->loss,
                          .call = &t->call};
    t->settings.scales = now->scales;
    t->settings.stage = now->stage;
    b.images = augment(t, images, &b);
    return cm_learner_run(l, t->objective, &t->settings, &b);
}

static cm_status advance(cm_trainer *t, size_t n, const float *images, const int32_t *labels, cm_train_report *report)
{
    cm_learner *l = t->learner;
    cm_moment now = cm_curriculum_at(&t->curriculum, t->step);
    const cm_threads threads = {t->context, l->options.threads};
    double norm, began = seconds();
    CM_TRY(reserve(t, n));
    CM_TRY(change_stage(t, now.scales));
    CM_TRY(gradients(t, n, images, labels, &now));
    if (t->o.sum_microbatches) {
        double parts = ceil((double)n / (double)l->options.slice);
        CM_TRY(cm_gradient_scale(threads, l->floats, parts, l->gradient));
    }
    CM_TRY(cm_gradient_norm(threads, l->floats, l->gradient, &norm));
    CM_TRY(cm_call_check(&t->call)); /* the last time: from here on the step is taken whole */
    double loss = mean_loss(t, n);
    if (!isfinite(loss) || !isfinite(norm)) {
        CM_TRY(refuse_nonfinite(t, loss, norm));
    } else {
        if (t->o.grad_clip > 0)
            CM_TRY(cm_gradient_scale(threads, l->floats, cm_clip_factor(t->o.clip_rule, norm, t->o.grad_clip),
                                     l->gradient));
        CM_TRY(update(t, n, &now));
        t->updates++;
    }
    t->step++;
    t->images += n;
    if (report) fill_report(t, &now, loss, norm, began, report);
    return CM_OK;
}

cm_status cm_trainer_advance(cm_trainer *t, size_t n, const float *images, const int32_t *labels,
                             cm_train_report *report)
{
    if (labels) {
        CM_TRY(cm_model_check_labels(t->model, labels, n));
    } else if (cm_model_needs_label(t->model)) {
        CM_FAIL(CM_ERR_ARGUMENT, "this network needs labels 0..%d", t->model->net.num_classes - 1);
    }
    return advance(t, n, images, labels, report);
}

/* --- over a data set ----------------------------------------------------------------- */

cm_status cm_train_check_dataset(const cm_model *m, const cm_dataset *d, int32_t batch)
{
    int32_t classes = m->net.num_classes;
    if (d->o.channels != m->channels || d->o.height != m->height || d->o.width != m->width)
        CM_FAIL(CM_ERR_SHAPE, "the data set gives images of %d x %d x %d (C x H x W), the network takes %d x %d x %d",
                d->o.channels, d->o.height, d->o.width, m->channels, m->height, m->width);
    if (classes && d->labels && d->largest_label >= classes)
        CM_FAIL(CM_ERR_ARGUMENT, "the data set has class %d%s%s, the network knows %d classes", d->largest_label,
                d->classes ? ", " : "", d->classes ? d->classes[d->largest_label] : "", classes);
    if (cm_model_needs_label(m) && !d->labels)
        CM_FAIL(CM_ERR_ARGUMENT, "this network needs labels 0..%d and the data set has none", classes - 1);
    if (d->source->count < (size_t)batch)
        CM_FAIL(CM_ERR_ARGUMENT, "the data set has %zu images, fewer than a batch of %d", d->source->count, batch);
    return CM_OK;
}

/* What is odd about a set that fits, said when a trainer first sees it. */
static void remark_dataset(const cm_trainer *t, const cm_dataset *d)
{
    int32_t classes = t->model->net.num_classes;
    if (classes && !d->labels)
        cm_log(t->context, CM_LOG_WARNING, "the network knows %d classes, but the data set has no labels", classes);
    if (d->o.shuffle != CM_SHUFFLE_NO && d->o.seed != t->o.seed)
        cm_log(t->context, CM_LOG_INFO, "the data set is shuffled by seed %llu", (unsigned long long)d->o.seed);
}

static json_t *fingerprint(const cm_dataset *d)
{
    char hash[20];
    (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)d->fingerprint);
    return json_pack("{s:I, s:I, s:s, s:I, s:i}", "images", (json_int_t)d->source->count, "bytes",
                     (json_int_t)d->source->bytes, "xxh3_64", hash, "seed", (json_int_t)d->o.seed, "shuffle",
                     d->o.shuffle);
}

static cm_status loop(cm_trainer *t, cm_loader *loader, int64_t until, cm_train_fn progress, void *user)
{
    while (t->step < until) {
        const float *images;
        const int32_t *labels;
        cm_train_report report;
        double waited;
        memset(&report, 0, sizeof report);
        report.struct_size = sizeof report;
        CM_TRY(cm_loader_next(loader, &images, &labels, &waited));
        if (!t->model->net.num_classes) labels = NULL;
        CM_TRY(cm_trainer_advance(t, (size_t)t->o.batch, images, labels, &report));
        report.data_wait = waited;
        report.seconds += waited;
        cm_call_pause(&t->call);
        int stop = progress && progress(user, &report);
        cm_call_resume(&t->call);
        if (stop || cm_call_asked(&t->call))
            CM_FAIL(CM_ERR_CANCELLED, "training was stopped after step %lld", (long long)t->step);
    }
    return CM_OK;
}

cm_status cm_trainer_note_dataset(cm_trainer *t, const cm_dataset *d)
{
    CM_TRY(cm_train_check_dataset(t->model, d, t->o.batch));
    if (!t->dataset) remark_dataset(t, d);
    CM_TRY(cm_trainer_take_names(t, d));
    json_t *print = fingerprint(d);
    if (!print) CM_FAIL(CM_ERR_MEMORY, "out of memory: fingerprint");
    if (t->dataset && !json_equal(t->dataset, print)) {
        json_decref(print);
        CM_FAIL(CM_ERR_ARGUMENT, "this is another data set than the one the trainer has been run on");
    }
    json_decref(t->dataset);
    t->dataset = print;
    return CM_OK;
}

cm_status cm_trainer_loop(cm_trainer *t, cm_dataset *dataset, int64_t until, cm_train_fn progress, void *user)
{
    cm_loader *loader;
    cm_status status;
    CM_TRY(cm_trainer_note_dataset(t, dataset));
    if (t->step >= until) return CM_OK;
    CM_TRY(cm_call_begin(&dataset->call, "data set"));
    status = cm_loader_create(dataset, t->images, (size_t)t->o.batch, &t->call, &loader);
    if (status == CM_OK) status = loop(t, loader, until, progress, user);
    cm_loader_free(loader);
    (void)cm_call_end(&dataset->call);
    return status;
}
