/* classes.h - the names of a model's classes, as its configuration holds them: a JSON
 * list in which name i is that of label i and null stands for none; NULL and null are
 * no names at all. */
#ifndef CM_DIFFUSION_CLASSES_H
#define CM_DIFFUSION_CLASSES_H

#include <jansson.h>

#include "base/context.h"

/* A folder's or file's name as JSON text: UTF-8, or taken for Latin-1; NULL when memory
 * is out. */
json_t *cmi_class_json(cm_context *context, const char *bytes);
/* FORMAT for what is no such list, or has more names than there are classes. */
cm_status cmi_classes_check(const json_t *classes, int32_t num_classes);
const char *cmi_classes_name(const json_t *classes, int32_t label);
/* -1 when there is no such name. */
int32_t cmi_classes_index(const json_t *classes, const char *name);
/* ARGUMENT for a name that is not there: those that may be meant and those that are. */
cm_status cmi_classes_unknown(cm_context *context, const json_t *classes, int32_t num_classes, const char *text);
/* The first label whose name is not the same, in words; 0 when there is none. */
int cmi_classes_differ(const json_t *a, const json_t *b, char *text, size_t size);

#endif
