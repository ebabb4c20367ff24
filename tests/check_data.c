/* Data sets: every kind of container, classes, order, crops, bad pictures and bad
 * containers; EDM's augmentations against what is known of them. */
#include "support/files.h"
#include "support/suite.h"

#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>

#include <consistency/image.h>

#include "base/context.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/names.h"
#include "data/resize.h"
#include "support/memory.h"
#include "support/pictures.h"

static char dir[40];

static void setup(void)
{
    strcpy(dir, "/tmp/cm-data-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

/* A 16 x 16 picture whose every pixel says which it is. */
static void write_png(const char *path, int value)
{
    uint8_t pixels[16 * 16 * 3];
    memset(pixels, value, sizeof pixels);
    OK(write_picture(NULL, path, 3, 16, 16, pixels, 0, 1));
}

static cm_dataset *open_set(const char *path, cm_dataset_options *o)
{
    cm_dataset *d = NULL;
    OK(cm_dataset_open(NULL, path, o, &d));
    return d;
}

static cm_dataset_info info_of(const cm_dataset *d)
{
    cm_dataset_info i;
    cm_dataset_info_init(&i, sizeof i);
    OK(cm_dataset_info_get(d, &i));
    return i;
}

static cm_dataset_options in_order(void)
{
    cm_dataset_options o;
    cm_dataset_options_init(&o, sizeof o);
    o.shuffle = 2;
    return o;
}

/* The 8-bit value of picture p. */
static int value_at(cm_dataset *d, uint64_t position, int32_t *label)
{
    static float image[3 * 64 * 64];
    OK(read_floats(d, position, 1, image, label));
    return (int)lround(((double)image[0] + 1) * 127.5);
}

/* --- folders ---------------------------------------------------------------------------- */

static void make_folder(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "mkdir -p %s/%s/cat %s/%s/ape", dir, name, dir, name);
    ck_assert_int_eq(system(path), 0);
    for (int i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s/%s/%s/p%d.png", dir, name, i < 3 ? "cat" : "ape", i);
        write_png(path, 10 * i);
    }
}

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
    cm_context *context;
    cm_dataset *d;
    float image[3 * 16 * 16];
    make_folder("bad");
    write_bytes(in_dir("bad/ape/p4.png"), "\x89PNG....", 8);
    cm_context_options_init(&co, sizeof co);
    co.log = count_warning;
    OK(cm_context_create(&co, &context));
    OK(cm_dataset_open(context, in_dir("bad"), &o, &d));
    for (uint64_t p = 0; p < 12; p++) (void)value_at(d, p, NULL);
    ck_assert_int_eq(value_at(d, 1, NULL), 50); /* the one behind it */
    ck_assert_uint_eq(info_of(d).bad, 1);
    ck_assert_int_eq(warned, 1);
    cm_dataset_free(d);
    o.stop_on_bad = 1;
    OK(cm_dataset_open(context, in_dir("bad"), &o, &d));
    FAILS(read_floats(d, 1, 1, image, NULL), CM_ERR_FORMAT, "p4.png");
    cm_dataset_free(d);
    cm_context_free(context);
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

static size_t tar_member(unsigned char *at, const char *name, char type, const void *data, size_t size)
{
    unsigned sum = 0;
    memset(at, 0, 512);
    memcpy(at, name, strlen(name));
    snprintf((char *)at + 100, 8, "%07o", 0644);
    snprintf((char *)at + 124, 12, "%011zo", size);
    memset(at + 148, ' ', 8);
    at[156] = (unsigned char)type;
    memcpy(at + 257,
           "ustar\0"
           "00",
           8);
    for (int i = 0; i < 512; i++) sum += at[i];
    snprintf((char *)at + 148, 8, "%06o", sum);
    if (size) memcpy(at + 512, data, size);
    return 512 + (size + 511) / 512 * 512;
}

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

static void make_zip(const char *path, const char *const *names, const void *const *data, const size_t *sizes, int n,
                     int store)
{
    int error;
    zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &error);
    ck_assert_ptr_nonnull(z);
    for (int i = 0; i < n; i++) {
        zip_int64_t k = zip_file_add(z, names[i], zip_source_buffer(z, data[i], sizes[i], 0), 0);
        ck_assert_int_ge(k, 0);
        if (store) (void)zip_set_file_compression(z, (zip_uint64_t)k, ZIP_CM_STORE, 0);
    }
    ck_assert_int_eq(zip_close(z), 0);
}

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

static void put32(unsigned char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(v >> (24 - 8 * i));
}

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
        for (;;) {
            FILE *f = fopen(path, "wb"); /* empties it */
            (void)fwrite(png, 1, size, f);
            fclose(f);
        }
    for (int i = 0; i < 3000; i++) {
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

START_TEST(crops)
{
    cm_dataset_options o = in_order();
    cm_dataset *d;
    static uint8_t wide[40 * 100 * 3];
    float a[3 * 16 * 16], b[3 * 16 * 16];
    ck_assert_int_eq(mkdir(in_dir("wide"), 0777), 0);
    for (size_t i = 0; i < sizeof wide; i++) wide[i] = (uint8_t)(i * 7);
    OK(write_picture(NULL, in_dir("wide/a.png"), 3, 40, 100, wide, 0, 1));
    d = open_set(in_dir("wide"), &o);
    ck_assert_int_eq(info_of(d).height, 40); /* the shorter side */
    cm_dataset_free(d);
    o.height = 16;
    o.random_crop = 1;
    d = open_set(in_dir("wide"), &o);
    int differ = 0;
    for (uint64_t p = 1; p < 6; p++) {
        OK(read_floats(d, 0, 1, a, NULL));
        OK(read_floats(d, p, 1, b, NULL));
        differ += memcmp(a, b, sizeof a) != 0;
        OK(read_floats(d, 0, 1, b, NULL));
        ck_assert_mem_eq(a, b, sizeof a);
    }
    ck_assert_int_ge(differ, 3);
    cm_dataset_free(d);
    o.width = 8;
    FAILS(cm_dataset_open(NULL, in_dir("wide"), &o, &d), CM_ERR_ARGUMENT, "only squares");
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

/* A part of a resized picture is the part of the whole one, in every direction. */
START_TEST(parts_of_resized_pictures)
{
    enum { SIDE = 61 };
    static uint8_t pixels[SIDE * SIDE * 3];
    uint64_t seed = seeded(4);
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)random_int(&seed, 0, 255);
    for (int k = 0; k < 400; k++) {
        int32_t c = k % 2 ? 1 : 3, h = random_int(&seed, 1, SIDE), w = random_int(&seed, 1, SIDE);
        int32_t oh = k % 5 ? random_int(&seed, 1, 90) : h, ow = k % 7 ? random_int(&seed, 1, 90) : w,
                filter = k % 3 != 0;
        const cm_picture in = {c, h, w, pixels};
        cm_picture whole, piece;
        cm_part part = {random_int(&seed, 0, oh - 1), random_int(&seed, 0, ow - 1), 0, 0};
        part.height = random_int(&seed, 1, oh - (int32_t)part.y),
        part.width = random_int(&seed, 1, ow - (int32_t)part.x);
        OK(cmi_resize_part(context, &in, oh, ow, filter, &(cm_part){0, 0, oh, ow}, &whole));
        OK(cmi_resize_part(context, &in, oh, ow, filter, &part, &piece));
        ck_assert(whole.height == oh && whole.width == ow && piece.height == part.height &&
                  piece.width == part.width);
        for (int32_t y = 0; y < part.height; y++)
            ck_assert_msg(memcmp(piece.pixels + y * part.width * c, whole.pixels + ((part.y + y) * ow + part.x) * c,
                                 (size_t)(part.width * c)) == 0,
                          "case %d, row %d", k, y);
        cmi_free(context, whole.pixels), cmi_free(context, piece.pixels);
    }
    cm_context_free(context);
}
END_TEST

/* Pictures of one pixel by very many cost what they hold, whichever way they lie. */
START_TEST(thin_pictures)
{
    enum { LONG = 60000, SIDE = 256 };
    static uint8_t pixels[LONG], page[SIDE * SIDE];
    static float image[SIDE * SIDE];
    memory m;
    for (int i = 0; i < LONG; i++) pixels[i] = (uint8_t)(i / 300); /* the middle is 100 */
    for (int lying = 0; lying < 2; lying++)
        for (int random = 0; random < 2; random++) {
            cm_dataset_options o = in_order();
            cm_context_options co;
            cm_context *context;
            cm_dataset *d;
            memory_reset(&m);
            co = memory_options(&m, 1);
            o.channels = 1, o.height = SIDE, o.random_crop = random;
            (void)mkdir(in_dir("thin"), 0777);
            OK(write_picture(NULL, in_dir("thin/a.png"), 1, lying ? 1 : LONG, lying ? LONG : 1, pixels, 0, 1));
            OK(cm_context_create(&co, &context));
            OK(cm_dataset_open(context, in_dir("thin"), &o, &d));
            OK(read_floats(d, 0, 1, image, NULL));
            if (!random)
                for (int i = 0; i < SIDE * SIDE; i++) ck_assert(fabs((double)image[i] - (100 / 127.5 - 1)) < 0.01);
            ck_assert_msg(m.peak < 4 << 20, "lying %d, random %d: %lld bytes", lying, random, m.peak);
            cm_dataset_free(d);
            cm_context_free(context);
            memory_reset(&m);
            OK(cm_context_create(&co, &context));
            OK(fit_bytes(context, CM_FIT_CROP, 0, 1, lying ? 1 : LONG, lying ? LONG : 1, pixels, SIDE, SIDE, page));
            for (int i = 0; i < SIDE * SIDE; i++) ck_assert(page[i] == 100 || page[i] == 99);
            OK(fit_bytes(context, CM_FIT_PAD, 7, 1, lying ? 1 : LONG, lying ? LONG : 1, pixels, SIDE, SIDE, page));
            OK(fit_bytes(context, CM_FIT_RESIZE, 0, 1, lying ? 1 : LONG, lying ? LONG : 1, pixels, SIDE, SIDE, page));
            ck_assert_msg(m.peak < 32 << 20, "lying %d: %lld bytes", lying, m.peak);
            cm_context_free(context);
        }
    /* as wide as a picture may be, at the largest size: no number overflows */
    int64_t height, width;
    cmi_shrunk_size(1, 65535, 65535, &height, &width);
    ck_assert(height == 65535 && width == 65535ll * 65535);
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
    cm_context *context;
    cm_dataset *d;
    make_folder("trouble");
    OK(cm_context_create(&co, &context));
    OK(cm_dataset_open(context, in_dir("trouble"), &o, &d));
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
    cm_context_free(context);
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
    OK(cmi_loader_create(d, 0, 2, count, NULL, &loader));
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
    cm_context *context;
    cm_dataset *d;
    make_folder("ahead");
    OK(cm_context_create(&co, &context));
    OK(cm_dataset_open(context, in_dir("ahead"), &o, &d));
    const int ahead = by_effort(0, 1, 1);
    const long one = loader_requests(&m, d, 1, 0), least = ahead ? one : 0;
    const long two = loader_requests(&m, d, 2, least), three = loader_requests(&m, d, 3, least);
    ck_assert_msg(one < two + !ahead && two == three, "%ld, %ld, %ld requests", one, two, three);
    cm_dataset_free(d);
    cm_context_free(context);
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

/* --- augmentations -------------------------------------------------------------------------------------- */

START_TEST(augmentation_without_change_gives_the_image_back)
{
    cm_context *context;
    cm_augmenter *a;
    const double identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, quarter[9] = {0, -1, 0, 1, 0, 0, 0, 0, 1};
    float in[2 * 20 * 20], out[2 * 20 * 20];
    uint64_t state = seeded(4);
    OK(cm_context_create(NULL, &context));
    OK(cmi_augmenter_create(context, 2, 20, 20, 0.5, 0, &a));
    for (size_t i = 0; i < 800; i++) in[i] = random_float(&state);
    cmi_augmenter_resample(a, identity, in, out);
    for (size_t i = 0; i < 800; i++) /* algorithms 4.11: within 4e-6 */
        ck_assert_msg(fabs((double)out[i] - (double)in[i]) < 4e-6, "value %zu: %g, was %g", i, (double)out[i],
                      (double)in[i]);
    /* A quarter turn of a smooth image, away from the edges: out(q) = in(G q).  The
     * filter is not quite symmetric, so this holds to three hundredths only. */
    for (int i = 0; i < 400; i++) in[i] = (float)sin(0.2 * (i % 20) + 0.1 * (i / 20));
    cmi_augmenter_resample(a, quarter, in, out);
    for (int y = 5; y < 15; y++)
        for (int x = 5; x < 15; x++)
            ck_assert_msg(fabs((double)out[20 * y + x] - (double)in[20 * x + 19 - y]) < 0.03,
                          "%d %d: %g, expected %g", y, x, (double)out[20 * y + x], (double)in[20 * x + 19 - y]);
    cmi_augmenter_free(a);
    cm_context_free(context);
}
END_TEST

START_TEST(augmentation_labels_tell_what_was_done)
{
    cm_context *context;
    cm_augmenter *a;
    float in[16 * 16], out[16 * 16], labels[9];
    int seen[9] = {0};
    OK(cm_context_create(NULL, &context));
    OK(cmi_augmenter_create(context, 1, 16, 16, 0.12, 0, &a));
    for (int i = 0; i < 256; i++) in[i] = (float)(i % 16) / 8 - 1;
    for (uint64_t k = 0; k < 2000; k++) {
        const cm_stream s = {1, k, 4};
        cmi_augmenter_image(a, &s, in, out, labels);
        int none = 1;
        for (int i = 0; i < 9; i++) seen[i] += labels[i] != 0;
        for (int i = 1; i < 9; i++) none &= labels[i] == 0;
        for (int i = 0; none && i < 256; i++) { /* mirrored or not, nothing else */
            float want = in[labels[0] != 0 ? i / 16 * 16 + 15 - i % 16 : i];
            ck_assert_msg(fabs((double)out[i] - (double)want) < 4e-6, "image %d value %d", (int)k, i);
        }
    }
    ck_assert_msg(abs(seen[0] - 1000) < 120, "mirrored %d of 2000", seen[0]);
    ck_assert_msg(abs(seen[1] - 120) < 50, "upside down %d of 2000", seen[1]);
    for (int i = 2; i < 9; i++) { /* the axis of label 6 is 0 half of the time */
        int expected = i == 6 ? 120 : 240;
        ck_assert_msg(abs(seen[i] - expected) < 75, "label %d: %d of 2000", i, seen[i]);
    }
    cmi_augmenter_free(a);
    cm_context_free(context);
}
END_TEST

/* --- folders as people have them ------------------------------------------------------------- */

static char heard[8192]; /* what the log was told, a line each, with "W " or "I " */

static void hear(void *user, int32_t level, const char *message)
{
    size_t n = strlen(heard);
    (void)user;
    snprintf(heard + n, sizeof heard - n, "%c %s\n", level == CM_LOG_WARNING ? 'W' : 'I', message);
}

/* Opens with `heard` filled in; the status is the caller's to look at. */
static cm_status open_hearing(const char *path, const cm_dataset_options *o, cm_dataset **d)
{
    cm_context_options co;
    cm_context *context;
    cm_context_options_init(&co, sizeof co);
    co.log = hear;
    heard[0] = '\0';
    OK(cm_context_create(&co, &context));
    cm_status status = cm_dataset_open(context, path, o, d);
    cm_context_free(context);
    return status;
}

static cm_dataset *hearing(const char *path)
{
    cm_dataset_options o = in_order();
    cm_dataset *d;
    OK(open_hearing(path, &o, &d));
    return d;
}

static int count_of(const char *text, const char *word)
{
    int n = 0;
    for (; (text = strstr(text, word)) != NULL; text++) n++;
    return n;
}

#define HEARD(word) ck_assert_msg(count_of(heard, word) == 1, "the log has not once '%s':\n%s", word, heard)
#define QUIET() ck_assert_msg(!strstr(heard, "W "), "the log warned:\n%s", heard)

typedef struct {
    const char *name;
    const void *data;
    size_t size;
} part;

static const char *const containers[] = {"folder", "tar", "zip"};
enum { CONTAINERS = 3 };

static void make_folders_of(const char *path)
{
    char folder[400];
    ck_assert_int_lt(snprintf(folder, sizeof folder, "%s", path), 400);
    for (char *c = folder + 1; *c; c++) {
        if (*c != '/') continue;
        *c = '\0';
        (void)mkdir(folder, 0777);
        *c = '/';
    }
}

/* The same files as a folder, a tar or a zip; gives its path. */
static const char *contain(int how, const char *name, const part *parts, int n)
{
    static char path[300], inner[400];
    const char *names[64];
    const void *data[64];
    size_t sizes[64], at = 0;
    snprintf(path, sizeof path, "%s/%s.%s", dir, name, containers[how]);
    if (how == 0) {
        for (int i = 0; i < n; i++) {
            snprintf(inner, sizeof inner, "%s/%s", path, parts[i].name);
            make_folders_of(inner);
            write_bytes(inner, parts[i].data, parts[i].size);
        }
    } else if (how == 1) {
        size_t room = 4096;
        for (int i = 0; i < n; i++) room += parts[i].size + 2048;
        unsigned char *archive = calloc(room, 1);
        for (int i = 0; i < n; i++) at += tar_member(archive + at, parts[i].name, '0', parts[i].data, parts[i].size);
        write_bytes(path, archive, at + 1024);
        free(archive);
    } else {
        for (int i = 0; i < n; i++) names[i] = parts[i].name, data[i] = parts[i].data, sizes[i] = parts[i].size;
        make_zip(path, names, data, sizes, n, 0);
    }
    return path;
}

/* A small PNG of one gray; the caller frees it. */
static unsigned char *a_png(int value, size_t *size)
{
    write_png(in_dir("some.png"), value);
    return read_bytes(in_dir("some.png"), size);
}

START_TEST(names_of_files)
{
    static const struct {
        const char *name;
        cm_name_kind kind;
    } rows[] = {{"a.png", CM_NAME_PICTURE},
                {"x/A.JPEG", CM_NAME_PICTURE},
                {"a.JPE", CM_NAME_PICTURE},
                {"a.jfif", CM_NAME_PICTURE},
                {"a b#c~d.Jpg", CM_NAME_PICTURE},
                {"recycler/a.png", CM_NAME_PICTURE},
                {"c++/a.png", CM_NAME_PICTURE},
                {"00012", CM_NAME_PLAIN},
                {"a.WebP", CM_NAME_FORMAT},
                {"a.tiff", CM_NAME_FORMAT},
                {"a.mpg", CM_NAME_FORMAT},
                {"a.tar", CM_NAME_PACKED},
                {"a.rec", CM_NAME_PACKED},
                {"a.txt", CM_NAME_OTHER},
                {".a.png", CM_NAME_SYSTEM},
                {"._a.png", CM_NAME_SYSTEM},
                {"x/.thumbnails/a.png", CM_NAME_SYSTEM},
                {".git/a.png", CM_NAME_SYSTEM},
                {"__MACOSX/x/a.png", CM_NAME_SYSTEM},
                {"@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", CM_NAME_SYSTEM},
                {"#recycle/a.png", CM_NAME_SYSTEM},
                {"$RECYCLE.BIN/a.png", CM_NAME_SYSTEM},
                {"RECYCLER/a.png", CM_NAME_SYSTEM},
                {"lost+found/a.png", CM_NAME_SYSTEM},
                {"System Volume Information/a.png", CM_NAME_SYSTEM},
                {"x/THUMBS.DB", CM_NAME_SYSTEM},
                {"desktop.ini", CM_NAME_SYSTEM},
                {"a.png~", CM_NAME_SYSTEM},
                {"#a.png#", CM_NAME_SYSTEM},
                {"~$a.png", CM_NAME_SYSTEM},
                {"a.png.part", CM_NAME_SYSTEM},
                {"a.png.crdownload", CM_NAME_SYSTEM},
                {"a.jpg.download/a.jpg", CM_NAME_SYSTEM},
                {"a.png.tmp", CM_NAME_SYSTEM}};
    int ending;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_name_kind kind = cmi_name_kind_of(rows[i].name, &ending);
        ck_assert_msg(kind == rows[i].kind, "'%s' is of kind %d, expected %d", rows[i].name, kind, rows[i].kind);
    }
    static const struct {
        const char *given, *clean; /* NULL: refused */
    } paths[] = {{"a/b.png", "a/b.png"},
                 {"./a//b.png", "a/b.png"},
                 {".//./b.png", "b.png"},
                 {"a\\b\\c.png", "a/b/c.png"},
                 {".\\a\\b.png", "a/b.png"},
                 {"a/./b.png", "a/b.png"},
                 {"a/", "a/"},
                 {"./", ""},
                 {"a..b/..c", "a..b/..c"},
                 {"/a.png", NULL},
                 {"\\a.png", NULL},
                 {"C:\\a.png", NULL},
                 {"../a.png", NULL},
                 {"a/../b.png", NULL},
                 {"a\\..\\b.png", NULL},
                 {"a/..", NULL}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s", paths[i].given);
        cm_status status = cmi_name_clean("x", name);
        ck_assert_msg((status == CM_OK) == (paths[i].clean != NULL), "'%s'", paths[i].given);
        if (paths[i].clean) ck_assert_str_eq(name, paths[i].clean);
    }
    static const char *const sorted[] = {"a", "a/b", "a/b-", "a/c", "a b/a", "a-b", "a.png", "b"};
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 8; k++) {
            int order = cmi_name_order(sorted[i], sorted[k]);
            ck_assert_msg(order == (i > k) - (i < k), "'%s' and '%s': %d", sorted[i], sorted[k], order);
        }
}
END_TEST

START_TEST(system_files_are_no_data)
{
    size_t size;
    unsigned char *png = a_png(30, &size);
    const part parts[] = {{".DS_Store", "x", 1},
                          {".ipynb_checkpoints/0-checkpoint.png", png, size},
                          {"@eaDir/cats/0.png/SYNOPHOTO_THUMB_M.jpg", png, size},
                          {"__MACOSX/cats/._0.png", "Mac OS X        ", 16},
                          {"cats/._0.png", "Mac OS X        ", 16},
                          {"cats/0.png", png, size},
                          {"cats/1.PNG", png, size},
                          {"cats/Thumbs.db", png, size},
                          {"cats/2.png~", png, size},
                          {"dogs/.thumbnails/t.png", png, size},
                          {"dogs/0.png", png, size},
                          {"dogs/1.png.part", png, size},
                          {"dogs/readme", "no picture", 10},
                          {"lost+found/0.png", png, size}};
    for (int how = 0; how < CONTAINERS; how++) {
        cm_dataset *d = hearing(contain(how, "system", parts, sizeof parts / sizeof *parts));
        cm_dataset_info i = info_of(d);
        ck_assert_msg(i.images == 3 && i.classes == 2, "%s: %d pictures, %d classes", containers[how], (int)i.images,
                      i.classes);
        ck_assert_str_eq(cm_dataset_class_name(d, 0), "cats");
        QUIET();
        HEARD("no data, since hidden, a system's or unfinished");
        cm_dataset_free(d);
    }
    free(png);
}
END_TEST

START_TEST(other_formats_are_counted)
{
    static const char webp[] = "RIFF\x10\0\0\0WEBPVP8 ", gif[] = "GIF89a......";
    cm_dataset_options o = in_order();
    cm_dataset *d;
    size_t size;
    unsigned char *png = a_png(30, &size);
    const part none[] = {{"a.webp", webp, 16}, {"x/b.WEBP", webp, 16}, {"c.gif", gif, 12},
                         {"d.tar", "x", 1},    {".e.png", png, size},  {"notes.txt", "x", 1}};
    /* By their content: a PNG without an ending and one with a wrong ending are taken. */
    const part some[] = {{"a.webp", webp, 16}, {"b.webp", png, size}, {"000123", png, size}, {"c.png", png, size}};
    for (int how = 0; how < CONTAINERS; how++) {
        ck_assert_int_eq(open_hearing(contain(how, "none", none, 6), &o, &d), CM_ERR_ARGUMENT);
        const char *text = cm_last_message();
        ck_assert_msg(strstr(text, "no JPEG or PNG pictures; 2 .webp, 1 .gif files were left out: convert them") &&
                          strstr(text, "1 .tar files were left out: unpack or convert them") &&
                          strstr(text, ".e.png") && strstr(text, "1 of no picture's name ('notes.txt')"),
                      "%s", text);
        d = hearing(contain(how, "some", some, 4));
        ck_assert_uint_eq(info_of(d).images, 3);
        HEARD("W ");
        HEARD("1 .webp files were left out");
        HEARD("(the first: 'a.webp')");
        cm_dataset_free(d);
    }
    free(png);
}
END_TEST

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

/* Pictures of these names; NULL ends them. */
static const char *set_of(int how, const char *name, const char *const *names, const char *json)
{
    part parts[32];
    int n = 0;
    size_t size;
    unsigned char *png = a_png(30, &size);
    for (; names[n]; n++) parts[n] = (part){names[n], png, size};
    if (json) parts[n++] = (part){"dataset.json", json, strlen(json)};
    const char *path = contain(how, name, parts, n);
    free(png);
    return path;
}

START_TEST(classes_from_names)
{
    enum { A = CM_LABELS_AUTO, F = CM_LABELS_FOLDER, P = CM_LABELS_PREFIX };
    static const struct {
        const char *names[8];
        int rule, classes;
        const char *from, *word; /* word: of the warning, or "" */
    } rows[] = {{{"a/1.png", "a/2.png", "b/1.png"}, A, 2, "folder names", ""},
                {{"set/a/1.png", "set/b/1.png"}, A, 2, "folder names", ""},
                {{"1.png", "2.png"}, A, 0, NULL, ""},
                {{"a/1.png", "a/2.png"}, A, 0, NULL, ""},
                {{"1.png", "2.png", "more/1.png"}, A, 0, NULL, "there is one, 'more', and 2 pictures lie beside it"},
                {{"set/1.png", "set/run/samples/1.png"}, A, 0, NULL, "there is one, 'set/run/samples', and 1"},
                {{"cats/1.png", "cats/more/1.png", "dogs/1.png"},
                 A,
                 3,
                 "folder names",
                 "the folder 'cats/more' lies in another"},
                {{"train/a/1.png", "train/b/1.png", "val/a/1.png"},
                 A,
                 2,
                 "folder names",
                 "'train/a' and 'val/a' are one class"},
                {{"test/1.png", "Train/1.png", "train/2.png"},
                 A,
                 3,
                 "folder names",
                 "'Train' and the others sound like parts of a set"},
                {{"train/1.png", "cat/1.png"}, A, 2, "folder names", ""},
                {{"00000/img00000000.png", "00001/img00001000.png"}, A, 0, NULL, "count pictures"},
                {{"00000/img00000000.png", "00001/img00001000.png"}, F, 2, "folder names", ""},
                {{"00000/img00000000.png", "00001/x.png"}, A, 2, "folder names", ""},
                {{"cat_1.png", "cat_2.png", "dog_1.png", "dog_2.png"}, A, 2, "file names", ""},
                {{"IMG_1.png", "IMG_2.png"}, A, 0, NULL, ""}, /* a class that all share says nothing */
                {{"IMG_1.png", "IMG_2.png"}, P, 1, "file names", ""},
                {{"cat_1.png", "dog_1.png", "dog_2.png", "sheet.png"},
                 A,
                 0,
                 NULL,
                 "3 of 4 are CLASS_NUMBER, 'sheet.png' is not"},
                {{"cat_1.png", "cat_2.png", "sheet.png"},
                 P,
                 2,
                 "file names",
                 "such as 'sheet.png', are classes as a whole: 1 of 3"},
                {{"_1.png", "cat_1.png", "dog_1.png"}, A, 0, NULL, "2 of 3 are CLASS_NUMBER, '_1.png' is not"},
                {{"_1.png", "_2.png"}, A, 0, NULL, ""}, /* no class is called "" */
                {{"1_a.png", "2_a.png", "3_a.png"}, A, 3, "file names", "a class of its own"}};
    cm_dataset_options o = in_order();
    cm_dataset *d;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int how = 0; how < CONTAINERS; how++) {
            char name[32];
            snprintf(name, sizeof name, "names%d", (int)i);
            o.labels = rows[i].rule;
            OK(open_hearing(set_of(how, name, rows[i].names, NULL), &o, &d));
            cm_dataset_info info = info_of(d);
            ck_assert_msg(info.classes == rows[i].classes, "row %d, %s: %d classes", (int)i, containers[how],
                          info.classes);
            if (rows[i].from) ck_assert_str_eq(info.classes_from, rows[i].from);
            else ck_assert_ptr_null(info.classes_from);
            if (rows[i].word[0]) HEARD(rows[i].word);
            ck_assert_msg(count_of(heard, "W ") == (rows[i].word[0] != 0), "row %d: %s", (int)i, heard);
            cm_dataset_free(d);
        }
    static const char *const beside[] = {"1.png", "a/1.png", "b/1.png", NULL};
    for (int how = 0; how < CONTAINERS; how++) {
        const char *path = set_of(how, "beside", beside, NULL);
        FAILS(cm_dataset_open(NULL, path, NULL, &d), CM_ERR_ARGUMENT,
              "cannot tell the classes: 1 of 3 pictures lie beside");
        o.labels = CM_LABELS_FOLDER;
        FAILS(cm_dataset_open(NULL, path, &o, &d), CM_ERR_ARGUMENT, "1 of 3 pictures lie in no folder");
        o.labels = CM_LABELS_NONE;
        d = open_set(path, &o);
        ck_assert_int_eq(info_of(d).classes, 0);
        cm_dataset_free(d);
    }
}
END_TEST

START_TEST(classes_from_json)
{
    static const char *const names[] = {"00000/a.png", "00001/b.png", NULL};
    static const struct {
        const char *text;
        int classes; /* -1: refused */
        const char *word;
    } rows[] = {
        {"{\"labels\": [[\"00000/a.png\", 1], [\"00001/b.png\", 0]]}", 2, ""},
        {"\xef\xbb\xbf{\"labels\": [[\"00000/a.png\", 1], [\"00001/b.png\", 0]]}", 2, ""},
        {"{\"labels\": null}", 0, ""},
        {"{\"labels\": [[\"00000/a.png\", 2], [\"00001/b.png\", 1]]}", 3, "go from 1 to 2"},
        {"{\"labels\": [[\"00000/a.png\", 0], [\"00001/b.png\", 9]]}", 10,
         "2 of them are used, which makes 10 classes"},
        {"{\"labels\": [[\"00000/a.png\", 1], [\"00000/a.png\", 1], [\"00001/b.png\", 0]]}", 2,
         "1 pictures are listed again"},
        {"{\"labels\": [[\"00000/a.png\", 1], [\"00001/b.png\", 0], [\"gone.png\", 1]]}", 2,
         "not there (one: 'gone.png')"},
        {"{\"images\": []}", 2, "it has no \"labels\""},
        {"[1, 2]", 2, "it has no \"labels\""},
        {"{\"labels\": [[\"00000/a.png\", 1], [\".\\\\00000\\\\a.png\", 0], [\"00001/b.png\", 0]]}", -1,
         "twice, with the labels 1 and 0"},
        {"{\"labels\": [[\"a.png\", 1], [\"b.png\", 0]]}", -1, "as 2 of 2 pictures; entries are relative"},
        {"{\"labels\": []}", -1, "has no entry"},
        {"{\"labels\": [[\"00000/a.png\", 1.0], [\"00001/b.png\", 0]]}", -1, "is a fraction"},
        {"{\"labels\": [[\"00000/a.png\", \"cat\"], [\"00001/b.png\", 0]]}", -1, "is a string"},
        {"{\"labels\": [[\"00000/a.png\", null], [\"00001/b.png\", 0]]}", -1, "is null"},
        {"{\"labels\": [[\"00000/a.png\", true], [\"00001/b.png\", 0]]}", -1, "is true or false"},
        {"{\"labels\": [[\"00000/a.png\", [[0, 1]]], [\"00001/b.png\", 0]]}", -1, "vector"},
        {"{\"labels\": [[\"00000/a.png\", 16777216], [\"00001/b.png\", 0]]}", -1, "is 16777216, no class number"},
        {"{\"labels\": {\"00000/a.png\": 1}}", -1, "neither a list"},
        {"{\"labels\": [[\"../00000/a.png\", 1], [\"00001/b.png\", 0]]}", -1, "leaves"}};
    cm_dataset_options o = in_order();
    cm_dataset *d;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int how = 0; how < CONTAINERS; how++) {
            cm_status status = open_hearing(set_of(how, "json", names, rows[i].text), &o, &d);
            ck_assert_msg((status == CM_OK) == (rows[i].classes >= 0), "%s: %s", rows[i].text, cm_last_message());
            if (status != CM_OK) {
                ck_assert_msg(strstr(cm_last_message(), rows[i].word) != NULL, "%s: %s", rows[i].text,
                              cm_last_message());
                continue;
            }
            ck_assert_msg(info_of(d).classes == rows[i].classes, "%s: %d", rows[i].text, info_of(d).classes);
            if (rows[i].word[0]) HEARD(rows[i].word);
            ck_assert_msg(count_of(heard, "W ") == (rows[i].word[0] != 0), "%s: %s", rows[i].text, heard);
            cm_dataset_free(d);
        }
}
END_TEST

START_TEST(idx_files_under_other_names)
{
    static unsigned char images[16 + 2 * 16], labels[8 + 2] = {0, 0, 8, 1, 0, 0, 0, 2, 1, 0};
    static const struct {
        const char *images, *labels;
        int classes;
    } rows[] = {{"train-images.idx3-ubyte", "train-labels.idx1-ubyte", 2},
                {"train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", 2}, /* one of them zipped */
                {"train-images-idx3-ubyte.gz", "train-labels.idx1-ubyte", 2},
                {"TRAIN_IMAGES.IDX3-UBYTE.GZ", "train-labels-idx1-ubyte", 2},
                {"emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters-train-labels-idx1-ubyte.gz", 2},
                {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 2},
                {"raw/train-images-idx3-ubyte", "raw/train-labels-idx1-ubyte", 2}, /* torchvision's */
                {"MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte", 2},
                {"train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 0},
                {"train-images-idx3-ubyte", "._train-labels-idx1-ubyte", 0}};
    cm_dataset_options o = in_order();
    cm_dataset *d;
    char folder[64], path[300];
    put32(images, 0x803), put32(images + 4, 2), put32(images + 8, 4), put32(images + 12, 4);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int k = 0; k < 2; k++) {
            const char *name = k ? rows[i].labels : rows[i].images;
            snprintf(path, sizeof path, "%s/idx%d/%s", dir, (int)i, name);
            make_folders_of(path);
            gzFile gz = gzopen(path, strcasecmp(name + strlen(name) - 2, "gz") == 0 ? "wb" : "wbT");
            ck_assert_int_gt(gzwrite(gz, k ? labels : images, k ? sizeof labels : sizeof images), 0);
            gzclose(gz);
        }
        snprintf(folder, sizeof folder, "%s/idx%d", dir, (int)i);
        snprintf(path, sizeof path, "%s/%s", folder, rows[i].images);
        for (int k = 0; k < 2; k++) { /* the folder, and the file */
            d = hearing(k ? path : folder);
            ck_assert_msg(info_of(d).images == 2 && info_of(d).classes == rows[i].classes, "row %d: %d classes",
                          (int)i, info_of(d).classes);
            if (rows[i].classes) ck_assert_str_eq(info_of(d).classes_from, "labels file");
            ck_assert_int_eq(count_of(heard, "W "), rows[i].classes == 0);
            if (!rows[i].classes)
                HEARD("no classes, since there is no labels file beside it ('train-labels-idx1-ubyte')");
            cm_dataset_free(d);
        }
    }
    write_bytes(in_dir("idx4/emnist-digits-train-images-idx3-ubyte"), images, sizeof images);
    ck_assert_int_eq(open_hearing(in_dir("idx4"), &o, &d), CM_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(cm_last_message(), "holds several sets"));
    write_bytes(in_dir("idx0/train-images-idx3-ubyte.gz"), "not read", 8); /* plain before zipped */
    cm_dataset_free(hearing(in_dir("idx0")));
}
END_TEST

START_TEST(missing_batches_are_named)
{
    static unsigned char records[10 * 3073];
    char path[300];
    for (int i = 0; i < 10; i++) records[i * 3073] = (unsigned char)i;
    for (int k = 1; k <= 5; k++) {
        snprintf(path, sizeof path, "%s/gap/data_batch_%d.bin", dir, k);
        make_folders_of(path);
        write_bytes(path, records, sizeof records);
    }
    cm_dataset_free(hearing(in_dir("gap")));
    QUIET();
    ck_assert_int_eq(remove(in_dir("gap/data_batch_3.bin")), 0);
    cm_dataset *d = hearing(in_dir("gap"));
    ck_assert_uint_eq(info_of(d).images, 40);
    ck_assert_str_eq(info_of(d).classes_from, "records");
    HEARD("data_batch_5.bin, 3 is missing; the other 4 are read");
    cm_dataset_free(d);
    ck_assert_int_eq(remove(in_dir("gap/data_batch_1.bin")), 0);
    d = hearing(in_dir("gap"));
    ck_assert_uint_eq(info_of(d).images, 30);
    HEARD("1, 3 are missing; the other 3 are read");
    cm_dataset_free(d);
}
END_TEST

static void write_tinted(const char *path, int red, int blue)
{
    uint8_t pixels[16 * 16 * 3];
    for (int i = 0; i < 256; i++) {
        pixels[3 * i] = (uint8_t)red;
        pixels[3 * i + 1] = (uint8_t)i;
        pixels[3 * i + 2] = (uint8_t)blue;
        if (red == blue && red == 0) pixels[3 * i] = pixels[3 * i + 2] = (uint8_t)i;
    }
    OK(write_picture(NULL, path, 3, 16, 16, pixels, 0, 1));
}

START_TEST(colours_for_a_gray_network)
{
    cm_dataset_options o = in_order();
    cm_dataset *d;
    ck_assert_int_eq(mkdir(in_dir("tint"), 0777), 0);
    write_tinted(in_dir("tint/a.jpg"), 0, 0); /* gray, stored in colour */
    write_tinted(in_dir("tint/b.png"), 0, 0);
    for (int k = 0; k < 2; k++) {
        o.channels = 1;
        OK(open_hearing(in_dir("tint"), &o, &d));
        if (k) HEARD("the pictures are in colour (1 of the 3 looked at) and are read as gray");
        else QUIET();
        cm_dataset_free(d);
        o.channels = 3;
        OK(open_hearing(in_dir("tint"), &o, &d));
        QUIET();
        cm_dataset_free(d);
        write_tinted(in_dir("tint/c.jpg"), 200, 20);
    }
}
END_TEST

START_TEST(foreign_files_are_named)
{
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea\nsize 170498071\n";
    static const char page[] = "<!DOCTYPE html>\n<html><body>Sign in</body></html>\n";
    static const char pickle[] = "\x80\x04\x95\x10\0\0\0\0\0\0\0}q\0X\4\0\0\0data";
    static const char zipped[] = "\x1f\x8b\x08\0\0\0\0\0\0\3";
    static const struct {
        const char *name, *data;
        size_t size;
        const char *word;
    } rows[] = {{"set.tar", lfs, sizeof lfs - 1, "a Git LFS pointer"},
                {"set.zip", lfs, sizeof lfs - 1, "git lfs pull"},
                {"set.npz", lfs, sizeof lfs - 1, "a Git LFS pointer"},
                {"data_batch_1.bin", lfs, sizeof lfs - 1, "a Git LFS pointer"},
                {"train-images-idx3-ubyte", lfs, sizeof lfs - 1, "a Git LFS pointer"},
                {"train-images-idx3-ubyte.gz", page, sizeof page - 1, "an HTML page"},
                {"set.zip", page, sizeof page - 1, "an HTML page"},
                {"set.npz", page, sizeof page - 1, "an HTML page"},
                {"data_batch_1", pickle, sizeof pickle - 1, "CIFAR-10's binary version"},
                {"data_batch_1", pickle, sizeof pickle - 1, "a Python pickle"},
                {"set.rar", "Rar!\x1a\7\1\0", 8, "a RAR archive: unpack it first"},
                {"set.7z", "7z\xbc\xaf\x27\x1c\0\4", 8, "a 7-Zip archive: unpack it first"},
                {"set.tar.gz", zipped, sizeof zipped - 1, "a gzip file: unpack it first"},
                {"set.tgz", zipped, sizeof zipped - 1, "a gzip file: unpack it first"},
                {"set.tar.xz",
                 "\xfd"
                 "7zXZ\0\0\0",
                 8, "an xz file"},
                {"set.parquet", "PAR1\0\0\0\0", 8, "a Parquet file"},
                {"set.mat", "MATLAB 5.0 MAT-file, Platform", 29, "a MATLAB file"},
                {"one.png", "\x89PNG\r\n\x1a\n", 8, "a PNG picture"},
                {"one.webp", "RIFF\x10\0\0\0WEBPVP8 ", 16, "a WebP picture"},
                {"set.npy", "\x93NUMPY\1\0", 8, "a NumPy array"},
                {"set.tar", "", 0, "an empty file"},
                {"set.npz", "", 0, "an empty file"}};
    cm_dataset *d;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/foreign%d/%s", dir, (int)i, rows[i].name);
        make_folders_of(path);
        write_bytes(path, rows[i].data, rows[i].size);
        FAILS(cm_dataset_open(NULL, path, NULL, &d), CM_ERR_FORMAT, rows[i].word);
    }
    /* A checkout without LFS has a pointer for every picture; CIFAR-10's Python version has no endings. */
    const part pointers[] = {{"a.png", lfs, sizeof lfs - 1}, {"b.png", lfs, sizeof lfs - 1}};
    const part pickles[] = {{"batches.meta", pickle, sizeof pickle - 1}, {"data_batch_1", pickle, sizeof pickle - 1}};
    for (int how = 0; how < CONTAINERS; how++) {
        FAILS(cm_dataset_open(NULL, contain(how, "pointers", pointers, 2), NULL, &d), CM_ERR_FORMAT,
              "a Git LFS pointer");
        FAILS(cm_dataset_open(NULL, contain(how, "pickles", pickles, 2), NULL, &d), CM_ERR_ARGUMENT,
              "'data_batch_1' is a Python pickle");
    }
}
END_TEST

/* CM_CROP_NONE: what is not of the set's size ends the call and is not left out. */
START_TEST(pictures_as_they_are)
{
    static uint8_t pixels[20 * 16 * 3], read[16 * 16 * 3];
    cm_dataset_options o = in_order();
    const cm_images out = cm_images_u8(1, 16, 16, 3, read);
    ck_assert_int_eq(mkdir(in_dir("as-is"), 0700), 0);
    write_png(in_dir("as-is/a.png"), 9);
    write_png(in_dir("as-is/c.png"), 11);
    OK(write_picture(NULL, in_dir("as-is/b.png"), 3, 20, 16, pixels, 0, 1));
    o.random_crop = CM_CROP_NONE;
    cm_dataset *d = open_set(in_dir("as-is"), &o);
    OK(cm_dataset_read(d, 0, &out, NULL));
    ck_assert_int_eq(read[5], 9);
    FAILS(cm_dataset_read(d, 1, &out, NULL), CM_ERR_SHAPE, "b.png is 20 x 16");
    OK(cm_dataset_read(d, 2, &out, NULL));
    ck_assert_int_eq(read[5], 11);
    ck_assert_uint_eq(info_of(d).bad, 0);
    cm_dataset_free(d);
    o.random_crop = 3;
    FAILS(cm_dataset_open(NULL, in_dir("as-is"), &o, &d), CM_ERR_ARGUMENT, "random_crop is 3");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("data");
    TCase *t = tcase_create("data");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, folders);
    tcase_add_test(t, dataset_json);
    tcase_add_test(t, order_of_classes);
    tcase_add_test(t, bad_pictures_are_left_out);
    tcase_add_test(t, shuffling_is_a_permutation);
    tcase_add_test(t, tars);
    tcase_add_test(t, zips);
    tcase_add_test(t, npz);
    tcase_add_test(t, idx);
    tcase_add_test(t, cifar);
    tcase_add_test(t, dataset_json_is_large);
    tcase_add_test(t, more_pictures_than_memory);
    tcase_add_test(t, containers_cut_short);
    tcase_add_test(t, picture_rewritten_while_read);
    tcase_add_test(t, crops);
    tcase_add_test(t, parts_of_resized_pictures);
    tcase_add_test(t, thin_pictures);
    tcase_add_test(t, trouble_is_no_damage);
    tcase_add_test(t, nothing_is_read_behind_the_last_batch);
    tcase_add_test(t, opening_without_descriptors);
    tcase_add_test(t, sized_reads);
    tcase_add_test(t, reads_of_any_layout);
    tcase_add_test(t, choices_refused);
    tcase_add_test(t, names_of_files);
    tcase_add_test(t, system_files_are_no_data);
    tcase_add_test(t, other_formats_are_counted);
    tcase_add_test(t, links_are_followed_once);
    tcase_add_test(t, tars_with_links_and_repetitions);
    tcase_add_test(t, zip_with_repetitions);
    tcase_add_test(t, archives_cut_in_use);
    tcase_add_test(t, tars_cut_and_joined);
    tcase_add_test(t, names_with_other_separators);
    tcase_add_test(t, classes_from_names);
    tcase_add_test(t, classes_from_json);
    tcase_add_test(t, idx_files_under_other_names);
    tcase_add_test(t, missing_batches_are_named);
    tcase_add_test(t, colours_for_a_gray_network);
    tcase_add_test(t, foreign_files_are_named);
    tcase_add_test(t, augmentation_without_change_gives_the_image_back);
    tcase_add_test(t, pictures_as_they_are);
    tcase_add_test(t, augmentation_labels_tell_what_was_done);
    suite_add_tcase(s, t);
    return s;
}
