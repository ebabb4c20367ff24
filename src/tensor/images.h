/* images.h - a caller's pictures, checked: every stride known, every byte inside the address space. */
#ifndef CM_TENSOR_IMAGES_H
#define CM_TENSOR_IMAGES_H

#include <consistency/image.h>

#include "base/context.h"

typedef struct cm_view {
    unsigned char *data;
    size_t n, channels, height, width;
    ptrdiff_t image, channel, row, pixel; /* strides in bytes */
    int is_u8;                            /* else float32 */
} cm_view;

typedef enum cm_view_use {
    CM_VIEW_READ,
    CM_VIEW_WRITE, /* no two of its values may share a byte */
    CM_VIEW_SHAPE  /* the sizes alone: there may be no data */
} cm_view_use;

/* The view that a caller's struct of any version describes.  `what` begins the messages ("cm_image_write: image").
 * ARGUMENT, LIMIT as image.h says of cm_images. */
cm_status cmi_view_open(const char *what, const cm_images *images, cm_view_use use, cm_view *out);

/* n images of c x h x w float32 values or bytes, dense and planar; nothing is checked. */
cm_view cmi_view_planes(size_t n, size_t channels, size_t height, size_t width, const void *values, int is_u8);
/* Of h x w x c bytes, dense and interleaved. */
cm_view cmi_view_bytes(size_t n, size_t height, size_t width, size_t channels, const uint8_t *values);
/* `count` images of it from image `first` on. */
cm_view cmi_view_part(const cm_view *view, size_t first, size_t count);

static inline size_t cmi_view_size(const cm_view *view) /* values of one image */
{
    return view->channels * view->height * view->width;
}

/* SHAPE where the images are not of this size. */
cm_status cmi_view_expect(const char *what, const cm_view *view, size_t channels, size_t height, size_t width);
/* NUMERIC, with the image and the place of the first one, where a float32 value is NaN or infinite. */
cm_status cmi_view_expect_finite(const char *what, const cm_view *view);
/* ARGUMENT where bytes of `from` may be written as `to`. */
cm_status cmi_views_apart(const char *what, const cm_view *from, const cm_view *to);

/* Every value of `from` into `to`, which has the same n, channels, height and width. */
void cmi_view_copy(const cm_view *from, const cm_view *to);
/* One byte value everywhere. */
void cmi_view_fill(const cm_view *to, uint8_t value);

#endif
