/* JSON token by token and as trees: every token with its value, where it ends, and what is said of a wrong one.  The
 * texts stand in larger buffers whose next bytes would go on with the token: nothing beyond the end is read. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/json_text.h"
#include "io/json_tree.h"

static char buffer[1 << 14];

/* The text, of the given length, with other bytes behind its end. */
static cm_json_text text_of(const char *text, size_t n, const char *behind)
{
    cm_json_text t;
    ck_assert_uint_lt(n + strlen(behind), sizeof buffer);
    memcpy(buffer, text, n);
    memcpy(buffer + n, behind, strlen(behind) + 1);
    cmi_json_begin(&t, buffer, n);
    return t;
}

static cm_json_text begin(const char *text, const char *behind)
{
    return text_of(text, strlen(text), behind);
}

/* --- bytes and brackets ----------------------------------------------------------------------- */

START_TEST(white_space)
{
    cm_json_text t = begin(" \t\n\rx", "y");
    ck_assert_int_eq(cmi_json_next(&t), 'x');
    ck_assert_uint_eq(cmi_json_place(&t), 4);
    ck_assert_int_eq(cmi_json_next(&t), 'x'); /* it is not taken */
    ck_assert_int_eq(cmi_json_take(&t, 'y'), 0);
    ck_assert_int_eq(cmi_json_end(&t), 0);
    ck_assert_str_eq(t.error, "something follows its end");
    ck_assert_int_eq(cmi_json_next(&t), '\0'); /* nothing more after an error */
    t = begin(" x ", "  y");
    ck_assert_int_eq(cmi_json_take(&t, 'x'), 1);
    ck_assert_int_eq(cmi_json_end(&t), 1);
    ck_assert_uint_eq(cmi_json_place(&t), 3);
    ck_assert_int_eq(cmi_json_next(&t), '\0');
    ck_assert_ptr_null(t.error);
    t = begin("", "x");
    ck_assert_int_eq(cmi_json_next(&t), '\0');
    ck_assert_int_eq(cmi_json_end(&t), 1);
    t = begin("  ", "x");
    ck_assert_int_eq(cmi_json_next(&t), '\0');
    for (int c = 1; c < 128; c++) { /* four bytes are white space */
        char text[2] = {(char)c, 0};
        t = begin(text, "");
        ck_assert_int_eq(cmi_json_next(&t), c == ' ' || c == '\t' || c == '\n' || c == '\r' ? 0 : c);
    }
}
END_TEST

START_TEST(what_is_expected)
{
    static const struct {
        const char *text;
        char wanted;
        const char *error;
    } rows[] = {{"{", '{', NULL},
                {" [", '[', NULL},
                {"x", '{', "'{' expected"},
                {"x", '[', "'[' expected"},
                {"x", ':', "':' expected"},
                {"x", '}', "',' or '}' expected"},
                {"x", ']', "',' or ']' expected"},
                {" ", '{', "it ends too early"},
                {"", ']', "it ends too early"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_json_text t = begin(rows[i].text, "{[]}:");
        ck_assert_int_eq(cmi_json_expect(&t, rows[i].wanted), rows[i].error == NULL);
        if (rows[i].error) ck_assert_str_eq(t.error, rows[i].error);
        else ck_assert_ptr_null(t.error);
        ck_assert_int_eq(cmi_json_end(&t), rows[i].error == NULL);
        if (rows[i].error) ck_assert_str_eq(t.error, rows[i].error); /* the first one stays */
    }
    cm_json_text t = begin(" , ]x", "");
    ck_assert_int_eq(cmi_json_more(&t, ']'), 1);
    ck_assert_int_eq(cmi_json_more(&t, ']'), 0);
    ck_assert_ptr_null(t.error);
    ck_assert_uint_eq(cmi_json_place(&t), 4);
    ck_assert_int_eq(cmi_json_more(&t, ']'), 0);
    ck_assert_str_eq(t.error, "',' or ']' expected");
    t = begin("}", "");
    ck_assert_int_eq(cmi_json_more(&t, ']'), 0);
    ck_assert_str_eq(t.error, "',' or ']' expected");
}
END_TEST

/* --- strings ------------------------------------------------------------------------------------ */

START_TEST(strings)
{
    static const struct {
        const char *text, *value; /* NULL: refused ... */
        const char *error;        /* ... with this     */
    } rows[] = {
        {"\"\"", "", NULL},
        {" \"a b\"", "a b", NULL},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", NULL},
        {"\"\x7f \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\x7f \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", NULL},
        /* The first and the last code point of each length, and around the surrogates. */
        {"\"\\u0001\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "\x01\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", NULL},
        {"\"\\ud7ff\\ue000\"", "\xed\x9f\xbf\xee\x80\x80", NULL},
        {"\"\\ud800\\udc00\"", "\xf0\x90\x80\x80", NULL},
        {"\"\\udbff\\udfff\"", "\xf4\x8f\xbf\xbf", NULL},
        {"\"\\ud83d\\ude00x\"", "\xf0\x9f\x98\x80x", NULL},
        {"\"\\ud801\\udc37\"", "\xf0\x90\x90\xb7", NULL},
        /* Every digit, in both cases. */
        {"\"\\u0123\\u4567\\u89ab\\u89AB\\ucdef\\uCDEF\"",
         "\xc4\xa3\xe4\x95\xa7\xe8\xa6\xab\xe8\xa6\xab\xec\xb7\xaf\xec\xb7\xaf", NULL},
        {"\"\\u00419\"", "A9", NULL},
        {"\"\\ud800\"", NULL, "half a surrogate pair"},
        {"\"\\ud800x\"", NULL, "half a surrogate pair"},
        {"\"\\ud800\\n\"", NULL, "half a surrogate pair"},
        {"\"\\ud800xudc00\"", NULL, "half a surrogate pair"},
        {"\"\\ud800\\ud800\"", NULL, "half a surrogate pair"},
        {"\"\\ud800\\udbff\"", NULL, "half a surrogate pair"},
        {"\"\\ud800\\ue000\"", NULL, "half a surrogate pair"},
        {"\"\\udc00\"", NULL, "half a surrogate pair"},
        {"\"\\udc00\\udc00\"", NULL, "half a surrogate pair"},
        {"\"\\udfff\\udc00\"", NULL, "half a surrogate pair"},
        {"\"\\u0000\"", NULL, "a NUL in a string"},
        {"\"\\u004\"", NULL, "four hexadecimal digits expected"},
        {"\"\\u004g\"", NULL, "four hexadecimal digits expected"},
        {"\"\\uG000\"", NULL, "four hexadecimal digits expected"},
        {"\"\\u", NULL, "four hexadecimal digits expected"},
        {"\"\\u004", NULL, "four hexadecimal digits expected"},
        {"\"\\x41\"", NULL, "an unknown escape"},
        {"\"\\", NULL, "an unknown escape"},
        {"\"\\U0041\"", NULL, "an unknown escape"},
        {"\"\x1f\"", NULL, "a control character in a string"},
        {"\"\x01\"", NULL, "a control character in a string"},
        {"\"\xff\"", NULL, "broken UTF-8"},
        {"\"\xc3", NULL, "broken UTF-8"},
        {"\"\xe2\x82", NULL, "broken UTF-8"},
        {"\"\xed\xa0\x80\"", NULL, "broken UTF-8"},
        {"\"a", NULL, "a string without its end"},
        {"\"", NULL, "a string without its end"},
        {"\"\\u0041", NULL, "a string without its end"},
        {"\"\\ud800\\udc00", NULL, "a string without its end"},
        {"a\"", NULL, "a string expected"},
        {"", NULL, "a string expected"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static const char *const behind[] = {"\xa9\xac\"", "\"", "41\"", "c00\"", "\\udc00\""};
        for (int k = 0; k < 5; k++) {
            cm_json_text t = begin(rows[i].text, behind[k]);
            const char *got = cmi_json_string(&t);
            if (rows[i].value) {
                ck_assert_msg(got != NULL, "%s: %s", rows[i].text, t.error);
                ck_assert_str_eq(got, rows[i].value);
                ck_assert_uint_eq(cmi_json_place(&t), strlen(rows[i].text));
                ck_assert_ptr_null(t.error);
            } else {
                ck_assert_msg(!got && t.error, "%s: read as '%s'", rows[i].text, got);
                ck_assert_msg(strcmp(t.error, rows[i].error) == 0, "%s: %s", rows[i].text, t.error);
                ck_assert_uint_le(cmi_json_place(&t), strlen(rows[i].text));
            }
        }
    }
    cm_json_text t = text_of("\"a\0b\"", 5, ""); /* NUL is a control character */
    ck_assert_ptr_null(cmi_json_string(&t));
    t = text_of("\"\\\0\"", 4, "");
    ck_assert_ptr_null(cmi_json_string(&t));
    ck_assert_str_eq(t.error, "an unknown escape");
    t = text_of("\"\\u00\0041\"", 9, "");
    ck_assert_ptr_null(cmi_json_string(&t));
    ck_assert_str_eq(t.error, "four hexadecimal digits expected");
    t = begin("\"\\ud800\\u0041\"", ""); /* the pair is looked for in the text that is there */
    ck_assert_ptr_null(cmi_json_string(&t));
    t = begin("\"\\ud800\\", "udc00\"");
    ck_assert_ptr_null(cmi_json_string(&t));
    ck_assert_str_eq(t.error, "half a surrogate pair");
    t = text_of("\"\\ud800\\u", 9, "dc00\""); /* the half that is there is where it is wrong */
    ck_assert_ptr_null(cmi_json_string(&t));
    ck_assert_str_eq(t.error, "half a surrogate pair");
    ck_assert_uint_eq(cmi_json_place(&t), 7);
    t = begin(" \"key\" : 1", "");
    ck_assert_str_eq(cmi_json_key(&t), "key");
    ck_assert_int_eq(cmi_json_next(&t), '1');
    t = begin("\"key\" 1", "");
    ck_assert_ptr_null(cmi_json_key(&t));
    ck_assert_str_eq(t.error, "':' expected");
}
END_TEST

/* --- numbers and words ---------------------------------------------------------------------------- */

START_TEST(integers)
{
    static const struct {
        const char *text;
        int64_t value;
        const char *error;
    } rows[] = {
        {"0", 0, NULL},
        {"-0", 0, NULL},
        {"7", 7, NULL},
        {" -12", -12, NULL},
        {"9", 9, NULL},
        {"10", 10, NULL},
        {"1234567890", 1234567890, NULL},
        {"922337203685477580", 922337203685477580, NULL},
        {"9223372036854775807", INT64_MAX, NULL},
        {"-9223372036854775807", -INT64_MAX, NULL},
        {"9223372036854775808", 0, "a number too large"},
        {"9223372036854775810", 0, "a number too large"},
        {"92233720368547758070", 0, "a number too large"},
        {"-9223372036854775808", 0, "a number too large"},
        {"18446744073709551617", 0, "a number too large"},
        {"18446744073709551620", 0, "a number too large"}, /* 4 in 64 bits */
        {"00", 0, "a number with a leading zero"},
        {"01", 0, "a number with a leading zero"},
        {"-09", 0, "a number with a leading zero"},
        {"1.0", 0, "a whole number expected"},
        {"1e2", 0, "a whole number expected"},
        {"1E2", 0, "a whole number expected"},
        {"", 0, "a whole number expected"},
        {"-", 0, "a whole number expected"},
        {"+1", 0, "a whole number expected"},
        {"/", 0, "a whole number expected"}, /* the bytes before 0 and behind 9 */
        {":", 0, "a whole number expected"},
        {"x", 0, "a whole number expected"},
        {"true", 0, "a whole number expected"},
    };
    static const char *const behind[] = {"", "5", ".5", "e5", "E1"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int k = 0; k < 5; k++) {
            cm_json_text t = begin(rows[i].text, behind[k]);
            int64_t got = 77;
            ck_assert_msg(cmi_json_integer(&t, &got) == (rows[i].error == NULL), "%s: %s", rows[i].text, t.error);
            if (rows[i].error) {
                ck_assert_msg(strcmp(t.error, rows[i].error) == 0, "%s: %s", rows[i].text, t.error);
                ck_assert_uint_le(cmi_json_place(&t), strlen(rows[i].text));
                continue;
            }
            ck_assert_int_eq(got, rows[i].value);
            ck_assert_uint_eq(cmi_json_place(&t), strlen(rows[i].text));
        }
    cm_json_text t = begin("0,", "");
    int64_t got;
    ck_assert_int_eq(cmi_json_integer(&t, &got), 1);
    ck_assert_uint_eq(cmi_json_place(&t), 1);
    t = begin("0/", "");
    ck_assert_int_eq(cmi_json_integer(&t, &got), 1);
    t = begin("0:", "");
    ck_assert_int_eq(cmi_json_integer(&t, &got), 1);
}
END_TEST

START_TEST(numbers)
{
    static const struct {
        const char *text;
        size_t taken;
        int is_whole;
        const char *error;
    } rows[] = {
        {"0", 1, 1, NULL},
        {"-0", 2, 1, NULL},
        {"10", 2, 1, NULL},
        {"1234567890", 10, 1, NULL},
        {"01", 1, 1, NULL}, /* a zero and something behind it */
        {"0.5", 3, 0, NULL},
        {"-10.25", 6, 0, NULL},
        {"1e5", 3, 0, NULL},
        {"1E5", 3, 0, NULL},
        {"1e+50", 5, 0, NULL},
        {"1e-05", 5, 0, NULL},
        {"1.5e3", 5, 0, NULL},
        {"0e0", 3, 0, NULL},
        {"9.90E19", 7, 0, NULL},
        {"1,2", 1, 1, NULL},
        {"1.5.5", 3, 0, NULL},
        {"1e5e5", 3, 0, NULL},
        {"1e5.5", 3, 0, NULL},
        {"1+1", 1, 1, NULL},
        {"1.", 0, 0, "a digit expected"},
        {"1.e5", 0, 0, "a digit expected"},
        {"1e", 0, 0, "a digit expected"},
        {"1e+", 0, 0, "a digit expected"},
        {"1E-", 0, 0, "a digit expected"},
        {"1e++1", 0, 0, "a digit expected"},
        {"1e.5", 0, 0, "a digit expected"},
        {"", 0, 0, "a value expected"},
        {"-", 0, 0, "a value expected"},
        {"+1", 0, 0, "a value expected"},
        {".5", 0, 0, "a value expected"},
        {"x", 0, 0, "a value expected"},
    };
    static const char *const behind[] = {"", "5", ".5", "e5", "+5", "-5"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int k = 0; k < 6; k++) {
            cm_json_text t = begin(rows[i].text, behind[k]);
            int is_whole = 7;
            ck_assert_msg(cmi_json_number(&t, &is_whole) == (rows[i].error == NULL), "%s: %s", rows[i].text, t.error);
            if (rows[i].error) {
                ck_assert_msg(strcmp(t.error, rows[i].error) == 0, "%s: %s", rows[i].text, t.error);
                ck_assert_uint_le(cmi_json_place(&t), strlen(rows[i].text));
                continue;
            }
            ck_assert_int_eq(is_whole, rows[i].is_whole);
            ck_assert_msg(cmi_json_place(&t) == rows[i].taken, "%s: %zu", rows[i].text, cmi_json_place(&t));
        }
}
END_TEST

START_TEST(words_of_json)
{
    static const char *const words[] = {"true", "false", "null"};
    static const char *const wrong[] = {"", "t", "tru", "fals", "nul", "True", "x", "nulL"};
    for (int i = 0; i < 3; i++) {
        cm_json_text t = begin(words[i], "x");
        ck_assert_int_eq(cmi_json_word(&t), 1);
        ck_assert_uint_eq(cmi_json_place(&t), strlen(words[i]));
        char longer[16];
        snprintf(longer, sizeof longer, "%s,", words[i]);
        t = begin(longer, "");
        ck_assert_int_eq(cmi_json_word(&t), 1);
        ck_assert_uint_eq(cmi_json_place(&t), strlen(words[i]));
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cm_json_text t = begin(wrong[i], wrong[i][0] == 'f' ? "e" : wrong[i][0] == 'n' ? "l" : "e");
        ck_assert_int_eq(cmi_json_word(&t), 0);
        ck_assert_str_eq(t.error, "a value expected");
    }
}
END_TEST

/* --- values that are passed over -------------------------------------------------------------------- */

START_TEST(skipped_values)
{
    static const struct {
        const char *text;
        const char *error; /* NULL: passed over to its end, where a comma stands */
    } rows[] = {
        {"1", NULL},
        {"-1.5e3", NULL},
        {"true", NULL},
        {"false", NULL},
        {"null", NULL},
        {"\"a\\n,]}\"", NULL},
        {"[]", NULL},
        {"{}", NULL},
        {"[ ]", NULL},
        {" { }", NULL},
        {"[1, 2]", NULL},
        {"[[], {}, [1], {\"a\": 1}]", NULL},
        {"{\"a\": 1, \"b\": [2, {\"c\": null}], \"d\": {}}", NULL},
        {"{\"a\": {\"b\": {\"c\": []}}, \"d\": [[[3]]]}", NULL},
        {"[[1], 2]", NULL},
        {"[{\"a\": 1}, 2]", NULL},
        {"[\"x\", \"y\"]", NULL},
        {"tru", "a value expected"},
        {"fals", "a value expected"},
        {"nul", "a value expected"},
        {"x", "a value expected"},
        {"", "a value expected"},
        {"]", "a value expected"},
        {"[", "a value expected"},
        {"[1", "it ends too early"},
        {"[1}", "',' or ']' expected"},
        {"[1 2]", "',' or ']' expected"},
        {"[1,]", "a value expected"},
        {"[,1]", "a value expected"},
        {"{1: 2}", "a string expected"},
        {"{\"a\"}", "':' expected"},
        {"{\"a\": 1]", "',' or '}' expected"},
        {"{\"a\": 1,}", "a string expected"},
        {"{\"a\": 1, 2}", "a string expected"},
        {"{\"a\": [1, 2}", "',' or ']' expected"},
        {"[{\"a\": 1, 2: 3}]", "a string expected"},
        {"[[1], {\"a\" 1}]", "':' expected"},
        {"[\"\\x\"]", "an unknown escape"},
        {"{\"a\": {\"b\": 1}", "it ends too early"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int more = 0; more < 2; more++) {
            if (rows[i].error && more) continue;
            cm_json_text t = begin(rows[i].text, more ? "" : ", 5]");
            if (more) t = begin(rows[i].text, ",5]"), t.end += 3;
            ck_assert_msg(cmi_json_skip(&t) == (rows[i].error == NULL), "%s: %s", rows[i].text, t.error);
            if (rows[i].error) ck_assert_msg(strcmp(t.error, rows[i].error) == 0, "%s: %s", rows[i].text, t.error);
            else
                ck_assert_msg(cmi_json_place(&t) == strlen(rows[i].text), "%s: %zu", rows[i].text,
                              cmi_json_place(&t));
        }
    for (int kind = 0; kind < 2; kind++)
        for (int depth = CM_JSON_DEPTH - 1; depth <= CM_JSON_DEPTH + 1; depth++) {
            char text[8 * (CM_JSON_DEPTH + 2)] = "";
            for (int i = 0; i < depth; i++) strcat(text, kind && i + 1 < depth ? "{\"a\":" : "[");
            for (int i = depth; i-- > 0;) strcat(text, kind && i + 1 < depth ? "}" : "]");
            cm_json_text t = begin(text, "");
            ck_assert_int_eq(cmi_json_skip(&t), depth <= CM_JSON_DEPTH);
            if (depth > CM_JSON_DEPTH) ck_assert_str_eq(t.error, "it is nested too deeply");
            else ck_assert_int_eq(cmi_json_end(&t), 1);
        }
}
END_TEST

/* --- trees -------------------------------------------------------------------------------------------- */

static cm_status tree_of(const char *text, json_t **out)
{
    return cmi_json_tree("config", text, strlen(text), out);
}

/* Printed by jansson, which sorts nothing: what was read. */
START_TEST(trees)
{
    static const struct {
        const char *text, *printed;
    } rows[] = {
        {"[]", "[]"},
        {"{}", "{}"},
        {" [ ] ", "[]"},
        {"\n{\t}\r\n", "{}"},
        {"[true, false, null]", "[true,false,null]"},
        {"[0, -0, 1, -1, 9223372036854775807, -9223372036854775808]",
         "[0,0,1,-1,9223372036854775807,-9223372036854775808]"},
        {"[1.5, -2.25, 1e2, 1E-2, 2.0]", "[1.5,-2.25,100.0,0.01,2.0]"},
        {"[\"\", \"a\\u00e9\", \"]\", \"\\\"}\", \"\\\\\"]", "[\"\",\"a\xc3\xa9\",\"]\",\"\\\"}\",\"\\\\\"]"},
        {"{\"b\": 1, \"a\": [2, {\"c\": {}}], \"\": null}", "{\"b\":1,\"a\":[2,{\"c\":{}}],\"\":null}"},
        {"[[], [[]], {}]", "[[],[[]],{}]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *tree;
        OK(tree_of(rows[i].text, &tree));
        char *printed = json_dumps(tree, JSON_COMPACT | JSON_PRESERVE_ORDER);
        ck_assert_str_eq(printed, rows[i].printed);
        free(printed);
        json_decref(tree);
    }
    json_t *tree = NULL; /* the type of a number is that of its text */
    OK(tree_of("[1, 1.0, 1e0]", &tree));
    ck_assert(json_is_integer(json_array_get(tree, 0)));
    ck_assert(json_is_real(json_array_get(tree, 1)) && json_is_real(json_array_get(tree, 2)));
    json_decref(tree);
}
END_TEST

START_TEST(no_trees)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "config: not valid JSON: '{' or '[' expected (byte 0)"},
        {"  1", "config: not valid JSON: '{' or '[' expected (byte 2)"},
        {"\"a\"", "'{' or '[' expected (byte 0)"},
        {"[1", "it ends too early (byte 2)"},
        {"[1 2]", "',' or ']' expected (byte 3)"},
        {"{\"a\": 1 2}", "',' or '}' expected (byte 8)"},
        {"[] []", "something follows its end (byte 3)"},
        {"[9223372036854775808]", "a number too large (byte 20)"},
        {"[-9223372036854775809]", "a number too large (byte 21)"},
        {"[1e400]", "a number too large (byte 6)"},
        {"{\"a\": 1, \"a\": 2}", "the name \"a\" stands there twice (byte 13)"},
        {"{\"a\": {\"a\": 1}, \"b\": x}", "a value expected (byte 21)"},
        {"[nule]", "a value expected (byte 1)"},
        {"[\"\\q\"]", "an unknown escape (byte 3)"},
        {"{a: 1}", "a string expected (byte 1)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *tree = (json_t *)1;
        FAILS(tree_of(rows[i].text, &tree), CM_ERR_FORMAT, rows[i].words);
        ck_assert_ptr_null(tree);
    }
    json_t *tree;
    FAILS(cmi_json_tree("config", "[1,\0 2]", 7, &tree), CM_ERR_FORMAT, "byte 3 is NUL");
    FAILS(cmi_json_tree("config", "\0[]", 3, &tree), CM_ERR_FORMAT, "byte 0 is NUL");
    FAILS(cmi_json_tree("config", "[]\0", 3, &tree), CM_ERR_FORMAT, "byte 2 is NUL");
    OK(cmi_json_tree("config", "[]\0", 2, &tree));
    json_decref(tree);
}
END_TEST

static cm_status many(const char *open, const char *piece, size_t n, const char *close)
{
    size_t length = strlen(piece);
    char *text = malloc(n * length + strlen(open) + strlen(close) + 1), *at = text;
    json_t *tree = NULL;
    at += sprintf(at, "%s", open);
    for (size_t i = 0; i < n; i++, at += length) memcpy(at, piece, length);
    strcpy(at, close);
    cm_status status = tree_of(text, &tree);
    json_decref(tree);
    free(text);
    return status;
}

/* What stands in strings is no bracket and no value; what closes gives its level back. */
START_TEST(bounds_of_trees)
{
    OK(many("[\"", "[", 2 * CM_JSON_LEVELS, "\"]"));
    OK(many("[\"", "{,:", CM_JSON_VALUES, "\"]"));
    OK(many("[\"\\\"", "[", 2 * CM_JSON_LEVELS, "\"]"));
    OK(many("[\"\\\\\", \"", "{", 2 * CM_JSON_LEVELS, "\"]"));
    OK(many("[", "[],", 2 * CM_JSON_LEVELS, "1]"));
    OK(many("[", "{},", 2 * CM_JSON_LEVELS, "1]"));
    OK(many("[", "\"\\\\\",[],", 2 * CM_JSON_LEVELS, "1]"));
    FAILS(many("[\"\\\\\",", "[", CM_JSON_LEVELS, ""), CM_ERR_LIMIT, "nested deeper than 64 levels");
    FAILS(many("", "{\"a\":", CM_JSON_LEVELS, ""), CM_ERR_FORMAT, "a value expected");
    FAILS(many("", "{\"a\":", CM_JSON_LEVELS + 1, ""), CM_ERR_LIMIT, "nested deeper than 64 levels");
    /* A list of lists counts two for each and two more, one of objects the same. */
    OK(many("[", "[],", (CM_JSON_VALUES - 2) / 2, "1]"));
    FAILS(many("[", "[],", CM_JSON_VALUES / 2, "1]"), CM_ERR_LIMIT, "more than 100000 values");
    OK(many("[", "{},", (CM_JSON_VALUES - 2) / 2, "1]"));
    FAILS(many("[", "{},", CM_JSON_VALUES / 2, "1]"), CM_ERR_LIMIT, "more than 100000 values");
    FAILS(many("{", "\"a\":1,", CM_JSON_VALUES / 2, "\"b\":1}"), CM_ERR_LIMIT, "more than 100000 values");
    FAILS(many("{", "\"a\":1,", CM_JSON_VALUES / 2 - 1, "\"b\":1}"), CM_ERR_LIMIT, "values");
    FAILS(many("{", "\"a\":1,", CM_JSON_VALUES / 2 - 2, "\"b\":1}"), CM_ERR_FORMAT, "twice");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("json");
    TCase *t = tcase_create("json");
    tcase_add_test(t, white_space);
    tcase_add_test(t, what_is_expected);
    tcase_add_test(t, strings);
    tcase_add_test(t, integers);
    tcase_add_test(t, numbers);
    tcase_add_test(t, words_of_json);
    tcase_add_test(t, skipped_values);
    tcase_add_test(t, trees);
    tcase_add_test(t, no_trees);
    tcase_add_test(t, bounds_of_trees);
    suite_add_tcase(s, t);
    return s;
}
