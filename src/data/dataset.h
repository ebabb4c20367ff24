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
    size_t *members; /* the pictures of a part, in order; NULL: all of the source */
    size_t n_members;
    _Atomic(uint64_t) bad; /* read at any time */
    uint64_t fingerprint;
    unsigned char *known_bad; /* one bit a picture */
    cm_call call;
};

cm_status cmi_dataset_make(cm_context *context, const char *path, const cm_dataset_options *options,
                           cm_dataset **out);
void cmi_dataset_release(cm_dataset *dataset);
extern const cm_choice_list cmi_dataset_part_choices;
/* Pictures of the set: of its part, where it is one. */
size_t cmi_dataset_count(const cm_dataset *dataset);
/* The number in the source of picture i. */
size_t cmi_dataset_member(const cm_dataset *dataset, size_t i);
/* ARGUMENT for a part. */
cm_status cmi_dataset_expect_whole(const cm_dataset *dataset, const char *call);
/* Within the data set's call; out has the set's sizes. */
cm_status cmi_dataset_get(cm_dataset *dataset, uint64_t position, const cm_view *out, int32_t *labels);

/* Image i of n in epoch `epoch`: a permutation for each (seed, epoch). */
uint64_t cmi_shuffled(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n);

/* What a picture itself is to blame for.  Anything else (a file that cannot be opened or
 * read now, no memory) may be over the next time and stops a call. */
int cmi_dataset_is_damage(cm_status status);
/* Picture i, whatever its position, which has been found damaged: named in the log, once. */
void cmi_dataset_note_bad(cm_dataset *dataset, size_t i);
/* Picture i cut and scaled as at `position`; the caller frees its pixels. */
cm_status cmi_dataset_cut(const cm_dataset *dataset, uint64_t position, size_t i, cm_picture *picture);
/* "picture 7, a/b.png" or "picture 7" */
const char *cmi_dataset_picture_name(const cm_dataset *dataset, size_t i, char *text, size_t size);

/* check.c, pack.c: within the data set's call; the options are complete. */
extern const cm_choice_list cmi_dataset_finding_choices;
cm_status cmi_dataset_check(cm_dataset *dataset, const cm_dataset_check_options *options, cm_dataset_report *report);
cm_status cmi_dataset_pack(cm_dataset *dataset, const char *path, const cm_dataset_pack_options *options,
                           uint64_t *packed);

/* colours.c: a warning when one channel is asked for and the pictures have colours. */
cm_status cmi_dataset_look_for_colours(cm_dataset *dataset);

/* labels.c */
extern const cm_choice_list cmi_label_rule_choices;
cm_status cmi_dataset_find_labels(cm_dataset *dataset);

/* class_names.c: those of the options, once the set's own are known. */
cm_status cmi_dataset_take_names(cm_dataset *dataset);

/* class_order.c: below, equal to or above 0 as class a comes before, is or comes after b. */
int cmi_class_order(const char *a, const char *b);

/* label_json.c: *decided when dataset.json says what the labels are, or that there
 * are none. */
cm_status cmi_labels_from_json(cm_dataset *dataset, int *decided);

#endif
