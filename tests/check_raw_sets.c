/* Data sets that are numbers and no picture files: MNIST's idx files by their names and sizes, CIFAR-10's batches,
 * arrays of NumPy; with what is read of each pixel and label, and every limit. */
#include <sys/stat.h>
#include <unistd.h>

#include "io/npz.h"
#include "support/sources.h"

/* --- idx: names ----------------------------------------------------------------------------------- */

static const char a_png[] = "\x89PNG\r\n\x1a\n and so on, long enough";
static unsigned char images[16 + 70000], labels[8 + 300];

/* A file of n images of h x w whose pixels are 0, 1, 2 ...; its size. */
static size_t make_images(uint32_t n, uint32_t h, uint32_t w)
{
    put32(images, 0x803), put32(images + 4, n), put32(images + 8, h), put32(images + 12, w);
    const size_t size = (size_t)n * h * w;
    for (size_t i = 0; i < size && i < sizeof images - 16; i++) images[16 + i] = (unsigned char)(i % 251);
    return 16 + size;
}

/* A file of n labels: 0, 3, 6 ... */
static size_t make_labels(uint32_t n)
{
    put32(labels, 0x801), put32(labels + 4, n);
    for (uint32_t i = 0; i < n; i++) labels[8 + i] = (unsigned char)(3 * i);
    return 8 + n;
}

static void write_packed(const char *path, const void *data, size_t size)
{
    gzFile gz = gzopen(path, strlen(path) > 3 && strcmp(path + strlen(path) - 3, ".gz") == 0 ? "wb" : "wbT");
    ck_assert_int_eq(gzwrite(gz, data, (unsigned)size), (int)size);
    gzclose(gz);
}

START_TEST(names_of_images)
{
    static const struct {
        const char *name;
        int is;
    } rows[] = {{"train-images-idx3-ubyte", 1},
                {"train-images.idx3-ubyte.gz", 1},
                {"Train_Images.IDX3-UBYTE.GZ", 1},
                {"my_images_idx3", 1},
                {"images-idx3", 1},
                {"IMAGES.IDX3.gz", 1},
                {"train-labels-idx1-ubyte", 0},
                {"images-idx1-ubyte", 0},
                {"images3", 0},
                {".train-images-idx3-ubyte", 0},
                {"._train-images-idx3-ubyte", 0},
                {"train-images-idx3-ubyte.part", 0},
                {"train-images-idx3-ubyte~", 0},
                {"gz", 0},
                {"x/y.gz", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int in_folder = 0; in_folder < 2; in_folder++) {
            int is = 7;
            char path[300];
            if (strchr(rows[i].name, '/')) continue;
            ck_assert_int_eq(mkdir(in_dir("n"), 0777), 0);
            snprintf(path, sizeof path, "%s/n/%s", dir, rows[i].name);
            write_bytes(path, "neither", 7);
            if (in_folder) OK(cmi_source_idx.recognise(own, in_dir("n"), CM_PATH_DIRECTORY, &is));
            else OK(cmi_source_idx.recognise(own, path, CM_PATH_FILE, &is));
            ck_assert_msg(is == rows[i].is, "'%s' %s: %d", rows[i].name, in_folder ? "in a folder" : "alone", is);
            unlink(path);
            rmdir(in_dir("n"));
        }
}
END_TEST

/* A file of any other name by its first four bytes, packed or not. */
START_TEST(contents_of_images)
{
    static const struct {
        const char *bytes;
        size_t n;
        int is;
    } rows[] = {{"\0\0\10\3", 4, 1}, {"\0\0\10\1", 4, 1}, {"\0\0\10\3....", 8, 1}, {"\0\0\10\2", 4, 0},
                {"\0\0\10\4", 4, 0}, {"\0\0\11\3", 4, 0}, {"\0\1\10\3", 4, 0},     {"\1\0\10\3", 4, 0},
                {"\0\0\10", 3, 0},   {"", 0, 0},          {"\3\10\0\0", 4, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int packed = 0; packed < 2; packed++) {
            int is = 7;
            const char *path = in_dir(packed ? "x.gz" : "x");
            write_packed(path, rows[i].bytes, rows[i].n);
            OK(cmi_source_idx.recognise(own, path, CM_PATH_FILE, &is));
            ck_assert_msg(is == rows[i].is, "row %zu: %d", i, is);
            unlink(path);
        }
    int is = 7;
    OK(cmi_source_idx.recognise(own, dir, CM_PATH_DIRECTORY, &is)); /* nothing there */
    ck_assert_int_eq(is, 0);
}
END_TEST

/* Which of two files in a folder is read, whichever was made first: `first` has one image, `second` two. */
START_TEST(best_of_several)
{
    static const struct {
        const char *first, *second;
        int images; /* 0: refused as several sets */
    } rows[] = {{"train-images-idx3-ubyte", "t10k-images-idx3-ubyte", 1},
                {"t10k-images-idx3-ubyte", "train-images-idx3-ubyte.gz", 2},
                {"emnist-train-images-idx3-ubyte", "emnist-test-images-idx3-ubyte", 1},
                {"emnist-train-images-idx3-ubyte", "train-images-idx3-ubyte", 2},
                {"emnist-train-images-idx3-ubyte.gz", "emnist-train-images-idx3-ubyte", 2},
                {"train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", 1},
                {"train-images.idx3-ubyte.GZ", "train-images-idx3-ubyte", 2},
                {"a-train-images-idx3-ubyte", "b-train-images-idx3-ubyte", 0},
                {"a-images-idx3-ubyte", "b-images-idx3-ubyte.gz", 0},
                {"train-images-idx3-ubyte", "._train-images-idx3-ubyte", 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int turn = 0; turn < 2; turn++) {
            cm_source *s;
            ck_assert_int_eq(mkdir(in_dir("b"), 0777), 0);
            for (int k = 0; k < 2; k++) {
                const int second = k != turn;
                char path[300];
                snprintf(path, sizeof path, "%s/b/%s", dir, second ? rows[i].second : rows[i].first);
                write_packed(path, images, make_images(second ? 2 : 1, 3, 5));
            }
            const cm_status status = open_source(in_dir("b"), &s);
            if (rows[i].images) {
                ck_assert_msg(status == CM_OK, "row %zu: %s", i, cm_last_message());
                ck_assert_msg((int)s->count == rows[i].images, "row %zu: %zu", i, s->count);
                cmi_source_close(s);
            } else {
                char one[500], other[500];
                snprintf(one, sizeof one, "'%s' holds several sets, such as '%s' and '%s': name one of the files",
                         in_dir("b"), rows[i].first, rows[i].second);
                snprintf(other, sizeof other, "'%s' holds several sets, such as '%s' and '%s': name one of the files",
                         in_dir("b"), rows[i].second, rows[i].first);
                ck_assert_int_eq((int)status, (int)CM_ERR_ARGUMENT);
                ck_assert_msg(strcmp(cm_last_message(), one) == 0 || strcmp(cm_last_message(), other) == 0, "%s",
                              cm_last_message());
            }
            char command[100];
            snprintf(command, sizeof command, "rm -r %s", in_dir("b"));
            ck_assert_int_eq(system(command), 0);
        }
    /* of three, two that are equal do not matter beside a better one */
    static const char *const three[] = {"a-images-idx3-ubyte", "b-images-idx3-ubyte", "train-images-idx3-ubyte"};
    for (int from = 0; from < 3; from++) {
        cm_source *s;
        char command[100];
        ck_assert_int_eq(mkdir(in_dir("b"), 0777), 0);
        for (int k = 0; k < 3; k++) {
            char path[300];
            snprintf(path, sizeof path, "%s/b/%s", dir, three[(from + k) % 3]);
            write_bytes(path, images, make_images((from + k) % 3 == 2 ? 4 : 1, 3, 5));
        }
        OK(open_source(in_dir("b"), &s));
        ck_assert_uint_eq(s->count, 4);
        cmi_source_close(s);
        snprintf(command, sizeof command, "rm -r %s", in_dir("b"));
        ck_assert_int_eq(system(command), 0);
    }
}
END_TEST

/* The labels beside the images: of the same name, packed as they are where there are both. */
START_TEST(labels_beside_images)
{
    static const struct {
        const char *images, *plain, *packed;
        int labels; /* how many classes more than images the right file has: 0 none, 1 plain, 2 packed */
    } rows[] = {{"train-images-idx3-ubyte", "train-labels-idx1-ubyte", NULL, 1},
                {"train-images-idx3-ubyte", NULL, "train-labels-idx1-ubyte.gz", 2},
                {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz", 1},
                {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz", 2},
                {"images.idx3", "labels.idx1", NULL, 1},
                {"images", "labels", NULL, 1},
                {"Images_7", "labels-7", NULL, 1},
                {"train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", NULL, 0},
                {"train-images-idx3-ubyte", "train-labels-idx3-ubyte", NULL, 0},
                {"numbers.idx3", "labels.idx1", NULL, 0}};
    char was[1000];
    ck_assert_ptr_nonnull(getcwd(was, sizeof was));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int here = 0; here < 2; here++) { /* with its folder, and from within it */
            cm_source *s;
            char path[300], command[100];
            ck_assert_int_eq(mkdir(in_dir("l"), 0777), 0);
            for (int k = 0; k < 3; k++) {
                const char *name = k == 0 ? rows[i].images : k == 1 ? rows[i].plain : rows[i].packed;
                if (!name) continue;
                snprintf(path, sizeof path, "%s/l/%s", dir, name);
                make_labels(4);
                labels[8] = (unsigned char)(100 * k); /* the first label says which file it is */
                if (k) write_packed(path, labels, 12);
                else write_packed(path, images, make_images(4, 2, 3));
            }
            snprintf(path, sizeof path, "%s%s%s", here ? "" : in_dir("l"), here ? "" : "/", rows[i].images);
            if (here) ck_assert_int_eq(chdir(in_dir("l")), 0);
            const cm_status status = open_source(path, &s);
            if (here) ck_assert_int_eq(chdir(was), 0);
            ck_assert_msg(status == CM_OK, "row %zu: %s", i, cm_last_message());
            if (rows[i].labels) {
                ck_assert_ptr_nonnull(s->labels);
                ck_assert_int_eq(s->labels[0], 100 * rows[i].labels);
                for (int k = 1; k < 4; k++) ck_assert_int_eq(s->labels[k], 3 * k);
                ck_assert_str_eq(s->labels_from, "labels file");
                ck_assert_str_eq(heard, "");
            } else {
                ck_assert_ptr_null(s->labels);
                ck_assert_ptr_nonnull(strstr(heard, "no classes, since there is no labels file beside it"));
                ck_assert_msg((strstr(heard, "beside it ('train-labels-idx1-ubyte')\n") != NULL) ==
                                  (rows[i].images[0] == 't'),
                              "%s", heard);
                if (rows[i].images[0] != 't') ck_assert_ptr_nonnull(strstr(heard, "beside it\n"));
            }
            cmi_source_close(s);
            snprintf(command, sizeof command, "rm -r %s", in_dir("l"));
            ck_assert_int_eq(system(command), 0);
        }
}
END_TEST

/* --- idx: bytes -------------------------------------------------------------------------------------- */

static const char *write_images(const void *bytes, size_t size)
{
    write_bytes(in_dir("images-idx3"), bytes, size);
    return in_dir("images-idx3");
}

/* 28 x 28 gets a border of two, and nothing else does. */
START_TEST(pixels_of_idx)
{
    static const struct {
        uint32_t h, w;
        int pad;
    } rows[] = {{28, 28, 2}, {28, 27, 0}, {27, 28, 0}, {3, 5, 0}, {1, 1, 0}, {32, 32, 0}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        const int h = (int)rows[r].h, w = (int)rows[r].w, pad = rows[r].pad;
        cm_source *s;
        OK(open_source(write_images(images, make_images(3, rows[r].h, rows[r].w)), &s));
        ck_assert_uint_eq(s->count, 3);
        ck_assert_uint_eq(s->bytes, (size_t)(3 * h * w));
        ck_assert_int_eq(s->raw, 1);
        for (int i = 0; i < 3; i++)
            for (int channels = 1; channels < 4; channels += 2) {
                cm_picture p;
                OK(s->kind->picture(s, (size_t)i, channels, &p));
                ck_assert(p.channels == channels && p.height == h + 2 * pad && p.width == w + 2 * pad);
                for (int y = 0; y < p.height; y++)
                    for (int x = 0; x < p.width; x++)
                        for (int c = 0; c < channels; c++) {
                            const int inside = y >= pad && y < h + pad && x >= pad && x < w + pad;
                            const int want = inside ? ((i * h + y - pad) * w + x - pad) % 251 : 0;
                            ck_assert_int_eq(p.pixels[(y * p.width + x) * channels + c], want);
                        }
                cmi_free(own, p.pixels);
            }
        cmi_source_close(s);
    }
}
END_TEST

START_TEST(images_refused)
{
    static const struct {
        uint32_t magic, n, h, w;
        size_t size;
        cm_status status;
        const char *text; /* behind the path; NULL: right */
    } rows[] = {
        {0x803, 1, 2, 3, 22, CM_OK, NULL},
        {0x803, 1, 2, 3, 21, CM_ERR_FORMAT, ": truncated or damaged after 5 of 6 bytes"},
        {0x803, 1, 2, 3, 16, CM_ERR_FORMAT, ": truncated or damaged after 0 of 6 bytes"},
        {0x803, 1, 2, 3, 15, CM_ERR_FORMAT, ": not an idx file of images"},
        {0x803, 1, 2, 3, 4, CM_ERR_FORMAT, ": not an idx file of images"},
        {0x803, 1, 2, 3, 3, CM_ERR_FORMAT, ": not an idx file of images"},
        {0x803, 1, 2, 3, 23, CM_ERR_FORMAT, ": bytes after the end"},
        {0x801, 1, 2, 3, 22, CM_ERR_FORMAT, ": not an idx file of images"},
        {0x802, 1, 2, 3, 22, CM_ERR_FORMAT, ": not an idx file of images"},
        {0x10803, 1, 2, 3, 22, CM_ERR_FORMAT, ": not an idx file of images"},
        {0x803, 1, 0, 3, 16, CM_ERR_FORMAT, ": images of 0 x 3"},
        {0x803, 1, 3, 0, 16, CM_ERR_FORMAT, ": images of 3 x 0"},
        {0x803, 1, 65535, 1, 16 + 65535, CM_OK, NULL},
        {0x803, 1, 1, 65535, 16 + 65535, CM_OK, NULL},
        {0x803, 1, 65536, 1, 16 + 65536, CM_ERR_LIMIT, ": dimension 1 is 65536"},
        {0x803, 1, 1, 65536, 16 + 65536, CM_ERR_LIMIT, ": dimension 2 is 65536"},
        {0x803, (1u << 30) + 1, 0, 0, 16, CM_ERR_LIMIT, ": dimension 0 is 1073741825"},
        {0x803, 1u << 30, 1, 1, 16, CM_ERR_FORMAT, ": 16 bytes cannot hold the 1073741824 it claims"},
        {0x803, 16 * 1032 + 1024, 1, 1, 16, CM_ERR_FORMAT, ": truncated or damaged after 0 of 17536 bytes"},
        {0x803, 16 * 1032 + 1025, 1, 1, 16, CM_ERR_FORMAT, ": 16 bytes cannot hold the 17537 it claims"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_source *s;
        char text[400];
        make_images(rows[i].n, rows[i].h, rows[i].w);
        put32(images, rows[i].magic);
        const cm_status status = open_source(write_images(images, rows[i].size), &s);
        ck_assert_msg(status == rows[i].status, "row %zu: %s", i, cm_last_message());
        if (status == CM_OK) {
            ck_assert_uint_eq(s->count, rows[i].n);
            cmi_source_close(s);
            continue;
        }
        snprintf(text, sizeof text, "%s%s", in_dir("images-idx3"), rows[i].text);
        ck_assert_str_eq(cm_last_message(), text);
    }
    cm_source *s;
    const size_t size = make_images(0, 0, 0); /* no image at all */
    FAILS(open_source(write_images(images, size), &s), CM_ERR_ARGUMENT, "holds no picture");
    write_bytes(in_dir("images-idx3"), a_png, sizeof a_png - 1);
    FAILS(open_source(in_dir("images-idx3"), &s), CM_ERR_FORMAT, "not an idx file but ");
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("images-idx3.gz")); /* a changed checksum, and a cut end */
    write_packed(path, images, make_images(1, 2, 3));
    size_t n;
    unsigned char *packed = read_bytes(path, &n);
    for (int cut = 0; cut < 2; cut++) {
        char text[400];
        packed[n - 8] ^= 1;
        write_bytes(path, packed, cut ? n - 4 : n);
        snprintf(text, sizeof text, "%s: damaged: its checksum is wrong, or cut", path);
        SAYS(open_source(path, &s), CM_ERR_FORMAT, text);
    }
    free(packed);
}
END_TEST

START_TEST(labels_refused)
{
    static const struct {
        uint32_t magic, n;
        size_t size;
        const char *text; /* behind the path */
    } rows[] = {{0x801, 2, 10, ": 2 labels for 3 images"},
                {0x801, 4, 12, ": 4 labels for 3 images"},
                {0x801, 3, 10, ": truncated or damaged after 2 of 3 bytes"},
                {0x801, 3, 12, ": bytes after the end"},
                {0x803, 3, 11, ": not an idx file of labels"},
                {0x801, 3, 7, ": not an idx file of labels"}};
    write_bytes(in_dir("images-idx3"), images, make_images(3, 1, 1));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_source *s;
        char text[400];
        make_labels(rows[i].n);
        put32(labels, rows[i].magic);
        write_bytes(in_dir("labels-idx1"), labels, rows[i].size);
        snprintf(text, sizeof text, "%s%s", in_dir("labels-idx1"), rows[i].text);
        SAYS(open_source(in_dir("images-idx3"), &s), CM_ERR_FORMAT, text);
    }
    write_bytes(in_dir("images-idx3"), images, make_images(256, 1, 1)); /* every label there can be */
    make_labels(256);
    for (int i = 0; i < 256; i++) labels[8 + i] = (unsigned char)(255 - i);
    write_bytes(in_dir("labels-idx1"), labels, 8 + 256);
    cm_source *s;
    OK(open_source(in_dir("images-idx3"), &s));
    for (int i = 0; i < 256; i++) ck_assert_int_eq(s->labels[i], 255 - i);
    cmi_source_close(s);
}
END_TEST

/* --- CIFAR-10 ---------------------------------------------------------------------------------------- */

enum { RECORD = 3073 };
static unsigned char records[10 * RECORD];

static int record_value(int record, int c, int k)
{
    return (record * 50 + c * 80 + k) % 256;
}

/* Batch `number` (1 to 5) with `n` records that count on from `first`. */
static void write_batch(int number, int first, int n)
{
    char name[30];
    for (int r = 0; r < n; r++) {
        records[r * RECORD] = (unsigned char)((first + r + 3) % 10);
        for (int c = 0; c < 3; c++)
            for (int k = 0; k < 1024; k++)
                records[r * RECORD + 1 + c * 1024 + k] = (unsigned char)record_value(first + r, c, k);
    }
    snprintf(name, sizeof name, "data_batch_%d.bin", number);
    write_bytes(in_dir(name), records, (size_t)n * RECORD);
}

/* Records of several batches, one behind the other, each pixel of each channel. */
START_TEST(batches)
{
    static const struct {
        int sizes[5]; /* 0: no file */
        const char *heard;
    } rows[] = {{{1, 2, 3, 1, 2}, ""},
                {{2, 0, 3, 1, 2}, "2 is missing; the other 4 are read"},
                {{0, 2, 3, 1, 2}, "1 is missing; the other 4 are read"},
                {{2, 2, 3, 1, 0}, "5 is missing; the other 4 are read"},
                {{0, 1, 0, 2, 0}, "1, 3, 5 are missing; the other 2 are read"},
                {{0, 0, 0, 0, 3}, "1, 2, 3, 4 are missing; the other 1 are read"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_source *s;
        char text[400], name[30];
        int n = 0;
        for (int b = 0; b < 5; b++) {
            snprintf(name, sizeof name, "data_batch_%d.bin", b + 1);
            if (rows[i].sizes[b]) write_batch(b + 1, n, rows[i].sizes[b]);
            else unlink(in_dir(name));
            n += rows[i].sizes[b];
        }
        OK(open_source(dir, &s));
        ck_assert_str_eq(s->kind->name, "cifar10");
        ck_assert_uint_eq(s->count, (size_t)n);
        ck_assert_uint_eq(s->bytes, (size_t)n * RECORD);
        ck_assert_int_eq(s->raw, 1);
        snprintf(text, sizeof text, "W %s: of data_batch_1.bin to data_batch_5.bin, %s\n", dir, rows[i].heard);
        ck_assert_str_eq(heard, rows[i].heard[0] ? text : "");
        for (int r = 0; r < n; r++) {
            cm_picture p, gray;
            ck_assert_int_eq(s->labels[r], (r + 3) % 10);
            OK(s->kind->picture(s, (size_t)r, 3, &p));
            OK(s->kind->picture(s, (size_t)r, 1, &gray));
            ck_assert(p.channels == 3 && p.height == 32 && p.width == 32 && gray.channels == 1 && gray.width == 32);
            for (int k = 0; k < 1024; k++)
                for (int c = 0; c < 3; c++) ck_assert_int_eq(p.pixels[3 * k + c], record_value(r, c, k));
            cmi_picture_to_gray(&p);
            ck_assert_int_eq(memcmp(p.pixels, gray.pixels, 1024), 0);
            cmi_free(own, p.pixels);
            cmi_free(own, gray.pixels);
        }
        cmi_source_close(s);
    }
}
END_TEST

START_TEST(batches_refused)
{
    static const struct {
        const char *name;
        int is;
    } names[] = {{"x.bin", 1}, {"x.BIN", 1},    {".bin", 0},          {"xbin", 0},
                 {"x.bi", 0},  {"x.bin.gz", 0}, {"test_batch.Bin", 1}};
    char text[400];
    cm_source *s;
    int is;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        OK(cmi_source_cifar.recognise(own, names[i].name, CM_PATH_FILE, &is));
        ck_assert_msg(is == names[i].is, "'%s': %d", names[i].name, is);
    }
    for (int b = 0; b <= 6; b++) { /* any of the five makes a folder one of batches */
        char name[30];
        snprintf(name, sizeof name, "data_batch_%d.bin", b);
        write_bytes(in_dir(name), "x", 1);
        OK(cmi_source_cifar.recognise(own, dir, CM_PATH_DIRECTORY, &is));
        ck_assert_msg(is == (b >= 1 && b <= 5), "batch %d: %d", b, is);
        OK(cmi_source_cifar.recognise(own, dir, CM_PATH_OTHER, &is));
        ck_assert_int_eq(is, 0);
        unlink(in_dir(name));
    }
    write_batch(1, 0, 2);
    for (int label = 9; label < 12; label++) { /* of the second record */
        records[RECORD] = (unsigned char)label;
        write_bytes(in_dir("x.bin"), records, 2 * RECORD);
        snprintf(text, sizeof text, "%s: record 1 has label %d, expected 0..9", in_dir("x.bin"), label);
        const cm_status status = open_source(in_dir("x.bin"), &s);
        if (label == 9) {
            OK(status);
            ck_assert_int_eq(s->labels[1], 9);
            cmi_source_close(s);
        } else SAYS(status, CM_ERR_FORMAT, text);
    }
    for (size_t size = RECORD - 1; size <= RECORD + 1; size += 2) {
        write_bytes(in_dir("x.bin"), records, size);
        snprintf(text, sizeof text,
                 "%s: %zu bytes are not a multiple of a CIFAR-10 record's 3073 (truncated, or CIFAR-100?)",
                 in_dir("x.bin"), size);
        SAYS(open_source(in_dir("x.bin"), &s), CM_ERR_FORMAT, text);
    }
    write_bytes(in_dir("x.bin"), a_png, sizeof a_png - 1);
    FAILS(open_source(in_dir("x.bin"), &s), CM_ERR_FORMAT, "not CIFAR-10's binary batch but ");
    write_bytes(in_dir("x.bin"), "", 0);
    FAILS(open_source(in_dir("x.bin"), &s), CM_ERR_FORMAT, "not CIFAR-10's binary batch but ");
}
END_TEST

/* --- arrays of NumPy --------------------------------------------------------------------------------- */

static uint8_t values[70000];

static cm_status open_arrays(size_t n, const cm_npz_array *arrays, cm_source **s)
{
    OK(cmi_npz_write(own, in_dir("a.npz"), 1, arrays, n));
    return open_source(in_dir("a.npz"), s);
}

START_TEST(arrays)
{
    static const struct {
        int rank;
        size_t shape[4];
    } rows[] = {{4, {3, 4, 5, 3}}, {3, {2, 8, 8}},    {4, {2, 8, 8, 3}},  {4, {3, 4, 5, 1}},
                {3, {3, 4, 5}},    {4, {3, 1, 1, 3}}, {3, {1, 1, 65535}}, {4, {1, 65535, 1, 1}}};
    for (size_t i = 0; i < sizeof values; i++) values[i] = (uint8_t)(i % 251);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        const size_t *shape = rows[r].shape, c = rows[r].rank == 4 ? shape[3] : 1, pixels = shape[1] * shape[2];
        cm_npz_array a = {"arr_0", "|u1", rows[r].rank, {0}, 1, values};
        cm_source *s;
        memcpy(a.shape, shape, sizeof a.shape);
        OK(open_arrays(1, &a, &s));
        ck_assert_str_eq(s->kind->name, "npz");
        ck_assert(s->count == shape[0] && s->bytes == shape[0] * pixels * c && s->raw == 1 && !s->labels);
        for (size_t i = 0; i < s->count; i++)
            for (int channels = 1; channels < 4; channels += 2) {
                cm_picture p;
                OK(s->kind->picture(s, i, channels, &p));
                ck_assert(p.channels == channels && p.height == (int)shape[1] && p.width == (int)shape[2]);
                for (size_t k = 0; k < pixels; k++) {
                    const uint8_t *from = values + (i * pixels + k) * c;
                    const int gray =
                        c == 1 ? from[0]
                               : (int)((19595u * from[0] + 38470u * from[1] + 7471u * from[2] + 32768u) >> 16);
                    for (size_t q = 0; q < (size_t)channels; q++)
                        ck_assert_int_eq(p.pixels[k * (size_t)channels + q],
                                         channels == 1 ? gray : from[c == 3 ? q : 0]);
                }
                cmi_free(own, p.pixels);
            }
        cmi_source_close(s);
    }
}
END_TEST

#define SHAPE ": arr_0 has to be uint8 [n, H, W, C] or [n, H, W] in C order"

START_TEST(arrays_refused)
{
    static const struct {
        cm_npz_array array;
        cm_status status;
        const char *text; /* behind the path */
    } rows[] = {
        {{"arr_0", "|i1", 3, {1, 2, 3}, 1, values}, CM_ERR_FORMAT, SHAPE},
        {{"arr_0", "<u2", 3, {1, 2, 3}, 2, values}, CM_ERR_FORMAT, SHAPE},
        {{"arr_0", "|b1", 3, {1, 2, 3}, 1, values}, CM_ERR_FORMAT, SHAPE},
        {{"arr_0", "|u1", 2, {2, 3}, 1, values}, CM_ERR_FORMAT, SHAPE},
        {{"arr_0", "|u1", 0, {0}, 1, values}, CM_ERR_FORMAT, SHAPE},
        {{"arr_0", "|u1", 4, {1, 2, 2, 0}, 1, values}, CM_ERR_FORMAT, ": arr_0 has 0 channels, expected 1 or 3"},
        {{"arr_0", "|u1", 4, {1, 2, 2, 2}, 1, values}, CM_ERR_FORMAT, ": arr_0 has 2 channels, expected 1 or 3"},
        {{"arr_0", "|u1", 4, {1, 2, 2, 4}, 1, values}, CM_ERR_FORMAT, ": arr_0 has 4 channels, expected 1 or 3"},
        {{"arr_0", "|u1", 3, {1, 0, 2}, 1, values}, CM_ERR_LIMIT, ": images of 0 x 2"},
        {{"arr_0", "|u1", 3, {1, 2, 0}, 1, values}, CM_ERR_LIMIT, ": images of 2 x 0"},
        {{"arr_0", "|u1", 3, {1, 65536, 1}, 1, values}, CM_ERR_LIMIT, ": images of 65536 x 1"},
        {{"arr_0", "|u1", 3, {1, 1, 65536}, 1, values}, CM_ERR_LIMIT, ": images of 1 x 65536"},
        {{"arr_1", "|u1", 3, {1, 2, 3}, 1, values}, CM_ERR_FORMAT, ": there is no arr_0"}};
    cm_source *s;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[400];
        snprintf(text, sizeof text, "%s%s", in_dir("a.npz"), rows[i].text);
        const cm_status status = open_arrays(1, &rows[i].array, &s);
        ck_assert_msg(status == rows[i].status, "row %zu: %s", i, cm_last_message());
        ck_assert_str_eq(cm_last_message(), text);
    }
    const cm_npz_array none = {"arr_0", "|u1", 3, {0, 0, 0}, 1, values};
    FAILS(open_arrays(1, &none, &s), CM_ERR_ARGUMENT, "holds no picture");
    write_bytes(in_dir("a.npz"), a_png, sizeof a_png - 1);
    FAILS(open_source(in_dir("a.npz"), &s), CM_ERR_FORMAT, "not an .npz file but ");
    static const struct {
        const char *name;
        int is;
    } names[] = {{"x.npz", 1}, {"x.NPZ", 1}, {".npz", 0}, {"xnpz", 0}, {"x.npz.gz", 0}, {"x.npy", 0}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int is;
        OK(cmi_source_npz.recognise(own, names[i].name, CM_PATH_FILE, &is));
        ck_assert_msg(is == names[i].is, "'%s': %d", names[i].name, is);
        OK(cmi_source_npz.recognise(own, names[i].name, CM_PATH_DIRECTORY, &is));
        ck_assert_int_eq(is, 0);
    }
}
END_TEST

/* Labels of every type of whole numbers, from -1 (none) to the largest, and what is none. */
START_TEST(labels_of_arrays)
{
    static const int64_t good[3] = {-1, (1 << 24) - 1, 5}, low[3] = {0, -2, 0}, high[3] = {0, 0, 1 << 24};
    static const uint8_t bytes[3] = {255, 0, 7};
    static const float fractions[3] = {0, 1, 2};
    static const struct {
        cm_npz_array array;
        const char *text; /* behind the path; NULL: right */
        int32_t want[3];
    } rows[] = {{{"arr_1", "<i8", 1, {3}, 8, good}, NULL, {-1, (1 << 24) - 1, 5}},
                {{"arr_1", "|u1", 1, {3}, 1, bytes}, NULL, {255, 0, 7}},
                {{"arr_1", "|i1", 1, {3}, 1, bytes}, NULL, {-1, 0, 7}},
                {{"arr_1", "<i8", 1, {3}, 8, low}, ": label 1 is -2", {0}},
                {{"arr_1", "<i8", 1, {3}, 8, high}, ": label 2 is 1.67772e+07", {0}},
                {{"arr_1", "<i8", 1, {2}, 8, good}, ": arr_1 has to be 3 whole numbers", {0}},
                {{"arr_1", "|u1", 2, {3, 1}, 1, bytes}, ": arr_1 has to be 3 whole numbers", {0}},
                {{"arr_1", "<f4", 1, {3}, 4, fractions}, ": arr_1 has to be 3 whole numbers", {0}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const cm_npz_array list[] = {{"arr_0", "|u1", 3, {3, 2, 2}, 1, values}, rows[i].array};
        cm_source *s;
        char text[400];
        const cm_status status = open_arrays(2, list, &s);
        if (rows[i].text) {
            snprintf(text, sizeof text, "%s%s", in_dir("a.npz"), rows[i].text);
            SAYS(status, CM_ERR_FORMAT, text);
        } else {
            OK(status);
            ck_assert_str_eq(s->labels_from, "arr_1");
            for (int k = 0; k < 3; k++) ck_assert_int_eq(s->labels[k], rows[i].want[k]);
            cmi_source_close(s);
        }
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("raw_sets");
    TCase *t = tcase_create("raw_sets");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup_sources, teardown_sources);
    tcase_add_test(t, names_of_images);
    tcase_add_test(t, contents_of_images);
    tcase_add_test(t, best_of_several);
    tcase_add_test(t, labels_beside_images);
    tcase_add_test(t, pixels_of_idx);
    tcase_add_test(t, images_refused);
    tcase_add_test(t, labels_refused);
    tcase_add_test(t, batches);
    tcase_add_test(t, batches_refused);
    tcase_add_test(t, arrays);
    tcase_add_test(t, arrays_refused);
    tcase_add_test(t, labels_of_arrays);
    suite_add_tcase(s, t);
    return s;
}
