/* perceptual_distance.h - LPIPS as the distance of an objective: one network for all threads, which each take one
 * pair of images at a time through it and back. */
#ifndef CM_TRAIN_PERCEPTUAL_DISTANCE_H
#define CM_TRAIN_PERCEPTUAL_DISTANCE_H

#include "graph/plan.h"
#include "nets/perceptual.h"
#include "train/distance.h"
#include "train/settings.h"

typedef struct cm_perceptual_distance cm_perceptual_distance;

/* What is asked of it. */
typedef enum cm_perceptual_use {
    CM_PERCEPTUAL_VALUE,     /* cmi_perceptual_distance_of                       */
    CM_PERCEPTUAL_CURVATURE, /* cmi_perceptual_curvature_of, without the slope    */
    CM_PERCEPTUAL_SLOPE      /* ... with it                                       */
} cm_perceptual_use;

/* Opens the files that the settings name, for images of the size of `images`. */
cm_status cmi_perceptual_distance_open(cm_context *context, const cm_train_settings *settings,
                                       const cm_image_distance *images, cm_perceptual_use use,
                                       cm_perceptual_distance **out);
/* The same of files and a shape. */
cm_status cmi_perceptual_distance_create(cm_context *context, const char *weights, const char *lin,
                                         const cm_perceptual_shape *shape, cm_perceptual_distance **out);
void cmi_perceptual_distance_close(cm_perceptual_distance *distance);
/* What each thread needs. */
cm_status cmi_perceptual_distance_exec(const cm_perceptual_distance *distance, cm_exec **out);
/* d(a, b) of one image in planes, and the gradient with respect to a. */
cm_status cmi_perceptual_distance_of(const cm_perceptual_distance *distance, cm_exec *exec, const double *a,
                                     const double *b, double *value, double *gradient);
/* hv = H v with the Hessian H of x -> d(x, a) at x = a, of one image in planes; slope (NULL with CURVATURE): the
 * gradient of <v, H v> with respect to a. */
cm_status cmi_perceptual_curvature_of(const cm_perceptual_distance *distance, cm_exec *exec, const double *a,
                                      const double *v, double *hv, double *slope);
/* Of the weights, and of each thread. */
size_t cmi_perceptual_distance_bytes(const cm_perceptual_distance *distance, size_t *of_thread);

#endif
