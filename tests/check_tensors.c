/* Tensors by name: what safetensors say and do not say, to the byte and to the word, the values of every type, which
 * format a file is given to, and the bytes behind it all. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "io/safetensors.h"
#include "support/files.h"
#include "support/tensors.h"

#include "support/scratch.h"

/* A header, its length before it, and so many bytes 0, 1, 2 ... behind it; exactly as long. */
static unsigned char *file_of(const char *header, size_t data, size_t *size)
{
    const size_t n = strlen(header);
    unsigned char *file = malloc(8 + n + data);
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(file + 8, header, n);
    for (size_t i = 0; i < data; i++) file[8 + n + i] = (unsigned char)i;
    *size = 8 + n + data;
    return file;
}

#define A(rest) "{\"a\":{\"dtype\":\"U8\"," rest "}"
#define T(name, type, shape, from, to)                                                                               \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" from "," to "]}"

/* --- headers ------------------------------------------------------------------------------------------- */

/* name type [shape] bytes@place, in the order of the list; then the metadata. */
static void summarize(const cm_tensors *t, const unsigned char *data, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++) {
        const cm_tensor *x = &t->tensors[i];
        n += (size_t)snprintf(out + n, room - n, "%s %s [", x->name, cmi_tensor_type_name(x->type));
        for (int k = 0; k < x->rank; k++)
            n += (size_t)snprintf(out + n, room - n, "%s%lld", k ? "," : "", (long long)x->shape[k]);
        n += (size_t)snprintf(out + n, room - n, "] %zu of %zu@%zu;", x->bytes, x->count, (size_t)(x->data - data));
        ck_assert_uint_eq(x->offset, (size_t)(x->data - data) + (size_t)(data - t->input.memory));
        ck_assert_ptr_eq(x->from, t);
    }
    for (size_t i = 0; i < t->metadata_count; i++)
        n += (size_t)snprintf(out + n, room - n, " %s=%s", t->metadata[i].key, t->metadata[i].value);
}

#if SIZE_MAX > UINT32_MAX
#define LARGEST "9223372036854775807" /* SIZE_MAX / 2 */
#else
#define LARGEST "2147483647"
#endif

START_TEST(headers)
{
    static const struct {
        const char *header;
        size_t data;
        const char *summary;
    } rows[] = {
        {"{}", 0, ""},
        {"{ } ", 0, ""},
        {"{" T("a", "U8", "3", "0", "3") "}", 3, "a U8 [3] 3 of 3@0;"},
        {"{" T("a", "F32", "", "0", "4") "}", 4, "a F32 [] 4 of 1@0;"},
        {"{" T("a", "F64", "1,2,1,1,1,1,1,3", "0", "48") "}", 48, "a F64 [1,2,1,1,1,1,1,3] 48 of 6@0;"},
        {"{" T("b", "I16", "2", "3", "7") "," T("a", "U8", "3", "0", "3") "}", 7,
         "a U8 [3] 3 of 3@0;b I16 [2] 4 of 2@3;"},
        /* At one place the empty ones stand first, by their names. */
        {"{" T("c", "U8", "2", "0", "2") "," T("b", "U8", "0,5", "0", "0") "," T("a", "U8", "5,0", "0", "0") "," T(
             "d", "U8", "0", "2", "2") "}",
         2, "a U8 [5,0] 0 of 0@0;b U8 [0,5] 0 of 0@0;c U8 [2] 2 of 2@0;d U8 [0] 0 of 0@2;"},
        {"{" T("a", "U8", "0," LARGEST, "0", "0") "}", 0, "a U8 [0," LARGEST "] 0 of 0@0;"},
        {" {}", 0, NULL}, /* it has to begin with a bracket */
        {"{\"__metadata__\":{}}", 0, ""},
        {"{\"__metadata__\":{\"k\":\"v\",\"a\":\"\\n\"}}", 0, " a=\n k=v"},
        {"{" T("a", "U8", "1", "0", "1") ",\"__metadata__\":{\"k\":\"\"}," T("b", "U8", "1", "1", "2") "}", 2,
         "a U8 [1] 1 of 1@0;b U8 [1] 1 of 1@1; k="},
        {"{ \"a\" : { \"data_offsets\" : [ 0 , 2 ] , \"shape\" : [ 1 , 2 ] , \"dtype\" : \"I8\" } } ", 2,
         "a I8 [1,2] 2 of 2@0;"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size;
        unsigned char *file = file_of(rows[i].header, rows[i].data, &size);
        cm_tensors t;
        char text[600] = "";
        if (!rows[i].summary) {
            FAILS(open_bytes(context, "x", file, size, &t), CM_ERR_FORMAT, "");
        } else {
            OK(open_bytes(context, "x", file, size, &t));
            summarize(&t, file + size - rows[i].data, text, sizeof text);
            ck_assert_str_eq(text, rows[i].summary);
            cmi_tensors_close(&t);
            cmi_tensors_close(&t); /* nothing the second time */
        }
        free(file);
    }
}
END_TEST

START_TEST(wrong_headers)
{
    static const struct {
        const char *header;
        size_t data;
        cm_status status;
        const char *words;
    } rows[] = {
        {"{" T("a", "U8", "3", "0", "3") "}", 2, CM_ERR_FORMAT,
         "x: tensor 'a': data_offsets end at 3, past the 2 bytes of data"},
        {"{" T("a", "U8", "3", "0", "3") "}", 5, CM_ERR_FORMAT, "x: 2 trailing bytes after the last tensor"},
        {"{}", 1, CM_ERR_FORMAT, "x: 1 trailing bytes after the last tensor"},
        {"{" T("a", "U16", "3", "0", "5") "}", 5, CM_ERR_FORMAT, "shape and dtype need 6 bytes, data_offsets hold 5"},
        {"{" T("a", "U16", "3", "1", "8") "}", 8, CM_ERR_FORMAT, "shape and dtype need 6 bytes, data_offsets hold 7"},
        {"{" T("a", "U8", "0", "3", "2") "}", 3, CM_ERR_FORMAT, "data_offsets begin at 3, after their end 2"},
        {"{" T("a", "U8", "2", "1", "3") "}", 3, CM_ERR_FORMAT,
         "tensor 'a' begins at 1, the one before ends at 0: the data has a hole"},
        {"{" T("a", "U8", "2", "0", "2") "," T("b", "U8", "2", "1", "3") "}", 3, CM_ERR_FORMAT,
         "tensor 'b' begins at 1, the one before ends at 2: the data has an overlap"},
        {"{" T("a", "U8", "2", "0", "2") "," T("b", "U8", "2", "0", "2") "}", 2, CM_ERR_FORMAT,
         "tensor 'b' begins at 0, the one before ends at 2: the data has an overlap"},
        {"{" T("a", "U8", "1", "0", "1") "," T("b", "U8", "1", "1", "2") "," T("a", "U8", "1", "2", "3") "}", 3,
         CM_ERR_FORMAT, "tensor 'a' stands there twice"},
        {"{" T("a", "U8", "1", "0", "1") "," T("a", "U8", "1", "1", "2") "}", 2, CM_ERR_FORMAT,
         "tensor 'a' stands there twice"},
        {"{" T("a", "U9", "1", "0", "1") "}", 1, CM_ERR_UNSUPPORTED, "tensor 'a': unknown dtype 'U9'"},
        {"{" T("a", "", "1", "0", "1") "}", 1, CM_ERR_UNSUPPORTED, "tensor 'a': unknown dtype ''"},
        {"{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, CM_ERR_FORMAT,
         "tensor 'a': dtype is missing or not a string"},
        {"{\"a\":{\"dtype\":\"\\q\"}}", 0, CM_ERR_FORMAT,
         "x: the header is not valid JSON: an unknown escape (byte 16)"},
        {A("\"shape\":1,\"data_offsets\":[0,1]}"), 1, CM_ERR_FORMAT, "tensor 'a': shape is missing or not an array"},
        {A("\"shape\":[1,x],\"data_offsets\":[0,1]}"), 1, CM_ERR_FORMAT,
         "tensor 'a': dimension 1 of the shape is not a non-negative integer"},
        {A("\"shape\":[1,2,-1],\"data_offsets\":[0,0]}"), 0, CM_ERR_FORMAT, "dimension 2 of the shape"},
        {A("\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}"), 1, CM_ERR_LIMIT,
         "tensor 'a': its rank is over the limit of 8"},
        {A("\"shape\":[1 1],\"data_offsets\":[0,1]}"), 1, CM_ERR_FORMAT, "',' or ']' expected"},
        {A("\"shape\":[4294967296,4294967296],\"data_offsets\":[0,1]}"), 1, CM_ERR_FORMAT,
         "the shape's product overflows"},
        {A("\"shape\":[1],\"data_offsets\":0}"), 1, CM_ERR_FORMAT,
         "tensor 'a': data_offsets is not a pair of non-negative integers"},
        {A("\"shape\":[1],\"data_offsets\":[0]}"), 1, CM_ERR_FORMAT, "not a pair of non-negative integers"},
        {A("\"shape\":[1],\"data_offsets\":[0,1,2]}"), 1, CM_ERR_FORMAT, "not a pair of non-negative integers"},
        {A("\"shape\":[1],\"data_offsets\":[-1,0]}"), 1, CM_ERR_FORMAT, "not a pair of non-negative integers"},
        {A("\"shape\":[1],\"data_offsets\":[0,-1]}"), 1, CM_ERR_FORMAT, "not a pair of non-negative integers"},
        {A("\"shape\":[1],\"data_offsets\":[,1]}"), 1, CM_ERR_FORMAT, "not a pair of non-negative integers"},
        {A("\"shape\":[1],\"data_offsets\":[0,]}"), 1, CM_ERR_FORMAT, "not a pair of non-negative integers"},
        {A("\"shape\":[1],\"data_offsets\":[[1]}"), 1, CM_ERR_FORMAT, "not a pair of non-negative integers"},
        {"{\"a\":{}}", 0, CM_ERR_FORMAT, "tensor 'a': dtype is missing"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, CM_ERR_FORMAT, "tensor 'a': dtype is missing"},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, CM_ERR_FORMAT, "tensor 'a': shape is missing"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, CM_ERR_FORMAT, "tensor 'a': data_offsets is missing"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1]}}", 1, CM_ERR_FORMAT, "tensor 'a' has shape twice"},
        {"{\"a\":{\"data_offsets\":[0,1],\"data_offsets\":[0,1]}}", 1, CM_ERR_FORMAT,
         "tensor 'a' has data_offsets twice"},
        {"{\"a\":{\"dtypes\":\"U8\"}}", 1, CM_ERR_FORMAT, "tensor 'a': unknown member 'dtypes'"},
        {"{\"a\":{\"dtype\":\"U8\",}}", 1, CM_ERR_FORMAT, "a string expected"},
        {"{\"a\":{\"dtype\":\"U8\" \"shape\":[1]}}", 1, CM_ERR_FORMAT, "',' or '}' expected"},
        {"{\"a\":1}", 1, CM_ERR_FORMAT, "the entry of tensor 'a' is not an object"},
        {"{\"a\":{},\"b\"}", 1, CM_ERR_FORMAT, "dtype"},
        {"{\"__metadata__\":1}", 0, CM_ERR_FORMAT, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"k\":1}}", 0, CM_ERR_FORMAT, "__metadata__ entry 'k' is not a string"},
        {"{\"__metadata__\":{\"k\":\"\\q\"}}", 0, CM_ERR_FORMAT, "an unknown escape"},
        {"{\"__metadata__\":{\"k\" 1}}", 0, CM_ERR_FORMAT, "':' expected"},
        {"{\"__metadata__\":{\"k\":\"\"]}}", 0, CM_ERR_FORMAT, "',' or '}' expected"},
        {"{\"__metadata__\":{\"k\":\"\",\"j\":\"\",\"k\":\"\"}}", 0, CM_ERR_FORMAT, "__metadata__ has 'k' twice"},
        {"{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0, CM_ERR_FORMAT, "__metadata__ has 'k' twice"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, CM_ERR_FORMAT, "__metadata__ stands there twice"},
        {"{\"__metadata__\":{},}", 0, CM_ERR_FORMAT, "a string expected"},
        {"{\"__metadata__\":{}]", 0, CM_ERR_FORMAT, "',' or '}' expected"},
        {"{} {}", 0, CM_ERR_FORMAT, "something follows its end (byte 3)"},
        {"{\"__metadata__\":{}} x", 0, CM_ERR_FORMAT, "something follows its end"},
        {"{", 0, CM_ERR_FORMAT, "x: the header is not valid JSON: a string expected (byte 1)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size;
        unsigned char *file = file_of(rows[i].header, rows[i].data, &size);
        cm_tensors t;
        cm_status status = open_bytes(context, "x", file, size, &t);
        ck_assert_msg(status == rows[i].status && strstr(cm_last_message(), rows[i].words), "%s: %s", rows[i].header,
                      cm_last_message());
        ck_assert_ptr_null(t.context); /* it is closed */
        free(file);
    }
}
END_TEST

/* The eight bytes before the header. */
START_TEST(lengths_of_headers)
{
    cm_tensors t;
    size_t size;
    unsigned char *file = file_of("{}", 0, &size);
    FAILS(open_bytes(context, "x", file, 8, &t), CM_ERR_FORMAT, "x: 8 bytes are too few for a safetensors file");
    FAILS(open_bytes(context, "x", file, 9, &t), CM_ERR_FORMAT, "truncated: the header claims 2 bytes, 1 are there");
    file[0] = 1;
    FAILS(open_bytes(context, "x", file, 9, &t), CM_ERR_FORMAT, "a string expected (byte 1)");
    file[0] = 0;
    FAILS(open_bytes(context, "x", file, 10, &t), CM_ERR_FORMAT, "the header does not begin with '{'");
    file[0] = 3;
    FAILS(open_bytes(context, "x", file, 10, &t), CM_ERR_FORMAT, "the header claims 3 bytes, 2 are there");
    file[0] = 0, file[3] = CM_SAFETENSORS_HEADER >> 24;
    uint64_t most = CM_SAFETENSORS_HEADER;
    for (int over = 0; over < 2; over++) {
        char words[80];
        for (int i = 0; i < 8; i++) file[i] = (unsigned char)((most + (uint64_t)over) >> (8 * i));
        snprintf(words, sizeof words,
                 over ? "a header of %llu bytes is over the limit of" : "claims %llu bytes, 2 are",
                 (unsigned long long)most + (unsigned long long)over);
        FAILS(open_bytes(context, "x", file, 10, &t), CM_ERR_FORMAT, words);
    }
    memset(file, 0, 8);
    file[6] = 1;
    FAILS(open_bytes(context, "x", file, 10, &t), CM_ERR_FORMAT,
          "a header of 281474976710656 bytes is over the limit");
    free(file);
}
END_TEST

/* What is written, to the byte, and that the data begins at a multiple of 8. */
START_TEST(written_bytes)
{
    static const unsigned char values[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    for (size_t n = 1; n <= 9; n++) {
        char name[16] = "", header[300], shape[32];
        memset(name, 'n', n);
        snprintf(shape, sizeof shape, "%zu", n);
        const cm_tensor list[2] = {{.name = name,
                                    .type = CM_TENSOR_U8,
                                    .rank = 1,
                                    .shape = {(int64_t)n},
                                    .count = n,
                                    .bytes = n,
                                    .data = values},
                                   {.name = "b",
                                    .type = CM_TENSOR_I16,
                                    .rank = 2,
                                    .shape = {1, 3},
                                    .count = 3,
                                    .bytes = 6,
                                    .data = values + 2}};
        json_t *metadata = n % 2 ? json_pack("{s:s}", "k", "v") : NULL;
        OK(cmi_safetensors_write(context, in_dir("t"), 1, metadata, list, 2, NULL));
        json_decref(metadata);
        snprintf(header, sizeof header,
                 "{%s\"%s\":{\"dtype\":\"U8\",\"shape\":[%s],\"data_offsets\":[0,%s]},\"b\":{\"dtype\":\"I16\","
                 "\"shape\":[1,3],\"data_offsets\":[%s,%zu]}}",
                 n % 2 ? "\"__metadata__\":{\"k\":\"v\"}," : "", name, shape, shape, shape, n + 6);
        size_t size, length = strlen(header), padded = (length + 7) / 8 * 8;
        unsigned char *file = read_bytes(in_dir("t"), &size);
        ck_assert_uint_eq(size, 8 + padded + n + 6);
        ck_assert(file[0] == padded % 256 && file[1] == padded / 256);
        for (int i = 2; i < 8; i++) ck_assert_int_eq(file[i], 0);
        ck_assert_mem_eq(file + 8, header, length);
        for (size_t i = length; i < padded; i++) ck_assert_int_eq(file[8 + i], ' ');
        ck_assert_mem_eq(file + 8 + padded, values, n);
        ck_assert_mem_eq(file + 8 + padded + n, values + 2, 6);
        free(file);
    }
    const cm_tensor one = {.name = "a", .type = CM_TENSOR_U8, .count = 1, .bytes = 1, .data = values};
    FAILS(cmi_safetensors_write(context, in_dir("t"), 0, NULL, &one, 1, NULL), CM_ERR_IO, "exists");
    OK(cmi_safetensors_write(context, in_dir("none"), 0, NULL, NULL, 0, NULL));
    size_t size;
    unsigned char *file = read_bytes(in_dir("none"), &size);
    ck_assert_uint_eq(size, 16);
    ck_assert_mem_eq(file, "\10\0\0\0\0\0\0\0{}      ", 16);
    free(file);
}
END_TEST

/* --- values ------------------------------------------------------------------------------------------------ */

START_TEST(values_of_every_type)
{
    static const struct {
        const char *name;
        size_t size;
        const char *bytes;
        float values[2];
    } types[] = {
        {"BOOL", 1, "\0\1", {0, 1}},
        {"U8", 1, "\377\200", {255, 128}},
        {"I8", 1, "\377\200", {-1, -128}},
        {"U16", 2, "\377\377\1\2", {65535, 513}},
        {"I16", 2, "\0\200\1\2", {-32768, 513}},
        {"F16", 2, "\0\74\0\301", {1, -2.5f}},
        {"BF16", 2, "\200\77\40\300", {1, -2.5f}},
        {"U32", 4, "\0\0\0\200\1\2\3\0", {2147483648.0f, 197121}},
        {"I32", 4, "\0\0\0\200\1\2\3\0", {-2147483648.0f, 197121}},
        {"F32", 4, "\0\0\200\77\0\0\40\300", {1, -2.5f}},
        {"U64", 8, "\0\0\0\0\0\0\0\200\0\0\0\0\0\0\1\0", {9223372036854775808.0f, 281474976710656.0f}},
        {"I64", 8, "\0\0\0\0\0\0\0\200\0\0\0\0\0\0\1\0", {-9223372036854775808.0f, 281474976710656.0f}},
        {"F64", 8, "\0\0\0\0\0\0\360\77\0\0\0\0\0\0\4\300", {1, -2.5f}},
    };
    for (int i = 0; i < 13; i++) {
        char header[200];
        size_t size, bytes = 2 * types[i].size;
        cm_tensors t;
        ck_assert_str_eq(cmi_tensor_type_name((cm_tensor_type)i), types[i].name);
        ck_assert_uint_eq(cmi_tensor_type_size((cm_tensor_type)i), types[i].size);
        ck_assert_int_eq(cmi_tensor_type_of(types[i].name), i);
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[2],\"data_offsets\":[0,%zu]}}",
                 types[i].name, bytes);
        unsigned char *file = file_of(header, bytes, &size);
        memcpy(file + size - bytes, types[i].bytes, bytes);
        for (int way = 0; way < 2; way++) {
            cm_input in;
            float got[2] = {7, 7};
            unsigned char raw[16];
            OK(cmi_input_memory(context, "x", file, size, way ? CM_INPUT_FETCHED : CM_INPUT_IN_PLACE, &in));
            OK(cmi_tensors_open(&in, &t));
            ck_assert_int_eq(t.tensors[0].data == NULL, way);
            OK(cmi_tensor_read(&t.tensors[0], got));
            ck_assert_mem_eq(got, types[i].values, sizeof got);
            OK(cmi_tensor_fetch(&t.tensors[0], raw));
            ck_assert_mem_eq(raw, types[i].bytes, bytes);
            cmi_tensor_forget(&t.tensors[0]);
            cmi_tensors_close(&t);
        }
        free(file);
    }
    static const char *const others[] = {"", "F", "F3", "F320", "f32", "F8_E4M3", "C64"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) ck_assert_int_eq(cmi_tensor_type_of(others[i]), -1);
}
END_TEST

/* What is in the caller's memory stays there when nobody needs it for a while. */
START_TEST(memory_is_not_forgotten)
{
    size_t size;
    unsigned char *file = file_of("{" T("a", "U8", "65536", "0", "65536") "}", 65536, &size);
    cm_tensors t;
    OK(open_bytes(context, "x", file, size, &t));
    cmi_tensor_forget(&t.tensors[0]);
    for (size_t i = 0; i < 65536; i++) ck_assert_uint_eq(t.tensors[0].data[i], i % 256);
    cmi_tensors_close(&t);
    free(file);
}
END_TEST

/* --- lists ------------------------------------------------------------------------------------------------- */

static int is_a(const cm_input *in, const unsigned char *first, size_t n)
{
    ck_assert_uint_eq(n, in->size < 4096 ? in->size : 4096);
    return n > 0 && first[0] == 'a';
}

static int is_b(const cm_input *in, const unsigned char *first, size_t n)
{
    return in->size == n && n > 1 && first[1] == 'b';
}

static int closed;

static void close_fake(cm_tensors *t)
{
    ck_assert_ptr_nonnull(t->context);
    closed++;
}

static cm_status open_fake(cm_tensors *t)
{
    if (t->input.size == 3) CM_FAIL(CM_ERR_LIMIT, "three");
    return CM_OK;
}

static const cm_tensor_format fake_a = {.name = "kind A",
                                        .recognise = is_a,
                                        .open = open_fake,
                                        .close = close_fake,
                                        .has_sets = 1},
                              fake_b = {.name = "kind B", .recognise = is_b, .open = open_fake, .close = close_fake};
static const cm_tensor_format *const fakes[] = {&fake_a, &fake_b, NULL};

static cm_status open_as(const char *bytes, size_t n, const char *weights, cm_tensors *out)
{
    static const cm_input nothing;
    cm_input in;
    OK(cmi_input_memory(context, "x", bytes, n, CM_INPUT_IN_PLACE, &in));
    in.weights = weights;
    cm_status status = cmi_tensors_open_as(fakes, &in, out);
    ck_assert_mem_eq(&in, &nothing, sizeof in); /* it is taken over */
    return status;
}

START_TEST(formats)
{
    cm_tensors t;
    static char zeros[5000];
    closed = 0;
    OK(open_as("ab", 2, NULL, &t)); /* the first that knows it */
    ck_assert_ptr_eq(t.format, &fake_a);
    cmi_tensors_close(&t);
    ck_assert_int_eq(closed, 1);
    cmi_tensors_close(&t);
    ck_assert_int_eq(closed, 1);
    OK(open_as("xb", 2, NULL, &t));
    ck_assert_ptr_eq(t.format, &fake_b);
    cmi_tensors_close(&t);
    OK(open_as("ab", 2, "ema", &t)); /* it may hold several sets */
    cmi_tensors_close(&t);
    closed = 0;
    FAILS(open_as("xb", 2, "ema", &t), CM_ERR_ARGUMENT,
          "x: weights is 'ema', but a kind B file holds one set of them");
    ck_assert_int_eq(closed, 1);
    FAILS(open_as("xbx", 3, NULL, &t), CM_ERR_LIMIT, "three");
    ck_assert_int_eq(closed, 2);
    OK(open_as("\1", 1, NULL, &t)); /* nobody's: the first says what is wrong with it */
    ck_assert_ptr_eq(t.format, &fake_a);
    cmi_tensors_close(&t);
    memcpy(zeros, "a", 1);
    OK(open_as(zeros, 4095, NULL, &t));
    cmi_tensors_close(&t);
    OK(open_as(zeros, 4097, NULL, &t));
    cmi_tensors_close(&t);
}
END_TEST

/* Bytes that are those of no kind of file are told; what could be safetensors is left to its reader. */
START_TEST(bytes_of_nobody)
{
#define UNKNOWN                                                                                                      \
    "x: its first bytes, 0b 3c 55 7a 9c c4 e9 0e, are those of no kind of file that is known; what is read: "        \
    "safetensors, PyTorch (zip), PyTorch (legacy), EDM pickle, flax (msgpack), diffusers"
    unsigned char bytes[17] = {0x0b, 0x3c, 0x55, 0x7a, 0x9c, 0xc4, 0xe9, 0x0e, 0x33,
                               0x58, 0x7d, 0xa2, 0xc7, 0xec, 0x11, 0x36, 0x40};
    cm_tensors t;
    static const char begin[] = "\2\0\0\0\0\0\0\0{}";
    const unsigned char *first = (const unsigned char *)begin;
    ck_assert(!cmi_format_safetensors.recognise(NULL, first, 8)); /* no more than is there is looked at */
    ck_assert(cmi_format_safetensors.recognise(NULL, first, 9));
    ck_assert(!cmi_format_safetensors.recognise(NULL, (const unsigned char *)"\2\0\0\0\0\0\0\1{}", 10));
    FAILS(open_bytes(context, "x", bytes, 17, &t), CM_ERR_FORMAT, UNKNOWN);
    FAILS(open_bytes(context, "x", bytes, 16, &t), CM_ERR_FORMAT, UNKNOWN);
    FAILS(open_bytes(context, "x", bytes, 15, &t), CM_ERR_FORMAT, "is over the limit");
    bytes[8] = '{';
    FAILS(open_bytes(context, "x", bytes, 17, &t), CM_ERR_FORMAT, "is over the limit");
    bytes[8] = 'z';
    memset(bytes + 4, 0, 4);
    FAILS(open_bytes(context, "x", bytes, 17, &t), CM_ERR_FORMAT, "is over the limit");
    for (int i = 4; i < 8; i++) {
        memset(bytes + 4, 0, 4);
        bytes[i] = 0x9c;
        FAILS(open_bytes(context, "x", bytes, 17, &t), CM_ERR_FORMAT, "those of no kind of file");
    }
}
END_TEST

START_TEST(lists)
{
    cm_tensors t = {.context = context, .input = {.name = (char *)(uintptr_t) "x"}};
    cm_tensor *made;
    static char name[CM_TENSOR_NAME + 2];
    memset(name, 'n', CM_TENSOR_NAME);
    OK(cmi_tensors_add(&t, name, &made));
    ck_assert(made->name == name && made->from == &t && made->rank == 0 && made->data == NULL && made->count == 0);
    ck_assert_ptr_eq(cmi_tensors_find(&t, name), made);
    name[CM_TENSOR_NAME] = 'n';
    FAILS(cmi_tensors_add(&t, name, &made), CM_ERR_LIMIT, "x: a tensor name of 4097 bytes is over the limit of 4096");
    OK(cmi_tensors_add(&t, "b", &made));
    ck_assert_ptr_eq(cmi_tensors_find(&t, "b"), &t.tensors[1]);
    ck_assert_ptr_null(cmi_tensors_find(&t, "c"));
    ck_assert_ptr_null(cmi_tensors_metadata(&t, "k"));
    OK(cmi_tensors_add_metadata(&t, "k", "v"));
    OK(cmi_tensors_add_metadata(&t, "l", "w"));
    ck_assert_str_eq(cmi_tensors_metadata(&t, "k"), "v");
    ck_assert_str_eq(cmi_tensors_metadata(&t, "l"), "w");
    ck_assert_ptr_null(cmi_tensors_metadata(&t, "m"));
    static const char *const sets[] = {"a", "b", "a", "c", "b", "c"};
    for (int i = 0; i < 6; i++) OK(cmi_tensors_add_set(&t, sets[i]));
    ck_assert_uint_eq(t.sets_count, 3); /* each once, as they came */
    for (int i = 0; i < 3; i++) ck_assert_str_eq(t.sets[i], i == 2 ? "c" : sets[i]);
    for (size_t i = 2; i < CM_TENSORS_MAX_METADATA; i++) OK(cmi_tensors_add_metadata(&t, "more", "x"));
    FAILS(cmi_tensors_add_metadata(&t, "more", "x"), CM_ERR_LIMIT,
          "x: more than the limit of 65536 entries of metadata");
    for (size_t i = 2; i < CM_TENSORS_MAX; i++) OK(cmi_tensors_add(&t, "more", &made));
    FAILS(cmi_tensors_add(&t, "more", &made), CM_ERR_LIMIT, "x: more than the limit of 65536 tensors");
    t.input.name = NULL;
    cmi_free(context, t.tensors);
    cmi_free(context, t.metadata);
    cmi_free(context, t.sets);
}
END_TEST

/* --- the bytes ----------------------------------------------------------------------------------------------- */

typedef struct {
    size_t size, most, asked; /* of the stream; of one answer; the largest question */
    int calls;
    int64_t fail_at, answer; /* from that byte on that is the answer */
} stream;

static int32_t give(void *user, uint64_t offset, void *to, size_t n)
{
    stream *s = user;
    s->calls++;
    if (n > s->asked) s->asked = n;
    ck_assert_uint_le(offset + n, s->size);
    if (s->fail_at >= 0 && offset >= (uint64_t)s->fail_at) return (int32_t)s->answer;
    if (n > s->most) n = s->most;
    for (size_t i = 0; i < n; i++) ((unsigned char *)to)[i] = (unsigned char)((offset + i) * 7 % 251);
    return (int32_t)n;
}

static int right_bytes(const unsigned char *p, size_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (from + i) * 7 % 251) return 0;
    return 1;
}

START_TEST(streams)
{
    enum { MIB = 1 << 20, SIZE = 9 * MIB + 5 };
    stream s = {.size = SIZE, .most = SIZE, .fail_at = -1};
    cm_reader reader = {sizeof reader, 0, SIZE, give, &s};
    cm_input in;
    unsigned char *out = malloc(SIZE);
    OK(cmi_input_reader(context, &reader, CM_INPUT_FETCHED, &in));
    ck_assert_uint_eq(in.size, SIZE);
    ck_assert_str_eq(in.name, "stream");
    OK(cmi_input_read(&in, 0, out, SIZE));
    ck_assert(right_bytes(out, 0, SIZE));
    ck_assert_uint_eq(s.asked, 4 * MIB);
    ck_assert_int_eq(s.calls, 3);
    OK(cmi_input_read(&in, 5, out, 4 * MIB));
    ck_assert(right_bytes(out, 5, 4 * MIB) && s.calls == 4);
    s.most = 1000; /* it gives less than it is asked for */
    OK(cmi_input_read(&in, SIZE - 2500, out, 2500));
    ck_assert(right_bytes(out, SIZE - 2500, 2500) && s.calls == 7);
    OK(cmi_input_read(&in, SIZE, out, 0));
    ck_assert_int_eq(s.calls, 7);
    FAILS(cmi_input_read(&in, SIZE, out, 1), CM_ERR_FORMAT,
          "stream: truncated: 1 bytes from byte 9437189 on are missing, 9437189 are there");
    FAILS(cmi_input_read(&in, SIZE - 3, out, 4), CM_ERR_FORMAT, "4 bytes from byte 9437186 on are missing");
    FAILS(cmi_input_read(&in, SIZE + 1, out, 0), CM_ERR_FORMAT, "0 bytes from byte 9437190 on are missing");
    s.fail_at = 2000;
    s.answer = -7;
    FAILS(cmi_input_read(&in, 0, out, 3000), CM_ERR_IO,
          "cannot read the stream at byte 2000: its function failed (-7)");
    s.answer = 0;
    FAILS(cmi_input_read(&in, 500, out, 3000), CM_ERR_IO,
          "cannot read the stream: it ends at byte 2500 and was said to have 9437189");
    s.answer = 1001;
    FAILS(cmi_input_read(&in, 2000, out, 1000), CM_ERR_IO,
          "cannot read the stream at byte 2000: its function was asked for 1000 bytes and says 1001");
    s.answer = 1000;
    OK(cmi_input_read(&in, 2000, out, 1000));
    cmi_input_close(&in);
    cmi_input_close(&in);
    free(out);
}
END_TEST

static uint64_t reported[8];
static int reports, cancel_at;

static int32_t note_report(void *user, uint64_t done, uint64_t work)
{
    ck_assert_ptr_eq(user, reported);
    ck_assert_uint_eq(work, 77);
    reported[reports++ % 8] = done;
    return reports == cancel_at;
}

/* Copies are made four megabytes at a time, and whoever waits can stop them. */
START_TEST(held_bytes)
{
    enum { MIB = 1 << 20, SIZE = 9 * MIB };
    unsigned char *bytes = malloc(SIZE), back[16];
    const unsigned char *held;
    cm_input in;
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (unsigned char)(i * 7 % 251);
    OK(cmi_input_memory(context, "x", bytes, SIZE, CM_INPUT_COPIED, &in));
    in.report = note_report, in.report_user = reported, in.work = 77;
    reports = 0, cancel_at = -1;
    OK(cmi_input_hold(&in, 100, &held));
    ck_assert_int_eq(reports, 3);
    for (int i = 0; i < 3; i++) ck_assert_uint_eq(reported[i], 100 + (uint64_t)i * 4 * MIB);
    ck_assert(held != bytes + 100 && memcmp(held, bytes + 100, SIZE - 100) == 0);
    OK(cmi_input_read(&in, 99, back, 5)); /* before what is held */
    ck_assert(right_bytes(back, 99, 5));
    memset(bytes, 0, SIZE);
    OK(cmi_input_read(&in, 100, back, 5));
    ck_assert(right_bytes(back, 100, 5));
    OK(cmi_input_read(&in, SIZE - 5, back, 5));
    ck_assert(right_bytes(back, SIZE - 5, 5));
    cmi_input_settle(&in); /* from here on only the copy is there */
    OK(cmi_input_read(&in, 100, back, 5));
    FAILS(cmi_input_read(&in, 99, back, 5), CM_ERR_INTERNAL, "x: read after it was closed");
    cmi_input_close(&in);
    OK(cmi_input_memory(context, "x", bytes, SIZE, CM_INPUT_COPIED, &in));
    in.report = note_report, in.report_user = reported, in.work = 77;
    reports = 0, cancel_at = 2;
    FAILS(cmi_input_hold(&in, 0, &held), CM_ERR_CANCELLED, "loading x was cancelled");
    ck_assert_ptr_null(held);
    ck_assert_int_eq(reports, 2);
    cmi_input_close(&in);
    OK(cmi_input_memory(context, "x", bytes, 8 * MIB, CM_INPUT_COPIED, &in)); /* two whole pieces */
    in.report = note_report, in.report_user = reported, in.work = 77;
    reports = 0, cancel_at = -1;
    OK(cmi_input_hold(&in, 0, &held));
    ck_assert_int_eq(reports, 2);
    cmi_input_close(&in);
    OK(cmi_input_memory(context, "x", bytes, SIZE, CM_INPUT_FETCHED, &in));
    OK(cmi_input_hold(&in, 100, &held));
    ck_assert_ptr_null(held);
    cmi_input_settle(&in); /* it is read again each time */
    OK(cmi_input_read(&in, 3, back, 5));
    cmi_input_close(&in);
    OK(cmi_input_memory(context, "x", bytes, SIZE, CM_INPUT_IN_PLACE, &in));
    OK(cmi_input_hold(&in, 100, &held));
    ck_assert_ptr_eq(held, bytes + 100);
    cmi_input_settle(&in);
    OK(cmi_input_read(&in, 3, back, 5));
    ck_assert(!cmi_input_is_mapped(&in, held));
    cmi_input_close(&in);
    free(bytes);
}
END_TEST

START_TEST(files)
{
    cm_input in;
    const unsigned char *held;
    unsigned char back[8];
    write_bytes(in_dir("f"), "0123456789", 10);
    for (int access = 0; access < 3; access++) {
        OK(cmi_input_file(context, in_dir("f"), (cm_input_access)access, &in));
        ck_assert(in.size == 10 && !in.is_folder && in.access == (cm_input_access)access);
        ck_assert_str_eq(in.name, in_dir("f"));
        OK(cmi_input_read(&in, 7, back, 3));
        ck_assert_mem_eq(back, "789", 3);
        OK(cmi_input_hold(&in, 4, &held));
        ck_assert_int_eq(held != NULL, access != CM_INPUT_FETCHED);
        if (held) ck_assert_mem_eq(held, "456789", 6);
        ck_assert_int_eq(cmi_input_is_mapped(&in, held), access == CM_INPUT_IN_PLACE);
        cmi_input_settle(&in);
        OK(cmi_input_read(&in, 4, back, 6));
        ck_assert_mem_eq(back, "456789", 6);
        cmi_input_close(&in);
        ck_assert_ptr_null(in.context);
    }
    ck_assert_int_eq(mkdir(in_dir("d"), 0700), 0);
    OK(cmi_input_file(context, in_dir("d"), CM_INPUT_IN_PLACE, &in));
    ck_assert(in.is_folder == 1 && in.size == 0);
    cmi_input_close(&in);
    FAILS(cmi_input_file(context, in_dir("none"), CM_INPUT_IN_PLACE, &in), CM_ERR_IO, "none");
    ck_assert_ptr_null(in.context);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("tensors");
    TCase *t = tcase_create("tensors");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, headers);
    tcase_add_test(t, wrong_headers);
    tcase_add_test(t, lengths_of_headers);
    tcase_add_test(t, written_bytes);
    tcase_add_test(t, values_of_every_type);
    tcase_add_test(t, memory_is_not_forgotten);
    tcase_add_test(t, formats);
    tcase_add_test(t, bytes_of_nobody);
    tcase_add_test(t, lists);
    tcase_add_test(t, streams);
    tcase_add_test(t, held_bytes);
    tcase_add_test(t, files);
    suite_add_tcase(s, t);
    return s;
}
