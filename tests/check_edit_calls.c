/* Editing as calls: the general form agrees with the others, bits do not depend on threads or batches, every call can
 * be cancelled and survives failing memory, bad input is refused. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/context.h"
#include "base/rng.h"
#include "support/edits.h"
#include "support/memory.h"
#include "support/pictures.h"

/* --- the general form ---------------------------------------------------------------------------- */

static int32_t reverse(void *user, const double *in, double *out)
{
    size_t n = *(size_t *)user;
    for (size_t i = 0; i < n; i++) out[i] = -in[n - 1 - i];
    return 0;
}

static int32_t stop(void *user, const double *in, double *out)
{
    (void)user, (void)in, (void)out;
    return 1;
}

static int32_t doubled(void *user, const double *in, double *out)
{
    for (size_t i = 0; i < *(size_t *)user; i++) out[i] = 2 * in[i];
    return 0;
}

static int32_t shifted(void *user, const double *in, double *out)
{
    size_t n = *(size_t *)user;
    for (size_t i = 0; i < n; i++) out[i] = in[(i + 1) % n];
    return 0;
}

/* An orthogonal matrix whose first row is the given direction (Householder). */
static void reflection(size_t n, const double *first, double *q)
{
    double v[64], length = 0, square = 0;
    for (size_t i = 0; i < n; i++) length += first[i] * first[i];
    for (size_t i = 0; i < n; i++) v[i] = first[i] / sqrt(length) - (i == 0);
    for (size_t i = 0; i < n; i++) square += v[i] * v[i];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) q[i * n + j] = (i == j) - 2 * v[i] * v[j] / square;
}

START_TEST(the_general_form_is_the_others)
{
    cm_model *m = load(1);
    cm_sampler *s = sampler_of(m, 2, 4);
    cm_edit_options o = options(1, 1);
    static float x[2 * CSIZE], g[2 * CSIZE], mask[CSIZE], low[2 * CSIZE];
    float *y = pictures(2, CSIZE);
    static const double sigmas[3] = {40, 5, 0.5}, luma[3] = {0.2989, 0.5870, 0.1140},
                        ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    double q[256];
    cm_edit_map map;
    const cm_images given = cm_images_f32(2, 3, CSIDE, CSIDE, y), k = cm_images_f32(1, 3, CSIDE, CSIDE, mask),
                    small = cm_images_f32(2, 3, 4, 4, low);
    sampling.sigmas = sigmas, sampling.sigma_count = 3, sampling.clip_output = CM_CLIP_NO;
    cm_edit_map_init(&map, sizeof map);
    for (size_t i = 0; i < CSIZE; i++) mask[i] = (float)(i % 3) / 2;
    OK(cm_sampler_inpaint(s, &o, &given, &k, COLOURS(2, x)));
    OK(cm_sampler_edit(s, &o, NULL, &given, &k, COLOURS(2, g)));
    ck_assert_mem_eq(x, g, sizeof x);
    /* Turning and negating A's coordinates turns the mask. */
    size_t n = CSIZE;
    map.forward = map.inverse = reverse, map.user = &n;
    for (size_t i = 0; i < CSIZE / 2; i++) {
        float swap = mask[i];
        mask[i] = mask[CSIZE - 1 - i], mask[CSIZE - 1 - i] = swap;
    }
    OK(cm_sampler_edit(s, &o, &map, &given, &k, COLOURS(2, g)));
    ck_assert_mem_eq(x, g, sizeof x);
    /* Colour. */
    cm_edit_map_init(&map, sizeof map);
    reflection(3, luma, q);
    map.matrix = q;
    for (size_t i = 0; i < CSIZE; i++) mask[i] = i < CPLANE ? 0 : 1;
    OK(cm_sampler_colorize(s, &o, &given, COLOURS(2, x)));
    OK(cm_sampler_edit(s, &o, &map, &given, &k, COLOURS(2, g)));
    for (size_t i = 0; i < 2 * CSIZE; i++) ck_assert_double_le(fabs((double)(x[i] - g[i])), 2e-5);
    /* Detail. */
    reflection(16, ones, q);
    map.patch = 4;
    for (size_t i = 0; i < CSIZE; i++) mask[i] = i % 4 == 0 && i / CSIDE % 4 == 0 ? 0 : 1;
    for (size_t i = 0; i < 2 * CSIZE; i++)
        low[i / (CSIDE * 4) * 4 + i % CSIDE / 4] += y[i] / 16; /* rows of four join */
    OK(cm_sampler_super_resolve(s, &o, &small, COLOURS(2, x)));
    OK(cm_sampler_edit(s, &o, &map, &given, &k, COLOURS(2, g)));
    for (size_t i = 0; i < 2 * CSIZE; i++) ck_assert_double_le(fabs((double)(x[i] - g[i])), 2e-5);
    free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* Good while the map is tried (twice there and back), then not. */
static int32_t broken_later(void *user, const double *in, double *out)
{
    size_t *calls = user;
    memcpy(out, in, CSIZE * sizeof *out);
    if (++*calls > 4) out[17] = NAN;
    return 0;
}

START_TEST(maps_refused)
{
    size_t calls = 0;
    cm_model *m = load(1);
    cm_sampler *s = sampler_of(m, 1, 1);
    cm_edit_options o = options(1, 1);
    size_t n = CSIZE;
    static float x[CSIZE], mask[CSIZE];
    float *y = pictures(1, CSIZE);
    double matrix[9] = {1, 0, 0, 0, 1, 0, 0, 0.001, 1};
    const cm_images given = cm_images_f32(1, 3, CSIDE, CSIDE, y), k = cm_images_f32(1, 1, CSIDE, CSIDE, mask);
#define BAD_MAP(set, status, word)                                                                                   \
    do {                                                                                                             \
        cm_edit_map map;                                                                                             \
        cm_edit_map_init(&map, sizeof map);                                                                          \
        map.user = &n;                                                                                               \
        set;                                                                                                         \
        FAILS(cm_sampler_edit(s, &o, &map, &given, &k, COLOURS(1, x)), status, word);                                \
    } while (0)
    BAD_MAP(map.forward = reverse, CM_ERR_ARGUMENT, "both forward and inverse");
    BAD_MAP((map.forward = map.inverse = doubled), CM_ERR_ARGUMENT, "not orthogonal");
    BAD_MAP((map.forward = map.inverse = shifted), CM_ERR_ARGUMENT, "does not undo");
    BAD_MAP((map.forward = map.inverse = stop), CM_ERR_CANCELLED, "forward callback");
    BAD_MAP((map.forward = map.inverse = broken_later, map.user = &calls), CM_ERR_NUMERIC, "nan at value 17");
    BAD_MAP(map.matrix = matrix, CM_ERR_ARGUMENT, "rows 1 and 2");
    matrix[0] = NAN;
    BAD_MAP(map.matrix = matrix, CM_ERR_ARGUMENT, "rows 0 and 0");
    BAD_MAP(map.patch = 2, CM_ERR_ARGUMENT, "without a matrix");
    BAD_MAP((map.patch = 3, map.matrix = matrix), CM_ERR_ARGUMENT, "divisor of 16");
    BAD_MAP((map.patch = 64, map.matrix = matrix), CM_ERR_ARGUMENT, "1..32");
    BAD_MAP((map.forward = map.inverse = reverse, map.matrix = matrix), CM_ERR_ARGUMENT, "one of them");
    free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* --- promises of sampling, kept here too ---------------------------------------------------------- */

enum { INPAINT, SUPER_RESOLVE, STROKE, DENOISE, GENERAL, TASKS };

static cm_status run_task(cm_sampler *s, int task, const cm_edit_options *options, size_t n, const float *y, float *x)
{
    size_t variations = options->variations ? (size_t)options->variations : 1;
    static float mask[SIZE];
    cm_edit_options o = *options;
    const cm_images given = cm_images_f32(n, 1, SIDE, SIDE, y), k = cm_images_f32(1, 1, SIDE, SIDE, mask),
                    low = cm_images_f32(n, 1, 8, 8, y);
    for (int i = SIZE / 2; i < SIZE; i++) mask[i] = 1;
    switch (task) {
    case INPAINT: return cm_sampler_inpaint(s, &o, &given, &k, GRAY(n * variations, x));
    case SUPER_RESOLVE: return cm_sampler_super_resolve(s, &o, &low, GRAY(n * variations, x));
    case STROKE: o.sigma = 3; return cm_sampler_stroke(s, &o, &given, GRAY(n * variations, x));
    case DENOISE: o.sigma = 3; return cm_sampler_denoise(s, &o, &given, GRAY(n * variations, x));
    default: return cm_sampler_edit(s, &o, NULL, &given, &k, GRAY(n * variations, x));
    }
}

START_TEST(same_bits_for_threads_and_batches)
{
    static const int batches[] = {1, 2, 3, 7, 16};
    cm_model *m = load(0);
    cm_sampler *one = sampler_of(m, 1, 1);
    cm_edit_options o = options(0, 3);
    static float want[9 * SIZE], x[9 * SIZE];
    float *y = pictures(3, SIZE);
    sampling.steps = 3;
    OK(run_task(one, _i, &o, 3, y, want));
    for (int threads = 1; threads <= by_effort(2, 8, 8); threads++) {
        cm_sampler *s = sampler_of(m, threads, batches[threads % 5]);
        OK(run_task(s, _i, &o, 3, y, x));
        ck_assert_msg(memcmp(x, want, sizeof x) == 0, "task %d: %d threads, batch %d", _i, threads,
                      batches[threads % 5]);
        cm_sampler_free(s);
    }
    /* The last two variations of the first picture, alone. */
    sampling.first_index = 1;
    o.variations = 2;
    OK(run_task(one, _i, &o, 1, y, x));
    ck_assert_mem_eq(x, want + SIZE, 2 * SIZE * sizeof *x);
    free(y);
    cm_sampler_free(one);
    cm_model_free(m);
}
END_TEST

typedef struct {
    cm_sampler *s;
    uint64_t calls, stop_at, done, total;
    int kept;
    const float *y;
} watcher;

static int32_t on_progress(void *user, uint64_t done, uint64_t total)
{
    watcher *w = user;
    w->done = done, w->total = total;
    return ++w->calls == w->stop_at;
}

/* What a step shows has the known part in it; and the sampler is busy. */
static int32_t on_step(void *user, int32_t evaluation, double sigma, size_t first, const cm_images *images)
{
    watcher *w = user;
    float x[SIZE];
    cm_edit_options o;
    cm_sample_options other;
    const float *denoised = images->data;
    (void)evaluation, (void)sigma;
    for (size_t i = 0; i < images->n; i++)
        w->kept += memcmp(denoised + i * SIZE, w->y + (first + i) / 2 * SIZE, SIZE / 2 * sizeof *x) == 0;
    cm_edit_options_init(&o, sizeof o);
    cm_sample_options_init(&other, sizeof other);
    other.condition = LABELS(labels);
    o.sampling = &other;
    FAILS(run_task(w->s, INPAINT, &o, 1, w->y, x), CM_ERR_STATE, "already running");
    return 0;
}

START_TEST(callbacks_and_cancel)
{
    cm_model *m = load(0);
    cm_sampler *s = sampler_of(m, 2, 3);
    cm_edit_options o = options(0, 2);
    static float want[4 * SIZE], x[4 * SIZE];
    float *y = pictures(2, SIZE);
    watcher w = {s, 0, 0, 0, 0, 0, y};
    sampling.steps = 3;
    OK(run_task(s, INPAINT, &o, 2, y, want));
    sampling.progress = on_progress, sampling.progress_user = &w;
    sampling.step = on_step, sampling.step_user = &w;
    OK(run_task(s, INPAINT, &o, 2, y, x));
    ck_assert(w.done == 12 && w.total == 12 && w.kept == 12);
    ck_assert_mem_eq(x, want, sizeof x);
    w.stop_at = w.calls + 2;
    FAILS(run_task(s, INPAINT, &o, 2, y, x), CM_ERR_CANCELLED, "cancelled");
    sampling.progress = NULL, sampling.step = NULL;
    OK(run_task(s, INPAINT, &o, 2, y, x));
    ck_assert_mem_eq(x, want, sizeof x);
    free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* R1: any allocation may fail. */
START_TEST(allocations_that_fail)
{
    memory mem;
    cm_context *context;
    cm_model *m;
    cm_sampler *s;
    cm_sampler_options so;
    static float want[SIZE], x[SIZE];
    float *y = pictures(1, SIZE);
    memory_reset(&mem);
    cm_context_options co = memory_options(&mem, 1);
    OK(cm_context_create(&co, &context));
    OK(cm_model_load(context, MODEL, NULL, &m));
    cm_sampler_options_init(&so, sizeof so);
    OK(cm_sampler_create(m, &so, &s));
    cm_edit_options o = options(0, 1);
    sampling.steps = 1;
    for (int task = 0; task <= TASKS; task++) {
        long live = mem.live, before = mem.requests;
        cm_edit_options frames = o;
#define RUN() (task == TASKS ? cm_sampler_interpolate(s, &frames, GRAY(2, x2)) : run_task(s, task, &o, 1, y, x))
        float x2[2 * SIZE];
        OK(RUN());
        memcpy(want, task == TASKS ? x2 : x, sizeof want);
        long requests = mem.requests - before;
        ck_assert_int_ge(requests, 2);
        for (long n = 1; n <= requests; n++) {
            mem.requests = 0;
            mem.fail_at = n;
            FAILS(RUN(), CM_ERR_MEMORY, "memory");
            ck_assert_msg(mem.live == live, "task %d, request %ld leaks %ld", task, n, mem.live - live);
        }
        mem.fail_at = 0;
        OK(RUN());
        ck_assert_mem_eq(task == TASKS ? x2 : x, want, sizeof want);
    }
    free(y);
    cm_sampler_free(s);
    cm_model_free(m);
    cm_context_free(context);
    ck_assert_int_eq(mem.live, 0);
}
END_TEST

START_TEST(input_refused)
{
    cm_model *m = load(0), *colour = load(1);
    cm_sampler *s = sampler_of(m, 1, 1), *sc = sampler_of(colour, 1, 1);
    static float x[2 * SIZE], mask[SIZE], y[SIZE];
    static const double high[1] = {81};
    static const float unit[SIZE];
    cm_images given = cm_images_f32(1, 1, SIDE, SIDE, y), k = cm_images_f32(1, 1, SIDE, SIDE, mask);
#define BAD(call, status, word, set)                                                                                 \
    do {                                                                                                             \
        cm_edit_options o = options(0, 1);                                                                           \
        set;                                                                                                         \
        FAILS(call, status, word);                                                                                   \
    } while (0)
#define IN(g, k) cm_sampler_inpaint(s, &o, &g, &k, GRAY(1, x))
    BAD(cm_sampler_inpaint(NULL, &o, &given, &k, GRAY(1, x)), CM_ERR_ARGUMENT, "NULL", (void)0);
    BAD(cm_sampler_inpaint(s, &o, NULL, &k, GRAY(1, x)), CM_ERR_ARGUMENT, "NULL", (void)0);
    BAD(cm_sampler_inpaint(s, &o, &given, NULL, GRAY(1, x)), CM_ERR_ARGUMENT, "mask is NULL", (void)0);
    BAD(cm_sampler_inpaint(s, &o, &given, &k, NULL), CM_ERR_ARGUMENT, "NULL", (void)0);
    BAD(cm_sampler_stroke(s, &o, &given, NULL), CM_ERR_ARGUMENT, "NULL", (void)0);
    cm_images odd = given;
    odd.width = 31;
    BAD(IN(odd, k), CM_ERR_SHAPE, "given is 1 x 32 x 31", (void)0);
    BAD(IN(given, odd), CM_ERR_SHAPE, "mask is 1 x 32 x 31", (void)0);
    odd = given, odd.n = 0;
    BAD(IN(odd, k), CM_ERR_ARGUMENT, "0 images", (void)0);
    odd = k, odd.n = 2;
    BAD(IN(given, odd), CM_ERR_SHAPE, "2 masks for 1", (void)0);
    odd = given, odd.data = NULL;
    BAD(IN(odd, k), CM_ERR_ARGUMENT, "data is NULL", (void)0);
    BAD(IN(given, odd), CM_ERR_ARGUMENT, "mask: data is NULL", (void)0);
    y[5] = 255;
    BAD(IN(given, k), CM_ERR_ARGUMENT, "holds 255 at value 5", (void)0);
    y[5] = NAN;
    BAD(IN(given, k), CM_ERR_ARGUMENT, "holds nan", (void)0);
    BAD(cm_sampler_denoise(s, &o, &given, GRAY(1, x)), CM_ERR_ARGUMENT, "holds nan", o.sigma = 1);
    y[5] = 0;
    mask[9] = 1.5f;
    BAD(IN(given, k), CM_ERR_ARGUMENT, "mask 0 holds 1.5 at value 9", (void)0);
    mask[9] = 0;
    BAD(IN(given, k), CM_ERR_ARGUMENT, "80]", (sampling.sigmas = high, sampling.sigma_count = 1));
    BAD(IN(given, k), CM_ERR_ARGUMENT, "80]", sampling.sigma_max = 81);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "sigma_min 80", sampling.sigma_min = 80);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "give a label", condition.labels = NULL);
    FAILS(cm_sampler_inpaint(s, NULL, &given, &k, GRAY(1, x)), CM_ERR_ARGUMENT, "give a label");
    BAD(IN(given, k), CM_ERR_ARGUMENT, "method is 3", sampling.method = CM_METHOD_HEUN);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "steps is -1", sampling.steps = -1);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "rho", sampling.rho = NAN);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "with one step", (sampling.steps = 1, sampling.rho = 3));
    BAD(IN(given, k), CM_ERR_ARGUMENT, "variations is -1", o.variations = -1);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "start is 2", o.start = 2);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "fill is nan", o.fill = NAN);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "fill with start NOISE", (o.fill = 1, o.start = CM_EDIT_START_NOISE));
    BAD(IN(given, k), CM_ERR_ARGUMENT, "luma has no effect", o.luma[1] = 1);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "luma[0] is -1", o.luma[0] = -1);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "luma[0] is 1e+300", o.luma[0] = 1e300);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "luma adds up to 1e-300", o.luma[0] = 1e-300);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "sigma has no effect", o.sigma = 1);
    BAD(IN(given, k), CM_ERR_ARGUMENT, "to has no effect", o.to = 1);
    struct {
        cm_edit_options known;
        uint64_t newer;
    } later = {options(0, 1), 1};
    later.known.struct_size = sizeof later;
    FAILS(cm_sampler_inpaint(s, &later.known, &given, &k, GRAY(1, x)), CM_ERR_UNSUPPORTED, "newer");
    BAD(cm_sampler_stroke(s, &o, &given, GRAY(1, x)), CM_ERR_ARGUMENT, "start has no effect", o.start = 1);
    BAD(cm_sampler_stroke(s, &o, &given, GRAY(1, x)), CM_ERR_ARGUMENT, "80]", o.sigma = 81);
    BAD(cm_sampler_stroke(s, &o, &given, GRAY(1, x)), CM_ERR_ARGUMENT, "beside sigma",
        (o.sigma = 1, sampling.sigma_max = 2));
    BAD(cm_sampler_denoise(s, &o, &given, GRAY(1, x)), CM_ERR_ARGUMENT, "as option sigma", (void)0);
    BAD(cm_sampler_denoise(s, &o, &given, GRAY(1, x)), CM_ERR_ARGUMENT, "sigma is -1", o.sigma = -1);
    BAD(cm_sampler_denoise(s, &o, &given, GRAY(1, x)), CM_ERR_ARGUMENT, "begin with 81",
        (o.sigma = 1, sampling.sigmas = high, sampling.sigma_count = 1));
    BAD(cm_sampler_denoise(s, &o, &given, GRAY(1, x)), CM_ERR_ARGUMENT, "variations without noise",
        (o.sigma = 1, o.variations = 2));
    BAD(cm_sampler_denoise(s, &o, &given, GRAY(1, x)), CM_ERR_ARGUMENT, "noise has no effect",
        (o.sigma = 1, sampling.noise = unit));
    BAD(cm_sampler_super_resolve(s, &o, &given, GRAY(1, x)), CM_ERR_SHAPE, "whole number", (void)0);
    odd = given, odd.height = odd.width = 12;
    BAD(cm_sampler_super_resolve(s, &o, &odd, GRAY(1, x)), CM_ERR_SHAPE, "given is 1 x 12 x 12", (void)0);
    odd.height = 0;
    BAD(cm_sampler_super_resolve(s, &o, &odd, GRAY(1, x)), CM_ERR_ARGUMENT, "1 x 0 x 12", (void)0);
    odd.height = 8, odd.width = 16;
    BAD(cm_sampler_super_resolve(s, &o, &odd, GRAY(1, x)), CM_ERR_SHAPE, "given is 1 x 8 x 16", (void)0);
    BAD(cm_sampler_colorize(s, &o, &given, GRAY(1, x)), CM_ERR_SHAPE, "1 channel", (void)0);
    BAD(cm_sampler_colorize(sc, &o, &given, COLOURS(1, x)), CM_ERR_SHAPE, "expected 1 x 16 x 16",
        condition.labels = NULL);
    BAD(cm_sampler_interpolate(s, &o, GRAY(1, x)), CM_ERR_ARGUMENT, "1 frames", (void)0);
    BAD(cm_sampler_interpolate(s, &o, GRAY(2, x)), CM_ERR_ARGUMENT, "variations has no effect", o.variations = 2);
    BAD(cm_sampler_interpolate(s, &o, GRAY(2, x)), CM_ERR_ARGUMENT, "sigma has no effect", o.sigma = 2);
    BAD(cm_sampler_interpolate(s, &o, GRAY(2, x)), CM_ERR_ARGUMENT, "noise_source", sampling.noise_source = 7);
    BAD(cm_sampler_interpolate(s, &o, GRAY(2, x)), CM_ERR_ARGUMENT, "to beside noise",
        (o.to = 1, sampling.noise = unit));
    cm_sampler_free(s), cm_sampler_free(sc);
    cm_model_free(m), cm_model_free(colour);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("edit_calls");
    TCase *t = tcase_create("digits");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, same_bits_for_threads_and_batches, 0, TASKS);
    tcase_add_test(t, callbacks_and_cancel);
    tcase_add_test(t, allocations_that_fail);
    suite_add_tcase(s, t);
    t = tcase_create("small"); /* a tiny network: for slow tools */
    tcase_set_timeout(t, 300);
    tcase_add_test(t, the_general_form_is_the_others);
    tcase_add_test(t, maps_refused);
    tcase_add_test(t, input_refused);
    suite_add_tcase(s, t);
    return s;
}
