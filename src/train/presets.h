/* presets.h - named sets of options and the networks that go with them. */
#ifndef CM_TRAIN_PRESETS_H
#define CM_TRAIN_PRESETS_H

#include "nets/config.h"
#include "train/settings.h"

/* fields: objective and options as "a=1 b=2"; source: where the numbers are from; config: JSON of the
 * network, NULL where the pictures decide it. */
typedef struct cm_preset {
    const char *name, *about, *source, *fields, *config;
} cm_preset;

/* NULL past the end. */
const cm_preset *cmi_preset_at(size_t index);
cm_status cmi_preset_apply(cm_train_settings *s, const char *name);
/* ARGUMENT, with every difference, when this is another network than the preset's. */
cm_status cmi_preset_check(const char *name, const cm_net_config *net);

#endif
