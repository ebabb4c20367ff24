/* Checkpoints of PyTorch: every value and every way to the bytes, which of several sets of weights is read, and
 * hostile files: refused for the right reason, within a bound of memory. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "diffusion/model.h"
#include "support/damage.h"
#include "support/files.h"
#include "support/keys.h"
#include "support/memory.h"
#include "support/torch_file.h"

#define FOLDER "tests/data/golden/checkpoints/"

static cm_context *context;

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    cm_context_free(context);
}

/* --- values ----------------------------------------------------------------------------------- */

static const char *const good[] = {
    "small.pt",     "small_byteorder_little.pt", "small_byteorder_big.pt", "small_crc_zero.pt", "handmade_ok.pt",
    "odd_views.pt", "odd_views_legacy.pt"};
enum { GOOD = sizeof good / sizeof *good };

static const char *path_of(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, FOLDER "%s", name);
    return path;
}

static int32_t give(void *user, uint64_t offset, void *to, size_t n)
{
    const block *b = user;
    if (n > 97) n = 97;
    memcpy(to, b->bytes + offset, n);
    return (int32_t)n;
}

/* The same tensors from a mapping, from memory, from a function, copied and fetched each time. */
START_TEST(every_way)
{
    for (int i = 0; i < GOOD; i++) {
        block file = {NULL, 0, 0};
        cm_tensors mapped, t;
        file.bytes = read_bytes(path_of(good[i]), &file.size);
        OK(cmi_tensors_open_file(context, path_of(good[i]), CM_INPUT_IN_PLACE, &mapped));
        for (int way = 0; way < 5; way++) {
            cm_input in;
            cm_reader r = {sizeof r, 0, file.size, give, &file};
            if (way == 0) OK(cmi_input_file(context, path_of(good[i]), CM_INPUT_COPIED, &in));
            if (way == 1) OK(cmi_input_file(context, path_of(good[i]), CM_INPUT_FETCHED, &in));
            if (way == 2) OK(cmi_input_memory(context, "memory", file.bytes, file.size, CM_INPUT_IN_PLACE, &in));
            if (way == 3) OK(cmi_input_reader(context, &r, CM_INPUT_COPIED, &in));
            if (way == 4) OK(cmi_input_reader(context, &r, CM_INPUT_FETCHED, &in));
            OK(cmi_tensors_open(&in, &t));
            ck_assert_uint_eq(t.count, mapped.count);
            for (size_t k = 0; k < t.count; k++) {
                const cm_tensor *a = &mapped.tensors[k], *b = &t.tensors[k];
                unsigned char x[512], y[512];
                ck_assert_str_eq(a->name, b->name);
                ck_assert(a->bytes == b->bytes && a->bytes <= sizeof x);
                OK(cmi_tensor_fetch(a, x));
                OK(cmi_tensor_fetch(b, y));
                ck_assert_msg(memcmp(x, y, a->bytes) == 0, "%s: %s by way %d", good[i], a->name, way);
            }
            cmi_tensors_close(&t);
        }
        cmi_tensors_close(&mapped);
        free(file.bytes);
    }
}
END_TEST

/* Stored bytes, whatever their type and the view of them. */
START_TEST(bits)
{
    cm_tensors got, want;
    OK(cmi_tensors_open_file(context, path_of("odd_views_expected.safetensors"), CM_INPUT_IN_PLACE, &want));
    for (int i = 5; i < GOOD; i++) {
        OK(cmi_tensors_open_file(context, path_of(good[i]), CM_INPUT_IN_PLACE, &got));
        int same = 0;
        for (size_t k = 0; k < want.count; k++) {
            const cm_tensor *w = &want.tensors[k], *g = cmi_tensors_find(&got, w->name);
            unsigned char x[512], y[512];
            ck_assert_ptr_nonnull(g);
            if (g->type != w->type) continue; /* widened there; the golden runner compares the values */
            ck_assert_uint_eq(g->bytes, w->bytes);
            OK(cmi_tensor_fetch(w, x));
            OK(cmi_tensor_fetch(g, y));
            ck_assert_msg(memcmp(x, y, w->bytes) == 0, "%s: %s", good[i], w->name);
            same++;
        }
        ck_assert_int_ge(same, 11);
        cmi_tensors_close(&got);
    }
    cmi_tensors_close(&want);
}
END_TEST

/* What lies in the file as in memory is used where it is; what does not is read. */
START_TEST(in_place)
{
    cm_tensors t;
    OK(cmi_tensors_open_file(context, path_of("odd_views.pt"), CM_INPUT_IN_PLACE, &t));
    ck_assert(cmi_input_is_mapped(&t.input, cmi_tensors_find(&t, "base")->data));
    ck_assert(cmi_input_is_mapped(&t.input, cmi_tensors_find(&t, "f16")->data));
    ck_assert_ptr_null(cmi_tensors_find(&t, "transposed")->data);
    ck_assert_ptr_null(cmi_tensors_find(&t, "expanded")->data);
    cmi_tensors_close(&t);
    OK(cmi_tensors_open_file(context, path_of("small_byteorder_big.pt"), CM_INPUT_IN_PLACE, &t));
    ck_assert_ptr_null(cmi_tensors_find(&t, "w")->data);
    cmi_tensors_close(&t);
}
END_TEST

/* --- which weights ------------------------------------------------------------------------------ */

/* A zip of a pickle whose tensors are in storages 0 .. 3, each of which holds its number. */
static block torch_zip(const block *pickle)
{
    static const float values[4][2] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};
    const member members[] = {{"a/data.pkl", pickle->bytes, pickle->size},
                              {"a/data/0", values[0], 8},
                              {"a/data/1", values[1], 8},
                              {"a/data/2", values[2], 8},
                              {"a/data/3", values[3], 8}};
    return zip_of(members, 5);
}

static cm_status open_pickle(block *pickle, const char *weights, block *zip, cm_tensors *out)
{
    cm_input in;
    *zip = torch_zip(pickle);
    free(pickle->bytes);
    *pickle = (block){NULL, 0, 0};
    CM_TRY(cmi_input_memory(context, "x.pt", zip->bytes, zip->size, CM_INPUT_IN_PLACE, &in));
    in.weights = weights;
    return cmi_tensors_open(&in, out);
}

/* {"epoch": 3, a: {w: storage 1}, b: {w: storage 2}}; NULL: without. */
static block two_sets(const char *a, const char *b)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}(X\5\0\0\0epochK\3");
    for (int i = 0; i < 2; i++) {
        if (!(i ? b : a)) continue;
        put_text(&p, i ? b : a);
        PUT(&p, "}");
        put_text(&p, "w");
        put_tensor(&p, "FloatStorage", i ? "2" : "1", 2, 0);
        PUT(&p, "s");
    }
    PUT(&p, "u.");
    return p;
}

/* The same as one dictionary: {a.w, b.w}. */
static block two_prefixes(const char *a, const char *b)
{
    block p = {NULL, 0, 0};
    char name[64];
    PUT(&p, "\x80\2}(");
    snprintf(name, sizeof name, "%s.w", a);
    put_entry(&p, name, "1");
    snprintf(name, sizeof name, "%s.w", b);
    put_entry(&p, name, "2");
    PUT(&p, "u.");
    return p;
}

static void expect(block pickle, const char *weights, float value, const char *name)
{
    cm_tensors t;
    block zip;
    float got[2];
    OK(open_pickle(&pickle, weights, &zip, &t));
    ck_assert_uint_eq(t.count, 1);
    ck_assert_str_eq(t.tensors[0].name, "w");
    OK(cmi_tensor_read(&t.tensors[0], got));
    ck_assert(got[0] == value && got[1] == value);
    ck_assert_str_eq(cmi_tensors_metadata(&t, "weights"), name);
    cmi_tensors_close(&t);
    free(zip.bytes);
}

static void refuse(block pickle, const char *weights, cm_status status, const char *word)
{
    cm_tensors t;
    block zip;
    FAILS(open_pickle(&pickle, weights, &zip, &t), status, word);
    free(zip.bytes);
}

START_TEST(which_weights)
{
    cm_model *m;
    expect(two_sets("model", "ema"), NULL, 2, "ema");
    expect(two_sets("ema_model", "net"), NULL, 1, "ema_model");
    expect(two_sets("model", "ema"), "model", 1, "model");
    expect(two_sets("state_dict", NULL), NULL, 1, "state_dict");
    expect(two_sets("state_dict", "optimizer"), NULL, 1, "state_dict");
    expect(two_prefixes("net", "net_ema"), NULL, 2, "net_ema");
    expect(two_prefixes("net", "net_ema"), "net", 1, "net");
    refuse(two_sets("model", "net"), NULL, CM_ERR_FORMAT, "'model', 'net'");
    refuse(two_sets("ema", "ema_model"), NULL, CM_ERR_FORMAT, "'ema', 'ema_model'");
    refuse(two_sets("model", "ema"), "net_ema", CM_ERR_ARGUMENT, "there are 'ema', 'model'");
    FAILS(cm_model_load(context, path_of("st_ok.safetensors"),
                        &(cm_load_options){.struct_size = sizeof(cm_load_options), .weights = "ema"}, &m),
          CM_ERR_ARGUMENT, "holds one set");
    refuse(two_sets("critic", NULL), NULL, CM_ERR_FORMAT, "'epoch', 'critic'");
    block p = {NULL, 0, 0}; /* a tensor beside the dictionary: the state of a generator */
    PUT(&p, "\x80\2}(");
    put_entry(&p, "rng", "1");
    PUT(&p, "X\12\0\0\0state_dict}(");
    put_entry(&p, "w", "2");
    PUT(&p, "uu.");
    expect(p, NULL, 2, "state_dict");
}
END_TEST

/* {"ema": {decay}, "model": {a, b, w}}: what a program notes of its average is no average. */
START_TEST(counters_of_an_average)
{
    cm_tensors t;
    block p = {NULL, 0, 0}, zip;
    PUT(&p, "\x80\2}(X\3\0\0\0ema}(");
    put_entry(&p, "decay", "0");
    PUT(&p, "uX\5\0\0\0model}(");
    put_entry(&p, "a", "1");
    put_entry(&p, "b", "2");
    put_entry(&p, "w", "3");
    PUT(&p, "uu.");
    OK(open_pickle(&p, NULL, &zip, &t));
    ck_assert_uint_eq(t.count, 3);
    ck_assert_str_eq(cmi_tensors_metadata(&t, "weights"), "model");
    cmi_tensors_close(&t);
    free(zip.bytes);
}
END_TEST

START_TEST(wrappers)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}(");
    put_entry(&p, "module.model.w", "3");
    PUT(&p, "u.");
    expect(p, NULL, 3, "the whole file");
    p = (block){NULL, 0, 0}; /* {"state_dict": {net.w, net_ema.w}} */
    PUT(&p, "\x80\2}X\12\0\0\0state_dict}(");
    put_entry(&p, "net.w", "1");
    put_entry(&p, "net_ema.w", "2");
    PUT(&p, "us.");
    expect(p, NULL, 2, "net_ema");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2}(X\5\0\0\0state}X\14\0\0\0param_groups]u.");
    refuse(p, NULL, CM_ERR_UNSUPPORTED, "optimizer");
    p = (block){NULL, 0, 0}; /* protocol 4, as pickle_protocol=4 writes it */
    PUT(&p, "\x80\4\x95\0\0\0\0\0\0\0\0\x8c\1w\x94\x8c\13collections\x94\x8c\13OrderedDict\x93)R\x94K\1s.");
    refuse(p, NULL, CM_ERR_FORMAT, "cannot take items");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\4\x8c\13collections\x94\x8c\13OrderedDict\x94\x93\x94)R\x94\x8c\1w\x94");
    put_tensor(&p, "FloatStorage", "2", 2, 0);
    PUT(&p, "s.");
    expect(p, NULL, 2, "the whole file");
}
END_TEST

/* --- what newer versions of PyTorch write ---------------------------------------------------------- */

/* A function of torch's, and the storage of eight bytes `key` as the first of its arguments. */
static void put_untyped(block *p, const char *function, const char *key)
{
    PUT(p, "c");
    put(p, function, strlen(function));
    PUT(p, "\n((X\7\0\0\0storagectorch.storage\nUntypedStorage\n");
    put_text(p, key);
    put_text(p, "cpu");
    PUT(p, "K\10tQ");
}

/* {"w": that tensor}, with the arguments behind its storage. */
static block one_tensor(const char *function, const char *arguments, size_t n)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}");
    put_text(&p, "w");
    put_untyped(&p, function, "1");
    put(&p, arguments, n);
    PUT(&p, "tRs.");
    return p;
}

#define V3(arguments) one_tensor("torch._utils\n_rebuild_tensor_v3", arguments, sizeof(arguments) - 1)

/* Storage 1 holds 1.0f twice: 0, 0x3f80, 0, 0x3f80 as unsigned numbers of 16 bits. */
static void expect_one(block pickle, cm_tensor_type type, size_t count, const float *values)
{
    cm_tensors t;
    block zip;
    float got[8];
    OK(open_pickle(&pickle, NULL, &zip, &t));
    ck_assert_uint_eq(t.count, 1);
    ck_assert_int_eq((int)t.tensors[0].type, (int)type);
    ck_assert_uint_eq(t.tensors[0].count, count);
    OK(cmi_tensor_read(&t.tensors[0], got));
    ck_assert_mem_eq(got, values, count * sizeof *values);
    cmi_tensors_close(&t);
    free(zip.bytes);
}

START_TEST(newer_members)
{
    static const float ones[] = {1, 1}, words[] = {16256, 0, 16256}, bytes[] = {128, 63};
    expect_one(V3("K\0K\2\x85K\1\x85\x89}ctorch\nfloat32\n"), CM_TENSOR_F32, 2, ones);
    expect_one(V3("K\1K\3\x85K\1\x85\x89}ctorch\nuint16\n"), CM_TENSOR_U16, 3, words);
    expect_one(V3("K\6K\2\x85K\1\x85\x89}ctorch\nuint8\n}"), CM_TENSOR_U8, 2, bytes);
    refuse(V3("K\2K\3\x85K\1\x85\x89}ctorch\nuint16\n"), NULL, CM_ERR_FORMAT, "leaves storage '1'");
    refuse(V3("K\0K\2\x85K\1\x85\x89}ctorch\nuint64\n"), NULL, CM_ERR_FORMAT, "leaves storage '1'");
    refuse(V3("K\0K\2\x85K\1\x85\x89}K\1"), NULL, CM_ERR_FORMAT, "without its dtype");
    refuse(V3("K\0K\2\x85K\1\x85\x89}ctorch\nFloatStorage\n"), NULL, CM_ERR_FORMAT, "without its dtype");
    refuse(V3("K\0K\2\x85K\1\x85\x89}ctorch\nfloat8_e5m2\n"), NULL, CM_ERR_UNSUPPORTED, "'torch float8_e5m2'");
}
END_TEST

/* Attributes of tensors and parameters, and what else stands beside tensors. */
START_TEST(beside_tensors)
{
    static const char state[] = "\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_parameter_with_state\n(";
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}(");
    put_text(&p, "extra");
    PUT(&p, "(ctorch\ndevice\nX\4\0\0\0cuda\x85Rctorch\nfloat16\nc__builtin__\nset\n]\x85R"
            "ccollections\ndefaultdict\n)Rccollections\ndefaultdict\nc__builtin__\nlist\n\x85Rc_"
            "codecs\nencode\nX\0\0\0\0N\x86R"
            "cargparse\nNamespace\n)\x81}X\2\0\0\0lrK\1sbt");
    put_entry(&p, "w", "3");
    PUT(&p, "u.");
    expect(p, NULL, 3, "the whole file");
    p = (block){NULL, 0, 0};
    put(&p, state, sizeof state - 1);
    put_tensor(&p, "FloatStorage", "2", 2, 0);
    PUT(&p, "\x88}}X\4\0\0\0noteK\1stRs.");
    expect(p, NULL, 2, "the whole file");
    p = one_tensor("torch._tensor\n_rebuild_from_type_v2\nctorch._utils\n_rebuild_tensor_v3", "", 0);
    free(p.bytes);
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2}X\1\0\0\0wctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n"
            "ctorch\nTensor\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0003X\3\0\0\0cpuK\2tQ"
            "K\0K\2\x85K\1\x85\x89}t}tRs.");
    expect(p, NULL, 3, "the whole file");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2ctorch\nTensor\n)R.");
    refuse(p, NULL, CM_ERR_FORMAT, "only known by its name");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\ndevice\nctorch\nTensor\n)}tR.");
    refuse(p, NULL, CM_ERR_FORMAT, "how it is made");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2(X\7\0\0\0storagectorch\nfloat32\nX\1\0\0\0001X\3\0\0\0cpuK\2tQ.");
    refuse(p, NULL, CM_ERR_FORMAT, "not a storage of a known class");
}
END_TEST

/* --- hostile files ------------------------------------------------------------------------------ */

START_TEST(reasons)
{
    static const struct {
        const char *file;
        cm_status status;
        const char *word;
    } rows[] = {
        {"h_os_system.pt", CM_ERR_FORMAT, "posix system"},
        {"h_os_system_in_dict.pt", CM_ERR_FORMAT, "posix system"},
        {"h_os_system_legacy.pt", CM_ERR_FORMAT, "posix system"},
        {"h_builtins_eval.pt", CM_ERR_FORMAT, "builtins eval"},
        {"h_getattr_chain.pt", CM_ERR_FORMAT, "builtins getattr"},
        {"h_build_setstate.pt", CM_ERR_FORMAT, "torch.nn.modules.linear Linear"},
        {"h_inst_opcode.pt", CM_ERR_FORMAT, "INST"},
        {"h_truncated_half.pt", CM_ERR_FORMAT, "truncated"},
        {"h_truncated_eocd.pt", CM_ERR_FORMAT, "truncated"},
        {"h_empty.pt", CM_ERR_FORMAT, "empty"},
        {"h_missing_pkl.pt", CM_ERR_FORMAT, "data.pkl"},
        {"h_missing_storage.pt", CM_ERR_FORMAT, "data/1"},
        {"h_short_storage.pt", CM_ERR_FORMAT, "storage '0'"},
        {"h_numel_too_big.pt", CM_ERR_FORMAT, "storage '0'"},
        {"h_deflated.pt", CM_ERR_UNSUPPORTED, "compressed"},
        {"h_duplicate_record.pt", CM_ERR_FORMAT, "twice"},
        {"h_cd_offset.pt", CM_ERR_FORMAT, "outside"},
        {"h_cd_size.pt", CM_ERR_FORMAT, "past"},
        {"h_bad_crc.pt", CM_ERR_FORMAT, "checksum"},
        {"h_byteorder_bad.pt", CM_ERR_FORMAT, "middle"},
        {"h_view_past_end.pt", CM_ERR_FORMAT, "tensor 'w': its view leaves"},
        {"h_view_stride_huge.pt", CM_ERR_FORMAT, "tensor 'w': its view leaves"},
        {"h_negative_stride.pt", CM_ERR_FORMAT, "stride 0 is negative"},
        {"h_negative_offset.pt", CM_ERR_FORMAT, "offset is negative"},
        {"h_negative_size.pt", CM_ERR_FORMAT, "dimension 0 is negative"},
        {"h_size_overflow.pt", CM_ERR_FORMAT, "overflows"},
        {"h_expand_bomb.pt", CM_ERR_LIMIT, "1099511627776 elements"},
        {"h_rank_mismatch.pt", CM_ERR_FORMAT, "ranks"},
        {"h_rank_65.pt", CM_ERR_LIMIT, "rank 65"},
        {"h_path_traversal_key.pt", CM_ERR_FORMAT, "'../version'"},
        {"h_unknown_storage_class.pt", CM_ERR_UNSUPPORTED, "QUInt8Storage"},
        {"h_dtype_conflict.pt", CM_ERR_FORMAT, "two classes"},
        {"h_binget_unknown.pt", CM_ERR_FORMAT, "memo"},
        {"h_stack_underflow.pt", CM_ERR_FORMAT, "stack"},
        {"h_no_stop.pt", CM_ERR_FORMAT, "STOP"},
        {"h_unicode_past_end.pt", CM_ERR_FORMAT, "BINUNICODE"},
        {"h_bad_utf8_key.pt", CM_ERR_FORMAT, "UTF-8"},
        {"h_long_huge.pt", CM_ERR_FORMAT, "LONG4"},
        {"h_protocol_9.pt", CM_ERR_FORMAT, "PROTO 9"},
        {"h_memo_index_huge.pt", CM_ERR_LIMIT, "2147483647"},
        {"h_dup_key.pt", CM_ERR_FORMAT, "tensor 'w': the name stands there twice"},
        {"h_not_a_dict.pt", CM_ERR_FORMAT, "a number"},
        {"h_key_not_string.pt", CM_ERR_FORMAT, "not a string"},
        {"h_self_reference.pt", CM_ERR_FORMAT, "no tensors by name"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_tensors t;
        FAILS(cmi_tensors_open_file(context, path_of(rows[i].file), CM_INPUT_IN_PLACE, &t), rows[i].status,
              rows[i].word);
        ck_assert_ptr_nonnull(strstr(cm_last_message(), rows[i].file));
    }
}
END_TEST

/* A legacy file up to its object. */
static block legacy(void)
{
    block b = {NULL, 0, 0};
    PUT(&b,
        "\x80\2\x8a\12\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}X\15\0\0\0little_endian\x88s.");
    return b;
}

/* A file of n pieces behind a beginning. */
static void bounded(const char *begin, size_t begins, const char *piece, size_t size, size_t bytes)
{
    block b = legacy();
    put(&b, begin, begins);
    while (b.size < bytes) put(&b, piece, size);
    refused_within_bounds("x.pt", b.bytes, b.size);
    free(b.bytes);
}

#define BOUNDED(begin, piece, bytes) bounded(begin, sizeof(begin) - 1, piece, sizeof(piece) - 1, bytes)

START_TEST(memory_bound)
{
    for (size_t bytes = 1 << 20; bytes <= 4 << 20; bytes *= 4) {
        BOUNDED("\x80\2", "}", bytes);
        BOUNDED("\x80\2", ")", bytes);
        BOUNDED("\x80\2", "N", bytes);
        BOUNDED("\x80\2", "K\1", bytes);
        BOUNDED("\x80\2", "(", bytes);
        BOUNDED("\x80\2", "(]", bytes);
        BOUNDED("\x80\2", ")\x85", bytes);
        BOUNDED("\x80\2)", "\x85", bytes);
        BOUNDED("\x80\2", "X\0\0\0\0", bytes);
        BOUNDED("\x80\2N", "\x94", bytes);
        BOUNDED("\x80\2Nq\0", "h\0", bytes);
        BOUNDED("\x80\2]q\0", "h\0a", bytes);
        BOUNDED("\x80\2]q\0", "Na", bytes);
        BOUNDED("\x80\2]q\0", "]a", bytes);
        BOUNDED("\x80\2}q\0", "NNs", bytes);
        BOUNDED("\x80\2", "ccollections\nOrderedDict\n", bytes);
        BOUNDED("\x80\2ccollections\nOrderedDict\nq\0", "h\0)R", bytes);
        BOUNDED("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
                "0NK\0tq\0",
                "h\0Q", bytes);
    }
}
END_TEST

/* 64 tensors of one storage of a megabyte: 64 times the file where all are read. */
START_TEST(views_of_one_storage)
{
    enum { VALUES = 1 << 18, BYTES = 4 * VALUES };
    float *values = calloc(VALUES, sizeof *values);
    for (int n = 8; n <= 64; n *= 8) {
        block p = {NULL, 0, 0};
        cm_tensors t;
        PUT(&p, "\x80\2}(");
        put_text(&p, "t0"), put_tensor(&p, "FloatStorage", "0", VALUES, 0), PUT(&p, "q\0");
        for (int i = 1; i < n; i++) {
            char name[8];
            snprintf(name, sizeof name, "t%d", i);
            put_text(&p, name), PUT(&p, "h\0");
        }
        PUT(&p, "u.");
        const member members[] = {{"a/data.pkl", p.bytes, p.size}, {"a/data/0", values, BYTES}};
        block zip = zip_of(members, 2);
        if (n == 8) OK(open_bytes(context, "x.pt", zip.bytes, zip.size, &t));
        else FAILS(open_bytes(context, "x.pt", zip.bytes, zip.size, &t), CM_ERR_LIMIT, "far more than the file");
        if (n == 8) cmi_tensors_close(&t);
        free(zip.bytes);
        free(p.bytes);
    }
    free(values);
}
END_TEST

/* One dictionary under 2^14 names, of which the first are listed as sets to choose from. */
START_TEST(sets_named_again)
{
    enum { MANY = 1 << 14 };
    block p = {NULL, 0, 0};
    cm_input in;
    cm_tensors t;
    PUT(&p, "\x80\2}(");
    put_text(&p, "w"), put_tensor(&p, "FloatStorage", "0", 2, 0), PUT(&p, "q\0");
    put_text(&p, "set"), PUT(&p, "}q\1X\1\0\0\0wh\0s");
    for (int i = 0; i < MANY; i++) {
        char name[8];
        snprintf(name, sizeof name, "%x", i);
        put_text(&p, name), PUT(&p, "h\1");
    }
    PUT(&p, "u.");
    block zip = torch_zip(&p);
    OK(cmi_input_memory(context, "x.pt", zip.bytes, zip.size, CM_INPUT_IN_PLACE, &in));
    in.as_data = 1;
    OK(cmi_tensors_open(&in, &t));
    ck_assert_uint_eq(t.count, 1);
    ck_assert_uint_eq(t.sets_count, 1024);
    cmi_tensors_close(&t);
    free(zip.bytes);
    free(p.bytes);
}
END_TEST

/* The directory of the archive says that a member is plain, the member itself that it is encrypted. */
START_TEST(encrypted_by_its_header)
{
    cm_tensors t;
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}(");
    put_entry(&p, "w", "1");
    PUT(&p, "u.");
    block zip = torch_zip(&p);
    OK(open_bytes(context, "x.pt", zip.bytes, zip.size, &t));
    cmi_tensors_close(&t);
    zip.bytes[6] |= 1;
    FAILS(open_bytes(context, "x.pt", zip.bytes, zip.size, &t), CM_ERR_UNSUPPORTED, "encrypted");
    free(zip.bytes);
    free(p.bytes);
}
END_TEST

/* Arguments are checked where no file is known. */
START_TEST(file_is_named)
{
    static const char header[] =
        "{\"__metadata__\":{\"consistency.format\":\"1\",\"consistency.precond\":\"{\\\"type\\\":\\\"edm\\\"}\","
        "\"consistency.image\":\"{\\\"channels\\\":3,\\\"height\\\":8,\\\"width\\\":8}\",\"consistency.network\":"
        "\"{\\\"type\\\":\\\"songunet\\\",\\\"img_resolution\\\":8,\\\"in_channels\\\":3,\\\"out_channels\\\":3,"
        "\\\"model_channels\\\":-4}\"}}";
    block b = {NULL, 0, 0};
    cm_model *m;
    put_number(&b, sizeof header - 1, 8);
    PUT(&b, header);
    FAILS(cm_model_load_memory(context, b.bytes, b.size, NULL, &m), CM_ERR_FORMAT, "memory: consistency.network: ");
    ck_assert_ptr_nonnull(strstr(cm_last_message(), "model_channels"));
    free(b.bytes);
}
END_TEST

/* As many tensors as there may be, in as few bytes as they can have. */
START_TEST(many_tensors)
{
    memory counted;
    cm_tensors t;
    cm_context *own;
    block b = legacy();
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    OK(cm_context_create(&o, &own));
    PUT(&b, "\x80\2}(");
    put_text(&b, "w");
    put_tensor(&b, "FloatStorage", "0", 0, 1);
    PUT(&b, "q\1");
    for (int i = 1; i < CM_TENSORS_MAX; i++) {
        char name[8];
        snprintf(name, sizeof name, "%x", i);
        put_text(&b, name);
        PUT(&b, "h\1");
    }
    PUT(&b, "u.\x80\2]X\1\0\0\0"
            "0a.\0\0\0\0\0\0\0\0");
    OK(open_bytes(own, "x.pt", b.bytes, b.size, &t));
    ck_assert_uint_eq(t.count, CM_TENSORS_MAX);
    ck_assert_msg(counted.peak < 16 * (long long)b.size + (16 << 20), "%zu bytes: %lld", b.size, counted.peak);
    cmi_tensors_close(&t);
    cm_context_free(own);
    free(b.bytes);
}
END_TEST

/* Every beginning of a file, and changed bytes: read whole or refused. */
START_TEST(damaged)
{
    uint64_t state = seeded(26);
    int changes = by_effort(200, 2000, 10000), refused = 0;
    for (int i = 0; i < GOOD; i++) {
        size_t size;
        unsigned char *bytes = read_bytes(path_of(good[i]), &size);
        refuse_beginnings(context, good[i], bytes, size, size);
        refused += change_bytes(context, good[i], bytes, size, changes, &state, NULL);
        free(bytes);
    }
    ck_assert_int_gt(refused, changes);
}
END_TEST

static cm_status open_copied(cm_context *own, void *path)
{
    cm_tensors t;
    CM_TRY(cmi_tensors_open_file(own, path, CM_INPUT_COPIED, &t));
    cmi_tensors_close(&t);
    return CM_OK;
}

START_TEST(allocations_fail)
{
    for (int i = 0; i < GOOD; i++) without_each_request(open_copied, (void *)(uintptr_t)path_of(good[i]), 1);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("formats");
    TCase *t = tcase_create("formats");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, every_way);
    tcase_add_test(t, bits);
    tcase_add_test(t, in_place);
    tcase_add_test(t, which_weights);
    tcase_add_test(t, counters_of_an_average);
    tcase_add_test(t, views_of_one_storage);
    tcase_add_test(t, sets_named_again);
    tcase_add_test(t, encrypted_by_its_header);
    tcase_add_test(t, file_is_named);
    tcase_add_test(t, wrappers);
    tcase_add_test(t, newer_members);
    tcase_add_test(t, beside_tensors);
    tcase_add_test(t, reasons);
    tcase_add_test(t, memory_bound);
    tcase_add_test(t, many_tensors);
    tcase_add_test(t, damaged);
    tcase_add_test(t, allocations_fail);
    suite_add_tcase(s, t);
    return s;
}
