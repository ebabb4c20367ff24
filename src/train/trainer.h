/* trainer.h - the trainer handle: state of a run, and one step of it. */
#ifndef CM_TRAIN_TRAINER_H
#define CM_TRAIN_TRAINER_H

#include <consistency/trainer.h>

#include "data/augment.h"
#include "io/directory.h"
#include "train/curriculum.h"
#include "train/learner.h"
#include "train/optim.h"
#include "train/settings.h"

struct cm_trainer {
    cm_context *context;
    cm_model *model, *teacher; /* counted: where it began, and whom it learns from */
    cm_train_settings o;
    const cm_objective *objective;
    cm_objective_settings settings;
    cm_curriculum curriculum;
    cm_optim optim;
    cm_precond precond;               /* of the trained network; borrows the model's table */
    json_t *config;                   /* of the trained model, without "training" and "sampling" */
    int classes_from_data;            /* its "classes" are those of the run's data set, not of where it began */
    cm_perceptual_distance *distance; /* NULL: the distance is of no network */
    cm_learner *learner;
    size_t frozen_begin, frozen_end; /* floats that are no weights: Fourier frequencies */
    float *m, *v,
        *ema[CM_MAX_EMAS]; /* of the values held_begin .. held_end - 1 of a block: all, or a part (split.h) */
    size_t held_begin, held_end;
    float *messages; /* where they are a part: what split.h sends and receives at a time; else NULL */
    float weighing_m[CM_WEIGHT_NET_MOST], weighing_v[CM_WEIGHT_NET_MOST]; /* moments of learner->weighing */
    /* The state that a checkpoint holds besides the blocks: */
    _Atomic(int64_t) step; /* steps taken; read at any time                */
    uint64_t images;       /* that they have taken                               */
    int64_t updates;       /* since the optimizer's state began                  */
    int32_t skipped, last_scales;
    json_t *dataset; /* fingerprint of the set of the run, or NULL         */
    /* */
    size_t views;    /* pairs of an image */
    size_t capacity; /* images that fit into the buffers of a step */
    double *loss;    /* of each image of the step, those of other ranks included */
    cm_augmenter *augmenter;
    unsigned char *chosen; /* marks of the images of a step, for objectives that choose */
    uint32_t *order;       /* work of choosing them */
    float *augmented, *augment_labels;
    float *dense; /* images that the caller holds in another layout or type */
    size_t dense_capacity;
    cm_peers peers; /* the other processes */
    int agreed;     /* all of them stop after the step at hand, and none has to be told */
    cm_share share;
    cm_call call;
    cm_locks locks; /* of the directories it has saved to or resumed from */
};

/* With a group a call of all ranks, which then have the same options, networks and weights. */
cm_status cmi_trainer_open(const cm_train_inputs *inputs, const cm_train_settings *options, cm_trainer **out);
void cmi_trainer_close(cm_trainer *trainer);
/* The bytes that a trainer holds; and those of one that is not made. */
uint64_t cmi_trainer_size(const cm_trainer *trainer);
cm_status cmi_trainer_plan(const cm_train_inputs *inputs, const cm_train_settings *options, uint64_t *bytes);
/* trainer.c: whether images are changed before a step, and buffers for a step of n images. */
int cmi_trainer_augments(const cm_trainer *trainer);
/* How many labels the network has of that. */
int32_t cmi_trainer_augment_labels(const cm_trainer *trainer);
cm_status cmi_trainer_reserve(cm_trainer *trainer, size_t n);
/* Images of a step that has `batch` pairs. */
size_t cmi_trainer_batch(const cm_trainer *trainer);
/* trainer->dense for n images, larger from the first step that asks for it on. */
cm_status cmi_trainer_reserve_dense(cm_trainer *trainer, size_t n);
/* Images of a step: the same range as the option batch. */
enum { CM_STEP_IMAGES = 1 << 20 };
/* Of a step of n images, which are this rank's: `count` of them from number `first` on. */
cm_status cmi_trainer_share(const cm_trainer *trainer, size_t n, size_t *first, size_t *count);
/* One step of n images within the trainer's call.  images: this rank's, C x H x W each, and their labels; report may
 * be NULL. */
cm_status cmi_trainer_advance(cm_trainer *trainer, size_t n, const float *images, const int32_t *labels,
                              cm_train_report *report);
/* Whether a data set can feed a model `batch` images a step. */
cm_status cmi_train_check_dataset(const cm_model *model, const cm_dataset *dataset, int32_t batch);
/* Checks that a data set fits and remembers which it was: before a resume, so that
 * the checkpoint's can be compared. */
cm_status cmi_trainer_note_dataset(cm_trainer *trainer, const cm_dataset *dataset);
cm_status cmi_trainer_loop(cm_trainer *trainer, cm_dataset *dataset, int64_t until, cm_train_fn progress, void *user);
/* class_names.c: the data set's names of classes become those of the run, whose first set or
 * checkpoint decides: ARGUMENT for another mapping from names to numbers. */
cm_status cmi_trainer_take_names(cm_trainer *trainer, const cm_dataset *dataset);
/* With those of a checkpoint's configuration, and the checkpoint's where there are none
 * of a set yet. */
cm_status cmi_trainer_compare_names(const cm_trainer *trainer, const json_t *config, int32_t allow_changes);
cm_status cmi_trainer_adopt_names(cm_trainer *trainer, const json_t *config);
/* The block of a set of weights: online, an average (its values from held_begin on) or the target (NULL when there
 * is none). */
float *cmi_trainer_block(cm_trainer *trainer, int32_t weights, int32_t index);
/* The configuration of a snapshot, of average number `average` or (-1) of other weights; json_decref it.  NULL: out
 * of memory. */
json_t *cmi_trainer_config(const cm_trainer *trainer, int32_t average);
/* Weights changed under the learner's feet (resume). */
cm_status cmi_trainer_refresh(cm_trainer *trainer);

/* state_save.c, state_resume.c */
cm_status cmi_state_save(cm_trainer *trainer, const char *run, int32_t keep);
cm_status cmi_state_resume(cm_trainer *trainer, const char *run, int32_t allow_changes);

#endif
