/* picture.c - what every picture format shares: bounds, kinds, gray. */
#include "io/picture.h"

#include <string.h>

#include "io/foreign.h"

cm_status cmi_picture_check(const char *name, uint64_t height, uint64_t width)
{
    if (height < 1 || width < 1 || height > CM_PICTURE_SIDE || width > CM_PICTURE_SIDE ||
        height * width > CM_PICTURE_PIXELS)
        CM_FAIL(CM_ERR_LIMIT, "%s: %llu x %llu pixels are outside the limits (sides 1..%d, at most %d pixels)", name,
                (unsigned long long)width, (unsigned long long)height, CM_PICTURE_SIDE, CM_PICTURE_PIXELS);
    return CM_OK;
}

cm_status cmi_picture_check_file(const char *name, uint64_t height, uint64_t width, size_t size)
{
    CM_TRY(cmi_picture_check(name, height, width));
    if (height * width / (8 * 1032) > size)
        CM_FAIL(CM_ERR_FORMAT, "%s: %zu bytes cannot hold the %llu x %llu pixels the header claims", name, size,
                (unsigned long long)width, (unsigned long long)height);
    return CM_OK;
}

int cmi_picture_is_jpeg(const void *data, size_t size)
{
    return size >= 2 && memcmp(data, "\xff\xd8", 2) == 0;
}

int cmi_picture_is_png(const void *data, size_t size)
{
    return size >= 4 && memcmp(data, "\x89PNG", 4) == 0;
}

void cmi_picture_to_gray(cm_picture *p)
{
    size_t n = (size_t)p->height * (size_t)p->width, from = (size_t)p->channels, to = from - 2;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *v = p->pixels + i * from;
        uint8_t alpha = v[from - 1];
        /* the weights add up to 65536 */
        p->pixels[i * to] = (uint8_t)((19595u * v[0] + 38470u * v[1] + 7471u * v[2] + 32768u) >> 16);
        if (to == 2) p->pixels[i * to + 1] = alpha;
    }
    p->channels = (int32_t)to;
}

static cm_status refuse(const char *name, const void *data, size_t size)
{
    const cm_foreign *kind = cmi_foreign_kind(data, size);
    CM_FAIL(CM_ERR_FORMAT, "%s: neither a JPEG nor a PNG%s%s", name, kind ? " but " : "", kind ? kind->what : "");
}

/* Appends an opaque alpha to every pixel. */
static cm_status add_alpha(cm_context *context, cm_picture *p)
{
    size_t n = (size_t)p->height * (size_t)p->width, c = (size_t)p->channels;
    uint8_t *wide = cmi_malloc(context, n, c + 1);
    if (!wide) return CM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        memcpy(wide + i * (c + 1), p->pixels + i * c, c);
        wide[i * (c + 1) + c] = 255;
    }
    cmi_free(context, p->pixels);
    p->pixels = wide;
    p->channels++;
    return CM_OK;
}

cm_status cmi_picture_read(cm_context *context, const char *name, const void *data, size_t size, int channels,
                           cm_picture *out)
{
    int alpha = channels == 2 || channels == 4, orientation = cmi_picture_orientation(data, size);
    cm_status status;
    memset(out, 0, sizeof *out);
    if (cmi_picture_is_png(data, size)) status = cmi_png_read(context, name, data, size, channels, out);
    else if (!cmi_picture_is_jpeg(data, size)) return refuse(name, data, size);
    else {
        status = cmi_jpeg_read(context, name, data, size, channels - alpha, out);
        if (status == CM_OK && alpha) status = add_alpha(context, out);
    }
    if (status == CM_OK) status = cmi_picture_turn(context, out, orientation);
    if (status != CM_OK) {
        cmi_free(context, out->pixels);
        memset(out, 0, sizeof *out);
    }
    return status;
}
