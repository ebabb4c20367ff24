/* image.h - between tensors in [-1, 1] and pictures.
 *
 * Pictures are 8-bit, H x W x C interleaved, C = 1 (gray) or 3 (RGB); reading
 * gives alpha too when asked (2, 4).
 * Files appear whole or not at all: they are written under a temporary name,
 * flushed to the disk and renamed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_IMAGE_H
#define CONSISTENCY_IMAGE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the values of dense pictures follow each other. */
typedef enum cm_layout {
    CM_LAYOUT_PLANAR = 0,     /* n, channels, height, width: as networks have it */
    CM_LAYOUT_INTERLEAVED = 1 /* n, height, width, channels: as screens have it  */
} cm_layout;

/* Pictures in the caller's memory. */
typedef struct cm_images {
    uint32_t struct_size;
    int32_t dtype; /* CM_F32 (also 0): values in [-1, 1]; CM_U8: 0..255 */
    size_t n;
    int32_t channels, height, width;
    int32_t layout;       /* cm_layout: what strides that are all 0 mean                     */
    int64_t image_stride; /* bytes between neighbours; may be negative; all four 0 = dense    */
    int64_t channel_stride, row_stride, pixel_stride;
    void *data; /* of image 0, channel 0, row 0, pixel 0; inputs are never written to */
} cm_images;

#define CM_IMAGES_INIT                                                                                               \
    {                                                                                                                \
        (uint32_t)sizeof(cm_images), CM_DTYPE_DEFAULT, 0, 0, 0, 0, CM_LAYOUT_PLANAR, 0, 0, 0, 0, NULL                \
    }
CM_API void cm_images_init(cm_images *images, size_t struct_size);

/* Dense float32 pictures, n x channels x height x width. */
static inline cm_images cm_images_f32(size_t n, int32_t channels, int32_t height, int32_t width, const float *data)
{
    cm_images v = CM_IMAGES_INIT;
    v.dtype = CM_F32;
    v.n = n;
    v.channels = channels;
    v.height = height;
    v.width = width;
    v.data = (void *)(uintptr_t)data;
    return v;
}

/* Dense pictures of bytes, n x height x width x channels. */
static inline cm_images cm_images_u8(size_t n, int32_t height, int32_t width, int32_t channels, const uint8_t *data)
{
    cm_images v = CM_IMAGES_INIT;
    v.dtype = CM_U8;
    v.layout = CM_LAYOUT_INTERLEAVED;
    v.n = n;
    v.channels = channels;
    v.height = height;
    v.width = width;
    v.data = (void *)(uintptr_t)data;
    return v;
}

/* Every value of `from` into `to`: any element type, layout and strides on both sides, the same n and sizes (else
 * SHAPE).  float32 becomes bytes as trunc(clamp(127.5 x + 128, 0, 255)), so -1, 0 and 1 become 0, 128 and 255 and a
 * NaN 0; bytes become u / 127.5 - 1; values of one type are copied as they are. */
CM_API cm_status cm_images_convert(const cm_images *from, const cm_images *to);

/* u8 = trunc(clamp(127.5 x + 128, 0, 255)): -1 -> 0, 0 -> 128, 1 -> 255.  NaN
 * gives 0.  `images` n x C x H x W float32 to n x H x W x C bytes. */
CM_API cm_status cm_image_to_u8(size_t n, int32_t channels, int32_t height, int32_t width, const float *images,
                                uint8_t *pixels);
/* x = u8 / 127.5 - 1, the other way round. */
CM_API cm_status cm_image_from_u8(size_t n, int32_t channels, int32_t height, int32_t width, const uint8_t *pixels,
                                  float *images);

/* A page: n pictures in rows of `columns`, `margin` pixels of `background`
 * around and between.  Size of the page; then the page itself, into
 * page_height x page_width x channels bytes. */
CM_API cm_status cm_image_grid_size(size_t n, int32_t columns, int32_t margin, int32_t height, int32_t width,
                                    int32_t *page_height, int32_t *page_width);
CM_API cm_status cm_image_grid(size_t n, int32_t columns, int32_t margin, uint8_t background, int32_t channels,
                               int32_t height, int32_t width, const uint8_t *pixels, uint8_t *page);

/* Writes a JPEG (name ends in .jpg or .jpeg; quality 1..100, 0 = 95; sides of at most
 * 65500, else LIMIT) or a PNG (.png; quality must be 0).  overwrite 0 refuses an existing
 * file with IO.  The file appears whole or not at all.  A symbolic link stays, and what
 * it leads to is written; a file that is replaced hands on its permissions; a directory,
 * device, pipe or socket is refused with IO and left as it is. */
CM_API cm_status cm_image_write(cm_context *context, const char *path, int32_t channels, int32_t height,
                                int32_t width, const uint8_t *pixels, int32_t quality, int32_t overwrite);

/* Whether cm_image_write with these arguments could begin: the same errors for a name, a
 * size or an option that is wrong, an existing file, a folder that is missing or cannot
 * be written.  Nothing is left behind.  For a look before long work; the disk may still
 * fill, and somebody else may make the file, in the meantime. */
CM_API cm_status cm_image_write_check(cm_context *context, const char *path, int32_t channels, int32_t height,
                                      int32_t width, int32_t quality, int32_t overwrite);

/* Reads a JPEG or PNG, recognised by content, as RGB (channels 3) or gray
 * (channels 1), 4 and 2 the same with alpha (255 = opaque, also where the file
 * has none); channels 0 keeps the file's kind, 1 or 3, and tells it in *channels.
 * Colours read as gray become their luminance by Rec. 601 (0.299 R + 0.587 G +
 * 0.114 B, rounded; a JPEG's own where it stores one), so that a gray picture stored
 * as RGB keeps its values.  EXIF's orientation (APP1 of a JPEG, eXIf of a PNG) is
 * applied: height and width are those of the upright picture; damaged EXIF is ignored.
 * PNG: palettes and 1 to 4 bits expanded, 16 bits cut to 8, alpha and tRNS dropped
 * unless asked for, interlaced or not; no gamma, no colour profile.  CMYK JPEGs are
 * UNSUPPORTED.  Both sides at most 65535 and their product at most 2^28 pixels, else
 * LIMIT; a truncated file is FORMAT; a file that cannot be read is IO.  *pixels ends
 * with cm_image_free of the same context. */
CM_API cm_status cm_image_read(cm_context *context, const char *path, int32_t *channels, int32_t *height,
                               int32_t *width, uint8_t **pixels);
CM_API void cm_image_free(cm_context *context, uint8_t *pixels);

/* The level of Gaussian noise that an image seems to carry: its standard deviation in
 * the units of [-1, 1] (a step of a byte is 2/255), as cm_sampler_denoise takes it.
 * image: channels x height x width floats.  Noise that was cut at -1 and 1, as in any
 * picture of bytes, is accounted for.  A median, so edges and texture count little: on
 * pictures of 32 x 32 within a tenth from 0.1 on, too high below (fine texture looks
 * like noise of 0.02).  Scaling a picture changes its noise: estimate afterwards.
 * NUMERIC: a value that is not finite.  ARGUMENT: too few values that tell (nearly all cut). */
CM_API cm_status cm_image_noise_level(cm_context *context, int32_t channels, int32_t height, int32_t width,
                                      const float *image, double *sigma);

/* How a picture comes to another size; scaling is Pillow's bicubic. */
typedef enum cm_fit {
    CM_FIT_RESIZE = 0, /* both sides at once: proportions change                   */
    CM_FIT_CROP = 1,   /* scaled until it covers the page, the middle is cut out   */
    CM_FIT_PAD = 2     /* scaled until it fits on the page, `background` around it */
} cm_fit;
/* out: out_height x out_width x channels bytes, not overlapping pixels.  Only what is
 * seen of the scaled picture is made, however long and thin it is; more than 2^28 pixels
 * of out are LIMIT. */
CM_API cm_status cm_image_fit(cm_context *context, int32_t fit, uint8_t background, int32_t channels, int32_t height,
                              int32_t width, const uint8_t *pixels, int32_t out_height, int32_t out_width,
                              uint8_t *out);

#ifdef __cplusplus
}
#endif
#endif
