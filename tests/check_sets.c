/* A whole set: how it describes itself, what cm_dataset_check finds in it, how it is packed, and how its classes are
 * ordered. */
#include "support/files.h"
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "support/memory.h"
#include "support/pictures.h"
#include "support/sets.h"

START_TEST(dataset_json)
{
    cm_dataset_options o = in_order();
    cm_dataset *d;
    int32_t label;
    static const char good[] = "{\"labels\": [[\"a.png\", 4], [\"sub/b.png\", 0]]}";
    static const struct {
        const char *text, *word;
    } bad[] = {{"{\"labels\": [[\"a.png\", 4]]}", "'sub/b.png' has no entry"},
               {"{\"labels\": [[\"a.png\", [1, 0]], [\"sub/b.png\", 0]]}", "vector"},
               {"{\"labels\": 3}", "neither a list"},
               {"{\"labels\": [[\"a.png\", -4]]}", "no class number"},
               {"{\"labels\": [[\"a.png\"]]}", "not [name, label]"},
               {"{\"labels\": ", "not valid JSON"}};
    ck_assert_int_eq(mkdir(in_dir("edm"), 0777), 0);
    ck_assert_int_eq(mkdir(in_dir("edm/sub"), 0777), 0);
    write_png(in_dir("edm/a.png"), 1);
    write_png(in_dir("edm/sub/b.png"), 2);
    write_bytes(in_dir("edm/dataset.json"), good, strlen(good));
    d = open_set(in_dir("edm"), &o);
    ck_assert_int_eq(value_at(d, 0, &label), 1);
    ck_assert_int_eq(label, 4);
    ck_assert_int_eq(info_of(d).classes, 5);
    ck_assert_int_eq(info_of(d).largest_label, 4);
    cm_dataset_free(d);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_bytes(in_dir("edm/dataset.json"), bad[i].text, strlen(bad[i].text));
        cm_status status = cm_dataset_open(NULL, in_dir("edm"), &o, &d);
        ck_assert_msg(status != CM_OK && strstr(cm_last_message(), bad[i].word), "%s: '%s'", bad[i].text,
                      cm_last_message());
    }
}
END_TEST

/* Findings, a line each: "kind: sentence". */
static char findings[4000];
static void keep_finding(void *user, int32_t kind, const char *finding)
{
    const size_t used = strlen(findings);
    (void)user;
    snprintf(findings + used, sizeof findings - used, "%s: %s\n", cm_choice_name("dataset_findings", (size_t)kind),
             finding);
}

static cm_dataset_report check_set(cm_dataset *d, int32_t least)
{
    cm_dataset_report r = CM_DATASET_REPORT_INIT;
    cm_dataset_check_options o = CM_DATASET_CHECK_OPTIONS_INIT;
    findings[0] = '\0';
    o.class_least = least;
    o.found = keep_finding;
    OK(cm_dataset_check(d, &o, &r));
    return r;
}

static void expect_finding(const char *text)
{
    ck_assert_msg(strstr(findings, text) != NULL, "'%s' is not in\n%s", text, findings);
}

START_TEST(checks)
{
    uint64_t counts[3];
    cm_dataset_options o = in_order();
    make_folder("checked");
    cm_dataset *d = open_set(in_dir("checked"), &o);
    cm_dataset_report r = check_set(d, 3);
    ck_assert_int_eq(r.is_sound, 1);
    ck_assert_uint_eq(r.images, 6);
    ck_assert_uint_eq(r.gray, 6);
    ck_assert_uint_eq(r.findings, 1);
    expect_finding("gray: no picture has a colour");
    OK(cm_dataset_class_counts(d, 2, counts));
    ck_assert_uint_eq(counts[0], 3);
    ck_assert_uint_eq(counts[1], 3);
    FAILS(cm_dataset_class_counts(d, 3, counts), CM_ERR_ARGUMENT, "has 2 classes");
    r = check_set(d, 4);
    ck_assert_int_eq(r.is_sound, 0);
    expect_finding("class: class 0 (ape) has 3 pictures: fewer than 4");
    cm_dataset_free(d);

    write_bytes(in_dir("checked/cat/p9.png"), "\x89PNG nothing more", 17);
    write_bytes(in_dir("checked/readme.txt"), "no picture", 10);
    write_bytes(in_dir("checked/cat/q.webp"), "RIFF", 4);
    write_bytes(in_dir("checked/.hidden"), "no matter", 9);
    write_png(in_dir("checked/cat/again.png"), 0);  /* p0 of cat  */
    write_png(in_dir("checked/cat/stray.png"), 40); /* p4 of ape  */
    ck_assert_int_eq(mkdir(in_dir("checked/dog"), 0777), 0);
    write_bytes(in_dir("checked/dog/only.png"), "\x89PNG nothing more", 17);
    o.height = o.width = 32;
    d = open_set(in_dir("checked"), &o);
    r = check_set(d, 3);
    ck_assert_int_eq(r.is_sound, 0);
    ck_assert_uint_eq(r.images, 8);
    ck_assert_uint_eq(r.damaged, 2);
    ck_assert_uint_eq(r.left_out, 2);
    ck_assert_uint_eq(r.duplicates, 2);
    ck_assert_uint_eq(r.contradictions, 1);
    ck_assert_uint_eq(r.enlarged, 8);
    ck_assert_int_eq(r.least_width, 16);
    ck_assert_int_eq(r.most_height, 16);
    expect_finding("damaged: picture 7, cat/p9.png");
    expect_finding("left-out: readme.txt: no picture");
    expect_finding("format: cat/q.webp: a format that is not read");
    expect_finding("duplicate: picture 4, cat/p0.png: the same pixels as picture 3, cat/again.png");
    expect_finding("contradiction: picture 8, cat/stray.png, of class 1 (cat): the same pixels as picture 1, "
                   "ape/p4.png, of class 0 (ape)");
    expect_finding("class: class 2 (dog) has no picture that can be read");
    expect_finding("enlarged: 8 of 8 pictures are smaller than the images of 32 x 32");
    FAILS(cm_dataset_pack(d, in_dir("checked.tar"), NULL, NULL), CM_ERR_ARGUMENT, "the set would lose it");
    ck_assert_int_ne(access(in_dir("checked.tar"), F_OK), 0);
    cm_dataset_free(d);
}
END_TEST

/* The same images, labels and class names. */
static void expect_same_set(const char *path, const char *other, const cm_dataset_options *options)
{
    cm_dataset_options o = *options;
    cm_dataset *a = open_set(path, &o), *b = open_set(other, &o);
    const cm_dataset_info i = info_of(a), j = info_of(b);
    ck_assert_uint_eq(i.images, j.images);
    ck_assert_int_eq(i.classes, j.classes);
    for (int32_t k = 0; k < i.classes && cm_dataset_class_name(a, k); k++)
        ck_assert_str_eq(cm_dataset_class_name(a, k), cm_dataset_class_name(b, k));
    for (uint64_t k = 0; k < i.images; k++) {
        int32_t mine, its;
        ck_assert_int_eq(value_at(a, k, &mine), value_at(b, k, &its));
        ck_assert_int_eq(mine, its);
    }
    cm_dataset_free(a);
    cm_dataset_free(b);
}

static void pack_set(const char *path, const char *archive, const cm_dataset_options *options, int32_t form,
                     uint64_t expected)
{
    uint64_t packed;
    cm_dataset_options o = *options;
    cm_dataset_pack_options p = CM_DATASET_PACK_OPTIONS_INIT;
    cm_dataset *d = open_set(path, &o);
    p.form = form;
    OK(cm_dataset_pack(d, archive, &p, &packed));
    ck_assert_uint_eq(packed, expected);
    FAILS(cm_dataset_pack(d, archive, &p, &packed), CM_ERR_IO, "exists");
    ck_assert_uint_eq(packed, 0);
    cm_dataset_free(d);
}

START_TEST(packs)
{
    static const char json[] = "{\"labels\": [[\"a.png\", 4], [\"sub/b.png\", 0]]}";
    static const unsigned char images[16 + 3 * 784] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28},
                                               labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 2};
    char folder[300], archive[300], command[900];
    cm_dataset_options o = in_order();
    make_folder("packed");
    snprintf(folder, sizeof folder, "%s/%s", in_dir("packed/cat"),
             "a_long_name_of_more_than_a_hundred_bytes_as_they_"
             "come_from_cameras_and_from_downloads_whose_title_is_a_sentence.png");
    write_png(folder, 77);
    write_bytes(in_dir("packed/cat/zz.png"), "\x89PNG nothing more", 17); /* left out */
    snprintf(folder, sizeof folder, "%s", in_dir("packed"));
    snprintf(archive, sizeof archive, "%s", in_dir("packed.tar"));
    pack_set(folder, archive, &o, CM_PACK_FILES, 7);
    snprintf(command, sizeof command, "rm %s/cat/zz.png", folder);
    ck_assert_int_eq(system(command), 0);
    expect_same_set(folder, archive, &o);
    pack_set(folder, in_dir("packed2.tar"), &o, CM_PACK_FILES, 7);
    snprintf(command, sizeof command, "cmp %s %s/packed2.tar && tar -tf %s | wc -l | grep -qx 7", archive, dir,
             archive);
    ck_assert_int_eq(system(command), 0); /* the same bytes, and others read it too */
    o.height = o.width = 8;
    pack_set(folder, in_dir("images.tar"), &o, CM_PACK_IMAGES, 7);
    snprintf(archive, sizeof archive, "%s", in_dir("images.tar"));
    expect_same_set(folder, archive, &o);
    o = in_order();
    cm_dataset *d = open_set(archive, &o);
    ck_assert_int_eq(info_of(d).height, 8);
    cm_dataset_free(d);

    ck_assert_int_eq(mkdir(in_dir("numbered"), 0777), 0);
    ck_assert_int_eq(mkdir(in_dir("numbered/sub"), 0777), 0);
    write_png(in_dir("numbered/a.png"), 1);
    write_png(in_dir("numbered/sub/b.png"), 2);
    write_bytes(in_dir("numbered/dataset.json"), json, strlen(json));
    snprintf(folder, sizeof folder, "%s", in_dir("numbered"));
    snprintf(archive, sizeof archive, "%s", in_dir("numbered.tar"));
    pack_set(folder, archive, &o, CM_PACK_FILES, 2);
    expect_same_set(folder, archive, &o);

    ck_assert_int_eq(mkdir(in_dir("packidx"), 0777), 0);
    write_bytes(in_dir("packidx/train-images-idx3-ubyte"), images, sizeof images);
    write_bytes(in_dir("packidx/train-labels-idx1-ubyte"), labels, sizeof labels);
    snprintf(folder, sizeof folder, "%s", in_dir("packidx"));
    snprintf(archive, sizeof archive, "%s", in_dir("packidx.tar"));
    o.channels = 1;
    pack_set(folder, archive, &o, CM_PACK_FILES, 3);
    expect_same_set(folder, archive, &o);
}
END_TEST

/* Every request for memory fails in turn: a status, nothing is lost, and no archive or part of one is left. */
START_TEST(whole_sets_without_memory)
{
    memory m;
    cm_context *counted;
    char archive[300], path[300], left[700];
    int done = 0;
    memory_reset(&m);
    const cm_context_options co = memory_options(&m, 1);
    OK(cm_context_create(&co, &counted));
    make_folder("poor");
    write_bytes(in_dir("poor/readme.txt"), "no picture", 10);
    snprintf(path, sizeof path, "%s", in_dir("poor"));
    snprintf(archive, sizeof archive, "%s", in_dir("poor.tar"));
    snprintf(left, sizeof left, "ls -A %s | grep -q poor.tar", dir);
    const long live = m.live;
    for (long k = 1; !done; k++) {
        cm_dataset_options o = in_order();
        cm_dataset_report r = CM_DATASET_REPORT_INIT;
        cm_dataset_pack_options p = CM_DATASET_PACK_OPTIONS_INIT;
        cm_dataset *d = NULL;
        p.form = CM_PACK_IMAGES;
        m.requests = 0, m.fail_at = k;
        cm_status status = cm_dataset_open(counted, path, &o, &d);
        if (status == CM_OK) status = cm_dataset_check(d, NULL, &r);
        if (status == CM_OK) status = cm_dataset_pack(d, archive, &p, NULL);
        done = m.fail_at > m.requests;
        m.fail_at = 0;
        ck_assert_msg(status == (done ? CM_OK : CM_ERR_MEMORY), "request %ld: %d, %s", k, status, cm_last_message());
        ck_assert_int_eq(system(left) == 0, done);
        cm_dataset_free(d);
        ck_assert_int_eq(m.live, live);
        ck_assert(k < 1000);
    }
    cm_context_free(counted);
}
END_TEST

static int32_t stop_at_two(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)total;
    return done == 2;
}

START_TEST(packs_refused)
{
    cm_dataset_options o = in_order();
    cm_dataset_pack_options p = CM_DATASET_PACK_OPTIONS_INIT;
    cm_dataset_check_options c = CM_DATASET_CHECK_OPTIONS_INIT;
    cm_dataset_report r = CM_DATASET_REPORT_INIT;
    char command[400];
    make_folder("refused");
    cm_dataset *d = open_set(in_dir("refused"), &o);
    FAILS(cm_dataset_pack(d, in_dir("refused.zip"), &p, NULL), CM_ERR_ARGUMENT, "does not end in .tar");
    p.form = 2;
    FAILS(cm_dataset_pack(d, in_dir("refused.tar"), &p, NULL), CM_ERR_ARGUMENT, "form is 2");
    p.form = CM_PACK_FILES;
    p.progress = c.progress = stop_at_two;
    FAILS(cm_dataset_pack(d, in_dir("refused.tar"), &p, NULL), CM_ERR_CANCELLED, "cancelled");
    FAILS(cm_dataset_check(d, &c, &r), CM_ERR_CANCELLED, "cancelled");
    c = (cm_dataset_check_options)CM_DATASET_CHECK_OPTIONS_INIT;
    c.class_least = -1;
    FAILS(cm_dataset_check(d, &c, &r), CM_ERR_ARGUMENT, "class_least is -1");
    snprintf(command, sizeof command, "ls -A %s | grep refused.", dir);
    ck_assert_int_ne(system(command), 0); /* nothing is left of it */
    cm_dataset_free(d);
    o.random_crop = CM_CROP_RANDOM;
    d = open_set(in_dir("refused"), &o);
    p = (cm_dataset_pack_options)CM_DATASET_PACK_OPTIONS_INIT;
    p.form = CM_PACK_IMAGES;
    FAILS(cm_dataset_pack(d, in_dir("refused.tar"), &p, NULL), CM_ERR_ARGUMENT, "random crops");
    cm_dataset_free(d);
}
END_TEST

/* Names that are given take the place of the set's, and are the set's own afterwards. */
START_TEST(names_that_are_given)
{
    static const unsigned char images[16 + 3 * 16] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 4};
    static const unsigned char labels[8 + 3] = {0, 0, 8, 1, 0, 0, 0, 3, 2, 0, 1};
    static const struct {
        const char *names, *word;
    } bad[] = {{"cat", "class_names has 1 names, and the set has 3 classes"},
               {"cat,dog,mouse,bird", "has 4 names"},
               {"", "has 0 names"},
               {"cat,,mouse", "name 1 of 'cat,,mouse' is empty"},
               {"cat,dog,", "name 2"},
               {"cat,d\tg,mouse", "name 1"},
               {"cat,d\xff,mouse", "no UTF-8"},
               {"cat,dog,cat", "names 0 and 2 are both 'cat'"}};
    char text[] = "cat,Stra\xc3\x9f"
                  "e 7,mouse";
    ck_assert_int_eq(mkdir(in_dir("named"), 0777), 0);
    write_bytes(in_dir("named/train-images-idx3-ubyte"), images, sizeof images);
    write_bytes(in_dir("named/train-labels-idx1-ubyte"), labels, sizeof labels);
    cm_dataset_options o = CM_DATASET_OPTIONS_INIT;
    cm_dataset *d = open_set(in_dir("named"), &o);
    ck_assert_ptr_null(cm_dataset_class_name(d, 0));
    cm_dataset_free(d);
    o.class_names = text;
    d = open_set(in_dir("named"), &o);
    memset(text, 'x', sizeof text - 1);
    ck_assert_str_eq(cm_dataset_class_name(d, 0), "cat");
    ck_assert_str_eq(cm_dataset_class_name(d, 1), "Stra\xc3\x9f"
                                                  "e 7");
    ck_assert_str_eq(cm_dataset_class_name(d, 2), "mouse");
    ck_assert_ptr_null(cm_dataset_class_name(d, 3));
    cm_dataset_free(d);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.class_names = bad[i].names;
        FAILS(cm_dataset_open(NULL, in_dir("named"), &o, &d), CM_ERR_ARGUMENT, bad[i].word);
        ck_assert_ptr_null(d);
    }
    o.class_names = "cat,dog,mouse";
    o.labels = CM_LABELS_NONE;
    FAILS(cm_dataset_open(NULL, in_dir("named"), &o, &d), CM_ERR_ARGUMENT, "the set has no classes");
    make_folder("renamed"); /* whose folders have names */
    o = in_order();
    d = open_set(in_dir("renamed"), &o);
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    OK(cm_dataset_info_get(d, &info));
    ck_assert_int_eq(info.classes, 2);
    ck_assert_ptr_nonnull(cm_dataset_class_name(d, 1));
    cm_dataset_free(d);
    o.class_names = "one,two";
    d = open_set(in_dir("renamed"), &o);
    ck_assert_str_eq(cm_dataset_class_name(d, 1), "two");
    cm_dataset_free(d);
}
END_TEST

/* Numbers by their value, then the others with runs of digits as numbers: the same from any beginning. */
START_TEST(order_of_classes)
{
    static const char *const order[] = {"-10",
                                        "-2",
                                        "-0.5",
                                        "0",
                                        "0.25",
                                        "0.5",
                                        "00001",
                                        "1",
                                        "1.5",
                                        "2",
                                        "10",
                                        "18446744073709551616",
                                        "99999999999999999999",
                                        ".5",
                                        "1.2.3",
                                        "2nd10",
                                        "10a",
                                        "A2",
                                        "a",
                                        "a1b2",
                                        "a01b10",
                                        "a2",
                                        "a10",
                                        "ape",
                                        "cat",
                                        "cat 2",
                                        "cat-1",
                                        "cat1",
                                        "cat02",
                                        "cat2",
                                        "cat10",
                                        "dog"};
    enum { N = sizeof order / sizeof *order };
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            int got = cmi_class_order(order[i], order[j]);
            ck_assert_msg((got > 0) - (got < 0) == (i > j) - (i < j), "'%s' and '%s': %d", order[i], order[j], got);
        }
    cm_dataset_options o = in_order();
    static const char *const numbered[] = {"10", "2", "0", "1"};
    char path[300];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "mkdir -p %s/numbers/%s", dir, numbered[i]);
        ck_assert_int_eq(system(path), 0);
        snprintf(path, sizeof path, "%s/numbers/%s/a.png", dir, numbered[i]);
        write_png(path, 10 * i);
    }
    cm_dataset *d = open_set(in_dir("numbers"), &o);
    static const char *const names[] = {"0", "1", "2", "10"};
    static const int values[] = {20, 30, 0, 10}, labels[] = {0, 1, 3, 2}; /* pictures stay in byte order */
    for (int i = 0; i < 4; i++) {
        int32_t label;
        ck_assert_str_eq(cm_dataset_class_name(d, i), names[i]);
        ck_assert_int_eq(value_at(d, (uint64_t)i, &label), values[i]);
        ck_assert_int_eq(label, labels[i]);
    }
    cm_dataset_free(d);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("sets");
    TCase *t = tcase_create("sets");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, dataset_json);
    tcase_add_test(t, checks);
    tcase_add_test(t, packs);
    tcase_add_test(t, packs_refused);
    tcase_add_test(t, whole_sets_without_memory);
    tcase_add_test(t, names_that_are_given);
    tcase_add_test(t, order_of_classes);
    suite_add_tcase(s, t);
    return s;
}
