/* image.c - the calls of image.h. */
#include <string.h>
#include <strings.h>

#include <consistency/image.h>

#include "base/options.h"
#include "data/noise_level.h"
#include "data/resize.h"
#include "io/picture.h"
#include "tensor/finite.h"
#include "tensor/images.h"

void cm_images_init(cm_images *images, size_t struct_size)
{
    cm_options_zero(images, struct_size);
}

static cm_status check_same_size(const char *what, const cm_view *from, const cm_view *to)
{
    if (from->n != to->n) CM_FAIL(CM_ERR_SHAPE, "%s: %zu images into %zu", what, from->n, to->n);
    return cm_view_expect(what, to, from->channels, from->height, from->width);
}

cm_status cm_images_convert(const cm_images *from, const cm_images *to)
{
    cm_view in, out;
    CM_TRY(cm_view_open("cm_images_convert: from", from, CM_VIEW_READ, &in));
    CM_TRY(cm_view_open("cm_images_convert: to", to, CM_VIEW_WRITE, &out));
    CM_TRY(check_same_size("cm_images_convert: to", &in, &out));
    CM_TRY(cm_views_apart("cm_images_convert", &in, &out));
    cm_view_copy(&in, &out);
    return CM_OK;
}

static cm_status check_shape(const char *what, size_t n, int32_t channels, int32_t height, int32_t width,
                             size_t *total)
{
    if (n == 0 || (channels != 1 && channels != 3))
        CM_FAIL(CM_ERR_ARGUMENT, "%s: %zu images of %d channels; expected at least one of 1 or 3 channels", what, n,
                channels);
    if (height < 1 || width < 1 || height > CM_PICTURE_SIDE || width > CM_PICTURE_SIDE)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: %d x %d pixels, expected sides of 1..%d", what, width, height, CM_PICTURE_SIDE);
    size_t values = (size_t)height * (size_t)width * (size_t)channels;
    CM_TRY(cm_check_array(what, n, values * sizeof(float)));
    *total = n * values;
    return CM_OK;
}

/* 127.5 x + 128 in float32, clamped and cut; the comparisons are false for NaN. */
static uint8_t to_u8(float x)
{
    float v = x * 127.5f + 128.0f;
    return (uint8_t)(v >= 255.0f ? 255.0f : v > 0.0f ? v : 0.0f);
}

cm_status cm_image_to_u8(size_t n, int32_t channels, int32_t height, int32_t width, const float *images,
                         uint8_t *pixels)
{
    size_t total, plane = (size_t)(height > 0 ? height : 0) * (size_t)(width > 0 ? width : 0), c = (size_t)channels;
    if (!images || !pixels) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_to_u8: images or pixels is NULL");
    CM_TRY(check_shape("cm_image_to_u8", n, channels, height, width, &total));
    for (size_t i = 0; i < n; i++, images += c * plane, pixels += c * plane)
        for (size_t k = 0; k < c; k++)
            for (size_t p = 0; p < plane; p++) pixels[p * c + k] = to_u8(images[k * plane + p]);
    return CM_OK;
}

cm_status cm_image_from_u8(size_t n, int32_t channels, int32_t height, int32_t width, const uint8_t *pixels,
                           float *images)
{
    size_t total, plane = (size_t)(height > 0 ? height : 0) * (size_t)(width > 0 ? width : 0), c = (size_t)channels;
    if (!images || !pixels) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_from_u8: images or pixels is NULL");
    CM_TRY(check_shape("cm_image_from_u8", n, channels, height, width, &total));
    for (size_t i = 0; i < n; i++, images += c * plane, pixels += c * plane)
        for (size_t k = 0; k < c; k++)
            for (size_t p = 0; p < plane; p++) images[k * plane + p] = (float)pixels[p * c + k] / 127.5f - 1.0f;
    return CM_OK;
}

/* --- pages ---------------------------------------------------------------------------- */

cm_status cm_image_grid_size(size_t n, int32_t columns, int32_t margin, int32_t height, int32_t width,
                             int32_t *page_height, int32_t *page_width)
{
    size_t total;
    if (!page_height || !page_width) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_grid_size: an output is NULL");
    CM_TRY(check_shape("cm_image_grid_size", n, 1, height, width, &total));
    if (columns < 1 || margin < 0 || margin > CM_PICTURE_SIDE)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_grid_size: %d columns with a margin of %d", columns, margin);
    if (n > CM_PICTURE_PIXELS) CM_FAIL(CM_ERR_LIMIT, "cm_image_grid_size: %zu pictures have no room on a page", n);
    uint64_t across = n < (size_t)columns ? n : (uint64_t)columns, down = (n + across - 1) / across;
    uint64_t w = across * (uint64_t)(width + margin) + (uint64_t)margin;
    uint64_t h = down * (uint64_t)(height + margin) + (uint64_t)margin;
    CM_TRY(cm_picture_check("page", h, w));
    *page_height = (int32_t)h;
    *page_width = (int32_t)w;
    return CM_OK;
}

cm_status cm_image_grid(size_t n, int32_t columns, int32_t margin, uint8_t background, int32_t channels,
                        int32_t height, int32_t width, const uint8_t *pixels, uint8_t *page)
{
    int32_t page_height, page_width;
    size_t total;
    if (!pixels || !page) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_grid: pixels or page is NULL");
    CM_TRY(check_shape("cm_image_grid", n, channels, height, width, &total));
    CM_TRY(cm_image_grid_size(n, columns, margin, height, width, &page_height, &page_width));
    size_t c = (size_t)channels, row = (size_t)width * c, stride = (size_t)page_width * c;
    size_t across = n < (size_t)columns ? n : (size_t)columns;
    memset(page, background, (size_t)page_height * stride);
    for (size_t i = 0; i < n; i++) {
        size_t top = (size_t)margin + i / across * (size_t)(height + margin);
        size_t left = (size_t)margin + i % across * (size_t)(width + margin);
        for (size_t y = 0; y < (size_t)height; y++)
            memcpy(page + (top + y) * stride + left * c, pixels + (i * (size_t)height + y) * row, row);
    }
    return CM_OK;
}

/* --- files ------------------------------------------------------------------------------ */

enum { NEITHER, JPEG, PNG };

static int kind_by_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (!dot) return NEITHER;
    if (strcasecmp(dot, ".png") == 0) return PNG;
    return strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 ? JPEG : NEITHER;
}

static cm_status write_picture(cm_context *context, const char *path, const cm_picture *picture, int kind,
                               int32_t quality, int32_t overwrite)
{
    cm_file_writer writer;
    CM_TRY(cm_file_create(context, path, overwrite, &writer));
    cm_status status =
        kind == PNG ? cm_png_write(picture, &writer) : cm_jpeg_write(picture, quality ? quality : 95, &writer);
    if (status == CM_OK) return cm_file_commit(&writer);
    cm_file_abort(&writer);
    return status;
}

/* *kind: what the name asks for. */
static cm_status check_write(const char *path, int32_t channels, int32_t height, int32_t width, int32_t quality,
                             int32_t overwrite, int *kind)
{
    enum { JPEG_SIDE = 65500 }; /* of libjpeg */
    size_t total;
    if (!path) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_write: path is NULL");
    CM_TRY(check_shape("cm_image_write", 1, channels, height, width, &total));
    *kind = kind_by_name(path);
    if (*kind == NEITHER)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_write: '%s' ends neither in .png nor in .jpg or .jpeg", path);
    if (*kind == PNG && quality)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_write: quality %d has no effect on a PNG", quality);
    if (*kind == JPEG && (height > JPEG_SIDE || width > JPEG_SIDE))
        CM_FAIL(CM_ERR_LIMIT, "cm_image_write: '%s': %d x %d pixels are too many for a JPEG, sides of %d at most",
                path, width, height, JPEG_SIDE);
    if (quality < 0 || quality > 100)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_write: quality is %d, expected 1..100", quality);
    if (overwrite < 0 || overwrite > 1)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_write: overwrite is %d, expected 0 or 1", overwrite);
    return CM_OK;
}

cm_status cm_image_write(cm_context *context, const char *path, int32_t channels, int32_t height, int32_t width,
                         const uint8_t *pixels, int32_t quality, int32_t overwrite)
{
    int kind;
    cm_context *owner;
    if (!pixels) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_write: pixels is NULL");
    CM_TRY(check_write(path, channels, height, width, quality, overwrite, &kind));
    CM_TRY(cm_context_retain(context, &owner));
    const cm_picture picture = {channels, height, width, (uint8_t *)(uintptr_t)pixels};
    cm_status status = write_picture(owner, path, &picture, kind, quality, overwrite);
    cm_context_free(owner);
    return status;
}

cm_status cm_image_write_check(cm_context *context, const char *path, int32_t channels, int32_t height, int32_t width,
                               int32_t quality, int32_t overwrite)
{
    int kind;
    cm_context *owner;
    cm_file_writer writer;
    CM_TRY(check_write(path, channels, height, width, quality, overwrite, &kind));
    CM_TRY(cm_context_retain(context, &owner));
    cm_status status = cm_file_create(owner, path, overwrite, &writer);
    if (status == CM_OK) cm_file_abort(&writer);
    cm_context_free(owner);
    return status;
}

cm_status cm_image_read(cm_context *context, const char *path, int32_t *channels, int32_t *height, int32_t *width,
                        uint8_t **pixels)
{
    cm_context *owner;
    unsigned char *data;
    size_t size;
    cm_picture picture;
    if (!path || !channels || !height || !width || !pixels)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_read: an argument is NULL");
    *pixels = NULL;
    if (*channels < 0 || *channels > 4)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_read: %d channels, expected 0..4", *channels);
    CM_TRY(cm_context_retain(context, &owner));
    cm_status status = cm_file_read(owner, path, CM_PICTURE_FILE, &data, &size);
    if (status == CM_OK) status = cm_picture_read(owner, path, data, size, *channels, &picture);
    cm_free(owner, data);
    if (status == CM_OK) {
        *channels = picture.channels;
        *height = picture.height;
        *width = picture.width;
        *pixels = picture.pixels;
    }
    cm_context_free(owner);
    return status;
}

void cm_image_free(cm_context *context, uint8_t *pixels)
{
    cm_context *owner;
    if (!pixels || cm_context_retain(context, &owner) != CM_OK) return;
    cm_free(owner, pixels);
    cm_context_free(owner);
}

/* --- sizes --------------------------------------------------------------------------------- */

/* The size that `fit` scales a picture to before it cuts or fills. */
static void scaled_size(int32_t fit, int32_t height, int32_t width, int64_t *out_height, int64_t *out_width)
{
    int64_t tall = *out_height * width, wide = *out_width * height;
    if (fit == CM_FIT_RESIZE || tall == wide) return;
    /* The side that follows the other one, rounded. */
    if ((fit == CM_FIT_CROP) == (tall > wide)) *out_width = (2 * tall + height) / (2 * height);
    else *out_height = (2 * wide + width) / (2 * width);
    if (*out_height < 1) *out_height = 1;
    if (*out_width < 1) *out_width = 1;
}

/* Centres `from` on `to`, which has its channels and is at least as large. */
static void place(const cm_picture *from, const cm_picture *to)
{
    size_t c = (size_t)to->channels, row = (size_t)from->width * c;
    size_t top = (size_t)(to->height - from->height) / 2, left = (size_t)(to->width - from->width) / 2;
    for (size_t y = 0; y < (size_t)from->height; y++)
        memcpy(to->pixels + ((top + y) * (size_t)to->width + left) * c, from->pixels + y * row, row);
}

cm_status cm_image_fit(cm_context *context, int32_t fit, uint8_t background, int32_t channels, int32_t height,
                       int32_t width, const uint8_t *pixels, int32_t out_height, int32_t out_width, uint8_t *out)
{
    size_t total;
    cm_context *owner;
    if (!pixels || !out) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_fit: pixels or out is NULL");
    if (fit < CM_FIT_RESIZE || fit > CM_FIT_PAD)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_fit: fit is %d, expected %d..%d", fit, CM_FIT_RESIZE, CM_FIT_PAD);
    if (background && fit != CM_FIT_PAD)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_fit: background %d has no effect without padding", background);
    CM_TRY(check_shape("cm_image_fit", 1, channels, height, width, &total));
    CM_TRY(check_shape("cm_image_fit", 1, channels, out_height, out_width, &total));
    const cm_picture in = {channels, height, width, (uint8_t *)(uintptr_t)pixels};
    const cm_picture page = {channels, out_height, out_width, out};
    int64_t h = out_height, w = out_width;
    scaled_size(fit, height, width, &h, &w);
    cm_part part = {0, 0, h < out_height ? (int32_t)h : out_height, w < out_width ? (int32_t)w : out_width};
    part.y = (h - part.height) / 2;
    part.x = (w - part.width) / 2;
    cm_picture scaled;
    CM_TRY(cm_picture_check("cm_image_fit", (uint64_t)part.height, (uint64_t)part.width));
    CM_TRY(cm_context_retain(context, &owner));
    cm_status status = cm_resize_part(owner, &in, h, w, CM_FILTER_BICUBIC, &part, &scaled);
    if (status == CM_OK) {
        memset(out, background, total);
        place(&scaled, &page);
        cm_free(owner, scaled.pixels);
    }
    cm_context_free(owner);
    return status;
}

cm_status cm_image_noise_level(cm_context *context, int32_t channels, int32_t height, int32_t width,
                               const float *image, double *sigma)
{
    size_t total;
    cm_context *owner;
    if (!image || !sigma) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_noise_level: image or sigma is NULL");
    *sigma = 0;
    CM_TRY(check_shape("cm_image_noise_level", 1, channels, height, width, &total));
    size_t i = cm_first_nonfinite_f32(total, image);
    if (i < total)
        CM_FAIL(CM_ERR_NUMERIC, "cm_image_noise_level: value %zu is %g, expected finite numbers", i,
                (double)image[i]);
    CM_TRY(cm_context_retain(context, &owner));
    cm_status status = cm_noise_level(owner, channels, height, width, image, sigma);
    cm_context_free(owner);
    return status;
}
