/* reconstruct.h - a power-function average of any width, from stored ones, after a run (phema.h). */
#ifndef CM_TRAIN_RECONSTRUCT_H
#define CM_TRAIN_RECONSTRUCT_H

#include <consistency/trainer.h>

#include "diffusion/model.h"

/* See cm_average_reconstruct; the options are whole and in their ranges. */
cm_status cmi_average_reconstruct(cm_context *context, const char *const *paths, size_t n,
                                  const cm_average_options *options, cm_model **out);

#endif
