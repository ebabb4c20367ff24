/* diffusers_write.h - a folder that diffusers loads as a ConsistencyModelPipeline. */
#ifndef CM_IO_DIFFUSERS_WRITE_H
#define CM_IO_DIFFUSERS_WRITE_H

#include <jansson.h>

#include "io/diffusers_names.h"
#include "io/write_tensors.h"

typedef struct cm_diffusers_model {
    cm_diffusers_layout layout;
    const json_t *unet, *scheduler; /* config.json and scheduler_config.json */
    const json_t *metadata;         /* of the weights: texts by key          */
    int64_t per_head;         /* channels of a head where queries, keys and values of each stand together, else 0 */
    const cm_tensor *tensors; /* under ADM's names                     */
    size_t count;
    uint64_t shard_bytes; /* 0: one file */
} cm_diffusers_model;

cm_status cmi_diffusers_write(cm_context *context, const char *path, int overwrite, const cm_diffusers_model *model,
                              cm_write_report *report);

#endif
