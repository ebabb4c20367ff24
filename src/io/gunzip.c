/* gunzip.c - see the header; zlib unpacks, and file.h reads, so that an interrupted read is made again. */
#include "io/gunzip.h"

#include <string.h>

#include <zlib.h>

enum { PIECE = 1 << 16 };

struct cm_gunzip {
    cm_context *context;
    cm_file_reader file;
    size_t at; /* of the file */
    int is_packed, has_ended, is_damaged;
    z_stream z;
    unsigned char in[PIECE];
};

static void *take(void *context, unsigned count, unsigned size)
{
    return cmi_malloc(context, count, size);
}

static void give_back(void *context, void *memory)
{
    cmi_free(context, memory);
}

static cm_status begin(cm_gunzip *g, const char *path)
{
    unsigned char first[2] = {0, 0};
    CM_TRY(cmi_file_reader_open(g->context, path, &g->file));
    if (g->file.size >= 2) CM_TRY(cmi_file_reader_read(&g->file, 0, first, 2));
    if (first[0] != 0x1f || first[1] != 0x8b) return CM_OK;
    g->z.zalloc = take, g->z.zfree = give_back, g->z.opaque = g->context;
    g->is_packed = inflateInit2(&g->z, 15 + 16) == Z_OK; /* 32 KiB back, with gzip's head */
    return g->is_packed ? CM_OK : cmi_fail(CM_ERR_MEMORY, "out of memory: %s", path);
}

cm_status cmi_gunzip_open(cm_context *context, const char *path, cm_gunzip **out)
{
    *out = NULL;
    cm_gunzip *g = cmi_calloc(context, 1, sizeof *g);
    if (!g) return CM_ERR_MEMORY;
    g->context = context;
    const cm_status status = begin(g, path);
    if (status != CM_OK) cmi_gunzip_close(g);
    else *out = g;
    return status;
}

void cmi_gunzip_close(cm_gunzip *g)
{
    if (g->is_packed) (void)inflateEnd(&g->z);
    cmi_file_reader_close(&g->file);
    cmi_free(g->context, g);
}

size_t cmi_gunzip_file_size(const cm_gunzip *g)
{
    return g->file.size;
}

int cmi_gunzip_is_packed(const cm_gunzip *g)
{
    return g->is_packed;
}

int cmi_gunzip_is_damaged(const cm_gunzip *g)
{
    return g->is_damaged;
}

/* What is not unpacked yet moves to the front, and as much as fits follows it. */
static cm_status refill(cm_gunzip *g)
{
    const size_t kept = g->z.avail_in, left = g->file.size - g->at, room = PIECE - kept,
                 n = left < room ? left : room;
    if (kept) memmove(g->in, g->z.next_in, kept);
    if (n) CM_TRY(cmi_file_reader_read(&g->file, g->at, g->in + kept, n));
    g->at += n;
    g->z.next_in = g->in;
    g->z.avail_in = (unsigned)(kept + n);
    return CM_OK;
}

/* Behind one packed part another may stand; anything else there counts for nothing, as with gzip. */
static cm_status next_part(cm_gunzip *g)
{
    if (g->z.avail_in < 2) CM_TRY(refill(g));
    g->has_ended = g->z.avail_in < 2 || g->z.next_in[0] != 0x1f || g->z.next_in[1] != 0x8b;
    if (!g->has_ended) (void)inflateReset(&g->z);
    return CM_OK;
}

static cm_status unpack(cm_gunzip *g)
{
    if (!g->z.avail_in) CM_TRY(refill(g));
    const int code = inflate(&g->z, Z_NO_FLUSH);
    if (code == Z_STREAM_END) return next_part(g);
    if (code == Z_MEM_ERROR) CM_FAIL(CM_ERR_MEMORY, "out of memory: %s", g->file.path);
    if (code != Z_OK) g->has_ended = g->is_damaged = 1; /* a cut end too */
    return CM_OK;
}

cm_status cmi_gunzip_read(cm_gunzip *g, void *out, size_t size, size_t *got)
{
    enum { MOST = 1 << 30 }; /* at a time, for zlib */
    *got = 0;
    if (!g->is_packed) {
        const size_t left = g->file.size - g->at, n = size < left ? size : left;
        CM_TRY(cmi_file_reader_read(&g->file, g->at, out, n));
        g->at += n;
        *got = n;
        return CM_OK;
    }
    while (*got < size && !g->has_ended) {
        const size_t left = size - *got;
        const unsigned room = (unsigned)(left < MOST ? left : MOST);
        g->z.next_out = (unsigned char *)out + *got;
        g->z.avail_out = room;
        CM_TRY(unpack(g));
        *got += room - g->z.avail_out;
    }
    return CM_OK;
}
