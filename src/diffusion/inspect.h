/* inspect.h - a file of tensors that is read as data, and what it is to this library. */
#ifndef CM_DIFFUSION_INSPECT_H
#define CM_DIFFUSION_INSPECT_H

#include <consistency/checkpoint.h>

#include "diffusion/model.h"

struct cm_checkpoint {
    cm_model *model; /* its file holds the tensors; the rest stands where kind is MODEL */
    cm_checkpoint_kind kind;
    char about[192];
    /* The set of weights that is listed is an entry of the metadata: which one (the number of entries where there is
     * none), and its name, or NULL for the whole file. */
    size_t weights_entry;
    const char *weights;
    char *problem;    /* NULL for a MODEL */
    cm_status reason; /* the status that goes with it */
};

/* Each leaves *out NULL when it fails; both options as in cm_checkpoint_options. */
cm_status cmi_inspect_open(cm_context *context, const cm_model_source *source, const cm_checkpoint_options *options,
                           cm_checkpoint **out);
void cmi_inspect_close(cm_checkpoint *checkpoint);
const cm_tensors *cmi_inspect_tensors(const cm_checkpoint *checkpoint);

cm_status cmi_inspect_check(const cm_checkpoint *checkpoint, const cm_checkpoint_check_options *options,
                            cm_checkpoint_report *report);

#endif
