/* dataset.h - a source with classes, sizes and an order. */
#ifndef CM_DATA_DATASET_H
#define CM_DATA_DATASET_H

#include "base/call.h"
#include "base/choice.h"
#include "data/source.h"
#include "tensor/images.h"

struct cm_dataset {
    cm_context *context;
    cm_dataset_options o;
    cm_source *source;
    int32_t *labels;          /* of each picture, or NULL */
    char **classes;           /* names, or NULL           */
    const char *classes_from; /* as in cm_dataset_info */
    int32_t n_classes, largest_label;
    _Atomic(uint64_t) bad; /* read at any time */
    uint64_t fingerprint;
    unsigned char *known_bad; /* one bit a picture */
    cm_call call;
};

cm_status cmi_dataset_make(cm_context *context, const char *path, const cm_dataset_options *options,
                           cm_dataset **out);
void cmi_dataset_release(cm_dataset *dataset);
/* Within the data set's call; out has the set's sizes. */
cm_status cmi_dataset_get(cm_dataset *dataset, uint64_t position, const cm_view *out, int32_t *labels);

/* Image i of n in epoch `epoch`: a permutation for each (seed, epoch). */
uint64_t cmi_shuffled(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n);

/* colours.c: a warning when one channel is asked for and the pictures have colours. */
cm_status cmi_dataset_look_for_colours(cm_dataset *dataset);

/* labels.c */
extern const cm_choice_list cmi_label_rule_choices;
cm_status cmi_dataset_find_labels(cm_dataset *dataset);

/* class_order.c: below, equal to or above 0 as class a comes before, is or comes after b. */
int cmi_class_order(const char *a, const char *b);

/* label_json.c: *decided when dataset.json says what the labels are, or that there
 * are none. */
cm_status cmi_labels_from_json(cm_dataset *dataset, int *decided);

#endif
