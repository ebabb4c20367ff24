/* Hostile and damaged snapshots: refused for the right reason, within a bound of memory. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/damage.h"
#include "support/snapshot_file.h"

static cm_context *context;

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    cm_context_free(context);
}

/* --- hostile files ---------------------------------------------------------------------------------- */

static void refuse(block *b, cm_status status, const char *words)
{
    cm_tensors t;
    FAILS(open_bytes(context, "x.pkl", b->bytes, b->size, &t), status, words);
    ck_assert_ptr_nonnull(strstr(cm_last_message(), "x.pkl"));
    free(b->bytes);
    *b = (block){NULL, 0, 0};
}

/* {"ema": a module of class C whose one parameter w is described by what follows} */
static block with_parameter(const block *tensor)
{
    block b = {NULL, 0, 0};
    PUT(&b, "\x80\4}(");
    put_text(&b, "ema");
    begin_object(&b, "SongUNet");
    PUT(&b, "}(");
    put_text(&b, "_parameters"), PUT(&b, "}"), put_text(&b, "w");
    put(&b, tensor->bytes, tensor->size);
    PUT(&b, "su" END_OBJECT "u.");
    return b;
}

/* One of two floats from these bytes. */
static block with_stream(const block *stream)
{
    block b = {NULL, 0, 0};
    PUT(&b, "ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\n(");
    put_bytes(&b, stream);
    PUT(&b, "tRK\0K\2\x85K\1\x85\x89}tR");
    block all = with_parameter(&b);
    free(b.bytes);
    return all;
}

static block changed_stream(const char *from, size_t n, const char *to)
{
    const float values[2] = {1, 2};
    block stream = storage_stream(values, 2, 0, 0);
    size_t i = 0;
    while (i + n <= stream.size && memcmp(stream.bytes + i, from, n) != 0) i++;
    ck_assert(i + n <= stream.size);
    memcpy(stream.bytes + i, to, n);
    block b = with_stream(&stream);
    free(stream.bytes);
    return b;
}

START_TEST(reasons)
{
    const float values[2] = {1, 2};
    block stream = storage_stream(values, 2, 0, 0), b = with_stream(&stream);
    cm_tensors t;
    float got[2];
    OK(open_bytes(context, "x.pkl", b.bytes, b.size, &t));
    ck_assert_str_eq(t.tensors[0].name, "w");
    OK(cmi_tensor_read(&t.tensors[0], got));
    ck_assert(got[0] == 1 && got[1] == 2);
    cmi_tensors_close(&t);
    PUT(&b, "x");
    refuse(&b, CM_ERR_FORMAT, "1 bytes behind");
    stream.size--;
    b = with_stream(&stream);
    refuse(&b, CM_ERR_FORMAT, "the stream at byte");
    stream.size = 20;
    b = with_stream(&stream);
    refuse(&b, CM_ERR_FORMAT, "truncated");
    stream.size = 0;
    b = with_stream(&stream);
    refuse(&b, CM_ERR_FORMAT, "truncated");
    free(stream.bytes);
    b = changed_stream("\x6c\xfc", 2, "\x6c\xfd");
    refuse(&b, CM_ERR_FORMAT, "LONG1");
    b = changed_stream("\xe9\3", 2, "\xe9\4");
    refuse(&b, CM_ERR_FORMAT, "protocol");
    b = changed_stream("little", 6, "Little");
    refuse(&b, CM_ERR_FORMAT, "little-endian");
    b = changed_stream("FloatStorage\nX", 14, "ByteStorage\nX\1");
    refuse(&b, CM_ERR_FORMAT, "BINUNICODE");
    b = changed_stream("7a.", 3, "8a.");
    refuse(&b, CM_ERR_FORMAT, "list its one storage");
    b = changed_stream("J\2", 2, "J\3");
    refuse(&b, CM_ERR_FORMAT, "3 elements");
    b = changed_stream("NtQ.", 4, "QtN.");
    refuse(&b, CM_ERR_FORMAT, "BINPERSID");
    b = changed_stream("ctorch\nFloatStorage\n", 20, "cposix\nsystem\nNNNNNN");
    refuse(&b, CM_ERR_FORMAT, "posix system");
}
END_TEST

#define META(middle) "\x80\4}(X\3\0\0\0emactorch_utils.persistence\n_reconstruct_persistent_obj\n(}(" middle "utRu."
#define TYPE "X\4\0\0\0typeX\5\0\0\0class"
#define VERSION "X\7\0\0\0versionK\6"
#define CLASS "X\12\0\0\0class_nameX\1\0\0\0C"

START_TEST(descriptions)
{
    static const struct {
        const char *bytes;
        size_t size;
        cm_status status;
        const char *words;
    } rows[] = {
#define ROW(bytes, status, words) {bytes, sizeof(bytes) - 1, status, words}
        ROW(META(TYPE VERSION CLASS), CM_ERR_FORMAT, "no tensors by name"),
        ROW(META(VERSION CLASS), CM_ERR_FORMAT, "type 'class'"),
        ROW(META("X\4\0\0\0typeX\4\0\0\0func" VERSION CLASS), CM_ERR_FORMAT, "type 'class'"),
        ROW(META(TYPE CLASS), CM_ERR_FORMAT, "without a version"),
        ROW(META(TYPE "X\7\0\0\0versionK\7" CLASS), CM_ERR_UNSUPPORTED, "version 7"),
        ROW(META(TYPE VERSION), CM_ERR_FORMAT, "name of its class"),
        ROW(META(TYPE VERSION CLASS "X\5\0\0\0stateK\1"), CM_ERR_FORMAT, "whose state is a number"),
        ROW("\x80\4}X\3\0\0\0emactorch_utils.persistence\n_reconstruct_persistent_obj\n)Rs.", CM_ERR_FORMAT,
            "without its description"),
        ROW("\x80\4ctorch_utils.persistence\nimport_hook\n.", CM_ERR_FORMAT, "torch_utils.persistence import_hook"),
        ROW("\x80\4}X\1\0\0\0wctorch.storage\n_load_from_bytes\n(X\1\0\0\0xtRs.", CM_ERR_FORMAT, "not given bytes"),
        ROW("\x80\4}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
            "0X\3\0\0\0cpuK\2tQK\0K\2\x85K\1\x85\x89}tRs.",
            CM_ERR_FORMAT, "nothing beside it"),
        ROW("\x80\4ctorch.nn.modules.linear\nLinear\n)\x81.", CM_ERR_FORMAT, "torch.nn.modules.linear Linear"),
        ROW("\x80\4}X\1\0\0\0aK\1s.", CM_ERR_FORMAT, "no tensors by name"),
        ROW("\x80\4K\1.", CM_ERR_FORMAT, "a number, not a dictionary"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block b = {NULL, 0, 0};
        put(&b, rows[i].bytes, rows[i].size);
        refuse(&b, rows[i].status, rows[i].words);
    }
}
END_TEST

/* A stream within a zip of PyTorch's, a module that is in itself, and one that refers to each next one twice. */
START_TEST(circles)
{
    block b = {NULL, 0, 0};
    const float values[2] = {1, 2};
    block stream = storage_stream(values, 2, 0, 0), pickle = with_stream(&stream);
    const member members[] = {{"a/data.pkl", pickle.bytes, pickle.size}};
    b = zip_of(members, 1);
    refuse(&b, CM_ERR_FORMAT, "stream of its own");
    free(stream.bytes);
    free(pickle.bytes);
    /* m = {}; obj(_modules = m); m["a"] = obj */
    PUT(&b, "\x80\4}(X\3\0\0\0ema");
    begin_object(&b, "C");
    PUT(&b, "}(X\10\0\0\0_modules}q\0u" END_OBJECT "q\1X\1\0\0\0xh\0X\1\0\0\0ah\1su.");
    refuse(&b, CM_ERR_LIMIT, "nest deeper");
    /* m0 = ModuleDict(); m(i+1) = ModuleDict(a = m(i), b = m(i)) */
    PUT(&b, "\x80\4}(X\1\0\0\0x(ctorch.nn.modules.container\nModuleDict\n)\x81q\0");
    for (int i = 0; i < 17; i++) {
        const unsigned char get[2] = {'h', (unsigned char)i}, store[2] = {'q', (unsigned char)(i + 1)};
        PUT(&b, "ctorch.nn.modules.container\nModuleDict\n)\x81}X\10\0\0\0_modules}(");
        put_text(&b, "a"), put(&b, get, 2);
        put_text(&b, "b"), put(&b, get, 2);
        PUT(&b, "usb");
        put(&b, store, 2);
    }
    PUT(&b, "tX\3\0\0\0emah\21u.");
    refuse(&b, CM_ERR_LIMIT, "more than 65536");
}
END_TEST

/* A list of 32 lists of 32 lists of 32 numbers, of which each list stands there once and is named again. */
static void put_again(block *b, int level)
{
    const unsigned char get[2] = {'h', (unsigned char)(level - 1)}, store[2] = {'q', (unsigned char)level};
    PUT(b, "](");
    if (level) put_again(b, level - 1);
    for (int i = level > 0; i < 32; i++) {
        if (level) put(b, get, 2);
        else PUT(b, "K\1");
    }
    PUT(b, "e");
    put(b, store, 2);
}

START_TEST(arguments_named_again)
{
    const float values[2] = {1, 2};
    block stream = storage_stream(values, 2, 0, 0), b = {NULL, 0, 0};
    cm_tensors t;
    PUT(&b, "\x80\4}(");
    put_text(&b, "ema"), begin_object(&b, "SongUNet"), PUT(&b, "}(");
    put_text(&b, "_init_kwargs"), PUT(&b, "}"), put_text(&b, "channel_mult"), put_again(&b, 2), PUT(&b, "s");
    put_text(&b, "_parameters"), PUT(&b, "}"), put_text(&b, "w");
    PUT(&b, "ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\n(");
    put_bytes(&b, &stream), PUT(&b, "tRK\0K\2\x85K\1\x85\x89}tRsu" END_OBJECT "u.");
    OK(open_bytes(context, "x.pkl", b.bytes, b.size, &t));
    ck_assert_ptr_nonnull(strstr(cmi_tensors_metadata(&t, CM_NOTE_UNSUPPORTED), "the limit of 4096 values"));
    ck_assert_ptr_null(cmi_tensors_metadata(&t, "consistency.network"));
    cmi_tensors_close(&t);
    free(stream.bytes);
    free(b.bytes);
}
END_TEST

/* One tree of 2^14 modules under 512 names, which is 2^23 modules to visit. */
START_TEST(modules_named_again)
{
    block b = {NULL, 0, 0};
    PUT(&b, "\x80\4}(");
    put_text(&b, "x"), PUT(&b, "(ctorch.nn.modules.container\nModuleDict\n)\x81q\0");
    for (int i = 0; i < 13; i++) {
        const unsigned char get[2] = {'h', (unsigned char)i}, store[2] = {'q', (unsigned char)(i + 1)};
        PUT(&b, "ctorch.nn.modules.container\nModuleDict\n)\x81}X\10\0\0\0_modules}(");
        put_text(&b, "a"), put(&b, get, 2);
        put_text(&b, "b"), put(&b, get, 2);
        PUT(&b, "usb");
        put(&b, store, 2);
    }
    PUT(&b, "t");
    for (int i = 0; i < 512; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        put_text(&b, name), PUT(&b, "h\15");
    }
    PUT(&b, "u.");
    refuse(&b, CM_ERR_LIMIT, "more than 65536");
}
END_TEST

/* 2^16 names that are not to be stored beside 2^15 buffers: a product of 2^32 with the keys among the items. */
START_TEST(buffers_left_out)
{
    enum { ENTRIES = 1 << 15, NAMES = 1 << 16 };
    block b = {NULL, 0, 0};
    char name[8];
    PUT(&b, "\x80\4}(X\3\0\0\0emactorch.nn.modules.container\nModuleDict\n)\x81}(");
    put_text(&b, "_buffers"), PUT(&b, "}(");
    for (int i = 0; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "b%x", i);
        put_text(&b, name), PUT(&b, "N");
    }
    PUT(&b, "u"), put_text(&b, "_non_persistent_buffers_set"), PUT(&b, "\x8f(");
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "n%x", i);
        put_text(&b, name);
    }
    PUT(&b, "\x90ubu.");
    refuse(&b, CM_ERR_LIMIT, "limit of 16777216 entries");
}
END_TEST

static void bounded(const char *begin, size_t begins, const char *piece, size_t size, size_t bytes)
{
    block b = {NULL, 0, 0};
    put(&b, begin, begins);
    while (b.size < bytes) put(&b, piece, size);
    refused_within_bounds("x.pkl", b.bytes, b.size);
    free(b.bytes);
}

#define BOUNDED(begin, piece) bounded(begin, sizeof(begin) - 1, piece, sizeof(piece) - 1, 1 << 20)

START_TEST(memory_bound)
{
    BOUNDED("\x80\4", "ctorch.nn.modules.container\nModuleDict\n)\x81");
    BOUNDED("\x80\4ctorch.nn.modules.container\nModuleDict\nq\0", "h\0)\x81");
    BOUNDED("\x80\4ctorch.storage\n_load_from_bytes\nq\0C\1x\x85q\1", "h\0h\1R");
    BOUNDED("\x80\4cdnnlib.util\nEasyDict\nq\0", "h\0)\x81");
    BOUNDED("\x80\4ctorch_utils.persistence\n_reconstruct_persistent_obj\nq\0}(" TYPE VERSION CLASS "u\x85q\1",
            "h\0h\1R");
}
END_TEST

/* --- damage --------------------------------------------------------------------------------------- */

/* A snapshot of some kilobytes that has a piece of everything. */
static block small_snapshot(void)
{
    const snapshot how = {.wrapper = "EDMPrecond",
                          .network = "SongUNet",
                          .loss = "EDMLoss",
                          .attributes = "{\"sigma_min\": 0, \"sigma_max\": \"inf\", \"sigma_data\": 0.5}"};
    cm_model *m =
        model_of(context,
                 "{\"type\": \"songunet\", \"img_resolution\": 2, \"in_channels\": 1, \"out_channels\": 1, "
                 "\"model_channels\": 4, \"channel_mult\": [1], \"channel_mult_emb\": 1, \"num_blocks\": 1, "
                 "\"attn_resolutions\": []}",
                 "{\"type\": \"edm\"}");
    block b = snapshot_pickle(m, "ema", &how);
    cm_model_free(m);
    return b;
}

/* The configuration of a changed file is read too. */
static void load_changed(const unsigned char *bytes, size_t size)
{
    const block b = {(unsigned char *)(uintptr_t)bytes, size, 0};
    cm_model *m;
    cm_status status = cm_model_load_memory(context, b.bytes, b.size, NULL, &m);
    if (status == CM_OK) cm_model_free(m);
    else
        ck_assert_msg(status == CM_ERR_FORMAT || status == CM_ERR_LIMIT || status == CM_ERR_UNSUPPORTED ||
                          status == CM_ERR_SHAPE || status == CM_ERR_NUMERIC,
                      "%s: %s", cm_status_name(status), cm_last_message());
}

START_TEST(damaged)
{
    block b = small_snapshot();
    uint64_t state = seeded(27);
    int changes = by_effort(1000, 4000, 10000);
    cm_model *m;
    OK(cm_model_load_memory(context, b.bytes, b.size, NULL, &m));
    cm_model_free(m);
    refuse_beginnings(context, "small.pkl", b.bytes, b.size, 512);
    ck_assert_int_gt(change_bytes(context, "small.pkl", b.bytes, b.size, changes, &state, load_changed),
                     changes / 10);
    free(b.bytes);
}
END_TEST

static cm_status open_block(cm_context *own, void *file)
{
    const block *b = file;
    cm_tensors t;
    CM_TRY(open_bytes(own, "x.pkl", b->bytes, b->size, &t));
    cmi_tensors_close(&t);
    return CM_OK;
}

START_TEST(allocations_fail)
{
    block b = small_snapshot();
    without_each_request(open_block, &b, 1);
    free(b.bytes);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("snapshot_damage");
    TCase *t = tcase_create("snapshot_damage");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, reasons);
    tcase_add_test(t, descriptions);
    tcase_add_test(t, circles);
    tcase_add_test(t, arguments_named_again);
    tcase_add_test(t, modules_named_again);
    tcase_add_test(t, buffers_left_out);
    tcase_add_test(t, memory_bound);
    tcase_add_test(t, damaged);
    tcase_add_test(t, allocations_fail);
    suite_add_tcase(s, t);
    return s;
}
