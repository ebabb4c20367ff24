/* alexnet.c - AlexNet as torchvision has it (Krizhevsky 2014), tapped behind each of its five convolutions. */
#include "nets/perceptual.h"

static cm_pair layer(cm_perceptual *net, const char *name, cm_pair x, int32_t out, int32_t k, int32_t s, int32_t pad)
{
    x = cmi_perceptual_conv(net, name, x, out, k, s, pad);
    cmi_perceptual_tap(net, x);
    return x;
}

static void describe(cm_perceptual *net, cm_pair x)
{
    x = layer(net, "0", x, 64, 11, 4, 2);
    x = layer(net, "3", cmi_perceptual_pool(net, x, 3, 2, 0), 192, 5, 1, 2);
    x = layer(net, "6", cmi_perceptual_pool(net, x, 3, 2, 0), 384, 3, 1, 1);
    x = layer(net, "8", x, 256, 3, 1, 1);
    (void)layer(net, "10", x, 256, 3, 1, 1);
}

const cm_perceptual_family cmi_perceptual_alex = {.name = "alex",
                                                  .about = "AlexNet: the fastest, and nearest to what people judge",
                                                  .layers = 5,
                                                  .taps = {1, 4, 7, 9, 11},
                                                  .describe = describe};
