/* operations_pictures.c - rows of operations.h: pictures and sets of them. */
#include <stdlib.h>
#include <string.h>

#include "support/operations_parts.h"

static const char *const picture_formats[] = {"png", "jpg", NULL};
static void paint(uint8_t *pixels, int value)
{
    for (int i = 0; i < 16 * 16 * 3; i++) pixels[i] = (uint8_t)(value * 20 + i % 7);
}

cm_status write_picture_to(cm_context *c, const char *path, int value)
{
    uint8_t pixels[16 * 16 * 3];
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    paint(pixels, value);
    o.overwrite = CM_OVERWRITE_YES;
    const cm_images picture = cm_images_u8(1, 16, 16, 3, pixels);
    return cm_image_write(c, path, &picture, &o);
}

static cm_status write_image(const place *at)
{
    return write_picture_to(at->context, path_of(at->out, "written.%s", at->choice), 3);
}

static cm_status read_image(const place *at)
{
    cm_images picture = CM_IMAGES_INIT;
    const cm_status status = cm_image_read(at->context, path_of(at->in, "folder/a/0.%s", at->choice), NULL, &picture);
    if (status == CM_OK) cm_image_free(at->context, &picture);
    return status;
}

static cm_status code_image(const place *at)
{
    uint8_t pixels[16 * 16 * 3], other[8 * 12 * 3], *bytes = NULL;
    size_t size = 0;
    double sigma;
    cm_images back = CM_IMAGES_INIT;
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    paint(pixels, 5);
    const cm_images picture = cm_images_u8(1, 16, 16, 3, pixels), fitted = cm_images_u8(1, 8, 12, 3, other);
    o.format = strcmp(at->choice, "png") == 0 ? CM_IMAGE_FORMAT_PNG : CM_IMAGE_FORMAT_JPEG;
    cm_status status = cm_image_encode(at->context, &picture, &o, &bytes, &size);
    if (status == CM_OK) status = cm_image_decode(at->context, bytes, size, NULL, &back);
    if (status == CM_OK) cm_image_free(at->context, &back);
    if (bytes) cm_bytes_free(at->context, bytes);
    if (status == CM_OK) status = cm_image_fit(at->context, CM_FIT_CROP, 0, &picture, &fitted);
    if (status == CM_OK) status = cm_image_noise_level(at->context, &picture, &sigma);
    return status;
}

/* A picture with a note, and a page of pictures with and without names. */
static cm_status page_of_images(const place *at)
{
    static const char *const names[] = {"one", "another"};
    static float values[2 * 16 * 16 * 3];
    static uint8_t page[200 * 200 * 3];
    int32_t h = 0, w = 0;
    uint8_t *note = NULL;
    size_t size;
    const cm_images from = cm_images_f32(2, 3, 16, 16, values);
    uint8_t pixels[2 * 16 * 16 * 3];
    const cm_images bytes = cm_images_u8(2, 16, 16, 3, pixels);
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES, o.note = "a note";
    const char *path = path_of(at->out, "page.png");
    cm_status status = cm_images_convert(&from, &bytes);
    if (status == CM_OK) status = cm_image_grid_size(&bytes, 2, 1, &h, &w);
    cm_images plain = cm_images_u8(1, h, w, 3, page);
    if (status == CM_OK) status = cm_image_grid(&bytes, 2, 1, 0, &plain);
    if (status == CM_OK) status = cm_image_named_grid_size(&bytes, 2, 1, names, &h, &w);
    plain = cm_images_u8(1, h, w, 3, page);
    if (status == CM_OK) status = cm_image_named_grid(&bytes, 2, 1, 0, names, &plain);
    if (status == CM_OK) status = cm_image_write_check(at->context, path, &plain, &o);
    if (status == CM_OK) status = cm_image_write(at->context, path, &plain, &o);
    if (status == CM_OK) status = cm_image_note(at->context, path, &note, &size);
    if (note) cm_bytes_free(at->context, note);
    return status;
}

static const char *const set_kinds[] = {"folder", "set.tar", "set.zip", "set.npz", "idx", "cifar", NULL};
static cm_status open_named(const place *at, const char *kind, const char *names, cm_dataset **d)
{
    cm_dataset_options o = CM_DATASET_OPTIONS_INIT;
    if (strcmp(kind, "idx") != 0 && strcmp(kind, "cifar") != 0) o.width = o.height = SIDE;
    o.class_names = names;
    return cm_dataset_open(at->context, path_of(at->in, "%s", kind), &o, d);
}

cm_status open_set_of(const place *at, const char *kind, cm_dataset **d)
{
    return open_named(at, kind, NULL, d);
}

static cm_status read_set(const place *at)
{
    cm_dataset *d = NULL;
    static float values[4 * 32 * 32 * 3];
    int32_t labels[4];
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    const char *names = strcmp(at->choice, "idx") == 0 ? "a,b,c,d,e,f,g,h" : NULL; /* its labels go to 7 */
    cm_status status = open_named(at, at->choice, names, &d);
    if (status == CM_OK) status = cm_dataset_info_get(d, &info);
    const cm_images out = cm_images_f32(4, info.channels, info.height, info.width, values);
    if (status == CM_OK) status = cm_dataset_read(d, 0, &out, labels);
    uint64_t *counts = calloc((size_t)info.classes + 1, sizeof *counts);
    if (!counts && status == CM_OK) status = CM_ERR_MEMORY;
    if (status == CM_OK && info.classes) status = cm_dataset_class_counts(d, (size_t)info.classes, counts);
    if (status == CM_OK) (void)cm_dataset_class_name(d, 0);
    free(counts);
    cm_dataset_free(d);
    return status;
}

/* Looks at the pictures of a set and writes them into one file. */
static cm_status pack_set(const place *at)
{
    cm_dataset *d = NULL;
    cm_dataset_report report = CM_DATASET_REPORT_INIT;
    uint64_t packed;
    cm_status status = open_set_of(at, at->choice, &d);
    if (status == CM_OK) status = cm_dataset_check(d, NULL, &report);
    if (status == CM_OK) status = cm_dataset_pack(d, path_of(at->out, "packed.tar"), NULL, &packed);
    cm_dataset_free(d);
    return status;
}

const operation operations_of_pictures[] = {
    {"write a picture", write_image, NULL, picture_formats, 0},
    {"read a picture", read_image, NULL, picture_formats, 0},
    {"code a picture", code_image, NULL, picture_formats, 0},
    {"a page of pictures", page_of_images, NULL, NULL, 0},
    {"read a data set", read_set, NULL, set_kinds, 0},
    {"check and pack a data set", pack_set, NULL, set_kinds, 0},
    {NULL, NULL, NULL, NULL, 0},
};
