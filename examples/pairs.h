/* pairs.h - two sets whose images belong together, in their order: how far each is from its partner. */
#ifndef PAIRS_H
#define PAIRS_H

#include "cli.h"

typedef struct pairs_options {
    const char *metrics;  /* with commas: psnr, ssim, lpips-NET; NULL: psnr and ssim */
    const char *features; /* torchvision's file of the network of lpips-NET           */
    const char *lin;      /* the layers' weights                                      */
    uint64_t limit;       /* pairs at most; 0: all                                     */
    int json, quiet;
} pairs_options;

cm_status pairs_compare(const cli *c, cm_context *context, const pairs_options *o, const char *a, const char *b);

#endif
