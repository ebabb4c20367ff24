/* npz.c - arrays of a zip archive by name, over zip.h; archives of stored arrays, written here as NumPy does. */
#include "io/npz.h"

#include <stdio.h>
#include <string.h>

#include <zlib.h>

#include "io/zip.h"

struct cm_npz {
    cm_context *context;
    cm_zip *zip;
    char *path;
    unsigned char *bytes; /* of the array that was read last */
};

cm_status cmi_npz_open(cm_context *context, const char *path, cm_npz **out)
{
    *out = NULL;
    cm_npz *npz = cmi_calloc(context, 1, sizeof *npz);
    if (!npz) return CM_ERR_MEMORY;
    npz->context = context;
    npz->path = cmi_strdup(context, path);
    cm_status status = npz->path ? cmi_zip_open(context, path, &npz->zip) : CM_ERR_MEMORY;
    if (status != CM_OK) cmi_npz_close(npz);
    else *out = npz;
    return status;
}

void cmi_npz_close(cm_npz *npz)
{
    if (!npz) return;
    cmi_zip_close(npz->zip);
    cmi_free(npz->context, npz->bytes);
    cmi_free(npz->context, npz->path);
    cmi_free(npz->context, npz);
}

/* The last member counts, as for NumPy; the number of members where there is none. */
static size_t find(const cm_npz *npz, const char *name)
{
    char member[256];
    const size_t n = cmi_zip_count(npz->zip);
    (void)snprintf(member, sizeof member, "%s.npy", name);
    for (size_t i = n; i-- > 0;)
        if (strcmp(cmi_zip_name(npz->zip, i), member) == 0) return i;
    return n;
}

int cmi_npz_has(const cm_npz *npz, const char *name)
{
    return find(npz, name) < cmi_zip_count(npz->zip);
}

cm_status cmi_npz_read(cm_npz *npz, const char *name, cm_npy *out)
{
    char what[512];
    size_t size, at = find(npz, name);
    (void)snprintf(what, sizeof what, "%.400s: %.64s", npz->path, name);
    if (at == cmi_zip_count(npz->zip)) CM_FAIL(CM_ERR_FORMAT, "%s: there is no array '%s'", npz->path, name);
    cmi_free(npz->context, npz->bytes);
    npz->bytes = NULL;
    CM_TRY(cmi_zip_read(npz->zip, at, &npz->bytes, &size));
    return cmi_npy_parse(what, npz->bytes, size, out);
}

/* Fortran's order has the first index fastest: element `at` of C order stands there. */
static size_t fortran_place(const cm_npy *a, size_t at)
{
    size_t index[8], place = 0;
    for (int i = a->rank; i-- > 0; at /= a->shape[i]) index[i] = at % a->shape[i];
    for (int i = a->rank; i-- > 0;) place = place * a->shape[i] + index[i];
    return place;
}

void cmi_npy_doubles(const cm_npy *a, double *out)
{
    for (size_t i = 0; i < a->count; i++) out[i] = cmi_npy_value(a, a->fortran ? fortran_place(a, i) : i);
}

/* --- writing ------------------------------------------------------------------- */

enum { LOCAL = 30, CENTRAL = 46, EXTRA = 20, EXTRA_CENTRAL = 28, HEADER = 256, END = 76 + 22 };

typedef struct {
    char name[128], header[HEADER];
    size_t header_length;
    uint64_t size, at;
    uint32_t crc;
} member;

/* n bytes of v, the lowest first. */
static unsigned char *put(unsigned char *to, uint64_t v, int n)
{
    for (int i = 0; i < n; i++, v >>= 8) *to++ = (unsigned char)v;
    return to;
}

static size_t elements(const cm_npz_array *a)
{
    size_t n = 1;
    for (int i = 0; i < a->rank; i++) n *= a->shape[i];
    return n;
}

/* Magic, version 1.0, length, and a dict padded to a multiple of 64 bytes. */
static void describe(const cm_npz_array *a, member *m)
{
    char text[HEADER] = "";
    size_t n = (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", a->descr);
    for (int i = 0; i < a->rank; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%zu,%s", a->shape[i], i + 1 < a->rank ? " " : "");
    if (a->rank > 1) n--; /* only one of rank 1 ends in a comma */
    n += (size_t)snprintf(text + n, sizeof text - n, "), }");
    m->header_length = (10 + n + 1 + 63) / 64 * 64;
    memset(m->header, ' ', sizeof m->header);
    memcpy(m->header, "\x93NUMPY\1\0", 8);
    (void)put((unsigned char *)m->header + 8, m->header_length - 10, 2);
    memcpy(m->header + 10, text, n);
    m->header[m->header_length - 1] = '\n';
}

static uint32_t checksum(const member *m, const cm_npz_array *a)
{
    uLong crc = crc32(0, (const Bytef *)m->header, (uInt)m->header_length);
    return (uint32_t)crc32_z(crc, a->data, elements(a) * a->bytes);
}

/* What a local header and an entry of the directory share, sizes in a zip64 field. */
static unsigned char *put_common(unsigned char *to, const member *m, int extra)
{
    to = put(to, 45, 2);         /* version needed: zip64 */
    to = put(to, 0, 4);          /* no flags, stored      */
    to = put(to, 0x00210000, 4); /* 1 January 1980 */
    to = put(to, m->crc, 4);
    to = put(put(to, 0xffffffffu, 4), 0xffffffffu, 4);
    return put(put(to, strlen(m->name), 2), (uint64_t)extra, 2);
}

static cm_status write_member(cm_file_writer *file, const cm_npz_array *a, member *m, uint64_t *at)
{
    unsigned char header[LOCAL + sizeof m->name + EXTRA], *to = header;
    m->at = *at;
    m->size = m->header_length + elements(a) * a->bytes;
    m->crc = checksum(m, a);
    to = put_common(put(to, 0x04034b50, 4), m, EXTRA);
    memcpy(to, m->name, strlen(m->name));
    to = put(put(to + strlen(m->name), 1, 2), 16, 2);
    to = put(put(to, m->size, 8), m->size, 8);
    CM_TRY(cmi_file_write(file, header, (size_t)(to - header)));
    CM_TRY(cmi_file_write(file, m->header, m->header_length));
    *at += (uint64_t)(to - header) + m->size;
    return cmi_file_write(file, a->data, elements(a) * a->bytes);
}

static cm_status write_entry(cm_file_writer *file, const member *m, uint64_t *at)
{
    unsigned char header[CENTRAL + sizeof m->name + EXTRA_CENTRAL], *to = header;
    to = put_common(put(put(to, 0x02014b50, 4), 45, 2), m, EXTRA_CENTRAL);
    to = put(put(to, 0, 6), 0, 4); /* no comment, disk 0, attributes */
    to = put(to, 0xffffffffu, 4);  /* offset: in the field            */
    memcpy(to, m->name, strlen(m->name));
    to = put(put(to + strlen(m->name), 1, 2), 24, 2);
    to = put(put(put(to, m->size, 8), m->size, 8), m->at, 8);
    *at += (uint64_t)(to - header);
    return cmi_file_write(file, header, (size_t)(to - header));
}

/* zip64's end of the directory, its locator, and the old one that points to them. */
static cm_status write_end(cm_file_writer *file, size_t n, uint64_t directory, uint64_t at)
{
    unsigned char end[END], *to = end;
    to = put(put(to, 0x06064b50, 4), 44, 8);
    to = put(put(put(to, 45, 2), 45, 2), 0, 8);
    to = put(put(to, n, 8), n, 8);
    to = put(put(to, at - directory, 8), directory, 8);
    to = put(put(put(put(to, 0x07064b50, 4), 0, 4), at, 8), 1, 4);
    to = put(put(put(to, 0x06054b50, 4), 0, 4), n, 2);
    to = put(put(put(to, n, 2), 0xffffffffu, 4), 0xffffffffu, 4);
    to = put(to, 0, 2);
    return cmi_file_write(file, end, (size_t)(to - end));
}

static cm_status write_all(cm_file_writer *file, const cm_npz_array *arrays, size_t n, member *members)
{
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(members[i].name, sizeof members[i].name, "%.120s.npy", arrays[i].name);
        describe(&arrays[i], &members[i]);
        CM_TRY(write_member(file, &arrays[i], &members[i], &at));
    }
    const uint64_t directory = at;
    for (size_t i = 0; i < n; i++) CM_TRY(write_entry(file, &members[i], &at));
    return write_end(file, n, directory, at);
}

cm_status cmi_npz_write(cm_context *context, const char *path, int overwrite, const cm_npz_array *arrays, size_t n)
{
    cm_file_writer file;
    member *members = cmi_calloc(context, n, sizeof *members);
    if (!members) return CM_ERR_MEMORY;
    cm_status status = cmi_file_create(context, path, overwrite, &file);
    if (status == CM_OK) {
        status = write_all(&file, arrays, n, members);
        if (status == CM_OK) status = cmi_file_commit(&file);
        else cmi_file_abort(&file);
    }
    cmi_free(context, members);
    return status;
}
