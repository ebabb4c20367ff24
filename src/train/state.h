/* state.h - a checkpoint: its files, how they are written, read back, and compared with a run.
 *
 *   run/checkpoints/.tmp-STEP-PID/   written and flushed file by file; state.json,
 *                                    with sizes and hashes of the others, last
 *   rename to step-NNNNNNNNN         then the directory is flushed
 *   LATEST                           replaced the same way
 *   older ones                       removed only then
 *
 * model, ema-* and target are native model files; optimizer holds the moments;
 * teacher is there where it changes, weight-net where the loss has an adaptive weight.  Where moments and averages
 * are split among ranks a file of each rank takes the place of optimizer and ema-* (split.h), state.json says of how
 * many
 * ("parts"), and rank 0 does the rest.  No file holds a time, a path or a host. */
#ifndef CM_TRAIN_STATE_H
#define CM_TRAIN_STATE_H

#include <jansson.h>

#include "io/tensors.h"
#include "train/trainer.h"

/* Of state.json: 2 has a hash of its own, which files of format 1 have not. */
enum { CM_STATE_FORMAT = 2 };
#define CM_STATE_HASH "xxh3_128"
enum { CM_STATE_PATH = 2048, CM_STATE_FILES = CM_MAX_EMAS + 5 };

/* A file of the checkpoint and the blocks whose values it has. */
typedef struct cm_state_part {
    char name[80];
    float *block, *second; /* second: the other moments */
    int is_model;          /* 1, of average i 2 + i; 0: it holds moments */
    int is_weighing;       /* the adaptive weight with its moments; no blocks */
    int is_split;          /* the ranks have a part of its blocks each (split.h) */
} cm_state_part;

/* state_parts.c: which files there are; returns how many. */
int cmi_state_parts(cm_trainer *t, cm_state_part *parts);
/* Writes or reads the file `path` through its tensors, whose data are the part's blocks. */
typedef cm_status (*cm_state_use)(cm_trainer *t, const char *path, const cm_tensor *tensors, size_t n, int is_model);
cm_status cmi_state_tensors(cm_trainer *t, const cm_state_part *part, cm_state_use use, const char *path);
/* A tensor of n values, for a file of its own. */
cm_tensor cmi_state_vector(const char *name, float *values, size_t n);
/* The size of a file and its XXH3 hash in hexadecimal digits. */
cm_status cmi_state_hash(cm_context *context, const char *path, size_t *size, char text[33]);
/* The hash of state.json's members but for that hash; MEMORY. */
cm_status cmi_state_own_hash(const json_t *state, char text[33]);
/* state.json as it is written, to be given back by free(); NULL: no memory. */
char *cmi_state_text(const json_t *state);
/* "a/b" into out, which has CM_STATE_PATH bytes. */
cm_status cmi_state_path(char *out, const char *a, const char *b);
/* Whether a name is that of a whole checkpoint: "step-" and digits. */
int cmi_state_is_step(const char *name);
/* The run's directory is the trainer's until it is freed. */
cm_status cmi_state_lock(cm_trainer *t, const char *run);

/* state_compare.c: ARGUMENT where the options or the data of a checkpoint's state.json are not the trainer's and
 * allow_changes (cm_resume_changes) does not take them. */
cm_status cmi_state_compare(cm_trainer *t, const json_t *state, int32_t allow_changes);
/* Lists the members of two objects that differ, "lr was 0.1, is 0.2; ...", as many as the text has room for. */
void cmi_state_differences(const json_t *before, const json_t *now, char *text, size_t size);

#endif
