/* output.c - see the header. */
#include "output.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { PATH = 4096 };

/* Whether a name holds exactly one %d, possibly with a width. */
static int good_pattern(const char *pattern)
{
    const char *percent = strchr(pattern, '%');
    if (!percent) return 0;
    const char *end = percent + 1 + strspn(percent + 1, "0123456789");
    return *end == 'd' && end - percent < 4 && !strchr(end, '%');
}

static void path_of(const output *o, size_t i, char path[PATH])
{
    const char *percent = strchr(o->pattern, '%');
    snprintf(path, PATH, "%.*s%0*llu%s", (int)(percent - o->pattern), o->pattern, atoi(percent + 1),
             (unsigned long long)(o->first + i), strchr(percent, 'd') + 1);
}

void output_choose(output *o, const cli *c, const char *page, const char *pattern, const char *fallback)
{
    if (pattern && page) cli_usage_error(c, "give --output or --images, not both");
    if (pattern && !good_pattern(pattern))
        cli_usage_error(c, "--images: '%s' has to hold one %%d, as in out/%%05d.png", pattern);
    if (strlen(pattern ? pattern : "") + 128 > PATH) cli_usage_error(c, "--images: the name is too long");
    o->pattern = pattern;
    o->page = pattern ? NULL : page ? page : fallback;
}

static cm_image_write_options write_options(const output *o)
{
    cm_image_write_options options = CM_IMAGE_WRITE_OPTIONS_INIT;
    if (o->arrays) options.format = CM_IMAGE_FORMAT_PNG; /* for the look before the work alone */
    options.overwrite = o->force ? CM_OVERWRITE_YES : CM_OVERWRITE_NO;
    return options;
}

static cm_images views(const output *o, size_t n, const uint8_t *pixels)
{
    return cm_images_u8(n, o->height, o->width, o->channels, pixels);
}

/* The images as they stand on the page: their sizes. */
static cm_images shown(const output *o, const uint8_t *pixels)
{
    const int32_t times = o->times > 1 ? o->times : 1;
    return cm_images_u8(o->count, o->height * times, o->width * times, o->channels, pixels);
}

static cm_status check_file(const output *o, const char *path, int32_t height, int32_t width)
{
    const cm_images image = cm_images_u8(1, height, width, o->channels ? o->channels : 3, NULL);
    const cm_image_write_options options = write_options(o);
    return cm_image_write_check(NULL, path, &image, &options);
}

/* A trial of every file would take as long as writing them: they are looked for one by one
 * where they may not be replaced, and tried where the folder is another one than before. */
static cm_status check_files(const output *o)
{
    const char *slash = strrchr(o->pattern, '/');
    int one_folder = !slash || strchr(o->pattern, '%') > slash;
    char path[PATH];
    struct stat st;
    size_t stride = one_folder && o->force && o->count > 1 ? o->count - 1 : 1;
    for (size_t i = 0; i < o->count; i += stride) {
        path_of(o, i, path);
        int tried = !one_folder || i == 0 || i + 1 == o->count || (!o->force && lstat(path, &st) == 0);
        cm_status status = tried ? check_file(o, path, o->height, o->width) : CM_OK;
        if (status != CM_OK) return status;
    }
    return CM_OK;
}

cm_status output_check_names(const output *o)
{
    char path[PATH];
    if (o->page) return check_file(o, o->page, 1, 1);
    path_of(o, 0, path);
    return check_file(o, path, 1, 1);
}

cm_status output_open(output *o)
{
    int32_t height, width;
    size_t size = (size_t)o->height * (size_t)o->width * (size_t)o->channels;
    if (o->pattern) return check_files(o);
    const cm_images images = shown(o, NULL);
    if (o->arrays && o->count > SIZE_MAX / size) return CM_ERR_MEMORY;
    if (o->arrays) {
        o->pixels = malloc(o->count * size);
        return o->pixels ? check_file(o, o->page, 1, 1) : CM_ERR_MEMORY;
    }
    cm_status status = cm_image_named_grid_size(&images, o->columns, o->margin, o->names, &height, &width);
    if (status == CM_OK) status = check_file(o, o->page, height, width);
    if (status != CM_OK) return status;
    o->pixels = malloc(o->count * size); /* a page's limits keep the product small */
    return o->pixels ? CM_OK : CM_ERR_MEMORY;
}

int output_is_png(const output *o)
{
    const char *dot = strrchr(o->pattern ? o->pattern : o->page, '.');
    return dot && strcasecmp(dot, ".png") == 0;
}

/* With its note, where there are notes. */
static cm_status write_picture(const output *o, const char *path, const cm_images *image, size_t index, int again)
{
    cm_image_write_options options = write_options(o);
    if (again) options.overwrite = CM_OVERWRITE_YES;
    char *note = o->note ? o->note(o->note_user, o, index) : NULL;
    if (o->note && !note) return CM_ERR_MEMORY;
    options.note = note;
    const cm_status status = cm_image_write(NULL, path, image, &options);
    free(note);
    return status;
}

cm_status output_write_files(output *o, size_t at, size_t n, const uint8_t *pixels, int again)
{
    size_t size = (size_t)o->height * (size_t)o->width * (size_t)o->channels;
    for (size_t i = 0; i < n; i++, o->done++) {
        char path[PATH];
        path_of(o, at + i, path);
        const cm_images image = views(o, 1, pixels + i * size);
        cm_status status = write_picture(o, path, &image, at + i, again);
        if (status != CM_OK) return status;
    }
    return CM_OK;
}

cm_status output_pixels(const output *o, size_t n, const float *images, uint8_t *pixels)
{
    const cm_images from = cm_images_f32(n, o->channels, o->height, o->width, images), to = views(o, n, pixels);
    return cm_images_convert(&from, &to);
}

cm_status output_put_pixels(output *o, size_t n, const uint8_t *pixels)
{
    size_t size = (size_t)o->height * (size_t)o->width * (size_t)o->channels;
    if (!o->page) return output_write_files(o, o->done, n, pixels, 0);
    memcpy(o->pixels + o->done * size, pixels, n * size);
    o->done += n;
    return CM_OK;
}

cm_status output_put(output *o, size_t n, const float *images)
{
    size_t size = (size_t)o->height * (size_t)o->width * (size_t)o->channels;
    uint8_t *pixels = malloc(n * size);
    cm_status status = pixels ? output_pixels(o, n, images, pixels) : CM_ERR_MEMORY;
    if (status == CM_OK) status = output_put_pixels(o, n, pixels);
    free(pixels);
    return status;
}

void *output_enlarged(const void *from, size_t lines, size_t points, size_t bytes, int32_t times)
{
    const size_t k = (size_t)times, line = points * bytes, large = line * k;
    char *to = malloc(lines * k * large);
    for (size_t y = 0; to && y < lines; y++) {
        char *at = to + y * k * large;
        for (size_t x = 0; x < points * k; x++)
            memcpy(at + x * bytes, (const char *)from + y * line + x / k * bytes, bytes);
        for (size_t again = 1; again < k; again++) memcpy(at + again * large, at, large);
    }
    return to;
}

/* In place of the pixels. */
static cm_status enlarge(output *o)
{
    uint8_t *large =
        output_enlarged(o->pixels, o->count * (size_t)o->height, (size_t)o->width, (size_t)o->channels, o->times);
    if (!large) return CM_ERR_MEMORY;
    free(o->pixels);
    o->pixels = large;
    return CM_OK;
}

static cm_status write_page(output *o)
{
    int32_t height, width;
    const cm_images images = shown(o, o->pixels);
    cm_status status = cm_image_named_grid_size(&images, o->columns, o->margin, o->names, &height, &width);
    if (status != CM_OK) return status;
    uint8_t *page = malloc((size_t)height * (size_t)width * (size_t)o->channels);
    if (!page) return CM_ERR_MEMORY;
    const cm_images paper = cm_images_u8(1, height, width, o->channels, page);
    status = cm_image_named_grid(&images, o->columns, o->margin, 128, o->names, &paper);
    if (status == CM_OK) status = write_picture(o, o->page, &paper, 0, 0);
    free(page);
    return status;
}

cm_status output_finish(output *o)
{
    if (o->pattern) return CM_OK;
    if (o->arrays) {
        const cm_images images = views(o, o->count, o->pixels);
        cm_samples_options options = CM_SAMPLES_OPTIONS_INIT;
        options.overwrite = o->force;
        return cm_samples_write(NULL, o->page, &images, o->labels, &options);
    }
    const cm_status status = o->times > 1 ? enlarge(o) : CM_OK;
    return status == CM_OK ? write_page(o) : status;
}

void output_free(output *o)
{
    free(o->pixels);
    free(o->labels);
    free(o->names);
    o->pixels = NULL;
    o->labels = NULL;
    o->names = NULL;
}

void output_tell(const output *o, const cli *c)
{
    if (o->pattern && o->done)
        fprintf(stderr, "%s: %zu of %zu images are written: %s\n", c->program, o->done, o->count, o->pattern);
}

const char *output_name(const output *o)
{
    return o->pattern ? o->pattern : o->page;
}
