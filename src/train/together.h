/* together.h - what the ranks of a run have to have in common: compared, and sent by rank 0. */
#ifndef CM_TRAIN_TOGETHER_H
#define CM_TRAIN_TOGETHER_H

#include "train/trainer.h"

/* Alone all of them do nothing. */

/* At the beginning: library, options, network, weights, kind of processor.  ARGUMENT on a rank that differs from
 * rank 0, which names it and says in what; with the same words PEER on the others. */
cm_status cmi_together_begin(cm_trainer *trainer);
/* When the data set is known. */
cm_status cmi_together_compare_data(cm_trainer *trainer);
/* After a step: a hash of weights, averages and moments.  PEER names the ranks that differ. */
cm_status cmi_together_compare_state(cm_trainer *trainer);
/* The state of rank 0, which it has read from a checkpoint, becomes that of all. */
cm_status cmi_together_adopt(cm_trainer *trainer);

#endif
