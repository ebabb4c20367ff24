/* describing.h - what cm-info says of a file of tensors. */
#ifndef DESCRIBING_H
#define DESCRIBING_H

#include "cli.h"

/* "F32" of CM_F32; whether a class of the model has a name. */
const char *describe_dtype(int32_t dtype);
int describe_has_classes(const cm_model *model, int32_t classes);

/* All tensors are listed, or the first few of a file that is no model. */
cm_status describe_text(const char *path, const cm_checkpoint *file, int all_tensors);
/* One object; `report` may be NULL.  The findings of a check are strings. */
cm_status describe_json(const char *path, const cm_checkpoint *file, int all_tensors,
                        const cm_checkpoint_report *report, char *const *findings, size_t n_findings);
/* The report of a check, after its findings. */
void describe_report(const cm_checkpoint_report *report);

#endif
