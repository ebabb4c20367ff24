/* samples.c - arr_0: bytes [n, H, W, C]; arr_1: labels. */
#include "metrics/samples.h"

#include <string.h>

#include "io/npz.h"

/* trunc(clamp(127.5 (x + 1), 0, 255)), in float32 and in this order; a NaN becomes 0. */
static uint8_t rounded_down(float x)
{
    const float v = (x + 1.0f) * 127.5f;
    return v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0;
}

static void round_down(const cm_view *from, uint8_t *out)
{
    const size_t c = from->channels;
    for (size_t i = 0; i < from->n; i++)
        for (size_t y = 0; y < from->height; y++)
            for (size_t x = 0; x < from->width; x++)
                for (size_t k = 0; k < c; k++) {
                    const unsigned char *at = from->data + (ptrdiff_t)i * from->image + (ptrdiff_t)k * from->channel +
                                              (ptrdiff_t)y * from->row + (ptrdiff_t)x * from->pixel;
                    float value;
                    memcpy(&value, at, sizeof value);
                    *out++ = rounded_down(value);
                }
}

cm_status cmi_samples_write(cm_context *context, const char *path, const cm_view *images, const int32_t *labels,
                            const cm_samples_options *o)
{
    const size_t n = images->n, size = n * cmi_view_size(images);
    if (o->rounding == CM_ROUNDING_DOWN && images->is_u8)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_samples_write: rounding has no effect on bytes");
    uint8_t *bytes = cmi_malloc(context, size, 1);
    int64_t *classes = bytes && labels ? cmi_malloc(context, n, sizeof *classes) : NULL;
    cm_status status = bytes && (classes || !labels) ? CM_OK : CM_ERR_MEMORY;
    if (status == CM_OK && o->rounding == CM_ROUNDING_DOWN) round_down(images, bytes);
    else if (status == CM_OK) {
        const cm_view to = cmi_view_bytes(n, images->height, images->width, images->channels, bytes);
        cmi_view_copy(images, &to);
    }
    for (size_t i = 0; classes && i < n; i++) classes[i] = labels[i];
    const cm_npz_array arrays[2] = {
        {"arr_0", "|u1", 4, {n, images->height, images->width, images->channels}, 1, bytes},
        {"arr_1", "<i8", 1, {n}, sizeof *classes, classes}};
    if (status == CM_OK) status = cmi_npz_write(context, path, o->overwrite, arrays, classes ? 2 : 1);
    cmi_free(context, classes);
    cmi_free(context, bytes);
    return status;
}
