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

/* Blocks with a second affine, which takes the second time. */
static int has_affine_s(const cm_tensors *file)
{
    for (size_t i = 0; i < file->count; i++)
        if (strstr(file->tensors[i].name, ".affine_s.")) return 1;
    return 0;
}

const char *cmi_absent_network(const cm_tensors *file)
{
    static const char *const prefixes[] = {"", "model.", "unet.", "network.", "net."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const char *p = prefixes[i];
        if (find(file, p, "emb_fourier.scale")) return "EDM2's network with a bandwidth that is learned";
        if (find(file, p, "map_layer0_s.weight") && has_affine_s(file))
            return "a SongUNet whose blocks take a second time, as CTM has it";
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
