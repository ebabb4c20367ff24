/* data_page.c - see the header. */
#include "data_page.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMNS = 16, PLAIN_COLUMNS = 8, BACKGROUND = 128 };

typedef struct {
    size_t size;     /* bytes of an image                         */
    uint8_t *pixels; /* of all places, row by row; then one image */
    int32_t *filled; /* of each column                            */
    const char **names;
    char (*numbers)[12];
} paper;

static cm_status take(const data_page *p, paper *a)
{
    const size_t places = (size_t)p->rows * (size_t)p->columns;
    a->size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    a->pixels = places < SIZE_MAX / 2 / a->size ? malloc((places + 1) * a->size) : NULL;
    a->filled = calloc((size_t)p->columns, sizeof *a->filled);
    a->names = calloc((size_t)p->columns, sizeof *a->names);
    a->numbers = calloc((size_t)p->columns, sizeof *a->numbers);
    if (!a->pixels || !a->filled || !a->names || !a->numbers) return CM_ERR_MEMORY;
    memset(a->pixels, BACKGROUND, places * a->size);
    return CM_OK;
}

static void give_back(paper *a)
{
    free(a->pixels);
    free(a->filled);
    free(a->names);
    free(a->numbers);
}

static cm_images images_of(const data_page *p, size_t n, const uint8_t *pixels)
{
    return cm_images_u8(n, p->info.height, p->info.width, p->info.channels, pixels);
}

/* Weyl's sequence, from a beginning that the seed decides: the share is kept from the first images on. */
static int is_mirrored(const data_page *p, size_t i)
{
    const double golden = 0.6180339887498949, at = (double)(p->seed % 1000003) * golden + (double)i * golden;
    return at - (double)(uint64_t)at < p->flip;
}

/* The image at `from` in its place; in a mirror its last pixel of a row comes first. */
static cm_status put(const data_page *p, const uint8_t *from, uint8_t *to, int mirrored)
{
    const cm_images place = images_of(p, 1, to);
    cm_images image = images_of(p, 1, from);
    if (mirrored) {
        image.data = (void *)(uintptr_t)(from + (size_t)(p->info.width - 1) * (size_t)p->info.channels);
        image.row_stride = (int64_t)p->info.width * p->info.channels;
        image.pixel_stride = -p->info.channels;
        image.channel_stride = 1;
    }
    return cm_images_convert(&image, &place);
}

/* The column of an image: that of its class, or the shortest from the left. */
static int32_t column_of(const data_page *p, const paper *a, int32_t label)
{
    int32_t best = 0;
    if (p->info.classes) return label >= 0 && label < p->columns ? label : -1;
    for (int32_t k = 1; k < p->columns; k++)
        if (a->filled[k] < a->filled[best]) best = k;
    return best;
}

static cm_status fill(data_page *p, paper *a, cli_progress *progress)
{
    const size_t places = (size_t)p->rows * (size_t)p->columns;
    uint8_t *one = a->pixels + places * a->size;
    const cm_images image = images_of(p, 1, one);
    cm_status status = CM_OK;
    for (uint64_t at = 0; status == CM_OK && at < p->info.images && p->drawn < places; at++) {
        int32_t label;
        if (cli_progress_step(progress, at, p->info.images)) return CM_ERR_CANCELLED;
        status = cm_dataset_read(p->set, at, &image, &label);
        const int32_t column = status == CM_OK ? column_of(p, a, label) : -1;
        if (column < 0 || a->filled[column] == p->rows) continue;
        const size_t place = (size_t)a->filled[column]++ * (size_t)p->columns + (size_t)column;
        status = put(p, one, a->pixels + place * a->size, is_mirrored(p, p->drawn++));
    }
    p->empty = places - p->drawn;
    return status;
}

static void name_columns(const data_page *p, paper *a)
{
    for (int32_t k = 0; k < p->columns && p->info.classes; k++) {
        snprintf(a->numbers[k], sizeof *a->numbers, "%d", k);
        a->names[k] = cm_dataset_class_name(p->set, k);
        if (!a->names[k]) a->names[k] = a->numbers[k];
    }
}

static cm_status write_page(const data_page *p, const paper *a, const cm_image_write_options *options)
{
    const cm_images images = images_of(p, (size_t)p->rows * (size_t)p->columns, a->pixels);
    int32_t height, width;
    cm_status status = cm_image_named_grid_size(&images, p->columns, p->margin, a->names, &height, &width);
    if (status != CM_OK) return status;
    uint8_t *pixels = malloc((size_t)height * (size_t)width * (size_t)p->info.channels);
    if (!pixels) return CM_ERR_MEMORY;
    const cm_images page = cm_images_u8(1, height, width, p->info.channels, pixels);
    status = cm_image_named_grid(&images, p->columns, p->margin, BACKGROUND, a->names, &page);
    if (status == CM_OK) status = cm_image_write(NULL, p->path, &page, options);
    free(pixels);
    return status;
}

cm_status data_page_draw(data_page *p, const cli *c, cli_progress *progress)
{
    paper a = {0};
    cm_image_write_options options = CM_IMAGE_WRITE_OPTIONS_INIT;
    options.overwrite = p->force ? CM_OVERWRITE_YES : CM_OVERWRITE_NO;
    if (p->info.classes && p->columns > p->info.classes)
        cli_usage_error(c, "--columns %d: the set has %d classes, one for each column", p->columns, p->info.classes);
    if (!p->columns && p->info.classes) p->columns = p->info.classes < MOST_COLUMNS ? p->info.classes : MOST_COLUMNS;
    if (!p->columns) p->columns = PLAIN_COLUMNS;
    const cm_images shape = images_of(p, 1, NULL);
    cm_status status = cm_image_write_check(NULL, p->path, &shape, &options);
    if (status == CM_OK) status = take(p, &a);
    if (status == CM_OK) name_columns(p, &a);
    if (status == CM_OK) status = fill(p, &a, progress);
    if (status == CM_OK) status = write_page(p, &a, &options);
    give_back(&a);
    return status;
}
