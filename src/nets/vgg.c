/* vgg.c - VGG16 (Simonyan and Zisserman 2015): five blocks of 3 x 3 convolutions, tapped at the end of each. */
#include "nets/perceptual.h"

static void describe(cm_perceptual *net, cm_pair x)
{
    static const struct {
        const char *name;
        int32_t out;
        int pool, tap; /* before and behind */
    } layers[] = {{"0", 64, 0, 0},   {"2", 64, 0, 1},   {"5", 128, 1, 0},  {"7", 128, 0, 1},  {"10", 256, 1, 0},
                  {"12", 256, 0, 0}, {"14", 256, 0, 1}, {"17", 512, 1, 0}, {"19", 512, 0, 0}, {"21", 512, 0, 1},
                  {"24", 512, 1, 0}, {"26", 512, 0, 0}, {"28", 512, 0, 1}};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        if (layers[i].pool) x = cmi_perceptual_pool(net, x, 2, 2, 0);
        x = cmi_perceptual_conv(net, layers[i].name, x, layers[i].out, 3, 1, 1);
        if (layers[i].tap) cmi_perceptual_tap(net, x);
    }
}

const cm_perceptual_family cmi_perceptual_vgg = {.name = "vgg",
                                                 .about = "VGG16: the one that models are trained with",
                                                 .layers = 5,
                                                 .taps = {3, 8, 15, 22, 29},
                                                 .describe = describe};
