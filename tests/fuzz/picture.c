/* Any bytes as a JPEG or PNG, with what EXIF and notes say: of the size it claims and upright, or refused; a picture
 * that was read is written as PNG and read again as it was. */
#include "fuzz/watched.h"
#include "io/picture.h"

/* Where PNGs are written. */
typedef struct {
    uint8_t *bytes;
    size_t size;
} block;

static cm_status append(void *user, const void *bytes, size_t size)
{
    block *b = user;
    b->bytes = realloc(b->bytes, b->size + size + 1);
    memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
    return CM_OK;
}

static cm_status rewrite(cm_context *context, const cm_picture *p)
{
    block written = {NULL, 0};
    const cm_byte_sink sink = {append, &written};
    cm_picture again;
    const cm_view view = cmi_view_bytes(1, (size_t)p->height, (size_t)p->width, (size_t)p->channels, p->pixels);
    cm_status status = cmi_png_write(context, &view, NULL, &sink);
    if (status == CM_OK) {
        status = cmi_picture_read(context, "again", written.bytes, written.size, p->channels, &again);
        if (status != CM_OK && status != CM_ERR_MEMORY) fuzz_fail("what was written is refused");
    }
    if (status == CM_OK) {
        const size_t n = (size_t)p->height * (size_t)p->width * (size_t)p->channels;
        if (again.height != p->height || again.width != p->width || again.channels != p->channels ||
            memcmp(again.pixels, p->pixels, n) != 0)
            fuzz_fail("pixels change in writing");
        cmi_free(context, again.pixels);
    }
    free(written.bytes);
    return status;
}

/* MEMORY, or OK whatever the file is. */
static cm_status read_note(cm_context *context, const uint8_t *data, size_t size)
{
    uint8_t *note;
    size_t length;
    const cm_status status = cmi_note_read(context, "input", data, size, &note, &length);
    if (status != CM_OK) return status == CM_ERR_MEMORY ? status : CM_OK;
    if (note && (length > CM_PICTURE_NOTE || note[length])) fuzz_fail("a note without an end");
    cmi_free(context, note);
    return CM_OK;
}

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    cm_status status = CM_OK, first = CM_OK;
    CM_TRY(read_note(context, data, size));
    const int turned = cmi_picture_orientation(data, size);
    if (turned < 1 || turned > 8) fuzz_fail("a ninth way to lie");
    for (int channels = 0; channels <= 4 && status != CM_ERR_MEMORY; channels++) {
        cm_picture p;
        status = cmi_picture_read(context, "input", data, size, channels, &p);
        if (channels == 0) first = status;
        if (status != CM_OK) continue;
        if (channels && p.channels != channels) fuzz_fail("other channels than were asked for");
        if (channels % 2 == 0 && (size_t)p.height * (size_t)p.width < 1 << 12) status = rewrite(context, &p);
        cmi_free(context, p.pixels);
    }
    return status == CM_ERR_MEMORY ? status : first;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(work, data, size, 0);
}
