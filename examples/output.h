/* output.h - where a program's pictures go: one page of all, or a file an image. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "cli.h"

typedef struct output {
    const char *page, *pattern; /* one of the two: a file's name; a name with one %d */
    int arrays;                 /* page is an .npz file of all images         */
    int32_t *labels;            /* of all images, for it; or NULL             */
    int force;                  /* replace existing files                     */
    int32_t margin, columns;    /* of the page                                */
    int32_t times;              /* each point of an image is so many on the page, both ways; 0: one */
    const char **names;         /* over its columns, or NULL                  */
    int32_t channels, height, width;
    uint64_t first; /* number of the first file                   */
    size_t count;   /* images in all                              */
    size_t done;    /* images put so far                          */
    uint8_t *pixels;
    /* The note of a page, or of file `index`; free() ends it, NULL is a lack of memory.  NULL: no notes. */
    char *(*note)(void *user, const struct output *o, size_t index);
    void *note_user;
} output;

/* --output and --images as given; `fallback` is the page where there is neither.  Ends
 * the program when they are wrong. */
void output_choose(output *o, const cli *c, const char *page, const char *pattern, const char *fallback);

/* Whether pictures are written as PNG, by their name. */
int output_is_png(const output *o);
/* Whether the names can be written, as far as that can be known before the sizes are. */
cm_status output_check_names(const output *o);
/* With columns, sizes and count filled in: whether everything can be written; then
 * images may be put.  A page is held as bytes until it is whole; files are written at
 * once, so those that are there are whole whatever happens later. */
cm_status output_open(output *o);
cm_status output_put(output *o, size_t n, const float *images);
/* output_put in two steps, for images that another process has made: their pixels, and then these. */
cm_status output_pixels(const output *o, size_t n, const float *images, uint8_t *pixels);
cm_status output_put_pixels(output *o, size_t n, const uint8_t *pixels);
/* The files of images at, at + 1, ... of all; again: those that are there are replaced. */
cm_status output_write_files(output *o, size_t at, size_t n, const uint8_t *pixels, int again);
/* Writes the page. */
cm_status output_finish(output *o);
void output_free(output *o);

/* Lines of so many points of so many bytes, each point as a square of times x times; free() ends it, NULL is a lack
 * of memory. */
void *output_enlarged(const void *from, size_t lines, size_t points, size_t bytes, int32_t times);

/* Says on standard error how many files a run that failed has written, if any. */
void output_tell(const output *o, const cli *c);
const char *output_name(const output *o);

#endif
