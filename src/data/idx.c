/* idx.c - MNIST's format, each file gzip or plain: images 0x803 [n, rows, columns],
 * labels 0x801 [n] in the file whose name has "labels" for "images" and "idx1" for
 * "idx3".  28 x 28 is padded to 32 x 32 with black. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/names.h"
#include "data/source.h"
#include "io/directory.h"
#include "io/gunzip.h"

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
    char folder[MAX_PATH];               /* that is looked through            */
    char path[MAX_PATH], name[MAX_NAME]; /* the best so far; name "" for none */
    char other[MAX_NAME];                /* another set, as good              */
    int rank;
} choice;

/* FOLDER/NAME in path; *is 0 where it is too long or no file. */
static cm_status file_in(const char *folder, const char *name, char path[MAX_PATH], int *is)
{
    cm_path_kind kind;
    *is = (size_t)snprintf(path, MAX_PATH, "%s/%s", folder, name) < MAX_PATH;
    if (!*is) return CM_OK;
    CM_TRY(cmi_path_look(path, &kind));
    *is = kind == CM_PATH_FILE;
    return CM_OK;
}

static cm_status consider(void *user, const char *name)
{
    choice *c = user;
    char path[MAX_PATH], mine[MAX_NAME], best[MAX_NAME] = "";
    int rank = rank_of(name), is;
    if (rank < 0) return CM_OK;
    CM_TRY(file_in(c->folder, name, path, &is));
    if (!is) return CM_OK;
    (void)plain_name(name, mine);
    if (c->name[0]) (void)plain_name(c->name, best);
    int same = strcmp(mine, best) == 0, better = !c->name[0] || rank < c->rank || (same && !is_packed(name));
    if (c->name[0] && rank == c->rank && !same) (void)snprintf(c->other, sizeof c->other, "%s", name);
    if (!better) return CM_OK;
    if (!same && rank < c->rank) c->other[0] = '\0';
    (void)snprintf(c->path, sizeof c->path, "%s", path);
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    c->rank = rank;
    return CM_OK;
}

/* The images of a folder, as torchvision puts them too; path "" when there are none. */
static cm_status find(const char *path, choice *out)
{
    static const char *const below[] = {"", "/raw", "/MNIST/raw"};
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof below / sizeof *below && !out->name[0]; i++) {
        cm_path_kind kind;
        if ((size_t)snprintf(out->folder, sizeof out->folder, "%s%s", path, below[i]) >= sizeof out->folder) continue;
        CM_TRY(cmi_path_look(out->folder, &kind));
        if (kind == CM_PATH_DIRECTORY) CM_TRY(cmi_directory_each(out->folder, consider, out));
    }
    return CM_OK;
}

typedef struct {
    char folder[MAX_PATH], wanted[MAX_NAME];
    char path[MAX_PATH]; /* "" for none */
    int packed;          /* as the images are */
} labels_search;

static cm_status consider_labels(void *user, const char *name)
{
    labels_search *l = user;
    char path[MAX_PATH], plain[MAX_NAME];
    int is;
    if (!plain_name(name, plain) || strcmp(plain, l->wanted) != 0 || (l->path[0] && is_packed(name) != l->packed))
        return CM_OK;
    CM_TRY(file_in(l->folder, name, path, &is));
    if (is) (void)snprintf(l->path, sizeof l->path, "%s", path);
    return CM_OK;
}

typedef struct {
    int32_t rows, columns, pad;
    unsigned char *pixels;
    choice images;
    labels_search labels;
} state;

/* "images" becomes "labels", "idx3" "idx1": the file of that name, dots and .gz aside. */
static cm_status find_labels(const char *images, labels_search *out)
{
    char plain[MAX_NAME];
    const char *slash = strrchr(images, '/'), *base = slash ? slash + 1 : images;
    memset(out, 0, sizeof *out);
    if (!plain_name(base, plain)) return CM_OK;
    char *at = strstr(plain, "images"), *rank = strstr(plain, "idx3");
    if (!at) return CM_OK;
    memcpy(at, "labels", 6);
    if (rank) rank[3] = '1';
    (void)snprintf(out->wanted, sizeof out->wanted, "%s", plain);
    out->packed = is_packed(base);
    if (!slash) strcpy(out->folder, ".");
    else (void)snprintf(out->folder, sizeof out->folder, "%.*s", slash > images ? (int)(slash - images) : 1, images);
    return cmi_directory_each(out->folder, consider_labels, out);
}

/* --- reading ------------------------------------------------------------------------------ */

static uint32_t word(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static cm_status begins_as_idx(cm_context *context, const char *path, int *is)
{
    cm_gunzip *file;
    unsigned char head[4];
    size_t got;
    CM_TRY(cmi_gunzip_open(context, path, &file));
    const cm_status status = cmi_gunzip_read(file, head, 4, &got);
    *is = status == CM_OK && got == 4 && (word(head) == 0x803 || word(head) == 0x801);
    cmi_gunzip_close(file);
    return status;
}

/* A file by its content or its name, a folder by the names in it. */
static cm_status recognise(cm_context *context, const char *path, cm_path_kind kind, int *is)
{
    choice found;
    const char *slash = strrchr(path, '/');
    *is = kind == CM_PATH_FILE && rank_of(slash ? slash + 1 : path) >= 0;
    if (kind == CM_PATH_FILE && !*is) return begins_as_idx(context, path, is);
    if (kind != CM_PATH_DIRECTORY) return CM_OK;
    CM_TRY(find(path, &found));
    *is = found.name[0] != '\0';
    return CM_OK;
}

/* Sizes behind the magic number; *bytes: their product. */
static cm_status read_dims(cm_gunzip *file, const char *path, uint32_t magic, uint32_t dims[3], uint64_t *bytes)
{
    unsigned char head[16];
    const size_t ranks = magic == 0x803 ? 3 : 1;
    size_t got;
    CM_TRY(cmi_gunzip_read(file, head, 4 + 4 * ranks, &got));
    if (!cmi_gunzip_is_packed(file) && (got < 4 || word(head) >> 16 != 0))
        CM_TRY(cmi_source_refuse_foreign(path, "an idx file"));
    if (got != 4 + 4 * ranks || word(head) != magic)
        CM_FAIL(CM_ERR_FORMAT, "%s: not an idx file of %s", path, magic == 0x803 ? "images" : "labels");
    *bytes = 1;
    for (size_t i = 0; i < ranks; i++) {
        dims[i] = word(head + 4 + 4 * i);
        if (dims[i] > (i ? 65535u : 1u << 30)) CM_FAIL(CM_ERR_LIMIT, "%s: dimension %zu is %u", path, i, dims[i]);
        *bytes *= dims[i];
    }
    /* Deflate makes at most 1032 bytes of one. */
    const size_t size = cmi_gunzip_file_size(file);
    if (*bytes > (uint64_t)size * 1032 + 1024)
        CM_FAIL(CM_ERR_FORMAT, "%s: %zu bytes cannot hold the %llu it claims", path, size,
                (unsigned long long)*bytes);
    return CM_OK;
}

static cm_status read_values(cm_gunzip *file, const char *path, unsigned char *out, size_t bytes)
{
    unsigned char more;
    size_t got;
    CM_TRY(cmi_gunzip_read(file, out, bytes, &got));
    if (got != bytes) CM_FAIL(CM_ERR_FORMAT, "%s: truncated or damaged after %zu of %zu bytes", path, got, bytes);
    CM_TRY(cmi_gunzip_read(file, &more, 1, &got));
    if (got) CM_FAIL(CM_ERR_FORMAT, "%s: bytes after the end", path);
    if (cmi_gunzip_is_damaged(file)) CM_FAIL(CM_ERR_FORMAT, "%s: damaged: its checksum is wrong, or cut", path);
    return CM_OK;
}

/* The whole of a file that says it holds count x rows x columns bytes. */
static cm_status read_idx(cm_source *s, const char *path, uint32_t magic, uint32_t dims[3], unsigned char **out)
{
    cm_gunzip *file;
    uint64_t bytes = 0;
    CM_TRY(cmi_gunzip_open(s->context, path, &file));
    cm_status status = read_dims(file, path, magic, dims, &bytes);
    if (status == CM_OK && !(*out = cmi_malloc(s->context, (size_t)bytes, 1))) status = CM_ERR_MEMORY;
    if (status == CM_OK) status = read_values(file, path, *out, (size_t)bytes);
    cmi_gunzip_close(file);
    return status;
}

static cm_status read_labels(cm_source *s, const char *images)
{
    labels_search *found = &((state *)s->state)->labels;
    const char *path = found->path;
    uint32_t dims[3];
    unsigned char *labels = NULL;
    CM_TRY(find_labels(images, found));
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
    cm_path_kind kind;
    CM_TRY(cmi_path_look(path, &kind));
    if (kind == CM_PATH_DIRECTORY) CM_TRY(find(path, &st->images));
    else if (strlen(path) < MAX_PATH) strcpy(st->images.path, path);
    if (!file[0]) CM_FAIL(CM_ERR_IO, "'%s' has gone", path);
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
