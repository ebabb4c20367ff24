/* squeezenet.c - SqueezeNet 1.1 (Iandola et al. 2016), tapped at seven places. */
#include "nets/perceptual.h"

/* A few channels, then 1 x 1 and 3 x 3 convolutions of these side by side. */
static cm_pair fire(cm_perceptual *net, int index, cm_pair x, int32_t squeezed, int32_t expanded)
{
    const cm_name squeeze = cmi_name_of("%d.squeeze", index), one = cmi_name_of("%d.expand1x1", index);
    const cm_name three = cmi_name_of("%d.expand3x3", index);
    x = cmi_perceptual_conv(net, squeeze.text, x, squeezed, 1, 1, 0);
    const cm_pair a = cmi_perceptual_conv(net, one.text, x, expanded, 1, 1, 0);
    return cmi_perceptual_concat(net, a, cmi_perceptual_conv(net, three.text, x, expanded, 3, 1, 1));
}

static cm_pair tapped(cm_perceptual *net, cm_pair x)
{
    cmi_perceptual_tap(net, x);
    return x;
}

static void describe(cm_perceptual *net, cm_pair x)
{
    x = tapped(net, cmi_perceptual_conv(net, "0", x, 64, 3, 2, 0));
    x = fire(net, 3, cmi_perceptual_pool(net, x, 3, 2, 1), 16, 64);
    x = tapped(net, fire(net, 4, x, 16, 64));
    x = fire(net, 6, cmi_perceptual_pool(net, x, 3, 2, 1), 32, 128);
    x = tapped(net, fire(net, 7, x, 32, 128));
    x = tapped(net, fire(net, 9, cmi_perceptual_pool(net, x, 3, 2, 1), 48, 192));
    x = tapped(net, fire(net, 10, x, 48, 192));
    x = tapped(net, fire(net, 11, x, 64, 256));
    (void)tapped(net, fire(net, 12, x, 64, 256));
}

const cm_perceptual_family cmi_perceptual_squeeze = {.name = "squeeze",
                                                     .about = "SqueezeNet 1.1: seven layers and the smallest file",
                                                     .layers = 7,
                                                     .taps = {1, 4, 7, 9, 10, 11, 12},
                                                     .describe = describe};
