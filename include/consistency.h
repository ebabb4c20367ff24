/* consistency.h - images from consistency models in C.
 *
 * The umbrella header: it includes every part of the public interface.
 *
 *   base.h     status codes, messages, the context (memory, threads, log)
 *   model.h    load, describe, save a network and evaluate it once
 *   sampler.h  turn noise into images
 *   edit.h     change given images
 *   dataset.h  pictures and their classes in training order
 *   trainer.h  networks learn
 *   run.h      a training run: its directory, checkpoints, stop and resume
 *   image.h    8-bit conversion, JPEG and PNG, pages of pictures
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_H
#define CONSISTENCY_H

#include "consistency/base.h"
#include "consistency/model.h"
#include "consistency/sampler.h"
#include "consistency/edit.h"
#include "consistency/dataset.h"
#include "consistency/trainer.h"
#include "consistency/run.h"
#include "consistency/image.h"

#endif
