/* lenet.c - two convolutions and two linear maps over 28 x 28 gray points (features.md 2): the features of digits. */
#include "nets/feature_net.h"

static void describe(cm_feature_net *net, cm_value x)
{
    cm_graph *g = net->graph;
    x = cmi_relu(g, cmi_feature_conv(net, "conv1", x, 16, 5, 1, 2));
    x = cmi_max_pool(g, x, 2, 2);
    x = cmi_relu(g, cmi_feature_conv(net, "conv2", x, 32, 5, 1, 0));
    x = cmi_max_pool(g, x, 2, 2);
    /* A linear map of channels, rows and columns is a convolution with one window. */
    x = cmi_relu(g, cmi_feature_conv(net, "fc1", x, 64, 5, 1, 0));
    cmi_graph_output(g, x);
    cmi_graph_output(g, cmi_feature_linear(net, "fc2", x, 10, 1));
}

const cm_feature_family cmi_feature_lenet = {.name = "lenet",
                                             .about = "64 features of 28 x 28 gray images, trained on MNIST",
                                             .channels = 1,
                                             .side = 28,
                                             .padded = 32,
                                             .features = 64,
                                             .classes = 10,
                                             .divisor = 127.5f,
                                             .shift = {1},
                                             .scale = {1},
                                             .describe = describe};
