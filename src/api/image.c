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
    cmi_options_zero(images, struct_size);
}

void cm_image_read_options_init(cm_image_read_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_image_write_options_init(cm_image_write_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
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

/* Where image i of a page stands. */
typedef struct {
    size_t across, margin, height, width;
} page_layout;

static cm_status lay_out(const cm_view *v, int32_t columns, int32_t margin, page_layout *p, size_t *height,
                         size_t *width)
{
    if (columns < 1 || margin < 0 || margin > CM_PICTURE_SIDE)
        CM_FAIL(CM_ERR_ARGUMENT,
                "cm_image_grid: %d columns with a margin of %d; expected at least one column and a "
                "margin of 0..%d",
                columns, margin, CM_PICTURE_SIDE);
    if (v->n > CM_PICTURE_PIXELS) CM_FAIL(CM_ERR_LIMIT, "cm_image_grid: a page does not hold %zu images", v->n);
    CM_TRY(cmi_picture_check("cm_image_grid: images", v->height, v->width));
    *p = (page_layout){v->n < (size_t)columns ? v->n : (size_t)columns, (size_t)margin, v->height, v->width};
    *width = p->across * (v->width + p->margin) + p->margin;
    *height = (v->n + p->across - 1) / p->across * (v->height + p->margin) + p->margin;
    return cmi_picture_check("cm_image_grid: page", *height, *width);
}

static cm_view cell_of(const page_layout *p, const cm_view *page, size_t i)
{
    cm_view cell = *page;
    cell.data += (ptrdiff_t)(p->margin + i / p->across * (p->height + p->margin)) * page->row;
    cell.data += (ptrdiff_t)(p->margin + i % p->across * (p->width + p->margin)) * page->pixel;
    cell.height = p->height;
    cell.width = p->width;
    return cell;
}

/* One byte value everywhere: a view that stands still. */
static void fill(const cm_view *page, const uint8_t *background)
{
    const cm_view from = {
        (unsigned char *)(uintptr_t)background, 1, page->channels, page->height, page->width, 0, 0, 0, 0, 1};
    cmi_view_copy(&from, page);
}

cm_status cm_image_grid_size(const cm_images *images, int32_t columns, int32_t margin, int32_t *height,
                             int32_t *width)
{
    cm_view v;
    page_layout p;
    size_t h, w;
    if (!height || !width) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_grid_size: an output is NULL");
    CM_TRY(cmi_view_open("cm_image_grid_size: images", images, CM_VIEW_SHAPE, &v));
    CM_TRY(lay_out(&v, columns, margin, &p, &h, &w));
    *height = (int32_t)h;
    *width = (int32_t)w;
    return CM_OK;
}

cm_status cm_image_grid(const cm_images *images, int32_t columns, int32_t margin, uint8_t background,
                        const cm_images *page)
{
    cm_view v, to;
    page_layout p;
    size_t height, width;
    CM_TRY(cmi_view_open("cm_image_grid: images", images, CM_VIEW_READ, &v));
    CM_TRY(cmi_view_open("cm_image_grid: page", page, CM_VIEW_WRITE, &to));
    CM_TRY(lay_out(&v, columns, margin, &p, &height, &width));
    if (to.n != 1) CM_FAIL(CM_ERR_SHAPE, "cm_image_grid: %zu pages, expected one", to.n);
    CM_TRY(cmi_view_expect("cm_image_grid: page", &to, v.channels, height, width));
    CM_TRY(cmi_views_apart("cm_image_grid", &v, &to));
    fill(&to, &background);
    for (size_t i = 0; i < v.n; i++) {
        const cm_view one = cmi_view_part(&v, i, 1), cell = cell_of(&p, &to, i);
        cmi_view_copy(&one, &cell);
    }
    return CM_OK;
}

/* --- encoding --------------------------------------------------------------------------- */

static int32_t format_by_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (!dot) return CM_IMAGE_FORMAT_DEFAULT;
    if (strcasecmp(dot, ".png") == 0) return CM_IMAGE_FORMAT_PNG;
    return strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 ? CM_IMAGE_FORMAT_JPEG
                                                                         : CM_IMAGE_FORMAT_DEFAULT;
}

/* One picture to be encoded, checked. */
typedef struct {
    const char *call; /* begins the messages */
    cm_view image;
    cm_image_write_options options; /* complete: format and quality are decided */
} encoding;

static cm_status read_write_options(encoding *e, const cm_image_write_options *options)
{
    cm_image_write_options *o = &e->options;
    memset(o, 0, sizeof *o);
    if (options) CM_TRY(cm_options_read(o, sizeof *o, options, "cm_image_write_options"));
    if (o->format < CM_IMAGE_FORMAT_DEFAULT || o->format > CM_IMAGE_FORMAT_JPEG)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: format is %d, expected %d..%d", e->call, o->format, CM_IMAGE_FORMAT_DEFAULT,
                CM_IMAGE_FORMAT_JPEG);
    if (o->quality < 0 || o->quality > 100)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: quality is %d, expected 1..100 or 0 for the default", e->call, o->quality);
    if (o->overwrite != CM_OVERWRITE_NO && o->overwrite != CM_OVERWRITE_YES)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: overwrite is %d, expected %d or %d", e->call, o->overwrite, CM_OVERWRITE_NO,
                CM_OVERWRITE_YES);
    return CM_OK;
}

/* After the format is decided. */
static cm_status check_picture(encoding *e)
{
    enum { JPEG_SIDE = 65500, JPEG_QUALITY = 95 }; /* the side is libjpeg's bound */
    const cm_view *v = &e->image;
    int jpeg = e->options.format == CM_IMAGE_FORMAT_JPEG;
    if (v->n != 1) CM_FAIL(CM_ERR_SHAPE, "%s: %zu images, expected one", e->call, v->n);
    if (v->channels > 4)
        CM_FAIL(CM_ERR_SHAPE, "%s: %zu channels, expected 1 (gray), 3 (RGB), or 2 and 4 with alpha", e->call,
                v->channels);
    if (jpeg && v->channels % 2 == 0)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: %zu channels, but a JPEG holds no alpha: expected 1 or 3", e->call,
                v->channels);
    if (!jpeg && e->options.quality)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: quality %d has no effect on a PNG", e->call, e->options.quality);
    if (jpeg && (v->height > JPEG_SIDE || v->width > JPEG_SIDE))
        CM_FAIL(CM_ERR_LIMIT, "%s: %zu x %zu pixels are too many for a JPEG, sides of %d at most", e->call, v->width,
                v->height, JPEG_SIDE);
    if (jpeg && !e->options.quality) e->options.quality = JPEG_QUALITY;
    return cmi_picture_check(e->call, v->height, v->width);
}

static cm_status encode(cm_context *context, const encoding *e, const cm_byte_sink *sink)
{
    if (e->options.format == CM_IMAGE_FORMAT_PNG) return cmi_png_write(context, &e->image, sink);
    return cmi_jpeg_write(context, &e->image, e->options.quality, sink);
}

/* --- files ------------------------------------------------------------------------------ */

static cm_status prepare_file(encoding *e, const char *path, const cm_images *image, cm_view_use use,
                              const cm_image_write_options *options)
{
    e->call = "cm_image_write";
    if (!path) CM_FAIL(CM_ERR_ARGUMENT, "%s: path is NULL", e->call);
    CM_TRY(cmi_view_open("cm_image_write: image", image, use, &e->image));
    CM_TRY(read_write_options(e, options));
    int32_t named = format_by_name(path), *format = &e->options.format;
    if (!*format && !named)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: '%s' ends neither in .png nor in .jpg or .jpeg: give a format", e->call, path);
    if (*format && named && *format != named)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: format %s, but '%s' is the name of another", e->call,
                *format == CM_IMAGE_FORMAT_PNG ? "PNG" : "JPEG", path);
    if (!*format) *format = named;
    return check_picture(e);
}

static cm_status write_to_file(void *user, const void *bytes, size_t size)
{
    return cmi_file_write(user, bytes, size);
}

static cm_status write_file(cm_context *context, const char *path, const encoding *e)
{
    cm_file_writer writer;
    const cm_byte_sink sink = {write_to_file, &writer};
    CM_TRY(cmi_file_create(context, path, e->options.overwrite == CM_OVERWRITE_YES, &writer));
    cm_status status = encode(context, e, &sink);
    if (status == CM_OK) return cmi_file_commit(&writer);
    cmi_file_abort(&writer);
    return status;
}

cm_status cm_image_write(cm_context *context, const char *path, const cm_images *image,
                         const cm_image_write_options *options)
{
    encoding e;
    cm_context *owner;
    CM_TRY(prepare_file(&e, path, image, CM_VIEW_READ, options));
    CM_TRY(cmi_context_retain(context, &owner));
    cm_status status = write_file(owner, path, &e);
    cm_context_free(owner);
    return status;
}

cm_status cm_image_write_check(cm_context *context, const char *path, const cm_images *image,
                               const cm_image_write_options *options)
{
    encoding e;
    cm_context *owner;
    cm_file_writer writer;
    CM_TRY(prepare_file(&e, path, image, CM_VIEW_SHAPE, options));
    CM_TRY(cmi_context_retain(context, &owner));
    cm_status status = cmi_file_create(owner, path, e.options.overwrite == CM_OVERWRITE_YES, &writer);
    if (status == CM_OK) cmi_file_abort(&writer);
    cm_context_free(owner);
    return status;
}

/* --- memory ------------------------------------------------------------------------------- */

typedef struct {
    cm_context *context;
    uint8_t *bytes;
    size_t size, capacity;
} buffer;

static cm_status write_to_buffer(void *user, const void *bytes, size_t size)
{
    buffer *b = user;
    if (size > b->capacity - b->size) {
        size_t capacity = 2 * b->capacity > b->size + size ? 2 * b->capacity : b->size + size;
        uint8_t *larger = cmi_malloc(b->context, capacity, 1);
        if (!larger) return CM_ERR_MEMORY;
        if (b->size) memcpy(larger, b->bytes, b->size);
        cmi_free(b->context, b->bytes);
        b->bytes = larger;
        b->capacity = capacity;
    }
    memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
    return CM_OK;
}

cm_status cm_image_encode(cm_context *context, const cm_images *image, const cm_image_write_options *options,
                          uint8_t **bytes, size_t *size)
{
    encoding e;
    buffer b = {NULL, NULL, 0, 0};
    const cm_byte_sink sink = {write_to_buffer, &b};
    e.call = "cm_image_encode";
    if (!bytes || !size) CM_FAIL(CM_ERR_ARGUMENT, "%s: bytes or size is NULL", e.call);
    *bytes = NULL;
    *size = 0;
    CM_TRY(cmi_view_open("cm_image_encode: image", image, CM_VIEW_READ, &e.image));
    CM_TRY(read_write_options(&e, options));
    if (e.options.overwrite) CM_FAIL(CM_ERR_ARGUMENT, "%s: overwrite has no effect on memory", e.call);
    if (!e.options.format) e.options.format = CM_IMAGE_FORMAT_PNG;
    CM_TRY(check_picture(&e));
    CM_TRY(cmi_context_retain(context, &b.context));
    cm_status status = encode(b.context, &e, &sink);
    if (status != CM_OK) cmi_free(b.context, b.bytes);
    cm_context_free(b.context);
    if (status != CM_OK) return status;
    *bytes = b.bytes;
    *size = b.size;
    return CM_OK;
}

void cm_bytes_free(cm_context *context, uint8_t *bytes)
{
    cmi_free(context, bytes);
}

/* --- decoding --------------------------------------------------------------------------- */

static cm_status prepare_read(const char *call, const cm_image_read_options *options, cm_image_read_options *o,
                              cm_images *out)
{
    const cm_images empty = CM_IMAGES_INIT;
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "%s: out is NULL", call);
    CM_TRY(cm_info_write(out, &empty, sizeof empty, "cm_images"));
    if (out->struct_size < sizeof empty)
        CM_FAIL(CM_ERR_ARGUMENT,
                "%s: out has a struct_size of %u, which does not reach its member data: expected %zu", call,
                out->struct_size, sizeof empty);
    memset(o, 0, sizeof *o);
    if (options) CM_TRY(cm_options_read(o, sizeof *o, options, "cm_image_read_options"));
    if (o->channels < 0 || o->channels > 4)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: %d channels, expected 0..4", call, o->channels);
    if (o->dtype != CM_DTYPE_DEFAULT && o->dtype != CM_U8 && o->dtype != CM_F32)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: dtype is %d, expected CM_U8 (%d) or CM_F32 (%d)", call, o->dtype, CM_U8,
                CM_F32);
    return CM_OK;
}

static cm_status to_floats(cm_context *context, cm_images *images)
{
    cm_view bytes;
    CM_TRY(cmi_view_open("picture", images, CM_VIEW_READ, &bytes));
    float *values = cmi_malloc(context, cmi_view_size(&bytes), sizeof *values);
    if (!values) return CM_ERR_MEMORY;
    const cm_view planes = cmi_view_planes(1, bytes.channels, bytes.height, bytes.width, values, 0);
    cmi_view_copy(&bytes, &planes);
    cmi_free(context, images->data);
    *images = cm_images_f32(1, images->channels, images->height, images->width, values);
    return CM_OK;
}

static cm_status decode(cm_context *context, const char *name, const void *bytes, size_t size,
                        const cm_image_read_options *o, cm_images *out)
{
    cm_picture p;
    CM_TRY(cmi_picture_read(context, name, bytes, size, o->channels, &p));
    cm_images images = cm_images_u8(1, p.height, p.width, p.channels, p.pixels);
    cm_status status = o->dtype == CM_F32 ? to_floats(context, &images) : CM_OK;
    if (status == CM_OK) status = cm_info_write(out, &images, sizeof images, "cm_images");
    if (status != CM_OK) cmi_free(context, images.data);
    return status;
}

cm_status cm_image_decode(cm_context *context, const void *bytes, size_t size, const cm_image_read_options *options,
                          cm_images *out)
{
    cm_image_read_options o;
    cm_context *owner;
    CM_TRY(prepare_read("cm_image_decode", options, &o, out));
    if (!bytes) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_decode: bytes is NULL");
    if (size > CM_PICTURE_FILE)
        CM_FAIL(CM_ERR_LIMIT, "cm_image_decode: %zu bytes, expected at most %d", size, CM_PICTURE_FILE);
    CM_TRY(cmi_context_retain(context, &owner));
    cm_status status = decode(owner, "cm_image_decode", bytes, size, &o, out);
    cm_context_free(owner);
    return status;
}

cm_status cm_image_read(cm_context *context, const char *path, const cm_image_read_options *options, cm_images *out)
{
    cm_image_read_options o;
    cm_context *owner;
    unsigned char *data;
    size_t size;
    CM_TRY(prepare_read("cm_image_read", options, &o, out));
    if (!path) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_read: path is NULL");
    CM_TRY(cmi_context_retain(context, &owner));
    cm_status status = cmi_file_read(owner, path, CM_PICTURE_FILE, &data, &size);
    if (status == CM_OK) {
        status = decode(owner, path, data, size, &o, out);
        cmi_free(owner, data);
    }
    cm_context_free(owner);
    return status;
}

void cm_image_free(cm_context *context, cm_images *images)
{
    if (!images || images->struct_size < sizeof *images) return; /* nothing was read into it */
    cmi_free(context, images->data);
    images->data = NULL;
    images->n = 0;
}

/* --- sizes --------------------------------------------------------------------------------- */

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
static void place(const cm_picture *from, const cm_view *to)
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

typedef struct {
    int32_t fit;
    uint8_t background;
} fitting;

static cm_status fit_one(cm_context *context, const fitting *f, const cm_picture *in, const cm_view *from,
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
    fill(to, &f->background);
    place(&scaled, to);
    cmi_free(context, scaled.pixels);
    return CM_OK;
}

/* Through bytes, one image at a time. */
static cm_status fit_all(cm_context *context, const fitting *f, const cm_view *from, const cm_view *to)
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

static cm_status check_fit(const fitting *f, const cm_view *from, const cm_view *to)
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
    const fitting f = {fit, background};
    cm_view in, out;
    cm_context *owner;
    CM_TRY(cmi_view_open("cm_image_fit: from", from, CM_VIEW_READ, &in));
    CM_TRY(cmi_view_open("cm_image_fit: to", to, CM_VIEW_WRITE, &out));
    CM_TRY(check_fit(&f, &in, &out));
    CM_TRY(cmi_context_retain(context, &owner));
    cm_status status = fit_all(owner, &f, &in, &out);
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
