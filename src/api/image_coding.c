/* image_coding.c - the calls of image.h that write pictures to files and memory, and read them from there. */
#include <string.h>
#include <strings.h>

#include <consistency/image.h>

#include "base/options.h"
#include "io/picture.h"
#include "tensor/images.h"

void cm_image_read_options_init(cm_image_read_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_image_write_options_init(cm_image_write_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
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
    if (jpeg && e->options.note) CM_FAIL(CM_ERR_ARGUMENT, "%s: a note has no effect on a JPEG", e->call);
    if (e->options.note) CM_TRY(cmi_note_check(e->call, e->options.note));
    if (jpeg && (v->height > JPEG_SIDE || v->width > JPEG_SIDE))
        CM_FAIL(CM_ERR_LIMIT, "%s: %zu x %zu pixels are too many for a JPEG, sides of %d at most", e->call, v->width,
                v->height, JPEG_SIDE);
    if (jpeg && !e->options.quality) e->options.quality = JPEG_QUALITY;
    return cmi_picture_check(e->call, v->height, v->width);
}

static cm_status encode(cm_context *context, const encoding *e, const cm_byte_sink *sink)
{
    if (e->options.format == CM_IMAGE_FORMAT_PNG) return cmi_png_write(context, &e->image, e->options.note, sink);
    return cmi_jpeg_write(context, &e->image, e->options.quality, sink);
}

/* --- files ------------------------------------------------------------------------------ */

/* After the image is opened. */
static cm_status prepare_file(encoding *e, const char *path, const cm_image_write_options *options)
{
    if (!path) CM_FAIL(CM_ERR_ARGUMENT, "%s: path is NULL", e->call);
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
    encoding e = {.call = "cm_image_write"};
    cm_context *owner;
    CM_TRY(cmi_view_open("cm_image_write: image", image, CM_VIEW_READ, &e.image));
    CM_TRY(prepare_file(&e, path, options));
    CM_TRY(cmi_context_retain(context, &owner));
    cm_status status = write_file(owner, path, &e);
    cm_context_free(owner);
    return status;
}

cm_status cm_image_write_check(cm_context *context, const char *path, const cm_images *image,
                               const cm_image_write_options *options)
{
    encoding e = {.call = "cm_image_write_check"};
    cm_context *owner;
    cm_file_writer writer;
    CM_TRY(cmi_view_open("cm_image_write_check: image", image, CM_VIEW_SHAPE, &e.image));
    CM_TRY(prepare_file(&e, path, options));
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
    encoding e = {.call = "cm_image_encode"};
    buffer b = {NULL, NULL, 0, 0};
    const cm_byte_sink sink = {write_to_buffer, &b};
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

cm_status cm_image_note(cm_context *context, const char *path, uint8_t **note, size_t *size)
{
    cm_context *owner;
    unsigned char *data;
    size_t bytes;
    if (!note || !size) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_note: note or size is NULL");
    *note = NULL;
    *size = 0;
    if (!path) CM_FAIL(CM_ERR_ARGUMENT, "cm_image_note: path is NULL");
    CM_TRY(cmi_context_retain(context, &owner));
    cm_status status = cmi_file_read(owner, path, CM_PICTURE_FILE, &data, &bytes);
    if (status == CM_OK) {
        status = cmi_note_read(owner, path, data, bytes, note, size);
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
