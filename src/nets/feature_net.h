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

/* Outputs of the graph in order; both are vectors. */
enum { CM_FEATURE_VALUES, CM_FEATURE_LOGITS };

struct cm_feature_family {
    const char *name, *about;
    int32_t channels, side; /* of the images                                                    */
    int32_t padded;         /* images of this side are cut to their middle; or 0                */
    int32_t blocks;         /* for the description                                              */
    int32_t features, classes;
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
cm_value cmi_feature_linear(cm_feature_net *net, const char *name, cm_value x, int32_t out);

extern const cm_feature_family cmi_feature_lenet, cmi_feature_resnet20, cmi_feature_resnet56;

#endif
