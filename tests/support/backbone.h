/* backbone.h - torchvision's AlexNet with weights by formula (formula.h), in a file. */
#ifndef TESTS_SUPPORT_BACKBONE_H
#define TESTS_SUPPORT_BACKBONE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "nets/checkpoint.h"
#include "support/formula.h"

static inline cm_status backbone_write(cm_context *context, const char *path)
{
    static const struct {
        int index, out, in, kernel;
    } layers[] = {{0, 64, 3, 11}, {3, 192, 64, 5}, {6, 384, 192, 3}, {8, 256, 384, 3}, {10, 256, 256, 3}};
    enum { TENSORS = 10 };
    static char names[TENSORS][32];
    cm_tensor tensors[TENSORS];
    for (int i = 0; i < TENSORS; i++) {
        const int weight = i % 2 == 0, out = layers[i / 2].out, in = layers[i / 2].in, k = layers[i / 2].kernel;
        const size_t n = (size_t)(weight ? out * in * k * k : out);
        (void)snprintf(names[i], sizeof names[i], "features.%d.%s", layers[i / 2].index, weight ? "weight" : "bias");
        float *values = malloc(n * sizeof *values);
        const double scale = weight ? sqrt(6.0 / (in * k * k)) : 0.1;
        for (size_t j = 0; j < n; j++) values[j] = (float)(scale * formula_uniform(names[i], j));
        tensors[i] = (cm_tensor){.name = names[i],
                                 .type = CM_TENSOR_F32,
                                 .rank = weight ? 4 : 1,
                                 .shape = {out, in, k, k},
                                 .count = n,
                                 .bytes = n * sizeof *values,
                                 .data = (const unsigned char *)values};
    }
    const cm_status status = cmi_checkpoint_write(context, path, 1, NULL, tensors, TENSORS, NULL);
    for (int i = 0; i < TENSORS; i++) free((void *)(uintptr_t)tensors[i].data);
    return status;
}

#endif
