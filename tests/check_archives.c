/* Folders with links, and archives that others have written, cut or joined. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "support/files.h"
#include "support/hearing.h"

static void link_to(const char *target, const char *name)
{
    ck_assert_int_eq(symlink(target, in_dir(name)), 0);
}

START_TEST(links_are_followed_once)
{
    cm_dataset_options o = in_order();
    cm_dataset *d;
    static const char *const folders_made[] = {"up",         "links", "links/cats", "links/cats/in",
                                               "links/dogs", "away",  "away/deep"};
    for (int i = 0; i < 7; i++) ck_assert_int_eq(mkdir(in_dir(folders_made[i]), 0777), 0);
    write_png(in_dir("links/cats/1.png"), 10);
    write_png(in_dir("links/cats/in/2.png"), 20);
    write_png(in_dir("links/dogs/3.png"), 30);
    write_png(in_dir("away/deep/4.png"), 40);
    write_png(in_dir("away/5.png"), 50);
    link_to(".", "links/a"); /* to the root, above it, to each other, to themselves */
    link_to(".", "links/b");
    link_to("..", "links/above");
    link_to("../dogs", "links/cats/dogs");
    link_to("../cats", "links/dogs/cats");
    link_to("self", "links/self");
    d = hearing(in_dir("links"));
    ck_assert_uint_eq(info_of(d).images, 3);
    HEARD("under its own name: 5 link");
    HEARD("lead nowhere: 1 link");
    cm_dataset_free(d);
    /* Folders and files elsewhere are read, under the names of the links, and once. */
    link_to("../../away/deep", "links/dogs/far");
    link_to("../away/deep", "links/dogs2");
    link_to("../../away/5.png", "links/dogs/five.png");
    link_to("../../away/5.png", "links/dogs/six.png");
    link_to("1.png", "links/cats/0.png");
    link_to("gone.png", "links/cats/gone.png");
    d = hearing(in_dir("links"));
    ck_assert_uint_eq(info_of(d).images, 5);
    static const int values[] = {10, 20, 30, 40, 50};
    for (uint64_t p = 0; p < 5; p++) ck_assert_int_eq(value_at(d, p, NULL), values[p]);
    HEARD("under its own name: 8 link");
    HEARD("lead nowhere: 2 link");
    cm_dataset_free(d);
    /* A hard link is a picture of its own. */
    ck_assert_int_eq(link(in_dir("links/cats/1.png"), in_dir("links/dogs/hard.png")), 0);
    d = hearing(in_dir("links"));
    ck_assert_uint_eq(info_of(d).images, 6);
    cm_dataset_free(d);
    link_to("nowhere", "links/dataset.json");
    ck_assert_int_eq(open_hearing(in_dir("links"), &o, &d), CM_ERR_IO);
    ck_assert_ptr_nonnull(strstr(cm_last_message(), "leads nowhere"));
    ck_assert_int_eq(mkdir(in_dir("onlylinks"), 0777), 0);
    link_to(".", "onlylinks/a");
    ck_assert_int_eq(open_hearing(in_dir("onlylinks"), &o, &d), CM_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(cm_last_message(), "1 links lead back"));
}
END_TEST

/* Sets a tar header's link and its sum again. */
static void tar_link(unsigned char *at, const char *target)
{
    unsigned sum = 0;
    memcpy(at + 157, target, strlen(target));
    memset(at + 148, ' ', 8);
    for (int i = 0; i < 512; i++) sum += at[i];
    snprintf((char *)at + 148, 8, "%06o", sum);
}

START_TEST(tars_with_links_and_repetitions)
{
    static unsigned char archive[1 << 16];
    size_t a, b, n = 0, at;
    unsigned char *first = a_png(10, &a), *second = a_png(20, &b);
    n += tar_member(archive + n, "./cats/1.png", '0', first, a);
    n += tar_member(archive + (at = n), "./dogs/1.png", '1', NULL, 0); /* as tar stores hard links */
    tar_link(archive + at, "./cats/1.png");
    n += tar_member(archive + (at = n), "./dogs/2.png", '1', NULL, 0);
    tar_link(archive + at, "./gone.png");
    n += tar_member(archive + (at = n), "./dogs/3.png", '2', NULL, 0);
    tar_link(archive + at, "1.png");
    n += tar_member(archive + n, "cats//2.png", '0', first, a);
    n += tar_member(archive + n, "cats/2.png", '0', second, b); /* tar -r: the last one counts */
    write_bytes(in_dir("links.tar"), archive, n + 1024);
    cm_dataset *d = hearing(in_dir("links.tar"));
    int32_t label;
    ck_assert_uint_eq(info_of(d).images, 3);
    ck_assert_int_eq(value_at(d, 1, &label), 10);
    ck_assert_int_eq(label, 1);
    ck_assert_int_eq(value_at(d, 2, &label), 20);
    ck_assert_int_eq(label, 0);
    HEARD("lead nowhere: 1 link");
    HEARD("under its own name: 1 link");
    HEARD("comes later: 1 picture (");
    cm_dataset_free(d);
    free(first);
    free(second);
}
END_TEST

/* Both copies of one file in a zip get the same name, as programs that append leave it. */
static void rename_in(const char *path, const char *from, const char *to)
{
    size_t size, n = strlen(from);
    unsigned char *all = read_bytes(path, &size);
    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(all + i, from, n) == 0) memcpy(all + i, to, n);
    write_bytes(path, all, size);
    free(all);
}

START_TEST(zip_with_repetitions)
{
    size_t a, b;
    int32_t label;
    unsigned char *first = a_png(10, &a), *second = a_png(20, &b);
    const part parts[] = {{"cats/1.png", first, a}, {"cats/2.png", second, b}, {"dogs/1.png", first, a}};
    const char *path = contain(2, "twice", parts, 3);
    rename_in(path, "cats/1.png", "cats/2.png");
    cm_dataset *d = hearing(path);
    ck_assert_uint_eq(info_of(d).images, 2);
    ck_assert_int_eq(value_at(d, 0, &label), 20);
    ck_assert_int_eq(value_at(d, 1, &label), 10);
    HEARD("comes later: 1 picture (");
    cm_dataset_free(d);
    free(first);
    free(second);
}
END_TEST

/* Archives that are cut while they are in use are trouble, no damage: nothing is marked. */
START_TEST(archives_cut_in_use)
{
    enum { SIDE = 64, VALUES = 3 * SIDE * SIDE }; /* much more than stdio keeps of a file */
    static uint8_t pixels[VALUES];
    static float want[VALUES], got[VALUES];
    size_t a, size;
    unsigned state = 1;
    for (int i = 0; i < VALUES; i++) pixels[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    OK(write_picture(NULL, in_dir("rough.png"), 3, SIDE, SIDE, pixels, 0, 1));
    unsigned char *png = read_bytes(in_dir("rough.png"), &a);
    const part parts[] = {{"cats/1.png", png, a}, {"cats/2.png", png, a}, {"dogs/1.png", png, a}};
    for (int how = 1; how < CONTAINERS; how++) {
        const char *path = contain(how, "in_use", parts, 3);
        unsigned char *all = read_bytes(path, &size);
        cm_dataset *d = hearing(path);
        OK(read_floats(d, 2, 1, want, NULL));
        for (size_t cut = 0; cut <= a; cut += a / 2) { /* the third picture lies behind */
            ck_assert_int_eq(truncate(path, (off_t)cut), 0);
            FAILS(read_floats(d, 2, 1, got, NULL), CM_ERR_IO, "in_use");
            write_bytes(path, all, size);
            OK(read_floats(d, 2, 1, got, NULL));
            ck_assert_mem_eq(want, got, sizeof want);
        }
        ck_assert_uint_eq(info_of(d).bad, 0);
        cm_dataset_free(d);
        free(all);
    }
    free(png);
}
END_TEST

/* A tar that was cut is refused, or said to be, wherever the cut is. */
START_TEST(tars_cut_and_joined)
{
    enum { HEAD = 512 };
    size_t size;
    unsigned char *png = a_png(10, &size);
    const part parts[] = {{"cats/1.png", png, size}, {"dogs/1.png", png, size}};
    size_t member = HEAD + (size + HEAD - 1) / HEAD * HEAD, all;
    unsigned char *archive = read_bytes(contain(1, "whole", parts, 2), &all);
    cm_dataset *d = hearing(in_dir("whole.tar"));
    QUIET();
    cm_dataset_free(d);
    for (size_t cut = HEAD; cut < 2 * member; cut += cut % HEAD == 0 ? 1 : HEAD - 1) {
        write_bytes(in_dir("cut.tar"), archive, cut);
        cm_status status = open_hearing(in_dir("cut.tar"), NULL, &d);
        ck_assert_int_eq(status, cut == member ? CM_OK : CM_ERR_FORMAT);
        if (status == CM_OK) HEARD("has no end mark");
        cm_dataset_free(d);
    }
    unsigned char *joined = malloc(2 * all);
    memcpy(joined, archive, all);
    memcpy(joined + all, archive, all);
    write_bytes(in_dir("joined.tar"), joined, 2 * all);
    d = hearing(in_dir("joined.tar"));
    ck_assert_uint_eq(info_of(d).images, 2);
    HEARD("joined by cat");
    cm_dataset_free(d);
    free(joined);
    free(archive);
    free(png);
}
END_TEST

START_TEST(names_with_other_separators)
{
    static const char json[] = "{\"labels\": [[\"00000\\\\a.png\", 1], [\"./00000/b.png\", 0]]}";
    size_t size;
    int32_t label;
    unsigned char *png = a_png(30, &size);
    const part slashes[] = {
        {".\\00000\\a.png", png, size}, {"./00000//b.png", png, size}, {"./dataset.json", json, sizeof json - 1}};
    const part inner[] = {
        {"set/00000/a.png", png, size}, {"set/00000/b.png", png, size}, {"set/dataset.json", json, sizeof json - 1}};
    const part outer[] = {
        {"set/00000/a.png", png, size}, {"b.png", png, size}, {"set/dataset.json", json, sizeof json - 1}};
    for (int how = 0; how < CONTAINERS; how++) {
        for (int k = 0; k < 2; k++) { /* dataset.json at the root, or in a folder that holds everything */
            cm_dataset *d = hearing(contain(how, k ? "inner" : "slashes", k ? inner : slashes, 3));
            ck_assert_uint_eq(info_of(d).images, 2);
            ck_assert_int_eq(value_at(d, 0, &label), 30);
            ck_assert_int_eq(label, 1);
            (void)value_at(d, 1, &label);
            ck_assert_int_eq(label, 0);
            QUIET();
            cm_dataset_free(d);
        }
        cm_dataset *d;
        (void)open_hearing(contain(how, "outer", outer, 3), NULL, &d);
        HEARD("'set/dataset.json' was not used");
        cm_dataset_free(d);
    }
    free(png);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("archives");
    TCase *t = tcase_create("archives");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, links_are_followed_once);
    tcase_add_test(t, tars_with_links_and_repetitions);
    tcase_add_test(t, zip_with_repetitions);
    tcase_add_test(t, archives_cut_in_use);
    tcase_add_test(t, tars_cut_and_joined);
    tcase_add_test(t, names_with_other_separators);
    suite_add_tcase(s, t);
    return s;
}
