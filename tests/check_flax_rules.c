/* States of flax by rules that can be listed in tables: types, shapes, names, arrays in chunks, the sets of a state
 * and what is said of each that is wrong. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/files.h"
#include "support/flax_file.h"
#include "support/tensors.h"

#include "support/counted.h"

#define H(text) text, sizeof(text) - 1

/* Fails with exactly this message. */
#define SAYS(call, status, text)                                                                                     \
    do {                                                                                                             \
        ck_assert_int_eq((int)(call), (int)(status));                                                                \
        ck_assert_str_eq(cm_last_message(), text);                                                                   \
    } while (0)

static block of(const void *bytes, size_t n)
{
    block b = {NULL, 0, 0};
    put(&b, bytes, n);
    return b;
}

static const unsigned char numbers[64] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19};

/* {"params": {"w": `value`}} */
static block params(block value)
{
    block b = {NULL, 0, 0};
    PUT(&b, "\x81\xa6params\x81\xa1w");
    put(&b, value.bytes, value.size);
    free(value.bytes);
    return b;
}

static void refuse(block b, cm_status status, const char *text)
{
    cm_tensors t;
    SAYS(open_bytes(context, "x", b.bytes, b.size, &t), status, text);
    free(b.bytes);
}

START_TEST(types)
{
    static const struct {
        const char *name;
        cm_tensor_type type;
        size_t size;
    } rows[] = {{"float32", CM_TENSOR_F32, 4}, {"bfloat16", CM_TENSOR_BF16, 2}, {"float16", CM_TENSOR_F16, 2},
                {"float64", CM_TENSOR_F64, 8}, {"int8", CM_TENSOR_I8, 1},       {"int16", CM_TENSOR_I16, 2},
                {"int32", CM_TENSOR_I32, 4},   {"int64", CM_TENSOR_I64, 8},     {"uint8", CM_TENSOR_U8, 1},
                {"uint16", CM_TENSOR_U16, 2},  {"uint32", CM_TENSOR_U32, 4},    {"uint64", CM_TENSOR_U64, 8},
                {"bool", CM_TENSOR_BOOL, 1}};
    static const int64_t shape[2] = {2, 1};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block b = {NULL, 0, 0};
        cm_tensors t;
        put_ndarray(&b, rows[i].name, 2, shape, numbers, 2 * rows[i].size, 0);
        b = params(b);
        OK(open_bytes(context, "x", b.bytes, b.size, &t));
        const cm_tensor *w = &t.tensors[0];
        ck_assert_uint_eq(t.count, 1);
        ck_assert_int_eq((int)w->type, (int)rows[i].type);
        ck_assert(w->rank == 2 && w->shape[0] == 2 && w->shape[1] == 1 && w->count == 2);
        ck_assert_uint_eq(w->bytes, 2 * rows[i].size);
        ck_assert_ptr_eq(w->data, b.bytes + b.size - w->bytes);
        cmi_tensors_close(&t);
        free(b.bytes);
    }
    static const char *const unknown[] = {
        "float3", "float321", "float", "", "bool_", "Float32", "0123456789012345678901234567890123456789"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        block b = {NULL, 0, 0};
        char text[200];
        put_ndarray(&b, unknown[i], 2, shape, numbers, 8, 0);
        snprintf(text, sizeof text, "x: tensor 'w': arrays of dtype '%.32s' are not read", unknown[i]);
        refuse(params(b), CM_ERR_UNSUPPORTED, text);
    }
}
END_TEST

/* What stands in an extension that is no array. */
START_TEST(arrays_refused)
{
    static const struct {
        const char *bytes; /* behind the extension's length */
        size_t n;
        cm_status status;
        const char *text;
    } rows[] = {
        {H("\0\x93\x90\xa5uint8\xc4\1\1"), CM_ERR_UNSUPPORTED,
         "x: 'w' is a msgpack extension of type 0, which is not an array of flax"},
        {H("\2\x93\x90\xa5uint8\xc4\1\1"), CM_ERR_UNSUPPORTED,
         "x: 'w' is a msgpack extension of type 2, which is not an array of flax"},
        {H("\4\x93\x90\xa5uint8\xc4\1\1"), CM_ERR_UNSUPPORTED,
         "x: 'w' is a msgpack extension of type 4, which is not an array of flax"},
        {H("\1\xc0"), CM_ERR_FORMAT,
         "x: tensor 'w': it is not a list of shape, dtype and bytes, as flax writes arrays"},
        {H("\1\x92\x90\xa5uint8"), CM_ERR_FORMAT,
         "x: tensor 'w': it is not a list of shape, dtype and bytes, as flax writes arrays"},
        {H("\1\x94\x90\xa5uint8\xc4\1\1\xc0"), CM_ERR_FORMAT,
         "x: tensor 'w': it is not a list of shape, dtype and bytes, as flax writes arrays"},
        {H("\1\x81\xa5uint8\x93\x01\x01\x01"), CM_ERR_FORMAT,
         "x: tensor 'w': it is not a list of shape, dtype and bytes, as flax writes arrays"},
        {H("\1\x93\1\xa5uint8\xc4\1\1"), CM_ERR_FORMAT, "x: tensor 'w': its shape is not a list"},
        {H("\1\x93\x80\xa5uint8\xc4\1\1"), CM_ERR_FORMAT, "x: tensor 'w': its shape is not a list"},
        {H("\1\x93\x91\xc0\xa5uint8\xc4\1\1"), CM_ERR_FORMAT,
         "x: tensor 'w': dimension 0 is not a whole number but nil"},
        {H("\1\x93\x92\1\xa1"
           "1\xa5uint8\xc4\1\1"),
         CM_ERR_FORMAT, "x: tensor 'w': dimension 1 is not a whole number but a text"},
        {H("\1\x93\x92\1\xff\xa5uint8\xc4\1\1"), CM_ERR_FORMAT, "x: tensor 'w': dimension 1 is negative: -1"},
        {H("\1\x93\x90\5\xc4\1\1"), CM_ERR_FORMAT, "x: tensor 'w': its dtype is not a name but a whole number"},
        {H("\1\x93\x90\xa5uint8\xa1x"), CM_ERR_FORMAT, "x: tensor 'w': its values are not bytes"},
        {H("\1\x93\x90\xa5uint8\xc4\1\1\xc0"), CM_ERR_FORMAT,
         "x: tensor 'w': bytes follow the array in its extension"},
        {H("\1\x93\x91\3\xa6uint16\xc4\5\1\1\1\1\1"), CM_ERR_FORMAT,
         "x: tensor 'w': its shape needs 6 bytes of type U16, the file has 5"},
        {H("\1\x93\x90\xa6uint16\xc4\1\1"), CM_ERR_FORMAT,
         "x: tensor 'w': its shape needs 2 bytes of type U16, the file has 1"},
        {H("\1\x93\x91\xcf\x80\0\0\0\0\0\0\0\xa5uint8\xc4\1\1"), CM_ERR_FORMAT,
         "x: tensor 'w': its number of elements overflows"},
        {H("\1\x93\x91\xcf\x7f\xff\xff\xff\xff\xff\xff\xff\xa6uint64\xc4\1\1"), CM_ERR_FORMAT,
         "x: tensor 'w': its number of elements overflows"},
        {H("\1\x93\x99\1\1\1\1\1\1\1\1\1\xa5uint8\xc4\1\1"), CM_ERR_LIMIT,
         "x: tensor 'w': its rank is over the limit of 8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block b = {NULL, 0, 0};
        put_number(&b, 0xc7, 1);
        put_number(&b, rows[i].n - 1, 1);
        put(&b, rows[i].bytes, rows[i].n);
        refuse(params(b), rows[i].status, rows[i].text);
    }
}
END_TEST

/* Arrays that are right though they look odd: no dimension, eight of them, nothing inside, a scalar of numpy. */
START_TEST(odd_arrays)
{
    static const struct {
        const char *bytes;
        size_t n;
        int rank;
        int64_t shape[8];
        size_t count;
    } rows[] = {
        {H("\1\x93\x90\xa5uint8\xc4\1\5"), 0, {0}, 1},
        {H("\3\x93\x90\xa5uint8\xc4\1\5"), 0, {0}, 1},
        {H("\1\x93\x98\1\1\1\1\1\1\1\2\xa5uint8\xc4\2\5\6"), 8, {1, 1, 1, 1, 1, 1, 1, 2}, 2},
        {H("\1\x93\x92\0\3\xa5uint8\xc4\0"), 2, {0, 3}, 0},
        {H("\1\x93\x92\xcf\x7f\xff\xff\xff\xff\xff\xff\xff\0\xa5uint8\xc4\0"), 2, {INT64_MAX, 0}, 0},
        {H("\1\x93\x93\xcf\x40\0\0\0\0\0\0\0\x08\0\xa5uint8\xc4\0"), 3, {(int64_t)1 << 62, 8, 0}, 0},
        {H("\1\x93\x92\3\0\xa5uint8\xc4\0"), 2, {3, 0}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block b = {NULL, 0, 0};
        cm_tensors t;
        put_number(&b, 0xc7, 1);
        put_number(&b, rows[i].n - 1, 1);
        put(&b, rows[i].bytes, rows[i].n);
        b = params(b);
        OK(open_bytes(context, "x", b.bytes, b.size, &t));
        ck_assert_int_eq(t.tensors[0].rank, rows[i].rank);
        ck_assert_int_eq(memcmp(t.tensors[0].shape, rows[i].shape, sizeof rows[i].shape), 0);
        ck_assert_uint_eq(t.tensors[0].count, rows[i].count);
        ck_assert_uint_eq(t.tensors[0].bytes, rows[i].count);
        cmi_tensors_close(&t);
        free(b.bytes);
    }
}
END_TEST

/* Names are the keys on the way with "/" between them; what else stands in the tree is not listed. */
START_TEST(names)
{
    static const int64_t one[1] = {1};
    static const char *const want[] = {"a/b/w", "a/b/v", "a/c", "d", "e/w", "f/x/w"};
    block b = {NULL, 0, 0};
    cm_tensors t;
#define ARRAY_OF(key) (put_string(&b, key, 0), put_ndarray(&b, "uint8", 1, one, numbers, 1, 0))
    PUT(&b, "\x81\xa6params\x86\xa1"
            "a\x83\xa1"
            "b\x82");
    ARRAY_OF("w"), ARRAY_OF("v");
    PUT(&b, "\xa1n\x93\1\x81\xa1w\2\xc0"); /* a list with a map in it */
    ARRAY_OF("c"), ARRAY_OF("d");
    PUT(&b, "\xa1"
            "e\x81");
    ARRAY_OF("w");
    PUT(&b, "\xa1"
            "f\x82\xa1"
            "e\x80\xa1"
            "x\x81");
    ARRAY_OF("w");
    PUT(&b, "\xa1g\x80\xa1h\xa1w");
    OK(open_bytes(context, "x", b.bytes, b.size, &t));
    ck_assert_uint_eq(t.count, sizeof want / sizeof *want);
    for (size_t i = 0; i < t.count; i++) ck_assert_str_eq(t.tensors[i].name, want[i]);
    cmi_tensors_close(&t);
    free(b.bytes);
#undef ARRAY_OF
}
END_TEST

/* A "/" stands between keys alone. */
START_TEST(slashes_in_keys)
{
    static const int64_t one[1] = {1};
    static const char *const keys[] = {"/", "a/", "/a", "long/er"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        block b = {NULL, 0, 0};
        char text[100];
        PUT(&b, "\x81\xa6params\x82\xa4"
                "deep\x81");
        put_string(&b, "w", 0);
        put_ndarray(&b, "uint8", 1, one, numbers, 1, 0);
        PUT(&b, "\xa5"
                "below\x81");
        put_string(&b, keys[i], 0);
        put_ndarray(&b, "uint8", 1, one, numbers, 1, 0);
        snprintf(text, sizeof text, "x: the key '%s' has a '/', which separates keys in names", keys[i]);
        refuse(b, CM_ERR_FORMAT, text);
    }
}
END_TEST

/* A name may be as long as the limit less one; the keys before it and a "/" count. */
START_TEST(long_names)
{
    static const int64_t one[1] = {1};
    for (size_t n = 4093; n < 4097; n++) {
        block b = {NULL, 0, 0};
        cm_tensors t;
        PUT(&b, "\x81\xa6params\x81\xa1"
                "a\x81");
        put_head(&b, 0xd9, 3, n, 0);
        for (size_t i = 0; i < n; i++) PUT(&b, "k");
        put_ndarray(&b, "uint8", 1, one, numbers, 1, 0);
        cm_status status = open_bytes(context, "x", b.bytes, b.size, &t);
        if (n + 2 <= 4096) {
            ck_assert_msg(status == CM_OK, "%zu: %s", n, cm_last_message());
            ck_assert_uint_eq(strlen(t.tensors[0].name), n + 2);
            cmi_tensors_close(&t);
        } else {
            ck_assert_int_eq((int)status, (int)CM_ERR_LIMIT);
            ck_assert_str_eq(cm_last_message(),
                             "x: the name of a tensor below 'a...' is over the limit of 4096 bytes");
        }
        free(b.bytes);
    }
}
END_TEST

/* A copy has the whole file, whose arrays lie in it as they lie there. */
START_TEST(copies_are_whole)
{
    uint64_t first = UINT64_MAX;
    block b = params(of(H("\x81\xa1"
                          "a"
                          "\xc7\x0d\1\x93\x91\2\xa5uint8\xc4\2\1\2")));
    cm_input in;
    cm_tensors t;
    OK(cmi_input_memory(context, "x", b.bytes, b.size, CM_INPUT_COPIED, &in));
    in.report = note_first, in.report_user = &first;
    OK(cmi_tensors_open(&in, &t));
    ck_assert(t.count == 1 && t.tensors[0].data && (uintptr_t)(t.tensors[0].data - (b.size - 2)) % 64 == 0);
    ck_assert_uint_eq(first, 0);
    cmi_tensors_close(&t);
    free(b.bytes);
}
END_TEST

/* As many tensors as the limit, and one more. */
START_TEST(many_tensors)
{
    static const int64_t none[1] = {0};
    for (size_t n = CM_TENSORS_MAX; n <= CM_TENSORS_MAX + 1; n++) {
        block b = {NULL, 0, 0};
        cm_tensors t;
        PUT(&b, "\x81\xa6params\x82\xa1"
                "a");
        for (int half = 0; half < 2; half++) {
            if (half)
                PUT(&b, "\xa1"
                        "b");
            put_map(&b, half ? n / 2 : n - n / 2, 0);
            for (size_t i = 0; i < (half ? n / 2 : n - n / 2); i++) {
                char key[8];
                snprintf(key, sizeof key, "%zx", i);
                put_string(&b, key, 0);
                put_ndarray(&b, "uint8", 1, none, numbers, 0, 0);
            }
        }
        cm_status status = open_bytes(context, "x", b.bytes, b.size, &t);
        if (n == CM_TENSORS_MAX) {
            ck_assert_msg(status == CM_OK, "%s", cm_last_message());
            ck_assert_uint_eq(t.count, n);
            ck_assert_uint_le(t.capacity,
                              n + 2); /* room for all at once: a list that grows takes three times as much */
            ck_assert_str_eq(t.tensors[n - 1].name, "b/7fff");
            cmi_tensors_close(&t);
        } else {
            ck_assert_int_eq((int)status, (int)CM_ERR_LIMIT);
            ck_assert_str_eq(cm_last_message(), "x: more than the limit of 65536 tensors");
        }
        free(b.bytes);
    }
}
END_TEST

/* Names may take a MiB more than the file together. */
START_TEST(names_longer_than_the_file)
{
    enum { TENSORS = 260, KEY = 4080 };
    static const int64_t one[1] = {1};
    const size_t text = TENSORS * (KEY + 1 + 4 + 1);
    for (size_t less = 0; less < 2; less++) {
        const size_t size = text - (1 << 20) - less;
        block b = {NULL, 0, 0};
        cm_tensors t;
        PUT(&b, "\x82\xa6params\x81");
        put_head(&b, 0xd9, 3, KEY, 0);
        for (int i = 0; i < KEY; i++) PUT(&b, "k");
        put_map(&b, TENSORS, 0);
        for (int i = 0; i < TENSORS; i++) {
            char key[8];
            snprintf(key, sizeof key, "%04x", i);
            put_string(&b, key, 0);
            put_ndarray(&b, "uint8", 1, one, numbers, 1, 0);
        }
        PUT(&b, "\xa1z\xc6");
        put_number(&b, 0, 1);
        for (int shift = 16; shift >= 0; shift -= 8)
            put_number(&b, (size - b.size - (size_t)shift / 8 - 1) >> shift, 1);
        while (b.size < size) PUT(&b, "z");
        ck_assert_uint_eq(b.size, size);
        cm_status status = open_bytes(context, "x", b.bytes, b.size, &t);
        if (less) {
            char message[200];
            snprintf(message, sizeof message, "x: the names of its tensors take %zu bytes, more than the file", text);
            ck_assert_int_eq((int)status, (int)CM_ERR_LIMIT);
            ck_assert_str_eq(cm_last_message(), message);
        } else {
            ck_assert_msg(status == CM_OK, "%s", cm_last_message());
            ck_assert_uint_eq(t.count, TENSORS);
            ck_assert_str_eq(t.tensors[TENSORS - 1].name + KEY, "/0103");
            cmi_tensors_close(&t);
        }
        free(b.bytes);
    }
}
END_TEST

/* --- arrays in chunks ------------------------------------------------------------------------------ */

#define MARKER "\xb9__msgpack_chunked_array__\xc3"

/* An array of n chunks of two bytes under these numbers. */
static block chunked_of(int n, const char *const *keys)
{
    static const int64_t two[1] = {2};
    block b = {NULL, 0, 0};
    PUT(&b, "\x83" MARKER "\xa5shape\x81\xa1"
            "0");
    put_whole(&b, 2 * (uint64_t)n, 0);
    PUT(&b, "\xa6"
            "chunks");
    put_map(&b, (size_t)n, 0);
    for (int i = 0; i < n; i++) {
        put_string(&b, keys[i], 0);
        put_ndarray(&b, "uint8", 1, two, numbers + 2 * atoi(keys[i]), 2, 0);
    }
    return b;
}

START_TEST(chunks_by_number)
{
    static const char *const keys[] = {"10", "3", "0", "11", "7", "1", "9", "2", "4", "8", "5", "6"};
    static const struct {
        const char *instead_of_6;
    } wrong[] = {
        {"12"}, {"06"}, {""}, {"6x"}, {"x"}, {"-6"}, {"00000000006"}, {"000000000006"}, {"18446744073709551622"},
        {":"},  {"/"}};
    block b = params(chunked_of(12, keys));
    cm_tensors t;
    unsigned char bytes[24];
    OK(open_bytes(context, "x", b.bytes, b.size, &t));
    ck_assert_uint_eq(t.tensors[0].bytes, 24);
    ck_assert_ptr_null(t.tensors[0].data);
    OK(cmi_tensor_fetch(&t.tensors[0], bytes));
    ck_assert_int_eq(memcmp(bytes, numbers, 24), 0);
    cmi_tensors_close(&t);
    free(b.bytes);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *changed[12];
        memcpy(changed, keys, sizeof keys);
        changed[11] = wrong[i].instead_of_6;
        b = (block){NULL, 0, 0};
        PUT(&b, "\x83" MARKER "\xa5shape\x81\xa1"
                "0\x18\xa6"
                "chunks");
        put_map(&b, 12, 0);
        for (int k = 0; k < 12; k++) {
            static const int64_t two[1] = {2};
            put_string(&b, changed[k], 0);
            put_ndarray(&b, "uint8", 1, two, numbers, 2, 0);
        }
        refuse(params(b), CM_ERR_FORMAT, "x: tensor 'w': its chunks are not numbered from 0 on");
    }
}
END_TEST

/* {marker, shape, chunks} from their parts, each with its key. */
#define SHAPE(text) "\xa5shape" text
#define CHUNKS(text)                                                                                                 \
    "\xa6"                                                                                                           \
    "chunks" text
#define CHUNK "\xc7\x0d\1\x93\x91\2\xa5uint8\xc4\2\1\2"
#define KEY(digit) "\xa1" digit

START_TEST(chunks_refused)
{
    static const struct {
        const char *bytes;
        size_t n;
        cm_status status;
        const char *text;
    } rows[] = {
        {H("\x83" MARKER SHAPE("\x81" KEY("0") "\4") CHUNKS("\x82" KEY("0") CHUNK KEY("1") "\xc0")), CM_ERR_FORMAT,
         "x: tensor 'w': one of its chunks is not an array"},
        {H("\x83" MARKER SHAPE("\x81" KEY("0") "\4")
               CHUNKS("\x82" KEY("0") CHUNK KEY("1") "\xc7\x0c\1\x93\x91\2\xa4int8\xc4\2\1\2")),
         CM_ERR_FORMAT, "x: tensor 'w': its chunks are of two types"},
        {H("\x83" MARKER SHAPE("\x81" KEY("0") "\2") "\xa5"
                                                     "chunk\x81" KEY("0") CHUNK),
         CM_ERR_FORMAT, "x: tensor 'w': an array in chunks without its shape and chunks"},
        {H("\x83" MARKER "\xa4"
           "form\x81" KEY("0") "\2" CHUNKS("\x81" KEY("0") CHUNK)),
         CM_ERR_FORMAT, "x: tensor 'w': an array in chunks without its shape and chunks"},
        {H("\x83" MARKER SHAPE("\x91\2") CHUNKS("\x81" KEY("0") CHUNK)), CM_ERR_FORMAT,
         "x: tensor 'w': an array in chunks without its shape and chunks"},
        {H("\x83" MARKER SHAPE("\x81" KEY("0") "\2") CHUNKS("\x91" CHUNK)), CM_ERR_FORMAT,
         "x: tensor 'w': an array in chunks without its shape and chunks"},
        {H("\x83" MARKER SHAPE("\x81" KEY("1") "\2") CHUNKS("\x81" KEY("0") CHUNK)), CM_ERR_FORMAT,
         "x: tensor 'w': its chunks are not numbered from 0 on"},
        {H("\x83" MARKER SHAPE("\x81" KEY("0") "\3") CHUNKS("\x81" KEY("0") CHUNK)), CM_ERR_FORMAT,
         "x: tensor 'w': its shape needs 3 bytes of type U8, the file has 2"},
        {H("\x83" MARKER SHAPE("\x89" KEY("0") "\1" KEY("1") "\1" KEY("2") "\1" KEY("3") "\1" KEY("4") "\1" KEY(
             "5") "\1" KEY("6") "\1" KEY("7") "\1" KEY("8") "\2") CHUNKS("\x81" KEY("0") CHUNK)),
         CM_ERR_LIMIT, "x: tensor 'w': its rank is over the limit of 8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refuse(params(of(rows[i].bytes, rows[i].n)), rows[i].status, rows[i].text);
}
END_TEST

/* Eight dimensions in any order; no chunk at all; and maps that are not such arrays, though they have a key of one.
 */
START_TEST(chunks_or_trees)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *name; /* of the one tensor */
        int rank;
        int64_t shape[8];
        cm_tensor_type type;
    } rows[] = {
        {H("\x83" MARKER SHAPE("\x88" KEY("7") "\2" KEY("1") "\1" KEY("2") "\1" KEY("3") "\1" KEY("4") "\1" KEY(
             "5") "\1" KEY("6") "\1" KEY("0") "\1") CHUNKS("\x81" KEY("0") CHUNK)),
         "w",
         8,
         {1, 1, 1, 1, 1, 1, 1, 2},
         CM_TENSOR_U8},
        {H("\x83" MARKER SHAPE("\x82" KEY("0") "\0" KEY("1") "\3") CHUNKS("\x80")), "w", 2, {0, 3}, CM_TENSOR_F32},
        {H("\x82" MARKER "\xa1"
           "a" CHUNK),
         "w/a",
         1,
         {2},
         CM_TENSOR_U8},
        {H("\x83\xa5shape\1" CHUNKS("\2") "\xa1"
                                          "a" CHUNK),
         "w/a",
         1,
         {2},
         CM_TENSOR_U8},
        {H("\x84" MARKER "\xa5shape\1" CHUNKS("\2") "\xa1"
                                                    "a" CHUNK),
         "w/a",
         1,
         {2},
         CM_TENSOR_U8},
        {H("\x83\xa1"
           "a" CHUNK "\xa1"
           "b\1\xa1"
           "c\2"),
         "w/a",
         1,
         {2},
         CM_TENSOR_U8},
        {H("\x83\xa1"
           "a" CHUNK MARKER "\xa1"
           "b\1"),
         "w/a",
         1,
         {2},
         CM_TENSOR_U8},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block b = params(of(rows[i].bytes, rows[i].n));
        cm_tensors t;
        ck_assert_msg(open_bytes(context, "x", b.bytes, b.size, &t) == CM_OK, "row %zu: %s", i, cm_last_message());
        ck_assert_uint_eq(t.count, 1);
        ck_assert_str_eq(t.tensors[0].name, rows[i].name);
        ck_assert_int_eq(t.tensors[0].rank, rows[i].rank);
        ck_assert_int_eq(memcmp(t.tensors[0].shape, rows[i].shape, sizeof rows[i].shape), 0);
        ck_assert_int_eq((int)t.tensors[0].type, (int)rows[i].type);
        cmi_tensors_close(&t);
        free(b.bytes);
    }
}
END_TEST

/* Bytes of files that this process has in its memory; 0 where that is not told. */
static long file_pages(void)
{
    long all, resident, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%ld %ld %ld", &all, &resident, &shared) != 3) shared = 0;
    fclose(f);
    return shared * sysconf(_SC_PAGESIZE);
}

/* A tensor in chunks that is not needed for now leaves the memory where a mapped file has it, and comes again; memory
 * of the caller's stays as it is. */
START_TEST(chunks_forgotten)
{
    enum { CHUNK_BYTES = 1 << 20, CHUNK_COUNT = 3, ALL = CHUNK_BYTES * CHUNK_COUNT };
    static const int64_t one[1] = {1}, part[1] = {CHUNK_BYTES};
    unsigned char *data = malloc(ALL), *got = malloc(ALL);
    char path[] = "/tmp/cm-flax-XXXXXX";
    block b = {NULL, 0, 0};
    close(mkstemp(path));
    for (size_t i = 0; i < ALL; i++) data[i] = (unsigned char)(1 + i % 251);
    PUT(&b, "\x81\xa6params\x82\xa1v");
    put_ndarray(&b, "uint8", 1, one, numbers, 1, 0);
    PUT(&b, "\xa1w\x83" MARKER "\xa5shape\x81\xa1"
            "0");
    put_whole(&b, ALL, 0);
    PUT(&b, "\xa6"
            "chunks\x83");
    for (int i = 0; i < CHUNK_COUNT; i++) {
        char key[2] = {(char)('0' + i), 0};
        put_string(&b, key, 0);
        put_ndarray(&b, "uint8", 1, part, data + i * CHUNK_BYTES, CHUNK_BYTES, 0);
    }
    write_bytes(path, b.bytes, b.size);
    for (int mapped = 0; mapped < 2; mapped++) {
        cm_tensors t;
        if (mapped) OK(cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &t));
        else OK(open_bytes(context, "x", b.bytes, b.size, &t));
        ck_assert_uint_eq(t.count, 2);
        OK(cmi_tensor_fetch(&t.tensors[1], got));
        const long before = file_pages();
        cmi_tensor_forget(&t.tensors[1]);
        const long left = before - file_pages();
        if (mapped && before == 0) skipped("pages of files are not counted here");
        else if (mapped) ck_assert_msg(left > ALL * 9 / 10, "%ld of %d bytes left the memory", left, ALL);
        memset(got, 0, ALL);
        OK(cmi_tensor_fetch(&t.tensors[1], got));
        ck_assert_int_eq(memcmp(got, data, ALL), 0);
        cmi_tensors_close(&t);
    }
    unlink(path);
    free(data);
    free(got);
    free(b.bytes);
}
END_TEST

/* --- the state around the trees ------------------------------------------------------------------- */

/* The step is a number or an array of one int32; whatever else stands there is no step. */
START_TEST(steps)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *step; /* NULL: none */
    } rows[] = {{H("\x00"), "0"},
                {H("\x4d"), "77"},
                {H("\xcd\x01\x02"), "258"},
                {H("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615"},
                {H("\xd2\x00\x01\x00\x00"), "65536"},
                {H("\xff"), NULL},
                {H("\xd0\x80"), NULL},
                {H("\xc0"), NULL},
                {H("\xa1"
                   "5"),
                 NULL},
                {H("\xca\x3f\x80\x00\x00"), NULL},
                {H("\xc7\x0e\1\x93\x90\xa5int32\xc4\x04\1\2\3\4"), "67305985"},
                {H("\xc7\x0e\1\x93\x90\xa5int32\xc4\x04\xff\0\0\x80"), "2147483903"},
                {H("\xc7\x0e\1\x93\x90\xa5uint8\xc4\x04\1\2\3\4"), NULL},
                {H("\xc7\x0d\1\x93\x90\xa5uint8\xc4\x03\1\2\3"), NULL},
                {H("\xc7\x0f\1\x93\x91\1\xa5int32\xc4\x04\1\2\3\4"), NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block b = {NULL, 0, 0};
        cm_tensors t;
        PUT(&b, "\x83\xa6params\x80\xa1"
                "a\5\xa4step");
        put(&b, rows[i].bytes, rows[i].n);
        OK(open_bytes(context, "x", b.bytes, b.size, &t));
        const char *step = cmi_tensors_metadata(&t, "step");
        if (rows[i].step) ck_assert_str_eq(step ? step : "none", rows[i].step);
        else ck_assert_msg(step == NULL, "row %zu: %s", i, step);
        cmi_tensors_close(&t);
        free(b.bytes);
    }
}
END_TEST

static cm_status open_weights(const block *b, const char *weights, cm_tensors *t)
{
    cm_input in;
    CM_TRY(cmi_input_memory(context, "x", b->bytes, b->size, CM_INPUT_IN_PLACE, &in));
    in.weights = weights;
    return cmi_tensors_open(&in, t);
}

/* Of several sets the average is read first, and each is listed in the order in which one is chosen. */
START_TEST(sets)
{
    static const char *const known[] = {"params_ema", "params", "target_params"};
    for (int with = 1; with < 8; with++) {
        block b = {NULL, 0, 0};
        cm_tensors t;
        size_t n = 0;
        const char *first = NULL;
        put_map(&b, 4, 0);
        for (int k = 2; k >= 0; k--) { /* as nil where it does not count */
            put_string(&b, known[k], 0);
            if (with >> k & 1) PUT(&b, "\x80");
            else PUT(&b, "\xc0");
        }
        put_string(&b, "z", 0);
        PUT(&b, "\x80");
        OK(open_weights(&b, NULL, &t));
        for (int k = 0; k < 3; k++) {
            if (!(with >> k & 1)) continue;
            if (!first) first = known[k];
            ck_assert_str_eq(t.sets[n++], known[k]);
        }
        ck_assert_uint_eq(t.sets_count, n);
        ck_assert_str_eq(cmi_tensors_metadata(&t, "weights"), first);
        cmi_tensors_close(&t);
        for (int k = 0; k < 3; k++) {
            cm_status status = open_weights(&b, known[k], &t);
            ck_assert_int_eq((int)status, with >> k & 1 ? (int)CM_OK : (int)CM_ERR_ARGUMENT);
            if (status != CM_OK) continue;
            ck_assert_str_eq(cmi_tensors_metadata(&t, "weights"), known[k]);
            cmi_tensors_close(&t);
        }
        free(b.bytes);
    }
}
END_TEST

/* What there is instead of the weights that are asked for: maps alone, eight of them, 40 bytes of each. */
START_TEST(sets_that_are_missing)
{
    static const char line[] = "0123456789012345678901234567890123456789012345678901234567890123";
    cm_tensors t;
    block b = {NULL, 0, 0};
    PUT(&b, "\x81\xa1"
            "a\1");
    SAYS(open_weights(&b, NULL, &t), CM_ERR_FORMAT,
         "x: a msgpack file without 'params_ema', 'params' or 'target_params' at its top, as flax's training states "
         "have them; maps there: none");
    SAYS(open_weights(&b, "b", &t), CM_ERR_ARGUMENT, "x: there are no weights 'b'; there are none");
    free(b.bytes);
    b = (block){NULL, 0, 0};
    put_map(&b, 10, 0);
    for (int i = 0; i < 10; i++) {
        char key[2] = {(char)('a' + i), 0};
        put_string(&b, key, 0);
        PUT(&b, "\x80");
    }
    SAYS(open_weights(&b, "x", &t), CM_ERR_ARGUMENT,
         "x: there are no weights 'x'; there are 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'");
    SAYS(open_weights(&b, NULL, &t), CM_ERR_FORMAT,
         "x: a msgpack file without 'params_ema', 'params' or 'target_params' at its top, as flax's training states "
         "have them; maps there: 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'");
    OK(open_weights(&b, "j", &t)); /* though it was not named */
    cmi_tensors_close(&t);
    free(b.bytes);
    for (size_t n = 38; n < 65; n++) {
        char key[65], text[200];
        snprintf(key, sizeof key, "%.*s", (int)n, line);
        b = (block){NULL, 0, 0};
        put_map(&b, 1, 0);
        put_string(&b, key, 0);
        PUT(&b, "\x80");
        snprintf(text, sizeof text, "x: there are no weights 'none'; there are '%.40s'", key);
        SAYS(open_weights(&b, "none", &t), CM_ERR_ARGUMENT, text);
        if (n < 64) {
            OK(open_weights(&b, key, &t));
            ck_assert_str_eq(cmi_tensors_metadata(&t, "weights"), key);
            cmi_tensors_close(&t);
        } else ck_assert_int_eq((int)open_weights(&b, key, &t), (int)CM_ERR_ARGUMENT);
        free(b.bytes);
    }
}
END_TEST

/* The state of an optimizer alone: by its key, or by both moments. */
START_TEST(optimizers)
{
    static const struct {
        const char *bytes;
        size_t n;
        int is;
    } rows[] = {{H("\x81\xa9opt_state\x80"), 1},
                {H("\x82\xa2mu\x80\xa2nu\x80"), 1},
                {H("\x83\xa2nu\x80\xa5"
                   "count\1\xa2mu\x80"),
                 1},
                {H("\x81\xa2mu\x80"), 0},
                {H("\x81\xa2nu\x80"), 0},
                {H("\x82\xa2nu\x80\xa2xi\x80"), 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block b = of(rows[i].bytes, rows[i].n);
        cm_tensors t;
        cm_status status = open_weights(&b, NULL, &t);
        ck_assert_msg(status == (rows[i].is ? CM_ERR_UNSUPPORTED : CM_ERR_FORMAT), "row %zu: %s", i,
                      cm_last_message());
        if (rows[i].is)
            ck_assert_str_eq(cm_last_message(), "x: this is the state of an optimizer, not a model's weights");
        status = open_weights(&b, "xi", &t); /* who names weights is told of weights */
        if (status == CM_OK) cmi_tensors_close(&t);
        else ck_assert_int_eq((int)status, (int)CM_ERR_ARGUMENT);
        free(b.bytes);
    }
}
END_TEST

/* By its first bytes. */
START_TEST(recognised)
{
    static const struct {
        const char *bytes;
        size_t n;
        int is;
    } rows[] = {{H(""), 0},
                {H("\x80"), 1},
                {H("\x8f"), 1},
                {H("\x90"), 0},
                {H("\x7f"), 0},
                {H("\xde"), 1},
                {H("\xdf"), 1},
                {H("\xdd"), 0},
                {H("\xe0"), 0},
                {H("\x80\x01"), 1}, /* pickles begin with 80 and their protocol */
                {H("\x80\x02"), 0},
                {H("\x80\x03"), 0},
                {H("\x80\x05"), 0},
                {H("\x80\x06"), 1},
                {H("\x81\x02"), 1},
                {H("\x81\xa6"
                   "params"),
                 1},
                {H("\x89PNG\r\n\x1a\n"), 0},
                {H("\x89HDF\r\n\x1a\n"), 0},
                {H("\x89PNG\r\n\x1a"), 1},
                {H("\x89PNG\r\n\x1a\r"), 1},
                {H("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), 0},
                {H("\x88\1\0\0\0\0\0\0"), 0}, /* as the length of a header */
                {H("\x88\1\0\0\1\0\0\0"), 0},
                {H("\x88\1\0\0\0\1\0\0"), 1},
                {H("\x88\1\0\0\0\0\1\0"), 1},
                {H("\x88\1\0\0\0\0\0\1"), 1},
                {H("\x88\1\0\0\0\0\0"), 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char *exact = malloc(rows[i].n + 1); /* tools see a read past its end */
        memcpy(exact + 1, rows[i].bytes, rows[i].n);
        ck_assert_msg(!cmi_format_flax.recognise(NULL, exact + 1, rows[i].n) == !rows[i].is, "row %zu", i);
        free(exact);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("flax_rules");
    TCase *t = tcase_create("flax_rules");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, types);
    tcase_add_test(t, arrays_refused);
    tcase_add_test(t, odd_arrays);
    tcase_add_test(t, names);
    tcase_add_test(t, slashes_in_keys);
    tcase_add_test(t, long_names);
    tcase_add_test(t, copies_are_whole);
    tcase_add_test(t, many_tensors);
    tcase_add_test(t, names_longer_than_the_file);
    tcase_add_test(t, chunks_by_number);
    tcase_add_test(t, chunks_refused);
    tcase_add_test(t, chunks_or_trees);
    tcase_add_test(t, chunks_forgotten);
    tcase_add_test(t, steps);
    tcase_add_test(t, sets);
    tcase_add_test(t, sets_that_are_missing);
    tcase_add_test(t, optimizers);
    tcase_add_test(t, recognised);
    suite_add_tcase(s, t);
    return s;
}
