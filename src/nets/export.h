/* export.h - the formats that a model is written in, each a row of one table.
 *
 * To add one: a file with its row, a line in export.c, and a member of cm_model_format. */
#ifndef CM_NETS_EXPORT_H
#define CM_NETS_EXPORT_H

#include <consistency/model.h>

#include "base/choice.h"
#include "io/diffusers_config.h"
#include "nets/checkpoint.h"

/* A model that is to be written. */
typedef struct cm_export {
    cm_context *context;
    const char *path;
    const cm_save_options *options;
    const json_t *config; /* as in a native file */
    const cm_net_config *net;
    int32_t height, width; /* of its images */
    /* How it is preconditioned: a name, numbers, the rule of the network's time (CM_TIME_*). */
    struct {
        const char *name, *scheduler; /* scheduler: the class of diffusers that has it, or NULL */
        double sigma_data, sigma_min, sigma_max;
        int32_t time;
    } precond;
    const cm_graph *graph;
    const cm_param_source *sources;
    const cm_tensor *table; /* written besides, or NULL */
} cm_export;

typedef struct cm_export_format {
    const char *name, *about;
    /* The tensors are of the types that the options say.  UNSUPPORTED where the format cannot say what the model is.
     */
    cm_status (*write)(const cm_export *model, const cm_tensors *tensors, cm_write_report *report);
    int has_shards; /* may be several files */
} cm_export_format;

/* The row of diffusers. */
cm_status cmi_export_diffusers(const cm_export *model, const cm_tensors *tensors, cm_write_report *report);

/* By cm_model_format; an entry of the list that users are shown. */
cm_choice cmi_export_choice(size_t index);
/* ARGUMENT for options out of range; else what the format's row says. */
cm_status cmi_export_write(const cm_export *model);

#endif
