/* Pictures: JPEG and PNG both ways, of every kind, with EXIF and with damage. */
#include "support/files.h"
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include "io/picture.h"
#include "support/memory.h"
#include "support/pictures.h"
#include "support/scratch.h"

START_TEST(png_both_ways)
{
    static const int shapes[4][3] = {{1, 1, 1}, {3, 5, 3}, {17, 2, 1}, {40, 33, 3}};
    for (int i = 0; i < 4; i++) {
        int32_t h = shapes[i][0], w = shapes[i][1], c = shapes[i][2], rc = 0, rh, rw;
        uint8_t *p = noise_picture(h, w, c), *q;
        OK(write_picture(context, in_dir("p.png"), c, h, w, p, 0, 1));
        OK(read_picture(context, in_dir("p.png"), &rc, &rh, &rw, &q));
        ck_assert(rc == c && rh == h && rw == w && memcmp(p, q, (size_t)(h * w * c)) == 0);
        free_pixels(context, q);
        free(p);
    }
}
END_TEST

START_TEST(jpeg_both_ways)
{
    int32_t c = 0, h, w;
    uint8_t p[32 * 32 * 3], *q;
    for (int i = 0; i < 32 * 32; i++)
        p[3 * i] = (uint8_t)(8 * (i % 32)), p[3 * i + 1] = (uint8_t)(i / 4), p[3 * i + 2] = 100;
    OK(write_picture(context, in_dir("p.jpg"), 3, 32, 32, p, 0, 0));
    FAILS(write_picture(context, in_dir("p.jpg"), 3, 32, 32, p, 90, 0), CM_ERR_IO, "exists");
    OK(read_picture(context, in_dir("p.jpg"), &c, &h, &w, &q));
    ck_assert(c == 3 && h == 32 && w == 32);
    for (int i = 0; i < 32 * 32 * 3; i++) ck_assert_int_le(abs(p[i] - q[i]), 24);
    free_pixels(context, q);
    c = 1;
    OK(read_picture(context, in_dir("p.jpg"), &c, &h, &w, &q));
    free_pixels(context, q);
}
END_TEST

/* Cut at every byte and with flipped bits: a picture or an error, never more. */
START_TEST(damaged_pictures)
{
    static const char *const names[2] = {"d.png", "d.jpg"};
    uint8_t *p = noise_picture(20, 20, 3);
    for (int kind = 0; kind < 2; kind++) {
        unsigned char *bytes;
        size_t size;
        cm_picture out;
        OK(write_picture(context, in_dir(names[kind]), 3, 20, 20, p, 0, 1));
        OK(cmi_file_read(context, in_dir(names[kind]), 1 << 20, &bytes, &size));
        unsigned char *copy = malloc(size);
        memcpy(copy, bytes, size);
        for (size_t n = 0; n < size; n++) {
            cm_status s = kind ? cmi_jpeg_read(context, "cut", copy, n, 0, &out)
                               : cmi_png_read(context, "cut", copy, n, 0, &out);
            ck_assert_msg(s != CM_OK || n + 2 >= size || (kind == 0 && n + 12 > size),
                          "%s cut at %zu of %zu was read", names[kind], n, size);
            if (s == CM_OK) cmi_free(context, out.pixels);
        }
        for (size_t i = 0; i < 3000; i++) {
            size_t at = i * 7919 % size;
            copy[at] ^= (unsigned char)(1 << i % 8);
            cm_status s = kind ? cmi_jpeg_read(context, "flip", copy, size, 0, &out)
                               : cmi_png_read(context, "flip", copy, size, 0, &out);
            if (s == CM_OK) cmi_free(context, out.pixels);
            copy[at] = bytes[at];
        }
        free(copy);
        cmi_free(context, bytes);
    }
    free(p);
}
END_TEST

START_TEST(hostile_pictures)
{
    /* IHDR of 65,536 x 65,536 and a JPEG header of 65,500 x 65,500 */
    unsigned char png[] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0,
                           1,    0,   0,   0,   1,  0,  0,  8,  2, 0, 0, 0,  0,   0,   0,   0};
    unsigned char jpg[] = {0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0xff, 0xdc, 0xff, 0xdc, 1, 1,
                           0x11, 0,    0xff, 0xda, 0, 8,  1, 1,    0,    0,    63,   0};
    cm_picture out;
    ck_assert_int_ne(cmi_png_read(context, "huge.png", png, sizeof png, 0, &out), CM_OK);
    ck_assert(strstr(cm_last_message(), "huge.png") != NULL);
    FAILS(cmi_jpeg_read(context, "huge.jpg", jpg, sizeof jpg, 0, &out), CM_ERR_LIMIT, "65500");
    jpg[7] = 0, jpg[9] = 9; /* 220 x 2524 pixels: within the limits, but not in 25 bytes */
    FAILS(cmi_jpeg_read(context, "big.jpg", jpg, sizeof jpg, 0, &out), CM_ERR_FORMAT, "cannot hold");
    int32_t c = 0, h, w;
    uint8_t *q;
    FAILS(read_picture(context, "Makefile", &c, &h, &w, &q), CM_ERR_FORMAT, "neither");
    FAILS(read_picture(context, in_dir("none.png"), &c, &h, &w, &q), CM_ERR_IO, "none.png");
}
END_TEST

/* --- pictures as cameras and drawing programs store them ------------------------------ */

enum { WIDE = 11, HIGH = 9 };

/* What a sample of `depth` bits is in eight. */
static uint8_t in_eight(unsigned sample, int depth)
{
    return (uint8_t)(depth == 16 ? sample >> 8 : depth == 8 ? sample : sample * 255 / ((1u << depth) - 1));
}

static unsigned sample_at(int i, int depth)
{
    return (unsigned)(i * 2503 + 77) % (1u << depth);
}

/* A gray picture in PNG's way `type` and `depth`; with tRNS sample 0 (entry 0) is transparent; the alpha of a
 * pixel is its number.  Returns the bytes. */
static unsigned char *gray_png(int type, int depth, int interlaced, int trns, size_t *size)
{
    char *bytes = NULL;
    FILE *f = open_memstream(&bytes, size);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, f);
    png_set_IHDR(png, info, WIDE, HIGH, depth, type, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_color palette[256];
        const png_byte clear[1] = {0};
        for (int k = 0; k < 256; k++) palette[k].red = palette[k].green = palette[k].blue = (png_byte)(k * 17);
        png_set_PLTE(png, info, palette, 1 << depth);
        if (trns) png_set_tRNS(png, info, clear, 1, NULL);
    } else if (trns) {
        const png_color_16 clear = {0, 0, 0, 0, 0};
        png_set_tRNS(png, info, NULL, 0, &clear);
    }
    png_write_info(png, info);
    unsigned char rows[HIGH][WIDE * 8] = {{0}}, *pointers[HIGH];
    int channels = type == PNG_COLOR_TYPE_RGB          ? 3
                   : type == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
                   : type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                       : 1;
    for (int i = 0; i < WIDE * HIGH; i++)
        for (int k = 0; k < channels; k++) {
            unsigned v = channels % 2 == 0 && k == channels - 1 ? (unsigned)i << (depth - 8) : sample_at(i, depth);
            size_t bit = (size_t)((i % WIDE * channels + k) * depth);
            unsigned char *at = rows[i / WIDE] + bit / 8;
            if (depth == 16) at[0] = (unsigned char)(v >> 8), at[1] = (unsigned char)v;
            else *at = (unsigned char)(*at | v << (8 - depth - (int)(bit % 8)));
        }
    for (int y = 0; y < HIGH; y++) pointers[y] = rows[y];
    png_write_image(png, pointers);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(f);
    return (unsigned char *)bytes;
}

/* Every kind of PNG that holds a gray picture gives it in 1 to 4 channels: values, and alpha where it is asked for.
 */
START_TEST(png_kinds)
{
    static const struct {
        int type, depth, trns;
    } kinds[] = {
        {PNG_COLOR_TYPE_GRAY, 1, 0},       {PNG_COLOR_TYPE_GRAY, 2, 0},        {PNG_COLOR_TYPE_GRAY, 4, 1},
        {PNG_COLOR_TYPE_GRAY, 8, 0},       {PNG_COLOR_TYPE_GRAY, 8, 1},        {PNG_COLOR_TYPE_GRAY, 16, 0},
        {PNG_COLOR_TYPE_GRAY, 1, 1},       {PNG_COLOR_TYPE_PALETTE, 1, 0},     {PNG_COLOR_TYPE_PALETTE, 4, 0},
        {PNG_COLOR_TYPE_PALETTE, 2, 1},    {PNG_COLOR_TYPE_PALETTE, 8, 1},     {PNG_COLOR_TYPE_PALETTE, 8, 0},
        {PNG_COLOR_TYPE_RGB, 8, 0},        {PNG_COLOR_TYPE_RGB, 16, 0},        {PNG_COLOR_TYPE_RGB, 8, 1},
        {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 0}, {PNG_COLOR_TYPE_GRAY_ALPHA, 16, 0}, {PNG_COLOR_TYPE_RGB_ALPHA, 8, 0},
        {PNG_COLOR_TYPE_RGB_ALPHA, 16, 0}, {PNG_COLOR_TYPE_RGB, 16, 1}};
    for (size_t k = 0; k < 2 * sizeof kinds / sizeof *kinds; k++) {
        int type = kinds[k / 2].type, depth = kinds[k / 2].depth, trns = kinds[k / 2].trns;
        size_t size;
        unsigned char *bytes = gray_png(type, depth, (int)(k % 2), trns, &size);
        for (int channels = 0; channels <= 4; channels++) {
            cm_picture p;
            OK(cmi_picture_read(context, "kind", bytes, size, channels, &p));
            ck_assert_int_eq(p.channels, channels ? channels : type & PNG_COLOR_MASK_COLOR ? 3 : 1);
            for (int i = 0; i < WIDE * HIGH; i++) {
                unsigned s = sample_at(i, depth);
                int c = p.channels, has_alpha = type & PNG_COLOR_MASK_ALPHA;
                uint8_t want = type == PNG_COLOR_TYPE_PALETTE ? (uint8_t)(s * 17) : in_eight(s, depth);
                uint8_t alpha = (uint8_t)(has_alpha ? i : trns && s == 0 ? 0 : 255);
                for (int n = 0; n < c; n++) {
                    int got = p.pixels[i * c + n], is_alpha = c % 2 == 0 && n == c - 1;
                    ck_assert_msg(got == (is_alpha ? alpha : want),
                                  "kind %zu, %d channels, pixel %d: [%d] is %d, not %d", k, channels, i, n, got,
                                  is_alpha ? alpha : want);
                }
            }
            cmi_free(context, p.pixels);
        }
        free(bytes);
    }
}
END_TEST

/* Colours asked for as gray: one rule for both formats. */
START_TEST(colours_as_gray)
{
    static const uint8_t colours[6][3] = {{255, 0, 0},   {0, 255, 0},   {0, 0, 255},
                                          {255, 255, 0}, {12, 200, 99}, {77, 77, 77}};
    uint8_t page[8 * 48 * 3];
    for (int i = 0; i < 8 * 48; i++) memcpy(page + 3 * i, colours[i % 48 / 8], 3);
    OK(write_picture(context, in_dir("c.png"), 3, 8, 48, page, 0, 1));
    OK(write_picture(context, in_dir("c.jpg"), 3, 8, 48, page, 100, 1));
    for (int kind = 0; kind < 2; kind++) {
        int32_t c = 1, h, w;
        uint8_t *q;
        OK(read_picture(context, in_dir(kind ? "c.jpg" : "c.png"), &c, &h, &w, &q));
        ck_assert(c == 1 && h == 8 && w == 48);
        for (int i = 0; i < 6; i++) {
            double luma = 0.299 * colours[i][0] + 0.587 * colours[i][1] + 0.114 * colours[i][2];
            ck_assert_msg(abs(q[8 * i + 4] - (int)(luma + 0.5)) <= (kind ? 2 : 0), "file %d, colour %d: %d for %g",
                          kind, i, q[8 * i + 4], luma);
        }
        free_pixels(context, q);
        c = 2;
        OK(read_picture(context, in_dir(kind ? "c.jpg" : "c.png"), &c, &h, &w, &q));
        ck_assert(c == 2 && q[1] == 255 && abs(q[2 * 44] - 77) <= kind);
        free_pixels(context, q);
    }
}
END_TEST

/* --- EXIF -------------------------------------------------------------------------------- */

/* Six bytes and a TIFF of one entry; returns its length. */
static size_t make_exif(unsigned char *out, int little, int value)
{
    static const unsigned char big[] = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0";
    static const unsigned char small[] = "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0";
    memcpy(out, little ? small : big, 32);
    out[little ? 24 : 25] = (unsigned char)value;
    return 32;
}

/* The file with `piece` put in at byte `at`. */
static unsigned char *put_in(const unsigned char *file, size_t size, size_t at, const unsigned char *piece, size_t n)
{
    unsigned char *out = malloc(size + n);
    memcpy(out, file, at);
    memcpy(out + at, piece, n);
    memcpy(out + at + n, file + at, size - at);
    return out;
}

static size_t jpeg_segment(unsigned char *out, const unsigned char *exif, size_t n)
{
    out[0] = 0xff, out[1] = 0xe1, out[2] = (unsigned char)((n + 2) >> 8), out[3] = (unsigned char)(n + 2);
    memcpy(out + 4, exif, n);
    return n + 4;
}

static void put32(unsigned char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* eXIf has no "Exif\0\0" before the TIFF. */
static size_t png_chunk(unsigned char *out, const unsigned char *exif, size_t n)
{
    put32(out, (uint32_t)(n - 6));
    memcpy(out + 4, "eXIf", 4);
    memcpy(out + 8, exif + 6, n - 6);
    put32(out + 8 + n - 6, (uint32_t)crc32(0, out + 4, (uInt)(n - 2)));
    return n + 6;
}

static int kind_of(const unsigned char *file, size_t size)
{
    return cmi_picture_orientation(file, size);
}

START_TEST(exif_turns)
{
    /* a b c over d e f */
    static const char *const turned[9] = {NULL,     "abcdef", "cbafed", "fedcba", "defabc",
                                          "adbecf", "daebfc", "fcebda", "cfbead"};
    unsigned char exif[64], piece[80], block[48 * 32 * 3];
    size_t png_size, jpg_size;
    OK(write_picture(context, in_dir("e.png"), 1, 2, 3, (const uint8_t *)"abcdef", 0, 1));
    for (int i = 0; i < 48 * 32; i++)
        memset(block + 3 * i, "\x10\x38\x60\x90\xb8\xe0"[i / 48 / 16 * 3 + i % 48 / 16], 3);
    OK(write_picture(context, in_dir("e.jpg"), 3, 32, 48, block, 100, 1));
    unsigned char *png = read_bytes(in_dir("e.png"), &png_size), *jpg = read_bytes(in_dir("e.jpg"), &jpg_size);
    for (int k = 0; k < 16; k++) {
        int value = k / 2 + 1, across = value >= 5;
        size_t n = make_exif(exif, k % 2, value), m = png_chunk(piece, exif, n);
        for (int place = 0; place < 2; place++) { /* behind IHDR, before IEND */
            cm_picture p;
            unsigned char *file = put_in(png, png_size, place ? png_size - 12 : 33, piece, m);
            OK(cmi_picture_read(context, "e", file, png_size + m, 0, &p));
            ck_assert(p.height == (across ? 3 : 2) && p.width == (across ? 2 : 3) && p.channels == 1);
            ck_assert_msg(memcmp(p.pixels, turned[value], 6) == 0, "PNG, orientation %d: %.6s", value,
                          (char *)p.pixels);
            cmi_free(context, p.pixels);
            free(file);
        }
        m = jpeg_segment(piece, exif, n);
        unsigned char *file = put_in(jpg, jpg_size, k % 2 ? 2 : 20, piece, m); /* before or behind APP0 */
        write_bytes(in_dir("t.jpg"), file, jpg_size + m);
        int32_t c = k % 3, h, w; /* kept, gray, gray with alpha */
        uint8_t *q;
        OK(read_picture(context, in_dir("t.jpg"), &c, &h, &w, &q));
        ck_assert(h == (across ? 48 : 32) && w == (across ? 32 : 48));
        for (int i = 0; i < 6; i++) {
            int columns = w / 16, got = q[((i / columns * 16 + 8) * w + i % columns * 16 + 8) * c];
            ck_assert_msg(abs(got - (unsigned char)"\x10\x38\x60\x90\xb8\xe0"[turned[value][i] - 'a']) <= 2,
                          "JPEG, orientation %d, block %d: %d", value, i, got);
        }
        free_pixels(context, q);
        free(file);
    }
    free(png), free(jpg);
}
END_TEST

/* What is damaged is as if it were not there, and the picture is still read. */
START_TEST(damaged_exif)
{
    static const struct {
        size_t at;
        unsigned char value;
    } damages[] = {{0, 'X'}, {6, 'I'}, {8, 1},     {10, 0xff}, {13, 33},   {13, 0xff}, {14, 1}, {15, 2},
                   {15, 0},  {16, 2},  {17, 0x13}, {19, 4},    {19, 2},    {23, 2},    {23, 0}, {25, 0},
                   {25, 9},  {24, 1},  {22, 1},    {5, 1},     {25, 0xff}, {9, 0}};
    unsigned char exif[64], piece[80];
    size_t size, n = make_exif(exif, 0, 6);
    uint8_t page[8 * 16] = {0};
    OK(write_picture(context, in_dir("d.jpg"), 1, 8, 16, page, 0, 1));
    unsigned char *jpg = read_bytes(in_dir("d.jpg"), &size);
    size_t m = jpeg_segment(piece, exif, n);
    unsigned char *good = put_in(jpg, size, 2, piece, m);
    ck_assert_int_eq(kind_of(good, size + m), 6);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        unsigned char before = good[6 + damages[i].at];
        cm_picture p;
        good[6 + damages[i].at] = damages[i].value;
        ck_assert_msg(kind_of(good, size + m) == 1, "byte %zu as %d: %d", damages[i].at, damages[i].value,
                      kind_of(good, size + m));
        OK(cmi_picture_read(context, "d", good, size + m, 0, &p));
        ck_assert(p.height == 8 && p.width == 16);
        cmi_free(context, p.pixels);
        good[6 + damages[i].at] = before;
    }
    for (size_t cut = 0; cut < n; cut++) { /* a shorter segment; a file that ends inside */
        m = jpeg_segment(piece, exif, cut);
        unsigned char *file = put_in(jpg, size, 2, piece, m), *end = malloc(cut + 6);
        int whole = cut >= 6 + 8 + 2 + 12; /* what follows the entry is not needed */
        ck_assert_msg(kind_of(file, size + m) == (whole ? 6 : 1), "cut to %zu: %d", cut, kind_of(file, size + m));
        memcpy(end, good, cut + 6); /* exactly so many bytes, for the sanitizer */
        ck_assert_int_eq(kind_of(end, cut + 6), 1);
        free(file), free(end);
    }
    free(good), free(jpg);
    OK(write_picture(context, in_dir("d.png"), 1, 8, 16, page, 0, 1));
    unsigned char *png = read_bytes(in_dir("d.png"), &size);
    m = png_chunk(piece, exif, n);
    for (size_t i = 0; i < m; i++) { /* a wrong byte anywhere: its CRC tells */
        cm_picture p;
        unsigned char *file = put_in(png, size, 33, piece, m);
        file[33 + i] ^= 1;
        ck_assert_int_eq(kind_of(file, size + m), 1);
        cm_status status = cmi_picture_read(context, "d.png", file, size + m, 0, &p);
        if (status == CM_OK) {
            ck_assert(p.height == 8 && p.width == 16);
            cmi_free(context, p.pixels);
        } else ck_assert_msg(i < 8, "byte %zu: %s", i, cm_last_message()); /* chunks no longer follow each other */
        free(file);
    }
    free(png);
}
END_TEST

/* Out of memory is that, never damage: at every request. */
START_TEST(pictures_without_memory)
{
    static const char *const names[2] = {"m.png", "m.jpg"};
    uint8_t *pixels = noise_picture(40, 33, 3);
    memory m;
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 1);
    cm_context *poor;
    OK(cm_context_create(&o, &poor));
    for (int kind = 0; kind < 2; kind++) {
        size_t size, failed = 0;
        cm_picture p;
        OK(write_picture(context, in_dir(names[kind]), 3, 40, 33, pixels, 0, 1));
        unsigned char *file = read_bytes(in_dir(names[kind]), &size);
        cm_status status = CM_ERR_MEMORY;
        for (long k = 1; status != CM_OK && k < 1000; k++) {
            long live = m.live;
            m.requests = 0, m.fail_at = k;
            status = cmi_picture_read(poor, names[kind], file, size, 4, &p);
            m.fail_at = 0;
            ck_assert_msg(status == CM_OK || status == CM_ERR_MEMORY, "request %ld of %s: %s", k, names[kind],
                          cm_last_message());
            if (status == CM_OK) cmi_free(poor, p.pixels);
            else failed++;
            ck_assert_int_eq(m.live, live);
        }
        ck_assert(status == CM_OK && failed > 1);
        free(file);
    }
    free(pixels);
    cm_context_free(poor);
}
END_TEST

/* Sides beyond the limit, with right checksums. */
START_TEST(too_large)
{
    static const uint32_t sides[][2] = {{65536, 1}, {1, 65536}, {70000, 70000}, {0x7fffffff, 1}, {30000, 20000}};
    unsigned char png[33 + 12] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R'};
    cm_picture p;
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        put32(png + 16, sides[i][0]), put32(png + 20, sides[i][1]);
        png[24] = 8;
        put32(png + 29, (uint32_t)crc32(0, png + 12, 17));
        memcpy(png + 33, "\0\0\0\0IDAT", 8);
        put32(png + 41, (uint32_t)crc32(0, png + 37, 4));
        FAILS(cmi_picture_read(context, "wide.png", png, sizeof png, 0, &p), CM_ERR_LIMIT, "wide.png");
    }
}
END_TEST

static void put_be32(unsigned char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* Texts that deflate makes a thousand times as large: read past, not kept. */
START_TEST(png_with_large_texts)
{
    enum { TEXT = 7000000, CHUNKS = 40 };
    memory m;
    cm_context *counted;
    cm_picture out;
    uint8_t *p = noise_picture(20, 20, 3);
    unsigned char *png, *text = calloc(TEXT, 1), *chunk = malloc(20000), *file;
    uLongf packed = 19000;
    size_t size, n = 33;
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 1);
    OK(cm_context_create(&o, &counted));
    OK(write_picture(context, in_dir("t.png"), 3, 20, 20, p, 0, 0));
    OK(cmi_file_read(context, in_dir("t.png"), 1 << 20, &png, &size));
    memcpy(chunk + 4, "zTXtk\0", 7); /* the key's NUL and the method, 0 */
    ck_assert_int_eq(compress2(chunk + 11, &packed, text, TEXT, 9), Z_OK);
    put_be32(chunk, (uint32_t)packed + 3);
    put_be32(chunk + 11 + packed, (uint32_t)crc32(0, chunk + 4, (uInt)packed + 7));
    file = malloc(size + CHUNKS * (packed + 15));
    memcpy(file, png, n);
    for (int i = 0; i < CHUNKS; i++, n += packed + 15) memcpy(file + n, chunk, packed + 15);
    memcpy(file + n, png + 33, size - 33);
    OK(cmi_png_read(counted, "texts", file, n + size - 33, 0, &out));
    ck_assert_int_eq(memcmp(out.pixels, p, 1200), 0);
    ck_assert_msg(m.peak < 1 << 20, "%lld bytes for a picture of 1,200", m.peak);
    cmi_free(counted, out.pixels);
    cm_context_free(counted);
    cmi_free(context, png);
    free(p), free(text), free(chunk), free(file);
}
END_TEST

/* A progressive JPEG of 4096 x 4096 whose last scan stands there 300 times: a minute's work in a small file. */
START_TEST(jpeg_with_many_scans)
{
    enum { SIDE = 4096, SCANS = 300 };
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char *jpeg = NULL, *row = calloc(SIDE, 1), *file;
    unsigned long size = 0;
    size_t scan, n;
    cm_picture out;
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &jpeg, &size);
    info.image_width = info.image_height = SIDE;
    info.input_components = 1;
    info.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&info);
    jpeg_simple_progression(&info);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < SIDE) jpeg_write_scanlines(&info, &row, 1);
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    OK(cmi_jpeg_read(context, "one", jpeg, size, 0, &out));
    cmi_free(context, out.pixels);
    for (scan = size - 2; jpeg[scan] != 0xff || jpeg[scan + 1] != 0xda;) scan--;
    n = size - 2 - scan;
    file = malloc(size + SCANS * n);
    memcpy(file, jpeg, scan);
    for (size_t i = 0; i < SCANS; i++) memcpy(file + scan + i * n, jpeg + scan, n);
    memcpy(file + scan + SCANS * n, "\xff\xd9", 2);
    FAILS(cmi_jpeg_read(context, "many", file, scan + SCANS * n + 2, 0, &out), CM_ERR_FORMAT, "progress");
    free(jpeg), free(row), free(file);
}
END_TEST

static cm_status write_noted(const char *path, const uint8_t *pixels, const char *note)
{
    const cm_images image = cm_images_u8(1, 2, 2, 1, pixels);
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES;
    o.note = note;
    return cm_image_write(context, path, &image, &o);
}

/* What is written is read, of one byte and of the most; pixels do not depend on it. */
START_TEST(notes_both_ways)
{
    const uint8_t p[4] = {1, 2, 3, 250};
    char *most = calloc(CM_PICTURE_NOTE + 2, 1);
    memset(most, 'x', CM_PICTURE_NOTE);
    const char *const notes[] = {"{\"seed\": 7}", "a", "\xc3\xa9\n\xf0\x9f\x8e\xa8", most};
    uint8_t *note, *pixels;
    size_t size;
    for (int i = 0; i < 4; i++) {
        int32_t c = 0, h, w;
        OK(write_noted(in_dir("n.png"), p, notes[i]));
        OK(cm_image_note(context, in_dir("n.png"), &note, &size));
        ck_assert_uint_eq(size, strlen(notes[i]));
        ck_assert_str_eq((const char *)note, notes[i]);
        cm_bytes_free(context, note);
        OK(read_picture(context, in_dir("n.png"), &c, &h, &w, &pixels));
        ck_assert_int_eq(memcmp(pixels, p, 4), 0);
        free_pixels(context, pixels);
    }
    OK(write_noted(in_dir("n.png"), p, NULL));
    OK(cm_image_note(context, in_dir("n.png"), &note, &size));
    ck_assert(note == NULL && size == 0);
    OK(write_noted(in_dir("n.jpg"), p, NULL));
    OK(cm_image_note(context, in_dir("n.jpg"), &note, &size));
    ck_assert(note == NULL && size == 0);
    most[CM_PICTURE_NOTE] = 'x';
    FAILS(write_noted(in_dir("n.png"), p, most), CM_ERR_LIMIT, "1048577");
    FAILS(write_noted(in_dir("n.png"), p, ""), CM_ERR_ARGUMENT, "empty");
    FAILS(write_noted(in_dir("n.png"), p, "\xff"), CM_ERR_ARGUMENT, "UTF-8");
    FAILS(write_noted(in_dir("n.jpg"), p, "a"), CM_ERR_ARGUMENT, "JPEG");
    FAILS(cm_image_note(context, NULL, &note, &size), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_image_note(context, in_dir("n.png"), NULL, &size), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_image_note(context, in_dir("none.png"), &note, &size), CM_ERR_IO, "none.png");
    free(most);
}
END_TEST

/* Cut at every byte and with every bit flipped: the note, none, or an error; and chunks that others may write. */
START_TEST(hostile_notes)
{
    const uint8_t p[4] = {1, 2, 3, 250};
    const struct {
        const char *text; /* behind the keyword and its 0 */
        size_t size;
        const char *says; /* NULL: it reads */
    } rows[] = {{"\0\0en\0\0ok", 8, NULL},    {"\0\0\0\0", 4, NULL},          {"\1\0\0\0ok", 6, "compressed"},
                {"\0\0\0", 3, "cut short"},   {"\0\0en\0fr", 7, "cut short"}, {"", 0, "cut short"},
                {"\0\0\0\0\xff", 5, "UTF-8"}, {"\0\0\0\0a\0b", 7, "UTF-8"},   {"\0\1\0\0ok", 6, "compressed"}};
    unsigned char *png, chunk[64];
    uint8_t *note;
    size_t size, length, notes = 0, failures = 0;
    OK(write_noted(in_dir("h.png"), p, "a note"));
    OK(cmi_file_read(context, in_dir("h.png"), 1 << 20, &png, &size));
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *part = malloc(cut + 1); /* exact, for the sanitizers */
        memcpy(part, png, cut);
        if (cmi_note_read(context, "cut", part, cut, &note, &length) == CM_OK) cmi_free(context, note);
        free(part);
    }
    for (size_t bit = 0; bit < 8 * size; bit++) {
        png[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (cmi_note_read(context, "flipped", png, size, &note, &length) == CM_OK) {
            ck_assert_msg(!note || strcmp((const char *)note, "a note") == 0, "bit %zu: %s", bit, (const char *)note);
            notes += note != NULL;
            cmi_free(context, note);
        } else failures++;
        png[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    ck_assert(notes > 8 && failures > 64);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t n = 12 + rows[i].size;
        unsigned char file[256];
        memcpy(chunk + 4, "iTXt" CM_NOTE_KEYWORD, 16);
        memcpy(chunk + 20, rows[i].text, rows[i].size);
        put_be32(chunk, (uint32_t)n);
        put_be32(chunk + 8 + n, (uint32_t)crc32(0, chunk + 4, (uInt)n + 4));
        memcpy(file, png, 33);
        memcpy(file + 33, chunk, n + 12);
        memcpy(file + 45 + n, png + 33, size - 33);
        const cm_status status = cmi_note_read(context, "row", file, size + n + 12, &note, &length);
        if (rows[i].says) FAILS(status, CM_ERR_FORMAT, rows[i].says);
        else ck_assert(status == CM_OK && length == strlen((const char *)note));
        cmi_free(context, note);
    }
    cmi_free(context, png);
}
END_TEST

START_TEST(picture_arguments)
{
    uint8_t p[4] = {0};
    FAILS(write_picture(context, in_dir("x.gif"), 1, 2, 2, p, 0, 0), CM_ERR_ARGUMENT, ".png");
    FAILS(write_picture(context, in_dir("x.png"), 1, 2, 2, p, 90, 0), CM_ERR_ARGUMENT, "quality");
    FAILS(write_picture(context, in_dir("x.jpg"), 1, 2, 2, p, 101, 0), CM_ERR_ARGUMENT, "101");
    FAILS(write_picture(context, in_dir("no/x.png"), 1, 2, 2, p, 0, 0), CM_ERR_IO, "no/x.png");
    FAILS(write_picture(context, NULL, 1, 2, 2, p, 0, 0), CM_ERR_ARGUMENT, "NULL");
    ck_assert_int_eq(files_in_dir(), 0);
}
END_TEST

/* A look before the work finds what the writing would find, and leaves nothing. */
START_TEST(write_checks)
{
    uint8_t p[12] = {0};
    OK(write_picture(context, in_dir("there.png"), 1, 2, 2, p, 0, 0));
    ck_assert_int_eq(mkdir(in_dir("folder.png"), 0700), 0);
    const struct {
        const char *name;
        int32_t channels, height, width, quality, overwrite;
        cm_status status;
        const char *word;
    } cases[] = {{"there.png", 1, 2, 2, 0, 0, CM_ERR_IO, "exists"},
                 {"folder.png", 1, 2, 2, 0, 1, CM_ERR_IO, "is a directory"},
                 {"no/a.png", 1, 2, 2, 0, 0, CM_ERR_IO, "No such file"},
                 {"there.png/a.png", 1, 2, 2, 0, 1, CM_ERR_IO, "Not a directory"},
                 {"a.webp", 1, 2, 2, 0, 0, CM_ERR_ARGUMENT, "neither in .png"},
                 {"a", 1, 2, 2, 0, 0, CM_ERR_ARGUMENT, "neither in .png"},
                 {"a.png", 5, 2, 2, 0, 0, CM_ERR_SHAPE, "channels"},
                 {"a.jpg", 2, 2, 2, 0, 0, CM_ERR_UNSUPPORTED, "no alpha"},
                 {"a.png", 1, 65536, 2, 0, 0, CM_ERR_LIMIT, "65535"},
                 {"a.jpg", 1, 2, 65501, 0, 0, CM_ERR_LIMIT, "65500"},
                 {"a.png", 1, 2, 2, 90, 0, CM_ERR_ARGUMENT, "quality"},
                 {"a.jpg", 1, 2, 2, 101, 0, CM_ERR_ARGUMENT, "quality"},
                 {"a.jpg", 1, 2, 2, 0, 2, CM_ERR_ARGUMENT, "overwrite"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FAILS(check_write(context, in_dir(cases[i].name), cases[i].channels, cases[i].height, cases[i].width,
                          cases[i].quality, cases[i].overwrite),
              cases[i].status, cases[i].word);
        if (cases[i].status != CM_ERR_IO) ck_assert(strncmp(cm_last_message(), "cm_image_write_check: ", 22) == 0);
    }
    FAILS(check_write(context, NULL, 1, 2, 2, 0, 0), CM_ERR_ARGUMENT, "cm_image_write_check: path is NULL");
    OK(check_write(NULL, in_dir("there.png"), 1, 2, 2, 0, 1));
    OK(check_write(context, in_dir("new.JPEG"), 3, 2, 2, 100, 0));
    ck_assert_int_eq(files_in_dir(), 2);
}
END_TEST

START_TEST(alpha_is_read)
{
    /* Made by another program: 3 x 1 RGBA, gray + alpha, and a palette with a transparent entry. */
    static const struct {
        const char *name;
        int gray;
        uint8_t pixels[12];
    } files[] = {{"rgba.png", 0, {255, 0, 0, 255, 0, 255, 0, 128, 0, 0, 255, 0}},
                 {"gray_alpha.png", 1, {10, 255, 20, 128, 30, 0}},
                 {"palette.png", 0, {255, 0, 0, 0, 0, 255, 0, 255, 0, 0, 255, 255}},
                 {"opaque.jpg", 1, {100, 255, 100, 255, 100, 255}}};
    char path[128];
    uint8_t *q;
    int32_t c, h, w;
    for (size_t k = 0; k < 4; k++) {
        snprintf(path, sizeof path, "tests/data/pictures/%s", files[k].name);
        c = files[k].gray ? 2 : 4;
        OK(read_picture(NULL, path, &c, &h, &w, &q));
        ck_assert(h == 1 && w == 3 && c == (files[k].gray ? 2 : 4));
        ck_assert_msg(memcmp(q, files[k].pixels, (size_t)(3 * c)) == 0, "%s", path);
        free_pixels(NULL, q);
        c = 0;
        OK(read_picture(NULL, path, &c, &h, &w, &q)); /* without */
        ck_assert_int_eq(c, files[k].gray ? 1 : 3);
        free_pixels(NULL, q);
        if (!files[k].gray) continue;
        c = 4;
        OK(read_picture(NULL, path, &c, &h, &w, &q)); /* gray as colour */
        ck_assert(q[4] == q[5] && q[5] == q[6] && q[4] == files[k].pixels[2] && q[7] == files[k].pixels[3]);
        free_pixels(NULL, q);
    }
    c = 2;
    OK(read_picture(NULL, "tests/data/pictures/rgba.png", &c, &h, &w, &q)); /* colours as gray: luminance */
    for (int i = 0; i < 3; i++) {
        const uint8_t *v = files[0].pixels + 4 * i;
        ck_assert_int_eq(q[2 * i], (int)(0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2] + 0.5));
        ck_assert_int_eq(q[2 * i + 1], v[3]);
    }
    free_pixels(NULL, q);
    c = 5;
    FAILS(read_picture(NULL, "tests/data/pictures/rgba.png", &c, &h, &w, &q), CM_ERR_ARGUMENT, "0..4");
}
END_TEST

START_TEST(pictures_come_to_size)
{
    uint8_t in[4 * 8], out[6 * 6 * 3], row[6 * 2 * 3];
    for (int i = 0; i < 32; i++) in[i] = (uint8_t)(i % 8 < 4 ? 40 : 200); /* 4 high, 8 wide, two halves */
    OK(fit_bytes(NULL, CM_FIT_RESIZE, 0, 1, 4, 8, in, 4, 8, out));
    ck_assert_mem_eq(in, out, 32);
    OK(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 4, 8, in, 4, 4, out)); /* columns 2..5 */
    for (int i = 0; i < 16; i++) ck_assert_int_eq(out[i], i % 4 < 2 ? 40 : 200);
    OK(fit_bytes(NULL, CM_FIT_PAD, 7, 1, 4, 8, in, 6, 6, out)); /* 3 x 6 in the middle */
    for (int i = 0; i < 36; i++)
        if (i / 6 < 1 || i / 6 > 3) ck_assert_int_eq(out[i], 7);
        else if (i % 6 == 0 || i % 6 == 5) ck_assert_int_eq(out[i], i % 6 ? 200 : 40);
    /* The bytes of Pillow's BICUBIC. */
    static const uint8_t half[8] = {38, 51, 189, 202, 38, 51, 189, 202}, middle[6] = {40, 30, 59, 181, 210, 200};
    OK(fit_bytes(NULL, CM_FIT_RESIZE, 0, 1, 4, 8, in, 2, 4, out));
    ck_assert_mem_eq(out, half, 8);
    OK(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 4, 8, in, 6, 6, out)); /* 6 x 12, cut to its middle */
    for (int i = 0; i < 6; i++) ck_assert_mem_eq(out + 6 * i, middle, 6);
    /* Colour, one pixel, tall and flat pages. */
    const uint8_t pixel[3] = {1, 2, 3};
    OK(fit_bytes(NULL, CM_FIT_CROP, 0, 3, 1, 1, pixel, 2, 6, row));
    for (int i = 0; i < 36; i++) ck_assert_int_eq(row[i], pixel[i % 3]);
    OK(fit_bytes(NULL, CM_FIT_PAD, 9, 3, 1, 1, pixel, 6, 2, row));
    ck_assert(row[0] == 9 && row[2 * 2 * 3] == 1);
    FAILS(fit_bytes(NULL, 3, 0, 1, 4, 8, in, 4, 4, out), CM_ERR_ARGUMENT, "fit is 3");
    FAILS(fit_bytes(NULL, CM_FIT_CROP, 1, 1, 4, 8, in, 4, 4, out), CM_ERR_ARGUMENT, "background");
    FAILS(fit_bytes(NULL, CM_FIT_CROP, 0, 2, 4, 8, in, 4, 4, out), CM_ERR_SHAPE, "channels");
    FAILS(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 4, 8, in, 0, 4, out), CM_ERR_ARGUMENT, "1 x 0 x 4");
    FAILS(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 4, 8, NULL, 4, 4, out), CM_ERR_ARGUMENT, "NULL");
    static uint8_t tall[65535]; /* scaled to 524280 x 65535, of which one column is made: between 40 and 200 */
    OK(fit_bytes(NULL, CM_FIT_CROP, 0, 1, 1, 8, in, 65535, 1, tall));
    for (int i = 0; i < 65535; i++) ck_assert_int_eq(tall[i], 120);
    FAILS(fit_bytes(NULL, CM_FIT_RESIZE, 0, 1, 4, 8, in, 65535, 65535, out), CM_ERR_LIMIT, "limits");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("pictures");
    TCase *t = tcase_create("pictures");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, write_checks);
    tcase_add_test(t, png_both_ways);
    tcase_add_test(t, jpeg_both_ways);
    tcase_add_test(t, damaged_pictures);
    tcase_add_test(t, hostile_pictures);
    tcase_add_test(t, png_kinds);
    tcase_add_test(t, colours_as_gray);
    tcase_add_test(t, exif_turns);
    tcase_add_test(t, damaged_exif);
    tcase_add_test(t, pictures_without_memory);
    tcase_add_test(t, too_large);
    tcase_add_test(t, png_with_large_texts);
    tcase_add_test(t, jpeg_with_many_scans);
    tcase_add_test(t, notes_both_ways);
    tcase_add_test(t, hostile_notes);
    tcase_add_test(t, picture_arguments);
    tcase_add_test(t, alpha_is_read);
    tcase_add_test(t, pictures_come_to_size);
    suite_add_tcase(s, t);
    return s;
}
