/* What checkpoints are made of: names, paths, hashes and the text of state.json, and how two of them differ. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "support/trainers.h"
#include "train/state.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

START_TEST(names_of_checkpoints)
{
    static const char *const good[] = {"step-0", "step-000000002", "step-12345678901234567890"};
    static const char *const bad[] = {"",        "step-",      "step",    "step-x",    "step-1x", "step- 1",
                                      "Step-1",  "step_1",     "xstep-1", "1",         "step--1", "step-1/",
                                      ".step-1", "step-1.tmp", "LATEST",  ".tmp-3-14", "tep-1"};
    for (size_t i = 0; i < COUNT(good); i++) ck_assert_msg(cmi_state_is_step(good[i]), "%s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++) ck_assert_msg(!cmi_state_is_step(bad[i]), "%s", bad[i]);
}
END_TEST

/* A path of 2047 bytes, and one more. */
START_TEST(long_paths)
{
    static char out[CM_STATE_PATH], a[CM_STATE_PATH + 8];
    memset(a, 'a', sizeof a);
    a[CM_STATE_PATH - 1 - 4] = '\0';
    OK(cmi_state_path(out, a, "bcd"));
    ck_assert_uint_eq(strlen(out), CM_STATE_PATH - 1);
    ck_assert_str_eq(out + CM_STATE_PATH - 1 - 5, "a/bcd");
    FAILS(cmi_state_path(out, a, "bcde"), CM_ERR_ARGUMENT, "aaaa...' is too long");
    OK(cmi_state_path(out, "x", "y"));
    ck_assert_str_eq(out, "x/y");
}
END_TEST

START_TEST(vectors)
{
    float values[5] = {0};
    const cm_tensor t = cmi_state_vector("exp_avg", values, 5);
    ck_assert_str_eq(t.name, "exp_avg");
    ck_assert(t.type == CM_TENSOR_F32 && t.rank == 1 && t.shape[0] == 5 && t.count == 5 && t.bytes == 20);
    ck_assert(t.data == (const unsigned char *)values && !t.from);
}
END_TEST

/* The hash of a file is that of its bytes, in as many pieces as it is read. */
START_TEST(hashes_of_files)
{
    static const size_t sizes[] = {0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 3};
    static unsigned char bytes[(2 << 20) + 3];
    cm_context *context;
    size_t size = 77;
    char hash[33], expected[33];
    OK(cm_context_create(NULL, &context));
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        FILE *f = fopen(in_dir("hashed"), "wb");
        ck_assert_uint_eq(fwrite(bytes, 1, sizes[i], f), sizes[i]);
        ck_assert_int_eq(fclose(f), 0);
        OK(cmi_state_hash(context, in_dir("hashed"), &size, hash));
        const XXH128_hash_t h = XXH3_128bits(bytes, sizes[i]);
        (void)snprintf(expected, sizeof expected, "%016llx%016llx", (unsigned long long)h.high64,
                       (unsigned long long)h.low64);
        ck_assert_str_eq(hash, expected);
        ck_assert_uint_eq(size, sizes[i]);
    }
    FAILS(cmi_state_hash(context, in_dir("missing"), &size, hash), CM_ERR_FORMAT, "missing: is missing");
    FAILS(cmi_state_hash(context, dir, &size, hash), CM_ERR_IO, dir);
    cm_context_free(context);
}
END_TEST

/* What earlier versions wrote is compared byte for byte, and by its hash: neither may ever change. */
START_TEST(texts_and_hashes_of_states)
{
    static const char given[] = "{\"xxh3_128\": \"0\", \"b\": 1, \"a\": {\"d\": [1, 0.5], \"c\": \"x\"}}";
    static const char text[] = "{\n \"a\": {\n  \"c\": \"x\",\n  \"d\": [\n   1,\n   0.5\n  ]\n },\n \"b\": 1,\n "
                               "\"xxh3_128\": \"0\"\n}";
    static const char members[] = "{\"a\":{\"c\":\"x\",\"d\":[1,0.5]},\"b\":1}";
    json_t *state = json_loads(given, 0, NULL);
    char hash[33], expected[33];
    char *written = cmi_state_text(state);
    const XXH128_hash_t h = XXH3_128bits(members, sizeof members - 1);
    ck_assert_str_eq(written, text);
    (void)snprintf(expected, sizeof expected, "%016llx%016llx", (unsigned long long)h.high64,
                   (unsigned long long)h.low64);
    OK(cmi_state_own_hash(state, hash));
    ck_assert_str_eq(hash, expected);
    ck_assert_ptr_nonnull(json_object_get(state, "xxh3_128"));
    free(written);
    json_decref(state);
}
END_TEST

START_TEST(differences_in_words)
{
    static const struct {
        const char *before, *now, *text;
    } rows[] = {
        {"{}", "{}", ""},
        {"{\"a\": 1}", "{\"a\": 1}", ""},
        {"{\"a\": 1}", "{\"a\": 1.0}", ""},
        {"{\"a\": 1.5}", "{\"a\": 1.25}", "a was 1.5, is 1.25"},
        {"{\"a\": 1}", "{\"a\": \"1\"}", "a was 1, is \"1\""},
        {"{\"a\": \"1\"}", "{\"a\": 1}", "a was \"1\", is 1"},
        {"{\"a\": 0}", "{\"a\": \"x\"}", "a was 0, is \"x\""},
        {"{\"a\": \"x\"}", "{\"a\": 0}", "a was \"x\", is 0"},
        {"{\"a\": \"x\"}", "{\"a\": \"x\"}", ""},
        {"{\"a\": \"x\"}", "{\"a\": \"y\"}", "a was \"x\", is \"y\""},
        {"{\"a\": [1, 2]}", "{\"a\": [1, 3]}", "a was [1,2], is [1,3]"},
        {"{\"a\": [1, 2]}", "{\"a\": [1, 2]}", ""},
        {"{}", "{\"a\": 1}", "a was absent, is 1"},
        {"{\"a\": 1}", "{}", "a was 1, is unknown to this library"},
        {"{\"a\": 1, \"b\": 2}", "{\"a\": 2, \"b\": 3}", "a was 1, is 2; b was 2, is 3"},
        {"{\"a\": 1, \"c\": 2}", "{\"a\": 2, \"b\": 3}",
         "a was 1, is 2; b was absent, is 3; c was 2, is unknown to this library"},
    };
    char text[200];
    for (size_t i = 0; i < COUNT(rows); i++) {
        json_t *before = json_loads(rows[i].before, 0, NULL), *now = json_loads(rows[i].now, 0, NULL);
        ck_assert(before && now);
        memset(text, 'x', sizeof text);
        cmi_state_differences(before, now, text, sizeof text);
        ck_assert_str_eq(text, rows[i].text);
        if (*rows[i].text) { /* as much as there is room for */
            cmi_state_differences(before, now, text, 9);
            ck_assert(strlen(text) == 8 && strncmp(text, rows[i].text, 8) == 0);
        }
        json_decref(before);
        json_decref(now);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("state_basics");
    TCase *t = tcase_create("basics");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, names_of_checkpoints);
    tcase_add_test(t, long_paths);
    tcase_add_test(t, vectors);
    tcase_add_test(t, hashes_of_files);
    tcase_add_test(t, texts_and_hashes_of_states);
    tcase_add_test(t, differences_in_words);
    suite_add_tcase(s, t);
    return s;
}
