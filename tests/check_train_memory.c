/* What training takes: what is said of it before, allocations that fail, steps that take none. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/memory.h"
#include "support/trainers.h"

/* Create, one step, save, resume, in one context. */
static cm_status whole(cm_context *context, const char *objective)
{
    static float images[BATCH * VALUES];
    int32_t labels[BATCH];
    cm_trainer *t = NULL, *u = NULL;
    cm_train_settings o = options(objective);
    batch(0, images, labels);
    cm_status status = open_trainer(context, objective, &o, &t);
    if (status == CM_OK) status = step_of(t, (size_t)t->o.batch, images, labels, NULL);
    if (status == CM_OK) status = cm_trainer_save(t, in_dir("memory"), 2);
    cm_trainer_free(t);
    if (status == CM_OK) status = open_trainer(context, objective, &o, &u);
    if (status == CM_OK) status = cm_trainer_resume(u, in_dir("memory"), NULL, 0);
    if (status == CM_OK) status = step_of(u, (size_t)u->o.batch, images, labels, NULL);
    cm_trainer_free(u);
    return status;
}

/* What is said before against what is taken: by the trainer's own account and by the allocator's. */
static void check_estimate(memory *m, cm_model *model, cm_model *teacher, const cm_train_settings *o)
{
    uint64_t said = 0, held = 0;
    cm_trainer *t;
    OK(estimate(model, teacher, o, &said)); /* the first time the model's own things are made */
    long long before = m->bytes;
    m->peak = before;
    OK(estimate(model, teacher, o, &said));
    long long planning = m->peak - before;
    ck_assert_int_eq(m->bytes, before);
    OK(create(model, teacher, o, &t));
    OK(cm_trainer_bytes(t, &held));
    double taken = (double)(m->bytes - before);
    ck_assert_msg(fabs((double)said / (double)held - 1) < 0.05, "objective %d: %llu said, %llu held", o->objective,
                  (unsigned long long)said, (unsigned long long)held);
    /* Graphs and plans, which are no tensors, are some hundred kilobytes. */
    ck_assert_msg((double)said > 0.9 * (taken - 2e6) && (double)said < 1.1 * taken,
                  "objective %d: %llu said, %.0f taken", o->objective, (unsigned long long)said, taken);
    ck_assert_msg((double)planning < 0.1 * taken + 2e6, "objective %d: planning took %lld of %.0f", o->objective,
                  planning, taken);
    cm_trainer_free(t);
}

/* A network for the objective, of a size that says something. */
static cm_status open_digits(cm_context *context, const char *objective, cm_model **out)
{
    const int heads = objective_of(objective)->heads > 1;
    char two_times[400];
    (void)snprintf(
        two_times, sizeof two_times,
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"in_channels\": 1, \"out_channels\": %d, "
        "\"label_dim\": 10, \"model_channels\": 32, \"channel_mult\": [1, 2], \"num_blocks\": 2, "
        "\"attn_resolutions\": [16], \"second_time\": \"concat\", \"conditions\": %d}, \"precond\": {\"type\": "
        "\"average-velocity\"}}",
        1 + heads, 3 * heads);
    if (objective_of(objective)->precond_two_times) return cm_model_create(context, two_times, 1, out);
    return cm_model_load(context, "tests/data/models/digits_consistency.safetensors", NULL, out);
}

START_TEST(estimates_hold)
{
    memory m;
    cm_context *context;
    cm_model *digits, *teacher;
    cm_train_settings o;
    memory_reset(&m);
    cm_context_options co = memory_options(&m, 2);
    OK(cm_context_create(&co, &context));
    for (int i = 0; i < 4; i++) { /* plain; accumulated; kept in part; bfloat16 */
        OK(open_digits(context, names[_i], &digits));
        OK(cm_model_load(context, "tests/data/models/digits_teacher.safetensors", NULL,
                         &teacher)); /* anew: models keep packed weights */
        o = cmi_settings_defaults(CM_TRAIN_EDM);
        choose(&o, names[_i]);
        o.batch = i == 1 ? 4 : 64;
        if (strcmp(names[_i], "cmt") == 0) o.cmt_nfe = 4;
        if (cmi_objective_at(o.objective)->first_stage) teacher->precond.kind = cmi_precond_kind_find("ecm");
        if (i == 1) o.microbatch = cmi_objective_views(&o);
        if (i == 2) o.recompute = 3;
        if (i == 2) o.flip = 0.5;
        if (i == 3) o.precision = CM_PRECISION_BF16, strcpy(o.debug, "bf16_emulate=1");
        if (i == 3) o.optimizer = 3; /* sgd: no moments */
        if (strcmp(names[_i], "cd") == 0) o.mu = i == 1 ? 0.9 : 0;
        check_estimate(&m, strcmp(names[_i], "pd") == 0 ? teacher : digits, needs_teacher(names[_i]) ? teacher : NULL,
                       &o);
        uint64_t bytes;
        o.beta2 = 1;
        FAILS(estimate(digits, NULL, &o, &bytes), CM_ERR_ARGUMENT, "beta2 has to be below 1");
        FAILS(estimate(NULL, NULL, &o, &bytes), CM_ERR_ARGUMENT, "NULL");
        cm_model_free(digits);
        cm_model_free(teacher);
    }
    cm_context_free(context);
    ck_assert_int_eq(m.live, 0);
}
END_TEST

START_TEST(allocations_fail)
{
    const char *name = names[_i];
    memory m;
    cm_context *context;
    memory_reset(&m);
    cm_context_options co = memory_options(&m, 2);
    OK(cm_context_create(&co, &context));
    OK(whole(context, name)); /* the directory and the context's threads are there from now on */
    const long idle = m.live, before = m.requests;
    OK(whole(context, name));
    long requests = m.requests - before, tries = by_effort(3, 35, (int)requests);
    for (int persistent = 0; persistent < 2; persistent++)
        for (long n = 1 + persistent; n <= requests; n += requests / tries ? requests / tries : 1) {
            memory_reset(&m);
            m.live = idle;
            m.fail_at = n;
            m.persistent = persistent;
            cm_status status = whole(context, name);
            ck_assert_msg(status == CM_ERR_MEMORY, "%s: request %ld of %ld failing gave %s: %s", name, n, requests,
                          cm_status_name(status), cm_last_message());
            ck_assert_msg(m.live == idle, "%s: request %ld of %ld failing leaks %ld blocks", name, n, requests,
                          m.live - idle);
        }
    memory_reset(&m);
    m.live = idle;
    OK(whole(context, name));
    cm_context_free(context);
    ck_assert_int_eq(m.live, 0);
}
END_TEST

/* A step of more images than the option batch, of bytes, with request `fail_at` failing (0: none). */
static cm_status large_step(cm_trainer *t, memory *m, long fail_at, int persistent)
{
    static uint8_t bytes[2 * BATCH * VALUES];
    const cm_images images = cm_images_u8((size_t)2 * BATCH, SIDE, SIDE, CHANNELS, bytes);
    int32_t labels[2 * BATCH];
    cm_condition condition = CM_CONDITION_INIT;
    uint64_t state = 9;
    for (int i = 0; i < 2 * BATCH; i++) labels[i] = i % CLASSES;
    for (int i = 0; i < 2 * BATCH * VALUES; i++) bytes[i] = (uint8_t)random_int(&state, 0, 255);
    condition.labels = labels;
    m->requests = 0;
    m->fail_at = fail_at;
    m->persistent = persistent;
    const cm_status status = cm_trainer_step(t, &images, &condition, NULL);
    m->fail_at = 0;
    return status;
}

/* A step that grows the buffers, with every request failing once in a trainer of its own: a step of the usual size
 * after it, and the large one again, have the bits of a trainer that never failed. */
START_TEST(large_steps_without_memory)
{
    const char *const name = names[_i];
    memory m;
    cm_context *context;
    cm_trainer *a, *b;
    cm_train_settings o = options(name);
    memory_reset(&m);
    const cm_context_options co = memory_options(&m, 2);
    if (strcmp(name, "pd") == 0) o.distill_steps = 1; /* the large step begins a stage */
    OK(cm_context_create(&co, &context));
    OK(open_trainer(context, name, &o, &b));
    OK(steps(b, 2, NULL));
    OK(large_step(b, &m, 0, 0));
    const long requests = m.requests;
    OK(steps(b, 4, NULL));
    ck_assert_int_gt(requests, 0);
    const long idle = m.live;
    for (int persistent = 0; persistent < 2; persistent++)
        for (long n = 1; n <= requests; n++) {
            OK(open_trainer(context, name, &o, &a));
            OK(steps(a, 1, NULL));
            const cm_status status = large_step(a, &m, n, persistent);
            ck_assert_msg(status == CM_ERR_MEMORY, "%s: request %ld of %ld failing gave %s: %s", name, n, requests,
                          cm_status_name(status), cm_last_message());
            ck_assert_int_eq(a->step, 1);
            OK(steps(a, 2, NULL));
            OK(large_step(a, &m, 0, 0));
            OK(steps(a, 4, NULL));
            ck_assert_msg(same_state(a, b), "%s: other bits after request %ld of %ld has failed", name, n, requests);
            cm_trainer_free(a);
            ck_assert_msg(m.live == idle, "%s: request %ld of %ld failing leaks %ld blocks", name, n, requests,
                          m.live - idle);
        }
    cm_trainer_free(b);
    cm_context_free(context);
    ck_assert_int_eq(m.live, 0);
}
END_TEST

/* Buffers are made by the first step that needs them, those for bytes included. */
START_TEST(further_steps_take_no_memory)
{
    memory m;
    cm_context *context;
    cm_trainer *t;
    const cm_train_settings o = options(names[_i]);
    memory_reset(&m);
    const cm_context_options co = memory_options(&m, 1);
    OK(cm_context_create(&co, &context));
    OK(open_trainer(context, names[_i], &o, &t));
    OK(large_step(t, &m, 0, 0));
    ck_assert_int_gt(m.requests, 0);
    OK(large_step(t, &m, 0, 0));
    ck_assert_int_eq(m.requests, 0);
    cm_trainer_free(t);
    cm_context_free(context);
    ck_assert_int_eq(m.live, 0);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("train_memory");
    TCase *t = tcase_create("memory");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 600);
    tcase_add_loop_test(t, large_steps_without_memory, 0, OBJECTIVES);
    tcase_add_loop_test(t, further_steps_take_no_memory, 0, OBJECTIVES);
    tcase_add_loop_test(t, allocations_fail, 0, OBJECTIVES);
    tcase_add_loop_test(t, estimates_hold, 0, OBJECTIVES);
    suite_add_tcase(s, t);
    return s;
}
