/* note.c - the text that a PNG keeps beside its pixels: an iTXt chunk with a keyword of ours.  Read by hand, since
 * libpng would keep every text of a file, each of which deflate can make a thousand times as large. */
#include <string.h>

#include <zlib.h>

#include "base/utf8.h"
#include "io/picture.h"

/* keyword, 0, flag of compression, method, language, 0, translated keyword, 0: the last two empty when we write. */
enum { SIGNATURE = 8, HEAD = 8, CRC = 4, KEYWORD = sizeof CM_NOTE_KEYWORD };

static int is_text(const char *text, size_t size)
{
    return !memchr(text, '\0', size) && cmi_is_utf8(text, size);
}

cm_status cmi_note_check(const char *call, const char *note)
{
    const size_t size = strlen(note);
    if (!size) CM_FAIL(CM_ERR_ARGUMENT, "%s: the note is empty, expected a text or NULL", call);
    if (size > CM_PICTURE_NOTE)
        CM_FAIL(CM_ERR_LIMIT, "%s: a note of %zu bytes, expected at most %d", call, size, CM_PICTURE_NOTE);
    if (!is_text(note, size)) CM_FAIL(CM_ERR_ARGUMENT, "%s: the note is no UTF-8", call);
    return CM_OK;
}

static uint32_t big_endian(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The data of the chunk that is a note. */
static cm_status read_chunk(cm_context *context, const char *name, const char *data, size_t size, uint8_t **note,
                            size_t *length)
{
    const char *at = data + KEYWORD, *end = data + size;
    if (size < KEYWORD + 4 || at[0] || at[1])
        CM_FAIL(CM_ERR_FORMAT, "%s: a note that is compressed or cut short", name);
    at += 2;
    for (int i = 0; i < 2; i++) { /* behind the language and the translated keyword */
        const char *zero = memchr(at, 0, (size_t)(end - at));
        if (!zero) CM_FAIL(CM_ERR_FORMAT, "%s: a note that is cut short", name);
        at = zero + 1;
    }
    const size_t n = (size_t)(end - at);
    if (n > CM_PICTURE_NOTE)
        CM_FAIL(CM_ERR_FORMAT, "%s: a note of %zu bytes, expected at most %d", name, n, CM_PICTURE_NOTE);
    if (!is_text(at, n)) CM_FAIL(CM_ERR_FORMAT, "%s: a note that is no UTF-8", name);
    uint8_t *text = cmi_malloc(context, n + 1, 1);
    if (!text) return CM_ERR_MEMORY;
    memcpy(text, at, n);
    text[n] = 0;
    *note = text;
    *length = n;
    return CM_OK;
}

cm_status cmi_note_read(cm_context *context, const char *name, const unsigned char *data, size_t size, uint8_t **note,
                        size_t *length)
{
    *note = NULL;
    *length = 0;
    if (cmi_picture_is_jpeg(data, size)) return CM_OK;
    if (!cmi_picture_is_png(data, size)) CM_FAIL(CM_ERR_FORMAT, "%s: neither a PNG nor a JPEG", name);
    for (size_t at = SIGNATURE;;) {
        if (size < at + HEAD + CRC) CM_FAIL(CM_ERR_FORMAT, "%s: cut short after byte %zu", name, at);
        const unsigned char *type = data + at + 4;
        const size_t n = big_endian(data + at);
        if (n > size - at - HEAD - CRC)
            CM_FAIL(CM_ERR_FORMAT, "%s: cut short within the chunk at byte %zu", name, at);
        if (memcmp(type, "IEND", 4) == 0) return CM_OK;
        if (memcmp(type, "iTXt", 4) == 0 && n >= KEYWORD && memcmp(type + 4, CM_NOTE_KEYWORD, KEYWORD) == 0) {
            if (crc32(crc32(0, NULL, 0), type, (uInt)n + 4) != big_endian(type + 4 + n))
                CM_FAIL(CM_ERR_FORMAT, "%s: the note at byte %zu is damaged: its checksum differs", name, at);
            return read_chunk(context, name, (const char *)type + 4, n, note, length);
        }
        at += HEAD + n + CRC;
    }
}
