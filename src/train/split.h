/* split.h - moments and averages that are split among the ranks (option split_state).
 *
 * A block of parameters, the tensors one behind the other in the order of the model's file, is cut into as many parts
 * of neighbouring values as there are ranks.  Rank r has part r of each moment and of each average, and takes the
 * optimizer's step for those values; the ranks then gather the weights, which all need whole.  What is done to a
 * value is the same, so the bits are those of a run that is not split.
 *
 * In a checkpoint each rank writes its parts to a file of its own, part-RRRR-of-NNNN.safetensors: a vector for each
 * average and for each moment.  The functions are calls of all ranks where nothing else is said. */
#ifndef CM_TRAIN_SPLIT_H
#define CM_TRAIN_SPLIT_H

#include "train/state.h"

/* Part `rank` of a block: from value *begin to before *end; it is empty where there are too many ranks. */
void cmi_split_part(size_t floats, size_t rank, size_t ranks, size_t *begin, size_t *end);
/* Whether this trainer's moments and averages are split. */
static inline int cmi_split(const cm_trainer *t)
{
    return t->o.split_state && !cmi_peers_alone(&t->peers);
}
/* Finds trainer->held_begin and _end.  Of this rank alone.  ARGUMENT where a rank would have nothing. */
cm_status cmi_split_find(cm_trainer *trainer, size_t floats);

/* The floats that trainer->messages needs for a block of so many: none where nothing is split.  Of this rank alone.
 */
size_t cmi_split_messages(const cm_trainer *trainer, size_t floats);
/* Whether one of the ranks says so. */
cm_status cmi_split_any(cm_trainer *trainer, int mine, const char *what, int *any);
/* The ranks' parts of a block, of which this one's are `held`, to all of it. */
cm_status cmi_split_gather(cm_trainer *trainer, const float *held, float *block, const char *what);

/* Writes this rank's file into the directory, which rank 0 has made (elsewhere it is NULL), and adds all ranks' to
 * `files` of rank 0. */
cm_status cmi_split_write(cm_trainer *trainer, const char *directory, json_t *files);
/* Rank 0 has published the checkpoint; the others wait for that. */
cm_status cmi_split_written(cm_trainer *trainer);
/* Of a checkpoint of so many parts: one file's blocks, whole, into the part's.  Of this rank alone. */
cm_status cmi_split_read(cm_trainer *trainer, const char *directory, int64_t parts, const cm_state_part *part);
/* Rank 0 has read the blocks of a file whole, into `block` and `second`: to each rank its part. */
cm_status cmi_split_spread(cm_trainer *trainer, const cm_state_part *part, float *block, float *second);

#endif
