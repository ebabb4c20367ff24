/* What every picture goes through, part by part: limits, kinds, gray, alpha, EXIF's orientation in both containers,
 * the eight turns, and what the two coders make of each kind of file. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include "io/picture.h"
#include "support/counted.h"

/* Fails with exactly this message. */
#define SAYS(call, status, text)                                                                                     \
    do {                                                                                                             \
        ck_assert_int_eq((int)(call), (int)(status));                                                                \
        ck_assert_str_eq(cm_last_message(), text);                                                                   \
    } while (0)

/* --- limits and kinds ------------------------------------------------------------------------------- */

START_TEST(limits)
{
    static const struct {
        uint64_t height, width;
        int fits;
    } rows[] = {{1, 1, 1},        {0, 1, 0},        {1, 0, 0},         {65535, 1, 1},      {1, 65535, 1},
                {65536, 1, 0},    {1, 65536, 0},    {16384, 16384, 1}, {16384, 16385, 0},  {65535, 4096, 1},
                {4096, 65535, 1}, {65535, 4097, 0}, {65535, 65535, 0}, {1ull << 40, 1, 0}, {1, 1ull << 40, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[200];
        snprintf(text, sizeof text,
                 "x: %llu x %llu pixels are outside the limits (sides 1..65535, at most 268435456 pixels)",
                 (unsigned long long)rows[i].width, (unsigned long long)rows[i].height);
        if (rows[i].fits) OK(cmi_picture_check("x", rows[i].height, rows[i].width));
        else SAYS(cmi_picture_check("x", rows[i].height, rows[i].width), CM_ERR_LIMIT, text);
        if (rows[i].fits) OK(cmi_picture_check_file("x", rows[i].height, rows[i].width, 1 << 20));
        else SAYS(cmi_picture_check_file("x", rows[i].height, rows[i].width, 1 << 20), CM_ERR_LIMIT, text);
    }
    /* deflate: 1032 bytes of one, each of eight pixels */
    OK(cmi_picture_check_file("x", 8256, 10, 10));
    OK(cmi_picture_check_file("x", 10, 8257, 10));
    OK(cmi_picture_check_file("x", 1, 1, 0));
    SAYS(cmi_picture_check_file("x", 11, 8256, 10), CM_ERR_FORMAT,
         "x: 10 bytes cannot hold the 8256 x 11 pixels the header claims");
    SAYS(cmi_picture_check_file("x", 8256, 10, 9), CM_ERR_FORMAT,
         "x: 9 bytes cannot hold the 10 x 8256 pixels the header claims");
}
END_TEST

START_TEST(kinds)
{
    static const struct {
        const char *bytes;
        size_t n;
        int jpeg, png;
    } rows[] = {{"\xff\xd8", 2, 1, 0},    {"\xff\xd8\xff", 3, 1, 0},
                {"\xff", 1, 0, 0},        {"\xff\xd9", 2, 0, 0},
                {"\xfe\xd8", 2, 0, 0},    {"\x89PNG", 4, 0, 1},
                {"\x89PNG\r\n", 6, 0, 1}, {"\x89PN", 3, 0, 0},
                {"\x89PNg", 4, 0, 0},     {"", 0, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char *exact = malloc(rows[i].n + 1);
        cm_picture p;
        memcpy(exact + 1, rows[i].bytes, rows[i].n);
        ck_assert_int_eq(cmi_picture_is_jpeg(exact + 1, rows[i].n), rows[i].jpeg);
        ck_assert_int_eq(cmi_picture_is_png(exact + 1, rows[i].n), rows[i].png);
        ck_assert_int_eq(cmi_picture_orientation(exact + 1, rows[i].n), 1);
        FAILS(cmi_picture_read(context, "x", exact + 1, rows[i].n, 0, &p), CM_ERR_FORMAT, "x: ");
        ck_assert_ptr_null(p.pixels);
        free(exact);
    }
    cm_picture p;
    static const unsigned char unknown[8] = {1, 200, 3, 250, 5, 129, 7, 255};
    SAYS(cmi_picture_read(context, "x", unknown, sizeof unknown, 0, &p), CM_ERR_FORMAT,
         "x: neither a JPEG nor a PNG");
    SAYS(cmi_picture_read(context, "x", "no picture, whatever this is", 28, 0, &p), CM_ERR_FORMAT,
         "x: neither a JPEG nor a PNG but plain text");
    FAILS(cmi_picture_read(context, "x", "GIF89a and more of it than its head", 35, 0, &p), CM_ERR_FORMAT,
          "x: neither a JPEG nor a PNG but a GIF");
}
END_TEST

/* Rec. 601's luminance, rounded; grays stay what they are, and alpha too. */
START_TEST(gray)
{
    static const uint8_t rows[][4] = {{255, 0, 0, 76},    {0, 255, 0, 150},   {0, 0, 255, 29}, {255, 255, 0, 226},
                                      {255, 0, 255, 105}, {0, 255, 255, 179}, {1, 0, 0, 0},    {2, 0, 0, 1},
                                      {0, 1, 0, 1},       {0, 0, 4, 0},       {0, 0, 5, 1},    {10, 20, 30, 18},
                                      {200, 100, 50, 124}};
    enum { N = sizeof rows / sizeof *rows };
    for (int with_alpha = 0; with_alpha < 2; with_alpha++) {
        const int c = 3 + with_alpha;
        uint8_t *pixels = malloc((size_t)(N + 256) * (size_t)c);
        for (int i = 0; i < N + 256; i++) {
            for (int k = 0; k < 3; k++) pixels[i * c + k] = i < N ? rows[i][k] : (uint8_t)(i - N);
            if (with_alpha) pixels[i * c + 3] = (uint8_t)(7 * i);
        }
        cm_picture p = {c, 1, N + 256, pixels};
        cmi_picture_to_gray(&p);
        ck_assert_int_eq(p.channels, 1 + with_alpha);
        for (int i = 0; i < N + 256; i++) {
            ck_assert_msg(p.pixels[i * p.channels] == (i < N ? rows[i][3] : i - N), "pixel %d: %d", i,
                          p.pixels[i * p.channels]);
            if (with_alpha) ck_assert_int_eq(p.pixels[2 * i + 1], (uint8_t)(7 * i));
        }
        free(pixels);
    }
}
END_TEST

/* --- orientation ------------------------------------------------------------------------------------ */

static void put(unsigned char *at, int little, int bytes, uint32_t v)
{
    for (int i = 0; i < bytes; i++) at[little ? i : bytes - 1 - i] = (unsigned char)(v >> 8 * i);
}

/* A TIFF whose directory begins at `begin` with n entries, the one numbered `which` the orientation. */
static size_t tiff(unsigned char *out, int little, uint32_t begin, int n, int which, uint32_t tag, uint32_t type,
                   uint32_t count, uint32_t value)
{
    memset(out, 0, 400);
    memcpy(out, little ? "II*\0" : "MM\0*", 4);
    put(out + 4, little, 4, begin);
    put(out + begin, little, 2, (uint32_t)n);
    for (int i = 0; i < n; i++) {
        unsigned char *e = out + begin + 2 + 12 * i;
        put(e, little, 2, i == which ? tag : 0x100 + (uint32_t)i);
        put(e + 2, little, 2, i == which ? type : 3);
        put(e + 4, little, 4, i == which ? count : 1);
        put(e + 8, little, 2, i == which ? value : 5);
    }
    return begin + 2 + 12 * (size_t)n;
}

/* A JPEG's beginning with the TIFF in its APP1; in memory of its own size. */
static int of_jpeg(const unsigned char *t, size_t n)
{
    unsigned char *file = malloc(12 + n);
    memcpy(file, "\xff\xd8\xff\xe1..Exif\0\0", 12);
    put(file + 4, 0, 2, (uint32_t)(8 + n));
    memcpy(file + 12, t, n);
    const int turn = cmi_picture_orientation(file, 12 + n);
    free(file);
    return turn;
}

/* The same as a chunk of a PNG behind `before` other bytes of it. */
static int of_png(const unsigned char *t, size_t n)
{
    unsigned char *file = malloc(8 + 25 + 12 + n);
    memcpy(file, "\x89PNG\r\n\x1a\n", 8);
    put(file + 8, 0, 4, 13);
    memcpy(file + 12, "IHDR.................", 21);
    put(file + 33, 0, 4, (uint32_t)n);
    memcpy(file + 37, "eXIf", 4);
    memcpy(file + 41, t, n);
    put(file + 41 + n, 0, 4, (uint32_t)crc32(0, file + 37, (uInt)(4 + n)));
    const int turn = cmi_picture_orientation(file, 45 + n);
    free(file);
    return turn;
}

#define BOTH(t, n, want, row)                                                                                        \
    do {                                                                                                             \
        ck_assert_msg(of_jpeg(t, n) == (want), "%d in a JPEG: %d", row, of_jpeg(t, n));                              \
        ck_assert_msg(of_png(t, n) == (want), "%d in a PNG: %d", row, of_png(t, n));                                 \
    } while (0)

START_TEST(orientations)
{
    unsigned char t[500];
    for (int little = 0; little < 2; little++) {
        for (uint32_t value = 0; value < 12; value++) {
            const size_t n = tiff(t, little, 8, 1, 0, 0x112, 3, 1, value);
            BOTH(t, n, value >= 1 && value <= 8 ? (int)value : 1, (int)value);
        }
        for (int count = 1; count < 6; count++) /* anywhere in a directory that begins anywhere */
            for (int which = 0; which <= count; which++)
                for (uint32_t begin = 8; begin < 60; begin += 17) {
                    const size_t n = tiff(t, little, begin, count, which, 0x112, 3, 1, 6);
                    BOTH(t, n, which < count ? 6 : 1, 100 * count + which);
                    if (which < count) BOTH(t, n - 1, 1, 1000 * count + which); /* the directory is cut */
                }
        BOTH(t, tiff(t, little, 8, 1, 0, 0x112, 3, 1, 256 + 6), 1, 1);
        BOTH(t, tiff(t, little, 8, 1, 0, 0x112, 3, 2, 6), 1, 2);
        BOTH(t, tiff(t, little, 8, 1, 0, 0x112, 3, 0, 6), 1, 3);
        BOTH(t, tiff(t, little, 8, 1, 0, 0x112, 4, 1, 6), 1, 4);
        BOTH(t, tiff(t, little, 8, 1, 0, 0x113, 3, 1, 6), 1, 5);
        BOTH(t, tiff(t, little, 8, 0, 0, 0x112, 3, 1, 6), 1, 6);
        size_t n = tiff(t, little, 8, 1, 0, 0x112, 3, 1, 6);
        for (size_t cut = 0; cut < n; cut++) BOTH(t, cut, 1, (int)cut);
        BOTH(t, n + 5, 6, 7); /* what follows does not matter */
        for (uint32_t begin = (uint32_t)n - 2; begin < n + 3;
             begin++) { /* a directory at the very end, and behind it */
            tiff(t, little, 8, 1, 0, 0x112, 3, 1, 6);
            put(t + 4, little, 4, begin);
            BOTH(t, n, 1, (int)begin);
        }
        put(t + 4, little, 4, 0xffffffff);
        BOTH(t, n, 1, 8);
        n = tiff(t, little, 8, 1, 0, 0x112, 3, 1, 6);
        for (int i = 0; i < 4; i++) {
            t[i] ^= 1;
            BOTH(t, n, 1, 10 + i);
            t[i] ^= 1;
        }
    }
    size_t n = tiff(t, 0, 8, 2, 0, 0x112, 3, 1, 6); /* of two the first counts */
    put(t + 10 + 12, 0, 2, 0x112), put(t + 10 + 20, 0, 2, 3);
    BOTH(t, n, 6, 20);
}
END_TEST

/* Segments of a JPEG before and around the one that counts. */
START_TEST(segments)
{
#define EXIF                                                                                                         \
    "\xff\xe1\0\x22"                                                                                                 \
    "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    static const struct {
        const char *bytes;
        size_t n;
        int turn;
    } rows[] = {
#define ROW(text, turn) {"\xff\xd8" text, sizeof("\xff\xd8" text) - 1, turn}
        ROW(EXIF, 6),
        ROW("\xff\xff\xff" EXIF, 6),
        ROW("\xff\xe0\0\x02" EXIF, 6),
        ROW("\xff\xe0\0\x06"
            "abcd" EXIF,
            6),
        ROW("\xff\xe1\0\x23"
            "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
            1), /* a byte longer than the file */
        ROW("\xff\xfe\0\x03"
            "a\xff\xff\xff" EXIF,
            6),
        ROW("\xff\xe1\0\x0e"
            "http://xmp/\0" EXIF,
            6),
        ROW("\xff\xe1\0\x02" EXIF, 6),
        ROW("\xff\xe1\0\x07"
            "Exif\0" EXIF,
            6),
        ROW("\xff\xe1\0\x08"
            "Exif\0\1" EXIF,
            6),
        ROW("\xff\xe1\0\x08"
            "Exif\0\0" EXIF,
            1), /* one that says nothing */
        ROW("\xff\xe2"
            "\0\x22"
            "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
            1),
        ROW("\xff\xda\0\x02" EXIF, 1), /* a scan */
        ROW("\xff\xe0\0\x01" EXIF, 1),
        ROW("\xff\xe0\0\0" EXIF, 1),
        ROW("\xff\xe0\x10\0" EXIF, 1),
        ROW("\xfe\xe0\0\x02" EXIF, 1),
        ROW("\0" EXIF, 1),
        ROW("\xff\xe0\0\x03" EXIF, 1),
        ROW("\xff\xe0\0\x02", 1),
        ROW("\xff\xe0\0", 1),
        ROW("\xff", 1),
        ROW("\xff\xff\xff\xff\xff", 1),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char *exact = malloc(rows[i].n);
        memcpy(exact, rows[i].bytes, rows[i].n);
        const int turn = cmi_picture_orientation(exact, rows[i].n);
        ck_assert_msg(turn == rows[i].turn, "row %zu: %d", i, turn);
        free(exact);
    }
}
END_TEST

/* Chunks of a PNG. */
START_TEST(chunks)
{
    unsigned char t[500], file[700];
    const size_t n = tiff(t, 0, 8, 1, 0, 0x112, 3, 1, 6);
    memcpy(file, "\x89PNG\r\n\x1a\n", 8);
    for (uint32_t length = 0; length < 40; length += 13)
        for (int wrong = 0; wrong < 3; wrong++) {
            size_t at = 8;
            put(file + at, 0, 4, length); /* another chunk, whose sum nobody compares */
            memcpy(file + at + 4, "IHDR", 4);
            memset(file + at + 8, 'x', length + 4);
            at += 12 + length;
            put(file + at, 0, 4, (uint32_t)n);
            memcpy(file + at + 4, "eXIf", 4);
            memcpy(file + at + 8, t, n);
            put(file + at + 8 + n, 0, 4, (uint32_t)crc32(0, file + at + 4, (uInt)(4 + n)));
            if (wrong == 1) file[at + 11 + n] ^= 1;
            if (wrong == 2) put(file + 8, 0, 4, 600); /* beyond the end */
            const size_t size = at + 12 + n;
            ck_assert_int_eq(cmi_picture_orientation(file, size), wrong ? 1 : 6);
            for (size_t cut = 4; cut < size; cut++) {
                unsigned char *exact = malloc(cut);
                memcpy(exact, file, cut);
                ck_assert_int_eq(cmi_picture_orientation(exact, cut), 1);
                free(exact);
            }
        }
}
END_TEST

/* The eight turns of a picture of two rows of three: which pixel comes where. */
START_TEST(turns)
{
    static const struct {
        int height, width;
        const char *order;
    } rows[9] = {{0, 0, NULL},     {2, 3, "abcdef"}, {2, 3, "cbafed"}, {2, 3, "fedcba"}, {2, 3, "defabc"},
                 {3, 2, "adbecf"}, {3, 2, "daebfc"}, {3, 2, "fcebda"}, {3, 2, "cfbead"}};
    for (int turn = 1; turn < 9; turn++)
        for (int c = 1; c < 5; c++) {
            cm_picture p = {c, 2, 3, cmi_malloc(context, 6, (size_t)c)};
            for (int i = 0; i < 6 * c; i++) p.pixels[i] = (uint8_t)i;
            const uint8_t *before = p.pixels;
            OK(cmi_picture_turn(context, &p, turn));
            if (turn == 1) ck_assert_ptr_eq(p.pixels, before); /* nothing is copied */
            ck_assert(p.channels == c && p.height == rows[turn].height && p.width == rows[turn].width);
            for (int i = 0; i < 6; i++)
                for (int k = 0; k < c; k++)
                    ck_assert_int_eq(p.pixels[i * c + k], (rows[turn].order[i] - 'a') * c + k);
            cmi_free(context, p.pixels);
        }
}
END_TEST

/* --- JPEG ------------------------------------------------------------------------------------------- */

/* What libjpeg makes of pixels that come in `in` channels and are stored as `space`. */
static unsigned char *jpeg_of(const uint8_t *pixels, int h, int w, int in, J_COLOR_SPACE from, J_COLOR_SPACE space,
                              int quality, int progressive, unsigned long *size)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char *out = NULL;
    *size = 0;
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &out, size);
    info.image_width = (JDIMENSION)w, info.image_height = (JDIMENSION)h;
    info.input_components = in;
    info.in_color_space = from;
    jpeg_set_defaults(&info);
    if (space != JCS_UNKNOWN) jpeg_set_colorspace(&info, space);
    jpeg_set_quality(&info, quality, TRUE);
    if (progressive) jpeg_simple_progression(&info);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + info.next_scanline * (size_t)(w * in));
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    return out;
}

/* One colour everywhere, which no coding changes by more than one. */
static void fill(uint8_t *pixels, int n, const uint8_t *colour, int c)
{
    for (int i = 0; i < n * c; i++) pixels[i] = colour[i % c];
}

START_TEST(kinds_of_jpeg)
{
    static const uint8_t colour[3] = {200, 100, 50}, one[1] = {77}, ink[4] = {10, 20, 30, 40};
    static const struct {
        const uint8_t *colour;
        int in;
        J_COLOR_SPACE from, space;
        int own_channels; /* 0: refused */
        int gray;         /* as one channel */
    } rows[] = {{one, 1, JCS_GRAYSCALE, JCS_GRAYSCALE, 1, 77},
                {colour, 3, JCS_RGB, JCS_YCbCr, 3, 124},
                {colour, 3, JCS_RGB, JCS_RGB, 3, 124},
                {colour, 3, JCS_RGB, JCS_GRAYSCALE, 1, 124},
                {ink, 4, JCS_CMYK, JCS_CMYK, 0, 0},
                {ink, 4, JCS_CMYK, JCS_YCCK, 0, 0}};
    uint8_t pixels[11 * 9 * 4];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned long size;
        fill(pixels, 11 * 9, rows[i].colour, rows[i].in);
        unsigned char *file = jpeg_of(pixels, 11, 9, rows[i].in, rows[i].from, rows[i].space, 100, i % 2, &size);
        for (int channels = 0; channels < 5; channels++) {
            cm_picture p;
            const cm_status status = cmi_picture_read(context, "x", file, size, channels, &p);
            if (!rows[i].own_channels) {
                SAYS(status, CM_ERR_UNSUPPORTED, "x: CMYK JPEGs are not supported: convert to RGB first");
                continue;
            }
            OK(status);
            const int c = channels ? channels : rows[i].own_channels;
            ck_assert_msg(p.channels == c && p.height == 11 && p.width == 9, "row %zu: %d channels", i, p.channels);
            for (int k = 0; k < 11 * 9 * c; k++) {
                const int at = k % c, is_alpha = c % 2 == 0 && at == c - 1;
                const int is_gray = c < 3 || rows[i].own_channels == 1;
                const int want = is_alpha ? 255 : is_gray ? rows[i].gray : rows[i].colour[at];
                ck_assert_msg(abs(p.pixels[k] - want) <= (is_alpha ? 0 : 1), "row %zu, %d channels: %d, not %d", i,
                              channels, p.pixels[k], want);
            }
            cmi_free(context, p.pixels);
        }
        free(file);
    }
}
END_TEST

/* A missing end is damage; what a decoder can step over is not. */
START_TEST(jpeg_damage)
{
    static const uint8_t one[1] = {77};
    uint8_t pixels[16 * 16];
    unsigned long size;
    cm_picture p;
    fill(pixels, 256, one, 1);
    unsigned char *file = jpeg_of(pixels, 16, 16, 1, JCS_GRAYSCALE, JCS_GRAYSCALE, 90, 0, &size);
    FAILS(cmi_jpeg_read(context, "x", file, size - 2, 0, &p), CM_ERR_FORMAT, "x: Premature end of JPEG file");
    ck_assert_ptr_null(p.pixels);
    unsigned char *longer = malloc(size + 3);
    memcpy(longer, file, size - 2);
    memcpy(longer + size - 2, "abc\xff\xd9", 5); /* bytes before the end's mark */
    OK(cmi_jpeg_read(context, "x", longer, size + 3, 0, &p));
    ck_assert(p.channels == 1 && p.height == 16 && abs(p.pixels[255] - 77) <= 1);
    cmi_free(context, p.pixels);
    free(longer);
    FAILS(cmi_jpeg_read(context, "x", "\xff\xd8\xff\xd9", 4, 0, &p), CM_ERR_FORMAT,
          "x: JPEG datastream contains no image");
    free(file);
}
END_TEST

/* As many scans as a file may have, and one more. */
START_TEST(jpeg_scans)
{
    static const uint8_t one[1] = {77};
    uint8_t pixels[64];
    unsigned long size;
    size_t scan, scans = 0;
    fill(pixels, 64, one, 1);
    unsigned char *jpeg = jpeg_of(pixels, 8, 8, 1, JCS_GRAYSCALE, JCS_GRAYSCALE, 90, 1, &size);
    for (size_t i = 0; i + 1 < size; i++) scans += jpeg[i] == 0xff && jpeg[i + 1] == 0xda;
    for (scan = size - 2; jpeg[scan] != 0xff || jpeg[scan + 1] != 0xda;) scan--;
    const size_t n = size - 2 - scan;
    unsigned char *file = malloc(size + 600 * n);
    for (size_t all = 499; all < 503; all++) {
        cm_picture p;
        const size_t more = all - scans;
        memcpy(file, jpeg, size - 2);
        for (size_t i = 0; i < more; i++) memcpy(file + size - 2 + i * n, jpeg + scan, n);
        memcpy(file + size - 2 + more * n, "\xff\xd9", 2);
        const cm_status status = cmi_jpeg_read(context, "x", file, size + more * n, 0, &p);
        ck_assert_msg(status == (all <= 500 ? CM_OK : CM_ERR_FORMAT), "%zu scans: %s", all, cm_last_message());
        if (status == CM_OK) cmi_free(context, p.pixels);
    }
    free(file);
    free(jpeg);
}
END_TEST

typedef struct {
    unsigned char *bytes;
    size_t size, calls, fails; /* at which call */
} heap;

static cm_status collect(void *user, const void *bytes, size_t size)
{
    heap *h = user;
    if (++h->calls == h->fails) return CM_ERR_IO;
    h->bytes = realloc(h->bytes, h->size + size + 1);
    memcpy(h->bytes + h->size, bytes, size);
    h->size += size;
    return CM_OK;
}

/* Noise of one picture, whose rows follow each other. */
static uint8_t *noise(int h, int w, int c)
{
    uint64_t seed = 3;
    uint8_t *p = malloc((size_t)(h * w * c));
    for (int i = 0; i < h * w * c; i++) p[i] = (uint8_t)random_int(&seed, 0, 255);
    return p;
}

/* The bytes are those that libjpeg gives with the same quality. */
START_TEST(jpeg_written)
{
    for (int c = 1; c < 4; c += 2)
        for (int quality = 1; quality <= 100; quality += 33) {
            uint8_t *pixels = noise(13, 21, c);
            const cm_view view = cmi_view_bytes(1, 13, 21, (size_t)c, pixels);
            heap got = {0};
            const cm_byte_sink sink = {collect, &got};
            unsigned long size;
            unsigned char *want =
                jpeg_of(pixels, 13, 21, c, c == 1 ? JCS_GRAYSCALE : JCS_RGB, JCS_UNKNOWN, quality, 0, &size);
            OK(cmi_jpeg_write(context, &view, quality, &sink));
            ck_assert_uint_eq(got.size, size);
            ck_assert_int_eq(memcmp(got.bytes, want, size), 0);
            got.calls = 0, got.fails = 1;
            ck_assert_int_eq((int)cmi_jpeg_write(context, &view, quality, &sink), (int)CM_ERR_IO);
            free(got.bytes);
            free(want);
            free(pixels);
        }
}
END_TEST

/* --- PNG -------------------------------------------------------------------------------------------- */

/* What libpng makes of rows of this type and depth. */
static unsigned char *png_of(const uint8_t *rows, int h, int w, size_t stride, int type, int depth,
                             const png_color *palette, int entries, size_t *size)
{
    char *out = NULL;
    FILE *f = open_memstream(&out, size);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, depth, type, PNG_INTERLACE_NONE, 0, 0);
    if (palette) png_set_PLTE(png, info, palette, entries);
    png_write_info(png, info);
    for (int y = 0; y < h; y++) png_write_row(png, rows + (size_t)y * stride);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(f);
    return (unsigned char *)out;
}

static int luminance(const uint8_t *v)
{
    return (int)((19595u * v[0] + 38470u * v[1] + 7471u * v[2] + 32768u) >> 16);
}

/* Colours in every form that a PNG has for them, in 0 to 4 channels. */
START_TEST(colours_of_png)
{
    enum { H = 7, W = 5, N = H * W };
    uint64_t seed = 8;
    uint8_t colours[N][4], rows[N * 8];
    png_color palette[N];
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 4; k++) colours[i][k] = (uint8_t)random_int(&seed, 0, 255);
    for (int i = 0; i < N; i++) palette[i] = (png_color){colours[i][0], colours[i][1], colours[i][2]};
    for (int form = 0; form < 5; form++) { /* palette; three and four samples of 8 and of 16 bits */
        const int samples = form == 0 ? 1 : form < 3 ? 3 : 4, wide = form == 2 || form == 4;
        size_t size;
        for (int i = 0; i < N; i++)
            for (int k = 0; k < samples; k++) {
                const int at = (i * samples + k) * (1 + wide);
                rows[at] = form ? colours[i][k] : (uint8_t)i;
                if (wide) rows[at + 1] = (uint8_t)(255 - rows[at]); /* is cut off */
            }
        unsigned char *file = png_of(rows, H, W, (size_t)(W * samples * (1 + wide)),
                                     form == 0  ? PNG_COLOR_TYPE_PALETTE
                                     : form < 3 ? PNG_COLOR_TYPE_RGB
                                                : PNG_COLOR_TYPE_RGB_ALPHA,
                                     wide ? 16 : 8, form ? NULL : palette, N, &size);
        for (int channels = 0; channels < 5; channels++) {
            cm_picture p;
            OK(cmi_png_read(context, "x", file, size, channels, &p));
            const int c = channels ? channels : 3;
            ck_assert(p.channels == c && p.height == H && p.width == W);
            for (int i = 0; i < N; i++)
                for (int k = 0; k < c; k++) {
                    const int is_alpha = c % 2 == 0 && k == c - 1;
                    const int want = is_alpha ? (samples == 4 ? colours[i][3] : 255)
                                     : c < 3  ? luminance(colours[i])
                                              : colours[i][k];
                    ck_assert_msg(p.pixels[i * c + k] == want, "form %d, %d channels, pixel %d: [%d] is %d, not %d",
                                  form, channels, i, k, p.pixels[i * c + k], want);
                }
            cmi_free(context, p.pixels);
        }
        for (size_t cut = 8; cut < size; cut += cut + 14 < size ? 5 : 1) {
            cm_picture p;
            unsigned char *exact = malloc(cut);
            memcpy(exact, file, cut);
            SAYS(cmi_png_read(context, "x", exact, cut, 0, &p), CM_ERR_FORMAT, "x: truncated");
            ck_assert_ptr_null(p.pixels);
            free(exact);
        }
        free(file);
    }
}
END_TEST

/* Chunks that are of no use are not kept, however large they are and whatever stands in them. */
START_TEST(chunks_that_are_not_kept)
{
    static const char names[][5] = {"tEXt", "zTXt", "iTXt", "iCCP", "sPLT", "eXIf", "pCAL", "sCAL", "hIST", "prVt"};
    enum { LARGE = 200000 };
    uint8_t *pixels = noise(8, 8, 1);
    size_t size;
    unsigned char *png = png_of(pixels, 8, 8, 8, PNG_COLOR_TYPE_GRAY, 8, NULL, 0, &size),
                  *file = malloc(size + LARGE + 12);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cm_picture p;
        memcpy(file, png, 33);
        put(file + 33, 0, 4, LARGE);
        memcpy(file + 37, names[i], 4);
        memset(file + 41, 'a', LARGE);
        file[41 + 5] = '\0';
        put(file + 41 + LARGE, 0, 4, (uint32_t)crc32(0, file + 37, LARGE + 4));
        memcpy(file + 45 + LARGE, png + 33, size - 33);
        const long long before = counted.bytes;
        counted.peak = before;
        OK(cmi_png_read(context, "x", file, size + LARGE + 12, 0, &p));
        ck_assert_int_eq(memcmp(p.pixels, pixels, 64), 0);
        ck_assert_msg(counted.peak - before < LARGE / 2, "%s: %lld bytes", names[i], counted.peak - before);
        cmi_free(context, p.pixels);
    }
    free(file);
    free(png);
    free(pixels);
}
END_TEST

/* One to four channels both ways, with a note and without; whoever cannot write any more ends it. */
START_TEST(png_written)
{
    for (int c = 1; c < 5; c++)
        for (int noted = 0; noted < 2; noted++) {
            uint8_t *pixels = noise(13, 21, c);
            const cm_view view = cmi_view_bytes(1, 13, 21, (size_t)c, pixels);
            heap got = {0};
            const cm_byte_sink sink = {collect, &got};
            cm_picture p;
            OK(cmi_png_write(context, &view, noted ? "words" : NULL, &sink));
            OK(cmi_png_read(context, "x", got.bytes, got.size, c, &p));
            ck_assert(p.channels == c && p.height == 13 && p.width == 21);
            ck_assert_int_eq(memcmp(p.pixels, pixels, (size_t)(13 * 21 * c)), 0);
            cmi_free(context, p.pixels);
            static const int types[5] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                         PNG_COLOR_TYPE_RGB_ALPHA};
            ck_assert(got.bytes[24] == 8 && got.bytes[25] == types[c] && got.bytes[28] == 0);
            ck_assert_int_eq(
                memcmp(got.bytes + 37, noted ? "iTXtconsistency\0\0\0\0\0words" : "IDAT", noted ? 25 : 4), 0);
            const size_t calls = got.calls;
            for (size_t fails = 1; fails <= calls; fails++) {
                got.size = got.calls = 0, got.fails = fails;
                ck_assert_int_eq((int)cmi_png_write(context, &view, noted ? "words" : NULL, &sink), (int)CM_ERR_IO);
                ck_assert_uint_eq(got.calls, fails); /* nothing after that */
            }
            free(got.bytes);
            free(pixels);
        }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("picture_parts");
    TCase *t = tcase_create("picture_parts");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, limits);
    tcase_add_test(t, kinds);
    tcase_add_test(t, gray);
    tcase_add_test(t, orientations);
    tcase_add_test(t, segments);
    tcase_add_test(t, chunks);
    tcase_add_test(t, turns);
    tcase_add_test(t, kinds_of_jpeg);
    tcase_add_test(t, jpeg_damage);
    tcase_add_test(t, jpeg_scans);
    tcase_add_test(t, jpeg_written);
    tcase_add_test(t, colours_of_png);
    tcase_add_test(t, chunks_that_are_not_kept);
    tcase_add_test(t, png_written);
    suite_add_tcase(s, t);
    return s;
}
