/* perceptual.h - LPIPS (Zhang et al. 2018): how far two images are apart to the features of a network that was
 * trained to name what is in pictures.
 *
 * A family is a row and a description over pairs of values, one of each image, that go through the same layers; the
 * graph ends in one distance a tapped layer and their sum, so a plan of it for training gives the gradient.
 *
 * To add one: a file like vgg.c with its row, a line at the end of this header and one in perceptual.c. */
#ifndef CM_NETS_PERCEPTUAL_H
#define CM_NETS_PERCEPTUAL_H

#include <consistency/metrics.h>

#include "graph/params.h"
#include "io/tensors.h"
#include "nets/layers.h"

enum { CM_PERCEPTUAL_LAYERS = 7 }; /* at most */

typedef struct cm_perceptual_family cm_perceptual_family;

/* The files that a network's weights lie in. */
typedef struct cm_perceptual_files {
    const cm_perceptual_family *family;
    cm_tensors backbone;
    cm_tensors lin; /* of the layers                                     */
    int has_lin;    /* else they are in the same file                    */
    int uniform;    /* no lin: all of them are 1                         */
} cm_perceptual_files;

typedef struct cm_perceptual_shape {
    int32_t channels, height, width; /* of the images; one channel is copied to three      */
    int32_t side;                    /* both are resized to side x side first; or 0         */
    int mean;                        /* means of windows instead of their maxima           */
    int map;                         /* distances of each point of an image, not their mean */
    int curved;                      /* a single image with a tangent v: <v, H v> / 2 for the distance of two, where
                                        H is the Hessian of the distance by one of them, both being that image */
} cm_perceptual_shape;

/* A network that is described for images of one shape, and its weights.  Inputs: two images in [-1, 1], or one.
 * Outputs: a distance of each layer, then their sum. */
typedef struct cm_perceptual {
    cm_context *context;
    const cm_perceptual_family *family;
    cm_perceptual_shape shape;
    cm_graph *graph;
    cm_param_source *sources;
    cm_params *params;
    cm_value sum;
    int layers; /* described */
} cm_perceptual;

/* A value of each of the two images; of a single one twice the same. */
typedef struct cm_pair {
    cm_value x, y;
} cm_pair;

struct cm_perceptual_family {
    const char *name, *about;
    int32_t layers;
    int32_t taps[CM_PERCEPTUAL_LAYERS]; /* the modules of `features` behind which they stand */
    void (*describe)(cm_perceptual *net, cm_pair x);
};

/* Family `index`, NULL past the end. */
const cm_perceptual_family *cmi_perceptual_family_at(size_t index);

/* Opens the files; network NULL: the one whose tensors the first has; lin: NULL where it holds these too.  What a
 * failure leaves is closed. */
cm_status cmi_perceptual_files_open(cm_context *context, const char *network, const char *weights, const char *lin,
                                    cm_perceptual_files *out);
void cmi_perceptual_files_close(cm_perceptual_files *files);

/* The files, which have to stay open, are looked through for each parameter: torchvision's names, or those of a
 * checkpoint of the whole LPIPS module.  Other tensors (a classifier's) are passed over.  FORMAT, naming what is
 * missing or of another shape; SHAPE: images too small for the network. */
cm_status cmi_perceptual_open(cm_context *context, cm_perceptual_files *files, const cm_perceptual_shape *shape,
                              cm_perceptual *out);
void cmi_perceptual_close(cm_perceptual *net);

/* The side that images of a width are resized to by a rule CM_LPIPS_RESIZE_*; 0: none. */
int32_t cmi_perceptual_side(int32_t resize, int32_t width);

/* --- for descriptions --------------------------------------------------------------------------------- */

/* Convolution and ReLU; the file's tensors are features.NAME.weight and .bias. */
cm_pair cmi_perceptual_conv(cm_perceptual *net, const char *name, cm_pair x, int32_t out, int32_t k, int32_t s,
                            int32_t pad);
cm_pair cmi_perceptual_pool(cm_perceptual *net, cm_pair x, int32_t kernel, int32_t stride, int ceil);
cm_pair cmi_perceptual_concat(cm_perceptual *net, cm_pair a, cm_pair b);
/* The next layer whose values are compared. */
void cmi_perceptual_tap(cm_perceptual *net, cm_pair x);

extern const cm_perceptual_family cmi_perceptual_vgg, cmi_perceptual_alex, cmi_perceptual_squeeze;

#endif
