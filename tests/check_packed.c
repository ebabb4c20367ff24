/* Zip archives and gzip files as they are read: entries and pieces of every size, what links and names are, claims
 * that no file can keep, damage, and files that change while they are open. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/gunzip.h"
#include "io/zip.h"
#include "support/files.h"
#include "support/sets.h"

/* Fails with exactly this message. */
#define SAYS(call, status, text)                                                                                     \
    do {                                                                                                             \
        ck_assert_int_eq((int)(call), (int)(status));                                                                \
        ck_assert_str_eq(cm_last_message(), text);                                                                   \
    } while (0)

/* Bytes that no coder makes small, or that repeat; the caller's to free. */
static unsigned char *content(size_t n, int rough)
{
    uint64_t seed = 5;
    unsigned char *b = malloc(n + 1);
    for (size_t i = 0; i < n; i++) b[i] = (unsigned char)(rough ? random_int(&seed, 0, 255) : (int)(i % 7));
    return b;
}

/* --- zip ------------------------------------------------------------------------------------- */

START_TEST(zip_beginnings)
{
    static const struct {
        const char *bytes;
        size_t n;
        int is;
    } rows[] = {{"PK\3\4", 4, 1}, {"PK\5\6", 4, 1}, {"PK\3\4more", 8, 1}, {"PK\7\10", 4, 0}, {"PK\3\6", 4, 0},
                {"PK\5\4", 4, 0}, {"PK\3", 3, 0},   {"", 0, 0},           {"pk\3\4", 4, 0},  {"\x93NUMPY", 6, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int is = 7;
        write_bytes(in_dir("z"), rows[i].bytes, rows[i].n);
        OK(cmi_zip_is(in_dir("z"), &is));
        ck_assert_int_eq(is, rows[i].is);
    }
}
END_TEST

/* Sizes around the piece that is read ahead, one entry behind another, in several orders. */
START_TEST(zip_entries)
{
    static const size_t sizes[] = {0, 1, 4095, 16383, 16384, 16385, 40000, 5, 100000, 16384 - 64};
    enum { N = sizeof sizes / sizeof *sizes };
    for (int store = 0; store < 2; store++)
        for (int rough = 0; rough < 2; rough++) {
            const char *names[N];
            const void *data[N];
            char text[N][8];
            cm_zip *z;
            for (int i = 0; i < N; i++) {
                snprintf(text[i], sizeof text[i], "e%d", i);
                names[i] = text[i], data[i] = content(sizes[i], rough);
            }
            make_zip(in_dir("e.zip"), names, data, sizes, N, store);
            OK(cmi_zip_open(context, in_dir("e.zip"), &z));
            ck_assert_uint_eq(cmi_zip_count(z), N);
            for (size_t turn = 0; turn < 2 * N; turn++) {
                const size_t i = turn < N ? turn : (turn * 7 + 3) % N;
                unsigned char *got, head[64];
                size_t n;
                ck_assert_str_eq(cmi_zip_name(z, i), names[i]);
                ck_assert_uint_eq(cmi_zip_size(z, i), sizes[i]);
                ck_assert_int_eq(cmi_zip_is_link(z, i), 0);
                OK(cmi_zip_read(z, i, &got, &n));
                ck_assert_uint_eq(n, sizes[i]);
                ck_assert_msg(memcmp(got, data[i], n) == 0 && got[n] == 0, "entry %zu", i);
                cmi_free(context, got);
                for (size_t want = 1; want <= sizeof head; want += 63) {
                    memset(head, '#', sizeof head);
                    OK(cmi_zip_head(z, i, head, want, &n));
                    ck_assert_uint_eq(n, sizes[i] < want ? sizes[i] : want);
                    ck_assert_int_eq(memcmp(head, data[i], n), 0);
                    if (n < sizeof head) ck_assert_int_eq(head[n], '#');
                }
            }
            ck_assert_str_eq(cmi_zip_name(z, N), "");
            ck_assert_uint_eq(cmi_zip_size(z, N), 0);
            ck_assert_int_eq(cmi_zip_is_link(z, N), 0);
            cmi_zip_close(z);
            for (int i = 0; i < N; i++) free((void *)(uintptr_t)data[i]);
        }
}
END_TEST

/* Symbolic links are what Unix says of an entry, and nothing else is one. */
START_TEST(zip_links)
{
    static const struct {
        zip_uint8_t system;
        unsigned mode;
        int is;
    } rows[] = {{ZIP_OPSYS_UNIX, 0120777, 1}, {ZIP_OPSYS_UNIX, 0120000, 1}, {ZIP_OPSYS_UNIX, 0100644, 0},
                {ZIP_OPSYS_UNIX, 0040755, 0}, {ZIP_OPSYS_UNIX, 0160777, 0}, {ZIP_OPSYS_UNIX, 0140777, 0},
                {ZIP_OPSYS_UNIX, 0, 0},       {ZIP_OPSYS_DOS, 0120777, 0}};
    enum { N = sizeof rows / sizeof *rows };
    int error;
    cm_zip *z;
    zip_t *archive = zip_open(in_dir("l.zip"), ZIP_CREATE | ZIP_TRUNCATE, &error);
    for (int i = 0; i < N; i++) {
        char name[8];
        snprintf(name, sizeof name, "e%d", i);
        const zip_int64_t k = zip_file_add(archive, name, zip_source_buffer(archive, "x", 1, 0), 0);
        ck_assert_int_eq(
            zip_file_set_external_attributes(archive, (zip_uint64_t)k, 0, rows[i].system, rows[i].mode << 16), 0);
    }
    ck_assert_int_eq(zip_close(archive), 0);
    OK(cmi_zip_open(context, in_dir("l.zip"), &z));
    for (size_t i = 0; i < N; i++) ck_assert_msg(cmi_zip_is_link(z, i) == rows[i].is, "row %zu", i);
    cmi_zip_close(z);
}
END_TEST

/* Sets a number of four bytes behind a mark: at `local` in the entry's own header, at `central` in the directory. */
static void claim(unsigned char *all, size_t size, size_t local, size_t central, uint32_t value)
{
    for (size_t i = 0; i + 4 <= size; i++) {
        const size_t at = memcmp(all + i, "PK\3\4", 4) == 0 ? local : memcmp(all + i, "PK\1\2", 4) == 0 ? central : 0;
        for (size_t k = 0; at && k < 4; k++) all[i + at + k] = (unsigned char)(value >> 8 * k);
    }
}

/* What deflate really does is read; a byte more than it can do is refused before memory is taken. */
START_TEST(zip_claims)
{
    enum { ZEROS = 1 << 21 };
    unsigned char *zeros = calloc(ZEROS, 1), *got;
    const char *const names[] = {"e"};
    const void *const data[] = {zeros};
    const size_t sizes[] = {ZEROS};
    char path[300], text[400];
    size_t n, all_size;
    cm_zip *z;
    snprintf(path, sizeof path, "%s", in_dir("c.zip"));
    make_zip(path, names, data, sizes, 1, 0);
    unsigned char *all = read_bytes(path, &all_size);
    const uint32_t packed = (uint32_t)all[18] | (uint32_t)all[19] << 8;
    ck_assert_uint_gt(sizes[0] / packed, 1000);
    OK(cmi_zip_open(context, path, &z));
    OK(cmi_zip_read(z, 0, &got, &n));
    ck_assert(n == ZEROS && memcmp(got, zeros, n) == 0);
    cmi_free(context, got);
    cmi_zip_close(z);
    const uint32_t most = packed * 1032 + 1024;
    for (uint32_t more = 0; more < 2; more++) {
        claim(all, all_size, 22, 24, most + more);
        write_bytes(path, all, all_size);
        OK(cmi_zip_open(context, path, &z));
        ck_assert_uint_eq(cmi_zip_size(z, 0), most + more);
        got = zeros;
        snprintf(text, sizeof text, "%s: entry 'e': it claims more bytes than deflate can make of it", path);
        const cm_status status = cmi_zip_read(z, 0, &got, &n);
        ck_assert_int_eq((int)status, (int)CM_ERR_FORMAT);
        ck_assert_ptr_null(got);
        ck_assert_msg((strcmp(cm_last_message(), text) == 0) == (int)more, "%s", cm_last_message());
        cmi_zip_close(z);
    }
    claim(all, all_size, 22, 24, ZEROS - 1); /* longer than it says */
    write_bytes(path, all, all_size);
    OK(cmi_zip_open(context, path, &z));
    FAILS(cmi_zip_read(z, 0, &got, &n), CM_ERR_FORMAT, "c.zip: entry 'e': ");
    cmi_zip_close(z);
    claim(all, all_size, 22, 24, ZEROS);
    claim(all, all_size, 14, 16, 0x12345678); /* another checksum */
    write_bytes(path, all, all_size);
    OK(cmi_zip_open(context, path, &z));
    FAILS(cmi_zip_read(z, 0, &got, &n), CM_ERR_FORMAT, "c.zip: entry 'e': CRC error");
    cmi_zip_close(z);
    free(all);
    free(zeros);
}
END_TEST

/* Deflate's bytes are damaged at once: nothing of the entry is read, and its beginning is no trouble. */
START_TEST(zip_damaged_inside)
{
    unsigned char *data = content(5000, 0), *got = data, head[10];
    const char *const names[] = {"e"};
    const void *const list[] = {data};
    const size_t sizes[] = {5000};
    char path[300], text[400];
    size_t size, n = 7;
    cm_zip *z;
    snprintf(path, sizeof path, "%s", in_dir("i.zip"));
    make_zip(path, names, list, sizes, 1, 0);
    unsigned char *all = read_bytes(path, &size);
    all[30 + 1] |= 7; /* behind the header and the name: a block of a kind that there is not */
    write_bytes(path, all, size);
    OK(cmi_zip_open(context, path, &z));
    OK(cmi_zip_head(z, 0, head, sizeof head, &n));
    ck_assert_uint_eq(n, 0);
    snprintf(text, sizeof text, "%s: entry 'e': Zlib error: data error", path);
    SAYS(cmi_zip_read(z, 0, &got, &n), CM_ERR_FORMAT, text);
    ck_assert_ptr_null(got);
    cmi_zip_close(z);
    free(all);
    free(data);
}
END_TEST

/* An archive with one stored entry whose last bytes are damaged. */
static cm_zip *damaged(const char *path)
{
    unsigned char *data = content(50000, 1);
    const char *const names[] = {"e"};
    const void *const list[] = {data};
    const size_t sizes[] = {50000};
    size_t size;
    cm_zip *z;
    make_zip(path, names, list, sizes, 1, 1);
    unsigned char *all = read_bytes(path, &size);
    all[49000] ^= 1;
    write_bytes(path, all, size);
    free(all);
    free(data);
    OK(cmi_zip_open(context, path, &z));
    return z;
}

/* What is wrong with an entry is damage, unless somebody has changed the open file: then it is trouble. */
START_TEST(zip_changed_while_open)
{
    enum { AS_IT_WAS, LONGER, SECONDS, NANOSECONDS, GONE, REPLACED, WAYS };
    char path[300], text[400];
    unsigned char *got, head[10];
    size_t n;
    for (int way = 0; way < WAYS; way++) {
        struct stat was;
        snprintf(path, sizeof path, "%s", in_dir("d.zip"));
        cm_zip *z = damaged(path);
        ck_assert_int_eq(stat(path, &was), 0);
        struct timespec times[2] = {was.st_atim, was.st_mtim};
        if (way == LONGER) {
            ck_assert_int_eq(truncate(path, was.st_size + 1), 0);
            ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
        }
        if (way == SECONDS) times[1].tv_sec--;
        if (way == NANOSECONDS) times[1].tv_nsec ^= 1;
        if (way == SECONDS || way == NANOSECONDS) ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
        if (way == GONE) unlink(path);
        if (way == REPLACED) {
            write_bytes(in_dir("new"), "other", 5);
            ck_assert_int_eq(rename(in_dir("new"), path), 0);
        }
        const int trouble = way == LONGER || way == SECONDS || way == NANOSECONDS;
        OK(cmi_zip_head(z, 0, head, sizeof head, &n)); /* its beginning is good */
        ck_assert_uint_eq(n, sizeof head);
        if (trouble)
            snprintf(text, sizeof text,
                     "cannot read '%s', which has changed since it was opened: entry 'e': CRC error", path);
        else snprintf(text, sizeof text, "%s: entry 'e': CRC error", path);
        ck_assert_msg(cmi_zip_read(z, 0, &got, &n) == (trouble ? CM_ERR_IO : CM_ERR_FORMAT), "way %d: %s", way,
                      cm_last_message());
        ck_assert_str_eq(cm_last_message(), text);
        cmi_zip_close(z);
    }
}
END_TEST

/* The first bytes of an entry are no trouble when they are damaged, but when somebody has changed or cut the file. */
START_TEST(zip_heads_of_changed_files)
{
    enum { AS_IT_WAS, TOUCHED, CUT, CUT_AND_GONE, GONE, WAYS };
    char path[300], text[400];
    unsigned char *data = content(50000, 1), head[10], *got;
    const char *const names[] = {"e"};
    const void *const list[] = {data};
    const size_t sizes[] = {50000};
    for (int way = 0; way < WAYS; way++) {
        struct stat was;
        size_t size, n = 7;
        cm_zip *z;
        snprintf(path, sizeof path, "%s", in_dir("h.zip"));
        make_zip(path, names, list, sizes, 1, 0);
        unsigned char *all = read_bytes(path, &size);
        if (way < CUT) all[30 + 1] |= 7; /* a block of deflate of a kind that there is not */
        write_bytes(path, all, size);
        free(all);
        OK(cmi_zip_open(context, path, &z));
        ck_assert_int_eq(stat(path, &was), 0);
        struct timespec times[2] = {was.st_atim, was.st_mtim};
        times[1].tv_sec--;
        if (way == TOUCHED) ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
        if (way == CUT || way == CUT_AND_GONE) ck_assert_int_eq(truncate(path, 20), 0);
        if (way == CUT_AND_GONE || way == GONE) unlink(path);
        const cm_status status = cmi_zip_head(z, 0, head, sizeof head, &n);
        if (way == AS_IT_WAS || way == GONE) {
            ck_assert_msg(status == CM_OK, "way %d: %s", way, cm_last_message());
            ck_assert_uint_eq(n, way == GONE ? sizeof head : 0);
        } else {
            snprintf(text, sizeof text, "cannot read '%s', which has changed since it was opened: entry 'e': ", path);
            if (way == CUT_AND_GONE) snprintf(text, sizeof text, "cannot read '%s': Input/output error", path);
            ck_assert_msg(status == CM_ERR_IO, "way %d: %s", way, cm_last_message());
            ck_assert_msg(strncmp(cm_last_message(), text, strlen(text)) == 0, "way %d: %s", way, cm_last_message());
            FAILS(cmi_zip_read(z, 0, &got, &n), CM_ERR_IO, text);
            ck_assert_ptr_null(got);
        }
        cmi_zip_close(z);
    }
    free(data);
}
END_TEST

/* An entry that is shorter than what is asked for is no trouble either, though the file was touched. */
START_TEST(zip_heads_of_short_entries)
{
    const char *const names[] = {"e"};
    const void *const list[] = {"short"};
    const size_t sizes[] = {5};
    const struct timespec times[2] = {{1000, 0}, {1000, 0}};
    unsigned char head[10];
    size_t n = 7;
    cm_zip *z;
    make_zip(in_dir("s.zip"), names, list, sizes, 1, 0);
    OK(cmi_zip_open(context, in_dir("s.zip"), &z));
    ck_assert_int_eq(utimensat(AT_FDCWD, in_dir("s.zip"), times, 0), 0);
    OK(cmi_zip_head(z, 0, head, sizeof head, &n));
    ck_assert(n == 5 && memcmp(head, "short", 5) == 0);
    cmi_zip_close(z);
}
END_TEST

START_TEST(zip_refused)
{
    cm_zip *z;
    write_bytes(in_dir("no.zip"), "PK\3\4 and nothing more of it", 28);
    FAILS(cmi_zip_open(context, in_dir("no.zip"), &z), CM_ERR_FORMAT, "no.zip: not a good zip archive: ");
    ck_assert_ptr_null(z);
    FAILS(cmi_zip_open(context, in_dir("none.zip"), &z), CM_ERR_IO, "none.zip");
    FAILS(cmi_zip_open(context, dir, &z), CM_ERR_IO, dir);
    static const char empty[22] = "PK\5\6";
    write_bytes(in_dir("empty.zip"), empty, sizeof empty);
    OK(cmi_zip_open(context, in_dir("empty.zip"), &z));
    ck_assert_uint_eq(cmi_zip_count(z), 0);
    cmi_zip_close(z);
}
END_TEST

/* --- gzip ------------------------------------------------------------------------------------ */

/* A part of a file as gzip writes it; the caller's to free. */
static unsigned char *pack(const unsigned char *data, size_t n, int level, size_t *size)
{
    z_stream z = {0};
    ck_assert_int_eq(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    unsigned char *out = malloc(deflateBound(&z, n) + 100);
    z.next_in = (unsigned char *)(uintptr_t)data, z.avail_in = (unsigned)n;
    z.next_out = out, z.avail_out = (unsigned)deflateBound(&z, n) + 100;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    *size = z.total_out;
    deflateEnd(&z);
    return out;
}

/* The file gives these bytes in pieces of `step`, then nothing; whether it is packed and damaged. */
static void expect(const void *file, size_t size, const unsigned char *want, size_t n, size_t step, int packed,
                   int is_damaged)
{
    cm_gunzip *g;
    unsigned char *got = malloc(n + step + 1), more;
    size_t at = 0, piece;
    write_bytes(in_dir("g"), file, size);
    OK(cmi_gunzip_open(context, in_dir("g"), &g));
    ck_assert_int_eq(cmi_gunzip_is_packed(g), packed);
    ck_assert_uint_eq(cmi_gunzip_file_size(g), size);
    do {
        OK(cmi_gunzip_read(g, got + at, step, &piece));
        at += piece;
        ck_assert_uint_le(at, n);
    } while (piece == step);
    OK(cmi_gunzip_read(g, &more, 1, &piece));
    ck_assert_uint_eq(piece, 0);
    ck_assert_msg(at == n, "%zu of %zu bytes in pieces of %zu", at, n, step);
    ck_assert_int_eq(memcmp(got, want, n), 0);
    ck_assert_int_eq(cmi_gunzip_is_damaged(g), is_damaged);
    cmi_gunzip_close(g);
    free(got);
}

START_TEST(plain_files)
{
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {
        {"", 0}, {"x", 1}, {"\x1f", 1}, {"\x1f\x8c", 2}, {"\x1e\x8b", 2}, {"\x8b\x1f.....", 7}, {"plain bytes", 11}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step < 20; step += 3)
            expect(rows[i].bytes, rows[i].n, (const unsigned char *)rows[i].bytes, rows[i].n, step, 0, 0);
}
END_TEST

START_TEST(packed_files)
{
    static const size_t sizes[] = {0, 1, 1000, 65535, 65536, 65537, 200000}, steps[] = {1000, 65536, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int rough = 0; rough < 2; rough++)
            for (size_t s = 0; s < 3; s++) {
                unsigned char *data = content(sizes[i], rough);
                size_t size;
                unsigned char *file = pack(data, sizes[i], 6, &size);
                expect(file, size, data, sizes[i], steps[s], 1, 0);
                free(file);
                free(data);
            }
}
END_TEST

/* Parts one behind the other are one file, wherever the first ends in the piece that is read; what is no part is
 * left out. */
START_TEST(packed_parts)
{
    enum { PIECE = 1 << 16, MOST = 70000 };
    unsigned char *data = content(MOST, 1), *file = malloc(4 * MOST);
    static const struct {
        const char *bytes;
        size_t n;
    } tails[] = {{"x", 1}, {"\x1f", 1}, {"\x1fx", 2}, {"x\x8b", 2}, {"\0\0\0", 3}, {"\x8b\x1f", 2}};
    for (size_t end = PIECE - 3; end <= PIECE + 1; end++) { /* of the first part */
        size_t n = end - 30, size, second;
        unsigned char *first = pack(data, n, 0, &size);
        while (size != end) {
            free(first);
            n += end - size;
            first = pack(data, n, 0, &size);
        }
        unsigned char *other = pack(data + n, 100, 6, &second), *third;
        memcpy(file, first, size);
        expect(file, size, data, n, 1 << 15, 1, 0);
        memcpy(file + size, other, second);
        expect(file, size + second, data, n + 100, 1 << 15, 1, 0);
        size_t more;
        third = pack(data + n + 100, 50, 6, &more);
        memcpy(file + size + second, third, more);
        expect(file, size + second + more, data, n + 150, 1 << 15, 1, 0);
        for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
            memcpy(file + size, tails[i].bytes, tails[i].n);
            expect(file, size + tails[i].n, data, n, MOST, 1, 0);
        }
        free(first);
        free(other);
        free(third);
    }
    free(data);
    free(file);
}
END_TEST

/* A cut or changed file gives what it can and says so; a changed checksum is found by a read beyond the end. */
START_TEST(damaged_packed_files)
{
    enum { N = 3000 };
    unsigned char *data = content(N, 0);
    size_t size;
    unsigned char *file = pack(data, N, 6, &size);
    for (size_t n = 2; n < size; n++) {
        cm_gunzip *g;
        unsigned char got[N + 1];
        size_t read;
        write_bytes(in_dir("g"), file, n);
        OK(cmi_gunzip_open(context, in_dir("g"), &g));
        OK(cmi_gunzip_read(g, got, sizeof got, &read));
        ck_assert_uint_le(read, N);
        ck_assert_int_eq(memcmp(got, data, read), 0);
        ck_assert_int_eq(cmi_gunzip_is_damaged(g), 1);
        OK(cmi_gunzip_read(g, got, 1, &read));
        ck_assert_uint_eq(read, 0);
        cmi_gunzip_close(g);
    }
    for (size_t back = 1; back <= 8; back++) { /* the checksum and the length */
        cm_gunzip *g;
        unsigned char got[N + 1];
        size_t read;
        file[size - back] ^= 1;
        write_bytes(in_dir("g"), file, size);
        file[size - back] ^= 1;
        OK(cmi_gunzip_open(context, in_dir("g"), &g));
        OK(cmi_gunzip_read(g, got, N, &read));
        ck_assert_uint_eq(read, N);
        OK(cmi_gunzip_read(g, got, 1, &read));
        ck_assert_uint_eq(read, 0);
        ck_assert_int_eq(cmi_gunzip_is_damaged(g), 1);
        cmi_gunzip_close(g);
    }
    free(file);
    free(data);
}
END_TEST

START_TEST(gunzip_refused)
{
    cm_gunzip *g;
    FAILS(cmi_gunzip_open(context, in_dir("none.gz"), &g), CM_ERR_IO, "none.gz");
    ck_assert_ptr_null(g);
    FAILS(cmi_gunzip_open(context, dir, &g), CM_ERR_IO, dir);
    /* a file that has become shorter */
    unsigned char *data = content(200000, 1), got[10];
    size_t size, read;
    unsigned char *file = pack(data, 200000, 6, &size);
    for (int packed = 0; packed < 2; packed++) {
        write_bytes(in_dir("s"), packed ? file : data, packed ? size : 200000);
        OK(cmi_gunzip_open(context, in_dir("s"), &g));
        OK(cmi_gunzip_read(g, got, 10, &read));
        ck_assert_uint_eq(read, 10);
        ck_assert_int_eq(truncate(in_dir("s"), 5), 0);
        cm_status status = CM_OK;
        for (int i = 0; i < 20000 && status == CM_OK; i++) status = cmi_gunzip_read(g, got, 10, &read);
        ck_assert_int_eq((int)status, (int)CM_ERR_IO);
        cmi_gunzip_close(g);
    }
    free(file);
    free(data);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("packed");
    TCase *t = tcase_create("packed");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, zip_beginnings);
    tcase_add_test(t, zip_entries);
    tcase_add_test(t, zip_links);
    tcase_add_test(t, zip_claims);
    tcase_add_test(t, zip_damaged_inside);
    tcase_add_test(t, zip_changed_while_open);
    tcase_add_test(t, zip_heads_of_changed_files);
    tcase_add_test(t, zip_heads_of_short_entries);
    tcase_add_test(t, zip_refused);
    tcase_add_test(t, plain_files);
    tcase_add_test(t, packed_files);
    tcase_add_test(t, packed_parts);
    tcase_add_test(t, damaged_packed_files);
    tcase_add_test(t, gunzip_refused);
    suite_add_tcase(s, t);
    return s;
}
