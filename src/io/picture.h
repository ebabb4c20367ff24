/* picture.h - JPEG and PNG in memory: 8-bit, H x W x C interleaved. */
#ifndef CM_IO_PICTURE_H
#define CM_IO_PICTURE_H

#include "io/file.h"
#include "tensor/images.h"

typedef struct cm_picture {
    int32_t channels, height, width; /* channels 1 or 3; 2 or 4 with alpha */
    uint8_t *pixels;                 /* of the context                      */
} cm_picture;

enum {
    CM_PICTURE_SIDE = 65535,
    CM_PICTURE_PIXELS = 1 << 28,
    CM_PICTURE_SCANS = 500,
    CM_PICTURE_WORK = 16,      /* of a progressive JPEG: scans of the largest picture */
    CM_PICTURE_FILE = 1 << 30, /* bytes of a file */
    CM_PICTURE_NOTE = 1 << 20  /* bytes of a note */
};

/* LIMIT for sides and areas above the bounds. */
cm_status cmi_picture_check(const char *name, uint64_t height, uint64_t width);
/* Besides: FORMAT when `size` bytes cannot hold so many pixels.  Deflate makes
 * at most 1032 bytes of one, and a byte holds at most 8 pixels; JPEG's densest
 * codings stay below that too. */
cm_status cmi_picture_check_file(const char *name, uint64_t height, uint64_t width, size_t size);

int cmi_picture_is_jpeg(const void *data, size_t size);
int cmi_picture_is_png(const void *data, size_t size);

/* A JPEG or PNG by its content, turned upright.  channels: 0 keeps gray or RGB as in
 * the file, 1 or 3 converts, 2 or 4 the same with alpha, 255 where the file has none.
 * Colours become gray as in cmi_picture_to_gray; a JPEG's own luminance is taken as it
 * is.  FORMAT (damage, neither kind), LIMIT, UNSUPPORTED (CMYK), MEMORY. */
cm_status cmi_picture_read(cm_context *context, const char *name, const void *data, size_t size, int channels,
                           cm_picture *out);

/* RGB (RGBA) in place to gray (gray and alpha): Rec. 601's luminance as Pillow rounds
 * it; equal values stay as they are. */
void cmi_picture_to_gray(cm_picture *picture);

/* What EXIF says of how a file's rows and columns lie, 1 to 8; 1, upright, where it
 * says nothing or is damaged. */
int cmi_picture_orientation(const void *data, size_t size);
cm_status cmi_picture_turn(cm_context *context, cm_picture *picture, int orientation);

/* As stored, not turned; a JPEG has no alpha: channels 0, 1 or 3. */
cm_status cmi_jpeg_read(cm_context *context, const char *name, const void *data, size_t size, int channels,
                        cm_picture *out);
cm_status cmi_png_read(cm_context *context, const char *name, const void *data, size_t size, int channels,
                       cm_picture *out);

/* Where the bytes of an encoded picture go, in order. */
typedef struct cm_byte_sink {
    cm_status (*write)(void *user, const void *bytes, size_t size);
    void *user;
} cm_byte_sink;

/* One image of 1 or 3 channels, for a PNG 2 and 4 too, of any element type and strides. */
cm_status cmi_jpeg_write(cm_context *context, const cm_view *image, int quality, const cm_byte_sink *sink);
cm_status cmi_png_write(cm_context *context, const cm_view *image, const char *note, const cm_byte_sink *sink);

/* A note is text that a PNG keeps in an iTXt chunk.  ARGUMENT or LIMIT where it cannot be one: `call` begins the
 * message. */
cm_status cmi_note_check(const char *call, const char *note);
/* The note of the PNG or JPEG in `data`, with a 0 behind it; NULL where there is none. */
cm_status cmi_note_read(cm_context *context, const char *name, const unsigned char *data, size_t size, uint8_t **note,
                        size_t *length);
/* The keyword of its chunk. */
#define CM_NOTE_KEYWORD "consistency"

/* A row of the image as bytes, channels together; `out` has width x channels bytes. */
static inline void cmi_picture_row(const cm_view *image, size_t row, uint8_t *out)
{
    cm_view from = *image;
    const cm_view to = cmi_view_bytes(1, 1, image->width, image->channels, out);
    from.data += (ptrdiff_t)row * from.row;
    cmi_view_copy(&from, &to);
}

#endif
