/* Storages of PyTorch's files and the views of them: every width, order of bytes, offset, shape and stride with the
 * bytes that come out, the parts of storages, and how much a file may claim to have. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/torch.h"
#include "support/damage.h"
#include "support/files.h"
#include "support/torch_file.h"

static cm_context *context;

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    cm_context_free(context);
}

/* --- files ----------------------------------------------------------------------------------------------- */

typedef struct view {
    const char *class;
    int64_t elements, offset;
    int rank;
    int64_t shape[10], strides[10];
    const char *part; /* the sixth of the storage's id: its pickle; or NULL */
    size_t part_size;
    const char *dtype; /* of _rebuild_tensor_v3, or NULL */
} view;

/* The tensor of storage `key`, as it stands in a pickle. */
static void put_view(block *b, const view *v, const char *key)
{
    PUT(b, "ctorch._utils\n_rebuild_tensor_v2");
    if (v->dtype) b->bytes[b->size - 1] = '3';
    PUT(b, "\n((X\7\0\0\0storagectorch\n");
    put(b, v->class, strlen(v->class));
    PUT(b, "\n");
    put_text(b, key);
    PUT(b, "N\212\10");
    put_number(b, (uint64_t)v->elements, 8);
    if (v->part) put(b, v->part, v->part_size);
    PUT(b, "tQ\212\10");
    put_number(b, (uint64_t)v->offset, 8);
    for (int which = 0; which < 2; which++) {
        PUT(b, "(");
        for (int i = 0; i < v->rank; i++) {
            PUT(b, "\212\10");
            put_number(b, (uint64_t)(which ? v->strides : v->shape)[i], 8);
        }
        PUT(b, "t");
    }
    PUT(b, "\211}");
    if (v->dtype) {
        PUT(b, "ctorch\n");
        put(b, v->dtype, strlen(v->dtype));
        PUT(b, "\n");
    }
    PUT(b, "tR");
}

/* {"w": that view} */
static block pickle_of(const view *v)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\200\2}X\1\0\0\0w");
    put_view(&p, v, "0");
    PUT(&p, "s.");
    return p;
}

static block zip_with(block *pickle, const void *storage, size_t size, const char *order)
{
    const member members[] = {{"a/data.pkl", pickle->bytes, pickle->size},
                              {"a/data/0", storage, size},
                              {"a/byteorder", order, order ? strlen(order) : 0}};
    block zip = zip_of(members, order ? 3 : 2);
    free(pickle->bytes);
    return zip;
}

/* A legacy file of that object and of storage "0" with these bytes. */
static block legacy_with(block *pickle, uint64_t elements, const void *storage, size_t size, int big)
{
    block b = {NULL, 0, 0};
    PUT(&b,
        "\200\2\212\12\154\374\234\106\371\040\152\250\120\031.\200\2M\351\3.\200\2}X\15\0\0\0little_endian\210s.");
    if (big) b.bytes[b.size - 3] = 0x89;
    put(&b, pickle->bytes, pickle->size);
    PUT(&b, "\200\2]X\1\0\0\0"
            "0a.");
    put_number(&b, elements, 8);
    put(&b, storage, size);
    free(pickle->bytes);
    return b;
}

/* --- views --------------------------------------------------------------------------------------------------- */

enum { ELEMENTS = 24 };

static const struct {
    const char *class;
    cm_tensor_type type;
    size_t size;
} classes[] = {{"ByteStorage", CM_TENSOR_U8, 1},
               {"ShortStorage", CM_TENSOR_I16, 2},
               {"IntStorage", CM_TENSOR_I32, 4},
               {"LongStorage", CM_TENSOR_I64, 8}};

static uint64_t element(size_t i)
{
    return (uint64_t)(i + 1) * 0x0103050709u;
}

static const struct {
    int64_t offset;
    int rank;
    int64_t shape[8], strides[8];
    int in_place;
} good[] = {
    {0, 1, {24}, {1}, 1},
    {5, 1, {19}, {1}, 1},
    {23, 1, {1}, {1}, 1},
    {23, 0, {0}, {0}, 1},
    {0, 2, {2, 3}, {3, 1}, 1},
    {18, 2, {2, 3}, {3, 1}, 1},
    {4, 3, {2, 3, 2}, {6, 2, 1}, 1},
    {0, 2, {1, 4}, {INT64_MAX, 1}, 1}, /* the stride of a dimension of one says nothing */
    {0, 2, {4, 1}, {1, 77}, 1},
    {0, 8, {1, 2, 1, 2, 1, 2, 1, 3}, {0, 12, 5, 6, 5, 3, 5, 1}, 1},
    {0, 2, {3, 2}, {1, 3}, 0}, /* transposed */
    {0, 2, {2, 3}, {0, 1}, 0}, /* expanded */
    {0, 1, {5}, {0}, 0},
    {2, 2, {2, 3}, {4, 1}, 0}, /* a part of its rows */
    {0, 2, {2, 3}, {3, 2}, 0},
    {3, 1, {5}, {5}, 0}, /* its last is the last of the storage */
    {0, 3, {2, 3, 4}, {1, 8, 2}, 0},
    {0, 3, {4, 3, 2}, {1, 4, 12}, 0},
    {23, 3, {2, 2, 2}, {0, 0, 0}, 0},
    {0, 8, {2, 1, 2, 1, 2, 1, 3, 1}, {3, 9, 6, 9, 12, 9, 1, 9}, 0},
    {24, 1, {0}, {1}, 1}, /* one without elements may lie anywhere */
    {1000, 2, {0, 5}, {7, 7}, 1},
    {24, 2, {5, 0}, {1, 1}, 1},
};

/* In little-endian order, however they lie in the file. */
static void expect_view(const cm_tensors *t, size_t row, size_t size, int in_place)
{
    const cm_tensor *w = &t->tensors[0];
    unsigned char got[8 * 64];
    size_t count = 1;
    ck_assert_int_eq(w->rank, good[row].rank);
    for (int k = 0; k < w->rank; k++) {
        ck_assert_int_eq(w->shape[k], good[row].shape[k]);
        count *= (size_t)w->shape[k];
    }
    ck_assert(w->count == count && w->bytes == count * size && count <= 64);
    ck_assert_msg((w->data != NULL) == in_place, "row %zu", row);
    memset(got, 0xee, sizeof got);
    OK(cmi_tensor_fetch(w, got));
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)good[row].offset, rest = i;
        uint64_t value = 0;
        for (int k = w->rank; k-- > 0; rest /= (size_t)w->shape[k])
            at += rest % (size_t)w->shape[k] * (size_t)good[row].strides[k];
        for (size_t k = size; k-- > 0;) value = value << 8 | got[i * size + k];
        ck_assert_msg(value == (size < 8 ? element(at) & (((uint64_t)1 << 8 * size) - 1) : element(at)),
                      "row %zu, %zu bytes, element %zu: %llx", row, size, i, (unsigned long long)value);
    }
    ck_assert(got[count * size] == 0xee);
    cmi_tensor_forget(w);
}

START_TEST(views)
{
    for (size_t c = 0; c < 4; c++)
        for (size_t row = 0; row < sizeof good / sizeof *good; row++)
            for (int way = 0; way < 6; way++) { /* zip: unsaid, little, big; legacy: little, big; zip, fetched */
                view v = {.class = classes[c].class,
                          .elements = ELEMENTS,
                          .offset = good[row].offset,
                          .rank = good[row].rank};
                const int big = way == 2 || way == 4;
                const size_t size = classes[c].size;
                unsigned char storage[8 * ELEMENTS];
                cm_input in;
                cm_tensors t;
                memcpy(v.shape, good[row].shape, sizeof good[row].shape);
                memcpy(v.strides, good[row].strides, sizeof good[row].strides);
                for (size_t i = 0; i < ELEMENTS; i++)
                    for (size_t k = 0; k < size; k++)
                        storage[i * size + (big ? size - 1 - k : k)] = (unsigned char)(element(i) >> (8 * k));
                block p = pickle_of(&v);
                block file = way == 3 || way == 4 ? legacy_with(&p, ELEMENTS, storage, ELEMENTS * size, big)
                                                  : zip_with(&p, storage, ELEMENTS * size,
                                                             way == 1 ? "little"
                                                             : big    ? "big"
                                                                      : NULL);
                OK(cmi_input_memory(context, "x", file.bytes, file.size,
                                    way == 5 ? CM_INPUT_FETCHED : CM_INPUT_IN_PLACE, &in));
                OK(cmi_tensors_open(&in, &t));
                ck_assert_int_eq((int)t.tensors[0].type, (int)classes[c].type);
                expect_view(&t, row, size, good[row].in_place && !big && way != 5);
                cmi_tensors_close(&t);
                free(file.bytes);
            }
}
END_TEST

/* Of a mapped file: its pages may leave memory and come back. */
START_TEST(mapped_views)
{
    char path[] = "/tmp/cm-views-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    fclose(fdopen(fd, "wb"));
    for (size_t row = 0; row < sizeof good / sizeof *good; row++) {
        view v = {.class = "LongStorage", .elements = ELEMENTS, .offset = good[row].offset, .rank = good[row].rank};
        uint64_t storage[ELEMENTS];
        cm_tensors t;
        unsigned char *bytes = (unsigned char *)storage;
        memcpy(v.shape, good[row].shape, sizeof good[row].shape);
        memcpy(v.strides, good[row].strides, sizeof good[row].strides);
        for (size_t i = 0; i < 8 * ELEMENTS; i++) bytes[i] = (unsigned char)(element(i / 8) >> (8 * (i % 8)));
        block p = pickle_of(&v);
        block file = zip_with(&p, storage, sizeof storage, NULL);
        write_bytes(path, file.bytes, file.size);
        OK(cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &t));
        expect_view(&t, row, 8, good[row].in_place);
        expect_view(&t, row, 8, good[row].in_place);
        cmi_tensors_close(&t);
        free(file.bytes);
    }
    remove(path);
}
END_TEST

static void refuse(const view *v, size_t size, cm_status status, const char *words)
{
    static const unsigned char storage[400];
    cm_tensors t;
    block p = pickle_of(v), zip = zip_with(&p, storage, size, NULL);
    FAILS(open_bytes(context, "x", zip.bytes, zip.size, &t), status, words);
    free(zip.bytes);
}

START_TEST(views_outside)
{
#define LEAVES "tensor 'w': its view leaves storage '0' of 24 elements"
    static const struct {
        view v;
        cm_status status;
        const char *words;
    } rows[] = {
        {{"IntStorage", 24, 0, 1, {25}, {1}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        {{"IntStorage", 24, 1, 1, {24}, {1}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        {{"IntStorage", 24, 24, 1, {1}, {1}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        {{"IntStorage", 24, 24, 0, {0}, {0}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        {{"IntStorage", 24, INT64_MAX, 1, {1}, {1}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        {{"IntStorage", 24, 4, 1, {5}, {5}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        {{"IntStorage", 24, 0, 2, {2, 2}, {20, 4}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        {{"IntStorage", 24, 0, 2, {2, 3}, {INT64_MAX, INT64_MAX}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        /* What 32 bits would take for 0, 1 and 24. */
        {{"IntStorage", 24, (int64_t)1 << 32, 1, {1}, {1}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        {{"IntStorage", 24, 0, 1, {2}, {((int64_t)1 << 32) + 1}, NULL, 0, NULL}, CM_ERR_FORMAT, LEAVES},
        {{"IntStorage", 24, 0, 1, {((int64_t)1 << 40) + 1}, {1}, NULL, 0, NULL},
         sizeof(size_t) > 4 ? CM_ERR_LIMIT : CM_ERR_FORMAT,
         "tensor 'w'"},
        {{"IntStorage", ((int64_t)1 << 32) + 24, 0, 1, {1}, {1}, NULL, 0, NULL}, CM_ERR_FORMAT, "storage '0': "},
        {{"IntStorage", 24, -1, 1, {1}, {1}, NULL, 0, NULL},
         CM_ERR_FORMAT,
         "tensor 'w': its storage offset is negative"},
        {{"IntStorage", 24, 0, 2, {2, -3}, {3, 1}, NULL, 0, NULL}, CM_ERR_FORMAT, "'w': dimension 1 is negative: -3"},
        {{"IntStorage", 24, 0, 2, {2, 3}, {-3, 1}, NULL, 0, NULL}, CM_ERR_FORMAT, "'w': stride 0 is negative: -3"},
        {{"IntStorage", 24, 0, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1}, NULL, 0, NULL},
         CM_ERR_LIMIT,
         "tensor 'w': its rank 9 is over the limit of 8"},
        {{"IntStorage", 24, 0, 2, {INT64_MAX, INT64_MAX}, {1, 1}, NULL, 0, NULL},
         CM_ERR_FORMAT,
         "tensor 'w': its number of elements overflows"},
        {{"ByteStorage", 96, 0, 1, {INT64_MAX}, {1}, NULL, 0, NULL},
         sizeof(size_t) > 4 ? CM_ERR_LIMIT : CM_ERR_FORMAT,
         "tensor 'w'"},
        {{"IntStorage", INT64_MAX, 0, 1, {1}, {1}, NULL, 0, NULL},
         CM_ERR_FORMAT,
         "storage '0': its number of elements overflows"},
        {{"IntStorage", 23, 0, 1, {1}, {1}, NULL, 0, NULL},
         CM_ERR_FORMAT,
         "storage '0': 23 elements of type I32 need 92 bytes, zip member 'a/data/0' has 96"},
        {{"ShortStorage", 24, 0, 1, {1}, {1}, NULL, 0, NULL},
         CM_ERR_FORMAT,
         "storage '0': 24 elements of type I16 need 48 bytes, zip member 'a/data/0' has 96"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) refuse(&rows[i].v, 96, rows[i].status, rows[i].words);
#define WRONG(rest, words)                                                                                           \
    {                                                                                                                \
        rest, sizeof(rest) - 1, words                                                                                \
    }
    static const struct {
        const char *rest;
        size_t n;
        const char *words;
    } wrong[] = {WRONG("(K\1Nt(K\1K\1t", "tensor 'w': dimension 1 is not a number but None"),
                 WRONG("(K\1K\1t(K\1U\1at", "tensor 'w': stride 1 is not a number but a string"),
                 WRONG("(K\1K\1t(K\1t", "tensor 'w': size and stride are of different ranks"),
                 WRONG("(K\1t(K\1K\1t", "tensor 'w': size and stride are of different ranks")};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        block p = {NULL, 0, 0};
        cm_tensors t;
        PUT(&p, "\200\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(("
                "X\7\0\0\0storagectorch\nByteStorage\nU\0010NK\1tQK\0");
        put(&p, wrong[i].rest, wrong[i].n);
        PUT(&p, "\211}tRs.");
        block zip = zip_with(&p, "x", 1, NULL);
        FAILS(open_bytes(context, "x", zip.bytes, zip.size, &t), CM_ERR_FORMAT, wrong[i].words);
        free(zip.bytes);
    }
}
END_TEST

/* A storage that is a part of another, as legacy files have it, and tensors of another type than their storage. */
START_TEST(parts_and_types)
{
#define PART(text) text, sizeof(text) - 1
    static const struct {
        view v;
        uint64_t first, last; /* elements of the result, of that many bytes */
        size_t size;
        const char *words; /* or why not */
    } rows[] = {
        {{"IntStorage", 24, 3, 1, {2}, {1}, PART("N"), NULL}, 3, 4, 4, NULL},
        {{"IntStorage", 24, 0, 1, {24}, {1}, PART("(U\1xK\0K\30t"), NULL}, 0, 23, 4, NULL},
        {{"IntStorage", 24, 3, 1, {2}, {1}, PART("(U\1xK\4K\5t"), NULL}, 7, 8, 4, NULL},
        {{"IntStorage", 24, 0, 1, {20}, {1}, PART("(U\1xK\4K\24t"), NULL}, 4, 23, 4, NULL},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(NK\27K\1t"), NULL}, 23, 23, 4, NULL},
        {{"IntStorage", 24, 4, 1, {2}, {1}, PART("(U\1xK\4K\5t"), NULL},
         0,
         0,
         0,
         "its view leaves storage '0' of 5 elements"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(U\1xK\4K\25t"), NULL}, 0, 0, 0, "a part that leaves the whole"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(U\1xK\31K\0t"), NULL}, 0, 0, 0, "a part that leaves the whole"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(U\1xK\30K\0t"), NULL},
         0,
         0,
         0,
         "leaves storage '0' of 0 elements"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(U\1xJ\377\377\377\377K\1t"), NULL}, 0, 0, 0, "leaves the whole"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(U\1xK\1J\377\377\377\377t"), NULL}, 0, 0, 0, "leaves the whole"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("K\1"), NULL}, 0, 0, 0, "not described by key, offset and length"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(U\1xK\1t"), NULL},
         0,
         0,
         0,
         "not described by key, offset and length"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(U\1xK\1K\1Nt"), NULL}, 0, 0, 0, "not described by key"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(U\1xNK\1t"), NULL}, 0, 0, 0, "not described by key"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("(U\1xK\1Nt"), NULL}, 0, 0, 0, "not described by key"},
        {{"IntStorage", 24, 0, 1, {1}, {1}, PART("](U\1xK\1K\1e"), NULL}, 0, 0, 0, "not described by key"},
        /* Offset and length of a tensor count elements of its own type. */
        {{"IntStorage", 24, 5, 1, {2}, {1}, NULL, 0, "int16"}, 5, 6, 2, NULL},
        {{"IntStorage", 24, 47, 1, {1}, {1}, NULL, 0, "int16"}, 47, 47, 2, NULL},
        {{"IntStorage", 24, 11, 1, {1}, {1}, NULL, 0, "int64"}, 11, 11, 8, NULL},
        {{"IntStorage", 24, 95, 1, {1}, {1}, NULL, 0, "uint8"}, 95, 95, 1, NULL},
        {{"ByteStorage", 96, 23, 1, {1}, {1}, NULL, 0, "int32"}, 23, 23, 4, NULL},
        {{"IntStorage", 24, 5, 1, {2}, {1}, PART("(U\1xK\4K\5t"), "int16"}, 13, 14, 2, NULL},
        {{"IntStorage", 24, 48, 1, {1}, {1}, NULL, 0, "int16"},
         0,
         0,
         0,
         "its view leaves storage '0' of 48 elements"},
        {{"IntStorage", 24, 12, 1, {1}, {1}, NULL, 0, "int64"},
         0,
         0,
         0,
         "its view leaves storage '0' of 12 elements"},
        {{"IntStorage", 24, 2, 1, {1}, {1}, PART("(U\1xK\4K\5t"), "int64"},
         0,
         0,
         0,
         "leaves storage '0' of 2 elements"},
    };
    unsigned char storage[96];
    for (size_t i = 0; i < 96; i++) storage[i] = (unsigned char)(i * 5 + 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_tensors t;
        block p = pickle_of(&rows[i].v);
        block zip = zip_with(&p, storage, 96, NULL);
        if (rows[i].words) {
            FAILS(open_bytes(context, "x", zip.bytes, zip.size, &t), CM_ERR_FORMAT, rows[i].words);
        } else {
            unsigned char got[96];
            OK(open_bytes(context, "x", zip.bytes, zip.size, &t));
            ck_assert_uint_eq(t.tensors[0].bytes, (rows[i].last - rows[i].first + 1) * rows[i].size);
            OK(cmi_tensor_fetch(&t.tensors[0], got));
            ck_assert_mem_eq(got, storage + rows[i].first * rows[i].size, t.tensors[0].bytes);
            cmi_tensors_close(&t);
        }
        free(zip.bytes);
    }
}
END_TEST

/* --- how much a file may claim ------------------------------------------------------------------------------ */

/* {"0": a byte of storage 0 that is expanded to `bytes[0]`, ...} */
static cm_status open_expanded(const int64_t *bytes, int n, size_t *file_size)
{
    block p = {NULL, 0, 0};
    cm_tensors t;
    PUT(&p, "\200\2}(");
    for (int i = 0; i < n; i++) {
        const view v = {.class = "ByteStorage", .elements = 1, .rank = 1, .shape = {bytes[i]}};
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        put_text(&p, name);
        put_view(&p, &v, "0");
    }
    PUT(&p, "u.");
    block zip = zip_with(&p, "x", 1, NULL);
    *file_size = zip.size;
    cm_status status = open_bytes(context, "x", zip.bytes, zip.size, &t);
    if (status == CM_OK) cmi_tensors_close(&t);
    free(zip.bytes);
    return status;
}

/* One tensor has at most 8 bytes for each of the file and a megabyte, all together 16 and 16 megabytes. */
START_TEST(views_again_and_again)
{
    int64_t bytes[17] = {1};
    size_t size;
    OK(open_expanded(bytes, 1, &size));
    bytes[0] = (int64_t)(8 * size) + (1 << 20);
    OK(open_expanded(bytes, 1, &size));
    bytes[0]++;
    char words[100];
    snprintf(words, sizeof words, "tensor '0' claims %lld elements, far more than the file has", (long long)bytes[0]);
    FAILS(open_expanded(bytes, 1, &size), CM_ERR_LIMIT, words);
    for (int i = 0; i < 17; i++) bytes[i] = 1;
    OK(open_expanded(bytes, 17, &size));
    for (int i = 0; i < 16; i++) bytes[i] = 1 << 20;
    bytes[16] = (int64_t)(16 * size);
    OK(open_expanded(bytes, 17, &size));
    bytes[16]++;
    snprintf(words, sizeof words, "its tensors up to '16' have %lld bytes in all, far more than the file",
             (long long)(16 << 20) + (long long)bytes[16]);
    FAILS(open_expanded(bytes, 17, &size), CM_ERR_LIMIT, words);
}
END_TEST

/* Storages that are named and thrown away. */
START_TEST(many_storages)
{
    enum { MOST = 4 * CM_TENSORS_MAX };
    for (int n = MOST; n <= MOST + 1; n++) {
        block p = {NULL, 0, 0};
        cm_tensors t;
        PUT(&p, "\200\2c_codecs\nencode\n)R(X\7\0\0\0storagectorch\nByteStorage\nU\0010NK\1tq\0Qa");
        for (int i = 1; i < n; i++) PUT(&p, "h\0Qa");
        PUT(&p, ".");
        block zip = zip_with(&p, "x", 1, NULL);
        if (n > MOST)
            FAILS(open_bytes(context, "x", zip.bytes, zip.size, &t), CM_ERR_LIMIT,
                  "x: more than the limit of 262144 storages");
        else FAILS(open_bytes(context, "x", zip.bytes, zip.size, &t), CM_ERR_FORMAT, "the saved object is an object");
        free(zip.bytes);
    }
}
END_TEST

/* One key with two classes or lengths, in either order; the same again is one storage. */
START_TEST(storages_named_twice)
{
    static const struct {
        const char *class;
        int64_t elements;
        const char *words;
    } rows[] = {{"IntStorage", 24, NULL},
                {"FloatStorage", 24, "storage '0' is named with two classes or lengths: 24 "},
                {"IntStorage", 23, "is named with two classes or lengths: 2"},
                {"IntStorage", 25, "is named with two classes or lengths: 2"}};
    static const unsigned char storage[96];
    for (size_t i = 0; i < 4; i++)
        for (int first = 0; first < 2; first++) {
            block p = {NULL, 0, 0};
            cm_tensors t;
            PUT(&p, "\200\2}(");
            for (int k = 0; k < 2; k++) {
                const view one = {.class = "IntStorage", .elements = 24, .rank = 1, .shape = {2}, .strides = {1}};
                view other = one;
                other.class = rows[i].class, other.elements = rows[i].elements;
                put_text(&p, k ? "b" : "a");
                put_view(&p, k == first ? &one : &other, "0");
            }
            PUT(&p, "u.");
            block zip = zip_with(&p, storage, 96, NULL);
            if (rows[i].words) {
                FAILS(open_bytes(context, "x", zip.bytes, zip.size, &t), CM_ERR_FORMAT, rows[i].words);
            } else {
                OK(open_bytes(context, "x", zip.bytes, zip.size, &t));
                ck_assert_uint_eq(t.count, 2);
                ck_assert_ptr_eq(t.tensors[0].data, t.tensors[1].data);
                cmi_tensors_close(&t);
            }
            free(zip.bytes);
        }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("torch_views");
    TCase *t = tcase_create("views");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, views);
    tcase_add_test(t, mapped_views);
    tcase_add_test(t, views_outside);
    tcase_add_test(t, parts_and_types);
    tcase_add_test(t, views_again_and_again);
    tcase_add_test(t, many_storages);
    tcase_add_test(t, storages_named_twice);
    suite_add_tcase(s, t);
    return s;
}
