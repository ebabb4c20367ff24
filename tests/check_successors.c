/* Mid-training and truncated consistency: what is refused before work begins, which images are chosen, what the
 * frozen network does, and the numbers of truncated distributions. */
#include "support/trainers.h"

#include <math.h>

#include "train/truncated.h"

static void refused(const char *objective, cm_model *model, cm_model *teacher, const cm_train_settings *o,
                    const char *word)
{
    cm_trainer *t = NULL;
    const cm_status status = create(model, teacher, o, &t);
    ck_assert_msg(status != CM_OK && !t, "%s: %s is not refused", objective, word);
    ck_assert_msg(strstr(cm_last_message(), word) != NULL, "%s: '%s' has no '%s'", objective, cm_last_message(),
                  word);
}

static void without_effect(const char *objective, const char *name, const char *value, const char *word)
{
    cm_train_settings o = options(objective);
    OK(cmi_settings_set(&o, name, value));
    FAILS(cmi_settings_check(&o, 0), CM_ERR_ARGUMENT, word);
}

START_TEST(teachers_refused)
{
    cm_model *m = tiny(NULL, 1), *consistency = tiny_of(NULL, 2, "ecm"), *other = tiny_of(NULL, 2, "cm"), *digits;
    cm_train_settings o = options("cmt");
    OK(cm_model_load(NULL, "tests/data/models/digits_teacher.safetensors", NULL, &digits));
    refused("cmt", m, NULL, &o, "needs a teacher");
    refused("cmt", m, consistency, &o, "is a consistency model (precond \"ecm\")");
    refused("cmt", m, other, &o, "is a consistency model (precond \"cm\")");
    refused("cmt", m, digits, &o, "the teacher makes images of");
    o = options("tcm");
    refused("tcm", m, consistency, &o, "is a consistency model");
    o = options("tcm2");
    refused("tcm2", m, NULL, &o, "the network of the first stage");
    refused("tcm2", m, m, &o, "of the same network with precond \"ecm\"");
    refused("tcm2", m, other, &o, "of the same network with precond \"ecm\"");
    o = options("ect");
    refused("ect", m, m, &o, "a teacher has no effect on objective ect");
    cm_model_free(m);
    cm_model_free(consistency);
    cm_model_free(other);
    cm_model_free(digits);
}
END_TEST

START_TEST(options_refused)
{
    cm_model *m = tiny(NULL, 1), *first = tiny_of(NULL, 2, "ecm");
    cm_train_settings o = options("tcm2");
    o.transition = 80;
    refused("tcm2", m, first, &o, "transition is 80, expected a level between");
    o = options("tcm");
    o.p_mean = -8;
    refused("tcm", m, NULL, &o, "p_mean is -8");
    o = options("cmt");
    o.cmt_nfe = 2;
    FAILS(cmi_settings_check(&o, 0), CM_ERR_ARGUMENT, "cmt_order is 3, and the trajectory has 2 steps");
    o = options("cmt");
    o.batch = 3;
    FAILS(cmi_settings_check(&o, 0), CM_ERR_ARGUMENT, "batch is 3; it counts pairs");
    o = options("cmt");
    o.microbatch = 3;
    FAILS(cmi_settings_check(&o, 0), CM_ERR_ARGUMENT, "microbatch is 3");
    without_effect("ect", "cmt_nfe", "8", "cmt_nfe has no effect on objective ect");
    without_effect("ect", "ratio_limit", "0.9", "ratio_limit has no effect on objective ect");
    without_effect("tcm", "transition", "2", "transition has no effect on objective tcm");
    without_effect("tcm", "boundary_share", "0.5", "boundary_share has no effect on objective tcm");
    without_effect("cmt", "pair_weighting", "one", "pair_weighting has no effect on objective cmt");
    without_effect("cd", "ect_first_stage", "2", "ect_first_stage has no effect on objective cd");
    FAILS(cmi_settings_set(&o, "ema", "gamma:0"), CM_ERR_ARGUMENT, "the exponent is 0");
    FAILS(cmi_settings_set(&o, "student_nu", "0"), CM_ERR_ARGUMENT, "student_nu is 0");
    cm_model_free(m);
    cm_model_free(first);
}
END_TEST

/* --- who is chosen --------------------------------------------------------------------- */

START_TEST(a_share_is_chosen)
{
    enum { N = 64 };
    unsigned char marks[N], again[N];
    uint32_t order[N];
    int often[N] = {0};
    for (uint64_t step = 0; step < 400; step++) {
        const size_t count = cmi_tcm_choose(7, step * N, N, 1, 0.25, marks, order);
        size_t found = 0;
        for (size_t i = 0; i < N; i++) found += marks[i], often[i] += marks[i];
        ck_assert_uint_eq(count, 16);
        ck_assert_uint_eq(found, 16);
        (void)cmi_tcm_choose(7, step * N, N, 1, 0.25, again, order);
        ck_assert_mem_eq(marks, again, N);
    }
    for (int i = 0; i < N; i++) ck_assert_msg(often[i] > 60 && often[i] < 145, "image %d: %d of 400", i, often[i]);
    /* Where the share is less than an image, it is a probability. */
    int some = 0;
    for (uint64_t step = 0; step < 1000; step++) some += (int)cmi_tcm_choose(7, step * 3, 3, 1, 0.25, marks, order);
    ck_assert_int_gt(some, 650);
    ck_assert_int_lt(some, 850);
    ck_assert_uint_eq(cmi_tcm_choose(7, 0, N, 1, 0, marks, order), 0);
    ck_assert_uint_eq(cmi_tcm_choose(7, 0, N, 1, 1, marks, order), N);
}
END_TEST

/* SoFlow: t, s and l in order and apart, for any draws; the ratio over a run; which images learn the velocity. */
START_TEST(times_of_soflow)
{
    cm_train_settings o = options("soflow");
    cm_objective_settings s = cmi_objective_settings_of(&o, CHANNELS, SIDE, SIDE);
    uint64_t state = seeded(3);
    const double ratios[] = {1, 0.1, 3.125e-4, 1e-9};
    for (int i = 0; i < 4000; i++) {
        double t, second, l;
        s.ratio = ratios[i % 4];
        cmi_soflow_times(&s, 4 * (double)random_float(&state), 4 * (double)random_float(&state), &t, &second, &l);
        ck_assert(t >= 1e-4 && t <= 1);
        ck_assert(second <= t - 1e-4 && second >= 0 && l <= t - 1e-4 && l >= second - 1e-15);
    }
    cm_trainer *t;
    OK(open_trainer(NULL, "soflow", &o, &t)); /* exponent: 1 to 1/3200 over 20 steps */
    for (int k = 0; k < 22; k++) {
        static float images[BATCH * VALUES];
        int32_t labels[BATCH];
        batch(k, images, labels);
        OK(step_of(t, BATCH, images, labels, NULL));
        ck_assert_double_eq_tol(t->settings.ratio, pow(3.125e-4, fmin(k / 20.0, 1)), 1e-12);
    }
    cm_trainer_free(t);
    unsigned char marks[10];
    const cm_choosing c = {1, 0, 10, 1};
    o.velocity_share = 0.75;
    ck_assert_uint_eq(cmi_objective_soflow.choose(&o, &c, marks, NULL), 7);
    for (int i = 0; i < 10; i++) ck_assert_int_eq(marks[i], i < 7);
}
END_TEST

/* A step of half a batch of velocities has the mean of what the halves have by themselves: no image is forgotten, and
 * slices that need one evaluation less answer the same. */
START_TEST(shares_of_soflow)
{
    double loss[3][BATCH];
    for (int k = 0; k < 3; k++) {
        static float images[BATCH * VALUES];
        int32_t labels[BATCH];
        cm_train_settings o = options("soflow");
        cm_trainer *t;
        o.velocity_share = k / 2.0, o.microbatch = 4; /* the middle slice has both kinds */
        OK(open_trainer(NULL, "soflow", &o, &t));
        batch(0, images, labels);
        OK(step_of(t, BATCH, images, labels, NULL));
        memcpy(loss[k], t->loss, sizeof loss[k]);
        cm_trainer_free(t);
    }
    for (int i = 0; i < BATCH; i++) {
        ck_assert_double_eq(loss[1][i], loss[i < BATCH / 2 ? 2 : 0][i]);
        ck_assert_double_ne(loss[0][i], loss[2][i]);
    }
}
END_TEST

/* All images, and none: the part that is empty takes no share of the loss. */
START_TEST(borders_of_the_share)
{
    for (int all = 0; all < 2; all++) {
        cm_train_settings o = options("tcm2");
        double losses[2];
        o.boundary_share = all;
        if (all) o.boundary_weight = 1;
        cm_trainer *t = trainer("tcm2", &o);
        OK(steps(t, 2, losses));
        ck_assert(isfinite(losses[0]) && losses[0] > 0 && isfinite(losses[1]));
        cm_trainer_free(t);
    }
}
END_TEST

/* --- networks ---------------------------------------------------------------------------- */

/* A trainer without a model begins with the teacher, so that both networks are the same at first; the frozen one
 * stays as it is while the other learns. */
START_TEST(the_first_stage_stays)
{
    cm_train_settings o = options("tcm2");
    cm_model *first = tiny_of(NULL, 4, "ecm");
    cm_trainer *t = NULL;
    OK(create(NULL, first, &o, &t));
    const size_t bytes = t->learner->floats * sizeof(float);
    float *before = malloc(bytes);
    ck_assert_mem_eq(t->learner->first.values, t->learner->online.values, bytes);
    memcpy(before, t->learner->first.values, bytes);
    OK(steps(t, 3, NULL));
    ck_assert_mem_eq(t->learner->first.values, before, bytes);
    ck_assert(memcmp(t->learner->online.values, before, bytes) != 0);
    cm_trainer_free(t);
    cm_model_free(first);
    free(before);
}
END_TEST

/* With a teacher the point at r is another one, so the loss is too. */
START_TEST(a_teacher_of_the_first_stage)
{
    cm_train_settings o = options("tcm");
    double plain[1], taught[1];
    cm_model *m = tiny(NULL, 3), *teacher = tiny(NULL, 4);
    cm_trainer *a = trainer("tcm", &o), *b = NULL;
    OK(create(m, teacher, &o, &b));
    OK(steps(a, 1, plain));
    OK(steps(b, 1, taught));
    ck_assert(plain[0] != taught[0] && isfinite(taught[0]));
    cm_trainer_free(a);
    cm_trainer_free(b);
    cm_model_free(m);
    cm_model_free(teacher);
}
END_TEST

/* --- gradients ----------------------------------------------------------------------------- */

START_TEST(scrubbed)
{
    float g[6] = {NAN, INFINITY, -INFINITY, 3, -0.0f, 3e38f};
    OK(cmi_gradient_scrub(cmi_one_thread(), 6, g));
    ck_assert(g[0] == 0 && g[1] == 1e5f && g[2] == -1e5f && g[3] == 3 && g[4] == 0 && g[5] == 3e38f);
    cm_train_settings o = options("edm");
    float images[BATCH * VALUES];
    int32_t labels[BATCH];
    batch(0, images, labels);
    images[100] = 3e38f; /* no gradient is finite, but the loss is */
    cm_trainer *t = trainer("edm", &o);
    FAILS(step_of(t, BATCH, images, labels, NULL), CM_ERR_NUMERIC, "gradient norm");
    cm_trainer_free(t);
    o.scrub_gradients = 1;
    t = trainer("edm", &o);
    OK(step_of(t, BATCH, images, labels, NULL));
    for (size_t i = 0; i < t->learner->floats; i++) ck_assert(isfinite(t->learner->online.values[i]));
    cm_trainer_free(t);
}
END_TEST

/* --- distributions ---------------------------------------------------------------------------- */

/* Cauchy's has one degree of freedom, and two have a closed form; the ends are the bounds. */
START_TEST(distributions)
{
    for (double x = -30; x <= 30; x += 0.37) {
        ck_assert_double_eq_tol(cmi_student_below(1, x), 0.5 + atan(x) / 3.14159265358979323846, 1e-14);
        ck_assert_double_eq_tol(cmi_student_below(2, x), 0.5 + x / (2 * sqrt(2 + x * x)), 1e-14);
        ck_assert_double_eq_tol(cmi_student_below(INFINITY, x), 0.5 * erfc(-x / sqrt(2)), 1e-15);
        ck_assert_double_eq_tol(cmi_student_below(1000, x), cmi_student_below(1e4, x), 1e-3);
    }
    static const double nus[] = {1e-4, 0.01, 1, 5, 1000, INFINITY};
    static const double bounds[][2] = {{-6, 4}, {0, 4.382}, {1, 2}, {-3, -2.5}, {3, 9}, {-40, 40}};
    for (size_t k = 0; k < 6; k++)
        for (size_t b = 0; b < 6; b++) {
            const cm_truncated d = {0.3, 0.7, nus[k], bounds[b][0], bounds[b][1]};
            const double low = cmi_student_below(d.nu, (d.low - d.m) / d.s),
                         high = cmi_student_below(d.nu, (d.high - d.m) / d.s);
            double last = d.low;
            ck_assert(cmi_truncated_at(&d, 0) == d.low && cmi_truncated_at(&d, 1) == d.high);
            for (double u = 0.001; u < 1; u += 0.0173) {
                const double x = cmi_truncated_at(&d, u),
                             share = (cmi_student_below(d.nu, (x - d.m) / d.s) - low) / (high - low);
                ck_assert_msg(x >= last && x <= d.high, "nu %g, bounds %g %g, u %g: %g after %g", d.nu, d.low, d.high,
                              u, x, last);
                if (high - low > 1e-4) ck_assert_double_eq_tol(share, u, 1e-10);
                last = x;
            }
        }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("successors");
    TCase *t = tcase_create("successors");
    tcase_set_timeout(t, 600);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, teachers_refused);
    tcase_add_test(t, options_refused);
    tcase_add_test(t, a_share_is_chosen);
    tcase_add_test(t, borders_of_the_share);
    tcase_add_test(t, times_of_soflow);
    tcase_add_test(t, shares_of_soflow);
    tcase_add_test(t, the_first_stage_stays);
    tcase_add_test(t, a_teacher_of_the_first_stage);
    tcase_add_test(t, scrubbed);
    tcase_add_test(t, distributions);
    suite_add_tcase(s, t);
    return s;
}
