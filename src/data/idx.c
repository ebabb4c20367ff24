/* idx.c - MNIST's format, each file gzip or plain: images 0x803 [n, rows, columns],
 * labels 0x801 [n] in the file whose name has "labels" for "images" and "idx1" for
 * "idx3".  28 x 28 is padded to 32 x 32 with black. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <zlib.h>

#include "data/names.h"
#include "data/source.h"
#include "io/directory.h"

/* --- names ------------------------------------------------------------------------------ */

enum { MAX_PATH = 4096, MAX_NAME = 256 };

/* "Train_Images.IDX3-ubyte.gz" is "train-images-idx3-ubyte": as people rename them. */
static int plain_name(const char *name, char out[MAX_NAME])
{
    size_t n = strlen(name);
    if (n >= MAX_NAME || cmi_name_is_system(name, n)) return 0;
    for (size_t i = 0; i <= n; i++)
        out[i] = name[i] == '.' || name[i] == '_' ? '-'
                                                  : (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    if (n > 3 && strcmp(out + n - 3, "-gz") == 0) out[n - 3] = '\0';
    return 1;
}

static int is_packed(const char *name)
{
    size_t n = strlen(name);
    return n > 3 && strcasecmp(name + n - 3, ".gz") == 0;
}

/* How well a file name says that these are images to train with: 0 best, -1 not at all. */
static int rank_of(const char *name)
{
    char plain[MAX_NAME];
    if (!plain_name(name, plain) || !strstr(plain, "images-idx3")) return -1;
    return strcmp(plain, "train-images-idx3-ubyte") == 0 ? 0 : strstr(plain, "train") ? 1 : 2;
}

typedef struct {
    char path[MAX_PATH], name[MAX_NAME]; /* the best so far; name "" for none */
    char other[MAX_NAME];                /* another set, as good              */
    int rank;
} choice;

static void consider(choice *c, const char *folder, const char *name)
{
    char path[MAX_PATH], mine[MAX_NAME], best[MAX_NAME] = "";
    int rank = rank_of(name);
    if (rank < 0 || (size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path ||
        cmi_path_kind(path) != CM_PATH_FILE)
        return;
    (void)plain_name(name, mine);
    if (c->name[0]) (void)plain_name(c->name, best);
    int same = strcmp(mine, best) == 0, better = !c->name[0] || rank < c->rank || (same && !is_packed(name));
    if (c->name[0] && rank == c->rank && !same) (void)snprintf(c->other, sizeof c->other, "%s", name);
    if (!better) return;
    if (!same && rank < c->rank) c->other[0] = '\0';
    (void)snprintf(c->path, sizeof c->path, "%s", path);
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    c->rank = rank;
}

/* Calls for every name in a folder; nothing when it cannot be listed. */
static void each_name(const char *folder, void (*call)(void *user, const char *folder, const char *name), void *user)
{
    const struct dirent *entry;
    DIR *directory = opendir(folder);
    while (directory && (entry = readdir(directory)) != NULL) call(user, folder, entry->d_name);
    if (directory) (void)closedir(directory);
}

static void consider_entry(void *user, const char *folder, const char *name)
{
    consider(user, folder, name);
}

/* The images of a path; 0 when there are none. */
static int find(const char *path, choice *out)
{
    static const char *const below[] = {"", "/raw", "/MNIST/raw"}; /* as torchvision puts them */
    memset(out, 0, sizeof *out);
    if (cmi_path_kind(path) == CM_PATH_FILE)
        return (size_t)snprintf(out->path, sizeof out->path, "%s", path) < sizeof out->path;
    for (size_t i = 0; i < sizeof below / sizeof *below && !out->name[0]; i++) {
        char folder[MAX_PATH];
        if ((size_t)snprintf(folder, sizeof folder, "%s%s", path, below[i]) < sizeof folder)
            each_name(folder, consider_entry, out);
    }
    return out->name[0] != '\0';
}

typedef struct {
    char wanted[MAX_NAME];
    char path[MAX_PATH]; /* "" for none */
    int packed;          /* as the images are */
} labels_search;

static void consider_labels(void *user, const char *folder, const char *name)
{
    labels_search *l = user;
    char path[MAX_PATH], plain[MAX_NAME];
    if (!plain_name(name, plain) || strcmp(plain, l->wanted) != 0 || (l->path[0] && is_packed(name) != l->packed))
        return;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path &&
        cmi_path_kind(path) == CM_PATH_FILE)
        (void)snprintf(l->path, sizeof l->path, "%s", path);
}

typedef struct {
    int32_t rows, columns, pad;
    unsigned char *pixels;
    choice images;
    labels_search labels;
} state;

/* "images" becomes "labels", "idx3" "idx1": the file of that name, dots and .gz aside. */
static void find_labels(const char *images, labels_search *out)
{
    char plain[MAX_NAME], folder[MAX_PATH] = ".";
    const char *slash = strrchr(images, '/'), *base = slash ? slash + 1 : images;
    memset(out, 0, sizeof *out);
    if (!plain_name(base, plain)) return;
    char *at = strstr(plain, "images"), *rank = strstr(plain, "idx3");
    if (!at) return;
    memcpy(at, "labels", 6);
    if (rank) rank[3] = '1';
    (void)snprintf(out->wanted, sizeof out->wanted, "%s", plain);
    out->packed = is_packed(base);
    if (slash) (void)snprintf(folder, sizeof folder, "%.*s", slash > images ? (int)(slash - images) : 1, images);
    each_name(folder, consider_labels, out);
}

/* --- reading ------------------------------------------------------------------------------ */

static uint32_t word(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A file by its content or its name, a folder by the names in it. */
static int recognise(const char *path)
{
    choice found;
    unsigned char head[4];
    if (!find(path, &found)) return 0;
    const char *slash = strrchr(path, '/');
    if (found.name[0] || rank_of(slash ? slash + 1 : path) >= 0) return 1;
    gzFile gz = gzopen(found.path, "rb");
    if (!gz) return 0;
    int idx = gzread(gz, head, 4) == 4 && (word(head) == 0x803 || word(head) == 0x801);
    (void)gzclose(gz);
    return idx;
}

/* Why a read gave nothing. */
static cm_status read_failed(gzFile gz, const char *path, uint64_t at, uint64_t bytes)
{
    int code;
    (void)gzerror(gz, &code);
    if (code == Z_ERRNO) return cmi_file_fail("read", path);
    if (code == Z_MEM_ERROR) CM_FAIL(CM_ERR_MEMORY, "out of memory: %s", path);
    CM_FAIL(CM_ERR_FORMAT, "%s: truncated or damaged after %llu of %llu bytes", path, (unsigned long long)at,
            (unsigned long long)bytes);
}

/* The whole of a file that says it holds count x rows x columns bytes. */
static cm_status read_idx(cm_source *s, const char *path, uint32_t magic, uint32_t dims[3], unsigned char **out)
{
    unsigned char head[16];
    cm_file_reader file;
    int ranks = magic == 0x803 ? 3 : 1, got;
    uint64_t bytes = 1;
    CM_TRY(cmi_file_reader_open(s->context, path, &file));
    size_t size = file.size;
    cmi_file_reader_close(&file);
    gzFile gz = gzopen(path, "rb");
    if (!gz) return cmi_file_fail("open", path);
    cm_status status = CM_OK;
    got = gzread(gz, head, (unsigned)(4 + 4 * ranks));
    if (gzdirect(gz) && (got < 4 || word(head) >> 16 != 0)) status = cmi_source_refuse_foreign(path, "an idx file");
    if (status == CM_OK && (got != 4 + 4 * ranks || word(head) != magic))
        status = cmi_fail(CM_ERR_FORMAT, "%s: not an idx file of %s", path, magic == 0x803 ? "images" : "labels");
    for (int i = 0; i < ranks && status == CM_OK; i++) {
        dims[i] = word(head + 4 + 4 * i);
        if (dims[i] > (i ? 65535u : 1u << 30))
            status = cmi_fail(CM_ERR_LIMIT, "%s: dimension %d is %u", path, i, dims[i]);
        bytes *= dims[i];
    }
    /* Deflate makes at most 1032 bytes of one. */
    if (status == CM_OK && bytes > (uint64_t)size * 1032 + 1024)
        status = cmi_fail(CM_ERR_FORMAT, "%s: %zu bytes cannot hold the %llu it claims", path, size,
                          (unsigned long long)bytes);
    if (status == CM_OK && !(*out = cmi_malloc(s->context, (size_t)bytes, 1))) status = CM_ERR_MEMORY;
    for (uint64_t at = 0; status == CM_OK && at < bytes; at += (uint64_t)got) {
        uint64_t left = bytes - at;
        got = gzread(gz, *out + at, (unsigned)(left < (1u << 30) ? left : 1u << 30));
        if (got <= 0) status = read_failed(gz, path, at, bytes);
    }
    if (status == CM_OK && gzread(gz, head, 1) != 0)
        status = cmi_fail(CM_ERR_FORMAT, "%s: bytes after the end", path);
    (void)gzclose(gz);
    return status;
}

static cm_status read_labels(cm_source *s, const char *images)
{
    labels_search *found = &((state *)s->state)->labels;
    const char *path = found->path;
    uint32_t dims[3];
    unsigned char *labels = NULL;
    find_labels(images, found);
    if (!path[0]) {
        cmi_log(s->context, CM_LOG_WARNING, "%s: no classes, since there is no labels file beside it%s%s%s", images,
                found->wanted[0] ? " ('" : "", found->wanted, found->wanted[0] ? "')" : "");
        return CM_OK;
    }
    cm_status status = read_idx(s, path, 0x801, dims, &labels);
    if (status == CM_OK && dims[0] != s->count)
        status = cmi_fail(CM_ERR_FORMAT, "%s: %u labels for %zu images", path, dims[0], s->count);
    if (status == CM_OK && !(s->labels = cmi_calloc(s->context, s->count, sizeof *s->labels))) status = CM_ERR_MEMORY;
    for (size_t i = 0; status == CM_OK && i < s->count; i++) s->labels[i] = labels[i];
    s->labels_from = "labels file";
    cmi_free(s->context, labels);
    return status;
}

static cm_status open_idx(cm_source *s, const char *path)
{
    uint32_t dims[3];
    state *st = cmi_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    const char *file = st->images.path;
    if (!find(path, &st->images)) CM_FAIL(CM_ERR_IO, "'%s' has gone", path);
    if (st->images.other[0])
        CM_FAIL(CM_ERR_ARGUMENT, "'%s' holds several sets, such as '%s' and '%s': name one of the files", path,
                st->images.name, st->images.other);
    CM_TRY(read_idx(s, file, 0x803, dims, &st->pixels));
    s->count = dims[0];
    st->rows = (int32_t)dims[1];
    st->columns = (int32_t)dims[2];
    if (s->count && (dims[1] == 0 || dims[2] == 0))
        CM_FAIL(CM_ERR_FORMAT, "%s: images of %u x %u", file, dims[1], dims[2]);
    st->pad = st->rows == 28 && st->columns == 28 ? 2 : 0;
    s->bytes = (uint64_t)dims[0] * dims[1] * dims[2];
    s->raw = 1;
    return read_labels(s, file);
}

static void close_idx(cm_source *s)
{
    state *st = s->state;
    cmi_free(s->context, st->pixels);
    cmi_free(s->context, st);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    const state *st = s->state;
    size_t w = (size_t)st->columns, h = (size_t)st->rows, pad = (size_t)st->pad, c = channels == 3 ? 3 : 1;
    size_t wide = w + 2 * pad, high = h + 2 * pad;
    const unsigned char *from = st->pixels + i * w * h;
    *out = (cm_picture){(int32_t)c, (int32_t)high, (int32_t)wide, cmi_calloc(s->context, wide * high, c)};
    if (!out->pixels) return CM_ERR_MEMORY;
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++) memset(out->pixels + ((y + pad) * wide + x + pad) * c, from[y * w + x], c);
    return CM_OK;
}

const cm_source_kind cmi_source_idx = {"idx", recognise, open_idx, close_idx, picture, NULL};
