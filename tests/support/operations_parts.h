/* operations_parts.h - what the groups of rows of operations.h share. */
#ifndef TESTS_SUPPORT_OPERATIONS_PARTS_H
#define TESTS_SUPPORT_OPERATIONS_PARTS_H

#include "support/operations.h"
#include "support/tiny_trainer.h"

enum { SIDE = TINY_SIDE, CHANNELS = TINY_CHANNELS, VALUES = TINY_VALUES, BATCH = TINY_BATCH };

#define CONDITION_OF_TWO                                                                                             \
    const int32_t labels[BATCH] = {0, 1};                                                                            \
    cm_condition condition = CM_CONDITION_INIT;                                                                      \
    condition.labels = labels

/* The rows of each group; the last one has no name. */
extern const operation operations_of_models[], operations_of_samples[], operations_of_pictures[],
    operations_of_training[], operations_of_metrics[];

/* A path; the last few stay. */
const char *path_of(const char *folder, const char *format, ...);
/* Numbers from -1 to 1 that follow from `state`. */
void fill(size_t n, uint64_t state, float *x);

cm_status open_sampler(const place *at, const char *model, cm_model **m, cm_sampler **s);
cm_status write_picture_to(cm_context *c, const char *path, int value);
cm_status open_set_of(const place *at, const char *kind, cm_dataset **d);
cm_status run_in(const place *at, const char *directory);
cm_status write_samples(const place *at);

#endif
