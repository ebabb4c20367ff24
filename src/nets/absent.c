/* absent.c - what tensors' names say of files that are no model here: published networks of this kind that the
 * library does not have, of which some would else be taken for one that it has, and parts of a model. */
#include <stdio.h>
#include <string.h>

#include "nets/recognise.h"

static const cm_tensor *find(const cm_tensors *file, const char *prefix, const char *name)
{
    char text[128];
    (void)snprintf(text, sizeof text, "%s%s", prefix, name);
    return cmi_tensors_find(file, text);
}

/* EDM's networks have a time embedding as wide as the network, NCSN++ twice as wide.  A network of two times puts two
 * beside each other. */
static int has_two_times(const cm_tensors *file, const char *prefix)
{
    const cm_tensor *layer = find(file, prefix, "map_layer0.weight"), *first = NULL;
    if (!layer || layer->rank != 2) return 0;
    for (int side = 8; side <= 1024 && !first; side *= 2) {
        char name[64];
        (void)snprintf(name, sizeof name, "enc.%dx%d_conv.weight", side, side);
        first = find(file, prefix, name);
    }
    int64_t width = first && first->rank == 4 ? first->shape[0] : 0;
    return width > 0 && layer->shape[1] > width * (find(file, prefix, "map_noise.freqs") ? 2 : 1) &&
           !find(file, prefix, "out_conv.weight");
}

const char *cmi_absent_network(const cm_tensors *file)
{
    static const char *const prefixes[] = {"", "model.", "unet.", "network.", "net."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const char *p = prefixes[i];
        if (find(file, p, "emb_fourier.scale")) return "EDM2's network with a bandwidth that is learned";
        if (find(file, p, "map_layer0_s.weight")) return "a SongUNet with two towers for two times, as IMM has it";
        if (has_two_times(file, p)) return "a SongUNet with two times, as MeanFlow and SoFlow have it";
    }
    return NULL;
}

int cmi_is_part_of_diffusers(const cm_tensors *file)
{
    static const char *const beginnings[] = {"down_blocks.", "up_blocks.", "mid_block.", "conv_norm_out."};
    for (size_t i = 0; i < file->count; i++)
        for (size_t k = 0; k < sizeof beginnings / sizeof *beginnings; k++)
            if (strncmp(file->tensors[i].name, beginnings[k], strlen(beginnings[k])) == 0) return 1;
    return 0;
}
