/* fit.c - through bytes, one image at a time. */
#include "data/fit.h"

#include "data/resize.h"

static const cm_choice fits[] = {
    {"resize", "both sides at once, so that proportions change"},
    {"crop", "scaled until it covers the new size; the middle is cut out"},
    {"pad", "scaled until it fits into the new size; the background around it"},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_fit_choices, "fits", fits);

/* The size that `fit` scales a picture to before it cuts or fills. */
static void scaled_size(int32_t fit, const cm_view *from, const cm_view *to, int64_t *height, int64_t *width)
{
    int64_t h = (int64_t)from->height, w = (int64_t)from->width;
    *height = (int64_t)to->height;
    *width = (int64_t)to->width;
    int64_t tall = *height * w, wide = *width * h;
    if (fit == CM_FIT_RESIZE || tall == wide) return;
    /* The side that follows the other one, rounded. */
    if ((fit == CM_FIT_CROP) == (tall > wide)) *width = (2 * tall + h) / (2 * h);
    else *height = (2 * wide + w) / (2 * w);
    if (*height < 1) *height = 1;
    if (*width < 1) *width = 1;
}

/* Centres the bytes of `from` on `to`, which is at least as large. */
static void centre(const cm_picture *from, const cm_view *to)
{
    const cm_view bytes =
        cmi_view_bytes(1, (size_t)from->height, (size_t)from->width, (size_t)from->channels, from->pixels);
    cm_view part = *to;
    part.data += (ptrdiff_t)((to->height - bytes.height) / 2) * to->row;
    part.data += (ptrdiff_t)((to->width - bytes.width) / 2) * to->pixel;
    part.height = bytes.height;
    part.width = bytes.width;
    cmi_view_copy(&bytes, &part);
}

static cm_status fit_one(cm_context *context, const cm_fitting *f, const cm_picture *in, const cm_view *from,
                         const cm_view *to)
{
    int64_t h, w;
    cm_picture scaled;
    scaled_size(f->fit, from, to, &h, &w);
    cm_part part = {0, 0, h < (int64_t)to->height ? (int32_t)h : (int32_t)to->height,
                    w < (int64_t)to->width ? (int32_t)w : (int32_t)to->width};
    part.y = (h - part.height) / 2;
    part.x = (w - part.width) / 2;
    CM_TRY(cmi_resize_part(context, in, h, w, CM_FILTER_BICUBIC, &part, &scaled));
    cmi_view_fill(to, f->background);
    centre(&scaled, to);
    cmi_free(context, scaled.pixels);
    return CM_OK;
}

cm_status cmi_fit(cm_context *context, const cm_fitting *f, const cm_view *from, const cm_view *to)
{
    const size_t size = cmi_view_size(from);
    const cm_picture in = {(int32_t)from->channels, (int32_t)from->height, (int32_t)from->width,
                           cmi_malloc(context, size, 1)};
    const cm_view bytes = cmi_view_bytes(1, from->height, from->width, from->channels, in.pixels);
    cm_status status = in.pixels ? CM_OK : CM_ERR_MEMORY;
    for (size_t i = 0; i < from->n && status == CM_OK; i++) {
        const cm_view one = cmi_view_part(from, i, 1), page = cmi_view_part(to, i, 1);
        cmi_view_copy(&one, &bytes);
        status = fit_one(context, f, &in, &one, &page);
    }
    cmi_free(context, in.pixels);
    return status;
}
