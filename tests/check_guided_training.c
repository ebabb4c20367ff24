/* Guidance in training: what objectives that guide are answered, the guided velocity of sCM, networks that are told
 * of guidance, and who refuses it.  That of sampling is in check_guidance.c. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/trainers.h"
#include "train/trainer.h"

/* Before the first step: a network without classes, one that always takes a class; then images without labels. */
START_TEST(guidance_without_classes)
{
    static const char network[] =
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 3, \"label_dim\": 0, "
        "\"model_channels\": 8, \"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [4], "
        "\"second_time\": \"concat\"}, \"precond\": {\"type\": \"average-velocity\"}}";
    static float images[BATCH * VALUES];
    int32_t labels[BATCH];
    cm_train_settings o = options("meanflow+guidance");
    cm_trainer *t;
    cm_model *m, *classes = tiny_of_two_times(NULL, 1, 1);
    uint64_t bytes;
    OK(cm_model_create(NULL, network, 1, &m));
    FAILS(create(m, NULL, &o, &t), CM_ERR_ARGUMENT,
          "guidance needs a network that knows \"no label\"; this one has no");
    FAILS(estimate(m, NULL, &o, &bytes), CM_ERR_ARGUMENT, "guidance needs");
    o.guidance = 1, o.guidance_mix = 0, o.guidance_from = 0;
    FAILS(create(m, NULL, &o, &t), CM_ERR_ARGUMENT, "label_dropout needs a network");
    o = options("meanflow+guidance");
    OK(create(classes, NULL, &o, &t));
    batch(0, images, labels);
    FAILS(step_of(t, BATCH, images, NULL, NULL), CM_ERR_ARGUMENT, "guidance needs labels 0..2");
    OK(step_of(t, BATCH, images, labels, NULL));
    ck_assert_int_eq(t->step, 1);
    cm_trainer_free(t);
    cm_model_free(m);
    cm_model_free(classes);
}
END_TEST

/* The teacher is what guides in distillation. */
START_TEST(guidance_of_a_teacher_without_classes)
{
    static const char network[] =
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 3, \"label_dim\": 0, "
        "\"model_channels\": 8, \"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [4]}, "
        "\"precond\": {\"type\": \"edm\"}}";
    static float images[BATCH * VALUES];
    int32_t labels[BATCH];
    cm_train_settings o = options("scd+guidance");
    cm_trainer *t;
    cm_model *m, *teacher;
    OK(cm_model_create(NULL, network, 1, &m));
    OK(cm_model_create(NULL, network, 2, &teacher));
    o.label_dropout = 0;
    FAILS(create(m, teacher, &o, &t), CM_ERR_ARGUMENT,
          "guidance needs a teacher that knows \"no label\"; this one has no classes");
    t = trainer("scd+guidance", &o);
    batch(0, images, labels);
    FAILS(step_of(t, BATCH, images, NULL, NULL), CM_ERR_ARGUMENT, "guidance needs labels 0..2");
    OK(step_of(t, BATCH, images, labels, NULL));
    cm_trainer_free(t);
    cm_model_free(m);
    cm_model_free(teacher);
}
END_TEST

/* What an objective that guides is answered: the weights that learn at time t, where D of precond average-velocity is
 * x - t u, without dropout, with and without labels. */
enum { PLAIN, NONE, DROPPED, AGAIN, ROLES };
static const double asked_at = 0.75;
static double answers[ROLES][BATCH * VALUES];

static cm_status ask_roles(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    static const int roles[ROLES] = {CM_ROLE_PLAIN, CM_ROLE_UNCONDITIONAL, CM_ROLE_TARGET, CM_ROLE_PLAIN};
    const cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    ck_assert_uint_eq(b->n, BATCH);
    for (size_t i = 0; i < b->n; i++) r.t[i] = asked_at, r.t2[i] = b->loss[i] = 0;
    for (int k = 0; k < ROLES; k++) OK(nets->evaluate(nets->user, roles[k], b->x0, r.t, r.t2, answers[k]));
    CM_TRY(nets->online(nets->user, b->x0, r.t, r.t2, r.online));
    ck_assert_mem_eq(r.online, answers[DROPPED], sizeof answers[DROPPED]); /* the same masks as ever */
    memset(r.d, 0, sizeof answers[DROPPED]);
    return nets->backward(nets->user, r.d);
}

/* labels NULL: none. */
static void check_velocity(cm_trainer *t, const float *images, const int32_t *labels, const double *u)
{
    static float x[BATCH * VALUES], sigma[BATCH], d[BATCH * VALUES];
    const double level = asked_at / (1 - asked_at);
    cm_model *m;
    for (int i = 0; i < BATCH; i++) sigma[i] = (float)level;
    for (int i = 0; i < BATCH * VALUES; i++) x[i] = (float)((1 + level) * (double)images[i]);
    OK(cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m));
    OK(cm_model_denoise(m, BATCH, x, sigma, labels, d));
    for (int i = 0; i < BATCH * VALUES; i++)
        ck_assert_double_eq_tol((double)images[i] - asked_at * u[i], (double)d[i], 1e-5);
    cm_model_free(m);
}

/* After three steps of that run one of `objective` on batch 7, which is returned too. */
static cm_trainer *ask(const char *run, const cm_objective *objective, double label_dropout, float *images,
                       int32_t *labels)
{
    double loss[BATCH];
    cm_train_settings o = options(run);
    o.microbatch = BATCH;
    cm_trainer *t = trainer(run, &o);
    OK(steps(t, 3, NULL));
    batch(7, images, labels);
    const cm_learner_batch b = {.all = BATCH,
                                .n = BATCH,
                                .images = images,
                                .labels = labels,
                                .seed = 1,
                                .label_dropout = label_dropout,
                                .loss = loss};
    OK(cmi_learner_run(t->learner, objective, &t->settings, &b));
    return t;
}

START_TEST(roles_of_guidance)
{
    static float images[BATCH * VALUES];
    int32_t labels[BATCH];
    cm_objective objective = cmi_objective_meanflow;
    objective.run = ask_roles;
    cm_trainer *t = ask("meanflow+guidance", &objective, 1, images, labels);
    check_velocity(t, images, labels, answers[PLAIN]);
    check_velocity(t, images, NULL, answers[NONE]);
    ck_assert_mem_eq(answers[AGAIN], answers[PLAIN], sizeof answers[PLAIN]);
    ck_assert_mem_ne(answers[PLAIN], answers[NONE], sizeof answers[PLAIN]);
    ck_assert_mem_ne(answers[DROPPED], answers[NONE], sizeof answers[NONE]); /* dropout alone makes the difference */
    cm_trainer_free(t);
}
END_TEST

/* --- the teacher's guidance on TrigFlow's axis --------------------------------------------- */

/* Networks of one number: the answers are the label's, the direction of the derivative is what is looked at. */
static const double with_label = 0.75, without_label = -0.5;
static double directions[BATCH], times_of[BATCH], points[BATCH];

/* The two points at which dscd asks its target are one step of DDIM apart: x' = cos(t - t') x - sin(t - t') v. */
static cm_status answer_one(void *user, int role, const double *x, const double *t, const double *r, double *d)
{
    const cm_objective_batch *b = user;
    (void)r;
    for (size_t i = 0; i < b->n; i++) {
        d[i] = role == CM_ROLE_TEACHER ? with_label : without_label;
        if (role == CM_ROLE_TEACHER) points[i] = x[i], times_of[i] = t[i];
        if (role == CM_ROLE_TARGET && t[i] < times_of[i])
            directions[i] = (cos(times_of[i] - t[i]) * points[i] - x[i]) / sin(times_of[i] - t[i]);
    }
    return CM_OK;
}

static cm_status tangent_of_one(void *user, int role, const cm_objective_point *at, const cm_objective_point *along,
                                double *d, double *slope)
{
    const cm_objective_batch *b = user;
    (void)role;
    for (size_t i = 0; i < b->n; i++) {
        times_of[i] = at->t[i], directions[i] = along->x[i] / along->t[i];
        d[i] = slope[i] = 0;
    }
    return CM_OK;
}

static cm_status online_of_one(void *user, const double *x, const double *t, const double *r, double *d)
{
    return answer_one(user, CM_ROLE_TARGET, x, t, r, d);
}

static cm_status backward_of_one(void *user, const double *cotangent)
{
    (void)user, (void)cotangent;
    return CM_OK;
}

START_TEST(guided_velocity)
{
    const cm_objective *objective = _i ? &cmi_objective_dscd : &cmi_objective_scd;
    cm_train_settings o = options(_i ? "dscd" : "scd+guidance");
    o.guidance = 3, o.guidance_from = 0.2, o.guidance_to = 0.8;
    cm_objective_settings s = cmi_objective_settings_of(&o, 1, 1, 1);
    double x0[BATCH], z[BATCH], u[BATCH], normal[BATCH], loss[BATCH], share[BATCH];
    int32_t labels[BATCH];
    int inside = 0;
    s.sigma_data = 0.5;
    for (int i = 0; i < BATCH; i++) {
        x0[i] = 0.1 * i, z[i] = 0.3, u[i] = 0.5, normal[i] = 0.4 * (i - BATCH / 2), share[i] = 1,
        labels[i] = i % 3 - 1;
    }
    cm_objective_batch b = {
        .n = BATCH, .x0 = x0, .z = z, .u = u, .normal = normal, .loss = loss, .share = share, .labels = labels};
    b.work = calloc(cmi_objective_work(&s, BATCH), sizeof *b.work);
    const cm_objective_nets nets = {.user = &b,
                                    .evaluate = answer_one,
                                    .tangent = tangent_of_one,
                                    .online = online_of_one,
                                    .backward = backward_of_one};
    OK(objective->run(&s, &b, &nets));
    for (int i = 0; i < BATCH; i++) {
        const double at = times_of[i] / acos(0);
        const int guided = at >= 0.2 && at <= 0.8;
        const double v = labels[i] < 0 ? without_label
                         : guided      ? without_label + 3 * (with_label - without_label)
                                       : with_label;
        inside += guided && labels[i] >= 0;
        ck_assert_double_eq_tol(directions[i], v, _i ? 1e-10 : 1e-12);
    }
    ck_assert_int_ge(inside, 2);
    ck_assert_int_le(inside, BATCH / 2);
    free(b.work);
}
END_TEST

/* What a teacher is asked: with the label even where the network's was dropped, and without one. */
static cm_status ask_teacher_roles(const cm_objective_settings *s, const cm_objective_batch *b,
                                   const cm_objective_nets *nets)
{
    static const int roles[] = {CM_ROLE_TEACHER, CM_ROLE_TEACHER_UNCONDITIONAL};
    const cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    ck_assert_uint_eq(b->n, BATCH);
    for (size_t i = 0; i < b->n; i++) r.t[i] = atan(1 / s->sigma_data), b->loss[i] = 0;
    for (int k = 0; k < 2; k++) OK(nets->evaluate(nets->user, roles[k], b->x0, r.t, NULL, answers[k]));
    CM_TRY(nets->online(nets->user, b->x0, r.t, NULL, r.online));
    memset(r.d, 0, sizeof answers[0]);
    return nets->backward(nets->user, r.d);
}

START_TEST(roles_of_a_teacher_that_guides)
{
    static float images[BATCH * VALUES], x[BATCH * VALUES], sigma[BATCH], d[BATCH * VALUES];
    int32_t labels[BATCH];
    cm_objective objective = cmi_objective_scd;
    objective.run = ask_teacher_roles;
    cm_trainer *t = ask("scd+guidance", &objective, 1, images, labels);
    /* x_t = sigma_data images, of level 1 in EDM's units x_t / cos t; F = (cos t x_t - D) / (sin t sigma_data) */
    const double sd = t->settings.sigma_data, angle = atan(1 / sd);
    for (int i = 0; i < BATCH; i++) sigma[i] = 1;
    for (int i = 0; i < BATCH * VALUES; i++) x[i] = (float)(sd * (double)images[i] / cos(angle));
    for (int k = 0; k < 2; k++) {
        OK(cm_model_denoise(t->teacher, BATCH, x, sigma, k == 0 ? labels : NULL, d));
        for (int i = 0; i < BATCH * VALUES; i++)
            ck_assert_double_eq_tol((cos(angle) * sd * (double)images[i] - (double)d[i]) / (sin(angle) * sd),
                                    answers[k][i], 1e-4);
    }
    ck_assert_mem_ne(answers[0], answers[1], sizeof answers[0]);
    cm_trainer_free(t);
}
END_TEST

/* Both outputs, and what guidance the network is told: that of nobody is scale 1 over all times. */
static cm_status ask_outputs(const cm_objective_settings *s, const cm_objective_batch *b,
                             const cm_objective_nets *nets)
{
    static double told[ROLES][3 * BATCH], both[ROLES][2 * BATCH * VALUES];
    static const double guidance[ROLES][3] = {{0}, {1, 0, 1}, {4, 0, 1}, {4, 0.2, 0.9}};
    const cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    for (size_t i = 0; i < b->n; i++) r.t[i] = asked_at, r.t2[i] = b->loss[i] = 0;
    for (int k = 0; k < ROLES; k++) {
        for (int i = 0; i < 3 * BATCH; i++) told[k][i] = guidance[k][i % 3];
        if (k) OK(nets->condition(nets->user, told[k]));
        OK(nets->evaluate(nets->user, CM_ROLE_PLAIN, b->x0, r.t, r.t2, both[k]));
    }
    ck_assert_mem_eq(both[0], both[1], sizeof both[0]);
    for (int i = 0; i < BATCH; i++)
        memcpy(answers[PLAIN] + i * VALUES, both[0] + 2 * i * VALUES, VALUES * sizeof **both);
    for (int k = 2; k < ROLES; k++)
        for (int i = 0; i < 2 * BATCH; i++) /* each image, each output */
            ck_assert_mem_ne(both[k] + i * VALUES, both[k - 1] + i * VALUES, VALUES * sizeof **both);
    for (int i = 0; i < BATCH; i++)
        ck_assert_mem_ne(both[0] + 2 * i * VALUES, both[0] + (2 * i + 1) * VALUES, VALUES * sizeof **both);
    CM_TRY(nets->online(nets->user, b->x0, r.t, r.t2, r.online));
    memset(r.d, 0, 2 * sizeof answers[DROPPED]);
    return nets->backward(nets->user, r.d);
}

START_TEST(outputs_and_conditions)
{
    static float images[BATCH * VALUES];
    int32_t labels[BATCH];
    cm_objective objective = cmi_objective_improved_meanflow;
    objective.run = ask_outputs;
    cm_trainer *t = ask("imeanflow", &objective, 0, images, labels);
    check_velocity(t, images, labels, answers[PLAIN]);
    cm_trainer_free(t);
}
END_TEST

/* The scale that a call gives is the one that the network was told in training; a sampler tells it too. */
START_TEST(guidance_of_calls)
{
    enum { N = 2 };
    static float x[N * VALUES], sigma[N] = {0.5f, 3}, d[3][N * VALUES];
    static const int32_t labels[N] = {1, 0};
    cm_train_settings settings = options("imeanflow");
    cm_trainer *t = trainer("imeanflow", &settings);
    cm_model *two, *one = tiny_of_two_times(NULL, 1, 1);
    cm_condition c = CM_CONDITION_INIT;
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    cm_sample_options s = CM_SAMPLE_OPTIONS_INIT;
    cm_sampler *sampler;
    int32_t nfe;
    static const double scales[3] = {0, 1, 3};
    OK(steps(t, 3, NULL)); /* fresh networks hardly answer */
    OK(cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &two));
    cm_trainer_free(t);
    for (int i = 0; i < N * VALUES; i++) x[i] = (float)sin(i);
    c.labels = labels;
    o.condition = s.condition = &c;
    for (int k = 0; k < 3; k++) {
        c.guidance = scales[k];
        OK(cm_model_denoise_with(two, &o, N, x, sigma, d[k]));
    }
    ck_assert_mem_eq(d[0], d[1], sizeof d[0]);
    ck_assert_mem_ne(d[1], d[2], sizeof d[0]);
    OK(cm_sampler_create(two, NULL, &sampler));
    for (int k = 0; k < 3; k++) {
        c.guidance = scales[k];
        OK(cm_sampler_run(sampler, &s, N, d[k]));
    }
    ck_assert_mem_eq(d[0], d[1], sizeof d[0]);
    ck_assert_mem_ne(d[1], d[2], sizeof d[0]);
    c.guidance = -1;
    FAILS(cm_sampler_run(sampler, &s, N, d[0]), CM_ERR_ARGUMENT, "guidance is -1");
    FAILS(cm_sampler_nfe(sampler, &s, &nfe), CM_ERR_ARGUMENT, "guidance is -1");
    FAILS(cm_model_denoise_with(two, &o, N, x, sigma, d[0]), CM_ERR_ARGUMENT, "guidance is -1");
    cm_sampler_free(sampler);
    c.guidance = 2;
    OK(cm_sampler_create(one, NULL, &sampler));
    FAILS(cm_sampler_nfe(sampler, &s, &nfe), CM_ERR_ARGUMENT,
          "guidance is for diffusion models and for networks that are told");
    cm_sampler_free(sampler);
    FAILS(cm_model_denoise_with(one, &o, N, x, sigma, d[0]), CM_ERR_ARGUMENT,
          "guidance is for diffusion models and for networks that are told");
    cm_model_free(one);
    cm_model_free(two);
}
END_TEST

/* Networks and objectives of one output and of two do not go together. */
START_TEST(outputs_refused)
{
    static const char *const bad[][2] = {
        {"\"in_channels\": 3, \"out_channels\": 6, \"second_time\": \"concat\", \"conditions\": 2", "expected 3"},
        {"\"in_channels\": 3, \"out_channels\": 3, \"conditions\": 3", "belong to a network with a second_time"},
        {"\"in_channels\": 3, \"out_channels\": 9, \"second_time\": \"concat\"", "out_channels is 9"},
    };
    cm_model *one = tiny_of_two_times(NULL, 1, 1), *two = tiny_of_two_times(NULL, 1, 2), *m;
    cm_train_settings o = options("imeanflow");
    cm_trainer *t;
    FAILS(create(one, NULL, &o, &t), CM_ERR_ARGUMENT, "out_channels 6 and conditions 3; this one has out_channels 3");
    o = options("meanflow");
    FAILS(create(two, NULL, &o, &t), CM_ERR_ARGUMENT, "out_channels 3 and conditions 0; this one has out_channels 6");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char config[512];
        (void)snprintf(config, sizeof config,
                       "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"model_channels\": 8, "
                       "\"channel_mult\": [1], \"num_blocks\": 1, %s}, \"precond\": {\"type\": "
                       "\"average-velocity\"}}",
                       bad[i][0]);
        FAILS(cm_model_create(NULL, config, 1, &m), CM_ERR_FORMAT, bad[i][1]);
    }
    cm_model_free(one);
    cm_model_free(two);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("guided_training");
    TCase *t = tcase_create("guided_training");
    tcase_set_timeout(t, 600);
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_add_test(t, roles_of_guidance);
    tcase_add_loop_test(t, guided_velocity, 0, 2);
    tcase_add_test(t, roles_of_a_teacher_that_guides);
    tcase_add_test(t, outputs_and_conditions);
    tcase_add_test(t, outputs_refused);
    tcase_add_test(t, guidance_of_calls);
    tcase_add_test(t, guidance_without_classes);
    tcase_add_test(t, guidance_of_a_teacher_without_classes);
    suite_add_tcase(s, t);
    return s;
}
