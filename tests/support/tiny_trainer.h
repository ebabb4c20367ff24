/* tiny_trainer.h - by public calls: a trainer of any objective with the network that it accepts, and steps of it. */
#ifndef TESTS_SUPPORT_TINY_TRAINER_H
#define TESTS_SUPPORT_TINY_TRAINER_H

#include <string.h>

#include <consistency.h>

enum { TINY_SIDE = 8, TINY_CHANNELS = 3, TINY_VALUES = TINY_SIDE * TINY_SIDE * TINY_CHANNELS, TINY_BATCH = 2 };

#define TINY(more, precond)                                                                                          \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"in_channels\": 3, \"model_channels\": 8, "      \
    "\"channel_mult\": [1, 1], \"num_blocks\": 1, \"attn_resolutions\": [4], \"label_dim\": 2" more                  \
    "}, \"precond\": {\"type\": \"" precond "\"}}"
#define TINY_JUMP TINY(", \"out_channels\": 3", "ecm")
#define TINY_DENOISER TINY(", \"out_channels\": 3", "edm")
#define TINY_TWO_TIMES TINY(", \"out_channels\": 3, \"second_time\": \"concat\"", "average-velocity")
#define TINY_GUIDED TINY(", \"out_channels\": 6, \"second_time\": \"concat\", \"conditions\": 3", "average-velocity")

/* Options of an objective with a batch of two images. */
static inline cm_status tiny_options(cm_context *context, const char *objective, cm_train_options **o)
{
    const int pairs = strcmp(objective, "cmt") == 0 ? 3 : 1;
    cm_status status = cm_train_options_create(context, o);
    if (status == CM_OK) status = cm_train_options_set(*o, "objective", objective);
    if (status == CM_OK && pairs > 1) status = cm_train_options_set_number(*o, "cmt_nfe", pairs);
    if (status == CM_OK) status = cm_train_options_set_number(*o, "batch", TINY_BATCH * pairs);
    if (status == CM_OK) status = cm_train_options_set(*o, "steps", "10");
    if (status == CM_OK) status = cm_train_options_set(*o, "threads", "1");
    return status;
}

/* Each objective accepts one of these pairs. */
static inline cm_status tiny_trainer_with(cm_context *context, const cm_train_options *o, cm_trainer **out)
{
    static const char *const pairs[][2] = {{TINY_DENOISER, NULL},      {TINY_DENOISER, TINY_DENOISER},
                                           {TINY_DENOISER, TINY_JUMP}, {TINY_JUMP, NULL},
                                           {TINY_TWO_TIMES, NULL},     {TINY_GUIDED, NULL}};
    cm_status status = CM_ERR_ARGUMENT;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && (status == CM_ERR_ARGUMENT || status == CM_ERR_SHAPE);
         i++) {
        cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
        status = cm_model_create(context, pairs[i][0], 1, &inputs.model);
        if (status == CM_OK && pairs[i][1]) status = cm_model_create(context, pairs[i][1], 2, &inputs.teacher);
        if (status == CM_OK) status = cm_trainer_create(&inputs, o, out);
        cm_model_free(inputs.model);
        cm_model_free(inputs.teacher);
    }
    return status;
}

static inline cm_status tiny_trainer_open(cm_context *context, const char *objective, cm_trainer **out)
{
    cm_train_options *o = NULL;
    cm_status status = tiny_options(context, objective, &o);
    if (status == CM_OK) status = tiny_trainer_with(context, o, out);
    cm_train_options_free(o);
    return status;
}

static inline cm_status tiny_trainer_step(cm_trainer *t)
{
    float images[TINY_BATCH * TINY_VALUES];
    const int32_t labels[TINY_BATCH] = {0, 1};
    cm_condition condition = CM_CONDITION_INIT;
    const cm_images view = cm_images_f32(TINY_BATCH, TINY_CHANNELS, TINY_SIDE, TINY_SIDE, images);
    condition.labels = labels;
    for (int i = 0; i < TINY_BATCH * TINY_VALUES; i++) images[i] = (float)(i * 7 % 11) / 5 - 1;
    return cm_trainer_step(t, &view, &condition, NULL);
}

#endif
