/* Tar archives as data sets: every form of a number and of a name, what stands before a member and belongs to it,
 * kinds of members, and the archive's end. */
#include "support/sources.h"

enum { BLOCK = 512 };

static unsigned char archive[4 << 20];
static size_t used;

static void begin(void)
{
    memset(archive, 0, used + 4 * BLOCK);
    used = 0;
}

/* Sets the sum of the header at `at`. */
static void sum_up(size_t at)
{
    unsigned sum = 0;
    memset(archive + at + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++) sum += archive[at + (size_t)i];
    snprintf((char *)archive + at + 148, 8, "%06o", sum);
}

static size_t add(const char *name, char type, const void *data, size_t size)
{
    const size_t at = used;
    used += tar_member(archive + used, name, type, data, size);
    return at;
}

/* With an end mark. */
static cm_status open_archive(cm_source **s)
{
    memset(archive + used, 0, 2 * BLOCK);
    write_bytes(in_dir("a.tar"), archive, used + 2 * BLOCK);
    return open_source(in_dir("a.tar"), s);
}

static void expect_names(const char *names)
{
    cm_source *s;
    ck_assert_msg(open_archive(&s) == CM_OK, "'%s': %s", names, cm_last_message());
    ck_assert_str_eq(names_of(s), names);
    cmi_source_close(s);
}

/* --- numbers ------------------------------------------------------------------------------------ */

START_TEST(sizes_of_members)
{
    static const struct {
        char text[13]; /* the field's 12 bytes */
        long size;     /* -1: damaged */
    } rows[] = {{"00000000005", 5},
                {"00000000000", 0},
                {"00000000777", 511},
                {"000000000005", 5}, /* as far as the field goes */
                {"          5", 5},
                {"5", 5},
                {"5 ", 5},
                {"17\0garbage", 15},
                {"17 garbage", 15},
                {"", 0},
                {"            ", 0},
                {"000000000008", -1},
                {"0000000005x", -1},
                {"x", -1},
                {"-5", -1},
                {"5/", -1},
                {"\x80\0\0\0\0\0\0\0\0\0\0\5", 5},
                {"\x80\0\0\0\0\0\0\0\0\0\1\0", 256},
                {"\x80\0\0\0\0\0\0\0\0\0\1\x90", 400},
                {"\x80\0\0\0\1\0\0\0\0\0\0\0", -2},
                {"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", -2},
                {"\x80\0\0\0\x80\0\0\0\0\0\0\0", -1},
                {"\x80\0\0\1\0\0\0\0\0\0\0\0", -1},
                {"\x81\0\0\0\0\0\0\0\0\0\0\0", -1},
                {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[400];
        cm_source *s;
        begin();
        add("first.png", '0', "x", 1);
        const size_t at = add("a.png", '0', archive, BLOCK); /* one block follows */
        memcpy(archive + at + 124, rows[i].text, 12);
        sum_up(at);
        if (rows[i].size == 0) used = at + BLOCK;
        const size_t last = add("last.png", '0', "y", 1);
        const cm_status status = open_archive(&s);
        if (rows[i].size >= 0) {
            ck_assert_msg(status == CM_OK, "row %zu: %s", i, cm_last_message());
            ck_assert_str_eq(names_of(s), "first.png a.png last.png");
            ck_assert_msg((long)s->sizes[1] == rows[i].size, "row %zu: %ld", i, (long)s->sizes[1]);
            ck_assert_uint_eq(s->locations[0], BLOCK);
            ck_assert_uint_eq(s->locations[1], at + BLOCK);
            ck_assert_uint_eq(s->locations[2], last + BLOCK);
            cmi_source_close(s);
        } else if (rows[i].size == -1) {
            snprintf(text, sizeof text, "%s: the header at byte %zu is damaged", in_dir("a.tar"), at);
            ck_assert_int_eq((int)status, (int)CM_ERR_FORMAT);
            ck_assert_msg(strcmp(cm_last_message(), text) == 0, "row %zu: %s", i, cm_last_message());
        } else {
            uint64_t claimed = 0;
            for (int k = 1; k < 12; k++) claimed = claimed << 8 | (unsigned char)rows[i].text[k];
            snprintf(text, sizeof text, "%s: truncated: a member at byte %zu claims %llu bytes, %zu are there",
                     in_dir("a.tar"), at + BLOCK, (unsigned long long)claimed, used + BLOCK - at);
            ck_assert_int_eq((int)status, (int)CM_ERR_FORMAT);
            ck_assert_str_eq(cm_last_message(), text);
        }
    }
}
END_TEST

/* A changed byte anywhere in a header is found; the sum may be written in other ways. */
START_TEST(sums)
{
    static const char *const forms[] = {"%06o", "%07o", "%6o ", "%o", "0%06o"};
    cm_source *s;
    char text[400];
    begin();
    add("first.png", '0', "x", 1);
    const size_t at = add("second.png", '0', "x", 1);
    snprintf(text, sizeof text, "%s: the header at byte %zu is damaged", in_dir("a.tar"), at);
    for (size_t i = at; i < at + BLOCK; i += i < at + 160 ? 1 : 13) {
        if (i >= at + 154 && i < at + 156) continue; /* behind the digits */
        archive[i] ^= 2;
        SAYS(open_archive(&s), CM_ERR_FORMAT, text);
        archive[i] ^= 2;
    }
    unsigned sum = (unsigned)strtoul((const char *)archive + at + 148, NULL, 8);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char field[9] = "";
        snprintf(field, sizeof field, forms[i], sum);
        memcpy(archive + at + 148, field, 8);
        expect_names("first.png second.png");
    }
    sum_up(at);
    archive[at] = (unsigned char)0xe9; /* bytes count without a sign */
    archive[at + 1] = (unsigned char)0xff;
    sum_up(at);
    OK(open_archive(&s));
    ck_assert_uint_eq(s->count, 2);
    cmi_source_close(s);
}
END_TEST

/* --- names -------------------------------------------------------------------------------------------- */

static const char *repeated(char c, size_t n)
{
    static char text[4][5000];
    static int turn;
    turn = (turn + 1) % 4;
    memset(text[turn], c, n);
    text[turn][n] = '\0';
    return text[turn];
}

START_TEST(names_in_headers)
{
    static const struct {
        const char *magic;
        size_t name, prefix; /* lengths */
        int with_prefix;
    } rows[] = {{"ustar\0", 9, 0, 0},      {"ustar\0", 9, 5, 1},    {"ustar\0", 100, 155, 1},
                {"ustar\0", 100, 0, 0},    {"ustar\0", 99, 154, 1}, {"ustar ", 9, 5, 0},
                {"\0\0\0\0\0\0", 9, 5, 0}, {"ustar\0", 9, 1, 1},    {"ustax\0", 9, 5, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char want[300], name[101] = "";
        memcpy(name, repeated('n', rows[i].name), rows[i].name);
        memcpy(name + rows[i].name - 4, ".png", 4);
        snprintf(want, sizeof want, "%s%s%s", rows[i].with_prefix ? repeated('p', rows[i].prefix) : "",
                 rows[i].with_prefix ? "/" : "", name);
        begin();
        const size_t at = add("", '0', "x", 1);
        memcpy(archive + at, name, rows[i].name);
        memcpy(archive + at + 257, rows[i].magic, 6);
        memcpy(archive + at + 345, repeated('p', rows[i].prefix), rows[i].prefix);
        sum_up(at);
        expect_names(want);
    }
}
END_TEST

/* Records of pax before a member; a name's last record counts, and a damaged one ends the list. */
START_TEST(records)
{
    static const struct {
        const char *text, *name;
    } rows[] = {{"14 path=x.png\n", "x.png"},
                {"12 path=xyz\n", "xyz"},
                {"10 mtime=\n14 path=x.png\n", "x.png"},
                {"14 path=x.png\n14 path=y.png\n", "y.png"},
                {"14 path=x.png\n20 path=y.png\n", "x.png"}, /* the second is cut */
                {"9 a=bcde\n15 path=xx.png\n", "xx.png"},
                {"000000021 path=x.png\n", "x.png"},
                {"0000000022 path=x.png\n", "short.png"}, /* a length has nine digits */
                {"015 path=x.png\n", "x.png"},
                {"000000016 path=x\n", "short.png"},
                {"15 xpath=y.png\n", "short.png"},
                {"15 pathx=y.png\n", "short.png"},
                {"8 path=\n", "short.png"},
                {"14 path=x.png", "short.png"}, /* cut */
                {"15 path=x.png\n", "short.png"},
                {"0 path=x.png\n", "short.png"},
                {" path=x.png\n", "short.png"},
                {"14path= x.png\n", "short.png"},
                {"2 \n14 path=x.png\n", "short.png"},
                {"3 \n14 path=x.png\n", "short.png"},
                {"4 a\n14 path=x.png\n", "x.png"},
                {"-4 path=x.png\n", "short.png"},
                {"x", "short.png"},
                {"1:4 path=x.png\n", "short.png"},
                {"1/4 path=x.png\n", "short.png"},
                {"99999999999 path=x.png\n", "short.png"},
                {"", "short.png"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char want[100];
        begin();
        add("PaxHeader", 'x', rows[i].text, strlen(rows[i].text));
        add("short.png", '0', "\x89PNG", 4);
        add("z.png", '0', "x", 1); /* the name belongs to one member alone */
        snprintf(want, sizeof want, "%s z.png", rows[i].name);
        cm_source *s;
        OK(open_archive(&s));
        ck_assert_msg(strcmp(names_of(s), want) == 0, "'%s' gives '%s'", rows[i].text, names_of(s));
        cmi_source_close(s);
    }
}
END_TEST

/* As long as a name may be, and a byte more, by pax and by GNU. */
START_TEST(long_names)
{
    for (size_t n = 4094; n < 4097; n++)
        for (int gnu = 0; gnu < 2; gnu++) {
            char name[4200], record[4300], want[4200];
            snprintf(name, sizeof name, "%s.png", repeated('n', n - 4));
            int length = snprintf(record, sizeof record, "%zu path=%s\n", 4 + 1 + 5 + n + 1, name);
            begin();
            if (gnu) add("././@LongLink", 'L', name, n + 0);
            else add("PaxHeader", 'x', record, (size_t)length);
            add("short.png", '0', "x", 1);
            snprintf(want, sizeof want, "%s", n < 4096 ? name : "short.png");
            expect_names(want);
        }
}
END_TEST

/* What is before a member by each kind of header; those of the whole archive are not of a member. */
START_TEST(belonging_to_a_member)
{
    begin();
    add("././@LongLink", 'L', "long/a.png", 11); /* with its NUL */
    add("short.png", '0', "x", 1);
    add("b.png", '0', "x", 1);
    add("global", 'g', "14 path=x.png\n", 14);
    add("c.png", '0', "x", 1);
    add("././@LongLink", 'L', "long/d.png", 10);
    add("PaxHeader", 'x', "15 path=d2.png\n", 15); /* the later one counts */
    add("short.png", '0', "x", 1);
    add("PaxHeader", 'x', "14 path=e.png\n", 14);
    add("global", 'g', "14 path=x.png\n", 14);
    add("short.png", '0', "x", 1);
    expect_names("long/a.png b.png c.png d2.png e.png");
}
END_TEST

/* A header of a MiB is read, a longer one is stepped over. */
START_TEST(large_headers)
{
    for (size_t more = 0; more < 2; more++) {
        const size_t size = (1 << 20) + more;
        char *text = malloc(size + 1);
        memset(text, 'x', size);
        const int n = snprintf(text, size, "%zu comment=", size - 14);
        text[n] = 'x';
        memcpy(text + size - 15, "\n14 path=x.png\n", 15);
        begin();
        add("PaxHeader", 'x', text, size);
        add("short.png", '0', "x", 1);
        expect_names(more ? "short.png" : "x.png");
        free(text);
    }
}
END_TEST

/* --- members ------------------------------------------------------------------------------------------- */

/* Files are members of three types; what links, folders and devices claim as a size is not there; the content of
 * types that are not known is stepped over. */
START_TEST(kinds_of_members)
{
    for (int type = 0; type < 128; type++) {
        char want[100];
        const int is_file = type == 0 || type == '0' || type == '7', has_none = type >= '1' && type <= '6';
        if (type == 'x' || type == 'g' || type == 'L' || type == 'K' || type == '1') continue;
        begin();
        const size_t at = add("a.png", (char)type, NULL, 0);
        if (has_none) {
            snprintf((char *)archive + at + 124, 12, "%011o", 512);
            sum_up(at);
        } else {
            used = at;
            add("a.png", (char)type, archive + 4096, 600);
        }
        add("b.png", '0', "x", 1);
        snprintf(want, sizeof want, "%sb.png", is_file ? "a.png " : "");
        cm_source *s;
        ck_assert_msg(open_archive(&s) == CM_OK, "type %d: %s", type, cm_last_message());
        ck_assert_msg(strcmp(names_of(s), want) == 0, "type %d: '%s'", type, names_of(s));
        cmi_source_close(s);
        ck_assert_int_eq(strstr(heard, "under its own name: 1 link") != NULL, type == '2');
    }
}
END_TEST

/* Hard links to short and long names, by each kind of header, and of a header's whole field. */
START_TEST(hard_links)
{
    char longest[101], record[300], name[200];
    snprintf(longest, sizeof longest, "%s.png", repeated('t', 96));
    snprintf(name, sizeof name, "deep/%s", longest);
    begin();
    add("a.png", '0', "A", 1);
    used += tar_member(archive + used, "", '0', "T", 1);
    memcpy(archive + used - 2 * BLOCK, longest, 100);
    sum_up(used - 2 * BLOCK);
    add("././@LongLink", 'L', name, strlen(name));
    add("x.png", '0', "D", 1);
    size_t at = add("link1.png", '1', NULL, 0);
    memcpy(archive + at + 157, "a.png", 5);
    sum_up(at);
    at = add("link2.png", '1', NULL, 0);
    memcpy(archive + at + 157, longest, 100);
    memcpy(archive + at + 257, "ustar\0", 6);
    sum_up(at);
    add("././@LongLink", 'K', name, strlen(name));
    at = add("link3.png", '1', NULL, 0);
    memcpy(archive + at + 157, "gone.png", 8);
    sum_up(at);
    int length = snprintf(record, sizeof record, "%zu linkpath=%s\n", 3 + 1 + 9 + strlen(name) + 1, name);
    add("PaxHeader", 'x', record, (size_t)length);
    at = add("link4.png", '1', NULL, 0);
    memcpy(archive + at + 157, "gone.png", 8);
    sum_up(at);
    at = add("link5.png", '1', NULL, 0); /* without a long name again */
    memcpy(archive + at + 157, "a.png", 5);
    sum_up(at);
    cm_source *s;
    OK(open_archive(&s));
    ck_assert_uint_eq(s->count, 8);
    static const char content[] = "ATDATDDA";
    for (size_t i = 0; i < 8; i++) {
        unsigned char *data;
        size_t size;
        OK(s->kind->bytes(s, i, &data, &size));
        ck_assert_uint_eq(size, 1);
        ck_assert_msg(data[0] == content[i] && data[1] == '\0', "'%s' is '%c'", s->names[i], data[0]);
        cmi_free(own, data);
    }
    cmi_source_close(s);
}
END_TEST

/* --- the whole --------------------------------------------------------------------------------------------- */

/* By the mark, or by the sum of a first block that is not empty. */
START_TEST(recognised)
{
    static const struct {
        const char *magic;
        int named, summed, short_by, is;
    } rows[] = {{"ustar\0", 1, 1, 0, 1},      {"ustar ", 1, 1, 0, 1},       {"ustar\0", 1, 0, 0, 1},
                {"ustar\0", 0, 0, 0, 1},      {"ustar\0", 1, 1, 1, 0},      {"\0\0\0\0\0\0", 1, 1, 0, 1},
                {"\0\0\0\0\0\0", 1, 0, 0, 0}, {"\0\0\0\0\0\0", 0, 1, 0, 0}, {"usta\0\0", 1, 0, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int is = 7;
        begin();
        add(rows[i].named ? "a" : "", '0', NULL, 0);
        memcpy(archive + 257, rows[i].magic, 6);
        sum_up(0);
        if (!rows[i].summed) archive[148] ^= 1;
        write_bytes(in_dir("r"), archive, BLOCK - (size_t)rows[i].short_by);
        OK(cmi_source_tar.recognise(own, in_dir("r"), CM_PATH_FILE, &is));
        ck_assert_msg(is == rows[i].is, "row %zu: %d", i, is);
        OK(cmi_source_tar.recognise(own, in_dir("r"), CM_PATH_DIRECTORY, &is));
        ck_assert_int_eq(is, 0);
    }
}
END_TEST

#define NO_END                                                                                                       \
    "W %s has no end mark (two blocks of zeros): unless it was made so, it was cut off and has lost members\n"

/* An archive that ends at, before and behind the end of a block, with its end mark and without. */
START_TEST(ends)
{
    char text[600], path[300];
    cm_source *s;
    snprintf(path, sizeof path, "%s", in_dir("e.tar"));
    begin();
    add("a.png", '0', archive + 4096, 700);
    add("b.png", '0', "x", 1);
    const size_t whole = used; /* 5 blocks */
    memset(archive + used, 0, 3 * BLOCK);
    for (size_t size = whole - 2 * BLOCK - 1; size <= whole + 3 * BLOCK; size++) {
        if ((size + 2) % BLOCK >= 4 && size % 37 != 0) continue;
        write_bytes(path, archive, size);
        const cm_status status = open_source(path, &s);
        const size_t behind = size > whole ? size - whole : 0;
        if (behind >= BLOCK) { /* what follows the first block of zeros is zeros too */
            ck_assert_int_eq((int)status, (int)CM_OK);
            ck_assert_str_eq(heard, "");
        } else if (size == whole || size == whole - 2 * BLOCK) {
            ck_assert_int_eq((int)status, (int)CM_OK);
            snprintf(text, sizeof text, NO_END, path);
            ck_assert_str_eq(heard, text);
        } else {
            ck_assert_int_eq((int)status, (int)CM_ERR_FORMAT);
            const size_t at = size < whole - 2 * BLOCK ? BLOCK : whole - BLOCK;
            if (size < whole - 2 * BLOCK && size - BLOCK < 700)
                snprintf(text, sizeof text, "%s: truncated: a member at byte %zu claims 700 bytes, %zu are there",
                         path, at, size - at);
            else if (size == whole - BLOCK)
                snprintf(text, sizeof text, "%s: truncated: a member at byte %zu claims 1 bytes, 0 are there", path,
                         at);
            else
                snprintf(text, sizeof text, "%s: truncated after %zu bytes, in the middle of a block of 512", path,
                         size);
            ck_assert_str_eq(cm_last_message(), text);
            continue;
        }
        ck_assert_uint_eq(s->count, size == whole - 2 * BLOCK ? 1 : 2);
        cmi_source_close(s);
    }
}
END_TEST

/* What stands behind the end mark is told, within a MiB of it. */
START_TEST(behind_the_end)
{
    static const struct {
        size_t blocks; /* of zeros between */
        int told;
    } rows[] = {{1, 1}, {2, 1}, {20, 1}, {2047, 1}, {2048, 0}, {2049, 0}};
    char text[600], path[300];
    snprintf(path, sizeof path, "%s", in_dir("b.tar"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_source *s;
        begin();
        add("a.png", '0', "x", 1);
        const size_t end = used;
        memset(archive + used, 0, rows[i].blocks * BLOCK);
        used += rows[i].blocks * BLOCK;
        add("b.png", '0', "x", 1);
        write_bytes(path, archive, used);
        OK(open_source(path, &s));
        ck_assert_str_eq(names_of(s), "a.png");
        snprintf(
            text, sizeof text,
            "W %s: what follows the archive's end at byte %zu is left out; archives joined by cat have to be joined "
            "by tar -A\n",
            path, end + rows[i].blocks * BLOCK);
        ck_assert_msg(strcmp(heard, rows[i].told ? text : "") == 0, "%zu blocks: '%s'", rows[i].blocks, heard);
        cmi_source_close(s);
    }
}
END_TEST

/* A file without an ending is a picture by its first bytes, at the archive's very end too; dataset.json is kept. */
START_TEST(contents)
{
    cm_source *s;
    begin();
    add("000001", '0', "\x89PNG and more", 13);
    add("000002", '0', "\x89PN", 3);
    add("dataset.json", '0', "{\"labels\": null}", 16);
    add("7", '0', "\x89PNG", 4); /* a name of one letter is no end */
    add("000003", '0', "\xff\xd8\xff\xe0", 4);
    write_bytes(in_dir("c.tar"), archive, used);
    OK(open_source(in_dir("c.tar"), &s));
    ck_assert_str_eq(names_of(s), "000001 7 000003");
    ck_assert_str_eq(s->dataset_json, "{\"labels\": null}");
    ck_assert_uint_eq(s->bytes, 21);
    cmi_source_close(s);
    size_t size;
    write_png(in_dir("p.png"), 77);
    unsigned char *png = read_bytes(in_dir("p.png"), &size);
    begin();
    add("a.png", '0', "x", 1);
    add("b.png", '0', png, size);
    free(png);
    OK(open_archive(&s));
    for (int channels = 1; channels < 4; channels += 2) {
        cm_picture p;
        OK(s->kind->picture(s, 1, channels, &p));
        ck_assert(p.channels == channels && p.height == 16 && p.width == 16);
        for (int i = 0; i < 256 * channels; i++) ck_assert_int_eq(p.pixels[i], 77);
        cmi_free(own, p.pixels);
    }
    cmi_source_close(s);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("tar");
    TCase *t = tcase_create("tar");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup_sources, teardown_sources);
    tcase_add_test(t, sizes_of_members);
    tcase_add_test(t, sums);
    tcase_add_test(t, names_in_headers);
    tcase_add_test(t, records);
    tcase_add_test(t, long_names);
    tcase_add_test(t, belonging_to_a_member);
    tcase_add_test(t, large_headers);
    tcase_add_test(t, kinds_of_members);
    tcase_add_test(t, hard_links);
    tcase_add_test(t, recognised);
    tcase_add_test(t, ends);
    tcase_add_test(t, behind_the_end);
    tcase_add_test(t, contents);
    suite_add_tcase(s, t);
    return s;
}
