/* Data sets: every kind of container, classes, order, bad pictures and bad containers, trouble that passes.  What is
 * done with a whole set stands in check_sets.c. */
#include "support/files.h"
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "data/dataset.h"
#include "data/loader.h"
#include "support/memory.h"
#include "support/pictures.h"
#include "support/sets.h"

/* --- folders ---------------------------------------------------------------------------- */

START_TEST(folders)
{
    int32_t label;
    cm_dataset_options o = in_order();
    make_folder("set");
    write_bytes(in_dir("set/readme.txt"), "no picture", 10);
    cm_dataset *d = open_set(in_dir("set"), &o);
    cm_dataset_info i = info_of(d);
    ck_assert_uint_eq(i.images, 6);
    ck_assert_int_eq(i.classes, 2);
    ck_assert_int_eq(i.height, 16);
    ck_assert_int_eq(i.channels, 3);
    ck_assert_str_eq(cm_dataset_class_name(d, 0), "ape");
    ck_assert_ptr_null(cm_dataset_class_name(d, 2));
    ck_assert_int_eq(value_at(d, 0, &label), 30); /* ape/p3 */
    ck_assert_int_eq(label, 0);
    ck_assert_int_eq(value_at(d, 5, &label), 20);
    ck_assert_int_eq(label, 1);
    ck_assert_int_eq(value_at(d, 6, &label), 30); /* the next epoch */
    cm_dataset_free(d);
    o.labels = CM_LABELS_PREFIX;
    d = open_set(in_dir("set"), &o);
    ck_assert_int_eq(info_of(d).classes, 6); /* "p0.png" ...: a class each */
    cm_dataset_free(d);
    o.labels = CM_LABELS_NONE;
    d = open_set(in_dir("set"), &o);
    (void)value_at(d, 0, &label);
    ck_assert_int_eq(label, -1);
    cm_dataset_free(d);
}
END_TEST

/* --- bad pictures -------------------------------------------------------------------------- */

static int warned;
static void count_warning(void *user, int32_t level, const char *message)
{
    (void)user;
    warned += level == CM_LOG_WARNING && strstr(message, "cannot be read and is left out") != NULL;
}

START_TEST(bad_pictures_are_left_out)
{
    cm_dataset_options o = in_order();
    cm_context_options co;
    cm_context *own;
    cm_dataset *d;
    float image[3 * 16 * 16];
    make_folder("bad");
    write_bytes(in_dir("bad/ape/p4.png"), "\x89PNG....", 8);
    cm_context_options_init(&co, sizeof co);
    co.log = count_warning;
    OK(cm_context_create(&co, &own));
    OK(cm_dataset_open(own, in_dir("bad"), &o, &d));
    for (uint64_t p = 0; p < 12; p++) (void)value_at(d, p, NULL);
    ck_assert_int_eq(value_at(d, 1, NULL), 50); /* the one behind it */
    ck_assert_uint_eq(info_of(d).bad, 1);
    ck_assert_int_eq(warned, 1);
    cm_dataset_free(d);
    o.stop_on_bad = 1;
    OK(cm_dataset_open(own, in_dir("bad"), &o, &d));
    FAILS(read_floats(d, 1, 1, image, NULL), CM_ERR_FORMAT, "p4.png");
    cm_dataset_free(d);
    cm_context_free(own);
    ck_assert_int_eq(mkdir(in_dir("allbad"), 0777), 0);
    write_bytes(in_dir("allbad/x_1.png"), "", 0);
    write_bytes(in_dir("allbad/x_2.jpg"), "\xff\xd8 no", 5);
    FAILS(cm_dataset_open(NULL, in_dir("allbad"), NULL, &d), CM_ERR_FORMAT, "no picture of the set can be read");
    ck_assert_int_eq(mkdir(in_dir("empty"), 0777), 0);
    FAILS(cm_dataset_open(NULL, in_dir("empty"), NULL, &d), CM_ERR_ARGUMENT, "no picture");
    FAILS(cm_dataset_open(NULL, in_dir("missing"), NULL, &d), CM_ERR_IO, "missing");
    FAILS(cm_dataset_open(NULL, "/dev/zero", NULL, &d), CM_ERR_IO, "regular");
}
END_TEST

/* --- order ------------------------------------------------------------------------------------ */

START_TEST(shuffling_is_a_permutation)
{
    static const uint64_t sizes[] = {1, 2, 3, 7, 64, 1000, 4097};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        uint64_t n = sizes[k], moved = 0, same = 0;
        unsigned char *seen = calloc(n, 1);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t a = cmi_shuffled(3, 0, i, n);
            ck_assert(a < n && !seen[a]);
            seen[a] = 1;
            moved += a != i;
            same += a == cmi_shuffled(3, 1, i, n);
        }
        if (n >= 64) ck_assert_msg(moved > n * 9 / 10 && same < n / 4, "n %llu", (unsigned long long)n);
        free(seen);
    }
    /* 10 classes in order, as archives have them: batches of 100 are mixed */
    for (uint64_t b = 0; b < 20; b++) {
        int count[10] = {0};
        for (uint64_t i = 0; i < 100; i++) count[cmi_shuffled(1, 0, b * 100 + i, 50000) / 5000]++;
        for (int c = 0; c < 10; c++)
            ck_assert_msg(count[c] > 0 && count[c] < 30, "batch %llu: %d of class %d", (unsigned long long)b,
                          count[c], c);
    }
}
END_TEST

/* --- archives --------------------------------------------------------------------------------------- */

/* Marks the values of the pictures of a part; returns how many there are. */
static uint64_t mark(const char *set, int32_t which, unsigned char seen[256])
{
    int32_t label;
    cm_dataset_options o = in_order();
    memset(seen, 0, 256);
    o.part = which;
    o.held_out = which == CM_PART_ALL ? 0 : 0.3;
    cm_dataset *d = open_set(set, &o);
    const uint64_t n = info_of(d).images;
    ck_assert_int_eq(info_of(d).classes, 2);
    for (uint64_t i = 0; i < n; i++) {
        const int value = value_at(d, i, &label);
        ck_assert_int_eq(label, value < 30 || (value >= 60 && value < 120)); /* ape, cat */
        ck_assert_uint_eq(seen[value]++, 0);
    }
    cm_dataset_free(d);
    return n;
}

/* Two parts make the set, and pictures that are added move none of them. */
START_TEST(parts)
{
    enum { FIRST = 60, ALL = 80 };
    unsigned char learnt[256], held[256], more[256];
    char path[300];
    make_folder("parts"); /* 0 to 50 */
    for (int i = 6; i < ALL; i++) {
        if (i == FIRST) {
            const uint64_t n = mark(in_dir("parts"), CM_PART_TRAINING, learnt);
            ck_assert_uint_eq(n + mark(in_dir("parts"), CM_PART_HELD_OUT, held),
                              mark(in_dir("parts"), CM_PART_ALL, more));
            for (int v = 0; v < 256; v++) ck_assert_int_eq(learnt[v] + held[v], more[v]);
            ck_assert_uint_gt(n, FIRST / 2);
            ck_assert_uint_lt(n, FIRST - 5);
        }
        snprintf(path, sizeof path, "%s/parts/%s/q%d.png", dir, i % 2 ? "cat" : "ape", i);
        write_png(path, i % 2 ? 60 + i / 2 : 120 + i);
    }
    (void)mark(in_dir("parts"), CM_PART_HELD_OUT, more);
    for (int v = 0; v < 256; v++) ck_assert(!held[v] || more[v]);
    for (int v = 0; v < 256; v++) ck_assert(!learnt[v] || !more[v]);
    cm_dataset_options o = in_order();
    cm_dataset_report report = CM_DATASET_REPORT_INIT;
    o.part = CM_PART_TRAINING;
    o.held_out = 0.3;
    cm_dataset *d = open_set(in_dir("parts"), &o);
    uint64_t counts[2];
    ck_assert_int_eq(cm_dataset_class_counts(d, 2, counts), CM_OK);
    ck_assert_uint_eq(counts[0] + counts[1], info_of(d).images);
    ck_assert_int_eq(cm_dataset_check(d, NULL, &report), CM_ERR_ARGUMENT);
    ck_assert_int_eq(cm_dataset_pack(d, in_dir("parts.tar"), NULL, NULL), CM_ERR_ARGUMENT);
    const uint64_t fingerprint = info_of(d).fingerprint;
    cm_dataset_free(d);
    o.part = CM_PART_HELD_OUT;
    d = open_set(in_dir("parts"), &o);
    ck_assert_uint_ne(fingerprint, info_of(d).fingerprint);
    cm_dataset_free(d);
    const struct {
        double share;
        int32_t part;
        const char *said;
    } wrong[] = {{0.3, CM_PART_ALL, "no effect on a whole set"},
                 {0, CM_PART_TRAINING, "expected above 0 to 0.5"},
                 {0.6, CM_PART_TRAINING, "expected above 0 to 0.5"},
                 {NAN, CM_PART_HELD_OUT, "above 0 to 0.5"},
                 {NAN, CM_PART_ALL, "no effect"},
                 {0.3, 3, "part is 3, expected 0..2"},
                 {1e-9, CM_PART_HELD_OUT, "leaves none to hold out"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        o.held_out = wrong[i].share, o.part = wrong[i].part;
        ck_assert_int_eq(cm_dataset_open(NULL, in_dir("parts"), &o, &d), CM_ERR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(cm_last_message(), wrong[i].said));
    }
}
END_TEST

START_TEST(tars)
{
    static unsigned char archive[1 << 16];
    cm_dataset_options o = in_order();
    cm_dataset *d;
    int32_t label;
    size_t size, n = 0, begin;
    write_png(in_dir("one.png"), 50);
    unsigned char *png = read_bytes(in_dir("one.png"), &size);
    static const char pax[] = "30 path=long/name/dog_002.png\n";
    n += tar_member(archive + n, "x/", '5', NULL, 0);
    n += tar_member(archive + n, "x/cat_001.png", '0', png, size);
    begin = n;
    n += tar_member(archive + n, "PaxHeader", 'x', pax, strlen(pax));
    n += tar_member(archive + n, "short.png", '0', png, size);
    n += tar_member(archive + n, "link.png", '2', NULL, 0);
    n += tar_member(archive + n, "notes.txt", '0', "hello", 5);
    memset(archive + n, 0, 1024);
    write_bytes(in_dir("a.tar"), archive, n + 1024);
    o.labels = CM_LABELS_PREFIX;
    d = open_set(in_dir("a.tar"), &o);
    ck_assert_uint_eq(info_of(d).images, 2);
    ck_assert_str_eq(info_of(d).kind, "tar");
    ck_assert_int_eq(value_at(d, 1, &label), 50);
    ck_assert_int_eq(label, 1);
    ck_assert_str_eq(cm_dataset_class_name(d, 1), "dog");
    cm_dataset_free(d);
    /* damage */
    write_bytes(in_dir("cut.tar"), archive, n - 510);
    FAILS(cm_dataset_open(NULL, in_dir("cut.tar"), NULL, &d), CM_ERR_FORMAT, "truncated");
    archive[begin + 20] ^= 1;
    write_bytes(in_dir("sum.tar"), archive, n);
    FAILS(cm_dataset_open(NULL, in_dir("sum.tar"), NULL, &d), CM_ERR_FORMAT, "damaged");
    n = tar_member(archive, "../up.png", '0', png, size);
    write_bytes(in_dir("up.tar"), archive, n);
    FAILS(cm_dataset_open(NULL, in_dir("up.tar"), NULL, &d), CM_ERR_FORMAT, "leaves the archive");
    n = tar_member(archive, "/abs.png", '0', png, size);
    write_bytes(in_dir("abs.tar"), archive, n);
    FAILS(cm_dataset_open(NULL, in_dir("abs.tar"), NULL, &d), CM_ERR_FORMAT, "absolute");
    free(png);
}
END_TEST

START_TEST(zips)
{
    cm_dataset_options o = in_order();
    cm_dataset *d;
    int32_t label;
    size_t size;
    write_png(in_dir("one.png"), 60);
    unsigned char *png = read_bytes(in_dir("one.png"), &size);
    static const char json[] = "{\"labels\": [[\"00000/img1.png\", 6], [\"00000/img0.png\", 2]]}";
    const char *const names[] = {"00000/img1.png", "dataset.json", "00000/img0.png"};
    const void *const data[] = {png, json, png};
    const size_t sizes[] = {size, strlen(json), size};
    for (int store = 0; store < 2; store++) {
        make_zip(in_dir("a.zip"), names, data, sizes, 3, store);
        d = open_set(in_dir("a.zip"), &o);
        ck_assert_uint_eq(info_of(d).images, 2);
        ck_assert_int_eq(value_at(d, 0, &label), 60);
        ck_assert_int_eq(label, 2); /* names in byte order */
        cm_dataset_free(d);
    }
    unsigned char *whole = read_bytes(in_dir("a.zip"), &size);
    write_bytes(in_dir("cut.zip"), whole, size - 30);
    FAILS(cm_dataset_open(NULL, in_dir("cut.zip"), NULL, &d), CM_ERR_FORMAT, "zip");
    const char *const out[] = {"../x.png"};
    make_zip(in_dir("up.zip"), out, data, sizes, 1, 0);
    FAILS(cm_dataset_open(NULL, in_dir("up.zip"), NULL, &d), CM_ERR_FORMAT, "leaves the archive");
    free(png);
    free(whole);
}
END_TEST

/* --- arrays ------------------------------------------------------------------------------------------ */

static size_t npy(unsigned char *out, const char *header, const void *data, size_t size)
{
    size_t n = (strlen(header) + 11 + 63) / 64 * 64;
    memset(out, ' ', n);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (unsigned char)(n - 10), out[9] = (unsigned char)((n - 10) >> 8);
    memcpy(out + 10, header, strlen(header));
    out[n - 1] = '\n';
    memcpy(out + n, data, size);
    return n + size;
}

START_TEST(npz)
{
    static unsigned char images[4096], labels[512], values[2 * 4 * 4 * 3];
    const int64_t classes[2] = {7, 1};
    cm_dataset_options o = in_order();
    cm_dataset *d;
    int32_t label;
    for (size_t i = 0; i < sizeof values; i++) values[i] = i < 48 ? 11 : 22;
    size_t a =
        npy(images, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4, 4, 3), }", values, sizeof values);
    size_t b = npy(labels, "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }", classes, sizeof classes);
    const char *const names[] = {"arr_0.npy", "arr_1.npy"};
    const void *const data[] = {images, labels};
    const size_t sizes[] = {a, b};
    make_zip(in_dir("a.npz"), names, data, sizes, 2, 1);
    d = open_set(in_dir("a.npz"), &o);
    ck_assert_int_eq(value_at(d, 1, &label), 22);
    ck_assert_int_eq(label, 1);
    ck_assert_int_eq(info_of(d).classes, 8);
    ck_assert_int_eq(info_of(d).height, 4);
    cm_dataset_free(d);
    make_zip(in_dir("b.npz"), names, data, sizes, 1, 0);
    d = open_set(in_dir("b.npz"), &o);
    ck_assert_int_eq(info_of(d).classes, 0);
    cm_dataset_free(d);
    o.height = o.width = 8;
    FAILS(cm_dataset_open(NULL, in_dir("b.npz"), &o, &d), CM_ERR_ARGUMENT, "gives images of 4 x 4");
    static const struct {
        const char *header, *word;
    } bad[] = {{"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4, 4, 3), }", "do not fill"},
               {"{'descr': '|u1', 'fortran_order': True, 'shape': (2, 4, 4, 3), }", "C order"},
               {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4, 3, 4), }", "channels"},
               {"{'descr': '|O', 'fortran_order': False, 'shape': (96,), }", "object"},
               {"{'descr': '|u1', 'fortran_order': False, 'shape': (96, 999999999999999999, 999999999), }", "shape"},
               {"{'descr': '|u1', 'shape': (96,), }", "fortran_order"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const size_t one[] = {npy(images, bad[i].header, values, sizeof values)};
        make_zip(in_dir("bad.npz"), names, data, one, 1, 0);
        cm_dataset_options plain = in_order();
        FAILS(cm_dataset_open(NULL, in_dir("bad.npz"), &plain, &d), CM_ERR_FORMAT, bad[i].word);
    }
}
END_TEST

START_TEST(idx)
{
    static unsigned char images[16 + 3 * 784], labels[8 + 3] = {0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 9};
    cm_dataset_options o = in_order();
    cm_dataset *d;
    int32_t label;
    float x[1024];
    put32(images, 0x803), put32(images + 4, 3), put32(images + 8, 28), put32(images + 12, 28);
    memset(images + 16, 200, 3 * 784);
    write_bytes(in_dir("train-images-idx3-ubyte"), images, sizeof images);
    write_bytes(in_dir("train-labels-idx1-ubyte"), labels, sizeof labels);
    d = open_set(dir, &o); /* a folder that holds them */
    cm_dataset_info i = info_of(d);
    ck_assert(i.images == 3 && i.channels == 1 && i.height == 32 && i.classes == 10);
    OK(read_floats(d, 2, 1, x, &label));
    ck_assert_int_eq(label, 9);
    ck_assert(x[0] == -1 && x[2 * 32 + 2] == 200 / 127.5f - 1 && x[31 * 32] == -1);
    cm_dataset_free(d);
    gzFile gz = gzopen(in_dir("t10k-images-idx3-ubyte.gz"), "wb");
    ck_assert_int_eq(gzwrite(gz, images, sizeof images), sizeof images);
    gzclose(gz);
    d = open_set(in_dir("t10k-images-idx3-ubyte.gz"), &o);
    ck_assert_int_eq(info_of(d).classes, 0);
    cm_dataset_free(d);
    write_bytes(in_dir("cut-images-idx3-ubyte"), images, sizeof images - 1);
    FAILS(cm_dataset_open(NULL, in_dir("cut-images-idx3-ubyte"), NULL, &d), CM_ERR_FORMAT, "truncated");
    put32(images + 4, 0x3fffffff);
    write_bytes(in_dir("big-images-idx3-ubyte"), images, sizeof images);
    FAILS(cm_dataset_open(NULL, in_dir("big-images-idx3-ubyte"), NULL, &d), CM_ERR_FORMAT, "cannot hold");
    labels[7] = 2;
    write_bytes(in_dir("train-labels-idx1-ubyte"), labels, sizeof labels - 1);
    FAILS(cm_dataset_open(NULL, in_dir("train-images-idx3-ubyte"), NULL, &d), CM_ERR_FORMAT, "2 labels for 3");
    remove(in_dir("train-images-idx3-ubyte"));
    remove(in_dir("train-labels-idx1-ubyte"));
}
END_TEST

START_TEST(cifar)
{
    static unsigned char records[2 * 3073];
    cm_dataset_options o = in_order();
    cm_dataset *d;
    int32_t label;
    float x[3072];
    records[0] = 4, records[3073] = 9;
    memset(records + 1, 255, 1024); /* red */
    write_bytes(in_dir("data_batch_1.bin"), records, sizeof records);
    write_bytes(in_dir("data_batch_2.bin"), records, sizeof records);
    d = open_set(dir, &o);
    ck_assert_uint_eq(info_of(d).images, 4);
    OK(read_floats(d, 2, 1, x, &label));
    ck_assert(label == 4 && x[0] == 1 && x[1024] == -1);
    cm_dataset_free(d);
    write_bytes(in_dir("data_batch_2.bin"), records, 3074);
    FAILS(cm_dataset_open(NULL, dir, NULL, &d), CM_ERR_FORMAT, "CIFAR-100");
    records[0] = 10;
    write_bytes(in_dir("x.bin"), records, sizeof records);
    FAILS(cm_dataset_open(NULL, in_dir("x.bin"), NULL, &d), CM_ERR_FORMAT, "label 10");
    remove(in_dir("data_batch_1.bin"));
    remove(in_dir("data_batch_2.bin"));
}
END_TEST

/* A list of 300,000 names takes at most eight times the text; deep and broken ones take nothing. */
START_TEST(dataset_json_is_large)
{
    enum { ENTRIES = 300000 };
    static const char *const broken[][3] = {{"{\"x\": ", "[", "nested"},
                                            {"{\"labels\": [", "[", "not [name"},
                                            {"{\"labels\": [", "{},", "not [name"},
                                            {"{\"x\": [", "1,", "JSON"}};
    memory m;
    cm_context *counted;
    cm_dataset *d;
    char *text = malloc(ENTRIES * 12 + 100);
    size_t n = (size_t)sprintf(text, "{\"labels\":[[\"a.png\",1]");
    for (int i = 0; i < ENTRIES; i++) n += (size_t)sprintf(text + n, ",[\"%x\",0]", i);
    n += (size_t)sprintf(text + n, "]}");
    ck_assert_int_eq(mkdir(in_dir("long"), 0777), 0);
    write_png(in_dir("long/a.png"), 50);
    write_bytes(in_dir("long/dataset.json"), text, n);
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 1);
    OK(cm_context_create(&o, &counted));
    OK(cm_dataset_open(counted, in_dir("long"), NULL, &d));
    cm_dataset_free(d);
    ck_assert_msg(m.peak < 8 * (long long)n + (1 << 20), "%lld bytes for a text of %zu", m.peak, n);
    for (size_t i = 0; i < 4; i++) {
        n = (size_t)sprintf(text, "%s", broken[i][0]);
        while (n < 3000000) n += (size_t)sprintf(text + n, "%s", broken[i][1]);
        write_bytes(in_dir("long/dataset.json"), text, n);
        memory_reset(&m);
        FAILS(cm_dataset_open(counted, in_dir("long"), NULL, &d), CM_ERR_FORMAT, broken[i][2]);
        ck_assert_msg(m.peak < 2 * (long long)n, "%lld bytes for a text of %zu", m.peak, n);
    }
    cm_context_free(counted);
    free(text);
}
END_TEST

START_TEST(more_pictures_than_memory)
{
    static const size_t n[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 4 - 1, (size_t)1 << 50};
    cm_dataset_options o = in_order();
    float x[3 * 32 * 32];
    ck_assert_int_eq(mkdir(in_dir("few"), 0777), 0);
    write_png(in_dir("few/a.png"), 50);
    cm_dataset *d = open_set(in_dir("few"), &o);
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) FAILS(read_floats(d, 0, n[i], x, NULL), CM_ERR_LIMIT, "memory");
    FAILS(read_floats(d, UINT64_MAX, 1, x, NULL), CM_ERR_ARGUMENT, "position");
    cm_dataset_free(d);
}
END_TEST

/* Whatever holds them is cut short, or replaced by nothing, once it is open: a status that says so, no signal. */
START_TEST(containers_cut_short)
{
    static unsigned char archive[1 << 14], records[3073];
    static const char *const names[] = {"cut.tar", "cut.zip", "cut.bin", "cut"};
    cm_dataset_options o = in_order();
    float x[3 * 32 * 32];
    size_t size, n = 0;
    o.stop_on_bad = 1;
    write_png(in_dir("one.png"), 50);
    unsigned char *png = read_bytes(in_dir("one.png"), &size);
    n += tar_member(archive, "a.png", '0', png, size);
    write_bytes(in_dir("cut.tar"), archive, n + 1024);
    make_zip(in_dir("cut.zip"), (const char *const[]){"a.png"}, (const void *const[]){png}, &size, 1, 1);
    write_bytes(in_dir("cut.bin"), records, sizeof records);
    ck_assert_int_eq(mkdir(in_dir("cut"), 0777), 0);
    write_bytes(in_dir("cut/a.png"), png, size);
    for (int i = 0; i < 4; i++)
        for (int left = 2; left >= 0; left--) { /* some bytes, one, none */
            cm_dataset *d = NULL;
            size_t whole;
            const char *file = in_dir(i == 3 ? "cut/a.png" : names[i]);
            unsigned char *kept = read_bytes(file, &whole);
            OK(cm_dataset_open(NULL, in_dir(names[i]), &o, &d));
            OK(read_floats(d, 0, 1, x, NULL));
            ck_assert_int_eq(truncate(file, left == 2 ? 40 : left), 0);
            cm_status status = read_floats(d, 0, 1, x, NULL);
            /* libzip keeps the bytes of so small a file */
            ck_assert_msg(status == CM_ERR_IO || (i == 1 && status == CM_OK) || (i == 3 && status == CM_ERR_FORMAT),
                          "%s: %s: %s", names[i], cm_status_name(status), cm_last_message());
            cm_dataset_free(d);
            write_bytes(file, kept, whole);
            free(kept);
        }
    free(png);
}
END_TEST

/* A picture that another process writes all the time, cut short and whole: read as one of both or refused. */
START_TEST(picture_rewritten_while_read)
{
    size_t size;
    int32_t c, h, w, good = 0, bad = 0, status;
    uint8_t *pixels;
    write_png(in_dir("busy.png"), 50);
    unsigned char *png = read_bytes(in_dir("busy.png"), &size);
    const char *path = in_dir("busy.png");
    pid_t pid = fork();
    if (pid == 0)
        for (;; usleep(200)) {           /* whole for a while: where threads take turns, as under valgrind, too */
            FILE *f = fopen(path, "wb"); /* empties it */
            (void)fwrite(png, 1, size, f);
            fclose(f);
        }
    for (int i = 0; i < 3000 || (i < 3000000 && (!good || !bad)); i++) {
        c = 0;
        if (read_picture(NULL, path, &c, &h, &w, &pixels) == CM_OK) good++, free_pixels(NULL, pixels);
        else bad++;
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    ck_assert_int_gt(good, 0);
    ck_assert_int_gt(bad, 0);
    free(png);
}
END_TEST

/* A buffer made for what a network takes and a set cut otherwise: nothing is written. */
/* The same pictures as floats and as bytes, in every layout; nothing beside them is touched. */
START_TEST(reads_of_any_layout)
{
    enum { N = 2, SIDE = 16, WIDE = 40, ROWS = 20, PIXEL = 4 };
    cm_dataset_options o = in_order();
    static float want[N * 3 * SIDE * SIDE], floats[N * 3 * SIDE * SIDE];
    static uint8_t screen[N * ROWS * WIDE * PIXEL], planar[N * 3 * SIDE * SIDE];
    make_folder("layouts");
    cm_dataset *d = open_set(in_dir("layouts"), &o);
    OK(read_floats(d, 1, N, want, NULL));
    /* Blue, green, red and something else, bottom up. */
    memset(screen, 99, sizeof screen);
    cm_images out = cm_images_u8(N, SIDE, SIDE, 3, screen + (18 * WIDE + 5) * PIXEL + 2);
    out.image_stride = ROWS * WIDE * PIXEL, out.row_stride = -WIDE * PIXEL;
    out.pixel_stride = PIXEL, out.channel_stride = -1;
    OK(cm_dataset_read(d, 1, &out, NULL));
    size_t same = 0;
    for (int i = 0; i < N * ROWS * WIDE * PIXEL; i++) {
        int n = i / (ROWS * WIDE * PIXEL), y = 18 - i / (WIDE * PIXEL) % ROWS, x = i / PIXEL % WIDE - 5;
        int c = 2 - i % PIXEL, inside = y >= 0 && y < SIDE && x >= 0 && x < SIDE && c >= 0;
        float v = inside ? want[((n * 3 + c) * SIDE + y) * SIDE + x] : 0;
        if (inside) ck_assert_float_eq((float)screen[i] / 127.5f - 1.0f, v);
        else ck_assert_uint_eq(screen[i], 99);
        same += (size_t)inside;
    }
    ck_assert_uint_eq(same, N * 3 * SIDE * SIDE);
    out = cm_images_u8(N, SIDE, SIDE, 3, planar);
    out.layout = CM_LAYOUT_PLANAR;
    OK(cm_dataset_read(d, 1, &out, NULL));
    for (int i = 0; i < N * 3 * SIDE * SIDE; i++) ck_assert_float_eq((float)planar[i] / 127.5f - 1.0f, want[i]);
    out = cm_images_f32(N, 3, SIDE, SIDE, floats);
    out.layout = CM_LAYOUT_INTERLEAVED;
    OK(cm_dataset_read(d, 1, &out, NULL));
    for (int i = 0; i < N * 3 * SIDE * SIDE; i++)
        ck_assert_float_eq(floats[i],
                           want[(i / (3 * SIDE * SIDE) * 3 + i % 3) * SIDE * SIDE + i / 3 % (SIDE * SIDE)]);
    out.image_stride = 4;
    FAILS(cm_dataset_read(d, 1, &out, NULL), CM_ERR_ARGUMENT, "same bytes");
    cm_dataset_free(d);
}
END_TEST

START_TEST(choices_refused)
{
    cm_dataset_options init, macro = CM_DATASET_OPTIONS_INIT;
    cm_dataset_info info, macro_info = CM_DATASET_INFO_INIT;
    cm_dataset *d;
    cm_dataset_options_init(&init, sizeof init);
    cm_dataset_info_init(&info, sizeof info);
    ck_assert(memcmp(&init, &macro, sizeof init) == 0 && memcmp(&info, &macro_info, sizeof info) == 0);
    make_folder("choices");
    const struct {
        const char *name;
        size_t at;
        int32_t last;
    } choices[] = {{"random_crop", offsetof(cm_dataset_options, random_crop), CM_CROP_NONE},
                   {"labels", offsetof(cm_dataset_options, labels), CM_LABELS_PREFIX},
                   {"stop_on_bad", offsetof(cm_dataset_options, stop_on_bad), CM_BAD_STOP},
                   {"shuffle", offsetof(cm_dataset_options, shuffle), CM_SHUFFLE_NO}};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        for (int wrong = 0; wrong < 2; wrong++) {
            cm_dataset_options o = CM_DATASET_OPTIONS_INIT;
            int32_t value = wrong ? choices[i].last + 1 : -1;
            memcpy((char *)&o + choices[i].at, &value, sizeof value);
            FAILS(cm_dataset_open(NULL, in_dir("choices"), &o, &d), CM_ERR_ARGUMENT, choices[i].name);
        }
}
END_TEST

START_TEST(sized_reads)
{
    cm_dataset_options o = in_order();
    cm_train_options *t;
    cm_model *m;
    float images[3 * 16 * 16 + 1] = {0}, *end = images + 3 * 16 * 16;
    int32_t label = 77;
    make_folder("sized");
    cm_dataset *d = open_set(in_dir("sized"), &o);
    *end = 5;
    cm_images out = cm_images_f32(1, 3, 8, 8, images);
    FAILS(cm_dataset_read(d, 1, &out, &label), CM_ERR_SHAPE,
          "is 3 x 8 x 8 (channels, height, width), expected 3 x 16 x 16");
    out = cm_images_f32(SIZE_MAX / 3 * 2, 3, 16, 16, images);
    FAILS(cm_dataset_read(d, 1, &out, &label), CM_ERR_LIMIT, "memory");
    out.n = 0;
    FAILS(cm_dataset_read(d, 1, &out, &label), CM_ERR_ARGUMENT, "0 images");
    out.n = 1, out.channels = 1;
    FAILS(cm_dataset_read(d, 1, &out, &label), CM_ERR_SHAPE, "1 x 16 x 16");
    out.channels = 3;
    FAILS(cm_dataset_read(NULL, 1, &out, &label), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_dataset_read(d, 1, NULL, &label), CM_ERR_ARGUMENT, "NULL");
    ck_assert(images[0] == 0 && label == 77);
    OK(cm_dataset_read(d, 1, &out, &label));
    ck_assert(images[0] != 0 && *end == 5 && label != 77);
    /* ... and the comparison that comes before a trainer. */
    OK(cm_train_options_create(NULL, &t));
    OK(cm_train_options_set(t, "batch", "6"));
    size_t preset = 0;
    while (strcmp(cm_train_preset_name(preset), "cifar10-3h") != 0) preset++;
    OK(cm_model_create(NULL, cm_train_preset_config(preset), 0, &m)); /* 3 x 32 x 32 */
    FAILS(cm_train_data_check(m, d, t), CM_ERR_SHAPE, "3 x 16 x 16 (C x H x W), the network takes 3 x 32 x 32");
    cm_dataset_free(d);
    o.height = 32;
    d = open_set(in_dir("sized"), &o);
    OK(cm_train_data_check(m, d, t));
    OK(cm_train_options_set_number(t, "batch", 7));
    FAILS(cm_train_data_check(m, d, t), CM_ERR_ARGUMENT, "6 images, fewer than a batch of 7");
    FAILS(cm_train_data_check(NULL, d, t), CM_ERR_ARGUMENT, "NULL");
    cm_train_options_free(t);
    cm_model_free(m);
    cm_dataset_free(d);
}
END_TEST

/* --- trouble that passes ---------------------------------------------------------------------------------- */

static void descriptors(int allowed)
{
    static struct rlimit before;
    struct rlimit now;
    if (allowed) {
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        return;
    }
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    now = before;
    now.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
}

/* Too many open files, files and folders that are away, no memory: the call says so, nothing is marked, and
 * afterwards the same call gives the same. */
START_TEST(trouble_is_no_damage)
{
    enum { VALUES = 6 * 3 * 16 * 16 };
    static float want[VALUES], got[VALUES];
    static const char *const away[] = {"trouble/ape/p4.png", "trouble/ape", "trouble"};
    cm_dataset_options o = in_order();
    memory m;
    memory_reset(&m);
    cm_context_options co = memory_options(&m, 1);
    cm_context *own;
    cm_dataset *d;
    make_folder("trouble");
    OK(cm_context_create(&co, &own));
    OK(cm_dataset_open(own, in_dir("trouble"), &o, &d));
    OK(read_floats(d, 0, 6, want, NULL));
    descriptors(0);
    cm_status status = read_floats(d, 0, 6, got, NULL);
    descriptors(1);
    ck_assert_msg(status == CM_ERR_IO && strstr(cm_last_message(), "Too many open files"), "%s", cm_last_message());
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(rename(in_dir(away[i]), in_dir("elsewhere")), 0);
        FAILS(read_floats(d, 0, 6, got, NULL), CM_ERR_IO, ".png");
        ck_assert_int_eq(rename(in_dir("elsewhere"), in_dir(away[i])), 0);
    }
    status = CM_ERR_MEMORY;
    for (long k = 1; status != CM_OK && k < 1000; k++) {
        m.requests = 0, m.fail_at = k;
        status = read_floats(d, 0, 6, got, NULL);
        m.fail_at = 0;
        ck_assert_msg(status == CM_OK || status == CM_ERR_MEMORY, "request %ld: %s", k, cm_last_message());
    }
    ck_assert_int_eq(status, CM_OK);
    ck_assert_uint_eq(info_of(d).bad, 0);
    memset(got, 0, sizeof got);
    OK(read_floats(d, 0, 6, got, NULL));
    ck_assert_mem_eq(want, got, sizeof want);
    cm_dataset_free(d);
    cm_context_free(own);
}
END_TEST

/* Requests for memory of a loader that may read `count` batches and has the time to, where one is taken. */
/* Of a loader of so many batches, of which the first is taken: until there are more than `least`, and what follows
 * within a moment. */
static long loader_requests(memory *m, cm_dataset *d, int64_t count, long least)
{
    cm_loader *loader;
    const float *images;
    const int32_t *labels;
    double waited;
    const long before = m->requests;
    OK(cmi_loader_create(d, 0, 2, 2, count, NULL, &loader));
    OK(cmi_loader_next(loader, &images, &labels, &waited));
    for (int i = 0; i < 3000 && m->requests - before <= least; i++) usleep(10000);
    usleep(100000);
    cmi_loader_free(loader);
    return m->requests - before;
}

/* What nobody asks for is not read ahead: a failure there would be lost.  Under valgrind, which asks for the short
 * effort, the library has no thread and nothing is read ahead. */
START_TEST(nothing_is_read_behind_the_last_batch)
{
    cm_dataset_options o = in_order();
    memory m;
    memory_reset(&m);
    cm_context_options co = memory_options(&m, 1);
    cm_context *own;
    cm_dataset *d;
    make_folder("ahead");
    OK(cm_context_create(&co, &own));
    OK(cm_dataset_open(own, in_dir("ahead"), &o, &d));
    const int ahead = by_effort(0, 1, 1);
    const long one = loader_requests(&m, d, 1, 0), least = ahead ? one : 0;
    const long two = loader_requests(&m, d, 2, least), three = loader_requests(&m, d, 3, least);
    ck_assert_msg(one < two + !ahead && two == three, "%ld, %ld, %ld requests", one, two, three);
    cm_dataset_free(d);
    cm_context_free(own);
}
END_TEST

/* Without a descriptor no kind of set becomes another kind, another size or a damaged one. */
START_TEST(opening_without_descriptors)
{
    static unsigned char archive[1 << 14], images[16 + 784], records[3073];
    static const char *const names[] = {"none", "none.tar", "none.zip", "none.npz", "none-idx3", "none.bin"};
    size_t size;
    make_folder("none");
    unsigned char *png = read_bytes(in_dir("none/cat/p1.png"), &size);
    size_t n = tar_member(archive, "a.png", '0', png, size);
    write_bytes(in_dir("none.tar"), archive, n + 1024);
    const char *const member[] = {"a.png"}, *const array[] = {"arr_0.npy"};
    const void *const data[] = {png};
    make_zip(in_dir("none.zip"), member, data, &size, 1, 0);
    const size_t bytes = npy(archive, "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 4, 4, 3), }", png, 48);
    const void *const pixels[] = {archive};
    make_zip(in_dir("none.npz"), array, pixels, &bytes, 1, 0);
    put32(images, 0x803), put32(images + 4, 1), put32(images + 8, 28), put32(images + 12, 28);
    write_bytes(in_dir("none-idx3"), images, sizeof images);
    write_bytes(in_dir("none.bin"), records, sizeof records);
    free(png);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cm_dataset *d;
        descriptors(0);
        cm_status status = cm_dataset_open(NULL, in_dir(names[i]), NULL, &d);
        descriptors(1);
        ck_assert_msg(status == CM_ERR_IO && strstr(cm_last_message(), "Too many open files"), "%s: %s", names[i],
                      cm_last_message());
        OK(cm_dataset_open(NULL, in_dir(names[i]), NULL, &d));
        cm_dataset_free(d);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("data");
    TCase *t = tcase_create("data");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, folders);
    tcase_add_test(t, bad_pictures_are_left_out);
    tcase_add_test(t, shuffling_is_a_permutation);
    tcase_add_test(t, parts);
    tcase_add_test(t, tars);
    tcase_add_test(t, zips);
    tcase_add_test(t, npz);
    tcase_add_test(t, idx);
    tcase_add_test(t, cifar);
    tcase_add_test(t, dataset_json_is_large);
    tcase_add_test(t, more_pictures_than_memory);
    tcase_add_test(t, containers_cut_short);
    tcase_add_test(t, picture_rewritten_while_read);
    tcase_add_test(t, trouble_is_no_damage);
    tcase_add_test(t, nothing_is_read_behind_the_last_batch);
    tcase_add_test(t, opening_without_descriptors);
    tcase_add_test(t, sized_reads);
    tcase_add_test(t, reads_of_any_layout);
    tcase_add_test(t, choices_refused);
    suite_add_tcase(s, t);
    return s;
}
