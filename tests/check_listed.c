/* Class numbers from dataset.json, word for word, and folders as they are walked: how deep, how many, and where links
 * lead. */
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "support/sources.h"

/* --- dataset.json ---------------------------------------------------------------------------------- */

static char *picture_names[] = {"x/b.png", "x/a.png", "x/sub/c.png"};

/* What dataset.json with this text makes of three pictures below x/; the labels are the caller's. */
static cm_status read_list(const char *text, int32_t labels[3], int *decided, const char **from)
{
    char *copy = malloc(strlen(text) + 1);
    cm_source source = {.context = own, .count = 3, .names = picture_names, .dataset_json = copy, .json_folder = 2};
    cm_dataset d = {.context = own, .source = &source};
    memcpy(copy, text, strlen(text) + 1); /* of its own size: tools see a read past its end */
    heard[0] = '\0';
    *decided = 7;
    const cm_status status = cmi_labels_from_json(&d, decided);
    for (int i = 0; i < 3; i++) labels[i] = d.labels ? d.labels[i] : -7;
    *from = d.classes_from;
    cmi_free(own, d.labels);
    free(copy);
    return status;
}

#define THREE "[\"a.png\", 1], [\"b.png\", 0], [\"sub/c.png\", 2]"
#define NOT_USED "W dataset.json was not used: it has no \"labels\" (a list of [name, number], or null)\n"

START_TEST(lists_that_are_read)
{
    static const struct {
        const char *text;
        int decided;
        int32_t labels[3]; /* of b, a and c; -7: none */
        const char *heard;
    } rows[] = {
        {"{\"labels\": [" THREE "]}", 1, {0, 1, 2}, ""},
        {"\xef\xbb\xbf{\"labels\": [" THREE "]}", 1, {0, 1, 2}, ""},
        {" { \"labels\" : [ [ \"sub/c.png\" , 2 ] , [ \"b.png\" , 0 ] , [ \"a.png\" , 1 ] ] } \n", 1, {0, 1, 2}, ""},
        {"{\"a\": [1, {}], \"labels\": [" THREE "], \"b\": null}", 1, {0, 1, 2}, ""},
        {"{\"labels\": [[\"./a.png\", 16777215], [\"b.png\", 0], [\"sub\\\\c.png\", 1]]}", 1, {0, 16777215, 1}, ""},
        {"{\"labels\": [" THREE ", [\"a.png\", 1], [\"b.png\", 0], [\"a.png\", 1]]}",
         1,
         {0, 1, 2},
         "W dataset.json: 3 pictures are listed again, with the same label\n"},
        {"{\"labels\": [[\"z.png\", 5], [\"d.png\", 4], " THREE "]}",
         1,
         {0, 1, 2},
         "W dataset.json: 2 of its entries name pictures that are not there (one: 'z.png')\n"},
        {"{\"labels\": [[\"d.png\", 5], [\"z.png\", 4], " THREE ", [\"z.png\", 4]]}",
         1,
         {0, 1, 2},
         "W dataset.json: 2 of its entries name pictures that are not there (one: 'd.png')\n"
         "W dataset.json: 1 pictures are listed again, with the same label\n"},
        {"{\"labels\": null}", 1, {-7, -7, -7}, "I dataset.json says that there are no labels\n"},
        {"{\"other\": 1}", 0, {-7, -7, -7}, NOT_USED},
        {"{}", 0, {-7, -7, -7}, NOT_USED},
        {"[" THREE "]", 0, {-7, -7, -7}, NOT_USED},
        {"5", 0, {-7, -7, -7}, NOT_USED},
        {"\"labels\"", 0, {-7, -7, -7}, NOT_USED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t labels[3];
        int decided;
        const char *from;
        ck_assert_msg(read_list(rows[i].text, labels, &decided, &from) == CM_OK, "%s: %s", rows[i].text,
                      cm_last_message());
        ck_assert_msg(decided == rows[i].decided, "%s: %d", rows[i].text, decided);
        ck_assert_msg(memcmp(labels, rows[i].labels, sizeof labels) == 0, "%s: %d %d %d", rows[i].text, labels[0],
                      labels[1], labels[2]);
        ck_assert_str_eq(heard, rows[i].heard);
        if (rows[i].labels[0] >= 0) ck_assert_str_eq(from, "dataset.json");
        else ck_assert_ptr_null(from);
    }
    cm_source none = {.context = own};
    cm_dataset d = {.context = own, .source = &none};
    int decided = 7;
    OK(cmi_labels_from_json(&d, &decided));
    ck_assert_int_eq(decided, 0);
}
END_TEST

#define NO_NUMBER(what) "dataset.json: the label of 'a.png' is " what ", no class number (a whole number from 0)"
#define MISSING(name, n)                                                                                             \
    "dataset.json: '" name "' has no entry, as " n                                                                   \
    " of 3 pictures; entries are relative to the folder of dataset.json"

START_TEST(lists_that_are_refused)
{
    static const struct {
        const char *text;
        cm_status status;
        const char *message; /* or what it begins with, before "..." */
    } rows[] = {
        {"{\"labels\": [[\"a.png\", \"1\"]]}", CM_ERR_FORMAT, NO_NUMBER("a string")},
        {"{\"labels\": [[\"a.png\", true]]}", CM_ERR_FORMAT, NO_NUMBER("true or false")},
        {"{\"labels\": [[\"a.png\", false]]}", CM_ERR_FORMAT, NO_NUMBER("true or false")},
        {"{\"labels\": [[\"a.png\", null]]}", CM_ERR_FORMAT, NO_NUMBER("null")},
        {"{\"labels\": [[\"a.png\", {}]]}", CM_ERR_FORMAT, NO_NUMBER("an object")},
        {"{\"labels\": [[\"a.png\", 1.5]]}", CM_ERR_FORMAT, NO_NUMBER("a fraction or too large")},
        {"{\"labels\": [[\"a.png\", 99999999999999999999]]}", CM_ERR_FORMAT, NO_NUMBER("a fraction or too large")},
        {"{\"labels\": [[\"a.png\", -1]]}", CM_ERR_FORMAT,
         "dataset.json: the label of 'a.png' is -1, no class number (0..16777215)"},
        {"{\"labels\": [[\"a.png\", 16777216]]}", CM_ERR_FORMAT,
         "dataset.json: the label of 'a.png' is 16777216, no class number (0..16777215)"},
        {"{\"labels\": [[\"a.png\", [1, 0]]]}", CM_ERR_UNSUPPORTED,
         "dataset.json: 'a.png' has a vector for its label; class numbers are supported"},
        {"{\"labels\": [\"a.png\"]}", CM_ERR_FORMAT, "dataset.json: entry 0 is not [name, label]"},
        {"{\"labels\": [[\"a.png\"]]}", CM_ERR_FORMAT, "dataset.json: entry 0 is not [name, label]"},
        {"{\"labels\": [[1, \"a.png\"]]}", CM_ERR_FORMAT, "dataset.json: entry 0 is not [name, label]"},
        {"{\"labels\": [[\"a.png\" 1]]}", CM_ERR_FORMAT, "dataset.json: entry 0 is not [name, label]"},
        {"{\"labels\": [[\"a.png\", 1], [\"b.png\", 1, 1]]}", CM_ERR_FORMAT,
         "dataset.json: entry 1 is not [name, label]"},
        {"{\"labels\": [[\"a.png\", 1], [\"b.png\", 1], []]}", CM_ERR_FORMAT,
         "dataset.json: entry 2 is not [name, label]"},
        {"{\"labels\": 5}", CM_ERR_FORMAT, "dataset.json: 'labels' is neither a list nor null"},
        {"{\"labels\": {}}", CM_ERR_FORMAT, "dataset.json: 'labels' is neither a list nor null"},
        {"{\"labels\": \"n\"}", CM_ERR_FORMAT, "dataset.json: 'labels' is neither a list nor null"},
        {"{\"labels\": null, \"labels\": null}", CM_ERR_FORMAT,
         "dataset.json: not valid JSON: \"labels\" stands there twice"},
        {"{\"labels\": [" THREE "], \"labels\": []}", CM_ERR_FORMAT,
         "dataset.json: not valid JSON: \"labels\" stands there twice"},
        {"{\"labels\": [[\"/a.png\", 1]]}", CM_ERR_FORMAT, "dataset.json: the member '/a.png' has an absolute name"},
        {"{\"labels\": [[\"../a.png\", 1]]}", CM_ERR_FORMAT,
         "dataset.json: the member '../a.png' leaves the archive"},
        {"{\"labels\": [" THREE ", [\"sub/c.png\", 3]]}", CM_ERR_FORMAT,
         "dataset.json: 'sub/c.png' is listed twice, with the labels 2 and 3"},
        {"{\"labels\": [[\"sub/c.png\", 3], " THREE "]}", CM_ERR_FORMAT,
         "dataset.json: 'sub/c.png' is listed twice, with the labels 3 and 2"},
        {"{\"labels\": []}", CM_ERR_FORMAT, MISSING("b.png", "3")},
        {"{\"labels\": [[\"b.png\", 1]]}", CM_ERR_FORMAT, MISSING("a.png", "2")},
        {"{\"labels\": [[\"b.png\", 1], [\"a.png\", 1], [\"c.png\", 2], [\"d.png\", 2]]}", CM_ERR_FORMAT,
         MISSING("sub/c.png", "1") ", one that fits nothing is 'c.png'"},
        {"{\"labels\": [[\"x/b.png\", 1], [\"b.png\", 1], [\"x/a.png\", 1]]}", CM_ERR_FORMAT,
         MISSING("a.png", "2") ", one that fits nothing is 'x/b.png'"},
        {"", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"labels\": [" THREE "]", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"labels\": [" THREE, CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"labels\": ", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"labels\": nul}", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"labels\": null} 5", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"labels\": [" THREE "]} ]", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"labels\": [" THREE " [\"d.png\", 1]]}", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"a\": 1 \"labels\": null}", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"a\": [1, }, \"labels\": null}", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{labels: null}", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"{\"labels\": [[\"a.png, 1]]}", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"[1, 2", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
        {"5 6", CM_ERR_FORMAT, "dataset.json: not valid JSON: ..."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t labels[3];
        int decided;
        const char *from, *dots = strstr(rows[i].message, "...");
        const cm_status status = read_list(rows[i].text, labels, &decided, &from);
        ck_assert_msg(status == rows[i].status, "%s: %s", rows[i].text, cm_last_message());
        if (dots)
            ck_assert_msg(strncmp(cm_last_message(), rows[i].message, (size_t)(dots - rows[i].message)) == 0,
                          "%s: %s", rows[i].text, cm_last_message());
        else ck_assert_str_eq(cm_last_message(), rows[i].message);
    }
}
END_TEST

/* A message says in which line the text is broken. */
START_TEST(lines)
{
    static const char *const rows[] = {"x", "\n\nx", "{\n\"labels\": [\n[\"a.png\", 1],\n[\"b.png\", 2]\n",
                                       "{\"labels\": null}\n\nx"};
    static const int line[] = {1, 3, 5, 3};
    for (int i = 0; i < 4; i++) {
        int32_t labels[3];
        int decided;
        const char *from;
        char text[30];
        ck_assert_int_eq((int)read_list(rows[i], labels, &decided, &from), (int)CM_ERR_FORMAT);
        snprintf(text, sizeof text, " (line %d)", line[i]);
        const size_t n = strlen(cm_last_message());
        ck_assert_msg(n > strlen(text) && strcmp(cm_last_message() + n - strlen(text), text) == 0, "%s",
                      cm_last_message());
    }
}
END_TEST

/* --- folders ----------------------------------------------------------------------------------------- */

/* Folders below the scratch directory, all that are missing. */
static void make(const char *path)
{
    char text[1000];
    snprintf(text, sizeof text, "%s/%s", dir, path);
    for (char *c = text + strlen(dir) + 1; *c; c++) {
        if (*c != '/') continue;
        *c = '\0';
        (void)mkdir(text, 0777);
        *c = '/';
    }
    (void)mkdir(text, 0777);
}

static void put_file(const char *path)
{
    char text[1000];
    snprintf(text, sizeof text, "%s/%s", dir, path);
    write_bytes(text, "\x89PNG", 4);
}

static void put_link(const char *target, const char *path)
{
    char text[1000];
    snprintf(text, sizeof text, "%s/%s", dir, path);
    ck_assert_int_eq(symlink(target, text), 0);
}

/* "a/a/a" of n parts. */
static const char *nested(const char *top, int n, const char *end)
{
    static char text[1000];
    size_t at = (size_t)snprintf(text, sizeof text, "%s", top);
    for (int i = 0; i < n; i++) at += (size_t)snprintf(text + at, sizeof text - at, "/a");
    snprintf(text + at, sizeof text - at, "%s", end);
    return text;
}

/* 64 folders within each other are read, and one more is not; a link stands for the folder that it leads to. */
START_TEST(depth)
{
    cm_source *s;
    char text[2000];
    for (int n = 64; n < 66; n++) {
        const char *top = n == 64 ? "in" : "deeper";
        make(nested(top, n, ""));
        put_file(nested(top, n, "/1.png"));
        const cm_status status = open_source(in_dir(top), &s);
        if (n == 64) {
            OK(status);
            ck_assert_str_eq(names_of(s), nested("a", 63, "/1.png"));
            cmi_source_close(s);
        } else {
            snprintf(text, sizeof text, "'%s/%s' is nested deeper than 64 folders", in_dir(top), nested("a", 64, ""));
            SAYS(status, CM_ERR_LIMIT, text);
        }
    }
    /* a link in a folder at depth 2 to a tree of n folders */
    for (int n = 61; n < 63; n++) {
        const char *top = n == 61 ? "l" : "m", *away = n == 61 ? "away1" : "away2";
        make(nested(away, n, ""));
        put_file(nested(away, n, "/1.png"));
        make(nested(top, 2, ""));
        snprintf(text, sizeof text, "%s", in_dir(away));
        put_link(text, nested(top, 2, "/link"));
        const cm_status status = open_source(in_dir(top), &s);
        if (n == 61) {
            OK(status);
            ck_assert_str_eq(names_of(s), nested("a/a/link", 61, "/1.png"));
            cmi_source_close(s);
        } else ck_assert_int_eq((int)status, (int)CM_ERR_LIMIT);
    }
}
END_TEST

/* Hundreds of folders and files, each of which is met again by links, are read once. */
START_TEST(many_folders)
{
    enum { N = 150 };
    cm_source *s;
    make("many");
    make("many/z");
    for (int i = 0; i < N; i++) {
        char name[64], target[64];
        snprintf(name, sizeof name, "many/f%03d", i);
        make(name);
        snprintf(name, sizeof name, "many/f%03d/1.png", i);
        put_file(name);
        snprintf(name, sizeof name, "many/z/d%03d", i);
        snprintf(target, sizeof target, "../f%03d", i);
        put_link(target, name);
        snprintf(name, sizeof name, "many/z/p%03d.png", i);
        snprintf(target, sizeof target, "../f%03d/1.png", i);
        put_link(target, name);
    }
    OK(open_source(in_dir("many"), &s));
    ck_assert_uint_eq(s->count, N);
    for (int i = 0; i < N; i++) {
        char want[32];
        snprintf(want, sizeof want, "f%03d/1.png", i);
        ck_assert_str_eq(s->names[i], want);
    }
    ck_assert_uint_eq(s->left_all, 2 * N);
    ck_assert_ptr_nonnull(strstr(heard, "under its own name: 300 links"));
    cmi_source_close(s);
}
END_TEST

/* Links up the tree lead to what holds them, at any depth and by any way; links beside it do not. */
START_TEST(links_up_and_aside)
{
    /* in the order in which links are followed: to folders and to nothing, then to files */
    static const char *const left[] = {"p/q/nowhere.png", "p/q/r/above", "p/q/r/aside2", "p/q/r/beyond",
                                       "p/q/r/here",      "p/q/r/root",  "p/q/r/up",     "p/q/r/three2.png"};
    char text[300];
    cm_source *s;
    make("set/p/q/r");
    make("beside/deep");
    put_file("beside/deep/2.png");
    put_file("beside/3.png");
    put_file("set/p/q/r/1.png");
    put_link("gone.png", "set/p/q/nowhere.png");
    put_link("..", "set/p/q/r/up");
    put_link(".", "set/p/q/r/here");
    put_link("../../..", "set/p/q/r/root");
    put_link("../../../..", "set/p/q/r/above");
    put_link("/", "set/p/q/r/beyond");
    snprintf(text, sizeof text, "%s", in_dir("beside/deep"));
    put_link(text, "set/p/q/r/aside");
    put_link("aside", "set/p/q/r/aside2"); /* the same folder */
    put_link("../../../../beside/3.png", "set/p/q/r/three.png");
    put_link("../../../../beside/3.png", "set/p/q/r/three2.png");
    OK(open_source(in_dir("set"), &s));
    ck_assert_str_eq(names_of(s), "p/q/r/1.png p/q/r/aside/2.png p/q/r/three.png");
    ck_assert_uint_eq(s->left_names, 8);
    for (size_t i = 0; i < 8; i++) {
        ck_assert_str_eq(s->left[i].name, left[i]);
        ck_assert_msg(s->left[i].reason == (i ? CM_LEFT_AGAIN : CM_LEFT_LOST), "'%s': %d", left[i],
                      (int)s->left[i].reason);
    }
    cmi_source_close(s);
}
END_TEST

/* A link to a text beside pictures is no picture again; system files, pipes and dataset.json behind links. */
START_TEST(other_files)
{
    static const char json[] = "{\"labels\": null}";
    char text[300];
    cm_source *s;
    make("o/.hidden");
    make("o/sub");
    put_file("o/.hidden/1.png");
    put_file("o/sub/1.png");
    put_file("o/000007");
    write_bytes(in_dir("o/000008"), "\x89PN", 3);
    write_bytes(in_dir("o/notes.txt"), "x", 1);
    put_link("notes.txt", "o/more.txt");
    put_link("sub/1.png", "o/again"); /* no ending: it may be a picture, and is one */
    write_bytes(in_dir("listed"), json, strlen(json));
    put_link("../listed", "o/dataset.json");
    ck_assert_int_eq(mkfifo(in_dir("o/pipe.png"), 0777), 0);
    OK(open_source(in_dir("o"), &s));
    ck_assert_str_eq(names_of(s), "000007 sub/1.png");
    ck_assert_str_eq(s->dataset_json, json);
    ck_assert_ptr_nonnull(strstr(heard, "hidden, a system's or unfinished"));
    unsigned char *data;
    size_t size;
    OK(s->kind->bytes(s, 1, &data, &size));
    ck_assert(size == 4 && memcmp(data, "\x89PNG", 4) == 0);
    cmi_free(own, data);
    cm_picture p;
    snprintf(text, sizeof text, "%s", in_dir("o/sub/1.png"));
    FAILS(s->kind->picture(s, 1, 3, &p), CM_ERR_FORMAT, text);
    cmi_source_close(s);
    unlink(in_dir("o/dataset.json"));
    put_link("gone", "o/sub/dataset.json"); /* at any depth */
    snprintf(text, sizeof text, "'%s' is a link that leads nowhere", in_dir("o/sub/dataset.json"));
    SAYS(open_source(in_dir("o"), &s), CM_ERR_IO, text);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("listed");
    TCase *t = tcase_create("listed");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup_sources, teardown_sources);
    tcase_add_test(t, lists_that_are_read);
    tcase_add_test(t, lists_that_are_refused);
    tcase_add_test(t, lines);
    tcase_add_test(t, depth);
    tcase_add_test(t, many_folders);
    tcase_add_test(t, links_up_and_aside);
    tcase_add_test(t, other_files);
    suite_add_tcase(s, t);
    return s;
}
