/* feature_net.h - networks whose outputs are features of images: what metrics compare.
 *
 * A family is a row, like those of net.h, and a description over ops.  Normalisation by batch is folded into the
 * convolution before it when weights are read, and what no file holds (a map that copies channels) is made then.
 *
 * To add one: a file like cifar_resnet.c with its row, a line at the end of this header and one in feature_net.c. */
#ifndef CM_NETS_FEATURE_NET_H
#define CM_NETS_FEATURE_NET_H

#include "graph/params.h"
#include "io/tensors.h"
#include "nets/layers.h"

typedef struct cm_feature_family cm_feature_family;

/* A network that is described, or its weights. */
typedef struct cm_feature_net {
    cm_context *context;
    const cm_feature_family *family;
    cm_graph *graph;
    struct cm_feature_param *made_of; /* one for each parameter of the graph */
    size_t capacity;
    cm_tensors *file;
    cm_param_source *sources;
    cm_params *params;
} cm_feature_net;

/* Outputs of the graph in order: vectors but for SPATIAL, which is a map whose first channels count.  A network may
 * end after the second. */
enum {
    CM_FEATURE_VALUES,
    CM_FEATURE_LOGITS,
    CM_FEATURE_SCORES, /* logits without bias                  */
    CM_FEATURE_SPATIAL,
    CM_FEATURE_EARLY, /* and two more: means of earlier blocks */
    CM_FEATURE_OUTPUTS = CM_FEATURE_EARLY + 3
};

/* How images come to the network's size.  A point of the network's lies at (i + 0.5) in / out - 0.5 or at i in / out
 * of an image, between the two next points, the last of which is repeated beyond the border. */
enum { CM_FEATURE_AS_IT_IS, CM_FEATURE_BY_CENTRES, CM_FEATURE_BY_CORNERS };

struct cm_feature_family {
    const char *name, *about;
    int32_t channels, side; /* of the images                                                    */
    int32_t padded;         /* images of this side are cut to their middle; or 0                */
    int32_t blocks;         /* for the description                                              */
    int32_t features, classes;
    int32_t resize;     /* images of any size are taken by this rule, CM_FEATURE_BY_*  */
    int32_t spatial[2]; /* points and channels of SPATIAL; 0: there is none            */
    int32_t early[3];   /* features of earlier blocks; 0: there are none               */
    int32_t slice;      /* images at a time; 0: 8                                      */
    const char *marker; /* a tensor without which a file is not taken for it by itself */
    /* A byte u becomes (u / divisor - shift) / scale of its channel. */
    float divisor, shift[3], scale[3];
    void (*describe)(cm_feature_net *net, cm_value x);
};

/* Family `index`, NULL past the end. */
const cm_feature_family *cmi_feature_family_at(size_t index);

/* Describes a family and finds its tensors in the file, which has to stay open.  FORMAT, naming what is missing, of
 * another shape or not of the network; closed when it fails. */
cm_status cmi_feature_net_open(cm_context *context, const cm_feature_family *family, cm_tensors *file,
                               cm_feature_net *out);
void cmi_feature_net_close(cm_feature_net *net);

/* --- for descriptions: the file's tensors are NAME.weight and NAME.bias --------------------------- */

cm_value cmi_feature_conv(cm_feature_net *net, const char *name, cm_value x, int32_t out, int32_t k, int32_t s,
                          int32_t pad);
/* Without bias, then normalised by NORM.{weight, bias, running_mean, running_var}; r is added where it is not NULL.
 */
cm_value cmi_feature_conv_norm(cm_feature_net *net, const char *name, const char *norm, double eps, cm_value x,
                               const cm_value *r, int32_t out, int32_t k, int32_t s);
/* Every second row and column, with half as many channels of zeros before and behind. */
cm_value cmi_feature_widen(cm_feature_net *net, cm_value x);
cm_value cmi_feature_linear(cm_feature_net *net, const char *name, cm_value x, int32_t out, int has_bias);
/* The same with the names of NORM's four tensors (gamma, beta, mean, variance; a NULL gamma is 1), and with the
 * convolution's attributes, whose scale is 1 where r is not NULL. */
cm_value cmi_feature_conv_normed(cm_feature_net *net, const char *name, const char *norm, const char *const *members,
                                 double eps, cm_value x, const cm_value *r, const cm_attr *attr);
extern const char *const cmi_feature_norm[4]; /* PyTorch's */

extern const cm_feature_family cmi_feature_lenet, cmi_feature_resnet20, cmi_feature_resnet56, cmi_feature_inception,
    cmi_feature_inception_pytorch;

#endif
