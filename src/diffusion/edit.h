/* edit.h - what of the given images a sampling run begins with and keeps
 * (Algorithm 4 of Song et al. 2023, algorithms 3). */
#ifndef CM_DIFFUSION_EDIT_H
#define CM_DIFFUSION_EDIT_H

#include <consistency/edit.h>

#include "diffusion/model.h"
#include "tensor/images.h"

typedef struct cm_edit cm_edit;

/* y: what was given for the image, m: its mask.  x has e->size values. */
typedef struct cm_edit_task {
    const char *name;
    int masked, starts_noisy; /* takes a mask; is noise of its own the start */
    /* Default levels: how many, from where (at a side of 32; 0 = sigma_max) to where. */
    int32_t steps;
    double top, low, low_diffusion;                                                   /* consistency models; others */
    cm_status (*begin)(const cm_edit *e, const double *y, const float *m, double *x); /* x: what is kept of y */
    cm_status (*keep)(const cm_edit *e, const double *y, const float *m, double *x);
    void (*fit)(const cm_edit *e, const double *y, double *x);
} cm_edit_task;

extern const cm_edit_task cmi_edit_inpaint, cmi_edit_colorize, cmi_edit_super_resolve, cmi_edit_stroke,
    cmi_edit_denoise, cmi_edit_general;

/* One call.  Image i of the run is variation i % variations of given image
 * i / variations. */
struct cm_edit {
    const cm_edit_task *task;
    cm_context *context;
    int32_t channels, height, width; /* of the results */
    size_t size, variations;
    cm_sample_options sampling; /* complete; its sigmas may be `levels` */
    double *levels;
    size_t given_n, given_size; /* of one image */
    double *given;              /* A(y) in the general form             */
    float *mask;                /* of every given image, or one for all     */
    size_t mask_step;           /* values between the masks of two images; 0: one for all */
    int mask_gray;              /* one channel for all                                    */
    int from_noise;             /* the official start                                     */
    int cut;                    /* values at -1 and 1 are noise that was cut              */
    double fill, luma[3];
    int32_t factor;
    cm_edit_map map;
    double *work; /* size values, general form */
};

/* options and map are complete (every field of this version); mask may be NULL
 * for tasks without one.  Checks everything but the times. */
cm_status cmi_edit_open(const cm_model *model, const cm_edit_task *task, const cm_edit_options *options,
                        const cm_edit_map *map, const cm_view *given, const cm_view *mask, cm_edit *out);
void cmi_edit_close(cm_edit *edit);
/* A, or its inverse, on size values. */
cm_status cmi_edit_apply(const cm_edit *edit, int inverse, const double *in, double *out);
/* ARGUMENT when the map is not orthogonal. */
cm_status cmi_edit_check_map(const cm_edit *edit);

/* x: unit normals in; the first state out, noise of level `top`.  scratch: size
 * values. */
cm_status cmi_edit_begin(const cm_edit *edit, size_t image, double top, double *x, double *scratch);
/* x = A^-1((1 - m) A(y) + m A(x)) */
cm_status cmi_edit_keep(const cm_edit *edit, size_t image, double *x);
/* Into [-1, 1] without touching what is kept. */
void cmi_edit_fit(const cm_edit *edit, size_t image, double *x);

/* Spherical interpolation of n values; alpha 0 gives z1, 1 gives z2.  Straight
 * where the directions nearly agree or oppose. */
void cmi_slerp(size_t n, const double *z1, const double *z2, double alpha, double *out);

#endif
