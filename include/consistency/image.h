/* image.h - pictures in memory and in files.
 *
 * cm_images describes pictures that lie in the caller's memory: how many there are, how
 * large they are, and where each value stands.  Sampling, editing and data sets read and
 * write through it, so that an array of Python, the buffer of a window or a part of a
 * larger picture is used where it is.
 *
 *     uint8_t *screen = (uint8_t *)malloc(480 * 640 * 4);         // pixels of B, G, R, A
 *     cm_images values = cm_images_f32(1, 3, 480, 640, images);   // red, green and blue planes
 *     cm_images view = cm_images_u8(1, 480, 640, 3, screen + 2);  // begins at the red byte
 *     view.row_stride = 640 * 4;
 *     view.pixel_stride = 4;
 *     view.channel_stride = -1;                                   // green and blue stand before it
 *     cm_status status = cm_images_convert(&values, &view);
 *
 * Values.  A float32 value stands for a brightness in [-1, 1]; a byte stands for one in
 * 0..255.  A float32 value x becomes the byte trunc(clamp(127.5 x + 128, 0, 255)), so that
 * -1, 0 and 1 become 0, 128 and 255, and a NaN becomes 0.  A byte u becomes u / 127.5 - 1.
 * A byte that becomes float32 and a byte again is the same byte.
 *
 * Channels are 1 (gray), 3 (red, green, blue), 2 (gray, alpha) or 4 (red, green, blue,
 * alpha) where a picture is meant; 255 is opaque.  cm_images_convert and cm_image_grid take
 * any number.
 *
 * Threads: every function of this header may be called from any thread at any time, as long
 * as no two calls write to the same memory.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_IMAGE_H
#define CONSISTENCY_IMAGE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In which order the values of dense pictures follow each other. */
typedef enum cm_layout {
    CM_LAYOUT_PLANAR = 0,     /* n, channels, height, width: networks, PyTorch       */
    CM_LAYOUT_INTERLEAVED = 1 /* n, height, width, channels: screens, picture files  */
} cm_layout;

/* Pictures in memory that the caller owns and that has to stay during the call.
 *
 * Value (i, c, y, x) stands at
 *     data + i image_stride + c channel_stride + y row_stride + x pixel_stride
 * with strides in bytes.  A stride may be negative (data then points at what comes last in
 * memory, as in a picture that is stored bottom up) and need not be a multiple of the size
 * of a value.  In pictures that are only read a stride may be 0: one gray plane as three
 * channels, one picture as many.  Strides that are all four 0 mean dense pictures in
 * `layout`; in a view of strides `layout` has no effect.
 *
 * Errors of every call that takes a cm_images:
 *   ARGUMENT     a NULL pointer; no image, no channel or no pixel; an unknown dtype or
 *                layout; a result in which two values would share a byte
 *   LIMIT        the values or the strides reach beyond 2^47 bytes or the address space
 *   UNSUPPORTED  a member of a newer interface is set (base.h)
 * Nothing is read or written before these checks are through. */
typedef struct cm_images {
    uint32_t struct_size;
    int32_t dtype;                   /* CM_F32 (0 means it too) or CM_U8                        */
    size_t n;                        /* pictures, at least 1                                    */
    int32_t channels, height, width; /* of each picture, at least 1                             */
    int32_t layout;                  /* cm_layout: of dense pictures                            */
    int64_t image_stride;            /* bytes from a picture to the next; unused where n is 1   */
    int64_t channel_stride;          /* bytes from a channel to the next                        */
    int64_t row_stride;              /* bytes from a row to the one below                       */
    int64_t pixel_stride;            /* bytes from a pixel to the one on its right              */
    void *data;                      /* value (0, 0, 0, 0); pictures given to a call as input
                                        are never written to                                    */
} cm_images;

/* clang-format off */
#define CM_IMAGES_INIT {sizeof(cm_images), CM_DTYPE_DEFAULT, 0, 0, 0, 0, CM_LAYOUT_PLANAR, 0, 0, 0, 0, NULL}
/* clang-format on */
/* Fills in what CM_IMAGES_INIT lists, float32 without pictures; struct_size is sizeof of the
 * caller's struct. */
CM_API void cm_images_init(cm_images *images, size_t struct_size);

/* Dense float32 pictures, n x channels x height x width, as every call takes them whose `data`
 * is a plain array of floats.  `data` is const so that inputs can be const; a call writes into
 * its output all the same. */
static inline cm_images cm_images_f32(size_t n, int32_t channels, int32_t height, int32_t width, const float *data)
{
    cm_images v = {sizeof(cm_images), CM_F32, n, channels, height, width,
                   CM_LAYOUT_PLANAR,  0,      0, 0,        0,      (void *)(uintptr_t)data};
    return v;
}

/* Dense pictures of bytes, n x height x width x channels, as picture files and most windows
 * have them: the channels of a pixel stand together. */
static inline cm_images cm_images_u8(size_t n, int32_t height, int32_t width, int32_t channels, const uint8_t *data)
{
    cm_images v = {sizeof(cm_images),     CM_U8, n, channels, height, width,
                   CM_LAYOUT_INTERLEAVED, 0,     0, 0,        0,      (void *)(uintptr_t)data};
    return v;
}

/* Writes every value of `from` to its place in `to`, converted where the element types
 * differ and copied bit by bit where they are the same.
 * SHAPE: n, channels, height or width differ.  ARGUMENT: `to` lies in the memory of `from`
 * (two parts of one buffer that share no value are fine where their sizes and strides are
 * the same, as two tiles of a page). */
CM_API cm_status cm_images_convert(const cm_images *from, const cm_images *to);

/* --- pages of pictures -------------------------------------------------------------------- */

/* The size in pixels of a page of images->n pictures in rows of `columns` (at least 1), with
 * `margin` pixels (0..65535) around and between them.  Of `images` only n and the sizes
 * count; data may be NULL.  LIMIT: a side above 65535 or more than 2^28 pixels. */
CM_API cm_status cm_image_grid_size(const cm_images *images, int32_t columns, int32_t margin, int32_t *height,
                                    int32_t *width);
/* Draws that page into `page`: one picture of the size above and of the channels of the
 * images; `background`, a byte value, stands in the margins and in empty places.
 * SHAPE: the page has another size.  ARGUMENT: it lies in the memory of the images. */
CM_API cm_status cm_image_grid(const cm_images *images, int32_t columns, int32_t margin, uint8_t background,
                               const cm_images *page);

/* The same with names over the columns: names[k] stands over column k of `columns`, broken into up to
 * three lines and cut where it is longer; NULL or "" is no name, and names itself may be NULL.  They are
 * drawn in letters of at most five by seven pixels (larger over images of 96 pixels and more), black
 * or white as the background asks for.  Letters are those of ASCII; others become question marks. */
CM_API cm_status cm_image_named_grid_size(const cm_images *images, int32_t columns, int32_t margin,
                                          const char *const *names, int32_t *height, int32_t *width);
CM_API cm_status cm_image_named_grid(const cm_images *images, int32_t columns, int32_t margin, uint8_t background,
                                     const char *const *names, const cm_images *page);

/* --- files and their bytes ---------------------------------------------------------------- */

typedef enum cm_image_format {
    CM_IMAGE_FORMAT_DEFAULT = 0, /* cm_image_write: by the name; cm_image_encode: PNG         */
    CM_IMAGE_FORMAT_PNG = 1,     /* exact; 1 to 4 channels; sides of at most 65535            */
    CM_IMAGE_FORMAT_JPEG = 2     /* 1 or 3 channels; sides of at most 65500                   */
} cm_image_format;

typedef struct cm_image_write_options {
    uint32_t struct_size;
    int32_t format;    /* cm_image_format                                                      */
    int32_t quality;   /* of a JPEG, 1..100; 0 = 95; an error for a PNG                        */
    int32_t overwrite; /* cm_overwrite; an error for cm_image_encode                           */
    const char *note;  /* UTF-8 that the file keeps and cm_image_note reads, at most 2^20 bytes,
                          not empty; NULL = none; an error for a JPEG                          */
} cm_image_write_options;

/* clang-format off */
#define CM_IMAGE_WRITE_OPTIONS_INIT {sizeof(cm_image_write_options), CM_IMAGE_FORMAT_DEFAULT, 0, CM_OVERWRITE_NO, NULL}
/* clang-format on */
CM_API void cm_image_write_options_init(cm_image_write_options *options, size_t struct_size);

/* Writes one picture (image->n is 1) to a file.  Without a format the name decides: .png, or
 * .jpg and .jpeg, in capitals or not.
 *
 *     cm_images image = cm_images_f32(1, 3, 64, 64, x);
 *     cm_status status = cm_image_write(NULL, "picture.png", &image, NULL);
 *
 * The file appears whole or not at all: it is written under a temporary name, flushed to the
 * disk and renamed.  A symbolic link stays, and what it leads to is written; a file that is
 * replaced hands on its permissions.  A directory, a device, a pipe or a socket is refused
 * with IO and left as it is.
 * ARGUMENT: a name without a known ending and no format, a format that contradicts the name,
 * an option out of range or without effect.  SHAPE: more than one image, more than four
 * channels.  UNSUPPORTED: a JPEG with alpha.  LIMIT: too large a side, more than 2^28
 * pixels.  IO: the system refuses.  MEMORY. */
CM_API cm_status cm_image_write(cm_context *context, const char *path, const cm_images *image,
                                const cm_image_write_options *options);

/* Whether cm_image_write with these arguments could begin: the same errors for a name, a
 * size or an option that is wrong, for an existing file, for a folder that is missing or
 * cannot be written.  image->data may be NULL.  Nothing is left behind.  This is for a look
 * before long work; the disk may still fill, and somebody else may make the file, in the
 * meantime. */
CM_API cm_status cm_image_write_check(cm_context *context, const char *path, const cm_images *image,
                                      const cm_image_write_options *options);

/* The bytes of the file that cm_image_write would write.  *bytes has *size of them, belongs
 * to the caller and ends with cm_bytes_free of the same context (NULL where NULL was given);
 * after an error it is NULL. */
CM_API cm_status cm_image_encode(cm_context *context, const cm_images *image, const cm_image_write_options *options,
                                 uint8_t **bytes, size_t *size);
/* The note that a PNG was written with: text of an iTXt chunk with the keyword "consistency", of
 * which other programs may show or drop what they like; pixels do not depend on it.  *note has
 * *size bytes and a 0 behind them, and ends with cm_bytes_free as above.  A picture without a
 * note, which a JPEG is, gives NULL and 0 and is no error.  The chunk is read and checked,
 * pixels are not.  Its writer is whoever made the file: treat it as any foreign input.
 * FORMAT: no PNG and no JPEG, a file that is cut short or damaged before the note, a note that is
 * compressed, no UTF-8 or too long.  LIMIT: a file above 2^30 bytes.  IO, ARGUMENT, MEMORY. */
CM_API cm_status cm_image_note(cm_context *context, const char *path, uint8_t **note, size_t *size);
/* Never fails and never allocates; NULL is fine. */
CM_API void cm_bytes_free(cm_context *context, uint8_t *bytes);

typedef struct cm_image_read_options {
    uint32_t struct_size;
    int32_t channels; /* 1, 3, or 2 and 4 for the same with alpha; 0 = 1 or 3 as in the file   */
    int32_t dtype;    /* CM_U8 (0 means it too): dense and interleaved; CM_F32: dense and planar */
} cm_image_read_options;

/* clang-format off */
#define CM_IMAGE_READ_OPTIONS_INIT {sizeof(cm_image_read_options), 0, CM_DTYPE_DEFAULT}
/* clang-format on */
CM_API void cm_image_read_options_init(cm_image_read_options *options, size_t struct_size);

/* Reads one picture, a JPEG or a PNG, which is recognised by its content.
 *
 *     cm_images picture = CM_IMAGES_INIT;
 *     cm_status status = cm_image_read(NULL, "picture.jpg", NULL, &picture);
 *     // ... picture.height, picture.width, picture.data ...
 *     cm_image_free(NULL, &picture);
 *
 * `out` has been initialised (in its whole size) and describes the picture afterwards, whose memory ends with
 * cm_image_free of the same context (NULL where NULL was given); after an error out->data is
 * NULL.
 * Colours that are read as gray become their luminance by Rec. 601, 0.299 R + 0.587 G +
 * 0.114 B, rounded (a JPEG's own where it stores one), so that a gray picture that is stored
 * as RGB keeps its values.  EXIF's orientation (APP1 of a JPEG, eXIf of a PNG) is applied:
 * height and width are those of the upright picture; damaged EXIF is ignored.  Of a PNG,
 * palettes and 1 to 4 bits are expanded, 16 bits are cut to 8, and alpha and tRNS are
 * dropped unless they are asked for; gamma and colour profiles are not applied.
 * FORMAT: a file that is truncated, damaged or of another kind.  UNSUPPORTED: a CMYK JPEG.
 * LIMIT: a side above 65535, more than 2^28 pixels, or a file above 2^30 bytes.  IO: the
 * file cannot be read.  ARGUMENT, MEMORY. */
CM_API cm_status cm_image_read(cm_context *context, const char *path, const cm_image_read_options *options,
                               cm_images *out);
/* The same from the `size` bytes of a file in memory. */
CM_API cm_status cm_image_decode(cm_context *context, const void *bytes, size_t size,
                                 const cm_image_read_options *options, cm_images *out);
/* Ends what cm_image_read and cm_image_decode gave; data becomes NULL and n becomes 0.
 * Never fails and never allocates; NULL and a picture without data are fine. */
CM_API void cm_image_free(cm_context *context, cm_images *picture);

/* --- what editing needs ------------------------------------------------------------------- */

/* How a picture comes to another size. */
typedef enum cm_fit {
    CM_FIT_RESIZE = 0, /* both sides at once: proportions change                             */
    CM_FIT_CROP = 1,   /* scaled until it covers the new size; the middle is cut out         */
    CM_FIT_PAD = 2     /* scaled until it fits into the new size; `background` around it     */
} cm_fit;

/* Brings every picture of `from` to the size of the pictures of `to`, which has the same n
 * and channels, 1 or 3.  Scaling is Pillow's bicubic filter, byte for byte: float32 values
 * are rounded to bytes on the way.  `background` is a byte value, 0 unless the fit is PAD.
 * Only what is seen of the scaled picture is made, however long and thin it is.
 * SHAPE: n or channels differ or are others.  LIMIT: a side above 65535 or more than 2^28
 * pixels.  ARGUMENT: an unknown fit, a background without effect, `to` in the memory of
 * `from`.  MEMORY. */
CM_API cm_status cm_image_fit(cm_context *context, int32_t fit, uint8_t background, const cm_images *from,
                              const cm_images *to);

/* The level of Gaussian noise that one image (image->n is 1) seems to carry: its standard
 * deviation in the units of [-1, 1], where a step of a byte is 2/255, as cm_sampler_denoise
 * takes it.  Noise that was cut at -1 and 1, as in any picture of bytes, is accounted for.
 * The estimate is a median, so edges and texture count little: on pictures of 32 x 32 it is
 * within a tenth from a level of 0.1 on, and too high below, since fine texture looks like
 * noise of 0.02.  Scaling a picture changes its noise: estimate afterwards.
 * NUMERIC: a value that is not finite.  ARGUMENT: too few values tell, since nearly all are
 * cut.  SHAPE: more than one image.  MEMORY.  After an error *sigma is 0. */
CM_API cm_status cm_image_noise_level(cm_context *context, const cm_images *image, double *sigma);

#ifdef __cplusplus
}
#endif
#endif
