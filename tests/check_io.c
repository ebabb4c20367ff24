/* Files that appear whole or not at all, safetensors both ways, pictures. */
#include "support/files.h"
#include "support/suite.h"
#include "support/tensors.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include "io/directory.h"
#include "io/json_tree.h"
#include "io/picture.h"
#include "io/safetensors.h"
#include "nets/checkpoint.h"
#include "support/memory.h"
#include "support/pictures.h"

static char dir[32];
static cm_context *context;

static void setup(void)
{
    strcpy(dir, "/tmp/cm-io-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    OK(cm_context_create(NULL, &context));
}

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int files_in_dir(void)
{
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void teardown(void)
{
    char command[128];
    cm_context_free(context);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

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

static uint8_t *noise_picture(int h, int w, int c)
{
    uint64_t seed = seeded(9);
    uint8_t *p = malloc((size_t)(h * w * c));
    for (int i = 0; i < h * w * c; i++) p[i] = (uint8_t)(random_int(&seed, 0, 30) + i % 200);
    return p;
}

START_TEST(png_both_ways)
{
    static const int shapes[4][3] = {{1, 1, 1}, {3, 5, 3}, {17, 2, 1}, {40, 33, 3}};
    for (int i = 0; i < 4; i++) {
        int32_t h = shapes[i][0], w = shapes[i][1], c = shapes[i][2], rc = 0, rh, rw;
        uint8_t *p = noise_picture(h, w, c), *q;
        OK(write_picture(context, in_dir("p.png"), c, h, w, p, 0, 1));
        OK(read_picture(context, in_dir("p.png"), &rc, &rh, &rw, &q));
        ck_assert(rc == c && rh == h && rw == w && memcmp(p, q, (size_t)(h * w * c)) == 0);
        free_pixels(context, q);
        free(p);
    }
}
END_TEST

START_TEST(jpeg_both_ways)
{
    int32_t c = 0, h, w;
    uint8_t p[32 * 32 * 3], *q;
    for (int i = 0; i < 32 * 32; i++)
        p[3 * i] = (uint8_t)(8 * (i % 32)), p[3 * i + 1] = (uint8_t)(i / 4), p[3 * i + 2] = 100;
    OK(write_picture(context, in_dir("p.jpg"), 3, 32, 32, p, 0, 0));
    FAILS(write_picture(context, in_dir("p.jpg"), 3, 32, 32, p, 90, 0), CM_ERR_IO, "exists");
    OK(read_picture(context, in_dir("p.jpg"), &c, &h, &w, &q));
    ck_assert(c == 3 && h == 32 && w == 32);
    for (int i = 0; i < 32 * 32 * 3; i++) ck_assert_int_le(abs(p[i] - q[i]), 24);
    free_pixels(context, q);
    c = 1;
    OK(read_picture(context, in_dir("p.jpg"), &c, &h, &w, &q));
    free_pixels(context, q);
}
END_TEST

/* Cut at every byte and with flipped bits: a picture or an error, never more. */
START_TEST(damaged_pictures)
{
    static const char *const names[2] = {"d.png", "d.jpg"};
    uint8_t *p = noise_picture(20, 20, 3);
    for (int kind = 0; kind < 2; kind++) {
        unsigned char *bytes;
        size_t size;
        cm_picture out;
        OK(write_picture(context, in_dir(names[kind]), 3, 20, 20, p, 0, 1));
        OK(cmi_file_read(context, in_dir(names[kind]), 1 << 20, &bytes, &size));
        unsigned char *copy = malloc(size);
        memcpy(copy, bytes, size);
        for (size_t n = 0; n < size; n++) {
            cm_status s = kind ? cmi_jpeg_read(context, "cut", copy, n, 0, &out)
                               : cmi_png_read(context, "cut", copy, n, 0, &out);
            ck_assert_msg(s != CM_OK || n + 2 >= size || (kind == 0 && n + 12 > size),
                          "%s cut at %zu of %zu was read", names[kind], n, size);
            if (s == CM_OK) cmi_free(context, out.pixels);
        }
        for (size_t i = 0; i < 3000; i++) {
            size_t at = i * 7919 % size;
            copy[at] ^= (unsigned char)(1 << i % 8);
            cm_status s = kind ? cmi_jpeg_read(context, "flip", copy, size, 0, &out)
                               : cmi_png_read(context, "flip", copy, size, 0, &out);
            if (s == CM_OK) cmi_free(context, out.pixels);
            copy[at] = bytes[at];
        }
        free(copy);
        cmi_free(context, bytes);
    }
    free(p);
}
END_TEST

START_TEST(hostile_pictures)
{
    /* IHDR of 65,536 x 65,536 and a JPEG header of 65,500 x 65,500 */
    unsigned char png[] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0,
                           1,    0,   0,   0,   1,  0,  0,  8,  2, 0, 0, 0,  0,   0,   0,   0};
    unsigned char jpg[] = {0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0xff, 0xdc, 0xff, 0xdc, 1, 1,
                           0x11, 0,    0xff, 0xda, 0, 8,  1, 1,    0,    0,    63,   0};
    cm_picture out;
    ck_assert_int_ne(cmi_png_read(context, "huge.png", png, sizeof png, 0, &out), CM_OK);
    ck_assert(strstr(cm_last_message(), "huge.png") != NULL);
    FAILS(cmi_jpeg_read(context, "huge.jpg", jpg, sizeof jpg, 0, &out), CM_ERR_LIMIT, "65500");
    jpg[7] = 0, jpg[9] = 9; /* 220 x 2524 pixels: within the limits, but not in 25 bytes */
    FAILS(cmi_jpeg_read(context, "big.jpg", jpg, sizeof jpg, 0, &out), CM_ERR_FORMAT, "cannot hold");
    int32_t c = 0, h, w;
    uint8_t *q;
    FAILS(read_picture(context, "Makefile", &c, &h, &w, &q), CM_ERR_FORMAT, "neither");
    FAILS(read_picture(context, in_dir("none.png"), &c, &h, &w, &q), CM_ERR_IO, "none.png");
}
END_TEST

/* --- pictures as cameras and drawing programs store them ------------------------------ */

enum { WIDE = 11, HIGH = 9 };

/* What a sample of `depth` bits is in eight. */
static uint8_t in_eight(unsigned sample, int depth)
{
    return (uint8_t)(depth == 16 ? sample >> 8 : depth == 8 ? sample : sample * 255 / ((1u << depth) - 1));
}

static unsigned sample_at(int i, int depth)
{
    return (unsigned)(i * 2503 + 77) % (1u << depth);
}

/* A gray picture in PNG's way `type` and `depth`; with tRNS sample 0 (entry 0) is transparent; the alpha of a
 * pixel is its number.  Returns the bytes. */
static unsigned char *gray_png(int type, int depth, int interlaced, int trns, size_t *size)
{
    char *bytes = NULL;
    FILE *f = open_memstream(&bytes, size);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, f);
    png_set_IHDR(png, info, WIDE, HIGH, depth, type, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_color palette[256];
        const png_byte clear[1] = {0};
        for (int k = 0; k < 256; k++) palette[k].red = palette[k].green = palette[k].blue = (png_byte)(k * 17);
        png_set_PLTE(png, info, palette, 1 << depth);
        if (trns) png_set_tRNS(png, info, clear, 1, NULL);
    } else if (trns) {
        const png_color_16 clear = {0, 0, 0, 0, 0};
        png_set_tRNS(png, info, NULL, 0, &clear);
    }
    png_write_info(png, info);
    unsigned char rows[HIGH][WIDE * 8] = {{0}}, *pointers[HIGH];
    int channels = type == PNG_COLOR_TYPE_RGB          ? 3
                   : type == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
                   : type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                       : 1;
    for (int i = 0; i < WIDE * HIGH; i++)
        for (int k = 0; k < channels; k++) {
            unsigned v = channels % 2 == 0 && k == channels - 1 ? (unsigned)i << (depth - 8) : sample_at(i, depth);
            size_t bit = (size_t)((i % WIDE * channels + k) * depth);
            unsigned char *at = rows[i / WIDE] + bit / 8;
            if (depth == 16) at[0] = (unsigned char)(v >> 8), at[1] = (unsigned char)v;
            else *at = (unsigned char)(*at | v << (8 - depth - (int)(bit % 8)));
        }
    for (int y = 0; y < HIGH; y++) pointers[y] = rows[y];
    png_write_image(png, pointers);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(f);
    return (unsigned char *)bytes;
}

/* Every kind of PNG that holds a gray picture gives it in 1 to 4 channels: values, and alpha where it is asked for.
 */
START_TEST(png_kinds)
{
    static const struct {
        int type, depth, trns;
    } kinds[] = {
        {PNG_COLOR_TYPE_GRAY, 1, 0},       {PNG_COLOR_TYPE_GRAY, 2, 0},        {PNG_COLOR_TYPE_GRAY, 4, 1},
        {PNG_COLOR_TYPE_GRAY, 8, 0},       {PNG_COLOR_TYPE_GRAY, 8, 1},        {PNG_COLOR_TYPE_GRAY, 16, 0},
        {PNG_COLOR_TYPE_GRAY, 1, 1},       {PNG_COLOR_TYPE_PALETTE, 1, 0},     {PNG_COLOR_TYPE_PALETTE, 4, 0},
        {PNG_COLOR_TYPE_PALETTE, 2, 1},    {PNG_COLOR_TYPE_PALETTE, 8, 1},     {PNG_COLOR_TYPE_PALETTE, 8, 0},
        {PNG_COLOR_TYPE_RGB, 8, 0},        {PNG_COLOR_TYPE_RGB, 16, 0},        {PNG_COLOR_TYPE_RGB, 8, 1},
        {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 0}, {PNG_COLOR_TYPE_GRAY_ALPHA, 16, 0}, {PNG_COLOR_TYPE_RGB_ALPHA, 8, 0},
        {PNG_COLOR_TYPE_RGB_ALPHA, 16, 0}, {PNG_COLOR_TYPE_RGB, 16, 1}};
    for (size_t k = 0; k < 2 * sizeof kinds / sizeof *kinds; k++) {
        int type = kinds[k / 2].type, depth = kinds[k / 2].depth, trns = kinds[k / 2].trns;
        size_t size;
        unsigned char *bytes = gray_png(type, depth, (int)(k % 2), trns, &size);
        for (int channels = 0; channels <= 4; channels++) {
            cm_picture p;
            OK(cmi_picture_read(context, "kind", bytes, size, channels, &p));
            ck_assert_int_eq(p.channels, channels ? channels : type & PNG_COLOR_MASK_COLOR ? 3 : 1);
            for (int i = 0; i < WIDE * HIGH; i++) {
                unsigned s = sample_at(i, depth);
                int c = p.channels, has_alpha = type & PNG_COLOR_MASK_ALPHA;
                uint8_t want = type == PNG_COLOR_TYPE_PALETTE ? (uint8_t)(s * 17) : in_eight(s, depth);
                uint8_t alpha = (uint8_t)(has_alpha ? i : trns && s == 0 ? 0 : 255);
                for (int n = 0; n < c; n++) {
                    int got = p.pixels[i * c + n], is_alpha = c % 2 == 0 && n == c - 1;
                    ck_assert_msg(got == (is_alpha ? alpha : want),
                                  "kind %zu, %d channels, pixel %d: [%d] is %d, not %d", k, channels, i, n, got,
                                  is_alpha ? alpha : want);
                }
            }
            cmi_free(context, p.pixels);
        }
        free(bytes);
    }
}
END_TEST

/* Colours asked for as gray: one rule for both formats. */
START_TEST(colours_as_gray)
{
    static const uint8_t colours[6][3] = {{255, 0, 0},   {0, 255, 0},   {0, 0, 255},
                                          {255, 255, 0}, {12, 200, 99}, {77, 77, 77}};
    uint8_t page[8 * 48 * 3];
    for (int i = 0; i < 8 * 48; i++) memcpy(page + 3 * i, colours[i % 48 / 8], 3);
    OK(write_picture(context, in_dir("c.png"), 3, 8, 48, page, 0, 1));
    OK(write_picture(context, in_dir("c.jpg"), 3, 8, 48, page, 100, 1));
    for (int kind = 0; kind < 2; kind++) {
        int32_t c = 1, h, w;
        uint8_t *q;
        OK(read_picture(context, in_dir(kind ? "c.jpg" : "c.png"), &c, &h, &w, &q));
        ck_assert(c == 1 && h == 8 && w == 48);
        for (int i = 0; i < 6; i++) {
            double luma = 0.299 * colours[i][0] + 0.587 * colours[i][1] + 0.114 * colours[i][2];
            ck_assert_msg(abs(q[8 * i + 4] - (int)(luma + 0.5)) <= (kind ? 2 : 0), "file %d, colour %d: %d for %g",
                          kind, i, q[8 * i + 4], luma);
        }
        free_pixels(context, q);
        c = 2;
        OK(read_picture(context, in_dir(kind ? "c.jpg" : "c.png"), &c, &h, &w, &q));
        ck_assert(c == 2 && q[1] == 255 && abs(q[2 * 44] - 77) <= kind);
        free_pixels(context, q);
    }
}
END_TEST

/* --- EXIF -------------------------------------------------------------------------------- */

/* Six bytes and a TIFF of one entry; returns its length. */
static size_t make_exif(unsigned char *out, int little, int value)
{
    static const unsigned char big[] = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0";
    static const unsigned char small[] = "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0";
    memcpy(out, little ? small : big, 32);
    out[little ? 24 : 25] = (unsigned char)value;
    return 32;
}

/* The file with `piece` put in at byte `at`. */
static unsigned char *put_in(const unsigned char *file, size_t size, size_t at, const unsigned char *piece, size_t n)
{
    unsigned char *out = malloc(size + n);
    memcpy(out, file, at);
    memcpy(out + at, piece, n);
    memcpy(out + at + n, file + at, size - at);
    return out;
}

static size_t jpeg_segment(unsigned char *out, const unsigned char *exif, size_t n)
{
    out[0] = 0xff, out[1] = 0xe1, out[2] = (unsigned char)((n + 2) >> 8), out[3] = (unsigned char)(n + 2);
    memcpy(out + 4, exif, n);
    return n + 4;
}

static void put32(unsigned char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* eXIf has no "Exif\0\0" before the TIFF. */
static size_t png_chunk(unsigned char *out, const unsigned char *exif, size_t n)
{
    put32(out, (uint32_t)(n - 6));
    memcpy(out + 4, "eXIf", 4);
    memcpy(out + 8, exif + 6, n - 6);
    put32(out + 8 + n - 6, (uint32_t)crc32(0, out + 4, (uInt)(n - 2)));
    return n + 6;
}

static int kind_of(const unsigned char *file, size_t size)
{
    return cmi_picture_orientation(file, size);
}

START_TEST(exif_turns)
{
    /* a b c over d e f */
    static const char *const turned[9] = {NULL,     "abcdef", "cbafed", "fedcba", "defabc",
                                          "adbecf", "daebfc", "fcebda", "cfbead"};
    unsigned char exif[64], piece[80], block[48 * 32 * 3];
    size_t png_size, jpg_size;
    OK(write_picture(context, in_dir("e.png"), 1, 2, 3, (const uint8_t *)"abcdef", 0, 1));
    for (int i = 0; i < 48 * 32; i++)
        memset(block + 3 * i, "\x10\x38\x60\x90\xb8\xe0"[i / 48 / 16 * 3 + i % 48 / 16], 3);
    OK(write_picture(context, in_dir("e.jpg"), 3, 32, 48, block, 100, 1));
    unsigned char *png = read_bytes(in_dir("e.png"), &png_size), *jpg = read_bytes(in_dir("e.jpg"), &jpg_size);
    for (int k = 0; k < 16; k++) {
        int value = k / 2 + 1, across = value >= 5;
        size_t n = make_exif(exif, k % 2, value), m = png_chunk(piece, exif, n);
        for (int place = 0; place < 2; place++) { /* behind IHDR, before IEND */
            cm_picture p;
            unsigned char *file = put_in(png, png_size, place ? png_size - 12 : 33, piece, m);
            OK(cmi_picture_read(context, "e", file, png_size + m, 0, &p));
            ck_assert(p.height == (across ? 3 : 2) && p.width == (across ? 2 : 3) && p.channels == 1);
            ck_assert_msg(memcmp(p.pixels, turned[value], 6) == 0, "PNG, orientation %d: %.6s", value,
                          (char *)p.pixels);
            cmi_free(context, p.pixels);
            free(file);
        }
        m = jpeg_segment(piece, exif, n);
        unsigned char *file = put_in(jpg, jpg_size, k % 2 ? 2 : 20, piece, m); /* before or behind APP0 */
        write_bytes(in_dir("t.jpg"), file, jpg_size + m);
        int32_t c = k % 3, h, w; /* kept, gray, gray with alpha */
        uint8_t *q;
        OK(read_picture(context, in_dir("t.jpg"), &c, &h, &w, &q));
        ck_assert(h == (across ? 48 : 32) && w == (across ? 32 : 48));
        for (int i = 0; i < 6; i++) {
            int columns = w / 16, got = q[((i / columns * 16 + 8) * w + i % columns * 16 + 8) * c];
            ck_assert_msg(abs(got - (unsigned char)"\x10\x38\x60\x90\xb8\xe0"[turned[value][i] - 'a']) <= 2,
                          "JPEG, orientation %d, block %d: %d", value, i, got);
        }
        free_pixels(context, q);
        free(file);
    }
    free(png), free(jpg);
}
END_TEST

/* What is damaged is as if it were not there, and the picture is still read. */
START_TEST(damaged_exif)
{
    static const struct {
        size_t at;
        unsigned char value;
    } damages[] = {{0, 'X'}, {6, 'I'}, {8, 1},     {10, 0xff}, {13, 33},   {13, 0xff}, {14, 1}, {15, 2},
                   {15, 0},  {16, 2},  {17, 0x13}, {19, 4},    {19, 2},    {23, 2},    {23, 0}, {25, 0},
                   {25, 9},  {24, 1},  {22, 1},    {5, 1},     {25, 0xff}, {9, 0}};
    unsigned char exif[64], piece[80];
    size_t size, n = make_exif(exif, 0, 6);
    uint8_t page[8 * 16] = {0};
    OK(write_picture(context, in_dir("d.jpg"), 1, 8, 16, page, 0, 1));
    unsigned char *jpg = read_bytes(in_dir("d.jpg"), &size);
    size_t m = jpeg_segment(piece, exif, n);
    unsigned char *good = put_in(jpg, size, 2, piece, m);
    ck_assert_int_eq(kind_of(good, size + m), 6);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        unsigned char before = good[6 + damages[i].at];
        cm_picture p;
        good[6 + damages[i].at] = damages[i].value;
        ck_assert_msg(kind_of(good, size + m) == 1, "byte %zu as %d: %d", damages[i].at, damages[i].value,
                      kind_of(good, size + m));
        OK(cmi_picture_read(context, "d", good, size + m, 0, &p));
        ck_assert(p.height == 8 && p.width == 16);
        cmi_free(context, p.pixels);
        good[6 + damages[i].at] = before;
    }
    for (size_t cut = 0; cut < n; cut++) { /* a shorter segment; a file that ends inside */
        m = jpeg_segment(piece, exif, cut);
        unsigned char *file = put_in(jpg, size, 2, piece, m), *end = malloc(cut + 6);
        int whole = cut >= 6 + 8 + 2 + 12; /* what follows the entry is not needed */
        ck_assert_msg(kind_of(file, size + m) == (whole ? 6 : 1), "cut to %zu: %d", cut, kind_of(file, size + m));
        memcpy(end, good, cut + 6); /* exactly so many bytes, for the sanitizer */
        ck_assert_int_eq(kind_of(end, cut + 6), 1);
        free(file), free(end);
    }
    free(good), free(jpg);
    OK(write_picture(context, in_dir("d.png"), 1, 8, 16, page, 0, 1));
    unsigned char *png = read_bytes(in_dir("d.png"), &size);
    m = png_chunk(piece, exif, n);
    for (size_t i = 0; i < m; i++) { /* a wrong byte anywhere: its CRC tells */
        cm_picture p;
        unsigned char *file = put_in(png, size, 33, piece, m);
        file[33 + i] ^= 1;
        ck_assert_int_eq(kind_of(file, size + m), 1);
        cm_status status = cmi_picture_read(context, "d.png", file, size + m, 0, &p);
        if (status == CM_OK) {
            ck_assert(p.height == 8 && p.width == 16);
            cmi_free(context, p.pixels);
        } else ck_assert_msg(i < 8, "byte %zu: %s", i, cm_last_message()); /* chunks no longer follow each other */
        free(file);
    }
    free(png);
}
END_TEST

/* Out of memory is that, never damage: at every request. */
START_TEST(pictures_without_memory)
{
    static const char *const names[2] = {"m.png", "m.jpg"};
    uint8_t *pixels = noise_picture(40, 33, 3);
    memory m;
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 1);
    cm_context *poor;
    OK(cm_context_create(&o, &poor));
    for (int kind = 0; kind < 2; kind++) {
        size_t size, failed = 0;
        cm_picture p;
        OK(write_picture(context, in_dir(names[kind]), 3, 40, 33, pixels, 0, 1));
        unsigned char *file = read_bytes(in_dir(names[kind]), &size);
        cm_status status = CM_ERR_MEMORY;
        for (long k = 1; status != CM_OK && k < 1000; k++) {
            long live = m.live;
            m.requests = 0, m.fail_at = k;
            status = cmi_picture_read(poor, names[kind], file, size, 4, &p);
            m.fail_at = 0;
            ck_assert_msg(status == CM_OK || status == CM_ERR_MEMORY, "request %ld of %s: %s", k, names[kind],
                          cm_last_message());
            if (status == CM_OK) cmi_free(poor, p.pixels);
            else failed++;
            ck_assert_int_eq(m.live, live);
        }
        ck_assert(status == CM_OK && failed > 1);
        free(file);
    }
    free(pixels);
    cm_context_free(poor);
}
END_TEST

/* Sides beyond the limit, with right checksums. */
START_TEST(too_large)
{
    static const uint32_t sides[][2] = {{65536, 1}, {1, 65536}, {70000, 70000}, {0x7fffffff, 1}, {30000, 20000}};
    unsigned char png[33 + 12] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R'};
    cm_picture p;
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        put32(png + 16, sides[i][0]), put32(png + 20, sides[i][1]);
        png[24] = 8;
        put32(png + 29, (uint32_t)crc32(0, png + 12, 17));
        memcpy(png + 33, "\0\0\0\0IDAT", 8);
        put32(png + 41, (uint32_t)crc32(0, png + 37, 4));
        FAILS(cmi_picture_read(context, "wide.png", png, sizeof png, 0, &p), CM_ERR_LIMIT, "wide.png");
    }
}
END_TEST

static void put_be32(unsigned char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* Texts that deflate makes a thousand times as large: read past, not kept. */
START_TEST(png_with_large_texts)
{
    enum { TEXT = 7000000, CHUNKS = 40 };
    memory m;
    cm_context *counted;
    cm_picture out;
    uint8_t *p = noise_picture(20, 20, 3);
    unsigned char *png, *text = calloc(TEXT, 1), *chunk = malloc(20000), *file;
    uLongf packed = 19000;
    size_t size, n = 33;
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 1);
    OK(cm_context_create(&o, &counted));
    OK(write_picture(context, in_dir("t.png"), 3, 20, 20, p, 0, 0));
    OK(cmi_file_read(context, in_dir("t.png"), 1 << 20, &png, &size));
    memcpy(chunk + 4, "zTXtk\0", 7); /* the key's NUL and the method, 0 */
    ck_assert_int_eq(compress2(chunk + 11, &packed, text, TEXT, 9), Z_OK);
    put_be32(chunk, (uint32_t)packed + 3);
    put_be32(chunk + 11 + packed, (uint32_t)crc32(0, chunk + 4, (uInt)packed + 7));
    file = malloc(size + CHUNKS * (packed + 15));
    memcpy(file, png, n);
    for (int i = 0; i < CHUNKS; i++, n += packed + 15) memcpy(file + n, chunk, packed + 15);
    memcpy(file + n, png + 33, size - 33);
    OK(cmi_png_read(counted, "texts", file, n + size - 33, 0, &out));
    ck_assert_int_eq(memcmp(out.pixels, p, 1200), 0);
    ck_assert_msg(m.peak < 1 << 20, "%lld bytes for a picture of 1,200", m.peak);
    cmi_free(counted, out.pixels);
    cm_context_free(counted);
    cmi_free(context, png);
    free(p), free(text), free(chunk), free(file);
}
END_TEST

/* A progressive JPEG of 4096 x 4096 whose last scan stands there 300 times: a minute's work in a small file. */
START_TEST(jpeg_with_many_scans)
{
    enum { SIDE = 4096, SCANS = 300 };
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char *jpeg = NULL, *row = calloc(SIDE, 1), *file;
    unsigned long size = 0;
    size_t scan, n;
    cm_picture out;
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &jpeg, &size);
    info.image_width = info.image_height = SIDE;
    info.input_components = 1;
    info.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&info);
    jpeg_simple_progression(&info);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < SIDE) jpeg_write_scanlines(&info, &row, 1);
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    OK(cmi_jpeg_read(context, "one", jpeg, size, 0, &out));
    cmi_free(context, out.pixels);
    for (scan = size - 2; jpeg[scan] != 0xff || jpeg[scan + 1] != 0xda;) scan--;
    n = size - 2 - scan;
    file = malloc(size + SCANS * n);
    memcpy(file, jpeg, scan);
    for (size_t i = 0; i < SCANS; i++) memcpy(file + scan + i * n, jpeg + scan, n);
    memcpy(file + scan + SCANS * n, "\xff\xd9", 2);
    FAILS(cmi_jpeg_read(context, "many", file, scan + SCANS * n + 2, 0, &out), CM_ERR_FORMAT, "progress");
    free(jpeg), free(row), free(file);
}
END_TEST

/* --- pictures of any layout ------------------------------------------------------------- */

enum { BUFFER = 1 << 16 };

/* Value (i, c, y, x) of a view, by the formula of the header. */
static unsigned char *value_at(const cm_images *v, size_t i, int c, int y, int x)
{
    return (unsigned char *)v->data + (int64_t)i * v->image_stride + c * v->channel_stride + y * v->row_stride +
           x * v->pixel_stride;
}

static int64_t item_of(const cm_images *v)
{
    return v->dtype == CM_U8 ? 1 : 4;
}

/* A view somewhere in the buffer: its four sizes in any order of nesting, with gaps, some of them backwards, floats
 * at any byte. */
static cm_images random_view(uint64_t *state, unsigned char *buffer, const int sizes[4], int dtype)
{
    cm_images v = dtype == CM_U8 ? cm_images_u8(1, 1, 1, 1, NULL) : cm_images_f32(1, 1, 1, 1, NULL);
    int order[4] = {0, 1, 2, 3};
    int64_t stride[4], reached = item_of(&v), first = 0;
    for (int k = 3; k > 0; k--) {
        int j = random_int(state, 0, k), swap = order[k];
        order[k] = order[j], order[j] = swap;
    }
    for (int k = 0; k < 4; k++) {
        int64_t s = reached + random_int(state, 0, 2);
        reached += (sizes[order[k]] - 1) * s;
        if (random_int(state, 0, 2) == 0) first += (sizes[order[k]] - 1) * s, s = -s;
        stride[order[k]] = s;
    }
    ck_assert_int_lt(reached, BUFFER - 8);
    v.n = (size_t)sizes[0], v.channels = sizes[1], v.height = sizes[2], v.width = sizes[3];
    v.image_stride = stride[0], v.channel_stride = stride[1], v.row_stride = stride[2], v.pixel_stride = stride[3];
    v.data = buffer + first + random_int(state, 0, 7);
    return v;
}

static uint8_t byte_of(float x)
{
    double v = trunc((double)(x * 127.5f + 128.0f));
    return (uint8_t)(v > 255 ? 255 : v > 0 ? v : 0);
}

static void compare_value(const cm_images *from, const cm_images *to, size_t i, int c, int y, int x)
{
    const unsigned char *a = value_at(from, i, c, y, x), *b = value_at(to, i, c, y, x);
    float f = 0, g = 0;
    if (from->dtype != CM_U8) memcpy(&f, a, 4);
    if (to->dtype != CM_U8) memcpy(&g, b, 4);
    if (from->dtype == to->dtype) ck_assert_int_eq(memcmp(a, b, (size_t)item_of(to)), 0);
    else if (to->dtype == CM_U8) ck_assert_uint_eq(*b, byte_of(f));
    else ck_assert_float_eq(g, (float)*a / 127.5f - 1.0f);
}

START_TEST(views_against_the_formula)
{
    static unsigned char in[BUFFER], before[BUFFER], out[BUFFER], kept[BUFFER];
    uint64_t state = 25;
    for (int trial = 0; trial < 400; trial++) {
        int sizes[4];
        for (int k = 0; k < 4; k++) sizes[k] = random_int(&state, 1, k == 1 ? 4 : 6);
        cm_images from = random_view(&state, in, sizes, trial & 1 ? CM_U8 : CM_F32);
        cm_images to = random_view(&state, out, sizes, trial & 2 ? CM_U8 : CM_F32);
        for (int i = 0; i < BUFFER; i++) in[i] = (unsigned char)random_int(&state, 0, 255), out[i] = (unsigned char)i;
        for (size_t i = 0; i < from.n && from.dtype == CM_F32; i++)
            for (int k = 0; k < sizes[1] * sizes[2] * sizes[3]; k++) {
                float x = random_float(&state) * 1.3f;
                memcpy(value_at(&from, i, k % sizes[1], k / sizes[1] % sizes[2], k / sizes[1] / sizes[2]), &x, 4);
            }
        memcpy(before, in, BUFFER), memcpy(kept, out, BUFFER);
        OK(cm_images_convert(&from, &to));
        ck_assert_mem_eq(in, before, BUFFER);
        for (size_t i = 0; i < from.n; i++)
            for (int k = 0; k < sizes[1] * sizes[2] * sizes[3]; k++) {
                int c = k % sizes[1], y = k / sizes[1] % sizes[2], x = k / sizes[1] / sizes[2];
                compare_value(&from, &to, i, c, y, x);
                memcpy(kept + (value_at(&to, i, c, y, x) - out), value_at(&to, i, c, y, x), (size_t)item_of(&to));
            }
        ck_assert_mem_eq(out, kept, BUFFER); /* nothing between the values */
    }
}
END_TEST

/* Marks the bytes of the view's values in the map; 1 when one was marked before. */
static int mark(const cm_images *v, const unsigned char *buffer, unsigned char *map)
{
    int twice = 0;
    for (size_t i = 0; i < v->n; i++)
        for (int c = 0; c < v->channels; c++)
            for (int y = 0; y < v->height; y++)
                for (int x = 0; x < v->width; x++)
                    for (int64_t b = 0; b < item_of(v); b++) {
                        unsigned char *m = map + (value_at(v, i, c, y, x) - buffer) + b;
                        twice |= *m;
                        *m = 1;
                    }
    return twice;
}

static int64_t any_stride(uint64_t *state)
{
    return random_int(state, 0, 3) ? random_int(state, -40, 40) : 4 * random_int(state, -9, 9);
}

START_TEST(overlaps_are_refused)
{
    static unsigned char in[BUFFER], out[BUFFER], map[BUFFER];
    uint64_t state = 7;
    int seen[2] = {0, 0}, pairs[2] = {0, 0};
    for (int trial = 0; trial < 20000; trial++) {
        cm_images v = trial & 1 ? cm_images_u8(1, 1, 1, 1, out + BUFFER / 2)
                                : cm_images_f32(1, 1, 1, 1, (float *)(void *)(out + BUFFER / 2));
        v.n = (size_t)random_int(&state, 1, 3), v.channels = random_int(&state, 1, 3);
        v.height = random_int(&state, 1, 4), v.width = random_int(&state, 1, 4);
        v.image_stride = any_stride(&state), v.channel_stride = any_stride(&state);
        v.row_stride = any_stride(&state), v.pixel_stride = any_stride(&state);
        if (!v.image_stride && !v.channel_stride && !v.row_stride && !v.pixel_stride) continue;
        cm_images from = cm_images_f32(v.n, v.channels, v.height, v.width, (float *)(void *)in);
        memset(map, 0, sizeof map);
        int twice = mark(&v, out, map);
        seen[twice]++;
        if (twice) {
            FAILS(cm_images_convert(&from, &v), CM_ERR_ARGUMENT, "same bytes");
            continue;
        }
        OK(cm_images_convert(&from, &v));
        /* Two parts of one buffer, of the same strides. */
        from = v;
        from.data = (unsigned char *)v.data + any_stride(&state);
        twice = mark(&from, out, map);
        pairs[twice]++;
        if (twice) FAILS(cm_images_convert(&from, &v), CM_ERR_ARGUMENT, "memory of what it is made from");
        else OK(cm_images_convert(&from, &v));
    }
    ck_assert(seen[0] > 1000 && seen[1] > 1000 && pairs[0] > 300 && pairs[1] > 300);
}
END_TEST

/* Large views whose steps interlock are answered soon: exactly, or with a refusal. */
START_TEST(overlaps_are_found_in_time)
{
    static const int64_t strides[][4] = {
        {10000000019, 10000000033, 10000000061, 10000000069},
        {30000000001, 29999999999, 7000000001, 6999999999},
        {100000000003, 1, 999983, 1000000007},
        {1, 1999993, 20000003000, 2000003},
        {1001, 1003, 1007, 100000000003},
        {-10000000019, 10000000033, 0, 10000000069},
    };
    static uint8_t line[1000];
    uint8_t *const nowhere =
        (uint8_t *)((uintptr_t)1 << 60); /* far from both ends of the memory, and never written */
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
        cm_images from = cm_images_u8(1000, 1000, 1000, 1000, line),
                  to = cm_images_u8(1000, 1000, 1000, 1000, nowhere);
        from.pixel_stride = 1;
        from.channels = to.channels = 1000, from.height = to.height = 1000, from.width = to.width = 1000;
        to.image_stride = strides[i][0], to.channel_stride = strides[i][1];
        to.row_stride = strides[i][2], to.pixel_stride = strides[i][3];
        const double began = (double)clock();
        FAILS(cm_images_convert(&from, &to), CM_ERR_ARGUMENT, "same bytes");
        const double seconds = ((double)clock() - began) / CLOCKS_PER_SEC;
        /* Under valgrind, which asks for the short effort, all takes some thirty times as long. */
        ck_assert_msg(seconds < by_effort(60, 1, 1), "row %zu took %g s", i, seconds);
    }
    /* Every third byte, and rows that begin between: 3 a = 1001 b has no solution within 1000. */
    enum { PLANE = 999 * 1001 + 999 * 3 + 1 };
    uint8_t *interlocked = malloc(6 * PLANE);
    cm_images from = cm_images_u8(2, 1000, 1000, 3, line), to = from;
    ck_assert_ptr_nonnull(interlocked);
    from.pixel_stride = 1;
    to.data = interlocked;
    to.pixel_stride = 3, to.row_stride = 1001, to.channel_stride = PLANE, to.image_stride = 3 * (int64_t)PLANE;
    OK(cm_images_convert(&from, &to));
    to.row_stride = 999; /* 333 pixels on */
    FAILS(cm_images_convert(&from, &to), CM_ERR_ARGUMENT, "values lie in the same bytes");
    free(interlocked);
}
END_TEST

START_TEST(view_arguments)
{
    float values[8] = {0};
    uint8_t bytes[8];
    const cm_images good = cm_images_f32(1, 2, 2, 2, values), to = cm_images_u8(1, 2, 2, 2, bytes);
    cm_images init, macro = CM_IMAGES_INIT, v;
    cm_image_read_options read, macro_read = CM_IMAGE_READ_OPTIONS_INIT;
    cm_image_write_options wanted, macro_write = CM_IMAGE_WRITE_OPTIONS_INIT;
    cm_images_init(&init, sizeof init);
    cm_image_read_options_init(&read, sizeof read);
    cm_image_write_options_init(&wanted, sizeof wanted);
    ck_assert(memcmp(&init, &macro, sizeof init) == 0 && memcmp(&read, &macro_read, sizeof read) == 0);
    ck_assert_int_eq(memcmp(&wanted, &macro_write, sizeof wanted), 0);
    OK(cm_images_convert(&good, &to));
#define BAD(set, status, word)                                                                                       \
    do {                                                                                                             \
        v = good;                                                                                                    \
        set;                                                                                                         \
        FAILS(cm_images_convert(&v, &to), status, word);                                                             \
    } while (0)
    FAILS(cm_images_convert(NULL, &to), CM_ERR_ARGUMENT, "from is NULL");
    FAILS(cm_images_convert(&good, NULL), CM_ERR_ARGUMENT, "to is NULL");
    BAD(v.struct_size = 0, CM_ERR_ARGUMENT, "cm_images_init");
    BAD(v.struct_size = 68, CM_ERR_ARGUMENT, "struct_size is 68"); /* half of a stride */
    BAD(v.dtype = CM_F16, CM_ERR_ARGUMENT, "dtype is 3");
    BAD(v.dtype = -1, CM_ERR_ARGUMENT, "dtype is -1");
    BAD(v.layout = 2, CM_ERR_ARGUMENT, "layout is 2");
    BAD(v.n = 0, CM_ERR_ARGUMENT, "0 images");
    BAD(v.channels = 0, CM_ERR_ARGUMENT, "0 x 2 x 2");
    BAD(v.height = -1, CM_ERR_ARGUMENT, "2 x -1 x 2");
    BAD(v.width = INT32_MIN, CM_ERR_ARGUMENT, "2 x 2 x -2147483648");
    BAD(v.data = NULL, CM_ERR_ARGUMENT, "data is NULL");
    BAD(v.n = 2, CM_ERR_SHAPE, "2 images from, but 1 to");
    BAD(v.channels = 1, CM_ERR_SHAPE, "2 x 2 x 2 (channels, height, width), expected 1 x 2 x 2");
    BAD((v.channels = v.height = v.width = INT32_MAX), CM_ERR_LIMIT, "memory");
    BAD(v.n = SIZE_MAX, CM_ERR_LIMIT, "memory");
    BAD(v.row_stride = INT64_MAX, CM_ERR_LIMIT, "memory");
    BAD(v.row_stride = INT64_MIN, CM_ERR_LIMIT, "memory");
    BAD((v.row_stride = (int64_t)1 << 46, v.pixel_stride = (int64_t)1 << 46, v.channel_stride = (int64_t)1 << 46),
        CM_ERR_LIMIT, "memory");
    BAD((v.data = bytes, v.row_stride = -((int64_t)1 << 47)), CM_ERR_LIMIT, "memory");
    BAD((v.data = &v, v.dtype = CM_U8, v.row_stride = 1, v.data = (void *)(uintptr_t)8, v.pixel_stride = -100),
        CM_ERR_LIMIT, "out of the memory");
    BAD((v.data = (void *)(UINTPTR_MAX - 10), v.pixel_stride = 100), CM_ERR_LIMIT, "out of the memory");
#undef BAD
    /* A stride that leads to no second value may be anything. */
    float single = 1;
    uint8_t byte = 3;
    cm_images alone = cm_images_f32(1, 1, 1, 1, &single), there = cm_images_u8(1, 1, 1, 1, &byte);
    alone.pixel_stride = there.pixel_stride = INT64_MIN, alone.row_stride = there.image_stride = INT64_MAX;
    OK(cm_images_convert(&alone, &there));
    ck_assert_uint_eq(byte, 255);
    OK(cm_images_convert(&there, &alone));
    ck_assert_float_eq(single, 1);
    /* That of a single picture does not make it a view of strides. */
    cm_images one = good;
    one.image_stride = 32;
    values[7] = 1;
    OK(cm_images_convert(&one, &to));
    ck_assert(bytes[0] == 128 && bytes[7] == 255);
    one = to, one.image_stride = 8;
    OK(cm_images_convert(&good, &one));
    /* A stride of 0 repeats what is read: gray as colours, one picture as many. */
    float gray[4] = {-1, 0, 0.5f, 1};
    uint8_t colours[2 * 4 * 3];
    cm_images repeated = cm_images_f32(2, 3, 2, 2, gray);
    const cm_images all = cm_images_u8(2, 2, 2, 3, colours);
    repeated.row_stride = 8, repeated.pixel_stride = 4;
    OK(cm_images_convert(&repeated, &all));
    for (int i = 0; i < 24; i++) ck_assert_uint_eq(colours[i], byte_of(gray[i / 3 % 4]));
}
END_TEST

/* --- pictures in memory ----------------------------------------------------------------- */

START_TEST(encoded_in_memory)
{
    enum { H = 20, W = 30 };
    uint8_t *pixels = noise_picture(H, W, 3), screen[H * W * 4], *bytes, *again;
    float planes[3 * H * W];
    size_t size, again_size;
    const cm_images dense = cm_images_u8(1, H, W, 3, pixels), floats = cm_images_f32(1, 3, H, W, planes);
    OK(cm_images_convert(&dense, &floats));
    /* The same picture as a window has it: B, G, R, A, bottom up. */
    cm_images window = cm_images_u8(1, H, W, 3, screen + (H - 1) * W * 4 + 2);
    window.row_stride = -W * 4, window.pixel_stride = 4, window.channel_stride = -1;
    memset(screen, 200, sizeof screen);
    OK(cm_images_convert(&dense, &window));
    for (int kind = CM_IMAGE_FORMAT_PNG; kind <= CM_IMAGE_FORMAT_JPEG; kind++) {
        const char *name = kind == CM_IMAGE_FORMAT_PNG ? "memory.png" : "memory.jpeg";
        cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
        o.format = kind;
        o.quality = kind == CM_IMAGE_FORMAT_PNG ? 0 : 80;
        const cm_images *const same[3] = {&dense, &floats, &window};
        for (int k = 0; k < 3; k++) {
            OK(cm_image_encode(context, same[k], &o, &bytes, &size));
            o.overwrite = CM_OVERWRITE_YES;
            OK(cm_image_write(context, in_dir(name), same[k], &o));
            o.overwrite = CM_OVERWRITE_NO;
            unsigned char *file = read_bytes(in_dir(name), &again_size);
            ck_assert(size == again_size && memcmp(bytes, file, size) == 0);
            free(file);
            cm_images back = CM_IMAGES_INIT, as_floats = CM_IMAGES_INIT;
            cm_image_read_options r = CM_IMAGE_READ_OPTIONS_INIT;
            OK(cm_image_decode(context, bytes, size, NULL, &back));
            r.dtype = CM_F32;
            OK(cm_image_decode(NULL, bytes, size, &r, &as_floats));
            ck_assert(back.n == 1 && back.channels == 3 && back.height == H && back.width == W &&
                      back.dtype == CM_U8);
            ck_assert(as_floats.dtype == CM_F32 && as_floats.layout == CM_LAYOUT_PLANAR && as_floats.height == H);
            if (kind == CM_IMAGE_FORMAT_PNG) ck_assert_mem_eq(back.data, pixels, 3 * H * W);
            for (int i = 0; i < 3 * H * W; i++)
                ck_assert_float_eq(((float *)as_floats.data)[i % 3 * H * W + i / 3],
                                   (float)((uint8_t *)back.data)[i] / 127.5f - 1.0f);
            OK(cm_image_encode(NULL, &back, &o, &again, &again_size));
            if (kind == CM_IMAGE_FORMAT_PNG) ck_assert(again_size == size && memcmp(again, bytes, size) == 0);
            cm_bytes_free(NULL, again);
            cm_image_free(context, &back);
            cm_image_free(NULL, &as_floats);
            ck_assert(!back.data && back.n == 0);
            cm_image_free(context, &back); /* nothing any more */
            for (size_t cut = 0; cut < size; cut += 1 + size / 40) {
                FAILS(cm_image_decode(context, bytes, cut, NULL, &back), CM_ERR_FORMAT, "cm_image_decode");
                ck_assert_ptr_null(back.data);
            }
            cm_bytes_free(context, bytes);
        }
    }
    free(pixels);
}
END_TEST

START_TEST(alpha_is_written)
{
    uint8_t pixels[2 * 2 * 4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}, *bytes;
    size_t size;
    for (int32_t channels = 1; channels <= 4; channels++) {
        const cm_images image = cm_images_u8(1, 2, 2, channels, pixels);
        cm_images back = CM_IMAGES_INIT;
        cm_image_read_options r = CM_IMAGE_READ_OPTIONS_INIT;
        r.channels = channels;
        OK(cm_image_encode(context, &image, NULL, &bytes, &size));
        OK(cm_image_decode(context, bytes, size, &r, &back));
        ck_assert(back.channels == channels && memcmp(back.data, pixels, 4 * (size_t)channels) == 0);
        cm_image_free(context, &back);
        back.struct_size = offsetof(cm_images, data); /* the picture would be lost */
        FAILS(cm_image_decode(context, bytes, size, &r, &back), CM_ERR_ARGUMENT, "does not reach its member data");
        cm_image_free(context, &back);
        cm_bytes_free(context, bytes);
    }
}
END_TEST

START_TEST(memory_arguments)
{
    uint8_t pixels[16] = {0}, *bytes = pixels;
    size_t size = 3;
    cm_images image = cm_images_u8(1, 2, 2, 1, pixels), out = CM_IMAGES_INIT;
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    cm_image_read_options r = CM_IMAGE_READ_OPTIONS_INIT;
    FAILS(cm_image_encode(context, &image, NULL, NULL, &size), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_image_encode(context, &image, NULL, &bytes, NULL), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_image_encode(context, NULL, NULL, &bytes, &size), CM_ERR_ARGUMENT, "NULL");
    ck_assert(!bytes && !size);
    o.overwrite = CM_OVERWRITE_YES;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "overwrite has no effect");
    o.overwrite = 2;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "overwrite is 2");
    o.overwrite = 0, o.quality = 5;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "quality 5 has no effect");
    o.quality = -1;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "quality is -1");
    o.quality = 0, o.format = 3;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "format is 3");
    o.format = CM_IMAGE_FORMAT_JPEG;
    FAILS(cm_image_write(context, in_dir("name.png"), &image, &o), CM_ERR_ARGUMENT, "is the name of another");
    image.n = 2;
    FAILS(cm_image_encode(context, &image, NULL, &bytes, &size), CM_ERR_SHAPE, "2 images");
    image.n = 1, image.channels = 2;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_UNSUPPORTED, "no alpha");
    image.channels = 5, image.height = image.width = 1;
    FAILS(cm_image_encode(context, &image, NULL, &bytes, &size), CM_ERR_SHAPE, "5 channels");
    FAILS(cm_image_decode(context, NULL, 4, NULL, &out), CM_ERR_ARGUMENT, "bytes is NULL");
    FAILS(cm_image_decode(context, pixels, 4, NULL, NULL), CM_ERR_ARGUMENT, "out is NULL");
    FAILS(cm_image_decode(context, pixels, SIZE_MAX, NULL, &out), CM_ERR_LIMIT, "at most");
    r.channels = 5;
    FAILS(cm_image_decode(context, pixels, 4, &r, &out), CM_ERR_ARGUMENT, "0..4");
    r.channels = 0, r.dtype = CM_I32;
    FAILS(cm_image_read(context, in_dir("none.png"), &r, &out), CM_ERR_ARGUMENT, "dtype is 5");
    out.struct_size = 0;
    FAILS(cm_image_decode(context, pixels, 4, NULL, &out), CM_ERR_ARGUMENT, "cm_images_init");
    /* A format makes any name a picture's. */
    image = cm_images_u8(1, 2, 2, 1, pixels);
    OK(cm_image_write(context, in_dir("no_ending"), &image, &o));
    cm_images_init(&out, sizeof out);
    OK(cm_image_read(context, in_dir("no_ending"), NULL, &out));
    cm_image_free(context, &out);
}
END_TEST

/* Every allocation of encoding and decoding may fail; nothing stays behind. */
START_TEST(coding_without_memory)
{
    uint8_t *pixels = noise_picture(40, 33, 3), *bytes;
    const cm_images image = cm_images_u8(1, 40, 33, 3, pixels);
    size_t size;
    memory m;
    cm_context *poor;
    memory_reset(&m);
    cm_context_options co = memory_options(&m, 1);
    OK(cm_context_create(&co, &poor));
    for (int kind = CM_IMAGE_FORMAT_PNG; kind <= CM_IMAGE_FORMAT_JPEG; kind++) {
        cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
        cm_image_read_options r = CM_IMAGE_READ_OPTIONS_INIT;
        cm_status status = CM_ERR_MEMORY;
        long live = m.live, failed = 0;
        o.format = kind, r.dtype = CM_F32;
        for (long k = 1; status != CM_OK && k < 1000; k++) {
            cm_images back = CM_IMAGES_INIT;
            bytes = NULL;
            m.requests = 0, m.fail_at = k;
            status = cm_image_encode(poor, &image, &o, &bytes, &size);
            if (status == CM_OK) status = cm_image_decode(poor, bytes, size, &r, &back);
            m.fail_at = 0;
            ck_assert_msg(status == CM_OK || status == CM_ERR_MEMORY, "request %ld: %s", k, cm_last_message());
            failed += status != CM_OK;
            cm_image_free(poor, &back);
            cm_bytes_free(poor, bytes);
            ck_assert_int_eq(m.live, live);
        }
        ck_assert(status == CM_OK && failed > 4);
    }
    free(pixels);
    cm_context_free(poor);
}
END_TEST

START_TEST(u8_conversion)
{
    float x[256];
    uint8_t u[256], v[256];
    for (int i = 0; i < 256; i++) u[i] = (uint8_t)i;
    OK(bytes_to_floats(1, 1, 16, 16, u, x));
    ck_assert(x[0] == -1 && x[255] == 1);
    OK(floats_to_bytes(1, 1, 16, 16, x, v));
    ck_assert_mem_eq(u, v, 256);
    float edge[4] = {-7, 7, 0.0f / 0.0f, 0};
    OK(floats_to_bytes(1, 1, 2, 2, edge, v));
    ck_assert(v[0] == 0 && v[1] == 255 && v[2] == 0 && v[3] == 128);
    float planes[6] = {-1, 0, 1, 1, 0, -1}; /* 3 channels of 1 x 2 */
    OK(floats_to_bytes(1, 3, 1, 2, planes, v));
    static const uint8_t mixed[6] = {0, 255, 128, 128, 255, 0};
    ck_assert_mem_eq(v, mixed, 6);
    FAILS(floats_to_bytes(0, 1, 2, 2, edge, v), CM_ERR_ARGUMENT, "at least one");
    FAILS(floats_to_bytes(1, 1, 0, 2, edge, v), CM_ERR_ARGUMENT, "one pixel");
}
END_TEST

START_TEST(grids)
{
    int32_t h, w;
    uint8_t pixels[5] = {1, 2, 3, 4, 5}, page[64];
    cm_images images = cm_images_u8(5, 1, 1, 1, pixels), paper = cm_images_u8(1, 5, 7, 1, page);
    OK(cm_image_grid_size(&images, 3, 1, &h, &w));
    ck_assert(h == 5 && w == 7);
    OK(cm_image_grid(&images, 3, 1, 9, &paper));
    static const uint8_t want[35] = {9, 9, 9, 9, 9, 9, 9, 9, 1, 9, 2, 9, 3, 9, 9, 9, 9, 9,
                                     9, 9, 9, 9, 4, 9, 5, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    ck_assert_mem_eq(page, want, 35);
    FAILS(cm_image_grid_size(&images, 0, 1, &h, &w), CM_ERR_ARGUMENT, "cm_image_grid_size: 0 columns");
    FAILS(cm_image_grid_size(&images, 1, -1, &h, &w), CM_ERR_ARGUMENT, "margin");
    FAILS(cm_image_grid_size(&images, 1, 1, &h, NULL), CM_ERR_ARGUMENT, "NULL");
    paper.width = 8;
    FAILS(cm_image_grid(&images, 3, 1, 9, &paper), CM_ERR_SHAPE,
          "1 x 5 x 8 (channels, height, width), expected 1 x 5 x 7");
    paper.width = 7, paper.n = 2;
    FAILS(cm_image_grid(&images, 3, 1, 9, &paper), CM_ERR_SHAPE, "2 pages");
    paper.n = 1, images.data = page + 3;
    FAILS(cm_image_grid(&images, 3, 1, 9, &paper), CM_ERR_ARGUMENT, "memory of what it is made from");
    images = cm_images_u8(1000000, 100, 100, 1, NULL);
    FAILS(cm_image_grid_size(&images, 1, 0, &h, &w), CM_ERR_LIMIT, "limits");
}
END_TEST

START_TEST(picture_arguments)
{
    uint8_t p[4] = {0};
    FAILS(write_picture(context, in_dir("x.gif"), 1, 2, 2, p, 0, 0), CM_ERR_ARGUMENT, ".png");
    FAILS(write_picture(context, in_dir("x.png"), 1, 2, 2, p, 90, 0), CM_ERR_ARGUMENT, "quality");
    FAILS(write_picture(context, in_dir("x.jpg"), 1, 2, 2, p, 101, 0), CM_ERR_ARGUMENT, "101");
    FAILS(write_picture(context, in_dir("no/x.png"), 1, 2, 2, p, 0, 0), CM_ERR_IO, "no/x.png");
    FAILS(write_picture(context, NULL, 1, 2, 2, p, 0, 0), CM_ERR_ARGUMENT, "NULL");
    ck_assert_int_eq(files_in_dir(), 0);
}
END_TEST

/* A look before the work finds what the writing would find, and leaves nothing. */
START_TEST(write_checks)
{
    uint8_t p[12] = {0};
    OK(write_picture(context, in_dir("there.png"), 1, 2, 2, p, 0, 0));
    ck_assert_int_eq(mkdir(in_dir("folder.png"), 0700), 0);
    const struct {
        const char *name;
        int32_t channels, height, width, quality, overwrite;
        cm_status status;
        const char *word;
    } cases[] = {{"there.png", 1, 2, 2, 0, 0, CM_ERR_IO, "exists"},
                 {"folder.png", 1, 2, 2, 0, 1, CM_ERR_IO, "is a directory"},
                 {"no/a.png", 1, 2, 2, 0, 0, CM_ERR_IO, "No such file"},
                 {"there.png/a.png", 1, 2, 2, 0, 1, CM_ERR_IO, "Not a directory"},
                 {"a.webp", 1, 2, 2, 0, 0, CM_ERR_ARGUMENT, "neither in .png"},
                 {"a", 1, 2, 2, 0, 0, CM_ERR_ARGUMENT, "neither in .png"},
                 {"a.png", 5, 2, 2, 0, 0, CM_ERR_SHAPE, "channels"},
                 {"a.jpg", 2, 2, 2, 0, 0, CM_ERR_UNSUPPORTED, "no alpha"},
                 {"a.png", 1, 65536, 2, 0, 0, CM_ERR_LIMIT, "65535"},
                 {"a.jpg", 1, 2, 65501, 0, 0, CM_ERR_LIMIT, "65500"},
                 {"a.png", 1, 2, 2, 90, 0, CM_ERR_ARGUMENT, "quality"},
                 {"a.jpg", 1, 2, 2, 101, 0, CM_ERR_ARGUMENT, "quality"},
                 {"a.jpg", 1, 2, 2, 0, 2, CM_ERR_ARGUMENT, "overwrite"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FAILS(check_write(context, in_dir(cases[i].name), cases[i].channels, cases[i].height, cases[i].width,
                          cases[i].quality, cases[i].overwrite),
              cases[i].status, cases[i].word);
        if (cases[i].status != CM_ERR_IO) ck_assert(strncmp(cm_last_message(), "cm_image_write_check: ", 22) == 0);
    }
    FAILS(check_write(context, NULL, 1, 2, 2, 0, 0), CM_ERR_ARGUMENT, "cm_image_write_check: path is NULL");
    OK(check_write(NULL, in_dir("there.png"), 1, 2, 2, 0, 1));
    OK(check_write(context, in_dir("new.JPEG"), 3, 2, 2, 100, 0));
    ck_assert_int_eq(files_in_dir(), 2);
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
    tcase_add_test(t, write_checks);
    tcase_add_test(t, odd_outputs_are_refused);
    tcase_add_test(t, links_are_written_through);
    tcase_add_test(t, permissions_stay);
    tcase_add_test(t, full_disk);
    tcase_add_test(t, safetensors_round_trip);
    tcase_add_test(t, safetensors_refusals);
    tcase_add_test(t, large_headers);
    tcase_add_test(t, bounded_trees);
    tcase_add_test(t, safetensors_without_mapping);
    tcase_add_test(t, finite_values);
    tcase_add_test(t, png_both_ways);
    tcase_add_test(t, jpeg_both_ways);
    tcase_add_test(t, damaged_pictures);
    tcase_add_test(t, hostile_pictures);
    tcase_add_test(t, png_kinds);
    tcase_add_test(t, colours_as_gray);
    tcase_add_test(t, exif_turns);
    tcase_add_test(t, damaged_exif);
    tcase_add_test(t, pictures_without_memory);
    tcase_add_test(t, too_large);
    tcase_add_test(t, png_with_large_texts);
    tcase_add_test(t, jpeg_with_many_scans);
    tcase_add_test(t, views_against_the_formula);
    tcase_add_test(t, overlaps_are_refused);
    tcase_add_test(t, overlaps_are_found_in_time);
    tcase_add_test(t, view_arguments);
    tcase_add_test(t, encoded_in_memory);
    tcase_add_test(t, alpha_is_written);
    tcase_add_test(t, memory_arguments);
    tcase_add_test(t, coding_without_memory);
    tcase_add_test(t, u8_conversion);
    tcase_add_test(t, grids);
    tcase_add_test(t, picture_arguments);
    suite_add_tcase(s, t);
    return s;
}
