/* Training: every objective learns, the same bytes for any threads, plans that recompute, gradients and what the
 * networks are asked for.  CHECK_EFFORT=long does more of each. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/trainers.h"
#include "train/trainer.h"

/* --- learning ------------------------------------------------------------------------- */

/* Mean squared error of D(x0 + sigma z; sigma) at a middling sigma, the classes told:
 * what consistency functions and denoisers alike have to bring down. */
static double error_of(cm_trainer *t)
{
    enum { N = 4 * BATCH };
    static float x0[N * VALUES], x[N * VALUES], d[N * VALUES], sigma[N];
    int32_t labels[N];
    cm_model *m;
    uint64_t state = seeded(99);
    double sum = 0;
    for (int k = 0; k < 4; k++) batch(1000 + k, x0 + k * BATCH * VALUES, labels + k * BATCH);
    for (int i = 0; i < N; i++) sigma[i] = 2;
    for (int i = 0; i < N * VALUES; i++) x[i] = x0[i] + 2 * 1.7320508f * random_float(&state); /* unit variance */
    OK(cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m));
    OK(cm_model_denoise(m, N, x, sigma, labels, d));
    cm_model_free(m);
    for (int i = 0; i < N * VALUES; i++) sum += (double)(d[i] - x0[i]) * (double)(d[i] - x0[i]);
    return sum / (N * VALUES);
}

START_TEST(every_objective_learns)
{
    const char *name = names[_i];
    cm_train_settings o = options(name);
    int count = by_effort(2, 120, 120);
    o.steps = count;
    o.lr = 3e-3;
    if (_i == 2)
        o.scales_mode = CM_SCALES_FIXED, o.start_scales = o.end_scales = 6, o.mu_mode = CM_MU_FIXED, o.mu = 0;
    if (_i == 4) o.scales_mode = CM_SCALES_FIXED, o.start_scales = o.end_scales = 4;
    if (_i == 5) o.ect_stages = 1;
    if (_i == 3) o.distill_steps = 1000;
    cm_trainer *t = trainer(name, &o);
    double first = error_of(t);
    OK(steps(t, count, NULL));
    double last = error_of(t);
    /* The teacher of cd and pd here is random and only has to be followed. */
    if (count <= 100) skipped("%s: the error after 120 steps: short effort", name);
    else ck_assert_msg(last < (needs_teacher(name) ? 1.5 : 0.7) * first, "%s: error %g, then %g", name, first, last);
    cm_trainer_free(t);
}
END_TEST

START_TEST(threads_change_no_bits)
{
    const char *name = names[_i];
    cm_train_settings o = options(name);
    int count = by_effort(3, 20, 20);
    o.threads = 1;
    cm_trainer *one = trainer(name, &o);
    OK(steps(one, count, NULL));
    for (int threads = 2; threads <= 4; threads++) {
        o.threads = threads;
        cm_trainer *t = trainer(name, &o);
        OK(steps(t, count, NULL));
        ck_assert_msg(same_state(one, t), "%s: %d threads change the bits", name, threads);
        cm_trainer_free(t);
    }
    cm_trainer_free(one);
}
END_TEST

/* The first losses are nearly those of float32, no bits depend on the threads, and a
 * run does not change its arithmetic unseen. */
START_TEST(bfloat16)
{
    enum { COUNT = 4 };
    const char *name = names[_i];
    double exact[COUNT], coarse[COUNT], again[COUNT];
    char path[64];
    cm_train_settings o = options(name);
    cm_trainer *f32 = trainer(name, &o);
    OK(steps(f32, COUNT, exact));
    OK(cmi_settings_set(&o, "precision", "bf16"));
    OK(cmi_settings_set(&o, "debug", "bf16_emulate=1"));
    cm_trainer *bf16 = trainer(name, &o);
    OK(steps(bf16, COUNT, coarse));
    o.threads = 3;
    cm_trainer *threads = trainer(name, &o);
    OK(steps(threads, COUNT, again));
    ck_assert(same_state(bf16, threads) && !same_state(f32, bf16));
    for (int i = 0; i < COUNT; i++)
        ck_assert_msg(coarse[i] != exact[i] && fabs(coarse[i] - exact[i]) < 0.05 * fabs(exact[i]),
                      "%s: loss %d is %g, in float32 %g", name, i, coarse[i], exact[i]);
    snprintf(path, sizeof path, "%s/bf16-%s", dir, name);
    OK(cm_trainer_save(f32, path, 0));
    cm_trainer_free(f32); /* and its lock with it */
    FAILS(cm_trainer_resume(bf16, path, NULL, 0), CM_ERR_ARGUMENT, "precision was \"default\", is \"bf16\"");
    cm_trainer_free(bf16);
    cm_trainer_free(threads);
}
END_TEST

START_TEST(recomputing_changes_no_bits)
{
    cm_train_settings o = options("ect");
    cm_trainer *kept = trainer("ect", &o);
    o.recompute = 6;
    cm_trainer *again = trainer("ect", &o);
    OK(steps(kept, 4, NULL));
    OK(steps(again, 4, NULL));
    ck_assert(same_state(kept, again));
    size_t a = cmi_plan_arena_bytes(kept->learner->train_plan), b = cmi_plan_arena_bytes(again->learner->train_plan);
    ck_assert_msg(b < a, "recomputing takes %zu bytes, keeping %zu", b, a);
    cm_trainer_free(kept);
    cm_trainer_free(again);
}
END_TEST

/* Online and target see the same masks, another step other ones. */
START_TEST(dropout_is_a_function_of_the_image)
{
    cm_train_settings o = options("ect");
    cm_trainer *t = trainer("ect", &o);
    cm_learner *l = t->learner;
    cm_exec *a, *b;
    size_t slice = l->options.slice, n = slice * VALUES;
    uint64_t ids[16], others[16];
    OK(cmi_exec_create(l->target_plan, &a));
    OK(cmi_exec_create(l->target_plan, &b));
    for (size_t i = 0; i < slice; i++) ids[i] = cmi_learner_stream(i), others[i] = cmi_learner_stream(100 + i);
    const uint64_t *const seeds[3] = {ids, ids, others};
    float *out[3];
    for (int k = 0; k < 3; k++) {
        cm_exec *e = k == 1 ? b : a;
        for (size_t i = 0; i < n; i++) ((float *)cmi_exec_input(e, CM_IN_X))[i] = 0.01f * (float)(i % 97);
        for (size_t i = 0; i < slice; i++) {
            for (int c = 0; c < 4; c++) ((float *)cmi_exec_input(e, CM_IN_C_IN + c))[i] = 0.5f;
            ((int32_t *)cmi_exec_input(e, CM_IN_LABEL))[i] = 1;
        }
        memset(cmi_exec_input(e, CM_IN_AUGMENT), 0, slice * 9 * sizeof(float));
        cmi_exec_seed(e, 5, seeds[k]);
        OK(cmi_exec_run(e, l->target_weights));
        out[k] = malloc(n * sizeof(float));
        memcpy(out[k], cmi_exec_output(e, CM_OUT_D), n * sizeof(float));
    }
    ck_assert(memcmp(out[0], out[1], n * sizeof(float)) == 0);
    ck_assert(memcmp(out[0], out[2], n * sizeof(float)) != 0);
    for (int k = 0; k < 3; k++) free(out[k]);
    cmi_exec_free(a);
    cmi_exec_free(b);
    cm_trainer_free(t);
}
END_TEST

/* The share of zeros, the scale of the rest, and word for word the stream of the image. */
START_TEST(dropout_statistics)
{
    cm_context *context;
    cm_graph *g;
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    cm_params *params;
    const cm_attr attr = {.dropout = {0.3, 0}};
    OK(cm_context_create(NULL, &context));
    OK(cmi_graph_create(context, &g));
    cm_value x = cmi_graph_input(g, (cm_desc){1, 63, 63, 17});
    cmi_graph_output(g, cmi_graph_node(g, &cmi_op_dropout, &attr, &x, 1, -1, -1));
    const cm_plan_options o = {.slice = 1, .threads = 1, .share = 1};
    OK(cmi_plan_create(g, &o, &plan));
    OK(cmi_params_create(g, NULL, &params));
    OK(cmi_weights_create(plan, params, &weights));
    OK(cmi_exec_create(plan, &exec));
    size_t n = 63 * 63 * 17, zeros = 0;
    for (size_t i = 0; i < n; i++) ((float *)cmi_exec_input(exec, 0))[i] = 2;
    const uint64_t seed = 0x123456789abcdefu, image = 0xfedcba9876543u;
    const cm_stream stream = {seed, image, 1 << 20};
    cmi_exec_seed(exec, seed, &image);
    OK(cmi_exec_run(exec, weights));
    for (size_t i = 0; i < n; i++) {
        float y = cmi_exec_output(exec, 0)[i];
        uint32_t words[4];
        cmi_stream_block(&stream, (uint32_t)(i / 4), words);
        ck_assert_int_eq(y == 0, words[i % 4] < (uint32_t)(0.3 * 4294967296.0));
        zeros += y == 0;
        ck_assert(y == 0 || fabs((double)y - 2 / 0.7) < 1e-6);
    }
    /* binomial: five standard deviations */
    ck_assert_msg(fabs((double)zeros - 0.3 * (double)n) < 5 * sqrt((double)n * 0.21), "%zu of %zu", zeros, n);
    cmi_exec_free(exec);
    cmi_weights_free(weights);
    cmi_params_free(params);
    cmi_plan_free(plan);
    cmi_graph_free(g);
    cm_context_free(context);
}
END_TEST

/* Steps of other numbers of images than batch: the bits of a trainer whose batch has that size, and of one that gets
 * the same images as bytes side by side where those are the same values. */
START_TEST(steps_of_any_count)
{
    static float images[2 * BATCH * VALUES];
    static uint8_t bytes[2 * BATCH * VALUES];
    int32_t labels[2 * BATCH];
    const size_t counts[] = {5, 2 * BATCH, 1, BATCH};
    const char *const name = names[_i];
    cm_train_settings o = options(name);
    o.microbatch = 4;
    OK(cmi_settings_set(&o, "ema", "0.9,halflife:50:0.5"));
    for (size_t k = 0; k < 4; k++) {
        const int32_t n = (int32_t)counts[k];
        cm_train_report ra = CM_TRAIN_REPORT_INIT, rb = CM_TRAIN_REPORT_INIT;
        cm_condition condition = CM_CONDITION_INIT;
        uint64_t state = 9 + k;
        for (int32_t i = 0; i < n; i++) labels[i] = i % CLASSES;
        for (int32_t i = 0; i < n * VALUES; i++) bytes[i] = (uint8_t)random_int(&state, 0, 255);
        cm_images of_bytes = cm_images_u8((size_t)n, SIDE, SIDE, CHANNELS, bytes);
        const cm_images of_floats = cm_images_f32((size_t)n, CHANNELS, SIDE, SIDE, images);
        OK(cm_images_convert(&of_bytes, &of_floats));
        condition.labels = labels;
        const int32_t views = cmi_objective_views(&o); /* batch counts pairs */
        o.batch = BATCH;
        cm_trainer *a = trainer(name, &o);
        o.batch = n * views;
        cm_trainer *b = trainer(name, &o);
        for (int step = 0; step < 3; step++) {
            OK(cm_trainer_step(a, &of_bytes, &condition, &ra));
            OK(step_of(b, (size_t)n, images, labels, &rb));
            ck_assert(ra.loss == rb.loss && ra.grad_norm == rb.grad_norm && ra.images == rb.images);
            ck_assert_uint_eq(ra.images, (uint64_t)(step + 1) * (uint64_t)(n * views));
        }
        ck_assert_msg(same_state(a, b), "%s: steps of %d images", name, n);
        of_bytes.n = 0;
        FAILS(cm_trainer_step(a, &of_bytes, NULL, NULL), CM_ERR_ARGUMENT, "images");
        of_bytes.n = 1, of_bytes.width--;
        FAILS(cm_trainer_step(a, &of_bytes, NULL, NULL), CM_ERR_SHAPE, "images");
        of_bytes.width++, ra.struct_size = 0;
        FAILS(cm_trainer_step(a, &of_bytes, NULL, &ra), CM_ERR_ARGUMENT, "cm_train_report");
        ck_assert_msg(same_state(a, b), "%s: a step that fails changes nothing", name);
        /* Floats may stand at any byte. */
        cm_images odd = cm_images_f32(1, CHANNELS, SIDE, SIDE, images);
        OK(cm_trainer_step(b, &odd, &condition, NULL));
        odd.data = memmove((char *)images + 1, images, sizeof(float) * VALUES);
        OK(cm_trainer_step(a, &odd, &condition, NULL));
        ck_assert_msg(same_state(a, b), "%s: a step of misaligned values", name);
        cm_trainer_free(a);
        cm_trainer_free(b);
    }
}
END_TEST

/* What the issue of micro-batches is: averaged they change rounding only, summed they
 * multiply the gradient. */
START_TEST(microbatches)
{
    cm_train_settings o = options("edm");
    double norm[3];
    for (int k = 0; k < 3; k++) {
        static float images[BATCH * VALUES];
        int32_t labels[BATCH];
        cm_train_report r;
        o.microbatch = k == 0 ? 12 : 5; /* 5, 5 and 2 with 3 of padding */
        o.sum_microbatches = k == 2;
        cm_trainer *t = trainer("edm", &o);
        cm_train_report_init(&r, sizeof r);
        batch(0, images, labels);
        OK(step_of(t, (size_t)t->o.batch, images, labels, &r));
        norm[k] = r.grad_norm;
        cm_trainer_free(t);
    }
    ck_assert_msg(fabs(norm[1] / norm[0] - 1) < 1e-5, "%g and %g", norm[0], norm[1]);
    ck_assert_msg(fabs(norm[2] / norm[0] - 3) < 1e-5, "%g and %g", norm[0], norm[2]);
}
END_TEST

START_TEST(trainers_refused)
{
    cm_train_settings o = options("cd");
    cm_trainer *t;
    cm_model *m = tiny(NULL, 1), *digits;
    OK(cm_model_load(NULL, "tests/data/models/digits_teacher.safetensors", NULL, &digits));
    FAILS(create(m, NULL, &o, &t), CM_ERR_ARGUMENT, "needs a teacher");
    FAILS(create(m, digits, &o, &t), CM_ERR_SHAPE, "images of 1 x 32 x 32");
    FAILS(create(NULL, NULL, &o, &t), CM_ERR_ARGUMENT, "model is NULL");
    o = options("ect");
    FAILS(create(m, m, &o, &t), CM_ERR_ARGUMENT, "no effect on objective ect");
    o = options("ict");
    o.p_mean = 5; /* e^5 is above 80 */
    FAILS(create(m, NULL, &o, &t), CM_ERR_ARGUMENT, "exp(p_mean) = 148");
    o.p_mean = -7;
    FAILS(create(m, NULL, &o, &t), CM_ERR_ARGUMENT, "p_mean is -7");
    o = options("edm");
    o.p_mean = 5;
    FAILS(create(m, NULL, &o, &t), CM_ERR_ARGUMENT, "p_mean is 5");
    o = options("edm");
    FAILS(create(digits, NULL, &o, &t), CM_ERR_ARGUMENT, "augment_dim 9");
    OK(create(m, NULL, &o, &t));
    float images[BATCH * VALUES];
    int32_t labels[BATCH];
    batch(0, images, labels);
    labels[3] = CLASSES;
    FAILS(step_of(t, (size_t)t->o.batch, images, labels, NULL), CM_ERR_ARGUMENT, "labels[3] is 3");
    FAILS(cm_trainer_step(t, NULL, NULL, NULL), CM_ERR_ARGUMENT, "NULL");
    cm_trainer_free(t);
    cm_model_free(m);
    cm_model_free(digits);
}
END_TEST

/* The message says what the objective trains, and what was found. */
START_TEST(models_of_another_precond)
{
    cm_model *m = tiny(NULL, 1), *two = tiny_of_two_times(NULL, 1, 1), *jumps;
    cm_train_settings o = options("meanflow");
    cm_trainer *t;
    FAILS(create(m, NULL, &o, &t), CM_ERR_ARGUMENT,
          "precond \"average-velocity\", whose network has a second_time; this");
    o = options("sct");
    FAILS(create(two, NULL, &o, &t), CM_ERR_ARGUMENT,
          "\"ecm\" and TrigFlow's; this one has precond \"average-velocity\"");
    OK(cm_model_create(NULL,
                       "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 3, "
                       "\"model_channels\": 8, \"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": [], "
                       "\"second_time\": \"concat\"}, \"precond\": {\"type\": \"imm\"}}",
                       1, &jumps));
    o = options("ect");
    o.label_dropout = 0;
    FAILS(create(jumps, NULL, &o, &t), CM_ERR_UNSUPPORTED, "no objective trains a model with precond \"imm\"");
    cm_model_free(m);
    cm_model_free(two);
    cm_model_free(jumps);
}
END_TEST

START_TEST(nonfinite_stops)
{
    cm_train_settings o = options("edm");
    o.augment = 0;
    cm_trainer *t = trainer("edm", &o);
    float images[BATCH * VALUES];
    int32_t labels[BATCH];
    OK(steps(t, 2, NULL));
    cm_trainer *before = trainer("edm", &o);
    OK(steps(before, 2, NULL));
    batch(2, images, labels);
    images[VALUES + 7] = NAN; /* the caller's own is named and not left out */
    FAILS(step_of(t, (size_t)t->o.batch, images, labels, NULL), CM_ERR_NUMERIC, "image 1 is nan at value 7");
    images[VALUES + 7] = 0, images[100] = 3e38f; /* finite, but no gradient is */
    FAILS(step_of(t, (size_t)t->o.batch, images, labels, NULL), CM_ERR_NUMERIC, "step 2");
    ck_assert_ptr_nonnull(strstr(cm_last_message(), ".weight"));
    ck_assert(same_state(t, before)); /* and it can go on */
    OK(steps(t, 4, NULL));
    OK(steps(before, 4, NULL));
    ck_assert(same_state(t, before));
    cm_trainer_free(t);
    cm_trainer_free(before);
    o.skip_nonfinite = 1;
    t = trainer("edm", &o);
    OK(step_of(t, (size_t)t->o.batch, images, labels, NULL));
    FAILS(step_of(t, (size_t)t->o.batch, images, labels, NULL), CM_ERR_NUMERIC, "step 1");
    ck_assert_int_eq(t->skipped, 1);
    cm_trainer_free(t);
}
END_TEST

/* The gradient through the derivative is another one than that beside it, and threads change none of its bits. */
START_TEST(gradient_through_the_derivative)
{
    cm_train_settings o = options(_i ? "cct" : "ccd");
    o.stop_gradient = 0;
    o.threads = 1;
    cm_trainer *one = trainer(_i ? "cct" : "ccd", &o);
    OK(steps(one, 3, NULL));
    o.threads = 3;
    cm_trainer *three = trainer(_i ? "cct" : "ccd", &o);
    OK(steps(three, 3, NULL));
    ck_assert(same_state(one, three));
    o.stop_gradient = 1;
    cm_trainer *beside = trainer(_i ? "cct" : "ccd", &o);
    OK(steps(beside, 3, NULL));
    ck_assert(!same_state(one, beside));
    cm_trainer_free(one);
    cm_trainer_free(three);
    cm_trainer_free(beside);
}
END_TEST

/* What is trained says where the objective's paper takes its second step, and multistep goes there. */
START_TEST(second_levels)
{
    static const struct {
        const char *objective;
        double level;
    } rows[] = {{"sct", 0.5 * 1.9647596572},
                {"scd", 0.5 * 1.9647596572},
                {"dscd", 0.5 * 1.9647596572}, /* tan 1.1 */
                {"ect", 0.821},
                {"cmt", 0.77569},
                {"tcm", 1},
                {"tcm2", 1},
                {"edm", 0},
                {"cd", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_train_settings settings = options(rows[i].objective);
        cm_trainer *t = trainer(rows[i].objective, &settings);
        cm_model *m;
        OK(cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m));
        cm_trainer_free(t);
        ck_assert_int_eq(m->sampling.n_sigmas, rows[i].level > 0 ? 2 : 0);
        if (rows[i].level > 0) {
            static float told[2][BATCH * VALUES];
            const double levels[2] = {80, rows[i].level};
            cm_sampler *sampler;
            cm_sample_options s = CM_SAMPLE_OPTIONS_INIT;
            ck_assert_double_eq(m->sampling.sigmas[0], 80);
            ck_assert_double_eq_tol(m->sampling.sigmas[1], rows[i].level, 1e-9);
            s.method = CM_METHOD_MULTISTEP;
            OK(cm_sampler_create(m, NULL, &sampler));
            OK(cm_sampler_run(sampler, &s, 2, told[0]));
            s.sigmas = levels, s.sigma_count = 2;
            OK(cm_sampler_run(sampler, &s, 2, told[1]));
            cm_sampler_free(sampler);
            for (int v = 0; v < 2 * VALUES; v++) ck_assert_float_eq_tol(told[0][v], told[1][v], 1e-5f);
        }
        cm_model_free(m);
    }
}
END_TEST

static double loss_at(cm_trainer *t, float *images, const int32_t *labels)
{
    cm_learner_batch b = {.all = BATCH, .n = BATCH, .images = images, .labels = labels, .seed = 1, .loss = t->loss};
    double sum = 0;
    OK(cmi_learner_refresh(t->learner, &t->learner->online));
    OK(cmi_learner_run(t->learner, t->objective, &t->settings, &b));
    for (int i = 0; i < BATCH; i++) sum += t->loss[i] / BATCH;
    return sum;
}

/* The largest of 64 values of the gradient, eight times. */
START_TEST(derivative_of_the_loss)
{
    cm_train_settings o = options("ccd");
    float images[BATCH * VALUES];
    int32_t labels[BATCH];
    o.stop_gradient = 0;
    cm_trainer *t = trainer("ccd", &o);
    cm_learner *l = t->learner;
    OK(steps(t, 5, NULL));
    batch(3, images, labels);
    uint64_t state = seeded(8);
    for (int k = 0; k < 8; k++) {
        double sides[2];
        size_t at = 0;
        (void)loss_at(t, images, labels);
        for (int i = 0; i < 64; i++) {
            const size_t other = (size_t)random_int(&state, 0, (int)l->floats - 1);
            if (fabsf(l->gradient[other]) > fabsf(l->gradient[at])) at = other;
        }
        const double gradient = (double)l->gradient[at];
        float *value = &l->online.values[at], was = *value;
        for (int side = 0; side < 2; side++) {
            *value = was + (side ? 1e-3f : -1e-3f);
            sides[side] = loss_at(t, images, labels);
        }
        *value = was;
        /* The losses are those of a network in float32, known to some 1e-7 of themselves, over a step of 2e-3; and
         * the step is wide enough for a bend to show. */
        const double found = (sides[1] - sides[0]) / 2e-3;
        ck_assert_msg(gradient != 0 && fabs(found - gradient) < 0.02 * fabs(gradient) + 1e-4 * sides[0],
                      "value %zu: the gradient is %g, differences give %g at a loss of %g", at, gradient, found,
                      sides[0]);
    }
    cm_trainer_free(t);
}
END_TEST

/* Small enough for valgrind: two steps, and a picture of what they have learned. */
START_TEST(steps_and_a_picture)
{
    cm_model *learned;
    cm_sampler *sampler;
    float picture[VALUES];
    double losses[2];
    const int32_t label = 0;
    const cm_train_settings o = options(names[_i]);
    cm_sample_options sample = CM_SAMPLE_OPTIONS_INIT;
    cm_condition condition = CM_CONDITION_INIT;
    cm_trainer *t = trainer(names[_i], &o);
    OK(steps(t, 2, losses));
    ck_assert_msg(isfinite(losses[0]) && isfinite(losses[1]), "%s: losses %g, %g", names[_i], losses[0], losses[1]);
    OK(cm_trainer_model(t, CM_WEIGHTS_EMA, 0, &learned));
    OK(cm_sampler_create(learned, NULL, &sampler));
    condition.labels = &label;
    sample.condition = &condition;
    OK(cm_sampler_run(sampler, &sample, 1, picture));
    for (int i = 0; i < VALUES; i++) ck_assert(isfinite(picture[i]));
    cm_sampler_free(sampler);
    cm_model_free(learned);
    cm_trainer_free(t);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("train");
    TCase *small = tcase_create("small"); /* under valgrind, of each change; the case "steps" before releases */
    TCase *steps_case = tcase_create("steps");
    TCase *t = tcase_create("train");
    tcase_add_unchecked_fixture(steps_case, setup, teardown);
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_add_unchecked_fixture(small, setup, teardown);
    tcase_set_timeout(small, 600);
    tcase_set_timeout(steps_case, 600);
    tcase_add_loop_test(small, steps_and_a_picture, 0, OBJECTIVES);
    tcase_set_timeout(t, 600);
    tcase_add_loop_test(steps_case, steps_of_any_count, 0, OBJECTIVES);
    tcase_add_loop_test(steps_case, every_objective_learns, 0, OBJECTIVES);
    tcase_add_test(steps_case, dropout_statistics);
    tcase_add_loop_test(t, threads_change_no_bits, 0, OBJECTIVES);
    tcase_add_loop_test(t, bfloat16, 0, OBJECTIVES);
    tcase_add_loop_test(t, gradient_through_the_derivative, 0, 2);
    tcase_add_test(t, derivative_of_the_loss);
    tcase_add_test(t, second_levels);
    tcase_add_test(t, recomputing_changes_no_bits);
    tcase_add_test(t, dropout_is_a_function_of_the_image);
    tcase_add_test(t, microbatches);
    tcase_add_test(t, trainers_refused);
    tcase_add_test(t, models_of_another_precond);
    tcase_add_test(t, nonfinite_stops);
    suite_add_tcase(s, small);
    suite_add_tcase(s, steps_case);
    suite_add_tcase(s, t);
    return s;
}
