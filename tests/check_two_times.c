/* Networks of two times in the interface: calls that have a second time, and the samplers that walk by it. */
#include "support/samplers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/fill.h"

/* Weights by formula: a fresh network ends in zeros. */
#define SONG                                                                                                         \
    "{\"type\": \"songunet\", \"img_resolution\": 16, \"img_channels\": 3, \"model_channels\": 16, "                 \
    "\"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [8], \"label_dim\": 4"
static const char *const networks[] = {
    SONG ", \"second_time\": \"concat\", \"attention_layout\": \"qkv\"}",
    SONG ", \"second_time\": \"tower\", \"second_input\": \"time\", \"time_factor\": 1000}",
};
enum { IMAGE = 3 * 16 * 16, N = 5, ALL = N * IMAGE };
static const int32_t labels[N] = {1, 0, 3, -1, 2};

static cm_model *make_model(const char *network, const char *precond)
{
    json_t *n = json_loads(network, 0, NULL), *p = json_pack("{s:s}", "type", precond);
    cm_model *m = fill_model(NULL, n, p, 16, 16, 0, FILL_HASH, 3);
    ck_assert_msg(m != NULL, "%s: %s", network, cm_last_message());
    json_decref(n);
    json_decref(p);
    return m;
}

static void fill_images(float *x, float size)
{
    for (int i = 0; i < ALL; i++) x[i] = size * (float)sin((double)(3 * i));
}

static cm_denoise_options with_labels(cm_condition *c, const int32_t *of)
{
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    *c = (cm_condition)CM_CONDITION_INIT;
    c->labels = of;
    o.condition = c;
    return o;
}

static void close_to(const float *x, const double *want, double tolerance)
{
    double most = 0;
    for (int i = 0; i < ALL; i++) most = fmax(most, fabs(want[i]));
    for (int i = 0; i < ALL; i++)
        ck_assert_msg(fabs((double)x[i] - want[i]) <= tolerance * most, "value %d is %.9g, expected %.9g", i,
                      (double)x[i], want[i]);
}

/* --- calls with a second time --------------------------------------------------------------- */

static const float sigma[N] = {0.5f, 3, 40, 1e8f, 0.5f}, second[N] = {0, 1, 39, 0.25f, 0.5f};

/* D(x; s, s') = x_t - t u(x_t; t, r), u from the network by itself. */
START_TEST(second_level_of_a_call)
{
    cm_model *m = make_model(networks[_i], "average-velocity"), *raw = make_model(networks[_i], "none");
    static float x[ALL], scaled[ALL], d[ALL], u[ALL], plain[ALL];
    static double want[ALL];
    float t[N], r[N];
    cm_condition c;
    cm_denoise_options o = with_labels(&c, labels);
    fill_images(x, 2);
    for (int k = 0; k < N; k++) t[k] = sigma[k] / (1 + sigma[k]), r[k] = second[k] / (1 + second[k]);
    for (int i = 0; i < ALL; i++) {
        if (sigma[i / IMAGE] > 1e3f) x[i] *= sigma[i / IMAGE];
        scaled[i] = x[i] / (1 + sigma[i / IMAGE]);
    }
    OK(cm_model_denoise_with(m, &o, N, x, sigma, plain));
    o.second = second;
    OK(cm_model_denoise_with(m, &o, N, x, sigma, d));
    o.second = r;
    OK(cm_model_denoise_with(raw, &o, N, scaled, t, u));
    for (int i = 0; i < ALL; i++) want[i] = (double)scaled[i] - (double)t[i / IMAGE] * (double)u[i];
    close_to(d, want, 1e-5);
    ck_assert_mem_eq(d, plain, IMAGE * sizeof *d); /* 0 is the default */
    ck_assert_mem_ne(d + IMAGE, plain + IMAGE, IMAGE * sizeof *d);
    for (int k = 0; k < N; k++) { /* image by image: the same bits */
        float one[IMAGE];
        c.labels = labels + k, o.second = second + k;
        OK(cm_model_denoise_with(m, &o, 1, x + k * IMAGE, sigma + k, one));
        ck_assert_mem_eq(one, d + k * IMAGE, sizeof one);
    }
    fill_model_free(m), fill_model_free(raw);
}
END_TEST

/* The derivative by each choice of x, sigma and the second level is the limit of differences. */
START_TEST(tangents_of_a_second_level)
{
    cm_model *m = make_model(networks[_i % 2], _i < 2 ? "average-velocity" : "none");
    static const float first[N] = {0.5f, 3, 0.9f, 1, 0.7f}, other[N] = {0.25f, 1, 0.1f, 0.5f, 0.6f};
    static const float h = 1.0f / 256, turns[N] = {0.25f, -0.5f, 0.125f, 0.25f, -0.25f},
                       moves_r[N] = {-0.25f, 0.5f, 0.125f, 0.0625f, -0.5f};
    static float x[ALL], moves[ALL], moved[ALL], y[ALL], slope[ALL], want[ALL], ends[2][ALL];
    cm_condition c;
    cm_denoise_options o = with_labels(&c, labels);
    if (_i % 2) { /* times of a factor 1000 turn too fast for differences */
        fill_model_free(m);
        json_t *n = json_loads(networks[1], 0, NULL),
               *p = json_pack("{s:s}", "type", _i < 2 ? "average-velocity" : "none");
        json_object_set_new(n, "time_factor", json_integer(1));
        m = fill_model(NULL, n, p, 16, 16, 0, FILL_HASH, 3);
        ck_assert_ptr_nonnull(m);
        json_decref(n), json_decref(p);
    }
    fill_images(x, 2);
    for (int i = 0; i < ALL; i++) moves[i] = (float)cos((double)i * i) / 4;
    o.second = other;
    OK(cm_model_denoise_with(m, &o, N, x, first, want));
    for (int with = 4; with < 8; with++) {
        double most = 0, off = 0, largest = 0;
        o.second = other, o.second_tangent = moves_r;
        memset(slope, 0xff, sizeof slope);
        OK(cm_model_denoise_tangent(m, &o, N, x, first, with & 1 ? moves : NULL, with & 2 ? turns : NULL, y, slope));
        ck_assert_mem_eq(y, want, sizeof y);
        o.second_tangent = NULL;
        for (int side = 0; side < 2; side++) {
            const float step = side ? -h : h;
            float levels[N], seconds[N];
            for (int k = 0; k < N; k++) {
                levels[k] = first[k] + (with & 2 ? step * turns[k] : 0);
                seconds[k] = other[k] + step * moves_r[k];
            }
            for (int i = 0; i < ALL; i++) moved[i] = x[i] + (with & 1 ? step * moves[i] : 0);
            o.second = seconds;
            OK(cm_model_denoise_with(m, &o, N, moved, levels, ends[side]));
        }
        for (int i = 0; i < ALL; i++) {
            const double d = ((double)ends[0][i] - (double)ends[1][i]) / (2 * (double)h);
            most = fmax(most, fabs(d)), off = fmax(off, fabs(d - (double)slope[i]));
            largest = fmax(largest, fabs((double)want[i]));
        }
        ck_assert_msg(off <= 2e-3 * most + 1e-6 * largest / (double)h && most > 0,
                      "model %d, tangents %d: %g of %g off", _i, with, off, most);
    }
    fill_model_free(m);
}
END_TEST

START_TEST(seconds_refused)
{
    cm_model *m = make_model(networks[0], "average-velocity"), *raw = make_model(networks[0], "none"),
             *one = make_model(SONG "}", "edm");
    static float x[ALL], y[ALL], slope[ALL], moves[ALL];
    float r[N], speed[N] = {0, 0, 0, 0, 1}, levels[N];
    cm_condition c;
    cm_denoise_options o = with_labels(&c, labels);
    fill_images(x, 1);
    memset(r, 0, sizeof r);
    memcpy(levels, sigma, sizeof levels);
    o.second = r;
    FAILS(cm_model_denoise_with(one, &o, 1, x, levels, y), CM_ERR_ARGUMENT, "second is for networks of two times");
    o.second = NULL, o.second_tangent = speed;
    FAILS(cm_model_denoise_tangent(one, &o, 1, x, levels, moves, NULL, y, slope), CM_ERR_ARGUMENT,
          "second_tangent is for networks of two times");
    FAILS(cm_model_denoise_with(m, &o, N, x, levels, y), CM_ERR_ARGUMENT, "second_tangent has no effect");
    o.second = r;
    static const struct {
        float value;
        const char *word;
    } rows[] = {{0.75f, "second[4] is 0.75, above sigma[4] 0.5"},
                {-1, "expected a finite number >= 0"},
                {NAN, "second[4] is nan"},
                {INFINITY, "second[4] is inf"}};
    o.second_tangent = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        r[4] = rows[i].value;
        FAILS(cm_model_denoise_with(m, &o, N, x, levels, y), CM_ERR_ARGUMENT, rows[i].word);
        FAILS(cm_model_denoise_tangent(m, &o, N, x, levels, moves, NULL, y, slope), CM_ERR_ARGUMENT, rows[i].word);
        if (rows[i].value != -1) FAILS(cm_model_denoise_with(raw, &o, N, x, levels, y), CM_ERR_ARGUMENT, "second[4]");
    }
    r[4] = 0, o.second_tangent = speed, levels[4] = 0;
    FAILS(cm_model_denoise_tangent(m, &o, N, x, levels, moves, NULL, y, slope), CM_ERR_ARGUMENT,
          "second_tangent[4] is 1 where sigma is 0");
    levels[4] = 1, speed[4] = NAN;
    FAILS(cm_model_denoise_tangent(m, &o, N, x, levels, NULL, NULL, y, slope), CM_ERR_NUMERIC,
          "second_tangent[4] is nan");
    o.second_tangent = NULL;
    FAILS(cm_model_denoise_tangent(m, &o, N, x, levels, NULL, NULL, y, slope), CM_ERR_ARGUMENT, "one is needed");
    fill_model_free(m), fill_model_free(raw), fill_model_free(one);
}
END_TEST

/* --- samplers ---------------------------------------------------------------------------------- */

static cm_sample_options options_of(int method, cm_condition *c)
{
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    *c = (cm_condition)CM_CONDITION_INIT;
    c->labels = labels;
    o.condition = c, o.method = method, o.clip_output = CM_CLIP_NO, o.seed = 4;
    return o;
}

/* u(z; t, r) of all images. */
static void velocity(cm_model *raw, const double *z, double t, double r, double *u)
{
    static float x[ALL], y[ALL];
    float first[N], last[N];
    cm_condition c;
    cm_denoise_options o = with_labels(&c, labels);
    for (int k = 0; k < N; k++) first[k] = (float)t, last[k] = (float)r;
    for (int i = 0; i < ALL; i++) x[i] = (float)z[i];
    o.second = last;
    OK(cm_model_denoise_with(raw, &o, N, x, first, y));
    for (int i = 0; i < ALL; i++) u[i] = (double)y[i];
}

/* The published loops on the axis of t: z - (t - r) u(z; t, r); or a jump to 0, and noise of the next time. */
static void walk(cm_model *raw, const double *t, int steps, const float *noise, const float *more, double *z)
{
    static double u[ALL];
    for (int i = 0; i < ALL; i++) z[i] = (double)noise[i];
    for (int k = 0; k < steps; k++) {
        const double aim = more ? 0 : t[k + 1], next = t[k + 1];
        velocity(raw, z, t[k], aim, u);
        for (int i = 0; i < ALL; i++) {
            z[i] -= (t[k] - aim) * u[i];
            if (more && next > 0) z[i] = (1 - next) * z[i] + next * (double)more[k * ALL + i];
        }
    }
}

static void fill_noise(float *noise, int count)
{
    uint64_t state = 7;
    for (int i = 0; i < count; i++) noise[i] = 3 * random_float(&state);
}

/* Both samplers are the loops: over n equal steps, which are the default, and over a grid of the caller's. */
START_TEST(samplers_are_the_loops)
{
    static const double grids[][5] = {{1, 0}, {1, 0.5, 0}, {1, 0.75, 0.5, 0.25, 0}, {1, 0.8, 0.45, 0.2, 0}};
    static const int steps[] = {1, 2, 4, 4};
    const int stochastic = _i % 2, grid = _i / 2;
    static float noise[ALL], more[3 * ALL], x[ALL];
    static double z[ALL];
    double sigmas[4];
    cm_condition c;
    cm_model *m = make_model(networks[0], "average-velocity"), *raw = make_model(networks[0], "none");
    cm_sampler *s = sampler_of(m, 2, 3);
    cm_sample_options o = options_of(stochastic ? CM_METHOD_MULTISTEP : CM_METHOD_FLOWMAP, &c);
    fill_noise(noise, ALL), fill_noise(more, 3 * ALL);
    walk(raw, grids[grid], steps[grid], noise, stochastic ? more : NULL, z);
    o.noise = noise;
    if (grid < 3) o.steps = steps[grid];
    else {
        sigmas[0] = 1e8;
        for (int k = 1; k < 4; k++) sigmas[k] = grids[grid][k] / (1 - grids[grid][k]);
        o.sigmas = sigmas, o.sigma_count = 4;
    }
    if (stochastic && steps[grid] > 1) o.step_noise = more, o.noise_steps = (size_t)steps[grid] - 1;
    OK(cm_sampler_run(s, &o, N, x));
    close_to(x, z, 2e-5);
    int32_t nfe;
    OK(cm_sampler_nfe(s, &o, &nfe));
    ck_assert_int_eq(nfe, steps[grid]);
    cm_sampler_free(s);
    fill_model_free(m), fill_model_free(raw);
}
END_TEST

/* A call's guidance would reach one of two networks alone. */
START_TEST(guidance_on_both_sides)
{
    cm_model *m = make_model(networks[0], "average-velocity");
    cm_model *told = make_model(
        SONG ", \"second_time\": \"concat\", \"attention_layout\": \"qkv\", \"conditions\": 3}", "average-velocity");
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    cm_sampler *s;
    o.below = told, o.border = 1;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "the model below the border has a network that is told");
    OK(cm_sampler_create(told, &o, &s));
    cm_sampler_free(s);
    fill_model_free(m), fill_model_free(told);
}
END_TEST

/* One step is the default, and ONESTEP's bits. */
START_TEST(one_step)
{
    static float x[ALL], y[ALL];
    cm_condition c;
    cm_model *m = make_model(networks[0], "average-velocity");
    cm_sampler *s = sampler_of(m, 1, 5);
    cm_sample_options o = options_of(CM_METHOD_FLOWMAP, &c), plain = options_of(CM_METHOD_DEFAULT, &c);
    int32_t nfe;
    OK(cm_sampler_nfe(s, &o, &nfe));
    ck_assert_int_eq(nfe, 1);
    OK(cm_sampler_run(s, &o, N, x));
    OK(cm_sampler_run(s, &plain, N, y));
    ck_assert_mem_eq(x, y, sizeof x);
    cm_sampler_free(s);
    fill_model_free(m);
}
END_TEST

START_TEST(same_bits)
{
    static float x[ALL], want[ALL];
    cm_condition c;
    cm_model *m = make_model(networks[_i], "average-velocity");
    cm_sample_options o = options_of(CM_METHOD_FLOWMAP, &c);
    o.steps = 3;
    for (int threads = 1; threads < 5; threads++) {
        cm_sampler *s = sampler_of(m, threads, 1 + 2 * (threads - 1));
        OK(cm_sampler_run(s, &o, N, threads == 1 ? want : x));
        if (threads > 1) ck_assert_mem_eq(x, want, sizeof x);
        o.first_index = 2, c.labels = labels + 2;
        OK(cm_sampler_run(s, &o, 2, x));
        ck_assert_mem_eq(x, want + 2 * IMAGE, 2 * IMAGE * sizeof *x);
        o.first_index = 0, c.labels = labels;
        cm_sampler_free(s);
    }
    fill_model_free(m);
}
END_TEST

static int32_t keep_estimate(void *user, int32_t evaluation, double level, size_t first, const cm_images *denoised)
{
    double *seen = user;
    seen[2 * evaluation] = level;
    if (first == 0) seen[2 * evaluation + 1] = (double)((const float *)denoised->data)[0];
    return 0;
}

/* A caller sees each level and where the step's line would end: x' = (s'/s) x + (1 - s'/s) D. */
START_TEST(estimates_are_the_ends_of_lines)
{
    static float x[ALL], noise[ALL];
    double seen[6];
    cm_condition c;
    cm_model *m = make_model(networks[0], "average-velocity");
    cm_sampler *s = sampler_of(m, 1, 5);
    cm_sample_options o = options_of(CM_METHOD_FLOWMAP, &c);
    const double sigmas[3] = {10, 1, 0.25};
    fill_noise(noise, ALL);
    o.sigmas = sigmas, o.sigma_count = 3, o.step = keep_estimate, o.step_user = seen, o.noise = noise;
    OK(cm_sampler_run(s, &o, N, x));
    double state = 10 * (double)noise[0];
    for (int k = 0; k < 3; k++) {
        const double keep = k < 2 ? sigmas[k + 1] / sigmas[k] : 0;
        ck_assert_double_eq(seen[2 * k], sigmas[k]);
        state = keep * state + (1 - keep) * seen[2 * k + 1];
    }
    ck_assert_double_eq_tol((double)x[0], state, 1e-5 * (1 + fabs(state)));
    cm_sampler_free(s);
    fill_model_free(m);
}
END_TEST

START_TEST(levels_without_a_list)
{
    static float x[ALL], y[ALL];
    cm_condition c;
    cm_model *m = make_model(networks[0], "average-velocity");
    cm_sampler *s = sampler_of(m, 1, 5);
    cm_sample_options o = options_of(CM_METHOD_FLOWMAP, &c), list = o;
    double sigmas[3];
    /* From a level of the caller's: t of 4 is 0.8. */
    o.steps = 2, o.sigma_max = 4;
    sigmas[0] = 4, sigmas[1] = 0.4 / 0.6;
    list.sigmas = sigmas, list.sigma_count = 2;
    OK(cm_sampler_run(s, &o, N, x));
    OK(cm_sampler_run(s, &list, N, y));
    ck_assert_mem_eq(x, y, sizeof x);
    /* With a rho: the schedule of Karras et al. */
    o.rho = 1, o.steps = 3, o.sigma_min = 1;
    sigmas[1] = 2.5, sigmas[2] = 1, list.sigma_count = 3;
    OK(cm_sampler_run(s, &o, N, x));
    OK(cm_sampler_run(s, &list, N, y));
    ck_assert_mem_eq(x, y, sizeof x);
    cm_sampler_free(s);
    fill_model_free(m);
}
END_TEST

START_TEST(sampling_refused)
{
    static float x[ALL];
    cm_condition c;
    cm_model *m = make_model(networks[0], "average-velocity"), *one = make_model(SONG "}", "ecm");
    cm_sampler *s = sampler_of(m, 1, 5), *other = sampler_of(one, 1, 5);
    const double up[2] = {1, 2}, high[1] = {2e8};
    const int32_t ts[2] = {0, 39};
#define REFUSED(set, word)                                                                                           \
    do {                                                                                                             \
        cm_sample_options o = options_of(CM_METHOD_FLOWMAP, &c);                                                     \
        set;                                                                                                         \
        FAILS(cm_sampler_run(s, &o, N, x), CM_ERR_ARGUMENT, word);                                                   \
    } while (0)
    cm_sample_options plain = options_of(CM_METHOD_FLOWMAP, &c);
    FAILS(cm_sampler_run(other, &plain, N, x), CM_ERR_ARGUMENT, "method flowmap is for networks of two times");
    REFUSED(o.sigma_min = 0.1, "sigma_min has no effect without a rho on method flowmap");
    REFUSED((o.ts = ts, o.ts_count = 2, o.grid = 40), "ts has no effect");
    REFUSED(o.s_churn = 1, "s_churn has no effect");
    REFUSED((o.sigmas = up, o.sigma_count = 2), "fall strictly");
    REFUSED((o.sigmas = high, o.sigma_count = 1), "noise levels are in (0, 1e+08]");
    REFUSED((o.sigmas = up, o.sigma_count = 1, o.steps = 2), "steps has no effect beside sigmas");
    REFUSED(o.steps = -1, "steps is -1");
    REFUSED((o.step_noise = x, o.noise_steps = 1), "step_noise has no effect");
    cm_sampler_free(s), cm_sampler_free(other);
    fill_model_free(m), fill_model_free(one);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("two_times");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, second_level_of_a_call, 0, 2);
    tcase_add_loop_test(t, tangents_of_a_second_level, 0, 4);
    tcase_add_test(t, seconds_refused);
    tcase_add_loop_test(t, samplers_are_the_loops, 0, 8);
    tcase_add_test(t, guidance_on_both_sides);
    tcase_add_test(t, one_step);
    tcase_add_loop_test(t, same_bits, 0, 2);
    tcase_add_test(t, estimates_are_the_ends_of_lines);
    tcase_add_test(t, levels_without_a_list);
    tcase_add_test(t, sampling_refused);
    suite_add_tcase(s, t);
    return s;
}
