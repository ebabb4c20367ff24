/* idx.c - MNIST's format, gzip or plain: images 0x803 [n, rows, columns], labels
 * 0x801 [n] in the file whose name has "labels-idx1" for "images-idx3".  28 x 28
 * is padded to 32 x 32 with black. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "data/source.h"
#include "io/directory.h"

typedef struct {
    int32_t rows, columns, pad;
    unsigned char *pixels;
} state;

static const char *const usual[] = {"train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", NULL};

static int find(const char *path, char *out, size_t size)
{
    if (cm_path_kind(path) == 2) return (size_t)snprintf(out, size, "%s", path) < size;
    for (int i = 0; usual[i]; i++)
        if ((size_t)snprintf(out, size, "%s/%s", path, usual[i]) < size && cm_path_kind(out) == 2) return 1;
    return 0;
}

static uint32_t word(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int recognise(const char *path)
{
    char file[4096];
    unsigned char head[4];
    if (!find(path, file, sizeof file)) return 0;
    gzFile gz = gzopen(file, "rb");
    if (!gz) return 0;
    int idx = gzread(gz, head, 4) == 4 && (word(head) == 0x803 || word(head) == 0x801);
    (void)gzclose(gz);
    return idx;
}

/* The whole of a file that says it holds count x rows x columns bytes. */
static cm_status read_idx(cm_source *s, const char *path, uint32_t magic, uint32_t dims[3], unsigned char **out)
{
    unsigned char head[16];
    cm_mapping file;
    int ranks = magic == 0x803 ? 3 : 1, got;
    uint64_t bytes = 1;
    CM_TRY(cm_mapping_open(path, &file));
    size_t size = file.size;
    cm_mapping_close(&file);
    gzFile gz = gzopen(path, "rb");
    if (!gz) return cm_file_fail("open", path);
    cm_status status = CM_OK;
    got = gzread(gz, head, (unsigned)(4 + 4 * ranks));
    if (got != 4 + 4 * ranks || word(head) != magic)
        status = cm_fail(CM_ERR_FORMAT, "%s: not an idx file of %s", path, magic == 0x803 ? "images" : "labels");
    for (int i = 0; i < ranks && status == CM_OK; i++) {
        dims[i] = word(head + 4 + 4 * i);
        if (dims[i] > (i ? 65535u : 1u << 30)) status = cm_fail(CM_ERR_LIMIT, "%s: dimension %d is %u", path, i, dims[i]);
        bytes *= dims[i];
    }
    /* Deflate makes at most 1032 bytes of one. */
    if (status == CM_OK && bytes > (uint64_t)size * 1032 + 1024)
        status = cm_fail(CM_ERR_FORMAT, "%s: %zu bytes cannot hold the %llu it claims", path, size,
                         (unsigned long long)bytes);
    if (status == CM_OK && !(*out = cm_malloc(s->context, (size_t)bytes, 1))) status = CM_ERR_MEMORY;
    for (uint64_t at = 0; status == CM_OK && at < bytes; at += (uint64_t)got) {
        uint64_t left = bytes - at;
        got = gzread(gz, *out + at, (unsigned)(left < (1u << 30) ? left : 1u << 30));
        if (got <= 0) status = cm_fail(CM_ERR_FORMAT, "%s: truncated or damaged after %llu of %llu bytes", path,
                                       (unsigned long long)at, (unsigned long long)bytes);
    }
    if (status == CM_OK && gzread(gz, head, 1) != 0) status = cm_fail(CM_ERR_FORMAT, "%s: bytes after the end", path);
    (void)gzclose(gz);
    return status;
}

static cm_status read_labels(cm_source *s, const char *images)
{
    char path[4096];
    uint32_t dims[3];
    unsigned char *labels = NULL;
    const char *at = strstr(images, "images-idx3");
    if (!at) return CM_OK;
    (void)snprintf(path, sizeof path, "%.*slabels-idx1%s", (int)(at - images), images, at + strlen("images-idx3"));
    if (cm_path_kind(path) != 2) return CM_OK;
    cm_status status = read_idx(s, path, 0x801, dims, &labels);
    if (status == CM_OK && dims[0] != s->count)
        status = cm_fail(CM_ERR_FORMAT, "%s: %u labels for %zu images", path, dims[0], s->count);
    if (status == CM_OK && !(s->labels = cm_calloc(s->context, s->count, sizeof *s->labels))) status = CM_ERR_MEMORY;
    for (size_t i = 0; status == CM_OK && i < s->count; i++) s->labels[i] = labels[i];
    s->labels_from = "labels file";
    cm_free(s->context, labels);
    return status;
}

static cm_status open_idx(cm_source *s, const char *path)
{
    char file[4096];
    uint32_t dims[3];
    state *st = cm_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    if (!find(path, file, sizeof file)) CM_FAIL(CM_ERR_IO, "'%s' has gone", path);
    CM_TRY(read_idx(s, file, 0x803, dims, &st->pixels));
    s->count = dims[0];
    st->rows = (int32_t)dims[1];
    st->columns = (int32_t)dims[2];
    if (s->count && (dims[1] == 0 || dims[2] == 0)) CM_FAIL(CM_ERR_FORMAT, "%s: images of %u x %u", file, dims[1], dims[2]);
    st->pad = st->rows == 28 && st->columns == 28 ? 2 : 0;
    s->bytes = (uint64_t)dims[0] * dims[1] * dims[2];
    s->raw = 1;
    return read_labels(s, file);
}

static void close_idx(cm_source *s)
{
    state *st = s->state;
    cm_free(s->context, st->pixels);
    cm_free(s->context, st);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    const state *st = s->state;
    size_t w = (size_t)st->columns, h = (size_t)st->rows, pad = (size_t)st->pad, c = channels == 3 ? 3 : 1;
    size_t wide = w + 2 * pad, high = h + 2 * pad;
    const unsigned char *from = st->pixels + i * w * h;
    *out = (cm_picture){(int32_t)c, (int32_t)high, (int32_t)wide, cm_calloc(s->context, wide * high, c)};
    if (!out->pixels) return CM_ERR_MEMORY;
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++)
            memset(out->pixels + ((y + pad) * wide + x + pad) * c, from[y * w + x], c);
    return CM_OK;
}

const cm_source_kind cm_source_idx = {"idx", recognise, open_idx, close_idx, picture};
