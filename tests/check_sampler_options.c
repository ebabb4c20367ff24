/* What samplers refuse: options that are wrong or have no effect, numbers that are not finite; and the levels that a
 * model's file gives. */
#include "support/samplers.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>

#include "diffusion/model.h"
#include "io/tensors.h"

enum { SIZE = 1024 };

START_TEST(options_refused)
{
    static const double rising[2] = {1, 2}, nan_list[1] = {NAN}, high[1] = {81}, zero[2] = {80, 0}, fine[2] = {80, 1};
    static const double above[1] = {80.1}, tiny[2] = {80, 1e-40};
    static const int32_t falling[2] = {3, 1}, beyond[2] = {0, 40}, good[2] = {0, 39};
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *s = sampler_of(m, 1, 1);
    float x[SIZE];
    const int32_t ten[1] = {10}, minus[1] = {-2};
    int32_t nfe;
    const float noise[SIZE] = {0};
#define BAD(set, word)                                                                                               \
    do {                                                                                                             \
        cm_sample_options o = sample_options(CM_METHOD_DEFAULT);                                                     \
        set;                                                                                                         \
        FAILS(cm_sampler_run(s, &o, 1, x), CM_ERR_ARGUMENT, word);                                                   \
        if (!o.condition) FAILS(cm_sampler_nfe(s, &o, &nfe), CM_ERR_ARGUMENT, word); /* labels need n */             \
    } while (0)
    BAD(o.method = 13, "method is 13");
    BAD(o.method = -1, "method is -1");
    BAD((o.sigmas = rising, o.sigma_count = 2), "fall strictly");
    BAD((o.sigmas = nan_list, o.sigma_count = 1), "nan");
    BAD((o.sigmas = high, o.sigma_count = 1), "80]");
    BAD((o.sigmas = zero, o.sigma_count = 2), "sigmas[1] is 0");
    BAD(o.sigmas = fine, "together");
    BAD((o.method = CM_METHOD_ONESTEP, o.sigmas = fine, o.sigma_count = 2), "one time");
    BAD((o.ts = falling, o.ts_count = 2, o.grid = 40), "rise strictly");
    BAD((o.ts = beyond, o.ts_count = 2, o.grid = 40), "0..39");
    BAD((o.ts = good, o.ts_count = 2), "grid");
    BAD((o.ts = good, o.ts_count = 1, o.grid = 40), "two entries");
    BAD((o.ts = good, o.ts_count = 2, o.grid = 40, o.method = CM_METHOD_HEUN), "ts has no effect");
    BAD((o.ts = good, o.ts_count = 2, o.grid = 40, o.sigmas = fine, o.sigma_count = 2), "one of them");
    BAD(o.grid = 40, "grid has no effect");
    BAD((o.method = CM_METHOD_ONESTEP, o.steps = 4), "steps has no effect");
    BAD((o.method = CM_METHOD_MULTISTEP, o.steps = 4), "no default times");
    BAD((o.method = CM_METHOD_HEUN, o.steps = -1), "steps");
    BAD((o.method = CM_METHOD_HEUN, o.sigmas = fine, o.sigma_count = 2, o.steps = 3), "steps has no effect");
    BAD(o.rho = 6, "rho has no effect");
    BAD((o.method = CM_METHOD_ONESTEP, o.sigma_min = 0.1), "sigma_min has no effect");
    BAD((o.method = CM_METHOD_HEUN, o.rho = NAN), "rho");
    BAD((o.method = CM_METHOD_HEUN, o.sigma_min = 90), "below");
    BAD(o.sigma_max = 1e300, "sigma_max is 1e+300");
    BAD(o.sigma_max = 81, "noise levels end at 80");
    BAD((o.ts = good, o.ts_count = 2, o.grid = 40, o.sigma_max = 81), "noise levels end at 80");
    BAD((o.method = CM_METHOD_HEUN, o.sigma_max = 81), "noise levels end at 80");
    BAD((o.method = CM_METHOD_EDM, o.edm_discretization = CM_EDM_STEPS_VE, o.sigma_max = 101), "end at 100");
    BAD((o.sigmas = above, o.sigma_count = 1), "sigmas[0] is 80.1");
    BAD((o.method = CM_METHOD_HEUN, o.rho = 1e-300), "rho is 1e-300");
    BAD((o.method = CM_METHOD_HEUN, o.rho = 1e300), "rho is 1e+300");
    BAD((o.ts = good, o.ts_count = 2, o.grid = 40, o.rho = 0.4), "rho is 0.4");
    BAD((o.method = CM_METHOD_HEUN, o.sigma_min = 1e-300), "sigma_min is 1e-300");
    BAD((o.sigmas = tiny, o.sigma_count = 2), "noise level 1 of 2 is 1e-40");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = 9, o.s_noise = 1e300), "s_noise is 1e+300");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = 9, o.s_noise = 3), "raise the level 80 to 252.982");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = INFINITY), "s_churn is inf");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = 9, o.s_tmin = NAN), "s_tmin is nan");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = 9, o.s_tmax = NAN), "s_tmax is nan");
    BAD((o.method = CM_METHOD_EDM, o.edm_alpha = 1e-300), "edm_alpha is 1e-300");
    BAD((o.method = CM_METHOD_EDM, o.edm_alpha = 2), "edm_alpha is 2");
    BAD(o.s_churn = 1, "s_churn has no effect");
    BAD((o.method = CM_METHOD_HEUN, o.s_noise = 1.1), "without s_churn");
    BAD((o.method = CM_METHOD_HEUN, o.edm_alpha = 0.5), "edm_");
    BAD((o.method = CM_METHOD_EDM, o.edm_schedule = 3), "edm_");
    BAD((o.method = CM_METHOD_HEUN, o.dpmpp_order = 2), "dpmpp_* has no effect on method heun");
    BAD((o.method = CM_METHOD_EDM, o.dpmpp_form = CM_DPMPP_TAYLOR), "dpmpp_* has no effect on method edm");
    BAD(o.dpmpp_end = CM_DPMPP_FULL, "dpmpp_* has no effect");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = 4), "dpmpp_order is 4, expected 1..3");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = -1), "dpmpp_order is -1");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_form = 2), "dpmpp_form is 2");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_end = -1), "dpmpp_end is -1");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = 3, o.steps = 2), "dpmpp_order is 3, but the run has 2 steps");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = 1, o.dpmpp_form = CM_DPMPP_TAYLOR), "without a step of order 2");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_form = CM_DPMPP_TAYLOR, o.steps = 2), "without a step of order 2");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = 1, o.dpmpp_end = CM_DPMPP_FULL), "with order 1");
    BAD((o.method = CM_METHOD_DPMPP, o.steps = 1, o.dpmpp_end = CM_DPMPP_FULL), "with order 1");
    BAD((o.method = CM_METHOD_DPMPP, o.sigmas = fine, o.sigma_count = 1), "at least two sigmas");
    BAD((o.method = CM_METHOD_DPMPP, o.s_churn = 1), "s_churn has no effect");
    BAD((o.method = CM_METHOD_HEUN, o.rk45_rtol = 0.1), "rk45_* has no effect on method heun");
    BAD((o.method = CM_METHOD_PC, o.rk45_max_nfe = 100), "rk45_* has no effect on method pc");
    BAD((o.method = CM_METHOD_RK45, o.pc_snr = 0.1), "pc_* has no effect on method rk45");
    BAD((o.method = CM_METHOD_DPM, o.pc_corrections = 1), "pc_* has no effect on method dpm");
    BAD((o.method = CM_METHOD_RK45, o.rk45_rtol = 2), "rk45_rtol is 2");
    BAD((o.method = CM_METHOD_RK45, o.rk45_atol = NAN), "rk45_atol is nan");
    BAD((o.method = CM_METHOD_RK45, o.rk45_max_nfe = 7), "rk45_max_nfe is 7, expected 8..");
    BAD((o.method = CM_METHOD_RK45, o.steps = 18), "steps has no effect on method rk45");
    BAD((o.method = CM_METHOD_RK45, o.rho = 3), "rho has no effect");
    BAD((o.method = CM_METHOD_RK45, o.sigmas = fine, o.sigma_count = 1), "at least two sigmas");
    BAD((o.method = CM_METHOD_RK45, o.s_churn = 1), "s_churn has no effect");
    BAD((o.method = CM_METHOD_PC, o.pc_snr = -1), "pc_snr is -1");
    BAD((o.method = CM_METHOD_PC, o.pc_corrections = 101), "pc_corrections is 101");
    BAD(o.reserved2 = 1, "cm_sample_options: reserved2 is 1");
    BAD(o.clip_denoised = 3, "clip_denoised is 3, expected 0..2");
    BAD(o.clip_output = -1, "clip_output is -1");
    BAD(o.condition = LABELS(ten), "-1..9");
    BAD(o.condition = LABELS(minus), "-2");
    BAD(o.noise_source = 3, "noise_source");
    BAD(o.reserved = 1, "cm_sample_options: reserved is 1");
    BAD(o.num_samples = 3, "num_samples");
    BAD((o.method = CM_METHOD_EULER, o.step_noise = noise, o.noise_steps = 1), "step_noise has no effect");
    BAD((o.method = CM_METHOD_ANCESTRAL, o.step_noise = noise, o.noise_steps = 1), "18");
    FAILS(cm_sampler_run(s, NULL, 0, x), CM_ERR_ARGUMENT, "n is 0");
    FAILS(cm_sampler_run(s, NULL, 1, NULL), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_sampler_run(NULL, NULL, 1, x), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_sampler_run(s, NULL, SIZE_MAX / 2, x), CM_ERR_LIMIT, "memory");
    cm_sample_options same = sample_options(CM_METHOD_ONESTEP); /* saying what holds anyway is no error */
    same.rho = 7, same.steps = 1, same.sigma_min = 0.002, same.sigma_max = 80, same.s_noise = 1,
    same.s_tmax = INFINITY, same.edm_alpha = 1;
    OK(cm_sampler_run(s, &same, 1, x));
    omp_set_num_threads(3);
    OK(cm_sampler_run(s, NULL, 1, x)); /* still good, and the caller's thread count as it was */
    ck_assert_int_eq(omp_get_max_threads(), 3);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

START_TEST(creation_refused)
{
    static const struct {
        const char *debug, *message;
    } texts[] = {{"bf16_tile=2", "debug: bf16_tile has no effect without precision bf16"},
                 {"bf16_emulate=1", "debug: bf16_emulate has no effect"},
                 {"bf16_emulate=2", "debug: bf16_emulate is 2, expected 0..1"},
                 {"bf16_emulate=1,bf16_tile=5", "debug: bf16_tile is 5, expected 0..4"},
                 {"bf16_tile=02", "bf16_tile is 02"},
                 {"bf16_tile=", "bf16_tile is , expected"},
                 {"bf16_tile", "not of the form key=number"},
                 {"bf16_tile=1,", "not of the form key=number"},
                 {"bf16_tile=1,bf16_tile=1", "given twice"},
                 {"bf16_tiles=1", "no key 'bf16_tiles' (did you mean 'bf16_tile'?)"},
                 {"a-key-that-is-longer-than-every-key-that-somebody-may-have-meant=1", "is no entry"}};
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *s;
    cm_sampler_options o;
    cm_sampler_options_init(&o, sizeof o);
    o.max_batch = -1;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "max_batch");
    o.max_batch = 1, o.threads = 300;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "threads");
    o.threads = 1, o.precision = 3;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "precision is 3, expected 1 (f32), 2 (bf16)");
    ck_assert_ptr_null(s);
    o.precision = CM_PRECISION_F32;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        o.debug = texts[i].debug;
        FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, texts[i].message);
    }
    o.precision = CM_PRECISION_BF16, o.debug = "bf16_emulate=1", o.memory = CM_MEMORY_SMALL;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "memory small is for precision f32");
    o.memory = CM_MEMORY_FAST, o.reserved = 1;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "reserved is 1");
    o.reserved = 0, o.debug = "";
    if (has_bf16()) {
        OK(cm_sampler_create(m, &o, &s));
        cm_sampler_free(s);
    } else {
        FAILS(cm_sampler_create(m, &o, &s), CM_ERR_UNSUPPORTED, "no bfloat16 instructions");
    }
    FAILS(cm_sampler_create(NULL, NULL, &s), CM_ERR_ARGUMENT, "model");
    FAILS(cm_sampler_create(m, NULL, NULL), CM_ERR_ARGUMENT, "out");
    cm_model_free(m);
    cm_sampler_free(NULL);
}
END_TEST

/* --- what is not finite, and whose levels are sampled ------------------------------------------- */

/* A small model of 1 x 8 x 8 images and fresh weights. */
static cm_model *small(const char *precond)
{
    cm_model *m = NULL;
    char config[512];
    snprintf(
        config, sizeof config,
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 1, \"model_channels\": 8, "
        "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": []}, \"precond\": {%s}, "
        "\"image\": {\"channels\": 1, \"height\": 8, \"width\": 8, \"labels\": 0}}",
        precond);
    OK(cm_model_create(NULL, config, 3, &m));
    return m;
}

/* All weights times a factor that leaves them finite. */
static void grow(cm_model *m, float factor)
{
    for (int i = 0; i < m->graph->n_params; i++) {
        const cm_tensor *t = cmi_checkpoint_tensor(&m->sources[i]);
        float *v = (float *)(uintptr_t)t->data;
        for (size_t k = 0; k < t->count; k++) v[k] = (v[k] + 0.1f) * factor;
    }
}

START_TEST(nothing_nonfinite_is_a_picture)
{
    enum { N = 3, S = 64 };
    static float noise[N * S], later[2][N * S], x[(N + 1) * S];
    const float sigma[N] = {1, 2, 3};
    const double levels[3] = {80, 2, 1};
    uint64_t state = seeded(3);
    for (int i = 0; i < N * S; i++) noise[i] = random_float(&state), later[0][i] = later[1][i] = noise[i];
    cm_model *m = small("\"type\": \"cm\""), *large = small("\"type\": \"cm\"");
    grow(large, 1e30f);
    cm_sampler *s = sampler_of(m, 2, 2), *sl = sampler_of(large, 2, 2);
    cm_sample_options o = sample_options(CM_METHOD_MULTISTEP);
    o.sigmas = levels, o.sigma_count = 3, o.noise = noise, o.step_noise = later[0], o.noise_steps = 2;
    OK(cm_sampler_run(s, &o, N, x));
    for (int clip = CM_CLIP_DEFAULT; clip <= CM_CLIP_NO; clip++) {
        o.clip_denoised = clip, o.clip_output = clip == CM_CLIP_NO ? CM_CLIP_NO : CM_CLIP_DEFAULT;
        FAILS(cm_sampler_run(sl, &o, N, x), CM_ERR_NUMERIC, "evaluation 0 at sigma 80");
        ck_assert_ptr_nonnull(strstr(cm_last_message(), "image 0"));
        noise[2 * S + 5] = clip == CM_CLIP_NO ? NAN : INFINITY;
        FAILS(cm_sampler_run(s, &o, N, x), CM_ERR_NUMERIC, "noise of image 2 is");
        noise[2 * S + 5] = 0;
        later[1][S + 7] = -INFINITY;
        FAILS(cm_sampler_run(s, &o, N, x), CM_ERR_NUMERIC, "draw 1 of image 1 is -inf at value 7");
        later[1][S + 7] = 0;
        later[1][0] = NAN; /* one that is not used is no matter */
        o.sigma_count = 2;
        OK(cm_sampler_run(s, &o, N, x));
        later[1][0] = 0, o.sigma_count = 3;
    }
    later[1][2 * S] = 3e38f; /* finite, but what the network makes of it is not */
    o.clip_denoised = CM_CLIP_NO;
    FAILS(cm_sampler_run(s, &o, N, x), CM_ERR_NUMERIC, "image 2, evaluation 2 at sigma 1");
    cm_edit_options e;
    const cm_images frames = cm_images_f32(4, 1, 8, 8, x);
    cm_edit_options_init(&e, sizeof e);
    cm_sample_options plain = sample_options(CM_METHOD_DEFAULT);
    plain.noise = noise, noise[S + 1] = NAN;
    e.sampling = &plain;
    FAILS(cm_sampler_interpolate(s, &e, &frames), CM_ERR_NUMERIC, "noise of image 1 is nan at value 1");
    noise[S + 1] = 0;
    FAILS(cm_model_denoise(large, N, noise, sigma, NULL, x), CM_ERR_NUMERIC, "image 0 at sigma 1");
    noise[S + 1] = NAN;
    FAILS(cm_model_denoise(m, N, noise, sigma, NULL, x), CM_ERR_NUMERIC, "image 1 is nan at value 1");
    FAILS(cm_model_denoise(m, SIZE_MAX / 2, noise, sigma, NULL, x), CM_ERR_LIMIT, "memory");
    const float above = 81;
    noise[S + 1] = 0;
    FAILS(cm_model_denoise(m, 1, noise, &above, NULL, x), CM_ERR_ARGUMENT, "noise levels end at 80");
    OK(cm_sampler_run(s, NULL, N, x));
    cm_sampler_free(s), cm_sampler_free(sl);
    cm_model_free(m), cm_model_free(large);
}
END_TEST

typedef struct {
    double first, last;
} ends;

static int32_t note_ends(void *user, int32_t evaluation, double sigma, size_t first, const cm_images *images)
{
    ends *e = user;
    (void)first, (void)images;
    if (evaluation == 0) e->first = sigma;
    e->last = sigma;
    return 0;
}

/* The published lists of consistency training are those of its models alone: by the whole name of the objective. */
START_TEST(published_levels_go_by_the_objective)
{
    static const struct {
        const char *training;
        int index, count;
    } rows[] = {
        {"{\"objective\": \"ct\"}", 106, 201},
        {"{\"objective\": \"cd\"}", 22, 40},
        {"{\"objective\": \"ctx\"}", 22, 40},
        {"{\"objective\": \"ct-lpips\"}", 22, 40},
        {"{\"objective\": \"c\"}", 22, 40},
        {"{\"objective\": 7}", 22, 40},
        {"{}", 22, 40},
    };
    enum { VALUES = 3 * 64 * 64 };
    static float x[VALUES];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char config[512];
        ends seen = {0, 0};
        cm_model *m;
        snprintf(config, sizeof config,
                 "{\"network\": {\"type\": \"adm\", \"image_size\": 64, \"in_channels\": 3, \"out_channels\": 3, "
                 "\"model_channels\": 32, \"num_res_blocks\": 1, \"channel_mult\": [1], \"attention_resolutions\": "
                 "[]}, \"precond\": {\"type\": \"cm\"}, \"training\": %s}",
                 rows[i].training);
        OK(cm_model_create(NULL, config, 3, &m));
        cm_sampler *s = sampler_of(m, 1, 1);
        cm_sample_options o = sample_options(CM_METHOD_MULTISTEP);
        o.step = note_ends, o.step_user = &seen;
        o.steps = 2;
        OK(cm_sampler_run(s, &o, 1, x));
        const double top = pow(80, 1.0 / 7), bottom = pow(0.002, 1.0 / 7);
        const double want = pow(top + (double)rows[i].index / (rows[i].count - 1) * (bottom - top), 7);
        ck_assert_msg(fabs(seen.last / want - 1) < 1e-6, "%s: %g, expected %g", rows[i].training, seen.last, want);
        cm_sampler_free(s);
        cm_model_free(m);
    }
}
END_TEST

/* "0 = the model's": the levels that the file gives, of every family. */
START_TEST(levels_are_the_models)
{
    static const struct {
        const char *precond;
        int method, steps_of;
        double first, last;
    } rows[] = {
        {"\"type\": \"edm\"", CM_METHOD_HEUN, 0, 80, 0.002},
        {"\"type\": \"edm\", \"sigma_min\": 0.05, \"sigma_max\": 40", CM_METHOD_HEUN, 0, 40, 0.05},
        {"\"type\": \"edm\", \"sigma_min\": 0.0005, \"sigma_max\": 200", CM_METHOD_EULER, 0, 200, 0.0005},
        {"\"type\": \"edm\", \"sigma_min\": 0, \"sigma_max\": 40", CM_METHOD_EULER, 0, 40, 0.002},
        {"\"type\": \"edm\", \"sigma_min\": 0.05", CM_METHOD_ANCESTRAL, 0, 80, 0.05},
        {"\"type\": \"edm\", \"sigma_min\": 0.05", CM_METHOD_EDM, 0, 80, 0.05},
        {"\"type\": \"edm\", \"sigma_min\": 0.05", CM_METHOD_EDM, CM_EDM_STEPS_VE, 100, 0.05},
        {"\"type\": \"edm\"", CM_METHOD_EDM, CM_EDM_STEPS_VE, 100, 0.02},
        {"\"type\": \"edm\", \"sigma_max\": 50", CM_METHOD_EDM, CM_EDM_STEPS_VE, 50, 0.02},
        {"\"type\": \"ecm\", \"sigma_min\": 0.05, \"sigma_max\": 40", CM_METHOD_EULER, 0, 40, 0.05},
        {"\"type\": \"ecm\", \"sigma_max\": 120", CM_METHOD_ONESTEP, 0, 120, 120},
        {"\"type\": \"cm\", \"sigma_min\": 0.05, \"sigma_max\": 120", CM_METHOD_HEUN, 0, 120, 0.05},
        {"\"type\": \"cm\", \"sigma_max\": 120", CM_METHOD_ONESTEP, 0, 120, 120},
        {"\"type\": \"vp\"", CM_METHOD_EULER, 0, 80, 0.002},
        {"\"type\": \"vp\", \"sigma_min\": 0.01, \"sigma_max\": 100", CM_METHOD_EULER, 0, 100, 0.01},
        {"\"type\": \"ve\"", CM_METHOD_EULER, 0, 80, 0.02},
        {"\"type\": \"ve\", \"sigma_min\": 0.01, \"sigma_max\": 90", CM_METHOD_EULER, 0, 90, 0.01},
    };
    static float x[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ends seen = {0, 0};
        cm_model *m = small(rows[i].precond);
        cm_sampler *s = sampler_of(m, 1, 1);
        cm_sample_options o = sample_options(rows[i].method);
        o.edm_discretization = rows[i].steps_of;
        o.step = note_ends, o.step_user = &seen;
        if (rows[i].method != CM_METHOD_ONESTEP) o.steps = 5;
        OK(cm_sampler_run(s, &o, 1, x));
        ck_assert_msg(fabs(seen.first / rows[i].first - 1) < 1e-6 && fabs(seen.last / rows[i].last - 1) < 1e-6,
                      "%s, method %d: from %g to %g, expected %g to %g", rows[i].precond, rows[i].method, seen.first,
                      seen.last, rows[i].first, rows[i].last);
        cm_sampler_free(s);
        cm_model_free(m);
    }
}
END_TEST

/* Editing's own levels stay within the model's, and so does what is told. */
START_TEST(levels_of_editing_are_the_models)
{
    static float x[64], y[64], mask[64], pair[128];
    const cm_images given = cm_images_f32(1, 1, 8, 8, y), k = cm_images_f32(1, 1, 8, 8, mask),
                    out = cm_images_f32(1, 1, 8, 8, x), two = cm_images_f32(2, 1, 8, 8, pair);
    cm_model *m = small("\"type\": \"cm\", \"sigma_min\": 0.7, \"sigma_max\": 3");
    cm_sampler *s = sampler_of(m, 1, 1);
    ends seen = {0, 0};
    cm_sample_options o = sample_options(CM_METHOD_DEFAULT);
    cm_edit_options e;
    cm_edit_options_init(&e, sizeof e);
    e.sampling = &o;
    o.step = note_ends, o.step_user = &seen;
    mask[3] = 1;
    OK(cm_sampler_inpaint(s, &e, &given, &k, &out));
    ck_assert(seen.first <= 3 && seen.first > seen.last && seen.last >= 0.7 * (1 - 1e-6));
    e.sigma = 3.1;
    FAILS(cm_sampler_denoise(s, &e, &given, &out), CM_ERR_ARGUMENT, "sigma is 3.1");
    FAILS(cm_sampler_stroke(s, &e, &given, &out), CM_ERR_ARGUMENT, "sigma is 3.1");
    e.sigma = 0.6;
    FAILS(cm_sampler_denoise(s, &e, &given, &out), CM_ERR_ARGUMENT, "[0.7, 3]");
    e.sigma = 0, o.sigma_max = 1e300;
    FAILS(cm_sampler_inpaint(s, &e, &given, &k, &out), CM_ERR_ARGUMENT, "sigma_max is 1e+300");
    FAILS(cm_sampler_interpolate(s, &e, &two), CM_ERR_ARGUMENT, "sigma_max is 1e+300");
    o.sigma_max = 0, o.rho = 1e-300;
    FAILS(cm_sampler_inpaint(s, &e, &given, &k, &out), CM_ERR_ARGUMENT, "rho is 1e-300");
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("sampler_options");
    TCase *t = tcase_create("sampler_options");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, options_refused);
    tcase_add_test(t, creation_refused);
    tcase_add_test(t, nothing_nonfinite_is_a_picture);
    tcase_add_test(t, published_levels_go_by_the_objective);
    tcase_add_test(t, levels_are_the_models);
    tcase_add_test(t, levels_of_editing_are_the_models);
    suite_add_tcase(s, t);
    return s;
}
