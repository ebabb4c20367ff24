/* image.c - the calls of image.h that take images to images; image_coding.c has those of files and of memory. */
#include <stdio.h>

#include <consistency/image.h>

#include "base/options.h"
#include "data/fit.h"
#include "data/headings.h"
#include "data/noise_level.h"
#include "tensor/finite.h"
#include "tensor/images.h"

void cm_images_init(cm_images *images, size_t struct_size)
{
    cmi_options_zero(images, struct_size);
}

cm_status cm_images_convert(const cm_images *from, const cm_images *to)
{
    cm_view in, out;
    CM_TRY(cmi_view_open("cm_images_convert: from", from, CM_VIEW_READ, &in));
    CM_TRY(cmi_view_open("cm_images_convert: to", to, CM_VIEW_WRITE, &out));
    if (in.n != out.n) CM_FAIL(CM_ERR_SHAPE, "cm_images_convert: %zu images from, but %zu to", in.n, out.n);
    CM_TRY(cmi_view_expect("cm_images_convert: to", &out, in.channels, in.height, in.width));
    CM_TRY(cmi_views_apart("cm_images_convert", &in, &out));
    cmi_view_copy(&in, &out);
    return CM_OK;
}

/* --- pages ---------------------------------------------------------------------------- */

/* Where image i of a page stands: below the names of the columns. */
typedef struct {
    size_t across, margin, height, width, head;
    cm_headings headings;
} page_layout;

static cm_status lay_out(const char *call, const cm_view *v, int32_t columns, int32_t margin,
                         const char *const *names, page_layout *p, size_t *height, size_t *width)
{
    if (columns < 1 || margin < 0 || margin > CM_PICTURE_SIDE)
        CM_FAIL(CM_ERR_ARGUMENT,
                "%s: %d columns with a margin of %d; expected at least one column and a margin of 0..%d", call,
                columns, margin, CM_PICTURE_SIDE);
    if (v->n > CM_PICTURE_PIXELS) CM_FAIL(CM_ERR_LIMIT, "%s: a page does not hold %zu images", call, v->n);
    CM_TRY(cmi_picture_check(call, v->height, v->width));
    const size_t across = v->n < (size_t)columns ? v->n : (size_t)columns;
    *p = (page_layout){across, (size_t)margin, v->height, v->width, 0, {names, across, v->width, (size_t)margin}};
    p->head = cmi_headings_height(&p->headings);
    *width = p->across * (v->width + p->margin) + p->margin;
    *height = (v->n + p->across - 1) / p->across * (v->height + p->margin) + p->margin + p->head;
    return cmi_picture_check(call, *height, *width);
}

static cm_view cell_of(const page_layout *p, const cm_view *page, size_t i)
{
    cm_view cell = *page;
    cell.data += (ptrdiff_t)(p->head + p->margin + i / p->across * (p->height + p->margin)) * page->row;
    cell.data += (ptrdiff_t)(p->margin + i % p->across * (p->width + p->margin)) * page->pixel;
    cell.height = p->height;
    cell.width = p->width;
    return cell;
}

static cm_status page_size(const char *call, const cm_images *images, int32_t columns, int32_t margin,
                           const char *const *names, int32_t *height, int32_t *width)
{
    cm_view v;
    page_layout p;
    size_t h, w;
    char what[64];
    if (!height || !width) CM_FAIL(CM_ERR_ARGUMENT, "%s: an output is NULL", call);
    (void)snprintf(what, sizeof what, "%s: images", call);
    CM_TRY(cmi_view_open(what, images, CM_VIEW_SHAPE, &v));
    CM_TRY(lay_out(call, &v, columns, margin, names, &p, &h, &w));
    *height = (int32_t)h;
    *width = (int32_t)w;
    return CM_OK;
}

cm_status cm_image_grid_size(const cm_images *images, int32_t columns, int32_t margin, int32_t *height,
                             int32_t *width)
{
    return page_size("cm_image_grid_size", images, columns, margin, NULL, height, width);
}

cm_status cm_image_named_grid_size(const cm_images *images, int32_t columns, int32_t margin, const char *const *names,
                                   int32_t *height, int32_t *width)
{
    return page_size("cm_image_named_grid_size", images, columns, margin, names, height, width);
}

static cm_status draw_page(const char *call, const cm_images *images, int32_t columns, int32_t margin,
                           uint8_t background, const char *const *names, const cm_images *page)
{
    enum { BRIGHT = 160 };
    cm_view v, to;
    page_layout p;
    size_t height, width;
    char what[2][64];
    (void)snprintf(what[0], sizeof what[0], "%s: images", call);
    (void)snprintf(what[1], sizeof what[1], "%s: page", call);
    CM_TRY(cmi_view_open(what[0], images, CM_VIEW_READ, &v));
    CM_TRY(cmi_view_open(what[1], page, CM_VIEW_WRITE, &to));
    CM_TRY(lay_out(call, &v, columns, margin, names, &p, &height, &width));
    if (to.n != 1) CM_FAIL(CM_ERR_SHAPE, "%s: %zu pages, expected one", call, to.n);
    CM_TRY(cmi_view_expect(what[1], &to, v.channels, height, width));
    CM_TRY(cmi_views_apart(call, &v, &to));
    cmi_view_fill(&to, background);
    cmi_headings_draw(&p.headings, background < BRIGHT ? 255 : 0, &to);
    for (size_t i = 0; i < v.n; i++) {
        const cm_view one = cmi_view_part(&v, i, 1), cell = cell_of(&p, &to, i);
        cmi_view_copy(&one, &cell);
    }
    return CM_OK;
}

cm_status cm_image_grid(const cm_images *images, int32_t columns, int32_t margin, uint8_t background,
                        const cm_images *page)
{
    return draw_page("cm_image_grid", images, columns, margin, background, NULL, page);
}

cm_status cm_image_named_grid(const cm_images *images, int32_t columns, int32_t margin, uint8_t background,
                              const char *const *names, const cm_images *page)
{
    return draw_page("cm_image_named_grid", images, columns, margin, background, names, page);
}

/* --- sizes --------------------------------------------------------------------------------- */

static cm_status check_fit(const cm_fitting *f, const cm_view *from, const cm_view *to)
{
    if (f->fit < CM_FIT_RESIZE || f->fit > CM_FIT_PAD)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_fit: fit is %d, expected %d..%d", f->fit, CM_FIT_RESIZE, CM_FIT_PAD);
    if (f->background && f->fit != CM_FIT_PAD)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_image_fit: background %d has no effect without padding", f->background);
    if (from->channels != 1 && from->channels != 3)
        CM_FAIL(CM_ERR_SHAPE, "cm_image_fit: %zu channels, expected 1 or 3", from->channels);
    if (from->n != to->n || from->channels != to->channels)
        CM_FAIL(CM_ERR_SHAPE, "cm_image_fit: %zu images of %zu channels from, but %zu of %zu to", from->n,
                from->channels, to->n, to->channels);
    CM_TRY(cmi_picture_check("cm_image_fit: from", from->height, from->width));
    CM_TRY(cmi_picture_check("cm_image_fit: to", to->height, to->width));
    return cmi_views_apart("cm_image_fit", from, to);
}

cm_status cm_image_fit(cm_context *context, int32_t fit, uint8_t background, const cm_images *from,
                       const cm_images *to)
{
    const cm_fitting f = {fit, background};
    cm_view in, out;
    cm_context *owner;
    CM_TRY(cmi_view_open("cm_image_fit: from", from, CM_VIEW_READ, &in));
    CM_TRY(cmi_view_open("cm_image_fit: to", to, CM_VIEW_WRITE, &out));
    CM_TRY(check_fit(&f, &in, &out));
    CM_TRY(cmi_context_retain(context, &owner));
    cm_status status = cmi_fit(owner, &f, &in, &out);
    cm_context_free(owner);
    return status;
}

/* --- noise -------------------------------------------------------------------------------- */

static cm_status find_noise(cm_context *context, const cm_view *image, float *planes, double *sigma)
{
    const cm_view to = cmi_view_planes(1, image->channels, image->height, image->width, planes, 0);
    size_t total = cmi_view_size(image);
    cmi_view_copy(image, &to);
    size_t i = cmi_first_nonfinite_f32(total, planes);
    if (i < total)
        CM_FAIL(CM_ERR_NUMERIC, "cm_image_noise_level: value %zu is %g, expected finite numbers", i,
                (double)planes[i]);
    return cmi_noise_level(context, (int32_t)image->channels, (int32_t)image->height, (int32_t)image->width, planes,
                           sigma);
}

cm_status cm_image_noise_level(cm_context *context, const cm_images *image, double *sigma)
{
    cm_view v;
    cm_context *owner;
    if (!sigma) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_noise_level: sigma is NULL");
    *sigma = 0;
    CM_TRY(cmi_view_open("cm_image_noise_level: image", image, CM_VIEW_READ, &v));
    if (v.n != 1) CM_FAIL(CM_ERR_SHAPE, "cm_image_noise_level: %zu images, expected one", v.n);
    CM_TRY(cmi_context_retain(context, &owner));
    float *planes = cmi_malloc(owner, cmi_view_size(&v), sizeof *planes);
    cm_status status = planes ? find_noise(owner, &v, planes, sigma) : CM_ERR_MEMORY;
    cmi_free(owner, planes);
    cm_context_free(owner);
    return status;
}
