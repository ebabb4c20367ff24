/* diffusers_config.h - the JSON files of a diffusers folder as the configuration of a native file (networks D). */
#ifndef CM_IO_DIFFUSERS_CONFIG_H
#define CM_IO_DIFFUSERS_CONFIG_H

#include <jansson.h>

#include "io/diffusers_names.h"

/* Where each stands below the folder of a pipeline. */
#define CM_DIFFUSERS_INDEX "model_index.json"
#define CM_DIFFUSERS_UNET "unet"
#define CM_DIFFUSERS_CONFIG "config.json"
#define CM_DIFFUSERS_SCHEDULER "scheduler"
#define CM_DIFFUSERS_SCHEDULER_CONFIG "scheduler_config.json"
#define CM_DIFFUSERS_PIPELINE_CLASS "ConsistencyModelPipeline"
#define CM_DIFFUSERS_UNET_CLASS "UNet2DModel"
#define CM_DIFFUSERS_SCHEDULER_CLASS "CMStochasticIterativeScheduler"
#define CM_DIFFUSERS_VERSION "0.18.0" /* the first with such a pipeline */
/* In the metadata of weights that we have written: how the model held its attention (attention_layout of adm). */
#define CM_DIFFUSERS_ATTENTION "consistency.attention_layout"

typedef struct cm_diffusers_config {
    cm_diffusers_layout layout;
    json_t *network, *precond, *image; /* as in the metadata of a native file   */
    int64_t grid;                      /* num_train_timesteps; 0: not said      */
    int assumed_size;                  /* no sample_size: that of the published */
} cm_diffusers_config;

/* Each of the three texts; `what` is its path, for messages.  FORMAT for what is no such file, UNSUPPORTED for what
 * other classes or the ADM network cannot be.  out is to be released after a failure too. */
cm_status cmi_diffusers_read_index(const char *what, const json_t *index);
cm_status cmi_diffusers_read_unet(const char *what, const json_t *unet, cm_diffusers_config *out);
/* scheduler NULL: diffusers' defaults. */
cm_status cmi_diffusers_read_scheduler(const char *what, const json_t *scheduler, cm_diffusers_config *out);
void cmi_diffusers_config_release(cm_diffusers_config *config);

#endif
