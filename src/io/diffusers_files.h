/* diffusers_files.h - which files of a folder of diffusers hold the weights, and their tensors.
 *
 * Weights are one file, or an index in JSON that says which of several files (shards) holds which tensor; each is
 * safetensors or PyTorch's, and a variant of them ("fp16") may lie beside. */
#ifndef CM_IO_DIFFUSERS_FILES_H
#define CM_IO_DIFFUSERS_FILES_H

#include <jansson.h>

#include "io/tensors.h"

enum { CM_DIFFUSERS_SHARDS = 1000 };
#define CM_DIFFUSERS_WEIGHTS "diffusion_pytorch_model"

typedef struct cm_diffusers_files {
    cm_tensors *shards; /* each at the place where its tensors know it */
    size_t count, opened;
    char variant[64]; /* "" : the plain one */
    /* Of the caller, who is told about all shards as one. */
    cm_progress_fn report;
    void *report_user;
    uint64_t before, total;
} cm_diffusers_files;

/* Of the folder `path`, for the input of the whole: its access, its wish for a variant (weights) and its report hold
 * for the shards; its size and work are set.  out is to be closed after a failure too.  FORMAT for an index that
 * names what is not there or lies outside of the folder, ARGUMENT for a variant that is not there. */
cm_status cmi_diffusers_files_open(cm_input *whole, const char *path, cm_diffusers_files *out);
void cmi_diffusers_files_close(cm_context *context, cm_diffusers_files *files);

/* A JSON file of a folder; *out is the caller's. */
cm_status cmi_diffusers_read_json(cm_context *context, const char *path, json_t **out);

#endif
