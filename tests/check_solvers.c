/* The adaptive Runge-Kutta method and predictor-corrector as samplers, and bits/dim, beside closed forms.
 *
 * A fresh ADM network ends in zeros, so with precond edm D(x; s) = x d^2 / (d^2 + s^2), d = sigma_data: the denoiser
 * of images whose values are independent normals of standard deviation d. */
#include "support/samplers.h"

#include <math.h>
#include <stdlib.h>

#include "base/context.h"
#include "diffusion/rk45.h"

#define NETWORK                                                                                                      \
    "{\"network\": {\"type\": \"adm\", \"image_size\": 8, \"in_channels\": 3, \"model_channels\": 32, "              \
    "\"out_channels\": 3, \"num_res_blocks\": 1, \"attention_resolutions\": [2], \"channel_mult\": [1, 2], "         \
    "\"num_head_channels\": 16, \"use_scale_shift_norm\": true, "                                                    \
    "\"resblock_updown\": true}, \"precond\": {\"type\": \"edm\", \"sigma_min\": 0.002, \"sigma_max\": 80}}"
enum { VALUES = 3 * 8 * 8 };

static const double data = 0.5, low = 0.002, high = 80;

static cm_model *gaussian(void)
{
    cm_model *m;
    OK(cm_model_create(NULL, NETWORK, 1, &m));
    return m;
}

/* --- the method by itself ------------------------------------------------------------------ */

/* Image i: x' = -(i + 1) x, and x' = cos(t) beside it. */
static cm_status decay(void *user, size_t count, const size_t *which, const double *t, const double *x, double *slope)
{
    int *calls = user;
    for (size_t k = 0; k < count; k++) {
        slope[2 * k] = -(double)(which[k] + 1) * x[2 * k];
        slope[2 * k + 1] = cos(t[k]);
    }
    ++*calls;
    return CM_OK;
}

static cm_rk45 decaying(cm_context *context, size_t images, int *calls)
{
    return (cm_rk45){.context = context,
                     .images = images,
                     .size = 2,
                     .to = 2,
                     .rtol = 1e-8,
                     .atol = 1e-8,
                     .most = 10000,
                     .user = calls,
                     .slope = decay};
}

START_TEST(exponentials)
{
    enum { IMAGES = 4 };
    double x[2 * IMAGES];
    int32_t nfe[IMAGES];
    int calls = 0;
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    cm_rk45 rk = decaying(context, IMAGES, &calls);
    for (int i = 0; i < IMAGES; i++) x[2 * i] = 1, x[2 * i + 1] = 0;
    OK(cmi_rk45_run(&rk, 0, x, nfe));
    for (int i = 0; i < IMAGES; i++) {
        ck_assert_double_eq_tol(x[2 * i], exp(-2.0 * (i + 1)), 1e-7);
        ck_assert_double_eq_tol(x[2 * i + 1], sin(2), 1e-7);
        ck_assert_int_eq(nfe[i] % 6, 2);
        ck_assert_int_gt(nfe[i], i ? nfe[i - 1] : 0); /* steeper ones take more */
    }
    ck_assert_int_eq(calls, nfe[IMAGES - 1]);
    rk.from = 2, rk.to = 0; /* and back */
    OK(cmi_rk45_run(&rk, 0, x, NULL));
    ck_assert_double_eq_tol(x[0], 1, 1e-6);
    ck_assert_double_eq_tol(x[1], 0, 1e-6);
    rk.to = 2, rk.from = 0, rk.most = 20;
    FAILS(cmi_rk45_run(&rk, 7, x, NULL), CM_ERR_NUMERIC, "image 7: rk45 is at sigma");
    cm_context_free(context);
}
END_TEST

/* The error falls with the tolerance as order 5 has it: evaluations grow by about 10^(1/5) for a tenth. */
START_TEST(order)
{
    int32_t nfe[2];
    double off[2];
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    for (int k = 0; k < 2; k++) {
        int calls = 0;
        double x[2] = {1, 0};
        cm_rk45 rk = decaying(context, 1, &calls);
        rk.rtol = rk.atol = k ? 1e-10 : 1e-5;
        OK(cmi_rk45_run(&rk, 0, x, &nfe[k]));
        off[k] = fabs(x[0] - exp(-2.0));
    }
    ck_assert_double_lt(off[1], 1e-3 * off[0]);
    ck_assert_int_lt(nfe[1], 15 * nfe[0]);
    cm_context_free(context);
}
END_TEST

/* --- as samplers --------------------------------------------------------------------------- */

START_TEST(rk45_of_a_gaussian)
{
    enum { N = 5 };
    cm_model *m = gaussian();
    float *noise = malloc(N * VALUES * sizeof *noise), *x = malloc(N * VALUES * sizeof *x);
    cm_sampler *s = sampler_of(m, 2, 2);
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    int32_t nfe[N], most;
    uint64_t state = 5;
    for (int i = 0; i < N * VALUES; i++) noise[i] = 2 * random_float(&state) * (float)(1 + i / VALUES);
    o.method = CM_METHOD_RK45, o.clip_output = CM_CLIP_NO, o.noise = noise, o.evaluations = nfe;
    OK(cm_sampler_run(s, &o, N, x));
    /* Some fifty steps with errors of 1e-5 each; found: 9e-5. */
    const double shrink = high * sqrt((data * data + low * low) / (data * data + high * high));
    for (int i = 0; i < N * VALUES; i++) ck_assert_double_eq_tol(x[i], shrink * noise[i], 5e-4 * (1 + fabs(x[i])));
    for (int i = 0; i < N; i++) ck_assert_int_eq(nfe[i] % 6, 2);
    OK(cm_sampler_nfe(s, &o, &most));
    ck_assert_int_eq(most, 1000);
    ck_assert_int_lt(nfe[0], 300);
    o.rk45_max_nfe = 20;
    FAILS(cm_sampler_run(s, &o, N, x), CM_ERR_NUMERIC, "the most are 20");
    const double range[2] = {10, 1}, three[3] = {10, 2, 1};
    o.rk45_max_nfe = 0, o.sigmas = range, o.sigma_count = 2;
    OK(cm_sampler_run(s, &o, N, x));
    for (int i = 0; i < N * VALUES; i++)
        ck_assert_double_eq_tol(x[i], 10 * sqrt(1.25 / 100.25) * noise[i], 5e-4 * (1 + fabs(x[i])));
    o.sigmas = three, o.sigma_count = 3;
    FAILS(cm_sampler_run(s, &o, N, x), CM_ERR_ARGUMENT, "takes two sigmas");
    cm_sampler_free(s);
    cm_model_free(m);
    free(noise);
    free(x);
}
END_TEST

static int32_t on_progress(void *user, uint64_t done, uint64_t total)
{
    uint64_t *seen = user;
    ck_assert_uint_gt(done, seen[0]);
    ck_assert_uint_le(done, total);
    seen[0] = done, seen[1] = total;
    return 0;
}

static int32_t on_step(void *user, int32_t evaluation, double sigma, size_t first, const cm_images *denoised)
{
    (void)user, (void)evaluation, (void)sigma, (void)first, (void)denoised;
    return 0;
}

START_TEST(rk45_says_how_far_it_is)
{
    cm_model *m = gaussian();
    float *x = malloc(3 * VALUES * sizeof *x);
    cm_sampler *s = sampler_of(m, 1, 2);
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    uint64_t seen[2] = {0, 1};
    o.method = CM_METHOD_RK45, o.rk45_rtol = o.rk45_atol = 0.01, o.progress = on_progress, o.progress_user = seen;
    OK(cm_sampler_run(s, &o, 3, x));
    ck_assert_uint_eq(seen[0], seen[1]);
    ck_assert_uint_eq(seen[1], 3000);
    o.step = on_step;
    FAILS(cm_sampler_run(s, &o, 3, x), CM_ERR_ARGUMENT, "step has no effect (each image");
    cm_sampler_free(s);
    cm_model_free(m);
    free(x);
}
END_TEST

/* What many levels draw has the variance of the data; the corrector does not spoil it. */
START_TEST(pc_of_a_gaussian)
{
    enum { N = 8 };
    cm_model *m = gaussian();
    float *x = malloc(N * VALUES * sizeof *x);
    cm_sampler *s = sampler_of(m, 2, 4);
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    int32_t nfe;
    for (int corrections = 1; corrections <= 2; corrections++) {
        double sum = 0, squares = 0;
        o.method = CM_METHOD_PC, o.steps = by_effort(40, 150, 400), o.pc_corrections = corrections;
        o.clip_output = CM_CLIP_NO, o.seed = 3;
        OK(cm_sampler_nfe(s, &o, &nfe));
        ck_assert_int_eq(nfe, o.steps * (1 + corrections));
        OK(cm_sampler_run(s, &o, N, x));
        for (int i = 0; i < N * VALUES; i++) sum += (double)x[i], squares += (double)x[i] * (double)x[i];
        /* Of 1,536 numbers the mean is known to 0.013 and the deviation to 0.009; steps of finite size leave the
         * rest. */
        const double mean = sum / (N * VALUES), deviation = sqrt(squares / (N * VALUES) - mean * mean);
        ck_assert_msg(fabs(mean) < 0.03, "%d corrections: mean %g", corrections, mean);
        ck_assert_msg(fabs(deviation - data) < 0.05, "%d corrections: deviation %g", corrections, deviation);
    }
    cm_sampler_free(s);
    cm_model_free(m);
    free(x);
}
END_TEST

/* Two levels by the formulas in the header, noise given. */
START_TEST(pc_by_its_formulas)
{
    cm_model *m = gaussian();
    static float x[VALUES], start[VALUES], noise[4 * VALUES];
    static double want[VALUES];
    static const double sigmas[3] = {5, 1, 0};
    cm_sampler *s = sampler_of(m, 1, 1);
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    uint64_t state = 8;
    for (int i = 0; i < VALUES; i++) start[i] = random_float(&state);
    for (int i = 0; i < 4 * VALUES; i++) noise[i] = random_float(&state);
    o.method = CM_METHOD_PC, o.sigmas = sigmas, o.sigma_count = 2, o.pc_snr = 0.3, o.clip_output = CM_CLIP_NO;
    o.noise = start, o.step_noise = noise, o.noise_steps = 4;
    OK(cm_sampler_run(s, &o, 1, x));
    for (int i = 0; i < VALUES; i++) want[i] = 5 * (double)start[i];
    for (int k = 0; k < 2; k++) {
        const double score = -1 / (data * data + sigmas[k] * sigmas[k]);
        const double variance = sigmas[k] * sigmas[k] - sigmas[k + 1] * sigmas[k + 1];
        const float *z = noise + 2 * k * VALUES;
        double zz = 0, gg = 0;
        for (int i = 0; i < VALUES; i++) zz += (double)z[i] * (double)z[i], gg += pow(score * want[i], 2);
        const double e = 2 * 0.3 * 0.3 * zz / gg;
        for (int i = 0; i < VALUES; i++) {
            want[i] += e * score * want[i] + sqrt(2 * e) * (double)z[i];
            want[i] += variance * score * want[i] + (k ? 0 : sqrt(variance) * (double)z[VALUES + i]);
        }
    }
    for (int i = 0; i < VALUES; i++) ck_assert_double_eq_tol(x[i], want[i], 1e-5);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* --- likelihood ---------------------------------------------------------------------------- */

/* Of the path of a Gaussian from low to high, and a normal density there. */
static double expected_bits(const float *x)
{
    const double pi = 3.14159265358979323846, grow = (data * data + high * high) / (data * data + low * low);
    double squares = 0;
    for (int i = 0; i < VALUES; i++) squares += grow * (double)x[i] * (double)x[i];
    const double prior = -VALUES / 2.0 * log(2 * pi * high * high) - squares / (2 * high * high);
    return 7 - (prior + VALUES / 2.0 * log(grow)) / (VALUES * log(2));
}

START_TEST(bits_of_a_gaussian)
{
    enum { N = 3 };
    cm_model *m = gaussian();
    static float x[N * VALUES];
    double bits[N], again[N], other[N];
    int32_t nfe[N];
    cm_likelihood_options o = CM_LIKELIHOOD_OPTIONS_INIT, filled;
    uint64_t state = 4;
    cm_likelihood_options_init(&filled, sizeof filled);
    ck_assert_mem_eq(&o, &filled, sizeof o);
    for (int i = 0; i < N * VALUES; i++) x[i] = random_float(&state) * (float)(1 + i / VALUES);
    o.continuous = 1, o.evaluations = nfe;
    OK(cm_model_bits_per_dim(m, &o, N, x, bits));
    /* The path's tolerances; found: 1.5e-4. */
    for (int i = 0; i < N; i++) ck_assert_double_eq_tol(bits[i], expected_bits(x + i * VALUES), 1e-3);
    for (int i = 0; i < N; i++) ck_assert_int_eq(nfe[i] % 6, 2);
    /* an image by itself, and more probes */
    o.first_index = 1, o.evaluations = NULL;
    OK(cm_model_bits_per_dim(m, &o, 1, x + VALUES, again));
    ck_assert_mem_eq(again, bits + 1, sizeof *bits);
    o.probes = 3;
    OK(cm_model_bits_per_dim(m, &o, 1, x + VALUES, again));
    ck_assert_double_eq_tol(again[0], bits[1], 1e-6); /* v . df/dx v is the same for all v here; found: 4e-8 */
    /* 8-bit pictures: the noise of a level follows the seed and moves the bits little; found: 0.01 */
    o = filled;
    for (int i = 0; i < N * VALUES; i++) x[i] = 2 * (float)random_int(&state, 0, 255) / 255 - 1;
    OK(cm_model_bits_per_dim(m, NULL, N, x, bits));
    OK(cm_model_bits_per_dim(m, &o, N, x, again));
    ck_assert_mem_eq(bits, again, sizeof bits);
    for (int i = 0; i < N; i++) ck_assert_double_eq_tol(bits[i], expected_bits(x + i * VALUES), 0.05);
    o.seed = 1;
    OK(cm_model_bits_per_dim(m, &o, N, x, other));
    ck_assert_mem_ne(bits, other, sizeof bits);
    for (int i = 0; i < N; i++) ck_assert_double_eq_tol(bits[i], other[i], 0.05);
    cm_model_free(m);
}
END_TEST

/* Digits that the teacher draws are likelier to it than noise; the order holds for any number of threads. */
START_TEST(bits_of_digits)
{
    enum { N = 2, SIDE = 32 * 32 };
    static float x[N * SIDE], noise[N * SIDE];
    double drawn[N], of_noise[N], again[N];
    for (int threads = 1; threads <= 3; threads += 2) {
        cm_context *context;
        cm_model *m;
        cm_context_options c;
        cm_likelihood_options o = CM_LIKELIHOOD_OPTIONS_INIT;
        cm_context_options_init(&c, sizeof c);
        c.threads = threads;
        OK(cm_context_create(&c, &context));
        OK(cm_model_load(context, "tests/data/models/digits_teacher.safetensors", NULL, &m));
        cm_sampler *s = sampler_of(m, 1, 2);
        uint64_t state = 9;
        const int32_t labels[N] = {3, 7};
        cm_sample_options sampling = CM_SAMPLE_OPTIONS_INIT;
        sampling.condition = LABELS(labels);
        OK(cm_sampler_run(s, &sampling, N, x));
        for (int i = 0; i < N * SIDE; i++) noise[i] = random_float(&state);
        o.continuous = 1, o.rk45_rtol = o.rk45_atol = 1e-2, o.condition = LABELS(labels);
        OK(cm_model_bits_per_dim(m, &o, N, x, threads == 1 ? drawn : again));
        if (threads > 1) ck_assert_mem_eq(drawn, again, sizeof drawn);
        OK(cm_model_bits_per_dim(m, &o, N, noise, of_noise));
        for (int i = 0; i < N; i++)
            ck_assert_msg(drawn[i] + 1 < of_noise[i], "image %d: %g bits, noise %g", i, drawn[i], of_noise[i]);
        cm_sampler_free(s);
        cm_model_free(m);
        cm_context_free(context);
    }
}
END_TEST

/* How often it was asked, which says how many images were done; stops the second time. */
static int32_t stop_soon(void *user, uint64_t done, uint64_t total)
{
    int *asked = user;
    ck_assert(done == 0 && total == 1);
    return ++*asked == 2;
}

START_TEST(likelihood_refused)
{
    cm_model *m = gaussian(), *consistency;
    static float x[VALUES], small[32 * 32];
    double bits[1];
    const int32_t two[1] = {2};
    for (int i = 0; i < VALUES; i++) x[i] = 1;
#define REFUSED(set, status, word)                                                                                   \
    do {                                                                                                             \
        cm_likelihood_options o = CM_LIKELIHOOD_OPTIONS_INIT;                                                        \
        set;                                                                                                         \
        FAILS(cm_model_bits_per_dim(m, &o, 1, x, bits), status, word);                                               \
    } while (0)
    REFUSED(o.probes = -1, CM_ERR_ARGUMENT, "probes is -1");
    REFUSED(o.probes = 1001, CM_ERR_ARGUMENT, "probes is 1001");
    REFUSED(o.continuous = 2, CM_ERR_ARGUMENT, "continuous is 2");
    REFUSED(o.rk45_rtol = NAN, CM_ERR_ARGUMENT, "rk45_rtol is nan");
    REFUSED(o.rk45_max_nfe = 3, CM_ERR_ARGUMENT, "rk45_max_nfe is 3");
    REFUSED(o.rk45_max_nfe = 20, CM_ERR_NUMERIC, "the most are 20");
    REFUSED(o.sigma_max = 81, CM_ERR_ARGUMENT, "noise levels end at 80");
    REFUSED((o.sigma_min = 3, o.sigma_max = 2), CM_ERR_ARGUMENT, "below");
    REFUSED(o.condition = LABELS(two), CM_ERR_ARGUMENT, "label");
    int asked = 0; /* within an evaluation, not when the image is done */
    REFUSED((o.continuous = 1, o.progress = stop_soon, o.progress_user = &asked), CM_ERR_CANCELLED, "progress");
    ck_assert_int_eq(asked, 2);
    FAILS(cm_model_bits_per_dim(NULL, NULL, 1, x, bits), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_model_bits_per_dim(m, NULL, 0, x, bits), CM_ERR_ARGUMENT, "n is 0");
    x[7] = 0.123f;
    FAILS(cm_model_bits_per_dim(m, NULL, 1, x, bits), CM_ERR_ARGUMENT, "none of the 256");
    x[7] = NAN;
    FAILS(cm_model_bits_per_dim(m, NULL, 1, x, bits), CM_ERR_NUMERIC, "nan at value 7");
    OK(cm_model_load(NULL, "tests/data/models/digits_consistency.safetensors", NULL, &consistency));
    FAILS(cm_model_bits_per_dim(consistency, NULL, 1, small, bits), CM_ERR_UNSUPPORTED, "consistency function");
    cm_model_free(consistency);
    cm_model_free(m);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("solvers");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, exponentials);
    tcase_add_test(t, order);
    tcase_add_test(t, rk45_of_a_gaussian);
    tcase_add_test(t, rk45_says_how_far_it_is);
    tcase_add_test(t, pc_of_a_gaussian);
    tcase_add_test(t, pc_by_its_formulas);
    tcase_add_test(t, bits_of_a_gaussian);
    tcase_add_test(t, bits_of_digits);
    tcase_add_test(t, likelihood_refused);
    suite_add_tcase(s, t);
    return s;
}
