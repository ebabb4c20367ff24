/* learner_parts.h - what the files of the learner know of each other: weights, slices, and the whole. */
#ifndef CM_TRAIN_LEARNER_PARTS_H
#define CM_TRAIN_LEARNER_PARTS_H

#include "train/learner.h"

/* --- learner_weights.c ---------------------------------------------------------- */

/* The graphs of the network that learns, and where its parameters lie in a block. */
cm_status cmi_learner_describe(cm_learner *learner);
/* The graph that runs. */
const cm_graph *cmi_learner_graph(const cm_learner *learner);
/* A set with the values of a model; folded: in the form that runs. */
cm_status cmi_weight_set_create(cm_learner *learner, const cm_model *from, int folded, cm_weight_set *set);
void cmi_weight_set_free(cm_learner *learner, cm_weight_set *set);
/* The gradient of the folded values becomes one of the file's. */
cm_status cmi_learner_fold_gradient(const cm_learner *learner);

/* --- learner_slice.c ------------------------------------------------------------- */

/* All of them, as many as a batch of options.batch keeps busy. */
int cmi_learner_count_workers(const cm_learner *learner);
cm_status cmi_learner_make_workers(cm_learner *learner, const cm_objective_settings *settings);
void cmi_learner_free_workers(cm_learner *learner);

/* --- learner_peers.c -------------------------------------------------------------- */

/* After the slices: losses of all ranks, and the adaptive weight's gradient as a sum over them. */
cm_status cmi_learner_gather(cm_learner *learner, const cm_learner_batch *batch);

#endif
