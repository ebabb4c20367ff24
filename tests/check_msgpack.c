/* Msgpack value by value: every form of the format with what is read of it, every limit, and what is said where the
 * bytes do not suffice. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/msgpack.h"
#include "support/flax_file.h"
#include "support/counted.h"

static cm_input input_of(const void *bytes, size_t size)
{
    cm_input in;
    OK(cmi_input_memory(context, "x", bytes, size, CM_INPUT_IN_PLACE, &in));
    return in;
}

/* Fails with exactly this message. */
#define SAYS(call, status, text)                                                                                     \
    do {                                                                                                             \
        ck_assert_int_eq((int)(call), (int)(status));                                                                \
        ck_assert_str_eq(cm_last_message(), text);                                                                   \
    } while (0)

/* --- a value --------------------------------------------------------------------------------- */

typedef struct {
    const char *head;
    size_t n; /* bytes of it */
    cm_msgpack_kind kind;
    uint64_t value; /* of a number: its bits; of others: the size   */
    int negative;
    int type;     /* of an extension                               */
    size_t needs; /* bytes that have to follow                     */
} form;

#define H(text) text, sizeof(text) - 1
#define NUMBER(bits) CM_MSGPACK_INT, bits, 0, 0, 0
#define BELOW(bits) CM_MSGPACK_INT, (uint64_t)(int64_t)(bits), 1, 0, 0

static const form forms[] = {
    {H("\x00"), NUMBER(0)},
    {H("\x01"), NUMBER(1)},
    {H("\x7f"), NUMBER(127)},
    {H("\x80"), CM_MSGPACK_MAP, 0, 0, 0, 0},
    {H("\x81"), CM_MSGPACK_MAP, 1, 0, 0, 2},
    {H("\x8f"), CM_MSGPACK_MAP, 15, 0, 0, 30},
    {H("\x90"), CM_MSGPACK_LIST, 0, 0, 0, 0},
    {H("\x91"), CM_MSGPACK_LIST, 1, 0, 0, 1},
    {H("\x9f"), CM_MSGPACK_LIST, 15, 0, 0, 15},
    {H("\xa0"), CM_MSGPACK_TEXT, 0, 0, 0, 0},
    {H("\xa1"), CM_MSGPACK_TEXT, 1, 0, 0, 1},
    {H("\xbf"), CM_MSGPACK_TEXT, 31, 0, 0, 31},
    {H("\xc0"), CM_MSGPACK_NIL, 0, 0, 0, 0},
    {H("\xc2"), CM_MSGPACK_BOOL, 0, 0, 0, 0},
    {H("\xc3"), CM_MSGPACK_BOOL, 1, 0, 0, 0},
    {H("\xc4\x03"), CM_MSGPACK_BYTES, 3, 0, 0, 3},
    {H("\xc4\xff"), CM_MSGPACK_BYTES, 255, 0, 0, 255},
    {H("\xc5\x01\x02"), CM_MSGPACK_BYTES, 0x102, 0, 0, 0x102},
    {H("\xc6\x00\x01\x02\x03"), CM_MSGPACK_BYTES, 0x10203, 0, 0, 0x10203},
    {H("\xc7\x03\x05"), CM_MSGPACK_EXTENSION, 3, 0, 5, 3},
    {H("\xc7\x00\x7f"), CM_MSGPACK_EXTENSION, 0, 0, 127, 0},
    {H("\xc7\x01\x80"), CM_MSGPACK_EXTENSION, 1, 0, -128, 1},
    {H("\xc7\x01\xff"), CM_MSGPACK_EXTENSION, 1, 0, -1, 1},
    {H("\xc8\x01\x02\x01"), CM_MSGPACK_EXTENSION, 0x102, 0, 1, 0x102},
    {H("\xc9\x00\x01\x02\x03\x01"), CM_MSGPACK_EXTENSION, 0x10203, 0, 1, 0x10203},
    {H("\xca\x3f\x80\x00\x01"), CM_MSGPACK_FLOAT, 0x3f800001, 0, 0, 0},
    {H("\xcb\xbf\xf0\x00\x00\x00\x00\x00\x01"), CM_MSGPACK_FLOAT, 0xbff0000000000001, 0, 0, 0},
    {H("\xcc\x01"), NUMBER(1)},
    {H("\xcc\xff"), NUMBER(255)},
    {H("\xcd\x01\x02"), NUMBER(0x102)},
    {H("\xcd\xff\xfe"), NUMBER(0xfffe)},
    {H("\xce\x01\x02\x03\x04"), NUMBER(0x1020304)},
    {H("\xce\xff\xff\xff\xfe"), NUMBER(0xfffffffe)},
    {H("\xcf\x01\x02\x03\x04\x05\x06\x07\x08"), NUMBER(0x102030405060708)},
    {H("\xcf\xff\xff\xff\xff\xff\xff\xff\xfe"), NUMBER(0xfffffffffffffffe)},
    {H("\xd0\x7f"), NUMBER(127)},
    {H("\xd0\x80"), BELOW(-128)},
    {H("\xd0\xff"), BELOW(-1)},
    {H("\xd1\x7f\xff"), NUMBER(32767)},
    {H("\xd1\x80\x00"), BELOW(-32768)},
    {H("\xd1\x00\x80"), NUMBER(128)},
    {H("\xd2\x7f\xff\xff\xfe"), NUMBER(0x7ffffffe)},
    {H("\xd2\x80\x00\x00\x01"), BELOW(-2147483647)},
    {H("\xd3\x7f\xff\xff\xff\xff\xff\xff\xfe"), NUMBER(0x7ffffffffffffffe)},
    {H("\xd3\x80\x00\x00\x00\x00\x00\x00\x01"), BELOW(-0x7fffffffffffffff)},
    {H("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"), BELOW(-1)},
    {H("\xd4\x05"), CM_MSGPACK_EXTENSION, 1, 0, 5, 1},
    {H("\xd5\x05"), CM_MSGPACK_EXTENSION, 2, 0, 5, 2},
    {H("\xd6\x05"), CM_MSGPACK_EXTENSION, 4, 0, 5, 4},
    {H("\xd7\x05"), CM_MSGPACK_EXTENSION, 8, 0, 5, 8},
    {H("\xd8\xfe"), CM_MSGPACK_EXTENSION, 16, 0, -2, 16},
    {H("\xd9\x05"), CM_MSGPACK_TEXT, 5, 0, 0, 5},
    {H("\xda\x01\x02"), CM_MSGPACK_TEXT, 0x102, 0, 0, 0x102},
    {H("\xdb\x00\x01\x02\x03"), CM_MSGPACK_TEXT, 0x10203, 0, 0, 0x10203},
    {H("\xdc\x01\x02"), CM_MSGPACK_LIST, 0x102, 0, 0, 0x102},
    {H("\xdd\x00\x01\x02\x03"), CM_MSGPACK_LIST, 0x10203, 0, 0, 0x10203},
    {H("\xde\x01\x02"), CM_MSGPACK_MAP, 0x102, 0, 0, 0x204},
    {H("\xdf\x00\x01\x02\x03"), CM_MSGPACK_MAP, 0x10203, 0, 0, 0x20406},
    {H("\xe0"), BELOW(-32)},
    {H("\xfe"), BELOW(-2)},
    {H("\xff"), BELOW(-1)},
};

/* Three other bytes stand before it, so that places count from the beginning of the file. */
enum { BEFORE = 3 };

/* Each form whole, with other bytes behind it, and cut one byte short of what it needs. */
START_TEST(every_form)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const form *f = &forms[i];
        const int is_open = f->kind == CM_MSGPACK_LIST || f->kind == CM_MSGPACK_MAP;
        const size_t whole = BEFORE + f->n + f->needs;
        unsigned char *bytes = calloc(whole + 2, 1);
        memcpy(bytes + BEFORE, f->head, f->n);
        for (size_t more = 0; more < 3; more += 2) {
            cm_input in = input_of(bytes, whole + more);
            cm_msgpack v;
            size_t at = BEFORE;
            OK(cmi_msgpack_next(&in, &at, whole + more, &v));
            ck_assert_msg(v.kind == f->kind && v.negative == f->negative && v.type == f->type, "form %zu", i);
            if (f->kind >= CM_MSGPACK_TEXT) ck_assert_msg(v.size == f->value, "form %zu has %zu", i, v.size);
            else ck_assert_msg(v.bits == f->value, "form %zu is %llx", i, (unsigned long long)v.bits);
            if (f->kind >= CM_MSGPACK_TEXT && !is_open) ck_assert_uint_eq(v.at, BEFORE + f->n);
            ck_assert_msg(at == (is_open ? BEFORE + f->n : whole), "form %zu ends at %zu", i, at);
            cmi_input_close(&in);
        }
        for (size_t end = BEFORE; end < whole;
             end += end + 1 < BEFORE + f->n || end + 3 > whole ? 1 : whole - end - 2) {
            unsigned char *exact = malloc(end + 1);
            memcpy(exact + 1, bytes, end);
            cm_input in = input_of(exact + 1, end);
            cm_msgpack v;
            size_t at = BEFORE;
            FAILS(cmi_msgpack_next(&in, &at, end, &v), CM_ERR_FORMAT, "x: truncated: at byte ");
            cmi_input_close(&in);
            free(exact);
        }
        free(bytes);
    }
}
END_TEST

START_TEST(messages)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } rows[] = {
        {H("..."), "x: truncated: at byte 3 a value needs 1 bytes, 0 are left"},
        {H("...\xcd\x01"), "x: truncated: at byte 4 a value needs 2 bytes, 1 are left"},
        {H("...\xc7\x01"), "x: truncated: at byte 5 a value needs 1 bytes, 0 are left"},
        {H("...\xa5"
           "abcd"),
         "x: truncated: at byte 4 a text claims 5 bytes, 4 are left"},
        {H("...\xc4\x03"
           "ab"),
         "x: truncated: at byte 5 bytes claims 3 bytes, 2 are left"},
        {H("...\xc7\x03\x01"
           "ab"),
         "x: truncated: at byte 5 an extension claims 3 bytes, 2 are left"},
        {H("...\x93\x01\x02"), "x: truncated: at byte 3 a list claims 3 values, 2 bytes are left"},
        {H("...\x82\xa0\xc0\xa0"), "x: truncated: at byte 3 a map claims 4 values, 3 bytes are left"},
        {H("...\xc1"), "x: the reserved byte c1 at byte 3 begins no value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_input in = input_of(rows[i].bytes, rows[i].n);
        cm_msgpack v;
        size_t at = BEFORE;
        SAYS(cmi_msgpack_next(&in, &at, rows[i].n, &v), CM_ERR_FORMAT, rows[i].text);
        cmi_input_close(&in);
    }
}
END_TEST

START_TEST(whole_values)
{
    static const struct {
        const char *bytes;
        size_t n, end; /* of the value that begins at byte 3 */
    } rows[] = {{H("...\x05\xc0"), 4},
                {H("...\x90\xc0"), 4},
                {H("...\x80\xc0"), 4},
                {H("...\x92\x01\x02\xc0"), 6},
                {H("...\x82\xa1"
                   "a\x01\xa1"
                   "b\x91\xc0\xc0"),
                 11},
                {H("...\x92\x81\xa0\x92\x01\x02\x81\xa0\xa2xy\xc0\xc0"), 14}};
    static const char two_lists[] = "...\x93\x92\x01\x02\x03";
    cm_input in;
    size_t at;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        in = input_of(rows[i].bytes, rows[i].n);
        at = BEFORE;
        OK(cmi_msgpack_skip(&in, &at, rows[i].n));
        ck_assert_uint_eq(at, rows[i].end);
        at = BEFORE;
        OK(cmi_msgpack_skip(&in, &at, rows[i].end)); /* nothing behind it is needed */
        cmi_input_close(&in);
    }
    in = input_of(two_lists, sizeof two_lists - 1);
    at = BEFORE;
    SAYS(cmi_msgpack_skip(&in, &at, in.size), CM_ERR_FORMAT,
         "x: truncated: at byte 5 4 values are still to come, 3 bytes are left");
    cmi_input_close(&in);
}
END_TEST

/* A text is compared as a whole, up to the 256 bytes that names may have. */
START_TEST(texts_compared)
{
    char text[258], bytes[300] = "\xda";
    cm_msgpack v;
    int same;
    memset(text, 'k', sizeof text);
    memset(bytes + 3, 'k', 257);
    for (size_t n = 255; n < 258; n++) {
        bytes[1] = (char)(n >> 8), bytes[2] = (char)n;
        text[n] = '\0';
        cm_input in = input_of(bytes, 3 + n);
        size_t at = 0;
        OK(cmi_msgpack_next(&in, &at, in.size, &v));
        OK(cmi_msgpack_is(&in, &v, text, &same));
        ck_assert_int_eq(same, n <= 256);
        text[n - 1] = 'j';
        OK(cmi_msgpack_is(&in, &v, text, &same));
        ck_assert_int_eq(same, 0);
        OK(cmi_msgpack_is(&in, &v, text + 1, &same)); /* shorter */
        ck_assert_int_eq(same, 0);
        memset(text, 'k', sizeof text);
        cmi_input_close(&in);
    }
    static const char other[] = "\xc4\x02"
                                "ab"
                                "\xa2"
                                "ab";
    cm_input in = input_of(other, sizeof other - 1);
    size_t at = 0;
    for (int is_text = 0; is_text < 2; is_text++) { /* bytes are no text */
        OK(cmi_msgpack_next(&in, &at, in.size, &v));
        OK(cmi_msgpack_is(&in, &v, "ab", &same));
        ck_assert_int_eq(same, is_text);
    }
    cmi_input_close(&in);
}
END_TEST

START_TEST(keys_found)
{
    static const char map[] = "..\x83\xa1"
                              "a\x92\x01\x02\xa1"
                              "b\x81\xa1"
                              "c\x07\xa2"
                              "cc\xa1"
                              "d\xa1"
                              "e";
    static const struct {
        const char *key;
        int found;
        size_t begin;
    } rows[] = {{"a", 1, 5}, {"b", 1, 10}, {"cc", 1, 17}, {"c", 0, 19}, {"d", 0, 19}, {"", 0, 19}};
    cm_input in = input_of(map, sizeof map - 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_msgpack v;
        size_t at = 2, begin = 0;
        int found;
        OK(cmi_msgpack_next(&in, &at, in.size, &v));
        OK(cmi_msgpack_find(&in, &v, at, in.size, rows[i].key, &begin, &found));
        ck_assert_msg(found == rows[i].found && begin == rows[i].begin, "'%s': %d at %zu", rows[i].key, found, begin);
    }
    cmi_input_close(&in);
}
END_TEST

/* --- the whole -------------------------------------------------------------------------------- */

static cm_status check_block(block b, size_t from)
{
    unsigned char *exact = malloc(b.size + 1); /* tools see a read past its end */
    memcpy(exact + 1, b.bytes, b.size);
    cm_input in = input_of(exact + 1, b.size);
    cm_status status = cmi_msgpack_check(&in, from, b.size);
    cmi_input_close(&in);
    free(exact);
    free(b.bytes);
    return status;
}

static block of(const void *bytes, size_t n)
{
    block b = {NULL, 0, 0};
    put(&b, bytes, n);
    return b;
}

START_TEST(whole_files)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *text; /* NULL: right */
    } rows[] = {
        {H("...\x05"), NULL},
        {H("...\x90"), NULL},
        {H("...\x80"), NULL},
        {H("...\x82\xa1"
           "a\x01\xa1"
           "b\xa1"
           "a"),
         NULL}, /* a value is no key */
        {H("...\x82\xa1"
           "a\x81\xa1"
           "a\x01\xa1"
           "b\x81\xa1"
           "a\x01"),
         NULL}, /* the same key in other maps */
        {H("...\x93\x91\x01\x80\x92\x02\x90"), NULL},
        {H("...\x81\xa0\xc0"), NULL},
        {H("...\x81\xa2\xc3\xa4\x81\xa4\xf0\x9f\x98\x80\x01"), NULL}, /* keys beyond ASCII */
        {H("..."), "x: truncated: at byte 3 a value needs 1 bytes, 0 are left"},
        {H("...\x05\x06"), "x: 1 bytes follow the end of its one msgpack value"},
        {H("...\x92\x01\x02\x06\x06"), "x: 2 bytes follow the end of its one msgpack value"},
        {H("...\x81\x05\x06"), "x: the key at byte 4 is not a text but a whole number"},
        {H("...\x82\xa1"
           "a\x06\xc0\x06"),
         "x: the key at byte 7 is not a text but nil"},
        {H("...\x81\xc4\x01"
           "a\x06"),
         "x: the key at byte 4 is not a text but bytes"},
        {H("...\x81\x91\x06\x06"), "x: the key at byte 4 is not a text but a list"},
        {H("...\x81\xca\x00\x00\x00\x00\x06"), "x: the key at byte 4 is not a text but a number"},
        {H("...\x81\xc2\x06"), "x: the key at byte 4 is not a text but a truth value"},
        {H("...\x81\x80\x06"), "x: the key at byte 4 is not a text but a map"},
        {H("...\x81\xd4\x01\x01\x06"), "x: the key at byte 4 is not a text but an extension"},
        {H("...\x81\xa2"
           "a\xff\x06"),
         "x: the key at byte 5 is not UTF-8 without NUL"},
        {H("...\x81\xa3\xc3\xa4\x00\x06"), "x: the key at byte 5 is not UTF-8 without NUL"},
        {H("...\x81\xa2"
           "a\xc3\xa4"),
         "x: the key at byte 5 is not UTF-8 without NUL"}, /* its end lies in the value */
        {H("...\x82\xa3x\xc3\xa4\x05\xa2x\xc3\x06"),
         "x: the key at byte 10 is not UTF-8 without NUL"}, /* its end stood in the key before it */
        {H("...\x92\x92\x01\x02"), "x: truncated: at byte 5 3 values are still to come, 2 bytes are left"},
        {H("...\x81\xa0\x82\xa0\x02\xa0"), "x: truncated: at byte 5 a map claims 4 values, 3 bytes are left"},
        {H("...\x92\x81\xa0\x02"), "x: truncated: at byte 5 3 values are still to come, 2 bytes are left"},
        {H("...\xc1"), "x: the reserved byte c1 at byte 3 begins no value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block b = of(rows[i].bytes, rows[i].n);
        if (rows[i].text) SAYS(check_block(b, BEFORE), CM_ERR_FORMAT, rows[i].text);
        else OK(check_block(b, BEFORE));
    }
}
END_TEST

/* Keys that stand there twice, next to each other and not, short and long. */
START_TEST(repeated_keys)
{
    for (size_t n = 1; n < 140; n = n < 62 ? n + 30 : n + 1) {
        block b = {NULL, 0, 0};
        char key[200], text[300];
        memset(key, 'k', n);
        key[n] = '\0';
        put_map(&b, 4, 0);
        put_string(&b, "first", 0);
        put_whole(&b, 1, 0);
        size_t at = b.size + (n < 32 ? 1 : 2);
        put_string(&b, key, 0);
        put_whole(&b, 2, 0);
        put_string(&b, "other", 0);
        put_whole(&b, 3, 0);
        size_t again = b.size + (n < 32 ? 1 : 2);
        put_string(&b, key, 0);
        put_whole(&b, 4, 0);
        ck_assert_int_eq((int)check_block(b, 0), (int)CM_ERR_FORMAT);
        key[n < 64 ? n : 64] = '\0';
        snprintf(text, sizeof text, "x: the key '%s' stands twice in a map, one of them at byte ", key);
        ck_assert_int_eq(strncmp(cm_last_message(), text, strlen(text)), 0);
        size_t place = (size_t)atoi(cm_last_message() + strlen(text));
        ck_assert_msg(place == at || place == again, "%s", cm_last_message());
    }
}
END_TEST

/* As deep, as long and as many as it may be, and one more. */
START_TEST(limits)
{
    for (size_t depth = 64; depth < 66; depth++)
        for (int is_map = 0; is_map < 2; is_map++) {
            block b = {NULL, 0, 0};
            for (size_t i = 0; i < depth; i++) {
                if (is_map) PUT(&b, "\x81\xa0");
                else PUT(&b, "\x91");
            }
            PUT(&b, "\xc0");
            if (depth == 64) OK(check_block(b, 0));
            else
                SAYS(check_block(b, 0), CM_ERR_LIMIT,
                     is_map ? "x: lists and maps are nested more than 64 deep at byte 129"
                            : "x: lists and maps are nested more than 64 deep at byte 65");
        }
    block wide = {NULL, 0, 0}; /* one behind the other they may be many */
    put_list(&wide, 200, 0);
    for (int i = 0; i < 200; i++) PUT(&wide, "\x91\x90");
    OK(check_block(wide, 0));
    for (size_t n = 4096; n < 4098; n++) {
        block b = {NULL, 0, 0};
        put_map(&b, 1, 0);
        put_head(&b, 0xd9, 3, n, 0);
        for (size_t i = 0; i < n; i++) PUT(&b, "k");
        PUT(&b, "\xc0");
        if (n == 4096) OK(check_block(b, 0));
        else SAYS(check_block(b, 0), CM_ERR_LIMIT, "x: a key of 4097 bytes at byte 4 is over the limit of 4096");
    }
    for (size_t n = 65536; n < 65538; n++) {
        block b = {NULL, 0, 0};
        put_map(&b, n, 0);
        for (size_t i = 0; i < n; i++) {
            char key[8];
            snprintf(key, sizeof key, "%zx", i);
            put_string(&b, key, 0);
            PUT(&b, "\xc0");
        }
        if (n == 65536) OK(check_block(b, 0));
        else SAYS(check_block(b, 0), CM_ERR_LIMIT, "x: a map of 65537 entries at byte 5 is over the limit of 65536");
    }
    block list = {NULL, 0, 0}; /* a list has no such limit */
    put_list(&list, 65537, 0);
    for (int i = 0; i < 65537; i++) PUT(&list, "\xc0");
    OK(check_block(list, 0));
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("msgpack");
    TCase *t = tcase_create("msgpack");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, every_form);
    tcase_add_test(t, messages);
    tcase_add_test(t, whole_values);
    tcase_add_test(t, texts_compared);
    tcase_add_test(t, keys_found);
    tcase_add_test(t, whole_files);
    tcase_add_test(t, repeated_keys);
    tcase_add_test(t, limits);
    suite_add_tcase(s, t);
    return s;
}
