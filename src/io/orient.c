/* orient.c - EXIF's orientation: found in the bytes of a JPEG (APP1) or a PNG (eXIf),
 * and applied.  Whatever is damaged counts as absent. */
#include <string.h>

#include <zlib.h>

#include "io/picture.h"

/* --- TIFF ------------------------------------------------------------------------- */

typedef struct {
    const unsigned char *data;
    size_t size;
    int little; /* byte order "II" */
} tiff;

static uint32_t number(const tiff *t, size_t at, int bytes)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) v = v << 8 | t->data[at + (size_t)(t->little ? bytes - 1 - i : i)];
    return v;
}

/* Tag 0x112 of the first directory: one SHORT of 1 to 8. */
static int read_tiff(const unsigned char *data, size_t size)
{
    enum { ORIENTATION = 0x112, SHORT = 3, ENTRY = 12 };
    tiff t = {data, size, 0};
    if (size < 8 || (memcmp(data, "II*\0", 4) != 0 && memcmp(data, "MM\0*", 4) != 0)) return 1;
    t.little = data[0] == 'I';
    size_t at = number(&t, 4, 4);
    if (at > size || size - at < 2) return 1;
    size_t entries = number(&t, at, 2);
    at += 2;
    if (entries * ENTRY > size - at) return 1;
    for (; entries > 0; entries--, at += ENTRY) {
        if (number(&t, at, 2) != ORIENTATION) continue;
        uint32_t value = number(&t, at + 8, 2);
        int whole = number(&t, at + 2, 2) == SHORT && number(&t, at + 4, 4) == 1;
        return whole && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* --- containers ------------------------------------------------------------------- */

static size_t big_endian(const unsigned char *p, int bytes)
{
    const tiff t = {p, (size_t)bytes, 0};
    return number(&t, 0, bytes);
}

/* The segments before the first scan. */
static int of_jpeg(const unsigned char *p, size_t size)
{
    static const unsigned char exif[6] = {'E', 'x', 'i', 'f', 0, 0};
    for (size_t at = 2; size - at >= 4;) {
        if (p[at] != 0xff) return 1;
        if (p[at + 1] == 0xff) { /* filling */
            at++;
            continue;
        }
        size_t length = big_endian(p + at + 2, 2);
        if (p[at + 1] == 0xda || length < 2 || length > size - at - 2) return 1;
        const unsigned char *content = p + at + 4;
        if (p[at + 1] == 0xe1 && length >= 8 && memcmp(content, exif, 6) == 0)
            return read_tiff(content + 6, length - 8);
        at += 2 + length;
    }
    return 1;
}

static int of_png(const unsigned char *p, size_t size)
{
    for (size_t at = 8; at <= size && size - at >= 12;) {
        size_t length = big_endian(p + at, 4);
        if (length > size - at - 12) return 1;
        if (memcmp(p + at + 4, "eXIf", 4) == 0) {
            uLong sum = crc32(0, p + at + 4, (uInt)(length + 4));
            return sum == big_endian(p + at + 8 + length, 4) ? read_tiff(p + at + 8, length) : 1;
        }
        at += 12 + length;
    }
    return 1;
}

int cmi_picture_orientation(const void *data, size_t size)
{
    return cmi_picture_is_png(data, size)    ? of_png(data, size)
           : cmi_picture_is_jpeg(data, size) ? of_jpeg(data, size)
                                             : 1;
}

/* --- turning ---------------------------------------------------------------------- */

/* Orientations 5 to 8 exchange rows and columns; 3, 4, 6 and 7 count the stored rows
 * from below, 2, 3, 7 and 8 the stored columns from the right. */
cm_status cmi_picture_turn(cm_context *context, cm_picture *p, int orientation)
{
    int across = orientation >= 5, up = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    int left = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    size_t rows = (size_t)p->height, columns = (size_t)p->width, c = (size_t)p->channels;
    size_t height = across ? columns : rows, width = across ? rows : columns;
    if (orientation == 1) return CM_OK;
    uint8_t *turned = cmi_malloc(context, rows * columns, c), *to = turned;
    if (!turned) return CM_ERR_MEMORY;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++, to += c) {
            size_t row = across ? x : y, column = across ? y : x;
            row = up ? rows - 1 - row : row;
            column = left ? columns - 1 - column : column;
            memcpy(to, p->pixels + (row * columns + column) * c, c);
        }
    cmi_free(context, p->pixels);
    *p = (cm_picture){p->channels, (int32_t)height, (int32_t)width, turned};
    return CM_OK;
}
