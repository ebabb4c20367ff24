/* Files that appear whole or not at all, what is no model, safetensors both ways. */
#include "support/files.h"
#include "support/suite.h"
#include "support/tensors.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <zlib.h>

#include "base/json.h"
#include "io/directory.h"
#include "io/json_tree.h"
#include "io/safetensors.h"
#include "nets/checkpoint.h"
#include "support/memory.h"
#include "support/pictures.h"
#include "support/scratch.h"

START_TEST(whole_or_nothing)
{
    cm_file_writer w;
    unsigned char *m;
    size_t size;
    OK(cmi_file_create(context, in_dir("a"), 0, &w));
    OK(cmi_file_write(&w, "hello", 5));
    ck_assert_int_ne(access(in_dir("a"), F_OK), 0); /* not under its name yet */
    OK(cmi_file_commit(&w));
    OK(cmi_file_read(context, in_dir("a"), 5, &m, &size));
    ck_assert(size == 5 && memcmp(m, "hello", 6) == 0);
    cmi_free(context, m);
    FAILS(cmi_file_read(context, in_dir("a"), 4, &m, &size), CM_ERR_LIMIT, "5 bytes");
    FAILS(cmi_file_create(context, in_dir("a"), 0, &w), CM_ERR_IO, "exists");
    OK(cmi_file_create(context, in_dir("a"), 1, &w));
    OK(cmi_file_write(&w, "other", 5));
    cmi_file_abort(&w);
    OK(cmi_file_read(context, in_dir("a"), 9, &m, &size));
    ck_assert(memcmp(m, "hello", 5) == 0); /* as it was */
    cmi_free(context, m);
    ck_assert_int_eq(files_in_dir(), 1);
    FAILS(cmi_file_create(context, in_dir("no/such/dir"), 0, &w), CM_ERR_IO, "No such file");
    FAILS(cmi_file_read(context, dir, 9, &m, &size), CM_ERR_IO, "regular");
    FAILS(cmi_file_read(context, "/dev/zero", 9, &m, &size), CM_ERR_IO, "regular");
    ck_assert_int_eq(mkfifo(in_dir("pipe"), 0600), 0);
    FAILS(cmi_file_read(context, in_dir("pipe"), 9, &m, &size), CM_ERR_IO, "regular");
}
END_TEST

/* Names that the file system just takes, whole characters of several bytes among them. */
START_TEST(long_names)
{
    char name[300], path[400];
    cm_file_writer w;
    for (size_t n = 90; n <= 256; n = n < 250 ? n + 13 : n + 1) {
        for (int kind = 0; kind < 2; kind++) {
            for (size_t i = 0; i < n; i++) name[i] = kind ? "\xe2\x82\xac"[i % 3] : 'x';
            name[n - n % 3 * (size_t)kind] = '\0';
            snprintf(path, sizeof path, "%s/%s", dir, name);
            if (strlen(name) > 255) {
                FAILS(cmi_file_create(context, path, 0, &w), CM_ERR_IO, "too long");
                continue;
            }
            OK(cmi_file_create(context, path, 0, &w));
            ck_assert(strlen(strrchr(w.temporary, '/') + 1) <= 255);
            const char *cut = strstr(w.temporary, ".tmp-");
            ck_assert(!kind || (cut - strrchr(w.temporary, '/') - 1) % 3 == 0);
            OK(cmi_file_write(&w, "hello", 5));
            OK(cmi_file_commit(&w));
            ck_assert_int_eq(unlink(path), 0);
        }
    }
    ck_assert_int_eq(mkdir(in_dir("folder"), 0700), 0);
    FAILS(cmi_file_create(context, in_dir("folder"), 1, &w), CM_ERR_IO, "is a directory");
    FAILS(cmi_file_create(context, in_dir("folder"), 0, &w), CM_ERR_IO, "is a directory");
}
END_TEST

/* A host that has closed its standard descriptors prints into none of our files. */
START_TEST(closed_descriptors)
{
    int kept[3];
    cm_locks locks = {.context = context};
    cm_file_writer w;
    for (int i = 0; i < 3; i++) {
        kept[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
        close(i);
    }
    cm_status made = cmi_file_create(context, in_dir("a"), 0, &w), locked = cmi_locks_take(&locks, in_dir("lock"));
    ssize_t printed = write(1, "noise", 5);
    cm_status written = cmi_file_write(&w, "hello", 5), whole = cmi_file_commit(&w);
    for (int i = 0; i < 3; i++)
        if (kept[i] >= 0) {
            dup2(kept[i], i);
            close(kept[i]);
        }
    ck_assert(made == CM_OK && locked == CM_OK && written == CM_OK && whole == CM_OK);
    ck_assert_int_eq((int)printed, -1);
    ck_assert_int_gt(locks.descriptor[0], 2);
    cmi_locks_release(&locks, 0);
    unsigned char *m;
    size_t size;
    OK(cmi_file_read(context, in_dir("a"), 9, &m, &size));
    ck_assert(size == 5 && memcmp(m, "hello", 5) == 0);
    cmi_free(context, m);
}
END_TEST

/* What people give in place of a model is told as what it is. */
START_TEST(foreign_files)
{
#define FILE_OF(bytes, status, word)                                                                                 \
    {                                                                                                                \
        bytes, sizeof(bytes) - 1, status, word                                                                       \
    }
    static const struct {
        const char *bytes;
        size_t size;
        cm_status status;
        const char *word;
    } files[] = {
        FILE_OF("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", CM_ERR_FORMAT,
                "Git LFS pointer"),
        FILE_OF("<!DOCTYPE html>\n<html><head><title>Sign in</title>", CM_ERR_FORMAT, "HTML"),
        FILE_OF("\xef\xbb\xbf  \n<html lang=\"en\">", CM_ERR_FORMAT, "HTML"),
        FILE_OF("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", CM_ERR_FORMAT, "XML"),
        FILE_OF("{\"error\": \"not found\"}", CM_ERR_FORMAT, "JSON"),
        FILE_OF("{}", CM_ERR_FORMAT, "JSON"),
        FILE_OF("Not Found", CM_ERR_FORMAT, "plain text"),
        FILE_OF("", CM_ERR_FORMAT, "empty"),
        FILE_OF("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", CM_ERR_FORMAT, "zeros"),
        FILE_OF("PK\3\4\0\0\0\0\10\10archive/data.pkl", CM_ERR_FORMAT, "zip archive"),
        FILE_OF("\200\2}q\0(U\5epochK\1u.", CM_ERR_FORMAT, "a pickle with no tensors by name"),
        FILE_OF("\200\2\212\nl\374\234F\371 j\250P\31.\200\2M\351", CM_ERR_FORMAT, "truncated"),
        FILE_OF("\200\4\225\20\0\0\0\0\0\0\0}\224\214\3ema", CM_ERR_FORMAT, "pickle"),
        FILE_OF("(dp0\nS'a'\np1\nI1\ns.", CM_ERR_UNSUPPORTED, "pickle"),
        FILE_OF("GGUF\3\0\0\0\0\0\0\0", CM_ERR_UNSUPPORTED, "GGUF"),
        FILE_OF("\10\7\22\7pytorch\32\0051.9.0", CM_ERR_UNSUPPORTED, "an ONNX model"),
        FILE_OF("\10\1\22\200\200\1\n\5abcdefgh", CM_ERR_UNSUPPORTED, "SavedModel"),
        FILE_OF("\0\0\30\10\1\32\2\10\1abcdefgh", CM_ERR_UNSUPPORTED, "TensorFlow checkpoint"),
        FILE_OF("model_checkpoint_path: \"model.ckpt-1\"\n", CM_ERR_UNSUPPORTED, "TensorFlow checkpoint"),
        FILE_OF("{\"weight_map\": {}}", CM_ERR_UNSUPPORTED, "shards"),
        FILE_OF("{\"_class_name\": \"UNet2DModel\", \"_diffusers_version\": \"0.20.0\"}", CM_ERR_UNSUPPORTED,
                "give the folder that it is in"),
        FILE_OF("\13\60\125\172\237\304\351\16\63\130\175\242\307\354\21\66", CM_ERR_FORMAT,
                "no kind of file that is known"),
        FILE_OF("\211HDF\r\n\032\n\0\0\0\0", CM_ERR_UNSUPPORTED, "HDF5"),
        FILE_OF("\203\246params\200", CM_ERR_FORMAT, "truncated"),
        FILE_OF("\x93NUMPY\1\0v\0{'descr'", CM_ERR_UNSUPPORTED, "NumPy"),
        FILE_OF("\x89PNG\r\n\032\n\0\0\0\rIHDR", CM_ERR_FORMAT, "PNG picture"),
        FILE_OF("\xff\xd8\xff\xe0\0\20JFIF", CM_ERR_FORMAT, "JPEG picture"),
        FILE_OF("\x1f\x8b\10\0\0\0\0\0\0\3", CM_ERR_FORMAT, "gzip"),
        FILE_OF("\x7f"
                "ELF\2\1\1\0\0\0\0\0",
                CM_ERR_FORMAT, "ELF"),
        /* Broken safetensors stay what they are. */
        FILE_OF("\377\0\0\0\0\0\0\0{\"a\":", CM_ERR_FORMAT, "truncated"),
        FILE_OF("\2\0\0\0\0\0\0\0{]", CM_ERR_FORMAT, "not valid JSON"),
    };
    cm_tensors f;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        FILE *file = fopen(in_dir("model.safetensors"), "wb");
        ck_assert_int_eq((int)fwrite(files[i].bytes, 1, files[i].size, file), (int)files[i].size);
        fclose(file);
        FAILS(cmi_tensors_open_file(context, in_dir("model.safetensors"), CM_INPUT_IN_PLACE, &f), files[i].status,
              files[i].word);
        ck_assert_ptr_nonnull(strstr(cm_last_message(), "model.safetensors"));
    }
}
END_TEST

static cm_status write_as(const char *path, int overwrite, const char *text)
{
    cm_file_writer w;
    CM_TRY(cmi_file_create(context, path, overwrite, &w));
    CM_TRY(cmi_file_write(&w, text, strlen(text)));
    return cmi_file_commit(&w);
}

static int holds(const char *path, const char *text)
{
    size_t size;
    unsigned char *data = read_bytes(path, &size);
    int same = size == strlen(text) && memcmp(data, text, size) == 0;
    free(data);
    return same;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(lstat(path, &st), 0);
    return st.st_mode;
}

/* What is there and is no regular file stays what it is. */
START_TEST(odd_outputs_are_refused)
{
    static const char *const names[] = {"pipe",    "folder",  "socket",    "null",
                                        "to-null", "to-pipe", "to-folder", "circle"};
    static const char *const words[] = {"a pipe",   "a directory", "a socket",    "a device",
                                        "a device", "a pipe",      "a directory", "circle"};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const uint8_t pixel = 7;
    ck_assert_int_eq(mkfifo(in_dir("pipe"), 0600), 0);
    ck_assert_int_eq(mkdir(in_dir("folder"), 0700), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.24s/socket", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(symlink("/dev/null", in_dir("to-null")), 0);
    ck_assert_int_eq(symlink("pipe", in_dir("to-pipe")), 0);
    ck_assert_int_eq(symlink("folder", in_dir("to-folder")), 0);
    ck_assert_int_eq(symlink("circle", in_dir("circle")), 0);
    ck_assert_int_eq(symlink("pipe", in_dir("pipe.png")), 0);
    int before = files_in_dir();
    for (int overwrite = 0; overwrite < 2; overwrite++)
        for (int i = 0; i < 8; i++) {
            char path[160];
            snprintf(path, sizeof path, "%s", strcmp(names[i], "null") ? in_dir(names[i]) : "/dev/null");
            mode_t kind = mode_of(path);
            FAILS(write_as(path, overwrite, "text"), CM_ERR_IO, words[i]);
            ck_assert_uint_eq(mode_of(path), kind);
        }
    FAILS(write_picture(NULL, in_dir("pipe.png"), 1, 1, 1, &pixel, 0, 1), CM_ERR_IO, "a pipe");
    ck_assert_int_eq(files_in_dir(), before);
    close(fd);
    /* One that comes between is found too. */
    cm_file_writer w;
    OK(cmi_file_create(context, in_dir("late"), 1, &w));
    ck_assert_int_eq(mkfifo(in_dir("late"), 0600), 0);
    FAILS(cmi_file_commit(&w), CM_ERR_IO, "a pipe");
    ck_assert(S_ISFIFO(mode_of(in_dir("late"))));
    ck_assert_int_eq(files_in_dir(), before + 1);
}
END_TEST

START_TEST(links_are_written_through)
{
    char full[160];
    ck_assert_int_eq(mkdir(in_dir("disk"), 0700), 0);
    snprintf(full, sizeof full, "%s/disk/full", dir);
    write_bytes(in_dir("disk/file"), "old", 3);
    ck_assert_int_eq(symlink("disk/file", in_dir("link")), 0);
    ck_assert_int_eq(symlink("link", in_dir("to-link")), 0);
    ck_assert_int_eq(symlink(full, in_dir("nowhere")), 0);
    int before = files_in_dir();
    FAILS(write_as(in_dir("link"), 0, "new"), CM_ERR_IO, "exists");
    ck_assert(holds(in_dir("disk/file"), "old"));
    OK(write_as(in_dir("to-link"), 1, "new"));
    ck_assert(holds(in_dir("disk/file"), "new"));
    ck_assert(S_ISLNK(mode_of(in_dir("to-link"))) && S_ISLNK(mode_of(in_dir("link"))));
    ck_assert(S_ISREG(mode_of(in_dir("disk/file"))));
    OK(write_as(in_dir("nowhere"), 0, "first")); /* nothing is there to be lost */
    ck_assert(S_ISLNK(mode_of(in_dir("nowhere"))) && holds(full, "first"));
    FAILS(write_as(in_dir("nowhere"), 0, "second"), CM_ERR_IO, "exists");
    ck_assert_int_eq(files_in_dir(), before);
    cm_file_writer w; /* given up: both as they were */
    OK(cmi_file_create(context, in_dir("link"), 1, &w));
    OK(cmi_file_write(&w, "half", 4));
    cmi_file_abort(&w);
    ck_assert(holds(in_dir("link"), "new"));
    ck_assert_int_eq(symlink("no/such/folder/file", in_dir("lost")), 0);
    FAILS(write_as(in_dir("lost"), 1, "text"), CM_ERR_IO, "No such file");
}
END_TEST

START_TEST(permissions_stay)
{
    static const mode_t modes[] = {0600, 0640, 0444, 0666, 0755};
    mode_t mask = umask(022);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        write_bytes(in_dir("file"), "old", 3);
        ck_assert_int_eq(chmod(in_dir("file"), modes[i]), 0);
        OK(write_as(in_dir("file"), 1, "new"));
        ck_assert_uint_eq(mode_of(in_dir("file")) & 07777, modes[i]);
        ck_assert(holds(in_dir("file"), "new"));
        ck_assert_int_eq(unlink(in_dir("file")), 0);
    }
    OK(write_as(in_dir("fresh"), 1, "new"));
    ck_assert_uint_eq(mode_of(in_dir("fresh")) & 07777, 0644);
    umask(mask);
}
END_TEST

/* The disk is full after 64 KiB. */
START_TEST(full_disk)
{
    static char block[1 << 20];
    struct rlimit small, before;
    cm_file_writer w;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 65536;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    OK(cmi_file_create(context, in_dir("big"), 0, &w));
    FAILS(cmi_file_write(&w, block, sizeof block), CM_ERR_IO, "big");
    cmi_file_abort(&w);
    ck_assert_int_eq(files_in_dir(), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
}
END_TEST

START_TEST(safetensors_round_trip)
{
    static const float values[6] = {0, 1, 2, 3, -4, 5.5f};
    static const unsigned char bytes[3] = {7, 8, 9};
    cm_tensor t[3] = {{"b\"\\\n\xc3\xa9", CM_TENSOR_F32, 2, {2, 3}, 6, 24, (const unsigned char *)values, 0, NULL},
                      {"empty", CM_TENSOR_F32, 2, {0, 4}, 0, 0, (const unsigned char *)values, 0, NULL},
                      {"u8", CM_TENSOR_U8, 1, {3}, 3, 3, bytes, 0, NULL}};
    cm_tensors st;
    json_t *metadata = json_pack("{s:s}", "key", "value");
    OK(cmi_safetensors_write(context, in_dir("t"), 0, metadata, t, 3, NULL));
    json_decref(metadata);
    OK(cmi_tensors_open_file(context, in_dir("t"), CM_INPUT_IN_PLACE, &st));
    ck_assert_uint_eq(st.count, 3);
    ck_assert_str_eq(cmi_tensors_metadata(&st, "key"), "value");
    const cm_tensor *b = cmi_tensors_find(&st, t[0].name);
    ck_assert(b && b->rank == 2 && b->shape[1] == 3 && memcmp(b->data, values, 24) == 0);
    ck_assert_uint_eq((size_t)(b->data - st.input.mapping.data) % 8, 0);
    ck_assert(cmi_tensors_find(&st, "u8")->data[2] == 9);
    ck_assert_ptr_null(cmi_tensors_find(&st, "nothing"));
    cmi_tensors_close(&st);
}
END_TEST

/* header text, then what the message has to say */
START_TEST(safetensors_refusals)
{
    static const struct {
        const char *header;
        size_t data;
        cm_status status;
        const char *word;
    } rows[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT, "need 8 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, CM_ERR_FORMAT, "trailing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, CM_ERR_FORMAT, "hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT, "integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT, "integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, CM_ERR_FORMAT,
         "overflow"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, CM_ERR_UNSUPPORTED, "F33"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, CM_ERR_LIMIT, "rank"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, CM_ERR_FORMAT,
         "unknown member"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT, "shape"},
        {"{\"a\":[]}", 0, CM_ERR_FORMAT, "object"},
        {"{\"__metadata__\":{\"k\":1}}", 0, CM_ERR_FORMAT, "string"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_offsets\":[4,8]}}",
         8, CM_ERR_FORMAT, "twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT,
         "twice"},
        {"{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0, CM_ERR_FORMAT, "twice"},
        {"{\"__metadata__\":{\"k\":\"\\ud800\"}}", 0, CM_ERR_FORMAT, "surrogate"},
        {"{\"__metadata__\":{\"k\":\"\\u0000\"}}", 0, CM_ERR_FORMAT, "NUL"},
        {"{\"__metadata__\":{\"k\":\"\xc0\x80\"}}", 0, CM_ERR_FORMAT, "UTF-8"},
        {"{\"__metadata__\":{\"k\":\"\n\"}}", 0, CM_ERR_FORMAT, "control"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT,
         "integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},}", 4, CM_ERR_FORMAT, "JSON"},
        {"{} x", 0, CM_ERR_FORMAT, "JSON"},
        {"{", 0, CM_ERR_FORMAT, "JSON"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char file[1024] = {0};
        size_t n = strlen(rows[i].header);
        cm_tensors st;
        file[0] = (unsigned char)n, file[1] = (unsigned char)(n >> 8);
        memcpy(file + 8, rows[i].header, n);
        FAILS(open_bytes(context, "file", file, 8 + n + rows[i].data, &st), rows[i].status, rows[i].word);
    }
}
END_TEST

/* Headers of some megabytes that are no model's: refused at the first thing too many, in the memory the header
 * promises. */
static char *repeat(const char *before, const char *piece, size_t bytes, size_t *length)
{
    size_t at = strlen(before), n = strlen(piece);
    char *text = malloc(bytes + 64);
    memcpy(text, before, at);
    while (at + n < bytes) memcpy(text + at, piece, n), at += n;
    *length = at;
    return text;
}

START_TEST(large_headers)
{
    static const struct {
        const char *before, *piece;
        cm_status status;
        const char *word;
    } rows[] = {
        {"{\"a\":", "{},", CM_ERR_FORMAT, "dtype"},
        {"{\"a\":", "[", CM_ERR_FORMAT, "object"},
        {"{", "\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},", CM_ERR_LIMIT, "tensors"},
        {"{\"__metadata__\":{", "\"k\":\"\",", CM_ERR_LIMIT, "entries"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[", "1,", CM_ERR_LIMIT, "rank"},
        {"{\"", "a", CM_ERR_FORMAT, "without its end"},
        {"{\"__metadata__\":{\"k\":\"", "\\u00e9", CM_ERR_FORMAT, "without its end"},
        {"{", " ", CM_ERR_FORMAT, "JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0", "0", CM_ERR_FORMAT, "integers"},
    };
    enum { SIZE = 12 << 20 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memory m;
        cm_context *counted;
        cm_tensors st;
        size_t n;
        memory_reset(&m);
        cm_context_options o = memory_options(&m, 1);
        OK(cm_context_create(&o, &counted));
        char *text = repeat(rows[i].before, rows[i].piece, SIZE, &n), *file = malloc(n + 8);
        for (int k = 0; k < 8; k++) file[k] = (char)((uint64_t)n >> (8 * k));
        memcpy(file + 8, text, n);
        double begin = (double)clock();
        FAILS(open_bytes(counted, "file", file, n + 8, &st), rows[i].status, rows[i].word);
        ck_assert_msg((double)clock() - begin < 3.0 * CLOCKS_PER_SEC, "row %zu takes too long", i);
        ck_assert_msg(m.peak < (long long)n + (20 << 20), "row %zu: %lld bytes for a header of %zu", i, m.peak, n);
        cm_context_free(counted);
        free(text);
        free(file);
    }
}
END_TEST

/* Texts that become trees are bounded before they do; a lack of memory is no fault of the text. */
START_TEST(bounded_trees)
{
    json_t *tree;
    size_t n;
    char *text = repeat("[", "{},", 1 << 20, &n);
    FAILS(cmi_json_tree("config", text, n, &tree), CM_ERR_LIMIT, "values");
    free(text);
    text = repeat("", "[", 65, &n);
    FAILS(cmi_json_tree("config", text, n, &tree), CM_ERR_FORMAT, "JSON");
    free(text);
    text = repeat("", "[", 100, &n);
    FAILS(cmi_json_tree("config", text, n, &tree), CM_ERR_LIMIT, "nested");
    free(text);
    text = repeat("\"", "[", CM_JSON_TEXT + 2, &n);
    FAILS(cmi_json_tree("config", text, n, &tree), CM_ERR_LIMIT, "bytes");
    free(text);
    OK(cmi_json_tree("config", "{\"a\\\"[\": [1, \"]\"]}", strlen("{\"a\\\"[\": [1, \"]\"]}"), &tree));
    json_decref(tree);
    FAILS(cmi_json_tree("config", "{\"a\":1,\"a\":2}", 13, &tree), CM_ERR_FORMAT, "config");
}
END_TEST

/* n elements in `depth` lists, with white space up to `size` bytes. */
static cm_status tree_of(size_t n, int depth, size_t size)
{
    json_t *tree = NULL;
    const size_t most = 2 * (n + (size_t)depth) + size + 2;
    size_t at = 0;
    char *text = malloc(most);
    for (int i = 0; i < depth; i++) text[at++] = '[';
    for (size_t i = 0; i < n; i++) text[at++] = '1', text[at++] = i + 1 < n ? ',' : ' ';
    for (int i = 0; i < depth; i++) text[at++] = ']';
    while (at < size) text[at++] = ' ';
    const cm_status status = cmi_json_tree("config", text, at, &tree);
    json_decref(tree);
    free(text);
    return status;
}

/* The most that a tree may be, and one more of each. */
START_TEST(largest_trees)
{
    OK(tree_of(CM_JSON_VALUES - 1, 1, 0)); /* the list is one, too */
    FAILS(tree_of(CM_JSON_VALUES, 1, 0), CM_ERR_LIMIT, "values");
    OK(tree_of(1, CM_JSON_LEVELS, 0));
    FAILS(tree_of(1, CM_JSON_LEVELS + 1, 0), CM_ERR_LIMIT, "nested");
    OK(tree_of(1, 1, CM_JSON_TEXT));
    FAILS(tree_of(1, 1, CM_JSON_TEXT + 1), CM_ERR_LIMIT, "bytes");
}
END_TEST

/* What lies in the mapping of a file, to its last byte, and what does not. */
START_TEST(places_of_a_mapping)
{
    cm_input in;
    const unsigned char *held;
    unsigned char other[64] = {0};
    cm_file_writer w;
    OK(cmi_file_create(context, in_dir("mapped"), 0, &w));
    OK(cmi_file_write(&w, other, sizeof other));
    OK(cmi_file_commit(&w));
    OK(cmi_input_file(context, in_dir("mapped"), CM_INPUT_IN_PLACE, &in));
    ck_assert(!cmi_input_is_mapped(&in, other));
    OK(cmi_input_hold(&in, 0, &held));
    ck_assert(cmi_input_is_mapped(&in, held));
    ck_assert(cmi_input_is_mapped(&in, held + sizeof other - 1));
    ck_assert(!cmi_input_is_mapped(&in, held - 1));
    ck_assert(!cmi_input_is_mapped(&in, held + sizeof other + 1));
    ck_assert(!cmi_input_is_mapped(&in, other));
    cmi_input_close(&in);
}
END_TEST

/* jansson's memory: request number fail_at is refused, or all from there on. */
static struct {
    long seen, fail_at, live;
    int persistent;
} tree_memory;

static void *tree_alloc(size_t size)
{
    const long n = ++tree_memory.seen;
    if (tree_memory.fail_at && (tree_memory.persistent ? n >= tree_memory.fail_at : n == tree_memory.fail_at))
        return NULL;
    tree_memory.live++;
    return malloc(size);
}

static void tree_free(void *p)
{
    tree_memory.live -= p != NULL;
    free(p);
}

static void refuse_from(long n, int persistent)
{
    tree_memory.seen = 0, tree_memory.fail_at = n, tree_memory.persistent = persistent;
}

/* Without memory a text is still JSON, and what is printed or copied is whole or not there. */
START_TEST(trees_without_memory)
{
    static const char text[] =
        "{\"name\": \"a \\u00e9 text that is longer than the first buffer\", \"list\": [1, 2.5, "
        "-3e2, true, null], \"object\": {\"within\": [[], {}]}, \"more\": false}";
    json_t *whole, *tree;
    json_set_alloc_funcs(tree_alloc, tree_free);
    OK(cmi_json_tree("config", text, strlen(text), &whole));
    char *printed = cmi_json_print(whole, JSON_COMPACT);
    ck_assert_ptr_nonnull(printed);
    const long live = tree_memory.live;
    for (int persistent = 0; persistent < 2; persistent++) {
        long n = 1;
        for (cm_status status = CM_ERR_MEMORY; status != CM_OK; n++) {
            refuse_from(n, persistent);
            status = cmi_json_tree("config", text, strlen(text), &tree);
            if (status == CM_OK) ck_assert(json_equal(tree, whole));
            else FAILS(status, CM_ERR_MEMORY, "out of memory: the JSON of config");
            if (status == CM_OK) json_decref(tree);
            ck_assert_int_eq(tree_memory.live, live);
        }
        ck_assert_int_gt(n, 20);
        for (int done = 0; !done; n++) {
            refuse_from(n % 200 + 1, persistent);
            json_t *copy = cmi_json_copy(whole);
            char *again = cmi_json_print(whole, JSON_COMPACT);
            ck_assert(!copy || json_equal(copy, whole));
            ck_assert(!again || strcmp(again, printed) == 0);
            done = n > 400;
            json_decref(copy);
            free(again);
            ck_assert_int_eq(tree_memory.live, live);
        }
    }
    refuse_from(0, 0);
    json_decref(whole);
    free(printed);
    json_set_alloc_funcs(malloc, free);
}
END_TEST

/* What is JSON, and what a tree's numbers may be. */
START_TEST(trees_of_texts)
{
    static const struct {
        const char *text, *word; /* NULL: it is read */
    } rows[] = {{"[0, -0, 1e2, 1.5E-3, 9223372036854775807, -9223372036854775808]", NULL},
                {" { } ", NULL},
                {"[\"\\ud83d\\ude00\"]", NULL},
                {"[9223372036854775808]", "too large"},
                {"[1e999]", "too large"},
                {"[01]", "expected"},
                {"[1.]", "digit"},
                {"[.5]", "value"},
                {"[+1]", "value"},
                {"[1e]", "digit"},
                {"[nul]", "value"},
                {"[tru]", "value"},
                {"[NaN]", "value"},
                {"[Infinity]", "value"},
                {"1", "expected"},
                {"\"a\"", "expected"},
                {"", "expected"},
                {"[1,]", "value"},
                {"[1 2]", "']'"},
                {"[", "value"},
                {"{\"a\"}", "':'"},
                {"{\"a\":1,}", "string"},
                {"{\"a\":1,\"a\":2}", "twice"},
                {"{\"a\":1]", "'}'"},
                {"[1]]", "follows"},
                {"[\"\\ud83d\"]", "surrogate"},
                {"[\"\\u0000\"]", "NUL"},
                {"[\"\xff\"]", "UTF-8"},
                {"[\"\t\"]", "control"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *tree = NULL;
        const cm_status status = cmi_json_tree("config", rows[i].text, strlen(rows[i].text), &tree);
        if (!rows[i].word) ck_assert_msg(status == CM_OK && tree, "%s: %s", rows[i].text, cm_last_message());
        else {
            ck_assert_msg(status == CM_ERR_FORMAT && strstr(cm_last_message(), rows[i].word), "%s: %s", rows[i].text,
                          cm_last_message());
            ck_assert_ptr_null(tree);
        }
        json_decref(tree);
    }
    char number[500];
    for (int length = 399; length <= 400; length++) { /* the longest, and one more */
        json_t *tree = NULL;
        snprintf(number, sizeof number, "[0.%0*d1]", length - 3, 0);
        const cm_status status = cmi_json_tree("config", number, strlen(number), &tree);
        if (length < 400) OK(status);
        else FAILS(status, CM_ERR_FORMAT, "400 characters");
        json_decref(tree);
    }
}
END_TEST

/* Every way to the bytes gives the same, and copies do not mind what becomes of the file. */
START_TEST(safetensors_without_mapping)
{
    static float values[20000], back[20000];
    for (int i = 0; i < 20000; i++) values[i] = (float)i;
    const cm_tensor t = {"x", CM_TENSOR_F32, 1, {20000}, 20000, sizeof values, (const unsigned char *)values,
                         0,   NULL};
    cm_tensors copied, fetched;
    OK(cmi_safetensors_write(context, in_dir("t"), 0, NULL, &t, 1, NULL));
    OK(cmi_tensors_open_file(context, in_dir("t"), CM_INPUT_COPIED, &copied));
    OK(cmi_tensors_open_file(context, in_dir("t"), CM_INPUT_FETCHED, &fetched));
    OK(cmi_tensor_fetch(&fetched.tensors[0], back));
    ck_assert_int_eq(memcmp(back, values, sizeof values), 0);
    ck_assert_int_eq(truncate(in_dir("t"), 100), 0);
    ck_assert_int_eq(memcmp(copied.tensors[0].data, values, sizeof values), 0);
    FAILS(cmi_tensor_fetch(&fetched.tensors[0], back), CM_ERR_IO, "cut short");
    FAILS(cmi_tensors_open_file(context, in_dir("t"), CM_INPUT_IN_PLACE, &(cm_tensors){0}), CM_ERR_FORMAT,
          "data_offsets");
    cmi_tensors_close(&copied);
    cmi_tensors_close(&fetched);
}
END_TEST

/* One NaN or infinity anywhere among values of any type, at any address; the largest number is none. */
START_TEST(finite_values)
{
    static const struct {
        cm_tensor_type type;
        size_t bytes;
        uint32_t largest, special[4];
    } types[3] = {{CM_TENSOR_F32, 4, 0x7f7fffff, {0x7f800000, 0xff800000, 0x7fc00000, 0xff800001}},
                  {CM_TENSOR_BF16, 2, 0xff7f, {0x7f80, 0xff80, 0x7fc0, 0xff81}},
                  {CM_TENSOR_F16, 2, 0xfbff, {0x7c00, 0xfc00, 0x7e00, 0xfc01}}};
    enum { MOST = 70 };
    unsigned char data[4 * MOST + 1];
    for (size_t t = 0; t < 3; t++)
        for (size_t n = 0; n < MOST; n++) {
            const cm_tensor tensor = {.type = types[t].type, .count = n, .data = data + 1};
            const cm_param_source source = {.user = &tensor};
            for (size_t i = 0; i < n; i++) memcpy(data + 1 + i * types[t].bytes, &types[t].largest, types[t].bytes);
            int finite;
            OK(cmi_checkpoint_finite(&source, &finite));
            ck_assert_msg(finite, "type %zu, %zu values", t, n);
            for (size_t i = 0; i < n; i++) {
                memcpy(data + 1 + i * types[t].bytes, &types[t].special[i % 4], types[t].bytes);
                OK(cmi_checkpoint_finite(&source, &finite));
                ck_assert_msg(!finite, "type %zu, %zu values: [%zu] was not seen", t, n, i);
                memcpy(data + 1 + i * types[t].bytes, &types[t].largest, types[t].bytes);
            }
        }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("io");
    TCase *t = tcase_create("io");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, whole_or_nothing);
    tcase_add_test(t, long_names);
    tcase_add_test(t, closed_descriptors);
    tcase_add_test(t, foreign_files);
    tcase_add_test(t, odd_outputs_are_refused);
    tcase_add_test(t, links_are_written_through);
    tcase_add_test(t, permissions_stay);
    tcase_add_test(t, full_disk);
    tcase_add_test(t, safetensors_round_trip);
    tcase_add_test(t, safetensors_refusals);
    tcase_add_test(t, large_headers);
    tcase_add_test(t, bounded_trees);
    tcase_add_test(t, largest_trees);
    tcase_add_test(t, places_of_a_mapping);
    tcase_add_test(t, trees_without_memory);
    tcase_add_test(t, trees_of_texts);
    tcase_add_test(t, safetensors_without_mapping);
    tcase_add_test(t, finite_values);
    suite_add_tcase(s, t);
    return s;
}
