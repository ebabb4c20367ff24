/* given.c - see the header. */
#include "given.h"

#include <stdlib.h>
#include <string.h>

static size_t plane_of(const given *g)
{
    return (size_t)g->height * (size_t)g->width;
}

static float *mask_of(const given *g, size_t i)
{
    return g->masks + i * plane_of(g);
}

cm_images given_images(const given *g, size_t first, size_t n)
{
    const float *from = g->images + first * plane_of(g) * (size_t)g->channels;
    return cm_images_f32(n, g->channels, g->height, g->width, from);
}

cm_images given_masks(const given *g, size_t first, size_t n)
{
    return cm_images_f32(n, 1, g->height, g->width, g->masks ? mask_of(g, first) : NULL);
}

/* A picture of bytes at the wanted size. */
static cm_status fit(const given *g, const char *path, const cm_images *from, uint8_t background, const cm_images *to)
{
    if (g->fit < 0 && (from->height != g->height || from->width != g->width))
        cli_usage_error(g->c, "%s is %d x %d pixels, this task and model take %d x %d: say --fit crop, pad or resize",
                        path, from->width, from->height, g->width, g->height);
    return cm_image_fit(NULL, g->fit < 0 ? CM_FIT_RESIZE : g->fit, g->fit == CM_FIT_PAD ? background : 0, from, to);
}

/* `channels` of a picture's from channel `first` on. */
static cm_images part_of(const cm_images *picture, int32_t first, int32_t channels)
{
    cm_images part = *picture;
    part.data = (uint8_t *)picture->data + first;
    part.channels = channels;
    part.channel_stride = 1;
    part.pixel_stride = picture->channels;
    part.row_stride = part.pixel_stride * picture->width;
    return part;
}

static int is_nowhere(const float *mask, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (mask[i] > -1) return 0;
    return 1;
}

/* The mask of a picture in [-1, 1], 1 where it is transparent or padded. */
static cm_status read_missing(const given *g, size_t i, const cm_images *picture, int alpha)
{
    static uint8_t nothing;
    cm_images missing = cm_images_u8(1, picture->height, picture->width, 1, &nothing);
    const cm_images to = given_masks(g, i, 1);
    missing.image_stride = 1; /* the same byte everywhere */
    if (alpha) {
        missing = part_of(picture, picture->channels - 1, 1);
        uint8_t *a = missing.data;
        for (int32_t k = 0; k < picture->height * picture->width; k++, a += picture->channels)
            *a = (uint8_t)(255 - *a);
    }
    cm_status status = fit(g, g->paths[i], &missing, 255, &to);
    if (status == CM_OK && alpha && is_nowhere(to.data, plane_of(g)))
        cli_usage_error(g->c, "--mask alpha: nothing of %s is transparent, so nothing would be generated",
                        g->paths[i]);
    return status;
}

static cm_status read_one(const given *g, size_t i, int alpha)
{
    cm_image_read_options options = CM_IMAGE_READ_OPTIONS_INIT;
    cm_images picture = CM_IMAGES_INIT;
    options.channels = g->channels + alpha;
    cm_status status = cm_image_read(NULL, g->paths[i], &options, &picture);
    if (status != CM_OK) return status;
    const cm_images colours = part_of(&picture, 0, g->channels), to = given_images(g, i, 1);
    status = fit(g, g->paths[i], &colours, 128, &to);
    if (status == CM_OK && g->masked) status = read_missing(g, i, &picture, alpha);
    cm_image_free(NULL, &picture);
    return status;
}

/* The separate mask joins what padding asks for. */
static cm_status read_mask(const given *g)
{
    const size_t plane = plane_of(g);
    cm_image_read_options options = CM_IMAGE_READ_OPTIONS_INIT;
    cm_images picture = CM_IMAGES_INIT;
    float *mask = malloc(plane * sizeof *mask);
    const cm_images to = cm_images_f32(1, 1, g->height, g->width, mask);
    options.channels = 1;
    cm_status status = mask ? cm_image_read(NULL, g->mask, &options, &picture) : CM_ERR_MEMORY;
    if (status == CM_OK) status = fit(g, g->mask, &picture, 0, &to);
    for (size_t i = 0; status == CM_OK && i < g->n * plane; i++)
        if (mask[i % plane] > g->masks[i]) g->masks[i] = mask[i % plane];
    free(mask);
    cm_image_free(NULL, &picture);
    return status;
}

cm_status given_read(given *g)
{
    const size_t plane = plane_of(g);
    const int alpha = g->mask && strcmp(g->mask, "alpha") == 0;
    g->images = calloc(g->n, plane * (size_t)g->channels * sizeof *g->images);
    if (g->masked) g->masks = calloc(g->n, plane * sizeof *g->masks);
    cm_status status = g->images && (!g->masked || g->masks) ? CM_OK : CM_ERR_MEMORY;
    for (size_t i = 0; status == CM_OK && i < g->n; i++) status = read_one(g, i, alpha);
    if (status == CM_OK && g->mask && !alpha) status = read_mask(g);
    for (size_t i = 0; status == CM_OK && g->masked && i < g->n * plane; i++) g->masks[i] = (g->masks[i] + 1) / 2;
    return status;
}

void given_free(given *g)
{
    free(g->images);
    free(g->masks);
}

cm_status given_noise(const given *g, double least, double *levels)
{
    for (size_t i = 0; i < g->n; i++) {
        const cm_images image = given_images(g, i, 1);
        cm_status status = cm_image_noise_level(NULL, &image, &levels[i]);
        if (status == CM_ERR_MEMORY) return status;
        if (status != CM_OK || levels[i] < least)
            cli_usage_error(g->c, "%s: %s: say with --sigma what to take for noise", g->paths[i],
                            status == CM_OK ? "no noise is found in it" : cm_last_message());
    }
    return CM_OK;
}

void given_show(const given *g, size_t i, int without, const double *luma, int32_t height, int32_t width, float *out)
{
    const size_t plane = plane_of(g), c = (size_t)g->channels, w = (size_t)width, pixels = (size_t)height * w;
    const size_t f = (size_t)(height / g->height);
    const float *x = given_images(g, i, 1).data;
    for (size_t k = 0; k < c * pixels; k++) {
        const size_t at = k % pixels / w / f * (size_t)g->width + k % w / f;
        out[k] = x[k / pixels * plane + at];
        if (without) out[k] *= 1 - mask_of(g, i)[at];
        if (luma)
            out[k] = (float)((luma[0] * (double)x[at] + luma[1] * (double)x[plane + at] +
                              luma[2] * (double)x[2 * plane + at]) /
                             (luma[0] + luma[1] + luma[2]));
    }
}
