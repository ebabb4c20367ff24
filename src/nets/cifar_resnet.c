/* cifar_resnet.c - residual networks of 6 n + 2 layers over 32 x 32 points (He et al. 2015, 4.2; features.md 1). */
#include "nets/feature_net.h"

static const double EPS = 1e-5;

/* relu(shortcut(x) + norm(conv(relu(norm(conv(x)))))). */
static cm_value block(cm_feature_net *net, const char *name, cm_value x, int32_t width, int32_t stride)
{
    cm_graph *g = net->graph;
    const cm_value shortcut = stride == 1 ? x : cmi_feature_widen(net, x);
    cm_value h = cmi_feature_conv_norm(net, cmi_name_of("%s.conv1", name).text, cmi_name_of("%s.bn1", name).text, EPS,
                                       x, NULL, width, 3, stride);
    h = cmi_relu(g, h);
    h = cmi_feature_conv_norm(net, cmi_name_of("%s.conv2", name).text, cmi_name_of("%s.bn2", name).text, EPS, h,
                              &shortcut, width, 3, 1);
    return cmi_relu(g, h);
}

static void describe(cm_feature_net *net, cm_value x)
{
    cm_graph *g = net->graph;
    x = cmi_relu(g, cmi_feature_conv_norm(net, "conv1", "bn1", EPS, x, NULL, 16, 3, 1));
    for (int level = 0; level < 3; level++)
        for (int i = 0; i < net->family->blocks; i++)
            x = block(net, cmi_name_of("layer%d.%d", level + 1, i).text, x, 16 << level, level && !i ? 2 : 1);
    x = cmi_mean_pool(g, x, 0, 1);
    cmi_graph_output(g, x);
    cmi_graph_output(g, cmi_feature_linear(net, "linear", x, 10, 1));
}

#define RESNET(title, n)                                                                                             \
    {                                                                                                                \
        .name = title, .about = "64 features of 32 x 32 colour images, trained on CIFAR-10", .channels = 3,          \
        .side = 32, .blocks = n, .features = 64, .classes = 10, .divisor = 255, .shift = {0.485f, 0.456f, 0.406f},   \
        .scale = {0.229f, 0.224f, 0.225f}, .describe = describe                                                      \
    }
const cm_feature_family cmi_feature_resnet20 = RESNET("resnet20", 3), cmi_feature_resnet56 = RESNET("resnet56", 9);
