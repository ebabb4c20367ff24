/* Data as people have them: names, classes from names and lists, foreign files.  Links and archives of others are in
 * check_archives.c. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <consistency/image.h>

#include "data/names.h"
#include "support/files.h"
#include "support/hearing.h"

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

size_t most_at_once; /* bytes that a read gives, as of a network's or a user's file system; 0: all */

ssize_t read(int fd, void *out, size_t n)
{
    return syscall(SYS_read, fd, out, most_at_once && n > most_at_once ? most_at_once : n);
}

/* The first bytes of a file may come in pieces. */
START_TEST(pictures_are_known_by_pieces)
{
    size_t size;
    unsigned char *png = a_png(30, &size);
    const part parts[] = {{"0", png, size}, {"1", png, size}}; /* names without endings, so that bytes tell */
    cm_dataset *d;
    const char *path = contain(0, "pieces", parts, 2);
    for (most_at_once = 1; most_at_once < 8; most_at_once += 3) {
        d = hearing(path);
        ck_assert_int_eq((int)info_of(d).images, 2);
        cm_dataset_free(d);
    }
    most_at_once = 0;
    free(png);
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

/* The first picture says the size that is left open, which is no square. */
static void oblong_pictures_as_they_are(void)
{
    static uint8_t pixels[20 * 12 * 3], read[20 * 12 * 3];
    cm_dataset_options o = in_order();
    const cm_images out = cm_images_u8(1, 20, 12, 3, read);
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(7 * i);
    ck_assert_int_eq(mkdir(in_dir("oblong"), 0700), 0);
    OK(write_picture(NULL, in_dir("oblong/a.png"), 3, 20, 12, pixels, 0, 1));
    o.random_crop = CM_CROP_NONE;
    for (int32_t asked = 0; asked < 4; asked++) {
        o.height = asked & 1 ? 20 : 0, o.width = asked & 2 ? 12 : 0;
        cm_dataset *d = open_set(in_dir("oblong"), &o);
        ck_assert_int_eq(info_of(d).height, 20);
        ck_assert_int_eq(info_of(d).width, 12);
        OK(cm_dataset_read(d, 0, &out, NULL));
        ck_assert_mem_eq(read, pixels, sizeof read);
        cm_dataset_free(d);
    }
    o.height = 0, o.width = 13;
    cm_dataset *d = open_set(in_dir("oblong"), &o);
    const cm_images other = cm_images_u8(1, 20, 13, 3, read);
    FAILS(cm_dataset_read(d, 0, &other, NULL), CM_ERR_SHAPE, "a.png is 20 x 12 and the images are 20 x 13");
    cm_dataset_free(d);
}

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
    oblong_pictures_as_they_are();
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("folders");
    TCase *t = tcase_create("folders");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, names_of_files);
    tcase_add_test(t, pictures_are_known_by_pieces);
    tcase_add_test(t, system_files_are_no_data);
    tcase_add_test(t, other_formats_are_counted);
    tcase_add_test(t, classes_from_names);
    tcase_add_test(t, classes_from_json);
    tcase_add_test(t, idx_files_under_other_names);
    tcase_add_test(t, missing_batches_are_named);
    tcase_add_test(t, colours_for_a_gray_network);
    tcase_add_test(t, foreign_files_are_named);
    tcase_add_test(t, pictures_as_they_are);
    suite_add_tcase(s, t);
    return s;
}
