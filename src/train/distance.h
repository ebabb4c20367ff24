/* distance.h - how far the online output is from its target, one number an
 * image (algorithms 4.2, 6).
 *
 *   l1            mean |a - b|
 *   l2            mean (a - b)^2
 *   l2-32         l2 after resizing both to 32 x 32, bilinear
 *   pseudo-huber  sqrt(|a - b|^2 + c^2) - c, the norm over the whole image;
 *                 c = 0 is the plain norm
 *   linf          max |a - b|
 *   lpips         by a network, which the objective asks for (perceptual_distance.h) */
#ifndef CM_TRAIN_DISTANCE_H
#define CM_TRAIN_DISTANCE_H

#include <consistency/trainer.h>

#include "base/choice.h"
#include "base/context.h"

/* A distance between images of channels x height x width. */
typedef struct cm_image_distance {
    int32_t kind; /* cm_distance */
    double huber_c;
    int32_t channels, height, width;
    int32_t sum; /* l1, l2: the sum over the values instead of their mean */
} cm_image_distance;

/* What is known of a kind. */
typedef struct cm_distance_row {
    const char *name, *about;
    int reads_c, reads_sum;                     /* huber_c, sum_pixels */
    size_t (*work)(const cm_image_distance *d); /* NULL: none */
    int of_network;                             /* the objective's nets have it; there is no `value` */
    /* d(a, b); g (may be NULL): d/da. */
    double (*value)(const cm_image_distance *d, const double *a, const double *b, double *g, double *work);
    /* hv = H v; NULL where equal images have no second derivative. */
    void (*curvature)(const cm_image_distance *d, const double *v, double *hv);
} cm_distance_row;

/* By number; NULL past the end. */
const cm_distance_row *cmi_distance_at(int32_t kind);
extern const cm_choice_list cmi_distance_choices;

/* Doubles of work that cmi_distance_of needs for one image. */
size_t cmi_distance_work(const cm_image_distance *d);
/* d(a, b) of one image in planes; gradient (may be NULL): d/da. */
double cmi_distance_of(const cm_image_distance *d, const double *a, const double *b, double *gradient, double *work);

/* hv = H v with the Hessian H of x -> d(x, a) at x = a, which is the same for every a.  The kind has to have one, and
 * of pseudo-huber c has to be above 0. */
void cmi_distance_curvature(const cm_image_distance *d, const double *v, double *hv);

/* Bilinear resize of one plane, half-pixel centres, edges clamped, no antialiasing. */
void cmi_bilinear(int32_t h, int32_t w, const double *in, int32_t oh, int32_t ow, double *out);

#endif
