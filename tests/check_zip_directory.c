/* The directory of an archive, read by strict rules: archives with everything that one may have give each member's
 * place, size and checksum, and every field that says something else is refused with its reason. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include <zlib.h>

#include "io/zip_directory.h"
#include "support/torch_file.h"

#include "support/counted.h"

/* --- archives ------------------------------------------------------------------------------------------ */

typedef struct {
    const char *name;
    size_t name_length; /* 0: strlen */
    size_t size;
    size_t local_extra, comment;
    const char *extra; /* in the directory */
    size_t extra_size;
    int unknown; /* bits: size, packed size, place are said to be in the extra field */
    int flags;
} entry;

typedef struct {
    block b;
    size_t local[8], data[8], entry[8]; /* places of the headers, the bytes and the entries */
    uint32_t crc[8];
    size_t directory, end64, locator, end;
} archive;

static unsigned char byte_of(size_t i)
{
    return (unsigned char)(i * i % 251 + i % 7);
}

static void put_filling(block *b, size_t n)
{
    for (size_t i = 0; i < n; i++) put(b, &"PK\1\2\3\4\5\6"[i % 8], 1);
}

/* n members behind `first` other bytes; with64: also the long form of the end; then a comment of that many bytes. */
static archive archive_of(const entry *entries, size_t n, size_t first, int with64, size_t comment)
{
    archive a = {.b = {NULL, 0, 0}};
    block *b = &a.b;
    put_filling(b, first);
    for (size_t i = 0; i < n; i++) {
        const entry *e = &entries[i];
        size_t length = e->name_length ? e->name_length : strlen(e->name);
        a.local[i] = b->size;
        PUT(b, "PK\3\4\24\0");
        put_number(b, (uint64_t)e->flags, 2);
        PUT(b, "\0\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20"); /* time, checksum, sizes: nobody looks */
        put_number(b, length, 2);
        put_number(b, e->local_extra, 2);
        put(b, e->name, length);
        put_filling(b, e->local_extra);
        a.data[i] = b->size;
        for (size_t k = 0; k < e->size; k++) put_number(b, byte_of(k), 1);
        a.crc[i] = (uint32_t)crc32(crc32(0, NULL, 0), b->bytes + a.data[i], (uInt)e->size);
    }
    a.directory = b->size;
    for (size_t i = 0; i < n; i++) {
        const entry *e = &entries[i];
        size_t length = e->name_length ? e->name_length : strlen(e->name);
        a.entry[i] = b->size;
        PUT(b, "PK\1\2\24\3\24\0");
        put_number(b, (uint64_t)e->flags, 2);
        PUT(b, "\0\0\1\2\3\4");
        put_number(b, a.crc[i], 4);
        put_number(b, e->unknown & 2 ? 0xffffffff : e->size, 4);
        put_number(b, e->unknown & 1 ? 0xffffffff : e->size, 4);
        put_number(b, length, 2);
        put_number(b, e->extra_size, 2);
        put_number(b, e->comment, 2);
        PUT(b, "\0\0\1\0\1\2\3\4"); /* attributes */
        put_number(b, e->unknown & 4 ? 0xffffffff : a.local[i], 4);
        put(b, e->name, length);
        put(b, e->extra, e->extra_size);
        put_filling(b, e->comment);
    }
    size_t size = b->size - a.directory;
    a.end64 = b->size;
    if (with64) {
        PUT(b, "PK\6\6\54\0\0\0\0\0\0\0\55\0\55\0");
        put_number(b, 0, 8);
        put_number(b, n, 8);
        put_number(b, n, 8);
        put_number(b, size, 8);
        put_number(b, a.directory, 8);
        a.locator = b->size;
        PUT(b, "PK\6\7\0\0\0\0");
        put_number(b, a.end64, 8);
        PUT(b, "\1\0\0\0");
    }
    a.end = b->size;
    PUT(b, "PK\5\6\0\0\0\0");
    put_number(b, n, 2);
    put_number(b, n, 2);
    put_number(b, size, 4);
    put_number(b, a.directory, 4);
    put_number(b, comment, 2);
    put_filling(b, comment);
    return a;
}

static cm_status read_bytes_of(const block *b, cm_zip_directory *d)
{
    cm_input in;
    unsigned char *exact = malloc(b->size + 1);
    if (b->size) memcpy(exact, b->bytes, b->size);
    OK(cmi_input_memory(context, "x", exact, b->size, CM_INPUT_IN_PLACE, &in));
    cm_status status = cmi_zip_directory_read(&in, d);
    cmi_input_close(&in);
    free(exact);
    return status;
}

/* Every member is found as it was put there. */
static void reads(archive a, const entry *entries, size_t n)
{
    cm_zip_directory d;
    OK(read_bytes_of(&a.b, &d));
    ck_assert_uint_eq(d.count, n);
    for (size_t i = 0; i < n; i++) {
        const cm_zip_member *m = cmi_zip_directory_find(&d, entries[i].name);
        ck_assert_msg(m != NULL, "%s", entries[i].name);
        ck_assert_uint_eq(m->at, a.data[i]);
        ck_assert_uint_eq(m->size, entries[i].size);
        ck_assert_uint_eq(m->crc, a.crc[i]);
        if (i) ck_assert_int_lt(strcmp(d.members[i - 1].name, d.members[i].name), 0);
    }
    ck_assert_ptr_null(cmi_zip_directory_find(&d, "a/none"));
    ck_assert_ptr_null(cmi_zip_directory_find(&d, ""));
    cmi_zip_directory_close(&d);
    free(a.b.bytes);
}

static const entry plain[] = {
    {.name = "b/one", .size = 300},
    {.name = "b/empty"},
    {.name = "a/large", .size = 70000, .local_extra = 300},
    {.name = "b/\303\251", .size = 1, .local_extra = 13, .comment = 57},
    {.name = "c", .size = 5, .extra = "\231\231\5\0.....", .extra_size = 9, .comment = 300},
    {.name = "d", .extra = "\231\231\0\0", .extra_size = 4},
    {.name = "e", .size = 2, .flags = 0x808, .extra = "\231\231\1\0.\1\0", .extra_size = 7}};
enum { PLAIN = sizeof plain / sizeof *plain };

START_TEST(whole_archives)
{
    for (size_t n = 0; n <= PLAIN; n++)
        for (int with64 = 0; with64 < 2; with64++) {
            reads(archive_of(plain, n, 0, with64, 0), plain, n);
            reads(archive_of(plain, n, 17, with64, 1), plain, n);
            reads(archive_of(plain, n, 3, with64, 65535), plain, n); /* the longest comment */
        }
    archive a =
        archive_of(plain, 2, 0, 0, 60); /* ... with another end record in it that does not end with the file */
    memcpy(a.b.bytes + a.end + 22 + 3, "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7\0", 22);
    reads(a, plain, 2);
    a = archive_of(plain, 2, 0, 0, 60);
    memcpy(a.b.bytes + a.end + 22 + 60 - 21, "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 21);
    reads(a, plain, 2);
}
END_TEST

/* One record that is the whole archive, and what is too short for one. */
START_TEST(shortest_archive)
{
    cm_zip_directory d;
    block b = {NULL, 0, 0};
    PUT(&b, "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    OK(read_bytes_of(&b, &d));
    ck_assert_uint_eq(d.count, 0);
    ck_assert_ptr_null(cmi_zip_directory_find(&d, "a"));
    cmi_zip_directory_close(&d);
    for (size_t n = 0; n < 22; n++) {
        b.size = n;
        FAILS(read_bytes_of(&b, &d), CM_ERR_FORMAT, "truncated: the zip archive has no end of its directory");
        ck_assert_ptr_null(d.members);
    }
    free(b.bytes);
}
END_TEST

/* --- fields that say something else --------------------------------------------------------------------- */

enum { LOCAL_0, ENTRY_0, ENTRY_1, ENTRY_3, END, END64, LOCATOR };

static size_t place_of(const archive *a, int which)
{
    switch (which) {
    case LOCAL_0: return a->local[0];
    case ENTRY_0: return a->entry[0];
    case ENTRY_1: return a->entry[1];
    case ENTRY_3: return a->entry[3];
    case END: return a->end;
    case END64: return a->end64;
    default: return a->locator;
    }
}

static uint64_t get(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    while (n-- > 0) v = v << 8 | p[n];
    return v;
}

typedef struct {
    int which, offset, width;
    int64_t change;   /* added to what stands there, or ... */
    int64_t value;    /* ... this, where change is 0        */
    cm_status status; /* OK: it is read                     */
    const char *words;
} field;

/* Member 0 of 300 bytes, 1 of none, 2 of 70000, 3 of 1 with a comment: 17 bytes stand before them. */
static void try_fields(const field *rows, size_t n, int with64)
{
    for (size_t i = 0; i < n; i++) {
        archive a = archive_of(plain, 4, 17, with64, 9);
        unsigned char *p = a.b.bytes + place_of(&a, rows[i].which) + rows[i].offset;
        uint64_t v =
            rows[i].change ? get(p, (size_t)rows[i].width) + (uint64_t)rows[i].change : (uint64_t)rows[i].value;
        cm_zip_directory d;
        for (int k = 0; k < rows[i].width; k++, v >>= 8) p[k] = (unsigned char)v;
        cm_status status = read_bytes_of(&a.b, &d);
        ck_assert_msg(status == rows[i].status, "row %zu (%d at %d): %s: %s", i, rows[i].width, rows[i].offset,
                      cm_status_name(status), cm_last_message());
        if (status != CM_OK)
            ck_assert_msg(strstr(cm_last_message(), rows[i].words) != NULL, "row %zu: %s", i, cm_last_message());
        cmi_zip_directory_close(&d);
        free(a.b.bytes);
    }
}

START_TEST(ends_that_disagree)
{
    static const field rows[] = {
        {END, 4, 2, 1, 0, CM_ERR_UNSUPPORTED, "a zip archive of several disks"},
        {END, 5, 1, 1, 0, CM_ERR_UNSUPPORTED, "several disks"},
        {END, 6, 2, 1, 0, CM_ERR_UNSUPPORTED, "several disks"},
        {END, 7, 1, 1, 0, CM_ERR_UNSUPPORTED, "several disks"},
        {END, 8, 2, 1, 0, CM_ERR_UNSUPPORTED, "several disks"},
        {END, 10, 2, 1, 0, CM_ERR_UNSUPPORTED, "several disks"},
        {END, 8, 4, 0, 0x00030003, CM_ERR_FORMAT, "bytes behind its last entry"},
        {END, 8, 4, 0, 0x00050005, CM_ERR_FORMAT, "no entry where one is due"},
        {END, 8, 4, 0, 0x00640064, CM_ERR_FORMAT, "cannot hold 100 members"},
        {END, 8, 4, 0, 0x01000100, CM_ERR_FORMAT, "cannot hold 256 members"},
        {END, 12, 4, 1, 0, CM_ERR_FORMAT, "reaches past its end at"},
        {END, 12, 4, -1, 0, CM_ERR_FORMAT, "its end record begins at"},
        {END, 12, 4, 0, 0xfffffff0, CM_ERR_FORMAT, "reaches past its end at"},
        {END, 16, 4, 1, 0, CM_ERR_FORMAT, "reaches past its end at"},
        {END, 16, 4, -1, 0, CM_ERR_FORMAT, "its end record begins at"},
        {END, 16, 4, 0, 0xfffffff0, CM_ERR_FORMAT, "reaches past its end at"},
        {END, 20, 2, 1, 0, CM_ERR_FORMAT, "no end of its directory"},
        {END, 20, 2, -1, 0, CM_ERR_FORMAT, "no end of its directory"},
        {END, 0, 1, 1, 0, CM_ERR_FORMAT, "no end of its directory"},
        {END, 3, 1, 1, 0, CM_ERR_FORMAT, "no end of its directory"},
        {ENTRY_0, 0, 1, 1, 0, CM_ERR_FORMAT, "no entry where one is due"},
        {ENTRY_1, 3, 1, 1, 0, CM_ERR_FORMAT, "no entry where one is due"},
        {ENTRY_3, 32, 2, 1, 0, CM_ERR_FORMAT, "it ends in an entry"},
        {ENTRY_3, 30, 2, 1, 0, CM_ERR_FORMAT, "it ends in an entry"},
        {ENTRY_3, 28, 2, 1, 0, CM_ERR_FORMAT, "it ends in an entry"},
        {ENTRY_3, 32, 2, -1, 0, CM_ERR_FORMAT, "has 1 bytes behind its last entry"},
    };
    try_fields(rows, sizeof rows / sizeof *rows, 0);
}
END_TEST

START_TEST(ends_of_64_bits)
{
    static const field rows[] = {
        /* The short form may say that it does not know. */
        {END, 4, 2, 0, 0xffff, CM_OK, ""},
        {END, 6, 2, 0, 0xffff, CM_OK, ""},
        {END, 8, 2, 0, 0xffff, CM_OK, ""},
        {END, 10, 2, 0, 0xffff, CM_OK, ""},
        {END, 12, 4, 0, 0xffffffff, CM_OK, ""},
        {END, 16, 4, 0, 0xffffffff, CM_OK, ""},
        {END, 4, 2, 1, 0, CM_ERR_FORMAT, "the two end records of the zip archive disagree"},
        {END, 6, 2, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END, 8, 2, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END, 10, 2, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END, 12, 4, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END, 16, 4, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END, 12, 4, 0, 0xffff, CM_ERR_FORMAT, "disagree"},
        {END64, 16, 4, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 19, 1, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 20, 4, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 23, 1, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 24, 8, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 31, 1, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 32, 8, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 39, 1, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 40, 8, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 47, 1, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 48, 8, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 55, 1, 1, 0, CM_ERR_FORMAT, "disagree"},
        {END64, 0, 1, 1, 0, CM_ERR_FORMAT, "there is no zip64 end record"},
        {END64, 3, 1, 1, 0, CM_ERR_FORMAT, "there is no zip64 end record"},
        {LOCATOR, 8, 8, 1, 0, CM_ERR_FORMAT, "there is no zip64 end record"},
        {LOCATOR, 8, 8, 0, 1 << 20, CM_ERR_FORMAT, "the zip64 end record lies at 1048576, outside of the file"},
        {LOCATOR, 15, 1, 1, 0, CM_ERR_FORMAT, "outside of the file"},
        {LOCATOR, 0, 1, 1, 0, CM_ERR_FORMAT, "its end record begins at"}, /* there is no long form then */
        {LOCATOR, 3, 1, 1, 0, CM_ERR_FORMAT, "its end record begins at"},
    };
    try_fields(rows, sizeof rows / sizeof *rows, 1);
    /* Where the short form knows nothing, the long one decides. */
    for (int k = 0; k < 5; k++) {
        static const struct {
            size_t offset;
            int change;
            cm_status status;
            const char *words;
        } long_form[] = {{16, 1, CM_ERR_UNSUPPORTED, "several disks"},
                         {20, 1, CM_ERR_UNSUPPORTED, "several disks"},
                         {24, 1, CM_ERR_UNSUPPORTED, "several disks"},
                         {40, 1, CM_ERR_FORMAT, "reaches past its end"},
                         {48, -1, CM_ERR_FORMAT, "its end record begins at"}};
        archive a = archive_of(plain, 4, 17, 1, 0);
        cm_zip_directory d;
        memset(a.b.bytes + a.end + 4, 0xff, 16);
        unsigned char *p = a.b.bytes + a.end64 + long_form[k].offset;
        *p = (unsigned char)(*p + long_form[k].change);
        FAILS(read_bytes_of(&a.b, &d), long_form[k].status, long_form[k].words);
        free(a.b.bytes);
    }
    archive a = archive_of(plain, 4, 17, 1, 0);
    memset(a.b.bytes + a.end + 4, 0xff, 16);
    reads(a, plain, 4);
    /* The last place that the record can have in the file, and one further. */
    for (uint64_t beyond = 0; beyond < 2; beyond++) {
        cm_zip_directory d;
        a = archive_of(plain, 0, 0, 1, 0);
        uint64_t at = a.b.size - 56 + beyond;
        a.b.bytes[a.locator + 8] = (unsigned char)at;
        FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT,
              beyond ? "outside of the file" : "there is no zip64 end record");
        free(a.b.bytes);
    }
    block b = {NULL, 0, 0}; /* a file shorter than such a record */
    cm_zip_directory d;
    PUT(&b, "PK\6\7\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    FAILS(read_bytes_of(&b, &d), CM_ERR_FORMAT, "the zip64 end record lies at 0, outside of the file");
    b.size = 0; /* and one of its length */
    put_filling(&b, 14);
    PUT(&b, "PK\6\7\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    ck_assert_uint_eq(b.size, 56);
    FAILS(read_bytes_of(&b, &d), CM_ERR_FORMAT, "there is no zip64 end record");
    free(b.bytes);
}
END_TEST

START_TEST(members_that_disagree)
{
    static const field rows[] = {
        {ENTRY_0, 8, 2, 0, 1, CM_ERR_UNSUPPORTED, "zip member 'b/one' is encrypted"},
        {ENTRY_0, 8, 2, 0, 0x40, CM_ERR_UNSUPPORTED, "'b/one' is encrypted"},
        {ENTRY_0, 8, 2, 0, 0x2000, CM_ERR_UNSUPPORTED, "'b/one' is encrypted"},
        {ENTRY_0, 8, 2, 0, 0xdfbe, CM_OK, ""}, /* every other flag */
        {LOCAL_0, 6, 2, 0, 1, CM_ERR_UNSUPPORTED, "'b/one' is encrypted, as its local header says"},
        {LOCAL_0, 6, 2, 0, 0x40, CM_ERR_UNSUPPORTED, "as its local header says"},
        {LOCAL_0, 6, 2, 0, 0x2000, CM_ERR_UNSUPPORTED, "as its local header says"},
        {LOCAL_0, 6, 2, 0, 0xdfbe, CM_OK, ""},
        {ENTRY_0, 10, 2, 0, 8, CM_ERR_UNSUPPORTED, "zip member 'b/one' is compressed (method 8)"},
        {ENTRY_0, 10, 2, 0, 256, CM_ERR_UNSUPPORTED, "is compressed (method 256)"},
        {ENTRY_0, 20, 4, 1, 0, CM_ERR_FORMAT, "'b/one' is stored as it is, yet has 300 bytes and 301 in the archive"},
        {ENTRY_0, 24, 4, -1, 0, CM_ERR_FORMAT, "yet has 299 bytes and 300 in the archive"},
        {LOCAL_0, 8, 2, 0, 8, CM_ERR_FORMAT, "zip member 'b/one': its local header is of something else"},
        {LOCAL_0, 8, 2, 0, 256, CM_ERR_FORMAT, "its local header is of something else"},
        {LOCAL_0, 0, 1, 1, 0, CM_ERR_FORMAT, "its local header is of something else"},
        {LOCAL_0, 3, 1, 1, 0, CM_ERR_FORMAT, "its local header is of something else"},
        {LOCAL_0, 26, 2, 1, 0, CM_ERR_FORMAT, "its local header is of something else"},
        {LOCAL_0, 26, 2, 256, 0, CM_ERR_FORMAT, "its local header is of something else"},
        {LOCAL_0, 30, 1, 1, 0, CM_ERR_FORMAT, "its local header is of something else"},
        {LOCAL_0, 34, 1, 1, 0, CM_ERR_FORMAT, "its local header is of something else"},
        {ENTRY_0, 42, 4, 1, 0, CM_ERR_FORMAT, "its local header is of something else"},
        {ENTRY_0, 42, 4, 0, 0x7fffffff, CM_ERR_FORMAT, "'b/one' lies at 2147483647, outside of the archive"},
        {LOCAL_0, 28, 2, 0, 0xffff, CM_ERR_FORMAT, "zip members"},
        {LOCAL_0, 28, 2, 1, 0, CM_ERR_FORMAT, "zip members 'b/one' and 'b/empty' overlap"},
        {LOCAL_0, 14, 4, 0, 0, CM_OK, ""}, /* sum and sizes of a local header say nothing */
        {LOCAL_0, 18, 8, 0, 0, CM_OK, ""},
    };
    try_fields(rows, sizeof rows / sizeof *rows, 0);
    for (int more = 0; more < 2; more++) { /* both sizes, of the first member and of the last one */
        archive a = archive_of(plain, 4, 17, 0, 0);
        cm_zip_directory d;
        size_t at = a.entry[more ? 3 : 0];
        a.b.bytes[at + 20]++, a.b.bytes[at + 24]++;
        FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT,
              more ? "its 2 bytes at" : "zip members 'b/one' and 'b/empty' overlap");
        free(a.b.bytes);
    }
}
END_TEST

/* A member without bytes just before the directory, and headers that do not fit there. */
START_TEST(last_places)
{
    static const entry last = {.name = "last"};
    cm_zip_directory d;
    reads(archive_of(&last, 1, 0, 0, 0), &last, 1);
    reads(archive_of(&last, 1, 5, 0, 0), &last, 1);
    archive a = archive_of(&last, 1, 5, 0, 0);
    a.b.bytes[a.entry[0] + 42]++;
    FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "zip member 'last' lies at 6, outside of the archive");
    free(a.b.bytes);
    a = archive_of(&last, 1, 5, 0, 0);
    a.b.bytes[a.local[0] + 28]++; /* one byte of extra field */
    FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "its 0 bytes at 40 reach past the archive's data");
    free(a.b.bytes);
    a = archive_of(&last, 1, 0, 0, 0); /* the directory begins where the header would end, but for one byte */
    memmove(a.b.bytes, a.b.bytes + 1, a.b.size - 1);
    a.b.size--;
    a.b.bytes[a.end - 1 + 16]--;
    FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "zip member 'last' lies at 0, outside of the archive");
    free(a.b.bytes);
    static const entry bytes = {.name = "last", .size = 3}; /* its bytes end where the directory begins */
    reads(archive_of(&bytes, 1, 5, 0, 0), &bytes, 1);
}
END_TEST

START_TEST(the_same_twice)
{
    static const entry twice[] = {{.name = "a", .size = 3}, {.name = "b"}, {.name = "a", .size = 4}};
    cm_zip_directory d;
    archive a = archive_of(twice, 3, 0, 0, 0);
    FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "zip member 'a' stands there twice");
    memcpy(a.b.bytes + a.entry[2], a.b.bytes + a.entry[0], 46); /* the same bytes under the same name */
    FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "zip member 'a' stands there twice");
    free(a.b.bytes);
    /* One that lies in the bytes of another, which is whole. */
    static const entry outer[] = {{.name = "a", .size = 200}, {.name = "b", .size = 10}};
    a = archive_of(outer, 2, 0, 0, 0);
    memcpy(a.b.bytes + a.data[0] + 20, a.b.bytes + a.local[1], 31);
    a.b.bytes[a.entry[1] + 42] = (unsigned char)(a.data[0] + 20);
    FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "zip members 'a' and 'b' overlap");
    free(a.b.bytes);
}
END_TEST

/* --- names and extra fields ------------------------------------------------------------------------------- */

START_TEST(names)
{
    static const struct {
        const char *name;
        int good;
    } rows[] = {{"a", 1},        {".", 1},     {"...", 1},    {".a/b", 1},    {"b/.a", 1},    {"b/.", 1},
                {"..a", 1},      {"a..", 1},   {"a/..b", 1},  {"a../b", 1},   {"a/.../b", 1}, {"a/.", 1},
                {"./a", 1},      {"a//b", 1},  {"a/", 1},     {"a b", 1},     {".a./b", 1},   {"a/b..", 1},
                {"/", 0},        {"/a", 0},    {"..", 0},     {"../a", 0},    {"a/..", 0},    {"a/../b", 0},
                {"a/b/..", 0},   {"a\\b", 0},  {"\\", 0},     {"a\\", 0},     {"\xff", 0},    {"a\xc3", 0},
                {"\xc3\xa9", 1}, {".a/..", 0}, {"x../..", 0}, {"a.b./..", 0}, {"./..", 0},    {"../..", 0},
                {"..b/..", 0}};
    cm_zip_directory d;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const entry e[2] = {{.name = rows[i].name, .size = 4}, {.name = "other", .size = 2}};
        archive a = archive_of(e, 2, 0, 0, 0);
        if (rows[i].good) {
            reads(a, e, 2);
            continue;
        }
        FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT,
              "a zip member's name is absolute, over 4096 bytes, not UTF-8, or has \"..\", a backslash or NUL");
        free(a.b.bytes);
    }
    static const entry dot = {
        .name = "a/.", .size = 3, .extra = "./\0\0", .extra_size = 4}; /* what is behind is no name */
    reads(archive_of(&dot, 1, 0, 0, 0), &dot, 1);
    const entry nul = {.name = "a\0b", .name_length = 3};
    archive a = archive_of(&nul, 1, 0, 0, 0);
    FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "or NUL");
    free(a.b.bytes);
    a = archive_of(plain, 1, 0, 0, 0); /* no name: the entry is shorter than those of names are */
    a.b.bytes[a.entry[0] + 28] = 0, a.b.bytes[a.entry[0] + 32] = 5;
    FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "a zip member's name is absolute");
    free(a.b.bytes);
    for (size_t n = 4095; n <= 4097; n++) {
        char *name = calloc(n + 1, 1);
        memset(name, 'n', n);
        const entry e = {.name = name, .size = 3};
        a = archive_of(&e, 1, 0, 0, 0);
        if (n <= 4096) reads(a, &e, 1);
        else {
            FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "over 4096 bytes");
            free(a.b.bytes);
        }
        free(name);
    }
}
END_TEST

/* The 64-bit sizes of an entry: those that it gives as unknown, in the order size, packed size, place. */
START_TEST(extra_fields)
{
#define SIZE64 "\3\0\0\0\0\0\0\0"
#define ZERO64 "\0\0\0\0\0\0\0\0"
#define EXTRA(text) .extra = text, .extra_size = sizeof(text) - 1
    static const entry good[] = {
        {.name = "a", .size = 3, .unknown = 3, EXTRA("\1\0\20\0" SIZE64 SIZE64)},
        {.name = "a", .size = 3, .unknown = 1, EXTRA("\1\0\10\0" SIZE64)},
        {.name = "a", .size = 3, .unknown = 2, EXTRA("\1\0\10\0" SIZE64)},
        {.name = "a", .size = 3, .unknown = 4, EXTRA("\1\0\10\0" ZERO64)},
        {.name = "a", .size = 3, .unknown = 5, EXTRA("\1\0\20\0" SIZE64 ZERO64)},
        {.name = "a", .size = 3, .unknown = 6, EXTRA("\1\0\20\0" SIZE64 ZERO64)},
        {.name = "a", .size = 3, .unknown = 7, EXTRA("\1\0\30\0" SIZE64 SIZE64 ZERO64)},
        {.name = "a", .size = 3, .unknown = 7, EXTRA("\1\0\34\0" SIZE64 SIZE64 ZERO64 "\0\0\0\0")}, /* and a disk */
        {.name = "a", .size = 3, .unknown = 1, EXTRA("\231\231\3\0...\1\0\10\0" SIZE64)},
        {.name = "a", .size = 3, .unknown = 1, EXTRA("\1\1\10\0........\1\0\10\0" SIZE64 "\1\0\10\0" ZERO64)},
        {.name = "a", .size = 3, .unknown = 1, EXTRA("\1\0\10\0" SIZE64 "...")},
        {.name = "a", .size = 3, EXTRA("\1\0\0\0")},
        {.name = "a", .size = 3, EXTRA("\1\0\10\0" ZERO64)}, /* nothing is unknown */
        {.name = "a", .size = 3, EXTRA("\1\0")},
        {.name = "a", .size = 3, EXTRA("...")},
    };
    static const entry bad[] = {
        {.name = "a", .size = 3, .unknown = 1},
        {.name = "a", .size = 3, .unknown = 2},
        {.name = "a", .size = 3, .unknown = 4},
        {.name = "a", .size = 3, .unknown = 1, EXTRA("\231\231\10\0" SIZE64)},
        {.name = "a", .size = 3, .unknown = 2, EXTRA("\231\231\10\0" SIZE64)},
        {.name = "a", .size = 3, .unknown = 4, EXTRA("\231\231\10\0" ZERO64)},
        {.name = "a", .size = 3, .unknown = 1, EXTRA("\1\0\7\0\3\0\0\0\0\0\0")},
        {.name = "a", .size = 3, .unknown = 3, EXTRA("\1\0\10\0" SIZE64)},
        {.name = "a", .size = 3, .unknown = 3, EXTRA("\1\0\17\0" SIZE64 "\3\0\0\0\0\0\0")},
        {.name = "a", .size = 3, .unknown = 7, EXTRA("\1\0\20\0" SIZE64 SIZE64)},
        {.name = "a", .size = 3, .unknown = 1, EXTRA("\1\0\11\0" SIZE64)}, /* longer than the field is */
        {.name = "a", .size = 3, .unknown = 1, EXTRA("\231\231\1\0.\1\0\11\0" SIZE64)},
        {.name = "a", .size = 3, EXTRA("\231\231\1\0")},
        {.name = "a", .size = 3, EXTRA("\231\231\0\1....")},
    };
    cm_zip_directory d;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) reads(archive_of(&good[i], 1, 0, 0, 0), &good[i], 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        archive a = archive_of(&bad[i], 1, 0, 0, 0);
        FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "a zip member's 64-bit sizes are missing");
        free(a.b.bytes);
    }
    static const entry large = {
        .name = "a", .size = 3, .unknown = 3, EXTRA("\1\0\20\0\3\0\0\0\1\0\0\0\3\0\0\0\1\0\0\0")};
    archive b = archive_of(&large, 1, 0, 0, 0);
    FAILS(read_bytes_of(&b.b, &d), CM_ERR_FORMAT, "its 4294967299 bytes at 31 reach past the archive's data");
    free(b.b.bytes);
    static const entry far = {.name = "a", .size = 3, .unknown = 4, EXTRA("\1\0\10\0\0\0\0\0\1\0\0\0")};
    b = archive_of(&far, 1, 0, 0, 0);
    FAILS(read_bytes_of(&b.b, &d), CM_ERR_FORMAT, "zip member 'a' lies at 4294967296, outside of the archive");
    free(b.b.bytes);
    static const entry other = {.name = "a", .size = 3, .unknown = 3, EXTRA("\1\0\20\0" SIZE64 "\4\0\0\0\0\0\0\0")};
    archive a = archive_of(&other, 1, 0, 0, 0);
    FAILS(read_bytes_of(&a.b, &d), CM_ERR_FORMAT, "yet has 3 bytes and 4 in the archive");
    free(a.b.bytes);
}
END_TEST

/* --- checksums -------------------------------------------------------------------------------------------- */

static int reports;

static int32_t note_report(void *user, uint64_t done, uint64_t all)
{
    ck_assert(done == 100 && all == *(uint64_t *)user);
    return ++reports == 3;
}

static int32_t give(void *user, uint64_t offset, void *to, size_t n)
{
    memcpy(to, (const unsigned char *)user + offset, n);
    return (int32_t)n;
}

/* Of a block in memory, and of what a function reads, a piece of a megabyte at a time. */
START_TEST(checksums)
{
    static const size_t sizes[] = {0, 1, 2, 1000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 5};
    unsigned char *bytes = malloc((2 << 20) + 64);
    for (size_t i = 0; i < (2 << 20) + 64; i++) bytes[i] = byte_of(i);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int way = 0; way < 3; way++) {
            const size_t whole = sizes[k] + 50;
            const cm_reader reader = {sizeof reader, 0, whole, give, bytes};
            const unsigned char *held;
            cm_input in;
            if (way == 1) OK(cmi_input_reader(context, &reader, CM_INPUT_FETCHED, &in));
            else OK(cmi_input_memory(context, "x", bytes, whole, CM_INPUT_IN_PLACE, &in));
            if (way == 2) OK(cmi_input_hold(&in, 7, &held));
            in.work = whole + 100;
            const long requests = counted.requests;
            for (size_t at = way == 2 ? 7 : 0; at < 20; at += 11) {
                cm_zip_member m = {"m", at, sizes[k], (uint32_t)crc32(crc32(0, NULL, 0), bytes + at, (uInt)sizes[k])};
                OK(cmi_zip_member_check(&in, &m));
                m.crc ^= 1;
                FAILS(cmi_zip_member_check(&in, &m), CM_ERR_FORMAT, "zip member 'm': its checksum is");
                m.crc = 0; /* nobody has computed it */
                OK(cmi_zip_member_check(&in, &m));
            }
            if (sizes[k] > 2 << 20) { /* a caller can stop it at the third piece */
                const cm_zip_member m = {"m", 7, sizes[k], 1};
                in.report = note_report;
                in.report_user = &in.work;
                reports = 0;
                FAILS(cmi_zip_member_check(&in, &m), CM_ERR_CANCELLED, "cancelled");
                ck_assert_int_eq(reports, 3);
            }
            if (way == 2) ck_assert_int_eq((int)(counted.requests - requests), 0); /* what is held is not copied */
            cmi_input_close(&in);
        }
    for (size_t i = 0; i < (2 << 20) + 64; i++) ck_assert(bytes[i] == byte_of(i)); /* the caller's memory stays */
    free(bytes);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("zip_directory");
    TCase *t = tcase_create("zip_directory");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, whole_archives);
    tcase_add_test(t, shortest_archive);
    tcase_add_test(t, ends_that_disagree);
    tcase_add_test(t, ends_of_64_bits);
    tcase_add_test(t, members_that_disagree);
    tcase_add_test(t, last_places);
    tcase_add_test(t, the_same_twice);
    tcase_add_test(t, names);
    tcase_add_test(t, extra_fields);
    tcase_add_test(t, checksums);
    suite_add_tcase(s, t);
    return s;
}
