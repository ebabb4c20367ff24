/* zip_directory.c - see the header. */
#include "io/zip_directory.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "base/utf8.h"

enum {
    END = 22, /* bytes of the end record, of the locator of its 64-bit form, of that form */
    LOCATOR = 20,
    END64 = 56,
    ENTRY = 46, /* of the fixed part of an entry and of a local header */
    LOCAL = 30,
    NAME = 4096,
    COMMENT = 65535,
    PIECE = 1 << 20,
    ENCRYPTED = 0x2041 /* flags: in any of three ways */
};

static uint64_t number(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    while (n-- > 0) v = v << 8 | p[n];
    return v;
}

/* --- the end of the archive ------------------------------------------------------------- */

/* What the end record says; `limit` is where the directory has to be over. */
typedef struct {
    uint64_t disk, directory_disk, here, count, size, at, limit;
} ending;

/* The last record whose comment ends with the file. */
static cm_status find_end(const cm_input *in, const unsigned char *tail, size_t n, size_t *place)
{
    for (size_t i = n < END ? 0 : n - END + 1; i-- > 0;)
        if (memcmp(tail + i, "PK\5\6", 4) == 0 && number(tail + i + 20, 2) == n - END - i) {
            *place = i;
            return CM_OK;
        }
    CM_FAIL(CM_ERR_FORMAT, "%s: truncated: the zip archive has no end of its directory", in->name);
}

/* Where both forms give a number they have to agree; the short form may say "look there". */
static int merge(uint64_t *value, uint64_t longer, uint64_t unknown)
{
    if (*value != unknown && *value != longer) return 0;
    *value = longer;
    return 1;
}

static cm_status read_end64(const cm_input *in, const unsigned char locator[LOCATOR], ending *e)
{
    unsigned char r[END64];
    uint64_t at = number(locator + 8, 8);
    if (in->size < END64 || at > in->size - END64)
        CM_FAIL(CM_ERR_FORMAT, "%s: the zip64 end record lies at %llu, outside of the file", in->name,
                (unsigned long long)at);
    CM_TRY(cmi_input_read(in, (size_t)at, r, sizeof r));
    if (memcmp(r, "PK\6\6", 4) != 0) CM_FAIL(CM_ERR_FORMAT, "%s: there is no zip64 end record", in->name);
    if (!merge(&e->disk, number(r + 16, 4), 0xffff) || !merge(&e->directory_disk, number(r + 20, 4), 0xffff) ||
        !merge(&e->here, number(r + 24, 8), 0xffff) || !merge(&e->count, number(r + 32, 8), 0xffff) ||
        !merge(&e->size, number(r + 40, 8), 0xffffffff) || !merge(&e->at, number(r + 48, 8), 0xffffffff))
        CM_FAIL(CM_ERR_FORMAT, "%s: the two end records of the zip archive disagree", in->name);
    e->limit = at;
    return CM_OK;
}

static cm_status read_end_in(const cm_input *in, const unsigned char *tail, size_t n, ending *e)
{
    size_t i = 0;
    CM_TRY(find_end(in, tail, n, &i));
    const unsigned char *r = tail + i;
    *e = (ending){number(r + 4, 2),  number(r + 6, 2),  number(r + 8, 2), number(r + 10, 2),
                  number(r + 12, 4), number(r + 16, 4), in->size - n + i};
    if (i >= LOCATOR && memcmp(r - LOCATOR, "PK\6\7", 4) == 0) CM_TRY(read_end64(in, r - LOCATOR, e));
    if (e->disk || e->directory_disk || e->here != e->count)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: a zip archive of several disks", in->name);
    if (e->at > e->limit || e->size > e->limit - e->at)
        CM_FAIL(CM_ERR_FORMAT, "%s: the zip directory of %llu bytes at %llu reaches past its end at %llu", in->name,
                (unsigned long long)e->size, (unsigned long long)e->at, (unsigned long long)e->limit);
    if (e->size != e->limit - e->at)
        CM_FAIL(CM_ERR_FORMAT, "%s: the zip directory ends at %llu, its end record begins at %llu", in->name,
                (unsigned long long)(e->at + e->size), (unsigned long long)e->limit);
    if (e->count > e->size / ENTRY)
        CM_FAIL(CM_ERR_FORMAT, "%s: a zip directory of %llu bytes cannot hold %llu members", in->name,
                (unsigned long long)e->size, (unsigned long long)e->count);
    return CM_OK;
}

static cm_status read_end(const cm_input *in, ending *e)
{
    size_t most = LOCATOR + END + COMMENT, n = in->size < most ? in->size : most;
    unsigned char *tail = cmi_malloc(in->context, n, 1);
    if (!tail) return CM_ERR_MEMORY;
    cm_status status = cmi_input_read(in, in->size - n, tail, n);
    if (status == CM_OK) status = read_end_in(in, tail, n, e);
    cmi_free(in->context, tail);
    return status;
}

/* --- the members ------------------------------------------------------------------------ */

static int safe_name(const char *name, size_t n)
{
    if (!n || n > NAME || name[0] == '/' || memchr(name, '\0', n) || memchr(name, '\\', n)) return 0;
    for (size_t i = 0; i + 1 < n; i++)
        if (name[i] == '.' && name[i + 1] == '.' && (i == 0 || name[i - 1] == '/') &&
            (i + 2 == n || name[i + 2] == '/'))
            return 0;
    return cmi_is_utf8(name, n);
}

/* Takes the 64-bit values for those that the entry gives as unknown. */
static int read_extra64(const unsigned char *extra, size_t n, uint64_t *size, uint64_t *packed, uint64_t *at)
{
    uint64_t *const wanted[] = {size, packed, at};
    size_t used = 0;
    for (size_t i = 0; n - i >= 4; i += 4 + (size_t)number(extra + i + 2, 2)) {
        size_t length = (size_t)number(extra + i + 2, 2);
        if (length > n - i - 4) return 0;
        if (number(extra + i, 2) != 1) continue;
        for (size_t k = 0; k < 3; k++) {
            if (*wanted[k] != 0xffffffff) continue;
            if (length - used < 8) return 0;
            *wanted[k] = number(extra + i + 4 + used, 8);
            used += 8;
        }
        return 1;
    }
    return *size != 0xffffffff && *packed != 0xffffffff && *at != 0xffffffff;
}

/* The local header decides where the bytes begin and has to be of the same member. */
static cm_status read_local(const cm_input *in, const char *name, size_t n, uint64_t at, uint64_t size,
                            uint64_t limit, cm_zip_member *m)
{
    unsigned char h[LOCAL + NAME];
    if (limit < LOCAL + n || at > limit - LOCAL - n)
        CM_FAIL(CM_ERR_FORMAT, "%s: zip member '%s' lies at %llu, outside of the archive", in->name, name,
                (unsigned long long)at);
    CM_TRY(cmi_input_read(in, (size_t)at, h, LOCAL + n));
    if (memcmp(h, "PK\3\4", 4) != 0 || number(h + 26, 2) != n || memcmp(h + LOCAL, name, n) != 0 ||
        number(h + 8, 2) != 0)
        CM_FAIL(CM_ERR_FORMAT, "%s: zip member '%s': its local header is of something else", in->name, name);
    if (number(h + 6, 2) & ENCRYPTED)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: zip member '%s' is encrypted, as its local header says", in->name, name);
    uint64_t begins = at + LOCAL + n + number(h + 28, 2);
    if (begins > limit || size > limit - begins)
        CM_FAIL(CM_ERR_FORMAT, "%s: zip member '%s': its %llu bytes at %llu reach past the archive's data", in->name,
                name, (unsigned long long)size, (unsigned long long)begins);
    m->at = (size_t)begins;
    m->size = (size_t)size;
    return CM_OK;
}

/* `r`: an entry of at most `left` bytes; *length is what it has. */
static cm_status read_entry(const cm_input *in, unsigned char *r, size_t left, uint64_t limit, cm_zip_member *m,
                            size_t *length)
{
    if (left < ENTRY || memcmp(r, "PK\1\2", 4) != 0)
        CM_FAIL(CM_ERR_FORMAT, "%s: the zip directory is broken: no entry where one is due", in->name);
    size_t n = (size_t)number(r + 28, 2), extra = (size_t)number(r + 30, 2);
    uint64_t flags = number(r + 8, 2), method = number(r + 10, 2);
    uint64_t packed = number(r + 20, 4), size = number(r + 24, 4), at = number(r + 42, 4);
    char *name = (char *)r + ENTRY;
    *length = ENTRY + n + extra + (size_t)number(r + 32, 2);
    if (*length > left) CM_FAIL(CM_ERR_FORMAT, "%s: the zip directory is broken: it ends in an entry", in->name);
    if (!safe_name(name, n))
        CM_FAIL(CM_ERR_FORMAT,
                "%s: a zip member's name is absolute, over %d bytes, not UTF-8, or has \"..\", a backslash or NUL",
                in->name, NAME);
    if (!read_extra64((unsigned char *)name + n, extra, &size, &packed, &at))
        CM_FAIL(CM_ERR_FORMAT, "%s: a zip member's 64-bit sizes are missing", in->name);
    m->crc = (uint32_t)number(r + 16, 4);
    memmove(name - 1, name, n); /* over a byte that is read already, for a NUL behind */
    name--;
    name[n] = '\0';
    m->name = name;
    if (method == 0 && packed != size)
        CM_FAIL(CM_ERR_FORMAT, "%s: zip member '%s' is stored as it is, yet has %llu bytes and %llu in the archive",
                in->name, name, (unsigned long long)size, (unsigned long long)packed);
    if (method != 0)
        CM_FAIL(CM_ERR_UNSUPPORTED,
                "%s: zip member '%s' is compressed (method %d); PyTorch stores members as they are. An archive that "
                "a model lies in has to be unpacked first",
                in->name, name, (int)method);
    if (flags & ENCRYPTED) CM_FAIL(CM_ERR_UNSUPPORTED, "%s: zip member '%s' is encrypted", in->name, name);
    return read_local(in, name, n, at, size, limit, m);
}

static cm_status read_entries(const cm_input *in, const ending *e, cm_zip_directory *d)
{
    size_t at = 0, size = (size_t)e->size;
    for (size_t length = 0; d->count < e->count; d->count++, at += length)
        CM_TRY(read_entry(in, d->text + at, size - at, e->at, &d->members[d->count], &length));
    if (at != size)
        CM_FAIL(CM_ERR_FORMAT, "%s: the zip directory has %zu bytes behind its last entry", in->name, size - at);
    return CM_OK;
}

/* --- all of them -------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const cm_zip_member *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const cm_zip_member *)a)->name, ((const cm_zip_member *)b)->name);
}

/* Between two members lies the second's local header at least. */
static cm_status check_members(const cm_input *in, cm_zip_directory *d)
{
    if (!d->count) return CM_OK;
    qsort(d->members, d->count, sizeof *d->members, by_place);
    for (size_t i = 1; i < d->count; i++) {
        const cm_zip_member *before = &d->members[i - 1], *m = &d->members[i];
        if (strcmp(before->name, m->name) != 0 && m->at - before->at < before->size + LOCAL + strlen(m->name))
            CM_FAIL(CM_ERR_FORMAT, "%s: zip members '%s' and '%s' overlap", in->name, before->name, m->name);
    }
    qsort(d->members, d->count, sizeof *d->members, by_name);
    for (size_t i = 1; i < d->count; i++)
        if (strcmp(d->members[i - 1].name, d->members[i].name) == 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: zip member '%s' stands there twice", in->name, d->members[i].name);
    return CM_OK;
}

static cm_status read_directory(const cm_input *in, cm_zip_directory *d)
{
    ending e;
    CM_TRY(read_end(in, &e));
    d->text = cmi_malloc(in->context, (size_t)e.size + 1, 1);
    d->members = cmi_calloc(in->context, (size_t)e.count + 1, sizeof *d->members);
    if (!d->text || !d->members) return CM_ERR_MEMORY;
    CM_TRY(cmi_input_read(in, (size_t)e.at, d->text, (size_t)e.size));
    CM_TRY(read_entries(in, &e, d));
    return check_members(in, d);
}

cm_status cmi_zip_directory_read(const cm_input *in, cm_zip_directory *out)
{
    memset(out, 0, sizeof *out);
    out->context = in->context;
    cm_status status = read_directory(in, out);
    if (status != CM_OK) cmi_zip_directory_close(out);
    return status;
}

void cmi_zip_directory_close(cm_zip_directory *d)
{
    if (!d->context) return;
    cmi_free(d->context, d->text);
    cmi_free(d->context, d->members);
    memset(d, 0, sizeof *d);
}

const cm_zip_member *cmi_zip_directory_find(const cm_zip_directory *d, const char *name)
{
    const cm_zip_member key = {.name = name};
    return d->count ? bsearch(&key, d->members, d->count, sizeof key, by_name) : NULL;
}

/* --- checksums ------------------------------------------------------------------------------ */

cm_status cmi_zip_member_check(const cm_input *in, const cm_zip_member *m)
{
    size_t most = m->size < PIECE ? m->size + 1 : PIECE;
    uLong sum = crc32(0, NULL, 0);
    cm_status status = CM_OK;
    if (!m->crc) return CM_OK;
    int held = in->held && m->at >= in->held_from;
    unsigned char *piece = held ? NULL : cmi_malloc(in->context, most, 1);
    if (!held && !piece) return CM_ERR_MEMORY;
    for (size_t done = 0, n; status == CM_OK && done < m->size; done += n) {
        n = m->size - done < most ? m->size - done : most;
        status = cmi_input_report(in, in->work - in->size);
        if (status == CM_OK && !held) status = cmi_input_read(in, m->at + done, piece, n);
        const unsigned char *bytes = held ? in->held + (m->at - in->held_from) + done : piece;
        if (status == CM_OK) sum = crc32(sum, bytes, (uInt)n);
        if (held && cmi_input_is_mapped(in, bytes)) cmi_mapping_forget(bytes, n);
    }
    cmi_free(in->context, piece);
    if (status == CM_OK && sum != m->crc)
        CM_FAIL(CM_ERR_FORMAT, "%s: zip member '%s': its checksum is %08lx, its bytes give %08lx", in->name, m->name,
                (unsigned long)m->crc, sum);
    return status;
}
