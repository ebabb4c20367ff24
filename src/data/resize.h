/* resize.h - resizing and cropping of 8-bit pictures, byte for byte as Pillow does
 * it (metrics 7.1 to 7.3). */
#ifndef CM_DATA_RESIZE_H
#define CM_DATA_RESIZE_H

#include "io/picture.h"

enum { CM_FILTER_BOX, CM_FILTER_BICUBIC };

/* Rows y.. and columns x.. of a picture. */
typedef struct cm_part {
    int64_t y, x;
    int32_t height, width;
} cm_part;

/* A part of the picture of height x width that `in` becomes, in memory for that part and
 * for the rows of the input behind it; out->pixels is of the context. */
cm_status cmi_resize_part(cm_context *context, const cm_picture *in, int64_t height, int64_t width, int filter,
                          const cm_part *part, cm_picture *out);

/* Halved by BOX while the short side is at least 2 d, then BICUBIC to a short side of d:
 * the size of that, and a part of it in place of *picture. */
void cmi_shrunk_size(int32_t height, int32_t width, int32_t d, int64_t *to_height, int64_t *to_width);
cm_status cmi_shrink_and_cut(cm_context *context, cm_picture *picture, int32_t d, const cm_part *part);
/* Centre crop to s (metrics 7.1). */
cm_status cmi_center_crop(cm_context *context, cm_picture *picture, int32_t s);

#endif
