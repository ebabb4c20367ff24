/* Statistics and samples in .npz files: written, read, and refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/npz.h"
#include "support/files.h"
#include "support/score_sets.h"
#include "support/scratch.h"

/* --- statistics -------------------------------------------------------------------------------- */

START_TEST(statistics_through_a_file)
{
    enum { D = 5, S = 3 };
    float *x = random_rows(seeded(70), 20, D, 3), *z = random_rows(seeded(71), 20, S, 3);
    cm_statistics *a = statistics_of(context, 20, D, x), *b = statistics_of(context, 20, S, z), *back;
    double before[D * (D + 1)], after[D * (D + 1)];
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    const char *path = in_dir("both.npz");
    OK(cm_statistics_write(a, b, path, CM_OVERWRITE_NO));
    FAILS(cm_statistics_write(a, b, path, CM_OVERWRITE_NO), CM_ERR_IO, "both.npz");
    OK(cm_statistics_write(a, b, path, CM_OVERWRITE_YES));
    OK(cm_statistics_read(NULL, path, NULL, &back));
    OK(cm_statistics_info_get(back, &info));
    ck_assert_uint_eq(info.count, 20);
    OK(cm_statistics_values(a, before, before + D));
    OK(cm_statistics_values(back, after, after + D));
    ck_assert_mem_eq(after, before, sizeof before);
    ck_assert_double_le(distance_of(a, back), 1e-12);
    cm_statistics_free(back);
    OK(cm_statistics_read(context, path, "_s", &back));
    OK(cm_statistics_info_get(back, &info));
    ck_assert_int_eq(info.dimension, S);
    OK(cm_statistics_values(b, before, before + S));
    OK(cm_statistics_values(back, after, after + S));
    ck_assert_mem_eq(after, before, S * (S + 1) * sizeof *before);
    cm_statistics_free(back);
    cm_statistics_free(a);
    OK(cm_statistics_create(context, D, &a));
    FAILS(cm_statistics_write(a, NULL, in_dir("none.npz"), CM_OVERWRITE_NO), CM_ERR_STATE, "0 images");
    ck_assert_int_ne(access(in_dir("none.npz"), F_OK), 0);
    cm_statistics_free(a);
    cm_statistics_free(b);
    free(x), free(z);
}
END_TEST

/* Statistics of one feature that is wrong in one way. */
static const char *write_arrays(const char *name, size_t n, const cm_npz_array *arrays)
{
    const char *path = in_dir(name);
    OK(cmi_npz_write(context, path, 1, arrays, n));
    return path;
}

START_TEST(statistics_that_are_refused)
{
    const double mean[2] = {1, 2}, covariance[4] = {1, 0, 0, 1}, bad[4] = {1, 0, NAN, 1}, half = 2.5;
    const uint8_t pixels[12] = {0};
    const cm_npz_array mu = {"mu", "<f8", 1, {2}, 8, mean}, sigma = {"sigma", "<f8", 2, {2, 2}, 8, covariance};
    const cm_npz_array flat = {"sigma", "<f8", 1, {4}, 8, covariance}, one = {"mu", "<f8", 1, {1}, 8, mean};
    const cm_npz_array nan = {"sigma", "<f8", 2, {2, 2}, 8, bad},
                       images = {"arr_0", "|u1", 4, {1, 2, 2, 3}, 1, pixels};
    const cm_npz_array square = {"mu", "<f8", 2, {2, 2}, 8, covariance};
    cm_statistics *s;
    OK(cm_statistics_read(context, write_arrays("good.npz", 2, (cm_npz_array[]){mu, sigma}), NULL, &s));
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    OK(cm_statistics_info_get(s, &info));
    ck_assert_uint_eq(info.count, 0);
    cm_statistics_free(s);
#define REFUSED(status, word, ...)                                                                                   \
    do {                                                                                                             \
        const cm_npz_array list[] = {__VA_ARGS__};                                                                   \
        FAILS(cm_statistics_read(context, write_arrays("bad.npz", sizeof list / sizeof *list, list), NULL, &s),      \
              status, word);                                                                                         \
        ck_assert_ptr_null(s);                                                                                       \
    } while (0)
    REFUSED(CM_ERR_FORMAT, "no array 'sigma'", mu);
    REFUSED(CM_ERR_FORMAT, "no array 'mu'", sigma);
    REFUSED(CM_ERR_FORMAT, "not 2 x 2", mu, flat);
    REFUSED(CM_ERR_FORMAT, "not 1 x 1", one, sigma);
    REFUSED(CM_ERR_FORMAT, "no vector", square, sigma);
    REFUSED(CM_ERR_NUMERIC, ".npz: statistics: value (1, 0)", mu, nan);
    REFUSED(CM_ERR_FORMAT, "holds images", images);
    REFUSED(CM_ERR_FORMAT, "count is no number", mu, sigma, {"count", "<f8", 0, {0}, 8, &half});
    FAILS(cm_statistics_read(context, in_dir("good.npz"), "_a_suffix_of_more_than_32_characters", &s),
          CM_ERR_ARGUMENT, "at most 32");
    FAILS(cm_statistics_read(context, in_dir("absent.npz"), NULL, &s), CM_ERR_IO, "absent.npz");
    FAILS(cm_statistics_read(context, in_dir("good.npz"), "_s", &s), CM_ERR_FORMAT, "mu_s");
    write_bytes(in_dir("text.npz"), "no zip archive", 14);
    FAILS(cm_statistics_read(context, in_dir("text.npz"), NULL, &s), CM_ERR_FORMAT, "text.npz");
    size_t size;
    unsigned char *bytes = read_bytes(in_dir("good.npz"), &size);
    for (size_t cut = 0; cut < size; cut += 7) {
        write_bytes(in_dir("cut.npz"), bytes, cut);
        ck_assert_int_ne(cm_statistics_read(context, in_dir("cut.npz"), NULL, &s), CM_OK);
    }
    for (size_t at = 0; at < size; at++) { /* whatever a flip does, the values that come are the right ones */
        double m[2], c[4];
        bytes[at] ^= 0x10;
        write_bytes(in_dir("flip.npz"), bytes, size);
        bytes[at] ^= 0x10;
        if (cm_statistics_read(context, in_dir("flip.npz"), NULL, &s) != CM_OK) continue;
        OK(cm_statistics_values(s, m, c));
        ck_assert_mem_eq(m, mean, sizeof m);
        ck_assert_mem_eq(c, covariance, sizeof c);
        cm_statistics_free(s);
    }
    free(bytes);
}
END_TEST

/* Statistics with the network that they are of, of which others may have as many features. */
START_TEST(statistics_of_a_network)
{
    enum { D = 64 };
    float *x = random_rows(seeded(72), 80, D, 3);
    const char *path = in_dir("marked.npz");
    cm_features *lenet, *resnet;
    cm_features_info net = CM_FEATURES_INFO_INIT;
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    cm_statistics *a = statistics_of(context, 80, D, x), *b = statistics_of(context, 80, D, x), *back, *narrow;
    double distance;
    OK(cm_features_open(context, "models/features/lenet.safetensors", NULL, &lenet));
    OK(cm_features_open(context, "models/features/resnet20.safetensors", NULL, &resnet));
    OK(cm_features_info_get(lenet, &net));
    OK(cm_statistics_info_get(a, &info));
    ck_assert(!info.network && !info.weights);
    OK(cm_statistics_mark(a, lenet));
    OK(cm_statistics_mark(a, lenet));
    OK(cm_statistics_write(a, NULL, path, CM_OVERWRITE_NO));
    OK(cm_statistics_read(context, path, NULL, &back));
    OK(cm_statistics_info_get(back, &info));
    ck_assert_str_eq(info.network, "lenet");
    ck_assert_str_eq(info.weights, net.weights);
    OK(cm_statistics_mark(back, lenet));
    FAILS(cm_statistics_mark(back, resnet), CM_ERR_ARGUMENT, "the network lenet and of resnet20");
    OK(cm_frechet_distance(back, b, &distance)); /* nobody knows what b is of */
    OK(cm_statistics_mark(b, resnet));
    FAILS(cm_frechet_distance(back, b, &distance), CM_ERR_ARGUMENT, "the network lenet and of resnet20");
    FAILS(cm_statistics_merge(a, b), CM_ERR_ARGUMENT, "do not compare");
    FAILS(cm_statistics_write(a, b, path, CM_OVERWRITE_YES), CM_ERR_ARGUMENT, "do not compare");
    OK(cm_statistics_create(context, D, &narrow));
    OK(cm_statistics_merge(narrow, b)); /* nothing becomes what is merged into it */
    FAILS(cm_statistics_mark(narrow, lenet), CM_ERR_ARGUMENT, "resnet20 and of lenet");
    cm_statistics_free(narrow);
    OK(cm_statistics_create(context, D - 1, &narrow));
    FAILS(cm_statistics_mark(narrow, lenet), CM_ERR_SHAPE, "63 features");
    cm_statistics_free(narrow);
    cm_statistics_free(back);
    cm_statistics_free(a);
    cm_statistics_free(b);
    cm_features_free(lenet);
    cm_features_free(resnet);
    free(x);
}
END_TEST

/* The same network with other weights, and texts that are none. */
START_TEST(networks_in_files_of_statistics)
{
    const double mean[2] = {1, 2}, covariance[4] = {1, 0, 0, 1};
    const cm_npz_array mu = {"mu", "<f8", 1, {2}, 8, mean}, sigma = {"sigma", "<f8", 2, {2, 2}, 8, covariance};
    const cm_npz_array network = cmi_npz_text("network", "lenet"), weights = cmi_npz_text("weights", "12");
    const cm_npz_array others = cmi_npz_text("weights", "34"), number = {"network", "<f8", 1, {2}, 8, mean};
    char long_text[80];
    memset(long_text, 'x', sizeof long_text);
    long_text[79] = '\0';
    const cm_npz_array too_long = cmi_npz_text("network", long_text);
    cm_statistics *a, *b;
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    double distance;
    OK(cm_statistics_read(context, write_arrays("a.npz", 4, (cm_npz_array[]){mu, sigma, network, weights}), NULL,
                          &a));
    OK(cm_statistics_read(context, write_arrays("b.npz", 4, (cm_npz_array[]){mu, sigma, network, others}), NULL, &b));
    FAILS(cm_frechet_distance(a, b, &distance), CM_ERR_ARGUMENT, "weights 12 and with the weights 34");
    cm_statistics_free(a);
    cm_statistics_free(b);
    OK(cm_statistics_read(context, write_arrays("a.npz", 3, (cm_npz_array[]){mu, sigma, network}), NULL, &a));
    OK(cm_statistics_info_get(a, &info));
    ck_assert_ptr_null(info.network); /* one without the other says nothing */
    cm_statistics_free(a);
    FAILS(
        cm_statistics_read(context, write_arrays("a.npz", 4, (cm_npz_array[]){mu, sigma, number, weights}), NULL, &a),
        CM_ERR_FORMAT, "a.npz: network is no text");
    FAILS(cm_statistics_read(context, write_arrays("a.npz", 4, (cm_npz_array[]){mu, sigma, too_long, weights}), NULL,
                             &a),
          CM_ERR_FORMAT, "79 bytes");
}
END_TEST

/* --- samples ----------------------------------------------------------------------------------- */

START_TEST(samples_through_a_file)
{
    static float x[3 * 4 * 5 * 3];
    static uint8_t back[4 * 5 * 3];
    const int32_t labels[3] = {7, 0, 123456};
    int32_t found[3];
    uint64_t seed = seeded(95);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)random_int(&seed, 0, 255) / 127.5f - 1;
    const cm_images images = cm_images_f32(3, 3, 4, 5, x);
    const char *path = in_dir("samples.npz");
    cm_samples_options o = CM_SAMPLES_OPTIONS_INIT;
    OK(cm_samples_write(context, path, &images, labels, NULL));
    FAILS(cm_samples_write(context, path, &images, labels, NULL), CM_ERR_IO, "samples.npz");
    cm_npz *npz;
    cm_npy array;
    OK(cmi_npz_open(context, path, &npz));
    OK(cmi_npz_read(npz, "arr_0", &array));
    ck_assert(array.rank == 4 && array.shape[0] == 3 && array.shape[1] == 4 && array.shape[2] == 5 &&
              array.shape[3] == 3 && array.kind == 'u' && array.bytes == 1);
    for (size_t n = 0; n < 3; n++) /* n, y, x, c of n, c, y, x */
        for (size_t i = 0; i < 60; i++)
            ck_assert_double_eq(cmi_npy_value(&array, n * 60 + i),
                                roundf((x[n * 60 + i % 3 * 20 + i / 3] + 1) * 127.5f));
    OK(cmi_npz_read(npz, "arr_1", &array));
    for (size_t i = 0; i < 3; i++) found[i] = (int32_t)cmi_npy_value(&array, i);
    ck_assert_mem_eq(found, labels, sizeof labels);
    cmi_npz_close(npz);
    o.overwrite = CM_OVERWRITE_YES;
    o.rounding = CM_ROUNDING_DOWN;
    OK(cm_samples_write(context, path, &images, NULL, &o));
    OK(cmi_npz_open(context, path, &npz));
    ck_assert(!cmi_npz_has(npz, "arr_1"));
    OK(cmi_npz_read(npz, "arr_0", &array));
    for (size_t n = 0; n < 3; n++)
        for (size_t i = 0; i < 60; i++)
            ck_assert_double_eq(cmi_npy_value(&array, n * 60 + i),
                                floorf((x[n * 60 + i % 3 * 20 + i / 3] + 1.0f) * 127.5f));
    cmi_npz_close(npz);
    const cm_images bytes = cm_images_u8(1, 4, 5, 3, back);
    FAILS(cm_samples_write(context, path, &bytes, NULL, &o), CM_ERR_ARGUMENT, "no effect on bytes");
    o.rounding = 2;
    FAILS(cm_samples_write(context, path, &images, NULL, &o), CM_ERR_ARGUMENT, "rounding is 2");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("metric_files");
    TCase *t = tcase_create("metric_files");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, statistics_through_a_file);
    tcase_add_test(t, statistics_that_are_refused);
    tcase_add_test(t, statistics_of_a_network);
    tcase_add_test(t, networks_in_files_of_statistics);
    tcase_add_test(t, samples_through_a_file);
    suite_add_tcase(s, t);
    return s;
}
