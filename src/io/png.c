/* png.c - libpng's classic interface: palettes expanded, 16 bits cut to 8,
 * alpha dropped unless asked for, no gamma; its errors and its memory are ours. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "io/picture.h"

typedef struct {
    cm_context *context;
    const char *name;
    const unsigned char *data; /* reading */
    size_t size, at;
    const cm_byte_sink *sink; /* writing */
    cm_status status;         /* of the sink, or of our memory */
    char text[128];
    png_structp png;
    png_infop info;
    png_bytep *rows;
    uint8_t *row; /* written next */
    cm_picture *out;
} state;

static void fail_and_jump(png_structp png, png_const_charp message)
{
    state *s = png_get_error_ptr(png);
    size_t n = strlen(message);
    if (n >= sizeof s->text) n = sizeof s->text - 1;
    memcpy(s->text, message, n);
    s->text[n] = '\0';
    png_longjmp(png, 1);
}

static void stay_silent(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static png_voidp allocate(png_structp png, png_alloc_size_t size)
{
    state *s = png_get_mem_ptr(png);
    void *memory = cmi_malloc(s->context, size, 1);
    if (!memory) s->status = CM_ERR_MEMORY; /* libpng's own error does not say so */
    return memory;
}

static void release(png_structp png, png_voidp memory)
{
    state *s = png_get_mem_ptr(png);
    cmi_free(s->context, memory);
}

static void read_bytes(png_structp png, png_bytep out, png_size_t n)
{
    state *s = png_get_io_ptr(png);
    if (n > s->size - s->at) png_error(png, "truncated");
    memcpy(out, s->data + s->at, n);
    s->at += n;
}

static void write_bytes(png_structp png, png_bytep bytes, png_size_t n)
{
    state *s = png_get_io_ptr(png);
    s->status = s->sink->write(s->sink->user, bytes, n);
    if (s->status != CM_OK) png_error(png, "write failed");
}

static void flush_bytes(png_structp png)
{
    (void)png;
}

static void set_conversions(state *s, int channels)
{
    png_byte type = png_get_color_type(s->png, s->info);
    int gray = !(type & PNG_COLOR_MASK_COLOR), alpha = channels == 2 || channels == 4;
    int has_alpha = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(s->png, s->info, PNG_INFO_tRNS);
    png_set_expand(s->png);
    png_set_strip_16(s->png);
    if (!alpha) png_set_strip_alpha(s->png);
    else if (!has_alpha) png_set_add_alpha(s->png, 0xff, PNG_FILLER_AFTER);
    if (channels == 0) channels = gray ? 1 : 3;
    if (channels >= 3 && gray) png_set_gray_to_rgb(s->png);
    s->out->channels = channels <= 2 && !gray ? channels + 2 : channels; /* gray is made afterwards */
    (void)png_set_interlace_handling(s->png);
    png_read_update_info(s->png, s->info);
}

static cm_status decode(state *s, int channels)
{
    if (setjmp(png_jmpbuf(s->png))) {
        if (s->status != CM_OK) return s->status;
        CM_FAIL(CM_ERR_FORMAT, "%s: %s", s->name, s->text);
    }
    png_set_read_fn(s->png, s, read_bytes);
    png_set_user_limits(s->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* the check below knows better */
    /* Texts and profiles, which deflate can make a thousand times as large, are not kept. */
    static const png_byte unused[] = "tEXt\0zTXt\0iTXt\0iCCP\0sPLT\0eXIf\0pCAL\0sCAL\0hIST";
    png_set_keep_unknown_chunks(s->png, PNG_HANDLE_CHUNK_NEVER, unused, sizeof unused / 5);
    png_read_info(s->png, s->info);
    cm_picture *p = s->out;
    CM_TRY(cmi_picture_check_file(s->name, png_get_image_height(s->png, s->info),
                                  png_get_image_width(s->png, s->info), s->size));
    set_conversions(s, channels);
    p->height = (int32_t)png_get_image_height(s->png, s->info);
    p->width = (int32_t)png_get_image_width(s->png, s->info);
    size_t stride = png_get_rowbytes(s->png, s->info);
    if (stride != (size_t)p->width * (size_t)p->channels)
        CM_FAIL(CM_ERR_INTERNAL, "%s: PNG row of %zu bytes", s->name, stride);
    p->pixels = cmi_malloc(s->context, (size_t)p->height, stride);
    s->rows = cmi_calloc(s->context, (size_t)p->height, sizeof *s->rows);
    if (!p->pixels || !s->rows) return CM_ERR_MEMORY;
    for (int32_t y = 0; y < p->height; y++) s->rows[y] = p->pixels + (size_t)y * stride;
    png_read_image(s->png, s->rows);
    png_read_end(s->png, NULL);
    if (p->channels == channels + 2) cmi_picture_to_gray(p);
    return CM_OK;
}

cm_status cmi_png_read(cm_context *context, const char *name, const void *data, size_t size, int channels,
                       cm_picture *out)
{
    memset(out, 0, sizeof *out);
    state *s = cmi_calloc(context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    s->context = context;
    s->name = name;
    s->data = data;
    s->size = size;
    s->out = out;
    s->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, s, fail_and_jump, stay_silent, s, allocate, release);
    s->info = s->png ? png_create_info_struct(s->png) : NULL;
    cm_status status = s->info ? decode(s, channels) : cmi_fail(CM_ERR_MEMORY, "out of memory: PNG reader");
    png_destroy_read_struct(&s->png, &s->info, NULL);
    cmi_free(context, s->rows);
    cmi_free(context, s);
    if (status != CM_OK) {
        cmi_free(context, out->pixels);
        memset(out, 0, sizeof *out);
    }
    return status;
}

/* An iTXt chunk that is not compressed, before the pixels. */
static void set_note(state *s, const char *note)
{
    png_text text = {.compression = PNG_ITXT_COMPRESSION_NONE, .key = (char *)(uintptr_t)CM_NOTE_KEYWORD};
    text.text = (char *)(uintptr_t)note; /* libpng copies both and only its types are without const */
    text.itxt_length = strlen(note);
    png_set_text(s->png, s->info, &text, 1);
}

static cm_status encode(state *s, const cm_view *image, const char *note)
{
    static const int types[5] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                 PNG_COLOR_TYPE_RGB_ALPHA};
    if (setjmp(png_jmpbuf(s->png))) {
        if (s->status != CM_OK) return s->status;
        CM_FAIL(CM_ERR_MEMORY, "PNG encoder: %s", s->text);
    }
    png_set_write_fn(s->png, s, write_bytes, flush_bytes);
    png_set_IHDR(s->png, s->info, (png_uint_32)image->width, (png_uint_32)image->height, 8, types[image->channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (note) set_note(s, note);
    png_write_info(s->png, s->info);
    for (size_t y = 0; y < image->height; y++) {
        cmi_picture_row(image, y, s->row);
        png_write_row(s->png, s->row);
    }
    png_write_end(s->png, NULL);
    return CM_OK;
}

cm_status cmi_png_write(cm_context *context, const cm_view *image, const char *note, const cm_byte_sink *sink)
{
    state *s = cmi_calloc(context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    s->context = context;
    s->sink = sink;
    s->row = cmi_malloc(context, image->width, image->channels);
    if (s->row)
        s->png =
            png_create_write_struct_2(PNG_LIBPNG_VER_STRING, s, fail_and_jump, stay_silent, s, allocate, release);
    s->info = s->png ? png_create_info_struct(s->png) : NULL;
    cm_status status = s->info ? encode(s, image, note) : cmi_fail(CM_ERR_MEMORY, "out of memory: PNG writer");
    png_destroy_write_struct(&s->png, &s->info);
    cmi_free(context, s->row);
    cmi_free(context, s);
    return status;
}
