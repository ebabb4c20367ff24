/* resize.h - resizing and cropping of 8-bit pictures, byte for byte as Pillow does
 * it (metrics 7.1 to 7.3). */
#ifndef CM_DATA_RESIZE_H
#define CM_DATA_RESIZE_H

#include "io/picture.h"

enum { CM_FILTER_BOX, CM_FILTER_BICUBIC };

/* out->pixels is of the context. */
cm_status cm_resize(cm_context *context, const cm_picture *in, int32_t height, int32_t width, int filter,
                    cm_picture *out);

/* Halved by BOX while the short side is at least 2 d, then BICUBIC to a short side
 * of d; replaces *picture. */
cm_status cm_shrink_to(cm_context *context, cm_picture *picture, int32_t d);
/* The s x s cut at (y, x) of a picture that is at least that large. */
cm_status cm_crop(cm_context *context, cm_picture *picture, int32_t s, int32_t y, int32_t x);
/* Centre crop to s (metrics 7.1). */
cm_status cm_center_crop(cm_context *context, cm_picture *picture, int32_t s);

#endif
