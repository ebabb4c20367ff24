/* keys.h - a list of names and shapes taken for a model file, without any bytes of weights. */
#ifndef TESTS_KEYS_H
#define TESTS_KEYS_H

#include "diffusion/model.h"

/* Takes the list (cmi_tensors_add; of float32) over, also when it fails: recognises the network by it, describes the
 * model and finds each parameter in it, as loading does. */
cm_status keys_fit(cm_context *context, const char *name, cm_tensors *list, cm_model **out);
/* With a configuration given by the caller (NULL: none). */
cm_status keys_fit_given(cm_context *context, const char *name, cm_tensors *list, const char *config_json,
                         cm_model **out);
/* A line of a list in tests/data/keys: a name and its shape; the line has to stay. */
cm_status keys_add_line(cm_tensors *list, char *line);
cm_status keys_add(cm_tensors *list, const char *name, int rank, const int64_t *shape);
/* Values of the parameters, constants apart. */
uint64_t keys_count(const cm_model *model);

#endif
