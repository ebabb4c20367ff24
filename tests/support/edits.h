/* edits.h - what the tests of editing share: two models, options and pictures. */
#ifndef CM_TESTS_SUPPORT_EDITS_H
#define CM_TESTS_SUPPORT_EDITS_H

#include <stdlib.h>

#include "base/rng.h"
#include "support/samplers.h"
#include "support/pictures.h"

#define MODEL "tests/data/models/digits_consistency.safetensors"
enum { SIDE = 32, SIZE = SIDE * SIDE };

/* A colour model of fresh weights: what it draws is nothing, what it keeps has
 * to be kept all the same. */
#define COLOUR                                                                                                       \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 16, \"img_channels\": 3, \"model_channels\": 8, "    \
    "\"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": []}, "                                       \
    "\"precond\": {\"type\": \"cm\", \"sigma_data\": 0.5, \"sigma_min\": 0.002, \"sigma_max\": 80}, "                \
    "\"image\": {\"channels\": 3, \"height\": 16, \"width\": 16, \"labels\": 0}}"
enum { CSIDE = 16, CPLANE = CSIDE * CSIDE, CSIZE = 3 * CPLANE };

static inline cm_model *load(int colour)
{
    cm_model *m;
    if (colour) OK(cm_model_create(NULL, COLOUR, 3, &m));
    else OK(cm_model_load(NULL, MODEL, NULL, &m));
    return m;
}

static const int32_t labels[64] = {3, 3, 3, 3, 5, 5, 5, 5, 8, 8, 8, 8};
static cm_sample_options sampling;
static cm_condition condition = CM_CONDITION_INIT;

static inline cm_edit_options options(int colour, int variations)
{
    cm_edit_options o;
    cm_sample_options_init(&sampling, sizeof sampling);
    sampling.seed = 7;
    condition.labels = colour ? NULL : labels;
    sampling.condition = &condition;
    cm_edit_options_init(&o, sizeof o);
    o.variations = variations;
    o.sampling = &sampling;
    return o;
}

/* Where results go. */
#define AT(n, c, side, x)                                                                                            \
    (&(const cm_images){sizeof(cm_images), CM_F32, (n), (c), (side), (side), CM_LAYOUT_PLANAR, 0, 0, 0, 0, (x)})
#define GRAY(n, x) AT(n, 1, SIDE, x)
#define COLOURS(n, x) AT(n, 3, CSIDE, x)

/* n images whose values are those of bytes, some of them extreme. */
static inline float *pictures(size_t n, size_t size)
{
    uint64_t state = seeded(5);
    float *x = malloc(n * size * sizeof *x);
    for (size_t i = 0; i < n * size; i++) {
        int byte = random_int(&state, 0, 255);
        x[i] = (float)(i % 7 == 0 ? (byte & 1) * 255 : byte) / 127.5f - 1.0f;
    }
    return x;
}

static inline uint8_t byte_of(float v)
{
    uint8_t b;
    OK(floats_to_bytes(1, 1, 1, 1, &v, &b));
    return b;
}

#endif
