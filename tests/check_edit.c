/* Editing: what is kept stays kept, the forms agree with each other, bits do not
 * depend on threads or batches, bad input is refused, pictures get masks and
 * sizes. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/context.h"
#include "base/rng.h"
#include "support/memory.h"
#include "support/pictures.h"

#define MODEL "models/digits_consistency.safetensors"
enum { SIDE = 32, SIZE = SIDE * SIDE };

/* A colour model of fresh weights: what it draws is nothing, what it keeps has
 * to be kept all the same. */
#define COLOUR                                                                                                       \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 16, \"img_channels\": 3, \"model_channels\": 8, "    \
    "\"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": []}, "                                       \
    "\"precond\": {\"type\": \"cm\", \"sigma_data\": 0.5, \"sigma_min\": 0.002, \"sigma_max\": 80}, "                \
    "\"image\": {\"channels\": 3, \"height\": 16, \"width\": 16, \"labels\": 0}}"
enum { CSIDE = 16, CPLANE = CSIDE * CSIDE, CSIZE = 3 * CPLANE };

static cm_model *load(int colour)
{
    cm_model *m;
    if (colour) OK(cm_model_create(NULL, COLOUR, 3, &m));
    else OK(cm_model_load(NULL, MODEL, NULL, &m));
    return m;
}

static cm_sampler *sampler(cm_model *m, int threads, int batch)
{
    cm_sampler *s;
    cm_sampler_options o;
    cm_sampler_options_init(&o, sizeof o);
    o.threads = threads;
    o.max_batch = batch;
    OK(cm_sampler_create(m, &o, &s));
    return s;
}

static const int32_t labels[64] = {3, 3, 3, 3, 5, 5, 5, 5, 8, 8, 8, 8};
static cm_sample_options sampling;
static cm_condition condition = CM_CONDITION_INIT;

static cm_edit_options options(int colour, int variations)
{
    cm_edit_options o;
    cm_sample_options_init(&sampling, sizeof sampling);
    sampling.seed = 7;
    condition.labels = colour ? NULL : labels;
    sampling.condition = &condition;
    cm_edit_options_init(&o, sizeof o);
    o.variations = variations;
    o.sampling = &sampling;
    return o;
}

/* Where results go. */
#define AT(n, c, side, x)                                                                                            \
    (&(const cm_images){sizeof(cm_images), CM_F32, (n), (c), (side), (side), CM_LAYOUT_PLANAR, 0, 0, 0, 0, (x)})
#define GRAY(n, x) AT(n, 1, SIDE, x)
#define COLOURS(n, x) AT(n, 3, CSIDE, x)

/* n images whose values are those of bytes, some of them extreme. */
static float *pictures(size_t n, size_t size)
{
    uint64_t state = seeded(5);
    float *x = malloc(n * size * sizeof *x);
    for (size_t i = 0; i < n * size; i++) {
        int byte = random_int(&state, 0, 255);
        x[i] = (float)(i % 7 == 0 ? (byte & 1) * 255 : byte) / 127.5f - 1.0f;
    }
    return x;
}

static uint8_t byte_of(float v)
{
    uint8_t b;
    OK(floats_to_bytes(1, 1, 1, 1, &v, &b));
    return b;
}

/* --- what is kept -------------------------------------------------------------------------- */

START_TEST(inpainting_keeps_every_known_bit)
{
    cm_model *m = load(_i);
    cm_sampler *s = sampler(m, 2, 4);
    int32_t c = _i ? 3 : 1, side = _i ? CSIDE : SIDE;
    size_t plane = (size_t)side * (size_t)side, size = plane * (size_t)c;
    cm_edit_options o = options(_i, 3);
    float *y = pictures(2, size), *x = malloc(6 * size * sizeof *x), *mask = calloc(2 * size, sizeof *mask);
    for (size_t i = 0; i < 2 * size; i++) mask[i] = (float)(i / 5 % 3 == 0);
    const cm_images given = cm_images_f32(2, c, side, side, y);
    for (int form = 0; form < 3; form++) { /* one for all, one each, one a channel */
        size_t masks = form ? 2 : 1, channels = form == 2 ? (size_t)c : 1;
        const cm_images k = cm_images_f32(masks, (int32_t)channels, side, side, mask);
        OK(cm_sampler_inpaint(s, &o, &given, &k, AT(6, c, side, x)));
        size_t differ = 0, same = 0;
        for (size_t i = 0; i < 6 * size; i++) {
            size_t picture = i / size / 3, at = i % size, b = picture * size + at;
            size_t g = (masks == 2 ? picture * plane * channels : 0) + (channels == 1 ? at % plane : at);
            if (mask[g] > 0) {
                differ += x[i] != y[b];
                continue;
            }
            ck_assert_msg(memcmp(&x[i], &y[b], sizeof *x) == 0, "form %d: known value %zu changed", form, i);
            ck_assert_int_eq(byte_of(x[i]), byte_of(y[b]));
            same++;
        }
        ck_assert(same > size && differ > size / 2);
        ck_assert_mem_ne(x, x + size, size * sizeof *x); /* variations vary */
    }
    free(y), free(x), free(mask);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

START_TEST(masks_of_nothing_everything_and_half)
{
    cm_model *m = load(0);
    cm_sampler *s = sampler(m, 2, 4);
    static const double sigmas[3] = {80, 5, 1};
    cm_edit_options o = options(0, 1);
    float *y = pictures(2, SIZE), *x = malloc(2 * SIZE * sizeof *x), *plain = malloc(2 * SIZE * sizeof *x);
    static float mask[SIZE];
    const cm_images given = cm_images_f32(2, 1, SIDE, SIDE, y), k = cm_images_f32(1, 1, SIDE, SIDE, mask);
    sampling.sigmas = sigmas, sampling.sigma_count = 3;
    for (int i = 0; i < SIZE; i++) mask[i] = 0;
    OK(cm_sampler_inpaint(s, &o, &given, &k, GRAY(2, x)));
    ck_assert_mem_eq(x, y, 2 * SIZE * sizeof *x);
    for (int i = 0; i < SIZE; i++) mask[i] = 1;
    OK(cm_sampler_inpaint(s, &o, &given, &k, GRAY(2, x))); /* Algorithm 1 */
    sampling.method = CM_METHOD_MULTISTEP, sampling.clip_denoised = CM_CLIP_YES;
    OK(cm_sampler_run(s, &sampling, 2, plain));
    ck_assert_mem_eq(x, plain, 2 * SIZE * sizeof *x);
    for (int i = 0; i < SIZE; i++) mask[i] = 0.25f;
    double farthest = 0;
    OK(cm_sampler_inpaint(s, &o, &given, &k, GRAY(2, x)));
    for (int i = 0; i < 2 * SIZE; i++) farthest = fmax(farthest, fabs((double)(x[i] - y[i])));
    ck_assert(farthest > 0.1 && farthest <= 0.5 + 1e-6); /* a quarter of at most 2 */
    free(y), free(x), free(plain);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* Luminance of every pixel, also where the colours had to be brought into range. */
START_TEST(colorization_keeps_luminance)
{
    static const double weights[2][3] = {{0.2989, 0.5870, 0.1140}, {1, 0, 3}};
    cm_model *m = load(1);
    cm_sampler *s = sampler(m, 2, 4);
    cm_edit_options o = options(1, 2);
    const double *w = weights[_i], sum = w[0] + w[1] + w[2];
    static const double sigmas[2] = {5, 0.5}; /* at 0.5 much of the noise stays: out of range without care */
    if (_i) memcpy(o.luma, w, sizeof o.luma);
    sampling.sigmas = sigmas, sampling.sigma_count = 2;
    float *y = pictures(2, CSIZE), x[4 * CSIZE], loose[4 * CSIZE];
    const cm_images given = cm_images_f32(2, 3, CSIDE, CSIDE, y);
    OK(cm_sampler_colorize(s, &o, &given, COLOURS(4, x)));
    sampling.clip_output = CM_CLIP_NO;
    OK(cm_sampler_colorize(s, &o, &given, COLOURS(4, loose)));
    size_t beyond = 0, coloured = 0;
    for (size_t i = 0; i < 4; i++)
        for (size_t p = 0; p < CPLANE; p++) {
            double want = 0, got = 0, free_form = 0;
            for (size_t c = 0; c < 3; c++) {
                float v = x[i * CSIZE + c * CPLANE + p];
                want += w[c] * (double)y[i / 2 * CSIZE + c * CPLANE + p];
                got += w[c] * (double)v;
                free_form += w[c] * (double)loose[i * CSIZE + c * CPLANE + p];
                ck_assert(v >= -1 && v <= 1);
                beyond += fabs((double)loose[i * CSIZE + c * CPLANE + p]) > 1;
            }
            coloured += fabs((double)(x[i * CSIZE + p] - x[i * CSIZE + CPLANE + p])) > 0.05;
            ck_assert_msg(fabs(got - want) <= 3e-7 * sum, "luminance %g, given %g", got, want);
            ck_assert_double_le(fabs(free_form - want), 1e-6 * sum);
        }
    ck_assert_msg(beyond > 20 && coloured > 100, "%zu values out of range, %zu pixels coloured", beyond, coloured);
    /* A gray picture may come as one channel. */
    float gray[CPLANE], three[CSIZE], from_one[2 * CSIZE], from_three[2 * CSIZE];
    for (size_t p = 0; p < CPLANE; p++) gray[p] = three[p] = three[CPLANE + p] = three[2 * CPLANE + p] = y[p];
    const cm_images g1 = cm_images_f32(1, 1, CSIDE, CSIDE, gray), g3 = cm_images_f32(1, 3, CSIDE, CSIDE, three);
    sampling.clip_output = CM_CLIP_DEFAULT;
    OK(cm_sampler_colorize(s, &o, &g1, COLOURS(2, from_one)));
    OK(cm_sampler_colorize(s, &o, &g3, COLOURS(2, from_three)));
    for (size_t i = 0; i < 2 * CSIZE; i++) ck_assert_double_le(fabs((double)(from_one[i] - from_three[i])), 1e-5);
    free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

START_TEST(super_resolution_keeps_means)
{
    cm_model *m = load(1);
    cm_sampler *s = sampler(m, 2, 4);
    cm_edit_options o = options(1, 2);
    static const double sigmas[2] = {5, 0.5};
    sampling.sigmas = sigmas, sampling.sigma_count = 2;
    int32_t f = 2 << _i, side = CSIDE / f; /* 2, 4, 8, 16 */
    size_t small = (size_t)(side * side), varied = 0;
    float *y = pictures(2, 3 * small), x[4 * CSIZE];
    const cm_images given = cm_images_f32(2, 3, side, side, y);
    OK(cm_sampler_super_resolve(s, &o, &given, COLOURS(4, x)));
    for (size_t i = 0; i < 4; i++)
        for (size_t b = 0; b < 3 * small; b++) {
            double mean = 0;
            size_t c = b / small, row = b % small / (size_t)side * (size_t)f, column = b % (size_t)side * (size_t)f;
            float first = x[i * CSIZE + c * CPLANE + row * CSIDE + column];
            for (size_t k = 0; k < (size_t)(f * f); k++) {
                float v = x[i * CSIZE + c * CPLANE + (row + k / (size_t)f) * CSIDE + column + k % (size_t)f];
                ck_assert(v >= -1 && v <= 1);
                varied += fabs((double)(v - first)) > 0.01;
                mean += (double)v / (f * f);
            }
            ck_assert_msg(fabs(mean - (double)y[i / 2 * 3 * small + b]) <= 2e-7, "mean %g, given %g", mean,
                          (double)y[i / 2 * 3 * small + b]);
        }
    ck_assert_uint_gt(varied, CSIZE);
    free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* --- the other tasks -------------------------------------------------------------------------- */

START_TEST(strokes_and_noise)
{
    cm_model *m = load(0);
    cm_sampler *s = sampler(m, 2, 4);
    cm_edit_options o = options(0, 1);
    float *y = pictures(2, SIZE), x[2 * SIZE], d[2 * SIZE], level[2] = {0.5f, 0.5f};
    const cm_images given = cm_images_f32(2, 1, SIDE, SIDE, y);
    double far[2];
    for (int k = 0; k < 2; k++) { /* little noise: little change */
        o.sigma = k ? 20 : 0.01;
        sampling.steps = 1;
        OK(cm_sampler_stroke(s, &o, &given, GRAY(2, x)));
        far[k] = 0;
        for (int i = 0; i < 2 * SIZE; i++) far[k] += fabs((double)(x[i] - y[i])) / (2 * SIZE);
    }
    ck_assert_msg(far[0] < 0.05 && far[1] > 0.3, "mean change %g and %g", far[0], far[1]);
    o.sigma = 0.5;
    OK(cm_sampler_denoise(s, &o, &given, GRAY(2, x)));
    OK(cm_model_denoise(m, 2, y, level, labels, d)); /* the same call, not clamped */
    for (int i = 0; i < 2 * SIZE; i++) d[i] = d[i] < -1 ? -1 : d[i] > 1 ? 1 : d[i];
    ck_assert_mem_eq(x, d, sizeof x);
    sampling.steps = 3;
    OK(cm_sampler_denoise(s, &o, &given, GRAY(2, d)));
    ck_assert_mem_ne(x, d, sizeof x);
    free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* The four test digits as files of bytes, with noise of level sigma, cut or not. */
enum { DIGITS = 4 };
static const int32_t digit_labels[DIGITS] = {2, 4, 5, 7};

static void noisy_digits(double sigma, int bytes, float *clean, float *noisy)
{
    for (int k = 0; k < DIGITS; k++) {
        char path[80];
        int32_t channels = 1, height, width;
        uint8_t *pixels;
        float z[SIZE];
        const cm_stream stream = {77, (uint64_t)k, 0};
        snprintf(path, sizeof path, "tests/data/pictures/digit-%d.png", digit_labels[k]);
        OK(read_picture(NULL, path, &channels, &height, &width, &pixels));
        ck_assert(height == SIDE && width == SIDE);
        OK(bytes_to_floats(1, 1, SIDE, SIDE, pixels, clean + k * SIZE));
        free_pixels(NULL, pixels);
        cmi_stream_normal(&stream, SIZE, z);
        for (int i = 0; i < SIZE; i++) {
            float v = clean[k * SIZE + i] + (float)sigma * z[i];
            noisy[k * SIZE + i] = bytes ? (float)byte_of(v) / 127.5f - 1.0f : v;
        }
    }
}

static double rms(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return sqrt(sum / (double)n);
}

/* Noise cut at 0 and 255 is as well removed as whole noise, once its tail is back. */
START_TEST(cut_noise_is_put_back)
{
    static float clean[DIGITS * SIZE], noisy[DIGITS * SIZE], floats[DIGITS * SIZE], x[DIGITS * SIZE], again[2 * SIZE];
    cm_model *m = load(0);
    cm_sampler *s = sampler(m, 2, 4);
    const cm_images given = cm_images_f32(DIGITS, 1, SIDE, SIDE, noisy),
                    whole = cm_images_f32(DIGITS, 1, SIDE, SIDE, floats);
    for (double sigma = 0.1; sigma < 0.6; sigma += 0.2) {
        cm_edit_options o = options(0, 1);
        double left[3];
        noisy_digits(sigma, 1, clean, noisy);
        noisy_digits(sigma, 0, clean, floats);
        condition.labels = digit_labels;
        o.sigma = sigma;
        for (int k = 0; k < 3; k++) {
            o.cut = k == 1;
            OK(cm_sampler_denoise(s, &o, k < 2 ? &given : &whole, GRAY(DIGITS, x)));
            left[k] = rms(x, clean, DIGITS * SIZE);
        }
        ck_assert_msg(left[1] < 0.65 * left[0] && left[1] < 1.15 * left[2],
                      "sigma %g: rms %g left, %g with the tail, %g of floats", sigma, left[0], left[1], left[2]);
    }
    /* Noise of the image's own number: no batch changes it; another variation is another draw. */
    cm_edit_options o = options(0, 2);
    const cm_images second = cm_images_f32(1, 1, SIDE, SIDE, noisy + SIZE);
    static const int32_t twice[DIGITS * 2] = {2, 2, 4, 4, 5, 5, 7, 7};
    static float all[DIGITS * 2 * SIZE];
    o.sigma = 0.5, o.cut = 1;
    condition.labels = twice;
    OK(cm_sampler_denoise(s, &o, &given, GRAY(DIGITS * 2, all)));
    condition.labels = twice + 2;
    sampling.first_index = 2;
    OK(cm_sampler_denoise(s, &o, &second, GRAY(2, again)));
    ck_assert_mem_eq(again, all + 2 * SIZE, sizeof again);
    ck_assert_mem_ne(again, again + SIZE, SIZE * sizeof *again);
    o = options(0, 1);
    o.cut = 1, o.sigma = 0.5;
    FAILS(cm_sampler_denoise(s, &o, &whole, GRAY(DIGITS, x)), CM_ERR_ARGUMENT, "cut to [-1, 1]");
    FAILS(cm_sampler_stroke(s, &o, &given, GRAY(DIGITS, x)), CM_ERR_ARGUMENT, "cut has no effect on stroke");
    o.cut = 2;
    FAILS(cm_sampler_denoise(s, &o, &given, GRAY(DIGITS, x)), CM_ERR_ARGUMENT, "cut is 2");
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

#define V(c, h, w, x)                                                                                                \
    ((const cm_images){sizeof(cm_images), CM_F32, 1, (c), (h), (w), CM_LAYOUT_PLANAR, 0, 0, 0, 0, (x)})

START_TEST(noise_is_estimated)
{
    static float clean[DIGITS * SIZE], noisy[DIGITS * SIZE], tones[3 * SIZE];
    double found;
    for (int bytes = 0; bytes < 2; bytes++)
        for (double sigma = 0.1; sigma < 0.9; sigma *= 2) {
            noisy_digits(sigma, bytes, clean, noisy);
            for (int k = 0; k < DIGITS; k++) {
                OK(cm_image_noise_level(NULL, &V(1, SIDE, SIDE, noisy + k * SIZE), &found));
                ck_assert_msg(fabs(found / sigma - 1) < 0.2, "digit %d, bytes %d: %g of %g", digit_labels[k], bytes,
                              found, sigma);
            }
            if (bytes) continue;
            for (int i = 0; i < 3 * SIZE; i++) /* slopes of gray, three channels */
                tones[i] = (float)(i % SIDE) / 40 - 0.4f + (noisy[i] - clean[i]);
            OK(cm_image_noise_level(NULL, &V(3, SIDE, SIDE, tones), &found));
            ck_assert_msg(fabs(found / sigma - 1) < 0.1, "slopes: %g of %g", found, sigma);
        }
    for (int i = 0; i < SIZE; i++) tones[i] = 0.25f;
    OK(cm_image_noise_level(NULL, &V(1, SIDE, SIDE, tones), &found));
    ck_assert_double_eq(found, 0);
    for (int i = 0; i < SIZE; i++) tones[i] = -1;
    FAILS(cm_image_noise_level(NULL, &V(1, SIDE, SIDE, tones), &found), CM_ERR_ARGUMENT,
          "cannot be estimated: 0 values");
    tones[5] = NAN;
    FAILS(cm_image_noise_level(NULL, &V(1, SIDE, SIDE, tones), &found), CM_ERR_NUMERIC, "value 5");
    FAILS(cm_image_noise_level(NULL, &V(1, 0, SIDE, tones), &found), CM_ERR_ARGUMENT, "");
    FAILS(cm_image_noise_level(NULL, &V(1, 1, 1, clean), &found), CM_ERR_ARGUMENT, "cannot be estimated");
    FAILS(cm_image_noise_level(NULL, &V(1, SIDE, SIDE, NULL), &found), CM_ERR_ARGUMENT, "NULL");
}
END_TEST

START_TEST(interpolation)
{
    cm_model *m = load(0);
    cm_sampler *s = sampler(m, 2, 3);
    cm_edit_options o = options(0, 0);
    enum { FRAMES = 9 };
    static float x[FRAMES * SIZE], again[FRAMES * SIZE], ends[4 * SIZE];
    static const double sigmas[2] = {80, 1};
    for (int two = 0; two < 2; two++) {
        o.to = 3;
        int32_t threes[FRAMES];
        for (int i = 0; i < FRAMES; i++) threes[i] = 3;
        condition.labels = threes;
        sampling.sigmas = two ? sigmas : NULL, sampling.sigma_count = two ? 2 : 0;
        sampling.first_index = 10;
        OK(cm_sampler_interpolate(s, &o, GRAY(FRAMES, x)));
        OK(cm_sampler_run(s, &sampling, 4, ends)); /* images 10 to 13 */
        ck_assert_mem_eq(x, ends, SIZE * sizeof *x);
        if (!two) ck_assert_mem_eq(x + (FRAMES - 1) * SIZE, ends + 3 * SIZE, SIZE * sizeof *x);
        /* Neighbours are nearer than the ends. */
        double step = 0, whole = 0;
        for (int k = 0; k + 1 < FRAMES; k++)
            for (int i = 0; i < SIZE; i++)
                step += pow((double)(x[(k + 1) * SIZE + i] - x[k * SIZE + i]), 2) / (FRAMES - 1);
        for (int i = 0; i < SIZE; i++) whole += pow((double)(x[(FRAMES - 1) * SIZE + i] - x[i]), 2);
        ck_assert_msg(step < whole / 2, "neighbours %g, ends %g", step, whole);
        condition.labels = NULL; /* drawn once for all frames */
        OK(cm_sampler_interpolate(s, &o, GRAY(FRAMES, again)));
        cm_sampler *one = sampler(m, 1, 1);
        OK(cm_sampler_interpolate(one, &o, GRAY(FRAMES, x)));
        ck_assert_mem_eq(x, again, sizeof x);
        cm_sampler_free(one);
    }
    cm_edit_options_init(&o, sizeof o);
    OK(cm_sampler_interpolate(s, NULL, GRAY(2, x)));
    OK(cm_sampler_interpolate(s, &o, GRAY(2, again)));
    ck_assert_mem_eq(x, again, 2 * SIZE * sizeof *x);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* --- pictures of any layout ---------------------------------------------------------------- */

enum { LAYOUTS = 5 };

/* The same pictures in another form: 1 bytes, 2 bytes in a window's buffer (B, G, R, A, bottom up), 3 floats with
 * gaps, the channels together, 4 bytes with the channels apart. */
static cm_images laid_out(int form, size_t n, int32_t channels, int32_t side, const float *values,
                          unsigned char *room)
{
    const cm_images dense = cm_images_f32(n, channels, side, side, values);
    cm_images v = cm_images_u8(n, side, side, channels, room);
    if (form == 0) return dense;
    if (form == 2) {
        v.data = room + (side - 1) * side * 4 + 2;
        v.image_stride = side * side * 4, v.row_stride = -side * 4, v.pixel_stride = 4, v.channel_stride = -1;
    }
    if (form == 3) {
        v.dtype = CM_F32;
        v.data = room + 1;
        v.channel_stride = 4, v.pixel_stride = 4 * channels + 3, v.row_stride = side * v.pixel_stride + 5;
        v.image_stride = side * v.row_stride + 7;
    }
    if (form == 4) v.layout = CM_LAYOUT_PLANAR;
    OK(cm_images_convert(&dense, &v));
    return v;
}

/* Every task gives the same results whatever holds its pictures, and touches nothing but its results. */
START_TEST(any_layout_the_same_results)
{
    static float mask[3 * CPLANE], want[4 * CSIZE], got[4 * CSIZE], weights[2 * CSIZE];
    static unsigned char room[3][64 * CSIZE], before[2][64 * CSIZE];
    cm_model *m = load(1);
    cm_sampler *s = sampler(m, 1, 3);
    float *y = pictures(2, CSIZE);
    for (int i = 0; i < 3 * CPLANE; i++) mask[i] = (float)(i / 7 % 2);
    for (int task = 0; task < 5; task++)
        for (int form = 0; form < LAYOUTS; form++) {
            const int32_t side = task == 2 ? CSIDE / 2 : CSIDE;
            cm_edit_options o = options(1, 2);
            sampling.steps = 2;
            memset(room, 77, sizeof room);
            o.sigma = task >= 3 ? 2 : 0;
            const cm_images given = laid_out(form, 2, 3, side, y, room[0]);
            cm_images k = laid_out(form, 1, 3, CSIDE, mask, room[1]);
            const float *values = mask;
            if (form) { /* a mask of bytes is 255ths; one of floats is not in [-1, 1] but [0, 1] */
                for (int i = 0; i < 3 * CPLANE; i++) weights[i] = k.dtype == CM_U8 ? 2 * mask[i] - 1 : mask[i];
                values = weights;
            }
            k = laid_out(form, 1, 3, CSIDE, values, room[1]);
            memset(room[2], 77, sizeof room[2]);
            memcpy(before, room, sizeof before);
            cm_images out = laid_out(form, 4, 3, CSIDE, got, room[2]);
            memset(room[2], 77, sizeof room[2]);
            cm_status status = task == 0   ? cm_sampler_inpaint(s, &o, &given, &k, &out)
                               : task == 1 ? cm_sampler_colorize(s, &o, &given, &out)
                               : task == 2 ? cm_sampler_super_resolve(s, &o, &given, &out)
                               : task == 3 ? cm_sampler_stroke(s, &o, &given, &out)
                                           : cm_sampler_edit(s, (o.sigma = 0, &o), NULL, &given, &k, &out);
            OK(status);
            ck_assert_mem_eq(room, before, sizeof before);
            const cm_images dense = cm_images_f32(4, 3, CSIDE, CSIDE, got);
            if (form) OK(cm_images_convert(&out, &dense));
            if (form == 0) memcpy(want, got, sizeof want);
            for (int i = 0; i < 4 * CSIZE; i++) {
                float w = out.dtype == CM_U8 ? (float)byte_of(want[i]) / 127.5f - 1.0f : want[i];
                ck_assert_msg(got[i] == w, "task %d, form %d, value %d: %g, not %g", task, form, i, (double)got[i],
                              (double)w);
            }
            size_t touched = 0; /* only the values of the results are */
            for (size_t i = 0; i < sizeof room[2]; i++) touched += room[2][i] != 77;
            ck_assert_uint_le(touched, 4 * CSIZE * (out.dtype == CM_U8 ? 1 : 4));
        }
    free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* Results may be written over what was given; other numbers of results are refused. */
START_TEST(results_over_what_was_given)
{
    static float want[2 * CSIZE], mask[CPLANE];
    cm_model *m = load(1);
    cm_sampler *s = sampler(m, 1, 1);
    float *y = pictures(2, CSIZE);
    cm_edit_options o = options(1, 1), macro = CM_EDIT_OPTIONS_INIT, init;
    cm_edit_map map = CM_EDIT_MAP_INIT, map_init;
    cm_edit_options_init(&init, sizeof init);
    cm_edit_map_init(&map_init, sizeof map_init);
    ck_assert(memcmp(&macro, &init, sizeof init) == 0 && memcmp(&map, &map_init, sizeof map) == 0);
    sampling.steps = 2;
    for (int i = 0; i < CPLANE; i++) mask[i] = (float)(i % 2);
    const cm_images given = cm_images_f32(2, 3, CSIDE, CSIDE, y), k = cm_images_f32(1, 1, CSIDE, CSIDE, mask);
    OK(cm_sampler_inpaint(s, &o, &given, &k, COLOURS(2, want)));
    FAILS(cm_sampler_inpaint(s, &o, &given, &k, COLOURS(1, want)), CM_ERR_SHAPE, "1 results of 2 given images");
    o.variations = 2;
    FAILS(cm_sampler_inpaint(s, &o, &given, &k, COLOURS(2, want)), CM_ERR_SHAPE, "expected 4");
    o.variations = 1;
    FAILS(cm_sampler_inpaint(s, &o, &given, &k, AT(2, 1, CSIDE, want)), CM_ERR_SHAPE, "1 x 16 x 16");
    cm_images flat = *COLOURS(2, want);
    flat.row_stride = 4;
    FAILS(cm_sampler_inpaint(s, &o, &given, &k, &flat), CM_ERR_ARGUMENT, "same bytes");
    flat = *COLOURS(2, NULL);
    FAILS(cm_sampler_run_images(s, NULL, &flat), CM_ERR_ARGUMENT, "data is NULL");
    FAILS(cm_sampler_run_images(s, NULL, NULL), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_sampler_run_images(s, NULL, AT(2, 1, CSIDE, want)), CM_ERR_SHAPE, "1 x 16 x 16");
    OK(cm_sampler_inpaint(s, &o, &given, &k, &given));
    ck_assert_mem_eq(y, want, sizeof want);
    free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

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
    cm_sampler *s = sampler(m, 2, 4);
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
    cm_sampler *s = sampler(m, 1, 1);
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
    cm_sampler *one = sampler(m, 1, 1);
    cm_edit_options o = options(0, 3);
    static float want[9 * SIZE], x[9 * SIZE];
    float *y = pictures(3, SIZE);
    sampling.steps = 3;
    OK(run_task(one, _i, &o, 3, y, want));
    for (int threads = 1; threads <= by_effort(2, 8, 8); threads++) {
        cm_sampler *s = sampler(m, threads, batches[threads % 5]);
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
    cm_sampler *s = sampler(m, 2, 3);
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
    cm_sampler *s = sampler(m, 1, 1), *sc = sampler(colour, 1, 1);
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

/* --- masks and sizes of pictures ----------------------------------------------------------------------- */

START_TEST(alpha_is_read)
{
    /* Made by another program: 3 x 1 RGBA, gray + alpha, and a palette with a transparent entry. */
    static const struct {
        const char *name;
        int gray;
        uint8_t pixels[12];
    } files[] = {{"rgba.png", 0, {255, 0, 0, 255, 0, 255, 0, 128, 0, 0, 255, 0}},
                 {"gray_alpha.png", 1, {10, 255, 20, 128, 30, 0}},
                 {"palette.png", 0, {255, 0, 0, 0, 0, 255, 0, 255, 0, 0, 255, 255}},
                 {"opaque.jpg", 1, {100, 255, 100, 255, 100, 255}}};
    char path[128];
    uint8_t *q;
    int32_t c, h, w;
    for (size_t k = 0; k < 4; k++) {
        snprintf(path, sizeof path, "tests/data/pictures/%s", files[k].name);
        c = files[k].gray ? 2 : 4;
        OK(read_picture(NULL, path, &c, &h, &w, &q));
        ck_assert(h == 1 && w == 3 && c == (files[k].gray ? 2 : 4));
        ck_assert_msg(memcmp(q, files[k].pixels, (size_t)(3 * c)) == 0, "%s", path);
        free_pixels(NULL, q);
        c = 0;
        OK(read_picture(NULL, path, &c, &h, &w, &q)); /* without */
        ck_assert_int_eq(c, files[k].gray ? 1 : 3);
        free_pixels(NULL, q);
        if (!files[k].gray) continue;
        c = 4;
        OK(read_picture(NULL, path, &c, &h, &w, &q)); /* gray as colour */
        ck_assert(q[4] == q[5] && q[5] == q[6] && q[4] == files[k].pixels[2] && q[7] == files[k].pixels[3]);
        free_pixels(NULL, q);
    }
    c = 2;
    OK(read_picture(NULL, "tests/data/pictures/rgba.png", &c, &h, &w, &q)); /* colours as gray: luminance */
    for (int i = 0; i < 3; i++) {
        const uint8_t *v = files[0].pixels + 4 * i;
        ck_assert_int_eq(q[2 * i], (int)(0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2] + 0.5));
        ck_assert_int_eq(q[2 * i + 1], v[3]);
    }
    free_pixels(NULL, q);
    c = 5;
    FAILS(read_picture(NULL, "tests/data/pictures/rgba.png", &c, &h, &w, &q), CM_ERR_ARGUMENT, "0..4");
}
END_TEST

START_TEST(pictures_come_to_size)
{
    uint8_t in[4 * 8], out[6 * 6 * 3], row[6 * 2 * 3];
    for (int i = 0; i < 32; i++) in[i] = (uint8_t)(i % 8 < 4 ? 40 : 200); /* 4 high, 8 wide, two halves */
    OK(fit_bytes(NULL, CM_FIT_RESIZE, 0, 1, 4, 8, in, 4, 8, out));
    ck_assert_mem_eq(in, out, 32);
    OK(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 4, 8, in, 4, 4, out)); /* columns 2..5 */
    for (int i = 0; i < 16; i++) ck_assert_int_eq(out[i], i % 4 < 2 ? 40 : 200);
    OK(fit_bytes(NULL, CM_FIT_PAD, 7, 1, 4, 8, in, 6, 6, out)); /* 3 x 6 in the middle */
    for (int i = 0; i < 36; i++)
        if (i / 6 < 1 || i / 6 > 3) ck_assert_int_eq(out[i], 7);
        else if (i % 6 == 0 || i % 6 == 5) ck_assert_int_eq(out[i], i % 6 ? 200 : 40);
    /* The bytes of Pillow's BICUBIC. */
    static const uint8_t half[8] = {38, 51, 189, 202, 38, 51, 189, 202}, middle[6] = {40, 30, 59, 181, 210, 200};
    OK(fit_bytes(NULL, CM_FIT_RESIZE, 0, 1, 4, 8, in, 2, 4, out));
    ck_assert_mem_eq(out, half, 8);
    OK(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 4, 8, in, 6, 6, out)); /* 6 x 12, cut to its middle */
    for (int i = 0; i < 6; i++) ck_assert_mem_eq(out + 6 * i, middle, 6);
    /* Colour, one pixel, tall and flat pages. */
    const uint8_t pixel[3] = {1, 2, 3};
    OK(fit_bytes(NULL, CM_FIT_CROP, 0, 3, 1, 1, pixel, 2, 6, row));
    for (int i = 0; i < 36; i++) ck_assert_int_eq(row[i], pixel[i % 3]);
    OK(fit_bytes(NULL, CM_FIT_PAD, 9, 3, 1, 1, pixel, 6, 2, row));
    ck_assert(row[0] == 9 && row[2 * 2 * 3] == 1);
    FAILS(fit_bytes(NULL, 3, 0, 1, 4, 8, in, 4, 4, out), CM_ERR_ARGUMENT, "fit is 3");
    FAILS(fit_bytes(NULL, CM_FIT_CROP, 1, 1, 4, 8, in, 4, 4, out), CM_ERR_ARGUMENT, "background");
    FAILS(fit_bytes(NULL, CM_FIT_CROP, 0, 2, 4, 8, in, 4, 4, out), CM_ERR_SHAPE, "channels");
    FAILS(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 4, 8, in, 0, 4, out), CM_ERR_ARGUMENT, "1 x 0 x 4");
    FAILS(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 4, 8, NULL, 4, 4, out), CM_ERR_ARGUMENT, "NULL");
    static uint8_t tall[65535]; /* scaled to 524280 x 65535, of which one column is made: between 40 and 200 */
    OK(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 1, 8, in, 65535, 1, tall));
    for (int i = 0; i < 65535; i++) ck_assert_int_eq(tall[i], 120);
    FAILS(fit_bytes(NULL, CM_FIT_RESIZE, 0, 1, 4, 8, in, 65535, 65535, out), CM_ERR_LIMIT, "limits");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("edit");
    TCase *t = tcase_create("digits");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, inpainting_keeps_every_known_bit, 0, 2);
    tcase_add_test(t, masks_of_nothing_everything_and_half);
    tcase_add_test(t, strokes_and_noise);
    tcase_add_test(t, interpolation);
    tcase_add_loop_test(t, same_bits_for_threads_and_batches, 0, TASKS);
    tcase_add_test(t, callbacks_and_cancel);
    tcase_add_test(t, allocations_that_fail);
    suite_add_tcase(s, t);
    t = tcase_create("noise");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, cut_noise_is_put_back);
    suite_add_tcase(s, t);
    t = tcase_create("small"); /* a tiny network: for slow tools */
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, colorization_keeps_luminance, 0, 2);
    tcase_add_loop_test(t, super_resolution_keeps_means, 0, 4);
    tcase_add_test(t, the_general_form_is_the_others);
    tcase_add_test(t, noise_is_estimated);
    tcase_add_test(t, any_layout_the_same_results);
    tcase_add_test(t, results_over_what_was_given);
    tcase_add_test(t, maps_refused);
    tcase_add_test(t, input_refused);
    tcase_add_test(t, alpha_is_read);
    tcase_add_test(t, pictures_come_to_size);
    suite_add_tcase(s, t);
    return s;
}
