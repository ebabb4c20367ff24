/* trainers.h - a small network, made-up batches and a trainer of each objective. */
#ifndef TESTS_SUPPORT_TRAINERS_H
#define TESTS_SUPPORT_TRAINERS_H

#include <stdio.h>
#include <stdlib.h>

#include "support/suite.h"
#include "train/settings.h"
#include "train/trainer.h"

enum { SIDE = 8, CHANNELS = 3, VALUES = SIDE * SIDE * CHANNELS, BATCH = 12, CLASSES = 3, OBJECTIVES = 20 };

/* What the loops of the tests run: each objective, and those of them that have another way. */
static const char *const names[OBJECTIVES] = {"edm",       "cd",
                                              "ct",        "pd",
                                              "ict",       "ect",
                                              "ccd",       "cct",
                                              "cmt",       "sct",
                                              "scd",       "dscd",
                                              "tcm",       "tcm2",
                                              "meanflow",  "meanflow+guidance",
                                              "soflow",    "soflow+guidance",
                                              "imeanflow", "scd+guidance"};
static char dir[40];

static inline void setup(void)
{
    strcpy(dir, "/tmp/cm-train-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static inline const char *in_dir(const char *name)
{
    static char path[2][160];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

/* A network with everything in it: classes, attention, dropout, augment labels. */
static inline cm_model *tiny_of(cm_context *context, uint64_t seed, const char *precond)
{
    cm_model *m = NULL;
    char config[512];
    (void)snprintf(
        config, sizeof config,
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 3, \"label_dim\": 3, "
        "\"augment_dim\": 9, \"model_channels\": 8, \"channel_mult\": [1, 2], \"num_blocks\": 1, "
        "\"attn_resolutions\": [4], \"dropout\": 0.2}, \"precond\": {\"type\": \"%s\", \"sigma_min\": 0.002, "
        "\"sigma_max\": 80}}",
        precond);
    (void)cm_model_create(context, config, seed, &m);
    return m;
}

static inline cm_model *tiny(cm_context *context, uint64_t seed)
{
    return tiny_of(context, seed, "edm");
}

/* The objective of a run's name. */
static inline const cm_objective *objective_of(const char *run)
{
    char name[32];
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(run, "+"), run);
    return cmi_objective_by_name(name);
}

/* That objective, and what follows the plus. */
static inline void choose(cm_train_settings *o, const char *run)
{
    OK(cmi_settings_set(o, "objective", objective_of(run)->name));
    if (!strstr(run, "+guidance")) return;
    o->guidance = 1.2;
    if (!objective_of(run)->teacher_guides) o->guidance_mix = 0.25;
    if (objective_of(run)->choose) o->guidance_decay = 0.6, o->velocity_share = 0.5;
    else o->guidance_from = 0.1;
}

/* The same with two times; with two outputs and conditions. */
static inline cm_model *tiny_of_two_times(cm_context *context, uint64_t seed, int heads)
{
    cm_model *m = NULL;
    char config[512];
    (void)snprintf(
        config, sizeof config,
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"in_channels\": 3, \"out_channels\": %d, "
        "\"label_dim\": 3, \"augment_dim\": 6, \"model_channels\": 8, \"channel_mult\": [1, 2], \"num_blocks\": 1, "
        "\"attn_resolutions\": [4], \"dropout\": 0.2, \"second_time\": \"concat\", \"conditions\": %d}, "
        "\"precond\": {\"type\": \"average-velocity\"}}",
        3 * heads, heads > 1 ? 3 : 0);
    (void)cm_model_create(context, config, seed, &m);
    return m;
}

/* Batch k of a made-up data set. */
static inline void batch(int64_t k, float *images, int32_t *labels)
{
    uint64_t state = seeded(77 + (uint64_t)k);
    for (int i = 0; i < BATCH; i++) {
        labels[i] = random_int(&state, 0, CLASSES - 1);
        for (int j = 0; j < VALUES; j++)
            images[i * VALUES + j] = 0.3f * random_float(&state) + 0.5f * (float)(labels[i] - 1);
    }
}

static inline cm_train_settings options(const char *objective)
{
    cm_train_settings o;
    o = cmi_settings_defaults(CM_TRAIN_EDM);
    choose(&o, objective);
    o.batch = BATCH;
    o.steps = 20;
    o.seed = 5;
    o.lr = 1e-2;
    o.grad_clip = 1;
    o.flip = 0.5;
    o.label_dropout = 0.2;
    OK(cmi_settings_set(&o, "ema", "0.9,warmup:0.99"));
    if (strcmp(objective, "edm") == 0 || strstr(objective, "flow")) o.augment = 0.5;
    if (strcmp(objective, "cd") == 0) o.mu = 0.8;
    if (strcmp(objective, "ct") == 0) o.end_scales = 20;
    if (strcmp(objective, "ict") == 0) o.start_scales = 4, o.end_scales = 32;
    if (strcmp(objective, "pd") == 0) o.start_scales = 8, o.distill_steps = 4;
    if (strcmp(objective, "ect") == 0) o.ect_stages = 4;
    if (strncmp(objective, "tcm", 3) == 0) o.ect_stages = 4;
    if (strcmp(objective, "cmt") == 0) o.cmt_nfe = 4;
    return o;
}

static inline cm_status create_in(const cm_group *group, cm_model *model, cm_model *teacher,
                                  const cm_train_settings *s, cm_trainer **out)
{
    const cm_train_options options = {NULL, *s};
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    inputs.model = model, inputs.teacher = teacher, inputs.group = group;
    return cm_trainer_create(&inputs, &options, out);
}

static inline cm_status create(cm_model *model, cm_model *teacher, const cm_train_settings *s, cm_trainer **out)
{
    return create_in(NULL, model, teacher, s, out);
}

static inline cm_status estimate(cm_model *model, cm_model *teacher, const cm_train_settings *s, uint64_t *bytes)
{
    const cm_train_options options = {NULL, *s};
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    inputs.model = model, inputs.teacher = teacher;
    return cm_trainer_estimate(&inputs, &options, bytes);
}

static inline cm_status step_of(cm_trainer *t, size_t n, float *values, const int32_t *labels,
                                cm_train_report *report)
{
    const cm_model *m = t->model;
    const cm_images images = cm_images_f32(n, m->channels, m->height, m->width, values);
    cm_condition condition = CM_CONDITION_INIT;
    condition.labels = labels;
    return cm_trainer_step(t, &images, &condition, report);
}

static inline int needs_teacher(const char *objective)
{
    return objective_of(objective)->needs_teacher;
}

/* One of a group's; group NULL: alone. */
static inline cm_status open_trainer_in(const cm_group *group, cm_context *context, const char *objective,
                                        const cm_train_settings *o, cm_trainer **t)
{
    const int first = objective_of(objective)->first_stage;
    const int two = objective_of(objective)->precond_two_times != NULL;
    cm_model *m = two ? tiny_of_two_times(context, 3, objective_of(objective)->heads > 1 ? 2 : 1) : tiny(context, 3);
    cm_model *teacher = needs_teacher(objective) ? tiny_of(context, 4, first ? "ecm" : "edm") : NULL;
    cm_status status =
        m && (teacher || !needs_teacher(objective)) ? create_in(group, m, teacher, o, t) : CM_ERR_MEMORY;
    cm_model_free(m);
    cm_model_free(teacher);
    return status;
}

static inline cm_status open_trainer(cm_context *context, const char *objective, const cm_train_settings *o,
                                     cm_trainer **t)
{
    return open_trainer_in(NULL, context, objective, o, t);
}

static inline cm_trainer *trainer(const char *objective, const cm_train_settings *o)
{
    cm_trainer *t = NULL;
    OK(open_trainer(NULL, objective, o, &t));
    return t;
}

static inline cm_status steps(cm_trainer *t, int64_t until, double *losses)
{
    static float images[BATCH * VALUES];
    int32_t labels[BATCH];
    while (t->step < until) {
        cm_train_report r;
        cm_train_report_init(&r, sizeof r);
        batch(t->step, images, labels);
        cm_status status = step_of(t, (size_t)t->o.batch, images, labels, &r);
        if (status != CM_OK) return status;
        if (losses) losses[r.step - 1] = r.loss;
    }
    return CM_OK;
}

/* The adaptive weight that is trained beside the network, and its moments. */
static inline int same_weighing(const cm_trainer *a, const cm_trainer *b)
{
    const size_t bytes = (size_t)a->learner->weighing.size * sizeof(float);
    return memcmp(a->learner->weighing.values, b->learner->weighing.values, bytes) == 0 &&
           memcmp(a->weighing_m, b->weighing_m, bytes) == 0 && memcmp(a->weighing_v, b->weighing_v, bytes) == 0;
}

/* Every block of the state in one hash-like comparison: memcmp by blocks. */
static inline int same_state(cm_trainer *a, cm_trainer *b)
{
    size_t bytes = a->learner->floats * sizeof(float);
    int same = a->step == b->step && a->updates == b->updates;
    same &= memcmp(a->learner->online.values, b->learner->online.values, bytes) == 0;
    if (a->m) same &= memcmp(a->m, b->m, bytes) == 0 && memcmp(a->v, b->v, bytes) == 0;
    for (int i = 0; i < a->o.ema.count; i++) same &= memcmp(a->ema[i], b->ema[i], bytes) == 0;
    if (a->learner->target.values) same &= memcmp(a->learner->target.values, b->learner->target.values, bytes) == 0;
    if (a->learner->teacher_set.values)
        same &= memcmp(a->learner->teacher_set.values, b->learner->teacher_set.values, bytes) == 0;
    return same && same_weighing(a, b);
}

#endif
