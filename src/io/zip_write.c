/* zip_write.c - local headers with true sums and sizes, the directory behind, and the 64-bit records where a number
 * needs them (PKWARE's APPNOTE 4.3, 4.5.3). */
#include "io/zip_write.h"

#include <string.h>
#include <zlib.h>

enum { LOCAL = 30, CENTRAL = 46, ZIP64 = 20, RECORD = 56, LOCATOR = 20, END = 22 };
enum { MAX16 = 0xffff, PLAIN = 20, LARGE = 45 /* versions needed to read */, JANUARY_1980 = 0x21 };
static const uint32_t elsewhere = 0xffffffffu; /* the number is one of 64 bits */

/* Little-endian numbers one behind the other. */
typedef struct {
    unsigned char bytes[256];
    size_t n;
} record;

static void put(record *r, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) r->bytes[r->n++] = (unsigned char)(value >> 8 * i);
}

static uint32_t clipped(const cm_zip_writer *w, uint64_t value)
{
    return value < w->large ? (uint32_t)value : elsewhere;
}

static uint32_t checksum(const unsigned char *bytes, size_t size)
{
    uLong crc = crc32(0, NULL, 0);
    for (size_t at = 0; at < size; at += 1u << 30) {
        size_t left = size - at;
        crc = crc32(crc, bytes + at, (uInt)(left < 1u << 30 ? left : 1u << 30));
    }
    return (uint32_t)crc;
}

static cm_status write_bytes(cm_zip_writer *w, const void *bytes, size_t size)
{
    CM_TRY(cmi_file_write(&w->file, bytes, size));
    w->at += size;
    return CM_OK;
}

cm_status cmi_zip_begin(cm_context *context, const char *path, int overwrite, size_t members, cm_zip_writer *w)
{
    memset(w, 0, sizeof *w);
    cm_zip_entry *entries = cmi_calloc(context, members, sizeof *entries);
    if (!entries) return CM_ERR_MEMORY;
    cm_status status = cmi_file_create(context, path, overwrite, &w->file);
    if (status != CM_OK) {
        cmi_free(context, entries);
        return status;
    }
    w->entries = entries;
    w->large = elsewhere;
    w->capacity = members;
    return CM_OK;
}

/* The part that local and central headers share. */
static void put_common(const cm_zip_writer *w, record *r, const cm_zip_entry *e, int large, size_t extra)
{
    put(r, large ? LARGE : PLAIN, 2);
    put(r, 0, 2); /* flags */
    put(r, 0, 2); /* stored */
    put(r, 0, 2);
    put(r, JANUARY_1980, 2);
    put(r, e->crc, 4);
    put(r, clipped(w, e->size), 4);
    put(r, clipped(w, e->size), 4);
    put(r, strlen(e->name), 2);
    put(r, extra, 2);
}

/* The extra field ends with padding ("FB", as PyTorch's) that makes the data begin at a multiple of 64. */
static cm_status write_local(cm_zip_writer *w, const cm_zip_entry *e)
{
    static const unsigned char zeros[CM_ZIP_ALIGNMENT];
    record r = {.n = 0};
    int large = e->size >= w->large;
    size_t fixed = LOCAL + strlen(e->name) + (large ? ZIP64 : 0) + 4;
    size_t pad = (CM_ZIP_ALIGNMENT - (size_t)(w->at + fixed) % CM_ZIP_ALIGNMENT) % CM_ZIP_ALIGNMENT;
    put(&r, 0x04034b50, 4);
    put_common(w, &r, e, large, (size_t)(large ? ZIP64 : 0) + 4 + pad);
    memcpy(r.bytes + r.n, e->name, strlen(e->name));
    r.n += strlen(e->name);
    if (large) put(&r, 1, 2), put(&r, 16, 2), put(&r, e->size, 8), put(&r, e->size, 8);
    put(&r, 0x4246, 2);
    put(&r, pad, 2);
    CM_TRY(write_bytes(w, r.bytes, r.n));
    return write_bytes(w, zeros, pad);
}

cm_status cmi_zip_add(cm_zip_writer *w, const char *name, const void *bytes, size_t size, cm_write_report *report)
{
    if (w->count == w->capacity || strlen(name) >= CM_ZIP_NAME)
        CM_FAIL(CM_ERR_INTERNAL, "%s: zip member '%s' is one too many or its name is too long", w->file.path, name);
    cm_zip_entry *e = &w->entries[w->count++];
    memcpy(e->name, name, strlen(name) + 1);
    e->header = w->at;
    e->size = size;
    e->crc = checksum(bytes, size);
    CM_TRY(write_local(w, e));
    w->at += size;
    return report ? cmi_write_weights(&w->file, report, bytes, size) : cmi_file_write(&w->file, bytes, size);
}

static cm_status write_central(cm_zip_writer *w, const cm_zip_entry *e)
{
    record r = {.n = 0};
    uint64_t wide[3];
    int n = 0;
    if (e->size >= w->large) wide[n++] = e->size, wide[n++] = e->size;
    if (e->header >= w->large) wide[n++] = e->header;
    put(&r, 0x02014b50, 4);
    put(&r, n ? LARGE : PLAIN, 2);
    put_common(w, &r, e, n > 0, n ? 4 + 8 * (size_t)n : 0);
    put(&r, 0, 2); /* comment               */
    put(&r, 0, 2); /* disk                  */
    put(&r, 0, 2); /* internal attributes   */
    put(&r, 0, 4); /* external ones         */
    put(&r, clipped(w, e->header), 4);
    memcpy(r.bytes + r.n, e->name, strlen(e->name));
    r.n += strlen(e->name);
    if (n) put(&r, 1, 2), put(&r, 8 * (uint64_t)n, 2);
    for (int i = 0; i < n; i++) put(&r, wide[i], 8);
    return write_bytes(w, r.bytes, r.n);
}

static cm_status write_end(cm_zip_writer *w, uint64_t begin, uint64_t size)
{
    record r = {.n = 0};
    uint64_t end = w->at, count = w->count;
    if (count >= MAX16 || begin >= w->large || size >= w->large) {
        put(&r, 0x06064b50, 4), put(&r, RECORD - 12, 8), put(&r, LARGE, 2), put(&r, LARGE, 2);
        put(&r, 0, 4), put(&r, 0, 4);
        put(&r, count, 8), put(&r, count, 8), put(&r, size, 8), put(&r, begin, 8);
        put(&r, 0x07064b50, 4), put(&r, 0, 4), put(&r, end, 8), put(&r, 1, 4);
    }
    put(&r, 0x06054b50, 4), put(&r, 0, 2), put(&r, 0, 2);
    put(&r, count < MAX16 ? count : MAX16, 2), put(&r, count < MAX16 ? count : MAX16, 2);
    put(&r, clipped(w, size), 4), put(&r, clipped(w, begin), 4), put(&r, 0, 2);
    return write_bytes(w, r.bytes, r.n);
}

static void release(cm_zip_writer *w, cm_context *context)
{
    cmi_free(context, w->entries);
    w->entries = NULL;
}

cm_status cmi_zip_commit(cm_zip_writer *w)
{
    cm_status status = CM_OK;
    cm_context *context = w->file.context;
    uint64_t begin = w->at;
    for (size_t i = 0; i < w->count && status == CM_OK; i++) status = write_central(w, &w->entries[i]);
    if (status == CM_OK) status = write_end(w, begin, w->at - begin);
    if (status == CM_OK) status = cmi_file_commit(&w->file);
    else cmi_file_abort(&w->file);
    release(w, context);
    return status;
}

void cmi_zip_abort(cm_zip_writer *w)
{
    release(w, w->file.context);
    cmi_file_abort(&w->file);
}
