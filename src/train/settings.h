/* settings.h - the public options by name: one table line each. */
#ifndef CM_TRAIN_SETTINGS_H
#define CM_TRAIN_SETTINGS_H

#include <jansson.h>

#include <consistency/trainer.h>

#include "nets/config.h"
#include "train/curriculum.h"
#include "train/ema.h"
#include "train/objective.h"
#include "train/optim.h"

/* Defaults of the objective in o->objective for every field. */
void cm_settings_defaults(cm_train_options *o);
cm_status cm_settings_set(cm_train_options *o, const char *name, const char *value);
/* All fields; only those that decide the course of training when course is 1. */
/* All members of an object as cm_settings_json gives it. */
cm_status cm_settings_read(cm_train_options *options, const json_t *object);
json_t *cm_settings_json(const cm_train_options *o, int course);
/* Ranges, fields without effect on the objective, combinations that cannot be. */
cm_status cm_settings_check(const cm_train_options *o);
/* Combinations that are allowed but hardly meant, to the log. */
void cm_settings_warn(const cm_context *context, const cm_train_options *o);

const cm_objective *cm_settings_objective(const cm_train_options *o);
/* The same as the parts want them; channels, height, width from the model. */
cm_objective_settings cm_settings_of_objective(const cm_train_options *o, int32_t channels, int32_t height,
                                               int32_t width);
cm_curriculum cm_settings_of_curriculum(const cm_train_options *o);
cm_optim cm_settings_of_optim(const cm_train_options *o);
/* "0.999", "warmup-0.999", "halflife-500000" of average i. */
void cm_settings_ema_name(const cm_train_options *o, int i, char *out, size_t size);

/* presets.c: name, what it is, where its numbers are from, objective and fields as
 * "a=1 b=2", network. */
typedef struct cm_preset {
    const char *name, *about, *source, *fields, *config;
} cm_preset;
const cm_preset *cm_preset_at(size_t index);
cm_status cm_preset_apply(cm_train_options *o, const char *name);
/* ARGUMENT, with every difference, when this is another network than the preset's. */
cm_status cm_preset_check(const char *name, const cm_net_config *net);

#endif
