/* pictures.h - files of dense bytes, H x W x C, written and read in a call. */
#ifndef TESTS_PICTURES_H
#define TESTS_PICTURES_H

#include <stdlib.h>

#include <consistency/dataset.h>

#include "support/suite.h"

static inline cm_image_write_options write_options(int32_t quality, int32_t overwrite)
{
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    o.quality = quality;
    o.overwrite = overwrite;
    return o;
}

static inline cm_status write_picture(cm_context *context, const char *path, int32_t channels, int32_t height,
                                      int32_t width, const uint8_t *pixels, int32_t quality, int32_t overwrite)
{
    const cm_images image = cm_images_u8(1, height, width, channels, pixels);
    const cm_image_write_options o = write_options(quality, overwrite);
    return cm_image_write(context, path, &image, &o);
}

static inline cm_status check_write(cm_context *context, const char *path, int32_t channels, int32_t height,
                                    int32_t width, int32_t quality, int32_t overwrite)
{
    const cm_images image = cm_images_u8(1, height, width, channels, NULL);
    const cm_image_write_options o = write_options(quality, overwrite);
    return cm_image_write_check(context, path, &image, &o);
}

/* *channels says what is wanted and tells what came; *pixels ends with free_pixels of the same context. */
static inline cm_status read_picture(cm_context *context, const char *path, int32_t *channels, int32_t *height,
                                     int32_t *width, uint8_t **pixels)
{
    cm_image_read_options o = CM_IMAGE_READ_OPTIONS_INIT;
    cm_images picture = CM_IMAGES_INIT;
    o.channels = *channels;
    cm_status status = cm_image_read(context, path, &o, &picture);
    *pixels = (uint8_t *)picture.data;
    if (status != CM_OK) return status;
    *channels = picture.channels;
    *height = picture.height;
    *width = picture.width;
    return CM_OK;
}

static inline void free_pixels(cm_context *context, uint8_t *pixels)
{
    cm_images picture = CM_IMAGES_INIT;
    picture.data = pixels;
    cm_image_free(context, &picture);
}

static inline cm_status floats_to_bytes(size_t n, int32_t channels, int32_t height, int32_t width,
                                        const float *images, uint8_t *pixels)
{
    const cm_images from = cm_images_f32(n, channels, height, width, images);
    const cm_images to = cm_images_u8(n, height, width, channels, pixels);
    return cm_images_convert(&from, &to);
}

static inline cm_status bytes_to_floats(size_t n, int32_t channels, int32_t height, int32_t width,
                                        const uint8_t *pixels, float *images)
{
    const cm_images from = cm_images_u8(n, height, width, channels, pixels);
    const cm_images to = cm_images_f32(n, channels, height, width, images);
    return cm_images_convert(&from, &to);
}

static inline cm_status fit_bytes(cm_context *context, int32_t fit, uint8_t background, int32_t channels,
                                  int32_t height, int32_t width, const uint8_t *pixels, int32_t out_height,
                                  int32_t out_width, uint8_t *out)
{
    const cm_images from = cm_images_u8(1, height, width, channels, pixels);
    const cm_images to = cm_images_u8(1, out_height, out_width, channels, out);
    return cm_image_fit(context, fit, background, &from, &to);
}

/* n dense float32 images of the set's own size. */
static inline cm_status read_floats(cm_dataset *dataset, uint64_t position, size_t n, float *images, int32_t *labels)
{
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    cm_status status = cm_dataset_info_get(dataset, &info);
    const cm_images out = cm_images_f32(n, info.channels, info.height, info.width, images);
    return status == CM_OK ? cm_dataset_read(dataset, position, &out, labels) : status;
}

/* Noise on a pattern, which no coder makes small; the caller's to free. */
static inline uint8_t *noise_picture(int h, int w, int c)
{
    uint64_t seed = seeded(9);
    uint8_t *p = malloc((size_t)(h * w * c));
    for (int i = 0; i < h * w * c; i++) p[i] = (uint8_t)(random_int(&seed, 0, 30) + i % 200);
    return p;
}

#endif
