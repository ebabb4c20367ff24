/* LPIPS of pairs: in every form of images, with its gradient and its map; weights and images that are refused. */
#include <math.h>

#include "support/backbone.h"
#include "support/each_request.h"
#include "support/scratch.h"

enum { SIDE = 35, PAIRS = 3, POINTS = SIDE * SIDE };
static const char lin_file[] = "models/features/lpips_lin.safetensors";

/* The same pairs as bytes and as values, one at a time, gray and in three channels. */
START_TEST(lpips_of_pairs)
{
    static uint8_t gray[2][PAIRS * POINTS], colour[2][PAIRS * POINTS * 3];
    static float values[2][PAIRS * POINTS * 3], slope[PAIRS * POINTS * 3], gray_slope[PAIRS * POINTS], map[POINTS];
    double first[PAIRS], other[PAIRS];
    float layers[PAIRS * 5];
    cm_lpips *lpips;
    cm_images a[2], b[2];
    uint64_t seed = seeded(8);
    OK(backbone_write(context, in_dir("alex.safetensors")));
    OK(cm_lpips_open(context, NULL, in_dir("alex.safetensors"), lin_file, NULL, &lpips));
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < PAIRS * POINTS; i++) {
            gray[k][i] = (uint8_t)random_int(&seed, 0, 255);
            for (int c = 0; c < 3; c++) {
                colour[k][3 * i + c] = gray[k][i];
                values[k][(i / POINTS * 3 + c) * POINTS + i % POINTS] = (float)gray[k][i] / 127.5f - 1;
            }
        }
    for (int k = 0; k < 2; k++) a[k] = cm_images_u8(PAIRS, SIDE, SIDE, 3, colour[k]);
    OK(cm_lpips_run(lpips, &a[0], &a[1], first, layers, NULL));
    for (int i = 0; i < PAIRS; i++) {
        double sum = 0;
        for (int k = 0; k < 5; k++) sum += (double)layers[5 * i + k];
        ck_assert(first[i] > 0 && fabs(sum - first[i]) < 1e-12);
    }
    for (int k = 0; k < 2; k++) b[k] = cm_images_f32(PAIRS, 3, SIDE, SIDE, values[k]);
    OK(cm_lpips_gradient(lpips, &b[0], &b[1], other, slope));
    ck_assert(memcmp(first, other, sizeof first) == 0);
    for (int k = 0; k < 2; k++) b[k] = cm_images_u8(PAIRS, SIDE, SIDE, 1, gray[k]);
    OK(cm_lpips_gradient(lpips, &b[0], &b[1], other, gray_slope));
    ck_assert(memcmp(first, other, sizeof first) == 0);
    for (int i = 0; i < POINTS; i++) {
        const double sum = (double)slope[i] + (double)slope[POINTS + i] + (double)slope[2 * POINTS + i];
        ck_assert(fabs((double)gray_slope[i] - sum) < 1e-6);
    }
    OK(cm_lpips_run(lpips, &b[0], &b[0], other, NULL, NULL));
    for (int i = 0; i < PAIRS; i++) ck_assert(other[i] == 0);
    a[0].n = a[1].n = 1;
    OK(cm_lpips_run(lpips, &a[1], &a[0], other, NULL, map));
    ck_assert(other[0] == first[0]);
    double mean = 0;
    for (int i = 0; i < POINTS; i++) mean += (double)map[i] / POINTS;
    ck_assert_msg(fabs(mean / first[0] - 1) < 0.2, "the map's mean is %g, the distance %g", mean, first[0]);
    cm_lpips_free(lpips);
}
END_TEST

START_TEST(lpips_is_refused)
{
    static float values[2][3 * POINTS];
    cm_lpips *lpips;
    double distance;
    cm_lpips_options o = CM_LPIPS_OPTIONS_INIT;
    const char *path = in_dir("alex.safetensors");
    cm_images a = cm_images_f32(1, 3, SIDE, SIDE, values[0]), b = cm_images_f32(1, 3, SIDE, SIDE - 1, values[1]);
    OK(backbone_write(context, path));
    FAILS(cm_lpips_open(context, NULL, path, NULL, NULL, &lpips), CM_ERR_FORMAT, "lin weights besides");
    FAILS(cm_lpips_open(context, "vgg", path, lin_file, NULL, &lpips), CM_ERR_FORMAT, "is no vgg");
    FAILS(cm_lpips_open(context, "vgg19", path, lin_file, NULL, &lpips), CM_ERR_ARGUMENT, "vgg, alex or squeeze");
    FAILS(cm_lpips_open(context, NULL, lin_file, lin_file, NULL, &lpips), CM_ERR_FORMAT, "no network of LPIPS");
    FAILS(cm_lpips_open(context, NULL, path, "models/features/lenet.safetensors", NULL, &lpips), CM_ERR_FORMAT,
          "lin0");
    FAILS(cm_lpips_open(context, NULL, in_dir("none"), lin_file, NULL, &lpips), CM_ERR_IO, "none");
    o.uniform = 1;
    FAILS(cm_lpips_open(context, NULL, path, lin_file, &o, &lpips), CM_ERR_ARGUMENT, "no effect");
    o.resize = 3;
    FAILS(cm_lpips_open(context, NULL, path, NULL, &o, &lpips), CM_ERR_ARGUMENT, "resize is 3");
    o.resize = 0;
    OK(cm_lpips_open(context, NULL, path, NULL, &o, &lpips));
    FAILS(cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL), CM_ERR_SHAPE, "34");
    b.height = b.width = a.height = a.width = 20;
    FAILS(cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL), CM_ERR_SHAPE, "20 x 20 are too small for alex");
    a = b = cm_images_f32(1, 3, SIDE, SIDE, values[0]);
    values[0][7] = NAN;
    FAILS(cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL), CM_ERR_NUMERIC, "pair 0");
    values[0][7] = 0; /* and it can go on */
    OK(cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL));
    cm_lpips_free(lpips);
}
END_TEST

static cm_status compare_pair(cm_context *c, const char *path)
{
    static float values[2][3 * POINTS], slope[3 * POINTS];
    const cm_images a = cm_images_f32(1, 3, SIDE, SIDE, values[0]), b = cm_images_f32(1, 3, SIDE, SIDE, values[1]);
    cm_lpips *lpips = NULL;
    double distance;
    cm_status status = cm_lpips_open(c, NULL, path, lin_file, NULL, &lpips);
    if (status == CM_OK) status = cm_lpips_run(lpips, &a, &b, &distance, NULL, NULL);
    if (status == CM_OK) status = cm_lpips_gradient(lpips, &a, &b, &distance, slope);
    cm_lpips_free(lpips);
    return status;
}

START_TEST(memory_of_pairs)
{
    OK(backbone_write(context, in_dir("alex.safetensors")));
    fail_each_request(compare_pair, in_dir("alex.safetensors"), 40);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("lpips");
    TCase *t = tcase_create("lpips");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, lpips_of_pairs);
    tcase_add_test(t, lpips_is_refused);
    tcase_add_test(t, memory_of_pairs);
    suite_add_tcase(s, t);
    return s;
}
