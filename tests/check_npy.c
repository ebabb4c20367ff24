/* NumPy's arrays and archives of them: every form of a header with what is read of it, every type of a value, what is
 * written byte for byte, and what is refused with which words. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/npz.h"
#include "support/files.h"
#include "support/memory.h"
#include "support/sets.h"

/* Fails with exactly this message. */
#define SAYS(call, status, text)                                                                                     \
    do {                                                                                                             \
        ck_assert_int_eq((int)(call), (int)(status));                                                                \
        ck_assert_str_eq(cm_last_message(), text);                                                                   \
    } while (0)

/* An array file whose header is this text and a newline, with `size` bytes 0, 1, 2 ... behind it. */
static unsigned char *array_file(int version, const char *header, size_t size, size_t *all)
{
    const size_t begin = version == 1 ? 10 : 12, length = strlen(header) + 1;
    unsigned char *b = malloc(begin + length + size + 1);
    memcpy(b, "\x93NUMPY", 6);
    b[6] = (unsigned char)version, b[7] = 0;
    for (size_t i = 8; i < begin; i++) b[i] = (unsigned char)(length >> 8 * (i - 8));
    memcpy(b + begin, header, length - 1);
    b[begin + length - 1] = '\n';
    for (size_t i = 0; i < size; i++) b[begin + length + i] = (unsigned char)i;
    *all = begin + length + size;
    return b;
}

static cm_status parse(int version, const char *header, size_t size, cm_npy *out)
{
    size_t all;
    unsigned char *b = array_file(version, header, size, &all),
                  *exact = malloc(all); /* tools see a read past its end */
    memcpy(exact, b, all);
    const cm_status status = cmi_npy_parse("x", exact, all, out);
    if (status == CM_OK) {
        ck_assert_uint_eq(out->begin, all - size);
        ck_assert_ptr_eq(out->data, exact + out->begin);
        out->data = NULL;
    }
    free(b);
    free(exact);
    return status;
}

/* --- headers ---------------------------------------------------------------------------------- */

#define DICT(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }"

START_TEST(headers)
{
    static const struct {
        const char *header;
        char kind;
        int bytes, swapped, fortran, rank;
        size_t shape[8], count;
    } rows[] = {
        {DICT("|u1", "False", "(5,)"), 'u', 1, 0, 0, 1, {5}, 5},
        {DICT("<u2", "False", "(5,)"), 'u', 2, 0, 0, 1, {5}, 5},
        {DICT("<u4", "False", "(5,)"), 'u', 4, 0, 0, 1, {5}, 5},
        {DICT("<u8", "False", "(5,)"), 'u', 8, 0, 0, 1, {5}, 5},
        {DICT("|i1", "False", "(5,)"), 'i', 1, 0, 0, 1, {5}, 5},
        {DICT("<i2", "False", "(5,)"), 'i', 2, 0, 0, 1, {5}, 5},
        {DICT("=i4", "False", "(5,)"), 'i', 4, 0, 0, 1, {5}, 5},
        {DICT(">i8", "False", "(5,)"), 'i', 8, 1, 0, 1, {5}, 5},
        {DICT("<f2", "False", "(5,)"), 'f', 2, 0, 0, 1, {5}, 5},
        {DICT("<f4", "False", "(5,)"), 'f', 4, 0, 0, 1, {5}, 5},
        {DICT(">f8", "False", "(5,)"), 'f', 8, 1, 0, 1, {5}, 5},
        {DICT("|b1", "False", "(5,)"), 'b', 1, 0, 0, 1, {5}, 5},
        {DICT("|u1", "True", "(5,)"), 'u', 1, 0, 1, 1, {5}, 5},
        {DICT("|u1", "False", "()"), 'u', 1, 0, 0, 0, {0}, 1},
        {DICT("|u1", "False", "(5)"), 'u', 1, 0, 0, 1, {5}, 5},
        {DICT("|u1", "False", "(2, 3)"), 'u', 1, 0, 0, 2, {2, 3}, 6},
        {DICT("|u1", "False", "(2,3)"), 'u', 1, 0, 0, 2, {2, 3}, 6},
        {DICT("|u1", "False", "(2 ,  3 , )"), 'u', 1, 0, 0, 2, {2, 3}, 6},
        {DICT("|u1", "False", "(10, 29)"), 'u', 1, 0, 0, 2, {10, 29}, 290},
        {DICT("|u1", "False", "(0, 3)"), 'u', 1, 0, 0, 2, {0, 3}, 0},
        {DICT("|u1", "False", "(1, 2, 1, 3, 1, 1, 2, 1)"), 'u', 1, 0, 0, 8, {1, 2, 1, 3, 1, 1, 2, 1}, 12},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,)}", 'f', 4, 0, 0, 1, {3}, 3},
        {"{\"descr\": \"<f4\", \"fortran_order\": True, \"shape\": (3,)}", 'f', 4, 0, 1, 1, {3}, 3},
        {"{'shape' :  (3,) , 'fortran_order'  : False, 'descr' : '<i2'}  ", 'i', 2, 0, 0, 1, {3}, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int version = 1; version < 4; version++) {
            cm_npy a;
            ck_assert_msg(parse(version, rows[i].header, rows[i].count * (size_t)rows[i].bytes, &a) == CM_OK,
                          "%s: %s", rows[i].header, cm_last_message());
            ck_assert_msg(a.kind == rows[i].kind && a.bytes == rows[i].bytes && a.swapped == rows[i].swapped &&
                              a.fortran == rows[i].fortran && a.rank == rows[i].rank && a.count == rows[i].count,
                          "%s", rows[i].header);
            ck_assert_int_eq(memcmp(a.shape, rows[i].shape, (size_t)a.rank * sizeof *a.shape), 0);
        }
}
END_TEST

#define NO_TYPE "x: its element type is not a plain number (object arrays are refused)"
#define NO_ORDER "x: fortran_order is neither True nor False"
#define NO_SHAPE "x: its shape cannot be read"

START_TEST(headers_refused)
{
    static const struct {
        const char *header, *text;
    } rows[] = {
        {DICT("|O", "False", "(5,)"), NO_TYPE},
        /* Around a key stand its quotes, and a colon behind it. */
        {"{ descr : '|u1', 'fortran_order': False, 'shape': (5,)}", NO_TYPE},
        {"{'descr''|u1', 'fortran_order': False, 'shape': (5,)}", NO_TYPE},
        {"{'descr' '|u1', 'fortran_order': False, 'shape': (5,)}", NO_TYPE},
        {"{'descr\": '|u1', 'fortran_order': False, 'shape': (5,)}", NO_TYPE},
        {"{'descr:: '|u1', 'fortran_order': False, 'shape': (5,)}", NO_TYPE},
        {"{'descr':: '|u1', 'fortran_order': False, 'shape': (5,)}", NO_TYPE},
        {"{'descr': '|u1', 'fortran_order'False, 'shape': (5,)}", NO_ORDER},
        {"{'descr': '|u1', 'fortran_order': False, 'shape'(5,)}", NO_SHAPE},
        {"{'descr': '|u1', 'fortran_order': False, 'shape'", NO_SHAPE},
        {"{'descr': '|u1', 'fortran_order': False, 'shape", NO_SHAPE},
        {DICT("<f1", "False", "(5,)"), NO_TYPE},
        {DICT("<f3", "False", "(5,)"), NO_TYPE},
        {DICT("<f16", "False", "(5,)"), NO_TYPE},
        {DICT("<u3", "False", "(5,)"), NO_TYPE},
        {DICT("<i0", "False", "(5,)"), NO_TYPE},
        {DICT("<i16", "False", "(5,)"), NO_TYPE},
        {DICT("<c8", "False", "(5,)"), NO_TYPE},
        {DICT("<M8[s]", "False", "(5,)"), NO_TYPE},
        {DICT("<i4x", "False", "(5,)"), NO_TYPE},
        {DICT("|S1", "False", "(5,)"), NO_TYPE},
        {DICT("!u1", "False", "(5,)"), NO_TYPE},
        {DICT("", "False", "(5,)"), NO_TYPE},
        {"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (5,), }", NO_TYPE},
        {"{descr: '|u1', 'fortran_order': False, 'shape': (5,), }", NO_TYPE},
        {"descr: '|u1', 'fortran_order': False, 'shape': (5,), }", NO_TYPE},
        {"{'fortran_order': False, 'shape': (5,), }", NO_TYPE},
        {DICT("|u1", "Fals", "(5,)"), NO_ORDER},
        {DICT("|u1", "Tru", "(5,)"), NO_ORDER},
        {DICT("|u1", "0", "(5,)"), NO_ORDER},
        {"", NO_TYPE},
        {"{'descr': '|u1', 'shape': (5,), }", NO_ORDER},
        {"{'descr': '|u1', 'fortran_order': False, }", NO_SHAPE},
        {DICT("|u1", "False", "[5]"), NO_SHAPE},
        {DICT("|u1", "False", "5"), NO_SHAPE},
        {DICT("|u1", "False", "(-5,)"), NO_SHAPE},
        {DICT("|u1", "False", "(5L,)"), NO_SHAPE},
        {DICT("|u1", "False", "(x,)"), NO_SHAPE},
        {DICT("|u1", "False", "(5"), NO_SHAPE},
        {DICT("|u1", "False", "(,)"), NO_SHAPE},
        {DICT("|u1", "False", "(/)"), NO_SHAPE},
        {DICT("|u1", "False", "(:)"), NO_SHAPE},
        {DICT("|u1", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 5)"), NO_SHAPE},
        {DICT("|u1", "False", "(99999999999999999999999,)"), NO_SHAPE},
        {DICT("|u1", "False", "(4294967296, 4294967296, 2)"), NO_SHAPE},
        {DICT("|u1", "False", "(4,)"), "x: 4 values of 1 bytes do not fill the 5 bytes there are"},
        {DICT("|u1", "False", "(6,)"), "x: 6 values of 1 bytes do not fill the 5 bytes there are"},
        {DICT("<u2", "False", "(5,)"), "x: 5 values of 2 bytes do not fill the 5 bytes there are"},
        {DICT("<u2", "False", "()"), "x: 1 values of 2 bytes do not fill the 5 bytes there are"},
    };
    cm_npy a;
    char header[100], text[100];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int version = 1; version < 3; version++)
            SAYS(parse(version, rows[i].header, 5, &a), CM_ERR_FORMAT, rows[i].text);
    for (int over = 0; over < 2; over++) { /* an extent that half of the address space has, and one more */
        const size_t extent = SIZE_MAX / 2 + (size_t)over;
        snprintf(header, sizeof header, DICT("|u1", "False", "(0, %zu)"), extent);
        snprintf(text, sizeof text, "x: 0 values of 1 bytes do not fill the 5 bytes there are");
        SAYS(parse(1, header, 5, &a), CM_ERR_FORMAT, over ? NO_SHAPE : text);
    }
    snprintf(header, sizeof header, DICT("<u8", "False", "(%zu,)"), SIZE_MAX / 8 + 1); /* its bytes do not fit */
    snprintf(text, sizeof text, "x: %zu values of 8 bytes do not fill the 0 bytes there are", SIZE_MAX / 8 + 1);
    SAYS(parse(1, header, 0, &a), CM_ERR_FORMAT, text);
}
END_TEST

/* What stands before the header's text: magic, version and length. */
START_TEST(beginnings)
{
    static const char dict[] = DICT("|u1", "False", "(5,)");
    size_t all;
    unsigned char *b = array_file(1, dict, 5, &all);
    char text[100];
    cm_npy a;
    const size_t length = sizeof dict; /* with the newline for the NUL */
    OK(cmi_npy_parse("x", b, all, &a));
    for (size_t n = 0; n < 12; n++) SAYS(cmi_npy_parse("x", b, n, &a), CM_ERR_FORMAT, "x: not a NumPy array");
    snprintf(text, sizeof text, "x: its header of %zu bytes is damaged", length);
    for (size_t n = 12; n < 10 + length; n++) SAYS(cmi_npy_parse("x", b, n, &a), CM_ERR_FORMAT, text);
    SAYS(cmi_npy_parse("x", b, 10 + length, &a), CM_ERR_FORMAT,
         "x: 5 values of 1 bytes do not fill the 0 bytes there are");
    for (int i = 0; i < 6; i++) {
        b[i] ^= 1;
        SAYS(cmi_npy_parse("x", b, all, &a), CM_ERR_FORMAT, "x: not a NumPy array");
        b[i] ^= 1;
    }
    b[9 + length] = ' ';
    SAYS(cmi_npy_parse("x", b, all, &a), CM_ERR_FORMAT, text);
    b[9 + length] = '\n';
    for (int version = 0; version < 256; version += version < 5 ? 1 : 50) {
        if (version >= 1 && version <= 3) continue;
        b[6] = (unsigned char)version;
        snprintf(text, sizeof text, "x: NumPy format version %d", version);
        SAYS(cmi_npy_parse("x", b, all, &a), CM_ERR_UNSUPPORTED, text);
    }
    b[6] = 1;
    b[8] = b[9] = 0;
    SAYS(cmi_npy_parse("x", b, all, &a), CM_ERR_FORMAT, "x: its header of 0 bytes is damaged");
    b[9] = 1;
    SAYS(cmi_npy_parse("x", b, all, &a), CM_ERR_FORMAT, "x: its header of 256 bytes is damaged");
    b[8] = 4, b[9] = 3, b[10] = 2, b[11] = 1;
    SAYS(cmi_npy_parse("x", b, all, &a), CM_ERR_FORMAT, "x: its header of 772 bytes is damaged");
    for (int version = 2; version < 4; version++) { /* these have four bytes for it */
        b[6] = (unsigned char)version;
        SAYS(cmi_npy_parse("x", b, all, &a), CM_ERR_FORMAT, "x: its header of 16909060 bytes is damaged");
    }
    free(b);
}
END_TEST

/* The longest header, and one byte more; its beginning suffices to judge an array. */
START_TEST(longest_header)
{
    static const char dict[] = DICT("|u1", "False", "(9000,)");
    char header[CM_NPY_HEAD];
    size_t all;
    cm_npy a;
    memset(header, ' ', sizeof header);
    memcpy(header, dict, sizeof dict - 1);
    for (size_t length = 4095; length < 4097; length++)
        for (int version = 1; version < 3; version++) {
            const size_t begin = version == 1 ? 10 : 12;
            header[length - 1] = '\0';
            unsigned char *b = array_file(version, header, 9000, &all);
            header[length - 1] = ' ';
            if (length == 4096) {
                SAYS(cmi_npy_parse("x", b, all, &a), CM_ERR_FORMAT, "x: its header of 4096 bytes is damaged");
                free(b);
                continue;
            }
            OK(cmi_npy_parse("x", b, all, &a));
            OK(cmi_npy_check("x", b, CM_NPY_HEAD, all, &a));
            ck_assert_uint_eq(a.begin, begin + length);
            ck_assert_ptr_null(a.data);
            OK(cmi_npy_check("x", b, begin + length, all, &a));
            SAYS(cmi_npy_check("x", b, begin + length - 1, all, &a), CM_ERR_FORMAT,
                 "x: its header of 4095 bytes is damaged");
            SAYS(cmi_npy_check("x", b, begin + length, all + 1, &a), CM_ERR_FORMAT,
                 "x: 9000 values of 1 bytes do not fill the 9001 bytes there are");
            free(b);
        }
}
END_TEST

/* --- values ------------------------------------------------------------------------------------ */

/* Bytes from the most significant one on, as they stand in a big-endian array. */
START_TEST(values)
{
    static const struct {
        char kind;
        int bytes;
        unsigned char high_first[8];
        double value;
    } rows[] = {
        {'u', 1, {0}, 0},
        {'u', 1, {255}, 255},
        {'u', 2, {1, 2}, 258},
        {'u', 2, {0xff, 0xfe}, 65534},
        {'u', 4, {1, 2, 3, 4}, 16909060},
        {'u', 4, {0xff, 0xff, 0xff, 0xfe}, 4294967294.0},
        {'u', 8, {0, 1, 2, 3, 4, 5, 6, 7}, 283686952306183.0},
        {'u', 8, {0x80, 0, 0, 0, 0, 0, 0, 0}, 9223372036854775808.0},
        {'i', 1, {127}, 127},
        {'i', 1, {128}, -128},
        {'i', 1, {255}, -1},
        {'i', 2, {0x7f, 0xff}, 32767},
        {'i', 2, {0x80, 0x00}, -32768},
        {'i', 2, {0x00, 0xff}, 255},
        {'i', 2, {0xff, 0xfe}, -2},
        {'i', 4, {0x7f, 0xff, 0xff, 0xfe}, 2147483646},
        {'i', 4, {0x80, 0, 0, 1}, -2147483647},
        {'i', 4, {0xff, 0xff, 0xff, 0xff}, -1},
        {'i', 8, {0, 1, 2, 3, 4, 5, 6, 7}, 283686952306183.0},
        {'i', 8, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}, -2},
        {'i', 8, {0x80, 0, 0, 0, 0, 0, 0, 0}, -9223372036854775808.0},
        {'f', 2, {0x3e, 0x00}, 1.5},
        {'f', 2, {0xc0, 0x01}, -2.001953125},
        {'f', 4, {0x3f, 0xc0, 0x00, 0x00}, 1.5},
        {'f', 4, {0xc0, 0x00, 0x00, 0x01}, -2.000000238418579},
        {'f', 8, {0x3f, 0xf8, 0, 0, 0, 0, 0, 0}, 1.5},
        {'f', 8, {0xbf, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a}, -0.1},
        {'b', 1, {0}, 0},
        {'b', 1, {1}, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int swapped = 0; swapped < 2; swapped++)
            for (size_t at = 0; at < 3; at++) { /* other values before and behind it */
                const size_t n = (size_t)rows[i].bytes;
                unsigned char *data = malloc(3 * n);
                memset(data, 0x55, 3 * n);
                for (size_t k = 0; k < n; k++) data[at * n + k] = rows[i].high_first[swapped ? k : n - 1 - k];
                const cm_npy a = {.kind = rows[i].kind, .bytes = rows[i].bytes, .swapped = swapped, .data = data};
                const double v = cmi_npy_value(&a, at);
                ck_assert_msg(v == rows[i].value, "row %zu: %.17g, expected %.17g", i, v, rows[i].value);
                free(data);
            }
}
END_TEST

/* Element (i, j, k) in C order, however it lies there. */
START_TEST(orders)
{
    enum { A = 2, B = 3, C = 4 };
    static unsigned char data[A * B * C + 1];
    double out[A * B * C + 1];
    cm_npy a = {.kind = 'u', .bytes = 1, .rank = 3, .shape = {A, B, C}, .count = A * B * C, .data = data};
    for (int fortran = 0; fortran < 2; fortran++) {
        a.fortran = fortran;
        for (int i = 0; i < A; i++)
            for (int j = 0; j < B; j++)
                for (int k = 0; k < C; k++)
                    data[fortran ? i + A * (j + B * k) : (i * B + j) * C + k] = (unsigned char)(100 * i + 10 * j + k);
        out[A * B * C] = -7;
        cmi_npy_doubles(&a, out);
        ck_assert(out[A * B * C] == -7);
        for (int i = 0; i < A; i++)
            for (int j = 0; j < B; j++)
                for (int k = 0; k < C; k++) ck_assert(out[(i * B + j) * C + k] == 100 * i + 10 * j + k);
    }
    a.rank = 0, a.count = 1;
    cmi_npy_doubles(&a, out);
    ck_assert(out[0] == 0);
}
END_TEST

/* --- archives ------------------------------------------------------------------------------------ */

/* The bytes of member `name` are NumPy's: the shortest header that ends at a multiple of 64, then the data. */
static void expect_member(const char *path, const char *name, const char *dict, const void *data, size_t size)
{
    cm_zip *zip;
    unsigned char *got, want[600];
    size_t n, header = (10 + strlen(dict) + 1 + 63) / 64 * 64;
    OK(cmi_zip_open(context, path, &zip));
    ck_assert_uint_eq(cmi_zip_count(zip), 1);
    ck_assert_str_eq(cmi_zip_name(zip, 0), name);
    OK(cmi_zip_read(zip, 0, &got, &n));
    memset(want, ' ', sizeof want);
    memcpy(want, "\x93NUMPY\1\0", 8);
    want[8] = (unsigned char)(header - 10), want[9] = 0;
    memcpy(want + 10, dict, strlen(dict));
    want[header - 1] = '\n';
    memcpy(want + header, data, size);
    ck_assert_uint_eq(n, header + size);
    ck_assert_msg(memcmp(got, want, n) == 0, "%s", dict);
    cmi_free(context, got);
    cmi_zip_close(zip);
}

START_TEST(written)
{
    static const double numbers[24] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21};
    static const struct {
        cm_npz_array array;
        const char *dict;
        size_t size;
    } rows[] = {
        {{"a", "<f8", 0, {0}, 8, numbers}, DICT("<f8", "False", "()"), 8},
        {{"a", "<f8", 1, {3}, 8, numbers}, DICT("<f8", "False", "(3,)"), 24},
        {{"a", "<f8", 1, {0}, 8, numbers}, DICT("<f8", "False", "(0,)"), 0},
        {{"a", "<f8", 2, {2, 3}, 8, numbers}, DICT("<f8", "False", "(2, 3)"), 48},
        {{"a", "<f8", 3, {2, 1, 3}, 8, numbers}, DICT("<f8", "False", "(2, 1, 3)"), 48},
        {{"a", "<f8", 4, {2, 1, 3, 4}, 8, numbers}, DICT("<f8", "False", "(2, 1, 3, 4)"), 192},
        {{"a", "|u1", 2, {10, 11}, 1, numbers}, DICT("|u1", "False", "(10, 11)"), 110},
    };
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("w.npz"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_npz *npz;
        cm_npy a;
        OK(cmi_npz_write(context, path, 1, &rows[i].array, 1));
        expect_member(path, "a.npy", rows[i].dict, numbers, rows[i].size);
        OK(cmi_npz_open(context, path, &npz));
        OK(cmi_npz_read(npz, "a", &a));
        ck_assert_int_eq(a.rank, rows[i].array.rank);
        ck_assert_int_eq(memcmp(a.data, numbers, rows[i].size), 0);
        cmi_npz_close(npz);
    }
    for (size_t n = 1; n < 188; n++) { /* headers that end before, at and behind a multiple of 64 */
        char descr[200], dict[300];
        memset(descr, 'd', n);
        descr[n] = '\0';
        const cm_npz_array array = {"a", descr, 0, {0}, 8, numbers};
        snprintf(dict, sizeof dict, DICT("%s", "False", "()"), descr);
        OK(cmi_npz_write(context, path, 1, &array, 1));
        expect_member(path, "a.npy", dict, numbers, 8);
    }
}
END_TEST

START_TEST(several_arrays)
{
    static const uint8_t bytes[3] = {7, 8, 9};
    const cm_npz_array arrays[] = {
        {"a", "|u1", 1, {1}, 1, bytes}, {"ab", "|u1", 1, {2}, 1, bytes + 1}, cmi_npz_text("t", "words")};
    char path[300];
    cm_npz *npz;
    cm_npy a, b;
    snprintf(path, sizeof path, "%s", in_dir("s.npz"));
    OK(cmi_npz_write(context, path, 0, arrays, 3));
    FAILS(cmi_npz_write(context, path, 0, arrays, 3), CM_ERR_IO, "s.npz");
    ck_assert_int_eq(files_in_dir(), 1);
    OK(cmi_npz_open(context, path, &npz));
    ck_assert(cmi_npz_has(npz, "a") && cmi_npz_has(npz, "ab") && cmi_npz_has(npz, "t"));
    ck_assert(!cmi_npz_has(npz, "b") && !cmi_npz_has(npz, "") && !cmi_npz_has(npz, "a.npy"));
    OK(cmi_npz_read(npz, "ab", &b));
    ck_assert(b.count == 2 && b.data[0] == 8 && b.data[1] == 9);
    OK(cmi_npz_read(npz, "a", &a));
    ck_assert(a.count == 1 && a.data[0] == 7);
    char text[400];
    snprintf(text, sizeof text, "%s: there is no array 'b'", path);
    SAYS(cmi_npz_read(npz, "b", &b), CM_ERR_FORMAT, text);
    cmi_npz_close(npz);
    OK(cmi_npz_write(context, path, 1, arrays, 0)); /* nothing in it */
    OK(cmi_npz_open(context, path, &npz));
    ck_assert(!cmi_npz_has(npz, "a"));
    cmi_npz_close(npz);
    FAILS(cmi_npz_open(context, in_dir("none.npz"), &npz), CM_ERR_IO, "none.npz");
    ck_assert_ptr_null(npz);
}
END_TEST

/* Of members of one name the last one counts. */
START_TEST(members_of_one_name)
{
    static const uint8_t bytes[2] = {7, 8};
    const cm_npz_array arrays[] = {{"a", "|u1", 1, {1}, 1, bytes}, {"b", "|u1", 1, {1}, 1, bytes + 1}};
    size_t size;
    cm_npz *npz;
    cm_npy a;
    OK(cmi_npz_write(context, in_dir("t.npz"), 0, arrays, 2));
    unsigned char *all = read_bytes(in_dir("t.npz"), &size);
    for (size_t i = 0; i + 5 <= size; i++)
        if (memcmp(all + i, "b.npy", 5) == 0) all[i] = 'a';
    write_bytes(in_dir("t.npz"), all, size);
    free(all);
    OK(cmi_npz_open(context, in_dir("t.npz"), &npz));
    OK(cmi_npz_read(npz, "a", &a));
    ck_assert_int_eq(a.data[0], 8);
    cmi_npz_close(npz);
}
END_TEST

/* A text is bytes of one dimension without a NUL, shorter than the room for it. */
START_TEST(texts)
{
    static const uint8_t bytes[] = {'a', 'b', 0, 'c'};
    const cm_npz_array arrays[] = {cmi_npz_text("good", "five!"),         cmi_npz_text("empty", ""),
                                   {"signed", "|i1", 1, {2}, 1, bytes},   {"wide", "<u2", 1, {1}, 2, bytes},
                                   {"table", "|u1", 2, {1, 2}, 1, bytes}, {"zero", "|u1", 1, {4}, 1, bytes},
                                   {"last", "|u1", 1, {3}, 1, bytes},     {"number", "|u1", 0, {0}, 1, bytes}};
    static const char *const bad[] = {"signed", "wide", "table", "zero", "last", "number"};
    char path[300], text[16], message[400];
    cm_npz *npz;
    snprintf(path, sizeof path, "%s", in_dir("x.npz"));
    OK(cmi_npz_write(context, path, 0, arrays, sizeof arrays / sizeof *arrays));
    OK(cmi_npz_open(context, path, &npz));
    memset(text, '#', sizeof text);
    OK(cmi_npz_read_text(npz, "good", 6, text));
    ck_assert_str_eq(text, "five!");
    ck_assert_int_eq(text[6], '#');
    OK(cmi_npz_read_text(npz, "empty", 1, text));
    ck_assert_str_eq(text, "");
    snprintf(message, sizeof message, "%s: good is a text of 5 bytes, expected less than 5", path);
    SAYS(cmi_npz_read_text(npz, "good", 5, text), CM_ERR_FORMAT, message);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(message, sizeof message, "%s: %s is no text", path, bad[i]);
        SAYS(cmi_npz_read_text(npz, bad[i], sizeof text, text), CM_ERR_FORMAT, message);
    }
    FAILS(cmi_npz_read_text(npz, "none", sizeof text, text), CM_ERR_FORMAT, "there is no array 'none'");
    cmi_npz_close(npz);
}
END_TEST

/* Nothing is taken for an array before its header agrees with its size, however small the file is; what is small is
 * judged all the same. */
START_TEST(members_are_judged_first)
{
    static const struct {
        size_t claims, has;
    } rows[] = {{1 << 22, 1 << 22}, {1 << 21, 1 << 22}, {4000, 4000}, {3999, 4000},
                {4030, 4030},       {4031, 4031},       {4032, 4030}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memory counted;
        memory_reset(&counted);
        cm_context_options o = memory_options(&counted, 1);
        cm_context *own;
        cm_npz *npz;
        cm_npy a;
        char header[100];
        size_t all;
        snprintf(header, sizeof header, DICT("|u1", "False", "(%zu,)"), rows[i].claims);
        unsigned char *bytes = array_file(1, header, rows[i].has, &all);
        const char *const names[] = {"a.npy"};
        const void *const data[] = {bytes};
        make_zip(in_dir("m.npz"), names, data, &all, 1, 0);
        OK(cm_context_create(&o, &own));
        OK(cmi_npz_open(own, in_dir("m.npz"), &npz));
        const long long before = counted.peak;
        if (rows[i].claims == rows[i].has) {
            OK(cmi_npz_read(npz, "a", &a));
            ck_assert_uint_eq(a.count, rows[i].has);
            ck_assert_int_eq(a.data[a.count - 1], (int)((rows[i].has - 1) % 256));
        } else {
            FAILS(cmi_npz_read(npz, "a", &a), CM_ERR_FORMAT, "m.npz: a: ");
            FAILS(cmi_npz_read(npz, "a", &a), CM_ERR_FORMAT, "bytes there are");
            ck_assert_int_lt((int)(counted.peak - before), 1 << 16);
        }
        cmi_npz_close(npz);
        cm_context_free(own);
        ck_assert_int_eq((int)counted.live, 0);
        free(bytes);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("npy");
    TCase *t = tcase_create("npy");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, headers);
    tcase_add_test(t, headers_refused);
    tcase_add_test(t, beginnings);
    tcase_add_test(t, longest_header);
    tcase_add_test(t, values);
    tcase_add_test(t, orders);
    tcase_add_test(t, written);
    tcase_add_test(t, several_arrays);
    tcase_add_test(t, members_of_one_name);
    tcase_add_test(t, texts);
    tcase_add_test(t, members_are_judged_first);
    suite_add_tcase(s, t);
    return s;
}
