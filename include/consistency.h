/* consistency.h - images from consistency models in C.
 *
 * The umbrella header: it includes every part of the public interface.  base.h begins with
 * the rules that hold everywhere: errors, ownership, threads, cancelling and options.
 * Images are float32 in [-1, 1] or bytes, in the caller's memory; noise levels (sigma) are
 * standard deviations in the units of [-1, 1].  Every header may be included alone, in C99 and
 * later and in C++11 and later.
 *
 *     cm_model *model = NULL;
 *     cm_sampler *sampler = NULL;
 *     float *image = (float *)malloc(sizeof(float) * 32 * 32);
 *     cm_status status = cm_model_load(NULL, "digits.safetensors", NULL, &model);
 *     if (status == CM_OK) status = cm_sampler_create(model, NULL, &sampler);
 *     if (status == CM_OK) status = cm_sampler_run(sampler, NULL, 1, image);
 *     if (status != CM_OK) fprintf(stderr, "%s\n", cm_last_message());
 *     cm_sampler_free(sampler);
 *     cm_model_free(model);
 *     free(image);
 *
 *   base.h     status codes, messages, the context (memory, threads, log)
 *   model.h    load, describe, save a network and evaluate it once
 *   checkpoint.h  open any file of tensors as data: weights of other programs, states
 *              of optimizers, arrays
 *   sampler.h  turn noise into images
 *   edit.h     change given images
 *   dataset.h  pictures and their classes in training order
 *   group.h    several processes that train together
 *   trainer.h  networks learn
 *   run.h      a training run: its directory, checkpoints, stop and resume
 *   metrics.h  how close sets of images are: Frechet distance, scores, precision and recall,
 *              from the features that a network makes of them
 *   image.h    8-bit conversion, JPEG and PNG, pages of pictures
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_H
#define CONSISTENCY_H

#include "consistency/base.h"
#include "consistency/model.h"
#include "consistency/checkpoint.h"
#include "consistency/sampler.h"
#include "consistency/edit.h"
#include "consistency/dataset.h"
#include "consistency/group.h"
#include "consistency/trainer.h"
#include "consistency/run.h"
#include "consistency/image.h"
#include "consistency/metrics.h"

#endif
