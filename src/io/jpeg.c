/* jpeg.c - libjpeg-turbo with its defaults (accurate inverse DCT, fancy
 * upsampling: the pixels Pillow gives), its errors turned into statuses. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "io/picture.h"

/* libjpeg calls error_exit, which must not return: it jumps back to us. */
typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf back;
    char text[JMSG_LENGTH_MAX];
} errors;

static void fail_and_jump(j_common_ptr info)
{
    errors *e = (errors *)(void *)info->err;
    info->err->format_message(info, e->text);
    longjmp(e->back, 1);
}

/* A missing end is an error, other warnings are the decoder's business. */
static void warn(j_common_ptr info, int level)
{
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) fail_and_jump(info);
}

static void stay_silent(j_common_ptr info)
{
    (void)info;
}

static struct jpeg_error_mgr *init_errors(errors *e)
{
    struct jpeg_error_mgr *base = jpeg_std_error(&e->base);
    base->error_exit = fail_and_jump;
    base->emit_message = warn;
    base->output_message = stay_silent;
    e->text[0] = '\0';
    return base;
}

/* --- reading --------------------------------------------------------------------- */

typedef struct {
    struct jpeg_decompress_struct info;
    struct jpeg_progress_mgr progress;
    errors errors;
    cm_context *context;
    const char *name;
    cm_picture *out;
} reader;

/* A file of endless scans must not cost endless time: a scan that holds nothing is gone through all the same. */
static void count_scans(j_common_ptr info)
{
    j_decompress_ptr d = (j_decompress_ptr)info;
    int64_t scans = d->input_scan_number, pixels = (int64_t)d->image_height * d->image_width;
    if (scans > CM_PICTURE_SCANS || (scans > 1 && scans * pixels > (int64_t)CM_PICTURE_WORK * CM_PICTURE_PIXELS))
        ERREXIT(d, JERR_BAD_PROGRESSION);
}

static cm_status choose_output(reader *r, int channels)
{
    J_COLOR_SPACE space = r->info.jpeg_color_space;
    if (space == JCS_CMYK || space == JCS_YCCK)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: CMYK JPEGs are not supported: convert to RGB first", r->name);
    if (channels == 0) channels = space == JCS_GRAYSCALE ? 1 : 3;
    if (space == JCS_RGB) channels = 3; /* there is no luminance to take: gray is made afterwards */
    r->info.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    r->out->channels = channels;
    return CM_OK;
}

/* Between setjmp and the end nothing but the picture is allocated by us, and
 * that is reachable through r. */
static cm_status decode(reader *r, const void *data, size_t size, int channels)
{
    if (setjmp(r->errors.back))
        CM_FAIL(r->errors.base.msg_code == JERR_OUT_OF_MEMORY ? CM_ERR_MEMORY : CM_ERR_FORMAT, "%s: %s", r->name,
                r->errors.text);
    jpeg_create_decompress(&r->info);
    r->progress.progress_monitor = count_scans;
    r->info.progress = &r->progress;
    jpeg_mem_src(&r->info, data, (unsigned long)size);
    (void)jpeg_read_header(&r->info, TRUE);
    CM_TRY(cmi_picture_check_file(r->name, r->info.image_height, r->info.image_width, size));
    CM_TRY(choose_output(r, channels));
    (void)jpeg_start_decompress(&r->info);
    size_t stride = (size_t)r->info.output_width * (size_t)r->out->channels;
    r->out->height = (int32_t)r->info.output_height;
    r->out->width = (int32_t)r->info.output_width;
    r->out->pixels = cmi_malloc(r->context, r->info.output_height, stride);
    if (!r->out->pixels) return CM_ERR_MEMORY;
    while (r->info.output_scanline < r->info.output_height) {
        JSAMPROW row = r->out->pixels + r->info.output_scanline * stride;
        (void)jpeg_read_scanlines(&r->info, &row, 1);
    }
    (void)jpeg_finish_decompress(&r->info);
    if (r->out->channels == channels + 2) cmi_picture_to_gray(r->out);
    return CM_OK;
}

cm_status cmi_jpeg_read(cm_context *context, const char *name, const void *data, size_t size, int channels,
                        cm_picture *out)
{
    memset(out, 0, sizeof *out);
    reader *r = cmi_calloc(context, 1, sizeof *r);
    if (!r) return CM_ERR_MEMORY;
    r->context = context;
    r->name = name;
    r->out = out;
    r->info.err = init_errors(&r->errors);
    cm_status status = decode(r, data, size, channels);
    jpeg_destroy_decompress(&r->info);
    cmi_free(context, r);
    if (status != CM_OK) {
        cmi_free(context, out->pixels);
        memset(out, 0, sizeof *out);
    }
    return status;
}

/* --- writing --------------------------------------------------------------------- */

typedef struct {
    struct jpeg_compress_struct info;
    errors errors;
    unsigned char *bytes;
    unsigned long size;
    uint8_t *row; /* written next */
} writer;

static cm_status encode(writer *w, const cm_view *image, int quality)
{
    if (setjmp(w->errors.back)) CM_FAIL(CM_ERR_MEMORY, "JPEG encoder: %s", w->errors.text);
    jpeg_create_compress(&w->info);
    jpeg_mem_dest(&w->info, &w->bytes, &w->size);
    w->info.image_width = (JDIMENSION)image->width;
    w->info.image_height = (JDIMENSION)image->height;
    w->info.input_components = (int)image->channels;
    w->info.in_color_space = image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&w->info);
    jpeg_set_quality(&w->info, quality, TRUE);
    jpeg_start_compress(&w->info, TRUE);
    while (w->info.next_scanline < w->info.image_height) {
        cmi_picture_row(image, w->info.next_scanline, w->row);
        (void)jpeg_write_scanlines(&w->info, &w->row, 1);
    }
    jpeg_finish_compress(&w->info);
    return CM_OK;
}

cm_status cmi_jpeg_write(cm_context *context, const cm_view *image, int quality, const cm_byte_sink *sink)
{
    writer *w = cmi_calloc(context, 1, sizeof *w);
    if (!w) return CM_ERR_MEMORY;
    w->info.err = init_errors(&w->errors);
    w->row = cmi_malloc(context, image->width, image->channels);
    cm_status status = w->row ? encode(w, image, quality) : CM_ERR_MEMORY;
    if (status == CM_OK) status = sink->write(sink->user, w->bytes, w->size);
    jpeg_destroy_compress(&w->info);
    free(w->bytes); /* libjpeg's own malloc */
    cmi_free(context, w->row);
    cmi_free(context, w);
    return status;
}
