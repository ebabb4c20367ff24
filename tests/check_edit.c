/* Editing: what is kept stays kept, and every task gives the same results whatever holds its pictures. */
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

/* --- what is kept -------------------------------------------------------------------------- */

START_TEST(inpainting_keeps_every_known_bit)
{
    cm_model *m = load(_i);
    cm_sampler *s = sampler_of(m, 2, 4);
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
    cm_sampler *s = sampler_of(m, 2, 4);
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
    cm_sampler *s = sampler_of(m, 2, 4);
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
    cm_sampler *s = sampler_of(m, 2, 4);
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
    cm_sampler *s = sampler_of(m, 2, 4);
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
    sampling.temperature = 0.5; /* of no noise */
    FAILS(cm_sampler_denoise(s, &o, &given, GRAY(2, x)), CM_ERR_ARGUMENT,
          "option temperature has no effect on denoise");
    sampling.temperature = 1;
    OK(cm_sampler_denoise(s, &o, &given, GRAY(2, x)));
    ck_assert_mem_eq(x, d, sizeof x);
    sampling.temperature = 0;
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
    cm_sampler *s = sampler_of(m, 2, 4);
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
    cm_sampler *s = sampler_of(m, 2, 3);
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
        sampling.temperature = 0.5; /* of both ends */
        OK(cm_sampler_interpolate(s, &o, GRAY(FRAMES, again)));
        OK(cm_sampler_run(s, &sampling, 4, ends));
        ck_assert_mem_eq(again, ends, SIZE * sizeof *x);
        ck_assert_mem_ne(again, x, SIZE * sizeof *x);
        sampling.temperature = 0;
        /* Neighbours are nearer than the ends. */
        double step = 0, whole = 0;
        for (int k = 0; k + 1 < FRAMES; k++)
            for (int i = 0; i < SIZE; i++)
                step += pow((double)(x[(k + 1) * SIZE + i] - x[k * SIZE + i]), 2) / (FRAMES - 1);
        for (int i = 0; i < SIZE; i++) whole += pow((double)(x[(FRAMES - 1) * SIZE + i] - x[i]), 2);
        ck_assert_msg(step < whole / 2, "neighbours %g, ends %g", step, whole);
        condition.labels = NULL; /* drawn once for all frames */
        OK(cm_sampler_interpolate(s, &o, GRAY(FRAMES, again)));
        cm_sampler *one = sampler_of(m, 1, 1);
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
    cm_sampler *s = sampler_of(m, 1, 3);
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
    cm_sampler *s = sampler_of(m, 1, 1);
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

Suite *make_suite(void)
{
    Suite *s = suite_create("edit");
    TCase *t = tcase_create("digits");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, inpainting_keeps_every_known_bit, 0, 2);
    tcase_add_test(t, masks_of_nothing_everything_and_half);
    tcase_add_test(t, strokes_and_noise);
    tcase_add_test(t, interpolation);
    suite_add_tcase(s, t);
    t = tcase_create("noise");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, cut_noise_is_put_back);
    suite_add_tcase(s, t);
    t = tcase_create("small"); /* a tiny network: for slow tools */
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, colorization_keeps_luminance, 0, 2);
    tcase_add_loop_test(t, super_resolution_keeps_means, 0, 4);
    tcase_add_test(t, noise_is_estimated);
    tcase_add_test(t, any_layout_the_same_results);
    tcase_add_test(t, results_over_what_was_given);
    suite_add_tcase(s, t);
    return s;
}
