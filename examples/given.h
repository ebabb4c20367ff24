/* given.h - the pictures that a program is given, as a network takes them. */
#ifndef GIVEN_H
#define GIVEN_H

#include "cli.h"

typedef struct given {
    const cli *c;
    const char *const *paths;
    size_t n;
    int fit;                         /* cm_fit, or -1: other sizes end the program             */
    int32_t channels, height, width; /* wanted: 1 or 3 channels                                */
    int masked;                      /* there are masks: what padding adds is generated        */
    const char *mask;                /* a file, white where to generate, or "alpha"            */
    float *images, *masks;           /* n of each; values in [-1, 1], and in [0, 1]            */
} given;

/* Reads all pictures and masks; pictures that do not fit end the program with exit code 2. */
cm_status given_read(given *g);
void given_free(given *g);

cm_images given_images(const given *g, size_t first, size_t n);
cm_images given_masks(const given *g, size_t first, size_t n);

/* The noise of every picture into levels[n]; one below `least` ends the program. */
cm_status given_noise(const given *g, double least, double *levels);

/* Picture i as an image of height x width, each pixel repeated: as it is, without what the mask generates, or (luma)
 * as its luminance. */
void given_show(const given *g, size_t i, int without, const double *luma, int32_t height, int32_t width, float *out);

#endif
