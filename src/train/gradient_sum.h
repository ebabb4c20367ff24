/* gradient_sum.h - the gradients of a step's slices become one: slices of a shard one after the other, shards by
 * pairs, then the ranks' sums by pairs (share.h), and the latter while backward goes on. */
#ifndef CM_TRAIN_GRADIENT_SUM_H
#define CM_TRAIN_GRADIENT_SUM_H

#include "base/parallel.h"
#include "graph/plan.h"
#include "train/peers.h"
#include "train/share.h"

typedef struct cm_gradient_sum cm_gradient_sum;

/* Into `block`, in the layout of the plan (cmi_plan_gradient_floats of them); all of them borrowed. */
cm_status cmi_gradient_sum_create(const cm_plan *plan, const cm_share *share, cm_peers *peers, float *block,
                                  cm_gradient_sum **out);
void cmi_gradient_sum_free(cm_gradient_sum *sum);
/* Bytes that it has beside the block. */
size_t cmi_gradient_sum_bytes(const cm_plan *plan, const cm_share *share, const cm_peers *peers);

/* Before a step of `slices` slices over all ranks; what: the phrase for the group's messages. */
void cmi_gradient_sum_begin(cm_gradient_sum *sum, size_t slices, const char *what);
/* Of this rank, the slices of the step. */
int cmi_gradient_sum_slices(const cm_gradient_sum *sum);
/* The gradient of a parameter in a slice of this rank, in the order of the slices: the caller holds the turn. */
cm_status cmi_gradient_sum_add(cm_gradient_sum *sum, int parameter, int slice, const float *gradient);
/* The shard of this rank that a slice is in; *ends: it is the last one of it. */
size_t cmi_gradient_sum_shard(const cm_gradient_sum *sum, int slice, int *begins, int *ends);
/* Waits for the ranks.  status: of the slices; a failure comes back after no sum runs any more. */
cm_status cmi_gradient_sum_end(cm_gradient_sum *sum, cm_threads threads, cm_status status);

#endif
