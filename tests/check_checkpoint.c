/* Files of tensors that are read as data: what they are said to be, their tensors, sets and notes, what does not fit
 * a network, and what a check finds. */
#define _GNU_SOURCE /* memmem */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/files.h"
#include "support/memory.h"
#include "support/torch_file.h"

#define FOLDER "tests/data/golden/checkpoints/"
#define DIGITS "tests/data/models/digits_consistency.safetensors"

static cm_checkpoint_info info_of(const cm_checkpoint *file)
{
    cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
    OK(cm_checkpoint_info_get(file, &info));
    return info;
}

static cm_checkpoint *opened(const char *path, const char *weights)
{
    cm_checkpoint *file;
    cm_checkpoint_options o = CM_CHECKPOINT_OPTIONS_INIT;
    o.weights = weights;
    OK(cm_checkpoint_open(NULL, path, &o, &file));
    return file;
}

/* A zip of PyTorch's with this pickle and storages 0 to 3 of two floats, 1 and 2. */
static cm_status open_pickle(const block *pickle, cm_checkpoint **out, block *zip)
{
    static const float values[2] = {1, 2};
    const member members[] = {{"a/data.pkl", pickle->bytes, pickle->size}, {"a/data/0", values, sizeof values},
                              {"a/data/1", values, sizeof values},         {"a/data/2", values, sizeof values},
                              {"a/data/3", values, sizeof values},         {"a/version", "3\n", 2}};
    *zip = zip_of(members, sizeof members / sizeof *members);
    return cm_checkpoint_open_memory(NULL, zip->bytes, zip->size, NULL, out);
}

/* --- what it is ------------------------------------------------------------------------------- */

START_TEST(a_model)
{
    cm_checkpoint *file = opened(DIGITS, NULL);
    cm_checkpoint_info i = info_of(file);
    cm_model_info m = CM_MODEL_INFO_INIT;
    ck_assert_int_eq(i.kind, CM_CHECKPOINT_MODEL);
    ck_assert_str_eq(i.format, "safetensors");
    ck_assert_str_eq(i.network, "songunet");
    ck_assert_ptr_null(i.problem);
    ck_assert_ptr_nonnull(strstr(i.about, "consistency model of images of 32 x 32"));
    ck_assert(i.bytes == 2996764 && i.tensor_bytes < i.bytes && i.tensor_bytes == 4 * i.values);
    OK(cm_model_info_get(cm_checkpoint_model(file), &m));
    ck_assert_uint_eq(m.parameters, 744401);
    cm_checkpoint_free(file);
}
END_TEST

START_TEST(tensors_of_nobody)
{
    cm_checkpoint *file;
    (void)cm_model_load(NULL, "nothing", NULL, &(cm_model *){NULL});
    char before[200];
    snprintf(before, sizeof before, "%.199s", cm_last_message());
    file = opened(FOLDER "odd_views.pt", NULL);
    ck_assert_str_eq(cm_last_message(), before); /* a success leaves it */
    cm_checkpoint_info i = info_of(file);
    ck_assert_int_eq(i.kind, CM_CHECKPOINT_TENSORS);
    ck_assert(!i.network && !i.precond && !cm_checkpoint_model(file));
    ck_assert_ptr_nonnull(strstr(i.problem, "has no configuration"));
    ck_assert(i.tensors == 17 && i.sets == 0);
    cm_checkpoint_free(file);
}
END_TEST

/* {"state": {0: {"step": 5, "exp_avg": tensor}}, "param_groups": [{"lr": 0.5}]} */
START_TEST(an_optimizer)
{
    block p = {NULL, 0, 0}, zip;
    cm_checkpoint *file;
    const char *name, *key, *value;
    PUT(&p, "\x80\2}(");
    put_text(&p, "state");
    PUT(&p, "}K\0}(");
    put_text(&p, "step");
    PUT(&p, "K\5");
    put_entry(&p, "exp_avg", "0");
    PUT(&p, "us"); /* both entries, then that of 0 */
    put_text(&p, "param_groups");
    PUT(&p, "]}");
    put_text(&p, "lr");
    PUT(&p, "G\x3f\xe0\0\0\0\0\0\0sau.");
    OK(open_pickle(&p, &file, &zip));
    cm_checkpoint_info i = info_of(file);
    ck_assert_int_eq(i.kind, CM_CHECKPOINT_OPTIMIZER);
    ck_assert_ptr_nonnull(strstr(i.about, "state of an optimizer"));
    ck_assert_ptr_nonnull(strstr(i.problem, "state of an optimizer"));
    ck_assert_uint_eq(i.tensors, 1);
    OK(cm_checkpoint_tensor(file, 0, &name, NULL, NULL, NULL));
    ck_assert_str_eq(name, "state.0.exp_avg");
    ck_assert_uint_eq(i.notes, 1); /* steps of single parameters are no settings */
    OK(cm_checkpoint_note(file, 0, &key, &value));
    ck_assert_str_eq(key, "param_groups.0.lr");
    ck_assert_str_eq(value, "0.5");
    cm_checkpoint_free(file);
    FAILS(cm_model_load_memory(NULL, zip.bytes, zip.size, NULL, &(cm_model *){NULL}), CM_ERR_UNSUPPORTED,
          "optimizer");
    free(zip.bytes);
    free(p.bytes);
}
END_TEST

/* {"generator": {"w"}, "discriminator": {"w", "x"}, "epoch": 3}: all of them by their paths, or one by its name. */
START_TEST(dictionaries)
{
    block p = {NULL, 0, 0}, zip;
    cm_checkpoint *file;
    const char *key, *value;
    size_t at;
    PUT(&p, "\x80\2}(");
    put_text(&p, "generator");
    PUT(&p, "}(");
    put_entry(&p, "w", "0");
    PUT(&p, "u");
    put_text(&p, "discriminator");
    PUT(&p, "}(");
    put_entry(&p, "w", "1");
    put_entry(&p, "x", "2");
    PUT(&p, "u");
    put_text(&p, "epoch");
    PUT(&p, "K\3u.");
    OK(open_pickle(&p, &file, &zip));
    cm_checkpoint_info i = info_of(file);
    ck_assert(i.kind == CM_CHECKPOINT_TENSORS && i.tensors == 3 && i.sets == 2);
    ck_assert_str_eq(cm_checkpoint_set_name(file, 1), "discriminator");
    ck_assert_ptr_null(cm_checkpoint_set_name(file, 2));
    ck_assert_ptr_null(i.weights);
    OK(cm_checkpoint_find(file, "discriminator.x", &at));
    ck_assert_uint_eq(at, 2);
    OK(cm_checkpoint_note(file, 0, &key, &value));
    ck_assert_str_eq(key, "epoch");
    cm_checkpoint_free(file);
    cm_checkpoint_options o = CM_CHECKPOINT_OPTIONS_INIT;
    o.weights = "generator";
    OK(cm_checkpoint_open_memory(NULL, zip.bytes, zip.size, &o, &file));
    ck_assert_str_eq(info_of(file).weights, "generator");
    ck_assert_uint_eq(info_of(file).tensors, 1);
    cm_checkpoint_free(file);
    o.weights = "nobody";
    FAILS(cm_checkpoint_open_memory(NULL, zip.bytes, zip.size, &o, &file), CM_ERR_ARGUMENT, "no weights 'nobody'");
    free(zip.bytes);
    free(p.bytes);
}
END_TEST

/* Values that contain each other end; dictionaries named again and again do not become more tensors than there can
 * be. */
START_TEST(circles)
{
    block p = {NULL, 0, 0}, zip;
    cm_checkpoint *file;
    PUT(&p, "\x80\2}q\1(");
    put_text(&p, "inner");
    PUT(&p, "}q\2(");
    put_entry(&p, "w", "0");
    PUT(&p, "u");
    for (int k = 0; k < 3; k++) {
        put_text(&p, k == 0 ? "a" : k == 1 ? "b" : "c");
        PUT(&p, "h\1");
    }
    PUT(&p, "u.");
    FAILS(open_pickle(&p, &file, &zip), CM_ERR_LIMIT, "in each other");
    free(zip.bytes);
    p.size = 0;
    PUT(&p, "\x80\2}(");
    put_text(&p, "inner");
    PUT(&p, "}q\2(");
    put_entry(&p, "w", "0");
    PUT(&p, "u");
    for (int k = 0; k < 5000; k++) {
        char name[12];
        snprintf(name, sizeof name, "%x", k);
        put_text(&p, name);
        PUT(&p, "h\2");
    }
    PUT(&p, "u.");
    FAILS(open_pickle(&p, &file, &zip), CM_ERR_LIMIT, "in each other");
    free(zip.bytes);
    free(p.bytes);
}
END_TEST

/* --- what does not fit ------------------------------------------------------------------------ */

/* The digits with one text of the header in place of another of the same length. */
static cm_status open_changed(const char *from, const char *to, block *kept, cm_checkpoint **out)
{
    kept->bytes = read_bytes(DIGITS, &kept->size);
    unsigned char *at = memmem(kept->bytes, kept->size, from, strlen(from));
    ck_assert_ptr_nonnull(at);
    memcpy(at, to, strlen(to));
    return cm_checkpoint_open_memory(NULL, kept->bytes, kept->size, NULL, out);
}

START_TEST(misfits)
{
    static const struct {
        const char *from, *to, *words[3];
    } rows[] = {
        {"\"map_layer0.weight\"",
         "\"map_layre0.weight\"",
         {"1 missing: map_layer0.weight (nearest in the file: 'map_layre0.weight')",
          "1 extra: map_layre0.weight (did you mean 'map_layer0.weight'?)", "0 mismatched"}},
        {"\"model_channels\\\":", "\"model_channelz\\\":", {"model_channelz", "unknown", "consistency.network"}},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        block b;
        cm_checkpoint *file;
        cm_checkpoint_report r = CM_CHECKPOINT_REPORT_INIT;
        OK(open_changed(rows[k].from, rows[k].to, &b, &file));
        cm_checkpoint_info i = info_of(file);
        ck_assert_int_eq(i.kind, CM_CHECKPOINT_MISFIT);
        for (int w = 0; w < 3; w++)
            ck_assert_msg(strstr(i.problem, rows[k].words[w]) != NULL, "'%s' lacks '%s'", i.problem,
                          rows[k].words[w]);
        OK(cm_checkpoint_check(file, NULL, &r));
        ck_assert(!r.is_sound && r.findings == 1);
        cm_checkpoint_free(file);
        ck_assert_int_ne(cm_model_load_memory(NULL, b.bytes, b.size, NULL, &(cm_model *){NULL}), CM_OK);
        ck_assert_ptr_nonnull(strstr(cm_last_message(), rows[k].words[0]));
        free(b.bytes);
    }
}
END_TEST

/* Some words that ask for a network of twenty thousand tensors: refused before it is described. */
START_TEST(a_giant)
{
    static const char header[] =
        "{\"__metadata__\":{\"consistency.format\":\"1\",\"consistency.precond\":\"{\\\"type\\\":\\\"ecm\\\"}\","
        "\"consistency.network\":\"{\\\"type\\\":\\\"songunet\\\",\\\"img_resolution\\\":4096,\\\"img_channels\\\":3,"
        "\\\"model_channels\\\":16,\\\"channel_mult\\\":[1,1,1,1,1,1,1,1,1,1,1,1],\\\"num_blocks\\\":64}\"}}";
    block b = {NULL, 0, 0};
    memory counted;
    cm_context *own;
    cm_checkpoint *file;
    put_number(&b, sizeof header - 1, 8);
    PUT(&b, header);
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    OK(cm_context_create(&o, &own));
    OK(cm_checkpoint_open_memory(own, b.bytes, b.size, NULL, &file));
    ck_assert_int_eq(info_of(file).kind, CM_CHECKPOINT_MISFIT);
    ck_assert_ptr_nonnull(strstr(info_of(file).problem, "more than 12384 tensors: the file has 0"));
    ck_assert_int_lt(counted.peak, 1 << 20);
    cm_checkpoint_free(file);
    cm_context_free(own);
    free(b.bytes);
}
END_TEST

/* --- tensors ---------------------------------------------------------------------------------- */

START_TEST(values)
{
    cm_checkpoint *file = opened(FOLDER "odd_views.pt", NULL);
    size_t at;
    int32_t rank, dtype;
    int64_t shape[8];
    double doubles[2];
    float floats[24];
    OK(cm_checkpoint_find(file, "f64", &at));
    OK(cm_checkpoint_tensor(file, at, NULL, &rank, shape, &dtype));
    ck_assert(rank == 1 && shape[0] == 2 && shape[1] == 0 && dtype == CM_F64);
    OK(cm_checkpoint_read(file, at, sizeof doubles, doubles));
    OK(cm_checkpoint_read_f32(file, at, 2, floats));
    for (int k = 0; k < 2; k++) ck_assert((float)doubles[k] == floats[k]);
    OK(cm_checkpoint_find(file, "transposed", &at));
    OK(cm_checkpoint_read_f32(file, at, 24, floats));
    OK(cm_checkpoint_find(file, "empty", &at));
    OK(cm_checkpoint_read(file, at, 0, NULL));
    FAILS(cm_checkpoint_read(file, at, 4, floats), CM_ERR_ARGUMENT, "has 0 bytes, asked for 4");
    FAILS(cm_checkpoint_read_f32(file, 0, 3, floats), CM_ERR_ARGUMENT, "has 24 values, asked for 3");
    FAILS(cm_checkpoint_read(file, 17, 4, floats), CM_ERR_ARGUMENT, "the checkpoint has 17");
    FAILS(cm_checkpoint_find(file, "transpose", &at), CM_ERR_ARGUMENT, "did you mean 'transposed'?");
    FAILS(cm_checkpoint_tensor(NULL, 0, NULL, NULL, NULL, NULL), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_checkpoint_note(file, 99, &(const char *){NULL}, &(const char *){NULL}), CM_ERR_ARGUMENT, "note index");
    cm_checkpoint_free(file);
}
END_TEST

/* --- checks ----------------------------------------------------------------------------------- */

typedef struct {
    char text[300];
    int count, stop_at;
} told;

static void on_found(void *user, const char *finding)
{
    told *t = user;
    snprintf(t->text, sizeof t->text, "%s", finding);
    t->count++;
}

static int32_t on_progress(void *user, uint64_t done, uint64_t total)
{
    const told *t = user;
    ck_assert(done <= total);
    return t->stop_at > 0;
}

START_TEST(checks)
{
    told t = {.count = 0};
    cm_checkpoint_check_options o = CM_CHECKPOINT_CHECK_OPTIONS_INIT;
    cm_checkpoint_report r = CM_CHECKPOINT_REPORT_INIT;
    cm_checkpoint *file = opened(FOLDER "odd_views.pt", NULL);
    o.progress = on_progress;
    o.found = on_found;
    o.progress_user = o.found_user = &t;
    OK(cm_checkpoint_check(file, &o, &r));
    ck_assert(r.is_sound && t.count == 1 && r.findings == 1); /* it says of no network that it is in it */
    ck_assert(r.nan_values == 1 && r.infinite_values == 1 && r.nonfinite_tensors == 1);
    ck_assert(r.checksums == 14 && r.without_checksum == 0);
    ck_assert_ptr_nonnull(strstr(t.text, "tensor 'special' has values that are not finite: 1 NaN and 1 infinite"));
    t.stop_at = 1;
    FAILS(cm_checkpoint_check(file, &o, &r), CM_ERR_CANCELLED, "progress");
    cm_checkpoint_free(file);
    file = opened(FOLDER "small_crc_zero.pt", NULL);
    OK(cm_checkpoint_check(file, NULL, &r));
    ck_assert(r.is_sound && r.without_checksum == 1);
    cm_checkpoint_free(file);
}
END_TEST

/* Weights of a model that are not finite: it opens, and is not sound. */
START_TEST(a_model_with_nan)
{
    block b;
    cm_checkpoint *file;
    cm_checkpoint_report r = CM_CHECKPOINT_REPORT_INIT;
    const float bad[2] = {NAN, INFINITY};
    b.bytes = read_bytes(DIGITS, &b.size);
    memcpy(b.bytes + b.size - sizeof bad, bad, sizeof bad);
    OK(cm_checkpoint_open_memory(NULL, b.bytes, b.size, NULL, &file));
    ck_assert_int_eq(info_of(file).kind, CM_CHECKPOINT_MODEL);
    OK(cm_checkpoint_check(file, NULL, &r));
    ck_assert(!r.is_sound && r.nan_values == 1 && r.infinite_values == 1 && r.findings >= 1);
    cm_checkpoint_free(file);
    free(b.bytes);
}
END_TEST

START_TEST(arguments)
{
    cm_checkpoint *file = (cm_checkpoint *)&file;
    cm_checkpoint_options o = CM_CHECKPOINT_OPTIONS_INIT;
    FAILS(cm_checkpoint_open(NULL, NULL, NULL, &file), CM_ERR_ARGUMENT, "path is NULL");
    ck_assert_ptr_null(file);
    FAILS(cm_checkpoint_open(NULL, "x", NULL, NULL), CM_ERR_ARGUMENT, "out is NULL");
    FAILS(cm_checkpoint_open(NULL, "/nonexistent", NULL, &file), CM_ERR_IO, "/nonexistent");
    FAILS(cm_checkpoint_open_memory(NULL, "x", 0, NULL, &file), CM_ERR_ARGUMENT, "size is 0");
    o.reserved = 1;
    FAILS(cm_checkpoint_open(NULL, DIGITS, &o, &file), CM_ERR_ARGUMENT, "reserved");
    o.reserved = 0;
    o.weights = "ema";
    FAILS(cm_checkpoint_open(NULL, DIGITS, &o, &file), CM_ERR_ARGUMENT, "holds one set");
    o.weights = NULL;
    o.config_json = "{\"network\": {\"type\": \"adm\"}}";
    ck_assert_int_ne(cm_checkpoint_open(NULL, DIGITS, &o, &file), CM_OK); /* what is given has to fit */
    cm_checkpoint_free(NULL);
    ck_assert_ptr_null(cm_checkpoint_set_name(NULL, 0));
    ck_assert_ptr_null(cm_checkpoint_model(NULL));
}
END_TEST

Suite *make_suite(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *c = tcase_create("checkpoint");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_model);
    tcase_add_test(c, tensors_of_nobody);
    tcase_add_test(c, an_optimizer);
    tcase_add_test(c, dictionaries);
    tcase_add_test(c, circles);
    tcase_add_test(c, misfits);
    tcase_add_test(c, a_giant);
    tcase_add_test(c, values);
    tcase_add_test(c, checks);
    tcase_add_test(c, a_model_with_nan);
    tcase_add_test(c, arguments);
    suite_add_tcase(suite, c);
    return suite;
}
