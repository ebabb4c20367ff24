/* Feature networks at work: those of small images and Inception, on any number of threads, with weights that are
 * refused, and features that are kept in a file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/npz.h"
#include "io/tensors.h"
#include "nets/checkpoint.h"
#include "support/each_request.h"
#include "support/files.h"
#include "support/formula_weights.h"
#include "support/scratch.h"

/* --- networks of small images ------------------------------------------------------------------ */

static const char *const networks[] = {"lenet", "resnet20", "resnet56"};

static cm_features *open_network(cm_context *c, const char *name)
{
    char path[128];
    cm_features *f = NULL;
    snprintf(path, sizeof path, "models/features/%s.safetensors", name);
    OK(cm_features_open(c, path, NULL, &f));
    return f;
}

/* Rows do not depend on the images beside them, on threads, or on the form of the images. */
START_TEST(features_of_images)
{
    enum { N = 19 };
    for (size_t t = 0; t < 2; t++) {
        cm_features_info info = CM_FEATURES_INFO_INIT;
        cm_features *f = open_network(context, networks[t]);
        OK(cm_features_info_get(f, &info));
        ck_assert_str_eq(info.network, networks[t]);
        ck_assert_uint_eq(strlen(info.weights), 32);
        const size_t c = (size_t)info.channels, side = (size_t)info.height, d = (size_t)info.features;
        const size_t values = c * side * side;
        uint8_t *bytes = malloc(N * values);
        float *x = malloc(N * values * sizeof *x), *all = malloc(N * d * sizeof *all), *one = malloc(d * sizeof *one);
        float *logits = malloc(N * 10 * sizeof *logits);
        uint64_t seed = seeded(80 + t);
        for (size_t i = 0; i < N * values; i++) bytes[i] = (uint8_t)random_int(&seed, 0, 255);
        const cm_images pictures = cm_images_u8(N, info.height, info.width, info.channels, bytes);
        cm_images floats = cm_images_f32(N, info.channels, info.height, info.width, x);
        OK(cm_images_convert(&pictures, &floats));
        OK(cm_features_run(f, &pictures, all, logits));
        for (int threads = 1; threads <= 3; threads += 2) {
            cm_context_options o = CM_CONTEXT_OPTIONS_INIT;
            cm_context *other;
            o.threads = threads;
            OK(cm_context_create(&o, &other));
            cm_features *g = open_network(other, networks[t]);
            for (size_t i = 0; i < N; i++) {
                const cm_images single = cm_images_f32(1, info.channels, info.height, info.width, x + i * values);
                OK(cm_features_run(g, &single, one, NULL));
                ck_assert_mem_eq(one, all + i * d, d * sizeof *one);
            }
            cm_features_free(g);
            cm_context_free(other);
        }
        for (size_t i = 0; i < N * d; i++) ck_assert(all[i] >= 0); /* behind a relu */
        OK(cm_features_run(f, &pictures, NULL, NULL));
        floats.height--;
        FAILS(cm_features_run(f, &floats, all, NULL), CM_ERR_SHAPE, networks[t]);
        cm_features_free(f);
        free(bytes), free(x), free(all), free(one), free(logits);
    }
}
END_TEST

START_TEST(padded_digits_count_in_the_middle)
{
    static uint8_t small[28 * 28], large[32 * 32];
    float a[64], b[64];
    uint64_t seed = seeded(90);
    for (size_t i = 0; i < sizeof small; i++) small[i] = (uint8_t)random_int(&seed, 0, 255);
    memset(large, 77, sizeof large); /* the edge is not looked at */
    for (size_t row = 0; row < 28; row++) memcpy(large + (row + 2) * 32 + 2, small + row * 28, 28);
    cm_features *f = open_network(context, "lenet");
    const cm_images own = cm_images_u8(1, 28, 28, 1, small), padded = cm_images_u8(1, 32, 32, 1, large);
    OK(cm_features_run(f, &own, a, NULL));
    OK(cm_features_run(f, &padded, b, NULL));
    ck_assert_mem_eq(a, b, sizeof a);
    cm_features_free(f);
}
END_TEST

/* The hash of weights follows from the tensors, in whatever order a file has them. */
START_TEST(weights_in_another_order)
{
    cm_tensors file;
    cm_tensor turned[8];
    cm_features_info own = CM_FEATURES_INFO_INIT, other = CM_FEATURES_INFO_INIT;
    OK(cmi_tensors_open_file(context, "models/features/lenet.safetensors", CM_INPUT_IN_PLACE, &file));
    ck_assert_uint_eq(file.count, 8);
    for (size_t i = 0; i < 8; i++) turned[i] = file.tensors[7 - i];
    OK(cmi_checkpoint_write(context, in_dir("turned.safetensors"), 1, NULL, turned, 8, NULL));
    cmi_tensors_close(&file);
    OK(cmi_tensors_open_file(context, in_dir("turned.safetensors"), CM_INPUT_IN_PLACE, &file));
    ck_assert_str_ne(file.tensors[0].name, "conv1.weight");
    cmi_tensors_close(&file);
    cm_features *f = open_network(context, "lenet"), *g;
    OK(cm_features_open(context, in_dir("turned.safetensors"), NULL, &g));
    OK(cm_features_info_get(f, &own));
    OK(cm_features_info_get(g, &other));
    ck_assert_str_eq(own.weights, other.weights);
    cm_features_free(f);
    cm_features_free(g);
}
END_TEST

START_TEST(weights_that_are_refused)
{
    cm_features *f;
    FAILS(cm_features_open(context, "models/features/resnet20.safetensors", "resnet56", &f), CM_ERR_FORMAT,
          "is no resnet56");
    ck_assert_ptr_null(f);
    FAILS(cm_features_open(context, "models/features/resnet56.safetensors", "resnet20", &f), CM_ERR_FORMAT,
          "277 tensors");
    FAILS(cm_features_open(context, "models/features/lenet.safetensors", "resnet20", &f), CM_ERR_FORMAT,
          "conv1.weight");
    FAILS(cm_features_open(context, "models/features/lenet.safetensors", "vgg", &f), CM_ERR_ARGUMENT, "vgg");
    FAILS(cm_features_open(context, "tests/data/models/digits_teacher.safetensors", NULL, &f), CM_ERR_FORMAT,
          "no feature network");
    FAILS(cm_features_open(context, in_dir("absent"), NULL, &f), CM_ERR_IO, "absent");
    size_t size;
    unsigned char *bytes = read_bytes("models/features/lenet.safetensors", &size);
    memset(bytes + size - 4, 0xff, 4); /* the last value becomes NaN */
    write_bytes(in_dir("nan.safetensors"), bytes, size);
    FAILS(cm_features_open(context, in_dir("nan.safetensors"), NULL, &f), CM_ERR_NUMERIC, "NaN");
    write_bytes(in_dir("cut.safetensors"), bytes, size - 1);
    ck_assert_int_ne(cm_features_open(context, in_dir("cut.safetensors"), NULL, &f), CM_OK);
    free(bytes);
}
END_TEST

/* What is no number must not become a byte. */
START_TEST(images_that_are_not_finite)
{
    static float x[2 * 3 * 32 * 32], rows[2 * 64];
    cm_features *f = open_network(context, "resnet20");
    const cm_images images = cm_images_f32(2, 3, 32, 32, x);
    cm_feature_rows wanted = CM_FEATURE_ROWS_INIT;
    wanted.values = rows;
    OK(cm_features_run(f, &images, rows, NULL));
    x[3 * 1024 + 1024 + 5 * 32 + 7] = NAN;
    FAILS(cm_features_run(f, &images, rows, NULL), CM_ERR_NUMERIC,
          "image 1 is NaN or infinite at row 5, column 7, channel 1");
    FAILS(cm_features_run_rows(f, &images, &wanted), CM_ERR_NUMERIC, "image 1");
    FAILS(cm_samples_write(context, in_dir("nan.npz"), &images, NULL, NULL), CM_ERR_NUMERIC, "image 1");
    x[3 * 1024 + 1024 + 5 * 32 + 7] = -INFINITY;
    FAILS(cm_features_run(f, &images, rows, NULL), CM_ERR_NUMERIC, "image 1");
    cm_features_free(f);
}
END_TEST

/* --- the Inception network --------------------------------------------------------------------- */

/* With weights by the names of either layout. */
static const char *inception_file(const char *layout)
{
    char keys[128];
    const char *path = in_dir("inception.safetensors");
    snprintf(keys, sizeof keys, "tests/data/golden/metrics/keys_inception_%s.tsv", layout);
    FILE *out = fopen(path, "w");
    ck_assert(out && write_formula_weights(keys, out));
    ck_assert_int_eq(fclose(out), 0);
    return path;
}

enum { INCEPTION_N = 6, INCEPTION_H = 40, INCEPTION_W = 24, INCEPTION_BYTES = INCEPTION_H * INCEPTION_W * 3 };

/* Rows do not depend on slices, threads or other outputs that are asked for. */
static void inception_bits(const char *path, const cm_images *pictures, const uint8_t *bytes)
{
    static float all[INCEPTION_N * 2048], one[2048], scores[1008], spatial[2023];
    for (int threads = 1; threads <= 2; threads++) {
        cm_context_options o = CM_CONTEXT_OPTIONS_INIT;
        cm_context *other;
        cm_features *f;
        o.threads = threads;
        OK(cm_context_create(&o, &other));
        OK(cm_features_open(other, path, NULL, &f));
        OK(cm_features_run(f, pictures, all, NULL));
        for (size_t i = 0; i < pictures->n; i += 2) {
            const cm_images single = cm_images_u8(1, INCEPTION_H, INCEPTION_W, 3, bytes + i * INCEPTION_BYTES);
            cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
            rows.values = one, rows.scores = scores, rows.spatial = spatial;
            OK(cm_features_run_rows(f, &single, &rows));
            ck_assert_mem_eq(one, all + i * 2048, sizeof one);
        }
        cm_features_free(f);
        cm_context_free(other);
    }
}

/* In short: one layout and two images, since an image takes the better part of a minute under valgrind. */
START_TEST(inception)
{
    static const char *const layouts[] = {"pytorch_fid", "openai"}, *const names[] = {"inception-pytorch",
                                                                                      "inception"};
    static uint8_t bytes[INCEPTION_N * INCEPTION_BYTES];
    static float a[2048], b[2048], logits[1008], scores[1008];
    uint64_t seed = seeded(97);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)random_int(&seed, 0, 255);
    const cm_images pictures = cm_images_u8(INCEPTION_N, INCEPTION_H, INCEPTION_W, 3, bytes);
    const cm_images first = cm_images_u8(1, INCEPTION_H, INCEPTION_W, 3, bytes);
    for (size_t t = 0; t < (size_t)by_effort(1, 2, 2); t++) {
        const char *path = inception_file(layouts[t]);
        cm_features *f, *g;
        cm_features_info info = CM_FEATURES_INFO_INIT;
        cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
        OK(cm_features_open(context, path, NULL, &f));
        OK(cm_features_info_get(f, &info));
        ck_assert_str_eq(info.network, names[t]);
        ck_assert(info.resizes && info.features == 2048 && info.classes == 1008 && info.spatial == 2023);
        ck_assert(info.early[0] == 64 && info.early[1] == 192 && info.early[2] == 768);
        if (t == 0 && by_effort(0, 1, 1)) inception_bits(path, &pictures, bytes);
        /* The other convention with the same weights: close, not the same. */
        OK(cm_features_open(context, path, names[1 - t], &g));
        rows.values = a, rows.logits = logits, rows.scores = scores;
        OK(cm_features_run_rows(f, &first, &rows));
        OK(cm_features_run(g, &first, b, NULL));
        double apart = 0, whole = 0;
        for (int i = 0; i < 2048; i++) {
            apart += pow((double)a[i] - (double)b[i], 2);
            whole += pow((double)a[i], 2);
        }
        ck_assert(apart > 1e-10 * whole && apart < 0.25 * whole);
        /* Logits are scores and the bias. */
        for (int i = 0; i < 1008; i++) {
            const float bias = formula_weight(t ? "output.bias" : "fc.bias", 1, 1, (size_t)i);
            ck_assert(fabs((double)logits[i] - (double)scores[i] - (double)bias) < 1e-5);
        }
        cm_features_free(g);
        cm_features_free(f);
    }
}
END_TEST

START_TEST(inception_is_refused)
{
    static uint8_t bytes[8 * 8 * 3];
    float few[2048];
    size_t size;
    cm_features *f;
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    const cm_images gray = cm_images_u8(1, 8, 8, 1, bytes), colour = cm_images_u8(1, 32, 32, 3, bytes);
    const char *path = inception_file("openai");
    OK(cm_features_open(context, path, "inception", &f));
    FAILS(cm_features_run(f, &gray, few, NULL), CM_ERR_SHAPE, "1 channels");
    cm_features_free(f);
    f = open_network(context, "resnet20");
    rows.spatial = few;
    FAILS(cm_features_run_rows(f, &colour, &rows), CM_ERR_ARGUMENT, "spatial");
    rows.spatial = NULL;
    rows.reserved = 1;
    FAILS(cm_features_run_rows(f, &colour, &rows), CM_ERR_ARGUMENT, "reserved");
    cm_features_free(f);
    unsigned char *file = read_bytes(path, &size);
    memcpy(file + 8 + 2, "layers.carv", 11); /* a wrong name */
    write_bytes(in_dir("named.safetensors"), file, size);
    FAILS(cm_features_open(context, in_dir("named.safetensors"), "inception", &f), CM_ERR_FORMAT, "no tensor");
    free(file);
    FAILS(cm_features_open(context, "models/features/resnet56.safetensors", "inception", &f), CM_ERR_FORMAT,
          "is no inception");
}
END_TEST

/* --- kept features ----------------------------------------------------------------------------- */

/* What is written is what is read, and only by the network that it is of. */
START_TEST(features_through_a_file)
{
    enum { N = 5 };
    static uint8_t bytes[N * 32 * 32 * 3];
    static float values[N * 64], logits[N * 10], back[N * 64], logits_back[N * 10];
    const int32_t labels[N] = {3, 0, -1, 9, 2};
    int32_t found[N];
    size_t n = 0, size;
    uint64_t seed = seeded(99);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)random_int(&seed, 0, 255);
    const cm_images images = cm_images_u8(N, 32, 32, 3, bytes);
    const char *path = in_dir("features.npz");
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT, to = CM_FEATURE_ROWS_INIT;
    cm_features *f = open_network(context, "resnet20"), *g = open_network(context, "resnet56");
    rows.values = values, rows.logits = logits, to.values = back, to.logits = logits_back;
    OK(cm_features_run_rows(f, &images, &rows));
    OK(cm_features_write(f, path, N, &rows, labels, CM_OVERWRITE_NO));
    FAILS(cm_features_write(f, path, N, &rows, labels, CM_OVERWRITE_NO), CM_ERR_IO, "features.npz");
    OK(cm_features_read(f, path, &n, NULL, NULL));
    ck_assert_uint_eq(n, N);
    OK(cm_features_read(f, path, &n, &to, found));
    ck_assert_mem_eq(back, values, sizeof back);
    ck_assert_mem_eq(logits_back, logits, sizeof logits);
    ck_assert_mem_eq(found, labels, sizeof found);
    n = N - 1;
    FAILS(cm_features_read(f, path, &n, &to, NULL), CM_ERR_ARGUMENT, "5 images");
    FAILS(cm_features_read(g, path, &n, NULL, NULL), CM_ERR_ARGUMENT, "do not compare");
    FAILS(cm_features_read(f, "models/features/lenet-train.npz", &n, NULL, NULL), CM_ERR_FORMAT, "no features");
    FAILS(cm_features_read(f, path, &n, NULL, found), CM_ERR_ARGUMENT, "without rows");
    FAILS(cm_features_write(f, path, N, &rows, labels, 7), CM_ERR_ARGUMENT, "overwrite is 7");
    FAILS(cm_features_write(f, in_dir("huge.npz"), SIZE_MAX / 2, &rows, NULL, 0), CM_ERR_LIMIT, "features");
    FAILS(cm_features_write(f, in_dir("huge.npz"), SIZE_MAX / 64 / sizeof(float), &rows, NULL, 0), CM_ERR_LIMIT,
          "features");
    const float last = logits[10 * N - 1];
    logits[10 * N - 1] = NAN;
    FAILS(cm_features_write(f, path, N, &rows, labels, CM_OVERWRITE_YES), CM_ERR_NUMERIC,
          "logits: feature 9 of image 4 is nan");
    logits[10 * N - 1] = last;
    float damaged[N * 64];
    cm_features_info info = CM_FEATURES_INFO_INIT;
    memcpy(damaged, values, sizeof damaged);
    damaged[64] = INFINITY;
    OK(cm_features_info_get(f, &info));
    const cm_npz_array kept[] = {{"features", "<f4", 2, {N, 64}, 4, damaged},
                                 {"logits", "<f4", 2, {N, 10}, 4, logits},
                                 {"network", "|u1", 1, {strlen(info.network)}, 1, info.network},
                                 {"weights", "|u1", 1, {32}, 1, info.weights}};
    OK(cmi_npz_write(context, in_dir("infinite.npz"), 1, kept, 4));
    n = N;
    FAILS(cm_features_read(f, in_dir("infinite.npz"), &n, &to, NULL), CM_ERR_NUMERIC,
          "infinite.npz: features: feature 0 of image 1 is inf");
    rows.logits = NULL, n = N;
    OK(cm_features_write(f, path, N, &rows, NULL, CM_OVERWRITE_YES));
    FAILS(cm_features_read(f, path, &n, &to, NULL), CM_ERR_FORMAT, "logits");
    to.logits = NULL;
    OK(cm_features_read(f, path, &n, &to, found));
    ck_assert_int_eq(found[0], -1);
    rows.spatial = values;
    FAILS(cm_features_write(f, path, N, &rows, NULL, CM_OVERWRITE_YES), CM_ERR_ARGUMENT, "spatial");
    rows.values = rows.spatial = NULL;
    FAILS(cm_features_write(f, path, N, &rows, NULL, CM_OVERWRITE_YES), CM_ERR_ARGUMENT, "values");
    /* Damage is told of, or changes nothing that is read. */
    unsigned char *file = read_bytes(path, &size);
    for (size_t i = 0; i < size; i += 7) {
        file[i] ^= 1u << i % 8;
        write_bytes(in_dir("damaged.npz"), file, size);
        n = N;
        if (cm_features_read(f, in_dir("damaged.npz"), &n, &to, NULL) == CM_OK)
            ck_assert_mem_eq(back, values, sizeof back);
        file[i] ^= 1u << i % 8;
    }
    free(file);
    cm_features_free(g);
    cm_features_free(f);
}
END_TEST

/* Features through a file. */
static cm_status keep_features(cm_context *c, const char *path)
{
    static uint8_t pixels[3 * 28 * 28];
    static float values[3 * 64], logits[3 * 10];
    const cm_images images = cm_images_u8(3, 28, 28, 1, pixels);
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    cm_features *network = NULL;
    size_t n = 3;
    rows.values = values, rows.logits = logits;
    cm_status status = cm_features_open(c, "models/features/lenet.safetensors", NULL, &network);
    if (status == CM_OK) status = cm_features_run_rows(network, &images, &rows);
    if (status == CM_OK) status = cm_features_write(network, path, n, &rows, NULL, CM_OVERWRITE_YES);
    if (status == CM_OK) status = cm_features_read(network, path, &n, &rows, NULL);
    cm_features_free(network);
    return status;
}

START_TEST(memory_of_kept_features)
{
    fail_each_request(keep_features, in_dir("kept-memory.npz"), 20);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("features");
    TCase *t = tcase_create("features");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, features_of_images);
    tcase_add_test(t, padded_digits_count_in_the_middle);
    tcase_add_test(t, weights_in_another_order);
    tcase_add_test(t, weights_that_are_refused);
    tcase_add_test(t, images_that_are_not_finite);
    tcase_add_test(t, inception);
    tcase_add_test(t, inception_is_refused);
    tcase_add_test(t, features_through_a_file);
    tcase_add_test(t, memory_of_kept_features);
    suite_add_tcase(s, t);
    return s;
}
