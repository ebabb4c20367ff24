/* condition.h - a caller's conditioning and sampling options, made complete. */
#ifndef CM_DIFFUSION_CONDITION_H
#define CM_DIFFUSION_CONDITION_H

#include <consistency/sampler.h>

#include "diffusion/model.h"

/* NULL is a condition without labels. */
cm_status cmi_condition_read(const cm_condition *theirs, cm_condition *out);

/* Whether the model can be guided, where that is asked for: a network that is told of it, or a diffusion model that
 * knows "no label". */
cm_status cmi_condition_check(const cm_model *model, const cm_condition *condition);
/* ... and whether one of n images has a label, where the network is not told; labels NULL: none has. */
cm_status cmi_condition_check_labels(const cm_model *model, const cm_condition *condition, const int32_t *labels,
                                     size_t n);
/* Evaluations of the network for one D with that scale: 2 where it is not told of guidance. */
int cmi_condition_evaluations(const cm_model *model, double guidance);
/* A call that has no use for guidance. */
cm_status cmi_condition_refuse_guidance(const cm_condition *condition, const char *what);

/* NULL is the defaults.  out->condition is `condition`, which is filled as well. */
cm_status cmi_sample_options_read(const cm_sample_options *theirs, cm_sample_options *out, cm_condition *condition);

/* The labels of complete options, or NULL. */
static inline const int32_t *cmi_condition_labels(const cm_sample_options *options)
{
    return options->condition ? options->condition->labels : NULL;
}

#endif
