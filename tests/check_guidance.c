/* Guidance of diffusion models: D_u + w (D_c - D_u), in every call that takes it, and who refuses it.  Networks that
 * are told of guidance are in check_train.c. */
#include <math.h>
#include <stdio.h>

#include "support/samplers.h"

enum { SIZE = 1024, N = 5 };

static const int32_t labels[N] = {3, -1, 0, 9, 7}, none[N] = {-1, -1, -1, -1, -1};

static cm_condition guided(const int32_t *of, double w)
{
    cm_condition c = CM_CONDITION_INIT;
    c.labels = of, c.guidance = w;
    return c;
}

static void ask(cm_model *m, const cm_condition *c, const float *x, const float *sigma, float *d)
{
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    o.condition = c;
    OK(cm_model_denoise_with(m, &o, N, x, sigma, d));
}

/* The same model by hand; images without a label are as without guidance. */
START_TEST(estimates)
{
    static float x[N * SIZE], sigma[N] = {40, 2, 3, 0.6f, 10}, with[N * SIZE], without[N * SIZE], d[N * SIZE];
    static const double scales[] = {0.5, 1, 3};
    cm_model *m = load_model(TEACHER);
    uint64_t state = seeded(5);
    for (int i = 0; i < N * SIZE; i++) x[i] = sigma[i / SIZE] * random_float(&state);
    const cm_condition by_label = guided(labels, 0), by_none = guided(none, 0);
    ask(m, &by_label, x, sigma, with);
    ask(m, &by_none, x, sigma, without);
    ck_assert_mem_ne(with, without, sizeof with);
    for (int k = 0; k < 3; k++) {
        const cm_condition c = guided(labels, scales[k]);
        ask(m, &c, x, sigma, d);
        for (int i = 0; i < N * SIZE; i++) {
            const double want = without[i] + scales[k] * ((double)with[i] - (double)without[i]);
            ck_assert_double_eq_tol(d[i], want, 2e-6);
        }
        ck_assert_mem_eq(d + SIZE, with + SIZE, SIZE * sizeof *d);
    }
    const int32_t *const nobody[2] = {NULL, none};
    for (int k = 0; k < 2; k++) {
        const cm_condition c = guided(nobody[k], 3);
        cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
        o.condition = &c;
        FAILS(cm_model_denoise_with(m, &o, N, x, sigma, d), CM_ERR_ARGUMENT, "no effect on images without labels");
    }
    cm_model_free(m);
}
END_TEST

/* One Euler step from 10 to 0 is D at 10; what it costs is said; the round's size and the threads change no bit. */
START_TEST(images)
{
    static const double sigmas[2] = {10, 0.5};
    static float noise[N * SIZE], x[N * SIZE], sigma[N], d[N * SIZE], first[N * SIZE], again[N * SIZE];
    int32_t nfe, evaluations[N];
    cm_model *m = load_model(TEACHER);
    uint64_t state = seeded(6);
    const cm_condition c = guided(labels, 2.5);
    cm_sample_options o = sample_options(CM_METHOD_EULER);
    for (int i = 0; i < N * SIZE; i++) noise[i] = random_float(&state), x[i] = 10 * noise[i];
    for (int i = 0; i < N; i++) sigma[i] = 10;
    o.noise = noise, o.sigmas = sigmas, o.sigma_count = 1, o.condition = &c, o.evaluations = evaluations;
    o.clip_denoised = o.clip_output = CM_CLIP_NO;
    cm_sampler *s = sampler_of(m, 2, 2);
    OK(cm_sampler_run(s, &o, N, first));
    ask(m, &c, x, sigma, d);
    for (int i = 0; i < N * SIZE; i++) ck_assert_double_eq_tol(first[i], d[i], 2e-6);
    OK(cm_sampler_nfe(s, &o, &nfe));
    ck_assert_int_eq(nfe, 2);
    for (int i = 0; i < N; i++) ck_assert_int_eq(evaluations[i], 2);
    const cm_condition nobody = guided(none, 2.5);
    o.condition = &nobody;
    FAILS(cm_sampler_run(s, &o, N, first), CM_ERR_ARGUMENT, "no effect on images without labels");
    o.condition = &c;
    o.sigma_count = 2;
    OK(cm_sampler_run(s, &o, N, first));
    OK(cm_sampler_nfe(s, &o, &nfe));
    ck_assert_int_eq(nfe, 4);
    ck_assert_mem_ne(first, d, sizeof d);
    cm_sampler_free(s);
    s = sampler_of(m, 1, 8);
    OK(cm_sampler_run(s, &o, N, again));
    ck_assert_mem_eq(first, again, sizeof first);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* Every method goes by the guided estimate, and its second call is as its first. */
START_TEST(methods)
{
    static const int by[] = {CM_METHOD_HEUN, CM_METHOD_ANCESTRAL, CM_METHOD_DPM,
                             CM_METHOD_EDM,  CM_METHOD_DPMPP,     CM_METHOD_RK45};
    cm_model *m = load_model(TEACHER);
    cm_sampler *s = sampler_of(m, 2, 3);
    for (size_t k = 0; k < sizeof by / sizeof *by; k++) {
        const cm_condition one = guided(labels, 1), two = guided(labels, 2);
        int32_t plainly[N], twice[N];
        cm_sample_options o = sample_options(by[k]);
        if (by[k] != CM_METHOD_RK45) o.steps = 3;
        else o.rk45_rtol = o.rk45_atol = 1e-1; /* few steps: nothing is compared with a solution */
        o.condition = &one, o.evaluations = plainly;
        float *a = draw_images(s, &o, N, SIZE);
        o.condition = &two, o.evaluations = twice;
        float *b = draw_images(s, &o, N, SIZE), *c = draw_images(s, &o, N, SIZE);
        ck_assert_mem_eq(b, c, N * SIZE * sizeof *b);
        ck_assert_mem_eq(a + SIZE, b + SIZE, SIZE * sizeof *a); /* has no label */
        ck_assert_mem_ne(a, b, SIZE * sizeof *a);
        ck_assert_int_eq(twice[1], 2 * plainly[1]);
        free(a), free(b), free(c);
    }
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* An edit keeps what it keeps, and the rest is guided. */
START_TEST(edits)
{
    static float given[SIZE], mask[SIZE], out[3][SIZE];
    static const int32_t seven[1] = {7};
    cm_model *m = load_model(TEACHER);
    cm_sampler *s = sampler_of(m, 2, 2);
    const double scales[3] = {1, 3, 3};
    for (int i = 0; i < SIZE; i++) given[i] = -1, mask[i] = i % 32 >= 16; /* 1: made */
    const cm_images image = cm_images_f32(1, 1, 32, 32, given), of = cm_images_f32(1, 1, 32, 32, mask);
    for (int k = 0; k < 3; k++) {
        const cm_condition c = guided(seven, scales[k]);
        cm_sample_options o = sample_options(CM_METHOD_MULTISTEP);
        o.steps = 3, o.condition = &c;
        cm_edit_options e = CM_EDIT_OPTIONS_INIT;
        e.sampling = &o;
        const cm_images to = cm_images_f32(1, 1, 32, 32, out[k]);
        OK(cm_sampler_inpaint(s, &e, &image, &of, &to));
    }
    ck_assert_mem_eq(out[1], out[2], sizeof out[1]);
    ck_assert_mem_ne(out[0], out[1], sizeof out[1]);
    for (int i = 0; i < SIZE; i++) ck_assert(i % 32 >= 16 || out[1][i] == -1);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* The room is that of one more round, and stays. */
START_TEST(memory)
{
    cm_model *m = load_model(TEACHER);
    cm_sampler *s = sampler_of(m, 1, 4);
    const cm_condition c = guided(NULL, 2);
    cm_sample_options o = sample_options(CM_METHOD_EULER);
    cm_sampler_info before = CM_SAMPLER_INFO_INIT, after = CM_SAMPLER_INFO_INIT, last = CM_SAMPLER_INFO_INIT;
    o.steps = 2, o.condition = &c;
    OK(cm_sampler_info_get(s, &before));
    for (int k = 0; k < 2; k++) {
        free(draw_images(s, &o, 4, SIZE));
        OK(cm_sampler_info_get(s, k ? &last : &after));
    }
    ck_assert_uint_eq(after.activation_bytes - before.activation_bytes, 4 * SIZE * sizeof(double));
    ck_assert_uint_eq(last.activation_bytes, after.activation_bytes);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

static cm_model *made(const char *network, const char *precond)
{
    char config[512];
    cm_model *m;
    (void)snprintf(config, sizeof config, "{\"network\": {%s}, \"precond\": {\"type\": \"%s\"}}", network, precond);
    OK(cm_model_create(NULL, config, 1, &m));
    return m;
}

START_TEST(refused)
{
    static const char unet[] =
        "\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 1, \"model_channels\": 8, "
        "\"channel_mult\": [1], \"num_blocks\": 1, \"label_dim\": ";
    static float x[64], d[64], slope[64], sigma[1] = {2};
    static const int32_t zero[1] = {0};
    const struct {
        const char *classes, *precond, *word;
    } rows[] = {{"0", "edm", "guidance has no effect on a model without classes"},
                {"3", "ecm", "has what guidance it learnt"},
                {"3", "none", "precond \"none\" has what guidance it learnt"}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        char network[256];
        int32_t nfe;
        (void)snprintf(network, sizeof network, "%s%s", unet, rows[k].classes);
        cm_model *m = made(network, rows[k].precond);
        cm_sampler *s = sampler_of(m, 1, 1);
        const cm_condition c = guided(NULL, 2), one = guided(NULL, 1);
        cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
        cm_sample_options so = sample_options(CM_METHOD_DEFAULT);
        o.condition = so.condition = &c;
        FAILS(cm_model_denoise_with(m, &o, 1, x, sigma, d), CM_ERR_ARGUMENT, rows[k].word);
        if (k < 2) { /* of precond none nobody samples */
            FAILS(cm_sampler_run(s, &so, 1, d), CM_ERR_ARGUMENT, rows[k].word);
            FAILS(cm_sampler_nfe(s, &so, &nfe), CM_ERR_ARGUMENT, rows[k].word);
        }
        o.condition = &one; /* a scale of 1 is none */
        OK(cm_model_denoise_with(m, &o, 1, x, sigma, d));
        cm_sampler_free(s);
        cm_model_free(m);
    }
    cm_model *m = made(
        "\"type\": \"adm\", \"image_size\": 8, \"in_channels\": 1, \"out_channels\": 1, \"model_channels\": 32, "
        "\"num_res_blocks\": 1, \"channel_mult\": [1], \"num_head_channels\": 16, \"attention_resolutions\": [], "
        "\"num_classes\": 3, \"use_scale_shift_norm\": true, \"resblock_updown\": true",
        "edm");
    cm_condition c = guided(zero, 2);
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    o.condition = &c;
    FAILS(cm_model_denoise_with(m, &o, 1, x, sigma, d), CM_ERR_ARGUMENT, "always takes one");
    cm_model_free(m);
    char network[256];
    (void)snprintf(network, sizeof network, "%s3", unet);
    m = made(network, "edm");
    FAILS(cm_model_denoise_tangent(m, &o, 1, x, sigma, x, NULL, d, slope), CM_ERR_ARGUMENT,
          "derivatives with guidance");
    c.guidance = 1;
    OK(cm_model_denoise_tangent(m, &o, 1, x, sigma, x, NULL, d, slope));
    c.guidance = -1;
    FAILS(cm_model_denoise_with(m, &o, 1, x, sigma, d), CM_ERR_ARGUMENT, "guidance is -1, expected a number above 0");
    c.guidance = NAN;
    FAILS(cm_model_denoise_with(m, &o, 1, x, sigma, d), CM_ERR_ARGUMENT, "guidance is");
    cm_model_free(m);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("guidance");
    TCase *t = tcase_create("guidance");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, estimates);
    tcase_add_test(t, images);
    tcase_add_test(t, methods);
    tcase_add_test(t, edits);
    tcase_add_test(t, memory);
    tcase_add_test(t, refused);
    suite_add_tcase(s, t);
    return s;
}
