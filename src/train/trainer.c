/* trainer.c - making a trainer: models and options compared, what follows from them, buffers. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "diffusion/schedule.h"
#include "io/directory.h"
#include "nets/published.h"
#include "train/option_rows.h"
#include "train/split.h"
#include "train/together.h"

/* --- making -------------------------------------------------------------------- */

/* Of what precond the models are that it trains, for messages. */
static const char *trained_by(const cm_objective *o)
{
    if (o->precond_two_times) return "\"average-velocity\", whose network has a second_time";
    return o->precond_trigflow ? "\"edm\", \"cm\", \"ecm\" and TrigFlow's" : "\"edm\", \"cm\" and \"ecm\"";
}

/* The preconditioning the objective trains; the model's family has to allow it. */
static cm_status set_precond(cm_trainer *t)
{
    t->precond = t->model->precond;
    t->precond.context = NULL; /* the table is the model's */
    if (!t->model->precond.kind->trainable)
        CM_FAIL(CM_ERR_UNSUPPORTED,
                "no objective trains a model with precond \"%s\"; objective %s trains those of precond %s",
                cmi_precond_name(&t->model->precond), t->objective->name, trained_by(t->objective));
    const cm_precond_kind *kind = t->model->precond.kind;
    const char *as = kind->two_times  ? t->objective->precond_two_times
                     : kind->trigflow ? t->objective->precond_trigflow
                                      : t->objective->precond;
    if (!as)
        CM_FAIL(CM_ERR_ARGUMENT, "objective %s trains models of precond %s; this one has precond \"%s\"",
                t->objective->name, trained_by(t->objective), cmi_precond_name(&t->model->precond));
    t->precond.kind = cmi_precond_kind_find(as);
    t->precond.boundary = 0; /* ECT trains with its boundary there */
    return CM_OK;
}

/* One output or two, which what a network is told of guidance goes with. */
static cm_status check_heads(const cm_trainer *t)
{
    const cm_net_config *n = &t->model->net;
    const int heads = n->out_channels > t->model->out_channels ? 2 : 1, expected = t->objective->heads > 1 ? 2 : 1;
    if (heads == expected && (n->conditions != 0) == (expected > 1)) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT,
            "objective %s trains networks with out_channels %d and conditions %d; this one has out_channels %d and "
            "conditions %d",
            t->objective->name, expected * t->model->out_channels, expected > 1 ? 3 : 0, n->out_channels,
            n->conditions);
}

/* "sampling": the second level is that of the objective's published models, where sigma_data is 0.5. */
static cm_status set_sampling(cm_trainer *t)
{
    const cm_precond *p = &t->precond;
    const char *kind = t->objective->published;
    const cm_published *row = kind ? cmi_published_find(kind, t->model->net.family->name, 0, NULL) : NULL;
    const double second = row ? row->levels[1] * p->sigma_data / 0.5 : 0;
    (void)json_object_del(t->config, "sampling"); /* that of the model it begins with */
    if (!(second > p->sigma_min) || second >= p->sigma_max) return CM_OK;
    json_t *sampling = json_pack("{s:[f,f]}", "sigmas", p->sigma_max, second);
    if (!sampling || json_object_set_new(t->config, "sampling", sampling) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

static cm_status set_config(cm_trainer *t)
{
    const cm_precond *p = &t->precond;
    t->config = cmi_json_copy(t->model->file.config);
    json_t *precond = json_pack("{s:s, s:f, s:f, s:f, s:s*}", "type", cmi_precond_name(p), "sigma_data",
                                p->sigma_data, "sigma_min", p->sigma_min, "sigma_max", p->sigma_max, "time",
                                p->kind->trigflow || p->kind->two_times ? NULL
                                : p->time == CM_TIME_250LN              ? "250ln"
                                                                        : "ln/4");
    if (!t->config || !precond || json_object_set_new(t->config, "precond", precond) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    (void)json_object_del(t->config, "training");
    CM_TRY(set_sampling(t));
    json_t *names = t->teacher && !json_object_get(t->config, "classes")
                        ? json_object_get(t->teacher->file.config, "classes")
                        : NULL;
    if (names && json_object_set(t->config, "classes", names) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: class names");
    return CM_OK;
}

/* A consistency function has no slope to follow, and what was trained on fewer levels no estimate there. */
static cm_status check_denoiser(const cm_trainer *t)
{
    const cm_precond *p = &t->teacher->precond, *own = &t->model->precond;
    if (p->kind->is_consistency)
        CM_FAIL(CM_ERR_ARGUMENT,
                "objective %s follows the trajectories of a diffusion model; the teacher is a consistency model "
                "(precond \"%s\")",
                t->objective->name, cmi_precond_name(p));
    if (!p->kind->any_level &&
        (p->sigma_max < own->sigma_max * (1 - 1e-6) || p->sigma_min > own->sigma_min * (1 + 1e-6)))
        CM_FAIL(CM_ERR_ARGUMENT, "the teacher knows the noise levels %g to %g, the model is trained on %g to %g",
                p->sigma_min, p->sigma_max, own->sigma_min, own->sigma_max);
    return CM_OK;
}

static cm_status check_teacher(const cm_trainer *t)
{
    const cm_model *m = t->model, *teacher = t->teacher;
    if (t->objective->needs_teacher && !teacher)
        CM_FAIL(CM_ERR_ARGUMENT, "objective %s needs a teacher%s", t->objective->name,
                t->objective->first_stage ? ": the network of the first stage" : "");
    if (!t->objective->needs_teacher && !t->objective->takes_teacher && teacher)
        CM_FAIL(CM_ERR_ARGUMENT, "a teacher has no effect on objective %s", t->objective->name);
    if (!teacher) return CM_OK;
    if (teacher->channels != m->channels || teacher->height != m->height || teacher->width != m->width)
        CM_FAIL(CM_ERR_SHAPE, "the teacher makes images of %d x %d x %d (C x H x W), the model of %d x %d x %d",
                teacher->channels, teacher->height, teacher->width, m->channels, m->height, m->width);
    if (teacher->net.num_classes != m->net.num_classes)
        CM_FAIL(CM_ERR_SHAPE, "the teacher knows %d classes, the model %d", teacher->net.num_classes,
                m->net.num_classes);
    if (teacher->precond.kind->raw) CM_FAIL(CM_ERR_ARGUMENT, "a teacher with precond \"none\" does not denoise");
    if (t->objective->teacher_denoises) CM_TRY(check_denoiser(t));
    if (!t->objective->student_becomes_teacher && !t->objective->first_stage) return CM_OK;
    if (teacher->graph->n_params != m->graph->n_params ||
        teacher->precond.kind != cmi_precond_kind_find(t->objective->precond))
        CM_FAIL(CM_ERR_SHAPE, "objective %s needs a teacher of the same network with precond \"%s\"",
                t->objective->name, t->objective->precond);
    for (int i = 0; i < m->graph->n_params; i++)
        if (cmi_param_elements(&m->graph->params[i]) != cmi_param_elements(&teacher->graph->params[i]))
            CM_FAIL(CM_ERR_SHAPE, "the teacher's tensor '%s' has another size", teacher->graph->params[i].name);
    return CM_OK;
}

/* What needs a network that knows "no label" as well as classes. */
static cm_status check_no_label(const cm_model *m, const char *what, const char *whose)
{
    if (m->net.num_classes > 0 && !cmi_model_needs_label(m)) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "%s needs a %s that knows \"no label\"; this one %s", what, whose,
            m->net.num_classes ? "always takes one" : "has no classes");
}

static cm_status check_labels(const cm_trainer *t)
{
    const int itself = cmi_objective_guides_itself(&t->o);
    if (itself || t->o.label_dropout > 0)
        CM_TRY(check_no_label(t->model, itself ? "guidance" : "label_dropout", "network"));
    if (!cmi_objective_guides(&t->o) || itself) return CM_OK;
    return check_no_label(t->teacher, "guidance", "teacher");
}

static cm_status check_augment(const cm_trainer *t)
{
    const int32_t labels = t->model->net.augment_dim;
    if (t->o.augment > 0 && labels != CM_AUGMENT_LABELS && labels != CM_AUGMENT_FEWER)
        CM_FAIL(CM_ERR_ARGUMENT, "augment needs a network with augment_dim %d or %d; this one has %d",
                CM_AUGMENT_LABELS, CM_AUGMENT_FEWER, labels);
    return CM_OK;
}

/* Eighths of the batch, so that eight threads have work, but four images if that
 * leaves four slices: convolutions by Winograd share what they do to weights and
 * their gradients among a slice. */
static size_t slice_of_pairs(const cm_train_settings *o)
{
    size_t batch = (size_t)o->batch, slice = (batch + 7) / 8, four = batch / 4 < 4 ? batch / 4 : 4;
    if (slice < four) slice = four;
    if (o->microbatch) slice = (size_t)o->microbatch;
    else if (slice > 16) slice = 16;
    return slice < (size_t)o->batch ? slice : (size_t)o->batch;
}

/* The pairs of an image stay together. */
static size_t slice_rule(const cm_trainer *t)
{
    const size_t images = slice_of_pairs(&t->o) / t->views;
    return images > 0 ? images : 1;
}

static cm_status learner_options(cm_trainer *t, cm_learner_options *out)
{
    const cm_train_settings *o = &t->o;
    *out = (cm_learner_options){
        .threads = o->threads ? o->threads : cmi_context_threads(t->context),
        .batch = cmi_share_largest(&t->share, cmi_trainer_batch(t), slice_rule(t)),
        .slice = slice_rule(t),
        .share = t->share,
        .peers = &t->peers,
        .views = t->views,
        .dropout = o->dropout < 0 ? t->model->net.dropout : o->dropout,
        .recompute = o->recompute,
        .axis = t->objective->axis,
        .differentiates = t->objective->differentiates,
        .heads = t->objective->heads,
        .evaluates_target = t->objective->target != CM_TARGET_NONE || cmi_objective_guides_itself(o),
        .separate_target = t->objective->target == CM_TARGET_AVERAGE && o->mu > 0,
        .first_stage = t->objective->first_stage,
        .separate_teacher = t->objective->student_becomes_teacher,
        .weight_net =
            cmi_objective_reads(t->objective, cmi_option_row_find("weight_net")) ? o->weight_net : CM_WEIGHT_NET_NONE,
        .seed = o->seed,
    };
    out->learns_through =
        cmi_objective_reads(t->objective, cmi_option_row_find("stop_gradient")) && !o->stop_gradient;
    if (cmi_distance_at(t->settings.distance.kind)->of_network) {
        const cm_perceptual_use use = !t->objective->curves ? CM_PERCEPTUAL_VALUE
                                      : out->learns_through ? CM_PERCEPTUAL_SLOPE
                                                            : CM_PERCEPTUAL_CURVATURE;
        CM_TRY(cmi_perceptual_distance_open(t->context, o, &t->settings.distance, use, &t->distance));
        out->distance = t->distance;
    }
    return cmi_settings_arithmetic(o, cmi_context_cpu_level(t->context), &out->arithmetic);
}

static cm_status make_learner(cm_trainer *t)
{
    cm_learner_options options;
    CM_TRY(learner_options(t, &options));
    return cmi_learner_create(t->model, &t->precond, t->teacher, &t->settings, &options, &t->learner);
}

/* Tables of frequencies and phases, which have to stand one behind the other: what lies between does not learn. */
static cm_status find_frozen(cm_trainer *t)
{
    const cm_graph *g = t->learner->graph;
    int last = -1;
    for (int i = 0; i < g->n_params; i++) {
        if (!g->params[i].exact) continue;
        if (last >= 0 && i != last + 1)
            CM_FAIL(CM_ERR_INTERNAL, "%s: fixed tables of a network are apart", g->params[i].name);
        if (last < 0) t->frozen_begin = t->learner->offsets[i];
        t->frozen_end = t->learner->offsets[i] + cmi_param_elements(&g->params[i]);
        last = i;
    }
    return CM_OK;
}

size_t cmi_trainer_batch(const cm_trainer *t)
{
    return (size_t)t->o.batch / t->views;
}

int cmi_trainer_augments(const cm_trainer *t)
{
    return t->o.augment > 0 || t->o.flip > 0;
}

int32_t cmi_trainer_augment_labels(const cm_trainer *t)
{
    return t->o.augment > 0 ? t->model->net.augment_dim : CM_AUGMENT_LABELS;
}

cm_status cmi_trainer_reserve(cm_trainer *t, size_t n)
{
    if (n <= t->capacity) return CM_OK;
    t->capacity = 0;
    cmi_free(t->context, t->loss);
    cmi_free(t->context, t->chosen);
    cmi_free(t->context, t->order);
    cmi_free(t->context, t->augmented);
    cmi_free(t->context, t->augment_labels);
    t->chosen = NULL, t->order = NULL;
    t->augmented = t->augment_labels = NULL;
    t->loss = cmi_calloc(t->context, n, sizeof *t->loss);
    if (!t->loss) return CM_ERR_MEMORY;
    if (t->objective->choose) {
        t->chosen = cmi_calloc(t->context, n, sizeof *t->chosen);
        t->order = cmi_calloc(t->context, n, sizeof *t->order);
        if (!t->chosen || !t->order) return CM_ERR_MEMORY;
    }
    if (cmi_trainer_augments(t)) {
        const size_t own = cmi_share_count(&t->share, n, t->learner->options.slice);
        t->augmented = cmi_calloc(t->context, own * t->learner->image_size, sizeof *t->augmented);
        t->augment_labels =
            cmi_calloc(t->context, own * (size_t)cmi_trainer_augment_labels(t), sizeof *t->augment_labels);
        if (!t->augmented || !t->augment_labels) return CM_ERR_MEMORY;
    }
    t->capacity = n;
    return CM_OK;
}

cm_status cmi_trainer_share(const cm_trainer *t, size_t n, size_t *first, size_t *count)
{
    const size_t slice = t->learner->options.slice;
    CM_TRY(cmi_share_check(&t->share, n, slice));
    *first = cmi_share_first(&t->share, n, slice);
    *count = cmi_share_count(&t->share, n, slice);
    return CM_OK;
}

cm_status cmi_trainer_reserve_dense(cm_trainer *t, size_t n)
{
    if (n <= t->dense_capacity) return CM_OK;
    t->dense_capacity = 0;
    cmi_free(t->context, t->dense);
    t->dense = cmi_malloc(t->context, n * t->learner->image_size, sizeof *t->dense);
    if (!t->dense) return CM_ERR_MEMORY;
    t->dense_capacity = n;
    return CM_OK;
}

static cm_status make_buffers(cm_trainer *t)
{
    CM_TRY(cmi_split_find(t, t->learner->floats));
    const size_t floats = t->held_end - t->held_begin, messages = cmi_split_messages(t, t->learner->floats);
    if (messages) {
        t->messages = cmi_calloc(t->context, messages, sizeof *t->messages);
        if (!t->messages) return CM_ERR_MEMORY;
    }
    if (cmi_optimizer_at(t->o.optimizer)->has_moments) {
        t->m = cmi_calloc(t->context, floats, sizeof *t->m);
        t->v = cmi_calloc(t->context, floats, sizeof *t->v);
        if (!t->m || !t->v) return CM_ERR_MEMORY;
    }
    for (int i = 0; i < t->o.ema.count; i++) {
        t->ema[i] = cmi_malloc(t->context, floats, sizeof *t->ema[i]);
        if (!t->ema[i]) return CM_ERR_MEMORY;
        memcpy(t->ema[i], t->learner->online.values + t->held_begin, floats * sizeof *t->ema[i]);
    }
    CM_TRY(cmi_trainer_reserve(t, cmi_trainer_batch(t)));
    if (!cmi_trainer_augments(t)) return CM_OK;
    return cmi_augmenter_create(t->context, t->model->channels, t->model->height, t->model->width, t->o.augment,
                                t->o.flip, cmi_trainer_augment_labels(t), &t->augmenter);
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
    double last = cmi_karras_sigma(n - 1, n, s->sigma_min, s->sigma_max, s->rho);
    if (!(fabs(last - s->sigma_min) <= 1e-3 * s->sigma_min))
        CM_FAIL(CM_ERR_ARGUMENT, "rho %g makes %g of the last of %d levels between %g and %g, expected %g", s->rho,
                last, n, s->sigma_max, s->sigma_min, s->sigma_min);
    return CM_OK;
}

/* Who has which images of a step. */
static cm_status find_share(cm_trainer *t)
{
    const size_t rank = cmi_peers_alone(&t->peers) ? 0 : (size_t)t->peers.group.rank;
    CM_TRY(cmi_share_of((size_t)t->o.micro_shards, rank, cmi_peers_count(&t->peers), &t->share));
    return cmi_share_check(&t->share, cmi_trainer_batch(t), slice_rule(t));
}

/* Model, teacher and options compared; what follows from them. */
static cm_status settle(cm_trainer *t)
{
    const cm_model *m = t->model;
    CM_TRY(check_teacher(t));
    CM_TRY(check_labels(t));
    CM_TRY(check_augment(t));
    CM_TRY(set_precond(t));
    CM_TRY(check_heads(t));
    CM_TRY(set_config(t));
    t->settings = cmi_objective_settings_of(&t->o, m->channels, m->height, m->width);
    t->settings.sigma_min = t->precond.sigma_min;
    t->settings.sigma_max = t->precond.sigma_max;
    t->settings.sigma_data = t->precond.sigma_data;
    t->settings.distil = t->objective->takes_teacher && t->teacher != NULL;
    t->views = (size_t)cmi_objective_views(&t->o);
    CM_TRY(find_share(t));
    t->curriculum = cmi_curriculum_of(&t->o);
    t->optim = cmi_optim_of(&t->o);
    CM_TRY(check_levels(t));
    return CM_OK;
}

static cm_status build(cm_trainer *t)
{
    cmi_settings_warn(t->context, &t->o);
    CM_TRY(make_learner(t));
    CM_TRY(find_frozen(t));
    CM_TRY(make_buffers(t));
    return cmi_together_begin(t);
}

/* A trainer without memory. */
static cm_status begin(const cm_train_inputs *inputs, const cm_peers *peers, const cm_train_settings *options,
                       cm_trainer **out)
{
    cm_context *owner;
    cm_model *model = inputs->model, *teacher = inputs->teacher;
    *out = NULL;
    if (!model) model = teacher; /* distillation begins with the teacher's weights */
    if (!model) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_create: model is NULL");
    CM_TRY(cmi_settings_check(options, cmi_context_cpu_level(model->context)));
    CM_TRY(cmi_context_retain(model->context, &owner));
    cm_trainer *t = cmi_calloc(owner, 1, sizeof *t);
    if (!t) {
        cm_context_free(owner);
        return CM_ERR_MEMORY;
    }
    t->context = owner;
    t->locks.context = owner;
    t->peers.group = peers->group;
    atomic_init(&t->peers.ended, 0);
    t->o = *options;
    t->objective = cmi_objective_at(options->objective);
    cmi_model_retain(model);
    t->model = model;
    if (teacher) cmi_model_retain(teacher);
    t->teacher = teacher;
    atomic_init(&t->step, 0);
    cmi_call_init(&t->call);
    cm_status status = settle(t);
    if (status != CM_OK) cmi_trainer_close(t);
    else *out = t;
    return status;
}

cm_status cmi_trainer_open(const cm_train_inputs *inputs, const cm_train_settings *options, cm_trainer **out)
{
    cm_peers peers;
    *out = NULL;
    CM_TRY(cmi_peers_open(inputs->group, &peers));
    cm_status status = begin(inputs, &peers, options, out);
    if (status == CM_OK) status = build(*out);
    if (status == CM_OK) return CM_OK;
    cmi_peers_give_up(&peers, status);
    cmi_trainer_close(*out);
    *out = NULL;
    return status;
}

/* learner: its bytes; values: how many floats its weights are. */
static uint64_t total_bytes(const cm_trainer *t, size_t learner, size_t values)
{
    const size_t floats = t->held_end - t->held_begin;
    size_t blocks = (size_t)t->o.ema.count + (cmi_optimizer_at(t->o.optimizer)->has_moments ? 2 : 0);
    size_t image = (size_t)t->model->channels * (size_t)t->model->height * (size_t)t->model->width;
    size_t augmented = cmi_trainer_augments(t) ? cmi_trainer_batch(t) * image : 0;
    return learner + (uint64_t)(blocks * floats + augmented + cmi_split_messages(t, values)) * sizeof(float);
}

uint64_t cmi_trainer_size(const cm_trainer *t)
{
    return total_bytes(t, cmi_learner_bytes(t->learner), t->learner->floats);
}

cm_status cmi_trainer_plan(const cm_train_inputs *inputs, const cm_train_settings *options, uint64_t *bytes)
{
    cm_peers peers;
    cm_trainer *t;
    cm_learner_options learner;
    size_t of_learner, floats;
    CM_TRY(cmi_peers_open(inputs->group, &peers));
    CM_TRY(begin(inputs, &peers, options, &t));
    cm_status status = learner_options(t, &learner);
    if (status == CM_OK)
        status = cmi_learner_estimate(t->model, &t->precond, t->teacher, &learner, &of_learner, &floats);
    if (status == CM_OK) status = cmi_split_find(t, floats);
    if (status == CM_OK) *bytes = total_bytes(t, of_learner, floats);
    cmi_trainer_close(t);
    return status;
}

void cmi_trainer_close(cm_trainer *t)
{
    if (!t) return;
    cm_context *context = t->context;
    cmi_locks_release(&t->locks, 0);
    cmi_learner_free(t->learner);
    cmi_perceptual_distance_close(t->distance);
    for (int i = 0; i < CM_MAX_EMAS; i++) cmi_free(context, t->ema[i]);
    cmi_free(context, t->messages);
    cmi_free(context, t->m);
    cmi_free(context, t->v);
    cmi_free(context, t->loss);
    cmi_free(context, t->chosen);
    cmi_free(context, t->order);
    cmi_augmenter_free(t->augmenter);
    cmi_free(context, t->augmented);
    cmi_free(context, t->augment_labels);
    cmi_free(context, t->dense);
    json_decref(t->config);
    json_decref(t->dataset);
    cmi_model_release(t->model);
    cmi_model_release(t->teacher);
    cmi_free(context, t);
    cm_context_free(context);
}

float *cmi_trainer_block(cm_trainer *t, int32_t weights, int32_t index)
{
    if (weights == CM_WEIGHTS_ONLINE) return t->learner->online.values;
    if (weights == CM_WEIGHTS_TARGET) return t->learner->target.values;
    return index >= 0 && index < t->o.ema.count ? t->ema[index] : NULL;
}

/* What a reconstruction needs to know of an average of that form. */
static int add_average(const cm_ema_rate *rate, json_t *training)
{
    if (rate->form != CM_EMA_POWER) return 0;
    return json_object_set_new(training, "average", json_pack("{s:s, s:f}", "form", "power", "value", rate->value));
}

json_t *cmi_trainer_config(const cm_trainer *t, int32_t average)
{
    json_t *config = cmi_json_copy(t->config);
    json_t *training = json_pack("{s:s, s:I, s:I, s:s}", "objective", t->objective->name, "steps",
                                 (json_int_t)t->step, "images", (json_int_t)t->images, "library", cm_version());
    if (training && average >= 0 && add_average(&t->o.ema.rates[average], training) != 0) {
        json_decref(training);
        training = NULL;
    }
    if (json_object_set_new(config, "training", training) == 0) return config;
    json_decref(config);
    return NULL;
}

cm_status cmi_trainer_refresh(cm_trainer *t)
{
    cm_learner *l = t->learner;
    CM_TRY(cmi_learner_refresh(l, &l->online));
    if (l->target.values) CM_TRY(cmi_learner_refresh(l, &l->target));
    return l->teacher_set.values ? cmi_learner_refresh(l, &l->teacher_set) : CM_OK;
}
